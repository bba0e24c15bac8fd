/* Reads native requests, one JSON object each (docs/protocol.md). jansson judges the JSON and
 * unescapes its texts; `ref` and `data`, which are repeated as they came, are cut out of the text
 * itself. */
#include "dialect/native.h"

#include <assert.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chathub.h"

/* Bytes of a decoder's memory that survive to the next request. */
#define SCRATCH_KEPT 16384
/* Bytes of a `ref` as it stands in the request. */
#define REF_MAX 128
/* How deep `data` may nest: many JSON readers give up at some hundreds. */
#define DATA_DEPTH 100

struct reading {
    json_t *object;                 /* whose members are read */
    struct chi_span text;           /* the whole request */
    struct chi_buf *scratch;        /* takes every text; has room for all of them from the start */
    struct chi_decode_error *error; /* the first thing that was wrong */
};

/* ------------------------------------------------------------------------- saying what is wrong */

__attribute__((format(printf, 3, 4))) static void fail(struct reading *in, int code,
                                                       const char *format, ...)
{
    if (in->error->code)
        return;
    in->error->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(in->error->message, sizeof(in->error->message), format, args);
    va_end(args);
}

static const char *kind_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
        return "true";
    case JSON_FALSE:
        return "false";
    default:
        return "null";
    }
}

static void wrong_type(struct reading *in, const char *key, const json_t *value, const char *wanted)
{
    fail(in, CHATHUB_EREQUEST, "\"%s\" is %s; it must be %s", key, kind_of(value), wanted);
}

/* ------------------------------------------------------------------------------ reading members */

/* NULL where there is none; null counts as none. */
static json_t *member(const struct reading *in, const char *key)
{
    json_t *value = json_object_get(in->object, key);
    return json_is_null(value) ? NULL : value;
}

static struct chi_span keep(struct reading *in, const char *at, size_t len)
{
    struct chi_buf *scratch = in->scratch;
    size_t start = scratch->len;
    /* unescaped texts are no longer than what they came from, and no two members share bytes */
    assert(scratch->cap - start >= len);
    chi_buf_add(scratch, at, len);
    return (struct chi_span){scratch->at + start, len};
}

static struct chi_span keep_text(struct reading *in, const json_t *text)
{
    return keep(in, json_string_value(text), json_string_length(text));
}

static struct chi_span read_text(struct reading *in, const char *key, const char *wanted)
{
    const json_t *value = member(in, key);
    if (!value)
        return (struct chi_span){0};
    if (!json_is_string(value)) {
        wrong_type(in, key, value, wanted);
        return (struct chi_span){0};
    }
    return keep_text(in, value);
}

static struct chi_span read_room(struct reading *in)
{
    return read_text(in, "room", "the name of a room, a text such as \"general\"");
}

static bool read_switch(struct reading *in, const char *key, bool standard)
{
    const json_t *value = member(in, key);
    if (!value)
        return standard;
    if (!json_is_boolean(value))
        wrong_type(in, key, value, "true or false");
    return json_is_true(value);
}

/* Whether the number is there and right. Numbers arrive as doubles (JSON_DECODE_INT_AS_REAL), which
 * are exact below 2^53, so that a larger one in `data` is not an error of the parser. */
static bool read_number(struct reading *in, const char *key, uint64_t min, uint64_t *out)
{
    const json_t *value = member(in, key);
    if (!value)
        return false;
    if (!json_is_real(value)) {
        wrong_type(in, key, value, "a whole number");
        return false;
    }
    double number = json_real_value(value);
    bool within = number >= (double)min && number <= (double)CHI_POSITION_MAX;
    if (!within || (double)(uint64_t)number < number) {
        fail(in, CHATHUB_EREQUEST, "\"%s\" must be a whole number from %llu to %llu", key,
             (unsigned long long)min, (unsigned long long)CHI_POSITION_MAX);
        return false;
    }
    *out = (uint64_t)number;
    return true;
}

static bool read_count(struct reading *in, const char *key, uint64_t min, uint32_t *out)
{
    uint64_t number = 0;
    bool given = read_number(in, key, min, &number);
    if (given)
        *out = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    return given;
}

/* --------------------------------------------------------------------------- texts as they came */

