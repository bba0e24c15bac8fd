/* Posts of a JetStream log: each is stored once and answered once, whatever is lost on the way; one
 * user's in order; repeats are known by whoever is asked; what is not known is said so. */
#include "js_world.h"

#include "core/name.h"
#include "util/siphash.h"

#define NODES   2u
#define USERS   4u /* of each node in the storms */
#define ROOMS   3u
#define DRAFTS  4096u
#define WINDOW  120000u
#define PENDING 1 /* no status */

static const uint8_t secret[16] = {7};

/* A post as its hub knows it. */
struct draft {
    uint32_t node, user, room;
    char cid[16]; /* "": none */
    char text[24];
    uint64_t nonce;
    int status;
    uint64_t position, time, retry_after;
    const char *why;
    bool gone; /* its node died before it was answered */
};

struct shown {
    uint64_t seq;
    char text[24];
};

struct sim {
    struct js_world *w;
    struct chi_js *js[NODES];
    struct chi_name *names[ROOMS];
    struct chi_js_room rooms[NODES][ROOMS];
    uint32_t open[NODES];
    struct draft drafts[DRAFTS];
    uint32_t count;
    struct shown shown[NODES][DRAFTS];
    uint32_t shown_count[NODES];
    uint32_t answered[NODES][2 * USERS]; /* newest draft of a user, + 1 */
    uint32_t refuse;                     /* what 503 becomes: an error of this err_code */
    bool mute;                           /* node 1 hears nothing of consumers */
    uint64_t random;
    uint32_t cids[NODES][USERS]; /* of the storms: cids used */
};

/* -------------------------------------------------------------------------------------- the hub */

static void show(struct sim *sim, uint32_t node, const struct chi_entry *entry)
{
    struct chi_entry_parts parts = chi_entry_read(entry);
    ck_assert_uint_lt(sim->shown_count[node], DRAFTS);
    struct shown *shown = &sim->shown[node][sim->shown_count[node]++];
    shown->seq = entry->position;
    snprintf(shown->text, sizeof shown->text, "%.*s", (int)parts.content.len, parts.content.at);
    if (sim->shown_count[node] > 1)
        ck_assert_uint_gt(shown->seq, shown[-1].seq);
}

static void answered(struct sim *sim, struct chi_js_task *task)
{
    struct draft *draft = task->token;
    uint32_t number = (uint32_t)(draft - sim->drafts) + 1;
    ck_assert_int_eq(draft->status, PENDING);
    ck_assert(task->status != PENDING);
    ck_assert_uint_gt(number, sim->answered[draft->node][draft->user]);
    sim->answered[draft->node][draft->user] = number;
    draft->status = task->status;
    draft->position = task->status ? task->position : task->entry->position;
    draft->time = task->status ? task->time : task->entry->time;
    draft->retry_after = task->retry_after;
    draft->why = task->why;
    if (!task->status)
        show(sim, draft->node, task->entry);
    bool failed = task->status == CHATHUB_ELOG || task->status == CHATHUB_EUNKNOWN;
    ck_assert_int_eq(failed, task->why != NULL);
    ck_assert_int_eq(failed, task->retry_after != 0);
}

static void finished(struct js_node *node, struct chi_js_task *task)
{
    struct sim *sim = node->user;
    if (task->kind == CHI_JS_POST)
        answered(sim, task);
    else if (task->kind == CHI_JS_ENTRY)
        show(sim, node->index, task->entry);
    else if (task->kind == CHI_JS_OPEN)
        sim->open[node->index] += !task->status;
    chi_js_task_free(task);
}

static void make_id(struct chi_js_task *task, const struct draft *draft)
{
    uint64_t hash = chi_siphash(secret, draft->cid, strlen(draft->cid));
    if (*draft->cid)
        snprintf(task->id, sizeof task->id, "%016" PRIx64 "%02x%04x", hash, draft->room,
                 draft->user);
    else
        snprintf(task->id, sizeof task->id, "%016" PRIx64 "------", draft->nonce);
}

static struct draft *post_long(struct sim *sim, uint32_t node, uint32_t user, uint32_t room,
                               const char *cid, const char *text, size_t bytes)
{
    ck_assert_uint_lt(sim->count, DRAFTS);
    struct draft *draft = &sim->drafts[sim->count++];
    *draft = (struct draft){.node = node, .user = user, .room = room, .status = PENDING};
    snprintf(draft->cid, sizeof draft->cid, "%s", cid ? cid : "");
    snprintf(draft->text, sizeof draft->text, "%s", text);
    draft->nonce = chi_siphash(secret, &sim->count, sizeof sim->count);
    char name[16];
    snprintf(name, sizeof name, "u%u", user);
    char *content = calloc(1, bytes + sizeof draft->text);
    memset(content, 'x', bytes);
    memcpy(content, draft->text, strlen(draft->text));
    struct chi_entry_parts parts = {
        .sender = chi_span_of(name),
        .user = chi_span_of(name),
        .cid = chi_span_of(draft->cid),
        .content = {content, bytes ? bytes : strlen(draft->text)},
    };
    struct chi_js_task *task = chi_js_task_new(CHI_JS_POST);
    task->entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    free(content);
    task->room = &sim->rooms[node][room];
    task->token = draft;
    task->nonce = draft->nonce;
    task->time = JS_WALL + sim->w->server.now + sim->w->nodes[node].ahead;
    make_id(task, draft);
    js_world_put(sim->w, node, task);
    return draft;
}

