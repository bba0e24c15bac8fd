/* chathub.h: an embeddable chat hub.
 *
 * A hub is one chat world: rooms, the clients in them, and the rules between them. It listens on
 * WebSockets and plain TCP lines, keeps each room as a log of entries, and brings every entry to
 * every member in order, at each member's own pace. Several hubs may live in one process; they
 * share nothing.
 *
 *     struct chathub *hub;
 *     if (chathub_new(&hub) == 0 && chathub_listen(hub, "ws://localhost:8080/ws") == 0)
 *         return chathub_run(hub);
 *
 * WORDS
 *     More of them are in docs/architecture.md.
 *       host        the program that the hub is part of
 *       client      one connection, or a participant inside the host's process (in-process)
 *       session     who a client is, by a secret key; goes on after a lost connection
 *       post        what a client asks to have said; once the log has committed it, an entry
 *       position    the number of an entry: grows over all rooms of the hub
 *       epoch       which log a position is of (docs/protocol.md, "Coming back")
 *       cid         a name that its sender gives a post: sent twice, it is there once
 *       dialect     how requests and entries are written: native JSON, lines for people …
 *       node        one of several hubs on one log, which are one chat
 *       log         what keeps the entries; what the hub tells of its work are log records
 *
 * LIFE CYCLE
 *     new → set, listen, route, on … → start (or run) → stop → free. Options marked `start`, and
 *     listeners, are refused once the hub has started (CHATHUB_ESTARTED); options marked `live` may
 *     change at any time.
 *
 * LOOPS
 *     A hub runs on one libuv loop. There are four ways:
 *       host's loop     chathub_start with the host's uv_loop_t, which the host runs
 *       own loop        chathub_run: in the calling thread, until the hub has stopped
 *       own thread      chathub_start_thread: the hub runs by itself; events come by a queue and
 *                       a descriptor that can be polled
 *       foreign loop    chathub_start with NULL, then chathub_step whenever chathub_fd is readable
 *                       or chathub_timeout is over
 *     On a host's loop it never runs, stops or walks the loop and touches no signals.
 *
 * THREADS
 *     After chathub_start_thread every function may be called on any thread, but chathub_free, which
 *     has to be the last call of all. Else every function but chathub_wake is called on the thread
 *     that runs the hub's loop (before start: on any one thread at a time). Hubs on different threads
 *     do not know of each other. After fork(), a child may not use its parent's hub: calls answer
 *     CHATHUB_EFORK, and chathub_free does nothing.
 *
 * CALLBACKS
 *     No callback is called from inside a call of the host's: they come from the loop, on its thread.
 *     (Log records are an exception, and what the tools for logs are given.) Inside a callback every
 *     function may be called but chathub_free, chathub_run and chathub_step. What a callback is handed
 *     is valid until it returns. Hosts that want no callbacks let what happens wait in the hub's queue:
 *     see THE QUEUE OF EVENTS.
 *
 * OWNERSHIP
 *     The hub is the only thing a host owns. Rooms are known by name, in-process clients by a
 *     number; a stale number answers CHATHUB_EGONE. Texts that are passed in are copied unless a
 *     function says otherwise. A (pointer, length) pair need not end in NUL; where the length is
 *     CHATHUB_NUL the text ends in NUL.
 *
 * ERRORS
 *     Functions return 0 (or a count) or a negative error of enum chathub_error. A call that
 *     returned an error calls nothing back. chathub_strerror says what an error means,
 *     chathub_problem what exactly was wrong with the last call on this hub (of this thread).
 *
 * COMPATIBILITY
 *     Structures begin with their size, set by the side that makes them, and are only ever made
 *     longer: the other side uses what both know. Enumerations grow at their ends. A program runs
 *     with every later library of the same soname.
 *
 * The wire protocol is described in docs/protocol.md, options in `chatd --help all`. */
#ifndef CHATHUB_H
#define CHATHUB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && !defined(CHATHUB_STATIC)
#define CHATHUB_API __attribute__((visibility("default")))
#else
#define CHATHUB_API
#endif

/* Of this header; chathub_version tells the library's. */
#define CHATHUB_VERSION "0.1.0"

/* In place of a length: the text ends in NUL. */
#define CHATHUB_NUL ((size_t)-1)

struct chathub;
struct uv_loop_s; /* libuv's uv_loop_t; this header does not need uv.h */

/* --------------------------------------------------------------------------------------- errors */

