/* The names of an SQLite log's file, and connections to it. */
#include "log/sqlite/file_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chathub.h"
#include "util/buf.h"

/* ---------------------------------------------------------------------------------------- names */

int chi_file_look(const char *path, struct chi_problem_text problem)
{
    struct stat is;
    size_t len = strlen(path);
    if (!len || path[len - 1] == '/')
        return chi_file_tell(problem, path, CHATHUB_EIO, "names no file; write sqlite:FOLDER/FILE");
    if (lstat(path, &is))
        return errno == ENOENT ? 0 : chi_file_tell_system(problem, path, NULL, errno);
    if (S_ISLNK(is.st_mode))
        return chi_file_tell(problem, path, CHATHUB_EIO,
                             "is a symbolic link; name the file that it leads to");
    if (S_ISDIR(is.st_mode))
        return chi_file_tell(problem, path, CHATHUB_EIO, "is a directory; name a file in it");
    if (!S_ISREG(is.st_mode))
        return chi_file_tell(problem, path, CHATHUB_EIO, "is no regular file; name another one");
    return 1;
}

/* The folder of `path`: owned by the caller; NULL: no memory. */
static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return strdup(".");
    return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

char *chi_file_beside(const char *path, const char *suffix)
{
    size_t size = strlen(path) + strlen(suffix) + 1;
    char *name = malloc(size);
    if (name)
        snprintf(name, size, "%s%s", path, suffix);
    return name;
}

int chi_file_resolve(const char *path, char **out, struct chi_problem_text problem)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char *folder = folder_of(path);
    *out = NULL;
    if (!folder)
        return chi_file_tell_system(problem, path, NULL, ENOMEM);
    char *real = realpath(folder, NULL);
    if (!real) {
        int error = chi_file_tell_system(problem, path, folder, errno);
        free(folder);
        return error;
    }
    free(folder);
    size_t size = strlen(real) + strlen(name) + 2;
    *out = malloc(size);
    if (*out)
        snprintf(*out, size, "%s/%s", strcmp(real, "/") == 0 ? "" : real, name);
    free(real);
    return *out ? 0 : chi_file_tell_system(problem, path, NULL, ENOMEM);
}

/* What cannot be opened to be read, or knows no sync, is left to the system, as SQLite does. */
int chi_file_sync_folder(const char *path)
{
    char *folder = folder_of(path);
    if (!folder) {
        errno = ENOMEM;
        return -1;
    }
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(folder);
    if (fd < 0)
        return errno == EACCES ? 0 : -1;
    int failed = fsync(fd) && errno != EINVAL && errno != ENOTSUP ? errno : 0;
    close(fd);
    errno = failed;
    return failed ? -1 : 0;
}

/* ---------------------------------------------------------------------------------- connections */

/* Size of what stands beside the file; -1: it is not there. */
static int64_t size_beside(const char *real, const char *suffix)
{
    struct stat is;
    char *name = chi_file_beside(real, suffix);
    int64_t size = name && stat(name, &is) == 0 ? (int64_t)is.st_size : -1;
    free(name);
    return size;
}

enum chi_file_way chi_file_quiet_way(const char *real)
{
    int64_t wal = size_beside(real, "-wal");
    if ((wal >= 0 && size_beside(real, "-shm") >= 0) || size_beside(real, "-journal") > 0)
        return CHI_WAY_READ;
    return wal > 0 ? CHI_WAY_INDEX : CHI_WAY_ALONE;
}

/* What a file that somebody tampered with may not make SQLite do, and that a checkpoint is never
 * made behind its caller's back. */
static const int switches[][2] = {
    {SQLITE_DBCONFIG_DEFENSIVE, 1},
    {SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1},
    {SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0},
    {SQLITE_DBCONFIG_ENABLE_TRIGGER, 0},
    {SQLITE_DBCONFIG_ENABLE_VIEW, 0},
    {SQLITE_DBCONFIG_ENABLE_FKEY, 0},
    {SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0},
    {SQLITE_DBCONFIG_DQS_DDL, 0},
    {SQLITE_DBCONFIG_DQS_DML, 0},
};

/* LENGTH: a row, hence the largest entry and what it has around its texts. */
static const int limits[][2] = {
    {SQLITE_LIMIT_LENGTH, 128 << 20},
    {SQLITE_LIMIT_SQL_LENGTH, 64 << 10},
    {SQLITE_LIMIT_COLUMN, 64},
    {SQLITE_LIMIT_EXPR_DEPTH, 64},
    {SQLITE_LIMIT_COMPOUND_SELECT, 8},
    {SQLITE_LIMIT_VDBE_OP, 100000},
    {SQLITE_LIMIT_FUNCTION_ARG, 16},
    {SQLITE_LIMIT_ATTACHED, 0},
    {SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 256},
    {SQLITE_LIMIT_VARIABLE_NUMBER, 1000},
    {SQLITE_LIMIT_TRIGGER_DEPTH, 0},
    {SQLITE_LIMIT_WORKER_THREADS, 0},
};

