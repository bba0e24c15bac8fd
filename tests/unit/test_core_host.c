/* What a host has the hub do: entries lose their texts, clients are ended. */
#include "core_world.h"

static void setup(void)
{
    world_new(1);
    ck_assert_int_eq(world_start(), 0);
}

static void teardown(void)
{
    world_free();
}

static enum chi_next redact(uint64_t id, const char *room, uint64_t position)
{
    const struct chi_request r = {
        .type = CHI_REQUEST_REDACT, .room = span(room), .position = position};
    return chi_hub_request(world->hub, id, &r);
}

static uint64_t rooms(void)
{
    struct chi_hub_counts counts;
    chi_hub_counts(world->hub, &counts);
    return counts.rooms;
}

START_TEST(an_entry_is_erased_and_the_host_is_told)
{
    uint64_t ann = person("ann", "tea"), host = person("host", NULL);
    post(ann, "tea", "one");
    turns();
    ck_assert_int_eq(redact(host, "tea", world->position), CHI_NEXT_WAIT);
    turns();
    ck_hears(host, "ok tea @1");
    ck_assert_uint_eq(world->erased, 1);
}
END_TEST

/* The room is opened for it, and let go of again. */
START_TEST(nobody_need_be_in_the_room)
{
    uint64_t ann = person("ann", "tea"), host = person("host", NULL);
    post(ann, "tea", "one");
    turns();
    chi_hub_close_client(world->hub, ann, 1000, CHI_SPAN("left"));
    turns();
    ck_assert_uint_eq(rooms(), 0);
    redact(host, "tea", 1);
    turns();
    ck_hears(host, "ok tea @1");
    ck_assert_uint_eq(rooms(), 0);
    ck_assert(chi_hub_idle(world->hub));
}
END_TEST

START_TEST(what_is_not_there_cannot_be_erased)
{
    uint64_t host = person("host", NULL);
    redact(host, "tea", 7);
    turns();
    ck_hears(host, "error not_found room=tea");
    redact(host, "tea", 0);
    ck_hears(host, "error bad_position");
    redact(host, "\t", 1);
    ck_hears(host, "error bad_room");
    ck_assert_uint_eq(world->erased, 0);
    ck_assert_uint_eq(rooms(), 0);
}
END_TEST

/* Where only some rooms may be made, those that were before can still be erased from. */
START_TEST(the_host_needs_no_leave_to_open_a_room)
{
    uint64_t ann = person("ann", "tea"), host = person("host", NULL);
    post(ann, "tea", "one");
    turns();
    chi_hub_close_client(world->hub, ann, 1000, CHI_SPAN("left"));
    turns();
    world->settings.create_rooms = false;
    redact(host, "tea", 1);
    turns();
    ck_hears(host, "ok tea @1");
}
END_TEST

START_TEST(a_log_that_cannot_says_so)
{
    uint64_t ann = person("ann", "tea"), host = person("host", NULL);
    post(ann, "tea", "one");
    turns();
    world->redact_status = CHATHUB_ELOG;
    redact(host, "tea", 1);
    turns();
    ck_hears(host, "error log_failed room=tea ref=: the log cannot erase it now");
    world->redact_status = 0;
    world->open_status = CHATHUB_ELOG;
    redact(host, "garden", 1);
    turns();
    ck_hears(host, "error log_failed room=garden ref=: the log cannot erase it now");
    ck_assert_uint_eq(world->erased, 0);
}
END_TEST

/* It comes late where the log is far away; the client's next request waits for it. */
START_TEST(the_next_request_waits_for_a_redaction)
{
    uint64_t ann = person("ann", "tea");
    post(ann, "tea", "one");
    turns();
    heard(ann);
    world->log_stopped = true;
    uint32_t reads = fake(ann)->reads;
    ck_assert_int_eq(redact(ann, "tea", 1), CHI_NEXT_WAIT);
    turns();
    ck_heard_nothing(ann);
    ck_assert_uint_eq(fake(ann)->reads, reads);
    ck_assert(!chi_hub_idle(world->hub));
    world->log_stopped = false;
    turns();
    ck_hears(ann, "ok tea @1");
    ck_assert_uint_eq(fake(ann)->reads, reads + 1);
}
END_TEST

