/* A table of records by dense number; records never move. Its memory is the system's pages, of which
 * those count that were touched: nothing is lost between records, nor in holes of the heap. */
#ifndef CHI_UTIL_PAGED_H
#define CHI_UTIL_PAGED_H

#include <stddef.h>
#include <stdint.h>

struct chi_paged {
    char **pages;   /* each with CHI_PAGED_STEP records, zeroed at first, or NULL */
    uint32_t count; /* pages there is a pointer for */
    size_t size;    /* bytes of one record */
};

#define CHI_PAGED_STEP 1024u /* of any size that is a multiple of 4 they fill whole pages */

/* Makes sure that there is a record of this number. 0 or CHATHUB_ENOMEM. */
int chi_paged_ensure(struct chi_paged *table, uint32_t index);
void chi_paged_fini(struct chi_paged *table);

/* NULL: never ensured. */
static inline void *chi_paged_at(const struct chi_paged *table, uint32_t index)
{
    uint32_t page = index / CHI_PAGED_STEP;
    if (page >= table->count || !table->pages[page])
        return NULL;
    return table->pages[page] + (index % CHI_PAGED_STEP) * table->size;
}

#endif
