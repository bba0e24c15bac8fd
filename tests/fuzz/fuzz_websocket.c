/* Any bytes behind a good handshake: the server speaks in well-formed frames, and the last one
 * is its close, unless the client went without a word. */
#include "talk.h"

#include <string.h>

#include "net/framing.h"
#include "util/text.h"

/* One frame of the server; answers its length. */
static size_t check_frame(const uint8_t *at, size_t len, bool *closed)
{
    REQUIRE(len >= 2 && !*closed);
    unsigned opcode = at[0] & 0xf, extended = at[1] == 126 ? 2 : at[1] == 127 ? 8 : 0;
    uint64_t size = extended ? 0 : at[1];

    REQUIRE((at[0] & 0xf0) == 0x80 && (at[1] & 0x80) == 0 && len >= 2 + extended);
    for (unsigned i = 0; i < extended; i++)
        size = size << 8 | at[2 + i];
    REQUIRE(extended == 0 || size > (extended == 2 ? 125 : UINT16_MAX));
    const uint8_t *payload = at + 2 + extended;
    REQUIRE(len >= 2 + extended + size);
    REQUIRE(opcode == CHI_OPCODE_TEXT || opcode >= CHI_OPCODE_CLOSE);
    REQUIRE(opcode == CHI_OPCODE_TEXT || size <= CHI_CONTROL_MAX);
    if (opcode == CHI_OPCODE_TEXT)
        REQUIRE(size > 0 && chi_utf8_valid(payload, size));
    *closed = opcode == CHI_OPCODE_CLOSE;
    if (*closed && size > 0) {
        REQUIRE(size >= 2 && chi_close_code_valid((unsigned)(payload[0] << 8 | payload[1])));
        REQUIRE(chi_utf8_valid(payload + 2, size - 2));
    }
    return 2 + extended + (size_t)size;
}

static void check(const uint8_t *bytes, size_t len)
{
    const uint8_t *end = memmem(bytes, len, "\r\n\r\n", 4);
    bool closed = false;

    REQUIRE(end && memcmp(bytes, "HTTP/1.1 101 ", 13) == 0);
    for (size_t at = (size_t)(end + 4 - bytes); at < len;)
        at += check_frame(bytes + at, len - at, &closed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct talk talk = {"ws", check};

    talk_once(&talk,
              "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
              data, size);
    return 0;
}
