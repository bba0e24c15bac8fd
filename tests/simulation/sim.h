/* The simulation: core, delivery and a log under a virtual clock, a seeded scheduler and faults. */
#ifndef SIM_H
#define SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "chathub.h"
#include "core/hub.h"
#include "core/settings.h"
#include "delivery/delivery.h"
#include "log/log.h"

#define SIM_ROOMS        5          /* rooms that clients know */
#define SIM_ACTORS       112        /* people at most */
#define SIM_FEW          16         /* … but in a crowd */
#define SIM_SLOTS        256        /* clients of the hub */
#define SIM_CONNS        160        /* connections at once, with those that are dying */
#define SIM_ASKED        16         /* requests of one connection under way */
#define SIM_PEOPLE       160        /* names in one frame */
#define SIM_PAGE         64         /* entries in one history frame */
#define SIM_POSTS        300        /* posts of one actor */
#define SIM_REUSED       (-2)       /* a post under the cid of another: never to be acked */
#define SIM_ERASURES     64         /* redactions in one story */
#define SIM_KINDS        5          /* of clients of other chat servers */
#define SIM_PLACES       128        /* of names in rooms, that are remembered */
#define SIM_KNOWN        512        /* sessions that were named */
#define SIM_FRAME_MAX    (1u << 17) /* the longest frame */
#define SIM_WINDOW_SLACK (3u << 16) /* windows may hold so much more for a moment */

/* Kinds of trouble; each seed has its own mix, and --shrink takes them away one by one. */
#define SIM_FAULTS(X)                                                                              \
    X(LOSS, 0, "loss")                     /* connections are lost, bytes in flight with them */   \
    X(STALL, 1, "stall")                   /* clients stop reading for a while */                  \
    X(SHORT, 2, "short")                   /* the transport takes fewer bytes than fit */          \
    X(HALF_OPEN, 3, "half-open")           /* the hub learns late that a client is gone */         \
    X(BROKEN, 4, "broken")                 /* sends answer an error before the loss is told */     \
    X(COMMIT_FAIL, 5, "commit-fail")       /* the log answers ELOG */                              \
    X(COMMIT_SLOW, 6, "commit-slow")       /* commits take time */                                 \
    X(COMMIT_UNKNOWN, 7, "commit-unknown") /* EUNKNOWN, committed or not */                        \
    X(LOG_FULL, 8, "log-full")             /* append answers EAGAIN */                             \
    X(OPEN_SLOW, 9, "open-slow")           /* rooms take time to open */                           \
    X(OPEN_FAIL, 10, "open-fail")          /* rooms do not open */                                 \
    X(READ_SLOW, 11, "read-slow")          /* pages take time */                                   \
    X(READ_FAIL, 12, "read-fail")          /* pages answer ELOG */                                 \
    X(BOUNDS, 13, "bounds")                /* the log keeps few entries: gaps */                   \
    X(AUTHORIZE, 14, "authorize")          /* allow, deny, later, never */                         \
    X(HOSTILE, 15, "hostile")              /* requests that are wrong */                           \
    X(ALLOC, 16, "alloc")                  /* allocations fail */                                  \
    X(TAKEOVER, 17, "takeover")            /* sessions move to another connection */               \
    X(LIMITS, 18, "limits")                /* tight limits of the hub */                           \
    X(RESTART, 19, "restart")              /* the hub dies and comes back with an empty log */     \
    X(NATIVE, 20, "native")                /* connections that speak the native dialect */         \
    X(OBSERVE, 21, "observe")              /* silent connections listen */                         \
    X(REDACT, 22, "redact")                /* entries lose their texts */                          \
    X(SMALL_WINDOW, 23, "small-window")    /* windows have next to no memory */                    \
    X(CLOCK, 24, "clock")                  /* the wall clock jumps */                              \
    X(CROWD, 25, "crowd")                  /* more people in one room than one visit serves */     \
    X(HEAVY, 26, "heavy")                  /* large posts: windows outgrow their segments */       \
    X(LASTING, 27, "lasting")              /* the hub dies and comes back with its log kept */     \
    X(ROLLBACK, 28, "rollback")            /* … but without the log's newest entries */          \
    X(HOLES, 29, "holes")                  /* … but without some in its middle */                \
    X(DOWN, 30, "down")                    /* the log cannot commit for a while */                 \
    X(FOREIGN, 31, "foreign")              /* people with the clients of other chat servers */