static struct draft *post(struct sim *sim, uint32_t node, uint32_t user, uint32_t room,
                          const char *cid, const char *text)
{
    return post_long(sim, node, user, room, cid, text, 0);
}

static void heard(struct js_node *node, const struct chi_js_in *in)
{
    struct sim *sim = node->user;
    char text[160];
    struct chi_js_in other = *in;
    if (sim->mute && node->index == 1 && in->kind == CHI_JS_REPLY && in->seq)
        return;
    if (sim->refuse && in->kind == CHI_JS_REPLY && in->status == 503) {
        snprintf(text, sizeof text,
                 "{\"error\":{\"code\":500,\"err_code\":%u,\"description\":\"no\"},"
                 "\"stream\":\"chat\",\"seq\":0}",
                 sim->refuse);
        other.status = 0;
        other.data = chi_span_of(text);
    }
    chi_js_heard(node->js, &other);
}

static void wait_ms(struct sim *sim, uint64_t ms)
{
    js_world_run(sim->w, sim->w->server.now + ms);
}

static void start_node(struct sim *sim, uint32_t node)
{
    struct chi_js_parts parts = {
        .port = js_world_port(sim->w, node),
        .stream = "chat",
        .seed = node + 1,
        .wanted = {.replicas = 1,
                   .duplicates = WINDOW,
                   .republishes = true,
                   .takes = true,
                   .acks = true,
                   .file = true,
                   .limits = true,
                   .deletes = true},
    };
    memset(parts.secrets, (int)node + 3, sizeof parts.secrets);
    ck_assert_int_eq(chi_js_new(&parts, &sim->js[node]), 0);
    js_world_attach(sim->w, node, sim->js[node]);
    struct js_node *place = &sim->w->nodes[node];
    place->finished = finished;
    place->heard = heard;
    place->user = sim;
}

static void open_rooms(struct sim *sim, uint32_t node)
{
    sim->open[node] = 0;
    for (uint32_t i = 0; i < ROOMS; i++) {
        sim->rooms[node][i] = (struct chi_js_room){.name = sim->names[i]};
        struct chi_js_task *task = chi_js_task_new(CHI_JS_OPEN);
        task->room = &sim->rooms[node][i];
        js_world_put(sim->w, node, task);
    }
    for (int i = 0; i < 200 && sim->open[node] < ROOMS; i++)
        wait_ms(sim, 100);
    ck_assert_uint_eq(sim->open[node], ROOMS);
}

static void stop_node(struct sim *sim, uint32_t node)
{
    struct chi_works left = {0};
    js_world_detach(sim->w, node);
    chi_works_move(&left, &sim->w->nodes[node].tasks);
    chi_js_free(sim->js[node], &left);
    sim->js[node] = NULL;
    for (struct chi_work *work; (work = chi_works_take(&left));) {
        struct chi_js_task *task = (struct chi_js_task *)(void *)work;
        if (task->kind == CHI_JS_POST)
            ((struct draft *)task->token)->gone = true;
        chi_js_task_free(task);
    }
}

static struct sim *sim_new(uint64_t seed)
{
    struct sim *sim = calloc(1, sizeof *sim);
    char name[8];
    sim->w = js_world_new(seed, NODES);
    sim->random = seed;
    for (uint32_t i = 0; i < ROOMS; i++) {
        snprintf(name, sizeof name, "room %u", i);
        sim->names[i] = chi_name_new(chi_span_of(name), chi_span_of(name));
    }
    for (uint32_t i = 0; i < NODES; i++) {
        start_node(sim, i);
        open_rooms(sim, i);
    }
    return sim;
}

/* Of the stored messages those that are this draft's tries; *seq: of the last one. */
static uint32_t stored(struct sim *sim, const struct draft *draft, uint64_t *seq)
{
    struct js_server *s = &sim->w->server;
    uint32_t n = 0;
    for (uint32_t i = s->first; i < s->count; i++) {
        struct chi_js_record record;
        if (!js_there(&s->list[i]) || !strstr(s->list[i].subject, ".in.room.") ||
            chi_js_read_entry((struct chi_span){s->list[i].data, s->list[i].len}, &record))
            continue;
        if (record.nonce == draft->nonce) {
            n++;
            *seq = s->list[i].seq;
        }
        chi_entry_unref(record.entry);
    }
    return n;
}

/* Each node that is there showed the rooms' messages, each once. */
static void check_shown(struct sim *sim)
{
    struct js_server *s = &sim->w->server;
    for (uint32_t node = 0; node < NODES; node++) {
        uint32_t n = 0;
        for (uint32_t i = s->first; sim->js[node] && i < s->count; i++) {
            if (!js_there(&s->list[i]) || !strstr(s->list[i].subject, ".in.room."))
                continue;
            ck_assert_uint_lt(n, sim->shown_count[node]);
            ck_assert_uint_eq(sim->shown[node][n++].seq, s->list[i].seq);
        }
        if (sim->js[node])
            ck_assert_uint_eq(n, sim->shown_count[node]);
    }
}