/* number, name on the wire, what it means and what to do. Numbers are never reused. */
#define CHATHUB_ERRORS(X)                                                                          \
    X(ENOMEM, -1, "no_memory", "out of memory; try again later")                                   \
    X(EINVAL, -2, "invalid", "an argument is not valid")                                           \
    X(ESTARTED, -3, "started", "not possible once the hub has started; set it before")             \
    X(ESTOPPED, -4, "stopped", "the hub is stopping or not started")                               \
    X(EFORK, -5, "fork",                                                                           \
      "this process is a fork of the one that made the hub; make a hub of its own")                \
    X(EGONE, -6, "gone", "there is no such client any more")                                       \
    X(EAGAIN, -7, "busy", "too much is under way; try again shortly")                              \
    X(EFULL, -8, "full", "a limit of the hub is reached; try again later or raise the limit")      \
    X(EOPTION, -9, "option", "there is no option of this name")                                    \
    X(EVALUE, -10, "value", "the value does not fit the option")                                   \
    X(EADDRESS, -11, "address", "the address cannot be used")                                      \
    X(EINUSE, -12, "in_use",                                                                       \
      "the address is in use by another program; choose another port or stop it")                  \
    X(EPERM, -13, "permission", "the system does not permit it")                                   \
    X(EINSECURE, -14, "insecure",                                                                  \
      "refusing to listen beyond this machine without authentication; see option insecure")        \
    X(EIO, -15, "io", "the system answered with an error")                                         \
    X(EFEATURE, -16, "feature", "this build of the library lacks the feature")                     \
    X(ENOENT, -17, "not_found", "there is no such thing")                                          \
    X(EJSON, -20, "bad_json", "not a JSON object; send one object per frame or line")              \
    X(EREQUEST, -21, "bad_request", "the request has a wrong or unknown field")                    \
    X(ETYPE, -22, "unknown_type", "there is no request of this type")                              \
    X(ENAME, -23, "bad_name",                                                                      \
      "this is no acceptable name; use printable letters, digits and inner spaces")                \
    X(ENAMETAKEN, -24, "name_taken",                                                               \
      "the name is in use; choose another, or show the session that has it")                       \
    X(ENAMEREQUIRED, -25, "name_required", "say hello with a free name first")                     \
    X(ERESERVED, -26, "name_reserved", "the name is reserved; choose another")                     \
    X(EROOMNAME, -27, "bad_room",                                                                  \
      "this is no acceptable room name; use printable letters, digits and inner spaces")           \
    X(ENOROOM, -28, "no_room", "there is no such room, and rooms are not made by joining here")    \
    X(ENOTMEMBER, -29, "not_member", "not a member of this room; join it first")                   \
    X(EROOMS, -30, "too_many_rooms", "in too many rooms; leave one first")                         \
    X(ETOOLONG, -31, "too_long", "too long")                                                       \
    X(ETEXT, -32, "bad_text", "the text holds control characters or is not UTF-8")                 \
    X(EEMPTY, -33, "empty", "there is nothing in it")                                              \
    X(EDENIED, -34, "denied", "not allowed")                                                       \
    X(ECID, -35, "bad_cid", "this is no acceptable cid; use 1 to 64 printable ASCII characters")   \
    X(ECIDREUSED, -36, "cid_reused",                                                               \
      "this cid was used for another post; make a new one for each post")                          \
    X(EDUP, -37, "dup", "this post was committed before")                                          \
    X(ELOG, -38, "log_failed", "the log could not take it; try again later with the same cid")     \
    X(EUNKNOWN, -39, "unknown",                                                                    \
      "it is not known whether it was committed; send it again with the same cid")                 \
    X(ESESSION, -40, "bad_session", "a session key has 22 to 64 characters of A-Z a-z 0-9 - _")    \
    X(EREPLACED, -41, "replaced", "the session goes on in another connection")                     \
    X(EABUSE, -42, "abuse", "too many requests that could not be understood")                      \
    X(ESLOW, -43, "slow", "the other side takes no data")                                          \
    X(EBUSY, -44, "one_at_a_time", "one such request at a time; wait for its answer")              \
    X(ESHUTDOWN, -45, "shutdown", "the server is shutting down; come back shortly")                \
    X(EPOSITION, -46, "bad_position", "this is no position; use one that an entry had")            \
    X(EPROTOCOL, -47, "protocol",                                                                  \
      "the other side does not keep to the protocol; is this the address of a hub?")

/* CHATHUB_ENOMEM and so on, as listed above. */
enum chathub_error {
    CHATHUB_OK = 0, /* no error */
#define CHATHUB_X(name, number, word, text) CHATHUB_##name = (number),
    CHATHUB_ERRORS(CHATHUB_X)
#undef CHATHUB_X
};

/* What an error means and what to do, in English. Never NULL; static. Any thread. */
CHATHUB_API const char *chathub_strerror(int error);
/* Its name on the wire, such as "name_taken"; "unknown_error" for numbers that are none. Static.
 * Any thread. */
CHATHUB_API const char *chathub_errname(int error);
/* The version of the library that is running, such as "0.1.0". Static. Any thread. */
CHATHUB_API const char *chathub_version(void);
/* Whether this build of the library has a feature: 1 or 0, also for words that are none. "sqlite":
 * logs in SQLite files, and the tools for them; "nats": logs in streams of NATS JetStream, by which
 * several hubs are one chat; "unicode": names beyond ASCII. Any thread. */
CHATHUB_API int chathub_has(const char *feature);

/* ----------------------------------------------------------------------------------- life cycle */

/* Makes a hub with all options at their defaults. *hub is set only on success. CHATHUB_ENOMEM,
 * CHATHUB_EIO. */
CHATHUB_API int chathub_new(struct chathub **hub);

/* Ends whatever still runs, without a word to clients, and frees everything. Not from a callback
 * of this hub. After it the hub's handles are gone from the host's loop only once that loop has
 * run its closing callbacks: stop first (its callback comes when nothing is left on the loop),
 * or run the loop once more. NULL is allowed. */
CHATHUB_API void chathub_free(struct chathub *hub);

/* What was wrong with the last call on this hub that answered an error: one line for a person,
 * with the option, address or field and what to do. "" if there was none. Valid until the next
 * call. */
CHATHUB_API const char *chathub_problem(const struct chathub *hub);

/* Whether start would refuse these settings, without opening anything: addresses beyond this
 * machine without the option `insecure` (CHATHUB_EINSECURE), rooms whose names are none, of
 * options and listeners (CHATHUB_EVALUE), a log that this build lacks (CHATHUB_EFEATURE). Problem
 * says which option it is, and what to do. */
CHATHUB_API int chathub_check(struct chathub *hub);

/* Starts on a loop of libuv, which the host runs and keeps until the hub is stopped or freed;
 * NULL: on a loop of the hub's own, driven by chathub_step or chathub_run. Opens the log and the
 * listeners: when it returns 0 the hub takes connections (as soon as the loop runs). Opening a
 * log may block: a large SQLite file is looked over, and NATS is waited for, 15 s at most. On an
 * error nothing is left open. CHATHUB_ESTARTED, CHATHUB_EINUSE, CHATHUB_EPERM, CHATHUB_EADDRESS,
 * CHATHUB_EINSECURE, CHATHUB_EIO, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_start(struct chathub *hub, struct uv_loop_s *loop);

/* Starts on a loop of its own, unless it was started so already, and runs it until the hub has
 * stopped. Answers 0 after a stop, or the error of the start. */
