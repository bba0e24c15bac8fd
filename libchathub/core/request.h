/* What a client asks, typed, after decoding. */
#ifndef CHI_CORE_REQUEST_H
#define CHI_CORE_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "util/text.h"

enum chi_request_type {
    CHI_REQUEST_HELLO = 1, /* name, session, resume[] */
    CHI_REQUEST_JOIN,      /* room, start */
    CHI_REQUEST_LEAVE,     /* room */
    CHI_REQUEST_POST,      /* room, content, cid, data, name, to */
    CHI_REQUEST_HISTORY,   /* room, before or after, limit */
    CHI_REQUEST_WHO,       /* room, limit, after_name */
    CHI_REQUEST_TYPING,    /* room, on */
    CHI_REQUEST_STATUS,    /* content: the status text, empty for none */
    CHI_REQUEST_PING,
    CHI_REQUEST_HELP,   /* human lines only: answered by CHI_REPLY_HELP */
    CHI_REQUEST_REDACT, /* room, position: the host's alone, no dialect reads it */
};

/* Where a member begins to read. */
enum chi_start_kind {
    CHI_START_DEFAULT, /* the last N, N by setting */
    CHI_START_NOW,
    CHI_START_LAST,  /* the last `count` */
    CHI_START_AFTER, /* after `position`, which was read under `epoch` */
};

struct chi_start {
    enum chi_start_kind kind;
    uint32_t count;
    uint64_t position;
    struct chi_span epoch; /* empty: the current one is meant */
};

struct chi_resume {
    struct chi_span room;
    struct chi_start start;
};

/* At most this many rooms in one hello. */
#define CHI_RESUME_MAX 64

/* Every span points into what was decoded, or the decoder's memory, and is valid until its next
 * call: who waits copies the request (chi_request_copy). Empty spans (at NULL) are absent fields.
 * All text is valid UTF-8. */
struct chi_request {
    enum chi_request_type type;
    bool on;              /* typing: started or stopped */
    bool has_before;      /* history: `before` was given */
    bool has_after;       /* history: `after` was given */
    uint32_t limit;       /* history, who: how many at most; 0: the default */
    struct chi_span ref;  /* a JSON value, repeated in the reply as it came */
    struct chi_span room; /* absent: the listener's default room */
    struct chi_span name; /* hello: wished name; post: see enum chi_post_name; who: names after
                                this one (by comparison key) */
    struct chi_span id;   /* who: with `name`: of those called so, public ids after this one, too */
    struct chi_span to;   /* post: whom alone it is for, where the listener has private messages */
    struct chi_span session;                  /* hello: the session's key */
    struct chi_span content;                  /* post, status */
    struct chi_span cid;                      /* post */
    struct chi_span data;                     /* post: JSON object on one line, as it came */
    struct chi_start start;                   /* join */
    uint64_t position;                        /* redact: of the entry */
    uint64_t before;                          /* history: positions below it */
    uint64_t after;                           /* history: positions above it */
    uint32_t resume_count;                    /* hello */
    struct chi_resume resume[CHI_RESUME_MAX]; /* hello: rooms to go on in; resume_count are set */
};

/* One allocation that holds the request and all its texts; free() it. NULL if there is no
 * memory. */
struct chi_request *chi_request_copy(const struct chi_request *request);

#endif
