/* The hub's rules, without delivery and log. */
#include "core_world.h"

#define ALICE_KEY "key-of-alice-0000000000000000000"

static void setup(void)
{
    world_new(1);
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

/* ------------------------------------------------------------------------------------- sessions */

START_TEST(a_post_alone_makes_a_guest_in_the_default_room)
{
    uint64_t id = opened(false);
    post(id, NULL, "hi");
    turns();
    const char *all = heard(id);
    ck_assert_ptr_nonnull(strstr(all, "joined general top=0 start=0 count=1 #0 [guest-"));
    ck_assert_ptr_nonnull(strstr(all, "chat guest-"));
    ck_assert_ptr_nonnull(strstr(all, "ack general @1 cid=c-1 ref=7"));
    ck_assert_ptr_null(strstr(all, "welcome"));
}
END_TEST

START_TEST(chathub_v1_is_welcomed_at_its_first_frame_and_can_come_back)
{
    uint64_t id = opened(true), again;
    char key[32];
    ask(id, CHI_REQUEST_PING, NULL);
    const char *all = heard(id);
    ck_assert_ptr_nonnull(strstr(all, "pong"));
    ck_assert_int_eq(sscanf(all, "welcome guest-%*6s key=%22s", key), 1);
    join(id, "tea");
    turns();
    chi_hub_client_closed(world->hub, id, "lost");
    again = opened(true);
    hello(again, NULL, key);
    turns();
    ck_hears(again, "joined tea");
    ck_assert_uint_eq(counts().sessions, 1);
}
END_TEST

START_TEST(a_taken_name_leaves_the_connection_unnamed_until_it_has_one)
{
    uint64_t alice = person("alice", NULL), other = opened(false);
    hello(other, "ALICE", NULL);
    ck_hears(other, "error name_taken");
    post(other, NULL, "hi");
    ck_hears(other, "error name_required");
    hello(other, "bob", NULL);
    ck_hears(other, "welcome bob key=");
    post(other, NULL, "hi");
    turns();
    ck_hears(other, "ack general");
    ck_assert(fake(alice)->open);
}
END_TEST

START_TEST(reserved_names_belong_to_the_hub)
{
    uint64_t id = opened(false);
    static const char *const names[] = {"System", "server", "guest-abcdef", "SYSTEM_MSG: x"};
    for (size_t i = 0; i < 4; i++) {
        hello(id, names[i], NULL);
        ck_hears(id, "error name_reserved");
    }
    hello(id, " x", NULL);
    ck_hears(id, "error bad_name");
    hello(id, "a name of more than thirty-two bytes", NULL);
    ck_hears(id, "at most 32 bytes");
    hello(id, "x", "short");
    ck_hears(id, "error bad_session");
}
END_TEST

START_TEST(guest_names_are_never_the_same)
{
    static char seen[3000][16];
    for (int i = 0; i < 3000; i++) {
        uint64_t id = opened(true);
        ask(id, CHI_REQUEST_PING, NULL);
        ck_assert_int_eq(sscanf(heard(id), "welcome %15s", seen[i]), 1);
        chi_hub_client_closed(world->hub, id, "left");
    }
    qsort(seen, 3000, sizeof seen[0], (int (*)(const void *, const void *))strcmp);
    for (int i = 1; i < 3000; i++)
        ck_assert_str_ne(seen[i - 1], seen[i]);
}
END_TEST

START_TEST(a_session_key_takes_the_session_over_where_its_cursor_stood)
{
    uint64_t alice = person("alice", "tea"), bob = person("bob", "tea");
    pass(1000);
    post(bob, "tea", "one");
    turns();
    heard(bob);
    uint64_t again = opened(false);
    hello(again, NULL, ALICE_KEY);
    turns();
    ck_assert_int_eq(fake(alice)->close_code, 4001);
    const char *all = heard(again);
    ck_assert_ptr_nonnull(strstr(all, "welcome alice key=" ALICE_KEY));
    ck_assert_ptr_nonnull(strstr(all, "joined tea top=1 start=1 count=2"));
    pass(5000);
    ck_heard_nothing(bob);
    chi_hub_client_closed(world->hub, alice, "lost"); /* stale */
    ck_assert_uint_eq(counts().sessions, 2);
}
END_TEST

START_TEST(a_hello_goes_on_in_its_rooms_where_it_says)
{
    uint64_t bob = person("bob", "tea"), alice = person("alice", "tea");
    join(alice, "milk");
    turns();
    for (int i = 0; i < 5; i++) {
        post(bob, "tea", "x");
        turns();
    }
    chi_hub_client_closed(world->hub, alice, "lost");
    uint64_t again = opened(false);
    struct chi_request r = {
        .type = CHI_REQUEST_HELLO, .session = CHI_SPAN(ALICE_KEY), .resume_count = 2};
    r.resume[0] =
        (struct chi_resume){CHI_SPAN("TEA"), {CHI_START_AFTER, 0, 2, CHI_SPAN("epoch-0123456789")}};
    r.resume[1] = (struct chi_resume){CHI_SPAN("sugar"), {CHI_START_DEFAULT, 0, 0, {NULL, 0}}};
    ck_assert_int_eq(chi_hub_request(world->hub, again, &r), CHI_NEXT_WAIT);
    turns();
    const char *all = heard(again);
    ck_assert_ptr_nonnull(strstr(all, "joined tea top=5 start=2"));
    ck_assert_ptr_nonnull(strstr(all, "joined milk"));
    ck_assert_ptr_nonnull(strstr(all, "joined sugar"));
    ck_assert_int_eq((int)fake(again)->reads, 1);
}
END_TEST

START_TEST(a_lost_session_keeps_name_and_rooms_for_its_time)
{
    uint64_t alice = person("alice", "tea"), bob = person("bob", "tea");
    pass(1000);
    chi_hub_client_closed(world->hub, alice, "lost");
    heard(bob);
    pass(29000);
    ck_heard_nothing(bob);
    uint64_t thief = opened(false);
    hello(thief, "alice", NULL);
    ck_hears(thief, "error name_taken");
    pass(2000);
    ck_hears(bob, "-[alice]");
    hello(thief, "alice", NULL);
    ck_hears(thief, "welcome alice");
}
END_TEST

START_TEST(who_says_goodbye_or_has_no_key_leaves_at_once)
{
    uint64_t alice = person("alice", "tea"), bob = person("bob", "tea"), guest = opened(false);
    join(guest, "tea");
    pass(1000);
    heard(bob);
    chi_hub_client_closed(world->hub, guest, "lost");
    pass(1000);
    ck_hears(bob, "-[guest-");
    chi_hub_client_closed(world->hub, alice, "left");
    pass(1000);
    ck_hears(bob, "-[alice]");
}
END_TEST

START_TEST(lost_sessions_are_bounded_the_oldest_goes_first)
{
    world->settings.max_sessions = 2;
    uint64_t bob = person("bob", "tea");
    const char *const names[] = {"a1", "a2", "a3"};
    for (int i = 0; i < 3; i++)
        chi_hub_client_closed(world->hub, person(names[i], NULL), "lost");
    ck_assert_uint_eq(counts().sessions, 3);
    hello(bob, "a1", NULL);
    ck_hears(bob, "welcome a1");
    hello(bob, "a2", NULL);
    ck_hears(bob, "error name_taken");
}
END_TEST

START_TEST(a_second_hello_renames_and_another_key_is_refused)
{
    uint64_t alice = person("alice", "tea"), bob = person("bob", "tea");
    pass(1000);
    heard(bob);
    hello(alice, "Alicia", NULL);
    ck_hears(alice, "welcome Alicia key= renamed");
    ck_hears(bob, "~[Alicia]");
    hello(alice, NULL, "key-of-somebody-else-00000000000");
    ck_hears(alice, "error bad_request");
    hello(bob, "alice", NULL);
    ck_hears(bob, "welcome alice");
}
END_TEST

/* ---------------------------------------------------------------------------------------- rooms */

START_TEST(a_join_begins_where_it_asks)
{
    uint64_t bob = person("bob", "tea"), alice = person("alice", NULL);
    for (int i = 0; i < 6; i++) {
        post(bob, "tea", "x");
        turns();
    }
    join(alice, "tea");
    turns();
    ck_hears(alice, "start=3");
    join_at(alice, "tea", (struct chi_start){CHI_START_LAST, 1, 0, {NULL, 0}});
    turns();
    ck_hears(alice, "start=5");
    join_at(alice, "tea", (struct chi_start){CHI_START_AFTER, 0, 2, CHI_SPAN("epoch-0123456789")});
    ck_hears(alice, "start=2");
    join_at(alice, "tea", (struct chi_start){CHI_START_AFTER, 0, 99, {NULL, 0}});
    ck_hears(alice, "start=6");
    join_at(alice, "tea", (struct chi_start){CHI_START_NOW, 0, 0, {NULL, 0}});
    ck_hears(alice, "start=6");
    join_at(alice, "tea", (struct chi_start){CHI_START_AFTER, 0, 4, CHI_SPAN("another-epoch-00")});
    turns();
    const char *all = heard(alice), *joined = strstr(all, "joined tea top=6 start=3");
    ck_assert_ptr_nonnull(joined);
    ck_assert_ptr_nonnull(strstr(joined, "gap tea 4-3"));
    join_at(alice, "tea", (struct chi_start){CHI_START_AFTER, 0, UINT64_MAX, {NULL, 0}});
    ck_hears(alice, "error bad_position");
}
END_TEST

START_TEST(who_joins_waits_until_the_room_is_open)
{
    uint64_t alice = person("alice", NULL);
    world->log_stopped = true;
    ck_assert_int_eq(join(alice, "tea"), CHI_NEXT_WAIT);
    turns();
    heard(alice);
    ask(alice, CHI_REQUEST_PING, NULL);
    ck_hears(alice, "error busy");
    world->log_stopped = false;
    turns();
    ck_hears(alice, "joined tea");
    ck_assert_uint_eq(fake(alice)->reads, 1);
}
END_TEST

START_TEST(a_room_that_cannot_be_opened_is_an_error_and_tried_again)
{
    uint64_t alice = person("alice", NULL);
    world->open_status = CHATHUB_ELOG;
    join(alice, "tea");
    turns();
    ck_hears(alice, "error log_failed room=tea");
    ck_assert_uint_eq(counts().rooms, 0);
    world->open_status = 0;
    join(alice, "tea");
    turns();
    ck_hears(alice, "joined tea");
}
END_TEST

START_TEST(an_empty_room_is_unloaded_and_a_fixed_one_stays)
{
    uint64_t alice = person("alice", "tea");
    ck_assert_uint_eq(counts().rooms, 1);
    ask(alice, CHI_REQUEST_LEAVE, "tea");
    ck_hears(alice, "left tea ok");
    turns();
    ck_assert_uint_eq(counts().rooms, 0);
    ck_assert(!world->log_rooms[0].open);
    ask(alice, CHI_REQUEST_LEAVE, "tea");
    ck_hears(alice, "error not_member");
}
END_TEST

START_TEST(rooms_are_bounded_and_may_be_only_the_fixed_ones)
{
    world->settings.max_rooms = 2;
    world->settings.max_client_rooms = 2;
    uint64_t alice = person("alice", "r1"), bob = person("bob", "r2");
    join(alice, "r3");
    ck_hears(alice, "error full");
    world->settings.max_rooms = 9;
    join(alice, "r2");
    join(alice, "r3");
    turns();
    ck_hears(alice, "error too_many_rooms");
    world->settings.create_rooms = false;
    join(bob, "r9");
    ck_hears(bob, "error no_room");
    world->settings.max_members = 2;
    uint64_t carl = person("carl", "r2");
    ck_hears(carl, "error full");
}
END_TEST

START_TEST(an_observer_hears_entries_is_not_there_and_keeps_its_place)
{
    uint64_t bob = person("bob", "general"), silent = opened(false);
    pass(1000);
    heard(bob);
    chi_hub_observe(world->hub, silent);
    turns();
    ck_heard_nothing(silent);
    ck_heard_nothing(bob);
    post(bob, NULL, "one");
    turns();
    ck_assert_str_eq(heard(silent), "chat bob: one @1\n");
    ask(silent, CHI_REQUEST_WHO, NULL);
    ck_hears(silent, "who 1 [bob]");
    ck_assert_uint_eq(counts().observers, 1);
    post(silent, NULL, "two");
    turns();
    ck_hears(silent, "joined general top=1 start=1 count=2");
    ck_assert_uint_eq(counts().observers, 0);
}
END_TEST

START_TEST(an_observer_that_joins_elsewhere_observes_no_more)
{
    uint64_t bob = person("bob", "general"), silent = opened(false);
    chi_hub_observe(world->hub, silent);
    turns();
    hello(silent, "carl", NULL);
    ck_assert_uint_eq(counts().observers, 1);
    join(silent, "tea");
    turns();
    ck_assert_uint_eq(counts().observers, 0);
    heard(silent);
    post(bob, NULL, "one");
    turns();
    ck_heard_nothing(silent);
}
END_TEST

/* ---------------------------------------------------------------------------------------- posts */

START_TEST(a_post_is_checked)
{
    uint64_t alice = person("alice", NULL);
    static char large[1002];
    memset(large, 'x', 1001);
    post(alice, "tea", "hi");
    ck_hears(alice, "error not_member room=tea ref=7");
    post(alice, NULL, large);
    ck_hears(alice, "at most 1000");
    post(alice, NULL, "a\x01");
    ck_hears(alice, "error bad_text");
    post(alice, NULL, "");
    ck_hears(alice, "error empty");
    struct chi_request r = {
        .type = CHI_REQUEST_POST, .content = CHI_SPAN("x"), .cid = CHI_SPAN("a\tb")};
    chi_hub_request(world->hub, alice, &r);
    ck_hears(alice, "error bad_cid");
    turns();
    ck_heard_nothing(alice);
}
END_TEST

START_TEST(what_the_log_says_is_what_the_poster_hears)
{
    uint64_t alice = person("alice", "tea");
    world->commit_status = CHATHUB_EDUP;
    post(alice, "tea", "hi");
    turns();
    ck_hears(alice, "ack tea @0 dup");
    world->commit_status = CHATHUB_EUNKNOWN;
    post(alice, "tea", "hi");
    turns();
    ck_hears(alice, "error unknown room=tea ref=7");
    ck_assert_uint_eq(counts().dups, 1);
}
END_TEST

START_TEST(drafts_of_a_client_stop_its_reading_until_they_are_resolved)
{
    uint64_t alice = person("alice", "tea");
    fake(alice)->reads = 0;
    world->log_stopped = true;
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(post(alice, "tea", "hi"), CHI_NEXT_READ);
    ck_assert_int_eq(post(alice, "tea", "hi"), CHI_NEXT_WAIT);
    ck_assert_int_eq(post(alice, "tea", "beyond"), CHI_NEXT_WAIT);
    turns();
    ck_assert_uint_eq(fake(alice)->reads, 0);
    heard(alice);
    world->log_stopped = false;
    turns();
    ck_assert_uint_eq(fake(alice)->reads, 1);
    ck_hears(alice, "chat alice: beyond @5");
    ck_assert_uint_eq(counts().drafts, 0);
}
END_TEST

START_TEST(drafts_of_all_are_bounded)
{
    uint64_t alice = person("alice", "tea"), bob = person("bob", "tea");
    world->settings.hub_draft_bytes = 200;
    world->log_stopped = true;
    ck_assert_int_eq(post(alice, "tea", "hi"), CHI_NEXT_READ);
    ck_assert_int_eq(post(bob, "tea", "hi"), CHI_NEXT_WAIT);
    turns();
    ck_assert_uint_eq(counts().drafts, 1);
    world->log_stopped = false;
    turns();
    ck_hears(bob, "ack tea @2");
    ck_assert_uint_eq(fake(bob)->reads, 1);
}
END_TEST

START_TEST(a_poster_that_is_gone_gets_no_ack_and_leaves_after_its_post)
{
    uint64_t alice = person("alice", "tea"), bob = person("bob", "tea");
    pass(1000);
    world->log_stopped = true;
    post(alice, "tea", "last words");
    chi_hub_client_closed(world->hub, alice, "left");
    uint64_t thief = opened(false);
    hello(thief, "alice", NULL);
    ck_hears(thief, "welcome alice");
    heard(bob);
    pass(2000);
    ck_heard_nothing(bob);
    world->log_stopped = false;
    pass(1000);
    const char *all = heard(bob), *entry = strstr(all, "last words");
    ck_assert_ptr_nonnull(entry);
    ck_assert_ptr_nonnull(strstr(entry, "-[alice]"));
}
END_TEST

/* ------------------------------------------------------------------------------------- presence */

START_TEST(the_first_change_is_told_at_once_and_who_comes_and_goes_is_not)
{
    uint64_t bob = person("bob", "tea");
    pass(1000);
    heard(bob);
    uint64_t alice = person("alice", "tea");
    ck_hears(bob, "presence #1 count=2 +[alice] -[] ~[]");
    ck_hears(alice, "joined tea top=0 start=0 count=2 #1 [bob,alice]");
    uint64_t carl = person("carl", "tea"), dora = person("dora", "tea");
    ck_hears(carl, "count=3 #1 [bob,alice,carl]");
    chi_hub_client_closed(world->hub, carl, "left");
    ck_heard_nothing(bob);
    pass(200);
    ck_assert_str_eq(heard(bob), "presence #2 count=3 +[dora] -[] ~[]\n");
    ck_assert(fake(dora)->open);
}
END_TEST

START_TEST(ten_thousand_joins_are_few_signals)
{
    uint64_t first = person("first", "tea");
    for (int i = 0; i < 10000; i++) {
        uint64_t id = opened(false);
        join(id, "tea");
        if (i % 20 == 0) {
            world->now += 10; /* all of them within 5 s */
            chi_hub_turn(world->hub);
        }
    }
    pass(5000);
    ck_assert_uint_le(fake(first)->presence, 30);
    ck_hears(first, "count=10001\n");
    ask(first, CHI_REQUEST_WHO, "tea");
    ck_hears(first, "who 10001 [first,guest-");
}
END_TEST

START_TEST(a_room_that_shrinks_is_told_its_names_again)
{
    world->settings.presence_names = 8;
    world->settings.presence_all = 4;
    uint64_t ids[12], bob = person("bob", "tea");
    for (int i = 0; i < 12; i++) {
        ids[i] = opened(false);
        join(ids[i], "tea");
        pass(2000);
    }
    ck_hears(bob, "count=13\n");
    for (int i = 0; i < 8; i++) {
        chi_hub_client_closed(world->hub, ids[i], "lost");
        pass(2000);
    }
    ck_hears(bob, "all +[bob,guest-");
}
END_TEST

/* Else who is behind is told differences from what it was not told. */
START_TEST(a_count_replaces_no_count_before_differences)
{
    world->settings.presence_names = 4;
    uint64_t bob = person("bob", "tea"), ids[6];
    uint64_t counts[2][2], *keys = world->presence_keys;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 6; i++) {
            ids[i] = opened(false);
            join(ids[i], "tea");
            pass(2000);
        }
        uint64_t last = world->presences;
        ck_hears(bob, " count=6\n");
        counts[round][0] = keys[last - 1];
        counts[round][1] = keys[last];
        for (int i = 0; i < 6; i++) {
            chi_hub_client_closed(world->hub, ids[i], "lost");
            pass(2000);
        }
        ck_hears(bob, " -[guest-");
        ck_assert_uint_eq(keys[world->presences], world->presences);
    }
    ck_assert_uint_eq(counts[0][0], counts[0][1]);
    ck_assert_uint_eq(counts[1][0], counts[1][1]);
    ck_assert_uint_ne(counts[0][0], counts[1][0]);
}
END_TEST

