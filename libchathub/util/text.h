/* Text as it crosses borders: UTF-8, base64url, time stamps, spans. */
#ifndef CHI_UTIL_TEXT_H
#define CHI_UTIL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that somebody else owns; `at` is NULL where there are none. Not NUL-terminated unless
 * said. */
struct chi_span {
    const char *at;
    size_t len;
};

#define CHI_SPAN(literal) ((struct chi_span){"" literal, sizeof(literal) - 1})

struct chi_span chi_span_of(const char *text); /* up to its NUL; NULL gives an empty span */
bool chi_span_equal(struct chi_span a, struct chi_span b);
bool chi_span_is(struct chi_span a, const char *text);

/* UTF-8 (RFC 3629), checked across any chunking: state 0 at the start and at each character's
 * end. */
#define CHI_UTF8_INVALID 0xffffffffu
uint32_t chi_utf8_feed(uint32_t state, const void *bytes, size_t len);
bool chi_utf8_valid(const void *bytes, size_t len);
/* The code point at `*at` (valid UTF-8); moves `*at` behind it. */
uint32_t chi_utf8_next(const char **at, const char *end);
/* How many bytes, at most `most`, the text has if it is cut between characters. */
size_t chi_utf8_cut(struct chi_span text, size_t most);
/* Copies UTF-8 as one line for people: cut as above to `size` bytes, C0 controls and DEL as spaces.
 * Returns how many bytes it wrote; no NUL. */
size_t chi_utf8_line(struct chi_span text, char *out, size_t size);

/* Whether valid UTF-8 holds no C0 control but tab and newline, no DEL and no C1 control. */
bool chi_text_clean(const char *text, size_t len);

/* How many bytes from the front are no quote, backslash, C0 control or DEL: what stands in a JSON
 * string as it is. */
size_t chi_text_run(const char *text, size_t len);

/* base64url without padding (RFC 4648 section 5). Writes 4/3 of len, rounded up, and a NUL. */
#define CHI_BASE64URL_SIZE(n) (((n)*4 + 2) / 3 + 1)
void chi_base64url(const void *bytes, size_t len, char *out);

/* "2026-01-02T03:04:05.678Z" (RFC 3339) and a NUL. */
#define CHI_TIMESTAMP_SIZE 25
void chi_timestamp(uint64_t unix_ms, char out[CHI_TIMESTAMP_SIZE]);

/* A decimal number that is all of the span and within [min, max]; false otherwise. */
bool chi_parse_u64(struct chi_span text, uint64_t min, uint64_t max, uint64_t *out);

/* Copies a span into a NUL-terminated string of its own; NULL if there is no memory. */
char *chi_span_dup(struct chi_span text);

/* Of a hexadecimal digit, in either case; -1 if it is none. */
int chi_hex_digit(char c);

#endif
