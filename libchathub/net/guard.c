#include "net/guard.h"

#include <string.h>

#include "net/internal.h"

static void refuse(struct chi_guard *guard, int status, const char *why)
{
    if (guard->status)
        return;
    guard->status = status;
    guard->why = why;
}

size_t chi_guard_scan(struct chi_guard *guard, const char *head, size_t from, size_t len)
{
    for (size_t i = from; i < len; i++) {
        unsigned char c = (unsigned char)head[i];
        bool after_cr = i > 0 && head[i - 1] == '\r';
        if (after_cr != (c == '\n')) {
            refuse(guard, 400,
                   after_cr ? "a CR without an LF in the head" : "an LF without a CR in the head");
            return 0;
        }
        if ((c < ' ' && c != '\t' && c != '\r' && c != '\n') || c == 0x7f) {
            refuse(guard, 400,
                   "a control character in the head; this port speaks HTTP without TLS");
            return 0;
        }
        if (c == '\n' && i >= 3 && head[i - 2] == '\n')
            return i + 1;
        if (i == 1 && c == '\n') {
            refuse(guard, 400, "the request has to begin with its method");
            return 0;
        }
    }
    return 0;
}

/* RFC 9110 section 5.6.2. */
static bool is_token_char(char c)
{
    if ((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'))
        return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static size_t token_length(const char *at, size_t len)
{
    size_t n = 0;

    while (n < len && is_token_char(at[n]))
        n++;
    return n;
}

/* METHOD SP TARGET SP HTTP/1.x */
static void check_request_line(struct chi_guard *guard, const char *line, size_t len)
{
    size_t method = token_length(line, len);
    const char *target = line + method + 1, *end;
    size_t left;

    if (method == 0 || method == len || line[method] != ' ') {
        refuse(guard, 400, "the request has to begin with its method and one space");
        return;
    }
    left = len - method - 1;
    end = memchr(target, ' ', left);
    size_t size = end ? (size_t)(end - target) : left;
    if (size > CHI_TARGET_MAX)
        refuse(guard, 414, "the target is too long; it may have 2048 bytes");
    for (size_t i = 0; i < size; i++)
        if (target[i] <= ' ' || target[i] >= 0x7f || target[i] == '#')
            refuse(guard, 400, "the target holds a character that has to be escaped");
    size_t version = end ? left - size - 1 : 0;
    if (version != 8 || memcmp(end + 1, "HTTP/", 5) != 0 || end[7] != '.')
        refuse(guard, 400, "the request line has to end with HTTP/1.1");
    else if (end[6] != '1' || (end[8] != '0' && end[8] != '1'))
        refuse(guard, 505, "HTTP/1.1 is spoken here");
}

static void check_header(struct chi_guard *guard, const char *line, size_t len)
{
    size_t name = token_length(line, len);

    if (line[0] == ' ' || line[0] == '\t')
        refuse(guard, 400, "a header that is folded over lines");
    else if (name == 0 && line[0] == ':')
        refuse(guard, 400, "a header without a name");
    else if (name < len && (line[name] == ' ' || line[name] == '\t'))
        refuse(guard, 400, "a space in a header's name or before its colon");
    else if (name == len || line[name] != ':')
        refuse(guard, 400, "a header's name that is no token, or has no colon behind it");
}

void chi_guard_check(struct chi_guard *guard, const char *head, size_t len)
{
    const char *end = head + len, *line = head;
    size_t count = 0;

    if (len > CHI_HEAD_MAX)
        refuse(guard, 431, "the head is too long; it may have 8192 bytes");
    for (; line < end && !guard->status; count++) {
        const char *stop = memchr(line, '\r', (size_t)(end - line));
        size_t size = stop ? (size_t)(stop - line) : 0;
        if (size == 0)
            break;
        if (count == 0)
            check_request_line(guard, line, size);
        else
            check_header(guard, line, size);
        line = stop + 2;
    }
    if (count > CHI_HEADERS_MAX + 1)
        refuse(guard, 431, "too many headers; there may be 64");
    if (line + 2 != end)
        refuse(guard, 400, "the head does not end where its empty line is");
}
