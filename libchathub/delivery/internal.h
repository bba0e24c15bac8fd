/* Delivery's own records: clients, rooms, members, windows, pages, signals. Private to
 * delivery/. */
#ifndef CHI_DELIVERY_INTERNAL_H
#define CHI_DELIVERY_INTERNAL_H

#include "delivery/delivery.h"
#include "util/list.h"
#include "util/paged.h"

/* Different ways in which one hub writes frames (dialect and framing). */
#define CHI_ENCODINGS 16
#define CHI_NO_ROOM   UINT32_MAX

/* Where an entry's frame ends in its segment. */
struct chi_mark {
    uint64_t position; /* of the entry */
    uint32_t end;      /* offset behind its frame */
    uint32_t unused;   /* keeps the size even */
};

/* Frames of consecutive entries of one room in one encoding: bytes from the front, marks from
 * the back. */
struct chi_segment {
    struct chi_segment *next; /* the newer one; NULL in the newest */
    uint64_t from;            /* holds the entries after this position … */
    uint64_t to;              /* … up to this one */
    uint64_t since;           /* of a window: when it was begun, ms */
    uint32_t len;             /* bytes of frames */
    uint32_t cap;             /* bytes for frames and marks together, a multiple of 16 */
    uint32_t count;           /* entries */
    _Alignas(16) char bytes[];
};

/* A room's newest entries in one encoding, without a hole up to the room's top. */
struct chi_window {
    struct chi_segment *oldest;
    struct chi_segment *newest;
    uint64_t from;            /* holds the entries after this position; the top where it is empty */
    uint64_t bytes;           /* allocated in its segments */
    uint64_t memo_position;   /* the last cursor looked up … */
    struct chi_segment *memo; /* … goes on in this segment (NULL: no memo) … */
    uint32_t memo_index;      /* … with this entry */
};

/* Entries read back from the log for cursors that stand before the window. */
struct chi_page {
    struct chi_log_reader reader; /* first: how the log gives it back */
    struct chi_delivery *delivery;
    struct chi_link in_room;    /* among the pages of its room (hot->pages) */
    struct chi_link in_all;     /* among all pages, the least recently used first */
    uint32_t room;              /* CHI_NO_ROOM: its room closed while it was read */
    bool loading;               /* the log has not answered */
    bool failed;                /* it answered an error; asked again at the next tick */
    bool shared;                /* asked for by one that just came: others may follow */
    uint64_t after;             /* holds the entries after this position … */
    uint64_t to;                /* … up to this one */
    uint64_t used;              /* when it last served, ms */
    uint32_t bytes;             /* it counts for in the budget */
    uint32_t count;             /* entries */
    struct chi_entry **entries; /* with a reference each */
    struct chi_segment *segments[CHI_ENCODINGS]; /* as frames, made when first needed */
    uint32_t *waiters; /* clients to pump when it comes; may hold stale ones */
    uint32_t waiter_count, waiter_cap;
};

/* One signal in all encodings that the room's members use. */
struct chi_note {
    uint64_t key;
    enum chi_signal_type type;
    uint32_t len[CHI_ENCODINGS]; /* bytes in each encoding … */
    char bytes[];                /* … one behind the other in order of encoding */
};

/* A room's newest signals; note n is at n modulo CHI_RING, NULL where a newer one replaced it. */
#define CHI_RING 32
struct chi_ring {
    uint32_t first; /* number of the oldest that is kept */
    struct chi_note *notes[CHI_RING];
    struct chi_buf snapshot; /* for who fell out of the ring, in one encoding … */
    uint32_t snapshot_at;    /* … as of this number … */
    int snapshot_encoding;   /* … and this encoding; -1: none */
};

