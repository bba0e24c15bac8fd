/* Nodes with a whole chi_js each in a js_world, rooms that they have open, a poster that is none of
 * them, and what each node showed, to be compared with what the stream holds. */
#ifndef JS_SHOWN_H
#define JS_SHOWN_H

#include "js_world.h"

#define ROOMS  3
#define LEDGER 20000

struct stored {
    uint64_t nonce; /* of the room's entry; 0: something else, or none */
    uint64_t prev;  /* in its room */
    uint32_t room;
    bool deleted;
};

struct shown {
    uint64_t seq, prev, nonce;
    uint32_t epoch; /* number of it in the node's `epochs` */
};

struct viewer {
    struct shows *all;
    struct chi_js_room *rooms[ROOMS];  /* the handles in use … */
    struct chi_js_room *handles[2048]; /* … and all that ever were; owned */
    uint32_t handle_count;
    struct chi_name *names[ROOMS];
    uint64_t from[ROOMS]; /* top when it was opened */
    bool opened[ROOMS];
    struct shown *list[ROOMS]; /* owned; in the order shown */
    uint32_t count[ROOMS], cap[ROOMS];
    uint32_t backs;
    struct chi_js_epoch epochs[64]; /* in force one after the other */
    uint32_t epoch_count;
};

struct shows {
    struct js_world *world;
    struct viewer viewers[JS_NODES];
    struct stored ledger[LEDGER]; /* by sequence */
    uint64_t tops[ROOMS];
    uint64_t nonces;
};

static const char *const room_names[ROOMS] = {"lobby", "a.b *>", "\xc3\xa9t\xc3\xa9"};

static inline uint32_t room_of(struct chi_span key)
{
    for (uint32_t i = 0; i < ROOMS; i++)
        if (chi_span_is(key, room_names[i]))
            return i;
    ck_abort_msg("no such room");
}

/* ------------------------------------------------------------------------------------ the poster */

static inline void shows_note(struct shows *s, uint64_t seq, uint32_t room, uint64_t nonce)
{
    ck_assert(seq < LEDGER);
    s->ledger[seq] = (struct stored){nonce, s->tops[room], room, false};
    s->tops[room] = seq;
}

/* Stores an entry, unless there is no leader. */
static inline void shows_post(struct shows *s, uint32_t room)
{
    struct js_server *server = &s->world->server;
    char text[32], subject[128];
    struct chi_buf data = {0}, token = {0};
    uint64_t nonce = ++s->nonces, last = server->last_seq;
    snprintf(text, sizeof text, "no. %" PRIu64, nonce);
    struct chi_entry_parts parts = {
        .sender = CHI_SPAN("ann"), .user = CHI_SPAN("u-ann"), .content = chi_span_of(text)};
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    struct chi_js_hint hint = {.before = s->tops[room]};
    chi_js_write_entry(&data, entry, JS_WALL + server->now, nonce, &hint);
    chi_entry_unref(entry);
    chi_js_room_token(&token, chi_span_of(room_names[room]));
    snprintf(subject, sizeof subject, "chat.in.room.%.*s", (int)token.len, token.at);
    struct chi_js_out out = {.subject = chi_span_of(subject), .data = {data.at, data.len}};
    js_serve(server, 0, &out);
    if (server->last_seq > last)
        shows_note(s, server->last_seq, room, nonce);
    chi_buf_fini(&data);
    chi_buf_fini(&token);
}

static inline void shows_store(struct shows *s, const char *subject, struct chi_span data)
{
    struct chi_js_out out = {.subject = chi_span_of(subject), .data = data};
    js_serve(&s->world->server, 0, &out);
}

static inline void shows_delete(struct shows *s, uint64_t seq)
{
    struct chi_buf data = {0};
    if (!js_at(&s->world->server, seq) || !s->ledger[seq].nonce)
        return;
    chi_js_ask_delete(&data, seq);
    uint64_t leaderless = s->world->server.leaderless;
    s->world->server.leaderless = 0;
    shows_store(s, "$JS.API.STREAM.MSG.DELETE.chat", (struct chi_span){data.at, data.len});
    s->world->server.leaderless = leaderless;
    s->ledger[seq].deleted = true;
    chi_buf_fini(&data);
}

/* The ledger as of the stream that was put back. */
static inline void shows_put_back(struct shows *s, uint64_t seq)
{
    js_put_back(&s->world->server, seq);
    memset(&s->ledger[seq + 1], 0, (LEDGER - seq - 1) * sizeof s->ledger[0]);
    for (uint32_t r = 0; r < ROOMS; r++)
        s->tops[r] = 0;
    for (uint64_t i = 1; i <= seq; i++)
        if (s->ledger[i].nonce)
            s->tops[s->ledger[i].room] = i;
}

/* ----------------------------------------------------------------------------------- the viewers */

