/* Connections that a host hands over: chathub_adopt, by chathub.h and plain sockets. */
#include "face_world.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>

#define UPGRADE                                                                                    \
    "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                 \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"                 \
    "Sec-WebSocket-Protocol: chathub.v1\r\n\r\n"
#define HELLO "{\"type\":\"hello\",\"name\":\"alice\"}"
#define PING  "{\"type\":\"ping\",\"ref\":7}"

/* Bytes to be sent, and what came back. */
struct talk {
    char out[1024];
    size_t out_len;
    char in[16384];
    size_t in_len;
    bool ended; /* the other side has closed */
    int fd;     /* our end */
};

static void say(struct talk *talk, const char *text)
{
    memcpy(talk->out + talk->out_len, text, strlen(text));
    talk->out_len += strlen(text);
}

/* A masked text frame. */
static void say_frame(struct talk *talk, const char *text)
{
    static const char mask[] = {1, 2, 3, 4};
    size_t len = strlen(text);
    char *at = talk->out + talk->out_len;
    ck_assert_uint_lt(len, 126);
    *at++ = (char)0x81;
    *at++ = (char)(0x80 | len);
    memcpy(at, mask, 4);
    at += 4;
    for (size_t i = 0; i < len; i++)
        *at++ = (char)(text[i] ^ mask[i % 4]);
    talk->out_len = (size_t)(at - talk->out);
}

static void hear(struct talk *talk)
{
    ssize_t n;
    while ((n = recv(talk->fd, talk->in + talk->in_len, sizeof(talk->in) - 1 - talk->in_len,
                     MSG_DONTWAIT)) > 0)
        talk->in_len += (size_t)n;
    talk->in[talk->in_len] = '\0';
    talk->ended |= n == 0;
}

/* Whether a text came; frames hold NULs in their heads. */
static bool came(const struct talk *talk, const char *text)
{
    return memmem(talk->in, talk->in_len, text, strlen(text)) != NULL;
}

static void until_came(struct chathub *hub, struct talk *talk, const char *text)
{
    while (hear(talk), !came(talk, text)) {
        ck_assert_msg(!talk->ended, "ended without %s", text);
        ck_assert_int_eq(chathub_step(hub, 10), 1);
    }
}

static void until_ended(struct chathub *hub, struct talk *talk)
{
    while (hear(talk), !talk->ended)
        chathub_step(hub, 10);
}

/* Two ends of a connection; the host's is answered. */
static int pair(struct talk *talk, bool tcp)
{
    int fds[2];
    if (!tcp) {
        ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
        talk->fd = fds[0];
        return fds[1];
    }
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&at, sizeof(at)), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&at, &len), 0);
    talk->fd = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(talk->fd, (struct sockaddr *)&at, sizeof(at)), 0);
    int fd = accept(listener, NULL, NULL);
    close(listener);
    return fd;
}

static int adopt(struct chathub *hub, int as, int fd, const char *url, const void *bytes,
                 size_t len)
{
    struct chathub_adoption it = {.size = sizeof(it),
                                  .as = as,
                                  .fd = fd,
                                  .url = url,
                                  .bytes = bytes,
                                  .len = len,
                                  .subprotocol =
                                      as == CHATHUB_ADOPT_WEBSOCKET ? "chathub.v1" : NULL};
    return CALL(chathub_adopt(hub, &it));
}

/* ---------------------------------------------------------------------------------------- kinds */

static void script(struct talk *talk, int as)
{
    if (as == CHATHUB_ADOPT_LINES) {
        say(talk, HELLO "\n" PING "\n");
        return;
    }
    if (as == CHATHUB_ADOPT_HTTP)
        say(talk, UPGRADE);
    say_frame(talk, HELLO);
    say_frame(talk, PING);
}

static const char *url_of(int as)
{
    return as == CHATHUB_ADOPT_LINES ? "tcp://?dialect=native" : NULL;
}

