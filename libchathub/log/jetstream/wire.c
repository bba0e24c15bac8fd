/* Payloads, tokens of rooms, hints.
 *
 * Each payload begins with a letter that says what it is, and its version. Numbers are little-endian:
 *
 *   entry    'e' 1  type:2 sender:2 user:2 cid:2 content:4 data:4 (lengths) zero:2
 *                   time:8 nonce:8 before:8 ordinal:8 back64:8 back4k:8, the texts in this order
 *   epoch    'p' 1  zero:2 name:16 first:8
 *   erased   'x' 1  type:2 room:2 (length) zero:2 position:8 prev:8 time:8, the room's key */
#include "log/jetstream/wire.h"

#include <assert.h>

#include "chathub.h"
#include "core/ports.h"

#define VERSION     1
#define ENTRY_HEAD  68u
#define EPOCH_BYTES (4u + CHI_EPOCH_LEN + 8u)
#define ERASED_HEAD 32u
/* The last time that a stamp of four digits a year can tell. */
#define TIME_MAX UINT64_C(253402300799999)

/* --------------------------------------------------------------------------------------- numbers */

static char *put(char *at, uint64_t number, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++, number >>= 8)
        *at++ = (char)(number & 0xff);
    return at;
}

static uint64_t take(const char **at, unsigned bytes)
{
    uint64_t number = 0;
    for (unsigned i = 0; i < bytes; i++)
        number |= (uint64_t)(uint8_t)(*at)[i] << (8 * i);
    *at += bytes;
    return number;
}

/* The bytes behind letter and version; NULL: it is something else, or shorter than `least`. */
static const char *opened(struct chi_span payload, char letter, size_t least)
{
    bool is = payload.len >= least && payload.at[0] == letter && payload.at[1] == VERSION;
    return is ? payload.at + 2 : NULL;
}

/* ---------------------------------------------------------------------------------------- tokens */

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

void chi_js_room_token(struct chi_buf *out, struct chi_span key)
{
    static const char digits[] = "0123456789abcdef";
    char *to = key.len <= SIZE_MAX / 3 ? chi_buf_reserve(out, key.len * 3) : NULL;
    if (!to) {
        out->failed = true;
        return;
    }
    for (size_t i = 0; i < key.len; i++) {
        uint8_t c = (uint8_t)key.at[i];
        if (is_plain(key.at[i])) {
            *to++ = key.at[i];
            continue;
        }
        *to++ = '=';
        *to++ = digits[c >> 4];
        *to++ = digits[c & 15];
    }
    out->len = (size_t)(to - out->at);
}

static int digit(char c)
{
    return c >= 'A' && c <= 'F' ? -1 : chi_hex_digit(c);
}

/* One byte of the key; moves *at behind it. False: not in its only form. */
static bool take_byte(const char **at, const char *end, char *out)
{
    const char *from = *at;
    *out = *from;
    *at = from + 1;
    if (is_plain(*from))
        return true;
    if (*from != '=' || end - from < 3 || digit(from[1]) < 0 || digit(from[2]) < 0)
        return false;
    *at = from + 3;
    *out = (char)(digit(from[1]) << 4 | digit(from[2]));
    return !is_plain(*out);
}

int chi_js_room_key(struct chi_buf *out, struct chi_span token)
{
    size_t old = out->len;
    if (!token.len)
        return CHATHUB_EREQUEST;
    char *to = chi_buf_reserve(out, token.len);
    if (!to)
        return CHATHUB_ENOMEM;
    for (const char *at = token.at, *end = at + token.len; at < end;) {
        if (!take_byte(&at, end, to++))
            return CHATHUB_EREQUEST;
    }
    size_t len = (size_t)(to - (out->at + old));
    if (!chi_utf8_valid(out->at + old, len))
        return CHATHUB_EREQUEST;
    out->len = old + len;
    return 0;
}

/* ----------------------------------------------------------------------------------------- hints */

/* What an honest node may say: each is a position before the next, and there are no more entries than
 * positions. */
static bool is_possible(const struct chi_js_hint *hint)
{
    return hint->before <= CHI_POSITION_MAX && hint->ordinal <= hint->before &&
           hint->back64 <= hint->before && hint->back4k <= hint->back64;
}

struct chi_js_hint chi_js_hint_after(uint64_t position, const struct chi_js_hint *hint)
{
    struct chi_js_hint of = *hint;
    if (!position || position > CHI_POSITION_MAX)
        return (struct chi_js_hint){0};
    if (!is_possible(&of) || of.before >= position)
        of = (struct chi_js_hint){0};
    return (struct chi_js_hint){
        .before = position,
        .ordinal = of.ordinal + 1,
        .back64 = of.ordinal % 64 ? of.back64 : position,
        .back4k = of.ordinal % 4096 ? of.back4k : position,
    };
}

/* --------------------------------------------------------------------------------------- entries */

void chi_js_write_entry(struct chi_buf *out, const struct chi_entry *entry, uint64_t time,
                        uint64_t nonce, const struct chi_js_hint *hint)
{
    size_t texts = chi_entry_size(entry) - sizeof(*entry);
    char *at = chi_buf_reserve(out, ENTRY_HEAD + texts);
    if (!at)
        return;
    *at++ = 'e';
    *at++ = VERSION;
    at = put(at, entry->type, 2);
    at = put(at, entry->sender_len, 2);
    at = put(at, entry->user_len, 2);
    at = put(at, entry->cid_len, 2);
    at = put(at, entry->content_len, 4);
    at = put(at, entry->data_len, 4);
    at = put(at, 0, 2);
    at = put(at, time, 8);
    at = put(at, nonce, 8);
    at = put(at, hint->before, 8);
    at = put(at, hint->ordinal, 8);
    at = put(at, hint->back64, 8);
    at = put(at, hint->back4k, 8);
    assert(at == out->at + out->len + ENTRY_HEAD);
    memcpy(at, entry->bytes, texts);
    out->len += ENTRY_HEAD + texts;
}

