/* What an SQLite log does in a second, and what it costs: posts of many clients in many rooms,
 * driven by one thread, as the hub drives it; and pages read back.
 *
 * Happy path: open, warm up, then either keep so many posts under way at any time, or post at a
 * rate; each commit answers, each answer makes room for the next post. Or: fill one room; or read
 * pages from the middle of one. Prints one JSON object. Failure: any post that is not committed, or
 * page that does not come whole, ends the program with 1. */
#include "log_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "chathub.h"

#define PAGE        50u
#define BATCHES_MAX 1000000u
#define FOR_EVER    1e12

struct options {
    const char *log, *sync, *batches;
    uint32_t clients, rooms, outstanding, size, pace, warm, fill, pages;
    double seconds, rate;
    bool no_cids;
};

struct bench {
    struct options options;
    struct world world;
    void **rooms;      /* handles, by number */
    uint64_t *tops;    /* of the rooms, when they were opened */
    uint32_t opened;   /* rooms */
    uint64_t posted;   /* posts that the log took */
    uint64_t answered; /* of them committed */
    uint32_t *batches; /* answers that came together, in order */
    uint32_t batch_count;
    double *due;      /* of the posts under way at a rate: when they were due; a ring */
    uint32_t *waited; /* … and how long they took: a histogram, in steps of 10 µs */
    char *content;
    uint64_t seed;
};

#define RING        65536u
#define WAITED_MAX  100000u
#define WAITED_STEP 1e-5

struct page_reader {
    struct chi_log_reader reader; /* first */
    uint32_t came, entries;
    int status;
};

static struct bench bench = {.options = {.sync = "full",
                                         .clients = 50,
                                         .rooms = 100,
                                         .outstanding = 16,
                                         .size = 200,
                                         .pace = 2,
                                         .seconds = 5}};

static uint64_t chance(uint64_t below)
{
    bench.seed ^= bench.seed << 13;
    bench.seed ^= bench.seed >> 7;
    bench.seed ^= bench.seed << 17;
    return bench.seed % below;
}

static void *allocate(size_t count, size_t size)
{
    void *at = calloc(count, size);
    if (!at)
        world_fail("out of memory");
    return at;
}

/* ---------------------------------------------------------------------------- what the log says */

static void on_opened(void *hub, uint32_t room, int status, void *handle, uint64_t top)
{
    (void)hub;
    if (status)
        world_fail("room %" PRIu32 " does not open: %s", room, chathub_strerror(status));
    bench.rooms[room] = handle;
    bench.tops[room] = top;
    bench.opened++;
}

static void note_wait(uint64_t number)
{
    double took = world_seconds() - bench.due[number % RING];
    uint32_t step = took < 0 ? 0 : (uint32_t)(took / WAITED_STEP);
    bench.waited[step < WAITED_MAX ? step : WAITED_MAX - 1]++;
}

static void on_committed(void *hub, const struct chi_log_result *results, size_t n)
{
    (void)hub;
    for (size_t i = 0; i < n; i++) {
        if (results[i].status)
            world_fail("a post was not committed: %s%s%s", chathub_strerror(results[i].status),
                       results[i].why ? ": " : "", results[i].why ? results[i].why : "");
        if (bench.due)
            note_wait(bench.answered + i);
    }
    bench.answered += n;
}

static void on_redacted(void *hub, uint32_t room, uint64_t position, int status, void *token)
{
    (void)hub, (void)room, (void)position, (void)status, (void)token;
}

static const struct chi_log_up up = {on_opened, on_committed, on_redacted, NULL, &bench};

/* ---------------------------------------------------------------------------------------- posts */

static void open_rooms(uint32_t count)
{
    struct chi_log *log = bench.world.log;
    char name[32];
    bench.rooms = allocate(count, sizeof *bench.rooms);
    bench.tops = allocate(count, sizeof *bench.tops);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof name, "bench-%" PRIu32, i);
        struct chi_name *checked = chi_name_new(chi_span_of(name), chi_span_of(name));
        if (!checked || log->open(log, i, checked))
            world_fail("room %s cannot be opened", name);
        chi_name_unref(checked);
    }
    while (bench.opened < count)
        world_turn(&bench.world, FOR_EVER);
}

