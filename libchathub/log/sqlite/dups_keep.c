/* The steps of housekeeping: fresh cids become a run, rows that are of no use go, and runs that are
 * forgotten go.
 *
 * Happy path: what is fresh is handed over to `seal` as it is, ordered by chunk, and written so
 * many chunks a step; with the last ones goes the filter, which makes the run complete. Then rows
 * of cid_commits are deleted, so many a step. A run whose newest cid is too old first loses its
 * filter in memory, then its chunks in the file, and at last its own row.
 *
 * Failure modes: what a step did counts once it is committed, else the next step does it again.
 * After a crash an incomplete run is dropped like a forgotten one, and its cids are fresh again. */
#include "log/sqlite/dups_inside.h"

#include <assert.h>
#include <stdlib.h>

/* A run is written in so many steps. */
#define SEAL_STEPS 16u
/* Rows that one step deletes. */
#define CLEAR_ROWS 1024u
#define DROP_ROWS  512u
/* Fresh ones that a step forgets. */
#define FORGET_CIDS 4096u

/* ----------------------------------------------------------------------------------- forgetting */

/* So many stale cids are worth a step. */
static uint32_t stale_enough(const struct chi_dups *dups)
{
    return dups->run / 256 + 1;
}

/* Not while a run is written: rows of cids that are older still must stay until it is complete. */
void chi_dups_forget(struct chi_dups *dups, uint64_t since, uint32_t most)
{
    uint32_t n = 0, settled = dups->fresh.count - dups->added;
    if (dups->seal.order)
        return;
    while (n < most && n < settled && chi_cids_at(&dups->fresh, n)->time < since) {
        uint64_t position = chi_cids_at(&dups->fresh, n++)->position;
        if (position > dups->useless)
            dups->useless = position;
    }
    if (n)
        chi_cids_drop(&dups->fresh, n);
    dups->stale += n;
}

/* Whether it would forget enough to be worth a step. */
static bool forget_due(const struct chi_dups *dups, uint64_t since)
{
    uint32_t enough = stale_enough(dups);
    return !dups->seal.order && dups->fresh.count - dups->added >= enough &&
           chi_cids_at(&dups->fresh, 0)->time < since &&
           chi_cids_at(&dups->fresh, enough - 1)->time < since;
}

/* ------------------------------------------------------------------------------ beginning a run */

static uint8_t bits_for(uint32_t count)
{
    uint8_t bits = 0;
    while (bits < CHI_DUPS_CHUNK_BITS && count >> (bits + 1) >= CHI_DUPS_CHUNK)
        bits++;
    return bits;
}

/* What the run is going to be. Ones without a position were forgotten. */
static void describe(struct chi_dups *dups, struct chi_dups_seal *seal)
{
    seal->run = (struct chi_dups_run){.number = dups->last_run + 1};
    seal->top = 0;
    for (uint32_t i = 0; i < dups->fresh.count; i++) {
        const struct chi_cid *cid = chi_cids_at(&dups->fresh, i);
        if (!cid->position)
            continue;
        seal->run.count++;
        seal->top = cid->position;
        if (cid->time > seal->run.newest)
            seal->run.newest = cid->time;
    }
    seal->run.bits = bits_for(seal->run.count);
}

static uint32_t chunk_of(const struct chi_dups_seal *seal, const struct chi_cid *cid)
{
    uint64_t mask = (UINT64_C(1) << CHI_DUPS_CHUNK_BITS) - 1;
    return (uint32_t)(chi_dups_chunk(&seal->run, cid->key) & mask);
}

/* `next`: where the next one of each chunk goes, and one more; zeroed. */
static void count_chunks(const struct chi_cids *cids, const struct chi_dups_seal *seal,
                         uint32_t *next)
{
    for (uint32_t i = 0; i < cids->count; i++) {
        const struct chi_cid *cid = chi_cids_at(cids, i);
        next[chunk_of(seal, cid) + 1] += cid->position != 0;
    }
    for (uint32_t i = 1; i < 1u << seal->run.bits; i++)
        next[i] += next[i - 1];
}

/* By counting: keys are hashes, so chunks are about equally long. SQLITE_NOMEM. */
static int put_in_order(const struct chi_cids *cids, struct chi_dups_seal *seal)
{
    uint32_t *next = calloc((1u << seal->run.bits) + 1, sizeof(*next));
    uint32_t *order = malloc((seal->run.count + 1) * sizeof(*order));
    if (!next || !order) {
        free(next);
        free(order);
        return SQLITE_NOMEM;
    }
    count_chunks(cids, seal, next);
    for (uint32_t i = 0; i < cids->count; i++) {
        const struct chi_cid *cid = chi_cids_at(cids, i);
        if (cid->position)
            order[next[chunk_of(seal, cid)]++] = i;
    }
    free(next);
    seal->order = order;
    return SQLITE_OK;
}

