/* Several nodes in a storm: all that can happen to them happens in any order, with memory and
 * without. The books of each agree after every turn, and once it is over all know the same.
 * Linked with --wrap, as test_oom. */
#define CLIENTS 200
#include "core_cluster.h"
#include "oom.h"

static bool failing;
static uint64_t refusals;
static uint64_t dice;

static uint32_t pick(uint32_t of)
{
    dice ^= dice << 13;
    dice ^= dice >> 7;
    dice ^= dice << 17;
    return (uint32_t)((dice >> 20) % of);
}

static bool fails(void)
{
    if (!failing)
        return false;
    bool fail = pick(4) == 0;
    refusals += fail;
    return fail;
}

static uint64_t ids[NODES_MAX][64]; /* clients of a node, open or not */
static uint32_t id_count[NODES_MAX];

static const struct chi_dialect sharing = {.name = "sharing", .shares_names = true};
static const struct chi_dialect replaying = {.name = "replaying", .replays = true};
static const char *const rooms[] = {"tea", "milk", "general", "wine"};

static void come(uint32_t i)
{
    static const struct chi_dialect *const dialects[] = {&plain_dialect, &plain_dialect, &sharing,
                                                         &replaying};
    struct chi_client_desc desc = {
        .as = {&world->transport, world->conns++, {dialects[pick(4)], NULL}},
        .private_posts = true};
    char name[16], key[64];
    uint64_t id;
    if (id_count[i] == 64 || chi_hub_client_open(world->hub, &desc, &id) < 0)
        return;
    ids[i][id_count[i]++] = id;
    snprintf(name, sizeof name, "n%u", pick(8));
    snprintf(key, sizeof key, "key-%u-00000000000000000000", pick(12));
    struct chi_request r = {.type = CHI_REQUEST_HELLO,
                            .name = span(pick(3) ? name : NULL),
                            .session = span(pick(6) ? key : NULL),
                            .resume_count = pick(3)};
    for (uint32_t k = 0; k < r.resume_count; k++)
        r.resume[k] = (struct chi_resume){span(rooms[k]),
                                          {.kind = CHI_START_AFTER, .epoch = span(world->epoch)}};
    chi_hub_request(world->hub, id, &r);
}

static void act(uint32_t i)
{
    uint64_t id = id_count[i] ? ids[i][pick(id_count[i])] : 0;
    const char *room = rooms[pick(4)];
    struct chi_request whisper = {.type = CHI_REQUEST_POST,
                                  .room = span(room),
                                  .to = CHI_SPAN("n1"),
                                  .content = CHI_SPAN("psst")};
    struct chi_request status = {.type = CHI_REQUEST_STATUS, .content = span(room)};

    switch (pick(12)) {
    case 0:
    case 1:
        join(id, room);
        return;
    case 2:
        ask(id, CHI_REQUEST_LEAVE, room);
        return;
    case 3:
    case 4:
        post(id, room, "x");
        return;
    case 5:
        ask(id, CHI_REQUEST_TYPING, room);
        return;
    case 6:
        chi_hub_request(world->hub, id, &status);
        return;
    case 7:
        chi_hub_request(world->hub, id, &whisper);
        return;
    case 8:
        chi_hub_client_closed(world->hub, id, pick(2) ? "eof" : "left");
        return;
    case 9:
        ask(id, CHI_REQUEST_HISTORY, room);
        return;
    default:
        come(i);
        return;
    }
}

static void go_back(uint32_t to)
{
    position = 0;
    for (uint32_t i = 0; i < peer_count; i++) {
        at(i);
        if (!world)
            continue;
        world->commit_status = CHATHUB_EUNKNOWN; /* what is under way is answered first */
        world->log_stopped = false;
        fake_poll(&world->log);
        world->commit_status = 0;
        snprintf(world->epoch, sizeof world->epoch, "epoch-%010u", to);
        for (uint32_t r = 0; r < world->log_room_count; r++) {
            struct log_room *room = &world->log_rooms[r];
            while (room->count)
                chi_entry_unref(room->entries[--room->count]);
            room->top = 0;
        }
        while (peers[i].feed) {
            struct fed *fed = peers[i].feed;
            peers[i].feed = fed->next;
            chi_entry_unref(fed->entry);
            free(fed);
        }
        peers[i].feed_end = &peers[i].feed;
        peers[i].shown = world->position = 0;
        world->up.went_back(world->up.hub);
    }
}

