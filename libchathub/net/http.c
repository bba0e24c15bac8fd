/* HTTP/1.1 as far as it is needed: one request per connection, which is a WebSocket's beginning, or
 * gets what the host has in memory.
 *
 * Happy path: the head comes in one read, passes the guard and llhttp, and is answered. Failure
 * modes: it comes in pieces (gathered in input->bytes, up to its bound and within head_time); it
 * is refused, by one line of text and the end of the connection, so that nothing behind a faulty
 * head is ever taken for a request. */
#include "net/http.h"

#include <llhttp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "net/guard.h"

#define CSP                                                                                        \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; img-src "   \
    "'self' data:; "                                                                               \
    "connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"

/* -------------------------------------------------------------------------------------- reading */

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
    struct chi_head *head = parser->data;

    if (!head->target.at)
        head->target.at = at;
    head->target.len = (size_t)(at + len - head->target.at);
    return 0;
}

static int on_field(llhttp_t *parser, const char *at, size_t len)
{
    struct chi_head *head = parser->data;

    if (head->count == 0 || head->in_value) {
        if (head->count == CHI_HEADERS_MAX)
            return -1;
        head->headers[head->count++] = (struct chi_header){{at, 0}, {NULL, 0}};
        head->in_value = false;
    }
    struct chi_span *name = &head->headers[head->count - 1].name;
    name->len = (size_t)(at + len - name->at);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct chi_head *head = parser->data;

    if (head->count == 0)
        return -1;
    struct chi_span *value = &head->headers[head->count - 1].value;
    if (!value->at)
        value->at = at;
    value->len = (size_t)(at + len - value->at);
    head->in_value = true;
    return 0;
}

/* 2: there is no body to come, stop here (bodies are refused by their headers). */
static int on_headers_complete(llhttp_t *parser)
{
    struct chi_head *head = parser->data;

    head->complete = true;
    return 2;
}

static const llhttp_settings_t parser_settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_headers_complete,
};

static void split_target(struct chi_head *head)
{
    const char *mark = memchr(head->target.at, '?', head->target.len);

    head->path = head->target;
    if (!mark)
        return;
    head->path.len = (size_t)(mark - head->target.at);
    head->query = (struct chi_span){mark + 1, head->target.len - head->path.len - 1};
}

static int method_of(uint8_t method)
{
    switch (method) {
    case HTTP_GET:
        return CHATHUB_METHOD_GET;
    case HTTP_HEAD:
        return CHATHUB_METHOD_HEAD;
    case HTTP_POST:
        return CHATHUB_METHOD_POST;
    case HTTP_DELETE:
        return CHATHUB_METHOD_DELETE;
    default:
        return -1;
    }
}

/* Reads a head that has passed the guard. false: llhttp does not agree with it about what it is
 * or where it ends. */
static bool read_head(struct chi_head *head, const char *bytes, size_t len)
{
    llhttp_t parser;

    memset(head, 0, sizeof(*head));
    llhttp_init(&parser, HTTP_REQUEST, &parser_settings);
    parser.data = head;
    llhttp_errno_t error = llhttp_execute(&parser, bytes, len);
    if (error != HPE_PAUSED_UPGRADE || llhttp_get_error_pos(&parser) != bytes + len ||
        !head->complete)
        return false;
    if (!head->target.at || head->target.len == 0)
        return false;
    for (unsigned i = 0; i < head->count; i++)
        head->headers[i].value = chi_span_trim(head->headers[i].value);
    head->method = method_of(parser.method);
    head->get = head->method == CHATHUB_METHOD_GET;
    head->head = head->method == CHATHUB_METHOD_HEAD;
    head->one_one = parser.http_minor == 1;
    split_target(head);
    return true;
}

/* --------------------------------------------------------------------------------- looking into */

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool chi_span_same(struct chi_span a, struct chi_span b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct chi_span chi_span_trim(struct chi_span text)
{
    while (text.len > 0 && is_blank(text.at[0])) {
        text.at++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.at[text.len - 1]))
        text.len--;
    return text;
}

