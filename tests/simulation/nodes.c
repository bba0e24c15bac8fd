/* Runs stories of several nodes: seeds, or one of them again.
 *
 *     nodes --seeds 500 --from 1     500 seeds; stops at the first that fails
 *     nodes --seed 42 --verbose      one seed, every event
 *
 * Happy path: steps under faults, now and then a rest at which all nodes must know the same, then
 * all end, and nothing may be left. */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "nodes_sim.h"
#include "options.h"

/* A run that hangs ends itself. */
#define SEED_SECONDS 60
#define REST_ROUNDS  100000

struct ns_world *ns_world;

int ns_room_of(struct chi_span name)
{
    int room = sim_room_of(sim_world, name);
    return room < NS_ROOMS ? room : -1;
}

/* ------------------------------------------------------------------------------------ environment */

static uint64_t env_now(void *self)
{
    return ns_now(((struct ns_node *)self)->world);
}

static uint64_t env_wall(void *self)
{
    const struct ns_node *node = self;
    return node->world->base->wall + ns_now(node->world) + node->skew;
}

static void env_random(void *self, void *bytes, size_t len)
{
    struct ns_world *w = ((struct ns_node *)self)->world;
    for (size_t i = 0; i < len; i++)
        ((unsigned char *)bytes)[i] = (unsigned char)sim_next(&w->base->noise);
}

static void env_digest(void *self, const void *bytes, size_t len, uint8_t out[32])
{
    struct sim_rng mix = {sim_hash(bytes, len)};
    (void)self;
    for (int i = 0; i < 4; i++) {
        uint64_t n = sim_next(&mix);
        memcpy(out + i * 8, &n, 8);
    }
}

static int env_fold(void *self, enum chi_fold_kind kind, struct chi_span text,
                    struct chi_buf *shown, struct chi_buf *key)
{
    (void)self, (void)kind;
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] <= ' ' || text.at[i] > '~' || text.at[i] == '|' || text.at[i] == ',')
            return CHATHUB_ENAME;
    chi_buf_add(shown, text.at, text.len);
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        chi_buf_add_char(key, c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
    }
    return text.len ? 0 : CHATHUB_ENAME;
}

static void env_log(void *self, int level, const char *event, const struct chi_field *fields,
                    size_t n)
{
    struct ns_node *node = self;
    struct sim_bytes line = {0};

    ns_check_log_line(node, event, fields, n);
    if (!node->world->config.verbose)
        return;
    for (size_t i = 0; i < n; i++) {
        sim_bytes_add(&line, " ", 1);
        sim_bytes_add(&line, fields[i].key, strlen(fields[i].key));
        sim_bytes_add(&line, "=", 1);
        sim_bytes_add(&line, fields[i].value.at, fields[i].value.len);
    }
    NS_TRACE(node->world, "node %d logs (%d) %s%.*s", node->index, level, event, (int)line.len,
             line.at ? line.at : "");
    sim_bytes_fini(&line);
}

static void env_wake(void *self)
{
    ((struct ns_node *)self)->woken = true;
}

static const struct chi_env_ops env_ops = {
    .now = env_now,
    .wall = env_wall,
    .random = env_random,
    .digest = env_digest,
    .fold = env_fold,
    .log = env_log,
    .wake = env_wake,
};

/* -------------------------------------------------------------- the door between core and delivery */

static struct ns_node *node_by(const struct chi_delivery *d)
{
    for (int i = 0; i < NS_NODES; i++)
        if (ns_world->nodes[i].delivery == d)
            return &ns_world->nodes[i];
    return NULL;
}

static int room_by(const struct ns_node *node, uint32_t number)
{
    for (int i = 0; i < NS_ROOMS; i++)
        if (node->rooms[i].open && node->rooms[i].number == number)
            return i;
    return -1;
}

