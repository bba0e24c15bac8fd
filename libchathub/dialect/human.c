/* Plain lines for people at nc: a line is said in the default room unless it begins with `/`. What
 * others wrote never controls a terminal: control characters and those that turn the direction of
 * text are escaped, and a message stays on one line. */
#include <stdio.h>
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"
#include "dialect/texts.h"

#define ADD(out, literal) chi_buf_add((out), "" literal, sizeof(literal) - 1)

/* Bytes of a decoder's memory that survive to the next request. */
#define SCRATCH_KEPT 4096
/* Names told in one line; the rest are counted. */
#define NAMES_MAX 30

/* ------------------------------------------------------------------------------------- reading */

/* Takes the first word off `*text`, which is trimmed before and after. */
static struct chi_span take_word(struct chi_span *text)
{
    struct chi_span word = {text->at, 0};
    while (word.len < text->len && word.at[word.len] != ' ' && word.at[word.len] != '\t')
        word.len++;
    *text = chi_text_trim((struct chi_span){text->at + word.len, text->len - word.len});
    return word;
}

static struct chi_span or_none(struct chi_span text)
{
    return text.len ? text : (struct chi_span){0};
}

/* Each reads what follows its command; what it lacks, in words, or NULL. */

static const char *read_nick(struct chi_span rest, struct chi_request *out)
{
    out->type = CHI_REQUEST_HELLO;
    out->name = or_none(rest);
    return rest.len ? NULL : "say which name: /nick NAME";
}

static const char *read_join(struct chi_span rest, struct chi_request *out)
{
    out->type = CHI_REQUEST_JOIN;
    out->room = or_none(rest);
    return rest.len ? NULL : "say which room: /join ROOM";
}

static const char *read_leave(struct chi_span rest, struct chi_request *out)
{
    out->type = CHI_REQUEST_LEAVE;
    out->room = or_none(rest);
    return NULL;
}

static const char *read_say(struct chi_span rest, struct chi_request *out)
{
    out->type = CHI_REQUEST_POST;
    out->room = take_word(&rest);
    out->content = rest;
    return rest.len ? NULL : "say where and what: /say ROOM TEXT";
}

static const char *read_who(struct chi_span rest, struct chi_request *out)
{
    out->type = CHI_REQUEST_WHO;
    out->room = or_none(rest);
    return NULL;
}

static const char *read_history(struct chi_span rest, struct chi_request *out)
{
    out->type = CHI_REQUEST_HISTORY;
    out->room = or_none(rest);
    return NULL;
}

static const char *read_help(struct chi_span rest, struct chi_request *out)
{
    (void)rest;
    out->type = CHI_REQUEST_HELP;
    return NULL;
}

static const struct {
    const char *word;
    const char *(*read)(struct chi_span rest, struct chi_request *out);
} COMMANDS[] = {
    {"nick", read_nick}, {"join", read_join},       {"leave", read_leave}, {"say", read_say},
    {"who", read_who},   {"history", read_history}, {"help", read_help},   {"quit", read_help},
};

static int read_command(struct chi_span line, struct chi_request *out,
                        struct chi_decode_error *error)
{
    struct chi_span rest = chi_text_trim(line);
    struct chi_span word = take_word(&rest);
    for (size_t i = 0; i < sizeof(COMMANDS) / sizeof(COMMANDS[0]); i++) {
        if (!chi_span_is(word, COMMANDS[i].word))
            continue;
        const char *lacks = COMMANDS[i].read(rest, out);
        if (!lacks)
            return 1;
        snprintf(error->message, sizeof(error->message), "%s", lacks);
        return error->code = CHATHUB_EREQUEST;
    }
    snprintf(error->message, sizeof(error->message),
             "there is no such command; type /help, or // to say a text that begins with a slash");
    return error->code = CHATHUB_ETYPE;
}

