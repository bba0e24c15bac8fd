#include "dialect/flat.h"

#include <string.h>

/* How deep values may nest in a member, and how many members an object within one may have. */
#define DEPTH_MAX     8
#define INNER_MEMBERS 16
/* Digits of a number before and behind its point: every one of so many is exact as a double. */
#define DIGITS_MAX 15

struct scan {
    const char *at;
    const char *end;
};

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end &&
           (*scan->at == ' ' || *scan->at == '\t' || *scan->at == '\n' || *scan->at == '\r'))
        scan->at++;
}

/* Whether `c` comes next, behind blanks or not; it is passed then. */
static bool take(struct scan *scan, char c)
{
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    return true;
}

/* --------------------------------------------------------------------------------------- texts */

/* The four digits behind "\u"; negative: there are no four. */
static int code_unit(const char *at, const char *end)
{
    int unit = 0;
    if (end - at < 6 || at[0] != '\\' || at[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = chi_hex_digit(at[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

static bool is_high(int unit)
{
    return unit >= 0xd800 && unit <= 0xdbff;
}

static bool is_low(int unit)
{
    return unit >= 0xdc00 && unit <= 0xdfff;
}

/* Bytes of the escape at `at`, for a pair of surrogates those of both; 0: it is none, or stands for
 * NUL or half a character. */
static size_t escape_size(const char *at, const char *end)
{
    if (end - at < 2)
        return 0;
    if (at[1] != 'u')
        return at[1] && strchr("\"\\/bfnrt", at[1]) ? 2 : 0;
    int unit = code_unit(at, end);
    if (is_high(unit))
        return is_low(code_unit(at + 6, end)) ? 12 : 0;
    return unit > 0 && !is_low(unit) ? 6 : 0;
}

/* The text that begins here: *inner is what stands between its quotes. */
static bool scan_text(struct scan *scan, struct chi_span *inner, bool *escaped)
{
    *escaped = false;
    if (!take(scan, '"'))
        return false;
    const char *from = scan->at;
    for (;;) {
        scan->at += chi_text_run(scan->at, (size_t)(scan->end - scan->at));
        if (scan->at == scan->end)
            return false;
        size_t size = 1; /* DEL is a character as any other */
        if (*scan->at == '"')
            break;
        if (*scan->at == '\\') {
            *escaped = true;
            size = escape_size(scan->at, scan->end);
        }
        if (!size || (unsigned char)*scan->at < 0x20)
            return false;
        scan->at += size;
    }
    *inner = (struct chi_span){from, (size_t)(scan->at++ - from)};
    return true;
}

static size_t put_utf8(char *to, uint32_t point)
{
    int more = point < 0x80 ? 0 : point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    to[0] = (char)(lead[more] | point >> (6 * more));
    for (int i = 1; i <= more; i++)
        to[i] = (char)(0x80 | ((point >> (6 * (more - i))) & 0x3f));
    return (size_t)more + 1;
}

/* What the escape at `at`, of `size` bytes, stands for. */
static uint32_t escaped_point(const char *at, size_t size)
{
    static const char named[] = "b\bf\fn\nr\rt\t";
    if (size == 2) {
        for (const char *pair = named; *pair; pair += 2) {
            if (pair[0] == at[1])
                return (uint8_t)pair[1];
        }
        return (uint8_t)at[1];
    }
    uint32_t unit = (uint32_t)code_unit(at, at + 6);
    if (size == 6)
        return unit;
    uint32_t low = (uint32_t)code_unit(at + 6, at + 12);
    return 0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00));
}

size_t chi_flat_unescape(struct chi_span raw, char *to)
{
    const char *at = raw.at + 1, *end = raw.at + raw.len - 1; /* its quotes */
    char *out = to;
    while (at < end) {
        const char *slash = memchr(at, '\\', (size_t)(end - at));
        size_t run = (size_t)((slash ? slash : end) - at);
        memcpy(out, at, run);
        out += run;
        at += run;
        if (at < end) {
            size_t size = escape_size(at, end);
            out += put_utf8(out, escaped_point(at, size));
            at += size;
        }
    }
    return (size_t)(out - to);
}

/* -------------------------------------------------------------------------------------- values */

static bool scan_word(struct scan *scan, const char *word, size_t len)
{
    if ((size_t)(scan->end - scan->at) < len || memcmp(scan->at, word, len) != 0)
        return false;
    scan->at += len;
    return true;
}

/* Some digits, at most DIGITS_MAX; *number goes on with them. */
static bool scan_digits(struct scan *scan, uint64_t *number)
{
    const char *from = scan->at;
    for (; scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9'; scan->at++) {
        if (scan->at - from == DIGITS_MAX)
            return false;
        *number = *number * 10 + (uint64_t)(*scan->at - '0');
    }
    return scan->at > from;
}

/* What follows a value ends a number: an exponent, or a point where `whole`, is left to jansson. */
static bool scan_number(struct scan *scan, bool whole, double *out)
{
    uint64_t number = 0, fraction = 0;
    if (!whole && *scan->at == '-')
        scan->at++;
    const char *from = scan->at;
    if (!scan_digits(scan, &number) || (*from == '0' && scan->at - from > 1))
        return false;
    *out = (double)number;
    if (whole || scan->at == scan->end || *scan->at != '.')
        return true;
    scan->at++;
    return scan_digits(scan, &fraction);
}

static bool scan_inner(struct scan *scan, size_t depth, size_t *nesting);

/* Members of an object within a member, behind its brace. No key may come twice. */
static bool scan_inner_object(struct scan *scan, size_t depth, size_t *nesting)
{
    struct chi_span keys[INNER_MEMBERS];
    bool escaped;
    if (take(scan, '}'))
        return true;
    for (size_t count = 0; count < INNER_MEMBERS; count++) {
        if (!scan_text(scan, &keys[count], &escaped) || escaped || !take(scan, ':'))
            return false;
        for (size_t i = 0; i < count; i++) {
            if (chi_span_equal(keys[i], keys[count]))
                return false;
        }
        if (!scan_inner(scan, depth, nesting))
            return false;
        if (take(scan, '}'))
            return true;
        if (!take(scan, ','))
            return false;
    }
    return false;
}

static bool scan_inner_list(struct scan *scan, size_t depth, size_t *nesting)
{
    if (take(scan, ']'))
        return true;
    do {
        if (!scan_inner(scan, depth, nesting))
            return false;
    } while (take(scan, ','));
    return take(scan, ']');
}

/* A value within a member, in which `depth` levels are open; *nesting: the most there were. */
static bool scan_inner(struct scan *scan, size_t depth, size_t *nesting)
{
    struct chi_span text;
    bool escaped;
    double number;
    skip_blanks(scan);
    if (scan->at == scan->end || depth > DEPTH_MAX)
        return false;
    char c = *scan->at;
    if (c == '"')
        return scan_text(scan, &text, &escaped);
    if (c == '{' || c == '[') {
        scan->at++;
        depth++;
        if (depth > *nesting)
            *nesting = depth;
        return c == '{' ? scan_inner_object(scan, depth, nesting)
                        : scan_inner_list(scan, depth, nesting);
    }
    return c == 't'   ? scan_word(scan, "true", 4)
           : c == 'f' ? scan_word(scan, "false", 5)
           : c == 'n' ? scan_word(scan, "null", 4)
                      : scan_number(scan, false, &number);
}

/* The value of a member, which is filled in but for its key. */
static bool scan_value(struct scan *scan, struct chi_flat_member *out)
{
    struct chi_span text;
    bool good;
    skip_blanks(scan);
    if (scan->at == scan->end)
        return false;
    const char *from = scan->at;
    switch (*from) {
    case '"':
        out->type = CHI_VALUE_TEXT;
        good = scan_text(scan, &text, &out->escaped);
        break;
    case '{':
        out->type = CHI_VALUE_OBJECT;
        out->nesting = 0;
        good = scan_inner(scan, 0, &out->nesting);
        break;
    case 't':
        out->type = CHI_VALUE_TRUE;
        good = scan_word(scan, "true", 4);
        break;
    case 'f':
        out->type = CHI_VALUE_FALSE;
        good = scan_word(scan, "false", 5);
        break;
    case 'n':
        out->type = CHI_VALUE_NULL;
        good = scan_word(scan, "null", 4);
        break;
    default:
        out->type = CHI_VALUE_NUMBER;
        good = scan_number(scan, true, &out->number);
        break;
    }
    out->raw = (struct chi_span){from, (size_t)(scan->at - from)};
    return good;
}

static bool scan_members(struct scan *scan, struct chi_flat *out)
{
    bool escaped;
    if (take(scan, '}'))
        return true;
    while (out->count < CHI_FLAT_MEMBERS) {
        struct chi_flat_member *member = &out->members[out->count];
        if (!scan_text(scan, &member->key, &escaped) || escaped || !take(scan, ':'))
            return false;
        for (size_t i = 0; i < out->count; i++) {
            if (chi_span_equal(out->members[i].key, member->key))
                return false;
        }
        if (!scan_value(scan, member))
            return false;
        out->count++;
        if (take(scan, '}'))
            return true;
        if (!take(scan, ','))
            return false;
    }
    return false;
}

bool chi_flat_read(struct chi_span text, struct chi_flat *out)
{
    struct scan scan = {text.at, text.at + text.len};
    out->count = 0;
    if (!take(&scan, '{') || !scan_members(&scan, out))
        return false;
    skip_blanks(&scan);
    return scan.at == scan.end;
}

const struct chi_flat_member *chi_flat_find(const struct chi_flat *flat, const char *key)
{
    size_t len = strlen(key);
    for (size_t i = 0; i < flat->count; i++) {
        const struct chi_flat_member *member = &flat->members[i];
        if (member->key.len == len && memcmp(member->key.at, key, len) == 0)
            return member;
    }
    return NULL;
}
