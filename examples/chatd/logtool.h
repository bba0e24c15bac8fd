/* What chatd does to the rooms' log instead of serving: --backup, --check-log, --export,
 * --export-all, --import. */
#ifndef CHATD_LOGTOOL_H
#define CHATD_LOGTOOL_H

#include "settings.h"

/* Does what was asked for. 0, or -1 with *problem; 1: nothing of that was. */
int chatd_logtool(const struct chatd_settings *settings, struct chatd_problem *problem);

#endif
