/* The public face, used as a host would: chathub.h and a loop. */
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "chathub.h"

#define EVENTS 64

/* What one in-process client was told. */
struct heard {
    uint32_t types[EVENTS];
    int32_t codes[EVENTS];
    char texts[EVENTS][256]; /* content or message */
    uint32_t count;
};

static bool inside_call; /* the host is in a call into the hub: nothing may call back */
static uint64_t last_question;

#define CALL(expression)                                                                           \
    (inside_call = true, answer_of_call = (expression), inside_call = false, answer_of_call)
static int answer_of_call;

static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    struct heard *heard = arg;
    (void)hub;
    ck_assert(!inside_call);
    ck_assert_uint_ge(event->size, sizeof(*event));
    ck_assert_uint_lt(heard->count, EVENTS);
    heard->types[heard->count] = event->type;
    heard->codes[heard->count] = event->code;
    const char *text = event->content[0] ? event->content : event->message;
    snprintf(heard->texts[heard->count++], sizeof(heard->texts[0]), "%s", text);
}

static bool has(const struct heard *heard, uint32_t type, const char *text)
{
    for (uint32_t i = 0; i < heard->count; i++)
        if (heard->types[i] == type && (!text || strcmp(heard->texts[i], text) == 0))
            return true;
    return false;
}

static struct chathub *hub_new(void)
{
    struct chathub *hub = NULL;
    ck_assert_int_eq(chathub_new(&hub), 0);
    ck_assert_ptr_nonnull(hub);
    return hub;
}

static struct chathub *hub_started(void)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(CALL(chathub_start(hub, NULL)), 0);
    return hub;
}

static void until(struct chathub *hub, const struct heard *heard, uint32_t type, const char *text)
{
    while (!has(heard, type, text))
        ck_assert_int_eq(chathub_step(hub, -1), 1);
}

static uint64_t client(struct chathub *hub, const char *name, struct heard *heard)
{
    uint64_t id = 0;
    ck_assert_int_eq(CALL(chathub_client(hub, name, on_event, heard, &id)), 0);
    ck_assert_uint_ne(id, 0);
    return id;
}

