/* Framing of a client: WebSocket (RFC 6455) or lines. Only what a load client needs: the server
 * is believed. */
#ifndef CB_WIRE_H
#define CB_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CB_TEXT = 1, CB_CLOSE = 8, CB_PING = 9, CB_PONG = 10 };

/* Bytes that framing adds at most. */
#define CB_FRAME_EXTRA 14u

struct cb_frame {
    int opcode;        /* CB_TEXT for lines */
    const char *text;  /* payload, in the bytes that were read */
    size_t len;        /* of the payload */
    const char *bytes; /* the whole frame, there */
    size_t used;       /* its length */
};

/* Finds the first frame in `bytes`. 1: found; 0: more bytes are needed; -1: nothing that a
 * server should send. */
int cb_frame_read(bool websocket, const char *bytes, size_t len, struct cb_frame *out);
/* Writes a frame to `out`, which has room for len + CB_FRAME_EXTRA bytes; answers its length. */
size_t cb_frame_write(bool websocket, int opcode, const char *text, size_t len, uint32_t mask,
                      char *out);

#endif
