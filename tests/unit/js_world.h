/* Nodes of a chat, each with a JetStream log's logic (struct chi_js) or a test of its own in its place,
 * one server (js_server.h), and a network between them that loses, doubles and delays by a seed.
 * Virtual time: nothing waits.
 *
 *   struct js_world *w = js_world_new(seed, 2);
 *   struct chi_js_port port = js_world_port(w, 0);      for a module alone; what comes goes to
 *   w->nodes[0].heard = …;                              this, and each round is …
 *   w->nodes[0].round = …;                              … this, which answers when it is due next
 *   js_world_attach(w, 0, js);                          or a whole chi_js, with js_world_round
 *   js_world_run(w, w->server.now + 5000);
 *
 * Order holds within each of what a node sends, live messages, answers, and the bus; not between
 * them. */
#ifndef JS_WORLD_H
#define JS_WORLD_H

#include "js_server.h"

#define JS_NODES 4
#define JS_NEVER UINT64_MAX

struct js_msg {
    struct js_msg *next;
    uint64_t due;
    struct chi_js_in in;   /* to a node; spans into `bytes` */
    struct chi_js_out out; /* to the server; the same */
    char consumer[24];     /* whose message it is; "": no consumer's */
    char id[64];
    char bytes[];
};

struct js_queue {
    struct js_msg *first, *last;
};

enum js_way { JS_OUT, JS_LIVE, JS_ANSWERS, JS_BUS, JS_WAYS };

struct js_world;

struct js_node {
    struct js_world *world;
    uint32_t index;
    uint64_t id; /* of the bus: S.bus.N */
    /* the connection */
    bool up;
    uint64_t number;
    uint64_t back; /* when it is made anew, while it is not up */
    struct js_queue ways[JS_WAYS];
    struct js_queue stray; /* sent over a former connection, still on its way to the server */
    struct {
        char name[24];
        uint32_t token;
    } pulls[CHI_JS_CONSUMERS];
    uint32_t pull_next;
    /* Who lives there. heard: each message; round: before, what came is heard within it by
     * js_world_hear. Answers when it is due next, JS_NEVER: when something comes. NULL: nobody. */
    uint64_t (*round)(struct js_node *node);
    void (*heard)(struct js_node *node, const struct chi_js_in *in);
    uint64_t due;
    uint64_t asleep; /* it does not run until then, as if stopped */
    uint64_t ahead;  /* its wall clock runs so much ahead, ms */
    void *user;
    /* a whole chi_js: js_world_attach */
    struct chi_js *js;
    struct chi_works tasks; /* to be taken in the next round */
    void (*finished)(struct js_node *node, struct chi_js_task *task); /* the task is its own then */
    struct chi_js_orders orders;
    uint32_t rounds;
    uint32_t sends; /* by the port so far */
};

/* What may go wrong. All 0: nothing; messages take `delay` at most. Chances are of a thousand, for each
 * message; `often` ones of a hundred thousand, for each ms. */
struct js_faults {
    uint32_t delay;                                       /* ms at most, each way */
    uint32_t lose_post, lose_ack, lose_live, lose_answer; /* lose_post: of what is sent */
    uint32_t double_live, double_answer;
    uint32_t missed; /* of a round: live messages are thrown away */
    uint32_t often_break, often_leaderless, often_lag, often_sleep, often_consumers;
    uint32_t often_wrong; /* a copy is another one, see js_server.h */
    uint32_t break_ms, leaderless_ms, lag_ms, sleep_ms, wrong_ms; /* how long at most */
};

struct js_world {
    struct js_server server;
    struct js_faults faults;
    uint32_t count;
    struct js_node nodes[JS_NODES];
    /* Called in each ms of virtual time in which something is due, before the nodes run. */
    void (*step)(struct js_world *world);
    uint64_t
        step_due; /* `step` wants to be called then; it sets it anew. JS_NEVER: not by itself */
    void *user;
};

static inline bool js_chance(struct js_world *w, uint32_t of_thousand)
{
    return of_thousand && js_below(&w->server, 1000) < of_thousand;
}

/* -------------------------------------------------------------------------------------- queues */

