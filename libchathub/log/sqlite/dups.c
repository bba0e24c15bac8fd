/* Finding and adding cids, and what a commit writes of them. Opening: dups_load.c; runs and
 * forgetting: dups_keep.c.
 *
 * Happy path: find looks in memory, then asks the runs' filters, newest first, and hardly ever
 * reads a chunk; add puts the cid into memory; write makes one row of what was added; committed
 * lets it stay. Failure modes: what was added is taken back by rolled_back. A chunk that no log
 * can have written is SQLITE_CORRUPT. */
#include "log/sqlite/dups_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/ports.h"

/* STRICT, as all tables of the file. A chunk's number is its run's, times 2^16, plus its own: rows
 * of a run are written, and deleted, in the table's order. */
const char chi_dups_schema[] =
    "CREATE TABLE cid_commits("
    "position INTEGER PRIMARY KEY,"  /* greatest position among the records */
    "records BLOB NOT NULL) STRICT;" /* of one commit, in order */
    "CREATE TABLE cid_runs("
    "run INTEGER PRIMARY KEY,"      /* grows from run to run */
    "newest INTEGER NOT NULL,"      /* time of the newest cid in it */
    "top INTEGER NOT NULL,"         /* greatest position: it has all of cid_commits up to there */
    "count INTEGER NOT NULL,"       /* cids in it */
    "bits INTEGER NOT NULL,"        /* of a key, its first: they are the chunk's number */
    "filter BLOB NOT NULL) STRICT;" /* empty: the run is not complete */
    "CREATE TABLE cid_chunks("
    "chunk INTEGER PRIMARY KEY,"     /* run * 65536 + number within the run */
    "records BLOB NOT NULL) STRICT"; /* those whose keys begin with the number */

static const char *const texts[CHI_DUPS_STATEMENTS] = {
    [CHI_DUPS_FIND] = "SELECT records FROM cid_chunks WHERE chunk=?1",
    [CHI_DUPS_COMMIT_NEW] = "INSERT INTO cid_commits(position,records) VALUES(?1,?2)",
    [CHI_DUPS_COMMITS_UPTO] = "DELETE FROM cid_commits WHERE position IN (SELECT position FROM "
                              "cid_commits WHERE position<=?1 ORDER BY position LIMIT ?2)",
    [CHI_DUPS_RUN_NEW] = "INSERT INTO cid_runs(run,newest,top,count,bits,filter) "
                         "VALUES(?1,?2,?3,?4,?5,x'')",
    [CHI_DUPS_CHUNK_NEW] = "INSERT INTO cid_chunks(chunk,records) VALUES(?1,?2)",
    [CHI_DUPS_RUN_COMPLETE] = "UPDATE cid_runs SET filter=?2 WHERE run=?1",
    [CHI_DUPS_CHUNKS_DROP] = "DELETE FROM cid_chunks WHERE chunk IN (SELECT chunk FROM cid_chunks "
                             "WHERE chunk BETWEEN ?1 AND ?2 ORDER BY chunk LIMIT ?3)",
    [CHI_DUPS_RUN_DROP] = "DELETE FROM cid_runs WHERE run=?1",
};

/* -------------------------------------------------------------------------------------- records */

static uint8_t *put(uint8_t *at, uint64_t number, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        *at++ = (uint8_t)(number >> 8 * i);
    return at;
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes; i++)
        number |= (uint64_t)at[i] << 8 * i;
    return number;
}

void chi_dups_record_put(uint8_t *at, const struct chi_cid *cid)
{
    at = put(at, cid->key[0], 8);
    at = put(at, cid->key[1], 8);
    at = put(at, cid->position, 8);
    at = put(at, cid->time, 8);
    put(at, cid->content, 4);
}

bool chi_dups_record_get(const uint8_t *at, struct chi_cid *out)
{
    *out = (struct chi_cid){
        .key = {get(at, 8), get(at + 8, 8)},
        .position = get(at + 16, 8),
        .time = get(at + 24, 8),
        .content = (uint32_t)get(at + 32, 4),
    };
    return out->position && out->position <= CHI_POSITION_MAX && out->time <= INT64_MAX;
}

int chi_dups_records(struct chi_dups *dups, size_t count)
{
    size_t size = count * CHI_DUPS_RECORD;
    if (size <= dups->records_cap)
        return SQLITE_OK;
    uint8_t *larger = realloc(dups->records, size);
    if (!larger)
        return SQLITE_NOMEM;
    dups->records = larger;
    dups->records_cap = size;
    return SQLITE_OK;
}