static void random_cid(char out[17])
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for (int i = 0; i < 16; i++)
        out[i] = digits[chance(64)];
    out[16] = 0;
}

/* One post of the next client, into any room. */
static int post(void)
{
    struct chi_log *log = bench.world.log;
    char sender[24], user[24], cid[17];
    uint32_t client = (uint32_t)(bench.posted % bench.options.clients);
    snprintf(sender, sizeof sender, "sender%02" PRIu32, client);
    snprintf(user, sizeof user, "user%012" PRIu32, client);
    random_cid(cid);
    struct chi_entry_parts parts = {.sender = chi_span_of(sender),
                                    .user = chi_span_of(user),
                                    .content = {bench.content, bench.options.size}};
    if (!bench.options.no_cids)
        parts.cid = chi_span_of(cid);
    struct chi_entry *draft = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    if (!draft)
        world_fail("out of memory");
    int error = log->append(log, bench.rooms[chance(bench.options.rooms)], draft, draft);
    chi_entry_unref(draft);
    bench.posted += error == 0;
    return error;
}

static void must_post(void)
{
    int error = post();
    if (error)
        world_fail("a post was not taken: %s", chathub_strerror(error));
}

static void turn(double until)
{
    uint64_t before = bench.answered;
    world_turn(&bench.world, until);
    if (bench.answered > before && bench.batches && bench.batch_count < BATCHES_MAX)
        bench.batches[bench.batch_count++] = (uint32_t)(bench.answered - before);
}

/* Keeps `under_way` posts under way until `total` were posted or the time is over; waits for all.
 */
static void post_many(uint64_t under_way, uint64_t total, double end)
{
    uint64_t first = bench.posted;
    while (bench.posted - first < total && world_seconds() < end) {
        while (bench.posted - bench.answered < under_way && bench.posted - first < total)
            must_post();
        turn(end);
    }
    while (bench.answered < bench.posted)
        turn(FOR_EVER);
}

static void post_at_rate(double rate, double seconds)
{
    double start = world_seconds();
    uint64_t first = bench.posted, total = (uint64_t)(rate * seconds);
    bench.due = allocate(RING, sizeof *bench.due);
    bench.waited = allocate(WAITED_MAX, sizeof *bench.waited);
    while (bench.posted - first < total) {
        double now = world_seconds(), next;
        while ((next = start + (double)(bench.posted - first) / rate) <= now &&
               bench.posted - first < total) {
            if (bench.posted - bench.answered >= RING)
                world_fail("the log does not keep up with %.0f posts a second", rate);
            bench.due[bench.posted % RING] = next;
            must_post();
        }
        turn(next);
    }
    while (bench.answered < bench.posted)
        turn(FOR_EVER);
}

static double waited_ms(double part)
{
    uint64_t all = 0, seen = 0;
    for (uint32_t i = 0; i < WAITED_MAX; i++)
        all += bench.waited[i];
    for (uint32_t i = 0; i < WAITED_MAX; i++) {
        seen += bench.waited[i];
        if (seen && (double)seen >= part * (double)all)
            return (i + 0.5) * WAITED_STEP * 1000;
    }
    return 0;
}

/* Batch sizes, one a line. Where the driver's thread could not tell the commits apart, their mean.
 */