static inline void js_put(struct js_queue *queue, struct js_msg *msg)
{
    if (queue->last && msg->due < queue->last->due)
        msg->due = queue->last->due;
    msg->next = NULL;
    if (queue->last)
        queue->last->next = msg;
    else
        queue->first = msg;
    queue->last = msg;
}

static inline struct js_msg *js_take(struct js_queue *queue, uint64_t now)
{
    struct js_msg *msg = queue->first;
    if (!msg || msg->due > now)
        return NULL;
    queue->first = msg->next;
    if (!queue->first)
        queue->last = NULL;
    return msg;
}

/* Its end is lost, from a point that is drawn. */
static inline void js_cut(struct js_world *w, struct js_queue *queue)
{
    uint32_t n = 0;
    for (struct js_msg *m = queue->first; m; m = m->next)
        n++;
    uint64_t keep = js_below(&w->server, n + 1);
    struct js_queue kept = {0};
    for (struct js_msg *m; (m = js_take(queue, JS_NEVER));) {
        if (keep) {
            keep--;
            js_put(&kept, m);
        } else {
            free(m);
        }
    }
    *queue = kept;
}

static inline void js_clear(struct js_queue *queue)
{
    for (struct js_msg *m; (m = js_take(queue, JS_NEVER));)
        free(m);
}

static inline char *js_pack_span(char *to, struct chi_span *span)
{
    if (span->len)
        memcpy(to, span->at, span->len);
    span->at = to;
    return to + span->len;
}

static inline uint64_t js_when(struct js_world *w)
{
    return w->server.now + js_below(&w->server, w->faults.delay + 1);
}

/* ----------------------------------------------------------------------------- from the server */

static inline void js_deliver(struct js_node *node, enum js_way way, const struct chi_js_in *in)
{
    struct js_world *w = node->world;
    struct js_msg *m = calloc(1, sizeof *m + in->subject.len + in->data.len);
    m->in = *in;
    js_pack_span(js_pack_span(m->bytes, &m->in.subject), &m->in.data);
    if (w->server.consumer && way == JS_ANSWERS)
        snprintf(m->consumer, sizeof m->consumer, "%s", w->server.consumer);
    m->due = js_when(w);
    js_put(&node->ways[way], m);
}

static inline void js_world_answer(struct js_server *s, uint32_t index, const struct chi_js_in *in)
{
    struct js_world *w = (struct js_world *)(void *)s; /* its first member */
    struct js_node *node = &w->nodes[index];
    bool ack = in->data.len > 10 && !memcmp(in->data.at, "{\"stream\":", 10);
    if (!node->up || js_chance(w, ack ? w->faults.lose_ack : w->faults.lose_answer))
        return;
    js_deliver(node, JS_ANSWERS, in);
    if (js_chance(w, w->faults.double_answer))
        js_deliver(node, JS_ANSWERS, in);
}

static inline void js_world_live(struct js_server *s, const struct chi_js_in *in)
{
    struct js_world *w = (struct js_world *)(void *)s;
    for (uint32_t i = 0; i < w->count; i++) {
        struct js_node *node = &w->nodes[i];
        if (!node->up || js_chance(w, w->faults.lose_live))
            continue;
        js_deliver(node, JS_LIVE, in);
        if (js_chance(w, w->faults.double_live))
            js_deliver(node, JS_LIVE, in);
    }
}

static inline bool js_to_bus(struct js_node *from, const struct chi_js_out *out)
{
    struct js_world *w = from->world;
    char subject[128], mine[32];
    snprintf(subject, sizeof subject, "%.*s", (int)out->subject.len, out->subject.at);
    const char *at = strstr(subject, ".bus.");
    if (!at || !strncmp(subject, "$JS.", 4) || strstr(subject, ".in."))
        return false;
    struct chi_js_in in = {.kind = CHI_JS_BUS, .data = out->data};
    for (uint32_t i = 0; i < w->count; i++) {
        snprintf(mine, sizeof mine, "%016" PRIx64, w->nodes[i].id);
        if (&w->nodes[i] != from && w->nodes[i].up &&
            (!strcmp(at + 5, "all") || !strcmp(at + 5, mine)))
            js_deliver(&w->nodes[i], JS_BUS, &in);
    }
    return true;
}

