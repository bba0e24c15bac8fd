#include "util/text.h"

#include <stdlib.h>
#include <string.h>

struct chi_span chi_span_of(const char *text)
{
    return (struct chi_span){text, text ? strlen(text) : 0};
}

bool chi_span_equal(struct chi_span a, struct chi_span b)
{
    return a.len == b.len && (!a.len || memcmp(a.at, b.at, a.len) == 0);
}

bool chi_span_is(struct chi_span a, const char *text)
{
    return chi_span_equal(a, chi_span_of(text));
}

#define EACH_BYTE(n) (UINT64_C(0x0101010101010101) * (n))

/* Long texts are looked at by blocks of so many bytes, in loops that compilers turn into vector
 * instructions. */
#define BLOCK 64

static uint64_t load_word(const uint8_t *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

/* Within a character, the state says how many bytes are missing and the range of the next one:
 * count | lowest << 8 | highest << 16. */
#define PENDING(count, low, high) ((count) | (low) << 8 | (high) << 16)

/* The state after a character's first byte (RFC 3629 section 4: no overlong forms, no
 * surrogates, nothing above U+10FFFF; all of it shows in the range of the second byte). */
static uint32_t utf8_lead(uint8_t c)
{
    if (c < 0x80)
        return 0;
    if (c < 0xc2)
        return CHI_UTF8_INVALID;
    if (c < 0xe0)
        return PENDING(1u, 0x80u, 0xbfu);
    if (c < 0xf0)
        return PENDING(2u, c == 0xe0 ? 0xa0u : 0x80u, c == 0xed ? 0x9fu : 0xbfu);
    if (c < 0xf5)
        return PENDING(3u, c == 0xf0 ? 0x90u : 0x80u, c == 0xf4 ? 0x8fu : 0xbfu);
    return CHI_UTF8_INVALID;
}

static uint32_t utf8_rest(uint32_t state, uint8_t c)
{
    if (c < ((state >> 8) & 0xff) || c > ((state >> 16) & 0xff))
        return CHI_UTF8_INVALID;
    uint32_t missing = (state & 0xff) - 1;
    return missing ? PENDING(missing, 0x80u, 0xbfu) : 0;
}

static bool block_is_ascii(const uint8_t *at)
{
    uint8_t all = 0;
    for (size_t i = 0; i < BLOCK; i++)
        all |= at[i];
    return all < 0x80;
}

static const uint8_t *skip_ascii(const uint8_t *at, const uint8_t *end)
{
    while (end - at >= BLOCK && block_is_ascii(at))
        at += BLOCK;
    while (end - at >= 8 && !(load_word(at) & EACH_BYTE(0x80)))
        at += 8;
    return at;
}

static bool is_later(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

size_t chi_utf8_cut(struct chi_span text, size_t most)
{
    size_t len = text.len < most ? text.len : most;
    while (len && len < text.len && is_later((uint8_t)text.at[len]))
        len--;
    return len;
}

size_t chi_utf8_line(struct chi_span text, char *out, size_t size)
{
    size_t len = text.at ? chi_utf8_cut(text, size) : 0;
    for (size_t i = 0; i < len; i++)
        out[i] = (uint8_t)text.at[i] < ' ' || text.at[i] == 0x7f ? ' ' : text.at[i];
    return len;
}

/* Bytes of the character of two or three that begins here and is all there; 0: it is another. */
static size_t common_char(const uint8_t *at, const uint8_t *end)
{
    if (end - at < 3 || !is_later(at[1]))
        return 0;
    if (at[0] >= 0xc2 && at[0] < 0xe0)
        return 2;
    bool three = at[0] == 0xe0   ? at[1] >= 0xa0
                 : at[0] == 0xed ? at[1] < 0xa0
                                 : (at[0] & 0xf0) == 0xe0;
    return three && is_later(at[2]) ? 3 : 0;
}

uint32_t chi_utf8_feed(uint32_t state, const void *bytes, size_t len)
{
    const uint8_t *at = bytes, *end = at ? at + len : at;
    while (at < end && state != CHI_UTF8_INVALID) {
        if (state) {
            state = utf8_rest(state, *at++);
            continue;
        }
        if (*at < 0x80) {
            at = skip_ascii(at + 1, end);
            continue;
        }
        size_t size = common_char(at, end);
        at += size;
        if (!size)
            state = utf8_lead(*at++);
    }
    return state;
}

bool chi_utf8_valid(const void *bytes, size_t len)
{
    return chi_utf8_feed(0, bytes, len) == 0;
}

uint32_t chi_utf8_next(const char **at, const char *end)
{
    uint8_t lead = (uint8_t) * (*at)++;
    if (lead < 0x80)
        return lead;
    int more = lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : 3;
    uint32_t point = lead & (0x3fu >> more);
    while (more-- && *at < end)
        point = point << 6 | ((uint8_t) * (*at)++ & 0x3f);
    return point;
}

/* Whether 8 bytes hold nothing that could be a control: no C0, no DEL, no 0xC2 (which begins all
 * C1). */
static bool word_is_clean(uint64_t word)
{
    uint64_t del = word ^ EACH_BYTE(0x7f);
    uint64_t c2 = word ^ EACH_BYTE(0xc2);
    uint64_t hit = ((word - EACH_BYTE(0x20)) & ~word) | ((del - EACH_BYTE(1)) & ~del) |
                   ((c2 - EACH_BYTE(1)) & ~c2);
    return !(hit & EACH_BYTE(0x80));
}

static bool block_is_clean(const uint8_t *at)
{
    uint8_t hit = 0;
    for (size_t i = 0; i < BLOCK; i++)
        hit |= (uint8_t)(((at[i] < 0x20) & (at[i] != '\t') & (at[i] != '\n')) | (at[i] == 0x7f) |
                         (at[i] == 0xc2));
    return !hit;
}

bool chi_text_clean(const char *text, size_t len)
{
    const uint8_t *at = (const uint8_t *)text, *end = at ? at + len : at;
    while (at < end) {
        while (end - at >= BLOCK && block_is_clean(at))
            at += BLOCK;
        while (end - at >= 8 && word_is_clean(load_word(at)))
            at += 8;
        if (at == end)
            break;
        uint8_t c = *at++;
        if ((c < 0x20 && c != '\t' && c != '\n') || c == 0x7f)
            return false;
        if (c == 0xc2 && at < end && *at < 0xa0)
            return false;
    }
    return true;
}

/* ---------------------------------------------------------------------------------- JSON strings */

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c != 0x7f && c != '"' && c != '\\';
}

/* 0 where all of 8 bytes are plain; else the highest bit is set in the first byte that is not, and
 * none in those before it in memory order of a little-endian machine. */
static uint64_t word_hits(uint64_t word)
{
    uint64_t quote = word ^ EACH_BYTE('"');
    uint64_t slash = word ^ EACH_BYTE('\\');
    uint64_t del = word ^ EACH_BYTE(0x7f);
    uint64_t hit = ((word - EACH_BYTE(0x20)) & ~word) | ((quote - EACH_BYTE(1)) & ~quote) |
                   ((slash - EACH_BYTE(1)) & ~slash) | ((del - EACH_BYTE(1)) & ~del);
    return hit & EACH_BYTE(0x80);
}

/* How many of 8 bytes from the front are plain where not all are. */
static size_t plain_bytes(const uint8_t *at, uint64_t hits)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    (void)at;
    return (size_t)__builtin_ctzll(hits) / 8;
#else
    size_t n = 0;
    while (is_plain(at[n]))
        n++;
    (void)hits;
    return n;
#endif
}

