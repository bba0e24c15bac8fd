/* The logs there are. The contract is struct chi_log in core/ports.h. */
#ifndef CHI_LOG_LOG_H
#define CHI_LOG_LOG_H

#include "core/env.h"
#include "core/ports.h"
#include "core/settings.h"

/* Entries in memory, per room up to a count, a byte and an age bound, all rooms up to a total.
 * Nothing outlives it: a new epoch at each start. Commits at once, reported at the next poll. */
int chi_log_memory_new(const struct chi_settings *settings, struct chi_env env,
                       struct chi_log **out);

#endif
