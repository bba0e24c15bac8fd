/* Windows: a room's newest entries as frames, once per encoding, for every cursor that is near the
 * head.
 *
 * Happy path: an entry is encoded into the newest segment of each window; members at the head
 * are sent that span; at the end of a pass the segments that all writable members have are
 * freed. Failure: a frame that cannot be made or stored drops its window, and cursors read the
 * log instead. */
#include "delivery/internal.h"

#include <stdlib.h>
#include <string.h>

#include "util/pages.h"

/* Bytes of a segment, by how fast the one before it was filled: what gathers in a turn should
 * not be cut by a segment's end, since each part is a write of its own; and a quiet room should not
 * hold what a busy one needs. */
#define SMALLEST_SEGMENT CHI_PAGE
#define LARGEST_SEGMENT  (64 * CHI_PAGE)
#define FAST_MS          100u
#define SLOW_MS          1000u
/* Kept for members that were blocked for a moment. */
#define RECENT 65536u

struct chi_segment *chi_segment_new(uint64_t from, size_t need)
{
    size_t size = (sizeof(struct chi_segment) + need + CHI_PAGE - 1) / CHI_PAGE * CHI_PAGE;
    struct chi_segment *segment = chi_pages_take(size);
    if (!segment)
        return NULL;
    segment->next = NULL;
    segment->from = segment->to = from;
    segment->since = 0;
    segment->len = 0;
    segment->cap = (uint32_t)(size - sizeof(*segment));
    segment->count = 0;
    return segment;
}

void chi_segment_free(struct chi_segment *segment)
{
    if (segment)
        chi_pages_give(segment, sizeof(*segment) + segment->cap);
}

bool chi_segment_add(struct chi_segment *segment, uint64_t position, const char *frame, size_t len)
{
    size_t used = segment->len + segment->count * sizeof(struct chi_mark);
    if (used + len + sizeof(struct chi_mark) > segment->cap)
        return false;
    if (len)
        memcpy(segment->bytes + segment->len, frame, len);
    segment->len += (uint32_t)len;
    struct chi_mark *mark = chi_mark_at(segment, segment->count++);
    mark->position = segment->to = position;
    mark->end = segment->len;
    return true;
}

uint32_t chi_segment_find(const struct chi_segment *segment, uint64_t position)
{
    uint32_t low = 0, high = segment->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chi_mark_at(segment, middle)->position > position)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

bool chi_frame_entry(struct chi_delivery *d, uint32_t encoding, const struct chi_feed *room,
                     const struct chi_entry *entry)
{
    const struct chi_encoding *how = &d->encodings[encoding];
    chi_buf_truncate(&d->frame, 0);
    how->dialect->encode_entry(&d->frame, chi_name_shown(room->name), entry);
    if (d->frame.len)
        how->framing->frame(&d->frame, 0);
    return !d->frame.failed;
}

static void window_clear(struct chi_delivery *d, struct chi_window *window)
{
    for (struct chi_segment *segment = window->oldest, *next; segment; segment = next) {
        next = segment->next;
        chi_segment_free(segment);
    }
    d->counts.window_bytes -= window->bytes;
    window->oldest = window->newest = window->memo = NULL;
    window->bytes = 0;
}

/* `came`: bytes since the round over the room's members began. */
static size_t next_size(const struct chi_delivery *d, const struct chi_segment *newest,
                        uint64_t came, uint64_t now)
{
    if (!newest)
        return SMALLEST_SEGMENT;
    size_t size = sizeof(*newest) + newest->cap, most = d->settings->window_bytes / 4;
    uint64_t took = now - newest->since;
    if (came > newest->cap || took < FAST_MS)
        size *= 2;
    else if (took > SLOW_MS)
        size /= 2;
    most = most < LARGEST_SEGMENT ? most : LARGEST_SEGMENT;
    size = (size < most ? size : most) / CHI_PAGE * CHI_PAGE;
    return size < SMALLEST_SEGMENT ? SMALLEST_SEGMENT : size;
}

