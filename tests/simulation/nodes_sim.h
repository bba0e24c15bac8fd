/* The simulation of several nodes of one chat: real hubs with real delivery, one log that all of
 * them share and show with a lag of their own, and a bus that delays, loses and cuts.
 *
 * Safety, at each step: what a node tells of a member follows what that member posted; nobody is
 * told to have left who did not; entries come in order and without holes. Liveness, when faults end
 * and time passes: all nodes know the same, and it is so. */
#ifndef NODES_SIM_H
#define NODES_SIM_H

#include "core/internal.h"
#include "sim.h"

#define NS_NODES   4     /* at once */
#define NS_ROOMS   3     /* that people go to */
#define NS_ACTORS  10    /* people at most */
#define NS_CONNS   96    /* connections, with those that are dying */
#define NS_USERS   400   /* identities in one story */
#define NS_POSTS   400   /* of one actor */
#define NS_ENTRIES 4000  /* in the log */
#define NS_ASKED   16    /* requests of one connection that were not answered */
#define NS_EPOCHS  16    /* of the log */
#define NS_HELD    5000u /* ms for which core waits for the log at most */

/* Kinds of trouble; each seed has its own mix. */
#define NS_FAULTS(X)                                                                               \
    X(LOSS, 0, "loss")           /* messages of the bus are lost */                                \
    X(REFUSE, 1, "refuse")       /* the bus takes no more for a moment */                          \
    X(PARTITION, 2, "partition") /* nodes do not hear each other, both ways or one */              \
    X(DIE, 3, "die")             /* nodes end without a word, and new ones come */                 \
    X(STOP, 4, "stop")           /* nodes end with a bye, and new ones come */                     \
    X(LAG, 5, "lag")             /* nodes show the log late */                                     \
    X(SLOW, 6, "slow")           /* posts stay uncommitted for a while */                          \
    X(UNKNOWN, 7, "unknown")     /* it is not known whether a post was committed */                \
    X(CUT, 8, "cut")             /* connections are lost */                                        \
    X(HALF_OPEN, 9, "half-open") /* the hub learns of that late, or never */                       \
    X(MOVE, 10, "move")          /* who returns goes to another node */                            \
    X(RACE, 11, "race")          /* many wish for few names */                                     \
    X(SAME_KEY, 12, "same-key")  /* two connections show one key at the same time */               \
    X(SMALL, 13, "small")        /* small messages: states come in parts */                        \
    X(BACK, 14, "back")          /* the log goes back to an earlier state */                       \
    X(LATE, 15, "late")          /* a node stands still for a while */                             \
    X(FOREIGN, 16, "foreign")    /* some share names, or cannot come back */                       \
    X(LONG_LAG, 17, "long-lag")  /* the log is behind for longer than core waits for it */         \
    X(TIGHT, 18, "tight")        /* nodes have room for few sessions of others */
#define NS_X(name, bit, word) NS_##name = 1u << (bit),
enum ns_fault { NS_FAULTS(NS_X) };
#undef NS_X

struct ns_world;

/* An entry of the shared log. */
struct ns_entry {
    struct chi_entry *entry; /* one reference */
    int room;
    uint32_t user;    /* interned */
    uint32_t cid;     /* interned */
    uint32_t departs; /* times that its user had left the room when it was posted */
    uint64_t at;      /* when it was committed, ms */
    uint32_t node;    /* serial of the node that posted it … */
    void *token;      /* … with this; NULL: it was answered otherwise */
};

/* What a node's view of the log still owes, in order. */
struct ns_draft {
    struct ns_draft *next;
    struct chi_entry *entry; /* one reference */
    int room;
    uint32_t user, cid, departs;
    void *token;
    uint64_t due; /* when it is published, ms */
    bool unknown; /* its answer is that nobody knows */
};
struct ns_answer {
    struct ns_answer *next;
    struct chi_entry *entry; /* of a repeat: the first one, one reference; or NULL */
    int room, status;
    void *token;
    uint32_t after; /* once so many entries were shown */
};
struct ns_page {
    struct ns_page *next;
    struct chi_log_read read;
    int room;
    uint64_t due;
};

