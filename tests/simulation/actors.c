/* People: they connect, say hello, join, post, leave, are cut off, come back and go on where
 * they were.
 *
 * An honest client keeps its session's key, the position up to which it received each room, and
 * its posts until they are acked; it sends those again with the same cid. Hostile requests come
 * from the same actors, now and then. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define RETRY_MS 20

static struct sim_rng *rng(struct sim_world *w)
{
    return &w->rng;
}

void sim_actor_init(struct sim_world *w, int actor)
{
    struct sim_actor *a = &w->actors[actor];
    a->conn = -1;
    a->unique = sim_one_in(rng(w), 2);
    for (int i = 0; i < SIM_ROOMS; i++)
        a->wants[i] = sim_one_in(rng(w), 2);
    if ((w->config.faults & SIM_FOREIGN) && sim_one_in(rng(w), 2)) {
        a->kind = (uint8_t)(1 + sim_below(rng(w), SIM_KINDS));
        a->alias = (uint8_t)sim_below(rng(w), 6);
    }
}

static struct sim_conn *conn_of(struct sim_world *w, int actor)
{
    int at = w->actors[actor].conn;
    return at < 0 ? NULL : &w->conns[at];
}

/* ----------------------------------------------------------------------------------------
 * asking */

struct sim_asked *sim_asked_of(struct sim_conn *c, struct chi_span ref)
{
    char text[24];
    for (uint32_t i = 0; i < c->asked_count; i++) {
        (void)snprintf(text, sizeof text, "%u", c->asked[i].ref);
        if (chi_span_is(ref, text))
            return &c->asked[i];
    }
    return NULL;
}

/* Sends a request with a new ref; false if too much is under way. */
bool sim_ask(struct sim_world *w, struct sim_conn *c, struct chi_request *r, int room, int post)
{
    static char ref[24];
    if (c->asked_count == SIM_ASKED || c->closing)
        return false;
    struct sim_asked *a = &c->asked[c->asked_count++];
    *a = (struct sim_asked){.ref = ++c->next_ref,
                            .type = (uint8_t)r->type,
                            .room = (int8_t)room,
                            .post = post,
                            .limit = r->limit,
                            .start = r->start,
                            .before = r->has_before ? r->before : 0,
                            .after = r->has_after ? r->after : 0};
    a->held = r->start.kind != CHI_START_AFTER || sim_holds(w, r->start.epoch, r->start.position);
    a->start.epoch = (struct chi_span){0};
    if (r->type == CHI_REQUEST_HELLO && r->name.len)
        a->name = sim_name_key(w, r->name);
    (void)snprintf(ref, sizeof ref, "%u", a->ref);
    r->ref = chi_span_of(ref);
    if (room >= 0)
        r->room = chi_span_of(w->rooms[room].name);
    sim_conn_say(w, c, r);
    return true;
}

/* -----------------------------------------------------------------------------------------
 * posts */

struct chi_span sim_post_text(const struct sim_post *post, int actor, uint32_t n, char out[],
                              size_t size)
{
    int len = snprintf(out, size, "%c%d.%u.", post->whisper ? 'w' : 'm', actor, n);
    size_t at = (size_t)len;
    while (at < post->size && at + 1 < size) {
        out[at] = (char)('a' + (at + n) % 26);
        at++;
    }
    return (struct chi_span){out, at};
}

struct sim_post *sim_post_of_text(struct sim_world *w, struct chi_span text, char mark, int *actor)
{
    char head[24];
    unsigned who, n;
    (void)snprintf(head, sizeof head, "%.*s", (int)text.len, text.at);
    if (head[0] != mark || sscanf(head + 1, "%u.%u.", &who, &n) != 2 || who >= w->config.actors ||
        n >= w->actors[who].post_count)
        return NULL;
    if (actor)
        *actor = (int)who;
    return &w->actors[who].posts[n];
}

static void post_send(struct sim_world *w, int actor, struct sim_conn *c, uint32_t n)
{
    struct sim_actor *a = &w->actors[actor];
    struct sim_post *post = &a->posts[n];
    char content[4200], cid[40];
    struct chi_request r = {.type = CHI_REQUEST_POST};
    r.content = sim_post_text(post, actor, n, content, sizeof content);
    (void)snprintf(cid, sizeof cid, "k%d-%u", actor, n);
    if (post->has_cid)
        r.cid = chi_span_of(cid);
    if (n % 5 == 0)
        r.data = CHI_SPAN("{\"n\":[1,2.0,true]}");
    if (!sim_ask(w, c, &r, post->room, (int)n))
        return;
    post->state = SIM_POST_SENT;
    post->serial = c->serial;
    post->attempts++;
    if (!post->user && c->welcomed)
        post->user = a->user;
}

