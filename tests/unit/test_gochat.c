/* Clients of gochat are at home: the first frame names them, and two keys come back. */
#include "dialect_world.h"

#define SAID(name, text) "{\"username\":\"" name "\",\"content\":\"" text "\"}\n"
#define SYSTEM(text)     SAID("System", text)

/* ------------------------------------------------------------------------------------- reading */

START_TEST(a_content_is_a_post_with_the_name)
{
    expect("{\"username\":\"alice\",\"content\":\"hi\"}", CHI_REQUEST_POST);
    SPAN(request.name, "alice");
    SPAN(request.content, "hi");
    ck_assert_ptr_null(request.room.at);
    ck_assert_ptr_null(request.data.at);
    ck_assert_ptr_null(request.cid.at);
    expect(" {\"x\":[{}],\"content\":\"\\u0068i\\n\",\"username\":\" Ann Lee \"}\n",
           CHI_REQUEST_POST);
    SPAN(request.name, " Ann Lee ");
    SPAN(request.content, "hi\n");
}
END_TEST

START_TEST(a_post_may_lack_the_name)
{
    static const char *const SAME[] = {
        "{\"content\":\"hi\"}",
        "{\"username\":\"\",\"content\":\"hi\"}",
        "{\"username\":null,\"content\":\"hi\"}",
    };
    for (size_t i = 0; i < sizeof(SAME) / sizeof(SAME[0]); i++) {
        expect(SAME[i], CHI_REQUEST_POST);
        SPAN(request.content, "hi");
        ck_assert_ptr_null(request.name.at);
    }
}
END_TEST

START_TEST(without_content_it_is_who_comes)
{
    static const char *const SAME[] = {
        "{\"username\":\"alice\"}",
        "{\"username\":\"alice\",\"content\":\"\"}",
        "{\"username\":\"alice\",\"content\":null}",
    };
    for (size_t i = 0; i < sizeof(SAME) / sizeof(SAME[0]); i++) {
        expect(SAME[i], CHI_REQUEST_HELLO);
        SPAN(request.name, "alice");
        ck_assert_ptr_null(request.session.at);
        ck_assert_uint_eq(request.resume_count, 1);
        ck_assert_ptr_null(request.resume[0].room.at);
        ck_assert_int_eq(request.resume[0].start.kind, CHI_START_DEFAULT);
        ck_assert_ptr_null(request.resume[0].start.epoch.at);
    }
    expect("{}", CHI_REQUEST_HELLO);
    ck_assert_ptr_null(request.name.at);
    ck_assert_uint_eq(request.resume_count, 1);
}
END_TEST

START_TEST(wrong_types_close)
{
    /* core closes for CHATHUB_EREQUEST as for CHATHUB_EJSON */
    refuse("{\"username\":7,\"content\":\"x\"}", CHATHUB_EREQUEST, "\"username\" is a number");
    refuse("{\"username\":[\"a\"]}", CHATHUB_EREQUEST, "\"username\" is a list");
    refuse("{\"username\":\"a\",\"content\":{}}", CHATHUB_EREQUEST, "\"content\" is an object");
    refuse("{\"username\":\"a\",\"content\":false}", CHATHUB_EREQUEST, "\"content\" is false");
}
END_TEST

START_TEST(what_is_no_object_is_bad_json)
{
    static const char *const BROKEN[] = {
        "alice",
        "[]",
        "\"alice\"",
        "7",
        "null",
        "{",
        "{\"username\":\"a\"} x",
        "{\"username\":\"a\",\"username\":\"b\"}",
        "{\"username\":\"\\udc00\"}",
        "{'username':1}",
    };
    for (size_t i = 0; i < sizeof(BROKEN) / sizeof(BROKEN[0]); i++)
        refuse(BROKEN[i], CHATHUB_EJSON, "{\"username\":\"alice\",\"content\":\"hi\"}");
    refuse_span(CHI_SPAN("{\"username\":\"a\0b\"}"), CHATHUB_EJSON, "not a JSON object");
    ck_assert_int_eq(decode_span(CHI_SPAN("")), 0);
    ck_assert_int_eq(decode_span(CHI_SPAN("\t\n")), 0);
}
END_TEST

START_TEST(depth_does_no_harm)
{
    struct chi_buf text = {0};
    nested(&text, "x", 1000);
    ck_assert_int_eq(decode_span((struct chi_span){text.at, text.len}), 1);
    SPAN(request.content, "hi");
    chi_buf_reset(&text, 0);
    nested(&text, "x", 100000);
    refuse_span((struct chi_span){text.at, text.len}, CHATHUB_EJSON, "depth");
    chi_buf_fini(&text);
}
END_TEST

/* ------------------------------------------------------------------------------------- writing */

START_TEST(a_message_has_two_keys_in_their_order)
{
    says(CHI_SPAN("alice"), CHI_SPAN("hi"), SAID("alice", "hi"));
    says(CHI_SPAN("Zo\u00eb \"Z\""), CHI_SPAN("a\nb\\\t\u2713"),
         SAID("Zo\u00eb \\\"Z\\\"", "a\\nb\\\\\\t\u2713"));
}
END_TEST

