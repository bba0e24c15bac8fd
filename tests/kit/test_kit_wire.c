/* People on the wire of a test: what they send is heard, what they are sent is theirs to take, and
 * whoever comes back gets each entry once. */
#include "test_world.h"

START_TEST(people_talk)
{
    uint32_t ann = enter("ann", NULL), bob = enter("bob", NULL);
    post(ann, "hi \"bob\"\n", NULL);
    ck_assert(hears(ann, "hi \"bob\"\n"));
    ck_assert(hears(bob, "hi \"bob\"\n"));
    ck_assert_str_eq(event.sender, "ann");
    ck_assert_uint_eq(event.size, sizeof(event));
}
END_TEST

START_TEST(lines_are_taken_in_order)
{
    uint32_t ann = enter("ann", "tea");
    size_t len = 0;
    ck_assert_uint_gt(state_of(ann).waiting, 1);
    const char *line = chathub_testing_take(test, ann, &len);
    ck_assert_ptr_nonnull(strstr(line, "\"welcome\""));
    ck_assert_uint_eq(len, strlen(line));
    event.size = sizeof(event);
    ck_assert_int_eq(chathub_testing_next(test, ann, &event), 1);
    ck_assert_uint_eq(event.type, CHATHUB_EVENT_JOINED);
    ck_assert_str_eq(event.room, "tea");
    while (chathub_testing_take(test, ann, NULL))
        continue;
    ck_assert_int_eq(chathub_testing_next(test, ann, &event), 0);
    ck_assert_uint_eq(state_of(ann).waiting_bytes, 0);
}
END_TEST

START_TEST(people_type_lines)
{
    uint32_t ann;
    ck_assert_int_eq(chathub_testing_connect(test, "tcp://?dialect=human", &ann), 0);
    send_line(ann, "/nick ann");
    send_line(ann, "hello");
    bool heard = false;
    for (const char *line; (line = chathub_testing_take(test, ann, NULL));)
        heard |= strstr(line, "hello") != NULL;
    ck_assert(heard);
    send_line(ann, "/help");
    ck_assert_int_eq(chathub_testing_next(test, ann, &event), CHATHUB_EPROTOCOL);
    ck_assert_ptr_nonnull(strstr(chathub_testing_problem(test), "peer 1"));
    ck_assert_int_eq(chathub_testing_resume(test, ann), CHATHUB_ESESSION);
}
END_TEST

START_TEST(nonsense_is_refused)
{
    uint32_t ann = enter("ann", NULL);
    struct chathub_testing_peer state = {.size = 0};
    struct chathub_event none = {.size = 0};
    ck_assert_int_eq(chathub_testing_send(test, ann, "a\nb", CHATHUB_NUL), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_testing_send(test, ann, NULL, 0), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_testing_post(test, ann, NULL, "\xff", NULL), CHATHUB_ETEXT);
    ck_assert_int_eq(chathub_testing_enter(test, "\xff", NULL, &ann), CHATHUB_ETEXT);
    ck_assert_int_eq(chathub_testing_connect(test, "udp://", &ann), CHATHUB_EADDRESS);
    ck_assert_ptr_nonnull(strstr(chathub_testing_problem(test), "udp"));
    ck_assert_int_eq(chathub_testing_next(test, ann, &none), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_testing_peer(test, ann, &state), CHATHUB_EINVAL);
    for (uint32_t nobody = 0; nobody < 3; nobody += 2) {
        ck_assert_int_eq(chathub_testing_send(test, nobody, "{}", 2), CHATHUB_EGONE);
        ck_assert_int_eq(chathub_testing_next(test, nobody, &event), CHATHUB_EGONE);
        ck_assert_int_eq(chathub_testing_stall(test, nobody, 1), CHATHUB_EGONE);
        ck_assert_int_eq(chathub_testing_cut(test, nobody), CHATHUB_EGONE);
        ck_assert_int_eq(chathub_testing_resume(test, nobody), CHATHUB_EGONE);
        ck_assert_ptr_null(chathub_testing_take(test, nobody, NULL));
        state.size = sizeof(state);
        ck_assert_int_eq(chathub_testing_peer(test, nobody, &state), CHATHUB_EGONE);
    }
}
END_TEST

