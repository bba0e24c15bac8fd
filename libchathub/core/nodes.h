/* Several nodes, one chat: who is on the other nodes, and what they are told of this one's people.
 *
 * Each node tells what it owns: the sessions whose clients it has or had last. A session of another
 * node is a chi_session without client whose memberships are never attached: presence, who, names
 * and typing work with it as with any other. All that goes over the bus is a state, not a change of
 * one: a record says all about a session, so that what is heard twice, late or after a loss leads to
 * the same end.
 *
 * Happy path: what changed in a turn is gathered and goes out at its end, in one message; each
 * message says how many came before it. Failure modes:
 * - A message was lost: the next one, or the next beat, tells by its count; the whole state is asked
 *   for (ASK) and comes in parts (ALL). What it does not name any more has ended.
 * - A node was not heard of for settings->node_lease: its sessions end. If it comes back, it is new.
 * - A node stops (BYE): its sessions count as lost; the node with the lowest id takes them over, and
 *   they may come back anywhere within settings->return_time.
 * - Two nodes have one user's session (a hello elsewhere took it over, or a partition healed): the
 *   claim with the higher version wins, then the higher node id; the loser closes its client (4001)
 *   and says where its cursors stood (GIVEN), for which the winner waits up to a second. Who has a
 *   client does not lose to a claim without one, but makes a higher one.
 * - Two have one name: who was named first keeps it, then the lower user id; the other's node gives
 *   it a guest's name and tells it.
 * - The bus takes no more: what was to be said is lost, as above.
 *
 * Promises:
 * 1. Once nothing is lost and nothing changes any more, all nodes know the same sessions, names and
 *    memberships; one user is owned by one node; no name is had twice but by sessions whose dialects
 *    share names.
 * 2. What is told of a member follows, on each node, what that member posted before: a message is
 *    worked off when this node's log has shown what the sender's had (chi_log.shown), or after
 *    HELD_MS; and nothing is told of a member while its own posts are uncommitted.
 * 3. A session that moves from node to node is neither seen to leave nor to join.
 * 4. Nothing that is heard is believed before it was checked: lengths, names, texts. Bounded are the
 *    nodes (CHI_NODES_MAX), the sessions (settings->max_remote), their rooms (max_client_rooms,
 *    max_rooms), what waits (CHI_NODES_QUEUE) and what is said or worked off in a turn
 *    (CHI_NODES_TURN). Beyond: not known, and asked for anew when there is room.
 *    The sessions of a node that went, or that it does not name any more, end some in each turn
 *    (CHI_NODES_ENDS): until then they are there, and whoever claims one has it.
 * 5. Without a bus hub->nodes is NULL, and every call here does nothing.
 *
 * Messages: see nodes_wire.h. */
#ifndef CHI_CORE_NODES_H
#define CHI_CORE_NODES_H

#include "core/internal.h"

/* Other nodes that are known at the same time. */
#define CHI_NODES_MAX 256u
/* Bytes of messages of all nodes that wait for the log. */
#define CHI_NODES_QUEUE (16u << 20)
/* Sessions that other nodes took over lately. */
#define CHI_NODES_GIVEN 4096u
/* Bytes that are said, and that are worked off, in one turn. */
#define CHI_NODES_TURN (256u << 10)
/* Sessions of nodes that went, or that were not named again, that end or are kept in one turn. */
#define CHI_NODES_ENDS 2000u

/* Who was asked for all and said nothing is asked again, ms; nobody is told it more often. */
#define CHI_NODES_ASK_MS 2000u

/* Versions are of wall clocks: one that is so much ahead of this one's, ms (ten years), was never
 * given, and who believed it could make no higher claim that others believe. Half of it raises no
 * versions but that session's. */
#define CHI_NODES_AHEAD 315360000000u

