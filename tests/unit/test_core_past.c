/* What is asked of the log: where the last N entries begin, once for all who come at the same time,
 * and history, which sees what its client said before. */
#include "core/internal.h"
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

static uint32_t reads_waiting(void)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < world->op_count; i++)
        n += world->ops[i].kind == OP_READ;
    return n;
}

/* People who are there, but in no room yet. */
static void gather(uint64_t *people, int n)
{
    char name[16];
    for (int i = 0; i < n; i++) {
        snprintf(name, sizeof name, "p%d", i);
        people[i] = person(name, NULL);
    }
}

START_TEST(many_who_come_at_once_cost_one_look)
{
    uint64_t people[20], writer = person("writer", "tea");
    for (int i = 0; i < 10; i++)
        post(writer, "tea", "x");
    turns();
    gather(people, 20);
    world->log_stopped = true;
    for (int i = 0; i < 20; i++)
        join_at(people[i], "tea", (struct chi_start){.kind = CHI_START_LAST, .count = 3});
    ck_assert_uint_eq(reads_waiting(), 1);
    world->log_stopped = false;
    turns();
    for (int i = 0; i < 20; i++)
        ck_hears(people[i], "joined tea");
}
END_TEST

START_TEST(another_entry_or_another_number_is_another_look)
{
    uint64_t people[4], writer = person("writer", "tea");
    for (int i = 0; i < 10; i++)
        post(writer, "tea", "x");
    turns();
    gather(people, 4);
    join_at(people[0], "tea", (struct chi_start){.kind = CHI_START_LAST, .count = 3});
    turns();
    world->log_stopped = true;
    join_at(people[1], "tea", (struct chi_start){.kind = CHI_START_LAST, .count = 3});
    ck_assert_uint_eq(reads_waiting(), 0); /* known since the first */
    join_at(people[2], "tea", (struct chi_start){.kind = CHI_START_LAST, .count = 4});
    ck_assert_uint_eq(reads_waiting(), 1);
    world->log_stopped = false;
    turns();
    post(writer, "tea", "y");
    turns();
    world->log_stopped = true;
    join_at(people[3], "tea", (struct chi_start){.kind = CHI_START_LAST, .count = 4});
    ck_assert_uint_eq(reads_waiting(), 1);
    world->log_stopped = false;
    turns();
    ck_hears(people[3], "joined tea");
}
END_TEST

START_TEST(what_was_found_is_kept_while_it_serves_and_not_by_an_idle_room)
{
    uint64_t people[3], writer = person("writer", "tea");
    for (int i = 0; i < 10; i++)
        post(writer, "tea", "x");
    turns();
    gather(people, 3);
    struct chi_room *room = chi_core_room_find(world->hub, CHI_SPAN("tea"));
    join_at(people[0], "tea", (struct chi_start){.kind = CHI_START_LAST, .count = 3});
    turns();
    pass(3000);
    join_at(people[1], "tea", (struct chi_start){.kind = CHI_START_LAST, .count = 3});
    turns();
    pass(3000); /* the last one to whom it was of use came 3 s ago */
    ck_assert_ptr_nonnull(room->busy);
    pass(3000);
    ck_assert_ptr_null(room->busy);
    world->log_stopped = true;
    join_at(people[2], "tea", (struct chi_start){.kind = CHI_START_LAST, .count = 3});
    ck_assert_uint_eq(reads_waiting(), 1);
    world->log_stopped = false;
    turns();
    ck_hears(people[2], "joined tea");
}
END_TEST

START_TEST(who_goes_while_it_is_looked_up_is_not_waited_for)
{
    uint64_t people[3], writer = person("writer", "tea");
    post(writer, "tea", "x");
    turns();
    gather(people, 3);
    world->log_stopped = true;
    for (int i = 0; i < 3; i++)
        join_at(people[i], "tea", (struct chi_start){.kind = CHI_START_LAST, .count = 3});
    chi_hub_client_closed(world->hub, people[0], "gone");
    chi_hub_client_closed(world->hub, people[1], "gone");
    chi_hub_client_closed(world->hub, writer, "left");
    turns();
    world->log_stopped = false;
    turns();
    ck_hears(people[2], "joined tea");
}
END_TEST

START_TEST(history_sees_what_its_client_said_before)
{
    uint64_t alice = person("alice", "tea");
    world->log_stopped = true;
    post(alice, "tea", "mine");
    ck_assert_int_eq(ask(alice, CHI_REQUEST_HISTORY, "tea"), CHI_NEXT_WAIT);
    ck_assert_uint_eq(reads_waiting(), 0);
    world->log_stopped = false;
    turns();
    const char *all = heard(alice);
    ck_assert_msg(strstr(all, "history 1 ref=9") != NULL, "heard:\n%s", all);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("core past");
    TCase *t = tcase_create("past");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, many_who_come_at_once_cost_one_look);
    tcase_add_test(t, another_entry_or_another_number_is_another_look);
    tcase_add_test(t, what_was_found_is_kept_while_it_serves_and_not_by_an_idle_room);
    tcase_add_test(t, who_goes_while_it_is_looked_up_is_not_waited_for);
    tcase_add_test(t, history_sees_what_its_client_said_before);
    suite_add_tcase(s, t);
    return unit_run(s);
}
