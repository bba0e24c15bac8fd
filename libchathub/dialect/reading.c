#include "dialect/reading.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chathub.h"

/* Bytes of a reader's memory that survive to the next object. */
#define SCRATCH_KEPT 16384
/* How deep `data` may nest: many JSON readers give up at some hundreds. */
#define DATA_DEPTH 100

/* ------------------------------------------------------------------------- saying what is wrong */

void chi_reading_fail(struct chi_reading *in, int code, const char *format, ...)
{
    if (in->error->code)
        return;
    in->error->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(in->error->message, sizeof(in->error->message), format, args);
    va_end(args);
}

void chi_reading_wrong_type(struct chi_reading *in, const char *key, enum chi_value_type type,
                            const char *wanted)
{
    static const char *const kinds[] = {
        [CHI_VALUE_NULL] = "null",   [CHI_VALUE_TRUE] = "true",
        [CHI_VALUE_FALSE] = "false", [CHI_VALUE_NUMBER] = "a number",
        [CHI_VALUE_TEXT] = "a text", [CHI_VALUE_OBJECT] = "an object",
        [CHI_VALUE_LIST] = "a list",
    };
    chi_reading_fail(in, CHATHUB_EREQUEST, "\"%s\" is %s; it must be %s", key, kinds[type], wanted);
}

/* ------------------------------------------------------------------------------ reading members */

enum chi_value_type chi_reading_type(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return CHI_VALUE_OBJECT;
    case JSON_ARRAY:
        return CHI_VALUE_LIST;
    case JSON_STRING:
        return CHI_VALUE_TEXT;
    case JSON_INTEGER:
    case JSON_REAL:
        return CHI_VALUE_NUMBER;
    case JSON_TRUE:
        return CHI_VALUE_TRUE;
    case JSON_FALSE:
        return CHI_VALUE_FALSE;
    default:
        return CHI_VALUE_NULL;
    }
}

bool chi_reading_has(const struct chi_reading *in, const char *key)
{
    return in->object ? json_object_get(in->object, key) != NULL
                      : chi_flat_find(in->flat, key) != NULL;
}

/* Numbers arrive as doubles (JSON_DECODE_INT_AS_REAL), so that a larger one in `data` is not an
 * error of the parser. */
bool chi_reading_member(const struct chi_reading *in, const char *key, struct chi_value *out)
{
    if (in->object) {
        json_t *value = json_object_get(in->object, key);
        if (!value || json_is_null(value))
            return false;
        *out = (struct chi_value){
            .type = chi_reading_type(value), .number = json_real_value(value), .tree = value};
        return true;
    }
    const struct chi_flat_member *member = chi_flat_find(in->flat, key);
    if (!member || member->type == CHI_VALUE_NULL)
        return false;
    *out = (struct chi_value){.type = member->type, .member = member};
    if (member->type == CHI_VALUE_NUMBER)
        out->number = member->number;
    return true;
}

static void no_memory(struct chi_reading *in)
{
    chi_reading_fail(in, CHATHUB_ENOMEM, "%s", chathub_strerror(CHATHUB_ENOMEM));
}

/* Where `len` bytes of the object may be put; NULL, and the error, if there is no memory. All that
 * will be put has room from the first time on, so that nothing moves: unescaped texts are no longer
 * than what they came from, and no two members share bytes. */
static char *place(struct chi_reading *in, size_t len)
{
    struct chi_buf *scratch = in->scratch;
    if (!scratch->len && !chi_buf_reserve(scratch, in->text.len + 1)) {
        no_memory(in);
        return NULL;
    }
    assert(scratch->cap - scratch->len >= len);
    return scratch->at + scratch->len;
}

struct chi_span chi_reading_keep(struct chi_reading *in, const char *at, size_t len)
{
    char *to = place(in, len);
    if (!to)
        return (struct chi_span){0};
    chi_buf_add(in->scratch, at, len);
    return (struct chi_span){to, len};
}

struct chi_span chi_reading_keep_text(struct chi_reading *in, const json_t *text)
{
    return chi_reading_keep(in, json_string_value(text), json_string_length(text));
}

struct chi_span chi_reading_said(struct chi_reading *in, const struct chi_value *value)
{
    const struct chi_flat_member *member = value->member;
    if (!member)
        return chi_reading_keep_text(in, value->tree);
    if (!member->escaped)
        return (struct chi_span){member->raw.at + 1, member->raw.len - 2};
    char *to = place(in, member->raw.len);
    if (!to)
        return (struct chi_span){0};
    size_t len = chi_flat_unescape(member->raw, to);
    in->scratch->len += len;
    return (struct chi_span){to, len};
}