/* What was said of each draft is so: of those with the same cid one is stored, of the others none,
 * and one user's are stored in the order in which they were posted, but what is unknown. */
static void check_drafts(struct sim *sim)
{
    uint64_t newest[NODES][2 * USERS] = {0};
    for (uint32_t i = 0; i < sim->count; i++) {
        const struct draft *draft = &sim->drafts[i];
        uint64_t seq = 0;
        uint32_t n = stored(sim, draft, &seq);
        ck_assert_uint_le(n, 1);
        if (draft->status == 0)
            ck_assert_uint_eq(n, 1);
        if (draft->status == 0)
            ck_assert_uint_eq(seq, draft->position);
        if (draft->status == CHATHUB_ELOG || draft->status == CHATHUB_EDUP ||
            draft->status == CHATHUB_ECIDREUSED)
            ck_assert_uint_eq(n, 0);
        ck_assert(draft->gone || draft->status != PENDING);
        if (n && draft->status != CHATHUB_EUNKNOWN) {
            ck_assert_uint_gt(seq, newest[draft->node][draft->user]);
            newest[draft->node][draft->user] = seq;
        }
        for (uint32_t k = 0; *draft->cid && n && k < i; k++) {
            const struct draft *other = &sim->drafts[k];
            bool same = !strcmp(other->cid, draft->cid) && other->room == draft->room &&
                        other->user == draft->user;
            ck_assert(!same || !stored(sim, other, &seq));
        }
    }
}

static void sim_free(struct sim *sim)
{
    check_shown(sim);
    check_drafts(sim);
    for (uint32_t i = 0; i < NODES; i++)
        if (sim->js[i])
            stop_node(sim, i);
    for (uint32_t i = 0; i < ROOMS; i++)
        chi_name_unref(sim->names[i]);
    js_world_free(sim->w);
    free(sim);
}

/* ---------------------------------------------------------------------------- what it promises */

START_TEST(posts_are_stored_and_answered_with_their_position)
{
    struct sim *sim = sim_new(1);
    struct draft *one = post(sim, 0, 0, 0, "c1", "one");
    struct draft *two = post(sim, 0, 0, 1, NULL, "two");
    struct draft *three = post(sim, 1, 5, 0, NULL, "three");
    wait_ms(sim, 100);
    ck_assert_int_eq(one->status, 0);
    ck_assert_int_eq(two->status, 0);
    ck_assert_int_eq(three->status, 0);
    ck_assert_uint_gt(two->position, one->position);
    ck_assert_uint_eq(sim->js[0]->news.stats.commits, 2);
    ck_assert_uint_eq(sim->js[1]->news.stats.commits, 1);
    sim_free(sim);
}
END_TEST

START_TEST(a_post_is_answered_without_its_puback)
{
    struct sim *sim = sim_new(2);
    sim->w->faults.lose_ack = 1000;
    struct draft *draft = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 100);
    ck_assert_int_eq(draft->status, 0);
    ck_assert_uint_eq(sim->w->server.repeats, 0);
    sim_free(sim);
}
END_TEST

START_TEST(a_post_is_answered_without_live_messages)
{
    struct sim *sim = sim_new(3);
    sim->w->faults.lose_live = 1000;
    struct draft *draft = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 100); /* the PubAck says that it is there */
    ck_assert_int_eq(draft->status, 0);
    wait_ms(sim, 5000);
    sim_free(sim);
}
END_TEST

START_TEST(a_post_is_stored_once_where_puback_and_live_message_are_lost)
{
    struct sim *sim = sim_new(4);
    sim->w->faults.lose_live = sim->w->faults.lose_ack = 1000;
    struct draft *draft = post(sim, 0, 0, 0, NULL, "one");
    wait_ms(sim, 5000);
    ck_assert_int_eq(draft->status, 0);
    ck_assert_uint_eq(sim->w->server.stored, 1 + sim->js[0]->epochs.count);
    sim_free(sim);
}
END_TEST

START_TEST(a_lost_post_is_sent_again)
{
    struct sim *sim = sim_new(5);
    sim->w->faults.lose_post = 1000;
    struct draft *draft = post(sim, 0, 0, 0, NULL, "one");
    wait_ms(sim, 1000);
    sim->w->faults.lose_post = 0;
    wait_ms(sim, 1500);
    ck_assert_int_eq(draft->status, 0);
    sim_free(sim);
}
END_TEST

START_TEST(a_new_connection_sends_again_at_once)
{
    struct sim *sim = sim_new(6);
    sim->w->faults.lose_post = 1000;
    struct draft *draft = post(sim, 0, 0, 0, NULL, "one");
    wait_ms(sim, 10);
    sim->w->faults.lose_post = 0;
    js_world_break(sim->w, 0, 10);
    wait_ms(sim, 200);
    ck_assert_int_eq(draft->status, 0);
    sim_free(sim);
}
END_TEST

