/* Who the other nodes are, and whose each session is. What is said: nodes_say.c; heard: nodes_heard.c. */
#include "core/nodes_wire.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long a message waits for the log, and who shows a key for the places of its session, ms. */
#define HELD_MS  5000u
#define AWAIT_MS 1000u
/* For what another node's clients have seen: a log that stands still is known to be down by then. */
#define CATCH_UP_MS 5000u

static uint64_t lease(const struct chi_hub *hub)
{
    uint32_t lease = hub->parts.settings->node_lease;
    return lease ? lease : 1;
}

void chi_nodes_log(struct chi_hub *hub, int level, const char *event, uint64_t id,
                   struct chi_field more)
{
    char text[20];
    snprintf(text, sizeof text, "%016" PRIx64, id);
    const struct chi_field fields[] = {{"node", chi_span_of(text)}, more};
    hub->parts.env.ops->log(hub->parts.env.self, level, event, fields, more.key ? 2 : 1);
}

/* ------------------------------------------------------------------------------ ended lately */

void chi_nodes_past(struct chi_hub *hub, const char user[CHI_USER_LEN], uint64_t version)
{
    struct chi_nodes *nodes = hub->nodes;
    struct chi_past *past = &nodes->past[nodes->past_count++ % CHI_NODES_PAST];

    memcpy(past->user, user, CHI_USER_LEN);
    past->version = version;
    past->at = chi_core_now(hub);
}

bool chi_nodes_is_past(const struct chi_hub *hub, const char user[CHI_USER_LEN], uint64_t version)
{
    const struct chi_nodes *nodes = hub->nodes;
    uint32_t most = nodes->past_count < CHI_NODES_PAST ? nodes->past_count : CHI_NODES_PAST;
    uint64_t now = chi_core_now(hub);

    for (uint32_t i = 1; i <= most; i++) {
        const struct chi_past *past = &nodes->past[(nodes->past_count - i) % CHI_NODES_PAST];
        if (now - past->at >= HELD_MS)
            return false;
        if (past->version >= version && memcmp(past->user, user, CHI_USER_LEN) == 0)
            return true;
    }
    return false;
}

/* ----------------------------------------------------------------------------- the other nodes */

void chi_nodes_ask(struct chi_hub *hub, struct chi_node *node)
{
    uint64_t now = chi_core_now(hub);

    if (node->bye_at)
        return;
    if (node->wanted && (node->part || !chi_list_empty(&node->heard))) { /* it may be older */
        node->again = true;
        return;
    }
    if (node->wanted && now - node->asked_at < CHI_NODES_ASK_MS)
        return;
    node->wanted = true;
    node->asked_at = now;
    /* Where names stood all know alike: one is asked, once. */
    bool placed = hub->nodes->placed_by && hub->nodes->placed_by != node->id;
    if (!placed && !hub->nodes->placed)
        hub->nodes->placed_by = node->id;
    static const char known[] = {CHI_WIRE_PLACED, 0, 0, 0, 0};
    chi_nodes_send(hub, node->id, CHI_WIRE_ASK,
                   (struct chi_span){known, placed || hub->nodes->placed ? sizeof known : 0});
}

static void drop_heard(struct chi_nodes *nodes, struct chi_node *node)
{
    struct chi_link *link;

    while ((link = chi_list_take(&node->heard)) != NULL) {
        struct chi_heard *heard = CHI_CONTAINER(link, struct chi_heard, link);
        nodes->held_bytes -= heard->len;
        free(heard);
    }
}

void chi_nodes_down(struct chi_hub *hub, struct chi_node *node, const char *why)
{
    struct chi_nodes *nodes = hub->nodes;
    uint64_t id = node->id;

    drop_heard(nodes, node);
    if (nodes->placed_by == id && !nodes->placed)
        nodes->placed_by = 0; /* the next one is asked */
    node->id = 0;
    node->bye_at = node->bye_at ? node->bye_at : 1; /* nothing is asked of it */
    node->asks = node->asks_places = node->wanted = node->refused = false;
    node->kept = ++node->mark;
    nodes->ends = true;
    chi_core_wake(hub);
    chi_nodes_log(hub, CHATHUB_INFO, "node_down", id,
                  (struct chi_field){"reason", chi_span_of(why)});
}