/* What is known of a session beside what all hubs know of theirs: by the session's number. */
struct chi_origin {
    struct chi_slot slot;     /* number: the session's */
    uint64_t version;         /* of the claim to the session … */
    uint64_t named_at;        /* when it took its name, Unix ms */
    uint64_t await;           /* own, taken from another node: until then its places may come, ms */
    struct chi_chain of_node; /* of another node: in node->sessions */
    struct chi_chain dirty;   /* own: in nodes->dirty, the others are to be told */
    uint32_t node;            /* number of the node that owns it, + 1; 0: this one */
    uint32_t mark;            /* of another node: node->mark when it was told last: the later, the
                                 further behind in node->sessions */
    bool shares : 1;          /* its dialect shares names */
    bool lost : 1;            /* of another node: it has no client there */
    bool returns : 1;         /* of another node: its client knows the key */
    bool told : 1;            /* own: the others were told of it */
};

/* A message that waits for the log. */
struct chi_heard {
    struct chi_link link;
    uint64_t shown; /* by the sender's log when it was sent */
    uint64_t at;    /* when it came, ms */
    size_t len;
    char bytes[];
};

/* A session that another node took over. What was told of it before may reach a third one after
 * its end there, which would then have it for ever: so its end here is told too, after a while. */
struct chi_given {
    struct chi_link link;
    char user[CHI_USER_LEN];
    uint64_t version; /* of the claim that was given up */
    uint64_t at;      /* when, ms */
};

/* Sessions of which the end is remembered, for a while. */
#define CHI_NODES_PAST 1024u

/* A session that ended. What another node says of it, who has not heard of the claim that ended, may
 * come later: it is not believed, or the room would see it come and leave once more. */
struct chi_past {
    char user[CHI_USER_LEN];
    uint64_t version; /* of the claim that ended */
    uint64_t at;      /* when that was heard, or told, ms */
};

/* Another node. */
struct chi_node {
    struct chi_slot slot;
    uint64_t id;           /* 0: it went, and only its sessions are still here */
    uint64_t count;        /* messages that it sent to all so far, as far as is known */
    uint64_t heard_at;     /* ms */
    uint64_t asked_at;     /* when it was asked for all, or a part of that came, ms; 0: never */
    uint64_t told_at;      /* when it was told all last, ms; 0: never */
    uint64_t bye_at;       /* when it said that it stops, ms; 0: it did not */
    struct chi_link heard; /* chi_heard that wait, in order */
    uint32_t sessions;     /* the first of a chain (of_node) */
    uint32_t session_count;
    uint32_t mark; /* a higher one for each time that it tells all, and when it goes */
    uint32_t kept; /* its sessions whose marks are below have ended, though some are still here */
    uint32_t part; /* of that: the next one expected; 0: none is under way */
    bool counted : 1; /* `count` holds */
    bool wanted : 1;  /* its whole state is to be asked for, or is awaited */
    bool again : 1;   /* something was missed while that is under way */
    bool refused : 1; /* something of it was passed over: for want of room, or since another node's
                         claim is higher */
    bool keeps : 1;   /* it said that it stops: those whom it leaves become this node's */
    bool asks : 1;    /* it wants to be told all … */
    bool asks_places : 1; /* … and where names stood */
};

struct chi_nodes {
    struct chi_hub *hub;
    struct chi_slots nodes;   /* chi_node */
    struct chi_slots origins; /* chi_origin, by the sessions' numbers: its places alone are used */
    struct chi_paged
        own; /* uint64_t by the rooms' numbers: members there of this node's sessions */
    struct chi_link taking; /* jobs that wait for the places of a session that was taken over */
    struct chi_link given;  /* chi_given, oldest first */
    uint32_t given_count;
    uint32_t past_count;                  /* of all that ended; the newest CHI_NODES_PAST are in: */
    struct chi_past past[CHI_NODES_PAST]; /* a ring */
    struct chi_timer beat;
    struct chi_buf out;     /* what is to be told to all: items */
    struct chi_buf signs;   /* the same, behind it: who types, where names stood */
    struct chi_buf message; /* scratch: a message with its head */
    uint64_t count;         /* messages sent to all */
    uint64_t version;       /* the highest that was given, or heard and not too high */
    uint64_t beat_at;       /* when the last beat was due, ms */
    uint64_t await_until;   /* the latest `await` of an origin; 0: there is none */
    uint64_t held_bytes;    /* of messages that wait */
    uint64_t complained_at; /* when it was last logged that something has no room, ms; 0: never */
    uint32_t dirty;         /* first of a chain: origins of own sessions that are to be told */
    uint32_t remote;        /* sessions of other nodes */
    uint32_t heard_now;     /* bytes worked off in this turn */
    /* Telling all, under way: */
    uint64_t all_to;    /* the node that gets it; 0: all */
    uint32_t all_at;    /* the next session's number */
    uint32_t all_part;  /* the next part's number; 0: it is not under way */
    uint64_t all_after; /* not before, ms: the bus took no more */
    uint64_t placed_by; /* the node that is asked where names stood; 0: none was … */
    bool placed : 1;    /* … and it has said it */
    bool ends : 1;      /* sessions of a node that went, or that it did not name, are still here */
    bool gone : 1;      /* nothing is told any more but … */
    bool bye : 1;       /* … BYE, which the bus has not taken yet */
};

