/* Pages: entries read back from the log for cursors that stand before the window.
 *
 * Happy path: a cursor asks for what follows its position; one read serves all that wait for it;
 * when the page has come they are pumped. Failure: a read that fails is asked again at the next
 * tick, its cursors waiting; a page whose room has closed meanwhile is freed when it comes. */
#include "delivery/internal.h"

#include <stdlib.h>

#include "chathub.h"

/* A loaded page that served nobody for so long is freed. */
#define IDLE_MS 2000u

static void unref_entries(struct chi_page *page)
{
    for (uint32_t i = 0; i < page->count; i++)
        chi_entry_unref(page->entries[i]);
    free(page->entries);
    page->entries = NULL;
    page->count = 0;
}

void chi_page_free(struct chi_delivery *d, struct chi_page *page)
{
    for (uint32_t i = 0; i < CHI_ENCODINGS; i++)
        chi_segment_free(page->segments[i]);
    unref_entries(page);
    d->counts.window_bytes -= page->bytes;
    chi_list_remove(&page->in_room);
    chi_list_remove(&page->in_all);
    free(page->waiters);
    free(page);
}

/* A hole inside a page ends it, so that the next one begins with the hole and the gap is told
 * there; and so does what the log holds but has not reported yet. */
static uint32_t count_usable(const struct chi_log_page *from, uint64_t top)
{
    uint32_t n = 0;
    while (n < from->count && from->entries[n]->position <= top &&
           (n == 0 || from->entries[n]->prev == from->entries[n - 1]->position))
        n++;
    return n;
}

static void page_fill(struct chi_delivery *d, struct chi_page *page,
                      const struct chi_log_page *from)
{
    page->failed = from->status != 0;
    uint32_t n = page->failed ? 0 : count_usable(from, chi_feed_at(d, page->room)->top);
    if (!n)
        return;
    page->entries = malloc(n * sizeof(struct chi_entry *));
    if (!page->entries) {
        page->failed = true;
        return;
    }
    page->count = n;
    uint32_t before = page->bytes;
    for (uint32_t i = 0; i < n; i++) {
        page->entries[i] = chi_entry_ref(from->entries[i]);
        page->bytes += (uint32_t)chi_entry_size(from->entries[i]);
    }
    page->to = from->entries[n - 1]->position;
    d->counts.window_bytes += page->bytes - before;
}

static void wake_waiters(struct chi_delivery *d, struct chi_page *page)
{
    for (uint32_t i = 0; i < page->waiter_count; i++) {
        struct chi_receiver *client = chi_receiver_at(d, page->waiters[i]);
        struct chi_cursor *member = chi_cursor_of(d, client, page->room);
        if (!member)
            continue;
        member->flags &= (uint8_t)~CHI_CURSOR_WAITS;
        chi_receiver_ready(d, client);
    }
    page->waiter_count = 0;
}

static void page_came(struct chi_log_reader *reader, const struct chi_log_page *from)
{
    struct chi_page *page = CHI_CONTAINER(reader, struct chi_page, reader);
    struct chi_delivery *d = page->delivery;
    page->loading = false;
    if (page->room == CHI_NO_ROOM) {
        chi_page_free(d, page);
        return;
    }
    d->counts.pages++;
    page_fill(d, page, from);
    page->used = d->env.ops->now(d->env.self);
    if (!page->failed)
        wake_waiters(d, page);
}

static bool page_ask(struct chi_delivery *d, struct chi_page *page)
{
    struct chi_log_read read = {
        .after = page->after,
        .before = UINT64_MAX,
        .limit = d->settings->history_page,
        .bytes = d->settings->page_bytes,
        .reader = &page->reader,
    };
    /* An empty page says that nothing up to here is kept. */
    page->to = chi_feed_at(d, page->room)->top;
    page->failed = d->log->read(d->log, d->up.handle(d->up.hub, page->room), &read) != 0;
    page->loading = !page->failed;
    return page->loading;
}

static bool page_wait(struct chi_page *page, uint32_t client)
{
    if (page->waiter_count == page->waiter_cap) {
        uint32_t cap = page->waiter_cap ? page->waiter_cap * 2 : 4;
        uint32_t *waiters = realloc(page->waiters, cap * sizeof(*waiters));
        if (!waiters)
            return false;
        page->waiters = waiters;
        page->waiter_cap = cap;
    }
    page->waiters[page->waiter_count++] = client;
    return true;
}