/* Whatever the host has read is heard first and once, and the rest behind it. */
START_TEST(bytes_may_be_cut_anywhere)
{
    int as = _i % 3;
    bool tcp = _i / 3;
    size_t len = 1;
    for (size_t cut = 0; cut <= len; cut++) {
        struct chathub *hub = hub_started();
        struct talk talk = {0};
        script(&talk, as);
        len = talk.out_len;
        int fd = pair(&talk, tcp);
        ck_assert_int_eq(adopt(hub, as, fd, url_of(as), talk.out, cut), 0);
        ck_assert_int_eq(send(talk.fd, talk.out + cut, len - cut, 0), (ssize_t)(len - cut));
        until_came(hub, &talk, "\"pong\",\"ref\":7");
        ck_assert(came(&talk, "\"alice\""));
        ck_assert_int_eq(came(&talk, "HTTP/1.1 101"), as == CHATHUB_ADOPT_HTTP);
        ck_assert(!came(&talk, "\"error\""));
        close(talk.fd);
        chathub_free(hub);
    }
}
END_TEST

START_TEST(a_byte_at_a_time_is_enough)
{
    struct chathub *hub = hub_started();
    struct talk talk = {0};
    script(&talk, _i);
    int fd = pair(&talk, true);
    ck_assert_int_eq(adopt(hub, _i, fd, url_of(_i), NULL, 0), 0);
    for (size_t i = 0; i < talk.out_len; i++) {
        ck_assert_int_eq(send(talk.fd, talk.out + i, 1, 0), 1);
        chathub_step(hub, 0);
    }
    until_came(hub, &talk, "\"pong\",\"ref\":7");
    close(talk.fd);
    hub_end(hub);
}
END_TEST

START_TEST(it_has_what_accepted_ones_have)
{
    struct chathub *hub = hub_started();
    struct talk talk = {0};
    int fd = pair(&talk, true), value = 0;
    socklen_t len = sizeof(value);
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_HTTP, fd, NULL, NULL, 0), 0);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
    ck_assert_int_eq(value, 1);
    ck_assert_int_eq(getsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
    ck_assert_int_eq(value, 1);
    close(talk.fd);
    hub_end(hub);
}
END_TEST

/* Routes, assets and refusals as on a listener, at the path that the URL says. */
START_TEST(http_is_answered_as_on_a_listener)
{
    static const struct {
        const char *url, *head, *answer;
    } asked[] = {
        {NULL, "GET /page HTTP/1.1\r\nHost: x\r\n\r\n", "\r\n\r\nthe page"},
        {NULL, "GET /none HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"},
        {NULL, "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426"},
        {"ws:///chat", "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 404"},
        {"ws:///chat?room=tea", "GET /chat HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426"},
        {"ws://192.0.2.1:80/chat", "GET /chat HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 426"},
        {NULL, "nonsense\r\n\r\n", "HTTP/1.1 400"},
    };
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_asset(hub, "/page", "text/html", "the page", 8), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    for (size_t i = 0; i < sizeof(asked) / sizeof(*asked); i++) {
        struct talk talk = {0};
        int fd = pair(&talk, i % 2);
        ck_assert_int_eq(
            adopt(hub, CHATHUB_ADOPT_HTTP, fd, asked[i].url, asked[i].head, strlen(asked[i].head)),
            0);
        until_came(hub, &talk, asked[i].answer);
        until_ended(hub, &talk);
        close(talk.fd);
    }
    chathub_free(hub);
}
END_TEST

START_TEST(the_url_says_what_a_listeners_says)
{
    struct chathub *hub = hub_started();
    struct talk talk = {0};
    int fd = pair(&talk, false);
    char url[128];
    const char *line = "hello\n";
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_LINES, fd, "tcp://?dialect=human&room=tea%20time",
                           line, strlen(line)),
                     0);
    until_came(hub, &talk, "tea time");
    ck_assert_int_eq(chathub_listener(hub, 0, url, sizeof(url)), CHATHUB_ENOENT);
    close(talk.fd);
    hub_end(hub);
}
END_TEST

