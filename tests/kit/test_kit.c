/* A test of a host: nothing but the test moves its time, the same seed gives the same bytes, and it
 * opens nothing. */
#include "test_world.h"

#include <dirent.h>
#include <unistd.h>

/* ------------------------------------------------------------------------------------------ chance */

/* All that peers were sent, in the order in which it was taken. */
static char told[1 << 16];

static void note(uint32_t peer)
{
    const char *line;
    size_t len = strlen(told), n;
    while ((line = chathub_testing_take(test, peer, &n)))
        len += (size_t)snprintf(told + len, sizeof(told) - len, "%u %zu %s\n", peer, n, line);
    ck_assert_uint_lt(len, sizeof(told));
}

static void note_record(const struct chathub_record *record, void *arg)
{
    size_t len = strlen(told);
    (void)arg;
    snprintf(told + len, sizeof(told) - len, "%s %zu\n", record->event, record->count);
}

static void story(uint64_t seed, char out[sizeof(told)])
{
    told[0] = '\0';
    world_begin(seed);
    ck_assert_int_eq(chathub_on_log(hub, CHATHUB_DEBUG, note_record, NULL), 0);
    hub_start();
    uint32_t ann = enter("ann", "tea"), bob = enter(NULL, "tea");
    ck_assert_int_eq(chathub_testing_post(test, ann, "tea", "hi", "c1"), 0);
    send_line(bob, "{\"type\":\"typing\",\"room\":\"tea\"}");
    advance(20000);
    note(ann);
    note(bob);
    ck_assert_int_eq(chathub_testing_cut(test, ann), 0);
    ck_assert_int_eq(chathub_testing_post(test, bob, "tea", "one", NULL), 0);
    settle();
    hub_again();
    ck_assert_int_eq(chathub_testing_resume(test, ann), 0);
    ck_assert_int_eq(chathub_testing_resume(test, bob), 0);
    settle();
    note(ann);
    note(bob);
    teardown();
    memcpy(out, told, sizeof(told));
}

START_TEST(the_same_seed_is_the_same_story)
{
    static char first[sizeof(told)], second[sizeof(told)], other[sizeof(told)];
    story(7, first);
    story(7, second);
    story(8, other);
    ck_assert_uint_gt(strlen(first), 3000);
    size_t same = 0;
    while (first[same] && first[same] == second[same])
        same++;
    ck_assert_msg(!first[same] && !second[same], "the second story goes on with %.80s",
                  second + same);
    ck_assert(strcmp(first, other) != 0);
}
END_TEST

/* -------------------------------------------------------------------------------------------- time */

START_TEST(time_moves_by_hand_alone)
{
    setup();
    uint64_t began = chathub_testing_time(test);
    ck_assert_uint_eq(began, UINT64_C(946684800000));
    uint32_t ann = enter("ann", NULL);
    usleep(3000);
    post(ann, "hi", NULL);
    ck_assert(hears(ann, "hi"));
    ck_assert_uint_eq(event.time, began);
    ck_assert_uint_eq(chathub_testing_elapsed(test), 0);
    advance(1234);
    ck_assert_uint_eq(chathub_testing_elapsed(test), 1234);
    post(ann, "hi again", NULL);
    ck_assert(hears(ann, "hi again"));
    ck_assert_uint_eq(event.time, began + 1234);
    teardown();
}
END_TEST

START_TEST(unix_time_can_be_set_back)
{
    setup();
    uint32_t ann = enter("ann", NULL);
    advance(5000);
    ck_assert_int_eq(chathub_testing_set_time(test, 1), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_testing_set_time(test, UINT64_C(90000000000)), 0);
    advance(5);
    post(ann, "hi", NULL);
    ck_assert(hears(ann, "hi"));
    ck_assert_uint_eq(event.time, UINT64_C(90000000005));
    ck_assert_uint_eq(chathub_testing_time(test), UINT64_C(90000000005));
    ck_assert_uint_eq(chathub_testing_elapsed(test), 5005);
    teardown();
}
END_TEST

START_TEST(typing_ends_at_its_moment)
{
    setup();
    uint32_t ann = enter("ann", NULL);
    send_line(ann, "{\"type\":\"typing\"}");
    ck_assert(finds(ann, CHATHUB_EVENT_TYPING));
    ck_assert_uint_eq(event.flags & CHATHUB_ON, CHATHUB_ON);
    advance(9999);
    ck_assert(!finds(ann, CHATHUB_EVENT_TYPING));
    ck_assert_uint_eq(chathub_testing_due(test), 1);
    advance(1);
    ck_assert(finds(ann, CHATHUB_EVENT_TYPING));
    ck_assert_uint_eq(event.flags & CHATHUB_ON, 0);
    teardown();
}
END_TEST

