/* The log of a test: each fault is what its name says, the poster is told what chathub.h promises, and
 * the next hub finds what was committed. */
#include "test_world.h"

static void will(int fault, uint32_t count)
{
    ck_assert_int_eq(chathub_testing_fault(test, fault, count), 0);
}

static bool says(const char *words)
{
    return strstr(event.message, words) != NULL;
}

static uint64_t retry_after(void)
{
    const char *at = strstr(event.json, "\"retry_after_ms\":");
    return at ? strtoull(at + strlen("\"retry_after_ms\":"), NULL, 10) : 0;
}

/* Nobody sees it, and sent again under its cid it is committed. */
static void is_not_there(uint32_t peer)
{
    ck_assert(!finds(peer, CHATHUB_EVENT_MESSAGE));
    ck_assert_uint_eq(chathub_testing_entries(test), 0);
    post(peer, "hi", "c1");
    ck_assert(finds(peer, CHATHUB_EVENT_ACK));
    ck_assert_uint_eq(event.flags & CHATHUB_DUP, 0);
    ck_assert(hears(peer, "hi"));
    ck_assert_uint_eq(chathub_testing_entries(test), 1);
}

START_TEST(a_failed_post_is_not_there)
{
    uint32_t ann = enter("ann", NULL);
    will(CHATHUB_TESTING_FAIL, 1);
    post(ann, "hi", "c1");
    ck_assert(is_refused(ann, CHATHUB_ELOG));
    ck_assert_str_eq(event.cid, "c1");
    is_not_there(ann);
}
END_TEST

START_TEST(a_full_disk_is_named)
{
    uint32_t ann = enter("ann", NULL);
    will(CHATHUB_TESTING_FULL, 1);
    post(ann, "hi", "c1");
    ck_assert(is_refused(ann, CHATHUB_ELOG));
    ck_assert(says("the disk is full"));
    ck_assert_uint_gt(retry_after(), 0);
    is_not_there(ann);
}
END_TEST

START_TEST(a_post_of_unknown_outcome_may_be_lost)
{
    uint32_t ann = enter("ann", NULL);
    will(CHATHUB_TESTING_LOST, 1);
    post(ann, "hi", "c1");
    ck_assert(is_refused(ann, CHATHUB_EUNKNOWN));
    is_not_there(ann);
}
END_TEST

START_TEST(a_post_of_unknown_outcome_may_be_kept)
{
    uint32_t ann = enter("ann", NULL), bob = enter("bob", NULL);
    will(CHATHUB_TESTING_KEPT, 1);
    post(ann, "hi", "c1");
    ck_assert(is_refused(ann, CHATHUB_EUNKNOWN));
    ck_assert(hears(ann, "hi"));
    ck_assert(hears(bob, "hi"));
    post(ann, "hi", "c1");
    ck_assert(finds(ann, CHATHUB_EVENT_ACK));
    ck_assert_uint_eq(event.flags & CHATHUB_DUP, CHATHUB_DUP);
    ck_assert(!finds(bob, CHATHUB_EVENT_MESSAGE));
    ck_assert_uint_eq(chathub_testing_entries(test), 1);
}
END_TEST

START_TEST(a_busy_log_takes_nothing)
{
    uint32_t ann = enter("ann", NULL);
    will(CHATHUB_TESTING_BUSY, 1);
    post(ann, "hi", "c1");
    ck_assert(is_refused(ann, CHATHUB_EAGAIN));
    is_not_there(ann);
}
END_TEST

