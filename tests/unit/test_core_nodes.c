/* Several nodes, one chat: what core/nodes.h promises. */
#include "core_cluster.h"

static void setup(void)
{
    node_new(10);
    node_new(20);
    node_new(30);
    all_pass(100);
}

static void teardown(void)
{
    cluster_free();
}

/* A client on a node, in a room. */
static uint64_t person_at(uint32_t i, const char *name, const char *room)
{
    at(i);
    uint64_t id = person(name, room);
    all_pass(200);
    at(i);
    return id;
}

static struct chi_hub_counts counts_at(uint32_t i)
{
    struct chi_hub_counts out;
    at(i);
    chi_hub_counts(world->hub, &out);
    return out;
}

/* A new connection that shows the key of `name`. */
static uint64_t comes_back(uint32_t i, const char *name)
{
    char key[64];
    at(i);
    snprintf(key, sizeof key, "key-of-%s-0000000000000000000", name);
    uint64_t id = opened(false);
    hello(id, NULL, key);
    return id;
}

#define ck_hears_not(id, text)                                                                     \
    do {                                                                                           \
        const char *heard_ = heard(id);                                                            \
        ck_assert_msg(strstr(heard_, text) == NULL, "not expected \"%s\":\n%s", text, heard_);     \
    } while (0)
/* Looks at what a client of another node was told. */
#define ck_hears_at(i, id, text)                                                                   \
    do {                                                                                           \
        at(i);                                                                                     \
        ck_hears(id, text);                                                                        \
    } while (0)

START_TEST(who_comes_and_goes_is_told_everywhere)
{
    uint64_t ann = person_at(0, "ann", "tea");
    uint64_t bob = person_at(1, "bob", "tea");
    ck_hears_at(1, bob, "count=2 #0 [ann,bob]");
    ck_hears_at(0, ann, "+[bob]");
    at(0);
    ask(ann, CHI_REQUEST_WHO, "tea");
    ck_hears(ann, "who 2 [ann,bob]");
    ck_same_view();
    ask(ann, CHI_REQUEST_LEAVE, "tea");
    all_pass(200);
    ck_hears_at(1, bob, "-[ann]");
    ck_same_view();
    ck_assert_uint_eq(counts_at(2).remote, 2);
    ck_assert_uint_eq(counts_at(2).nodes, 2);
    ck_assert_uint_eq(counts_at(2).sessions, 0);
}
END_TEST

START_TEST(a_name_is_taken_everywhere)
{
    person_at(0, "ann", NULL);
    at(1);
    uint64_t other = opened(false);
    hello(other, "Ann", "another-key-0000000000000000");
    ck_hears(other, "error name_taken");
}
END_TEST

START_TEST(names_status_and_typing_are_told)
{
    uint64_t ann = person_at(0, "ann", "tea");
    uint64_t bob = person_at(1, "bob", "tea");
    heard(bob);
    at(0);
    ask(ann, CHI_REQUEST_TYPING, "tea");
    all_turns();
    ck_hears_at(1, bob, "typing ann 1");
    at(0);
    struct chi_request status = {.type = CHI_REQUEST_STATUS, .content = CHI_SPAN("away")};
    chi_hub_request(world->hub, ann, &status);
    all_turns();
    ck_hears_at(1, bob, "status ann away");
    at(0);
    hello(ann, "anna", NULL);
    all_pass(200);
    ck_hears_at(1, bob, "~[anna]");
    ck_same_view();
    at(1);
    post(bob, "tea", "hi");
    all_pass(7000);
    ck_hears_at(1, bob, "typing anna 0");
}
END_TEST

START_TEST(what_is_private_reaches_another_node)
{
    at(0);
    person_at(0, "ann", "tea");
    uint64_t bob = person_at(1, "bob", "tea"), cid = 0;
    heard(bob);
    at(0);
    struct chi_client_desc desc = {
        .as = {&world->transport, world->conns++, {&plain_dialect, NULL}}, .private_posts = true};
    ck_assert_int_eq(chi_hub_client_open(world->hub, &desc, &cid), 0);
    hello(cid, "cid", NULL);
    join(cid, "tea");
    all_turns();
    at(0);
    struct chi_request whisper = {.type = CHI_REQUEST_POST,
                                  .room = CHI_SPAN("tea"),
                                  .to = CHI_SPAN("bob"),
                                  .content = CHI_SPAN("psst")};
    chi_hub_request(world->hub, cid, &whisper);
    ck_hears(cid, "private tea cid: psst");
    all_turns();
    ck_hears_at(1, bob, "private tea cid: psst");
    at(0);
    whisper.to = CHI_SPAN("nobody");
    chi_hub_request(world->hub, cid, &whisper);
    ck_hears(cid, "error not_found");
}
END_TEST

/* ------------------------------------------------------------------------- order (promise 2) */

START_TEST(nobody_leaves_before_the_last_post_on_a_node_that_lags)
{
    uint64_t ann = person_at(0, "ann", "tea"), bob = person_at(1, "bob", "tea");
    heard(bob);
    peers[1].lags = true;
    at(0);
    post(ann, "tea", "bye");
    all_turns();
    at(0);
    ask(ann, CHI_REQUEST_LEAVE, "tea");
    all_pass(1000);
    at(1);
    ck_heard_nothing(bob);
    peers[1].lags = false;
    all_pass(200);
    at(1);
    const char *said = heard(bob), *left = strstr(said, "-[ann]"), *last = strstr(said, "bye");
    ck_assert_msg(left && last && last < left, "%s", said);
}
END_TEST

START_TEST(a_node_that_lags_for_long_is_told_nevertheless)
{
    uint64_t ann = person_at(0, "ann", "tea"), bob = person_at(1, "bob", "tea");
    heard(bob);
    peers[1].lags = true;
    at(0);
    post(ann, "tea", "bye");
    all_turns();
    at(0);
    ask(ann, CHI_REQUEST_LEAVE, "tea");
    all_pass(4900);
    at(1);
    ck_heard_nothing(bob);
    all_pass(300);
    ck_hears_at(1, bob, "-[ann]");
}
END_TEST

