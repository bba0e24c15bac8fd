/* Where the servers are, and which stream.
 *
 * libnats takes user, password and token as they stand, without any escapes, and writes them into JSON as
 * they are: what would break that is refused here. A server without a user of its own has that of the
 * one before it. */
#include "log/jetstream/link.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chathub.h"
#include "log/jetstream/wire.h"

#define PORT      "4222"
#define SERVERS   64u  /* at most */
#define HOST_MOST 255u /* bytes */
#define HOW       "write nats://HOST:PORT,…/STREAM, or tls://…"

struct server {
    struct chi_span user; /* what stands before the '@', without it; a secret */
    struct chi_span host; /* with brackets where it has them */
    struct chi_span port;
};

struct url {
    struct chi_span rest; /* not read yet */
    struct chi_js_url *out;
    struct chi_buf servers, shown;
    unsigned count;       /* servers read */
    struct chi_span user; /* of the last that had one */
    char *problem;
    size_t size;
};

/* Texts are never quoted: any of it may be a piece of a secret. */
__attribute__((format(printf, 2, 3))) static int refuse(struct url *url, const char *format, ...)
{
    va_list rest;
    int head =
        snprintf(url->problem, url->size, "option log: jetstream: server %u ", url->count + 1);
    va_start(rest, format);
    if (head > 0 && (size_t)head < url->size)
        vsnprintf(url->problem + head, url->size - (size_t)head, format, rest);
    va_end(rest);
    return CHATHUB_EVALUE;
}

/* Up to the first `c`, which is passed over; all of it where there is none. */
static struct chi_span cut(struct chi_span *from, char c)
{
    const char *at = from->len ? memchr(from->at, c, from->len) : NULL;
    struct chi_span head = {from->at, at ? (size_t)(at - from->at) : from->len};
    size_t passed = head.len + (at ? 1 : 0);
    *from = (struct chi_span){from->at + passed, from->len - passed};
    return head;
}

static bool begins(struct chi_span *text, const char *with)
{
    size_t len = strlen(with);
    if (text->len < len || memcmp(text->at, with, len) != 0)
        return false;
    *text = (struct chi_span){text->at + len, text->len - len};
    return true;
}

/* All servers are reached in one way; who says nothing means the first one's. */
static int read_scheme(struct url *url, struct chi_span *text)
{
    bool tls = begins(text, "tls://"), plain = !tls && begins(text, "nats://");
    if (!tls && !plain && text->len >= 3 && memmem(text->at, text->len, "://", 3))
        return refuse(url, "has an unknown scheme; " HOW);
    if (!url->count)
        url->out->tls = tls;
    else if ((tls || plain) && tls != url->out->tls)
        return refuse(url, "has another scheme than the first; have nats:// or tls:// for all");
    return 0;
}

/* What libnats can take on as it stands. */
static int read_user(struct url *url, struct chi_span *text, struct server *out)
{
    const char *at = text->at && text->len ? memrchr(text->at, '@', text->len) : NULL;
    if (!at)
        return 0;
    out->user = (struct chi_span){text->at, (size_t)(at - text->at)};
    *text = (struct chi_span){at + 1, text->len - out->user.len - 1};
    bool fits = out->user.len && out->user.at[0] != ':';
    for (size_t i = 0; fits && i < out->user.len; i++) {
        char c = out->user.at[i];
        fits = c > ' ' && c <= '~' && c != '"' && c != '\\';
    }
    return fits ? 0
                : refuse(url, "has a user, password or token that is empty or has characters other "
                              "than printable ASCII without blanks, commas, \" and \\; use a file "
                              "(nats-credentials)");
}

static bool is_host(struct chi_span host)
{
    bool bracketed = host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']';
    if (bracketed)
        host = (struct chi_span){host.at + 1, host.len - 2};
    if (!host.len || host.len > HOST_MOST)
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.at[i];
        bool letter =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.';
        if (bracketed ? !(letter || c == ':' || c == '%') : !(letter || c == '-' || c == '_'))
            return false;
    }
    return true;
}

