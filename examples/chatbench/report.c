/* The report: for people, or as one JSON object with the same figures. */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>

#define MS(ns) ((double)(ns) / 1e6)

/* Seconds of server CPU while posting, all threads. */
static double cpu_of(const struct cb_measures *m)
{
    return m->cpu_after.total - m->cpu_before.total;
}

static double log_of(const struct cb_measures *m)
{
    return cb_proc_log(&m->cpu_before, &m->cpu_after);
}

static double share_us(double seconds, uint64_t count)
{
    return count ? seconds * 1e6 / (double)count : 0;
}

static double per_delivery_us(const struct cb_bench *bench, const struct cb_measures *m)
{
    return share_us(cpu_of(m) - log_of(m), bench->deliveries);
}

static double connect_us(const struct cb_bench *bench, const struct cb_measures *m)
{
    double log = cb_proc_log(&m->cpu_start, &m->cpu_joined);
    return share_us(m->cpu_joined.total - m->cpu_start.total - log, bench->options.clients);
}

static double per_client(const struct cb_bench *bench, int64_t from, int64_t to)
{
    return from < 0 || to < 0 ? 0 : (double)(to - from) / bench->options.clients;
}

static void people_server(const struct cb_bench *bench, const struct cb_measures *m)
{
    if (m->has_cpu) {
        double span = m->post_seconds + m->drain_seconds;
        printf("server CPU   %.2f s (%.0f %% of one core), %.3f us a delivery; chatbench itself "
               "%.2f s\n",
               cpu_of(m), span > 0 ? 100 * cpu_of(m) / span : 0, per_delivery_us(bench, m),
               m->own_cpu);
        printf("             %.2f us a post, and %.2f us of the log's threads, which are not in "
               "that; %.1f us to connect and join\n",
               share_us(cpu_of(m) - log_of(m), bench->acked), share_us(log_of(m), bench->acked),
               connect_us(bench, m));
        for (uint32_t i = 0; i < m->cpu_after.count && m->cpu_after.count > 1; i++) {
            const struct cb_thread *t = &m->cpu_after.threads[i];
            printf("  thread %-16s %.3f s\n", t->name, cb_proc_thread(&m->cpu_before, t));
        }
    }
    if (m->pss_start >= 0 && m->pss_end >= 0) {
        printf("server PSS   %.1f KiB at first, %.1f joined, %.1f posted, %.1f at the end: "
               "%.0f B a client joined, %.0f B at the end\n",
               (double)m->pss_start / 1024, (double)m->pss_joined / 1024,
               (double)m->pss_posted / 1024, (double)m->pss_end / 1024,
               per_client(bench, m->pss_start, m->pss_joined),
               per_client(bench, m->pss_start, m->pss_end));
    }
}

static void people_slow(const struct cb_bench *bench, const struct cb_measures *m)
{
    const struct cb_options *o = &bench->options;
    if (o->stall) {
        printf("slow         %" PRIu32 " clients, %" PRIu32
               " entries behind or more when they read on",
               o->stall, m->lag_min);
        if (m->kernel_max >= 0) {
            printf("; the kernel held %.1f KiB for one of them at most",
                   (double)m->kernel_max / 1024);
        }
        printf("\n");
    }
    if (bench->gaps) {
        printf("gaps         %" PRIu64 " told, for %" PRIu64 " entries\n", bench->gaps, m->gapped);
    }
}

static void people(const struct cb_bench *bench, const struct cb_measures *m)
{
    const struct cb_options *o = &bench->options;
    const struct cb_faults *f = &bench->faults;
    const struct cb_histogram *h = &bench->latency;
    printf("clients      %" PRIu32 " of %" PRIu32 " in %" PRIu32 " rooms at %s, joined in %.2f s\n",
           bench->live, o->clients, o->rooms, o->url, m->join_seconds);
    if (o->behind) {
        printf("caught up    %" PRIu64 " of %" PRIu32 " with %" PRIu32 " entries each, in %.2f s\n",
               m->caught_up, o->clients, o->behind, m->caught_up_seconds);
    }
    printf("presence     %.1f frames a client until the first post, at most %" PRIu32
           " (at the end %" PRIu32 ")\n",
           m->presence_mean, m->presence_max, m->presence_end);
    printf("frames       %.1f a client from connecting until the first post, at most %" PRIu32 "\n",
           m->join_frames_mean, m->join_frames_max);
    printf("posts        %" PRIu64 " sent, %" PRIu64 " acked, %" PRIu64
           " refused, in %.2f s (%.0f a second)\n",
           bench->sent, bench->acked, bench->refused, m->post_seconds,
           m->post_seconds > 0 ? (double)bench->sent / m->post_seconds : 0);
    printf("deliveries   %" PRIu64 " of %" PRIu64 ", all there %.2f s after the last post\n",
           bench->deliveries, m->expected, m->drain_seconds);
    printf("latency      p50 %.2f ms, p99 %.2f ms, max %.2f ms\n", MS(cb_histogram_at(h, 0.5)),
           MS(cb_histogram_at(h, 0.99)), MS(h->max));
    printf("lag          when the posting ended: at most %" PRIu64
           " acked entries, and a post that was due %.2f ms before\n",
           m->lag_max, MS(m->lag_ns));
    people_slow(bench, m);
    people_server(bench, m);
    printf("faults       %" PRIu64 " lost, %" PRIu64 " holes, %" PRIu64 " doubled, %" PRIu64
           " out of order, %" PRIu64 " altered, %" PRIu64 " errors, %" PRIu32 " connections lost\n",
           m->lost, f->holes, f->doubled, f->disorder, f->altered, bench->errors, bench->ended);
    if (f->first[0]) {
        printf("first fault  %s\n", f->first);
    }
}