struct chi_span chi_reading_text(struct chi_reading *in, const char *key, const char *wanted)
{
    struct chi_value value;
    if (!chi_reading_member(in, key, &value))
        return (struct chi_span){0};
    if (value.type != CHI_VALUE_TEXT) {
        chi_reading_wrong_type(in, key, value.type, wanted);
        return (struct chi_span){0};
    }
    return chi_reading_said(in, &value);
}

bool chi_reading_switch(struct chi_reading *in, const char *key, bool standard)
{
    struct chi_value value;
    if (!chi_reading_member(in, key, &value))
        return standard;
    if (value.type != CHI_VALUE_TRUE && value.type != CHI_VALUE_FALSE)
        chi_reading_wrong_type(in, key, value.type, "true or false");
    return value.type == CHI_VALUE_TRUE;
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
struct chi_span chi_reading_raw(const struct chi_reading *in, const char *key, size_t *nesting)
{
    if (!in->object) {
        const struct chi_flat_member *member = chi_flat_find(in->flat, key);
        *nesting = member->type == CHI_VALUE_OBJECT ? member->nesting : 0;
        return member->raw;
    }
    size_t ordinal = 0;
    void *at = json_object_iter(in->object);
    while (at && strcmp(json_object_iter_key(at), key) != 0) {
        at = json_object_iter_next(in->object, at);
        ordinal++;
    }
    *nesting = 0;
    return raw_value(in->text, ordinal, nesting);
}

/* On one line: JSON has newlines only between its tokens, where a space means the same. */
static struct chi_span on_one_line(struct chi_reading *in, struct chi_span raw)
{
    if (!memchr(raw.at, '\n', raw.len) && !memchr(raw.at, '\r', raw.len))
        return raw;
    size_t start = in->scratch->len;
    struct chi_span line = chi_reading_keep(in, raw.at, raw.len);
    if (!line.at)
        return line;
    for (char *c = in->scratch->at + start; c < in->scratch->at + in->scratch->len; c++) {
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    }
    return line;
}

struct chi_span chi_reading_data(struct chi_reading *in)
{
    struct chi_value value;
    if (!chi_reading_member(in, "data", &value))
        return (struct chi_span){0};
    if (value.type != CHI_VALUE_OBJECT) {
        chi_reading_wrong_type(in, "data", value.type, "an object");
        return (struct chi_span){0};
    }
    size_t nesting;
    struct chi_span raw = chi_reading_raw(in, "data", &nesting);
    assert(raw.at); /* the member is there */
    if (nesting <= DATA_DEPTH)
        return on_one_line(in, raw);
    chi_reading_fail(in, CHATHUB_EREQUEST, "\"data\" nests %zu deep; it may nest %d deep", nesting,
                     DATA_DEPTH);
    return (struct chi_span){0};
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

static void bad_json(struct chi_reading *in, const json_error_t *problem, const char *hint)
{
    if (is_no_memory(problem, in->text)) {
        no_memory(in);
        return;
    }
    const char *detail = problem->text;
    for (const char *c = problem->text; *c; c++) {
        if (*c < ' ' || *c > '~')
            detail = "a character that cannot stand there";
    }
    chi_reading_fail(in, CHATHUB_EJSON, "not a JSON object (byte %d: %.80s); %s", problem->position,
                     detail, hint);
}

static void parse(struct chi_reading *in, const char *hint)
{
    json_error_t problem;
    if (!has_memory(in->text.len)) {
        no_memory(in);
        return;
    }
    in->object = json_loadb(in->text.at, in->text.len,
                            JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &problem);
    if (!in->object)
        bad_json(in, &problem, hint);
    else if (!json_is_object(in->object))
        chi_reading_fail(in, CHATHUB_EJSON, "this is a list; %s", hint);
}

int chi_reading_begin(struct chi_reading *in, const char *hint)
{
    in->object = NULL;
    in->error->code = 0;
    in->error->ref = (struct chi_span){0};
    in->error->message[0] = '\0';
    chi_buf_reset(in->scratch, SCRATCH_KEPT);
    if (!in->text.len || !trim(in->text.at, in->text.at + in->text.len).len)
        return 0;
    if (!in->flat || !chi_flat_read(in->text, in->flat))
        parse(in, hint);
    return in->error->code ? in->error->code : 1;
}

int chi_reading_request(struct chi_buf *scratch, struct chi_span text, const char *hint,
                        void (*read)(struct chi_reading *in, struct chi_request *out),
                        struct chi_request *out, struct chi_decode_error *error)
{
    struct chi_flat flat;
    struct chi_reading in = {.flat = &flat, .text = text, .scratch = scratch, .error = error};
    memset(out, 0, offsetof(struct chi_request, resume));
    int result = chi_reading_begin(&in, hint);
    if (result > 0)
        read(&in, out);
    json_decref(in.object);
    return error->code ? error->code : result;
}
