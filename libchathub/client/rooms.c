/* A room's way: WANTED, asked for (ASKED), IN, and with a new connection ASKED again, by the hello,
 * after the last entry that was told. It is known by the name that the hub writes; before the first
 * `joined` by the id in its join's ref. */
#include "client/internal.h"

#include <stdlib.h>
#include <strings.h>

struct chi_stay *chi_stay_add(struct chathub_connection *connection, const char *name)
{
    struct chi_stay *stay = calloc(1, sizeof(*stay));

    if (stay && name)
        stay->name = chi_span_dup(chi_span_of(name));
    if (!stay || (name && !stay->name)) {
        free(stay);
        return NULL;
    }
    stay->id = ++connection->stay_ids;
    chi_list_append(&connection->stays, &stay->link);
    connection->stay_count++;
    return stay;
}

void chi_stay_remove(struct chathub_connection *connection, struct chi_stay *stay)
{
    chi_list_remove(&stay->link);
    connection->stay_count--;
    free(stay->name);
    free(stay);
}

struct chi_stay *chi_stay_named(const struct chathub_connection *connection, const char *name)
{
    struct chi_stay *stay;

    for (stay = chi_stay_first(connection); stay; stay = chi_stay_next(connection, stay))
        if (name && stay->name ? strcmp(stay->name, name) == 0 : !name && !stay->name)
            return stay;
    return NULL;
}

struct chi_stay *chi_stay_numbered(const struct chathub_connection *connection, uint64_t id)
{
    struct chi_stay *stay;

    for (stay = chi_stay_first(connection); stay; stay = chi_stay_next(connection, stay))
        if (stay->id == id)
            return stay;
    return NULL;
}

void chi_stays_restart(struct chathub_connection *connection)
{
    struct chi_stay *stay;

    for (stay = chi_stay_first(connection); stay; stay = chi_stay_next(connection, stay)) {
        stay->due = 0;
        if (stay->state == CHI_STAY_IN || stay->state == CHI_STAY_ASKED)
            stay->state = CHI_STAY_WANTED;
        if (stay->state == CHI_STAY_GOING)
            stay->state = CHI_STAY_GOES;
    }
}

/* The room that a frame is about: by its own ref, which begins with `kind`, or else by name. */
static struct chi_stay *find(const struct chathub_connection *connection,
                             const struct chi_frame *frame, char kind)
{
    uint64_t id;

    if (frame->own && frame->own[0] == kind &&
        chi_parse_u64(chi_span_of(frame->own + 1), 1, CHI_NEVER, &id))
        return chi_stay_numbered(connection, id);
    return frame->own || !frame->event.room[0] ? NULL
                                               : chi_stay_named(connection, frame->event.room);
}

/* A room that the host did not ask for by a join: by its first post to the default room, or since an
 * earlier process of the session was in it. */
static struct chi_stay *unasked(struct chathub_connection *connection)
{
    struct chi_stay *stay = chi_stay_add(connection, NULL);

    if (stay) {
        stay->state = CHI_STAY_IN;
        stay->unasked = true;
    }
    return stay;
}

static void copy_epoch(char to[CHI_EPOCH_MAX + 1], const char *from)
{
    memcpy(to, from, strlen(from) + 1);
}

/* Gives it the hub's name for it. Two joins may have meant one room: the later one goes. NULL: there
 * is no memory. */
static struct chi_stay *take_name(struct chathub_connection *connection, struct chi_stay *stay,
                                  const char *name)
{
    struct chi_stay *same = chi_stay_named(connection, name);

    if (same && same != stay) {
        if (same->unasked && stay->placed) { /* the place that was asked for counts */
            same->position = stay->position;
            copy_epoch(same->epoch, stay->epoch);
        }
        same->unasked = false;
        chi_stay_remove(connection, stay);
        return same;
    }
    if (!same) {
        char *copy = chi_span_dup(chi_span_of(name));
        if (!copy)
            return NULL;
        free(stay->name);
        stay->name = copy;
    }
    stay->known = true;
    return stay;
}

/* Whether a join of the host's will be answered for this room. Until then nothing is told of it: that
 * the session goes on where an older connection stood, of another process perhaps, is not what was
 * asked for. */
static bool is_awaited(const struct chathub_connection *connection, const char *room)
{
    const struct chi_stay *stay;

    for (stay = chi_stay_first(connection); stay; stay = chi_stay_next(connection, stay))
        if (!stay->known &&
            strcasecmp(stay->name ? stay->name : connection->default_room, room) == 0)
            return true;
    return false;
}

