/* What other nodes say, believed as far as it holds. */
#include "core/nodes_wire.h"

/* What an item is read in. */
struct hearing {
    struct chi_hub *hub;
    struct chi_node *node; /* who says it */
    struct chi_span epoch; /* of its positions */
};

static bool is_user(struct chi_span user)
{
    for (size_t i = 0; i < user.len; i++) {
        char c = user.at[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '_'))
            return false;
    }
    return user.len == CHI_USER_LEN;
}

/* As chi_core_fold, of a text that may be anything. */
static bool fold(struct chi_hub *hub, enum chi_fold_kind kind, struct chi_span text,
                 struct chi_folded *out)
{
    bool good =
        text.len && chi_utf8_valid(text.at, text.len) && chi_core_fold(hub, kind, text, out) == 0;
    hub->problem[0] = '\0';
    return good;
}

static struct chi_session *session_of(const struct hearing *h, struct chi_span user)
{
    return user.len == CHI_USER_LEN ? chi_session_by_user(h->hub, user.at) : NULL;
}

static bool is_its(const struct hearing *h, const struct chi_session *session)
{
    return session && session->remote &&
           chi_origin_of(h->hub->nodes, session)->node == h->node->slot.number + 1;
}

/* --------------------------------------------------------------------------------------- places */

static struct chi_room *room_for(const struct hearing *h, struct chi_span shown)
{
    struct chi_hub *hub = h->hub;
    struct chi_folded name;

    if (!fold(hub, CHI_FOLD_ROOM, shown, &name))
        return NULL;
    struct chi_room *room = chi_core_room_find(hub, name.key);
    if (room || !hub->parts.settings->create_rooms)
        return room;
    room = chi_core_room_heard(hub, &name);
    if (!room) {
        h->node->refused = true;
        chi_nodes_complain(hub, "rooms");
    }
    return room;
}

static void stand(const struct hearing *h, struct chi_member *member,
                  const struct chi_wire_place *place)
{
    struct chi_log *log = h->hub->parts.log;

    member->position = place->position <= CHI_POSITION_MAX ? place->position : 0;
    member->stale = (place->flags & CHI_WIRE_STALE) || place->position > CHI_POSITION_MAX ||
                    !log->holds(log, h->epoch, place->position);
}

/* `guessed`: who took it over does not know yet where it stands. */
static void take_place(const struct hearing *h, struct chi_session *session,
                       const struct chi_wire_place *place, bool guessed)
{
    struct chi_hub *hub = h->hub;
    struct chi_room *room = room_for(h, place->room);
    struct chi_member *member = room ? chi_core_member(hub, session, room) : NULL;
    bool is_new = room && !member;

    if (is_new && session->rooms < hub->parts.settings->max_client_rooms) {
        member = chi_core_member_add(hub, session, room);
        h->node->refused |= !member;
    }
    if (!member) {
        if (room)
            chi_core_room_idle(hub, room);
        return;
    }
    member->shared = true;
    if (!member->attached && (is_new || !guessed))
        stand(h, member, place);
    if (is_new)
        chi_presence_touch(hub, member);
}

/* The session is where the places say; `all`: and nowhere else. */
static void take_places(const struct hearing *h, struct chi_session *session,
                        const struct chi_wire_session *said, bool all)
{
    struct chi_hub *hub = h->hub;
    struct chi_wire places = {.left = said->places};
    struct chi_wire_place place;
    struct chi_member *member, *next;

    for (member = chi_core_member_at(hub, session->members); member && all;
         member = chi_core_member_at(hub, member->next))
        member->shared = false;
    for (uint32_t i = 0; i < said->rooms && chi_wire_read_place(&places, &place); i++)
        take_place(h, session, &place, said->flags & CHI_WIRE_WANTS);
    for (member = chi_core_member_at(hub, session->members); member && all; member = next) {
        next = chi_core_member_at(hub, member->next);
        if (!member->gone && !member->shared)
            chi_core_member_end(hub, member, false);
    }
}

/* ------------------------------------------------------------------------------------- sessions */

