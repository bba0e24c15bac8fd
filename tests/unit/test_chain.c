/* Chains of things in slots: order, and removal from anywhere. */
#include "unit.h"

#include "core/chain.h"

struct thing {
    struct chi_slot slot;
    struct chi_chain links;
};

START_TEST(a_chain_keeps_the_order_and_gives_up_any_of_its_things)
{
    struct chi_slots slots;
    chi_slots_init(&slots, sizeof(struct thing));
    const struct chi_chained kind = CHI_CHAINED(&slots, struct thing, links);
    uint32_t first = 0;
    struct thing *things[4];

    for (int i = 0; i < 4; i++) {
        things[i] = chi_slots_take(&slots);
        ck_assert_ptr_nonnull(things[i]);
        chi_chain_append(kind, &first, things[i]);
    }
    chi_chain_remove(kind, &first, things[3]); /* the last, one between, the first */
    chi_chain_remove(kind, &first, things[1]);
    ck_assert_ptr_eq(chi_chain_first(kind, first), things[0]);
    ck_assert_ptr_eq(chi_chain_next(kind, first, things[0]), things[2]);
    ck_assert_ptr_null(chi_chain_next(kind, first, things[2]));
    chi_chain_remove(kind, &first, things[0]);
    chi_chain_append(kind, &first, things[1]);
    ck_assert_ptr_eq(chi_chain_first(kind, first), things[2]);
    ck_assert_ptr_eq(chi_chain_next(kind, first, things[2]), things[1]);
    chi_chain_remove(kind, &first, things[3]); /* in no chain */
    chi_chain_remove(kind, &first, things[2]);
    chi_chain_remove(kind, &first, things[1]);
    ck_assert(!first && !chi_chain_linked(&things[1]->links));
    chi_slots_fini(&slots);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chain");
    TCase *tcase = tcase_create("chain");
    tcase_add_test(tcase, a_chain_keeps_the_order_and_gives_up_any_of_its_things);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