START_TEST(a_repeat_is_answered_with_the_first_wherever_it_is_posted)
{
    struct sim *sim = sim_new(7);
    struct draft *first = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 50);
    struct draft *here = post(sim, 0, 0, 0, "c", "one");
    struct draft *there = post(sim, 1, 0, 0, "c", "one");
    struct draft *other = post(sim, 1, 0, 0, "c", "other");
    struct draft *room = post(sim, 1, 0, 1, "c", "in another room");
    wait_ms(sim, 50);
    ck_assert_int_eq(here->status, CHATHUB_EDUP);
    ck_assert_int_eq(there->status, CHATHUB_EDUP);
    ck_assert_uint_eq(there->position, first->position);
    ck_assert_uint_eq(there->time, first->time);
    ck_assert_int_eq(other->status, CHATHUB_ECIDREUSED);
    ck_assert_int_eq(room->status, 0);
    sim_free(sim);
}
END_TEST

START_TEST(of_two_posts_with_a_cid_at_once_one_is_the_repeat)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct sim *sim = sim_new(seed);
        sim->w->faults.delay = 20;
        struct draft *a = post(sim, 0, 0, 0, "c", "one");
        struct draft *b = post(sim, 1, 0, 0, "c", seed % 2 ? "one" : "other");
        wait_ms(sim, 1000);
        int repeat = seed % 2 ? CHATHUB_EDUP : CHATHUB_ECIDREUSED;
        ck_assert((a->status == 0 && b->status == repeat) ||
                  (b->status == 0 && a->status == repeat));
        ck_assert_uint_eq(sim->w->server.repeats, 1);
        sim_free(sim);
    }
}
END_TEST

START_TEST(repeats_beyond_the_duplicate_window_are_known)
{
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct sim *sim = sim_new(seed);
        struct draft *first = post(sim, 0, 0, 0, "c", "one");
        wait_ms(sim, 2 * WINDOW);
        struct draft *there = post(sim, 1, 0, 0, "c", "one");
        wait_ms(sim, 50);
        ck_assert_int_eq(there->status, CHATHUB_EDUP);
        ck_assert_uint_eq(there->position, first->position);
        /* A node that was not there when it was posted. */
        stop_node(sim, 1);
        sim->w->server.follower_seq = sim->w->server.follower_time = 0;
        sim->w->server.follower_until = sim->w->server.now + 500;
        start_node(sim, 1);
        open_rooms(sim, 1);
        struct draft *anew = post(sim, 1, 0, 0, "c", "one");
        struct draft *other = post(sim, 1, 0, 0, "c", "other");
        wait_ms(sim, 1000);
        ck_assert_int_eq(anew->status, CHATHUB_EDUP);
        ck_assert_uint_eq(anew->position, first->position);
        ck_assert_int_eq(other->status, CHATHUB_ECIDREUSED);
        ck_assert_uint_eq(sim->w->server.repeats, 0);
        sim->shown[1][0] = sim->shown[0][0]; /* it was there before */
        sim_free(sim);
    }
}
END_TEST

static void start_again(struct sim *sim, uint32_t node)
{
    stop_node(sim, node);
    start_node(sim, node);
    open_rooms(sim, node);
}

/* Its newest message says that it is younger than the horizon, the server that it is older. */
START_TEST(a_clock_that_ran_ahead_keeps_no_later_node_from_reading_cids)
{
    struct sim *sim = sim_new(30);
    sim->w->nodes[0].ahead = 600000;
    struct draft *first = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 3600000 + 125000);
    ck_assert_int_eq(first->status, 0);
    start_again(sim, 1);
    struct draft *next = post(sim, 1, 5, 0, "d", "two");
    wait_ms(sim, 1000);
    ck_assert_int_eq(next->status, 0);
    sim_free(sim);
}
END_TEST

START_TEST(a_node_whose_clock_runs_ahead_knows_the_cids_of_the_others)
{
    struct sim *sim = sim_new(31);
    struct draft *first = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 2 * WINDOW);
    sim->w->nodes[1].ahead = 2 * 3600000;
    start_again(sim, 1);
    struct draft *again = post(sim, 1, 0, 0, "c", "one");
    wait_ms(sim, 1000);
    ck_assert_int_eq(again->status, CHATHUB_EDUP);
    ck_assert_uint_eq(again->position, first->position);
    sim->shown[1][0] = sim->shown[0][0]; /* it was there before */
    sim_free(sim);
}
END_TEST

START_TEST(a_cid_is_free_again_behind_the_horizon)
{
    struct sim *sim = sim_new(9);
    sim->w->nodes[0].orders.bounds.cid_horizon = 2 * WINDOW;
    post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 2 * WINDOW - 1000);
    struct draft *repeat = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 3000);
    ck_assert_int_eq(repeat->status, CHATHUB_EDUP);
    struct draft *draft = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 50);
    ck_assert_int_eq(draft->status, 0);
    sim->drafts[0].cid[0] = '\0'; /* two with one cid are stored, as they should be */
    sim_free(sim);
}
END_TEST

/* The stream knows its id, the index does not: the message itself is looked at. */
START_TEST(a_repeat_that_the_index_does_not_know_is_looked_up)
{
    for (int other = 0; other < 2; other++) {
        struct sim *sim = sim_new(10);
        sim->w->nodes[1].orders.bounds.cid_horizon = 1000;
        struct draft *first = post(sim, 0, 0, 0, "c", "one");
        wait_ms(sim, 10000);
        struct draft *repeat = post(sim, 1, 0, 0, "c", other ? "other" : "one");
        wait_ms(sim, 100);
        ck_assert_int_eq(repeat->status, other ? CHATHUB_ECIDREUSED : CHATHUB_EDUP);
        ck_assert_uint_eq(repeat->position, first->position);
        ck_assert_uint_eq(repeat->time, first->time);
        sim_free(sim);
    }
}
END_TEST

