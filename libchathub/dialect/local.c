/* Records for in-process clients: a head of numbers, then texts with their NULs, which a reader
 * uses in place. Records stand at any address, so the head is copied out, never pointed at. */
#include "dialect/local.h"

#include <stddef.h>
#include <string.h>

#include "dialect/dialect.h"
#include "dialect/native.h"

/* Texts of a record, in the order in which they follow the head. */
enum field { ROOM, SENDER, SENDER_ID, CONTENT, CID, DATA, SESSION, MESSAGE, REF, JSON, FIELDS };

struct head {
    uint32_t total;    /* bytes of the record with this head */
    uint32_t type;     /* enum chathub_event_type */
    uint64_t position; /* and so on as in struct chathub_event */
    uint64_t prev;
    uint64_t time;
    uint64_t count;
    int32_t code;
    uint32_t flags;
    uint32_t len[FIELDS]; /* bytes of each text without its NUL */
};

struct record {
    struct head head;
    struct chi_span text[FIELDS]; /* all but JSON, which is encoded in place */
};

static size_t begin(struct chi_buf *out, struct record *record)
{
    size_t start = out->len, texts = 0;
    for (int i = 0; i < JSON; i++) {
        record->head.len[i] = (uint32_t)record->text[i].len;
        texts += record->text[i].len + 1;
    }
    chi_buf_reserve(out, sizeof(record->head) + texts);
    chi_buf_add(out, &record->head, sizeof(record->head));
    for (int i = 0; i < JSON; i++) {
        if (record->text[i].len)
            chi_buf_add(out, record->text[i].at, record->text[i].len);
        chi_buf_add_char(out, '\0');
    }
    return start;
}

/* `json` is where the native text began. */
static void end(struct chi_buf *out, struct record *record, size_t start, size_t json)
{
    record->head.len[JSON] = (uint32_t)(out->len - json);
    chi_buf_add_char(out, '\0');
    if (out->failed)
        return;
    record->head.total = (uint32_t)(out->len - start);
    memcpy(out->at + start, &record->head, sizeof(record->head));
}

static void local_encode_entry(struct chi_buf *out, struct chi_span room,
                               const struct chi_entry *entry)
{
    if (entry->type != CHI_ENTRY_CHAT)
        return;
    struct chi_entry_parts parts = chi_entry_read(entry);
    struct record record = {
        .head = {.type = CHATHUB_EVENT_MESSAGE,
                 .position = entry->position,
                 .prev = entry->prev,
                 .time = entry->time},
        .text = {[ROOM] = room,
                 [SENDER] = parts.sender,
                 [SENDER_ID] = parts.user,
                 [CONTENT] = parts.content,
                 [CID] = parts.cid,
                 [DATA] = parts.data},
    };
    size_t start = begin(out, &record);
    size_t json = out->len;
    chi_native_encode_entry(out, room, entry);
    end(out, &record, start, json);
}

/* 0: in-process clients have no such event. */
static uint32_t reply_event(enum chi_reply_type type)
{
    static const uint8_t EVENTS[] = {
        [CHI_REPLY_WELCOME] = CHATHUB_EVENT_WELCOME, [CHI_REPLY_ACK] = CHATHUB_EVENT_ACK,
        [CHI_REPLY_ERROR] = CHATHUB_EVENT_ERROR,     [CHI_REPLY_JOINED] = CHATHUB_EVENT_JOINED,
        [CHI_REPLY_LEFT] = CHATHUB_EVENT_LEFT,       [CHI_REPLY_HISTORY] = CHATHUB_EVENT_HISTORY,
        [CHI_REPLY_WHO] = CHATHUB_EVENT_WHO,         [CHI_REPLY_PONG] = CHATHUB_EVENT_PONG,
        [CHI_REPLY_OK] = CHATHUB_EVENT_OK,           [CHI_REPLY_GAP] = CHATHUB_EVENT_GAP,
        [CHI_REPLY_BYE] = CHATHUB_EVENT_BYE,         [CHI_REPLY_PRIVATE] = CHATHUB_EVENT_PRIVATE,
    };
    size_t index = (size_t)type;
    return index < sizeof(EVENTS) ? EVENTS[index] : 0;
}