/* Without an agreed subprotocol the URL, or else the first frame, tells the dialect. */
START_TEST(a_websocket_of_the_hosts_may_speak_any_dialect)
{
    struct chathub *hub = hub_started();
    struct talk talk = {0};
    struct chathub_adoption it = {.size = sizeof(it), .as = CHATHUB_ADOPT_WEBSOCKET};
    it.url = "ws://?dialect=human&room=tea";
    it.fd = pair(&talk, false);
    say_frame(&talk, "hi there");
    it.bytes = talk.out;
    it.len = talk.out_len;
    it.subprotocol = "something";
    ck_assert_int_eq(CALL(chathub_adopt(hub, &it)), 0);
    until_came(hub, &talk, ": hi there");
    close(talk.fd);
    it.url = "ws://?dialect=minichat";
    it.fd = pair(&talk, false);
    ck_assert_int_eq(CALL(chathub_adopt(hub, &it)), CHATHUB_EADDRESS);
    ck_assert_ptr_nonnull(strstr(chathub_problem(hub), "before"));
    close(it.fd);
    close(talk.fd);
    hub_end(hub);
}
END_TEST

/* ------------------------------------------------------------------------------------- refusals */

static void refused(struct chathub *hub, int error, int as, int fd, const char *url, size_t len)
{
    static char many[65537];
    int flags = fd < 0 ? 0 : fcntl(fd, F_GETFL);
    ck_assert_int_eq(adopt(hub, as, fd, url, many, len), error);
    ck_assert_str_ne(chathub_problem(hub), "");
    if (fd >= 0)
        ck_assert_int_eq(fcntl(fd, F_GETFL), flags);
}

START_TEST(what_cannot_be_adopted_stays_as_it_is)
{
    struct chathub *hub = hub_new();
    struct talk talk = {0};
    int fd = pair(&talk, false), pipes[2];
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_HTTP, fd, NULL, NULL, 0), CHATHUB_ESTOPPED);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    int packets = socket(AF_UNIX, SOCK_DGRAM, 0), loose = socket(AF_INET, SOCK_STREAM, 0);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(pipe(pipes), 0);
    refused(hub, CHATHUB_EINVAL, CHATHUB_ADOPT_HTTP, -1, NULL, 0);
    refused(hub, CHATHUB_EINVAL, CHATHUB_ADOPT_HTTP, 1 << 29, NULL, 0);
    refused(hub, CHATHUB_EINVAL, CHATHUB_ADOPT_HTTP, pipes[0], NULL, 0);
    refused(hub, CHATHUB_EINVAL, CHATHUB_ADOPT_LINES, packets, NULL, 0);
    refused(hub, CHATHUB_EINVAL, CHATHUB_ADOPT_WEBSOCKET, loose, NULL, 0);
    refused(hub, CHATHUB_EINVAL, CHATHUB_ADOPT_HTTP, listener, NULL, 0);
    refused(hub, CHATHUB_EINVAL, 3, fd, NULL, 0);
    refused(hub, CHATHUB_EINVAL, -1, fd, NULL, 0);
    refused(hub, CHATHUB_EINVAL, CHATHUB_ADOPT_HTTP, fd, NULL, 65537);
    refused(hub, CHATHUB_EADDRESS, CHATHUB_ADOPT_HTTP, fd, "tcp://", 0);
    refused(hub, CHATHUB_EADDRESS, CHATHUB_ADOPT_LINES, fd, "ws://", 0);
    refused(hub, CHATHUB_EADDRESS, CHATHUB_ADOPT_LINES, fd, "tcp://?dialect=klingon", 0);
    refused(hub, CHATHUB_EADDRESS, CHATHUB_ADOPT_HTTP, fd, "ws://?rooms=a", 0);
    refused(hub, CHATHUB_EADDRESS, CHATHUB_ADOPT_LINES, fd, "tcp://?room=a%01b", 0);
    struct chathub_adoption small = {.size = 8, .fd = fd};
    ck_assert_int_eq(chathub_adopt(hub, &small), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_adopt(hub, NULL), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_step(hub, 0), 1);
    ck_assert_int_eq(send(talk.fd, "x", 1, 0), 1); /* nobody else has it */
    char byte;
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 1);
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_LINES, fd, NULL, "hi\n", 3), 0);
    until_came(hub, &talk, ": hi\n");
    close(talk.fd), close(packets), close(loose), close(listener), close(pipes[0]), close(pipes[1]);
    hub_end(hub);
}
END_TEST

