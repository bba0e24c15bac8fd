/* What a hub serves over plain HTTP: bytes in memory and callbacks, by exact path. */
#ifndef CHI_NET_ROUTES_H
#define CHI_NET_ROUTES_H

#include "chathub.h"

struct chi_routes;

#define CHI_METHOD(word) (1u << CHATHUB_METHOD_##word)

struct chi_route {
    char *type;          /* Content-Type of an asset, owned */
    const void *bytes;   /* an asset's bytes, the host's */
    size_t len;          /* their number */
    chathub_route_cb cb; /* NULL: an asset */
    void *arg;           /* the host's, for cb */
    uint32_t methods;    /* what it has, as bits 1 << enum chathub_method; HEAD if GET */
};

/* secret: 16 random bytes for its map. */
int chi_routes_new(const uint8_t secret[16], struct chi_routes **out);
void chi_routes_free(struct chi_routes *routes);
int chi_routes_asset(struct chi_routes *routes, const char *path, const char *type,
                     const void *bytes, size_t len);
int chi_routes_callback(struct chi_routes *routes, const char *path, uint32_t methods,
                        chathub_route_cb cb, void *arg);
/* NULL: there is none. Valid until the path is set again. */
const struct chi_route *chi_routes_find(const struct chi_routes *routes, const char *path,
                                        size_t len);

/* The body that a route's callback sets (chathub_http_body) while it runs. */
struct chi_http_body {
    char *type;  /* owned */
    char *bytes; /* owned */
    size_t len;
};
/* The net calls a callback with `current` set, and takes the body from it afterwards. chathub.c
 * reaches it through chi_routes_current; NULL outside a callback. */
void chi_routes_set_current(struct chi_routes *routes, struct chi_http_body *body);
struct chi_http_body *chi_routes_current(struct chi_routes *routes);

#endif
