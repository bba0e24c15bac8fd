/* What this node says to the others: what changed, all that there is, signs, that it goes. */
#include "core/nodes_wire.h"

#include <string.h>

/* The bus took no more. */
#define PAUSE_MS 20u
/* Of one message at most: a loop is not kept from its other work for longer. */
#define MESSAGE_MAX (64u << 10)
/* Between two complaints about room, ms. */
#define COMPLAIN_MS 60000u
static size_t most(const struct chi_hub *hub)
{
    return hub->parts.bus->most < MESSAGE_MAX ? hub->parts.bus->most : MESSAGE_MAX;
}

static void complain(struct chi_hub *hub, const char *what, struct chi_span user)
{
    struct chi_nodes *nodes = hub->nodes;
    uint64_t now = chi_core_now(hub);

    if (nodes->complained_at && now - nodes->complained_at < COMPLAIN_MS)
        return;
    nodes->complained_at = now ? now : 1;
    const struct chi_field fields[] = {{"bound", chi_span_of(what)}, {"user", user}};
    hub->parts.env.ops->log(hub->parts.env.self, CHATHUB_WARNING, "node_bound", fields,
                            user.len ? 2 : 1);
}

void chi_nodes_complain(struct chi_hub *hub, const char *what)
{
    complain(hub, what, (struct chi_span){NULL, 0});
}

/* --------------------------------------------------------------------------------------- saying */

int chi_nodes_send(struct chi_hub *hub, uint64_t node, uint8_t kind, struct chi_span items)
{
    struct chi_nodes *nodes = hub->nodes;
    struct chi_buf *message = &nodes->message;

    nodes->count += kind == CHI_WIRE_DIFFERENCES;
    chi_buf_reset(message, MESSAGE_MAX);
    chi_wire_add_head(message, &(struct chi_wire_head){
                                   .kind = kind,
                                   .node = hub->parts.bus->node,
                                   .count = nodes->count,
                                   .shown = chi_nodes_shown(hub),
                                   .epoch = hub->parts.log->epoch(hub->parts.log),
                               });
    chi_buf_add(message, items.at, items.len);
    if (message->failed)
        return CHATHUB_ENOMEM;
    if (message->len > hub->parts.bus->most) {
        chi_nodes_complain(hub, "message");
        return CHATHUB_EAGAIN;
    }
    return hub->parts.bus->send(hub->parts.bus, node, (struct chi_span){message->at, message->len});
}

/* What is lost is noticed by its count. */
static void say_items(struct chi_hub *hub, struct chi_buf *items, uint8_t kind)
{
    if (items->len)
        chi_nodes_send(hub, 0, kind, (struct chi_span){items->at, items->len});
    chi_buf_reset(items, MESSAGE_MAX);
}

/* After an item was added that begins at `begin`: it goes out with the next message if it does not
 * fit into this one. Without memory it is not said, but counted, so that it is asked for. */
static void cut(struct chi_hub *hub, struct chi_buf *items, size_t begin)
{
    if (items->failed) {
        chi_buf_reset(items, 0);
        hub->nodes->count++;
        return;
    }
    if (items->len + CHI_WIRE_HEAD <= most(hub))
        return;
    if (begin) {
        chi_nodes_send(hub, 0, CHI_WIRE_DIFFERENCES, (struct chi_span){items->at, begin});
        chi_buf_consume(items, begin);
    }
    if (items->len + CHI_WIRE_HEAD <= most(hub))
        return;
    /* It alone is too much: a session in very many rooms. */
    complain(hub, "message", (struct chi_span){items->at + CHI_WIRE_ITEM, CHI_USER_LEN});
    chi_buf_reset(items, MESSAGE_MAX);
}

static struct chi_session *session_of(const struct chi_hub *hub, const struct chi_origin *origin)
{
    return chi_slots_at(&hub->sessions, origin->slot.number);
}

static bool has_drafts(const struct chi_hub *hub, const struct chi_session *session)
{
    for (const struct chi_member *member = chi_core_member_at(hub, session->members); member;
         member = chi_core_member_at(hub, member->next)) {
        if (member->drafts)
            return true;
    }
    return false;
}

