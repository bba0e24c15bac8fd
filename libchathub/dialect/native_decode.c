/* Reads native requests, one JSON object each (docs/protocol.md). */
#include "dialect/native.h"

#include <string.h>

#include "chathub.h"
#include "dialect/reading.h"

/* Bytes of a `ref` as it stands in the request. */
#define REF_MAX 128
/* ------------------------------------------------------------------------------ reading members */

static struct chi_span read_room(struct chi_reading *in)
{
    return chi_reading_text(in, "room", "the name of a room, a text such as \"general\"");
}

/* Whether the number is there and right. */
static bool read_number(struct chi_reading *in, const char *key, uint64_t min, uint64_t *out)
{
    struct chi_value value;
    if (!chi_reading_member(in, key, &value))
        return false;
    if (value.type != CHI_VALUE_NUMBER) {
        chi_reading_wrong_type(in, key, value.type, "a whole number");
        return false;
    }
    double number = value.number;
    bool within = number >= (double)min && number <= (double)CHI_POSITION_MAX;
    if (!within || (double)(uint64_t)number < number) {
        chi_reading_fail(in, CHATHUB_EREQUEST, "\"%s\" must be a whole number from %llu to %llu",
                         key, (unsigned long long)min, (unsigned long long)CHI_POSITION_MAX);
        return false;
    }
    *out = (uint64_t)number;
    return true;
}

static bool read_count(struct chi_reading *in, const char *key, uint64_t min, uint32_t *out)
{
    uint64_t number = 0;
    bool given = read_number(in, key, min, &number);
    if (given)
        *out = number > UINT32_MAX ? UINT32_MAX : (uint32_t)number;
    return given;
}

static void read_ref(struct chi_reading *in, struct chi_request *out)
{
    struct chi_value value;
    if (!chi_reading_member(in, "ref", &value))
        return;
    if (value.type == CHI_VALUE_OBJECT || value.type == CHI_VALUE_LIST) {
        chi_reading_wrong_type(in, "ref", value.type, "a number, a text, true or false");
        return;
    }
    size_t nesting;
    struct chi_span raw = chi_reading_raw(in, "ref", &nesting);
    if (raw.len > REF_MAX) {
        chi_reading_fail(in, CHATHUB_EREQUEST, "\"ref\" has %zu bytes; it may have %d", raw.len,
                         REF_MAX);
        return;
    }
    out->ref = in->error->ref = raw;
}

/* ------------------------------------------------------------------------------------- requests */

/* `after` with its epoch, `last`, or `now`: one of them at most. */
static void read_start(struct chi_reading *in, struct chi_start *start)
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
    if (chi_reading_switch(in, "now", false)) {
        start->kind = CHI_START_NOW;
        given++;
    }
    start->epoch = chi_reading_text(in, "epoch", "a text, as in \"joined\"");
    if (given > 1)
        chi_reading_fail(in, CHATHUB_EREQUEST,
                         "give one of \"after\", \"last\" and \"now\", not several");
    if (start->epoch.at && start->kind != CHI_START_AFTER)
        chi_reading_fail(in, CHATHUB_EREQUEST, "\"epoch\" says what \"after\" means; give both");
}

static void read_resume(struct chi_reading *in, json_t *item, struct chi_resume *out)
{
    *out = (struct chi_resume){0};
    if (json_is_string(item)) {
        out->room = chi_reading_keep_text(in, item);
        return;
    }
    if (!json_is_object(item)) {
        chi_reading_wrong_type(in, "rooms", chi_reading_type(item),
                               "a list of room names or {\"room\":…,\"after\":…,\"epoch\":…}");
        return;
    }
    json_t *whole = in->object;
    in->object = item;
    out->room = read_room(in);
    if (!out->room.at)
        chi_reading_fail(in, CHATHUB_EREQUEST,
                         "each of \"rooms\" needs \"room\", the name of the room");
    read_start(in, &out->start);
    in->object = whole;
}

static void read_hello(struct chi_reading *in, struct chi_request *out)
{
    out->name = chi_reading_text(in, "name", "the wished name, a text");
    out->session = chi_reading_text(in, "session", "a session's key, a text");
    struct chi_value value;
    if (!chi_reading_member(in, "rooms", &value))
        return;
    if (value.type != CHI_VALUE_LIST) {
        chi_reading_wrong_type(in, "rooms", value.type, "a list of rooms");
        return;
    }
    json_t *rooms = value.tree; /* lists are jansson's */
    if (json_array_size(rooms) > CHI_RESUME_MAX) {
        chi_reading_fail(in, CHATHUB_EREQUEST, "\"rooms\" has %zu rooms; it may have %d",
                         json_array_size(rooms), CHI_RESUME_MAX);
        return;
    }
    out->resume_count = (uint32_t)json_array_size(rooms);
    for (uint32_t i = 0; i < out->resume_count; i++)
        read_resume(in, json_array_get(rooms, i), &out->resume[i]);
}

