#include "net/routes.h"

#include <stdlib.h>
#include <string.h>

#include "util/map.h"
#include "util/text.h"

struct chi_routes {
    struct chi_map *map;           /* path → struct chi_route */
    struct chi_http_body *current; /* of the callback that runs, or NULL */
};

int chi_routes_new(const uint8_t secret[16], struct chi_routes **out)
{
    struct chi_routes *routes = calloc(1, sizeof(*routes));

    if (routes)
        routes->map = chi_map_new(secret);
    if (!routes || !routes->map) {
        free(routes);
        return CHATHUB_ENOMEM;
    }
    *out = routes;
    return 0;
}

static void route_free(struct chi_route *route)
{
    if (!route)
        return;
    free(route->type);
    free(route);
}

static void free_each(void *ctx, const void *key, size_t len, void *value)
{
    (void)ctx;
    (void)key;
    (void)len;
    route_free(value);
}

void chi_routes_free(struct chi_routes *routes)
{
    if (!routes)
        return;
    chi_map_each(routes->map, free_each, NULL);
    chi_map_free(routes->map);
    free(routes);
}

/* A path is what stands in a request line: absolute, visible ASCII, without a query. */
static bool path_fits(const char *path)
{
    if (!path || path[0] != '/')
        return false;
    for (const char *at = path; *at; at++)
        if (*at <= ' ' || *at >= 0x7f || *at == '?' || *at == '#')
            return false;
    return strlen(path) < 1024;
}

/* A header's value: visible ASCII and inner spaces. */
static bool type_fits(const char *type)
{
    if (!type || !*type)
        return false;
    for (const char *at = type; *at; at++)
        if (*at < ' ' || *at >= 0x7f)
            return false;
    return strlen(type) < 256;
}

/* Takes over `route`, in place of an earlier one. */
static int put(struct chi_routes *routes, const char *path, struct chi_route *route)
{
    struct chi_route *old = chi_map_get(routes->map, path, strlen(path));
    int error = chi_map_put(routes->map, path, strlen(path), route);

    route_free(error ? route : old);
    return error;
}

int chi_routes_asset(struct chi_routes *routes, const char *path, const char *type,
                     const void *bytes, size_t len)
{
    struct chi_route *route;

    if (!path_fits(path) || !type_fits(type) || (!bytes && len > 0))
        return CHATHUB_EINVAL;
    route = calloc(1, sizeof(*route));
    if (route)
        route->type = chi_span_dup(chi_span_of(type));
    if (!route || !route->type) {
        route_free(route);
        return CHATHUB_ENOMEM;
    }
    route->bytes = bytes;
    route->len = len;
    route->methods = CHI_METHOD(GET) | CHI_METHOD(HEAD);
    return put(routes, path, route);
}

int chi_routes_callback(struct chi_routes *routes, const char *path, uint32_t methods,
                        chathub_route_cb cb, void *arg)
{
    const uint32_t all = CHI_METHOD(GET) | CHI_METHOD(HEAD) | CHI_METHOD(POST) | CHI_METHOD(DELETE);
    struct chi_route *route;

    if (!path_fits(path) || !cb || !methods || (methods & ~all))
        return CHATHUB_EINVAL;
    route = calloc(1, sizeof(*route));
    if (!route)
        return CHATHUB_ENOMEM;
    route->cb = cb;
    route->arg = arg;
    route->methods = methods | (methods & CHI_METHOD(GET) ? CHI_METHOD(HEAD) : 0);
    return put(routes, path, route);
}

const struct chi_route *chi_routes_find(const struct chi_routes *routes, const char *path,
                                        size_t len)
{
    return chi_map_get(routes->map, path, len);
}

void chi_routes_set_current(struct chi_routes *routes, struct chi_http_body *body)
{
    routes->current = body;
}

struct chi_http_body *chi_routes_current(struct chi_routes *routes)
{
    return routes->current;
}
