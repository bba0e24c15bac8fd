/* The opening handshake of a WebSocket (RFC 6455 section 4.2), and who may open one. */
#include "net/http.h"

#include <string.h>

#include "util/websocket.h"

/* -------------------------------------------------------------------------------------- origins */

struct origin {
    struct chi_span scheme;
    struct chi_span host; /* brackets of IPv6 included */
    uint64_t port;
};

/* HOST[:PORT]. false if it is none. */
static bool read_host(struct chi_span text, uint64_t standard, struct origin *out)
{
    size_t host = 0;

    if (text.len > 0 && text.at[0] == '[') {
        const char *end = memchr(text.at, ']', text.len);
        host = end ? (size_t)(end - text.at) + 1 : 0;
    } else {
        while (host < text.len && text.at[host] != ':')
            host++;
    }
    out->host = (struct chi_span){text.at, host};
    out->port = standard;
    if (host == 0)
        return false;
    if (host == text.len)
        return true;
    return text.at[host] == ':' &&
           chi_parse_u64((struct chi_span){text.at + host + 1, text.len - host - 1}, 1, 65535,
                         &out->port);
}

/* SCHEME://HOST[:PORT], of http or https. */
static bool read_origin(struct chi_span text, struct origin *out)
{
    struct chi_span http = CHI_SPAN("http"), https = CHI_SPAN("https");
    size_t scheme = 0;

    while (scheme < text.len && text.at[scheme] != ':')
        scheme++;
    out->scheme = (struct chi_span){text.at, scheme};
    if (text.len < scheme + 3 || memcmp(text.at + scheme, "://", 3) != 0)
        return false;
    bool secure = chi_span_same(out->scheme, https);
    if (!secure && !chi_span_same(out->scheme, http))
        return false;
    return read_host((struct chi_span){text.at + scheme + 3, text.len - scheme - 3},
                     secure ? 443 : 80, out);
}

static bool same_place(const struct origin *a, const struct origin *b)
{
    return a->port == b->port && chi_span_same(a->host, b->host);
}

static bool is_loopback_name(struct chi_span host)
{
    return chi_span_same(host, CHI_SPAN("localhost")) || chi_span_is(host, "127.0.0.1") ||
           chi_span_is(host, "[::1]");
}

/* Whether the option's list, separated by commas, names it with scheme, host and port. Origins
 * that are not of HTTP (of an application, say) are compared as texts. */
static bool is_listed(struct chi_span text, const struct origin *origin, const char *list)
{
    while (list && *list) {
        size_t len = strcspn(list, ",");
        struct chi_span item = chi_span_trim((struct chi_span){list, len});
        struct origin one;
        if (item.len > 0 && chi_span_same(item, text))
            return true;
        if (origin && read_origin(item, &one) && chi_span_same(one.scheme, origin->scheme) &&
            same_place(&one, origin))
            return true;
        list += len + (list[len] == ',');
    }
    return false;
}

bool chi_origin_allowed(struct chi_span text, struct chi_span host, bool local, const char *allowed)
{
    struct origin origin, own;

    if (chi_span_same(text, CHI_SPAN("null")))
        return false;
    if (!read_origin(text, &origin))
        return is_listed(text, NULL, allowed);
    /* A browser leaves out the port that is its scheme's own, in both headers. */
    uint64_t standard = chi_span_same(origin.scheme, CHI_SPAN("https")) ? 443 : 80;
    if (read_host(host, standard, &own) && same_place(&origin, &own))
        return true;
    return (local && is_loopback_name(origin.host)) || is_listed(text, &origin, allowed);
}

/* -------------------------------------------------------------------------------------- the key */

