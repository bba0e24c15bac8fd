/* The file of an SQLite log: its lock, its making, its connections, its openings. Texts for people
 * are in file_text.c, names and connections in file_connect.c, the check in file_check.c.
 *
 * A file is made under PATH-new, written through and renamed, so that a PATH that is there is
 * whole. What a crash leaves of a PATH-new is thrown away by the next one that makes the file. */
#include "log/sqlite/file_inside.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "chathub.h"
#include "log/sqlite/schema.h"

/* ------------------------------------------------------------------------------------- the lock */

static bool is_folder(const char *path)
{
    struct stat is;
    return stat(path, &is) == 0 && S_ISDIR(is.st_mode);
}

static int make_folder(const char *path)
{
    if (mkdir(path, 0700) == 0)
        return chi_file_sync_folder(path);
    int reason = errno;
    if (reason == EEXIST || is_folder(path))
        return 0;
    errno = reason;
    return -1;
}

static int make_folders(const char *path, struct chi_problem_text problem)
{
    char *copy = strdup(path);
    int error = copy ? 0 : chi_file_tell_system(problem, path, NULL, ENOMEM);
    char *slash = copy && *copy ? strchr(copy + 1, '/') : NULL;
    for (; !error && slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (make_folder(copy))
            error = chi_file_tell_system(problem, path, copy, errno);
        *slash = '/';
    }
    free(copy);
    return error;
}

/* Who has the lock, as it wrote there; 0: not known. */
static long long holder_of(int fd)
{
    char text[24] = {0};
    ssize_t len = pread(fd, text, sizeof(text) - 1, 0);
    long long pid = len > 0 ? strtoll(text, NULL, 10) : 0;
    return pid > 0 ? pid : 0;
}

static int tell_holder(int fd, const char *path, struct chi_problem_text problem)
{
    long long pid = holder_of(fd);
    if (pid == (long long)getpid())
        return chi_file_tell(problem, path, CHATHUB_EINUSE,
                             "is in use by another hub of this process; stop it, or name another "
                             "file");
    if (pid)
        return chi_file_tell(problem, path, CHATHUB_EINUSE,
                             "is in use by another hub (process %lld); stop it, or name another "
                             "file",
                             pid);
    return chi_file_tell(problem, path, CHATHUB_EINUSE,
                         "is in use by another hub; stop it, or name another file");
}

/* For the text that another one is refused with: on a full disk it lacks the number. */
static void leave_name(int fd)
{
    char text[24];
    int len = snprintf(text, sizeof(text), "%lld\n", (long long)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)len, 0) != len)
        errno = 0;
}

/* As SQLite does for its files: what root does once is not in its owner's way later. */
static void leave_to_owner(int fd, const char *path)
{
    struct stat is;
    if (geteuid() == 0 && lstat(path, &is) == 0 && fchown(fd, is.st_uid, is.st_gid))
        errno = 0;
}

static int take_lock(const char *name, const char *path, int *lock, struct chi_problem_text problem)
{
    int fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return chi_file_tell_system(problem, path, name, errno);
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        int error = errno == EWOULDBLOCK ? tell_holder(fd, path, problem)
                                         : chi_file_tell_system(problem, path, name, errno);
        close(fd);
        return error;
    }
    leave_name(fd);
    leave_to_owner(fd, path);
    *lock = fd;
    return 0;
}

int chi_file_lock(const char *path, int *lock, struct chi_problem_text problem)
{
    *lock = -1;
    int error = make_folders(path, problem);
    if (!error && (error = chi_file_look(path, problem)) >= 0) {
        char *name = chi_file_beside(path, "-lock");
        error = name ? take_lock(name, path, lock, problem)
                     : chi_file_tell_system(problem, path, NULL, ENOMEM);
        free(name);
    }
    return error;
}

/* ----------------------------------------------------------------------------------- its schema */

static int run_step(sqlite3 *db, const struct chi_schema_step *step)
{
    int code = SQLITE_OK;
    for (int i = 0; i < CHI_SCHEMA_TEXTS && step->texts[i] && code == SQLITE_OK; i++)
        code = chi_file_run(db, step->texts[i]);
    return code;
}

