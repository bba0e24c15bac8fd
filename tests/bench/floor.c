/* The floor that chatd's cost of a delivery is measured against: the least that a single-threaded
 * server can do.
 *
 * TCP lines on raw epoll. Posts are copied into one contiguous segment of their room, and at the
 * end of each turn of the loop every member of a room that got something gets one send of all
 * that it lacks; acks of its own posts ride in the same one. It understands just what chatbench
 * says: no WebSocket, no names, no limits, no checks, no history, and a client is in one room.
 * Prints its URL; ends when its standard input does.
 *
 * What a socket does not take stays in the segment, and goes on when it is writable. A room's
 * segment begins anew when all are at its end; while they are not, what all have is cut off.
 * Who is SEGMENT_MAX behind is dropped. */
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
#include <sys/uio.h>
#include <unistd.h>

#define INPUT       (1u << 20)
#define MEMBERS     20000u
#define ROOMS       10000u
#define BUCKETS     16384u      /* a power of 2, above ROOMS */
#define NAME        64u         /* of a room, with its end */
#define HEAD        256u        /* what an entry or ack has before the post's own text, at most */
#define SEGMENT_MAX (64u << 20) /* of one room */
#define SPARE_MAX   (64u << 20) /* of all rooms, kept while they are empty */
#define EVENTS      512
#define NONE        UINT32_MAX

enum { BLOCKED = 1, /* its socket is full */ REPLIES = 2 /* it has replies */ };

/* A member's place in its room: all that a delivery touches. */
struct seat {
    int fd;
    uint32_t member; /* whose it is */
    uint32_t at;     /* cursor, in the bytes that the room ever had (they wrap) */
    uint32_t flags;  /* BLOCKED, REPLIES */
};

struct room {
    char name[NAME];
    struct seat *seats;
    uint32_t count, places; /* seats used and allocated */
    char *text;             /* the segment */
    uint32_t base;          /* what its first byte is in the bytes that the room ever had */
    uint32_t filled, cap;   /* bytes used and allocated */
    uint32_t behind;        /* seats that were not at the end when they were last looked at */
    uint64_t position;      /* of its newest entry */
    bool listed;            /* it got something in this turn */
};

struct member {
    int fd;              /* -1: gone */
    uint32_t room, seat; /* NONE: not joined */
    uint32_t kept;       /* bytes of an incomplete line */
    char *line;          /* the incomplete line */
    char *replies;       /* acks that wait */
    uint32_t used, cap;  /* bytes of them, and allocated */
    uint32_t taken;      /* bytes of them that the socket took */
};

static struct member members[MEMBERS];
static struct room rooms[ROOMS];
static uint32_t buckets[BUCKETS]; /* rooms by name, 0: none, else their number + 1 */
static uint32_t listed[ROOMS];    /* rooms that got something in this turn */
static uint32_t member_count, room_count, listed_count;
static uint64_t spare; /* bytes of all segments */
static char *input;
static uint64_t position;
static int poll_fd;

static void watch(uint32_t i, bool writable, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0u), .data.u32 = i};
    epoll_ctl(poll_fd, operation, members[i].fd, &event);
}

static uint32_t end_of(const struct room *room)
{
    return room->base + room->filled;
}

static void leave(const struct member *m)
{
    struct room *room = &rooms[m->room];
    struct seat *seat = &room->seats[m->seat];
    *seat = room->seats[--room->count];
    members[seat->member].seat = m->seat;
}

static void drop(uint32_t i)
{
    struct member *m = &members[i];
    if (m->room != NONE) {
        leave(m);
    }
    close(m->fd);
    free(m->line);
    free(m->replies);
    *m = (struct member){.fd = -1, .room = NONE};
}

static void list(uint32_t number)
{
    if (!rooms[number].listed) {
        rooms[number].listed = true;
        listed[listed_count++] = number;
    }
}

/* The number of the room of this name, made if it is new; NONE if there are too many. */
static uint32_t find_room(const char *name, size_t len)
{
    uint32_t hash = 2166136261u;
    for (size_t i = 0; i < len; i++) {
        hash = (hash ^ (uint8_t)name[i]) * 16777619u;
    }
    uint32_t at = hash & (BUCKETS - 1);
    for (; buckets[at]; at = (at + 1) & (BUCKETS - 1)) {
        const char *other = rooms[buckets[at] - 1].name;
        if (strlen(other) == len && memcmp(other, name, len) == 0) {
            return buckets[at] - 1;
        }
    }
    if (room_count == ROOMS || len >= NAME) {
        return NONE;
    }
    memcpy(rooms[room_count].name, name, len);
    buckets[at] = ++room_count;
    return room_count - 1;
}

