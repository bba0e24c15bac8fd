/* People with clients: they come, join, post, leave, lose their connections and return, to the same
 * node or to another one. And their connections, which take all bytes at once and are read when the
 * scheduler says so. */
#include <stdio.h>
#include <string.h>

#include "nodes_sim.h"

static const char *const pool[] = {"ann", "Bob", "cid"};

/* -------------------------------------------------------------------------------------- transport */

static struct ns_conn *conn_of(struct ns_node *node, uint32_t conn, const char *what)
{
    struct ns_world *w = node->world;
    struct ns_conn *c = conn < NS_CONNS ? &w->conns[conn] : NULL;
    if (c && c->used && c->open && c->node_serial == node->serial)
        return c;
    NS_FAIL(w, "%s for connection %u, which is not open", what, conn);
    return NULL;
}

static ptrdiff_t conn_send(void *self, uint32_t conn, const void *bytes, size_t len)
{
    struct ns_node *node = self;
    struct ns_conn *c = conn_of(node, conn, "send");
    if (!c)
        return -1;
    if (!c->cut)
        sim_bytes_add(&c->rx, bytes, len);
    return (ptrdiff_t)len;
}

static void conn_write_many(void *self, const void *bytes, size_t len, const uint32_t *conns,
                            size_t n, int32_t *taken)
{
    for (size_t i = 0; i < n; i++)
        taken[i] = (int32_t)conn_send(self, conns[i], bytes, len);
}

static void conn_read(void *self, uint32_t conn, bool on)
{
    struct ns_conn *c = conn_of(self, conn, "read");
    if (c)
        c->reading = on;
}

/* The client is not there any more, as far as its hub knows. */
static void user_away(struct ns_world *w, const struct ns_conn *c)
{
    struct ns_user *user = c->user ? ns_user_of(w, c->user) : NULL;
    if (!user || user->client != (uint32_t)(c - w->conns) + 1)
        return;
    user->client = 0;
    user->seen = ns_now(w);
}

static void conn_close(void *self, uint32_t conn, int code, struct chi_span reason,
                       struct chi_span rest)
{
    struct ns_node *node = self;
    struct ns_world *w = node->world;
    struct ns_conn *c = conn_of(node, conn, "close");
    if (!c)
        return;
    NS_TRACE(w, "conn %u is closed by node %d: %d %.*s", conn, node->index, code, (int)reason.len,
             reason.at);
    if (!c->cut)
        sim_bytes_add(&c->rx, rest.at, rest.len);
    user_away(w, c);
    c->open = false;
}

void ns_transport_init(struct ns_node *node)
{
    node->transport = (struct chi_transport){.send = conn_send,
                                             .write_many = conn_write_many,
                                             .read = conn_read,
                                             .close = conn_close,
                                             .self = node};
}

struct ns_conn *ns_conn_of(struct ns_world *w, const struct ns_node *node, uint32_t slot)
{
    for (int i = 0; i < NS_CONNS; i++) {
        struct ns_conn *c = &w->conns[i];
        if (c->used && c->open && c->node_serial == node->serial &&
            chi_hub_client_slot(c->id) == slot)
            return c;
    }
    return NULL;
}

static void inbox_drop(struct ns_conn *c)
{
    for (struct ns_request *r; (r = c->inbox) != NULL; sim_free(r))
        c->inbox = r->next;
    c->inbox_end = &c->inbox;
}

void ns_conn_free(struct ns_world *w, struct ns_conn *c)
{
    struct ns_actor *a = &w->actors[c->actor];

    user_away(w, c);
    if (a->conn == (int)(c - w->conns)) {
        a->conn = -1;
        a->away_until = ns_now(w) + ns_below(w, ns_one_in(w, 6) ? 8000 : 300);
    }
    inbox_drop(c);
    sim_bytes_fini(&c->rx);
    *c = (struct ns_conn){0};
}

/* What was sent and not acked is to be sent again. */
static void posts_again(struct ns_actor *a)
{
    for (uint32_t i = 0; i < a->post_count; i++)
        if (a->posts[i].state == NS_POST_SENT)
            a->posts[i].state = NS_POST_OPEN;
}

