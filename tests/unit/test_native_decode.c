/* Native requests are read strictly, and what is wrong with one is said by field. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"

static struct chi_buf scratch;
static struct chi_request request;
static struct chi_decode_error error;

/* From memory of exactly the text's size, freed before the next: no span may point
 * beyond it or into an earlier one. */
static int decode_bytes(const char *text, size_t len)
{
    static char *copy;
    free(copy);
    copy = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, len);
    int result =
        chi_dialect_native.decode(&scratch, (struct chi_span){copy, len}, &request, &error);
    return result;
}

static int decode(const char *text)
{
    return decode_bytes(text, strlen(text));
}

static void expect(const char *text, enum chi_request_type type)
{
    int result = decode(text);
    ck_assert_msg(result == 1, "%s: %d %s", text, result, error.message);
    ck_assert_int_eq(request.type, type);
}

static void refuse(const char *text, int code, const char *said)
{
    ck_assert_msg(decode(text) == code, "%s: not %d but %d %s", text, code, error.code,
                  error.message);
    ck_assert_int_eq(error.code, code);
    ck_assert_msg(strstr(error.message, said) != NULL, "%s: \"%s\" lacks \"%s\"", text,
                  error.message, said);
    ck_assert(chi_utf8_valid(error.message, strlen(error.message)));
}

#define SPAN(span, text)                                                                           \
    ck_assert_msg(chi_span_is(span, text), "%.*s", (int)(span).len,                                \
                  (span).at ? (span).at : "(none)")

START_TEST(a_bare_content_is_a_post)
{
    expect("{\"content\":\"hi\"}", CHI_REQUEST_POST);
    SPAN(request.content, "hi");
    ck_assert_ptr_null(request.room.at);
    ck_assert_ptr_null(request.cid.at);
    ck_assert_ptr_null(request.data.at);
    ck_assert_ptr_null(request.ref.at);
}
END_TEST

START_TEST(every_field_of_a_post_is_read)
{
    expect(
        " { \"ref\" : 7.50 , \"type\":\"post\",\"room\":\"caf\\u00e9\",\"content\":\"a\\n\\u2713\","
        "\"cid\":\"c-1\",\"data\": {\"k\": [1, 2]} } ",
        CHI_REQUEST_POST);
    SPAN(request.ref, "7.50");
    SPAN(request.room, "caf\u00e9");
    SPAN(request.content, "a\n\u2713");
    SPAN(request.cid, "c-1");
    SPAN(request.data, "{\"k\": [1, 2]}");
}
END_TEST

START_TEST(data_passes_unchanged_but_for_newlines_between_tokens)
{
    expect("{\"d\\u0061ta\":{\"a\":\"},]\\\"\\n\",\r\n\"b\":[{},[{\"data\":1}]],\t\"n\":"
           "123456789012345678901.50},"
           "\"content\":\"x\",\"other\":{\"data\":2}}",
           CHI_REQUEST_POST);
    SPAN(request.data,
         "{\"a\":\"},]\\\"\\n\",  \"b\":[{},[{\"data\":1}]],\t\"n\":123456789012345678901.50}");
    expect("{\"content\":\"x\",\"data\":{}}", CHI_REQUEST_POST);
    SPAN(request.data, "{}");
    expect("{\"type\":\"post\",\"data\":{\"only\":true}}\n", CHI_REQUEST_POST);
    SPAN(request.data, "{\"only\":true}");
}
END_TEST

START_TEST(data_that_nests_too_deep_is_refused)
{
    char text[512] = "{\"content\":\"x\",\"data\":{\"a\":";
    size_t len = strlen(text);
    memset(text + len, '[', 100);
    memset(text + len + 100, ']', 100);
    memcpy(text + len + 200, "}}", 3);
    refuse(text, CHATHUB_EREQUEST, "\"data\" nests 101 deep");
    memcpy(text + len + 99, "]", 1);
    memcpy(text + len + 198, "}}", 3);
    expect(text, CHI_REQUEST_POST);
}
END_TEST

