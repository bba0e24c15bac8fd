/* Clients of realtime say each message under a sender, and get what all say in the same shape. */
#include "unit.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"

#define DIALECT chi_dialect_realtime
#define TIME    1793495748732u
#define AT      ",\"timestamp\":\"2026-11-01T01:15:48.732Z\"}\n"
/* A frame of the server's. */
#define SERVER(text) "{\"sender\":\"server\",\"content\":\"" text "\"" AT

static struct chi_buf scratch, out;
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
    int result = DIALECT.decode(&scratch, (struct chi_span){copy, len}, &request, &error);
    return result;
}

static int decode(const char *text)
{
    return decode_bytes(text, strlen(text));
}

#define SPAN(span, text)                                                                           \
    ck_assert_msg(chi_span_is(span, text), "%.*s", (int)(span).len,                                \
                  (span).at ? (span).at : "(none)")

static void posts(const char *text, const char *sender, const char *content, const char *to)
{
    ck_assert_msg(decode(text) == 1, "%s: %s", text, error.message);
    ck_assert_int_eq(request.type, CHI_REQUEST_POST);
    SPAN(request.name, sender);
    SPAN(request.content, content);
    SPAN(request.to, to);
    ck_assert_int_eq(*sender != '\0', request.name.at != NULL);
    ck_assert_int_eq(*to != '\0', request.to.at != NULL);
    ck_assert_ptr_null(request.room.at);
}

static void refuse(const char *text, int code, const char *said)
{
    ck_assert_msg(decode(text) == code, "%s: not %d but %d %s", text, code, error.code,
                  error.message);
    ck_assert_int_eq(error.code, code);
    ck_assert_msg(strstr(error.message, said) != NULL, "%s: \"%s\" lacks \"%s\"", text,
                  error.message, said);
}

/* ------------------------------------------------------------------------------------- reading */

START_TEST(each_message_is_said_under_its_sender)
{
    posts("{\"sender\":\"Abhi\",\"content\":\"Hello, World!\"}", "Abhi", "Hello, World!", "");
    posts(" {\"content\":\"a\\n\\u2028\\\"\",\"timestamp\":5,\"sender\":\"\\u00c5sa\"}\n",
          "\u00c5sa", "a\n\u2028\"", "");
    posts("{\"sender\":\"server\",\"content\":\"x\"}", "server", "x", "");
    ck_assert_int_eq(decode(""), 0);
    ck_assert_int_eq(decode(" \n"), 0);
    ck_assert_int_eq(DIALECT.decode(&scratch, (struct chi_span){0}, &request, &error), 0);
}
END_TEST

START_TEST(a_missing_sender_is_left_to_the_hub)
{
    posts("{\"content\":\"x\"}", "", "x", "");
    posts("{\"sender\":\"\",\"content\":\"x\"}", "", "x", "");
    posts("{\"sender\":null,\"content\":\"x\"}", "", "x", "");
}
END_TEST

START_TEST(a_content_may_begin_with_whom_it_is_for)
{
    posts("{\"sender\":\"a\",\"content\":\"@bob hi\"}", "a", "@bob hi", "bob");
    posts("{\"sender\":\"a\",\"content\":\"@b\\u00f8b  x y\"}", "a", "@b\u00f8b  x y", "b\u00f8b");
    posts("{\"sender\":\"a\",\"content\":\"@bob\"}", "a", "@bob", "");
    posts("{\"sender\":\"a\",\"content\":\"@bob \"}", "a", "@bob ", "");
    posts("{\"sender\":\"a\",\"content\":\"@ bob\"}", "a", "@ bob", "");
    posts("{\"sender\":\"a\",\"content\":\"@\"}", "a", "@", "");
    posts("{\"sender\":\"a\",\"content\":\" @bob hi\"}", "a", " @bob hi", "");
    posts("{\"sender\":\"a\",\"content\":\"hi @bob x\"}", "a", "hi @bob x", "");
}
END_TEST

START_TEST(what_cannot_be_said_is_an_error)
{
    refuse("{\"sender\":\"a\"}", CHATHUB_EEMPTY, "needs a content");
    refuse("{\"sender\":\"a\",\"content\":\"\"}", CHATHUB_EEMPTY, "needs a content");
    refuse("{\"sender\":\"a\",\"content\":null}", CHATHUB_EEMPTY, "needs a content");
    refuse("{}", CHATHUB_EEMPTY, "needs a content");
    refuse("{\"sender\":5,\"content\":\"x\"}", CHATHUB_EREQUEST, "\"sender\" is a number");
    refuse("{\"sender\":\"a\",\"content\":{}}", CHATHUB_EREQUEST, "\"content\" is an object");
    refuse("{\"sender\":[],\"content\":[]}", CHATHUB_EREQUEST, "\"sender\" is a list");
    refuse("{\"sender\":\"a\",\"content\":1e308}", CHATHUB_EREQUEST, "\"content\" is a number");
}
END_TEST

