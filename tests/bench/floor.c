/* The floor that chatd's cost of a delivery is measured against: the least that a single-threaded
 * server can do.
 *
 * TCP lines on raw epoll, one room. Posts are copied into one segment, and at the end of each
 * turn of the loop every member that is behind gets one send of all that it lacks. It
 * understands just what chatbench says: no names, no limits, no checks, no history. Prints its
 * URL; ends when its standard input does. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define SEGMENT (256u << 20) /* mapped when it is touched */
#define INPUT   (1u << 20)
#define MEMBERS 20000u
#define EVENTS  512

struct member {
    int fd;        /* -1: gone */
    bool joined;   /* gets what is posted */
    bool blocked;  /* its socket is full */
    uint32_t kept; /* bytes of an incomplete line */
    size_t at;     /* cursor in the segment */
    char *line;    /* the incomplete line */
};

static struct member members[MEMBERS];
static uint32_t count;
static char *segment, *input;
static size_t filled;
static uint64_t position;
static int poll_fd;

static void watch(uint32_t i, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | (members[i].blocked ? EPOLLOUT : 0u),
                                .data.u32 = i};
    epoll_ctl(poll_fd, operation, members[i].fd, &event);
}

static void drop(uint32_t i)
{
    close(members[i].fd);
    free(members[i].line);
    members[i] = (struct member){.fd = -1};
}

static void answer(uint32_t i, const char *text, size_t len)
{
    if (send(members[i].fd, text, len, MSG_NOSIGNAL) != (ssize_t)len) {
        drop(i);
    }
}

static void join(uint32_t i)
{
    char text[128];
    int n = snprintf(text, sizeof text,
                     "{\"type\":\"joined\",\"position\":%" PRIu64 ",\"start\":%" PRIu64 "}\n",
                     position, position);
    members[i].joined = true;
    members[i].at = filled;
    answer(i, text, (size_t)n);
}

/* The post's line goes on as it came, behind a new head. */
static void post(uint32_t i, const char *line, size_t len)
{
    char text[256];
    const char *room = memmem(line, len, "\"room\":", 7), *cid = memmem(line, len, "\"cid\":", 6);
    if (!room || !cid || filled + len + 256 > SEGMENT) {
        drop(i);
        return;
    }
    filled += (size_t)snprintf(segment + filled, 256,
                               "{\"type\":\"chat\",\"position\":%" PRIu64 ",\"prev\":%" PRIu64
                               ",\"sender\":\"guest-abcdef\",\"sender_id\":\"0123456789abcdef\","
                               "\"timestamp\":\"2026-01-02T03:04:05.678Z\",",
                               position + 1, position);
    position++;
    memcpy(segment + filled, room, (size_t)(line + len - room));
    filled += (size_t)(line + len - room);
    segment[filled++] = '\n';
    int n = snprintf(text, sizeof text, "{\"type\":\"ack\",\"position\":%" PRIu64 ",%.*s\n",
                     position, (int)(line + len - cid), cid);
    answer(i, text, (size_t)n);
}

static void take_line(uint32_t i, const char *line, size_t len)
{
    if (memmem(line, len, "\"type\":\"join\"", 13)) {
        join(i);
    } else {
        post(i, line, len);
    }
}

static void readable(uint32_t i)
{
    struct member *m = &members[i];
    memcpy(input, m->line ? m->line : "", m->kept);
    ssize_t n = recv(m->fd, input + m->kept, INPUT - m->kept, 0);
    if (n <= 0) {
        drop(i);
        return;
    }
    char *at = input, *end = input + m->kept + n;
    for (char *stop; m->fd >= 0 && (stop = memchr(at, '\n', (size_t)(end - at))); at = stop + 1) {
        take_line(i, at, (size_t)(stop - at));
    }
    free(m->line);
    m->kept = m->fd >= 0 ? (uint32_t)(end - at) : 0;
    m->line = m->kept ? malloc(m->kept) : NULL;
    if (m->kept && !m->line) {
        drop(i);
    } else if (m->kept) {
        memcpy(m->line, at, m->kept);
    }
}

/* One send for each member that is behind. */
static void flush(void)
{
    bool all = true;
    for (uint32_t i = 0; i < count; i++) {
        struct member *m = &members[i];
        if (!m->joined || m->at == filled) {
            continue;
        }
        ssize_t n = m->blocked ? 0 : send(m->fd, segment + m->at, filled - m->at, MSG_NOSIGNAL);
        m->at += n > 0 ? (size_t)n : 0;
        if (m->at < filled && !m->blocked) {
            m->blocked = true;
            watch(i, EPOLL_CTL_MOD);
        }
        all = all && m->at == filled;
    }
    if (all) {
        for (uint32_t i = 0; i < count; i++) {
            members[i].at = 0;
        }
        filled = 0;
    }
}

static void accept_all(int listener)
{
    int fd, on = 1;
    while (count < MEMBERS &&
           (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        members[count] = (struct member){.fd = fd};
        watch(count++, EPOLL_CTL_ADD);
    }
}

static int listen_somewhere(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, len) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)&at, &len) < 0) {
        return -1;
    }
    printf("tcp://127.0.0.1:%d\n", ntohs(at.sin_port));
    fflush(stdout);
    return fd;
}

static void handle(const struct epoll_event *event)
{
    uint32_t i = event->data.u32;
    if (members[i].fd >= 0 && event->events & EPOLLOUT) {
        members[i].blocked = false;
        watch(i, EPOLL_CTL_MOD);
    }
    if (members[i].fd >= 0 && event->events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        readable(i);
    }
}

int main(void)
{
    struct epoll_event events[EVENTS], ends = {.events = EPOLLIN, .data.u32 = UINT32_MAX},
                                       comes = {.events = EPOLLIN, .data.u32 = UINT32_MAX - 1};
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    int listener = listen_somewhere();
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    segment = malloc(SEGMENT);
    input = malloc(INPUT);
    if (listener < 0 || poll_fd < 0 || !segment || !input ||
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &ends) < 0 ||
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &comes) < 0) {
        fprintf(stderr, "floor: cannot begin: %s (standard input must be a pipe)\n",
                strerror(errno));
        return 1;
    }
    for (;;) {
        int n = epoll_wait(poll_fd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == UINT32_MAX) {
                return 0;
            }
            if (events[i].data.u32 == UINT32_MAX - 1) {
                accept_all(listener);
            } else {
                handle(&events[i]);
            }
        }
        flush();
    }
}