CHATHUB_API int chathub_run(struct chathub *hub);

/* Starts on a loop of its own, which a thread of the hub's own runs until the hub has stopped;
 * no signal is delivered to it. The errors are those of chathub_start; when this returns 0 the
 * hub takes connections. From then on any thread may call; a call waits while the hub is at
 * work, as a rule for less than a millisecond. Callbacks come on the hub's thread, which they
 * hold up: while one runs, calls of other threads wait, so it must not wait for such a thread.
 * That the hub has stopped is told by CHATHUB_EVENT_STOPPED in its queue, and by the callback of
 * chathub_stop. */
CHATHUB_API int chathub_start_thread(struct chathub *hub);

/* For hosts with a loop of another kind, on a hub that was started with NULL: does what is to be
 * done, waiting for it at most `timeout_ms` (0: not at all; -1: as long as it takes). Call it
 * whenever chathub_fd is readable and after chathub_timeout milliseconds. Answers 1 while the
 * hub runs, 0 once it has stopped, or a negative error. */
CHATHUB_API int chathub_step(struct chathub *hub, int timeout_ms);
/* A descriptor that is readable when chathub_step has something to do; it stays the hub's.
 * Negative: not started. */
CHATHUB_API int chathub_fd(const struct chathub *hub);
/* Milliseconds until chathub_step has to be called though the descriptor is silent; -1: no
 * limit. Ask again after every call into the hub. */
CHATHUB_API int chathub_timeout(const struct chathub *hub);

/* The hub has stopped. On its thread. */
typedef void (*chathub_stop_cb)(void *arg);
/* Stops in good order: no new connections or requests, `bye` to clients, what is under way is
 * finished, within the option stop-time; then all are closed, and `done` (may be NULL) is
 * called: nothing of the hub is on the loop any more. A second call makes it end at once; its
 * `done` is ignored. CHATHUB_ESTOPPED if it was not running. */
CHATHUB_API int chathub_stop(struct chathub *hub, chathub_stop_cb done, void *arg);

/* The only function for other threads where the hub has no thread of its own (and for signal
 * handlers): makes chathub_step or chathub_run return from its wait, and `on_wake` (if set) be
 * called on the hub's thread. Not before start has returned, nor after stop's `done`. */
CHATHUB_API int chathub_wake(struct chathub *hub);
/* chathub_wake was called, once or several times. On the hub's thread. */
typedef void (*chathub_wake_cb)(struct chathub *hub, void *arg);
/* Calls `cb` after chathub_wake. NULL: nothing (the default). */
CHATHUB_API int chathub_on_wake(struct chathub *hub, chathub_wake_cb cb, void *arg);

/* -------------------------------------------------------------------------------------- options */

/* Sets an option by its name (as in `chatd --help all`, without the dashes) and a text: sizes
 * take k, m, g (1024), times ms, s, m, h, d, switches yes and no. CHATHUB_EOPTION,
 * CHATHUB_EVALUE, CHATHUB_ESTARTED; problem says more. */
CHATHUB_API int chathub_set(struct chathub *hub, const char *name, const char *value);
/* The same for options that are numbers (bytes, milliseconds, counts, 0 or 1 for switches). */
CHATHUB_API int chathub_set_number(struct chathub *hub, const char *name, uint64_t value);
/* Writes the present value as a text that chathub_set takes, with its NUL, cut to `size`.
 * Answers the length it has uncut, or CHATHUB_EOPTION. */
CHATHUB_API int chathub_get(const struct chathub *hub, const char *name, char *out, size_t size);

/* What values an option takes. */
enum chathub_option_type {
    CHATHUB_OPTION_TEXT = 0,   /* UTF-8 without control characters */
    CHATHUB_OPTION_SWITCH = 1, /* yes or no */
    CHATHUB_OPTION_NUMBER = 2, /* a whole number */
    CHATHUB_OPTION_SIZE = 3,   /* bytes */
    CHATHUB_OPTION_TIME = 4,   /* milliseconds */
    CHATHUB_OPTION_LIST = 5    /* texts; each set adds one (listen) */
};

/* What there is to know of an option. */
struct chathub_option {
    uint32_t size;        /* of this struct, set by the caller */
    uint32_t type;        /* enum chathub_option_type */
    const char *name;     /* static, as all texts here */
    const char *standard; /* the default, as a text */
    const char *help;     /* one or two sentences */
    const char *group;    /* a heading to list it under */
    uint64_t min, max;    /* bounds of numbers, sizes and times; of a text, its bytes */
    uint8_t live;         /* 1: may be set while the hub runs */
    uint8_t common;       /* 1: one of the few that most people need */
    uint8_t reserved[6];
};

/* Describes option number `index` (0, 1, …) of the library. 0, CHATHUB_ENOENT behind the last, or
 * CHATHUB_EINVAL: `size` is not set. Any thread. */
CHATHUB_API int chathub_option_at(uint32_t index, struct chathub_option *out);

/* ------------------------------------------------------------------------------------ listeners */