/* Its message is gone when the feed asks for it. */
START_TEST(a_post_that_was_erased_before_it_was_shown_is_answered)
{
    struct sim *sim = sim_new(11);
    sim->w->faults.lose_live = 1000;
    struct draft *draft = post(sim, 0, 0, 0, "c", "one");
    uint64_t before = sim->w->server.last_seq;
    while (sim->w->server.last_seq == before)
        js_world_step(sim->w, sim->w->server.now + 100);
    js_at(&sim->w->server, before + 1)->gone = sim->w->server.now;
    wait_ms(sim, 1000);
    post(sim, 1, 5, 0, NULL, "later");
    wait_ms(sim, 5000);
    ck_assert_int_eq(draft->status, CHATHUB_EDUP);
    ck_assert_uint_eq(draft->position, before + 1);
    sim_free(sim);
}
END_TEST

START_TEST(a_post_that_was_never_sent_is_refused_and_not_stored)
{
    struct sim *sim = sim_new(12);
    js_world_break(sim->w, 0, 20000);
    wait_ms(sim, 10);
    struct draft *one = post(sim, 0, 0, 0, "c", "one"), *two = post(sim, 0, 0, 0, "d", "two");
    wait_ms(sim, 9000);
    ck_assert_int_eq(one->status, PENDING);
    wait_ms(sim, 2000);
    ck_assert_int_eq(one->status, CHATHUB_ELOG);
    ck_assert_int_eq(two->status, CHATHUB_ELOG);
    ck_assert_uint_eq(sim->js[0]->news.stats.failures, 2);
    wait_ms(sim, 30000);
    ck_assert_uint_eq(sim->shown_count[0], 0);
    sim_free(sim);
}
END_TEST

START_TEST(a_post_that_each_server_refused_is_not_stored)
{
    struct sim *sim = sim_new(13);
    sim->w->server.leaderless = sim->w->server.now + 12000;
    struct draft *draft = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 11000);
    ck_assert_int_eq(draft->status, CHATHUB_ELOG);
    wait_ms(sim, 10000);
    struct draft *again = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 100);
    ck_assert_int_eq(again->status, 0);
    sim_free(sim);
}
END_TEST

START_TEST(a_leader_that_comes_back_takes_what_it_refused)
{
    struct sim *sim = sim_new(14);
    sim->w->server.leaderless = sim->w->server.now + 5000;
    struct draft *draft = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 4900);
    ck_assert_int_eq(draft->status, PENDING);
    wait_ms(sim, 3000);
    ck_assert_int_eq(draft->status, 0);
    sim_free(sim);
}
END_TEST

START_TEST(an_error_that_does_not_pass_is_told_at_once)
{
    struct sim *sim = sim_new(15);
    sim->refuse = 10047;
    sim->w->server.leaderless = sim->w->server.now + 300;
    struct draft *draft = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 100);
    ck_assert_int_eq(draft->status, CHATHUB_ELOG);
    ck_assert(strstr(draft->why, "storage") != NULL);
    wait_ms(sim, 5000);
    sim_free(sim);
}
END_TEST

/* An earlier try may be stored: a later refusal says nothing of it. */
START_TEST(an_error_after_a_lost_answer_is_not_believed)
{
    struct sim *sim = sim_new(16);
    sim->refuse = 10047;
    sim->w->faults.lose_live = sim->w->faults.lose_answer = sim->w->faults.lose_ack = 1000;
    struct draft *draft = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 1900);
    sim->w->faults.lose_answer = sim->w->faults.lose_ack = 0;
    sim->w->server.leaderless = sim->w->server.now + 3000;
    wait_ms(sim, 2500);
    ck_assert_int_eq(draft->status, PENDING);
    wait_ms(sim, 5000);
    ck_assert_int_eq(draft->status, 0);
    sim_free(sim);
}
END_TEST

START_TEST(what_nothing_came_of_is_unknown_and_shown_once_if_it_was_stored)
{
    struct sim *sim = sim_new(17);
    js_world_break(sim->w, 1, JS_NEVER);
    sim->w->faults.lose_live = sim->w->faults.lose_answer = sim->w->faults.lose_ack = 1000;
    struct draft *draft = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 9000);
    ck_assert_int_eq(draft->status, PENDING);
    wait_ms(sim, 1100);
    ck_assert_int_eq(draft->status, CHATHUB_EUNKNOWN);
    struct draft *next = post(sim, 0, 0, 0, "d", "two");
    wait_ms(sim, 1000);
    ck_assert_uint_eq(sim->shown_count[0], 0);
    sim->w->faults = (struct js_faults){0};
    sim->w->nodes[1].back = 0;
    wait_ms(sim, 9000);
    ck_assert_int_eq(next->status, 0);
    ck_assert_uint_eq(sim->shown_count[0], 2);
    struct draft *again = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 100);
    ck_assert_int_eq(again->status, CHATHUB_EDUP);
    ck_assert_uint_eq(again->position, sim->shown[0][0].seq);
    sim_free(sim);
}
END_TEST

