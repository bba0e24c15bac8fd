/* What the public face tells a host: its options, its log records, and what joining and leaving
 * mean for a client inside the process. */
#include "unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "chathub.h"

static struct chathub *hub_new(void)
{
    struct chathub *hub = NULL;
    ck_assert_int_eq(chathub_new(&hub), 0);
    return hub;
}

START_TEST(each_option_describes_itself_and_takes_its_own_default)
{
    struct chathub *hub = hub_new();
    struct chathub_option option = {.size = sizeof(option)};
    char value[256];
    uint32_t count = 0;
    while (chathub_option_at(count, &option) == 0) {
        ck_assert_uint_eq(option.size, sizeof(option));
        ck_assert_uint_le(option.type, CHATHUB_OPTION_LIST);
        ck_assert(option.name[0] && option.help[0] && option.group[0]);
        ck_assert_uint_le(option.min, option.max);
        ck_assert_int_ge(chathub_get(hub, option.name, value, sizeof(value)), 0);
        if (option.type != CHATHUB_OPTION_LIST)
            ck_assert_msg(chathub_set(hub, option.name, option.standard) == 0, "%s: %s",
                          option.name, chathub_problem(hub));
        count++;
    }
    ck_assert_uint_gt(count, 50);
    ck_assert_int_eq(chathub_option_at(count, &option), CHATHUB_ENOENT);
    ck_assert_int_eq(chathub_option_at(UINT32_MAX, &option), CHATHUB_ENOENT);
    chathub_free(hub);
}
END_TEST

START_TEST(numbers_are_set_without_being_text)
{
    struct chathub *hub = hub_new();
    char value[32];
    ck_assert_int_eq(chathub_set_number(hub, "max-content", 2048), 0);
    ck_assert_int_ge(chathub_get(hub, "max-content", value, sizeof(value)), 0);
    ck_assert_str_eq(value, "2k");
    ck_assert_int_eq(chathub_set_number(hub, "create-rooms", 0), 0);
    ck_assert_int_ge(chathub_get(hub, "create-rooms", value, sizeof(value)), 0);
    ck_assert_str_eq(value, "no");
    ck_assert_int_eq(chathub_set_number(hub, "max-content", UINT64_MAX), CHATHUB_EVALUE);
    ck_assert_int_eq(chathub_set_number(hub, "name", 1), CHATHUB_EVALUE);
    ck_assert_ptr_nonnull(strstr(chathub_problem(hub), "name"));
    ck_assert_int_eq(chathub_set_number(hub, "no-such", 1), CHATHUB_EOPTION);
    ck_assert_int_eq(chathub_set_number(hub, NULL, 1), CHATHUB_EINVAL);
    chathub_free(hub);
}
END_TEST

struct records {
    char events[1000]; /* their words, each behind a blank */
    int32_t least;     /* level */
    uint32_t count;
};

static void on_record(const struct chathub_record *record, void *arg)
{
    struct records *records = arg;
    size_t len = strlen(records->events);
    ck_assert_uint_ge(record->size, sizeof(*record));
    snprintf(records->events + len, sizeof(records->events) - len, " %s", record->event);
    if (record->level < records->least)
        records->least = record->level;
    for (size_t i = 0; i < record->count; i++)
        ck_assert_uint_eq(strlen(record->fields[i].value), record->fields[i].len);
    records->count++;
}

/* A client that writes down what it is told, a letter and a number each: "J0 m1 m2 L0". */
struct diary {
    uint64_t id;
    char text[1000];
};

static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    static const char LETTERS[] = " wmAEJL";
    struct diary *diary = arg;
    size_t len = strlen(diary->text);
    (void)hub;
    if (event->type == CHATHUB_EVENT_MESSAGE)
        snprintf(diary->text + len, sizeof(diary->text) - len, " %s", event->content);
    else if (event->type < sizeof(LETTERS) - 1)
        snprintf(diary->text + len, sizeof(diary->text) - len, " %c", LETTERS[event->type]);
}

