/* Rooms and entries in an SQLite file: statements, prepared once for a connection, and what they
 * answer as the log's own types. Each connection has its own store, used by one thread.
 *
 * Functions answer SQLite's (extended) codes unless they say otherwise: SQLITE_OK is 0. None begins
 * or ends a transaction; those that write are called within one. Schema: see schema.h. */
#ifndef CHI_LOG_SQLITE_STORE_H
#define CHI_LOG_SQLITE_STORE_H

#include <sqlite3.h>

#include "core/entry.h"
#include "core/ports.h"

struct chi_store; /* a connection's statements; opaque */

/* `db` outlives it. */
int chi_store_new(sqlite3 *db, bool writes, struct chi_store **out);
void chi_store_free(struct chi_store *store); /* NULL is allowed */

int chi_store_begin(struct chi_store *store); /* IMMEDIATE */
int chi_store_commit(struct chi_store *store);
void chi_store_rollback(struct chi_store *store); /* harmless outside of one */

/* A room as the file has it. */
struct chi_stored_room {
    int64_t id;       /* 0: nothing of it was ever written */
    uint64_t top;     /* newest position ever, kept or not */
    uint64_t entries; /* kept */
    uint64_t bytes;   /* of these, as chi_entry_size counts */
    uint64_t written; /* entries ever: places marks */
};

/* SQLITE_OK with id 0 where there is no such room. */
int chi_store_room(struct chi_store *store, struct chi_span key, struct chi_stored_room *out);

/* Writes an entry that has its position, prev (room->top) and time; makes the room if its id is 0.
 * *room moves along, and is written by chi_store_room_save at the end of the transaction. After a
 * rollback *room is wrong: read it again. */
int chi_store_append(struct chi_store *store, struct chi_stored_room *room, struct chi_span key,
                     const struct chi_entry *entry);
int chi_store_room_save(struct chi_store *store, const struct chi_stored_room *room);

/* Entries of one room, oldest first, each with a reference that is the page's. */
struct chi_stored_page {
    struct chi_entry **entries; /* owned */
    uint32_t count;
    bool more; /* in the asked direction */
};
/* As chi_log_read says (its reader is not touched). `room`: id > 0. SQLITE_NOMEM. */
int chi_store_page(struct chi_store *store, int64_t room, const struct chi_log_read *read,
                   struct chi_stored_page *out);
void chi_stored_page_free(struct chi_stored_page *page);

/* Whether an entry is there, and of which room; SQLITE_DONE: no. */
int chi_store_find(struct chi_store *store, uint64_t position, int64_t *room);

/* Texts of an entry away, its place stays. SQLITE_DONE: there is none of this room there. The
 * connection has PRAGMA secure_delete=ON. */
int chi_store_redact(struct chi_store *store, int64_t room, uint64_t position);

/* Retention, in small steps: each deletes at most `limit` entries and answers how many by *deleted.
 * Rooms change in the file: what the caller has read of them is old then. */
/* The oldest entries of one room, until it has at most `entries` and `bytes`. */
int chi_store_trim_room(struct chi_store *store, int64_t room, uint64_t entries, uint64_t bytes,
                        uint32_t limit, uint32_t *deleted);
/* The oldest of all rooms: those of before `time`, and where `*total` (bytes of all entries; moves
 * along) is above `bytes`, as many as it takes. */
int chi_store_trim_all(struct chi_store *store, uint64_t time, uint64_t *total, uint64_t bytes,
                       uint32_t limit, uint32_t *deleted);
/* Bytes of all entries. */
int chi_store_total(struct chi_store *store, uint64_t *bytes);
/* The next room (by id, above `after`) that has more than this; *room 0: there is none. */
int chi_store_over(struct chi_store *store, int64_t after, uint64_t entries, uint64_t bytes,
                   int64_t *room);

/* The newest position ever. */
int chi_store_last(struct chi_store *store, uint64_t *last);

#endif
