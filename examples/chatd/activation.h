/* Sockets that whoever started chatd has opened for it: the protocol of sd_listen_fds(3), in which
 * LISTEN_PID says for which process they are, LISTEN_FDS how many there are, from descriptor 3 on, and
 * LISTEN_FDNAMES what they are called, with colons between.
 *
 * The settings say where chatd listens. A socket is used by the listener that has its address; one
 * that no listener has is a mistake, since nobody would be served there. */
#ifndef CHATD_ACTIVATION_H
#define CHATD_ACTIVATION_H

#include "hubs.h"

/* Takes the variables out of the environment, and gives the sockets to the hubs, none of which is
 * started. *given: how many there were. 0, or -1 with *problem. */
int chatd_activate(const struct chatd_hubs *hubs, size_t *given, struct chatd_problem *problem);

#endif
