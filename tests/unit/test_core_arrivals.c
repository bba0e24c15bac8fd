/* How clients of other dialects arrive: by which name, observing what, and that nobody is worse off
 * for it. */
#include "core_world.h"

static const struct chi_dialect realtime = {.name = "realtime",
                                            .post_name = CHI_POST_NAME_EACH,
                                            .entrance = CHI_ENTRANCE_OBSERVES,
                                            .hearing = CHI_HEARS_ASKED,
                                            .shares_names = true,
                                            .no_history = true,
                                            .told_itself = true,
                                            .hides_key = true};
static const struct chi_dialect multiserver = {.name = "multiserver",
                                               .post_name = CHI_POST_NAME_WHOLE,
                                               .entrance = CHI_ENTRANCE_OBSERVES,
                                               .greets = true,
                                               .shares_names = true,
                                               .no_history = true,
                                               .told_itself = true,
                                               .hides_key = true};
static const struct chi_dialect chatservice = {.name = "chatservice",
                                               .entrance = CHI_ENTRANCE_SILENT,
                                               .hearing = CHI_HEARS_ENTRIES,
                                               .must_join = true,
                                               .shares_names = true,
                                               .replays = true,
                                               .also_last = true,
                                               .hides_key = true};

static void setup(void)
{
    world_new(1);
    world->settings.replay_names = 100;
    world->settings.replay_time = 60000;
    world->settings.name = (char *)(uintptr_t) "main";
    world->parts.ask = 1u << CHATHUB_HELLO | 1u << CHATHUB_JOIN | 1u << CHATHUB_POST;
    ck_assert_int_eq(world_start(), 0);
}

static void teardown(void)
{
    world_free();
}

static uint64_t arrives(const struct chi_dialect *dialect, bool presence)
{
    uint64_t id = 0;
    struct chi_client_desc desc = {.as = {&world->transport, world->conns, {dialect, NULL}},
                                   .presence = presence};
    ck_assert_int_eq(chi_hub_client_open(world->hub, &desc, &id), 0);
    fake(id)->conn = world->conns++;
    return id;
}

static uint64_t enters(const struct chi_dialect *dialect, const char *name)
{
    uint64_t id = arrives(dialect, true);
    chi_hub_enter(world->hub, id, span(name));
    turns();
    return id;
}

static enum chi_next says(uint64_t id, const char *name, const char *text)
{
    struct chi_request r = {.type = CHI_REQUEST_POST, .name = span(name), .content = span(text)};
    return chi_hub_request(world->hub, id, &r);
}

static bool is_in_a_room(uint64_t id)
{
    return fake(id)->count > 0;
}

/* ---------------------------------------------------------------------------------------- names */

START_TEST(a_post_under_another_form_of_its_name_is_decided_once)
{
    uint64_t abhi = enters(&realtime, NULL);
    says(abhi, "Abhi", "one");
    turns();
    world->answer = CHATHUB_LATER;
    says(abhi, "Ab~hi", "two");
    for (int questions = 0; questions < 3; questions++) { /* one is asked: may it post? */
        chi_hub_answer(world->hub, world->asked, true, (struct chi_span){NULL, 0});
        turns();
    }
    ck_assert_uint_eq(world->position, 2);
}
END_TEST

START_TEST(the_form_of_a_name_alone_is_no_new_name)
{
    uint64_t abhi = enters(&realtime, NULL);
    says(abhi, "Abhi", "one");
    turns();
    heard(abhi);
    says(abhi, "Ab~hi", "two");
    turns();
    ck_assert_ptr_null(strstr(heard(abhi), "renamed"));
}
END_TEST

START_TEST(who_has_a_name_keeps_it_though_others_share_it)
{
    uint64_t alice = opened(false);
    hello(alice, "alice", "key-of-alice-000000000000");
    turns();
    uint64_t mallory = enters(&realtime, NULL);
    says(mallory, "alice", "I am alice");
    hello(alice, "Alice", NULL);
    turns();
    heard(alice);
    hello(alice, "Alice", NULL);
    ck_hears(alice, "welcome Alice");
    uint64_t again = opened(false);
    hello(again, "alice", "key-of-alice-000000000000");
    ck_hears(again, "welcome alice");
}
END_TEST

START_TEST(a_name_that_is_shared_is_free_when_all_have_gone)
{
    uint64_t one = enters(&realtime, NULL), two = enters(&realtime, NULL);
    says(one, "bob", "1");
    says(two, "Bob", "2");
    turns();
    uint64_t native = opened(false);
    hello(native, "bob", NULL);
    ck_hears(native, "error name_taken");
    chi_hub_client_closed(world->hub, one, "left");
    turns();
    hello(native, "bob", NULL);
    ck_hears(native, "error name_taken");
    chi_hub_client_closed(world->hub, two, "left");
    turns();
    hello(native, "bob", NULL);
    ck_hears(native, "welcome bob");
}
END_TEST

/* ------------------------------------------------------------------------------------ observing */

START_TEST(who_is_refused_a_name_observes_all_the_same)
{
    uint64_t id = arrives(&realtime, false);
    says(id, NULL, "nameless");
    turns();
    ck_hears(id, "error name_required");
    ck_assert(is_in_a_room(id));
}
END_TEST

