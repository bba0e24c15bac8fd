/* What the files of net/ share: the net, its listeners and its connections. */
#ifndef CHI_NET_INTERNAL_H
#define CHI_NET_INTERNAL_H

#include <sys/epoll.h>
#include <sys/socket.h>
#include <uv.h>

#include "core/ports.h"
#include "dialect/dialect.h"
#include "net/framing.h"
#include "net/net.h"
#include "util/paged.h"

/* The most that is read of one connection at a time. */
#define CHI_READ_SIZE 65536u
/* Readiness reports asked for at a time, and connections accepted by one listener for one of
 * them. */
#define CHI_EVENT_BATCH  256
#define CHI_ACCEPT_BATCH 32
/* µs for which reports are worked off before the hub's turn and a slice of sending. */
#define CHI_INPUT_US 1000
/* The same for those of newcomers. */
#define CHI_NEWCOMERS_US 500
/* Listeners of one net. */
#define CHI_LISTENERS_MAX 64

/* Bounds of an HTTP request's head (see net/guard.h). */
#define CHI_HEAD_MAX    8192u
#define CHI_TARGET_MAX  2048u
#define CHI_HEADERS_MAX 64u

enum chi_phase {
    CHI_PHASE_HEAD,    /* an HTTP head is awaited */
    CHI_PHASE_SILENT,  /* a client that said nothing yet, and observes if that lasts */
    CHI_PHASE_FIRST,   /* a client that has to say something */
    CHI_PHASE_OPEN,    /* a client that has spoken or observes */
    CHI_PHASE_CLOSING, /* the hub does not know it: `out` is sent, then goodbye */
    CHI_PHASE_DEAD,    /* the socket is closed, the struct waits to be freed */
};

/* A peer's address, for log lines and limits. */
struct chi_peer {
    uint8_t bytes[16]; /* of the address, network order */
    uint16_t port;
    uint8_t family;   /* 4, 6, or 0 for a Unix socket */
    uint8_t listener; /* index in net->listeners of the one that it came by */
};
#define CHI_PEER_TEXT 64
/* "127.0.0.1:1234", "[::1]:1234" or "unix"; answers `out`. */
const char *chi_peer_text(const struct chi_peer *peer, char out[CHI_PEER_TEXT]);
bool chi_peer_is_local(const struct chi_peer *peer);
/* Whether both count as one for limits: the same IPv4 address, the same IPv6 /64. */
bool chi_peer_same(const struct chi_peer *a, const struct chi_peer *b);

struct chi_listener {
    struct chi_address address; /* as asked for; port: the real one */
    int fds[2];                 /* `localhost` has two; -1: none */
    bool local;                 /* only this machine can reach it */
    bool bound;                 /* a Unix socket's file is ours to remove */
    bool adopted;               /* it has no socket: what the host brings counts for it */
    uint32_t stall_time;        /* that its sockets' TCP_USER_TIMEOUT is of */
};

/* A message or head that is cut by the end of a read, and what waits behind a pause. Only while
 * there is such. */
struct chi_frames;
struct chi_input {
    struct chi_buf bytes;      /* of the head, message or line so far */
    struct chi_buf rest;       /* read, but not looked at because the hub wants no request now */
    struct chi_frames *frames; /* WebSocket: the reader that stands within a frame, or NULL */
    size_t counted;            /* what it counts for in net->partial */
    uint32_t due;              /* when the message has to be complete; valid while `begun` */
    uint32_t utf8;             /* state of the check of `bytes` */
    uint16_t fragments;        /* frames of the open message */
    bool begun;                /* a message has begun and `due` holds */
    bool message;              /* WebSocket: a fragmented or cut message is open */
};

/* Bytes that the connection sends by itself: an HTTP answer, a goodbye. */
struct chi_out {
    struct chi_buf bytes;
    const char *tail; /* bytes behind them that stay valid: an asset's; or `own` */
    size_t tail_len;
    char *own;   /* the tail where it is owned, or NULL */
    size_t sent; /* of both together */
};