/* What was passed over may have its place now. */
static void ask_refused(struct chi_hub *hub, struct chi_node *node)
{
    uint32_t max = hub->parts.settings->max_remote, rooms = hub->parts.settings->max_rooms;

    if (!node->refused || hub->nodes->remote > max - max / 8 ||
        hub->rooms.used > rooms - rooms / 8 || chi_core_now(hub) - node->asked_at < 2 * lease(hub))
        return;
    node->refused = false;
    chi_nodes_ask(hub, node);
}

static void look_at_node(struct chi_hub *hub, struct chi_node *node, uint64_t now)
{
    if (!node->id)
        return;
    if (node->bye_at && now - node->bye_at >= lease(hub)) {
        chi_nodes_down(hub, node, "bye");
        return;
    }
    if (!node->bye_at && now - node->heard_at >= lease(hub)) {
        chi_nodes_down(hub, node, "lease");
        return;
    }
    if (node->wanted && now - node->asked_at >= CHI_NODES_ASK_MS) {
        node->part = 0;
        chi_nodes_ask(hub, node);
    }
    ask_refused(hub, node);
}

/* Those whose places did not come: what is told of them is whole from now on. */
static void end_awaiting(struct chi_hub *hub, uint64_t now)
{
    if (!hub->nodes->await_until || hub->nodes->await_until > now)
        return;
    hub->nodes->await_until = 0;
    for (uint32_t i = 0; i < hub->sessions.made; i++) {
        struct chi_session *session = chi_slots_at(&hub->sessions, i);
        struct chi_origin *origin = session ? chi_origin_of(hub->nodes, session) : NULL;
        if (!origin || !origin->await)
            continue;
        origin->await = 0;
        chi_nodes_touched(hub, session);
    }
}

/* A node that stood still itself has heard of nobody, which is no fault of theirs. */
static void forgive(struct chi_nodes *nodes, uint64_t now, uint64_t half)
{
    for (uint32_t i = 0; i < nodes->nodes.made; i++) {
        struct chi_node *node = chi_slots_at(&nodes->nodes, i);
        if (node && node->heard_at + half < now)
            node->heard_at = now - half;
    }
}

void chi_nodes_gave(struct chi_hub *hub, const struct chi_session *session)
{
    struct chi_nodes *nodes = hub->nodes;
    const struct chi_origin *origin = chi_origin_of(nodes, session);
    struct chi_given *given = nodes->given_count < CHI_NODES_GIVEN ? malloc(sizeof *given) : NULL;

    if (!given) {
        chi_nodes_add_end(hub, session->user, origin->version);
        chi_core_wake(hub);
        return;
    }
    memcpy(given->user, session->user, CHI_USER_LEN);
    given->version = origin->version;
    given->at = chi_core_now(hub);
    nodes->given_count++;
    chi_list_append(&nodes->given, &given->link);
}

/* The next one of which by now all have heard whose it is, unless that was lost. */
static struct chi_given *take_given(struct chi_nodes *nodes, uint64_t now)
{
    struct chi_given *given = CHI_CONTAINER(nodes->given.next, struct chi_given, link);
    if (chi_list_empty(&nodes->given) || now - given->at < HELD_MS)
        return NULL;
    chi_list_take(&nodes->given);
    nodes->given_count--;
    return given;
}

static void end_given(struct chi_hub *hub, uint64_t now)
{
    struct chi_given *given;

    while ((given = take_given(hub->nodes, now))) {
        chi_nodes_add_end(hub, given->user, given->version);
        chi_core_wake(hub);
        free(given);
    }
}

