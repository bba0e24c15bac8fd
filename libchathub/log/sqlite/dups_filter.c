#include "log/sqlite/dups_filter.h"

#include <string.h>

#include "chathub.h"
#include "util/pages.h"

/* Bits of a key. With 32 keys in a block of 512 bits, 6 to 9 do about equally well, and 7 places of
 * 9 bits each come out of one half of the key. */
#define BITS 7

static size_t pages_of(size_t size)
{
    return (size + CHI_PAGE - 1) / CHI_PAGE * CHI_PAGE;
}

static size_t size_of(const struct chi_filter *filter)
{
    return (size_t)filter->blocks * CHI_FILTER_BLOCK;
}

size_t chi_filter_size(uint32_t keys)
{
    size_t blocks = ((size_t)keys + CHI_FILTER_KEYS - 1) / CHI_FILTER_KEYS;
    return (blocks ? blocks : 1) * CHI_FILTER_BLOCK;
}

int chi_filter_new(struct chi_filter *filter, uint32_t keys)
{
    size_t size = chi_filter_size(keys);
    filter->blocks = (uint32_t)(size / CHI_FILTER_BLOCK);
    filter->bits = chi_pages_take(pages_of(size));
    if (!filter->bits)
        return CHATHUB_ENOMEM;
    memset(filter->bits, 0, size);
    return 0;
}

void chi_filter_free(struct chi_filter *filter)
{
    chi_pages_give(filter->bits, pages_of(size_of(filter)));
    *filter = (struct chi_filter){NULL, 0};
}

size_t chi_filter_memory(const struct chi_filter *filter)
{
    return filter->bits ? pages_of(size_of(filter)) : 0;
}

void chi_filter_key(struct chi_filter_key *out, const uint64_t key[2])
{
    out->block = (uint32_t)(key[0] >> 32);
    memset(out->bits, 0, sizeof(out->bits));
    for (unsigned i = 0; i < BITS; i++) {
        unsigned bit = (unsigned)(key[1] >> 9 * i) & 511;
        out->bits[bit / 8] |= (uint8_t)(1u << bit % 8);
    }
}

static uint8_t *block_of(const struct chi_filter *filter, const struct chi_filter_key *key)
{
    return filter->bits + ((uint64_t)key->block * filter->blocks >> 32) * CHI_FILTER_BLOCK;
}

void chi_filter_add(struct chi_filter *filter, const struct chi_filter_key *key)
{
    uint8_t *block = block_of(filter, key);
    for (unsigned i = 0; i < CHI_FILTER_BLOCK; i++)
        block[i] |= key->bits[i];
}

/* All of the block, without a branch: a bit that is set or not cannot be foretold. */
bool chi_filter_has(const struct chi_filter *filter, const struct chi_filter_key *key)
{
    const uint8_t *block = block_of(filter, key);
    uint64_t missing = 0;
    for (unsigned i = 0; i < CHI_FILTER_BLOCK; i += 8) {
        uint64_t is, wanted;
        memcpy(&is, block + i, sizeof(is));
        memcpy(&wanted, key->bits + i, sizeof(wanted));
        missing |= wanted & ~is;
    }
    return !missing;
}
