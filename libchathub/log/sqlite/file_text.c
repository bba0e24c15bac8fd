/* What is said to people about an SQLite log's file, and what SQLite's codes mean to the log. */
#include "log/sqlite/file_inside.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "chathub.h"

struct meaning {
    int code; /* SQLite's extended one, or a primary one for all that are not named */
    enum chi_file_trouble trouble;
    const char *why;
};

/* Extended codes come before their primary one. */
static const struct meaning meanings[] = {
    {SQLITE_BUSY, CHI_TROUBLE_BUSY, "another program has locked the file"},
    {SQLITE_LOCKED, CHI_TROUBLE_BUSY, "another program has locked the file"},
    {SQLITE_PROTOCOL, CHI_TROUBLE_BUSY, "another program has locked the file"},
    {SQLITE_FULL, CHI_TROUBLE_FULL, "the disk is full"},
    {SQLITE_NOMEM, CHI_TROUBLE_MEMORY, "there is no memory for it"},
    {SQLITE_IOERR_NOMEM, CHI_TROUBLE_MEMORY, "there is no memory for it"},
    {SQLITE_IOERR_FSYNC, CHI_TROUBLE_SYNC, "a sync to the disk failed"},
    {SQLITE_IOERR_DIR_FSYNC, CHI_TROUBLE_SYNC, "a sync to the disk failed"},
    /* The WAL may have all of a commit by then. */
    {SQLITE_IOERR_SHMSIZE, CHI_TROUBLE_OTHER,
     "the index of its WAL cannot grow; is the disk full?"},
    {SQLITE_IOERR_READ, CHI_TROUBLE_OTHER, "the disk cannot be read (input/output error)"},
    {SQLITE_IOERR_SHORT_READ, CHI_TROUBLE_OTHER, "the file is shorter than it was"},
    {SQLITE_IOERR_WRITE, CHI_TROUBLE_OTHER, "the disk cannot be written (input/output error)"},
    {SQLITE_IOERR_TRUNCATE, CHI_TROUBLE_OTHER, "the disk cannot be written (input/output error)"},
    {SQLITE_IOERR_LOCK, CHI_TROUBLE_OTHER, "the file cannot be locked"},
    {SQLITE_IOERR_RDLOCK, CHI_TROUBLE_OTHER, "the file cannot be locked"},
    {SQLITE_IOERR_SHMLOCK, CHI_TROUBLE_OTHER, "the file cannot be locked"},
    {SQLITE_IOERR_CORRUPTFS, CHI_TROUBLE_OTHER, "the file system is damaged"},
    {SQLITE_IOERR, CHI_TROUBLE_OTHER, "the disk failed (input/output error)"},
    {SQLITE_READONLY_DBMOVED, CHI_TROUBLE_OTHER, "the file was moved or removed"},
    {SQLITE_READONLY_ROLLBACK, CHI_TROUBLE_OTHER, "another program left it in mid-write"},
    {SQLITE_READONLY, CHI_TROUBLE_OTHER, "the file is read-only"},
    {SQLITE_PERM, CHI_TROUBLE_OTHER, "the system does not permit it"},
    {SQLITE_AUTH, CHI_TROUBLE_OTHER, "the system does not permit it"},
    {SQLITE_CANTOPEN, CHI_TROUBLE_OTHER, "the file cannot be opened"},
    {SQLITE_CORRUPT, CHI_TROUBLE_OTHER, "the file is damaged"},
    {SQLITE_NOTADB, CHI_TROUBLE_OTHER, "the file is no SQLite database"},
    {SQLITE_TOOBIG, CHI_TROUBLE_OTHER, "it is too large for the file"},
};

enum chi_file_trouble chi_file_trouble(int code, const char **why)
{
    for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++) {
        if (meanings[i].code == code || meanings[i].code == (code & 0xff)) {
            *why = meanings[i].why;
            return meanings[i].trouble;
        }
    }
    *why = "SQLite did not take it";
    return CHI_TROUBLE_OTHER;
}