static void beat(struct chi_timer *timer)
{
    struct chi_nodes *nodes = CHI_CONTAINER(timer, struct chi_nodes, beat);
    struct chi_hub *hub = nodes->hub;
    uint64_t now = chi_core_now(hub), quarter = (lease(hub) + 3) / 4;

    if (nodes->gone)
        return;
    if (nodes->beat_at && now - nodes->beat_at > 2 * quarter)
        forgive(nodes, now, 2 * quarter);
    chi_nodes_send(hub, 0, CHI_WIRE_BEAT, (struct chi_span){"", 0});
    for (uint32_t i = 0; i < nodes->nodes.made; i++) {
        struct chi_node *node = chi_slots_at(&nodes->nodes, i);
        if (node)
            look_at_node(hub, node, now);
    }
    end_awaiting(hub, now);
    end_given(hub, now);
    nodes->beat_at = now + quarter;
    chi_timers_set(&hub->timers, timer, nodes->beat_at); /* has its place from before */
}

/* -------------------------------------------------------------------------------------- hearing */

static struct chi_node *find_node(const struct chi_nodes *nodes, uint64_t id)
{
    for (uint32_t i = 0; i < nodes->nodes.made; i++) {
        struct chi_node *node = chi_slots_at(&nodes->nodes, i);
        if (node && node->id == id)
            return node;
    }
    return NULL;
}

static struct chi_node *new_node(struct chi_hub *hub, uint64_t id)
{
    struct chi_nodes *nodes = hub->nodes;

    if (nodes->nodes.used >= CHI_NODES_MAX) {
        chi_nodes_complain(hub, "nodes");
        return NULL;
    }
    struct chi_node *node = chi_slots_take(&nodes->nodes);
    if (!node)
        return NULL;
    node->id = id;
    chi_list_init(&node->heard);
    chi_nodes_log(hub, CHATHUB_INFO, "node_up", id, (struct chi_field){NULL, {NULL, 0}});
    return node;
}

/* Whether a message of it was lost before this one. */
static void count(struct chi_hub *hub, struct chi_node *node, const struct chi_wire_head *head)
{
    bool counted = head->kind == CHI_WIRE_DIFFERENCES;
    bool known = node->counted, missed = head->count != node->count + counted;

    if (head->kind != CHI_WIRE_DIFFERENCES && head->kind != CHI_WIRE_BEAT &&
        head->kind != CHI_WIRE_BYE)
        return;
    node->count = head->count;
    node->counted = true;
    if (!known || missed)
        chi_nodes_ask(hub, node);
}

/* Before the log has shown what the sender's had, it is too early; another epoch's positions say
 * nothing. */
static bool is_due(const struct chi_hub *hub, struct chi_span epoch, uint64_t sent, uint64_t at)
{
    return sent <= chi_nodes_shown(hub) || chi_core_now(hub) - at >= HELD_MS ||
           !chi_span_equal(epoch, hub->parts.log->epoch(hub->parts.log));
}

static void keep(struct chi_hub *hub, struct chi_node *node, const struct chi_wire_head *head,
                 struct chi_span bytes)
{
    struct chi_nodes *nodes = hub->nodes;
    struct chi_heard *heard = NULL;

    if (nodes->held_bytes + bytes.len <= CHI_NODES_QUEUE)
        heard = malloc(sizeof *heard + bytes.len);
    if (!heard) {
        chi_nodes_complain(hub, "waiting messages");
        chi_nodes_ask(hub, node);
        return;
    }
    *heard = (struct chi_heard){.shown = head->shown, .at = chi_core_now(hub), .len = bytes.len};
    memcpy(heard->bytes, bytes.at, bytes.len);
    chi_list_append(&node->heard, &heard->link);
    nodes->held_bytes += bytes.len;
    chi_core_wake(hub);
}

