/* What core tells delivery: clients, rooms, members, entries. Each call only records; flush acts.
 *
 * Happy path: an entry goes into its room's windows, the room is dirty, the next flush visits
 * its members. Failure: a client that cannot be served for want of memory is reported to core
 * once, after the flush. */
#include "delivery/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "chathub.h"

/* A held buffer above this is freed rather than kept for the next client. */
#define SPARE_BYTES 4096u

int chi_delivery_new(const struct chi_settings *settings, struct chi_env env, struct chi_log *log,
                     struct chi_delivery **out)
{
    struct chi_delivery *d = calloc(1, sizeof(*d));
    if (!d)
        return CHATHUB_ENOMEM;
    d->settings = settings;
    d->env = env;
    d->log = log;
    chi_paged_init(&d->clients, sizeof(struct chi_receiver));
    chi_paged_init(&d->rooms, sizeof(struct chi_feed));
    chi_list_init(&d->ready);
    chi_list_init(&d->failed);
    chi_list_init(&d->hot);
    chi_list_init(&d->pages);
    *out = d;
    return 0;
}

void chi_delivery_bind(struct chi_delivery *d, const struct chi_delivery_up *up)
{
    d->up = *up;
}

static void client_release(struct chi_delivery *d, struct chi_receiver *client)
{
    if (client->held) {
        d->counts.held_bytes -= client->held->len;
        chi_buf_fini(client->held);
        free(client->held);
    }
    if (client->cap)
        free(client->places.many);
    chi_list_remove(&client->ready);
    *client = (struct chi_receiver){0};
}

static void room_release(struct chi_delivery *d, uint32_t number)
{
    struct chi_feed *room = chi_feed_at(d, number);
    chi_hot_free(d, room);
    chi_round_remove(d, number);
    if (room->cap)
        free(room->members.many);
    *room = (struct chi_feed){0};
}

void chi_delivery_free(struct chi_delivery *d)
{
    if (!d)
        return;
    for (uint32_t i = 0; i < chi_paged_end(&d->rooms); i++) {
        const struct chi_feed *room = chi_feed_at(d, i);
        if (room && room->name)
            room_release(d, i);
    }
    while (!chi_list_empty(&d->pages)) /* those the log had not answered */
        chi_page_free(d, CHI_CONTAINER(d->pages.next, struct chi_page, in_all));
    for (uint32_t i = 0; i < chi_paged_end(&d->clients); i++) {
        struct chi_receiver *client = chi_receiver_at(d, i);
        if (client && client->flags)
            client_release(d, client);
    }
    for (uint32_t i = 0; i < d->spare_count; i++) {
        chi_buf_fini(d->spare[i]);
        free(d->spare[i]);
    }
    chi_paged_fini(&d->clients);
    chi_paged_fini(&d->rooms);
    chi_buf_fini(&d->frame);
    chi_buf_fini(&d->scratch);
    chi_buf_fini(&d->gaps);
    free(d);
}

/* -------------------------------------------------------------------------------------- clients */

/* The number of an encoding, given to it at its first use; CHATHUB_EFULL: there are too many. It
 * tells the transport, too, so that one byte says whether two members can be sent the same. */
static int encoding_number(struct chi_delivery *d, struct chi_encoding encoding,
                           const struct chi_transport *transport)
{
    for (uint32_t i = 0; i < d->encoding_count; i++)
        if (d->encodings[i].dialect == encoding.dialect &&
            d->encodings[i].framing == encoding.framing && d->transports[i] == transport)
            return (int)i;
    if (d->encoding_count == CHI_ENCODINGS)
        return CHATHUB_EFULL;
    d->encodings[d->encoding_count] = encoding;
    d->transports[d->encoding_count] = transport;
    return (int)d->encoding_count++;
}

static int client_open(struct chi_delivery *d, uint32_t slot, const struct chi_delivery_client *as)
{
    int encoding = encoding_number(d, as->encoding, as->transport);
    if (encoding < 0)
        return encoding;
    if (chi_paged_ensure(&d->clients, slot))
        return CHATHUB_ENOMEM;
    struct chi_receiver *client = chi_receiver_at(d, slot);
    client->slot = slot;
    client->conn = as->conn;
    client->encoding = (uint8_t)encoding;
    client->flags = CHI_RECEIVER_OPEN;
    return 0;
}

