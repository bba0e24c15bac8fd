/* A JetStream server in this process, with a clock that its owner sets: one stream, ephemeral pull
 * consumers, in the JSON and with the error codes of nats-server 2.9.10 (each was tried on it). It
 * answers by a function of its owner; js_world.h puts a network and its faults between it and the
 * nodes. */
#ifndef JS_SERVER_H
#define JS_SERVER_H

#include "unit.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "chathub.h"
#include "log/jetstream/js.h"

#define JS_WALL      UINT64_C(1700000000000) /* Unix ms at the clock's 0 */
#define JS_CONSUMERS 1024

struct js_stored {
    uint64_t seq, time; /* time: of the clock */
    uint64_t gone;      /* the clock when it was deleted; UINT64_MAX: it is there */
    char *subject;      /* whole; owned, as the next two */
    char *data;
    char *id; /* NULL: none */
    size_t len;
};

struct js_dup {
    char *id; /* owned */
    uint64_t seq, time;
};

struct js_consumer {
    char name[24]; /* "": free */
    char filter[512];
    uint64_t next;  /* sequence from which on it gives */
    uint64_t used;  /* the clock at its last pull */
    bool follower;  /* it sits on the server that may lag */
    uint64_t given; /* its own count */
};

struct js_server {
    uint64_t now;
    uint64_t random;
    /* the stream; config NULL: there is none */
    char name[33];
    json_t *config;
    char created[40];
    struct js_stored *list; /* ascending */
    uint32_t count, cap;
    uint32_t first; /* of list: those before were trimmed */
    uint64_t last_seq, first_seq;
    struct js_dup *dups;
    uint32_t dup_count, dup_cap;
    struct js_consumer consumers[JS_CONSUMERS];
    uint32_t made; /* streams and consumers so far */
    /* what is the matter */
    uint64_t leaderless;     /* the clock until when there is no leader */
    uint64_t follower_until; /* until when the follower stands still … */
    uint64_t follower_seq;   /* … at this sequence … */
    uint64_t follower_time;  /* … and this time */
    uint64_t wrong_until; /* until when its copy is another one, as after a leader was deposed … */
    uint64_t wrong_from, wrong_to; /* … from this sequence to that: each place holds what belongs to
                                      the one before it. Where rooms are read alone */
    bool no_jetstream;             /* it runs without -js */
    uint32_t servers;              /* of the cluster; replicas beyond are refused (10074) */
    /* Where answers go. */
    void (*answer)(struct js_server *server, uint32_t node, const struct chi_js_in *in);
    /* What is stored is sent on. */
    void (*live)(struct js_server *server, const struct chi_js_in *in);
    /* The call under way: whose, its token, and of a stored message the consumer that gives it:
     * the message has no token then. NULL: none does. */
    uint32_t node, token;
    const char *consumer;
    /* For who tests: messages ever stored and those found to be repeated. */
    uint64_t stored, repeats;
};

static inline uint64_t js_random(struct js_server *s)
{
    s->random ^= s->random << 13;
    s->random ^= s->random >> 7;
    s->random ^= s->random << 17;
    return s->random * UINT64_C(0x2545f4914f6cdd1d) >> 11;
}
static inline uint64_t js_below(struct js_server *s, uint64_t bound)
{
    return bound ? js_random(s) % bound : 0;
}

/* --------------------------------------------------------------------------------------- stored */

static inline bool js_there(const struct js_stored *m)
{
    return m->gone == UINT64_MAX;
}

static inline void js_stored_fini(struct js_stored *m)
{
    free(m->subject);
    free(m->data);
    free(m->id);
}

/* The message with this sequence; NULL: it is not there. */
static inline struct js_stored *js_at(struct js_server *s, uint64_t seq)
{
    uint32_t low = s->first, high = s->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (s->list[middle].seq < seq)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < s->count && s->list[low].seq == seq && js_there(&s->list[low]);
    return found ? &s->list[low] : NULL;
}

static inline bool js_matches(const char *filter, const char *subject)
{
    size_t len = strlen(filter);
    if (!len || (len && filter[len - 1] == '>' && !strncmp(filter, subject, len - 1)))
        return true;
    return !strcmp(filter, subject);
}

