/* Looks at an SQLite log's file without touching it.
 *
 * What can be said by the file's head is said by that, before SQLite looks at more: of a file that
 * is no log nothing is read and beside it nothing is made. The rest is one read transaction, so
 * that it holds beside a hub that writes. PATH-wal may have pages that PATH lacks: a checkpoint
 * that was cut off leaves that. */
#include "log/sqlite/file_inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "chathub.h"

/* Files up to this size are read whole. */
#define WHOLE_BYTES (64 << 20)
/* How long a lock of another program is waited for. */
#define BUSY_MS 2000
/* How long another hub's sync is waited for, and how often it is looked. */
#define SYNC_MS  1000
#define PAUSE_MS 10

#define HEAD_BYTES 100 /* of the SQLite file format */

struct check {
    const char *path; /* as it was given: for texts */
    const char *real;
    struct chi_problem_text problem;
    sqlite3 *db;
    int64_t page_bytes;
    int64_t pages;   /* by the file's head, then by SQLite */
    int64_t version; /* of the schema */
};

/* ------------------------------------------------------------------------------------- its head */

/* Reads through SQLite's own descriptor. */
static int read_head(struct check *c, uint8_t head[HEAD_BYTES], int64_t *size)
{
    sqlite3_file *file = NULL;
    sqlite3_int64 bytes = 0;
    memset(head, 0, HEAD_BYTES);
    int code = sqlite3_file_control(c->db, "main", SQLITE_FCNTL_FILE_POINTER, &file);
    if (code == SQLITE_OK)
        code = file->pMethods->xFileSize(file, &bytes);
    if (code == SQLITE_OK && bytes)
        code = file->pMethods->xRead(file, head, HEAD_BYTES, 0);
    *size = bytes;
    return code == SQLITE_IOERR_SHORT_READ ? SQLITE_OK : code;
}

static int tell_cut(const struct check *c, int64_t has, int64_t should)
{
    return chi_file_tell(c->problem, c->path, CHATHUB_EIO,
                         "is cut: it has %lld bytes of %lld; restore it from a backup (and remove "
                         "%s-wal, which is not of that), or name another file",
                         (long long)has, (long long)should, c->path);
}

static int check_head(struct check *c)
{
    uint8_t head[HEAD_BYTES];
    int64_t size;
    int code = read_head(c, head, &size);
    if (code != SQLITE_OK)
        return chi_file_tell_sqlite(c->problem, c->path, c->db, code);
    if (!size)
        return chi_file_tell(c->problem, c->path, CHATHUB_EIO,
                             "is empty, which a log never is: restore it from a backup, or remove "
                             "it if there was nothing in it");
    if (memcmp(head, "SQLite format 3", 16) != 0)
        return chi_file_tell(c->problem, c->path, CHATHUB_EIO,
                             "is no SQLite database; name another file");
    if (size < HEAD_BYTES)
        return tell_cut(c, size, HEAD_BYTES);
    c->page_bytes = (int64_t)head[16] << 8 | head[17];
    if (c->page_bytes == 1)
        c->page_bytes = 65536;
    c->pages = chi_big_endian(head + 28);
    return chi_file_is_log(c->problem, c->path, chi_big_endian(head + 68),
                           (int32_t)chi_big_endian(head + 60));
}

/* A WAL whose head is not sound SQLite would take for an empty one: the newest posts would be gone
 * without a word. */
static int check_wal(const struct check *c)
{
    struct chi_wal wal;
    int error = chi_wal_open(c->real, &wal);
    chi_wal_close(&wal);
    if (!error)
        return 0;
    return chi_file_tell(c->problem, c->path, error,
                         "has a damaged WAL: %s-wal, which holds the newest posts; restore both "
                         "from a backup, or move that away to go on without these posts",
                         c->path);
}

/* ------------------------------------------------------------------------------------ its pages */

/* Whether all of its pages are there, in the file or in the WAL. */
static int check_length(struct check *c)
{
    uint8_t head[HEAD_BYTES];
    int64_t size;
    int code = read_head(c, head, &size);
    if (code != SQLITE_OK)
        return chi_file_tell_sqlite(c->problem, c->path, c->db, code);
    if (c->page_bytes < 512 || size / c->page_bytes >= c->pages)
        return 0;
    struct chi_wal wal;
    int has = chi_wal_open(c->real, &wal);
    if (!has)
        has = chi_wal_has(&wal, size / c->page_bytes + 1, c->pages);
    chi_wal_close(&wal);
    if (has < 0)
        return chi_file_tell_system(c->problem, c->path, NULL, ENOMEM);
    return has ? 0 : tell_cut(c, size, c->pages * c->page_bytes);
}

/* What SQLite cannot read: it is cut, or damaged, or cannot be read now. */
static int tell_failure(struct check *c, int code)
{
    if ((code & 0xff) != SQLITE_CORRUPT && (code & 0xff) != SQLITE_NOTADB)
        return chi_file_tell_sqlite(c->problem, c->path, c->db, code);
    int error = check_length(c);
    return error ? error : chi_file_tell_damage(c->problem, c->path, sqlite3_errmsg(c->db));
}

static int begin(struct check *c)
{
    int64_t pages = 0, page_bytes = 0;
    int code = chi_file_run(c->db, "BEGIN");
    if (code == SQLITE_OK)
        code = chi_file_number(c->db, "PRAGMA page_count", &pages);
    if (code == SQLITE_OK)
        code = chi_file_number(c->db, "PRAGMA page_size", &page_bytes);
    if (code == SQLITE_OK) {
        c->pages = pages;
        c->page_bytes = page_bytes;
    }
    return code;
}