int chi_file_bring(sqlite3 *db, const struct chi_schema_step *steps, int count)
{
    int64_t version;
    char text[64];
    int code = chi_file_number(db, "PRAGMA user_version", &version);
    for (; code == SQLITE_OK && version < count; version++)
        code = run_step(db, &steps[version]);
    snprintf(text, sizeof(text), "PRAGMA user_version=%d", count);
    return code == SQLITE_OK ? chi_file_run(db, text) : code;
}

static int make_secret(sqlite3 *db)
{
    uint8_t secret[CHI_FILE_SECRET];
    sqlite3_stmt *statement = NULL;
    if (getrandom(secret, sizeof(secret), 0) != (ssize_t)sizeof(secret))
        return SQLITE_IOERR;
    int code = sqlite3_prepare_v2(
        db, "INSERT INTO meta(key,value) VALUES('secret',?1) ON CONFLICT DO NOTHING", -1,
        &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_blob(statement, 1, secret, (int)sizeof(secret), SQLITE_STATIC);
    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_DONE)
        code = SQLITE_OK;
    sqlite3_finalize(statement);
    return code;
}

/* All that is missing, in one transaction. Where it fails, that ends with the connection, which
 * knows the reason until then. */
static int bring_up(sqlite3 *db)
{
    int code = chi_file_run(db, "BEGIN IMMEDIATE");
    if (code == SQLITE_OK)
        code = chi_file_bring(db, chi_schema_steps, CHI_FILE_VERSION);
    if (code == SQLITE_OK)
        code = make_secret(db);
    if (code == SQLITE_OK)
        code = chi_file_run(db, "COMMIT");
    return code;
}

/* ------------------------------------------------------------------------------ making the file */

static const char *const companions[] = {"", "-wal", "-shm", "-journal"};

/* A file that is not in use, with what SQLite keeps beside it, from `first` on. */
static void remove_from(const char *name, size_t first)
{
    for (size_t i = first; i < sizeof(companions) / sizeof(companions[0]); i++) {
        char *one = chi_file_beside(name, companions[i]);
        if (one)
            unlink(one);
        free(one);
    }
}

/* A WAL without its file belongs to one that was moved or removed: it would be taken for ours. */
static int refuse_orphan(const char *real, const char *path, struct chi_problem_text problem)
{
    struct stat is;
    char *wal = chi_file_beside(real, "-wal");
    int error = wal ? 0 : chi_file_tell_system(problem, path, NULL, ENOMEM);
    if (wal && lstat(wal, &is) == 0 && is.st_size > 0)
        error = chi_file_tell(problem, path, CHATHUB_EIO,
                              "is missing, but a part of it is there: %s; restore the file or move "
                              "that away too",
                              wal);
    free(wal);
    return error;
}

static int fill(sqlite3 *db)
{
    char text[64];
    snprintf(text, sizeof(text), "PRAGMA application_id=%d", CHI_FILE_APPLICATION);
    int code = chi_file_run(db, "PRAGMA page_size=4096; PRAGMA journal_mode=WAL;"
                                "PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0");
    if (code == SQLITE_OK)
        code = chi_file_run(db, text);
    if (code == SQLITE_OK)
        code = bring_up(db);
    if (code == SQLITE_OK)
        code = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    return code;
}

/* Under its own name: synced, without a WAL. */
static int make_as(const char *name, const char *path, struct chi_problem_text problem)
{
    sqlite3 *db;
    int fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return chi_file_tell_system(problem, path, name, errno);
    close(fd); /* nobody has a lock on it yet */
    int code = chi_file_connect(name, CHI_WAY_WRITE, 0, &db);
    if (code == SQLITE_OK)
        code = chi_file_settle(db, CHI_WAY_WRITE);
    if (code == SQLITE_OK)
        code = fill(db);
    int error = code == SQLITE_OK ? 0 : chi_file_tell_sqlite(problem, path, db, code);
    chi_file_close(db);
    return error;
}

static int make(const char *real, const char *path, struct chi_problem_text problem)
{
    int error = refuse_orphan(real, path, problem);
    if (error)
        return error;
    char *name = chi_file_beside(real, "-new");
    if (!name)
        return chi_file_tell_system(problem, path, NULL, ENOMEM);
    remove_from(name, 0);
    error = make_as(name, path, problem);
    remove_from(name, error ? 0 : 1);
    if (!error && (rename(name, real) || chi_file_sync_folder(real))) {
        error = chi_file_tell_system(problem, path, NULL, errno);
        unlink(name);
    }
    free(name);
    return error;
}

