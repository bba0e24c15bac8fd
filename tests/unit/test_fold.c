/* Names: which are allowed, how they are shown, and by which form they are compared. */
#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "auth/fold.h"
#include "chathub.h"

struct folded {
    struct chi_buf shown, key;
};

static int fold(bool ascii_only, const char *text, struct folded *out)
{
    *out = (struct folded){0};
    int error = chi_fold(ascii_only, CHI_FOLD_NAME, chi_span_of(text), &out->shown, &out->key);
    chi_buf_add_char(&out->shown, '\0');
    chi_buf_add_char(&out->key, '\0');
    return error;
}

static void done(struct folded *folded)
{
    chi_buf_fini(&folded->shown);
    chi_buf_fini(&folded->key);
}

static void expect(bool ascii_only, const char *text, const char *shown, const char *key)
{
    struct folded folded;
    ck_assert_msg(fold(ascii_only, text, &folded) == 0, "'%s' was refused", text);
    ck_assert_str_eq(folded.shown.at, shown);
    ck_assert_str_eq(folded.key.at, key);
    done(&folded);
}

static void refuse(bool ascii_only, const char *text)
{
    struct folded folded;
    ck_assert_msg(fold(ascii_only, text, &folded) == CHATHUB_ENAME, "'%s' was taken", text);
    ck_assert_uint_eq(folded.shown.len, 1);
    ck_assert_uint_eq(folded.key.len, 1);
    done(&folded);
}

START_TEST(ascii_names_are_tidied_and_compared_without_case)
{
    for (int ascii_only = 0; ascii_only < 2; ascii_only++) {
        expect(ascii_only, "Alice", "Alice", "alice");
        expect(ascii_only, "  Alice   B.  ", "Alice B.", "alice b.");
        expect(ascii_only, "!~", "!~", "!~");
    }
}
END_TEST

START_TEST(empty_and_invisible_names_are_refused)
{
    static const char *const texts[] = {"", " ", "    ", "\t", "a\tb", "a\nb", "\x7f", "a\x01"};
    for (int ascii_only = 0; ascii_only < 2; ascii_only++)
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            refuse(ascii_only, texts[i]);
}
END_TEST

START_TEST(ascii_only_refuses_everything_else)
{
    refuse(true, "Ren\xc3\xa9");
    refuse(true, "\xf0\x9f\x98\x80");
    refuse(true, "a\xc2\xa0"
                 "b");
}
END_TEST

START_TEST(what_was_in_the_buffers_stays)
{
    struct chi_buf shown = {0}, key = {0};
    chi_buf_add_text(&shown, "x ");
    chi_buf_add_text(&key, "y ");
    ck_assert_int_eq(chi_fold(false, CHI_FOLD_ROOM, CHI_SPAN("Bob"), &shown, &key), 0);
    ck_assert(chi_span_is((struct chi_span){shown.at, shown.len}, "x Bob"));
    ck_assert(chi_span_is((struct chi_span){key.at, key.len}, "y bob"));
    ck_assert_int_eq(chi_fold(false, CHI_FOLD_ROOM, CHI_SPAN("a\rb"), &shown, &key), CHATHUB_ENAME);
    ck_assert_uint_eq(shown.len, 5);
    ck_assert_uint_eq(key.len, 5);
    chi_buf_fini(&shown);
    chi_buf_fini(&key);
}
END_TEST

#ifdef HAVE_UTF8PROC
START_TEST(unicode_names_are_nfc_and_compared_folded)
{
    expect(false, "Re\xcc\x81my", "R\xc3\xa9my", "r\xc3\xa9my");
    expect(false, "STRASSE", "STRASSE", "strasse");
    expect(false,
           "Stra\xc3\x9f"
           "e",
           "Stra\xc3\x9f"
           "e",
           "strasse");
    expect(false, "\xef\xbc\xa1lice", "\xef\xbc\xa1lice", "alice"); /* full-width A */
    expect(false, "\xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82",
           "\xce\xa3\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x82",
           "\xcf\x83\xce\xaf\xcf\x83\xcf\x85\xcf\x86\xce\xbf\xcf\x83"); /* both sigmas */
    expect(false,
           "a\xc2\xa0\xe3\x80\x80"
           "b",
           "a b", "a b");
    expect(false, "\xe5\xb1\xb1\xe7\x94\xb0", "\xe5\xb1\xb1\xe7\x94\xb0",
           "\xe5\xb1\xb1\xe7\x94\xb0");
}
END_TEST

START_TEST(a_key_folds_to_itself)
{
    static const char *const texts[] = {"\xc3\x9f",     "\xe2\x84\xab", "\xef\xac\x83", "\xc4\xb0",
                                        "\xe2\x85\xa8", "\xe3\x8e\x92", "\xcf\x93"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct folded once, twice;
        ck_assert_int_eq(fold(false, texts[i], &once), 0);
        ck_assert_int_eq(fold(false, once.key.at, &twice), 0);
        ck_assert_str_eq(twice.key.at, once.key.at);
        done(&once);
        done(&twice);
    }
}
END_TEST

