/* Lines of an import are read strictly, an export's lines lose nothing, and what is wrong with a
 * line is said by field. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "chathub.h"
#include "dialect/native.h"
#include "dialect/record.h"

static struct chi_buf scratch;
static struct chi_record record;
static struct chi_decode_error error;

/* From memory of exactly the line's size, freed before the next: no span may point
 * beyond it or into an earlier one. */
static int decode(const char *line)
{
    size_t len = strlen(line);
    static char *copy;
    free(copy);
    copy = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, line, len);
    int result = chi_record_decode(&scratch, (struct chi_span){copy, len}, &record, &error);
    return result;
}

#define SPAN(span, text)                                                                           \
    ck_assert_msg(chi_span_is(span, text), "%.*s", (int)(span).len,                                \
                  (span).at ? (span).at : "(none)")

#define WHO  "\"sender\":\"Ann\",\"sender_id\":\"u1\","
#define WHEN "\"timestamp\":\"2026-01-02T03:04:05.678Z\""

static void refuse(const char *line, int code, const char *says)
{
    ck_assert_msg(decode(line) == code, "%s: %d %s", line, error.code, error.message);
    ck_assert_msg(strstr(error.message, says) != NULL, "%s: %s", line, error.message);
}

START_TEST(every_field_of_a_line_is_read)
{
    ck_assert_int_eq(decode(" {\"type\":\"chat\",\"room\":\"caf\\u00e9\",\"position\":7,\"prev\":6,"
                            "\"epoch\":\"x\",\"new\":[1]," WHO "\"content\":\"a\\n\\u2713\","
                            "\"cid\":\"c-1\",\"data\": {\"k\": 1.10}," WHEN "} "),
                     1);
    ck_assert_uint_eq(record.type, CHI_ENTRY_CHAT);
    SPAN(record.room, "caf\u00e9");
    SPAN(record.parts.sender, "Ann");
    SPAN(record.parts.user, "u1");
    SPAN(record.parts.content, "a\n\u2713");
    SPAN(record.parts.cid, "c-1");
    SPAN(record.parts.data, "{\"k\": 1.10}");
    ck_assert_uint_eq(record.time, 1767323045678);
    ck_assert(!record.redacted);
}
END_TEST

/* What is written of an entry is read as the same entry. */
static void go_round(const struct chi_entry_parts *parts, uint64_t time)
{
    struct chi_buf line = {0};
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, parts);
    ck_assert_ptr_nonnull(entry);
    entry->time = time;
    entry->position = 42;
    entry->prev = 40;
    chi_native_encode_entry(&line, CHI_SPAN("tea room"), entry);
    chi_buf_add_char(&line, '\0');
    ck_assert_msg(decode(line.at) == 1, "%s: %s", line.at, error.message);
    SPAN(record.room, "tea room");
    ck_assert(chi_span_equal(record.parts.sender, parts->sender));
    ck_assert(chi_span_equal(record.parts.user, parts->user));
    ck_assert(chi_span_equal(record.parts.cid, parts->cid));
    ck_assert(chi_span_equal(record.parts.content, parts->content));
    ck_assert(chi_span_equal(record.parts.data, parts->data));
    ck_assert_uint_eq(record.time, time);
    ck_assert_int_eq(record.redacted, !parts->sender.len);
    chi_entry_unref(entry);
    chi_buf_fini(&line);
}

START_TEST(an_exported_line_is_read_as_what_it_was)
{
    struct chi_entry_parts parts = {.sender = CHI_SPAN("\u00c4nn \"x\""),
                                    .user = CHI_SPAN("hk1gyS6rYHhaVtQv"),
                                    .content = CHI_SPAN("tab\there \\ \u2028 </script>"),
                                    .cid = CHI_SPAN("c\\1\""),
                                    .data = CHI_SPAN("{\"a\":[1e5,\"}\"],\"b\":9007199254740993}")};
    for (uint64_t day = 0; day < 2932896; day += 131) /* to the end of 9999 */
        go_round(&parts, day * 86400000 + day % 86400000);
    parts.data = (struct chi_span){NULL, 0};
    go_round(&parts, 951782400000); /* 2000-02-29 */
    parts.cid = (struct chi_span){NULL, 0};
    go_round(&parts, 253402300799999);
    parts = (struct chi_entry_parts){0};
    go_round(&parts, 1); /* redacted */
}
END_TEST

static uint64_t time_of(const char *stamp)
{
    char line[256];
    snprintf(line, sizeof(line),
             "{\"type\":\"chat\",\"room\":\"a\"," WHO "\"content\":\"x\",\"timestamp\":\"%s\"}",
             stamp);
    return decode(line) == 1 ? record.time : UINT64_MAX;
}

