/* What the hub does for clients whose dialects have manners of their own (core/ports.h). */
#include "core_world.h"

/* Each rule is shown with as few manners as it needs. */
static const struct chi_dialect SHARES = {.name = "shares", .shares_names = true};
static const struct chi_dialect SHARES_HIDDEN = {
    .name = "shares-hidden", .shares_names = true, .hides_key = true};
static const struct chi_dialect MUST = {.name = "must", .must_name = true, .must_join = true};
static const struct chi_dialect ONCE = {.name = "once",
                                        .post_name = CHI_POST_NAME_ONCE,
                                        .entrance = CHI_ENTRANCE_SILENT,
                                        .must_name = true,
                                        .told_itself = true,
                                        .shares_names = true};
static const struct chi_dialect WHOLE = {.name = "whole",
                                         .post_name = CHI_POST_NAME_WHOLE,
                                         .entrance = CHI_ENTRANCE_OBSERVES,
                                         .greets = true,
                                         .no_history = true,
                                         .told_itself = true};
static const struct chi_dialect EACH = {.name = "each",
                                        .post_name = CHI_POST_NAME_EACH,
                                        .entrance = CHI_ENTRANCE_OBSERVES,
                                        .hearing = CHI_HEARS_ASKED,
                                        .no_history = true,
                                        .shares_names = true,
                                        .told_itself = true,
                                        .hides_key = true};
static const struct chi_dialect ENTRIES = {.name = "entries", .hearing = CHI_HEARS_ENTRIES};
static const struct chi_dialect JOINS = {.name = "joins",
                                         .entrance = CHI_ENTRANCE_JOINS,
                                         .bad_close = 1007,
                                         .shares_names = true,
                                         .replays = true,
                                         .told_itself = true,
                                         .hides_key = true};
static const struct chi_dialect JOINS_LATE = {.name = "joins-late",
                                              .entrance = CHI_ENTRANCE_JOINS,
                                              .shares_names = true,
                                              .replays = true,
                                              .no_history = true,
                                              .hides_key = true};
static const struct chi_dialect ALSO_LAST = {.name = "also-last",
                                             .entrance = CHI_ENTRANCE_JOINS,
                                             .shares_names = true,
                                             .replays = true,
                                             .also_last = true,
                                             .hides_key = true};

static void setup(void)
{
    world_new(1);
    world->settings.replay_names = 100;
    world->settings.replay_time = 3600000;
    ck_assert_int_eq(world_start(), 0);
}

static void teardown(void)
{
    check_books();
    world_free();
}

static struct chi_hub_counts counts(void)
{
    struct chi_hub_counts out;
    chi_hub_counts(world->hub, &out);
    return out;
}

static uint64_t comes_to(const struct chi_dialect *dialect, struct chi_client_desc desc)
{
    uint64_t id = 0;
    uint32_t conn = world->conns++;
    desc.as = (struct chi_delivery_client){&world->transport, conn, {dialect, NULL}};
    ck_assert_int_eq(chi_hub_client_open(world->hub, &desc, &id), 0);
    world->clients[chi_hub_client_slot(id)].conn = conn;
    return id;
}

static uint64_t comes(const struct chi_dialect *dialect)
{
    return comes_to(dialect, (struct chi_client_desc){0});
}

/* Comes in with a name (NULL: none). */
static uint64_t enters(const struct chi_dialect *dialect, const char *name)
{
    uint64_t id = comes(dialect);
    chi_hub_enter(world->hub, id, span(name));
    turns();
    return id;
}

static void goes(uint64_t id)
{
    chi_hub_client_closed(world->hub, id, "lost");
    turns();
}

static enum chi_next say(uint64_t id, const char *name, const char *text, const char *to)
{
    struct chi_request r = {.type = CHI_REQUEST_POST,
                            .name = span(name),
                            .content = span(text),
                            .to = span(to),
                            .ref = CHI_SPAN("5")};
    enum chi_next next = chi_hub_request(world->hub, id, &r);
    turns();
    return next;
}

