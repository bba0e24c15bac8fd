/* A frame of the native protocol as the event that it is, and what the client itself needs of it. */
#ifndef CHI_CLIENT_FRAME_H
#define CHI_CLIENT_FRAME_H

#include <jansson.h>

#include "chathub.h"
#include "util/buf.h"
#include "util/event.h"
#include "util/text.h"

/* Refs that begin so are the client's own: the host is not told them. */
#define CHI_OWN_REF "chathub:"

/* How jansson is to read: as forgiving as hubs do, or else what one client posts, with a huge number
 * in its data for instance, could not be read by another. */
#define CHI_FRAME_JSON (JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL)

#define CHI_EPOCH_MAX 64u /* bytes that an epoch may have */

struct chi_frame {
    struct chathub_event
        event;            /* type 0: no kind of event, or one that the library does not know */
    json_t *object;       /* owned; the texts of the event live in it, or in `scratch` */
    const char *own;      /* the own ref that it answers, behind the prefix; NULL: none */
    const char *epoch;    /* "" if there is none; CHI_EPOCH_MAX bytes at most */
    uint64_t start;       /* of joined */
    uint64_t retry_after; /* ms; 0: not said */
    bool is_entry;        /* it has a position and a prev: it counts, whatever it is */
};

/* Reads a text, which holds valid UTF-8. `scratch` is emptied; it and the frame hold what the event
 * points to; chi_frame_fini follows whatever this answers. 0; CHATHUB_ENOMEM; CHATHUB_EPROTOCOL: it
 * is no frame, and `problem` says why. */
int chi_frame_read(struct chi_span text, struct chi_buf *scratch, struct chi_frame *out,
                   char *problem, size_t size);
void chi_frame_fini(struct chi_frame *frame);

/* A member that is a number above 0, exact below 2^53; else 0. */
uint64_t chi_frame_number(const json_t *object, const char *key);

/* The number of an error by its name on the wire; CHATHUB_EREQUEST if it is not known. */
int chi_frame_code(const char *word);

#endif
