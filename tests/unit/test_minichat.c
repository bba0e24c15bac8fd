/* Clients of minichat are at home: their four keys in, the same four keys out, byte for byte. */
#include "dialect_world.h"

#define AT           ",\"timestamp\":\"2026-11-21T01:15:48.732Z\"}\n"
#define SYSTEM(text) "{\"type\":\"system\",\"content\":\"" text "\",\"sender\":\"\"" AT
#define STATUS(text, name)                                                                         \
    "{\"type\":\"status\",\"content\":\"" text "\",\"sender\":\"" name "\"" AT
#define CHAT(text, name) "{\"type\":\"chat\",\"content\":\"" text "\",\"sender\":\"" name "\"" AT

/* ------------------------------------------------------------------------------------- reading */

START_TEST(a_missing_or_empty_type_is_chat)
{
    static const char *const SAME[] = {
        "{\"type\":\"chat\",\"content\":\"hi\"}",
        "{\"type\":\"\",\"content\":\"hi\"}",
        "{\"content\":\"hi\"}",
        "{\"type\":null,\"content\":\"hi\"}",
        " {\n\"unknown\": [1, {}], \"content\" : \"h\\u0069\" }\r\n",
    };
    for (size_t i = 0; i < sizeof(SAME) / sizeof(SAME[0]); i++) {
        expect(SAME[i], CHI_REQUEST_POST);
        SPAN(request.content, "hi");
        ck_assert_ptr_null(request.room.at);
        ck_assert_ptr_null(request.name.at);
        ck_assert_ptr_null(request.data.at);
        ck_assert_ptr_null(request.cid.at);
    }
}
END_TEST

START_TEST(sender_and_timestamp_are_passed_over)
{
    static const char *const VALUES[] = {"\"System\"", "7", "null", "{\"a\":[]}", "[true]"};
    char text[160];
    for (size_t i = 0; i < sizeof(VALUES) / sizeof(VALUES[0]); i++) {
        snprintf(text, sizeof(text), "{\"sender\":%s,\"content\":\"hi\",\"timestamp\":%s}",
                 VALUES[i], VALUES[i]);
        expect(text, CHI_REQUEST_POST);
        SPAN(request.content, "hi");
        ck_assert_ptr_null(request.name.at);
    }
}
END_TEST

START_TEST(status_tells_who_types)
{
    expect("{\"type\":\"status\",\"content\":\"typing\"}", CHI_REQUEST_TYPING);
    ck_assert(request.on);
    expect("{\"type\":\"status\",\"content\":\"stopped typing\"}", CHI_REQUEST_TYPING);
    ck_assert(!request.on);
}
END_TEST

START_TEST(any_other_status_is_set_and_an_empty_one_cleared)
{
    expect("{\"type\":\"status\",\"content\":\"away\"}", CHI_REQUEST_STATUS);
    SPAN(request.content, "away");
    expect("{\"type\":\"status\",\"content\":\"Typing\"}", CHI_REQUEST_STATUS);
    SPAN(request.content, "Typing");
    expect("{\"type\":\"status\",\"content\":\"\"}", CHI_REQUEST_STATUS);
    ck_assert_uint_eq(request.content.len, 0);
    expect("{\"type\":\"status\"}", CHI_REQUEST_STATUS);
    ck_assert_uint_eq(request.content.len, 0);
}
END_TEST

START_TEST(nobody_speaks_for_the_server)
{
    refuse("{\"type\":\"system\",\"content\":\"bob left the chat\"}", CHATHUB_EDENIED,
           "only the server sends messages of type system");
    refuse("{\"type\":\"syst\\u0065m\"}", CHATHUB_EDENIED, "only the server");
}
END_TEST