void chi_nodes_add_end(struct chi_hub *hub, const char user[CHI_USER_LEN], uint64_t version)
{
    struct chi_buf *out = &hub->nodes->out;
    size_t at = out->len, begin = chi_wire_begin(out, CHI_WIRE_ENDED);

    chi_buf_add(out, user, CHI_USER_LEN);
    chi_wire_add_number(out, version, 8);
    chi_wire_end(out, begin);
    cut(hub, out, at);
}

void chi_nodes_add_ended(struct chi_hub *hub, const struct chi_session *session,
                         struct chi_origin *origin)
{
    chi_nodes_add_end(hub, session->user, origin->version);
    chi_nodes_past(hub, session->user, origin->version);
    origin->told = false;
}

static void add_state(struct chi_hub *hub, struct chi_origin *origin)
{
    struct chi_session *session = session_of(hub, origin);
    struct chi_buf *out = &hub->nodes->out;
    size_t at = out->len;

    if (session->ended) {
        if (origin->told && !has_drafts(hub, session))
            chi_nodes_add_ended(hub, session, origin);
        return;
    }
    /* Two of one name may have come here from other nodes that had not settled it. */
    chi_nodes_settle_name(hub, session);
    chi_wire_add_session(hub, out, CHI_WIRE_SESSION, session);
    origin->told = true;
    cut(hub, out, at);
}

/* Answers whether all is said. */
static bool say_dirty(struct chi_hub *hub, size_t bytes)
{
    struct chi_nodes *nodes = hub->nodes;
    uint64_t sent = nodes->count;

    while (nodes->dirty && (nodes->count - sent) * most(hub) + nodes->out.len < bytes) {
        struct chi_origin *origin = chi_chain_first(CHI_DIRTY(nodes), nodes->dirty);
        chi_chain_remove(CHI_DIRTY(nodes), &nodes->dirty, origin);
        add_state(hub, origin);
    }
    say_items(hub, &nodes->out, CHI_WIRE_DIFFERENCES);
    if (!nodes->dirty)
        say_items(hub, &nodes->signs, CHI_WIRE_DIFFERENCES);
    return !nodes->dirty;
}

/* ---------------------------------------------------------------------------------- telling all */

/* When it may be told all if it asks: not as often as it likes. */
static uint64_t told_next(const struct chi_node *node)
{
    if (!node || !node->asks)
        return UINT64_MAX;
    return node->told_at ? node->told_at + CHI_NODES_ASK_MS : 0;
}

/* Whom it is for: one, or all if several ask at the same time. */
static void begin_all(struct chi_hub *hub)
{
    struct chi_nodes *nodes = hub->nodes;
    uint64_t now = chi_core_now(hub);
    uint32_t asking = 0;
    bool places = false;

    for (uint32_t i = 0; i < nodes->nodes.made; i++) {
        struct chi_node *node = chi_slots_at(&nodes->nodes, i);
        if (told_next(node) > now)
            continue;
        places |= node->asks_places;
        node->told_at = now ? now : 1;
        node->asks = node->asks_places = false;
        nodes->all_to = asking++ ? 0 : node->id;
    }
    if (!asking)
        return;
    if (places)
        chi_core_stood_list(hub);
    nodes->all_at = 0;
    nodes->all_part = 1;
}

/* Sessions from nodes->all_at on, as many as fit. Answers whether there are more. */
static bool add_sessions(struct chi_hub *hub, size_t first)
{
    struct chi_nodes *nodes = hub->nodes;
    struct chi_buf *out = &nodes->out;
    uint32_t at = nodes->all_at;

    for (; at < hub->sessions.made && !out->failed; at++) {
        struct chi_session *session = chi_slots_at(&hub->sessions, at);
        size_t before = out->len;
        if (!session || session->remote || session->ended)
            continue;
        chi_wire_add_session(hub, out, CHI_WIRE_SESSION, session);
        chi_origin_of(nodes, session)->told = true;
        if (out->failed || out->len + CHI_WIRE_HEAD <= most(hub))
            continue;
        chi_buf_truncate(out, before);
        if (before > first)
            break;
        complain(hub, "message", chi_session_user(session)); /* it alone is too much */
    }
    nodes->all_at = at;
    return at < hub->sessions.made;
}

