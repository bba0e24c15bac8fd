/* Sockets that listen before the hub gets them: chathub_listen_fd, by chathub.h and plain sockets. */
#include "face_world.h"

#include <arpa/inet.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/un.h>

#define PING "{\"type\":\"ping\",\"ref\":7}\n"

union place {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    struct sockaddr_un un;
};

static int listens_at(const union place *place, socklen_t len)
{
    int off = 0, fd = socket(place->any.sa_family, SOCK_STREAM, 0);
    ck_assert_int_ge(fd, 0);
    if (place->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    ck_assert_int_eq(bind(fd, &place->any, len), 0);
    ck_assert_int_eq(listen(fd, 16), 0);
    return fd;
}

/* A socket that listens at 127.0.0.1, at the port that *port says; 0: any, which it becomes. */
static int listens(unsigned *port)
{
    union place place = {.four = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)*port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(place.four);
    int fd = listens_at(&place, len);
    ck_assert_int_eq(getsockname(fd, &place.any, &len), 0);
    *port = ntohs(place.four.sin_port);
    return fd;
}

static union place unix_place(const char *path)
{
    union place place = {.un = {.sun_family = AF_UNIX}};
    snprintf(place.un.sun_path, sizeof(place.un.sun_path), "%s", path);
    return place;
}

static int reach(unsigned port)
{
    union place place = {.four = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, &place.any, sizeof(place.four)), 0);
    return fd;
}

