/* A table of records by dense number; records never move. Its memory is the system's pages, of which
 * those count that were touched: nothing is lost between records, nor in holes of the heap. */
#ifndef CHI_UTIL_PAGED_H
#define CHI_UTIL_PAGED_H

#include <stddef.h>
#include <stdint.h>

struct chi_paged {
    char **blocks;  /* of 1 << shift records, zeroed at first; or NULL */
    uint32_t count; /* blocks there is a pointer for */
    uint32_t size;  /* bytes of one record */
    uint32_t shift; /* so that a block is the fewest records that fill whole pages */
};

/* Records of this size, a multiple of 8. */
void chi_paged_init(struct chi_paged *table, size_t size);
/* Makes sure that there is a record of this number. 0 or CHATHUB_ENOMEM. */
int chi_paged_ensure(struct chi_paged *table, uint32_t index);
void chi_paged_fini(struct chi_paged *table);
/* There is no record of this number, nor of a higher one. */
static inline uint32_t chi_paged_end(const struct chi_paged *table)
{
    return table->count << table->shift;
}

/* NULL: never ensured. */
static inline void *chi_paged_at(const struct chi_paged *table, uint32_t index)
{
    uint32_t block = index >> table->shift;
    if (block >= table->count || !table->blocks[block])
        return NULL;
    return table->blocks[block] + (size_t)(index - (block << table->shift)) * table->size;
}

#endif
