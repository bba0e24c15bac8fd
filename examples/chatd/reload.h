/* SIGHUP: the settings read again while the servers run. All of them change, or nothing does. */
#ifndef CHATD_RELOAD_H
#define CHATD_RELOAD_H

#include "hubs.h"
#include "server.h"

/* Opens the log file anew, and changes all hubs to what flags, variables and file say now, as far
 * as that may change; what may not is named in the log lines. False: nothing was changed, which is
 * logged, too. */
bool chatd_reload(struct chatd_hubs *hubs, const struct chatd_call *call);

#endif
