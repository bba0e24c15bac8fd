/* Fixed scenarios whose instructions are counted (tests/bench/instructions.py, under callgrind): a hub
 * with the memory log, members that speak the native dialect over WebSocket, and a transport that
 * takes everything. What clients say comes as JSON; in one scenario as frames, through sockets. Clock,
 * randomness and hashes repeat, so that the same program executes the same instructions each time.
 *
 * What a scenario needs is made before the counting starts: members that idle, frames to be read. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"
#include "instructions_way.h"
#include "net/framing.h"

#ifdef HAVE_CALLGRIND
#include <valgrind/callgrind.h>
#else
#define CALLGRIND_START_INSTRUMENTATION
#define CALLGRIND_STOP_INSTRUMENTATION
#define CALLGRIND_DUMP_STATS
#define CALLGRIND_TOGGLE_COLLECT
#endif

#define MEMBERS  1000u
#define POSTS    1000u
#define GATHERED 64u
#define PAIR     10000u /* posts in the room of two */
#define LARGE    20000u /* members of a large room … */
#define FEW      10u    /* … and the posts there */
#define ROOMS    1000u  /* small ones, with … */
#define SMALL    10u    /* … so many members each … */
#define CIRCLE   100u   /* members with sockets, … */
#define LETTERS  2000u  /* … and their posts */
#define READ     16u    /* posts until they receive */
#define SPREAD   2000u  /* … and so many posts in all of them */
#define SIGNALS  50u    /* members that type, have a status, leave, and return */
#define PAST     200u   /* entries that who returns has missed */
#define ARRIVALS 16u    /* clients that come, or return, within one ms */
#define IDLE_MS  10000u
#define WRITE_NS 3300u /* what a write takes on a socket: for the slices' clock */

/* What a client is going to say. */
struct said {
    uint32_t conn;
    size_t at, len; /* in stage.texts */
};

struct stage {
    struct scale_world world;
    struct way *way;        /* where there are sockets, or NULL */
    uint64_t *ids;          /* the hub's, of its clients, by connection; without sockets */
    uint32_t members;       /* each in one room … */
    uint32_t rooms;         /* … of these: number of the connection modulo this */
    struct chi_buf texts;   /* JSON; with sockets: frames */
    struct chi_buf scratch; /* the decoder's */
    struct said *said;
    uint32_t said_count, next; /* said: those before `next` */
    uint64_t received;         /* bytes, by clients with sockets */
    struct chi_delivery_counts before;
};

/* ---------------------------------------------------------------------------------- preparation */

__attribute__((format(printf, 3, 4))) static void prepare(struct stage *s, uint32_t conn,
                                                          const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (s->said_count % 1024 == 0)
        s->said = realloc(s->said, (s->said_count + 1024) * sizeof *s->said);
    if (!s->said)
        scale_fail("out of memory");
    struct said *said = &s->said[s->said_count++];
    *said = (struct said){conn, s->texts.len, 0};
    if (s->way)
        way_frame(&s->texts, (struct chi_span){text, (size_t)len});
    else
        chi_buf_add(&s->texts, text, (size_t)len);
    if (s->texts.failed)
        scale_fail("out of memory");
    said->len = s->texts.len - said->at;
}

static void prepare_post(struct stage *s, uint32_t number)
{
    uint32_t conn = number % s->members;
    prepare(s, conn,
            "{\"type\":\"post\",\"room\":\"room-%04" PRIu32 "\",\"cid\":\"cid-%08" PRIu32
            "\",\"content\":"
            "\"%08" PRIu32
            " The quick brown fox jumps over the lazy dog, and twelve \\\"boxing\\\" "
            "wizards vex him; whoever wants to know why asks them.\"}",
            conn % s->rooms, number, number);
}

static void open_client(struct stage *s, uint32_t conn)
{
    const struct chi_client_desc desc = {
        .as = {&s->world.transport, conn, {&chi_dialect_native, &chi_framing_websocket}},
        .address = CHI_SPAN("bench"),
        .welcome = true};
    if (!s->way && chi_hub_client_open(s->world.hub, &desc, &s->ids[conn]))
        scale_fail("client %" PRIu32 " is not let in", conn);
}

static void say(struct stage *s, uint32_t conn, struct chi_span text)
{
    static struct chi_request request; /* large */
    struct chi_decode_error error = {0};
    if (chi_dialect_native.decode(&s->scratch, text, &request, &error) <= 0)
        scale_fail("%s: %.*s", error.message, (int)text.len, text.at);
    chi_hub_request(s->world.hub, s->ids[conn], &request);
}

static void say_next(struct stage *s)
{
    const struct said *said = &s->said[s->next++];
    struct chi_span text = {s->texts.at + said->at, said->len};
    if (!s->way) {
        say(s, said->conn, text);
        return;
    }
    way_send(s->way, said->conn, text);
    way_poll(s->way);
}

static uint64_t write_clock(void *ctx)
{
    const struct scale_world *w = ctx;
    return w->writes * WRITE_NS / 1000;
}

