/* People at plain lines can talk and are told what happens; no text controls their terminal. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "chathub.h"
#include "dialect/dialect.h"

static struct chi_buf scratch, out;
static struct chi_request request;
static struct chi_decode_error error;

static int decode(const char *line)
{
    char *copy = strdup(line);
    ck_assert_ptr_nonnull(copy);
    int result =
        chi_dialect_human.decode(&scratch, (struct chi_span){copy, strlen(copy)}, &request, &error);
    free(copy);
    return result;
}

static void expect(const char *line, enum chi_request_type type)
{
    ck_assert_msg(decode(line) == 1, "%s: %s", line, error.message);
    ck_assert_int_eq(request.type, type);
}

#define SPAN(span, text)                                                                           \
    ck_assert_msg(chi_span_is(span, text), "%.*s", (int)(span).len,                                \
                  (span).at ? (span).at : "(none)")

static void shows(const char *text)
{
    ck_assert(!out.failed);
    ck_assert_msg(chi_span_is((struct chi_span){out.at, out.len}, text), "%.*s\nis not\n%s",
                  (int)out.len, out.at ? out.at : "", text);
    chi_buf_reset(&out, 0);
}

static void reply(struct chi_reply what, const char *text)
{
    chi_dialect_human.encode_reply(&out, &what);
    shows(text);
}

static void signal_is(struct chi_signal what, const char *text)
{
    chi_dialect_human.encode_signal(&out, &what);
    shows(text);
}

static void says(struct chi_span sender, struct chi_span content, const char *text)
{
    struct chi_entry_parts parts = {.sender = sender, .user = CHI_SPAN("ID"), .content = content};
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    ck_assert_ptr_nonnull(entry);
    chi_dialect_human.encode_entry(&out, CHI_SPAN("general"), entry);
    chi_entry_unref(entry);
    shows(text);
}

START_TEST(a_line_is_said_in_the_room)
{
    expect("hello there \r", CHI_REQUEST_POST);
    SPAN(request.content, "hello there ");
    ck_assert_ptr_null(request.room.at);
    expect("  two spaces", CHI_REQUEST_POST);
    SPAN(request.content, "  two spaces");
    expect("//shrug", CHI_REQUEST_POST);
    SPAN(request.content, "/shrug");
    ck_assert_int_eq(decode(""), 0);
    ck_assert_int_eq(decode(" \t\r"), 0);
}
END_TEST

START_TEST(commands_are_requests)
{
    expect("/nick  Ann Lee ", CHI_REQUEST_HELLO);
    SPAN(request.name, "Ann Lee");
    expect("/join my room", CHI_REQUEST_JOIN);
    SPAN(request.room, "my room");
    expect("/leave", CHI_REQUEST_LEAVE);
    ck_assert_ptr_null(request.room.at);
    expect("/leave dev\r", CHI_REQUEST_LEAVE);
    SPAN(request.room, "dev");
    expect("/say dev  hello you", CHI_REQUEST_POST);
    SPAN(request.room, "dev");
    SPAN(request.content, "hello you");
    expect("/who", CHI_REQUEST_WHO);
    expect("/history dev", CHI_REQUEST_HISTORY);
    expect("/help", CHI_REQUEST_HELP);
    expect("/quit", CHI_REQUEST_HELP);
}
END_TEST

START_TEST(a_command_that_cannot_be_done_says_why)
{
    ck_assert_int_eq(decode("/nick"), CHATHUB_EREQUEST);
    ck_assert_ptr_nonnull(strstr(error.message, "/nick NAME"));
    ck_assert_int_eq(decode("/join "), CHATHUB_EREQUEST);
    ck_assert_int_eq(decode("/say dev"), CHATHUB_EREQUEST);
    ck_assert_int_eq(decode("/"), CHATHUB_ETYPE);
    ck_assert_int_eq(decode("/frob x"), CHATHUB_ETYPE);
    ck_assert_ptr_nonnull(strstr(error.message, "/help"));
    ck_assert_int_eq(error.code, CHATHUB_ETYPE);
}
END_TEST

START_TEST(an_entry_is_one_line)
{
    says(CHI_SPAN("alice"), CHI_SPAN("hi"), "[general] alice: hi");
    says(CHI_SPAN("alice"), CHI_SPAN("one\ntwo\r\nthree\tfour"),
         "[general] alice: one \u23ce two \u23ce three four");
    says(CHI_SPAN("alice"), CHI_SPAN("x\u2028y"), "[general] alice: x \u23ce y");
    says(CHI_SPAN(""), CHI_SPAN(""), "[general] (removed)");
}
END_TEST

START_TEST(no_text_controls_a_terminal)
{
    says(CHI_SPAN("a"), CHI_SPAN("\x1b[2J\x07\x7f"), "[general] a: \\u001b[2J\\u0007\\u007f");
    says(CHI_SPAN("a"),
         CHI_SPAN("\xc2\x9b"
                  "31m"),
         "[general] a: \\u009b31m");
    says(CHI_SPAN("a"), CHI_SPAN("\u202egnp.exe\u2066\u200f\u061c"),
         "[general] a: \\u202egnp.exe\\u2066\\u200f\\u061c");
    says(CHI_SPAN("a"), CHI_SPAN("b\rc"), "[general] a: b\\u000dc");
    says(CHI_SPAN("a"), CHI_SPAN("caf\u00e9 \u2713 \U0001f600"),
         "[general] a: caf\u00e9 \u2713 \U0001f600");
    reply((struct chi_reply){.type = CHI_REPLY_ERROR, .message = CHI_SPAN("\x1b]0;x")},
          "! \\u001b]0;x");
}
END_TEST

static const struct chi_present PEOPLE[] = {
    {.name = {"alice", 5}, .status = {"away", 4}},
    {.name = {"bob", 3}},
};

START_TEST(replies_are_lines)
{
    reply((struct chi_reply){.type = CHI_REPLY_WELCOME, .name = CHI_SPAN("bob")},
          "* you are bob (type /help for help)");
    reply((struct chi_reply){.type = CHI_REPLY_WELCOME, .name = CHI_SPAN("rob"), .renamed = true},
          "* you are now rob");
    reply((struct chi_reply){.type = CHI_REPLY_WELCOME},
          "* welcome; choose a name with /nick NAME (type /help for help)");
    reply((struct chi_reply){.type = CHI_REPLY_JOINED,
                             .room = CHI_SPAN("general"),
                             .count = 2,
                             .present = PEOPLE,
                             .present_count = 2},
          "* you joined general (2 here: alice (away), bob)");
    reply((struct chi_reply){.type = CHI_REPLY_WHO,
                             .room = CHI_SPAN("general"),
                             .count = 9,
                             .present = PEOPLE + 1,
                             .present_count = 1},
          "* general (9 here: bob)");
    reply((struct chi_reply){.type = CHI_REPLY_LEFT, .room = CHI_SPAN("general")},
          "* you left general");
    reply((struct chi_reply){.type = CHI_REPLY_ERROR, .code = CHATHUB_EDENIED}, "! not allowed");
    reply((struct chi_reply){.type = CHI_REPLY_GAP, .room = CHI_SPAN("general")},
          "* some messages of general are no longer kept");
    reply((struct chi_reply){.type = CHI_REPLY_BYE, .message = CHI_SPAN("back soon")},
          "* goodbye: back soon");
    reply((struct chi_reply){.type = CHI_REPLY_PRIVATE,
                             .room = CHI_SPAN("general"),
                             .name = CHI_SPAN("al: ice"),
                             .message = CHI_SPAN("one\ntwo\x1b")},
          "[general] (private) \"al: ice\": one \u23ce two\\u001b");
    reply((struct chi_reply){.type = CHI_REPLY_ACK, .room = CHI_SPAN("general")}, "");
    reply((struct chi_reply){.type = CHI_REPLY_OK}, "");
}
END_TEST

START_TEST(history_is_told_line_by_line)
{
    struct chi_entry_parts parts = {.sender = CHI_SPAN("a"), .content = CHI_SPAN("x")};
    struct chi_entry *list[] = {chi_entry_new(CHI_ENTRY_CHAT, &parts)};
    ck_assert_ptr_nonnull(list[0]);
    reply((struct chi_reply){.type = CHI_REPLY_HISTORY,
                             .room = CHI_SPAN("general"),
                             .entries = list,
                             .entry_count = 1},
          "* history of general\n[general] a: x\n* end of history");
    chi_entry_unref(list[0]);
    reply((struct chi_reply){.type = CHI_REPLY_HISTORY, .room = CHI_SPAN("general")},
          "* nothing is kept of general");
}
END_TEST

START_TEST(help_names_every_command)
{
    struct chi_reply help = {.type = CHI_REPLY_HELP};
    chi_dialect_human.encode_reply(&out, &help);
    chi_buf_add_char(&out, '\0');
    static const char *const WORDS[] = {"/nick",    "/join", "/say",  "/leave", "/who",
                                        "/history", "//",    "/help", "ctrl-d"};
    for (size_t i = 0; i < sizeof(WORDS) / sizeof(WORDS[0]); i++)
        ck_assert_msg(strstr(out.at, WORDS[i]) != NULL, "%s", WORDS[i]);
    chi_buf_reset(&out, 0);
}
END_TEST

START_TEST(comings_and_goings_are_lines)
{
    struct chi_present renamed = {.name = CHI_SPAN("cy"), .was = CHI_SPAN("c")};
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE,
                                  .room = CHI_SPAN("general"),
                                  .count = 3,
                                  .came = PEOPLE + 1,
                                  .came_count = 1,
                                  .went = PEOPLE + 1,
                                  .went_count = 1,
                                  .renamed = &renamed,
                                  .renamed_count = 1},
              "* bob joined general (3 here)\n* bob left general (3 here)\n* c is now cy");
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE,
                                  .room = CHI_SPAN("general"),
                                  .count = 2,
                                  .snapshot = true,
                                  .came = PEOPLE,
                                  .came_count = 2},
              "* general (2 here: alice (away), bob)");
    signal_is((struct chi_signal){.type = CHI_SIGNAL_PRESENCE,
                                  .room = CHI_SPAN("general"),
                                  .count = 5000,
                                  .counts_only = true},
              "");
    signal_is((struct chi_signal){.type = CHI_SIGNAL_TYPING, .who = PEOPLE[0], .on = true}, "");
    signal_is((struct chi_signal){.type = CHI_SIGNAL_STATUS, .who = PEOPLE[0]},
              "* alice is now: away");
    signal_is((struct chi_signal){.type = CHI_SIGNAL_STATUS, .who = PEOPLE[1]},
              "* bob has no status any more");
}
END_TEST

START_TEST(a_crowd_is_counted_rather_than_named)
{
    struct chi_present crowd[100];
    for (int i = 0; i < 100; i++)
        crowd[i] = (struct chi_present){.name = CHI_SPAN("x")};
    struct chi_signal came = {.type = CHI_SIGNAL_PRESENCE,
                              .room = CHI_SPAN("r"),
                              .count = 100,
                              .came = crowd,
                              .came_count = 100};
    chi_dialect_human.encode_signal(&out, &came);
    chi_buf_add_char(&out, '\0');
    ck_assert_ptr_nonnull(strstr(out.at, "x and 70 more joined r (100 here)"));
    chi_buf_reset(&out, 0);
}
END_TEST

START_TEST(no_name_passes_for_a_sender_with_words)
{
    struct chi_present forger = {.name = CHI_SPAN("bob: hi"), .user = CHI_SPAN("u")};
    struct chi_present quoted = {.name = CHI_SPAN("a\"b"), .user = CHI_SPAN("v")};
    struct chi_present both[] = {forger, quoted};
    struct chi_signal came = {.type = CHI_SIGNAL_PRESENCE,
                              .room = CHI_SPAN("r] x"),
                              .count = 2,
                              .came = both,
                              .came_count = 2};
    chi_dialect_human.encode_signal(&out, &came);
    chi_buf_add_char(&out, '\0');
    ck_assert_ptr_nonnull(strstr(out.at, "\"bob: hi\", \"a\\\"b\" joined \"r] x\""));
    chi_buf_reset(&out, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("human");
    tcase_add_test(tests, a_line_is_said_in_the_room);
    tcase_add_test(tests, commands_are_requests);
    tcase_add_test(tests, a_command_that_cannot_be_done_says_why);
    tcase_add_test(tests, an_entry_is_one_line);
    tcase_add_test(tests, no_text_controls_a_terminal);
    tcase_add_test(tests, replies_are_lines);
    tcase_add_test(tests, history_is_told_line_by_line);
    tcase_add_test(tests, help_names_every_command);
    tcase_add_test(tests, comings_and_goings_are_lines);
    tcase_add_test(tests, a_crowd_is_counted_rather_than_named);
    tcase_add_test(tests, no_name_passes_for_a_sender_with_words);
    Suite *suite = suite_create("human");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    chi_buf_fini(&scratch);
    chi_buf_fini(&out);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
