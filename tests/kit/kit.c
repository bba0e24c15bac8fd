/* A test: its clock, its chance, its timers, and the steps of the hub in it. */
#include "kit.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "util/list.h"

/* The hub's clock does not begin at 0, which no real one does. */
#define NOW_START 1000000u
#define WALL_2000 UINT64_C(946684800000)
/* Years that are written with four digits, and years that one test may last: 100. */
#define WALL_MAX    UINT64_C(253402300799999)
#define ELAPSED_MAX (UINT64_C(100) * 366 * 86400000)
#define STEPS_MAX   10000u
#define TIMERS_MAX  1024u

int chi_kit_problem(struct chathub_testing *test, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(test->problem, sizeof(test->problem), format, args);
    va_end(args);
    return error;
}

int chi_kit_plain(struct chathub_testing *test, int error)
{
    return error < 0 ? chi_kit_problem(test, error, "%s", chathub_strerror(error)) : error;
}

int chi_kit_told(struct chathub_testing *test, int error)
{
    const char *told = test->hub ? chathub_problem(test->hub) : "";
    return error < 0 && *told ? chi_kit_problem(test, error, "%s", told)
                              : chi_kit_plain(test, error);
}

const char *chathub_testing_problem(const struct chathub_testing *test)
{
    return test ? test->problem : "";
}

/* ------------------------------------------------------------------------- what the hub sees */

static struct chathub_testing *test_of(void *world)
{
    struct chathub *hub = CHI_CONTAINER((struct chi_world *)world, struct chathub, world);
    return (struct chathub_testing *)(void *)hub->stand_in;
}

static uint64_t now_of(const struct chathub_testing *test)
{
    return NOW_START + (test->replaying ? test->replaying->elapsed : test->elapsed);
}

static uint64_t now(void *world)
{
    return now_of(test_of(world));
}

static uint64_t wall(void *world)
{
    const struct chathub_testing *test = test_of(world);
    return test->replaying ? test->replaying->entry->time : chathub_testing_time(test);
}

static uint64_t splitmix64(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void random_bytes(void *world, void *bytes, size_t len)
{
    struct chathub_testing *test = test_of(world);
    unsigned char *at = bytes;
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++, word >>= 8) {
        if (i % 8 == 0)
            word = splitmix64(&test->chance);
        at[i] = (unsigned char)word;
    }
}

static int make_log(struct chi_stand_in *self, const struct chi_settings *settings,
                    struct chi_env env, struct chi_log **out)
{
    return chi_kit_log_new((struct chathub_testing *)(void *)self, settings, env, out);
}

static void freed(struct chi_stand_in *self)
{
    struct chathub_testing *test = (struct chathub_testing *)(void *)self;
    chi_kit_peers_lost(test);
    test->hub = NULL;
}

void chi_kit_wake(struct chathub_testing *test)
{
    if (test->hub)
        test->hub->work = true;
}

/* ------------------------------------------------------------------------------------- the test */

int chathub_testing_new(uint64_t seed, uint64_t unix_ms, struct chathub_testing **out)
{
    if (!out || unix_ms > WALL_MAX)
        return CHATHUB_EINVAL;
    struct chathub_testing *test = calloc(1, sizeof(*test));
    if (!test)
        return CHATHUB_ENOMEM;
    test->stand_in = (struct chi_stand_in){.make_log = make_log, .freed = freed};
    test->chance = seed;
    test->wall_start = unix_ms ? unix_ms : WALL_2000;
    *out = test;
    return 0;
}

/* The hub goes on as one that has stopped, and knows nothing of the test any more. */
static void detach(struct chathub_testing *test)
{
    struct chathub *hub = test->hub;
    if (!hub)
        return;
    hub->state = STATE_STOPPED;
    chi_tear_down(hub);
    freed(&test->stand_in);
    hub->world.ops = NULL;
    hub->stand_in = NULL;
}

void chathub_testing_free(struct chathub_testing *test)
{
    if (!test)
        return;
    detach(test);
    chi_kit_peers_fini(test);
    chi_kit_disk_fini(&test->disk);
    free(test->timers);
    free(test);
}

int chathub_testing_attach(struct chathub_testing *test, struct chathub *hub)
{
    if (!test || chi_enter(hub))
        return CHATHUB_EINVAL;
    if (hub->state != STATE_NEW)
        return chi_kit_problem(test, CHATHUB_ESTARTED,
                               "the hub has been started: attach it before chathub_start");
    if (test->hub || hub->stand_in)
        return chi_kit_problem(test, CHATHUB_EINUSE, "%s",
                               test->hub ? "another hub lives in this test: free that first"
                                         : "the hub lives in another test");
    test->ops = *chi_world_env(&hub->world).ops;
    test->ops.now = now;
    test->ops.wall = wall;
    test->ops.random = random_bytes;
    hub->world.ops = &test->ops;
    hub->stand_in = &test->stand_in;
    test->hub = hub;
    return 0;
}