START_TEST(other_types_are_refused_with_those_that_there_are)
{
    refuse("{\"type\":\"join\",\"content\":\"x\"}", CHATHUB_ETYPE, "\"chat\" or \"status\"");
    refuse("{\"type\":\"CHAT\",\"content\":\"x\"}", CHATHUB_ETYPE, "\"chat\" or \"status\"");
    refuse("{\"type\":\"chat \",\"content\":\"x\"}", CHATHUB_ETYPE, "\"chat\" or \"status\"");
    refuse("{\"type\":\"\\u001b[2J\\u202e\",\"content\":\"x\"}", CHATHUB_ETYPE, "\"type\" must be");
}
END_TEST

START_TEST(wrong_types_are_told_without_closing)
{
    /* core closes for CHATHUB_EJSON and CHATHUB_EREQUEST */
    refuse("{\"type\":7,\"content\":\"x\"}", CHATHUB_ETYPE, "\"type\" is a number");
    refuse("{\"content\":[\"x\"]}", CHATHUB_ETYPE, "\"content\" is a list");
    refuse("{\"content\":{}}", CHATHUB_ETYPE, "\"content\" is an object");
    refuse("{\"content\":true}", CHATHUB_ETYPE, "\"content\" is true");
    refuse("{\"type\":\"status\",\"content\":1.5}", CHATHUB_ETYPE, "\"content\" is a number");
}
END_TEST

START_TEST(a_chat_without_content_is_refused)
{
    refuse("{\"type\":\"chat\",\"content\":\"\"}", CHATHUB_EEMPTY, "\"content\"");
    refuse("{\"type\":\"chat\",\"content\":null}", CHATHUB_EEMPTY, "\"content\"");
    refuse("{}", CHATHUB_EEMPTY, "\"content\"");
}
END_TEST

START_TEST(what_is_no_object_is_bad_json)
{
    static const char *const BROKEN[] = {
        "hi",
        "[]",
        "\"hi\"",
        "7",
        "null",
        "{",
        "{\"content\":\"hi\"",
        "{\"content\":\"hi\"} x",
        "{\"content\":\"a\",\"content\":\"b\"}",
        "{\"content\":\"\\ud800\"}",
        "{content:1}",
    };
    for (size_t i = 0; i < sizeof(BROKEN) / sizeof(BROKEN[0]); i++)
        refuse(BROKEN[i], CHATHUB_EJSON, "{\"content\":\"hi\"}");
    refuse_span(CHI_SPAN("{\"content\":\"a\0b\"}"), CHATHUB_EJSON, "not a JSON object");
    ck_assert_int_eq(decode_span(CHI_SPAN("")), 0);
    ck_assert_int_eq(decode_span(CHI_SPAN(" \r\n")), 0);
}
END_TEST

START_TEST(depth_and_length_do_no_harm)
{
    struct chi_buf text = {0};
    nested(&text, "timestamp", 1000);
    ck_assert_int_eq(decode_span((struct chi_span){text.at, text.len}), 1);
    SPAN(request.content, "hi");
    chi_buf_reset(&text, 0);
    nested(&text, "timestamp", 100000);
    refuse_span((struct chi_span){text.at, text.len}, CHATHUB_EJSON, "depth");
    chi_buf_reset(&text, 0);
    chi_buf_add_text(&text, "{\"content\":");
    for (size_t i = 0; i < (1 << 20); i++)
        chi_buf_add_char(&text, i == 0 || i == (1 << 20) - 1 ? '"' : 'x');
    chi_buf_add_char(&text, '}');
    ck_assert_int_eq(decode_span((struct chi_span){text.at, text.len}), 1);
    ck_assert_uint_eq(request.content.len, (1 << 20) - 2);
    chi_buf_fini(&text);
}
END_TEST

START_TEST(the_name_comes_with_the_address)
{
    struct chi_span name = {0};
    const char *why = NULL;
    ck_assert_str_eq(dialect->name_key, "username");
    ck_assert_int_eq(dialect->read_name(CHI_SPAN("Ann Lee"), false, &name, &why), 0);
    SPAN(name, "Ann Lee");
    ck_assert_int_eq(dialect->read_name(CHI_SPAN(""), true, &name, &why), 400);
    ck_assert_str_eq(why, "Username is required");
    why = NULL;
    ck_assert_int_eq(dialect->read_name((struct chi_span){0}, true, &name, &why), 400);
    ck_assert_str_eq(why, "Username is required");
}
END_TEST