/* The same with places where names stood. One is kept for the next part if it does not fit. */
static bool add_stood(struct chi_hub *hub, size_t first)
{
    struct chi_buf *out = &hub->nodes->out;
    struct chi_stood_place stood;

    while (!out->failed) {
        struct chi_link *was = hub->stood_next;
        size_t before = out->len;
        if (!chi_core_stood_next(hub, &stood))
            return false;
        chi_wire_add_stood(out, &stood);
        if (out->len + CHI_WIRE_HEAD <= most(hub))
            continue;
        chi_buf_truncate(out, before);
        if (before > first) {
            hub->stood_next = was;
            return true;
        }
    }
    return true;
}

/* One part, in nodes->out. Answers whether it is the last one. */
static bool make_part(struct chi_hub *hub)
{
    struct chi_nodes *nodes = hub->nodes;
    struct chi_buf *out = &nodes->out;

    size_t begin = chi_wire_begin(out, CHI_WIRE_PART);
    chi_wire_add_number(out, nodes->all_part, 4);
    chi_wire_add_number(out, 0, 1);
    chi_wire_end(out, begin);
    size_t first = out->len;
    bool last = !add_sessions(hub, first) && !add_stood(hub, first);
    if (!out->failed)
        out->at[first - 1] = last;
    return last;
}

/* A part that the bus does not take is said again later. */
static bool say_part(struct chi_hub *hub, size_t *bytes)
{
    struct chi_nodes *nodes = hub->nodes;
    struct chi_link *stood = hub->stood_next;
    uint32_t at = nodes->all_at;

    bool last = make_part(hub);
    struct chi_span items = {nodes->out.at, nodes->out.len};
    int r = nodes->out.failed ? CHATHUB_ENOMEM
                              : chi_nodes_send(hub, nodes->all_to, CHI_WIRE_ALL, items);
    *bytes += items.len;
    chi_buf_reset(&nodes->out, MESSAGE_MAX);
    if (r < 0) {
        nodes->all_at = at;
        hub->stood_next = stood;
        nodes->all_after = chi_core_now(hub) + PAUSE_MS;
        return false;
    }
    nodes->all_part = last ? 0 : nodes->all_part + 1;
    return !last;
}

uint64_t chi_nodes_all_next(const struct chi_nodes *nodes)
{
    uint64_t next = nodes->all_part ? 0 : UINT64_MAX;

    for (uint32_t i = 0; i < nodes->nodes.made; i++) {
        uint64_t its = told_next(chi_slots_at(&nodes->nodes, i));
        next = its < next ? its : next;
    }
    return next < nodes->all_after ? nodes->all_after : next;
}

static void say_all(struct chi_hub *hub)
{
    struct chi_nodes *nodes = hub->nodes;
    size_t bytes = 0;

    if (nodes->all_after > chi_core_now(hub))
        return;
    if (!nodes->all_part)
        begin_all(hub);
    while (nodes->all_part && bytes < CHI_NODES_TURN && say_part(hub, &bytes))
        ;
}

/* Again later if the bus does not take it: without it all that are here would be awaited in vain. */
static void say_bye(struct chi_hub *hub)
{
    struct chi_nodes *nodes = hub->nodes;

    if (!nodes->bye || nodes->all_after > chi_core_now(hub))
        return;
    nodes->bye = chi_nodes_send(hub, 0, CHI_WIRE_BYE, (struct chi_span){"", 0}) < 0;
    if (nodes->bye)
        nodes->all_after = chi_core_now(hub) + PAUSE_MS;
}