START_TEST(who_is_told_page_by_page_in_order_of_names)
{
    static const char *const names[] = {"f", "B", "d", "a", "E", "c", "g"};
    uint64_t me = 0;
    for (int i = 0; i < 7; i++)
        me = person(names[i], "tea");
    pass(1000);
    heard(me);
    ask(me, CHI_REQUEST_WHO, "tea");
    ck_hears(me, "who 7 [a,B,c,d,E] more");
    struct chi_request r = {
        .type = CHI_REQUEST_WHO, .room = CHI_SPAN("tea"), .name = CHI_SPAN("e")};
    chi_hub_request(world->hub, me, &r);
    ck_assert_str_eq(heard(me), "who 7 [f,g]\n");
}
END_TEST

START_TEST(typing_ends_by_itself_and_by_a_post)
{
    uint64_t alice = person("alice", "tea"), bob = person("bob", "tea");
    pass(1000);
    heard(bob);
    ask(alice, CHI_REQUEST_TYPING, "tea");
    ck_hears(alice, "ok");
    ask(alice, CHI_REQUEST_TYPING, "tea");
    ck_assert_str_eq(heard(bob), "typing alice 1\n");
    pass(6000);
    ck_assert_str_eq(heard(bob), "typing alice 0\n");
    ask(alice, CHI_REQUEST_TYPING, "tea");
    post(alice, "tea", "x");
    pass(9000);
    const char *all = heard(bob);
    ck_assert_ptr_nonnull(strstr(all, "typing alice 1\nchat alice: x"));
    ck_assert_ptr_null(strstr(all, "typing alice 0"));
    ask(alice, CHI_REQUEST_TYPING, "tea");
    ask(alice, CHI_REQUEST_LEAVE, "tea");
    ck_hears(bob, "typing alice 0");
}
END_TEST

