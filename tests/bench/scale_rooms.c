/* What a room costs: N in-process clients, each run in a process of its own.
 *
 *   none      named, in no room
 *   one       all in one room
 *   own       each in a room of its own, with names of the same length
 *   longer    the same, names LONGER bytes longer
 *
 * Idle: afterwards so much (virtual) time passes that all presence was told and delivery has freed
 * what was hot. A room is what `own` costs beyond `one`, for each of the N: in both every client is
 * a member once. Its name is told apart by `longer`. Memory is PSS, after malloc_trim, so that pages
 * are counted whose neighbours are still in use, too; beside it what malloc and mmap have given out,
 * and what lies free between that in the heap: left by what a room needed only while it was hot. */
#include "scale.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/internal.h"
#include "delivery/internal.h"
#include "scale_heap.h"
#include "scale_world.h"

#define LONGER 32u
/* Clients that come within one ms: 16,000 in a second. */
#define ARRIVALS 16u
#define IDLE_MS  10000u

enum variant { NONE, ONE, OWN, LONGER_NAMES, VARIANTS };

struct figures {
    double pss, heap, holes; /* bytes that came, for each client */
    struct scale_heap live;
    bool done;
};

struct rooms {
    struct scale_world world;
    const struct scale_options *options;
    enum variant variant;
    uint32_t welcomed, joined;
};

static struct rooms rooms;

static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    (void)hub, (void)arg;
    if (event->type == CHATHUB_EVENT_WELCOME)
        rooms.welcomed++;
    else if (event->type == CHATHUB_EVENT_JOINED)
        rooms.joined++;
    else if (event->type == CHATHUB_EVENT_ERROR || event->type == CHATHUB_EVENT_CLOSED)
        scale_fail("a client is told: %s", event->message);
}

static void request(uint64_t id, const struct chi_request *what)
{
    if (chi_inproc_request(rooms.world.inproc, id, what))
        scale_fail("a request is not taken");
}

static void room_name(uint32_t number, char *out, size_t size)
{
    uint32_t length = rooms.options->name_length;
    if (rooms.variant == LONGER_NAMES)
        length += LONGER;
    if (rooms.variant == ONE)
        number = 0;
    snprintf(out, size, "%0*u", (int)length, number);
    out[0] = 'r';
}

static void arrive(uint32_t number)
{
    uint64_t id;
    char name[16], room[160];
    if (chi_inproc_open(rooms.world.inproc, on_event, NULL, &id))
        scale_fail("client %u is not let in", number);
    snprintf(name, sizeof name, "user%07u", number);
    request(id, &(struct chi_request){.type = CHI_REQUEST_HELLO, .name = chi_span_of(name)});
    if (rooms.variant == NONE)
        return;
    room_name(number, room, sizeof room);
    struct chi_request join = {.type = CHI_REQUEST_JOIN, .room = chi_span_of(room)};
    join.start.kind = CHI_START_NOW;
    request(id, &join);
}

/* Bytes of this process: its private pages, and its share of others. */
static double pss(void)
{
    char line[256];
    double kib = -1;
    malloc_trim(0);
    FILE *file = fopen("/proc/self/smaps_rollup", "re");
    while (file && kib < 0 && fgets(line, sizeof line, file))
        if (!strncmp(line, "Pss:", 4))
            kib = strtod(line + 4, NULL);
    if (file)
        fclose(file);
    return kib * 1024;
}

/* What this process has now, in all. */
static struct figures look(void)
{
    double pages = pss();
    struct mallinfo2 info = mallinfo2();
    return (struct figures){.pss = pages,
                            .heap =
                                (double)(info.uordblks + info.hblkhd) + (double)scale_heap.mapped,
                            .holes = (double)(info.fordblks - info.keepcost),
                            .live = scale_heap};
}

static void note(struct figures *out, const struct figures *from, double n)
{
    struct figures to = look();
    out->pss = (to.pss - from->pss) / n;
    out->heap = (to.heap - from->heap) / n;
    out->holes = (to.holes - from->holes) / n;
    for (int i = 0; i <= SCALE_SIZES / 8; i++)
        out->live.count[i] = to.live.count[i] - from->live.count[i];
    out->live.large = to.live.large - from->live.large;
    out->live.mapped = to.live.mapped - from->live.mapped;
    out->done = true;
}

