/* The queue of events: what happens in a hub waits here until the host takes it.
 *
 * Two sides: the hub's adds (whoever has the hub: one thread at a time), the host's takes, on any
 * thread. They meet for a moment only, so that neither waits for the other's work. */
#ifndef CHI_NET_QUEUE_H
#define CHI_NET_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chathub.h"

struct chi_queue;

/* `limit` outlives it: bytes of events that wait, beyond which nothing more is taken but what has to
 * be. CHATHUB_ENOMEM. */
int chi_queue_new(const uint64_t *limit, struct chi_queue **out);
void chi_queue_free(struct chi_queue *queue);

/* ---------------------------------------------------------------------------- by the hub's side */

/* Whether there is room. If not, the host's next take says `drained`. */
bool chi_queue_has_room(struct chi_queue *queue);
/* Whether what was not added last found no memory, rather than no room. */
bool chi_queue_is_starved(const struct chi_queue *queue);
/* Adds the records (dialect/local.h) of a client for which there is room. Answers how many bytes,
 * whole records: fewer than `len` as with chi_queue_has_room, or if there is no memory. `beyond`:
 * though there is no room. */
size_t chi_queue_add_records(struct chi_queue *queue, uint64_t client, const char *records,
                             size_t len, bool beyond);
/* Adds an event, whose texts are anywhere (NULL: ""). False: no room (unless `beyond`), or no
 * memory. */
bool chi_queue_add(struct chi_queue *queue, const struct chathub_event *event, bool beyond);
/* The same for a question. Without room it waits before the queue, until `until` on the clock of
 * chi_queue_turn at the longest. False: too many wait so, or no memory. */
bool chi_queue_ask(struct chi_queue *queue, const struct chathub_event *event, uint64_t until);
/* Questions that wait come in as far as there is room, before anything else. False: there was no
 * memory; call it again within a second. */
bool chi_queue_turn(struct chi_queue *queue, uint64_t now);
/* The descriptor is readable from now on if events wait: after as many as come at once. */
void chi_queue_tell(struct chi_queue *queue);
/* Adds CHATHUB_EVENT_STOPPED with this count; nothing comes behind it. */
void chi_queue_stop(struct chi_queue *queue, uint64_t count);

/* ----------------------------------------------------------------------------------- any thread */

/* As chathub_queue_fd. */
int chi_queue_fd(struct chi_queue *queue);
/* As chathub_take. *drained: there was no room before, and now is. */
int chi_queue_take(struct chi_queue *queue, struct chathub_batch *out, bool *drained);

#endif