static bool sit_down(struct room *room, uint32_t i)
{
    if (room->count == room->places) {
        uint32_t places = room->places ? room->places * 2 : 2;
        struct seat *seats = realloc(room->seats, places * sizeof *seats);
        if (!seats) {
            return false;
        }
        room->seats = seats;
        room->places = places;
    }
    members[i].seat = room->count++;
    room->seats[members[i].seat] =
        (struct seat){.fd = members[i].fd, .member = i, .at = end_of(room)};
    return true;
}

static void join(uint32_t i, const char *line, size_t len)
{
    char text[128];
    const char *name = memmem(line, len, "\"room\":\"", 8);
    const char *stop = name ? memchr(name + 8, '"', (size_t)(line + len - name - 8)) : NULL;
    uint32_t number = stop ? find_room(name + 8, (size_t)(stop - name - 8)) : NONE;
    if (members[i].room != NONE || number == NONE || !sit_down(&rooms[number], i)) {
        drop(i);
        return;
    }
    members[i].room = number;
    int n = snprintf(text, sizeof text,
                     "{\"type\":\"joined\",\"position\":%" PRIu64 ",\"start\":%" PRIu64 "}\n",
                     rooms[number].position, rooms[number].position);
    if (send(members[i].fd, text, (size_t)n, MSG_NOSIGNAL) != n) {
        drop(i);
    }
}

/* Cuts off what all have. Who is too far behind goes. */
static void trim(struct room *room)
{
    uint32_t least = room->filled;
    for (uint32_t i = room->count; i-- > 0;) {
        uint32_t has = room->seats[i].at - room->base;
        if (has < room->filled / 2 && room->filled > SEGMENT_MAX / 2) {
            drop(room->seats[i].member);
        } else if (has < least) {
            least = has;
        }
    }
    if (least > 0 && least < room->filled) {
        memmove(room->text, room->text + least, room->filled - least);
    }
    room->base += least;
    room->filled -= least;
}

/* Room for `more` bytes in the segment. */
static bool reserve(struct room *room, size_t more)
{
    if (room->filled + more <= room->cap) {
        return true;
    }
    trim(room);
    if (room->filled + more <= room->cap / 2) {
        return true; /* else a room that lags would be trimmed again and again */
    }
    size_t cap = room->cap ? room->cap : 2048;
    while (cap < (room->filled + more) * 2 && cap < SEGMENT_MAX) {
        cap *= 2;
    }
    char *text = cap > room->cap ? realloc(room->text, cap) : room->text;
    if (!text || room->filled + more > cap) {
        return false;
    }
    spare += cap - room->cap;
    room->text = text;
    room->cap = (uint32_t)cap;
    return true;
}

/* An ack waits until the end of the turn. */
static void reply(uint32_t i, const char *cid, size_t len)
{
    struct member *m = &members[i];
    if (m->used + HEAD + len > m->cap) {
        uint32_t cap = (m->used + HEAD + (uint32_t)len) * 2;
        char *replies = realloc(m->replies, cap);
        if (!replies) {
            drop(i);
            return;
        }
        m->replies = replies;
        m->cap = cap;
    }
    m->used += (uint32_t)snprintf(m->replies + m->used, HEAD + len,
                                  "{\"type\":\"ack\",\"position\":%" PRIu64 ",%.*s\n", position,
                                  (int)len, cid);
    rooms[m->room].seats[m->seat].flags |= REPLIES;
}

/* The post's line goes on as it came, behind a new head. */
static void post(uint32_t i, const char *line, size_t len)
{
    const char *text = memmem(line, len, "\"room\":", 7);
    /* The cid is short and at the end: it is not searched for in what may be long. */
    size_t tail = len < HEAD ? len : HEAD;
    const char *cid = memmem(line + len - tail, tail, "\"cid\":", 6);
    if (members[i].room == NONE || !text || !cid) {
        drop(i);
        return;
    }
    struct room *room = &rooms[members[i].room];
    uint32_t number = members[i].room;
    if (!reserve(room, HEAD + len)) {
        drop(i);
        return;
    }
    char *out = room->text + room->filled;
    size_t n = (size_t)snprintf(out, HEAD,
                                "{\"type\":\"chat\",\"position\":%" PRIu64 ",\"prev\":%" PRIu64
                                ",\"sender\":\"guest-abcdef\",\"sender_id\":\"0123456789abcdef\","
                                "\"timestamp\":\"2026-01-02T03:04:05.678Z\",",
                                position + 1, room->position);
    room->position = ++position;
    memcpy(out + n, text, (size_t)(line + len - text));
    n += (size_t)(line + len - text);
    out[n++] = '\n';
    room->filled += (uint32_t)n;
    list(number);
    if (members[i].fd >= 0) { /* else it was too far behind itself */
        reply(i, cid, (size_t)(line + len - cid));
    }
}