/* With these the log is one that lasts. */
#define SIM_LASTS (SIM_LASTING | SIM_ROLLBACK | SIM_HOLES)

#define SIM_X(name, bit, word) SIM_##name = 1u << (bit),
enum sim_fault { SIM_FAULTS(SIM_X) };
#undef SIM_X

/* ----------------------------------------------------------------------------------------
 * basics */

struct sim_rng {
    uint64_t state; /* of splitmix64 */
};

uint64_t sim_next(struct sim_rng *rng);
/* A number below n; 0 if n is 0. */
uint32_t sim_below(struct sim_rng *rng, uint32_t n);
/* True once in n times; never for n = 0. */
bool sim_one_in(struct sim_rng *rng, uint32_t n);
uint64_t sim_hash(const void *bytes, size_t len);

/* Memory of the harness itself: never fails by a fault, not counted as the library's. */
void *sim_alloc(size_t size);
void *sim_realloc(void *at, size_t size);
void sim_free(void *at);

/* Allocation faults of the library (alloc.c). */
void sim_alloc_begin(uint64_t seed, uint32_t one_in); /* counts from 0; one_in 0: no failures */
void sim_alloc_rate(uint32_t one_in);
int64_t sim_alloc_live(void); /* allocations of the library that were not freed since begin */

struct sim_bytes {
    char *at;   /* owned */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
};

void sim_bytes_add(struct sim_bytes *bytes, const void *at, size_t len);
void sim_bytes_consume(struct sim_bytes *bytes, size_t n);
void sim_bytes_fini(struct sim_bytes *bytes);

/* ----------------------------------------------------------------------------------------
 * frames */

struct sim_person {
    struct chi_span user;
    struct chi_span name;
    struct chi_span status;
    struct chi_span was; /* former name */
};

struct sim_seen {
    uint64_t position, prev;
    struct chi_span user, cid, content, data;
};

/* A frame from the hub, whatever dialect it came in. `type` is E(ntry), W(elcome), A(ck), X
 * (error), J(oined), L(eft), H(istory), O (who), P(ong), K (ok), G(ap), B(ye), ? (help), S
 * (presence), T(yping), U (status), V (private), Z (the second text of the frame before), C (the
 * transport's own). */
struct sim_frame {
    char type;
    bool several;  /* a Z follows */
    bool native;   /* which dialect it came in */
    bool boxed;    /* which framing */
    bool dup;      /* ack */
    bool observer; /* joined */
    bool more;     /* history, who */
    bool on;       /* typing */
    bool snapshot; /* presence */
    bool only;     /* presence: counts only */
    bool has_top;  /* the sim dialect stamps signals */
    bool has_list; /* joined: it names who is present */
    int code;      /* error, left: the library's number; 0 for an unknown name */
    struct chi_span ref, room, epoch, cid, name, user, session;
    uint64_t position, start, from, to, count, number, top;
    uint64_t stamp;                       /* number of an error, or of what is said privately */
    struct sim_seen entry;                /* E; V: content */
    struct sim_person people[SIM_PEOPLE]; /* came, went, renamed, in this order */
    uint32_t came, went, renamed;
    struct sim_seen page[SIM_PAGE];
    uint32_t page_count;
    uint64_t at; /* place of its first byte among all that its connection took */
};

extern const struct chi_dialect sim_dialect;
/* The same, with the manners of chatservice, minichat, gochat, multiserver and realtime. */
extern const struct chi_dialect sim_foreign[SIM_KINDS];
extern const struct chi_framing sim_line;  /* a newline behind the text */
extern const struct chi_framing sim_boxed; /* length and checksum before it */