static void stop(uint32_t i)
{
    at(i);
    world->log_stopped = false;
    if (pick(2)) {
        chi_hub_stop(world->hub);
        chi_hub_turn(world->hub);
        chi_hub_close_all(world->hub, 1001, CHI_SPAN("bye"));
    }
    bool was = failing;
    failing = false;
    node_dies(i);
    failing = was;
}

static void trouble(uint32_t i, uint32_t step)
{
    switch (pick(40)) {
    case 0:
        peers[i].cut = !peers[i].cut;
        return;
    case 1:
        peers[i].drops = pick(6);
        return;
    case 2:
        peers[i].lags = !peers[i].lags;
        return;
    case 3:
        at(i);
        world->log_stopped = !world->log_stopped;
        return;
    case 4:
        if (pick(12) == 0)
            go_back(step);
        return;
    case 5:
        for (uint32_t k = 0; k < peer_count; k++)
            if (peers[k].world)
                peers[k].world->now += pick(20) ? pick(3000) : 9000;
        return;
    case 6:
        if (i == 3 && pick(6) == 0)
            stop(i);
        return;
    default:
        return;
    }
}

static void heal(void)
{
    for (uint32_t i = 0; i < peer_count; i++) {
        peers[i].cut = peers[i].lags = false;
        peers[i].drops = 0;
        if (peers[i].world)
            peers[i].world->log_stopped = false;
    }
    all_pass(100);
    all_pass(25000);
}

static void turn_of(uint32_t i)
{
    world->woken = false;
    for (int k = 0; k < 3; k++)
        chi_hub_turn(world->hub);
    const char *fault = chi_hub_check(world->hub);
    if (fault)
        ck_abort_msg("node %u: %s", i, fault);
}

static void storm(uint64_t seed, uint32_t steps, bool without)
{
    dice = seed * 0x9e3779b97f4a7c15u + 1;
    memset(id_count, 0, sizeof id_count);
    for (uint64_t i = 0; i < 4; i++) {
        node_new(10 + i * 10);
        for (uint32_t c = 0; c < CLIENTS; c++)
            world->clients[c].heard = calloc(1, HEARD);
        world->settings.max_sessions = 20 * pick(3);
        world->settings.max_remote = 8 + 92 * (pick(4) != 0);
        world->settings.max_rooms = 3 + 50 * (pick(4) != 0);
    }
    uint64_t start = peers[0].world->now;
    for (uint32_t i = 0; i < 4; i++)
        peers[i].world->now = start;
    for (uint32_t step = 0; step < steps; step++) {
        uint32_t i = pick(4);
        failing = without && pick(2);
        if (peers[i].world)
            trouble(i, step);
        at(i);
        if (!world)
            continue;
        act(i);
        if (pick(3))
            turn_of(i);
    }
    failing = false;
    bool bounded = false;
    for (uint32_t i = 0; i < 4; i++) {
        at(i);
        bounded |= world && (world->settings.max_remote < 100 || world->settings.max_rooms < 50);
    }
    heal();
    if (!bounded)
        ck_same_view();
    all_pass(100);
    cluster_free();
}

START_TEST(after_a_storm_all_know_the_same)
{
    for (uint64_t seed = 1; seed <= 60; seed++)
        storm(seed, 1500, false);
}
END_TEST

START_TEST(without_memory_too)
{
    for (uint64_t seed = 1; seed <= 60; seed++)
        storm(seed, 1500, true);
    ck_assert_uint_gt(refusals, 1000);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("core nodes oom");
    TCase *t = tcase_create("storm");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, after_a_storm_all_know_the_same);
    tcase_add_test(t, without_memory_too);
    suite_add_tcase(s, t);
    return unit_run(s);
}
