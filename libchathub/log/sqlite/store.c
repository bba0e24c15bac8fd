/* The store's statements, rooms and single entries. Pages: store_page.c; retention:
 * store_trim.c. */
#include "log/sqlite/store_inside.h"

#include <assert.h>
#include <stdlib.h>

/* Integers come first in a row of `entries`: what looks at places alone reads no page of a long
 * text. */
static const char *const texts[CHI_STORE_STATEMENTS] = {
    [CHI_STORE_ROOM_NAMED] = "SELECT id,top,entries,bytes,written FROM rooms WHERE name=?1",
    [CHI_STORE_ROOM] = "SELECT top,entries,bytes FROM rooms WHERE id=?1",
    [CHI_STORE_ROOMS] = "SELECT bytes FROM rooms",
    [CHI_STORE_OVER] = "SELECT id FROM rooms WHERE id>?1 AND (entries>?2 OR bytes>?3)"
                       " ORDER BY id LIMIT 1",
    [CHI_STORE_LAST] = "SELECT ifnull(max(top),0),ifnull((SELECT max(position) FROM entries),0)"
                       " FROM rooms",
    [CHI_STORE_MARKS] = "SELECT position FROM marks WHERE room=?1 AND position>?2"
                        " ORDER BY position",
    [CHI_STORE_MARK_FROM] = "SELECT position FROM marks WHERE room=?1 AND position>=?2"
                            " ORDER BY position LIMIT 1",
    [CHI_STORE_MARK_UPTO] = "SELECT 1 FROM marks WHERE room=?1 AND position<=?2 LIMIT 1",
    [CHI_STORE_PLACE] = "SELECT room,prev,bytes FROM entries WHERE position=?1",
    [CHI_STORE_ENTRY] = "SELECT room,prev,bytes,time,type,sender,user,cid,content,data"
                        " FROM entries WHERE position=?1 AND bytes<=?2",
    [CHI_STORE_OLDEST] = "SELECT position,room,bytes,time FROM entries ORDER BY position LIMIT ?1",
    [CHI_STORE_BEGIN] = "BEGIN IMMEDIATE",
    [CHI_STORE_COMMIT] = "COMMIT",
    [CHI_STORE_ROLLBACK] = "ROLLBACK",
    [CHI_STORE_ROOM_NEW] = "INSERT INTO rooms(name,top,entries,bytes,written)"
                           " VALUES(?1,0,0,0,0)",
    [CHI_STORE_ROOM_SAVE] = "UPDATE rooms SET top=?2,entries=?3,bytes=?4,written=?5 WHERE id=?1",
    [CHI_STORE_ROOM_LESS] = "UPDATE rooms SET entries=max(0,entries-?2),bytes=max(0,bytes-?3)"
                            " WHERE id=?1",
    [CHI_STORE_ROOM_EMPTY] = "UPDATE rooms SET entries=0,bytes=0 WHERE id=?1",
    [CHI_STORE_ENTRY_NEW] =
        "INSERT INTO entries(position,room,prev,bytes,time,type,sender,user,cid,"
        "content,data) VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11)",
    [CHI_STORE_ENTRY_REDACT] = "UPDATE entries SET bytes=?2,sender=NULL,user=NULL,cid=NULL,"
                               "content=NULL,data=NULL WHERE position=?1",
    [CHI_STORE_ENTRY_DELETE] = "DELETE FROM entries WHERE position=?1",
    [CHI_STORE_ENTRIES_UPTO] = "DELETE FROM entries WHERE position<=?1",
    [CHI_STORE_MARK_NEW] = "INSERT INTO marks(room,position) VALUES(?1,?2)",
    [CHI_STORE_MARKS_DELETE] = "DELETE FROM marks WHERE room=?1 AND position<=?2",
};

/* ----------------------------------------------------------------------------------- statements */

int chi_store_new(sqlite3 *db, bool writes, struct chi_store **out)
{
    *out = NULL;
    struct chi_store *store = calloc(1, sizeof(*store));
    if (!store)
        return SQLITE_NOMEM;
    store->db = db;
    int count = writes ? CHI_STORE_STATEMENTS : CHI_STORE_READING;
    int code = sqlite3_extended_result_codes(db, 1);
    for (int i = 0; code == SQLITE_OK && i < count; i++)
        code = sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                  &store->statements[i], NULL);
    if (code != SQLITE_OK) {
        chi_store_free(store);
        return code;
    }
    *out = store;
    return SQLITE_OK;
}

void chi_store_free(struct chi_store *store)
{
    if (!store)
        return;
    for (int i = 0; i < CHI_STORE_STATEMENTS; i++)
        sqlite3_finalize(store->statements[i]);
    free(store);
}

