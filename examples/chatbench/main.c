/* chatbench: a load client for chat hubs. Connects and joins, posts, waits until all has
 * arrived, reports. */
#include "bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SECOND           1000000000u
#define CONNECT_PATIENCE 30u /* seconds without any progress */

static uint64_t ns(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

static double seconds_between(uint64_t from, uint64_t to)
{
    return (double)(to - from) / 1e9;
}

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
    bench->frame = malloc(o->size + CB_DRAFT_EXTRA + CB_FRAME_EXTRA);
    return bench->clients && bench->rooms && bench->next && bench->scratch && bench->draft &&
           bench->frame;
}

static bool open_bench(struct cb_bench *bench)
{
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
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
    }
    free(bench->clients);
    free(bench->rooms);
    free(bench->next);
    free(bench->scratch);
    free(bench->draft);
    free(bench->frame);
}

static int64_t pss(const struct cb_bench *bench)
{
    return bench->options.pid ? cb_proc_pss(bench->options.pid) : -1;
}

static void wait_for(struct cb_bench *bench, double seconds)
{
    uint64_t end = cb_clock() + ns(seconds);
    while (cb_clock() < end) {
        cb_step(bench, end);
    }
}

static bool connect_all(struct cb_bench *bench)
{
    const struct cb_options *o = &bench->options;
    while (bench->live < o->clients) {
        while (bench->started < o->clients && bench->pending < o->ramp) {
            if (!cb_client_start(bench)) {
                return false;
            }
        }
        cb_step(bench, bench->now + SECOND);
        if (bench->ended) {
            return false;
        }
        if (bench->now - bench->last_progress > (uint64_t)CONNECT_PATIENCE * SECOND) {
            cb_problem(bench, "no progress for %u s with %u of %u clients joined", CONNECT_PATIENCE,
                       bench->live, o->clients);
            return false;
        }
    }
    return true;
}

static uint64_t count_caught_up(const struct cb_bench *bench)
{
    uint64_t n = 0;
    for (uint32_t i = 0; i < bench->options.clients; i++) {
        n += bench->clients[i].entries >= bench->options.behind;
    }
    return n;
}

/* Until every client has what it was behind, or nothing comes any more. */
static void catch_up(struct cb_bench *bench, struct cb_measures *m, uint64_t begin)
{
    const struct cb_options *o = &bench->options;
    bench->last_progress = bench->now = cb_clock();
    while ((m->caught_up = count_caught_up(bench)) < o->clients &&
           bench->now - bench->last_progress < ns(o->drain)) {
        cb_step(bench, bench->now + SECOND / 100);
    }
    m->caught_up_seconds = seconds_between(begin, cb_clock());
}

static void count_presence(struct cb_bench *bench, struct cb_measures *m)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < bench->options.clients; i++) {
        uint32_t n = bench->clients[i].presence;
        sum += n;
        m->presence_max = n > m->presence_max ? n : m->presence_max;
    }
    m->presence_mean = (double)sum / bench->options.clients;
}

static void pause_slow(struct cb_bench *bench, bool paused)
{
    const struct cb_options *o = &bench->options;
    for (uint32_t i = o->clients - o->stall; i < o->clients; i++) {
        cb_client_pause(bench, &bench->clients[i], paused);
    }
}

/* Posts until `due` posts were sent; the k-th was due at start + k × gap. */
static void post_until(struct cb_bench *bench, uint64_t due, uint64_t start, double gap)
{
    while (bench->sent < due) {
        uint64_t at = gap > 0 ? start + (uint64_t)(gap * (double)bench->sent) : cb_clock();
        cb_talk_post(bench, &bench->clients[bench->sent % bench->options.posters], at);
    }
}

static uint64_t answered(const struct cb_bench *bench)
{
    return bench->acked + bench->refused;
}

static void post_all(struct cb_bench *bench)
{
    const struct cb_options *o = &bench->options;
    uint64_t start = cb_clock(), end = start + ns(o->seconds);
    double gap = o->rate > 0 ? 1e9 / o->rate : 0;
    uint64_t total = o->posts      ? o->posts
                     : o->rate > 0 ? (uint64_t)(o->rate * o->seconds)
                                   : UINT64_MAX;
    bench->now = bench->last_progress = start;
    while (bench->sent < total && (o->posts || bench->now < end || gap > 0) && bench->live > 0) {
        uint64_t due = gap > 0 ? (uint64_t)((double)(bench->now - start) / gap) + 1
                               : answered(bench) + o->outstanding;
        post_until(bench, due < total ? due : total, start, gap);
        uint64_t wake =
            gap > 0 ? start + (uint64_t)(gap * (double)bench->sent) : bench->now + SECOND;
        cb_step(bench, wake);
        if (gap <= 0 && bench->now - bench->last_progress > ns(o->drain)) {
            return;
        }
    }
}

/* Entries of this run in the room of this client, as far as anybody saw or was acked. */
static uint32_t run_entries(const uint64_t *acked_in_room, const struct cb_bench *bench,
                            uint32_t room)
{
    uint32_t seen = 0;
    for (uint32_t i = 0; i < bench->rooms[room].count; i++) {
        seen += bench->rooms[room].entries[i].poster != CB_FOREIGN;
    }
    return acked_in_room[room] > seen ? (uint32_t)acked_in_room[room] : seen;
}

