/* The table of options: defaults, bounds, texts, and what is wrong with a value. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "options.h"

static struct chi_settings settings;
static char problem[256];

static void setup(void)
{
    ck_assert_int_eq(chi_options_defaults(&settings), 0);
    problem[0] = '\0';
}

static void teardown(void)
{
    chi_options_fini(&settings);
}

static int set(const char *name, const char *value, bool started)
{
    bool is_listen;
    int error =
        chi_options_set(&settings, name, value, started, &is_listen, problem, sizeof problem);
    ck_assert_int_eq(is_listen, !error && strcmp(name, "listen") == 0);
    return error;
}

static const char *get(const char *name)
{
    static char out[128];
    ck_assert_int_eq(chi_options_get(&settings, name, out, sizeof out), (int)strlen(out));
    return out;
}

static void ck_said(const char *words)
{
    ck_assert_msg(strstr(problem, words), "'%s' is not in: %s", words, problem);
}

START_TEST(every_option_is_complete_and_prints_its_default_as_it_is_listed)
{
    struct chathub_option option;
    uint32_t n = 0, common = 0;
    for (; chi_options_at(n, &option) == 0; n++) {
        ck_assert_uint_eq(option.size, sizeof option);
        ck_assert(option.name && option.help && option.group && option.standard);
        ck_assert_msg(option.help[strlen(option.help) - 1] == '.', "%s", option.name);
        ck_assert_uint_eq(strspn(option.name, "abcdefghijklmnopqrstuvwxyz-"), strlen(option.name));
        ck_assert_uint_le(strlen(option.name), 32);
        ck_assert_str_eq(get(option.name), option.standard);
        common += option.common;
    }
    ck_assert_int_eq(chi_options_at(n, &option), CHATHUB_ENOENT);
    ck_assert_uint_ge(n, 60);
    ck_assert_uint_le(common, 22);
}
END_TEST

START_TEST(no_two_options_share_a_name_and_a_heading_stands_once)
{
    struct chathub_option a, b;
    for (uint32_t i = 0; chi_options_at(i, &a) == 0; i++) {
        bool other_group = false;
        for (uint32_t j = i + 1; chi_options_at(j, &b) == 0; j++) {
            ck_assert_str_ne(a.name, b.name);
            other_group |= strcmp(a.group, b.group) != 0;
            ck_assert_msg(!other_group || strcmp(a.group, b.group) != 0, "%s", b.name);
        }
    }
}
END_TEST

START_TEST(both_ends_of_every_bound_can_be_set_and_nothing_beyond)
{
    struct chathub_option option;
    for (uint32_t i = 0; chi_options_at(i, &option) == 0; i++) {
        if (option.type == CHATHUB_OPTION_TEXT || option.type == CHATHUB_OPTION_LIST)
            continue;
        const uint64_t ends[] = {option.min, option.max};
        for (size_t e = 0; e < 2; e++) {
            char before[128], after[128];
            ck_assert_int_eq(chi_options_set_number(&settings, option.name, ends[e], false, problem,
                                                    sizeof problem),
                             0);
            snprintf(before, sizeof before, "%s", get(option.name));
            ck_assert_int_eq(set(option.name, before, false), 0);
            snprintf(after, sizeof after, "%s", get(option.name));
            ck_assert_str_eq(before, after);
        }
        ck_assert_int_eq(chi_options_set_number(&settings, option.name, option.max + 1, false,
                                                problem, sizeof problem),
                         CHATHUB_EVALUE);
        ck_said(option.name);
        if (option.min)
            ck_assert_int_eq(
                chi_options_set_number(&settings, option.name, option.min - 1, false, NULL, 0),
                CHATHUB_EVALUE);
    }
}
END_TEST

START_TEST(sizes_and_times_take_units)
{
    ck_assert_int_eq(set("max-content", "12K", false), 0);
    ck_assert_uint_eq(settings.max_content, 12 * 1024);
    ck_assert_str_eq(get("max-content"), "12k");
    ck_assert_int_eq(set("max-content", "1000", false), 0);
    ck_assert_str_eq(get("max-content"), "1000");
    ck_assert_int_eq(set("log-total-bytes", "3g", false), 0);
    ck_assert(settings.log_total_bytes == UINT64_C(3) << 30);
    ck_assert_int_eq(set("return-time", "1500ms", false), 0);
    ck_assert_str_eq(get("return-time"), "1500ms");
    ck_assert_int_eq(set("return-time", "120s", false), 0);
    ck_assert_str_eq(get("return-time"), "2m");
    ck_assert_int_eq(set("return-time", "0", false), 0);
    ck_assert_str_eq(get("return-time"), "0");
    ck_assert_int_eq(set("log-age", "36h", false), 0);
    ck_assert_str_eq(get("log-age"), "36h");
    ck_assert(settings.log_age == UINT64_C(36) * 3600 * 1000);
}
END_TEST

START_TEST(wrong_values_are_refused_and_change_nothing)
{
    static const char *const wrong[][2] = {{"max-content", ""},
                                           {"max-content", "k"},
                                           {"max-content", "-1"},
                                           {"max-content", "1.5k"},
                                           {"max-content", "1kb"},
                                           {"max-content", "1s"},
                                           {"max-content", "18446744073709551615k"},
                                           {"max-content", "0"},
                                           {"return-time", "10"},
                                           {"return-time", "1k"},
                                           {"return-time", "s"},
                                           {"max-clients", "5k"},
                                           {"max-clients", " 5"},
                                           {"create-rooms", "maybe"},
                                           {"create-rooms", ""},
                                           {"create-rooms", "YES"},
                                           {"name", ""},
                                           {"name", "a\nb"},
                                           {"name", "\xff"},
                                           {"log", "papyrus"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char before[128];
        snprintf(before, sizeof before, "%s", get(wrong[i][0]));
        ck_assert_msg(set(wrong[i][0], wrong[i][1], false) == CHATHUB_EVALUE, "%s=%s", wrong[i][0],
                      wrong[i][1]);
        ck_said(wrong[i][0]);
        ck_assert_ptr_null(strchr(problem, '\n'));
        ck_assert_str_eq(get(wrong[i][0]), before);
    }
}
END_TEST

/* A password may stand in a log's address. */
START_TEST(a_log_that_is_none_is_named_by_its_kind_alone)
{
    ck_assert_int_eq(set("log", "jetsream:nats://me:secret@host", false), CHATHUB_EVALUE);
    ck_said("'jetsream'");
    ck_assert_ptr_null(strstr(problem, "secret"));
    ck_assert_int_eq(set("log", "jetstream:nats://me:secret@host:4222/chat", false), 0);
    ck_assert_str_eq(chi_jetstream_servers(get("log")), "nats://me:secret@host:4222/chat");
    ck_assert_ptr_null(chi_jetstream_servers("sqlite:jetstream:"));
#ifdef HAVE_NATS
    ck_assert_int_eq(set("log", "jetstream:nats://me:secret@host:secret", false), CHATHUB_EVALUE);
    ck_said("option log");
    ck_assert_ptr_null(strstr(problem, "secret"));
    ck_assert_str_eq(get("log"), "jetstream:nats://me:secret@host:4222/chat");
#endif
}
END_TEST

