/* The native protocol as far as a load client needs it: fixed keys are searched for in the text,
 * nothing is parsed. */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* What follows `key` in the text, or NULL. A quote inside a JSON string is escaped, so keys are
 * found only as keys. */
static const char *value_of(const char *text, size_t len, const char *key)
{
    size_t n = strlen(key);
    const char *at = memmem(text, len, key, n);
    return at ? at + n : NULL;
}

/* A frame ends in `}`, so that a number in it always ends before the text does. */
static uint64_t number_of(const char *text, size_t len, const char *key)
{
    const char *at = value_of(text, len, key);
    uint64_t number = 0;
    for (; at && *at >= '0' && *at <= '9'; at++) {
        number = number * 10 + (uint64_t)(*at - '0');
    }
    return number;
}

void cb_talk_join(struct cb_bench *bench, struct cb_client *client)
{
    const struct cb_options *o = &bench->options;
    char text[240], start[120];
    snprintf(start, sizeof start, "\"after\":%" PRIu64 ",\"epoch\":\"%s\"", o->after,
             o->epoch ? o->epoch : "");
    int n = snprintf(text, sizeof text, "{\"type\":\"join\",\"room\":\"%s-%" PRIu32 "\",%s}",
                     o->prefix, cb_room_of(bench, client), o->epoch ? start : "\"now\":true");
    cb_client_send(bench, client, text, (size_t)n);
}

/* Reads digits of base 16; `*at` is then behind them. A frame ends in `}`. */
static uint64_t hexadecimal(const char **at)
{
    uint64_t number = 0;
    for (;; (*at)++) {
        int digit = **at >= '0' && **at <= '9'   ? **at - '0'
                    : **at >= 'a' && **at <= 'f' ? **at - 'a' + 10
                                                 : -1;
        if (digit < 0) {
            return number;
        }
        number = number << 4 | (uint64_t)digit;
    }
}

/* Is it one of this run's posts (post.c says what its cid looks like)? Then the entry gets its
 * poster and number, and the time at which it was due is answered; else 0. */
static uint64_t read_cid(const struct cb_bench *bench, const char *text, size_t len,
                         struct cb_entry *entry)
{
    const char *at = value_of(text, len, "\"cid\":\"");
    if (!at || len - (size_t)(at - text) < CB_MARK + 4 || memcmp(at, bench->mark, CB_MARK) != 0) {
        return 0;
    }
    at += CB_MARK + 1;
    uint64_t poster = hexadecimal(&at);
    at += *at == '.';
    uint64_t n = hexadecimal(&at), k = n * bench->options.posters + poster;
    if (*at != '"' || poster >= bench->options.posters || n > UINT32_MAX || k >= bench->sent) {
        return 0;
    }
    entry->poster = (uint32_t)poster;
    entry->n = (uint32_t)n;
    return bench->due[k];
}

static bool content_is_whole(const struct cb_bench *bench, const char *text, size_t len)
{
    size_t size = bench->options.size;
    const char *at = value_of(text, len, "\"content\":\"");
    return at && len - (size_t)(at - text) > size && memcmp(at, bench->content, size) == 0 &&
           at[size] == '"';
}

/* Tells texts apart that differ by accident. */
static uint64_t hash_of(const char *text, size_t len)
{
    uint64_t hash = len, word;
    for (size_t at = 0; at < len; at += 8) {
        word = 0;
        memcpy(&word, text + at, len - at < 8 ? len - at : 8);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    return hash;
}

static void take_entry(struct cb_bench *bench, struct cb_client *client,
                       const struct cb_frame *frame)
{
    const char *text = frame->text;
    struct cb_entry entry = {.poster = CB_FOREIGN};
    entry.position = number_of(text, frame->len, "\"position\":");
    entry.prev = number_of(text, frame->len, "\"prev\":");
    entry.hash = hash_of(text, frame->len);
    uint64_t due = read_cid(bench, text, frame->len, &entry);
    bench->deliveries++;
    client->entries++;
    if (due && !client->slow) {
        cb_histogram_add(&bench->latency, bench->now > due ? bench->now - due : 0, 1);
    }
    uint32_t number = cb_room_of(bench, client);
    struct cb_room *room = &bench->rooms[number];
    uint32_t before = room->count;
    bool ok = cb_check_entry(room, &client->member, &entry, bench->next, &bench->faults);
    if (ok && room->count > before) {
        if (due && !content_is_whole(bench, text, frame->len)) {
            cb_check_altered(&entry, &bench->faults);
        }
        ok = cb_stream_add(bench, number, frame, due, cb_check_chained(room));
    }
    if (!ok) {
        cb_client_lost(bench, client, "out of memory");
    }
}

static void take_gap(struct cb_bench *bench, struct cb_client *client, const char *text, size_t len)
{
    bench->gaps++;
    cb_check_gap(&bench->rooms[cb_room_of(bench, client)], &client->member,
                 number_of(text, len, "\"from\":"), number_of(text, len, "\"to\":"));
}

static void take_ack(struct cb_bench *bench, struct cb_client *client, const char *text, size_t len)
{
    bench->acked++;
    client->acked++;
    bench->dups += value_of(text, len, "\"dup\":true") != NULL;
}

static void take_error(struct cb_bench *bench, struct cb_client *client, const char *text,
                       size_t len)
{
    cb_problem(bench, "the server answered %.*s", len < 300 ? (int)len : 300, text);
    if (value_of(text, len, "\"cid\":")) {
        bench->refused++;
        client->refused++;
    } else {
        bench->errors++;
    }
    if (client->state == CB_JOINING) {
        cb_client_lost(bench, client, "could not join");
    }
}

static void take_joined(struct cb_bench *bench, struct cb_client *client, const char *text,
                        size_t len)
{
    if (client->state == CB_JOINING) {
        client->member.last = number_of(text, len, "\"start\":");
        client->member.known = value_of(text, len, "\"start\":") != NULL;
        client->state = CB_LIVE;
        bench->pending--;
        bench->live++;
    }
}

static bool is_type(const char *type, size_t len, const char *name)
{
    size_t n = strlen(name);
    return len > n && memcmp(type, name, n) == 0 && type[n] == '"';
}

void cb_talk_take(struct cb_bench *bench, struct cb_client *client, const struct cb_frame *frame)
{
    const char *text = frame->text;
    size_t len = frame->len;
    const char *type = value_of(text, len, "\"type\":\"");
    size_t left = type ? len - (size_t)(type - text) : 0;
    if (is_type(type, left, "chat")) {
        take_entry(bench, client, frame);
    } else if (is_type(type, left, "ack")) {
        take_ack(bench, client, text, len);
    } else if (is_type(type, left, "presence")) {
        client->presence++;
    } else if (is_type(type, left, "joined")) {
        take_joined(bench, client, text, len);
    } else if (is_type(type, left, "gap")) {
        take_gap(bench, client, text, len);
    } else if (is_type(type, left, "error")) {
        take_error(bench, client, text, len);
    }
}
