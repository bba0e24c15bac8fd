/* Who is in a room, told to the room.
 *
 * Each member carries the name under which the room was told of it (`told`). Where that is not
 * what is true, the member is pending; a signal tells the differences of all pending ones and
 * makes them true. So who comes and goes between two signals is never told, what waits is
 * bounded by who is there, and leaving needs no memory. The first change is told at once, the
 * next ones in windows that grow with the room. Members whose own posts are not committed stay
 * pending until they are. Where names are too many, only counts are told, and later a whole
 * list. */
#include "core/nodes.h"

#include <stdlib.h>

static uint64_t window(const struct chi_hub *hub, const struct chi_room *room)
{
    const struct chi_settings *settings = hub->parts.settings;
    uint32_t hear = room->present + room->listeners;
    if (hear <= settings->presence_all)
        return settings->presence_all_ms;
    return hear <= settings->presence_names ? settings->presence_names_ms
                                            : settings->presence_count_ms;
}

bool chi_presence_room_for(struct chi_hub *hub, size_t count)
{
    if (count <= hub->present_cap)
        return true;
    size_t cap = count + count / 2 + 8;
    struct chi_present *present = realloc(hub->present, cap * sizeof *present);
    if (!present)
        return false;
    hub->present = present;
    hub->present_cap = cap;
    return true;
}

struct chi_present chi_presence_of(const struct chi_member *member)
{
    const struct chi_session *session = member->session;
    return (struct chi_present){
        .name = chi_name_shown(member->told ? member->told : session->name),
        .user = chi_session_user(session),
        .status = chi_span_of(session->status),
    };
}

bool chi_presence_names(const struct chi_hub *hub, const struct chi_room *room)
{
    return !room->nameless && room->told <= hub->parts.settings->presence_names;
}

uint32_t chi_presence_count(const struct chi_room *room, const struct chi_member *self)
{
    return room->told + (self && !self->told);
}

bool chi_presence_list(struct chi_hub *hub, const struct chi_room *room,
                       const struct chi_member *self, uint32_t *count)
{
    *count = 0;
    if (!chi_presence_room_for(hub, (size_t)room->told + 1))
        return false;
    const struct chi_chained all = CHI_MEMBERS(hub, in_room);
    for (const struct chi_member *member = chi_chain_first(all, room->members); member;
         member = chi_chain_next(all, room->members, member)) {
        if (member->told || member == self)
            hub->present[(*count)++] = chi_presence_of(member);
    }
    return true;
}

/* What waits is told no more: it is so. */
static void settle_pending(struct chi_hub *hub, struct chi_room *room)
{
    const struct chi_chained pending = CHI_MEMBERS(hub, pending);
    struct chi_member *member = chi_chain_first(pending, room->pending), *next;
    for (; member; member = next) {
        next = chi_chain_next(pending, room->pending, member);
        if (chi_presence_waits(member))
            continue;
        chi_chain_remove(pending, &room->pending, member);
        room->told -= member->told != NULL;
        room->told += !member->gone;
        chi_name_unref(member->told);
        member->told = member->gone ? NULL : chi_name_ref(member->session->name);
        chi_core_member_settle(hub, member);
    }
}

void chi_presence_quiet(struct chi_hub *hub, struct chi_room *room)
{
    if (room->busy)
        chi_timers_clear(&hub->timers, &room->busy->timer);
    settle_pending(hub, room);
}

struct kinds {
    uint32_t came, renamed, went;
};

static uint32_t *kind_of(struct kinds *kinds, const struct chi_member *member)
{
    return member->gone ? &kinds->went : member->told ? &kinds->renamed : &kinds->came;
}

static struct kinds count_kinds(const struct chi_hub *hub, const struct chi_room *room)
{
    const struct chi_chained pending = CHI_MEMBERS(hub, pending);
    struct kinds kinds = {0, 0, 0};
    for (const struct chi_member *member = chi_chain_first(pending, room->pending); member;
         member = chi_chain_next(pending, room->pending, member)) {
        if (!chi_presence_waits(member))
            ++*kind_of(&kinds, member);
    }
    return kinds;
}

/* Lists in hub->present first those that came, then the renamed, then those that went. */
static void list_kinds(struct chi_hub *hub, const struct chi_room *room, struct kinds kinds)
{
    struct kinds at = {0, kinds.came, kinds.came + kinds.renamed};
    const struct chi_chained pending = CHI_MEMBERS(hub, pending);
    for (const struct chi_member *member = chi_chain_first(pending, room->pending); member;
         member = chi_chain_next(pending, room->pending, member)) {
        if (chi_presence_waits(member))
            continue;
        struct chi_present *one = &hub->present[(*kind_of(&at, member))++];
        *one = chi_presence_of(member);
        if (!member->gone && member->told) {
            one->was = one->name;
            one->name = chi_name_shown(member->session->name);
        }
    }
}

