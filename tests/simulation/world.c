/* One run: a world made from its seed, a scheduler that picks what happens next, rests, and the
 * end.
 *
 * Happy path: steps under faults, now and then a rest at which everything must have come to its
 * end, then all go, in one of three ways, and nothing may be left. */
#include <string.h>

#include "options.h"
#include "sim.h"

#define REST_ROUNDS 20000

/* ------------------------------------------------------------------------------------
 * environment */

static uint64_t env_now(void *self)
{
    return ((struct sim_world *)self)->now;
}

static uint64_t env_wall(void *self)
{
    struct sim_world *w = self;
    return w->wall + w->now;
}

static void env_random(void *self, void *bytes, size_t len)
{
    struct sim_world *w = self;
    for (size_t i = 0; i < len; i++)
        ((unsigned char *)bytes)[i] = (unsigned char)sim_next(&w->noise);
}

/* Not SHA-256, but as good as it for telling texts apart. */
static void env_digest(void *self, const void *bytes, size_t len, uint8_t out[32])
{
    (void)self;
    uint64_t h = sim_hash(bytes, len);
    struct sim_rng mix = {h};
    for (int i = 0; i < 4; i++) {
        uint64_t n = sim_next(&mix);
        memcpy(out + i * 8, &n, 8);
    }
}

/* ASCII: letters, digits, some marks, inner blanks. Lower case compares. */
static int env_fold(void *self, enum chi_fold_kind kind, struct chi_span text,
                    struct chi_buf *shown, struct chi_buf *key)
{
    (void)self;
    (void)kind;
    if (text.len == 0)
        return CHATHUB_ENAME;
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] <= ' ' || text.at[i] > '~' || text.at[i] == '|' || text.at[i] == ',')
            return CHATHUB_ENAME;
    chi_buf_add(shown, text.at, text.len);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        chi_buf_add_char(key, c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
    }
    return shown->failed || key->failed ? CHATHUB_ENOMEM : 0;
}

/* Lines are made in half of the worlds, so that making them has no effects of its own. */
static bool env_logs(void *self, int level)
{
    struct sim_world *w = self;
    (void)level;
    return w->config.verbose || w->config.seed % 2 == 0;
}

static void env_log(void *self, int level, const char *event, const struct chi_field *fields,
                    size_t n)
{
    struct sim_world *w = self;
    if (!w->config.verbose)
        return;
    struct sim_bytes line = {0};
    for (size_t i = 0; i < n; i++) {
        sim_bytes_add(&line, " ", 1);
        sim_bytes_add(&line, fields[i].key, strlen(fields[i].key));
        sim_bytes_add(&line, "=", 1);
        sim_bytes_add(&line, fields[i].value.at, fields[i].value.len);
    }
    sim_trace(w, "log line (%d) %s%.*s", level, event, (int)line.len, line.at ? line.at : "");
    sim_bytes_fini(&line);
}

static void env_wake(void *self)
{
    ((struct sim_world *)self)->woken = true;
}

static const struct chi_env_ops env_ops = {
    .now = env_now,
    .wall = env_wall,
    .random = env_random,
    .digest = env_digest,
    .fold = env_fold,
    .logs = env_logs,
    .log = env_log,
    .wake = env_wake,
};

static int authorize(void *ctx, const struct chi_question *question)
{
    struct sim_world *w = ctx;
    if (!sim_faulty(w, SIM_AUTHORIZE))
        return CHATHUB_ALLOW;
    uint32_t dice = sim_below(&w->rng, 10);
    if (dice < 6 || w->question_count == sizeof w->questions / sizeof w->questions[0])
        return dice == 0 ? CHATHUB_DENY : CHATHUB_ALLOW;
    struct sim_question *q = &w->questions[w->question_count++];
    q->id = question->id;
    q->allow = dice != 6;
    q->due = dice == 9 && sim_one_in(&w->rng, 4) ? UINT64_MAX : w->now + sim_below(&w->rng, 300);
    return CHATHUB_LATER;
}

/* ----------------------------------------------------------------------------------------- a
 * world */

static uint32_t pick(struct sim_world *w, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t which = sim_below(&w->rng, 3);
    return which == 0 ? a : which == 1 ? b : c;
}