/* Adds a listener, opened by start. URLs:
 *     ws://HOST:PORT/PATH       WebSocket at PATH (default /ws); routes and assets over HTTP
 *     tcp://HOST:PORT           lines: JSON objects, or plain text for people
 *     ws+unix:/path?path=/ws    the same two on a Unix socket
 *     tcp+unix:/path
 * HOST is an address, [IPv6] or `localhost` (127.0.0.1, and ::1 where there is IPv6); PORT 0
 * lets the system choose. Query: room=NAME the default room, dialect=NAME the only dialect
 * there, history=N how many entries who comes anew is sent; presence=yes and private=yes are for
 * the dialect realtime (docs/dialects.md). The option `listen` is the same. CHATHUB_EADDRESS,
 * CHATHUB_ESTARTED, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_listen(struct chathub *hub, const char *url);
/* Gives the listener of the same address, which was added before, a socket that listens already,
 * so that start does not open one. Whoever keeps a duplicate of it (systemd's socket units, a host
 * that hands over to its next version) has it listen between two hubs: who comes then waits, and is
 * refused by none. Host and port, or path, have to be those of the URL; PORT 0 takes a socket of
 * any port, `localhost` one for each of its two addresses (start opens the other). [::] may be a
 * socket that takes IPv4 as well. On success the descriptor is the hub's, which sets it non-blocking,
 * close-on-exec and the options of its own sockets, and closes it when it takes no more connections,
 * or with chathub_free; a failed start keeps it for the next one. The backlog stays, and so does a
 * Unix socket's file, at the end too. On an error it is still the host's, as it was, and
 * chathub_problem says where it listens: CHATHUB_ENOENT (there is no such listener), CHATHUB_EINUSE
 * (it has its socket already), CHATHUB_EINVAL (no stream socket of TCP or Unix that listens),
 * CHATHUB_ESTARTED, CHATHUB_EIO. */
CHATHUB_API int chathub_listen_fd(struct chathub *hub, int fd);
/* Writes the URL of open listener number `index` with its real port, cut to `size`. Answers the
 * uncut length, or CHATHUB_ENOENT behind the last. */
CHATHUB_API int chathub_listener(const struct chathub *hub, uint32_t index, char *out, size_t size);

/* Serves `bytes` by GET and HEAD at exactly `path` on every WebSocket listener (a path that ends
 * in / is not a prefix). `type` is its Content-Type. The bytes are not copied: they stay valid
 * until the hub is freed. It is sent with a Content-Security-Policy that allows nothing
 * foreign. Replaces an earlier asset. CHATHUB_EINVAL, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_asset(struct chathub *hub, const char *path, const char *type,
                              const void *bytes, size_t len);

/* Of HTTP requests. */
enum chathub_method {
    CHATHUB_METHOD_GET = 0,   /* reads */
    CHATHUB_METHOD_HEAD = 1,  /* the same without the body */
    CHATHUB_METHOD_POST = 2,  /* does something */
    CHATHUB_METHOD_DELETE = 3 /* takes something away */
};

/* A request for a route. Texts end in NUL. */
struct chathub_http {
    uint32_t size;       /* of this struct, set by the library */
    uint32_t head;       /* 1: HEAD (the body will not be sent) */
    const char *path;    /* as it was registered */
    const char *query;   /* what follows `?`, undecoded; "" if none */
    const char *address; /* of the peer */
    int32_t method;      /* enum chathub_method */
    uint32_t local;      /* 1: the peer is this machine, by a loopback address or a Unix socket */
    const char *origin;  /* of the page that asks; "" if none is told, as programs do */
    const char *host;    /* the Host header; "" only with HTTP/1.0 */
    uint32_t forwarded;  /* 1: its headers tell that it came through a proxy, so that `local` is the
                            proxy's (one that only passes bytes on tells nothing) */
    uint32_t reserved;
};
/* Answers the status (200 …); the body is set by chathub_http_body. */
typedef int (*chathub_route_cb)(struct chathub *hub, const struct chathub_http *request, void *arg);
/* Serves GET and HEAD at exactly `path` by a callback. CHATHUB_EINVAL, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_route(struct chathub *hub, const char *path, chathub_route_cb cb,
                              void *arg);
/* The same for the methods in `methods` (bits 1 << method); HEAD comes with GET. Other methods are
 * answered 405. Requests with a body, or with more than one Origin, never reach the callback. It
 * says itself who may call: any page in a browser can send POST to any server, with the page's
 * Origin, and a page whose host name leads here with that name as Host. */
CHATHUB_API int chathub_route_methods(struct chathub *hub, const char *path, uint32_t methods,
                                      chathub_route_cb cb, void *arg);
/* Only inside a route's callback: its body (copied) and Content-Type. CHATHUB_EINVAL elsewhere,
 * CHATHUB_ENOMEM. */
CHATHUB_API int chathub_http_body(struct chathub *hub, const char *type, const void *bytes,
                                  size_t len);

/* ------------------------------------------------------------------------------------ log lines */

/* Of log records. */
enum chathub_level {
    CHATHUB_DEBUG = 0,   /* details */
    CHATHUB_INFO = 1,    /* the way of things */
    CHATHUB_WARNING = 2, /* what an operator should know */
    CHATHUB_ERROR = 3    /* what fails */
};

/* What a log record says about what happened. */
struct chathub_field {
    const char *key;   /* a constant word */
    const char *value; /* ends in NUL, but may hold anything a peer sent: escape it for your sink */
    size_t len;        /* of value */
};

/* One thing that happened. No line ever holds a post's text, a session's key or a token. */
struct chathub_record {
    uint32_t size;     /* of this struct, set by the library */
    int32_t level;     /* enum chathub_level */
    const char *event; /* a constant: "connected", "joined", "left", "refused", "slow" … */
    const struct chathub_field *fields; /* what about it */
    size_t count;                       /* of fields */
};
/* A record for the host's log. */
typedef void (*chathub_log_cb)(const struct chathub_record *record, void *arg);
/* Calls `cb` for records of at least `level`. It may be called from inside a call of the host's
 * (it is the exception), must not call the hub, and must not block. NULL: silence (the default). */
CHATHUB_API int chathub_on_log(struct chathub *hub, int level, chathub_log_cb cb, void *arg);

/* ------------------------------------------------------------------------------------ authorize */

