/* multiserver: plain text, one message a frame; a client's first one is its name
 * (docs/dialects.md). Only the server's own lines begin with SYSTEM_MSG: */
#include <stdio.h>
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"
#include "dialect/texts.h"

#define ADD(out, literal) chi_buf_add((out), "" literal, sizeof(literal) - 1)

/* Bytes of a decoder's memory that survive to the next frame. */
#define SCRATCH_KEPT 4096

#define MARK "SYSTEM_MSG"

/* ------------------------------------------------------------------------------------- reading */

/* What people at terminals cannot help sending. */
static struct chi_span without_line_end(struct chi_span text)
{
    if (text.len && text.at[text.len - 1] == '\n') {
        text.len--;
        if (text.len && text.at[text.len - 1] == '\r')
            text.len--;
    }
    return text;
}

/* A text is both what is said and the name of who has none yet: which one, the hub knows. */
static int multiserver_decode(struct chi_buf *scratch, struct chi_span text,
                              struct chi_request *out, struct chi_decode_error *error)
{
    memset(out, 0, offsetof(struct chi_request, resume));
    *error = (struct chi_decode_error){0};
    chi_buf_reset(scratch, SCRATCH_KEPT);
    text = without_line_end(text);
    chi_buf_add(scratch, text.at, text.len);
    if (scratch->failed) {
        snprintf(error->message, sizeof(error->message), "%s", chathub_strerror(CHATHUB_ENOMEM));
        return error->code = CHATHUB_ENOMEM;
    }
    out->type = CHI_REQUEST_POST;
    out->content = (struct chi_span){scratch->at, scratch->len};
    struct chi_span name = chi_text_trim(out->content);
    if (name.len)
        out->name = name;
    return 1;
}

/* ------------------------------------------------------------------------------------- writing */

/* The one name besides that would make a line of the system of a message. */
static void add_name(struct chi_buf *out, struct chi_span name)
{
    if (chi_span_is(name, MARK))
        chi_text_quoted(out, name);
    else
        chi_text_who(out, name);
}

static void multiserver_encode_entry(struct chi_buf *out, struct chi_span room,
                                     const struct chi_entry *entry)
{
    (void)room;
    struct chi_entry_parts parts = chi_entry_read(entry);
    if (entry->type != CHI_ENTRY_CHAT || !parts.sender.len || !parts.content.len)
        return;
    add_name(out, parts.sender);
    ADD(out, ": ");
    chi_text_line(out, parts.content);
}

static void add_welcome(struct chi_buf *out, const struct chi_reply *reply)
{
    if (reply->name.len) {
        ADD(out, MARK ":Username set to ");
        add_name(out, reply->name);
        ADD(out, ". Welcome to the chat!");
    } else {
        ADD(out, MARK ":Welcome to chat server ");
        chi_text_line(out, reply->server);
        ADD(out, "! Please type your username to begin.");
    }
}

static void add_told(struct chi_buf *out, const struct chi_reply *reply)
{
    struct chi_buf words = {0};
    if (reply->type == CHI_REPLY_ERROR && reply->code == CHATHUB_ENAMEREQUIRED)
        ADD(&words, "Error: please type your username");
    else
        chi_text_told(&words, reply);
    if (words.len) {
        ADD(out, MARK ":");
        chi_text_line(out, (struct chi_span){words.at, words.len});
    }
    out->failed |= words.failed;
    chi_buf_fini(&words);
}

static void multiserver_encode_reply(struct chi_buf *out, const struct chi_reply *reply)
{
    if (reply->type == CHI_REPLY_WELCOME) {
        add_welcome(out, reply);
    } else if (reply->type == CHI_REPLY_PRIVATE) {
        ADD(out, MARK ":(private) ");
        add_name(out, reply->name);
        ADD(out, ": ");
        chi_text_line(out, reply->message);
    } else {
        add_told(out, reply);
    }
}

static void say(struct chi_buf *out, const struct chi_signal *signal, struct chi_span text)
{
    (void)signal;
    ADD(out, MARK ":");
    chi_buf_add(out, text.at, text.len);
}

/* In a sum of several people the verb stands in the plural. */
static void multiserver_encode_signal(struct chi_buf *out, const struct chi_signal *signal)
{
    struct chi_news news = {
        .came = " has joined the chat", .went = " has left the chat", .say = say};
    if (signal->summed && signal->came_count + signal->arrivals > 1)
        news.came = " have joined the chat";
    if (signal->summed && signal->went_count + signal->departures > 1)
        news.went = " have left the chat";
    chi_text_news(out, signal, &news);
}

const struct chi_dialect chi_dialect_multiserver = {
    .name = "multiserver",
    .decode = multiserver_decode,
    .encode_entry = multiserver_encode_entry,
    .encode_reply = multiserver_encode_reply,
    .encode_signal = multiserver_encode_signal,
    .post_name = CHI_POST_NAME_WHOLE,
    .entrance = CHI_ENTRANCE_OBSERVES,
    .several = true,
    .greets = true,
    .shares_names = true,
    .no_history = true,
    .told_itself = true,
    .hides_key = true,
};
