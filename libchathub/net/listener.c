/* Listeners: sockets that are bound, and what is accepted from them.
 *
 * Happy path: the epoll set reports one, a batch is accepted, each becomes a connection. Failure
 * modes: no descriptors are left (logged, and accepting rests until the next sweep, so that the
 * loop never spins on what it cannot take); too many handshakes under way (accepting rests until
 * one is through: the others wait in the backlog); too many of one address (closed at once). */
#include "net/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dialect/dialect.h"

/* Between two log lines about descriptors that ran out. */
#define LOG_AGAIN_MS 60000
/* Tries to find one free port for both addresses of localhost. */
#define PORT_TRIES 16

union socket_address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
    struct sockaddr_un un;
};

/* What went wrong while a listener was being opened, and where it is told. */
struct opening {
    struct chi_net *net;
    const struct chi_address *address;
    const int *passed; /* two sockets that listen already, -1: none */
    char *problem;
    size_t size;
};

/* ---------------------------------------------------------------------------------------- texts */

static int url_of(const struct chi_address *address, uint16_t port, char *out, size_t size)
{
    const char *scheme = address->protocol == CHI_PROTOCOL_WEBSOCKET ? "ws" : "tcp";
    bool six = strchr(address->host, ':') != NULL;

    if (address->is_unix && address->protocol == CHI_PROTOCOL_WEBSOCKET)
        return snprintf(out, size, "%s+unix:%s?path=%s", scheme, address->host, address->path);
    if (address->is_unix)
        return snprintf(out, size, "%s+unix:%s", scheme, address->host);
    return snprintf(out, size, "%s://%s%s%s:%u%s", scheme, six ? "[" : "", address->host,
                    six ? "]" : "", (unsigned)port, address->path);
}

int chi_net_listener(const struct chi_net *net, uint32_t index, char *out, size_t size)
{
    if (!net || index >= net->listener_count || net->listeners[index]->adopted)
        return CHATHUB_ENOENT; /* listeners are opened before anything is adopted */
    const struct chi_address *address = &net->listeners[index]->address;
    return url_of(address, address->port, out, size);
}

/* Tells why the system refused; the error that fits. */
static int explain(const struct opening *o, int error)
{
    char url[320];
    bool privileged = !o->address->is_unix && o->address->port > 0 && o->address->port < 1024;

    url_of(o->address, o->address->port, url, sizeof(url));
    switch (error) {
    case EADDRINUSE:
        snprintf(o->problem, o->size,
                 "%s: already in use by another program; stop that one, or listen on another %s",
                 url, o->address->is_unix ? "path" : "port");
        return CHATHUB_EINUSE;
    case EACCES:
    case EPERM:
        snprintf(o->problem, o->size, "%s: the system does not permit it; %s", url,
                 privileged ? "choose a port above 1023" : "choose a place that this user may use");
        return CHATHUB_EPERM;
    case EADDRNOTAVAIL:
        snprintf(o->problem, o->size,
                 "%s: this machine has no such address; use one of its own, or localhost", url);
        return CHATHUB_EADDRESS;
    case ENOENT:
    case ENOTDIR:
        snprintf(o->problem, o->size, "%s: there is no such folder; make it first", url);
        return CHATHUB_EADDRESS;
    default:
        snprintf(o->problem, o->size, "%s: cannot listen: %s", url, strerror(error));
        return CHATHUB_EIO;
    }
}

/* -------------------------------------------------------------------------------------- binding */

static socklen_t fill_internet(union socket_address *to, const char *host, uint16_t port)
{
    memset(to, 0, sizeof(*to));
    if (inet_pton(AF_INET, host, &to->four.sin_addr) == 1) {
        to->four.sin_family = AF_INET;
        to->four.sin_port = htons(port);
        return sizeof(to->four);
    }
    inet_pton(AF_INET6, host, &to->six.sin6_addr);
    to->six.sin6_family = AF_INET6;
    to->six.sin6_port = htons(port);
    return sizeof(to->six);
}

/* Linux gives what is accepted the options of the socket that listens, so that no connection costs
 * system calls for them. */
