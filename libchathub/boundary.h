/* What the files of the boundary share: the hub as a host knows it, and how its calls begin and
 * end. */
#ifndef CHI_BOUNDARY_H
#define CHI_BOUNDARY_H

#include <stdatomic.h>
#include <sys/types.h>
#include <uv.h>

#include "chathub.h"
#include "core/hub.h"
#include "delivery/delivery.h"
#include "net/carrier.h"
#include "net/driver.h"
#include "net/inproc.h"
#include "net/net.h"
#include "net/passed.h"
#include "net/queue.h"
#include "net/world.h"

/* What stands in for the machine where a test has the hub in its hands (tests/kit): no loop, no sockets,
 * no threads, and the driver runs by hand. Set between new and start, with world.ops. */
struct chi_stand_in {
    /* In place of the log that the option names. As its constructor. */
    int (*make_log)(struct chi_stand_in *self, const struct chi_settings *settings,
                    struct chi_env env, struct chi_log **out);
    /* The hub is being freed: `self` is not used any more. */
    void (*freed)(struct chi_stand_in *self);
};

enum state { STATE_NEW, STATE_RUNNING, STATE_STOPPING, STATE_CLOSING, STATE_STOPPED };

struct chathub {
    pid_t pid; /* the process that made it */
    enum state state;
    bool own_loop;                 /* `loop` is `the_loop` */
    uv_loop_t the_loop;            /* the hub's own, where it has one */
    uv_loop_t *loop;               /* NULL before start, and by hand */
    struct chi_stand_in *stand_in; /* in a test; else NULL */
    struct chi_settings settings;
    struct chi_listening *listening; /* owned: listeners to open */
    uint32_t listening_count;
    struct chi_routes *routes;
    struct chi_world world;
    bool work; /* a turn is wanted (the world sets it, the driver clears it) */
    struct chi_log *log;
    struct chi_bus *bus; /* of the log; NULL: there are no other nodes */
    struct chi_delivery *delivery;
    struct chi_hub *hub;
    struct chi_queue *queue; /* of events, from new to free */
    struct chi_inproc *inproc;
    struct chi_carriers *carriers;
    struct chi_net *net;
    struct chi_driver *driver;
    _Atomic(struct chi_driver *) wakes; /* the same, for chathub_wake on any thread */
    uv_timer_t *stop_timer;             /* allocated by itself: it outlives a free */
    uint64_t stop_at;                   /* when a stop ends whatever is still there */
    uint64_t stop_due;                  /* by hand: when it looks again */
    bool told_stop;                     /* the hub knows that it stops */
    bool end_now;                       /* a second stop came */
    bool said_goodbye;                  /* connections were told to close */
    chathub_stop_cb stopped;
    void *stopped_arg;
    chathub_wake_cb woken;
    void *woken_arg;
    chathub_authorize_cb authorize;
    void *authorize_arg;
    uint32_t authorize_actions;
    bool questions;         /* they go to the queue, not to `authorize` */
    uint64_t lost_records;  /* that found no room in the queue, and were not told yet */
    struct chi_buf record;  /* the fields of a record as JSON */
    struct chi_own *own;    /* its own thread, or NULL; set before other threads call */
    struct chi_buf text;    /* copies with NULs for callbacks */
    struct chi_buf decoded; /* scratch of chathub_request */
    char problem[512];
};

/* First in every public function: where the hub has a thread of its own, the call has the hub for
 * itself until the function returns, and what it leaves to do wakes that thread. A function that
 * has begun may call others. */
#define CHI_CALL(hub)                                                                              \
    struct chi_own *chi_called __attribute__((cleanup(chi_call_end), unused)) = chi_call_begin(hub)
struct chi_own;
struct chi_own *chi_call_begin(const struct chathub *hub);
void chi_call_end(struct chi_own **own);

/* For a call on any thread that does not have the hub to itself: a turn is wanted. */
void chi_call_turn(struct chathub *hub);
/* Its own thread, if it has one, is told to end, and waited for. */
void chi_own_end(struct chathub *hub);
/* As chathub_wake and chathub_problem, of a hub that has one. */
int chi_own_wake(struct chi_own *own);
const char *chi_own_problem(const struct chi_own *own);

/* The two halves of an own loop's step, which chathub_step is, too: what is to be done now, and when
 * the next time is on the loop's clock (UINT64_MAX: whenever its descriptor is readable). */
void chi_loop_round(struct chathub *hub);
uint64_t chi_loop_due(const struct chathub *hub);
/* The same by hand, where there is a stand-in: one turn, if there is anything to do, which is answered;
 * and when the next is wanted by world.ops->now (0: now). */
bool chi_hand_turn(struct chathub *hub);
uint64_t chi_hand_due(const struct chathub *hub);
/* Takes everything off the loop at once. */
void chi_tear_down(struct chathub *hub);

/* Whether this can be a room's name; `where` it was said. CHATHUB_EVALUE, CHATHUB_ENOMEM. */
int chi_check_named_room(struct chathub *hub, const char *where, struct chi_span name);

/* Where records and questions go that the queue is to hold. */
void chi_queue_record(const struct chathub_record *record, void *hub);
int chi_queue_question(struct chathub *hub, const struct chathub_question *question);

/* Structs of callers begin with their size, which may be that of an older or a newer library: the first
 * version ended behind `last`. */
#define CHI_HAS(given, type, last)                                                                 \
    ((given)->size >= offsetof(type, last) + sizeof(((const type *)NULL)->last))
#define CHI_LESSER(a, b) ((a) < (b) ? (a) : (b))

/* What every call looks at first (behind CHI_CALL): 0, CHATHUB_EINVAL (no hub) or CHATHUB_EFORK. */
int chi_enter(const struct chathub *hub);
/* The same for calls that need a running hub: CHATHUB_ESTOPPED besides. */
int chi_enter_running(const struct chathub *hub);
/* The same for calls that a hub takes no more once it stops; notes it for chathub_problem. */
int chi_enter_serving(struct chathub *hub);
/* Notes what was wrong, for chathub_problem; answers the error. */
int chi_problem(struct chathub *hub, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with the error's own text; answers what is no error as it is. */
int chi_plain(struct chathub *hub, int error);

#endif
