#include "net/framing.h"

#include <string.h>

#define FIN 0x80u
/* Where a reason may end: 125 bytes less the code. */
#define REASON_MAX (CHI_CONTROL_MAX - 2)

/* Writes the header of an unmasked final frame (at most 10 bytes); answers its length. */
static size_t write_header(uint8_t *out, enum chi_opcode opcode, uint64_t len)
{
    size_t extended = len < 126 ? 0 : len <= UINT16_MAX ? 2 : 8;

    out[0] = (uint8_t)(FIN | (unsigned)opcode);
    out[1] = extended == 0 ? (uint8_t)len : extended == 2 ? 126 : 127;
    for (size_t i = 0; i < extended; i++)
        out[2 + i] = (uint8_t)(len >> (8 * (extended - 1 - i)));
    return 2 + extended;
}

static void frame_websocket(struct chi_buf *buf, size_t start)
{
    uint8_t header[10];
    size_t len = buf->len - start;

    if (buf->failed || len == 0)
        return;
    size_t size = write_header(header, CHI_OPCODE_TEXT, len);
    chi_buf_add(buf, header, size);
    if (buf->failed)
        return;
    memmove(buf->at + start + size, buf->at + start, len);
    memcpy(buf->at + start, header, size);
}

static void frame_lines(struct chi_buf *buf, size_t start)
{
    if (!buf->failed && buf->len > start && buf->at[buf->len - 1] != '\n')
        chi_buf_add_char(buf, '\n');
}

static void frame_none(struct chi_buf *buf, size_t start)
{
    (void)buf;
    (void)start;
}

const struct chi_framing chi_framing_websocket = {"websocket", frame_websocket};
const struct chi_framing chi_framing_lines = {"lines", frame_lines};
const struct chi_framing chi_framing_none = {"none", frame_none};

void chi_frame_control(struct chi_buf *out, enum chi_opcode opcode, const void *bytes, size_t len)
{
    uint8_t header[10];

    chi_buf_add(out, header, write_header(header, opcode, len));
    if (len > 0)
        chi_buf_add(out, bytes, len);
}

void chi_frame_close(struct chi_buf *out, int code, struct chi_span reason)
{
    uint8_t payload[CHI_CONTROL_MAX];
    size_t len = chi_utf8_cut(reason, REASON_MAX);

    if (code == 0) {
        chi_frame_control(out, CHI_OPCODE_CLOSE, NULL, 0);
        return;
    }
    payload[0] = (uint8_t)(code >> 8);
    payload[1] = (uint8_t)code;
    if (len > 0)
        memcpy(payload + 2, reason.at, len);
    chi_frame_control(out, CHI_OPCODE_CLOSE, payload, len + 2);
}

bool chi_close_code_valid(unsigned code)
{
    if (code >= 3000)
        return code <= 4999;
    return (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
}
