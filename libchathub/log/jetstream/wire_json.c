/* What the server answers and is asked, in JSON.
 *
 * A PubAck comes for each post, and a stored message for each that is looked for: they are flat, and
 * read as they stand, without a tree (a tenth of the time). Whatever is not as the server writes these,
 * all of it ASCII without escapes, goes to jansson, which so has the last word on anything unusual. */
#include "log/jetstream/wire.h"

#include <jansson.h>
#include <stdlib.h>

#include "chathub.h"
#include "core/ports.h"

#define NS_OF_MS UINT64_C(1000000)
/* Go's durations are signed nanoseconds. */
#define MS_MOST ((uint64_t)INT64_MAX / NS_OF_MS)

/* ---------------------------------------------------------------------------------- flat answers */

struct flat {
    const char *at, *end;
};

static char peek(struct flat *flat)
{
    while (flat->at < flat->end &&
           (*flat->at == ' ' || *flat->at == '\t' || *flat->at == '\n' || *flat->at == '\r'))
        flat->at++;
    return flat->at < flat->end ? *flat->at : '\0';
}

static bool skip(struct flat *flat, char c)
{
    if (peek(flat) != c)
        return false;
    flat->at++;
    return true;
}

static bool flat_text(struct flat *flat, struct chi_span *out)
{
    if (!skip(flat, '"'))
        return false;
    const char *from = flat->at;
    for (; flat->at < flat->end && *flat->at != '"'; flat->at++) {
        if (*flat->at < 0x20 || *flat->at > 0x7e || *flat->at == '\\')
            return false;
    }
    if (flat->at == flat->end)
        return false;
    *out = (struct chi_span){from, (size_t)(flat->at++ - from)};
    return true;
}

static bool flat_number(struct flat *flat, uint64_t *out)
{
    peek(flat);
    const char *from = flat->at;
    while (flat->at < flat->end && *flat->at >= '0' && *flat->at <= '9')
        flat->at++;
    struct chi_span digits = {from, (size_t)(flat->at - from)};
    bool leading = digits.len > 1 && *from == '0';
    return !leading && chi_parse_u64(digits, 0, CHI_POSITION_MAX, out);
}

static bool flat_word(struct flat *flat, const char *word)
{
    size_t len = strlen(word);
    peek(flat);
    if ((size_t)(flat->end - flat->at) < len || memcmp(flat->at, word, len) != 0)
        return false;
    flat->at += len;
    return true;
}

/* What a stored message says of itself, as it stands in the answer. */
struct flat_message {
    struct chi_span subject, data, time;
    uint64_t seq;
};

static bool flat_message(struct flat *flat, struct flat_message *out)
{
    struct chi_span key, other;
    *out = (struct flat_message){0};
    if (!skip(flat, '{'))
        return false;
    do {
        if (!flat_text(flat, &key) || !skip(flat, ':'))
            return false;
        bool good = chi_span_is(key, "seq")       ? flat_number(flat, &out->seq)
                    : chi_span_is(key, "subject") ? flat_text(flat, &out->subject)
                    : chi_span_is(key, "data")    ? flat_text(flat, &out->data)
                    : chi_span_is(key, "time")    ? flat_text(flat, &out->time)
                                                  : flat_text(flat, &other);
        if (!good)
            return false;
    } while (skip(flat, ','));
    return skip(flat, '}') && out->seq && out->subject.len;
}

static bool flat_value(struct flat *flat, struct chi_span key, struct chi_js_answer *out,
                       struct flat_message *message)
{
    struct chi_span text;
    if (chi_span_is(key, "seq"))
        return flat_number(flat, &out->seq);
    if (chi_span_is(key, "message"))
        return flat_message(flat, message);
    if (chi_span_is(key, "duplicate")) {
        out->duplicate = flat_word(flat, "true");
        return out->duplicate || flat_word(flat, "false");
    }
    return (chi_span_is(key, "stream") || chi_span_is(key, "domain") || chi_span_is(key, "type")) &&
           flat_text(flat, &text);
}

/* Whether it is a PubAck or a message, and flat; `out` has then what it says. */
static bool read_flat(struct chi_span json, struct chi_js_answer *out, struct flat_message *message)
{
    struct flat flat = {json.at, json.at + json.len};
    struct chi_span key;
    if (!skip(&flat, '{'))
        return false;
    do {
        if (!flat_text(&flat, &key) || !skip(&flat, ':') || !flat_value(&flat, key, out, message))
            return false;
    } while (skip(&flat, ','));
    bool ends = skip(&flat, '}');
    peek(&flat);
    return ends && (out->seq || message->seq) && flat.at == flat.end;
}

