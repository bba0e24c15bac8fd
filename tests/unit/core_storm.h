/* Random clients, a random log and a random host around the hub; its books are checked after
 * every step. */
#ifndef CORE_STORM_H
#define CORE_STORM_H

#include "core_world.h"

#define STORM_CLIENTS 24
#define STORM_PEOPLE  8

struct storm {
    uint64_t ids[STORM_CLIENTS];
    uint64_t questions[16];
    uint32_t asked;
    bool stopped;
};

static uint32_t pick(uint32_t below)
{
    return (uint32_t)(next_random(world) >> 20) % below;
}

static struct chi_span pick_room(void)
{
    static const char *const rooms[] = {"tea",     "TEA", "milk", "sugar",
                                        "general", "a",   "b",    " bad "};
    uint32_t i = pick(10);
    return i < 8 ? span(rooms[i]) : (struct chi_span){NULL, 0};
}

static struct chi_start pick_start(void)
{
    return (struct chi_start){
        .kind = (enum chi_start_kind)pick(4),
        .count = pick(5),
        .position = pick(8) ? pick(40) : UINT64_MAX,
        .epoch = pick(3) ? (struct chi_span){NULL, 0}
                         : span(pick(2) ? world->epoch : "old-epoch-000000"),
    };
}

static void storm_hello(struct chi_request *r)
{
    static char name[16], key[48];
    uint32_t who = pick(STORM_PEOPLE);

    r->type = CHI_REQUEST_HELLO;
    snprintf(key, sizeof key, "key-%u-000000000000000000000", who);
    snprintf(name, sizeof name, "%s%u", pick(2) ? "Name" : "name", pick(STORM_PEOPLE));
    if (pick(5))
        r->session = span(key);
    if (pick(3))
        r->name = span(name);
    r->resume_count = pick(3) ? 0 : pick(4);
    for (uint32_t i = 0; i < r->resume_count; i++)
        r->resume[i] = (struct chi_resume){pick_room(), pick_start()};
}

static void storm_request(uint64_t id)
{
    static struct chi_request r;

    memset(&r, 0, sizeof r);
    r.type = (enum chi_request_type)(1 + pick(11));
    if (pick(3) == 0)
        r.type = CHI_REQUEST_POST;
    r.room = pick_room();
    if (pick(2))
        r.ref = CHI_SPAN("17");
    r.on = pick(3) != 0;
    r.start = pick_start();
    r.limit = pick(8);
    r.has_before = pick(3) == 0;
    r.before = pick(50);
    r.has_after = pick(3) == 0;
    r.after = pick(50);
    r.position = pick(50);
    if (r.type == CHI_REQUEST_POST || r.type == CHI_REQUEST_STATUS)
        r.content = pick(10) ? CHI_SPAN("some words") : (struct chi_span){NULL, 0};
    if (r.type == CHI_REQUEST_POST && pick(2))
        r.cid = CHI_SPAN("c-17");
    if (r.type == CHI_REQUEST_HELLO)
        storm_hello(&r);
    chi_hub_request(world->hub, id, &r);
}

static void storm_client(struct storm *storm)
{
    uint64_t *id = &storm->ids[pick(STORM_CLIENTS)];
    const struct chi_delivery_up *up = chi_hub_delivery_up(world->hub);
    bool open = *id && fake(*id)->open;
    struct chi_decode_error error = {.code = CHATHUB_EJSON};

    switch (pick(16)) {
    case 0:
        if (open)
            chi_hub_client_closed(world->hub, *id, pick(3) ? "lost" : "left");
        *id = 0;
        break;
    case 1:
        if (pick(2))
            chi_hub_eject(world->hub, *id, pick(2) ? 1000 : 4000, CHI_SPAN("thrown out"));
        else
            chi_hub_close_client(world->hub, *id, pick(2) ? 1000 : 1008, CHI_SPAN("end"));
        break;
    case 2:
        chi_hub_observe(world->hub, *id);
        break;
    case 3:
        chi_hub_bad_request(world->hub, *id, &error);
        break;
    case 4:
        if (open)
            up->drained(up->hub, chi_hub_client_slot(*id));
        break;
    case 5:
        if (world->rooms[0].open)
            up->snapshot(up->hub, 0);
        if (open)
            chi_hub_client_encoding(world->hub, *id, (struct chi_encoding){&plain_dialect, NULL});
        if (open && pick(4) == 0)
            up->failed(up->hub, chi_hub_client_slot(*id), CHATHUB_ENOMEM);
        break;
    default:
        if (!open)
            *id = opened(pick(2));
        if (*id)
            storm_request(*id);
    }
}