static int human_decode(struct chi_buf *scratch, struct chi_span text, struct chi_request *out,
                        struct chi_decode_error *error)
{
    memset(out, 0, offsetof(struct chi_request, resume));
    *error = (struct chi_decode_error){0};
    chi_buf_reset(scratch, SCRATCH_KEPT);
    if (chi_text_trim(text).len == 0)
        return 0;
    chi_buf_add(scratch, text.at, text.len);
    if (scratch->failed) {
        snprintf(error->message, sizeof(error->message), "%s", chathub_strerror(CHATHUB_ENOMEM));
        return error->code = CHATHUB_ENOMEM;
    }
    struct chi_span line = {scratch->at, scratch->len};
    if (line.at[line.len - 1] == '\r')
        line.len--;
    bool slash = line.at[0] == '/';
    if (slash) {
        line.at++;
        line.len--;
        if (!line.len || line.at[0] != '/')
            return read_command(line, out, error);
    }
    out->type = CHI_REQUEST_POST;
    out->content = line;
    return 1;
}

/* ------------------------------------------------------------------------------------- writing */

/* Lines within one frame; the framing ends the last one. */
static void next_line(struct chi_buf *out, size_t start)
{
    if (out->len > start)
        ADD(out, "\n");
}

static void human_encode_entry(struct chi_buf *out, struct chi_span room,
                               const struct chi_entry *entry)
{
    if (entry->type != CHI_ENTRY_CHAT)
        return;
    struct chi_entry_parts parts = chi_entry_read(entry);
    ADD(out, "[");
    chi_text_name(out, room);
    ADD(out, "] ");
    if (!parts.sender.len) {
        ADD(out, "(removed)");
        return;
    }
    chi_text_name(out, parts.sender);
    ADD(out, ": ");
    chi_text_line(out, parts.content);
}

static void add_names(struct chi_buf *out, const struct chi_present *list, uint32_t count)
{
    for (uint32_t i = 0; i < count && i < NAMES_MAX; i++) {
        if (i > 0)
            ADD(out, ", ");
        chi_text_name(out, list[i].name);
        if (list[i].status.len) {
            ADD(out, " (");
            chi_text_line(out, list[i].status);
            ADD(out, ")");
        }
    }
    if (count > NAMES_MAX) {
        ADD(out, " and ");
        chi_buf_add_u64(out, count - NAMES_MAX);
        ADD(out, " more");
    }
}

/* "general (3 here: alice, bob, carol)" */
static void add_room_people(struct chi_buf *out, struct chi_span room, uint64_t count,
                            const struct chi_present *list, uint32_t listed)
{
    chi_text_name(out, room);
    ADD(out, " (");
    chi_buf_add_u64(out, count);
    ADD(out, " here");
    if (listed) {
        ADD(out, ": ");
        add_names(out, list, listed);
    }
    ADD(out, ")");
}

static void add_welcome(struct chi_buf *out, const struct chi_reply *reply)
{
    if (reply->name.len) {
        chi_buf_add_text(out, reply->renamed ? "* you are now " : "* you are ");
        chi_text_name(out, reply->name);
    } else {
        ADD(out, "* welcome; choose a name with /nick NAME");
    }
    if (!reply->renamed)
        ADD(out, " (type /help for help)");
}

static void add_left(struct chi_buf *out, const struct chi_reply *reply)
{
    ADD(out, "* you left ");
    chi_text_name(out, reply->room);
    if (reply->message.len) {
        ADD(out, ": ");
        chi_text_line(out, reply->message);
    }
}

static void add_history(struct chi_buf *out, const struct chi_reply *reply)
{
    chi_buf_add_text(out, reply->entry_count ? "* history of " : "* nothing is kept of ");
    chi_text_name(out, reply->room);
    for (uint32_t i = 0; i < reply->entry_count; i++) {
        if (reply->entries[i]->type != CHI_ENTRY_CHAT)
            continue;
        ADD(out, "\n");
        human_encode_entry(out, reply->room, reply->entries[i]);
    }
    if (reply->entry_count)
        ADD(out, "\n* end of history");
}

static void add_private(struct chi_buf *out, const struct chi_reply *reply)
{
    ADD(out, "[");
    chi_text_name(out, reply->room);
    ADD(out, "] (private) ");
    chi_text_name(out, reply->name);
    ADD(out, ": ");
    chi_text_line(out, reply->message);
}

