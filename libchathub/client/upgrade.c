#include "client/upgrade.h"

#include <llhttp.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "chathub.h"

#define SUBPROTOCOL "chathub.v1"

void chi_upgrade_ask(struct chi_buf *out, const struct chi_target *target, const char *key)
{
    bool six = strchr(target->host, ':') != NULL;

    chi_buf_add_text(out, "GET ");
    chi_buf_add_text(out, target->path);
    chi_buf_add_text(out, six ? " HTTP/1.1\r\nHost: [" : " HTTP/1.1\r\nHost: ");
    chi_buf_add_text(out, target->host);
    chi_buf_add_text(out, six ? "]:" : ":");
    chi_buf_add_text(out, target->port);
    chi_buf_add_text(out, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: ");
    chi_buf_add_text(out, key);
    chi_buf_add_text(out, "\r\nSec-WebSocket-Version: 13\r\n"
                          "Sec-WebSocket-Protocol: " SUBPROTOCOL "\r\n\r\n");
}

/* ----------------------------------------------------------------------------------- the answer */

enum field { UPGRADE, CONNECTION, ACCEPT, PROTOCOL, EXTENSIONS, FIELDS };

static const char *const NAMES[FIELDS] = {
    "Upgrade",
    "Connection",
    "Sec-WebSocket-Accept",
    "Sec-WebSocket-Protocol",
    "Sec-WebSocket-Extensions",
};

/* What of a head matters; the spans point into the answer. */
struct answer {
    struct chi_span name;           /* of the header that is being read */
    struct chi_span *value;         /* of it; NULL: it does not matter */
    struct chi_span values[FIELDS]; /* `at` is NULL: it is not there */
    struct chi_span reason;
    bool in_value; /* the next name begins anew */
    bool twice;    /* one that matters is there more than once */
};

static void grow(struct chi_span *span, const char *at, size_t len)
{
    if (!span->at)
        span->at = at;
    span->len = (size_t)(at + len - span->at);
}

static int on_reason(llhttp_t *parser, const char *at, size_t len)
{
    struct answer *answer = parser->data;
    grow(&answer->reason, at, len);
    return 0;
}

static int on_name(llhttp_t *parser, const char *at, size_t len)
{
    struct answer *answer = parser->data;
    if (answer->in_value)
        answer->name = (struct chi_span){NULL, 0};
    answer->in_value = false;
    grow(&answer->name, at, len);
    return 0;
}

static int on_value(llhttp_t *parser, const char *at, size_t len)
{
    struct answer *answer = parser->data;
    if (!answer->in_value) {
        answer->value = NULL;
        for (int i = 0; i < FIELDS; i++)
            if (answer->name.len == strlen(NAMES[i]) &&
                strncasecmp(answer->name.at, NAMES[i], answer->name.len) == 0)
                answer->value = &answer->values[i];
        answer->twice |= answer->value && answer->value->at;
        answer->in_value = true;
    }
    if (answer->value)
        grow(answer->value, at, len);
    return 0;
}

/* 2: what follows is not HTTP, or does not matter; stop here. */
static int on_head(llhttp_t *parser)
{
    (void)parser;
    return 2;
}

static const llhttp_settings_t parser_settings = {
    .on_status = on_reason,
    .on_header_field = on_name,
    .on_header_value = on_value,
    .on_headers_complete = on_head,
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct chi_span trim(struct chi_span text)
{
    while (text.len && is_blank(text.at[0]))
        text = (struct chi_span){text.at + 1, text.len - 1};
    while (text.len && is_blank(text.at[text.len - 1]))
        text.len--;
    return text;
}

/* Whether a list, separated by commas, has this token in any case. */
static bool has_token(struct chi_span list, const char *token)
{
    size_t size = strlen(token);

    while (list.len > 0) {
        const char *comma = memchr(list.at, ',', list.len);
        size_t len = comma ? (size_t)(comma - list.at) : list.len;
        struct chi_span one = trim((struct chi_span){list.at, len});
        if (one.len == size && strncasecmp(one.at, token, size) == 0)
            return true;
        len += comma != NULL;
        list = (struct chi_span){list.at + len, list.len - len};
    }
    return false;
}

/* What is wrong with a 101, or NULL. */
static const char *fault(const struct answer *answer, const char *key)
{
    char wanted[CHI_WEBSOCKET_ACCEPT_LEN + 1];

    chi_websocket_accept(key, wanted);
    if (answer->twice)
        return "a header of its answer is there twice";
    if (!has_token(answer->values[UPGRADE], "websocket") ||
        !has_token(answer->values[CONNECTION], "upgrade"))
        return "its answer does not upgrade to a WebSocket";
    if (!chi_span_is(trim(answer->values[ACCEPT]), wanted))
        return "its answer does not fit the key that was sent";
    if (answer->values[EXTENSIONS].at)
        return "it uses an extension that was not offered";
    if (!chi_span_is(trim(answer->values[PROTOCOL]), SUBPROTOCOL))
        return "it does not speak " SUBPROTOCOL;
    return NULL;
}

static int judge(const llhttp_t *parser, const struct answer *answer, const char *key,
                 char *problem, size_t size)
{
    unsigned status = parser->status_code;
    size_t len = answer->reason.len < 60 ? answer->reason.len : 60;
    const char *why;

    if (status != 101) {
        bool clean =
            chi_utf8_valid(answer->reason.at, len) && chi_text_clean(answer->reason.at, len);
        snprintf(problem, size, "the server answered HTTP %u %.*s instead of opening a WebSocket%s",
                 status, clean ? (int)len : 0, answer->reason.at ? answer->reason.at : "",
                 status == 404 ? "; is the path right?" : "");
        return CHATHUB_EPROTOCOL;
    }
    why = fault(answer, key);
    if (!why)
        return 0;
    snprintf(problem, size, "the server is no hub: %s", why);
    return CHATHUB_EPROTOCOL;
}

/* What of an answer whose head is not complete can be said already. */
static int judge_begin(struct chi_span bytes, char *problem, size_t size)
{
    static const char begin[] = "HTTP/1.1 ";
    size_t len = bytes.len < sizeof(begin) - 1 ? bytes.len : sizeof(begin) - 1;

    if (memcmp(bytes.at, begin, len) == 0)
        return 0;
    snprintf(problem, size, "the server does not speak HTTP/1.1");
    return CHATHUB_EPROTOCOL;
}

int chi_upgrade_read(struct chi_span bytes, const char *key, char *problem, size_t size)
{
    struct answer answer = {.in_value = true};
    llhttp_t parser;

    const char *end = bytes.len ? memmem(bytes.at, bytes.len, "\r\n\r\n", 4) : NULL;
    size_t len = end ? (size_t)(end - bytes.at) + 4 : bytes.len;
    if (len > CHI_UPGRADE_MAX) {
        snprintf(problem, size, "the head of the server's answer is too long");
        return CHATHUB_EPROTOCOL;
    }
    int r = len ? judge_begin(bytes, problem, size) : 0;
    if (r || !end)
        return r;
    llhttp_init(&parser, HTTP_RESPONSE, &parser_settings);
    parser.data = &answer;
    if (llhttp_execute(&parser, bytes.at, len) != HPE_PAUSED_UPGRADE ||
        llhttp_get_error_pos(&parser) != bytes.at + len) {
        snprintf(problem, size, "the head of the server's answer is malformed");
        return CHATHUB_EPROTOCOL;
    }
    r = judge(&parser, &answer, key, problem, size);
    return r < 0 ? r : (int)len;
}