static void post_new(struct sim_world *w, int actor, struct sim_conn *c)
{
    struct sim_actor *a = &w->actors[actor];
    if (a->post_count == SIM_POSTS)
        return;
    int room = (int)sim_below(rng(w), w->room_count);
    for (int i = 0; i < SIM_ROOMS && !c->in[room].in && !sim_one_in(rng(w), 20); i++)
        room = (room + 1) % (int)w->room_count;
    uint32_t n = a->post_count++;
    struct sim_post *post = &a->posts[n];
    *post = (struct sim_post){.room = (int8_t)room, .has_cid = !sim_one_in(rng(w), 6)};
    bool large = sim_one_in(rng(w), w->config.faults & SIM_HEAVY ? 2 : 6);
    post->size = 10 + sim_below(rng(w), large ? w->settings.max_content - 10 : 60);
    post_send(w, actor, c, n);
}

static bool post_again(struct sim_world *w, int actor, struct sim_conn *c)
{
    struct sim_actor *a = &w->actors[actor];
    for (uint32_t n = 0; n < a->post_count; n++) {
        struct sim_post *post = &a->posts[n];
        if (post->state != SIM_POST_RETRY || post->retry_at > w->now)
            continue;
        post_send(w, actor, c, n);
        return post->state == SIM_POST_SENT;
    }
    return false;
}

/* ---------------------------------------------------------------------------------- coming,
 * going */

static void new_identity(struct sim_world *w, struct sim_actor *a)
{
    (void)w;
    for (uint32_t n = 0; n < a->post_count; n++)
        if (a->posts[n].state == SIM_POST_RETRY || a->posts[n].state == SIM_POST_SENT)
            a->posts[n].state = SIM_POST_GONE;
    a->session[0] = '\0';
    a->user = 0;
    a->status = 0;
    a->life++;
}

static void make_key(struct sim_world *w, char key[72])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t len = 22 + sim_below(rng(w), 43);
    for (uint32_t i = 0; i < len; i++)
        key[i] = digits[sim_below(rng(w), 64)];
    key[len] = '\0';
}

static struct chi_start any_start(struct sim_world *w, const struct sim_actor *a, int room)
{
    struct chi_start start = {.kind = (enum chi_start_kind)sim_below(rng(w), 4)};
    if (start.kind == CHI_START_LAST)
        start.count = sim_below(rng(w), 12);
    if (a->epoch[room][0] && !sim_one_in(rng(w), 4))
        start.kind = CHI_START_AFTER;
    if (start.kind == CHI_START_AFTER) {
        if (!a->epoch[room][0]) {
            start.kind = CHI_START_NOW;
        } else {
            start.position = a->position[room];
            start.epoch = chi_span_of(a->epoch[room]);
        }
    }
    return start;
}

static void resume_rooms(struct sim_world *w, struct sim_actor *a, struct sim_conn *c,
                         struct chi_request *r)
{
    for (int i = 0; i < SIM_ROOMS; i++) {
        if (!a->wants[i] || !a->epoch[i][0] || sim_one_in(rng(w), 6))
            continue;
        struct chi_resume *resume = &r->resume[r->resume_count++];
        resume->room = chi_span_of(w->rooms[i].name);
        resume->start.kind = CHI_START_AFTER;
        resume->start.position = a->position[i];
        resume->start.epoch = chi_span_of(a->epoch[i]);
        c->in[i].asked = true;
        c->in[i].position = a->position[i];
        c->in[i].held = sim_holds(w, resume->start.epoch, a->position[i]);
    }
}

static void say_hello(struct sim_world *w, int actor, struct sim_conn *c)
{
    static struct chi_request r;
    struct sim_actor *a = &w->actors[actor];
    char name[40];
    r = (struct chi_request){.type = CHI_REQUEST_HELLO};
    if (a->session[0] && !c->welcomed && sim_one_in(rng(w), 30))
        new_identity(w, a);
    if (!a->session[0] && !c->welcomed && sim_one_in(rng(w), 2))
        make_key(w, a->session);
    if (a->session[0])
        r.session = chi_span_of(a->session);
    (void)snprintf(name, sizeof name, a->unique ? "Ann%d.%u" : "Bob%.0d", a->unique ? actor : 0,
                   a->life);
    if (sim_one_in(rng(w), 10))
        (void)snprintf(name, sizeof name, "Eve%d.%u", actor, c->next_ref);
    if (!sim_one_in(rng(w), 8))
        r.name = chi_span_of(name);
    if (!c->welcomed && a->session[0] && c->asked_count == 0)
        resume_rooms(w, a, c, &r);
    if (sim_ask(w, c, &r, -1, -1))
        a->hello_due = false;
}