static int client_encoding(struct chi_delivery *d, uint32_t slot, struct chi_encoding encoding)
{
    struct chi_receiver *client = chi_receiver_at(d, slot);
    int number = encoding_number(d, encoding, chi_transport_of(d, client));
    if (number < 0)
        return number;
    client->encoding = (uint8_t)number;
    chi_receiver_plain(d, client);
    for (uint32_t i = 0; i < client->count; i++)
        chi_feed_at(d, chi_places(client)[i].room)->encodings |= (uint16_t)(1u << number);
    return 0;
}

void chi_receiver_plain(struct chi_delivery *d, struct chi_receiver *client)
{
    if (client->count != 1) /* with several rooms none is: member_join saw to it */
        return;
    const struct chi_place *place = chi_places(client);
    struct chi_cursor *member = &chi_cursors(chi_feed_at(d, place->room))[place->member];
    bool plain = client->flags == CHI_RECEIVER_OPEN && !client->held;
    member->conn = client->conn;
    member->encoding = client->encoding;
    member->flags = (uint8_t)((member->flags & ~CHI_CURSOR_PLAIN) | (plain ? CHI_CURSOR_PLAIN : 0));
}

void chi_receiver_ready(struct chi_delivery *d, struct chi_receiver *client)
{
    if ((client->flags & (CHI_RECEIVER_OPEN | CHI_RECEIVER_FAILED)) == CHI_RECEIVER_OPEN &&
        !chi_list_linked(&client->ready))
        chi_list_append(&d->ready, &client->ready);
    d->env.ops->wake(d->env.self);
}

void chi_receiver_fail(struct chi_delivery *d, struct chi_receiver *client)
{
    if (client->flags & CHI_RECEIVER_FAILED)
        return;
    client->flags |= CHI_RECEIVER_FAILED;
    chi_receiver_plain(d, client);
    chi_list_remove(&client->ready);
    chi_list_append(&d->failed, &client->ready);
    d->env.ops->wake(d->env.self);
}

struct chi_buf *chi_receiver_held(struct chi_delivery *d, struct chi_receiver *client)
{
    if (!client->held) {
        if (d->spare_count)
            client->held = d->spare[--d->spare_count];
        else
            client->held = calloc(1, sizeof(*client->held));
        chi_receiver_plain(d, client);
    }
    return client->held;
}

void chi_receiver_held_less(struct chi_delivery *d, struct chi_receiver *client)
{
    struct chi_buf *held = client->held;
    size_t waiting = held ? held->len : 0;
    if (held && !held->len) {
        if (d->spare_count < CHI_SPARE && held->cap <= SPARE_BYTES) {
            d->spare[d->spare_count++] = held;
        } else {
            chi_buf_fini(held);
            free(held);
        }
        client->held = NULL;
        chi_receiver_plain(d, client);
    }
    if ((client->flags & CHI_RECEIVER_FULL) && waiting <= d->settings->client_replies / 2 &&
        (!waiting || d->counts.held_bytes <= d->settings->hub_reply_bytes)) {
        client->flags &= (uint8_t)~CHI_RECEIVER_FULL;
        chi_receiver_plain(d, client);
        d->up.drained(d->up.hub, client->slot);
    }
}

void chi_receiver_break(struct chi_delivery *d, struct chi_receiver *client)
{
    client->flags |= CHI_RECEIVER_BROKEN;
    chi_receiver_plain(d, client);
    if (!client->held)
        return;
    d->counts.held_bytes -= client->held->len;
    chi_buf_truncate(client->held, 0);
    chi_receiver_held_less(d, client);
}

void chi_delivery_broken(struct chi_delivery *d, uint32_t slot)
{
    struct chi_receiver *client = chi_receiver_at(d, slot);
    if (client && (client->flags & CHI_RECEIVER_OPEN))
        chi_receiver_break(d, client);
}