static void write_batches(uint64_t posts, uint64_t commits)
{
    FILE *file = fopen(bench.options.batches, "we");
    if (!file)
        world_fail("%s cannot be written", bench.options.batches);
    double told = (double)bench.batch_count;
    bool apart = told > 0.95 * (double)commits && told < 1.05 * (double)commits;
    for (uint32_t i = 0; apart && i < bench.batch_count; i++)
        fprintf(file, "%" PRIu32 "\n", bench.batches[i]);
    if (!apart)
        fprintf(file, "%" PRIu64 "\n", commits ? (posts + commits / 2) / commits : 1);
    if (fclose(file))
        world_fail("%s cannot be written", bench.options.batches);
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t batch_at(uint32_t percent)
{
    return bench.batch_count ? bench.batches[(uint64_t)(bench.batch_count - 1) * percent / 100] : 0;
}

static void measure_posts(void)
{
    const struct options *o = &bench.options;
    struct chi_log *log = bench.world.log;
    struct chi_log_stats before, after;
    struct world_cpu from, to;
    open_rooms(o->rooms);
    post_many(8192, o->warm, FOR_EVER);
    bench.batches = allocate(BATCHES_MAX, sizeof *bench.batches);
    uint64_t first = bench.posted;
    log->stats(log, &before);
    world_cpu_read(&from);
    double start = world_seconds();
    if (o->rate > 0)
        post_at_rate(o->rate, o->seconds);
    else
        post_many((uint64_t)o->clients * o->outstanding, UINT64_MAX, start + o->seconds);
    double seconds = world_seconds() - start;
    world_cpu_read(&to);
    log->stats(log, &after);
    double posts = (double)(bench.posted - first);
    uint64_t commits = after.commits - before.commits;
    if (o->batches)
        write_batches(bench.posted - first, commits);
    qsort(bench.batches, bench.batch_count, sizeof *bench.batches, compare);
    printf("{\"posts\":%.0f,\"seconds\":%.4f,\"commits\":%" PRIu64 ",\"told_apart\":%" PRIu32
           ",\"batch_p10\":%" PRIu32 ",\"batch_p50\":%" PRIu32 ",\"batch_p90\":%" PRIu32
           ",\"writer_us\":%.3f,\"reader_us\":%.3f,\"driver_us\":%.3f,\"p50_ms\":%.3f,"
           "\"p99_ms\":%.3f}\n",
           posts, seconds, commits, bench.batch_count, batch_at(10), batch_at(50), batch_at(90),
           (to.writer - from.writer) * 1e6 / posts, (to.reader - from.reader) * 1e6 / posts,
           (to.driver - from.driver) * 1e6 / posts, bench.due ? waited_ms(0.5) : 0,
           bench.due ? waited_ms(0.99) : 0);
}

/* ---------------------------------------------------------------------------------------- pages */

static void fill_room(void)
{
    bench.options.rooms = 1;
    open_rooms(1);
    double start = world_seconds();
    post_many(8192, bench.options.fill, FOR_EVER);
    printf("{\"posts\":%" PRIu64 ",\"seconds\":%.3f}\n", bench.posted, world_seconds() - start);
}

static void on_page(struct chi_log_reader *reader, const struct chi_log_page *page)
{
    struct page_reader *r = (struct page_reader *)(void *)reader;
    r->came++;
    r->status = page->status;
    r->entries = page->count;
}

/* One page after or before a place in the middle half; answers what it took. */
static double read_page(bool backward)
{
    struct chi_log *log = bench.world.log;
    struct page_reader r = {.reader = {on_page}};
    uint64_t half = bench.tops[0] / 2, place = half / 2 + chance(half);
    struct chi_log_read read = {.after = backward ? 0 : place,
                                .before = backward ? place : UINT64_MAX,
                                .limit = PAGE,
                                .bytes = 1u << 20,
                                .backward = backward,
                                .reader = &r.reader};
    double start = world_seconds();
    if (log->read(log, bench.rooms[0], &read))
        world_fail("a page was refused");
    while (!r.came)
        world_turn(&bench.world, FOR_EVER);
    if (r.status || r.entries != PAGE)
        world_fail("a page had %" PRIu32 " entries, status %d", r.entries, r.status);
    return world_seconds() - start;
}

static void measure_pages(void)
{
    struct world_cpu from, to;
    open_rooms(1);
    if (bench.tops[0] < 4 * PAGE)
        world_fail("the room bench-0 has too few entries; --fill it first");
    world_cpu_read(&from);
    double first = read_page(false);
    world_cpu_read(&to);
    double first_cpu = to.reader - from.reader;
    printf("{\"top\":%" PRIu64 ",\"first_us\":%.1f,\"first_cpu_us\":%.1f", bench.tops[0],
           first * 1e6, first_cpu * 1e6);
    for (int backward = 0; backward < 2; backward++) {
        double took = 0;
        world_cpu_read(&from);
        for (uint32_t i = 0; i < bench.options.pages; i++)
            took += read_page(backward);
        world_cpu_read(&to);
        printf(",\"%s_us\":%.2f,\"%s_cpu_us\":%.2f", backward ? "backward" : "forward",
               took * 1e6 / bench.options.pages, backward ? "backward" : "forward",
               (to.reader - from.reader) * 1e6 / bench.options.pages);
    }
    printf("}\n");
}

/* -------------------------------------------------------------------------------------- options */

static int usage(void)
{
    fputs(
        "usage: log_posts --log FILE [--sync full|normal] [--pace MS] [--size BYTES] [--no-cids]\n"
        "                 [--clients N] [--rooms N] [--outstanding N | --rate N] [--seconds S]\n"
        "                 [--warm POSTS] [--batches FILE]   measure posts\n"
        "                 --fill POSTS                      or: fill the room bench-0\n"
        "                 --pages N                         or: measure pages of it\n",
        stderr);
    return 2;
}

static uint32_t *count_option(struct options *o, const char *name)
{
    const struct {
        const char *name;
        uint32_t *at;
    } all[] = {
        {"--clients", &o->clients}, {"--rooms", &o->rooms}, {"--outstanding", &o->outstanding},
        {"--size", &o->size},       {"--pace", &o->pace},   {"--warm", &o->warm},
        {"--fill", &o->fill},       {"--pages", &o->pages}};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (!strcmp(name, all[i].name))
            return all[i].at;
    }
    return NULL;
}

