/* Reads any bytes as what a JetStream log finds in its stream and hears from the server: payloads, tokens
 * of rooms, JSON, and the option's URL. What was read as a payload or a token is written again as the
 * same bytes; what is read without a tree means the same with one. */
#include <stdlib.h>
#include <string.h>

#include "core/ports.h"
#include "log/jetstream/link.h"
#include "log/jetstream/wire.h"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static struct chi_span of(const struct chi_buf *buf)
{
    return (struct chi_span){buf->at, buf->len};
}

static void same_bytes(struct chi_buf *out, struct chi_span bytes)
{
    REQUIRE(!out->failed && chi_span_equal(of(out), bytes));
    chi_buf_reset(out, 0);
}

/* Only a hint that could not be true is not written as it was. */
static void check_hint(const struct chi_js_hint *hint, struct chi_buf *out, struct chi_span bytes)
{
    static const struct chi_js_hint none;
    REQUIRE(hint->before <= CHI_POSITION_MAX && hint->ordinal <= hint->before);
    REQUIRE(hint->back64 <= hint->before && hint->back4k <= hint->back64);
    bool lied = memcmp(hint, &none, sizeof(none)) == 0;
    REQUIRE(out->len == bytes.len && memcmp(out->at, bytes.at, 36) == 0);
    REQUIRE(lied || memcmp(out->at + 36, bytes.at + 36, 32) == 0);
    REQUIRE(memcmp(out->at + 68, bytes.at + 68, bytes.len - 68) == 0);
    struct chi_js_hint after = chi_js_hint_after(hint->before + 1, hint);
    if (hint->before < CHI_POSITION_MAX)
        REQUIRE(after.before > hint->before && after.ordinal == hint->ordinal + 1);
    chi_buf_reset(out, 0);
}

static void try_entry(struct chi_span bytes, struct chi_buf *out)
{
    struct chi_js_record record;
    int error = chi_js_read_entry(bytes, &record);
    REQUIRE((error == 0) == (record.entry != NULL));
    if (error)
        return;
    struct chi_entry_parts parts = chi_entry_read(record.entry);
    REQUIRE(chi_utf8_valid(parts.sender.at, parts.sender.len));
    REQUIRE(chi_utf8_valid(parts.user.at, parts.user.len));
    REQUIRE(chi_utf8_valid(parts.cid.at, parts.cid.len));
    REQUIRE(chi_utf8_valid(parts.content.at, parts.content.len));
    REQUIRE(chi_utf8_valid(parts.data.at, parts.data.len));
    chi_js_write_entry(out, record.entry, record.entry->time, record.nonce, &record.hint);
    check_hint(&record.hint, out, bytes);
    chi_entry_unref(record.entry);
}

static void try_records(struct chi_span bytes, struct chi_buf *out)
{
    struct chi_js_epoch epoch;
    struct chi_js_erased erased;
    if (chi_js_read_epoch(bytes, &epoch) == 0) {
        chi_js_write_epoch(out, &epoch);
        same_bytes(out, bytes);
    }
    if (chi_js_read_erased(bytes, &erased) == 0) {
        REQUIRE(erased.prev < erased.position && erased.room.len);
        chi_js_write_erased(out, &erased);
        same_bytes(out, bytes);
    }
}

static void try_token(struct chi_span bytes, struct chi_buf *out)
{
    struct chi_buf key = {0};
    if (chi_js_room_key(&key, bytes) == 0) {
        chi_js_room_token(out, of(&key));
        same_bytes(out, bytes);
    } else {
        REQUIRE(!key.len);
    }
    chi_buf_reset(&key, 0);
    chi_js_room_token(out, bytes);
    for (size_t i = 0; i < out->len; i++)
        REQUIRE(out->at[i] > ' ' && out->at[i] <= '~' && !strchr(".*>", out->at[i]));
    if (bytes.len && chi_utf8_valid(bytes.at, bytes.len)) {
        REQUIRE(chi_js_room_key(&key, of(out)) == 0);
        REQUIRE(chi_span_equal(of(&key), bytes));
    }
    chi_buf_fini(&key);
    chi_buf_reset(out, 0);
}

/* With a member that is not flat, it is read as a tree. */
static void same_with_tree(struct chi_span json, const struct chi_js_answer *answer,
                           struct chi_buf *out)
{
    struct chi_js_answer other;
    const char *brace = memchr(json.at, '{', json.len);
    REQUIRE(brace);
    chi_buf_add_text(out, "{\"x\":null,");
    chi_buf_add(out, brace + 1, json.len - (size_t)(brace + 1 - json.at));
    REQUIRE(chi_js_read_answer(of(out), "chathub", &other) == 0);
    REQUIRE(other.seq == answer->seq && other.duplicate == answer->duplicate);
    REQUIRE(other.code == answer->code && other.err_code == answer->err_code);
    REQUIRE(other.last_seq == answer->last_seq && other.pending == answer->pending);
    REQUIRE(chi_span_equal(of(&other.subject), of(&answer->subject)));
    REQUIRE(chi_span_equal(of(&other.data), of(&answer->data)));
    chi_js_answer_fini(&other);
    chi_buf_reset(out, 0);
}

static void try_answer(struct chi_span bytes, struct chi_buf *out)
{
    struct chi_js_answer answer;
    int error = chi_js_read_answer(bytes, "chathub", &answer);
    size_t described = strnlen(answer.description, sizeof(answer.description));
    REQUIRE(described < sizeof(answer.description));
    REQUIRE(strnlen(answer.created, sizeof(answer.created)) < sizeof(answer.created));
    REQUIRE(strnlen(answer.consumer, sizeof(answer.consumer)) < sizeof(answer.consumer));
    if (!error) {
        REQUIRE(answer.seq <= CHI_POSITION_MAX && answer.last_seq <= CHI_POSITION_MAX);
        REQUIRE(chi_text_clean(answer.description, described));
        REQUIRE(chi_utf8_valid(answer.description, described));
        REQUIRE(!strpbrk(answer.consumer, ".*> \t\r\n"));
        same_with_tree(bytes, &answer, out);
    }
    chi_js_answer_fini(&answer);
}

static void try_url(struct chi_span bytes)
{
    struct chi_js_url url;
    char problem[256] = "", *text = chi_span_dup(bytes);
    REQUIRE(text);
    if (chi_js_url_read(text, &url, problem, sizeof(problem)) == 0) {
        REQUIRE(strlen(url.shown) <= strlen(url.servers) && !strchr(url.shown, '@'));
        REQUIRE(url.stream[0] && strlen(url.stream) <= CHI_JS_STREAM_MAX);
        struct chi_js_url again;
        REQUIRE(chi_js_url_read(url.servers, &again, problem, sizeof(problem)) == 0);
        REQUIRE(strcmp(again.servers, url.servers) == 0 && again.tls == url.tls);
        chi_js_url_free(&again);
    } else {
        REQUIRE(problem[0] && strlen(problem) < sizeof(problem) - 1);
    }
    chi_js_url_free(&url);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chi_span bytes = {(const char *)data, size};
    struct chi_buf out = {0};
    try_entry(bytes, &out);
    try_records(bytes, &out);
    try_token(bytes, &out);
    try_answer(bytes, &out);
    try_url(bytes);
    chi_buf_fini(&out);
    return 0;
}
