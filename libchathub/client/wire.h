/* One attempt to reach a hub, and the texts that go to and fro once it is reached. */
#ifndef CHI_CLIENT_WIRE_H
#define CHI_CLIENT_WIRE_H

#include <stdint.h>

#include "client/target.h"
#include "util/text.h"

struct chi_wire;
struct uv_loop_s;

/* All are called from the loop, never from inside a call of the owner's, and none after the owner
 * has dropped the wire (which it may do in each). */
struct chi_wire_ops {
    /* Texts can be sent now. */
    void (*opened)(void *owner);
    /* One text of the hub's: valid UTF-8, not empty, at most max_frame bytes, until it returns. */
    void (*text)(void *owner, struct chi_span text);
    /* The system has taken all that waited for it. */
    void (*drained)(void *owner);
    /* It has ended: the last call, after which the owner drops it. `code` is 0 if the other side
     * ended it, with the WebSocket's `status` (0: there was none), else a chathub_error; `why` is
     * one line for a person. */
    void (*lost)(void *owner, int code, unsigned status, const char *why);
};

struct chi_wire_plan {
    struct uv_loop_s *loop;
    const struct chi_target *target; /* the owner's, as long as the wire is */
    uint32_t timeout_ms;             /* for each address, for the opening, and for the end */
    uint32_t max_frame;              /* bytes of one text */
    const struct chi_wire_ops *ops;
    void *owner;
};

/* Begins. CHATHUB_ENOMEM or CHATHUB_EIO. */
int chi_wire_open(const struct chi_wire_plan *plan, struct chi_wire **out);
/* Takes a text, which must be on one line, to be sent by the next flush. CHATHUB_ENOMEM, also if there
 * is no text at all (NULL), for want of memory: it is not sent, and the wire is lost soon. */
int chi_wire_send(struct chi_wire *wire, struct chi_span text);
/* Has the system take what it takes of it; the rest follows by itself. */
void chi_wire_flush(struct chi_wire *wire);
/* Bytes that the system has not taken yet. */
size_t chi_wire_waiting(const struct chi_wire *wire);
/* When something was heard last, in the loop's ms. */
uint64_t chi_wire_heard(const struct chi_wire *wire);
/* Sends what waits, says goodbye and waits for the other side's, no longer than the timeout; then it
 * is lost. */
void chi_wire_close(struct chi_wire *wire);
/* Ends it at once, without a word. NULL is allowed. */
void chi_wire_drop(struct chi_wire *wire);

#endif
