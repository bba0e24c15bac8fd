/* The rooms with something for somebody, one after the other. A ring of numbers, not of pointers:
 * each room has a place for it, used or not. */
#include "delivery/internal.h"

static struct chi_turn *turn_of(struct chi_delivery *d, uint32_t link)
{
    return &chi_feed_at(d, link - 1)->turn;
}

void chi_round_add(struct chi_delivery *d, uint32_t number)
{
    uint32_t me = number + 1, next = d->dirty ? d->dirty : me;
    uint32_t prev = d->dirty ? turn_of(d, next)->prev : me;
    *turn_of(d, me) = (struct chi_turn){.prev = prev, .next = next};
    turn_of(d, prev)->next = me;
    turn_of(d, next)->prev = me;
    d->dirty = next;
}

void chi_round_remove(struct chi_delivery *d, uint32_t number)
{
    uint32_t me = number + 1;
    struct chi_turn *turn = turn_of(d, me);
    if (!turn->next)
        return;
    if (d->dirty == me)
        d->dirty = turn->next == me ? 0 : turn->next;
    turn_of(d, turn->prev)->next = turn->next;
    turn_of(d, turn->next)->prev = turn->prev;
    *turn = (struct chi_turn){0, 0};
}

uint32_t chi_round_next(struct chi_delivery *d)
{
    uint32_t number = d->dirty - 1;
    d->dirty = turn_of(d, d->dirty)->next;
    return number;
}
