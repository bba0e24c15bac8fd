/* UTF-8, base64url, time stamps, spans. */
#include "unit.h"

#include <string.h>

#include "util/text.h"

START_TEST(spans_compare_by_bytes)
{
    ck_assert(chi_span_equal(CHI_SPAN("abc"), chi_span_of("abc")));
    ck_assert(!chi_span_equal(CHI_SPAN("abc"), CHI_SPAN("abd")));
    ck_assert(!chi_span_equal(CHI_SPAN("abc"), CHI_SPAN("ab")));
    ck_assert(chi_span_equal(chi_span_of(NULL), CHI_SPAN("")));
    ck_assert(chi_span_is(CHI_SPAN("x"), "x"));
    ck_assert(!chi_span_is(CHI_SPAN("x\0"), "x"));
}
END_TEST

/* Encodes without looking whether it is allowed. */
static size_t encode(uint32_t point, char *out)
{
    if (point < 0x80) {
        out[0] = (char)point;
        return 1;
    }
    size_t n = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    static const uint8_t lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = n - 1; i; i--, point >>= 6)
        out[i] = (char)(0x80 | (point & 0x3f));
    out[0] = (char)(lead[n] | point);
    return n;
}

START_TEST(utf8_takes_every_code_point_but_surrogates)
{
    for (uint32_t point = 0; point <= 0x1fffff; point++) {
        char bytes[4];
        size_t n = encode(point, bytes);
        bool valid = point <= 0x10ffff && !(point >= 0xd800 && point <= 0xdfff);
        if (chi_utf8_valid(bytes, n) != valid)
            ck_abort_msg("U+%04X", point);
        if (!valid)
            continue;
        const char *at = bytes;
        if (chi_utf8_next(&at, bytes + n) != point || at != bytes + n)
            ck_abort_msg("U+%04X is read otherwise", point);
    }
}
END_TEST

START_TEST(utf8_refuses_what_is_not_utf8)
{
    static const char *const wrong[] = {"\x80",
                                        "\xbf",
                                        "\xc0\x80",
                                        "\xc1\xbf",
                                        "\xe0\x80\x80",
                                        "\xe0\x9f\xbf",
                                        "\xf0\x80\x80\x80",
                                        "\xf0\x8f\xbf\xbf",
                                        "\xf4\x90\x80\x80",
                                        "\xf5\x80\x80\x80",
                                        "\xff",
                                        "\xfe",
                                        "\xed\xa0\x80",
                                        "\xc3(",
                                        "\xe2\x82(",
                                        "\xf0\x9f\x98(",
                                        "ab\xc3",
                                        "\xe2\x82",
                                        "\xf0\x9f\x98",
                                        "12345678\xff",
                                        "12345678\xc3",
                                        "\xc3\xa9\x80",
                                        "\xf8\x88\x80\x80\x80"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_msg(!chi_utf8_valid(wrong[i], strlen(wrong[i])), "case %zu", i);
}
END_TEST

START_TEST(utf8_is_the_same_across_any_chunking)
{
    static const char text[] = "plain text, gr\xc3\xbc\xc3\x9f"
                               "e, \xe2\x82\xac, \xf0\x9f\x98\x80 and on";
    size_t len = sizeof text - 1;
    for (size_t cut = 0; cut <= len; cut++) {
        uint32_t state = chi_utf8_feed(0, text, cut);
        ck_assert_uint_ne(state, CHI_UTF8_INVALID);
        ck_assert_uint_eq(chi_utf8_feed(state, text + cut, len - cut), 0);
    }
    uint32_t state = chi_utf8_feed(0, "\xf4", 1);
    ck_assert_uint_eq(chi_utf8_feed(state, "\x90", 1), CHI_UTF8_INVALID);
    ck_assert_uint_eq(chi_utf8_feed(CHI_UTF8_INVALID, "a", 1), CHI_UTF8_INVALID);
}
END_TEST

START_TEST(a_line_for_people_is_cut_between_characters_and_has_no_controls)
{
    char line[8];
    ck_assert_uint_eq(chi_utf8_line((struct chi_span){0}, line, sizeof line), 0);
    ck_assert_uint_eq(chi_utf8_line(CHI_SPAN("a\nb\x7f"), line, sizeof line), 4);
    ck_assert_mem_eq(line, "a b ", 4);
    ck_assert_uint_eq(chi_utf8_line(CHI_SPAN("12345678"), line, sizeof line), 8);
    ck_assert_uint_eq(chi_utf8_line(CHI_SPAN("1234567\xc3\xa9"), line, sizeof line), 7);
    ck_assert_uint_eq(chi_utf8_line(CHI_SPAN("12345\xf0\x9f\x98\x80"), line, sizeof line), 5);
    ck_assert_uint_eq(chi_utf8_line(CHI_SPAN("1234\xf0\x9f\x98\x80"), line, sizeof line), 8);
}
END_TEST

START_TEST(clean_text_has_no_controls_but_tab_and_newline)
{
    for (uint32_t point = 0; point < 0x3000; point++) {
        bool control =
            (point < 0x20 && point != '\t' && point != '\n') || (point >= 0x7f && point < 0xa0);
        for (size_t before = 0; before < 10; before++) {
            char text[32];
            memset(text, 'a', sizeof text);
            size_t n = encode(point, text + before);
            if (chi_text_clean(text, before + n) == control ||
                chi_text_clean(text, before + n + 9) == control)
                ck_abort_msg("U+%04X after %zu bytes", point, before);
        }
    }
    ck_assert(chi_text_clean("", 0));
}
END_TEST

START_TEST(base64url_is_that_of_rfc_4648)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", ""},           {"f", "Zg"},          {"fo", "Zm8"},          {"foo", "Zm9v"},
        {"foob", "Zm9vYg"}, {"fooba", "Zm9vYmE"}, {"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "-_-_"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[CHI_BASE64URL_SIZE(6)];
        chi_base64url(cases[i].in, strlen(cases[i].in), out);
        ck_assert_str_eq(out, cases[i].out);
        ck_assert_uint_eq(CHI_BASE64URL_SIZE(strlen(cases[i].in)), strlen(out) + 1);
    }
}
END_TEST