void ns_conn_cut(struct ns_world *w, struct ns_conn *c, bool clean)
{
    struct ns_actor *a = &w->actors[c->actor];
    struct ns_user *user = c->user ? ns_user_of(w, c->user) : NULL;

    NS_TRACE(w, "conn %d of actor %d is %s", (int)(c - w->conns), c->actor, clean ? "left" : "cut");
    c->cut = true;
    c->clean = clean;
    inbox_drop(c);
    if (user && clean)
        user->parted = true;
    user_away(w, c);
    c->notice_at = ns_now(w) + (clean ? 0 : ns_below(w, 100));
    if (!clean && ns_faulty(w, NS_HALF_OPEN) && ns_one_in(w, 2))
        c->notice_at = ns_now(w) + ns_below(w, 30000);
    posts_again(a);
    if (a->conn == (int)(c - w->conns))
        a->conn = -1;
    a->away_until = ns_now(w) + ns_below(w, ns_one_in(w, 6) ? 8000 : 300);
    if (clean) {
        a->key[0] = '\0';
        a->user = 0;
    }
}

void ns_conn_notice(struct ns_world *w, struct ns_conn *c)
{
    struct ns_node *node = &w->nodes[c->node];

    if (c->open) {
        c->open = false;
        chi_hub_client_closed(node->hub, c->id, c->clean ? "left" : "lost");
    }
    ns_conn_free(w, c);
}

/* --------------------------------------------------------------------------------------- requests */

struct ns_request *ns_ask(struct ns_world *w, struct ns_conn *c, enum chi_request_type type,
                          int room, int post)
{
    if (c->asked_count == NS_ASKED || !c->open)
        return NULL;
    struct ns_request *r = sim_alloc(sizeof *r);
    struct ns_asked *asked = &c->asked[c->asked_count++];

    *asked = (struct ns_asked){.ref = ++c->next_ref, .type = (uint8_t)type, .room = room};
    asked->post = post;
    snprintf(r->ref, sizeof r->ref, "%u", asked->ref);
    r->request.type = type;
    r->request.ref = chi_span_of(r->ref);
    if (room >= 0)
        r->request.room = chi_span_of(w->base->rooms[room].name);
    *c->inbox_end = r;
    c->inbox_end = &r->next;
    return r;
}

/* What was posted on the node that had the session may be shown after it left again. */
static void forgive_posts(struct ns_world *w, uint32_t user)
{
    for (int i = 0; i < NS_NODES; i++)
        for (struct ns_draft *d = w->nodes[i].drafts; d; d = d->next)
            d->departs = d->user == user ? UINT32_MAX : d->departs;
    for (uint32_t i = w->entry_count; i-- > 0 && w->entries[i].at + 3000 > ns_now(w);)
        if (w->entries[i].user == user)
            w->entries[i].departs = UINT32_MAX;
}

/* A key that its node has not heard of yet: two have the session until they hear of each other, and
 * whose it is in the end is open. */
static void note_race(struct ns_world *w, const struct ns_node *node, const struct ns_conn *c,
                      const struct ns_request *r)
{
    uint32_t name = w->actors[c->actor].user;

    if (r->request.session.len && name)
        forgive_posts(w, name);
    if (!r->request.session.len || !name || chi_session_by_user(node->hub, w->base->words[name]))
        return;
    ns_departs(w, ns_user_of(w, name), -1);
    ns_user_of(w, name)->race = true;
}

bool ns_conn_serve(struct ns_world *w, struct ns_conn *c)
{
    struct ns_request *r = c->inbox;
    struct ns_node *node = &w->nodes[c->node];

    if (!r || !c->open || !c->reading || c->cut)
        return false;
    c->inbox = r->next;
    if (!c->inbox)
        c->inbox_end = &c->inbox;
    if (r->request.type == CHI_REQUEST_LEAVE && c->user)
        ns_departs(w, ns_user_of(w, c->user), ns_room_of(r->request.room));
    /* Who names rooms, but not all, may not be known to be in the others yet. */
    for (int i = 0; i < NS_ROOMS && r->request.resume_count && w->actors[c->actor].user; i++)
        if (r->omits & 1u << i)
            ns_departs(w, ns_user_of(w, w->actors[c->actor].user), i);
    note_race(w, node, c, r);
    NS_TRACE(w, "node %d reads of actor %d: type %d ref %s room %.*s %s%s %s", c->node, c->actor,
             (int)r->request.type, r->ref, (int)r->request.room.len,
             r->request.room.at ? r->request.room.at : "", r->name, r->cid, r->session);
    if (chi_hub_request(node->hub, c->id, &r->request) == CHI_NEXT_WAIT)
        c->reading = false;
    sim_free(r);
    return true;
}

