/* The hub where allocations fail: linked with --wrap, as test_oom. Each refusal leaves its books
 * in order. */
#include "core_storm.h"
#include "oom.h"

static bool failing;      /* the hub's allocations fail now and then */
static uint64_t refusals; /* so often they did */
static uint64_t dice = 88172645463325252u;

static bool fails(void)
{
    if (!failing)
        return false;
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    bool fail = (dice >> 30) % 4 == 0;
    refusals += fail;
    return fail;
}

static void sometimes(void)
{
    failing = pick(2);
    world->join_result = pick(20) ? 0 : CHATHUB_ENOMEM;
    if (failing && pick(10) == 0)
        world->reply_result = CHATHUB_ENOMEM;
    else if (world->reply_result < 0)
        world->reply_result = 0;
}

static void start(void)
{
    for (;;) { /* until by chance everything succeeds */
        failing = true;
        int r = world_start();
        failing = false;
        if (r == 0)
            return;
        ck_assert_int_eq(r, CHATHUB_ENOMEM);
    }
}

START_TEST(without_memory_the_books_still_agree)
{
    for (uint64_t seed = 1; seed <= 150; seed++) {
        storm_init(seed);
        start();
        storm_run(seed, 600, sometimes);
        failing = false;
        world->join_result = world->reply_result = 0;
        storm_end(1);
        world_free();
    }
    ck_assert_uint_gt(refusals, 1000);
}
END_TEST

START_TEST(entries_and_requests_are_copied_whole_or_not_at_all)
{
    static struct chi_request r = {
        .type = CHI_REQUEST_HELLO, .name = {"abc", 3}, .session = {"", 0}};
    struct chi_entry_parts parts = {.sender = {"alice", 5}, .content = {"hi", 2}};
    r.resume_count = 2;
    r.resume[1].room = CHI_SPAN("tea");
    r.resume[1].start.epoch = CHI_SPAN("epoch");
    for (int i = 0; i < 50; i++) {
        failing = true;
        struct chi_request *copy = chi_request_copy(&r);
        struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
        failing = false;
        if (copy) {
            ck_assert(chi_span_is(copy->name, "abc") && copy->name.at != r.name.at);
            ck_assert(copy->session.at && !copy->session.len && !copy->content.at);
            ck_assert(chi_span_is(copy->resume[1].room, "tea"));
            ck_assert(chi_span_is(copy->resume[1].start.epoch, "epoch"));
        }
        if (entry) {
            struct chi_entry_parts read = chi_entry_read(entry);
            ck_assert(chi_span_is(read.sender, "alice") && chi_span_is(read.content, "hi"));
            ck_assert(!read.cid.at && !read.data.at);
            ck_assert_uint_eq(chi_entry_size(entry), sizeof *entry + 7);
        }
        free(copy);
        chi_entry_unref(entry);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("core oom");
    TCase *t = tcase_create("oom");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, without_memory_the_books_still_agree);
    tcase_add_test(t, entries_and_requests_are_copied_whole_or_not_at_all);
    suite_add_tcase(s, t);
    return unit_run(s);
}
