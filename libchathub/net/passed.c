#include "net/passed.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "chathub.h"

/* A socket, where it listens, and where a fault is told. */
struct passing {
    int fd;
    bool is_unix;
    char host[sizeof(struct sockaddr_un)]; /* an address, or a path; @ before a name that is none */
    uint16_t port;
    char *problem;
    size_t size;
};

static int fault(const struct passing *p, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static int fault(const struct passing *p, int error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(p->problem, p->size, format, args);
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

static int check_socket(const struct passing *p)
{
    int domain = number_of(p->fd, SO_DOMAIN);
    struct stat st;

    if (p->fd < 0 || fstat(p->fd, &st) != 0)
        return fault(p, CHATHUB_EINVAL, "descriptor %d is not open", p->fd);
    if (!S_ISSOCK(st.st_mode))
        return fault(p, CHATHUB_EINVAL, "descriptor %d is no socket", p->fd);
    if (number_of(p->fd, SO_TYPE) != SOCK_STREAM ||
        (domain != AF_INET && domain != AF_INET6 && domain != AF_UNIX))
        return fault(p, CHATHUB_EINVAL, "descriptor %d is no stream socket of TCP or Unix", p->fd);
    if (number_of(p->fd, SO_ACCEPTCONN) != 1)
        return fault(p, CHATHUB_EINVAL,
                     "descriptor %d does not listen; it has to be a socket for which listen() was "
                     "called",
                     p->fd);
    return 0;
}

/* A path, or @ and a name where it is none of the file system. */
static void read_path(struct passing *p, const struct sockaddr_un *at, socklen_t len)
{
    size_t size = len > offsetof(struct sockaddr_un, sun_path)
                      ? len - offsetof(struct sockaddr_un, sun_path)
                      : 0;

    p->is_unix = true;
    bool abstract = size > 0 && at->sun_path[0] == '\0';
    snprintf(p->host, sizeof(p->host), "%s%.*s", abstract ? "@" : "",
             (int)(size - (abstract ? 1 : 0)), at->sun_path + (abstract ? 1 : 0));
}

static int read_place(struct passing *p)
{
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
        struct sockaddr_un un;
    } at;
    socklen_t len = sizeof(at);

    memset(&at, 0, sizeof(at));
    if (getsockname(p->fd, &at.any, &len) != 0)
        return fault(p, CHATHUB_EIO, "descriptor %d: %s", p->fd, strerror(errno));
    if (at.any.sa_family == AF_UNIX) {
        read_path(p, &at.un, len);
    } else if (at.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &at.four.sin_addr, p->host, sizeof(p->host));
        p->port = ntohs(at.four.sin_port);
    } else {
        inet_ntop(AF_INET6, &at.six.sin6_addr, p->host, sizeof(p->host));
        p->port = ntohs(at.six.sin6_port);
    }
    return 0;
}

static void tell_place(const struct passing *p, char *out, size_t size)
{
    bool six = !p->is_unix && strchr(p->host, ':');

    if (p->is_unix)
        snprintf(out, size, "%s", *p->host ? p->host : "no path");
    else
        snprintf(out, size, "%s%s%s:%u", six ? "[" : "", p->host, six ? "]" : "",
                 (unsigned)p->port);
}

/* ------------------------------------------------------------------------------- whose it may be */

/* Which of the sockets of a listener's host this is, whatever the port; -1: none. */
static int which_of(const struct chi_address *address, const struct passing *p)
{
    char host[sizeof(p->host)];
    struct in6_addr six;

    if (address->is_unix || p->is_unix)
        return address->is_unix && p->is_unix && strcmp(address->host, p->host) == 0 ? 0 : -1;
    if (strcmp(address->host, "localhost") == 0)
        return strcmp(p->host, "127.0.0.1") == 0 ? 0 : strcmp(p->host, "::1") == 0 ? 1 : -1;
    if (inet_pton(AF_INET6, address->host, &six) != 1)
        return strcmp(address->host, p->host) == 0 ? 0 : -1;
    inet_ntop(AF_INET6, &six, host, sizeof(host)); /* one address can be written in many ways */
    return strcmp(host, p->host) == 0 ? 0 : -1;
}

/* The listener of this address that has no socket yet: one that names the port before one that takes
 * any. *which: the place for it. NULL: there is none; *taken: but one that has its socket. */
static struct chi_listening *find(struct chi_listening *all, uint32_t count,
                                  const struct passing *p, int *which, bool *taken)
{
    struct chi_listening *found = NULL;

    for (uint32_t i = 0; i < count; i++) {
        const struct chi_address *address = &all[i].address;
        int at = which_of(address, p);
        if (at < 0 || (!p->is_unix && address->port != p->port && address->port != 0))
            continue;
        if (all[i].passed[at] >= 0) {
            *taken = true;
        } else if (!found || (found->address.port == 0 && address->port != 0)) {
            found = &all[i];
            *which = at;
        }
    }
    return found;
}

int chi_passed_give(struct chi_listening *all, uint32_t count, int fd, char *problem, size_t size)
{
    struct passing p = {.fd = fd, .problem = problem, .size = size};
    char place[sizeof(p.host) + 16];
    bool taken = false;
    int which = 0, error = check_socket(&p);

    if (!error)
        error = read_place(&p);
    if (error)
        return error;
    struct chi_listening *listening = find(all, count, &p, &which, &taken);
    tell_place(&p, place, sizeof(place));
    if (!listening && taken)
        return fault(&p, CHATHUB_EINUSE,
                     "descriptor %d listens at %s, and so does another one that the listener there "
                     "has already",
                     fd, place);
    if (!listening)
        return fault(&p, CHATHUB_ENOENT,
                     "descriptor %d listens at %s, where there is to be no listener", fd, place);
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
        fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
        return fault(&p, CHATHUB_EIO, "descriptor %d: %s", fd, strerror(errno));
    listening->passed[which] = fd;
    if (!p.is_unix)
        listening->address.port = p.port;
    return 0;
}

void chi_passed_close(struct chi_listening *all, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        for (int which = 0; which < 2; which++) {
            if (all[i].passed[which] >= 0)
                close(all[i].passed[which]);
            all[i].passed[which] = -1;
        }
}