void chi_listener_options(int fd, const struct chi_settings *settings)
{
    const int on = 1, idle = 60, interval = 15, probes = 4;
    int notsent = (int)settings->notsent;
    unsigned user = settings->stall_time + 1000;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof(interval));
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user, sizeof(user));
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &notsent, sizeof(notsent));
}

/* A socket that listens, or the negative errno. */
static int listen_on(const union socket_address *at, socklen_t len,
                     const struct chi_settings *settings)
{
    const int on = 1;
    int fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (at->any.sa_family != AF_UNIX) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        chi_listener_options(fd, settings);
    }
    if (at->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    if (at->any.sa_family ==
        AF_UNIX) /* what its file will have; the umask is the whole process's */
        fchmod(fd, 0600);
    if (bind(fd, &at->any, len) == 0 && listen(fd, (int)settings->backlog) == 0)
        return fd;
    int error = errno;
    close(fd);
    return -error;
}

static uint16_t port_of(int fd)
{
    union socket_address at;
    socklen_t len = sizeof(at);

    memset(&at, 0, sizeof(at));
    if (getsockname(fd, &at.any, &len) != 0)
        return 0;
    return ntohs(at.any.sa_family == AF_INET6 ? at.six.sin6_port : at.four.sin_port);
}

/* One of our own for a socket that was passed: whoever passed it keeps the other, with which it goes
 * on to listen when ours is closed. Or the negative errno. */