static void tighten(struct sim_world *w, struct chi_settings *s)
{
    s->max_clients = pick(w, 4, 8, 64);
    s->max_rooms = pick(w, 2, 4, 64);
    s->max_client_rooms = pick(w, 1, 3, 64);
    s->max_members = pick(w, 2, 4, 64);
    s->max_sessions = pick(w, 1, 4, 64);
    s->client_drafts = pick(w, 1, 3, 16);
    s->client_draft_bytes = pick(w, 512, 4096, 65536);
    s->hub_draft_bytes = pick(w, 1024, 8192, 1u << 20);
    s->client_replies = pick(w, 64, 512, 8192);
    s->hub_reply_bytes = pick(w, 512, 4096, 1u << 20);
}

static bool settle_settings(struct sim_world *w)
{
    struct chi_settings *s = &w->settings;
    if (chi_options_defaults(s))
        return false;
    w->has_settings = true;
    s->max_content = pick(w, 64, 400, 4000);
    s->max_data = 200;
    s->max_name = 32;
    s->max_room_name = 32;
    s->max_cid = 64;
    s->max_status = 40;
    s->max_bad_requests = pick(w, 3, 10, 100);
    s->return_time = pick(w, 0, 1000, 5000);
    s->authorize_timeout = 1000;
    s->typing_time = 2000;
    s->join_history = pick(w, 0, 3, 20);
    s->history_page = pick(w, 3, 10, SIM_PAGE);
    s->page_bytes = pick(w, 200, 2000, 65536);
    s->who_page = pick(w, 2, 5, 100);
    s->presence_all = pick(w, 0, 3, 50);
    s->presence_all_ms = pick(w, 0, 10, 100);
    s->presence_names = s->presence_all + pick(w, 2, 5, 1000);
    s->presence_names_ms = pick(w, 20, 250, 1000);
    s->presence_count_ms = pick(w, 20, 500, 1000);
    s->slice_us = pick(w, 1, 100, 1000);
    s->slice_writes = pick(w, 1, 20, 256);
    s->slice_bytes = pick(w, 1, 2000, 1u << 20);
    s->room_turn = pick(w, 1, 600, 16384);
    s->client_turn = pick(w, 1, 2000, 65536);
    s->log_entries = 1u << 20;
    s->log_bytes = s->log_total_bytes = 1u << 30;
    s->log_age = 4000000000u; /* longer than any story */
    if (w->config.faults & SIM_BOUNDS)
        s->log_entries = pick(w, 3, 8, 40);
    if ((w->config.faults & SIM_BOUNDS) && sim_one_in(&w->rng, 4)) {
        s->log_bytes = pick(w, 500, 2000, 10000);
        s->log_total_bytes = pick(w, 1000, 4000, 20000);
        s->log_age = pick(w, 4000000000u, 500, 5000);
        w->vague_bounds = true;
    }
    if (w->config.faults & SIM_HEAVY)
        s->max_content = 4000;
    if (w->config.faults & SIM_SMALL_WINDOW)
        s->window_bytes = pick(w, 1, 4096, 65536);
    if (w->config.faults & SIM_CROWD) {
        s->presence_names = pick(w, 5, 20, 40); /* so many fit into a frame */
        s->slice_us = pick(w, 1, 20, 1000);
    }
    if (w->config.faults & SIM_LIMITS)
        tighten(w, s);
    if (w->config.faults & SIM_FOREIGN) {
        s->replay_names = sim_one_in(&w->rng, 2) ? pick(w, 0, 1, 3) : 64;
        s->replay_time = pick(w, 300, 3000, 3600000);
    }
    w->vague_bounds = w->vague_bounds || s->max_rooms < SIM_ROOMS; /* rooms are forgotten whole */
    w->vague_bounds = w->vague_bounds && !w->store; /* that one is bounded by number alone */
    return true;
}

/* One allocation in how many fails. */
static uint32_t alloc_rate(struct sim_world *w)
{
    static const uint32_t rates[] = {30, 100, 300, 1000};
    return w->config.faults & SIM_ALLOC ? rates[w->config.seed % 4] : 0;
}

const char *sim_why(const struct sim_world *w)
{
    return w->config.seed % 3 ? "the disk is full" : NULL;
}

static bool open_hub(struct sim_world *w)
{
    struct chi_log *inner = w->store ? sim_store_open(w->store) : NULL;
    if (!inner && chi_log_memory_new(&w->settings, w->env, &inner))
        return false;
    w->flog = sim_flog_new(w, inner);
    struct chi_log *log = sim_flog_log(w->flog);
    if (chi_delivery_new(&w->settings, w->env, log, &w->delivery))
        return false;
    struct chi_hub_parts parts = {.settings = &w->settings,
                                  .env = w->env,
                                  .log = log,
                                  .delivery_ops = &sim_delivery_ops,
                                  .delivery = w->delivery,
                                  .authorize = authorize,
                                  .authorize_ctx = w,
                                  .ask = 15};
    if (chi_hub_new(&parts, &w->hub))
        return false;
    log->bind(log, chi_hub_log_up(w->hub));
    chi_delivery_bind(w->delivery, chi_hub_delivery_up(w->hub));
    return true;
}