START_TEST(a_ref_is_any_scalar_as_it_came)
{
    static const char *const REFS[] = {"1", "-0.5e3", "\"x\\u0041\\n\"", "true", "false"};
    for (size_t i = 0; i < sizeof(REFS) / sizeof(REFS[0]); i++) {
        char text[64];
        snprintf(text, sizeof(text), "{\"type\":\"ping\",\"ref\":%s}", REFS[i]);
        expect(text, CHI_REQUEST_PING);
        SPAN(request.ref, REFS[i]);
    }
    refuse("{\"type\":\"ping\",\"ref\":{}}", CHATHUB_EREQUEST, "\"ref\" is an object");
    refuse("{\"type\":\"ping\",\"ref\":[1]}", CHATHUB_EREQUEST, "\"ref\" is a list");
    ck_assert_ptr_null(error.ref.at);
    char text[256] = "{\"type\":\"ping\",\"ref\":\"";
    size_t len = strlen(text);
    memset(text + len, 'r', 126);
    memcpy(text + len + 126, "\"}", 3);
    expect(text, CHI_REQUEST_PING);
    ck_assert_uint_eq(request.ref.len, 128);
    memcpy(text + len + 126, "r\"}", 4);
    refuse(text, CHATHUB_EREQUEST, "\"ref\" has 129 bytes");
}
END_TEST

START_TEST(an_error_carries_the_ref)
{
    refuse("{\"type\":\"jion\",\"ref\":\"r1\"}", CHATHUB_ETYPE, "did you mean \"join\"?");
    SPAN(error.ref, "\"r1\"");
    refuse("{\"content\":1,\"ref\":2}", CHATHUB_EREQUEST,
           "\"content\" is a number; it must be a text");
    SPAN(error.ref, "2");
}
END_TEST

START_TEST(an_unknown_type_is_answered_by_the_known_ones)
{
    refuse("{\"type\":\"chat\",\"content\":\"hi\"}", CHATHUB_ETYPE, "did you mean \"post\"?");
    refuse("{\"type\":\"hallo\"}", CHATHUB_ETYPE, "did you mean \"hello\"?");
    refuse("{\"type\":\"Who\"}", CHATHUB_ETYPE, "did you mean \"who\"?");
    refuse("{\"type\":\"frobnicate\"}", CHATHUB_ETYPE,
           "there are: hello, join, leave, post, history, who, typing, status, ping");
    refuse("{\"type\":\"\"}", CHATHUB_ETYPE, "type \"\"");
    refuse("{\"type\":\"\\u001b[2J\\u00e9\"}", CHATHUB_ETYPE, "\"?[2J??\"");
    refuse("{\"type\":7}", CHATHUB_EREQUEST, "\"type\" is a number");
    refuse("{}", CHATHUB_EREQUEST, "\"type\" is missing");
    refuse("{\"name\":\"bob\"}", CHATHUB_EREQUEST, "\"type\" is missing");
}
END_TEST

START_TEST(what_is_not_one_object_is_bad_json)
{
    static const char *const BAD[] = {
        "hi",
        "[]",
        "[{\"content\":\"hi\"}]",
        "\"x\"",
        "1",
        "null",
        "{",
        "{\"content\":\"hi\"",
        "{\"content\":\"hi\"}}",
        "{\"content\":\"hi\"} {}",
        "{'content':'hi'}",
        "{content:1}",
        "{\"content\":\"hi\",}",
        "{\"content\":\"a\",\"content\":\"b\"}",
        "{\"content\":\"x\",\"data\":{\"a\":1,\"a\":2}}",
        "{\"content\":\"\\ud800\"}",
        "{\"content\":\"\\u0000\"}",
        "{\"content\":\"a\nb\"}",
        "{\"content\":01}",
        "{\"a\":1e999}",
        "\xef\xbb\xbf{\"content\":\"hi\"}",
        "{\"\xc3\xa9\":\xc3\xa9}",
        "{\"a\":NaN}",
    };
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
        refuse(BAD[i], CHATHUB_EJSON, "send one object");
    ck_assert_int_eq(decode_bytes("{\"content\":\"a\0b\"}", 17), CHATHUB_EJSON);
    ck_assert_int_eq(decode_bytes("{\"content\":\"hi\"}\0", 17), CHATHUB_EJSON);
}
END_TEST