static inline void js_arrive(struct js_node *node, struct js_msg *m)
{
    if (!js_to_bus(node, &m->out) && !js_chance(node->world, node->world->faults.lose_post))
        js_serve(&node->world->server, node->index, &m->out);
    free(m);
}

/* ------------------------------------------------------------------------------------ the port */

static inline bool js_port_up(void *self)
{
    return ((struct js_node *)self)->up;
}
static inline uint64_t js_port_number(void *self)
{
    return ((struct js_node *)self)->number;
}
static inline void js_port_flush(void *self)
{
    (void)self;
}
static inline uint32_t js_port_most(void *self)
{
    (void)self;
    return 1048576;
}

static inline void js_note_pull(struct js_node *node, const struct chi_js_out *out)
{
    char subject[160];
    snprintf(subject, sizeof subject, "%.*s", (int)out->subject.len, out->subject.at);
    if (!strstr(subject, ".CONSUMER.MSG.NEXT."))
        return;
    const char *name = strrchr(subject, '.') + 1;
    uint32_t at = 0;
    while (at < CHI_JS_CONSUMERS && strcmp(node->pulls[at].name, name) != 0)
        at++;
    if (at == CHI_JS_CONSUMERS)
        at = node->pull_next++ % CHI_JS_CONSUMERS;
    snprintf(node->pulls[at].name, sizeof node->pulls[at].name, "%s", name);
    node->pulls[at].token = out->token;
}

static inline int js_port_send(void *self, const struct chi_js_out *out)
{
    struct js_node *node = self;
    if (!node->up)
        return CHATHUB_EAGAIN;
    node->sends++;
    js_note_pull(node, out);
    struct js_msg *m = calloc(1, sizeof *m + out->subject.len + out->data.len);
    m->out = *out;
    js_pack_span(js_pack_span(m->bytes, &m->out.subject), &m->out.data);
    if (out->id) {
        snprintf(m->id, sizeof m->id, "%s", out->id);
        m->out.id = m->id;
    }
    m->due = js_when(node->world);
    js_put(&node->ways[JS_OUT], m);
    return 0;
}

static inline struct chi_js_port js_world_port(struct js_world *w, uint32_t node)
{
    return (struct chi_js_port){js_port_up,    js_port_number, js_port_send,
                                js_port_flush, js_port_most,   &w->nodes[node]};
}

/* ------------------------------------------------------------------------------- the connection */

/* What has come is heard before anything of another connection; the rest is lost. What was sent may
 * arrive much later. */
static inline void js_world_break(struct js_world *w, uint32_t index, uint64_t for_ms)
{
    struct js_node *node = &w->nodes[index];
    if (node->up) {
        js_cut(w, &node->ways[JS_OUT]);
        for (int i = JS_LIVE; i < JS_WAYS; i++) {
            js_cut(w, &node->ways[i]);
            for (struct js_msg *m = node->ways[i].first; m; m = m->next)
                m->due = w->server.now;
        }
        for (struct js_msg *m; (m = js_take(&node->ways[JS_OUT], JS_NEVER));)
            js_put(&node->stray, m);
    }
    node->up = false;
    node->back = for_ms == JS_NEVER ? JS_NEVER : w->server.now + for_ms;
    node->due = w->server.now;
}

static inline void js_reconnect(struct js_node *node)
{
    if (node->up || node->world->server.now < node->back)
        return;
    node->up = true;
    node->number++;
    node->due = node->world->server.now;
}

/* Hands what has come to `heard`. From within `round`. */
static inline void js_world_hear(struct js_node *node)
{
    uint64_t now = node->world->server.now;
    for (bool any = true; any;) {
        any = false;
        /* One of each at a time, in an order that is drawn. */
        enum js_way way = JS_LIVE + (enum js_way)js_below(&node->world->server, 3);
        for (int i = 0; i < 3 && !any; i++, way = way == JS_BUS ? JS_LIVE : way + 1) {
            struct js_msg *m = js_take(&node->ways[way], now);
            if (!m)
                continue;
            any = true;
            for (uint32_t k = 0; m->consumer[0] && k < CHI_JS_CONSUMERS; k++)
                if (!strcmp(node->pulls[k].name, m->consumer))
                    m->in.token = node->pulls[k].token;
            node->heard(node, &m->in);
            free(m);
        }
    }
}

