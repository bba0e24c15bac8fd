/* The newest entries of open rooms, in memory: who joins or comes back soon needs no server for
 * them, nor does reading while there is none.
 *
 * Of each room an unbroken run by `prev`, which ends with the newest entry that was reported.
 * Bounded for one room (256 entries, 256 KiB) and in all; the room that was not used for longest
 * goes first, as a whole. The hub's thread's alone. */
#ifndef CHI_LOG_JETSTREAM_CACHE_H
#define CHI_LOG_JETSTREAM_CACHE_H

#include "core/ports.h"
#include "util/list.h"

struct chi_js_cache {
    struct chi_link used; /* rooms that have something, the longest unused first */
    uint64_t bytes;       /* of all */
    uint64_t bound;       /* of `bytes` */
};

/* One room's; zeroed at first, which means: nothing is known. */
struct chi_js_cached {
    struct chi_link used;    /* in the cache's list while it has entries */
    struct chi_entry **ring; /* owned, with references */
    uint32_t first, count, cap;
    uint32_t bytes;
    uint64_t from; /* everything of the room behind this position is here … */
    bool known;    /* … if this is set */
};

void chi_js_cache_init(struct chi_js_cache *cache, uint64_t bound);
/* The room opened, with this top: everything behind it is here. */
void chi_js_cached_begin(struct chi_js_cached *room, uint64_t top);
/* The room's next entry, as it was reported. Keeps at most `entries`, and those it can. */
void chi_js_cached_add(struct chi_js_cache *cache, struct chi_js_cached *room,
                       struct chi_entry *entry, uint64_t entries);
/* A page that was read, oldest first: what of it is right before what is here comes in front. */
void chi_js_cached_extend(struct chi_js_cache *cache, struct chi_js_cached *room,
                          struct chi_entry *const *page, uint32_t count, uint64_t entries);
/* What was committed before `since` (Unix ms) is not kept any more. */
void chi_js_cached_expire(struct chi_js_cache *cache, struct chi_js_cached *room, uint64_t since);
/* Its texts go. */
void chi_js_cached_erase(struct chi_js_cache *cache, struct chi_js_cached *room, uint64_t position);
/* All of it goes, and nothing is known. */
void chi_js_cached_drop(struct chi_js_cache *cache, struct chi_js_cached *room);
/* The page, if all of it is here: how many entries, beginning with the *first-th; else -1. */
int32_t chi_js_cached_find(struct chi_js_cache *cache, struct chi_js_cached *room,
                           const struct chi_log_read *read, uint32_t *first, bool *more);
struct chi_entry *chi_js_cached_at(const struct chi_js_cached *room,
                                   uint32_t n); /* from the oldest */

#endif