static bool arrived(const struct cb_bench *bench, bool slow_too)
{
    const struct cb_options *o = &bench->options;
    if (answered(bench) < bench->sent) {
        return false;
    }
    for (uint32_t i = 0; i < o->clients - (slow_too ? 0 : o->stall); i++) {
        const struct cb_client *client = &bench->clients[i];
        const struct cb_room *room = &bench->rooms[i % o->rooms];
        if (client->state == CB_LIVE && (client->member.index < room->count ||
                                         (i < o->posters && bench->next[i] < client->acked))) {
            return false;
        }
    }
    return true;
}

/* Until everything has arrived or nothing comes any more. */
static void drain(struct cb_bench *bench, bool slow_too)
{
    bench->last_progress = bench->now = cb_clock();
    while (!arrived(bench, slow_too) &&
           bench->now - bench->last_progress < ns(bench->options.drain)) {
        cb_step(bench, bench->now + SECOND / 100);
    }
}

static uint16_t own_port(int fd)
{
    struct sockaddr_in own = {0};
    socklen_t len = sizeof own;
    return getsockname(fd, (struct sockaddr *)&own, &len) == 0 && own.sin_family == AF_INET
               ? ntohs(own.sin_port)
               : 0;
}

/* How far behind the slow clients are, and how much of that the kernel holds. */
static void look_at_slow(struct cb_bench *bench, struct cb_measures *m)
{
    const struct cb_options *o = &bench->options;
    m->lag_min = UINT32_MAX;
    for (uint32_t i = o->clients - o->stall; i < o->clients; i++) {
        const struct cb_client *client = &bench->clients[i];
        uint32_t lag = bench->rooms[i % o->rooms].count - client->member.index;
        m->lag_min = lag < m->lag_min ? lag : m->lag_min;
        uint16_t port = client->state == CB_LIVE ? own_port(client->fd) : 0;
        uint16_t server = ntohs(((const struct sockaddr_in *)&o->to)->sin_port);
        uint32_t sent, unsent, read, unread;
        if (port && cb_proc_queues(server, port, &unsent, &read) &&
            cb_proc_queues(port, server, &sent, &unread)) {
            int64_t held = (int64_t)unsent + unread;
            m->kernel_max = held > m->kernel_max ? held : m->kernel_max;
        }
    }
}

static double own_cpu(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void post_and_drain(struct cb_bench *bench, struct cb_measures *m)
{
    const struct cb_options *o = &bench->options;
    bench->frames = bench->bytes = bench->deliveries = 0;
    m->has_cpu = o->pid && cb_proc_cpu(o->pid, &m->cpu_before);
    double own = own_cpu();
    uint64_t begin = cb_clock();
    pause_slow(bench, true);
    post_all(bench);
    uint64_t posted = cb_clock();
    drain(bench, false);
    m->pss_posted = pss(bench);
    double passed = seconds_between(begin, cb_clock());
    if (passed < o->stall_seconds) {
        wait_for(bench, o->stall_seconds - passed);
        m->pss_posted = pss(bench);
    }
    if (o->stall) {
        look_at_slow(bench, m);
        pause_slow(bench, false);
        drain(bench, true);
    }
    m->post_seconds = seconds_between(begin, posted);
    m->drain_seconds = seconds_between(posted, cb_clock());
    m->own_cpu = own_cpu() - own;
    m->has_cpu = m->has_cpu && cb_proc_cpu(o->pid, &m->cpu_after);
}

/* What each member should have and has. */
static bool add_up(struct cb_bench *bench, struct cb_measures *m)
{
    const struct cb_options *o = &bench->options;
    uint64_t *acked = calloc(o->rooms, sizeof *acked);
    if (!acked) {
        return false;
    }
    for (uint32_t i = 0; i < o->posters; i++) {
        acked[i % o->rooms] += bench->clients[i].acked;
    }
    for (uint32_t room = 0; room < o->rooms; room++) {
        acked[room] = run_entries(acked, bench, room);
    }
    for (uint32_t i = 0; i < o->clients; i++) {
        const struct cb_member *member = &bench->clients[i].member;
        uint64_t has = (uint64_t)member->got + member->gapped, wanted = acked[i % o->rooms];
        m->expected += wanted;
        m->gapped += member->gapped;
        m->lost += wanted > has ? wanted - has : 0;
    }
    free(acked);
    return true;
}

static void run(struct cb_bench *bench, struct cb_measures *m)
{
    const struct cb_options *o = &bench->options;
    uint64_t begin = cb_clock();
    m->pss_start = pss(bench);
    bool joined = connect_all(bench);
    m->join_seconds = seconds_between(begin, cb_clock());
    if (!joined) {
        return;
    }
    catch_up(bench, m, begin);
    wait_for(bench, o->settle);
    count_presence(bench, m);
    m->pss_joined = pss(bench);
    post_and_drain(bench, m);
    wait_for(bench, o->idle);
    m->pss_end = pss(bench);
    for (uint32_t i = 0; i < o->clients; i++) {
        uint32_t n = bench->clients[i].presence;
        m->presence_end = n > m->presence_end ? n : m->presence_end;
    }
}

static bool all_well(const struct cb_bench *bench, const struct cb_measures *m)
{
    const struct cb_faults *f = &bench->faults;
    return bench->live == bench->options.clients && m->caught_up == bench->live && !m->lost &&
           !f->holes && !f->doubled && !f->disorder && !bench->refused && !bench->errors &&
           (bench->options.gaps_ok || !bench->gaps);
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
    run(&bench, &m);
    bool well = add_up(&bench, &m) && all_well(&bench, &m);
    if (bench.live || bench.sent) {
        cb_report(&bench, &m);
    }
    if (bench.problem[0]) {
        fprintf(stderr, "chatbench: %s\n", bench.problem);
    }
    close_bench(&bench);
    return well ? 0 : 1;
}
