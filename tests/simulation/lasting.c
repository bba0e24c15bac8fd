/* A log that lasts: what it holds outlives the hub, in memory that no fault touches.
 *
 * Happy path: each hub that opens it begins a new epoch, and finds what was committed, cids too.
 * What a loss of power, a restored copy or a damaged file may do to a log is done to it between two
 * hubs: its newest entries go (and the epochs that began with them), or some in its middle. It
 * stands behind the fault log, which reports in its own time, and so answers within the calls. */
#include <string.h>

#include "sim.h"

#define ROOMS 16

struct kept {
    struct chi_entry *entry; /* owned: all references but one are the library's */
    uint32_t user, cid;      /* interned; what was redacted is remembered too */
    uint64_t said;           /* hash of its texts */
    bool lost;               /* it cannot be read any more */
};

struct kept_room {
    char key[80];
    uint32_t number;   /* the hub's */
    struct kept *kept; /* owned, by position */
    uint32_t count, cap;
};

struct epoch {
    char name[CHI_EPOCH_LEN + 1];
    uint64_t first; /* position that it begins with */
};

struct sim_store {
    struct chi_log log; /* first */
    struct sim_world *w;
    struct chi_log_up up;
    struct kept_room rooms[ROOMS];
    uint32_t room_count;
    struct epoch *epochs; /* owned, oldest first; the last is this opening's */
    uint32_t epoch_count;
    uint64_t last; /* newest position given out */
    struct chi_entry
        *redacted[SIM_ERASURES]; /* what stood there before, for whoever refers to it */
    uint32_t redacted_count;
};

static struct sim_store *store_of(struct chi_log *log)
{
    return (struct sim_store *)(void *)log;
}

/* -------------------------------------------------------------------------------- what it keeps */

static struct chi_entry *entry_copy(const struct chi_entry *entry, bool texts)
{
    size_t size = texts ? chi_entry_size(entry) : sizeof *entry;
    struct chi_entry *copy = sim_alloc(size);
    memcpy((void *)copy, (const void *)entry, size);
    atomic_init(&copy->refs, 1);
    if (!texts) {
        copy->sender_len = copy->user_len = copy->cid_len = 0;
        copy->content_len = copy->data_len = 0;
    }
    return copy;
}

static uint64_t top_of(const struct kept_room *room)
{
    return room->count ? room->kept[room->count - 1].entry->position : 0;
}

static struct kept *kept_at(const struct kept_room *room, uint64_t position)
{
    for (uint32_t i = room->count; i-- > 0;)
        if (room->kept[i].entry->position == position)
            return &room->kept[i];
    return NULL;
}

static void keep(struct kept_room *room, struct kept kept, const struct chi_entry *entry)
{
    if (room->count == room->cap) {
        room->cap = room->cap * 2 + 64;
        room->kept = sim_realloc(room->kept, room->cap * sizeof *room->kept);
    }
    kept.entry = entry_copy(entry, true);
    room->kept[room->count++] = kept;
}

static const struct kept *first_of(const struct kept_room *room, const struct kept *like)
{
    for (uint32_t i = 0; like->cid && i < room->count; i++)
        if (room->kept[i].cid == like->cid && room->kept[i].user == like->user)
            return &room->kept[i];
    return NULL;
}

/* ------------------------------------------------------------------------------------- as a log */

static void store_bind(struct chi_log *log, const struct chi_log_up *up)
{
    store_of(log)->up = *up;
}

static struct chi_span store_epoch(struct chi_log *log)
{
    const struct sim_store *s = store_of(log);
    return chi_span_of(s->epochs[s->epoch_count - 1].name);
}

bool sim_store_holds(const struct sim_store *s, struct chi_span epoch, uint64_t position)
{
    if (!epoch.len)
        return true;
    for (uint32_t i = 0; i < s->epoch_count; i++)
        if (chi_span_is(epoch, s->epochs[i].name))
            return i + 1 == s->epoch_count || position < s->epochs[i + 1].first;
    return false;
}

