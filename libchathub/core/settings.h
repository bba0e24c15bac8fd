/* Every setting of a hub, in one plain struct; options.c fills it from names and texts and knows
 * the defaults, the bounds and the help. Times are in milliseconds, sizes in bytes. */
#ifndef CHI_CORE_SETTINGS_H
#define CHI_CORE_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

struct chi_settings {
    /* what there is */
    char *name;         /* the hub's name in log lines and `welcome` */
    char *log;          /* "memory", "sqlite:" and a file's path, or "jetstream:" and servers */
    char *default_room; /* where posts without a room go */
    char *rooms;        /* fixed rooms, separated by commas; or NULL */
    char *dialect;      /* of WebSocket listeners that name none; NULL: each connection's own */
    bool create_rooms;  /* a first join creates a room; else only `rooms` exist */

    /* bounds on what clients can make grow */
    uint32_t max_clients;      /* connections and in-process clients together */
    uint32_t max_rooms;        /* rooms open at once */
    uint32_t max_client_rooms; /* rooms that one session is in */
    uint32_t max_members;      /* members of one room */
    uint32_t max_sessions;     /* sessions kept for their return after a lost connection */
    uint32_t max_remote;       /* sessions of other nodes that are known */
    uint32_t replay_names;     /* places of names in rooms that are remembered */
    uint32_t max_message;      /* one frame or line as it comes in */
    uint32_t max_content;      /* content of a post */
    uint32_t max_data;         /* data of a post */
    uint32_t max_name;         /* a name, in bytes of its normal form */
    uint32_t max_room_name;
    uint32_t max_cid;
    uint32_t max_status;
    uint32_t max_bad_requests; /* of one client in a row, then it is closed (1008) */
    uint32_t client_drafts;    /* uncommitted posts of one client */
    uint32_t client_draft_bytes;
    uint64_t hub_draft_bytes; /* uncommitted posts of all */
    uint32_t client_replies;  /* bytes of replies waiting; beyond, it is not read from */
    uint64_t hub_reply_bytes; /* bytes waiting for all; beyond, who adds is not read from */

    /* time */
    uint32_t authorize_timeout; /* an answer that comes later is "denied" */
    uint32_t return_time;       /* how long a lost session keeps its name and rooms */
    uint32_t replay_time;       /* how long it is remembered where a name's last session stood */
    uint32_t typing_time;       /* typing stops by itself */
    uint32_t stop_time;         /* how long `stop` waits for what is under way */
    uint32_t node_lease; /* a node that is not heard of for so long is gone, with its members */

    /* history */
    uint32_t join_history; /* entries that a new member gets who asked for nothing else */
    uint32_t history_page; /* entries in one page at most (also bounded by page_bytes) */
    uint32_t page_bytes;   /* bytes of one page */
    uint32_t who_page;     /* names in one page */

    /* presence */
    uint32_t presence_all;      /* up to so many members a change is told at once … */
    uint32_t presence_all_ms;   /* … but no oftener than this */
    uint32_t presence_names;    /* up to so many, differences are gathered … */
    uint32_t presence_names_ms; /* … for so long; above, only the count is told … */
    uint32_t presence_count_ms; /* … so often */

    /* delivery */
    uint64_t window_bytes; /* all windows and pages of the hub */
    uint32_t slice_us;     /* µs of writing between two polls for reads … */
    uint32_t slice_writes; /* … at most so many writes … */
    uint32_t slice_bytes;  /* … and so many bytes */
    uint32_t room_turn;    /* bytes that one client gets of one room in a visit */
    uint32_t client_turn;  /* bytes that one client gets in a visit */

    /* the host's queue of events */
    uint64_t event_queue; /* bytes; while it has more, in-process clients without a callback wait */

    /* the log; a bound of 0 is the one that suits the kind of log (log/log.h) */
    char *log_sync;           /* SQLite: "full" or "normal" */
    uint64_t log_free;        /* SQLite: posts are refused where the disk has less than this left */
    uint64_t log_entries;     /* of one room */
    uint64_t log_bytes;       /* of one room */
    uint64_t log_total_bytes; /* of all rooms */
    uint64_t log_age;         /* of an entry */
    uint32_t log_pace;        /* SQLite: between the beginnings of two commits */
    uint32_t cid_horizon;     /* how long a cid is remembered; … */
    uint32_t max_cids; /* … where that would be more of them, posts with a cid are refused; in
                          JetStream the oldest are forgotten */
    uint32_t log_hold; /* JetStream: how long a post waits until it is stored */
    uint32_t log_duplicates; /* JetStream: the duplicate window of a stream that is made */
    uint32_t log_replicas;   /* JetStream: of a stream that is made; 0: 3 where there are so many */
    char *nats_credentials;  /* file of a user's JWT and seed; or NULL, here and below */
    char *nats_ca;           /* file of the authorities that servers are checked by */
    char *nats_cert;         /* file of a client certificate … */
    char *nats_key;          /* … and of its key */

    /* net */
    uint32_t observe_delay;      /* a silent connection observes after it; 0: never */
    uint32_t head_time;          /* until the HTTP head is complete */
    uint32_t first_request_time; /* where nobody observes: until the first request */
    uint32_t message_time;       /* until a begun message is complete */
    uint32_t max_fragments;      /* frames in one message */
    uint32_t ping_idle;          /* silence before a ping */
    uint32_t pong_time;          /* until its pong */
    uint32_t stall_time;         /* while bytes wait for a client: without one taken or received */
    uint32_t close_time;         /* for the other side to close */
    uint32_t max_handshakes;     /* connections that said nothing yet */
    uint32_t max_handshakes_address; /* of one address (IPv6: /64); loopback exempt */
    uint64_t hub_partial_bytes;      /* incomplete incoming messages and unread input of all */
    uint32_t control_rate;           /* control frames of one client per second */
    char *origins; /* further allowed origins, separated by commas: scheme://host[:port]; or NULL */
    bool demo_names;  /* names that nobody proves are taken from tokens beyond loopback, too */
    bool insecure;    /* listen beyond loopback though nobody is authenticated */
    bool ascii_names; /* names of ASCII only */
    uint32_t notsent; /* TCP_NOTSENT_LOWAT */
    uint32_t backlog; /* of listen(2) */
};

#endif