START_TEST(nobody_leaves_while_a_post_is_uncommitted)
{
    uint64_t ann = person_at(0, "ann", "tea"), bob = person_at(1, "bob", "tea");
    heard(bob);
    at(0);
    world->log_stopped = true;
    post(ann, "tea", "bye");
    chi_hub_close_client(world->hub, ann, 1000, CHI_SPAN(""));
    all_pass(1000);
    at(1);
    ck_heard_nothing(bob);
    at(0);
    world->log_stopped = false;
    all_pass(200);
    at(1);
    const char *said = heard(bob), *left = strstr(said, "-[ann]"), *last = strstr(said, "bye");
    ck_assert_msg(left && last && last < left, "%s", said);
    ck_same_view();
}
END_TEST

START_TEST(who_is_back_at_once_has_not_left_before_its_last_post)
{
    uint64_t ann = person_at(0, "ann", "tea"), bob = person_at(1, "bob", "tea");
    heard(bob);
    at(0);
    world->log_stopped = true;
    post(ann, "tea", "bye");
    chi_hub_close_client(world->hub, ann, 1000, CHI_SPAN(""));
    uint64_t again = opened(false); /* into no room */
    hello(again, "ann", "key-of-ann-0000000000000000000");
    all_pass(1000);
    at(1);
    ck_heard_nothing(bob);
    at(0);
    world->log_stopped = false;
    all_pass(200);
    at(1);
    const char *said = heard(bob), *left = strstr(said, "-[ann]"), *last = strstr(said, "bye");
    ck_assert_msg(left && last && last < left, "%s", said);
    ck_same_view();
}
END_TEST

/* A dialect whose clients' coming follows what they say first. */
static const struct chi_dialect told_itself = {
    .name = "told", .post_name = CHI_POST_NAME_ONCE, .told_itself = true, .shares_names = true};

static uint64_t says(const struct chi_dialect *dialect, const char *name, const char *text)
{
    uint64_t id = 0;
    struct chi_client_desc desc = {.as = {&world->transport, world->conns++, {dialect, NULL}}};
    ck_assert_int_eq(chi_hub_client_open(world->hub, &desc, &id), 0);
    struct chi_request post = {.type = CHI_REQUEST_POST, .name = span(name), .content = span(text)};
    chi_hub_request(world->hub, id, &post);
    return id;
}

START_TEST(a_first_content_precedes_joined)
{
    uint64_t bob = person_at(1, "bob", "general");
    person_at(0, "cid", "general"); /* it is open there */
    at(1);
    heard(bob);
    at(0);
    world->log_stopped = true;
    says(&told_itself, "ann", "first");
    turns();
    all_pass(500);
    at(0);
    world->log_stopped = false;
    all_pass(500);
    at(1);
    const char *said = heard(bob), *came = strstr(said, "+[ann]"), *first = strstr(said, "first");
    ck_assert_msg(came && first && first < came, "%s", said);
}
END_TEST

/* ----------------------------------------------------------------- one user (promises 1 and 3) */

START_TEST(a_session_moves_and_nobody_sees_it)
{
    uint64_t ann = person_at(0, "ann", "tea"), bob = person_at(2, "bob", "tea");
    post(bob, "tea", "one");
    all_turns();
    post(bob, "tea", "two");
    all_pass(200);
    at(2);
    heard(bob);
    uint64_t again = comes_back(1, "ann");
    all_pass(200);
    at(0);
    ck_hears(ann, "bye");
    ck_assert_int_eq(fake(ann)->close_code, 4001);
    at(1);
    ck_hears(again, "joined tea top=2 start=2");
    at(2);
    ck_heard_nothing(bob);
    ck_same_view();
    post(bob, "tea", "three");
    all_turns();
    ck_hears_at(1, again, "chat bob: three @3");
    ck_assert_uint_eq(counts_at(0).sessions, 0);
    ck_assert_uint_eq(counts_at(1).sessions, 1);
}
END_TEST

START_TEST(where_the_cursor_stood_is_awaited_and_given)
{
    uint64_t ann = person_at(0, "ann", "tea"), bob = person_at(2, "bob", "tea");
    heard(ann);
    at(2);
    post(bob, "tea", "one");
    all_turns();
    at(0);
    struct place *place = place_of(0, chi_hub_client_slot(ann));
    place->position = 0; /* it reads slowly */
    at(2);
    post(bob, "tea", "two");
    all_turns();
    at(0);
    place->position = 1;
    uint64_t again = comes_back(1, "ann");
    turns();
    ck_heard_nothing(again); /* it waits */
    all_turns();
    ck_hears_at(1, again, "joined tea top=2 start=1");
}
END_TEST

/* It says where it stood in the rooms that the other node knows of, and was in one more. */
START_TEST(a_room_that_was_joined_just_before_is_not_lost)
{
    uint64_t ann = person_at(0, "ann", "tea");
    uint64_t bob = person_at(2, "bob", "tea");
    all_turns();
    at(2);
    join_at(bob, "milk", (struct chi_start){CHI_START_NOW, 0, 0, {NULL, 0}});
    all_turns();
    at(0);
    join_at(ann, "milk", (struct chi_start){CHI_START_NOW, 0, 0, {NULL, 0}});
    turns();
    at(1);
    uint64_t again = opened(false);
    struct chi_request hello = {.type = CHI_REQUEST_HELLO,
                                .session = CHI_SPAN("key-of-ann-0000000000000000000"),
                                .resume_count = 1};
    hello.resume[0] = (struct chi_resume){CHI_SPAN("tea"),
                                          {.kind = CHI_START_AFTER, .epoch = span(world->epoch)}};
    chi_hub_request(world->hub, again, &hello);
    all_pass(200);
    at(1);
    const char *said = heard(again);
    ck_assert_msg(strstr(said, "joined tea") && strstr(said, "joined milk"), "%s", said);
    at(2);
    ck_assert_ptr_null(strstr(heard(bob), "left"));
    ck_same_view();
}
END_TEST

START_TEST(what_was_sent_elsewhere_does_not_come_twice)
{
    person_at(0, "ann", "tea");
    uint64_t bob = person_at(2, "bob", "tea"), cid = person_at(1, "cid", "tea");
    at(2);
    peers[1].lags = true;
    post(bob, "tea", "one");
    all_turns(); /* ann was sent it */
    at(1);
    uint64_t again = opened(false);
    struct chi_request hello = {.type = CHI_REQUEST_HELLO,
                                .session = CHI_SPAN("key-of-ann-0000000000000000000"),
                                .resume_count = 1};
    hello.resume[0] = (struct chi_resume){
        CHI_SPAN("tea"), {.kind = CHI_START_AFTER, .position = 1, .epoch = span(world->epoch)}};
    chi_hub_request(world->hub, again, &hello);
    all_pass(500);
    at(1);
    ck_hears_not(again, "joined");
    peers[1].lags = false;
    all_pass(100);
    ck_hears_at(1, again, "joined tea top=1 start=1");
    (void)cid;
    peers[1].lags = true; /* but it is not waited for for ever */
    at(2);
    post(bob, "tea", "two");
    all_turns();
    at(1);
    chi_hub_client_closed(world->hub, again, "eof");
    all_pass(100);
    again = comes_back(0, "ann");
    all_pass(100);
    again = comes_back(1, "ann");
    all_pass(8000);
    ck_hears_at(1, again, "joined tea top=1 start=1");
}
END_TEST