/* The last ping's payload, while its pong waits. */
struct chi_pong {
    uint8_t len;
    uint8_t bytes[CHI_CONTROL_MAX];
};

/* What a connection has only while something of it is not finished. */
struct chi_unfinished {
    struct chi_input *input; /* NULL while nothing is cut */
    struct chi_out *out;     /* NULL while nothing is sent by itself */
    struct chi_pong *pong;   /* NULL while none waits */
    const char *reason;      /* why it ends, a constant, or NULL */
};

/* ms; a connection may last for years, and few bytes are kept for it. */
#define CHI_OPENED_STEP 32

/* There is one for each idle client: what it has at times only is in `unfinished`, and its
 * descriptor is in net->hot. */
struct chi_conn {
    uint64_t client; /* the hub's id; 0: it knows none (yet, or any more) */
    struct chi_net *net;
    struct chi_unfinished *unfinished; /* NULL where all in it would be */
    struct chi_peer peer;
    uint32_t opened;   /* env.now when it was accepted, in steps of CHI_OPENED_STEP */
    uint32_t number;   /* in net->conns and net->hot */
    uint32_t later;    /* number of the next in net->later + 1, while `queued`; 0: the last */
    uint32_t due;      /* end of the phase HEAD, SILENT, FIRST or CLOSING */
    uint32_t last_in;  /* when a byte came */
    uint32_t pinged;   /* when the ping went out that has no answer */
    uint32_t unsent;   /* bytes that the kernel held when it was last asked */
    uint16_t controls; /* control frames received in the second `control_second` … */
    union {
        uint16_t control_second; /* … cut: 18 hours later it is the same */
        uint16_t close_code;     /* peer_closed: its close frame's; 0: it had none */
    };
    unsigned phase : 3;    /* enum chi_phase */
    unsigned interest : 3; /* events that epoll watches */
    unsigned dialect : 4;  /* chi_dialect_at: what it says is read by */
    bool websocket : 1;    /* upgraded */
    bool http : 1;         /* closing after an HTTP answer */
    bool decided : 1;      /* its dialect is settled */
    bool paused : 1;       /* the hub wants no request now */
    bool starved : 1;      /* not read from: too much unfinished input in all */
    bool deaf : 1;         /* what comes is thrown away */
    bool hung : 1;         /* the peer is gone; only what it sent before is still to be read */
    bool blocked : 1;      /* the last send took less than it was given */
    bool broken : 1;       /* a send failed; to be ended from the loop */
    bool resume : 1;       /* to be read from again, from the loop */
    bool queued : 1;       /* in net->later */
    bool ping_due : 1;     /* a ping waits for a frame boundary */
    bool ping_sent : 1;    /* a ping is unanswered */
    bool peer_closed : 1;  /* its close frame came */
    bool shut : 1;         /* our side is shut down */
    bool counted : 1;      /* in net->mute */
    bool watched : 1;      /* in an epoll set: while `counted` the newcomers' */
    bool lined : 1;        /* a first line came */
    bool young : 1;        /* its number is in net->young */
    bool arriving : 1;     /* adopted; the hub learns of the client from the loop */
    bool greeted : 1;      /* adopted: chathub.v1 was agreed on */
};
_Static_assert(sizeof(void *) > 8 || sizeof(struct chi_conn) <= 80, "what an idle client costs");

/* Whether a connection can be sent to. */
enum chi_sending {
    CHI_SENDING_OPEN = 0,
    CHI_SENDING_WAITS,  /* the answer to the handshake goes first */
    CHI_SENDING_BROKEN, /* a send failed, or it is closed, or the number is free */
};

/* No descriptor: all of them are far below (fs.nr_open). */
#define CHI_FD_NONE 0x1fffffffu

/* What sends look at, dense: where everything is taken, struct chi_conn is not touched. */
struct chi_hot {
    unsigned fd : 29;  /* CHI_FD_NONE: closed */
    unsigned send : 3; /* enum chi_sending */
    uint32_t last_out; /* when a byte was taken; of a free number: the next free one + 1 */
};

