/* The stream: made or checked, and known again or not after a loss; no position that still holds means
 * something else than it did. */
#include "js_shown.h"

static struct chi_js *js_of(const struct shows *s, uint32_t node)
{
    return s->world->nodes[node].js;
}

static const struct chi_js_epoch *epoch_of(const struct shows *s, uint32_t node)
{
    const struct chi_js_epochs *epochs = &js_of(s, node)->epochs;
    ck_assert_uint_gt(epochs->count, 0);
    return &epochs->list[epochs->count - 1];
}

static void same_epoch(const struct shows *s)
{
    ck_assert(!memcmp(epoch_of(s, 0)->name, epoch_of(s, 1)->name, 16));
}

static void post_some(struct shows *s, int n)
{
    while (n--)
        shows_post(s, (uint32_t)n % ROOMS);
}

/* -------------------------------------------------------------------------------------- opening */

START_TEST(the_first_epoch_is_one_for_all_that_start_at_once)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct shows *s = shows_new(seed, 2);
        same_epoch(s);
        ck_assert_uint_eq(js_of(s, 0)->epochs.count, 1);
        ck_assert_uint_eq(epoch_of(s, 0)->first, 1);
        ck_assert_uint_eq(s->world->server.last_seq, 1);
        shows_free(s);
    }
}
END_TEST

static const char *problem_of(const struct shows *s)
{
    int error = 0;
    const char *problem = chi_js_stream_problem(js_of(s, 0), &error);
    ck_assert(!problem || error == CHATHUB_EIO);
    return problem ? problem : "";
}

/* As shows_new, but it is not waited for. */
static struct shows *bare(uint32_t nodes)
{
    struct shows *s = calloc(1, sizeof *s);
    s->world = js_world_new(1, nodes);
    for (uint32_t i = 0; i < nodes; i++)
        viewer_start(s, i);
    return s;
}

START_TEST(without_jetstream_it_says_which_flag_to_set)
{
    struct shows *s = bare(1);
    s->world->server.no_jetstream = true;
    shows_run(s, 1000);
    ck_assert_str_eq(problem_of(s), "");
    shows_run(s, 10000);
    ck_assert_ptr_nonnull(strstr(problem_of(s), "-js"));
    shows_free(s);
}
END_TEST

START_TEST(a_cluster_that_has_no_leader_yet_is_waited_for)
{
    struct shows *s = bare(1);
    s->world->server.leaderless = 9000;
    shows_run(s, 8000);
    ck_assert_str_eq(problem_of(s), "");
    ck_assert_ptr_nonnull(js_of(s, 0)->news.why);
    ck_assert(js_of(s, 0)->news.stats.down);
    shows_run(s, 5000);
    ck_assert(shows_up(s));
    ck_assert_ptr_null(js_of(s, 0)->news.why);
    ck_assert(!js_of(s, 0)->news.stats.down);
    shows_free(s);
}
END_TEST

START_TEST(replicas_are_three_where_there_are_three_servers)
{
    for (uint32_t servers = 1; servers <= 3; servers++) {
        struct shows *s = bare(1);
        s->world->server.servers = servers;
        shows_run(s, 10000);
        ck_assert(shows_up(s));
        uint64_t replicas = js_config(&s->world->server, "num_replicas");
        ck_assert_uint_eq(replicas, servers == 3 ? 3 : 1);
        const char *made = js_of(s, 0)->news.made;
        ck_assert_ptr_nonnull(made);
        ck_assert(servers == 3 || strstr(made, "one replica"));
        ck_assert_str_eq(js_of(s, 0)->news.trouble, "");
        shows_free(s);
    }
}
END_TEST

/* A stream that somebody made, with a change of how it would be asked for. */
static struct shows *given_as(const struct chi_js_config *config, const char *key, json_t *value)
{
    struct shows *s = bare(1);
    struct chi_buf data = {0};
    chi_js_ask_create(&data, "chat", config);
    json_t *json = json_loadb(data.at, data.len, 0, NULL);
    if (value)
        json_object_set_new(json, key, value);
    else
        json_object_del(json, key);
    chi_buf_fini(&data);
    char *text = json_dumps(json, 0);
    shows_store(s, "$JS.API.STREAM.CREATE.chat", chi_span_of(text));
    ck_assert(s->world->server.config != NULL);
    free(text);
    json_decref(json);
    return s;
}

static struct shows *given(const char *key, json_t *value)
{
    struct chi_js_config config = wanted;
    config.replicas = 1;
    return given_as(&config, key, value);
}