static void tell_differences(struct chi_hub *hub, struct chi_room *room, struct kinds kinds)
{
    list_kinds(hub, room, kinds);
    struct chi_signal signal = {
        .type = CHI_SIGNAL_PRESENCE,
        .room = chi_name_shown(room->name),
        .number = room->number,
        .count = room->told + kinds.came - kinds.went,
        .time = chi_core_wall(hub),
        .summed = room->present + room->listeners + kinds.went > hub->parts.settings->presence_all,
        .came = hub->present,
        .came_count = kinds.came,
        .renamed = hub->present + kinds.came,
        .renamed_count = kinds.renamed,
        .went = hub->present + kinds.came + kinds.renamed,
        .went_count = kinds.went,
        .key = room->number, /* none replaces another */
    };
    room->differed = (uint16_t)room->number;
    CHI_DELIVERY(hub, signal, room->slot.number, &signal);
    settle_pending(hub, room);
}

/* How many are there, and who, if there is memory and they are not too many. */
static void whole(struct chi_hub *hub, const struct chi_room *room, struct chi_signal *signal)
{
    *signal = (struct chi_signal){
        .type = CHI_SIGNAL_PRESENCE,
        .room = chi_name_shown(room->name),
        .number = room->number,
        .count = room->told,
        .time = chi_core_wall(hub),
        .summed = true,
    };
    signal->snapshot =
        chi_presence_names(hub, room) && chi_presence_list(hub, room, NULL, &signal->came_count);
    signal->counts_only = !signal->snapshot;
    signal->came = signal->snapshot ? hub->present : NULL;
}

static void tell_whole(struct chi_hub *hub, struct chi_room *room, struct kinds kinds)
{
    struct chi_signal signal;
    settle_pending(hub, room);
    whole(hub, room, &signal);
    room->nameless = signal.counts_only;
    signal.arrivals = kinds.came;
    signal.departures = kinds.went;
    /* One replaces those right before it, but none before differences: these follow it. */
    signal.key = ~(uint64_t)room->differed;
    CHI_DELIVERY(hub, signal, room->slot.number, &signal);
}

/* A room that had too many for names has to shrink by an eighth before they are told again, lest
 * it goes to and fro. */
static bool few_enough(const struct chi_hub *hub, const struct chi_room *room, uint32_t count)
{
    uint32_t names = hub->parts.settings->presence_names;
    return count <= (room->nameless ? names - names / 8 : names);
}

static void announce(struct chi_hub *hub, struct chi_room *room)
{
    struct kinds kinds = count_kinds(hub, room);
    uint32_t all = kinds.came + kinds.renamed + kinds.went;

    if (room->busy)
        chi_timers_clear(&hub->timers, &room->busy->timer);
    if (!all)
        return;
    if (!room->live && !room->listeners) { /* nobody hears it */
        settle_pending(hub, room);
        return;
    }
    room->number++;
    room->told_at = (uint32_t)chi_core_now(hub);
    room->announced = true;
    /* Those of whom the room is told: who waits may go and never be told of. */
    bool names = few_enough(hub, room, room->told + kinds.came - kinds.went);
    if (names && !room->nameless && room->told <= hub->parts.settings->presence_names &&
        chi_presence_room_for(hub, all)) {
        tell_differences(hub, room, kinds);
        return;
    }
    room->nameless = !names;
    tell_whole(hub, room, kinds);
}

void chi_presence_timer(struct chi_timer *timer)
{
    struct chi_busy *busy = CHI_CONTAINER(timer, struct chi_busy, timer);
    announce(busy->hub, busy->room);
}

/* How long nothing more is to be told. After 49 days the clock's 32 bits may take a signal of long
 * ago for one of just now: a window more passes then. */
static uint64_t silence(const struct chi_hub *hub, const struct chi_room *room, uint64_t now)
{
    uint32_t since = (uint32_t)now - room->told_at;
    uint64_t whole = room->announced ? window(hub, room) : 0;
    return since < whole ? whole - since : 0;
}

static void stir(struct chi_hub *hub, struct chi_room *room)
{
    uint64_t now = chi_core_now(hub), wait = silence(hub, room, now);

    if ((room->live || room->listeners) && wait) {
        if (chi_core_announces(room))
            return;
        struct chi_busy *busy = chi_core_busy(hub, room);
        if (busy && chi_timers_set(&hub->timers, &busy->timer, now + wait) == 0) {
            chi_core_wake(hub);
            return;
        }
    }
    announce(hub, room);
}

void chi_presence_touch(struct chi_hub *hub, struct chi_member *member)
{
    struct chi_room *room = member->room;

    if (member->gone || !member->shared) /* else the others know it to be there */
        chi_nodes_touched(hub, member->session);
    if (member->told == (member->gone ? NULL : member->session->name)) {
        chi_chain_remove(CHI_MEMBERS(hub, pending), &room->pending, member);
        chi_core_member_settle(hub, member);
        return;
    }
    if (!chi_chain_linked(&member->pending))
        chi_chain_append(CHI_MEMBERS(hub, pending), &room->pending, member);
    if (!chi_presence_waits(member))
        stir(hub, room);
}

const struct chi_signal *chi_presence_snapshot(void *self, uint32_t number)
{
    struct chi_hub *hub = self;
    whole(hub, chi_slots_at(&hub->rooms, number), &hub->snapshot);
    return &hub->snapshot;
}