/* An epoll set, and what it reported. */
struct chi_reports {
    int epoll;
    int at, count; /* [at, count): not looked at yet; the others had the time */
    struct epoll_event events[CHI_EVENT_BATCH];
};

struct chi_net {
    struct chi_net_parts parts;
    struct chi_transport websockets, lines; /* the same table but for take_control */
    struct chi_reports all;       /* listeners, connections that have spoken, and the other set: */
    struct chi_reports newcomers; /* connections that have not (`mute` of them) */
    uv_poll_t poll;               /* brings `all` into the loop */
    uv_timer_t sweep;             /* each second over all connections */
    uv_timer_t fine;              /* while `young` is not empty */
    uv_timer_t soon;              /* once, when `later` is not empty */
    struct chi_listener *listeners[CHI_LISTENERS_MAX];
    uint32_t listener_count;
    struct chi_paged conns; /* struct chi_conn by number; phase DEAD: free, or to be freed */
    struct chi_hot *hot;    /* by number */
    uint32_t cap;           /* of `hot` */
    uint32_t top;           /* numbers in use are below it */
    uint32_t free_number;   /* first free one below `top` + 1; 0: none */
    uint32_t count;         /* open sockets of connections */
    uint32_t mute;          /* of them: not through their handshake, or have said nothing yet */
    uint32_t *young; /* numbers of those with a deadline that the fine timer watches, and of such
                        as had one when it last ran; each once */
    uint32_t young_count, young_cap;
    uint32_t later;             /* number of the first to be looked at from the loop, newest first,
                                   + 1; 0: none */
    uint32_t now;               /* the same, of those whose turn it is */
    uint64_t partial;           /* bytes of unfinished input of all */
    struct chi_frames *spare;   /* a frame reader at a boundary, for whoever reads next, or NULL */
    char *buffer;               /* CHI_READ_SIZE bytes for reading, shared */
    struct chi_buf scratch;     /* the dialects' decoders', shared */
    struct chi_request request; /* what they decode into */
    struct chi_decode_error error; /* why they did not */
    uint64_t accept_again;         /* when accepting goes on after a lack of descriptors; or 0 */
    uint64_t accept_logged;        /* when that was last logged; 0: never */
    bool accepting;                /* listeners are in the epoll set */
    bool stopped;                  /* no more accepting at all */
    bool famine;                   /* unfinished input reached its bound, and that was logged */
    bool closing;                  /* the hub and delivery must not be called */
    uint8_t handles;               /* libuv handles that are not closed */
    void (*done)(void *arg);       /* of chi_net_close */
    void *done_arg;
};

static inline struct chi_listener *chi_conn_listener(const struct chi_conn *conn)
{
    return conn->net->listeners[conn->peer.listener];
}
/* By a number below net->top. */
static inline struct chi_conn *chi_conn_at(const struct chi_net *net, uint32_t number)
{
    return chi_paged_at(&net->conns, number);
}
static inline int chi_conn_fd(const struct chi_conn *conn)
{
    return (int)conn->net->hot[conn->number].fd;
}
static inline const struct chi_dialect *chi_conn_dialect(const struct chi_conn *conn)
{
    return chi_dialect_at(conn->dialect);
}
static inline struct chi_input *chi_conn_input(const struct chi_conn *conn)
{
    return conn->unfinished ? conn->unfinished->input : NULL;
}
static inline struct chi_out *chi_conn_out(const struct chi_conn *conn)
{
    return conn->unfinished ? conn->unfinished->out : NULL;
}

/* env.now, cut: differences hold for 24 days, far above every time that is measured. */
static inline uint32_t chi_net_now(const struct chi_net *net)
{
    return (uint32_t)net->parts.env.ops->now(net->parts.env.self);
}
static inline bool chi_net_past(uint32_t now, uint32_t due)
{
    return (int32_t)(now - due) >= 0;
}

/* ---------------------------------------------------------------------------------------- net.c */

