/* Remembered cids in a file of their own, beside a plain list of what should be remembered. */
#ifndef DUPS_WORLD_H
#define DUPS_WORLD_H

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log/sqlite/dups_inside.h"
#include "unit.h"

static const uint8_t world_secret[48] = "the tests' own, which is known to everybody....";

/* ck_assert for what is asserted a million times: that writes a line each time. */
#define FAST(holds)                                                                                \
    do {                                                                                           \
        if (!(holds))                                                                              \
            ck_abort_msg("%s", #holds);                                                            \
    } while (0)

/* One name, and as what it was remembered last. */
struct known {
    uint64_t position; /* 0: never, or only in a transaction that was rolled back */
    uint64_t time;
    uint32_t content;
};

#define NAMES 20000u

struct world {
    char folder[64];           /* of the files */
    char path[80];             /* the one that is open */
    uint32_t copies;           /* made of it so far, one by one */
    sqlite3 *db;               /* open connection */
    struct chi_dups *dups;     /* NULL: not open */
    uint32_t run;              /* fresh cids that make a run */
    uint64_t now, horizon;     /* Unix ms */
    uint64_t last, given;      /* newest position: committed, given out */
    uint64_t random;           /* state */
    struct known is[NAMES];    /* as committed */
    struct known maybe[NAMES]; /* with the transaction under way */
    uint32_t touched[NAMES];   /* by that … */
    uint32_t touched_count;    /* … so many */
};

static inline uint32_t world_random(struct world *w, uint32_t below)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((w->random >> 33) % below);
}

static inline void world_sql(struct world *w, const char *text)
{
    char *problem = NULL;
    int code = sqlite3_exec(w->db, text, NULL, NULL, &problem);
    if (code != SQLITE_OK)
        ck_abort_msg("%s: %s", text, problem ? problem : "?");
}

