/* Native frames have the documented fields in the documented order, and are valid JSON. */
#include <check.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"

#define TIME UINT64_C(1767323045678) /* 2026-01-02T03:04:05.678Z */

static struct chi_buf out;

static void expect(const char *text)
{
    ck_assert(!out.failed);
    ck_assert_msg(chi_span_is((struct chi_span){out.at, out.len}, text), "%.*s\nis not\n%s",
                  (int)out.len, out.at ? out.at : "", text);
    if (out.len) {
        json_error_t error;
        json_t *json = json_loadb(out.at, out.len, JSON_REJECT_DUPLICATES, &error);
        ck_assert_msg(json != NULL, "%s: %s", text, error.text);
        json_decref(json);
    }
    chi_buf_reset(&out, 0);
}

static struct chi_entry *entry(struct chi_entry_parts parts)
{
    struct chi_entry *made = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    ck_assert_ptr_nonnull(made);
    made->position = 42;
    made->prev = 40;
    made->time = TIME;
    return made;
}

static void reply(struct chi_reply what, const char *text)
{
    chi_dialect_native.encode_reply(&out, &what);
    expect(text);
}

static void signal_is(struct chi_signal what, const char *text)
{
    chi_dialect_native.encode_signal(&out, &what);
    expect(text);
}

START_TEST(an_entry_is_a_chat_frame)
{
    struct chi_entry *e = entry((struct chi_entry_parts){.sender = CHI_SPAN("alice"),
                                                         .user = CHI_SPAN("ID"),
                                                         .content = CHI_SPAN("hi"),
                                                         .cid = CHI_SPAN("c-1"),
                                                         .data = CHI_SPAN("{\"a\": 1}")});
    chi_dialect_native.encode_entry(&out, CHI_SPAN("general"), e);
    expect(
        "{\"type\":\"chat\",\"room\":\"general\",\"position\":42,\"prev\":40,\"sender\":\"alice\","
        "\"sender_id\":\"ID\",\"content\":\"hi\",\"cid\":\"c-1\",\"data\":{\"a\": 1},"
        "\"timestamp\":\"2026-01-02T03:04:05.678Z\"}");
    chi_entry_unref(e);
}
END_TEST

START_TEST(texts_are_escaped)
{
    struct chi_entry *e =
        entry((struct chi_entry_parts){.sender = CHI_SPAN("a\"b"),
                                       .user = CHI_SPAN("ID"),
                                       .content = CHI_SPAN("\\ \n\t\x01 \u2713")});
    chi_dialect_native.encode_entry(&out, CHI_SPAN("r\\"), e);
    expect(
        "{\"type\":\"chat\",\"room\":\"r\\\\\",\"position\":42,\"prev\":40,\"sender\":\"a\\\"b\","
        "\"sender_id\":\"ID\",\"content\":\"\\\\ \\n\\t\\u0001 \u2713\","
        "\"timestamp\":\"2026-01-02T03:04:05.678Z\"}");
    chi_entry_unref(e);
}
END_TEST

START_TEST(a_redacted_entry_says_so)
{
    struct chi_entry *e = entry((struct chi_entry_parts){0});
    chi_dialect_native.encode_entry(&out, CHI_SPAN("r"), e);
    expect("{\"type\":\"chat\",\"room\":\"r\",\"position\":42,\"prev\":40,\"sender\":\"\",\"sender_"
           "id\":\"\","
           "\"content\":\"\",\"redacted\":true,\"timestamp\":\"2026-01-02T03:04:05.678Z\"}");
    chi_entry_unref(e);
}
END_TEST

START_TEST(an_entry_of_a_later_version_is_a_link_of_the_chain)
{
    struct chi_entry *e = entry(
        (struct chi_entry_parts){.sender = CHI_SPAN("a"), .user = CHI_SPAN("A"), .content = {0}});
    e->type = 999;
    chi_dialect_native.encode_entry(&out, CHI_SPAN("r"), e);
    expect("{\"type\":\"entry\",\"kind\":999,\"room\":\"r\",\"position\":42,\"prev\":40,"
           "\"sender\":\"a\",\"sender_id\":\"A\",\"content\":\"\","
           "\"timestamp\":\"2026-01-02T03:04:05.678Z\"}");
    chi_entry_unref(e);
}
END_TEST