static bool block_is_plain(const uint8_t *at)
{
    uint8_t hit = 0;
    for (size_t i = 0; i < BLOCK; i++)
        hit |= (uint8_t)((at[i] < 0x20) | (at[i] == 0x7f) | (at[i] == '"') | (at[i] == '\\'));
    return !hit;
}

/* Most texts are short: blocks begin where one turned out to be long. */
#define SHORT 32

/* Whether the last bytes of a text are plain, 8 of them or all; some may be looked at again. */
static bool tail_is_plain(const uint8_t *at, size_t len)
{
    uint32_t first, last;
    if (len >= 8)
        return !word_hits(load_word(at + len - 8));
    if (len < 4)
        return false; /* not known */
    memcpy(&first, at, sizeof(first));
    memcpy(&last, at + len - sizeof(last), sizeof(last));
    return !word_hits((uint64_t)first << 32 | last);
}

size_t chi_text_run(const char *text, size_t len)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t at = 0;
    while (len - at >= 8) {
        uint64_t hits = word_hits(load_word(bytes + at));
        if (hits)
            return at + plain_bytes(bytes + at, hits);
        at += 8;
        while (at >= SHORT && len - at >= BLOCK && block_is_plain(bytes + at))
            at += BLOCK;
    }
    if (at == len || tail_is_plain(bytes, len))
        return len;
    while (at < len && is_plain(bytes[at]))
        at++;
    return at;
}

