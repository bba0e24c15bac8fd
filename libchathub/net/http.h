/* HTTP heads, read, and answers to them. */
#ifndef CHI_NET_HTTP_H
#define CHI_NET_HTTP_H

#include "net/internal.h"

struct chi_header {
    struct chi_span name;
    struct chi_span value; /* without the blanks around it */
};

/* A request's head, in spans of its bytes. */
struct chi_head {
    bool get, head;         /* whether the method is one of these */
    int method;             /* enum chathub_method; -1: another one */
    bool one_one;           /* HTTP/1.1, else 1.0 */
    struct chi_span target; /* as it came */
    struct chi_span path;   /* of the target */
    struct chi_span query;  /* of it, without the `?` */
    struct chi_header headers[CHI_HEADERS_MAX];
    unsigned count;
    bool in_value; /* while parsing: the last span belonged to a value */
    bool complete; /* the parser has seen the end */
};

/* How often a header is there; *value: of the first. */
unsigned chi_head_find(const struct chi_head *head, const char *name, struct chi_span *value);
/* Whether a header that is a list of tokens holds one, compared without case. */
bool chi_head_has_token(const struct chi_head *head, const char *name, const char *token);
/* The value of a key in the query, as it came; at NULL if it is not there. */
struct chi_span chi_head_query(const struct chi_head *head, const char *key);

bool chi_span_same(struct chi_span a, struct chi_span b); /* ASCII letters compared without case */
struct chi_span chi_span_trim(struct chi_span text);      /* without spaces and tabs around it */

/* handshake.c: opens a WebSocket (RFC 6455 section 4.2), or refuses it. The target's path is the
 * listener's. */
void chi_handshake(struct chi_conn *conn, const struct chi_head *head);

#define CHI_SUBPROTOCOL "chathub.v1"

/* Who connects. */
struct chi_arrival {
    const struct chi_dialect *dialect;
    bool native;           /* the subprotocol is agreed on */
    struct chi_span name;  /* it connects with this one; empty: with none */
    struct chi_buf memory; /* holds the name; whose the struct is frees it */
};

/* arrival.c: reads it from a head, and notes in `conn` whether its dialect is settled. false: what it
 * wants is refused, and that was sent. */
bool chi_arrival_read(struct chi_conn *conn, const struct chi_head *head, struct chi_arrival *out);

/* Whether a page from `origin` may connect to this listener under the name `host`. `allowed`:
 * the option origins. */
bool chi_origin_allowed(struct chi_span origin, struct chi_span host, bool local,
                        const char *allowed);

#endif
