/* What the JetStream log's thread knows and does, without I/O: everything comes in by calls and goes
 * out by the port (port.h) and as finished tasks.
 *
 * Happy path: the hub's side (log.c) hands tasks over; a post is sent to S.in.room.R (posts.c); the
 * server stores it, answers (PubAck), and sends it on to S.out.room.R; the feed (feed.c) brings what
 * comes there into the order of sequences without a hole; what was shown so is a finished task: the
 * post's own, or a new one for other nodes' entries. Pages and openings are requests of their own
 * (pages.c, by walk.c), so are redactions (erase.c). stream.c makes and checks the stream, knows
 * epochs, and finds out, after each reconnection and before anything is posted or shown on it,
 * whether the stream is the one that it was.
 * Failure modes: no connection, no leader, lost and doubled messages, a stream that was emptied or
 * put back. Nothing is shown that the stream does not hold; what may or may not be stored is tried
 * again under the same id, then `unknown`. Each module's header says the rest.
 *
 * Positions are the stream's sequences. All of this runs on one thread (or in a test's). */
#ifndef CHI_LOG_JETSTREAM_JS_H
#define CHI_LOG_JETSTREAM_JS_H

#include "core/env.h"
#include "core/name.h"
#include "core/ports.h"
#include "core/slots.h"
#include "log/cids.h"
#include "log/handover.h"
#include "log/jetstream/port.h"
#include "log/jetstream/wire.h"
#include "log/log.h"
#include "util/list.h"
#include "util/map.h"
#include "util/timers.h"

/* ---------------------------------------------------------------------------------------- tasks */

enum chi_js_work {
    CHI_JS_OPEN,  /* position: its top, hint in `room` */
    CHI_JS_SHUT,  /* the room is closed: no entries of it are wanted any more. Comes back, too */
    CHI_JS_READ,  /* page */
    CHI_JS_POST,  /* status, entry, position and time of a repeat's first, retry_after, why */
    CHI_JS_ERASE, /* status */
    CHI_JS_SEND,  /* `bytes` to `node` over the bus. Comes back, too. thread.c's alone */
    /* made by the thread */
    CHI_JS_ENTRY, /* another node's entry: entry, bytes: key of its room */
    CHI_JS_GONE,  /* a redaction by another node: position, bytes: key of its room */
    CHI_JS_HEARD, /* a message of the bus: bytes. By js.c, of a CHI_JS_BUS that it heard */
    CHI_JS_BACK,  /* the log went back; epochs are to be read anew */
};

/* The newest entry of an open room as the thread knows it; its own. */
struct chi_js_top {
    uint64_t position; /* 0: the room is empty, once that is known */
    struct chi_js_hint hint;
    uint32_t uses; /* openings of it that the hub has or waits for, and reads under way */
    bool known;    /* the leader, or the feed, said what it is */
    bool gone;     /* the log went back: positions are not to be trusted, nor is it in js->tops */
    struct chi_link all; /* pages.c: whatever frees them */
};

/* An open room: a handle. The thread uses `name` alone, and `top`. */
struct chi_js_room {
    struct chi_slot slot;   /* in the log's rooms */
    struct chi_name *name;  /* a reference; never changed */
    struct chi_js_top *top; /* the thread's, in js->tops */
    /* the hub's thread's */
    uint64_t told;                /* newest position that was reported */
    struct chi_js_cached *cached; /* owned; NULL: nothing */
    uint32_t number;              /* the hub's */
    uint32_t under_way : 25;      /* tasks that are not reported */
    uint32_t open : 1;            /* the hub has the handle */
    uint32_t opening : 1;         /* it will, unless that fails */
    uint32_t lost : 1;            /* the log went back since it was opened */
    uint32_t closing : 1;         /* the thread is to be told that it is closed */
    uint32_t mending : 1;         /* what was left out is being read; its entries wait */
    uint32_t mended : 1;          /* … and was: what is still left out is nowhere */
    uint32_t unmended : 1;        /* it is being read, and nothing waits for it any more */
};

struct chi_js_page {
    struct chi_entry **entries; /* owned, with references; oldest first */
    uint32_t count, cap;
    bool more;
};

