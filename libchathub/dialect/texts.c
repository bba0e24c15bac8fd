#include "dialect/texts.h"

#include <stdio.h>
#include <string.h>

#include "chathub.h"

#define ADD(out, literal) chi_buf_add((out), "" literal, sizeof(literal) - 1)

/* More people than this are not all named … */
#define NAMED_ALL 3
/* … but so many of them. */
#define NAMED_FIRST 2

/* ---------------------------------------------------------------------------------------- plain */

struct chi_span chi_text_trim(struct chi_span text)
{
    while (text.len && (*text.at == ' ' || *text.at == '\t' || *text.at == '\r')) {
        text.at++;
        text.len--;
    }
    while (text.len && (text.at[text.len - 1] == ' ' || text.at[text.len - 1] == '\t' ||
                        text.at[text.len - 1] == '\r'))
        text.len--;
    return text;
}

/* Characters that would move a cursor, start an escape sequence, or turn the text around it. */
static bool is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0x061c || (c >= 0x200e && c <= 0x200f) ||
           (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static void add_character(struct chi_buf *out, uint32_t c, const char *at, size_t len)
{
    char escaped[16];
    if (c == '\t')
        ADD(out, " ");
    else if (c == '\n' || c == 0x2028 || c == 0x2029)
        ADD(out, " \u23ce ");
    else if (is_control(c))
        chi_buf_add(out, escaped,
                    (size_t)snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned)c));
    else
        chi_buf_add(out, at, len);
}

void chi_text_line(struct chi_buf *out, struct chi_span text)
{
    if (!text.len)
        return;
    const char *at = text.at, *end = at + text.len;
    while (at < end) {
        const char *run = at;
        while (at < end && *at >= ' ' && *at <= '~')
            at++;
        if (at > run)
            chi_buf_add(out, run, (size_t)(at - run));
        if (at == end)
            break;
        const char *begin = at;
        uint32_t c = chi_utf8_next(&at, end);
        if (c == '\r' && at < end && *at == '\n')
            continue;
        add_character(out, c, begin, (size_t)(at - begin));
    }
}

void chi_text_name(struct chi_buf *out, struct chi_span name)
{
    bool doubtful = false;
    for (size_t i = 0; i < name.len; i++)
        doubtful |= name.at[i] && strchr(":,[]()\"*!#", name.at[i]) != NULL;
    if (doubtful)
        chi_text_quoted(out, name);
    else
        chi_text_line(out, name);
}

void chi_text_quoted(struct chi_buf *out, struct chi_span name)
{
    ADD(out, "\"");
    for (size_t i = 0, run; i < name.len; i += run) {
        const char *quote = memchr(name.at + i, '"', name.len - i);
        run = quote ? (size_t)(quote - name.at) - i : name.len - i;
        chi_text_line(out, (struct chi_span){name.at + i, run});
        if (quote) {
            ADD(out, "\\\"");
            run++;
        }
    }
    ADD(out, "\"");
}

/* ----------------------------------------------------------------------------- coming and going */

void chi_text_who(struct chi_buf *out, struct chi_span name)
{
    bool doubtful = name.len && (name.at[0] == '"' || memchr(name.at, ':', name.len) ||
                                 memchr(name.at, ',', name.len));

    if (doubtful)
        chi_text_quoted(out, name);
    else
        chi_text_line(out, name);
}

void chi_text_people(struct chi_buf *out, const struct chi_present *list, uint32_t count)
{
    uint32_t named = count > NAMED_ALL ? NAMED_FIRST : count;
    for (uint32_t i = 0; i < named; i++) {
        if (i > 0)
            chi_buf_add_text(out, i + 1 == count ? " and " : ", ");
        chi_text_who(out, list[i].name);
    }
    if (named < count) {
        ADD(out, " and ");
        chi_buf_add_u64(out, count - named);
        ADD(out, " others");
    }
}

/* What the frames of one signal are written with. */
struct telling {
    struct chi_buf *out;             /* takes the frames */
    size_t start;                    /* where the first of them begins */
    const struct chi_signal *signal; /* what is told */
    const struct chi_news *news;     /* how */
    struct chi_buf text;             /* the text of the next frame */
};