struct ns_view_room {
    struct ns_node *node;
    int room;
    bool open, opening;
    uint32_t number;
    uint64_t due;   /* when it is open, ms */
    uint64_t shown; /* newest position that delivery knows */
};

/* A message on its way. */
struct ns_parcel {
    struct ns_parcel *next;
    uint32_t from, to; /* serials of nodes */
    uint64_t due;
    size_t len;
    char bytes[];
};

struct ns_node {
    struct chi_log log; /* first: slots are called with it */
    struct chi_bus bus;
    struct ns_world *world;
    bool used, woken, stopping, stopped;
    int index;
    uint32_t serial; /* another one for each opening */
    uint64_t still;  /* until then it does nothing, ms */
    uint64_t last_tick, last_turn;
    uint64_t skew; /* of its wall clock */
    struct chi_env env;
    struct chi_transport transport;
    struct chi_delivery *delivery;
    struct chi_hub *hub;
    struct chi_log_up up;
    struct chi_bus_up bus_up;
    struct ns_view_room rooms[NS_ROOMS];
    struct ns_draft *drafts, **drafts_end;
    struct ns_answer *answers, **answers_end;
    struct ns_page *pages;
    uint32_t shown;  /* entries of the log that it has shown … */
    uint64_t newest; /* … and the position of the last of them */
    uint32_t backs;  /* of world->backs, as it knows */
    uint64_t lag;    /* of what it shows, ms */
};

/* An identity, as it is in truth. */
struct ns_user {
    uint32_t user;                    /* interned public id */
    uint32_t departs[NS_ROOMS];       /* times that it may have left */
    int32_t went[NS_NODES][NS_ROOMS]; /* times that a node told so */
    uint64_t seen;                    /* until when its client was there, ms */
    uint32_t client;                  /* connection that has it, + 1; 0: none */
    bool parted;                      /* it said goodbye, or cannot come back */
    bool race;                        /* a node took it for a new one */
    bool close_call;                  /* it returned when its time was nearly over */
};

enum ns_post_state { NS_POST_OPEN, NS_POST_SENT, NS_POST_ACKED, NS_POST_GONE };
struct ns_post {
    uint8_t state;
    int room;
    uint64_t position;
};

struct ns_asked {
    uint32_t ref;
    uint8_t type;
    int room, post;
};

struct ns_request {
    struct ns_request *next;
    struct chi_request request;
    char ref[12], cid[32], content[64], name[32], session[72];
    char epochs[NS_ROOMS][CHI_EPOCH_LEN + 1];
    uint32_t omits; /* hello: rooms that are not named */
};

struct ns_in {
    bool in;
    bool gap_due; /* `joined` said that it begins elsewhere */
    uint64_t cursor;
};

struct ns_conn {
    bool used, open, reading, cut, clean, welcomed, share;
    bool fresh; /* it joined a room just now */
    int node;
    uint32_t node_serial;
    uint64_t id;
    int actor;        /* whose current one it is, or was */
    uint32_t user;    /* interned: whom the hub takes it for */
    uint32_t user_at; /* the same, as the client has read it */
    uint64_t notice_at;
    uint64_t stalled; /* until then it reads nothing */
    struct ns_request *inbox, **inbox_end;
    struct sim_bytes rx;
    struct ns_asked asked[NS_ASKED];
    uint32_t asked_count, next_ref;
    struct ns_in in[NS_ROOMS];
};

struct ns_actor {
    int conn; /* or -1 */
    char key[72], name[32];
    uint32_t user; /* interned, 0: not known */
    uint32_t life;
    bool guest, share;
    uint64_t away_until;
    bool wants[NS_ROOMS];
    uint64_t position[NS_ROOMS];
    char epoch[NS_ROOMS][CHI_EPOCH_LEN + 1];
    struct ns_post posts[NS_POSTS];
    uint32_t post_count;
};

struct ns_config {
    uint64_t seed;
    uint32_t steps, actors, nodes, faults;
    bool verbose;
};