struct chi_js_task {
    struct chi_work work; /* first */
    enum chi_js_work kind;
    int status;               /* as in what is reported of it */
    struct chi_js_room *room; /* NULL: made by the thread, or SEND */
    void *token;              /* post, erase */
    struct chi_entry *entry;  /* post: the draft; entry: it. A reference */
    uint64_t position;        /* erase, gone; open: the top; post that is a repeat: of the first */
    uint64_t time;            /* post: when it was taken, or of the first. Unix ms */
    uint64_t retry_after;     /* post that failed: ms */
    const char *why;          /* post that failed; static */
    struct chi_log_read read; /* read */
    struct chi_js_page page;  /* read: what came; owned */
    struct chi_buf bytes;     /* entry, gone, send, heard; owned */
    uint64_t node;            /* send: to which; 0: all */
    struct chi_link owed;     /* the hub's side: an answer to the hub */
    /* a post on its way: posts.c */
    uint64_t nonce;             /* drawn by the hub's side */
    char id[CHI_JS_ID_LEN + 1]; /* Nats-Msg-Id, made by the hub's side */
};

/* ---------------------------------------------------------------------------------- the whole */

/* How it stands between the log and its stream. */
enum chi_js_state {
    CHI_JS_DOWN,     /* no connection, or the server does not answer */
    CHI_JS_CHECKING, /* stream.c looks whether all is as it was. Openings and pages wait, too */
    CHI_JS_UP,       /* posts are sent, entries shown */
};

/* What the hub's side sets; the thread reads it at each round. */
struct chi_js_orders {
    struct chi_log_bounds bounds; /* cid_horizon and cids are kept to; the others make the stream */
    uint64_t hold;                /* ms that a post waits at most until it was stored */
    uint64_t wall;                /* Unix ms */
    uint64_t pace; /* µs: what is finished is given at once if some was given so long
                                     ago, else then: what is shown together is one write a member */
};

/* What the thread tells of itself. */
struct chi_js_news {
    struct chi_log_stats stats; /* commits: posts of this node that were stored */
    const char *why;            /* it is down: what is the matter; static */
    uint64_t shown;             /* as chi_log.shown, once the tasks given so far are reported */
    char trouble[1024];   /* the stream is not as the settings say: what, and what to do; "" */
    uint32_t most;        /* bytes of a message that the server takes; 0: none was reached yet */
    const char *made;     /* this node made the stream: how; static. NULL: it was there */
    uint64_t passed;      /* stored messages that could not be read and were passed over … */
    uint64_t passed_last; /* … the newest of them */
};

struct chi_js_epochs {
    struct chi_js_epoch *list; /* owned, oldest first; the last one is in force */
    uint32_t count;
};

struct chi_js;
struct chi_js_ask;
struct chi_js_feed; /* each made and known by its own file */
struct chi_js_posts;
struct chi_js_stream;
struct chi_js_pages;
struct chi_js_proofs;
struct chi_js_erasing;

struct chi_js_parts {
    struct chi_js_port port;
    const char *stream;          /* its name; outlives all */
    uint8_t secrets[48];         /* random: of the cids */
    uint64_t seed;               /* random: of times drawn */
    struct chi_js_config wanted; /* how the stream is made, or should be; replicas 0: 3 where there
                                     are so many servers, else 1 */
};

struct chi_js {
    struct chi_js_parts parts;
    struct chi_js_orders orders; /* of this round */
    struct chi_js_news news;
    enum chi_js_state state;
    uint64_t now;             /* ms, monotonic, of this round */
    struct chi_timers timers; /* in ms */
    struct chi_works out;     /* finished tasks, in order */
    struct chi_map *tops;     /* chi_js_top by a room's key, of rooms that are open or opening; they
                                 are pages.c's, which frees them */
    struct chi_js_asks *asks; /* js.c; as the next four */
    struct chi_js_task *spare; /* for the next entry that is shown; owned, or NULL */
    struct chi_buf key;        /* of the room that is being shown */
    uint64_t number;           /* of the connection, as of this round … */
    bool was_up;               /* … and whether there is one */
    struct chi_js_feed *feed;
    struct chi_js_posts *posts;
    struct chi_js_stream *stream;
    struct chi_js_pages *pages;
    struct chi_js_erasing *erasing;
    pthread_mutex_t lock; /* of `epochs`: the hub's side reads them after CHI_JS_BACK */
    struct chi_js_epochs epochs;
};

/* --- js.c: life, rounds, requests */

/* 0 or CHATHUB_ENOMEM. */
int chi_js_new(const struct chi_js_parts *parts, struct chi_js **out);
/* What it has in hand goes to `left`, unfinished. NULL is allowed. */
void chi_js_free(struct chi_js *js, struct chi_works *left);
/* One round: first `begin`, then what came (tasks, messages), then `end`, after which js->out holds
 * what is finished, and `chi_js_next` says when the next round is due (ms; UINT64_MAX: never). */