/* ----------------------------------------------------------------------------------------- time */

uint64_t chathub_testing_elapsed(const struct chathub_testing *test)
{
    return test ? test->elapsed : 0;
}

uint64_t chathub_testing_time(const struct chathub_testing *test)
{
    return test ? test->wall_start + test->elapsed
                : 0; /* the sum is right, wrapped around or not */
}

int chathub_testing_set_time(struct chathub_testing *test, uint64_t unix_ms)
{
    if (!test)
        return CHATHUB_EINVAL;
    if (unix_ms < UINT64_C(31536000000) || unix_ms > WALL_MAX)
        return chi_kit_problem(test, CHATHUB_EINVAL,
                               "Unix time is given in ms, from the year 1971 to the year 9999");
    test->wall_start = unix_ms - test->elapsed;
    return 0;
}

int chathub_testing_after(struct chathub_testing *test, uint64_t ms, chathub_testing_cb cb,
                          void *arg)
{
    if (!test)
        return CHATHUB_EINVAL;
    if (!cb || ms > ELAPSED_MAX)
        return chi_kit_problem(test, CHATHUB_EINVAL,
                               "a callback is needed, and a time of at most 100 years");
    if (test->timer_count == TIMERS_MAX)
        return chi_kit_problem(test, CHATHUB_EFULL,
                               "%u callbacks wait for their time already; advance the test first",
                               TIMERS_MAX);
    if (test->timer_count == test->timer_cap) {
        uint32_t cap = test->timer_cap ? test->timer_cap * 2 : 16;
        struct kit_timer *timers = realloc(test->timers, cap * sizeof(*timers));
        if (!timers)
            return chi_kit_plain(test, CHATHUB_ENOMEM);
        test->timers = timers;
        test->timer_cap = cap;
    }
    test->timers[test->timer_count++] = (struct kit_timer){
        .due = test->elapsed + ms, .number = test->timer_next++, .cb = cb, .arg = arg};
    return 0;
}

/* The one to be called first; NULL: none is set. */
static struct kit_timer *first_timer(const struct chathub_testing *test)
{
    struct kit_timer *first = NULL;
    for (uint32_t i = 0; i < test->timer_count; i++) {
        struct kit_timer *at = &test->timers[i];
        if (!first || at->due < first->due || (at->due == first->due && at->number < first->number))
            first = at;
    }
    return first;
}

static bool run_timer(struct chathub_testing *test)
{
    struct kit_timer *first = first_timer(test);
    if (!first || first->due > test->elapsed)
        return false;
    const struct kit_timer timer = *first;
    *first = test->timers[--test->timer_count];
    timer.cb(timer.arg);
    return true;
}

uint64_t chathub_testing_due(const struct chathub_testing *test)
{
    if (!test)
        return UINT64_MAX;
    const struct kit_timer *timer = first_timer(test);
    uint64_t due = timer ? NOW_START + timer->due : UINT64_MAX;
    if (test->hub)
        due = CHI_LESSER(due, chi_hand_due(test->hub));
    if (due == UINT64_MAX)
        return due;
    return due > now_of(test) ? due - now_of(test) : 0;
}

/* ---------------------------------------------------------------------------------------- steps */

static int enter(struct chathub_testing *test)
{
    if (!test)
        return CHATHUB_EINVAL;
    if (test->inside)
        return chi_kit_problem(test, CHATHUB_EAGAIN,
                               "a callback cannot step the test that it is called from; use "
                               "chathub_testing_after");
    return 0;
}

static bool step(struct chathub_testing *test)
{
    test->inside = true;
    bool did = run_timer(test) || (test->hub && chi_hand_turn(test->hub));
    test->inside = false;
    return did;
}

int chathub_testing_step(struct chathub_testing *test)
{
    int error = enter(test);
    return error ? error : step(test);
}

static int settle(struct chathub_testing *test)
{
    for (uint32_t i = 0; i < STEPS_MAX; i++)
        if (!step(test))
            return 0;
    return chi_kit_problem(
        test, CHATHUB_EBUSY,
        "after %u steps there is still something to do, %llu ms from the beginning: "
        "does a bot answer itself?",
        STEPS_MAX, (unsigned long long)test->elapsed);
}

int chathub_testing_settle(struct chathub_testing *test)
{
    int error = enter(test);
    return error ? error : settle(test);
}

int chathub_testing_advance(struct chathub_testing *test, uint64_t ms)
{
    int error = enter(test);
    if (error)
        return error;
    if (ms > ELAPSED_MAX - test->elapsed)
        return chi_kit_problem(test, CHATHUB_EINVAL, "a test lasts 100 years at most");
    const uint64_t end = test->elapsed + ms;
    while (!(error = settle(test)) && test->elapsed < end) {
        uint64_t due = chathub_testing_due(test);
        test->elapsed += CHI_LESSER(due, end - test->elapsed);
    }
    return error;
}