static inline void viewer_task(struct js_node *node, enum chi_js_work kind,
                               struct chi_js_room *room)
{
    struct chi_js_task *task = chi_js_task_new(kind);
    task->room = room;
    chi_works_add(&node->tasks, &task->work);
}

/* Under a new handle. */
static inline void viewer_open(struct js_node *node, struct viewer *v, uint32_t room)
{
    struct chi_js_room *handle = calloc(1, sizeof *handle);
    ck_assert(v->handle_count < 2048);
    handle->name = v->names[room];
    handle->number = room;
    v->handles[v->handle_count++] = v->rooms[room] = handle;
    v->opened[room] = false;
    viewer_task(node, CHI_JS_OPEN, handle);
    node->due = node->world->server.now;
}

static inline void viewer_entry(struct viewer *v, const struct chi_js_task *task)
{
    uint32_t room = room_of((struct chi_span){task->bytes.at, task->bytes.len});
    struct chi_entry_parts parts = chi_entry_read(task->entry);
    uint64_t nonce = 0;
    char text[32];
    snprintf(text, sizeof text, "%.*s", (int)parts.content.len, parts.content.at);
    ck_assert_int_eq(sscanf(text, "no. %" SCNu64, &nonce), 1);
    if (v->count[room] == v->cap[room])
        v->list[room] =
            realloc(v->list[room], (v->cap[room] = v->cap[room] * 2 + 16) * sizeof(struct shown));
    v->list[room][v->count[room]++] =
        (struct shown){task->entry->position, task->entry->prev, nonce, v->epoch_count - 1};
}

static inline void viewer_epoch(struct js_node *node, struct viewer *v)
{
    const struct chi_js_epochs *epochs = &node->js->epochs;
    ck_assert(v->epoch_count < 64 && epochs->count);
    v->epochs[v->epoch_count++] = epochs->list[epochs->count - 1];
}

/* All rooms are closed, and opened anew. */
static inline void viewer_back(struct js_node *node, struct viewer *v)
{
    v->backs++;
    viewer_epoch(node, v);
    for (uint32_t r = 0; r < ROOMS; r++) {
        if (v->opened[r])
            viewer_task(node, CHI_JS_SHUT, v->rooms[r]);
        viewer_open(node, v, r);
    }
}

/* Again, until it can be opened. */
static inline void viewer_opened(struct js_node *node, struct viewer *v,
                                 const struct chi_js_task *task)
{
    uint32_t room = task->room->number;
    bool old = task->room != v->rooms[room];
    if (old && !task->status) {
        viewer_task(node, CHI_JS_SHUT, task->room);
    } else if (!old && task->status) {
        viewer_task(node, CHI_JS_OPEN, task->room);
    } else if (!old) {
        v->opened[room] = true;
        v->from[room] = task->position;
    }
}

static inline void viewer_finished(struct js_node *node, struct chi_js_task *task)
{
    struct viewer *v = node->user;
    if (task->kind == CHI_JS_ENTRY)
        viewer_entry(v, task);
    else if (task->kind == CHI_JS_BACK)
        viewer_back(node, v);
    else if (task->kind == CHI_JS_OPEN)
        viewer_opened(node, v, task);
    chi_js_task_free(task);
}

static const struct chi_js_config wanted = {.replicas = 0, .duplicates = 120000};

static inline struct chi_js *make_js(struct js_world *w, uint32_t node)
{
    struct chi_js *js = NULL;
    struct chi_js_parts parts = {.port = js_world_port(w, node),
                                 .stream = "chat",
                                 .seed = w->server.random + node,
                                 .wanted = wanted};
    memset(parts.secrets, (int)node + 1, sizeof parts.secrets);
    ck_assert_int_eq(chi_js_new(&parts, &js), 0);
    return js;
}

static inline bool shows_up(const struct shows *s)
{
    for (uint32_t i = 0; i < s->world->count; i++)
        if (s->world->nodes[i].js && s->world->nodes[i].js->state != CHI_JS_UP)
            return false;
    return true;
}

static inline void shows_run(struct shows *s, uint64_t ms)
{
    js_world_run(s->world, s->world->server.now + ms);
}

static inline void viewer_start(struct shows *s, uint32_t node)
{
    struct viewer *v = &s->viewers[node];
    struct js_node *at = &s->world->nodes[node];
    v->all = s;
    at->user = v;
    at->finished = viewer_finished;
    js_world_attach(s->world, node, make_js(s->world, node));
    for (uint32_t r = 0; r < ROOMS; r++) {
        struct chi_span name = chi_span_of(room_names[r]);
        v->names[r] = chi_name_new(name, name);
    }
}

/* All are open, with their rooms. */
static inline struct shows *shows_new(uint64_t seed, uint32_t nodes)
{
    struct shows *s = calloc(1, sizeof *s);
    s->world = js_world_new(seed, nodes);
    for (uint32_t i = 0; i < nodes; i++)
        viewer_start(s, i);
    shows_run(s, 500);
    ck_assert(shows_up(s));
    for (uint32_t i = 0; i < nodes; i++) {
        viewer_epoch(&s->world->nodes[i], &s->viewers[i]);
        for (uint32_t r = 0; r < ROOMS; r++)
            viewer_open(&s->world->nodes[i], &s->viewers[i], r);
    }
    shows_run(s, 500);
    return s;
}

