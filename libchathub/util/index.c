#include "util/index.h"

#include <stdlib.h>
#include <string.h>

#include "chathub.h"
#include "util/siphash.h"

void chi_index_fini(struct chi_index *index)
{
    free(index->cells);
    index->cells = NULL;
    index->size = index->count = 0;
}

static uint32_t home(const struct chi_index *index, struct chi_span text)
{
    uint32_t hash;
    if (index->hashed)
        memcpy(&hash, text.at, sizeof hash);
    else
        hash = (uint32_t)chi_siphash(index->secret, text.at, text.len);
    return hash & (index->size - 1);
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

static uint32_t find_but(const struct chi_index *index, struct chi_span text, uint32_t but)
{
    if (!index->size)
        return CHI_INDEX_NONE;
    for (uint32_t at = home(index, text); index->cells[at]; at = (at + 1) & (index->size - 1)) {
        uint32_t number = index->cells[at] - 1;
        if (number != but && chi_span_equal(index->text(index->ctx, number), text))
            return number;
    }
    return CHI_INDEX_NONE;
}

uint32_t chi_index_find(const struct chi_index *index, struct chi_span text)
{
    return find_but(index, text, CHI_INDEX_NONE);
}

uint32_t chi_index_other(const struct chi_index *index, uint32_t number)
{
    return find_but(index, index->text(index->ctx, number), number);
}
