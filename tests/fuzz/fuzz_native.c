/* Reads any text as a native request, as a human line and as a line of an export. What was read is
 * written again, and what was written is JSON with the same texts; lines for people stay free of
 * controls. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"
#include "dialect/local.h"
#include "dialect/native.h"
#include "dialect/record.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static json_t *parse(const struct chi_buf *out)
{
    REQUIRE(!out->failed && out->len > 0);
    REQUIRE(!memchr(out->at, '\n', out->len));
    json_t *json =
        json_loadb(out->at, out->len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
    REQUIRE(json);
    return json;
}

static void same_text(const json_t *json, const char *key, struct chi_span text)
{
    const json_t *value = json_object_get(json, key);
    REQUIRE(value || !text.len);
    if (value)
        REQUIRE(chi_span_equal(
            (struct chi_span){json_string_value(value), json_string_length(value)}, text));
}

static void clean_lines(const struct chi_buf *out)
{
    REQUIRE(!out->failed);
    REQUIRE(chi_text_clean(out->at, out->len));
    REQUIRE(chi_utf8_valid(out->at, out->len));
}

static void write_entry(const struct chi_request *request, struct chi_buf *out)
{
    struct chi_entry_parts parts = {
        .sender = CHI_SPAN("x"),
        .user = CHI_SPAN("ID"),
        .cid = request->cid,
        .content = request->content,
        .data = request->data,
    };
    if (parts.cid.len > UINT16_MAX)
        return;
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    REQUIRE(entry);
    chi_buf_reset(out, 0);
    chi_dialect_native.encode_entry(out, request->room, entry);
    json_t *json = parse(out);
    same_text(json, "content", request->content);
    same_text(json, "cid", request->cid);
    REQUIRE(!request->data.len || json_is_object(json_object_get(json, "data")));
    json_decref(json);

    chi_buf_reset(out, 0);
    chi_dialect_local.encode_entry(out, request->room, entry);
    struct chathub_event event;
    REQUIRE(chi_local_read(out->at, &event) == out->len);
    REQUIRE(event.content_len == request->content.len);

    chi_buf_reset(out, 0);
    chi_dialect_human.encode_entry(out, request->room, entry);
    clean_lines(out);
    chi_entry_unref(entry);
}

static void write_reply(const struct chi_reply *reply, struct chi_buf *out)
{
    chi_buf_reset(out, 0);
    chi_dialect_native.encode_reply(out, reply);
    json_t *json = parse(out);
    same_text(json, "message", reply->message);
    REQUIRE(!reply->ref.len || json_object_get(json, "ref"));
    json_decref(json);
    chi_buf_reset(out, 0);
    chi_dialect_human.encode_reply(out, reply);
    clean_lines(out);
}

static void try_dialect(const struct chi_dialect *dialect, struct chi_span text,
                        struct chi_buf *scratch, struct chi_buf *out)
{
    static struct chi_request request;
    struct chi_decode_error error;
    int result = dialect->decode(scratch, text, &request, &error);
    REQUIRE(result == error.code || result >= 0);
    if (result < 0) {
        REQUIRE(error.message[0] && chi_utf8_valid(error.message, strlen(error.message)));
        struct chi_reply reply = {.type = CHI_REPLY_ERROR,
                                  .ref = error.ref,
                                  .code = error.code,
                                  .message = chi_span_of(error.message)};
        write_reply(&reply, out);
    } else if (result > 0) {
        REQUIRE(request.type);
        struct chi_request *copy = chi_request_copy(&request);
        REQUIRE(copy && copy->type == request.type);
        write_entry(copy, out);
        struct chi_reply reply = {
            .type = CHI_REPLY_BYE, .ref = copy->ref, .message = copy->content};
        write_reply(&reply, out);
        free(copy);
    }
}

static void try_record(struct chi_span text, struct chi_buf *scratch, struct chi_buf *out)
{
    struct chi_record record;
    struct chi_decode_error error;
    int result = chi_record_decode(scratch, text, &record, &error);
    REQUIRE(result == error.code || result >= 0);
    REQUIRE(result >= 0 ||
            (error.message[0] && chi_text_clean(error.message, strlen(error.message))));
    if (result <= 0 || record.parts.sender.len > UINT16_MAX || record.parts.user.len > UINT16_MAX ||
        record.parts.cid.len > UINT16_MAX)
        return;
    struct chi_entry *entry = chi_entry_new(record.type, &record.parts);
    REQUIRE(entry);
    entry->time = record.time;
    chi_buf_reset(out, 0);
    chi_native_encode_entry(out, record.room, entry);
    struct chi_buf again = {0};
    chi_buf_add(&again, out->at, out->len);
    uint64_t time = record.time;
    REQUIRE(chi_record_decode(scratch, (struct chi_span){again.at, again.len}, &record, &error) ==
            1);
    struct chi_entry_parts parts = chi_entry_read(entry);
    REQUIRE(chi_span_equal(parts.content, record.parts.content));
    REQUIRE(chi_span_equal(parts.data, record.parts.data));
    REQUIRE(record.time == time);
    chi_entry_unref(entry);
    chi_buf_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!chi_utf8_valid(data, size))
        return 0;
    struct chi_span text = {(const char *)data, size};
    struct chi_buf scratch = {0}, out = {0};
    try_dialect(&chi_dialect_native, text, &scratch, &out);
    try_record(text, &scratch, &out);
    if (!memchr(data, '\n', size) && !memchr(data, '\0', size))
        try_dialect(&chi_dialect_human, text, &scratch, &out);
    chi_buf_fini(&scratch);
    chi_buf_fini(&out);
    return 0;
}
