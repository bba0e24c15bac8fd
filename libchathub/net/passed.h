/* Sockets that listen already when the hub gets them: whose they are by their address. */
#ifndef CHI_NET_PASSED_H
#define CHI_NET_PASSED_H

#include "net/address.h"

/* A listener to be opened. */
struct chi_listening {
    struct chi_address address;
    int passed
        [2]; /* owned: for each of its sockets (`localhost` has two) one that listens; -1: none */
};

/* Gives a socket to the one of `count` listeners that has its address and no such socket yet; port 0
 * becomes the socket's. It is non-blocking and close-on-exec then. 0; CHATHUB_EINVAL (no socket that
 * listens), CHATHUB_ENOENT (no listener), CHATHUB_EINUSE (its listener has one), with one line in
 * `problem`: the descriptor is as it was. */
int chi_passed_give(struct chi_listening *all, uint32_t count, int fd, char *problem, size_t size);
/* Closes what they have. */
void chi_passed_close(struct chi_listening *all, uint32_t count);

#endif
