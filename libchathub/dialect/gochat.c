/* gochat: objects of username and content in both directions; a client's first one carries its name
 * (docs/dialects.md). Each frame ends in a newline of its own. */
#include "chathub.h"
#include "dialect/dialect.h"
#include "dialect/reading.h"
#include "dialect/texts.h"

#define ADD(out, literal) chi_buf_add((out), "" literal, sizeof(literal) - 1)

/* Bytes of an entry's frame beside its texts. */
#define ENTRY_FIXED 64

/* Who says what the server has to say. */
#define SERVER CHI_SPAN("System")

/* ------------------------------------------------------------------------------------- reading */

static struct chi_span or_none(struct chi_span text)
{
    return text.len ? text : (struct chi_span){0};
}

/* Without a content it is a client that says who it is, or nothing that it did not say before. */
static void read_request(struct chi_reading *in, struct chi_request *out)
{
    out->name = or_none(chi_reading_text(in, "username", "the wished name, a text"));
    out->content = or_none(chi_reading_text(in, "content", "the text to say"));
    out->type = CHI_REQUEST_POST;
    if (out->content.len)
        return;
    out->type = CHI_REQUEST_HELLO;
    out->resume_count = 1;
    out->resume[0] = (struct chi_resume){0}; /* the default room */
}

static int gochat_decode(struct chi_buf *scratch, struct chi_span text, struct chi_request *out,
                         struct chi_decode_error *error)
{
    return chi_reading_request(
        scratch, text, "send one object, such as {\"username\":\"alice\",\"content\":\"hi\"}",
        read_request, out, error);
}

/* ------------------------------------------------------------------------------------- writing */

static void add_frame(struct chi_buf *out, struct chi_span username, struct chi_span content)
{
    chi_text_member(out, "{\"username\":", username);
    chi_text_member(out, ",\"content\":", content);
    ADD(out, "}\n");
}

static void gochat_encode_entry(struct chi_buf *out, struct chi_span room,
                                const struct chi_entry *entry)
{
    (void)room;
    struct chi_entry_parts parts = chi_entry_read(entry);
    if (entry->type != CHI_ENTRY_CHAT || !parts.sender.len || !parts.content.len)
        return;
    chi_buf_reserve(out, ENTRY_FIXED + parts.sender.len + parts.content.len);
    add_frame(out, parts.sender, parts.content);
}

/* What a reply says; nothing if the server is silent about it. */
static void add_words(struct chi_buf *text, const struct chi_reply *reply)
{
    if (reply->type == CHI_REPLY_PRIVATE) {
        ADD(text, "(private) ");
        chi_buf_add(text, reply->message.at, reply->message.len);
    } else if (reply->type == CHI_REPLY_ERROR && reply->code == CHATHUB_ENAMEREQUIRED) {
        ADD(text, "Error: Username is required in first message");
    } else {
        chi_text_told(text, reply);
    }
}

static void gochat_encode_reply(struct chi_buf *out, const struct chi_reply *reply)
{
    struct chi_buf words = {0};
    add_words(&words, reply);
    if (words.len)
        add_frame(out, reply->type == CHI_REPLY_PRIVATE ? reply->name : SERVER,
                  (struct chi_span){words.at, words.len});
    out->failed |= words.failed;
    chi_buf_fini(&words);
}

static void say(struct chi_buf *out, const struct chi_signal *signal, struct chi_span text)
{
    (void)signal;
    add_frame(out, SERVER, text);
}

static const struct chi_news NEWS = {
    .came = " joined the chat", .went = " left the chat", .say = say};

static void gochat_encode_signal(struct chi_buf *out, const struct chi_signal *signal)
{
    chi_text_news(out, signal, &NEWS);
}

const struct chi_dialect chi_dialect_gochat = {
    .name = "gochat",
    .decode = gochat_decode,
    .encode_entry = gochat_encode_entry,
    .encode_reply = gochat_encode_reply,
    .encode_signal = gochat_encode_signal,
    .post_name = CHI_POST_NAME_ONCE,
    .entrance = CHI_ENTRANCE_SILENT,
    .bad_close = 1007,
    .several = true,
    .must_name = true,
    .shares_names = true,
    .replays = true,
    .no_history = true,
    .told_itself = true,
    .hides_key = true,
};
