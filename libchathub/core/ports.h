/* The hub's doors: the tables through which core meets logs, delivery, dialects and transports.
 *
 * Unless a slot says otherwise: it is called on the hub's thread, must not block, must not call
 * back into its caller before it returned, borrows what it is handed for the call only, and is
 * never NULL. */
#ifndef CHI_CORE_PORTS_H
#define CHI_CORE_PORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/entry.h"
#include "core/name.h"
#include "core/reply.h"
#include "core/request.h"
#include "util/buf.h"

/* ------------------------------------------------------------------------------------- dialects */

struct chi_decode_error {
    int code;            /* enum chathub_error */
    struct chi_span ref; /* as far as it could be read */
    char message[200];   /* what is wrong and what to do; NUL-terminated */
};

/* What the name in a post (request.name) means. */
enum chi_post_name {
    CHI_POST_NAME_NONE = 0, /* posts carry none */
    CHI_POST_NAME_ONCE,  /* that of a client which has none yet: it enters the default room by it,
                               and says the content there; later ones are passed over */
    CHI_POST_NAME_WHOLE, /* the same, but such a post is nothing but the name */
    CHI_POST_NAME_EACH,  /* each post is said under its own */
};

/* What becomes of a client before it said anything. */
enum chi_entrance {
    CHI_ENTRANCE_LISTENS = 0, /* it observes its default room after a while of silence */
    CHI_ENTRANCE_SILENT,      /* nothing */
    CHI_ENTRANCE_OBSERVES,    /* it observes its default room at once, its signals included */
    CHI_ENTRANCE_JOINS,       /* it joins its default room, by the name that it connected with */
};

/* Which clients get the signals of their rooms. */
enum chi_hearing {
    CHI_HEARS_SIGNALS = 0,
    CHI_HEARS_ENTRIES, /* none do */
    CHI_HEARS_ASKED,   /* where their listener asks for it (presence=yes) */
};

/* Between the texts of several frames in one buffer; no text holds it. */
#define CHI_FRAME_APART '\x1e'

/* A dialect writes and reads text, and says what manners its clients have; it has no state per
 * client and no memory of its own but `decoder`. */
struct chi_dialect {
    const char *name;
    /* Reads one frame or line of valid UTF-8 into *out, whose spans stay valid as long as `text`
     * and until the next decode with the same `scratch` (owned by the caller, reset by decode). 1:
     * a request; 0: nothing to do (an empty line); negative: not understood, *error says why. */
    int (*decode)(struct chi_buf *scratch, struct chi_span text, struct chi_request *out,
                  struct chi_decode_error *error);
    /* Each appends the text of one frame to `out`, without framing, and nothing if the dialect
     * has no such frame. `room` is the display name of the entry's room. Failure shows in
     * out->failed. Replies and signals may be several frames where `several` is set. */
    void (*encode_entry)(struct chi_buf *out, struct chi_span room, const struct chi_entry *entry);
    void (*encode_reply)(struct chi_buf *out, const struct chi_reply *reply);
    void (*encode_signal)(struct chi_buf *out, const struct chi_signal *signal);
    /* For dialects whose clients name themselves in the query of their WebSocket's URL: the key of
     * that parameter (its presence tells the dialect, too), and what reads its value, decoded (at
     * NULL: it is missing). 0 and *name (a part of `value`); or the status of an HTTP refusal and
     * *why, one static line. `demo`: names that nobody proved are good enough. NULL: they do not. */
    const char *name_key;
    int (*read_name)(struct chi_span value, bool demo, struct chi_span *name, const char **why);

    /* Manners. */
    enum chi_post_name post_name;
    enum chi_entrance entrance;
    enum chi_hearing hearing;
    uint32_t max_message; /* bytes of one message, if the hub's bound is not lower; 0: the hub's */
    int bad_close;     /* the code with which a client is closed that was not understood; 0: it is
                         told, and closed only after too many */
    bool several;      /* replies and signals may hold CHI_FRAME_APART */
    bool greets;       /* `welcome` is said, without a name, before the client has one */
    bool must_name;    /* a client that cannot be given its name is closed (1008) */
    bool must_join;    /* posting does not join the default room */
    bool shares_names; /* a name that is taken is accepted */
    bool replays; /* its clients know no positions: a name goes on where its last session stood */
    bool no_history;  /* who comes anew is sent none, unless its listener asks for it */
    bool told_itself; /* that it came is told to itself, too, behind what it came with */
    bool also_last;   /* who returns is sent the last entries too, known ones or not */
    /* `welcome` does not show the session's key: whoever speaks it cannot come back to a session
     * that was made here, and such a session ends with its connection. */
    bool hides_key;
};

