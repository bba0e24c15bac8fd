/* The hub's own records: clients, sessions, names, members, rooms, waiting requests. Private to
 * core/. */
#ifndef CHI_CORE_INTERNAL_H
#define CHI_CORE_INTERNAL_H

#include "core/hub.h"
#include "core/chain.h"
#include "core/name.h"
#include "core/slots.h"
#include "util/buf.h"
#include "util/index.h"
#include "util/list.h"
#include "util/map.h"
#include "util/timers.h"

/* Characters of a public id: 12 bytes of the key's digest in base64url. */
#define CHI_USER_LEN 16
/* Who types in one room at the same time; more are not told. */
#define CHI_TYPERS_MAX 64
/* What a step answers beside 0 (done) and errors: the request has to wait, job->wait says for
 * what. */
#define CHI_STEP_WAIT 1

/* What a listener says of its clients. */
struct chi_home {
    struct chi_name *room; /* their default room */
    int32_t history;    /* the last N are for who comes anew there; negative: none; 0: not said */
    bool presence;      /* the signals are for those, too, whose dialect asks for none */
    bool private_posts; /* a post may be for one name alone */
};

/* A connection or in-process client. */
struct chi_client {
    struct chi_slot slot;
    struct chi_session *session;       /* NULL: it has none yet */
    const struct chi_dialect *dialect; /* how it speaks now: its manners */
    struct chi_job *job;               /* the request that waits, or NULL */
    struct chi_reading *reading;       /* the history page that it waits for, or NULL */
    struct chi_chain todo;             /* in hub->todo */
    uint32_t observed;                 /* the room that it listens to without being a member, + 1 */
    uint32_t draft_bytes;              /* of its uncommitted posts */
    uint16_t drafts;                   /* how many these are */
    uint16_t home;                     /* its listener's, in hub->homes */
    uint16_t bad;                      /* requests in a row that could not be understood */
    int8_t fail;                       /* CHATHUB_E…: it has to be closed for that; 0: not */
    bool full : 1;                     /* delivery has too many replies for it */
    bool stopped : 1;                  /* its driver was told to wait */
    bool welcome : 1;                  /* its first reply is `welcome`, which is still owed */
    bool nameless : 1;                 /* its hello was refused: no guest is made of it */
    bool spoke : 1;                    /* it sent something, or observes */
    bool hearing : 1;                  /* it observes with signals */
    bool ejected : 1;                  /* the host has ended it; it goes in the next turn */
};

/* Who is there. Kept through a lost connection; lingers, ended, until what the rooms know of it
 * has been told. */
struct chi_session {
    struct chi_slot slot;
    char user[CHI_USER_LEN]; /* public id */
    struct chi_name *name;
    struct chi_client *client; /* NULL: lost, or ended */
    char *status;              /* NULL: none */
    union {
        uint64_t serial;  /* the hub made its key of this number; 0: the client made, or knows it */
        uint64_t lost_at; /* while it is in hub->lost: when its connection was lost, ms */
    };
    struct chi_chain lost; /* in hub->lost, oldest first */
    struct chi_chain same; /* of all who have this name; ended: of all ended ones of this user */
    uint32_t members; /* first of its memberships + 1, ended ones that linger included; 0: none */
    uint32_t rooms : 28; /* memberships that have not ended */
    bool remote : 1;     /* another node's: it has no client here, and is not lost (core/nodes.h) */
    bool named : 1;      /* of those with this name it is the one in hub->by_name; ended: of the
                            user's ended ones it is the one in hub->by_user */
    bool known : 1;      /* its client knows the key: it may come back */
    bool ended : 1;      /* it lingers: see chi_session_lingering */
};