static inline struct js_stored *js_last_of(struct js_server *s, const char *subject)
{
    for (uint32_t i = s->count; i > s->first; i--)
        if (js_there(&s->list[i - 1]) && js_matches(subject, s->list[i - 1].subject))
            return &s->list[i - 1];
    return NULL;
}

static inline struct js_stored *js_next_of(struct js_server *s, uint64_t seq, const char *subject)
{
    for (uint32_t i = s->first; i < s->count; i++)
        if (s->list[i].seq >= seq && js_there(&s->list[i]) &&
            js_matches(subject, s->list[i].subject))
            return &s->list[i];
    return NULL;
}

static inline uint64_t js_messages(const struct js_server *s)
{
    uint64_t n = 0;
    for (uint32_t i = s->first; i < s->count; i++)
        n += js_there(&s->list[i]);
    return n;
}

/* The oldest `n` go. */
static inline void js_trim(struct js_server *s, uint32_t n)
{
    for (; n && s->first < s->count; n--, s->first++)
        js_stored_fini(&s->list[s->first]);
    while (s->first < s->count && !js_there(&s->list[s->first]))
        js_stored_fini(&s->list[s->first++]);
    s->first_seq = s->first < s->count ? s->list[s->first].seq : s->last_seq + 1;
}

static inline void js_forget_dups(struct js_server *s, uint32_t keep)
{
    while (s->dup_count > keep)
        free(s->dups[--s->dup_count].id);
}

/* It is as it was when `seq` was its last. */
static inline void js_put_back(struct js_server *s, uint64_t seq)
{
    while (s->count > s->first && s->list[s->count - 1].seq > seq)
        js_stored_fini(&s->list[--s->count]);
    uint32_t keep = 0;
    while (keep < s->dup_count && s->dups[keep].seq <= seq)
        keep++;
    js_forget_dups(s, keep);
    s->last_seq = seq < s->last_seq ? seq : s->last_seq;
    if (s->first_seq > s->last_seq + 1)
        s->first_seq = s->last_seq + 1;
    if (s->follower_seq > s->last_seq)
        s->follower_seq = s->last_seq;
    memset(s->consumers, 0, sizeof s->consumers);
}

/* Purged: sequences go on. */
static inline void js_empty(struct js_server *s)
{
    js_trim(s, UINT32_MAX);
    s->first = s->count = 0;
    s->first_seq = s->last_seq + 1;
}

static inline void js_remove(struct js_server *s)
{
    js_empty(s);
    js_forget_dups(s, 0);
    s->last_seq = s->first_seq = 0;
    s->follower_seq = 0;
    memset(s->consumers, 0, sizeof s->consumers);
    json_decref(s->config);
    s->config = NULL;
}

static inline uint64_t js_config(const struct js_server *s, const char *key)
{
    json_int_t value = json_integer_value(json_object_get(s->config, key));
    return value > 0 ? (uint64_t)value : 0;
}

static inline void js_keep_bounds(struct js_server *s, const char *subject)
{
    uint64_t most = js_config(s, "max_msgs_per_subject"), age = js_config(s, "max_age") / 1000000;
    uint64_t n = 0;
    for (uint32_t i = s->count; most && i > s->first; i--) {
        struct js_stored *m = &s->list[i - 1];
        if (js_there(m) && !strcmp(m->subject, subject) && ++n > most)
            m->gone = s->now;
    }
    while (age && s->first < s->count && s->list[s->first].time + age < s->now)
        js_trim(s, 1);
    js_trim(s, 0);
}

/* -------------------------------------------------------------------------------------- answers */

static inline void js_say(struct js_server *s, uint16_t status, const char *text)
{
    struct chi_js_in in = {
        .kind = CHI_JS_REPLY, .status = status, .token = s->token, .data = chi_span_of(text)};
    if (s->token)
        s->answer(s, s->node, &in);
}

static inline void js_say_json(struct js_server *s, json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    js_say(s, 0, text);
    free(text);
    json_decref(json);
}