START_TEST(a_dead_node_is_awaited_for_a_second)
{
    person_at(0, "ann", "tea");
    uint64_t bob = person_at(1, "bob", "tea");
    node_dies(0);
    uint64_t again = comes_back(1, "ann");
    heard(bob);
    all_pass(900);
    at(1);
    ck_heard_nothing(again);
    all_pass(200);
    ck_hears_at(1, again, "joined tea");
    ck_heard_nothing(bob);
    ck_same_view();
    all_pass(8000);
    at(1);
    ck_heard_nothing(bob);
}
END_TEST

START_TEST(who_goes_while_its_place_is_awaited_may_come_back)
{
    person_at(0, "ann", "tea");
    person_at(2, "bob", "tea");
    node_dies(0);
    uint64_t again = comes_back(1, "ann");
    turns();
    chi_hub_client_closed(world->hub, again, "eof");
    all_pass(3000);
    ck_same_view();
    again = comes_back(2, "ann");
    ck_hears(again, "joined tea");
    all_pass(200);
    ck_same_view();
}
END_TEST

START_TEST(a_lost_session_comes_back_elsewhere)
{
    uint64_t ann = person_at(0, "ann", "tea"), bob = person_at(2, "bob", "tea");
    at(2);
    heard(bob);
    at(0);
    chi_hub_client_closed(world->hub, ann, "eof");
    all_pass(2000);
    uint64_t again = comes_back(1, "ann");
    turns();
    const char *said = heard(again); /* at once: its place is known */
    ck_assert_msg(strstr(said, "welcome ann") && strstr(said, "joined tea"), "%s", said);
    all_pass(200);
    at(2);
    ck_heard_nothing(bob);
    ck_same_view();
    all_pass(40000); /* the return time of neither node ends it */
    at(2);
    ck_heard_nothing(bob);
}
END_TEST

START_TEST(two_claims_after_a_partition_become_one)
{
    uint64_t ann = person_at(0, "ann", "tea");
    person_at(2, "bob", "tea");
    peers[1].cut = true;
    all_pass(7000); /* longer than the lease */
    uint64_t again = comes_back(1, "ann");
    join(again, "tea");
    all_pass(200);
    ck_assert(fake(again)->open);
    peers[1].cut = false;
    all_pass(8000);
    ck_same_view();
    at(0);
    ck_assert_int_eq(fake(ann)->close_code, 4001);
    at(1);
    ck_assert(fake(again)->open);
    ck_assert_uint_eq(counts_at(0).sessions + counts_at(1).sessions + counts_at(2).sessions, 2);
}
END_TEST

START_TEST(who_is_there_is_not_closed_for_a_claim_without_client)
{
    peers[0].world->skew = 3600000;
    uint64_t ann = person_at(0, "ann", "tea");
    peers[0].world->settings.return_time = 60000;
    at(0);
    chi_hub_client_closed(world->hub, ann, "eof");
    all_turns();
    peers[0].cut = true;
    all_pass(8000); /* longer than the lease */
    uint64_t back = comes_back(1, "ann");
    join(back, "tea");
    all_pass(1500);
    peers[0].cut = false;
    all_pass(9000);
    at(1);
    ck_assert(fake(back)->open);
    ck_same_view();
    ck_assert_uint_eq(counts_at(0).sessions, 0);
    ck_assert_uint_eq(counts_at(1).sessions, 1);
}
END_TEST

/* Of two who both have a client: not who first took it from the other. */
START_TEST(who_came_last_keeps_the_session)
{
    for (uint32_t i = 0; i < 3; i++)
        peers[i].world->settings.return_time = 60000;
    uint64_t ann = person_at(0, "ann", "tea");
    at(0);
    chi_hub_client_closed(world->hub, ann, "eof");
    all_turns();
    peers[0].cut = true;
    all_pass(8000);
    uint64_t away = comes_back(1, "ann"); /* its connection will be dead */
    all_pass(500);
    uint64_t home = comes_back(0, "ann");
    all_pass(500);
    peers[0].cut = false;
    all_pass(9000);
    ck_same_view();
    at(0);
    ck_assert(fake(home)->open);
    at(1);
    ck_assert_int_eq(fake(away)->close_code, 4001);
}
END_TEST

/* --------------------------------------------------------------------------------------- names */

START_TEST(of_two_with_one_name_the_later_is_renamed)
{
    peers[1].cut = true;
    uint64_t first = person_at(0, "zoe", "tea");
    uint64_t bob = person_at(2, "bob", "tea");
    at(1);
    uint64_t later = opened(false);
    hello(later, "Zoe", "another-key-0000000000000000");
    join(later, "tea");
    all_pass(200);
    at(1);
    heard(later);
    peers[1].cut = false;
    all_pass(8000);
    at(1);
    const char *said = heard(later);
    ck_assert_msg(strstr(said, "welcome guest-") && strstr(said, " renamed"), "%s", said);
    ck_same_view();
    at(0);
    heard(first);
    ask(first, CHI_REQUEST_WHO, "tea");
    const char *who = heard(first);
    ck_assert_msg(strstr(who, "who 3 [bob,guest-") && strstr(who, ",zoe]"), "%s", who);
    (void)bob;
}
END_TEST

START_TEST(two_with_one_name_who_come_to_a_third_node_do_not_both_keep_it)
{
    const char *key = "another-key-0000000000000000";
    peers[1].cut = true;
    person_at(0, "zoe", "tea");
    at(1);
    uint64_t later = opened(false);
    hello(later, "Zoe", key);
    join(later, "tea");
    all_pass(200);
    peers[0].cut = true; /* their own nodes never hear of each other */
    peers[1].cut = false;
    all_pass(3000);
    at(2);
    later = opened(false);
    hello(later, NULL, key);
    all_pass(1500);
    uint64_t first = comes_back(2, "zoe");
    all_pass(1500);
    at(2);
    heard(first);
    ask(first, CHI_REQUEST_WHO, "tea");
    const char *who = heard(first);
    ck_assert_msg(strstr(who, "guest-") && strstr(who, "zoe"), "%s", who);
}
END_TEST