static void heard(void *self, struct chi_span bytes)
{
    struct chi_hub *hub = self;
    struct chi_nodes *nodes = hub->nodes;
    struct chi_wire wire = {.left = bytes};
    struct chi_wire_head head;

    if (nodes->gone || !chi_wire_read_head(&wire, &head) || head.node == hub->parts.bus->node)
        return;
    struct chi_node *node = find_node(nodes, head.node);
    if (!node && head.kind == CHI_WIRE_BYE)
        return;
    if (!node)
        node = new_node(hub, head.node);
    if (!node)
        return;
    node->heard_at = chi_core_now(hub);
    if (head.kind == CHI_WIRE_ASK) {
        uint8_t item = 0;
        chi_wire_read_item(&wire, &item, &(struct chi_wire){.is_short = false});
        node->asks = true;
        node->asks_places |= item != CHI_WIRE_PLACED;
        chi_core_wake(hub);
        if (!node->counted)
            chi_nodes_ask(hub, node);
        return;
    }
    count(hub, node, &head);
    if (head.kind == CHI_WIRE_BEAT)
        return;
    if (!chi_list_empty(&node->heard) || nodes->heard_now >= CHI_NODES_TURN ||
        !is_due(hub, head.epoch, head.shown, node->heard_at)) {
        keep(hub, node, &head, bytes);
        return;
    }
    nodes->heard_now += (uint32_t)bytes.len;
    chi_nodes_apply(hub, node, bytes);
}

static bool first_is_due(const struct chi_hub *hub, const struct chi_heard *first)
{
    struct chi_span epoch = {first->bytes + CHI_WIRE_HEAD - CHI_EPOCH_LEN, CHI_EPOCH_LEN};
    return is_due(hub, epoch, first->shown, first->at);
}

static void work_node(struct chi_hub *hub, struct chi_node *node)
{
    struct chi_nodes *nodes = hub->nodes;
    uint32_t generation = node->slot.generation;

    while (nodes->heard_now < CHI_NODES_TURN && node->slot.generation == generation &&
           !chi_list_empty(&node->heard)) {
        struct chi_heard *first = CHI_CONTAINER(node->heard.next, struct chi_heard, link);
        if (!first_is_due(hub, first))
            return;
        chi_list_remove(&first->link);
        nodes->held_bytes -= first->len;
        nodes->heard_now += (uint32_t)first->len;
        chi_nodes_apply(hub, node, (struct chi_span){first->bytes, first->len});
        free(first);
    }
}

static void work_behind(struct chi_hub *hub);

void chi_nodes_work(struct chi_hub *hub)
{
    struct chi_nodes *nodes = hub->nodes;

    if (!nodes)
        return;
    nodes->heard_now = 0;
    for (uint32_t i = 0; i < nodes->nodes.made && nodes->held_bytes; i++) {
        struct chi_node *node = chi_slots_at(&nodes->nodes, i);
        if (node)
            work_node(hub, node);
    }
    chi_nodes_end_some(hub, CHI_NODES_ENDS);
    work_behind(hub);
    nodes->heard_now = 0; /* what the next poll brings is of the next turn */
}

static uint64_t node_next(const struct chi_hub *hub, const struct chi_node *node)
{
    if (chi_list_empty(&node->heard))
        return UINT64_MAX;
    const struct chi_heard *first = CHI_CONTAINER(node->heard.next, struct chi_heard, link);
    return first_is_due(hub, first) ? 0 : first->at + HELD_MS;
}

uint64_t chi_nodes_next(const struct chi_hub *hub)
{
    const struct chi_nodes *nodes = hub->nodes;
    uint64_t next = UINT64_MAX;

    if (!nodes || nodes->gone)
        return nodes && nodes->bye ? nodes->all_after : next;
    if (nodes->dirty || nodes->out.len || nodes->signs.len || nodes->ends)
        return 0;
    next = chi_nodes_all_next(nodes);
    for (uint32_t i = 0; i < nodes->nodes.made && nodes->held_bytes; i++) {
        const struct chi_node *node = chi_slots_at(&nodes->nodes, i);
        uint64_t its = node ? node_next(hub, node) : UINT64_MAX;
        next = its < next ? its : next;
    }
    return next;
}

