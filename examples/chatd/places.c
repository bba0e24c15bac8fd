#include "places.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"

#define PATH "/server.json"

/* ------------------------------------------------------------------------------------ listeners */

/* Takes ws://HOST:PORT/PATH and ws+unix:FILE?path=/PATH apart; false for others. */
static bool read_web(struct chatd_web *web)
{
    bool is_unix = strncmp(web->url, "ws+unix:", 8) == 0;
    if (!is_unix && strncmp(web->url, "ws://", 5) != 0)
        return false;
    const char *path = is_unix ? strstr(web->url, "?path=") : strchr(web->url + 5, '/');
    if (!path)
        return false;
    size_t host = is_unix ? 0 : (size_t)(path - web->url) - 5;
    while (host > 0 && web->url[5 + host - 1] != ':')
        host--;
    snprintf(web->host, sizeof(web->host), "%.*s", host ? (int)host - 1 : 0, web->url + 5);
    web->port = host ? (unsigned)strtoul(web->url + 5 + host, NULL, 10) : 0;
    path += is_unix ? 6 : 0;
    snprintf(web->path, sizeof(web->path), "%.*s", (int)strcspn(path, "?"), path);
    return true;
}

bool chatd_web_next(const struct chathub *hub, uint32_t *index, struct chatd_web *web)
{
    while (chathub_listener(hub, *index, web->url, sizeof(web->url)) >= 0) {
        ++*index;
        if (read_web(web))
            return true;
    }
    return false;
}

bool chatd_web_first(const struct chatd_hub *hub, struct chatd_web *web)
{
    uint32_t index = 0;
    while (chatd_web_next(hub->hub, &index, web)) {
        if (web->port)
            return true;
    }
    return false;
}

static bool is_own_name(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "127.0.0.1") == 0 ||
           strcmp(host, "[::1]") == 0;
}

static bool is_every_host(const char *host)
{
    return strcmp(host, "0.0.0.0") == 0 || strcmp(host, "[::]") == 0;
}

const char *chatd_web_host(const struct chatd_hub *hub, struct chatd_web *web)
{
    uint32_t index = 0;
    while (chatd_web_next(hub->hub, &index, web)) {
        if (web->port && (is_own_name(web->host) || strncmp(web->host, "127.", 4) == 0))
            return web->host;
    }
    return chatd_web_first(hub, web) ? web->host : "localhost";
}

/* ------------------------------------------------------------------------ what a page can reach */

/* Whether who reached one host reaches the other by the same name. */
static bool hosts_meet(const char *one, const char *other)
{
    return strcmp(one, other) == 0 || is_every_host(one) || is_every_host(other) ||
           (is_own_name(one) && is_own_name(other));
}

/* Whether that is so for a page of this hub: pages dial other servers at the host that they came
 * from. On Unix sockets alone there is a proxy, here or nowhere. */
static bool can_reach(const struct chatd_hub *from, const char *host)
{
    struct chatd_web web;
    uint32_t index = 0;
    bool any = false;
    while (chatd_web_next(from->hub, &index, &web)) {
        if (web.port && hosts_meet(web.host, host))
            return true;
        any = any || web.port;
    }
    return !any && hosts_meet("localhost", host);
}

/* The first listener of a hub that pages of `from` reach. False: there is none. */
static bool find_reachable(const struct chatd_hub *from, const struct chatd_hub *hub,
                           struct chatd_web *web)
{
    uint32_t index = 0;
    while (chatd_web_next(hub->hub, &index, web)) {
        if (web->port && can_reach(from, web->host))
            return true;
    }
    return false;
}

/* --------------------------------------------------------------------------------- /server.json */

static void put_text(FILE *out, const char *text)
{
    putc('"', out);
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c < 0x20)
            fprintf(out, "\\u%04x", c);
        else
            fprintf(out, c == '"' || c == '\\' ? "\\%c" : "%c", c);
    }
    putc('"', out);
}

static void put_sockets(FILE *out, const struct chathub *hub)
{
    struct chatd_web web;
    uint32_t index = 0;
    for (const char *comma = ""; chatd_web_next(hub, &index, &web); comma = ",") {
        fprintf(out, "%s{", comma);
        if (web.port)
            fprintf(out, "\"port\":%u,", web.port);
        fputs("\"path\":", out);
        put_text(out, web.path);
        putc('}', out);
    }
}

static void put_server(FILE *out, const char *name, const struct chatd_web *web, const char *rest)
{
    fputs("{\"name\":", out);
    put_text(out, name);
    fprintf(out, ",\"port\":%u,\"path\":", web->port);
    put_text(out, web->path);
    fprintf(out, ",%s}", rest);
}

/* Whether a peer is this one itself, by its name or its port. */
static bool is_own(const struct chatd_hub *own, const char *name, unsigned port)
{
    struct chatd_web web;
    uint32_t index = 0;
    bool found = strcmp(own->place.name, name) == 0;
    while (!found && chatd_web_next(own->hub, &index, &web))
        found = web.port == port;
    return found;
}

/* `comma`: what stands before the first. */
static void put_peers(FILE *out, const struct chatd_hub *own, const char *comma)
{
    const struct chatd_plan *plan = own->all->plan;
    for (size_t i = 0; plan && i < plan->peer_count; i++) {
        struct chatd_web web;
        snprintf(web.url, sizeof(web.url), "%s", plan->peers[i].url);
        if (!read_web(&web) || is_own(own, plan->peers[i].name, web.port) ||
            !can_reach(own, web.host))
            continue;
        fputs(comma, out);
        comma = ",";
        put_server(out, plan->peers[i].name, &web, "\"removable\":false,\"peer\":true");
    }
}

/* Those that its pages can choose by their port. */
static void put_servers(FILE *out, const struct chatd_hub *own)
{
    struct chatd_web web;
    const char *comma = "";
    for (const struct chatd_hub *hub = own->all->first; hub; hub = hub->next) {
        if (hub->stopping || !find_reachable(own, hub, &web))
            continue;
        fputs(comma, out);
        put_server(out, hub->place.name, &web,
                   hub->made ? "\"removable\":true" : "\"removable\":false");
        comma = ",";
    }
    put_peers(out, own, comma);
}

static int answer(struct chathub *hub, const struct chathub_http *request, void *arg)
{
    const struct chatd_hub *own = arg;
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    if (!out)
        return 500;
    fputs("{\"name\":", out);
    put_text(out, own->place.name);
    fputs(",\"sockets\":[", out);
    put_sockets(out, hub);
    fputs("],\"servers\":[", out);
    put_servers(out, own);
    fprintf(out, "],\"create\":%s}\n", chatd_api_refusal(own->all, request) ? "false" : "true");
    bool complete = fclose(out) == 0;
    int error = complete ? chathub_http_body(hub, "application/json", text, len) : CHATHUB_ENOMEM;
    free(text);
    return error < 0 ? 500 : 200;
}

int chatd_places_serve(struct chatd_hub *hub, struct chatd_problem *problem)
{
    if (chathub_route(hub->hub, PATH, answer, hub) == 0)
        return 0;
    return chatd_problem(problem, CHATD_EXIT_OTHER, PATH " cannot be served: %s",
                         chathub_problem(hub->hub));
}