START_TEST(shared_names_do_not_conflict)
{
    peers[1].cut = true;
    at(0);
    uint64_t one = says(&told_itself, "zoe", "hi");
    all_pass(200);
    at(1);
    uint64_t two = says(&told_itself, "zoe", "hi");
    all_pass(200);
    peers[1].cut = false;
    all_pass(8000);
    at(0);
    ck_hears_not(one, "renamed");
    at(1);
    ck_hears_not(two, "renamed");
    ck_same_view();
}
END_TEST

/* ----------------------------------------------------------------- nodes that go, and come back */

START_TEST(a_dead_nodes_members_are_gone_after_the_lease)
{
    person_at(0, "ann", "tea");
    uint64_t bob = person_at(1, "bob", "tea");
    heard(bob);
    node_dies(0);
    all_pass(4000);
    at(1);
    ck_heard_nothing(bob);
    all_pass(4000);
    ck_hears_at(1, bob, "-[ann]");
    ck_same_view();
    ck_assert_uint_eq(counts_at(1).nodes, 1);
    ck_assert_uint_eq(counts_at(1).remote, 0);
}
END_TEST

START_TEST(a_partition_heals_to_one_truth)
{
    uint64_t ann = person_at(0, "ann", "tea"), bob = person_at(1, "bob", "tea");
    person_at(2, "cid", "tea");
    peers[1].cut = true;
    all_pass(8000);
    ck_hears_at(1, bob, "-[ann");
    ck_hears_at(0, ann, "-[bob]");
    at(1);
    person("dan", "tea");
    at(0);
    ask(ann, CHI_REQUEST_LEAVE, "tea");
    person("eve", "tea");
    peers[1].cut = false;
    all_pass(4000);
    ck_same_view();
    ck_hears_at(1, bob, "eve");
}
END_TEST

START_TEST(what_was_lost_is_noticed_though_nothing_follows)
{
    uint64_t bob = person_at(1, "bob", "tea");
    peers[0].drops = 1;
    uint64_t ann = person_at(0, "ann", "tea");
    ck_assert_uint_eq(peers[0].drops, 0);
    all_pass(4000);
    ck_same_view();
    ck_hears_at(1, bob, "+[ann]");
    at(0);
    peers[0].drops = 1;
    chi_hub_client_closed(world->hub, ann, "left"); /* what ended is noticed, too */
    turns();
    ck_assert_uint_eq(peers[0].drops, 0);
    all_pass(4000);
    ck_same_view();
}
END_TEST

START_TEST(any_loss_heals)
{
    char name[16];
    for (uint32_t i = 0; i < 30; i++) {
        peers[i % 3].drops = i % 4;
        peers[(i + 1) % 3].drops = i % 3;
        snprintf(name, sizeof name, "p%u", i);
        person_at((i / 2) % 3, name, i % 2 ? "tea" : "milk");
        if (i % 5 == 4) {
            snprintf(name, sizeof name, "p%u", i - 3);
            comes_back(i % 3, name);
        }
    }
    peers[0].drops = peers[1].drops = peers[2].drops = 0;
    all_pass(12000);
    ck_same_view();
}
END_TEST

START_TEST(a_node_that_stood_still_does_not_lose_the_others)
{
    person_at(0, "ann", "tea");
    uint64_t bob = person_at(1, "bob", "tea");
    heard(bob);
    for (uint32_t i = 0; i < peer_count; i++)
        peers[i].world->now += 60000; /* all stood still */
    all_turns();
    all_pass(2000);
    at(1);
    ck_heard_nothing(bob);
}
END_TEST

START_TEST(a_node_that_joins_is_told_all_in_parts)
{
    char name[16];
    at(0);
    for (uint32_t i = 0; i < 300; i++) {
        snprintf(name, sizeof name, "p%03u", i);
        person(name, "tea");
    }
    all_pass(3000);
    ck_same_view();
    uint64_t before = peers[0].bytes;
    node_new(40);
    world->settings.who_page = 1000;
    uint64_t bob = person_at(3, "bob", "tea");
    ck_assert_uint_le(peers[0].bytes - before, 300 * 120);
    ck_assert_uint_ge(peers[0].bytes - before, 300 * 50);
    ck_hears_at(3, bob, "joined tea");
    ask(bob, CHI_REQUEST_WHO, "tea");
    ck_hears(bob, "who 301");
    ck_same_view();
}
END_TEST

START_TEST(a_node_that_stops_leaves_its_sessions_to_the_others)
{
    uint64_t ann = person_at(0, "ann", "tea"), bob = person_at(1, "bob", "tea");
    person_at(0, "cid", "tea");
    at(1);
    heard(bob);
    at(0);
    chi_hub_stop(world->hub);
    turns();
    chi_hub_close_all(world->hub, 1001, CHI_SPAN("bye"));
    ck_assert(!fake(ann)->open);
    all_turns();
    node_dies(0);
    all_pass(2000);
    at(1);
    ck_heard_nothing(bob);
    ck_same_view();
    ck_assert_uint_eq(counts_at(1).sessions, 3); /* node 20 is the first of those who stay */
    uint64_t again = comes_back(2, "ann");
    all_pass(8000);
    ck_hears_at(2, again, "joined tea");
    at(1);
    ck_heard_nothing(bob);
    ck_same_view();
    all_pass(30000); /* cid does not come back */
    ck_hears_at(1, bob, "-[cid]");
    ck_same_view();
}
END_TEST

START_TEST(that_a_node_stops_is_said_until_the_bus_takes_it)
{
    person_at(0, "ann", "tea");
    at(0);
    peers[0].full = 20;
    chi_hub_stop(world->hub);
    turns();
    chi_hub_close_all(world->hub, 1001, CHI_SPAN("bye"));
    all_pass(100);
    ck_assert_uint_eq(counts_at(1).sessions, 0);
    all_pass(1000);
    ck_assert_uint_eq(peers[0].full, 0);
    ck_assert_uint_eq(counts_at(1).sessions, 1);
    at(0);
    ck_assert_uint_eq(chi_nodes_next(world->hub), UINT64_MAX);
}
END_TEST

