/* The dialect of chatservice: JSON objects with an action, a room and a payload (docs/dialects.md).
 *
 * A payload's text is the content of an entry. What else a frame says, which other dialects have no
 * word for, stands in the entry's data, under "chatservice". Any client may write such data: it is
 * trusted no more than a frame. */
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"
#include "dialect/reading.h"
#include "dialect/texts.h"

#define ADD(out, literal) chi_buf_add((out), "" literal, sizeof(literal) - 1)

/* How data begins that is ours. */
#define MARK "{\"chatservice\":"
/* Bytes of a client's id, and of a type. */
#define WORD_MAX 256
/* Data holds a payload two levels deep, and may itself nest 100 (chi_reading_data). */
#define PAYLOAD_DEPTH 98
/* Bytes of one message, as its own server takes it. */
#define MESSAGE_MAX 32768
/* Bytes of an entry's frame beside its texts: keys, numbers, time stamp. */
#define ENTRY_FIXED 256

/* What a frame says beside its room and text. All of it lies in what it was read from. */
struct more {
    struct chi_span client_id;  /* empty: none */
    struct chi_span type;       /* empty: chat */
    struct chi_reading payload; /* `object` NULL: none; else with its text */
};

/* ------------------------------------------------------------------------------------- payloads */

/* The members that are written from elsewhere. */
static const char *const OWN[] = {"text", "user"};
#define OWN_COUNT (sizeof(OWN) / sizeof(OWN[0]))

/* Whether a payload has members beside those. */
static bool has_rest(const struct chi_reading *payload)
{
    size_t own = 0;
    for (size_t i = 0; i < OWN_COUNT; i++)
        own += json_object_get(payload->object, OWN[i]) != NULL;
    return json_object_size(payload->object) > own;
}

/* The member with its key, as it stands in the text; `none` if there is no such member. The key is
 * one of OWN, however escaped, so there is no quote in it. */
static struct chi_span whole_member(const struct chi_reading *payload, const char *key,
                                    struct chi_span none)
{
    if (!json_object_get(payload->object, key))
        return none;
    size_t nesting;
    struct chi_span value = chi_reading_raw(payload, key, &nesting);
    const char *text = payload->text.at;
    if (!value.at || !text)
        return none;
    size_t end = (size_t)(value.at - text), begin = end;
    for (int quotes = 0; quotes < 2 && begin > 0;)
        quotes += text[--begin] == '"';
    return (struct chi_span){text + begin, end - begin + value.len};
}