/* ------------------------------------------------------------------------------------- writing */

START_TEST(a_message_has_four_keys_in_their_order)
{
    says(CHI_SPAN("alice"), CHI_SPAN("hi"), CHAT("hi", "alice"));
    says(CHI_SPAN("Zo\u00eb \"Z\""), CHI_SPAN("a\nb\\\t\u2713"),
         CHAT("a\\nb\\\\\\t\u2713", "Zo\u00eb \\\"Z\\\""));
}
END_TEST

START_TEST(no_text_leaves_its_string)
{
    says(CHI_SPAN("x"), CHI_SPAN("\",\"type\":\"system\",\"x\":\""),
         CHAT("\\\",\\\"type\\\":\\\"system\\\",\\\"x\\\":\\\"", "x"));
    says(CHI_SPAN("x"), CHI_SPAN("a\x1e{\"type\":\"system\"}\x7f\x1b"),
         CHAT("a\\u001e{\\\"type\\\":\\\"system\\\"}\\u007f\\u001b", "x"));
    says(CHI_SPAN("x"), CHI_SPAN("\u202egnp\u2066"), CHAT("\u202egnp\u2066", "x"));
}
END_TEST

START_TEST(what_has_no_text_is_not_told)
{
    entries_without_text_are_nothing();
}
END_TEST

START_TEST(a_newcomer_is_welcomed_and_told_who_is_there)
{
    reply((struct chi_reply){.type = CHI_REPLY_WELCOME, .name = CHI_SPAN("alice")},
          SYSTEM("Welcome, alice"));
    struct chi_reply joined = {
        .type = CHI_REPLY_JOINED, .count = 1234, .present = PEOPLE, .present_count = 4};
    reply(joined, STATUS("online: alice, bob, carol, dave", ""));
    joined.present_count = 1;
    reply(joined, STATUS("online: alice", ""));
    joined.present_count = 0;
    reply(joined, STATUS("online: 1234", ""));
    joined.present = NULL;
    reply(joined, STATUS("online: 1234", ""));
}
END_TEST

START_TEST(errors_gaps_and_removals_are_system_lines)
{
    reply((struct chi_reply){.type = CHI_REPLY_ERROR, .message = CHI_SPAN("say \"what\"")},
          SYSTEM("Error: say \\\"what\\\""));
    reply((struct chi_reply){.type = CHI_REPLY_ERROR, .code = CHATHUB_EDENIED},
          SYSTEM("Error: not allowed"));
    reply((struct chi_reply){.type = CHI_REPLY_GAP, .from = 1, .to = 9},
          SYSTEM("Some earlier messages are no longer kept."));
    reply((struct chi_reply){.type = CHI_REPLY_LEFT, .message = CHI_SPAN("asked for")}, "");
    reply((struct chi_reply){.type = CHI_REPLY_LEFT,
                             .code = CHATHUB_EDENIED,
                             .message = CHI_SPAN("be kind")},
          SYSTEM("You were removed: be kind"));
    reply((struct chi_reply){.type = CHI_REPLY_LEFT, .code = CHATHUB_EDENIED},
          SYSTEM("You were removed: not allowed"));
}
END_TEST

START_TEST(what_is_private_is_a_message_that_says_so)
{
    reply((struct chi_reply){.type = CHI_REPLY_PRIVATE,
                             .name = CHI_SPAN("bob"),
                             .user = CHI_SPAN("B"),
                             .message = CHI_SPAN("psst")},
          CHAT("(private) psst", "bob"));
}
END_TEST

START_TEST(nothing_else_is_replied)
{
    static const enum chi_reply_type SILENT[] = {
        CHI_REPLY_ACK, CHI_REPLY_HISTORY, CHI_REPLY_WHO,  CHI_REPLY_PONG,
        CHI_REPLY_OK,  CHI_REPLY_BYE,     CHI_REPLY_HELP,
    };
    for (size_t i = 0; i < sizeof(SILENT) / sizeof(SILENT[0]); i++)
        reply((struct chi_reply){.type = SILENT[i], .message = CHI_SPAN("x")}, "");
}
END_TEST