START_TEST(the_hub_reads_ahead_so_far)
{
    uint32_t ann = enter("ann", NULL);
    int error = 0;
    for (int i = 0; !error && i < 1000; i++)
        error = chathub_testing_send(test, ann, "{\"type\":\"ping\"}", CHATHUB_NUL);
    ck_assert_int_eq(error, CHATHUB_EAGAIN);
    ck_assert_ptr_nonnull(strstr(chathub_testing_problem(test), "chathub_testing_settle"));
    settle();
    send_line(ann, "{\"type\":\"ping\"}");
}
END_TEST

/* --------------------------------------------------------------------------------------- hanging */

START_TEST(who_stalls_is_sent_all_later)
{
    uint32_t ann = enter("ann", NULL), bob = enter("bob", NULL);
    ck_assert_int_eq(chathub_testing_stall(test, ann, 1), 0);
    while (chathub_testing_take(test, ann, NULL))
        continue;
    post(bob, "one", NULL);
    post(bob, "two", NULL);
    ck_assert_uint_eq(state_of(ann).waiting_bytes, 0);
    ck_assert_uint_eq(state_of(ann).stalled, 1);
    ck_assert(hears(bob, "one"));
    ck_assert_int_eq(chathub_testing_stall(test, ann, 0), 0);
    settle();
    ck_assert(hears(ann, "one"));
    ck_assert(hears(ann, "two"));
}
END_TEST

START_TEST(who_stalls_too_long_is_closed)
{
    uint32_t ann = enter("ann", NULL), bob = enter("bob", NULL);
    ck_assert_int_eq(chathub_testing_stall(test, ann, 1), 0);
    post(bob, "one", NULL);
    advance(179000);
    ck_assert_uint_eq(state_of(ann).connected, 1);
    advance(2000);
    ck_assert_uint_eq(state_of(ann).connected, 0);
    ck_assert_int_eq(state_of(ann).code, 1008);
    ck_assert_str_ne(state_of(ann).reason, "");
    ck_assert_int_eq(chathub_testing_send(test, ann, "{}", 2), CHATHUB_EGONE);
    ck_assert_int_eq(chathub_testing_resume(test, ann), 0);
    settle();
    ck_assert(hears(ann, "one"));
}
END_TEST

/* Takes `n` entries, numbered from *next on, each behind the one before. */
static void take_numbered(uint32_t peer, uint32_t n, uint32_t *next, uint64_t *prev)
{
    for (uint32_t i = 0; i < n; i++) {
        ck_assert_msg(finds(peer, CHATHUB_EVENT_MESSAGE), "entry %u is missing", *next);
        ck_assert_uint_eq(strtoul(event.content, NULL, 10), *next);
        ck_assert_uint_eq(event.prev, *prev);
        *prev = event.position;
        ++*next;
    }
}

/* 200 posts of 16 KiB. */
START_TEST(who_does_not_take_holds_up_nobody)
{
    static char text[16384];
    uint32_t ann = enter("ann", NULL), bob = enter("bob", NULL), next = 0, done = 0;
    uint64_t prev = 0, done_prev = 0;
    memset(text, 'x', sizeof(text) - 1);
    for (int i = 0; i < 200; i++) {
        int len = snprintf(text, 8, "%d", i);
        text[len] = ' ';
        post(bob, text, NULL);
        take_numbered(bob, 1, &next, &prev);
    }
    ck_assert_uint_le(state_of(ann).waiting_bytes, 1 << 20);
    ck_assert_uint_gt(state_of(ann).waiting_bytes, (1 << 20) - 65536);
    for (int i = 0; i < 200; i++) {
        take_numbered(ann, 1, &done, &done_prev);
        settle();
    }
    ck_assert(!finds(ann, CHATHUB_EVENT_MESSAGE));
}
END_TEST

/* ------------------------------------------------------------------------------- going and coming */

START_TEST(who_comes_back_gets_each_entry_once)
{
    char text[16];
    uint32_t ann = enter("ann", NULL), bob = enter("bob", NULL), next = 0;
    uint64_t prev = 0;
    for (int i = 0; i < 30; i++) {
        if (i % 10 == 3)
            ck_assert_int_eq(chathub_testing_cut(test, ann), 0);
        if (i % 10 == 7)
            ck_assert_int_eq(chathub_testing_resume(test, ann), 0);
        snprintf(text, sizeof(text), "%d", i);
        post(bob, text, NULL);
    }
    take_numbered(ann, 30, &next, &prev);
    ck_assert(!finds(ann, CHATHUB_EVENT_MESSAGE));
}
END_TEST