static struct chi_page *page_find(struct chi_hot *hot, uint64_t position)
{
    for (struct chi_link *link = hot->pages.prev; link != &hot->pages; link = link->prev) {
        struct chi_page *page = CHI_CONTAINER(link, struct chi_page, in_room);
        if (page->after <= position && (page->loading || page->failed || position < page->to))
            return page;
    }
    return NULL;
}

static struct chi_page *page_new(struct chi_delivery *d, uint32_t number, struct chi_feed *room,
                                 uint64_t position)
{
    struct chi_hot *hot = chi_hot_need(d, number, room);
    struct chi_page *page = hot ? calloc(1, sizeof(*page)) : NULL;
    if (!page)
        return NULL;
    page->reader.page = page_came;
    page->delivery = d;
    page->room = number;
    page->after = position;
    page->bytes = sizeof(*page);
    d->counts.window_bytes += page->bytes;
    chi_list_append(&hot->pages, &page->in_room);
    chi_list_append(&d->pages, &page->in_all);
    page_ask(d, page);
    return page;
}

struct chi_page *chi_page_need(struct chi_delivery *d, uint32_t number, uint64_t position,
                               uint32_t client, bool shared)
{
    struct chi_feed *room = chi_feed_at(d, number);
    struct chi_page *page = room->hot ? page_find(room->hot, position) : NULL;
    if (!page)
        page = page_new(d, number, room, position);
    if (!page) {
        chi_receiver_fail(d, chi_receiver_at(d, client));
        return NULL;
    }
    page->shared |= shared;
    if (page->loading || page->failed) {
        if (!page_wait(page, client))
            chi_receiver_fail(d, chi_receiver_at(d, client));
        return NULL;
    }
    page->used = d->env.ops->now(d->env.self);
    chi_list_remove(&page->in_all);
    chi_list_append(&d->pages, &page->in_all);
    return page;
}

struct chi_segment *chi_page_segment(struct chi_delivery *d, struct chi_page *page,
                                     uint32_t encoding)
{
    struct chi_segment *segment = page->segments[encoding];
    if (segment)
        return segment;
    const struct chi_feed *room = chi_feed_at(d, page->room);
    struct chi_buf all = {0};
    uint32_t *ends = malloc((page->count + 1) * sizeof(*ends));
    for (uint32_t i = 0; ends && i < page->count; i++) {
        if (!chi_frame_entry(d, encoding, room, page->entries[i]))
            goto out;
        chi_buf_add(&all, d->frame.at, d->frame.len);
        ends[i] = (uint32_t)all.len;
    }
    if (!ends || all.failed)
        goto out;
    segment = chi_segment_new(page->after, all.len + page->count * sizeof(struct chi_mark));
    if (!segment)
        goto out;
    for (uint32_t i = 0, start = 0; i < page->count; start = ends[i++])
        chi_segment_add(segment, page->entries[i]->position, all.at + start, ends[i] - start);
    page->segments[encoding] = segment;
    page->bytes += (uint32_t)sizeof(*segment) + segment->cap;
    d->counts.window_bytes += sizeof(*segment) + segment->cap;
out:
    free(ends);
    chi_buf_fini(&all);
    return segment;
}

void chi_page_done(struct chi_delivery *d, struct chi_page *page)
{
    if (!page->shared && !page->loading && !page->waiter_count)
        chi_page_free(d, page);
}

void chi_pages_drop(struct chi_delivery *d, struct chi_hot *hot)
{
    struct chi_link *link;
    while ((link = chi_list_take(&hot->pages))) {
        struct chi_page *page = CHI_CONTAINER(link, struct chi_page, in_room);
        wake_waiters(d, page);
        page->room = CHI_NO_ROOM;
        if (!page->loading)
            chi_page_free(d, page);
    }
}

void chi_pages_tick(struct chi_delivery *d, struct chi_hot *hot)
{
    uint64_t now = d->env.ops->now(d->env.self);
    for (struct chi_link *link = hot->pages.next, *next; link != &hot->pages; link = next) {
        struct chi_page *page = CHI_CONTAINER(link, struct chi_page, in_room);
        next = link->next;
        if (page->failed) {
            page_ask(d, page);
        } else if (!page->loading && now - page->used >= IDLE_MS) {
            wake_waiters(d, page);
            chi_page_free(d, page);
        }
    }
}
