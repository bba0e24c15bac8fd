/* Connections without a network: windows that fill, writes cut at any byte, ends that come late;
 * and the door between core and delivery, at which what core says is checked.
 *
 * Happy path: send puts bytes into the pipe, the client reads them out of it, and what was
 * refused is asked for again by chi_delivery_writable. A connection ends by the hub's close (the
 * client reads to its end) or by a cut (the hub is told at notice_at). */
#include <stdio.h>
#include <string.h>

#include "dialect/dialect.h"
#include "sim.h"

static struct sim_conn *conn_check(struct sim_world *w, uint32_t conn, const char *what)
{
    struct sim_conn *c = conn < SIM_CONNS ? &w->conns[conn] : NULL;
    if (c && c->used && c->open)
        return c;
    sim_fail(w, "contract of transports: %s for connection %u, which is not open", what, conn);
    return NULL;
}

/* ----------------------------------------------------------------------------- the hub's side
 * of it */

static size_t take(struct sim_world *w, struct sim_conn *c, size_t len)
{
    size_t space = c->window > c->pipe.len ? c->window - c->pipe.len : 0;
    size_t n = len < space ? len : space;
    if (n && sim_faulty(w, SIM_SHORT) && sim_one_in(&w->rng, 3))
        n = sim_below(&w->rng, (uint32_t)n + 1);
    return n;
}

static ptrdiff_t conn_send(void *self, uint32_t conn, const void *bytes, size_t len)
{
    struct sim_world *w = self;
    struct sim_conn *c = conn_check(w, conn, "send");
    if (!c)
        return -1;
    if (len == 0)
        sim_fail(w, "contract of transports: send of nothing");
    w->stirred = true;
    if (c->broken)
        return -1;
    size_t n = take(w, c, len);
    if (n < len)
        c->blocked = true;
    sim_bytes_add(&c->pipe, bytes, n);
    c->taken += n;
    SIM_TRACE(w, "conn %u takes %zu of %zu: %.*s", c->serial, n, len, (int)(len < 60 ? len : 60),
              (const char *)bytes);
    return (ptrdiff_t)n;
}

static void conn_write_many(void *self, const void *bytes, size_t len, const uint32_t *conns,
                            size_t n, int32_t *taken)
{
    for (size_t i = 0; i < n; i++)
        taken[i] = (int32_t)conn_send(self, conns[i], bytes, len);
}

static void conn_take_control(void *self, uint32_t conn, struct chi_buf *out)
{
    struct sim_world *w = self;
    struct sim_conn *c = conn_check(w, conn, "take_control");
    if (!c || !c->pong_due)
        return;
    char text[32];
    size_t start = out->len;
    (void)snprintf(text, sizeof text, "C|i=%u|.", c->pong_due);
    chi_buf_add_text(out, text);
    c->later.framing->frame(out, start);
    if (!out->failed)
        c->pong_due = 0;
}

static void conn_read(void *self, uint32_t conn, bool on)
{
    struct sim_world *w = self;
    struct sim_conn *c = conn_check(w, conn, "read");
    if (!c)
        return;
    c->reading = on;
    w->stirred = true;
}

static void inbox_drop(struct sim_conn *c)
{
    while (c->inbox) {
        struct sim_text *text = c->inbox;
        c->inbox = text->next;
        sim_free(text);
    }
    c->inbox_end = &c->inbox;
}

static void conn_close(void *self, uint32_t conn, int code, struct chi_span reason,
                       struct chi_span rest)
{
    struct sim_world *w = self;
    struct sim_conn *c = conn_check(w, conn, "close");
    (void)reason;
    if (!c)
        return;
    SIM_TRACE(w, "conn %u is closed by the hub, %d, %zu bytes to go", c->serial, code, rest.len);
    w->stirred = true;
    sim_bytes_add(&c->pipe, rest.at, rest.len);
    c->taken += rest.len;
    c->open = false;
    c->closing = true;
    c->code = code;
    inbox_drop(c);
    if (w->slots[c->slot].refused && code != 1008 && !(w->config.faults & SIM_ALLOC))
        sim_fail(w, "conn %u has no name and is closed with %d", c->serial, code);
    if (c->cut)
        sim_conn_free(w, c);
}