/* A session's place in a room. */
struct chi_member {
    struct chi_slot slot;
    struct chi_session *session;
    struct chi_room *room;
    struct chi_chain in_room; /* in room->members, in order of joining */
    struct chi_chain pending; /* in room->pending: what was told of it is not what is */
    struct chi_name *told;    /* the name under which the room was told of it; NULL: it was not */
    uint64_t position;        /* where to go on, while it is not attached */
    uint32_t next;            /* of its session, + 1; 0: the last */
    uint32_t drafts : 26;     /* its uncommitted posts here: its signals wait for them */
    bool shared : 1;          /* other nodes were told of it, or told of it last (core/nodes.h) */
    bool stale : 1;           /* `position` means nothing any more */
    bool held : 1;            /* it came with a post: its coming is told when that is under way */
    bool gone : 1;            /* it left; lingers for `drafts` and `pending` */
    bool attached : 1;        /* delivery reads for it */
    bool resumed : 1;         /* the hello under way says where to go on */
};
/* The chains in which they are, by hub and member's name. */
#define CHI_CLIENTS(hub, by)  CHI_CHAINED(&(hub)->clients, struct chi_client, by)
#define CHI_SESSIONS(hub, by) CHI_CHAINED(&(hub)->sessions, struct chi_session, by)
#define CHI_MEMBERS(hub, by)  CHI_CHAINED(&(hub)->members, struct chi_member, by)

/* Of these there is one for each idle client (docs/performance.md). */
_Static_assert(sizeof(void *) > 8 || sizeof(struct chi_client) <= 64, "what an idle client costs");
_Static_assert(sizeof(void *) > 8 || sizeof(struct chi_session) <= 80, "what an idle client costs");
_Static_assert(sizeof(void *) > 8 || sizeof(struct chi_member) <= 64, "what an idle client costs");

enum chi_room_state { CHI_ROOM_CLOSED = 0, CHI_ROOM_OPENING, CHI_ROOM_OPEN };

struct chi_look;

/* What a room needs only while something goes on in it. */
struct chi_busy {
    struct chi_link all; /* in hub->busy */
    struct chi_hub *hub;
    struct chi_room *room;
    struct chi_timer timer;   /* the next presence signal */
    struct chi_typer *typers; /* who types */
    struct chi_look *look;    /* for the last N entries, under way; or NULL */
    struct chi_link posts;    /* jobs that wait until its members are behind no more */
    uint64_t look_top;        /* what the last one found holds while this is the top: … */
    uint64_t look_from;       /* … the last look_count entries follow this position */
    uint64_t used;            /* when something last went on, ms */
    uint32_t look_count;      /* 0: none was made */
    uint32_t typing;          /* number of typers */
};

/* There may be millions of them, nearly all idle: kept small. */
struct chi_room {
    struct chi_slot slot;
    struct chi_name *name;
    union {
        void *handle;             /* the log's, while open */
        struct chi_link *waiters; /* while opening: jobs that wait until it is open; owned */
    };
    struct chi_busy *busy; /* owned; NULL: nothing goes on */
    uint64_t top;          /* newest position */
    uint32_t members;      /* the first of a chain (in_room); ended ones that linger included */
    uint32_t pending;      /* the first of a chain: members of whom the room is to be told */
    uint64_t number;       /* of the last presence signal */
    uint32_t told_at;      /* when that was sent, ms: as much as tells that it was just now */
    uint32_t present;      /* members that have not ended */
    uint32_t told;         /* members that the room was told of */
    uint32_t live;         /* members attached */
    uint32_t observers;
    uint32_t listeners; /* observers that hear signals */
    uint32_t drafts;    /* uncommitted posts */
    uint32_t holds;     /* jobs and readings that need it */
    uint32_t idle;      /* next room in hub->idle + 1; 0: last one */
    uint8_t state;      /* enum chi_room_state */
    bool fixed : 1;     /* of settings->rooms: never unloaded */
    bool queued : 1;    /* it is in hub->idle */
    bool nameless : 1;  /* only counts were told last: differences would mean nothing */
    bool announced : 1; /* a presence signal was sent: told_at holds */
    uint16_t differed;  /* number of the last that told differences: as much as tells it from those
                           that delivery may still hold */
};

struct chi_typer {
    struct chi_timer timer; /* it stops by itself */
    struct chi_hub *hub;
    struct chi_typer *next; /* of its room */
    struct chi_member *member;
    uint64_t told_at; /* when the room was told last, ms */
};

enum chi_wait {
    CHI_WAIT_NOTHING = 0,
    CHI_WAIT_ROOM,       /* job->room opens */
    CHI_WAIT_ANSWER,     /* the host decides */
    CHI_WAIT_PAGE,       /* the log looks up where the last N begin */
    CHI_WAIT_DRAFTS,     /* posts of the client are uncommitted */
    CHI_WAIT_HUB_DRAFTS, /* too many posts of all are */
    CHI_WAIT_MEMBERS,    /* those of job->room are behind */
    CHI_WAIT_NODE,       /* another node may say where the session's cursors stood */
    CHI_WAIT_ERASED,     /* an entry of job->room loses its texts */
    CHI_WAIT_TURN,       /* it is in hub->ready */
};

