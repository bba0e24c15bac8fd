/* The log in memory: bounded per room by count, bytes and age, over all rooms by bytes, and gone
 * with the process.
 *
 * Happy path: append, open and read only queue; the next poll commits and reports in that order.
 * Failure modes: no memory is answered by the call itself; a room that was forgotten for want of
 * space opens with a top above all that was forgotten, so that who had read in it is told a gap
 * rather than nothing. */
#include "log/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "chathub.h"
#include "log/cids.h"
#include "util/list.h"
#include "util/map.h"

/* Between two looks for entries that are too old. */
#define SWEEP_MS 60000u

/* Where the settings set no bound. */
static const struct chi_log_bounds standard = {
    .entries = 10000,
    .bytes = 64u << 20,
    .total_bytes = 256u << 20,
    .age = 86400000,
    .cid_horizon = 60000,
    .cids = 1000000,
};

struct room {
    struct chi_link lru;        /* in memory->lru or memory->empty */
    struct chi_entry **entries; /* owned ring of `cap` places, a reference in each in use */
    char *key;                  /* owned */
    size_t key_len;
    uint64_t top;               /* newest position ever */
    uint64_t bytes;             /* of the kept entries */
    uint32_t first, count, cap; /* place of the oldest; kept; allocated */
    uint32_t number;            /* the hub's, while open */
    uint32_t queued;            /* operations on it that were not reported yet */
    bool open;
};

enum op_kind { OP_OPEN, OP_APPEND, OP_READ, OP_REDACT };

/* Something to report at the next poll. */
struct op {
    enum op_kind kind;
    struct room *room;
    struct chi_entry *draft;  /* append: a reference */
    void *token;              /* append, redact */
    uint64_t position;        /* redact */
    struct chi_log_read read; /* read */
};

struct ops {
    struct op *at;
    struct chi_log_result *results; /* as many places as `at` has */
    uint32_t count, cap;
};

struct memory {
    struct chi_log log; /* first */
    const struct chi_settings *settings;
    struct chi_env env;
    struct chi_log_up up;
    struct chi_map *rooms; /* by key */
    struct chi_cids cids;  /* of the last settings->cid_horizon */
    struct chi_link lru;   /* rooms with entries, the longest without an append first */
    struct chi_link empty; /* rooms without */
    struct ops queue;      /* to be done */
    struct ops doing;      /* being done */
    uint64_t last;         /* newest position of all */
    uint64_t forgotten;    /* top of all rooms that were forgotten */
    uint64_t bytes;        /* of all entries */
    uint64_t swept;        /* when old entries were looked for */
    char epoch[CHI_EPOCH_LEN + 1];
};

static struct memory *of(struct chi_log *log)
{
    return (struct memory *)(void *)log;
}

static struct chi_log_bounds bounds(const struct memory *m)
{
    return chi_log_bounds(m->settings, &standard);
}

/* --------------------------------------------------------------------------------------- bounds */

static void drop_oldest(struct memory *m, struct room *room)
{
    struct chi_entry *entry = room->entries[room->first];
    size_t size = chi_entry_size(entry);
    room->first = (room->first + 1) % room->cap;
    room->count--;
    room->bytes -= size;
    m->bytes -= size;
    chi_entry_unref(entry);
    if (!room->count) {
        chi_list_remove(&room->lru);
        chi_list_append(&m->empty, &room->lru);
    }
}

static void trim_room(struct memory *m, struct room *room)
{
    struct chi_log_bounds keep = bounds(m);
    uint64_t wall = m->env.ops->wall(m->env.self);
    uint64_t since = chi_log_since(wall, keep.age);
    while (room->count && (room->count > keep.entries || room->bytes > keep.bytes ||
                           room->entries[room->first]->time < since))
        drop_oldest(m, room);
}

static void room_free(struct memory *m, struct room *room)
{
    while (room->count)
        drop_oldest(m, room);
    chi_map_remove(m->rooms, room->key, room->key_len);
    chi_list_remove(&room->lru);
    free(room->entries);
    free(room->key);
    free(room);
}

/* The rooms that were silent longest lose their oldest entries first. */
static void trim_total(struct memory *m)
{
    uint64_t most = bounds(m).total_bytes;
    while (m->bytes > most && !chi_list_empty(&m->lru))
        drop_oldest(m, CHI_CONTAINER(m->lru.next, struct room, lru));
}

/* Closed rooms beyond the bound are forgotten whole, so that names do not gather without end. */
static void forget_closed(struct memory *m, struct chi_link *list)
{
    struct chi_link *link = list->next;
    while (chi_map_count(m->rooms) > m->settings->max_rooms && link != list) {
        struct room *room = CHI_CONTAINER(link, struct room, lru);
        link = link->next;
        if (room->open || room->queued)
            continue;
        if (room->top > m->forgotten)
            m->forgotten = room->top;
        room_free(m, room);
    }
}