void sim_transport_init(struct sim_world *w)
{
    w->transport = (struct chi_transport){conn_send, conn_write_many, conn_take_control,
                                          conn_read, conn_close,      w};
}

void sim_conn_free(struct sim_world *w, struct sim_conn *c)
{
    (void)w;
    inbox_drop(c);
    sim_bytes_fini(&c->pipe);
    sim_bytes_fini(&c->rx);
    chi_buf_fini(&c->scratch);
    *c = (struct sim_conn){0};
}

/* --------------------------------------------------------------------------- the client's side
 * of it */

static struct chi_encoding any_encoding(struct sim_world *w)
{
    struct chi_encoding how = {&sim_dialect, sim_one_in(&w->rng, 2) ? &sim_line : &sim_boxed};
    if ((w->config.faults & SIM_NATIVE) && sim_one_in(&w->rng, 2))
        how.dialect = &chi_dialect_native;
    return how;
}

static uint32_t any_window(struct sim_world *w)
{
    switch (sim_below(&w->rng, 4)) {
    case 0:
        return 1 + sim_below(&w->rng, 64);
    case 1:
        return 64 + sim_below(&w->rng, 1024);
    default:
        return 4096 + sim_below(&w->rng, 65536);
    }
}

int sim_connect(struct sim_world *w, int actor)
{
    int at = 0;
    while (at < SIM_CONNS && w->conns[at].used)
        at++;
    if (at == SIM_CONNS)
        return -1;
    struct sim_conn *c = &w->conns[at];
    *c = (struct sim_conn){.used = true, .open = true, .reading = true, .actor = actor};
    c->inbox_end = &c->inbox;
    c->serial = ++w->serial;
    c->open_at = w->now;
    c->window = any_window(w);
    c->later = any_encoding(w);
    c->native = c->later.dialect == &chi_dialect_native;
    struct chi_client_desc desc = {.as = {&w->transport, (uint32_t)at, c->later},
                                   .address = CHI_SPAN("192.0.2.1"),
                                   .welcome = sim_one_in(&w->rng, 3)};
    if (sim_one_in(&w->rng, 4))
        desc.as.encoding = any_encoding(w);
    bool meet = (w->config.faults & SIM_FOREIGN) && w->room_count == 1;
    c->home = sim_one_in(&w->rng, 3) && !meet;
    if (c->home)
        desc.default_room = chi_span_of(w->rooms[1].name);
    if ((w->config.faults & SIM_FOREIGN) && !sim_foreign_describe(w, actor, c, &desc)) {
        sim_conn_free(w, c);
        return -1;
    }
    int rc = chi_hub_client_open(w->hub, &desc, &c->id);
    if (rc) {
        SIM_TRACE(w, "actor %d is not let in: %s", actor, chathub_errname(rc));
        sim_conn_free(w, c);
        return -1;
    }
    c->slot = chi_hub_client_slot(c->id);
    sim_slot_open(w, c->slot, &desc);
    SIM_TRACE(w, "actor %d connects as conn %u (slot %u, window %u, %s/%s)", actor, c->serial,
              c->slot, c->window, c->later.dialect->name, c->later.framing->name);
    if (c->decided)
        sim_foreign_enter(w, c);
    return c->used ? at : -1;
}

void sim_conn_say_text(struct sim_world *w, struct sim_conn *c, struct chi_span text)
{
    if (!c->open || c->cut)
        return;
    struct sim_text *t = sim_alloc(sizeof *t + text.len);
    t->len = text.len;
    t->native = c->native;
    memcpy(t->at, text.at, text.len);
    *c->inbox_end = t;
    c->inbox_end = &t->next;
    c->spoke = true;
    w->stirred = true;
    SIM_TRACE(w, "conn %u says %.*s", c->serial, (int)text.len, text.at);
}