static int door_reply(struct chi_delivery *d, uint32_t client, const struct chi_reply *reply)
{
    struct ns_node *node = node_by(d);
    struct ns_world *w = node->world;
    struct ns_conn *c = ns_conn_of(w, node, client);

    if (c && reply->type == CHI_REPLY_WELCOME && reply->user.len) {
        c->user = sim_intern(w->base, reply->user);
        struct ns_user *user = ns_user_of(w, c->user);
        user->close_call =
            !user->client && user->seen && user->seen + w->settings.return_time < ns_now(w) + 3000;
        user->client = c->cut ? 0 : (uint32_t)(c - w->conns) + 1;
        user->seen = ns_now(w);
        user->parted = c->share;
    }
    if (c && reply->type == CHI_REPLY_LEFT && reply->code && c->user)
        ns_departs(w, ns_user_of(w, c->user), ns_room_of(reply->room));
    return chi_delivery_ops.reply(d, client, reply);
}

static int door_room_open(struct chi_delivery *d, uint32_t room, const struct chi_name *name,
                          uint64_t top)
{
    struct ns_node *node = node_by(d);
    node->rooms[ns_room_of(chi_name_shown(name))].shown = top;
    return chi_delivery_ops.room_open(d, room, name, top);
}

static void door_entry(struct chi_delivery *d, uint32_t room, struct chi_entry *entry)
{
    struct ns_node *node = node_by(d);
    int at = room_by(node, room);

    if (at < 0 || entry->position <= node->rooms[at].shown)
        NS_FAIL(node->world, "node %d shows entry %llu out of order", node->index,
                (unsigned long long)entry->position);
    else
        node->rooms[at].shown = entry->position;
    chi_delivery_ops.entry(d, room, entry);
}

static void door_signal(struct chi_delivery *d, uint32_t room, const struct chi_signal *signal)
{
    struct ns_node *node = node_by(d);
    int at = room_by(node, room);

    if (at >= 0) {
        sim_world->rooms[at].shown = node->rooms[at].shown;
        ns_check_signal(node, at, signal);
    }
    chi_delivery_ops.signal(d, room, signal);
}

/* ------------------------------------------------------------------------------------------ nodes */

struct ns_node *ns_node_of(struct ns_world *w, uint32_t serial)
{
    for (int i = 0; i < NS_NODES; i++)
        if (w->nodes[i].used && w->nodes[i].serial == serial)
            return &w->nodes[i];
    return NULL;
}

bool ns_node_open(struct ns_world *w, int index)
{
    static struct chi_delivery_ops ops;
    struct ns_node *node = &w->nodes[index];

    *node = (struct ns_node){.used = true, .world = w, .index = index, .serial = ++w->serial};
    node->env = (struct chi_env){&env_ops, node};
    node->skew = ns_below(w, 3) * 500;
    node->last_tick = ns_now(w);
    for (int r = 0; r < NS_ROOMS; r++)
        for (uint32_t u = 0; u < w->user_count; u++)
            w->users[u].went[index][r] = 0;
    for (int i = 0; i < NS_NODES; i++)
        w->cut[i][index] = w->cut[index][i] = false;
    ns_log_init(node);
    ns_bus_init(node);
    ns_transport_init(node);
    ops = chi_delivery_ops;
    ops.reply = door_reply;
    ops.room_open = door_room_open;
    ops.entry = door_entry;
    ops.signal = door_signal;
    if (chi_delivery_new(&w->settings, node->env, &node->log, &node->delivery) < 0)
        return false;
    struct chi_hub_parts parts = {.settings = &w->settings,
                                  .env = node->env,
                                  .log = &node->log,
                                  .bus = &node->bus,
                                  .delivery_ops = &ops,
                                  .delivery = node->delivery};
    if (chi_hub_new(&parts, &node->hub) < 0)
        return false;
    node->log.bind(&node->log, chi_hub_log_up(node->hub));
    chi_delivery_bind(node->delivery, chi_hub_delivery_up(node->hub));
    NS_TRACE(w, "node %d opens, %016llx", index, (unsigned long long)node->bus.node);
    return true;
}

