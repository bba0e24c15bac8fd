/* What must hold: while it goes on, and when nothing is left to do. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/nodes.h"
#include "nodes_sim.h"

struct ns_user *ns_user_of(struct ns_world *w, uint32_t user)
{
    for (uint32_t i = 0; i < w->user_count; i++)
        if (w->users[i].user == user)
            return &w->users[i];
    if (w->user_count == NS_USERS) {
        w->strict = false; /* more than can be told apart */
        return &w->users[0];
    }
    w->users[w->user_count].user = user;
    return &w->users[w->user_count++];
}

void ns_departs(struct ns_world *w, struct ns_user *user, int room)
{
    for (int i = 0; i < NS_ROOMS; i++)
        if (room < 0 || room == i)
            user->departs[i]++;
    (void)w;
}

void ns_departs_all(struct ns_world *w)
{
    for (uint32_t i = 0; i < w->user_count; i++)
        ns_departs(w, &w->users[i], -1);
}

/* ------------------------------------------------------------------------------ what a hub says */

static const struct chi_field *field(const struct chi_field *fields, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(fields[i].key, key) == 0)
            return &fields[i];
    return NULL;
}

/* A session ends on the node that has it, as far as it has heard. */
static void ended(struct ns_node *node, uint32_t name)
{
    struct ns_world *w = node->world;
    struct ns_user *user = ns_user_of(w, name);
    bool due = user->parted || user->seen + w->settings.return_time <= ns_now(w);

    ns_departs(w, user, -1);
    if (w->strict && !(w->config.faults & (NS_LOSS | NS_REFUSE)) && (user->client || !due) &&
        !user->close_call && !user->race && !node->stopping)
        NS_FAIL(w, "node %d ends the session of %s, who is there or may return", node->index,
                w->base->words[name]);
}

/* A node that lives was taken for dead: what is told then is nobody's fault. One that said bye is
 * not waited for. */
static void node_down(struct ns_node *node, struct chi_span id, struct chi_span reason)
{
    const uint32_t late = NS_LAG | NS_LONG_LAG | NS_LOSS | NS_REFUSE;
    struct ns_world *w = node->world;
    char text[20];

    for (uint32_t i = 0; i < w->bye_count && w->strict && !(w->config.faults & late); i++) {
        snprintf(text, sizeof text, "%016llx", (unsigned long long)w->byes[i]);
        if (chi_span_equal(id, chi_span_of(text)) && !chi_span_equal(reason, CHI_SPAN("bye")))
            NS_FAIL(w, "node %d did not hear that %s stopped", node->index, text);
    }

    for (int i = 0; i < NS_NODES; i++) {
        snprintf(text, sizeof text, "%016llx", (unsigned long long)w->nodes[i].bus.node);
        if (w->nodes[i].used && !w->nodes[i].stopping && chi_span_equal(id, chi_span_of(text)))
            w->strict = false;
    }
}