static inline int64_t world_number(struct world *w, const char *text)
{
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_prepare_v2(w->db, text, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

static inline void world_connect(struct world *w)
{
    ck_assert_int_eq(sqlite3_open(w->path, &w->db), SQLITE_OK);
    sqlite3_db_config(w->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    world_sql(w, "PRAGMA journal_mode=WAL");
    world_sql(w, "PRAGMA synchronous=OFF");
}

static inline int world_try_open(struct world *w)
{
    int code = chi_dups_open(w->db, world_secret, &w->dups);
    if (w->dups)
        w->dups->run = w->run;
    return code;
}

static inline struct world *world_new(uint32_t run, uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));
    ck_assert_ptr_nonnull(w);
    snprintf(w->folder, sizeof(w->folder), "/tmp/test-dups-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->folder));
    snprintf(w->path, sizeof(w->path), "%s/0", w->folder);
    w->run = run;
    w->now = UINT64_C(1800000000000);
    w->horizon = 1000000;
    w->random = seed;
    world_connect(w);
    world_sql(w, chi_dups_schema);
    ck_assert_int_eq(world_try_open(w), SQLITE_OK);
    return w;
}

static inline void world_close(struct world *w)
{
    chi_dups_free(w->dups);
    w->dups = NULL;
    ck_assert_int_eq(sqlite3_close(w->db), SQLITE_OK); /* no statement is left */
    w->db = NULL;
}

static inline void world_remove(const char *path)
{
    static const char *const ends[] = {"", "-wal", "-shm"};
    char name[96];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        unlink(name);
    }
}

static inline void world_free(struct world *w)
{
    world_close(w);
    world_remove(w->path);
    ck_assert_int_eq(rmdir(w->folder), 0);
    free(w);
}

static inline void world_copy(const char *from, const char *to, const char *end)
{
    char name[96], bytes[65536];
    snprintf(name, sizeof(name), "%s%s", from, end);
    FILE *in = fopen(name, "rb");
    if (!in)
        return;
    snprintf(name, sizeof(name), "%s%s", to, end);
    FILE *out = fopen(name, "wb");
    ck_assert_ptr_nonnull(out);
    for (size_t n; (n = fread(bytes, 1, sizeof(bytes), in)) > 0;)
        ck_assert_uint_eq(fwrite(bytes, 1, n, out), n);
    ck_assert_int_eq(fclose(out), 0);
    fclose(in);
}

static inline uint64_t world_since(const struct world *w)
{
    return w->now - w->horizon;
}

/* What name `n` is remembered as. */
static inline struct chi_cid world_cid(const struct world *w, uint32_t n)
{
    char name[16];
    int len = snprintf(name, sizeof(name), "cid %u", n);
    struct chi_entry_parts parts = {
        .user = CHI_SPAN("user"), .cid = {name, (size_t)len}, .content = CHI_SPAN("Hello")};
    struct chi_entry *draft = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    FAST(draft != NULL);
    struct chi_cid cid = chi_dups_of(w->dups, CHI_SPAN("room"), draft);
    chi_entry_unref(draft);
    return cid;
}

/* Name `n` is remembered exactly if and as it should be. */
static inline bool world_check(struct world *w, uint32_t n, const struct known *should)
{
    struct chi_cid like = world_cid(w, n), is;
    int code = chi_dups_find(w->dups, &like, world_since(w), &is);
    bool remembered = should->position && should->time >= world_since(w);
    FAST(code == (remembered ? SQLITE_ROW : SQLITE_DONE));
    if (remembered) {
        FAST(memcmp(is.key, like.key, sizeof(is.key)) == 0);
        FAST(is.position == should->position && is.time == should->time);
        FAST(is.content == should->content);
    }
    return remembered;
}

static inline void world_check_all(struct world *w)
{
    for (uint32_t n = 0; n < NAMES; n++) {
        if (w->is[n].position || n % 100 == 0)
            world_check(w, n, &w->is[n]);
    }
}

/* --------------------------------------------------------------------------------- transactions */

static inline void world_begin(struct world *w)
{
    world_sql(w, "BEGIN IMMEDIATE");
}

/* A post under name `n`, as a writer does it. */
static inline int world_post(struct world *w, uint32_t n)
{
    if (world_check(w, n, &w->maybe[n]))
        return SQLITE_OK;
    struct chi_cid cid = world_cid(w, n);
    cid.position = w->given + 1 + world_random(w, 3);
    cid.time = w->now;
    int code = chi_dups_add(w->dups, &cid);
    if (code != SQLITE_OK)
        return code;
    w->given = cid.position;
    w->maybe[n] = (struct known){cid.position, cid.time, cid.content};
    w->touched[w->touched_count++] = n;
    world_check(w, n, &w->maybe[n]);
    return SQLITE_OK;
}

static inline void world_settle(struct world *w, bool committed)
{
    for (uint32_t i = 0; i < w->touched_count; i++) {
        uint32_t n = w->touched[i];
        if (committed)
            w->is[n] = w->maybe[n];
        else
            w->maybe[n] = w->is[n];
    }
    w->touched_count = 0;
    if (committed)
        w->last = w->given;
    else
        w->given = w->last;
}

static inline void world_commit(struct world *w)
{
    FAST(chi_dups_write(w->dups) == SQLITE_OK);
    world_sql(w, "COMMIT");
    chi_dups_committed(w->dups);
    world_settle(w, true);
}

static inline void world_rollback(struct world *w)
{
    world_sql(w, "ROLLBACK");
    chi_dups_rolled_back(w->dups);
    world_settle(w, false);
}

/* Posts names from `from` on, so many in each commit. */
static inline void world_posts(struct world *w, uint32_t from, uint32_t count, uint32_t each)
{
    for (uint32_t n = 0; n < count; n += each) {
        world_begin(w);
        for (uint32_t i = n; i < n + each && i < count; i++)
            FAST(world_post(w, from + i) == SQLITE_OK);
        world_commit(w);
    }
}

static inline bool world_step(struct world *w)
{
    bool more;
    world_begin(w);
    ck_assert_int_eq(chi_dups_step(w->dups, world_since(w), &more), SQLITE_OK);
    world_sql(w, "COMMIT");
    chi_dups_committed(w->dups);
    return more;
}

/* All that is due. How many steps it took. */
static inline uint32_t world_steps(struct world *w)
{
    uint32_t steps = 0;
    for (; chi_dups_due(w->dups, world_since(w)); steps++) {
        ck_assert_uint_lt(steps, 100000);
        world_step(w);
    }
    return steps;
}

/* ------------------------------------------------------------------------------------- openings */

static inline void world_reopen(struct world *w)
{
    world_close(w);
    world_connect(w);
    ck_assert_int_eq(world_try_open(w), SQLITE_OK);
}

/* Goes on with what the disk has at this moment, as after a crash; a transaction under way never
 * was. */
static inline void world_crash(struct world *w)
{
    char old[80], new[80];
    memcpy(old, w->path, sizeof(old));
    snprintf(new, sizeof(new), "%s/%u", w->folder, ++w->copies);
    world_copy(old, new, "");
    world_copy(old, new, "-wal");
    if (!sqlite3_get_autocommit(w->db))
        world_rollback(w);
    world_close(w);
    world_remove(old);
    memcpy(w->path, new, sizeof(w->path));
    world_connect(w);
    ck_assert_int_eq(world_try_open(w), SQLITE_OK);
}

#endif