/* ------------------------------------------------------------------------------------- a chi_js */

static inline void js_js_heard(struct js_node *node, const struct chi_js_in *in)
{
    chi_js_heard(node->js, in);
}

static inline uint64_t js_world_round(struct js_node *node)
{
    struct js_world *w = node->world;
    node->orders.wall = JS_WALL + w->server.now + node->ahead;
    chi_js_begin(node->js, w->server.now, &node->orders);
    for (struct chi_work *work; (work = chi_works_take(&node->tasks));)
        chi_js_take(node->js, (struct chi_js_task *)(void *)work);
    if (node->ways[JS_LIVE].first && js_chance(w, w->faults.missed)) {
        js_cut(w, &node->ways[JS_LIVE]);
        chi_js_missed(node->js);
    }
    js_world_hear(node);
    chi_js_end(node->js);
    uint64_t next = chi_js_next(node->js);
    for (struct chi_work *work; (work = chi_works_take(&node->js->out));)
        node->finished(node, (struct chi_js_task *)(void *)work);
    return node->tasks.count ? w->server.now : next;
}

/* orders are set here to what suits most tests; finished has to be set. */
static inline void js_world_attach(struct js_world *w, uint32_t index, struct chi_js *js)
{
    struct js_node *node = &w->nodes[index];
    node->js = js;
    node->round = js_world_round;
    node->heard = js_js_heard;
    node->due = w->server.now;
    node->orders = (struct chi_js_orders){
        .bounds = {UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, 3600000, 1000000},
        .hold = 10000};
}

/* A task for it, in its next round. */
static inline void js_world_put(struct js_world *w, uint32_t index, struct chi_js_task *task)
{
    chi_works_add(&w->nodes[index].tasks, &task->work);
    w->nodes[index].due = w->server.now;
}

/* It is dead: what was on its way to it is lost, what it sent may arrive. `js` is the caller's. */
static inline void js_world_detach(struct js_world *w, uint32_t index)
{
    struct js_node *node = &w->nodes[index];
    js_world_break(w, index, 0);
    for (int i = 0; i < JS_WAYS; i++)
        js_clear(&node->ways[i]);
    memset(node->pulls, 0, sizeof node->pulls);
    node->js = NULL;
    node->round = NULL;
}

/* --------------------------------------------------------------------------------------- weather */

static inline bool js_often(struct js_world *w, uint32_t often)
{
    return often && js_below(&w->server, 100000) < often;
}

static inline void js_weather(struct js_world *w)
{
    struct js_server *s = &w->server;
    const struct js_faults *f = &w->faults;
    if (js_often(w, f->often_leaderless))
        s->leaderless = s->now + js_below(s, f->leaderless_ms + 1);
    if (s->now >= s->follower_until && js_often(w, f->often_lag)) {
        s->follower_until = s->now + js_below(s, f->lag_ms + 1);
        s->follower_seq = s->last_seq;
        s->follower_time = s->now;
    }
    if (s->now >= s->wrong_until && js_often(w, f->often_wrong)) {
        s->wrong_until = s->now + js_below(s, f->wrong_ms + 1);
        s->wrong_from = s->last_seq - js_below(s, s->last_seq < 100 ? s->last_seq + 1 : 100);
        s->wrong_to = s->wrong_from + js_below(s, 10);
    }
    if (js_often(w, f->often_consumers))
        memset(s->consumers, 0, sizeof s->consumers);
    for (uint32_t i = 0; i < w->count; i++) {
        if (js_often(w, f->often_break))
            js_world_break(w, i, js_below(s, f->break_ms + 1));
        if (js_often(w, f->often_sleep))
            w->nodes[i].asleep = s->now + js_below(s, f->sleep_ms + 1);
    }
}

