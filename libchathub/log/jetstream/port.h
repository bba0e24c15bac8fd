/* What the JetStream log's thread needs of NATS: the only thing between its logic and libnats.
 *
 * link.c is the real one; tests have one that loses, delays and doubles. */
#ifndef CHI_LOG_JETSTREAM_PORT_H
#define CHI_LOG_JETSTREAM_PORT_H

#include <stdbool.h>
#include <stdint.h>

#include "util/text.h"

/* What came. Borrowed for the call. */
enum chi_js_kind {
    CHI_JS_LIVE,  /* a stored message that the server sent on (S.out.>) */
    CHI_JS_REPLY, /* to a request; several may come for one */
    CHI_JS_BUS,   /* another node's message (own ones are left out) */
};

struct chi_js_in {
    enum chi_js_kind kind;
    uint16_t status; /* reply: of its header, such as 503 (no responders), 404, 408, 409; 0: none */
    uint32_t token;  /* reply: of the request; a consumer's message: of the newest pull that was
                        sent to that consumer, since it does not say which one it answers */
    uint64_t seq;    /* live: its sequence; reply with a stored message of a consumer: the same */
    uint64_t last;   /* live: the sequence before it on its subject, 0: none */
    uint64_t pending; /* reply of a consumer: messages behind this one that it has yet to give */
    uint64_t nth;     /* reply of a consumer: its messages up to this one; a number that is left out
                         was lost on the way */
    struct chi_span subject; /* live: without "S.out."; reply of a consumer: without "S.in." */
    struct chi_span data;
};

/* Consumers whose pulls are remembered. */
#define CHI_JS_CONSUMERS 128u

struct chi_js_out {
    struct chi_span subject; /* whole */
    struct chi_span data;
    const char *id;    /* Nats-Msg-Id; NULL: none */
    uint32_t token;    /* of what is to be answered; 0: nothing is */
    bool expects;      /* Nats-Expected-Last-Subject-Sequence: … */
    uint64_t expected; /* … this */
};

/* Called by the log's thread alone; none blocks for long (a write deadline of 1 s). */
struct chi_js_port {
    /* There is a connection, and the subscriptions are made anew on it. */
    bool (*up)(void *self);
    /* Which connection that is: counts up with each. What was sent over a former one may be lost, and
     * live messages between them are. */
    uint64_t (*number)(void *self);
    /* 0: it may arrive; negative: it does not (CHATHUB_EAGAIN: there is no connection, or another
     * one than `number` said last; CHATHUB_EVALUE: it is longer than `most`, or its subject than
     * 2,000 bytes; CHATHUB_ENOMEM).
     * Subjects of requests are whole, such as "$JS.API.STREAM.INFO.S". Of a pull (subject
     * "$JS.API.CONSUMER.MSG.NEXT.S.C") it is remembered that consumer C answers under this token,
     * for the newest CHI_JS_CONSUMERS of them: nothing else has to be told. */
    int (*send)(void *self, const struct chi_js_out *out);
    /* Written through as soon as can be: after the last `send` of a round. */
    void (*flush)(void *self);
    /* Bytes that one message may have, and be read again whole. */
    uint32_t (*most)(void *self);
    void *self;
};

#endif
