/* Whether every member got every post once and in order.
 *
 * The first member that is shown an entry adds it to its room's reference, where each poster's
 * numbers must count up by one. Every other member walks along the reference: whole reads at a
 * time where their bytes are those that the first one got (stream.h), else one comparison for each
 * delivery. */
#ifndef CB_CHECK_H
#define CB_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "stream.h"

#define CB_FOREIGN UINT32_MAX /* poster of entries that are none of this run's posts */

/* What an entry says of itself. */
struct cb_entry {
    uint64_t position, prev;
    uint64_t hash;   /* of its text */
    uint32_t poster; /* number of the client that posted it, or CB_FOREIGN */
    uint32_t n;      /* it is the poster's post number n, from 0 */
};

struct cb_room {
    struct cb_entry *entries; /* the reference, by position */
    uint32_t count, cap;      /* used and allocated */
    struct cb_stream stream;  /* bytes of the newest ones */
};

struct cb_member {
    uint64_t last;   /* position of its last entry or gap, or after which it reads */
    bool known;      /* last is known */
    uint32_t index;  /* where it stands in the reference: its next entry */
    uint32_t got;    /* entries of this run that it got */
    uint32_t gapped; /* entries of this run that it was told are not kept any more */
};

struct cb_faults {
    uint64_t holes;    /* prev is not the entry before: something is missing between them */
    uint64_t doubled;  /* shown again */
    uint64_t disorder; /* a poster's posts out of order, or other entries than another member saw */
    uint64_t altered;  /* other text than was posted, or than another member saw */
    char first[200];   /* the first one, in words; "" if there was none */
};

/* next: for each poster the number of its next post in the reference. False: out of memory. */
bool cb_check_entry(struct cb_room *room, struct cb_member *member, const struct cb_entry *entry,
                    uint32_t *next, struct cb_faults *faults);
/* The reference's entry before its last one is the one that the last one names. */
bool cb_check_chained(const struct cb_room *room);
/* The reference's entry at which the member stands is the one that must come next. */
bool cb_check_follows(const struct cb_room *room, const struct cb_member *member);
/* The member got the next `count` entries of the reference, as they are there; `ours` are of this
 * run. */
void cb_check_run(const struct cb_room *room, struct cb_member *member, uint32_t count,
                  uint32_t ours);
/* An entry has not the text that it was posted with. */
void cb_check_altered(const struct cb_entry *entry, struct cb_faults *faults);
/* The member was told that positions (from, to] are not kept any more. */
void cb_check_gap(const struct cb_room *room, struct cb_member *member, uint64_t from, uint64_t to);

#endif
