/* Thousands of sessions of another node: what each costs does not grow with how many there are, and
 * no turn is about all of them. Linked with --wrap: steps from one thing of a chain to the next are
 * counted. */
#define CLIENTS 64
#include "core_cluster.h"

#define MANY 5000u

static uint64_t steps;

void *__real_chi_chain_next(struct chi_chained kind, uint32_t first, const void *item);
void *__wrap_chi_chain_next(struct chi_chained kind, uint32_t first, const void *item);

void *__wrap_chi_chain_next(struct chi_chained kind, uint32_t first, const void *item)
{
    steps++;
    return __real_chi_chain_next(kind, first, item);
}

static void setup(void)
{
    node_new(10);
    world->settings.max_members = 2 * MANY;
    all_pass(100);
}

static void teardown(void)
{
    cluster_free();
}

static void say(uint64_t node, uint8_t kind, uint64_t count, struct chi_span items)
{
    struct chi_buf out = {0};
    chi_wire_add_head(&out,
                      &(struct chi_wire_head){
                          .kind = kind, .node = node, .count = count, .epoch = span(world->epoch)});
    chi_buf_add(&out, items.at, items.len);
    here()->up.heard(here()->up.hub, (struct chi_span){out.at, out.len});
    chi_buf_fini(&out);
}

static void add_session(struct chi_buf *out, uint32_t i)
{
    char user[32], name[32];

    snprintf(user, sizeof user, "user-%011u", i);
    snprintf(name, sizeof name, "n%u", i);
    size_t item = chi_wire_begin(out, CHI_WIRE_SESSION);
    chi_buf_add(out, user, CHI_USER_LEN);
    chi_wire_add_number(out, 7, 8);
    chi_wire_add_number(out, 5, 8);
    chi_wire_add_number(out, CHI_WIRE_CONNECTED | CHI_WIRE_RETURNS, 1);
    chi_wire_add_text(out, span(name));
    chi_wire_add_text(out, CHI_SPAN(""));
    chi_wire_add_number(out, 1, 2);
    chi_wire_add_text(out, CHI_SPAN("tea"));
    chi_wire_add_number(out, 0, 8);
    chi_wire_add_number(out, 0, 1);
    chi_wire_end(out, item);
}

static void say_session(uint64_t node, uint64_t count, uint32_t i)
{
    struct chi_buf out = {0};

    add_session(&out, i);
    say(node, CHI_WIRE_DIFFERENCES, count, (struct chi_span){out.at, out.len});
    chi_buf_fini(&out);
}

/* Sessions of a node that begins to be heard with them, in one room. */
static void say_sessions(uint64_t node, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        say_session(node, i - from + 1, i);
        if (i % 256 == 255)
            chi_hub_turn(world->hub);
    }
    turns();
}

/* Somebody who ended lingers, with posts under way. */
static uint64_t lingers(const char *room, const char *other)
{
    uint64_t ann = person("ann", room);
    if (other)
        join(ann, other);
    turns();
    world->log_stopped = true;
    post(ann, room, "one");
    if (other)
        post(ann, other, "two");
    if (other)
        post(ann, room, "three");
    chi_hub_turn(world->hub);
    chi_hub_close_client(world->hub, ann, 1000, CHI_SPAN(""));
    chi_hub_turn(world->hub);
    return ann;
}

START_TEST(who_lingers_elsewhere_costs_others_nothing)
{
    lingers("milk", NULL);
    ck_assert_uint_gt(world->hub->sessions.used, world->hub->counts.sessions);
    say_sessions(99, 0, 500);
    steps = 0;
    for (uint32_t i = 500; i < 600; i++)
        say_session(99, i + 1, i);
    ck_assert_uint_eq(world->hub->nodes->remote, 600);
    ck_assert_uint_lt(steps, 1000);
    world->log_stopped = false;
    turns();
    pass(5000);
    ck_assert_uint_eq(world->hub->sessions.used, world->hub->counts.sessions);
}
END_TEST