/* It has received all that there is, and goes. */
static void reads_and_goes(uint64_t id)
{
    fake(id)->places[0].position = world->position;
    goes(id);
}

/* Somebody says so much in the default room. */
static uint64_t talker(int n)
{
    uint64_t id = person("talker", NULL);
    for (int i = 0; i < n; i++)
        say(id, NULL, "x", NULL);
    heard(id);
    return id;
}

static void ck_never_hears(uint64_t id, const char *text)
{
    const char *all = heard(id);
    ck_assert_msg(strstr(all, text) == NULL, "heard \"%s\":\n%s", text, all);
}

static void ck_in_order(const char *all, const char *first, const char *second)
{
    const char *one = strstr(all, first), *two = strstr(all, second);
    ck_assert_msg(one && two && one < two, "\"%s\" before \"%s\":\n%s", first, second, all);
}

/* ---------------------------------------------------------------------------------------- names */

START_TEST(a_name_is_shared_by_those_who_may_and_refused_to_all_others)
{
    uint64_t native = person("ann", NULL), one = comes(&SHARES), two = comes(&SHARES);
    hello(one, "ann", NULL);
    ck_hears(one, "welcome ann");
    hello(two, "ANN", NULL);
    ck_hears(two, "welcome ANN");
    uint64_t other = opened(false);
    hello(other, "ann", NULL);
    ck_hears(other, "error name_taken");
    hello(native, "Ann", NULL);
    ck_hears(native, "welcome Ann");
    check_books();
}
END_TEST

START_TEST(a_shared_name_is_taken_until_all_who_have_it_are_gone)
{
    uint64_t one = comes(&SHARES_HIDDEN), two = comes(&SHARES_HIDDEN), native = opened(false);
    hello(one, "ann", NULL);
    hello(two, "ann", NULL);
    goes(one);
    hello(native, "ann", NULL);
    ck_hears(native, "error name_taken");
    goes(two);
    hello(native, "ann", NULL);
    ck_hears(native, "welcome ann");
}
END_TEST

START_TEST(who_is_renamed_leaves_a_shared_name_to_the_others)
{
    uint64_t one = comes(&SHARES), two = comes(&SHARES), native = opened(false);
    hello(one, "ann", NULL);
    hello(two, "ann", NULL);
    hello(one, "zoe", NULL);
    hello(native, "ann", NULL);
    ck_hears(native, "error name_taken");
    hello(two, "bob", NULL);
    hello(native, "ann", NULL);
    ck_hears(native, "welcome ann");
}
END_TEST

START_TEST(reserved_names_are_shared_with_nobody)
{
    uint64_t id = comes(&SHARES);
    hello(id, "System", NULL);
    ck_hears(id, "error name_reserved");
    ck_assert_int_eq(chi_hub_check_name(world->hub, CHI_SPAN("guest-x")), CHATHUB_ERESERVED);
    ck_assert_int_eq(chi_hub_check_name(world->hub, CHI_SPAN(" x")), CHATHUB_ENAME);
    ck_assert_int_eq(chi_hub_check_name(world->hub, CHI_SPAN("ann")), 0);
}
END_TEST

START_TEST(who_must_have_a_name_and_gets_none_is_closed)
{
    uint64_t id = enters(&MUST, "System");
    ck_hears(id, "error name_reserved");
    ck_assert_int_eq(fake(id)->close_code, 1008);
    id = comes(&ONCE);
    say(id, NULL, "hi", NULL);
    ck_hears(id, "error name_required");
    ck_assert_int_eq(fake(id)->close_code, 1008);
}
END_TEST

START_TEST(a_session_whose_key_is_hidden_ends_with_its_connection)
{
    goes(enters(&JOINS, "ann"));
    ck_assert_uint_eq(counts().sessions, 0);
    uint64_t native = opened(false);
    hello(native, "ann", NULL);
    ck_hears(native, "welcome ann");
}
END_TEST

