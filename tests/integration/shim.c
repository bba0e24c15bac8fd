/* Preloaded into chatd by test_log_faults.py and test_log_power.py: file calls that fail, hang, or
 * tell what of a file has really come to the disk.
 *
 * CHATHUB_SHIM names a folder. Its file `rules` says what fails from now on; it is read at every
 * call, so a test may replace it at any time. One rule a line: CALLS WHAT PATTERN, where CALLS is
 * open, read, write, sync or truncate, and PATTERN is how a path ends. WHAT is the number of an
 * error, `short` (half a write is done, then the disk is full), `hang` (until the rule is gone),
 * `evict` (a sync fails, and what was not on the disk is gone), or `note` (nothing fails). When a
 * rule applies, a line CALLS PATH is added to the file `told`.
 *
 * If there is a folder `disk` in it, that is kept as the disk would be after a loss of power: for
 * each file under CHATHUB_SHIM_FILES, a file named by its inode with what was synced of it, and
 * `names` with what each name of the folder meant when that was last synced. A sync that fails
 * leaves what it was to write marked as clean: no later sync writes it, as in Linux. */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 64 /* that are kept at most */

struct range {
    off_t from, to;
};

/* What of a file is not on the disk yet. */
struct kept {
    ino_t inode;          /* 0: a free place */
    struct range *ranges; /* written since the last sync; owned */
    size_t count, space;
    off_t shortest; /* it was cut to so little since the last sync; -1: it was not */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the next */
static struct kept files[FILES];

static void fail(const char *what)
{
    fprintf(stderr, "shim: %s\n", what);
    abort();
}

#define REAL(name, result, ...)                                                                    \
    static result (*real_##name)(__VA_ARGS__);                                                     \
    static void find_##name(void)                                                                  \
    {                                                                                              \
        *(void **)(&real_##name) = dlsym(RTLD_NEXT, #name);                                        \
        if (!real_##name)                                                                          \
            fail("there is no " #name);                                                            \
    }

REAL(open, int, const char *, int, ...)
REAL(pread, ssize_t, int, void *, size_t, off_t)
REAL(pwrite, ssize_t, int, const void *, size_t, off_t)
REAL(write, ssize_t, int, const void *, size_t)
REAL(fsync, int, int)
REAL(fdatasync, int, int)
REAL(ftruncate, int, int, off_t)

__attribute__((constructor)) static void find_all(void)
{
    find_open();
    find_pread();
    find_pwrite();
    find_write();
    find_fsync();
    find_fdatasync();
    find_ftruncate();
}

/* Calls may come before the constructor did. */
static void need(void)
{
    if (!real_ftruncate)
        find_all();
}

/* ---------------------------------------------------------------------------------------- rules */

enum what { NOTHING = 0, SHORT = -1, HANG = -2, EVICT = -3, NOTE = -4 }; /* above 0: an errno */

static bool in_folder(char *out, const char *name)
{
    const char *folder = getenv("CHATHUB_SHIM");
    return folder && snprintf(out, PATH_MAX, "%s/%s", folder, name) < PATH_MAX;
}

static bool path_of(int fd, char *out)
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = 0;
    return n > 0 && out[0] == '/';
}

static bool ends(const char *path, const char *pattern)
{
    size_t len = strlen(path), its = strlen(pattern);
    return len >= its && strcmp(path + len - its, pattern) == 0;
}

static int meaning(const char *what)
{
    if (strcmp(what, "short") == 0)
        return SHORT;
    if (strcmp(what, "hang") == 0)
        return HANG;
    if (strcmp(what, "note") == 0)
        return NOTE;
    return strcmp(what, "evict") == 0 ? EVICT : (int)strtol(what, NULL, 10);
}

static int rule_in(const char *text, const char *calls, const char *path)
{
    char its[16], what[16], pattern[PATH_MAX];
    int n = 0;
    for (; sscanf(text, "%15s %15s %4095s %n", its, what, pattern, &n) == 3; text += n)
        if (strcmp(its, calls) == 0 && ends(path, pattern))
            return meaning(what);
    return NOTHING;
}

static int rule(const char *calls, const char *path)
{
    char file[PATH_MAX], text[4096];
    if (!in_folder(file, "rules"))
        return NOTHING;
    int fd = real_open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NOTHING;
    ssize_t n = real_pread(fd, text, sizeof(text) - 1, 0);
    close(fd);
    text[n > 0 ? n : 0] = 0;
    return rule_in(text, calls, path);
}

static void tell(const char *calls, const char *path)
{
    char file[PATH_MAX], line[PATH_MAX + 32];
    int n = snprintf(line, sizeof(line), "%s %s\n", calls, path);
    int fd = in_folder(file, "told")
                 ? real_open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)
                 : -1;
    if (fd < 0 || real_write(fd, line, (size_t)n) != n)
        fail("cannot tell");
    close(fd);
}

/* What is to happen to this call: NOTHING, SHORT, EVICT or an errno; after HANG it goes on. */
static int verdict(const char *calls, const char *path)
{
    int kept = errno;
    int what = rule(calls, path);
    if (what)
        tell(calls, path);
    while (what == HANG) {
        usleep(1000);
        what = rule(calls, path);
    }
    errno = kept;
    return what == NOTE ? NOTHING : what;
}

static int verdict_fd(const char *calls, int fd)
{
    char path[PATH_MAX];
    int kept = errno;
    bool known = getenv("CHATHUB_SHIM") && path_of(fd, path);
    errno = kept;
    return known ? verdict(calls, path) : NOTHING;
}

/* ----------------------------------------------------------------------------------------- disk */

static bool keeps(const char *path)
{
    char disk[PATH_MAX];
    const char *of = getenv("CHATHUB_SHIM_FILES");
    return of && strncmp(path, of, strlen(of)) == 0 && !ends(path, "-shm") &&
           in_folder(disk, "disk") && access(disk, F_OK) == 0;
}

static int open_kept(ino_t inode)
{
    char file[PATH_MAX], name[64];
    snprintf(name, sizeof(name), "disk/%llu", (unsigned long long)inode);
    int fd = in_folder(file, name) ? real_open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
    if (fd < 0)
        fail("cannot keep a file");
    return fd;
}

/* From one file to another, zeros where the first is shorter. */
static void copy_range(int from, int to, off_t at, off_t end)
{
    char bytes[65536];
    while (at < end) {
        size_t want = (size_t)(end - at) < sizeof(bytes) ? (size_t)(end - at) : sizeof(bytes);
        ssize_t n = real_pread(from, bytes, want, at);
        if (n < 0)
            fail("cannot read what is kept");
        if (n == 0)
            memset(bytes, 0, (size_t)(n = (ssize_t)want));
        if (real_pwrite(to, bytes, (size_t)n, at) != n)
            fail("cannot write what is kept");
        at += n;
    }
}

static struct kept *find(ino_t inode)
{
    for (size_t i = 0; i < FILES; i++)
        if (files[i].inode == inode)
            return &files[i];
    return NULL;
}

static void forget_ranges(struct kept *kept)
{
    kept->count = 0;
    kept->shortest = -1;
}

/* What a file held before it was opened counts as on the disk. */
static void keep_opened(int fd, const char *path)
{
    struct stat now;
    int real = real_open(path, O_RDONLY | O_CLOEXEC); /* fd may be for writing alone */
    if (real < 0 || fstat(fd, &now) || !S_ISREG(now.st_mode)) {
        if (real >= 0)
            close(real);
        return;
    }
    pthread_mutex_lock(&lock);
    struct kept *kept = find(now.st_ino);
    if (!kept) {
        if (!(kept = find(0)))
            fail("too many files");
        *kept = (struct kept){.inode = now.st_ino, .shortest = -1};
        int to = open_kept(now.st_ino);
        if (real_ftruncate(to, 0))
            fail("cannot cut what is kept");
        copy_range(real, to, 0, now.st_size);
        close(to);
    }
    pthread_mutex_unlock(&lock);
    close(real);
}

static void keep_written(int fd, off_t at, ssize_t n)
{
    char path[PATH_MAX];
    struct stat now;
    if (n <= 0 || !path_of(fd, path) || !keeps(path) || fstat(fd, &now))
        return;
    pthread_mutex_lock(&lock);
    struct kept *kept = find(now.st_ino);
    if (kept && kept->count == kept->space) {
        kept->space = kept->space ? 2 * kept->space : 64;
        kept->ranges = realloc(kept->ranges, kept->space * sizeof(kept->ranges[0]));
        if (!kept->ranges)
            fail("no memory");
    }
    if (kept)
        kept->ranges[kept->count++] = (struct range){at, at + n};
    pthread_mutex_unlock(&lock);
}

static void keep_cut(int fd, off_t length)
{
    struct stat now;
    pthread_mutex_lock(&lock);
    struct kept *kept = fstat(fd, &now) ? NULL : find(now.st_ino);
    if (kept && (kept->shortest < 0 || length < kept->shortest))
        kept->shortest = length;
    pthread_mutex_unlock(&lock);
}

/* Under lock: what is not on the disk goes there (or from there to where it was written). */
static void bring_over(struct kept *kept, int fd, const struct stat *now, bool evict)
{
    int disk = open_kept(kept->inode);
    struct stat its;
    if (fstat(disk, &its))
        fail("cannot look at what is kept");
    if (!evict && kept->shortest >= 0 && kept->shortest < its.st_size &&
        real_ftruncate(disk, kept->shortest))
        fail("cannot cut what is kept");
    for (size_t i = 0; i < kept->count; i++) {
        off_t end = kept->ranges[i].to < now->st_size ? kept->ranges[i].to : now->st_size;
        copy_range(evict ? disk : fd, evict ? fd : disk, kept->ranges[i].from, end);
    }
    if (!evict && real_ftruncate(disk, now->st_size))
        fail("cannot cut what is kept");
    close(disk);
}

static void keep_names(const char *path)
{
    char file[PATH_MAX], final[PATH_MAX];
    DIR *folder = opendir(path);
    FILE *names = in_folder(file, "disk/names.new") ? fopen(file, "w") : NULL;
    if (!folder || !names)
        fail("cannot keep names");
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;)
        if (entry->d_type == DT_REG)
            fprintf(names, "%llu %s\n", (unsigned long long)entry->d_ino, entry->d_name);
    closedir(folder);
    if (fclose(names) || !in_folder(final, "disk/names") || rename(file, final))
        fail("cannot keep names");
}

/* A sync has come about, or not. */
static void keep_synced(int fd, bool well, bool evict)
{
    char path[PATH_MAX];
    struct stat now;
    if (!path_of(fd, path) || !keeps(path) || fstat(fd, &now))
        return;
    pthread_mutex_lock(&lock);
    struct kept *kept = find(now.st_ino);
    if (S_ISDIR(now.st_mode) && well)
        keep_names(path);
    if (kept && (well || evict))
        bring_over(kept, fd, &now, evict);
    if (kept)
        forget_ranges(kept);
    pthread_mutex_unlock(&lock);
}

/* ---------------------------------------------------------------------------------------- calls */

static int open_any(const char *path, int flags, mode_t mode)
{
    char full[PATH_MAX];
    need();
    if (!getenv("CHATHUB_SHIM"))
        return real_open(path, flags, mode);
    int what = verdict("open", path);
    if (what > 0) {
        errno = what;
        return -1;
    }
    int fd = real_open(path, flags, mode);
    int error = errno;
    if (fd >= 0 && path_of(fd, full) && keeps(full))
        keep_opened(fd, full);
    errno = error;
    return fd;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...);                                                    \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list rest;                                                                              \
        va_start(rest, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                    \
        va_end(rest);                                                                              \
        return open_any(path, flags, mode);                                                        \
    }
OPEN(open)
OPEN(open64)

static ssize_t read_any(int fd, void *to, size_t len, off_t at)
{
    need();
    int what = verdict_fd("read", fd);
    if (what > 0) {
        errno = what;
        return -1;
    }
    return real_pread(fd, to, len, at);
}

#define PREAD(name)                                                                                \
    ssize_t name(int fd, void *to, size_t len, off_t at);                                          \
    ssize_t name(int fd, void *to, size_t len, off_t at)                                           \
    {                                                                                              \
        return read_any(fd, to, len, at);                                                          \
    }
PREAD(pread)
PREAD(pread64)

static ssize_t write_any(int fd, const void *from, size_t len, off_t at)
{
    need();
    int what = verdict_fd("write", fd);
    if (what == SHORT)
        len /= 2;
    if (what > 0 || (what == SHORT && !len)) {
        errno = what > 0 ? what : ENOSPC;
        return -1;
    }
    ssize_t n = real_pwrite(fd, from, len, at);
    int error = errno;
    if (getenv("CHATHUB_SHIM"))
        keep_written(fd, at, n);
    errno = error;
    return n;
}

#define PWRITE(name)                                                                               \
    ssize_t name(int fd, const void *from, size_t len, off_t at);                                  \
    ssize_t name(int fd, const void *from, size_t len, off_t at)                                   \
    {                                                                                              \
        return write_any(fd, from, len, at);                                                       \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

static int sync_any(int fd, int (*real)(int fd))
{
    int what = verdict_fd("sync", fd);
    int result = what == NOTHING ? real(fd) : -1;
    int error = what > 0 ? what : what == EVICT ? EIO : errno;
    if (getenv("CHATHUB_SHIM"))
        keep_synced(fd, result == 0, what == EVICT);
    errno = error;
    return result;
}

int fsync(int fd)
{
    need();
    return sync_any(fd, real_fsync);
}

int fdatasync(int fd)
{
    need();
    return sync_any(fd, real_fdatasync);
}

static int truncate_any(int fd, off_t length)
{
    need();
    int what = verdict_fd("truncate", fd);
    if (what > 0) {
        errno = what;
        return -1;
    }
    int result = real_ftruncate(fd, length);
    int error = errno;
    if (result == 0 && getenv("CHATHUB_SHIM"))
        keep_cut(fd, length);
    errno = error;
    return result;
}

#define FTRUNCATE(name)                                                                            \
    int name(int fd, off_t length);                                                                \
    int name(int fd, off_t length)                                                                 \
    {                                                                                              \
        return truncate_any(fd, length);                                                           \
    }
FTRUNCATE(ftruncate)
FTRUNCATE(ftruncate64)