unsigned chi_head_find(const struct chi_head *head, const char *name, struct chi_span *value)
{
    unsigned n = 0;

    *value = (struct chi_span){NULL, 0};
    for (unsigned i = 0; i < head->count; i++)
        if (chi_span_same(head->headers[i].name, chi_span_of(name)) && n++ == 0)
            *value = head->headers[i].value;
    return n;
}

static bool list_has(struct chi_span list, struct chi_span token)
{
    while (list.len > 0) {
        const char *comma = memchr(list.at, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.at) : list.len;
        if (chi_span_same(chi_span_trim((struct chi_span){list.at, len}), token))
            return true;
        len += comma != NULL;
        list = (struct chi_span){list.at + len, list.len - len};
    }
    return false;
}

bool chi_head_has_token(const struct chi_head *head, const char *name, const char *token)
{
    for (unsigned i = 0; i < head->count; i++)
        if (chi_span_same(head->headers[i].name, chi_span_of(name)) &&
            list_has(head->headers[i].value, chi_span_of(token)))
            return true;
    return false;
}

struct chi_span chi_head_query(const struct chi_head *head, const char *key)
{
    struct chi_span left = head->query;
    size_t size = strlen(key);

    while (left.len > 0) {
        const char *mark = memchr(left.at, '&', left.len);
        size_t len = mark ? (size_t)(mark - left.at) : left.len;
        if (len > size && left.at[size] == '=' && memcmp(left.at, key, size) == 0)
            return (struct chi_span){left.at + size + 1, len - size - 1};
        len += mark != NULL;
        left = (struct chi_span){left.at + len, left.len - len};
    }
    return (struct chi_span){NULL, 0};
}

/* ------------------------------------------------------------------------------------ answering */

static const char *status_text(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 403:
        return "Forbidden";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 408:
        return "Request Timeout";
    case 409:
        return "Conflict";
    case 413:
        return "Content Too Large";
    case 414:
        return "URI Too Long";
    case 426:
        return "Upgrade Required";
    case 429:
        return "Too Many Requests";
    case 431:
        return "Request Header Fields Too Large";
    case 500:
        return "Internal Server Error";
    case 503:
        return "Service Unavailable";
    case 505:
        return "HTTP Version Not Supported";
    default:
        return "Answer";
    }
}

/* RFC 9110 section 5.6.7; by hand, since strftime asks the locale. */
static void add_date(struct chi_buf *out, uint64_t unix_ms)
{
    static const char days[] = "SunMonTueWedThuFriSat",
                      months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm tm;
    char text[64];

    if (!gmtime_r(&seconds, &tm))
        return;
    snprintf(text, sizeof(text), "Date: %.3s, %02d %.3s %04d %02d:%02d:%02d GMT\r\n",
             days + 3 * tm.tm_wday, tm.tm_mday, months + 3 * tm.tm_mon, tm.tm_year + 1900,
             tm.tm_hour, tm.tm_min, tm.tm_sec);
    chi_buf_add_text(out, text);
}

struct answer {
    int status;
    const char *type;     /* Content-Type */
    const char *extra;    /* further header lines, or NULL */
    struct chi_span body; /* stays valid, or is `own` */
    char *own;            /* the body where it is to be freed, or NULL */
    bool head;            /* the body is not sent */
};

static void add_head(struct chi_conn *conn, struct chi_buf *out, const struct answer *answer)
{
    const struct chi_env *env = &conn->net->parts.env;
    char line[64];

    snprintf(line, sizeof(line), "HTTP/1.1 %03d %s\r\n", answer->status,
             status_text(answer->status));
    chi_buf_add_text(out, line);
    add_date(out, env->ops->wall(env->self));
    chi_buf_add_text(out, "Content-Type: ");
    chi_buf_add_text(out, answer->type);
    chi_buf_add_text(out, "\r\nContent-Length: ");
    chi_buf_add_u64(out, answer->body.len);
    chi_buf_add_text(
        out,
        "\r\nConnection: close\r\nCache-Control: no-cache\r\nX-Content-Type-Options: nosniff\r\n"
        "Referrer-Policy: no-referrer\r\n" CSP); /* SVG and XML can hold scripts as well */
    if (answer->extra)
        chi_buf_add_text(out, answer->extra);
    chi_buf_add_text(out, "\r\n");
}

