/* A run: connect and join, post, wait until all has arrived. */
#include "bench.h"

#define CONNECT_PATIENCE 30u /* seconds without any progress */

static void wait_for(struct cb_bench *bench, double seconds)
{
    uint64_t end = cb_clock() + cb_ns(seconds);
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
        cb_step(bench, bench->now + CB_SECOND);
        if (bench->ended) {
            return false;
        }
        if (bench->now - bench->last_progress > (uint64_t)CONNECT_PATIENCE * CB_SECOND) {
            cb_problem(bench, "no progress for %u s with %u of %u clients joined", CONNECT_PATIENCE,
                       bench->live, o->clients);
            return false;
        }
    }
    return true;
}

/* Until every client has what it was behind, or nothing comes any more. */
static void catch_up(struct cb_bench *bench, struct cb_measures *m, uint64_t begin)
{
    const struct cb_options *o = &bench->options;
    bench->last_progress = bench->now = cb_clock();
    while ((m->caught_up = cb_count_caught_up(bench)) < o->clients &&
           bench->now - bench->last_progress < cb_ns(o->drain)) {
        cb_step(bench, bench->now + CB_SECOND / 100);
    }
    m->caught_up_seconds = cb_seconds(begin, cb_clock());
}

static void pause_slow(struct cb_bench *bench, bool paused)
{
    const struct cb_options *o = &bench->options;
    for (uint32_t i = o->clients - o->stall; i < o->clients; i++) {
        cb_client_pause(bench, &bench->clients[i], paused);
    }
}

static bool has_all(const struct cb_bench *bench, uint32_t i)
{
    const struct cb_options *o = &bench->options;
    const struct cb_client *client = &bench->clients[i];
    return client->state != CB_LIVE || (client->member.index >= bench->rooms[i % o->rooms].count &&
                                        (i >= o->posters || bench->next[i] >= client->acked));
}

/* `*lacks` is a client that did not have all when it was asked last: most often it still has not. */
static bool arrived(const struct cb_bench *bench, bool slow_too, uint32_t *lacks)
{
    const struct cb_options *o = &bench->options;
    uint32_t count = o->clients - (slow_too ? 0 : o->stall);
    if (cb_answered(bench) < bench->sent || (*lacks < count && !has_all(bench, *lacks))) {
        return false;
    }
    for (*lacks = 0; *lacks < count && has_all(bench, *lacks);) {
        (*lacks)++;
    }
    return *lacks == count;
}

/* Until everything has arrived or nothing comes any more. */
static void drain(struct cb_bench *bench, bool slow_too)
{
    uint32_t lacks = 0;
    bench->last_progress = bench->now = cb_clock();
    while (!arrived(bench, slow_too, &lacks) &&
           bench->now - bench->last_progress < cb_ns(bench->options.drain)) {
        cb_step(bench, bench->now + CB_SECOND / 100);
    }
}

static void post_and_drain(struct cb_bench *bench, struct cb_measures *m)
{
    const struct cb_options *o = &bench->options;
    bench->frames = bench->bytes = bench->deliveries = bench->compared = 0;
    m->has_cpu = m->has_cpu && cb_proc_cpu(o->pids, o->pid_count, &m->cpu_before);
    double own = cb_own_cpu();
    uint64_t begin = cb_clock();
    pause_slow(bench, true);
    cb_post_all(bench);
    uint64_t posted = cb_clock();
    if (!cb_look_at_lag(bench, m)) {
        cb_problem(bench, "out of memory");
    }
    drain(bench, false);
    m->pss_posted = cb_pss(bench);
    double passed = cb_seconds(begin, cb_clock());
    if (passed < o->stall_seconds) {
        wait_for(bench, o->stall_seconds - passed);
        m->pss_posted = cb_pss(bench);
    }
    if (o->stall) {
        cb_look_at_slow(bench, m);
        pause_slow(bench, false);
        drain(bench, true);
    }
    m->post_seconds = cb_seconds(begin, posted);
    m->drain_seconds = cb_seconds(posted, cb_clock());
    m->own_cpu = cb_own_cpu() - own;
    m->has_cpu = m->has_cpu && cb_proc_cpu(o->pids, o->pid_count, &m->cpu_after);
}

void cb_run(struct cb_bench *bench, struct cb_measures *m)
{
    const struct cb_options *o = &bench->options;
    uint64_t begin = cb_clock();
    m->pss_start = cb_pss(bench);
    m->has_cpu = o->pid_count && cb_proc_cpu(o->pids, o->pid_count, &m->cpu_start);
    bool joined = connect_all(bench);
    m->join_seconds = cb_seconds(begin, cb_clock());
    m->has_cpu = m->has_cpu && cb_proc_cpu(o->pids, o->pid_count, &m->cpu_joined);
    if (!joined) {
        return;
    }
    catch_up(bench, m, begin);
    wait_for(bench, o->settle);
    cb_count_frames(bench, m);
    m->pss_joined = cb_pss(bench);
    post_and_drain(bench, m);
    wait_for(bench, o->idle);
    m->pss_end = cb_pss(bench);
    for (uint32_t i = 0; i < o->clients; i++) {
        uint32_t n = bench->clients[i].presence;
        m->presence_end = n > m->presence_end ? n : m->presence_end;
    }
}
