/* Bytes that grow: what is added follows, bounds hold, failures stay. */
#include "unit.h"

#include <string.h>

#include "util/buf.h"

static void expect(struct chi_buf *buf, const char *text)
{
    ck_assert(!buf->failed);
    ck_assert_uint_eq(buf->len, strlen(text));
    ck_assert(memcmp(buf->at, text, buf->len) == 0);
}

START_TEST(appends_follow_each_other)
{
    struct chi_buf buf = {0};
    chi_buf_add_text(&buf, "one ");
    chi_buf_add(&buf, "two!", 3);
    chi_buf_add_char(&buf, ' ');
    chi_buf_add_u64(&buf, 0);
    chi_buf_add_char(&buf, ' ');
    chi_buf_add_u64(&buf, UINT64_MAX);
    expect(&buf, "one two 0 18446744073709551615");
    chi_buf_fini(&buf);
    ck_assert_ptr_null(buf.at);
}
END_TEST

START_TEST(reserving_nothing_still_gives_a_place)
{
    struct chi_buf buf;
    chi_buf_init(&buf);
    ck_assert_ptr_nonnull(chi_buf_reserve(&buf, 0));
    chi_buf_fini(&buf);
}
END_TEST

START_TEST(a_reserve_beyond_memory_fails_until_truncated)
{
    struct chi_buf buf = {0};
    chi_buf_add_text(&buf, "kept");
    ck_assert_ptr_null(chi_buf_reserve(&buf, SIZE_MAX));
    ck_assert(buf.failed);
    chi_buf_add_text(&buf, "ignored");
    chi_buf_add_char(&buf, 'x');
    ck_assert_uint_eq(buf.len, 4);
    chi_buf_truncate(&buf, 4);
    chi_buf_add_text(&buf, "!");
    expect(&buf, "kept!");
    chi_buf_fini(&buf);
}
END_TEST

START_TEST(json_strings_escape_what_they_must_and_nothing_else)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"", "\"\""},
        {"plain", "\"plain\""},
        {"quote\" and \\ slash /", "\"quote\\\" and \\\\ slash /\""},
        {"\b\f\n\r\t", "\"\\b\\f\\n\\r\\t\""},
        {"\x01\x1f\x7f", "\"\\u0001\\u001f\\u007f\""},
        {"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80 \xe2\x80\xa8",
         "\"gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80 \xe2\x80\xa8\""},
        {"<script>&", "\"<script>&\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct chi_buf buf = {0};
        chi_buf_add_json(&buf, cases[i].in, strlen(cases[i].in));
        expect(&buf, cases[i].out);
        chi_buf_fini(&buf);
    }
}
END_TEST

START_TEST(json_finds_an_escape_at_every_place_of_a_word)
{
    for (unsigned c = 0; c < 256; c++) {
        for (size_t at = 0; at < 24; at++) {
            char text[24];
            memset(text, 'a', sizeof text);
            text[at] = (char)c;
            struct chi_buf buf = {0};
            chi_buf_add_json(&buf, text, sizeof text);
            bool escaped = c < 0x20 || c == 0x7f || c == '"' || c == '\\';
            ck_assert_uint_eq(buf.len > sizeof text + 2, escaped);
            ck_assert(memcmp(buf.at + 1, text, at) == 0);
            ck_assert(memcmp(buf.at + buf.len - (24 - at), text + at + 1, 23 - at) == 0);
            chi_buf_fini(&buf);
        }
    }
}
END_TEST

START_TEST(consume_takes_from_the_front)
{
    struct chi_buf buf = {0};
    chi_buf_add_text(&buf, "abcdef");
    chi_buf_consume(&buf, 2);
    expect(&buf, "cdef");
    chi_buf_consume(&buf, 0);
    expect(&buf, "cdef");
    chi_buf_consume(&buf, 9);
    ck_assert_uint_eq(buf.len, 0);
    chi_buf_fini(&buf);
}
END_TEST

START_TEST(reset_keeps_only_small_allocations)
{
    struct chi_buf buf = {0};
    ck_assert_ptr_nonnull(chi_buf_reserve(&buf, 100));
    chi_buf_add_text(&buf, "x");
    chi_buf_reset(&buf, 4096);
    ck_assert_uint_eq(buf.len, 0);
    ck_assert_uint_ge(buf.cap, 100);
    chi_buf_reset(&buf, 16);
    ck_assert_uint_eq(buf.cap, 0);
    ck_assert_ptr_null(buf.at);
    chi_buf_add_text(&buf, "again");
    expect(&buf, "again");
    chi_buf_fini(&buf);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("buf");
    TCase *tcase = tcase_create("buf");
    tcase_add_test(tcase, appends_follow_each_other);
    tcase_add_test(tcase, reserving_nothing_still_gives_a_place);
    tcase_add_test(tcase, a_reserve_beyond_memory_fails_until_truncated);
    tcase_add_test(tcase, json_strings_escape_what_they_must_and_nothing_else);
    tcase_add_test(tcase, json_finds_an_escape_at_every_place_of_a_word);
    tcase_add_test(tcase, consume_takes_from_the_front);
    tcase_add_test(tcase, reset_keeps_only_small_allocations);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
