#include "scale_world.h"

#include <poll.h>
#include <sha2.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "auth/fold.h"
#include "dialect/dialect.h"
#include "log/log.h"
#include "net/framing.h"
#include "options.h"

#define TICK_MS 1000u

void scale_fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("bench: ", stderr);
    vfprintf(stderr, format, args);
    fputs("\n", stderr);
    va_end(args);
    exit(1);
}

static double clock_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double scale_cpu(void)
{
    return clock_of(CLOCK_PROCESS_CPUTIME_ID);
}

/* ---------------------------------------------------------------------------------- environment */

static struct scale_world *of(void *self)
{
    return self;
}

static uint64_t env_now(void *self)
{
    return of(self)->now;
}

static uint64_t env_wall(void *self)
{
    return 1767326645678 + of(self)->now;
}

/* splitmix64 */
static void env_random(void *self, void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint64_t z = of(self)->noise += 0x9e3779b97f4a7c15u;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        ((unsigned char *)bytes)[i] = (unsigned char)(z ^ z >> 31);
    }
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
    return chi_fold(of(self)->settings.ascii_names, kind, text, shown, key);
}

/* What is worse than news ends up in the bench's output. */
static bool env_logs(void *self, int level)
{
    (void)self;
    return level >= CHATHUB_WARNING;
}

static void env_log(void *self, int level, const char *event, const struct chi_field *fields,
                    size_t n)
{
    if (!env_logs(self, level))
        return;
    fprintf(stderr, "bench: %s", event);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, " %s=%.*s", fields[i].key, (int)fields[i].value.len, fields[i].value.at);
    fputs("\n", stderr);
}

static void env_wake(void *self)
{
    of(self)->woken = true;
}

static void env_wake_from_thread(void *self)
{
    uint64_t one = 1;
    if (write(of(self)->wake, &one, sizeof one) < 0)
        perror("bench: wake");
}

static const struct chi_env_ops env_ops = {
    .now = env_now,
    .wall = env_wall,
    .random = env_random,
    .digest = env_digest,
    .fold = env_fold,
    .log = env_log,
    .logs = env_logs,
    .wake = env_wake,
    .wake_from_thread = env_wake_from_thread,
};

/* ------------------------------------------------------------------------------------ transport */

static ptrdiff_t sink_send(void *self, uint32_t conn, const void *bytes, size_t len)
{
    struct scale_world *w = self;
    (void)bytes;
    if (w->stall_every && conn % w->stall_every == 0)
        return 0;
    w->writes++;
    w->bytes += len;
    return (ptrdiff_t)len;
}

static void sink_write_many(void *self, const void *bytes, size_t len, const uint32_t *conns,
                            size_t n, int32_t *taken)
{
    for (size_t i = 0; i < n; i++)
        taken[i] = (int32_t)sink_send(self, conns[i], bytes, len);
}

static void sink_read(void *self, uint32_t conn, bool on)
{
    struct scale_world *w = self;
    (void)conn;
    if (on && w->waiting)
        w->waiting--;
}

static void sink_close(void *self, uint32_t conn, int code, struct chi_span reason,
                       struct chi_span rest)
{
    (void)self, (void)rest;
    scale_fail("the hub closes connection %u: %d %.*s", conn, code, (int)reason.len, reason.at);
}

/* -------------------------------------------------------------------------------- opening, ending */

void scale_world_init(struct scale_world *w)
{
    *w = (struct scale_world){.now = 1000, .noise = 42, .wake = -1};
    if (chi_options_defaults(&w->settings))
        scale_fail("out of memory");
    w->settings.max_rooms = w->settings.max_clients = w->settings.max_members = 10000000;
}

static void open_log(struct scale_world *w, const char *path)
{
    char problem[512] = "out of memory";
    w->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (w->wake < 0)
        scale_fail("no eventfd");
    int error =
        path ? chi_log_sqlite_new(&w->settings, w->env, path, &w->log, problem, sizeof problem)
             : chi_log_memory_new(&w->settings, w->env, &w->log);
    if (error)
        scale_fail("no log: %s", problem);
}

