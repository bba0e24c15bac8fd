#include "auth/fold.h"

#include "chathub.h"

/* Printable ASCII, outer spaces cut off, inner runs of spaces made one (RFC 8266 section 2.3);
 * compared without case. */
static int fold_ascii(struct chi_span text, struct chi_buf *shown, struct chi_buf *key)
{
    size_t before = shown->len;
    bool space = false;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        if (c < ' ' || c > '~')
            return CHATHUB_ENAME;
        if (c == ' ') {
            space = true;
            continue;
        }
        if (space && shown->len > before) {
            chi_buf_add_char(shown, ' ');
            chi_buf_add_char(key, ' ');
        }
        space = false;
        chi_buf_add_char(shown, c);
        chi_buf_add_char(key, c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c);
    }
    if (shown->failed || key->failed)
        return CHATHUB_ENOMEM;
    return shown->len > before ? 0 : CHATHUB_ENAME;
}

#ifdef HAVE_UTF8PROC
#include <stdlib.h>
#include <utf8proc.h>

/* Invisible or misleading though their category is one of letters, marks or symbols: fillers,
 * joiners, variation selectors (but FE0F, which emoji have), and object replacement. */
static bool is_hidden(utf8proc_int32_t c)
{
    static const struct {
        utf8proc_int32_t first, last;
    } hidden[] = {{0x034f, 0x034f}, {0x115f, 0x1160},  {0x17b4, 0x17b5}, {0x180b, 0x180f},
                  {0x2800, 0x2800}, {0x3164, 0x3164},  {0xfe00, 0xfe0e}, {0xffa0, 0xffa0},
                  {0xfff9, 0xfffd}, {0xe0000, 0xe0fff}};
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
        if (c >= hidden[i].first && c <= hidden[i].last)
            return true;
    return false;
}

/* What a code point is in a name. A mark shows nothing by itself: a name needs something it can
 * stand on. */
enum part { PART_REFUSED, PART_SPACE, PART_MARK, PART_VISIBLE };

static enum part part_of(utf8proc_int32_t c)
{
    const utf8proc_property_t *property = utf8proc_get_property(c);
    if (property->category == UTF8PROC_CATEGORY_ZS)
        return PART_SPACE;
    if (is_hidden(c))
        return PART_REFUSED;
    switch (property->category) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return PART_REFUSED;
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
        return PART_MARK;
    default:
        return PART_VISIBLE;
    }
}

#define ZERO_WIDTH_JOINER 0x200d
#define MARKS_IN_A_ROW    8 /* more would pile up over the lines around the name */

/* It colours the emoji before it, which stays what a joiner joins. */
static bool is_skin_tone(utf8proc_int32_t c)
{
    return c >= 0x1f3fb && c <= 0x1f3ff;
}

static bool is_emoji(utf8proc_int32_t c)
{
    return c >= 0 &&
           utf8proc_get_property(c)->boundclass == UTF8PROC_BOUNDCLASS_EXTENDED_PICTOGRAPHIC;
}

/* A joiner (and nothing else that is invisible) is allowed where it makes one emoji of two. */
static bool joins_emoji(utf8proc_int32_t before, struct chi_span text, size_t at)
{
    utf8proc_int32_t after = -1;
    if (at < text.len)
        utf8proc_iterate((const utf8proc_uint8_t *)text.at + at, (utf8proc_ssize_t)(text.len - at),
                         &after);
    return is_emoji(before) && is_emoji(after);
}

/* The part that a code point plays at its place; `base` is the latest one that is no mark. */
static enum part part_at(utf8proc_int32_t c, utf8proc_int32_t base, struct chi_span text,
                         size_t next)
{
    if (c == ZERO_WIDTH_JOINER)
        return joins_emoji(base, text, next) ? PART_MARK : PART_REFUSED;
    return part_of(c);
}