/* It lies in a server that stands still. */
START_TEST(an_unknown_post_silences_nobody_and_is_shown_once)
{
    struct sim *sim = sim_new(18);
    sim->w->faults.delay = 60000;
    struct draft *lost = post(sim, 0, 0, 0, "c", "one");
    struct js_node *node = &sim->w->nodes[0];
    while (!node->ways[JS_OUT].last || !node->ways[JS_OUT].last->out.id)
        js_world_step(sim->w, sim->w->server.now + 10);
    for (struct js_msg *m; (m = js_take(&node->ways[JS_OUT], JS_NEVER));) {
        m->due = sim->w->server.now + 40000;
        js_put(&node->stray, m);
    }
    js_world_break(sim->w, 0, 12000);
    sim->w->faults.delay = 0;
    wait_ms(sim, 11000);
    ck_assert_int_eq(lost->status, CHATHUB_EUNKNOWN);
    struct draft *next = post(sim, 0, 0, 0, "d", "two");
    struct draft *other = post(sim, 0, 1, 0, "e", "three");
    wait_ms(sim, 9000);
    ck_assert_int_eq(other->status, 0);
    ck_assert_int_eq(next->status, 0);
    ck_assert_uint_eq(sim->shown_count[0], 2);
    wait_ms(sim, 30000);
    ck_assert_uint_eq(sim->shown_count[0], 3);
    ck_assert_str_eq(sim->shown[0][2].text, "one");
    sim_free(sim);
}
END_TEST

START_TEST(who_repeats_an_unknown_post_goes_on)
{
    struct sim *sim = sim_new(19);
    sim->w->faults.lose_post = 1000;
    struct draft *lost = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 10100);
    ck_assert_int_eq(lost->status, CHATHUB_EUNKNOWN);
    sim->w->faults.lose_post = 0;
    wait_ms(sim, 5000);
    struct draft *again = post(sim, 0, 0, 0, "c", "one");
    struct draft *next = post(sim, 0, 0, 0, "d", "two");
    wait_ms(sim, 100);
    ck_assert_int_eq(again->status, 0);
    ck_assert_int_eq(next->status, 0);
    sim_free(sim);
}
END_TEST

/* They are other nodes' in the first place: to refuse a post would free no place. */
START_TEST(beyond_the_bound_the_oldest_cids_are_forgotten_and_it_is_told)
{
    struct sim *sim = sim_new(21);
    sim->w->nodes[0].orders.bounds.cids = 2;
    post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 100);
    post(sim, 1, 5, 0, "d", "two");
    wait_ms(sim, 3000);
    ck_assert_str_eq(sim->js[0]->news.trouble, "");
    struct draft *three = post(sim, 0, 0, 0, "e", "three");
    wait_ms(sim, 2 * WINDOW);
    ck_assert_int_eq(three->status, 0);
    ck_assert(strstr(sim->js[0]->news.trouble, "max-cids") != NULL);
    ck_assert_str_eq(sim->js[1]->news.trouble, "");
    struct draft *again = post(sim, 0, 0, 0, "e", "three"), *old = post(sim, 0, 0, 0, "c", "one");
    wait_ms(sim, 100);
    ck_assert_int_eq(again->status, CHATHUB_EDUP);
    ck_assert_int_eq(old->status, 0);
    sim->drafts[0].cid[0] = '\0'; /* two with one cid are stored, as they should be */
    sim_free(sim);
}
END_TEST

/* The walk that reads cids gets nothing. */
static struct sim *start_unread(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    post(sim, 0, 0, 0, "a", "one");
    wait_ms(sim, 100);
    post(sim, 0, 0, 0, "b", "two");
    wait_ms(sim, 2 * WINDOW);
    sim->mute = true;
    start_again(sim, 1);
    return sim;
}

START_TEST(a_node_is_up_before_it_has_read_the_cids)
{
    struct sim *sim = start_unread(32);
    sim->w->nodes[1].orders.bounds.cids = 3;
    ck_assert_int_eq(sim->js[1]->state, CHI_JS_UP);
    struct draft *none = post(sim, 1, 5, 0, NULL, "three");
    struct draft *here = post(sim, 0, 0, 0, "c", "four");
    wait_ms(sim, 100);
    post(sim, 0, 0, 0, "d", "five");
    wait_ms(sim, 8000);
    ck_assert_int_eq(none->status, 0);
    struct draft *b = post(sim, 1, 0, 0, "b", "two"), *c = post(sim, 1, 0, 0, "c", "four");
    wait_ms(sim, 500);
    ck_assert_int_eq(b->status, PENDING);
    sim->mute = false;
    wait_ms(sim, 8000);
    ck_assert_int_eq(b->status, CHATHUB_EDUP);
    ck_assert_int_eq(c->status, CHATHUB_EDUP);
    ck_assert_uint_eq(c->position, here->position);
    /* They stand in order of age: of four the first is what was forgotten. */
    wait_ms(sim, 2 * WINDOW);
    struct draft *again[] = {post(sim, 1, 0, 0, "b", "two"), post(sim, 1, 0, 0, "c", "four"),
                             post(sim, 1, 0, 0, "d", "five"), post(sim, 1, 0, 0, "a", "one")};
    wait_ms(sim, 1000);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(again[i]->status, CHATHUB_EDUP);
    ck_assert_int_eq(again[3]->status, 0);
    sim->drafts[0].cid[0] = '\0'; /* two with one cid are stored, as they should be */
    sim_free(sim);
}
END_TEST

