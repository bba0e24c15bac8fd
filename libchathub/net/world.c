#include "net/world.h"

#include <sha2.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <uv.h>

#include "auth/fold.h"
#include "net/driver.h"

/* Fields of one record, and bytes of one value, that are told at most. */
#define FIELDS_MAX 16u
#define VALUE_MAX  1024u

static struct chi_world *of(void *self)
{
    return self;
}

static uint64_t now(void *self)
{
    return uv_now(of(self)->loop);
}

static uint64_t wall(void *self)
{
    (void)self;
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

void chi_world_random(void *bytes, size_t len)
{
    char *at = bytes;
    while (len) {
        ssize_t n = getrandom(at, len, 0);
        if (n <= 0)
            continue; /* only a signal can interrupt it: the source is always there */
        at += n;
        len -= (size_t)n;
    }
}

static void random_bytes(void *self, void *bytes, size_t len)
{
    (void)self;
    chi_world_random(bytes, len);
}

static void digest(void *self, const void *bytes, size_t len, uint8_t out[32])
{
    (void)self;
    SHA2_CTX context;
    SHA256Init(&context);
    SHA256Update(&context, bytes, len);
    SHA256Final(out, &context);
}

static int fold(void *self, enum chi_fold_kind kind, struct chi_span text, struct chi_buf *shown,
                struct chi_buf *key)
{
    return chi_fold(of(self)->settings->ascii_names, kind, text, shown, key);
}

static bool wants(const struct chi_sink *sink, int level)
{
    return sink->log && level >= sink->level;
}

/* Values end in NUL for the host: they are copied one behind the other, then pointed at. */
static void tell(struct chi_world *world, int level, const char *event,
                 const struct chi_field *fields, size_t n)
{
    struct chathub_field told[FIELDS_MAX];
    chi_buf_reset(&world->text, FIELDS_MAX * (VALUE_MAX + 1));
    for (size_t i = 0; i < n; i++) {
        size_t len = chi_utf8_cut(fields[i].value, VALUE_MAX);
        told[i] = (struct chathub_field){.key = fields[i].key, .len = len};
        chi_buf_add(&world->text, fields[i].value.at, len);
        chi_buf_add_char(&world->text, '\0');
    }
    if (world->text.failed)
        n = 0;
    const char *at = world->text.at;
    for (size_t i = 0; i < n; i++) {
        told[i].value = at;
        at += told[i].len + 1;
    }
    struct chathub_record record = {
        .size = sizeof(record), .level = level, .event = event, .fields = told, .count = n};
    for (int i = 0; i < CHI_SINKS; i++)
        if (wants(&world->sinks[i], level))
            world->sinks[i].log(&record, world->sinks[i].arg);
}

static bool logs(void *self, int level)
{
    return wants(&of(self)->sinks[CHI_SINK_HOST], level) ||
           wants(&of(self)->sinks[CHI_SINK_QUEUE], level);
}

static void log_line(void *self, int level, const char *event, const struct chi_field *fields,
                     size_t n)
{
    struct chi_world *world = of(self);
    if (logs(self, level))
        tell(world, level, event, fields, n < FIELDS_MAX ? n : FIELDS_MAX);
}

static void wake(void *self)
{
    *of(self)->work = true;
}

static void wake_from_thread(void *self)
{
    chi_driver_want_turn(of(self)->driver);
}

static const struct chi_env_ops world_ops = {
    .now = now,
    .wall = wall,
    .random = random_bytes,
    .digest = digest,
    .fold = fold,
    .log = log_line,
    .logs = logs,
    .wake = wake,
    .wake_from_thread = wake_from_thread,
};

struct chi_env chi_world_env(struct chi_world *world)
{
    return (struct chi_env){world->ops ? world->ops : &world_ops, world};
}

uint64_t chi_world_now(struct chi_world *world)
{
    return chi_world_env(world).ops->now(world);
}

void chi_world_fini(struct chi_world *world)
{
    chi_buf_fini(&world->text);
}