void chi_js_begin(struct chi_js *js, uint64_t now, const struct chi_js_orders *orders);
void chi_js_take(struct chi_js *js, struct chi_js_task *task);
void chi_js_heard(struct chi_js *js, const struct chi_js_in *in);
void chi_js_end(struct chi_js *js);
uint64_t chi_js_next(const struct chi_js *js);
/* Messages were thrown away before they came here, for want of room: holes are looked for at once. */
void chi_js_missed(struct chi_js *js);

/* A finished task. */
void chi_js_give(struct chi_js *js, struct chi_js_task *task);
/* One that the thread makes; NULL: no memory. */
struct chi_js_task *chi_js_task_new(enum chi_js_work kind);
void chi_js_task_free(struct chi_js_task *task); /* NULL is allowed */
/* S.in.room.R of a key, appended. */
void chi_js_room_subject(const struct chi_js *js, struct chi_buf *out, struct chi_span key);

/* A request that waits for its answers; a part of its owner. */
struct chi_js_ask {
    struct chi_timer timer; /* of its time */
    struct chi_js *js;      /* NULL: it is not under way */
    uint32_t token;
    uint32_t ms; /* of its latest request */
    /* Each answer; NULL: none came in its time, or the connection broke. After NULL, and after
     * chi_js_ask_end, it is over; otherwise it goes on waiting for further ones. */
    void (*answer)(struct chi_js_ask *ask, const struct chi_js_in *in);
};
/* Asks the server's interface, of the stream: `api` such as "STREAM.MSG.GET". `data` is used up, and may
 * have failed. Negative, and no answer follows: there is no connection, or no memory. `ms`: for the first
 * answer, and from one to the next. */
int chi_js_ask(struct chi_js *js, struct chi_js_ask *ask, const char *api, struct chi_buf *data,
               uint32_t ms);
/* Another request (a consumer's next pull) under the same ask, or a post: `out` without token. */
int chi_js_ask_send(struct chi_js *js, struct chi_js_ask *ask, const struct chi_js_out *out,
                    uint32_t ms);
void chi_js_ask_end(struct chi_js_ask *ask); /* harmless if it is not under way */

/* --- feed.c: what the stream sends on, in order and without holes */

/* Live messages come in any order, doubled, or not at all; what is missing is asked of the stream's
 * leader by sequence (many at once, bounded), and a message that was deleted is passed over only when
 * the leader has said twice that it has it no more, though it has later ones. What waits behind a hole
 * is bounded, in messages and bytes: what does not fit is thrown away, and part of the hole.
 * The tail is asked for each second, and at once where a PubAck tells of more than came. */
int chi_js_feed_new(struct chi_js *js);
void chi_js_feed_free(struct chi_js *js);
/* Nothing up to `shown` is to be shown; what follows is. */
void chi_js_feed_start(struct chi_js *js, uint64_t shown);
/* Stops showing until `start` or `resume`; what came by then is thrown away, and read again. */
void chi_js_feed_pause(struct chi_js *js);
/* Goes on behind what was shown; the stream's last sequence is this. */
void chi_js_feed_resume(struct chi_js *js, uint64_t last);
void chi_js_feed_heard(struct chi_js *js, const struct chi_js_in *in);
/* The stream holds this sequence. */
void chi_js_feed_tail(struct chi_js *js, uint64_t seq);
uint64_t chi_js_feed_shown(const struct chi_js *js);
/* The stream holds nothing below this sequence any more. */
void chi_js_feed_kept(struct chi_js *js, uint64_t first);
/* By js.c: at each round's begin; when the next one is due (UINT64_MAX: never); and that messages were
 * thrown away. */
void chi_js_feed_round(struct chi_js *js);
uint64_t chi_js_feed_due(const struct chi_js *js);
void chi_js_feed_missed(struct chi_js *js);
/* By the feed, once for each stored message, in order: `prev` is the sequence before it on its subject
 * (0: none; CHI_JS_PREV_UNKNOWN: it was asked for). (js.c: to posts, erasing, stream.) CHATHUB_ENOMEM:
 * it was not shown, and is to be again. */
#define CHI_JS_PREV_UNKNOWN UINT64_MAX
int chi_js_show(struct chi_js *js, uint64_t seq, uint64_t prev, struct chi_span subject,
                struct chi_span data);

/* --- stream.c: the stream itself, epochs */

/* Makes or checks the stream, reads epochs and redactions, writes the first epoch, then
 * starts the feed: js->state is CHI_JS_UP, and posts.c begins to read the cids. Whenever the connection is another one
 * (port.number), or the stream is missing: CHI_JS_CHECKING, and the feed pauses, until it is known
 * that the stream is the one that it was: made at the same time, its last sequence not lower than what
 * was shown, and the newest shown messages in it unchanged. Then it goes on; else an epoch is
 * written (only one node succeeds: expected last sequence of its subject; the others take it over), all
 * under way is answered, CHI_JS_BACK is given, and the feed starts at the stream's end. */