/* Of two with one name. */
static bool is_later(const struct chi_nodes *nodes, const struct chi_session *a,
                     const struct chi_session *b)
{
    uint64_t at = chi_origin_of(nodes, a)->named_at, other = chi_origin_of(nodes, b)->named_at;

    return at != other ? at > other : memcmp(a->user, b->user, CHI_USER_LEN) > 0;
}

void chi_nodes_settle_name(struct chi_hub *hub, struct chi_session *session)
{
    const struct chi_chained same = CHI_SESSIONS(hub, same);
    struct chi_session *first = chi_session_by_name(hub, chi_name_key(session->name));
    struct chi_session *one = first, *loser = NULL;

    if (chi_origin_of(hub->nodes, session)->shares)
        return;
    for (; one && loser != session; one = chi_chain_next(same, first->slot.number + 1, one)) {
        if (one == session || chi_origin_of(hub->nodes, one)->shares)
            continue;
        struct chi_session *later = is_later(hub->nodes, one, session) ? one : session;
        loser = later->remote ? loser : later;
    }
    if (loser)
        chi_session_lose_name(hub, loser);
}

static void take_name(const struct hearing *h, struct chi_session *session, struct chi_span text)
{
    struct chi_folded folded;

    if (chi_span_equal(chi_name_shown(session->name), text) ||
        !fold(h->hub, CHI_FOLD_NAME, text, &folded) ||
        chi_span_equal(chi_name_shown(session->name), folded.shown))
        return;
    struct chi_name *name = chi_name_new(folded.shown, folded.key);
    if (!name || chi_session_rename(h->hub, session, name) < 0) {
        chi_name_unref(name);
        h->node->refused = true;
    }
}

static void take_status(const struct hearing *h, struct chi_session *session, struct chi_span text)
{
    if (chi_span_equal(chi_span_of(session->status), text) || !chi_utf8_valid(text.at, text.len) ||
        chi_core_check_status(h->hub, text) < 0)
        h->hub->problem[0] = '\0';
    else if (chi_core_set_status(h->hub, session, text) < 0)
        h->node->refused = true; /* asked for again, here and below */
}

/* Somebody else's claim is higher: it is closed here, and said where it stood. */
static void give_up(const struct hearing *h, struct chi_session *session,
                    const struct chi_wire_session *said)
{
    struct chi_hub *hub = h->hub;
    struct chi_buf places = {0};

    chi_nodes_gave(hub, session);
    chi_session_yield(hub, session);
    chi_origin_of(hub->nodes, session)->version = said->version;
    if (said->flags & CHI_WIRE_WANTS) {
        chi_wire_add_session(hub, &places, CHI_WIRE_PLACES, session);
        if (!places.failed)
            chi_nodes_send(hub, h->node->id, CHI_WIRE_GIVEN,
                           (struct chi_span){places.at, places.len});
        chi_buf_fini(&places);
    }
}

/* Whether the claim is above that of who has the session now. */
static bool is_higher(const struct hearing *h, const struct chi_session *session, uint64_t version)
{
    const struct chi_nodes *nodes = h->hub->nodes;
    const struct chi_origin *origin = chi_origin_of(nodes, session);
    uint64_t owner = h->hub->parts.bus->node;

    if (session->remote) {
        const struct chi_node *node = chi_slots_at(&nodes->nodes, origin->node - 1);
        owner = node->id;
    }
    return version != origin->version ? version > origin->version : h->node->id > owner;
}

static struct chi_session *new_session(const struct hearing *h, const struct chi_wire_session *said)
{
    struct chi_hub *hub = h->hub;
    struct chi_session *session = NULL;
    struct chi_folded folded;

    if (hub->nodes->remote >= hub->parts.settings->max_remote) {
        h->node->refused = true;
        chi_nodes_complain(hub, "sessions");
        return NULL;
    }
    if (!fold(hub, CHI_FOLD_NAME, said->name, &folded))
        return NULL;
    struct chi_name *name = chi_name_new(folded.shown, folded.key);
    if (!name || chi_session_heard(hub, said->user, name, &session) < 0) {
        chi_name_unref(name);
        h->node->refused = true;
    }
    return session;
}