START_TEST(a_status_is_told_to_the_rooms_and_bounded)
{
    uint64_t alice = person("alice", "tea"), bob = person("bob", "tea");
    pass(1000);
    struct chi_request r = {.type = CHI_REQUEST_STATUS, .content = CHI_SPAN("away")};
    chi_hub_request(world->hub, alice, &r);
    ck_hears(bob, "status alice away");
    r.content = CHI_SPAN("a status that has more than forty bytes of text");
    chi_hub_request(world->hub, alice, &r);
    ck_hears(alice, "error too_long");
}
END_TEST

/* -------------------------------------------------------------------------------------- history */

START_TEST(history_comes_in_pages_one_at_a_time_and_for_members)
{
    uint64_t alice = person("alice", "tea");
    for (int i = 0; i < 12; i++) {
        post(alice, "tea", "x");
        turns();
    }
    heard(alice);
    ask(alice, CHI_REQUEST_HISTORY, "tea");
    ask(alice, CHI_REQUEST_HISTORY, "tea");
    ck_hears(alice, "error one_at_a_time");
    turns();
    ck_hears(alice, "history 10 more ref=9");
    ask(alice, CHI_REQUEST_HISTORY, "tea");
    ask(alice, CHI_REQUEST_LEAVE, "tea");
    heard(alice);
    turns();
    ck_hears(alice, "error not_member room=tea ref=9");
    ask(alice, CHI_REQUEST_HISTORY, "tea");
    ck_hears(alice, "error not_member");
    join(alice, "tea");
    turns();
    ask(alice, CHI_REQUEST_HISTORY, "tea");
    chi_hub_client_closed(world->hub, alice, "left");
    turns();
    ck_assert_uint_eq(counts().rooms, 0);
}
END_TEST