static inline bool js_has_weather(const struct js_faults *f)
{
    return f->often_leaderless || f->often_lag || f->often_break || f->often_sleep ||
           f->often_consumers || f->often_wrong;
}

/* ------------------------------------------------------------------------------------- scheduler */

static inline uint64_t js_sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t js_node_next(const struct js_node *node)
{
    uint64_t next = node->round ? node->due : JS_NEVER;
    if (!node->up)
        next = js_sooner(next, node->back);
    for (int i = JS_LIVE; i < JS_WAYS; i++)
        if (node->round && node->ways[i].first)
            next = js_sooner(next, node->ways[i].first->due);
    if (next < node->asleep)
        next = node->asleep;
    if (node->ways[JS_OUT].first)
        next = js_sooner(next, node->ways[JS_OUT].first->due);
    if (node->stray.first)
        next = js_sooner(next, node->stray.first->due);
    return next;
}

static inline void js_node_run(struct js_node *node)
{
    struct js_world *w = node->world;
    uint64_t now = w->server.now;
    bool due = node->due <= now;
    js_reconnect(node);
    for (int i = JS_LIVE; i < JS_WAYS; i++)
        due = due || (node->ways[i].first && node->ways[i].first->due <= now);
    if (!node->round || now < node->asleep || !due)
        return;
    node->due = JS_NEVER;
    uint64_t next = node->round(node);
    node->rounds++;
    /* At least 1 ms later: time goes on. */
    node->due = js_sooner(node->due, next <= now ? now + 1 : next);
}

/* One ms in which something is due, not after `until`. False: `until` is reached. */
static inline bool js_world_step(struct js_world *w, uint64_t until)
{
    struct js_server *s = &w->server;
    uint64_t next = js_sooner(until, w->step ? w->step_due : JS_NEVER);
    for (uint32_t i = 0; i < w->count; i++)
        next = js_sooner(next, js_node_next(&w->nodes[i]));
    bool weather = js_has_weather(&w->faults);
    if (weather && next > s->now + 1)
        next = s->now + 1;
    if (next >= until) {
        s->now = until > s->now ? until : s->now;
        return false;
    }
    bool later = next > s->now;
    s->now = later ? next : s->now;
    if (weather && later)
        js_weather(w);
    for (uint32_t i = 0; i < w->count; i++)
        for (struct js_msg *m; (m = js_take(&w->nodes[i].stray, s->now));)
            js_arrive(&w->nodes[i], m);
    for (uint32_t i = 0; i < w->count; i++)
        for (struct js_msg *m; (m = js_take(&w->nodes[i].ways[JS_OUT], s->now));)
            js_arrive(&w->nodes[i], m);
    if (w->step) {
        if (w->step_due <= s->now)
            w->step_due = JS_NEVER;
        w->step(w);
    }
    uint32_t first = (uint32_t)js_below(s, w->count);
    for (uint32_t i = 0; i < w->count; i++)
        js_node_run(&w->nodes[(first + i) % w->count]);
    return true;
}

static inline void js_world_run(struct js_world *w, uint64_t until)
{
    while (js_world_step(w, until))
        continue;
}

/* ------------------------------------------------------------------------------------------ life */

static inline struct js_world *js_world_new(uint64_t seed, uint32_t nodes)
{
    struct js_world *w = calloc(1, sizeof *w);
    js_server_init(&w->server, seed);
    w->server.now = 1000;
    w->server.answer = js_world_answer;
    w->server.live = js_world_live;
    w->count = nodes;
    w->step_due = JS_NEVER;
    for (uint32_t i = 0; i < JS_NODES; i++)
        w->nodes[i] = (struct js_node){
            .world = w, .index = i, .id = 0x1000 + i, .up = true, .number = 1, .due = JS_NEVER};
    return w;
}

/* What is attached is freed by the caller, before. */
static inline void js_world_free(struct js_world *w)
{
    for (uint32_t i = 0; i < JS_NODES; i++) {
        for (int k = 0; k < JS_WAYS; k++)
            js_clear(&w->nodes[i].ways[k]);
        js_clear(&w->nodes[i].stray);
    }
    js_server_fini(&w->server);
    free(w);
}

#endif