/* What a client is about to do. */
enum chathub_action {
    CHATHUB_HELLO = 0,  /* to be somebody, or to take another name */
    CHATHUB_JOIN = 1,   /* to enter a room */
    CHATHUB_POST = 2,   /* to say something */
    CHATHUB_HISTORY = 3 /* to read what was said */
};
/* What the host says to it. */
enum chathub_decision {
    CHATHUB_DENY = 0,  /* it is answered by an error */
    CHATHUB_ALLOW = 1, /* it is done */
    CHATHUB_LATER = 2  /* chathub_answer follows */
};

/* May this client do this? */
struct chathub_question {
    uint32_t size;       /* of this struct, set by the library */
    int32_t action;      /* enum chathub_action */
    uint64_t id;         /* for chathub_answer */
    uint64_t client;     /* who asks */
    const char *user;    /* its public id (sender_id); "" before its first hello */
    const char *name;    /* its name; for a hello the wished one; "" if none */
    const char *room;    /* of join, post and history, else ""; not folded, see chathub_fold */
    const char *content; /* of post, else "" */
    size_t content_len;  /* bytes of content */
};
/* Answers enum chathub_decision. LATER: chathub_answer follows within the option
 * authorize-timeout, after which it counts as denied; until then nothing more is read from that
 * client. To say at once why not, call chathub_answer in here, and answer LATER. */
typedef int (*chathub_authorize_cb)(struct chathub *hub, const struct chathub_question *question,
                                    void *arg);
/* Asks `cb` before each of the actions in `actions` (bits 1 << action), of clients of any kind, the
 * host's own too. NULL: everything is allowed (the default). */
CHATHUB_API int chathub_on_authorize(struct chathub *hub, uint32_t actions, chathub_authorize_cb cb,
                                     void *arg);
/* The answer to a question that was put off. `message` (UTF-8, or NULL; one line, its first 199
 * bytes) is told to the client if denied. An answer that comes too late, or twice, is
 * CHATHUB_EGONE and changes nothing; a message that is no UTF-8 is CHATHUB_EINVAL, and the question
 * waits on. */
CHATHUB_API int chathub_answer(struct chathub *hub, uint64_t question, int allow,
                               const char *message);

/* --------------------------------------------------------------------------------------- names */

/* Writes the form by which names of people and rooms are compared, with its NUL, cut to `size`:
 * "Staff", "STAFF" and "staff" in full width are one room and have one form, by which a host
 * keeps and looks up what it knows of it. (Questions and events have names as they are typed or
 * shown.) The form of a form is itself. Answers the length it has uncut, CHATHUB_ENAME (it is no
 * name) or CHATHUB_ENOMEM. Any thread. */
CHATHUB_API int chathub_fold(const struct chathub *hub, const char *name, char *out, size_t size);

/* --------------------------------------------------------------------------- in-process clients */

/* What happened, and the fields of chathub_event that tell of it. (A client of a hub elsewhere gets
 * the same events: chathub_client.h.) */
enum chathub_event_type {
    CHATHUB_EVENT_WELCOME = 1, /* name, sender_id; session: the key to come back with */
    CHATHUB_EVENT_MESSAGE, /* an entry: room, sender, sender_id, content, cid, data, positions, time */
    CHATHUB_EVENT_ACK,     /* room, cid, position, time; flags CHATHUB_DUP */
    CHATHUB_EVENT_ERROR,    /* code, message; room and cid where it is about them */
    CHATHUB_EVENT_JOINED,   /* this client is in `room`: position (the top), count */
    CHATHUB_EVENT_LEFT,     /* this client is no longer in `room`: code, message */
    CHATHUB_EVENT_PRESENCE, /* others came and went in `room`: count; names in json */
    CHATHUB_EVENT_TYPING,   /* room, sender, sender_id; flags CHATHUB_ON */
    CHATHUB_EVENT_STATUS,   /* room, sender, sender_id, content */
    CHATHUB_EVENT_GAP,      /* room: entries after `prev` up to `position` are no longer kept */
    CHATHUB_EVENT_HISTORY,  /* room; the page in json */
    CHATHUB_EVENT_WHO,      /* room, count; names in json */
    CHATHUB_EVENT_PONG,     /* answers the request ping */
    CHATHUB_EVENT_OK,       /* a request was done: ref; of chathub_redact: room, position */
    CHATHUB_EVENT_BYE,      /* the hub will close the client: message */
    CHATHUB_EVENT_CLOSED,   /* the last one of a client: code */
    CHATHUB_EVENT_PRIVATE,  /* said to this client alone: room, sender, sender_id, content, time */
    CHATHUB_EVENT_QUESTION, /* queue only: id, code (enum chathub_action), client, room, sender (its
                               name, or the one that it wishes), sender_id, content */
    CHATHUB_EVENT_LOG, /* queue only: code (enum chathub_level), message (the record's event), json
                          (its fields, an object of texts); count: records lost before this one */
    CHATHUB_EVENT_STOPPED /* queue only: the last event of all; count: records of the log that were
                             lost and not told of before */
};

#define CHATHUB_DUP 1u /* ack: a repeat, answered with the first one's position */
#define CHATHUB_ON  2u /* typing: started */

/* One thing that happened. All texts end in NUL, "" where there is none, and hold until the
 * callback returns. */
