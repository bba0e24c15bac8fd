/* chatd at work: hubs on a loop, their log lines, and the signals that end or reload them. */
#ifndef CHATD_SERVER_H
#define CHATD_SERVER_H

#include "settings.h"

/* How chatd was called, to read its settings again. */
struct chatd_call {
    int argc;
    char *const *argv;
    char *const *environment;
};

/* Serves until a signal ends it. 0, or -1 with *problem. Takes the settings over. */
int chatd_serve(struct chatd_settings *settings, const struct chatd_call *call,
                struct chatd_problem *problem);

#endif
