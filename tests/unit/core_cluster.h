/* Several worlds of core_world.h as nodes of one chat: a log that they share, and a bus between
 * them, both of which do only as they are told. */
#ifndef CORE_CLUSTER_H
#define CORE_CLUSTER_H

#include "core/nodes_wire.h"
#include "core_world.h"

#define NODES_MAX 4

struct parcel {
    struct parcel *next;
    size_t len;
    char bytes[];
};

struct fed {
    struct fed *next;
    char key[64];
    struct chi_entry *entry;
};

struct peer {
    struct chi_bus bus;
    struct chi_bus_up up;
    struct world *world; /* NULL: it died */
    struct parcel *inbox, **inbox_end;
    struct fed *feed, **feed_end; /* entries that others posted */
    uint64_t shown;
    bool lags;      /* its log shows nothing new */
    bool cut;       /* nothing comes from it, and nothing to it */
    uint32_t full;  /* so much of what it says next is refused */
    uint32_t drops; /* of what it says next, so much is lost */
    uint64_t said;  /* messages */
    uint64_t bytes; /* of them */
};

static struct peer peers[NODES_MAX];
static uint32_t peer_count;
static uint64_t position; /* the highest given */

static inline void at(uint32_t i)
{
    world = peers[i].world;
}
static struct peer *here(void)
{
    for (uint32_t i = 0; i < peer_count; i++)
        if (peers[i].world == world)
            return &peers[i];
    return NULL;
}

/* ------------------------------------------------------------------------------------------ bus */

static void bus_bind(struct chi_bus *bus, const struct chi_bus_up *up)
{
    struct peer *peer = (struct peer *)(void *)bus;
    peer->up = *up;
}

/* The test's own memory does not fail, though allocations may be made to. */
static void *sure(size_t size)
{
    void *at;
    while ((at = malloc(size)) == NULL)
        ;
    return at;
}

static void put(struct peer *to, struct chi_span bytes)
{
    struct parcel *parcel = sure(sizeof *parcel + bytes.len);
    *parcel = (struct parcel){.len = bytes.len};
    memcpy(parcel->bytes, bytes.at, bytes.len);
    *to->inbox_end = parcel;
    to->inbox_end = &parcel->next;
}

static int bus_send(struct chi_bus *bus, uint64_t node, struct chi_span bytes)
{
    struct peer *from = (struct peer *)(void *)bus;
    must(bytes.len <= bus->most);
    if (from->full) {
        from->full--;
        return CHATHUB_EAGAIN;
    }
    from->said++;
    from->bytes += bytes.len;
    if (from->drops) {
        from->drops--;
        return 0;
    }
    if (from->cut)
        return CHATHUB_EAGAIN;
    for (uint32_t i = 0; i < peer_count; i++) {
        struct peer *to = &peers[i];
        if (to->world && !to->cut && (node ? to->bus.node == node : to != from))
            put(to, bytes);
    }
    return 0;
}

/* ------------------------------------------------------------------------------------------ log */

static struct log_room *log_room(struct world *w, const char *key)
{
    uint32_t i = 0;
    while (i < w->log_room_count && strcmp(w->log_rooms[i].key, key) != 0)
        i++;
    must(i < ROOMS);
    if (i == w->log_room_count) {
        w->log_room_count++;
        snprintf(w->log_rooms[i].key, sizeof w->log_rooms[i].key, "%s", key);
    }
    return &w->log_rooms[i];
}

static void show_fed(struct peer *peer)
{
    while (peer->feed && !peer->lags) {
        struct fed *fed = peer->feed;
        struct log_room *room = log_room(world, fed->key);
        struct chi_log_result result = {.room = room->number, .entry = fed->entry};
        peer->feed = fed->next;
        if (!peer->feed)
            peer->feed_end = &peer->feed;
        must(room->count < 512);
        room->entries[room->count++] = fed->entry;
        room->top = fed->entry->position;
        if (room->open)
            world->up.committed(world->up.hub, &result, 1);
        peer->shown = fed->entry->position;
        free(fed);
    }
}

/* What was committed here since is the others' to show. */
static void feed_others(struct peer *from, uint64_t since)
{
    for (uint64_t at = since + 1; at <= position; at++) {
        for (uint32_t r = 0; r < world->log_room_count; r++) {
            struct log_room *room = &world->log_rooms[r];
            struct chi_entry *entry = room->count ? room->entries[room->count - 1] : NULL;
            for (uint32_t e = room->count; e-- > 0 && entry->position > at;)
                entry = room->entries[e];
            if (!entry || entry->position != at)
                continue;
            for (uint32_t i = 0; i < peer_count; i++) {
                if (&peers[i] == from || !peers[i].world)
                    continue;
                struct fed *fed = sure(sizeof *fed);
                fed->next = NULL;
                memcpy(fed->key, room->key, sizeof fed->key);
                fed->entry = chi_entry_ref(entry);
                *peers[i].feed_end = fed;
                peers[i].feed_end = &fed->next;
            }
        }
    }
}

static void cluster_poll(struct chi_log *log)
{
    struct peer *peer = here();
    uint64_t since = position;

    show_fed(peer);
    while (peer->inbox) {
        struct parcel *parcel = peer->inbox;
        peer->inbox = parcel->next;
        if (!peer->inbox)
            peer->inbox_end = &peer->inbox;
        peer->up.heard(peer->up.hub, (struct chi_span){parcel->bytes, parcel->len});
        free(parcel);
    }
    bool stopped = world->log_stopped;
    world->position = position;
    world->log_stopped |= peer->feed != NULL; /* nothing is shown before what is older */
    fake_poll(log);
    world->log_stopped = stopped;
    position = world->position;
    if (position > since && !peer->feed)
        peer->shown = position;
    feed_others(peer, since);
}

