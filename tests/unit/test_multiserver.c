/* Clients of multiserver are at home: plain texts in and out, of which only the server's own begin
 * with SYSTEM_MSG: */
#include "dialect_world.h"

/* ------------------------------------------------------------------------------------- reading */

static void reads(const char *text, const char *content, const char *name)
{
    expect(text, CHI_REQUEST_POST);
    SPAN(request.content, content);
    SPAN(request.name, name);
    ck_assert_ptr_null(request.room.at);
    ck_assert_ptr_null(request.data.at);
    ck_assert_ptr_null(request.cid.at);
    ck_assert(name[0] || !request.name.at);
}

START_TEST(a_text_is_what_is_said_and_a_name)
{
    reads("alice", "alice", "alice");
    reads(" \tAnn Lee \r", " \tAnn Lee \r", "Ann Lee");
    reads("{\"content\":\"hi\"}", "{\"content\":\"hi\"}", "{\"content\":\"hi\"}");
    reads("/nick bob", "/nick bob", "/nick bob");
}
END_TEST

START_TEST(one_line_end_is_dropped)
{
    reads("hi\n", "hi", "hi");
    reads("hi\r\n", "hi", "hi");
    reads("hi\n\n", "hi\n", "hi\n");
    reads("a\nb", "a\nb", "a\nb");
    reads("\nhi", "\nhi", "\nhi");
}
END_TEST

START_TEST(an_empty_text_says_nothing_and_names_nobody)
{
    reads("", "", "");
    reads("\n", "", "");
    reads("\r\n", "", "");
    reads(" \t ", " \t ", "");
}
END_TEST

START_TEST(the_hub_judges_what_the_text_holds)
{
    reads("SYSTEM_MSG:bob has left the chat", "SYSTEM_MSG:bob has left the chat",
          "SYSTEM_MSG:bob has left the chat");
    ck_assert_int_eq(decode_span(CHI_SPAN("a\0b")), 1);
    ck_assert_uint_eq(request.content.len, 3);
    struct chi_buf text = {0};
    for (size_t i = 0; i < (1 << 20); i++)
        chi_buf_add_char(&text, 'x');
    ck_assert_int_eq(decode_span((struct chi_span){text.at, text.len}), 1);
    ck_assert_uint_eq(request.content.len, 1 << 20);
    ck_assert_uint_eq(request.name.len, 1 << 20);
    chi_buf_fini(&text);
    reads("short", "short", "short");
}
END_TEST

/* ------------------------------------------------------------------------------------- writing */

START_TEST(a_message_is_one_line)
{
    says(CHI_SPAN("alice"), CHI_SPAN("hi"), "alice: hi");
    says(CHI_SPAN("alice"), CHI_SPAN("SYSTEM_MSG:bob has left the chat"),
         "alice: SYSTEM_MSG:bob has left the chat");
    says(CHI_SPAN("alice"), CHI_SPAN("one\nSYSTEM_MSG:two\r\nthree\tfour\u2028five"),
         "alice: one \u23ce SYSTEM_MSG:two \u23ce three four \u23ce five");
    says(CHI_SPAN("alice"), CHI_SPAN("\x1b[2J\x1e\x7f\u202egnp\u2066"),
         "alice: \\u001b[2J\\u001e\\u007f\\u202egnp\\u2066");
}
END_TEST

START_TEST(no_name_makes_a_message_another)
{
    says(CHI_SPAN("SYSTEM_MSG"), CHI_SPAN("x"), "\"SYSTEM_MSG\": x");
    says(CHI_SPAN("SYSTEM_MSG:x"), CHI_SPAN("y"), "\"SYSTEM_MSG:x\": y");
    says(CHI_SPAN("bob: hi"), CHI_SPAN("y"), "\"bob: hi\": y");
    says(CHI_SPAN("\"a\""), CHI_SPAN("y"), "\"\\\"a\\\"\": y");
    says(CHI_SPAN("a \"b\" (c)"), CHI_SPAN("y"), "a \"b\" (c): y");
    says(CHI_SPAN("a\nb\u202e"), CHI_SPAN("y"), "a \u23ce b\\u202e: y");
}
END_TEST

START_TEST(what_has_no_text_is_not_told)
{
    entries_without_text_are_nothing();
}
END_TEST

START_TEST(a_newcomer_is_asked_for_a_name_and_told_that_it_is_set)
{
    reply((struct chi_reply){.type = CHI_REPLY_WELCOME, .server = CHI_SPAN("chat1")},
          "SYSTEM_MSG:Welcome to chat server chat1! Please type your username to begin.");
    reply((struct chi_reply){.type = CHI_REPLY_WELCOME,
                             .server = CHI_SPAN("chat1"),
                             .name = CHI_SPAN("alice")},
          "SYSTEM_MSG:Username set to alice. Welcome to the chat!");
    reply((struct chi_reply){.type = CHI_REPLY_WELCOME, .name = CHI_SPAN("a:b")},
          "SYSTEM_MSG:Username set to \"a:b\". Welcome to the chat!");
}
END_TEST

START_TEST(errors_gaps_and_removals_are_system_lines)
{
    reply((struct chi_reply){.type = CHI_REPLY_ERROR, .message = CHI_SPAN("not\nthis\x1e")},
          "SYSTEM_MSG:Error: not \u23ce this\\u001e");
    reply((struct chi_reply){.type = CHI_REPLY_ERROR, .code = CHATHUB_EDENIED},
          "SYSTEM_MSG:Error: not allowed");
    reply((struct chi_reply){.type = CHI_REPLY_ERROR,
                             .code = CHATHUB_ENAMEREQUIRED,
                             .message = CHI_SPAN("say hello first")},
          "SYSTEM_MSG:Error: please type your username");
    reply((struct chi_reply){.type = CHI_REPLY_GAP, .from = 1, .to = 9},
          "SYSTEM_MSG:Some earlier messages are no longer kept.");
    reply((struct chi_reply){.type = CHI_REPLY_LEFT}, "");
    reply((struct chi_reply){.type = CHI_REPLY_LEFT,
                             .code = CHATHUB_EDENIED,
                             .message = CHI_SPAN("be kind")},
          "SYSTEM_MSG:You were removed: be kind");
}
END_TEST

