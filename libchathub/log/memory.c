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
#include "core/slots.h"
#include "log/cids.h"
#include "util/index.h"
#include "util/list.h"

/* Entries that are too old are looked for so often … */
#define SWEEP_MS 60000u
/* … in so many rooms at once, and in the next ones so long after. */
#define SWEEP_ROOMS   1024u
#define SWEEP_STEP_MS 2u

/* Where the settings set no bound. */
static const struct chi_log_bounds standard = {
    .entries = 10000,
    .bytes = 64u << 20,
    .total_bytes = 256u << 20,
    .age = 86400000,
    .cid_horizon = 60000,
    .cids = 1000000,
};

/* What a room has while entries of it are kept. */
struct kept {
    struct chi_link lru; /* in memory->lru */
    struct room *room;
    struct chi_entry **entries; /* owned ring of `cap` places, a reference in each in use */
    uint64_t bytes;             /* of the entries */
    uint32_t first, count, cap; /* place of the oldest; entries; places */
};

/* There may be millions of them, most without entries: kept small. */
struct room {
    struct chi_slot slot;
    struct chi_name *name; /* a reference */
    struct kept *kept;     /* NULL: no entry is kept */
    uint64_t top : 62;     /* newest position ever */
    uint64_t open : 1;     /* the hub has the handle */
    uint64_t closed : 1;   /* not, and no operation is under way: it may be forgotten */
    union {
        struct {
            uint32_t number; /* the hub's */
            uint32_t queued; /* operations on it that were not reported yet */
        } use;               /* unless `closed` */
        struct {
            uint32_t prev, next; /* numbers + 1, 0: none */
        } line;                  /* `closed`: its place among such rooms */
    };
};

#define TOP_MASK (UINT64_MAX >> 2)

