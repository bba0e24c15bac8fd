/* The in-process transport: clients inside the host's own process, full participants of the hub. */
#ifndef CHI_NET_INPROC_H
#define CHI_NET_INPROC_H

#include "chathub.h"
#include "core/hub.h"

struct chi_inproc;

/* hub outlives it; owner and wake are handed on: owner to event callbacks, wake is called when a
 * turn is needed. */
int chi_inproc_new(struct chi_hub *hub, struct chathub *owner, struct chi_env env,
                   struct chi_inproc **out);
/* Before the hub's end; no event is told any more. NULL is allowed. */
void chi_inproc_free(struct chi_inproc *inproc);
/* As chathub_client, without the hello. */
int chi_inproc_open(struct chi_inproc *inproc, chathub_event_cb cb, void *arg, uint64_t *id);
/* Copies the request; it takes effect in a turn. CHATHUB_EGONE, CHATHUB_EAGAIN, CHATHUB_ENOMEM. */
int chi_inproc_request(struct chi_inproc *inproc, uint64_t id, const struct chi_request *request);
/* Forgets a client that the host was never told of, at once and without a word. */
void chi_inproc_abort(struct chi_inproc *inproc, uint64_t id);
int chi_inproc_close(struct chi_inproc *inproc, uint64_t id);
/* Whether requests wait that the hub has not heard. */
bool chi_inproc_waiting(const struct chi_inproc *inproc);
/* Hands waiting requests to the hub, and tells the ends of clients. */
void chi_inproc_turn(struct chi_inproc *inproc);

#endif