/* Reads the frame at the front of `bytes`: its length, 0 if it is not complete, -1 if it is
 * broken. */
ptrdiff_t sim_unframe(const char *bytes, size_t len, struct chi_span *text, bool *boxed);
/* Reads a frame's text; false if it is no such frame. Spans reach into `text`, or into `scratch`
 * for JSON. */
bool sim_frame_read(struct chi_span text, struct sim_bytes *scratch, struct sim_frame *out);
bool sim_native_read(struct chi_span text, struct sim_bytes *scratch, struct sim_frame *out);
/* Writes a request as a client of the dialect would. */
void sim_request_write(struct sim_bytes *out, const struct chi_request *request);
void sim_native_write(struct sim_bytes *out, const struct chi_request *request);

/* -----------------------------------------------------------------------------------------
 * world */

struct sim_config {
    uint64_t seed;
    uint32_t steps;
    uint32_t actors;
    uint32_t faults; /* set of enum sim_fault */
    bool verbose;    /* every event to standard output */
};

/* What the log has committed, as the checker remembers it: nothing is ever forgotten here but what
 * a restart took back. */
struct sim_past {
    uint64_t position, prev;
    uint32_t user;     /* interned */
    uint32_t cid;      /* interned; 0: none */
    uint32_t sender;   /* interned name */
    uint64_t content;  /* hash */
    bool redacting;    /* it may be without its texts */
    bool lost;         /* it may be told as a gap, for damage to the log */
    uint32_t redacted; /* number of the report that its texts are gone; 0: none came */
    uint64_t at;       /* when */
    uint64_t size;     /* bytes in the log */
};

struct sim_room {
    char name[16];         /* as clients write it */
    struct sim_past *past; /* by position, owned */
    uint32_t count, cap;
    uint32_t number;               /* the hub's, while open */
    bool open;                     /* delivery knows it */
    uint64_t shown;                /* newest position that delivery was told */
    uint64_t lost_to;              /* the log forgot all up to here */
    uint32_t members;              /* as core told delivery */
    uint8_t member[SIM_SLOTS];     /* … by slot */
    uint8_t left_first[SIM_SLOTS]; /* left was said, member_leave not yet */
    uint64_t *signal_top; /* by presence number: `shown` + 1 when it was made first; owned */
    uint64_t signal_cap;
    uint64_t signal_last; /* number of the last presence signal */
};

/* A client of the hub as core speaks of it, by its slot (manners.c). */
struct sim_slot {
    const struct chi_dialect *dialect; /* how it speaks; NULL: nobody is there */
    int32_t history;                   /* of its listener, as in struct chi_client_desc … */
    bool presence;                     /* … and so is this */
    uint32_t user, name;      /* interned: public id, key of its name; 0: it was not told */
    bool member[SIM_ROOMS];   /* `joined` was said, and `left` not since */
    uint64_t then[SIM_ROOMS]; /* newest positions shown when the hub last read of it */
    int watching;             /* the room that it observes, or -1 */
    int joining;        /* a room that it was put into in this step, without a word yet; or -1 */
    bool signals;       /* … with its signals … */
    uint64_t from, top; /* … after this position, while this was the newest that was shown … */
    uint64_t base;      /* … and this the number of the last presence signal */
    uint32_t naming;    /* interned ref of the post that named it, until that is resolved */
    bool early;         /* it was said to have come before that */
    bool gap_due;       /* the next reply has to be a gap … */
    uint64_t gap_from, gap_to; /* … and say this */
    bool full, failed;         /* a reply was one too many, or could not be taken */
    bool refused;              /* it was not given the name that it must have */
};

/* Where a name's last session stood in a room. */
struct sim_place {
    uint32_t name;             /* interned key */
    int room;                  /* which */
    uint64_t position;         /* up to which it was sent … */
    char epoch[CHI_EPOCH_LEN]; /* … under this epoch … */
    uint64_t at;               /* … until this time */
    uint32_t batch;            /* number of the session */
};