/* Turns until nothing is left to be done. Slices as with sockets. */
static void turn(struct stage *s)
{
    do
        scale_world_turn(&s->world, write_clock);
    while (s->world.woken || s->world.left);
}

static void open_clients(struct stage *s, bool join)
{
    for (uint32_t i = 0; i < s->members; i++) {
        open_client(s, i);
        prepare(s, i, "{\"type\":\"hello\",\"name\":\"member-%04" PRIu32 "\"}", i);
        say_next(s);
        if (join) {
            prepare(s, i, "{\"type\":\"join\",\"room\":\"room-%04" PRIu32 "\",\"now\":true}",
                    i % s->rooms);
            say_next(s);
        }
        if (i % ARRIVALS == ARRIVALS - 1 || i < s->rooms)
            scale_world_pass(&s->world, 1);
    }
    scale_world_pass(&s->world, IDLE_MS);
}

/* ------------------------------------------------------------------------------------ scenarios */

static void prepare_posts(struct stage *s, uint32_t count)
{
    open_clients(s, true);
    for (uint32_t i = 0; i < count; i++)
        prepare_post(s, i);
}

static void prepare_crowd(struct stage *s)
{
    prepare_posts(s, POSTS);
}

static void prepare_pair(struct stage *s)
{
    prepare_posts(s, PAIR);
}

static void run_gathered(struct stage *s)
{
    while (s->next < s->said_count) {
        for (uint32_t i = 0; i < GATHERED && s->next < s->said_count; i++)
            say_next(s);
        turn(s);
        s->world.now += 4;
    }
}

static void run_paced(struct stage *s)
{
    while (s->next < s->said_count) {
        say_next(s);
        turn(s);
        s->world.now += 20;
    }
}

static void prepare_large(struct stage *s)
{
    prepare_posts(s, FEW);
}

static void prepare_rooms(struct stage *s)
{
    s->rooms = ROOMS;
    prepare_posts(s, SPREAD);
}

static void prepare_sockets(struct stage *s)
{
    s->way = way_new(&s->world, s->members);
    prepare_posts(s, LETTERS);
    s->received = 0;
    way_receive(s->way);
}

static void run_sockets(struct stage *s)
{
    while (s->next < s->said_count) {
        say_next(s);
        turn(s);
        s->world.now++;
        if (s->next % READ && s->next < s->said_count)
            continue;
        CALLGRIND_TOGGLE_COLLECT; /* the clients' own */
        s->received += way_receive(s->way);
        CALLGRIND_TOGGLE_COLLECT;
    }
}

static void run_pair(struct stage *s)
{
    while (s->next < s->said_count) {
        say_next(s);
        turn(s);
        s->world.now += s->next % 5 == 0;
    }
}

static void prepare_joining(struct stage *s)
{
    for (uint32_t i = 0; i < s->members; i++) {
        prepare(s, i, "{\"type\":\"hello\",\"name\":\"member-%04" PRIu32 "\"}", i);
        prepare(s, i, "{\"type\":\"join\",\"room\":\"room-0000\"}");
    }
}

static void run_joining(struct stage *s)
{
    for (uint32_t i = 0; i < s->members; i++) {
        open_client(s, i);
        say_next(s);
        say_next(s);
        if (i % ARRIVALS == ARRIVALS - 1)
            scale_world_pass(&s->world, 1);
    }
    scale_world_pass(&s->world, IDLE_MS);
}

static void prepare_signals(struct stage *s)
{
    open_clients(s, true);
    for (uint32_t i = 0; i < SIGNALS; i++) {
        prepare(s, i, "{\"type\":\"typing\",\"room\":\"room-0000\"}");
        prepare(s, i, "{\"type\":\"status\",\"status\":\"away, back at %" PRIu32 "\"}", i);
        prepare(s, i, "{\"type\":\"typing\",\"room\":\"room-0000\",\"on\":false}");
        prepare(s, i, "{\"type\":\"leave\",\"room\":\"room-0000\"}");
        prepare(s, i, "{\"type\":\"join\",\"room\":\"room-0000\",\"now\":true}");
    }
}

/* Far enough apart for each to be told by itself. */
static void run_signals(struct stage *s)
{
    while (s->next < s->said_count) {
        say_next(s);
        scale_world_pass(&s->world, s->world.settings.presence_names_ms);
    }
}

/* The first one has a room to itself; the others know its past up to the first entry. */
static void prepare_catching_up(struct stage *s)
{
    char epoch[CHI_EPOCH_LEN + 1] = "";
    uint32_t members = s->members;
    open_clients(s, false);
    prepare(s, 0, "{\"type\":\"join\",\"room\":\"room-0000\",\"now\":true}");
    s->members = 1;
    for (uint32_t i = 0; i <= PAST; i++)
        prepare_post(s, i);
    s->members = members;
    while (s->next < s->said_count)
        run_paced(s);
    scale_world_pass(&s->world, IDLE_MS);
    struct chi_span at = s->world.log->epoch(s->world.log);
    memcpy(epoch, at.at, at.len < CHI_EPOCH_LEN ? at.len : CHI_EPOCH_LEN);
    for (uint32_t i = 1; i < members; i++)
        prepare(s, i, "{\"type\":\"join\",\"room\":\"room-0000\",\"after\":1,\"epoch\":\"%s\"}",
                epoch);
}