__attribute__((format(printf, 4, 0))) static int
tell(struct chi_problem_text problem, const char *path, int error, const char *format, va_list rest)
{
    int head = snprintf(problem.at, problem.size, "log sqlite:%s ", path);
    if (head > 0 && (size_t)head < problem.size)
        vsnprintf(problem.at + head, problem.size - (size_t)head, format, rest);
    return error;
}

int chi_file_tell(struct chi_problem_text problem, const char *path, int error, const char *format,
                  ...)
{
    va_list rest;
    va_start(rest, format);
    tell(problem, path, error, format, rest);
    va_end(rest);
    return error;
}

static const char *advice(int system_error)
{
    switch (system_error) {
    case EACCES:
    case EPERM:
        return "; the hub's user has to be allowed to read and write there";
    case EROFS:
        return "; it has to be on a file system that can be written to";
    case ENOSPC:
    case EDQUOT:
        return "; free some space";
    default:
        return "; name another file";
    }
}

int chi_file_tell_system(struct chi_problem_text problem, const char *path, const char *what,
                         int system_error)
{
    int error = system_error == ENOMEM ? CHATHUB_ENOMEM : CHATHUB_EIO;
    return chi_file_tell(problem, path, error, "cannot be used: %s%s%s%s", what ? what : "",
                         what ? ": " : "", strerror(system_error), advice(system_error));
}

static int error_of(int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return CHATHUB_EINUSE;
    case SQLITE_NOMEM:
        return CHATHUB_ENOMEM;
    default:
        return code == SQLITE_IOERR_NOMEM ? CHATHUB_ENOMEM : CHATHUB_EIO;
    }
}

static const char *remedy(int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        return "; end that program, or name another file";
    case SQLITE_FULL:
        return "; free some space";
    case SQLITE_READONLY:
        return code == SQLITE_READONLY_ROLLBACK
                   ? "; open it once with that program or with sqlite3"
                   : "; the hub's user has to be allowed to write it and its folder";
    case SQLITE_CORRUPT:
        return "; restore it from a backup, or name another file";
    default:
        return "";
    }
}

/* Of a failed call to the system; 0: none. */
static int system_error_of(sqlite3 *db, int code)
{
    int family = code & 0xff;
    return db && (family == SQLITE_CANTOPEN || family == SQLITE_IOERR) ? sqlite3_system_errno(db)
                                                                       : 0;
}

int chi_file_tell_sqlite(struct chi_problem_text problem, const char *path, sqlite3 *db, int code)
{
    const char *why, *detail = NULL, *what_to_do = remedy(code);
    enum chi_file_trouble trouble = chi_file_trouble(code, &why);
    int system_error = trouble == CHI_TROUBLE_OTHER ? system_error_of(db, code) : 0;
    if (system_error) {
        detail = strerror(system_error);
        what_to_do = advice(system_error);
    } else if (trouble == CHI_TROUBLE_OTHER && (code & 0xff) != SQLITE_READONLY) {
        detail = db ? sqlite3_errmsg(db) : sqlite3_errstr(code);
    }
    return chi_file_tell(problem, path, error_of(code), "cannot be used: %s%s%s%s%s", why,
                         detail ? " (" : "", detail ? detail : "", detail ? ")" : "", what_to_do);
}

int chi_file_tell_damage(struct chi_problem_text problem, const char *path, const char *detail)
{
    if (detail && strncmp(detail, "*** in database main ***\n", 25) == 0)
        detail += 25;
    int len = detail ? (int)strcspn(detail, "\n") : 0;
    return chi_file_tell(
        problem, path, CHATHUB_EIO,
        "is damaged%s%.*s%s; restore it from a backup (and remove %s-wal, which is "
        "not of that), or name another file",
        len ? " (" : "", len, len ? detail : "", len ? ")" : "", path);
}
