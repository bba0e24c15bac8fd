/* Reads any text as a frame of one of the dialects of other systems (or of the native one, whose
 * posts they show, too). What was read is written in all of them: a frame is one object, or one
 * clean line, and nobody speaks under another name than his own, or for the server. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* How a frame of the system begins in multiserver. */
#define MARK CHI_SPAN("SYSTEM_MSG:")

struct speaker {
    const struct chi_dialect *dialect;
    const char *sender;  /* the key of who says something; NULL: its frames are plain text */
    const char *content; /* the key of what is said; NULL: not a member of the frame itself */
    bool ended;          /* its frames end in a newline */
};

static const struct speaker SPEAKERS[] = {
    {&chi_dialect_chatservice, "sender_id", NULL, false},
    {&chi_dialect_minichat, "sender", "content", true},
    {&chi_dialect_gochat, "username", "content", true},
    {&chi_dialect_multiserver, NULL, NULL, false},
    {&chi_dialect_realtime, "sender", "content", true},
    {&chi_dialect_native, "sender", "content", false},
    {&chi_dialect_human, NULL, NULL, false},
};
#define SPEAKER_COUNT (sizeof(SPEAKERS) / sizeof(SPEAKERS[0]))
/* The first of them are read, too: people's lines are fuzz_native's. */
#define READER_COUNT (SPEAKER_COUNT - 1)

/* ------------------------------------------------------------------------------------ one frame */

