/* Opening: which runs there are, with their filters, and the cids that no run has yet. Nothing that
 * the file says is believed; it is not written to, what a crash left is cleared away by steps. */
#include "log/sqlite/dups_inside.h"

#include <stdlib.h>
#include <string.h>

#include "core/ports.h"

/* One row after the other of a statement that is run once. */
static int each_row(struct chi_dups *dups, const char *text, uint64_t parameter,
                    int (*row)(struct chi_dups *dups, sqlite3_stmt *statement))
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(dups->db, text, -1, &statement, NULL);
    if (code == SQLITE_OK && sqlite3_bind_parameter_count(statement))
        code = sqlite3_bind_int64(statement, 1, (sqlite3_int64)parameter);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW)
        code = row(dups, statement);
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int number(sqlite3_stmt *statement, int column, uint64_t most, uint64_t *out)
{
    sqlite3_int64 is = sqlite3_column_int64(statement, column);
    if (sqlite3_column_type(statement, column) != SQLITE_INTEGER || is < 0 || (uint64_t)is > most)
        return SQLITE_CORRUPT;
    *out = (uint64_t)is;
    return SQLITE_OK;
}

/* *at is NULL where there are no bytes. */
static int bytes(struct chi_dups *dups, sqlite3_stmt *statement, int column, const uint8_t **at,
                 size_t *size)
{
    if (sqlite3_column_type(statement, column) != SQLITE_BLOB)
        return SQLITE_CORRUPT;
    *at = sqlite3_column_blob(statement, column);
    *size = (size_t)sqlite3_column_bytes(statement, column);
    return !*at && sqlite3_errcode(dups->db) == SQLITE_NOMEM ? SQLITE_NOMEM : SQLITE_OK;
}

/* ----------------------------------------------------------------------------------------- runs */

int chi_dups_run_reserve(struct chi_dups *dups)
{
    if (dups->run_count < dups->run_cap)
        return SQLITE_OK;
    uint32_t cap = dups->run_cap * 2 + 8;
    struct chi_dups_run *larger = realloc(dups->runs, cap * sizeof(*larger));
    if (!larger)
        return SQLITE_NOMEM;
    dups->runs = larger;
    dups->run_cap = cap;
    return SQLITE_OK;
}

static int filter_read(struct chi_dups *dups, sqlite3_stmt *statement, struct chi_dups_run *run)
{
    const uint8_t *at;
    size_t size;
    int code = bytes(dups, statement, 5, &at, &size);
    if (code != SQLITE_OK || !size)
        return code;
    if (size != chi_filter_size(run->count))
        return SQLITE_CORRUPT;
    if (chi_filter_new(&run->filter, run->count))
        return SQLITE_NOMEM;
    memcpy(run->filter.bits, at, size);
    return SQLITE_OK;
}

/* One without a filter is a torso, which steps clear away. */
static int run_row(struct chi_dups *dups, sqlite3_stmt *statement)
{
    static const uint64_t most[] = {CHI_DUPS_LAST_RUN, INT64_MAX, CHI_POSITION_MAX,
                                    CHI_DUPS_MOST * CHI_DUPS_RUN, CHI_DUPS_CHUNK_BITS};
    uint64_t is[5];
    for (int i = 0; i < 5; i++) {
        if (number(statement, i, most[i], &is[i]) != SQLITE_OK)
            return SQLITE_CORRUPT;
    }
    struct chi_dups_run run = {
        .number = is[0], .newest = is[1], .count = (uint32_t)is[3], .bits = (uint8_t)is[4]};
    int code = chi_dups_run_reserve(dups);
    if (code == SQLITE_OK)
        code = filter_read(dups, statement, &run);
    if (code != SQLITE_OK)
        return code;
    dups->runs[dups->run_count++] = run;
    dups->last_run = run.number;
    if (run.filter.bits && is[2] > dups->useless)
        dups->useless = is[2];
    return SQLITE_OK;
}

/* -------------------------------------------------------------------------------------- commits */

static int record_read(struct chi_dups *dups, const uint8_t *at, uint64_t *last)
{
    struct chi_cid cid;
    if (!chi_dups_record_get(at, &cid) || cid.position <= *last ||
        dups->fresh.count >= CHI_DUPS_MOST * CHI_DUPS_RUN)
        return SQLITE_CORRUPT;
    *last = cid.position;
    return chi_dups_remember(dups, &cid);
}

static int commit_row(struct chi_dups *dups, sqlite3_stmt *statement)
{
    uint64_t position, last = 0;
    const uint8_t *at;
    size_t size;
    if (number(statement, 0, CHI_POSITION_MAX, &position) != SQLITE_OK)
        return SQLITE_CORRUPT;
    int code = bytes(dups, statement, 1, &at, &size);
    if (code != SQLITE_OK)
        return code;
    if (!size || size % CHI_DUPS_RECORD)
        return SQLITE_CORRUPT;
    if (dups->fresh.count)
        last = chi_cids_at(&dups->fresh, dups->fresh.count - 1)->position;
    for (size_t i = 0; i < size && code == SQLITE_OK; i += CHI_DUPS_RECORD)
        code = record_read(dups, at + i, &last);
    return code == SQLITE_OK && last != position ? SQLITE_CORRUPT : code;
}

static int useless_row(struct chi_dups *dups, sqlite3_stmt *statement)
{
    if (sqlite3_column_int64(statement, 0))
        dups->stale = dups->run;
    return SQLITE_OK;
}

int chi_dups_load(struct chi_dups *dups)
{
    int code = each_row(dups, "SELECT run,newest,top,count,bits,filter FROM cid_runs ORDER BY run",
                        0, run_row);
    if (code == SQLITE_OK)
        code = each_row(
            dups, "SELECT position,records FROM cid_commits WHERE position>?1 ORDER BY position",
            dups->useless, commit_row);
    if (code == SQLITE_OK)
        code = each_row(dups, "SELECT EXISTS(SELECT 1 FROM cid_commits WHERE position<=?1)",
                        dups->useless, useless_row);
    return code;
}