static int reply(struct chi_delivery *d, uint32_t slot, const struct chi_reply *what)
{
    struct chi_receiver *client = chi_receiver_at(d, slot);
    if (client->flags & CHI_RECEIVER_BROKEN)
        return 0;
    struct chi_buf *held = chi_receiver_held(d, client);
    if (!held)
        return CHATHUB_ENOMEM;
    const struct chi_encoding *how = &d->encodings[client->encoding];
    size_t start = held->len;
    how->dialect->encode_reply(held, what);
    chi_frame_texts(how, held, start);
    if (held->failed) {
        chi_buf_truncate(held, start);
        return CHATHUB_ENOMEM;
    }
    d->counts.held_bytes += held->len - start;
    chi_receiver_ready(d, client);
    if (held->len <= d->settings->client_replies &&
        d->counts.held_bytes <= d->settings->hub_reply_bytes)
        return 0;
    client->flags |= CHI_RECEIVER_FULL;
    return 1;
}

void chi_delivery_writable(struct chi_delivery *d, uint32_t slot)
{
    struct chi_receiver *client = chi_receiver_at(d, slot);
    if (!client)
        return;
    client->flags &= (uint8_t)~CHI_RECEIVER_BLOCKED;
    chi_receiver_plain(d, client);
    chi_receiver_ready(d, client);
}

void chi_delivery_poke(struct chi_delivery *d, uint32_t slot)
{
    struct chi_receiver *client = chi_receiver_at(d, slot);
    if (!client || !(client->flags & CHI_RECEIVER_OPEN))
        return;
    client->flags |= CHI_RECEIVER_POKED;
    chi_receiver_plain(d, client);
    chi_receiver_ready(d, client);
}

bool chi_delivery_blocked(const struct chi_delivery *d, uint32_t slot)
{
    const struct chi_receiver *client = chi_receiver_at(d, slot);
    return client && (client->flags & CHI_RECEIVER_BLOCKED);
}

/* -------------------------------------------------------------------------------------- members */

void chi_feed_wake(struct chi_delivery *d, uint32_t number)
{
    struct chi_feed *room = chi_feed_at(d, number);
    if (chi_feed_dirty(room)) {
        room->again = true;
    } else {
        room->pass = room->count;
        room->again = false;
        if (room->hot)
            room->hot->pass_min = UINT64_MAX;
        chi_round_add(d, number);
    }
    d->env.ops->wake(d->env.self);
}

static int places_add(struct chi_receiver *client, struct chi_place place)
{
    if (!client->count && !client->cap) {
        client->places.one = place;
    } else {
        if (client->count >= client->cap) {
            uint32_t cap = client->cap ? client->cap * 2u : 4;
            if (cap > UINT16_MAX)
                return CHATHUB_EFULL;
            struct chi_place *many =
                realloc(client->cap ? client->places.many : NULL, cap * sizeof(*many));
            if (!many)
                return CHATHUB_ENOMEM;
            if (!client->cap)
                many[0] = client->places.one;
            client->places.many = many;
            client->cap = (uint16_t)cap;
        }
        client->places.many[client->count] = place;
    }
    client->count++;
    return 0;
}

static struct chi_place *place_of(struct chi_receiver *client, uint32_t number)
{
    struct chi_place *places = chi_places(client);
    for (uint32_t i = 0; i < client->count; i++)
        if (places[i].room == number)
            return &places[i];
    return NULL;
}

struct chi_cursor *chi_cursor_of(struct chi_delivery *d, struct chi_receiver *client,
                                 uint32_t number)
{
    struct chi_place *place = client ? place_of(client, number) : NULL;
    return place ? &chi_cursors(chi_feed_at(d, number))[place->member] : NULL;
}

static int members_grow(struct chi_feed *room)
{
    if (room->count < (room->cap ? room->cap : 1))
        return 0;
    uint32_t cap = room->cap ? room->cap + room->cap / 8 + 1 : 4;
    struct chi_cursor *many = realloc(room->cap ? room->members.many : NULL, cap * sizeof(*many));
    if (!many)
        return CHATHUB_ENOMEM;
    if (!room->cap)
        many[0] = room->members.one;
    room->members.many = many;
    room->cap = cap;
    return 0;
}