START_TEST(all_that_differs_is_reported_with_the_whole_command_that_mends_it)
{
    struct chi_js_config config = wanted;
    config.replicas = 1;
    config.duplicates = 86399999;
    config.max_bytes = 9007199254740991;
    config.room_entries = 9007199254740990;
    struct shows *s = given_as(&config, "max_age", json_integer(9000000000000000000));
    shows_run(s, 5000);
    ck_assert(shows_up(s));
    char end[128];
    snprintf(end, sizeof end, " --max-age=0ms --max-bytes=%llu --max-msgs-per-subject=%llu",
             (unsigned long long)wanted.max_bytes, (unsigned long long)wanted.room_entries);
    const char *trouble = js_of(s, 0)->news.trouble;
    ck_assert_ptr_nonnull(strstr(trouble, end));
    ck_assert_str_eq(strstr(trouble, end), end);
    ck_assert_uint_gt(strlen(trouble), 256);
    shows_free(s);
}
END_TEST

START_TEST(another_configuration_is_reported_and_kept)
{
    struct shows *s = given("max_age", json_integer(3600000000000));
    shows_run(s, 5000);
    ck_assert(shows_up(s));
    const char *trouble = js_of(s, 0)->news.trouble;
    ck_assert_str_eq(trouble, "chat: max-age is 3600000ms, not 0ms; nats stream edit chat "
                              "--max-age=0ms");
    ck_assert_ptr_null(js_of(s, 0)->news.made);
    ck_assert_uint_eq(js_config(&s->world->server, "max_age"), 3600000000000);
    shows_free(s);
}
END_TEST