START_TEST(who_pages_go_on_among_people_of_one_name)
{
    for (int i = 0; i < 7; i++)
        enters(&JOINS, "ann");
    uint64_t asker = person("zoe", "general");
    struct chi_request r = {.type = CHI_REQUEST_WHO, .limit = 3};
    pass(1000);
    heard(asker);
    chi_hub_request(world->hub, asker, &r);
    ck_hears(asker, "who 8 [ann,ann,ann] more");
    r.name = CHI_SPAN("ann");
    chi_hub_request(world->hub, asker, &r);
    ck_hears(asker, "who 8 [zoe]");
    r.id = CHI_SPAN("\x01");
    chi_hub_request(world->hub, asker, &r);
    ck_hears(asker, "who 8 [ann,ann,ann] more");
}
END_TEST

/* ------------------------------------------------------------------------------- names in posts */

START_TEST(the_first_post_names_enters_and_is_told_before_its_author)
{
    uint64_t bob = person("bob", "general"), ann = comes(&ONCE);
    pass(1000);
    heard(bob);
    say(ann, "ann", "hi", NULL);
    pass(1000);
    const char *all = heard(bob);
    ck_in_order(all, "chat ann: hi", "+[ann]");
    say(ann, "zoe", "again", NULL); /* passed over */
    ck_hears(bob, "chat ann: again");
}
END_TEST

START_TEST(the_coming_of_a_first_post_waits_for_its_commit)
{
    uint64_t bob = person("bob", "general"), ann = comes(&ONCE);
    pass(1000);
    heard(bob);
    world->log_stopped = true;
    say(ann, "ann", "hi", NULL);
    pass(5000);
    ck_heard_nothing(bob);
    world->log_stopped = false;
    turns();
    ck_in_order(heard(bob), "chat ann: hi", "+[ann]");
}
END_TEST

START_TEST(who_is_told_itself_hears_that_it_came)
{
    uint64_t ann = comes(&ONCE);
    say(ann, "ann", "hi", NULL);
    pass(1000);
    ck_in_order(heard(ann), "chat ann: hi", "+[ann]");
    uint64_t bob = enters(&JOINS, "bob");
    pass(1000);
    ck_hears(bob, "+[bob]");
}
END_TEST

START_TEST(a_first_post_that_is_the_name_says_nothing)
{
    uint64_t bob = person("bob", "general"), ann = enters(&WHOLE, NULL);
    pass(1000);
    heard(bob);
    say(ann, "System", "System", NULL);
    ck_hears(ann, "error name_reserved");
    ck_assert(fake(ann)->open);
    say(ann, "ann", "ann", NULL); /* the next one is the name */
    ck_hears(ann, "welcome ann");
    pass(1000);
    const char *all = heard(bob);
    ck_assert_ptr_null(strstr(all, "chat"));
    ck_assert_ptr_nonnull(strstr(all, "+[ann]"));
    say(ann, "hi", "hi", NULL);
    ck_hears(bob, "chat ann: hi");
}
END_TEST

START_TEST(each_post_is_said_under_its_own_name)
{
    uint64_t bob = person("bob", "general"), id = enters(&EACH, NULL);
    say(id, "ann", "one", NULL);
    say(id, "bob", "two", NULL); /* somebody's, and shared */
    const char *all = heard(bob);
    ck_in_order(all, "chat ann: one", "chat bob: two");
    say(id, NULL, "three", NULL);
    ck_hears(id, "error name_required");
    say(id, "server", "four", NULL);
    ck_hears(id, "error name_reserved");
    ck_never_hears(bob, "chat");
    ck_assert_uint_eq(counts().sessions, 2);
}
END_TEST

/* -------------------------------------------------------------------------------------- entrances */

START_TEST(who_enters_observing_hears_what_goes_on_and_joins_where_it_stands)
{
    uint64_t bob = talker(3), ann = enters(&WHOLE, NULL);
    ck_hears(ann, "welcome  key="); /* a greeting, without a name */
    ck_assert_uint_eq(counts().observers, 1);
    uint64_t zoe = person("zoe", "general");
    say(bob, NULL, "hi", NULL);
    pass(1000);
    const char *all = heard(ann);
    ck_assert_ptr_nonnull(strstr(all, "chat talker: hi @4"));
    ck_assert_ptr_nonnull(strstr(all, "+[zoe]"));
    say(ann, "ann", "ann", NULL);
    ck_hears(ann, "joined general top=4 start=4");
    ck_assert_uint_eq(counts().observers, 0);
    ck_assert(fake(zoe)->open);
}
END_TEST

