/* A store over a database in memory, and entries to put into it: for the tests of the SQLite log's
 * store. */
#ifndef STORE_WORLD_H
#define STORE_WORLD_H

#include "unit.h"

#include <string.h>

#include "log/sqlite/schema.h"
#include "log/sqlite/store.h"

/* ck_assert for what is asserted very often: that writes a line each time. */
#define FAST(holds)                                                                                \
    do {                                                                                           \
        if (!(holds))                                                                              \
            ck_abort_msg("%s", #holds);                                                            \
    } while (0)

static inline uint32_t world_chance(uint64_t *seed, uint32_t below)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (uint32_t)((*seed >> 32) % below);
}

static inline void world_sql(sqlite3 *db, const char *sql)
{
    char *problem = NULL;
    int code = sqlite3_exec(db, sql, NULL, NULL, &problem);
    ck_assert_msg(code == SQLITE_OK, "%s: %s", sql, problem ? problem : "");
}

/* One number that a query answers. */
static inline int64_t world_number(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    ck_assert_msg(sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK, "%s: %s", sql,
                  sqlite3_errmsg(db));
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int64_t number = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return number;
}

static inline sqlite3 *world_open(const char *path)
{
    sqlite3 *db = NULL;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    world_sql(db, chi_schema_entries);
    return db;
}

static inline struct chi_store *world_store(sqlite3 *db)
{
    struct chi_store *store = NULL;
    ck_assert_int_eq(chi_store_new(db, true, &store), SQLITE_OK);
    return store;
}

/* An entry of a room that has `top`, with `len` bytes of content. */
static inline struct chi_entry *world_entry(uint64_t position, uint64_t prev, size_t len)
{
    char *content = malloc(len + 1);
    FAST(content);
    memset(content, 'a' + (int)(position % 26), len);
    struct chi_entry_parts parts = {
        .sender = CHI_SPAN("Ann"), .user = CHI_SPAN("u1"), .content = {content, len}};
    struct chi_entry *entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    free(content);
    FAST(entry);
    entry->position = position;
    entry->prev = prev;
    entry->time = 1000000 + position;
    return entry;
}

/* Appends `count` entries to a room, `step` positions apart, in a transaction; answers the room. */
static inline struct chi_stored_room world_fill(struct chi_store *store, const char *name,
                                                uint64_t first, uint32_t count, uint64_t step,
                                                size_t len)
{
    struct chi_stored_room room;
    struct chi_span key = chi_span_of(name);
    ck_assert_int_eq(chi_store_begin(store), SQLITE_OK);
    ck_assert_int_eq(chi_store_room(store, key, &room), SQLITE_OK);
    for (uint32_t i = 0; i < count; i++) {
        struct chi_entry *entry = world_entry(first + i * step, room.top, len);
        FAST(chi_store_append(store, &room, key, entry) == SQLITE_OK);
        chi_entry_unref(entry);
    }
    ck_assert_int_eq(chi_store_room_save(store, &room), SQLITE_OK);
    ck_assert_int_eq(chi_store_commit(store), SQLITE_OK);
    return room;
}

#endif