/* It ends, said or not; those who were on it lose their connections. */
void ns_node_close(struct ns_world *w, struct ns_node *node)
{
    NS_TRACE(w, "node %d ends", node->index);
    for (int i = 0; i < NS_CONNS; i++) {
        struct ns_conn *c = &w->conns[i];
        if (!c->used || c->node_serial != node->serial)
            continue;
        c->open = false;
        if (c->cut)
            ns_conn_free(w, c);
        else
            (void)ns_conn_receive(w, c);
    }
    chi_hub_free(node->hub);
    chi_delivery_free(node->delivery);
    ns_log_free(node);
    ns_bus_drop(w, node);
    ns_departs_all(w);
    *node = (struct ns_node){.index = node->index};
}

static void stop_on(struct ns_world *w, struct ns_node *node)
{
    if (!chi_hub_idle(node->hub) && ns_now(w) < node->still)
        return;
    chi_hub_close_all(node->hub, 1001, CHI_SPAN("shutting down"));
    if (w->bye_count < sizeof w->byes / sizeof *w->byes)
        w->byes[w->bye_count++] = node->bus.node;
    chi_hub_turn(node->hub);
    (void)chi_delivery_flush(node->delivery, NULL, NULL);
    ns_node_close(w, node);
}

void ns_node_turn(struct ns_world *w, struct ns_node *node)
{
    if (!node->stopping && node->still > ns_now(w))
        return;
    node->last_turn = ns_now(w);
    if (node->woken || chi_hub_next(node->hub) <= ns_now(w)) {
        node->woken = false;
        chi_hub_turn(node->hub);
    }
    if (ns_now(w) - node->last_tick >= 1000) {
        node->last_tick = ns_now(w);
        chi_delivery_tick(node->delivery);
    }
    if (chi_delivery_flush(node->delivery, NULL, NULL))
        node->woken = true;
    ns_check_suspicion(w);
    if (node->stopping)
        stop_on(w, node);
}

/* ----------------------------------------------------------------------------------------- trouble */

static uint32_t live(const struct ns_world *w)
{
    uint32_t n = 0;
    for (int i = 0; i < NS_NODES; i++)
        n += w->nodes[i].used && !w->nodes[i].stopping;
    return n;
}

static void end_one(struct ns_world *w, struct ns_node *node)
{
    bool stops = ns_faulty(w, NS_STOP) && (!ns_faulty(w, NS_DIE) || ns_one_in(w, 2));

    if (!node->used || node->stopping || live(w) < 2)
        return;
    ns_departs_all(w);
    if (!stops) {
        ns_node_close(w, node);
        return;
    }
    NS_TRACE(w, "node %d stops", node->index);
    node->stopping = true;
    node->still = ns_now(w) + 2000;
    chi_hub_stop(node->hub);
}

static void cut_off(struct ns_world *w)
{
    int a = (int)ns_below(w, NS_NODES), b = (int)ns_below(w, NS_NODES);

    if (ns_one_in(w, 3)) { /* it heals */
        memset(w->cut, 0, sizeof w->cut);
        NS_TRACE(w, "all hear each other");
        return;
    }
    if (a == b)
        return;
    NS_TRACE(w, "node %d hears %d no more", b, a);
    w->cut[a][b] = true;
    w->cut[b][a] = ns_one_in(w, 3) ? w->cut[b][a] : true;
}

static void trouble(struct ns_world *w)
{
    struct ns_node *node = &w->nodes[ns_below(w, NS_NODES)];
    uint32_t dice = ns_below(w, 10);

    if (dice < 1 && (w->faults & (NS_DIE | NS_STOP)))
        end_one(w, node);
    else if (dice < 3 && !node->used && node->index < (int)w->config.nodes)
        (void)ns_node_open(w, node->index);
    else if (dice < 6 && ns_faulty(w, NS_PARTITION))
        cut_off(w);
    else if (dice < 8 && ns_faulty(w, NS_LAG) && node->used)
        node->lag = ns_one_in(w, 3)             ? 0
                    : ns_faulty(w, NS_LONG_LAG) ? ns_below(w, 12000)
                                                : ns_below(w, 1200);
    else if (dice < 9 && ns_faulty(w, NS_LATE) && node->used && !node->stopping)
        node->still = ns_now(w) + ns_below(w, 3 * w->settings.node_lease);
    else if (dice == 9 && ns_faulty(w, NS_BACK) && ns_one_in(w, 4))
        ns_log_go_back(w);
}