/* A file name as a URI, whatever characters it has. */
static void add_uri(struct chi_buf *buf, const char *real, enum chi_file_way way)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/-._~";
    chi_buf_add_text(buf, "file://");
    for (; *real; real++) {
        char hex[4];
        snprintf(hex, sizeof(hex), "%%%02x", (unsigned)(unsigned char)*real);
        if (strchr(plain, *real))
            chi_buf_add_char(buf, *real);
        else
            chi_buf_add_text(buf, hex);
    }
    chi_buf_add_text(buf, way == CHI_WAY_ALONE ? "?immutable=1" : "");
    chi_buf_add_char(buf, '\0');
}

static int restrict_to(sqlite3 *db, int busy_ms)
{
    int code = sqlite3_extended_result_codes(db, 1);
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++)
        sqlite3_limit(db, limits[i][0], limits[i][1]);
    for (size_t i = 0; code == SQLITE_OK && i < sizeof(switches) / sizeof(switches[0]); i++)
        code = sqlite3_db_config(db, switches[i][0], switches[i][1], NULL);
    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(db, busy_ms);
    return code;
}

/* The index in memory comes from SQLite's exclusive mode, for which "unix-none" takes no locks: it
 * could not, to read alone. */
int chi_file_connect(const char *real, enum chi_file_way way, int busy_ms, sqlite3 **out)
{
    struct chi_buf uri = {0};
    int flags = SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_NOFOLLOW |
                SQLITE_OPEN_PRIVATECACHE |
                (way == CHI_WAY_WRITE ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY);
    *out = NULL;
    add_uri(&uri, real, way);
    int code = uri.failed
                   ? SQLITE_NOMEM
                   : sqlite3_open_v2(uri.at, out, flags, way == CHI_WAY_INDEX ? "unix-none" : NULL);
    chi_buf_fini(&uri);
    if (code == SQLITE_OK)
        code = restrict_to(*out, busy_ms);
    if (code == SQLITE_OK && way == CHI_WAY_INDEX)
        code = chi_file_run(*out, "PRAGMA locking_mode=EXCLUSIVE");
    return code;
}

int chi_file_settle(sqlite3 *db, enum chi_file_way way)
{
    int code = chi_file_run(db, "PRAGMA mmap_size=0;"
                                "PRAGMA temp_store=MEMORY;"
                                "PRAGMA cell_size_check=ON;"
                                "PRAGMA cache_size=-8192");
    if (code == SQLITE_OK && way != CHI_WAY_WRITE)
        code = chi_file_run(db, "PRAGMA query_only=ON");
    return code;
}

int chi_file_run(sqlite3 *db, const char *sql)
{
    return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

int chi_file_number(sqlite3 *db, const char *sql, int64_t *out)
{
    sqlite3_stmt *statement = NULL;
    *out = 0;
    int code = sqlite3_prepare_v2(db, sql, -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        *out = sqlite3_column_int64(statement, 0);
        code = sqlite3_column_type(statement, 0) == SQLITE_INTEGER ? SQLITE_OK : SQLITE_CORRUPT;
    } else if (code == SQLITE_DONE) {
        code = SQLITE_CORRUPT;
    }
    sqlite3_finalize(statement);
    return code;
}

int chi_file_is_log(struct chi_problem_text problem, const char *path, int64_t application,
                    int64_t version)
{
    if (application != CHI_FILE_APPLICATION)
        return chi_file_tell(problem, path, CHATHUB_EIO,
                             "is the SQLite database of another program; name another file");
    if (version < 0 || version > CHI_FILE_VERSION)
        return chi_file_tell(
            problem, path, CHATHUB_EIO,
            "is of version %lld, and this chathub knows versions up to %d; use the "
            "newer chathub that wrote it, or name another file",
            (long long)version, CHI_FILE_VERSION);
    return 0;
}

int chi_file_recognise(sqlite3 *db, const char *path, int64_t *version,
                       struct chi_problem_text problem)
{
    int64_t application = 0;
    *version = 0;
    int code = chi_file_number(db, "PRAGMA application_id", &application);
    if (code == SQLITE_OK)
        code = chi_file_number(db, "PRAGMA user_version", version);
    if (code != SQLITE_OK)
        return chi_file_tell_sqlite(problem, path, db, code);
    return chi_file_is_log(problem, path, application, *version);
}
