#include "core/chain.h"

static struct chi_chain *links_of(struct chi_chained kind, void *item)
{
    return (struct chi_chain *)(void *)((char *)item + kind.offset);
}

static struct chi_chain *links_at(struct chi_chained kind, uint32_t number)
{
    return links_of(kind, chi_paged_at(&kind.slots->places, number - 1));
}

static uint32_t number_of(const void *item)
{
    return ((const struct chi_slot *)item)->number + 1;
}

void chi_chain_append(struct chi_chained kind, uint32_t *first, void *item)
{
    struct chi_chain *links = links_of(kind, item);
    uint32_t number = number_of(item);

    if (!*first) {
        *first = links->next = links->prev = number;
        return;
    }
    struct chi_chain *head = links_at(kind, *first);
    links->next = *first;
    links->prev = head->prev;
    links_at(kind, head->prev)->next = number;
    head->prev = number;
}

void chi_chain_remove(struct chi_chained kind, uint32_t *first, void *item)
{
    struct chi_chain *links = links_of(kind, item);
    uint32_t number = number_of(item);

    if (!links->next)
        return;
    if (*first == number)
        *first = links->next == number ? 0 : links->next;
    links_at(kind, links->next)->prev = links->prev;
    links_at(kind, links->prev)->next = links->next;
    links->next = links->prev = 0;
}

void *chi_chain_first(struct chi_chained kind, uint32_t first)
{
    return first ? chi_paged_at(&kind.slots->places, first - 1) : NULL;
}

void *chi_chain_next(struct chi_chained kind, uint32_t first, const void *item)
{
    uint32_t next =
        ((const struct chi_chain *)(const void *)((const char *)item + kind.offset))->next;

    return next == first ? NULL : chi_paged_at(&kind.slots->places, next - 1);
}