static json_t *parse(const struct speaker *speaker, struct chi_span frame)
{
    if (speaker->ended) {
        REQUIRE(frame.len && frame.at[frame.len - 1] == '\n');
        frame.len--;
    }
    /* a tab may stand between the tokens of what passes as it came */
    for (size_t i = 0; i < frame.len; i++)
        REQUIRE((unsigned char)frame.at[i] >= ' ' || frame.at[i] == '\t');
    json_t *json =
        json_loadb(frame.at, frame.len,
                   JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
    REQUIRE(json_is_object(json));
    return json;
}

static bool begins(struct chi_span text, struct chi_span with)
{
    return text.len >= with.len && memcmp(text.at, with.at, with.len) == 0;
}

static void check_frame(const struct speaker *speaker, struct chi_span frame)
{
    REQUIRE(frame.len && chi_utf8_valid(frame.at, frame.len));
    if (speaker->sender) {
        json_decref(parse(speaker, frame));
    } else {
        REQUIRE(chi_text_clean(frame.at, frame.len));
        REQUIRE(speaker->dialect == &chi_dialect_human || !memchr(frame.at, '\n', frame.len));
    }
}

static void check_frames(const struct speaker *speaker, const struct chi_buf *out)
{
    REQUIRE(!out->failed);
    for (size_t at = 0, len; at < out->len; at += len + 1) {
        const char *apart = memchr(out->at + at, CHI_FRAME_APART, out->len - at);
        REQUIRE(!apart || speaker->dialect->several);
        len = apart ? (size_t)(apart - out->at) - at : out->len - at;
        check_frame(speaker, (struct chi_span){out->at + at, len});
        REQUIRE(!apart || at + len + 1 < out->len);
    }
}

/* --------------------------------------------------------------------------------- who said what */

static void same_text(const json_t *object, const char *key, struct chi_span text)
{
    const json_t *value = json_object_get(object, key);
    REQUIRE(json_is_string(value));
    REQUIRE(chi_span_equal((struct chi_span){json_string_value(value), json_string_length(value)},
                           text));
}

/* One frame says this, and no other sender can be read from it. */
static void check_said(const struct speaker *speaker, const struct chi_buf *out,
                       const struct chi_entry_parts *parts)
{
    struct chi_span frame = {out->at, out->len};
    check_frame(speaker, frame);
    if (speaker->dialect == &chi_dialect_multiserver)
        REQUIRE(!begins(frame, MARK));
    if (!speaker->sender)
        return;
    json_t *json = parse(speaker, frame);
    same_text(json, speaker->sender, parts->sender);
    if (speaker->content)
        same_text(json, speaker->content, parts->content);
    if (speaker->dialect == &chi_dialect_minichat)
        same_text(json, "type", CHI_SPAN("chat"));
    const json_t *payload = json_object_get(json, "payload");
    REQUIRE(payload || speaker->dialect != &chi_dialect_chatservice || !parts->content.len);
    if (payload)
        same_text(payload, "user", parts->sender);
    if (payload && parts->content.len)
        same_text(payload, "text", parts->content);
    json_decref(json);
}

static void write_entry(const struct speaker *speaker, const struct chi_entry *entry,
                        struct chi_span room, struct chi_buf *out)
{
    struct chi_entry_parts parts = chi_entry_read(entry);
    chi_buf_reset(out, 0);
    speaker->dialect->encode_entry(out, room, entry);
    REQUIRE(!out->failed);
    if (out->len)
        check_said(speaker, out, &parts);
    else
        REQUIRE(!parts.content.len || !parts.sender.len);
}

/* ------------------------------------------------------------------------- replies and signals */

static void write_replies(const struct speaker *speaker, struct chi_reply *reply,
                          struct chi_buf *out)
{
    for (int type = CHI_REPLY_WELCOME; type <= CHI_REPLY_PRIVATE; type++) {
        reply->type = (enum chi_reply_type)type;
        chi_buf_reset(out, 0);
        speaker->dialect->encode_reply(out, reply);
        check_frames(speaker, out);
        struct chi_span text = {out->at, out->len};
        if (speaker->dialect == &chi_dialect_multiserver && text.len)
            REQUIRE(begins(text, MARK));
        if (speaker->sender && type == CHI_REPLY_PRIVATE) {
            json_t *json = parse(speaker, text);
            same_text(json, speaker->sender, reply->name);
            json_decref(json);
        }
    }
}

static void write_signals(const struct speaker *speaker, const struct chi_present *who,
                          struct chi_buf *out)
{
    const struct chi_present three[] = {*who, *who, *who};
    struct chi_signal signal = {.room = who->name,
                                .who = *who,
                                .came = three,
                                .came_count = 3,
                                .went = three,
                                .went_count = 1,
                                .renamed = three,
                                .renamed_count = 2};
    for (int kind = 0; kind < 6; kind++) {
        signal.type =
            kind < 4 ? CHI_SIGNAL_PRESENCE : (kind == 4 ? CHI_SIGNAL_TYPING : CHI_SIGNAL_STATUS);
        signal.summed = kind == 1;
        signal.snapshot = kind == 2;
        signal.counts_only = kind == 3;
        chi_buf_reset(out, 0);
        speaker->dialect->encode_signal(out, &signal);
        check_frames(speaker, out);
        if (speaker->dialect == &chi_dialect_multiserver && out->len)
            REQUIRE(begins((struct chi_span){out->at, out->len}, MARK));
    }
}

/* ------------------------------------------------------------------------------------ the whole */

/* In all dialects. A name is any text here, though the hub would not take each. */
static void write_all(const struct chi_request *request, struct chi_buf *out)
{
    struct chi_entry_parts parts = {.sender = request->name.len ? request->name : request->content,
                                    .user = CHI_SPAN("ID"),
                                    .content = request->content,
                                    .data = request->data};
    if (!parts.sender.len || parts.sender.len > UINT16_MAX)
        parts.sender = CHI_SPAN("x");
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    REQUIRE(entry);
    struct chi_present who = {
        .name = parts.sender, .user = parts.user, .status = parts.content, .was = parts.content};
    struct chi_reply reply = {.ref = request->ref,
                              .room = request->room,
                              .name = parts.sender,
                              .user = parts.user,
                              .server = request->content,
                              .message = request->content,
                              .code = request->on ? CHATHUB_ENAMEREQUIRED : CHATHUB_EDENIED,
                              .present = &who,
                              .present_count = 1,
                              .entries = &entry,
                              .entry_count = 1};
    bool posts = request->type == CHI_REQUEST_POST && (parts.content.len || parts.data.len);
    for (size_t i = 0; i < SPEAKER_COUNT; i++) {
        if (posts)
            write_entry(&SPEAKERS[i], entry, request->room, out);
        write_replies(&SPEAKERS[i], &reply, out);
        write_signals(&SPEAKERS[i], &who, out);
    }
    chi_entry_unref(entry);
}

static void write_error(const struct chi_decode_error *error, struct chi_buf *out)
{
    struct chi_span message = chi_span_of(error->message);
    REQUIRE(message.len && chi_text_clean(message.at, message.len));
    struct chi_reply reply = {
        .type = CHI_REPLY_ERROR, .ref = error->ref, .code = error->code, .message = message};
    for (size_t i = 0; i < SPEAKER_COUNT; i++) {
        chi_buf_reset(out, 0);
        SPEAKERS[i].dialect->encode_reply(out, &reply);
        REQUIRE(out->len);
        check_frames(&SPEAKERS[i], out);
    }
}

static void try_name(const struct chi_dialect *dialect, struct chi_span value)
{
    struct chi_span name = {0};
    const char *why = NULL;
    int status = dialect->read_name(value, true, &name, &why);
    REQUIRE(status ? status >= 400 && status < 500 && why : name.len > 0);
    REQUIRE(status || (name.at >= value.at && name.at + name.len == value.at + value.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first byte, from '0' on, says whose frame the rest is: its place in SPEAKERS. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct chi_request request;
    struct chi_buf scratch = {0}, out = {0};
    struct chi_decode_error error;
    if (size < 2 || !chi_utf8_valid(data + 1, size - 1))
        return 0;
    const struct chi_dialect *dialect = SPEAKERS[(uint8_t)(data[0] - '0') % READER_COUNT].dialect;
    struct chi_span text = {(const char *)data + 1, size - 1};
    const struct chi_dialect *of_frame = NULL;
    REQUIRE(chi_dialect_of_frame(&scratch, text, &of_frame) == 0 && of_frame);
    if (dialect->read_name) {
        try_name(dialect, text);
        try_name(dialect, (struct chi_span){0});
    }

    int result = dialect->decode(&scratch, text, &request, &error);
    REQUIRE(result >= 0 ? !error.code : result == error.code);
    if (result < 0)
        write_error(&error, &out);
    if (result > 0) {
        struct chi_request *copy = chi_request_copy(&request);
        REQUIRE(copy && copy->type == request.type && copy->type);
        write_all(copy, &out);
        free(copy);
    }
    chi_buf_fini(&scratch);
    chi_buf_fini(&out);
    return 0;
}