/* Sends an answer and closes. Takes over answer->own. */
static void respond(struct chi_conn *conn, const struct answer *answer)
{
    struct chi_out *out = chi_out_get(conn);

    conn->deaf = true;
    if (out) {
        add_head(conn, &out->bytes, answer);
        out->own = answer->own;
        if (!answer->head) {
            out->tail = answer->body.at;
            out->tail_len = answer->body.len;
        }
    } else {
        free(answer->own);
    }
    if (out && out->bytes.failed)
        chi_out_drop(conn);
    conn->http = true;
    chi_conn_goodbye(conn);
}

void chi_http_refuse(struct chi_conn *conn, int status, const char *why, const char *extra)
{
    char number[16];
    struct chi_buf body = {0};
    struct answer answer = {.status = status, .type = "text/plain; charset=utf-8", .extra = extra};

    snprintf(number, sizeof(number), "%d", status);
    const struct chi_field fields[] = {{"status", chi_span_of(number)},
                                       {"reason", chi_span_of(why)}};
    chi_conn_log(conn, CHATHUB_INFO, "refused", fields, 2);
    chi_buf_add_text(&body, why);
    chi_buf_add_char(&body, '\n');
    if (!body.failed)
        answer.body = (struct chi_span){body.at, body.len};
    answer.own = body.at;
    respond(conn, &answer);
}

/* A header's value must not be able to end its line. */
static bool type_fits(const char *type)
{
    for (; *type; type++)
        if (*type < ' ' || *type >= 0x7f)
            return false;
    return true;
}

/* What a route's callback is told. */
struct asked {
    struct chathub_http request;
    char *texts[4]; /* owned: path, query, origin, host */
    char peer[CHI_PEER_TEXT];
};

static void asked_fini(struct asked *asked)
{
    for (size_t i = 0; i < 4; i++)
        free(asked->texts[i]);
}

/* Proxies tell so by one of these (RFC 7239, RFC 9110 section 7.6.3, and what came before them). */
static bool is_forwarded(const struct chi_head *head)
{
    struct chi_span before = CHI_SPAN("x-forwarded-"), value;

    for (unsigned i = 0; i < head->count; i++) {
        struct chi_span name = head->headers[i].name;
        if (name.len > before.len && chi_span_same((struct chi_span){name.at, before.len}, before))
            return true;
    }
    return chi_head_find(head, "Forwarded", &value) > 0 || chi_head_find(head, "Via", &value) > 0 ||
           chi_head_find(head, "X-Real-IP", &value) > 0;
}

/* false: there is no memory. Either way to be freed by asked_fini. */
static bool asked_init(struct asked *asked, const struct chi_conn *conn,
                       const struct chi_head *head)
{
    struct chi_span spans[4] = {head->path, head->query};
    bool complete = true;

    chi_head_find(head, "Origin", &spans[2]);
    chi_head_find(head, "Host", &spans[3]);
    for (size_t i = 0; i < 4; i++) {
        asked->texts[i] = chi_span_dup(spans[i]);
        complete = complete && asked->texts[i];
    }
    asked->request = (struct chathub_http){
        .size = sizeof(asked->request),
        .head = head->head,
        .path = asked->texts[0],
        .query = asked->texts[1],
        .address = chi_peer_text(&conn->peer, asked->peer),
        .method = head->method,
        .local = chi_peer_is_local(&conn->peer),
        .forwarded = is_forwarded(head),
        .origin = asked->texts[2],
        .host = asked->texts[3],
    };
    return complete;
}