static int member_join(struct chi_delivery *d, uint32_t number, uint32_t slot, uint64_t from,
                       bool signals)
{
    struct chi_feed *room = chi_feed_at(d, number);
    struct chi_receiver *client = chi_receiver_at(d, slot);
    struct chi_place place = {.room = number, .member = room->count};
    if (members_grow(room) || places_add(client, place))
        return CHATHUB_ENOMEM;
    chi_cursors(room)[room->count++] = (struct chi_cursor){
        .position = from < room->top ? from : room->top,
        .client = slot,
        .place = (uint16_t)(client->count - 1),
        .signal = room->last_signal,
        .flags = (uint8_t)(CHI_CURSOR_FRESH | (signals ? CHI_CURSOR_SIGNALS : 0)),
    };
    if (client->count == 2) {
        struct chi_place *first = chi_places(client);
        chi_cursors(chi_feed_at(d, first->room))[first->member].flags &= (uint8_t)~CHI_CURSOR_PLAIN;
    }
    chi_receiver_plain(d, client);
    room->encodings |= (uint16_t)(1u << client->encoding);
    chi_receiver_ready(d, client);
    return 0;
}

static void member_signals(struct chi_delivery *d, uint32_t number, uint32_t slot)
{
    struct chi_cursor *member = chi_cursor_of(d, chi_receiver_at(d, slot), number);
    if (!member || (member->flags & CHI_CURSOR_SIGNALS))
        return;
    member->flags |= CHI_CURSOR_SIGNALS;
    member->signal = chi_feed_at(d, number)->last_signal;
}

/* Moves the member at `from` to the empty place `to`. */
static void member_move(struct chi_delivery *d, struct chi_feed *room, uint32_t from, uint32_t to)
{
    if (from == to)
        return;
    struct chi_cursor *member = &chi_cursors(room)[to];
    *member = chi_cursors(room)[from];
    chi_places(chi_receiver_at(d, member->client))[member->place].member = to;
}

static void members_shrink(struct chi_feed *room)
{
    struct chi_cursor *many = room->members.many;
    if (room->cap && room->count <= 1) {
        room->members.one = many[0];
        room->cap = 0;
        free(many);
    } else if (room->cap > 16 && room->count < room->cap / 4) {
        struct chi_cursor *fewer = realloc(many, room->cap / 2 * sizeof(*many));
        if (!fewer)
            return;
        room->members.many = fewer;
        room->cap /= 2;
    }
}

/* Takes a member out of the dense array. Those not yet visited in this pass stay below `pass`,
 * so that nobody is skipped. */
static void member_remove(struct chi_delivery *d, struct chi_feed *room, uint32_t index)
{
    if (index < room->pass) {
        member_move(d, room, --room->pass, index);
        index = room->pass;
    }
    member_move(d, room, --room->count, index);
    members_shrink(room);
}

static void member_leave(struct chi_delivery *d, uint32_t number, uint32_t slot)
{
    struct chi_receiver *client = chi_receiver_at(d, slot);
    struct chi_place *place = place_of(client, number);
    if (!place)
        return;
    member_remove(d, chi_feed_at(d, number), place->member);
    struct chi_place *last = &chi_places(client)[--client->count];
    if (place != last) {
        *place = *last;
        chi_cursors(chi_feed_at(d, place->room))[place->member].place =
            (uint16_t)(place - chi_places(client));
    }
    chi_receiver_plain(d, client);
}

static void leave_all(struct chi_delivery *d, uint32_t slot)
{
    struct chi_receiver *client = chi_receiver_at(d, slot);
    while (client->count)
        member_leave(d, chi_places(client)[client->count - 1].room, slot);
}

static void client_read(struct chi_delivery *d, uint32_t slot)
{
    struct chi_receiver *client = chi_receiver_at(d, slot);
    const struct chi_transport *transport = chi_transport_of(d, client);
    transport->read(transport->self, client->conn, true);
}

static void client_gone(struct chi_delivery *d, uint32_t slot)
{
    leave_all(d, slot);
    client_release(d, chi_receiver_at(d, slot));
}