/* -------------------------------------------------------------------------------------- opening */

static int enter_wal(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "PRAGMA journal_mode=WAL", -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        const char *mode = (const char *)sqlite3_column_text(statement, 0);
        code = mode && strcmp(mode, "wal") == 0 ? SQLITE_OK : SQLITE_CANTOPEN;
    }
    sqlite3_finalize(statement);
    return code;
}

/* SQLite truncates a WAL that grew beyond journal_size_limit once it starts it anew. */
static int prepare_to_write(sqlite3 *db, enum chi_file_mode mode, int64_t version)
{
    int code = sqlite3_db_readonly(db, "main") ? SQLITE_READONLY : enter_wal(db);
    if (code == SQLITE_OK)
        code = chi_file_run(db, "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=33554432");
    if (code == SQLITE_OK)
        code = chi_file_run(db, mode == CHI_FILE_WRITE_FULL ? "PRAGMA synchronous=FULL"
                                                            : "PRAGMA synchronous=NORMAL");
    return code == SQLITE_OK && version < CHI_FILE_VERSION ? bring_up(db) : code;
}

/* Connects, and reads for the first time. */
static int connect_as(const char *real, enum chi_file_way way, int busy_ms, sqlite3 **out)
{
    int64_t version;
    int code = chi_file_connect(real, way, busy_ms, out);
    return code == SQLITE_OK ? chi_file_number(*out, "PRAGMA user_version", &version) : code;
}

/* Where nothing can be written, SQLite cannot make the index of the WAL as usual. */
static int connect_somehow(const char *real, enum chi_file_way *way, int busy_ms, sqlite3 **out)
{
    int code = connect_as(real, *way, busy_ms, out);
    bool not_made = (code & 0xff) == SQLITE_CANTOPEN || (code & 0xff) == SQLITE_READONLY;
    if (!not_made || *way == CHI_WAY_WRITE)
        return code;
    *way = chi_file_quiet_way(real);
    if (*way == CHI_WAY_READ)
        return code;
    chi_file_close(*out);
    return connect_as(real, *way, busy_ms, out);
}

static int open_there(const char *real, const char *path, enum chi_file_mode mode, int busy_ms,
                      sqlite3 **out, struct chi_problem_text problem)
{
    int64_t version = 0;
    enum chi_file_way way = mode == CHI_FILE_READ ? CHI_WAY_READ : CHI_WAY_WRITE;
    int code = connect_somehow(real, &way, busy_ms, out);
    int error = code == SQLITE_OK ? chi_file_recognise(*out, path, &version, problem) : 0;
    if (!error && code == SQLITE_OK)
        code = chi_file_settle(*out, way);
    if (!error && code == SQLITE_OK && mode != CHI_FILE_READ)
        code = prepare_to_write(*out, mode, version);
    if (code != SQLITE_OK)
        error = chi_file_tell_sqlite(problem, path, *out, code);
    if (error) {
        chi_file_close(*out);
        *out = NULL;
    }
    return error;
}

int chi_file_open(const char *path, enum chi_file_mode mode, int busy_ms, sqlite3 **out,
                  struct chi_problem_text problem)
{
    char *real = NULL;
    *out = NULL;
    if (!sqlite3_threadsafe())
        return chi_file_tell(problem, path, CHATHUB_EIO,
                             "cannot be used: this SQLite was built without threads; use --log "
                             "memory");
    int there = chi_file_look(path, problem);
    if (there < 0)
        return there;
    int error = chi_file_resolve(path, &real, problem);
    if (!error && !there)
        error = mode == CHI_FILE_READ
                    ? chi_file_tell(problem, path, CHATHUB_EIO, "is not there; name another file")
                    : make(real, path, problem);
    if (!error)
        error = open_there(real, path, mode, busy_ms, out, problem);
    free(real);
    return error;
}

void chi_file_close(sqlite3 *db)
{
    int code = sqlite3_close(db);
    assert(code == SQLITE_OK); /* else a statement was left */
    (void)code;
}

/* ----------------------------------------------------------------------------------- its epochs */