static int base64_value(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* 16 bytes in base64: 22 characters, of which the last has 4 bits too many, and two =. */
static bool key_fits(struct chi_span key)
{
    if (key.len != CHI_WEBSOCKET_KEY_LEN || key.at[22] != '=' || key.at[23] != '=')
        return false;
    for (size_t i = 0; i < 22; i++)
        if (base64_value(key.at[i]) < 0)
            return false;
    return (base64_value(key.at[21]) & 15) == 0;
}

/* ---------------------------------------------------------------------------------- the request */

/* What is wrong with an upgrade but its key, version and origin: one line, or NULL. */
static const char *upgrade_fault(const struct chi_head *head)
{
    struct chi_span value;

    if (!head->one_one)
        return "a WebSocket needs HTTP/1.1";
    if (!chi_head_has_token(head, "Upgrade", "websocket"))
        return "only an upgrade to websocket is possible";
    if (!chi_head_has_token(head, "Connection", "upgrade"))
        return "the Connection header has to name upgrade";
    if (chi_head_find(head, "Sec-WebSocket-Key", &value) != 1 || !key_fits(value))
        return "there has to be one Sec-WebSocket-Key, of 16 bytes in base64";
    return NULL;
}

static const char *origin_fault(const struct chi_conn *conn, const struct chi_head *head)
{
    struct chi_span origin, host, cookie;
    unsigned origins = chi_head_find(head, "Origin", &origin);

    chi_head_find(head, "Host", &host);
    if (origins == 0 && chi_head_find(head, "Cookie", &cookie) == 0)
        return NULL;
    if (origins == 0)
        return "cookies come from browsers, which tell their Origin";
    if (origins == 1 && chi_origin_allowed(origin, host, chi_conn_listener(conn)->local,
                                           conn->net->parts.settings->origins))
        return NULL;
    return "pages from this origin may not connect here; see the option origins";
}

/* false: refused. */
static bool may_upgrade(struct chi_conn *conn, const struct chi_head *head)
{
    struct chi_span version;
    const char *why;

    if (!head->get) {
        chi_http_refuse(conn, 405, "a WebSocket begins with GET", "Allow: GET\r\n");
        return false;
    }
    if (head->one_one && (chi_head_find(head, "Sec-WebSocket-Version", &version) != 1 ||
                          !chi_span_is(version, "13"))) {
        chi_http_refuse(
            conn, 426, "version 13 of the WebSocket protocol is spoken here",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
        return false;
    }
    if ((why = upgrade_fault(head))) {
        chi_http_refuse(conn, 400, why, NULL);
        return false;
    }
    if ((why = origin_fault(conn, head))) {
        chi_http_refuse(conn, 403, why, NULL);
        return false;
    }
    return true;
}

/* Whatever the hub has to say goes behind it. false: no memory. */
static bool begin_answer(struct chi_conn *conn, const struct chi_head *head, bool subprotocol)
{
    struct chi_out *out = chi_out_get(conn);
    char answer[CHI_WEBSOCKET_ACCEPT_LEN + 1];
    struct chi_span key;

    if (!out)
        return false;
    chi_head_find(head, "Sec-WebSocket-Key", &key);
    chi_buf_add_text(
        &out->bytes,
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: ");
    chi_websocket_accept(key.at, answer);
    chi_buf_add_text(&out->bytes, answer);
    if (subprotocol)
        chi_buf_add_text(&out->bytes, "\r\nSec-WebSocket-Protocol: " CHI_SUBPROTOCOL);
    chi_buf_add_text(&out->bytes, "\r\n\r\n");
    return !out->bytes.failed;
}

static void upgrade(struct chi_conn *conn, const struct chi_head *head,
                    const struct chi_arrival *arrival)
{
    struct chi_encoding encoding = {arrival->dialect, &chi_framing_websocket};
    bool begun = begin_answer(conn, head, arrival->native);

    conn->websocket = true;
    conn->net->hot[conn->number].send = CHI_SENDING_WAITS; /* the hub's words go behind it */
    int error =
        begun ? chi_conn_open(conn, encoding, arrival->native, arrival->name) : CHATHUB_ENOMEM;
    if (error) {
        chi_out_drop(conn);
        conn->websocket = false;
        chi_http_refuse(conn, 503, chathub_strerror(error), "Retry-After: 5\r\n");
        return;
    }
    if (chi_conn_out(conn))
        chi_conn_push(conn);
}

void chi_handshake(struct chi_conn *conn, const struct chi_head *head)
{
    struct chi_arrival arrival = {0};

    if (may_upgrade(conn, head) && chi_arrival_read(conn, head, &arrival))
        upgrade(conn, head, &arrival);
    chi_buf_fini(&arrival.memory);
}