/* It holds unless the node took another one for dead, which is told after. */
static void suspect(struct ns_world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void suspect(struct ns_world *w, const char *format, ...)
{
    va_list args;

    if (w->suspicion[0])
        return;
    va_start(args, format);
    (void)vsnprintf(w->suspicion, sizeof w->suspicion, format, args);
    va_end(args);
}

void ns_check_suspicion(struct ns_world *w)
{
    if (w->suspicion[0] && w->strict)
        NS_FAIL(w, "%s", w->suspicion);
    w->suspicion[0] = '\0';
}

void ns_check_log_line(struct ns_node *node, const char *event, const struct chi_field *fields,
                       size_t n)
{
    const struct chi_field *user = field(fields, n, "user"), *id = field(fields, n, "node");
    const struct chi_field *reason = field(fields, n, "reason");

    if (strcmp(event, "ended") == 0 && user)
        ended(node, sim_intern(node->world->base, user->value));
    if (strcmp(event, "node_down") == 0 && id && reason)
        node_down(node, id->value, reason->value);
}

/* All that somebody posted before the n-th time that it left. */
static void check_posts(struct ns_node *node, int room, const struct ns_user *user, int32_t went)
{
    struct ns_world *w = node->world;
    uint64_t shown = node->rooms[room].shown;

    for (uint32_t i = w->entry_count; i-- > 0;) {
        const struct ns_entry *e = &w->entries[i];
        if (e->entry->position <= shown)
            break;
        if (e->room == room && e->user == user->user && (int64_t)e->departs < went)
            suspect(w, "node %d tells that %s left %s before it showed entry %llu", node->index,
                    w->base->words[user->user], w->base->rooms[room].name,
                    (unsigned long long)e->entry->position);
    }
    for (int i = 0; i < NS_NODES; i++)
        for (const struct ns_draft *d = w->nodes[i].drafts; d; d = d->next)
            if (d->room == room && d->user == user->user && (int64_t)d->departs < went)
                suspect(w, "node %d tells that %s left %s before its post was committed",
                        node->index, w->base->words[user->user], w->base->rooms[room].name);
}

void ns_check_signal(struct ns_node *node, int room, const struct chi_signal *signal)
{
    struct ns_world *w = node->world;

    for (uint32_t i = 0; i < signal->went_count; i++) {
        struct ns_user *user = ns_user_of(w, sim_intern(w->base, signal->went[i].user));
        int32_t went = ++user->went[node->index][room];
        if (!w->strict)
            continue;
        if (went > (int64_t)user->departs[room])
            suspect(w, "node %d tells that %s left %s, which is not so", node->index,
                    w->base->words[user->user], w->base->rooms[room].name);
        check_posts(node, room, user, went);
    }
}

/* ------------------------------------------------------------------------- what a client receives */

static struct ns_asked asked_of(struct ns_conn *c, struct chi_span ref)
{
    uint32_t number = 0;

    for (size_t i = 0; i < ref.len; i++)
        number = number * 10 + (uint32_t)(ref.at[i] - '0');
    for (uint32_t i = 0; i < c->asked_count && ref.len; i++)
        if (c->asked[i].ref == number) {
            struct ns_asked found = c->asked[i];
            c->asked_count--;
            memmove(&c->asked[i], &c->asked[i + 1], (c->asked_count - i) * sizeof *c->asked);
            return found;
        }
    return (struct ns_asked){.room = -1, .post = -1};
}

static void copy(char *out, size_t size, struct chi_span text)
{
    snprintf(out, size, "%.*s", (int)text.len, text.at ? text.at : "");
}

static void on_welcome(struct ns_world *w, struct ns_conn *c, const struct sim_frame *f)
{
    struct ns_actor *a = &w->actors[c->actor];

    c->welcomed = true;
    c->user_at = sim_intern(w->base, f->user);
    if (a->conn != (int)(c - w->conns))
        return;
    a->user = c->user_at;
    copy(a->name, sizeof a->name, f->name);
    if (f->session.len)
        copy(a->key, sizeof a->key, f->session);
}

static void on_joined(struct ns_world *w, struct ns_conn *c, int room, const struct sim_frame *f)
{
    struct ns_actor *a = &w->actors[c->actor];

    c->in[room] = (struct ns_in){.in = true, .cursor = f->start};
    c->fresh = true;
    a->wants[room] = true;
    a->position[room] = f->start;
    copy(a->epoch[room], sizeof a->epoch[room], f->epoch);
}

static void on_entry(struct ns_world *w, struct ns_conn *c, int room, const struct sim_frame *f)
{
    struct ns_in *in = &c->in[room];

    if (!in->in)
        NS_FAIL(w, "actor %d gets an entry of %s, where it is not", c->actor,
                w->base->rooms[room].name);
    else if (f->position <= in->cursor)
        NS_FAIL(w, "actor %d gets entry %llu again", c->actor, (unsigned long long)f->position);
    else if (f->entry.prev > in->cursor)
        NS_FAIL(w, "actor %d gets entry %llu after %llu, but not %llu", c->actor,
                (unsigned long long)f->position, (unsigned long long)in->cursor,
                (unsigned long long)f->entry.prev);
    in->cursor = f->position;
    w->actors[c->actor].position[room] = f->position;
}

static void on_ack(struct ns_world *w, struct ns_conn *c, const struct ns_asked *asked,
                   const struct sim_frame *f)
{
    struct ns_post *post = asked->post < 0 ? NULL : &w->actors[c->actor].posts[asked->post];
    bool found = false;

    for (uint32_t i = 0; i < w->entry_count; i++)
        found = found || (w->entries[i].entry->position == f->position &&
                          w->entries[i].cid == sim_intern(w->base, f->cid) &&
                          w->entries[i].user == c->user_at);
    if (!post)
        NS_FAIL(w, "actor %d gets an ack that it did not ask for", c->actor);
    else if (!found && !w->backs)
        NS_FAIL(w, "actor %d gets an ack for what is not in the log", c->actor);
    if (!post)
        return;
    post->state = NS_POST_ACKED;
    post->position = f->position;
}

static void on_error(struct ns_world *w, struct ns_conn *c, const struct ns_asked *asked,
                     const struct sim_frame *f)
{
    struct ns_actor *a = &w->actors[c->actor];

    if (asked->post >= 0)
        a->posts[asked->post].state = f->code == CHATHUB_EUNKNOWN ? NS_POST_OPEN : NS_POST_GONE;
    if (asked->type != CHI_REQUEST_HELLO || c->welcomed || a->conn != (int)(c - w->conns))
        return;
    struct ns_request *r = ns_ask(w, c, CHI_REQUEST_HELLO, -1, -1);
    if (!r)
        return;
    snprintf(a->name, sizeof a->name, "o%d-%u-%u", c->actor, a->life, c->next_ref);
    snprintf(r->name, sizeof r->name, "%s", a->name);
    snprintf(r->session, sizeof r->session, "%s", a->key);
    r->request.name = chi_span_of(r->name);
    if (a->key[0])
        r->request.session = chi_span_of(r->session);
}

static void on_signal(struct ns_world *w, struct ns_conn *c, int room, const struct sim_frame *f)
{
    const struct ns_in *in = &c->in[room];

    if (in->in && f->has_top && f->top > in->cursor)
        NS_FAIL(w, "actor %d at %llu gets a signal that belongs behind %llu", c->actor,
                (unsigned long long)in->cursor, (unsigned long long)f->top);
}

void ns_check_frame(struct ns_world *w, struct ns_conn *c, struct sim_frame *f)
{
    int room = f->room.len ? ns_room_of(f->room) : -1;
    struct ns_asked asked = asked_of(c, f->ref);

    if (strchr("EJLGSTU", f->type) && room < 0) {
        NS_FAIL(w, "actor %d gets a frame without a room", c->actor);
        return;
    }
    switch (f->type) {
    case 'W':
        on_welcome(w, c, f);
        return;
    case 'J':
        on_joined(w, c, room, f);
        return;
    case 'L':
        c->in[room].in = false;
        w->actors[c->actor].wants[room] = false;
        return;
    case 'E':
        on_entry(w, c, room, f);
        return;
    case 'G':
        if (!w->backs && !(w->config.faults & NS_LONG_LAG))
            NS_FAIL(w, "actor %d gets a gap", c->actor);
        c->in[room].cursor = f->to;
        return;
    case 'A':
        on_ack(w, c, &asked, f);
        return;
    case 'X':
        on_error(w, c, &asked, f);
        return;
    case 'S':
    case 'T':
    case 'U':
        on_signal(w, c, room, f);
        return;
    default:
        return;
    }
}

/* ------------------------------------------------------------------------------------ at all times */

void ns_check_step(struct ns_world *w)
{
    uint32_t at = ns_below(w, NS_NODES);
    struct ns_node *node = &w->nodes[at];
    const char *fault = node->used ? chi_hub_check(node->hub) : NULL;

    if (fault)
        NS_FAIL(w, "node %u: %s", at, fault);
    fault = node->used ? chi_delivery_check(node->delivery) : NULL;
    if (fault)
        NS_FAIL(w, "delivery of node %u: %s", at, fault);
}

/* ----------------------------------------------------------------------------------------- at rest */

#define LINE  200
#define LINES 200

struct view {
    uint32_t count;
    char lines[LINES][LINE];
};

static int by_text(const void *a, const void *b)
{
    return strcmp(a, b);
}

static void add_line(struct view *v, const char *user, struct chi_span name, uint32_t rooms,
                     uint32_t told)
{
    if (v->count == LINES)
        return;
    snprintf(v->lines[v->count++], LINE, "%.16s %.*s rooms %x told %x", user, (int)name.len,
             name.at, rooms, told);
}

/* Who is where, as a node knows it. */
static void view_of(const struct ns_node *node, struct view *out)
{
    const struct chi_hub *hub = node->hub;

    out->count = 0;
    for (uint32_t i = 0; i < hub->sessions.made; i++) {
        const struct chi_session *session = chi_slots_at(&hub->sessions, i);
        uint32_t rooms = 0, told = 0;
        if (!session)
            continue;
        NS_TRACE(node->world, "node %d knows %.16s: version %llu, %s%s", node->index, session->user,
                 (unsigned long long)chi_origin_of(hub->nodes, session)->version,
                 session->remote ? "another's" : "its own", session->ended ? ", ended" : "");
        for (const struct chi_member *m = chi_core_member_at(hub, session->members); m;
             m = chi_core_member_at(hub, m->next)) {
            int room = ns_room_of(chi_name_shown(m->room->name));
            rooms |= m->gone ? 0 : 1u << room;
            told |= m->told ? 1u << room : 0;
        }
        add_line(out, session->user, chi_name_shown(session->name), rooms, told);
    }
    qsort(out->lines, out->count, LINE, by_text);
}

/* … and as it is. */
static void truth_of(struct ns_world *w, struct view *out)
{
    out->count = 0;
    for (int i = 0; i < NS_ACTORS; i++) {
        const struct ns_actor *a = &w->actors[i];
        const struct ns_conn *c = a->conn < 0 ? NULL : &w->conns[a->conn];
        uint32_t rooms = 0;
        if (!c || !c->open || c->cut || !c->welcomed)
            continue;
        for (int r = 0; r < NS_ROOMS; r++)
            rooms |= c->in[r].in ? 1u << r : 0;
        add_line(out, w->base->words[a->user], chi_span_of(a->name), rooms, rooms);
    }
    qsort(out->lines, out->count, LINE, by_text);
}

static void compare(struct ns_world *w, int index, const struct view *is, const struct view *truth)
{
    for (uint32_t i = 0; i < is->count || i < truth->count; i++) {
        const char *a = i < is->count ? is->lines[i] : "nobody";
        const char *b = i < truth->count ? truth->lines[i] : "nobody";
        if (strcmp(a, b) != 0) {
            NS_FAIL(w, "at rest node %d knows %s, but it is %s", index, a, b);
            return;
        }
    }
}

static void check_conn(struct ns_world *w, const struct ns_conn *c)
{
    for (int r = 0; r < NS_ROOMS; r++) {
        uint64_t last = 0;
        for (uint32_t i = 0; i < w->entry_count; i++)
            last = w->entries[i].room == r ? w->entries[i].entry->position : last;
        if (c->in[r].in && c->in[r].cursor < last)
            NS_FAIL(w, "at rest actor %d is at %llu of %s, which goes on to %llu", c->actor,
                    (unsigned long long)c->in[r].cursor, w->base->rooms[r].name,
                    (unsigned long long)last);
    }
    if (c->asked_count && c->open)
        NS_FAIL(w, "at rest actor %d waits for an answer to %u (type %u)", c->actor,
                c->asked[0].ref, c->asked[0].type);
}

static void check_names(struct ns_world *w, const struct view *v)
{
    char names[LINES][LINE];

    for (uint32_t i = 0; i < v->count; i++) {
        (void)sscanf(v->lines[i], "%*s %199s", names[i]);
        for (char *at = names[i]; *at; at++)
            *at = (char)(*at >= 'A' && *at <= 'Z' ? *at + 32 : *at);
        for (uint32_t k = 0; k < i; k++)
            if (strcmp(names[i], names[k]) == 0 && !(w->config.faults & NS_FOREIGN))
                NS_FAIL(w, "at rest two are called %s", names[i]);
    }
}

void ns_check_rest(struct ns_world *w)
{
    static struct view truth, is;
    uint32_t live = 0;

    truth_of(w, &truth);
    for (int i = 0; i < NS_NODES; i++)
        live += w->nodes[i].used;
    for (int i = 0; i < NS_NODES && w->config.verbose; i++)
        if (w->nodes[i].used)
            view_of(&w->nodes[i], &is);
    for (int i = 0; i < NS_NODES && !w->base->failed; i++) {
        struct ns_node *node = &w->nodes[i];
        struct chi_hub_counts counts;
        if (!node->used)
            continue;
        const char *fault = chi_hub_check(node->hub);
        if (fault)
            NS_FAIL(w, "node %d: %s", i, fault);
        chi_hub_counts(node->hub, &counts);
        if (w->config.faults & NS_TIGHT) { /* not all are known */
            if (counts.remote > w->settings.max_remote)
                NS_FAIL(w, "at rest node %d knows %u sessions of others", i,
                        (unsigned)counts.remote);
            continue;
        }
        view_of(node, &is);
        compare(w, i, &is, &truth);
        if (counts.nodes != live - 1)
            NS_FAIL(w, "at rest node %d knows %u others of %u", i, (unsigned)counts.nodes,
                    live - 1);
        if (counts.sessions + counts.remote != truth.count || counts.drafts)
            NS_FAIL(w, "at rest node %d counts %u and %u sessions of %u, %u drafts", i,
                    (unsigned)counts.sessions, (unsigned)counts.remote, truth.count,
                    (unsigned)counts.drafts);
    }
    if (!(w->config.faults & NS_TIGHT))
        check_names(w, &truth);
    for (int i = 0; i < NS_CONNS; i++)
        if (w->conns[i].used)
            check_conn(w, &w->conns[i]);
}