static void come(struct sim_world *w, int actor)
{
    struct sim_actor *a = &w->actors[actor];
    int at = sim_connect(w, actor);
    if (at < 0) {
        a->away_until = w->now + sim_below(rng(w), 100);
        return;
    }
    a->conn = at;
    if (a->kind) {
        a->hello_due = false;
        return;
    }
    a->hello_due = a->session[0] || !sim_one_in(rng(w), 4);
    if (!a->session[0] && sim_faulty(w, SIM_OBSERVE) && sim_one_in(rng(w), 2))
        a->hello_due = false;
}

void sim_actor_hurry(struct sim_world *w, int actor)
{
    struct chi_request r = {.type = CHI_REQUEST_JOIN};
    come(w, actor);
    struct sim_conn *c = conn_of(w, actor);
    w->actors[actor].hello_due = false;
    if (c && w->actors[actor].kind)
        sim_foreign_hurry(w, actor, c);
    else if (c)
        (void)sim_ask(w, c, &r, 0, -1);
}

void sim_actor_lost(struct sim_world *w, int actor, struct sim_conn *c)
{
    struct sim_actor *a = &w->actors[actor];
    for (uint32_t n = 0; n < a->post_count; n++) {
        struct sim_post *post = &a->posts[n];
        if (post->state == SIM_POST_SENT && post->serial == c->serial)
            post->state = post->has_cid && a->session[0] ? SIM_POST_RETRY : SIM_POST_GONE;
    }
    if (a->conn < 0 || &w->conns[a->conn] != c)
        return; /* it lives on in another */
    a->conn = -1;
    if (!a->session[0])
        new_identity(w, a);
    uint32_t long_time = sim_one_in(rng(w), 4) ? 4000 : sim_one_in(rng(w), 2) ? 60 : 0;
    a->away_until = w->now + sim_below(rng(w), long_time);
}

/* Another connection takes the session over, while the old one is still there (or seems to be). */
static void take_over(struct sim_world *w, int actor, struct sim_conn *old)
{
    struct sim_actor *a = &w->actors[actor];
    if (!a->session[0] || !old->welcomed)
        return;
    come(w, actor);
    if (a->conn >= 0 && &w->conns[a->conn] != old)
        say_hello(w, actor, &w->conns[a->conn]);
}

/* ---------------------------------------------------------------------------------------
 * requests */

static void join(struct sim_world *w, int actor, struct sim_conn *c)
{
    struct sim_actor *a = &w->actors[actor];
    int room = (int)sim_below(rng(w), w->room_count);
    struct chi_request r = {.type = CHI_REQUEST_JOIN, .start = any_start(w, a, room)};
    if (sim_ask(w, c, &r, room, -1))
        a->wants[room] = true;
}

static void leave(struct sim_world *w, int actor, struct sim_conn *c)
{
    int room = (int)sim_below(rng(w), w->room_count);
    struct chi_request r = {.type = CHI_REQUEST_LEAVE};
    if (c->in[room].in && sim_ask(w, c, &r, room, -1))
        w->actors[actor].wants[room] = false;
}

static void history(struct sim_world *w, struct sim_conn *c)
{
    int room = (int)sim_below(rng(w), w->room_count);
    const struct sim_room *past = &w->rooms[room];
    struct chi_request r = {.type = CHI_REQUEST_HISTORY, .limit = sim_below(rng(w), 12)};
    uint64_t near = past->count ? past->past[sim_below(rng(w), past->count)].position : 1;
    if (sim_one_in(rng(w), 2)) {
        r.has_before = true;
        r.before = near;
    } else if (sim_one_in(rng(w), 2)) {
        r.has_after = true;
        r.after = near;
    }
    (void)sim_ask(w, c, &r, room, -1);
}

static void typing(struct sim_world *w, struct sim_conn *c)
{
    int room = (int)sim_below(rng(w), w->room_count);
    struct chi_request r = {.type = CHI_REQUEST_TYPING, .on = !sim_one_in(rng(w), 3)};
    if (c->in[room].in)
        (void)sim_ask(w, c, &r, room, -1);
}

