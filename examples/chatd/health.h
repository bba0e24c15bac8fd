/* --check-health: whether the chatd that the same settings describe answers. */
#ifndef CHATD_HEALTH_H
#define CHATD_HEALTH_H

#include "settings.h"

/* Asks each WebSocket listener of the settings over HTTP. 0: all answer; -1 with *problem: one does
 * not, or there is none that could be asked. */
int chatd_health(const struct chatd_settings *settings, struct chatd_problem *problem);

#endif