/* ---------------------------------------------------------------------------------------- stepping */

static struct ns_conn *any_conn(struct ns_world *w)
{
    uint32_t from = ns_below(w, NS_CONNS);
    for (uint32_t i = 0; i < NS_CONNS; i++)
        if (w->conns[(from + i) % NS_CONNS].used)
            return &w->conns[(from + i) % NS_CONNS];
    return NULL;
}

static void notice(struct ns_world *w, bool all)
{
    for (int i = 0; i < NS_CONNS; i++) {
        struct ns_conn *c = &w->conns[i];
        if (c->used && c->cut && (all || !c->open || c->notice_at <= ns_now(w)))
            ns_conn_notice(w, c);
    }
}

/* None stands still for long that is not to. */
static void pass_time(struct ns_world *w)
{
    w->base->now += ns_below(w, ns_one_in(w, 10) ? 200 : 40);
    for (int i = 0; i < NS_NODES; i++)
        if (w->nodes[i].used && w->nodes[i].last_turn + 100 < ns_now(w))
            ns_node_turn(w, &w->nodes[i]);
}

static void step(struct ns_world *w)
{
    uint32_t dice = ns_below(w, 100);
    struct ns_node *node = &w->nodes[ns_below(w, NS_NODES)];
    struct ns_conn *c = any_conn(w);

    if (dice < 22)
        ns_actor_step(w, (int)ns_below(w, w->config.actors));
    else if (dice < 42)
        (void)(c && ns_conn_serve(w, c));
    else if (dice < 58)
        (void)(c && ns_conn_receive(w, c));
    else if (dice < 85 && node->used)
        ns_node_turn(w, node);
    else if (dice < 97)
        pass_time(w);
    else
        trouble(w);
    notice(w, false);
    ns_check_suspicion(w);
}

/* -------------------------------------------------------------------------------------------- rest */

static bool rest_round(struct ns_world *w)
{
    bool any = false;

    notice(w, true);
    for (int i = 0; i < NS_CONNS; i++) {
        struct ns_conn *c = &w->conns[i];
        while (c->used && ns_conn_serve(w, c))
            any = true;
        any = (c->used && ns_conn_receive(w, c)) || any;
    }
    for (int i = 0; i < NS_NODES; i++) {
        struct ns_node *node = &w->nodes[i];
        if (!node->used)
            continue;
        node->still = node->stopping ? node->still : 0;
        any = any || node->woken;
        ns_node_turn(w, node);
    }
    return any;
}

static void rest_sleep(struct ns_world *w)
{
    uint64_t due = ns_now(w) + 1000;

    for (int i = 0; i < NS_NODES; i++) {
        uint64_t next = w->nodes[i].used ? chi_hub_next(w->nodes[i].hub) : UINT64_MAX;
        due = next < due ? next : due;
    }
    w->base->now = due > ns_now(w) ? due : ns_now(w) + 1;
}

/* Faults end, nobody does anything new, and time passes. */
static void rest(struct ns_world *w)
{
    uint64_t until = ns_now(w) + w->settings.return_time + 3 * w->settings.node_lease + 12000;

    NS_TRACE(w, "at rest from here");
    w->faults = 0;
    memset(w->cut, 0, sizeof w->cut);
    for (int i = 0; i < NS_NODES; i++)
        w->nodes[i].lag = 0;
    for (uint32_t round = 0; !w->base->failed && ns_now(w) < until; round++) {
        if (round > REST_ROUNDS)
            NS_FAIL(w, "no rest after %u rounds", round);
        if (!rest_round(w))
            rest_sleep(w);
    }
    if (!w->base->failed)
        ns_check_rest(w);
    w->faults = w->config.faults;
}