START_TEST(replies_have_their_fields)
{
    reply((struct chi_reply){.type = CHI_REPLY_ACK,
                             .room = CHI_SPAN("general"),
                             .cid = CHI_SPAN("c-1"),
                             .position = 42,
                             .epoch = CHI_SPAN("E"),
                             .dup = true,
                             .time = TIME},
          "{\"type\":\"ack\",\"room\":\"general\",\"cid\":\"c-1\",\"position\":42,\"epoch\":\"E\","
          "\"dup\":true,"
          "\"timestamp\":\"2026-01-02T03:04:05.678Z\"}");
    reply((struct chi_reply){.type = CHI_REPLY_WELCOME,
                             .ref = CHI_SPAN("[\"x\"]"),
                             .name = CHI_SPAN("alice"),
                             .user = CHI_SPAN("ID"),
                             .session = CHI_SPAN("K"),
                             .epoch = CHI_SPAN("E"),
                             .default_room = CHI_SPAN("general"),
                             .horizon = 5,
                             .max_content = 4096,
                             .max_message = 65536,
                             .renamed = true},
          "{\"type\":\"welcome\",\"ref\":[\"x\"],\"sender\":\"alice\",\"sender_id\":\"ID\","
          "\"session\":\"K\","
          "\"epoch\":\"E\",\"default_room\":\"general\",\"horizon_ms\":5,\"limits\":{\"content\":"
          "4096,\"message\":65536},"
          "\"renamed\":true,\"timestamp\":\"1970-01-01T00:00:00.000Z\"}");
    reply((struct chi_reply){.type = CHI_REPLY_LEFT, .room = CHI_SPAN("r")},
          "{\"type\":\"left\",\"room\":\"r\"}");
    reply((struct chi_reply){.type = CHI_REPLY_LEFT,
                             .room = CHI_SPAN("r"),
                             .code = CHATHUB_EDENIED,
                             .message = CHI_SPAN("m")},
          "{\"type\":\"left\",\"room\":\"r\",\"code\":\"denied\",\"message\":\"m\"}");
    reply((struct chi_reply){.type = CHI_REPLY_OK, .ref = CHI_SPAN("7")},
          "{\"type\":\"ok\",\"ref\":7}");
    reply((struct chi_reply){.type = CHI_REPLY_PONG},
          "{\"type\":\"pong\",\"timestamp\":\"1970-01-01T00:00:00.000Z\"}");
    reply((struct chi_reply){.type = CHI_REPLY_GAP,
                             .room = CHI_SPAN("r"),
                             .from = 3,
                             .to = 9,
                             .epoch = CHI_SPAN("E")},
          "{\"type\":\"gap\",\"room\":\"r\",\"from\":3,\"to\":9,\"epoch\":\"E\"}");
    reply((struct chi_reply){.type = CHI_REPLY_BYE, .message = CHI_SPAN("m"), .retry_after = 100},
          "{\"type\":\"bye\",\"message\":\"m\",\"retry_after_ms\":100}");
    reply((struct chi_reply){.type = CHI_REPLY_HELP}, "");
}
END_TEST

START_TEST(an_error_has_a_code_and_words)
{
    reply((struct chi_reply){.type = CHI_REPLY_ERROR, .code = CHATHUB_EDENIED},
          "{\"type\":\"error\",\"code\":\"denied\",\"message\":\"not allowed\"}");
    reply((struct chi_reply){.type = CHI_REPLY_ERROR,
                             .ref = CHI_SPAN("1"),
                             .code = CHATHUB_EAGAIN,
                             .message = CHI_SPAN("wait"),
                             .room = CHI_SPAN("r"),
                             .cid = CHI_SPAN("c"),
                             .retry_after = 250},
          "{\"type\":\"error\",\"ref\":1,\"code\":\"busy\",\"message\":\"wait\",\"room\":\"r\","
          "\"cid\":\"c\","
          "\"retry_after_ms\":250}");
}
END_TEST

static const struct chi_present PEOPLE[] = {
    {.name = {"al", 2}, .user = {"A", 1}, .status = {"away", 4}},
    {.name = {"bo", 2}, .user = {"B", 1}},
};

START_TEST(lists_of_people)
{
    reply((struct chi_reply){.type = CHI_REPLY_JOINED,
                             .room = CHI_SPAN("r"),
                             .epoch = CHI_SPAN("E"),
                             .position = 9,
                             .start = 4,
                             .count = 2,
                             .presence = 7,
                             .present = PEOPLE,
                             .present_count = 2},
          "{\"type\":\"joined\",\"room\":\"r\",\"epoch\":\"E\",\"position\":9,\"start\":4,"
          "\"count\":2,"
          "\"presence\":7,\"members\":[{\"sender\":\"al\",\"sender_id\":\"A\",\"status\":\"away\"},"
          "{\"sender\":\"bo\",\"sender_id\":\"B\"}]}");
    reply((struct chi_reply){.type = CHI_REPLY_JOINED, .room = CHI_SPAN("r"), .observer = true},
          "{\"type\":\"joined\",\"room\":\"r\",\"position\":0,\"start\":0,\"observer\":true,"
          "\"count\":0,"
          "\"presence\":0}");
    reply((struct chi_reply){.type = CHI_REPLY_WHO,
                             .room = CHI_SPAN("r"),
                             .count = 9,
                             .presence = 7,
                             .present = PEOPLE + 1,
                             .present_count = 1,
                             .more = true},
          "{\"type\":\"who\",\"room\":\"r\",\"count\":9,\"presence\":7,\"members\":[{\"sender\":"
          "\"bo\","
          "\"sender_id\":\"B\"}],\"more\":true}");
}
END_TEST

