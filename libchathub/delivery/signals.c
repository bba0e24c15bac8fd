/* Signals: a small ring per room of what need not last. A member holds the number of the last
 * one that it got. */
#include "delivery/internal.h"

#include <stdlib.h>
#include <string.h>

void chi_ring_free(struct chi_ring *ring)
{
    if (!ring)
        return;
    for (uint32_t i = 0; i < CHI_RING; i++)
        free(ring->notes[i]);
    chi_buf_fini(&ring->snapshot);
    free(ring);
}

static struct chi_ring *ring_need(struct chi_feed *room)
{
    struct chi_ring *ring = room->hot->ring;
    if (!ring) {
        ring = calloc(1, sizeof(*ring));
        if (!ring)
            return NULL;
        ring->first = room->last_signal + 1;
        ring->snapshot_encoding = -1;
        room->hot->ring = ring;
    }
    return ring;
}

static void frame_signal(struct chi_delivery *d, uint32_t encoding, struct chi_buf *out,
                         const struct chi_signal *signal)
{
    size_t start = out->len;
    d->encodings[encoding].dialect->encode_signal(out, signal);
    chi_frame_texts(&d->encodings[encoding], out, start);
}

static struct chi_note *note_new(struct chi_delivery *d, const struct chi_feed *room,
                                 const struct chi_signal *signal)
{
    uint32_t len[CHI_ENCODINGS] = {0};
    chi_buf_truncate(&d->frame, 0);
    for (uint32_t i = 0; i < d->encoding_count; i++) {
        size_t start = d->frame.len;
        if (room->encodings & (1u << i))
            frame_signal(d, i, &d->frame, signal);
        len[i] = (uint32_t)(d->frame.len - start);
    }
    struct chi_note *note = d->frame.failed ? NULL : malloc(sizeof(*note) + d->frame.len);
    if (!note)
        return NULL;
    note->key = signal->key;
    note->type = signal->type;
    memcpy(note->len, len, sizeof(len));
    if (d->frame.len)
        memcpy(note->bytes, d->frame.at, d->frame.len);
    return note;
}

static void drop_same(struct chi_ring *ring, const struct chi_signal *signal)
{
    for (uint32_t i = 0; i < CHI_RING; i++) {
        struct chi_note *note = ring->notes[i];
        if (note && note->type == signal->type && note->key == signal->key) {
            free(note);
            ring->notes[i] = NULL;
        }
    }
}

/* A signal that cannot be kept counts as fallen out: members get a snapshot in its place. */
static void ring_add(struct chi_delivery *d, struct chi_feed *room, struct chi_ring *ring,
                     const struct chi_signal *signal)
{
    struct chi_note *note = note_new(d, room, signal);
    drop_same(ring, signal);
    uint32_t number = ++room->last_signal;
    if (number - ring->first >= CHI_RING)
        ring->first = number - CHI_RING + 1;
    if (!note)
        ring->first = number + 1;
    free(ring->notes[number % CHI_RING]);
    ring->notes[number % CHI_RING] = note;
}

void chi_ring_signal(struct chi_delivery *d, uint32_t number, struct chi_feed *room,
                     const struct chi_signal *signal)
{
    struct chi_ring *ring = chi_hot_need(d, number, room) ? ring_need(room) : NULL;
    if (ring)
        ring_add(d, room, ring, signal);
    else
        room->last_signal++;
    chi_feed_wake(d, number);
}

void chi_ring_trim(struct chi_feed *room)
{
    struct chi_ring *ring = room->hot->ring;
    if (!ring)
        return;
    for (uint32_t i = 0; i < room->count; i++)
        if ((chi_cursor_at(room, i)->flags & CHI_CURSOR_SIGNALS) &&
            chi_cursor_at(room, i)->signal != room->last_signal)
            return;
    chi_ring_free(ring);
    room->hot->ring = NULL;
}

static bool ring_snapshot(struct chi_delivery *d, uint32_t number, struct chi_feed *room,
                          struct chi_ring *ring, uint32_t encoding)
{
    if (ring->snapshot_encoding == (int)encoding && ring->snapshot_at == room->last_signal)
        return true;
    chi_buf_truncate(&ring->snapshot, 0);
    ring->snapshot_encoding = -1;
    const struct chi_signal *signal = d->up.snapshot(d->up.hub, number);
    if (signal)
        frame_signal(d, encoding, &ring->snapshot, signal);
    if (!signal || ring->snapshot.failed)
        return false;
    ring->snapshot_encoding = (int)encoding;
    ring->snapshot_at = room->last_signal;
    return true;
}

bool chi_ring_next(struct chi_delivery *d, uint32_t number, struct chi_feed *room,
                   uint32_t encoding, uint32_t signal, uint32_t *next, struct chi_span *bytes,
                   bool *failed)
{
    *failed = false;
    *bytes = (struct chi_span){0};
    if (signal == room->last_signal)
        return false;
    struct chi_ring *ring = chi_hot_need(d, number, room) ? ring_need(room) : NULL;
    if (!ring) {
        *failed = true;
        return false;
    }
    if ((int32_t)(signal + 1 - ring->first) < 0) {
        *next = room->last_signal;
        *failed = !ring_snapshot(d, number, room, ring, encoding);
        *bytes = (struct chi_span){ring->snapshot.at, ring->snapshot.len};
        return !*failed;
    }
    *next = signal + 1;
    const struct chi_note *note = ring->notes[*next % CHI_RING];
    if (!note)
        return true;
    size_t start = 0;
    for (uint32_t i = 0; i < encoding; i++)
        start += note->len[i];
    *bytes = (struct chi_span){note->bytes + start, note->len[encoding]};
    return true;
}