/* A text of this length; false: it is no UTF-8. The lengths were checked. */
static bool take_text(const char **at, uint64_t len, struct chi_span *out)
{
    *out = (struct chi_span){len ? *at : NULL, (size_t)len};
    *at += len;
    return chi_utf8_valid(out->at, out->len);
}

/* As posts are checked: content without controls, data on one line. */
static bool take_texts(const char *at, const uint64_t len[5], struct chi_entry_parts *out)
{
    return take_text(&at, len[0], &out->sender) && take_text(&at, len[1], &out->user) &&
           take_text(&at, len[2], &out->cid) && take_text(&at, len[3], &out->content) &&
           take_text(&at, len[4], &out->data) &&
           chi_text_clean(out->content.at, out->content.len) &&
           (!out->data.len || !memchr(out->data.at, '\n', out->data.len));
}

static struct chi_js_hint take_hint(const char **at)
{
    struct chi_js_hint hint;
    hint.before = take(at, 8);
    hint.ordinal = take(at, 8);
    hint.back64 = take(at, 8);
    hint.back4k = take(at, 8);
    return is_possible(&hint) ? hint : (struct chi_js_hint){0};
}

int chi_js_read_entry(struct chi_span payload, struct chi_js_record *out)
{
    *out = (struct chi_js_record){0};
    const char *at = opened(payload, 'e', ENTRY_HEAD);
    if (!at)
        return CHATHUB_EREQUEST;
    uint16_t type = (uint16_t)take(&at, 2);
    uint64_t len[5], sum = ENTRY_HEAD;
    for (int i = 0; i < 5; i++)
        sum += len[i] = take(&at, i < 3 ? 2 : 4);
    uint64_t zero = take(&at, 2), time = take(&at, 8);
    out->nonce = take(&at, 8);
    out->hint = take_hint(&at);
    struct chi_entry_parts parts;
    if (sum != payload.len || zero || time > TIME_MAX || !take_texts(at, len, &parts))
        return CHATHUB_EREQUEST;
    out->entry = chi_entry_new(type, &parts);
    if (!out->entry)
        return CHATHUB_ENOMEM;
    out->entry->time = time;
    return 0;
}

/* ---------------------------------------------------------------------------- epochs, redactions */

void chi_js_write_epoch(struct chi_buf *out, const struct chi_js_epoch *epoch)
{
    char *at = chi_buf_reserve(out, EPOCH_BYTES);
    if (!at)
        return;
    *at++ = 'p';
    *at++ = VERSION;
    at = put(at, 0, 2);
    memcpy(at, epoch->name, CHI_EPOCH_LEN);
    put(at + CHI_EPOCH_LEN, epoch->first, 8);
    out->len += EPOCH_BYTES;
}

int chi_js_read_epoch(struct chi_span payload, struct chi_js_epoch *out)
{
    _Static_assert(sizeof(out->name) == CHI_EPOCH_LEN, "an epoch's name");
    *out = (struct chi_js_epoch){0};
    const char *at = opened(payload, 'p', EPOCH_BYTES);
    if (!at || payload.len != EPOCH_BYTES || take(&at, 2))
        return CHATHUB_EREQUEST;
    for (size_t i = 0; i < CHI_EPOCH_LEN; i++) {
        if (!is_plain(at[i]))
            return CHATHUB_EREQUEST;
    }
    const char *name = at;
    at += CHI_EPOCH_LEN;
    uint64_t first = take(&at, 8);
    if (first > CHI_POSITION_MAX)
        return CHATHUB_EREQUEST;
    memcpy(out->name, name, CHI_EPOCH_LEN);
    out->first = first;
    return 0;
}

void chi_js_write_erased(struct chi_buf *out, const struct chi_js_erased *erased)
{
    assert(erased->room.len && erased->room.len <= UINT16_MAX);
    char *at = chi_buf_reserve(out, ERASED_HEAD + erased->room.len);
    if (!at)
        return;
    *at++ = 'x';
    *at++ = VERSION;
    at = put(at, erased->type, 2);
    at = put(at, erased->room.len, 2);
    at = put(at, 0, 2);
    at = put(at, erased->position, 8);
    at = put(at, erased->prev, 8);
    at = put(at, erased->time, 8);
    memcpy(at, erased->room.at, erased->room.len);
    out->len += ERASED_HEAD + erased->room.len;
}

int chi_js_read_erased(struct chi_span payload, struct chi_js_erased *out)
{
    *out = (struct chi_js_erased){0};
    const char *at = opened(payload, 'x', ERASED_HEAD);
    if (!at)
        return CHATHUB_EREQUEST;
    struct chi_js_erased erased = {.type = (uint16_t)take(&at, 2)};
    erased.room.len = (size_t)take(&at, 2);
    uint64_t zero = take(&at, 2);
    erased.position = take(&at, 8);
    erased.prev = take(&at, 8);
    erased.time = take(&at, 8);
    erased.room.at = at;
    if (zero || !erased.room.len || payload.len != ERASED_HEAD + erased.room.len ||
        !erased.position || erased.position > CHI_POSITION_MAX || erased.prev >= erased.position ||
        erased.time > TIME_MAX || !chi_utf8_valid(erased.room.at, erased.room.len))
        return CHATHUB_EREQUEST;
    *out = erased;
    return 0;
}