static bool store_holds(struct chi_log *log, struct chi_span epoch, uint64_t position)
{
    return position <= CHI_POSITION_MAX && sim_store_holds(store_of(log), epoch, position);
}

static uint64_t store_horizon(struct chi_log *log)
{
    (void)log;
    return 7u * 86400000u; /* longer than any story */
}

static int store_open(struct chi_log *log, uint32_t number, struct chi_name *name)
{
    struct chi_span key = chi_name_key(name);
    struct sim_store *s = store_of(log);
    uint32_t at = 0;
    while (at < s->room_count && !chi_span_is(key, s->rooms[at].key))
        at++;
    if (at == ROOMS)
        return CHATHUB_ELOG;
    struct kept_room *room = &s->rooms[at];
    if (at == s->room_count) {
        memcpy(room->key, key.at, key.len < sizeof room->key ? key.len : sizeof room->key - 1);
        s->room_count++;
    }
    room->number = number;
    s->up.opened(s->up.hub, number, 0, room, top_of(room));
    return 0;
}

static void store_close(struct chi_log *log, void *handle)
{
    (void)log;
    (void)handle;
}

static int store_append(struct chi_log *log, void *handle, struct chi_entry *draft, void *token)
{
    struct sim_store *s = store_of(log);
    struct kept_room *room = handle;
    struct chi_entry_parts parts = chi_entry_read(draft);
    struct kept kept = {.user = sim_intern(s->w, parts.user), .cid = sim_intern(s->w, parts.cid)};
    kept.said = sim_hash(parts.content.at, parts.content.len) * 31 +
                sim_hash(parts.data.at, parts.data.len);
    struct chi_log_result result = {.token = token, .room = room->number, .entry = draft};
    const struct kept *first = first_of(room, &kept);
    if (first && first->said != kept.said) {
        result.status = CHATHUB_ECIDREUSED;
        result.entry = NULL;
    } else if (first) {
        result.status = CHATHUB_EDUP;
        draft->position = first->entry->position;
        draft->time = first->entry->time;
    } else {
        draft->prev = top_of(room);
        draft->position = ++s->last;
        draft->time = s->w->env.ops->wall(s->w);
        keep(room, kept, draft);
    }
    s->up.committed(s->up.hub, &result, 1);
    return 0;
}

/* How many from this end of the entries that are there fit into a page. */
static uint32_t page_len(struct chi_entry *const *entries, uint32_t have,
                         const struct chi_log_read *read)
{
    uint32_t n = 0;
    uint64_t bytes = 0;
    while (n < have && n < read->limit) {
        bytes += chi_entry_size(entries[read->backward ? have - 1 - n : n]);
        if (n && bytes > read->bytes)
            break;
        n++;
    }
    return n;
}

static int store_read(struct chi_log *log, void *handle, const struct chi_log_read *read)
{
    const struct kept_room *room = handle;
    uint64_t most = store_of(log)->w->settings.log_entries;
    struct chi_entry **entries = sim_alloc((room->count + 1) * sizeof(struct chi_entry *));
    uint32_t have = 0;
    for (uint32_t i = room->count > most ? room->count - (uint32_t)most : 0; i < room->count; i++) {
        struct chi_entry *entry = room->kept[i].entry;
        if (!room->kept[i].lost && entry->position > read->after && entry->position < read->before)
            entries[have++] = entry;
    }
    uint32_t n = page_len(entries, have, read);
    struct chi_log_page page = {
        .entries = entries + (read->backward ? have - n : 0), .count = n, .more = n < have};
    read->reader->page(read->reader, &page);
    sim_free((void *)entries);
    return 0;
}