bool ns_conn_receive(struct ns_world *w, struct ns_conn *c)
{
    struct chi_span text;
    bool boxed, any = false;

    while (c->used && !w->base->failed && c->rx.len) {
        ptrdiff_t len = sim_unframe(c->rx.at, c->rx.len, &text, &boxed);
        if (len <= 0 || !sim_frame_read(text, &w->scratch, &w->frame)) {
            NS_FAIL(w, "a frame that cannot be read");
            return true;
        }
        NS_TRACE(w, "actor %d of node %d reads %.*s", c->actor, c->node, (int)text.len, text.at);
        w->base->trace_hash = (w->base->trace_hash ^ sim_hash(text.at, text.len)) * 31;
        w->base->frames++;
        ns_check_frame(w, c, &w->frame);
        sim_bytes_consume(&c->rx, (size_t)len);
        any = true;
    }
    if (c->used && !c->open && !c->cut) {
        posts_again(&w->actors[c->actor]);
        ns_conn_free(w, c);
    }
    return any;
}

/* ----------------------------------------------------------------------------------------- coming */

static struct ns_node *any_node(struct ns_world *w, const struct ns_actor *a)
{
    uint32_t from = ns_below(w, NS_NODES);

    if (!ns_faulty(w, NS_MOVE))
        from = (uint32_t)(a - w->actors);
    for (uint32_t i = 0; i < NS_NODES; i++) {
        struct ns_node *node = &w->nodes[(from + i) % NS_NODES];
        if (node->used && !node->stopping)
            return node;
    }
    return NULL;
}

static struct ns_conn *connect_to(struct ns_world *w, struct ns_node *node, int actor)
{
    int at = 0;
    while (at < NS_CONNS && w->conns[at].used)
        at++;
    if (at == NS_CONNS)
        return NULL;
    struct ns_conn *c = &w->conns[at];
    *c = (struct ns_conn){.used = true,
                          .open = true,
                          .reading = true,
                          .actor = actor,
                          .node = node->index,
                          .node_serial = node->serial};
    c->inbox_end = &c->inbox;
    c->share = w->actors[actor].share;
    struct chi_client_desc desc = {
        .as = {&node->transport,
               (uint32_t)at,
               {c->share ? &sim_foreign[0] : &sim_dialect, &sim_line}},
        .default_room = chi_span_of(w->base->rooms[0].name),
        .welcome = true,
    };
    if (chi_hub_client_open(node->hub, &desc, &c->id) < 0) {
        *c = (struct ns_conn){0};
        return NULL;
    }
    return c;
}

static void new_life(struct ns_world *w, struct ns_actor *a)
{
    int me = (int)(a - w->actors);

    a->life++;
    a->user = 0;
    a->key[0] = '\0';
    a->share = ns_faulty(w, NS_FOREIGN) && ns_one_in(w, 3);
    a->guest = !a->share && ns_one_in(w, 4);
    if (!a->share && ns_one_in(w, 2))
        snprintf(a->key, sizeof a->key, "key-%d-%u-0123456789abcdef0123", me, a->life);
    if (ns_faulty(w, NS_RACE) && ns_one_in(w, 2))
        snprintf(a->name, sizeof a->name, "%s", pool[ns_below(w, 3)]);
    else
        snprintf(a->name, sizeof a->name, "n%d-%u", me, a->life);
    for (int i = 0; i < NS_ROOMS; i++) {
        a->position[i] = 0;
        a->epoch[i][0] = '\0';
        a->wants[i] = false;
    }
    for (uint32_t i = 0; i < a->post_count; i++)
        if (a->posts[i].state != NS_POST_ACKED)
            a->posts[i].state = NS_POST_GONE;
}

