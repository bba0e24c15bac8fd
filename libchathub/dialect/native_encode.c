/* Writes native frames, one JSON object each, without a JSON library: fields come in a fixed order,
 * texts are escaped, and what clients passed as JSON (`ref`, `data`) is repeated as it came. */
#include "dialect/native.h"

#include "chathub.h"
#include "dialect/dialect.h"

#define ADD(out, literal) chi_buf_add((out), "" literal, sizeof(literal) - 1)

/* Bytes of an entry's frame beside its texts: keys, numbers, time stamp. */
#define ENTRY_FIXED 256

static void add_text(struct chi_buf *out, struct chi_span text)
{
    chi_buf_add_json(out, text.at, text.len);
}

/* `key` begins with its comma and ends with its colon. */
static void text_field(struct chi_buf *out, const char *key, struct chi_span text)
{
    if (!text.len)
        return;
    chi_buf_add_text(out, key);
    add_text(out, text);
}

static void number_field(struct chi_buf *out, const char *key, uint64_t number)
{
    chi_buf_add_text(out, key);
    chi_buf_add_u64(out, number);
}

static void time_field(struct chi_buf *out, uint64_t unix_ms)
{
    char text[CHI_TIMESTAMP_SIZE];
    chi_timestamp(unix_ms, text);
    ADD(out, ",\"timestamp\":\"");
    chi_buf_add(out, text, CHI_TIMESTAMP_SIZE - 1);
    ADD(out, "\"");
}

/* -------------------------------------------------------------------------------------- entries */

void chi_native_encode_entry(struct chi_buf *out, struct chi_span room,
                             const struct chi_entry *entry)
{
    struct chi_entry_parts parts = chi_entry_read(entry);
    chi_buf_reserve(out, ENTRY_FIXED + room.len + chi_entry_size(entry));
    if (entry->type == CHI_ENTRY_CHAT) {
        ADD(out, "{\"type\":\"chat\",\"room\":");
    } else { /* of a log that a later version has written: it is a link of the chain all the same */
        number_field(out, "{\"type\":\"entry\",\"kind\":", entry->type);
        ADD(out, ",\"room\":");
    }
    add_text(out, room);
    number_field(out, ",\"position\":", entry->position);
    number_field(out, ",\"prev\":", entry->prev);
    ADD(out, ",\"sender\":");
    add_text(out, parts.sender);
    ADD(out, ",\"sender_id\":");
    add_text(out, parts.user);
    ADD(out, ",\"content\":");
    add_text(out, parts.content);
    text_field(out, ",\"cid\":", parts.cid);
    if (parts.data.len) {
        ADD(out, ",\"data\":");
        chi_buf_add(out, parts.data.at, parts.data.len);
    }
    /* everybody who posts has a name, so this one was taken away with the other texts */
    if (!parts.sender.len)
        ADD(out, ",\"redacted\":true");
    time_field(out, entry->time);
    ADD(out, "}");
}

/* ------------------------------------------------------------------------------------- presence */

static void add_present(struct chi_buf *out, const struct chi_present *who)
{
    ADD(out, "{\"sender\":");
    add_text(out, who->name);
    ADD(out, ",\"sender_id\":");
    add_text(out, who->user);
    text_field(out, ",\"status\":", who->status);
    text_field(out, ",\"was\":", who->was);
    ADD(out, "}");
}

static void present_field(struct chi_buf *out, const char *key, const struct chi_present *list,
                          uint32_t count)
{
    chi_buf_add_text(out, key);
    ADD(out, "[");
    for (uint32_t i = 0; i < count; i++) {
        if (i > 0)
            ADD(out, ",");
        add_present(out, &list[i]);
    }
    ADD(out, "]");
}

/* -------------------------------------------------------------------------------------- replies */

static void add_welcome(struct chi_buf *out, const struct chi_reply *reply)
{
    text_field(out, ",\"sender\":", reply->name);
    text_field(out, ",\"sender_id\":", reply->user);
    text_field(out, ",\"session\":", reply->session);
    text_field(out, ",\"epoch\":", reply->epoch);
    text_field(out, ",\"default_room\":", reply->default_room);
    number_field(out, ",\"horizon_ms\":", reply->horizon);
    number_field(out, ",\"limits\":{\"content\":", reply->max_content);
    number_field(out, ",\"message\":", reply->max_message);
    ADD(out, "}");
    if (reply->renamed)
        ADD(out, ",\"renamed\":true");
    time_field(out, reply->time);
}