START_TEST(what_is_no_object_is_an_error)
{
    static const char *const BAD[] = {
        "hi",
        "[]",
        "[{\"sender\":\"a\",\"content\":\"x\"}]",
        "null",
        "{",
        "{\"sender\":\"a\",\"content\":\"x\"",
        "{\"sender\":\"a\",\"content\":\"x\"} {}",
        "{\"sender\":\"a\",\"sender\":\"b\",\"content\":\"x\"}",
        "{\"sender\":\"a\",\"content\":\"\\u0000\"}",
        "{\"sender\":\"a\",\"content\":\"\\ud800\"}",
        "{\"sender\":\"a\",\"content\":1e999}",
        "{\"sender\":\"a\",\"content\":\"x\ny\"}",
    };
    for (size_t i = 0; i < sizeof(BAD) / sizeof(BAD[0]); i++)
        refuse(BAD[i], CHATHUB_EJSON, "send one object");
    ck_assert_int_eq(decode_bytes("{\"sender\":\"a\",\"content\":\"a\0b\"}", 30), CHATHUB_EJSON);
    char deep[20001];
    memset(deep, '[', sizeof(deep) - 1);
    deep[sizeof(deep) - 1] = '\0';
    refuse(deep, CHATHUB_EJSON, "send one object");
}
END_TEST

/* ------------------------------------------------------------------------------------- writing */

static void shows(const char *text)
{
    ck_assert(!out.failed);
    ck_assert_msg(chi_span_is((struct chi_span){out.at, out.len}, text), "%.*s\nis not\n%s",
                  (int)out.len, out.at ? out.at : "", text);
    chi_buf_reset(&out, 0);
}

static void encode(uint16_t type, struct chi_entry_parts parts, const char *text)
{
    struct chi_entry *entry = chi_entry_new(type, &parts);
    ck_assert_ptr_nonnull(entry);
    entry->time = TIME;
    DIALECT.encode_entry(&out, CHI_SPAN("general"), entry);
    chi_entry_unref(entry);
    shows(text);
}

START_TEST(an_entry_has_the_keys_in_their_order_and_a_newline)
{
    encode(CHI_ENTRY_CHAT,
           (struct chi_entry_parts){.sender = CHI_SPAN("Abhi"),
                                    .user = CHI_SPAN("ID"),
                                    .content = CHI_SPAN("Hello\n\"\x1e\u2028"),
                                    .data = CHI_SPAN("{\"x\":1}")},
           "{\"sender\":\"Abhi\",\"content\":\"Hello\\n\\\"\\u001e\u2028\"" AT);
}
END_TEST

START_TEST(what_has_nothing_to_show_has_no_frame)
{
    encode(CHI_ENTRY_CHAT, (struct chi_entry_parts){0}, "");
    encode(CHI_ENTRY_CHAT,
           (struct chi_entry_parts){.sender = CHI_SPAN("a"), .data = CHI_SPAN("{}")}, "");
    encode(77, (struct chi_entry_parts){.sender = CHI_SPAN("a"), .content = CHI_SPAN("x")}, "");
}
END_TEST

static void reply(struct chi_reply what, const char *text)
{
    what.time = TIME;
    DIALECT.encode_reply(&out, &what);
    shows(text);
}

START_TEST(errors_and_gaps_are_said_by_the_server)
{
    reply((struct chi_reply){.type = CHI_REPLY_ERROR, .code = CHATHUB_EDENIED},
          SERVER("Error: not allowed"));
    reply((struct chi_reply){.type = CHI_REPLY_ERROR,
                             .code = CHATHUB_EREQUEST,
                             .message = CHI_SPAN("\"content\" is a number")},
          SERVER("Error: \\\"content\\\" is a number"));
    reply((struct chi_reply){.type = CHI_REPLY_ERROR,
                             .code = CHATHUB_ENAMEREQUIRED,
                             .message = CHI_SPAN("say hello first")},
          SERVER("Error: a message needs a sender"));
    reply((struct chi_reply){.type = CHI_REPLY_GAP},
          SERVER("Some earlier messages are no longer kept."));
    reply((struct chi_reply){.type = CHI_REPLY_LEFT, .code = CHATHUB_EDENIED},
          SERVER("You were removed: not allowed"));
}
END_TEST