START_TEST(faults_come_in_their_order)
{
    uint32_t ann = enter("ann", NULL);
    will(CHATHUB_TESTING_FAIL, 2);
    will(CHATHUB_TESTING_LOST, 1);
    post(ann, "1", NULL);
    post(ann, "2", NULL);
    post(ann, "3", NULL);
    post(ann, "4", NULL);
    ck_assert(is_refused(ann, CHATHUB_ELOG));
    ck_assert(is_refused(ann, CHATHUB_ELOG));
    ck_assert(is_refused(ann, CHATHUB_EUNKNOWN));
    ck_assert(hears(ann, "4"));
    will(CHATHUB_TESTING_FAIL, 1000);
    will(CHATHUB_TESTING_FAIL, 0);
    post(ann, "5", NULL);
    ck_assert(hears(ann, "5"));
    struct chathub_stats stats = {.size = sizeof(stats)};
    ck_assert_int_eq(chathub_stats(hub, &stats), 0);
    ck_assert_uint_eq(stats.log_failures, 3);
    ck_assert_uint_eq(stats.log_commits, 2);
}
END_TEST

START_TEST(faults_are_bounded)
{
    for (int i = 0; i < 64; i++)
        will(CHATHUB_TESTING_FAIL, 1);
    ck_assert_int_eq(chathub_testing_fault(test, CHATHUB_TESTING_FAIL, 1), CHATHUB_EFULL);
    ck_assert_int_eq(chathub_testing_fault(test, 0, 1), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_testing_fault(test, 99, 1), CHATHUB_EINVAL);
    ck_assert_ptr_nonnull(strstr(chathub_testing_problem(test), "99"));
}
END_TEST

START_TEST(pages_may_fail)
{
    uint32_t ann = enter("ann", NULL);
    post(ann, "hi", NULL);
    will(CHATHUB_TESTING_PAGE, 1);
    send_line(ann, "{\"type\":\"history\"}");
    ck_assert(is_refused(ann, CHATHUB_ELOG));
    send_line(ann, "{\"type\":\"history\"}");
    ck_assert(finds(ann, CHATHUB_EVENT_HISTORY));
}
END_TEST

/* ------------------------------------------------------------------------------------------- slow */

START_TEST(a_slow_log_commits_when_it_is_told_to)
{
    uint32_t ann = enter("ann", NULL), bob = enter("bob", NULL);
    ck_assert_int_eq(chathub_testing_hold(test, 1), 0);
    will(CHATHUB_TESTING_FAIL, 1);
    post(ann, "1", NULL);
    post(ann, "2", NULL);
    post(ann, "3", NULL);
    advance(60000);
    ck_assert_uint_eq(chathub_testing_held(test), 3);
    ck_assert(!finds(bob, CHATHUB_EVENT_MESSAGE));
    ck_assert(!finds(ann, CHATHUB_EVENT_ACK));
    ck_assert_int_eq(chathub_testing_commit(test, 2), 2);
    settle();
    ck_assert(is_refused(ann, CHATHUB_ELOG));
    ck_assert(finds(ann, CHATHUB_EVENT_ACK));
    ck_assert(hears(bob, "2"));
    ck_assert(!finds(bob, CHATHUB_EVENT_MESSAGE));
    ck_assert_uint_eq(chathub_testing_held(test), 1);
    ck_assert_int_eq(chathub_testing_commit(test, 9), 1);
    ck_assert_int_eq(chathub_testing_commit(test, 9), 0);
    settle();
    ck_assert(hears(bob, "3"));
    post(ann, "4", NULL);
    ck_assert(!finds(bob, CHATHUB_EVENT_MESSAGE));
    ck_assert_int_eq(chathub_testing_hold(test, 0), 0);
    settle();
    ck_assert(hears(bob, "4"));
    ck_assert_int_eq(chathub_testing_commit(test, 1), 0);
    post(ann, "5", NULL);
    ck_assert(hears(bob, "5"));
}
END_TEST