/* Asks, and steps the hub until it was answered. */
static void is_served(struct chathub *hub, int fd)
{
    char in[256] = "";
    ck_assert_int_eq(send(fd, PING, strlen(PING), MSG_NOSIGNAL), (ssize_t)strlen(PING));
    ssize_t n;
    while ((n = recv(fd, in, sizeof(in) - 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN)
        ck_assert_int_eq(chathub_step(hub, 10), 1);
    ck_assert_int_gt(n, 0);
    ck_assert_ptr_nonnull(strstr(in, "\"pong\""));
}

static struct chathub *hub_at(const char *url)
{
    struct chathub *hub = hub_new();
    ck_assert_int_eq(chathub_listen(hub, url), 0);
    return hub;
}

static struct chathub *hub_with(const char *url, int fd)
{
    struct chathub *hub = hub_at(url);
    ck_assert_int_eq(CALL(chathub_listen_fd(hub, fd)), 0);
    return hub;
}

START_TEST(it_is_served_and_its_port_is_told)
{
    char url[64], told[64];
    unsigned port = 0;
    int fd = listens(&port);
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", _i ? port : 0);
    struct chathub *hub = hub_with(url, fd);
    ck_assert_int_eq(fcntl(fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, O_NONBLOCK);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    chathub_listener(hub, 0, told, sizeof(told));
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", port);
    ck_assert_str_eq(told, url);
    int peer = reach(port);
    is_served(hub, peer);
    close(peer);
    hub_end(hub);
    ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
}
END_TEST

START_TEST(who_comes_between_two_hubs_is_served_by_the_second)
{
    unsigned port = 0;
    int keeper = listens(&port);
    struct chathub *hub = hub_with("tcp://127.0.0.1:0", dup(keeper));
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    hub_end(hub);
    int peer = reach(port);
    hub = hub_with("tcp://127.0.0.1:0", dup(keeper));
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    is_served(hub, peer);
    close(peer);
    close(keeper);
    hub_end(hub);
}
END_TEST

/* While it says goodbye to one who is slow to go, others wait at a socket that is no longer its. */
START_TEST(a_stop_rests_while_others_come)
{
    unsigned port = 0;
    int keeper = listens(&port);
    bool done = false;
    struct chathub *hub = hub_with("tcp://127.0.0.1:0", dup(keeper));
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    int slow = reach(port);
    is_served(hub, slow);
    ck_assert_int_eq(chathub_stop(hub, stopped, &done), 0);
    int later = reach(port);
    struct pollfd loop = {.fd = chathub_fd(hub), .events = POLLIN};
    int steps = 0;
    while (steps < 1000 && (chathub_timeout(hub) == 0 || poll(&loop, 1, 0) > 0)) {
        chathub_step(hub, 0);
        steps++;
    }
    ck_assert(!done);
    ck_assert_int_lt(steps, 1000);
    close(slow);
    while (!done)
        chathub_step(hub, 10);
    chathub_free(hub);
    close(later);
    close(keeper);
}
END_TEST

START_TEST(a_unix_sockets_file_stays)
{
    char folder[] = "/tmp/face_listen-XXXXXX", path[64], url[96];
    struct stat st;
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/socket", folder);
    snprintf(url, sizeof(url), "tcp+unix:%s", path);
    union place place = unix_place(path);
    int keeper = listens_at(&place, sizeof(place.un));
    struct chathub *hub = hub_with(url, dup(keeper));
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    hub_end(hub);
    ck_assert_int_eq(stat(path, &st), 0);
    int peer = socket(AF_UNIX, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(peer, &place.any, sizeof(place.un)), 0);
    hub = hub_with(url, keeper);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    is_served(hub, peer);
    close(peer);
    hub_end(hub);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(rmdir(folder), 0);
}
END_TEST

/* `localhost` is two addresses: one, or each, may be passed. */
START_TEST(localhost_takes_one_for_each_of_its_addresses)
{
    unsigned port = 0;
    int four = listens(&port), six = -1;
    union place place = {.six = {.sin6_family = AF_INET6,
                                 .sin6_port = htons((uint16_t)port),
                                 .sin6_addr = IN6ADDR_LOOPBACK_INIT}};
    struct chathub *hub = hub_with("tcp://localhost:0", four);
    if (_i) {
        six = listens_at(&place, sizeof(place.six));
        ck_assert_int_eq(chathub_listen_fd(hub, six), 0);
    }
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    int peer = reach(port);
    is_served(hub, peer);
    close(peer);
    peer = socket(AF_INET6, SOCK_STREAM, 0);
    ck_assert_int_eq(connect(peer, &place.any, sizeof(place.six)), 0);
    is_served(hub, peer);
    close(peer);
    hub_end(hub);
}
END_TEST

/* A listener that names the port comes before one that takes any. */
START_TEST(each_socket_finds_its_own_listener)
{
    char url[64], told[64];
    unsigned first = 0, second = 0;
    int one = listens(&first), two = listens(&second);
    struct chathub *hub = hub_at("ws://127.0.0.1:0/ws");
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", second);
    ck_assert_int_eq(chathub_listen(hub, url), 0);
    ck_assert_int_eq(chathub_listen_fd(hub, two), 0);
    ck_assert_int_eq(chathub_listen_fd(hub, one), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    chathub_listener(hub, 0, told, sizeof(told));
    snprintf(url, sizeof(url), "ws://127.0.0.1:%u/ws", first);
    ck_assert_str_eq(told, url);
    hub_end(hub);
}
END_TEST

static void must_refuse(struct chathub *hub, int fd, int error, const char *why)
{
    int as = fcntl(fd, F_GETFD), flags = fcntl(fd, F_GETFL);
    ck_assert_int_eq(CALL(chathub_listen_fd(hub, fd)), error);
    ck_assert_msg(strstr(chathub_problem(hub), why), "%s", chathub_problem(hub));
    ck_assert_int_eq(fcntl(fd, F_GETFD), as);
    ck_assert_int_eq(fcntl(fd, F_GETFL), flags);
}

START_TEST(what_cannot_be_used_stays_as_it_is)
{
    unsigned port = 0, other = 0;
    int fds[2], fd = listens(&port), also = listens(&other);
    char url[64], place[64];
    union place nowhere = {.un = {.sun_family = AF_UNIX, .sun_path = "\0chathub-test"}};
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", port);
    struct chathub *hub = hub_at(url);
    must_refuse(hub, -1, CHATHUB_EINVAL, "descriptor -1 is not open");
    int none = open("/dev/null", O_RDONLY);
    must_refuse(hub, none, CHATHUB_EINVAL, "is no socket");
    close(none);
    must_refuse(hub, none, CHATHUB_EINVAL, "is not open");
    int udp = socket(AF_INET, SOCK_DGRAM, 0), deaf = socket(AF_INET, SOCK_STREAM, 0);
    must_refuse(hub, udp, CHATHUB_EINVAL, "is no stream socket of TCP or Unix");
    must_refuse(hub, deaf, CHATHUB_EINVAL, "does not listen");
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    must_refuse(hub, fds[0], CHATHUB_EINVAL, "does not listen");
    snprintf(place, sizeof(place), "127.0.0.1:%u, where there is to be no listener", other);
    must_refuse(hub, also, CHATHUB_ENOENT, place);
    int abstract = listens_at(&nowhere, sizeof(sa_family_t) + 13);
    must_refuse(hub, abstract, CHATHUB_ENOENT, "listens at @chathub-test, where");
    int again = dup(fd);
    ck_assert_int_eq(chathub_listen_fd(hub, fd), 0);
    must_refuse(hub, again, CHATHUB_EINUSE, "the listener there has already");
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    ck_assert_int_eq(chathub_listen_fd(hub, again), CHATHUB_ESTARTED);
    chathub_free(hub);
    ck_assert_int_eq(chathub_listen_fd(NULL, fd), CHATHUB_EINVAL);
    int left[] = {udp, deaf, fds[0], fds[1], also, abstract, again};
    for (size_t i = 0; i < sizeof(left) / sizeof(left[0]); i++)
        ck_assert_int_eq(close(left[i]), 0);
}
END_TEST

START_TEST(a_failed_start_keeps_it_for_the_next)
{
    char url[64];
    unsigned port = 0, taken = 0;
    int fd = listens(&port), blocker = listens(&taken);
    struct chathub *hub = hub_with("tcp://127.0.0.1:0", fd);
    snprintf(url, sizeof(url), "tcp://127.0.0.1:%u", taken);
    ck_assert_int_eq(chathub_listen(hub, url), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), CHATHUB_EINUSE);
    int peer = reach(port);
    close(blocker);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    is_served(hub, peer);
    close(peer);
    hub_end(hub);
    hub = hub_with("tcp://127.0.0.1:0", fd = listens(&taken));
    chathub_free(hub); /* never started */
    ck_assert_int_lt(fcntl(fd, F_GETFD), 0);
}
END_TEST

static void on_log(const struct chathub_record *record, void *arg)
{
    if (strcmp(record->event, "connected") != 0)
        return;
    for (size_t i = 0; i < record->count; i++)
        if (strcmp(record->fields[i].key, "address") == 0)
            snprintf(arg, 64, "%s", record->fields[i].value);
}

/* By their own addresses: limits for one address are not one for all of IPv4. */
START_TEST(ipv4_at_a_socket_for_both_is_ipv4)
{
    char address[64] = "";
    union place place = {.six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT}};
    socklen_t len = sizeof(place.six);
    int fd = listens_at(&place, len);
    ck_assert_int_eq(getsockname(fd, &place.any, &len), 0);
    struct chathub *hub = hub_with("tcp://[::]:0", fd);
    ck_assert_int_eq(chathub_start(hub, NULL), CHATHUB_EINSECURE);
    ck_assert_int_eq(chathub_set(hub, "insecure", "yes"), 0);
    ck_assert_int_eq(chathub_on_log(hub, CHATHUB_DEBUG, on_log, address), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    int peer = reach(ntohs(place.six.sin6_port));
    is_served(hub, peer);
    ck_assert_msg(strncmp(address, "127.0.0.1:", 10) == 0, "%s", address);
    close(peer);
    hub_end(hub);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("face_listen");
    TCase *tc = tcase_create("listen");
    tcase_set_timeout(tc, 60);
    tcase_add_loop_test(tc, it_is_served_and_its_port_is_told, 0, 2);
    tcase_add_test(tc, who_comes_between_two_hubs_is_served_by_the_second);
    tcase_add_test(tc, a_stop_rests_while_others_come);
    tcase_add_test(tc, a_unix_sockets_file_stays);
    tcase_add_loop_test(tc, localhost_takes_one_for_each_of_its_addresses, 0, 2);
    tcase_add_test(tc, each_socket_finds_its_own_listener);
    tcase_add_test(tc, what_cannot_be_used_stays_as_it_is);
    tcase_add_test(tc, a_failed_start_keeps_it_for_the_next);
    tcase_add_test(tc, ipv4_at_a_socket_for_both_is_ipv4);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