/* Plain texts go by a shorter way: it leads where the long one does, on which what follows puts
 * them. */
START_TEST(plain_names_fold_as_within_longer_ones)
{
    uint32_t state = 7;
    for (int i = 0; i < 5000; i++) {
        char plain[24], longer[32], text[48];
        size_t len = 1 + (size_t)i % 20;
        for (size_t k = 0; k < len; k++) {
            state = state * 1664525u + 1013904223u;
            plain[k] = (char)(state >> 24 & 7 ? ' ' + (state >> 8) % 95 : ' ');
        }
        plain[len] = '\0';
        struct folded a, b;
        if (fold(false, plain, &a) == 0) {
            snprintf(longer, sizeof(longer), "%s \u00e9", plain);
            ck_assert_int_eq(fold(false, longer, &b), 0);
            snprintf(text, sizeof(text), "%s \u00e9", a.shown.at);
            ck_assert_str_eq(b.shown.at, text);
            snprintf(text, sizeof(text), "%s \u00e9", a.key.at);
            ck_assert_str_eq(b.key.at, text);
            done(&b);
        }
        done(&a);
    }
}
END_TEST

START_TEST(emoji_are_names)
{
    expect(false, "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80");
    /* a woman astronaut with a skin tone; a red heart with its emoji form, whose selector is not
     * compared */
    static const char astronaut[] = "\xf0\x9f\x91\xa9\xf0\x9f\x8f\xbd\xe2\x80\x8d\xf0\x9f\x9a\x80";
    expect(false, astronaut, astronaut, "\xf0\x9f\x91\xa9\xf0\x9f\x8f\xbd\xf0\x9f\x9a\x80");
    expect(false, "\xe2\x9d\xa4\xef\xb8\x8f", "\xe2\x9d\xa4\xef\xb8\x8f", "\xe2\x9d\xa4");
}
END_TEST

START_TEST(deceptive_characters_are_refused)
{
    static const char *const parts[] = {
        "\xe2\x80\x8b",     "\xe2\x80\x8c",
        "\xe2\x80\x8d",     "\xe2\x81\xa0",
        "\xef\xbb\xbf", /* zero width */
        "\xe2\x80\xae",     "\xe2\x80\x8f",
        "\xe2\x81\xa6",     "\xd8\x9c", /* bidi */
        "\xc2\x85",         "\xc2\xad",
        "\xe2\x80\xa8",     "\xe2\x80\xa9", /* controls, separators */
        "\xee\x80\x80",     "\xf4\x8f\xbf\xbd",
        "\xef\xbf\xbe",     "\xcd\xb8", /* private, unassigned */
        "\xe3\x85\xa4",     "\xef\xbe\xa0",
        "\xe1\x85\x9f",     "\xe2\xa0\x80",
        "\xcd\x8f", /* blank letters */
        "\xf3\xa0\x81\xa1", "\xef\xbf\xbc",
        "\xed\xa0\x80",     "\xff"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char text[32];
        refuse(false, parts[i]);
        snprintf(text, sizeof text, "a%sb", parts[i]);
        refuse(false, text);
        snprintf(text, sizeof text, "%sb", parts[i]);
        refuse(false, text);
    }
}
END_TEST

START_TEST(marks_need_something_to_stand_on_and_do_not_pile_up)
{
    char text[64] = "e";
    refuse(false, "\xcc\x81");
    refuse(false, "a \xcc\x81");
    for (size_t i = 0; i < 9; i++)
        memcpy(text + 1 + 2 * i, "\xcc\xb6", 2);
    refuse(false, text);
    text[1 + 2 * 8] = '\0';
    expect(false, text, text, text);
}
END_TEST
#else
START_TEST(without_utf8proc_names_are_ascii)
{
    refuse(false, "Ren\xc3\xa9");
}
END_TEST
#endif

int main(void)
{
    Suite *suite = suite_create("fold");
    TCase *tcase = tcase_create("fold");
    tcase_add_test(tcase, ascii_names_are_tidied_and_compared_without_case);
    tcase_add_test(tcase, empty_and_invisible_names_are_refused);
    tcase_add_test(tcase, ascii_only_refuses_everything_else);
    tcase_add_test(tcase, what_was_in_the_buffers_stays);
#ifdef HAVE_UTF8PROC
    tcase_add_test(tcase, unicode_names_are_nfc_and_compared_folded);
    tcase_add_test(tcase, a_key_folds_to_itself);
    tcase_add_test(tcase, plain_names_fold_as_within_longer_ones);
    tcase_add_test(tcase, emoji_are_names);
    tcase_add_test(tcase, deceptive_characters_are_refused);
    tcase_add_test(tcase, marks_need_something_to_stand_on_and_do_not_pile_up);
#else
    tcase_add_test(tcase, without_utf8proc_names_are_ascii);
#endif
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