/* ----------------------------------------------------------------------------------- statements */

sqlite3_stmt *chi_dups_with(struct chi_dups *dups, enum chi_dups_statement which,
                            const uint64_t *numbers, int n)
{
    sqlite3_stmt *statement = dups->statements[which];
    for (int i = 0; i < n; i++) {
        assert(numbers[i] <= INT64_MAX);
        int code = sqlite3_bind_int64(statement, i + 1, (sqlite3_int64)numbers[i]);
        assert(code == SQLITE_OK);
        (void)code;
    }
    return statement;
}

int chi_dups_do(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

uint64_t chi_dups_chunk(const struct chi_dups_run *run, const uint64_t key[2])
{
    uint64_t number = run->bits ? key[0] >> (64 - run->bits) : 0;
    return run->number << CHI_DUPS_CHUNK_BITS | number;
}

/* ----------------------------------------------------------------------------- opening, closing */

static int prepare(struct chi_dups *dups)
{
    int code = SQLITE_OK;
    for (int i = 0; i < CHI_DUPS_STATEMENTS && code == SQLITE_OK; i++)
        code = sqlite3_prepare_v3(dups->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &dups->statements[i], NULL);
    return code;
}

int chi_dups_open(sqlite3 *db, const uint8_t *secret, struct chi_dups **out)
{
    *out = NULL;
    struct chi_dups *dups = calloc(1, sizeof(*dups));
    if (!dups)
        return SQLITE_NOMEM;
    dups->db = db;
    dups->run = CHI_DUPS_RUN;
    memcpy(dups->secret, secret, sizeof(dups->secret));
    chi_cids_init(&dups->fresh, secret);
    chi_cids_init(&dups->seal.cids, secret);
    int code = prepare(dups);
    if (code == SQLITE_OK)
        code = chi_dups_load(dups);
    if (code != SQLITE_OK)
        chi_dups_free(dups);
    else
        *out = dups;
    return code;
}

void chi_dups_free(struct chi_dups *dups)
{
    if (!dups)
        return;
    for (int i = 0; i < CHI_DUPS_STATEMENTS; i++)
        sqlite3_finalize(dups->statements[i]);
    for (uint32_t i = 0; i < dups->run_count; i++)
        chi_filter_free(&dups->runs[i].filter);
    free(dups->runs);
    chi_filter_free(&dups->seal.run.filter);
    free(dups->seal.order);
    chi_cids_fini(&dups->seal.cids);
    chi_cids_fini(&dups->fresh);
    free(dups->records);
    free(dups);
}

/* -------------------------------------------------------------------------------------- finding */

struct chi_cid chi_dups_of(const struct chi_dups *dups, struct chi_span room,
                           const struct chi_entry *draft)
{
    return chi_cids_of(&dups->fresh, room, draft);
}

static int find_in_records(const uint8_t *at, size_t size, const struct chi_cid *like,
                           struct chi_cid *out)
{
    if (size % CHI_DUPS_RECORD)
        return SQLITE_CORRUPT;
    for (; size; at += CHI_DUPS_RECORD, size -= CHI_DUPS_RECORD) {
        if (get(at, 8) == like->key[0] && get(at + 8, 8) == like->key[1])
            return chi_dups_record_get(at, out) ? SQLITE_ROW : SQLITE_CORRUPT;
    }
    return SQLITE_DONE;
}

/* A filter takes some for its own that are not: then the chunk has no such record, or there is no
 * such chunk. */
static int find_in_run(struct chi_dups *dups, const struct chi_dups_run *run,
                       const struct chi_cid *like, struct chi_cid *out)
{
    uint64_t chunk = chi_dups_chunk(run, like->key);
    sqlite3_stmt *statement = chi_dups_with(dups, CHI_DUPS_FIND, &chunk, 1);
    dups->looks++;
    int code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        const uint8_t *records = sqlite3_column_blob(statement, 0);
        size_t size = (size_t)sqlite3_column_bytes(statement, 0);
        if (sqlite3_column_type(statement, 0) != SQLITE_BLOB)
            code = SQLITE_CORRUPT;
        else if (!records)
            code = sqlite3_errcode(dups->db) == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_CORRUPT;
        else
            code = find_in_records(records, size, like, out);
    }
    sqlite3_reset(statement);
    return code;
}

