/* Delivery alone, with a transport that counts: what one flush may do, and who has a turn in it. */
#include "unit.h"

#include <string.h>

#include "core/entry.h"
#include "core/name.h"
#include "delivery/delivery.h"

#define CLIENTS 12000u
#define LARGE   0u
#define SMALL   1u
#define FRAME   "0123456789abcdef"
/* A visit of 64 members and a batch of ready clients may be under way when the bound is reached. */
#define OVER 80u

static struct {
    struct chi_settings settings;
    struct chi_delivery *d;
    struct chi_transport transport;
    struct chi_name *name;
    uint64_t positions[2];  /* newest entry of each room */
    uint32_t sent[CLIENTS]; /* bytes, by connection */
    uint64_t writes, bytes;
    uint32_t clients;
    uint32_t caught_up; /* how often that was told */
    uint64_t now;
} world;

static uint64_t now_of(void *self)
{
    (void)self;
    return world.now;
}

static void wake(void *self)
{
    (void)self;
}

static bool logs(void *self, int level)
{
    (void)self;
    (void)level;
    return false;
}

static ptrdiff_t take(void *self, uint32_t conn, const void *bytes, size_t len)
{
    (void)self;
    (void)bytes;
    world.sent[conn] += (uint32_t)len;
    world.writes++;
    world.bytes += len;
    return (ptrdiff_t)len;
}

static void take_many(void *self, const void *bytes, size_t len, const uint32_t *conns, size_t n,
                      int32_t *taken)
{
    for (size_t i = 0; i < n; i++)
        taken[i] = (int32_t)take(self, conns[i], bytes, len);
}

static void hear(void *self, uint32_t conn, bool on)
{
    (void)self;
    (void)conn;
    (void)on;
}

static void let_go(void *self, uint32_t conn, int code, struct chi_span reason,
                   struct chi_span rest)
{
    (void)self;
    (void)conn;
    (void)code;
    (void)reason;
    (void)rest;
}

static void encode(struct chi_buf *out, struct chi_span room, const struct chi_entry *entry)
{
    (void)room;
    (void)entry;
    chi_buf_add_text(out, FRAME);
}

static void bare(struct chi_buf *buf, size_t start)
{
    (void)buf;
    (void)start;
}

static const struct chi_dialect dialect = {.name = "test", .encode_entry = encode};
static const struct chi_framing framing = {"bare", bare};
static const struct chi_env_ops env_ops = {
    .now = now_of, .wall = now_of, .logs = logs, .wake = wake};

static void caught_up(void *hub, uint32_t room)
{
    (void)hub;
    ck_assert_uint_eq(room, LARGE);
    world.caught_up++;
}

static void setup(void)
{
    memset(&world, 0, sizeof(world));
    world.settings = (struct chi_settings){.window_bytes = 64u << 20,
                                           .slice_us = 1000,
                                           .slice_writes = 256,
                                           .slice_bytes = 1u << 20,
                                           .room_turn = 16384,
                                           .client_turn = 65536};
    world.transport = (struct chi_transport){
        .send = take, .write_many = take_many, .read = hear, .close = let_go};
    struct chi_env env = {&env_ops, NULL};
    ck_assert_int_eq(chi_delivery_new(&world.settings, env, NULL, &world.d), 0);
    chi_delivery_bind(world.d, &(struct chi_delivery_up){.caught_up = caught_up});
    world.name = chi_name_new(CHI_SPAN("room"), CHI_SPAN("room"));
    ck_assert_ptr_nonnull(world.name);
    for (uint32_t room = LARGE; room <= SMALL; room++)
        ck_assert_int_eq(chi_delivery_ops.room_open(world.d, room, world.name, 0), 0);
}

static void teardown(void)
{
    ck_assert_ptr_null(chi_delivery_check(world.d));
    chi_delivery_free(world.d);
    chi_name_unref(world.name);
}

static bool flush(void)
{
    return chi_delivery_flush(world.d, NULL, NULL);
}

/* Members who have been pumped once: nothing is due to them but entries. */
static void fill(uint32_t room, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = world.clients++;
        struct chi_delivery_client as = {&world.transport, number, {&dialect, &framing}};
        ck_assert_int_eq(chi_delivery_ops.client_open(world.d, number, &as), 0);
        ck_assert_int_eq(chi_delivery_ops.member_join(world.d, room, number, 0, true), 0);
    }
    while (flush())
        continue;
}

static void post(uint32_t room)
{
    const struct chi_entry_parts parts = {0};
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    ck_assert_ptr_nonnull(entry);
    entry->prev = world.positions[room];
    entry->position = ++world.positions[room];
    chi_delivery_ops.entry(world.d, room, entry);
    chi_entry_unref(entry);
}

static uint32_t frames(uint32_t conn)
{
    return world.sent[conn] / (uint32_t)strlen(FRAME);
}

START_TEST(a_slice_is_bounded_by_writes)
{
    fill(LARGE, 1000);
    post(LARGE);
    uint32_t slices = 0;
    for (bool more = true; more; slices++) {
        uint64_t before = world.writes;
        more = flush();
        ck_assert_uint_le(world.writes - before, 256 + OVER);
    }
    ck_assert_uint_ge(slices, 3);
    ck_assert_uint_eq(world.writes, 1000);
}
END_TEST