START_TEST(who_stops_says_no_more_than_in_any_turn)
{
    char name[24], room[41], status[701];
    memset(status, 's', sizeof status);
    status[700] = '\0';
    at(0);
    world->settings.max_status = 700;
    world->settings.max_sessions = 1000;
    for (uint32_t i = 0; i < 390; i++) {
        snprintf(name, sizeof name, "a-name-of-number-%u", i);
        uint64_t id = person(name, "tea");
        struct chi_request request = {.type = CHI_REQUEST_STATUS, .content = span(status)};
        chi_hub_request(world->hub, id, &request);
        for (uint32_t r = 0; r < 7; r++) {
            snprintf(room, sizeof room, "a-room-whose-name-is-rather-long-too-%u", r);
            join(id, room);
        }
        turns();
    }
    all_pass(3000);
    at(0);
    uint64_t before = peers[0].bytes;
    chi_hub_stop(world->hub);
    turns();
    chi_hub_close_all(world->hub, 1001, CHI_SPAN("bye"));
    ck_assert_uint_le(peers[0].bytes - before, CHI_NODES_TURN + 4096);
    ck_assert(world->hub->nodes->gone && !world->hub->nodes->bye);
}
END_TEST

START_TEST(who_asks_for_all_at_once_again_is_told_later)
{
    struct chi_buf ask = {0};
    person_at(0, "ann", "tea");
    all_pass(4000);
    chi_wire_add_head(
        &ask, &(struct chi_wire_head){
                  .kind = CHI_WIRE_ASK, .node = 99, .count = 1, .epoch = span(world->epoch)});
    at(0);
    uint64_t said = peers[0].said;
    for (int i = 0; i < 50; i++) {
        peers[0].up.heard(peers[0].up.hub, (struct chi_span){ask.at, ask.len});
        turns();
    }
    ck_assert_uint_le(peers[0].said - said, 4); /* with its own ASK */
    ck_assert_uint_gt(chi_nodes_next(world->hub), world->now);
    said = peers[0].said;
    world->now += 2000;
    turns();
    ck_assert_uint_gt(peers[0].said, said);
    ck_assert_uint_gt(chi_nodes_next(world->hub), world->now + 60000);
    chi_buf_fini(&ask);
}
END_TEST

START_TEST(what_nobody_keeps_ends_with_the_lease)
{
    person_at(0, "ann", "tea");
    uint64_t bob = person_at(2, "bob", "tea");
    at(2);
    heard(bob);
    peers[1].cut = true; /* it would be the one to keep them, and hears nothing */
    at(0);
    chi_hub_stop(world->hub);
    turns();
    chi_hub_close_all(world->hub, 1001, CHI_SPAN("bye"));
    all_turns();
    node_dies(0);
    node_dies(1);
    all_pass(2000);
    at(2);
    ck_heard_nothing(bob);
    all_pass(8000);
    ck_hears_at(2, bob, "-[ann]");
}
END_TEST

/* ---------------------------------------------------------------------------- rooms and bounds */

START_TEST(a_room_of_others_alone_is_not_loaded)
{
    uint64_t ann = person_at(0, "ann", "tea"), bob = person_at(1, "bob", "tea");
    ck_assert(!peers[2].world->rooms[0].open);
    at(2);
    ck_assert_uint_eq(counts_at(2).rooms, 1);
    at(1);
    ask(bob, CHI_REQUEST_LEAVE, "tea");
    all_pass(200);
    ck_assert(!peers[1].world->rooms[0].open && !log_room(peers[1].world, "tea")->open);
    at(1);
    join(bob, "tea");
    turns();
    ck_hears(bob, "count=2");
    at(0);
    ask(ann, CHI_REQUEST_LEAVE, "tea");
    all_pass(200);
    ck_assert_uint_eq(counts_at(0).rooms, 1);
    at(1);
    ask(bob, CHI_REQUEST_LEAVE, "tea");
    all_pass(200);
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_uint_eq(counts_at(i).rooms, 0);
}
END_TEST

START_TEST(who_does_not_fit_into_a_message_is_named)
{
    char room[41];
    uint64_t eve = person_at(0, "eve", "tea");
    all_pass(3000);
    at(0);
    peers[0].bus.most = 300; /* from now on */
    const struct chi_session *session = chi_session_by_name(world->hub, CHI_SPAN("eve"));
    for (uint32_t r = 0; r < 7; r++) {
        snprintf(room, sizeof room, "a-room-whose-name-is-rather-long-too-%u", r);
        at(0);
        join(eve, room);
        hello(opened(false), NULL, NULL); /* others are told of in the same message */
        all_turns();
    }
    at(0);
    ck_assert_mem_eq(world->bound_user, session->user, CHI_USER_LEN);
    all_pass(3000);
    ck_assert_uint_eq(counts_at(1).remote, 8);
    ck_assert(!peers[1].world->hub->nodes->held_bytes);
}
END_TEST

START_TEST(only_so_many_sessions_are_known)
{
    char name[16];
    at(1);
    world->settings.max_remote = 8;
    for (uint32_t i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "p%u", i);
        at(0);
        person(name, "tea");
    }
    all_pass(4000);
    ck_assert_uint_eq(counts_at(1).remote, 8);
    ck_assert_uint_eq(counts_at(2).remote, 12);
    at(0);
    for (uint32_t i = 0; i < 6; i++)
        chi_hub_close_client(world->hub, ((uint64_t)1 << 32) + i + 1, 1000, CHI_SPAN(""));
    all_pass(20000); /* there is room again */
    ck_assert_uint_eq(counts_at(1).remote, 6);
    ck_same_view();
}
END_TEST

START_TEST(only_so_many_rooms_are_known)
{
    char room[16];
    at(1);
    world->settings.max_rooms = 3;
    for (uint32_t i = 0; i < 6; i++) {
        snprintf(room, sizeof room, "r%u", i);
        person_at(0, room, room);
    }
    ck_assert_uint_eq(counts_at(1).rooms, 3);
    ck_assert_uint_eq(counts_at(1).remote, 6);
}
END_TEST

START_TEST(what_waits_is_bounded_and_asked_for_again)
{
    char name[16];
    person_at(1, "bob", "tea");
    uint64_t ann = person_at(0, "ann", "tea");
    peers[1].lags = true;
    at(0);
    post(ann, "tea", "x");
    all_turns();
    peers[0].bus.most = 4096;
    for (uint32_t i = 0; i < 100; i++) {
        snprintf(name, sizeof name, "p%u", i);
        at(0);
        person(name, "tea");
        all_turns();
    }
    ck_assert_uint_le(peers[1].world->hub->nodes->held_bytes, CHI_NODES_QUEUE);
    peers[1].lags = false;
    all_pass(8000);
    ck_same_view();
}
END_TEST

