#include "util/websocket.h"

#include <sha1.h>
#include <stddef.h>
#include <string.h>

#define KEY_GUID "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/* base64 with padding (RFC 4648 section 4), and a NUL. */
static void base64(const uint8_t *bytes, size_t len, char *out)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < len; i += 3) {
        unsigned three = (unsigned)bytes[i] << 16;
        three |= i + 1 < len ? (unsigned)bytes[i + 1] << 8 : 0;
        three |= i + 2 < len ? bytes[i + 2] : 0;
        for (unsigned k = 0; k < 4; k++)
            *out++ = i + k > len ? '=' : alphabet[three >> (18 - 6 * k) & 63];
    }
    *out = '\0';
}

void chi_websocket_key(const uint8_t random[16], char out[CHI_WEBSOCKET_KEY_LEN + 1])
{
    base64(random, 16, out);
}

/* SHA-1 of a key and the GUID. They always have 60 bytes, so their padding is known (RFC 3174
 * section 4): two blocks. SHA1Final would put it there byte by byte, which takes longer. */
static void digest_key(const char *key, uint8_t digest[SHA1_DIGEST_LENGTH])
{
    uint8_t message[2 * SHA1_BLOCK_LENGTH] = {0};
    SHA1_CTX sha;

    memcpy(message, key, CHI_WEBSOCKET_KEY_LEN);
    memcpy(message + CHI_WEBSOCKET_KEY_LEN, KEY_GUID, sizeof(KEY_GUID) - 1);
    message[60] = 0x80;
    message[126] = 60 * 8 >> 8;
    message[127] = 60 * 8 & 255;
    SHA1Init(&sha);
    SHA1Transform(sha.state, message);
    SHA1Transform(sha.state, message + SHA1_BLOCK_LENGTH);
    for (size_t i = 0; i < SHA1_DIGEST_LENGTH; i++)
        digest[i] = (uint8_t)(sha.state[i / 4] >> (24 - 8 * (i % 4)));
}

void chi_websocket_accept(const char *key, char out[CHI_WEBSOCKET_ACCEPT_LEN + 1])
{
    uint8_t digest[SHA1_DIGEST_LENGTH];

    digest_key(key, digest);
    base64(digest, sizeof(digest), out);
}