/* --------------------------------------------------------------------------------------- commit */

static int entries_grow(struct room *room)
{
    assert(room->count <= room->cap);
    if (room->count < room->cap)
        return 0;
    uint32_t cap = room->cap ? room->cap * 2 : 8;
    struct chi_entry **entries = malloc(cap * sizeof(struct chi_entry *));
    if (!entries)
        return CHATHUB_ENOMEM;
    for (uint32_t i = 0; i < room->count; i++)
        /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): where there are entries there is room
         * for them */
        entries[i] = room->entries[(room->first + i) % room->cap];
    free(room->entries);
    room->entries = entries;
    room->first = 0;
    room->cap = cap;
    return 0;
}

static void entry_keep(struct memory *m, struct room *room, struct chi_entry *entry)
{
    entry->position = ++m->last;
    entry->prev = room->top;
    entry->time = m->env.ops->wall(m->env.self);
    room->top = entry->position;
    room->entries[(room->first + room->count++) % room->cap] = chi_entry_ref(entry);
    room->bytes += chi_entry_size(entry);
    m->bytes += chi_entry_size(entry);
    chi_list_remove(&room->lru);
    chi_list_append(&m->lru, &room->lru);
}

/* A draft that repeats an earlier post: its position and time go into the draft, which nobody
 * else will see. */
static int repeat(const struct chi_cid *mine, const struct chi_cid *first, struct chi_entry *draft)
{
    if (mine->content != first->content)
        return CHATHUB_ECIDREUSED;
    draft->position = first->position;
    draft->time = first->time;
    return CHATHUB_EDUP;
}

static int commit(struct memory *m, struct room *room, struct chi_entry *draft)
{
    if (entries_grow(room))
        return CHATHUB_ELOG;
    if (draft->cid_len) {
        struct chi_span key = {room->key, room->key_len};
        struct chi_cid cid = chi_cids_of(&m->cids, key, draft);
        const struct chi_cid *first = chi_cids_find(&m->cids, &cid);
        if (first)
            return repeat(&cid, first, draft);
        cid.position = m->last + 1;
        cid.time = m->env.ops->wall(m->env.self);
        cid.since = (uint32_t)(m->env.ops->now(m->env.self) / 1000);
        if (chi_cids_add(&m->cids, &cid))
            return CHATHUB_ELOG; /* what could not be remembered is not committed */
    }
    entry_keep(m, room, draft);
    return 0;
}

static void cids_expire(struct memory *m)
{
    uint64_t now = m->env.ops->now(m->env.self);
    uint64_t horizon = bounds(m).cid_horizon;
    if (now > horizon)
        chi_cids_expire(&m->cids, (uint32_t)((now - horizon) / 1000));
}

static void do_appends(struct memory *m, const struct op *ops, struct chi_log_result *results,
                       uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        int status = commit(m, ops[i].room, ops[i].draft);
        bool told = status == 0 || status == CHATHUB_EDUP;
        results[i] = (struct chi_log_result){
            .token = ops[i].token,
            .status = status,
            .room = ops[i].room->number,
            .entry = told ? ops[i].draft : NULL,
        };
    }
    m->up.committed(m->up.hub, results, n);
    for (uint32_t i = 0; i < n; i++) {
        chi_entry_unref(ops[i].draft);
        trim_room(m, ops[i].room);
    }
    trim_total(m);
}

/* ----------------------------------------------------------------------------------------- read */

