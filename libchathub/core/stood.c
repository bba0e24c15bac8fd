/* Where the last sessions of names stood, for clients that know no positions: when somebody of that
 * name comes into the room again, it goes on there.
 *
 * Bounded in number and time; what cannot be remembered for want of memory is not: its name then
 * comes anew. */
#include "core/nodes.h"

#include <stdlib.h>
#include <string.h>

struct place {
    struct chi_link link;      /* in hub->stood_order */
    uint64_t position;         /* up to which it was sent … */
    char epoch[CHI_EPOCH_LEN]; /* … under this epoch */
    uint64_t at;               /* when it was remembered, ms */
    size_t len;                /* of the key in the map: … */
    char key[];                /* … the name's, a NUL, the room's */
};

static bool make_key(struct chi_hub *hub, struct chi_span one, struct chi_span two)
{
    struct chi_buf *key = &hub->stood_key;

    chi_buf_reset(key, 1024);
    chi_buf_add(key, one.at, one.len);
    chi_buf_add_char(key, '\0');
    chi_buf_add(key, two.at, two.len);
    return !key->failed;
}

static void take_out(struct chi_hub *hub, struct place *place)
{
    if (hub->stood_next == &place->link)
        hub->stood_next = place->link.next;
    chi_list_remove(&place->link);
}

/* It is in hub->stood_order no more. */
static void place_free(struct chi_hub *hub, struct place *place)
{
    chi_map_remove(hub->stood, place->key, place->len);
    free(place);
}

static bool first_is_old(const struct chi_hub *hub)
{
    const struct chi_settings *settings = hub->parts.settings;
    const struct place *first = CHI_CONTAINER(hub->stood_order.next, struct place, link);

    return chi_map_count(hub->stood) > settings->replay_names ||
           chi_core_now(hub) - first->at >= settings->replay_time;
}

static void forget_old(struct chi_hub *hub)
{
    while (!chi_list_empty(&hub->stood_order) && first_is_old(hub)) {
        if (hub->stood_next == hub->stood_order.next)
            hub->stood_next = hub->stood_next->next;
        place_free(hub, CHI_CONTAINER(chi_list_take(&hub->stood_order), struct place, link));
    }
}

static struct place *find(struct chi_hub *hub, struct chi_span name, struct chi_span room)
{
    if (!hub->stood || !make_key(hub, name, room))
        return NULL;
    return chi_map_get(hub->stood, hub->stood_key.at, hub->stood_key.len);
}

/* A place for the key in hub->stood_key; NULL: no memory. */
static struct place *make(struct chi_hub *hub)
{
    const struct chi_buf *key = &hub->stood_key;
    uint8_t secret[16];

    if (!hub->stood) {
        hub->parts.env.ops->random(hub->parts.env.self, secret, sizeof secret);
        hub->stood = chi_map_new(secret);
    }
    struct place *place = hub->stood ? malloc(sizeof *place + key->len) : NULL;
    if (!place)
        return NULL;
    *place = (struct place){.len = key->len};
    memcpy(place->key, key->at, key->len);
    if (chi_map_put(hub->stood, key->at, key->len, place) == 0)
        return place;
    free(place);
    return NULL;
}

/* Where it belongs by its age: what is told late is mostly of just now. */
static void put_in_order(struct chi_hub *hub, struct place *place)
{
    struct chi_link *before = hub->stood_order.prev;

    while (before != &hub->stood_order && CHI_CONTAINER(before, struct place, link)->at > place->at)
        before = before->prev;
    place->link = (struct chi_link){before, before->next};
    before->next->prev = &place->link;
    before->next = &place->link;
}

static void remember(struct chi_hub *hub, const struct chi_stood_place *stood)
{
    struct place *place = find(hub, stood->name, stood->room);
    uint64_t now = chi_core_now(hub), at = stood->age < now ? now - stood->age : 0;

    if (place && place->at > at)
        return;

    if (!hub->parts.settings->replay_names || stood->epoch.len != CHI_EPOCH_LEN ||
        !make_key(hub, stood->name, stood->room))
        return;
    if (!place)
        place = make(hub);
    if (!place)
        return;
    place->position = stood->position;
    place->at = at;
    memcpy(place->epoch, stood->epoch.at, CHI_EPOCH_LEN);
    take_out(hub, place);
    put_in_order(hub, place);
    forget_old(hub);
}

/* false: there was none. */
static bool drop(struct chi_hub *hub, struct chi_span name, struct chi_span room)
{
    struct place *place = find(hub, name, room);
    if (!place)
        return false;
    take_out(hub, place);
    place_free(hub, place);
    return true;
}

void chi_core_stood(struct chi_hub *hub, const struct chi_member *member)
{
    const struct chi_name *name = member->session->name;
    struct chi_stood_place stood = {
        .name = chi_name_key(name),
        .room = chi_name_key(member->room->name),
        .epoch = hub->parts.log->epoch(hub->parts.log),
        .position = member->position,
    };
    if (member->stale)
        return;
    remember(hub, &stood);
    chi_nodes_stood(hub, &stood);
}

void chi_core_stood_heard(struct chi_hub *hub, const struct chi_stood_place *place)
{
    if (place->dropped)
        drop(hub, place->name, place->room);
    else
        remember(hub, place);
}

bool chi_core_stood_find(struct chi_hub *hub, const struct chi_name *name,
                         const struct chi_room *room, struct chi_start *out)
{
    forget_old(hub);
    const struct place *place = find(hub, chi_name_key(name), chi_name_key(room->name));
    if (!place)
        return false;
    *out = (struct chi_start){.kind = CHI_START_AFTER,
                              .position = place->position,
                              .epoch = {place->epoch, CHI_EPOCH_LEN}};
    return true;
}

void chi_core_stood_drop(struct chi_hub *hub, const struct chi_name *name,
                         const struct chi_room *room)
{
    struct chi_stood_place stood = {
        .name = chi_name_key(name),
        .room = chi_name_key(room->name),
        .epoch = hub->parts.log->epoch(hub->parts.log),
        .dropped = true,
    };
    if (drop(hub, stood.name, stood.room) && stood.epoch.len == CHI_EPOCH_LEN)
        chi_nodes_stood(hub, &stood);
}

void chi_core_stood_list(struct chi_hub *hub)
{
    hub->stood_next = hub->stood_order.next;
}

bool chi_core_stood_next(struct chi_hub *hub, struct chi_stood_place *out)
{
    if (!hub->stood_next || hub->stood_next == &hub->stood_order) {
        hub->stood_next = NULL;
        return false;
    }
    const struct place *place = CHI_CONTAINER(hub->stood_next, struct place, link);
    size_t name = strlen(place->key);
    *out = (struct chi_stood_place){
        .name = {place->key, name},
        .room = {place->key + name + 1, place->len - name - 1},
        .epoch = {place->epoch, CHI_EPOCH_LEN},
        .position = place->position,
        .age = chi_core_now(hub) - place->at,
    };
    hub->stood_next = hub->stood_next->next;
    return true;
}

void chi_core_stood_free(struct chi_hub *hub)
{
    struct chi_link *link;
    while ((link = chi_list_take(&hub->stood_order)) != NULL)
        place_free(hub, CHI_CONTAINER(link, struct place, link));
    chi_map_free(hub->stood);
    chi_buf_fini(&hub->stood_key);
}