/* ------------------------------------------------------------------------------------- any other */

/* Reads members of the right types, and remembers whether one was of another type. */
struct reading {
    const char *stream;
    struct chi_js_answer *out;
    bool wrong;     /* it is no answer of the server's */
    bool memory;    /* there was none */
    bool something; /* it answers something */
};

static const json_t *member(struct reading *in, const json_t *object, const char *key,
                            json_type type)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value))
        return NULL;
    if (json_typeof(value) == type)
        return value;
    in->wrong = true;
    return NULL;
}

static int64_t whole(struct reading *in, const json_t *object, const char *key)
{
    const json_t *value = member(in, object, key, JSON_INTEGER);
    return value ? json_integer_value(value) : 0;
}

/* 0 where there is none. */
static uint64_t number(struct reading *in, const json_t *object, const char *key, uint64_t most)
{
    int64_t value = whole(in, object, key);
    if (value >= 0 && (uint64_t)value <= most)
        return (uint64_t)value;
    in->wrong = true;
    return 0;
}

/* A bound of the stream: the server has -1 where there is none. */
static uint64_t bound(struct reading *in, const json_t *object, const char *key)
{
    int64_t value = whole(in, object, key);
    return value > 0 ? (uint64_t)value : 0;
}

static bool flag(struct reading *in, const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (value && !json_is_boolean(value) && !json_is_null(value))
        in->wrong = true;
    return json_is_true(value);
}

/* Empty where there is none. */
static struct chi_span text(struct reading *in, const json_t *object, const char *key)
{
    const json_t *value = member(in, object, key, JSON_STRING);
    if (!value)
        return (struct chi_span){NULL, 0};
    return (struct chi_span){json_string_value(value), json_string_length(value)};
}

/* A short text of ASCII without blanks. */
static void word(struct reading *in, struct chi_span from, char *out, size_t size)
{
    bool fits = from.len < size;
    for (size_t i = 0; fits && i < from.len; i++)
        fits = from.at[i] > ' ' && from.at[i] <= '~';
    if (!fits) {
        in->wrong = true;
        return;
    }
    if (from.len)
        memcpy(out, from.at, from.len);
    out[from.len] = '\0';
}

static void read_error(struct reading *in, const json_t *root)
{
    const json_t *error = member(in, root, "error", JSON_OBJECT);
    if (!error)
        return;
    in->something = true;
    in->out->code = (uint16_t)number(in, error, "code", UINT16_MAX);
    in->out->err_code = (uint32_t)number(in, error, "err_code", UINT32_MAX);
    char *words = in->out->description;
    words[chi_utf8_line(text(in, error, "description"), words, sizeof(in->out->description) - 1)] =
        '\0';
    in->wrong |= !in->out->code;
}

static void read_ack(struct reading *in, const json_t *root)
{
    in->out->seq = number(in, root, "seq", CHI_POSITION_MAX);
    in->out->duplicate = flag(in, root, "duplicate");
    in->something |= in->out->seq != 0 || flag(in, root, "success");
}

/* ------------------------------------------------------------------------------ stored messages */