/* -------------------------------------------------------------------------------------- places */

static const struct chi_dialect replaying = {.name = "replaying", .replays = true};

static uint64_t replayer(const char *name)
{
    uint64_t id = 0;
    struct chi_client_desc desc = {.as = {&world->transport, world->conns++, {&replaying, NULL}}};
    ck_assert_int_eq(chi_hub_client_open(world->hub, &desc, &id), 0);
    hello(id, name, NULL);
    return id;
}

START_TEST(a_name_goes_on_elsewhere_where_it_stood)
{
    uint64_t bob = person_at(2, "bob", "tea");
    at(0);
    uint64_t ann = replayer("ann");
    join(ann, "tea");
    all_pass(200);
    at(2);
    post(bob, "tea", "one");
    all_turns();
    at(0);
    chi_hub_close_client(world->hub, ann, 1000, CHI_SPAN(""));
    all_turns();
    for (int i = 0; i < 5; i++) {
        at(2);
        post(bob, "tea", "more");
        all_turns();
    }
    at(1);
    ann = replayer("ann");
    join(ann, "tea");
    all_pass(200);
    ck_hears_at(1, ann, "joined tea top=6 start=1");
    at(1);
    place_of(0, chi_hub_client_slot(ann))->position = 6;
    chi_hub_client_closed(world->hub, ann, "left");
    all_turns();
    at(0);
    ann = replayer("ann");
    join(ann, "tea");
    all_pass(200);
    ck_hears_at(0, ann, "joined tea top=6 start=6");
}
END_TEST

START_TEST(who_takes_over_does_not_know_better_where_it_stood)
{
    uint64_t bob = person_at(2, "bob", "tea"), ann = person_at(0, "ann", "tea");
    for (int i = 0; i < 5; i++) {
        at(2);
        post(bob, "tea", "old");
        all_turns();
    }
    at(0);
    place_of(0, chi_hub_client_slot(ann))->position = 5;
    uint64_t away = comes_back(1, "ann");
    turns();
    peers[0].drops = 1; /* GIVEN */
    all_turns();
    at(1);
    chi_hub_client_closed(world->hub, away, "eof");
    all_turns();
    ann = comes_back(0, "ann");
    all_pass(1500);
    ck_hears_at(0, ann, "start=5");
}
END_TEST

START_TEST(a_node_that_joins_is_told_where_names_stood)
{
    char name[16];
    uint64_t bob = person_at(2, "bob", "tea");
    for (int i = 0; i < 50; i++) { /* more than one message */
        snprintf(name, sizeof name, "p%d", i);
        at(0);
        uint64_t id = replayer(name);
        join(id, "tea");
        turns();
        place_of(0, chi_hub_client_slot(id))->position = (uint64_t)i;
        chi_hub_close_client(world->hub, id, 1000, CHI_SPAN(""));
        all_turns();
    }
    for (int i = 0; i < 52; i++) {
        at(2);
        post(bob, "tea", "x");
        all_turns();
    }
    node_dies(0);
    all_pass(8000);
    node_new(40);
    all_pass(4000);
    for (int i = 0; i < 50; i += 7) {
        snprintf(name, sizeof name, "p%d", i);
        at(3);
        uint64_t id = replayer(name);
        join(id, "tea");
        all_pass(200);
        at(3);
        snprintf(name, sizeof name, "start=%d ", i);
        ck_hears(id, name);
    }
}
END_TEST

/* ---------------------------------------------------------------------------------- the log went back */

static void go_back(uint32_t i, const char *epoch)
{
    at(i);
    memcpy(world->epoch, epoch, CHI_EPOCH_LEN);
    for (uint32_t r = 0; r < world->log_room_count; r++) {
        struct log_room *room = &world->log_rooms[r];
        for (uint32_t e = 0; e < room->count; e++)
            chi_entry_unref(room->entries[e]);
        room->count = 0;
        room->top = 0;
    }
    peers[i].shown = 0;
    position = 0;
    world->up.went_back(world->up.hub);
}

START_TEST(a_log_that_went_back_closes_all_and_shows_a_gap)
{
    uint64_t ann = person_at(0, "ann", "tea"), bob = person_at(1, "bob", "tea");
    at(0);
    post(ann, "tea", "one");
    all_turns();
    at(0);
    uint64_t silent = opened(false);
    heard(ann);
    for (uint32_t i = 0; i < 3; i++)
        go_back(i, "epoch-abcdefghij");
    at(0);
    ck_hears(ann, "bye");
    ck_assert_int_eq(fake(ann)->close_code, 1012);
    ck_assert_int_eq(fake(silent)->close_code, 1012);
    ck_assert(!world->rooms[0].open && !log_room(world, "tea")->open);
    all_pass(200);
    ann = comes_back(0, "ann");
    all_pass(200);
    at(0);
    const char *said = heard(ann);
    ck_assert_msg(strstr(said, "joined tea top=0 start=0") && strstr(said, "gap tea 1-0"), "%s",
                  said);
    uint64_t again = comes_back(2, "bob"); /* the same on another node */
    all_pass(1200);
    at(2);
    said = heard(again);
    ck_assert_msg(strstr(said, "joined tea top=0 start=0") && strstr(said, "gap tea 1-0"), "%s",
                  said);
    ck_same_view();
    at(0);
    post(ann, "tea", "new");
    all_turns();
    ck_hears_at(2, again, "chat ann: new @1");
    (void)bob;
}
END_TEST

START_TEST(who_has_a_place_of_its_own_goes_on_by_it)
{
    person_at(0, "ann", "tea");
    for (uint32_t i = 0; i < 3; i++)
        go_back(i, "epoch-abcdefghij");
    all_pass(200);
    at(0);
    uint64_t again = opened(false);
    struct chi_request hello = {.type = CHI_REQUEST_HELLO,
                                .session = CHI_SPAN("key-of-ann-0000000000000000000"),
                                .resume_count = 1};
    hello.resume[0] = (struct chi_resume){CHI_SPAN("tea"),
                                          {.kind = CHI_START_AFTER, .epoch = span(world->epoch)}};
    chi_hub_request(world->hub, again, &hello);
    all_pass(200);
    at(0);
    const char *said = heard(again);
    ck_assert_msg(strstr(said, "joined tea") && !strstr(said, "gap"), "%s", said);
}
END_TEST