static inline void js_say_error(struct js_server *s, const char *type, int code, int err_code,
                                const char *description)
{
    char whole[80];
    snprintf(whole, sizeof whole, "io.nats.jetstream.api.v1.%s_response", type);
    js_say_json(s, json_pack("{s:s,s:{s:i,s:i,s:s}}", "type", whole, "error", "code", code,
                             "err_code", err_code, "description", description));
}

static inline void js_base64(const char *bytes, size_t len, struct chi_buf *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < len; i += 3) {
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (i + k < len ? (uint8_t)bytes[i + k] : 0u);
        for (size_t k = 0; k < 4; k++)
            chi_buf_add_char(out, i + k > len ? '=' : digits[v >> (18 - 6 * k) & 63]);
    }
}

static inline void js_stamp(uint64_t clock, uint32_t ns, char out[40])
{
    time_t seconds = (time_t)((JS_WALL + clock) / 1000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char head[24];
    strftime(head, sizeof head, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out, 40, "%s.%03u%06uZ", head, (unsigned)((JS_WALL + clock) % 1000), ns % 1000000);
}

/* RFC 3339 as clock; what is before the clock's beginning is 0. */
static inline uint64_t js_clock_of(const char *stamp)
{
    struct tm tm = {0};
    const char *end = strptime(stamp, "%Y-%m-%dT%H:%M:%S", &tm);
    if (!end)
        return 0;
    uint64_t ms = (uint64_t)timegm(&tm) * 1000;
    for (unsigned k = 100; *end == '.' || (*end >= '0' && *end <= '9'); end++)
        if (*end != '.' && k)
            ms += k * (unsigned)(*end - '0'), k /= 10;
    return ms > JS_WALL ? ms - JS_WALL : 0;
}

/* ---------------------------------------------------------------------------------- publications */

static inline struct js_stored *js_store(struct js_server *s, const char *subject,
                                         struct chi_span data, const char *id)
{
    if (s->first > 256 && s->first > s->count / 2) {
        memmove(s->list, s->list + s->first, (s->count - s->first) * sizeof *s->list);
        s->count -= s->first;
        s->first = 0;
    }
    if (s->count == s->cap)
        s->list = realloc(s->list, (s->cap = s->cap ? s->cap * 2 : 64) * sizeof *s->list);
    struct js_stored *m = &s->list[s->count++];
    *m = (struct js_stored){.seq = ++s->last_seq,
                            .time = s->now,
                            .gone = UINT64_MAX,
                            .subject = strdup(subject),
                            .data = malloc(data.len + 1),
                            .id = id ? strdup(id) : NULL,
                            .len = data.len};
    if (data.len)
        memcpy(m->data, data.at, data.len);
    if (!s->first_seq)
        s->first_seq = m->seq;
    s->stored++;
    return m;
}

static inline const struct js_dup *js_dup_of(struct js_server *s, const char *id)
{
    uint64_t window = js_config(s, "duplicate_window") / 1000000;
    for (uint32_t i = s->dup_count; i > 0 && s->dups[i - 1].time + window > s->now; i--)
        if (!strcmp(s->dups[i - 1].id, id))
            return &s->dups[i - 1];
    return NULL;
}

static inline void js_dup_add(struct js_server *s, const char *id, uint64_t seq)
{
    if (s->dup_count == s->dup_cap)
        s->dups =
            realloc(s->dups, (s->dup_cap = s->dup_cap ? s->dup_cap * 2 : 64) * sizeof *s->dups);
    s->dups[s->dup_count++] = (struct js_dup){strdup(id), seq, s->now};
}

static inline void js_send_on(struct js_server *s, const struct js_stored *m, uint64_t last)
{
    if (!json_object_get(s->config, "republish"))
        return;
    const char *subject = m->subject + strlen(s->name) + 4; /* behind "S.in." */
    struct chi_js_in in = {.kind = CHI_JS_LIVE,
                           .seq = m->seq,
                           .last = last,
                           .subject = chi_span_of(subject),
                           .data = {m->data, m->len}};
    s->live(s, &in);
}

static inline void js_publish(struct js_server *s, const char *subject,
                              const struct chi_js_out *out)
{
    char text[160];
    if (!s->config || s->now < s->leaderless) {
        js_say(s, 503, "");
        return;
    }
    const struct js_dup *dup = out->id ? js_dup_of(s, out->id) : NULL;
    if (dup) {
        s->repeats++;
        snprintf(text, sizeof text, "{\"stream\":\"%s\", \"seq\":%" PRIu64 ",\"duplicate\": true}",
                 s->name, dup->seq);
        js_say(s, 0, text);
        return;
    }
    struct js_stored *before = js_last_of(s, subject);
    uint64_t last = before ? before->seq : 0;
    if (out->expects && out->expected != last) {
        snprintf(text, sizeof text,
                 "{\"error\":{\"code\":400,\"err_code\":10071,\"description\":\"wrong last "
                 "sequence: %" PRIu64 "\"},\"stream\":\"%s\",\"seq\":0}",
                 last, s->name);
        js_say(s, 0, text);
        return;
    }
    struct js_stored *m = js_store(s, subject, out->data, out->id);
    if (out->id)
        js_dup_add(s, out->id, m->seq);
    uint64_t seq = m->seq;
    js_send_on(s, m, last);
    js_keep_bounds(s, subject);
    snprintf(text, sizeof text, "{\"stream\":\"%s\", \"seq\":%" PRIu64 "}", s->name, seq);
    js_say(s, 0, text);
}

/* ------------------------------------------------------------------------------------- the stream */

static inline json_t *js_state(struct js_server *s)
{
    char first[40] = "0001-01-01T00:00:00Z", last[40] = "0001-01-01T00:00:00Z";
    if (s->first < s->count)
        js_stamp(s->list[s->first].time, 0, first);
    if (s->count)
        js_stamp(s->list[s->count - 1].time, 0, last);
    return json_pack("{s:I,s:I,s:I,s:s,s:I,s:s,s:i}", "messages", (json_int_t)js_messages(s),
                     "bytes", (json_int_t)0, "first_seq", (json_int_t)s->first_seq, "first_ts",
                     first, "last_seq", (json_int_t)s->last_seq, "last_ts", last, "consumer_count",
                     0);
}

static inline void js_stream_answer(struct js_server *s, const char *type, bool made)
{
    json_t *json = json_pack("{s:s,s:O,s:s,s:o}", "type", type, "config", s->config, "created",
                             s->created, "state", js_state(s));
    if (made)
        json_object_set_new(json, "did_create", json_true());
    js_say_json(s, json);
}

static inline void js_stream_create(struct js_server *s, const char *name, const json_t *asked)
{
    static const char defaults[] =
        "{\"retention\":\"limits\",\"max_consumers\":-1,\"max_msgs\":-1,\"max_bytes\":-1,"
        "\"max_age\":0,\"max_msgs_per_subject\":-1,\"max_msg_size\":-1,\"discard\":\"old\","
        "\"storage\":\"file\",\"num_replicas\":1,\"duplicate_window\":120000000000,"
        "\"mirror_direct\":false,\"sealed\":false,\"deny_delete\":false,\"deny_purge\":false,"
        "\"allow_rollup_hdrs\":false}";
    json_t *config = json_loads(defaults, 0, NULL);
    json_object_update(config, (json_t *)(uintptr_t)asked);
    const char *named = json_string_value(json_object_get(config, "name"));
    if (!named || strcmp(named, name) != 0) {
        js_say_error(s, "stream_create", 400, 10056,
                     "stream name in subject does not match request");
    } else if (s->config && !json_equal(config, s->config)) {
        js_say_error(s, "stream_create", 400, 10058,
                     "stream name already in use with a different configuration");
    } else if (json_integer_value(json_object_get(config, "num_replicas")) > s->servers) {
        if (s->servers == 1)
            js_say_error(s, "stream_create", 500, 10074,
                         "replicas > 1 not supported in non-clustered mode");
        else
            js_say_error(s, "stream_create", 400, 10005, "no suitable peers for placement");
    } else {
        if (!s->config) {
            s->config = json_incref(config);
            snprintf(s->name, sizeof s->name, "%.32s", name);
            js_stamp(s->now, ++s->made, s->created);
        }
        js_stream_answer(s, "io.nats.jetstream.api.v1.stream_create_response", true);
    }
    json_decref(config);
}

static inline void js_msg_get(struct js_server *s, const json_t *asked)
{
    const char *next = json_string_value(json_object_get(asked, "next_by_subj"));
    const char *last = json_string_value(json_object_get(asked, "last_by_subj"));
    uint64_t seq = (uint64_t)json_integer_value(json_object_get(asked, "seq"));
    if ((!seq && !last) || (last && (seq || next))) {
        js_say_error(s, "stream_msg_get", 400, 10003, "bad request");
        return;
    }
    struct js_stored *m = last   ? js_last_of(s, last)
                          : next ? js_next_of(s, seq, next)
                                 : js_at(s, seq);
    if (!m) {
        js_say_error(s, "stream_msg_get", 404, CHI_JS_NO_MESSAGE, "no message found");
        return;
    }
    struct chi_buf data = {0};
    js_base64(m->data, m->len, &data);
    chi_buf_add_char(&data, '\0');
    char stamp[40];
    js_stamp(m->time, 0, stamp);
    json_t *message = json_pack("{s:s,s:I}", "subject", m->subject, "seq", (json_int_t)m->seq);
    if (m->id)
        json_object_set_new(message, "hdrs",
                            json_string("TkFUUy8xLjANCk5hdHMtTXNnLUlkOiBtNg0KDQo="));
    if (m->len)
        json_object_set_new(message, "data", json_string(data.at));
    json_object_set_new(message, "time", json_string(stamp));
    chi_buf_fini(&data);
    js_say_json(s,
                json_pack("{s:s,s:o}", "type", "io.nats.jetstream.api.v1.stream_msg_get_response",
                          "message", message));
}

static inline void js_msg_delete(struct js_server *s, const json_t *asked)
{
    uint64_t seq = (uint64_t)json_integer_value(json_object_get(asked, "seq"));
    struct js_stored *m = js_at(s, seq);
    char text[64];
    if (!m && seq > s->last_seq) {
        js_say_error(s, "stream_msg_delete", 500, 10057, "stream store EOF");
    } else if (!m) {
        snprintf(text, sizeof text, "sequence %" PRIu64 " not found", seq);
        js_say_error(s, "stream_msg_delete", 400, 10043, text);
    } else {
        m->gone = s->now;
        if (m == &s->list[s->first])
            js_trim(s, 0);
        js_say(
            s, 0,
            "{\"type\":\"io.nats.jetstream.api.v1.stream_msg_delete_response\",\"success\":true}");
    }
}

/* ------------------------------------------------------------------------------------- consumers */

/* Whether a consumer's server has a message. */
static inline bool js_sees(const struct js_server *s, const struct js_consumer *c,
                           const struct js_stored *m)
{
    if (!c->follower || s->now >= s->follower_until)
        return js_there(m);
    return m->seq <= s->follower_seq && m->gone > s->follower_time;
}

/* What a consumer's server has in the place of a message. */
static inline const struct js_stored *
js_copy_of(const struct js_server *s, const struct js_consumer *c, const struct js_stored *m)
{
    bool wrong = c->follower && s->now < s->wrong_until && strstr(c->filter, ".room.") &&
                 m->seq >= s->wrong_from && m->seq <= s->wrong_to;
    return wrong && m > &s->list[s->first] && js_there(m - 1) ? m - 1 : m;
}

static inline bool js_gives(const struct js_server *s, const struct js_consumer *c,
                            const struct js_stored *m)
{
    return m->seq >= c->next && js_sees(s, c, m) &&
           js_matches(c->filter, js_copy_of(s, c, m)->subject);
}

static inline uint32_t js_ahead(const struct js_server *s, const struct js_consumer *c)
{
    uint32_t n = 0;
    for (uint32_t i = s->first; i < s->count; i++)
        n += js_gives(s, c, &s->list[i]);
    return n;
}

static inline struct js_consumer *js_consumer_of(struct js_server *s, const char *name)
{
    for (uint32_t i = 0; i < JS_CONSUMERS; i++) {
        struct js_consumer *c = &s->consumers[i];
        if (c->name[0] && c->used + 10000 < s->now)
            c->name[0] = '\0';
        if (*name ? !strcmp(c->name, name) : !c->name[0])
            return c;
    }
    return NULL;
}

static inline void js_consumer_create(struct js_server *s, const json_t *asked)
{
    const json_t *config = json_object_get(asked, "config");
    const char *filter = json_string_value(json_object_get(config, "filter_subject"));
    const char *policy = json_string_value(json_object_get(config, "deliver_policy"));
    const char *time = json_string_value(json_object_get(config, "opt_start_time"));
    uint64_t seq = (uint64_t)json_integer_value(json_object_get(config, "opt_start_seq"));
    struct js_consumer *c = js_consumer_of(s, "");
    ck_assert_msg(c != NULL, "too many consumers are left behind");
    ck_assert(policy && !strcmp(json_string_value(json_object_get(config, "ack_policy")), "none"));
    if (!strcmp(policy, "by_start_sequence") && !seq) {
        js_say_error(s, "consumer_create", 400, 10094,
                     "consumer delivery policy is deliver by start sequence, but optional start "
                     "sequence is not set");
        return;
    }
    *c = (struct js_consumer){.used = s->now, .follower = js_below(s, 2)};
    snprintf(c->filter, sizeof c->filter, "%s", filter ? filter : "");
    if (!strcmp(policy, "by_start_time")) {
        uint64_t from = js_clock_of(time ? time : "");
        c->next = s->last_seq + 1;
        for (uint32_t i = s->count; i > s->first && s->list[i - 1].time >= from; i--)
            c->next = s->list[i - 1].seq;
    } else if (!strcmp(policy, "by_start_sequence")) {
        /* The server cuts it to what it has itself. */
        bool lags = c->follower && s->now < s->follower_until;
        uint64_t most = (lags ? s->follower_seq : s->last_seq) + 1;
        c->next = seq < most ? seq : most;
    }
    snprintf(c->name, sizeof c->name, "C%u", ++s->made);
    js_say_json(s, json_pack("{s:s,s:s,s:s,s:s,s:{s:s},s:I}", "type",
                             "io.nats.jetstream.api.v1.consumer_create_response", "stream_name",
                             s->name, "name", c->name, "created", "2026-11-21T22:14:40.057078467Z",
                             "config", "ack_policy", "none", "num_pending",
                             (json_int_t)js_ahead(s, c)));
}

static inline void js_pull(struct js_server *s, const char *name, const json_t *asked)
{
    struct js_consumer *c = js_consumer_of(s, name);
    if (!c || !*name)
        return; /* as the real one: no answer at all */
    uint64_t batch = (uint64_t)json_integer_value(json_object_get(asked, "batch"));
    uint64_t bytes = (uint64_t)json_integer_value(json_object_get(asked, "max_bytes"));
    uint64_t ahead = js_ahead(s, c), used = 0, n = 0;
    c->used = s->now;
    if (!ahead) {
        js_say(s, 404, "");
        return;
    }
    for (uint32_t i = s->first; i < s->count && n < batch; i++) {
        struct js_stored *m = &s->list[i];
        if (!js_gives(s, c, m))
            continue;
        const struct js_stored *copy = js_copy_of(s, c, m);
        used += copy->len + strlen(copy->subject) + 80;
        if (bytes && used > bytes) {
            js_say(s, 409, "");
            return;
        }
        c->next = m->seq + 1;
        n++;
        struct chi_js_in in = {.kind = CHI_JS_REPLY,
                               .seq = m->seq,
                               .pending = --ahead,
                               .nth = ++c->given,
                               .subject = chi_span_of(copy->subject + strlen(s->name) + 4),
                               .data = {copy->data, copy->len}};
        s->consumer = c->name;
        s->answer(s, s->node, &in);
        s->consumer = NULL;
    }
    if (n < batch)
        js_say(s, 408, "");
}

static inline void js_consumer_delete(struct js_server *s, const char *name)
{
    struct js_consumer *c = *name ? js_consumer_of(s, name) : NULL;
    if (!c) {
        js_say_error(s, "consumer_delete", 404, CHI_JS_NO_CONSUMER, "consumer not found");
        return;
    }
    c->name[0] = '\0';
    js_say(s, 0,
           "{\"type\":\"io.nats.jetstream.api.v1.consumer_delete_response\",\"success\":true}");
}

/* ------------------------------------------------------------------------------------ all requests */

/* The stream's name at the head of `rest`, up to a dot, which is passed over. */
static inline const char *js_named(const char *rest, char name[64])
{
    size_t len = strcspn(rest, ".");
    snprintf(name, 64, "%.*s", (int)len, rest);
    return rest[len] ? rest + len + 1 : rest + len;
}

static inline bool js_api(const char **at, const char *call)
{
    size_t len = strlen(call);
    bool is = !strncmp(*at, call, len);
    *at += is ? len : 0;
    return is;
}

static inline void js_stream_call(struct js_server *s, int call, const char *rest,
                                  const json_t *asked)
{
    static const char *const types[] = {
        "stream_info",    "stream_msg_get", "stream_msg_delete", "consumer_create", "",
        "consumer_delete"};
    char name[64];
    rest = js_named(rest, name);
    if (!s->config || strcmp(name, s->name) != 0) {
        if (call != 4)
            js_say_error(s, types[call], 404, CHI_JS_NO_STREAM, "stream not found");
        return;
    }
    if (call == 0)
        js_stream_answer(s, "io.nats.jetstream.api.v1.stream_info_response", false);
    else if (call == 1)
        js_msg_get(s, asked);
    else if (call == 2)
        js_msg_delete(s, asked);
    else if (call == 3)
        js_consumer_create(s, asked);
    else if (call == 4)
        js_pull(s, rest, asked);
    else
        js_consumer_delete(s, rest);
}

static inline void js_request(struct js_server *s, const char *at, struct chi_span data)
{
    static const char *const calls[] = {"STREAM.INFO.",       "STREAM.MSG.GET.",
                                        "STREAM.MSG.DELETE.", "CONSUMER.CREATE.",
                                        "CONSUMER.MSG.NEXT.", "CONSUMER.DELETE."};
    char name[64];
    if (s->no_jetstream) {
        js_say(s, 503, "");
        return;
    }
    if (s->now < s->leaderless) {
        uint64_t how = js_below(s, 3);
        if (how == 0)
            js_say(s, 503, "");
        else if (how == 1)
            js_say_error(s, "stream_info", 503, 10008, "JetStream system temporarily unavailable");
        return; /* or nobody answers */
    }
    json_t *asked = data.len ? json_loadb(data.at, data.len, 0, NULL) : json_object();
    ck_assert_msg(asked != NULL, "no JSON: %.*s", (int)data.len, data.at);
    if (js_api(&at, "STREAM.CREATE.")) {
        js_named(at, name);
        js_stream_create(s, name, asked);
    } else if (js_api(&at, "INFO")) {
        js_say(s, 0,
               "{\"type\":\"io.nats.jetstream.api.v1.account_info_response\",\"memory\":0,"
               "\"storage\":0,\"streams\":0,\"consumers\":0}");
    } else {
        int call = 0;
        while (call < 6 && !js_api(&at, calls[call]))
            call++;
        ck_assert_msg(call < 6, "not known: %s", at);
        js_stream_call(s, call, at, asked);
    }
    json_decref(asked);
}

/* What node `node` sent came to the server. */
static inline void js_serve(struct js_server *s, uint32_t node, const struct chi_js_out *out)
{
    char subject[600];
    snprintf(subject, sizeof subject, "%.*s", (int)out->subject.len, out->subject.at);
    s->node = node;
    s->token = out->token;
    const char *at = subject;
    if (js_api(&at, "$JS.API."))
        js_request(s, at, out->data);
    else
        js_publish(s, subject, out);
}

static inline void js_server_init(struct js_server *s, uint64_t seed)
{
    *s = (struct js_server){.random = seed * UINT64_C(0x9e3779b97f4a7c15) + 1, .servers = 1};
    js_random(s);
}

static inline void js_server_fini(struct js_server *s)
{
    js_remove(s);
    free(s->list);
    free(s->dups);
}

#endif
