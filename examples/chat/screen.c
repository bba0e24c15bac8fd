/* Lines out. What others wrote may hold anything: controls are shown as they are written in JSON, so
 * that nobody moves the cursor, or turns the direction of what follows. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chat.h"

static bool colours;
static char line[1 << 18]; /* that is being put together */
static size_t used;

void chat_screen_open(const struct chat *chat)
{
    const char *term = getenv("TERM");

    colours = isatty(STDOUT_FILENO) && !chat->settings.plain && term && strcmp(term, "dumb") != 0;
}

static void add(const char *bytes, size_t len)
{
    if (len > sizeof(line) - used)
        len = sizeof(line) - used;
    memcpy(line + used, bytes, len);
    used += len;
}

static void add_text(const char *text)
{
    add(text, strlen(text));
}

/* The code point that begins here, and its bytes; 0 bytes: it is no UTF-8. */
static unsigned decode(const unsigned char *at, size_t *size)
{
    size_t more = *at < 0x80 ? 0 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;
    unsigned point = more == 0 ? *at : *at & (0x3fu >> more);

    *size = 0;
    if (*at >= 0x80 && (*at < 0xc2 || *at > 0xf4))
        return 0;
    for (size_t i = 1; i <= more; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (at[i] & 0x3f);
    }
    *size = more + 1;
    return point;
}

static bool is_control(unsigned point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0x61c ||
           (point >= 0x200e && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
           (point >= 0x2066 && point <= 0x2069) || point == 0xfeff;
}

/* What somebody else wrote. */
static void add_foreign(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;

    while (*at) {
        size_t size;
        unsigned point = decode(at, &size);
        char escape[16];
        if (size == 0) {
            add_text("?");
            size = 1;
        } else if (point == '\n') {
            add_text(" ⏎ ");
        } else if (point == '\t') {
            add_text(" ");
        } else if (is_control(point)) {
            snprintf(escape, sizeof(escape), "\\u%04x", point);
            add_text(escape);
        } else {
            add((const char *)at, size);
        }
        at += size;
    }
}

static void add_style(const char *code)
{
    if (colours) {
        add_text("\033[");
        add_text(code);
        add_text("m");
    }
}

void chat_begin(void)
{
    used = 0;
}

void chat_put(enum chat_style style, const char *text)
{
    static const char *const codes[] = {"0", "2", "1", "31", "1"};

    if (style != CHAT_PLAIN)
        add_style(codes[style]);
    add_foreign(text);
    if (style != CHAT_PLAIN)
        add_style("0");
}

void chat_put_name(const char *name, const char *seed)
{
    static const char *const codes[] = {"32", "33", "34", "35", "36", "92", "93", "94", "95", "96"};
    unsigned hash = 2166136261u;

    for (const char *at = *seed ? seed : name; *at; at++)
        hash = (hash ^ (unsigned char)*at) * 16777619u;
    add_style(codes[(hash ^ hash >> 15) % (sizeof(codes) / sizeof(codes[0]))]);
    add_foreign(name);
    add_style("0");
}

void chat_end(void)
{
    chat_input_hide();
    fwrite(line, 1, used, stdout);
    putchar('\n');
    fflush(stdout);
}

__attribute__((format(printf, 3, 0))) static void tell(const char *mark, enum chat_style style,
                                                       const char *format, va_list args)
{
    char text[2048];

    vsnprintf(text, sizeof(text), format, args);
    chat_begin();
    chat_put(style, mark);
    chat_put(style, text);
}

void chat_note(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    tell("* ", CHAT_DIM, format, args);
    va_end(args);
    chat_end();
}

/* To stderr where a script reads stdout. */
void chat_complain(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    tell("! ", CHAT_ERROR, format, args);
    va_end(args);
    if (isatty(STDOUT_FILENO)) {
        chat_end();
        return;
    }
    fwrite(line, 1, used, stderr);
    fputc('\n', stderr);
}