START_TEST(a_stream_that_cannot_serve_is_refused)
{
    static const struct {
        const char *key, *value, *says;
    } cases[] = {
        {"republish", NULL, "--republish-source='chat.in.>'"},
        {"subjects", "[\"chat.in.>\", \"other\"]", "--subjects='chat.in.>'"},
        {"deny_delete", "true", "messages cannot be deleted"},
        {"retention", "\"workqueue\"", "retention"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *value = cases[i].value;
        struct shows *s =
            given(cases[i].key, value ? json_loads(value, JSON_DECODE_ANY, NULL) : NULL);
        shows_run(s, 5000);
        ck_assert(!shows_up(s));
        ck_assert_msg(strstr(problem_of(s), cases[i].says) != NULL, "%s", problem_of(s));
        shows_free(s);
    }
}
END_TEST

/* A post is not held longer than half of the window in which the stream knows it again. */
START_TEST(the_duplicate_window_bounds_the_hold)
{
    struct shows *s = given("duplicate_window", json_integer(8000000000));
    shows_run(s, 5000);
    ck_assert(shows_up(s));
    ck_assert_uint_eq(js_of(s, 0)->orders.hold, 4000);
    ck_assert_uint_eq(s->world->nodes[0].orders.hold, 10000);
    shows_free(s);
}
END_TEST

/* ----------------------------------------------------------------------------- what it is after */

START_TEST(reconnections_to_the_same_stream_change_nothing)
{
    struct shows *s = shows_new(1, 2);
    for (int i = 0; i < 20; i++) {
        post_some(s, 50);
        js_world_break(s->world, (uint32_t)i % 2, 300);
        post_some(s, 50);
        shows_run(s, 500);
    }
    shows_settle(s);
    ck_assert_uint_eq(s->viewers[0].backs + s->viewers[1].backs, 0);
    ck_assert_uint_eq(js_of(s, 0)->epochs.count, 1);
    shows_free(s);
}
END_TEST

static void settle_back(struct shows *s)
{
    shows_settle(s);
    same_epoch(s);
    for (uint32_t i = 0; i < 2; i++)
        check_positions(s, i);
}

/* While nobody was connected. What stands unchanged in it still holds: no more is told to be gone. */
START_TEST(a_stream_that_was_put_back_begins_an_epoch_at_what_is_lost)
{
    struct shows *s = shows_new(1, 2);
    post_some(s, 100);
    shows_run(s, 1000);
    uint64_t kept = s->world->server.last_seq;
    post_some(s, 100);
    shows_run(s, 1000);
    for (uint32_t i = 0; i < 2; i++)
        js_world_break(s->world, i, 1000);
    shows_put_back(s, kept);
    settle_back(s);
    ck_assert_uint_eq(js_of(s, 0)->epochs.count, 2);
    ck_assert_uint_eq(epoch_of(s, 0)->first, kept + 1);
    ck_assert_uint_eq(s->viewers[0].backs, 1);
    ck_assert_uint_eq(s->viewers[1].backs, 1);
    shows_free(s);
}
END_TEST

START_TEST(a_stream_that_was_made_anew_holds_nothing_of_before)
{
    struct shows *s = shows_new(1, 2);
    post_some(s, 100);
    shows_run(s, 1000);
    struct chi_js_epoch old = *epoch_of(s, 0);
    js_remove(&s->world->server);
    memset(s->ledger, 0, sizeof s->ledger);
    memset(s->tops, 0, sizeof s->tops);
    settle_back(s);
    ck_assert_uint_ge(s->viewers[0].backs, 1);
    ck_assert(!holds(&js_of(s, 0)->epochs, &old, 1));
    shows_free(s);
}
END_TEST

/* It is put back and grows beyond what was shown, all before anybody looks. */
START_TEST(a_stream_that_grew_again_is_known_by_what_stands_in_it)
{
    for (int missed = 0; missed < 2; missed++) {
        struct shows *s = shows_new(1, 2);
        post_some(s, 600);
        shows_run(s, 1000);
        for (uint32_t i = 0; missed && i < 2; i++)
            js_world_break(s->world, i, 1000);
        shows_put_back(s, 300);
        post_some(s, 600);
        settle_back(s);
        ck_assert_uint_ge(s->viewers[0].backs, 1);
        ck_assert_uint_le(epoch_of(s, 0)->first, 301);
        shows_free(s);
    }
}
END_TEST

/* What is emptied or trimmed goes on counting: nothing went back. */
START_TEST(a_stream_that_was_purged_is_the_same)
{
    struct shows *s = shows_new(1, 2);
    post_some(s, 100);
    shows_run(s, 1000);
    for (uint64_t i = 1; i <= s->world->server.last_seq; i++)
        s->ledger[i].deleted = true;
    js_empty(&s->world->server);
    js_world_break(s->world, 0, 500);
    shows_settle(s);
    ck_assert_uint_eq(s->viewers[0].backs + s->viewers[1].backs, 0);
    shows_free(s);
}
END_TEST

/* The epoch's record would be among what goes first. */
START_TEST(an_epoch_outlives_the_stream_s_bounds)
{
    struct shows *s = shows_new(1, 2);
    struct chi_js_epoch old = *epoch_of(s, 0);
    for (int i = 0; i < 40; i++) {
        post_some(s, 50);
        shows_run(s, 1500);
        if (s->world->server.count - s->world->server.first > 200)
            js_trim(&s->world->server, 60);
    }
    js_world_break(s->world, 0, 500);
    shows_run(s, 3000);
    ck_assert_ptr_nonnull(js_last_of(&s->world->server, "chat.in.epoch"));
    ck_assert(!memcmp(old.name, epoch_of(s, 0)->name, 16));
    ck_assert_uint_eq(s->viewers[0].backs + s->viewers[1].backs, 0);
    ck_assert_uint_eq(js_of(s, 1)->epochs.count, 1);
    shows_free(s);
}
END_TEST

/* ------------------------------------------------------------------------------- stale answers */

static char stale[2000]; /* STREAM.INFO's answer of a leader that was deposed */
static bool recording, lying;

static void old_leader_heard(struct js_node *node, const struct chi_js_in *in)
{
    struct chi_js_in other = *in;
    bool info = in->kind == CHI_JS_REPLY && in->data.len < sizeof stale &&
                memmem(in->data.at, in->data.len, "stream_info_response", 20);
    if (info && recording)
        snprintf(stale, sizeof stale, "%.*s", (int)in->data.len, in->data.at);
    if (info && lying)
        other.data = chi_span_of(stale);
    chi_js_heard(node->js, &other);
}

START_TEST(a_leader_that_was_deposed_does_not_put_the_log_back)
{
    struct shows *s = shows_new(1, 2);
    s->world->nodes[0].heard = old_leader_heard;
    recording = true;
    shows_run(s, 1500);
    recording = false;
    ck_assert(stale[0]);
    post_some(s, 50);
    shows_run(s, 1500);
    for (int connected = 0; connected < 2; connected++) {
        lying = true;
        if (!connected)
            js_world_break(s->world, 0, 100);
        shows_run(s, 4000);
        ck_assert_int_ne(js_of(s, 0)->state, CHI_JS_UP);
        lying = false;
        shows_run(s, 4000);
        ck_assert(shows_up(s));
    }
    shows_settle(s);
    ck_assert_uint_eq(s->viewers[0].backs + s->viewers[1].backs, 0);
    ck_assert_uint_eq(js_of(s, 0)->epochs.count, 1);
    shows_free(s);
}
END_TEST

/* ----------------------------------------------------------------------------------- in a storm */

/* As it is put back: its server starts anew, or it is deleted and restored, which takes longer than
 * nodes are apart in looking at its tail. */
static void lose_some(struct shows *s)
{
    struct js_server *server = &s->world->server;
    uint64_t last = server->last_seq;
    if (!server->config)
        return;
    if (js_below(server, 6) == 0) {
        js_remove(server);
        memset(s->ledger, 0, sizeof s->ledger);
        memset(s->tops, 0, sizeof s->tops);
    } else if (last) {
        shows_put_back(s, js_below(server, 2) ? last - js_below(server, last < 40 ? last : 40)
                                              : js_below(server, last));
    }
    bool restarts = js_below(server, 2);
    for (uint32_t i = 0; i < 2; i++)
        if (restarts)
            js_world_break(s->world, i, js_below(server, 2000));
    if (!restarts)
        shows_run(s, 20000); /* in this weather a check of the stream can need several tries */
}

static void a_storm(uint64_t seed)
{
    struct shows *s = shows_new(seed, 2);
    struct js_server *server = &s->world->server;
    struct js_faults *f = &s->world->faults;
    f->delay = (uint32_t)js_below(server, 30);
    f->lose_live = (uint32_t)js_below(server, 100);
    f->lose_answer = (uint32_t)js_below(server, 100);
    f->lose_ack = (uint32_t)js_below(server, 300);
    f->lose_post = (uint32_t)js_below(server, 100);
    f->double_live = (uint32_t)js_below(server, 100);
    f->often_break = (uint32_t)js_below(server, 60);
    f->break_ms = 3000;
    f->often_leaderless = (uint32_t)js_below(server, 30);
    f->leaderless_ms = 2000;
    f->often_sleep = (uint32_t)js_below(server, 30);
    f->sleep_ms = 2000;
    for (int i = 0; i < 200; i++) {
        if (server->config && js_below(server, 3))
            post_some(s, (int)js_below(server, js_below(server, 20) ? 4 : 400));
        if (js_below(server, 40) == 0)
            lose_some(s);
        shows_run(s, js_below(server, 100));
    }
    settle_back(s);
    shows_free(s);
}

START_TEST(no_position_that_holds_is_another_one)
{
    const char *one = getenv("SEED"), *many = getenv("SEEDS");
    uint64_t first = one ? strtoull(one, NULL, 10) : 1, last = one    ? first
                                                               : many ? strtoull(many, NULL, 10)
                                                                      : 300;
    for (uint64_t seed = first; seed <= last; seed++) {
        if (one || many)
            fprintf(stderr, "seed %" PRIu64 "\n", seed);
        a_storm(seed);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("js_stream");
    TCase *tcase = tcase_create("js_stream");
    tcase_add_test(tcase, the_first_epoch_is_one_for_all_that_start_at_once);
    tcase_add_test(tcase, without_jetstream_it_says_which_flag_to_set);
    tcase_add_test(tcase, a_cluster_that_has_no_leader_yet_is_waited_for);
    tcase_add_test(tcase, replicas_are_three_where_there_are_three_servers);
    tcase_add_test(tcase, all_that_differs_is_reported_with_the_whole_command_that_mends_it);
    tcase_add_test(tcase, another_configuration_is_reported_and_kept);
    tcase_add_test(tcase, a_stream_that_cannot_serve_is_refused);
    tcase_add_test(tcase, the_duplicate_window_bounds_the_hold);
    tcase_add_test(tcase, reconnections_to_the_same_stream_change_nothing);
    tcase_add_test(tcase, a_stream_that_was_put_back_begins_an_epoch_at_what_is_lost);
    tcase_add_test(tcase, a_stream_that_was_made_anew_holds_nothing_of_before);
    tcase_add_test(tcase, a_stream_that_grew_again_is_known_by_what_stands_in_it);
    tcase_add_test(tcase, a_stream_that_was_purged_is_the_same);
    tcase_add_test(tcase, an_epoch_outlives_the_stream_s_bounds);
    tcase_add_test(tcase, a_leader_that_was_deposed_does_not_put_the_log_back);
    tcase_add_test(tcase, no_position_that_holds_is_another_one);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