/* ------------------------------------------------------------------------------------ decisions */

START_TEST(the_host_decides_later_and_reading_stops_meanwhile)
{
    world_free();
    world_new(1);
    world->parts.ask = 1u << CHATHUB_JOIN | 1u << CHATHUB_POST;
    ck_assert_int_eq(world_start(), 0);
    uint64_t alice = person("alice", NULL);
    world->answer = CHATHUB_LATER;
    ck_assert_int_eq(post(alice, NULL, "hi"), CHI_NEXT_WAIT);
    ck_assert_str_eq(world->asked_what, "join alice general");
    heard(alice);
    turns();
    ck_heard_nothing(alice);
    ck_assert(!chi_hub_idle(world->hub));
    chi_hub_answer(world->hub, world->asked, true, CHI_SPAN(""));
    chi_hub_answer(world->hub, world->asked, false, CHI_SPAN("")); /* twice */
    turns();
    ck_assert_str_eq(world->asked_what, "post alice general");
    ck_hears(alice, "joined general");
    chi_hub_answer(world->hub, world->asked, false, CHI_SPAN("no posts on Sundays"));
    turns();
    ck_hears(alice, "error denied room= ref=7: no posts on Sundays");
    ck_assert_uint_eq(fake(alice)->reads, 1);
    post(alice, NULL, "hi");
    pass(11000);
    ck_hears(alice, "nobody decided in time");
    post(alice, NULL, "hi");
    uint64_t question = world->asked;
    chi_hub_client_closed(world->hub, alice, "left");
    chi_hub_answer(world->hub, question, true, CHI_SPAN(""));
    turns();
    ck_assert_uint_eq(counts().clients, 0);
    ck_assert_uint_eq(counts().rooms, 0);
}
END_TEST