START_TEST(no_text_leaves_its_string)
{
    says(CHI_SPAN("x"), CHI_SPAN("\"}\n{\"username\":\"System\",\"content\":\"y"),
         SAID("x", "\\\"}\\n{\\\"username\\\":\\\"System\\\",\\\"content\\\":\\\"y"));
    says(CHI_SPAN("x\",\"username\":\"System"), CHI_SPAN("a\x1e\x7f\x1b\u202e"),
         SAID("x\\\",\\\"username\\\":\\\"System", "a\\u001e\\u007f\\u001b\u202e"));
}
END_TEST

START_TEST(what_has_no_text_is_not_told)
{
    entries_without_text_are_nothing();
}
END_TEST

START_TEST(errors_gaps_and_removals_come_from_the_system)
{
    reply((struct chi_reply){.type = CHI_REPLY_ERROR, .message = CHI_SPAN("say \"what\"\n")},
          SYSTEM("Error: say \\\"what\\\"\\n"));
    reply((struct chi_reply){.type = CHI_REPLY_ERROR, .code = CHATHUB_EDENIED},
          SYSTEM("Error: not allowed"));
    reply((struct chi_reply){.type = CHI_REPLY_ERROR,
                             .code = CHATHUB_ENAMEREQUIRED,
                             .message = CHI_SPAN("say hello first")},
          SYSTEM("Error: Username is required in first message"));
    reply((struct chi_reply){.type = CHI_REPLY_GAP, .from = 1, .to = 9},
          SYSTEM("Some earlier messages are no longer kept."));
    reply((struct chi_reply){.type = CHI_REPLY_LEFT}, "");
    reply((struct chi_reply){.type = CHI_REPLY_LEFT,
                             .code = CHATHUB_EDENIED,
                             .message = CHI_SPAN("be kind")},
          SYSTEM("You were removed: be kind"));
}
END_TEST

START_TEST(what_is_private_is_a_message_that_says_so)
{
    reply((struct chi_reply){.type = CHI_REPLY_PRIVATE,
                             .name = CHI_SPAN("bob"),
                             .message = CHI_SPAN("psst")},
          SAID("bob", "(private) psst"));
}
END_TEST

START_TEST(nothing_else_is_replied)
{
    static const enum chi_reply_type SILENT[] = {
        CHI_REPLY_WELCOME, CHI_REPLY_ACK, CHI_REPLY_JOINED, CHI_REPLY_HISTORY, CHI_REPLY_WHO,
        CHI_REPLY_PONG,    CHI_REPLY_OK,  CHI_REPLY_BYE,    CHI_REPLY_HELP,
    };
    for (size_t i = 0; i < sizeof(SILENT) / sizeof(SILENT[0]); i++)
        reply((struct chi_reply){.type = SILENT[i],
                                 .name = CHI_SPAN("x"),
                                 .message = CHI_SPAN("x"),
                                 .present = PEOPLE,
                                 .present_count = 1},
              "");
}
END_TEST

START_TEST(coming_and_going_come_from_the_system)
{
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE,
                                  .came = PEOPLE,
                                  .came_count = 1,
                                  .went = PEOPLE + 1,
                                  .went_count = 1,
                                  .renamed = PEOPLE + 2,
                                  .renamed_count = 1},
              SYSTEM("alice joined the chat") APART SYSTEM("bob left the chat")
                  APART SYSTEM("caro is now carol"));
    signal_is(
        (struct chi_signal){
            .type = CHI_SIGNAL_PRESENCE, .summed = true, .came = PEOPLE, .came_count = 4},
        SYSTEM("alice, bob and 2 others joined the chat"));
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
    ck_assert_int_eq(dialect->entrance, CHI_ENTRANCE_SILENT);
    ck_assert_int_eq(dialect->post_name, CHI_POST_NAME_ONCE);
    ck_assert_int_eq(dialect->hearing, CHI_HEARS_SIGNALS);
    ck_assert_int_eq(dialect->bad_close, 1007);
    ck_assert(dialect->several && dialect->must_name && dialect->shares_names);
    ck_assert(dialect->replays && dialect->no_history && dialect->hides_key);
    ck_assert(!dialect->greets && !dialect->must_join && !dialect->also_last);
    ck_assert(!dialect->name_key && !dialect->read_name);
}
END_TEST

int main(void)
{
    dialect = &chi_dialect_gochat;
    Suite *suite = suite_create("gochat");
    TCase *reads = tcase_create("reading");
    tcase_add_test(reads, a_content_is_a_post_with_the_name);
    tcase_add_test(reads, a_post_may_lack_the_name);
    tcase_add_test(reads, without_content_it_is_who_comes);
    tcase_add_test(reads, wrong_types_close);
    tcase_add_test(reads, what_is_no_object_is_bad_json);
    tcase_add_test(reads, depth_does_no_harm);
    suite_add_tcase(suite, reads);
    TCase *writes = tcase_create("writing");
    tcase_add_test(writes, a_message_has_two_keys_in_their_order);
    tcase_add_test(writes, no_text_leaves_its_string);
    tcase_add_test(writes, what_has_no_text_is_not_told);
    tcase_add_test(writes, errors_gaps_and_removals_come_from_the_system);
    tcase_add_test(writes, what_is_private_is_a_message_that_says_so);
    tcase_add_test(writes, nothing_else_is_replied);
    tcase_add_test(writes, coming_and_going_come_from_the_system);
    tcase_add_test(writes, typing_and_status_are_not_told);
    tcase_add_test(writes, manners_are_those_of_the_system);
    suite_add_tcase(suite, writes);
    return dialect_run(suite);
}