/* Nobody is closed for a claim of a node where nobody shows the key, however high: that clock is
 * ahead, or the session came home while its keeper was not heard. */
static void claim_again(const struct hearing *h, struct chi_session *session, uint64_t above)
{
    struct chi_hub *hub = h->hub;

    h->node->refused = true;
    chi_origin_of(hub->nodes, session)->version = chi_nodes_version(hub, above);
    chi_nodes_touched(hub, session);
}

/* Whether it is still here only since not all can end at once. */
static bool has_ended(const struct chi_nodes *nodes, const struct chi_session *session)
{
    const struct chi_origin *origin = chi_origin_of(nodes, session);

    return session->remote &&
           chi_node_ended(chi_slots_at(&nodes->nodes, origin->node - 1), origin->mark);
}

/* The session as this node's, or NULL: it is passed over. */
static struct chi_session *claimed(const struct hearing *h, const struct chi_wire_session *said)
{
    struct chi_hub *hub = h->hub;
    struct chi_session *session = chi_session_by_user(hub, said->user);

    if (!session) {
        if (chi_nodes_is_past(hub, said->user, said->version)) {
            h->node->refused = true; /* if it was not that claim which ended: asked for later */
            return NULL;
        }
        session = new_session(h, said);
    } else if (has_ended(hub->nodes, session)) {
        ; /* whoever claims it has it */
    } else if (is_its(h, session)) {
        if (said->version < chi_origin_of(hub->nodes, session)->version) {
            /* A new one of that user, if the end of the old one was lost. */
            h->node->refused = true;
            return NULL;
        }
    } else if (!is_higher(h, session, said->version)) {
        h->node->refused = true;
        chi_nodes_touched(hub, session);
        return NULL;
    } else if (session->client && !(said->flags & (CHI_WIRE_CONNECTED | CHI_WIRE_WANTS))) {
        claim_again(h, session, said->version);
        return NULL;
    } else if (!session->remote) {
        give_up(h, session, said);
    }
    if (!session)
        return NULL;
    chi_nodes_link(hub, session, h->node);
    if (hub->nodes->remote <= hub->parts.settings->max_remote)
        return session;
    h->node->refused = true; /* it was this node's, and is one too many now */
    chi_nodes_complain(hub, "sessions");
    chi_session_end(hub, session);
    return NULL;
}

static void hear_session(const struct hearing *h, struct chi_wire *item)
{
    struct chi_wire_session said;

    if (!chi_wire_read_session(item, &said) || !is_user((struct chi_span){said.user, CHI_USER_LEN}))
        return;
    if (said.version > chi_core_wall(h->hub) + CHI_NODES_AHEAD) {
        chi_nodes_complain(h->hub, "version"); /* one of the two clocks is wrong */
        return;
    }
    struct chi_session *session = claimed(h, &said);
    if (!session)
        return;
    struct chi_origin *origin = chi_origin_of(h->hub->nodes, session);
    origin->version = said.version;
    origin->named_at = said.named_at;
    origin->shares = said.flags & CHI_WIRE_SHARES;
    origin->lost = !(said.flags & CHI_WIRE_CONNECTED);
    origin->returns = said.flags & CHI_WIRE_RETURNS;
    take_name(h, session, said.name);
    take_status(h, session, said.status);
    take_places(h, session, &said, !(said.flags & CHI_WIRE_WANTS));
    chi_nodes_settle_name(h->hub, session);
}

static void hear_ended(const struct hearing *h, struct chi_wire *item)
{
    struct chi_session *session = session_of(h, chi_wire_bytes(item, CHI_USER_LEN));
    uint64_t version = chi_wire_number(item, 8);

    if (!item->is_short && is_its(h, session) &&
        version >= chi_origin_of(h->hub->nodes, session)->version) {
        chi_nodes_past(h->hub, session->user, version);
        chi_session_end(h->hub, session);
    }
}

static struct chi_member *member_of(const struct hearing *h, const struct chi_session *session,
                                    struct chi_span shown)
{
    struct chi_folded name;