START_TEST(history_holds_whole_frames)
{
    struct chi_entry_parts parts = {
        .sender = CHI_SPAN("a"), .user = CHI_SPAN("A"), .content = CHI_SPAN("x")};
    struct chi_entry *list[] = {entry(parts), entry(parts)};
    reply((struct chi_reply){.type = CHI_REPLY_HISTORY,
                             .room = CHI_SPAN("r"),
                             .epoch = CHI_SPAN("E"),
                             .entries = list,
                             .entry_count = 2},
#define FRAME                                                                                      \
    "{\"type\":\"chat\",\"room\":\"r\",\"position\":42,\"prev\":40,\"sender\":\"a\",\"sender_"     \
    "id\":\"A\","                                                                                  \
    "\"content\":\"x\",\"timestamp\":\"2026-01-02T03:04:05.678Z\"}"
          "{\"type\":\"history\",\"room\":\"r\",\"epoch\":\"E\",\"entries\":[" FRAME "," FRAME
          "],\"more\":false}");
    reply((struct chi_reply){.type = CHI_REPLY_HISTORY, .room = CHI_SPAN("r"), .more = true},
          "{\"type\":\"history\",\"room\":\"r\",\"entries\":[],\"more\":true}");
    for (int i = 0; i < 2; i++)
        chi_entry_unref(list[i]);
}
END_TEST

START_TEST(presence_is_a_difference_a_snapshot_or_a_count)
{
    struct chi_present renamed = {
        .name = CHI_SPAN("cy"), .user = CHI_SPAN("C"), .was = CHI_SPAN("c")};
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE,
                                  .room = CHI_SPAN("r"),
                                  .number = 5,
                                  .count = 2,
                                  .came = PEOPLE,
                                  .came_count = 1,
                                  .went = PEOPLE + 1,
                                  .went_count = 1,
                                  .renamed = &renamed,
                                  .renamed_count = 1},
              "{\"type\":\"presence\",\"room\":\"r\",\"number\":5,\"count\":2,"
              "\"joined\":[{\"sender\":\"al\",\"sender_id\":\"A\",\"status\":\"away\"}],"
              "\"left\":[{\"sender\":\"bo\",\"sender_id\":\"B\"}],"
              "\"renamed\":[{\"sender\":\"cy\",\"sender_id\":\"C\",\"was\":\"c\"}]}");
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE,
                                  .room = CHI_SPAN("r"),
                                  .number = 6,
                                  .count = 1,
                                  .snapshot = true,
                                  .came = PEOPLE + 1,
                                  .came_count = 1},
              "{\"type\":\"presence\",\"room\":\"r\",\"number\":6,\"count\":1,\"snapshot\":true,"
              "\"members\":[{\"sender\":\"bo\",\"sender_id\":\"B\"}]}");
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE,
                                  .room = CHI_SPAN("r"),
                                  .number = 7,
                                  .count = 5000,
                                  .counts_only = true},
              "{\"type\":\"presence\",\"room\":\"r\",\"number\":7,\"count\":5000}");
}
END_TEST

START_TEST(typing_and_status)
{
    signal_is(
        (struct chi_signal){
            .type = CHI_SIGNAL_TYPING, .room = CHI_SPAN("r"), .who = PEOPLE[0], .on = true},
        "{\"type\":\"typing\",\"room\":\"r\",\"sender\":\"al\",\"sender_id\":\"A\",\"on\":true}");
    signal_is(
        (struct chi_signal){.type = CHI_SIGNAL_STATUS, .room = CHI_SPAN("r"), .who = PEOPLE[1]},
        "{\"type\":\"status\",\"room\":\"r\",\"sender\":\"bo\",\"sender_id\":\"B\",\"status\":"
        "\"\"}");
}
END_TEST

START_TEST(frames_are_appended)
{
    chi_buf_add_text(&out, "[");
    struct chi_reply pong = {.type = CHI_REPLY_OK};
    chi_dialect_native.encode_reply(&out, &pong);
    chi_buf_add_text(&out, ",");
    chi_dialect_native.encode_reply(&out, &pong);
    chi_buf_add_text(&out, "]");
    expect("[{\"type\":\"ok\"},{\"type\":\"ok\"}]");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("native_encode");
    tcase_add_test(tests, an_entry_is_a_chat_frame);
    tcase_add_test(tests, texts_are_escaped);
    tcase_add_test(tests, a_redacted_entry_says_so);
    tcase_add_test(tests, replies_have_their_fields);
    tcase_add_test(tests, an_error_has_a_code_and_words);
    tcase_add_test(tests, lists_of_people);
    tcase_add_test(tests, history_holds_whole_frames);
    tcase_add_test(tests, an_entry_of_a_later_version_is_a_link_of_the_chain);
    tcase_add_test(tests, presence_is_a_difference_a_snapshot_or_a_count);
    tcase_add_test(tests, typing_and_status);
    tcase_add_test(tests, frames_are_appended);
    Suite *suite = suite_create("native_encode");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    chi_buf_fini(&out);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