/* ----------------------------------------------------------------------------------------- a story */

static uint32_t pick(struct ns_world *w, uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t which = ns_below(w, 3);
    return which == 0 ? a : which == 1 ? b : c;
}

static void settle(struct ns_world *w)
{
    struct chi_settings *s = &w->settings;

    if (chi_options_defaults(s))
        abort();
    s->node_lease = pick(w, 2000, 4000, 8000);
    s->return_time = pick(w, 1500, 4000, 12000);
    s->join_history = pick(w, 0, 3, 20);
    s->presence_all_ms = pick(w, 0, 10, 100);
    s->presence_names_ms = pick(w, 20, 100, 250);
    s->presence_all = pick(w, 0, 3, 50);
    s->presence_names = 1000;
    s->typing_time = 2000;
    s->replay_names = 64;
    if (w->config.faults & NS_TIGHT)
        s->max_remote = pick(w, 0, 2, 4);
}

static struct sim_world *base_new(const struct ns_config *config)
{
    static const char *const rooms[NS_ROOMS] = {"general", "Kitchen", "cellar"};
    struct sim_world *base = sim_alloc(sizeof *base);

    base->config.verbose = config->verbose;
    base->rng.state = config->seed * 0x2545f4914f6cdd1du + 17;
    base->noise.state = ~base->rng.state;
    base->now = 1000 + sim_below(&base->rng, 5000);
    base->wall = 1767326645678;
    for (int i = 0; i < NS_ROOMS; i++)
        memcpy(base->rooms[i].name, rooms[i], strlen(rooms[i]));
    for (int i = NS_ROOMS; i < SIM_ROOMS; i++)
        base->rooms[i].name[0] = '!';
    return base;
}

static struct ns_world *world_new(const struct ns_config *config)
{
    struct ns_world *w = sim_alloc(sizeof *w);

    w->config = *config;
    w->base = sim_world = base_new(config);
    w->faults = config->faults;
    w->strict = !(config->faults &
                  (NS_PARTITION | NS_LATE | NS_LONG_LAG | NS_BACK | NS_SAME_KEY | NS_TIGHT));
    memset(w->epochs[0], 'A', CHI_EPOCH_LEN);
    for (int i = 0; i < NS_ACTORS; i++)
        w->actors[i].conn = -1;
    for (int i = 0; i < NS_NODES; i++)
        w->nodes[i].index = i;
    settle(w);
    ns_world = w;
    return w;
}

static void world_free(struct ns_world *w)
{
    struct sim_world *base = w->base;

    for (uint32_t i = 1; i <= base->word_count; i++)
        sim_free(base->words[i]);
    sim_free(base->words);
    sim_free(base->word_slots);
    sim_bytes_fini(&w->scratch);
    ns_world = NULL;
    sim_world = NULL;
    sim_free(base);
    sim_free(w);
}

static void end_all(struct ns_world *w)
{
    for (int i = 0; i < NS_NODES; i++)
        if (w->nodes[i].used)
            ns_node_close(w, &w->nodes[i]);
    for (int i = 0; i < NS_CONNS; i++)
        if (w->conns[i].used)
            ns_conn_free(w, &w->conns[i]);
    for (struct ns_parcel *p; (p = w->parcels) != NULL; sim_free(p))
        w->parcels = p->next;
    for (uint32_t i = 0; i < w->entry_count; i++) {
        if (atomic_load(&w->entries[i].entry->refs) != 1)
            NS_FAIL(w, "entry %u has %u references at the end", i,
                    atomic_load(&w->entries[i].entry->refs));
        chi_entry_unref(w->entries[i].entry);
    }
}

