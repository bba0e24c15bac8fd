/* Each error has its number, its word and its text, and none has another's. */
#include "unit.h"

#include <string.h>

#include "chathub.h"

struct row {
    int number;
    const char *word, *text;
};

static const struct row rows[] = {
#define X(name, number, word, text) {CHATHUB_##name, word, text},
    CHATHUB_ERRORS(X)
#undef X
};
#define ROWS (sizeof rows / sizeof *rows)

START_TEST(each_error_has_its_own_number_name_and_text)
{
    for (size_t i = 0; i < ROWS; i++) {
        ck_assert_int_lt(rows[i].number, 0);
        ck_assert_str_eq(chathub_errname(rows[i].number), rows[i].word);
        ck_assert_str_eq(chathub_strerror(rows[i].number), rows[i].text);
        for (size_t j = 0; j < i; j++) {
            ck_assert_int_ne(rows[i].number, rows[j].number);
            ck_assert_str_ne(rows[i].word, rows[j].word);
        }
        ck_assert_uint_eq(strspn(rows[i].word, "abcdefghijklmnopqrstuvwxyz_"),
                          strlen(rows[i].word));
    }
}
END_TEST

START_TEST(numbers_that_are_no_errors_have_texts_too)
{
    ck_assert_str_eq(chathub_errname(-9999), "unknown_error");
    ck_assert_str_eq(chathub_strerror(-9999), "unknown error");
    ck_assert_str_eq(chathub_errname(0), "ok");
    ck_assert_str_eq(chathub_errname(1), "unknown_error");
}
END_TEST

START_TEST(the_version_is_that_of_the_header)
{
    ck_assert_str_eq(chathub_version(), CHATHUB_VERSION);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("errors");
    TCase *tcase = tcase_create("errors");
    tcase_add_test(tcase, each_error_has_its_own_number_name_and_text);
    tcase_add_test(tcase, numbers_that_are_no_errors_have_texts_too);
    tcase_add_test(tcase, the_version_is_that_of_the_header);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
