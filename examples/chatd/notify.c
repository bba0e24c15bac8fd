#include "notify.h"

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* How long the loop waits for a manager that does not read. */
#define WAIT_S 1

/* -------------------------------------------------------------------------------- the variables */

static char *take(const char *name)
{
    const char *text = getenv(name);
    char *copy = text ? strdup(text) : NULL;
    unsetenv(name);
    return copy;
}

/* 0: it is no number. */
static uint64_t number_of(const char *text)
{
    char *end = NULL;
    errno = 0;
    uint64_t number = *text >= '0' && *text <= '9' ? strtoull(text, &end, 10) : 0;
    return end && !*end && errno == 0 ? number : 0;
}

static int check_path(const char *path, struct chatd_problem *problem)
{
    size_t most = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    if ((path[0] == '/' || path[0] == '@') && path[1] && strlen(path) <= most)
        return 0;
    return chatd_problem(problem, CHATD_EXIT_USAGE,
                         "NOTIFY_SOCKET: '%.128s' is neither an absolute path nor @ and a name, of "
                         "at most %zu bytes; unset it if no service manager starts chatd",
                         path, most);
}

/* How often a sign of life is expected, if it is from this process. */
static int read_watchdog(struct notify *notify, const char *usec, const char *pid,
                         struct chatd_problem *problem)
{
    if (!usec)
        return 0;
    if (number_of(usec) == 0)
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "WATCHDOG_USEC: '%.64s' is no number of microseconds; whoever starts "
                             "chatd sets it, or leaves it out",
                             usec);
    if (pid && number_of(pid) == 0)
        return chatd_problem(
            problem, CHATD_EXIT_USAGE,
            "WATCHDOG_PID: '%.64s' is no process; whoever starts chatd sets it, or "
            "leaves it out",
            pid);
    uint64_t ms = number_of(usec) / 1000;
    if (!pid || number_of(pid) == (uint64_t)getpid())
        notify->watchdog_ms = ms < 2 ? 2 : ms;
    return 0;
}

int notify_open(struct notify *notify, struct chatd_problem *problem)
{
    const struct timeval wait = {.tv_sec = WAIT_S};
    char *path = take("NOTIFY_SOCKET"), *usec = take("WATCHDOG_USEC"), *pid = take("WATCHDOG_PID");
    if (path && !*path) {
        free(path);
        path = NULL;
    }
    *notify = (struct notify){.path = path, .fd = -1};
    int result = path ? check_path(path, problem) : 0;
    if (result == 0 && path)
        result = read_watchdog(notify, usec, pid, problem);
    if (result == 0 && path) {
        notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (notify->fd < 0)
            result = chatd_problem(problem, CHATD_EXIT_OTHER, "NOTIFY_SOCKET: no socket: %s",
                                   strerror(errno));
        else
            setsockopt(notify->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait));
    }
    free(usec);
    free(pid);
    return result;
}

/* --------------------------------------------------------------------------------------- telling */

static void tell_failure(struct notify *notify, int error)
{
    if (notify->sink && !notify->failed)
        logsink_say(notify->sink, CHATHUB_WARNING, "notify_failed", "socket", notify->path, "error",
                    strerror(error), "message",
                    "the service manager was not told how chatd is, and may end it", NULL);
    notify->failed = true;
}

static void send_text(struct notify *notify, const char *text)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    if (notify->fd < 0)
        return;
    size_t len = strlen(notify->path);
    memcpy(to.sun_path, notify->path, len);
    if (to.sun_path[0] == '@')
        to.sun_path[0] = '\0';
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (sendto(notify->fd, text, strlen(text), MSG_NOSIGNAL, (struct sockaddr *)&to, size) < 0)
        tell_failure(notify, errno);
}

/* `words` and a status, which is one line whatever is in it. */
static void send_status(struct notify *notify, const char *words, const char *status)
{
    char text[1024];
    int begun = snprintf(text, sizeof(text), "%sSTATUS=%s", words, status);
    size_t at = strlen(words);
    for (char *c = text + at; begun > 0 && *c; c++) {
        if ((unsigned char)*c < 0x20)
            *c = ' ';
    }
    send_text(notify, text);
}

static void on_beat(uv_timer_t *timer)
{
    send_text(timer->data, "WATCHDOG=1");
}

void notify_ready(struct notify *notify, uv_loop_t *loop, const char *status)
{
    send_status(notify, "READY=1\n", status);
    if (!notify->watchdog_ms)
        return;
    uv_timer_init(loop, &notify->timer);
    notify->timer.data = notify;
    notify->beats = true;
    uv_timer_start(&notify->timer, on_beat, 0, notify->watchdog_ms / 2);
}

/* The clock by which a manager tells this from an earlier READY=1. */
void notify_reloading(struct notify *notify)
{
    char text[96];
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
             (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
    send_text(notify, text);
}

void notify_ready_again(struct notify *notify, const char *status)
{
    send_status(notify, "READY=1\n", status);
}

void notify_stopping(struct notify *notify, const char *status)
{
    send_status(notify, "STOPPING=1\n", status);
}

void notify_status(struct notify *notify, const char *status)
{
    send_status(notify, "", status);
}

void notify_stop(struct notify *notify)
{
    if (notify->beats)
        uv_close((uv_handle_t *)&notify->timer, NULL);
    notify->beats = false;
}

void notify_close(struct notify *notify)
{
    if (notify->path && notify->fd >= 0)
        close(notify->fd);
    free(notify->path);
    notify->path = NULL;
}
