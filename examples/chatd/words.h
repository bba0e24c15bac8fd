/* The first words: where the servers are and where their data is, how to stop chatd, and how to let
 * others in. */
#ifndef CHATD_WORDS_H
#define CHATD_WORDS_H

#include "hubs.h"

/* Tells them on standard output. `command`: how chatd was called. */
void chatd_tell_start(const struct chatd_hubs *hubs, const struct chatd_plan *plan,
                      const char *command);

#endif
