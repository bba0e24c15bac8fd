#include "client/frame.h"

#include <stdio.h>
#include <string.h>

#define POSITION_MAX ((UINT64_C(1) << 53) - 1)
#define RETRY_MAX    86400000u /* ms: what is waited for longer will not be waited for */

int chi_frame_code(const char *word)
{
    static const struct {
        const char *word;
        int code;
    } codes[] = {
#define X(name, number, word, text) {word, number},
        CHATHUB_ERRORS(X)
#undef X
    };

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (strcmp(codes[i].word, word) == 0)
            return codes[i].code;
    return CHATHUB_EREQUEST;
}

/* -------------------------------------------------------------------------- values as they stand */

/* Behind the text (with its quotes) that begins here, in valid JSON. */
static const char *skip_text(const char *at)
{
    for (at++; *at != '"'; at++)
        if (*at == '\\')
            at++;
    return at + 1;
}

/* Behind the value that begins here. */
static const char *skip_value(const char *at)
{
    int depth = 0;

    do {
        if (*at == '"') {
            at = skip_text(at);
            continue;
        }
        if (depth == 0 && (*at == ',' || *at == '}' || *at == ']'))
            break;
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        at++;
    } while (depth > 0 || (*at != ',' && *at != '}' && *at != ']'));
    return at;
}

static const char *skip_blanks(const char *at)
{
    return at + strspn(at, " \t\r\n");
}

/* A member's value as it stands in the object `text`, which jansson has read and found it in; the
 * key is written without escapes, or else it is not found. */
static struct chi_span raw_value(const char *text, const char *key)
{
    const char *at = skip_blanks(skip_blanks(text) + 1);
    size_t size = strlen(key);
    struct chi_span found = {"", 0};

    while (*at == '"') { /* to the end: of several with one key jansson keeps the last */
        const char *name = at + 1, *behind = skip_text(at);
        const char *value = skip_blanks(skip_blanks(behind) + 1), *end = skip_value(value);
        const char *behind_value = end;
        if ((size_t)(behind - 1 - name) == size && memcmp(name, key, size) == 0) {
            while (end > value && strchr(" \t\r\n", end[-1]))
                end--;
            found = (struct chi_span){value, (size_t)(end - value)};
        }
        at = skip_blanks(behind_value);
        at = *at == ',' ? skip_blanks(at + 1) : at;
    }
    return found;
}

/* ---------------------------------------------------------------------------------------- members */

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

uint64_t chi_frame_number(const json_t *object, const char *key)
{
    double number = json_number_value(json_object_get(object, key));
    return number > 0 ? number < 1e18 ? (uint64_t)number : UINT64_MAX : 0;
}

/* "2026-01-02T03:04:05.678Z", as hubs write it; 0 if it is something else. */
static uint64_t time_of(const json_t *object)
{
    static const char form[] = "0000-00-00T00:00:00.000Z";
    const char *text = text_of(object, "timestamp");
    unsigned n[7] = {0}, part = 0; /* year, month, day, hour, minute, second, ms */

    if (strlen(text) != sizeof(form) - 1)
        return 0;
    for (size_t i = 0; form[i]; i++) {
        bool digit = text[i] >= '0' && text[i] <= '9';
        if (form[i] == '0' ? !digit : text[i] != form[i])
            return 0;
        if (digit)
            n[part] = n[part] * 10 + (unsigned)(text[i] - '0');
        else if (part < 6)
            part++;
    }
    if (n[0] < 1970 || n[1] < 1 || n[1] > 12)
        return 0;
    /* days by years that begin in March, so that a leap day is a year's last */
    unsigned y = n[1] > 2 ? n[0] : n[0] - 1, m = n[1] > 2 ? n[1] - 3 : n[1] + 9;
    uint64_t days = 365u * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + n[2] - 1 - 719468;
    return (days * 86400 + n[3] * 3600 + n[4] * 60 + n[5]) * 1000 + n[6];
}

/* ------------------------------------------------------------------------------------------ kinds */

static const struct {
    const char *name;
    uint32_t type;
} KINDS[] = {
    {"chat", CHATHUB_EVENT_MESSAGE},    {"ack", CHATHUB_EVENT_ACK},
    {"error", CHATHUB_EVENT_ERROR},     {"welcome", CHATHUB_EVENT_WELCOME},
    {"joined", CHATHUB_EVENT_JOINED},   {"left", CHATHUB_EVENT_LEFT},
    {"gap", CHATHUB_EVENT_GAP},         {"presence", CHATHUB_EVENT_PRESENCE},
    {"typing", CHATHUB_EVENT_TYPING},   {"status", CHATHUB_EVENT_STATUS},
    {"history", CHATHUB_EVENT_HISTORY}, {"who", CHATHUB_EVENT_WHO},
    {"pong", CHATHUB_EVENT_PONG},       {"ok", CHATHUB_EVENT_OK},
    {"bye", CHATHUB_EVENT_BYE},         {"private", CHATHUB_EVENT_PRIVATE},
};

static uint32_t kind_of(const char *name)
{
    for (size_t i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++)
        if (strcmp(KINDS[i].name, name) == 0)
            return KINDS[i].type;
    return 0;
}