struct chathub_event {
    uint32_t size;     /* of this struct, set by the library */
    uint32_t type;     /* enum chathub_event_type */
    uint64_t client;   /* the client it is for */
    uint64_t position; /* of the entry; joined: the room's top; gap: the last one lost */
    uint64_t prev;  /* the position before it in the room; gap: the last one before what is lost */
    uint64_t time;  /* Unix ms */
    uint64_t count; /* of the room's members */
    int32_t code;   /* enum chathub_error */
    uint32_t flags; /* CHATHUB_DUP, CHATHUB_ON */
    const char *room;      /* as it is shown */
    const char *sender;    /* the name of who said or did it; welcome: the client's own */
    const char *sender_id; /* the public id of who goes by that name, and stays when it changes */
    const char *content;   /* what was said; the text of a status */
    size_t content_len;    /* bytes of content */
    const char *cid;       /* as the post's sender chose it */
    const char *data;      /* a JSON object, or "" */
    const char *session;   /* a key: whoever shows it is this client */
    const char *message;   /* what is the matter and what to do, for a person */
    const char *ref;       /* of the request that this answers, as JSON */
    const char *json;      /* the same event as native clients get it (docs/protocol.md) */
    size_t json_len;       /* bytes of json */
    uint64_t id;           /* of a question, for chathub_answer */
};
/* Something happened to an in-process client. From the loop, one event at a time, in order. */
typedef void (*chathub_event_cb)(struct chathub *hub, const struct chathub_event *event, void *arg);

/* A client inside this process: a full participant. Says hello as `name` (NULL: a guest name is
 * made). Its events come to `cb`, WELCOME or ERROR first; NULL: they wait in the hub's queue.
 * The number goes to *client and is never used again. CHATHUB_ESTOPPED, CHATHUB_EFULL,
 * CHATHUB_ENOMEM. */
CHATHUB_API int chathub_client(struct chathub *hub, const char *name, chathub_event_cb cb,
                               void *arg, uint64_t *client);
/* Where the entries begin that a client gets when it joins. */
enum chathub_start_at {
    CHATHUB_START_DEFAULT = 0, /* where it is already, else the last ones (option join-history) */
    CHATHUB_START_NOW = 1,     /* only what is yet to come */
    CHATHUB_START_LAST = 2,    /* the last `from` entries */
    CHATHUB_START_AFTER = 3    /* what follows the position `from` */
};
/* Requests of an in-process client. They are taken (0) or not (CHATHUB_EGONE; CHATHUB_EAGAIN: 64
 * wait already; CHATHUB_ENOMEM), take effect in the order made, and are answered by events. room
 * NULL: the default room. start: enum chathub_start_at, with `from`: a position under the hub's
 * present epoch, or a count (no more are sent than history-page or join-history allows). JOINED or
 * ERROR answers; a member that joins again goes on from its new place. */
CHATHUB_API int chathub_join(struct chathub *hub, uint64_t client, const char *room, int start,
                             uint64_t from);
/* LEFT or ERROR answers. */
CHATHUB_API int chathub_leave(struct chathub *hub, uint64_t client, const char *room);
/* ACK or ERROR answers. cid NULL: none; it is then not protected against being posted twice. */
CHATHUB_API int chathub_post(struct chathub *hub, uint64_t client, const char *room,
                             const char *content, size_t len, const char *cid);
/* Any request of the native protocol, as its JSON text. CHATHUB_EJSON and the like if it cannot
 * be understood. */
CHATHUB_API int chathub_request(struct chathub *hub, uint64_t client, const char *json, size_t len);
/* The client leaves once its requests were heard: CLOSED is its last event. What it posted last is
 * committed as ever, but its ack may not come any more. CHATHUB_EGONE. */
CHATHUB_API int chathub_close(struct chathub *hub, uint64_t client);

/* Removes the text of an entry, everywhere and for good, as the host: no history, no page and no
 * restart shows it again, on any node. Its position stays, and `room` (NULL: the default room)
 * need have nobody in it. `client`, an in-process one, is told by OK, with room and position, or
 * by ERROR: "not_found" where there is no such entry, "log_failed" where the log cannot do it
 * now; its next request waits for that. Who has read it keeps what it has read: a message to
 * them is the host's to post. CHATHUB_EGONE, CHATHUB_EAGAIN, CHATHUB_EROOMNAME,
 * CHATHUB_EPOSITION, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_redact(struct chathub *hub, uint64_t client, const char *room,
                               uint64_t position);

/* ------------------------------------------------------------------------------ clients, any kind */

/* Ends a client of any kind, by the number that a question or a log record named: from the loop,
 * it gets what it is owed, then `message` as a `bye` (NULL or "": none; also none if it has said
 * nothing yet; UTF-8 on one line, cut at 512 bytes), and is closed: over a WebSocket with close
 * code `code`, which is 1000, 1008 or 4000 to 4999, and the first 123 bytes of `message`. With
 * 1000 its session ends too, else it may come back. To keep it out, deny its next hello.
 * CHATHUB_EGONE (or it was said before), CHATHUB_EINVAL, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_disconnect(struct chathub *hub, uint64_t client, int code,
                                   const char *message);

/* ----------------------------------------------------------------------------- THE QUEUE OF EVENTS */

/* What happens in a hub can wait in its queue, in the order in which it happened, until the host
 * takes it: for hosts that want no callbacks on the hub's thread, or none at all. It holds the
 * events of in-process clients that have no callback, and what chathub_queue_questions and
 * chathub_queue_log put there. It is bounded by the option event-queue, in bytes, and loses
 * nothing: while it is full, clients are sent no more (a client is a cursor in a log, and goes
 * on from where it is), questions wait before it as long as the option authorize-timeout lets
 * them (as many bytes again; what is beyond is denied), and only records of the log are counted
 * in place of kept. */

/* A descriptor that is readable while events wait; it stays the hub's, and is valid until
 * chathub_free. Any thread. CHATHUB_EIO: the system has none. */
CHATHUB_API int chathub_queue_fd(struct chathub *hub);