/* A session that was named. */
struct sim_known {
    uint32_t user, name; /* interned */
    int slot;            /* of its connection; -1: none */
    uint64_t until;      /* then it has the name up to this time */
};

/* What is said privately in this step. */
struct sim_whisper {
    const struct sim_post *post; /* NULL: nothing is */
    uint8_t due[SIM_SLOTS];      /* 1: must get it; 2: may */
};

struct sim_one {
    uint32_t user, name, status; /* interned */
};

struct sim_view {
    bool known;             /* the list is complete as of `number` */
    bool wanted;            /* `who` is to be asked */
    bool asking;            /* it was, */
    uint32_t asked_ref;     /* by this ref */
    bool self_due;          /* oneself is in it, but the room was perhaps not told yet */
    bool paging;            /* … and its answer had more */
    uint64_t paging_number; /* … as of this number */
    uint64_t number;        /* last presence signal in it */
    uint64_t count;         /* as told */
    uint32_t n, pages;
    struct sim_one who[SIM_PEOPLE];
    struct sim_one page[SIM_PEOPLE]; /* what came of a list in pages */
};

/* A room as one connection sees it. */
struct sim_member {
    bool in;            /* joined was received, left not */
    bool observer;      /* it is not there for the others */
    bool hears;         /* its signals come, too */
    bool fresh;         /* nothing came since `joined`, … */
    bool untold;        /* … or not yet that it came itself */
    bool gap_due;       /* a gap has to come before any entry */
    bool asked;         /* `hello` asked to resume it, as follows */
    bool held;          /* … and that holds */
    uint64_t position;  /* … after this position */
    uint64_t cursor;    /* up to where everything was received */
    uint64_t acked;     /* position of the last own post that was acked here … */
    uint32_t acked_ref; /* … and its ref */
    uint64_t began;     /* where it joined */
    uint64_t heard; /* number of the last presence signal that came, or behind which they begin … */
    uint64_t heard_or; /* … or up to this, if its place in the signals may have been set anew */
    struct sim_view view;
};

struct sim_asked {
    uint32_t ref;
    uint8_t type;    /* enum chi_request_type */
    int8_t room;     /* or -1 */
    bool named;      /* post: it gave its client the name */
    uint32_t name;   /* hello: interned key of the wished name */
    bool held;       /* join after: the position holds */
    bool continued;  /* who: not the first page */
    int32_t post;    /* the actor's post, -1, or SIM_REUSED */
    uint32_t status; /* interned */
    uint32_t limit;  /* history */
    struct chi_start start;
    uint64_t before, after; /* history; 0: not given */
};

struct sim_text {
    struct sim_text *next;
    size_t len;
    bool native;
    char at[];
};

