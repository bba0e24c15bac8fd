/* The feed: whatever the network does to live messages and answers, each node shows all that is
 * stored, once, in order. */
#include "js_shown.h"

static void bad_weather(struct js_world *w)
{
    w->faults = (struct js_faults){
        .delay = (uint32_t)js_below(&w->server, 30),
        .lose_live = (uint32_t)js_below(&w->server, 200),
        .lose_answer = (uint32_t)js_below(&w->server, 100),
        .lose_post = (uint32_t)js_below(&w->server, 50),
        .double_live = (uint32_t)js_below(&w->server, 100),
        .double_answer = (uint32_t)js_below(&w->server, 50),
        .missed = (uint32_t)js_below(&w->server, 30),
        .often_break = (uint32_t)js_below(&w->server, 60),
        .break_ms = 3000,
        .often_leaderless = (uint32_t)js_below(&w->server, 30),
        .leaderless_ms = 3000,
        .often_lag = (uint32_t)js_below(&w->server, 60),
        .lag_ms = 4000,
        .often_sleep = (uint32_t)js_below(&w->server, 30),
        .sleep_ms = 2000,
        .often_consumers = (uint32_t)js_below(&w->server, 30),
    };
}

static void a_storm(uint64_t seed)
{
    struct shows *s = shows_new(seed, 2);
    struct js_server *server = &s->world->server;
    bad_weather(s->world);
    bool deletes = js_below(server, 2), bursts = js_below(server, 3) == 0;
    for (int i = 0; i < 300; i++) {
        uint64_t n = bursts && js_below(server, 50) == 0 ? js_below(server, 600) : 1;
        while (n--)
            shows_post(s, (uint32_t)js_below(server, ROOMS));
        if (deletes && js_below(server, 8) == 0 && server->last_seq > 20)
            shows_delete(s, server->last_seq - js_below(server, 20));
        shows_run(s, js_below(server, 40));
    }
    shows_settle(s);
    for (uint32_t i = 0; i < 2; i++)
        ck_assert_msg(!s->viewers[i].backs, "seed %" PRIu64 ": it never went back", seed);
    shows_free(s);
}

START_TEST(all_is_shown_once_in_order_in_any_weather)
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

/* No live message comes at all, and nothing follows: the tail alone tells. */
START_TEST(the_last_message_of_all_is_shown_though_it_was_lost)
{
    struct shows *s = shows_new(1, 1);
    s->world->faults.lose_live = 1000;
    shows_post(s, 0);
    shows_run(s, 1200);
    ck_assert_uint_eq(s->viewers[0].count[0], 1);
    ck_assert_uint_eq(s->viewers[0].list[0][0].seq, s->world->server.last_seq);
    shows_free(s);
}
END_TEST

START_TEST(a_known_tail_is_not_waited_for)
{
    struct shows *s = shows_new(1, 1);
    shows_run(s, 20);
    s->world->faults.lose_live = 1000;
    shows_post(s, 0);
    chi_js_feed_tail(s->world->nodes[0].js, s->world->server.last_seq);
    s->world->nodes[0].due = s->world->server.now;
    shows_run(s, 60);
    ck_assert_uint_eq(s->viewers[0].count[0], 1);
    shows_free(s);
}
END_TEST

/* 5,000 were stored while there was no connection: far fewer requests than messages. */
START_TEST(a_long_absence_is_read_by_walks)
{
    struct shows *s = shows_new(1, 1);
    js_world_break(s->world, 0, 5000);
    for (int i = 0; i < 5000; i++)
        shows_post(s, (uint32_t)i % ROOMS);
    uint32_t sends = s->world->nodes[0].sends;
    shows_run(s, 10000);
    ck_assert_uint_eq(s->world->nodes[0].js->news.shown, s->world->server.last_seq);
    ck_assert_uint_lt(s->world->nodes[0].sends - sends, 100);
    shows_settle(s);
    shows_free(s);
}
END_TEST

/* Every second one of 3,000 is gone, and some that lie together. */
START_TEST(what_was_deleted_in_a_hole_is_passed_over)
{
    struct shows *s = shows_new(1, 1);
    js_world_break(s->world, 0, 5000);
    for (int i = 0; i < 3000; i++)
        shows_post(s, (uint32_t)i % ROOMS);
    uint64_t last = s->world->server.last_seq;
    for (uint64_t seq = last - 2990; seq < last - 10; seq += seq % 100 < 50 ? 1 : 2)
        shows_delete(s, seq);
    shows_run(s, 30000);
    ck_assert_uint_eq(s->world->nodes[0].js->news.shown, s->world->server.last_seq);
    shows_settle(s);
    shows_free(s);
}
END_TEST

/* What the stream forgot from its beginning is passed over at once. */
START_TEST(what_is_below_the_stream_s_first_is_passed_over)
{
    struct shows *s = shows_new(1, 1);
    js_world_break(s->world, 0, 1000);
    for (int i = 0; i < 15000; i++)
        shows_post(s, (uint32_t)i % ROOMS);
    for (uint64_t seq = 2; seq <= 14990; seq++)
        s->ledger[seq].deleted = true;
    js_trim(&s->world->server, 14990);
    uint32_t sends = s->world->nodes[0].sends;
    shows_run(s, 3000);
    ck_assert_uint_eq(s->world->nodes[0].js->news.shown, s->world->server.last_seq);
    ck_assert_uint_lt(s->world->nodes[0].sends - sends, 100);
    shows_settle(s);
    ck_assert_uint_eq(s->viewers[0].backs, 0);
    shows_free(s);
}
END_TEST

/* A message that no node can read does not stop those behind it. */
START_TEST(what_cannot_be_read_is_passed_over_and_counted)
{
    struct shows *s = shows_new(1, 1);
    shows_store(s, "chat.in.room.lobby", CHI_SPAN("what is this?"));
    shows_store(s, "chat.in.room.LOB=zzBY", CHI_SPAN("or this?"));
    shows_store(s, "chat.in.weather", CHI_SPAN("rain"));
    uint64_t last = s->world->server.last_seq;
    shows_post(s, 0);
    shows_run(s, 100);
    const struct chi_js_news *news = &s->world->nodes[0].js->news;
    ck_assert_uint_eq(news->passed, 3);
    ck_assert_uint_eq(news->passed_last, last);
    ck_assert_uint_eq(s->viewers[0].count[0], 1);
    shows_free(s);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("js_feed");
    TCase *tcase = tcase_create("js_feed");
    tcase_add_test(tcase, all_is_shown_once_in_order_in_any_weather);
    tcase_add_test(tcase, the_last_message_of_all_is_shown_though_it_was_lost);
    tcase_add_test(tcase, a_known_tail_is_not_waited_for);
    tcase_add_test(tcase, a_long_absence_is_read_by_walks);
    tcase_add_test(tcase, what_was_deleted_in_a_hole_is_passed_over);
    tcase_add_test(tcase, what_is_below_the_stream_s_first_is_passed_over);
    tcase_add_test(tcase, what_cannot_be_read_is_passed_over_and_counted);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
