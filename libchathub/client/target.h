/* Where a hub is: the URLs of chathub_connect, read. */
#ifndef CHI_CLIENT_TARGET_H
#define CHI_CLIENT_TARGET_H

#include <stdbool.h>
#include <stddef.h>

struct chi_target {
    bool lines;     /* TCP lines; else a WebSocket */
    char host[256]; /* a name or an address, without brackets */
    char port[6];   /* in decimal */
    char path[512]; /* of a WebSocket, with its query */
};

/* Reads a URL. 0, CHATHUB_EADDRESS or CHATHUB_EFEATURE, with one line in `problem` that says what is
 * wrong and what would be right. */
int chi_target_parse(const char *url, struct chi_target *out, char *problem, size_t size);

#endif
