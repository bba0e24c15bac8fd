/* What the store's files share: its statements, reading that believes nothing, and walks along a
 * room's entries.
 *
 * An entry knows the position before it in its room, so a room is a chain that is walked from new
 * to old. Every CHI_MARK_EVERYth entry of a room has a mark, and its newest position is in its row:
 * from these a walk begins, and before the next one down it ends. What is deleted of a room is
 * always its oldest, so that a position without an entry is the end of a chain, unless there are
 * marks below: then something is missing. */
#ifndef CHI_LOG_SQLITE_STORE_INSIDE_H
#define CHI_LOG_SQLITE_STORE_INSIDE_H

#include "log/sqlite/store.h"

/* Entries of a room from one mark to the next. Files written with fewer can be read, with more
 * not. */
#define CHI_MARK_EVERY 32u

enum chi_store_statement {
    /* reading */
    CHI_STORE_ROOM_NAMED, /* name: id, top, entries, bytes, written */
    CHI_STORE_ROOM,       /* id: top, entries, bytes */
    CHI_STORE_ROOMS,      /* bytes of each */
    CHI_STORE_OVER,       /* id, entries, bytes: id of the next that has more */
    CHI_STORE_LAST,       /* newest position of all rooms, of all entries */
    CHI_STORE_MARKS,      /* room, position: positions after it */
    CHI_STORE_MARK_FROM,  /* room, position: first position not before it */
    CHI_STORE_MARK_UPTO,  /* room, position: a row if there is any not after it */
    CHI_STORE_PLACE,      /* position: room, prev, bytes */
    CHI_STORE_ENTRY,      /* position, most bytes: all of it */
    CHI_STORE_OLDEST,     /* count: position, room, bytes, time */
    CHI_STORE_READING,    /* how many these are */
    /* writing */
    CHI_STORE_BEGIN = CHI_STORE_READING,
    CHI_STORE_COMMIT,
    CHI_STORE_ROLLBACK,
    CHI_STORE_ROOM_NEW,     /* name */
    CHI_STORE_ROOM_SAVE,    /* id, top, entries, bytes, written */
    CHI_STORE_ROOM_LESS,    /* id, entries and bytes that are gone */
    CHI_STORE_ROOM_EMPTY,   /* id */
    CHI_STORE_ENTRY_NEW,    /* all of it */
    CHI_STORE_ENTRY_REDACT, /* position, bytes */
    CHI_STORE_ENTRY_DELETE, /* position */
    CHI_STORE_ENTRIES_UPTO, /* position: deletes what is not after it */
    CHI_STORE_MARK_NEW,     /* room, position */
    CHI_STORE_MARKS_DELETE, /* room, position: those not after it */
    CHI_STORE_STATEMENTS,
};

struct chi_store {
    sqlite3 *db;                                    /* outlives it */
    sqlite3_stmt *statements[CHI_STORE_STATEMENTS]; /* owned; NULL: not for this connection */
};

/* A statement with its first `n` parameters set; numbers above INT64_MAX are taken for that. */
sqlite3_stmt *chi_store_with(struct chi_store *store, enum chi_store_statement which,
                             const uint64_t *numbers, int n);
/* Runs a statement that answers nothing. */
int chi_store_run(sqlite3_stmt *statement);
/* Steps to the only row that is needed: SQLITE_ROW, or another code and it is reset. */
int chi_store_row(sqlite3_stmt *statement);
/* Reads a column that has to be an integer from 0 to `most`, else SQLITE_CORRUPT. */
int chi_store_number(sqlite3_stmt *statement, int column, uint64_t most, uint64_t *out);

/* An entry without its texts. */
struct chi_place {
    uint64_t position, prev;
    uint64_t bytes; /* as chi_entry_size counts; as the file says */
    int64_t room;
};

/* SQLITE_ROW; SQLITE_DONE: there is none. */
int chi_store_place(struct chi_store *store, uint64_t position, struct chi_place *out);
/* As chi_store_place, on a room's chain. SQLITE_DONE: the chain has ended above; SQLITE_CORRUPT
 * also if it is another room's, or is missing. */
int chi_store_link(struct chi_store *store, int64_t room, uint64_t position, struct chi_place *out);

/* An entry of a room with a reference, if it has at most `most` bytes. SQLITE_ROW; SQLITE_DONE: it
 * has more, or is not there. *out is NULL unless it is SQLITE_ROW. */
int chi_store_load(struct chi_store *store, int64_t room, uint64_t position, uint64_t most,
                   struct chi_entry **out);

/* A room as a walk begins. */
struct chi_room_now {
    uint64_t top, entries, bytes; /* as struct chi_stored_room */
};
/* SQLITE_ROW: what is read until chi_store_release is of one moment, also outside of a transaction.
 * Else, as SQLITE_DONE (no such room), nothing is held. */
int chi_store_hold(struct chi_store *store, int64_t room, struct chi_room_now *out);
void chi_store_release(struct chi_store *store);

/* Entries of a room in order, in runs from mark to mark. */
struct chi_walk {
    struct chi_store *store;
    int64_t room;
    uint64_t top;                           /* of the room */
    uint64_t done;                          /* runs so far went up to it */
    bool linked;                            /* … and it is an entry that the next run follows */
    uint32_t count;                         /* of the current run */
    struct chi_place *places;               /* the current run, oldest first; into `space` */
    struct chi_place space[CHI_MARK_EVERY]; /* filled from its end */
};
/* A walk over all after `after`, of a room that is held. To be ended in any case. */
void chi_walk_begin(struct chi_walk *walk, struct chi_store *store, int64_t room, uint64_t top,
                    uint64_t after);
/* SQLITE_ROW: a run, which may be empty; SQLITE_DONE: there is no more. */
int chi_walk_next(struct chi_walk *walk);
void chi_walk_end(struct chi_walk *walk);

#endif