static const char *string_end(const char *at, const char *end)
{
    for (at++; at < end && *at != '"'; at++) {
        if (*at == '\\')
            at++;
    }
    return at;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct chi_span trim(const char *at, const char *end)
{
    while (at < end && is_space(*at))
        at++;
    while (end > at && is_space(end[-1]))
        end--;
    return (struct chi_span){at, (size_t)(end - at)};
}

/* The value of member number `ordinal` of the valid JSON object `text`, as it stands there, and how
 * deep it nests. */
static struct chi_span raw_value(struct chi_span text, size_t ordinal, size_t *nesting)
{
    const char *end = text.at + text.len, *begin = NULL;
    size_t depth = 0, seen = 0;
    for (const char *at = text.at; at < end; at++) {
        if (*at == '"') {
            at = string_end(at, end);
        } else if (*at == '{' || *at == '[') {
            depth++;
            if (begin && depth - 1 > *nesting)
                *nesting = depth - 1;
        } else if (*at == '}' || *at == ']') {
            if (--depth == 0 && begin)
                return trim(begin, at);
        } else if (depth == 1 && *at == ',') {
            if (begin)
                return trim(begin, at);
            seen++;
        } else if (depth == 1 && *at == ':' && seen == ordinal) {
            begin = at + 1;
        }
    }
    return (struct chi_span){0}; /* not in a valid object that has the member */
}

/* jansson keeps members in the order in which they came, and no key comes twice. */
static struct chi_span raw_member(const struct reading *in, const char *key, size_t *nesting)
{
    size_t ordinal = 0;
    void *at = json_object_iter(in->object);
    while (at && strcmp(json_object_iter_key(at), key) != 0) {
        at = json_object_iter_next(in->object, at);
        ordinal++;
    }
    *nesting = 0;
    return raw_value(in->text, ordinal, nesting);
}

static void read_ref(struct reading *in, struct chi_request *out)
{
    const json_t *value = member(in, "ref");
    if (!value)
        return;
    if (json_is_object(value) || json_is_array(value)) {
        wrong_type(in, "ref", value, "a number, a text, true or false");
        return;
    }
    size_t nesting;
    struct chi_span raw = raw_member(in, "ref", &nesting);
    if (raw.len > REF_MAX) {
        fail(in, CHATHUB_EREQUEST, "\"ref\" has %zu bytes; it may have %d", raw.len, REF_MAX);
        return;
    }
    out->ref = in->error->ref = keep(in, raw.at, raw.len);
}

/* On one line: JSON has newlines only between its tokens, where a space means the same. */
static void read_data(struct reading *in, struct chi_request *out)
{
    const json_t *value = member(in, "data");
    if (!value)
        return;
    if (!json_is_object(value)) {
        wrong_type(in, "data", value, "an object");
        return;
    }
    size_t nesting;
    struct chi_span raw = raw_member(in, "data", &nesting);
    if (nesting > DATA_DEPTH) {
        fail(in, CHATHUB_EREQUEST, "\"data\" nests %zu deep; it may nest %d deep", nesting,
             DATA_DEPTH);
        return;
    }
    size_t start = in->scratch->len;
    out->data = keep(in, raw.at, raw.len);
    for (char *c = in->scratch->at + start; c < in->scratch->at + in->scratch->len; c++) {
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    }
}

/* ------------------------------------------------------------------------------------- requests */

/* `after` with its epoch, `last`, or `now`: one of them at most. */
static void read_start(struct reading *in, struct chi_start *start)
{
    *start = (struct chi_start){.kind = CHI_START_DEFAULT};
    int given = 0;
    if (read_number(in, "after", 0, &start->position)) {
        start->kind = CHI_START_AFTER;
        given++;
    }
    if (read_count(in, "last", 0, &start->count)) {
        start->kind = CHI_START_LAST;
        given++;
    }
    if (read_switch(in, "now", false)) {
        start->kind = CHI_START_NOW;
        given++;
    }
    start->epoch = read_text(in, "epoch", "a text, as in \"joined\"");
    if (given > 1)
        fail(in, CHATHUB_EREQUEST, "give one of \"after\", \"last\" and \"now\", not several");
    if (start->epoch.at && start->kind != CHI_START_AFTER)
        fail(in, CHATHUB_EREQUEST, "\"epoch\" says what \"after\" means; give both");
}

static void read_resume(struct reading *in, json_t *item, struct chi_resume *out)
{
    *out = (struct chi_resume){0};
    if (json_is_string(item)) {
        out->room = keep_text(in, item);
        return;
    }
    if (!json_is_object(item)) {
        wrong_type(in, "rooms", item,
                   "a list of room names or {\"room\":…,\"after\":…,\"epoch\":…}");
        return;
    }
    json_t *whole = in->object;
    in->object = item;
    out->room = read_room(in);
    if (!out->room.at)
        fail(in, CHATHUB_EREQUEST, "each of \"rooms\" needs \"room\", the name of the room");
    read_start(in, &out->start);
    in->object = whole;
}

static void read_hello(struct reading *in, struct chi_request *out)
{
    out->name = read_text(in, "name", "the wished name, a text");
    out->session = read_text(in, "session", "a session's key, a text");
    json_t *rooms = member(in, "rooms");
    if (!rooms)
        return;
    if (!json_is_array(rooms)) {
        wrong_type(in, "rooms", rooms, "a list of rooms");
        return;
    }
    if (json_array_size(rooms) > CHI_RESUME_MAX) {
        fail(in, CHATHUB_EREQUEST, "\"rooms\" has %zu rooms; it may have %d",
             json_array_size(rooms), CHI_RESUME_MAX);
        return;
    }
    out->resume_count = (uint32_t)json_array_size(rooms);
    for (uint32_t i = 0; i < out->resume_count; i++)
        read_resume(in, json_array_get(rooms, i), &out->resume[i]);
}

static void read_join(struct reading *in, struct chi_request *out)
{
    out->room = read_room(in);
    read_start(in, &out->start);
}

static void read_leave(struct reading *in, struct chi_request *out)
{
    out->room = read_room(in);
}

static void read_post(struct reading *in, struct chi_request *out)
{
    out->room = read_room(in);
    out->content = read_text(in, "content", "a text");
    out->cid = read_text(in, "cid", "a text that names this post");
    read_data(in, out);
    if (!out->content.at && !out->data.at)
        fail(in, CHATHUB_EREQUEST, "a post needs \"content\", the text to say");
}

static void read_history(struct reading *in, struct chi_request *out)
{
    out->room = read_room(in);
    out->has_before = read_number(in, "before", 1, &out->before);
    out->has_after = read_number(in, "after", 0, &out->after);
    read_count(in, "limit", 1, &out->limit);
}

static void read_who(struct reading *in, struct chi_request *out)
{
    out->room = read_room(in);
    out->name = read_text(in, "after", "the last name of the page before");
    read_count(in, "limit", 1, &out->limit);
}

static void read_typing(struct reading *in, struct chi_request *out)
{
    out->room = read_room(in);
    out->on = read_switch(in, "on", true);
}

static void read_status(struct reading *in, struct chi_request *out)
{
    out->content = read_text(in, "status", "a text, empty for none");
}

static void read_nothing(struct reading *in, struct chi_request *out)
{
    (void)in, (void)out;
}

static const struct request_kind {
    const char *name;
    enum chi_request_type type;
    void (*read)(struct reading *in, struct chi_request *out);
} KINDS[] = {
    {"hello", CHI_REQUEST_HELLO, read_hello},       {"join", CHI_REQUEST_JOIN, read_join},
    {"leave", CHI_REQUEST_LEAVE, read_leave},       {"post", CHI_REQUEST_POST, read_post},
    {"history", CHI_REQUEST_HISTORY, read_history}, {"who", CHI_REQUEST_WHO, read_who},
    {"typing", CHI_REQUEST_TYPING, read_typing},    {"status", CHI_REQUEST_STATUS, read_status},
    {"ping", CHI_REQUEST_PING, read_nothing},
};
#define KIND_COUNT (sizeof(KINDS) / sizeof(KINDS[0]))
#define KIND_NAMES "hello, join, leave, post, history, who, typing, status, ping"

/* What other systems, or the frames that clients receive, call the same things. */
static const struct {
    const char *said, *meant;
} OTHER_WORDS[] = {
    {"chat", "post"},   {"message", "post"}, {"msg", "post"},       {"say", "post"},
    {"send", "post"},   {"nick", "hello"},   {"login", "hello"},    {"auth", "hello"},
    {"part", "leave"},  {"quit", "leave"},   {"subscribe", "join"}, {"users", "who"},
    {"members", "who"}, {"names", "who"},    {"list", "who"},
};

#define WORD_MAX 16

/* How many letters have to be put in, taken out or changed to make one word of the other. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[WORD_MAX + 1];
    for (size_t j = 0; j <= b_len; j++)
        row[j] = j;
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b_len];
}

static const char *nearest(const char *word, size_t len)
{
    if (len > WORD_MAX)
        return NULL;
    for (size_t i = 0; i < sizeof(OTHER_WORDS) / sizeof(OTHER_WORDS[0]); i++) {
        if (chi_span_is((struct chi_span){word, len}, OTHER_WORDS[i].said))
            return OTHER_WORDS[i].meant;
    }
    const char *best = NULL;
    size_t best_distance = 3;
    for (size_t i = 0; i < KIND_COUNT; i++) {
        size_t name_len = strlen(KINDS[i].name);
        size_t away = distance(word, len, KINDS[i].name, name_len);
        if (away < best_distance && away < name_len) {
            best = KINDS[i].name;
            best_distance = away;
        }
    }
    return best;
}

static void unknown_type(struct reading *in, const char *word)
{
    size_t len = strlen(word);
    char shown[25];
    size_t n = len < sizeof(shown) - 1 ? len : sizeof(shown) - 1;
    for (size_t i = 0; i < n; i++)
        shown[i] = word[i] > ' ' && word[i] < 0x7f && word[i] != '"' ? word[i] : '?';
    shown[n] = '\0';
    const char *near = nearest(word, len);
    if (near)
        fail(in, CHATHUB_ETYPE,
             "there is no request of type \"%s\"; did you mean \"%s\"? There are: %s", shown, near,
             KIND_NAMES);
    else
        fail(in, CHATHUB_ETYPE, "there is no request of type \"%s\"; there are: %s", shown,
             KIND_NAMES);
}

/* NULL: there is none that fits, and the error says so. */
static const struct request_kind *find_kind(struct reading *in)
{
    const json_t *type = member(in, "type");
    const char *name = "post";
    if (!type && !member(in, "content")) {
        fail(in, CHATHUB_EREQUEST,
             "\"type\" is missing; say for instance {\"type\":\"join\",\"room\":\"general\"}, or "
             "{\"content\":\"hi\"} to post");
        return NULL;
    }
    if (type && !json_is_string(type)) {
        wrong_type(in, "type", type, "one of " KIND_NAMES);
        return NULL;
    }
    if (type)
        name = json_string_value(type);
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (strcmp(KINDS[i].name, name) == 0)
            return &KINDS[i];
    }
    unknown_type(in, name);
    return NULL;
}