/* Index (0 the oldest) of the first kept entry with a position above `position`. */
static uint32_t find_after(const struct room *room, uint64_t position)
{
    uint32_t low = 0, high = room->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (room->entries[(room->first + middle) % room->cap]->position > position)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static struct chi_entry *entry_at(const struct room *room, uint32_t index)
{
    return room->entries[(room->first + index) % room->cap];
}

/* Narrows [from, to) to what the read allows. */
static void bound_page(const struct room *room, const struct chi_log_read *read, uint32_t *from,
                       uint32_t *to)
{
    uint32_t n = 0, have = *to - *from;
    uint64_t bytes = 0;
    while (n < have && n < read->limit) {
        const struct chi_entry *entry = entry_at(room, read->backward ? *to - 1 - n : *from + n);
        bytes += chi_entry_size(entry);
        if (n && bytes > read->bytes)
            break;
        n++;
    }
    if (read->backward)
        *from = *to - n;
    else
        *to = *from + n;
}

static void do_read(struct memory *m, struct room *room, const struct chi_log_read *read)
{
    trim_room(m, room);
    uint32_t low = find_after(room, read->after);
    uint32_t high = read->before ? find_after(room, read->before - 1) : 0;
    if (high < low)
        high = low;
    uint32_t from = low, to = high;
    bound_page(room, read, &from, &to);
    struct chi_log_page page = {.count = to - from,
                                .more = read->backward ? from > low : to < high};
    struct chi_entry **entries = malloc((to - from + 1) * sizeof(struct chi_entry *));
    for (uint32_t i = from; entries && i < to; i++)
        entries[i - from] = entry_at(room, i);
    page.entries = entries;
    if (!entries)
        page = (struct chi_log_page){.status = CHATHUB_ELOG};
    read->reader->page(read->reader, &page);
    free(entries);
}

/* ------------------------------------------------------------------------------------ redaction */

static int erase(struct memory *m, struct room *room, uint64_t position)
{
    uint32_t index = position ? find_after(room, position - 1) : room->count;
    if (index == room->count || entry_at(room, index)->position != position)
        return CHATHUB_ENOENT;
    const struct chi_entry *old = entry_at(room, index);
    struct chi_entry *tombstone = chi_entry_new(old->type, &(struct chi_entry_parts){0});
    if (!tombstone)
        return CHATHUB_ELOG;
    tombstone->position = old->position;
    tombstone->prev = old->prev;
    tombstone->time = old->time;
    size_t freed = chi_entry_size(old) - chi_entry_size(tombstone);
    room->bytes -= freed;
    m->bytes -= freed;
    chi_entry_unref(entry_at(room, index));
    room->entries[(room->first + index) % room->cap] = tombstone;
    return 0;
}

static void do_redact(struct memory *m, const struct op *op)
{
    int status = erase(m, op->room, op->position);
    m->up.redacted(m->up.hub, op->room->number, op->position, status, op->token);
}

/* --------------------------------------------------------------------------------- the contract */

/* A place for something about a room at the end of the queue; NULL: no memory. */
static struct op *queue_op(struct memory *m, struct room *room)
{
    struct ops *q = &m->queue;
    if (q->count == q->cap) {
        uint32_t cap = q->cap ? q->cap * 2 : 64;
        struct op *at = realloc(q->at, cap * sizeof(*at));
        if (!at)
            return NULL;
        q->at = at;
        struct chi_log_result *results = realloc(q->results, cap * sizeof(*results));
        if (!results)
            return NULL;
        q->results = results;
        q->cap = cap;
    }
    m->env.ops->wake(m->env.self);
    room->queued++;
    return &q->at[q->count++];
}

static void bind_up(struct chi_log *log, const struct chi_log_up *up)
{
    of(log)->up = *up;
}

static struct chi_span epoch(struct chi_log *log)
{
    return (struct chi_span){of(log)->epoch, CHI_EPOCH_LEN};
}

static bool holds(struct chi_log *log, struct chi_span its_epoch, uint64_t position)
{
    return position <= CHI_POSITION_MAX &&
           (!its_epoch.len || chi_span_equal(its_epoch, epoch(log)));
}

static uint64_t horizon(struct chi_log *log)
{
    return bounds(of(log)).cid_horizon;
}

static struct room *room_new(struct memory *m, struct chi_span key)
{
    forget_closed(m, &m->empty);
    forget_closed(m, &m->lru);
    struct room *room = calloc(1, sizeof(*room));
    char *copy = room ? chi_span_dup(key) : NULL;
    if (!copy || chi_map_put(m->rooms, key.at, key.len, room)) {
        free(copy);
        free(room);
        return NULL;
    }
    room->key = copy;
    room->key_len = key.len;
    room->top = m->forgotten;
    chi_list_append(&m->empty, &room->lru);
    return room;
}

static int open_room(struct chi_log *log, uint32_t number, struct chi_span key)
{
    struct memory *m = of(log);
    struct room *room = chi_map_get(m->rooms, key.at, key.len);
    if (!room)
        room = room_new(m, key);
    struct op *op = room ? queue_op(m, room) : NULL;
    if (!op)
        return CHATHUB_ENOMEM;
    room->open = true;
    room->number = number;
    *op = (struct op){.kind = OP_OPEN, .room = room};
    return 0;
}

static void close_room(struct chi_log *log, void *handle)
{
    (void)log;
    ((struct room *)handle)->open = false;
}

static int append(struct chi_log *log, void *handle, struct chi_entry *draft, void *token)
{
    struct memory *m = of(log);
    cids_expire(m);
    if (draft->cid_len && m->cids.count >= bounds(m).cids)
        return CHATHUB_EAGAIN;
    struct op *op = queue_op(m, handle);
    if (!op)
        return CHATHUB_ENOMEM;
    *op = (struct op){
        .kind = OP_APPEND, .room = handle, .draft = chi_entry_ref(draft), .token = token};
    return 0;
}

static int read_page(struct chi_log *log, void *handle, const struct chi_log_read *read)
{
    struct op *op = queue_op(of(log), handle);
    if (!op)
        return CHATHUB_ENOMEM;
    *op = (struct op){.kind = OP_READ, .room = handle, .read = *read};
    return 0;
}

static int redact(struct chi_log *log, void *handle, uint64_t position, void *token)
{
    struct op *op = queue_op(of(log), handle);
    if (!op)
        return CHATHUB_ENOMEM;
    *op = (struct op){.kind = OP_REDACT, .room = handle, .position = position, .token = token};
    return 0;
}

/* Appends that follow each other are committed and reported together. */
static uint32_t count_appends(const struct ops *ops, uint32_t from)
{
    uint32_t n = 0;
    while (from + n < ops->count && ops->at[from + n].kind == OP_APPEND)
        n++;
    return n;
}

static void sweep(struct memory *m)
{
    uint64_t now = m->env.ops->now(m->env.self);
    if (now - m->swept < SWEEP_MS)
        return;
    m->swept = now;
    cids_expire(m);
    for (struct chi_link *link = m->lru.next, *next; link != &m->lru; link = next) {
        next = link->next;
        trim_room(m, CHI_CONTAINER(link, struct room, lru));
    }
}

static void poll(struct chi_log *log)
{
    struct memory *m = of(log);
    struct ops doing = m->queue;
    m->queue = m->doing;
    m->doing = doing;
    for (uint32_t i = 0, n; i < doing.count; i += n) {
        struct op *op = &doing.at[i];
        n = 1;
        if (op->kind == OP_APPEND)
            do_appends(m, op, doing.results, n = count_appends(&doing, i));
        else if (op->kind == OP_READ)
            do_read(m, op->room, &op->read);
        else if (op->kind == OP_REDACT)
            do_redact(m, op);
        else
            m->up.opened(m->up.hub, op->room->number, 0, op->room, op->room->top);
        for (uint32_t k = i; k < i + n; k++)
            doing.at[k].room->queued--;
    }
    m->doing.count = 0;
    sweep(m);
}

static uint64_t next(struct chi_log *log)
{
    const struct memory *m = of(log);
    return m->queue.count ? 0 : m->swept + SWEEP_MS;
}

static void stats(struct chi_log *log, struct chi_log_stats *out)
{
    (void)log; /* nothing of it can fail, and nothing is read from anywhere */
    *out = (struct chi_log_stats){0};
}

static void free_log(struct chi_log *log)
{
    if (!log)
        return;
    struct memory *m = of(log);
    for (uint32_t i = 0; i < m->queue.count; i++)
        chi_entry_unref(m->queue.at[i].draft);
    while (!chi_list_empty(&m->lru))
        room_free(m, CHI_CONTAINER(m->lru.next, struct room, lru));
    while (!chi_list_empty(&m->empty))
        room_free(m, CHI_CONTAINER(m->empty.next, struct room, lru));
    chi_cids_fini(&m->cids);
    chi_map_free(m->rooms);
    free(m->queue.at);
    free(m->queue.results);
    free(m->doing.at);
    free(m->doing.results);
    free(m);
}

static void make_epoch(struct memory *m)
{
    uint8_t random[CHI_EPOCH_LEN * 3 / 4];
    m->env.ops->random(m->env.self, random, sizeof(random));
    chi_base64url(random, sizeof(random), m->epoch);
}

int chi_log_memory_new(const struct chi_settings *settings, struct chi_env env,
                       struct chi_log **out)
{
    struct memory *m = calloc(1, sizeof(*m));
    if (!m)
        return CHATHUB_ENOMEM;
    uint8_t secret[64];
    env.ops->random(env.self, secret, sizeof(secret));
    m->settings = settings;
    m->env = env;
    chi_list_init(&m->lru);
    chi_list_init(&m->empty);
    m->rooms = chi_map_new(secret);
    chi_cids_init(&m->cids, secret + 16);
    m->swept = env.ops->now(env.self);
    make_epoch(m);
    m->log = (struct chi_log){bind_up,   epoch,  holds, horizon, open_room, close_room, append,
                              read_page, redact, poll,  next,    stats,     free_log};
    if (!m->rooms) {
        free_log(&m->log);
        return CHATHUB_ENOMEM;
    }
    *out = &m->log;
    return 0;
}
