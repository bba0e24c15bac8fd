/* Dense numbered places for things of one kind: pointers stay, numbers are used again,
 * generations tell them apart. */
#ifndef CHI_CORE_SLOTS_H
#define CHI_CORE_SLOTS_H

#include <stdint.h>

#include "util/paged.h"

/* First field of everything that lives in such places. */
struct chi_slot {
    uint32_t number;     /* its place; while it is free: the next free place + 1, 0 for none */
    uint32_t generation; /* odd while in use; one more at each take and give */
};

struct chi_slots {
    struct chi_paged places;
    uint32_t made; /* places ever used: numbers are below it */
    uint32_t used; /* in use now */
    uint32_t free; /* first free place + 1; 0: none */
};

void chi_slots_init(struct chi_slots *slots, uint32_t item);
void chi_slots_fini(struct chi_slots *slots);
/* A place, zeroed behind its slot; NULL if there is no memory. */
void *chi_slots_take(struct chi_slots *slots);
void chi_slots_give(struct chi_slots *slots, void *item);
/* What is at a number; NULL if nothing is. */
void *chi_slots_at(const struct chi_slots *slots, uint32_t number);

#endif