static void wal_head(const struct check *c, uint8_t head[CHI_WAL_HEAD])
{
    struct chi_wal wal;
    chi_wal_open(c->real, &wal);
    memcpy(head, wal.head, CHI_WAL_HEAD);
    chi_wal_close(&wal);
}

/* Whether the WAL is of this file, and not of a later state of it that was replaced: then no commit
 * in the WAL has left as many pages as there seem to be. If it was started anew since it had
 * `head`, a hub writes to it: then it is of the file. 1, 0, or CHATHUB_ENOMEM. */
static int wal_fits(const struct check *c, const uint8_t head[CHI_WAL_HEAD])
{
    struct chi_wal wal;
    uint8_t now[CHI_WAL_HEAD];
    int fits = chi_wal_open(c->real, &wal);
    if (!fits)
        fits = chi_wal_left(&wal, c->pages);
    chi_wal_close(&wal);
    wal_head(c, now);
    bool same = memcmp(head, wal.head, CHI_WAL_HEAD) == 0 && memcmp(head, now, CHI_WAL_HEAD) == 0;
    return fits == CHATHUB_ENOMEM || same ? fits : 1;
}

/* What is read from here on is of one moment. A hub that is about to commit has written to the WAL
 * what nobody else sees yet, and may have started it anew with that: its sync is waited for. */
static int begin_all(struct check *c, enum chi_file_way way)
{
    uint8_t head[CHI_WAL_HEAD];
    int fits = 0, patience = way == CHI_WAY_READ ? SYNC_MS : 0;
    wal_head(c, head);
    for (int waited = 0; !fits && waited <= patience; waited += PAUSE_MS) {
        if (waited) {
            chi_file_run(c->db, "ROLLBACK");
            sqlite3_sleep(PAUSE_MS);
        }
        int code = begin(c);
        if (code != SQLITE_OK)
            return tell_failure(c, code);
        fits = wal_fits(c, head);
    }
    if (fits == CHATHUB_ENOMEM)
        return chi_file_tell_system(c->problem, c->path, NULL, ENOMEM);
    return fits == 1 ? 0
                     : chi_file_tell(c->problem, c->path, CHATHUB_EIO,
                                     "is not the file that %s-wal belongs to; if it was restored "
                                     "from a backup, remove that",
                                     c->path);
}

static int check_whole(struct check *c)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(c->db, "PRAGMA quick_check(1)", -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    const char *text = code == SQLITE_ROW ? (const char *)sqlite3_column_text(statement, 0) : NULL;
    int error = 0;
    if (!text)
        error = tell_failure(c, code == SQLITE_ROW ? SQLITE_NOMEM : code);
    else if (strcmp(text, "ok") != 0)
        error = chi_file_tell_damage(c->problem, c->path, text);
    sqlite3_finalize(statement);
    return error;
}

/* Every value of every row. */
static int read_rows(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW)
        code = SQLITE_OK;
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Of this version's tables: what a hub reads at its start, and what was written last. */
static int check_ends(struct check *c)
{
    static const char *const ends[] = {
        ("SELECT position,room,prev,bytes,time,type,sender,user,cid,content,data "
         "FROM entries ORDER BY position DESC LIMIT 100"),
        "SELECT position,room,prev FROM entries ORDER BY position LIMIT 100",
        "SELECT id,name,top,entries,bytes,written FROM rooms",
        "SELECT room,position FROM marks LIMIT 100",
        "SELECT key,value FROM meta",
        "SELECT number,name,first FROM epochs",
    };
    uint8_t secret[CHI_FILE_SECRET];
    int code = SQLITE_OK;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]) && code == SQLITE_OK; i++)
        code = read_rows(c->db, ends[i]);
    if (code == SQLITE_ERROR)
        return chi_file_tell_damage(c->problem, c->path, sqlite3_errmsg(c->db));
    if (code == SQLITE_OK && chi_file_secret(c->db, secret) == SQLITE_CORRUPT)
        return chi_file_tell_damage(c->problem, c->path, "it lacks its secret");
    return code == SQLITE_OK ? 0 : tell_failure(c, code);
}

/* ------------------------------------------------------------------------------------------ all */

static int check_content(struct check *c, enum chi_file_way way)
{
    int error = begin_all(c, way);
    if (!error)
        error = chi_file_recognise(c->db, c->path, &c->version, c->problem);
    if (!error)
        error = check_length(c);
    int code = error ? SQLITE_OK : chi_file_settle(c->db, way);
    if (code != SQLITE_OK)
        error = tell_failure(c, code);
    if (!error && c->pages * c->page_bytes <= WHOLE_BYTES)
        error = check_whole(c);
    if (!error && c->version == CHI_FILE_VERSION)
        error = check_ends(c);
    return error;
}

int chi_file_check(const char *path, struct chi_problem_text problem)
{
    char *real = NULL;
    struct check c = {.path = path, .problem = problem};
    int error = chi_file_look(path, problem);
    if (error <= 0)
        return error;
    error = chi_file_resolve(path, &real, problem);
    if (error)
        return error;
    c.real = real;
    enum chi_file_way way = chi_file_quiet_way(real);
    int code = chi_file_connect(real, way, BUSY_MS, &c.db);
    if (code != SQLITE_OK)
        error = chi_file_tell_sqlite(problem, path, c.db, code);
    if (!error)
        error = check_head(&c);
    if (!error)
        error = check_wal(&c);
    if (!error)
        error = check_content(&c, way);
    chi_file_close(c.db);
    free(real);
    return error;
}