/* A framing makes one frame of the text that stands in `buf` from `start` to its end: it may put
 * bytes before and behind it (a WebSocket header; a newline), or nothing. */
struct chi_framing {
    const char *name;
    void (*frame)(struct chi_buf *buf, size_t start);
};

struct chi_encoding {
    const struct chi_dialect *dialect;
    const struct chi_framing *framing;
};

/* ----------------------------------------------------------------------------------- transports */

/* A transport carries bytes for its connections, which it numbers itself (`conn`). Delivery
 * calls send, write_many and take_control from its flush alone; read and close may come at any
 * time, also from within the transport's own calls into the hub (a request may close its
 * client): they must not call back, nor free what a caller still uses. Every connection in these
 * calls is one that was given to chi_hub_client_open and is not closed since. */
struct chi_transport {
    /* Hands over `len` bytes (> 0); answers how many were taken, fewer than `len` if it must
     * wait (it then calls chi_delivery_writable once it can take more). Negative: broken; it
     * reports chi_hub_client_closed later, not inside this call. */
    ptrdiff_t (*send)(void *self, uint32_t conn, const void *bytes, size_t len);
    /* The same span to many: taken[i] as `send` would answer for conns[i], -1 where broken. */
    void (*write_many)(void *self, const void *bytes, size_t len, const uint32_t *conns, size_t n,
                       int32_t *taken);
    /* Asked at a frame boundary after chi_delivery_poke: appends the transport's own frames
     * (pong, ping). NULL: it has none. */
    void (*take_control)(void *self, uint32_t conn, struct chi_buf *out);
    /* Stops (false) or goes on (true) reading requests; frames that it has read already wait in
     * it. */
    void (*read)(void *self, uint32_t conn, bool on);
    /* The hub is done with this connection: sends `rest` (what the hub had begun to send or owed
     * as replies), then says goodbye in its protocol with `code` (an RFC 6455 close code) and
     * `reason`, and frees it in its own time. Code 0: a frame was torn (no memory): it is cut
     * without a word. No further call for `conn`, nor from it. */
    void (*close)(void *self, uint32_t conn, int code, struct chi_span reason,
                  struct chi_span rest);
    void *self; /* handed to every slot */
};

/* ----------------------------------------------------------------------------------------- logs */

/* Numbers that logs give out are positions: > 0, < 2^53, strictly increasing over the log. */
#define CHI_POSITION_MAX ((1ull << 53) - 1)
/* Characters of an epoch. */
#define CHI_EPOCH_LEN 16

struct chi_log_result {
    void *token; /* what came with the draft; NULL for an entry that somebody else posted */
    int status; /* 0 committed; CHATHUB_EDUP: first one is `entry`; CHATHUB_ECIDREUSED; CHATHUB_ELOG
                                not committed; CHATHUB_EUNKNOWN: may or may not be */
    uint32_t room;           /* the hub's number of the room */
    struct chi_entry *entry; /* committed: it. dup: the first, position and time only. Or NULL */
    uint64_t retry_after;    /* errors: ms after which it may work again, 0: not known */
    const char *why; /* ELOG, EUNKNOWN: what is the matter, such as "the disk is full"; static, or
                        NULL: not known */
};

struct chi_log_page {
    int status;                       /* 0 or CHATHUB_ELOG */
    struct chi_entry *const *entries; /* oldest first. Borrowed */
    uint32_t count;
    bool more; /* there are more in the asked direction */
};

/* What a log reports, always from within its `poll`, in the order in which it happened. */
struct chi_log_up {
    /* A room is ready: its handle in the log and its newest position (0: none). status as in
     * chi_log_result. */
    void (*opened)(void *hub, uint32_t room, int status, void *handle, uint64_t top);
    /* Entries of one room arrive in the order of their positions. Drafts of one user are answered in
     * the order of append. Of a room that was closed, nothing is reported. */
    void (*committed)(void *hub, const struct chi_log_result *results, size_t n);
    /* The entry at this position has lost its texts in the log (status 0; token NULL where another
     * node asked for it); CHATHUB_ENOENT: there is none; CHATHUB_ELOG: it could not be done. */
    void (*redacted)(void *hub, uint32_t room, uint64_t position, int status, void *token);
    /* What was reported as committed may be gone, and positions begin anew at an earlier one: the
     * log was emptied or put back under a running hub. `epoch` is another one already. All that was
     * under way was answered (as unknown, or as an error). No handle is of any use any more but to
     * be closed: rooms have to be opened anew. Logs of one node alone never say it. */
    void (*went_back)(void *hub);
    void *hub;
};

