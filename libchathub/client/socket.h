/* A WebSocket after its opening, seen from the client (RFC 6455): texts in and out. Knows no socket:
 * bytes are fed in, and gather in a buffer. */
#ifndef CHI_CLIENT_SOCKET_H
#define CHI_CLIENT_SOCKET_H

#include "util/buf.h"
#include "util/text.h"

struct chi_socket;

/* Appends to `out`, which its owner empties. `text` is told each message, valid UTF-8 of at most
 * `max` bytes, from inside chi_socket_feed. NULL: no memory. */
struct chi_socket *chi_socket_new(uint32_t max, struct chi_buf *out,
                                  void (*text)(void *ctx, struct chi_span text), void *ctx);
void chi_socket_free(struct chi_socket *socket); /* NULL is allowed */

/* What the server sent. 0; or 1: it has closed, or has to be closed, since it broke the protocol or
 * memory is short: what is to be said about it is in `out`, and chi_socket_end says why. */
int chi_socket_feed(struct chi_socket *socket, const char *bytes, size_t len);
/* No more texts are told: for owners that end it while they are told one. */
void chi_socket_stop(struct chi_socket *socket);

/* After feed answered 1. 0: the server closed, with *status (1005: without one) and *reason (valid
 * UTF-8, until the socket is freed); CHATHUB_EPROTOCOL, CHATHUB_ETOOLONG or CHATHUB_ENOMEM. */
int chi_socket_end(const struct chi_socket *socket, unsigned *status, struct chi_span *reason);

/* Appends a text message, or the close frame, after which nothing follows. 0 or CHATHUB_ENOMEM. */
int chi_socket_send(struct chi_socket *socket, struct chi_span text);
int chi_socket_close(struct chi_socket *socket, unsigned status);

#endif
