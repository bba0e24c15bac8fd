/* The queue of events, where it is full and where there is no memory; and hubs with a thread, of
 * which any allocation fails. */
#include "unit.h"

#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "dialect/dialect.h"
#include "net/queue.h"
#include "oom.h"

static _Thread_local long until = -1; /* allocations that still succeed; -1: all */

static bool fails(void)
{
    return until >= 0 && until-- == 0;
}

static bool is_readable(int fd)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

static struct chi_queue *queue_new(const uint64_t *limit)
{
    struct chi_queue *queue;
    ck_assert_int_eq(chi_queue_new(limit, &queue), 0);
    return queue;
}

/* Records of errors with these numbers as their refs. */
static void add_records(struct chi_buf *out, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        char ref[16];
        snprintf(ref, sizeof(ref), "%u", i);
        struct chi_reply reply = {
            .type = CHI_REPLY_ERROR, .code = CHATHUB_EGONE, .ref = chi_span_of(ref)};
        chi_dialect_local.encode_reply(out, &reply);
    }
}

/* Takes, and looks whether events go on from *next. */
static int take(struct chi_queue *queue, uint32_t *next, bool *drained)
{
    struct chathub_batch batch = {.size = sizeof(batch)};
    int count = chi_queue_take(queue, &batch, drained);
    for (uint32_t i = 0; i < batch.count; i++)
        ck_assert_uint_eq(strtoul(batch.events[i].ref, NULL, 10), (*next)++);
    return count;
}

START_TEST(records_come_in_as_far_as_there_is_room_and_memory)
{
    uint64_t limit = 4096;
    struct chi_queue *queue = queue_new(&limit);
    struct chi_buf records = {0};
    uint32_t next = 0, round = 0;
    bool drained;
    add_records(&records, 0, 1000);
    ck_assert(!is_readable(chi_queue_fd(queue)));
    for (size_t at = 0; at < records.len || next < 1000;) {
        until = round % 3 ? -1 : (long)(round / 3 % 3);
        round++;
        size_t done = chi_queue_add_records(queue, 7, records.at + at, records.len - at, false);
        until = -1;
        at += done;
        chi_queue_tell(queue);
        ck_assert(is_readable(chi_queue_fd(queue)) == (done > 0));
        bool full = !chi_queue_has_room(queue);
        ck_assert(chi_queue_is_starved(queue) == (at < records.len && !full));
        int count = take(queue, &next, &drained);
        ck_assert(count * (int)sizeof(struct chathub_event) <= 4096 + 1024);
        ck_assert(full == drained);
        ck_assert(!is_readable(chi_queue_fd(queue)));
    }
    ck_assert_uint_eq(next, 1000);
    size_t more = chi_queue_add_records(queue, 7, records.at, records.len, true);
    ck_assert_uint_eq(more, records.len); /* beyond its bound */
    next = 0;
    ck_assert_int_eq(take(queue, &next, &drained), 1000);
    chi_buf_fini(&records);
    chi_queue_free(queue);
}
END_TEST

START_TEST(stopped_is_told_though_there_was_no_memory_at_first)
{
    uint64_t limit = 4096;
    struct chi_queue *queue = queue_new(&limit);
    struct chathub_batch batch = {.size = sizeof(batch)};
    struct chathub_event event = {.type = CHATHUB_EVENT_LOG};
    bool drained;
    int fd = chi_queue_fd(queue);
    chi_queue_stop(queue, 5);
    until = 0;
    ck_assert_int_eq(chi_queue_take(queue, &batch, &drained), CHATHUB_ENOMEM);
    ck_assert_uint_eq(batch.count, 0);
    until = -1;
    ck_assert(is_readable(fd));
    ck_assert(!chi_queue_add(queue, &event, true)); /* nothing comes behind it */
    ck_assert_int_eq(chi_queue_take(queue, &batch, &drained), 1);
    ck_assert_uint_eq(batch.events[0].type, CHATHUB_EVENT_STOPPED);
    ck_assert_uint_eq(batch.events[0].count, 5);
    ck_assert_int_eq(chi_queue_take(queue, &batch, &drained), 0);
    ck_assert(!is_readable(fd));
    chi_queue_free(queue);
}
END_TEST

static bool ask(struct chi_queue *queue, uint64_t id, uint64_t end)
{
    char content[200];
    memset(content, 'c', sizeof(content));
    content[100] = '\0'; /* no end of the text for who splits texts there */
    struct chathub_event event = {.type = CHATHUB_EVENT_QUESTION,
                                  .id = id,
                                  .content = content,
                                  .content_len = sizeof(content)};
    return chi_queue_ask(queue, &event, end);
}