static inline struct chi_origin *chi_origin_at(const struct chi_nodes *nodes, uint32_t number)
{
    return chi_paged_at(&nodes->origins.places, number);
}
static inline struct chi_origin *chi_origin_of(const struct chi_nodes *nodes,
                                               const struct chi_session *session)
{
    return chi_origin_at(nodes, session->slot.number);
}
/* Whether a session that its node has marked so has ended, and is merely still here. */
static inline bool chi_node_ended(const struct chi_node *node, uint32_t mark)
{
    return (int32_t)(mark - node->kept) < 0;
}
#define CHI_OF_NODE(nodes) CHI_CHAINED(&(nodes)->origins, struct chi_origin, of_node)
#define CHI_DIRTY(nodes)   CHI_CHAINED(&(nodes)->origins, struct chi_origin, dirty)

/* ------------------------------------------------------------------------ what the hub calls */

/* 0 or CHATHUB_ENOMEM. Without hub->parts.bus nothing happens. */
int chi_nodes_init(struct chi_hub *hub);
void chi_nodes_free(struct chi_hub *hub);
/* Works off what was heard and may be, after the log's poll. */
void chi_nodes_work(struct chi_hub *hub);
/* Says what is to be said, at the end of a turn. */
void chi_nodes_tell(struct chi_hub *hub);
uint64_t chi_nodes_next(const struct chi_hub *hub);
/* The hub stops and its clients are closed. */
void chi_nodes_bye(struct chi_hub *hub);

/* Places for what is kept beside a new session or room. 0 or CHATHUB_ENOMEM. */
int chi_nodes_place(struct chi_hub *hub, const struct chi_session *session);
int chi_nodes_room_place(struct chi_hub *hub, const struct chi_room *room);
/* A session of this node began, or was named; its client's dialect is known. */
void chi_nodes_named(struct chi_hub *hub, struct chi_session *session, bool is_new);
/* A session of this node has another client, or one again: who came last has the highest claim. */
void chi_nodes_moved(struct chi_hub *hub, struct chi_session *session);
/* Something of a session changed that others are to know, if it is this node's. */
void chi_nodes_touched(struct chi_hub *hub, struct chi_session *session);
/* Its record is about to be freed. */
void chi_nodes_freed(struct chi_hub *hub, struct chi_session *session);
/* A member was made, or freed. */
void chi_nodes_member(struct chi_hub *hub, const struct chi_member *member, bool made);
/* Whether it has members of this node's sessions, those that linger included. */
bool chi_nodes_own(const struct chi_hub *hub, const struct chi_room *room);

/* Somebody who is connected here shows the key of `session`: it becomes this node's, lost, if it is
 * another's. 0; CHI_STEP_WAIT: where its cursors stood, and rooms that it joined a moment ago, may still
 * be heard (job->wait is set). */
int chi_nodes_take(struct chi_hub *hub, struct chi_job *job, struct chi_session *session);
/* What was sent on another node up to `position` may not be shown here yet: it would come twice. 0: it
 * is, or was awaited for long enough; CHATHUB_ELOG: the log is down; CHI_STEP_WAIT: job->room is held for it. */
int chi_nodes_catch_up(struct chi_hub *hub, struct chi_job *job, struct chi_room *room,
                       uint64_t position);