static int find_in_runs(struct chi_dups *dups, const struct chi_cid *like, uint64_t since,
                        struct chi_cid *out)
{
    struct chi_filter_key key;
    int code = SQLITE_DONE;
    chi_filter_key(&key, like->key);
    for (uint32_t i = dups->run_count; i && code == SQLITE_DONE; i--) {
        const struct chi_dups_run *run = &dups->runs[i - 1];
        if (run->filter.bits && run->newest >= since && chi_filter_has(&run->filter, &key))
            code = find_in_run(dups, run, like, out);
    }
    return code;
}

/* The newest with this key decides: one that is older was forgotten before that was added. */
int chi_dups_find(struct chi_dups *dups, const struct chi_cid *like, uint64_t since,
                  struct chi_cid *out)
{
    chi_dups_forget(dups, since, 16);
    const struct chi_cid *is = chi_cids_find(&dups->fresh, like);
    if (!is)
        is = chi_cids_find(&dups->seal.cids, like);
    int code = is ? SQLITE_ROW : find_in_runs(dups, like, since, out);
    if (is)
        *out = *is;
    return code == SQLITE_ROW && out->time < since ? SQLITE_DONE : code;
}

/* --------------------------------------------------------------------------------------- adding */

int chi_dups_remember(struct chi_dups *dups, const struct chi_cid *cid)
{
    chi_cids_forget(&dups->fresh, cid);
    return chi_cids_add(&dups->fresh, cid) ? SQLITE_NOMEM : SQLITE_OK;
}

/* Steps keep them few; where none can be done, memory is bounded all the same. */
int chi_dups_add(struct chi_dups *dups, const struct chi_cid *cid)
{
    assert(cid->position && cid->position <= CHI_POSITION_MAX && cid->time <= INT64_MAX);
    if (dups->fresh.count >= CHI_DUPS_MOST * dups->run)
        return SQLITE_NOMEM;
    int code = chi_dups_remember(dups, cid);
    if (code == SQLITE_OK)
        dups->added++;
    return code;
}

int chi_dups_write(struct chi_dups *dups)
{
    uint32_t first = dups->fresh.count - (dups->added - dups->noted);
    if (first == dups->fresh.count)
        return SQLITE_OK;
    if (chi_dups_records(dups, dups->added - dups->noted))
        return SQLITE_NOMEM;
    uint8_t *at = dups->records;
    for (uint32_t i = first; i < dups->fresh.count; i++) {
        const struct chi_cid *cid = chi_cids_at(&dups->fresh, i);
        if (!cid->position)
            continue;
        chi_dups_record_put(at, cid);
        at += CHI_DUPS_RECORD;
    }
    uint64_t position = chi_cids_at(&dups->fresh, dups->fresh.count - 1)->position;
    sqlite3_stmt *statement = chi_dups_with(dups, CHI_DUPS_COMMIT_NEW, &position, 1);
    int code =
        sqlite3_bind_blob(statement, 2, dups->records, (int)(at - dups->records), SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = chi_dups_do(statement);
    if (code == SQLITE_OK)
        dups->noted = dups->added;
    return code;
}

void chi_dups_committed(struct chi_dups *dups)
{
    assert(dups->noted == dups->added);
    dups->added = dups->noted = 0;
    chi_dups_step_committed(dups);
}

void chi_dups_rolled_back(struct chi_dups *dups)
{
    chi_cids_undo(&dups->fresh, dups->added);
    dups->added = dups->noted = 0;
    dups->done.what = CHI_DUPS_NOTHING;
}

/* -------------------------------------------------------------------------------------- numbers */

uint64_t chi_dups_count(const struct chi_dups *dups)
{
    uint64_t count = (uint64_t)dups->fresh.count + dups->seal.cids.count;
    for (uint32_t i = 0; i < dups->run_count; i++) {
        if (dups->runs[i].filter.bits)
            count += dups->runs[i].count;
    }
    return count;
}

uint64_t chi_dups_memory(const struct chi_dups *dups)
{
    size_t bytes = sizeof(*dups) + chi_cids_memory(&dups->fresh) +
                   chi_cids_memory(&dups->seal.cids) + chi_filter_memory(&dups->seal.run.filter) +
                   dups->run_cap * sizeof(*dups->runs) + dups->records_cap;
    if (dups->seal.order)
        bytes += dups->seal.run.count * sizeof(*dups->seal.order);
    for (uint32_t i = 0; i < dups->run_count; i++)
        bytes += chi_filter_memory(&dups->runs[i].filter);
    return bytes;
}
