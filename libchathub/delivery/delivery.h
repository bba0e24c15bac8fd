/* Delivery: cursors, windows, signals and the pump that brings rooms' entries to their members.
 *
 * core tells it what happened (ports.h, chi_delivery_ops); flush makes it so on the transports. */
#ifndef CHI_DELIVERY_DELIVERY_H
#define CHI_DELIVERY_DELIVERY_H

#include "core/env.h"
#include "core/ports.h"
#include "core/settings.h"

extern const struct chi_delivery_ops chi_delivery_ops;

/* settings, env and log outlive it. */
int chi_delivery_new(const struct chi_settings *settings, struct chi_env env, struct chi_log *log,
                     struct chi_delivery **out);
void chi_delivery_free(struct chi_delivery *d);
/* Before the first flush. */
void chi_delivery_bind(struct chi_delivery *d, const struct chi_delivery_up *up);

/* Writes until nothing is left to write or the slice is over: after settings->slice_writes or
 * slice_bytes, or slice_us by `clock` (µs; NULL: no bound of time), and what was visited by then.
 * Answers whether more remains: the driver polls for reads and calls again. */
bool chi_delivery_flush(struct chi_delivery *d, uint64_t (*clock)(void *ctx), void *ctx);

/* From transports: it can take bytes again. */
void chi_delivery_writable(struct chi_delivery *d, uint32_t client);
/* From transports: it has control frames of its own to send (see take_control). */
void chi_delivery_poke(struct chi_delivery *d, uint32_t client);
/* From transports: nothing can be sent to it any more. What waits for it is dropped, and what it is
 * answered from now on, so that this holds up nothing that it said before. */
void chi_delivery_broken(struct chi_delivery *d, uint32_t client);
/* From transports: whether bytes wait that it did not take. */
bool chi_delivery_blocked(const struct chi_delivery *d, uint32_t client);
/* Housekeeping about once a second while it is `warm`: frees what is idle, asks again for what
 * failed. */
void chi_delivery_tick(struct chi_delivery *d);
/* Whether there is anything that a tick could do. */
bool chi_delivery_warm(const struct chi_delivery *d);

struct chi_delivery_counts {
    uint64_t window_bytes; /* in windows and pages now */
    uint64_t held_bytes;   /* replies and half-sent frames waiting now */
    uint64_t deliveries;   /* frames of entries handed to transports */
    uint64_t writes;       /* calls of send, each span of write_many counting once per connection */
    uint64_t bytes;        /* that transports took */
    uint64_t pages;        /* read from the log */
    uint64_t gaps;         /* told */
    uint64_t behind;       /* members not at the head now */
};
void chi_delivery_counts(const struct chi_delivery *d, struct chi_delivery_counts *out);
/* For tests: the first disagreement in its own books, or NULL. */
const char *chi_delivery_check(const struct chi_delivery *d);

#endif