START_TEST(a_private_message_is_from_who_says_it)
{
    reply((struct chi_reply){.type = CHI_REPLY_PRIVATE,
                             .name = CHI_SPAN("bob"),
                             .message = CHI_SPAN("@al \"x\"")},
          "{\"sender\":\"bob\",\"content\":\"@al \\\"x\\\"\"" AT);
}
END_TEST

START_TEST(no_other_reply_is_told)
{
    static const enum chi_reply_type SILENT[] = {
        CHI_REPLY_WELCOME, CHI_REPLY_ACK,  CHI_REPLY_JOINED, CHI_REPLY_LEFT, CHI_REPLY_HISTORY,
        CHI_REPLY_WHO,     CHI_REPLY_PONG, CHI_REPLY_OK,     CHI_REPLY_BYE,  CHI_REPLY_HELP,
    };
    for (size_t i = 0; i < sizeof(SILENT) / sizeof(SILENT[0]); i++)
        reply((struct chi_reply){.type = SILENT[i], .message = CHI_SPAN("x")}, "");
}
END_TEST

static const struct chi_present PEOPLE[] = {
    {.name = {"alice", 5}},
    {.name = {"b\"b", 3}},
    {.name = {"carol", 5}, .was = {"c", 1}},
    {.name = {"dave", 4}},
};

static void signal_is(struct chi_signal what, const char *text)
{
    what.time = TIME;
    DIALECT.encode_signal(&out, &what);
    shows(text);
}

START_TEST(coming_and_going_is_said_by_the_server)
{
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE,
                                  .came = PEOPLE,
                                  .came_count = 2,
                                  .went = PEOPLE + 2,
                                  .went_count = 1,
                                  .renamed = PEOPLE + 2,
                                  .renamed_count = 1},
              SERVER("alice joined the chat") "\x1e" SERVER("b\\\"b joined the chat") "\x1e" SERVER(
                  "carol left the chat") "\x1e" SERVER("c is now carol"));
    signal_is(
        (struct chi_signal){
            .type = CHI_SIGNAL_PRESENCE, .summed = true, .went = PEOPLE, .went_count = 4},
        SERVER("alice, b\\\"b and 2 others left the chat"));
    signal_is((struct chi_signal){.type = CHI_SIGNAL_TYPING, .on = true, .who = PEOPLE[0]}, "");
    signal_is((struct chi_signal){.type = CHI_SIGNAL_STATUS, .who = PEOPLE[0]}, "");
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
        result = decode("{\"sender\":\"a\",\"content\":\"hi\",\"x\":[1,\"b\"]}");
        ck_assert_msg(result == 1 || result == CHATHUB_ENOMEM, "%d %s", result, error.message);
        ck_assert_int_lt(n, 1000);
    }
    json_set_alloc_funcs(usual_malloc, usual_free);
    SPAN(request.content, "hi");
}
END_TEST

/* What a failed test left. */
static void clear(void)
{
    chi_buf_reset(&out, 0);
}

int main(void)
{
    TCase *tests = tcase_create("realtime");
    tcase_add_checked_fixture(tests, clear, NULL);
    tcase_add_test(tests, each_message_is_said_under_its_sender);
    tcase_add_test(tests, a_missing_sender_is_left_to_the_hub);
    tcase_add_test(tests, a_content_may_begin_with_whom_it_is_for);
    tcase_add_test(tests, what_cannot_be_said_is_an_error);
    tcase_add_test(tests, what_is_no_object_is_an_error);
    tcase_add_test(tests, an_entry_has_the_keys_in_their_order_and_a_newline);
    tcase_add_test(tests, what_has_nothing_to_show_has_no_frame);
    tcase_add_test(tests, errors_and_gaps_are_said_by_the_server);
    tcase_add_test(tests, a_private_message_is_from_who_says_it);
    tcase_add_test(tests, no_other_reply_is_told);
    tcase_add_test(tests, coming_and_going_is_said_by_the_server);
    tcase_add_test(tests, a_failed_allocation_is_never_the_clients_fault);
    Suite *suite = suite_create("realtime");
    suite_add_tcase(suite, tests);
    int failed = unit_run(suite);
    chi_buf_fini(&scratch);
    chi_buf_fini(&out);
    return failed;
}
