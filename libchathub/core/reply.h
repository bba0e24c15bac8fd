/* What the hub tells clients beside entries: replies to one, signals to a room. Plain values;
 * dialects write them. */
#ifndef CHI_CORE_REPLY_H
#define CHI_CORE_REPLY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/entry.h"
#include "util/text.h"

struct chi_present {
    struct chi_span name;   /* display name */
    struct chi_span user;   /* public id, `sender_id` on the wire */
    struct chi_span status; /* empty: none */
    struct chi_span was;    /* in a signal: the former name of who was renamed; else empty */
};

enum chi_reply_type {
    CHI_REPLY_WELCOME = 1, /* answers hello (or any first frame of chathub.v1) */
    CHI_REPLY_ACK,         /* a post was committed */
    CHI_REPLY_ERROR,
    CHI_REPLY_JOINED,
    CHI_REPLY_LEFT,
    CHI_REPLY_HISTORY, /* a page of entries */
    CHI_REPLY_WHO,     /* a page of presence */
    CHI_REPLY_PONG,    /* answers ping */
    CHI_REPLY_OK,      /* answers typing and status, only where a ref asks for it; and redact */
    CHI_REPLY_GAP,  /* entries after `from` up to `to` are not kept any more (made by the pump) */
    CHI_REPLY_BYE,  /* the hub will close this connection */
    CHI_REPLY_HELP, /* human lines: what can be typed */
    CHI_REPLY_PRIVATE, /* somebody said this to this client alone */
};

/* One struct for all: each type uses the fields that its comment names. Everything is borrowed
 * for the call. */
struct chi_reply {
    enum chi_reply_type type;
    struct chi_span ref;   /* all: as in the request, raw JSON; empty: none */
    struct chi_span room;  /* all but welcome, pong, bye and help, ok: of redact; empty: none */
    struct chi_span epoch; /* welcome, ack, joined, history, gap */
    struct chi_span cid;   /* ack, error */
    struct chi_span
        name; /* welcome: the client's name, empty while unnamed; private: who says it */
    struct chi_span user;    /* welcome, private: the public id of that name */
    struct chi_span server;  /* welcome: the hub's name */
    struct chi_span session; /* welcome: the session's key */
    struct chi_span message; /* error, bye, left: what it means and what to do; may be empty;
                                private: what is said */
    int code;      /* error: enum chathub_error; left: 0 (asked for) or the reason as an error */
    bool dup;      /* ack: a repeat of the post at `position` */
    bool observer; /* joined: listens only */
    bool renamed;  /* welcome: answers a hello that only changed the name */
    bool more;     /* history, who: there is more beyond this page */
    uint64_t position;    /* ack, ok of redact: of the entry; joined: the room's top; bye: 0 */
    uint64_t start;       /* joined: entries after this position follow */
    uint64_t time;        /* ack: of the entry; else now (all but history, ok, help); Unix ms */
    uint64_t number;      /* error, private: another one each time, over the whole hub */
    uint64_t from, to;    /* gap: lost are positions in (from, to] */
    uint64_t horizon;     /* welcome: ms for which a cid is remembered */
    uint64_t retry_after; /* error, bye: ms to wait before trying again; 0: not said */
    uint64_t count;       /* joined, who: how many are present */
    uint64_t presence; /* joined, who: number of the last presence signal that this list contains */
    uint32_t max_content;              /* welcome: bytes of content taken in one post */
    uint32_t max_message;              /* welcome: bytes taken in one frame or line */
    struct chi_span default_room;      /* welcome */
    const struct chi_present *present; /* joined (where the room is small), who: who is there */
    uint32_t present_count;
    struct chi_entry *const *entries; /* history, oldest first */
    uint32_t entry_count;
};

enum chi_signal_type {
    CHI_SIGNAL_PRESENCE =
        1, /* a difference: came, went, renamed; or only the count; or a snapshot */
    CHI_SIGNAL_TYPING,
    CHI_SIGNAL_STATUS,
};

/* What need not last, said to a room. Everything is borrowed for the call. */
struct chi_signal {
    enum chi_signal_type type;
    bool on;              /* typing */
    bool snapshot;        /* presence: `came` is everybody, not a difference */
    bool counts_only;     /* presence: the room is too large for names */
    bool summed;          /* presence: the room is so large that texts name few of those who came */
    struct chi_span room; /* room's name */
    uint64_t time;        /* now, Unix ms */
    uint64_t number;      /* presence: 1, 2, 3 … per room; a member that sees a hole asks `who` */
    uint64_t count;       /* presence: how many are there now */
    struct chi_present who;         /* typing, status: whose */
    const struct chi_present *came; /* presence */
    uint32_t came_count;
    uint32_t arrivals, departures;  /* presence without differences: how many came and went */
    const struct chi_present *went; /* presence */
    uint32_t went_count;
    const struct chi_present *renamed; /* presence; `was` is set */
    uint32_t renamed_count;
    uint64_t key; /* newer signals of a room replace older ones of the same type and key */
};

#endif
