#include "wire.h"

#include <string.h>

static int line_read(const char *bytes, size_t len, struct cb_frame *out)
{
    const char *end = memchr(bytes, '\n', len);
    if (!end) {
        return 0;
    }
    *out =
        (struct cb_frame){CB_TEXT, bytes, (size_t)(end - bytes), bytes, (size_t)(end - bytes) + 1};
    return 1;
}

/* RFC 6455 section 5.2; servers send no mask, and this one no fragments. */
static int websocket_read(const char *bytes, size_t len, struct cb_frame *out)
{
    const uint8_t *b = (const uint8_t *)bytes;
    if (len < 2) {
        return 0;
    }
    if (!(b[0] & 0x80) || (b[0] & 0x70) || (b[1] & 0x80)) {
        return -1;
    }
    uint64_t size = b[1];
    size_t head = size == 126 ? 4 : size == 127 ? 10 : 2;
    if (len < head) {
        return 0;
    }
    if (head > 2) {
        size = 0;
        for (size_t i = 2; i < head; i++) {
            size = size << 8 | b[i];
        }
    }
    if (size > 64u << 20) {
        return -1;
    }
    if (len - head < size) {
        return 0;
    }
    *out = (struct cb_frame){b[0] & 15, bytes + head, (size_t)size, bytes, head + (size_t)size};
    return 1;
}

int cb_frame_read(bool websocket, const char *bytes, size_t len, struct cb_frame *out)
{
    return websocket ? websocket_read(bytes, len, out) : line_read(bytes, len, out);
}

static size_t write_head(int opcode, size_t len, char *out)
{
    out[0] = (char)(0x80 | opcode);
    if (len < 126) {
        out[1] = (char)(0x80 | len);
        return 2;
    }
    size_t head = len < 65536 ? 4 : 10;
    out[1] = (char)(0x80 | (head == 4 ? 126 : 127));
    for (size_t i = head - 1; i >= 2; i--, len >>= 8) {
        out[i] = (char)(len & 255);
    }
    return head;
}

size_t cb_frame_write(bool websocket, int opcode, const char *text, size_t len, uint32_t mask,
                      char *out)
{
    if (!websocket) {
        memcpy(out, text, len);
        out[len] = '\n';
        return len + 1;
    }
    size_t head = write_head(opcode, len, out);
    memcpy(out + head, &mask, 4);
    head += 4;
    uint64_t key = mask | (uint64_t)mask << 32, word;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        memcpy(&word, text + i, 8);
        word ^= key;
        memcpy(out + head + i, &word, 8);
    }
    for (const char *rest = (const char *)&key; i < len; i++) {
        out[head + i] = (char)(text[i] ^ rest[i & 7]);
    }
    return head + len;
}
