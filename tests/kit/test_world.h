/* A host with its hub in a test, for the tests of the kit itself. */
#ifndef TEST_WORLD_H
#define TEST_WORLD_H

#include "../unit/unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <chathub_testing.h>

static struct chathub_testing *test;
static struct chathub *hub;
static struct chathub_event event; /* what was sent last */

static inline void hub_begin(void)
{
    ck_assert_int_eq(chathub_new(&hub), 0);
    ck_assert_int_eq(chathub_testing_attach(test, hub), 0);
}

static inline void hub_start(void)
{
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
}

/* As a crash, or a loss of power: nothing is finished. */
static inline void hub_again(void)
{
    chathub_free(hub);
    hub_begin();
    hub_start();
}

/* A test with a hub that was not started. */
static inline void world_begin(uint64_t seed)
{
    event = (struct chathub_event){.size = sizeof(event)};
    ck_assert_int_eq(chathub_testing_new(seed, 0, &test), 0);
    hub_begin();
}

static inline void setup(void)
{
    world_begin(1);
    hub_start();
}

static inline void teardown(void)
{
    chathub_free(hub);
    chathub_testing_free(test);
    hub = NULL;
    test = NULL;
}

static inline void settle(void)
{
    ck_assert_msg(chathub_testing_settle(test) == 0, "%s", chathub_testing_problem(test));
}

static inline void advance(uint64_t ms)
{
    ck_assert_msg(chathub_testing_advance(test, ms) == 0, "%s", chathub_testing_problem(test));
}

static inline uint32_t enter(const char *name, const char *room)
{
    uint32_t peer = 0;
    ck_assert_int_eq(chathub_testing_enter(test, name, room, &peer), 0);
    settle();
    return peer;
}

static inline void post(uint32_t peer, const char *content, const char *cid)
{
    ck_assert_int_eq(chathub_testing_post(test, peer, NULL, content, cid), 0);
    settle();
}

static inline void send_line(uint32_t peer, const char *line)
{
    ck_assert_int_eq(chathub_testing_send(test, peer, line, CHATHUB_NUL), 0);
    settle();
}

/* The first of this type of what waits; `event` is it. */
static inline bool finds(uint32_t peer, uint32_t type)
{
    event.size = sizeof(event);
    int got = chathub_testing_find(test, peer, type, &event);
    ck_assert_msg(got >= 0, "%s", chathub_testing_problem(test));
    return got == 1;
}

static inline bool hears(uint32_t peer, const char *content)
{
    return finds(peer, CHATHUB_EVENT_MESSAGE) && strcmp(event.content, content) == 0;
}

static inline bool is_refused(uint32_t peer, int code)
{
    return finds(peer, CHATHUB_EVENT_ERROR) && event.code == code;
}

static inline struct chathub_testing_peer state_of(uint32_t peer)
{
    struct chathub_testing_peer state = {.size = sizeof(state)};
    ck_assert_int_eq(chathub_testing_peer(test, peer, &state), 0);
    return state;
}

static inline uint64_t sessions(void)
{
    struct chathub_stats stats = {.size = sizeof(stats)};
    ck_assert_int_eq(chathub_stats(hub, &stats), 0);
    return stats.sessions;
}

static inline void stopped(void *arg)
{
    *(bool *)arg = true;
}

static inline Suite *suite_of(const char *name, const TTest *const *tests, size_t n, bool has_world)
{
    Suite *suite = suite_create(name);
    TCase *tcase = tcase_create(name);
    if (has_world)
        tcase_add_checked_fixture(tcase, setup, teardown);
    for (size_t i = 0; i < n; i++)
        tcase_add_test(tcase, tests[i]);
    suite_add_tcase(suite, tcase);
    return suite;
}

#endif
