#include "talk.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "chathub.h"

/* Steps after which a hub that has something to do would have done it. */
#define PATIENCE 20000
/* Inputs after which a fresh hub begins, so that what one leaves in the rooms does not last. */
#define HUB_LASTS 2000

static struct chathub *hub;
static unsigned used;
static struct sockaddr_un where = {.sun_family = AF_UNIX};

struct said {
    uint8_t bytes[1 << 20];
    size_t len;
};
static struct said said;

static void end(void)
{
    chathub_free(hub);
    hub = NULL;
}

static void begin(const struct talk *talk)
{
    char url[160];

    if (hub && ++used < HUB_LASTS)
        return;
    if (!where.sun_path[0])
        atexit(end);
    end();
    used = 0;
    /* The file's name is this process's: runs beside each other do not meet. */
    snprintf(where.sun_path, sizeof(where.sun_path), "/tmp/chathub-fuzz-%ld.sock", (long)getpid());
    snprintf(url, sizeof(url), "%s+unix:%s", talk->scheme, where.sun_path);
    REQUIRE(chathub_new(&hub) == 0);
    REQUIRE(chathub_set(hub, "log-entries", "20") == 0);
    REQUIRE(chathub_set(hub, "return-time", "0") == 0);
    REQUIRE(chathub_set(hub, "max-message", "4k") == 0); /* so that short inputs reach it */
    REQUIRE(chathub_listen(hub, url) == 0);
    REQUIRE(chathub_asset(hub, "/", "text/html", "<p>hi", 5) == 0);
    REQUIRE(chathub_start(hub, NULL) == 0);
}

static void step(void)
{
    REQUIRE(chathub_step(hub, 0) == 1);
}

/* Takes what there is. 0: the server has closed. */
static int take(int fd)
{
    for (;;) {
        REQUIRE(said.len < sizeof(said.bytes));
        ssize_t n = recv(fd, said.bytes + said.len, sizeof(said.bytes) - said.len, MSG_DONTWAIT);
        if (n < 0 && errno == EAGAIN)
            return 1;
        if (n <= 0)
            return 0;
        said.len += (size_t)n;
    }
}

/* Sends all, as far as the server lets us. */
static void send_all(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;

    for (int i = 0; i < PATIENCE && len > 0; i++) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN)
            return;
        at += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
        step();
        if (!take(fd))
            return;
    }
}

/* The first byte's low bits say how long the pieces are; 0: all at once. */
static void send_pieces(int fd, const uint8_t *data, size_t size)
{
    static const size_t lengths[] = {SIZE_MAX, SIZE_MAX, 1, 2, 5, 17, 64, 300};
    size_t piece = size ? lengths[data[0] & 7] : 0;

    if (piece < size / 256) /* long ones would take their time */
        piece = size / 256;

    for (size_t at = 1; at < size;) {
        size_t len = size - at < piece ? size - at : piece;
        send_all(fd, data + at, len);
        at += len;
    }
}

static void check_nothing_is_left(void)
{
    struct chathub_stats stats = {.size = sizeof(stats)};

    for (int i = 0; i < PATIENCE; i++) {
        step();
        REQUIRE(chathub_stats(hub, &stats) == 0);
        if (stats.connections == 0 && stats.clients == 0 && stats.drafts == 0)
            return;
    }
    abort();
}

void talk_once(const struct talk *talk, const char *opening, const uint8_t *data, size_t size)
{
    int alive = 1;

    begin(talk);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(fd >= 0 && connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0);
    said.len = 0;
    send_all(fd, opening, strlen(opening));
    send_pieces(fd, data, size);
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < PATIENCE && alive; i++) {
        step();
        alive = take(fd);
    }
    REQUIRE(!alive);
    close(fd);
    check_nothing_is_left();
    talk->check(said.bytes, said.len);
}