/* Copies the allowed text with its spaces cut and joined. 0, CHATHUB_ENAME or CHATHUB_ENOMEM. */
static int tidy(struct chi_span text, struct chi_buf *out)
{
    utf8proc_int32_t base = -1;
    unsigned marks = 0;
    bool space = false;
    for (size_t at = 0; at < text.len;) {
        utf8proc_int32_t c;
        const char *from = text.at + at;
        utf8proc_ssize_t n =
            utf8proc_iterate((const utf8proc_uint8_t *)from, (utf8proc_ssize_t)(text.len - at), &c);
        if (n <= 0)
            return CHATHUB_ENAME;
        at += (size_t)n;
        enum part part = part_at(c, base, text, at);
        if (part == PART_SPACE) {
            space = true;
            continue;
        }
        marks = part == PART_MARK ? marks + 1 : 0;
        if (part == PART_REFUSED || marks > MARKS_IN_A_ROW || (marks && (space || base < 0)))
            return CHATHUB_ENAME;
        if (space && out->len)
            chi_buf_add_char(out, ' ');
        space = false;
        if (part == PART_VISIBLE && !is_skin_tone(c))
            base = c;
        chi_buf_add(out, from, (size_t)n);
    }
    if (out->failed)
        return CHATHUB_ENOMEM;
    return out->len ? 0 : CHATHUB_ENAME;
}

static int map_to(struct chi_span text, utf8proc_option_t options, struct chi_buf *out)
{
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t n = utf8proc_map((const utf8proc_uint8_t *)text.at, (utf8proc_ssize_t)text.len,
                                      &mapped, (utf8proc_option_t)(options | UTF8PROC_STABLE));
    if (n < 0)
        return n == UTF8PROC_ERROR_NOMEM ? CHATHUB_ENOMEM : CHATHUB_ENAME;
    chi_buf_add(out, mapped, (size_t)n);
    free(mapped);
    return out->failed ? CHATHUB_ENOMEM : 0;
}

#define KEY_OPTIONS (UTF8PROC_COMPOSE | UTF8PROC_COMPAT | UTF8PROC_CASEFOLD | UTF8PROC_IGNORE)

/* Folding to a key may uncover spaces (U+00A8 is a space and a mark in NFKC) and characters that
 * fold once more: it is done until nothing changes (RFC 8266 section 2.1 asks for as many as
 * three rounds). */
static int key_of(struct chi_span text, struct chi_buf *key)
{
    struct chi_buf rounds[2] = {{0}, {0}};
    struct chi_span last = text;
    int error = 0;
    for (unsigned round = 0; round < 4 && !error; round++) {
        struct chi_buf *next = &rounds[round % 2];
        chi_buf_reset(next, SIZE_MAX);
        error = map_to(last, (utf8proc_option_t)KEY_OPTIONS, next);
        struct chi_span now = {next->at, next->len};
        if (!error && chi_span_equal(now, last))
            break;
        last = now;
    }
    if (!error && last.at)
        chi_buf_add(key, last.at, last.len);
    chi_buf_fini(&rounds[0]);
    chi_buf_fini(&rounds[1]);
    if (error)
        return error;
    return key->failed ? CHATHUB_ENOMEM : 0;
}

static int fold_unicode(struct chi_span text, struct chi_buf *shown, struct chi_buf *key)
{
    struct chi_buf tidied = {0};
    size_t before = shown->len;
    int error = tidy(text, &tidied);
    if (!error)
        error = map_to((struct chi_span){tidied.at, tidied.len}, UTF8PROC_COMPOSE, shown);
    if (!error)
        error = key_of((struct chi_span){shown->at + before, shown->len - before}, key);
    chi_buf_fini(&tidied);
    return error;
}
#endif

int chi_fold(bool ascii_only, enum chi_fold_kind kind, struct chi_span text, struct chi_buf *shown,
             struct chi_buf *key)
{
    (void)kind; /* people and rooms have the same rules */
    size_t shown_before = shown->len, key_before = key->len;
#ifdef HAVE_UTF8PROC
    int error = fold_ascii(text, shown, key);
    if (error == CHATHUB_ENAME && !ascii_only) { /* what is plain is the same by both rules */
        chi_buf_truncate(shown, shown_before);
        chi_buf_truncate(key, key_before);
        error = fold_unicode(text, shown, key);
    }
#else
    (void)ascii_only;
    int error = fold_ascii(text, shown, key);
#endif
    if (error) {
        chi_buf_truncate(shown, shown_before);
        chi_buf_truncate(key, key_before);
    }
    return error;
}