START_TEST(who_may_not_observe_is_told_and_may_still_join)
{
    world->answer = CHATHUB_DENY;
    uint64_t id = enters(&multiserver, NULL);
    ck_hears(id, "error denied");
    ck_assert(fake(id)->open);
    world->answer = CHATHUB_ALLOW;
    says(id, "dave", "dave");
    turns();
    ck_hears(id, "joined general");
}
END_TEST

START_TEST(a_frame_of_a_dialect_that_joins_ends_observing_that_is_under_way)
{
    world->log_stopped = true;
    uint64_t id = opened(false);
    chi_hub_observe(world->hub, id);
    chi_hub_client_encoding(world->hub, id, (struct chi_encoding){&chatservice, NULL});
    world->log_stopped = false;
    turns();
    ck_assert(!is_in_a_room(id));
    ck_assert_uint_eq(fake(id)->reads, 0);
}
END_TEST

START_TEST(who_observed_hears_what_its_new_dialect_asks_for)
{
    uint64_t id = arrives(&plain_dialect, true);
    chi_hub_observe(world->hub, id);
    turns();
    chi_hub_client_encoding(world->hub, id, (struct chi_encoding){&realtime, NULL});
    person("bob", "general");
    ck_hears(id, "+[bob]");
}
END_TEST

START_TEST(coming_and_going_is_told_to_observers_no_oftener_than_to_members)
{
    uint64_t observer = enters(&multiserver, NULL), busy = person("busy", NULL);
    for (int i = 0; i < 50; i++) {
        join(busy, "general");
        turns();
        ask(busy, CHI_REQUEST_LEAVE, "general");
        turns();
    }
    ck_assert_uint_le(fake(observer)->presence, 1);
}
END_TEST

START_TEST(nobody_hears_who_gave_no_name_yet)
{
    uint64_t id = enters(&multiserver, NULL), bob = person("bob", "general");
    ck_hears(bob, "count=1 ");
    ask(bob, CHI_REQUEST_WHO, "general");
    ck_hears(bob, "who 1 [bob]");
    ck_assert(is_in_a_room(id));
}
END_TEST

/* --------------------------------------------------------------------------------- coming again */

START_TEST(who_left_a_room_comes_again_where_it_stood)
{
    uint64_t writer = person("writer", "general"), id = enters(&chatservice, "carol");
    join(id, "general");
    turns();
    ask(id, CHI_REQUEST_LEAVE, "general");
    for (int i = 0; i < 20; i++) {
        post(writer, "general", "x");
        turns();
    }
    heard(id);
    join(id, "general");
    turns();
    ck_hears(id, "top=20 start=0");
}
END_TEST

/* --------------------------------------------------------------------------------- lists of all */

static void ask_after(uint64_t id, const char *name, struct chi_span user)
{
    struct chi_request r = {.type = CHI_REQUEST_WHO,
                            .room = CHI_SPAN("general"),
                            .name = span(name),
                            .id = user,
                            .limit = 2};
    chi_hub_request(world->hub, id, &r);
}

START_TEST(pages_of_who_leave_nobody_out_who_shares_a_name)
{
    uint64_t alice = person("alice", "general");
    for (int i = 0; i < 5; i++) {
        uint64_t id = enters(&realtime, NULL);
        says(id, "bob", "hi");
        turns();
    }
    uint32_t bobs = 0, pages = 0;
    char name[64] = "", user[32] = "";
    pass(500); /* all are told of */
    heard(alice);
    do {
        ask_after(alice, *name ? name : NULL, *user ? span(user) : (struct chi_span){NULL, 0});
        turns();
        const char *page = heard(alice);
        for (const char *at = page; (at = strstr(at, "bob")) != NULL; at++)
            bobs++;
        snprintf(name, sizeof name, "%s", world->last_name);
        snprintf(user, sizeof user, "%s", world->last_user);
        pages += strstr(page, "more") != NULL;
        ck_assert_uint_le(pages, 3);
        if (!strstr(page, "more"))
            break;
    } while (true);
    ck_assert_uint_eq(bobs, 5);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core arrivals");
    TCase *tests = tcase_create("arrivals");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_post_under_another_form_of_its_name_is_decided_once);
    tcase_add_test(tests, the_form_of_a_name_alone_is_no_new_name);
    tcase_add_test(tests, who_has_a_name_keeps_it_though_others_share_it);
    tcase_add_test(tests, a_name_that_is_shared_is_free_when_all_have_gone);
    tcase_add_test(tests, who_is_refused_a_name_observes_all_the_same);
    tcase_add_test(tests, who_may_not_observe_is_told_and_may_still_join);
    tcase_add_test(tests, a_frame_of_a_dialect_that_joins_ends_observing_that_is_under_way);
    tcase_add_test(tests, who_observed_hears_what_its_new_dialect_asks_for);
    tcase_add_test(tests, coming_and_going_is_told_to_observers_no_oftener_than_to_members);
    tcase_add_test(tests, nobody_hears_who_gave_no_name_yet);
    tcase_add_test(tests, who_left_a_room_comes_again_where_it_stood);
    tcase_add_test(tests, pages_of_who_leave_nobody_out_who_shares_a_name);
    suite_add_tcase(suite, tests);
    return unit_run(suite);
}