/* What a room needs only while something goes on in it. */
struct chi_hot {
    struct chi_link link; /* among all hot rooms, the least recently used first */
    uint32_t room;        /* its number */
    uint64_t used;        /* when an entry or signal last came, ms */
    uint64_t pass_min;    /* lowest cursor of a writable member seen in this pass */
    uint64_t came;        /* bytes of frames that a member who was not visited may lack */
    bool awaited;         /* core waits for that to be less */
    struct chi_window *windows[CHI_ENCODINGS]; /* NULL: not in use */
    struct chi_ring *ring;                     /* NULL: no signal waits for anybody */
    struct chi_link pages;                     /* of this room */
};

#define CHI_CURSOR_SIGNALS 1u /* gets signals */
#define CHI_CURSOR_FRESH   2u /* has not been at the head since it joined */
#define CHI_CURSOR_WAITS   4u /* among the waiters of a page */
#define CHI_CURSOR_PLAIN   8u /* its client has no other room, and nothing but entries is due */

/* A member of a room as delivery sees it. Dense in its room, and all that a visit looks at where
 * entries are all there is to say. */
struct chi_cursor {
    uint64_t position; /* entries up to here were sent */
    uint32_t client;
    uint32_t conn;    /* PLAIN: its client's */
    uint32_t signal;  /* number of the last signal that was sent */
    uint16_t place;   /* index in its client's places */
    uint8_t encoding; /* PLAIN: its client's */
    uint8_t flags;
};

/* A room's place among those with something for somebody; numbers + 1, 0: it has none. */
struct chi_turn {
    uint32_t prev, next;
};

/* A room as delivery sees it. There may be millions of them, nearly all idle: kept small. */
struct chi_feed {
    const struct chi_name *name; /* core's; NULL: it is not open */
    uint64_t top;                /* newest position */
    union {
        struct chi_cursor one;   /* cap 0: the only member */
        struct chi_cursor *many; /* owned */
    } members;                   /* [0, pass) still to be visited in this pass */
    struct chi_hot *hot;         /* NULL while idle */
    struct chi_turn turn;
    uint32_t count, cap;  /* members; allocated in `many` */
    uint32_t pass;        /* members still to be visited */
    uint32_t last_signal; /* number of the newest signal; wraps */
    uint16_t encodings;   /* bits of the encodings that members (may) use */
    bool again;           /* something came, or was left over, since this pass began */
};

/* One of a client's memberships. */
struct chi_place {
    uint32_t room;
    uint32_t member; /* index in the room */
};

/* What a receiver is; all clear: not in use. */
#define CHI_RECEIVER_OPEN    1u
#define CHI_RECEIVER_BLOCKED 2u  /* its transport takes nothing until it says so */
#define CHI_RECEIVER_POKED   4u  /* its transport has control frames */
#define CHI_RECEIVER_BROKEN  8u  /* its transport failed and will report it */
#define CHI_RECEIVER_FAILED  16u /* to be reported by up->failed, or reported */
#define CHI_RECEIVER_TORN    32u /* a frame was cut and its rest lost */
#define CHI_RECEIVER_FULL    64u /* core was told to stop reading it; drained is owed */

/* A client as delivery sees it. */
struct chi_receiver {
    struct chi_buf *held;  /* what goes first: the rest of a cut frame, replies; or NULL */
    struct chi_link ready; /* among the clients to be pumped, or (FAILED) to be reported */
    union {
        struct chi_place one;   /* cap 0: the only place */
        struct chi_place *many; /* owned */
    } places;
    uint16_t count, cap; /* places in use; allocated in `many` */
    uint32_t slot;       /* the hub's number of it */
    uint32_t conn;       /* the transport's */
    uint8_t encoding;    /* tells the transport, too */
    uint8_t flags;
};
_Static_assert(sizeof(void *) > 8 || sizeof(struct chi_receiver) <= 48,
               "what an idle client costs");

#define CHI_SPARE 64

