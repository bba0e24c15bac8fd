/* Connections that the host hands over: it has accepted them, and read a little of them.
 *
 * Happy path: the descriptor is looked at, numbered and watched, what was read waits as what a pause
 * has held back does, and from the loop (no callback comes within the host's call) it goes on as if a
 * listener had accepted it. Failure modes: no such socket, or a bound: nothing was done to it.
 *
 * What a listener's URL says is kept as a listener without a socket; all that are handed over with
 * the same words share one. */
#include "net/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "dialect/dialect.h"

/* An adoption under way, and where a fault is told. */
struct adopting {
    struct chi_net *net;
    const struct chi_adoption *what;
    char *problem;
    size_t size;
    int domain; /* of the socket */
    bool local; /* it was accepted where only this machine can reach it */
};

static int fault(const struct adopting *a, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fault(const struct adopting *a, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(a->problem, a->size, format, args);
    va_end(args);
    return error;
}

/* ----------------------------------------------------------------------------------- the socket */

static int number_of(int fd, int name)
{
    int value = -1;
    socklen_t len = sizeof(value);

    return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

static int check_socket(struct adopting *a)
{
    int fd = a->what->fd;
    struct stat st;

    if (fd < 0 || (unsigned)fd >= CHI_FD_NONE || fstat(fd, &st) != 0)
        return fault(a, CHATHUB_EINVAL, "descriptor %d is not open", fd);
    if (!S_ISSOCK(st.st_mode))
        return fault(a, CHATHUB_EINVAL, "descriptor %d is no socket", fd);
    a->domain = number_of(fd, SO_DOMAIN);
    if (number_of(fd, SO_TYPE) != SOCK_STREAM ||
        (a->domain != AF_INET && a->domain != AF_INET6 && a->domain != AF_UNIX))
        return fault(a, CHATHUB_EINVAL, "descriptor %d is no stream socket of TCP or Unix", fd);
    if (number_of(fd, SO_ACCEPTCONN) != 0)
        return fault(a, CHATHUB_EINVAL, "descriptor %d listens; accept a connection first", fd);
    return 0;
}

static int read_peer(struct adopting *a, struct chi_peer *peer)
{
    struct sockaddr_storage at;
    socklen_t len = sizeof(at);

    memset(&at, 0, sizeof(at));
    if (getpeername(a->what->fd, (struct sockaddr *)&at, &len) != 0)
        return fault(a, CHATHUB_EINVAL, "descriptor %d is not connected", a->what->fd);
    chi_listener_peer(peer, (const struct sockaddr *)&at, 0);
    memset(&at, 0, sizeof(at));
    len = sizeof(at);
    if (getsockname(a->what->fd, (struct sockaddr *)&at, &len) != 0)
        return fault(a, CHATHUB_EIO, "descriptor %d: %s", a->what->fd, strerror(errno));
    struct chi_peer own;
    chi_listener_peer(&own, (const struct sockaddr *)&at, 0);
    a->local = chi_peer_is_local(&own);
    return 0;
}

/* What accepted sockets have from the one that listens. */
static void set_up(const struct adopting *a)
{
    int fd = a->what->fd;

    fcntl(fd, F_SETFD, fcntl(fd, F_GETFD) | FD_CLOEXEC);
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    if (a->domain != AF_UNIX)
        chi_listener_options(fd, a->net->parts.settings);
}

/* --------------------------------------------------------------------------------- its listener */

static bool same(const struct chi_listener *listener, const struct chi_address *address, bool local)
{
    const struct chi_address *its = &listener->address;

    return listener->adopted && listener->local == local && its->protocol == address->protocol &&
           its->dialect == address->dialect && its->history == address->history &&
           its->presence == address->presence && its->private_posts == address->private_posts &&
           strcmp(its->path, address->path) == 0 && strcmp(its->room, address->room) == 0;
}

static int find_listener(const struct adopting *a, uint8_t *out)
{
    struct chi_net *net = a->net;
    struct chi_address address = *a->what->address;
    const char *standard = net->parts.settings->dialect;

    if (!address.dialect && address.protocol == CHI_PROTOCOL_WEBSOCKET && standard)
        address.dialect = chi_dialect_find(chi_span_of(standard));
    if (a->what->as == CHATHUB_ADOPT_WEBSOCKET && address.dialect && address.dialect->name_key &&
        !a->what->native)
        return fault(a, CHATHUB_EADDRESS,
                     "dialect %s tells names in the query of the upgrade; hand the connection over "
                     "before it",
                     address.dialect->name);
    for (uint32_t i = 0; i < net->listener_count; i++) {
        *out = (uint8_t)i;
        if (same(net->listeners[i], &address, a->local))
            return 0;
    }
    if (net->listener_count == CHI_LISTENERS_MAX)
        return fault(a, CHATHUB_EFULL,
                     "there are %d listeners and different URLs of adopted connections already, "
                     "which is the most",
                     CHI_LISTENERS_MAX);
    struct chi_listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        return fault(a, CHATHUB_ENOMEM, "%s", chathub_strerror(CHATHUB_ENOMEM));
    listener->address = address;
    listener->address.host[0] = '\0';
    listener->fds[0] = listener->fds[1] = -1;
    listener->local = a->local;
    listener->adopted = true;
    *out = (uint8_t)net->listener_count;
    net->listeners[net->listener_count++] = listener;
    return 0;
}

/* -------------------------------------------------------------------------------------- bounds */

static int check_bounds(const struct adopting *a, const struct chi_peer *peer)
{
    const struct chi_net *net = a->net;
    struct chi_hub_counts counts;

    if (chi_listener_full(net))
        return fault(a, CHATHUB_EFULL, "too many connections, or handshakes under way");
    if (chi_listener_crowded(net, peer))
        return fault(a, CHATHUB_EFULL, "too many unfinished handshakes from this address");
    chi_hub_counts(net->parts.hub, &counts);
    if (a->what->as != CHATHUB_ADOPT_HTTP && counts.clients >= net->parts.settings->max_clients)
        return fault(a, CHATHUB_EFULL, "%s", chathub_strerror(CHATHUB_EFULL));
    return 0;
}

static bool keep_bytes(struct chi_conn *conn, const struct chi_adoption *what)
{
    struct chi_input *input = what->len ? chi_input_get(conn) : NULL;

    if (input)
        chi_buf_add(&input->rest, what->bytes, what->len);
    return !what->len || (input && !input->rest.failed);
}

int chi_net_adopt(struct chi_net *net, const struct chi_adoption *what, char *problem, size_t size)
{
    struct adopting a = {net, what, problem, size, 0, false};
    struct chi_peer peer;
    struct chi_conn *conn;

    int error = check_socket(&a);
    if (!error)
        error = read_peer(&a, &peer);
    if (!error)
        error = check_bounds(&a, &peer);
    if (!error)
        error = find_listener(&a, &peer.listener);
    if (error)
        return error;
    error = chi_conn_take(net, what->fd, &peer, &conn);
    if (error)
        return fault(&a, error, "descriptor %d cannot be watched: %s", what->fd,
                     chathub_strerror(error));
    if (!keep_bytes(conn, what)) {
        chi_conn_untake(conn);
        return fault(&a, CHATHUB_ENOMEM, "%s", chathub_strerror(CHATHUB_ENOMEM));
    }
    set_up(&a);
    conn->websocket = what->as == CHATHUB_ADOPT_WEBSOCKET;
    conn->arriving = what->as != CHATHUB_ADOPT_HTTP;
    conn->greeted = what->native;
    conn->resume = true;
    chi_conn_phase(conn, CHI_PHASE_HEAD, net->parts.settings->head_time);
    chi_input_settle(conn);
    chi_conn_later(conn);
    return 0;
}

/* ------------------------------------------------------------------------------- from the loop */

/* The hub has no place for it any more: the peer is told. */
static void turn_away(struct chi_conn *conn, int error)
{
    const struct chi_field field = {"reason", chi_span_of(chathub_errname(error))};
    struct chi_out *out = chi_out_get(conn);

    chi_conn_log(conn, CHATHUB_INFO, "refused", &field, 1);
    conn->deaf = true;
    chi_input_free(conn);
    if (out)
        chi_frame_close(&out->bytes, 1013, chi_span_of(chathub_strerror(error)));
    chi_conn_goodbye(conn);
}

static void arrive_websocket(struct chi_conn *conn)
{
    const struct chi_dialect *dialect =
        conn->greeted ? &chi_dialect_native : chi_conn_listener(conn)->address.dialect;
    struct chi_encoding encoding = {dialect ? dialect : &chi_dialect_native,
                                    &chi_framing_websocket};

    conn->decided = dialect != NULL;
    int error = chi_conn_open(conn, encoding, conn->greeted, (struct chi_span){NULL, 0});
    if (error)
        turn_away(conn, error);
}

void chi_conn_arrive(struct chi_conn *conn)
{
    conn->arriving = false;
    if (conn->websocket)
        arrive_websocket(conn);
    else
        chi_conn_open_lines(conn);
    if (conn->phase != CHI_PHASE_DEAD)
        chi_conn_later(conn);
}