struct ns_world {
    struct sim_world *base; /* clock, randomness, words, what failed */
    struct ns_config config;
    struct chi_settings settings;
    uint32_t faults; /* in force now */
    bool strict;     /* nothing is cut off: nobody may be told what is not so */
    uint32_t serial;
    struct ns_node nodes[NS_NODES];
    struct ns_conn conns[NS_CONNS];
    struct ns_actor actors[NS_ACTORS];
    struct ns_user users[NS_USERS];
    uint32_t user_count;
    struct ns_entry entries[NS_ENTRIES];
    uint32_t entry_count;
    uint64_t position; /* the highest given */
    char epochs[NS_EPOCHS][CHI_EPOCH_LEN + 1];
    uint64_t epoch_from[NS_EPOCHS]; /* positions before which an epoch's predecessor holds */
    uint32_t backs;                 /* times that the log went back: the epoch's number */
    uint32_t back_to[NS_EPOCHS];    /* … and how many entries it held then */
    struct ns_parcel *parcels;
    bool cut[NS_NODES][NS_NODES];
    uint64_t due[NS_NODES][NS_NODES]; /* of the last parcel of a pair */
    uint64_t byes[64];                /* ids of nodes that stopped and said so */
    uint32_t bye_count;
    char suspicion[300]; /* what is wrong unless more is told in this step */
    struct sim_frame frame;
    struct sim_bytes scratch;
};

extern struct ns_world *ns_world;

#define NS_TRACE(w, ...) SIM_TRACE((w)->base, __VA_ARGS__)
#define NS_FAIL(w, ...)  sim_fail((w)->base, __VA_ARGS__)
static inline uint32_t ns_below(struct ns_world *w, uint32_t n)
{
    return sim_below(&w->base->rng, n);
}
static inline bool ns_one_in(struct ns_world *w, uint32_t n)
{
    return sim_one_in(&w->base->rng, n);
}
static inline bool ns_faulty(const struct ns_world *w, enum ns_fault fault)
{
    return (w->faults & (uint32_t)fault) != 0;
}
static inline uint64_t ns_now(const struct ns_world *w)
{
    return w->base->now;
}
int ns_room_of(struct chi_span name);

/* nodes_log.c */
void ns_log_init(struct ns_node *node);
void ns_log_free(struct ns_node *node);
void ns_log_go_back(struct ns_world *w);
void ns_bus_init(struct ns_node *node);
/* What is on its way to a node is dropped. */
void ns_bus_drop(struct ns_world *w, const struct ns_node *node);

/* nodes.c */
bool ns_node_open(struct ns_world *w, int index);
void ns_node_close(struct ns_world *w, struct ns_node *node);
void ns_node_turn(struct ns_world *w, struct ns_node *node);
struct ns_node *ns_node_of(struct ns_world *w, uint32_t serial);

/* nodes_people.c */
void ns_transport_init(struct ns_node *node);
void ns_actor_step(struct ns_world *w, int actor);
bool ns_conn_serve(struct ns_world *w, struct ns_conn *c);
bool ns_conn_receive(struct ns_world *w, struct ns_conn *c);
void ns_conn_notice(struct ns_world *w, struct ns_conn *c);
void ns_conn_free(struct ns_world *w, struct ns_conn *c);
void ns_conn_cut(struct ns_world *w, struct ns_conn *c, bool clean);
struct ns_conn *ns_conn_of(struct ns_world *w, const struct ns_node *node, uint32_t slot);
struct ns_request *ns_ask(struct ns_world *w, struct ns_conn *c, enum chi_request_type type,
                          int room, int post);

/* nodes_check.c */
struct ns_user *ns_user_of(struct ns_world *w, uint32_t user);
void ns_departs(struct ns_world *w, struct ns_user *user, int room); /* -1: all rooms */
void ns_departs_all(struct ns_world *w);
void ns_check_log_line(struct ns_node *node, const char *event, const struct chi_field *fields,
                       size_t n);
void ns_check_signal(struct ns_node *node, int room, const struct chi_signal *signal);
void ns_check_frame(struct ns_world *w, struct ns_conn *c, struct sim_frame *f);
void ns_check_suspicion(struct ns_world *w);
void ns_check_step(struct ns_world *w);
void ns_check_rest(struct ns_world *w);

struct ns_outcome {
    bool ok;
    uint32_t step;
    uint64_t frames, trace;
    char what[400];
};

#endif
