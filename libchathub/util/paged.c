#include "util/paged.h"

#include <assert.h>
#include <stdlib.h>

#include "chathub.h"
#include "util/pages.h"

void chi_paged_init(struct chi_paged *table, size_t size)
{
    assert(size > 0 && size <= UINT32_MAX - 7);
    size = (size + 7) & ~(size_t)7; /* so that blocks end where pages do */
    *table = (struct chi_paged){.size = (uint32_t)size};
    while ((size << table->shift) % CHI_PAGE)
        table->shift++;
}

static size_t block_size(const struct chi_paged *table)
{
    return (size_t)table->size << table->shift;
}

int chi_paged_ensure(struct chi_paged *table, uint32_t index)
{
    uint32_t block = index >> table->shift;
    if (block >= table->count) {
        uint32_t count = block + 1 + block / 2;
        char **blocks = realloc(table->blocks, count * sizeof(*blocks));
        if (!blocks)
            return CHATHUB_ENOMEM;
        for (uint32_t i = table->count; i < count; i++)
            blocks[i] = NULL;
        table->blocks = blocks;
        table->count = count;
    }
    if (!table->blocks[block])
        table->blocks[block] = chi_pages_zeroed(block_size(table));
    return table->blocks[block] ? 0 : CHATHUB_ENOMEM;
}

void chi_paged_fini(struct chi_paged *table)
{
    for (uint32_t i = 0; i < table->count; i++)
        chi_pages_give(table->blocks[i], block_size(table));
    free(table->blocks);
    table->blocks = NULL;
    table->count = 0;
}