void sim_conn_say(struct sim_world *w, struct sim_conn *c, const struct chi_request *request)
{
    struct sim_bytes text = {0};
    if (c->native)
        sim_native_write(&text, request);
    else
        sim_request_write(&text, request);
    sim_conn_say_text(w, c, (struct chi_span){text.at, text.len});
    sim_bytes_fini(&text);
}

static enum chi_next hand_over(struct sim_world *w, struct sim_conn *c, struct sim_text *text)
{
    static struct chi_request request; /* large; handed over at once */
    struct chi_decode_error error = {0};
    const struct chi_dialect *dialect = c->native ? &chi_dialect_native : &sim_dialect;
    struct chi_span span = {text->at, text->len};
    int rc = dialect->decode(&c->scratch, span, &request, &error);
    if (rc == 0)
        return CHI_NEXT_READ;
    sim_slot_asks(w, c->slot);
    if (rc > 0)
        return chi_hub_request(w->hub, c->id, &request);
    bool ends = c->later.dialect->bad_close && rc == CHATHUB_EREQUEST;
    uint32_t serial = c->serial;
    enum chi_next next = chi_hub_bad_request(w->hub, c->id, &error); /* may end it */
    if (ends && next != CHI_NEXT_GONE)
        sim_fail(w, "conn %u was not understood and lives on", serial);
    return next;
}

bool sim_conn_serve(struct sim_world *w, struct sim_conn *c)
{
    if (!c->used || !c->open || !c->reading || !c->inbox)
        return false;
    struct sim_text *text = c->inbox;
    c->inbox = text->next;
    if (!c->inbox)
        c->inbox_end = &c->inbox;
    uint32_t serial = c->serial;
    if (!c->served) {
        c->served = true;
        if (!c->entered && chi_hub_client_encoding(w->hub, c->id, c->later))
            chi_hub_close_client(w->hub, c->id, 1011, CHI_SPAN("no memory"));
        else if (!c->entered && w->actors[c->actor].kind)
            sim_foreign_enter(w, c);
    }
    if (c->used && c->serial == serial && c->open) {
        SIM_TRACE(w, "the hub reads of conn %u: %.*s", serial, (int)text->len, text->at);
        enum chi_next next = hand_over(w, c, text);
        if (c->used && c->serial == serial) {
            if (c->scratch.at)
                memset(c->scratch.at, 'Z', c->scratch.cap);
            c->reading = next != CHI_NEXT_WAIT;
            if (next == CHI_NEXT_GONE)
                inbox_drop(c);
        }
    }
    sim_free(text);
    w->stirred = true;
    return true;
}

static void read_frames(struct sim_world *w, struct sim_conn *c)
{
    struct chi_span text;
    bool boxed;
    size_t at = 0;
    uint32_t serial = c->serial;
    while (!w->failed && c->used && c->serial == serial && at < c->rx.len) {
        ptrdiff_t n = sim_unframe(c->rx.at + at, c->rx.len - at, &text, &boxed);
        if (n == 0)
            break;
        if (n < 0 || !sim_frame_read(text, &w->scratch, &w->frame)) {
            sim_fail(w, "conn %u: a torn frame: %.*s", c->serial,
                     (int)(c->rx.len - at < 200 ? c->rx.len - at : 200), c->rx.at + at);
            return;
        }
        SIM_TRACE(w, "conn %u receives %.*s", c->serial, (int)text.len, text.at);
        at += (size_t)n;
        w->frame.boxed = boxed;
        w->frame.at = c->framed;
        c->framed += (uint64_t)n;
        w->frames++;
        w->trace_hash = (w->trace_hash ^ sim_hash(text.at, text.len)) * 0x100000001b3u;
        sim_check_frame(w, c, &w->frame);
    }
    if (c->used && c->serial == serial)
        sim_bytes_consume(&c->rx, at);
}