START_TEST(what_was_told_to_a_log_that_is_slow_ends_with_that)
{
    uint32_t ann = enter("ann", NULL);
    ck_assert_int_eq(chathub_testing_hold(test, 1), 0);
    post(ann, "1", NULL);
    ck_assert_int_eq(chathub_testing_commit(test, 1), 1);
    ck_assert_int_eq(chathub_testing_hold(test, 0), 0);
    settle();
    ck_assert(hears(ann, "1"));
    ck_assert_int_eq(chathub_testing_hold(test, 1), 0);
    post(ann, "2", NULL);
    ck_assert_uint_eq(chathub_testing_held(test), 1);
    ck_assert(!finds(ann, CHATHUB_EVENT_MESSAGE));
}
END_TEST

START_TEST(what_waits_is_lost_in_a_crash)
{
    uint32_t ann = enter("ann", NULL);
    post(ann, "1", "c1");
    ck_assert_int_eq(chathub_testing_hold(test, 1), 0);
    post(ann, "2", "c2");
    hub_again();
    ck_assert_uint_eq(chathub_testing_held(test), 0);
    ck_assert_int_eq(chathub_testing_hold(test, 0), 0);
    ck_assert_int_eq(chathub_testing_resume(test, ann), 0);
    settle();
    ck_assert(hears(ann, "1"));
    ck_assert(!finds(ann, CHATHUB_EVENT_MESSAGE));
    post(ann, "2", "c2");
    ck_assert(hears(ann, "2"));
}
END_TEST

/* -------------------------------------------------------------------------------------- outliving */

START_TEST(the_next_hub_finds_what_was_committed)
{
    uint32_t ann = enter("ann", NULL);
    ck_assert_int_eq(chathub_testing_enter(test, "bob", "tea", &ann), 0);
    ck_assert_int_eq(chathub_testing_post(test, ann, "tea", "in tea", "c1"), 0);
    advance(1000);
    uint64_t then = chathub_testing_time(test) - 1000;
    hub_again();
    advance(1000);
    ck_assert_uint_eq(state_of(ann).connected, 0);
    ck_assert_int_eq(state_of(ann).code, 0);
    ck_assert_int_eq(chathub_testing_resume(test, ann), 0);
    settle();
    ck_assert(hears(ann, "in tea"));
    ck_assert(!finds(ann, CHATHUB_EVENT_GAP));
    uint32_t cat = enter("cat", "Tea");
    ck_assert(hears(cat, "in tea"));
    ck_assert_uint_eq(event.time, then);
    ck_assert_uint_eq(event.position, 1);
    ck_assert_int_eq(chathub_testing_post(test, ann, "tea", "in tea", "c1"), 0);
    settle();
    ck_assert(finds(ann, CHATHUB_EVENT_ACK));
    ck_assert_uint_eq(event.flags & CHATHUB_DUP, CHATHUB_DUP);
}
END_TEST

/* It was forgotten by the hub that took it twice; the next one takes both for what they are. */
START_TEST(a_cid_lives_as_long_as_in_the_hub_before)
{
    uint32_t ann = enter("ann", NULL);
    post(ann, "hi", "c1");
    advance(120000);
    post(ann, "hi", "c1");
    ck_assert_uint_eq(chathub_testing_entries(test), 2);
    hub_again();
    ck_assert_int_eq(chathub_testing_resume(test, ann), 0);
    settle();
    post(ann, "hi", "c1");
    ck_assert_uint_eq(chathub_testing_entries(test), 2);
    advance(120000);
    post(ann, "hi", "c1");
    ck_assert_uint_eq(chathub_testing_entries(test), 3);
}
END_TEST

START_TEST(who_read_what_was_lost_is_told_a_gap)
{
    uint32_t ann = enter("ann", NULL);
    post(ann, "1", NULL);
    post(ann, "2", NULL);
    ck_assert_int_eq(chathub_testing_lose(test, 1), CHATHUB_EINUSE);
    chathub_free(hub);
    ck_assert_int_eq(chathub_testing_lose(test, 1), 1);
    ck_assert_uint_eq(chathub_testing_entries(test), 1);
    hub_begin();
    hub_start();
    uint32_t bob = enter("bob", NULL);
    post(bob, "another 2", NULL);
    ck_assert_int_eq(chathub_testing_resume(test, ann), 0);
    settle();
    ck_assert(finds(ann, CHATHUB_EVENT_GAP));
    ck_assert(hears(ann, "1"));
    ck_assert(hears(ann, "another 2"));
    ck_assert_uint_eq(event.position, 2);
}
END_TEST

