/* Sessions of other nodes end by thousands: their node went, or does not name them any more. Each turn
 * ends some.
 *
 * A node's sessions stand in the order in which it told them last, and its mark goes up with each time
 * that it tells all: so those that it did not name stand first, and are told by their marks. */
#include "core/nodes.h"

static struct chi_session *session_of(const struct chi_hub *hub, const struct chi_origin *origin)
{
    return chi_slots_at(&hub->sessions, origin->slot.number);
}

/* Of a node that said that it stops. */
static void leave_behind(struct chi_hub *hub, struct chi_node *node, struct chi_origin *origin)
{
    const struct chi_settings *settings = hub->parts.settings;

    origin->lost = true;
    if (!origin->returns || !settings->return_time || !settings->max_sessions)
        chi_session_end(hub, session_of(hub, origin));
    else if (node->keeps)
        chi_nodes_adopt(hub, session_of(hub, origin), false);
    else
        chi_nodes_link(hub, session_of(hub, origin), node); /* it was looked at */
}

/* Answers how many may still be. */
static uint32_t end_some_of(struct chi_hub *hub, struct chi_node *node, uint32_t most)
{
    const struct chi_chained of_node = CHI_OF_NODE(hub->nodes);

    while (most && node->sessions) {
        struct chi_origin *origin = chi_chain_first(of_node, node->sessions);
        if (chi_node_ended(node, origin->mark))
            chi_session_end(hub, session_of(hub, origin));
        else if (node->bye_at && origin->mark != node->mark)
            leave_behind(hub, node, origin);
        else
            break;
        most--;
    }
    if (!node->id && !node->sessions)
        chi_slots_give(&hub->nodes->nodes, node);
    return most;
}

void chi_nodes_end_some(struct chi_hub *hub, uint32_t most)
{
    struct chi_nodes *nodes = hub->nodes;

    if (!nodes->ends)
        return;
    for (uint32_t i = 0; i < nodes->nodes.made && most; i++) {
        struct chi_node *node = chi_slots_at(&nodes->nodes, i);
        if (node)
            most = end_some_of(hub, node, most);
    }
    nodes->ends = !most;
    if (nodes->ends)
        chi_core_wake(hub);
}