static void status(struct sim_world *w, struct sim_conn *c)
{
    char text[32];
    struct chi_request r = {.type = CHI_REQUEST_STATUS};
    (void)snprintf(text, sizeof text, "mood%u", sim_below(rng(w), 5));
    r.content = sim_one_in(rng(w), 4) ? CHI_SPAN("") : chi_span_of(text);
    if (sim_ask(w, c, &r, -1, -1))
        c->asked[c->asked_count - 1].status = sim_intern(w, r.content);
}

static bool who(struct sim_world *w, struct sim_conn *c, int room)
{
    struct sim_view *v = &c->in[room].view;
    struct chi_request r = {.type = CHI_REQUEST_WHO, .limit = sim_below(rng(w), 6)};
    if (v->asking)
        return false;
    if (v->paging && v->pages) {
        r.name = chi_span_of(w->words[v->page[v->pages - 1].name]);
        r.id = chi_span_of(w->words[v->page[v->pages - 1].user]);
    }
    if (!sim_ask(w, c, &r, room, -1))
        return false;
    c->asked[c->asked_count - 1].continued = v->paging;
    v->asking = true;
    v->asked_ref = c->next_ref;
    v->wanted = false;
    return true;
}

/* Other words under a cid that was acked in this life of the session. */
static void reuse(struct sim_world *w, int actor, struct sim_conn *c)
{
    const struct sim_actor *a = &w->actors[actor];
    char cid[40];
    struct chi_request r = {.type = CHI_REQUEST_POST, .content = CHI_SPAN("other words")};
    for (uint32_t n = a->post_count; n-- > 0;)
        if (a->posts[n].state == SIM_POST_ACKED && a->posts[n].has_cid && c->welcomed &&
            a->posts[n].user == a->user) {
            (void)snprintf(cid, sizeof cid, "k%d-%u", actor, n);
            r.cid = chi_span_of(cid);
            (void)sim_ask(w, c, &r, a->posts[n].room, SIM_REUSED);
            return;
        }
}

/* After a position that it never saw: where its epoch is an old one, that may lie beyond its end.
 */
static void go_beyond(struct sim_world *w, int actor, struct sim_conn *c)
{
    const struct sim_actor *a = &w->actors[actor];
    int room = (int)sim_below(rng(w), w->room_count);
    struct chi_request r = {.type = CHI_REQUEST_JOIN, .start = {.kind = CHI_START_AFTER}};
    r.start.position = a->position[room] + sim_below(rng(w), 20);
    r.start.epoch = chi_span_of(a->epoch[room]);
    if (a->epoch[room][0])
        (void)sim_ask(w, c, &r, room, -1);
}

/* What nobody should send. Each is answered, by an error. */
static void hostile(struct sim_world *w, int actor, struct sim_conn *c)
{
    static char large[8192];
    struct chi_request r = {.type = CHI_REQUEST_POST};
    memset(large, 'x', sizeof large);
    switch (sim_below(rng(w), 13)) {
    case 0:
        sim_conn_say_text(w, c, c->native ? CHI_SPAN("{\"type\":\"fly\"}") : CHI_SPAN("z|."));
        return;
    case 1:
        sim_conn_say_text(w, c, c->native ? CHI_SPAN("{\"type\":") : CHI_SPAN("j|r=x"));
        return;
    case 2:
        r.content = (struct chi_span){large, w->settings.max_content + 1};
        break;
    case 3:
        r.content = CHI_SPAN("bell\a");
        break;
    case 4:
        r.content = CHI_SPAN("fine");
        r.cid = (struct chi_span){large, 100};
        break;
    case 5:
        r.content = CHI_SPAN("");
        break;
    case 6:
        r.type = CHI_REQUEST_JOIN;
        r.room = CHI_SPAN("no/room/\a");
        break;
    case 7:
        r.type = CHI_REQUEST_JOIN;
        r.start = (struct chi_start){CHI_START_AFTER, 0, CHI_POSITION_MAX, {NULL, 0}};
        (void)sim_ask(w, c, &r, (int)sim_below(rng(w), w->room_count), -1);
        return;
    case 8:
        r.type = CHI_REQUEST_HELLO;
        r.session = CHI_SPAN("short");
        break;
    case 9:
        r.type = CHI_REQUEST_HELLO;
        r.name = CHI_SPAN("System");
        break;
    case 10:
        r.type = CHI_REQUEST_STATUS;
        r.content = (struct chi_span){large, w->settings.max_status + 1};
        break;
    case 11:
        go_beyond(w, actor, c);
        return;
    default:
        reuse(w, actor, c);
        return;
    }
    (void)sim_ask(w, c, &r, -1, -1);
}