static int digit64(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* base64 with padding (RFC 4648 section 4), in its only form. */
static bool decode(const struct chi_span *from, char *to)
{
    const char *at = from->at;
    size_t padding = 0;
    while (padding < 2 && padding < from->len && at[from->len - 1 - padding] == '=')
        padding++;
    uint32_t bits = 0, wrong = 0;
    size_t digits = from->len - padding;
    for (size_t i = 0; i < digits; i++) {
        int digit = digit64(at[i]);
        wrong |= (uint32_t)(digit < 0);
        bits = bits << 6 | ((uint32_t)digit & 63);
        if (i % 4)
            *to++ = (char)(bits >> (6 - 2 * (i % 4)) & 0xff);
    }
    return !wrong && from->len % 4 == 0 && !(bits & ((1u << (2 * padding)) - 1));
}

static void read_data(struct reading *in, struct chi_span from)
{
    struct chi_buf *data = &in->out->data;
    if (!from.len)
        return;
    size_t padding = from.at[from.len - 1] != '='                   ? 0
                     : from.len > 1 && from.at[from.len - 2] == '=' ? 2
                                                                    : 1;
    char *to = chi_buf_reserve(data, from.len / 4 * 3 + 3);
    if (to && decode(&from, to))
        data->len = from.len / 4 * 3 - padding;
    else if (to)
        in->wrong = true;
}

/* Of so many digits at `at`; `most` + 1: there are others. */
static uint64_t digits_at(const char *at, size_t count, uint64_t most)
{
    uint64_t number;
    return chi_parse_u64((struct chi_span){at, count}, 0, most, &number) ? number : most + 1;
}

/* Days from 1970-01-01, of a year from 1970 on; `month` and `day` from 1. */
static uint64_t days_to(uint64_t year, uint64_t month, uint64_t day)
{
    static const uint16_t before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    uint64_t leap = year - (month <= 2);
    return (year - 1970) * 365 + leap / 4 - leap / 100 + leap / 400 - 477 + before[month - 1] +
           day - 1;
}

/* RFC 3339 as the server writes it, in UTC with a fraction of any length; 0: something else. */
static uint64_t unix_ms(struct chi_span stamp)
{
    const char *at = stamp.at;
    if (stamp.len < 20 || at[4] != '-' || at[7] != '-' || at[10] != 'T' || at[13] != ':' ||
        at[16] != ':' || at[stamp.len - 1] != 'Z')
        return 0;
    uint64_t year = digits_at(at, 4, 9999), month = digits_at(at + 5, 2, 12),
             day = digits_at(at + 8, 2, 31), hour = digits_at(at + 11, 2, 23),
             minute = digits_at(at + 14, 2, 59), second = digits_at(at + 17, 2, 60), ms = 0;
    if (year < 1970 || year > 9999 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 ||
        minute > 59 || second > 60)
        return 0;
    for (size_t i = 20, unit = 100; at[19] == '.' && i + 1 < stamp.len; i++, unit /= 10)
        ms += unit * digits_at(at + i, 1, 9);
    return (((days_to(year, month, day) * 24 + hour) * 60 + minute) * 60 + second) * 1000 + ms;
}

static void keep_message(struct reading *in, const struct flat_message *message)
{
    in->something = true;
    in->out->seq = message->seq;
    in->out->time = unix_ms(message->time);
    in->wrong |= !message->seq || !message->subject.len;
    chi_buf_add(&in->out->subject, message->subject.at, message->subject.len);
    read_data(in, message->data);
    in->memory |= in->out->subject.failed || in->out->data.failed;
}

static void read_message(struct reading *in, const json_t *root)
{
    const json_t *object = member(in, root, "message", JSON_OBJECT);
    if (!object)
        return;
    struct flat_message message = {.subject = text(in, object, "subject"),
                                   .data = text(in, object, "data"),
                                   .time = text(in, object, "time"),
                                   .seq = number(in, object, "seq", CHI_POSITION_MAX)};
    keep_message(in, &message);
}

/* --------------------------------------------------------------------------- stream and consumer */

/* Whether it is the stream's name, and this. */
static bool is_of(const char *stream, struct chi_span subject, const char *rest)
{
    size_t len = strlen(stream);
    return subject.len == len + strlen(rest) && memcmp(subject.at, stream, len) == 0 &&
           memcmp(subject.at + len, rest, strlen(rest)) == 0;
}

static bool takes(struct reading *in, const json_t *config)
{
    const json_t *subjects = member(in, config, "subjects", JSON_ARRAY);
    const json_t *only = json_array_size(subjects) == 1 ? json_array_get(subjects, 0) : NULL;
    struct chi_span subject = {json_string_value(only), json_string_length(only)};
    return only && subject.at && is_of(in->stream, subject, ".in.>") &&
           !member(in, config, "mirror", JSON_OBJECT) &&
           !json_array_size(member(in, config, "sources", JSON_ARRAY)) &&
           !member(in, config, "subject_transform", JSON_OBJECT);
}

static bool republishes(struct reading *in, const json_t *config)
{
    const json_t *republish = member(in, config, "republish", JSON_OBJECT);
    return republish && is_of(in->stream, text(in, republish, "src"), ".in.>") &&
           is_of(in->stream, text(in, republish, "dest"), ".out.>") &&
           !flag(in, republish, "headers_only");
}

static void read_config(struct reading *in, const json_t *config)
{
    struct chi_js_config *out = &in->out->config;
    struct chi_span discard = text(in, config, "discard");
    out->replicas = (uint32_t)number(in, config, "num_replicas", UINT32_MAX);
    out->duplicates = bound(in, config, "duplicate_window") / NS_OF_MS;
    out->max_age = (bound(in, config, "max_age") + NS_OF_MS - 1) / NS_OF_MS;
    out->max_bytes = bound(in, config, "max_bytes");
    out->room_entries = bound(in, config, "max_msgs_per_subject");
    out->republishes = republishes(in, config);
    out->takes = takes(in, config);
    out->acks = !flag(in, config, "no_ack");
    out->file = chi_span_is(text(in, config, "storage"), "file");
    out->limits = chi_span_is(text(in, config, "retention"), "limits") &&
                  (!discard.len || chi_span_is(discard, "old"));
    out->deletes = !flag(in, config, "deny_delete") && !flag(in, config, "sealed");
}

/* A consumer's answer has a configuration, too, but no state. */
static void read_stream(struct reading *in, const json_t *root)
{
    const json_t *state = member(in, root, "state", JSON_OBJECT);
    const json_t *config = member(in, root, "config", JSON_OBJECT);
    if (!state || !config)
        return;
    in->something = true;
    read_config(in, config);
    in->out->first_seq = number(in, state, "first_seq", CHI_POSITION_MAX + 1);
    in->out->last_seq = number(in, state, "last_seq", CHI_POSITION_MAX);
    in->out->messages = number(in, state, "messages", CHI_POSITION_MAX);
    word(in, text(in, root, "created"), in->out->created, sizeof(in->out->created));
}

/* Its name becomes a token of a subject. */
static void read_consumer(struct reading *in, const json_t *root)
{
    struct chi_span name = text(in, root, "name");
    if (!name.len)
        return;
    in->something = true;
    word(in, name, in->out->consumer, sizeof(in->out->consumer));
    in->wrong |= strpbrk(in->out->consumer, ".*>") != NULL;
    in->out->pending = number(in, root, "num_pending", INT64_MAX);
}

/* jansson 2.14 reads beyond its buffer for a token where that cannot grow, so whether there is memory
 * for all it can need is tried first. (volatile: compilers take unused memory for granted.) */
static bool has_memory(size_t len)
{
    void *volatile probe = malloc(len * 4 + 4096);
    bool had = probe != NULL;
    free(probe);
    return had;
}

/* It reports some failed allocations without words. */
static int failure(const json_error_t *why)
{
    bool memory = json_error_code(why) == json_error_out_of_memory || why->text[0] == '\0';
    return memory ? CHATHUB_ENOMEM : CHATHUB_EREQUEST;
}

/* Negative: nothing can be read of it. */
static int read_tree(struct reading *in, struct chi_span json)
{
    json_error_t why;
    if (!has_memory(json.len))
        return CHATHUB_ENOMEM;
    json_t *root = json_loadb(json.at, json.len, 0, &why);
    if (!root)
        return failure(&why);
    if (json_is_object(root)) {
        read_error(in, root);
        read_ack(in, root);
        read_message(in, root);
        read_stream(in, root);
        read_consumer(in, root);
    }
    json_decref(root);
    return 0;
}

int chi_js_read_answer(struct chi_span json, const char *stream, struct chi_js_answer *out)
{
    struct reading in = {.stream = stream, .out = out};
    struct flat_message message = {0};
    int error = 0;
    *out = (struct chi_js_answer){0};
    in.something = read_flat(json, out, &message);
    if (!in.something) {
        *out = (struct chi_js_answer){0};
        error = read_tree(&in, json);
    } else if (message.seq) {
        keep_message(&in, &message);
    }
    if (!error && in.memory)
        error = CHATHUB_ENOMEM;
    return error || (in.something && !in.wrong) ? error : CHATHUB_EREQUEST;
}

void chi_js_answer_fini(struct chi_js_answer *answer)
{
    chi_buf_fini(&answer->subject);
    chi_buf_fini(&answer->data);
}

/* nats-server 2.9.10: the code of a deletion that failed is the same for all reasons. */
bool chi_js_answer_misses(const struct chi_js_answer *answer)
{
    struct chi_span why = chi_span_of(answer->description);
    return answer->err_code == CHI_JS_NO_MESSAGE || answer->err_code == CHI_JS_NO_SEQUENCE ||
           (answer->err_code == CHI_JS_NOT_DELETED &&
            (chi_span_is(why, "no message found") || chi_span_is(why, "stream store EOF")));
}

/* -------------------------------------------------------------------------------------- requests */

static void add_number(struct chi_buf *out, const char *before, uint64_t number)
{
    chi_buf_add_text(out, before);
    chi_buf_add_u64(out, number);
}

static void add_ms(struct chi_buf *out, const char *before, uint64_t ms)
{
    add_number(out, before, (ms < MS_MOST ? ms : MS_MOST) * NS_OF_MS);
}

/* The server knows no bound as -1. */
static void add_bound(struct chi_buf *out, const char *before, uint64_t number)
{
    if (number)
        add_number(out, before, number < INT64_MAX ? number : INT64_MAX);
    else {
        chi_buf_add_text(out, before);
        chi_buf_add_text(out, "-1");
    }
}

static void add_subject(struct chi_buf *out, const char *before, const char *stream,
                        const char *rest)
{
    chi_buf_add_text(out, before);
    chi_buf_add_char(out, '"');
    chi_buf_add_text(out, stream);
    chi_buf_add_text(out, rest);
    chi_buf_add_char(out, '"');
}

void chi_js_ask_create(struct chi_buf *out, const char *stream, const struct chi_js_config *config)
{
    uint64_t duplicates = config->duplicates;
    if (config->max_age && duplicates > config->max_age) /* the server refuses more */
        duplicates = config->max_age;
    add_subject(out, "{\"name\":", stream, "");
    add_subject(out, ",\"subjects\":[", stream, ".in.>");
    add_subject(out, "],\"republish\":{\"src\":", stream, ".in.>");
    add_subject(out, ",\"dest\":", stream, ".out.>");
    add_number(out, "},\"num_replicas\":", config->replicas ? config->replicas : 1);
    add_ms(out, ",\"duplicate_window\":", duplicates);
    add_ms(out, ",\"max_age\":", config->max_age);
    add_bound(out, ",\"max_bytes\":", config->max_bytes);
    add_bound(out, ",\"max_msgs_per_subject\":", config->room_entries);
    chi_buf_add_text(out, ",\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"old\","
                          "\"allow_direct\":false,\"deny_delete\":false,\"deny_purge\":false}");
}

void chi_js_ask_get(struct chi_buf *out, uint64_t seq)
{
    add_number(out, "{\"seq\":", seq);
    chi_buf_add_char(out, '}');
}

void chi_js_ask_last(struct chi_buf *out, struct chi_span subject)
{
    chi_buf_add_text(out, "{\"last_by_subj\":");
    chi_buf_add_json(out, subject.at, subject.len);
    chi_buf_add_char(out, '}');
}

void chi_js_ask_next(struct chi_buf *out, uint64_t seq, struct chi_span subject)
{
    add_number(out, "{\"seq\":", seq);
    chi_buf_add_text(out, ",\"next_by_subj\":");
    chi_buf_add_json(out, subject.at, subject.len);
    chi_buf_add_char(out, '}');
}

void chi_js_ask_consumer(struct chi_buf *out, const char *stream, struct chi_span subject,
                         uint64_t seq, uint64_t time)
{
    char stamp[CHI_TIMESTAMP_SIZE];
    add_subject(out, "{\"stream_name\":", stream, "");
    chi_buf_add_text(out, ",\"config\":{\"ack_policy\":\"none\",\"replay_policy\":\"instant\","
                          "\"mem_storage\":true,\"num_replicas\":1,"
                          "\"inactive_threshold\":10000000000,");
    if (subject.len) {
        chi_buf_add_text(out, "\"filter_subject\":");
        chi_buf_add_json(out, subject.at, subject.len);
        chi_buf_add_char(out, ',');
    }
    if (seq) {
        add_number(out, "\"deliver_policy\":\"by_start_sequence\",\"opt_start_seq\":", seq);
    } else {
        chi_timestamp(time, stamp);
        chi_buf_add_text(out, "\"deliver_policy\":\"by_start_time\",\"opt_start_time\":\"");
        chi_buf_add_text(out, stamp);
        chi_buf_add_char(out, '"');
    }
    chi_buf_add_text(out, "}}");
}

void chi_js_ask_pull(struct chi_buf *out, uint32_t batch, uint32_t bytes)
{
    add_number(out, "{\"batch\":", batch);
    add_number(out, ",\"max_bytes\":", bytes);
    chi_buf_add_text(out, ",\"no_wait\":true}");
}

void chi_js_ask_delete(struct chi_buf *out, uint64_t seq)
{
    chi_js_ask_get(out, seq);
}