/* Who asked for a page; a part of something that lives until the page came or the log was freed. */
struct chi_log_reader {
    void (*page)(struct chi_log_reader *reader,
                 const struct chi_log_page *page); /* once, from within `poll` */
};

struct chi_log_read {
    uint64_t after;  /* entries with position > after … */
    uint64_t before; /* … and < before; UINT64_MAX: no bound */
    uint32_t limit;  /* at most so many entries, > 0 */
    uint32_t bytes;  /* and at most so many bytes of entries, but always one */
    bool backward;   /* the newest of them (true) or the oldest; oldest first in both */
    struct chi_log_reader *reader; /* gets the page */
};

/* How a log fares. Counts are since its opening. */
struct chi_log_stats {
    uint64_t commits;  /* transactions; 0 where there are none */
    uint64_t failures; /* commits that failed, or whose outcome is not known */
    uint64_t pages;    /* read from storage */
    bool down;         /* it cannot commit now */
};

struct chi_log {
    /* Everything reported goes to `up`, copied. Called once, first. */
    void (*bind)(struct chi_log *log, const struct chi_log_up *up);
    /* Identity of this opening, CHI_EPOCH_LEN characters. Valid as long as the log. */
    struct chi_span (*epoch)(struct chi_log *log);
    /* Whether a position that was read under `epoch` means the same today (the epoch is known,
     * and the position lies before the next epoch's first). An empty epoch means the current
     * one. */
    bool (*holds)(struct chi_log *log, struct chi_span epoch, uint64_t position);
    /* ms for which (room, user, cid) is remembered at least. */
    uint64_t (*horizon)(struct chi_log *log);
    /* Opens a room under the hub's number `room`: `opened` follows. Its name's key identifies it; the
     * log adds a reference to the name if it keeps it, so that there is one copy for all. An error:
     * `opened` does not follow (CHATHUB_ENOMEM; CHATHUB_EROOMNAME: it takes no such name). */
    int (*open)(struct chi_log *log, uint32_t room, struct chi_name *name);
    /* The hub needs the handle no more: no append and no read with it from now on. Reads under
     * way still answer. */
    void (*close)(struct chi_log *log, void *handle);
    /* Takes a draft (adds its own reference) for a room; `committed` follows with `token`. An
     * error: it was not taken (CHATHUB_EAGAIN: full, CHATHUB_ENOMEM, CHATHUB_ELOG) and
     * `committed` does not follow. */
    int (*append)(struct chi_log *log, void *handle, struct chi_entry *draft, void *token);
    /* `reader->page` follows, unless this answers an error. A read that crosses an append sees
     * it or does not. */
    int (*read)(struct chi_log *log, void *handle, const struct chi_log_read *read);
    /* The entry at this position loses its texts, everywhere and for good; position, prev, time
     * and type stay. `redacted` follows with `token`, unless this answers an error. */
    int (*redact)(struct chi_log *log, void *handle, uint64_t position, void *token);
    /* Reports what is done. Called in each turn. */
    void (*poll)(struct chi_log *log);
    /* When poll should be called next though nothing woke the hub (env.now ms); UINT64_MAX:
     * never. */
    uint64_t (*next)(struct chi_log *log);
    void (*stats)(struct chi_log *log, struct chi_log_stats *out);
    /* Ends it: nothing is reported any more. May block until its threads are done. NULL is
     * allowed. */
    void (*free)(struct chi_log *log);
    /* The newest position of all rooms that was reported, or passed over since nobody has its room
     * open: what lies up to it will not be reported any more. NULL: the log is of one node alone. */
    uint64_t (*shown)(struct chi_log *log);
};

/* ------------------------------------------------------------------------------------------ bus */

/* What carries messages between the nodes of one chat, which share one log. At most once: a message
 * may be lost, also in the middle of others; what comes from one node comes in the order in which it
 * was sent. Nodes trust each other, but not the bytes: a peer may be of another version. */
struct chi_bus_up {
    /* Another node's message, from within the log's `poll`. Borrowed. */
    void (*heard)(void *hub, struct chi_span bytes);
    void *hub;
};