static void storm_world(struct storm *storm)
{
    static const int statuses[] = {0, 0, 0, 0, CHATHUB_EDUP, CHATHUB_ELOG, CHATHUB_EUNKNOWN};
    static const int answers[] = {CHATHUB_ALLOW, CHATHUB_ALLOW, CHATHUB_LATER, CHATHUB_DENY};

    switch (pick(12)) {
    case 0:
        world->log_stopped = pick(2);
        break;
    case 1:
        world->commit_status = statuses[pick(7)];
        break;
    case 2:
        world->open_status = pick(3) ? 0 : CHATHUB_ELOG;
        world->redact_status = pick(5) ? 0 : CHATHUB_ELOG;
        break;
    case 3:
        world->answer = answers[pick(4)];
        world->answer_inside = pick(4) ? 0 : (int)pick(4);
        break;
    case 4:
        world->reply_result = pick(3) ? 0 : 1;
        break;
    case 5:
        world->now += pick(2) ? pick(200) : pick(20000);
        break;
    case 6:
        chi_hub_answer(world->hub, world->asked, pick(2), CHI_SPAN("so be it"));
        break;
    case 7:
        if (pick(200) == 0)
            chi_hub_stop(world->hub);
        break;
    default:
        chi_hub_turn(world->hub);
    }
    (void)storm;
}

/* Everybody goes; then nothing may be left. `rooms`: the fixed ones. */
static void storm_end(uint32_t rooms)
{
    struct chi_hub_counts counts;

    world->log_stopped = false;
    world->answer_inside = 0;
    chi_hub_close_all(world->hub, 1001, CHI_SPAN("end"));
    check_books();
    pass(60000);
    pass(60000);
    chi_hub_counts(world->hub, &counts);
    ck_assert_uint_eq(counts.clients + counts.observers + counts.sessions + counts.members, 0);
    ck_assert_uint_eq(counts.drafts, 0);
    ck_assert_uint_eq(counts.rooms, rooms);
    ck_assert(chi_hub_idle(world->hub));
}

static void storm_init(uint64_t seed)
{
    world_new(seed);
    world->settings.rooms = (char *)(uintptr_t) "sugar";
    world->settings.max_rooms = 5;
    world->settings.max_client_rooms = 3;
    world->settings.max_clients = 16;
    world->settings.max_members = 10;
    world->settings.max_sessions = 4;
    world->settings.client_draft_bytes = 400;
    world->settings.hub_draft_bytes = 1500;
    world->settings.presence_all = 2;
    world->settings.presence_names = 5;
    world->parts.ask = seed % 3 ? 0 : 15;
    for (uint32_t i = 0; i < 32; i++) /* so that no fake allocates on its way */
        world->clients[i].heard = calloc(1, HEARD);
}

/* `between` is called before each step. */
static void storm_run(uint64_t seed, uint32_t steps, void (*between)(void))
{
    struct storm storm = {.ids = {0}};

    for (uint32_t i = 0; i < steps && world->position < 500; i++) {
        if (between)
            between();
        if (pick(2))
            storm_client(&storm);
        else
            storm_world(&storm);
        const char *fault = chi_hub_check(world->hub);
        if (fault)
            ck_abort_msg("seed %" PRIu64 ", step %u: %s", seed, i, fault);
    }
}

#endif