START_TEST(too_many_urls_are_told_and_equal_ones_share)
{
    struct chathub *hub = hub_started();
    struct talk talks[70];
    char url[64];
    int error = 0, i = 0;
    for (; i < 70 && !error; i++) {
        snprintf(url, sizeof(url), "tcp://?room=room-%d", i);
        int fd = pair(&talks[i], false);
        error = adopt(hub, CHATHUB_ADOPT_LINES, fd, url, NULL, 0);
        if (error)
            close(fd);
    }
    ck_assert_int_eq(error, CHATHUB_EFULL);
    ck_assert_int_eq(i, 65);
    close(talks[--i].fd);
    for (int again = 0; again < 200; again++) {
        struct talk talk;
        ck_assert_int_eq(
            adopt(hub, CHATHUB_ADOPT_LINES, pair(&talk, false), "tcp://?room=room-7", NULL, 0), 0);
        close(talk.fd);
    }
    while (i > 0)
        close(talks[--i].fd);
    hub_end(hub);
}
END_TEST

/* The bounds of those who have not said anything yet hold for adopted ones, too. */
START_TEST(newcomers_are_bounded)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_set(hub, "max-handshakes", "2"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    struct talk talks[3] = {{{0}, 0, {0}, 0, false, 0}};
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_HTTP, pair(&talks[0], true), NULL, NULL, 0), 0);
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_LINES, pair(&talks[1], true), NULL, NULL, 0), 0);
    int fd = pair(&talks[2], true);
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_HTTP, fd, NULL, NULL, 0), CHATHUB_EFULL);
    ck_assert_int_eq(send(talks[1].fd, "hi\n", 3, 0), 3);
    until_came(hub, &talks[1], ": hi\n");
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_HTTP, fd, NULL, NULL, 0), 0);
    for (int i = 0; i < 3; i++)
        close(talks[i].fd);
    hub_end(hub);
}
END_TEST

/* Nobody new while the hub is full: the host is told, as far as it is known by then. */
START_TEST(clients_are_bounded)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_set(hub, "max-clients", "1"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    struct talk first = {0}, second = {0}, third = {0};
    int fds[] = {pair(&first, false), pair(&second, false), pair(&third, false)};
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_WEBSOCKET, fds[0], NULL, NULL, 0), 0);
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_WEBSOCKET, fds[1], NULL, NULL, 0), 0);
    while (hear(&first), hear(&second), !first.ended && !second.ended)
        ck_assert_int_eq(chathub_step(hub, 10), 1);              /* one was faster */
    ck_assert(came(first.ended ? &first : &second, "\x03\xf5")); /* 1013 */
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_LINES, fds[2], NULL, NULL, 0), CHATHUB_EFULL);
    close(fds[2]);
    close(first.fd), close(second.fd), close(third.fd);
    hub_end(hub);
}
END_TEST

/* ------------------------------------------------------------------------------------ callbacks */

static int adopting_route(struct chathub *hub, const struct chathub_http *request, void *arg)
{
    (void)request;
    ck_assert(!inside_call);
    for (int i = 0; i < 100; i++) { /* so that what net keeps has to grow */
        struct talk *talks = arg;
        ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_LINES, pair(&talks[i], false), NULL, "hi\n", 3),
                         0);
    }
    chathub_http_body(hub, "text/plain", "done", 4);
    return 200;
}

START_TEST(a_route_may_adopt)
{
    static struct talk talks[100];
    struct talk asking = {0};
    struct chathub *hub = hub_new();
    const char *head = "GET /more HTTP/1.1\r\nHost: x\r\n\r\n";
    memset(talks, 0, sizeof(talks));
    ck_assert_int_eq(chathub_route(hub, "/more", adopting_route, talks), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_HTTP, pair(&asking, true), NULL, head, strlen(head)),
                     0);
    until_came(hub, &asking, "\r\n\r\ndone");
    for (int i = 0; i < 100; i++) {
        until_came(hub, &talks[i], ": hi\n");
        close(talks[i].fd);
    }
    close(asking.fd);
    hub_end(hub);
}
END_TEST

struct doorman {
    struct talk talk;
    bool done;
};

static void adopting_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    struct doorman *doorman = arg;
    ck_assert(!inside_call);
    if (event->type != CHATHUB_EVENT_MESSAGE || doorman->done)
        return;
    doorman->done = true;
    script(&doorman->talk, CHATHUB_ADOPT_WEBSOCKET);
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_WEBSOCKET, pair(&doorman->talk, false), NULL,
                           doorman->talk.out, doorman->talk.out_len),
                     0);
}