void chi_stay_joined(struct chathub_connection *connection, struct chi_frame *frame)
{
    struct chi_stay *stay = find(connection, frame, 'j');

    if (!frame->event.room[0] || (!stay && connection->stay_count >= CHI_ROOMS_MAX) ||
        (!frame->own && is_awaited(connection, frame->event.room)))
        return;
    if (!stay)
        stay = unasked(connection);
    if (stay)
        stay = take_name(connection, stay, frame->event.room);
    if (!stay) {
        chi_connection_lost(connection, CHATHUB_ENOMEM, "out of memory");
        return;
    }
    if (stay->state == CHI_STAY_WANTED || stay->state == CHI_STAY_ASKED)
        stay->state = CHI_STAY_IN;
    copy_epoch(stay->fresh, frame->epoch);
    if (!stay->placed) {
        copy_epoch(stay->epoch, frame->epoch);
        stay->position = frame->start;
        stay->placed = true;
    }
    stay->told = true;
    chi_connection_kick(connection);
    chi_connection_tell(connection, &frame->event);
}

static void tell_left(struct chathub_connection *connection, struct chi_stay *stay, int code,
                      const char *message)
{
    struct chathub_event event = chi_event_of(CHATHUB_EVENT_LEFT);
    char *name = stay->name;

    event.room = name ? name : "";
    event.code = code;
    event.message = message;
    stay->name = NULL;
    chi_stay_remove(connection, stay);
    chi_connection_tell(connection, &event);
    free(name);
}

void chi_stay_left(struct chathub_connection *connection, struct chi_frame *frame)
{
    struct chi_stay *stay = find(connection, frame, 'l');

    if (!stay)
        return;
    chi_stay_remove(connection, stay);
    chi_connection_tell(connection, &frame->event);
}

bool chi_stay_error(struct chathub_connection *connection, struct chi_frame *frame)
{
    struct chi_stay *joining = find(connection, frame, 'j');
    struct chi_stay *leaving = frame->own ? find(connection, frame, 'l') : NULL;

    if (leaving) {
        tell_left(connection, leaving, 0, "");
        return true;
    }
    if (!joining || joining->state != CHI_STAY_ASKED || frame->event.ref[0] || frame->event.cid[0])
        return false;
    if (chi_passes(frame)) {
        joining->state = CHI_STAY_WANTED;
        joining->due = chi_again(connection, frame);
        chi_connection_kick(connection);
        return true;
    }
    bool told = joining->told;
    uint64_t id = joining->id;
    if (!told)
        chi_stay_remove(connection, joining);
    if (!chi_connection_tell(connection, &frame->event) || !told)
        return true;
    joining = chi_stay_numbered(connection, id);
    if (joining)
        tell_left(connection, joining, frame->event.code, frame->event.message);
    return true;
}

/* ---------------------------------------------------------------------------------------- entries */

static void place(struct chi_stay *stay, uint64_t position)
{
    stay->position = position;
    memcpy(stay->epoch, stay->fresh, sizeof(stay->epoch));
}

void chi_stay_gap(struct chathub_connection *connection, struct chi_frame *frame)
{
    struct chi_stay *stay = find(connection, frame, 'j');

    if (!stay || stay->state < CHI_STAY_IN)
        return;
    place(stay, frame->event.position);
    chi_connection_tell(connection, &frame->event);
}

/* An entry that does not follow the one before, which no gap told: it is not passed over. */
static bool tell_hole(struct chathub_connection *connection, const struct chi_stay *stay,
                      uint64_t prev)
{
    struct chathub_event gap = chi_event_of(CHATHUB_EVENT_GAP);

    gap.room = stay->name;
    gap.prev = stay->position;
    gap.position = prev;
    return chi_connection_tell(connection, &gap);
}

void chi_stay_entry(struct chathub_connection *connection, struct chi_frame *frame)
{
    struct chi_stay *stay = find(connection, frame, 'j');
    const struct chathub_event *event = &frame->event;

    if (!stay || stay->state < CHI_STAY_IN)
        return;
    if (event->position <= stay->position)
        return; /* it was told before */
    uint64_t id = stay->id;
    if (event->prev > stay->position &&
        (!tell_hole(connection, stay, event->prev) || !(stay = chi_stay_numbered(connection, id))))
        return;
    place(stay, event->position);
    if (event->type == CHATHUB_EVENT_MESSAGE)
        chi_connection_tell(connection, event);
}