static void add_ack(struct chi_buf *out, const struct chi_reply *reply)
{
    text_field(out, ",\"room\":", reply->room);
    text_field(out, ",\"cid\":", reply->cid);
    number_field(out, ",\"position\":", reply->position);
    text_field(out, ",\"epoch\":", reply->epoch);
    if (reply->dup)
        ADD(out, ",\"dup\":true");
    time_field(out, reply->time);
}

static void add_error(struct chi_buf *out, const struct chi_reply *reply)
{
    text_field(out, ",\"code\":", chi_span_of(chathub_errname(reply->code)));
    text_field(out, ",\"message\":",
               reply->message.len ? reply->message : chi_span_of(chathub_strerror(reply->code)));
    text_field(out, ",\"room\":", reply->room);
    text_field(out, ",\"cid\":", reply->cid);
    if (reply->retry_after)
        number_field(out, ",\"retry_after_ms\":", reply->retry_after);
}

static void add_joined(struct chi_buf *out, const struct chi_reply *reply)
{
    text_field(out, ",\"room\":", reply->room);
    text_field(out, ",\"epoch\":", reply->epoch);
    number_field(out, ",\"position\":", reply->position);
    number_field(out, ",\"start\":", reply->start);
    if (reply->observer)
        ADD(out, ",\"observer\":true");
    number_field(out, ",\"count\":", reply->count);
    number_field(out, ",\"presence\":", reply->presence);
    if (reply->present)
        present_field(out, ",\"members\":", reply->present, reply->present_count);
}

static void add_left(struct chi_buf *out, const struct chi_reply *reply)
{
    text_field(out, ",\"room\":", reply->room);
    if (reply->code)
        text_field(out, ",\"code\":", chi_span_of(chathub_errname(reply->code)));
    text_field(out, ",\"message\":", reply->message);
}

static void add_history(struct chi_buf *out, const struct chi_reply *reply)
{
    text_field(out, ",\"room\":", reply->room);
    text_field(out, ",\"epoch\":", reply->epoch);
    ADD(out, ",\"entries\":[");
    for (uint32_t i = 0; i < reply->entry_count; i++) {
        if (i > 0)
            ADD(out, ",");
        chi_native_encode_entry(out, reply->room, reply->entries[i]);
    }
    chi_buf_add_text(out, reply->more ? "],\"more\":true" : "],\"more\":false");
}

static void add_who(struct chi_buf *out, const struct chi_reply *reply)
{
    text_field(out, ",\"room\":", reply->room);
    number_field(out, ",\"count\":", reply->count);
    number_field(out, ",\"presence\":", reply->presence);
    present_field(out, ",\"members\":", reply->present, reply->present_count);
    chi_buf_add_text(out, reply->more ? ",\"more\":true" : ",\"more\":false");
}

static void add_pong(struct chi_buf *out, const struct chi_reply *reply)
{
    time_field(out, reply->time);
}

static void add_ok(struct chi_buf *out, const struct chi_reply *reply)
{
    (void)out, (void)reply;
}

static void add_gap(struct chi_buf *out, const struct chi_reply *reply)
{
    text_field(out, ",\"room\":", reply->room);
    number_field(out, ",\"from\":", reply->from);
    number_field(out, ",\"to\":", reply->to);
    text_field(out, ",\"epoch\":", reply->epoch);
}

static void add_bye(struct chi_buf *out, const struct chi_reply *reply)
{
    if (reply->code)
        text_field(out, ",\"code\":", chi_span_of(chathub_errname(reply->code)));
    text_field(out, ",\"message\":", reply->message);
    if (reply->retry_after)
        number_field(out, ",\"retry_after_ms\":", reply->retry_after);
}

static void add_private(struct chi_buf *out, const struct chi_reply *reply)
{
    text_field(out, ",\"room\":", reply->room);
    text_field(out, ",\"sender\":", reply->name);
    text_field(out, ",\"sender_id\":", reply->user);
    text_field(out, ",\"content\":", reply->message);
    time_field(out, reply->time);
}

