#include "api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "places.h"

#define PATH "/api/create-server"

/* ---------------------------------------------------------------------------------- who may ask */

/* Reads NAME[:PORT], where NAME is one of those that every machine has for itself. False if it is
 * something else. */
static bool read_own_name(const char *text, unsigned *port)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t len = strlen(names[i]);
        if (strncasecmp(text, names[i], len) != 0)
            continue;
        char *end = NULL;
        *port = 80;
        if (!text[len])
            return true;
        if (text[len] != ':' || text[len + 1] < '0' || text[len + 1] > '9')
            return false;
        unsigned long number = strtoul(text + len + 1, &end, 10);
        *port = (unsigned)number;
        return !*end && number > 0 && number <= CHATD_PORT_MOST;
    }
    return false;
}

/* The hub that has this port, whatever it is there for; NULL if none has. */
static struct chatd_hub *find_port(const struct chatd_hubs *hubs, unsigned port)
{
    for (struct chatd_hub *hub = hubs->first; hub; hub = hub->next) {
        struct chatd_web web;
        uint32_t index = 0;
        while (chatd_web_next(hub->hub, &index, &web)) {
            if (web.port == port)
                return hub;
        }
    }
    return NULL;
}

const char *chatd_api_refusal(const struct chatd_hubs *hubs, const struct chathub_http *request)
{
    unsigned port;
    if (!chatd_settings_on(hubs->settings, "create-servers"))
        return "servers are neither made nor ended while this chatd runs: its option "
               "create-servers is no";
    if (!request->local)
        return "servers are made and ended from the machine that chatd runs on";
    if (request->forwarded)
        return "servers are made and ended from the machine that chatd runs on, without a proxy; "
               "this request came through one, as its headers tell";
    if (!read_own_name(request->host, &port))
        return "servers are made and ended by the name localhost; that is not the Host here";
    if (!*request->origin)
        return NULL;
    if (strncasecmp(request->origin, "http://", 7) == 0 &&
        read_own_name(request->origin + 7, &port) && find_port(hubs, port))
        return NULL;
    return "servers are made and ended by the pages of this chatd and by programs; this page is "
           "from elsewhere";
}

/* ------------------------------------------------------------------------------------ answering */

__attribute__((format(printf, 3, 4))) static int answer(struct chathub *hub, int status,
                                                        const char *format, ...)
{
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    chathub_http_body(hub, "text/plain; charset=utf-8", text, strlen(text));
    return status;
}

/* The one value of port=N in a query; 0 if there is none that fits. */
static unsigned port_of(const char *query)
{
    const char *found = NULL;
    for (const char *at = query; *at; at += strcspn(at, "&"), at += *at == '&') {
        if (strncmp(at, "port=", 5) != 0)
            continue;
        if (found)
            return 0;
        found = at + 5;
    }
    size_t len = found ? strcspn(found, "&") : 0;
    if (len == 0 || len > 5 || strspn(found, "0123456789") < len)
        return 0;
    unsigned long port = strtoul(found, NULL, 10);
    return port >= CHATD_PORT_LEAST && port <= CHATD_PORT_MOST ? (unsigned)port : 0;
}

/* ----------------------------------------------------------------------- whether a port is free */

/* 0, or the errno for which a socket cannot be bound there. */
static int try_bind(int family, const void *at, socklen_t len)
{
    const int on = 1;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
    int error = bind(fd, at, len) == 0 ? 0 : errno;
    close(fd);
    return error;
}

/* The same for an address as in a URL. */
static int try_address(const char *host, unsigned port)
{
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    char text[INET6_ADDRSTRLEN];
    if (inet_pton(AF_INET, host, &four.sin_addr) == 1)
        return try_bind(AF_INET, &four, sizeof(four));
    if (*host != '[')
        return EADDRNOTAVAIL;
    snprintf(text, sizeof(text), "%.*s", (int)strcspn(host + 1, "]"), host + 1);
    if (inet_pton(AF_INET6, text, &six.sin6_addr) != 1)
        return EADDRNOTAVAIL;
    return try_bind(AF_INET6, &six, sizeof(six));
}

/* The same where a hub would bind: localhost is 127.0.0.1, and ::1 where there is IPv6. */
static int try_port(const char *host, unsigned port)
{
    if (strcmp(host, "localhost") != 0)
        return try_address(host, port);
    int error = try_address("127.0.0.1", port);
    if (error)
        return error;
    error = try_address("[::1]", port);
    return error == EAFNOSUPPORT || error == EADDRNOTAVAIL ? 0 : error;
}

/* Why this port cannot be used; NULL: the reason is no matter of the port (descriptors, memory). */
static const char *port_problem(int error)
{
    switch (error) {
    case EADDRINUSE:
        return "it is already in use by another program; stop that one, or choose another port";
    case EACCES:
    case EPERM:
        return "the system does not permit it; choose another port";
    case EADDRNOTAVAIL:
        return "this machine no longer has the address of the server that was asked";
    default:
        return NULL;
    }
}

/* ------------------------------------------------------------------------------ making, ending */