/* ------------------------------------------------------------------------------------ the whole */

/* jansson reports some failed allocations without words, and those of string tokens as if another
 * token had been met. */
static bool is_no_memory(const json_error_t *problem, struct chi_span text)
{
    if (json_error_code(problem) == json_error_out_of_memory || problem->text[0] == '\0')
        return true;
    size_t end = problem->position > 0 ? (size_t)problem->position : 0;
    if (!end || end > text.len || text.at[end - 1] != '"')
        return false;
    return strncmp(problem->text, "invalid token", 13) == 0 ||
           strncmp(problem->text, "string or '}' expected", 22) == 0;
}

/* jansson 2.14 reads beyond its buffer for a token where that cannot grow, so whether there is
 * memory for all it can need is tried first. (volatile: compilers take unused memory for
 * granted.) */
static bool has_memory(size_t len)
{
    void *volatile probe = malloc(len * 4 + 4096);
    bool had = probe != NULL;
    free(probe);
    return had;
}

static void bad_json(struct reading *in, const json_error_t *problem)
{
    if (is_no_memory(problem, in->text)) {
        fail(in, CHATHUB_ENOMEM, "%s", chathub_strerror(CHATHUB_ENOMEM));
        return;
    }
    const char *detail = problem->text;
    for (const char *c = problem->text; *c; c++) {
        if (*c < ' ' || *c > '~')
            detail = "a character that cannot stand there";
    }
    fail(in, CHATHUB_EJSON,
         "not a JSON object (byte %d: %.80s); send one object, such as {\"content\":\"hi\"}",
         problem->position, detail);
}