static void say_hello(struct ns_world *w, struct ns_actor *a, struct ns_conn *c, bool named,
                      bool resumes)
{
    struct ns_request *r = ns_ask(w, c, CHI_REQUEST_HELLO, -1, -1);

    if (!r)
        return;
    snprintf(r->name, sizeof r->name, "%s", a->name);
    snprintf(r->session, sizeof r->session, "%s", a->key);
    if (named)
        r->request.name = chi_span_of(r->name);
    if (a->key[0])
        r->request.session = chi_span_of(r->session);
    for (int i = 0; resumes && i < NS_ROOMS; i++) {
        if (!a->wants[i] || !a->epoch[i][0] || ns_one_in(w, 6)) {
            r->omits |= 1u << i;
            continue;
        }
        memcpy(r->epochs[i], a->epoch[i], sizeof r->epochs[i]);
        r->request.resume[r->request.resume_count++] = (struct chi_resume){
            .room = chi_span_of(w->base->rooms[i].name),
            .start = {.kind = CHI_START_AFTER,
                      .position = a->position[i],
                      .epoch = {r->epochs[i], CHI_EPOCH_LEN}},
        };
    }
}

static void come(struct ns_world *w, int actor)
{
    struct ns_actor *a = &w->actors[actor];
    struct ns_node *node = any_node(w, a);
    bool returns = a->user && a->key[0] && !ns_one_in(w, 12);

    if (!node)
        return;
    if (!returns)
        new_life(w, a);
    struct ns_conn *c = connect_to(w, node, actor);
    if (!c)
        return;
    a->conn = (int)(c - w->conns);
    NS_TRACE(w, "actor %d %s to node %d as conn %d", actor, returns ? "returns" : "comes",
             node->index, a->conn);
    if (returns || !a->guest)
        say_hello(w, a, c, !returns && !a->guest, returns && ns_one_in(w, 2));
    else if (a->key[0])
        a->key[0] = '\0';
    if (!returns && a->key[0] && ns_faulty(w, NS_SAME_KEY) && ns_one_in(w, 3)) {
        struct ns_conn *other = connect_to(w, any_node(w, a), actor);
        if (other) {
            say_hello(w, a, other, true, false);
            (void)ns_conn_serve(w, other);
            if (other->used && other->open)
                ns_conn_cut(w, other, false);
            a->conn = (int)(c - w->conns);
        }
    }
}

/* ------------------------------------------------------------------------------------------ doing */

static int any_room(struct ns_world *w, const struct ns_conn *c, bool in)
{
    uint32_t from = ns_below(w, NS_ROOMS);
    for (uint32_t i = 0; i < NS_ROOMS; i++)
        if (c->in[(from + i) % NS_ROOMS].in == in)
            return (int)((from + i) % NS_ROOMS);
    return -1;
}

static void send_post(struct ns_world *w, int actor, struct ns_conn *c, int post)
{
    struct ns_actor *a = &w->actors[actor];
    struct ns_request *r = ns_ask(w, c, CHI_REQUEST_POST, a->posts[post].room, post);

    if (!r)
        return;
    snprintf(r->cid, sizeof r->cid, "%d-%d", actor, post);
    snprintf(r->content, sizeof r->content, "post %d of %d", post, actor);
    r->request.cid = chi_span_of(r->cid);
    r->request.content = chi_span_of(r->content);
    a->posts[post].state = NS_POST_SENT;
}

static void post(struct ns_world *w, int actor, struct ns_conn *c)
{
    struct ns_actor *a = &w->actors[actor];
    int room = any_room(w, c, true);

    for (uint32_t i = 0; i < a->post_count; i++)
        if (a->posts[i].state == NS_POST_OPEN && c->in[a->posts[i].room].in) {
            send_post(w, actor, c, (int)i);
            return;
        }
    if (room < 0 || a->post_count == NS_POSTS)
        return;
    a->posts[a->post_count] = (struct ns_post){.room = room};
    send_post(w, actor, c, (int)a->post_count++);
}