START_TEST(what_was_said_before_a_room_is_open_does_not_cost_the_observing)
{
    world->log_stopped = true;
    uint64_t id = comes(&EACH);
    chi_hub_enter(world->hub, id, CHI_SPAN(""));
    say(id, "System", "hi", NULL);
    world->log_stopped = false;
    turns();
    ck_hears(id, "error name_reserved");
    ck_assert_uint_eq(counts().observers, 1);
}
END_TEST

START_TEST(who_is_named_but_not_let_in_observes_all_the_same)
{
    person("bob", "general");
    world->settings.max_members = 1;
    chi_hub_close_all(world->hub, 1001, CHI_SPAN("")); /* the room is to be opened anew */
    turns();
    world->log_stopped = true;
    uint64_t id = comes(&EACH), bob = opened(false);
    hello(bob, NULL, "key-of-bob-0000000000000000000");
    chi_hub_enter(world->hub, id, CHI_SPAN(""));
    say(id, "ann", "hi", NULL);
    world->log_stopped = false;
    turns();
    ck_hears(id, "error");
    ck_assert_uint_eq(counts().observers, 1);
}
END_TEST

START_TEST(a_name_that_comes_with_the_connection_joins_the_default_room)
{
    uint64_t ann = enters(&JOINS, "ann");
    const char *all = heard(ann);
    ck_in_order(all, "welcome ann", "joined general");
}
END_TEST

START_TEST(a_silent_dialect_is_in_no_room)
{
    uint64_t ann = enters(&MUST, "ann");
    ck_hears(ann, "welcome ann");
    ck_assert_uint_eq(counts().members, 0);
    chi_hub_observe(world->hub, enters(&ONCE, NULL));
    ck_assert_uint_eq(counts().observers, 0);
}
END_TEST

START_TEST(who_must_join_does_not_by_posting)
{
    uint64_t ann = enters(&MUST, "ann");
    heard(ann);
    say(ann, NULL, "hi", NULL);
    ck_hears(ann, "error not_member");
    join(ann, "general");
    turns();
    say(ann, NULL, "hi", NULL);
    ck_hears(ann, "ack general");
}
END_TEST

START_TEST(what_is_not_understood_ends_those_who_read_no_errors)
{
    const struct chi_decode_error bad = {.code = CHATHUB_EJSON, .message = "no JSON"};
    uint64_t ann = enters(&JOINS, "ann"), bob = person("bob", NULL);
    ck_assert_int_eq(chi_hub_bad_request(world->hub, ann, &bad), CHI_NEXT_GONE);
    ck_assert_int_eq(fake(ann)->close_code, 1007);
    ck_assert_int_eq(chi_hub_bad_request(world->hub, bob, &bad), CHI_NEXT_READ);
}
END_TEST

START_TEST(a_client_that_waited_at_its_entrance_and_speaks_is_read_on)
{
    world->log_stopped = true;
    uint64_t id = comes(&EACH);
    ck_assert_int_eq(chi_hub_enter(world->hub, id, CHI_SPAN("")), CHI_NEXT_WAIT);
    ck_assert_int_eq(ask(id, CHI_REQUEST_PING, NULL), CHI_NEXT_READ);
    check_books(); /* nobody is thought to wait */
    world->log_stopped = false;
}
END_TEST

/* ---------------------------------------------------------------------------------------- hearing */