static int take_passed(const struct opening *o, int passed)
{
    int fd = fcntl(passed, F_DUPFD_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    if (!o->address->is_unix)
        chi_listener_options(fd, o->net->parts.settings);
    return fd;
}

static int bind_internet(const struct opening *o, struct chi_listener *listener, int which,
                         const char *host)
{
    union socket_address at;
    socklen_t len = fill_internet(&at, host, listener->address.port);
    int fd = o->passed[which] >= 0 ? take_passed(o, o->passed[which])
                                   : listen_on(&at, len, o->net->parts.settings);

    if (fd < 0)
        return fd;
    listener->fds[which] = fd;
    listener->address.port = port_of(fd);
    return 0;
}

/* 127.0.0.1, and ::1 with the same port where there is IPv6. */
static int bind_localhost(const struct opening *o, struct chi_listener *listener)
{
    uint16_t wanted = listener->address.port;
    int error = 0;

    for (int i = 0; i < PORT_TRIES; i++) {
        listener->address.port = wanted;
        error = bind_internet(o, listener, 0, "127.0.0.1");
        if (error)
            return error;
        error = bind_internet(o, listener, 1, "::1");
        if (error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL)
            return 0;
        if (error == 0)
            return 0;
        close(listener->fds[0]);
        listener->fds[0] = -1;
        if (error != -EADDRINUSE || wanted != 0)
            break;
    }
    listener->address.port = wanted;
    return error;
}

/* Whether a socket's file is left over from a program that is gone. */
static bool is_stale(const union socket_address *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct stat st;

    if (fd < 0)
        return false;
    bool refused = lstat(at->un.sun_path, &st) == 0 && S_ISSOCK(st.st_mode) &&
                   connect(fd, &at->any, sizeof(at->un)) != 0 && errno == ECONNREFUSED;
    close(fd);
    return refused;
}

static int bind_unix(const struct opening *o, struct chi_listener *listener)
{
    const struct chi_settings *settings = o->net->parts.settings;
    union socket_address at;
    int fd;

    if (o->passed[0] >= 0) { /* its file is of whoever made it */
        fd = take_passed(o, o->passed[0]);
        listener->fds[0] = fd;
        return fd < 0 ? fd : 0;
    }

    memset(&at, 0, sizeof(at));
    at.un.sun_family = AF_UNIX;
    memcpy(at.un.sun_path, listener->address.host, sizeof(at.un.sun_path));
    fd = listen_on(&at, sizeof(at.un), settings);
    if (fd == -EADDRINUSE && is_stale(&at) && unlink(at.un.sun_path) == 0)
        fd = listen_on(&at, sizeof(at.un), settings);
    if (fd < 0)
        return fd;
    listener->fds[0] = fd;
    listener->bound = true;
    return 0;
}

/* A socket that others have, too, would be reported for as long as they have it, though ours is
 * closed. */
static void close_sockets(struct chi_net *net, struct chi_listener *listener)
{
    if (listener->bound)
        unlink(listener->address.host);
    listener->bound = false;
    for (int i = 0; i < 2; i++)
        if (listener->fds[i] >= 0) {
            chi_net_epoll(net, listener->fds[i], false, 0, 0);
            close(listener->fds[i]);
        }
    listener->fds[0] = listener->fds[1] = -1;
}

/* ------------------------------------------------------------------------------------ listening */

static int open_listener(const struct opening *o, struct chi_listener *listener)
{
    int error;

    if (listener->address.is_unix)
        error = bind_unix(o, listener);
    else if (strcmp(listener->address.host, "localhost") == 0)
        error = bind_localhost(o, listener);
    else
        error = bind_internet(o, listener, 0, listener->address.host);
    for (int i = 0; i < 2 && !error; i++)
        if (listener->fds[i] >= 0 &&
            chi_net_epoll(o->net, listener->fds[i], true, o->net->listener_count, i) != 0)
            error = -EIO;
    if (!error)
        return 0;
    close_sockets(o->net, listener);
    return explain(o, -error);
}

int chi_net_listen(struct chi_net *net, const struct chi_listening *listening, char *problem,
                   size_t size)
{
    const struct chi_address *address = &listening->address;
    struct opening o = {net, address, listening->passed, problem, size};
    bool local = chi_address_is_local(address);
    char url[320];

    url_of(address, address->port, url, sizeof(url));
    if (!local && !net->parts.settings->insecure) {
        snprintf(problem, size,
                 "%s can be reached from other machines, and nobody is asked who they are: use "
                 "localhost, or --insecure "
                 "if that is meant",
                 url);
        return CHATHUB_EINSECURE;
    }
    if (net->listener_count == CHI_LISTENERS_MAX) {
        snprintf(problem, size, "%s: there are %d listeners already, which is the most", url,
                 CHI_LISTENERS_MAX);
        return CHATHUB_EFULL;
    }
    struct chi_listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        return CHATHUB_ENOMEM;
    listener->address = *address;
    listener->fds[0] = listener->fds[1] = -1;
    listener->local = local;
    listener->stall_time = net->parts.settings->stall_time;
    if (!address->dialect && address->protocol == CHI_PROTOCOL_WEBSOCKET &&
        net->parts.settings->dialect)
        listener->address.dialect = chi_dialect_find(chi_span_of(net->parts.settings->dialect));
    int error = open_listener(&o, listener);
    if (error) {
        free(listener);
        return error;
    }
    net->listeners[net->listener_count++] = listener;
    return 0;
}

/* The option has changed: it holds for those who come from now on. */
static void follow_stall_time(const struct chi_settings *settings, struct chi_listener *listener)
{
    listener->stall_time = settings->stall_time;
    for (int i = 0; i < 2 && !listener->address.is_unix; i++)
        if (listener->fds[i] >= 0)
            chi_listener_options(listener->fds[i], settings);
}

void chi_listener_follow(struct chi_net *net)
{
    const struct chi_settings *settings = net->parts.settings;

    for (uint32_t i = 0; i < net->listener_count; i++) {
        struct chi_listener *listener = net->listeners[i];
        if (listener->stall_time != settings->stall_time)
            follow_stall_time(settings, listener);
    }
}

void chi_listener_close_all(struct chi_net *net)
{
    for (uint32_t i = 0; i < net->listener_count; i++)
        close_sockets(net, net->listeners[i]);
    net->accepting = false;
}

/* Connections that the hub does not know (handshakes, answers, goodbyes) are bounded, too. */
bool chi_listener_full(const struct chi_net *net)
{
    const struct chi_settings *settings = net->parts.settings;
    return net->mute >= settings->max_handshakes ||
           net->count >= (uint64_t)settings->max_clients + settings->max_handshakes;
}

static void watch(struct chi_net *net, bool on)
{
    if (net->accepting == on)
        return;
    net->accepting = on;
    for (uint32_t i = 0; i < net->listener_count; i++)
        for (int which = 0; which < 2; which++)
            if (net->listeners[i]->fds[which] >= 0)
                chi_net_epoll(net, net->listeners[i]->fds[which], on, i, which);
}

void chi_listener_resume(struct chi_net *net)
{
    if (net->accepting || net->stopped || chi_listener_full(net))
        return;
    if (net->parts.env.ops->now(net->parts.env.self) >= net->accept_again)
        watch(net, true);
}

/* ------------------------------------------------------------------------------------ accepting */

static void out_of_descriptors(struct chi_net *net, int error)
{
    const struct chi_env *env = &net->parts.env;
    uint64_t now = env->ops->now(env->self);
    const struct chi_field fields[] = {
        {"error", chi_span_of(strerror(error))},
        {"advice", chi_span_of("new connections wait; raise the limit of open files (ulimit -n)")}};

    net->accept_again = now + 500;
    watch(net, false);
    if (net->accept_logged && now - net->accept_logged < LOG_AGAIN_MS)
        return;
    net->accept_logged = now ? now : 1;
    env->ops->log(env->self, CHATHUB_ERROR, "accept_failed", fields, 2);
}

void chi_listener_peer(struct chi_peer *peer, const struct sockaddr *from, uint32_t listener)
{
    const struct sockaddr_in *four = (const void *)from;
    const struct sockaddr_in6 *six = (const void *)from;

    memset(peer, 0, sizeof(*peer));
    peer->listener = (uint8_t)listener;
    if (from->sa_family == AF_INET) {
        peer->family = 4;
        peer->port = ntohs(four->sin_port);
        memcpy(peer->bytes, &four->sin_addr, 4);
    } else if (from->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&six->sin6_addr)) {
        /* IPv4 at a socket that takes both, such as one that was passed */
        peer->family = 4;
        peer->port = ntohs(six->sin6_port);
        memcpy(peer->bytes, six->sin6_addr.s6_addr + 12, 4);
    } else if (from->sa_family == AF_INET6) {
        peer->family = 6;
        peer->port = ntohs(six->sin6_port);
        memcpy(peer->bytes, &six->sin6_addr, 16);
    }
}

