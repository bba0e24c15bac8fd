/* Who is there does not wait for those who come. */
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "chathub.h"

#define CROWD 400
/* Turns of the loop that an answer may take: 400 who join at once need many more. */
#define TURNS 3

static struct chathub *hub;
static struct sockaddr_in address;

static void setup(void)
{
    char url[256];
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert_int_eq(chathub_new(&hub), 0);
    ck_assert_int_eq(chathub_set(hub, "max-handshakes-address", "1000"), 0);
    ck_assert_int_eq(chathub_listen(hub, "tcp://127.0.0.1:0"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    ck_assert_int_gt(chathub_listener(hub, 0, url, sizeof(url)), 0);
    address =
        (struct sockaddr_in){.sin_family = AF_INET,
                             .sin_addr = {htonl(INADDR_LOOPBACK)},
                             .sin_port = htons((uint16_t)strtoul(strrchr(url, ':') + 1, NULL, 10))};
}

static void teardown(void)
{
    chathub_free(hub);
}

static uint64_t connections(void)
{
    struct chathub_stats stats = {.size = sizeof(stats)};
    ck_assert_int_eq(chathub_stats(hub, &stats), 0);
    return stats.connections;
}

/* Connects, and waits until the hub has taken it. */
static int come(void)
{
    uint64_t before = connections();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    while (connections() == before)
        ck_assert_int_eq(chathub_step(hub, -1), 1);
    return fd;
}

static void say(int fd, const char *line)
{
    ck_assert_int_eq(send(fd, line, strlen(line), MSG_NOSIGNAL), (ssize_t)strlen(line));
}

/* Whether all that has come holds the text. */
static bool hears(int fd, const char *text)
{
    static char bytes[65536];
    ssize_t n = recv(fd, bytes, sizeof(bytes) - 1, MSG_DONTWAIT);
    bytes[n > 0 ? n : 0] = '\0';
    return strstr(bytes, text) != NULL;
}

START_TEST(who_is_there_does_not_wait_for_those_who_come)
{
    int crowd[CROWD], old = come(), turns = 0;
    say(old, "{\"type\":\"ping\",\"ref\":1}\n");
    while (!hears(old, "\"pong\""))
        ck_assert_int_eq(chathub_step(hub, -1), 1);
    for (int i = 0; i < CROWD; i++)
        crowd[i] = come();
    for (int i = 0; i < CROWD; i++)
        say(crowd[i], "{\"type\":\"join\",\"room\":\"crowd\"}\n");
    say(old, "{\"type\":\"ping\",\"ref\":2}\n"); /* behind all of them */
    for (; !hears(old, "\"ref\":2"); turns++)
        ck_assert_int_eq(chathub_step(hub, -1), 1);
    ck_assert_int_le(turns, TURNS);
    for (int i = 0; i < CROWD; i++) {
        while (!hears(crowd[i], "\"joined\"")) /* and they have theirs */
            ck_assert_int_eq(chathub_step(hub, -1), 1);
        close(crowd[i]);
    }
    close(old);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("crowd");
    TCase *tests = tcase_create("crowd");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, who_is_there_does_not_wait_for_those_who_come);
    suite_add_tcase(suite, tests);
    return unit_run(suite);
}
