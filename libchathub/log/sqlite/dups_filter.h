/* A Bloom filter that is split into blocks of one cache line: whether a key can be in a set costs
 * one look at memory, and about one key in a thousand that is not in it passes. 2 bytes a key. */
#ifndef CHI_LOG_SQLITE_DUPS_FILTER_H
#define CHI_LOG_SQLITE_DUPS_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHI_FILTER_BLOCK 64u /* bytes */
#define CHI_FILTER_KEYS  32u /* a block, on average */

struct chi_filter {
    uint8_t *bits;   /* owned; NULL: there is no filter */
    uint32_t blocks; /* of CHI_FILTER_BLOCK bytes */
};

/* What a key is in a filter, whatever its size. */
struct chi_filter_key {
    uint32_t block;                 /* chooses the block … */
    uint8_t bits[CHI_FILTER_BLOCK]; /* … in which these are set */
};

/* Bytes of a filter for so many keys; what a file has of it is as long. */
size_t chi_filter_size(uint32_t keys);
/* An empty one for so many keys. 0 or CHATHUB_ENOMEM. */
int chi_filter_new(struct chi_filter *filter, uint32_t keys);
void chi_filter_free(struct chi_filter *filter);
/* Bytes of memory. */
size_t chi_filter_memory(const struct chi_filter *filter);

/* `key`: keyed hashes already. */
void chi_filter_key(struct chi_filter_key *out, const uint64_t key[2]);
void chi_filter_add(struct chi_filter *filter, const struct chi_filter_key *key);
/* false: it was never added. */
bool chi_filter_has(const struct chi_filter *filter, const struct chi_filter_key *key);

#endif
