/* Pages of who is in a room, in the order of the names' comparison keys, and of the public ids of
 * those who are called the same. */
#include "core/internal.h"

#include <stdlib.h>
#include <string.h>

int chi_core_member_needed(struct chi_hub *hub, struct chi_job *job, struct chi_member **out)
{
    struct chi_client *client = job->client;
    struct chi_folded name;

    int r = chi_session_need(hub, job);
    if (r)
        return r;
    if (job->request->room.at) { /* mostly it comes in its normal form */
        *out = chi_core_member_named(hub, client->session, job->request->room);
        if (*out)
            return 0;
    }
    r = chi_core_room_name(hub, client, job->request->room, &name);
    if (r < 0)
        return r;
    struct chi_room *room = chi_core_room_find(hub, name.key);
    *out = room ? chi_core_member(hub, client->session, room) : NULL;
    return *out ? 0 : CHATHUB_ENOTMEMBER;
}

/* The room, for members and for those who observe it. */
static int room_of(struct chi_hub *hub, struct chi_job *job, struct chi_room **room,
                   struct chi_member **self)
{
    struct chi_client *client = job->client;
    struct chi_folded name;

    *self = NULL;
    if (client->observed) {
        int r = chi_core_room_name(hub, client, job->request->room, &name);
        if (r < 0)
            return r;
        *room = chi_core_observed(hub, client);
        if (chi_core_room_find(hub, name.key) == *room)
            return 0;
    }
    int r = chi_core_member_needed(hub, job, self);
    if (r == 0)
        *room = (*self)->room;
    return r;
}

/* A place in the order; an id at NULL: behind all of that name. */
struct rank {
    struct chi_span key, id;
};

static struct rank rank_of(const struct chi_member *member)
{
    return (struct rank){chi_name_key(member->told ? member->told : member->session->name),
                         chi_session_user(member->session)};
}

static int compare_texts(struct chi_span a, struct chi_span b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int order = shorter ? memcmp(a.at, b.at, shorter) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int compare(struct rank a, struct rank b)
{
    int order = compare_texts(a.key, b.key);
    if (order || !a.id.at || !b.id.at)
        return order ? order : (a.id.at == NULL) - (b.id.at == NULL);
    return compare_texts(a.id, b.id);
}

static void sift_down(struct chi_member **heap, uint32_t count)
{
    uint32_t at = 0;
    for (;;) {
        uint32_t most = at, left = 2 * at + 1;
        for (uint32_t child = left; child < count && child < left + 2; child++) {
            if (compare(rank_of(heap[child]), rank_of(heap[most])) > 0)
                most = child;
        }
        if (most == at)
            return;
        struct chi_member *moved = heap[at];
        heap[at] = heap[most];
        heap[most] = moved;
        at = most;
    }
}

static void sift_up(struct chi_member **heap, uint32_t at)
{
    while (at && compare(rank_of(heap[at]), rank_of(heap[(at - 1) / 2])) > 0) {
        struct chi_member *moved = heap[at];
        heap[at] = heap[(at - 1) / 2];
        heap[(at - 1) / 2] = moved;
        at = (at - 1) / 2;
    }
}

/* The `limit` members with the lowest ranks above `after`, in a heap with the highest at its top. */
static uint32_t select_lowest(const struct chi_hub *hub, const struct chi_room *room,
                              const struct chi_member *self, const struct rank *after,
                              struct chi_member **heap, uint32_t limit, bool *more)
{
    const struct chi_chained all = CHI_MEMBERS(hub, in_room);
    uint32_t count = 0;

    *more = false;
    for (struct chi_member *member = chi_chain_first(all, room->members); member;
         member = chi_chain_next(all, room->members, member)) {
        if (!member->told && member != self)
            continue;
        if (after->key.at && compare(rank_of(member), *after) <= 0)
            continue;
        if (count < limit) {
            heap[count] = member;
            sift_up(heap, count++);
            continue;
        }
        *more = true;
        if (compare(rank_of(member), rank_of(heap[0])) < 0) {
            heap[0] = member;
            sift_down(heap, count);
        }
    }
    return count;
}

static void list_in_order(struct chi_hub *hub, struct chi_member **heap, uint32_t count)
{
    for (uint32_t left = count; left; left--) {
        hub->present[left - 1] = chi_presence_of(heap[0]);
        heap[0] = heap[left - 1];
        sift_down(heap, left - 1);
    }
}

static int answer(struct chi_hub *hub, struct chi_job *job, const struct chi_room *room,
                  const struct chi_member *self, const struct rank *after)
{
    uint32_t page = hub->parts.settings->who_page, limit = job->request->limit;
    uint32_t all = chi_presence_count(room, self);

    if (!limit || limit > page)
        limit = page;
    if (limit > all)
        limit = all;
    struct chi_member **heap = malloc((limit + 1) * sizeof *heap);
    if (!heap || !chi_presence_room_for(hub, limit)) {
        free(heap);
        return CHATHUB_ENOMEM;
    }
    struct chi_reply who = {
        .type = CHI_REPLY_WHO,
        .ref = job->request->ref,
        .room = chi_name_shown(room->name),
        .count = all,
        .presence = room->number,
        .time = chi_core_wall(hub),
    };
    if (limit)
        who.present_count = select_lowest(hub, room, self, after, heap, limit, &who.more);
    list_in_order(hub, heap, who.present_count);
    who.present = hub->present;
    free(heap);
    chi_core_reply(hub, job->client, &who);
    return 0;
}

int chi_core_who(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_room *room;
    struct chi_member *self;
    struct chi_folded after = {{NULL, 0}, {NULL, 0}};

    int r = room_of(hub, job, &room, &self);
    if (r == 0 && job->request->name.at)
        r = chi_core_fold(hub, CHI_FOLD_NAME, job->request->name, &after);
    return r ? r : answer(hub, job, room, self, &(struct rank){after.key, job->request->id});
}