/* Has the fine timer run, and chi_conn_work_later be called. Harmless if they already are to. */
void chi_net_fine(struct chi_net *net);
void chi_net_soon(struct chi_net *net);
/* Has chi_conn_work_later go on with what is left, but not before what else the loop has to do. */
void chi_net_rest(struct chi_net *net);
/* What epoll reported of this number and nobody looked at is void: the number is free. */
void chi_net_void(struct chi_net *net, uint32_t number);
/* Puts socket `which` of a listener into the epoll set, or takes it out. 0 or CHATHUB_EIO. */
int chi_net_epoll(struct chi_net *net, int fd, bool on, uint32_t listener, int which);

/* ----------------------------------------------------------------------------------- listener.c */

/* Takes what waits at a listener's socket, a batch. */
void chi_listener_ready(struct chi_net *net, uint32_t index, int which);
/* Accepts again after a pause, if its cause is gone. */
void chi_listener_resume(struct chi_net *net);
struct sockaddr;
/* The address of a peer that came by a listener. */
void chi_listener_peer(struct chi_peer *peer, const struct sockaddr *from, uint32_t listener);
/* Whether handshakes, or connections, are as many as may be in all; those of one address. */
bool chi_listener_full(const struct chi_net *net);
bool chi_listener_crowded(const struct chi_net *net, const struct chi_peer *peer);
/* What the sockets of connections by TCP have. */
void chi_listener_options(int fd, const struct chi_settings *settings);
/* Has who comes from now on get the present value of a live option. */
void chi_listener_follow(struct chi_net *net);
void chi_listener_close_all(struct chi_net *net);

/* --------------------------------------------------------------------------------------- conn.c */

/* Takes over an open, non-blocking descriptor that a listener accepted as a new connection.
 * CHATHUB_ENOMEM, CHATHUB_EIO: the descriptor stays the caller's. */
int chi_conn_accept(struct chi_net *net, int fd, const struct chi_peer *peer);
/* The same without a beginning: it is in no phase yet. */
int chi_conn_take(struct chi_net *net, int fd, const struct chi_peer *peer, struct chi_conn **out);
/* Undoes that: the descriptor is the caller's again, as it was. */
void chi_conn_untake(struct chi_conn *conn);
/* Tells the hub that a client is there, and has it enter by the name that it connected with (may be
 * empty), if its dialect is settled; else it is in the phase in which it is silent. 0 or the hub's
 * error. */
int chi_conn_open(struct chi_conn *conn, struct chi_encoding encoding, bool welcome,
                  struct chi_span name);
/* The same for lines, which have no handshake; a refusal is told to the peer. */
void chi_conn_open_lines(struct chi_conn *conn);
/* Ends it at once (from the loop only): the socket is closed, the hub told if it knows it.
 * `reason` is a constant. */
void chi_conn_end(struct chi_conn *conn, const char *reason);
/* Logs the client's end; the connection has none any more. Answers the id that the hub has to be
 * told of, or 0. */
uint64_t chi_conn_forget(struct chi_conn *conn, const char *reason);
/* Has the hub end it with a close code; nothing that it says is heard any more. From the loop
 * only. */
void chi_conn_fail(struct chi_conn *conn, int code, const char *reason);
/* Enters the phase CLOSING: sends what is in `out`, then says goodbye. */
void chi_conn_goodbye(struct chi_conn *conn);
/* Its connection is lost: nothing is sent any more, and it is ended from the loop. */
void chi_conn_break(struct chi_conn *conn);
/* Sends of `out` what the socket takes. false: it is broken, and queued to be ended. */
bool chi_conn_push(struct chi_conn *conn);
/* What epoll has to watch, after a change of the flags. That it is not to be read from is told epoll
 * only when there is something to be read (now): most pauses are over before, and cost no calls. */
