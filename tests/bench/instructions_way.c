/* Happy path: connect, shake hands, one after the other; then bytes go to and fro. Every failure ends
 * the program. */
#include "instructions_way.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "net/net.h"

struct way {
    uv_loop_t loop;
    struct chi_routes *routes; /* none */
    struct chi_net *net;
    char folder[32]; /* of the socket */
    char path[64];   /* the socket's */
    uint32_t count;
    int fds[]; /* the clients' ends */
};

static void listen_here(struct way *way, struct scale_world *w)
{
    char url[80], problem[256] = "out of memory";
    struct chi_listening listening = {.passed = {-1, -1}};
    const uint8_t secret[16] = {0};
    snprintf(way->folder, sizeof way->folder, "/tmp/instructions-XXXXXX");
    if (!mkdtemp(way->folder) || uv_loop_init(&way->loop) || chi_routes_new(secret, &way->routes))
        scale_fail("no folder or no loop");
    snprintf(way->path, sizeof way->path, "%s/socket", way->folder);
    snprintf(url, sizeof url, "ws+unix:%s", way->path);
    struct chi_net_parts parts = {.loop = &way->loop,
                                  .settings = &w->settings,
                                  .env = w->env,
                                  .hub = w->hub,
                                  .delivery = w->delivery,
                                  .routes = way->routes};
    if (chi_net_new(&parts, &way->net) ||
        chi_address_parse(url, &listening.address, problem, sizeof problem) ||
        chi_net_listen(way->net, &listening, problem, sizeof problem))
        scale_fail("%s", problem);
}

static void upgrade(struct way *way, int fd)
{
    static const char request[] = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                                  "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
    char answer[1024] = "";
    ssize_t got = -1;
    if (send(fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1)
        scale_fail("a handshake is not sent: %s", strerror(errno));
    for (int i = 0; i < 100 && got < 0; i++) {
        way_poll(way);
        got = recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT);
    }
    if (strncmp(answer, "HTTP/1.1 101 ", 13) != 0)
        scale_fail("a handshake is answered by: %.100s", answer);
}

struct way *way_new(struct scale_world *w, uint32_t count)
{
    struct way *way = calloc(1, sizeof *way + count * sizeof way->fds[0]);
    if (!way)
        scale_fail("out of memory");
    way->count = count;
    listen_here(way, w);
    for (uint32_t i = 0; i < count; i++) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        snprintf(to.sun_path, sizeof to.sun_path, "%s", way->path);
        way->fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (way->fds[i] < 0 || connect(way->fds[i], (struct sockaddr *)&to, sizeof to))
            scale_fail("connection %u: %s", i, strerror(errno));
        upgrade(way, way->fds[i]);
    }
    return way;
}

void way_free(struct way *way)
{
    chi_net_close(way->net, NULL, NULL);
    uv_run(&way->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&way->loop))
        scale_fail("something is left on the loop");
    for (uint32_t i = 0; i < way->count; i++)
        close(way->fds[i]);
    chi_routes_free(way->routes);
    unlink(way->path);
    rmdir(way->folder);
    free(way);
}

void way_send(struct way *way, uint32_t conn, struct chi_span bytes)
{
    if (send(way->fds[conn], bytes.at, bytes.len, MSG_NOSIGNAL) != (ssize_t)bytes.len)
        scale_fail("a request is not sent: %s", strerror(errno));
}

void way_poll(struct way *way)
{
    uv_run(&way->loop, UV_RUN_NOWAIT);
}

uint64_t way_receive(struct way *way)
{
    static char bytes[1 << 16];
    uint64_t all = 0;
    ssize_t got;
    for (uint32_t i = 0; i < way->count; i++) {
        while ((got = recv(way->fds[i], bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
            all += (uint64_t)got;
        if (got == 0)
            scale_fail("connection %u was closed by the hub", i);
    }
    return all;
}

/* RFC 6455 section 5.2: final, text, masked. */
void way_frame(struct chi_buf *out, struct chi_span text)
{
    static const unsigned char mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    chi_buf_add_char(out, (char)0x81);
    if (text.len < 126) {
        chi_buf_add_char(out, (char)(0x80 | text.len));
    } else {
        chi_buf_add_char(out, (char)(0x80 | 126));
        chi_buf_add_char(out, (char)(text.len >> 8));
        chi_buf_add_char(out, (char)(text.len & 0xff));
    }
    chi_buf_add(out, mask, sizeof mask);
    for (size_t i = 0; i < text.len; i++)
        chi_buf_add_char(out, (char)((unsigned char)text.at[i] ^ mask[i % 4]));
}
