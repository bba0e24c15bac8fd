/* What goes over the bus, as bytes. Private to core/nodes_*.c.
 *
 *     message: version 1 · kind 1 · node 8 · count 8 · shown 8 · epoch 16 · items
 *     item:    kind 1 · length 4 · so many bytes
 *
 * Numbers are little-endian; a text is its length (2, in PRIVATE's content 4) and its bytes. Kinds
 * and items that are not known are passed over, as are bytes behind what is known of an item: so a
 * newer node may say more. A message of another version is passed over as a whole. */
#ifndef CHI_CORE_NODES_WIRE_H
#define CHI_CORE_NODES_WIRE_H

#include "core/nodes.h"

#define CHI_WIRE_VERSION 1u
#define CHI_WIRE_HEAD    (2u + 3u * 8u + CHI_EPOCH_LEN)

#define CHI_WIRE_ITEM 5u /* kind and length */

/* Written to wires: numbers are never reused. */
enum chi_wire_kind {
    CHI_WIRE_BEAT = 1,    /* to all, each quarter of a lease: I am here. No items */
    CHI_WIRE_DIFFERENCES, /* to all, counted: SESSION, ENDED, TYPING, STOOD */
    CHI_WIRE_ASK,         /* to one: tell me all; PLACED: but where names stood */
    CHI_WIRE_ALL,         /* to one, or to all: PART, then SESSION, at last STOOD */
    CHI_WIRE_BYE,         /* to all: I stop. No items */
    CHI_WIRE_GIVEN,       /* to one: GIVEN */
    CHI_WIRE_PRIVATE,     /* to one: PRIVATE */
};

enum chi_wire_item {
    CHI_WIRE_SESSION = 1, /* all about one session */
    CHI_WIRE_ENDED,       /* user 16 · version 8 */
    CHI_WIRE_TYPING,      /* user 16 · how 1 (enum chi_nodes_typing) · room */
    CHI_WIRE_STOOD,  /* position 8 · age 8 · dropped 1 · epoch 16 · name's key · room's key */
    CHI_WIRE_PART,   /* number 4 (from 1) · last 1 */
    CHI_WIRE_PLACES, /* GIVEN: as SESSION: where its cursors stood */
    CHI_WIRE_PLACED, /* ASK: where names stood is known already */
    CHI_WIRE_WORDS,  /* PRIVATE: to 16 · from 16 · room · name · content */
};

struct chi_wire_head {
    uint8_t version, kind;
    uint64_t node;  /* who says it */
    uint64_t count; /* messages that it sent to all, this one included if it is one of them */
    uint64_t shown; /* by its log */
    struct chi_span epoch; /* of its log, to which `shown` and positions belong */
};

/* Flags of a session. */
#define CHI_WIRE_CONNECTED 1u /* it has a client */
#define CHI_WIRE_SHARES    2u /* others may have its name too */
#define CHI_WIRE_RETURNS   4u /* its client knows the key */
#define CHI_WIRE_WANTS     8u /* it was just taken over: its places are wanted (GIVEN) */
/* Flags of a place in a room. */
#define CHI_WIRE_STALE 1u /* the position means nothing any more */

struct chi_wire_session {
    char user[CHI_USER_LEN];
    uint64_t version, named_at;
    uint8_t flags;
    struct chi_span name, status;
    uint32_t rooms;         /* places that follow … */
    struct chi_span places; /* … these bytes */
};
struct chi_wire_place {
    struct chi_span room; /* as it is shown */
    uint64_t position;
    uint8_t flags;
};

/* Reads from the front of what is left; short: there was less, and what was read is zero. */
struct chi_wire {
    struct chi_span left;
    bool is_short;
};
uint64_t chi_wire_number(struct chi_wire *wire, uint32_t bytes);
struct chi_span chi_wire_bytes(struct chi_wire *wire, size_t len);
struct chi_span chi_wire_text(struct chi_wire *wire);

/* false: it is none. */
bool chi_wire_read_head(struct chi_wire *wire, struct chi_wire_head *out);
/* The next item's kind and bytes; false: there is none. */
bool chi_wire_read_item(struct chi_wire *wire, uint8_t *kind, struct chi_wire *item);
bool chi_wire_read_session(struct chi_wire *item, struct chi_wire_session *out);
bool chi_wire_read_place(struct chi_wire *places, struct chi_wire_place *out);

void chi_wire_add_number(struct chi_buf *out, uint64_t number, uint32_t bytes);
void chi_wire_add_text(struct chi_buf *out, struct chi_span text);
void chi_wire_add_head(struct chi_buf *out, const struct chi_wire_head *head);
/* Answers where the item begins; its length is filled in at its end. */
size_t chi_wire_begin(struct chi_buf *out, uint8_t kind);
void chi_wire_end(struct chi_buf *out, size_t begin);
void chi_wire_add_stood(struct chi_buf *out, const struct chi_stood_place *stood);
/* All about a session of this node as others may know it; its members are marked as told of. */
void chi_wire_add_session(struct chi_hub *hub, struct chi_buf *out, uint8_t item,
                          struct chi_session *session);

#endif