void scale_world_open(struct scale_world *w, const char *path)
{
    w->env = (struct chi_env){&env_ops, w};
    w->ticked = w->now;
    w->transport = (struct chi_transport){.send = sink_send,
                                          .write_many = sink_write_many,
                                          .read = sink_read,
                                          .close = sink_close,
                                          .self = w};
    open_log(w, path);
    if (chi_delivery_new(&w->settings, w->env, w->log, &w->delivery))
        scale_fail("no delivery");
    struct chi_hub_parts parts = {.settings = &w->settings,
                                  .env = w->env,
                                  .log = w->log,
                                  .delivery_ops = &chi_delivery_ops,
                                  .delivery = w->delivery};
    if (chi_hub_new(&parts, &w->hub))
        scale_fail("no hub");
    w->log->bind(w->log, chi_hub_log_up(w->hub));
    chi_delivery_bind(w->delivery, chi_hub_delivery_up(w->hub));
    if (chi_queue_new(&w->settings.event_queue, &w->queue))
        scale_fail("no queue of events");
    struct chi_inproc_parts inproc = {
        .hub = w->hub, .delivery = w->delivery, .queue = w->queue, .env = w->env};
    if (chi_inproc_new(&inproc, &w->inproc))
        scale_fail("no in-process clients");
}

void scale_world_close(struct scale_world *w)
{
    chi_inproc_free(w->inproc);
    chi_queue_free(w->queue);
    chi_hub_free(w->hub);
    chi_delivery_free(w->delivery);
    w->log->free(w->log);
    close(w->wake);
    chi_options_fini(&w->settings);
}

/* ---------------------------------------------------------------------------------------- turns */

void scale_world_turn(struct scale_world *w, uint64_t (*clock)(void *ctx))
{
    w->woken = false;
    chi_inproc_turn(w->inproc);
    chi_hub_turn(w->hub);
    if (w->now - w->ticked >= TICK_MS) {
        w->ticked = w->now;
        chi_delivery_tick(w->delivery);
    }
    w->left = chi_delivery_flush(w->delivery, clock, w);
}

void scale_world_settle(struct scale_world *w)
{
    do
        scale_world_turn(w, NULL);
    while (w->woken || w->left);
}

void scale_world_wait(struct scale_world *w)
{
    uint64_t count;
    struct pollfd wait = {.fd = w->wake, .events = POLLIN};
    scale_world_settle(w);
    if (poll(&wait, 1, 1) > 0 && read(w->wake, &count, sizeof count) > 0)
        w->woken = true;
    w->now++;
    scale_world_settle(w);
}

void scale_world_check(const struct scale_world *w)
{
    const char *fault = chi_hub_check(w->hub);
    if (!fault)
        fault = chi_delivery_check(w->delivery);
    if (fault)
        scale_fail("the books do not agree: %s", fault);
}

static uint64_t next_due(const struct scale_world *w)
{
    uint64_t due = chi_hub_next(w->hub);
    if (chi_delivery_warm(w->delivery) && w->ticked + TICK_MS < due)
        due = w->ticked + TICK_MS;
    return due;
}

void scale_world_pass(struct scale_world *w, uint64_t ms)
{
    uint64_t end = w->now + ms, due;
    scale_world_settle(w);
    while ((due = next_due(w)) <= end) {
        if (due > w->now)
            w->now = due;
        scale_world_settle(w);
    }
    w->now = end;
    scale_world_settle(w);
}

/* -------------------------------------------------------------------------------------- clients */

uint64_t scale_world_client(struct scale_world *w, uint32_t conn, const char *name)
{
    uint64_t id;
    const struct chi_client_desc desc = {
        .as = {&w->transport, conn, {&chi_dialect_native, &chi_framing_websocket}},
        .address = CHI_SPAN("bench"),
        .welcome = true};
    if (chi_hub_client_open(w->hub, &desc, &id))
        scale_fail("client %u is not let in", conn);
    struct chi_request hello = {.type = CHI_REQUEST_HELLO, .name = chi_span_of(name)};
    chi_hub_request(w->hub, id, &hello);
    return id;
}

void scale_world_join(struct scale_world *w, uint64_t id, const char *room)
{
    struct chi_request join = {.type = CHI_REQUEST_JOIN, .room = chi_span_of(room)};
    join.start.kind = CHI_START_NOW;
    chi_hub_request(w->hub, id, &join);
}

void scale_world_post(struct scale_world *w, uint64_t id, const char *room, struct chi_span text)
{
    struct chi_request post = {
        .type = CHI_REQUEST_POST, .room = chi_span_of(room), .content = text};
    w->waiting += chi_hub_request(w->hub, id, &post) == CHI_NEXT_WAIT;
}