/* Closed rooms, the longest closed, or emptied, first: their numbers + 1. */
struct line {
    uint32_t first, last;
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
    struct chi_slots rooms;
    struct chi_index by_key;
    struct chi_cids cids;     /* of the last settings->cid_horizon */
    struct chi_link lru;      /* of rooms with entries, the longest without an append first */
    struct line closed_empty; /* closed rooms without entries … */
    struct line closed_kept;  /* … and with some */
    struct ops queue;         /* to be done */
    struct ops doing;         /* being done */
    uint64_t last;            /* newest position of all */
    uint64_t forgotten;       /* top of all rooms that were forgotten */
    uint64_t bytes;           /* of all entries */
    uint64_t swept;           /* when it was begun to look for old entries … */
    uint64_t sweep_due;       /* … when that goes on … */
    uint32_t sweep_at;        /* … with this room; 0: it begins anew */
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

static struct room *room_at(const struct memory *m, uint32_t number)
{
    return chi_slots_at(&m->rooms, number);
}

static struct line *line_of(struct memory *m, const struct room *room)
{
    return room->kept ? &m->closed_kept : &m->closed_empty;
}

static void line_add(struct memory *m, struct room *room)
{
    struct line *line = line_of(m, room);
    uint32_t me = room->slot.number + 1, last = line->last;
    room->line.prev = last;
    room->line.next = 0;
    *(last ? &room_at(m, last - 1)->line.next : &line->first) = me;
    line->last = me;
}

static void line_remove(struct memory *m, const struct room *room)
{
    struct line *line = line_of(m, room);
    uint32_t prev = room->line.prev, next = room->line.next;
    *(prev ? &room_at(m, prev - 1)->line.next : &line->first) = next;
    *(next ? &room_at(m, next - 1)->line.prev : &line->last) = prev;
}

static void kept_free(struct kept *kept)
{
    chi_list_remove(&kept->lru);
    free(kept->entries);
    free(kept);
}

/* Its last entry is gone. */
static void room_emptied(struct memory *m, struct room *room)
{
    struct kept *kept = room->kept;
    if (room->closed)
        line_remove(m, room);
    room->kept = NULL;
    if (room->closed)
        line_add(m, room);
    kept_free(kept);
}

static void drop_oldest(struct memory *m, struct room *room)
{
    struct kept *kept = room->kept;
    assert(kept && kept->count);
    struct chi_entry *entry = kept->entries[kept->first];
    size_t size = chi_entry_size(entry);
    kept->first = (kept->first + 1) % kept->cap;
    kept->count--;
    kept->bytes -= size;
    m->bytes -= size;
    chi_entry_unref(entry);
    if (!kept->count)
        room_emptied(m, room);
}

static void trim_room(struct memory *m, struct room *room)
{
    if (!room->kept)
        return;
    struct chi_log_bounds keep = bounds(m);
    uint64_t wall = m->env.ops->wall(m->env.self);
    uint64_t since = chi_log_since(wall, keep.age);
    for (const struct kept *kept; (kept = room->kept) != NULL; drop_oldest(m, room))
        if (kept->count <= keep.entries && kept->bytes <= keep.bytes &&
            kept->entries[kept->first]->time >= since)
            return;
}

/* A closed one. */
static void room_free(struct memory *m, struct room *room)
{
    while (room->kept)
        drop_oldest(m, room);
    line_remove(m, room);
    chi_index_remove(&m->by_key, room->slot.number);
    chi_name_unref(room->name);
    chi_slots_give(&m->rooms, room);
}

/* The rooms that were silent longest lose their oldest entries first. */
static void trim_total(struct memory *m)
{
    uint64_t most = bounds(m).total_bytes;
    while (m->bytes > most && !chi_list_empty(&m->lru))
        drop_oldest(m, CHI_CONTAINER(m->lru.next, struct kept, lru)->room);
}

/* Closed rooms beyond the bound are forgotten whole, so that names do not gather without end. */
static void forget_closed(struct memory *m, const struct line *line)
{
    while (m->rooms.used > m->settings->max_rooms && line->first) {
        struct room *room = room_at(m, line->first - 1);
        if (room->top > m->forgotten)
            m->forgotten = room->top;
        room_free(m, room);
    }
}

/* To be called when it was closed, or an operation on it was reported. One that says no more than
 * a new one would is forgotten at once. */
static void room_unused(struct memory *m, struct room *room)
{
    if (room->open || room->use.queued)
        return;
    room->closed = true;
    line_add(m, room);
    if (!room->kept && room->top == m->forgotten)
        room_free(m, room);
}

/* --------------------------------------------------------------------------------------- commit */

static struct kept *kept_need(struct memory *m, struct room *room)
{
    if (!room->kept) {
        room->kept = calloc(1, sizeof(*room->kept));
        if (!room->kept)
            return NULL;
        room->kept->room = room;
        chi_list_append(&m->lru, &room->kept->lru);
    }
    return room->kept;
}

/* Makes a place for one more. */
static int entries_grow(struct kept *kept)
{
    assert(kept->count <= kept->cap);
    if (kept->count < kept->cap)
        return 0;
    uint32_t cap = kept->cap ? kept->cap * 2 : 8;
    struct chi_entry **entries = malloc(cap * sizeof(struct chi_entry *));
    if (!entries)
        return CHATHUB_ENOMEM;
    for (uint32_t i = 0; i < kept->count; i++)
        /* NOLINTNEXTLINE(clang-analyzer-core.DivideZero): where there are entries there is room
         * for them */
        entries[i] = kept->entries[(kept->first + i) % kept->cap];
    free(kept->entries);
    kept->entries = entries;
    kept->first = 0;
    kept->cap = cap;
    return 0;
}

static void entry_keep(struct memory *m, struct room *room, struct chi_entry *entry)
{
    struct kept *kept = room->kept;
    entry->position = ++m->last;
    entry->prev = room->top;
    entry->time = m->env.ops->wall(m->env.self);
    room->top = entry->position & TOP_MASK;
    kept->entries[(kept->first + kept->count++) % kept->cap] = chi_entry_ref(entry);
    kept->bytes += chi_entry_size(entry);
    m->bytes += chi_entry_size(entry);
    chi_list_remove(&kept->lru);
    chi_list_append(&m->lru, &kept->lru);
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

/* What could not be remembered is not committed. */
static int remember(struct memory *m, const struct room *room, struct chi_entry *draft)
{
    struct chi_cid cid = chi_cids_of(&m->cids, chi_name_key(room->name), draft);
    const struct chi_cid *first = chi_cids_find(&m->cids, &cid);
    if (first)
        return repeat(&cid, first, draft);
    cid.position = m->last + 1;
    cid.time = m->env.ops->wall(m->env.self);
    cid.since = (uint32_t)(m->env.ops->now(m->env.self) / 1000);
    return chi_cids_add(&m->cids, &cid) ? CHATHUB_ELOG : 0;
}

static int commit(struct memory *m, struct room *room, struct chi_entry *draft)
{
    struct kept *kept = kept_need(m, room);
    int status = !kept || entries_grow(kept) ? CHATHUB_ELOG : 0;
    if (!status && draft->cid_len)
        status = remember(m, room, draft);
    if (!status)
        entry_keep(m, room, draft);
    else if (kept && !kept->count)
        room_emptied(m, room);
    return status;
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
            .room = ops[i].room->use.number,
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

static struct chi_entry *entry_at(const struct room *room, uint32_t index)
{
    const struct kept *kept = room->kept;
    return kept->entries[(kept->first + index) % kept->cap];
}

/* Index (0 the oldest) of the first kept entry with a position above `position`. */
static uint32_t find_after(const struct room *room, uint64_t position)
{
    uint32_t low = 0, high = room->kept ? room->kept->count : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (entry_at(room, middle)->position > position)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
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
    struct kept *kept = room->kept;
    uint32_t index = kept && position ? find_after(room, position - 1) : 0;
    if (!kept || index == kept->count || entry_at(room, index)->position != position)
        return CHATHUB_ENOENT;
    const struct chi_entry *old = entry_at(room, index);
    struct chi_entry *tombstone = chi_entry_new(old->type, &(struct chi_entry_parts){0});
    if (!tombstone)
        return CHATHUB_ELOG;
    tombstone->position = old->position;
    tombstone->prev = old->prev;
    tombstone->time = old->time;
    size_t freed = chi_entry_size(old) - chi_entry_size(tombstone);
    kept->bytes -= freed;
    m->bytes -= freed;
    chi_entry_unref(entry_at(room, index));
    kept->entries[(kept->first + index) % kept->cap] = tombstone;
    return 0;
}

static void do_redact(struct memory *m, const struct op *op)
{
    int status = erase(m, op->room, op->position);
    m->up.redacted(m->up.hub, op->room->use.number, op->position, status, op->token);
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
    room->use.queued++;
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

static struct room *room_new(struct memory *m, struct chi_name *name)
{
    forget_closed(m, &m->closed_empty);
    forget_closed(m, &m->closed_kept);
    struct room *room = chi_index_reserve(&m->by_key) ? NULL : chi_slots_take(&m->rooms);
    if (!room)
        return NULL;
    room->name = chi_name_ref(name);
    room->top = m->forgotten & TOP_MASK;
    chi_index_put(&m->by_key, room->slot.number);
    return room;
}

/* Of the same name in two forms the newer one is kept: it is the one that the hub has. */
static struct room *room_again(struct memory *m, struct room *room, struct chi_name *name)
{
    if (room->closed) {
        line_remove(m, room);
        room->closed = false;
        room->use.queued = 0;
    }
    chi_name_ref(name);
    chi_name_unref(room->name);
    room->name = name;
    return room;
}

static int open_room(struct chi_log *log, uint32_t number, struct chi_name *name)
{
    struct memory *m = of(log);
    struct room *room = room_at(m, chi_index_find(&m->by_key, chi_name_key(name)));
    room = room ? room_again(m, room, name) : room_new(m, name);
    if (!room)
        return CHATHUB_ENOMEM;
    struct op *op = queue_op(m, room);
    if (!op) {
        room_unused(m, room);
        return CHATHUB_ENOMEM;
    }
    room->open = true;
    room->use.number = number;
    *op = (struct op){.kind = OP_OPEN, .room = room};
    return 0;
}

static void close_room(struct chi_log *log, void *handle)
{
    struct room *room = handle;
    room->open = false;
    room_unused(of(log), room);
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

/* A step of looking for entries that are too old: rooms may be too many for one turn. */
static void sweep(struct memory *m)
{
    uint64_t now = m->env.ops->now(m->env.self);
    if (now < m->sweep_due)
        return;
    if (!m->sweep_at) {
        m->swept = now;
        cids_expire(m);
    }
    uint32_t made = m->rooms.made, end = m->sweep_at + SWEEP_ROOMS;
    for (uint32_t i = m->sweep_at; i < end && i < made; i++) {
        struct room *room = room_at(m, i);
        if (room)
            trim_room(m, room);
    }
    m->sweep_at = end < made ? end : 0;
    m->sweep_due = m->sweep_at ? now + SWEEP_STEP_MS : m->swept + SWEEP_MS;
}

static void do_op(struct memory *m, const struct op *op)
{
    if (op->kind == OP_READ)
        do_read(m, op->room, &op->read);
    else if (op->kind == OP_REDACT)
        do_redact(m, op);
    else
        m->up.opened(m->up.hub, op->room->use.number, 0, op->room, op->room->top);
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
        else
            do_op(m, op);
        for (uint32_t k = i; k < i + n; k++) {
            doing.at[k].room->use.queued--;
            room_unused(m, doing.at[k].room);
        }
    }
    m->doing.count = 0;
    sweep(m);
}

static uint64_t next(struct chi_log *log)
{
    const struct memory *m = of(log);
    return m->queue.count ? 0 : m->sweep_due;
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
    for (uint32_t i = 0; i < m->rooms.made; i++) {
        struct room *room = room_at(m, i);
        while (room && room->kept)
            drop_oldest(m, room);
        if (room)
            chi_name_unref(room->name);
    }
    chi_slots_fini(&m->rooms);
    chi_index_fini(&m->by_key);
    chi_cids_fini(&m->cids);
    free(m->queue.at);
    free(m->queue.results);
    free(m->doing.at);
    free(m->doing.results);
    free(m);
}

static struct chi_span key_of(const void *ctx, uint32_t number)
{
    const struct room *room = chi_slots_at(ctx, number);
    return chi_name_key(room->name);
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
    chi_slots_init(&m->rooms, sizeof(struct room));
    m->by_key.text = key_of;
    m->by_key.ctx = &m->rooms;
    memcpy(m->by_key.secret, secret, sizeof(m->by_key.secret));
    chi_cids_init(&m->cids, secret + 16);
    m->sweep_due = env.ops->now(env.self) + SWEEP_MS;
    make_epoch(m);
    m->log = (struct chi_log){bind_up,   epoch,  holds, horizon, open_room, close_room, append,
                              read_page, redact, poll,  next,    stats,     free_log,   NULL};
    *out = &m->log;
    return 0;
}