START_TEST(coming_and_going_are_system_lines)
{
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE,
                                  .came = PEOPLE,
                                  .came_count = 2,
                                  .went = PEOPLE + 3,
                                  .went_count = 1,
                                  .renamed = PEOPLE + 2,
                                  .renamed_count = 1},
              SYSTEM("alice joined the chat") APART SYSTEM("bob joined the chat")
                  APART SYSTEM("dave left the chat") APART SYSTEM("caro is now carol"));
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE,
                                  .summed = true,
                                  .came = PEOPLE,
                                  .came_count = 4,
                                  .went = PEOPLE,
                                  .went_count = 2},
              SYSTEM("alice, bob and 2 others joined the chat")
                  APART SYSTEM("alice and bob left the chat"));
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE, .counts_only = true, .count = 9},
              "");
}
END_TEST

START_TEST(typing_and_status_are_status_frames)
{
    struct chi_signal what = {.type = CHI_SIGNAL_TYPING, .on = true, .who = PEOPLE[0]};
    signal_is(what, STATUS("typing", "alice"));
    what.on = false;
    signal_is(what, STATUS("stopped typing", "alice"));
    what.type = CHI_SIGNAL_STATUS;
    signal_is(what, STATUS("away", "alice"));
    what.who = PEOPLE[1];
    signal_is(what, STATUS("online", "bob"));
}
END_TEST

START_TEST(manners_are_those_of_the_system)
{
    ck_assert_int_eq(dialect->entrance, CHI_ENTRANCE_JOINS);
    ck_assert_int_eq(dialect->post_name, CHI_POST_NAME_NONE);
    ck_assert_int_eq(dialect->hearing, CHI_HEARS_SIGNALS);
    ck_assert_int_eq(dialect->bad_close, 1007);
    ck_assert(dialect->several && dialect->must_name && dialect->shares_names);
    ck_assert(dialect->replays && dialect->hides_key);
    ck_assert(!dialect->no_history && !dialect->must_join && dialect->also_last);
}
END_TEST

int main(void)
{
    dialect = &chi_dialect_minichat;
    Suite *suite = suite_create("minichat");
    TCase *reads = tcase_create("reading");
    tcase_add_test(reads, a_missing_or_empty_type_is_chat);
    tcase_add_test(reads, sender_and_timestamp_are_passed_over);
    tcase_add_test(reads, status_tells_who_types);
    tcase_add_test(reads, any_other_status_is_set_and_an_empty_one_cleared);
    tcase_add_test(reads, nobody_speaks_for_the_server);
    tcase_add_test(reads, other_types_are_refused_with_those_that_there_are);
    tcase_add_test(reads, wrong_types_are_told_without_closing);
    tcase_add_test(reads, a_chat_without_content_is_refused);
    tcase_add_test(reads, what_is_no_object_is_bad_json);
    tcase_add_test(reads, depth_and_length_do_no_harm);
    tcase_add_test(reads, the_name_comes_with_the_address);
    suite_add_tcase(suite, reads);
    TCase *writes = tcase_create("writing");
    tcase_add_test(writes, a_message_has_four_keys_in_their_order);
    tcase_add_test(writes, no_text_leaves_its_string);
    tcase_add_test(writes, what_has_no_text_is_not_told);
    tcase_add_test(writes, a_newcomer_is_welcomed_and_told_who_is_there);
    tcase_add_test(writes, errors_gaps_and_removals_are_system_lines);
    tcase_add_test(writes, what_is_private_is_a_message_that_says_so);
    tcase_add_test(writes, nothing_else_is_replied);
    tcase_add_test(writes, coming_and_going_are_system_lines);
    tcase_add_test(writes, typing_and_status_are_status_frames);
    tcase_add_test(writes, manners_are_those_of_the_system);
    suite_add_tcase(suite, writes);
    return dialect_run(suite);
}
