/* adopt: a program that has an HTTP server already, and wants a chat in it, at the same port. It reads
 * requests itself, answers its own pages, and hands connections that ask for /chat over to the hub,
 * with the bytes that it has read so far. The hub does the upgrade.
 *
 *     adopt [PORT]                 default: 8080; then open http://localhost:8080/ in two windows
 *
 * The server here is the smallest that can show it; yours knows when it has seen enough of a request.
 * The hub runs on the same loop, and listens nowhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>
#include <chathub.h>

static const char page[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nConnection: close\r\n\r\n"
    "<!doctype html><title>adopt</title><h1>A page of the host's own</h1><pre id=log></pre>"
    "<input id=text autofocus placeholder='say something'><script>\n"
    "const socket = new WebSocket(`ws://${location.host}/chat?dialect=native`);\n"
    "socket.onopen = () => socket.send('{\"type\":\"join\",\"last\":20}');\n"
    "socket.onmessage = ({data}) => { const it = JSON.parse(data);\n"
    "  if (it.type === 'chat') log.append(`${it.sender}: ${it.content}\\n`); };\n"
    "text.onchange = () => { socket.send(JSON.stringify({type: 'post', content: text.value}));\n"
    "  text.value = ''; };\n"
    "</script>";
static const char nothing[] = "HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nnothing here\n";
static const char sorry[] = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\nlater\n";

static struct chathub *hub;

/* A connection while the host still reads it. */
struct visitor {
    uv_tcp_t tcp; /* first */
    uv_write_t write;
    size_t len; /* of `head` so far */
    char head[4096];
};

static void on_closed(uv_handle_t *handle)
{
    free(handle);
}

static void on_written(uv_write_t *write, int status)
{
    (void)status;
    uv_close((uv_handle_t *)write->handle, on_closed);
}

static void answer(struct visitor *visitor, const char *text)
{
    uv_buf_t buf = uv_buf_init((char *)(size_t)text, (unsigned)strlen(text));
    if (uv_write(&visitor->write, (uv_stream_t *)visitor, &buf, 1, on_written) < 0)
        uv_close((uv_handle_t *)visitor, on_closed);
}

/* The hub wants a descriptor that nobody else reads. libuv closes its own, so it gets a copy. */
static void hand_over(struct visitor *visitor)
{
    uv_os_fd_t fd = -1;
    uv_fileno((uv_handle_t *)visitor, &fd);
    struct chathub_adoption adoption = {
        .size = sizeof(adoption),
        .as = CHATHUB_ADOPT_HTTP, /* not upgraded yet: `bytes` begins with the request */
        .fd = dup(fd),            /* the hub's own from now on, if it takes it */
        .url = "ws:///chat",      /* what a listener's URL would say */
        .bytes = visitor->head,
        .len = visitor->len,
    };
    if (chathub_adopt(hub, &adoption) == 0) {
        uv_close((uv_handle_t *)visitor, on_closed); /* which does not end the connection */
        return;
    }
    fprintf(stderr, "adopt: %s\n", chathub_problem(hub));
    if (adoption.fd >= 0)
        close(adoption.fd);
    answer(visitor, sorry);
}

static void on_alloc(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    struct visitor *visitor = (struct visitor *)handle;
    (void)size;
    *buf = uv_buf_init(visitor->head + visitor->len,
                       (unsigned)(sizeof(visitor->head) - 1 - visitor->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct visitor *visitor = (struct visitor *)stream;
    (void)buf;
    visitor->len += n > 0 ? (size_t)n : 0;
    visitor->head[visitor->len] = '\0';
    if (n < 0) { /* it went, or its head is too long */
        uv_close((uv_handle_t *)visitor, on_closed);
        return;
    }
    const char *path_end = strpbrk(visitor->head + (visitor->len > 4 ? 4 : visitor->len), " ?\r");
    if (!path_end) /* "GET /chat" may come in pieces */
        return;
    uv_read_stop(stream);
    size_t len = (size_t)(path_end - visitor->head);
    if (len == 9 && memcmp(visitor->head, "GET /chat", 9) == 0)
        hand_over(visitor);
    else
        answer(visitor, len == 5 && memcmp(visitor->head, "GET /", 5) == 0 ? page : nothing);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct visitor *visitor = status < 0 ? NULL : calloc(1, sizeof(*visitor));
    if (!visitor)
        return;
    uv_tcp_init(server->loop, &visitor->tcp);
    if (uv_accept(server, (uv_stream_t *)visitor) < 0 ||
        uv_read_start((uv_stream_t *)visitor, on_alloc, on_read) < 0)
        uv_close((uv_handle_t *)visitor, on_closed);
}

static void on_stopped(void *loop)
{
    uv_stop(loop);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    chathub_stop(hub, on_stopped, handle->loop);
}

int main(int argc, char **argv)
{
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t server;
    uv_signal_t stop;
    struct sockaddr_in at;
    uv_ip4_addr("127.0.0.1", argc > 1 ? (int)strtol(argv[1], NULL, 10) : 8080, &at);
    uv_tcp_init(loop, &server);
    if (chathub_new(&hub) < 0 || chathub_start(hub, loop) < 0)
        return fprintf(stderr, "adopt: %s\n", hub ? chathub_problem(hub) : "no memory"), 1;
    if (uv_tcp_bind(&server, (const struct sockaddr *)&at, 0) < 0 ||
        uv_listen((uv_stream_t *)&server, 128, on_connection) < 0)
        return fprintf(stderr, "adopt: port %d cannot be used\n", (int)ntohs(at.sin_port)), 1;
    int len = sizeof(at);
    uv_tcp_getsockname(&server, (struct sockaddr *)&at, &len);
    printf("http://localhost:%d/\n", (int)ntohs(at.sin_port));
    fflush(stdout);
    uv_signal_init(loop, &stop);
    uv_signal_start(&stop, on_signal, SIGINT);
    uv_run(loop, UV_RUN_DEFAULT);
    chathub_free(hub);
    return 0;
}