START_TEST(switches_take_eight_words)
{
    static const char *const words[] = {"yes", "no", "true", "false", "on", "off", "1", "0"};
    for (size_t i = 0; i < 8; i++) {
        ck_assert_int_eq(set("insecure", words[i], false), 0);
        ck_assert_int_eq(settings.insecure, i % 2 == 0);
    }
}
END_TEST

START_TEST(texts_are_copied_and_empty_ones_are_null_where_none_is_needed)
{
    char value[] = "a,b";
    ck_assert_int_eq(set("rooms", value, false), 0);
    value[0] = 'x';
    ck_assert_str_eq(settings.rooms, "a,b");
    ck_assert_int_eq(set("rooms", "", false), 0);
    ck_assert_ptr_null(settings.rooms);
    ck_assert_ptr_null(settings.origins);
    ck_assert_str_eq(settings.default_room, "general");
    ck_assert_int_eq(chi_options_set_number(&settings, "rooms", 1, false, problem, sizeof problem),
                     CHATHUB_EVALUE);
}
END_TEST

START_TEST(after_the_start_only_live_options_change)
{
    ck_assert_int_eq(set("max-content", "1k", true), 0);
    ck_assert_int_eq(set("default-room", "lobby", true), CHATHUB_ESTARTED);
    ck_said("default-room");
    ck_assert_str_eq(settings.default_room, "general");
    ck_assert_int_eq(set("listen", "tcp://localhost:0", true), CHATHUB_ESTARTED);
    ck_assert_int_eq(chi_options_set_number(&settings, "backlog", 5, true, problem, sizeof problem),
                     CHATHUB_ESTARTED);
    ck_assert_int_eq(set("listen", "tcp://localhost:0", false), 0);
}
END_TEST