void sim_wreck(struct sim_world *w, int actor, struct sim_conn *c)
{
    if (sim_faulty(w, SIM_TAKEOVER) && sim_one_in(rng(w), 3))
        take_over(w, actor, c);
    else if (sim_faulty(w, SIM_LOSS) && sim_one_in(rng(w), 2))
        sim_conn_cut(w, c, sim_one_in(rng(w), 3));
    else if (sim_faulty(w, SIM_STALL))
        c->stalled = !c->stalled;
}

static void do_something(struct sim_world *w, int actor, struct sim_conn *c)
{
    uint32_t dice = sim_below(rng(w), 100);
    struct chi_request ping = {.type = CHI_REQUEST_PING};
    if (dice < 50)
        post_new(w, actor, c);
    else if (dice < 64)
        join(w, actor, c);
    else if (dice < 69)
        leave(w, actor, c);
    else if (dice < 72 && sim_faulty(w, SIM_REDACT))
        history(w, c);
    else if (dice < 75)
        typing(w, c);
    else if (dice < 78)
        status(w, c);
    else if (dice < 82)
        (void)who(w, c, (int)sim_below(rng(w), w->room_count));
    else if (dice < 86)
        history(w, c);
    else if (dice < 88)
        (void)sim_ask(w, c, &ping, -1, -1);
    else if (dice < 91)
        sim_conn_ping(w, c);
    else if (dice < 93)
        say_hello(w, actor, c);
    else if (dice < 96 && sim_faulty(w, SIM_HOSTILE))
        hostile(w, actor, c);
    else
        sim_wreck(w, actor, c);
}

bool sim_asks_who(struct sim_world *w, struct sim_conn *c)
{
    for (int i = 0; i < SIM_ROOMS; i++)
        if (c->in[i].in && c->in[i].hears && c->in[i].view.wanted && !c->in[i].view.asking &&
            who(w, c, i))
            return true;
    return false;
}

/* Brings to an end what was begun: names, posts, lists of who is there. */
static void finish(struct sim_world *w, int actor, struct sim_conn *c)
{
    struct sim_actor *a = &w->actors[actor];
    if (a->hello_due && c->asked_count == 0) {
        a->unique = true;
        say_hello(w, actor, c);
    } else if (c->asked_count < SIM_ASKED / 2 && !post_again(w, actor, c)) {
        (void)sim_asks_who(w, c);
    }
}

void sim_actor_step(struct sim_world *w, int actor, bool calm)
{
    struct sim_actor *a = &w->actors[actor];
    struct sim_conn *c = conn_of(w, actor);
    if (!c) {
        if (a->away_until <= w->now && !(calm && a->patient))
            come(w, actor);
        return;
    }
    if (c->cut || c->closing)
        return;
    if (c->unclear) { /* which request was lost it cannot know: it comes again */
        sim_conn_cut(w, c, false);
        return;
    }
    if (a->kind) {
        sim_foreign_step(w, actor, c, calm);
        return;
    }
    if (calm) {
        finish(w, actor, c);
        return;
    }
    if (!c->spoke && !a->hello_due && sim_faulty(w, SIM_OBSERVE) && !c->observing &&
        w->now >= c->open_at + 250) {
        SIM_TRACE(w, "conn %u is silent and observes", c->serial);
        c->watches = true;
        chi_hub_observe(w->hub, c->id);
        return;
    }
    if (a->hello_due && (a->session[0] || !sim_one_in(rng(w), 8)))
        say_hello(w, actor, c);
    else if (!a->hello_due && !c->spoke && sim_faulty(w, SIM_OBSERVE) && !sim_one_in(rng(w), 8))
        return;
    else if (sim_one_in(rng(w), 3) && post_again(w, actor, c))
        return;
    else if (!sim_asks_who(w, c) || sim_one_in(rng(w), 2))
        do_something(w, actor, c);
}

bool sim_actor_restless(const struct sim_world *w, int actor)
{
    const struct sim_actor *a = &w->actors[actor];
    if (a->conn < 0)
        return !a->patient;
    const struct sim_conn *c = &w->conns[a->conn];
    if (c->asked_count || c->unclear || (a->hello_due && !a->patient))
        return true;
    for (uint32_t n = 0; n < a->post_count; n++)
        if (a->posts[n].state == SIM_POST_RETRY)
            return true;
    for (int i = 0; i < SIM_ROOMS; i++)
        if (c->in[i].in && c->in[i].hears && c->in[i].view.wanted)
            return true;
    return false;
}
