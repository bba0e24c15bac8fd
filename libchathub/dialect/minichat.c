/* minichat: objects of the four keys type, content, sender and timestamp, in both directions
 * (docs/dialects.md). Each frame ends in a newline of its own. */
#include "chathub.h"
#include "dialect/dialect.h"
#include "dialect/reading.h"
#include "dialect/texts.h"

#define ADD(out, literal) chi_buf_add((out), "" literal, sizeof(literal) - 1)

/* How frames begin: their type, and the key of their content. */
#define CHAT   "{\"type\":\"chat\",\"content\":"
#define SYSTEM "{\"type\":\"system\",\"content\":"
#define STATUS "{\"type\":\"status\",\"content\":"

#define TYPES       "\"chat\" or \"status\""
#define TYPING      "typing"
#define TYPING_ENDS "stopped typing"

/* Bytes of an entry's frame beside its texts. */
#define ENTRY_FIXED 128

static const struct chi_span SERVER = {0};

/* ------------------------------------------------------------------------------------- reading */

static int minichat_read_name(struct chi_span value, bool demo, struct chi_span *name,
                              const char **why)
{
    (void)demo;
    *name = value;
    *why = "Username is required";
    return value.len ? 0 : 400;
}

static void read_chat(struct chi_reading *in, struct chi_request *out)
{
    out->type = CHI_REQUEST_POST;
    out->content = chi_reading_text(in, "content", "the text to say");
    if (!out->content.len)
        chi_reading_fail(in, CHATHUB_EEMPTY,
                         "there is nothing to say; put a text into \"content\"");
}

static void read_status(struct chi_reading *in, struct chi_request *out)
{
    struct chi_span status = chi_reading_text(in, "content", "a text, such as \"away\"");
    out->on = chi_span_is(status, TYPING);
    if (out->on || chi_span_is(status, TYPING_ENDS)) {
        out->type = CHI_REQUEST_TYPING;
    } else {
        out->type = CHI_REQUEST_STATUS;
        out->content = status;
    }
}

/* `sender` and `timestamp` are the server's to set: what stands there is not looked at. */
static void read_request(struct chi_reading *in, struct chi_request *out)
{
    struct chi_span type = chi_reading_text(in, "type", TYPES);
    if (in->error->code)
        return;
    if (!type.len || chi_span_is(type, "chat"))
        read_chat(in, out);
    else if (chi_span_is(type, "status"))
        read_status(in, out);
    else if (chi_span_is(type, "system"))
        chi_reading_fail(in, CHATHUB_EDENIED, "only the server sends messages of type system");
    else
        chi_reading_fail(in, CHATHUB_ETYPE,
                         "there are no messages of this type; \"type\" must be " TYPES);
}

static int minichat_decode(struct chi_buf *scratch, struct chi_span text, struct chi_request *out,
                           struct chi_decode_error *error)
{
    int result = chi_reading_request(scratch, text, "send one object, such as {\"content\":\"hi\"}",
                                     read_request, out, error);
    /* bad_close is meant for what is no object: a wrong type is told, and the client stays */
    if (error->code == CHATHUB_EREQUEST)
        error->code = CHATHUB_ETYPE;
    return error->code ? error->code : result;
}

/* ------------------------------------------------------------------------------------- writing */

static void add_frame(struct chi_buf *out, const char *begin, struct chi_span content,
                      struct chi_span sender, uint64_t time)
{
    chi_text_member(out, begin, content);
    chi_text_member(out, ",\"sender\":", sender);
    chi_text_time(out, ",\"timestamp\":", time);
    ADD(out, "}\n");
}

static void minichat_encode_entry(struct chi_buf *out, struct chi_span room,
                                  const struct chi_entry *entry)
{
    (void)room;
    struct chi_entry_parts parts = chi_entry_read(entry);
    if (entry->type != CHI_ENTRY_CHAT || !parts.sender.len || !parts.content.len)
        return;
    chi_buf_reserve(out, ENTRY_FIXED + parts.sender.len + parts.content.len);
    add_frame(out, CHAT, parts.content, parts.sender, entry->time);
}

/* Who is there; how many, where the room is too large for names. */
static void add_people(struct chi_buf *text, const struct chi_reply *reply)
{
    if (!reply->present_count)
        chi_buf_add_u64(text, reply->count);
    for (uint32_t i = 0; i < reply->present_count; i++) {
        if (i > 0)
            ADD(text, ", ");
        chi_text_who(text, reply->present[i].name);
    }
}

/* What a reply says; nothing if it answers what cannot be asked here. */
static void add_words(struct chi_buf *text, const struct chi_reply *reply)
{
    switch (reply->type) {
    case CHI_REPLY_WELCOME:
        ADD(text, "Welcome, ");
        chi_buf_add(text, reply->name.at, reply->name.len);
        break;
    case CHI_REPLY_JOINED:
        ADD(text, "online: ");
        add_people(text, reply);
        break;
    case CHI_REPLY_PRIVATE:
        ADD(text, "(private) ");
        chi_buf_add(text, reply->message.at, reply->message.len);
        break;
    default:
        chi_text_told(text, reply);
    }
}

static void minichat_encode_reply(struct chi_buf *out, const struct chi_reply *reply)
{
    struct chi_buf words = {0};
    add_words(&words, reply);
    struct chi_span text = {words.at, words.len};
    if (text.len && reply->type == CHI_REPLY_PRIVATE)
        add_frame(out, CHAT, text, reply->name, reply->time);
    else if (text.len)
        add_frame(out, reply->type == CHI_REPLY_JOINED ? STATUS : SYSTEM, text, SERVER,
                  reply->time);
    out->failed |= words.failed;
    chi_buf_fini(&words);
}

static void say(struct chi_buf *out, const struct chi_signal *signal, struct chi_span text)
{
    add_frame(out, SYSTEM, text, SERVER, signal->time);
}

static const struct chi_news NEWS = {
    .came = " joined the chat", .went = " left the chat", .say = say};

static void minichat_encode_signal(struct chi_buf *out, const struct chi_signal *signal)
{
    struct chi_span status = signal->who.status;
    switch (signal->type) {
    case CHI_SIGNAL_PRESENCE:
        chi_text_news(out, signal, &NEWS);
        return;
    case CHI_SIGNAL_TYPING:
        status = signal->on ? CHI_SPAN(TYPING) : CHI_SPAN(TYPING_ENDS);
        break;
    case CHI_SIGNAL_STATUS:
        if (!status.len)
            status = CHI_SPAN("online");
        break;
    default:
        return;
    }
    add_frame(out, STATUS, status, signal->who.name, signal->time);
}

const struct chi_dialect chi_dialect_minichat = {
    .name = "minichat",
    .decode = minichat_decode,
    .encode_entry = minichat_encode_entry,
    .encode_reply = minichat_encode_reply,
    .encode_signal = minichat_encode_signal,
    .name_key = "username",
    .read_name = minichat_read_name,
    .entrance = CHI_ENTRANCE_JOINS,
    .bad_close = 1007,
    .several = true,
    .must_name = true,
    .shares_names = true,
    .replays = true,
    .also_last = true,
    .told_itself = true,
    .hides_key = true,
};