START_TEST(nothing_is_nothing)
{
    ck_assert_int_eq(decode(""), 0);
    ck_assert_int_eq(decode(" \t\r\n"), 0);
    ck_assert_int_eq(chi_dialect_native.decode(&scratch, (struct chi_span){0}, &request, &error),
                     0);
}
END_TEST

START_TEST(a_join_says_where_to_begin)
{
    expect("{\"type\":\"join\",\"room\":\"r\"}", CHI_REQUEST_JOIN);
    ck_assert_int_eq(request.start.kind, CHI_START_DEFAULT);
    expect("{\"type\":\"join\",\"room\":\"r\",\"after\":42,\"epoch\":\"E\"}", CHI_REQUEST_JOIN);
    ck_assert_int_eq(request.start.kind, CHI_START_AFTER);
    ck_assert_uint_eq(request.start.position, 42);
    SPAN(request.start.epoch, "E");
    expect("{\"type\":\"join\",\"after\":0}", CHI_REQUEST_JOIN);
    ck_assert_int_eq(request.start.kind, CHI_START_AFTER);
    expect("{\"type\":\"join\",\"last\":5000000000}", CHI_REQUEST_JOIN);
    ck_assert_int_eq(request.start.kind, CHI_START_LAST);
    ck_assert_uint_eq(request.start.count, UINT32_MAX);
    expect("{\"type\":\"join\",\"now\":true}", CHI_REQUEST_JOIN);
    ck_assert_int_eq(request.start.kind, CHI_START_NOW);
    expect("{\"type\":\"join\",\"now\":false,\"after\":null}", CHI_REQUEST_JOIN);
    ck_assert_int_eq(request.start.kind, CHI_START_DEFAULT);
    refuse("{\"type\":\"join\",\"last\":1,\"after\":2}", CHATHUB_EREQUEST, "one of");
    refuse("{\"type\":\"join\",\"epoch\":\"E\"}", CHATHUB_EREQUEST, "give both");
}
END_TEST

START_TEST(positions_are_whole_numbers_below_two_to_the_53)
{
    expect("{\"type\":\"join\",\"after\":9007199254740991}", CHI_REQUEST_JOIN);
    ck_assert_uint_eq(request.start.position, 9007199254740991u);
    static const char *const BAD[] = {
        "9007199254740992", "9007199254740993", "-1", "1.5", "18446744073709551616", "1e300"};
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++) {
        char text[64];
        snprintf(text, sizeof(text), "{\"type\":\"join\",\"after\":%s}", BAD[i]);
        refuse(text, CHATHUB_EREQUEST,
               "\"after\" must be a whole number from 0 to 9007199254740991");
    }
    refuse("{\"type\":\"join\",\"after\":\"42\"}", CHATHUB_EREQUEST, "\"after\" is a text");
    refuse("{\"type\":\"join\",\"now\":1}", CHATHUB_EREQUEST, "\"now\" is a number");
}
END_TEST