static void read_join(struct chi_reading *in, struct chi_request *out)
{
    out->room = read_room(in);
    read_start(in, &out->start);
}

static void read_leave(struct chi_reading *in, struct chi_request *out)
{
    out->room = read_room(in);
}

static void read_post(struct chi_reading *in, struct chi_request *out)
{
    out->room = read_room(in);
    out->content = chi_reading_text(in, "content", "a text");
    out->cid = chi_reading_text(in, "cid", "a text that names this post");
    out->data = chi_reading_data(in);
    if (!out->content.at && !out->data.at)
        chi_reading_fail(in, CHATHUB_EREQUEST, "a post needs \"content\", the text to say");
}

static void read_history(struct chi_reading *in, struct chi_request *out)
{
    out->room = read_room(in);
    out->has_before = read_number(in, "before", 1, &out->before);
    out->has_after = read_number(in, "after", 0, &out->after);
    read_count(in, "limit", 1, &out->limit);
}

static void read_who(struct chi_reading *in, struct chi_request *out)
{
    out->room = read_room(in);
    out->name = chi_reading_text(in, "after", "the last name of the page before");
    out->id =
        chi_reading_text(in, "after_id", "the sender_id that goes with the name in \"after\"");
    read_count(in, "limit", 1, &out->limit);
}

static void read_typing(struct chi_reading *in, struct chi_request *out)
{
    out->room = read_room(in);
    out->on = chi_reading_switch(in, "on", true);
}

static void read_status(struct chi_reading *in, struct chi_request *out)
{
    out->content = chi_reading_text(in, "status", "a text, empty for none");
}

static void read_nothing(struct chi_reading *in, struct chi_request *out)
{
    (void)in, (void)out;
}

static const struct request_kind {
    const char *name;
    enum chi_request_type type;
    void (*read)(struct chi_reading *in, struct chi_request *out);
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

static void unknown_type(struct chi_reading *in, struct chi_span word)
{
    char shown[25];
    size_t n = word.len < sizeof(shown) - 1 ? word.len : sizeof(shown) - 1;
    for (size_t i = 0; i < n; i++)
        shown[i] = word.at[i] > ' ' && word.at[i] < 0x7f && word.at[i] != '"' ? word.at[i] : '?';
    shown[n] = '\0';
    const char *near = nearest(word.at, word.len);
    if (near)
        chi_reading_fail(in, CHATHUB_ETYPE,
                         "there is no request of type \"%s\"; did you mean \"%s\"? There are: %s",
                         shown, near, KIND_NAMES);
    else
        chi_reading_fail(in, CHATHUB_ETYPE, "there is no request of type \"%s\"; there are: %s",
                         shown, KIND_NAMES);
}

/* NULL: there is none that fits, and the error says so. */
static const struct request_kind *find_kind(struct chi_reading *in)
{
    struct chi_value type, content;
    struct chi_span name = CHI_SPAN("post");
    bool typed = chi_reading_member(in, "type", &type);
    if (!typed && !chi_reading_member(in, "content", &content)) {
        chi_reading_fail(
            in, CHATHUB_EREQUEST,
            "\"type\" is missing; say for instance {\"type\":\"join\",\"room\":\"general\"}, or "
            "{\"content\":\"hi\"} to post");
        return NULL;
    }
    if (typed && type.type != CHI_VALUE_TEXT) {
        chi_reading_wrong_type(in, "type", type.type, "one of " KIND_NAMES);
        return NULL;
    }
    if (typed)
        name = chi_reading_said(in, &type);
    for (size_t i = 0; i < KIND_COUNT; i++) {
        if (chi_span_is(name, KINDS[i].name))
            return &KINDS[i];
    }
    unknown_type(in, name);
    return NULL;
}

/* ------------------------------------------------------------------------------------ the whole */

static void read_request(struct chi_reading *in, struct chi_request *out)
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
    return chi_reading_request(scratch, text, "send one object, such as {\"content\":\"hi\"}",
                               read_request, out, error);
}
