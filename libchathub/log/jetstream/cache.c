#include "log/jetstream/cache.h"

#include <stdlib.h>

#define ROOM_ENTRIES 256u
#define ROOM_BYTES   (256u << 10)

void chi_js_cache_init(struct chi_js_cache *cache, uint64_t bound)
{
    chi_list_init(&cache->used);
    cache->bytes = 0;
    cache->bound = bound;
}

struct chi_entry *chi_js_cached_at(const struct chi_js_cached *room, uint32_t n)
{
    return room->ring[(room->first + n) & (room->cap - 1)];
}

void chi_js_cached_begin(struct chi_js_cached *room, uint64_t top)
{
    room->from = top;
    room->known = true;
}

static uint32_t size_of(const struct chi_entry *entry)
{
    return (uint32_t)chi_entry_size(entry);
}

static void touch(struct chi_js_cache *cache, struct chi_js_cached *room)
{
    chi_list_remove(&room->used);
    if (room->count)
        chi_list_append(&cache->used, &room->used);
}

static void drop_oldest(struct chi_js_cache *cache, struct chi_js_cached *room)
{
    struct chi_entry *entry = chi_js_cached_at(room, 0);
    uint32_t bytes = size_of(entry);
    room->from = entry->position;
    room->first = (room->first + 1) & (room->cap - 1);
    room->count--;
    room->bytes -= bytes;
    cache->bytes -= bytes;
    chi_entry_unref(entry);
    if (!room->count)
        chi_list_remove(&room->used);
}

/* Without entries it holds what comes from now on. */
static void empty(struct chi_js_cache *cache, struct chi_js_cached *room)
{
    while (room->count)
        drop_oldest(cache, room);
    free(room->ring);
    room->ring = NULL;
    room->first = room->cap = 0;
}

void chi_js_cached_drop(struct chi_js_cache *cache, struct chi_js_cached *room)
{
    empty(cache, room);
    room->known = false;
}

static void keep_bounds(struct chi_js_cache *cache, struct chi_js_cached *room, uint64_t entries)
{
    uint64_t most = entries < ROOM_ENTRIES ? entries : ROOM_ENTRIES;
    while (room->count && (room->count > most || room->bytes > ROOM_BYTES))
        drop_oldest(cache, room);
    touch(cache, room);
    while (cache->bytes > cache->bound && !chi_list_empty(&cache->used))
        empty(cache, CHI_CONTAINER(cache->used.next, struct chi_js_cached, used));
}

static bool make_place(struct chi_js_cached *room)
{
    if (room->count < room->cap)
        return true;
    uint32_t cap = room->cap ? room->cap * 2 : 8;
    struct chi_entry **ring = malloc(cap * sizeof(struct chi_entry *));
    if (!ring)
        return false;
    for (uint32_t i = 0; i < room->count; i++)
        ring[i] = chi_js_cached_at(room, i);
    free(room->ring);
    room->ring = ring;
    room->first = 0;
    room->cap = cap;
    return true;
}

static uint64_t newest(const struct chi_js_cached *room)
{
    return room->count ? chi_js_cached_at(room, room->count - 1)->position : room->from;
}

void chi_js_cached_add(struct chi_js_cache *cache, struct chi_js_cached *room,
                       struct chi_entry *entry, uint64_t entries)
{
    if (!room->known || entry->prev != newest(room)) {
        empty(cache, room);
        chi_js_cached_begin(room, entry->prev);
    }
    if (!make_place(room)) {
        empty(cache, room);
        chi_js_cached_begin(room, entry->position);
        return;
    }
    room->ring[(room->first + room->count) & (room->cap - 1)] = chi_entry_ref(entry);
    room->count++;
    room->bytes += size_of(entry);
    cache->bytes += size_of(entry);
    keep_bounds(cache, room, entries);
}

void chi_js_cached_extend(struct chi_js_cache *cache, struct chi_js_cached *room,
                          struct chi_entry *const *page, uint32_t count, uint64_t entries)
{
    if (!room->known || room->count >= entries || room->count >= ROOM_ENTRIES)
        return;
    while (count && page[count - 1]->position > room->from)
        count--;
    for (; count; count--) {
        struct chi_entry *entry = page[count - 1];
        bool fits = room->count < entries && room->count < ROOM_ENTRIES &&
                    room->bytes + size_of(entry) <= ROOM_BYTES &&
                    cache->bytes + size_of(entry) <= cache->bound;
        if (entry->position != room->from || !fits || !make_place(room))
            break;
        room->first = (room->first + room->cap - 1) & (room->cap - 1);
        room->ring[room->first] = chi_entry_ref(entry);
        room->count++;
        room->bytes += size_of(entry);
        cache->bytes += size_of(entry);
        room->from = entry->prev;
    }
    touch(cache, room);
}

void chi_js_cached_expire(struct chi_js_cache *cache, struct chi_js_cached *room, uint64_t since)
{
    while (room->count && chi_js_cached_at(room, 0)->time < since)
        drop_oldest(cache, room);
}

/* Where there is no memory for a tombstone, what is up to it goes. */
void chi_js_cached_erase(struct chi_js_cache *cache, struct chi_js_cached *room, uint64_t position)
{
    uint32_t n = 0;
    while (n < room->count && chi_js_cached_at(room, n)->position < position)
        n++;
    if (n == room->count || chi_js_cached_at(room, n)->position != position)
        return;
    struct chi_entry *old = chi_js_cached_at(room, n);
    struct chi_entry *stone = chi_entry_new(old->type, &(struct chi_entry_parts){0});
    if (!stone) {
        for (uint32_t i = 0; i <= n; i++)
            drop_oldest(cache, room);
        return;
    }
    uint32_t saved = size_of(old) - size_of(stone);
    stone->position = old->position;
    stone->prev = old->prev;
    stone->time = old->time;
    room->ring[(room->first + n) & (room->cap - 1)] = stone;
    room->bytes -= saved;
    cache->bytes -= saved;
    chi_entry_unref(old);
}

/* ---------------------------------------------------------------------------------------- pages */

/* The first that is not below a position. */
static uint32_t place_of(const struct chi_js_cached *room, uint64_t position)
{
    uint32_t low = 0, high = room->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (chi_js_cached_at(room, middle)->position < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

int32_t chi_js_cached_find(struct chi_js_cache *cache, struct chi_js_cached *room,
                           const struct chi_log_read *read, uint32_t *first, bool *more)
{
    if (!room->known || read->before <= room->from || (!read->backward && read->after < room->from))
        return -1;
    uint32_t begin = read->after < UINT64_MAX ? place_of(room, read->after + 1) : room->count;
    uint32_t end = place_of(room, read->before), n = 0;
    uint64_t bytes = 0;
    end = end < begin ? begin : end;
    for (; n < end - begin && n < read->limit; n++) {
        uint32_t at = read->backward ? end - 1 - n : begin + n;
        bytes += chi_entry_size(chi_js_cached_at(room, at));
        if (n && bytes > read->bytes)
            break;
    }
    bool all = n == end - begin; /* that are here */
    if (read->backward && all && n < read->limit && room->from && read->after < room->from)
        return -1;
    *first = read->backward ? end - n : begin;
    *more = !all || (read->backward && read->after < room->from);
    touch(cache, room);
    return (int32_t)n;
}