START_TEST(a_session_ends_at_its_moment)
{
    setup();
    uint32_t ann = enter("ann", NULL);
    ck_assert_int_eq(chathub_testing_cut(test, ann), 0);
    advance(9999);
    ck_assert_uint_eq(sessions(), 1);
    advance(1);
    ck_assert_uint_eq(sessions(), 0);
    teardown();
}
END_TEST

/* ------------------------------------------------------------------------------------------ timers */

static char order[64];

static void at_once(void *arg)
{
    strncat(order, arg, sizeof(order) - strlen(order) - 1);
}

static void and_later(void *arg)
{
    at_once("a");
    ck_assert_int_eq(chathub_testing_after(test, 0, at_once, arg), 0);
    ck_assert_int_eq(chathub_testing_after(test, 10, at_once, "e"), 0);
    ck_assert_int_eq(chathub_testing_step(test), CHATHUB_EAGAIN);
    ck_assert_int_eq(chathub_testing_settle(test), CHATHUB_EAGAIN);
    ck_assert_int_eq(chathub_testing_advance(test, 1), CHATHUB_EAGAIN);
}

START_TEST(callbacks_come_in_their_order)
{
    setup();
    settle();
    order[0] = '\0';
    ck_assert_int_eq(chathub_testing_after(test, 20, at_once, "d"), 0);
    ck_assert_int_eq(chathub_testing_after(test, 10, and_later, "c"), 0);
    ck_assert_int_eq(chathub_testing_after(test, 10, at_once, "b"), 0);
    ck_assert_uint_eq(chathub_testing_due(test), 10);
    advance(9);
    ck_assert_str_eq(order, "");
    advance(1);
    ck_assert_str_eq(order, "abc");
    advance(10);
    ck_assert_str_eq(order, "abcde");
    teardown();
}
END_TEST

static void note_moment(void *arg)
{
    *(uint64_t *)arg = chathub_testing_elapsed(test);
}

static void post_now(void *arg)
{
    ck_assert_int_eq(chathub_testing_post(test, *(uint32_t *)arg, NULL, "hi", NULL), 0);
}

START_TEST(each_moment_on_the_way_has_its_time)
{
    uint64_t first = 0, second = 0;
    setup();
    uint32_t ann = enter("ann", NULL);
    uint64_t began = chathub_testing_time(test);
    ck_assert_int_eq(chathub_testing_after(test, 30, note_moment, &first), 0);
    ck_assert_int_eq(chathub_testing_after(test, 40, post_now, &ann), 0);
    ck_assert_int_eq(chathub_testing_after(test, 50, note_moment, &second), 0);
    advance(100);
    ck_assert_uint_eq(first, 30);
    ck_assert_uint_eq(second, 50);
    ck_assert(hears(ann, "hi"));
    ck_assert_uint_eq(event.time, began + 40);
    teardown();
}
END_TEST

START_TEST(callbacks_are_bounded)
{
    setup();
    settle();
    ck_assert_int_eq(chathub_testing_after(test, 1, NULL, NULL), CHATHUB_EINVAL);
    for (int i = 0; i < 1024; i++)
        ck_assert_int_eq(chathub_testing_after(test, 1, at_once, ""), 0);
    ck_assert_int_eq(chathub_testing_after(test, 1, at_once, ""), CHATHUB_EFULL);
    ck_assert_ptr_nonnull(strstr(chathub_testing_problem(test), "1024"));
    advance(1);
    ck_assert_int_eq(chathub_testing_after(test, 1, at_once, ""), 0);
    teardown();
}
END_TEST

/* ------------------------------------------------------------------------------------------- steps */

START_TEST(a_step_is_one_thing)
{
    setup();
    settle();
    ck_assert_int_eq(chathub_testing_step(test), 0);
    order[0] = '\0';
    chathub_testing_after(test, 0, at_once, "a");
    chathub_testing_after(test, 0, at_once, "b");
    ck_assert_uint_eq(chathub_testing_due(test), 0);
    ck_assert_int_eq(chathub_testing_step(test), 1);
    ck_assert_str_eq(order, "a");
    ck_assert_int_eq(chathub_testing_step(test), 1);
    ck_assert_str_eq(order, "ab");
    ck_assert_int_eq(chathub_testing_step(test), 0);
    uint32_t ann;
    ck_assert_int_eq(chathub_testing_connect(test, NULL, &ann), 0);
    ck_assert_int_eq(chathub_testing_send(test, ann, "{\"type\":\"ping\"}", CHATHUB_NUL), 0);
    ck_assert_ptr_null(chathub_testing_take(test, ann, NULL));
    ck_assert_int_eq(chathub_testing_step(test), 1);
    ck_assert_ptr_nonnull(chathub_testing_take(test, ann, NULL));
    teardown();
}
END_TEST