/* ------------------------------------------------------------------------- what the hub reports */

int chi_nodes_init(struct chi_hub *hub)
{
    struct chi_bus *bus = hub->parts.bus;

    if (!bus)
        return 0;
    struct chi_nodes *nodes = calloc(1, sizeof *nodes);
    if (!nodes)
        return CHATHUB_ENOMEM;
    hub->nodes = nodes;
    nodes->hub = hub;
    chi_slots_init(&nodes->nodes, sizeof(struct chi_node));
    chi_slots_init(&nodes->origins, sizeof(struct chi_origin));
    chi_paged_init(&nodes->own, sizeof(uint64_t));
    chi_list_init(&nodes->taking);
    chi_list_init(&nodes->given);
    nodes->beat.fire = beat;
    bus->bind(bus, &(struct chi_bus_up){heard, hub});
    return chi_timers_set(&hub->timers, &nodes->beat, chi_core_now(hub));
}

void chi_nodes_free(struct chi_hub *hub)
{
    struct chi_nodes *nodes = hub->nodes;

    if (!nodes)
        return;
    for (uint32_t i = 0; i < nodes->nodes.made; i++) {
        struct chi_node *node = chi_slots_at(&nodes->nodes, i);
        if (node)
            drop_heard(nodes, node);
    }
    for (struct chi_link *link; (link = chi_list_take(&nodes->given)) != NULL;)
        free(CHI_CONTAINER(link, struct chi_given, link));
    chi_slots_fini(&nodes->nodes);
    chi_slots_fini(&nodes->origins);
    chi_paged_fini(&nodes->own);
    chi_buf_fini(&nodes->out);
    chi_buf_fini(&nodes->signs);
    chi_buf_fini(&nodes->message);
    free(nodes);
    hub->nodes = NULL;
}

int chi_nodes_place(struct chi_hub *hub, const struct chi_session *session)
{
    if (!hub->nodes)
        return 0;
    if (chi_paged_ensure(&hub->nodes->origins.places, session->slot.number) < 0)
        return CHATHUB_ENOMEM;
    *chi_origin_of(hub->nodes, session) = (struct chi_origin){.slot = {session->slot.number, 1}};
    return 0;
}

int chi_nodes_room_place(struct chi_hub *hub, const struct chi_room *room)
{
    if (!hub->nodes)
        return 0;
    if (chi_paged_ensure(&hub->nodes->own, room->slot.number) < 0)
        return CHATHUB_ENOMEM;
    *(uint64_t *)chi_paged_at(&hub->nodes->own, room->slot.number) = 0;
    return 0;
}

uint64_t chi_nodes_version(struct chi_hub *hub, uint64_t above)
{
    struct chi_nodes *nodes = hub->nodes;
    uint64_t wall = chi_core_wall(hub);

    if (nodes->version < above && above <= wall + CHI_NODES_AHEAD / 2)
        nodes->version = above;
    nodes->version = wall > nodes->version ? wall : nodes->version + 1;
    return nodes->version > above ? nodes->version : above + 1;
}

void chi_nodes_moved(struct chi_hub *hub, struct chi_session *session)
{
    if (!hub->nodes)
        return;
    struct chi_origin *origin = chi_origin_of(hub->nodes, session);
    origin->version = chi_nodes_version(hub, origin->version);
    chi_nodes_touched(hub, session);
}

void chi_nodes_named(struct chi_hub *hub, struct chi_session *session, bool is_new)
{
    if (!hub->nodes)
        return;
    struct chi_origin *origin = chi_origin_of(hub->nodes, session);
    if (is_new)
        origin->version = chi_nodes_version(hub, 0);
    origin->named_at = chi_core_wall(hub);
    origin->shares = session->client && session->client->dialect->shares_names;
    chi_nodes_touched(hub, session);
}