static void add_help(struct chi_buf *out)
{
    ADD(out, "* What you type is said in the room. Commands:\n"
             "*   /nick NAME       be called NAME\n"
             "*   /join ROOM       join a room\n"
             "*   /say ROOM TEXT   say something there\n"
             "*   /leave [ROOM]    leave a room\n"
             "*   /who [ROOM]      who is there\n"
             "*   /history [ROOM]  what was said\n"
             "*   //TEXT           say a text that begins with a slash\n"
             "*   /help            this list\n"
             "* To leave, close the connection (ctrl-d or ctrl-c).");
}

static void add_message(struct chi_buf *out, const char *begin, const struct chi_reply *reply)
{
    chi_buf_add_text(out, begin);
    chi_text_line(out,
                  reply->message.len ? reply->message : chi_span_of(chathub_strerror(reply->code)));
}

static void human_encode_reply(struct chi_buf *out, const struct chi_reply *reply)
{
    switch (reply->type) {
    case CHI_REPLY_WELCOME:
        add_welcome(out, reply);
        break;
    case CHI_REPLY_ERROR:
        add_message(out, "! ", reply);
        break;
    case CHI_REPLY_JOINED:
        ADD(out, "* you joined ");
        add_room_people(out, reply->room, reply->count, reply->present, reply->present_count);
        break;
    case CHI_REPLY_LEFT:
        add_left(out, reply);
        break;
    case CHI_REPLY_HISTORY:
        add_history(out, reply);
        break;
    case CHI_REPLY_WHO:
        ADD(out, "* ");
        add_room_people(out, reply->room, reply->count, reply->present, reply->present_count);
        break;
    case CHI_REPLY_PONG:
        ADD(out, "* pong");
        break;
    case CHI_REPLY_GAP:
        ADD(out, "* some messages of ");
        chi_text_name(out, reply->room);
        ADD(out, " are no longer kept");
        break;
    case CHI_REPLY_BYE:
        ADD(out, "* goodbye");
        if (reply->message.len)
            add_message(out, ": ", reply);
        break;
    case CHI_REPLY_HELP:
        add_help(out);
        break;
    case CHI_REPLY_PRIVATE:
        add_private(out, reply);
        break;
    case CHI_REPLY_ACK: /* the entry itself comes too */
    case CHI_REPLY_OK:
        break;
    }
}

/* "* bob, carol joined general (3 here)" */
static void add_change(struct chi_buf *out, size_t start, const struct chi_signal *signal,
                       const struct chi_present *list, uint32_t count, const char *verb)
{
    if (!count)
        return;
    next_line(out, start);
    ADD(out, "* ");
    add_names(out, list, count);
    chi_buf_add_text(out, verb);
    add_room_people(out, signal->room, signal->count, NULL, 0);
}

static void add_renamed(struct chi_buf *out, size_t start, const struct chi_signal *signal)
{
    for (uint32_t i = 0; i < signal->renamed_count && i < NAMES_MAX; i++) {
        next_line(out, start);
        ADD(out, "* ");
        chi_text_name(out, signal->renamed[i].was);
        ADD(out, " is now ");
        chi_text_name(out, signal->renamed[i].name);
    }
}

/* A crowd whose names are not told is told only to who asks (/who), or who missed something. */
static void add_presence(struct chi_buf *out, const struct chi_signal *signal)
{
    size_t start = out->len;
    if (signal->snapshot) {
        ADD(out, "* ");
        add_room_people(out, signal->room, signal->count, signal->came,
                        signal->counts_only ? 0 : signal->came_count);
    } else if (!signal->counts_only) {
        add_change(out, start, signal, signal->came, signal->came_count, " joined ");
        add_change(out, start, signal, signal->went, signal->went_count, " left ");
        add_renamed(out, start, signal);
    }
}

static void human_encode_signal(struct chi_buf *out, const struct chi_signal *signal)
{
    if (signal->type == CHI_SIGNAL_PRESENCE)
        add_presence(out, signal);
    if (signal->type != CHI_SIGNAL_STATUS)
        return;
    ADD(out, "* ");
    chi_text_name(out, signal->who.name);
    chi_buf_add_text(out, signal->who.status.len ? " is now: " : " has no status any more");
    chi_text_line(out, signal->who.status);
}

const struct chi_dialect chi_dialect_human = {
    .name = "human",
    .decode = human_decode,
    .encode_entry = human_encode_entry,
    .encode_reply = human_encode_reply,
    .encode_signal = human_encode_signal,
    .hides_key = true,
};