/* Why there can be no further server at this port, without trying: NULL if there can. */
static const char *obstacle(const struct chatd_hubs *hubs, unsigned port, char *text, size_t size)
{
    char name[32];
    snprintf(name, sizeof(name), "custom-%u", port);
    for (const struct chatd_hub *hub = hubs->first; hub; hub = hub->next) {
        if (strcmp(hub->place.name, name) != 0)
            continue;
        snprintf(text, size, "Server %s is %s", name,
                 hub->stopping ? "still stopping; try again shortly" : "there already");
        return text;
    }
    const struct chatd_hub *other = find_port(hubs, port);
    if (other)
        snprintf(text, size, "Port %u is the one of server %s; choose another", port,
                 other->place.name);
    else if (hubs->count >= chatd_plan_most(hubs->settings))
        snprintf(text, size,
                 "There %s %zu server%s already; end one, or start chatd with a larger "
                 "--max-servers",
                 hubs->count == 1 ? "is" : "are", hubs->count, hubs->count == 1 ? "" : "s");
    else
        return NULL;
    return text;
}

/* A hub in the list, ready to start; NULL with *problem. */
static struct chatd_hub *make(struct chatd_hubs *hubs, const char *host, unsigned port,
                              struct chatd_problem *problem)
{
    struct chatd_place place;
    if (chatd_place_custom(hubs->settings, host, port, &place) < 0) {
        chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
        return NULL;
    }
    struct chatd_hub *hub = chatd_hubs_add(hubs, &place, problem);
    chatd_place_free(&place);
    if (!hub)
        return NULL;
    hub->made = true;
    if (chatd_hub_equip(hub, problem) == 0)
        return hub;
    chatd_hub_drop(hub);
    return NULL;
}

/* Logs that no server was made, and answers it: `reason` to the one who asked if it is about the
 * port, else (the log, memory …) only to the operator. */
static int fail(const struct chatd_hub *asked, const char *peer, unsigned port, bool is_of_port,
                const char *reason)
{
    char name[32];
    snprintf(name, sizeof(name), "custom-%u", port);
    logsink_say_of(asked->all->sink, name, CHATHUB_WARNING, "server_failed", "message", reason,
                   "address", peer, NULL);
    if (is_of_port)
        return answer(asked->hub, 400, "Port %u cannot be used: %s", port, reason);
    return answer(asked->hub, 500, "Server %s could not be started; chatd's log lines say why",
                  name);
}

/* The port is tried before anything is made, since the files of a log outlive its hub. Who takes it
 * in between is told by the start itself, as anything else that fails there. */
static int create(struct chatd_hub *asked, struct chathub *hub, const char *peer, unsigned port)
{
    struct chatd_hubs *hubs = asked->all;
    const struct chatd_user nobody = {0}; /* whoever chatd was to become, it is already */
    struct chatd_problem problem = {0};
    struct chatd_web web;
    char text[256];
    if (obstacle(hubs, port, text, sizeof(text)))
        return answer(hub, 400, "%s", text);
    const char *host = chatd_web_host(asked, &web);
    int error = try_port(host, port);
    const char *reason = port_problem(error);
    if (error)
        return fail(asked, peer, port, reason != NULL, reason ? reason : strerror(error));
    struct chatd_hub *made = make(hubs, host, port, &problem);
    if (made && chatd_hub_start(made, &nobody, &problem) == 0) {
        logsink_say_of(hubs->sink, made->place.name, CHATHUB_INFO, "server_created", "address",
                       peer, NULL);
        return answer(hub, 200, "Server started on port %u", port);
    }
    if (made)
        chatd_hub_drop(made);
    return fail(asked, peer, port, false, problem.text);
}

static int end(struct chatd_hub *asked, struct chathub *hub, const char *peer, unsigned port)
{
    struct chatd_hub *found = find_port(asked->all, port);
    if (!found || found->stopping)
        return answer(hub, 404, "There is no server on port %u", port);
    if (!found->made)
        return answer(hub, 400,
                      "Server %s was there when chatd started, and ends with it; only servers that "
                      "were made later can be ended by themselves",
                      found->place.name);
    logsink_say_of(asked->all->sink, found->place.name, CHATHUB_INFO, "server_ending", "address",
                   peer, NULL);
    chatd_hub_stop(found);
    return answer(hub, 200, "Server stopped on port %u", port);
}

static int on_request(struct chathub *hub, const struct chathub_http *request, void *arg)
{
    struct chatd_hub *asked = arg;
    const char *refusal = chatd_api_refusal(asked->all, request);
    unsigned port = port_of(request->query);
    if (refusal) {
        logsink_say_of(asked->all->sink, chatd_hub_label(asked), CHATHUB_INFO, "refused", "address",
                       request->address, "status", "403", "reason", refusal, "origin",
                       request->origin, "host", request->host, NULL);
        return answer(hub, 403, "%s", refusal);
    }
    if (!port)
        return answer(hub, 400, "Say one port from %d to %d: " PATH "?port=N", CHATD_PORT_LEAST,
                      CHATD_PORT_MOST);
    if (asked->all->stopping)
        return answer(hub, 503, "chatd is stopping");
    if (request->method == CHATHUB_METHOD_POST)
        return create(asked, hub, request->address, port);
    return end(asked, hub, request->address, port);
}

int chatd_api_serve(struct chatd_hub *hub, struct chatd_problem *problem)
{
    uint32_t methods = 1u << CHATHUB_METHOD_POST | 1u << CHATHUB_METHOD_DELETE;
    if (chathub_route_methods(hub->hub, PATH, methods, on_request, hub) == 0)
        return 0;
    return chatd_problem(problem, CHATD_EXIT_OTHER, PATH " cannot be served: %s",
                         chathub_problem(hub->hub));
}
