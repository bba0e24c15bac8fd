/* What the tests of a dialect's texts share: one dialect, what it read, and what it wrote. */
#ifndef DIALECT_WORLD_H
#define DIALECT_WORLD_H

#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"

/* 2026-11-21T01:15:48.732Z, the time of all that is written. */
#define TIME  UINT64_C(1795223748732)
#define APART "\x1e"

static const struct chi_dialect *dialect; /* set by each test's main */
static struct chi_buf scratch, out;
static struct chi_request request;
static struct chi_decode_error error;

/* From memory of exactly the text's size, freed before the next: no span may point
 * beyond it or into an earlier one. */
static inline int decode_span(struct chi_span text)
{
    memset(&request, 0xa5, sizeof(request)); /* nothing is left to chance */
    static char *copy;
    free(copy);
    copy = malloc(text.len ? text.len : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text.at, text.len);
    int result = dialect->decode(&scratch, (struct chi_span){copy, text.len}, &request, &error);
    return result;
}

static inline void expect(const char *text, enum chi_request_type type)
{
    int result = decode_span(chi_span_of(text));
    ck_assert_msg(result == 1, "%s: %d %s", text, result, error.message);
    ck_assert_int_eq(request.type, type);
    ck_assert_int_eq(error.code, 0);
}

static inline void refuse_span(struct chi_span text, int code, const char *said)
{
    int result = decode_span(text);
    ck_assert_msg(result == code && error.code == code, "%.*s: not %d but %d, %d %s", (int)text.len,
                  text.at, code, result, error.code, error.message);
    ck_assert_msg(strstr(error.message, said) != NULL, "%.*s: \"%s\" lacks \"%s\"", (int)text.len,
                  text.at, error.message, said);
    ck_assert(chi_text_clean(error.message, strlen(error.message)));
}

static inline void refuse(const char *text, int code, const char *said)
{
    refuse_span(chi_span_of(text), code, said);
}

#define SPAN(span, text)                                                                           \
    ck_assert_msg(chi_span_is(span, text), "%.*s", (int)(span).len,                                \
                  (span).at ? (span).at : "(none)")

/* What was written is exactly this, and the next one begins anew. */
static inline void shows(const char *text)
{
    ck_assert(!out.failed);
    ck_assert_msg(chi_span_is((struct chi_span){out.at, out.len}, text), "%.*s\nis not\n%s",
                  (int)out.len, out.at ? out.at : "", text);
    chi_buf_reset(&out, 0);
}

static inline void reply(struct chi_reply what, const char *text)
{
    what.time = TIME;
    dialect->encode_reply(&out, &what);
    shows(text);
}

static inline void signal_is(struct chi_signal what, const char *text)
{
    what.time = TIME;
    dialect->encode_signal(&out, &what);
    shows(text);
}

static inline void entry_is(uint16_t type, struct chi_entry_parts parts, const char *text)
{
    struct chi_entry *entry = chi_entry_new(type, &parts);
    ck_assert_ptr_nonnull(entry);
    entry->position = 17;
    entry->time = TIME;
    dialect->encode_entry(&out, CHI_SPAN("general"), entry);
    chi_entry_unref(entry);
    shows(text);
}

static inline void says(struct chi_span sender, struct chi_span content, const char *text)
{
    entry_is(
        CHI_ENTRY_CHAT,
        (struct chi_entry_parts){
            .sender = sender, .user = CHI_SPAN("ID"), .cid = CHI_SPAN("c"), .content = content},
        text);
}

/* What only other dialects can have, or nobody any more, has no frame. */
static inline void entries_without_text_are_nothing(void)
{
    says(CHI_SPAN(""), CHI_SPAN(""), "");
    says(CHI_SPAN(""), CHI_SPAN("left over"), "");
    entry_is(CHI_ENTRY_CHAT,
             (struct chi_entry_parts){.sender = CHI_SPAN("alice"), .data = CHI_SPAN("{\"k\":1}")},
             "");
    entry_is(CHI_ENTRY_CHAT + 1,
             (struct chi_entry_parts){.sender = CHI_SPAN("alice"), .content = CHI_SPAN("hi")}, "");
}

/* `levels` lists within each other as the value of `key`. */
static inline void nested(struct chi_buf *text, const char *key, size_t levels)
{
    chi_buf_add_text(text, "{\"");
    chi_buf_add_text(text, key);
    chi_buf_add_text(text, "\":");
    for (size_t i = 0; i < levels; i++)
        chi_buf_add_char(text, '[');
    for (size_t i = 0; i < levels; i++)
        chi_buf_add_char(text, ']');
    chi_buf_add_text(text, ",\"content\":\"hi\"}");
}

static const struct chi_present PEOPLE[] = {
    {.name = {"alice", 5}, .user = {"A", 1}, .status = {"away", 4}},
    {.name = {"bob", 3}, .user = {"B", 1}},
    {.name = {"carol", 5}, .user = {"C", 1}, .was = {"caro", 4}},
    {.name = {"dave", 4}, .user = {"D", 1}},
};

static inline int dialect_run(Suite *suite)
{
    int status = unit_run(suite);
    chi_buf_fini(&scratch);
    chi_buf_fini(&out);
    return status;
}

#endif