START_TEST(signals_reach_those_whose_dialect_or_listener_wants_them)
{
    uint64_t entries = comes(&ENTRIES);
    uint64_t asked = comes_to(&EACH, (struct chi_client_desc){.presence = true});
    uint64_t not_asked = comes(&EACH);
    join(entries, "general");
    turns();
    chi_hub_enter(world->hub, asked, CHI_SPAN(""));
    chi_hub_enter(world->hub, not_asked, CHI_SPAN(""));
    pass(1000);
    heard(entries);
    heard(asked);
    heard(not_asked);
    person("bob", "general");
    pass(1000);
    ck_hears(asked, "+[bob]");
    ck_heard_nothing(entries);
    ck_heard_nothing(not_asked);
    say(asked, "ann", "hi", NULL);
    pass(1000);
    ck_hears(asked, "+[ann]");
    ck_never_hears(not_asked, "presence");
}
END_TEST

/* ----------------------------------------------------------------------------------- coming back */

START_TEST(who_comes_anew_gets_what_its_listener_or_dialect_says)
{
    static const struct {
        const struct chi_dialect *dialect;
        int32_t history;
        const char *joined;
    } rows[] = {{&JOINS, 0, "start=2"},
                {&JOINS, 1, "start=4"},
                {&JOINS, -1, "start=5"},
                {&JOINS_LATE, 0, "start=5"},
                {&JOINS_LATE, 4, "start=1"}};
    talker(5);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint64_t id =
            comes_to(rows[i].dialect, (struct chi_client_desc){.history = rows[i].history});
        char name[8];
        snprintf(name, sizeof name, "n%zu", i);
        chi_hub_enter(world->hub, id, span(name));
        turns();
        ck_hears(id, rows[i].joined);
    }
}
END_TEST

START_TEST(a_name_goes_on_where_its_last_session_stood)
{
    uint64_t bob = talker(5), ann = enters(&JOINS_LATE, "ann");
    say(bob, NULL, "heard", NULL);
    goes(ann);
    for (int i = 0; i < 4; i++)
        say(bob, NULL, "missed", NULL);
    ann = enters(&JOINS_LATE, "Ann");
    ck_hears(ann, "joined general top=10 start=6");
}
END_TEST

START_TEST(who_left_a_room_goes_on_there_too)
{
    uint64_t bob = talker(5), ann = enters(&JOINS_LATE, "ann");
    ask(ann, CHI_REQUEST_LEAVE, NULL);
    say(bob, NULL, "missed", NULL);
    heard(ann);
    join(ann, "general");
    turns();
    ck_hears(ann, "joined general top=6 start=5");
}
END_TEST

START_TEST(a_place_serves_one_who_comes_back)
{
    uint64_t bob = talker(5);
    goes(enters(&JOINS_LATE, "ann"));
    say(bob, NULL, "missed", NULL);
    ck_hears(enters(&JOINS_LATE, "ann"), "start=5");
    ck_hears(enters(&JOINS_LATE, "ann"), "start=6");
}
END_TEST

START_TEST(who_knows_positions_has_no_place_remembered)
{
    uint64_t bob = talker(5), ann = person("ann", "general");
    chi_hub_client_closed(world->hub, ann, "left");
    say(bob, NULL, "missed", NULL);
    ck_hears(enters(&JOINS_LATE, "ann"), "start=6");
}
END_TEST

START_TEST(who_returns_may_be_sent_the_last_besides)
{
    uint64_t bob = talker(5);
    reads_and_goes(enters(&ALSO_LAST, "ann")); /* at 5 */
    say(bob, NULL, "missed", NULL);
    ck_hears(enters(&ALSO_LAST, "ann"), "joined general top=6 start=3");
    reads_and_goes(enters(&ALSO_LAST, "zoe")); /* at 6 */
    for (int i = 0; i < 5; i++)
        say(bob, NULL, "missed", NULL);
    ck_hears(enters(&ALSO_LAST, "zoe"), "joined general top=11 start=6");
}
END_TEST

START_TEST(a_place_that_means_nothing_any_more_is_told_as_a_gap)
{
    talker(5);
    reads_and_goes(enters(&JOINS, "ann"));
    memcpy(world->epoch, "another-epoch-00", CHI_EPOCH_LEN);
    uint64_t ann = enters(&JOINS, "ann");
    ck_in_order(heard(ann), "joined general top=5 start=2", "gap general 5-2");
}
END_TEST