/* By enum chi_reply_type. Help is for people at plain lines: it has no frame here. */
static const struct {
    const char *begin;
    void (*add)(struct chi_buf *out, const struct chi_reply *reply);
} REPLIES[] = {
    [CHI_REPLY_WELCOME] = {"{\"type\":\"welcome\"", add_welcome},
    [CHI_REPLY_ACK] = {"{\"type\":\"ack\"", add_ack},
    [CHI_REPLY_ERROR] = {"{\"type\":\"error\"", add_error},
    [CHI_REPLY_JOINED] = {"{\"type\":\"joined\"", add_joined},
    [CHI_REPLY_LEFT] = {"{\"type\":\"left\"", add_left},
    [CHI_REPLY_HISTORY] = {"{\"type\":\"history\"", add_history},
    [CHI_REPLY_WHO] = {"{\"type\":\"who\"", add_who},
    [CHI_REPLY_PONG] = {"{\"type\":\"pong\"", add_pong},
    [CHI_REPLY_OK] = {"{\"type\":\"ok\"", add_ok},
    [CHI_REPLY_GAP] = {"{\"type\":\"gap\"", add_gap},
    [CHI_REPLY_BYE] = {"{\"type\":\"bye\"", add_bye},
    [CHI_REPLY_PRIVATE] = {"{\"type\":\"private\"", add_private},
};

void chi_native_encode_reply(struct chi_buf *out, const struct chi_reply *reply)
{
    size_t type = (size_t)reply->type;
    if (type >= sizeof(REPLIES) / sizeof(REPLIES[0]) || !REPLIES[type].add)
        return;
    chi_buf_add_text(out, REPLIES[type].begin);
    if (reply->ref.len) {
        ADD(out, ",\"ref\":");
        chi_buf_add(out, reply->ref.at, reply->ref.len);
    }
    REPLIES[type].add(out, reply);
    ADD(out, "}");
}

/* -------------------------------------------------------------------------------------- signals */

static void add_presence(struct chi_buf *out, const struct chi_signal *signal)
{
    number_field(out, ",\"number\":", signal->number);
    number_field(out, ",\"count\":", signal->count);
    if (signal->counts_only)
        return;
    if (signal->snapshot) {
        ADD(out, ",\"snapshot\":true");
        present_field(out, ",\"members\":", signal->came, signal->came_count);
        return;
    }
    if (signal->came_count)
        present_field(out, ",\"joined\":", signal->came, signal->came_count);
    if (signal->went_count)
        present_field(out, ",\"left\":", signal->went, signal->went_count);
    if (signal->renamed_count)
        present_field(out, ",\"renamed\":", signal->renamed, signal->renamed_count);
}

static void add_sender(struct chi_buf *out, const struct chi_present *who)
{
    ADD(out, ",\"sender\":");
    add_text(out, who->name);
    ADD(out, ",\"sender_id\":");
    add_text(out, who->user);
}

void chi_native_encode_signal(struct chi_buf *out, const struct chi_signal *signal)
{
    switch (signal->type) {
    case CHI_SIGNAL_PRESENCE:
        ADD(out, "{\"type\":\"presence\",\"room\":");
        add_text(out, signal->room);
        add_presence(out, signal);
        break;
    case CHI_SIGNAL_TYPING:
        ADD(out, "{\"type\":\"typing\",\"room\":");
        add_text(out, signal->room);
        add_sender(out, &signal->who);
        chi_buf_add_text(out, signal->on ? ",\"on\":true" : ",\"on\":false");
        break;
    case CHI_SIGNAL_STATUS:
        ADD(out, "{\"type\":\"status\",\"room\":");
        add_text(out, signal->room);
        add_sender(out, &signal->who);
        ADD(out, ",\"status\":");
        add_text(out, signal->who.status);
        break;
    default:
        return;
    }
    ADD(out, "}");
}

const struct chi_dialect chi_dialect_native = {
    .name = "native",
    .decode = chi_native_decode,
    .encode_entry = chi_native_encode_entry,
    .encode_reply = chi_native_encode_reply,
    .encode_signal = chi_native_encode_signal,
};