START_TEST(a_time_is_any_of_rfc_3339)
{
    ck_assert_uint_eq(time_of("1970-01-01T00:00:00Z"), 0);
    ck_assert_uint_eq(time_of("2026-01-02T03:04:05Z"), 1767323045000);
    ck_assert_uint_eq(time_of("2026-01-02t03:04:05.6z"), 1767323045600);
    ck_assert_uint_eq(time_of("2026-01-02 03:04:05.678901234Z"), 1767323045678);
    ck_assert_uint_eq(time_of("2026-01-02T05:34:05+02:30"), 1767323045000);
    ck_assert_uint_eq(time_of("2026-01-01T22:04:05-05:00"), 1767323045000);
    static const char *const wrong[] = {
        "",
        "yesterday",
        "2026-01-02",
        "2026-01-02T03:04:05",
        "2026-13-02T03:04:05Z",
        "2026-02-29T03:04:05Z",
        "2026-01-02T24:00:00Z",
        "2026-01-02T03:60:05Z",
        "2026-1-2T03:04:05Z",
        "2026-01-02T03:04:05.Z",
        "2026-01-02T03:04:05Z ",
        "2026-01-02T03:04:05+0200",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "+026-01-02T03:04:05Z",
        "10000-01-01T00:00:00Z",
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(time_of(wrong[i]) == UINT64_MAX, "%s", wrong[i]);
    ck_assert_ptr_nonnull(strstr(error.message, "\"timestamp\" is no time"));
}
END_TEST

START_TEST(what_is_wrong_is_said_by_field)
{
#define LINE(rest) "{\"type\":\"chat\",\"room\":\"a\"," rest "," WHEN "}"
    refuse("{\"room\":\"a\"," WHO "\"content\":\"x\"," WHEN "}", CHATHUB_EREQUEST, "\"type\"");
    refuse("{\"type\":\"entry\",\"kind\":7,\"room\":\"a\"," WHO WHEN "}", CHATHUB_ETYPE,
           "\"chat\"");
    refuse("{\"type\":\"chat\"," WHO "\"content\":\"x\"," WHEN "}", CHATHUB_EREQUEST, "\"room\"");
    refuse(LINE("\"sender_id\":\"u\",\"content\":\"x\""), CHATHUB_EREQUEST, "\"sender\"");
    refuse(LINE("\"sender\":\"A\",\"content\":\"x\""), CHATHUB_EREQUEST, "\"sender_id\"");
    refuse(LINE("\"sender\":\"A\",\"sender_id\":\"u\""), CHATHUB_EREQUEST, "\"content\"");
    refuse(LINE(WHO "\"content\":5"), CHATHUB_EREQUEST, "\"content\" is a number");
    refuse(LINE(WHO "\"content\":\"x\",\"data\":[]"), CHATHUB_EREQUEST, "\"data\" is a list");
    refuse(LINE(WHO "\"content\":\"x\",\"redacted\":true"), CHATHUB_EREQUEST, "\"redacted\"");
    refuse("{\"type\":\"chat\",\"room\":\"a\"," WHO "\"content\":\"x\"}", CHATHUB_EREQUEST,
           "\"timestamp\" is missing");
    refuse("[]", CHATHUB_EJSON, "each line is one object");
    refuse("{\"type\":\"chat\",", CHATHUB_EJSON, "each line is one object");
    refuse(LINE(WHO "\"content\":\"x\",\"content\":\"y\""), CHATHUB_EJSON,
           "each line is one object");
}
END_TEST

START_TEST(an_empty_line_is_nothing)
{
    ck_assert_int_eq(decode(""), 0);
    ck_assert_int_eq(decode(" \t"), 0);
    ck_assert_int_eq(chi_record_decode(&scratch, (struct chi_span){NULL, 0}, &record, &error), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("record");
    tcase_add_test(tests, every_field_of_a_line_is_read);
    tcase_add_test(tests, an_exported_line_is_read_as_what_it_was);
    tcase_add_test(tests, a_time_is_any_of_rfc_3339);
    tcase_add_test(tests, what_is_wrong_is_said_by_field);
    tcase_add_test(tests, an_empty_line_is_nothing);
    tcase_set_timeout(tests, 60);
    Suite *suite = suite_create("record");
    suite_add_tcase(suite, tests);
    int failed = unit_run(suite);
    chi_buf_fini(&scratch);
    return failed;
}