static bool take_option(struct options *o, const char *name, const char *value)
{
    uint32_t *count = count_option(o, name);
    if (count)
        *count = (uint32_t)strtoul(value, NULL, 10);
    else if (!strcmp(name, "--log"))
        o->log = value;
    else if (!strcmp(name, "--sync"))
        o->sync = value;
    else if (!strcmp(name, "--batches"))
        o->batches = value;
    else if (!strcmp(name, "--rate"))
        o->rate = strtod(value, NULL);
    else if (!strcmp(name, "--seconds"))
        o->seconds = strtod(value, NULL);
    else
        return false;
    return true;
}

static bool take_options(struct options *o, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--no-cids"))
            o->no_cids = true;
        else if (i + 1 == argc || !take_option(o, argv[i], argv[i + 1]))
            return false;
        else
            i++;
    }
    return o->log && o->clients && o->rooms && o->outstanding && o->size;
}

int main(int argc, char **argv)
{
    struct options *o = &bench.options;
    if (!take_options(o, argc, argv))
        return usage();
    char *sync = strdup(o->sync);
    bench.content = allocate(1, o->size);
    if (!sync || getrandom(&bench.seed, sizeof bench.seed, 0) != sizeof bench.seed)
        world_fail("out of memory, or no randomness");
    bench.seed |= 1;
    memset(bench.content, 'x', o->size);
    bench.world.settings = (struct chi_settings){.log_sync = sync, .log_pace = o->pace};
    world_open(&bench.world, o->log, &up);
    if (o->fill)
        fill_room();
    else if (o->pages)
        measure_pages();
    else
        measure_posts();
    world_close(&bench.world);
    free(bench.rooms);
    free(bench.tops);
    free(bench.batches);
    free(bench.due);
    free(bench.waited);
    free(bench.content);
    free(sync);
    return 0;
}
