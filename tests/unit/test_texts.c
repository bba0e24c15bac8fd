/* What several dialects say is put into the same words, and no text passes for what it is not. */
#include "unit.h"

#include <string.h>

#include "chathub.h"
#include "dialect/texts.h"

static struct chi_buf out;

static void shows(const char *text)
{
    ck_assert(!out.failed);
    ck_assert_msg(chi_span_is((struct chi_span){out.at, out.len}, text), "%.*s\nis not\n%s",
                  (int)out.len, out.at ? out.at : "", text);
    chi_buf_reset(&out, 0);
}

static const struct chi_present PEOPLE[] = {
    {.name = {"alice", 5}, .was = {"al", 2}},
    {.name = {"b:ob", 4}},
    {.name = {"carol", 5}},
    {.name = {"dave", 4}},
    {.name = {"eve", 3}},
};

START_TEST(a_text_stays_on_its_line)
{
    chi_text_line(&out, CHI_SPAN("a\nb\r\nc\td\u2028e\x1b[2J\u202e\u2713"));
    shows("a \u23ce b \u23ce c d \u23ce e\\u001b[2J\\u202e\u2713");
    chi_text_line(&out, (struct chi_span){0});
    shows("");
}
END_TEST

START_TEST(a_name_that_could_be_more_than_a_name_is_quoted)
{
    chi_text_name(&out, CHI_SPAN("Ann Lee"));
    shows("Ann Lee");
    chi_text_name(&out, CHI_SPAN("a: \"hi\"\n"));
    shows("\"a: \\\"hi\\\" \u23ce \"");
}
END_TEST

START_TEST(blanks_around_a_text_are_taken_off)
{
    ck_assert(chi_span_is(chi_text_trim(CHI_SPAN(" \t a b\r ")), "a b"));
    ck_assert_uint_eq(chi_text_trim(CHI_SPAN(" \t\r")).len, 0);
    ck_assert_uint_eq(chi_text_trim((struct chi_span){0}).len, 0);
}
END_TEST

START_TEST(many_people_are_summed_up)
{
    chi_text_people(&out, PEOPLE, 1);
    shows("alice");
    chi_text_people(&out, PEOPLE, 2);
    shows("alice and \"b:ob\"");
    chi_text_people(&out, PEOPLE, 3);
    shows("alice, \"b:ob\" and carol");
    chi_text_people(&out, PEOPLE, 4);
    shows("alice, \"b:ob\" and 2 others");
    chi_text_people(&out, PEOPLE, 5);
    shows("alice, \"b:ob\" and 3 others");
}
END_TEST

/* ----------------------------------------------------------------------------- coming and going */

static void say(struct chi_buf *to, const struct chi_signal *signal, struct chi_span text)
{
    chi_buf_add_char(to, '<');
    chi_buf_add_u64(to, signal->time);
    chi_buf_add_char(to, ' ');
    chi_buf_add(to, text.at, text.len);
    chi_buf_add_char(to, '>');
}

static const struct chi_news NEWS = {.came = " came", .went = " went", .say = say};

static void news(struct chi_signal signal, const char *text)
{
    signal.type = signal.type ? signal.type : CHI_SIGNAL_PRESENCE;
    signal.time = 7;
    chi_text_news(&out, &signal, &NEWS);
    shows(text);
}

START_TEST(each_who_comes_or_goes_has_a_frame)
{
    news((struct chi_signal){.came = PEOPLE, .came_count = 1}, "<7 alice came>");
    news((struct chi_signal){.came = PEOPLE,
                             .came_count = 2,
                             .went = PEOPLE + 2,
                             .went_count = 2,
                             .renamed = PEOPLE,
                             .renamed_count = 1},
         "<7 alice came>\x1e<7 \"b:ob\" came>\x1e<7 carol went>\x1e<7 dave went>\x1e<7 al is now "
         "alice>");
    news((struct chi_signal){.count = 3}, "");
}
END_TEST

START_TEST(in_a_large_room_all_who_come_have_one_frame)
{
    news(
        (struct chi_signal){
            .summed = true, .came = PEOPLE, .came_count = 5, .went = PEOPLE, .went_count = 2},
        "<7 alice, \"b:ob\" and 3 others came>\x1e<7 alice and \"b:ob\" went>");
    news((struct chi_signal){.summed = true, .went = PEOPLE, .went_count = 1}, "<7 alice went>");
    news((struct chi_signal){.summed = true, .renamed = PEOPLE, .renamed_count = 5},
         "<7 al is now alice>\x1e<7  is now \"b:ob\">\x1e<7 3 others have another name now>");
}
END_TEST