struct sim_conn {
    bool used;       /* the slot is taken */
    bool open;       /* known to the hub */
    bool reading;    /* the hub wants its requests */
    bool blocked;    /* took fewer bytes than offered: owes chi_delivery_writable */
    bool broken;     /* sends answer an error */
    bool cut;        /* the client is not there any more */
    bool closing;    /* the hub said close */
    bool stalled;    /* the client does not read */
    bool left_clean; /* the client said goodbye in its protocol */
    bool native;     /* writes JSON */
    bool spoke;      /* something was sent by the client */
    bool served;     /* the hub read something of it */
    bool switched;   /* a frame in the later encoding came */
    bool observing;  /* chi_hub_observe was called for it */
    bool welcomed;   /* welcome was received */
    bool bye;        /* bye was received */
    bool unclear;    /* an error said that something was not even read, for want of memory */
    bool decided;    /* how it speaks is known before it speaks */
    bool entered;    /* chi_hub_enter was called for it */
    bool watches;    /* it is to observe a room */
    bool greeted;    /* it was welcomed without a name */
    bool unwatched;  /* it was in a room as an observer, and is not any more */
    bool troubled;   /* an error was received that is no answer to a request */
    int32_t history; /* of its listener */
    bool presence, private_posts;
    int home;       /* its listener's room */
    char alias[48]; /* the name that its client wishes for it, if it is of another chat server */
    char second;    /* type of the frame of which a second text is due; 0: of none */
    uint64_t stamp; /* number of the last error or private message */
    uint32_t user;  /* interned public id, once welcomed */
    uint32_t name;  /* interned, once welcomed */
    int code;       /* of close */
    int actor;
    uint64_t id;
    uint32_t slot;   /* the hub's number */
    uint32_t serial; /* never used again */
    uint32_t window; /* bytes that it takes before it blocks */
    uint32_t next_ref;
    uint32_t pings, pong; /* numbers of the last control ping and of the pong that came */
    uint32_t pong_due;    /* take_control will send this one; 0: none */
    uint64_t notice_at;   /* when the hub learns of the loss */
    uint64_t open_at;
    struct chi_encoding later; /* its encoding from its first frame on */
    struct sim_text *inbox, **inbox_end;
    struct sim_bytes pipe;               /* taken, not read by the client yet */
    struct sim_bytes rx;                 /* read, not a whole frame yet */
    uint64_t taken;                      /* bytes, ever … */
    uint64_t taken_at[SIM_ERASURES + 1]; /* … when a redaction of this number was reported */
    uint64_t framed;                     /* bytes of whole frames that were read, ever */
    struct chi_buf scratch;              /* the decoder's */
    struct sim_asked asked[SIM_ASKED];
    uint32_t asked_count;
    struct sim_member in[SIM_ROOMS];
};

enum sim_post_state {
    SIM_POST_RETRY,
    SIM_POST_SENT,
    SIM_POST_ACKED,
    SIM_POST_REFUSED,
    SIM_POST_GONE
};

struct sim_post {
    uint8_t state; /* enum sim_post_state */
    int8_t room;
    bool has_cid;
    uint16_t attempts;
    bool whisper;      /* for `to` alone */
    uint32_t to;       /* interned key of a name */
    uint32_t as;       /* interned: it has to be said under this name; 0: not known */
    uint32_t size;     /* of its content */
    uint32_t user;     /* interned; 0 while not known */
    uint32_t serial;   /* of the connection it was last sent on */
    int code;          /* it was refused with */
    uint64_t position; /* acked */
    uint64_t retry_at;
};

/* Somebody who comes, goes and returns: what an honest client keeps over its connections. */
struct sim_actor {
    int conn;         /* or -1 */
    bool hello_due;   /* say hello before anything else */
    uint8_t kind;     /* of its client: 0, or one more than its place in sim_foreign */
    uint8_t alias;    /* which name it has there */
    bool unique;      /* its wished name is its own */
    bool patient;     /* stays away */
    char session[72]; /* the key; "": none */
    uint32_t user;    /* interned public id; 0 while not known */
    uint32_t status;  /* interned, as last accepted; 0: none */
    uint32_t life;    /* counts identities */
    uint64_t away_until;
    bool wants[SIM_ROOMS];        /* rooms to be in */
    uint64_t position[SIM_ROOMS]; /* up to where it received */
    char epoch[SIM_ROOMS][24];    /* … under this epoch; "": never */
    struct sim_post posts[SIM_POSTS];
    uint32_t post_count;
};

struct sim_question {
    uint64_t id;
    uint64_t due; /* UINT64_MAX: never */
    bool allow;
};

struct sim_flog;