static inline void shows_free(struct shows *s)
{
    for (uint32_t i = 0; i < s->world->count; i++) {
        struct viewer *v = &s->viewers[i];
        struct chi_js *js = s->world->nodes[i].js;
        struct chi_works left = s->world->nodes[i].tasks;
        js_world_detach(s->world, i);
        chi_js_free(js, &left);
        for (struct chi_work *work; (work = chi_works_take(&left));)
            chi_js_task_free((struct chi_js_task *)(void *)work);
        for (uint32_t r = 0; r < ROOMS; r++) {
            chi_name_unref(v->names[r]);
            free(v->list[r]);
        }
        for (uint32_t k = 0; k < v->handle_count; k++)
            free(v->handles[k]);
    }
    js_world_free(s->world);
    free(s);
}

/* ------------------------------------------------------------------------------------- the check */

/* What a node showed of a room in its last epoch, after the room was opened, is what the stream holds
 * from there on: each once, in order; a deleted one may be left out. */
static inline void check_room(const struct shows *s, uint32_t node, uint32_t room)
{
    const struct viewer *v = &s->viewers[node];
    uint64_t at = v->from[room], last = v->from[room];
    ck_assert(v->opened[room]);
    for (uint32_t i = 0; i < v->count[room]; i++) {
        const struct shown *shown = &v->list[room][i];
        if (shown->epoch + 1 < v->epoch_count || shown->seq <= v->from[room])
            continue;
        const struct stored *is = &s->ledger[shown->seq];
        ck_assert_msg(shown->seq > last, "node %u room %u: %" PRIu64 " after %" PRIu64, node, room,
                      shown->seq, last);
        for (at++; at < shown->seq; at++)
            ck_assert_msg(!s->ledger[at].nonce || s->ledger[at].room != room ||
                              s->ledger[at].deleted,
                          "node %u room %u: %" PRIu64 " was left out", node, room, at);
        ck_assert_uint_eq(is->room, room);
        ck_assert_uint_eq(is->nonce, shown->nonce);
        /* One before that was deleted, too, before the node heard of it, may be named. */
        const struct stored *prev = &s->ledger[shown->prev < shown->seq ? shown->prev : 0];
        bool gone = shown->prev > last && prev->nonce && prev->room == room && prev->deleted;
        ck_assert_msg(shown->prev == last || shown->prev == is->prev || gone,
                      "prev of %" PRIu64 ": %" PRIu64 ", not %" PRIu64 " or %" PRIu64, shown->seq,
                      shown->prev, last, is->prev);
        last = shown->seq;
    }
    for (at++; at <= s->world->server.last_seq; at++)
        ck_assert_msg(!s->ledger[at].nonce || s->ledger[at].room != room || s->ledger[at].deleted,
                      "node %u room %u: %" PRIu64 " was never shown", node, room, at);
}

/* With the weather gone, all is shown; something is stored last, so that there is a last one. */
static inline void shows_settle(struct shows *s)
{
    s->world->faults = (struct js_faults){.delay = 2};
    s->world->server.leaderless = 0;
    shows_run(s, 20000);
    for (uint32_t r = 0; r < ROOMS; r++)
        shows_post(s, r);
    shows_run(s, 5000);
    ck_assert(shows_up(s));
    for (uint32_t i = 0; i < s->world->count; i++) {
        ck_assert_uint_eq(s->world->nodes[i].js->news.shown, s->world->server.last_seq);
        for (uint32_t r = 0; r < ROOMS; r++)
            check_room(s, i, r);
    }
}

/* Positions that clients remember of what they were shown, and that hold today, mean the same. */
static inline bool holds(const struct chi_js_epochs *epochs, const struct chi_js_epoch *under,
                         uint64_t position)
{
    for (uint32_t i = 0; i < epochs->count; i++)
        if (!memcmp(epochs->list[i].name, under->name, sizeof under->name))
            return i + 1 == epochs->count || position < epochs->list[i + 1].first;
    return false;
}

static inline void check_positions(const struct shows *s, uint32_t node)
{
    const struct viewer *v = &s->viewers[node];
    const struct chi_js_epochs *epochs = &s->world->nodes[node].js->epochs;
    for (uint32_t r = 0; r < ROOMS; r++)
        for (uint32_t i = 0; i < v->count[r]; i++) {
            const struct shown *shown = &v->list[r][i];
            if (holds(epochs, &v->epochs[shown->epoch], shown->seq))
                ck_assert_msg(s->ledger[shown->seq].nonce == shown->nonce,
                              "node %u: %" PRIu64 " holds, and is another", node, shown->seq);
        }
}

#endif