START_TEST(a_name_that_stood_in_what_is_no_more_comes_anew)
{
    uint64_t bob = person_at(2, "bob", "tea");
    at(0);
    uint64_t ann = replayer("ann");
    join(ann, "tea");
    all_pass(200);
    for (int i = 0; i < 5; i++) {
        at(2);
        post(bob, "tea", "old");
        all_turns();
    }
    at(0);
    place_of(0, chi_hub_client_slot(ann))->position = 5;
    for (uint32_t i = 0; i < 3; i++)
        go_back(i, "epoch-abcdefghij");
    all_pass(200);
    uint64_t zed = person_at(2, "zed", "tea");
    for (int i = 0; i < 7; i++) {
        at(2);
        post(zed, "tea", "new");
        all_turns();
    }
    for (uint32_t i = 0; i < 2; i++) { /* where it was, and on another node */
        at(i);
        const struct chi_session *named = chi_session_by_name(world->hub, CHI_SPAN("ann"));
        const struct chi_room *room = chi_core_room_find(world->hub, CHI_SPAN("tea"));
        struct chi_start start;
        ck_assert(named && !chi_core_stood_find(world->hub, named->name, room, &start));
    }
}
END_TEST

/* As after the log was put back to an earlier state while no node ran. */
START_TEST(who_read_what_no_node_has_seen_is_shown_a_gap)
{
    at(0);
    uint64_t ann = person("ann", "tea");
    post(ann, "tea", "one");
    all_turns();
    at(1);
    uint64_t bob = opened(false);
    join_at(bob, "tea", (struct chi_start){CHI_START_AFTER, 0, 100, {NULL, 0}});
    all_pass(4500);
    at(1);
    ck_assert_str_eq(heard(bob), "");
    all_pass(1000);
    at(1);
    const char *said = heard(bob);
    ck_assert_msg(strstr(said, "gap"), "%s", said);
}
END_TEST

/* Somebody who has read what this node, parted from the log, has not. */
static uint64_t ahead_of_its_log(void)
{
    at(0);
    post(person("ann", "tea"), "tea", "one");
    all_turns();
    at(1);
    uint64_t bob = opened(false);
    world->log_down = true;
    join_at(bob, "tea", (struct chi_start){CHI_START_AFTER, 0, 100, {NULL, 0}});
    all_pass(4500);
    at(1);
    ck_assert_str_eq(heard(bob), "");
    return bob;
}

START_TEST(who_read_more_than_a_parted_node_is_refused_and_shown_no_gap)
{
    uint64_t bob = ahead_of_its_log();
    all_pass(1000);
    at(1);
    const char *said = heard(bob);
    ck_assert_msg(strstr(said, "log_failed") && !strstr(said, "gap"), "%s", said);
}
END_TEST

START_TEST(a_log_that_is_back_has_its_time_to_show_what_somebody_has_read)
{
    uint64_t bob = ahead_of_its_log();
    world->log_down = false; /* half a second before the wait would be over */
    all_pass(4500);
    at(1);
    ck_assert_str_eq(heard(bob), "");
    all_pass(2000);
    at(1);
    const char *said = heard(bob);
    ck_assert_msg(strstr(said, "gap"), "%s", said);
}
END_TEST

START_TEST(it_goes_back_while_much_is_under_way)
{
    char name[16];
    at(0);
    uint64_t ann = person("ann", "tea"), bob = person("bob", "tea");
    post(ann, "tea", "one");
    turns();
    world->settings.return_time = 30000;
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "r%d", i);
        uint64_t id = i % 3 ? person(name, "tea") : comes_back(0, i % 2 ? "ann" : "bob");
        world->answer = i % 4 == 3 ? CHATHUB_LATER : CHATHUB_ALLOW;
        world->parts.ask = 0;
        ask(id, CHI_REQUEST_TYPING, "tea");
        join_at(id, i % 2 ? "milk" : "tea", (struct chi_start){CHI_START_LAST, 2, 0, {NULL, 0}});
        if (i % 2)
            post(id, "tea", "draft");
        ask(id, CHI_REQUEST_HISTORY, "tea");
        uint64_t watcher = opened(false);
        chi_hub_observe(world->hub, watcher);
        world->up.hub = world->up.hub;
        /* the log answers what is under way, then says it */
        world->commit_status = CHATHUB_EUNKNOWN;
        fake_poll(&world->log);
        world->commit_status = 0;
        go_back(0, i % 2 ? "epoch-aaaaaaaaaa" : "epoch-bbbbbbbbbb");
        check_books();
        turns();
    }
    all_pass(60000);
    ck_assert_uint_eq(counts_at(0).sessions, 0);
    ck_assert_uint_eq(counts_at(0).rooms, 0);
    ck_same_view();
    (void)bob;
}
END_TEST

/* --------------------------------------------------------------------------------- what is heard */

START_TEST(nonsense_is_passed_over)
{
    char text[64];
    person_at(0, "ann", "tea");
    char *before = view(1);
    at(1);
    for (uint32_t len = 0; len < sizeof text; len++) {
        memset(text, (int)len, sizeof text);
        peers[1].up.heard(peers[1].up.hub, (struct chi_span){text, len});
        text[0] = CHI_WIRE_VERSION;
        peers[1].up.heard(peers[1].up.hub, (struct chi_span){text, len});
    }
    turns();
    char *after = view(1);
    ck_assert_str_eq(before, after);
    free(before);
    free(after);
}
END_TEST

/* A message of node 99 with one session. */
static void say_session(const char *user, uint64_t version, const char *name, const char *room)
{
    struct chi_buf out = {0};
    chi_wire_add_head(&out, &(struct chi_wire_head){.kind = CHI_WIRE_DIFFERENCES,
                                                    .node = 99,
                                                    .count = 1,
                                                    .epoch = span(world->epoch)});
    size_t item = chi_wire_begin(&out, CHI_WIRE_SESSION);
    chi_buf_add(&out, user, CHI_USER_LEN);
    chi_wire_add_number(&out, version, 8);
    chi_wire_add_number(&out, 5, 8);
    chi_wire_add_number(&out, CHI_WIRE_CONNECTED, 1);
    chi_wire_add_text(&out, span(name));
    chi_wire_add_text(&out, CHI_SPAN(""));
    chi_wire_add_number(&out, 1, 2);
    chi_wire_add_text(&out, span(room));
    chi_wire_add_number(&out, 0, 8);
    chi_wire_add_number(&out, 0, 1);
    chi_wire_end(&out, item);
    here()->up.heard(here()->up.hub, (struct chi_span){out.at, out.len});
    chi_buf_fini(&out);
    turns();
}

