#include "net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "chathub.h"
#include "dialect/dialect.h"
#include "util/text.h"

#define FORM "use ws://HOST:PORT/PATH, tcp://HOST:PORT, ws+unix:/PATH or tcp+unix:/PATH"

/* Entries that a listener may promise to who comes anew. */
#define HISTORY_MAX 10000

/* What is being read, and where a fault is told. */
struct reading {
    const char *url;
    struct chi_address *out;
    char *problem;
    size_t size;
    bool adopted; /* of connections that the host brings: the address may be missing */
};

static int fault(const struct reading *r, const char *what)
{
    snprintf(r->problem, r->size, "%s: %s", r->url, what);
    return CHATHUB_EADDRESS;
}

/* Copies a span into a field of `size` bytes. false: it does not fit, or holds a NUL. */
static bool copy(char *to, size_t size, const char *from, size_t len)
{
    if (len >= size || memchr(from, 0, len))
        return false;
    if (len > 0)
        memcpy(to, from, len);
    to[len] = 0;
    return true;
}

/* Undoes %XX in place; false if one is malformed or makes a NUL. */
static bool unescape(char *text)
{
    char *to = text;

    for (const char *at = text; *at; at++) {
        if (*at != '%') {
            *to++ = *at;
            continue;
        }
        int high = chi_hex_digit(at[1]), low = high < 0 ? -1 : chi_hex_digit(at[2]);
        if (low < 0 || (high == 0 && low == 0))
            return false;
        *to++ = (char)(high * 16 + low);
        at += 2;
    }
    *to = 0;
    return true;
}

/* ------------------------------------------------------------------------------------ its parts */

static int set_path(const struct reading *r, const char *at, size_t len)
{
    if (r->out->protocol != CHI_PROTOCOL_WEBSOCKET)
        return len <= 1 ? 0 : fault(r, "lines have no path; use tcp://HOST:PORT");
    if (len == 0 || at[0] != '/')
        return fault(r, "the path has to begin with /, such as /ws");
    if (!copy(r->out->path, sizeof(r->out->path), at, len))
        return fault(r, "the path is too long; use at most 127 characters");
    for (size_t i = 0; i < len; i++)
        if (at[i] <= ' ' || at[i] == '%' || at[i] == '#' || at[i] == 0x7f)
            return fault(r, "the path may hold no spaces, controls, % or #");
    return 0;
}

static int set_switch(const struct reading *r, struct chi_span value, bool *out, const char *form)
{
    *out = chi_span_is(value, "yes");
    return *out || chi_span_is(value, "no") ? 0 : fault(r, form);
}

static int set_option(const struct reading *r, struct chi_span key, struct chi_span value)
{
    if (chi_span_is(key, "room")) {
        if (value.len == 0 || !copy(r->out->room, sizeof(r->out->room), value.at, value.len))
            return fault(r, "room= needs a name of 1 to 255 bytes");
        return unescape(r->out->room)
                   ? 0
                   : fault(r, "room= has a % that is not followed by two hex digits");
    }
    if (chi_span_is(key, "dialect")) {
        r->out->dialect = chi_dialect_find(value);
        if (!r->out->dialect)
            return fault(r, "there is no dialect of this name; use " CHI_DIALECT_NAMES);
        return r->out->dialect->name_key && r->out->protocol == CHI_PROTOCOL_LINES
                   ? fault(r, "this dialect needs a WebSocket, whose query tells names; use ws://")
                   : 0;
    }
    if (chi_span_is(key, "history")) {
        uint64_t count;
        if (!chi_parse_u64(value, 0, HISTORY_MAX, &count))
            return fault(r, "history= needs a number from 0 to 10000");
        r->out->history = count ? (int32_t)count : -1;
        return 0;
    }
    if (chi_span_is(key, "presence"))
        return set_switch(r, value, &r->out->presence, "presence= is yes or no");
    if (chi_span_is(key, "private"))
        return set_switch(r, value, &r->out->private_posts, "private= is yes or no");
    if (chi_span_is(key, "path") && r->out->is_unix && r->out->protocol == CHI_PROTOCOL_WEBSOCKET)
        return set_path(r, value.at, value.len);
    return fault(r, "unknown part of the query; there are room=, dialect=, history=, presence= and "
                    "private=");
}

static int read_query(const struct reading *r, const char *at)
{
    while (*at) {
        size_t len = strcspn(at, "&"), key = strcspn(at, "=&");
        if (key >= len)
            return fault(r, "each part of the query needs a value; use room=NAME or dialect=NAME");
        int error = set_option(r, (struct chi_span){at, key},
                               (struct chi_span){at + key + 1, len - key - 1});
        if (error)
            return error;
        at += len + (at[len] == '&');
    }
    return 0;
}

