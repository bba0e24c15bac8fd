/* What the parts of a connection share. connection.c: its states and turns; hear.c: what the hub
 * says; say.c: what the hub is told; rooms.c: the rooms that it is in; face.c and ask.c: the
 * boundary. */
#ifndef CHI_CLIENT_INTERNAL_H
#define CHI_CLIENT_INTERNAL_H

#include <uv.h>

#include "chathub_client.h"
#include "client/frame.h"
#include "client/outbox.h"
#include "client/target.h"
#include "client/wire.h"
#include "util/buf.h"
#include "util/list.h"
#include "util/text.h"

#define CHI_ROOMS_MAX     64u    /* as many as one hello may name */
#define CHI_REQUEST_MAX   65536u /* bytes that a hub takes in one message unless set otherwise */
#define CHI_KEY_MAX       64u    /* bytes of a session's key */
#define CHI_ROOM_NAME_MAX 512u
#define CHI_NAME_MAX      256u
#define CHI_NEVER         UINT64_MAX

enum chi_stay_state {
    CHI_STAY_WANTED, /* to be asked for */
    CHI_STAY_ASKED,  /* a join, or a hello that named it, is not answered yet */
    CHI_STAY_IN,     /* joined */
    CHI_STAY_GOES,   /* to be left, once the posts before are answered */
    CHI_STAY_GOING,  /* the leave is not answered yet */
};

/* A room that the host has joined. */
struct chi_stay {
    struct chi_link link; /* in the connection's stays */
    uint64_t id;          /* in the refs of its requests */
    enum chi_stay_state state;
    char *name; /* owned; as asked for, or as the hub wrote it; NULL: the default room, not known */
    bool known; /* the hub wrote the name */
    bool told;  /* the host was told JOINED */
    bool unasked; /* the session is in it, and the host has not asked for it */
    int start;    /* as asked for: enum chathub_start_at */
    uint64_t from;
    bool placed;       /* `position` and `epoch` say where to go on; else `start` and `from` */
    uint64_t position; /* of the last entry that was told */
    char epoch[CHI_EPOCH_MAX + 1]; /* under which it was read */
    char fresh[CHI_EPOCH_MAX + 1]; /* of the last joined: that of the next entry */
    uint64_t due;                  /* a join that failed for now is not asked before, in ms */
    uint64_t after;                /* GOES: number of the last post made before */
};

struct chathub_connection {
    uv_loop_t *loop;  /* the host's */
    uv_timer_t timer; /* of the next turn */
    bool freed;       /* by the host: it only waits for the timer's closing */
    struct chi_target target;
    chathub_event_cb on_event;
    chathub_state_cb on_state; /* or NULL */
    void *arg;
    uint32_t retry_ms, retry_max_ms, heartbeat_ms, timeout_ms, max_frame; /* as in the options */

    int state;             /* enum chathub_state */
    struct chi_wire *wire; /* of the present attempt; NULL while waiting, and at the end */
    bool open;             /* it takes texts */
    bool said_hello;       /* on it */
    bool goodbye;          /* it is being closed, at the host's wish */
    uint32_t attempts;     /* that failed in a row */
    uint64_t due;          /* WAITING: of the next attempt */
    uint64_t not_before;   /* of it, as the hub's bye said */
    uint64_t stood_since;  /* CONNECTED: since when */
    uint64_t welcome_due;  /* CONNECTING: the hub's welcome has to come by then */
    uint64_t pinged;       /* when the hub was asked whether it is there; 0: it is not asked */
    bool replaced;         /* the hub's bye said so */
    bool too_long;         /* the hub's last word on this wire: a line was, whichever it was */
    bool closing;          /* the host has closed it */
    uint64_t close_due;    /* posts are waited for until then */

    char key[CHI_KEY_MAX + 1]; /* of the session */
    char *name;                /* owned; what the hello asks for; NULL: nothing */
    char *wish;      /* owned; a new name that was asked for and is not answered; or NULL */
    uint64_t wishes; /* the latest one's number, in the ref of its request */
    char default_room[CHI_ROOM_NAME_MAX + 1]; /* as the hub's welcome said; "" before */
    uint64_t max_content; /* bytes of a post's content, as the hub's welcome said; or 0 */
    uint64_t max_message; /* the same, of one frame or line */

    struct chi_link stays; /* rooms */
    uint32_t stay_count;
    uint64_t stay_ids; /* the latest */
    struct chi_outbox outbox;