/* Where it lingers a session is told to be once, however its posts follow each other. */
START_TEST(a_place_that_lingers_is_told_once)
{
    lingers("milk", "tea");
    uint64_t again = opened(false); /* into no room */
    hello(again, "ann", "key-of-ann-0000000000000000000");
    chi_hub_turn(world->hub);
    struct chi_session *session = chi_core_client(world->hub, again)->session;
    ck_assert_ptr_nonnull(chi_session_lingering(world->hub, session->user));

    struct chi_buf out = {0};
    chi_wire_add_session(world->hub, &out, CHI_WIRE_SESSION, session);
    struct chi_wire wire = {.left = {out.at, out.len}}, item;
    struct chi_wire_session said;
    uint8_t kind;
    ck_assert(chi_wire_read_item(&wire, &kind, &item));
    ck_assert(chi_wire_read_session(&item, &said));
    ck_assert_uint_eq(said.rooms, 2);
    chi_buf_fini(&out);
    world->log_stopped = false;
    turns();
}
END_TEST

/* Of one who ends time and again in different rooms each place is found, and comes back as it was. */
START_TEST(several_that_linger_are_found_by_their_user)
{
    static const char *const rooms[] = {"tea", "milk", "wine"};
    uint64_t bob = person("bob", "tea");
    for (uint32_t i = 0; i < 3; i++) {
        join(bob, rooms[i]);
        turns();
    }
    heard(bob);
    for (uint32_t i = 0; i < 3; i++) {
        world->log_stopped = false;
        turns();
        uint64_t ann = person("ann", rooms[i]);
        turns();
        world->log_stopped = true;
        post(ann, rooms[i], "x");
        chi_hub_close_client(world->hub, ann, 1000, CHI_SPAN(""));
        turns();
    }
    check_books();
    world->log_stopped = false;
    turns();
    pass(5000);
    ck_assert_uint_eq(world->hub->sessions.used, world->hub->counts.sessions);
    ck_assert_uint_eq(world->hub->by_user.count, 1);
}
END_TEST

/* ---------------------------------------------------------------------- thousands that end at once */

static uint64_t people(void)
{
    return world->hub->nodes->remote;
}

/* Turns until nobody is left; each may only end so many. Answers how many turns it took. */
static uint32_t end_by_turns(uint64_t left)
{
    uint32_t turn = 0;
    for (; people() > left; turn++) {
        uint64_t before = people();
        ck_assert_uint_eq(chi_hub_next(world->hub), 0);
        chi_hub_turn(world->hub);
        check_books();
        ck_assert_uint_le(before - people(), CHI_NODES_ENDS);
        ck_assert_uint_lt(people(), before);
    }
    return turn;
}

/* A beat of this node finds that the other one was not heard of for a lease. */
static void lease_over(void)
{
    uint64_t before = people();
    for (int i = 0; i < 200 && world->hub->nodes->nodes.used && !world->hub->nodes->ends; i++) {
        world->now += 100;
        chi_hub_turn(world->hub);
    }
    ck_assert_uint_ge(people() + CHI_NODES_ENDS, before);
    ck_assert(world->hub->nodes->ends);
}

START_TEST(a_dead_nodes_thousands_end_in_several_turns)
{
    say_sessions(99, 0, MANY);
    ck_assert_uint_eq(people(), MANY);
    lease_over();
    ck_assert_uint_ge(end_by_turns(0), 2);
    turns();
    ck_assert_uint_eq(world->hub->nodes->nodes.used, 0);
    ck_assert_uint_eq(world->hub->members.used, 0);
}
END_TEST

