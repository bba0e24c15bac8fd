/* What a room of N members costs: a round, in which an entry goes to all of them, in slices as a loop
 * runs them; a round during which more entries come; and rounds while 1 % of the members take
 * nothing. The transport costs next to nothing, so that what is measured is delivery's own; but the
 * slices' clock and the hub's go as if each write took what it takes on sockets, so that a round has
 * as many slices as there, and as much happens meanwhile.
 *
 * Promised: all get all, in slices, and nobody has to be served by reading the log. */
#include "scale.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scale_world.h"

#define ARRIVALS  16u /* clients within one ms */
#define IDLE_MS   10000u
#define DURING    10u   /* entries that come during a round … */
#define MANY      5000u /* … or so many */
#define TEXT_SIZE 128u
#define WRITE_NS  3300u
#define STALLED   100u /* one in so many */

static const char room[] = "million";

struct crowd {
    struct scale_world world;
    uint32_t n;
    uint64_t *ids;                     /* of the members, by connection */
    uint64_t posted;                   /* entries since `before` */
    struct chi_delivery_counts before; /* delivery's, when the measurement began */
};

static void arrive_all(struct crowd *c)
{
    struct scale_world *w = &c->world;
    char name[16];
    for (uint32_t i = 0; i < c->n; i++) {
        snprintf(name, sizeof name, "user%07" PRIu32, i);
        c->ids[i] = scale_world_client(w, i, name);
        scale_world_join(w, c->ids[i], room);
        if (i % ARRIVALS == ARRIVALS - 1)
            scale_world_pass(w, 1);
    }
    scale_world_pass(w, IDLE_MS);
}

static void post(struct crowd *c)
{
    static char text[TEXT_SIZE];
    uint32_t by = (uint32_t)(c->posted % (c->n / 2));
    if (by % STALLED == 0)
        by++;
    memset(text, 'x', sizeof text);
    scale_world_post(&c->world, c->ids[by], room, (struct chi_span){text, sizeof text});
    c->posted++;
}

static uint64_t delivered(const struct crowd *c)
{
    struct chi_delivery_counts now;
    chi_delivery_counts(c->world.delivery, &now);
    return now.deliveries - c->before.deliveries;
}

static void begin(struct crowd *c)
{
    c->posted = 0;
    c->world.writes = 0;
    chi_delivery_counts(c->world.delivery, &c->before);
    post(c);
}

static uint64_t write_clock(void *ctx)
{
    const struct scale_world *w = ctx;
    return w->writes * WRITE_NS / 1000;
}

/* Slices until nothing is left. Meanwhile `during` more entries come, one whenever a further part of
 * the members has the first, unless posts have to wait for the members. Answers how many slices it
 * took. */
static uint32_t go_round(struct crowd *c, uint32_t during)
{
    uint32_t slices = 0, came = 0;
    do {
        scale_world_turn(&c->world, write_clock);
        c->world.now++;
        slices++;
        while (came < during && !c->world.waiting &&
               c->world.writes >= (uint64_t)c->n * (came + 1) / (during + 2)) {
            post(c);
            came++;
        }
    } while (c->world.left || c->world.woken || came < during);
    return slices;
}

/* All but `lacking` members have all that was posted, and the log was not read. */
static void check(const struct crowd *c, const char *when, uint64_t lacking)
{
    struct chi_delivery_counts now;
    chi_delivery_counts(c->world.delivery, &now);
    uint64_t wanted = (c->n - lacking) * c->posted;
    if (now.behind != lacking)
        scale_fail("%s: %" PRIu64 " members are behind, not %" PRIu64, when, now.behind, lacking);
    if (delivered(c) != wanted)
        scale_fail("%s: %" PRIu64 " deliveries, not %" PRIu64, when, delivered(c), wanted);
    if (now.pages != c->before.pages)
        scale_fail("%s: %" PRIu64 " pages of the log were read", when, now.pages - c->before.pages);
    if (now.gaps != c->before.gaps)
        scale_fail("%s: a gap was told", when);
    scale_world_check(&c->world);
}

static void report(const struct crowd *c, const char *what, double cpu, uint32_t slices, bool quick)
{
    if (!quick)
        printf("%-28s %7.4f µs a write, %7.4f µs a delivery; %.1f writes a member, %" PRIu32
               " slices\n",
               what, cpu * 1e6 / (double)c->world.writes, cpu * 1e6 / (double)delivered(c),
               (double)c->world.writes / c->n, slices);
}

static void measure(struct crowd *c, const char *what, uint32_t during, uint64_t lacking,
                    bool quick)
{
    begin(c);
    double start = scale_cpu();
    uint32_t slices = go_round(c, during);
    double cpu = scale_cpu() - start;
    check(c, what, lacking);
    report(c, what, cpu, slices, quick);
}

/* Every hundredth takes nothing while entries go on coming, second after second; then it does again,
 * and gets them: from the log, if they are no longer in the window. */
static void stall(struct crowd *c, bool quick)
{
    struct scale_world *w = &c->world;
    uint32_t stalled = (c->n + STALLED - 1) / STALLED;
    uint64_t posted = 0, served;
    struct chi_delivery_counts from, now;
    chi_delivery_counts(w->delivery, &from);
    w->stall_every = STALLED;
    for (int i = 0; i < 3; i++) {
        measure(c, "one entry, 1 % blocked", 0, stalled, quick);
        scale_world_pass(w, 1000);
        measure(c, "1 + 10 entries, 1 % blocked", DURING, stalled, quick);
        scale_world_pass(w, IDLE_MS);
        posted += 2 + DURING;
    }
    w->stall_every = 0;
    for (uint32_t i = 0; i < c->n; i += STALLED)
        chi_delivery_writable(w->delivery, chi_hub_client_slot(c->ids[i]));
    scale_world_pass(w, IDLE_MS);
    chi_delivery_counts(w->delivery, &now);
    served = now.deliveries - from.deliveries;
    if (now.behind || now.gaps != from.gaps || served != posted * c->n)
        scale_fail("unblocked: %" PRIu64 " of %" PRIu64 " deliveries, %" PRIu64 " behind", served,
                   posted * c->n, now.behind);
}

int scale_members(const struct scale_options *options)
{
    struct crowd *c = calloc(1, sizeof *c);
    uint64_t *ids = calloc(options->count, sizeof *ids);
    if (!c || !ids)
        scale_fail("out of memory");
    c->n = options->count;
    c->ids = ids;
    scale_world_init(&c->world);
    scale_world_open(&c->world, NULL);
    arrive_all(c);
    for (int i = 0; i < 3; i++)
        measure(c, "one entry", 0, 0, options->quick);
    measure(c, "one entry, and 10 more", DURING, 0, options->quick);
    measure(c, "one entry, and 5,000 more", MANY, 0, options->quick);
    stall(c, options->quick);
    measure(c, "one entry, all again", 0, 0, options->quick);
    scale_world_close(&c->world);
    free(ids);
    free(c);
    return 0;
}