static void read_request(struct reading *in, struct chi_request *out)
{
    read_ref(in, out);
    const struct request_kind *kind = find_kind(in);
    if (!kind)
        return;
    out->type = kind->type;
    kind->read(in, out);
}

int chi_native_decode(struct chi_buf *scratch, struct chi_span text, struct chi_request *out,
                      struct chi_decode_error *error)
{
    struct reading in = {.text = text, .scratch = scratch, .error = error};
    memset(out, 0, offsetof(struct chi_request, resume));
    *error = (struct chi_decode_error){0};
    chi_buf_reset(scratch, SCRATCH_KEPT);
    if (text.len == 0 || trim(text.at, text.at + text.len).len == 0)
        return 0;
    if (!chi_buf_reserve(scratch, text.len + 1) || !has_memory(text.len)) {
        fail(&in, CHATHUB_ENOMEM, "%s", chathub_strerror(CHATHUB_ENOMEM));
        return error->code;
    }
    json_error_t problem;
    in.object =
        json_loadb(text.at, text.len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &problem);
    if (!in.object)
        bad_json(&in, &problem);
    else if (!json_is_object(in.object))
        fail(&in, CHATHUB_EJSON, "this is a list; send one object, such as {\"content\":\"hi\"}");
    else
        read_request(&in, out);
    json_decref(in.object);
    return error->code ? error->code : 1;
}