static void run(struct ns_world *w)
{
    uint32_t middle = ns_one_in(w, 2) ? ns_below(w, w->config.steps) : UINT32_MAX;

    for (uint32_t i = 0; i < w->config.nodes; i++)
        if (!ns_node_open(w, (int)i))
            abort();
    for (uint32_t n = 0; n < w->config.steps && !w->base->failed; n++) {
        w->base->step = n;
        step(w);
        if (n % 8 == 0)
            ns_check_step(w);
        if (n == middle && !w->base->failed)
            rest(w);
    }
    if (!w->base->failed)
        rest(w);
}

static struct ns_outcome run_seed(const struct ns_config *config)
{
    struct ns_world *w = world_new(config);

    (void)alarm(SEED_SECONDS);
    sim_alloc_begin(config->seed, 0);
    run(w);
    if (!w->base->failed)
        end_all(w);
    if (!w->base->failed && sim_alloc_live())
        NS_FAIL(w, "%lld allocations were never freed", (long long)sim_alloc_live());
    (void)alarm(0);
    struct ns_outcome out = {.ok = !w->base->failed,
                             .step = w->base->step,
                             .frames = w->base->frames,
                             .trace = w->base->trace_hash};
    memcpy(out.what, w->base->what, sizeof out.what);
    if (out.ok) {
        chi_options_fini(&w->settings);
        world_free(w);
    }
    return out;
}

static void config_default(struct ns_config *config, uint64_t seed)
{
    struct sim_rng rng = {seed ^ 0x0de5};
    uint32_t often, rarely;

    *config = (struct ns_config){.seed = seed};
    config->steps = 500 + sim_below(&rng, 6000);
    config->nodes = 2 + sim_below(&rng, NS_NODES - 1);
    config->actors = 2 + sim_below(&rng, NS_ACTORS - 1);
    often = (uint32_t)sim_next(&rng);
    rarely = often & (uint32_t)sim_next(&rng);
    uint32_t all = 0;
#define NS_ALL(name, bit, word) all |= 1u << (bit);
    NS_FAULTS(NS_ALL)
#undef NS_ALL
    config->faults = all & (sim_one_in(&rng, 2) ? often : rarely);
    if (sim_one_in(&rng, 2))
        config->faults &= ~(uint32_t)(NS_PARTITION | NS_LATE | NS_LONG_LAG | NS_BACK | NS_SAME_KEY);
    if (!sim_one_in(&rng, 4))
        config->faults &= ~(uint32_t)NS_TIGHT;
    if (!sim_one_in(&rng, 3))
        config->faults &= ~(uint32_t)(NS_BACK | NS_LONG_LAG);
    if (!sim_one_in(&rng, 3))
        config->faults &= ~(uint32_t)(NS_LOSS | NS_REFUSE);
}

/* -------------------------------------------------------------------------------------------- main */

static struct ns_config running; /* what a crash is told with */

static void describe(FILE *out, const struct ns_config *c)
{
    (void)fprintf(out, "--seed %llu --steps %u --actors %u --nodes %u --faults ",
                  (unsigned long long)c->seed, c->steps, c->actors, c->nodes);
#define NS_TELL(name, bit, word)                                                                   \
    if (c->faults & (1u << (bit)))                                                                 \
        (void)fprintf(out, "%s,", word);
    NS_FAULTS(NS_TELL)
#undef NS_TELL
    (void)fprintf(out, "\n");
}

static void died(void)
{
    (void)fprintf(stderr, "crashed at step %u: ", sim_world ? sim_world->step : 0);
    describe(stderr, &running);
}

static void on_signal(int number)
{
    died();
    (void)signal(number, SIG_DFL);
    (void)raise(number);
}

void __sanitizer_set_death_callback(void (*callback)(void)) __attribute__((weak));

static void watch_crashes(void)
{
    (void)signal(SIGABRT, on_signal);
    (void)signal(SIGALRM, on_signal);
    if (__sanitizer_set_death_callback)
        __sanitizer_set_death_callback(died);
    else
        (void)signal(SIGSEGV, on_signal);
}

