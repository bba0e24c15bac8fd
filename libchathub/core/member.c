/* Places of sessions in rooms. */
#include "core/nodes.h"

static struct chi_member *place_of(const struct chi_hub *hub, const struct chi_session *session,
                                   const struct chi_room *room)
{
    struct chi_member *member = chi_core_member_at(hub, session->members);
    while (member && member->room != room)
        member = chi_core_member_at(hub, member->next);
    return member;
}

struct chi_member *chi_core_member(const struct chi_hub *hub, const struct chi_session *session,
                                   const struct chi_room *room)
{
    struct chi_member *member = place_of(hub, session, room);
    return member && !member->gone ? member : NULL;
}

struct chi_member *chi_core_member_named(const struct chi_hub *hub,
                                         const struct chi_session *session, struct chi_span shown)
{
    for (struct chi_member *member = chi_core_member_at(hub, session->members); member;
         member = chi_core_member_at(hub, member->next)) {
        if (!member->gone && chi_span_equal(chi_name_shown(member->room->name), shown))
            return member;
    }
    return NULL;
}

static void take_name(struct chi_member *member, struct chi_member *old)
{
    struct chi_name *name = member->session->name;
    bool same = chi_span_equal(chi_name_shown(old->told), chi_name_shown(name));
    member->told = same ? chi_name_ref(name) : chi_name_ref(old->told);
    chi_name_unref(old->told);
    old->told = NULL;
}

static void take_drafts(struct chi_hub *hub, struct chi_member *member, struct chi_member *old)
{
    for (struct chi_link *link = hub->drafts.next; old->drafts; link = link->next) {
        struct chi_draft *draft = CHI_CONTAINER(link, struct chi_draft, all);
        if (draft->member != old)
            continue;
        draft->member = member;
        old->drafts--;
        member->drafts++;
    }
}

/* Who ended and is back before the room was told: what the room knows of it goes over to the new
 * member, so that nobody sees the same public id come before it went; and so do its posts that are
 * under way, so that it is not said to have left again before they are resolved. */
static void inherit(struct chi_hub *hub, struct chi_member *member)
{
    const struct chi_chained same = CHI_SESSIONS(hub, same);
    struct chi_session *first = chi_session_lingering(hub, member->session->user);
    struct chi_member *old = NULL;

    for (const struct chi_session *ended = first; ended && !old;
         ended = chi_chain_next(same, first->slot.number + 1, ended))
        old = place_of(hub, ended, member->room);
    if (!old)
        return;
    if (old->told)
        take_name(member, old);
    take_drafts(hub, member, old);
    chi_chain_remove(CHI_MEMBERS(hub, pending), &member->room->pending, old);
    chi_core_member_settle(hub, old);
}

struct chi_member *chi_core_member_add(struct chi_hub *hub, struct chi_session *session,
                                       struct chi_room *room)
{
    struct chi_member *member = place_of(hub, session, room);

    if (!member) {
        member = chi_slots_take(&hub->members);
        if (!member)
            return NULL;
        member->session = session;
        member->room = room;
        member->next = session->members;
        session->members = member->slot.number + 1;
        chi_chain_append(CHI_MEMBERS(hub, in_room), &room->members, member);
        chi_nodes_member(hub, member, true);
        inherit(hub, member);
    }
    member->gone = member->stale = false;
    room->present++;
    session->rooms++;
    hub->counts.members++;
    return member;
}

int chi_core_member_attach(struct chi_hub *hub, struct chi_member *member, uint64_t from)
{
    struct chi_client *client = member->session->client;

    chi_core_observe_stop(hub, client);
    member->position = from;
    member->stale = false;
    int r = CHI_DELIVERY(hub, member_join, member->room->slot.number, client->slot.number, from,
                         chi_core_hears(hub, client));
    if (r < 0)
        return r;
    member->attached = true;
    member->room->live++;
    return 0;
}

void chi_core_member_release(struct chi_hub *hub, struct chi_member *member)
{
    if (!member->held)
        return;
    member->held = false;
    chi_presence_touch(hub, member);
}

void chi_core_member_detach(struct chi_hub *hub, struct chi_member *member, bool told)
{
    uint32_t room = member->room->slot.number;

    if (!member->attached)
        return;
    uint32_t client = member->session->client->slot.number;
    member->position = CHI_DELIVERY(hub, member_position, room, client);
    if (told)
        CHI_DELIVERY(hub, member_leave, room, client);
    member->attached = false;
    member->room->live--;
}

void chi_core_member_end(struct chi_hub *hub, struct chi_member *member, bool told)
{
    chi_core_typing_end(hub, member, true);
    chi_core_member_detach(hub, member, told);
    member->gone = true;
    member->held = false;
    member->room->present--;
    member->session->rooms--;
    hub->counts.members--;
    chi_presence_touch(hub, member);
}

void chi_core_member_settle(struct chi_hub *hub, struct chi_member *member)
{
    struct chi_session *session = member->session;
    struct chi_room *room = member->room;
    uint32_t *at = &session->members;

    if (!member->gone || member->drafts || member->told || chi_chain_linked(&member->pending))
        return;
    while (*at != member->slot.number + 1)
        at = &chi_core_member_at(hub, *at)->next;
    *at = member->next;
    chi_nodes_member(hub, member, false);
    chi_chain_remove(CHI_MEMBERS(hub, in_room), &room->members, member);
    chi_slots_give(&hub->members, member);
    chi_session_settle(hub, session);
    chi_core_room_idle(hub, room);
}