static void run_catching_up(struct stage *s)
{
    while (s->next < s->said_count) {
        for (uint32_t i = 0; i < ARRIVALS && s->next < s->said_count; i++)
            say_next(s);
        scale_world_pass(&s->world, 1);
    }
    scale_world_pass(&s->world, IDLE_MS);
}

struct scenario {
    const char *name;
    const char *unit; /* what `units` are */
    uint64_t units;
    uint64_t deliveries; /* of entries; afterwards all must have been made */
    uint32_t members;
    void (*prepare)(struct stage *s);
    void (*run)(struct stage *s);
};

static const struct scenario scenarios[] = {
    {"gathered", "delivery", (uint64_t)MEMBERS *POSTS, (uint64_t)MEMBERS *POSTS, MEMBERS,
     prepare_crowd, run_gathered},
    {"paced", "delivery", (uint64_t)MEMBERS *POSTS, (uint64_t)MEMBERS *POSTS, MEMBERS,
     prepare_crowd, run_paced},
    {"large", "delivery", (uint64_t)LARGE *FEW, (uint64_t)LARGE *FEW, LARGE, prepare_large,
     run_paced},
    {"rooms", "delivery", SMALL *SPREAD, SMALL *SPREAD, ROOMS *SMALL, prepare_rooms, run_pair},
    {"sockets", "delivery", CIRCLE *LETTERS, CIRCLE *LETTERS, CIRCLE, prepare_sockets, run_sockets},
    {"posting", "post", PAIR, 2 * PAIR, 2, prepare_pair, run_pair},
    {"joining", "client", MEMBERS, 0, MEMBERS, prepare_joining, run_joining},
    {"signals", "signal to a member", SIGNALS *(5 * MEMBERS - 2), 0, MEMBERS, prepare_signals,
     run_signals},
    {"catching-up", "entry", (MEMBERS - 1) * PAST, (MEMBERS - 1) * PAST, MEMBERS,
     prepare_catching_up, run_catching_up},
};

/* ---------------------------------------------------------------------------------------- runs */

static void check(const struct stage *s, const struct scenario *what)
{
    struct chi_delivery_counts now;
    struct chi_hub_counts hub;
    chi_delivery_counts(s->world.delivery, &now);
    chi_hub_counts(s->world.hub, &hub);
    uint64_t made = now.deliveries - s->before.deliveries;
    if (made != what->deliveries || now.behind || now.held_bytes)
        scale_fail("%s: %" PRIu64 " deliveries of %" PRIu64 ", %" PRIu64 " members behind",
                   what->name, made, what->deliveries, now.behind);
    if (hub.members != what->members)
        scale_fail("%s: %" PRIu64 " members of %" PRIu32, what->name, hub.members, what->members);
    if (!strcmp(what->name, "signals") && s->world.writes < what->units)
        scale_fail("%s: %" PRIu64 " writes for %" PRIu64, what->name, s->world.writes, what->units);
    if (s->way && s->received < what->units * 128) /* a post's content */
        scale_fail("%s: only %" PRIu64 " bytes were received", what->name, s->received);
    if (hub.bad_requests || hub.refused || now.gaps)
        scale_fail("%s: something was refused, or a gap told", what->name);
    scale_world_check(&s->world);
}

static void run(const struct scenario *what)
{
    struct stage stage = {.members = what->members, .rooms = 1}, *s = &stage;
    scale_world_init(&s->world);
    scale_world_open(&s->world, NULL);
    s->ids = calloc(what->members, sizeof *s->ids);
    if (!s->ids)
        scale_fail("out of memory");
    what->prepare(s);
    chi_delivery_counts(s->world.delivery, &s->before);
    s->world.writes = 0;
    CALLGRIND_START_INSTRUMENTATION;
    what->run(s);
    CALLGRIND_DUMP_STATS; /* its end would write a total of 0 */
    CALLGRIND_STOP_INSTRUMENTATION;
    check(s, what);
    printf("{\"scenario\":\"%s\",\"unit\":\"%s\",\"units\":%" PRIu64 "}\n", what->name, what->unit,
           what->units);
    if (s->way)
        way_free(s->way);
    scale_world_close(&s->world);
    chi_buf_fini(&s->texts);
    chi_buf_fini(&s->scratch);
    free(s->ids);
    free(s->said);
}

int main(int argc, char **argv)
{
    bool known = argc == 1;
    json_object_seed(42); /* or else it takes one from the kernel */
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (argc == 2 && strcmp(argv[1], scenarios[i].name) != 0)
            continue;
        run(&scenarios[i]);
        known = true;
    }
    if (!known)
        fputs("usage: instructions [SCENARIO]   runs one, or all\n", stderr);
    return known ? 0 : 2;
}