START_TEST(a_misspelt_name_is_answered_by_the_nearest)
{
    static const char *const near[][2] = {{"max-contents", "max-content"},
                                          {"stall_time", "stall-time"},
                                          {"lisen", "listen"},
                                          {"orgins", "origins"}};
    for (size_t i = 0; i < sizeof near / sizeof *near; i++) {
        ck_assert_int_eq(set(near[i][0], "1", false), CHATHUB_EOPTION);
        ck_said(near[i][0]);
        ck_said(near[i][1]);
    }
    ck_assert_int_eq(set("quite-another-thing", "1", false), CHATHUB_EOPTION);
    ck_assert_ptr_null(strstr(problem, "did you mean"));
    ck_assert_int_eq(set("", "1", false), CHATHUB_EOPTION);
    char long_name[500];
    memset(long_name, 'a', sizeof long_name);
    long_name[sizeof long_name - 1] = '\0';
    ck_assert_int_eq(set(long_name, "1", false), CHATHUB_EOPTION);
    ck_assert_int_eq(chi_options_get(&settings, "nothing", problem, sizeof problem),
                     CHATHUB_EOPTION);
}
END_TEST

START_TEST(origins_are_origins)
{
    static const char *const good[] = {"", "https://a.example", "https://a.example:8443, app://x",
                                       "http://[::1]:80"};
    static const char *const bad[] = {
        "a.example", "https://a.example/",  "https://a:99999", "null",
        "*",         "https://*.a.example", "https://",        "https://a,,https://b"};
    struct chi_settings own;
    char why[200];
    bool is_listen;
    ck_assert_int_eq(chi_options_defaults(&own), 0);
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        ck_assert_int_eq(
            chi_options_set(&own, "origins", good[i], false, &is_listen, why, sizeof(why)), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        ck_assert_msg(chi_options_set(&own, "origins", bad[i], false, &is_listen, why,
                                      sizeof(why)) == CHATHUB_EVALUE,
                      "%s", bad[i]);
    chi_options_fini(&own);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("options");
    TCase *tcase = tcase_create("options");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, origins_are_origins);
    tcase_add_test(tcase, every_option_is_complete_and_prints_its_default_as_it_is_listed);
    tcase_add_test(tcase, no_two_options_share_a_name_and_a_heading_stands_once);
    tcase_add_test(tcase, both_ends_of_every_bound_can_be_set_and_nothing_beyond);
    tcase_add_test(tcase, sizes_and_times_take_units);
    tcase_add_test(tcase, wrong_values_are_refused_and_change_nothing);
    tcase_add_test(tcase, a_log_that_is_none_is_named_by_its_kind_alone);
    tcase_add_test(tcase, switches_take_eight_words);
    tcase_add_test(tcase, texts_are_copied_and_empty_ones_are_null_where_none_is_needed);
    tcase_add_test(tcase, after_the_start_only_live_options_change);
    tcase_add_test(tcase, a_misspelt_name_is_answered_by_the_nearest);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