struct chi_delivery {
    const struct chi_settings *settings;
    struct chi_env env;
    struct chi_log *log;
    struct chi_delivery_up up;
    struct chi_paged clients; /* struct chi_receiver by the hub's slot */
    struct chi_paged rooms;   /* struct chi_feed by the hub's number */
    struct chi_encoding encodings[CHI_ENCODINGS];
    const struct chi_transport *transports[CHI_ENCODINGS]; /* of those who use each */
    uint32_t encoding_count;
    struct chi_link ready;  /* clients to pump, first come first served */
    uint32_t dirty;         /* the next room to visit, round robin; its number + 1, 0: none */
    struct chi_link failed; /* clients to report */
    struct chi_link hot;    /* rooms with windows, rings or pages; least recently used first */
    struct chi_link pages;  /* all pages; least recently used first */
    struct chi_buf frame;   /* where frames are made */
    struct chi_buf scratch; /* where a client's pieces are gathered into one write */
    struct chi_buf gaps;    /* gap frames of the client being pumped */
    struct chi_buf *spare[CHI_SPARE]; /* held buffers not in use */
    uint32_t spare_count;
    uint32_t turn; /* counts pumps: where among its rooms a client begins */
    struct chi_delivery_counts counts;
};

static inline struct chi_receiver *chi_receiver_at(const struct chi_delivery *d, uint32_t index)
{
    return chi_paged_at(&d->clients, index);
}

static inline const struct chi_transport *chi_transport_of(const struct chi_delivery *d,
                                                           const struct chi_receiver *client)
{
    return d->transports[client->encoding];
}

static inline struct chi_feed *chi_feed_at(const struct chi_delivery *d, uint32_t index)
{
    return chi_paged_at(&d->rooms, index);
}

static inline struct chi_cursor *chi_cursors(struct chi_feed *room)
{
    return room->cap ? room->members.many : &room->members.one;
}

static inline const struct chi_cursor *chi_cursor_at(const struct chi_feed *room, uint32_t index)
{
    return room->cap ? &room->members.many[index] : &room->members.one;
}

static inline struct chi_place *chi_places(struct chi_receiver *client)
{
    return client->cap ? client->places.many : &client->places.one;
}

/* frames.c */

/* Makes a frame, or several, of what the dialect of `how` wrote into `buf` from `start` on. */
void chi_frame_texts(const struct chi_encoding *how, struct chi_buf *buf, size_t start);

/* window.c */
static inline struct chi_mark *chi_mark_at(const struct chi_segment *segment, uint32_t index)
{
    return (struct chi_mark *)(void *)((char *)segment->bytes + segment->cap) - 1 - index;
}
static inline uint32_t chi_frame_start(const struct chi_segment *segment, uint32_t index)
{
    return index ? chi_mark_at(segment, index - 1)->end : 0;
}
/* An empty segment for at least `need` bytes of frames and marks; NULL: no memory. */
struct chi_segment *chi_segment_new(uint64_t from, size_t need);
void chi_segment_free(struct chi_segment *segment); /* NULL is allowed */
bool chi_segment_add(struct chi_segment *segment, uint64_t position, const char *frame, size_t len);
/* Index of the first entry after `position`; segment->count if there is none. */
uint32_t chi_segment_find(const struct chi_segment *segment, uint64_t position);
/* Adds the entry to the windows of all encodings in use. A window that cannot be written is
 * dropped. */
void chi_window_entry(struct chi_delivery *d, struct chi_feed *room, const struct chi_entry *entry);
/* The segment and the index in it where a cursor goes on; NULL if the window does not reach back
 * so far. */
struct chi_segment *chi_window_find(struct chi_window *window, uint64_t position, uint32_t *index);
/* Drops what all writable members have (up to `position`), but for the recent. */
void chi_window_trim(struct chi_delivery *d, struct chi_window *window, uint64_t position);
void chi_windows_drop(struct chi_delivery *d, struct chi_hot *hot);
/* Makes the frame of an entry in d->frame; false: no memory. */
bool chi_frame_entry(struct chi_delivery *d, uint32_t encoding, const struct chi_feed *room,
                     const struct chi_entry *entry);