START_TEST(an_event_may_adopt)
{
    struct doorman doorman = {0};
    struct chathub *hub = hub_started();
    uint64_t id;
    ck_assert_int_eq(chathub_client(hub, "bob", adopting_event, &doorman, &id), 0);
    ck_assert_int_eq(chathub_join(hub, id, NULL, CHATHUB_START_NOW, 0), 0);
    ck_assert_int_eq(chathub_post(hub, id, NULL, "open", 4, NULL), 0);
    while (!doorman.done)
        chathub_step(hub, -1);
    until_came(hub, &doorman.talk, "\"pong\"");
    close(doorman.talk.fd);
    hub_end(hub);
}
END_TEST

/* Who observes or enters at once asks the host, which is in its call. */
static int deciding(struct chathub *hub, const struct chathub_question *question, void *arg)
{
    (void)hub, (void)question;
    ck_assert(!inside_call);
    ++*(int *)arg;
    return CHATHUB_ALLOW;
}

START_TEST(nothing_is_asked_within_the_call)
{
    int asked = 0;
    struct talk talk = {0};
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_on_authorize(hub, 15, deciding, &asked), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    struct chathub_adoption it = {.size = sizeof(it), .as = CHATHUB_ADOPT_WEBSOCKET};
    it.url = "ws://?dialect=realtime";
    it.fd = pair(&talk, false);
    ck_assert_int_eq(CALL(chathub_adopt(hub, &it)), 0);
    ck_assert_int_eq(asked, 0);
    struct talk lines = {0};
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_LINES, pair(&lines, false), NULL, "hi\n", 3), 0);
    until_came(hub, &lines, ": hi\n");
    ck_assert_int_gt(asked, 0);
    close(talk.fd), close(lines.fd);
    hub_end(hub);
}
END_TEST

/* ------------------------------------------------------------------------------------- the ends */

START_TEST(a_stop_says_goodbye_to_them)
{
    struct chathub *hub = hub_started();
    struct talk web = {0}, lines = {0}, fresh = {0}, unheard = {0};
    bool done = false;
    script(&web, CHATHUB_ADOPT_WEBSOCKET);
    ck_assert_int_eq(
        adopt(hub, CHATHUB_ADOPT_WEBSOCKET, pair(&web, true), NULL, web.out, web.out_len), 0);
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_LINES, pair(&lines, false), NULL, "hi\n", 3), 0);
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_HTTP, pair(&fresh, false), NULL, "GET", 3), 0);
    until_came(hub, &web, "\"pong\"");
    until_came(hub, &lines, ": hi\n");
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_LINES, pair(&unheard, false), NULL, "hi\n", 3), 0);
    ck_assert_int_eq(CALL(chathub_stop(hub, stopped, &done)), 0);
    struct talk late = {0};
    int fd = pair(&late, false);
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_HTTP, fd, NULL, NULL, 0), CHATHUB_ESTOPPED);
    close(fd), close(late.fd);
    until_ended(hub, &lines);
    until_ended(hub, &fresh);
    until_ended(hub, &unheard);
    close(lines.fd), close(fresh.fd), close(unheard.fd);
    until_came(hub, &web, "\"bye\"");
    close(web.fd);
    while (!done)
        chathub_step(hub, 10);
    chathub_free(hub);
}
END_TEST

/* The end of both sides comes together with the hub's goodbye, while what was handed over still waits
 * to be looked at. */
START_TEST(who_hangs_up_at_a_stop_does_not_hold_it_up)
{
    for (int round = 0; round < 40; round++) {
        struct chathub *hub = hub_started();
        struct talk talks[4];
        for (int i = 0; i < 4; i++) {
            must(adopt(hub, CHATHUB_ADOPT_LINES, pair(&talks[i], false), NULL, "hi\n", 3) == 0);
            must(shutdown(talks[i].fd, SHUT_WR) == 0);
        }
        hub_end(hub);
        for (int i = 0; i < 4; i++)
            close(talks[i].fd);
    }
}
END_TEST