/* Events that were taken from the queue. */
struct chathub_batch {
    uint32_t size;  /* of this struct, set by the caller */
    uint32_t count; /* of events */
    /* In the order in which they happened. An array of what this header declares: when events get
     * more fields, so does this struct, and by its size a later library knows which ones are meant. */
    const struct chathub_event *events;
    /* All texts of these events, ten for each: they lie one behind the other in the order of its
     * fields, each with its NUL, and none has another NUL in it. For languages to which pointers are
     * dear. */
    const char *texts;
    size_t texts_len; /* their bytes */
};
/* Takes all events that wait, without waiting for any. They are the caller's to read until the
 * next call of this function, or chathub_free. One thread at a time. Answers their number, or a
 * negative error: CHATHUB_EINVAL, CHATHUB_ENOMEM (they are still there). */
CHATHUB_API int chathub_take(struct chathub *hub, struct chathub_batch *out);

/* As chathub_on_authorize, but the questions come by the queue, and chathub_answer follows for
 * each. Actions 0: none (the default). CHATHUB_ESTARTED. */
CHATHUB_API int chathub_queue_questions(struct chathub *hub, uint32_t actions);
/* As chathub_on_log, but the records come by the queue. A level beyond CHATHUB_ERROR: none (the
 * default). */
CHATHUB_API int chathub_queue_log(struct chathub *hub, int level);

/* ----------------------------------------------------------------------- connections of the host's */

/* What has happened on a connection that is handed over. */
enum chathub_adopted_as {
    /* `bytes` is the beginning of an HTTP request, or nothing: as if the hub had accepted it. */
    CHATHUB_ADOPT_HTTP = 0,
    /* The host has answered the upgrade: `bytes` is what came behind it. */
    CHATHUB_ADOPT_WEBSOCKET = 1,
    /* Lines, as on a tcp:// listener. */
    CHATHUB_ADOPT_LINES = 2
};
/* A connection that is handed over. */
struct chathub_adoption {
    uint32_t size;     /* of this struct, set by the caller */
    int32_t as;        /* enum chathub_adopted_as */
    int32_t fd;        /* a connected stream socket, of TCP or Unix */
    uint32_t reserved; /* 0 */
    /* The listener that it is to count for, such as "ws://?dialect=native&room=lobby", with the
     * query as in chathub_listen; NULL: no wishes. */
    const char *url;
    const void *bytes;       /* what was already read of it, copied; up to 64 KiB */
    size_t len;              /* of bytes */
    const char *subprotocol; /* WEBSOCKET: the one that the host has agreed to, or NULL */
};
/* A host that has its own server hands a connection over, and reads and watches it no more (a
 * libuv handle that is to be closed keeps its descriptor: adopt a dup). On success the
 * descriptor is the hub's, which closes it and sets it non-blocking, close-on-exec and the
 * options of its own sockets; on an error it is still the host's, as it was, and nothing was
 * sent or read. It goes on from the loop, with the rules and bounds of a listener, such as those
 * for origins (but WEBSOCKET: who may upgrade was the host's decision) and for newcomers. The
 * path of the URL is where upgrades are taken, "ws:///chat"; its host and port mean nothing. The
 * option `insecure` is not asked: the host has accepted the connection, and knows from whom.
 * URLs that differ, together with listeners, may be 64 in one hub. CHATHUB_EINVAL (no such
 * socket, too many bytes …), CHATHUB_EADDRESS (the URL), CHATHUB_EFULL, CHATHUB_ESTOPPED,
 * CHATHUB_ENOMEM, CHATHUB_EIO. */
CHATHUB_API int chathub_adopt(struct chathub *hub, const struct chathub_adoption *adoption);

/* A transport of the host's own, for connections of a kind that the hub does not know. It
 * carries lines, each with a newline at its end. The functions are called from the loop, never
 * within a call of the host's, and not after chathub_carrier_closed or chathub_free. One that
 * takes nothing of what waits for the option stall-time is closed, as is one that takes nothing
 * of a goodbye for close-time. */
struct chathub_carrier {
    uint32_t size; /* of this struct, set by the caller */
    uint32_t reserved;
    /* Sends bytes: the next of the stream, which begins and ends anywhere in lines. Answers how many it
     * took; fewer than `len`: it can take no more now, and chathub_carrier_writable follows. Negative:
     * it is broken; chathub_carrier_closed follows. */
    int64_t (*send)(void *conn, const char *bytes, size_t len);
    /* The hub is done with it: nothing more is called for it after this. `code` is a close code as in
     * RFC 6455, `reason` a text, "" if none. */
    void (*close)(void *conn, int code, const char *reason);
};
/* A client that comes over a connection of the host's; it is silent, and hears nothing, until
 * its first line. `carrier` is copied; `conn` is handed to its functions. `url`: as in
 * chathub_adoption ("tcp://?dialect=human"); dialects are native (the default) and human.
 * `address`: where the peer is, for log lines; copied. The number goes to *client.
 * CHATHUB_ESTOPPED, CHATHUB_EFULL, CHATHUB_EADDRESS, CHATHUB_EINVAL, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_carry(struct chathub *hub, const struct chathub_carrier *carrier,
                              void *conn, const char *url, const char *address, uint64_t *client);
/* One line from the peer, without its newline; it is copied, and heard from the loop. What
 * cannot be understood is answered by the hub. CHATHUB_EAGAIN: the hub has as much to do for
 * this client as it may have; read no more of it, and hand this line in again when
 * chathub_carrier_ready says so, or a little later. CHATHUB_EGONE, CHATHUB_ETOOLONG (above the
 * option max-message; close it), CHATHUB_EINVAL, CHATHUB_ENOMEM. */
CHATHUB_API int chathub_carrier_line(struct chathub *hub, uint64_t client, const char *line,
                                     size_t len);
/* Whether a line would be taken: 1 or 0; CHATHUB_EGONE. */
CHATHUB_API int chathub_carrier_ready(const struct chathub *hub, uint64_t client);
/* After `send` took less than all: it can take more. CHATHUB_EGONE. */
CHATHUB_API int chathub_carrier_writable(struct chathub *hub, uint64_t client);
/* The connection is gone; `close` is not called any more. What it said before is heard. `left`
 * 1: the peer said goodbye, and its session ends; 0: it may come back. CHATHUB_EGONE. */
