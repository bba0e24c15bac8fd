/* Delivery's books: figures for statistics, and the cross-check that the simulation makes after
 * every step. */
#include "delivery/internal.h"

static bool wants(const struct chi_feed *room, const struct chi_cursor *member)
{
    return member->position < room->top ||
           ((member->flags & CHI_CURSOR_SIGNALS) && member->signal != room->last_signal);
}

void chi_delivery_counts(const struct chi_delivery *d, struct chi_delivery_counts *out)
{
    *out = d->counts;
    out->behind = 0;
    for (uint32_t n = 0; n < chi_paged_end(&d->rooms); n++) {
        const struct chi_feed *room = chi_feed_at(d, n);
        for (uint32_t i = 0; room && room->name && i < room->count; i++)
            out->behind += chi_cursor_at(room, i)->position < room->top;
    }
}

static bool page_awaited(const struct chi_feed *room, const struct chi_cursor *member)
{
    if (!room->hot)
        return false;
    for (struct chi_link *link = room->hot->pages.next; link != &room->hot->pages;
         link = link->next) {
        const struct chi_page *page = CHI_CONTAINER(link, struct chi_page, in_room);
        for (uint32_t i = 0; i < page->waiter_count; i++)
            if (page->waiters[i] == member->client)
                return page->loading || page->failed;
    }
    return false;
}

/* Somebody will visit this member: the law whose breach is a lost wake-up. */
static bool will_be_visited(const struct chi_feed *room, uint32_t index,
                            const struct chi_receiver *client)
{
    const struct chi_cursor *member = chi_cursor_at(room, index);
    if (client->flags & (CHI_RECEIVER_BLOCKED | CHI_RECEIVER_BROKEN | CHI_RECEIVER_FAILED))
        return true;
    if (chi_list_linked(&client->ready))
        return true;
    if (chi_feed_dirty(room) && (room->again || index < room->pass))
        return true;
    return (member->flags & CHI_CURSOR_WAITS) && page_awaited(room, member);
}

/* Whether a visit may look at the cursor alone. */
static const char *check_plain(const struct chi_cursor *member, const struct chi_receiver *client)
{
    bool plain = client->count == 1 && client->flags == CHI_RECEIVER_OPEN && !client->held;
    if (plain != ((member->flags & CHI_CURSOR_PLAIN) != 0))
        return "a cursor does not know whether its client has more to be told";
    if (plain && (member->conn != client->conn || member->encoding != client->encoding))
        return "a cursor and its client disagree about the way to it";
    return NULL;
}

static const char *check_member(const struct chi_delivery *d, uint32_t number,
                                const struct chi_feed *room, uint32_t index)
{
    const struct chi_cursor *member = chi_cursor_at(room, index);
    struct chi_receiver *client = chi_receiver_at(d, member->client);
    if (!client || !(client->flags & CHI_RECEIVER_OPEN))
        return "a member's client is not open";
    if (member->place >= client->count)
        return "a member's place is not among its client's";
    const struct chi_place *place = &chi_places(client)[member->place];
    if (place->room != number || place->member != index)
        return "a member and its client's place disagree";
    if (member->position > room->top)
        return "a cursor is beyond the top";
    if (!(room->encodings & (1u << client->encoding)))
        return "a member's encoding is not among its room's";
    if (wants(room, member) && !will_be_visited(room, index, client))
        return "a member is behind, writable, and nobody will visit it";
    return check_plain(member, client);
}

static const char *check_window(const struct chi_feed *room, const struct chi_window *window,
                                uint64_t *bytes)
{
    uint64_t sum = 0, at = window->from;
    for (const struct chi_segment *segment = window->oldest; segment; segment = segment->next) {
        if (segment->from != at)
            return "a window has a hole";
        if (!segment->next && segment != window->newest)
            return "a window's newest segment is not its last";
        at = segment->to;
        sum += sizeof(*segment) + segment->cap;
    }
    if (at != room->top)
        return "a window does not reach its room's top";
    if (sum != window->bytes)
        return "a window's bytes are miscounted";
    *bytes += sum;
    return NULL;
}

static const char *check_room(const struct chi_delivery *d, uint32_t number,
                              const struct chi_feed *room, uint64_t *bytes)
{
    const char *fault = NULL;
    if (room->pass > room->count)
        return "a pass is longer than its room";
    if (room->hot && room->hot->awaited && !chi_feed_dirty(room))
        return "posts wait for a room whose members nobody will visit";
    for (uint32_t i = 0; !fault && i < room->count; i++)
        fault = check_member(d, number, room, i);
    for (uint32_t i = 0; !fault && room->hot && i < CHI_ENCODINGS; i++)
        if (room->hot->windows[i])
            fault = check_window(room, room->hot->windows[i], bytes);
    return fault;
}

static const char *check_client(const struct chi_receiver *client)
{
    if ((client->flags & CHI_RECEIVER_FAILED) || !client->held || !client->held->len)
        return NULL;
    if (!(client->flags & (CHI_RECEIVER_BLOCKED | CHI_RECEIVER_BROKEN)) &&
        !chi_list_linked(&client->ready))
        return "replies wait for a writable client that nobody will visit";
    return NULL;
}

const char *chi_delivery_check(const struct chi_delivery *d)
{
    uint64_t window_bytes = 0, held_bytes = 0;
    const char *fault = NULL;
    for (uint32_t n = 0; !fault && n < chi_paged_end(&d->rooms); n++) {
        const struct chi_feed *room = chi_feed_at(d, n);
        if (room && room->name)
            fault = check_room(d, n, room, &window_bytes);
    }
    for (uint32_t n = 0; !fault && n < chi_paged_end(&d->clients); n++) {
        const struct chi_receiver *client = chi_receiver_at(d, n);
        if (!client || !(client->flags & CHI_RECEIVER_OPEN))
            continue;
        held_bytes += client->held ? client->held->len : 0;
        fault = check_client(client);
    }
    for (struct chi_link *link = d->pages.next; link != &d->pages; link = link->next)
        window_bytes += CHI_CONTAINER(link, struct chi_page, in_all)->bytes;
    if (!fault && window_bytes != d->counts.window_bytes)
        fault = "the bytes in windows and pages are miscounted";
    if (!fault && held_bytes != d->counts.held_bytes)
        fault = "the bytes held for clients are miscounted";
    return fault;
}