static int read_host(struct url *url, struct chi_span text, struct server *out)
{
    uint64_t port;
    const char *bracket = text.len ? memrchr(text.at, ']', text.len) : NULL;
    size_t inside = bracket ? (size_t)(bracket - text.at) : 0;
    struct chi_span behind = {text.at + inside, text.len - inside};
    size_t port_len = behind.len - cut(&behind, ':').len;
    out->host = (struct chi_span){text.at, text.len - port_len};
    out->port = port_len ? behind : CHI_SPAN(PORT);
    if (!is_host(out->host))
        return refuse(url, "has no valid host; " HOW " (IPv6 in brackets)");
    if (!chi_parse_u64(out->port, 1, 65535, &port))
        return refuse(url, "has no valid port (1 to 65535); " HOW);
    return 0;
}

static void add_server(struct chi_buf *out, const struct url *url, const struct server *server,
                       bool secrets)
{
    if (out->len)
        chi_buf_add_char(out, ',');
    chi_buf_add_text(out, url->out->tls ? "tls://" : "nats://");
    if (secrets && url->user.len) {
        chi_buf_add(out, url->user.at, url->user.len);
        chi_buf_add_char(out, '@');
    }
    chi_buf_add(out, server->host.at, server->host.len);
    chi_buf_add_char(out, ':');
    chi_buf_add(out, server->port.at, server->port.len);
}

static int read_stream(struct url *url, struct chi_span name)
{
    bool fits = name.len && name.len <= CHI_JS_STREAM_MAX;
    for (size_t i = 0; fits && i < name.len; i++) {
        char c = name.at[i];
        fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_';
    }
    if (!fits)
        return refuse(url,
                      "is followed by \"/\" and no stream's name of 1 to %u letters, digits, \"-\" "
                      "and \"_\" at the end; " HOW,
                      CHI_JS_STREAM_MAX);
    memcpy(url->out->stream, name.at, name.len);
    url->out->stream[name.len] = '\0';
    return 0;
}

/* One server of the list; the last one may have the stream behind it. */
static int read_server(struct url *url)
{
    struct server server = {0};
    struct chi_span text = cut(&url->rest, ',');
    int error = url->count < SERVERS ? read_scheme(url, &text)
                                     : refuse(url, "is one too many; name at most %u", SERVERS);
    if (!error)
        error = read_user(url, &text, &server);
    /* A password with a comma would be cut there, and its first piece shown as a host. */
    if (!error && server.user.len && url->count && !url->user.len)
        error = refuse(url, "has a user and the first has none; name the user at the first server "
                            "(a password or token with a comma: by nats-credentials)");
    const char *slash = !error && text.len ? memchr(text.at, '/', text.len) : NULL;
    struct chi_span host = cut(&text, '/');
    if (!error)
        error = read_host(url, host, &server);
    if (!error && slash)
        error = read_stream(url, url->rest.len ? (struct chi_span){NULL, 0} : text);
    if (error)
        return error;
    if (server.user.len)
        url->user = server.user;
    add_server(&url->servers, url, &server, true);
    add_server(&url->shown, url, &server, false);
    url->count++;
    return 0;
}

/* The bytes as a text of their own; NULL: no memory. */
static char *finish(struct chi_buf *buf)
{
    chi_buf_add_char(buf, '\0');
    return buf->failed ? NULL : buf->at;
}

int chi_js_url_read(const char *text, struct chi_js_url *out, char *problem, size_t size)
{
    struct url url = {.rest = chi_span_of(text), .out = out, .problem = problem, .size = size};
    *out = (struct chi_js_url){.stream = "chathub"};
    bool comma = url.rest.len && url.rest.at[url.rest.len - 1] == ',';
    int error;
    do {
        error = read_server(&url);
    } while (!error && url.rest.len);
    if (!error && comma)
        error = refuse(&url, "is missing behind the last comma; " HOW);
    if (!error) {
        out->servers = finish(&url.servers);
        out->shown = finish(&url.shown);
        if (out->servers && out->shown)
            return 0;
        snprintf(problem, size, "option log: jetstream: %s", chathub_strerror(CHATHUB_ENOMEM));
        error = CHATHUB_ENOMEM;
    }
    chi_buf_fini(&url.servers);
    chi_buf_fini(&url.shown);
    *out = (struct chi_js_url){0};
    return error;
}

void chi_js_url_free(struct chi_js_url *url)
{
    free(url->servers);
    free(url->shown);
    *url = (struct chi_js_url){0};
}
