/* own-transport: a transport that the hub does not know. Here it is this program's own standard input
 * and output; it could as well be a serial line, a message bus or TLS. Whoever runs it sits in the
 * chat:
 *
 *     own-transport [URL]          default: tcp://localhost:7000, where the others come
 *     nc localhost 7000            another one; type, or /help
 *
 * It shows the whole contract of chathub_carry: lines in, bytes out, and what to do when either side
 * cannot take more. The loop is the host's own, poll(2), which steps the hub. */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <chathub.h>

static struct chathub *hub;
static uint64_t me;       /* the client that comes over this transport; 0: it is over */
static char typed[65536]; /* what was read and is not handed in yet … */
static size_t typed_len;  /* … so many bytes */
static int input_ended;   /* nothing more comes */
static int output_waits;  /* `send` took less than all: it has to be told when more fits */

/* Takes what fits without waiting. A pipe that poll calls writable takes PIPE_BUF bytes. */
static int64_t on_send(void *conn, const char *bytes, size_t len)
{
    struct pollfd out = {.fd = STDOUT_FILENO, .events = POLLOUT};
    size_t sent = 0;
    (void)conn;
    while (sent < len && poll(&out, 1, 0) == 1 && (out.revents & POLLOUT)) {
        size_t some = len - sent < PIPE_BUF ? len - sent : PIPE_BUF;
        ssize_t n = write(STDOUT_FILENO, bytes + sent, some);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -1; /* it is broken: chathub_carrier_closed follows, below */
        sent += n > 0 ? (size_t)n : 0;
    }
    output_waits = sent < len;
    return (int64_t)sent;
}

/* The hub has ended this client; the connection is the host's to close. */
static void on_close(void *conn, int code, const char *reason)
{
    (void)conn;
    me = 0;
    fprintf(stderr, "own-transport: closed (%d %s)\n", code, reason);
}

/* Hands in the lines that are there. What the hub does not take now stays, and is tried again. */
static void hand_in(void)
{
    size_t at = 0;
    char *end;
    while (me && (end = memchr(typed + at, '\n', typed_len - at))) {
        int error = chathub_carrier_line(hub, me, typed + at, (size_t)(end - typed) - at);
        if (error == CHATHUB_EAGAIN || error == CHATHUB_ENOMEM)
            break;
        if (error < 0)
            fprintf(stderr, "own-transport: %s\n", chathub_strerror(error));
        at = (size_t)(end - typed) + 1;
    }
    typed_len -= at;
    memmove(typed, typed + at, typed_len);
}

static void on_input(void)
{
    ssize_t n = read(STDIN_FILENO, typed + typed_len, sizeof(typed) - typed_len);
    if (n > 0)
        typed_len += (size_t)n;
    input_ended = n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN);
    if (typed_len == sizeof(typed) && !memchr(typed, '\n', typed_len))
        typed_len = 0; /* longer than any message */
}

/* One look at everything that this program waits for. */
static void wait_once(void)
{
    int room = !input_ended && typed_len < sizeof(typed); /* else read nothing: it waits outside */
    struct pollfd what[3] = {{.fd = chathub_fd(hub), .events = POLLIN},
                             {.fd = room ? STDIN_FILENO : -1, .events = POLLIN},
                             {.fd = output_waits ? STDOUT_FILENO : -1, .events = POLLOUT}};
    int pending = typed_len && me && chathub_carrier_ready(hub, me) == 1;
    poll(what, 3, pending && memchr(typed, '\n', typed_len) ? 0 : chathub_timeout(hub));
    if (what[1].revents)
        on_input();
    if (what[2].revents && me) {
        output_waits = 0;
        if (what[2].revents & POLLOUT)
            chathub_carrier_writable(hub, me);
        else
            input_ended = 1; /* nobody reads it any more */
    }
    hand_in();
}

int main(int argc, char **argv)
{
    const struct chathub_carrier carrier = {sizeof(carrier), 0, on_send, on_close};
    signal(SIGPIPE, SIG_IGN);
    int error = chathub_new(&hub);
    if (!error)
        error = chathub_listen(hub, argc > 1 ? argv[1] : "tcp://localhost:7000");
    if (!error)
        error = chathub_start(hub, NULL);
    if (!error)
        error = chathub_carry(hub, &carrier, NULL, "tcp://?dialect=human", "the terminal", &me);
    if (error)
        return fprintf(stderr, "own-transport: %s\n", hub ? chathub_problem(hub) : ""), 1;
    while (me && !(input_ended && !memchr(typed, '\n', typed_len))) {
        wait_once();
        chathub_step(hub, 0);
    }
    if (me)
        chathub_carrier_closed(hub, me, 1); /* goodbye: this name is free again */
    chathub_stop(hub, NULL, NULL);
    while (chathub_step(hub, -1) > 0)
        continue;
    chathub_free(hub);
    return 0;
}