void chi_nodes_tell(struct chi_hub *hub)
{
    struct chi_nodes *nodes = hub->nodes;

    if (nodes && nodes->gone)
        say_bye(hub);
    if (!nodes || nodes->gone)
        return;
    if (say_dirty(hub, CHI_NODES_TURN))
        say_all(hub);
    if (nodes->dirty || chi_nodes_all_next(nodes) <= chi_core_now(hub))
        chi_core_wake(hub);
}

static void say_ended(struct chi_hub *hub)
{
    struct chi_nodes *nodes = hub->nodes;
    struct chi_origin *origin = chi_chain_first(CHI_DIRTY(nodes), nodes->dirty), *next;

    for (; origin; origin = next) {
        next = chi_chain_next(CHI_DIRTY(nodes), nodes->dirty, origin);
        if (!session_of(hub, origin)->ended)
            continue;
        chi_chain_remove(CHI_DIRTY(nodes), &nodes->dirty, origin);
        add_state(hub, origin);
    }
}

/* Who ended, and where names stood, is told before; of where all others stand, as much as in any
 * turn: the bus must have room for BYE, which makes them lost wherever they are. */
void chi_nodes_bye(struct chi_hub *hub)
{
    struct chi_nodes *nodes = hub->nodes;

    if (!nodes || nodes->gone)
        return;
    chi_nodes_end_some(hub, UINT32_MAX);
    say_ended(hub);
    say_dirty(hub, CHI_NODES_TURN);
    say_items(hub, &nodes->signs, CHI_WIRE_DIFFERENCES);
    nodes->gone = nodes->bye = true;
    nodes->all_after = 0;
    say_bye(hub);
    chi_core_wake(hub);
}

/* ---------------------------------------------------------------------------------------- signs */

void chi_nodes_types(struct chi_hub *hub, const struct chi_member *member,
                     enum chi_nodes_typing how)
{
    if (!hub->nodes || hub->nodes->gone || member->session->remote)
        return;
    struct chi_buf *signs = &hub->nodes->signs;
    size_t begin = signs->len, item = chi_wire_begin(signs, CHI_WIRE_TYPING);
    chi_buf_add(signs, member->session->user, CHI_USER_LEN);
    chi_wire_add_number(signs, how, 1);
    chi_wire_add_text(signs, chi_name_shown(member->room->name));
    chi_wire_end(signs, item);
    cut(hub, signs, begin);
    chi_core_wake(hub);
}

void chi_nodes_stood(struct chi_hub *hub, const struct chi_stood_place *stood)
{
    if (!hub->nodes || hub->nodes->gone)
        return;
    struct chi_buf *signs = &hub->nodes->signs;
    size_t begin = signs->len;
    chi_wire_add_stood(signs, stood);
    cut(hub, signs, begin);
    chi_core_wake(hub);
}

int chi_nodes_private(struct chi_hub *hub, const struct chi_session *to,
                      const struct chi_reply *reply)
{
    const struct chi_origin *origin = chi_origin_of(hub->nodes, to);
    const struct chi_node *node = chi_slots_at(&hub->nodes->nodes, origin->node - 1);
    struct chi_buf words = {0};

    if (origin->lost || node->bye_at || chi_node_ended(node, origin->mark))
        return CHATHUB_ENOENT;
    size_t item = chi_wire_begin(&words, CHI_WIRE_WORDS);
    chi_buf_add(&words, to->user, CHI_USER_LEN);
    chi_buf_add(&words, reply->user.at, CHI_USER_LEN);
    chi_wire_add_text(&words, reply->room);
    chi_wire_add_text(&words, reply->name);
    chi_wire_add_number(&words, reply->message.len, 4);
    chi_buf_add(&words, reply->message.at, reply->message.len);
    chi_wire_end(&words, item);
    int r = CHATHUB_ENOMEM;
    if (!words.failed)
        r = words.len + CHI_WIRE_HEAD > hub->parts.bus->most
                ? CHATHUB_EAGAIN
                : chi_nodes_send(hub, node->id, CHI_WIRE_PRIVATE,
                                 (struct chi_span){words.at, words.len});
    chi_buf_fini(&words);
    return r;
}