static void close_hub(struct sim_world *w)
{
    chi_hub_free(w->hub);
    chi_delivery_free(w->delivery);
    if (w->flog)
        sim_flog_log(w->flog)->free(sim_flog_log(w->flog));
    w->hub = NULL;
    w->delivery = NULL;
    w->flog = NULL;
    w->question_count = 0;
    sim_slots_reset(w);
    for (int i = 0; i < SIM_ROOMS; i++) {
        struct sim_room *room = &w->rooms[i], was = *room;
        sim_free(room->signal_top);
        *room = (struct sim_room){
            .past = was.past, .count = was.count, .cap = was.cap, .lost_to = was.lost_to};
        memcpy(room->name, was.name, sizeof room->name);
    }
}

static struct sim_world *world_new(const struct sim_config *config)
{
    static const char *const rooms[SIM_ROOMS] = {"general", "Kitchen", "cellar", "Roof", "garden"};
    struct sim_world *w = sim_alloc(sizeof *w);
    w->config = *config;
    w->rng.state = config->seed * 0x2545f4914f6cdd1du;
    w->noise.state = ~w->rng.state;
    w->now = 1000 + sim_below(&w->rng, 5000);
    w->last_tick = w->now;
    w->wall = 1767326645678;
    w->faults = config->faults;
    w->room_count = sim_one_in(&w->rng, 3) ? 1 : 1 + sim_below(&w->rng, SIM_ROOMS);
    if ((config->faults & SIM_FOREIGN) && sim_one_in(&w->rng, 2))
        w->room_count = 1; /* where they meet */
    w->env = (struct chi_env){&env_ops, w};
    for (int i = 0; i < SIM_ROOMS; i++)
        memcpy(w->rooms[i].name, rooms[i], strlen(rooms[i]));
    sim_transport_init(w);
    for (uint32_t i = 0; i < config->actors; i++)
        sim_actor_init(w, (int)i);
    if (config->faults & SIM_LASTS)
        w->store = sim_store_new(w);
    sim_world = w;
    return w;
}

static void drop_conns(struct sim_world *w)
{
    for (int i = 0; i < SIM_CONNS; i++)
        if (w->conns[i].used) {
            if (!w->conns[i].cut)
                sim_actor_lost(w, w->conns[i].actor, &w->conns[i]);
            sim_conn_free(w, &w->conns[i]);
        }
}

static void world_free(struct sim_world *w)
{
    for (uint32_t i = 1; i <= w->word_count; i++)
        sim_free(w->words[i]);
    for (int i = 0; i < SIM_ROOMS; i++)
        sim_free(w->rooms[i].past);
    sim_store_free(w->store);
    sim_free(w->words);
    sim_free(w->word_slots);
    sim_bytes_fini(&w->scratch);
    sim_world = NULL;
    sim_free(w);
}

/* ------------------------------------------------------------------------------------------
 * driver */

static uint64_t slice_clock(void *ctx)
{
    struct sim_world *w = ctx;
    return w->micros += sim_below(&w->rng, 40);
}

static void flush(struct sim_world *w)
{
    bool sliced = sim_one_in(&w->rng, 2);
    if (chi_delivery_flush(w->delivery, sliced ? slice_clock : NULL, w))
        w->woken = w->stirred = true;
}

static void tick(struct sim_world *w)
{
    if (w->now - w->last_tick < 1000)
        return;
    w->last_tick = w->now;
    chi_delivery_tick(w->delivery);
}

/* What a loop does before it sleeps: a turn if somebody woke it or something is due, then the
 * flush. */
static void turn(struct sim_world *w)
{
    if (w->woken || chi_hub_next(w->hub) <= w->now) {
        w->woken = false;
        w->turned = w->now;
        chi_hub_turn(w->hub);
    }
    tick(w);
    flush(w);
}