START_TEST(it_is_done_though_its_client_went)
{
    uint64_t ann = person("ann", "tea"), host = person("host", NULL);
    post(ann, "tea", "one");
    turns();
    chi_hub_client_closed(world->hub, ann, "left");
    world->log_stopped = true;
    redact(host, "tea", 1); /* before the room is let go */
    turns();
    chi_hub_client_closed(world->hub, host, "lost");
    turns();
    ck_assert_uint_eq(world->erased, 0);
    ck_assert(!chi_hub_idle(world->hub)); /* a stop waits for it */
    world->log_stopped = false;
    turns();
    ck_assert_uint_eq(world->erased, 1);
    ck_assert(chi_hub_idle(world->hub));
    ck_assert_uint_eq(rooms(), 0);
}
END_TEST

/* Whatever is under way when the hub ends is let go of. */
START_TEST(the_end_of_the_hub_ends_it)
{
    uint64_t ann = person("ann", "tea"), bob = person("bob", "tea");
    post(ann, "tea", "one");
    turns();
    world->log_stopped = true;
    redact(ann, "tea", 1);
    redact(bob, "tea", 1);
    chi_hub_client_closed(world->hub, bob, "lost");
    ck_assert_int_eq(chi_hub_eject(world->hub, ann, 1000, CHI_SPAN("end")), 0);
}
END_TEST

/* -------------------------------------------------------------------------------------- the end */

START_TEST(a_client_that_is_ended_is_told_why)
{
    uint64_t ann = person("ann", "tea"), bob = person("bob", "tea");
    heard(ann);
    ck_assert_int_eq(chi_hub_eject(world->hub, ann, 4005, CHI_SPAN("be nice")), 0);
    ck_assert(fake(ann)->open); /* not before the turn: the caller may stand in delivery's flush */
    ck_assert_int_eq(chi_hub_eject(world->hub, ann, 4005, CHI_SPAN("again")), CHATHUB_EGONE);
    turns();
    ck_assert_int_eq(fake(ann)->close_code, 4005);
    ck_hears(ann, "bye be nice");
    ck_assert_int_eq(chi_hub_eject(world->hub, ann, 4005, CHI_SPAN("again")), CHATHUB_EGONE);
    pass(1000);
    ck_assert_ptr_null(strstr(heard(bob), "-[ann]")); /* it may come back … */
    ck_assert_int_eq(chi_hub_eject(world->hub, bob, 1000, (struct chi_span){NULL, 0}), 0);
    turns();
    ck_assert_ptr_null(strstr(heard(bob), "bye"));
}
END_TEST

START_TEST(a_thousand_ends_its_session)
{
    uint64_t ann = person("ann", "tea"), bob = person("bob", "tea");
    pass(1000);
    heard(bob);
    chi_hub_eject(world->hub, ann, 1000, CHI_SPAN(""));
    pass(1000);
    ck_hears(bob, "-[ann]");
}
END_TEST

/* How it is going to speak is not known: words could be in the wrong tongue. */
START_TEST(who_has_said_nothing_is_told_nothing)
{
    uint64_t id = opened(false);
    chi_hub_eject(world->hub, id, 1008, CHI_SPAN("no"));
    turns();
    ck_heard_nothing(id);
    ck_assert_int_eq(fake(id)->close_code, 1008);
}
END_TEST

START_TEST(who_went_meanwhile_is_left_alone)
{
    uint64_t ann = person("ann", "tea");
    chi_hub_eject(world->hub, ann, 4000, CHI_SPAN("out"));
    chi_hub_client_closed(world->hub, ann, "left");
    uint64_t bob = person("bob", "tea"); /* the same slot */
    ck_assert_uint_eq(chi_hub_client_slot(bob), chi_hub_client_slot(ann));
    turns();
    ck_assert(fake(bob)->open);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core_host");
    TCase *tc = tcase_create("host");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, an_entry_is_erased_and_the_host_is_told);
    tcase_add_test(tc, nobody_need_be_in_the_room);
    tcase_add_test(tc, what_is_not_there_cannot_be_erased);
    tcase_add_test(tc, the_host_needs_no_leave_to_open_a_room);
    tcase_add_test(tc, a_log_that_cannot_says_so);
    tcase_add_test(tc, the_next_request_waits_for_a_redaction);
    tcase_add_test(tc, it_is_done_though_its_client_went);
    tcase_add_test(tc, the_end_of_the_hub_ends_it);
    tcase_add_test(tc, a_client_that_is_ended_is_told_why);
    tcase_add_test(tc, a_thousand_ends_its_session);
    tcase_add_test(tc, who_has_said_nothing_is_told_nothing);
    tcase_add_test(tc, who_went_meanwhile_is_left_alone);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
