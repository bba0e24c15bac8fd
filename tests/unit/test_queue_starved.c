/* In-process clients while the queue of events has no memory, or while the host takes what is in it at
 * a wrong moment: linked with --wrap, so that this happens when a test wants it. */
#include "unit.h"

#include <poll.h>
#include <stdbool.h>
#include <string.h>

#include "net/queue.h"

static bool starves;
static struct chathub *taken_of; /* its host takes right behind the first refusal; or NULL */
static uint32_t entries;         /* that were taken */

size_t __real_chi_queue_add_records(struct chi_queue *queue, uint64_t client, const char *records,
                                    size_t len, bool beyond);
size_t __wrap_chi_queue_add_records(struct chi_queue *queue, uint64_t client, const char *records,
                                    size_t len, bool beyond);
bool __real_chi_queue_add(struct chi_queue *queue, const struct chathub_event *event, bool beyond);
bool __wrap_chi_queue_add(struct chi_queue *queue, const struct chathub_event *event, bool beyond);

bool __real_chi_queue_is_starved(const struct chi_queue *queue);
bool __wrap_chi_queue_is_starved(const struct chi_queue *queue);

static int take_entries(struct chathub *hub)
{
    struct chathub_batch batch = {.size = sizeof(batch)};
    int count = chathub_take(hub, &batch);
    for (uint32_t i = 0; i < batch.count; i++)
        entries += batch.events[i].type == CHATHUB_EVENT_MESSAGE;
    return count;
}

size_t __wrap_chi_queue_add_records(struct chi_queue *queue, uint64_t client, const char *records,
                                    size_t len, bool beyond)
{
    if (starves)
        return 0;
    size_t done = __real_chi_queue_add_records(queue, client, records, len, beyond);
    if (done < len && taken_of) {
        ck_assert_int_gt(take_entries(taken_of), 0);
        taken_of = NULL;
    }
    return done;
}

bool __wrap_chi_queue_is_starved(const struct chi_queue *queue)
{
    return starves || __real_chi_queue_is_starved(queue);
}

bool __wrap_chi_queue_add(struct chi_queue *queue, const struct chathub_event *event, bool beyond)
{
    return !starves && __real_chi_queue_add(queue, event, beyond);
}

static struct chathub *hub_started(void)
{
    struct chathub *hub = NULL;
    ck_assert_int_eq(chathub_new(&hub), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    return hub;
}

static void step_until_idle(struct chathub *hub)
{
    while (!chathub_timeout(hub))
        ck_assert_int_eq(chathub_step(hub, 0), 1);
}

/* The types of the next events, as bits. */
static uint64_t next_events(struct chathub *hub, uint64_t until)
{
    uint64_t types = 0;
    struct chathub_batch batch = {.size = sizeof(batch)};
    while (!(types & 1ull << until)) {
        if (!chathub_take(hub, &batch))
            ck_assert_int_eq(chathub_step(hub, -1), 1);
        for (uint32_t i = 0; i < batch.count; i++)
            types |= 1ull << batch.events[i].type;
    }
    return types;
}

START_TEST(events_come_when_there_is_memory_again)
{
    struct chathub *hub = hub_started();
    uint64_t id;
    ck_assert_int_eq(chathub_client(hub, "alice", NULL, NULL, &id), 0);
    ck_assert_int_eq(chathub_join(hub, id, "a", CHATHUB_START_NOW, 0), 0);
    ck_assert_int_eq(chathub_post(hub, id, "a", "text", 4, NULL), 0);
    starves = true;
    step_until_idle(hub);
    starves = false;
    uint64_t types = next_events(hub, CHATHUB_EVENT_MESSAGE);
    ck_assert(types & 1u << CHATHUB_EVENT_WELCOME);
    ck_assert(types & 1u << CHATHUB_EVENT_ACK);
    chathub_free(hub);
}
END_TEST

START_TEST(a_clients_end_comes_when_there_is_memory_again)
{
    struct chathub *hub = hub_started();
    uint64_t id;
    ck_assert_int_eq(chathub_client(hub, "alice", NULL, NULL, &id), 0);
    next_events(hub, CHATHUB_EVENT_WELCOME);
    ck_assert_int_eq(chathub_request(hub, id, "{\"type\":\"ping\"}", CHATHUB_NUL), 0);
    ck_assert_int_eq(chathub_close(hub, id), 0);
    starves = true;
    step_until_idle(hub);
    starves = false;
    uint64_t types = next_events(hub, CHATHUB_EVENT_CLOSED);
    ck_assert(types & 1u << CHATHUB_EVENT_PONG);
    ck_assert_int_eq(chathub_close(hub, id), CHATHUB_EGONE);
    chathub_free(hub);
}
END_TEST

static void ignore(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    (void)hub, (void)event, (void)arg;
}

static bool has_something_to_do(struct chathub *hub)
{
    struct pollfd fd = {.fd = chathub_fd(hub), .events = POLLIN};
    return !chathub_timeout(hub) || poll(&fd, 1, 0) > 0;
}

/* That is no want of memory, which is tried again a second later only. */
START_TEST(a_host_that_takes_right_behind_a_refusal_holds_nobody_up)
{
    enum { ENTRIES = 60 };
    struct chathub *hub = NULL;
    uint64_t writer, reader;
    char text[2000];
    memset(text, 'x', sizeof(text));
    entries = 0;
    ck_assert_int_eq(chathub_new(&hub), 0);
    ck_assert_int_eq(chathub_set(hub, "event-queue", "64k"), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    ck_assert_int_eq(chathub_client(hub, NULL, ignore, NULL, &writer), 0);
    ck_assert_int_eq(chathub_client(hub, NULL, NULL, NULL, &reader), 0);
    ck_assert_int_eq(chathub_join(hub, writer, "a", CHATHUB_START_NOW, 0), 0);
    ck_assert_int_eq(chathub_join(hub, reader, "a", CHATHUB_START_NOW, 0), 0);
    step_until_idle(hub);
    taken_of = hub;
    for (int i = 0; i < ENTRIES; i++)
        ck_assert_int_eq(chathub_post(hub, writer, "a", text, sizeof(text), NULL), 0);
    while (has_something_to_do(hub) || take_entries(hub) > 0)
        ck_assert_int_eq(chathub_step(hub, 0), 1);
    ck_assert_ptr_null(taken_of);
    ck_assert_uint_eq(entries, ENTRIES);
    chathub_free(hub);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("queue_starved");
    TCase *tc = tcase_create("queue");
    tcase_add_test(tc, events_come_when_there_is_memory_again);
    tcase_add_test(tc, a_clients_end_comes_when_there_is_memory_again);
    tcase_add_test(tc, a_host_that_takes_right_behind_a_refusal_holds_nobody_up);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
