/* Retention: the oldest entries go, with their marks; what is told of their rooms follows. */
#include "log/sqlite/store_inside.h"

#include <stdlib.h>

/* What a step has deleted of one room. */
struct gone {
    uint64_t entries, bytes;
    uint64_t last; /* newest position among them */
};

/* The room's marks and row, after its entries. What the row says is never below 0. */
static int settle(struct chi_store *store, int64_t room, const struct gone *gone)
{
    uint64_t upto[] = {(uint64_t)room, gone->last};
    uint64_t less[] = {(uint64_t)room, gone->entries, gone->bytes};
    int code = chi_store_run(chi_store_with(store, CHI_STORE_MARKS_DELETE, upto, 2));
    if (code == SQLITE_OK)
        code = chi_store_run(chi_store_with(store, CHI_STORE_ROOM_LESS, less, 3));
    return code;
}

/* ------------------------------------------------------------------------------------- one room */

/* How much is too much, and how far a step may go. */
struct excess {
    struct chi_room_now now; /* before the step */
    uint64_t entries, bytes; /* what may be kept */
    uint32_t limit;          /* entries that may be deleted */
};

static bool too_much(const struct excess *excess, const struct gone *gone)
{
    return gone->entries < excess->limit &&
           (excess->now.entries > excess->entries + gone->entries ||
            excess->now.bytes > excess->bytes + gone->bytes);
}

static int delete_run(const struct chi_walk *walk, const struct excess *excess, struct gone *gone)
{
    for (uint32_t i = 0; i < walk->count && too_much(excess, gone); i++) {
        const struct chi_place *place = &walk->places[i];
        int code =
            chi_store_run(chi_store_with(walk->store, CHI_STORE_ENTRY_DELETE, &place->position, 1));
        if (code != SQLITE_OK)
            return code;
        gone->entries++;
        gone->bytes += place->bytes;
        gone->last = place->position;
    }
    return SQLITE_OK;
}

/* Deletes the oldest. SQLITE_DONE: there is none left. */
static int delete_oldest(struct chi_store *store, int64_t room, const struct excess *excess,
                         struct gone *gone)
{
    struct chi_walk walk;
    int code = SQLITE_OK;
    chi_walk_begin(&walk, store, room, excess->now.top, 0);
    while (code == SQLITE_OK && too_much(excess, gone)) {
        code = chi_walk_next(&walk);
        if (code == SQLITE_ROW)
            code = delete_run(&walk, excess, gone);
    }
    chi_walk_end(&walk);
    return code;
}

int chi_store_trim_room(struct chi_store *store, int64_t room, uint64_t entries, uint64_t bytes,
                        uint32_t limit, uint32_t *deleted)
{
    struct excess excess = {.limit = limit};
    struct gone gone = {0};
    *deleted = 0;
    int code = chi_store_hold(store, room, &excess.now);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? SQLITE_OK : code;
    /* A bound above what there is, is none; so sums stay small. */
    excess.entries = entries < excess.now.entries ? entries : excess.now.entries;
    excess.bytes = bytes < excess.now.bytes ? bytes : excess.now.bytes;
    code = delete_oldest(store, room, &excess, &gone);
    chi_store_release(store);
    bool empty = code == SQLITE_DONE;
    if (code != SQLITE_OK && !empty)
        return code;
    code = gone.entries ? settle(store, room, &gone) : SQLITE_OK;
    /* A row that tells of more than there is would be found too large again and again. */
    if (code == SQLITE_OK && empty)
        code = chi_store_run(
            chi_store_with(store, CHI_STORE_ROOM_EMPTY, &(uint64_t){(uint64_t)room}, 1));
    if (code == SQLITE_OK)
        *deleted = (uint32_t)gone.entries;
    return code;
}

/* ------------------------------------------------------------------------------------ all rooms */

#define BATCH 128u

struct old {
    uint64_t position, room, bytes, time;
};

/* Reads up to `count` of the oldest; how many there are to *n. */
static int read_oldest(struct chi_store *store, uint32_t count, struct old *out, uint32_t *n)
{
    uint64_t asked = count;
    sqlite3_stmt *statement = chi_store_with(store, CHI_STORE_OLDEST, &asked, 1);
    int code;
    *n = 0;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW && *n < count) {
        struct old *old = &out[(*n)++];
        if (chi_store_number(statement, 0, CHI_POSITION_MAX, &old->position) != SQLITE_OK ||
            chi_store_number(statement, 1, INT64_MAX, &old->room) != SQLITE_OK ||
            chi_store_number(statement, 2, INT64_MAX, &old->bytes) != SQLITE_OK ||
            chi_store_number(statement, 3, INT64_MAX, &old->time) != SQLITE_OK) {
            code = SQLITE_CORRUPT;
            break;
        }
    }
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int by_room(const void *a, const void *b)
{
    const struct old *one = a, *other = b;
    if (one->room != other->room)
        return one->room < other->room ? -1 : 1;
    return one->position < other->position ? -1 : one->position > other->position;
}

/* Deletes the `n` oldest of all; `old` is sorted anew. */
static int delete_batch(struct chi_store *store, struct old *old, uint32_t n)
{
    uint64_t last = old[n - 1].position;
    int code = chi_store_run(chi_store_with(store, CHI_STORE_ENTRIES_UPTO, &last, 1));
    qsort(old, n, sizeof(*old), by_room);
    for (uint32_t i = 0; code == SQLITE_OK && i < n;) {
        uint64_t room = old[i].room;
        struct gone gone = {0};
        for (; i < n && old[i].room == room; i++) {
            gone.entries++;
            gone.bytes += old[i].bytes;
            gone.last = old[i].position;
        }
        code = settle(store, (int64_t)room, &gone);
    }
    return code;
}

int chi_store_trim_all(struct chi_store *store, uint64_t time, uint64_t *total, uint64_t bytes,
                       uint32_t limit, uint32_t *deleted)
{
    struct old old[BATCH];
    uint64_t left = *total;
    uint32_t done = 0, asked, read, n;
    int code;
    *deleted = 0;
    do {
        asked = limit - done < BATCH ? limit - done : BATCH;
        code = read_oldest(store, asked, old, &read);
        for (n = 0; code == SQLITE_OK && n < read && (old[n].time < time || left > bytes); n++)
            left -= old[n].bytes < left ? old[n].bytes : left;
        if (n)
            code = delete_batch(store, old, n);
        done += n;
    } while (code == SQLITE_OK && n == BATCH && done < limit);
    if (code != SQLITE_OK)
        return code;
    *total = n == read && read < asked ? 0 : left; /* 0: all are gone, whatever was counted */
    *deleted = done;
    return SQLITE_OK;
}