static struct chi_span message_of(const struct chi_reply *reply)
{
    if (reply->message.len || reply->type != CHI_REPLY_ERROR)
        return reply->message;
    return chi_span_of(chathub_strerror(reply->code));
}

static void local_encode_reply(struct chi_buf *out, const struct chi_reply *reply)
{
    uint32_t type = reply_event(reply->type);
    if (!type)
        return;
    bool gap = reply->type == CHI_REPLY_GAP, said = reply->type == CHI_REPLY_PRIVATE;
    struct record record = {
        .head = {.type = type,
                 .position = gap ? reply->to : reply->position,
                 .prev = gap ? reply->from : 0,
                 .time = reply->time,
                 .count = reply->count,
                 .code = reply->code,
                 .flags = reply->dup ? CHATHUB_DUP : 0},
        .text = {[ROOM] = reply->room,
                 [SENDER] = reply->name,
                 [SENDER_ID] = reply->user,
                 [CONTENT] = said ? reply->message : (struct chi_span){0},
                 [CID] = reply->cid,
                 [SESSION] = reply->session,
                 [MESSAGE] = said ? (struct chi_span){0} : message_of(reply),
                 [REF] = reply->ref},
    };
    size_t start = begin(out, &record);
    size_t json = out->len;
    chi_native_encode_reply(out, reply);
    end(out, &record, start, json);
}

static void local_encode_signal(struct chi_buf *out, const struct chi_signal *signal)
{
    static const uint8_t EVENTS[] = {
        [CHI_SIGNAL_PRESENCE] = CHATHUB_EVENT_PRESENCE,
        [CHI_SIGNAL_TYPING] = CHATHUB_EVENT_TYPING,
        [CHI_SIGNAL_STATUS] = CHATHUB_EVENT_STATUS,
    };
    size_t index = (size_t)signal->type;
    if (index >= sizeof(EVENTS) || !EVENTS[index])
        return;
    bool presence = signal->type == CHI_SIGNAL_PRESENCE;
    struct record record = {
        .head = {.type = EVENTS[index],
                 .count = signal->count,
                 .flags = signal->type == CHI_SIGNAL_TYPING && signal->on ? CHATHUB_ON : 0},
        .text = {[ROOM] = signal->room,
                 [SENDER] = presence ? (struct chi_span){0} : signal->who.name,
                 [SENDER_ID] = presence ? (struct chi_span){0} : signal->who.user,
                 [CONTENT] = presence ? (struct chi_span){0} : signal->who.status},
    };
    size_t start = begin(out, &record);
    size_t json = out->len;
    chi_native_encode_signal(out, signal);
    end(out, &record, start, json);
}

size_t chi_local_read(const char *bytes, struct chathub_event *event)
{
    struct head head;
    memcpy(&head, bytes, sizeof(head));
    const char *text[FIELDS];
    const char *at = bytes + sizeof(head);
    for (int i = 0; i < FIELDS; i++) {
        text[i] = at;
        at += head.len[i] + 1;
    }
    *event = (struct chathub_event){
        .size = sizeof(*event),
        .type = head.type,
        .position = head.position,
        .prev = head.prev,
        .time = head.time,
        .count = head.count,
        .code = head.code,
        .flags = head.flags,
        .room = text[ROOM],
        .sender = text[SENDER],
        .sender_id = text[SENDER_ID],
        .content = text[CONTENT],
        .content_len = head.len[CONTENT],
        .cid = text[CID],
        .data = text[DATA],
        .session = text[SESSION],
        .message = text[MESSAGE],
        .ref = text[REF],
        .json = text[JSON],
        .json_len = head.len[JSON],
    };
    return head.total;
}

/* In-process clients that send JSON send it as native clients do. */
const struct chi_dialect chi_dialect_local = {
    .name = "local",
    .decode = chi_native_decode,
    .encode_entry = local_encode_entry,
    .encode_reply = local_encode_reply,
    .encode_signal = local_encode_signal,
};
