/* A folder of a test's own with an SQLite log in it, and a system that fails when it is told to. */
#ifndef FILE_WORLD_H
#define FILE_WORLD_H

#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "chathub.h"
#include "log/sqlite/file.h"
#include "log/sqlite/file_inside.h"

static char folder[64]; /* of this test alone */
static char path[256];  /* of the log in it */
static char said[1024]; /* the last problem */

static inline struct chi_problem_text problem(void)
{
    snprintf(said, sizeof said, "nothing");
    return (struct chi_problem_text){said, sizeof said};
}

/* ---------------------------------------------------------------- what the system is made to do */

static bool syncs_fail, disk_is_full;
static int synced_with_file;  /* folders synced while the log was there */
static void (*on_sync)(void); /* called before each sync */
static void (*on_nap)(void);  /* called when somebody waits for a while */

/* Nothing is synced: the machine is not going to stop. */
static inline int sync_or_fail(int fd)
{
    struct stat is;
    if (on_sync)
        on_sync();
    if (syncs_fail) {
        errno = EIO;
        return -1;
    }
    if (fstat(fd, &is) == 0 && S_ISDIR(is.st_mode) && access(path, F_OK) == 0)
        synced_with_file++;
    return 0;
}

static inline int nap(const struct timespec *time)
{
    if (on_nap)
        on_nap();
    return (int)syscall(SYS_clock_nanosleep, CLOCK_MONOTONIC, 0, time, NULL);
}

/* In place of libc's, for the library and SQLite as well. */
int fsync(int fd)
{
    return sync_or_fail(fd);
}

int fdatasync(int fd)
{
    return sync_or_fail(fd);
}

int usleep(useconds_t us)
{
    return nap(&(struct timespec){us / 1000000, us % 1000000 * 1000});
}

int nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)left;
    return nap(time);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t at)
{
    if (disk_is_full) {
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_pwrite64, fd, bytes, len, at);
}

static sqlite3_mem_methods memory;
static long until = -1; /* allocations of SQLite's that still succeed; -1: all */

static inline void *scarce_malloc(int size)
{
    return until >= 0 && until-- == 0 ? NULL : memory.xMalloc(size);
}

static inline void *scarce_realloc(void *at, int size)
{
    return until >= 0 && until-- == 0 ? NULL : memory.xRealloc(at, size);
}

/* Before SQLite is used. */
static inline void make_memory_scarce(void)
{
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &memory);
    sqlite3_mem_methods scarce = memory;
    scarce.xMalloc = scarce_malloc;
    scarce.xRealloc = scarce_realloc;
    if (sqlite3_config(SQLITE_CONFIG_MALLOC, &scarce) != SQLITE_OK)
        abort();
}

/* ---------------------------------------------------------------------------------------- files */

static inline int remove_one(const char *name, const struct stat *is, int kind, struct FTW *where)
{
    (void)is, (void)kind, (void)where;
    return remove(name);
}

static inline void setup(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.32s/chi-file-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/log.db", folder);
}

static inline void teardown(void)
{
    ck_assert_int_eq(nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

static inline const char *beside(const char *suffix)
{
    static char names[4][288];
    static unsigned turn;
    char *name = names[turn++ % 4];
    snprintf(name, sizeof names[0], "%s%s", path, suffix);
    return name;
}

static inline int mode_of(const char *name)
{
    struct stat is;
    ck_assert_msg(lstat(name, &is) == 0, "%s is missing", name);
    return (int)(is.st_mode & 07777);
}

static inline int64_t size_of(const char *name)
{
    struct stat is;
    return lstat(name, &is) == 0 ? (int64_t)is.st_size : -1;
}

static inline void write_at(const char *name, int64_t at, const void *bytes, size_t len)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq((int)pwrite(fd, bytes, len, (off_t)at), (int)len);
    close(fd);
}

static inline void write_junk(const char *name, int64_t at, size_t len)
{
    char junk[8192];
    memset(junk, 0xa5, sizeof junk);
    ck_assert_uint_le(len, sizeof junk);
    write_at(name, at, junk, len);
}

static inline void copy(const char *from, const char *to)
{
    static char bytes[1 << 16];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    ck_assert(in >= 0 && out >= 0);
    for (ssize_t n; (n = read(in, bytes, sizeof bytes)) > 0;)
        ck_assert_int_eq((int)write(out, bytes, (size_t)n), (int)n);
    close(in);
    close(out);
}

/* Names, sizes and bytes of all that is in the folder (of an index of a WAL, which is no content,
 * the name alone). */
static inline uint64_t digest_of_file(const char *name)
{
    static uint8_t bytes[1 << 16];
    uint64_t hash = 14695981039346656037u;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 1099511628211u;
    size_t len = strlen(name);
    int fd =
        len > 4 && strcmp(name + len - 4, "-shm") == 0 ? -1 : open(name, O_RDONLY | O_NONBLOCK);
    for (ssize_t n; fd >= 0 && (n = read(fd, bytes, sizeof bytes)) > 0;)
        for (ssize_t i = 0; i < n; i++)
            hash = (hash ^ bytes[i]) * 1099511628211u;
    if (fd >= 0)
        close(fd);
    return hash;
}

static inline uint64_t digest(void)
{
    uint64_t sum = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *one; (one = readdir(dir)) != NULL;) {
        char name[512];
        snprintf(name, sizeof name, "%s/%s", folder, one->d_name);
        sum += digest_of_file(name);
    }
    closedir(dir);
    return sum;
}

/* ----------------------------------------------------------------------------------------- logs */