static int newest_ever(sqlite3 *db, uint64_t *last)
{
    int64_t number;
    int code = chi_file_number(db,
                               "SELECT max(ifnull((SELECT max(top) FROM rooms),0),"
                               "ifnull((SELECT max(position) FROM entries),0),"
                               "ifnull((SELECT max(first) FROM epochs),1)-1)",
                               &number);
    *last = (uint64_t)number;
    if (code == SQLITE_OK && (number < 0 || *last >= CHI_POSITION_MAX))
        code = SQLITE_CORRUPT;
    return code;
}

/* The newest stays, and as many as are remembered. */
static int add_epoch(sqlite3 *db, const char name[CHI_EPOCH_LEN], uint64_t first)
{
    sqlite3_stmt *statement = NULL;
    char text[96];
    snprintf(text, sizeof(text),
             "DELETE FROM epochs WHERE number<=(SELECT max(number) FROM epochs)-%u",
             CHI_FILE_EPOCHS);
    int code = sqlite3_prepare_v2(db, "INSERT INTO epochs(name,first) VALUES(?1,?2)", -1,
                                  &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_text(statement, 1, name, CHI_EPOCH_LEN, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(statement, 2, (int64_t)first);
    if (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_DONE)
        code = SQLITE_OK;
    sqlite3_finalize(statement);
    return code == SQLITE_OK ? chi_file_run(db, text) : code;
}

/* Names have their length, and positions never go back. */
static int read_epoch(sqlite3_stmt *row, uint64_t least, struct chi_epoch *out)
{
    const void *name = sqlite3_column_text(row, 0);
    int64_t first = sqlite3_column_int64(row, 1);
    if (!name)
        return sqlite3_column_type(row, 0) == SQLITE_TEXT ? SQLITE_NOMEM : SQLITE_CORRUPT;
    if (sqlite3_column_bytes(row, 0) != CHI_EPOCH_LEN || first < 1 || (uint64_t)first < least)
        return SQLITE_CORRUPT;
    memcpy(out->name, name, CHI_EPOCH_LEN);
    out->first = (uint64_t)first;
    return SQLITE_OK;
}

static int read_epochs(sqlite3 *db, struct chi_epoch *epochs, uint32_t *count)
{
    sqlite3_stmt *statement = NULL;
    int code = sqlite3_prepare_v2(db, "SELECT name,first FROM epochs ORDER BY number", -1,
                                  &statement, NULL);
    *count = 0;
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW) {
        uint64_t least = *count ? epochs[*count - 1].first : 1;
        code = *count < CHI_FILE_EPOCHS ? read_epoch(statement, least, &epochs[*count])
                                        : SQLITE_CORRUPT;
        ++*count;
    }
    sqlite3_finalize(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int chi_file_epoch(sqlite3 *db, const char name[CHI_EPOCH_LEN], struct chi_epoch **epochs,
                   uint32_t *count, uint64_t *last)
{
    *count = 0;
    *last = 0;
    *epochs = calloc(CHI_FILE_EPOCHS, sizeof(**epochs));
    int code = *epochs ? chi_file_run(db, "BEGIN IMMEDIATE") : SQLITE_NOMEM;
    if (code == SQLITE_OK)
        code = newest_ever(db, last);
    if (code == SQLITE_OK)
        code = add_epoch(db, name, *last + 1);
    if (code == SQLITE_OK)
        code = read_epochs(db, *epochs, count);
    if (code == SQLITE_OK)
        code = chi_file_run(db, "COMMIT");
    if (code == SQLITE_OK)
        return code;
    if (!sqlite3_get_autocommit(db))
        chi_file_run(db, "ROLLBACK");
    free(*epochs);
    *epochs = NULL;
    *count = 0;
    return code;
}

int chi_file_secret(sqlite3 *db, uint8_t secret[CHI_FILE_SECRET])
{
    sqlite3_stmt *statement = NULL;
    int code =
        sqlite3_prepare_v2(db, "SELECT value FROM meta WHERE key='secret'", -1, &statement, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(statement);
    if (code == SQLITE_ROW) {
        const void *value = sqlite3_column_blob(statement, 0);
        code = value && sqlite3_column_bytes(statement, 0) == (int)CHI_FILE_SECRET ? SQLITE_OK
                                                                                   : SQLITE_CORRUPT;
        if (code == SQLITE_OK)
            memcpy(secret, value, CHI_FILE_SECRET);
    } else if (code == SQLITE_DONE) {
        code = SQLITE_CORRUPT;
    }
    sqlite3_finalize(statement);
    return code;
}