START_TEST(a_hello_names_rooms_to_go_on_in)
{
    expect("{\"type\":\"hello\",\"name\":\"al\",\"session\":\"s\",\"rooms\":[\"a\","
           "{\"room\":\"b\",\"after\":7,\"epoch\":\"E\"},{\"room\":\"c\",\"last\":3},"
           "{\"room\":\"d\",\"now\":true}]}",
           CHI_REQUEST_HELLO);
    SPAN(request.name, "al");
    SPAN(request.session, "s");
    ck_assert_uint_eq(request.resume_count, 4);
    SPAN(request.resume[0].room, "a");
    ck_assert_int_eq(request.resume[0].start.kind, CHI_START_DEFAULT);
    SPAN(request.resume[1].room, "b");
    ck_assert_uint_eq(request.resume[1].start.position, 7);
    SPAN(request.resume[1].start.epoch, "E");
    ck_assert_uint_eq(request.resume[2].start.count, 3);
    ck_assert_int_eq(request.resume[3].start.kind, CHI_START_NOW);
    refuse("{\"type\":\"hello\",\"rooms\":\"a\"}", CHATHUB_EREQUEST, "\"rooms\" is a text");
    refuse("{\"type\":\"hello\",\"rooms\":[1]}", CHATHUB_EREQUEST, "\"rooms\" is a number");
    refuse("{\"type\":\"hello\",\"rooms\":[{\"after\":1}]}", CHATHUB_EREQUEST, "needs \"room\"");
    refuse("{\"type\":\"hello\",\"rooms\":[{\"room\":1}]}", CHATHUB_EREQUEST,
           "\"room\" is a number");
}
END_TEST

START_TEST(a_hello_has_a_bounded_number_of_rooms)
{
    char text[512] = "{\"type\":\"hello\",\"rooms\":[\"r\"";
    for (int i = 1; i < CHI_RESUME_MAX; i++)
        strncat(text, ",\"r\"", 5);
    size_t len = strlen(text);
    memcpy(text + len, "]}", 3);
    expect(text, CHI_REQUEST_HELLO);
    ck_assert_uint_eq(request.resume_count, CHI_RESUME_MAX);
    memcpy(text + len, ",\"r\"]}", 7);
    refuse(text, CHATHUB_EREQUEST, "\"rooms\" has 65 rooms; it may have 64");
}
END_TEST

START_TEST(the_other_requests_are_read)
{
    expect("{\"type\":\"leave\",\"room\":\"r\"}", CHI_REQUEST_LEAVE);
    SPAN(request.room, "r");
    expect("{\"type\":\"history\",\"before\":9,\"limit\":50}", CHI_REQUEST_HISTORY);
    ck_assert(request.has_before && !request.has_after);
    ck_assert_uint_eq(request.before, 9);
    ck_assert_uint_eq(request.limit, 50);
    expect("{\"type\":\"history\",\"after\":0}", CHI_REQUEST_HISTORY);
    ck_assert(!request.has_before && request.has_after);
    ck_assert_uint_eq(request.limit, 0);
    refuse("{\"type\":\"history\",\"limit\":0}", CHATHUB_EREQUEST, "\"limit\"");
    expect("{\"type\":\"who\",\"room\":\"r\",\"after\":\"bob\",\"limit\":2}", CHI_REQUEST_WHO);
    SPAN(request.name, "bob");
    expect("{\"type\":\"typing\"}", CHI_REQUEST_TYPING);
    ck_assert(request.on);
    expect("{\"type\":\"typing\",\"on\":false}", CHI_REQUEST_TYPING);
    ck_assert(!request.on);
    expect("{\"type\":\"status\",\"status\":\"away\"}", CHI_REQUEST_STATUS);
    SPAN(request.content, "away");
    expect("{\"type\":\"ping\",\"future\":[1,2,{}]}", CHI_REQUEST_PING);
    refuse("{\"type\":\"post\",\"room\":\"r\"}", CHATHUB_EREQUEST, "needs \"content\"");
    refuse("{\"type\":\"post\",\"content\":\"x\",\"data\":\"y\"}", CHATHUB_EREQUEST,
           "\"data\" is a text; it must be an object");
}
END_TEST

START_TEST(an_empty_text_is_not_an_absent_one)
{
    expect("{\"content\":\"\",\"room\":\"\"}", CHI_REQUEST_POST);
    ck_assert(request.content.at && request.content.len == 0);
    ck_assert(request.room.at && request.room.len == 0);
}
END_TEST

START_TEST(a_request_leaves_nothing_to_the_next)
{
    expect("{\"type\":\"history\",\"before\":9,\"room\":\"r\",\"ref\":1}", CHI_REQUEST_HISTORY);
    expect("{\"type\":\"history\"}", CHI_REQUEST_HISTORY);
    ck_assert(!request.has_before && !request.room.at && !request.ref.at);
}
END_TEST