bool sim_conn_receive(struct sim_world *w, struct sim_conn *c, size_t n)
{
    if (!c->used || c->cut || (c->pipe.len == 0 && !c->closing))
        return false;
    w->stirred = true;
    if (n > c->pipe.len)
        n = c->pipe.len;
    sim_bytes_add(&c->rx, c->pipe.at, n);
    sim_bytes_consume(&c->pipe, n);
    uint32_t serial = c->serial;
    read_frames(w, c);
    if (w->failed || !c->used || c->serial != serial || !c->closing || c->pipe.len)
        return true;
    if (c->rx.len && c->code != 0)
        sim_fail(w, "conn %u: closed (%d) within a frame: %.*s", c->serial, c->code, (int)c->rx.len,
                 c->rx.at);
    if (c->code == 0 && !(w->config.faults & SIM_ALLOC))
        sim_fail(w, "conn %u: torn though there was memory", c->serial);
    sim_actor_lost(w, c->actor, c);
    sim_conn_free(w, c);
    return true;
}

bool sim_conn_writable(struct sim_world *w, struct sim_conn *c)
{
    if (!c->used || !c->open || !c->blocked || c->pipe.len >= c->window || c->broken)
        return false;
    c->blocked = false;
    w->stirred = true;
    chi_delivery_writable(w->delivery, c->slot);
    return true;
}

void sim_conn_ping(struct sim_world *w, struct sim_conn *c)
{
    if (!c->open || c->cut || c->broken)
        return;
    c->pong_due = ++c->pings;
    chi_delivery_poke(w->delivery, c->slot);
}

/* Some of what was under way still arrives, in both directions. */
void sim_conn_cut(struct sim_world *w, struct sim_conn *c, bool clean)
{
    SIM_TRACE(w, "conn %u is cut%s", c->serial, clean ? " after a goodbye" : "");
    uint32_t serial = c->serial;
    if (c->pipe.len && sim_one_in(&w->rng, 2))
        (void)sim_conn_receive(w, c, sim_below(&w->rng, (uint32_t)c->pipe.len + 1));
    if (!c->used || c->serial != serial)
        return;
    c->cut = true;
    c->left_clean = clean;
    sim_actor_lost(w, c->actor, c);
    if (!clean && sim_one_in(&w->rng, 2))
        inbox_drop(c);
    if (!c->open) {
        sim_conn_free(w, c);
        return;
    }
    c->notice_at = w->now;
    if (!clean && sim_faulty(w, SIM_HALF_OPEN) && sim_one_in(&w->rng, 2))
        c->notice_at += sim_below(&w->rng, 3000);
    if (!clean && sim_faulty(w, SIM_BROKEN))
        c->broken = sim_one_in(&w->rng, 2);
}

void sim_conn_notice(struct sim_world *w, struct sim_conn *c)
{
    if (c->left_clean && c->inbox && c->reading)
        return; /* it said goodbye behind all that */
    SIM_TRACE(w, "the hub learns that conn %u is gone", c->serial);
    w->stirred = true;
    w->leaving = c->left_clean;
    if (c->left_clean && sim_one_in(&w->rng, 2)) {
        c->left_clean = false; /* the flush closes it, if this did not */
        chi_hub_close_client(w->hub, c->id, 1000, (struct chi_span){0});
        w->leaving = false;
        return;
    }
    const char *how = c->left_clean ? "left" : "lost";
    uint64_t id = c->id;
    sim_conn_free(w, c);
    chi_hub_client_closed(w->hub, id, how);
    w->leaving = false;
}

/* ----------------------------------------------------------------------- between core and
 * delivery */

static struct sim_conn *conn_of(uint32_t slot)
{
    for (int i = 0; i < SIM_CONNS; i++)
        if (sim_world->conns[i].used && sim_world->conns[i].open &&
            sim_world->conns[i].slot == slot)
            return &sim_world->conns[i];
    return NULL;
}