CHATHUB_API int chathub_carrier_closed(struct chathub *hub, uint64_t client, int left);

/* ----------------------------------------------------------------------------------- statistics */

/* What a hub has, and what it did. */
struct chathub_stats {
    uint32_t size; /* of this struct, set by the caller */
    uint32_t reserved;
    uint64_t clients;      /* now, as are all down to behind; those at sockets and in-process */
    uint64_t observers;    /* of them, who only listen to the default room */
    uint64_t sessions;     /* of clients, and those kept for who lost its connection */
    uint64_t rooms;        /* open */
    uint64_t members;      /* of all rooms, those at other nodes included */
    uint64_t drafts;       /* posts not committed yet */
    uint64_t connections;  /* sockets open, in any state */
    uint64_t window_bytes; /* of encoded entries kept for members */
    uint64_t held_bytes;   /* of replies and half-sent frames that wait */
    uint64_t behind;       /* members that have not got all entries */
    uint64_t posts;        /* committed since the start, as are all below */
    uint64_t dups;         /* posts that had been committed before, by their cid */
    uint64_t refused;      /* requests that were answered by an error */
    uint64_t bad_requests; /* that could not be understood */
    uint64_t deliveries;   /* entries handed to clients */
    uint64_t writes;       /* to transports */
    uint64_t pages;        /* of older entries, read back for members */
    uint64_t gaps;         /* told to members */
    uint64_t log_commits;  /* transactions of the log */
    uint64_t log_failures; /* … that failed, or whose outcome is not known */
    uint64_t log_pages;    /* read from the log's storage */
    uint64_t log_down;     /* 1: the log cannot commit now */
};
/* Fills as much as out->size has room for. CHATHUB_ESTOPPED, CHATHUB_EINVAL. */
CHATHUB_API int chathub_stats(const struct chathub *hub, struct chathub_stats *out);

/* ------------------------------------------------------------------------------- tools for logs */

/* For the log that the option log names, which has to be sqlite:PATH (CHATHUB_EVALUE), by a hub
 * that is not started (CHATHUB_ESTARTED). They block until they are done, which may take minutes,
 * and call back from within: such a callback must not call the hub. If it answers something else
 * than 0, the tool ends early, undoes what it began, and answers the same.
 *
 * All but chathub_log_import may be used while another hub, in this process or another, has the log
 * open: they write nothing to it and never hold it up, though what that hub writes during a backup
 * or a check gathers beside the file (in PATH-wal) until it ends.
 *
 * Errors, of which chathub_problem says more: CHATHUB_EIO (the file is not there, damaged, no log
 * or of a newer version; the disk is full …), CHATHUB_EINUSE (another program has locked it),
 * CHATHUB_EFEATURE (this build has no SQLite), CHATHUB_ENOMEM. */

/* Called every now and then: `done` of `total` (bytes of a backup, else entries). `total` 0: not
 * known. */
typedef int (*chathub_progress_cb)(uint64_t done, uint64_t total, void *arg);
/* A line without its newline; ends in NUL. */
typedef int (*chathub_line_cb)(const char *line, size_t len, void *arg);

/* Copies the log as it is at one moment into `file`, which must not exist and only does once it is
 * whole and written through; until then there is FILE-new. Its mode is 0600. It is a log by itself:
 * the option log may name it. `progress` may be NULL. */
CHATHUB_API int chathub_log_backup(struct chathub *hub, const char *file,
                                   chathub_progress_cb progress, void *arg);

/* Reads all of the log as it is at one moment and tells each thing that is wrong with it by
 * `fault`, one line for a person, up to some hundreds. 0: nothing is wrong; CHATHUB_EIO: something
 * is. `arg` is for both callbacks, of which `progress` may be NULL. */
CHATHUB_API int chathub_log_check(struct chathub *hub, chathub_line_cb fault,
                                  chathub_progress_cb progress, void *arg);

/* Hands out the entries of a room, or of all rooms (NULL), oldest first: each as a line of JSON,
 * the `chat` object that native clients get (docs/protocol.md). "room" is the name by which the log
 * compares it: in lower case, for instance. What is posted meanwhile is left out. `arg` is for both
 * callbacks, of which `progress` may be NULL. CHATHUB_ENOROOM: the log has no such room;
 * CHATHUB_EROOMNAME. */
CHATHUB_API int chathub_log_export(struct chathub *hub, const char *room, chathub_line_cb line,
                                   chathub_progress_cb progress, void *arg);

/* Hands in the next line: 1 and *line (which ends in NUL if *len is CHATHUB_NUL) until it is called
 * again; 0: there are no more; negative: the import is to be undone. */
typedef int (*chathub_next_line_cb)(const char **line, size_t *len, void *arg);
/* Appends entries to the log, all or none; makes the file where there is none. Lines are as
 * chathub_log_export writes them. Their position, prev and epoch are passed over: entries get new
 * positions, behind all others, and keep their time. Their names, rooms and lengths have to be such
 * as the hub's options allow. One whose cid is still remembered of the same sender and room is the
 * same post, and left out. *added (may be NULL) is set to how many entries are new. A line that is
 * wrong is an error as a request would have it (CHATHUB_EREQUEST, CHATHUB_EROOMNAME,
 * CHATHUB_ECIDREUSED …), and chathub_problem begins with its number. CHATHUB_EINUSE: a hub has the
 * log open. */
CHATHUB_API int chathub_log_import(struct chathub *hub, chathub_next_line_cb next, void *arg,
                                   uint64_t *added);

#ifdef __cplusplus
}
#endif

#endif
