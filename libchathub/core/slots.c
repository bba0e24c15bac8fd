#include "core/slots.h"

#include <string.h>

void chi_slots_init(struct chi_slots *slots, uint32_t item)
{
    memset(slots, 0, sizeof *slots);
    chi_paged_init(&slots->places, item);
}

void chi_slots_fini(struct chi_slots *slots)
{
    chi_paged_fini(&slots->places);
    slots->made = slots->used = slots->free = 0;
}

void *chi_slots_take(struct chi_slots *slots)
{
    struct chi_slot *slot;
    uint32_t number;

    if (slots->free) {
        number = slots->free - 1;
        slot = chi_paged_at(&slots->places, number);
        slots->free = slot->number;
    } else {
        number = slots->made;
        if (number == UINT32_MAX - 1)
            return NULL;
        if (chi_paged_ensure(&slots->places, number) < 0)
            return NULL;
        slot = chi_paged_at(&slots->places, number);
        slots->made++;
    }
    memset(slot + 1, 0, slots->places.size - sizeof *slot);
    slot->number = number;
    slot->generation++;
    slots->used++;
    return slot;
}

void chi_slots_give(struct chi_slots *slots, void *item)
{
    struct chi_slot *slot = item;
    uint32_t number = slot->number;

    slot->generation++;
    slots->used--;
    if (slot->generation == 0) /* all generations of this place are used up: it rests for good */
        return;
    slot->number = slots->free;
    slots->free = number + 1;
}

void *chi_slots_at(const struct chi_slots *slots, uint32_t number)
{
    if (number >= slots->made)
        return NULL;
    struct chi_slot *slot = chi_paged_at(&slots->places, number);
    return slot->generation & 1u ? slot : NULL;
}
