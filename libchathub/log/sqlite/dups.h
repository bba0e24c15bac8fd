/* The cids that an SQLite log remembers for its horizon, and that cost a post next to nothing.
 *
 * A random key in a B-tree would dirty a page for each post. So: the newest (up to some ten
 * thousands) are in memory (log/cids.h), and each commit writes its own as one row, in order. When
 * there are CHI_DUPS_RUN of them they are sorted by key and written out, in small steps, as a run
 * that never changes; of each run a Bloom filter stays in memory (2 bytes a cid), so that a new cid
 * is hardly ever looked up in the file, and a repeated one costs one look. Runs go as a whole, once
 * the newest cid in them is older than the horizon.
 *
 * One thread and one connection, the writer's. Codes are SQLite's. */
#ifndef CHI_LOG_SQLITE_DUPS_H
#define CHI_LOG_SQLITE_DUPS_H

#include <sqlite3.h>

#include "log/cids.h"

#define CHI_DUPS_RUN 65536u

struct chi_dups; /* opaque */

/* Its tables, made with the file (schema.h runs it). */
extern const char chi_dups_schema[];

/* Reads what is remembered; writes nothing: what a crash left of a run that was being written is
 * cleared away by steps. A file that no log can have written is SQLITE_CORRUPT. secret: 48 bytes,
 * the file's. */
int chi_dups_open(sqlite3 *db, const uint8_t *secret, struct chi_dups **out);
void chi_dups_free(struct chi_dups *dups); /* NULL is allowed */

/* What a draft would be remembered as (position and time are the caller's to fill). */
struct chi_cid chi_dups_of(const struct chi_dups *dups, struct chi_span room,
                           const struct chi_entry *draft);
/* SQLITE_ROW: remembered, as *out; SQLITE_DONE: not; else an error. Sees what was added in the
 * transaction under way. `since` (Unix ms): what is older counts as forgotten. */
int chi_dups_find(struct chi_dups *dups, const struct chi_cid *like, uint64_t since,
                  struct chi_cid *out);
/* Within a transaction: one more, that was not found; its position is above all others', its time
 * at most INT64_MAX. SQLITE_NOMEM: also where so many have come without a step that memory has to
 * be bounded. */
int chi_dups_add(struct chi_dups *dups, const struct chi_cid *cid);
/* Before COMMIT: writes what was added. */
int chi_dups_write(struct chi_dups *dups);
/* After it: what was added stays, or never was. */
void chi_dups_committed(struct chi_dups *dups);
void chi_dups_rolled_back(struct chi_dups *dups);

/* One small step of housekeeping in a transaction of the caller's (who tells its end by the two
 * above), one in each, without anything added: writing a run, forgetting what is older than
 * `since`. *more: there is more to do at once. */
int chi_dups_step(struct chi_dups *dups, uint64_t since, bool *more);
/* Whether a step would do anything. */
bool chi_dups_due(const struct chi_dups *dups, uint64_t since);

uint64_t chi_dups_count(const struct chi_dups *dups);
/* Bytes of memory. */
uint64_t chi_dups_memory(const struct chi_dups *dups);

#endif