    if (!session || !fold(h->hub, CHI_FOLD_ROOM, shown, &name))
        return NULL;
    struct chi_room *room = chi_core_room_find(h->hub, name.key);
    return room ? chi_core_member(h->hub, session, room) : NULL;
}

static void hear_typing(const struct hearing *h, struct chi_wire *item)
{
    struct chi_session *session = session_of(h, chi_wire_bytes(item, CHI_USER_LEN));
    uint64_t how = chi_wire_number(item, 1);
    struct chi_span room = chi_wire_text(item);

    if (item->is_short || !is_its(h, session))
        return;
    struct chi_member *member = member_of(h, session, room);
    if (member && how == CHI_NODES_TYPES)
        chi_core_typing_begin(h->hub, member);
    else if (member)
        chi_core_typing_end(h->hub, member, how != CHI_NODES_POSTED);
}

/* They are only looked for, never shown. */
static bool is_key(const struct hearing *h, struct chi_span key)
{
    const struct chi_settings *settings = h->hub->parts.settings;
    uint32_t max =
        settings->max_name > settings->max_room_name ? settings->max_name : settings->max_room_name;
    return key.len && key.len <= (size_t)max * 4 && !memchr(key.at, '\0', key.len);
}

static void hear_stood(const struct hearing *h, struct chi_wire *item)
{
    struct chi_stood_place place;

    place.position = chi_wire_number(item, 8);
    place.age = chi_wire_number(item, 8);
    place.dropped = chi_wire_number(item, 1);
    place.epoch = chi_wire_bytes(item, CHI_EPOCH_LEN);
    place.name = chi_wire_text(item);
    place.room = chi_wire_text(item);
    if (!item->is_short && place.position <= CHI_POSITION_MAX && is_key(h, place.name) &&
        is_key(h, place.room))
        chi_core_stood_heard(h->hub, &place);
}

/* ------------------------------------------------------------------------------- to this one alone */

/* Where the cursors of a session stood that was taken over. */
static void hear_places(const struct hearing *h, struct chi_wire *item)
{
    struct chi_hub *hub = h->hub;
    struct chi_wire_session said;

    if (!chi_wire_read_session(item, &said))
        return;
    struct chi_session *session = chi_session_by_user(hub, said.user);
    struct chi_origin *origin = session ? chi_origin_of(hub->nodes, session) : NULL;
    if (!session || session->remote || !origin->await || origin->version != said.version)
        return;
    origin->await = 0;
    take_places(h, session, &said, false);
    chi_nodes_touched(hub, session);
    for (struct chi_link *link = hub->nodes->taking.next, *next; link != &hub->nodes->taking;
         link = next) {
        struct chi_job *job = CHI_CONTAINER(link, struct chi_job, link);
        next = link->next;
        if (job->taken != session->slot.number + 1)
            continue;
        chi_timers_clear(&hub->timers, &job->timer);
        chi_core_job_ready(hub, job);
    }
}

static void hear_words(const struct hearing *h, struct chi_wire *item)
{
    struct chi_hub *hub = h->hub;
    struct chi_session *to = session_of(h, chi_wire_bytes(item, CHI_USER_LEN));
    struct chi_span user = chi_wire_bytes(item, CHI_USER_LEN);
    struct chi_span room = chi_wire_text(item), name = chi_wire_text(item);
    struct chi_span content = chi_wire_bytes(item, (size_t)chi_wire_number(item, 4));
    struct chi_folded folded;

    if (item->is_short || !to || !to->client || to->client->full || !is_user(user) ||
        !content.len || content.len > hub->parts.settings->max_content ||
        !chi_utf8_valid(content.at, content.len) || !chi_text_clean(content.at, content.len))
        return;
    const struct chi_member *member = member_of(h, to, room);
    if (!member || !fold(hub, CHI_FOLD_NAME, name, &folded))
        return;
    chi_core_reply(hub, to->client,
                   &(struct chi_reply){.type = CHI_REPLY_PRIVATE,
                                       .room = chi_name_shown(member->room->name),
                                       .name = folded.shown,
                                       .user = user,
                                       .message = content,
                                       .number = ++hub->numbered,
                                       .time = chi_core_wall(hub)});
}