START_TEST(the_host_may_answer_or_end_the_client_inside_its_callback)
{
    world_free();
    world_new(1);
    world->parts.ask = 1u << CHATHUB_JOIN | 1u << CHATHUB_HELLO;
    ck_assert_int_eq(world_start(), 0);
    world->answer = CHATHUB_LATER;
    world->answer_inside = 1;
    uint64_t alice = person("alice", "tea");
    ck_hears(alice, "joined tea");
    world->answer_inside = 2;
    join(alice, "milk");
    turns();
    ck_hears(alice, "error denied room=milk ref=: not today");
    world->answer_inside = 3;
    ck_assert_int_eq(join(alice, "milk"), CHI_NEXT_GONE);
    turns();
    ck_assert_int_eq(fake(alice)->close_code, 1008);
    world->answer = CHATHUB_DENY;
    world->answer_inside = 0;
    uint64_t bob = opened(false);
    post(bob, NULL, "hi");
    ck_hears(bob, "error denied");
}
END_TEST

START_TEST(a_right_that_was_lost_ends_the_membership_that_a_hello_resumes)
{
    world_free();
    world_new(1);
    world->parts.ask = 1u << CHATHUB_JOIN;
    ck_assert_int_eq(world_start(), 0);
    uint64_t alice = person("alice", "tea");
    chi_hub_client_closed(world->hub, alice, "lost");
    world->answer = CHATHUB_DENY;
    uint64_t again = opened(false);
    struct chi_request r = {
        .type = CHI_REQUEST_HELLO, .session = CHI_SPAN(ALICE_KEY), .resume_count = 1};
    r.resume[0] = (struct chi_resume){CHI_SPAN("tea"), {CHI_START_DEFAULT, 0, 0, {NULL, 0}}};
    chi_hub_request(world->hub, again, &r);
    turns();
    const char *all = heard(again);
    ck_assert_ptr_nonnull(strstr(all, "error denied room=tea"));
    ck_assert_ptr_nonnull(strstr(all, "left tea denied"));
    ck_assert_uint_eq(counts().members, 0);
}
END_TEST