static void call_route(struct chi_conn *conn, const struct chi_route *route,
                       const struct chi_head *head)
{
    struct chi_net *net = conn->net;
    struct chi_http_body body = {0};
    struct asked asked;
    int status = 500;

    if (asked_init(&asked, conn, head)) {
        chi_routes_set_current(net->parts.routes, &body);
        status = route->cb(net->parts.owner, &asked.request, route->arg);
        chi_routes_set_current(net->parts.routes, NULL);
    }
    asked_fini(&asked);
    struct answer answer = {.status = status,
                            .type = body.type ? body.type : "text/plain; charset=utf-8",
                            .body = {body.bytes, body.len},
                            .own = body.bytes,
                            .head = head->head};
    if (conn->phase == CHI_PHASE_DEAD) { /* the callback ended the hub */
        free(body.bytes);
    } else if (status < 200 || status > 599 || !type_fits(answer.type)) {
        free(body.bytes);
        chi_http_refuse(conn, 500, "the route's answer is not valid", NULL);
    } else {
        respond(conn, &answer);
    }
    free(body.type);
}

/* The status that refuses a request which has, or may have, a body; 0: it has none. */
static int body_fault(const struct chi_head *head)
{
    struct chi_span value;
    uint64_t size;

    if (chi_head_find(head, "Transfer-Encoding", &value) > 0)
        return 400;
    unsigned n = chi_head_find(head, "Content-Length", &value);
    if (n == 0 || (n == 1 && chi_span_is(value, "0")))
        return 0;
    return n == 1 && chi_parse_u64(value, 1, UINT64_MAX, &size) ? 413 : 400;
}

/* Tells which methods there are instead. */
static void refuse_method(struct chi_conn *conn, uint32_t methods)
{
    static const char *const words[] = {"GET", "HEAD", "POST", "DELETE"};
    char allow[64] = "Allow: ", why[64] = "use ";
    size_t allowed = strlen(allow), said = strlen(why);

    for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (!(methods & 1u << i))
            continue;
        methods &= ~(1u << i);
        const char *comma = methods ? ", " : "", * or = methods ? " or " : "";
        allowed +=
            (size_t)snprintf(allow + allowed, sizeof(allow) - allowed, "%s%s", words[i], comma);
        said += (size_t)snprintf(why + said, sizeof(why) - said, "%s%s", words[i], or);
    }
    snprintf(allow + allowed, sizeof(allow) - allowed, "\r\n");
    chi_http_refuse(conn, 405, why, allow);
}

/* A request for a route that has its method. */
static void serve_route(struct chi_conn *conn, const struct chi_route *route,
                        const struct chi_head *head)
{
    int status = body_fault(head);

    if (status) {
        chi_http_refuse(conn, status, "a request may have no body here", NULL);
    } else if (route->cb) {
        call_route(conn, route, head);
    } else {
        struct answer answer = {.status = 200,
                                .type = route->type,
                                .body = {route->bytes, route->len},
                                .head = head->head};
        respond(conn, &answer);
    }
}

/* A browser tells one Origin; what tells two, or an empty one, means to be read differently by
 * different readers. */
static bool origin_is_clear(const struct chi_head *head)
{
    struct chi_span origin;
    unsigned n = chi_head_find(head, "Origin", &origin);

    return n == 0 || (n == 1 && origin.len > 0);
}