static void answer_questions(struct sim_world *w, bool all)
{
    for (uint32_t i = 0; i < w->question_count; i++) {
        struct sim_question q = w->questions[i];
        if (q.due > w->now && !all)
            continue;
        w->questions[i] = w->questions[--w->question_count];
        i--;
        if (q.due == UINT64_MAX)
            continue; /* never: the hub's time runs out */
        SIM_TRACE(w, "the host %s question %llu", q.allow ? "allows" : "denies",
                  (unsigned long long)q.id);
        chi_hub_answer(w->hub, q.id, q.allow,
                       q.allow ? (struct chi_span){0} : CHI_SPAN("not today"));
        w->stirred = true;
    }
}

static void notice_losses(struct sim_world *w, bool all)
{
    for (int i = 0; i < SIM_CONNS; i++) {
        struct sim_conn *c = &w->conns[i];
        if (c->used && c->open && c->cut && (all || c->notice_at <= w->now))
            sim_conn_notice(w, c);
    }
}

/* -----------------------------------------------------------------------------------------
 * stepping */

static struct sim_conn *any_conn(struct sim_world *w)
{
    uint32_t from = sim_below(&w->rng, SIM_CONNS);
    for (uint32_t i = 0; i < SIM_CONNS; i++)
        if (w->conns[(from + i) % SIM_CONNS].used)
            return &w->conns[(from + i) % SIM_CONNS];
    return NULL;
}

static void pass_time(struct sim_world *w)
{
    uint64_t due = chi_hub_next(w->hub);
    uint32_t dice = sim_below(&w->rng, 10);
    if (dice == 0 && due != UINT64_MAX && due > w->now && due - w->now < 5000)
        w->now = due;
    else if (dice == 1)
        w->now += sim_below(&w->rng, 1500);
    else
        w->now += sim_below(&w->rng, 30);
    if (sim_faulty(w, SIM_CLOCK) && sim_one_in(&w->rng, 10))
        w->wall += sim_one_in(&w->rng, 2) ? 3600000u : (uint64_t)-600000;
}

static bool redact_one(struct sim_world *w, struct sim_room *room, uint64_t position)
{
    const struct sim_past *past = sim_past_at(room, position);
    if (!past || past->redacting || position > room->shown || w->redactions == SIM_ERASURES)
        return false;
    room->past[past - room->past].redacting = true;
    w->redactions++;
    sim_flog_redact(w->flog, room->number, position);
    return true;
}

static void redact(struct sim_world *w)
{
    struct sim_room *room = &w->rooms[sim_below(&w->rng, SIM_ROOMS)];
    if (room->open && room->count)
        (void)redact_one(w, room, room->past[sim_below(&w->rng, room->count)].position);
}

void sim_redact_page(struct sim_world *w, uint32_t number, const struct chi_log_page *page,
                     bool backward)
{
    if (!sim_faulty(w, SIM_REDACT) || !sim_one_in(&w->rng, backward ? 2 : 6))
        return;
    uint32_t from = sim_below(&w->rng, page->count);
    for (int i = 0; i < SIM_ROOMS; i++)
        for (uint32_t n = 0; w->rooms[i].open && w->rooms[i].number == number && n < page->count;
             n++)
            if (redact_one(w, &w->rooms[i], page->entries[(from + n) % page->count]->position))
                return;
}

/* As a loss of power or a restored copy takes it back: some of what was shown and acked is gone. */
static void roll_back(struct sim_world *w)
{
    uint64_t last = sim_store_last(w->store), lost = sim_below(&w->rng, 12);
    last = sim_store_cut(w->store, lost < last ? last - lost : 0);
    SIM_TRACE(w, "the log is back at %llu", (unsigned long long)last);
    sim_check_taken_back(w, last);
}

/* As damage to a file does. */
static void lose_some(struct sim_world *w)
{
    for (uint32_t n = 1 + sim_below(&w->rng, 4); n > 0; n--) {
        struct sim_room *room = &w->rooms[sim_below(&w->rng, w->room_count)];
        struct sim_past *past = room->count ? &room->past[sim_below(&w->rng, room->count)] : NULL;
        if (!past || !sim_store_lose(w->store, past->position))
            continue;
        SIM_TRACE(w, "the log has lost %llu of %s", (unsigned long long)past->position, room->name);
        past->lost = true;
    }
}