/* A bot that answers everybody, itself too. */
static void echo(struct chathub *of, const struct chathub_event *heard, void *arg)
{
    if (heard->type == CHATHUB_EVENT_MESSAGE)
        chathub_post(of, *(uint64_t *)arg, NULL, "and you", CHATHUB_NUL, NULL);
}

START_TEST(what_never_settles_is_told)
{
    uint64_t bot;
    setup();
    ck_assert_int_eq(chathub_client(hub, "bot", echo, &bot, &bot), 0);
    ck_assert_int_eq(chathub_join(hub, bot, NULL, CHATHUB_START_NOW, 0), 0);
    settle();
    uint32_t ann = enter("ann", NULL);
    ck_assert_int_eq(chathub_testing_post(test, ann, NULL, "hi", NULL), 0);
    ck_assert_int_eq(chathub_testing_advance(test, 5), CHATHUB_EBUSY);
    ck_assert_ptr_nonnull(strstr(chathub_testing_problem(test), "answer itself"));
    ck_assert_uint_eq(chathub_testing_elapsed(test), 0);
    ck_assert_int_eq(chathub_testing_settle(test), CHATHUB_EBUSY);
    teardown();
}
END_TEST

/* ----------------------------------------------------------------------------- what is not opened */

static int count_of(const char *folder)
{
    int n = 0;
    DIR *dir = opendir(folder);
    ck_assert_ptr_nonnull(dir);
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

START_TEST(nothing_is_opened)
{
    int files = count_of("/proc/self/fd"), threads = count_of("/proc/self/task");
    char url[64];
    world_begin(1);
    ck_assert_int_eq(chathub_listen(hub, "ws://localhost:0/ws"), 0);
    if (chathub_has("sqlite"))
        ck_assert_int_eq(chathub_set(hub, "log", "sqlite:/nowhere/at/all.db"), 0);
    hub_start();
    uint32_t ann = enter("ann", NULL);
    post(ann, "hi", NULL);
    ck_assert(hears(ann, "hi"));
    ck_assert_int_eq(chathub_listener(hub, 0, url, sizeof(url)), CHATHUB_ENOENT);
    ck_assert_int_eq(count_of("/proc/self/fd"), files);
    ck_assert_int_eq(count_of("/proc/self/task"), threads);
    teardown();
}
END_TEST

START_TEST(what_needs_a_loop_is_refused)
{
    struct chathub_adoption adoption = {.size = sizeof(adoption), .fd = 0};
    world_begin(1);
    ck_assert_int_eq(chathub_start_thread(hub), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_run(hub), CHATHUB_EINVAL);
    ck_assert_ptr_nonnull(strstr(chathub_problem(hub), "chathub_testing_settle"));
    ck_assert_int_eq(chathub_step(hub, 0), CHATHUB_EINVAL);
    ck_assert_int_lt(chathub_fd(hub), 0);
    ck_assert_int_eq(chathub_timeout(hub), -1);
    ck_assert_int_eq(chathub_adopt(hub, &adoption), CHATHUB_EINVAL);
    teardown();
}
END_TEST

/* -------------------------------------------------------------------------------------- life cycle */

START_TEST(a_stop_is_in_good_order)
{
    bool done = false;
    setup();
    uint32_t ann = enter("ann", NULL);
    ck_assert_int_eq(chathub_testing_post(test, ann, NULL, "last", NULL), 0);
    ck_assert_int_eq(chathub_stop(hub, stopped, &done), 0);
    ck_assert(!done);
    settle();
    ck_assert(done);
    ck_assert(hears(ann, "last"));
    ck_assert(finds(ann, CHATHUB_EVENT_BYE));
    ck_assert_uint_eq(state_of(ann).connected, 0);
    ck_assert_int_eq(state_of(ann).code, 1001);
    ck_assert_int_eq(chathub_testing_step(test), 0);
    teardown();
}
END_TEST

START_TEST(a_stop_waits_for_what_is_under_way)
{
    bool done = false;
    setup();
    uint32_t ann = enter("ann", NULL);
    ck_assert_int_eq(chathub_testing_hold(test, 1), 0);
    post(ann, "slow", NULL);
    ck_assert_int_eq(chathub_stop(hub, stopped, &done), 0);
    advance(100);
    ck_assert(!done);
    ck_assert_int_eq(chathub_testing_commit(test, 1), 1);
    advance(20);
    ck_assert(done);
    ck_assert(finds(ann, CHATHUB_EVENT_ACK));
    teardown();
}
END_TEST

START_TEST(a_stop_ends_in_its_time)
{
    bool done = false;
    setup();
    uint32_t ann = enter("ann", NULL);
    ck_assert_int_eq(chathub_testing_hold(test, 1), 0);
    post(ann, "slow", NULL);
    ck_assert_int_eq(chathub_stop(hub, stopped, &done), 0);
    char most[32];
    ck_assert_int_gt(chathub_get(hub, "stop-time", most, sizeof(most)), 0);
    advance(60000);
    ck_assert(done);
    teardown();
}
END_TEST

START_TEST(one_hub_at_a_time)
{
    struct chathub_testing *second;
    struct chathub *other;
    uint32_t peer;
    setup();
    ck_assert_int_eq(chathub_new(&other), 0);
    ck_assert_int_eq(chathub_testing_attach(test, other), CHATHUB_EINUSE);
    ck_assert_int_eq(chathub_testing_new(1, 0, &second), 0);
    ck_assert_int_eq(chathub_testing_attach(second, hub), CHATHUB_ESTARTED);
    ck_assert_int_eq(chathub_testing_attach(second, NULL), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_testing_connect(second, NULL, &peer), CHATHUB_ESTOPPED);
    ck_assert_int_eq(chathub_testing_attach(second, other), 0);
    ck_assert_int_eq(chathub_testing_connect(second, NULL, &peer), CHATHUB_ESTOPPED);
    chathub_free(other);
    chathub_testing_free(second);
    teardown();
}
END_TEST

START_TEST(the_test_may_go_first)
{
    uint64_t client;
    setup();
    uint32_t ann = enter("ann", NULL);
    ck_assert_int_eq(chathub_testing_post(test, ann, NULL, "hi", NULL), 0);
    chathub_testing_free(test);
    ck_assert_int_eq(chathub_client(hub, "bot", echo, &client, &client), CHATHUB_ESTOPPED);
    chathub_free(hub);
    chathub_testing_free(NULL);
}
END_TEST

static void on_wake(struct chathub *of, void *arg)
{
    ck_assert_ptr_eq(of, hub);
    ++*(int *)arg;
}

START_TEST(a_wake_comes_with_the_next_step)
{
    int woken = 0;
    world_begin(1);
    ck_assert_int_eq(chathub_on_wake(hub, on_wake, &woken), 0);
    hub_start();
    settle();
    ck_assert_int_eq(chathub_wake(hub), 0);
    ck_assert_int_eq(woken, 0);
    ck_assert_int_eq(chathub_testing_step(test), 1);
    ck_assert_int_eq(woken, 1);
    teardown();
}
END_TEST

/* A host without callbacks. */
START_TEST(events_and_questions_wait_in_the_queue)
{
    struct chathub_batch batch = {.size = sizeof(batch)};
    uint64_t bot;
    world_begin(1);
    ck_assert_int_eq(chathub_queue_questions(hub, 1u << CHATHUB_JOIN), 0);
    hub_start();
    ck_assert_int_eq(chathub_client(hub, "bot", NULL, NULL, &bot), 0);
    ck_assert_int_eq(chathub_join(hub, bot, NULL, CHATHUB_START_NOW, 0), 0);
    settle();
    ck_assert_int_eq(chathub_take(hub, &batch), 2);
    uint64_t question = batch.events[0].id ? batch.events[0].id : batch.events[1].id;
    ck_assert_int_eq(chathub_answer(hub, question, 1, NULL), 0);
    settle();
    ck_assert_int_ge(chathub_take(hub, &batch), 1);
    ck_assert_uint_eq(batch.events[0].type, CHATHUB_EVENT_JOINED);
    teardown();
}
END_TEST

START_TEST(nonsense_is_refused)
{
    ck_assert_int_eq(chathub_testing_new(1, 0, NULL), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_testing_new(1, UINT64_MAX, &test), CHATHUB_EINVAL);
    ck_assert_str_eq(chathub_testing_problem(NULL), "");
    ck_assert_uint_eq(chathub_testing_due(NULL), UINT64_MAX);
    setup();
    ck_assert_int_eq(chathub_testing_advance(test, UINT64_MAX), CHATHUB_EINVAL);
    ck_assert_uint_eq(chathub_testing_elapsed(test), 0);
    teardown();
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        the_same_seed_is_the_same_story,
        time_moves_by_hand_alone,
        unix_time_can_be_set_back,
        typing_ends_at_its_moment,
        a_session_ends_at_its_moment,
        callbacks_come_in_their_order,
        each_moment_on_the_way_has_its_time,
        callbacks_are_bounded,
        a_step_is_one_thing,
        what_never_settles_is_told,
        nothing_is_opened,
        what_needs_a_loop_is_refused,
        a_stop_is_in_good_order,
        a_stop_waits_for_what_is_under_way,
        a_stop_ends_in_its_time,
        one_hub_at_a_time,
        the_test_may_go_first,
        a_wake_comes_with_the_next_step,
        events_and_questions_wait_in_the_queue,
        nonsense_is_refused,
    };
    return unit_run(suite_of("kit", tests, sizeof(tests) / sizeof(tests[0]), false));
}