static int64_t at_most(uint64_t number)
{
    return number > INT64_MAX ? INT64_MAX : (int64_t)number;
}

sqlite3_stmt *chi_store_with(struct chi_store *store, enum chi_store_statement which,
                             const uint64_t *numbers, int n)
{
    sqlite3_stmt *statement = store->statements[which];
    for (int i = 0; i < n; i++)
        sqlite3_bind_int64(statement, i + 1, at_most(numbers[i]));
    return statement;
}

int chi_store_run(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int chi_store_row(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    if (code != SQLITE_ROW)
        sqlite3_reset(statement);
    return code;
}

int chi_store_number(sqlite3_stmt *statement, int column, uint64_t most, uint64_t *out)
{
    if (sqlite3_column_type(statement, column) != SQLITE_INTEGER)
        return SQLITE_CORRUPT;
    int64_t value = sqlite3_column_int64(statement, column);
    *out = (uint64_t)value;
    return value < 0 || *out > most ? SQLITE_CORRUPT : SQLITE_OK;
}

/* Columns from the first on; most[i] is what out[i] may be. */
static int numbers(sqlite3_stmt *statement, int count, const uint64_t *most, uint64_t *out)
{
    int code = SQLITE_OK;
    for (int i = 0; code == SQLITE_OK && i < count; i++)
        code = chi_store_number(statement, i, most[i], &out[i]);
    return code;
}

int chi_store_begin(struct chi_store *store)
{
    return chi_store_run(store->statements[CHI_STORE_BEGIN]);
}

int chi_store_commit(struct chi_store *store)
{
    return chi_store_run(store->statements[CHI_STORE_COMMIT]);
}

void chi_store_rollback(struct chi_store *store)
{
    if (!sqlite3_get_autocommit(store->db))
        chi_store_run(store->statements[CHI_STORE_ROLLBACK]);
}

/* ---------------------------------------------------------------------------------------- rooms */

/* As TEXT, so that the file can be read with other tools; none is NULL. Bytes stay the caller's. */
static int bind_text(sqlite3_stmt *statement, int parameter, struct chi_span text)
{
    if (!text.len)
        return sqlite3_bind_null(statement, parameter);
    return sqlite3_bind_text64(statement, parameter, text.at, text.len, SQLITE_STATIC, SQLITE_UTF8);
}

static int room_read(sqlite3_stmt *statement, struct chi_stored_room *out)
{
    static const uint64_t most[] = {INT64_MAX, CHI_POSITION_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
    uint64_t is[5] = {0};
    int code = numbers(statement, 5, most, is);
    if (code != SQLITE_OK || !is[0])
        return SQLITE_CORRUPT;
    *out = (struct chi_stored_room){
        .id = (int64_t)is[0], .top = is[1], .entries = is[2], .bytes = is[3], .written = is[4]};
    return SQLITE_OK;
}

int chi_store_room(struct chi_store *store, struct chi_span key, struct chi_stored_room *out)
{
    *out = (struct chi_stored_room){0};
    sqlite3_stmt *statement = store->statements[CHI_STORE_ROOM_NAMED];
    int code = bind_text(statement, 1, key);
    if (code == SQLITE_OK)
        code = chi_store_row(statement);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? SQLITE_OK : code;
    code = room_read(statement, out);
    sqlite3_reset(statement);
    return code;
}

int chi_store_room_save(struct chi_store *store, const struct chi_stored_room *room)
{
    uint64_t is[] = {(uint64_t)room->id, room->top, room->entries, room->bytes, room->written};
    int code = chi_store_run(chi_store_with(store, CHI_STORE_ROOM_SAVE, is, 5));
    return code == SQLITE_OK && !sqlite3_changes(store->db) ? SQLITE_CORRUPT : code;
}

int chi_store_total(struct chi_store *store, uint64_t *bytes)
{
    sqlite3_stmt *statement = store->statements[CHI_STORE_ROOMS];
    uint64_t total = 0, one = 0;
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (chi_store_number(statement, 0, INT64_MAX - total, &one) != SQLITE_OK) {
            code = SQLITE_CORRUPT;
            break;
        }
        total += one;
    }
    sqlite3_reset(statement);
    *bytes = code == SQLITE_DONE ? total : 0;
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int chi_store_over(struct chi_store *store, int64_t after, uint64_t entries, uint64_t bytes,
                   int64_t *room)
{
    *room = 0;
    if (entries >= INT64_MAX && bytes >= INT64_MAX)
        return SQLITE_OK;
    sqlite3_stmt *statement =
        chi_store_with(store, CHI_STORE_OVER, (uint64_t[]){(uint64_t)after, entries, bytes}, 3);
    int code = chi_store_row(statement);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? SQLITE_OK : code;
    *room = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return SQLITE_OK;
}

int chi_store_last(struct chi_store *store, uint64_t *last)
{
    static const uint64_t most[] = {CHI_POSITION_MAX, CHI_POSITION_MAX};
    uint64_t is[2] = {0};
    *last = 0;
    sqlite3_stmt *statement = store->statements[CHI_STORE_LAST];
    int code = chi_store_row(statement);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? SQLITE_CORRUPT : code;
    code = numbers(statement, 2, most, is);
    sqlite3_reset(statement);
    if (code == SQLITE_OK)
        *last = is[0] > is[1] ? is[0] : is[1];
    return code;
}

/* -------------------------------------------------------------------------------------- entries */

static int room_make(struct chi_store *store, struct chi_stored_room *room, struct chi_span key)
{
    sqlite3_stmt *statement = store->statements[CHI_STORE_ROOM_NEW];
    int code = bind_text(statement, 1, key);
    if (code == SQLITE_OK)
        code = chi_store_run(statement);
    if (code == SQLITE_OK)
        *room = (struct chi_stored_room){.id = sqlite3_last_insert_rowid(store->db)};
    return code;
}

static int entry_write(struct chi_store *store, int64_t room, const struct chi_entry *entry)
{
    struct chi_entry_parts parts = chi_entry_read(entry);
    const struct chi_span in_order[] = {parts.sender, parts.user, parts.cid, parts.content,
                                        parts.data};
    uint64_t is[] = {entry->position,       (uint64_t)room, entry->prev,
                     chi_entry_size(entry), entry->time,    entry->type};
    sqlite3_stmt *statement = chi_store_with(store, CHI_STORE_ENTRY_NEW, is, 6);
    int code = SQLITE_OK;
    for (int i = 0; code == SQLITE_OK && i < 5; i++)
        code = bind_text(statement, 7 + i, in_order[i]);
    return code == SQLITE_OK ? chi_store_run(statement) : code;
}

int chi_store_append(struct chi_store *store, struct chi_stored_room *room, struct chi_span key,
                     const struct chi_entry *entry)
{
    assert(entry->prev == room->top && entry->position > entry->prev);
    assert(entry->position <= CHI_POSITION_MAX);
    int code = room->id ? SQLITE_OK : room_make(store, room, key);
    if (code == SQLITE_OK)
        code = entry_write(store, room->id, entry);
    if (code != SQLITE_OK)
        return code;
    room->top = entry->position;
    room->entries++;
    room->bytes += chi_entry_size(entry);
    if (++room->written % CHI_MARK_EVERY)
        return SQLITE_OK;
    uint64_t mark[] = {(uint64_t)room->id, entry->position};
    return chi_store_run(chi_store_with(store, CHI_STORE_MARK_NEW, mark, 2));
}

int chi_store_place(struct chi_store *store, uint64_t position, struct chi_place *out)
{
    static const uint64_t most[] = {INT64_MAX, CHI_POSITION_MAX, INT64_MAX};
    uint64_t is[3] = {0};
    if (!position || position > CHI_POSITION_MAX)
        return SQLITE_DONE;
    sqlite3_stmt *statement = chi_store_with(store, CHI_STORE_PLACE, &position, 1);
    int code = chi_store_row(statement);
    if (code != SQLITE_ROW)
        return code;
    code = numbers(statement, 3, most, is);
    sqlite3_reset(statement);
    if (code != SQLITE_OK || is[1] >= position)
        return SQLITE_CORRUPT;
    *out = (struct chi_place){
        .position = position, .room = (int64_t)is[0], .prev = is[1], .bytes = is[2]};
    return SQLITE_ROW;
}

int chi_store_find(struct chi_store *store, uint64_t position, int64_t *room)
{
    struct chi_place place;
    *room = 0;
    int code = chi_store_place(store, position, &place);
    if (code != SQLITE_ROW)
        return code;
    *room = place.room;
    return SQLITE_OK;
}

int chi_store_redact(struct chi_store *store, int64_t room, uint64_t position)
{
    struct chi_place place;
    int code = chi_store_place(store, position, &place);
    if (code != SQLITE_ROW || place.room != room)
        return code == SQLITE_ROW ? SQLITE_DONE : code;
    uint64_t rest = sizeof(struct chi_entry);
    uint64_t is[] = {position, rest};
    uint64_t less[] = {(uint64_t)room, 0, place.bytes > rest ? place.bytes - rest : 0};
    code = chi_store_run(chi_store_with(store, CHI_STORE_ENTRY_REDACT, is, 2));
    if (code == SQLITE_OK)
        code = chi_store_run(chi_store_with(store, CHI_STORE_ROOM_LESS, less, 3));
    return code;
}