START_TEST(a_snapshot_is_one_frame_and_a_count_none)
{
    news((struct chi_signal){.snapshot = true, .count = 5, .came = PEOPLE, .came_count = 5},
         "<7 5 here: alice, \"b:ob\" and 3 others>");
    news((struct chi_signal){.snapshot = true}, "<7 0 here>");
    news(
        (struct chi_signal){
            .snapshot = true, .count = 1, .came = PEOPLE, .came_count = 1, .departures = 2},
        "<7 2 people went>\x1e<7 1 here: alice>");
    news((struct chi_signal){.counts_only = true, .count = 5000}, "");
    news((struct chi_signal){.counts_only = true, .count = 5000, .arrivals = 312, .departures = 1},
         "<7 312 people came>\x1e<7 One person went>");
    news((struct chi_signal){.counts_only = true, .snapshot = true, .count = 5000}, "");
}
END_TEST

START_TEST(typing_and_status_are_no_news)
{
    struct chi_signal typing = {.type = CHI_SIGNAL_TYPING, .on = true, .who = PEOPLE[0]};
    news(typing, "");
    typing.type = CHI_SIGNAL_STATUS;
    news(typing, "");
}
END_TEST

START_TEST(news_stand_behind_what_was_there)
{
    struct chi_signal signal = {.type = CHI_SIGNAL_PRESENCE,
                                .came = PEOPLE + 1,
                                .came_count = 1,
                                .renamed = PEOPLE,
                                .renamed_count = 1};
    chi_buf_add_text(&out, "before");
    chi_text_news(&out, &signal, &NEWS);
    shows("before<0 \"b:ob\" came>\x1e<0 al is now alice>");
}
END_TEST

/* ------------------------------------------------------------------------- what people are told */

static void told(struct chi_reply reply, const char *text)
{
    chi_text_told(&out, &reply);
    shows(text);
}

START_TEST(errors_removals_and_gaps_are_told)
{
    told((struct chi_reply){.type = CHI_REPLY_ERROR, .code = CHATHUB_EDENIED},
         "Error: not allowed");
    told((struct chi_reply){.type = CHI_REPLY_ERROR,
                            .code = CHATHUB_EDENIED,
                            .message = CHI_SPAN("no \"guests\"")},
         "Error: no \"guests\"");
    told((struct chi_reply){.type = CHI_REPLY_LEFT, .code = CHATHUB_EDENIED},
         "You were removed: not allowed");
    told((struct chi_reply){.type = CHI_REPLY_GAP, .from = 1, .to = 9},
         "Some earlier messages are no longer kept.");
    told((struct chi_reply){.type = CHI_REPLY_LEFT, .message = CHI_SPAN("bye")}, "");
    told((struct chi_reply){.type = CHI_REPLY_BYE, .message = CHI_SPAN("bye")}, "");
    told((struct chi_reply){.type = CHI_REPLY_ACK}, "");
}
END_TEST

START_TEST(members_are_json)
{
    chi_text_member(&out, "{\"a\":", CHI_SPAN("x\"\\\n\x01\u2028"));
    chi_text_member(&out, ",\"b\":", (struct chi_span){0});
    chi_text_time(&out, ",\"t\":", 1793495748732);
    shows("{\"a\":\"x\\\"\\\\\\n\\u0001\u2028\",\"b\":\"\",\"t\":\"2026-11-01T01:15:48.732Z\"");
}
END_TEST

/* What a failed test left. */
static void clear(void)
{
    chi_buf_reset(&out, 0);
}

int main(void)
{
    TCase *tests = tcase_create("texts");
    tcase_add_checked_fixture(tests, clear, NULL);
    tcase_add_test(tests, a_text_stays_on_its_line);
    tcase_add_test(tests, a_name_that_could_be_more_than_a_name_is_quoted);
    tcase_add_test(tests, blanks_around_a_text_are_taken_off);
    tcase_add_test(tests, many_people_are_summed_up);
    tcase_add_test(tests, each_who_comes_or_goes_has_a_frame);
    tcase_add_test(tests, in_a_large_room_all_who_come_have_one_frame);
    tcase_add_test(tests, a_snapshot_is_one_frame_and_a_count_none);
    tcase_add_test(tests, typing_and_status_are_no_news);
    tcase_add_test(tests, news_stand_behind_what_was_there);
    tcase_add_test(tests, errors_removals_and_gaps_are_told);
    tcase_add_test(tests, members_are_json);
    Suite *suite = suite_create("texts");
    suite_add_tcase(suite, tests);
    int failed = unit_run(suite);
    chi_buf_fini(&out);
    return failed;
}
