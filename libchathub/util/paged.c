#include "util/paged.h"

#include <stdlib.h>

#include "chathub.h"
#include "util/pages.h"

int chi_paged_ensure(struct chi_paged *table, uint32_t index)
{
    uint32_t page = index / CHI_PAGED_STEP;
    if (page >= table->count) {
        uint32_t count = page + 1 + page / 2;
        char **pages = realloc(table->pages, count * sizeof(*pages));
        if (!pages)
            return CHATHUB_ENOMEM;
        for (uint32_t i = table->count; i < count; i++)
            pages[i] = NULL;
        table->pages = pages;
        table->count = count;
    }
    if (!table->pages[page])
        table->pages[page] = chi_pages_zeroed(CHI_PAGED_STEP * table->size);
    return table->pages[page] ? 0 : CHATHUB_ENOMEM;
}

void chi_paged_fini(struct chi_paged *table)
{
    for (uint32_t i = 0; i < table->count; i++)
        chi_pages_give(table->pages[i], CHI_PAGED_STEP * table->size);
    free(table->pages);
    table->pages = NULL;
    table->count = 0;
}