START_TEST(questions_wait_before_it_in_order_and_not_for_longer_than_they_live)
{
    uint64_t limit = 4096, asked = 0, next = 0;
    struct chi_queue *queue = queue_new(&limit);
    struct chathub_batch batch = {.size = sizeof(batch)};
    bool drained;
    while (ask(queue, asked, asked % 5 == 4 ? 10 : 1000)) /* some end at 10 */
        asked++;
    ck_assert_uint_gt(asked, 10); /* in the queue and before it … */
    ck_assert_uint_lt(asked, 40); /* … but not without a bound */
    ck_assert(!chi_queue_has_room(queue));
    ck_assert_uint_eq(chi_queue_add_records(queue, 7, "", 1, false), 0);
    int in_queue = chi_queue_take(queue, &batch, &drained);
    ck_assert(drained);
    ck_assert(!chi_queue_has_room(queue)); /* questions come first */
    struct chi_buf record = {0};
    struct chathub_event event = {.type = CHATHUB_EVENT_LOG};
    add_records(&record, 0, 1);
    ck_assert_uint_eq(chi_queue_add_records(queue, 7, record.at, record.len, false), 0);
    ck_assert(!chi_queue_add(queue, &event, false));
    chi_buf_fini(&record);
    for (uint64_t left = asked; left;) {
        for (uint32_t i = 0; i < batch.count; i++) {
            while (next >= (uint64_t)in_queue && next % 5 == 4)
                next++;
            ck_assert_uint_eq(batch.events[i].id, next++);
            ck_assert_uint_eq(strlen(batch.events[i].content), 200);
        }
        left = next < asked && !(next == asked - 1 && next % 5 == 4);
        until = 0;
        bool fine = chi_queue_turn(queue, 10);
        until = -1;
        ck_assert(!fine || !left); /* to be tried again soon */
        ck_assert(chi_queue_turn(queue, 10));
        ck_assert_int_ge(chi_queue_take(queue, &batch, &drained), 0);
    }
    ck_assert(chi_queue_has_room(queue));
    for (next = 0; ask(queue, next, 1000); next++) {
    }
    ck_assert_uint_ge(next, asked); /* what is gone counts no more */
    chi_queue_free(queue);
}
END_TEST

START_TEST(a_burst_does_not_keep_its_memory)
{
    uint64_t limit = 64u << 20;
    struct chi_queue *queue = queue_new(&limit);
    struct chi_buf records = {0};
    struct chathub_batch batch = {.size = sizeof(batch)};
    bool drained;
    add_records(&records, 0, 10000);
    ck_assert_uint_eq(chi_queue_add_records(queue, 7, records.at, records.len, false), records.len);
    ck_assert_int_eq(chi_queue_take(queue, &batch, &drained), 10000);
    const void *texts = batch.texts;
    ck_assert_int_eq(chi_queue_take(queue, &batch, &drained), 0);
    ck_assert_ptr_nonnull(texts);
    ck_assert_int_eq(chi_queue_take(queue, &batch, &drained), 0);
    ck_assert_ptr_null(batch.texts); /* that side had only this burst */
    chi_buf_fini(&records);
    chi_queue_free(queue);
}
END_TEST

START_TEST(a_hub_with_a_thread_starts_whole_or_not_at_all)
{
    long left = -1; /* allocations that might have failed and did not: then it is over */
    for (long n = 0; left < 0; n++) {
        struct chathub *hub = NULL;
        uint64_t id;
        until = n;
        int error = chathub_new(&hub);
        if (!error)
            error = chathub_queue_questions(hub, 1u << CHATHUB_HELLO);
        if (!error)
            error = chathub_queue_log(hub, CHATHUB_DEBUG);
        if (!error)
            error = chathub_start_thread(hub);
        if (!error)
            error = chathub_client(hub, NULL, NULL, NULL, &id);
        left = until;
        until = -1;
        ck_assert(!error || error == CHATHUB_ENOMEM || error == CHATHUB_EIO);
        ck_assert(left < 0 || !error);
        chathub_free(hub);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue_oom");
    TCase *tc = tcase_create("queue");
    tcase_add_test(tc, records_come_in_as_far_as_there_is_room_and_memory);
    tcase_add_test(tc, stopped_is_told_though_there_was_no_memory_at_first);
    tcase_add_test(tc, questions_wait_before_it_in_order_and_not_for_longer_than_they_live);
    tcase_add_test(tc, a_burst_does_not_keep_its_memory);
    tcase_add_test(tc, a_hub_with_a_thread_starts_whole_or_not_at_all);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