/* ------------------------------------------------------------------------------- ends, refusals */

START_TEST(who_talks_nonsense_is_told_so_and_closed_at_last)
{
    uint64_t id = opened(false);
    struct chi_decode_error error = {.code = CHATHUB_EJSON, .message = "no JSON"};
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(chi_hub_bad_request(world->hub, id, &error), CHI_NEXT_READ);
    ck_hears(id, "error bad_json room= ref=: no JSON");
    ask(id, CHI_REQUEST_PING, NULL);
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(chi_hub_bad_request(world->hub, id, &error), CHI_NEXT_READ);
    ck_assert_int_eq(chi_hub_bad_request(world->hub, id, &error), CHI_NEXT_GONE);
    ck_assert_int_eq(fake(id)->close_code, 1008);
}
END_TEST

START_TEST(who_has_too_many_replies_waiting_is_not_read_from)
{
    uint64_t id = opened(false);
    world->reply_result = 1;
    ck_assert_int_eq(ask(id, CHI_REQUEST_PING, NULL), CHI_NEXT_WAIT);
    turns();
    ck_assert_uint_eq(fake(id)->reads, 0);
    const struct chi_delivery_up *up = chi_hub_delivery_up(world->hub);
    up->drained(up->hub, chi_hub_client_slot(id));
    turns();
    ck_assert_uint_eq(fake(id)->reads, 1);
}
END_TEST