static int store_redact(struct chi_log *log, void *handle, uint64_t position, void *token)
{
    struct sim_store *s = store_of(log);
    const struct kept_room *room = handle;
    struct kept *kept = kept_at(room, position);
    if (kept && !kept->lost && s->redacted_count < SIM_ERASURES) {
        s->redacted[s->redacted_count++] = kept->entry;
        kept->entry = entry_copy(kept->entry, false);
        s->up.redacted(s->up.hub, room->number, position, 0, token);
    } else {
        s->up.redacted(s->up.hub, room->number, position, CHATHUB_ENOENT, token);
    }
    return 0;
}

static void store_poll(struct chi_log *log)
{
    (void)log;
}

static uint64_t store_next(struct chi_log *log)
{
    (void)log;
    return UINT64_MAX;
}

static void store_stats(struct chi_log *log, struct chi_log_stats *out)
{
    (void)log;
    *out = (struct chi_log_stats){0};
}

/* The hub is gone: nobody refers to an entry any more. */
static void store_free_log(struct chi_log *log)
{
    struct sim_store *s = store_of(log);
    uint32_t still = 0;
    for (uint32_t i = 0; i < s->room_count; i++)
        for (uint32_t k = 0; k < s->rooms[i].count; k++)
            still += atomic_load(&s->rooms[i].kept[k].entry->refs) != 1;
    for (uint32_t i = 0; i < s->redacted_count; i++) {
        still += atomic_load(&s->redacted[i]->refs) != 1;
        sim_free(s->redacted[i]);
    }
    s->redacted_count = 0;
    if (still)
        sim_fail(s->w, "%u entries of the log are still referred to after the hub's end", still);
}

/* -------------------------------------------------------------------------- between two hubs */

struct sim_store *sim_store_new(struct sim_world *w)
{
    struct sim_store *s = sim_alloc(sizeof *s);
    s->w = w;
    s->log = (struct chi_log){store_bind,  store_epoch,  store_holds,    store_horizon, store_open,
                              store_close, store_append, store_read,     store_redact,  store_poll,
                              store_next,  store_stats,  store_free_log, NULL};
    return s;
}

void sim_store_free(struct sim_store *s)
{
    if (!s)
        return;
    (void)sim_store_cut(s, 0);
    for (uint32_t i = 0; i < s->room_count; i++)
        sim_free(s->rooms[i].kept);
    sim_free(s->epochs);
    sim_free(s);
}

/* Positions may be passed over, as a file does that knows only some of what was given out. */
struct chi_log *sim_store_open(struct sim_store *s)
{
    struct sim_rng *rng = &s->w->rng;
    uint8_t random[CHI_EPOCH_LEN * 3 / 4];
    s->w->env.ops->random(s->w, random, sizeof random);
    s->last += sim_one_in(rng, 3) ? sim_below(rng, 3) : 0;
    s->epochs = sim_realloc(s->epochs, (s->epoch_count + 1) * sizeof *s->epochs);
    struct epoch *epoch = &s->epochs[s->epoch_count++];
    *epoch = (struct epoch){.first = s->last + 1};
    chi_base64url(random, sizeof random, epoch->name);
    return &s->log;
}

uint64_t sim_store_last(const struct sim_store *s)
{
    return s->last;
}

uint64_t sim_store_cut(struct sim_store *s, uint64_t last)
{
    s->last = 0;
    for (uint32_t i = 0; i < s->room_count; i++) {
        struct kept_room *room = &s->rooms[i];
        while (room->count && (top_of(room) > last || room->kept[room->count - 1].lost))
            sim_free(room->kept[--room->count].entry);
        if (top_of(room) > s->last)
            s->last = top_of(room);
    }
    while (s->epoch_count && s->epochs[s->epoch_count - 1].first > s->last + 1)
        s->epoch_count--;
    return s->last;
}

/* Not the newest of a room, which it is opened with. */
bool sim_store_lose(struct sim_store *s, uint64_t position)
{
    for (uint32_t i = 0; i < s->room_count; i++) {
        struct kept *kept = kept_at(&s->rooms[i], position);
        if (!kept || position == top_of(&s->rooms[i]))
            continue;
        kept->lost = true;
        return true;
    }
    return false;
}