void chi_base64url(const void *bytes, size_t len, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const uint8_t *at = bytes;
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < len; i++) {
        bits = (bits << 8 | at[i]) & 0xffff;
        count += 8;
        while (count >= 6) {
            count -= 6;
            *out++ = digits[(bits >> count) & 63];
        }
    }
    if (count)
        *out++ = digits[(bits << (6 - count)) & 63];
    *out = '\0';
}

static void put_two(char *to, uint32_t number)
{
    to[0] = (char)('0' + number / 10);
    to[1] = (char)('0' + number % 10);
}

/* Year, month and day of a day since 1970, by eras of 400 years that begin on 1 March. */
static void civil(uint32_t days, uint32_t *year, uint32_t *month, uint32_t *day)
{
    uint32_t shifted = days + 719468;
    uint32_t era = shifted / 146097, of_era = shifted % 146097;
    uint32_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    uint32_t of_year = of_era - (365 * y + y / 4 - y / 100);
    uint32_t m = (5 * of_year + 2) / 153;
    *day = of_year - (153 * m + 2) / 5 + 1;
    *month = m < 10 ? m + 3 : m - 9;
    *year = y + era * 400 + (*month <= 2);
}

#define LAST_MS UINT64_C(253402300799999) /* of the year 9999: RFC 3339 has four digits */

void chi_timestamp(uint64_t unix_ms, char out[CHI_TIMESTAMP_SIZE])
{
    uint64_t ms = unix_ms < LAST_MS ? unix_ms : LAST_MS;
    uint32_t days = (uint32_t)(ms / 86400000), of_day = (uint32_t)(ms % 86400000);
    uint32_t seconds = of_day / 1000, year, month, day;
    civil(days, &year, &month, &day);
    memcpy(out, "0000-00-00T00:00:00.000Z", CHI_TIMESTAMP_SIZE);
    put_two(out, year / 100);
    put_two(out + 2, year % 100);
    put_two(out + 5, month);
    put_two(out + 8, day);
    put_two(out + 11, seconds / 3600);
    put_two(out + 14, seconds / 60 % 60);
    put_two(out + 17, seconds % 60);
    put_two(out + 20, of_day % 1000 / 10);
    out[22] = (char)('0' + of_day % 10);
}

bool chi_parse_u64(struct chi_span text, uint64_t min, uint64_t max, uint64_t *out)
{
    uint64_t number = 0;
    if (!text.len)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned char)text.at[i] - (unsigned)'0';
        if (digit > 9 || number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (number < min || number > max)
        return false;
    *out = number;
    return true;
}

char *chi_span_dup(struct chi_span text)
{
    if (text.len == SIZE_MAX)
        return NULL;
    char *copy = malloc(text.len + 1);
    if (!copy)
        return NULL;
    if (text.len)
        memcpy(copy, text.at, text.len);
    copy[text.len] = '\0';
    return copy;
}

int chi_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
