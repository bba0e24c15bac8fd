/* The hub: one chat world. Rules without I/O; everything it meets comes as tables (env.h, ports.h).
 *
 * Drivers (net/, in-process clients, the simulation) open clients, hand over requests, and call
 * chi_hub_turn when the hub asked for it. All on one thread. Nothing here calls transports:
 * effects wait in delivery for its flush. */
#ifndef CHI_CORE_HUB_H
#define CHI_CORE_HUB_H

#include "chathub.h"
#include "core/env.h"
#include "core/ports.h"
#include "core/settings.h"

struct chi_hub;

/* A decision that the host is asked for. Borrowed for the call. */
struct chi_question {
    uint64_t id; /* for chi_hub_answer */
    int action;  /* enum chathub_action */
    uint64_t client;
    struct chi_span user;    /* public id */
    struct chi_span name;    /* its name; for a hello: the wished one */
    struct chi_span room;    /* join, post */
    struct chi_span content; /* post */
};

struct chi_hub_parts {
    const struct chi_settings *settings; /* read at each use; outlives the hub */
    struct chi_env env;
    struct chi_log *log; /* outlives the hub */
    struct chi_bus
        *bus; /* to the other nodes of this chat; NULL: there are none. Outlives the hub */
    const struct chi_delivery_ops *delivery_ops;
    struct chi_delivery *delivery; /* outlives the hub */
    /* Asked for the actions in `ask` (bits 1 << action). Answers a chathub_decision;
     * CHATHUB_LATER: chi_hub_answer follows. Called in chi_hub_turn or chi_hub_request. NULL:
     * everything is allowed. */
    int (*authorize)(void *ctx, const struct chi_question *question);
    void *authorize_ctx;
    uint32_t ask;
};

/* Takes copies of the parts' struct. 0 or CHATHUB_ENOMEM. */
int chi_hub_new(const struct chi_hub_parts *parts, struct chi_hub **out);
/* All clients and rooms end without a word. NULL is allowed. */
void chi_hub_free(struct chi_hub *hub);

struct chi_client_desc {
    struct chi_delivery_client as; /* its transport and first encoding, which has a dialect */
    struct chi_span default_room;  /* of its listener; empty: the hub's */
    struct chi_span address;       /* for log lines */
    bool welcome;                  /* its first reply is `welcome` (chathub.v1) */
    /* What else its listener says: */
    int32_t history;    /* the last N are for who comes anew there; negative: none; 0: not said */
    bool presence;      /* the signals are for those, too, whose dialect asks for none */
    bool private_posts; /* a post may be for one name alone */
};

/* A new client, unnamed. Its id is never 0 and never used again. 0, CHATHUB_EFULL,
 * CHATHUB_ESTOPPED, CHATHUB_ENOMEM. */
int chi_hub_client_open(struct chi_hub *hub, const struct chi_client_desc *desc, uint64_t *id);
/* The slot under which delivery and transports know it. */
uint32_t chi_hub_client_slot(uint64_t id);
/* Whether a name could be given: CHATHUB_ENAME, CHATHUB_ERESERVED, CHATHUB_ENOMEM. */
int chi_hub_check_name(struct chi_hub *hub, struct chi_span name);
/* It comes in as its dialect's entrance says, which is settled: once, before any request. `name`:
 * what it connected with, or empty. */
enum chi_next chi_hub_enter(struct chi_hub *hub, uint64_t id, struct chi_span name);
/* The way it speaks from now on (its first frame told). */
int chi_hub_client_encoding(struct chi_hub *hub, uint64_t id, struct chi_encoding encoding);
/* Its connection ended (reason: a constant word for the log line). Its session may come back,
 * unless the reason is "left": it said goodbye itself. A stale id is harmless, here and below. */
void chi_hub_client_closed(struct chi_hub *hub, uint64_t id, const char *reason);

/* What a driver does with the client's reading after a request. */
enum chi_next {
    CHI_NEXT_READ = 0, /* go on */
    CHI_NEXT_WAIT = 1, /* read nothing more of it until transport->read(conn, true) */
    CHI_NEXT_GONE = 2, /* the client is closing: what it says is not wanted */
};

enum chi_next chi_hub_request(struct chi_hub *hub, uint64_t id, const struct chi_request *request);
/* Something that could not be decoded: answered by an error; closed (1008) after too many in a
 * row. */
enum chi_next chi_hub_bad_request(struct chi_hub *hub, uint64_t id,
                                  const struct chi_decode_error *error);
/* It said nothing for a while: from now on it listens in its default room. */
void chi_hub_observe(struct chi_hub *hub, uint64_t id);
/* Ends a client as the hub's own decision, after what it is owed: `code` as in RFC 6455. With
 * 1000 its session ends too (the client itself said goodbye); with any other code it may come
 * back. */
void chi_hub_close_client(struct chi_hub *hub, uint64_t id, int code, struct chi_span reason);

/* The same as the host's decision, from inside any callback: in the next turn, with `message` told as
 * `bye` too. CHATHUB_EGONE (or it was said before), CHATHUB_ENOMEM. */
int chi_hub_eject(struct chi_hub *hub, uint64_t id, int code, struct chi_span message);

/* The host's answer; an unknown id (too late, client gone) changes nothing: CHATHUB_EGONE.
 * `message` may be empty. */
int chi_hub_answer(struct chi_hub *hub, uint64_t question, bool allow, struct chi_span message);

/* Works off what waits: commits, opened rooms, answers, timers. Delivery is flushed by the
 * driver afterwards. */
void chi_hub_turn(struct chi_hub *hub);
/* When chi_hub_turn has to be called though nothing woke the driver (env.now ms); UINT64_MAX:
 * not at all. */
uint64_t chi_hub_next(const struct chi_hub *hub);

/* No new clients and requests; bye to all (retry_after in it), drafts are waited for; the driver
 * looks at `idle` and then closes clients by chi_hub_close_all(1001). */
void chi_hub_stop(struct chi_hub *hub);
/* No draft is uncommitted, no decision pending, no redaction under way. */
bool chi_hub_idle(const struct chi_hub *hub);
void chi_hub_close_all(struct chi_hub *hub, int code, struct chi_span reason);

/* Doors for the log and for delivery: their upward tables. */
const struct chi_log_up *chi_hub_log_up(struct chi_hub *hub);
const struct chi_delivery_up *chi_hub_delivery_up(struct chi_hub *hub);

struct chi_hub_counts {
    uint64_t clients, observers, sessions, rooms, drafts; /* now */
    uint64_t members;                                     /* those of other nodes included */
    uint64_t nodes, remote;                      /* others that are known, and sessions there */
    uint64_t posts, dups, refused, bad_requests; /* since the start */
    struct chi_log_stats log;
};
void chi_hub_counts(const struct chi_hub *hub, struct chi_hub_counts *out);
/* For tests: looks whether all that the hub holds about itself agrees; a constant text of the
 * first fault, or NULL. */
const char *chi_hub_check(const struct chi_hub *hub);

#endif