static void read_content(const json_t *object, struct chathub_event *event)
{
    const char *key = event->type == CHATHUB_EVENT_STATUS ? "status" : "content";
    const json_t *content = json_object_get(object, key);

    if (!json_is_string(content))
        return;
    event->content = json_string_value(content);
    event->content_len = json_string_length(content);
}

static void read_numbers(const json_t *object, struct chi_frame *out)
{
    struct chathub_event *event = &out->event;
    bool gap = event->type == CHATHUB_EVENT_GAP;

    event->position = chi_frame_number(object, gap ? "to" : "position");
    event->prev = chi_frame_number(object, gap ? "from" : "prev");
    event->count = chi_frame_number(object, "count");
    event->time = time_of(object);
    event->flags = (json_is_true(json_object_get(object, "dup")) ? CHATHUB_DUP : 0) |
                   (json_is_true(json_object_get(object, "on")) ? CHATHUB_ON : 0);
    out->start = chi_frame_number(object, "start");
    out->retry_after = chi_frame_number(object, "retry_after_ms");
    if (out->retry_after > RETRY_MAX)
        out->retry_after = RETRY_MAX;
    out->is_entry = event->type != CHATHUB_EVENT_ACK && event->type != CHATHUB_EVENT_JOINED &&
                    event->position > 0 && json_is_number(json_object_get(object, "prev"));
}

static void read_texts(const json_t *object, struct chi_frame *out)
{
    struct chathub_event *event = &out->event;
    const char *code = text_of(object, "code");

    event->room = text_of(object, "room");
    event->sender = text_of(object, "sender");
    event->sender_id = text_of(object, "sender_id");
    event->cid = text_of(object, "cid");
    event->session = text_of(object, "session");
    event->message = text_of(object, "message");
    event->code = *code || event->type == CHATHUB_EVENT_ERROR ? chi_frame_code(code) : 0;
    read_content(object, event);
    out->epoch = text_of(object, "epoch");
}

/* Copies a member's value as it stands behind what `scratch` holds; its place there, or 0. */
static size_t keep_raw(struct chi_buf *scratch, size_t text_len, const char *key)
{
    size_t at = scratch->len;

    if (!chi_buf_reserve(scratch, text_len + 1)) /* after which nothing moves */
        return 0;
    struct chi_span raw = raw_value(scratch->at, key);
    chi_buf_add(scratch, raw.at, raw.len);
    chi_buf_add_char(scratch, '\0');
    return raw.len ? at : 0;
}

static void read_raw(size_t text_len, struct chi_buf *scratch, struct chi_frame *out)
{
    const char *ref = json_string_value(json_object_get(out->object, "ref"));
    bool has_data = json_is_object(json_object_get(out->object, "data"));
    size_t data = has_data ? keep_raw(scratch, text_len, "data") : 0, at = 0;

    if (ref && strncmp(ref, CHI_OWN_REF, sizeof(CHI_OWN_REF) - 1) == 0)
        out->own = ref + sizeof(CHI_OWN_REF) - 1;
    else if (json_object_get(out->object, "ref"))
        at = keep_raw(scratch, text_len, "ref");
    if (scratch->failed)
        return;
    out->event.json = scratch->at;
    out->event.json_len = text_len;
    out->event.data = data ? scratch->at + data : "";
    out->event.ref = at ? scratch->at + at : "";
}

/* ----------------------------------------------------------------------------------------- whole */

/* The beginning of what is no frame, as far as it may be shown to people. */
static int refuse(struct chi_span text, char *problem, size_t size)
{
    size_t len = 0;

    while (len < text.len && len < 40 && text.at[len] >= ' ' && text.at[len] < 0x7f)
        len++;
    snprintf(problem, size, "the server does not speak this protocol: it sent \"%.*s\"%s", (int)len,
             text.at, len < text.len ? " …" : "");
    return CHATHUB_EPROTOCOL;
}

int chi_frame_read(struct chi_span text, struct chi_buf *scratch, struct chi_frame *out,
                   char *problem, size_t size)
{
    json_error_t wrong;

    *out = (struct chi_frame){.event = chi_event_of(0), .epoch = ""};
    chi_buf_reset(scratch, 65536);
    chi_buf_add(scratch, text.at, text.len);
    chi_buf_add_char(scratch, '\0');
    if (scratch->failed)
        return CHATHUB_ENOMEM;
    out->object = json_loadb(text.at, text.len, CHI_FRAME_JSON, &wrong);
    if (!out->object && json_error_code(&wrong) == json_error_out_of_memory)
        return CHATHUB_ENOMEM;
    if (!json_is_object(out->object))
        return refuse(text, problem, size);
    out->event.type = kind_of(text_of(out->object, "type"));
    read_numbers(out->object, out);
    read_texts(out->object, out);
    read_raw(text.len, scratch, out);
    if (scratch->failed)
        return CHATHUB_ENOMEM;
    if (out->event.position > POSITION_MAX || strlen(out->epoch) > CHI_EPOCH_MAX)
        return refuse(text, problem, size);
    return 0;
}

void chi_frame_fini(struct chi_frame *frame)
{
    json_decref(frame->object);
    frame->object = NULL;
}