/* The process dies: everybody is cut off, and the log is gone with it, unless it lasts. */
static void restart(struct sim_world *w)
{
    bool wiped = !w->store || (sim_faulty(w, SIM_RESTART) && sim_one_in(&w->rng, 4));
    SIM_TRACE(w, "the hub dies and comes back, the log is %s", wiped ? "empty" : "kept");
    if (w->store)
        sim_flog_die(w->flog);
    drop_conns(w);
    close_hub(w);
    if (w->store && wiped) {
        sim_store_free(w->store);
        w->store = sim_store_new(w);
    }
    if (wiped)
        sim_check_taken_back(w, 0);
    if (!wiped && sim_faulty(w, SIM_HOLES))
        lose_some(w);
    if (!wiped && sim_faulty(w, SIM_ROLLBACK) && sim_one_in(&w->rng, 2))
        roll_back(w);
    if (!open_hub(w))
        w->dead = true;
}

static void step(struct sim_world *w)
{
    uint32_t dice = sim_below(&w->rng, 100);
    struct sim_conn *c = any_conn(w);
    if (dice < 22)
        sim_actor_step(w, (int)sim_below(&w->rng, w->config.actors), false);
    else if (dice < 46)
        (void)(c && sim_conn_serve(w, c));
    else if (dice < 64)
        (void)(c && !c->stalled &&
               sim_conn_receive(w, c, 1 + sim_below(&w->rng, sim_one_in(&w->rng, 3) ? 40 : 9000)));
    else if (dice < 76)
        (void)(c && sim_conn_writable(w, c));
    else if (dice < 92)
        turn(w);
    else if (dice < 96)
        pass_time(w);
    else if (dice < 98)
        answer_questions(w, false);
    else if (sim_faulty(w, SIM_REDACT) && sim_one_in(&w->rng, 3))
        redact(w);
    else if ((w->faults & (SIM_RESTART | SIM_LASTS)) && sim_one_in(&w->rng, w->store ? 6 : 15))
        restart(w);
    notice_losses(w, false);
}

/* --------------------------------------------------------------------------------------------
 * rest */

static void rest_conns(struct sim_world *w)
{
    for (int i = 0; i < SIM_CONNS; i++) {
        struct sim_conn *c = &w->conns[i];
        c->stalled = false;
        if (c->window < 4096)
            c->window = 4096;
        while (!w->failed && sim_conn_serve(w, c)) {
        }
        (void)sim_conn_receive(w, c, SIZE_MAX);
        (void)sim_conn_writable(w, c);
    }
}

static bool restless(const struct sim_world *w)
{
    for (uint32_t i = 0; i < w->config.actors; i++)
        if (sim_actor_restless(w, (int)i))
            return true;
    return false;
}

static void rest_sleep(struct sim_world *w, uint64_t until)
{
    uint64_t due = chi_hub_next(w->hub), ticks = w->last_tick + 1000;
    if (ticks < due)
        due = ticks;
    if (due > until)
        due = until;
    w->now = due > w->now ? due : w->now + 1;
}

/* Faults end; everybody reads and finishes what they began; time passes until nothing is due any
 * more. */
static void rest(struct sim_world *w, bool calm_actors)
{
    SIM_TRACE(w, "at rest from here");
    w->faults = 0;
    sim_alloc_rate(0);
    uint64_t until = w->now + 16000, quiet_from = w->now;
    for (uint32_t round = 0; !w->failed && w->now < until; round++) {
        if (round > REST_ROUNDS) {
            sim_fail(w, "no rest after %u rounds", round);
            return;
        }
        w->stirred = false;
        notice_losses(w, true);
        answer_questions(w, w->now > quiet_from + 2000);
        rest_conns(w);
        if (calm_actors)
            for (uint32_t i = 0; i < w->config.actors; i++)
                sim_actor_step(w, (int)i, true);
        turn(w);
        sim_check_step(w);
        if (!w->stirred && !w->woken)
            rest_sleep(w, until);
        if (calm_actors && w->now >= until && restless(w) && round < REST_ROUNDS / 2)
            until = w->now + 3000;
    }
}

static void rest_and_check(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->config.actors; i++)
        w->actors[i].patient = sim_one_in(&w->rng, 3);
    rest(w, true);
    if (!w->failed)
        sim_check_rest(w);
    w->faults = w->config.faults;
    sim_alloc_rate(alloc_rate(w));
}

/* ---------------------------------------------------------------------------------------------
 * end */

static void end_by_stop(struct sim_world *w)
{
    chi_hub_stop(w->hub);
    for (int i = 0; i < 200 && !chi_hub_idle(w->hub); i++) {
        rest_conns(w);
        answer_questions(w, true);
        turn(w);
        w->now += 10;
    }
    if (!chi_hub_idle(w->hub))
        sim_fail(w, "the hub does not become idle after stop");
    chi_hub_close_all(w->hub, 1001, CHI_SPAN("shutting down"));
}