START_TEST(places_are_bounded_in_number_the_oldest_goes_first)
{
    uint64_t bob = talker(5);
    world->settings.replay_names = 2;
    goes(enters(&JOINS_LATE, "a1"));
    goes(enters(&JOINS_LATE, "a2"));
    goes(enters(&JOINS_LATE, "a3"));
    say(bob, NULL, "missed", NULL);
    ck_hears(enters(&JOINS_LATE, "a1"), "start=6");
    ck_hears(enters(&JOINS_LATE, "a2"), "start=5");
    ck_hears(enters(&JOINS_LATE, "a3"), "start=5");
    world->settings.replay_names = 0;
    goes(enters(&JOINS_LATE, "a4"));
    say(bob, NULL, "missed", NULL);
    ck_hears(enters(&JOINS_LATE, "a4"), "start=7");
}
END_TEST

START_TEST(places_are_bounded_in_time)
{
    uint64_t bob = talker(5);
    world->settings.replay_time = 1000;
    goes(enters(&JOINS_LATE, "ann"));
    say(bob, NULL, "missed", NULL);
    pass(999);
    reads_and_goes(enters(&JOINS_LATE, "ann")); /* at 6 */
    say(bob, NULL, "missed", NULL);
    pass(999);
    uint64_t ann = enters(&JOINS_LATE, "ann");
    ck_hears(ann, "start=6");
    goes(ann);
    say(bob, NULL, "missed", NULL);
    pass(1000);
    ck_hears(enters(&JOINS_LATE, "ann"), "start=8");
}
END_TEST

START_TEST(who_could_not_enter_goes_on_there_by_its_first_post)
{
    uint64_t bob = talker(5);
    goes(enters(&JOINS_LATE, "ann"));
    say(bob, NULL, "missed", NULL);
    world->settings.max_members = 1;
    uint64_t ann = enters(&JOINS_LATE, "ann");
    ck_hears(ann, "error");
    world->settings.max_members = 100;
    say(ann, NULL, "hi", NULL);
    ck_hears(ann, "joined general top=6 start=5");
}
END_TEST

/* --------------------------------------------------------------------------------- private messages */

static uint64_t whisperer(void)
{
    uint64_t id = comes_to(&EACH, (struct chi_client_desc){.private_posts = true});
    chi_hub_enter(world->hub, id, CHI_SPAN(""));
    turns();
    say(id, "ann", "hi", NULL);
    heard(id);
    return id;
}

START_TEST(a_private_message_reaches_those_of_that_name_in_the_room_and_its_sender)
{
    uint64_t ann = whisperer(), bob = person("bob", "general"), bob2 = enters(&JOINS, "BOB");
    uint64_t zoe = person("zoe", "general"), away = comes(&SHARES);
    hello(away, "bob", NULL);
    join(away, "tea");
    pass(1000);
    heard(bob);
    heard(bob2);
    heard(zoe);
    heard(away);
    heard(ann);
    say(ann, "ann", "psst", "Bob");
    ck_hears(bob, "private general ann: psst");
    ck_hears(bob2, "private general ann: psst");
    ck_hears(ann, "private general ann: psst");
    ck_heard_nothing(zoe);
    ck_heard_nothing(away);
    ck_assert_uint_eq(counts().posts, 1); /* it is in no log */
}
END_TEST

START_TEST(a_private_message_for_nobody_is_an_error)
{
    uint64_t ann = whisperer();
    say(ann, "ann", "psst", "bob");
    ck_hears(ann, "error not_found");
    say(ann, "ann", "psst", "ann"); /* oneself is nobody else */
    ck_hears(ann, "error not_found");
}
END_TEST