static void join(struct ns_world *w, struct ns_actor *a, struct ns_conn *c)
{
    int room = any_room(w, c, false);
    struct ns_request *r = room < 0 ? NULL : ns_ask(w, c, CHI_REQUEST_JOIN, room, -1);

    if (!r)
        return;
    a->wants[room] = true;
    r->request.start.kind = ns_one_in(w, 2) ? CHI_START_DEFAULT : CHI_START_NOW;
    if (a->epoch[room][0] && ns_one_in(w, 2)) {
        memcpy(r->epochs[0], a->epoch[room], sizeof r->epochs[0]);
        r->request.start = (struct chi_start){.kind = CHI_START_AFTER,
                                              .position = a->position[room],
                                              .epoch = {r->epochs[0], CHI_EPOCH_LEN}};
    }
}

static void leave(struct ns_world *w, struct ns_actor *a, struct ns_conn *c)
{
    int room = any_room(w, c, true);
    if (room >= 0 && ns_ask(w, c, CHI_REQUEST_LEAVE, room, -1))
        a->wants[room] = false;
}

static void rename_to(struct ns_world *w, struct ns_actor *a, struct ns_conn *c)
{
    struct ns_request *r = ns_ask(w, c, CHI_REQUEST_HELLO, -1, -1);

    if (!r)
        return;
    if (ns_faulty(w, NS_RACE) && ns_one_in(w, 2))
        snprintf(r->name, sizeof r->name, "%s", pool[ns_below(w, 3)]);
    else
        snprintf(r->name, sizeof r->name, "m%d-%u-%u", (int)(a - w->actors), a->life, c->next_ref);
    r->request.name = chi_span_of(r->name);
}

static void talk(struct ns_world *w, struct ns_conn *c, enum chi_request_type type)
{
    int room = any_room(w, c, true);
    struct ns_request *r = NULL;

    if (room >= 0 || type == CHI_REQUEST_STATUS)
        r = ns_ask(w, c, type, type == CHI_REQUEST_STATUS ? -1 : room, -1);
    if (!r)
        return;
    r->request.on = type == CHI_REQUEST_TYPING && ns_one_in(w, 2);
    if (type != CHI_REQUEST_STATUS)
        return;
    snprintf(r->content, sizeof r->content, "s%u", ns_below(w, 100));
    r->request.content = chi_span_of(ns_one_in(w, 4) ? "" : r->content);
}

/* To another connection while the old one stays as it is. */
static void move(struct ns_world *w, int actor, struct ns_conn *c)
{
    if (!w->actors[actor].key[0])
        return;
    ns_conn_cut(w, c, false);
    w->actors[actor].away_until = 0; /* at once */
    if (ns_one_in(w, 2))
        c->notice_at = ns_now(w) + 1500 + ns_below(w, 20000);
    come(w, actor);
}

void ns_actor_step(struct ns_world *w, int actor)
{
    struct ns_actor *a = &w->actors[actor];
    struct ns_conn *c = a->conn < 0 ? NULL : &w->conns[a->conn];
    uint32_t dice = ns_below(w, 100);

    if (!c && a->away_until <= ns_now(w))
        come(w, actor);
    if (!c || !c->open || c->asked_count > 6)
        return;
    if (!c->welcomed && !(a->guest && !c->asked_count)) {
        if (dice < 10 && ns_faulty(w, NS_CUT))
            ns_conn_cut(w, c, false);
        return;
    }
    bool fresh = c->fresh;
    c->fresh = false;
    if (fresh && ns_faulty(w, NS_MOVE) && ns_one_in(w, 4))
        move(w, actor, c);
    else if (dice < 30)
        post(w, actor, c);
    else if (dice < 46)
        join(w, a, c);
    else if (dice < 51)
        leave(w, a, c);
    else if (dice < 56)
        talk(w, c, CHI_REQUEST_TYPING);
    else if (dice < 60)
        talk(w, c, CHI_REQUEST_STATUS);
    else if (dice < 63)
        talk(w, c, CHI_REQUEST_WHO);
    else if (dice < 66)
        rename_to(w, a, c);
    else if (dice < 68)
        ns_conn_cut(w, c, true);
    else if (dice < 74 && ns_faulty(w, NS_CUT))
        ns_conn_cut(w, c, false);
    else if (dice < 79 && ns_faulty(w, NS_MOVE))
        move(w, actor, c);
}