START_TEST(what_is_no_name_is_not_believed)
{
    at(0);
    uint64_t before = counts_at(0).remote;
    say_session("0123456789abcdef", 1, " bad", "tea");
    say_session("0123456789abcdef", 1, "\xff\xfe", "tea");
    say_session("0123456789 \n\"def", 1, "good", "tea");
    say_session("0123456789abcdef", UINT64_MAX, "good", "tea");
    ck_assert_uint_eq(counts_at(0).remote, before);
    say_session("0123456789abcdef", 1, "good", "\x01");
    ck_assert_uint_eq(counts_at(0).remote, before + 1);
    ck_assert_uint_eq(counts_at(0).rooms, 0);
    say_session("0123456789abcdef", 2, "good", "tea");
    ck_assert_uint_eq(counts_at(0).rooms, 1);
}
END_TEST

START_TEST(a_version_that_nobody_gave_mutes_nobody)
{
    const char *user = "0123456789abcdef";
    uint64_t year = 31536000000u, wall = 1700000000000u;
    at(0);
    uint64_t before = counts_at(0).remote;
    uint32_t logged = world->logged;
    say_session(user, wall + 11 * year, "good", "tea");
    ck_assert_uint_eq(counts_at(0).remote, before);
    ck_assert_uint_gt(world->logged, logged);
    /* what is believed raises the claim to that session alone */
    struct chi_session *session = chi_session_by_user(world->hub, user);
    ck_assert_ptr_null(session);
    say_session(user, wall + 9 * year, "good", "tea");
    session = chi_session_by_user(world->hub, user);
    ck_assert(session && session->remote);
    chi_nodes_adopt(world->hub, session, true);
    ck_assert_uint_eq(chi_origin_of(world->hub->nodes, session)->version, wall + 9 * year + 2);
    person("eve", "tea");
    session = chi_session_by_name(world->hub, CHI_SPAN("eve"));
    ck_assert_uint_lt(chi_origin_of(world->hub->nodes, session)->version, wall + year);
    all_pass(8000);
    ck_same_view();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core_nodes");
    TCase *t = tcase_create("nodes");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, who_comes_and_goes_is_told_everywhere);
    tcase_add_test(t, a_name_is_taken_everywhere);
    tcase_add_test(t, names_status_and_typing_are_told);
    tcase_add_test(t, what_is_private_reaches_another_node);
    tcase_add_test(t, nobody_leaves_before_the_last_post_on_a_node_that_lags);
    tcase_add_test(t, a_node_that_lags_for_long_is_told_nevertheless);
    tcase_add_test(t, nobody_leaves_while_a_post_is_uncommitted);
    tcase_add_test(t, who_is_back_at_once_has_not_left_before_its_last_post);
    tcase_add_test(t, a_first_content_precedes_joined);
    tcase_add_test(t, a_session_moves_and_nobody_sees_it);
    tcase_add_test(t, where_the_cursor_stood_is_awaited_and_given);
    tcase_add_test(t, a_room_that_was_joined_just_before_is_not_lost);
    tcase_add_test(t, what_was_sent_elsewhere_does_not_come_twice);
    tcase_add_test(t, a_dead_node_is_awaited_for_a_second);
    tcase_add_test(t, who_goes_while_its_place_is_awaited_may_come_back);
    tcase_add_test(t, a_lost_session_comes_back_elsewhere);
    tcase_add_test(t, two_claims_after_a_partition_become_one);
    tcase_add_test(t, who_is_there_is_not_closed_for_a_claim_without_client);
    tcase_add_test(t, who_came_last_keeps_the_session);
    tcase_add_test(t, of_two_with_one_name_the_later_is_renamed);
    tcase_add_test(t, two_with_one_name_who_come_to_a_third_node_do_not_both_keep_it);
    tcase_add_test(t, shared_names_do_not_conflict);
    tcase_add_test(t, a_dead_nodes_members_are_gone_after_the_lease);
    tcase_add_test(t, a_partition_heals_to_one_truth);
    tcase_add_test(t, what_was_lost_is_noticed_though_nothing_follows);
    tcase_add_test(t, any_loss_heals);
    tcase_add_test(t, a_node_that_stood_still_does_not_lose_the_others);
    tcase_add_test(t, a_node_that_joins_is_told_all_in_parts);
    tcase_add_test(t, a_node_that_stops_leaves_its_sessions_to_the_others);
    tcase_add_test(t, that_a_node_stops_is_said_until_the_bus_takes_it);
    tcase_add_test(t, who_stops_says_no_more_than_in_any_turn);
    tcase_add_test(t, who_asks_for_all_at_once_again_is_told_later);
    tcase_add_test(t, what_nobody_keeps_ends_with_the_lease);
    tcase_add_test(t, a_room_of_others_alone_is_not_loaded);
    tcase_add_test(t, who_does_not_fit_into_a_message_is_named);
    tcase_add_test(t, only_so_many_sessions_are_known);
    tcase_add_test(t, only_so_many_rooms_are_known);
    tcase_add_test(t, what_waits_is_bounded_and_asked_for_again);
    tcase_add_test(t, a_name_goes_on_elsewhere_where_it_stood);
    tcase_add_test(t, who_takes_over_does_not_know_better_where_it_stood);
    tcase_add_test(t, a_node_that_joins_is_told_where_names_stood);
    tcase_add_test(t, a_log_that_went_back_closes_all_and_shows_a_gap);
    tcase_add_test(t, a_name_that_stood_in_what_is_no_more_comes_anew);
    tcase_add_test(t, who_has_a_place_of_its_own_goes_on_by_it);
    tcase_add_test(t, it_goes_back_while_much_is_under_way);
    tcase_add_test(t, who_read_what_no_node_has_seen_is_shown_a_gap);
    tcase_add_test(t, who_read_more_than_a_parted_node_is_refused_and_shown_no_gap);
    tcase_add_test(t, a_log_that_is_back_has_its_time_to_show_what_somebody_has_read);
    tcase_add_test(t, nonsense_is_passed_over);
    tcase_add_test(t, what_is_no_name_is_not_believed);
    tcase_add_test(t, a_version_that_nobody_gave_mutes_nobody);
    suite_add_tcase(suite, t);
    return unit_run(suite);
}