struct sim_world {
    struct sim_config config;
    struct sim_rng rng;   /* the scheduler's */
    struct sim_rng noise; /* env.random's */
    uint64_t now;         /* virtual ms */
    uint64_t micros;      /* for slices */
    uint64_t wall;        /* Unix ms at now = 0 */
    uint64_t last_tick;
    uint64_t turned; /* when chi_hub_turn was called last */
    uint32_t step;
    uint32_t room_count; /* rooms that people go to in this world */
    uint32_t faults;     /* in force now; none at rest */
    uint32_t serial;     /* of connections */
    bool woken;          /* the hub asked for a turn */
    bool stopping;       /* chi_hub_stop was called */
    bool dead;           /* the hub could not be opened again for want of memory */
    bool stirred;        /* something happened in this round (at rest) */
    bool reporting;      /* the log reports what became of drafts */
    bool failed;
    char what[400];   /* the first thing that went wrong */
    const char *kind; /* its format */
    struct chi_settings settings;
    bool has_settings;
    bool vague_bounds; /* the log's bounds are not by count alone */
    struct chi_env env;
    struct sim_store *store; /* the log that lasts; NULL: the memory log is used */
    struct sim_flog *flog;   /* the fault log around either */
    uint32_t redactions;     /* asked for */
    uint32_t redacted;       /* reported as done */
    struct chi_delivery *delivery;
    struct chi_hub *hub;
    struct chi_transport transport;
    struct sim_conn conns[SIM_CONNS];
    struct sim_actor actors[SIM_ACTORS];
    struct sim_room rooms[SIM_ROOMS];
    struct sim_slot slots[SIM_SLOTS];
    struct sim_place places[SIM_PLACES]; /* the longest ago first */
    uint32_t place_count, batches;
    bool vague_places; /* it is not known which of them are remembered */
    bool leaving;      /* a connection ends that said goodbye */
    struct sim_known known[SIM_KNOWN];
    uint32_t known_count;
    bool vague_names; /* there were more sessions than it keeps track of */
    struct sim_whisper whisper;
    struct sim_question questions[64];
    uint32_t question_count;
    struct sim_frame frame; /* the one being checked */
    struct sim_bytes scratch;
    char **words; /* interned texts, from 1 on */
    uint32_t word_count, word_cap;
    uint32_t *word_slots;
    uint64_t said;       /* of the events traced */
    uint64_t trace_hash; /* over all events: two runs of a seed agree */
    uint64_t frames;     /* checked */
};

/* The world that callbacks without a context belong to (dialects). */
extern struct sim_world *sim_world;