START_TEST(timestamps_are_those_of_rfc_3339)
{
    static const struct {
        uint64_t ms;
        const char *text;
    } cases[] = {{0, "1970-01-01T00:00:00.000Z"},
                 {UINT64_C(1767323045678), "2026-01-02T03:04:05.678Z"},
                 {UINT64_C(951782399999), "2000-02-28T23:59:59.999Z"},
                 {UINT64_C(951782400000), "2000-02-29T00:00:00.000Z"},
                 {UINT64_C(4107542400000), "2100-03-01T00:00:00.000Z"},
                 {UINT64_C(253402300799999), "9999-12-31T23:59:59.999Z"},
                 {UINT64_MAX, "9999-12-31T23:59:59.999Z"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char out[CHI_TIMESTAMP_SIZE];
        chi_timestamp(cases[i].ms, out);
        ck_assert_str_eq(out, cases[i].text);
    }
}
END_TEST

START_TEST(numbers_are_read_whole_and_within_their_bounds)
{
    uint64_t n = 7;
    ck_assert(chi_parse_u64(CHI_SPAN("18446744073709551615"), 0, UINT64_MAX, &n));
    ck_assert(n == UINT64_MAX);
    ck_assert(chi_parse_u64(CHI_SPAN("0"), 0, 5, &n));
    ck_assert(n == 0);
    ck_assert(!chi_parse_u64(CHI_SPAN("18446744073709551616"), 0, UINT64_MAX, &n));
    ck_assert(!chi_parse_u64(CHI_SPAN("99999999999999999999"), 0, UINT64_MAX, &n));
    ck_assert(!chi_parse_u64(CHI_SPAN("6"), 0, 5, &n));
    ck_assert(!chi_parse_u64(CHI_SPAN("1"), 2, 5, &n));
    static const char *const wrong[] = {"",    " 1",  "1 ",  "+1",          "-1",
                                        "0x1", "1e3", "1.0", "\xef\xbc\x91"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        ck_assert_msg(!chi_parse_u64(chi_span_of(wrong[i]), 0, UINT64_MAX, &n), "'%s'", wrong[i]);
    ck_assert(n == 0);
}
END_TEST

START_TEST(a_copy_ends_in_nul)
{
    char *copy = chi_span_dup((struct chi_span){"abcdef", 3});
    ck_assert_str_eq(copy, "abc");
    free(copy);
    copy = chi_span_dup((struct chi_span){0});
    ck_assert_str_eq(copy, "");
    free(copy);
}
END_TEST

/* Words and blocks of bytes are looked at together: each byte that matters, at each place of a text
 * of each length around their sizes. */
START_TEST(a_run_ends_where_it_has_to)
{
    static const char ends[] = "\"\\\177\001\037";
    char text[300];
    for (size_t len = 0; len < sizeof(text); len++) {
        for (size_t at = 0; at < len; at++) {
            memset(text, (int)(at % 3 == 0 ? 0xff : at % 3 == 1 ? ' ' : '!'), sizeof(text));
            text[at] = ends[at % (sizeof(ends) - 1)];
            ck_assert_uint_eq(chi_text_run(text, len), at);
        }
        ck_assert_uint_eq(chi_text_run("", 0), 0);
    }
}
END_TEST

/* Characters are taken whole where they can be: every two and three bytes, with others behind them,
 * are judged as byte by byte. */
START_TEST(utf8_is_the_same_whole_and_byte_by_byte)
{
    uint8_t text[16] = "xxxxxxxxxxxxxxx";
    for (uint32_t three = 0x800000; three < 0x1000000; three++) {
        uint32_t state = 0;
        for (unsigned i = 0; i < 3; i++)
            text[i] = (uint8_t)(three >> (16 - 8 * i));
        for (size_t i = 0; i < 7 && state != CHI_UTF8_INVALID; i++)
            state = chi_utf8_feed(state, text + i, 1);
        if (chi_utf8_feed(0, text, 7) != state)
            ck_abort_msg("%06x", three);
    }
}
END_TEST

/* Blocks, words and bytes see the same: each control, at each place of a long text. */
START_TEST(a_control_is_found_anywhere)
{
    static const char *const controls[] = {"\x01", "\x1f", "\x7f", "\r", "\xc2\x80", "\xc2\x9f"};
    char text[160];
    for (size_t at = 0; at < sizeof(text); at++) {
        for (size_t c = 0; c < sizeof(controls) / sizeof(controls[0]); c++) {
            size_t size = strlen(controls[c]);
            for (size_t i = 0; i < sizeof(text); i++)
                text[i] = i % 7 ? (char)(0xe0 + i % 3) : i % 2 ? '\n' : '\t';
            ck_assert(chi_text_clean(text, sizeof(text)));
            if (at + size > sizeof(text))
                continue;
            memcpy(text + at, controls[c], size);
            ck_assert_msg(!chi_text_clean(text, sizeof(text)), "control %zu at %zu", c, at);
            if (size == 2) {
                text[at + 1] = (char)0xa0;
                ck_assert(chi_text_clean(text, sizeof(text)));
            }
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("text");
    TCase *tcase = tcase_create("text");
    tcase_add_test(tcase, spans_compare_by_bytes);
    tcase_add_test(tcase, utf8_takes_every_code_point_but_surrogates);
    tcase_add_test(tcase, utf8_refuses_what_is_not_utf8);
    tcase_add_test(tcase, utf8_is_the_same_across_any_chunking);
    tcase_add_test(tcase, a_line_for_people_is_cut_between_characters_and_has_no_controls);
    tcase_add_test(tcase, clean_text_has_no_controls_but_tab_and_newline);
    tcase_add_test(tcase, base64url_is_that_of_rfc_4648);
    tcase_add_test(tcase, timestamps_are_those_of_rfc_3339);
    tcase_add_test(tcase, numbers_are_read_whole_and_within_their_bounds);
    tcase_add_test(tcase, a_copy_ends_in_nul);
    tcase_add_test(tcase, a_run_ends_where_it_has_to);
    tcase_add_test(tcase, utf8_is_the_same_whole_and_byte_by_byte);
    tcase_add_test(tcase, a_control_is_found_anywhere);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
