/* Looks at an SQLite log's file without touching it.
 *
 * What can be said by the file's head is said by that, before SQLite looks at more: of a file that is
 * no log nothing is read and beside it nothing is made. The rest is one read transaction, so that it
 * holds beside a hub that writes. PATH-wal may have pages that PATH lacks: a checkpoint that was cut
 * off leaves that. */
#include "log/sqlite/file_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chathub.h"

/* Files up to this size are read whole. */
#define WHOLE_BYTES (64 << 20)
/* How long a lock of another program is waited for. */
#define BUSY_MS 2000

/* Of the SQLite file format and its WAL format. */
#define HEAD_BYTES      100
#define WAL_HEAD_BYTES  32
#define WAL_FRAME_BYTES 24
#define LOCK_BYTE       0x40000000 /* the page with it is never written */

struct check {
    const char *path; /* as it was given: for texts */
    const char *real;
    struct chi_problem_text problem;
    sqlite3 *db;
    int64_t page_bytes;
    int64_t pages;   /* by the file's head, then by SQLite */
    int64_t version; /* of the schema */
};

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

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
                         "is cut: it has %lld bytes of %lld; restore it from a backup, or name "
                         "another file",
                         (long long)has, (long long)should);
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
    c->pages = big_endian(head + 28);
    return chi_file_is_log(c->problem, c->path, big_endian(head + 68),
                           (int32_t)big_endian(head + 60));
}

/* -------------------------------------------------------------------------------------- its WAL */

/* A descriptor of PATH-wal; -1: there is none, which is well; or it cannot be read: SQLite tells. */
static int open_wal(const struct check *c, int64_t *size)
{
    struct stat is = {0};
    char *name = chi_file_beside(c->real, "-wal");
    int fd = name ? open(name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    free(name);
    *size = fd >= 0 && fstat(fd, &is) == 0 ? (int64_t)is.st_size : 0;
    return fd;
}

static uint32_t word_of(const uint8_t *at, bool big)
{
    return big ? big_endian(at)
               : (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

/* Its magic number, which says the order of bytes in its checksum, and that. */
static bool is_wal(const uint8_t head[WAL_HEAD_BYTES])
{
    uint32_t magic = big_endian(head), sum[2] = {0, 0};
    if ((magic & ~1u) != 0x377f0682)
        return false;
    for (int i = 0; i < 24; i += 8) {
        sum[0] += word_of(head + i, magic & 1) + sum[1];
        sum[1] += word_of(head + i + 4, magic & 1) + sum[0];
    }
    return sum[0] == big_endian(head + 24) && sum[1] == big_endian(head + 28);
}

/* A WAL whose head is not sound SQLite would take for an empty one: the newest posts would be gone
 * without a word. (One that ends in mid-frame is what a crash leaves: nobody was shown that.) */
static int check_wal(const struct check *c)
{
    int64_t size;
    uint8_t head[WAL_HEAD_BYTES];
    int fd = open_wal(c, &size);
    if (fd < 0)
        return 0;
    ssize_t n = size > WAL_HEAD_BYTES ? pread(fd, head, sizeof(head), 0) : 0;
    close(fd);
    if (!n || (n == WAL_HEAD_BYTES && is_wal(head)))
        return 0;
    return chi_file_tell(c->problem, c->path, CHATHUB_EIO,
                         "has a damaged WAL: %s-wal, which holds the newest posts; restore both "
                         "from a backup, or move that away to go on without these posts",
                         c->path);
}

/* Marks which of the pages from `first` on are in the WAL. */
static void mark_pages(int fd, int64_t frames, int64_t page_bytes, int64_t first, uint8_t *there,
                       int64_t count)
{
    uint8_t head[WAL_HEAD_BYTES], frame[WAL_FRAME_BYTES];
    if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
        return;
    for (int64_t i = 0; i < frames; i++) {
        off_t at = (off_t)(WAL_HEAD_BYTES + i * (WAL_FRAME_BYTES + page_bytes));
        if (pread(fd, frame, sizeof(frame), at) != (ssize_t)sizeof(frame) ||
            memcmp(frame + 8, head + 16, 8) != 0)
            return; /* what follows is of an earlier round */
        int64_t page = (int64_t)big_endian(frame) - first;
        if (page >= 0 && page < count)
            there[page] = 1;
    }
}

/* Whether PATH-wal has all pages from `first` to the last one. 1, 0, or CHATHUB_ENOMEM. */
static int wal_has(const struct check *c, int64_t first)
{
    int64_t size, count = c->pages - first + 1;
    int fd = open_wal(c, &size);
    int64_t frames = (size - WAL_HEAD_BYTES) / (WAL_FRAME_BYTES + c->page_bytes);
    bool has = fd >= 0 && count <= frames;
    uint8_t *there = has ? calloc(1, (size_t)count) : NULL;
    if (there)
        mark_pages(fd, frames, c->page_bytes, first, there, count);
    for (int64_t i = 0; there && i < count && has; i++)
        has = there[i] || first + i == LOCK_BYTE / c->page_bytes + 1;
    if (fd >= 0)
        close(fd);
    bool no_memory = has && !there;
    free(there);
    return no_memory ? CHATHUB_ENOMEM : has;
}

/* ------------------------------------------------------------------------------------- its pages */

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
    int has = wal_has(c, size / c->page_bytes + 1);
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
    int code = begin(c);
    if (code != SQLITE_OK)
        return tell_failure(c, code);
    int error = chi_file_recognise(c->db, c->path, &c->version, c->problem);
    if (!error)
        error = check_length(c);
    if (!error && (code = chi_file_settle(c->db, way)) != SQLITE_OK)
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