static void say(struct telling *telling)
{
    struct chi_buf *text = &telling->text;
    if (text->failed) {
        telling->out->failed = true;
        return;
    }
    if (telling->out->len > telling->start)
        chi_buf_add_char(telling->out, CHI_FRAME_APART);
    telling->news->say(telling->out, telling->signal, (struct chi_span){text->at, text->len});
    text->len = 0;
}

static void tell_people(struct telling *telling, const struct chi_present *list, uint32_t count,
                        const char *verb)
{
    uint32_t step = telling->signal->summed ? count : 1;
    for (uint32_t i = 0; i < count; i += step) {
        chi_text_people(&telling->text, list + i, step);
        chi_buf_add_text(&telling->text, verb);
        say(telling);
    }
}

static void tell_renamed(struct telling *telling)
{
    const struct chi_present *list = telling->signal->renamed;
    uint32_t count = telling->signal->renamed_count;
    uint32_t named = telling->signal->summed && count > NAMED_ALL ? NAMED_FIRST : count;
    for (uint32_t i = 0; i < named; i++) {
        chi_text_who(&telling->text, list[i].was);
        ADD(&telling->text, " is now ");
        chi_text_who(&telling->text, list[i].name);
        say(telling);
    }
    if (named < count) {
        chi_buf_add_u64(&telling->text, count - named);
        ADD(&telling->text, " others have another name now");
        say(telling);
    }
}

static void tell_everybody(struct telling *telling)
{
    const struct chi_signal *signal = telling->signal;
    chi_buf_add_u64(&telling->text, signal->count);
    ADD(&telling->text, " here");
    if (signal->came_count) {
        ADD(&telling->text, ": ");
        chi_text_people(&telling->text, signal->came, signal->came_count);
    }
    say(telling);
}

static void tell_number(struct telling *telling, uint32_t count, const char *verb)
{
    if (!count)
        return;
    if (count == 1)
        ADD(&telling->text, "One person");
    else
        chi_buf_add_u64(&telling->text, count);
    if (count > 1)
        ADD(&telling->text, " people");
    chi_buf_add_text(&telling->text, verb);
    say(telling);
}

void chi_text_news(struct chi_buf *out, const struct chi_signal *signal,
                   const struct chi_news *news)
{
    if (signal->type != CHI_SIGNAL_PRESENCE)
        return;
    struct telling telling = {.out = out, .start = out->len, .signal = signal, .news = news};
    tell_number(&telling, signal->arrivals, news->came);
    tell_number(&telling, signal->departures, news->went);
    if (signal->snapshot && !signal->counts_only) {
        tell_everybody(&telling);
    } else if (!signal->counts_only) {
        tell_people(&telling, signal->came, signal->came_count, news->came);
        tell_people(&telling, signal->went, signal->went_count, news->went);
        tell_renamed(&telling);
    }
    chi_buf_fini(&telling.text);
}

void chi_text_told(struct chi_buf *out, const struct chi_reply *reply)
{
    if (reply->type == CHI_REPLY_GAP) {
        ADD(out, "Some earlier messages are no longer kept.");
        return;
    }
    if (reply->type == CHI_REPLY_ERROR)
        ADD(out, "Error: ");
    else if (reply->type == CHI_REPLY_LEFT && reply->code)
        ADD(out, "You were removed: ");
    else
        return;
    struct chi_span message = reply->message;
    if (!message.len)
        message = chi_span_of(chathub_strerror(reply->code));
    chi_buf_add(out, message.at, message.len);
}

/* ----------------------------------------------------------------------------------------- JSON */

void chi_text_member(struct chi_buf *out, const char *key, struct chi_span text)
{
    chi_buf_add_text(out, key);
    chi_buf_add_json(out, text.at, text.len);
}

void chi_text_time(struct chi_buf *out, const char *key, uint64_t unix_ms)
{
    char text[CHI_TIMESTAMP_SIZE];
    chi_timestamp(unix_ms, text);
    chi_buf_add_text(out, key);
    ADD(out, "\"");
    chi_buf_add(out, text, CHI_TIMESTAMP_SIZE - 1);
    ADD(out, "\"");
}