START_TEST(a_hub_that_is_freed_closes_them)
{
    struct chathub *hub = hub_started();
    struct talk web = {0}, fresh = {0};
    script(&web, CHATHUB_ADOPT_WEBSOCKET);
    ck_assert_int_eq(
        adopt(hub, CHATHUB_ADOPT_WEBSOCKET, pair(&web, true), NULL, web.out, web.out_len), 0);
    ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_HTTP, pair(&fresh, true), NULL, "GET", 3), 0);
    chathub_free(hub);
    char byte;
    ck_assert_int_le(recv(web.fd, &byte, 1, 0), 0);
    ck_assert_int_le(recv(fresh.fd, &byte, 1, 0), 0);
    close(web.fd), close(fresh.fd);
}
END_TEST

START_TEST(on_the_hosts_loop_it_is_the_same)
{
    uv_loop_t loop;
    struct talk talk = {0};
    bool done = false;
    uv_loop_init(&loop);
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_start(hub, &loop), 0);
    uv_run(&loop, UV_RUN_NOWAIT);
    script(&talk, CHATHUB_ADOPT_HTTP);
    ck_assert_int_eq(
        adopt(hub, CHATHUB_ADOPT_HTTP, pair(&talk, true), NULL, talk.out, talk.out_len), 0);
    while (hear(&talk), !came(&talk, "\"pong\""))
        uv_run(&loop, UV_RUN_ONCE);
    close(talk.fd);
    ck_assert_int_eq(chathub_stop(hub, stopped, &done), 0);
    uv_run(&loop, UV_RUN_DEFAULT);
    ck_assert(done);
    ck_assert_int_eq(uv_loop_close(&loop), 0);
    chathub_free(hub);
}
END_TEST

/* Whether the hub's own thread waits. */
static bool sleeps(void)
{
    char path[300], text[128], state = 0;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *entry; (entry = readdir(dir));) {
        snprintf(path, sizeof(path), "/proc/self/task/%s/stat", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file && fgets(text, sizeof(text), file) && strstr(text, "(chathub)"))
            state = strstr(text, "(chathub)")[10];
        if (file)
            fclose(file);
    }
    closedir(dir);
    return state == 'S';
}

/* All that was said is in `bytes`: nothing but the call can wake the thread, until a timer of its own
 * does a second later; then this takes longer than a test may. */
START_TEST(a_thread_that_sleeps_is_woken_for_it)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_start_thread(hub), 0);
    for (int i = 0; i < 500; i++) {
        struct talk talk = {0};
        struct pollfd fd = {.events = POLLIN};
        int theirs = pair(&talk, false);
        say(&talk, PING "\n");
        while (!sleeps())
            sched_yield();
        ck_assert_int_eq(adopt(hub, CHATHUB_ADOPT_LINES, theirs, "tcp://?dialect=native", talk.out,
                               talk.out_len),
                         0);
        fd.fd = talk.fd;
        while (hear(&talk), !came(&talk, "\"pong\",\"ref\":7"))
            ck_assert_int_eq(poll(&fd, 1, -1), 1);
        close(talk.fd);
    }
    chathub_free(hub);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("face_adopt");
    TCase *tc = tcase_create("adopt");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, bytes_may_be_cut_anywhere, 0, 6);
    tcase_add_loop_test(tc, a_byte_at_a_time_is_enough, 0, 3);
    tcase_add_test(tc, it_has_what_accepted_ones_have);
    tcase_add_test(tc, http_is_answered_as_on_a_listener);
    tcase_add_test(tc, the_url_says_what_a_listeners_says);
    tcase_add_test(tc, a_websocket_of_the_hosts_may_speak_any_dialect);
    tcase_add_test(tc, what_cannot_be_adopted_stays_as_it_is);
    tcase_add_test(tc, too_many_urls_are_told_and_equal_ones_share);
    tcase_add_test(tc, newcomers_are_bounded);
    tcase_add_test(tc, clients_are_bounded);
    tcase_add_test(tc, a_route_may_adopt);
    tcase_add_test(tc, an_event_may_adopt);
    tcase_add_test(tc, nothing_is_asked_within_the_call);
    tcase_add_test(tc, a_stop_says_goodbye_to_them);
    tcase_add_test(tc, who_hangs_up_at_a_stop_does_not_hold_it_up);
    tcase_add_test(tc, a_hub_that_is_freed_closes_them);
    tcase_add_test(tc, on_the_hosts_loop_it_is_the_same);
    tcase_add_test(tc, a_thread_that_sleeps_is_woken_for_it);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
