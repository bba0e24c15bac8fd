/* A hub without sockets, for benches of what is inside: a virtual clock, randomness that repeats, a
 * transport that takes everything (or nothing) at no cost, and the turns of a loop that never sleeps.
 * Nothing is checked but that it goes on; that it is right is the simulation's. */
#ifndef SCALE_WORLD_H
#define SCALE_WORLD_H

#include "core/hub.h"
#include "delivery/delivery.h"
#include "net/inproc.h"

struct scale_world {
    struct chi_settings settings; /* the defaults; may be changed before scale_world_open */
    struct chi_env env;
    struct chi_log *log;
    struct chi_delivery *delivery;
    struct chi_hub *hub;
    struct chi_inproc *inproc;
    struct chi_queue *queue;        /* of events, which nobody takes */
    struct chi_transport transport; /* takes everything, of any connection … */
    uint32_t stall_every;           /* … but of those whose number this divides; 0: of all */
    uint32_t waiting;               /* clients whose post waits: they are not read from */
    uint64_t writes, bytes;         /* that it took, each connection of a span for itself */
    uint64_t now;                   /* ms; passes only by scale_world_pass and by waiting */
    uint64_t ticked;                /* when delivery last kept house */
    uint64_t noise;                 /* where randomness stands */
    int wake;                       /* eventfd: a log's thread has something */
    bool woken;                     /* somebody wants a turn */
    bool left;                      /* the last flush left something */
};

/* The defaults into w->settings, and no bound on rooms, clients and members. */
void scale_world_init(struct scale_world *w);
/* `path`: of an SQLite log; NULL: one in memory. Ends the program if it cannot. */
void scale_world_open(struct scale_world *w, const char *path);
void scale_world_close(struct scale_world *w);

/* One turn of the loop with one flush, whose slice `clock` (µs, of the world) judges;
 * NULL: no limit. */
void scale_world_turn(struct scale_world *w, uint64_t (*clock)(void *ctx));
/* Turns until nobody wants one. */
void scale_world_settle(struct scale_world *w);
/* As settle, and then waits a moment for the log's threads. */
void scale_world_wait(struct scale_world *w);
/* Ends the program if the books of the hub or of delivery do not agree. */
void scale_world_check(const struct scale_world *w);
/* Has so many ms pass, with all timers that are due meanwhile. */
void scale_world_pass(struct scale_world *w, uint64_t ms);

/* A client that speaks the native dialect over WebSocket as connection `conn`, and says hello by this
 * name. Answers its id. */
uint64_t scale_world_client(struct scale_world *w, uint32_t conn, const char *name);
void scale_world_join(struct scale_world *w, uint64_t id, const char *room);
void scale_world_post(struct scale_world *w, uint64_t id, const char *room, struct chi_span text);

double scale_cpu(void); /* of this process, seconds */
/* Says what is wrong and ends the program. */
__attribute__((noreturn, format(printf, 1, 2))) void scale_fail(const char *format, ...);

#endif