/* ------------------------------------------------------------------------------- its state, its end */

/* What it did not name in all that it told. */
static void end_unnamed(const struct hearing *h)
{
    h->node->kept = h->node->mark;
    h->hub->nodes->ends = true;
    chi_core_wake(h->hub);
}

/* Answers whether the part is one that is awaited. */
static bool begin_part(const struct hearing *h, struct chi_wire *wire, bool *last)
{
    struct chi_node *node = h->node;
    struct chi_wire item;
    uint8_t kind;

    if (!node->wanted || !chi_wire_read_item(wire, &kind, &item) || kind != CHI_WIRE_PART)
        return false;
    uint32_t part = (uint32_t)chi_wire_number(&item, 4);
    *last = chi_wire_number(&item, 1);
    if (item.is_short || !part || (part != 1 && part != node->part)) {
        node->part = 0; /* one was lost: it is asked for again */
        return false;
    }
    if (part == 1)
        node->mark++;
    node->part = part + 1;
    node->asked_at = chi_core_now(h->hub);
    return true;
}

static void end_all(const struct hearing *h)
{
    struct chi_node *node = h->node;
    bool again = node->again;

    end_unnamed(h);
    h->hub->nodes->placed |= h->hub->nodes->placed_by == node->id;
    node->wanted = node->again = false;
    node->part = 0;
    if (again)
        chi_nodes_ask(h->hub, node);
}

/* Its sessions may come back anywhere: the first of those who stay keeps them until then. Who does
 * not hear that of that one lets them end when the lease is over. */
static void hear_bye(const struct hearing *h)
{
    struct chi_hub *hub = h->hub;
    struct chi_nodes *nodes = hub->nodes;
    uint64_t now = chi_core_now(hub);
    bool mine = true;

    h->node->bye_at = now ? now : 1;
    for (uint32_t i = 0; i < nodes->nodes.made; i++) {
        const struct chi_node *node = chi_slots_at(&nodes->nodes, i);
        mine &= !node || node->bye_at || node->id > hub->parts.bus->node;
    }
    h->node->keeps = mine;
    h->node->mark++;
    nodes->ends = true;
    chi_core_wake(hub);
}

/* ------------------------------------------------------------------------------------- messages */

static void hear_item(const struct hearing *h, uint8_t kind, struct chi_wire *item)
{
    switch (kind) {
    case CHI_WIRE_SESSION:
        hear_session(h, item);
        return;
    case CHI_WIRE_ENDED:
        hear_ended(h, item);
        return;
    case CHI_WIRE_TYPING:
        hear_typing(h, item);
        return;
    case CHI_WIRE_STOOD:
        hear_stood(h, item);
        return;
    case CHI_WIRE_PLACES:
        hear_places(h, item);
        return;
    case CHI_WIRE_WORDS:
        hear_words(h, item);
        return;
    default:
        return;
    }
}

void chi_nodes_apply(struct chi_hub *hub, struct chi_node *node, struct chi_span bytes)
{
    struct chi_wire wire = {.left = bytes}, item;
    struct chi_wire_head head;
    uint8_t kind;
    bool last = false;

    if (node->bye_at || !chi_wire_read_head(&wire, &head))
        return;
    struct hearing h = {.hub = hub, .node = node, .epoch = head.epoch};
    if (head.kind == CHI_WIRE_BYE)
        hear_bye(&h);
    if (head.kind == CHI_WIRE_ALL && !begin_part(&h, &wire, &last))
        return;
    if (head.kind != CHI_WIRE_ALL && head.kind != CHI_WIRE_DIFFERENCES &&
        head.kind != CHI_WIRE_GIVEN && head.kind != CHI_WIRE_PRIVATE)
        return;
    while (chi_wire_read_item(&wire, &kind, &item))
        hear_item(&h, kind, &item);
    if (last)
        end_all(&h);
}