static uint64_t cluster_shown(struct chi_log *log)
{
    (void)log;
    return here()->shown;
}

/* ---------------------------------------------------------------------------------------- nodes */

/* The new one's log holds what the others' do. */
static void copy_log(const struct peer *from)
{
    for (uint32_t i = 0; i < from->world->log_room_count; i++) {
        const struct log_room *theirs = &from->world->log_rooms[i];
        struct log_room *room = log_room(world, theirs->key);
        room->top = theirs->top;
        room->count = theirs->count;
        for (uint32_t e = 0; e < room->count; e++)
            room->entries[e] = chi_entry_ref(theirs->entries[e]);
    }
    here()->shown = from->shown;
}

static void node_new(uint64_t id)
{
    struct peer *peer = &peers[peer_count];
    uint64_t now = 1000;
    for (uint32_t i = 0; i < peer_count; i++)
        now = peers[i].world ? peers[i].world->now : now;

    must(peer_count < NODES_MAX);
    *peer = (struct peer){.bus = {.node = id, .most = 4096, .bind = bus_bind, .send = bus_send}};
    peer->inbox_end = &peer->inbox;
    peer->feed_end = &peer->feed;
    world_new(peer_count + 1);
    peer->world = world;
    peer_count++;
    for (uint32_t i = 0; i + 1 < peer_count; i++) {
        if (!peers[i].world)
            continue;
        copy_log(&peers[i]);
        break;
    }
    world->now = now;
    world->settings.max_remote = 10000;
    world->settings.node_lease = 6000;
    world->settings.replay_names = 100;
    world->settings.replay_time = 60000;
    world->log.poll = cluster_poll;
    world->log.shown = cluster_shown;
    world->parts.bus = &peer->bus;
    must(world_start() == 0);
}

/* It ends without a word. */
static inline void node_dies(uint32_t i)
{
    struct peer *peer = &peers[i];

    at(i);
    if (world)
        world_free();
    peer->world = NULL;
    while (peer->inbox) {
        struct parcel *parcel = peer->inbox;
        peer->inbox = parcel->next;
        free(parcel);
    }
    while (peer->feed) {
        struct fed *fed = peer->feed;
        peer->feed = fed->next;
        chi_entry_unref(fed->entry);
        free(fed);
    }
}

static inline void cluster_free(void)
{
    for (uint32_t i = 0; i < peer_count; i++)
        node_dies(i);
    peer_count = 0;
    position = 0;
}

/* Until nothing is left to do now. */
static inline void all_turns(void)
{
    struct world *was = world;
    bool more = true;
    for (int round = 0; more && round < 400; round++) {
        more = false;
        for (uint32_t i = 0; i < peer_count; i++) {
            at(i);
            if (!world)
                continue;
            turns();
        }
        for (uint32_t i = 0; i < peer_count; i++)
            more |= peers[i].world && (peers[i].inbox || (peers[i].feed && !peers[i].lags));
    }
    ck_assert(!more);
    world = was;
}

static inline void all_pass(uint64_t ms)
{
    struct world *was = world;
    for (uint64_t left = ms; left;) {
        uint64_t step = left < 50 ? left : 50;
        left -= step;
        for (uint32_t i = 0; i < peer_count; i++)
            if (peers[i].world)
                peers[i].world->now += step;
        all_turns();
    }
    world = was;
}

/* ---------------------------------------------------------------------------------------- views */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Who is where, as the node knows it, in order; to be freed. */
static inline char *view(uint32_t i)
{
    const struct chi_hub *hub = peers[i].world->hub;
    char **lines = calloc(hub->sessions.made + 1, sizeof *lines), *out, *end;
    uint32_t n = 0;

    for (uint32_t s = 0; s < hub->sessions.made; s++) {
        const struct chi_session *session = chi_slots_at(&hub->sessions, s);
        char rooms[512] = "", mine[64];
        char *names[64];
        size_t count = 0, len = 0;
        if (!session || session->ended)
            continue;
        for (const struct chi_member *m = chi_core_member_at(hub, session->members); m;
             m = chi_core_member_at(hub, m->next)) {
            if (m->gone)
                continue;
            snprintf(mine, sizeof mine, " %.*s", TEXT(chi_name_shown(m->room->name)));
            names[count++] = strdup(mine);
        }
        qsort(names, count, sizeof *names, by_text);
        for (size_t k = 0; k < count; k++) {
            len += (size_t)snprintf(rooms + len, sizeof rooms - len, "%s", names[k]);
            free(names[k]);
        }
        lines[n] = malloc(700);
        snprintf(lines[n++], 700, "%.16s %.*s v%" PRIu64 "%s%s%s\n", session->user,
                 TEXT(chi_name_shown(session->name)), chi_origin_of(hub->nodes, session)->version,
                 session->status ? " = " : "", session->status ? session->status : "", rooms);
    }
    qsort(lines, n, sizeof *lines, by_text);
    out = end = calloc(n + 1, 700);
    for (uint32_t l = 0; l < n; l++) {
        size_t len = strlen(lines[l]);
        memcpy(end, lines[l], len + 1);
        end += len;
        free(lines[l]);
    }
    free(lines);
    return out;
}

static inline void ck_same_view(void)
{
    char *first = NULL;
    for (uint32_t i = 0; i < peer_count; i++) {
        if (!peers[i].world)
            continue;
        char *one = view(i);
        if (first)
            ck_assert_str_eq(first, one);
        free(first);
        first = one;
    }
    free(first);
}

#endif
