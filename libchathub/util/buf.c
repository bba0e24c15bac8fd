#include "util/buf.h"

#include <stdlib.h>
#include <string.h>

#include "util/text.h"

#define BUF_FIRST 64u

void chi_buf_init(struct chi_buf *buf)
{
    *buf = (struct chi_buf){0};
}

void chi_buf_fini(struct chi_buf *buf)
{
    free(buf->at);
    chi_buf_init(buf);
}

/* Doubling, so that n appends cost O(n); never past SIZE_MAX. */
static size_t grown(size_t cap, size_t need)
{
    size_t next = cap ? cap : BUF_FIRST;
    while (next < need)
        next = next > SIZE_MAX / 2 ? need : next * 2;
    return next;
}

char *chi_buf_reserve(struct chi_buf *buf, size_t more)
{
    if (buf->failed)
        return NULL;
    if (more > SIZE_MAX - buf->len) {
        buf->failed = true;
        return NULL;
    }
    size_t need = buf->len + more;
    if (need > buf->cap || !buf->at) {
        size_t cap = grown(buf->cap, need);
        char *at = realloc(buf->at, cap);
        if (!at) {
            buf->failed = true;
            return NULL;
        }
        buf->at = at;
        buf->cap = cap;
    }
    return buf->at + buf->len;
}

void chi_buf_add_char(struct chi_buf *buf, char c)
{
    char *to = chi_buf_reserve(buf, 1);
    if (!to)
        return;
    *to = c;
    buf->len++;
}

void chi_buf_add_u64(struct chi_buf *buf, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    chi_buf_add(buf, digits + at, sizeof digits - at);
}

static void add_escape(struct chi_buf *buf, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    static const char named[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (const char *pair = named; *pair; pair += 2) {
        if ((unsigned char)pair[0] == c) {
            char out[2] = {'\\', pair[1]};
            chi_buf_add(buf, out, sizeof out);
            return;
        }
    }
    char out[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    chi_buf_add(buf, out, sizeof out);
}

/* The text behind its first `run` bytes, of which the next one needs an escape. */
static void add_escaped(struct chi_buf *buf, const char *text, size_t len, size_t run)
{
    for (size_t at = 0; at < len; run = chi_text_run(text + at, len - at)) {
        chi_buf_add(buf, text + at, run);
        at += run;
        if (at < len)
            add_escape(buf, (unsigned char)text[at++]);
    }
}

void chi_buf_add_json(struct chi_buf *buf, const char *text, size_t len)
{
    char *to = len <= SIZE_MAX - 2 ? chi_buf_reserve(buf, len + 2) : NULL;
    if (!to) {
        buf->failed = true;
        return;
    }
    size_t run = chi_text_run(text, len);
    *to = '"';
    if (run == len) { /* nearly all are plain */
        if (len)
            memcpy(to + 1, text, len);
        to[len + 1] = '"';
        buf->len += len + 2;
        return;
    }
    buf->len++;
    add_escaped(buf, text, len, run);
    chi_buf_add_char(buf, '"');
}

void chi_buf_consume(struct chi_buf *buf, size_t n)
{
    if (n >= buf->len) {
        buf->len = 0;
        return;
    }
    memmove(buf->at, buf->at + n, buf->len - n);
    buf->len -= n;
}

void chi_buf_truncate(struct chi_buf *buf, size_t len)
{
    if (len < buf->len)
        buf->len = len;
    buf->failed = false;
}

void chi_buf_reset(struct chi_buf *buf, size_t keep)
{
    buf->len = 0;
    buf->failed = false;
    if (buf->cap <= keep)
        return;
    free(buf->at);
    buf->at = NULL;
    buf->cap = 0;
}
