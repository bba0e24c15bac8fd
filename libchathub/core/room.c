/* Rooms: made at the first join (or fixed by the settings), opened by the log, unloaded when nobody
 * needs them.
 *
 * Happy path: closed, opening (who wants in waits), open. Failure: the log cannot open it: those
 * who wait are told, the room is closed again, and the next one who wants in tries anew. */
#include "core/nodes.h"

#include <stdlib.h>
#include <string.h>

int chi_core_room_name(struct chi_hub *hub, const struct chi_client *client, struct chi_span text,
                       struct chi_folded *out)
{
    if (text.at)
        return chi_core_fold(hub, CHI_FOLD_ROOM, text, out);
    const struct chi_name *home = chi_core_home(hub, client)->room;
    *out = (struct chi_folded){chi_name_shown(home), chi_name_key(home)};
    return 0;
}

struct chi_room *chi_core_room_find(const struct chi_hub *hub, struct chi_span key)
{
    return chi_slots_at(&hub->rooms, chi_index_find(&hub->by_room, key));
}

static int make(struct chi_hub *hub, const struct chi_folded *name, struct chi_room **out)
{
    const struct chi_settings *settings = hub->parts.settings;

    if (hub->rooms.used >= settings->max_rooms)
        return chi_core_problem(hub, CHATHUB_EFULL, "there are %u rooms already; join one of them",
                                hub->rooms.used);
    if (chi_index_reserve(&hub->by_room) < 0)
        return CHATHUB_ENOMEM;
    struct chi_name *own = chi_name_new(name->shown, name->key);
    struct chi_room *room = own ? chi_slots_take(&hub->rooms) : NULL;
    if (room && chi_nodes_room_place(hub, room) < 0) {
        chi_slots_give(&hub->rooms, room);
        room = NULL;
    }
    if (!room) {
        chi_name_unref(own);
        return CHATHUB_ENOMEM;
    }
    room->name = own;
    chi_index_put(&hub->by_room, room->slot.number);
    *out = room;
    return 0;
}

static void close_handle(struct chi_hub *hub, struct chi_room *room)
{
    if (room->handle)
        hub->parts.log->close(hub->parts.log, room->handle);
    room->handle = NULL;
}

static int begin_opening(struct chi_hub *hub, struct chi_room *room)
{
    close_handle(hub, room); /* of an opening that delivery had no memory for */
    struct chi_link *waiters = malloc(sizeof *waiters);
    if (!waiters)
        return CHATHUB_ENOMEM;
    int r = hub->parts.log->open(hub->parts.log, room->slot.number, room->name);
    if (r < 0) {
        free(waiters);
        return r == CHATHUB_EROOMNAME
                   ? chi_core_problem(hub, r,
                                      "the log takes no room's name that is so long; "
                                      "choose a shorter one")
                   : r;
    }
    chi_list_init(waiters);
    room->waiters = waiters;
    room->state = CHI_ROOM_OPENING;
    chi_core_wake(hub);
    return CHI_STEP_WAIT;
}

int chi_core_room_need(struct chi_hub *hub, const struct chi_folded *name, struct chi_room **out)
{
    if (!hub->parts.settings->create_rooms && !chi_core_room_find(hub, name->key))
        return CHATHUB_ENOROOM;
    return chi_core_room_load(hub, name, out);
}

int chi_core_room_load(struct chi_hub *hub, const struct chi_folded *name, struct chi_room **out)
{
    struct chi_room *room = chi_core_room_find(hub, name->key);

    if (!room) {
        int r = make(hub, name, &room);
        if (!room)
            return r;
    }
    *out = room;
    if (room->state == CHI_ROOM_OPEN)
        return 0;
    if (room->state == CHI_ROOM_OPENING)
        return CHI_STEP_WAIT;
    int r = begin_opening(hub, room);
    if (r < 0)
        chi_core_room_idle(hub, room);
    return r;
}

struct chi_room *chi_core_room_heard(struct chi_hub *hub, const struct chi_folded *name)
{
    struct chi_room *room = NULL;

    make(hub, name, &room);
    hub->problem[0] = '\0';
    return room;
}

