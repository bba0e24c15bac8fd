#include "dialect/record.h"

#include <string.h>

#include "chathub.h"
#include "dialect/reading.h"

/* ---------------------------------------------------------------------------------------- times */

/* What is left of a time stamp. */
struct stamp {
    const char *at, *end;
    bool wrong; /* something else stood where it was read */
};

static char peek(const struct stamp *stamp)
{
    return stamp->at < stamp->end ? *stamp->at : '\0';
}

static void want(struct stamp *stamp, const char *any_of)
{
    if (stamp->at == stamp->end || !*stamp->at || !strchr(any_of, *stamp->at))
        stamp->wrong = true;
    else
        stamp->at++;
}

/* A number of just so many digits, from `min` to `max`. */
static uint32_t digits(struct stamp *stamp, size_t count, uint64_t min, uint64_t max)
{
    uint64_t number = 0;
    if ((size_t)(stamp->end - stamp->at) < count ||
        !chi_parse_u64((struct chi_span){stamp->at, count}, min, max, &number)) {
        stamp->wrong = true;
        return (uint32_t)min;
    }
    stamp->at += count;
    return (uint32_t)number;
}

static bool is_leap(uint32_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static uint32_t days_in(uint32_t year, uint32_t month)
{
    static const uint8_t days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return month == 2 && is_leap(year) ? 29 : days[month - 1];
}

/* Days from 1970-01-01 to this one. */
static uint64_t days_until(uint32_t year, uint32_t month, uint32_t day)
{
    uint32_t before = year - 1;
    uint64_t days = before * 365ull + before / 4 - before / 100 + before / 400 - 719162;
    for (uint32_t m = 1; m < month; m++)
        days += days_in(year, m);
    return days + day - 1;
}

static uint64_t read_date(struct stamp *stamp)
{
    uint32_t year = digits(stamp, 4, 1970, 9999);
    want(stamp, "-");
    uint32_t month = digits(stamp, 2, 1, 12);
    want(stamp, "-");
    uint32_t day = digits(stamp, 2, 1, days_in(year, month));
    return days_until(year, month, day) * 86400000;
}

/* Digits behind the milliseconds are cut off. */
static uint64_t read_fraction(struct stamp *stamp)
{
    uint64_t ms = 0, unit = 100;
    if (peek(stamp) != '.')
        return 0;
    stamp->at++;
    do {
        ms += digits(stamp, 1, 0, 9) * unit;
        unit /= 10;
    } while (!stamp->wrong && peek(stamp) >= '0' && peek(stamp) <= '9');
    return ms;
}

static uint64_t read_clock(struct stamp *stamp)
{
    uint64_t hour = digits(stamp, 2, 0, 23);
    want(stamp, ":");
    uint64_t minute = digits(stamp, 2, 0, 59);
    want(stamp, ":");
    uint64_t second = digits(stamp, 2, 0, 59);
    return (hour * 60 + minute) * 60000 + second * 1000 + read_fraction(stamp);
}

/* What has to be taken off to have UTC, in ms. */
static int64_t read_zone(struct stamp *stamp)
{
    char sign = peek(stamp);
    want(stamp, "Zz+-");
    if (sign != '+' && sign != '-')
        return 0;
    int64_t minutes = digits(stamp, 2, 0, 23) * 60;
    want(stamp, ":");
    minutes += digits(stamp, 2, 0, 59);
    return (sign == '-' ? -minutes : minutes) * 60000;
}

/* RFC 3339, from 1970 on. */
static bool read_stamp(struct chi_span text, uint64_t *out)
{
    struct stamp stamp = {.at = text.at, .end = text.at + text.len};
    uint64_t time = read_date(&stamp);
    want(&stamp, "Tt ");
    time += read_clock(&stamp);
    int64_t zone = read_zone(&stamp);
    *out = time - (uint64_t)zone;
    return !stamp.wrong && stamp.at == stamp.end && (int64_t)time >= zone;
}

static void read_time(struct chi_reading *in, struct chi_record *out)
{
    struct chi_span text =
        chi_reading_text(in, "timestamp", "a time such as \"2026-01-02T03:04:05.678Z\"");
    if (!text.at)
        chi_reading_fail(in, CHATHUB_EREQUEST,
                         "\"timestamp\" is missing, such as \"2026-01-02T03:04:05.678Z\"");
    else if (!read_stamp(text, &out->time))
        chi_reading_fail(in, CHATHUB_EREQUEST,
                         "\"timestamp\" is no time; write it as \"2026-01-02T03:04:05.678Z\"");
}

/* ---------------------------------------------------------------------------------------- lines */

static void read_type(struct chi_reading *in, struct chi_record *out)
{
    struct chi_span type = chi_reading_text(in, "type", "\"chat\"");
    out->type = CHI_ENTRY_CHAT;
    if (!type.at)
        chi_reading_fail(in, CHATHUB_EREQUEST, "\"type\" is missing; it has to be \"chat\"");
    else if (!chi_span_is(type, "chat"))
        chi_reading_fail(in, CHATHUB_ETYPE,
                         "\"type\" is not \"chat\", and no other is known to this version");
}

static void read_texts(struct chi_reading *in, struct chi_record *out)
{
    out->room = chi_reading_text(in, "room", "the name of a room, a text such as \"general\"");
    out->parts.sender = chi_reading_text(in, "sender", "the name of who said it, a text");
    out->parts.user = chi_reading_text(in, "sender_id", "the id of who said it, a text");
    out->parts.content = chi_reading_text(in, "content", "a text");
    out->parts.cid = chi_reading_text(in, "cid", "a text that names this post");
    out->parts.data = chi_reading_data(in);
    out->redacted = chi_reading_switch(in, "redacted", false);
}

static void check_texts(struct chi_reading *in, const struct chi_record *record)
{
    const struct chi_entry_parts *parts = &record->parts;
    if (!record->room.len)
        chi_reading_fail(in, CHATHUB_EREQUEST, "\"room\" is missing, the name of the room");
    if (record->redacted && (parts->sender.len || parts->user.len || parts->content.len ||
                             parts->cid.at || parts->data.at))
        chi_reading_fail(in, CHATHUB_EREQUEST,
                         "what is \"redacted\" has no sender, content, cid nor data; leave them "
                         "out");
    if (record->redacted)
        return;
    if (!parts->sender.len)
        chi_reading_fail(in, CHATHUB_EREQUEST, "\"sender\" is missing, the name of who said it");
    if (!parts->user.len)
        chi_reading_fail(in, CHATHUB_EREQUEST, "\"sender_id\" is missing, the id of who said it");
    if (!parts->content.at && !parts->data.at)
        chi_reading_fail(in, CHATHUB_EREQUEST, "\"content\" is missing, what was said");
}

int chi_record_decode(struct chi_buf *scratch, struct chi_span line, struct chi_record *out,
                      struct chi_decode_error *error)
{
    struct chi_flat flat;
    struct chi_reading in = {.flat = &flat, .text = line, .scratch = scratch, .error = error};
    *out = (struct chi_record){0};
    int result = chi_reading_begin(&in, "each line is one object, as an export writes it");
    if (result > 0) {
        read_type(&in, out);
        read_texts(&in, out);
        read_time(&in, out);
        check_texts(&in, out);
    }
    json_decref(in.object);
    return error->code ? error->code : result;
}