START_TEST(a_large_request_keeps_its_spans)
{
    size_t len = 60000;
    char *text = malloc(len + 64);
    ck_assert_ptr_nonnull(text);
    size_t at =
        (size_t)snprintf(text, 64, "{\"room\":\"r\",\"cid\":\"c\",\"ref\":1,\"content\":\"");
    memset(text + at, 'x', len);
    memcpy(text + at + len, "\"}", 2);
    ck_assert_int_eq(decode_bytes(text, at + len + 2), 1);
    free(text);
    SPAN(request.room, "r");
    SPAN(request.cid, "c");
    SPAN(request.ref, "1");
    ck_assert_uint_eq(request.content.len, len);
}
END_TEST

static long until_failure;

static void *failing_malloc(size_t size)
{
    return until_failure-- == 0 ? NULL : malloc(size);
}

/* Tokens are short here: jansson itself fails badly where its buffer for one cannot grow. */
START_TEST(a_failed_allocation_is_never_the_clients_fault)
{
    json_malloc_t usual_malloc;
    json_free_t usual_free;
    json_get_alloc_funcs(&usual_malloc, &usual_free);
    json_set_alloc_funcs(failing_malloc, free);
    int result = 0;
    for (long n = 0; result != 1; n++) {
        until_failure = n;
        result =
            decode("{\"type\":\"post\",\"content\":\"hi\",\"data\":{\"a\":[1,2,\"b\"]},\"ref\":1}");
        ck_assert_msg(result == 1 || result == CHATHUB_ENOMEM, "%d %s", result, error.message);
        ck_assert_int_lt(n, 1000);
    }
    json_set_alloc_funcs(usual_malloc, usual_free);
    SPAN(request.content, "hi");
    SPAN(request.data, "{\"a\":[1,2,\"b\"]}");
}
END_TEST

START_TEST(dialects_are_found_by_name)
{
    ck_assert_ptr_eq(chi_dialect_find(CHI_SPAN("native")), &chi_dialect_native);
    ck_assert_ptr_eq(chi_dialect_find(CHI_SPAN("human")), &chi_dialect_human);
    ck_assert_ptr_null(chi_dialect_find(CHI_SPAN("local")));
    ck_assert_ptr_null(chi_dialect_find(CHI_SPAN("nativ")));
    ck_assert_ptr_null(chi_dialect_find((struct chi_span){0}));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("native_decode");
    tcase_add_test(tests, a_bare_content_is_a_post);
    tcase_add_test(tests, every_field_of_a_post_is_read);
    tcase_add_test(tests, data_passes_unchanged_but_for_newlines_between_tokens);
    tcase_add_test(tests, data_that_nests_too_deep_is_refused);
    tcase_add_test(tests, a_ref_is_any_scalar_as_it_came);
    tcase_add_test(tests, an_error_carries_the_ref);
    tcase_add_test(tests, an_unknown_type_is_answered_by_the_known_ones);
    tcase_add_test(tests, what_is_not_one_object_is_bad_json);
    tcase_add_test(tests, nothing_is_nothing);
    tcase_add_test(tests, a_join_says_where_to_begin);
    tcase_add_test(tests, positions_are_whole_numbers_below_two_to_the_53);
    tcase_add_test(tests, a_hello_names_rooms_to_go_on_in);
    tcase_add_test(tests, a_hello_has_a_bounded_number_of_rooms);
    tcase_add_test(tests, the_other_requests_are_read);
    tcase_add_test(tests, an_empty_text_is_not_an_absent_one);
    tcase_add_test(tests, a_request_leaves_nothing_to_the_next);
    tcase_add_test(tests, a_large_request_keeps_its_spans);
    tcase_add_test(tests, a_failed_allocation_is_never_the_clients_fault);
    tcase_add_test(tests, dialects_are_found_by_name);
    Suite *suite = suite_create("native_decode");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    chi_buf_fini(&scratch);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