/* A segment that the next frame fits into. */
static struct chi_segment *window_room_for(struct chi_delivery *d, struct chi_window *window,
                                           size_t len, uint64_t came)
{
    struct chi_segment *newest = window->newest;
    size_t need = len + sizeof(struct chi_mark);
    if (newest && newest->len + newest->count * sizeof(struct chi_mark) + need <= newest->cap)
        return newest;
    uint64_t now = d->env.ops->now(d->env.self);
    size_t cap = next_size(d, newest, came, now) - sizeof(*newest);
    struct chi_segment *segment =
        chi_segment_new(newest ? newest->to : window->from, cap < need ? need : cap);
    if (!segment)
        return NULL;
    segment->since = now;
    if (newest)
        newest->next = segment;
    else
        window->oldest = segment;
    window->newest = segment;
    window->bytes += sizeof(*segment) + segment->cap;
    d->counts.window_bytes += sizeof(*segment) + segment->cap;
    return segment;
}

static bool window_add(struct chi_delivery *d, struct chi_window *window, uint64_t position,
                       uint64_t came)
{
    struct chi_segment *segment = window_room_for(d, window, d->frame.len, came);
    return segment && chi_segment_add(segment, position, d->frame.at, d->frame.len);
}

void chi_window_entry(struct chi_delivery *d, struct chi_feed *room, const struct chi_entry *entry)
{
    size_t largest = 0;
    for (uint32_t i = 0; i < d->encoding_count; i++) {
        if (!(room->encodings & (1u << i)))
            continue;
        struct chi_window *window = room->hot->windows[i];
        if (!window) {
            window = room->hot->windows[i] = calloc(1, sizeof(*window));
            if (!window)
                continue;
            window->from = room->top;
        }
        if (entry->prev != room->top) { /* a hole: cursors look into the log, which tells them */
            window_clear(d, window);
            window->from = entry->prev;
        }
        if (!chi_frame_entry(d, i, room, entry) ||
            !window_add(d, window, entry->position, room->hot->came)) {
            window_clear(d, window);
            window->from = entry->position;
        }
        if (d->frame.len > largest)
            largest = d->frame.len;
    }
    room->hot->came += largest;
}

struct chi_segment *chi_window_find(struct chi_window *window, uint64_t position, uint32_t *index)
{
    if (window->memo && window->memo_position == position) {
        *index = window->memo_index;
        return window->memo;
    }
    if (position < window->from)
        return NULL;
    struct chi_segment *segment = window->newest;
    if (segment && position < segment->from)
        for (segment = window->oldest; segment->to <= position;)
            segment = segment->next;
    if (!segment)
        return NULL;
    *index = chi_segment_find(segment, position);
    if (*index == segment->count)
        return NULL;
    window->memo = segment;
    window->memo_position = position;
    window->memo_index = *index;
    return segment;
}

void chi_window_trim(struct chi_delivery *d, struct chi_window *window, uint64_t position)
{
    while (window->oldest && window->oldest != window->newest && window->oldest->to <= position &&
           window->bytes - window->oldest->cap >= RECENT) {
        struct chi_segment *segment = window->oldest;
        window->oldest = segment->next;
        window->from = segment->to;
        window->bytes -= sizeof(*segment) + segment->cap;
        d->counts.window_bytes -= sizeof(*segment) + segment->cap;
        if (window->memo == segment)
            window->memo = NULL;
        chi_segment_free(segment);
    }
}

void chi_windows_drop(struct chi_delivery *d, struct chi_hot *hot)
{
    for (uint32_t i = 0; i < CHI_ENCODINGS; i++) {
        if (!hot->windows[i])
            continue;
        window_clear(d, hot->windows[i]);
        free(hot->windows[i]);
        hot->windows[i] = NULL;
    }
}
