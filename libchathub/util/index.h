/* Finds things in tables by a text of theirs: a keyed hash of their numbers, 4 to 8 bytes for
 * each. */
#ifndef CHI_UTIL_INDEX_H
#define CHI_UTIL_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "util/text.h"

struct chi_index {
    uint32_t *cells;    /* owned; number + 1, 0 where empty; open addressing */
    uint32_t size;      /* cells, a power of two; 0 at first */
    uint32_t count;     /* cells in use */
    uint8_t secret[16]; /* so that no peer can choose colliding texts */
    bool hashed; /* texts are keyed hashes themselves, of 4 bytes or more: no other is made */
    /* The text of what has this number; it may not change while the number is in the index. */
    struct chi_span (*text)(const void *ctx, uint32_t number);
    const void *ctx; /* for `text` */
};

#define CHI_INDEX_NONE UINT32_MAX

void chi_index_fini(struct chi_index *index);
/* Makes sure that the next put succeeds. 0 or CHATHUB_ENOMEM. */
int chi_index_reserve(struct chi_index *index);
/* After reserve. At most one other number has the same text. */
void chi_index_put(struct chi_index *index, uint32_t number);
void chi_index_remove(struct chi_index *index, uint32_t number); /* harmless if it is not in */
uint32_t chi_index_find(const struct chi_index *index,
                        struct chi_span text); /* or CHI_INDEX_NONE */
/* The other one of two that have the text of `number`, which is in the index; or CHI_INDEX_NONE. */
uint32_t chi_index_other(const struct chi_index *index, uint32_t number);

#endif