static void mark_dirty(struct chi_hub *hub, struct chi_origin *origin)
{
    struct chi_nodes *nodes = hub->nodes;

    if (chi_chain_linked(&origin->dirty))
        return;
    chi_chain_append(CHI_DIRTY(nodes), &nodes->dirty, origin);
    chi_core_wake(hub);
}

void chi_nodes_touched(struct chi_hub *hub, struct chi_session *session)
{
    if (!hub->nodes || hub->nodes->gone || session->remote)
        return;
    mark_dirty(hub, chi_origin_of(hub->nodes, session));
    if (!session->ended)
        return;
    struct chi_session *back = chi_session_by_user(hub, session->user);
    if (back && !back->remote)
        mark_dirty(hub, chi_origin_of(hub->nodes, back));
}

void chi_nodes_freed(struct chi_hub *hub, struct chi_session *session)
{
    if (!hub->nodes)
        return;
    struct chi_origin *origin = chi_origin_of(hub->nodes, session);
    chi_chain_remove(CHI_DIRTY(hub->nodes), &hub->nodes->dirty, origin);
    if (!origin->told || session->remote || hub->nodes->gone)
        return;
    chi_nodes_add_ended(hub, session, origin);
    chi_core_wake(hub);
}

static uint64_t *own_of(const struct chi_hub *hub, const struct chi_room *room)
{
    return chi_paged_at(&hub->nodes->own, room->slot.number);
}

void chi_nodes_member(struct chi_hub *hub, const struct chi_member *member, bool made)
{
    if (!hub->nodes || member->session->remote)
        return;
    if (made)
        ++*own_of(hub, member->room);
    else
        --*own_of(hub, member->room);
}

bool chi_nodes_own(const struct chi_hub *hub, const struct chi_room *room)
{
    return room->members && (!hub->nodes || *own_of(hub, room));
}

/* A session and its places change hands between this node and others. */
static void turn_over(struct chi_hub *hub, struct chi_session *session, bool remote)
{
    for (struct chi_member *member = chi_core_member_at(hub, session->members); member;
         member = chi_core_member_at(hub, member->next)) {
        *own_of(hub, member->room) += remote ? UINT64_MAX : 1;
        member->shared = true;
        chi_core_room_idle(hub, member->room);
    }
    session->remote = remote;
}

void chi_nodes_unlink(struct chi_hub *hub, struct chi_session *session)
{
    struct chi_nodes *nodes = hub->nodes;
    struct chi_origin *origin = session->remote ? chi_origin_of(nodes, session) : NULL;

    if (!origin || !origin->node)
        return;
    struct chi_node *node = chi_slots_at(&nodes->nodes, origin->node - 1);
    chi_chain_remove(CHI_OF_NODE(nodes), &node->sessions, origin);
    node->session_count--;
    nodes->remote--;
    origin->node = 0;
}

void chi_nodes_link(struct chi_hub *hub, struct chi_session *session, struct chi_node *node)
{
    struct chi_nodes *nodes = hub->nodes;
    struct chi_origin *origin = chi_origin_of(nodes, session);

    if (!session->remote)
        turn_over(hub, session, true);
    chi_nodes_unlink(hub, session);
    chi_chain_remove(CHI_DIRTY(nodes), &nodes->dirty, origin);
    chi_chain_append(CHI_OF_NODE(nodes), &node->sessions, origin);
    node->session_count++;
    nodes->remote++;
    origin->node = node->slot.number + 1;
    origin->mark = node->mark;
    origin->told = false;
    origin->await = 0;
}

void chi_nodes_adopt(struct chi_hub *hub, struct chi_session *session, bool client)
{
    struct chi_origin *origin = chi_origin_of(hub->nodes, session);

    chi_nodes_unlink(hub, session);
    turn_over(hub, session, false);
    session->known = origin->returns;
    origin->version = client ? chi_nodes_version(hub, origin->version + 1) : origin->version + 1;
    origin->told = true; /* if only by another node */
    chi_session_lost(hub, session);
}

