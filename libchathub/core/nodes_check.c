/* For tests: whether what is known of other nodes agrees with what the hub knows of sessions. */
#include "core/nodes.h"

#define CHECK(holds, fault)                                                                        \
    do {                                                                                           \
        if (!(holds))                                                                              \
            return fault;                                                                          \
    } while (0)

static const char *check_node(const struct chi_hub *hub, const struct chi_node *node,
                              uint64_t *remote, uint64_t *held)
{
    const struct chi_nodes *nodes = hub->nodes;
    uint32_t count = 0, mark = 0;

    CHECK(node->id || nodes->ends, "a node that went is kept");
    for (const struct chi_origin *o = chi_chain_first(CHI_OF_NODE(nodes), node->sessions); o;
         o = chi_chain_next(CHI_OF_NODE(nodes), node->sessions, o)) {
        const struct chi_session *session = chi_slots_at(&hub->sessions, o->slot.number);
        CHECK(session && session->remote && !session->ended && o->node == node->slot.number + 1,
              "a node has a session that is not its own");
        CHECK(!count || (int32_t)(o->mark - mark) >= 0, "a node's sessions are not in order");
        CHECK(nodes->ends || !chi_node_ended(node, o->mark), "what has ended is kept");
        mark = o->mark;
        count++;
    }
    CHECK(count == node->session_count, "a node's count of sessions is wrong");
    for (const struct chi_link *at = node->heard.next; at != &node->heard; at = at->next)
        *held += CHI_CONTAINER(at, struct chi_heard, link)->len;
    *remote += count;
    return NULL;
}

static const char *check_session(const struct chi_hub *hub, const struct chi_session *session)
{
    const struct chi_origin *origin = chi_origin_of(hub->nodes, session);

    CHECK(origin->slot.number == session->slot.number, "a session's origin is another's");
    CHECK(session->remote || !origin->node, "an own session is of another node");
    CHECK(!session->remote || session->ended || origin->node, "another node's session is of none");
    CHECK(!session->remote || !session->client, "another node's session has a client here");
    CHECK(!session->remote || !chi_chain_linked(&origin->dirty),
          "of another node's session is told");
    CHECK(!session->remote || !chi_chain_linked(&session->lost), "another node's session is lost");
    CHECK(!origin->await || !session->remote, "another node's session waits for its places");
    return NULL;
}

static const char *check_rooms(const struct chi_hub *hub)
{
    for (uint32_t i = 0; i < hub->rooms.made; i++) {
        const struct chi_room *room = chi_slots_at(&hub->rooms, i);
        const struct chi_chained in_room = CHI_MEMBERS(hub, in_room);
        uint64_t own = 0;
        if (!room)
            continue;
        for (const struct chi_member *m = chi_chain_first(in_room, room->members); m;
             m = chi_chain_next(in_room, room->members, m))
            own += !m->session->remote;
        CHECK(own == *(uint64_t *)chi_paged_at(&hub->nodes->own, i),
              "a room's count of this node's members is wrong");
    }
    return NULL;
}

const char *chi_nodes_check(const struct chi_hub *hub)
{
    const struct chi_nodes *nodes = hub->nodes;
    uint64_t remote = 0, held = 0, seen = 0;
    const char *fault = NULL;

    if (!nodes)
        return NULL;
    for (uint32_t i = 0; i < nodes->nodes.made && !fault; i++) {
        const struct chi_node *node = chi_slots_at(&nodes->nodes, i);
        fault = node ? check_node(hub, node, &remote, &held) : NULL;
    }
    for (uint32_t i = 0; i < hub->sessions.made && !fault; i++) {
        const struct chi_session *session = chi_slots_at(&hub->sessions, i);
        fault = session ? check_session(hub, session) : NULL;
        seen += session && session->remote && !session->ended;
    }
    if (fault)
        return fault;
    CHECK(remote == nodes->remote && remote == seen, "the count of remote sessions is wrong");
    CHECK(held == nodes->held_bytes, "the bytes of waiting messages are wrong");
    CHECK(nodes->gone || nodes->beat.place, "no beat is due");
    CHECK(nodes->held_bytes <= CHI_NODES_QUEUE, "too much waits");
    return check_rooms(hub);
}
