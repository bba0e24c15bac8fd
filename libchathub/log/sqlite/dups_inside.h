/* What the files of the remembered cids share: dups.c (finding, adding), dups_load.c (opening),
 * dups_keep.c (the steps of housekeeping).
 *
 * Where a cid is, one after the other: in `fresh`, with its commit's row in cid_commits; in `seal`,
 * while that becomes a run; in a run. Rows of cid_commits go once a run that has all of them is
 * complete. What a crash leaves is told apart by two rules: a run whose filter is empty was not
 * complete, and goes; rows not above the `top` of a complete run are in a run. */
#ifndef CHI_LOG_SQLITE_DUPS_INSIDE_H
#define CHI_LOG_SQLITE_DUPS_INSIDE_H

#include "log/sqlite/dups.h"
#include "log/sqlite/dups_filter.h"

/* A cid in the file: key, position, time, content; little-endian. */
#define CHI_DUPS_RECORD 36u
/* `fresh` and a run have so many cids at most, as a multiple of the usual. */
#define CHI_DUPS_MOST 16u
/* A run has up to 2 to the power of so many chunks, of so many cids each on average: about 7 rows
 * fit into a page of the file, with little left over. */
#define CHI_DUPS_CHUNK_BITS 16u
#define CHI_DUPS_CHUNK      16u
#define CHI_DUPS_LAST_RUN   (UINT64_C(1) << 46)

enum chi_dups_statement {
    CHI_DUPS_FIND,         /* chunk: its records */
    CHI_DUPS_COMMIT_NEW,   /* position, records */
    CHI_DUPS_COMMITS_UPTO, /* position, count: deletes the oldest rows up to there */
    CHI_DUPS_RUN_NEW,      /* run, newest, top, count, bits: an incomplete one */
    CHI_DUPS_CHUNK_NEW,    /* chunk, records */
    CHI_DUPS_RUN_COMPLETE, /* run, filter */
    CHI_DUPS_CHUNKS_DROP,  /* first and last chunk, count: deletes so many */
    CHI_DUPS_RUN_DROP,     /* run */
    CHI_DUPS_STATEMENTS,
};

struct chi_dups_run {
    uint64_t number;          /* grows from run to run */
    uint64_t newest;          /* time of its newest cid */
    uint32_t count;           /* cids in it */
    uint8_t bits;             /* of a key, its first: they choose the chunk */
    struct chi_filter filter; /* owned; none: the run is forgotten, and leaves the file */
};

/* A run that is being written. */
struct chi_dups_seal {
    struct chi_cids cids; /* they are found here meanwhile */
    uint32_t *order;      /* owned: which of `cids`, chunk by chunk; NULL: there is no such run */
    uint32_t written;     /* of `order`; committed */
    uint64_t top;         /* newest position among them */
    struct chi_dups_run run; /* as it is going to be; the filter has those that were written */
};

/* What the transaction under way has done, if it is a step; it counts once it is committed. */
struct chi_dups_done {
    enum { CHI_DUPS_NOTHING, CHI_DUPS_SEALED, CHI_DUPS_CLEARED, CHI_DUPS_DROPPED } what;
    uint32_t written; /* sealed: of `seal.order`, all in all */
    uint64_t run;     /* dropped: its number */
};

struct chi_dups {
    sqlite3 *db;                                   /* outlives it */
    sqlite3_stmt *statements[CHI_DUPS_STATEMENTS]; /* owned */
    uint8_t secret[48];                            /* the file's */
    uint32_t run;              /* fresh cids that make a run; tests may set another */
    struct chi_cids fresh;     /* the newest, in order */
    uint32_t added;            /* of these, by the transaction under way … */
    uint32_t noted;            /* … and written by it already */
    struct chi_dups_seal seal; /* what was fresh before */
    struct chi_dups_run *runs; /* owned; the newest last */
    uint32_t run_count, run_cap;
    uint64_t last_run;         /* newest number of a run, complete or not */
    uint64_t useless;          /* rows of cid_commits up to this position may go … */
    uint64_t stale;            /* … which have about so many cids */
    struct chi_dups_done done; /* by the transaction under way */
    uint8_t *records;          /* owned: space to write into */
    size_t records_cap;        /* bytes */
    uint64_t looks;            /* chunks that were looked for in the file */
};

/* Records, as they are in the file. `at` has room for CHI_DUPS_RECORD bytes. */
void chi_dups_record_put(uint8_t *at, const struct chi_cid *cid);
/* false: no log can have written it. */
bool chi_dups_record_get(const uint8_t *at, struct chi_cid *out);
/* Makes space for so many in dups->records. SQLITE_NOMEM. */
int chi_dups_records(struct chi_dups *dups, size_t count);

/* Row of the chunk of a run that has this key. */
uint64_t chi_dups_chunk(const struct chi_dups_run *run, const uint64_t key[2]);
/* A statement with its first `n` parameters set, none above INT64_MAX. */
sqlite3_stmt *chi_dups_with(struct chi_dups *dups, enum chi_dups_statement which,
                            const uint64_t *numbers, int n);
/* Runs a statement that answers nothing. */
int chi_dups_do(sqlite3_stmt *statement);

/* The newest, which takes the place of an older one with this key. SQLITE_NOMEM. */
int chi_dups_remember(struct chi_dups *dups, const struct chi_cid *cid);
/* Forgets up to `most` fresh ones that are older than `since`. */
void chi_dups_forget(struct chi_dups *dups, uint64_t since, uint32_t most);
/* A place for one more run. SQLITE_NOMEM. */
int chi_dups_run_reserve(struct chi_dups *dups);

/* Reads what the file has, into what is empty. (dups_load.c) */
int chi_dups_load(struct chi_dups *dups);
/* What a step has done is committed, or never was. (dups_keep.c) */
void chi_dups_step_committed(struct chi_dups *dups);

#endif