static void serve_path(struct chi_conn *conn, const struct chi_head *head)
{
    const struct chi_route *route =
        chi_routes_find(conn->net->parts.routes, head->path.at, head->path.len);
    bool here = chi_span_is(head->path, chi_conn_listener(conn)->address.path);
    uint32_t methods = (route ? route->methods : 0) | (here ? CHI_METHOD(GET) : 0);
    uint32_t method = head->method < 0 ? 0 : 1u << head->method;
    struct chi_span upgrade;

    if (here && chi_head_find(head, "Upgrade", &upgrade) > 0)
        chi_handshake(conn, head);
    else if (!methods)
        chi_http_refuse(conn, 404, "there is nothing here", NULL);
    else if (!(methods & method) && !(here && head->head))
        refuse_method(conn, methods);
    else if (!origin_is_clear(head))
        chi_http_refuse(conn, 400, "there may be one Origin header, which is not empty", NULL);
    else if (route && (route->methods & method))
        serve_route(conn, route, head);
    else
        chi_http_refuse(
            conn, 426, "this is a WebSocket; connect with ws://",
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
}

static void serve(struct chi_conn *conn, const struct chi_head *head)
{
    struct chi_span host;
    unsigned hosts = chi_head_find(head, "Host", &host);

    if (hosts > 1 || (hosts == 0 && head->one_one))
        chi_http_refuse(conn, 400, "there has to be one Host header", NULL);
    else if (hosts == 1 &&
             (host.len == 0 || memchr(host.at, ' ', host.len) || memchr(host.at, '/', host.len)))
        chi_http_refuse(conn, 400, "the Host header has to be a host and perhaps a port", NULL);
    else if (head->path.at[0] != '/')
        chi_http_refuse(conn, 400, "the target has to begin with /", NULL);
    else if ((head->get || head->head) && body_fault(head))
        chi_http_refuse(conn, 400, "a request may have no body here", NULL);
    else
        serve_path(conn, head);
}

static void on_head(struct chi_conn *conn, const char *bytes, size_t len)
{
    struct chi_guard guard = {0};
    struct chi_head head;

    chi_guard_check(&guard, bytes, len);
    if (guard.status)
        chi_http_refuse(conn, guard.status, guard.why, NULL);
    else if (!read_head(&head, bytes, len))
        chi_http_refuse(conn, 400, "the head of the request is malformed", NULL);
    else
        serve(conn, &head);
}

/* ------------------------------------------------------------------------------------ gathering */

/* A head that is not complete and cannot become one within its bounds. */
static bool too_long(const char *bytes, size_t len, struct chi_guard *guard)
{
    if (len > CHI_TARGET_MAX + 64 && !memchr(bytes, '\r', CHI_TARGET_MAX + 64))
        *guard = (struct chi_guard){414, "the target is too long; it may have 2048 bytes"};
    else if (len > CHI_HEAD_MAX)
        *guard = (struct chi_guard){431, "the head is too long; it may have 8192 bytes"};
    return guard->status != 0;
}

/* The head so far, with `len` bytes more: in place if it began with them. */
static const char *gather(struct chi_conn *conn, const char *bytes, size_t len)
{
    struct chi_input *input = chi_conn_input(conn);

    if (!input || input->bytes.len == 0)
        return bytes;
    chi_buf_add(&input->bytes, bytes, len);
    return input->bytes.failed ? NULL : input->bytes.at;
}

/* Keeps the beginning of a head. */
static bool keep(struct chi_conn *conn, const char *head, size_t len)
{
    struct chi_input *input = chi_input_get(conn);

    if (input && input->bytes.at != head)
        chi_buf_add(&input->bytes, head, len);
    return input && !input->bytes.failed;
}

size_t chi_http_feed(struct chi_conn *conn, const char *bytes, size_t len)
{
    struct chi_guard guard = {0};
    struct chi_input *input = chi_conn_input(conn);
    size_t before = input ? input->bytes.len : 0;
    const char *head;

    /* One byte more than fits, so that too much can be told from just enough. */
    if (len > CHI_HEAD_MAX + 1 - before)
        len = CHI_HEAD_MAX + 1 - before;
    head = gather(conn, bytes, len);
    size_t end = head ? chi_guard_scan(&guard, head, before, before + len) : 0;
    if (!head || guard.status || (end == 0 && too_long(head, before + len, &guard))) {
        chi_http_refuse(conn, head ? guard.status : 503, head ? guard.why : "out of memory", NULL);
        return len;
    }
    if (end == 0) {
        if (!keep(conn, head, len))
            chi_http_refuse(conn, 503, "out of memory", NULL);
        return len;
    }
    if (before == 0) {
        on_head(conn, head, end);
        return end;
    }
    /* What was gathered must stay as it is while it is looked at, and be gone before frames are
     * fed. */
    struct chi_buf own = input->bytes;
    input->bytes = (struct chi_buf){0};
    on_head(conn, own.at, end);
    chi_buf_fini(&own);
    return end - before;
}