static void client_close(struct chi_delivery *d, uint32_t slot, int code, struct chi_span reason)
{
    struct chi_receiver *client = chi_receiver_at(d, slot);
    struct chi_span rest = {0};
    bool torn = client->flags & CHI_RECEIVER_TORN;
    if (client->held && !torn)
        rest = (struct chi_span){client->held->at, client->held->len};
    const struct chi_transport *transport = chi_transport_of(d, client);
    transport->close(transport->self, client->conn, torn ? 0 : code, reason, rest);
    client_gone(d, slot);
}

static uint64_t member_position(struct chi_delivery *d, uint32_t number, uint32_t slot)
{
    struct chi_cursor *member = chi_cursor_of(d, chi_receiver_at(d, slot), number);
    return member ? member->position : 0;
}

/* ---------------------------------------------------------------------------------------- rooms */

static int room_open(struct chi_delivery *d, uint32_t number, const struct chi_name *name,
                     uint64_t top)
{
    if (chi_paged_ensure(&d->rooms, number))
        return CHATHUB_ENOMEM;
    *chi_feed_at(d, number) = (struct chi_feed){.name = name, .top = top};
    return 0;
}

static void room_close(struct chi_delivery *d, uint32_t number)
{
    room_release(d, number);
}

static void note_delivery(struct chi_delivery *d, const struct chi_feed *room,
                          const struct chi_entry *what)
{
    char position[24], bytes[24], members[24];

    if (!chi_env_logs(&d->env, CHATHUB_DEBUG))
        return;
    snprintf(position, sizeof(position), "%" PRIu64, what->position);
    snprintf(bytes, sizeof(bytes), "%" PRIu32, what->content_len);
    snprintf(members, sizeof(members), "%" PRIu32, room->count);
    struct chi_field fields[] = {
        {"room", chi_name_shown(room->name)},
        {"position", chi_span_of(position)},
        {"bytes", chi_span_of(bytes)},
        {"readers", chi_span_of(members)},
    };
    d->env.ops->log(d->env.self, CHATHUB_DEBUG, "delivery", fields,
                    sizeof(fields) / sizeof(*fields));
}

static void entry(struct chi_delivery *d, uint32_t number, struct chi_entry *what)
{
    struct chi_feed *room = chi_feed_at(d, number);
    if (room->count && chi_hot_need(d, number, room))
        chi_window_entry(d, room, what);
    else if (room->hot)
        chi_windows_drop(d, room->hot);
    room->top = what->position;
    if (!room->count)
        return;
    note_delivery(d, room, what);
    chi_feed_wake(d, number);
    chi_budget_keep(d);
}

static bool room_behind(struct chi_delivery *d, uint32_t number)
{
    const struct chi_feed *room = chi_feed_at(d, number);
    bool behind = chi_feed_dirty(room) && room->hot && room->hot->came > d->settings->room_turn;
    if (behind)
        room->hot->awaited = true;
    return behind;
}

static void signal(struct chi_delivery *d, uint32_t number, const struct chi_signal *what)
{
    struct chi_feed *room = chi_feed_at(d, number);
    if (room->count)
        chi_ring_signal(d, number, room, what);
}

static void redact(struct chi_delivery *d, uint32_t number, uint64_t position)
{
    struct chi_feed *room = chi_feed_at(d, number);
    if (!room->hot)
        return;
    (void)position; /* what was sent cannot be taken back; what is kept is read anew from the log */
    chi_windows_drop(d, room->hot);
    chi_pages_drop(d, room->hot);
    chi_feed_wake(d, number);
}

const struct chi_delivery_ops chi_delivery_ops = {
    .client_open = client_open,
    .client_encoding = client_encoding,
    .client_close = client_close,
    .client_read = client_read,
    .client_gone = client_gone,
    .reply = reply,
    .room_open = room_open,
    .room_close = room_close,
    .member_join = member_join,
    .member_signals = member_signals,
    .member_leave = member_leave,
    .member_position = member_position,
    .entry = entry,
    .room_behind = room_behind,
    .signal = signal,
    .redact = redact,
};