/* A request on its way. Its steps run from their beginning each time; what was found out stays
 * here. It lives on the stack until it has to wait. */
struct chi_job {
    struct chi_link link; /* in room->waiters, busy->posts, look->jobs, redaction->jobs,
                            hub->blocked, hub->ready or nodes->taking */
    struct chi_link all;  /* in hub->jobs, once kept */
    struct chi_hub *hub;
    struct chi_client *client;
    const struct chi_request *request; /* owned once kept */
    struct chi_room *room;             /* held while it waits for it or for a page of it */
    uint32_t stage;                    /* hello: rooms of `resume` that are done, + 1;
                                          post: 1: it named its client */
    uint32_t count;                    /* how many of the last entries are looked for */
    uint64_t from;                     /* where they begin, if found */
    uint64_t until;                    /* how long another node's answer is awaited, ms */
    uint64_t behind;                   /* the same of a position that the log has not shown yet */
    uint64_t shown;                    /* that position; 0: none */
    bool was_down;                     /* the log was, at some time since it is awaited */
    uint32_t taken;                    /* the session's number that it is about, + 1 */
    uint64_t question;                 /* pending or answered; 0: none */
    char *message;                     /* the answer's, or NULL */
    struct chi_timer timer;            /* the answer's time */
    int status;                        /* what became of what it waited for: 0 or an error */
    uint8_t found;                     /* `from` holds; redact: the log has answered */
    uint8_t wait;                      /* enum chi_wait */
    uint8_t action;                    /* enum chathub_action that was decided … */
    uint8_t decided;                   /* … 0: nothing, else 1 + enum chathub_decision */
    uint8_t kept;                      /* it is on the heap */
    uint8_t observe;                   /* not a request: the client was silent */
    uint8_t entered;                   /* its client came into a room by it, and is held there */
    uint8_t went_on;                   /* hello: the session's other rooms are gone on in */
    uint8_t naming;                    /* it gives its client a name, and has not succeeded */
};

/* A page of history under way. */
struct chi_reading {
    struct chi_log_read read; /* what the log was asked */
    struct chi_log_reader reader;
    struct chi_link all; /* in hub->readings */
    struct chi_hub *hub;
    struct chi_client *client; /* NULL: it went */
    struct chi_room *room;     /* held */
    bool stale;                /* a text of the room was erased since: what comes may show it … */
    bool again;                /* … and came: it is to be read again in this turn */
    size_t ref_len;
    char ref[];
};

/* A post that the log has. */
struct chi_draft {
    uint64_t client;           /* who waits for the ack */
    struct chi_member *member; /* lingers for it */
    struct chi_entry *entry;   /* with a reference */
    struct chi_link all;       /* in hub->drafts */
    uint32_t bytes;            /* it counts for */
    uint32_t ref_len;
    char ref[];
};

/* Characters of a session's key, as the hub makes them. */
#define CHI_KEY_LEN 22

