#include "log_world.h"

#include <dirent.h>
#include <math.h>
#include <poll.h>
#include <sha2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

void world_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("log_posts: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    exit(1);
}

static double clock_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double world_seconds(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

/* ------------------------------------------------------------------------ the log's environment */

static uint64_t env_now(void *self)
{
    return ((struct world *)self)->now;
}

static uint64_t env_wall(void *self)
{
    (void)self;
    return (uint64_t)(clock_of(CLOCK_REALTIME) * 1000);
}

static void env_random(void *self, void *bytes, size_t len)
{
    (void)self;
    if (getrandom(bytes, len, 0) != (ssize_t)len)
        world_fail("no randomness");
}

static void env_digest(void *self, const void *bytes, size_t len, uint8_t out[32])
{
    SHA2_CTX context;
    (void)self;
    SHA256Init(&context);
    SHA256Update(&context, bytes, len);
    SHA256Final(out, &context);
}

static int env_fold(void *self, enum chi_fold_kind kind, struct chi_span text,
                    struct chi_buf *shown, struct chi_buf *key)
{
    (void)self, (void)kind;
    chi_buf_add(shown, text.at, text.len);
    chi_buf_add(key, text.at, text.len);
    return 0;
}

static void env_log(void *self, int level, const char *event, const struct chi_field *fields,
                    size_t n)
{
    (void)self, (void)level;
    fprintf(stderr, "log_posts: %s", event);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, " %s=%.*s", fields[i].key, (int)fields[i].value.len, fields[i].value.at);
    fputs("\n", stderr);
}

static void env_wake(void *self)
{
    uint64_t one = 1;
    if (write(((struct world *)self)->wake, &one, sizeof one) < 0)
        perror("log_posts: wake");
}

static const struct chi_env_ops env_ops = {
    .now = env_now,
    .wall = env_wall,
    .random = env_random,
    .digest = env_digest,
    .fold = env_fold,
    .log = env_log,
    .wake = env_wake,
    .wake_from_thread = env_wake,
};

/* ------------------------------------------------------------------------------------ its turns */

static void renew_time(struct world *world)
{
    world->now = (uint64_t)(world_seconds() * 1000);
}

void world_open(struct world *world, const char *path, const struct chi_log_up *up)
{
    char problem[512] = "";
    world->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    renew_time(world);
    int error = chi_log_sqlite_new(&world->settings, (struct chi_env){&env_ops, world}, path,
                                   &world->log, problem, sizeof problem);
    if (world->wake < 0 || error)
        world_fail("%s (%d)", problem, error);
    world->log->bind(world->log, up);
}

/* Until then, or until the log wants to be polled. */
static struct timespec patience(struct world *world, double until)
{
    uint64_t next = world->log->next(world->log);
    double seconds = fmin(until - world_seconds(), 3600);
    if (next != UINT64_MAX)
        seconds = fmin(seconds, next > world->now ? (double)(next - world->now) / 1000 : 0);
    seconds = fmax(seconds, 0);
    double whole = floor(seconds);
    return (struct timespec){(time_t)whole, (long)((seconds - whole) * 1e9)};
}

void world_turn(struct world *world, double until)
{
    struct pollfd wait = {.fd = world->wake, .events = POLLIN};
    uint64_t count;
    struct timespec at_most = patience(world, until);
    ppoll(&wait, 1, &at_most, NULL);
    if (read(world->wake, &count, sizeof count) < 0)
        count = 0;
    renew_time(world);
    world->log->poll(world->log);
}

void world_close(struct world *world)
{
    world->log->free(world->log);
    close(world->wake);
}

/* ---------------------------------------------------------------------------- what threads cost */

static bool read_line(const char *task, const char *name, char *line, int size)
{
    char path[320];
    snprintf(path, sizeof path, "/proc/self/task/%s/%s", task, name);
    FILE *file = fopen(path, "re");
    bool good = file && fgets(line, size, file);
    if (file)
        fclose(file);
    return good;
}

/* The first number of schedstat: ns that the thread ran. */
void world_cpu_read(struct world_cpu *out)
{
    char name[64], ran[128];
    *out = (struct world_cpu){.driver = clock_of(CLOCK_THREAD_CPUTIME_ID)};
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task; tasks && (task = readdir(tasks));) {
        if (task->d_name[0] == '.' || !read_line(task->d_name, "comm", name, sizeof name) ||
            !read_line(task->d_name, "schedstat", ran, sizeof ran))
            continue;
        double seconds = (double)strtoull(ran, NULL, 10) / 1e9;
        if (!strncmp(name, "chathub-log-w", 13))
            out->writer += seconds;
        else if (!strncmp(name, "chathub-log-r", 13))
            out->reader += seconds;
    }
    if (tasks)
        closedir(tasks);
}
