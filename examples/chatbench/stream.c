#include "stream.h"

#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define CAP_MIN 4096u

static uint64_t begin_of(const struct cb_stream *stream, uint32_t entry)
{
    return entry ? stream->marks[entry - 1].end : 0;
}

/* Forgets what is before entry `first`. */
static void drop_before(struct cb_stream *stream, uint32_t first)
{
    uint64_t begin = begin_of(stream, first);
    memmove(stream->bytes, stream->bytes + (begin - stream->base), stream->end - begin);
    stream->base = begin;
    stream->kept = first;
}

/* The first kept entry that a reading member of the room still needs. It looks at all members, but
 * only once for every half of what may be kept. */
static uint32_t still_needed(const struct cb_bench *bench, uint32_t room)
{
    const struct cb_options *o = &bench->options;
    const struct cb_stream *stream = &bench->rooms[room].stream;
    uint32_t first = stream->count;
    for (uint32_t i = room; i < o->clients; i += o->rooms) {
        const struct cb_client *client = &bench->clients[i];
        if (client->state == CB_LIVE && !client->paused && client->member.index < first) {
            first = client->member.index;
        }
    }
    return first > stream->kept ? first : stream->kept;
}

static bool grow(struct cb_bench *bench, struct cb_stream *stream, size_t needed)
{
    size_t cap = stream->cap ? stream->cap : CAP_MIN;
    while (cap < needed) {
        cap *= 2;
    }
    if (cap > CB_STREAM_ROOM || bench->stream_bytes + cap - stream->cap > CB_STREAM_ALL) {
        return false;
    }
    char *more = realloc(stream->bytes, cap);
    if (!more) {
        return false;
    }
    bench->stream_bytes += cap - stream->cap;
    stream->bytes = more;
    stream->cap = cap;
    return true;
}

/* Room for a frame: behind what is kept, in place of what nobody needs, in a larger buffer, or in
 * place of all that is kept. */
static bool make_room(struct cb_bench *bench, uint32_t room, size_t len)
{
    struct cb_stream *stream = &bench->rooms[room].stream;
    if (stream->end - stream->base + len <= stream->cap) {
        return true;
    }
    if (stream->cap) {
        drop_before(stream, still_needed(bench, room));
    }
    size_t needed = 2 * ((size_t)(stream->end - stream->base) + len);
    if (needed <= stream->cap || grow(bench, stream, needed)) {
        return true;
    }
    if (stream->end - stream->base + len > stream->cap && stream->cap) {
        drop_before(stream, stream->count);
    }
    return len <= stream->cap;
}

static bool add_mark(struct cb_stream *stream, uint64_t end, uint64_t due)
{
    if (stream->count == stream->marks_cap) {
        uint32_t cap = stream->marks_cap ? stream->marks_cap * 2 : 16;
        struct cb_mark *more = realloc(stream->marks, cap * sizeof *more);
        if (!more) {
            return false;
        }
        stream->marks = more;
        stream->marks_cap = cap;
    }
    stream->marks[stream->count++] = (struct cb_mark){end, due};
    return true;
}

bool cb_stream_add(struct cb_bench *bench, uint32_t room, const struct cb_frame *frame,
                   uint64_t due, bool follows)
{
    struct cb_stream *stream = &bench->rooms[room].stream;
    bool fits = make_room(bench, room, frame->used);
    if (fits) {
        memcpy(stream->bytes + (stream->end - stream->base), frame->bytes, frame->used);
        stream->end += frame->used;
    }
    if (!add_mark(stream, stream->end, due)) {
        return false;
    }
    if (!fits) {
        stream->base = stream->end;
        stream->kept = stream->count;
    } else if (!follows) {
        drop_before(stream, stream->count);
    }
    return true;
}

/* Takes entries from `first` on whose frames end at `end` at the latest. Answers how many. */
static uint32_t take_run(struct cb_bench *bench, struct cb_client *client, uint32_t first,
                         uint64_t end)
{
    struct cb_room *room = &bench->rooms[cb_room_of(bench, client)];
    const struct cb_mark *mark = room->stream.marks + first;
    const struct cb_mark *stop = room->stream.marks + room->stream.count;
    uint32_t ours = 0;
    while (mark < stop && mark->end <= end) {
        uint64_t due = mark->due;
        const struct cb_mark *run = mark;
        while (mark < stop && mark->end <= end && mark->due == due) {
            mark++;
        }
        uint32_t n = (uint32_t)(mark - run);
        if (due && !client->slow) {
            cb_histogram_add(&bench->latency, bench->now > due ? bench->now - due : 0, n);
        }
        ours += due ? n : 0;
    }
    uint32_t count = (uint32_t)(mark - (room->stream.marks + first));
    if (count) {
        cb_check_run(room, &client->member, count, ours);
    }
    return count;
}

/* Where the frames from `first` on that are equal to `bytes` end. */
static uint64_t equal_until(const struct cb_stream *stream, uint32_t first, const char *bytes,
                            size_t len)
{
    uint64_t begin = begin_of(stream, first), at = begin;
    const char *kept = stream->bytes + (begin - stream->base);
    if (memcmp(bytes, kept, len) == 0) {
        return begin + len;
    }
    for (uint32_t i = first; stream->marks[i].end - begin <= len; i++) {
        uint64_t end = stream->marks[i].end;
        if (memcmp(bytes + (at - begin), kept + (at - begin), end - at) != 0) {
            break;
        }
        at = end;
    }
    return at;
}

size_t cb_stream_match(struct cb_bench *bench, struct cb_client *client, const char *bytes,
                       size_t len)
{
    const struct cb_room *room = &bench->rooms[cb_room_of(bench, client)];
    const struct cb_stream *stream = &room->stream;
    uint32_t first = client->member.index;
    if (first < stream->kept || first >= stream->count ||
        !cb_check_follows(room, &client->member)) {
        return 0;
    }
    uint64_t begin = begin_of(stream, first), most = stream->end - begin;
    uint64_t end = equal_until(stream, first, bytes, len < most ? len : (size_t)most);
    uint32_t count = take_run(bench, client, first, end);
    bench->frames += count;
    bench->deliveries += count;
    bench->compared += count;
    client->frames += count;
    client->entries += count;
    return count ? (size_t)(stream->marks[first + count - 1].end - begin) : 0;
}

void cb_stream_fini(struct cb_stream *stream)
{
    free(stream->bytes);
    free(stream->marks);
}