struct chi_bus {
    uint64_t node; /* this node: random, another one at each opening; never 0 */
    uint32_t most; /* bytes of one message */
    void (*bind)(struct chi_bus *bus, const struct chi_bus_up *up);
    /* To all other nodes (0) or to one. Copies. 0, which says nothing of whether it arrives: while the
     * connection is down it is lost; CHATHUB_EAGAIN: too much waits to be sent; CHATHUB_ENOMEM. */
    int (*send)(struct chi_bus *bus, uint64_t node, struct chi_span bytes);
};

/* ------------------------------------------------------------------------------------- delivery */

/* Delivery brings entries from logs to members. Rooms and clients are known by the hub's numbers
 * (dense slots). */

struct chi_delivery;

struct chi_delivery_client {
    const struct chi_transport *transport; /* outlives the client */
    uint32_t conn;                         /* the transport's number */
    struct chi_encoding encoding;
};

/* How core calls delivery (implemented in delivery/; the simulation may stand in). Bytes go out
 * only in `flush`. */
struct chi_delivery_ops {
    int (*client_open)(struct chi_delivery *d, uint32_t client,
                       const struct chi_delivery_client *as);
    /* From the next frame on. */
    int (*client_encoding)(struct chi_delivery *d, uint32_t client, struct chi_encoding encoding);
    /* The hub ends it: transport->close, at once, with the replies that it is owed. All its
     * memberships end. */
    void (*client_close)(struct chi_delivery *d, uint32_t client, int code, struct chi_span reason);
    /* Its transport reads on. */
    void (*client_read)(struct chi_delivery *d, uint32_t client);
    /* The transport ended it: everything of it is forgotten; the transport is not called. */
    void (*client_gone)(struct chi_delivery *d, uint32_t client);
    /* Encodes a reply and queues it before any entry not yet sent. 0; 1: taken, but the client
     * has so many replies waiting that it should not be read from (`drained` follows);
     * CHATHUB_ENOMEM: it could not be taken: close. */
    int (*reply)(struct chi_delivery *d, uint32_t client, const struct chi_reply *reply);
    /* A room opens with its newest position; its name stays valid until room_close. */
    int (*room_open)(struct chi_delivery *d, uint32_t room, const struct chi_name *name,
                     uint64_t top);
    /* It has no members any more (the caller saw to that). */
    void (*room_close)(struct chi_delivery *d, uint32_t room);
    /* The client reads the room's entries after `from`. signals: it gets the room's signals too
     * (observers do not), from now on. */
    int (*member_join)(struct chi_delivery *d, uint32_t room, uint32_t client, uint64_t from,
                       bool signals);
    /* An observer becomes a member: its cursor stays, signals begin now. */
    void (*member_signals)(struct chi_delivery *d, uint32_t room, uint32_t client);
    /* No entry of the room after this. Harmless if it is no member. */
    void (*member_leave)(struct chi_delivery *d, uint32_t room, uint32_t client);
    /* Where a member's cursor stands. */
    uint64_t (*member_position)(struct chi_delivery *d, uint32_t room, uint32_t client);
    /* A committed entry, in the order of positions. A reference is added if it is kept. */
    void (*entry)(struct chi_delivery *d, uint32_t room, struct chi_entry *entry);
    /* Whether a post to the room should wait: since the round over its members began, more has come
     * than one of them gets in a visit, so that whoever reads as fast as it can would fall behind
     * further and further. `caught_up` follows. */
    bool (*room_behind)(struct chi_delivery *d, uint32_t room);
    void (*signal)(struct chi_delivery *d, uint32_t room, const struct chi_signal *signal);
    /* Its bytes vanish from all windows and pages. */
    void (*redact)(struct chi_delivery *d, uint32_t room, uint64_t position);
};

/* What delivery asks of core, from within flush. */
struct chi_delivery_up {
    /* Fewer replies wait than the bound: it may be read from again. */
    void (*drained)(void *hub, uint32_t client);
    /* No memory, or another reason why this client cannot be served on: the hub closes it,
     * resumable. Called at most once per client; delivery has stopped pumping it. */
    void (*failed)(void *hub, uint32_t client, int code);
    /* The presence of a room as one signal (a snapshot, or the count where it is too large for
     * names), for a member that fell out of the room's ring. Valid until the next call. */
    const struct chi_signal *(*snapshot)(void *hub, uint32_t room);
    /* The log's handle of an open room. */
    void *(*handle)(void *hub, uint32_t room);
    /* A room of which `room_behind` was said is behind no more. */
    void (*caught_up)(void *hub, uint32_t room);
    void *hub;
};

#endif