static bool is_between(char c)
{
    return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Members that stand in a row, on one line; `start` is where the first of all began in `out`. */
static void add_members(struct chi_buf *out, size_t start, const char *at, const char *end)
{
    while (at < end && is_between(*at))
        at++;
    while (end > at && is_between(end[-1]))
        end--;
    if (at == end)
        return;
    if (out->len > start)
        ADD(out, ",");
    size_t from = out->len;
    chi_buf_add(out, at, (size_t)(end - at));
    for (size_t i = from; i < out->len; i++) {
        if (out->at[i] == '\n' || out->at[i] == '\r')
            out->at[i] = ' ';
    }
}

/* The payload's members as they came, without braces, but not those of OWN. */
static void add_rest(struct chi_buf *out, const struct chi_reading *payload)
{
    size_t start = out->len;
    const char *end = payload->text.at + payload->text.len - 1;
    struct chi_span first = whole_member(payload, OWN[0], (struct chi_span){end, 0});
    struct chi_span second = whole_member(payload, OWN[1], (struct chi_span){end, 0});
    if (second.at < first.at) {
        struct chi_span swap = first;
        first = second;
        second = swap;
    }
    add_members(out, start, payload->text.at + 1, first.at);
    add_members(out, start, first.at + first.len, second.at);
    add_members(out, start, second.at + second.len, end);
}

/* ------------------------------------------------------------------------------------- reading */

/* Where it lies in the object; without one, a span without bytes. */
static struct chi_span read_text(struct chi_reading *in, const char *key)
{
    struct chi_value value;
    if (!chi_reading_member(in, key, &value))
        return (struct chi_span){0};
    if (value.type != CHI_VALUE_TEXT) {
        chi_reading_wrong_type(in, key, value.type, "a text");
        return (struct chi_span){0};
    }
    return (struct chi_span){json_string_value(value.tree), json_string_length(value.tree)};
}

static struct chi_span read_word(struct chi_reading *in, const char *key)
{
    struct chi_span word = read_text(in, key);
    if (word.len > WORD_MAX)
        chi_reading_fail(in, CHATHUB_ETOOLONG, "\"%s\" has %zu bytes; it may have %d", key,
                         word.len, WORD_MAX);
    return word;
}

static void read_payload(struct chi_reading *in, struct chi_reading *payload)
{
    struct chi_value value;
    if (!chi_reading_member(in, "payload", &value))
        return;
    if (value.type != CHI_VALUE_OBJECT) {
        chi_reading_wrong_type(in, "payload", value.type, "an object");
        return;
    }
    size_t nesting;
    payload->object = value.tree;
    payload->text = chi_reading_raw(in, "payload", &nesting);
    if (nesting > PAYLOAD_DEPTH)
        chi_reading_fail(in, CHATHUB_EREQUEST, "\"payload\" nests %zu deep; it may nest %d deep",
                         nesting, PAYLOAD_DEPTH);
}

static void read_more(struct chi_reading *in, struct more *more)
{
    more->client_id = read_word(in, "client_id");
    more->type = read_word(in, "type");
    if (chi_span_is(more->type, "chat"))
        more->type = (struct chi_span){0};
    read_payload(in, &more->payload);
}

static void next_member(struct chi_buf *out, size_t start)
{
    if (out->len > start)
        ADD(out, ",");
}

/* An entry's data; nothing if there is nothing to keep. */
static void add_data(struct chi_buf *out, const struct more *more)
{
    bool rest = has_rest(&more->payload);
    if (!more->client_id.len && !more->type.len && !rest)
        return;
    ADD(out, MARK "{");
    size_t start = out->len;
    if (more->client_id.len)
        chi_text_member(out, "\"client_id\":", more->client_id);
    if (more->type.len) {
        next_member(out, start);
        chi_text_member(out, "\"type\":", more->type);
    }
    if (rest) {
        next_member(out, start);
        ADD(out, "\"payload\":{");
        add_rest(out, &more->payload);
        ADD(out, "}");
    }
    ADD(out, "}}");
}

/* 0 if it says nothing. The data, whose length is not known before, is written first: what is kept
 * behind it does not move any more. */
static int read_message(struct chi_reading *in, const struct more *more, struct chi_span room,
                        struct chi_request *out)
{
    const json_t *text = json_object_get(more->payload.object, "text");
    if (!json_string_length(text) && !more->type.len && !has_rest(&more->payload))
        return 0;
    add_data(in->scratch, more);
    size_t data_len = in->scratch->len;
    if (!chi_buf_reserve(in->scratch, in->text.len + 1)) {
        chi_reading_fail(in, CHATHUB_ENOMEM, "%s", chathub_strerror(CHATHUB_ENOMEM));
        return 0;
    }
    out->type = CHI_REQUEST_POST;
    out->room = chi_reading_keep(in, room.at, room.len);
    if (json_string_length(text))
        out->content = chi_reading_keep_text(in, text);
    if (data_len)
        out->data = (struct chi_span){in->scratch->at, data_len};
    return 1;
}

/* 1, or 0 for what is passed over. */
static int read_frame(struct chi_reading *in, struct chi_request *out)
{
    struct more more = {0};
    struct chi_span action = read_text(in, "action");
    struct chi_span room = read_text(in, "room");
    read_more(in, &more);
    if (in->error->code || !room.len)
        return 0;
    if (chi_span_is(action, "message"))
        return read_message(in, &more, room, out);
    if (chi_span_is(action, "join"))
        out->type = CHI_REQUEST_JOIN;
    else if (chi_span_is(action, "leave"))
        out->type = CHI_REQUEST_LEAVE;
    else
        return 0;
    out->room = chi_reading_keep(in, room.at, room.len);
    return 1;
}

/* Its clients do not expect to be told what was wrong: that is passed over. */
static int chatservice_decode(struct chi_buf *scratch, struct chi_span text,
                              struct chi_request *out, struct chi_decode_error *error)
{
    struct chi_reading in = {.text = text, .scratch = scratch, .error = error};
    memset(out, 0, offsetof(struct chi_request, resume));
    int result = chi_reading_begin(&in, "send one object");
    if (result > 0)
        result = read_frame(&in, out);
    json_decref(in.object);
    if (error->code == CHATHUB_ENOMEM)
        return CHATHUB_ENOMEM;
    *error = (struct chi_decode_error){0};
    return result > 0 ? result : 0;
}

/* ------------------------------------------------------------------------------------- writing */

#define SYSTEM CHI_SPAN("System")

/* What follows a frame's message_id. */
struct frame {
    struct chi_span room;   /* empty: none */
    struct chi_span sender; /* never empty */
    struct chi_span text;   /* empty: none */
    uint64_t time;          /* Unix ms */
    struct more more;       /* the rest */
};

static void add_payload(struct chi_buf *out, const struct frame *frame)
{
    bool rest = has_rest(&frame->more.payload);
    if (!frame->text.len && !rest)
        return;
    ADD(out, ",\"payload\":{");
    if (frame->text.len) {
        chi_text_member(out, "\"text\":", frame->text);
        ADD(out, ",");
    }
    chi_text_member(out, "\"user\":", frame->sender);
    if (rest) {
        ADD(out, ",");
        add_rest(out, &frame->more.payload);
    }
    ADD(out, "}");
}

static void add_frame(struct chi_buf *out, const struct frame *frame)
{
    const struct more *more = &frame->more;
    if (more->client_id.len)
        chi_text_member(out, ",\"client_id\":", more->client_id);
    if (frame->room.len)
        chi_text_member(out, ",\"room_id\":", frame->room);
    chi_text_member(out, ",\"sender_id\":", frame->sender);
    chi_text_member(out, ",\"type\":", more->type.len ? more->type : CHI_SPAN("chat"));
    add_payload(out, frame);
    chi_text_time(out, ",\"created_at\":", frame->time);
    ADD(out, "}");
}

/* A text of the data that a frame could have had. */
static struct chi_span stored_word(const json_t *value)
{
    size_t len = json_string_length(value);
    return len <= WORD_MAX ? (struct chi_span){json_string_value(value), len}
                           : (struct chi_span){0};
}

/* What an entry's data says in our name, as far as it can be what was said there. `in` is to be
 * dropped after the last use of *more. */
static void read_data(struct chi_reading *in, struct more *more)
{
    size_t nesting;
    if (chi_reading_begin(in, "") <= 0)
        return;
    json_t *own = json_object_get(in->object, "chatservice"); /* may be anything */
    struct chi_reading inner = {.object = own,
                                .text = chi_reading_raw(in, "chatservice", &nesting)};
    more->client_id = stored_word(json_object_get(own, "client_id"));
    more->type = stored_word(json_object_get(own, "type"));
    json_t *payload = json_object_get(own, "payload");
    if (json_is_object(payload))
        more->payload = (struct chi_reading){.object = payload,
                                             .text = chi_reading_raw(&inner, "payload", &nesting)};
}

static bool is_ours(struct chi_span data)
{
    return data.len > sizeof(MARK) - 1 && memcmp(data.at, MARK, sizeof(MARK) - 1) == 0;
}

static bool says_something(const struct frame *frame)
{
    return frame->text.len || frame->more.type.len || has_rest(&frame->more.payload);
}

/* "<time>-<position>" is the same wherever and whenever the entry is sent. */
static void add_entry(struct chi_buf *out, const struct chi_entry *entry, const struct frame *frame)
{
    ADD(out, "{\"message_id\":\"");
    chi_buf_add_u64(out, entry->time);
    ADD(out, "-");
    chi_buf_add_u64(out, entry->position);
    ADD(out, "\"");
    add_frame(out, frame);
}

static void chatservice_encode_entry(struct chi_buf *out, struct chi_span room,
                                     const struct chi_entry *entry)
{
    struct chi_entry_parts parts = chi_entry_read(entry);
    /* one without a sender had its texts taken away */
    if (entry->type != CHI_ENTRY_CHAT || !parts.sender.len)
        return;
    struct chi_buf scratch = {0};
    struct chi_decode_error error = {0};
    struct chi_reading in = {.text = parts.data, .scratch = &scratch, .error = &error};
    struct frame frame = {
        .room = room, .sender = parts.sender, .text = parts.content, .time = entry->time};
    if (is_ours(parts.data))
        read_data(&in, &frame.more);
    chi_buf_reserve(out, ENTRY_FIXED + room.len + parts.sender.len + chi_entry_size(entry));
    if (says_something(&frame))
        add_entry(out, entry, &frame);
    if (error.code == CHATHUB_ENOMEM)
        out->failed = true;
    json_decref(in.object);
    chi_buf_fini(&scratch);
}

static void add_id(struct chi_buf *out, const char *kind, uint64_t a, uint64_t b)
{
    chi_buf_add_text(out, kind);
    chi_buf_add_u64(out, a);
    ADD(out, "-");
    chi_buf_add_u64(out, b);
}

/* What a reply that is shown is called by; nothing for the others. */
static void add_reply_id(struct chi_buf *out, const struct chi_reply *reply)
{
    switch (reply->type) {
    case CHI_REPLY_ERROR:
        add_id(out, "system-", reply->time, reply->number);
        break;
    case CHI_REPLY_GAP:
        add_id(out, "gap-", reply->from, reply->to);
        break;
    case CHI_REPLY_PRIVATE:
        add_id(out, "private-", reply->time, reply->number);
        break;
    case CHI_REPLY_LEFT:
        if (!reply->code)
            break;
        ADD(out, "left-");
        chi_buf_add_u64(out, reply->time);
        ADD(out, "-");
        chi_buf_add(out, reply->room.at, reply->room.len);
        break;
    default:
        break;
    }
}

static void chatservice_encode_reply(struct chi_buf *out, const struct chi_reply *reply)
{
    struct chi_buf id = {0}, text = {0};
    struct frame frame = {.room = reply->room, .sender = SYSTEM, .time = reply->time};
    add_reply_id(&id, reply);
    if (id.len) {
        chi_text_told(&text, reply);
        frame.text = (struct chi_span){text.at, text.len};
        if (reply->type == CHI_REPLY_PRIVATE) {
            frame.sender = reply->name;
            frame.text = reply->message;
        }
        chi_text_member(out, "{\"message_id\":", (struct chi_span){id.at, id.len});
        add_frame(out, &frame);
    }
    out->failed |= id.failed || text.failed;
    chi_buf_fini(&id);
    chi_buf_fini(&text);
}

/* Who comes, goes or types is not told. */
static void chatservice_encode_signal(struct chi_buf *out, const struct chi_signal *signal)
{
    (void)out, (void)signal;
}

/* --------------------------------------------------------------------------------------- tokens */

#define NO_TOKEN 401

static int chatservice_read_name(struct chi_span value, bool demo, struct chi_span *name,
                                 const char **why)
{
    static const char PREFIX[] = "user:";
    const size_t prefix = sizeof(PREFIX) - 1;
    if (!value.at) {
        *why = "missing token";
        return NO_TOKEN;
    }
    if (!demo || value.len <= prefix || memcmp(value.at, PREFIX, prefix) != 0) {
        *why = "invalid token";
        return NO_TOKEN;
    }
    *name = (struct chi_span){value.at + prefix, value.len - prefix};
    return 0;
}

const struct chi_dialect chi_dialect_chatservice = {
    .name = "chatservice",
    .decode = chatservice_decode,
    .encode_entry = chatservice_encode_entry,
    .encode_reply = chatservice_encode_reply,
    .encode_signal = chatservice_encode_signal,
    .name_key = "token",
    .read_name = chatservice_read_name,
    .entrance = CHI_ENTRANCE_SILENT,
    .hearing = CHI_HEARS_ENTRIES,
    .max_message = MESSAGE_MAX,
    .must_name = true,
    .must_join = true,
    .shares_names = true,
    .replays = true,
    .also_last = true,
    .hides_key = true,
};