/* Whether the log that all nodes share has not shown it even so: nobody can have read it there, unless
 * the log was put back to an earlier state while no node ran. */
bool chi_nodes_beyond(const struct chi_hub *hub, uint64_t position);
int chi_nodes_await(struct chi_hub *hub, struct chi_job *job);

enum chi_nodes_typing { CHI_NODES_TYPES = 1, CHI_NODES_STOPS, CHI_NODES_POSTED };
void chi_nodes_types(struct chi_hub *hub, const struct chi_member *member,
                     enum chi_nodes_typing how);
/* Where a name's last session stood, or that it is not remembered any more. */
void chi_nodes_stood(struct chi_hub *hub, const struct chi_stood_place *stood);
/* A private post for a session of another node. 0 or an error of the bus. */
int chi_nodes_private(struct chi_hub *hub, const struct chi_session *to,
                      const struct chi_reply *reply);
/* For chi_hub_check. */
const char *chi_nodes_check(const struct chi_hub *hub);

/* ------------------------------------------------------------------- between the nodes_ files */

/* nodes_heard.c: a message of another node, whose head was read. */
void chi_nodes_apply(struct chi_hub *hub, struct chi_node *node, struct chi_span bytes);
/* Its sessions end, and it is forgotten: in the next turns. */
void chi_nodes_down(struct chi_hub *hub, struct chi_node *node, const char *why);
/* nodes_ends.c: those whose marks are below node->kept end; those that a node which stops has left
 * are kept or end. So many at most; in the next turns the others. */
void chi_nodes_end_some(struct chi_hub *hub, uint32_t most);
/* Of two of one name, who was named later is called otherwise, by its own node. */
void chi_nodes_settle_name(struct chi_hub *hub, struct chi_session *session);
/* The claim to a session ended, here or on another node. */
void chi_nodes_past(struct chi_hub *hub, const char user[CHI_USER_LEN], uint64_t version);
/* Whether such a claim, or a higher one, ended a short time ago. */
bool chi_nodes_is_past(const struct chi_hub *hub, const char user[CHI_USER_LEN], uint64_t version);
/* Its whole state is wanted. */
void chi_nodes_ask(struct chi_hub *hub, struct chi_node *node);
/* A session is the node's from now on, whosever it was; it has no client here any more. */
void chi_nodes_link(struct chi_hub *hub, struct chi_session *session, struct chi_node *node);
/* An own session is about to be another node's. */
void chi_nodes_gave(struct chi_hub *hub, const struct chi_session *session);
/* It ends, or becomes this node's: the node of another has it no more. */
void chi_nodes_unlink(struct chi_hub *hub, struct chi_session *session);
/* A version that is above `above` and what is known, but for what is far ahead of the clock. */
uint64_t chi_nodes_version(struct chi_hub *hub, uint64_t above);
/* It is this node's from now on, without client. `client`: one shows its key here, which is a higher
 * claim than that of who merely keeps the session of a node that stops. */
void chi_nodes_adopt(struct chi_hub *hub, struct chi_session *session, bool client);
/* How far this node's log has shown what was posted. */
static inline uint64_t chi_nodes_shown(const struct chi_hub *hub)
{
    struct chi_log *log = hub->parts.log;
    return log->shown ? log->shown(log) : 0;
}
/* That the claim of such a version to a session has ended is said at the turn's end … */
void chi_nodes_add_end(struct chi_hub *hub, const char user[CHI_USER_LEN], uint64_t version);
/* … and remembered. */
void chi_nodes_add_ended(struct chi_hub *hub, const struct chi_session *session,
                         struct chi_origin *origin);
/* When there is something to tell all of, ms. */
uint64_t chi_nodes_all_next(const struct chi_nodes *nodes);
/* To one node, or to all (0; it is counted). */
int chi_nodes_send(struct chi_hub *hub, uint64_t node, uint8_t kind, struct chi_span items);
void chi_nodes_log(struct chi_hub *hub, int level, const char *event, uint64_t id,
                   struct chi_field more);
/* Something has no room: said once a while. */
void chi_nodes_complain(struct chi_hub *hub, const char *what);

#endif
