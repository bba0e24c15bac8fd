/* The cids that a log in memory remembers: who posted what under which name, without the texts. */
#ifndef CHI_LOG_CIDS_H
#define CHI_LOG_CIDS_H

#include "core/entry.h"
#include "util/index.h"

struct chi_cid {
    uint64_t key[2];   /* of room, user and cid; keyed hashes, so that nobody can aim at them */
    uint64_t position; /* of the first post */
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
/* Forgets those whose `since` is before this. */
void chi_cids_expire(struct chi_cids *cids, uint32_t since);

#endif