static void run(struct figures *out)
{
    struct scale_world *w = &rooms.world;
    uint32_t n = rooms.options->count, wanted = rooms.variant == NONE ? 0 : n;
    scale_world_init(w);
    scale_world_open(w, rooms.options->log);
    scale_world_pass(w, IDLE_MS);
    struct figures before = look();
    for (uint32_t i = 0; i < n; i++) {
        arrive(i);
        if (i % ARRIVALS == ARRIVALS - 1)
            scale_world_pass(w, 1);
    }
    while (rooms.welcomed < n || rooms.joined < wanted)
        scale_world_wait(w);
    scale_world_pass(w, IDLE_MS);
    if (chi_delivery_warm(w->delivery))
        scale_fail("delivery is still warm after %u ms", IDLE_MS);
    scale_world_check(w);
    note(out, &before, n);
}

static void remove_log(const char *log)
{
    char path[4096];
    for (int i = 0; log && i < 4; i++) {
        static const char *const parts[] = {"", "-wal", "-shm", "-lock"};
        snprintf(path, sizeof path, "%s%s", log, parts[i]);
        unlink(path);
    }
}

static void run_apart(const struct scale_options *options, enum variant variant,
                      struct figures *out)
{
    pid_t child = fork();
    if (child < 0)
        scale_fail("no process");
    if (!child) {
        rooms.options = options;
        rooms.variant = variant;
        run(out);
        scale_world_close(&rooms.world);
        exit(0);
    }
    waitpid(child, NULL, 0);
    remove_log(options->log);
    if (!out->done)
        exit(1);
}

/* What there is more of in `to`, for each room. */
static void print_allocations(const struct figures *from, const struct figures *to, double n)
{
    printf("  its allocations (usable bytes):\n");
    for (int i = 0; i <= SCALE_SIZES / 8; i++) {
        double more = (double)(to->live.count[i] - from->live.count[i]) / n;
        if (more > 0.01 || more < -0.01)
            printf("    %+8.2f of %4d\n", more, i * 8);
    }
    printf(
        "    %+8.2f bytes in larger ones, %+.2f mapped: tables by number (chi_room %zu, chi_feed "
        "%zu), hashes\n",
        (double)(to->live.large - from->live.large) / n,
        (double)(to->live.mapped - from->live.mapped) / n, sizeof(struct chi_room),
        sizeof(struct chi_feed));
}

static void print_row(const char *what, const struct figures *to, const struct figures *from,
                      uint32_t less)
{
    static const struct figures nothing;
    if (!from)
        from = &nothing;
    printf("%-22s %9.1f %9.1f %9.1f\n", what, to->pss - from->pss - less,
           to->heap - from->heap - less, to->holes - from->holes);
}

static void print(const struct scale_options *o, const struct figures *of)
{
    printf("%u rooms of one in-process member, log in %s, names of %u bytes; bytes each\n",
           o->count, o->log ? "SQLite" : "memory", o->name_length);
    printf("%-22s %9s %9s %9s\n", "", "PSS", "given out", "free");
    print_row("client, in no room", &of[NONE], NULL, 0);
    print_row("its place in a room", &of[ONE], &of[NONE], 0);
    print_row("room", &of[OWN], &of[ONE], 0);
    print_row("room less its name", &of[OWN], &of[ONE], o->name_length);
    printf("a name's byte is given out %.2f times\n",
           (of[LONGER_NAMES].heap - of[OWN].heap) / LONGER);
    print_allocations(&of[ONE], &of[OWN], o->count);
}

int scale_rooms(const struct scale_options *options)
{
    if (options->log && !access(options->log, F_OK))
        scale_fail("%s exists already; name a file that does not", options->log);
    struct figures *of = mmap(NULL, VARIANTS * sizeof *of, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (of == MAP_FAILED)
        scale_fail("out of memory");
    for (enum variant variant = NONE; variant < VARIANTS; variant++)
        run_apart(options, variant, &of[variant]);
    if (!options->quick)
        print(options, of);
    return 0;
}