int chi_js_stream_new(struct chi_js *js);
void chi_js_stream_free(struct chi_js *js);
void chi_js_stream_round(struct chi_js *js); /* at each round's begin */
/* A live epoch record: another node found that the log went back. */
void chi_js_stream_epoch(struct chi_js *js, uint64_t seq, struct chi_span data);
/* An answer said that the stream, or its leader, is not there. */
void chi_js_stream_doubt(struct chi_js *js);
/* Why it cannot be opened: a line for a person, once that is known for good (no JetStream, a stream
 * that cannot serve); NULL: it is still being tried, or open. */
const char *chi_js_stream_problem(const struct chi_js *js, int *error);
uint64_t chi_js_stream_due(const struct chi_js *js); /* as chi_js_feed_due */
/* ms of the stream's duplicate window; 0: not known yet. (js.c: no post is held for more than half of
 * it, whatever the orders say.) */
uint64_t chi_js_stream_window(const struct chi_js *js);
/* Servers that hold a copy of it, as it says itself; 0: not known yet. */
uint32_t chi_js_stream_replicas(const struct chi_js *js);
/* This was shown: what the stream is compared with after a reconnection. */
void chi_js_stream_sample(struct chi_js *js, uint64_t seq, struct chi_span data);
/* This came though the feed is beyond it: once more, or in a stream that went back. */
void chi_js_stream_again(struct chi_js *js, uint64_t seq, struct chi_span data);

/* --- posts.c: posts on their way, cids */

/* One post of a user is on its way at a time, the others wait in order, so that a try that is made
 * again cannot overtake. Bounds: those of the hub's drafts. A post is sent, and again after 2 s without
 * an answer or at a new connection, until it is seen in the feed or `hold` is over; then it is ELOG if
 * it was never sent or each try was refused, else EUNKNOWN. `hold` ends well before the stream's
 * duplicate window. What was answered as unknown may yet be stored, behind later posts of its user.
 * Repeats: an index of cids, filled from the feed and, once it is up, from the stream back to the
 * horizon, answers what it knows; the stream's own check (PubAck with duplicate) the rest. Posts with
 * cids are sent when all were read, others at once. */
int chi_js_posts_new(struct chi_js *js);
void chi_js_posts_free(struct chi_js *js, struct chi_works *left);
/* More cids lie within the horizon than may be remembered: what to do, a line for a person; NULL: not
 * so. */
const char *chi_js_posts_trouble(const struct chi_js *js);
void chi_js_posts_take(struct chi_js *js, struct chi_js_task *task);
void chi_js_posts_round(struct chi_js *js); /* at each round's end: sends what may be sent */
/* By the feed: an entry, with position and prev. True: it was one of ours, and is answered (given with
 * this entry); false: another node's. Remembers its cid in any case. */
bool chi_js_posts_seen(struct chi_js *js, struct chi_span key, const struct chi_js_record *record);
/* The log went back: all on their way end as unknown or, never sent, as ELOG; cids are forgotten. */
void chi_js_posts_end(struct chi_js *js);

/* --- walk.c: stored messages read in order, by an ephemeral pull consumer */

struct chi_js_walk {
    /* set by the owner, who is free to end it or begin another from within both: */
    void (*each)(struct chi_js_walk *walk,
                 const struct chi_js_in *in); /* in order, none left out */
    /* Once, unless it was ended: 0, or CHATHUB_ELOG. `whole`: there is nothing further (as of then, on
     * the server that answered, which may be behind the leader), else `limit` or `bytes` was reached. */
    void (*done)(struct chi_js_walk *walk, int status, bool whole);
    uint32_t limit, bytes; /* UINT32_MAX: no bound; it is read by pulls of at most 500 and 1 MiB */
    /* walk.c's */
    struct chi_js_ask ask;
    struct chi_js *js;
    struct chi_buf subject; /* S.in.room.R or such; empty: all. Owned */
    uint64_t seq;           /* the next that is wanted */
    uint64_t time;          /* or from when on */
    uint64_t given;         /* messages so far … */
    uint64_t given_bytes;   /* … and bytes */
    char consumer[64];      /* its name; "": none yet */
    uint64_t pending;       /* messages that the consumer has ahead */
    uint64_t nth;           /* messages that came of this consumer … */
    uint32_t batch, pulled; /* … wanted by this pull, and of them come */
    uint32_t tries;         /* consumers in a row that gave nothing */
    uint32_t run;           /* counts up with each begin and end: `each` may do both */
    uint8_t stage;          /* 0: not under way */
    bool single;            /* what comes next is larger than a pull: it is asked for alone */
};
/* `subject` is copied. Negative: neither follows. */
int chi_js_walk_begin(struct chi_js *js, struct chi_js_walk *walk, struct chi_span subject,
                      uint64_t seq, uint64_t time);