START_TEST(a_node_that_comes_back_meanwhile_is_believed)
{
    say_sessions(99, 0, MANY);
    lease_over();
    chi_hub_turn(world->hub);
    ck_assert_uint_gt(people(), 100);
    for (uint32_t i = 0; i < 10; i++) /* some that have ended, and some that have not */
        say_session(99, i + 1, i % 2 ? i : MANY - 1 - i);
    say_session(98, 1, MANY - 100); /* elsewhere, its version the same */
    check_books();
    end_by_turns(11);
    turns();
    ck_assert_uint_eq(people(), 11);
    ck_assert_uint_eq(world->hub->nodes->nodes.used, 2);
}
END_TEST

START_TEST(who_comes_here_meanwhile_goes_on_at_once)
{
    say_sessions(99, 0, MANY);
    lease_over();
    struct chi_session *last = NULL;
    for (uint32_t i = 0; i < world->hub->sessions.made; i++) {
        struct chi_session *one = chi_slots_at(&world->hub->sessions, i);
        last = one && one->remote && !one->ended ? one : last;
    }
    struct chi_job job = {.hub = world->hub};
    ck_assert_int_eq(chi_nodes_take(world->hub, &job, last), 0);
    ck_assert(!last->remote);
    end_by_turns(0);
    turns();
    ck_assert_uint_eq(world->hub->counts.sessions, 1);
}
END_TEST

static void say_all(uint64_t node, uint32_t named)
{
    struct chi_buf out = {0};
    size_t item = chi_wire_begin(&out, CHI_WIRE_PART);
    chi_wire_add_number(&out, 1, 4);
    chi_wire_add_number(&out, 1, 1);
    chi_wire_end(&out, item);
    for (uint32_t i = 0; i < named; i++)
        add_session(&out, i);
    say(node, CHI_WIRE_ALL, 0, (struct chi_span){out.at, out.len});
    chi_buf_fini(&out);
}

START_TEST(thousands_that_are_not_named_end_in_several_turns)
{
    say_sessions(99, 0, MANY); /* its first message: all is asked for */
    say_all(99, 3);
    ck_assert_uint_eq(people(), MANY);
    say_session(99, MANY + 1, MANY - 1); /* and is there again */
    ck_assert_uint_ge(end_by_turns(4), 2);
    turns();
    ck_assert_uint_eq(people(), 4);
}
END_TEST

START_TEST(a_node_that_stops_leaves_thousands_in_several_turns)
{
    world->settings.return_time = 60000;
    world->settings.max_sessions = 2 * MANY;
    say_sessions(99, 0, MANY);
    say(99, CHI_WIRE_BYE, MANY, CHI_SPAN(""));
    ck_assert_uint_eq(people(), MANY);
    ck_assert_uint_ge(end_by_turns(0), 2); /* this one keeps them */
    turns();
    ck_assert_uint_eq(world->hub->lost_count, MANY);
}
END_TEST

START_TEST(who_stops_itself_keeps_all_first)
{
    world->settings.return_time = 60000;
    world->settings.max_sessions = 2 * MANY;
    say_sessions(99, 0, MANY);
    say(99, CHI_WIRE_BYE, MANY, CHI_SPAN(""));
    chi_nodes_bye(world->hub);
    ck_assert_uint_eq(people(), 0);
    ck_assert_uint_eq(world->hub->lost_count, MANY);
    check_books();
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core_nodes_many");
    TCase *t = tcase_create("many");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, who_lingers_elsewhere_costs_others_nothing);
    tcase_add_test(t, a_place_that_lingers_is_told_once);
    tcase_add_test(t, several_that_linger_are_found_by_their_user);
    tcase_add_test(t, a_dead_nodes_thousands_end_in_several_turns);
    tcase_add_test(t, a_node_that_comes_back_meanwhile_is_believed);
    tcase_add_test(t, who_comes_here_meanwhile_goes_on_at_once);
    tcase_add_test(t, thousands_that_are_not_named_end_in_several_turns);
    tcase_add_test(t, a_node_that_stops_leaves_thousands_in_several_turns);
    tcase_add_test(t, who_stops_itself_keeps_all_first);
    suite_add_tcase(suite, t);
    return unit_run(suite);
}