/* hot.c: the budget */
struct chi_hot *chi_hot_need(struct chi_delivery *d, uint32_t number,
                             struct chi_feed *room); /* NULL: no memory */
void chi_hot_used(struct chi_delivery *d, struct chi_hot *hot);
void chi_hot_free(struct chi_delivery *d, struct chi_feed *room);
/* Frees the least recently used until the budget is kept. Not while segments are in use by the
 * pump. */
void chi_budget_keep(struct chi_delivery *d);

/* page.c */
/* The page that holds what follows `position`, ready to use; NULL: it is being read, and the
 * client is pumped again when it has come. */
struct chi_page *chi_page_need(struct chi_delivery *d, uint32_t number, uint64_t position,
                               uint32_t client, bool shared);
/* Its frames; NULL: no memory. */
struct chi_segment *chi_page_segment(struct chi_delivery *d, struct chi_page *page,
                                     uint32_t encoding);
void chi_page_free(struct chi_delivery *d, struct chi_page *page);
/* A cursor has left it behind. */
void chi_page_done(struct chi_delivery *d, struct chi_page *page);
/* Frees the loaded pages of a room and disowns the ones under way. */
void chi_pages_drop(struct chi_delivery *d, struct chi_hot *hot);
/* Asks again for those that failed; frees the idle. */
void chi_pages_tick(struct chi_delivery *d, struct chi_hot *hot);

/* signals.c */
void chi_ring_free(struct chi_ring *ring);
void chi_ring_signal(struct chi_delivery *d, uint32_t number, struct chi_feed *room,
                     const struct chi_signal *signal);
/* Drops the notes that every member has got. */
void chi_ring_trim(struct chi_feed *room);
/* The next note for a member that has got `signal`: its number, and its bytes (maybe none) in
 * this encoding. False: there is none. Who fell out of the ring gets a snapshot that brings it
 * up to the newest at once. *failed: no memory. */
bool chi_ring_next(struct chi_delivery *d, uint32_t number, struct chi_feed *room,
                   uint32_t encoding, uint32_t signal, uint32_t *next, struct chi_span *bytes,
                   bool *failed);

/* round.c */
static inline bool chi_feed_dirty(const struct chi_feed *room)
{
    return room->turn.next != 0;
}
/* The last in the round; it is not in it. */
void chi_round_add(struct chi_delivery *d, uint32_t number);
void chi_round_remove(struct chi_delivery *d, uint32_t number); /* harmless if it is not in it */
/* Whose turn it is; the round goes on to the one behind it. There is one. */
uint32_t chi_round_next(struct chi_delivery *d);

/* delivery.c */
void chi_feed_wake(struct chi_delivery *d, uint32_t number);
void chi_receiver_ready(struct chi_delivery *d, struct chi_receiver *client);
void chi_receiver_fail(struct chi_delivery *d, struct chi_receiver *client);
/* Keeps PLAIN of its cursor: after each change of its flags, held, encoding or places. */
void chi_receiver_plain(struct chi_delivery *d, struct chi_receiver *client);
/* The client's membership of a room; NULL: none. */
struct chi_cursor *chi_cursor_of(struct chi_delivery *d, struct chi_receiver *client,
                                 uint32_t number);
/* The client's buffer of what goes first, made if need be; NULL: no memory. */
struct chi_buf *chi_receiver_held(struct chi_delivery *d, struct chi_receiver *client);
/* Its transport failed: what is held is dropped. */
void chi_receiver_break(struct chi_delivery *d, struct chi_receiver *client);
/* To be called after held shrank: gives an empty one back, tells core. */
void chi_receiver_held_less(struct chi_delivery *d, struct chi_receiver *client);

/* pump.c */
void chi_pump_client(struct chi_delivery *d, struct chi_receiver *client);
/* Visits up to 64 members of a dirty room. */
void chi_pump_room(struct chi_delivery *d, uint32_t number);

#endif
