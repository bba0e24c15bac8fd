/* The client's side of a WebSocket's opening (RFC 6455 section 4.1): the request, and what has to be
 * in the answer. */
#ifndef CHI_CLIENT_UPGRADE_H
#define CHI_CLIENT_UPGRADE_H

#include "client/target.h"
#include "util/buf.h"
#include "util/text.h"
#include "util/websocket.h"

#define CHI_UPGRADE_MAX 16384u /* bytes that an answer's head may have */

/* Appends the request. */
void chi_upgrade_ask(struct chi_buf *out, const struct chi_target *target, const char *key);

/* Reads the answer to the request with this key, from its beginning. How many bytes its head has; 0
 * if there have to be more; or a negative error with one line in `problem`. */
int chi_upgrade_read(struct chi_span answer, const char *key, char *problem, size_t size);

#endif
