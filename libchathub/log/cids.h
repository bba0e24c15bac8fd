/* Cids that are remembered in memory: who posted what under which name, without the texts. */
#ifndef CHI_LOG_CIDS_H
#define CHI_LOG_CIDS_H

#include "core/entry.h"
#include "util/index.h"

struct chi_cid {
    uint64_t key[2];   /* of room, user and cid; keyed hashes, so that nobody can aim at them */
    uint64_t position; /* of the first post, > 0 */
    uint64_t time;     /* when that was committed, Unix ms */
    uint32_t since;    /* the same in seconds of the monotonic clock: the wall clock may jump */
    uint32_t content;  /* keyed hash of what was said */
};

struct chi_cids {
    struct chi_cid *ring; /* owned; `cap` places, the oldest at `first` */
    uint32_t first, count, cap;
    struct chi_index index; /* places in the ring by key */
    uint8_t secret[2][16];  /* of the hashes */
};

/* secrets: 48 random bytes. */
void chi_cids_init(struct chi_cids *cids, const uint8_t secrets[48]);
void chi_cids_fini(struct chi_cids *cids);
/* What a draft of a room would be remembered as. */
struct chi_cid chi_cids_of(const struct chi_cids *cids, struct chi_span room,
                           const struct chi_entry *draft);
/* The one with this key; NULL: none. Valid until the next call. */
const struct chi_cid *chi_cids_find(const struct chi_cids *cids, const struct chi_cid *like);
/* Remembers one that is not there, no older than the last. 0 or CHATHUB_ENOMEM. */
int chi_cids_add(struct chi_cids *cids, const struct chi_cid *cid);
/* Takes back the newest `n`; not more than there are. */
void chi_cids_undo(struct chi_cids *cids, uint32_t n);
/* Forgets those whose `since` is before this. */
void chi_cids_expire(struct chi_cids *cids, uint32_t since);
/* Forgets the oldest `n`; not more than there are. */
void chi_cids_drop(struct chi_cids *cids, uint32_t n);
/* Forgets the one with this key, if there is one. It keeps its place, with position 0. */
void chi_cids_forget(struct chi_cids *cids, const struct chi_cid *like);
/* The n-th oldest, from 0 to count - 1. Valid until one is added or goes. */
const struct chi_cid *chi_cids_at(const struct chi_cids *cids, uint32_t n);
/* Hands all over to `to`, which has nothing and the same secrets; `from` has nothing then. */
void chi_cids_move(struct chi_cids *from, struct chi_cids *to);
size_t chi_cids_memory(const struct chi_cids *cids); /* bytes */

#endif