START_TEST(what_is_private_is_a_message_that_says_so)
{
    reply((struct chi_reply){.type = CHI_REPLY_PRIVATE,
                             .name = CHI_SPAN("bob"),
                             .message = CHI_SPAN("psst\nbob: hi")},
          "SYSTEM_MSG:(private) bob: psst \u23ce bob: hi");
}
END_TEST

START_TEST(nothing_else_is_replied)
{
    static const enum chi_reply_type SILENT[] = {
        CHI_REPLY_ACK,  CHI_REPLY_JOINED, CHI_REPLY_HISTORY, CHI_REPLY_WHO,
        CHI_REPLY_PONG, CHI_REPLY_OK,     CHI_REPLY_BYE,     CHI_REPLY_HELP,
    };
    for (size_t i = 0; i < sizeof(SILENT) / sizeof(SILENT[0]); i++)
        reply(
            (struct chi_reply){
                .type = SILENT[i], .message = CHI_SPAN("x"), .present = PEOPLE, .present_count = 1},
            "");
}
END_TEST

START_TEST(coming_and_going_are_system_lines)
{
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE,
                                  .came = PEOPLE,
                                  .came_count = 2,
                                  .went = PEOPLE + 2,
                                  .went_count = 2,
                                  .renamed = PEOPLE + 2,
                                  .renamed_count = 1},
              "SYSTEM_MSG:alice has joined the chat" APART
              "SYSTEM_MSG:bob has joined the chat" APART "SYSTEM_MSG:carol has left the chat" APART
              "SYSTEM_MSG:dave has left the chat" APART "SYSTEM_MSG:caro is now carol");
    static const struct chi_present sly = {.name = {"a has left the chat\x1eSYSTEM_MSG:b", 32}};
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE, .came = &sly, .came_count = 1},
              "SYSTEM_MSG:\"a has left the chat\\u001eSYSTEM_MSG:b\" has joined the chat");
}
END_TEST

START_TEST(crowds_are_summed_up)
{
    struct chi_signal crowd = {.type = CHI_SIGNAL_PRESENCE,
                               .summed = true,
                               .came = PEOPLE,
                               .came_count = 4,
                               .went = PEOPLE,
                               .went_count = 2};
    signal_is(crowd, "SYSTEM_MSG:alice, bob and 2 others have joined the chat" APART
                     "SYSTEM_MSG:alice and bob have left the chat");
    crowd.came_count = crowd.went_count = 1;
    signal_is(crowd,
              "SYSTEM_MSG:alice has joined the chat" APART "SYSTEM_MSG:alice has left the chat");
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE, .counts_only = true, .count = 9},
              "");
}
END_TEST

START_TEST(typing_and_status_are_not_told)
{
    signal_is((struct chi_signal){.type = CHI_SIGNAL_TYPING, .on = true, .who = PEOPLE[0]}, "");
    signal_is((struct chi_signal){.type = CHI_SIGNAL_STATUS, .who = PEOPLE[0]}, "");
}
END_TEST

START_TEST(manners_are_those_of_the_system)
{
    ck_assert_int_eq(dialect->entrance, CHI_ENTRANCE_OBSERVES);
    ck_assert_int_eq(dialect->post_name, CHI_POST_NAME_WHOLE);
    ck_assert_int_eq(dialect->hearing, CHI_HEARS_SIGNALS);
    ck_assert_int_eq(dialect->bad_close, 0);
    ck_assert(dialect->several && dialect->greets && dialect->shares_names);
    ck_assert(dialect->no_history && dialect->hides_key);
    ck_assert(!dialect->must_name && !dialect->replays && !dialect->must_join);
    ck_assert(!dialect->name_key && !dialect->read_name);
}
END_TEST

int main(void)
{
    dialect = &chi_dialect_multiserver;
    Suite *suite = suite_create("multiserver");
    TCase *reading = tcase_create("reading");
    tcase_add_test(reading, a_text_is_what_is_said_and_a_name);
    tcase_add_test(reading, one_line_end_is_dropped);
    tcase_add_test(reading, an_empty_text_says_nothing_and_names_nobody);
    tcase_add_test(reading, the_hub_judges_what_the_text_holds);
    suite_add_tcase(suite, reading);
    TCase *writes = tcase_create("writing");
    tcase_add_test(writes, a_message_is_one_line);
    tcase_add_test(writes, no_name_makes_a_message_another);
    tcase_add_test(writes, what_has_no_text_is_not_told);
    tcase_add_test(writes, a_newcomer_is_asked_for_a_name_and_told_that_it_is_set);
    tcase_add_test(writes, errors_gaps_and_removals_are_system_lines);
    tcase_add_test(writes, what_is_private_is_a_message_that_says_so);
    tcase_add_test(writes, nothing_else_is_replied);
    tcase_add_test(writes, coming_and_going_are_system_lines);
    tcase_add_test(writes, crowds_are_summed_up);
    tcase_add_test(writes, typing_and_status_are_not_told);
    tcase_add_test(writes, manners_are_those_of_the_system);
    suite_add_tcase(suite, writes);
    return dialect_run(suite);
}
