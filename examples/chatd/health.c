#include "health.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "plan.h"

#define WAIT_S  3
#define REQUEST "GET /server.json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

struct target {
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
        struct sockaddr_un un;
    } at;
    socklen_t len;
};

/* ------------------------------------------------------------------------------- where to ask */

static void at_path(const char *path, struct target *to)
{
    to->at.un.sun_family = AF_UNIX;
    snprintf(to->at.un.sun_path, sizeof(to->at.un.sun_path), "%.*s", (int)strcspn(path, "?"), path);
    to->len = sizeof(to->at.un);
}

/* Where all addresses are listened at, one's own is asked. */
static bool at_host(const char *authority, struct target *to)
{
    char host[64];
    size_t all = strcspn(authority, "/?"), end = all;
    while (end > 0 && authority[end - 1] != ':')
        end--;
    uint16_t port = (uint16_t)strtoul(authority + end, NULL, 10);
    bool six = authority[0] == '[';
    snprintf(host, sizeof(host), "%.*s", (int)(end ? end - 1 - (six ? 2 : 0) : 0),
             authority + (six ? 1 : 0));
    if (strcmp(host, "localhost") == 0 || strcmp(host, "0.0.0.0") == 0)
        snprintf(host, sizeof(host), "127.0.0.1");
    else if (strcmp(host, "::") == 0)
        snprintf(host, sizeof(host), "::1");
    if (six) {
        to->at.six.sin6_family = AF_INET6;
        to->at.six.sin6_port = htons(port);
        to->len = sizeof(to->at.six);
        return port && inet_pton(AF_INET6, host, &to->at.six.sin6_addr) == 1;
    }
    to->at.four.sin_family = AF_INET;
    to->at.four.sin_port = htons(port);
    to->len = sizeof(to->at.four);
    return port && inet_pton(AF_INET, host, &to->at.four.sin_addr) == 1;
}

/* --------------------------------------------------------------------------------------- asking */

/* The status of the answer; 0: there is none, for the reason in errno (0: it is no HTTP). */
static int ask(const struct target *to)
{
    const struct timeval wait = {.tv_sec = WAIT_S};
    char answer[16] = "";
    size_t len = 0;
    ssize_t got = 1;
    int fd = socket(to->at.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 0;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
    if (connect(fd, &to->at.any, to->len) < 0 ||
        send(fd, REQUEST, strlen(REQUEST), MSG_NOSIGNAL) < 0)
        got = -1;
    while (got > 0 && len < 12 && (got = recv(fd, answer + len, 12 - len, 0)) > 0)
        len += (size_t)got;
    int error = got < 0 ? errno : 0;
    close(fd);
    errno = error == EAGAIN || error == EINPROGRESS ? ETIMEDOUT : error;
    return len == 12 && strncmp(answer, "HTTP/1.1 ", 9) == 0 ? (int)strtol(answer + 9, NULL, 10)
                                                             : 0;
}

static int check(const char *url, struct chatd_problem *problem)
{
    struct target to;
    memset(&to, 0, sizeof(to));
    if (strncmp(url, "ws+unix:", 8) == 0)
        at_path(url + 8, &to);
    else if (!at_host(url + 5, &to))
        return chatd_problem(
            problem, CHATD_EXIT_USAGE,
            "--check-health: %.256s: the port has to be said; 0 is another at each "
            "start",
            url);
    int status = ask(&to);
    if (status == 200)
        return 0;
    if (status)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "%.256s answers with status %d", url,
                             status);
    return chatd_problem(problem, CHATD_EXIT_OTHER, "%.256s does not answer: %s", url,
                         errno ? strerror(errno) : "what is there speaks no HTTP");
}

static int check_all(const struct chatd_settings *settings, const struct chatd_plan *plan,
                     struct chatd_problem *problem)
{
    size_t asked = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const char *own = plan->places[i].url, *url;
        for (size_t n = 0; (url = own ? own : chatd_settings_listen(settings, n)); n++) {
            bool is_web = strncmp(url, "ws://", 5) == 0 || strncmp(url, "ws+unix:", 8) == 0;
            if (is_web && check(url, problem) < 0)
                return -1;
            asked += is_web;
            if (own)
                break;
        }
    }
    if (asked)
        return 0;
    return chatd_problem(problem, CHATD_EXIT_USAGE,
                         "--check-health: there is no WebSocket listener that could be asked");
}

int chatd_health(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    struct chatd_plan plan;
    int result = chatd_plan_make(settings, &plan, problem);
    if (result == 0)
        result = chatd_plan_check(settings, &plan, problem);
    if (result == 0)
        result = check_all(settings, &plan, problem);
    chatd_plan_free(&plan);
    if (result == 0)
        puts("chatd answers");
    return result;
}