/* In memory alone, so that there is nothing to take back. */
static int seal_begin(struct chi_dups *dups)
{
    struct chi_dups_seal *seal = &dups->seal;
    if (dups->last_run >= CHI_DUPS_LAST_RUN)
        return SQLITE_CORRUPT;
    describe(dups, seal);
    int code = chi_dups_run_reserve(dups);
    if (code == SQLITE_OK && chi_filter_new(&seal->run.filter, seal->run.count))
        code = SQLITE_NOMEM;
    if (code == SQLITE_OK)
        code = put_in_order(&dups->fresh, seal);
    if (code != SQLITE_OK) {
        chi_filter_free(&seal->run.filter);
        return code;
    }
    chi_cids_move(&dups->fresh, &seal->cids);
    seal->written = 0;
    dups->last_run = seal->run.number;
    return SQLITE_OK;
}

/* -------------------------------------------------------------------------------- writing a run */

static int seal_note(struct chi_dups *dups)
{
    const struct chi_dups_run *run = &dups->seal.run;
    uint64_t is[] = {run->number, run->newest, dups->seal.top, run->count, run->bits};
    return chi_dups_do(chi_dups_with(dups, CHI_DUPS_RUN_NEW, is, 5));
}

/* The next chunk; a filter may have a cid twice. */
static int seal_chunk(struct chi_dups *dups, uint32_t *written)
{
    struct chi_dups_seal *seal = &dups->seal;
    uint32_t from = *written, to = from;
    uint64_t chunk = chi_dups_chunk(&seal->run, chi_cids_at(&seal->cids, seal->order[from])->key);
    for (; to < seal->run.count; to++) {
        const struct chi_cid *cid = chi_cids_at(&seal->cids, seal->order[to]);
        if (chi_dups_chunk(&seal->run, cid->key) != chunk)
            break;
        if (chi_dups_records(dups, to - from + 1))
            return SQLITE_NOMEM;
        struct chi_filter_key key;
        chi_filter_key(&key, cid->key);
        chi_filter_add(&seal->run.filter, &key);
        chi_dups_record_put(dups->records + (to - from) * CHI_DUPS_RECORD, cid);
    }
    sqlite3_stmt *statement = chi_dups_with(dups, CHI_DUPS_CHUNK_NEW, &chunk, 1);
    int code = sqlite3_bind_blob64(statement, 2, dups->records,
                                   (sqlite3_uint64)(to - from) * CHI_DUPS_RECORD, SQLITE_STATIC);
    *written = to;
    return code == SQLITE_OK ? chi_dups_do(statement) : code;
}