START_TEST(who_cannot_be_served_is_closed_and_may_come_back)
{
    uint64_t alice = person("alice", "tea"), bob = person("bob", "tea");
    const struct chi_delivery_up *up = chi_hub_delivery_up(world->hub);
    up->failed(up->hub, chi_hub_client_slot(alice), CHATHUB_ENOMEM);
    ck_assert_int_eq(post(alice, "tea", "x"), CHI_NEXT_GONE);
    turns();
    ck_assert_int_eq(fake(alice)->close_code, 1011);
    world->reply_result = CHATHUB_ENOMEM;
    ask(bob, CHI_REQUEST_PING, NULL);
    turns();
    ck_assert_int_eq(fake(bob)->close_code, 1011);
    ck_assert_uint_eq(counts().sessions, 2);
}
END_TEST

START_TEST(a_member_that_delivery_has_no_room_for_is_none)
{
    uint64_t alice = person("alice", NULL);
    world->join_result = CHATHUB_ENOMEM;
    join(alice, "tea");
    turns();
    ck_hears(alice, "error no_memory");
    ck_assert_uint_eq(counts().members, 0);
    ck_assert_uint_eq(counts().rooms, 0);
}
END_TEST

START_TEST(a_stop_says_goodbye_and_finishes_what_is_under_way)
{
    uint64_t alice = person("alice", "tea"), silent = opened(false);
    world->log_stopped = true;
    post(alice, "tea", "x");
    chi_hub_stop(world->hub);
    ck_hears(alice, "bye");
    ck_heard_nothing(silent);
    ck_assert(!chi_hub_idle(world->hub));
    ck_assert_int_eq(post(alice, "tea", "y"), CHI_NEXT_WAIT);
    ck_hears(alice, "error shutdown");
    ck_assert_uint_eq(opened(false), 0);
    world->log_stopped = false;
    turns();
    ck_hears(alice, "ack tea @1");
    ck_assert(chi_hub_idle(world->hub));
    chi_hub_close_all(world->hub, 1001, CHI_SPAN("bye"));
    ck_assert_int_eq(fake(alice)->close_code, 1001);
    ck_assert_uint_eq(counts().clients, 0);
}
END_TEST

START_TEST(numbers_of_clients_are_never_used_again)
{
    uint64_t id = opened(false);
    chi_hub_client_closed(world->hub, id, "lost");
    uint64_t next = opened(false);
    ck_assert_uint_eq(chi_hub_client_slot(id), chi_hub_client_slot(next));
    ck_assert_uint_ne(id, next);
    chi_hub_close_client(world->hub, id, 1000, CHI_SPAN(""));
    ck_assert_int_eq(ask(id, CHI_REQUEST_PING, NULL), CHI_NEXT_GONE);
    ck_assert(fake(next)->open);
}
END_TEST