START_TEST(a_post_that_waits_too_long_for_the_cids_is_told_why)
{
    struct sim *sim = start_unread(33);
    struct draft *draft = post(sim, 1, 5, 0, "c", "three");
    wait_ms(sim, 9000);
    ck_assert_int_eq(draft->status, PENDING);
    js_world_break(sim->w, 1, 100);
    wait_ms(sim, 3000);
    ck_assert_int_eq(draft->status, CHATHUB_ELOG);
    ck_assert_msg(strstr(draft->why, "cids") != NULL, "%s", draft->why);
    sim->mute = false;
    wait_ms(sim, 10000);
    struct draft *again = post(sim, 1, 5, 0, "c", "three");
    wait_ms(sim, 100);
    ck_assert_int_eq(again->status, 0);
    sim_free(sim);
}
END_TEST

/* Nobody may take it for the first of its room. */
START_TEST(a_post_to_a_room_that_is_not_open_says_that_it_is_not_the_first)
{
    struct sim *sim = sim_new(34);
    struct chi_js_record record;
    uint64_t seq = 0;
    struct chi_js_task *task = chi_js_task_new(CHI_JS_SHUT);
    task->room = &sim->rooms[0][0];
    js_world_put(sim->w, 0, task);
    wait_ms(sim, 100);
    ck_assert_uint_eq(stored(sim, post(sim, 0, 0, 0, NULL, "one"), &seq), 0);
    wait_ms(sim, 100);
    ck_assert_uint_eq(stored(sim, &sim->drafts[0], &seq), 1);
    const struct js_stored *m = js_at(&sim->w->server, seq);
    ck_assert_int_eq(chi_js_read_entry((struct chi_span){m->data, m->len}, &record), 0);
    ck_assert_uint_eq(record.hint.ordinal, 1);
    ck_assert_uint_eq(record.hint.before, 1);
    chi_entry_unref(record.entry);
    sim_free(sim);
}
END_TEST

START_TEST(what_is_larger_than_a_message_is_refused)
{
    struct sim *sim = sim_new(22);
    struct draft *large = post_long(sim, 0, 0, 0, "c", "large", 1048576 - 100);
    struct draft *next = post(sim, 0, 0, 0, NULL, "next");
    wait_ms(sim, 50);
    ck_assert_int_eq(large->status, CHATHUB_ELOG);
    ck_assert_int_eq(next->status, 0);
    sim_free(sim);
}
END_TEST

START_TEST(a_log_that_went_back_answers_all_that_is_under_way)
{
    struct sim *sim = sim_new(23);
    post(sim, 0, 1, 0, "b", "before");
    wait_ms(sim, 100);
    sim->w->faults.lose_post = 1000;
    struct draft *sent = post(sim, 0, 0, 0, "c", "one"), *behind = post(sim, 0, 0, 0, "d", "two");
    wait_ms(sim, 100);
    chi_js_posts_end(sim->js[0]);
    sim->w->nodes[0].due = sim->w->server.now;
    wait_ms(sim, 100);
    ck_assert_int_eq(sent->status, CHATHUB_EUNKNOWN);
    ck_assert_int_eq(behind->status, CHATHUB_ELOG);
    sim->w->faults.lose_post = 0;
    wait_ms(sim, 2000);
    struct draft *next = post(sim, 0, 0, 0, "d", "two"),
                 *repeat = post(sim, 0, 1, 0, "b", "before");
    wait_ms(sim, 2000);
    ck_assert_int_eq(next->status, 0);
    ck_assert_int_eq(repeat->status, CHATHUB_EDUP);
    sim_free(sim);
}
END_TEST

/* --------------------------------------------------------------------------------------- storms */

static uint32_t draw(struct sim *sim, uint32_t below)
{
    sim->random = chi_siphash(secret, &sim->random, sizeof sim->random);
    return (uint32_t)(sim->random >> 16) % below;
}

/* The newest draft of a user that failed and was not made again: clients do. */
static const struct draft *to_repeat(const struct sim *sim, uint32_t node, uint32_t user)
{
    for (uint32_t i = sim->count; i-- > 0;) {
        const struct draft *draft = &sim->drafts[i];
        if (draft->node != node || draft->user != user)
            continue;
        return draft->status != PENDING && *draft->cid ? draft : NULL;
    }
    return NULL;
}

static void act(struct sim *sim)
{
    uint32_t node = draw(sim, NODES), user = node * USERS + draw(sim, USERS);
    char cid[16], text[24];
    const struct draft *old = to_repeat(sim, node, user);
    if (sim->count + 8 > 500)
        return;
    if (old && draw(sim, 3)) {
        /* At home, or from another node, where it is another draft of nobody's order. */
        post(sim, node, user, old->room, old->cid, old->text);
        return;
    }
    uint32_t n = ++sim->cids[node][user % USERS];
    snprintf(text, sizeof text, "%u.%u", user, n);
    snprintf(cid, sizeof cid, "c%u", n);
    post(sim, node, user, draw(sim, ROOMS), draw(sim, 4) ? cid : NULL, text);
}