/* Notes the first violation; the run ends at the end of the step. */
void sim_fail(struct sim_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_trace(struct sim_world *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
#define SIM_TRACE(w, ...)                                                                          \
    do {                                                                                           \
        if ((w)->config.verbose)                                                                   \
            sim_trace(w, __VA_ARGS__);                                                             \
    } while (0)

uint32_t sim_intern(struct sim_world *w, struct chi_span text);   /* 0 for an empty text */
int sim_room_of(const struct sim_world *w, struct chi_span name); /* -1: none of ours */
bool sim_faulty(const struct sim_world *w, enum sim_fault fault);

/* Runs one seed. True if everything held. `what`, `step`, `frames` and `trace` tell the rest. */
struct sim_outcome {
    bool ok;
    uint32_t step;
    uint64_t frames;
    uint64_t trace;
    const char *kind; /* the format of `what`: two failures of one kind have the same */
    char what[400];
};
struct sim_outcome sim_run(const struct sim_config *config);
void sim_config_default(struct sim_config *config, uint64_t seed);

/* ----------------------------------------------------------------------------------- fault log */

struct sim_flog *sim_flog_new(struct sim_world *w, struct chi_log *inner);
struct chi_log *sim_flog_log(struct sim_flog *flog);
/* Uncommitted drafts of this user in the room. */
uint32_t sim_flog_drafts(struct sim_flog *flog, uint32_t room, struct chi_span user);
bool sim_flog_under_way(const struct sim_flog *flog);
/* Has an entry of an open room redacted. */
void sim_flog_redact(struct sim_flog *flog, uint32_t room, uint64_t position);
/* Has, with that fault and now and then, an entry of a page redacted that is on its way to the hub:
 * chance alone would nearly never. `backward`: it is history or a look, of which there are few. */
void sim_redact_page(struct sim_world *w, uint32_t room, const struct chi_log_page *page,
                     bool backward);
/* A page of an open room as the inner log has it, at once. False: it does not answer. */
bool sim_flog_peek(struct sim_flog *flog, uint32_t room, const struct chi_log_read *read);
/* The hub dies with drafts under way. */
void sim_flog_die(struct sim_flog *flog);
/* What this world's log says is the matter when it cannot commit; NULL: nothing. */
const char *sim_why(const struct sim_world *w);

/* --------------------------------------------------------------------------- the log that lasts */

struct sim_store *sim_store_new(struct sim_world *w);
void sim_store_free(struct sim_store *store); /* NULL is allowed */
/* A hub has it from now on, until it frees the log, under a new epoch. */
struct chi_log *sim_store_open(struct sim_store *store);
bool sim_store_holds(const struct sim_store *store, struct chi_span epoch, uint64_t position);
/* The newest position that was given out. */
uint64_t sim_store_last(const struct sim_store *store);
/* Between two hubs: what came after `last` is gone. Answers the newest position that is left. */
uint64_t sim_store_cut(struct sim_store *store, uint64_t last);
/* Between two hubs: this one is gone. False: it must not be. */
bool sim_store_lose(struct sim_store *store, uint64_t position);

/* --------------------------------------------------------------------------- transport,
 * delivery */

void sim_transport_init(struct sim_world *w);
/* Answers the connection, or -1 if the hub would not have it. */
int sim_connect(struct sim_world *w, int actor);
void sim_conn_say(struct sim_world *w, struct sim_conn *c, const struct chi_request *request);
void sim_conn_say_text(struct sim_world *w, struct sim_conn *c, struct chi_span text);
/* The hub reads one frame of it. False if there is none, or it does not want any. */
bool sim_conn_serve(struct sim_world *w, struct sim_conn *c);
/* The client reads up to n bytes. False if there is nothing to read. */
bool sim_conn_receive(struct sim_world *w, struct sim_conn *c, size_t n);
/* Tells delivery that it can take bytes again, if it owes that. */
bool sim_conn_writable(struct sim_world *w, struct sim_conn *c);
/* The client goes, with or without a word. */
void sim_conn_cut(struct sim_world *w, struct sim_conn *c, bool clean);
/* The hub learns of a loss. */
void sim_conn_notice(struct sim_world *w, struct sim_conn *c);
void sim_conn_free(struct sim_world *w, struct sim_conn *c);
void sim_conn_ping(struct sim_world *w, struct sim_conn *c);

/* The open connection of a slot; NULL: none. */
struct sim_conn *sim_conn_of(uint32_t slot);

/* chi_delivery_ops with the checks of what core tells delivery. */
extern const struct chi_delivery_ops sim_delivery_ops;

/* --------------------------------------------------------------------------------------- actors */

void sim_actor_init(struct sim_world *w, int actor);
/* It connects and joins the first room. */
void sim_actor_hurry(struct sim_world *w, int actor);
/* One thing that somebody may do. `calm`: only what brings work under way to its end. */
void sim_actor_step(struct sim_world *w, int actor, bool calm);
/* The request of this ref that was not answered; NULL: none. */
struct sim_asked *sim_asked_of(struct sim_conn *c, struct chi_span ref);
bool sim_actor_restless(const struct sim_world *w, int actor);
/* Its connection is no more. */
void sim_actor_lost(struct sim_world *w, int actor, struct sim_conn *c);
/* What actors of both sorts do. */
bool sim_ask(struct sim_world *w, struct sim_conn *c, struct chi_request *r, int room, int post);
bool sim_asks_who(struct sim_world *w, struct sim_conn *c);
void sim_wreck(struct sim_world *w, int actor, struct sim_conn *c);
/* The post whose text begins like this; NULL: none. */
struct sim_post *sim_post_of_text(struct sim_world *w, struct chi_span text, char mark, int *actor);
/* Text of post number n, the same at each attempt. */
struct chi_span sim_post_text(const struct sim_post *post, int actor, uint32_t n, char out[],
                              size_t size);

/* ------------------------------------------------------------------- clients of other chat servers */

/* What its listener and its client say, before the hub knows it. False: it is not let in, for its
 * name. */
bool sim_foreign_describe(struct sim_world *w, int actor, struct sim_conn *c,
                          struct chi_client_desc *desc);
void sim_foreign_enter(struct sim_world *w, struct sim_conn *c);
void sim_foreign_step(struct sim_world *w, int actor, struct sim_conn *c, bool calm);
void sim_foreign_hurry(struct sim_world *w, int actor, struct sim_conn *c);
/* Whether its client gets signals. */
bool sim_hears(const struct chi_dialect *dialect, bool presence);
/* How many of the last are for who comes anew. */
uint32_t sim_standard(const struct sim_world *w, const struct chi_dialect *dialect,
                      int32_t history);

/* manners.c: what core tells, by slots. */
void sim_slot_open(struct sim_world *w, uint32_t slot, const struct chi_client_desc *desc);
void sim_slot_asks(struct sim_world *w, uint32_t slot); /* it is about to be read of */
void sim_slot_reply(struct sim_world *w, uint32_t slot, const struct chi_reply *reply);
void sim_slot_replied(struct sim_world *w, uint32_t slot, int rc); /* what delivery answered */
void sim_slot_join(struct sim_world *w, uint32_t slot, int room, uint64_t from, bool signals);
void sim_slot_leave(struct sim_world *w, uint32_t slot, int room);
void sim_slot_signals(struct sim_world *w, uint32_t slot, int room); /* from now on */
void sim_slot_end(struct sim_world *w, uint32_t slot);               /* delivery knows it still */
void sim_slot_signal(struct sim_world *w, int room, const struct chi_signal *signal);
void sim_slots_step(struct sim_world *w);  /* after each step */
void sim_slots_reset(struct sim_world *w); /* the hub is no more */
uint32_t sim_name_key(struct sim_world *w, struct chi_span name);

/* -------------------------------------------------------------------------------------- checker */

/* A commit: it joins what everybody must see. */
void sim_check_commit(struct sim_world *w, struct chi_span room, const struct chi_entry *entry);
/* A redaction was done, or not, and is about to be reported. */
void sim_check_redacted(struct sim_world *w, struct chi_span room, uint64_t position, int status);
/* The log lost all that came after a position: nobody is to see it again, and acks for it are void.
 */
void sim_check_taken_back(struct sim_world *w, uint64_t last);
/* Whether who received up to this position under this epoch is to go on without a gap. */
bool sim_holds(const struct sim_world *w, struct chi_span epoch, uint64_t position);
/* Whether who is refused with this may succeed later. */
bool sim_passing(int code);
/* A reply, as core hands it to delivery. */
void sim_check_answer(struct sim_world *w, const struct chi_reply *reply);
/* A frame as a client received it. */
void sim_check_frame(struct sim_world *w, struct sim_conn *c, struct sim_frame *frame);
/* Frames that tell who is there, and what they do (views.c). */
void sim_view_set(struct sim_world *w, struct sim_view *v, const struct sim_frame *f);
void sim_check_signal(struct sim_world *w, struct sim_conn *c, int at, const struct sim_frame *f);
void sim_check_who(struct sim_world *w, struct sim_conn *c, int at, const struct sim_frame *f,
                   const struct sim_asked *asked);
/* After each step. */
void sim_check_step(struct sim_world *w);
/* When nothing is left to do. */
void sim_check_rest(struct sim_world *w);
/* When all have gone. */
void sim_check_end(struct sim_world *w);
const struct sim_past *sim_past_at(const struct sim_room *room, uint64_t position);
/* Whether `want` entries follow a position, or all that may be kept. */
bool sim_reaches_back(const struct sim_world *w, const struct sim_room *room, uint64_t from,
                      uint32_t want);
/* The first entry after a position; NULL: none. */
const struct sim_past *sim_past_after(const struct sim_room *room, uint64_t position);

#endif
