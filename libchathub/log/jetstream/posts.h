/* What posts.c and posts_cids.c share: the cids that are known, and how they are read once the stream
 * is up.
 *
 * Happy path: the leader says which message of a room is the newest, the stream is walked through
 * from the horizon up to what was shown when that began; what the feed shows meanwhile is kept beside
 * and put behind it. So they stand in order of age, and of two posts with one cid the first is known.
 * Posts with cids wait for it, nothing else does: there may be millions of them. Failure modes: the
 * server that the walk reads from is behind its leader: it goes on until that message came; a walk
 * that fails goes on where it was, a little later; no memory: all is read anew. Beyond the bound the
 * oldest are forgotten. */
#ifndef CHI_LOG_JETSTREAM_POSTS_H
#define CHI_LOG_JETSTREAM_POSTS_H

#include "log/jetstream/js.h"

struct chi_js_known {
    struct chi_js *js;
    struct chi_cids cids;  /* while they are read: of sequences up to `last` … */
    struct chi_cids fresh; /* … and those beyond it, which the feed showed */
    bool loaded;           /* all up to the horizon are there */
    uint64_t at;           /* if not: no load before this */
    uint64_t short_of;     /* the bound for which some within the horizon were forgotten; 0: none */
    /* while they are read */
    bool begun; /* `last` to `reached` are set */
    bool loading;
    struct chi_js_ask ask;   /* for the newest message of a room */
    struct chi_timer timer;  /* of the next step */
    struct chi_js_walk walk; /* from `reached` on */
    uint64_t last;           /* sequences up to here are wanted, the feed shows the others */
    uint64_t target;         /* newest message of a room, as the leader said */
    uint64_t newest;         /* when the server stored that, Unix ms; 0: not known */
    uint64_t reached;        /* all up to here came */
};

void chi_js_known_init(struct chi_js_known *known, struct chi_js *js);
void chi_js_known_fini(struct chi_js_known *known);
/* Forgets all; what the stream holds then is read anew once it is up. */
void chi_js_known_clear(struct chi_js_known *known);
/* Forgets what is too old, and reads what is to be read. */
void chi_js_known_round(struct chi_js_known *known);
/* An entry of a room, with position and time; harmless if it is known, or has no cid. `since`: its
 * commit, ms of the monotonic clock. */
void chi_js_known_add(struct chi_js_known *known, struct chi_span key,
                      const struct chi_entry *entry, uint64_t since);
/* The first post with this one's cid, until the next call; NULL: none. *same: it says the same. */
const struct chi_cid *chi_js_known_find(const struct chi_js_known *known, struct chi_span key,
                                        const struct chi_entry *draft, bool *same);

#endif
