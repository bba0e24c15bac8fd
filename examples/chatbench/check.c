#include "check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void fault(struct cb_faults *faults, uint64_t *kind, const char *what,
                  const struct cb_entry *entry, uint64_t other)
{
    (*kind)++;
    if (!faults->first[0]) {
        snprintf(faults->first, sizeof faults->first,
                 "%s: position %" PRIu64 ", prev %" PRIu64 ", post %" PRIu32 " of client %" PRIu32
                 "; expected %" PRIu64,
                 what, entry->position, entry->prev, entry->n, entry->poster, other);
    }
}

/* Index of the first reference entry with a position above `position`. */
static uint32_t above(const struct cb_room *room, uint64_t position)
{
    uint32_t low = 0, high = room->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (room->entries[middle].position > position) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    return low;
}

static bool append(struct cb_room *room, const struct cb_entry *entry, uint32_t *next,
                   struct cb_faults *faults)
{
    if (room->count == room->cap) {
        uint32_t cap = room->cap ? room->cap * 2 : 16;
        struct cb_entry *more = realloc(room->entries, cap * sizeof *more);
        if (!more) {
            return false;
        }
        room->entries = more;
        room->cap = cap;
    }
    room->entries[room->count++] = *entry;
    if (entry->poster != CB_FOREIGN) {
        if (entry->n != next[entry->poster]) {
            fault(faults, &faults->disorder, "a poster's posts do not count up", entry,
                  next[entry->poster]);
        }
        next[entry->poster] = entry->n + 1;
    }
    return true;
}

bool cb_check_entry(struct cb_room *room, struct cb_member *member, const struct cb_entry *entry,
                    uint32_t *next, struct cb_faults *faults)
{
    if (entry->position <= member->last) {
        fault(faults, &faults->doubled, "shown again", entry, member->last);
        return true;
    }
    if (member->known && entry->prev != member->last) {
        fault(faults, &faults->holes, "a hole", entry, member->last);
    }
    uint32_t i = member->index;
    if (i >= room->count || room->entries[i].position != entry->position) {
        i = above(room, entry->position - 1);
    }
    if (i == room->count && !append(room, entry, next, faults)) {
        return false;
    }
    const struct cb_entry *same = &room->entries[i];
    if (same->position != entry->position || same->poster != entry->poster || same->n != entry->n) {
        fault(faults, &faults->disorder, "members saw different entries", entry, same->position);
    } else if (same->hash != entry->hash) {
        fault(faults, &faults->altered, "members saw different texts", entry, same->position);
    }
    member->index = i + 1;
    member->last = entry->position;
    member->known = true;
    member->got += entry->poster != CB_FOREIGN;
    return true;
}

bool cb_check_chained(const struct cb_room *room)
{
    const struct cb_entry *last = &room->entries[room->count - 1];
    return last->prev < last->position && (room->count == 1 || last->prev == last[-1].position);
}

bool cb_check_follows(const struct cb_room *room, const struct cb_member *member)
{
    return member->known && member->index < room->count &&
           room->entries[member->index].prev == member->last;
}

void cb_check_run(const struct cb_room *room, struct cb_member *member, uint32_t count,
                  uint32_t ours)
{
    member->index += count;
    member->last = room->entries[member->index - 1].position;
    member->got += ours;
}

void cb_check_altered(const struct cb_entry *entry, struct cb_faults *faults)
{
    fault(faults, &faults->altered, "not the text that was posted", entry, entry->position);
}

void cb_check_gap(const struct cb_room *room, struct cb_member *member, uint64_t from, uint64_t to)
{
    if (from < member->last) {
        from = member->last;
    }
    uint32_t end = above(room, to);
    for (uint32_t i = above(room, from); i < end; i++) {
        member->gapped += room->entries[i].poster != CB_FOREIGN;
    }
    member->index = end;
    member->last = to > member->last ? to : member->last;
    member->known = true;
}