void chi_js_walk_end(struct chi_js_walk *walk); /* harmless if it is not under way */

/* --- proof.c: pages compared with the leader's */

/* Where a stream has replicas, a consumer may sit on one whose copy differs for a while from what was
 * committed (nats-server 2.9.10, while leaders change), so what a walk brought is compared, entry by
 * entry, with what the leader has. At most 64 requests at once for all pages. */
struct chi_js_point {
    uint64_t position;
    uint64_t hash; /* of the message's bytes */
};

struct chi_js_proof {
    /* set by the owner, before it begins: */
    struct chi_span key, subject; /* of the room; borrowed until it is done or ended */
    uint64_t from, to; /* the points are all that is in [from, to); what is behind the last one is
                          not looked at where `to` is not. `from` is never 0 */
    /* Once, unless it was ended: 0: it is so; CHATHUB_EAGAIN: it is not, as the leader has it;
     * CHATHUB_ELOG: it does not answer. From within `begin`, too. */
    void (*done)(struct chi_js_proof *proof, int status);
    /* proof.c's */
    struct chi_js_proofs *proofs; /* NULL: it is not under way */
    struct chi_link waiting;      /* in its list while there is more to ask for */
    struct chi_js_point *points;  /* owned; by position */
    uint32_t count, cap;
    uint32_t asks, next, left; /* requests in all; the next one; those that are not proven */
};
struct chi_js_proofs *chi_js_proofs_new(struct chi_js *js); /* NULL: no memory */
void chi_js_proofs_free(struct chi_js_proofs *proofs);      /* none is under way; NULL is allowed */
/* A message of the walk, in order. 0 or CHATHUB_ENOMEM. */
int chi_js_proof_add(const struct chi_js *js, struct chi_js_proof *proof, uint64_t position,
                     struct chi_span data);
void chi_js_proof_drop(struct chi_js_proof *proof, uint64_t below); /* points below a position go */
void chi_js_proof_begin(struct chi_js_proofs *proofs, struct chi_js_proof *proof);
/* Forgets the points. Harmless if it is not under way. */
void chi_js_proof_end(struct chi_js_proof *proof);

/* --- pages.c: openings and pages */

/* At most 32 at once, the others wait in order. A page is right or an error: what the server gave
 * is checked against what is known of the room (its top, the bounds asked for), since a server that
 * is behind answers less, and, where there are replicas, against the leader (proof.c), and read
 * again. Each entry's prev is the one before it in the room; of the oldest that is kept, 0 if its
 * hint says that it is the first, else a position below it and not below the hint's, so that
 * whoever wants what is gone is shown the gap. Tombstones stand at their places. Openings ask the
 * leader for the last message of the room's subject; what the feed shows of the room meanwhile
 * counts. */
int chi_js_pages_new(struct chi_js *js);
void chi_js_pages_free(struct chi_js *js, struct chi_works *left);
void chi_js_pages_take(struct chi_js *js, struct chi_js_task *task); /* open, shut, read */
/* The log went back: all under way end with CHATHUB_ELOG, so do reads by former handles, and js->tops
 * is empty. */
void chi_js_pages_end(struct chi_js *js);

/* --- erase.c: redactions */

/* A record of it is stored first, then the message is deleted: whoever sees the record knows that the
 * texts are gone, and whoever starts deletes once more what the last records name. All nodes keep
 * where tombstones are. */
int chi_js_erase_new(struct chi_js *js);
void chi_js_erase_free(struct chi_js *js, struct chi_works *left);
int chi_js_erase_load(struct chi_js *js, void (*done)(struct chi_js *js, int status));
void chi_js_erase_take(struct chi_js *js, struct chi_js_task *task);
/* By the feed. */
void chi_js_erase_seen(struct chi_js *js, uint64_t seq, struct chi_span data);
/* The first tombstone of a room in [from, to]; false: none. */
bool chi_js_erase_find(const struct chi_js *js, struct chi_span key, uint64_t from, uint64_t to,
                       struct chi_js_erased *out);
/* A tombstone as an entry; NULL: no memory. */
struct chi_entry *chi_js_tombstone(const struct chi_js_erased *erased);
void chi_js_erase_end(struct chi_js *js); /* all under way end with CHATHUB_ELOG; forgets all */

#endif