    struct chi_buf request;    /* being written */
    struct chi_buf scratch;    /* of the frame that is being told */
    char cid[CHI_CID_MAX + 1]; /* of the latest post */
    char problem[300];         /* of the latest call that failed */
};

/* face.c: what calls of the host's begin with, and how they end. An error with one line about it. */
int chi_connection_enter(struct chathub_connection *connection);
int chi_fail(struct chathub_connection *connection, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with the error's own text; 0 is no error. */
int chi_plain_fail(struct chathub_connection *connection, int error);
int chi_check_room(struct chathub_connection *connection, const char *room);
bool chi_is_name(const char *name, size_t max);
/* 128 random bits as text, and a NUL. */
bool chi_make_key(char out[CHI_BASE64URL_SIZE(16)]);

/* connection.c */
/* Has a turn as soon as the loop goes on. */
void chi_connection_kick(struct chathub_connection *connection);
/* The attempt, or the connection, has failed: the wire is dropped, and it waits, or has ended where
 * coming back would not help. */
void chi_connection_lost(struct chathub_connection *connection, int code, const char *why);
/* For good: tells what is not answered, and the end. Nothing of the connection is touched after. */
void chi_connection_end(struct chathub_connection *connection, int code, const char *why);
/* Both are false if the host has freed the connection meanwhile, or the wire was dropped. */
bool chi_connection_tell(struct chathub_connection *connection, const struct chathub_event *event);
bool chi_connection_change(struct chathub_connection *connection, int state, int code,
                           const char *why);

/* hear.c */
/* A text of the hub's. */
void chi_hear(struct chathub_connection *connection, struct chi_span text);

/* say.c */
/* The first request on a wire: who this is, and where it goes on. */
void chi_say_hello(struct chathub_connection *connection);
/* Another name, `wish`. */
void chi_say_name(struct chathub_connection *connection);
void chi_say_ping(struct chathub_connection *connection);
/* Leaves all rooms: for lines, whose end alone does not tell the rooms that it is for good. */
void chi_say_farewell(struct chathub_connection *connection);
/* All joins, posts and leaves that can be said now. When the next one can be, in the loop's ms. */
uint64_t chi_say_all(struct chathub_connection *connection);

/* rooms.c */
struct chi_stay *chi_stay_add(struct chathub_connection *connection,
                              const char *name); /* or NULL */
void chi_stay_remove(struct chathub_connection *connection, struct chi_stay *stay);
/* NULL where there is none. Name NULL: the default room as long as its name is not known. */
struct chi_stay *chi_stay_named(const struct chathub_connection *connection, const char *name);
struct chi_stay *chi_stay_numbered(const struct chathub_connection *connection, uint64_t id);
/* A new connection: what was in is to go on. */
void chi_stays_restart(struct chathub_connection *connection);
/* What the hub said of a room, told as far as it is to be. */
void chi_stay_joined(struct chathub_connection *connection, struct chi_frame *frame);
void chi_stay_left(struct chathub_connection *connection, struct chi_frame *frame);
void chi_stay_gap(struct chathub_connection *connection, struct chi_frame *frame);
void chi_stay_entry(struct chathub_connection *connection, struct chi_frame *frame);
/* An error about a room's join or leave; false: it is about something else. */
bool chi_stay_error(struct chathub_connection *connection, struct chi_frame *frame);

/* The stays in their order: `for (stay = chi_stay_first(c); stay; stay = chi_stay_next(c, stay))`. */
static inline struct chi_stay *chi_stay_next(const struct chathub_connection *connection,
                                             const struct chi_stay *stay)
{
    struct chi_link *link = stay ? stay->link.next : connection->stays.next;
    return link == &connection->stays ? NULL : CHI_CONTAINER(link, struct chi_stay, link);
}
#define chi_stay_first(connection) chi_stay_next(connection, NULL)

/* How an error of a join or a post is to be taken: it is worth asking again. */
static inline bool chi_passes(const struct chi_frame *error)
{
    int code = error->event.code;
    return code == CHATHUB_ELOG || code == CHATHUB_EUNKNOWN || code == CHATHUB_EAGAIN ||
           code == CHATHUB_ENOMEM || code == CHATHUB_ESHUTDOWN || error->retry_after > 0;
}

/* When, in the loop's ms. */
static inline uint64_t chi_again(const struct chathub_connection *connection,
                                 const struct chi_frame *error)
{
    return uv_now(connection->loop) + (error->retry_after ? error->retry_after : 500);
}

#endif