static int set_port(const struct reading *r, const char *at, size_t len)
{
    uint64_t port;

    if (len == 0)
        return fault(r,
                     "the port is missing; add one such as :8080, or :0 to let the system choose");
    if (!chi_parse_u64((struct chi_span){at, len}, 0, 65535, &port))
        return fault(r, "the port has to be a number from 0 to 65535");
    r->out->port = (uint16_t)port;
    return 0;
}

static bool is_address(const char *host, bool bracketed)
{
    struct in6_addr six;
    struct in_addr four;

    if (bracketed)
        return inet_pton(AF_INET6, host, &six) == 1;
    return strcmp(host, "localhost") == 0 || inet_pton(AF_INET, host, &four) == 1;
}

/* HOST:PORT, [IPv6]:PORT */
static int set_authority(const struct reading *r, const char *at, size_t len)
{
    bool bracketed = len > 0 && at[0] == '[';
    const char *end = bracketed ? memchr(at, ']', len) : memchr(at, ':', len);
    size_t host = end ? (size_t)(end - at) : len;

    if (bracketed && !end)
        return fault(r, "the ] after the IPv6 address is missing");
    if (!copy(r->out->host, sizeof(r->out->host), at + bracketed, host - bracketed))
        return fault(r, "the host is too long");
    if (!is_address(r->out->host, bracketed))
        return fault(r, "the host has to be localhost, an IPv4 address, or an IPv6 address in "
                        "brackets; for all "
                        "addresses of this machine use 0.0.0.0 or [::]");
    host += bracketed;
    if (host < len && at[host] != ':')
        return fault(r, "after the host comes : and the port");
    return set_port(r, at + host + 1, host < len ? len - host - 1 : 0);
}

static int read_internet(const struct reading *r, const char *at)
{
    size_t authority = strcspn(at, "/?");
    size_t path = strcspn(at + authority, "?");
    int error = authority || !r->adopted ? set_authority(r, at, authority) : 0;

    if (error == 0 && path > 0)
        error = set_path(r, at + authority, path);
    at += authority + path;
    return error || *at == 0 ? error : read_query(r, at + 1);
}

static int read_unix(const struct reading *r, const char *at)
{
    size_t len = strcspn(at, "?");

    if (len == 0 || at[0] != '/')
        return fault(r, "the socket's path has to be absolute, such as tcp+unix:/run/chat.sock");
    if (!copy(r->out->host, sizeof(r->out->host), at, len) ||
        len >= sizeof(((struct sockaddr_un *)0)->sun_path))
        return fault(r, "the socket's path is too long; the system takes 107 bytes");
    return at[len] == 0 ? 0 : read_query(r, at + len + 1);
}

int chi_address_parse(const char *url, struct chi_address *out, char *problem, size_t size)
{
    static const struct {
        const char *scheme;
        enum chi_protocol protocol;
        bool is_unix;
    } schemes[] = {
        {"ws://", CHI_PROTOCOL_WEBSOCKET, false},
        {"tcp://", CHI_PROTOCOL_LINES, false},
        {"ws+unix:", CHI_PROTOCOL_WEBSOCKET, true},
        {"tcp+unix:", CHI_PROTOCOL_LINES, true},
    };
    struct reading r = {url, out, problem, size, false};

    memset(out, 0, sizeof(*out));
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t len = strlen(schemes[i].scheme);
        if (strncmp(url, schemes[i].scheme, len) != 0)
            continue;
        out->protocol = schemes[i].protocol;
        out->is_unix = schemes[i].is_unix;
        if (out->protocol == CHI_PROTOCOL_WEBSOCKET)
            memcpy(out->path, "/ws", 4);
        return out->is_unix ? read_unix(&r, url + len) : read_internet(&r, url + len);
    }
    return fault(&r, strncmp(url, "wss://", 6) == 0
                         ? "TLS is not in this build; use ws:// behind a TLS proxy"
                         : FORM);
}

int chi_address_parse_adopted(const char *url, enum chi_protocol protocol, struct chi_address *out,
                              char *problem, size_t size)
{
    bool web = protocol == CHI_PROTOCOL_WEBSOCKET;
    const char *scheme = web ? "ws://" : "tcp://";
    struct reading r = {url ? url : scheme, out, problem, size, true};

    memset(out, 0, sizeof(*out));
    out->protocol = protocol;
    if (web)
        memcpy(out->path, "/ws", 4);
    if (strncmp(r.url, scheme, strlen(scheme)) != 0)
        return fault(&r, web ? "use ws:///PATH?QUERY for HTTP and WebSockets"
                             : "use tcp://?QUERY for lines");
    return read_internet(&r, r.url + strlen(scheme));
}

bool chi_address_is_local(const struct chi_address *address)
{
    struct in6_addr six;
    struct in_addr four;

    if (address->is_unix || strcmp(address->host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, address->host, &four) == 1)
        return ntohl(four.s_addr) >> 24 == 127;
    return inet_pton(AF_INET6, address->host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}
