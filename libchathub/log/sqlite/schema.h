/* The tables of an SQLite log's file, as steps: step N makes version N + 1 of version N, and step 0
 * makes version 1 of nothing. A step that was ever released never changes. */
#ifndef CHI_LOG_SQLITE_SCHEMA_H
#define CHI_LOG_SQLITE_SCHEMA_H

#include "log/sqlite/dups.h"
#include "log/sqlite/file.h"

/* Texts of one step, run in order. */
#define CHI_SCHEMA_TEXTS 4
struct chi_schema_step {
    const char *texts[CHI_SCHEMA_TEXTS]; /* SQL; NULL from where there are no more */
};

/* All tables are STRICT, so that a check of the file sees a value of the wrong type.
 *
 * An entry is found by its position alone, which the log gives out in order: each commit writes to
 * the end of one table, however many rooms it is for. What is of one room hangs together by `prev`.
 * Texts come last in a row, so that who looks at places does not read them; an empty one is NULL.
 */
static const char chi_schema_entries[] =
    "CREATE TABLE entries("
    "position INTEGER PRIMARY KEY,"
    "room INTEGER NOT NULL,"
    "prev INTEGER NOT NULL,"  /* position of the entry before it in its room; 0: none */
    "bytes INTEGER NOT NULL," /* in memory */
    "time INTEGER NOT NULL,"  /* Unix ms */
    "type INTEGER NOT NULL,"  /* enum chi_entry_type */
    "sender TEXT,user TEXT,cid TEXT,content TEXT,data TEXT) STRICT;"
    /* A position for every so many entries of a room: from there its chain is walked. */
    "CREATE TABLE marks("
    "room INTEGER NOT NULL,"
    "position INTEGER NOT NULL,"
    "PRIMARY KEY(room,position)) STRICT,WITHOUT ROWID;"
    "CREATE TABLE rooms("
    "id INTEGER PRIMARY KEY,"
    "name TEXT NOT NULL UNIQUE," /* its comparison key */
    "top INTEGER NOT NULL,"      /* newest position ever */
    "entries INTEGER NOT NULL,"  /* kept, and their bytes */
    "bytes INTEGER NOT NULL,"
    "written INTEGER NOT NULL) STRICT"; /* entries ever */

/* What is known of the file itself, and its openings. */
static const char chi_schema_file[] =
    "CREATE TABLE meta("
    "key TEXT PRIMARY KEY NOT NULL,"
    "value ANY) STRICT,WITHOUT ROWID;"
    "CREATE TABLE epochs("
    "number INTEGER PRIMARY KEY,"
    "name TEXT NOT NULL,"
    "first INTEGER NOT NULL) STRICT"; /* first position that may be given out under it */

static const struct chi_schema_step chi_schema_steps[] = {
    {{chi_schema_entries, chi_schema_file, chi_dups_schema, NULL}},
};

_Static_assert(sizeof(chi_schema_steps) / sizeof(chi_schema_steps[0]) == CHI_FILE_VERSION,
               "a step for each version");

#endif
