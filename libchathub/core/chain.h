/* Closed chains of things in slots, by their numbers: half the size of struct chi_link. Whoever
 * holds a chain holds the number of its first thing, + 1; 0: it is empty. */
#ifndef CHI_CORE_CHAIN_H
#define CHI_CORE_CHAIN_H

#include <stdbool.h>
#include <stddef.h>

#include "core/slots.h"

struct chi_chain {
    uint32_t next; /* the neighbour's number + 1, its own where it is alone; 0: in no chain */
    uint32_t prev; /* the same of the other one */
};

/* Where the links are: in which slots, and how far behind the beginning of a thing. */
struct chi_chained {
    const struct chi_slots *slots;
    size_t offset;
};
#define CHI_CHAINED(slots, type, member) ((struct chi_chained){(slots), offsetof(type, member)})

static inline bool chi_chain_linked(const struct chi_chain *chain)
{
    return chain->next != 0;
}
/* `item` is in no chain; it becomes the last one. */
void chi_chain_append(struct chi_chained kind, uint32_t *first, void *item);
/* Harmless if it is in no chain. */
void chi_chain_remove(struct chi_chained kind, uint32_t *first, void *item);
/* NULL: it is empty. */
void *chi_chain_first(struct chi_chained kind, uint32_t first);
/* NULL: `item` is the last one. It may be removed after that. */
void *chi_chain_next(struct chi_chained kind, uint32_t first, const void *item);

#endif
