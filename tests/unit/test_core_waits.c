/* Posts that wait until the members of their room are behind no more. */
#include "core/internal.h"
#include "core_world.h"

#define TEA 0u /* the first room that is opened */

static void setup(void)
{
    world_new(1);
    ck_assert_int_eq(world_start(), 0);
}

static void teardown(void)
{
    world_free();
}

static void catch_up(void)
{
    const struct chi_delivery_up *up = chi_hub_delivery_up(world->hub);
    world->rooms[TEA].behind = false;
    up->caught_up(up->hub, TEA);
    turns();
}

START_TEST(a_post_waits_while_its_room_is_behind)
{
    uint64_t ann = person("ann", "tea"), bob = person("bob", "tea");
    world->rooms[TEA].behind = true;
    uint32_t reads = fake(ann)->reads;
    heard(bob);
    ck_assert_int_eq(post(ann, "tea", "one"), CHI_NEXT_WAIT);
    turns();
    ck_heard_nothing(bob);
    ck_assert_uint_eq(fake(ann)->reads, reads);
    catch_up();
    ck_hears(bob, "chat ann: one");
    ck_assert_uint_eq(fake(ann)->reads, reads + 1);
}
END_TEST

START_TEST(it_waits_again_where_others_were_faster)
{
    uint64_t ann = person("ann", "tea"), bob = person("bob", "tea");
    const struct chi_delivery_up *up = chi_hub_delivery_up(world->hub);
    world->rooms[TEA].behind = true;
    post(ann, "tea", "one");
    heard(bob);
    up->caught_up(up->hub, TEA); /* and it is behind again before ann has her turn */
    turns();
    ck_heard_nothing(bob);
    catch_up();
    ck_hears(bob, "chat ann: one");
}
END_TEST

START_TEST(other_rooms_and_other_requests_go_on)
{
    uint64_t ann = person("ann", "tea"), bob = person("bob", "tea");
    world->rooms[TEA].behind = true;
    post(ann, "tea", "one");
    join(bob, "pub");
    turns();
    ck_assert_int_eq(post(bob, "pub", "two"), CHI_NEXT_READ);
    turns();
    ck_hears(bob, "chat bob: two");
    catch_up();
    ck_hears(bob, "chat ann: one");
}
END_TEST

START_TEST(who_goes_meanwhile_posts_no_more)
{
    uint64_t ann = person("ann", "tea"), bob = person("bob", "tea");
    world->rooms[TEA].behind = true;
    post(ann, "tea", "one");
    chi_hub_client_closed(world->hub, ann, "gone");
    turns();
    heard(bob);
    catch_up();
    ck_assert_ptr_null(strstr(heard(bob), "one"));
}
END_TEST

/* What the room keeps for it is not given back under a post that waits for long. */
START_TEST(it_may_take_long)
{
    uint64_t ann = person("ann", "tea"), bob = person("bob", "tea");
    world->rooms[TEA].behind = true;
    post(ann, "tea", "one");
    pass(60000);
    heard(bob);
    catch_up();
    ck_hears(bob, "chat ann: one");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("core_waits");
    TCase *t = tcase_create("waits");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, a_post_waits_while_its_room_is_behind);
    tcase_add_test(t, it_waits_again_where_others_were_faster);
    tcase_add_test(t, other_rooms_and_other_requests_go_on);
    tcase_add_test(t, who_goes_meanwhile_posts_no_more);
    tcase_add_test(t, it_may_take_long);
    suite_add_tcase(suite, t);
    return unit_run(suite);
}