START_TEST(a_slice_is_bounded_by_bytes)
{
    world.settings.slice_bytes = 2048;
    fill(LARGE, 1000);
    for (int i = 0; i < 8; i++)
        post(LARGE);
    uint32_t slices = 0;
    for (bool more = true; more; slices++) {
        uint64_t before = world.bytes;
        more = flush();
        ck_assert_uint_le(world.bytes - before, 2048 + OVER * 8 * strlen(FRAME));
    }
    ck_assert_uint_ge(slices, 12);
    ck_assert_uint_eq(world.bytes, 1000 * 8 * strlen(FRAME));
}
END_TEST

/* The bystander: whatever waits for a large room, a small one is through with the next slice. */
START_TEST(a_small_room_is_served_in_each_slice_of_a_large_one)
{
    fill(LARGE, 10000);
    fill(SMALL, 10);
    post(LARGE);
    uint32_t posts = 0;
    for (bool more = true; more;) {
        post(SMALL);
        posts++;
        more = flush();
        for (uint32_t i = 0; i < 10; i++)
            ck_assert_uint_eq(frames(10000 + i), posts);
    }
    ck_assert_uint_ge(posts, 30);
}
END_TEST

/* A round goes on where it was: nobody is served again before the last one had its turn, though
 * something new comes between all slices. */
START_TEST(a_round_keeps_its_place)
{
    fill(LARGE, 3000);
    post(LARGE);
    uint32_t served[3000] = {0}; /* writes that each took */
    uint64_t writes = 0;
    for (int i = 0; i < 200; i++) {
        uint32_t before[3000];
        memcpy(before, world.sent, sizeof(before));
        flush();
        post(LARGE);
        uint32_t least = UINT32_MAX, most = 0;
        for (uint32_t k = 0; k < 3000; k++) {
            served[k] += world.sent[k] != before[k];
            least = served[k] < least ? served[k] : least;
            most = served[k] > most ? served[k] : most;
        }
        ck_assert_uint_le(most - least, 1);
        ck_assert_uint_gt(world.writes, writes);
        writes = world.writes;
    }
    while (flush())
        continue;
    for (uint32_t k = 0; k < 3000; k++)
        ck_assert_uint_eq(frames(k), 201);
}
END_TEST

/* So that who posts without end does not push those out of the window who read as fast as they
 * can. */
START_TEST(a_room_is_behind_while_a_round_has_more_than_a_visit_takes)
{
    uint32_t visit = world.settings.room_turn / (uint32_t)strlen(FRAME);
    fill(LARGE, 1000);
    for (uint32_t i = 0; i < visit; i++)
        post(LARGE);
    ck_assert(!chi_delivery_ops.room_behind(world.d, LARGE));
    ck_assert(flush());
    post(LARGE);
    ck_assert(chi_delivery_ops.room_behind(world.d, LARGE));
    ck_assert(!chi_delivery_ops.room_behind(world.d, SMALL));
    while (!world.caught_up)
        ck_assert(flush());
    ck_assert(!chi_delivery_ops.room_behind(world.d, LARGE));
    for (uint32_t i = 0; i < 1000; i++)
        ck_assert_uint_gt(frames(i), 0);
    while (flush())
        continue;
    ck_assert_uint_eq(world.caught_up, 1);
    post(LARGE); /* nobody asked: nobody is told */
    while (flush())
        continue;
    ck_assert_uint_eq(world.caught_up, 1);
}
END_TEST

/* A round over 10,000 members lasts 40 slices, in which more comes than a small segment holds: those
 * who are visited get all of it, or posts wait. */
START_TEST(a_large_room_does_not_fall_behind_for_ever)
{
    uint32_t posts = 0, lag = 0;
    fill(LARGE, 10000);
    for (int slice = 0; slice < 4000; slice++) {
        world.now += 20;
        for (int i = 0; i < 8 && !chi_delivery_ops.room_behind(world.d, LARGE); i++, posts++)
            post(LARGE);
        flush();
        if (slice % 1000 != 999)
            continue;
        uint32_t least = posts;
        for (uint32_t i = 0; i < 10000; i++)
            least = frames(i) < least ? frames(i) : least;
        lag = posts - least;
        ck_assert_uint_le(lag, 3 * 8 * 40); /* some rounds, however long it goes on */
    }
    ck_assert_uint_gt(lag, 0);
    while (flush())
        continue;
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slices");
    TCase *tests = tcase_create("slices");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, a_slice_is_bounded_by_writes);
    tcase_add_test(tests, a_slice_is_bounded_by_bytes);
    tcase_add_test(tests, a_small_room_is_served_in_each_slice_of_a_large_one);
    tcase_add_test(tests, a_round_keeps_its_place);
    tcase_add_test(tests, a_room_is_behind_while_a_round_has_more_than_a_visit_takes);
    tcase_add_test(tests, a_large_room_does_not_fall_behind_for_ever);
    suite_add_tcase(suite, tests);
    return unit_run(suite);
}