static void json_server(const struct cb_bench *bench, const struct cb_measures *m)
{
    if (m->has_cpu) {
        printf(",\"cpu_seconds\":%.6f,\"cpu_user\":%.3f,\"cpu_system\":%.3f"
               ",\"own_cpu_seconds\":%.3f",
               cpu_of(m), m->cpu_after.user - m->cpu_before.user,
               m->cpu_after.system - m->cpu_before.system, m->own_cpu);
        printf(",\"cpu_us_per_delivery\":%.5f,\"cpu_us_per_post\":%.3f,\"log_us_per_post\":%.3f"
               ",\"connect_cpu_us\":%.3f",
               per_delivery_us(bench, m), share_us(cpu_of(m) - log_of(m), bench->acked),
               share_us(log_of(m), bench->acked), connect_us(bench, m));
    }
    if (m->pss_start >= 0) {
        printf(",\"pss_start\":%" PRId64 ",\"pss_joined\":%" PRId64 ",\"pss_posted\":%" PRId64
               ",\"pss_end\":%" PRId64,
               m->pss_start, m->pss_joined, m->pss_posted, m->pss_end);
    }
}

static void json(const struct cb_bench *bench, const struct cb_measures *m)
{
    const struct cb_faults *f = &bench->faults;
    const struct cb_histogram *h = &bench->latency;
    printf("{\"clients\":%" PRIu32 ",\"live\":%" PRIu32 ",\"rooms\":%" PRIu32
           ",\"join_seconds\":%.3f",
           bench->options.clients, bench->live, bench->options.rooms, m->join_seconds);
    printf(",\"caught_up\":%" PRIu64 ",\"caught_up_seconds\":%.3f", m->caught_up,
           m->caught_up_seconds);
    printf(",\"presence_max\":%" PRIu32 ",\"presence_mean\":%.2f,\"presence_end\":%" PRIu32,
           m->presence_max, m->presence_mean, m->presence_end);
    printf(",\"join_frames_mean\":%.2f,\"join_frames_max\":%" PRIu32, m->join_frames_mean,
           m->join_frames_max);
    printf(",\"sent\":%" PRIu64 ",\"acked\":%" PRIu64 ",\"refused\":%" PRIu64 ",\"dups\":%" PRIu64
           ",\"post_seconds\":%.3f,\"drain_seconds\":%.3f",
           bench->sent, bench->acked, bench->refused, bench->dups, m->post_seconds,
           m->drain_seconds);
    printf(",\"deliveries\":%" PRIu64 ",\"expected\":%" PRIu64 ",\"frames\":%" PRIu64
           ",\"bytes\":%" PRIu64,
           bench->deliveries, m->expected, bench->frames, bench->bytes);
    printf(",\"compared\":%" PRIu64, bench->compared);
    printf(",\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f", MS(cb_histogram_at(h, 0.5)),
           MS(cb_histogram_at(h, 0.99)), MS(h->max));
    printf(",\"lost\":%" PRIu64 ",\"gaps\":%" PRIu64 ",\"gapped\":%" PRIu64 ",\"holes\":%" PRIu64
           ",\"doubled\":%" PRIu64 ",\"disorder\":%" PRIu64 ",\"errors\":%" PRIu64
           ",\"ended\":%" PRIu32 ",\"altered\":%" PRIu64,
           m->lost, bench->gaps, m->gapped, f->holes, f->doubled, f->disorder, bench->errors,
           bench->ended, f->altered);
    printf(",\"lag_max\":%" PRIu64 ",\"lag_ms\":%.3f", m->lag_max, MS(m->lag_ns));
    printf(",\"lag_min\":%" PRIu32 ",\"kernel_max\":%" PRId64, m->lag_min, m->kernel_max);
    json_server(bench, m);
    printf("}\n");
}

void cb_report(const struct cb_bench *bench, const struct cb_measures *m)
{
    if (bench->options.json) {
        json(bench, m);
    } else {
        people(bench, m);
    }
}
