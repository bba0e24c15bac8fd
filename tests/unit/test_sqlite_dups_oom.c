/* Linked with --wrap: every allocation of ours goes through here and fails when it is told to. */
#include "dups_world.h"
#include "oom.h"

static long until = -1; /* allocations that still succeed; -1: all */

static bool fails(void)
{
    return until >= 0 && until-- == 0;
}

START_TEST(an_opening_without_memory_says_so_and_leaves_nothing)
{
    struct world *w = world_new(200, 1);
    uint32_t refused = 0;
    int code;
    world_posts(w, 0, 200, 10);
    world_steps(w);
    world_posts(w, 200, 150, 10);
    world_close(w);
    world_connect(w);
    do {
        until = refused;
        code = world_try_open(w);
        until = -1;
        ck_assert(code == SQLITE_OK || code == SQLITE_NOMEM);
        refused += code != SQLITE_OK;
    } while (code != SQLITE_OK);
    ck_assert_uint_ge(refused, 5);
    world_check_all(w);
    world_free(w);
}
END_TEST

/* Each post and each step is tried with too little memory first, rolled back, and tried again. */
START_TEST(what_fails_for_want_of_memory_works_later)
{
    struct world *w = world_new(300, 2);
    uint32_t refused = 0, steps = 0;
    for (uint32_t n = 0; n < 1000; n++) {
        struct chi_cid cid = world_cid(w, n);
        cid.position = w->given + 1;
        cid.time = w->now;
        world_begin(w);
        until = n % 3;
        int code = chi_dups_add(w->dups, &cid);
        if (code == SQLITE_OK)
            code = chi_dups_write(w->dups);
        until = -1;
        ck_assert(code == SQLITE_OK || code == SQLITE_NOMEM);
        refused += code != SQLITE_OK;
        world_rollback(w);
        world_posts(w, n, 1, 1);
    }
    for (uint32_t n = 0; chi_dups_due(w->dups, world_since(w)); n++) {
        bool more;
        world_begin(w);
        until = n % 8;
        int code = chi_dups_step(w->dups, world_since(w), &more);
        until = -1;
        ck_assert(code == SQLITE_OK || code == SQLITE_NOMEM);
        refused += code != SQLITE_OK;
        world_rollback(w);
        world_check_all(w);
        if (n % 8 == 7) {
            world_step(w);
            steps++;
        }
    }
    ck_assert_uint_ge(refused, 20);
    ck_assert_uint_ge(steps, 10);
    world_reopen(w);
    world_check_all(w);
    world_free(w);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sqlite_dups_oom");
    TCase *tcase = tcase_create("sqlite_dups_oom");
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, an_opening_without_memory_says_so_and_leaves_nothing);
    tcase_add_test(tcase, what_fails_for_want_of_memory_works_later);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