static void begin(struct chathub *hub, struct diary *diary, const char *name)
{
    *diary = (struct diary){0};
    ck_assert_int_eq(chathub_client(hub, name, on_event, diary, &diary->id), 0);
    ck_assert_int_eq(chathub_join(hub, diary->id, NULL, CHATHUB_START_NOW, 0), 0);
}

static void say(struct chathub *hub, const struct diary *diary, const char *text)
{
    ck_assert_int_eq(chathub_post(hub, diary->id, NULL, text, CHATHUB_NUL, NULL), 0);
}

static void until(struct chathub *hub, const struct diary *diary, const char *text)
{
    while (!strstr(diary->text, text))
        ck_assert_int_eq(chathub_step(hub, -1), 1);
}

START_TEST(records_are_told_from_their_level_on_until_nobody_wants_them)
{
    struct records all = {.least = CHATHUB_ERROR}, serious = {.least = CHATHUB_ERROR};
    struct chathub *hub = hub_new(), *quiet = hub_new();
    struct diary alice, bob;
    ck_assert_int_eq(chathub_on_log(hub, CHATHUB_DEBUG, on_record, &all), 0);
    ck_assert_int_eq(chathub_on_log(quiet, CHATHUB_WARNING, on_record, &serious), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    ck_assert_int_eq(chathub_start(quiet, NULL), 0);
    begin(hub, &alice, "alice");
    begin(quiet, &bob, "bob");
    until(hub, &alice, "J");
    until(quiet, &bob, "J");
    ck_assert_ptr_nonnull(strstr(all.events, " joined"));
    ck_assert_int_le(all.least, CHATHUB_INFO);
    ck_assert_uint_eq(serious.count, 0);
    uint32_t before = all.count;
    ck_assert_int_eq(chathub_on_log(hub, CHATHUB_DEBUG, NULL, NULL), 0);
    ck_assert_int_eq(chathub_leave(hub, alice.id, NULL), 0);
    until(hub, &alice, "L");
    ck_assert_uint_eq(all.count, before);
    chathub_free(hub);
    chathub_free(quiet);
}
END_TEST

START_TEST(who_leaves_hears_left_and_nothing_of_the_room_after_it)
{
    struct chathub *hub = hub_new();
    struct diary alice, bob;
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    begin(hub, &alice, "alice");
    begin(hub, &bob, "bob");
    say(hub, &alice, "one");
    until(hub, &bob, "one");
    ck_assert_int_eq(chathub_leave(hub, bob.id, NULL), 0);
    until(hub, &bob, "L");
    say(hub, &alice, "two");
    until(hub, &alice, "two");
    ck_assert_int_eq(chathub_leave(hub, bob.id, NULL), 0); /* taken, and answered by an error */
    until(hub, &bob, "E");
    ck_assert_str_eq(bob.text, " w J one L E");
    ck_assert_int_eq(chathub_leave(hub, bob.id + 1, NULL), CHATHUB_EGONE);
    chathub_free(hub);
}
END_TEST

/* As the bridge of the examples does that let entries pass by. */
START_TEST(a_member_that_joins_again_goes_on_from_its_new_place)
{
    struct chathub *hub = hub_new();
    struct diary alice, bob;
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    begin(hub, &alice, "alice");
    begin(hub, &bob, "bob");
    say(hub, &alice, "one");
    say(hub, &alice, "two");
    say(hub, &alice, "three");
    until(hub, &bob, "three");
    ck_assert_int_eq(chathub_join(hub, bob.id, NULL, CHATHUB_START_LAST, 2), 0);
    until(hub, &bob, "J two three");
    ck_assert_int_eq(chathub_join(hub, bob.id, NULL, CHATHUB_START_AFTER, 0), 0);
    until(hub, &bob, "J two three J one two three");
    ck_assert_int_eq(chathub_join(hub, bob.id, NULL, CHATHUB_START_DEFAULT, 0), 0);
    say(hub, &alice, "four");
    until(hub, &bob, "four");
    ck_assert_str_eq(bob.text, " w J one two three J two three J one two three J four");
    chathub_free(hub);
}
END_TEST

static const char *folded(struct chathub *hub, const char *name)
{
    static char form[100];
    int len = chathub_fold(hub, name, form, sizeof(form));
    ck_assert_int_eq(len, (int)strlen(form));
    return form;
}

START_TEST(names_that_are_the_same_have_one_form)
{
    struct chathub *hub = hub_new();
    char form[4];
    ck_assert_str_eq(folded(hub, "Staff"), "staff");
    ck_assert_str_eq(folded(hub, "  STAFF "), "staff");
    ck_assert_str_eq(folded(hub, "staff"), "staff");
    ck_assert_int_eq(chathub_fold(hub, "Staff", form, sizeof(form)), 5);
    ck_assert_str_eq(form, "sta");
    ck_assert_int_eq(chathub_fold(hub, "Staff", NULL, 0), 5);
    ck_assert_int_eq(chathub_fold(hub, "", form, sizeof(form)), CHATHUB_ENAME);
    ck_assert_int_eq(chathub_fold(hub, "a\nb", form, sizeof(form)), CHATHUB_ENAME);
    ck_assert_int_eq(chathub_fold(hub, NULL, form, sizeof(form)), CHATHUB_EINVAL);
    ck_assert_int_eq(chathub_fold(NULL, "a", form, sizeof(form)), CHATHUB_EINVAL);
    if (chathub_has("unicode")) {
        /* full width; e with an accent, in one and in two */
        ck_assert_str_eq(folded(hub, "\uff33\uff34\uff21\uff26\uff26"), "staff");
        ck_assert_str_eq(folded(hub, "CAFE\u0301"), "caf\u00e9");
        ck_assert_str_eq(folded(hub, "caf\u00e9"), "caf\u00e9");
        ck_assert_int_eq(chathub_fold(hub, "ca\u00e9", form, sizeof(form)), 4);
        ck_assert_str_eq(form, "ca"); /* no half a character */
        ck_assert_int_eq(chathub_set(hub, "ascii-names", "yes"), 0);
        ck_assert_int_eq(chathub_fold(hub, "caf\u00e9", form, sizeof(form)), CHATHUB_ENAME);
    }
    chathub_free(hub);
}
END_TEST

static int deny_staff(struct chathub *hub, const struct chathub_question *question, void *arg)
{
    char room[64];
    (*(int *)arg)++;
    ck_assert_int_gt(chathub_fold(hub, question->room, room, sizeof(room)), 0);
    return strcmp(room, "staff") == 0 ? CHATHUB_DENY : CHATHUB_ALLOW;
}

START_TEST(a_hook_knows_a_room_however_it_is_typed)
{
    struct chathub *hub = hub_new();
    struct diary eve;
    int asked = 0;
    ck_assert_int_eq(chathub_on_authorize(hub, 1u << CHATHUB_JOIN, deny_staff, &asked), 0);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    begin(hub, &eve, "eve");
    ck_assert_int_eq(chathub_join(hub, eve.id, "STAFF", CHATHUB_START_NOW, 0), 0);
    ck_assert_int_eq(chathub_join(hub, eve.id, "staff", CHATHUB_START_NOW, 0), 0);
    ck_assert_int_eq(chathub_join(hub, eve.id, " Staff ", CHATHUB_START_NOW, 0), 0);
    until(hub, &eve, "E E E");
    ck_assert_str_eq(eve.text, " w J E E E");
    ck_assert_int_eq(asked, 4);
    chathub_free(hub);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("face_told");
    TCase *tc = tcase_create("host");
    tcase_add_test(tc, each_option_describes_itself_and_takes_its_own_default);
    tcase_add_test(tc, numbers_are_set_without_being_text);
    tcase_add_test(tc, records_are_told_from_their_level_on_until_nobody_wants_them);
    tcase_add_test(tc, who_leaves_hears_left_and_nothing_of_the_room_after_it);
    tcase_add_test(tc, a_member_that_joins_again_goes_on_from_its_new_place);
    tcase_add_test(tc, names_that_are_the_same_have_one_form);
    tcase_add_test(tc, a_hook_knows_a_room_however_it_is_typed);
    suite_add_tcase(suite, tc);
    return unit_run(suite);
}