static struct sim_room *room_of(uint32_t number, const char *what)
{
    for (int i = 0; i < SIM_ROOMS; i++)
        if (sim_world->rooms[i].open && sim_world->rooms[i].number == number)
            return &sim_world->rooms[i];
    sim_fail(sim_world, "core: %s for room %u, which is not open", what, number);
    return NULL;
}

static int door_client_open(struct chi_delivery *d, uint32_t client,
                            const struct chi_delivery_client *as)
{
    if (client >= SIM_SLOTS) {
        sim_fail(sim_world, "core: slots are not dense (%u)", client);
        return CHATHUB_EFULL;
    }
    return chi_delivery_ops.client_open(d, client, as);
}

static int door_client_encoding(struct chi_delivery *d, uint32_t client,
                                struct chi_encoding encoding)
{
    sim_world->slots[client].dialect = encoding.dialect;
    return chi_delivery_ops.client_encoding(d, client, encoding);
}

static void forget_members(uint32_t client)
{
    for (int i = 0; i < SIM_ROOMS; i++) {
        struct sim_room *room = &sim_world->rooms[i];
        room->members -= room->member[client];
        room->member[client] = 0;
    }
}

static void door_client_close(struct chi_delivery *d, uint32_t client, int code,
                              struct chi_span reason)
{
    forget_members(client);
    sim_slot_end(sim_world, client);
    chi_delivery_ops.client_close(d, client, code, reason);
}

static void door_client_read(struct chi_delivery *d, uint32_t client)
{
    chi_delivery_ops.client_read(d, client);
}

static void door_client_gone(struct chi_delivery *d, uint32_t client)
{
    forget_members(client);
    sim_slot_end(sim_world, client);
    chi_delivery_ops.client_gone(d, client);
}

static int door_reply(struct chi_delivery *d, uint32_t client, const struct chi_reply *reply)
{
    struct sim_world *w = sim_world;
    int at = sim_room_of(w, reply->room);
    sim_check_answer(w, reply);
    if (reply->type == CHI_REPLY_LEFT && at >= 0 && w->rooms[at].member[client])
        w->rooms[at].left_first[client] = 1; /* member_leave has to follow before the next entry */
    sim_slot_reply(w, client, reply);
    int rc = chi_delivery_ops.reply(d, client, reply);
    sim_slot_replied(w, client, rc);
    SIM_TRACE(w, "reply %d to slot %u: %d", (int)reply->type, client, rc);
    return rc;
}

static int door_room_open(struct chi_delivery *d, uint32_t number, const struct chi_name *name,
                          uint64_t top)
{
    int at = sim_room_of(sim_world, chi_name_shown(name));
    int rc = chi_delivery_ops.room_open(d, number, name, top);
    if (rc || at < 0)
        return rc;
    struct sim_room *room = &sim_world->rooms[at];
    room->open = true;
    room->number = number;
    room->signal_last = 0;
    if (top > room->shown)
        room->shown = top;
    if (!room->count || top > room->past[room->count - 1].position)
        room->lost_to = top;
    return rc;
}

static void door_room_close(struct chi_delivery *d, uint32_t number)
{
    struct sim_room *room = room_of(number, "close");
    if (!room)
        return;
    if (room->members)
        sim_fail(sim_world, "core closed %s with %u members", room->name, room->members);
    room->open = false;
    chi_delivery_ops.room_close(d, number);
}

static int door_member_join(struct chi_delivery *d, uint32_t number, uint32_t client, uint64_t from,
                            bool signals)
{
    struct sim_room *room = room_of(number, "join");
    if (!room)
        return CHATHUB_ENOENT;
    if (room->member[client])
        sim_fail(sim_world, "core joined slot %u to %s twice", client, room->name);
    int rc = chi_delivery_ops.member_join(d, number, client, from, signals);
    if (rc == 0) {
        room->member[client] = 1;
        room->members++;
        sim_slot_join(sim_world, client, (int)(room - sim_world->rooms), from, signals);
    }
    return rc;
}

