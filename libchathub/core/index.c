#include "core/index.h"

#include <stdlib.h>
#include <string.h>

#include "chathub.h"

static uint64_t rotate(uint64_t x, unsigned by)
{
    return x << by | x >> (64 - by);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[1] = rotate(v[1], 13) ^ v[0];
    v[0] = rotate(v[0], 32);
    v[2] += v[3];
    v[3] = rotate(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = rotate(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = rotate(v[1], 17) ^ v[2];
    v[2] = rotate(v[2], 32);
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_round(v);
    v[0] ^= word;
}

uint64_t chi_siphash(const uint8_t secret[16], const void *bytes, size_t len)
{
    const unsigned char *at = bytes;
    uint64_t k[2], word, last = (uint64_t)len << 56;
    memcpy(k, secret, sizeof k);
    uint64_t v[4] = {k[0] ^ 0x736f6d6570736575u, k[1] ^ 0x646f72616e646f6du,
                     k[0] ^ 0x6c7967656e657261u, k[1] ^ 0x7465646279746573u};

    for (; len >= 8; len -= 8, at += 8) {
        memcpy(&word, at, 8);
        sip_word(v, word);
    }
    for (size_t i = 0; i < len; i++)
        last |= (uint64_t)at[i] << (8 * i);
    sip_word(v, last);
    v[2] ^= 0xff;
    for (int i = 0; i < 3; i++)
        sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

void chi_index_fini(struct chi_index *index)
{
    free(index->cells);
    index->cells = NULL;
    index->size = index->count = 0;
}

static uint32_t home(const struct chi_index *index, struct chi_span text)
{
    return (uint32_t)chi_siphash(index->secret, text.at, text.len) & (index->size - 1);
}

static uint32_t home_of(const struct chi_index *index, uint32_t cell)
{
    return home(index, index->text(index->ctx, cell - 1));
}

static void place(struct chi_index *index, uint32_t cell)
{
    uint32_t at = home_of(index, cell);
    while (index->cells[at])
        at = (at + 1) & (index->size - 1);
    index->cells[at] = cell;
}

int chi_index_reserve(struct chi_index *index)
{
    if (index->size && index->count + 1 <= index->size / 4 * 3)
        return 0;
    uint32_t old_size = index->size, *old = index->cells;
    uint32_t size = old_size ? old_size * 2 : 8;
    uint32_t *cells = calloc(size, sizeof *cells);
    if (!cells)
        return CHATHUB_ENOMEM;
    index->cells = cells;
    index->size = size;
    for (uint32_t i = 0; i < old_size; i++) {
        if (old[i])
            place(index, old[i]);
    }
    free(old);
    return 0;
}

void chi_index_put(struct chi_index *index, uint32_t number)
{
    place(index, number + 1);
    index->count++;
}

/* Closes the hole at `hole` by moving back what was pushed over it (Knuth, 6.4, algorithm R). */
static void close_hole(struct chi_index *index, uint32_t hole)
{
    uint32_t mask = index->size - 1, at = hole;

    for (;;) {
        index->cells[hole] = 0;
        uint32_t wanted;
        do {
            at = (at + 1) & mask;
            if (!index->cells[at])
                return;
            wanted = home_of(index, index->cells[at]);
        } while (((at - wanted) & mask) < ((at - hole) & mask));
        index->cells[hole] = index->cells[at];
        hole = at;
    }
}

void chi_index_remove(struct chi_index *index, uint32_t number)
{
    if (!index->size)
        return;
    uint32_t at = home_of(index, number + 1);
    while (index->cells[at] && index->cells[at] != number + 1)
        at = (at + 1) & (index->size - 1);
    if (!index->cells[at])
        return;
    index->count--;
    close_hole(index, at);
}

uint32_t chi_index_find(const struct chi_index *index, struct chi_span text)
{
    if (!index->size)
        return CHI_INDEX_NONE;
    for (uint32_t at = home(index, text); index->cells[at]; at = (at + 1) & (index->size - 1)) {
        uint32_t number = index->cells[at] - 1;
        if (chi_span_equal(index->text(index->ctx, number), text))
            return number;
    }
    return CHI_INDEX_NONE;
}
