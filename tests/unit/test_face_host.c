/* What a host does beside chatting, by chathub.h: erasing entries, ending clients. */
#include "face_world.h"

#include <dirent.h>
#include <sys/stat.h>

static char folder[64];

static void setup(void)
{
    snprintf(folder, sizeof(folder), "/tmp/chathub-host-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void teardown(void)
{
    char path[400];
    DIR *dir = opendir(folder);
    struct dirent *item;
    while ((item = readdir(dir))) {
        snprintf(path, sizeof(path), "%s/%s", folder, item->d_name);
        remove(path);
    }
    closedir(dir);
    rmdir(folder);
}

/* 0: in memory, 1: a file. NULL: this build has none. */
static struct chathub *hub_with_log(int kind)
{
    char log[128];
    if (kind && !chathub_has("sqlite"))
        return NULL;
    struct chathub *hub = hub_new();
    snprintf(log, sizeof(log), kind ? "sqlite:%s/log.db" : "memory", folder);
    ck_assert_int_eq(chathub_set(hub, "log", log), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    return hub;
}

static uint64_t posted(struct chathub *hub, uint64_t id, struct heard *heard, const char *text)
{
    heard->count = 0;
    ck_assert_int_eq(CALL(chathub_post(hub, id, "tea", text, CHATHUB_NUL, NULL)), 0);
    until(hub, heard, CHATHUB_EVENT_ACK, NULL);
    for (uint32_t i = 0; i < heard->count; i++)
        if (heard->types[i] == CHATHUB_EVENT_ACK)
            return heard->positions[i];
    return 0;
}

static const char *history(struct chathub *hub, uint64_t id, struct heard *heard)
{
    heard->count = 0;
    ck_assert_int_eq(
        CALL(chathub_request(hub, id, "{\"type\":\"history\",\"room\":\"tea\"}", CHATHUB_NUL)), 0);
    until(hub, heard, CHATHUB_EVENT_HISTORY, NULL);
    return heard->json;
}

static void redacted(struct chathub *hub, uint64_t id, struct heard *heard, uint64_t position)
{
    heard->count = 0;
    ck_assert_int_eq(CALL(chathub_redact(hub, id, "tea", position)), 0);
    until(hub, heard, CHATHUB_EVENT_OK, NULL);
    ck_assert_uint_eq(heard->positions[heard->count - 1], position);
}

/* Nobody is shown it any more: neither by history, nor who comes anew, nor after a restart. */
START_TEST(what_is_erased_is_shown_to_nobody)
{
    struct chathub *hub = hub_with_log(_i);
    if (!hub)
        return;
    struct heard alice = {0}, bob = {0};
    uint64_t a = client(hub, "alice", &alice), b;
    chathub_join(hub, a, "tea", CHATHUB_START_NOW, 0);
    posted(hub, a, &alice, "before");
    uint64_t position = posted(hub, a, &alice, "my secret");
    posted(hub, a, &alice, "behind");
    ck_assert_ptr_nonnull(strstr(history(hub, a, &alice), "my secret"));
    redacted(hub, a, &alice, position);
    ck_assert_ptr_null(strstr(history(hub, a, &alice), "my secret"));
    ck_assert_ptr_nonnull(strstr(alice.json, "\"redacted\":true"));
    ck_assert_ptr_nonnull(strstr(alice.json, "before"));
    b = client(hub, "bob", &bob);
    chathub_join(hub, b, "tea", CHATHUB_START_LAST, 10);
    until(hub, &bob, CHATHUB_EVENT_MESSAGE, "behind");
    ck_assert(!has(&bob, CHATHUB_EVENT_MESSAGE, "my secret"));
    ck_assert(has(&bob, CHATHUB_EVENT_MESSAGE, "")); /* its place is there */
    hub_end(hub);
    if (!_i)
        return;
    hub = hub_with_log(_i);
    struct heard carol = {0};
    uint64_t c = client(hub, "carol", &carol);
    chathub_join(hub, c, "tea", CHATHUB_START_LAST, 10);
    until(hub, &carol, CHATHUB_EVENT_MESSAGE, "behind");
    ck_assert(!has(&carol, CHATHUB_EVENT_MESSAGE, "my secret"));
    ck_assert_ptr_null(strstr(history(hub, c, &carol), "my secret"));
    hub_end(hub);
}
END_TEST

/* Nobody need be in the room, and the client that asks need not be either. */
START_TEST(an_empty_room_is_opened_for_it)
{
    struct chathub *hub = hub_with_log(_i);
    if (!hub)
        return;
    struct heard alice = {0};
    struct chathub_stats stats = {.size = sizeof(stats)};
    uint64_t a = client(hub, "alice", &alice);
    chathub_join(hub, a, "tea", CHATHUB_START_NOW, 0);
    uint64_t position = posted(hub, a, &alice, "my secret");
    chathub_leave(hub, a, "tea");
    until(hub, &alice, CHATHUB_EVENT_LEFT, NULL);
    redacted(hub, a, &alice, position);
    do
        chathub_step(hub, 0);
    while (chathub_stats(hub, &stats) == 0 && stats.rooms);
    chathub_join(hub, a, "tea", CHATHUB_START_LAST, 10);
    until(hub, &alice, CHATHUB_EVENT_JOINED, NULL);
    ck_assert_ptr_null(strstr(history(hub, a, &alice), "my secret"));
    hub_end(hub);
}
END_TEST

START_TEST(what_cannot_be_erased_is_told)
{
    struct chathub *hub = hub_with_log(_i);
    if (!hub)
        return;
    struct heard alice = {0};
    uint64_t a = client(hub, "alice", &alice);
    ck_assert_int_eq(chathub_redact(hub, a, "tea", 0), CHATHUB_EPOSITION);
    ck_assert_int_eq(chathub_redact(hub, a, "tea", UINT64_C(1) << 53), CHATHUB_EPOSITION);
    ck_assert_int_eq(chathub_redact(hub, a, "\t", 1), CHATHUB_EROOMNAME);
    ck_assert_int_eq(chathub_redact(hub, a + 1, "tea", 1), CHATHUB_EGONE);
    ck_assert_int_eq(CALL(chathub_redact(hub, a, "tea", 77)), 0);
    until(hub, &alice, CHATHUB_EVENT_ERROR, NULL);
    ck_assert_int_eq(alice.codes[alice.count - 1], CHATHUB_ENOENT);
    ck_assert_int_eq(CALL(chathub_redact(hub, a, NULL, 77)), 0); /* the default room */
    hub_end(hub);
}
END_TEST

static bool take_all; /* whether the slow one takes anything */
static char *taken;   /* what it took */
static size_t taken_len;

static int64_t slow_send(void *conn, const char *bytes, size_t len)
{
    (void)conn;
    if (!take_all)
        return 0;
    taken = realloc(taken, taken_len + len + 1);
    memcpy(taken + taken_len, bytes, len);
    taken_len += len;
    taken[taken_len] = '\0';
    return (int64_t)len;
}

static void slow_close(void *conn, int code, const char *reason)
{
    (void)conn, (void)code, (void)reason;
}

/* Who is behind it, be it in the window or by pages from the log, gets what is left of it. Each is
 * erased at another moment, so that pages are under way at some. */
START_TEST(who_is_behind_is_not_shown_it_later)
{
    static const struct chathub_carrier ops = {sizeof(ops), 0, slow_send, slow_close};
    struct chathub *hub = hub_with_log(_i & 1);
    if (!hub)
        return;
    struct heard alice = {0};
    uint64_t a = client(hub, "alice", &alice), slow, positions[40];
    char text[32];
    if (_i & 2)
        ck_assert_int_eq(chathub_set(hub, "window-bytes", "1m"), 0);
    take_all = true;
    taken_len = 0;
    chathub_join(hub, a, "tea", CHATHUB_START_NOW, 0);
    posted(hub, a, &alice, "first");
    ck_assert_int_eq(chathub_carry(hub, &ops, NULL, NULL, NULL, &slow), 0);
    chathub_carrier_line(hub, slow, "{\"type\":\"join\",\"room\":\"tea\"}", CHATHUB_NUL);
    while (!taken_len || !strstr(taken, "first"))
        chathub_step(hub, -1);
    take_all = false;
    for (int i = 0; i < 40; i++) {
        snprintf(text, sizeof(text), "secret %d.", i);
        positions[i] = posted(hub, a, &alice, text);
    }
    for (int i = 5; i < 40; i += 5)
        redacted(hub, a, &alice, positions[i]);
    take_all = true;
    chathub_carrier_writable(hub, slow);
    for (int i = 3; i < 40; i += 5) { /* pages may be under way */
        chathub_redact(hub, a, "tea", positions[i]);
        chathub_step(hub, 0);
    }
    while (!strstr(taken, "secret 39."))
        chathub_step(hub, -1);
    for (int i = 0; i < 40; i++) {
        snprintf(text, sizeof(text), "secret %d.", i);
        if (i % 5 == 0 && i)
            ck_assert_ptr_null(strstr(taken, text));
        else if (i % 5 != 3)
            ck_assert_ptr_nonnull(strstr(taken, text));
    }
    chathub_carrier_closed(hub, slow, 1);
    hub_end(hub);
    free(taken);
    taken = NULL;
}
END_TEST

/* It is answered, or done, whatever becomes of the one who asked. */
START_TEST(it_may_be_followed_by_anything)
{
    struct chathub *hub = hub_with_log(1);
    if (!hub)
        return;
    struct heard alice = {0}, bob = {0};
    uint64_t a = client(hub, "alice", &alice), b = client(hub, "bob", &bob);
    chathub_join(hub, a, "tea", CHATHUB_START_NOW, 0);
    uint64_t one = posted(hub, a, &alice, "secret one"), two = posted(hub, a, &alice, "secret two");
    ck_assert_int_eq(CALL(chathub_redact(hub, b, "tea", one)), 0);
    chathub_close(hub, b);
    ck_assert_int_eq(CALL(chathub_redact(hub, a, "tea", two)), 0);
    hub_end(hub); /* what was asked before a stop is done */
    hub = hub_with_log(1);
    struct heard carol = {0};
    uint64_t c = client(hub, "carol", &carol);
    chathub_join(hub, c, "tea", CHATHUB_START_LAST, 10);
    until(hub, &carol, CHATHUB_EVENT_JOINED, NULL);
    ck_assert_ptr_null(strstr(history(hub, c, &carol), "secret"));
    hub_end(hub);
}
END_TEST

/* -------------------------------------------------------------------------------- disconnecting */

START_TEST(an_in_process_client_is_told_and_ended)
{
    struct chathub *hub = hub_started();
    struct heard alice = {0};
    uint64_t a = client(hub, "alice", &alice);
    until(hub, &alice, CHATHUB_EVENT_WELCOME, NULL);
    ck_assert_int_eq(chathub_disconnect(hub, a, 1001, "no"), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_disconnect(hub, a, 3000, "no"), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_disconnect(hub, a, 5000, "no"), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_disconnect(hub, a, 4000, "\xff"), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_disconnect(hub, a + 1, 4000, "no"), CHATHUB_EGONE);
    ck_assert_int_eq(CALL(chathub_disconnect(hub, a, 4000, "be\nnice")), 0);
    ck_assert_int_eq(CALL(chathub_disconnect(hub, a, 4000, "be nice")), CHATHUB_EGONE);
    until(hub, &alice, CHATHUB_EVENT_CLOSED, NULL);
    ck_assert(has(&alice, CHATHUB_EVENT_BYE, "be nice"));
    ck_assert_int_eq(alice.codes[alice.count - 1], CHATHUB_EDENIED);
    ck_assert_int_eq(chathub_disconnect(hub, a, 4000, "no"), CHATHUB_EGONE);
    hub_end(hub);
}
END_TEST

struct bouncer {
    uint64_t ids[4];
    int closed;
};

static void on_bouncer(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    struct bouncer *bouncer = arg;
    if (event->type == CHATHUB_EVENT_MESSAGE)
        for (int i = 0; i < 4; i++)
            chathub_disconnect(hub, bouncer->ids[i], 1000, "the room is closed");
    bouncer->closed += event->type == CHATHUB_EVENT_CLOSED;
}

/* Inside an event delivery stands in the room's members: those beside it may be ended, too. */
START_TEST(an_event_may_end_everybody)
{
    struct chathub *hub = hub_started();
    struct bouncer bouncer = {{0}, 0};
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(chathub_client(hub, NULL, on_bouncer, &bouncer, &bouncer.ids[i]), 0);
        ck_assert_int_eq(chathub_join(hub, bouncer.ids[i], NULL, CHATHUB_START_NOW, 0), 0);
    }
    ck_assert_int_eq(chathub_post(hub, bouncer.ids[0], NULL, "hi", 2, NULL), 0);
    while (bouncer.closed < 4)
        ck_assert_int_eq(chathub_step(hub, -1), 1);
    hub_end(hub);
}
END_TEST

static const char *read_all(struct chathub *hub, int fd)
{
    static char out[4096];
    size_t len = 0;
    ssize_t n;
    while ((n = recv(fd, out + len, sizeof(out) - 1 - len, MSG_DONTWAIT)) != 0) {
        ck_assert(n > 0 || errno == EAGAIN);
        len += n > 0 ? (size_t)n : 0;
        if (n < 0)
            chathub_step(hub, 10);
    }
    for (size_t i = 0; i < len; i++) /* heads of frames */
        out[i] = out[i] ? out[i] : ' ';
    out[len] = '\0';
    return out;
}

static uint64_t asked_client;

static int note_client(struct chathub *hub, const struct chathub_question *question, void *arg)
{
    (void)hub, (void)arg;
    asked_client = question->client;
    return CHATHUB_ALLOW;
}

/* By the number that a question named. Lines have no close codes: `bye` says why. */
START_TEST(a_socket_is_told_and_closed)
{
    struct chathub *hub = hub_new();
    char long_words[1000] = "";
    for (int i = 0; i < 200; i++)
        memcpy(long_words + i * 2, "ü",
               2); /* so that it has to be cut between bytes of a character */
    ck_assert_int_eq(chathub_on_authorize(hub, 15, note_client, NULL), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    for (int web = 0; web < 2; web++) {
        int fds[2];
        /* "hi" as a masked frame with the mask 0 */
        const char *said = web ? "\x81\x82\0\0\0\0hi" : "hi\n";
        struct chathub_adoption it = {.size = sizeof(it),
                                      .as = web ? CHATHUB_ADOPT_WEBSOCKET : CHATHUB_ADOPT_LINES,
                                      .url = web ? "ws://?dialect=human" : NULL,
                                      .bytes = said,
                                      .len = web ? 8 : 3};
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        it.fd = fds[1];
        asked_client = 0;
        ck_assert_int_eq(chathub_adopt(hub, &it), 0);
        while (!asked_client)
            chathub_step(hub, -1);
        ck_assert_int_eq(CALL(chathub_disconnect(hub, asked_client, 4321, long_words)), 0);
        if (web) { /* it waits for the peer's close frame */
            chathub_step(hub, 0), chathub_step(hub, 0);
            ck_assert_int_eq(send(fds[0], "\x88\x80\0\0\0\0", 6, 0), 6);
        }
        const char *heard = read_all(hub, fds[0]);
        ck_assert_ptr_nonnull(strstr(heard, "* goodbye: üüü"));
        if (web)
            ck_assert_ptr_nonnull(strstr(heard, "\x88\x7c\x10\xe1üüü")); /* 2 + 122 bytes, 4321 */
        close(fds[0]);
    }
    hub_end(hub);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("face_host");
    TCase *tc = tcase_create("host");
    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_loop_test(tc, what_is_erased_is_shown_to_nobody, 0, 2);
    tcase_add_loop_test(tc, an_empty_room_is_opened_for_it, 0, 2);
    tcase_add_loop_test(tc, what_cannot_be_erased_is_told, 0, 2);
    tcase_add_loop_test(tc, who_is_behind_is_not_shown_it_later, 0, 4);
    tcase_add_test(tc, it_may_be_followed_by_anything);
    tcase_add_test(tc, an_in_process_client_is_told_and_ended);
    tcase_add_test(tc, an_event_may_end_everybody);
    tcase_add_test(tc, a_socket_is_told_and_closed);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
