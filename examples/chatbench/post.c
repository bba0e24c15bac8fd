/* Posting: who posts when, and what.
 *
 * Post k of the run is number k / posters of poster k % posters; its cid says so, behind the run's
 * mark: MARK.poster.number, in hexadecimal. When it was due is kept here, so that content is
 * nothing but content. What one poster has to post at the same time goes out in one write. */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A draft is `{"type":"post","room":"PREFIX-` number MIDDLE poster `.` number `"}`, where MIDDLE
 * begins at CB_MIDDLE of bench->draft and is the same for all posts. What is before it is written
 * anew for each room, at the end of that space, so that a draft is one span. */
#define CB_MIDDLE 128u

static size_t put(char *out, const char *text, size_t len)
{
    memcpy(out, text, len);
    return len;
}

static size_t put_number(char *out, uint32_t number, uint32_t base)
{
    char text[16];
    size_t at = sizeof text;
    do {
        text[--at] = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    return put(out, text + at, sizeof text - at);
}

void cb_post_prepare(struct cb_bench *bench)
{
    char *at = bench->draft + CB_MIDDLE;
    at += put(at, "\",\"content\":\"", 13);
    bench->content = at;
    memset(at, 'x', bench->options.size);
    at += bench->options.size;
    at += put(at, "\",\"cid\":\"", 9);
    at += put(at, bench->mark, CB_MARK);
    *at++ = '.';
    bench->middle = (size_t)(at - bench->draft) - CB_MIDDLE;
}

/* Writes the draft of a post; `*len` is its length. */
static const char *draft(struct cb_bench *bench, uint32_t poster, uint32_t number, size_t *len)
{
    char head[CB_MIDDLE], *end = bench->draft + CB_MIDDLE + bench->middle;
    int n = snprintf(head, sizeof head, "{\"type\":\"post\",\"room\":\"%s-", bench->options.prefix);
    size_t used = (size_t)n;
    used += put_number(head + used, poster % bench->options.rooms, 10);
    char *begin = bench->draft + CB_MIDDLE - used;
    memcpy(begin, head, used);
    end += put_number(end, poster, 16);
    *end++ = '.';
    end += put_number(end, number, 16);
    end += put(end, "\"}", 2);
    *len = (size_t)(end - begin);
    return begin;
}

/* Room for the times of posts below `count`. */
static bool reserve_due(struct cb_bench *bench, uint64_t count)
{
    if (count <= bench->due_cap) {
        return true;
    }
    uint64_t cap = bench->due_cap ? bench->due_cap * 2 : 1024;
    while (cap < count) {
        cap *= 2;
    }
    uint64_t *more = realloc(bench->due, cap * sizeof *more);
    if (!more) {
        cb_problem(bench, "out of memory after %" PRIu64 " posts", bench->sent);
        return false;
    }
    bench->due = more;
    bench->due_cap = cap;
    return true;
}

/* The posts first, first + posters … below `end`, all of one poster. */
static void post_of_one(struct cb_bench *bench, uint64_t first, uint64_t end)
{
    const struct cb_options *o = &bench->options;
    uint32_t poster = (uint32_t)(first % o->posters);
    struct cb_client *client = &bench->clients[poster];
    uint32_t number = (uint32_t)(first / o->posters);
    for (uint64_t k = first; k < end && client->state != CB_GONE; k += o->posters) {
        size_t len;
        const char *text = draft(bench, poster, number++, &len);
        cb_client_add(bench, client, text, len);
    }
    cb_client_flush(bench, client);
}

/* Posts until `end` posts were sent. With a gap, post k was due at start + k × gap; without, now. */
static bool post_until(struct cb_bench *bench, uint64_t end, uint64_t start, double gap)
{
    uint64_t first = bench->sent, posters = bench->options.posters;
    if (end <= first) {
        return true;
    }
    if (!reserve_due(bench, end)) {
        return false;
    }
    uint64_t now = cb_clock();
    for (uint64_t k = first; k < end; k++) {
        bench->due[k] = gap > 0 ? start + (uint64_t)(gap * (double)k) : now;
    }
    bench->sent = end;
    for (uint64_t k = first; k < end && k < first + posters; k++) {
        post_of_one(bench, k, end);
    }
    return true;
}

uint64_t cb_answered(const struct cb_bench *bench)
{
    return bench->acked + bench->refused;
}

void cb_post_all(struct cb_bench *bench)
{
    const struct cb_options *o = &bench->options;
    uint64_t start = cb_clock(), end = start + cb_ns(o->seconds);
    double gap = o->rate > 0 ? 1e9 / o->rate : 0;
    uint64_t total = o->posts      ? o->posts
                     : o->rate > 0 ? (uint64_t)(o->rate * o->seconds)
                                   : UINT64_MAX;
    bench->now = bench->last_progress = start;
    while (bench->sent < total && (o->posts || bench->now < end || gap > 0) && bench->live > 0) {
        uint64_t due = gap > 0 ? (uint64_t)((double)(bench->now - start) / gap) + 1
                               : cb_answered(bench) + o->outstanding;
        if (!post_until(bench, due < total ? due : total, start, gap)) {
            return;
        }
        uint64_t wake =
            gap > 0 ? start + (uint64_t)(gap * (double)bench->sent) : bench->now + CB_SECOND;
        cb_step(bench, wake);
        if (gap <= 0 && bench->now - bench->last_progress > cb_ns(o->drain)) {
            return;
        }
    }
}