/* Whether this address has its share of handshakes already. */
bool chi_listener_crowded(const struct chi_net *net, const struct chi_peer *peer)
{
    uint32_t n = 0;

    if (chi_peer_is_local(peer))
        return false;
    for (uint32_t i = 0; i < net->young_count; i++) {
        const struct chi_conn *conn = chi_conn_at(net, net->young[i]);
        if (conn->counted && chi_peer_same(&conn->peer, peer))
            n++;
    }
    return n >= net->parts.settings->max_handshakes_address;
}

static void refuse_crowd(struct chi_net *net, int fd, const struct chi_peer *peer)
{
    const struct chi_env *env = &net->parts.env;
    char text[CHI_PEER_TEXT];
    const struct chi_field fields[] = {
        {"address", chi_span_of(chi_peer_text(peer, text))},
        {"reason", chi_span_of("too many unfinished handshakes from this address")}};

    env->ops->log(env->self, CHATHUB_INFO, "refused", fields, 2);
    close(fd);
}

/* Takes one. false: none is left, or none can be taken now. */
static bool accept_one(struct chi_net *net, uint32_t listener, int which)
{
    union socket_address from;
    socklen_t len = sizeof(from);
    struct chi_peer peer;

    memset(&from, 0, sizeof(from));
    int fd = accept4(net->listeners[listener]->fds[which], &from.any, &len,
                     SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            out_of_descriptors(net, errno);
        return errno == EINTR || errno == ECONNABORTED || errno == EPROTO;
    }
    chi_listener_peer(&peer, &from.any, listener);
    if (chi_listener_crowded(net, &peer))
        refuse_crowd(net, fd, &peer);
    else if (chi_conn_accept(net, fd, &peer) != 0)
        close(fd);
    return true;
}

void chi_listener_ready(struct chi_net *net, uint32_t index, int which)
{
    struct chi_listener *listener = index < net->listener_count ? net->listeners[index] : NULL;

    if (listener && listener->stall_time != net->parts.settings->stall_time)
        follow_stall_time(net->parts.settings, listener);
    for (int i = 0; i < CHI_ACCEPT_BATCH && listener && listener->fds[which] >= 0 && net->accepting;
         i++) {
        if (chi_listener_full(net)) {
            watch(net, false);
            return;
        }
        if (!accept_one(net, index, which))
            return;
    }
}
