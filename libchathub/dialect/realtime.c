/* The dialect of realtime: JSON objects with a sender and a content, each message under the name
 * that it says itself (docs/dialects.md). Frames end in a newline. */
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"
#include "dialect/reading.h"
#include "dialect/texts.h"

#define ADD(out, literal) chi_buf_add((out), "" literal, sizeof(literal) - 1)

/* Who says what the server says. */
#define SERVER CHI_SPAN("server")
/* Bytes of a frame beside its texts. */
#define FRAME_FIXED 96

#define HINT "send one object, such as {\"sender\":\"Abhi\",\"content\":\"Hello\"}"

/* ------------------------------------------------------------------------------------- reading */

/* NAME of "@NAME TEXT"; without bytes if it is no such text. */
static struct chi_span addressee(struct chi_span content)
{
    if (!content.len || content.at[0] != '@')
        return (struct chi_span){0};
    const char *name = content.at + 1, *end = content.at + content.len;
    const char *space = memchr(name, ' ', (size_t)(end - name));
    if (!space || space == name || space + 1 == end)
        return (struct chi_span){0};
    return (struct chi_span){name, (size_t)(space - name)};
}

/* A sender that is missing is for the core to miss: whether it is needed depends on the client. */
static void read_post(struct chi_reading *in, struct chi_request *out)
{
    out->type = CHI_REQUEST_POST;
    out->name = chi_reading_text(in, "sender", "the name of who says it, a text");
    out->content = chi_reading_text(in, "content", "what is said, a text");
    if (!out->name.len)
        out->name = (struct chi_span){0};
    if (!out->content.len)
        chi_reading_fail(in, CHATHUB_EEMPTY, "a message needs a content, the text to say");
    out->to = addressee(out->content);
}

static int realtime_decode(struct chi_buf *scratch, struct chi_span text, struct chi_request *out,
                           struct chi_decode_error *error)
{
    return chi_reading_request(scratch, text, HINT, read_post, out, error);
}

/* ------------------------------------------------------------------------------------- writing */

static void add_frame(struct chi_buf *out, struct chi_span sender, struct chi_span content,
                      uint64_t time)
{
    chi_buf_reserve(out, FRAME_FIXED + sender.len + content.len);
    chi_text_member(out, "{\"sender\":", sender);
    chi_text_member(out, ",\"content\":", content);
    chi_text_time(out, ",\"timestamp\":", time);
    ADD(out, "}\n");
}

/* Without a sender its texts were taken away; without content it is for other dialects alone. */
static void realtime_encode_entry(struct chi_buf *out, struct chi_span room,
                                  const struct chi_entry *entry)
{
    (void)room;
    struct chi_entry_parts parts = chi_entry_read(entry);
    if (entry->type == CHI_ENTRY_CHAT && parts.sender.len && parts.content.len)
        add_frame(out, parts.sender, parts.content, entry->time);
}

static void realtime_encode_reply(struct chi_buf *out, const struct chi_reply *reply)
{
    if (reply->type == CHI_REPLY_PRIVATE) {
        add_frame(out, reply->name, reply->message, reply->time);
        return;
    }
    struct chi_buf text = {0};
    if (reply->type == CHI_REPLY_ERROR && reply->code == CHATHUB_ENAMEREQUIRED)
        ADD(&text, "Error: a message needs a sender");
    else
        chi_text_told(&text, reply);
    if (text.len)
        add_frame(out, SERVER, (struct chi_span){text.at, text.len}, reply->time);
    out->failed |= text.failed;
    chi_buf_fini(&text);
}

static void say(struct chi_buf *out, const struct chi_signal *signal, struct chi_span text)
{
    add_frame(out, SERVER, text, signal->time);
}

static void realtime_encode_signal(struct chi_buf *out, const struct chi_signal *signal)
{
    static const struct chi_news NEWS = {
        .came = " joined the chat", .went = " left the chat", .say = say};
    if (signal->type == CHI_SIGNAL_PRESENCE)
        chi_text_news(out, signal, &NEWS);
}

const struct chi_dialect chi_dialect_realtime = {
    .name = "realtime",
    .decode = realtime_decode,
    .encode_entry = realtime_encode_entry,
    .encode_reply = realtime_encode_reply,
    .encode_signal = realtime_encode_signal,
    .post_name = CHI_POST_NAME_EACH,
    .entrance = CHI_ENTRANCE_OBSERVES,
    .hearing = CHI_HEARS_ASKED,
    .several = true,
    .shares_names = true,
    .no_history = true,
    .told_itself = true,
    .hides_key = true,
};
