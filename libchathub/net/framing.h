/* Framings: how a dialect's text stands on a connection. */
#ifndef CHI_NET_FRAMING_H
#define CHI_NET_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ports.h"

/* An unfragmented, unmasked text frame (RFC 6455 section 5.2). */
extern const struct chi_framing chi_framing_websocket;
/* The text and a newline. */
extern const struct chi_framing chi_framing_lines;
/* The text as it is. */
extern const struct chi_framing chi_framing_none;

enum chi_opcode {
    CHI_OPCODE_CONTINUATION = 0x0,
    CHI_OPCODE_TEXT = 0x1,
    CHI_OPCODE_BINARY = 0x2,
    CHI_OPCODE_CLOSE = 0x8,
    CHI_OPCODE_PING = 0x9,
    CHI_OPCODE_PONG = 0xa,
};

/* RFC 6455 section 5.5. */
#define CHI_CONTROL_MAX 125

/* Appends a control frame of the server; `len` is at most CHI_CONTROL_MAX. */
void chi_frame_control(struct chi_buf *out, enum chi_opcode opcode, const void *bytes, size_t len);
/* Appends a close frame; code 0: one without a code. The reason is cut to whole characters that
 * fit. */
void chi_frame_close(struct chi_buf *out, int code, struct chi_span reason);
/* Whether a peer may send this code in a close frame (section 7.4, and IANA's registry). */
bool chi_close_code_valid(unsigned code);

#endif