START_TEST(who_read_nothing_of_what_was_lost_goes_on)
{
    uint32_t ann = enter("ann", NULL), bob = enter("bob", NULL);
    post(bob, "1", NULL);
    ck_assert_int_eq(chathub_testing_cut(test, ann), 0);
    post(bob, "2", NULL);
    chathub_free(hub);
    ck_assert_int_eq(chathub_testing_lose(test, 1), 1);
    hub_begin();
    hub_start();
    ck_assert_int_eq(chathub_testing_resume(test, ann), 0);
    settle();
    ck_assert(hears(ann, "1"));
    ck_assert(!finds(ann, CHATHUB_EVENT_GAP));
    chathub_free(hub);
    ck_assert_int_eq(chathub_testing_lose(test, 9), 1);
    ck_assert_int_eq(chathub_testing_lose(test, 9), 0);
    hub_begin();
}
END_TEST

static void no_event(struct chathub *of, const struct chathub_event *what, void *arg)
{
    (void)of;
    (void)what;
    (void)arg;
}

START_TEST(what_was_erased_stays_erased)
{
    uint64_t bot;
    uint32_t ann = enter("ann", NULL);
    post(ann, "1", NULL);
    post(ann, "a secret", NULL);
    ck_assert_int_eq(chathub_client(hub, "bot", no_event, NULL, &bot), 0);
    ck_assert_int_eq(chathub_redact(hub, bot, NULL, 2), 0);
    settle();
    hub_again();
    uint32_t bob = enter("bob", NULL);
    ck_assert(hears(bob, "1"));
    ck_assert(hears(bob, ""));
    ck_assert_uint_eq(event.position, 2);
    ck_assert_ptr_nonnull(strstr(event.json, "redacted"));
    ck_assert_ptr_null(strstr(event.json, "secret"));
    ck_assert_uint_eq(chathub_testing_entries(test), 2);
}
END_TEST

/* 64 MiB in posts of 32 KiB. */
START_TEST(the_disk_is_full_some_time)
{
    static char text[32768];
    uint32_t ann = enter("ann", NULL), n = 0;
    memset(text, 'x', sizeof(text) - 1);
    for (bool refused = false; !refused; n++) {
        ck_assert_uint_lt(n, 3000);
        post(ann, text, NULL);
        event.size = sizeof(event);
        while (!refused && chathub_testing_next(test, ann, &event) == 1)
            refused = event.type == CHATHUB_EVENT_ERROR && says("the disk is full");
    }
    ck_assert_uint_eq(chathub_testing_entries(test), n - 1);
    ck_assert_uint_gt(n, 2000);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        a_failed_post_is_not_there,
        a_full_disk_is_named,
        a_post_of_unknown_outcome_may_be_lost,
        a_post_of_unknown_outcome_may_be_kept,
        a_busy_log_takes_nothing,
        faults_come_in_their_order,
        faults_are_bounded,
        pages_may_fail,
        a_slow_log_commits_when_it_is_told_to,
        what_was_told_to_a_log_that_is_slow_ends_with_that,
        what_waits_is_lost_in_a_crash,
        the_next_hub_finds_what_was_committed,
        a_cid_lives_as_long_as_in_the_hub_before,
        who_read_what_was_lost_is_told_a_gap,
        who_read_nothing_of_what_was_lost_goes_on,
        what_was_erased_stays_erased,
        the_disk_is_full_some_time,
    };
    return unit_run(suite_of("log", tests, sizeof(tests) / sizeof(tests[0]), true));
}
