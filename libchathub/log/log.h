/* The logs there are. The contract is struct chi_log in core/ports.h. */
#ifndef CHI_LOG_LOG_H
#define CHI_LOG_LOG_H

#include "core/env.h"
#include "core/ports.h"
#include "core/settings.h"

/* How much a log keeps: what the settings say, or where they say nothing (0) what suits its kind.
 */
struct chi_log_bounds {
    uint64_t entries;     /* of one room; here and below UINT64_MAX: no bound */
    uint64_t bytes;       /* of one room */
    uint64_t total_bytes; /* of all rooms */
    uint64_t age;         /* of an entry, ms */
    uint64_t cid_horizon; /* of a cid, ms */
    uint64_t cids;        /* remembered at once */
};
struct chi_log_bounds chi_log_bounds(const struct chi_settings *settings,
                                     const struct chi_log_bounds *kind);
/* What is older than this is older than `age`; both times in Unix ms. */
static inline uint64_t chi_log_since(uint64_t wall, uint64_t age)
{
    return wall > age ? wall - age : 0;
}
/* What suits SQLite: all is kept. */
extern const struct chi_log_bounds chi_log_sqlite_bounds;

/* Entries in memory, per room up to a count, a byte and an age bound, all rooms up to a total.
 * Nothing outlives it: a new epoch at each start. Commits at once, reported at the next poll. */
int chi_log_memory_new(const struct chi_settings *settings, struct chi_env env,
                       struct chi_log **out);

/* Entries in an SQLite file at `path`, which is made where there is none, with its folders. Blocks
 * while it opens and checks the file; nothing that is called later does, but free. On an error
 * `problem` says what is wrong with which file and what to do: CHATHUB_EINUSE (another hub has
 * it), CHATHUB_EIO (it cannot be opened, is damaged, or no log, or of a newer version),
 * CHATHUB_ENOMEM, CHATHUB_EFEATURE (this build has no SQLite). */
int chi_log_sqlite_new(const struct chi_settings *settings, struct chi_env env, const char *path,
                       struct chi_log **out, char *problem, size_t size);

/* Entries in a stream of NATS JetStream, shared by all hubs that use the same one: the nodes of one
 * chat. `servers`: what the option log has behind "jetstream:". Blocks while it connects, makes or
 * checks the stream and reads what it has to know of it, for CHI_JS_OPEN_MS at most; nothing that is
 * called later does, but free. *bus comes with the log and ends with it. On an error `problem` says
 * what is wrong with which server or stream and what to do, without passwords and tokens: CHATHUB_EIO
 * (not reachable, refused, no JetStream, a stream of other settings that cannot serve),
 * CHATHUB_EVALUE (the URL), CHATHUB_ENOMEM, CHATHUB_EFEATURE (this build has no NATS). */
int chi_log_jetstream_new(const struct chi_settings *settings, struct chi_env env,
                          const char *servers, struct chi_log **out, struct chi_bus **bus,
                          char *problem, size_t size);
/* What suits JetStream: all is kept; cids for an hour. */
extern const struct chi_log_bounds chi_log_jetstream_bounds;

#endif
