/* What the writer does between commits, a small step at a time: checkpoints, runs of cids, and
 * forgetting what is older, more or larger than the settings let it be.
 *
 * Each step is a transaction of its own, and posts that came meanwhile are committed before the
 * next one. A step that fails takes the log down as a commit does. */
#include "log/sqlite/inside.h"

#include <string.h>

/* The WAL is written back from so many pages on, or when nothing was committed for a while. */
#define WAL_PAGES 4096
#define IDLE_US   2000000u
/* Entries forgotten in one step, and between two steps. */
#define TRIM_STEP 512u
#define STEP_US   5000u
/* Between two looks at what has become too old, while posts come and while none do. */
#define LOOK_US      1000000u
#define LOOK_IDLE_US 60000000u

/* --------------------------------------------------------------------------------- checkpoints */

/* A reader in mid-page can keep the WAL from being started anew: then it grows a little more. One
 * that may hold what was erased is cut to nothing, and that is tried until it is done. */
static void checkpoint(struct chi_sq_writer *w, uint64_t now)
{
    int in_wal = 0, written = 0;
    int mode = w->purge ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE;
    sqlite3_busy_timeout(w->db, 0); /* posts do not wait for whoever reads the file meanwhile */
    int code = sqlite3_wal_checkpoint_v2(w->db, NULL, mode, &in_wal, &written);
    sqlite3_busy_timeout(w->db, CHI_SQ_BUSY_MS);
    bool busy = (code & 0xff) == SQLITE_BUSY;
    w->wal_tried = w->wal_pages;
    w->purge &= code != SQLITE_OK;
    w->purge_at = now + LOOK_US;
    if (code == SQLITE_OK && written >= in_wal)
        w->wal_pages = w->wal_tried = 0;
    else if (code != SQLITE_OK && !busy)
        chi_sq_failed(w, code, NULL);
}

static bool checkpoint_due(const struct chi_sq_writer *w, uint64_t now)
{
    int new_pages = w->wal_pages - w->wal_tried;
    return new_pages >= WAL_PAGES || (new_pages > 0 && now >= w->wrote + IDLE_US) ||
           (w->purge && now >= w->purge_at);
}

/* ----------------------------------------------------------------------------------- retention */

/* A sixteenth more than allowed, so that not each post forgets another. */
static bool is_over(uint64_t has, uint64_t allowed)
{
    return has > allowed && has - allowed > allowed / 16;
}

void chi_sq_note_room(struct chi_sq_writer *w, const struct chi_stored_room *room)
{
    if (!is_over(room->entries, w->now.bounds.entries) &&
        !is_over(room->bytes, w->now.bounds.bytes))
        return;
    for (uint32_t i = 0; i < w->over_count; i++)
        if (w->over[i] == room->id)
            return;
    if (w->over_count < sizeof(w->over) / sizeof(w->over[0]))
        w->over[w->over_count++] = room->id;
    else
        w->scan = true;
}

/* Looks for the next room that has too much, of all that there are. */
static int scan(struct chi_sq_writer *w)
{
    const struct chi_log_bounds *keep = &w->now.bounds;
    int64_t room = 0;
    int code = chi_store_over(w->store, w->scanned, keep->entries, keep->bytes, &room);
    w->scan = code == SQLITE_OK && room;
    w->scanned = room;
    if (room)
        w->over[w->over_count++] = room;
    return code;
}

static int trim_room(struct chi_sq_writer *w)
{
    const struct chi_log_bounds *keep = &w->now.bounds;
    uint32_t deleted = 0;
    int code = chi_store_trim_room(w->store, w->over[w->over_count - 1], keep->entries, keep->bytes,
                                   TRIM_STEP, &deleted);
    if (code == SQLITE_OK && keep->total_bytes != UINT64_MAX)
        code = chi_store_total(w->store, &w->total);
    if (code == SQLITE_OK && deleted < TRIM_STEP)
        w->over_count--;
    return code;
}

static int trim_all(struct chi_sq_writer *w)
{
    const struct chi_log_bounds *keep = &w->now.bounds;
    uint64_t since = chi_log_since(w->now.wall, keep->age);
    uint32_t deleted = 0;
    int code =
        chi_store_trim_all(w->store, since, &w->total, keep->total_bytes, TRIM_STEP, &deleted);
    w->aged = code == SQLITE_OK && deleted == TRIM_STEP;
    return code;
}

static bool bounds_all(const struct chi_sq_writer *w)
{
    return w->now.bounds.age != UINT64_MAX || w->now.bounds.total_bytes != UINT64_MAX;
}

/* --------------------------------------------------------------------------------------- steps */

static uint64_t cids_since(const struct chi_sq_writer *w)
{
    return chi_log_since(w->now.wall, w->now.bounds.cid_horizon);
}

/* What is due next, in a transaction. */
static int step(struct chi_sq_writer *w)
{
    bool more;
    if (chi_dups_due(w->dups, cids_since(w)))
        return chi_dups_step(w->dups, cids_since(w), &more);
    w->state++; /* rooms change below */
    if (w->over_count)
        return trim_room(w);
    return w->scan ? scan(w) : trim_all(w);
}

static bool step_due(const struct chi_sq_writer *w)
{
    return w->over_count || w->scan || (w->aged && bounds_all(w)) ||
           chi_dups_due(w->dups, cids_since(w));
}

static void do_step(struct chi_sq_writer *w)
{
    uint64_t total = w->total;
    uint32_t over_count = w->over_count;
    int code = chi_store_begin(w->store);
    if (code == SQLITE_OK)
        code = step(w);
    if (code == SQLITE_OK)
        code = chi_store_commit(w->store);
    if (code == SQLITE_OK) {
        chi_dups_committed(w->dups);
        w->wrote = chi_handover_now();
        return;
    }
    w->total = total;
    w->over_count = over_count;
    chi_sq_failed(w, code, NULL);
}

/* Rooms have to be looked through again where the settings allow less than before. */
static void look(struct chi_sq_writer *w, uint64_t now)
{
    if (memcmp(&w->bounds_seen, &w->now.bounds, sizeof(w->bounds_seen)) != 0) {
        w->bounds_seen = w->now.bounds;
        w->scan = true;
        w->scanned = 0;
    }
    w->aged = true;
    w->looked = now;
}

static uint64_t look_at(const struct chi_sq_writer *w)
{
    return w->looked ? w->looked + (w->started > w->looked ? LOOK_US : LOOK_IDLE_US) : 0;
}

static void schedule(struct chi_sq_writer *w)
{
    w->house_at = look_at(w);
    if (step_due(w) && w->step_at < w->house_at)
        w->house_at = w->step_at;
    if (w->wal_pages > w->wal_tried && w->wrote + IDLE_US < w->house_at)
        w->house_at = w->wrote + IDLE_US;
    if (w->purge && w->purge_at < w->house_at)
        w->house_at = w->purge_at;
    if (w->house_at == 0)
        w->house_at = 1; /* 0 would mean not to wait at all */
}

void chi_sq_keep_house(struct chi_sq_writer *w)
{
    uint64_t now = chi_handover_now();
    if (!w->is.stats.down && checkpoint_due(w, now))
        checkpoint(w, now);
    if (!w->is.stats.down && now >= look_at(w))
        look(w, now);
    if (!w->is.stats.down && now >= w->step_at && step_due(w)) {
        do_step(w);
        w->step_at = now + STEP_US;
    }
    if (!w->is.stats.down)
        schedule(w);
}