static inline void run(sqlite3 *db, const char *sql)
{
    ck_assert_msg(chi_file_run(db, sql) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
}

static inline int64_t number(sqlite3 *db, const char *sql)
{
    int64_t value;
    ck_assert_msg(chi_file_number(db, sql, &value) == SQLITE_OK, "%s: %s", sql, sqlite3_errmsg(db));
    return value;
}

static inline sqlite3 *open_log(enum chi_file_mode mode)
{
    sqlite3 *db;
    ck_assert_msg(chi_file_open(path, mode, 0, &db, problem()) == 0, "%s", said);
    return db;
}

static inline void post(sqlite3 *db, int count)
{
    char sql[400];
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%d) "
             "INSERT INTO entries(room,prev,bytes,time,type,sender,content) "
             "SELECT 1,0,300,1,1,'alice',replace(hex(zeroblob(150)),'0','x') FROM n",
             count);
    run(db, sql);
    run(db, "INSERT INTO rooms VALUES(1,'lobby',(SELECT max(position) FROM entries),0,0,0) "
            "ON CONFLICT(id) DO UPDATE SET top=excluded.top");
}

/* A connection that has read nothing knows of no WAL. */
static inline void checkpoint(sqlite3 *db)
{
    number(db, "SELECT count(*) FROM sqlite_schema");
    ck_assert_int_eq(sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL),
                     SQLITE_OK);
}

/* As a hub that stopped leaves it. */
static inline void leave_log(int posts)
{
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    post(db, posts);
    checkpoint(db);
    chi_file_close(db);
}

/* As one that was killed does: the last posts are in the WAL. */
static inline void leave_log_in_wal(int posts, int more)
{
    leave_log(posts);
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    post(db, more);
    chi_file_close(db);
    ck_assert_int_gt(size_of(beside("-wal")), 4096);
}

static inline void lose_index(void)
{
    ck_assert_int_eq(unlink(beside("-shm")), 0);
}

static inline void lose_companions(void)
{
    lose_index();
    ck_assert_int_eq(unlink(beside("-wal")), 0);
}

static inline sqlite3 *raw(void)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return db;
}

static inline void assert_sound(void)
{
    uint64_t before = digest();
    ck_assert_msg(chi_file_check(path, problem()) == 0, "%s", said);
    ck_assert(digest() == before);
}

/* The check refuses it with such a text, in which the path is, and nothing has changed. */
static inline void assert_refused(const char *text)
{
    uint64_t before = digest();
    ck_assert_int_eq(chi_file_check(path, problem()), CHATHUB_EIO);
    ck_assert_msg(strstr(said, text) && strstr(said, path), "'%s' lacks '%s'", said, text);
    ck_assert_ptr_null(strchr(said, '\n'));
    ck_assert_msg(digest() == before, "a check changed something (%s)", text);
}

/* An opening to write does so too. */
static inline void assert_not_opened(const char *text)
{
    sqlite3 *db = NULL;
    uint64_t before = digest();
    ck_assert_int_eq(chi_file_open(path, CHI_FILE_WRITE_FULL, 0, &db, problem()), CHATHUB_EIO);
    ck_assert_ptr_null(db);
    ck_assert_msg(strstr(said, text) && strstr(said, path), "'%s' lacks '%s'", said, text);
    ck_assert_msg(digest() == before, "an opening changed something (%s)", text);
}

/* ------------------------------------------------------------------------------ another process */

struct outcome {
    int error;
    int64_t value;
    char text[1024];
};

/* What `act` does in a process of its own, without the rights of root. */
static inline struct outcome as_nobody(void (*act)(struct outcome *out))
{
    struct outcome *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(shared, MAP_FAILED);
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
            _exit(2);
        act(shared);
        _exit(0);
    }
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    struct outcome out = *shared;
    munmap(shared, sizeof *shared);
    return out;
}

static inline void give_away(const char *name, mode_t mode)
{
    if (geteuid() == 0)
        ck_assert_int_eq(lchown(name, 65534, 65534), 0);
    ck_assert_int_eq(chmod(name, mode), 0);
}

static inline void takes_lock(struct outcome *out)
{
    int lock;
    out->error = chi_file_lock(path, &lock, (struct chi_problem_text){out->text, sizeof out->text});
}

static inline void checks(struct outcome *out)
{
    out->error = chi_file_check(path, (struct chi_problem_text){out->text, sizeof out->text});
}

static inline void opens(struct outcome *out, enum chi_file_mode mode)
{
    sqlite3 *db;
    out->error =
        chi_file_open(path, mode, 0, &db, (struct chi_problem_text){out->text, sizeof out->text});
    if (!out->error)
        chi_file_number(db, "SELECT count(*) FROM entries", &out->value);
    chi_file_close(db);
}

static inline void opens_to_write(struct outcome *out)
{
    opens(out, CHI_FILE_WRITE_FULL);
}

static inline void opens_to_read(struct outcome *out)
{
    opens(out, CHI_FILE_READ);
}

/* ---------------------------------------------------------------------------------------- tests */

struct file_tests {
    const char *name;
    void (*fill)(TCase *tcase);
};

/* Up to one without a name. */
static inline int run_file_tests(const char *name, const struct file_tests *tests)
{
    make_memory_scarce();
    Suite *suite = suite_create(name);
    for (; tests->name; tests++) {
        TCase *tcase = tcase_create(tests->name);
        tcase_add_checked_fixture(tcase, setup, teardown);
        tests->fill(tcase);
        suite_add_tcase(suite, tcase);
    }
    return unit_run(suite);
}

#endif
