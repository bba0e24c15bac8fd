/* Cids that are remembered in memory. */
#include "unit.h"

#include <string.h>

#include "log/cids.h"

static const uint8_t secret[48] = "the tests' own, which is known to everybody....";

/* The n-th cid there could be. */
static struct chi_cid number(uint64_t n)
{
    return (struct chi_cid){.key = {n, ~n}, .position = n + 1, .since = (uint32_t)n};
}

static void add(struct chi_cids *cids, uint64_t n, uint64_t position)
{
    struct chi_cid cid = number(n);
    cid.position = position;
    ck_assert_int_eq(chi_cids_add(cids, &cid), 0);
}

/* Position of the n-th; 0: it is not remembered. */
static uint64_t find(const struct chi_cids *cids, uint64_t n)
{
    struct chi_cid like = number(n);
    const struct chi_cid *is = chi_cids_find(cids, &like);
    return is ? is->position : 0;
}

START_TEST(those_that_are_taken_back_never_were)
{
    struct chi_cids cids;
    chi_cids_init(&cids, secret);
    for (uint64_t round = 1; round < 200; round++) {
        uint32_t before = cids.count;
        for (uint64_t n = 0; n < round; n++)
            add(&cids, round * 1000 + n, n + 1);
        chi_cids_undo(&cids, (uint32_t)(round / 2));
        ck_assert_uint_eq(cids.count, before + round - round / 2);
        for (uint64_t n = 0; n < round; n++)
            ck_assert_uint_eq(find(&cids, round * 1000 + n), n < round - round / 2 ? n + 1 : 0);
        chi_cids_drop(&cids, cids.count / 3); /* so that places go round */
    }
    chi_cids_undo(&cids, cids.count);
    ck_assert_uint_eq(cids.count, 0);
    add(&cids, 1, 1);
    ck_assert_uint_eq(find(&cids, 1), 1);
    chi_cids_fini(&cids);
}
END_TEST

START_TEST(the_oldest_are_dropped)
{
    struct chi_cids cids;
    chi_cids_init(&cids, secret);
    for (uint64_t n = 0; n < 1000; n++)
        add(&cids, n, n + 1);
    chi_cids_drop(&cids, 300);
    for (uint64_t n = 0; n < 1000; n++)
        ck_assert_uint_eq(find(&cids, n), n < 300 ? 0 : n + 1);
    ck_assert_uint_eq(chi_cids_at(&cids, 0)->position, 301);
    ck_assert_uint_eq(chi_cids_at(&cids, 699)->position, 1000);
    chi_cids_expire(&cids, 400);
    ck_assert_uint_eq(chi_cids_at(&cids, 0)->position, 401);
    chi_cids_drop(&cids, 600);
    ck_assert_uint_eq(chi_cids_memory(&cids), 0);
    chi_cids_fini(&cids);
}
END_TEST

/* Also after it has grown, when its index was made anew: that is where the oldest is not at the
 * first place. */
START_TEST(one_that_was_forgotten_can_be_remembered_anew)
{
    for (uint32_t gone = 0; gone < 2; gone++) {
        struct chi_cids cids;
        chi_cids_init(&cids, secret);
        struct chi_cid like = number(7);
        chi_cids_forget(&cids, &like); /* there is none */
        for (uint64_t n = 0; n < 50; n++)
            add(&cids, n, n + 1);
        chi_cids_drop(&cids, gone);
        chi_cids_forget(&cids, &like);
        ck_assert_uint_eq(find(&cids, 7), 0);
        ck_assert_uint_eq(cids.count, 50 - gone);
        ck_assert_uint_eq(chi_cids_at(&cids, 7 - gone)->position, 0);
        add(&cids, 7, 1000);
        for (uint64_t n = 50; n < 500; n++) {
            add(&cids, n, n + 1);
            ck_assert_uint_eq(find(&cids, 7), 1000);
        }
        chi_cids_drop(&cids, 8 - gone); /* its old place too */
        ck_assert_uint_eq(find(&cids, 7), 1000);
        chi_cids_forget(&cids, &like);
        ck_assert_uint_eq(find(&cids, 7), 0);
        for (uint64_t n = 8; n < 500; n++)
            ck_assert_uint_eq(find(&cids, n), n + 1);
        chi_cids_fini(&cids);
    }
}
END_TEST

START_TEST(what_is_handed_over_is_found_there_alone)
{
    struct chi_cids from, to;
    chi_cids_init(&from, secret);
    chi_cids_init(&to, secret);
    for (uint64_t n = 0; n < 100; n++)
        add(&from, n, n + 1);
    chi_cids_drop(&from, 10);
    chi_cids_move(&from, &to);
    ck_assert_uint_eq(from.count, 0);
    ck_assert_uint_eq(chi_cids_memory(&from), 0);
    for (uint64_t n = 0; n < 100; n++) {
        ck_assert_uint_eq(find(&from, n), 0);
        ck_assert_uint_eq(find(&to, n), n < 10 ? 0 : n + 1);
    }
    add(&from, 5, 5);
    chi_cids_fini(&from);
    ck_assert_uint_eq(find(&to, 99), 100);
    chi_cids_fini(&to);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cids");
    TCase *tcase = tcase_create("cids");
    tcase_add_test(tcase, those_that_are_taken_back_never_were);
    tcase_add_test(tcase, the_oldest_are_dropped);
    tcase_add_test(tcase, one_that_was_forgotten_can_be_remembered_anew);
    tcase_add_test(tcase, what_is_handed_over_is_found_there_alone);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
