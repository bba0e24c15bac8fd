/* The driver: runs a hub's turns and delivery's flushes at the right moments of a libuv loop. */
#ifndef CHI_NET_DRIVER_H
#define CHI_NET_DRIVER_H

#include <stdbool.h>

#include "core/hub.h"
#include "delivery/delivery.h"
#include "net/carrier.h"
#include "net/inproc.h"

struct uv_loop_s;
struct chi_driver;

struct chi_driver_parts {
    struct chi_env env;
    struct chi_hub *hub;
    struct chi_delivery *delivery;
    struct chi_inproc *inproc;
    struct chi_carriers *carriers;
    void (*after)(void *arg); /* after each turn and flush */
    void (*woken)(void *arg); /* chi_driver_wake was called on some thread */
    void *arg;
};

/* Handles on the loop, which keep it alive until close. loop NULL: it has none, runs by hand, in tests,
 * and is closed at once. */
int chi_driver_new(struct uv_loop_s *loop, struct chi_driver **out);
/* Begins to run turns. `work` (of the world) is the driver's from now on. */
void chi_driver_start(struct chi_driver *driver, const struct chi_driver_parts *parts, bool *work);
/* Nothing is run any more; frees itself when the loop has closed its handles, and calls `done`
 * (may be NULL) then. Called again before that, it only replaces `done`. */
void chi_driver_close(struct chi_driver *driver, void (*done)(void *arg), void *arg);
/* The host wants its callback: from any thread. */
void chi_driver_wake(struct chi_driver *driver);
/* A log's thread has something for the hub: from any thread, until close. */
void chi_driver_want_turn(struct chi_driver *driver);
/* Whether a flush left something for the next turn. */
bool chi_driver_busy(const struct chi_driver *driver);

/* By hand: one turn, if one is wanted, and the host's callback. Whether there was anything to do. The
 * driver may be gone after it. */
bool chi_driver_turn(struct chi_driver *driver);
/* By hand: when the next turn is wanted (env.now ms); 0: now, UINT64_MAX: it is not. */
uint64_t chi_driver_due(const struct chi_driver *driver);

#endif
