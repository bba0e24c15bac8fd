/* What posts.c and posts_cids.c share: the cids that are known, and how they are read at the start.
 *
 * Happy path: the leader says which message of a room is the newest, the stream is walked through
 * from the horizon up to it, and from then on the feed adds what it shows. Failure modes: the server
 * that the walk reads from is behind its leader: it goes on until that message came; a walk that
 * fails is the owner's to begin again; an entry of the feed for which there is no memory: all is
 * read anew, and meanwhile no post with a cid is sent. */
#ifndef CHI_LOG_JETSTREAM_POSTS_H
#define CHI_LOG_JETSTREAM_POSTS_H

#include "log/jetstream/js.h"

struct chi_js_known {
    struct chi_js *js;
    struct chi_cids cids;
    bool loaded;  /* all up to the horizon are there */
    bool lacking; /* the feed's could not be remembered: to be read anew … */
    uint64_t at;  /* … not before this */
    /* while they are read */
    bool loading;
    struct chi_js_ask ask;   /* for the newest message of a room */
    struct chi_timer timer;  /* of the next step */
    struct chi_js_walk walk; /* from `reached` on */
    uint64_t last;           /* sequences up to here are wanted, the feed shows the others */
    uint64_t target;         /* newest message of a room, as the leader said */
    uint64_t reached;        /* all up to here came */
    void (*done)(struct chi_js *js, int status); /* NULL: nobody waits for it */
};

void chi_js_known_init(struct chi_js_known *known, struct chi_js *js);
void chi_js_known_fini(struct chi_js_known *known);
int chi_js_known_load(struct chi_js_known *known, uint64_t last,
                      void (*done)(struct chi_js *js, int status));
/* Forgets all; what the stream holds then is read anew once it is up. A load that is under way ends
 * without `done`. */
void chi_js_known_clear(struct chi_js_known *known);
void chi_js_known_round(struct chi_js_known *known); /* forgets what is too old */
/* An entry of a room, with position and time; harmless if it is known, or has no cid. `since`: its
 * commit, ms of the monotonic clock. */
void chi_js_known_add(struct chi_js_known *known, struct chi_span key,
                      const struct chi_entry *entry, uint64_t since);
/* The first post with this one's cid, until the next call; NULL: none. *same: it says the same. */
const struct chi_cid *chi_js_known_find(const struct chi_js_known *known, struct chi_span key,
                                        const struct chi_entry *draft, bool *same);
/* 0: there is a place for one more; else ms until there may be one. */
uint64_t chi_js_known_full(const struct chi_js_known *known);

#endif
