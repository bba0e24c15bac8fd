/* What delivery keeps of a room only while something goes on in it (windows, pages, signals), and
 * the one budget for all of it. Core's part is in core/busy.c. */
#include "delivery/internal.h"

#include <stdlib.h>

/* A room that was silent for so long gives its window back; who comes later reads the log. */
#define IDLE_MS 2000u

struct chi_hot *chi_hot_need(struct chi_delivery *d, uint32_t number, struct chi_feed *room)
{
    if (!room->hot) {
        struct chi_hot *hot = calloc(1, sizeof(*hot));
        if (!hot)
            return NULL;
        hot->room = number;
        hot->pass_min = UINT64_MAX;
        chi_list_init(&hot->pages);
        room->hot = hot;
    }
    chi_hot_used(d, room->hot);
    return room->hot;
}

void chi_hot_used(struct chi_delivery *d, struct chi_hot *hot)
{
    hot->used = d->env.ops->now(d->env.self);
    chi_list_remove(&hot->link);
    chi_list_append(&d->hot, &hot->link);
}

void chi_hot_free(struct chi_delivery *d, struct chi_feed *room)
{
    struct chi_hot *hot = room->hot;
    if (!hot)
        return;
    chi_windows_drop(d, hot);
    chi_pages_drop(d, hot);
    chi_ring_free(hot->ring);
    chi_list_remove(&hot->link);
    free(hot);
    room->hot = NULL;
}

/* Frees a page that came and that nobody waits for; false: there is none. */
static bool free_oldest_page(struct chi_delivery *d)
{
    for (struct chi_link *link = d->pages.next; link != &d->pages; link = link->next) {
        struct chi_page *page = CHI_CONTAINER(link, struct chi_page, in_all);
        if (page->loading || page->waiter_count)
            continue;
        chi_page_free(d, page);
        return true;
    }
    return false;
}

static bool drop_oldest_windows(struct chi_delivery *d)
{
    for (struct chi_link *link = d->hot.next; link != &d->hot; link = link->next) {
        struct chi_hot *hot = CHI_CONTAINER(link, struct chi_hot, link);
        uint64_t before = d->counts.window_bytes;
        chi_windows_drop(d, hot);
        if (d->counts.window_bytes < before)
            return true;
    }
    return false;
}

void chi_budget_keep(struct chi_delivery *d)
{
    while (d->counts.window_bytes > d->settings->window_bytes)
        if (!free_oldest_page(d) && !drop_oldest_windows(d))
            return;
}

/* Encodings that members no longer use need no further frames. */
static void recount_encodings(struct chi_delivery *d, struct chi_feed *room)
{
    uint16_t used = 0;
    for (uint32_t i = 0; i < room->count; i++)
        used |= (uint16_t)(1u << chi_receiver_at(d, chi_cursor_at(room, i)->client)->encoding);
    room->encodings = used;
}

static void hot_tick(struct chi_delivery *d, struct chi_hot *hot, uint64_t now)
{
    struct chi_feed *room = chi_feed_at(d, hot->room);
    chi_pages_tick(d, hot);
    if (now - hot->used < IDLE_MS || chi_feed_dirty(room))
        return;
    chi_windows_drop(d, hot);
    chi_ring_trim(room);
    recount_encodings(d, room);
    if (!hot->ring && chi_list_empty(&hot->pages))
        chi_hot_free(d, room);
}

/* Buffers that a crowd needed go back by halves. */
static void shed_spare(struct chi_delivery *d)
{
    for (uint32_t keep = d->spare_count / 2; d->spare_count > keep;) {
        struct chi_buf *buf = d->spare[--d->spare_count];
        chi_buf_fini(buf);
        free(buf);
    }
}

void chi_delivery_tick(struct chi_delivery *d)
{
    uint64_t now = d->env.ops->now(d->env.self);
    for (struct chi_link *link = d->hot.next, *next; link != &d->hot; link = next) {
        next = link->next;
        hot_tick(d, CHI_CONTAINER(link, struct chi_hot, link), now);
    }
    shed_spare(d);
    chi_budget_keep(d);
}

bool chi_delivery_warm(const struct chi_delivery *d)
{
    return !chi_list_empty(&d->hot) || d->spare_count;
}
