/* The network side: listeners, connections, HTTP, WebSocket and lines on one libuv loop. */
#ifndef CHI_NET_NET_H
#define CHI_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/env.h"
#include "core/hub.h"
#include "core/settings.h"
#include "delivery/delivery.h"
#include "net/passed.h"
#include "net/routes.h"

struct uv_loop_s;
struct chi_net;

struct chi_net_parts {
    struct uv_loop_s *loop;
    const struct chi_settings *settings;
    struct chi_env env;
    struct chi_hub *hub;
    struct chi_delivery *delivery;
    struct chi_routes *routes;
    struct chathub *owner; /* handed to route callbacks; not looked into */
};

/* Takes a copy of the parts' struct; what it points to outlives the net. */
int chi_net_new(const struct chi_net_parts *parts, struct chi_net **out);

/* Binds and listens at once (on `localhost`: 127.0.0.1, and ::1 where there is IPv6, with the
 * same port), or takes duplicates of the sockets that were passed for it. On an error, `problem`
 * (`size` bytes) says in one line what is wrong and what to do. */
int chi_net_listen(struct chi_net *net, const struct chi_listening *listening, char *problem,
                   size_t size);

/* URL of open listener `index` with its real port, as chathub_listener. Here and in the two below, net
 * NULL: a hub in a test, which has none. */
int chi_net_listener(const struct chi_net *net, uint32_t index, char *out, size_t size);

/* A connection that the host hands over. */
struct chi_adoption {
    int as;                            /* enum chathub_adopted_as */
    int fd;                            /* whatever it may be */
    const struct chi_address *address; /* what its listener would say; copied */
    const void *bytes;                 /* what was read of it; copied */
    size_t len;
    bool native; /* chathub.v1 was agreed on */
};
/* As if a listener of that address had accepted it; from the loop, not within the call. 0, or an error
 * of chathub_adopt, with one line in `problem`: the descriptor is as it was. */
int chi_net_adopt(struct chi_net *net, const struct chi_adoption *adoption, char *problem,
                  size_t size);

/* Accepts no more; connections still in their handshake are closed. */
void chi_net_stop_accepting(struct chi_net *net);

/* Sockets open, in any state; 0 after all have said goodbye. */
uint32_t chi_net_connections(const struct chi_net *net);

/* Ends all at once: listeners, connections, timers. `done` comes from the loop when no handle of
 * the net is left; the net is freed then. The hub and delivery are not called any more, from
 * here on. */
void chi_net_close(struct chi_net *net, void (*done)(void *arg), void *arg);

#endif
