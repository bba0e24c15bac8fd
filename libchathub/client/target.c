#include "client/target.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "chathub.h"
#include "util/text.h"

#define FORM "use ws://HOST:PORT/PATH or tcp://HOST:PORT"

/* What is being read, and where a fault is told. */
struct reading {
    const char *url;
    struct chi_target *out;
    char *problem;
    size_t size;
};

static int fault(const struct reading *r, int code, const char *what)
{
    if (r->size)
        snprintf(r->problem, r->size, "%.200s: %s", r->url, what);
    return code;
}

/* Whether it can stand in an HTTP head and in a message for people: printable ASCII, no space. */
static bool is_plain(struct chi_span text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.at[i] <= ' ' || text.at[i] >= 0x7f)
            return false;
    return true;
}

static bool copy(char *to, size_t size, struct chi_span text)
{
    if (text.len >= size)
        return false;
    if (text.len)
        memcpy(to, text.at, text.len);
    to[text.len] = '\0';
    return true;
}

static int set_port(const struct reading *r, struct chi_span text)
{
    uint64_t port = 80;

    if (!text.at && r->out->lines)
        return fault(r, CHATHUB_EADDRESS, "the port is missing; add one such as :7000");
    if (text.at && !chi_parse_u64(text, 1, 65535, &port))
        return fault(r, CHATHUB_EADDRESS, "the port has to be a number from 1 to 65535");
    snprintf(r->out->port, sizeof(r->out->port), "%u", (unsigned)port);
    return 0;
}

/* HOST[:PORT] or [IPv6][:PORT] */
static int set_authority(const struct reading *r, struct chi_span text)
{
    bool bracketed = text.len > 0 && text.at[0] == '[';
    const char *end = text.len ? memchr(text.at, bracketed ? ']' : ':', text.len) : NULL;
    struct chi_span host = text, port = {NULL, 0};

    if (bracketed && !end)
        return fault(r, CHATHUB_EADDRESS, "the ] after the IPv6 address is missing");
    if (end) {
        host.len = (size_t)(end - text.at);
        port = (struct chi_span){end + bracketed, text.len - host.len - bracketed};
    }
    if (bracketed)
        host = (struct chi_span){host.at + 1, host.len - 1};
    if (memchr(text.at, '@', text.len))
        return fault(r, CHATHUB_EADDRESS, "there can be no user in the URL; the hello names one");
    if (host.len == 0 || !copy(r->out->host, sizeof(r->out->host), host))
        return fault(r, CHATHUB_EADDRESS, "the host is missing or too long; " FORM);
    if (port.len > 0 && port.at[0] != ':')
        return fault(r, CHATHUB_EADDRESS, "after the host comes : and the port");
    return set_port(r, port.len ? (struct chi_span){port.at + 1, port.len - 1}
                                : (struct chi_span){NULL, 0});
}

static int set_path(const struct reading *r, struct chi_span path)
{
    if (path.len == 0)
        path = CHI_SPAN("/ws");
    if (r->out->lines)
        return fault(r, CHATHUB_EADDRESS, "lines have no path; use tcp://HOST:PORT");
    if (memchr(path.at, '#', path.len))
        return fault(r, CHATHUB_EADDRESS, "a path has no # part");
    bool slash = path.at[0] == '/';
    if (snprintf(r->out->path, sizeof(r->out->path), "%s%.*s", slash ? "" : "/ws", (int)path.len,
                 path.at) >= (int)sizeof(r->out->path))
        return fault(r, CHATHUB_EADDRESS, "the path is too long; use at most 500 characters");
    return 0;
}

static int read_parts(const struct reading *r, const char *at)
{
    size_t authority = strcspn(at, "/?#");
    struct chi_span path = chi_span_of(at + authority);

    if (strlen(at) > 800 || !is_plain(chi_span_of(at)))
        return fault(r, CHATHUB_EADDRESS,
                     "a URL has at most 800 characters, all of them printable ASCII; " FORM);
    int error = set_authority(r, (struct chi_span){at, authority});
    if (error || (r->out->lines && (path.len == 0 || chi_span_is(path, "/"))))
        return error;
    return set_path(r, path);
}

int chi_target_parse(const char *url, struct chi_target *out, char *problem, size_t size)
{
    struct reading r = {url, out, problem, size};

    memset(out, 0, sizeof(*out));
    if (strncmp(url, "ws://", 5) == 0)
        return read_parts(&r, url + 5);
    out->lines = true;
    if (strncmp(url, "tcp://", 6) == 0)
        return read_parts(&r, url + 6);
    if (strncmp(url, "wss://", 6) == 0)
        return fault(&r, CHATHUB_EFEATURE,
                     "there is no TLS in this client; use ws:// through a TLS proxy or tunnel");
    return fault(&r, CHATHUB_EADDRESS, FORM);
}