static int open_descriptors(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

START_TEST(a_post_reaches_every_member_and_is_acked)
{
    struct chathub *hub = hub_started();
    struct heard alice = {0}, bob = {0};
    uint64_t a = client(hub, "alice", &alice), b = client(hub, "bob", &bob);
    ck_assert_int_eq(CALL(chathub_join(hub, a, NULL, CHATHUB_START_NOW, 0)), 0);
    ck_assert_int_eq(CALL(chathub_join(hub, b, "general", CHATHUB_START_NOW, 0)), 0);
    ck_assert_int_eq(CALL(chathub_post(hub, a, NULL, "hi all", 2, "c-1")), 0);
    until(hub, &bob, CHATHUB_EVENT_MESSAGE, "hi");
    until(hub, &alice, CHATHUB_EVENT_ACK, NULL);
    ck_assert(has(&alice, CHATHUB_EVENT_MESSAGE, "hi"));
    ck_assert_uint_eq(alice.types[0], CHATHUB_EVENT_WELCOME);
    ck_assert_uint_eq(alice.types[1], CHATHUB_EVENT_JOINED);
    chathub_free(hub);
}
END_TEST

START_TEST(wrong_calls_answer_errors_and_call_nothing_back)
{
    struct chathub *hub = hub_started();
    struct heard heard = {0};
    uint64_t id = client(hub, NULL, &heard);
    until(hub, &heard, CHATHUB_EVENT_WELCOME, NULL);
    uint32_t before = heard.count;
    ck_assert_int_eq(chathub_post(hub, id + 1, NULL, "x", 1, NULL), CHATHUB_EGONE);
    ck_assert_int_eq(chathub_post(hub, id, NULL, "\xff", 1, NULL), CHATHUB_ETEXT);
    ck_assert_int_eq(chathub_join(hub, id, NULL, 9, 0), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_request(hub, id, "{", 1), CHATHUB_EJSON);
    ck_assert_int_eq(chathub_request(hub, id, " \n", 2),
                     CHATHUB_EJSON); /* nothing would answer it */
    ck_assert_int_eq(chathub_request(hub, id, NULL, 0), CHATHUB_EJSON);
    ck_assert_str_ne(chathub_problem(hub), "");
    ck_assert_int_eq(chathub_answer(hub, 12345, 1, NULL), CHATHUB_EGONE);
    ck_assert_int_eq(chathub_set(hub, "name", "x"), CHATHUB_ESTARTED);
    ck_assert_int_eq(chathub_set(hub, "max-content", "1k"), 0);
    ck_assert_int_eq(chathub_set(hub, "no-such", "1"), CHATHUB_EOPTION);
    ck_assert_int_eq(chathub_listen(hub, "tcp://127.0.0.1:0"), CHATHUB_ESTARTED);
    ck_assert_int_eq(chathub_start(hub, NULL), CHATHUB_ESTARTED);
    chathub_step(hub, 0);
    ck_assert_uint_eq(heard.count, before);
    chathub_free(hub);
}
END_TEST

START_TEST(a_closed_client_hears_closed_last_and_is_gone)
{
    struct chathub *hub = hub_started();
    struct heard heard = {0};
    uint64_t id = client(hub, "alice", &heard);
    ck_assert_int_eq(CALL(chathub_close(hub, id)), 0);
    until(hub, &heard, CHATHUB_EVENT_CLOSED, NULL);
    ck_assert_uint_eq(heard.types[heard.count - 1], CHATHUB_EVENT_CLOSED);
    ck_assert_int_eq(heard.codes[heard.count - 1], 0);
    ck_assert_int_eq(chathub_close(hub, id), CHATHUB_EGONE);
    chathub_free(hub);
}
END_TEST

START_TEST(an_inbox_that_is_full_says_so)
{
    struct chathub *hub = hub_started();
    struct heard heard = {0};
    uint64_t id = client(hub, "alice", &heard);
    int error = 0, taken = 0;
    while (!(error = chathub_request(hub, id, "{\"type\":\"typing\"}", CHATHUB_NUL)) &&
           taken < 1000)
        taken++;
    ck_assert_int_eq(error, CHATHUB_EAGAIN);
    until(hub, &heard, CHATHUB_EVENT_WELCOME, NULL);
    ck_assert_int_eq(chathub_request(hub, id, "{\"type\":\"ping\"}", CHATHUB_NUL), 0);
    chathub_free(hub);
}
END_TEST

static int later(struct chathub *hub, const struct chathub_question *question, void *arg)
{
    (void)hub, (void)arg;
    ck_assert(!inside_call);
    last_question = question->id;
    return question->action == CHATHUB_JOIN ? CHATHUB_LATER : CHATHUB_ALLOW;
}

START_TEST(a_decision_may_come_later_once)
{
    struct chathub *hub = hub_new();
    struct heard heard = {0};
    last_question = 0;
    ck_assert_int_eq(chathub_on_authorize(hub, 1u << CHATHUB_JOIN, later, NULL), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    uint64_t id = client(hub, "alice", &heard);
    ck_assert_int_eq(CALL(chathub_join(hub, id, "a", CHATHUB_START_NOW, 0)), 0);
    ck_assert_int_eq(CALL(chathub_join(hub, id, "b", CHATHUB_START_NOW, 0)), 0);
    while (!last_question)
        chathub_step(hub, -1);
    uint64_t first = last_question;
    ck_assert_int_eq(CALL(chathub_answer(hub, first, 1, NULL)), 0);
    ck_assert_int_eq(CALL(chathub_answer(hub, first, 0, NULL)), CHATHUB_EGONE);
    until(hub, &heard, CHATHUB_EVENT_JOINED, NULL);
    while (last_question == first)
        chathub_step(hub, -1);
    char cut[256];
    snprintf(cut, sizeof cut, "not you\n%190d\xc3\xa9", 0);
    ck_assert_int_eq(CALL(chathub_answer(hub, last_question, 0, "\xff")), CHATHUB_EINVAL);
    ck_assert_int_eq(CALL(chathub_answer(hub, last_question, 0, cut)), 0);
    cut[7] = ' ';
    cut[strlen(cut) - 2] = '\0'; /* the whole character that would not fit, not half of it */
    until(hub, &heard, CHATHUB_EVENT_ERROR, cut);
    chathub_free(hub);
}
END_TEST

START_TEST(a_decision_that_never_comes_is_no)
{
    struct chathub *hub = hub_new();
    struct heard heard = {0};
    last_question = 0;
    chathub_on_authorize(hub, 1u << CHATHUB_JOIN, later, NULL);
    ck_assert_int_eq(chathub_set(hub, "authorize-timeout", "1s"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    uint64_t id = client(hub, "alice", &heard);
    chathub_join(hub, id, "a", CHATHUB_START_NOW, 0);
    until(hub, &heard, CHATHUB_EVENT_ERROR, NULL);
    ck_assert_int_eq(heard.codes[heard.count - 1], CHATHUB_EDENIED);
    ck_assert_int_eq(chathub_answer(hub, last_question, 1, NULL), CHATHUB_EGONE);
    chathub_free(hub);
}
END_TEST

START_TEST(a_port_in_use_is_told_and_nothing_stays_open)
{
    char url[128];
    struct chathub *first = hub_new();
    ck_assert_int_eq(chathub_listen(first, "tcp://127.0.0.1:0"), 0);
    ck_assert_int_eq(chathub_start(first, NULL), 0);
    ck_assert_int_gt(chathub_listener(first, 0, url, sizeof(url)), 0);
    ck_assert_int_eq(chathub_listener(first, 1, url + 100, 28), CHATHUB_ENOENT);
    int before = open_descriptors();
    struct chathub *second = hub_new();
    ck_assert_int_eq(chathub_listen(second, url), 0);
    ck_assert_int_eq(chathub_start(second, NULL), CHATHUB_EINUSE);
    ck_assert_ptr_nonnull(strstr(chathub_problem(second), "127.0.0.1"));
    chathub_free(second);
    ck_assert_int_eq(open_descriptors(), before);
    chathub_free(first);
}
END_TEST

START_TEST(beyond_this_machine_only_with_consent)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_listen(hub, "tcp://0.0.0.0:0"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), CHATHUB_EINSECURE);
    ck_assert_ptr_nonnull(strstr(chathub_problem(hub), "insecure"));
    ck_assert_int_eq(chathub_check(hub), CHATHUB_EINSECURE);
    ck_assert_int_eq(chathub_set(hub, "insecure", "yes"), 0);
    ck_assert_int_eq(chathub_check(hub), 0);
    chathub_free(hub);
}
END_TEST

START_TEST(rooms_that_cannot_be_are_told_by_option_and_name)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_set(hub, "rooms", "tea, a\tb"), 0);
    ck_assert_int_eq(chathub_check(hub), CHATHUB_EVALUE);
    ck_assert_ptr_nonnull(strstr(chathub_problem(hub), "rooms"));
    ck_assert_int_eq(chathub_start(hub, NULL), CHATHUB_EVALUE);
    ck_assert_int_eq(chathub_set(hub, "rooms", "tea, garden"), 0);
    ck_assert_int_eq(chathub_listen(hub, "tcp://127.0.0.1:0?room=a%01b"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), CHATHUB_EVALUE);
    ck_assert_ptr_nonnull(strstr(chathub_problem(hub), "listen"));
    ck_assert_ptr_null(strchr(chathub_problem(hub), 1));
    chathub_free(hub);
    hub = hub_new();
    ck_assert_int_eq(chathub_listen(hub, "tcp://127.0.0.1:0?room=tea%20time"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    chathub_free(hub);
}
END_TEST

static void count(void *arg)
{
    ++*(int *)arg;
}

START_TEST(on_a_hosts_loop_stop_leaves_it_clean)
{
    uv_loop_t loop;
    int stopped = 0;
    struct heard heard = {0};
    uv_loop_init(&loop);
    struct chathub *hub = hub_new();
    chathub_listen(hub, "ws://127.0.0.1:0/ws");
    ck_assert_int_eq(CALL(chathub_start(hub, &loop)), 0);
    client(hub, "alice", &heard);
    while (!has(&heard, CHATHUB_EVENT_WELCOME, NULL))
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(CALL(chathub_stop(hub, count, &stopped)), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(stopped, 1);
    ck_assert(has(&heard, CHATHUB_EVENT_BYE, NULL));
    ck_assert_int_eq(heard.codes[heard.count - 1], CHATHUB_ESHUTDOWN);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    ck_assert_int_eq(chathub_stop(hub, NULL, NULL), CHATHUB_ESTOPPED);
    chathub_free(hub);
}
END_TEST

#define CROWD 600

struct crowd {
    uint32_t joined, messages;
};

static void count_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    struct crowd *crowd = arg;
    (void)hub;
    crowd->joined += event->type == CHATHUB_EVENT_JOINED;
    crowd->messages += event->type == CHATHUB_EVENT_MESSAGE;
}

/* What comes in is looked at after each slice of what goes out, also while a large room has more. */
START_TEST(a_poll_lies_between_two_slices)
{
    struct chathub *hub = hub_started();
    struct crowd crowd = {0, 0};
    uint64_t id = 0;
    ck_assert_int_eq(chathub_set(hub, "slice-writes", "64"), 0);
    for (uint32_t i = 0; i < CROWD; i++) {
        ck_assert_int_eq(chathub_client(hub, NULL, count_event, &crowd, &id), 0);
        ck_assert_int_eq(chathub_join(hub, id, NULL, CHATHUB_START_NOW, 0), 0);
        while (crowd.joined <= i)
            ck_assert_int_eq(chathub_step(hub, -1), 1);
    }
    ck_assert_int_eq(chathub_post(hub, id, NULL, "hi", 2, NULL), 0);
    ck_assert_int_eq(chathub_step(hub, -1), 1); /* a slice before its poll, and one behind it */
    ck_assert_uint_lt(crowd.messages, CROWD / 2);
    while (crowd.messages < CROWD) {
        uint32_t before = crowd.messages;
        ck_assert_int_eq(chathub_step(hub, -1), 1);
        ck_assert_uint_le(crowd.messages - before, 64 + 16); /* and a batch of ready clients */
    }
    chathub_free(hub);
}
END_TEST

START_TEST(a_second_stop_ends_at_once)
{
    uv_loop_t loop;
    int stopped = 0;
    uv_loop_init(&loop);
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_start(hub, &loop), 0);
    ck_assert_int_eq(chathub_stop(hub, count, &stopped), 0);
    ck_assert_int_eq(chathub_stop(hub, count, &stopped), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_int_eq(stopped, 1);
    chathub_free(hub);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

static void stop_on_welcome(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    on_event(hub, event, arg);
    if (event->type == CHATHUB_EVENT_WELCOME)
        ck_assert_int_eq(chathub_stop(hub, NULL, NULL), 0);
    ck_assert_uint_eq(event->json_len, strlen(event->json)); /* still there after the call */
}

START_TEST(stopping_inside_an_event_is_no_harm)
{
    struct chathub *hub = hub_started();
    struct heard heard = {0};
    uint64_t id;
    ck_assert_int_eq(chathub_client(hub, "alice", stop_on_welcome, &heard, &id), 0);
    ck_assert_int_eq(chathub_run(hub), 0);
    ck_assert_uint_eq(heard.types[heard.count - 1], CHATHUB_EVENT_CLOSED);
    chathub_free(hub);
}
END_TEST

START_TEST(what_was_asked_before_a_stop_is_done)
{
    struct chathub *hub = hub_started();
    struct heard heard = {0};
    uint64_t id = client(hub, "alice", &heard);
    chathub_join(hub, id, NULL, CHATHUB_START_NOW, 0);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(chathub_post(hub, id, NULL, "last words", CHATHUB_NUL, NULL), 0);
    ck_assert_int_eq(chathub_stop(hub, NULL, NULL), 0);
    ck_assert_int_eq(chathub_run(hub), 0);
    int shown = 0;
    for (uint32_t i = 0; i < heard.count; i++)
        shown += heard.types[i] == CHATHUB_EVENT_MESSAGE;
    ck_assert_int_eq(shown, 3);
    ck_assert_uint_eq(heard.types[heard.count - 1], CHATHUB_EVENT_CLOSED);
    chathub_free(hub);
}
END_TEST

START_TEST(closing_a_client_keeps_its_answers)
{
    struct chathub *hub = hub_started();
    struct heard heard = {0};
    uint64_t id = client(hub, "alice", &heard);
    ck_assert_int_eq(chathub_request(hub, id, "{\"type\":\"ping\"}", CHATHUB_NUL), 0);
    ck_assert_int_eq(chathub_close(hub, id), 0);
    until(hub, &heard, CHATHUB_EVENT_CLOSED, NULL);
    ck_assert(has(&heard, CHATHUB_EVENT_PONG, NULL));
    chathub_free(hub);
}
END_TEST

START_TEST(free_in_the_middle_of_a_stop_is_no_harm)
{
    for (int steps = 0; steps < 6; steps++) {
        uv_loop_t loop;
        struct heard heard = {0};
        uv_loop_init(&loop);
        struct chathub *hub = hub_new();
        chathub_listen(hub, "ws://127.0.0.1:0/ws");
        ck_assert_int_eq(chathub_start(hub, &loop), 0);
        client(hub, "alice", &heard);
        uv_run(&loop, UV_RUN_NOWAIT);
        ck_assert_int_eq(chathub_stop(hub, NULL, NULL), 0);
        ck_assert_int_eq(chathub_stop(hub, NULL, NULL), 0);
        for (int i = 0; i < steps; i++)
            uv_run(&loop, UV_RUN_NOWAIT);
        chathub_free(hub);
        uv_run(&loop, UV_RUN_DEFAULT);
        ck_assert_int_eq(uv_loop_close(&loop), 0);
    }
}
END_TEST

START_TEST(free_in_the_middle_of_a_stop_on_its_own_loop_is_no_harm)
{
    for (int steps = 0; steps < 4; steps++) {
        struct chathub *hub = hub_started();
        ck_assert_int_eq(chathub_stop(hub, NULL, NULL), 0);
        ck_assert_int_eq(chathub_stop(hub, NULL, NULL), 0);
        for (int i = 0; i < steps; i++)
            chathub_step(hub, 0);
        chathub_free(hub);
    }
}
END_TEST

START_TEST(when_a_stop_is_done_the_loop_can_be_closed)
{
    uv_loop_t loop;
    uv_loop_init(&loop);
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_start(hub, &loop), 0);
    int done = 0;
    ck_assert_int_eq(chathub_stop(hub, count, &done), 0);
    while (!done)
        uv_run(&loop, UV_RUN_ONCE);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    chathub_free(hub);
}
END_TEST

START_TEST(free_without_stop_leaves_only_closing_handles)
{
    uv_loop_t loop;
    struct heard heard = {0};
    uv_loop_init(&loop);
    struct chathub *hub = hub_new();
    chathub_listen(hub, "ws://127.0.0.1:0/ws");
    chathub_listen(hub, "tcp://127.0.0.1:0");
    ck_assert_int_eq(chathub_start(hub, &loop), 0);
    client(hub, "alice", &heard);
    uv_run(&loop, UV_RUN_NOWAIT);
    uint32_t before = heard.count;
    chathub_free(hub);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert_uint_eq(heard.count, before);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
}
END_TEST

START_TEST(a_foreign_loop_can_step_it)
{
    struct chathub *hub = hub_started();
    struct heard heard = {0};
    uint64_t id = client(hub, "alice", &heard);
    chathub_join(hub, id, NULL, CHATHUB_START_NOW, 0);
    chathub_post(hub, id, NULL, "stepped", CHATHUB_NUL, NULL);
    while (!has(&heard, CHATHUB_EVENT_MESSAGE, "stepped")) {
        struct pollfd fd = {.fd = chathub_fd(hub), .events = POLLIN};
        poll(&fd, 1, chathub_timeout(hub));
        ck_assert_int_eq(chathub_step(hub, 0), 1);
    }
    ck_assert_int_eq(chathub_stop(hub, NULL, NULL), 0);
    while (chathub_step(hub, -1) == 1) {
    }
    ck_assert_int_eq(chathub_step(hub, 0), 0);
    chathub_free(hub);
}
END_TEST

START_TEST(two_hubs_share_nothing)
{
    struct chathub *one = hub_started(), *two = hub_started();
    struct heard first = {0}, second = {0};
    uint64_t a = client(one, "alice", &first);
    uint64_t b = client(two, "alice", &second); /* the same name, taken in neither */
    chathub_join(one, a, NULL, CHATHUB_START_NOW, 0);
    chathub_join(two, b, NULL, CHATHUB_START_NOW, 0);
    chathub_post(one, a, NULL, "one", 3, NULL);
    until(one, &first, CHATHUB_EVENT_MESSAGE, "one");
    chathub_post(two, b, NULL, "two", 3, NULL);
    until(two, &second, CHATHUB_EVENT_MESSAGE, "two");
    ck_assert(!has(&second, CHATHUB_EVENT_MESSAGE, "one"));
    ck_assert(!has(&second, CHATHUB_EVENT_ERROR, NULL));
    chathub_free(one);
    chathub_free(two);
}
END_TEST

START_TEST(a_forked_child_may_not_use_it_and_harms_nobody)
{
    struct chathub *hub = hub_started();
    struct heard heard = {0};
    uint64_t id = client(hub, "alice", &heard);
    until(hub, &heard, CHATHUB_EVENT_WELCOME, NULL);
    pid_t child = fork();
    if (child == 0) {
        bool refused =
            chathub_step(hub, 0) == CHATHUB_EFORK && chathub_close(hub, id) == CHATHUB_EFORK;
        chathub_free(hub);
        _exit(refused ? 0 : 1);
    }
    int status = -1;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(chathub_request(hub, id, "{\"type\":\"ping\"}", CHATHUB_NUL), 0);
    until(hub, &heard, CHATHUB_EVENT_PONG, NULL);
    chathub_free(hub);
}
END_TEST

START_TEST(starting_and_stopping_again_and_again_leaves_nothing)
{
    int before = open_descriptors();
    for (int i = 0; i < 100; i++) {
        struct chathub *hub = hub_new();
        struct heard heard = {0};
        chathub_listen(hub, "ws://127.0.0.1:0/ws");
        ck_assert_int_eq(chathub_start(hub, NULL), 0);
        client(hub, "alice", &heard);
        ck_assert_int_eq(chathub_stop(hub, NULL, NULL), 0);
        ck_assert_int_eq(chathub_run(hub), 0);
        chathub_free(hub);
    }
    ck_assert_int_eq(open_descriptors(), before);
}
END_TEST

static void woken(struct chathub *hub, void *arg)
{
    *(bool *)arg = true;
    chathub_stop(hub, NULL, NULL);
}

static void wake(void *hub)
{
    chathub_wake(hub);
}

START_TEST(another_thread_can_wake_it)
{
    bool called = false;
    uv_thread_t thread;
    struct chathub *hub = hub_new();
    chathub_on_wake(hub, woken, &called);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    uv_thread_create(&thread, wake, hub);
    ck_assert_int_eq(chathub_run(hub), 0);
    uv_thread_join(&thread);
    ck_assert(called);
    chathub_free(hub);
}
END_TEST

START_TEST(statistics_fill_what_the_caller_knows)
{
    struct chathub *hub = hub_started();
    struct heard heard = {0};
    client(hub, "alice", &heard);
    until(hub, &heard, CHATHUB_EVENT_WELCOME, NULL);
    struct chathub_stats stats = {.size = sizeof(stats)};
    ck_assert_int_eq(chathub_stats(hub, &stats), 0);
    ck_assert_uint_eq(stats.clients, 1);
    struct chathub_stats older = {.size = 16, .observers = 77};
    ck_assert_int_eq(chathub_stats(hub, &older), 0);
    ck_assert_uint_eq(older.clients, 1);
    ck_assert_uint_eq(older.observers, 77); /* beyond what an older caller has */
    ck_assert_int_eq(chathub_stats(hub, &(struct chathub_stats){.size = 0}), CHATHUB_EINVAL);
    chathub_free(hub);
}
END_TEST

/* ---- routes, asked with raw bytes */

/* What a route's callback was told last. */
struct told {
    int calls;
    int32_t method;
    uint32_t head, local;
    char path[64], query[64], address[64], origin[64], host[64];
};

static int on_route(struct chathub *hub, const struct chathub_http *request, void *arg)
{
    struct told *told = arg;
    ck_assert_uint_ge(request->size, sizeof(*request));
    *told = (struct told){
        told->calls + 1, request->method, request->head, request->local, {0}, {0}, {0}, {0}, {0}};
    snprintf(told->path, sizeof(told->path), "%s", request->path);
    snprintf(told->query, sizeof(told->query), "%s", request->query);
    snprintf(told->address, sizeof(told->address), "%s", request->address);
    snprintf(told->origin, sizeof(told->origin), "%s", request->origin);
    snprintf(told->host, sizeof(told->host), "%s", request->host);
    ck_assert_int_eq(chathub_http_body(hub, "text/plain", "done", 4), 0);
    return 200;
}

#define METHOD(word) (1u << CHATHUB_METHOD_##word)

/* A hub that listens at `url` and has one route of each kind. */
static struct chathub *hub_with_routes(const char *url, struct told *told)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_listen(hub, url), 0);
    ck_assert_int_eq(chathub_route(hub, "/get", on_route, told), 0);
    ck_assert_int_eq(
        chathub_route_methods(hub, "/do", METHOD(POST) | METHOD(DELETE), on_route, told), 0);
    ck_assert_int_eq(chathub_route_methods(hub, "/all", METHOD(GET) | METHOD(POST), on_route, told),
                     0);
    ck_assert_int_eq(chathub_route_methods(hub, "/ws", METHOD(POST), on_route, told), 0);
    ck_assert_int_eq(chathub_asset(hub, "/page", "text/html", "page", 4), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    return hub;
}

static int connect_to(const struct chathub *hub)
{
    char url[256];
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    ck_assert_int_gt(chathub_listener(hub, 0, url, sizeof(url)), 0);
    bool is_unix = strncmp(url, "ws+unix:", 8) == 0;
    if (is_unix)
        snprintf(un.sun_path, sizeof(un.sun_path), "%.*s", (int)strcspn(url + 8, "?"), url + 8);
    else
        at.sin_port = htons((uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10));
    int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(is_unix ? connect(fd, (const struct sockaddr *)&un, sizeof(un))
                             : connect(fd, (const struct sockaddr *)&at, sizeof(at)),
                     0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Everything that comes for these bytes, sent in pieces, up to the end of the connection. */
static const char *answer_to(struct chathub *hub, const char *bytes, size_t piece)
{
    static char out[8192];
    size_t len = 0, left = strlen(bytes);
    ssize_t n = -1;
    int fd = connect_to(hub);
    while (left > 0) {
        size_t some = left < piece ? left : piece;
        if (send(fd, bytes, some, MSG_NOSIGNAL) < 0)
            break; /* it was refused before its end */
        bytes += some;
        left -= some;
        chathub_step(hub, 0);
    }
    while ((n = recv(fd, out + len, sizeof(out) - 1 - len, 0)) != 0) {
        ck_assert(n > 0 || errno == EAGAIN);
        len += n > 0 ? (size_t)n : 0;
        if (n < 0)
            ck_assert_int_eq(chathub_step(hub, 10), 1);
    }
    out[len] = '\0';
    close(fd);
    return out;
}

static const struct {
    const char *head, *status;
    int calls;        /* of the route */
    const char *tail; /* what the answer holds besides; NULL: whatever */
} asked[] = {
    {"POST /do HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", 1, "\r\n\r\ndone"},
    {"POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "200 OK", 1, "done"},
    {"DELETE /do HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", 1, "done"},
    {"DELETE /do HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "200 OK", 1, "done"},
    {"POST /do HTTP/1.0\r\n\r\n", "200 OK", 1, "done"},
    {"POST /ws HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", 1, "done"},
    {"GET /all HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", 1, "done"},
    {"HEAD /all HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", 1, "Content-Length: 4\r\n"},
    {"HEAD /get HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", 1, "Content-Length: 4\r\n"},
    /* methods that are not there are told with those that are */
    {"GET /do HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed", 0, "Allow: POST, DELETE\r\n"},
    {"HEAD /do HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed", 0,
     "Allow: POST, DELETE\r\n"},
    {"PUT /do HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed", 0,
     "\r\n\r\nuse POST or DELETE\n"},
    {"DELETE /all HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed", 0,
     "Allow: GET, HEAD, POST\r\n"},
    {"POST /get HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed", 0, "Allow: GET, HEAD\r\n"},
    {"POST /page HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed", 0, "Allow: GET, HEAD\r\n"},
    {"DELETE /ws HTTP/1.1\r\nHost: x\r\n\r\n", "405 Method Not Allowed", 0, "Allow: GET, POST\r\n"},
    {"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", "426 Upgrade Required", 0, NULL},
    {"HEAD /ws HTTP/1.1\r\nHost: x\r\n\r\n", "426 Upgrade Required", 0, NULL},
    {"POST /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", "405 Method Not Allowed", 0,
     "Allow: GET\r\n"},
    {"POST /do/ HTTP/1.1\r\nHost: x\r\n\r\n", "404 Not Found", 0, NULL},
    /* bodies */
    {"POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", "413 Content Too Large", 0,
     "a request may have no body here\n"},
    {"DELETE /do HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n", "413 Content Too Large", 0,
     "a request may have no body here\n"},
    {"POST /do HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n",
     "413 Content Too Large", 0, NULL},
    {"POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551616\r\n\r\n",
     "400 Bad Request", 0, NULL},
    {"POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
     "400 Bad Request", 0, NULL},
    {"POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: 00\r\n\r\n", "400 Bad Request", 0, NULL},
    {"POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 0\r\n\r\n", "400 Bad Request", 0, NULL},
    {"POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: +0\r\n\r\n", "400 Bad Request", 0, NULL},
    {"POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "400 Bad Request", 0, NULL},
    {"POST /do HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n\r\n", "400 Bad Request", 0, NULL},
    {"POST /do HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
     "400 Bad Request", 0, NULL},
    {"POST /do HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", "400 Bad Request", 0,
     NULL},
    {"DELETE /do HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: "
     "0\r\n\r\n",
     "400 Bad Request", 0, NULL},
    /* nothing behind a request is one */
    {"POST /do HTTP/1.1\r\nHost: x\r\n\r\nPOST /do HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", 1,
     "\r\n\r\ndone"},
    {"POST /do HTTP/1.1\r\nHost: x\r\nContent-Length: 37\r\n\r\n"
     "DELETE /do HTTP/1.1\r\nHost: x\r\n\r\n",
     "413 Content Too Large", 0, NULL},
    {"PUT /do HTTP/1.1\r\nHost: x\r\n\r\nPOST /do HTTP/1.1\r\nHost: x\r\n\r\n",
     "405 Method Not Allowed", 0, NULL},
    /* origins */
    {"POST /do HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\nOrigin: http://a\r\n\r\n",
     "400 Bad Request", 0, "there may be one Origin header"},
    {"GET /get HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\norigin: http://b\r\n\r\n",
     "400 Bad Request", 0, "there may be one Origin header"},
    {"POST /do HTTP/1.1\r\nHost: x\r\nOrigin:\r\n\r\n", "400 Bad Request", 0,
     "there may be one Origin header"},
    {"POST /do HTTP/1.1\r\nHost: x\r\nOrigin: http://a\r\n\r\n", "200 OK", 1, "done"},
};
#define ASKED (sizeof(asked) / sizeof(asked[0]))

static int count_answers(const char *text)
{
    int n = 0;
    for (; (text = strstr(text, "HTTP/1.1 ")); text++)
        n++;
    return n;
}

/* The hub's end of a connection of ours, which is in the same process. */
static int other_end(int fd)
{
    struct sockaddr_in own, peer;
    socklen_t len = sizeof(own);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&own, &len), 0);
    for (int other = 0; other < 1024; other++) {
        len = sizeof(peer);
        if (getpeername(other, (struct sockaddr *)&peer, &len) == 0 && peer.sin_family == AF_INET &&
            peer.sin_port == own.sin_port)
            return other;
    }
    return -1;
}

static int option_of(int fd, int level, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);
    ck_assert_int_eq(getsockopt(fd, level, name, &value, &len), 0);
    return value;
}

/* Accepted sockets have what the listening one was given. */
START_TEST(connections_have_their_options)
{
    static const struct {
        int level, name, value;
    } options[] = {{IPPROTO_TCP, TCP_NODELAY, 1},          {SOL_SOCKET, SO_KEEPALIVE, 1},
                   {IPPROTO_TCP, TCP_KEEPIDLE, 60},        {IPPROTO_TCP, TCP_KEEPINTVL, 15},
                   {IPPROTO_TCP, TCP_KEEPCNT, 4},          {IPPROTO_TCP, TCP_USER_TIMEOUT, 91000},
                   {IPPROTO_TCP, TCP_NOTSENT_LOWAT, 65536}};
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_set(hub, "stall-time", "90s"), 0);
    ck_assert_int_eq(chathub_set(hub, "notsent", "64k"), 0);
    ck_assert_int_eq(chathub_listen(hub, "ws://127.0.0.1:0/ws"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    int fd = connect_to(hub), other;
    while ((other = other_end(fd)) < 0)
        ck_assert_int_eq(chathub_step(hub, -1), 1);
    for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++)
        ck_assert_int_eq(option_of(other, options[i].level, options[i].name), options[i].value);
    close(fd);

    /* A change holds soon for those who come then. */
    ck_assert_int_eq(chathub_set(hub, "stall-time", "100s"), 0);
    for (int timeout = 91000; timeout != 101000;) {
        fd = connect_to(hub);
        while ((other = other_end(fd)) < 0)
            ck_assert_int_eq(chathub_step(hub, -1), 1);
        timeout = option_of(other, IPPROTO_TCP, TCP_USER_TIMEOUT);
        ck_assert(timeout == 91000 || timeout == 101000);
        close(fd);
        ck_assert_int_eq(chathub_step(hub, -1), 1);
    }
    chathub_free(hub);
}
END_TEST

START_TEST(a_route_has_its_methods_and_takes_no_body)
{
    struct told told = {0};
    struct chathub *hub = hub_with_routes("ws://127.0.0.1:0/ws", &told);
    for (size_t piece = 1; piece <= 4096; piece *= 4096) {
        told.calls = 0;
        const char *answer = answer_to(hub, asked[_i].head, piece);
        ck_assert_msg(strncmp(answer + 9, asked[_i].status, strlen(asked[_i].status)) == 0 &&
                          (!asked[_i].tail || strstr(answer, asked[_i].tail)),
                      "%s\n%s", asked[_i].head, answer);
        ck_assert_int_eq(count_answers(answer), 1);
        ck_assert_int_eq(told.calls, asked[_i].calls);
        ck_assert_ptr_nonnull(strstr(answer, "\r\nConnection: close\r\n"));
    }
    chathub_free(hub);
}
END_TEST

START_TEST(a_route_is_told_who_asks_and_for_what)
{
    struct told told = {0};
    struct chathub *hub = hub_with_routes("ws://127.0.0.1:0/ws", &told);
    answer_to(hub,
              "POST /all?port=1&a=%20b HTTP/1.1\r\nOrigin: http://a.example:8\r\nHost: \tb:9 "
              "\r\n\r\n",
              4096);
    ck_assert_int_eq(told.method, CHATHUB_METHOD_POST);
    ck_assert_str_eq(told.path, "/all");
    ck_assert_str_eq(told.query, "port=1&a=%20b");
    ck_assert_str_eq(told.origin, "http://a.example:8");
    ck_assert_str_eq(told.host, "b:9");
    ck_assert_int_eq(strncmp(told.address, "127.0.0.1:", 10), 0);
    ck_assert_uint_eq(told.local, 1);
    answer_to(hub, "HEAD /all HTTP/1.0\r\n\r\n", 4096);
    ck_assert_int_eq(told.method, CHATHUB_METHOD_HEAD);
    ck_assert_uint_eq(told.head, 1);
    ck_assert_str_eq(told.query, "");
    ck_assert_str_eq(told.origin, "");
    ck_assert_str_eq(told.host, "");
    answer_to(hub, "DELETE /do HTTP/1.1\r\nHost: x\r\n\r\n", 4096);
    ck_assert_int_eq(told.method, CHATHUB_METHOD_DELETE);
    ck_assert_uint_eq(told.head, 0);
    chathub_free(hub);
}
END_TEST

START_TEST(who_comes_by_a_unix_socket_is_of_this_machine)
{
    struct told told = {0};
    char url[64];
    snprintf(url, sizeof(url), "ws+unix:/tmp/chathub-face-%ld", (long)getpid());
    struct chathub *hub = hub_with_routes(url, &told);
    answer_to(hub, "POST /do HTTP/1.1\r\nHost: x\r\n\r\n", 4096);
    ck_assert_str_eq(told.address, "unix");
    ck_assert_uint_eq(told.local, 1);
    chathub_free(hub);
}
END_TEST

START_TEST(routes_that_cannot_be_are_refused)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_route_methods(hub, "/a", 0, on_route, NULL), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_route_methods(hub, "/a", 1u << 4, on_route, NULL), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_route_methods(hub, "a", METHOD(POST), on_route, NULL), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_route_methods(hub, "/a", METHOD(POST), NULL, NULL), CHATHUB_EINVAL);
    ck_assert_str_ne(chathub_problem(hub), "");
    chathub_free(hub);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("face");
    TCase *tc = tcase_create("host");
    tcase_add_test(tc, a_post_reaches_every_member_and_is_acked);
    tcase_add_test(tc, wrong_calls_answer_errors_and_call_nothing_back);
    tcase_add_test(tc, a_closed_client_hears_closed_last_and_is_gone);
    tcase_add_test(tc, an_inbox_that_is_full_says_so);
    tcase_add_test(tc, a_decision_may_come_later_once);
    tcase_add_test(tc, a_decision_that_never_comes_is_no);
    tcase_add_test(tc, a_port_in_use_is_told_and_nothing_stays_open);
    tcase_add_test(tc, beyond_this_machine_only_with_consent);
    tcase_add_test(tc, rooms_that_cannot_be_are_told_by_option_and_name);
    tcase_add_test(tc, on_a_hosts_loop_stop_leaves_it_clean);
    tcase_add_test(tc, a_poll_lies_between_two_slices);
    tcase_add_test(tc, a_second_stop_ends_at_once);
    tcase_add_test(tc, stopping_inside_an_event_is_no_harm);
    tcase_add_test(tc, what_was_asked_before_a_stop_is_done);
    tcase_add_test(tc, closing_a_client_keeps_its_answers);
    tcase_add_test(tc, free_in_the_middle_of_a_stop_is_no_harm);
    tcase_add_test(tc, free_in_the_middle_of_a_stop_on_its_own_loop_is_no_harm);
    tcase_add_test(tc, when_a_stop_is_done_the_loop_can_be_closed);
    tcase_add_test(tc, free_without_stop_leaves_only_closing_handles);
    tcase_add_test(tc, a_foreign_loop_can_step_it);
    tcase_add_test(tc, two_hubs_share_nothing);
    tcase_add_test(tc, a_forked_child_may_not_use_it_and_harms_nobody);
    tcase_add_test(tc, starting_and_stopping_again_and_again_leaves_nothing);
    tcase_add_test(tc, another_thread_can_wake_it);
    tcase_add_test(tc, statistics_fill_what_the_caller_knows);
    tcase_add_test(tc, connections_have_their_options);
    tcase_add_loop_test(tc, a_route_has_its_methods_and_takes_no_body, 0, (int)ASKED);
    tcase_add_test(tc, a_route_is_told_who_asks_and_for_what);
    tcase_add_test(tc, who_comes_by_a_unix_socket_is_of_this_machine);
    tcase_add_test(tc, routes_that_cannot_be_are_refused);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
