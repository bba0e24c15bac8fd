#include "core/slots.h"

#include <stdlib.h>
#include <string.h>

void chi_slots_init(struct chi_slots *slots, uint32_t item)
{
    memset(slots, 0, sizeof *slots);
    slots->item = item;
}

void chi_slots_fini(struct chi_slots *slots)
{
    for (uint32_t i = 0; i < slots->page_count; i++)
        free(slots->pages[i]);
    free(slots->pages);
    slots->pages = NULL;
    slots->page_count = slots->made = slots->used = slots->free = 0;
}

static struct chi_slot *place(const struct chi_slots *slots, uint32_t number)
{
    char *page = slots->pages[number / CHI_SLOTS_PAGE];
    return (struct chi_slot *)(void *)(page + (size_t)(number % CHI_SLOTS_PAGE) * slots->item);
}

static int grow(struct chi_slots *slots)
{
    char **pages = realloc(slots->pages, (slots->page_count + 1) * sizeof *pages);
    if (!pages)
        return -1;
    slots->pages = pages;
    char *page = calloc(CHI_SLOTS_PAGE, slots->item);
    if (!page)
        return -1;
    pages[slots->page_count++] = page;
    return 0;
}

void *chi_slots_take(struct chi_slots *slots)
{
    struct chi_slot *slot;
    uint32_t number;

    if (slots->free) {
        number = slots->free - 1;
        slot = place(slots, number);
        slots->free = slot->number;
    } else {
        number = slots->made;
        if (number == UINT32_MAX - 1)
            return NULL;
        if (number / CHI_SLOTS_PAGE >= slots->page_count && grow(slots) < 0)
            return NULL;
        slot = place(slots, number);
        slots->made++;
    }
    memset(slot + 1, 0, slots->item - sizeof *slot);
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
    struct chi_slot *slot = place(slots, number);
    return slot->generation & 1u ? slot : NULL;
}