/* ---------------------------------------------------------------------- sessions that come here */

int chi_nodes_take(struct chi_hub *hub, struct chi_job *job, struct chi_session *session)
{
    if (!hub->nodes)
        return 0;
    const struct chi_settings *settings = hub->parts.settings;
    struct chi_origin *origin = chi_origin_of(hub->nodes, session);
    uint64_t now = chi_core_now(hub);
    bool asks = settings->return_time > AWAIT_MS && settings->max_sessions;

    if (session->remote) {
        const struct chi_node *node = chi_slots_at(&hub->nodes->nodes, origin->node - 1);
        if (asks && !origin->lost && !node->bye_at && !chi_node_ended(node, origin->mark))
            hub->nodes->await_until = origin->await = now + AWAIT_MS;
        chi_nodes_adopt(hub, session, true);
    }
    if (origin->await <= now || session->client) {
        origin->await = 0;
        return 0;
    }
    job->until = origin->await;
    job->shown = 0;
    job->taken = session->slot.number + 1;
    job->wait = CHI_WAIT_NODE;
    return CHI_STEP_WAIT;
}

static bool log_is_down(const struct chi_hub *hub)
{
    struct chi_log_stats stats;
    hub->parts.log->stats(hub->parts.log, &stats);
    return stats.down;
}

/* While the log is down nothing tells whether what somebody has seen is there: to go on anywhere could
 * double it, and to tell a gap could lie. What it shows when it is back takes its time, too. */
int chi_nodes_catch_up(struct chi_hub *hub, struct chi_job *job, struct chi_room *room,
                       uint64_t position)
{
    uint64_t now = chi_core_now(hub);

    if (!hub->nodes || position <= chi_nodes_shown(hub))
        return 0;
    bool down = log_is_down(hub), is_back = !down && job->was_down;
    if (!job->behind || (job->behind <= now && is_back))
        job->behind = now + CATCH_UP_MS; /* for all its rooms */
    if (job->behind <= now)
        return down ? chi_core_problem(hub, CHATHUB_ELOG,
                                       "this node cannot reach the log, and is behind what you "
                                       "have seen; come back later, or at another node")
                    : 0;
    job->was_down = down;
    job->until = job->behind;
    job->shown = position;
    job->taken = 0;
    job->room = room;
    job->wait = CHI_WAIT_NODE;
    return CHI_STEP_WAIT;
}

bool chi_nodes_beyond(const struct chi_hub *hub, uint64_t position)
{
    return hub->nodes && hub->parts.log->shown && position > chi_nodes_shown(hub);
}

/* The log has shown what they waited for. */
static void work_behind(struct chi_hub *hub)
{
    struct chi_link *head = &hub->nodes->taking, *next;
    uint64_t now = chi_nodes_shown(hub);
    bool down = !chi_list_empty(head) && log_is_down(hub);

    for (struct chi_link *link = head->next; link != head; link = next) {
        struct chi_job *job = CHI_CONTAINER(link, struct chi_job, link);
        next = link->next;
        job->was_down |= down;
        if (!job->shown || job->shown > now)
            continue;
        chi_timers_clear(&hub->timers, &job->timer);
        chi_core_job_ready(hub, job);
    }
}

static void await_over(struct chi_timer *timer)
{
    struct chi_job *job = CHI_CONTAINER(timer, struct chi_job, timer);
    chi_core_job_ready(job->hub, job);
}

int chi_nodes_await(struct chi_hub *hub, struct chi_job *job)
{
    job->timer.fire = await_over;
    if (chi_timers_set(&hub->timers, &job->timer, job->until) < 0)
        return CHATHUB_ENOMEM;
    chi_list_append(&hub->nodes->taking, &job->link);
    return 0;
}
