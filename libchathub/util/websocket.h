/* The two texts by which both sides of a WebSocket's opening know each other (RFC 6455 section 1.3). */
#ifndef CHI_UTIL_WEBSOCKET_H
#define CHI_UTIL_WEBSOCKET_H

#include <stdint.h>

#define CHI_WEBSOCKET_KEY_LEN    24 /* 16 bytes in base64 */
#define CHI_WEBSOCKET_ACCEPT_LEN 28 /* a SHA-1 in base64 */

/* Writes the client's key, of 16 random bytes, and a NUL. */
void chi_websocket_key(const uint8_t random[16], char out[CHI_WEBSOCKET_KEY_LEN + 1]);
/* Writes what the server answers to a key of CHI_WEBSOCKET_KEY_LEN bytes, and a NUL. */
void chi_websocket_accept(const char *key, char out[CHI_WEBSOCKET_ACCEPT_LEN + 1]);

#endif
