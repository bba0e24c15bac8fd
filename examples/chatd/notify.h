/* What chatd tells the service manager that started it: the protocol of sd_notify(3), datagrams to the
 * socket that NOTIFY_SOCKET names.
 *
 * Happy path: notify_open, notify_ready once all is open, then a sign of life from the loop, twice as
 * often as WATCHDOG_USEC asks, so that a loop that hangs is noticed; notify_stop takes its timer off
 * the loop. Failures: what cannot be sent is logged once; chatd goes on, and whoever waits for the
 * word gives up by himself. Without NOTIFY_SOCKET all of these do nothing. */
#ifndef CHATD_NOTIFY_H
#define CHATD_NOTIFY_H

#include <uv.h>

#include "logsink.h"
#include "settings.h"

struct notify {
    char *path;           /* owned; NULL: nobody is to be told */
    int fd;               /* a socket to send with; -1: none */
    uint64_t watchdog_ms; /* a sign of life is expected each; 0: never */
    struct logsink *sink; /* for what fails */
    uv_timer_t timer;     /* on the loop from notify_ready to notify_stop */
    bool beats;           /* it is */
    bool failed;          /* which was logged */
};

/* Takes the variables out of the environment. 0, or -1 with *problem if one is none. To be closed
 * either way. */
int notify_open(struct notify *notify, struct chatd_problem *problem);
/* The start is over, and all takes connections; `status`: a line for people. */
void notify_ready(struct notify *notify, uv_loop_t *loop, const char *status);
/* Settings are being read again; notify_ready_again follows. */
void notify_reloading(struct notify *notify);
void notify_ready_again(struct notify *notify, const char *status);
void notify_stopping(struct notify *notify, const char *status);
/* A line for people alone. */
void notify_status(struct notify *notify, const char *status);
void notify_stop(struct notify *notify);
void notify_close(struct notify *notify);

#endif