struct chi_hub {
    struct chi_hub_parts parts;
    struct chi_log_up log_up;
    struct chi_delivery_up delivery_up;
    struct chi_nodes *nodes; /* the others of this chat; owned; NULL: there is no bus */
    struct chi_slots clients, sessions, members, rooms;
    struct chi_index by_user;    /* sessions by public id: of each user the one that has not ended,
                                    and one of those that have */
    struct chi_index by_name;    /* one of each name */
    struct chi_index by_room;    /* rooms by name */
    struct chi_timers timers;    /* answers, presence, typing, busy rooms */
    struct chi_link busy;        /* chi_busy of all rooms, the longest unused first */
    struct chi_timer busy_timer; /* set while there are any: who has been idle for long enough */
    struct chi_link ready;       /* jobs to go on with */
    struct chi_link blocked;     /* jobs that wait for hub drafts, first come first served */
    struct chi_link jobs;        /* all that are kept */
    struct chi_link looks;       /* for the last N entries, under way */
    struct chi_link redactions;  /* asked of the log, under way */
    struct chi_link ejections;   /* of clients that the host has ended, for the next turn */
    struct chi_link readings;    /* all */
    struct chi_link drafts;      /* all */
    struct chi_home *homes;      /* of listeners; [0] is the hub's */
    uint32_t home_count;
    struct chi_map *stood;       /* where names' last sessions stood (stood.c); NULL: nowhere yet */
    struct chi_link stood_order; /* the same, the longest ago first */
    struct chi_link *stood_next; /* of the listing under way; NULL: none is */
    struct chi_buf stood_key;    /* of the place that is looked for */
    uint32_t todo;               /* first of a chain: clients to be looked at in the turn */
    uint32_t lost;               /* the same: sessions without connection, oldest first */
    uint32_t idle;               /* rooms to be unloaded in the turn if nobody needs them, + 1 */
    uint32_t lost_count;
    uint32_t asked;         /* questions so far */
    struct chi_job *asking; /* whose question is being asked */
    uint64_t draft_bytes;
    uint64_t draft_count;
    uint64_t numbered;  /* replies made that carry a number */
    uint64_t serial;    /* session keys made */
    uint32_t guests;    /* guest names made */
    uint8_t secret[32]; /* session keys and guest names come from it */
    uint64_t newest;    /* serial of the session whose key was made last; 0: none … */
    char newest_key[CHI_KEY_LEN + 1]; /* … and the key */
    struct chi_buf shown, key;        /* of the last folded text */
    struct chi_present *present;      /* scratch for lists of people */
    size_t present_cap;
    struct chi_signal snapshot; /* what chi_delivery_up.snapshot answered last */
    char problem[200]; /* more about the error that a step answers; "" if there is nothing more */
    struct chi_hub_counts counts;
    bool stopping;
};

#define CHI_DELIVERY(hub, op, ...)                                                                 \
    ((hub)->parts.delivery_ops->op((hub)->parts.delivery, __VA_ARGS__))

static inline uint64_t chi_core_now(const struct chi_hub *hub)
{
    return hub->parts.env.ops->now(hub->parts.env.self);
}
static inline uint64_t chi_core_wall(const struct chi_hub *hub)
{
    return hub->parts.env.ops->wall(hub->parts.env.self);
}
static inline void chi_core_wake(const struct chi_hub *hub)
{
    hub->parts.env.ops->wake(hub->parts.env.self);
}
static inline struct chi_span chi_session_user(const struct chi_session *session)
{
    return (struct chi_span){session->user, CHI_USER_LEN};
}

/* ms after which a client is to come back: different ones, so that not all come at once. */
uint64_t chi_core_come_back(struct chi_hub *hub);

/* --------------------------------------------------------------------------------------- tell.c */