static void take_line(uint32_t i, const char *line, size_t len)
{
    if (memmem(line, len < 64 ? len : 64, "\"type\":\"join\"", 13)) {
        join(i, line, len);
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
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            drop(i);
        }
        return;
    }
    char *at = input, *end = input + m->kept + n;
    for (char *stop; m->fd >= 0 && (stop = memchr(at, '\n', (size_t)(end - at))); at = stop + 1) {
        take_line(i, at, (size_t)(stop - at));
    }
    free(m->line);
    m->line = NULL;
    m->kept = m->fd >= 0 ? (uint32_t)(end - at) : 0;
    if (m->kept && !(m->line = malloc(m->kept))) {
        drop(i);
    } else if (m->kept) {
        memcpy(m->line, at, m->kept);
    }
}

/* Entries and replies in one call: entries first, unless the socket has a part of the replies. */
static ssize_t send_both(const struct room *room, const struct seat *seat)
{
    const struct member *m = &members[seat->member];
    struct iovec replies = {m->replies + m->taken, m->used - m->taken};
    struct iovec entries = {room->text + (seat->at - room->base), end_of(room) - seat->at};
    struct iovec parts[2] = {m->taken ? replies : entries, m->taken ? entries : replies};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    return sendmsg(seat->fd, &message, MSG_NOSIGNAL);
}

/* Counts up to `n` sent bytes of replies; answers how many are others'. */
static size_t count_replies(struct seat *seat, size_t n)
{
    struct member *m = &members[seat->member];
    uint32_t left = m->used - m->taken, some = n < left ? (uint32_t)n : left;
    m->taken += some;
    if (m->taken == m->used) {
        m->taken = m->used = 0;
        seat->flags &= ~(uint32_t)REPLIES;
    }
    return n - some;
}

/* Counts what send_both sent; true if nothing is left. */
static bool count_both(const struct room *room, struct seat *seat, size_t n)
{
    bool replies_first = members[seat->member].taken > 0;
    n = replies_first ? count_replies(seat, n) : n;
    uint32_t left = end_of(room) - seat->at, some = n < left ? (uint32_t)n : left;
    seat->at += some;
    if (!replies_first && some == left) {
        count_replies(seat, n - some);
    }
    return seat->at == end_of(room) && !(seat->flags & REPLIES);
}

/* One send of all that a member lacks. 1: it has all; 0: it is behind; -1: it is gone. */
static int feed(const struct room *room, struct seat *seat)
{
    uint32_t left = end_of(room) - seat->at;
    bool replies = seat->flags & REPLIES;
    if (seat->flags & BLOCKED) {
        return left == 0 && !replies;
    }
    if (left == 0 && !replies) {
        return 1;
    }
    ssize_t n = replies ? send_both(room, seat)
                        : send(seat->fd, room->text + (seat->at - room->base), left, MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN && errno != EINTR) {
        drop(seat->member);
        return -1;
    }
    size_t sent = n > 0 ? (size_t)n : 0;
    seat->at += replies ? 0 : (uint32_t)sent;
    if (replies ? count_both(room, seat, sent) : sent == left) {
        return 1;
    }
    seat->flags |= BLOCKED;
    watch(seat->member, true, EPOLL_CTL_MOD);
    return 0;
}

/* All are at the end. */
static void begin_anew(struct room *room)
{
    room->base += room->filled;
    room->filled = 0;
    if (spare > SPARE_MAX) {
        spare -= room->cap;
        free(room->text);
        room->text = NULL;
        room->cap = 0;
    }
}

static void flush_room(struct room *room)
{
    room->listed = false;
    room->behind = 0;
    for (uint32_t i = 0; i < room->count;) {
        int fed = feed(room, &room->seats[i]);
        room->behind += fed == 0;
        i += fed >= 0; /* another one sits there now */
    }
    if (room->behind == 0) {
        begin_anew(room);
    }
}

static void flush(void)
{
    for (uint32_t i = 0; i < listed_count; i++) {
        flush_room(&rooms[listed[i]]);
    }
    listed_count = 0;
}

/* Its room is not looked through for it. */
static void writable(uint32_t i)
{
    if (members[i].room == NONE) {
        return;
    }
    struct room *room = &rooms[members[i].room];
    struct seat *seat = &room->seats[members[i].seat];
    seat->flags &= ~(uint32_t)BLOCKED;
    if (feed(room, seat) != 1) {
        return; /* full again, or gone */
    }
    watch(i, false, EPOLL_CTL_MOD);
    if (!room->listed && room->behind > 0 && --room->behind == 0) {
        begin_anew(room);
    }
}

static void accept_all(int listener)
{
    int fd, on = 1;
    while (member_count < MEMBERS &&
           (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        members[member_count] = (struct member){.fd = fd, .room = NONE};
        watch(member_count++, false, EPOLL_CTL_ADD);
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
        writable(i);
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
    input = malloc(INPUT);
    if (listener < 0 || poll_fd < 0 || !input || epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &ends) < 0 ||
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