static void end_by_leaving(struct sim_world *w)
{
    for (int i = 0; i < SIM_CONNS; i++)
        if (w->conns[i].used && !w->conns[i].cut)
            sim_conn_cut(w, &w->conns[i], sim_one_in(&w->rng, 2));
}

/* All go: politely, by a stop of the hub, or not at all (what is freed then must still be all). */
static void finish(struct sim_world *w)
{
    uint32_t how = sim_below(&w->rng, 4);
    if (how == 0)
        return;
    w->faults = 0;
    sim_alloc_rate(0);
    w->stopping = how == 1;
    if (how == 1)
        end_by_stop(w);
    else
        end_by_leaving(w);
    rest(w, false);
    if (!w->failed)
        sim_check_end(w);
}

/* Everybody at once, into one room: more than delivery serves in one visit. */
static void crowd(struct sim_world *w)
{
    for (uint32_t i = 0; i < w->config.actors; i++)
        sim_actor_hurry(w, (int)i);
    for (int i = 0; i < SIM_CONNS; i++)
        (void)sim_conn_serve(w, &w->conns[i]);
}

static void run(struct sim_world *w)
{
    if (w->config.faults & SIM_CROWD)
        crowd(w);
    uint32_t middle = sim_one_in(&w->rng, 2) ? sim_below(&w->rng, w->config.steps) : UINT32_MAX;
    for (w->step = 0; w->step < w->config.steps && !w->failed && !w->dead; w->step++) {
        step(w);
        if (w->dead)
            return;
        sim_check_step(w);
        if (w->step == middle && !w->failed)
            rest_and_check(w);
    }
    if (!w->failed)
        rest_and_check(w);
    if (!w->failed)
        finish(w);
}

struct sim_outcome sim_run(const struct sim_config *config)
{
    struct sim_world *w = world_new(config);
    if (!settle_settings(w))
        sim_fail(w, "no memory for the settings");
    sim_alloc_begin(config->seed, alloc_rate(w));
    if (!w->failed && open_hub(w))
        run(w);
    struct sim_outcome out = {.step = w->step, .frames = w->frames};
    if (!w->failed) {
        drop_conns(w);
        close_hub(w);
        if (sim_alloc_live())
            sim_fail(w, "%lld allocations were never freed", (long long)sim_alloc_live());
    }
    sim_alloc_begin(0, 0);
    out.ok = !w->failed;
    out.trace = w->trace_hash;
    out.kind = w->kind;
    memcpy(out.what, w->what, sizeof out.what);
    if (out.ok) {
        chi_options_fini(&w->settings);
        world_free(w);
    }
    return out;
}

/* The mix of faults of a seed: some of all, so that each meets each, and none too often. */
void sim_config_default(struct sim_config *config, uint64_t seed)
{
    struct sim_rng rng = {seed ^ 0xfa017};
    *config = (struct sim_config){.seed = seed};
    config->steps = 300 + sim_below(&rng, 900);
    config->actors = 2 + sim_below(&rng, sim_one_in(&rng, 3) ? SIM_FEW - 1 : 6);
    uint32_t all = 0;
#define SIM_ALL(name, bit, word) all |= 1u << (bit);
    SIM_FAULTS(SIM_ALL)
#undef SIM_ALL
    uint32_t often = (uint32_t)sim_next(&rng), rarely = often & (uint32_t)sim_next(&rng);
    config->faults = all & (sim_one_in(&rng, 2) ? often : rarely);
    if (!sim_one_in(&rng, 4))
        config->faults &= ~(uint32_t)SIM_ALLOC;
    if (!sim_one_in(&rng, 4))
        config->faults &= ~(uint32_t)SIM_HEAVY;
    if (!sim_one_in(&rng, 4))
        config->faults &= ~(uint32_t)SIM_RESTART;
    if (!sim_one_in(&rng, 3))
        config->faults &= ~(uint32_t)SIM_LASTS;
    if (sim_one_in(&rng, 2))
        config->faults &= ~(uint32_t)SIM_DOWN;
    config->faults &= ~(uint32_t)SIM_CROWD;
    if (sim_one_in(&rng, 40)) {
        config->faults = (config->faults | SIM_CROWD) & ~(uint32_t)SIM_LIMITS;
        config->actors = 68 + sim_below(&rng, SIM_ACTORS - 68);
        config->steps *= 2;
    }
}