void chi_conn_watch(struct chi_conn *conn);
void chi_conn_watch_now(struct chi_conn *conn);
/* Looked at from the loop, as soon as it runs. */
void chi_conn_later(struct chi_conn *conn);
/* Sets the end of its phase (0: none) and whether the fine timer looks at it. */
void chi_conn_phase(struct chi_conn *conn, enum chi_phase phase, uint32_t time);
/* Whether the fine timer has to watch it, by phase and input; and has it watch it if so. */
bool chi_conn_is_young(const struct chi_conn *conn);
void chi_conn_age(struct chi_conn *conn);
/* Closes the socket, and lets go of all but input and number; for chi_net_close too. */
void chi_conn_bury(struct chi_conn *conn);
/* Frees what it owns. */
void chi_conn_fini(struct chi_conn *conn);
/* And gives its number away. */
void chi_conn_free(struct chi_conn *conn);
/* A log line about a connection: its address and up to 4 fields more. */
void chi_conn_log(const struct chi_conn *conn, int level, const char *event,
                  const struct chi_field *fields, size_t n);

/* What it sends by itself, empty if there was nothing yet; NULL if there is no memory. */
struct chi_out *chi_out_get(struct chi_conn *conn);
void chi_out_drop(struct chi_conn *conn);
void chi_pong_drop(struct chi_conn *conn);
/* Its unfinished things, made if there are none; NULL if there is no memory. */
struct chi_unfinished *chi_conn_unfinished(struct chi_conn *conn);
/* After something of them ended: lets go of them if that was the last. */
void chi_conn_settle(struct chi_conn *conn);

/* --------------------------------------------------------------------------------------- read.c */

/* epoll's word. */
void chi_conn_ready(struct chi_conn *conn, uint32_t events);
/* Works off bytes that came, until they are used up or its reading stops. Not re-entrant. */
void chi_conn_feed(struct chi_conn *conn, char *bytes, size_t len);
/* Hands one message (valid UTF-8) to its dialect and the hub. false: take no further one now. */
bool chi_conn_message(struct chi_conn *conn, struct chi_span text);
/* Does with its reading what the hub answered to a message; answers as chi_conn_message. */
bool chi_conn_next(struct chi_conn *conn, enum chi_next next);
/* What was put off by chi_conn_later. */
void chi_conn_work_later(struct chi_net *net);

/* -------------------------------------------------------------------------------------- input.c */

/* The connection's input, made if there is none; NULL if there is no memory. */
struct chi_input *chi_input_get(struct chi_conn *conn);
/* Counts it anew and lets go of it if it holds nothing. */
void chi_input_settle(struct chi_conn *conn);
void chi_input_free(struct chi_conn *conn);
/* A message has begun: it has to be complete in time. */
void chi_input_begin(struct chi_input *input, struct chi_conn *conn);
/* The message is complete, or thrown away. */
void chi_input_finish(struct chi_input *input);

/* ---------------------------------------------------------------------------------- transport.c */

void chi_transport_init(struct chi_net *net);

/* -------------------------------------------------------------------------------------- sweep.c */

/* Judges silence, stalls and goodbyes; each second. */
void chi_sweep_all(struct chi_net *net);
/* Judges heads, silence at the start and begun messages; often, while there are such. */
void chi_sweep_young(struct chi_net *net);

/* -------------------------------------------------------------------------------------- adopt.c */

/* The hub learns of a client that the host has handed over. */
void chi_conn_arrive(struct chi_conn *conn);

/* ----------------------------------------------------------------- http.c, websocket.c, lines.c */

/* Each works off bytes of its protocol and answers how many it used: fewer than `len` only if
 * the connection changed its phase, was paused, or became deaf. */
size_t chi_http_feed(struct chi_conn *conn, const char *bytes, size_t len);
size_t chi_websocket_feed(struct chi_conn *conn, char *bytes, size_t len);
size_t chi_lines_feed(struct chi_conn *conn, const char *bytes, size_t len);

/* Answers with a status and one line of text, and closes. `why` is told to the peer and logged;
 * `extra`: further header lines, each with its CRLF, or NULL. */
void chi_http_refuse(struct chi_conn *conn, int status, const char *why, const char *extra);

void chi_frames_free(struct chi_frames *frames); /* NULL is allowed */
size_t chi_frames_size(void);                    /* bytes that one occupies */

#endif
