/* How much a log keeps, of what the settings say and what suits its kind. */
#include "log/log.h"

static uint64_t bound(uint64_t set, uint64_t standard)
{
    return set ? set : standard;
}

struct chi_log_bounds chi_log_bounds(const struct chi_settings *settings,
                                     const struct chi_log_bounds *kind)
{
    return (struct chi_log_bounds){
        .entries = bound(settings->log_entries, kind->entries),
        .bytes = bound(settings->log_bytes, kind->bytes),
        .total_bytes = bound(settings->log_total_bytes, kind->total_bytes),
        .age = bound(settings->log_age, kind->age),
        .cid_horizon = bound(settings->cid_horizon, kind->cid_horizon),
        .cids = bound(settings->max_cids, kind->cids),
    };
}