START_TEST(who_whispers_gets_its_own_message_back_though_many_replies_wait)
{
    uint64_t ann = whisperer(), bob = person("bob", "general");
    heard(bob);
    world->reply_result = 1;
    struct chi_request r = {.type = CHI_REQUEST_POST,
                            .name = CHI_SPAN("ann2"), /* that it is renamed is one reply too many */
                            .content = CHI_SPAN("psst"),
                            .to = CHI_SPAN("bob")};
    chi_hub_request(world->hub, ann, &r);
    world->reply_result = 0;
    ck_hears(bob, "private general ann2: psst");
    ck_hears(ann, "private general ann2: psst");
    chi_hub_delivery_up(world->hub)->drained(world->hub, chi_hub_client_slot(ann));
    chi_hub_delivery_up(world->hub)->drained(world->hub, chi_hub_client_slot(bob));
    turns();
}
END_TEST

START_TEST(without_its_listeners_word_a_message_to_a_name_is_for_all)
{
    uint64_t ann = enters(&EACH, NULL), bob = person("bob", "general");
    say(ann, "ann", "@zoe hi", "zoe");
    ck_hears(bob, "chat ann: @zoe hi");
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("core manners");
    TCase *t = tcase_create("manners");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_name_is_shared_by_those_who_may_and_refused_to_all_others);
    tcase_add_test(t, a_shared_name_is_taken_until_all_who_have_it_are_gone);
    tcase_add_test(t, who_is_renamed_leaves_a_shared_name_to_the_others);
    tcase_add_test(t, reserved_names_are_shared_with_nobody);
    tcase_add_test(t, who_must_have_a_name_and_gets_none_is_closed);
    tcase_add_test(t, a_session_whose_key_is_hidden_ends_with_its_connection);
    tcase_add_test(t, who_pages_go_on_among_people_of_one_name);
    tcase_add_test(t, the_first_post_names_enters_and_is_told_before_its_author);
    tcase_add_test(t, the_coming_of_a_first_post_waits_for_its_commit);
    tcase_add_test(t, who_is_told_itself_hears_that_it_came);
    tcase_add_test(t, a_first_post_that_is_the_name_says_nothing);
    tcase_add_test(t, each_post_is_said_under_its_own_name);
    tcase_add_test(t, who_enters_observing_hears_what_goes_on_and_joins_where_it_stands);
    tcase_add_test(t, what_was_said_before_a_room_is_open_does_not_cost_the_observing);
    tcase_add_test(t, who_is_named_but_not_let_in_observes_all_the_same);
    tcase_add_test(t, a_name_that_comes_with_the_connection_joins_the_default_room);
    tcase_add_test(t, a_silent_dialect_is_in_no_room);
    tcase_add_test(t, who_must_join_does_not_by_posting);
    tcase_add_test(t, what_is_not_understood_ends_those_who_read_no_errors);
    tcase_add_test(t, a_client_that_waited_at_its_entrance_and_speaks_is_read_on);
    tcase_add_test(t, signals_reach_those_whose_dialect_or_listener_wants_them);
    tcase_add_test(t, who_comes_anew_gets_what_its_listener_or_dialect_says);
    tcase_add_test(t, a_name_goes_on_where_its_last_session_stood);
    tcase_add_test(t, who_left_a_room_goes_on_there_too);
    tcase_add_test(t, a_place_serves_one_who_comes_back);
    tcase_add_test(t, who_knows_positions_has_no_place_remembered);
    tcase_add_test(t, who_returns_may_be_sent_the_last_besides);
    tcase_add_test(t, a_place_that_means_nothing_any_more_is_told_as_a_gap);
    tcase_add_test(t, places_are_bounded_in_number_the_oldest_goes_first);
    tcase_add_test(t, places_are_bounded_in_time);
    tcase_add_test(t, who_could_not_enter_goes_on_there_by_its_first_post);
    tcase_add_test(t, a_private_message_reaches_those_of_that_name_in_the_room_and_its_sender);
    tcase_add_test(t, a_private_message_for_nobody_is_an_error);
    tcase_add_test(t, who_whispers_gets_its_own_message_back_though_many_replies_wait);
    tcase_add_test(t, without_its_listeners_word_a_message_to_a_name_is_for_all);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_run(suite());
}