static void door_member_signals(struct chi_delivery *d, uint32_t number, uint32_t client)
{
    struct sim_room *room = room_of(number, "signals");
    if (room)
        sim_slot_signals(sim_world, client, (int)(room - sim_world->rooms));
    chi_delivery_ops.member_signals(d, number, client);
}

static void door_member_leave(struct chi_delivery *d, uint32_t number, uint32_t client)
{
    struct sim_room *room = room_of(number, "leave");
    if (!room)
        return;
    room->members -= room->member[client];
    room->member[client] = room->left_first[client] = 0;
    sim_slot_leave(sim_world, client, (int)(room - sim_world->rooms));
    chi_delivery_ops.member_leave(d, number, client);
}

static uint64_t door_member_position(struct chi_delivery *d, uint32_t number, uint32_t client)
{
    return chi_delivery_ops.member_position(d, number, client);
}

static void door_entry(struct chi_delivery *d, uint32_t number, struct chi_entry *entry)
{
    struct sim_world *w = sim_world;
    struct sim_room *room = room_of(number, "entry");
    if (!room)
        return;
    const struct sim_past *past = sim_past_after(room, room->shown);
    if (!past || past->position != entry->position)
        sim_fail(w, "core shows %llu in %s after %llu, not the next entry",
                 (unsigned long long)entry->position, room->name, (unsigned long long)room->shown);
    for (uint32_t i = 0; i < SIM_SLOTS; i++)
        if (room->left_first[i])
            sim_fail(w, "core told slot %u that it left %s and still has it as a member", i,
                     room->name);
    room->shown = entry->position;
    chi_delivery_ops.entry(d, number, entry);
}

/* Law 4: nobody is said to have gone while a post of theirs is on its way. */
static void signal_went(struct sim_world *w, uint32_t number, const struct chi_signal *signal)
{
    for (uint32_t i = 0; i < signal->went_count; i++)
        if (sim_flog_drafts(w->flog, number, signal->went[i].user))
            sim_fail(w, "core says that %.*s left while a post of theirs is uncommitted",
                     (int)signal->went[i].name.len, signal->went[i].name.at);
}

static void door_signal(struct chi_delivery *d, uint32_t number, const struct chi_signal *signal)
{
    struct sim_world *w = sim_world;
    struct sim_room *room = room_of(number, "signal");
    if (!room)
        return;
    sim_slot_signal(w, (int)(room - w->rooms), signal);
    if (signal->type == CHI_SIGNAL_PRESENCE) {
        signal_went(w, number, signal);
        if (signal->number >= room->signal_cap) {
            uint64_t cap = signal->number * 2 + 64;
            room->signal_top = sim_realloc(room->signal_top, cap * sizeof *room->signal_top);
            memset(room->signal_top + room->signal_cap, 0,
                   (cap - room->signal_cap) * sizeof *room->signal_top);
            room->signal_cap = cap;
        }
        if (!room->signal_top[signal->number]) /* a room that is opened again counts from 1 again */
            room->signal_top[signal->number] = room->shown + 1;
    }
    chi_delivery_ops.signal(d, number, signal);
}

static bool door_room_behind(struct chi_delivery *d, uint32_t number)
{
    return chi_delivery_ops.room_behind(d, number);
}

static void door_redact(struct chi_delivery *d, uint32_t number, uint64_t position)
{
    chi_delivery_ops.redact(d, number, position);
}

struct sim_conn *sim_conn_of(uint32_t slot)
{
    return conn_of(slot);
}

const struct chi_delivery_ops sim_delivery_ops = {
    .client_open = door_client_open,
    .client_encoding = door_client_encoding,
    .client_close = door_client_close,
    .client_read = door_client_read,
    .client_gone = door_client_gone,
    .reply = door_reply,
    .room_open = door_room_open,
    .room_close = door_room_close,
    .member_join = door_member_join,
    .member_signals = door_member_signals,
    .member_leave = door_member_leave,
    .member_position = door_member_position,
    .entry = door_entry,
    .room_behind = door_room_behind,
    .signal = door_signal,
    .redact = door_redact,
};
