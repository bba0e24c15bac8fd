/* Where browsers reach the servers, and /server.json, which tells it to pages. */
#ifndef CHATD_PLACES_H
#define CHATD_PLACES_H

#include "hubs.h"

/* A listener with WebSockets and a page. */
struct chatd_web {
    char url[512];
    char host[128]; /* as in the URL; "" on a Unix socket */
    unsigned port;  /* 0 on a Unix socket */
    char path[256]; /* of the WebSocket */
};

/* The next one of a hub from listener number *index on, which moves behind it. False at the end. */
bool chatd_web_next(const struct chathub *hub, uint32_t *index, struct chatd_web *web);

/* The first one that has a port. False: there is none. */
bool chatd_web_first(const struct chatd_hub *hub, struct chatd_web *web);

/* Where servers go that are made at the request of this one: the host of its first listener that
 * only this machine can reach, else of its first, else (Unix sockets alone) localhost. A request
 * opens a port to other machines only if the one asked has no other host. `web` holds it. */
const char *chatd_web_host(const struct chatd_hub *hub, struct chatd_web *web);

/* Makes the hub answer /server.json: its name, its sockets, the servers that a page of it can reach
 * at the host of its own, and whether the one who asks may make further ones. 0, or -1 with
 * *problem. */
int chatd_places_serve(struct chatd_hub *hub, struct chatd_problem *problem);

#endif