static int make_fixed(struct chi_hub *hub, struct chi_span text)
{
    struct chi_folded name;
    struct chi_room *room;

    int r = chi_core_fold(hub, CHI_FOLD_ROOM, text, &name);
    if (r < 0)
        return r;
    room = chi_core_room_find(hub, name.key);
    if (!room)
        r = make(hub, &name, &room);
    if (!room)
        return r;
    room->fixed = true;
    return 0;
}

/* Fixed rooms are opened at their first join, as others: the hub need not wait for them to
 * start. */
int chi_core_room_fixed(struct chi_hub *hub)
{
    const char *at = hub->parts.settings->rooms;

    while (at && *at) {
        at += strspn(at, ", ");
        size_t len = strcspn(at, ",");
        const char *next = at + len;
        while (len && at[len - 1] == ' ')
            len--;
        int r = len ? make_fixed(hub, (struct chi_span){at, len}) : 0;
        if (r < 0)
            return r;
        at = next;
    }
    return 0;
}

void chi_core_opened(void *self, uint32_t number, int status, void *handle, uint64_t top)
{
    struct chi_hub *hub = self;
    struct chi_room *room = chi_slots_at(&hub->rooms, number);
    struct chi_link *link;

    if (!room || room->state != CHI_ROOM_OPENING)
        return;
    struct chi_link *waiters = room->waiters;
    room->handle = status == 0 ? handle : NULL;
    if (status == 0) {
        room->top = top;
        status = CHI_DELIVERY(hub, room_open, number, room->name, top);
    }
    room->state = status == 0 ? CHI_ROOM_OPEN : CHI_ROOM_CLOSED;
    while ((link = chi_list_take(waiters)) != NULL) {
        struct chi_job *job = CHI_CONTAINER(link, struct chi_job, link);
        job->status = status;
        chi_core_job_ready(hub, job);
    }
    free(waiters);
    chi_core_room_idle(hub, room);
}

void *chi_core_handle(void *self, uint32_t number)
{
    const struct chi_hub *hub = self;
    const struct chi_room *room = chi_slots_at(&hub->rooms, number);
    return room->handle;
}

/* By this node's own people. */
static bool needed(const struct chi_hub *hub, const struct chi_room *room)
{
    return room->fixed || room->state == CHI_ROOM_OPENING || room->observers || room->drafts ||
           room->holds || chi_nodes_own(hub, room);
}

/* Of a room that only members of other nodes are in there is but the record. */
static bool idles(const struct chi_hub *hub, const struct chi_room *room)
{
    return !needed(hub, room) && (room->state == CHI_ROOM_OPEN || !room->members);
}

void chi_core_room_idle(struct chi_hub *hub, struct chi_room *room)
{
    if (room->queued || !idles(hub, room))
        return;
    room->queued = true;
    room->idle = hub->idle;
    hub->idle = room->slot.number + 1;
    chi_core_wake(hub);
}

void chi_core_room_close(struct chi_hub *hub, struct chi_room *room)
{
    if (room->state == CHI_ROOM_OPEN)
        CHI_DELIVERY(hub, room_close, room->slot.number);
    close_handle(hub, room);
    chi_core_busy_end(hub, room);
    room->state = CHI_ROOM_CLOSED;
    chi_presence_quiet(hub, room);
}

static void unload(struct chi_hub *hub, struct chi_room *room)
{
    room->queued = true; /* until it is known what stays */
    chi_core_room_close(hub, room);
    room->queued = false;
    if (room->members)
        return;
    chi_index_remove(&hub->by_room, room->slot.number);
    chi_name_unref(room->name);
    chi_slots_give(&hub->rooms, room);
}

void chi_core_work_idle(struct chi_hub *hub)
{
    while (hub->idle) {
        struct chi_room *room = chi_slots_at(&hub->rooms, hub->idle - 1);
        hub->idle = room->idle;
        room->queued = false;
        if (idles(hub, room))
            unload(hub, room);
    }
}

/* The log and delivery end on their own: they are not called. */
void chi_core_rooms_free(struct chi_hub *hub)
{
    for (uint32_t i = 0; i < hub->rooms.made; i++) {
        struct chi_room *room = chi_slots_at(&hub->rooms, i);
        if (!room)
            continue;
        chi_core_busy_end(hub, room);
        chi_name_unref(room->name);
        if (room->state == CHI_ROOM_OPENING)
            free(room->waiters);
    }
}