static uint32_t read_faults(char *text)
{
    uint32_t set = 0;

    for (char *word; (word = strsep(&text, ",")) != NULL;) {
#define NS_READ(name, bit, its)                                                                    \
    if (strcmp(word, its) == 0)                                                                    \
        set |= 1u << (bit);
        NS_FAULTS(NS_READ)
#undef NS_READ
    }
    return set;
}

struct options {
    uint64_t from, seeds;
    uint32_t steps, actors, nodes, faults, without;
    bool verbose, keep_going, twice, has_faults;
};

static struct ns_config config_of(const struct options *o, uint64_t seed)
{
    struct ns_config config;

    config_default(&config, seed);
    config.steps = o->steps ? o->steps : config.steps;
    config.actors = o->actors && o->actors <= NS_ACTORS ? o->actors : config.actors;
    config.nodes = o->nodes && o->nodes <= NS_NODES ? o->nodes : config.nodes;
    config.faults = (o->has_faults ? o->faults : config.faults) & ~o->without;
    config.verbose = o->verbose;
    return config;
}

static int run_all(const struct options *o)
{
    uint64_t failures = 0, frames = 0, done = 0;

    for (uint64_t i = 0; i < o->seeds; i++) {
        running = config_of(o, o->from + i);
        struct ns_outcome out = run_seed(&running);
        done++;
        frames += out.frames;
        if (out.ok && o->twice && run_seed(&running).trace != out.trace) {
            out.ok = false;
            (void)snprintf(out.what, sizeof out.what, "a second run of the seed went another way");
        }
        if (out.ok)
            continue;
        failures++;
        printf("seed %llu failed at step %u: %s\nreplay: ", (unsigned long long)running.seed,
               out.step, out.what);
        describe(stdout, &running);
        if (!o->keep_going)
            break;
    }
    printf("%llu seeds, %llu failures, %llu frames checked\n", (unsigned long long)done,
           (unsigned long long)failures, (unsigned long long)frames);
    return failures ? 1 : 0;
}

int main(int argc, char **argv)
{
    static const struct option longs[] = {{"seeds", required_argument, NULL, 'n'},
                                          {"from", required_argument, NULL, 'f'},
                                          {"seed", required_argument, NULL, 's'},
                                          {"steps", required_argument, NULL, 't'},
                                          {"actors", required_argument, NULL, 'a'},
                                          {"nodes", required_argument, NULL, 'h'},
                                          {"faults", required_argument, NULL, 'x'},
                                          {"without", required_argument, NULL, 'w'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"keep-going", no_argument, NULL, 'g'},
                                          {"no-shrink", no_argument, NULL, 'z'},
                                          {"twice", no_argument, NULL, '2'},
                                          {NULL, 0, NULL, 0}};
    /* set by tests/run --long */
    struct options o = {.from = 1, .seeds = getenv("CHATHUB_LONG") ? 20000 : 1000};
    int option;

    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        unsigned long long n = optarg ? strtoull(optarg, NULL, 10) : 0;
        if (option == '?')
            return 2;
        o.seeds = option == 'n' ? n : option == 's' ? 1 : o.seeds;
        o.from = option == 'f' || option == 's' ? n : o.from;
        o.steps = option == 't' ? (uint32_t)n : o.steps;
        o.actors = option == 'a' ? (uint32_t)n : o.actors;
        o.nodes = option == 'h' ? (uint32_t)n : o.nodes;
        o.faults = option == 'x' ? read_faults(optarg) : o.faults;
        o.has_faults = o.has_faults || option == 'x';
        o.without = option == 'w' ? read_faults(optarg) : o.without;
        o.verbose = o.verbose || option == 'v';
        o.keep_going = o.keep_going || option == 'g';
        o.twice = o.twice || option == '2';
    }
    watch_crashes();
    int status = run_all(&o);
    (void)fflush(stdout);
    if (status)
        _exit(status); /* what a failed run left behind is no leak worth a report */
    return 0;
}