static int seal_complete(struct chi_dups *dups)
{
    const struct chi_dups_run *run = &dups->seal.run;
    sqlite3_stmt *statement = chi_dups_with(dups, CHI_DUPS_RUN_COMPLETE, &run->number, 1);
    int code = sqlite3_bind_blob64(statement, 2, run->filter.bits, chi_filter_size(run->count),
                                   SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = chi_dups_do(statement);
    return code == SQLITE_OK && sqlite3_changes(dups->db) != 1 ? SQLITE_CORRUPT : code;
}

/* More of them the more have come since the run was begun, so that it is done before the next. */
static uint64_t seal_share(const struct chi_dups *dups)
{
    uint64_t usual = dups->seal.run.count / SEAL_STEPS + 1;
    return usual * (1 + (uint64_t)dups->fresh.count * 4 / dups->run);
}

static bool seal_due(const struct chi_dups *dups)
{
    if (dups->seal.order)
        return dups->done.what != CHI_DUPS_SEALED || dups->done.written < dups->seal.run.count;
    return !dups->added && dups->fresh.count >= dups->run;
}

static int seal_step(struct chi_dups *dups)
{
    struct chi_dups_seal *seal = &dups->seal;
    int code = seal->order ? SQLITE_OK : seal_begin(dups);
    if (code != SQLITE_OK)
        return code;
    uint32_t written = seal->written;
    uint64_t until = written + seal_share(dups);
    if (!written)
        code = seal_note(dups);
    while (code == SQLITE_OK && written < seal->run.count && written < until)
        code = seal_chunk(dups, &written);
    if (code == SQLITE_OK && written == seal->run.count)
        code = seal_complete(dups);
    if (code == SQLITE_OK)
        dups->done = (struct chi_dups_done){.what = CHI_DUPS_SEALED, .written = written};
    return code;
}

static void seal_committed(struct chi_dups *dups)
{
    struct chi_dups_seal *seal = &dups->seal;
    seal->written = dups->done.written;
    if (seal->written < seal->run.count)
        return;
    assert(dups->run_count < dups->run_cap);
    dups->runs[dups->run_count++] = seal->run;
    seal->run.filter = (struct chi_filter){NULL, 0};
    if (seal->top > dups->useless)
        dups->useless = seal->top;
    dups->stale += seal->cids.count;
    chi_cids_fini(&seal->cids);
    free(seal->order);
    seal->order = NULL;
}

/* ------------------------------------------------------------------------------------- clearing */

static bool clear_due(const struct chi_dups *dups)
{
    return dups->stale >= stale_enough(dups) && dups->done.what != CHI_DUPS_CLEARED;
}

static int clear_step(struct chi_dups *dups)
{
    uint64_t is[] = {dups->useless, CLEAR_ROWS};
    int code = chi_dups_do(chi_dups_with(dups, CHI_DUPS_COMMITS_UPTO, is, 2));
    if (code == SQLITE_OK && sqlite3_changes(dups->db) < (int)CLEAR_ROWS)
        dups->done.what = CHI_DUPS_CLEARED;
    return code;
}

/* ------------------------------------------------------------------------------------- dropping */

/* The run that has to go next; NULL: none. */
static struct chi_dups_run *to_drop(const struct chi_dups *dups, uint64_t since)
{
    for (uint32_t i = 0; i < dups->run_count; i++) {
        struct chi_dups_run *run = &dups->runs[i];
        bool gone = dups->done.what == CHI_DUPS_DROPPED && dups->done.run == run->number;
        if (!gone && (!run->filter.bits || run->newest < since))
            return run;
    }
    return NULL;
}

static int drop_step(struct chi_dups *dups, struct chi_dups_run *run)
{
    chi_filter_free(&run->filter);
    uint64_t first = run->number << CHI_DUPS_CHUNK_BITS;
    uint64_t is[] = {first, first + (1u << CHI_DUPS_CHUNK_BITS) - 1, DROP_ROWS};
    int code = chi_dups_do(chi_dups_with(dups, CHI_DUPS_CHUNKS_DROP, is, 3));
    if (code != SQLITE_OK || sqlite3_changes(dups->db) == (int)DROP_ROWS)
        return code;
    code = chi_dups_do(chi_dups_with(dups, CHI_DUPS_RUN_DROP, &run->number, 1));
    if (code == SQLITE_OK)
        dups->done = (struct chi_dups_done){.what = CHI_DUPS_DROPPED, .run = run->number};
    return code;
}

static void drop_committed(struct chi_dups *dups)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < dups->run_count; i++) {
        if (dups->runs[i].number != dups->done.run)
            dups->runs[kept++] = dups->runs[i];
    }
    dups->run_count = kept;
}

/* ---------------------------------------------------------------------------------------- steps */

bool chi_dups_due(const struct chi_dups *dups, uint64_t since)
{
    return seal_due(dups) || clear_due(dups) || forget_due(dups, since) || to_drop(dups, since);
}

/* Writing a run comes first: until it is done, what comes meanwhile gathers in memory. */
int chi_dups_step(struct chi_dups *dups, uint64_t since, bool *more)
{
    struct chi_dups_run *old;
    int code = SQLITE_OK;
    assert(dups->done.what == CHI_DUPS_NOTHING);
    chi_dups_forget(dups, since, FORGET_CIDS);
    if (seal_due(dups))
        code = seal_step(dups);
    else if (clear_due(dups))
        code = clear_step(dups);
    else if ((old = to_drop(dups, since)) != NULL)
        code = drop_step(dups, old);
    *more = code == SQLITE_OK && (dups->done.what == CHI_DUPS_SEALED || chi_dups_due(dups, since));
    return code;
}

void chi_dups_step_committed(struct chi_dups *dups)
{
    struct chi_dups_done done = dups->done;
    if (done.what == CHI_DUPS_SEALED)
        seal_committed(dups);
    else if (done.what == CHI_DUPS_CLEARED)
        dups->stale = 0;
    else if (done.what == CHI_DUPS_DROPPED)
        drop_committed(dups);
    dups->done.what = CHI_DUPS_NOTHING;
}
