/* The in-process transport: clients inside the host's own process, full participants of the hub. */
#ifndef CHI_NET_INPROC_H
#define CHI_NET_INPROC_H

#include "chathub.h"
#include "core/hub.h"
#include "delivery/delivery.h"
#include "net/queue.h"

struct chi_inproc;

/* All outlive it. */
struct chi_inproc_parts {
    struct chi_hub *hub;
    struct chi_delivery *delivery;
    struct chi_queue *queue; /* for clients without a callback */
    struct chathub *owner;   /* handed to callbacks */
    struct chi_env env;      /* its `wake` is called when a turn is needed */
};
int chi_inproc_new(const struct chi_inproc_parts *parts, struct chi_inproc **out);
/* Before the hub's end; no event is told any more. NULL is allowed. */
void chi_inproc_free(struct chi_inproc *inproc);
/* As chathub_client, without the hello. cb NULL: its events go to the queue. */
int chi_inproc_open(struct chi_inproc *inproc, chathub_event_cb cb, void *arg, uint64_t *id);
/* Copies the request; it takes effect in a turn. CHATHUB_EGONE, CHATHUB_EAGAIN, CHATHUB_ENOMEM. */
int chi_inproc_request(struct chi_inproc *inproc, uint64_t id, const struct chi_request *request);
/* Forgets a client that the host was never told of, at once and without a word. */
void chi_inproc_abort(struct chi_inproc *inproc, uint64_t id);
int chi_inproc_close(struct chi_inproc *inproc, uint64_t id);
/* Whether requests wait that the hub has not heard. */
bool chi_inproc_waiting(const struct chi_inproc *inproc);
/* Hands waiting requests to the hub, tells the ends of clients, and lets those that found no room in
 * the queue go on. */
void chi_inproc_turn(struct chi_inproc *inproc);
/* After the flush behind a turn: the queue's descriptor tells what came. */
void chi_inproc_flushed(struct chi_inproc *inproc);
/* When a turn is needed though nothing happens, since there was no memory for the queue; UINT64_MAX:
 * never. */
uint64_t chi_inproc_next(const struct chi_inproc *inproc);

#endif