/* Replies to a client; one that cannot be told is closed in the next turn. */
void chi_core_reply(struct chi_hub *hub, struct chi_client *client, const struct chi_reply *reply);
/* An error reply; its words are hub->problem, if that is set, and are used up. */
void chi_core_error(struct chi_hub *hub, struct chi_client *client, struct chi_reply *error);
/* Sets hub->problem; answers `code`. */
int chi_core_problem(struct chi_hub *hub, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Says so of the log; CHATHUB_ELOG. */
int chi_core_unreadable(struct chi_hub *hub);
void chi_core_welcome(struct chi_hub *hub, struct chi_client *client, struct chi_span ref,
                      struct chi_span key, bool renamed);
/* A log line about a client: who it is, and one or two fields more (key NULL: none). */
void chi_core_log(struct chi_hub *hub, int level, const char *event,
                  const struct chi_client *client, struct chi_field one, struct chi_field two);

/* -------------------------------------------------------------------------------------- names.c */

struct chi_folded {
    struct chi_span shown, key;
};
/* Checks a name or room name; *out holds until the next call. CHATHUB_ENAME, CHATHUB_EROOMNAME,
 * CHATHUB_ENOMEM. */
int chi_core_fold(struct chi_hub *hub, enum chi_fold_kind kind, struct chi_span text,
                  struct chi_folded *out);
/* Whether only the hub may give this name, by its key. (Registered and authenticated names will be
 * refused here, too.) */
bool chi_core_reserved(struct chi_span key);
/* A guest's name, never given before. */
#define CHI_GUEST_LEN 12
void chi_core_guest_name(struct chi_hub *hub, char out[CHI_GUEST_LEN + 1]);
/* The key that the hub made of a serial number. */
void chi_core_key(struct chi_hub *hub, uint64_t serial, char out[CHI_KEY_LEN + 1]);
bool chi_core_key_valid(struct chi_span key);
void chi_core_user(struct chi_hub *hub, struct chi_span key, char user[CHI_USER_LEN]);

/* ------------------------------------------------------------------------------------- client.c */

/* NULL: a stale id. */
struct chi_client *chi_core_client(const struct chi_hub *hub, uint64_t id);
static inline uint64_t chi_core_client_id(const struct chi_client *client)
{
    return (uint64_t)client->slot.generation << 32 | (client->slot.number + 1);
}
/* It is looked at in the next turn: closed, or read from again. */
void chi_core_todo(struct chi_hub *hub, struct chi_client *client);
void chi_core_work_todo(struct chi_hub *hub);
/* Ends it as the hub's decision. `leaves`: its session ends too. */
void chi_core_close(struct chi_hub *hub, struct chi_client *client, int code,
                    struct chi_span reason, bool leaves);
static inline const struct chi_home *chi_core_home(const struct chi_hub *hub,
                                                   const struct chi_client *client)
{
    return &hub->homes[client->home];
}
/* The number in hub->homes of what a listener says; the room empty: the hub's. */
int chi_core_home_of(struct chi_hub *hub, const struct chi_client_desc *desc, uint16_t *out);
/* Whether it gets the signals of its rooms. */
bool chi_core_hears(const struct chi_hub *hub, const struct chi_client *client);
/* Of chi_delivery_up. */
void chi_core_drained(void *hub, uint32_t client);
void chi_core_failed(void *hub, uint32_t client, int code);
void chi_core_caught_up(void *hub, uint32_t room);
/* The room that it observes, or NULL. */
static inline struct chi_room *chi_core_observed(const struct chi_hub *hub,
                                                 const struct chi_client *client)
{
    return client->observed ? chi_slots_at(&hub->rooms, client->observed - 1) : NULL;
}
/* Whether an observer hears the room's signals. */
void chi_core_hearing(struct chi_hub *hub, struct chi_client *client, bool hears);
/* It observes no more: delivery knows already, or (stop) is told. */
void chi_core_observe_end(struct chi_hub *hub, struct chi_client *client);
void chi_core_observe_stop(struct chi_hub *hub, struct chi_client *client);

/* -------------------------------------------------------------------------------------- eject.c */

void chi_core_work_ejections(struct chi_hub *hub);
void chi_core_ejections_free(struct chi_hub *hub);

/* ---------------------------------------------------------------------------------------- job.c */

/* Runs a job until it is done (0) or waits (CHI_STEP_WAIT). `job` is not to be used afterwards. */
int chi_core_run(struct chi_hub *hub, struct chi_job *job);
/* The client goes: nobody waits any more. */
void chi_core_job_drop(struct chi_hub *hub, struct chi_job *job);
void chi_core_job_free(struct chi_job *job);
/* Goes on with it in this turn. */
void chi_core_job_ready(struct chi_hub *hub, struct chi_job *job);
void chi_core_work_jobs(struct chi_hub *hub);

/* --------------------------------------------------------------------------------------- look.c */

/* Asks the log where the last job->count entries of job->room begin, or joins those who asked: the
 * job is ready again once job->found and job->from, or job->status, tell. */
int chi_core_look(struct chi_hub *hub, struct chi_job *job);
/* Whether that is known already. */
bool chi_core_looked(struct chi_hub *hub, struct chi_room *room, uint32_t count, uint64_t *from);
uint32_t chi_core_looks(const struct chi_hub *hub); /* under way */
void chi_core_looks_free(struct chi_hub *hub);

/* ---------------------------------------------------------------------------------- authorize.c */

/* Asks the host, if it wants to be asked. 0: allowed; CHATHUB_EDENIED; CHI_STEP_WAIT. What was
 * decided holds for the job until chi_core_decided_done. */
int chi_core_decide(struct chi_hub *hub, struct chi_job *job, int action, struct chi_span name,
                    struct chi_span room, struct chi_span content);
void chi_core_decided_done(struct chi_job *job);
/* Sets the timer of a kept job that waits for its answer. */
int chi_core_await_answer(struct chi_hub *hub, struct chi_job *job);

/* ------------------------------------------------------------------------------------ session.c */

struct chi_session *chi_session_by_user(const struct chi_hub *hub, const char user[CHI_USER_LEN]);
/* The first of a user's sessions that ended and linger; the others are in its chain (same). NULL:
 * there is none. No two of them have a place in one room. */
struct chi_session *chi_session_lingering(const struct chi_hub *hub, const char user[CHI_USER_LEN]);
/* One of those who have the name; the others are in its ring. */
struct chi_session *chi_session_by_name(const struct chi_hub *hub, struct chi_span key);
/* A session for a client without one. `name` NULL: a guest's name is made; else its reference is
 * taken over on success. `user` NULL: a key is made. */
int chi_session_new(struct chi_hub *hub, struct chi_client *client, const char *user,
                    struct chi_name *name, struct chi_session **out);
/* Takes over the reference of `name`. 0 or CHATHUB_ENOMEM. */
int chi_session_rename(struct chi_hub *hub, struct chi_session *session, struct chi_name *name);
/* Its client goes, is still known to delivery, and is not told `left`. */
void chi_session_lose(struct chi_hub *hub, struct chi_session *session, bool leaves);
/* It goes on with another client, where its cursors stand; none of its memberships is attached
 * yet. */
void chi_session_move(struct chi_hub *hub, struct chi_session *session, struct chi_client *client);
/* Those whose time to return is over. */
void chi_session_expire(struct chi_hub *hub);
uint64_t chi_session_next(const struct chi_hub *hub);
/* Another node's session: no client, not lost. Takes over the reference of `name`. 0 or
 * CHATHUB_ENOMEM. */
int chi_session_heard(struct chi_hub *hub, const char user[CHI_USER_LEN], struct chi_name *name,
                      struct chi_session **out);
/* It is over, and told to have left where its posts are resolved. */
void chi_session_end(struct chi_hub *hub, struct chi_session *session);
/* It has no client and may come back for as long as lost ones may. */
void chi_session_lost(struct chi_hub *hub, struct chi_session *session);
/* Somebody else has it: its client, if it has one, is closed. It is not lost either. */
void chi_session_yield(struct chi_hub *hub, struct chi_session *session);
/* Its name is another's: it gets a guest's, and is told. */
void chi_session_lose_name(struct chi_hub *hub, struct chi_session *session);
/* After a member went: frees what is ended and nowhere known any more. */
void chi_session_settle(struct chi_hub *hub, struct chi_session *session);
/* The client's session, made if it may have one. 0, CHATHUB_ENAMEREQUIRED, CHI_STEP_WAIT … */
int chi_session_need(struct chi_hub *hub, struct chi_job *job);

/* ------------------------------------------------------------------------------------- member.c */

/* By a number of session->members or member->next; NULL: there is none. */
static inline struct chi_member *chi_core_member_at(const struct chi_hub *hub, uint32_t number)
{
    return number ? chi_paged_at(&hub->members.places, number - 1) : NULL;
}
/* A session's place in a room, unless it ended; NULL: none. */
struct chi_member *chi_core_member(const struct chi_hub *hub, const struct chi_session *session,
                                   const struct chi_room *room);
/* The member by the room's name as it came; NULL: none, or the name has another form. */
struct chi_member *chi_core_member_named(const struct chi_hub *hub,
                                         const struct chi_session *session, struct chi_span shown);
/* Takes the session in (or back in, if its place lingers); not attached, and not told
 * (chi_presence_touch). NULL: no memory. */
struct chi_member *chi_core_member_add(struct chi_hub *hub, struct chi_session *session,
                                       struct chi_room *room);
/* Ends the client's observing: an observer that is in a room is none. */
int chi_core_member_attach(struct chi_hub *hub, struct chi_member *member, uint64_t from);
/* That it came may be told. */
void chi_core_member_release(struct chi_hub *hub, struct chi_member *member);
/* Delivery reads no more for it; it knows where to go on. `told`: delivery is to be told (the
 * client stays). */
void chi_core_member_detach(struct chi_hub *hub, struct chi_member *member, bool told);
/* Its place ends. `told` as above. */
void chi_core_member_end(struct chi_hub *hub, struct chi_member *member, bool told);
/* Frees a place that ended and that nothing needs any more. */
void chi_core_member_settle(struct chi_hub *hub, struct chi_member *member);

/* --------------------------------------------------------------------------------------- room.c */

/* A room's name as it came; absent: the client's default room. *out as chi_core_fold. */
int chi_core_room_name(struct chi_hub *hub, const struct chi_client *client, struct chi_span text,
                       struct chi_folded *out);
struct chi_room *chi_core_room_find(const struct chi_hub *hub, struct chi_span key);
/* Finds or makes it and has it opened. 0: open; CHI_STEP_WAIT: opening; errors. *out is set in
 * both good cases. */
int chi_core_room_need(struct chi_hub *hub, const struct chi_folded *name, struct chi_room **out);
/* The same, but nobody is asked whether it may be made: the host wants something of it. */
int chi_core_room_load(struct chi_hub *hub, const struct chi_folded *name, struct chi_room **out);
int chi_core_room_fixed(struct chi_hub *hub);
/* One that members of other nodes are in, made and not opened. NULL: there are too many, or no
 * memory. */
struct chi_room *chi_core_room_heard(struct chi_hub *hub, const struct chi_folded *name);
/* Log and delivery have it no more; its members of other nodes stay. */
void chi_core_room_close(struct chi_hub *hub, struct chi_room *room);
/* To be called whenever something that keeps a room loaded ended. Acts in the turn. */
void chi_core_room_idle(struct chi_hub *hub, struct chi_room *room);
void chi_core_work_idle(struct chi_hub *hub);
void chi_core_opened(void *hub, uint32_t room, int status, void *handle, uint64_t top);
/* Of chi_delivery_up. */
void *chi_core_handle(void *hub, uint32_t room);
void chi_core_rooms_free(struct chi_hub *hub);

/* ------------------------------------------------------------------------------------- redact.c */

int chi_core_redact(struct chi_hub *hub, struct chi_job *job);
/* Asks the log for the redaction of a kept job, which is ready again once job->found and job->status
 * tell. 0 or an error. */
int chi_core_redact_ask(struct chi_hub *hub, struct chi_job *job);
/* Of chi_log_up. */
void chi_core_redacted(void *hub, uint32_t room, uint64_t position, int status, void *token);
uint64_t chi_core_redactions(const struct chi_hub *hub); /* under way */
void chi_core_redactions_free(struct chi_hub *hub);

/* --------------------------------------------------------------------------------------- busy.c */

void chi_core_busy_init(struct chi_hub *hub);
/* The room's record for what goes on in it, used now; NULL: no memory. */
struct chi_busy *chi_core_busy(struct chi_hub *hub, struct chi_room *room);
/* Whether a signal about its members is due. */
static inline bool chi_core_announces(const struct chi_room *room)
{
    return room->busy && room->busy->timer.place;
}
/* Ends it and what goes on, untold. */
void chi_core_busy_end(struct chi_hub *hub, struct chi_room *room);

/* --------------------------------------------------------------------------------------- join.c */

struct chi_wish {
    struct chi_span room; /* absent: the default room */
    const struct chi_start *start;
    struct chi_span ref;
    bool implicit; /* by a post: an observer's cursor stays */
};
int chi_core_join(struct chi_hub *hub, struct chi_job *job, const struct chi_wish *wish);
int chi_core_leave(struct chi_hub *hub, struct chi_job *job);
int chi_core_observe(struct chi_hub *hub, struct chi_job *job);
void chi_core_joined(struct chi_hub *hub, struct chi_member *member, struct chi_span ref,
                     uint64_t start);

/* ------------------------------------------------ hello.c, posting.c, history.c, who.c, signs.c */

int chi_core_hello(struct chi_hub *hub, struct chi_job *job);
/* Gives the client the name and session of its request, and welcomes it. 0, CHI_STEP_WAIT, or an
 * error that left everything as it was. */
int chi_core_become(struct chi_hub *hub, struct chi_job *job);
int chi_core_post(struct chi_hub *hub, struct chi_job *job);
/* Says it to those in the room who are called request->to, and to its sender. */
int chi_core_post_privately(struct chi_hub *hub, struct chi_job *job, struct chi_member *member);
void chi_core_committed(void *hub, const struct chi_log_result *results, size_t n);
/* Whether the client's own drafts are at their bound. */
bool chi_core_drafts_full(const struct chi_hub *hub, const struct chi_client *client);
void chi_core_work_blocked(struct chi_hub *hub);
int chi_core_history(struct chi_hub *hub, struct chi_job *job);
/* A text of the room was erased: what was read before shows it no more. */
void chi_core_history_stale(struct chi_hub *hub, const struct chi_room *room);
void chi_core_work_readings(struct chi_hub *hub);
int chi_core_who(struct chi_hub *hub, struct chi_job *job);
int chi_core_typing(struct chi_hub *hub, struct chi_job *job);
int chi_core_status(struct chi_hub *hub, struct chi_job *job);
/* CHATHUB_ETOOLONG, CHATHUB_ETEXT. */
int chi_core_check_status(struct chi_hub *hub, struct chi_span text);
/* Checked; told where it is another one. 0 or CHATHUB_ENOMEM. */
int chi_core_set_status(struct chi_hub *hub, struct chi_session *session, struct chi_span text);
/* Where names are told. 0 or CHATHUB_ENOMEM. */
int chi_core_typing_begin(struct chi_hub *hub, struct chi_member *member);
/* A member leaves or goes: it types no more. */
void chi_core_typing_end(struct chi_hub *hub, struct chi_member *member, bool tell);
/* The member that a request about a room is for, or CHATHUB_ENOTMEMBER and the like. */
int chi_core_member_needed(struct chi_hub *hub, struct chi_job *job, struct chi_member **out);

/* -------------------------------------------------------------------------------------- stood.c */

/* Remembers where the member stands, who goes. */
void chi_core_stood(struct chi_hub *hub, const struct chi_member *member);
/* Where the last session of that name stood in a room; false: that is not known (any more). The
 * epoch is valid until the next chi_core_stood. */
bool chi_core_stood_find(struct chi_hub *hub, const struct chi_name *name,
                         const struct chi_room *room, struct chi_start *out);
/* Somebody goes on there. */
void chi_core_stood_drop(struct chi_hub *hub, const struct chi_name *name,
                         const struct chi_room *room);
/* What another node says of it, by keys. */
struct chi_stood_place {
    struct chi_span name, room, epoch;
    uint64_t position;
    uint64_t age; /* how long ago it was remembered, ms */
    bool dropped; /* somebody goes on there */
};
/* An older one than what is known is passed over. */
void chi_core_stood_heard(struct chi_hub *hub, const struct chi_stood_place *place);
/* Lists all: starts; the next one, false: there is none left. One listing at a time. */
void chi_core_stood_list(struct chi_hub *hub);
bool chi_core_stood_next(struct chi_hub *hub, struct chi_stood_place *out);
void chi_core_stood_free(struct chi_hub *hub);

/* ----------------------------------------------------------------------------------- presence.c */

/* Whether nothing is told of a member yet: its own posts come first. */
static inline bool chi_presence_waits(const struct chi_member *member)
{
    return member->drafts || member->held;
}
/* What is true of a member changed (it came, went, has another name, or has no drafts any more). */
void chi_presence_touch(struct chi_hub *hub, struct chi_member *member);
/* Tells at once what waits and may be told now. */
void chi_presence_timer(struct chi_timer *timer);
/* Whether names are told in this room. */
bool chi_presence_names(const struct chi_hub *hub, const struct chi_room *room);
/* Who is there as the room was told, `self` (may be NULL) always among them, in hub->present.
 * false: no memory. */
bool chi_presence_list(struct chi_hub *hub, const struct chi_room *room,
                       const struct chi_member *self, uint32_t *count);
/* How many are there as the room was told, and `self`. */
uint32_t chi_presence_count(const struct chi_room *room, const struct chi_member *self);
struct chi_present chi_presence_of(const struct chi_member *member);
bool chi_presence_room_for(struct chi_hub *hub, size_t count);
const struct chi_signal *chi_presence_snapshot(void *hub, uint32_t room);
/* Nobody hears the room any more: what waits is so, untold. */
void chi_presence_quiet(struct chi_hub *hub, struct chi_room *room);

/* --------------------------------------------------------------------------------------- back.c */

/* Of chi_log_up. */
void chi_core_went_back(void *hub);

#endif