/* What was sent to the old connection after the cut is sent again. */
START_TEST(half_an_entry_counts_for_nothing)
{
    static char text[20000];
    uint32_t ann = enter("ann", NULL), bob = enter("bob", NULL), next = 0;
    uint64_t prev = 0;
    memset(text, 'x', sizeof(text) - 1);
    for (int i = 0; i < 60; i++) { /* beyond what an inbox holds: some entry is cut in two */
        text[snprintf(text, 8, "%d", i)] = ' ';
        post(bob, text, NULL);
    }
    ck_assert_uint_eq(state_of(ann).waiting_bytes, 1 << 20);
    ck_assert_int_eq(chathub_testing_cut(test, ann), 0);
    ck_assert_uint_lt(state_of(ann).waiting_bytes, 1 << 20);
    uint32_t whole = 0;
    ck_assert_int_eq(chathub_testing_resume(test, ann), 0);
    for (; whole < 60; whole++) {
        settle();
        take_numbered(ann, 1, &next, &prev);
    }
    settle();
    ck_assert(!finds(ann, CHATHUB_EVENT_MESSAGE));
}
END_TEST

START_TEST(who_comes_back_early_takes_its_session_over)
{
    uint32_t ann = enter("ann", NULL), bob = enter("bob", NULL);
    uint64_t before = state_of(ann).client;
    ck_assert_int_eq(chathub_testing_resume(test, ann), 0);
    post(bob, "hi", NULL);
    ck_assert_uint_ne(state_of(ann).client, before);
    ck_assert_uint_eq(state_of(ann).connected, 1);
    uint32_t heard = 0;
    event.size = sizeof(event);
    while (chathub_testing_next(test, ann, &event) == 1) {
        ck_assert_uint_ne(event.type, CHATHUB_EVENT_BYE); /* that was for the old connection */
        heard += event.type == CHATHUB_EVENT_MESSAGE;
    }
    ck_assert_uint_eq(heard, 1);
    ck_assert_uint_eq(sessions(), 2);
}
END_TEST

START_TEST(who_leaves_is_gone)
{
    uint32_t ann = enter("ann", NULL), bob = enter("bob", NULL);
    ck_assert_int_eq(chathub_testing_leave(test, ann), 0);
    settle();
    ck_assert_uint_eq(sessions(), 1);
    ck_assert_int_eq(chathub_testing_leave(test, ann), CHATHUB_EGONE);
    ck_assert_uint_eq(state_of(bob).connected, 1);
    ck_assert_int_eq(state_of(ann).code, 0);
}
END_TEST

START_TEST(whom_the_hub_closes_knows_why)
{
    uint32_t ann = enter("ann", NULL);
    ck_assert_int_eq(chathub_disconnect(hub, state_of(ann).client, 4000, "go away"), 0);
    settle();
    ck_assert_uint_eq(state_of(ann).connected, 0);
    ck_assert_int_eq(state_of(ann).code, 4000);
    ck_assert_str_eq(state_of(ann).reason, "go away");
    ck_assert(finds(ann, CHATHUB_EVENT_BYE));
}
END_TEST

START_TEST(there_are_1024_at_most)
{
    uint32_t peer;
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(chathub_testing_connect(test, NULL, &peer), 0);
    ck_assert_uint_eq(peer, 1024);
    ck_assert_int_eq(chathub_testing_connect(test, NULL, &peer), CHATHUB_EFULL);
    settle();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        people_talk,
        lines_are_taken_in_order,
        people_type_lines,
        nonsense_is_refused,
        the_hub_reads_ahead_so_far,
        who_stalls_is_sent_all_later,
        who_stalls_too_long_is_closed,
        who_does_not_take_holds_up_nobody,
        who_comes_back_gets_each_entry_once,
        half_an_entry_counts_for_nothing,
        who_comes_back_early_takes_its_session_over,
        who_leaves_is_gone,
        whom_the_hub_closes_knows_why,
        there_are_1024_at_most,
    };
    return unit_run(suite_of("wire", tests, sizeof(tests) / sizeof(tests[0]), true));
}
