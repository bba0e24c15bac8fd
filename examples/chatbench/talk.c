/* The native protocol as far as a load client needs it: fixed keys are searched for in the text,
 * nothing is parsed. */
#include "bench.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A post's content: mark, run, client, number, time at which it was due; then padding. */
#define STAMP      "cb1:%016" PRIx64 ":%06" PRIu32 ":%08" PRIu32 ":%020" PRIu64 ":"
#define STAMP_LEN  58u
#define STAMP_HEAD "\"content\":\"cb1:"

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

static uint64_t digits(const char *at, int base)
{
    return strtoull(at, NULL, base);
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

/* The draft has room for the content and CB_DRAFT_EXTRA bytes more. */
void cb_talk_post(struct cb_bench *bench, struct cb_client *client, uint64_t due)
{
    const struct cb_options *o = &bench->options;
    uint32_t number = cb_number(bench, client), n = client->posted;
    size_t room = o->size + CB_DRAFT_EXTRA;
    char *draft = bench->draft;
    size_t len = (size_t)snprintf(
        draft, room, "{\"type\":\"post\",\"room\":\"%s-%" PRIu32 "\",\"content\":\"" STAMP,
        o->prefix, cb_room_of(bench, client), bench->run, number, n, due);
    memset(draft + len, 'x', o->size - STAMP_LEN);
    len += o->size - STAMP_LEN;
    len += (size_t)snprintf(draft + len, room - len,
                            "\",\"cid\":\"%016" PRIx64 "-%" PRIu32 "-%" PRIu32 "\"}", bench->run,
                            number, n);
    bench->sent++;
    client->posted++;
    cb_client_send(bench, client, draft, len);
}

/* Reads the stamp; entries that are none of ours stay CB_FOREIGN. */
static uint64_t read_stamp(const struct cb_bench *bench, const char *text, size_t len,
                           struct cb_entry *entry)
{
    const char *at = value_of(text, len, STAMP_HEAD);
    if (!at || len - (size_t)(at - text) < STAMP_LEN || digits(at, 16) != bench->run) {
        return 0;
    }
    uint64_t poster = digits(at + 17, 10);
    if (poster >= bench->options.posters) {
        return 0;
    }
    entry->poster = (uint32_t)poster;
    entry->n = (uint32_t)digits(at + 24, 10);
    return digits(at + 33, 10);
}

static void take_entry(struct cb_bench *bench, struct cb_client *client, const char *text,
                       size_t len)
{
    struct cb_entry entry = {.poster = CB_FOREIGN};
    entry.position = number_of(text, len, "\"position\":");
    entry.prev = number_of(text, len, "\"prev\":");
    uint64_t due = read_stamp(bench, text, len, &entry);
    bench->deliveries++;
    client->entries++;
    if (due && !client->slow) {
        cb_histogram_add(&bench->latency, bench->now > due ? bench->now - due : 0);
    }
    if (!cb_check_entry(&bench->rooms[cb_room_of(bench, client)], &client->member, &entry,
                        bench->next, &bench->faults)) {
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

void cb_talk_text(struct cb_bench *bench, struct cb_client *client, const char *text, size_t len)
{
    const char *type = value_of(text, len, "\"type\":\"");
    size_t left = type ? len - (size_t)(type - text) : 0;
    if (is_type(type, left, "chat")) {
        take_entry(bench, client, text, len);
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