START_TEST(fixed_rooms_stay_and_the_default_room_of_a_listener_is_its_own)
{
    world_free();
    world_new(1);
    world->settings.rooms = (char *)(uintptr_t) "tea, Milk";
    world->settings.create_rooms = false;
    ck_assert_int_eq(world_start(), 0);
    ck_assert_uint_eq(counts().rooms, 2);
    struct chi_client_desc desc = {.as = {&world->transport, 0, {&plain_dialect, NULL}},
                                   .default_room = CHI_SPAN("milk")};
    uint64_t id;
    ck_assert_int_eq(chi_hub_client_open(world->hub, &desc, &id), 0);
    post(id, NULL, "hi");
    turns();
    ck_hears(id, "joined Milk");
    chi_hub_client_closed(world->hub, id, "left");
    turns();
    ck_assert_uint_eq(counts().rooms, 2);
    desc.default_room = CHI_SPAN(" no room ");
    ck_assert_int_eq(chi_hub_client_open(world->hub, &desc, &id), CHATHUB_EROOMNAME);
}
END_TEST

static Suite *suite(void)
{
    Suite *s = suite_create("core");
    TCase *t = tcase_create("core");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_post_alone_makes_a_guest_in_the_default_room);
    tcase_add_test(t, chathub_v1_is_welcomed_at_its_first_frame_and_can_come_back);
    tcase_add_test(t, a_taken_name_leaves_the_connection_unnamed_until_it_has_one);
    tcase_add_test(t, reserved_names_belong_to_the_hub);
    tcase_add_test(t, guest_names_are_never_the_same);
    tcase_add_test(t, a_session_key_takes_the_session_over_where_its_cursor_stood);
    tcase_add_test(t, a_hello_goes_on_in_its_rooms_where_it_says);
    tcase_add_test(t, a_lost_session_keeps_name_and_rooms_for_its_time);
    tcase_add_test(t, who_says_goodbye_or_has_no_key_leaves_at_once);
    tcase_add_test(t, lost_sessions_are_bounded_the_oldest_goes_first);
    tcase_add_test(t, a_second_hello_renames_and_another_key_is_refused);
    tcase_add_test(t, a_join_begins_where_it_asks);
    tcase_add_test(t, who_joins_waits_until_the_room_is_open);
    tcase_add_test(t, a_room_that_cannot_be_opened_is_an_error_and_tried_again);
    tcase_add_test(t, an_empty_room_is_unloaded_and_a_fixed_one_stays);
    tcase_add_test(t, rooms_are_bounded_and_may_be_only_the_fixed_ones);
    tcase_add_test(t, an_observer_hears_entries_is_not_there_and_keeps_its_place);
    tcase_add_test(t, an_observer_that_joins_elsewhere_observes_no_more);
    tcase_add_test(t, a_post_is_checked);
    tcase_add_test(t, what_the_log_says_is_what_the_poster_hears);
    tcase_add_test(t, drafts_of_a_client_stop_its_reading_until_they_are_resolved);
    tcase_add_test(t, drafts_of_all_are_bounded);
    tcase_add_test(t, a_poster_that_is_gone_gets_no_ack_and_leaves_after_its_post);
    tcase_add_test(t, the_first_change_is_told_at_once_and_who_comes_and_goes_is_not);
    tcase_add_test(t, ten_thousand_joins_are_few_signals);
    tcase_add_test(t, a_room_that_shrinks_is_told_its_names_again);
    tcase_add_test(t, a_count_replaces_no_count_before_differences);
    tcase_add_test(t, who_is_told_page_by_page_in_order_of_names);
    tcase_add_test(t, typing_ends_by_itself_and_by_a_post);
    tcase_add_test(t, a_status_is_told_to_the_rooms_and_bounded);
    tcase_add_test(t, history_comes_in_pages_one_at_a_time_and_for_members);
    tcase_add_test(t, the_host_decides_later_and_reading_stops_meanwhile);
    tcase_add_test(t, the_host_may_answer_or_end_the_client_inside_its_callback);
    tcase_add_test(t, a_right_that_was_lost_ends_the_membership_that_a_hello_resumes);
    tcase_add_test(t, who_talks_nonsense_is_told_so_and_closed_at_last);
    tcase_add_test(t, who_has_too_many_replies_waiting_is_not_read_from);
    tcase_add_test(t, who_cannot_be_served_is_closed_and_may_come_back);
    tcase_add_test(t, a_member_that_delivery_has_no_room_for_is_none);
    tcase_add_test(t, a_stop_says_goodbye_and_finishes_what_is_under_way);
    tcase_add_test(t, numbers_of_clients_are_never_used_again);
    tcase_add_test(t, fixed_rooms_stay_and_the_default_room_of_a_listener_is_its_own);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    return unit_run(suite());
}