static void weather(struct sim *sim)
{
    struct js_faults *f = &sim->w->faults;
    *f = (struct js_faults){.delay = draw(sim, 50),
                            .break_ms = 15000,
                            .leaderless_ms = 12000,
                            .lag_ms = 3000,
                            .sleep_ms = 4000};
    uint32_t *often[] = {&f->lose_post,   &f->lose_ack,      &f->lose_live, &f->lose_answer,
                         &f->double_live, &f->double_answer, &f->missed};
    for (size_t i = 0; i < sizeof often / sizeof *often; i++)
        *often[i] = draw(sim, 3) ? 0 : draw(sim, 500);
    f->often_break = draw(sim, 3) ? 0 : draw(sim, 100);
    f->often_leaderless = draw(sim, 3) ? 0 : draw(sim, 50);
    f->often_lag = draw(sim, 100);
    f->often_sleep = draw(sim, 3) ? 0 : draw(sim, 50);
    f->often_consumers = draw(sim, 3) ? 0 : draw(sim, 50);
}

static uint32_t pending(const struct sim *sim)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sim->count; i++)
        n += sim->drafts[i].status == PENDING && !sim->drafts[i].gone;
    return n;
}

static void storm(uint64_t seed)
{
    struct sim *sim = sim_new(seed);
    for (uint32_t phase = 0; phase < 4; phase++) {
        weather(sim);
        for (uint32_t i = 0, n = 10 + draw(sim, 50); i < n; i++) {
            act(sim);
            wait_ms(sim, draw(sim, 4) ? draw(sim, 100) : draw(sim, 4000));
        }
    }
    sim->w->faults = (struct js_faults){0};
    sim->w->server.leaderless = 0;
    wait_ms(sim, 30000);
    ck_assert_uint_eq(pending(sim), 0);
    sim_free(sim);
}

START_TEST(no_storm_stores_twice_or_changes_the_order)
{
    const char *first = getenv("SEED"), *count = getenv("SEEDS");
    uint64_t from = first ? strtoull(first, NULL, 10) : 1;
    uint64_t n = count ? strtoull(count, NULL, 10) : first ? 1 : 150;
    for (uint64_t seed = from; seed < from + n; seed++)
        storm(seed);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("js_posts");
    TCase *t = tcase_create("posts");
    tcase_set_timeout(t, 300);
    tcase_add_test(t, posts_are_stored_and_answered_with_their_position);
    tcase_add_test(t, a_post_is_answered_without_its_puback);
    tcase_add_test(t, a_post_is_answered_without_live_messages);
    tcase_add_test(t, a_post_is_stored_once_where_puback_and_live_message_are_lost);
    tcase_add_test(t, a_lost_post_is_sent_again);
    tcase_add_test(t, a_new_connection_sends_again_at_once);
    tcase_add_test(t, a_repeat_is_answered_with_the_first_wherever_it_is_posted);
    tcase_add_test(t, of_two_posts_with_a_cid_at_once_one_is_the_repeat);
    tcase_add_test(t, repeats_beyond_the_duplicate_window_are_known);
    tcase_add_test(t, a_clock_that_ran_ahead_keeps_no_later_node_from_reading_cids);
    tcase_add_test(t, a_node_whose_clock_runs_ahead_knows_the_cids_of_the_others);
    tcase_add_test(t, a_cid_is_free_again_behind_the_horizon);
    tcase_add_test(t, a_repeat_that_the_index_does_not_know_is_looked_up);
    tcase_add_test(t, a_post_that_was_erased_before_it_was_shown_is_answered);
    tcase_add_test(t, a_post_that_was_never_sent_is_refused_and_not_stored);
    tcase_add_test(t, a_post_that_each_server_refused_is_not_stored);
    tcase_add_test(t, a_leader_that_comes_back_takes_what_it_refused);
    tcase_add_test(t, an_error_that_does_not_pass_is_told_at_once);
    tcase_add_test(t, an_error_after_a_lost_answer_is_not_believed);
    tcase_add_test(t, what_nothing_came_of_is_unknown_and_shown_once_if_it_was_stored);
    tcase_add_test(t, an_unknown_post_silences_nobody_and_is_shown_once);
    tcase_add_test(t, who_repeats_an_unknown_post_goes_on);
    tcase_add_test(t, beyond_the_bound_the_oldest_cids_are_forgotten_and_it_is_told);
    tcase_add_test(t, a_node_is_up_before_it_has_read_the_cids);
    tcase_add_test(t, a_post_that_waits_too_long_for_the_cids_is_told_why);
    tcase_add_test(t, a_post_to_a_room_that_is_not_open_says_that_it_is_not_the_first);
    tcase_add_test(t, what_is_larger_than_a_message_is_refused);
    tcase_add_test(t, a_log_that_went_back_answers_all_that_is_under_way);
    tcase_add_test(t, no_storm_stores_twice_or_changes_the_order);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_run(suite());
}
