/* chatbench: a load client for chat hubs. Connects and joins, posts, waits until all has
 * arrived, reports. */
#include "bench.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/timerfd.h>

/* Descriptors: one for each client, and a few. */
static bool raise_limit(uint32_t clients)
{
    struct rlimit limit;
    rlim_t needed = (rlim_t)clients + 32;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) {
        return true;
    }
    if (needed > limit.rlim_max) {
        fprintf(stderr,
                "chatbench: %u clients need %llu descriptors, this process may have %llu; "
                "run several chatbench with fewer clients each\n",
                clients, (unsigned long long)needed, (unsigned long long)limit.rlim_max);
        return false;
    }
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    return true;
}

static bool allocate(struct cb_bench *bench)
{
    const struct cb_options *o = &bench->options;
    bench->clients = calloc(o->clients, sizeof *bench->clients);
    bench->rooms = calloc(o->rooms, sizeof *bench->rooms);
    bench->next = calloc(o->clients, sizeof *bench->next);
    bench->scratch = malloc(CB_SCRATCH);
    bench->draft = malloc(o->size + CB_DRAFT_EXTRA);
    bench->batch = malloc(CB_BATCH);
    return bench->clients && bench->rooms && bench->next && bench->scratch && bench->draft &&
           bench->batch;
}

static bool open_bench(struct cb_bench *bench)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = CB_TIMER};
    bench->epoll = epoll_create1(EPOLL_CLOEXEC);
    bench->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (bench->epoll < 0 || bench->timer < 0 ||
        epoll_ctl(bench->epoll, EPOLL_CTL_ADD, bench->timer, &event) < 0 || !allocate(bench)) {
        fprintf(stderr, "chatbench: cannot begin: %s\n", strerror(errno));
        return false;
    }
    if (getrandom(&bench->run, sizeof bench->run, 0) != sizeof bench->run) {
        bench->run = cb_clock();
    }
    bench->seed = (uint32_t)bench->run;
    snprintf(bench->mark, sizeof bench->mark, "%08" PRIx32, (uint32_t)(bench->run >> 32));
    cb_post_prepare(bench);
    for (uint32_t i = 0; i < bench->options.clients; i++) {
        bench->clients[i].fd = -1;
        bench->clients[i].slow = i >= bench->options.clients - bench->options.stall;
    }
    bench->now = bench->last_progress = cb_clock();
    return true;
}

static void close_bench(struct cb_bench *bench)
{
    for (uint32_t i = 0; bench->clients && i < bench->options.clients; i++) {
        cb_client_end(bench, &bench->clients[i]);
    }
    for (uint32_t i = 0; bench->rooms && i < bench->options.rooms; i++) {
        free(bench->rooms[i].entries);
        cb_stream_fini(&bench->rooms[i].stream);
    }
    free(bench->clients);
    free(bench->rooms);
    free(bench->next);
    free(bench->due);
    free(bench->scratch);
    free(bench->draft);
    free(bench->batch);
}

int main(int argc, char **argv)
{
    static struct cb_bench bench; /* large: the histogram */
    struct cb_measures m = {
        .pss_start = -1, .pss_joined = -1, .pss_posted = -1, .pss_end = -1, .kernel_max = -1};
    int asked = cb_options_read(&bench.options, argc, argv);
    if (asked != 0) {
        return asked < 0 ? 2 : 0;
    }
    if (!raise_limit(bench.options.clients) || !open_bench(&bench)) {
        return 1;
    }
    cb_run(&bench, &m);
    bool well = cb_add_up(&bench, &m) && cb_all_well(&bench, &m);
    if (bench.live || bench.sent) {
        cb_report(&bench, &m);
    }
    if (bench.problem[0]) {
        fprintf(stderr, "chatbench: %s\n", bench.problem);
    }
    close_bench(&bench);
    return well ? 0 : 1;
}
