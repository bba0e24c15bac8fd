/* Looking for what is wrong with an SQLite log's file: SQLite's own check of it, then the rules
 * that a log adds to that. All of it is one read transaction.
 *
 * What is found is told, and the search goes on. Only what cannot be read at all ends it. */
#include "log/sqlite/tools_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log/sqlite/file_inside.h"
#include "log/sqlite/store_inside.h"

/* Faults that are told at most: of SQLite's check, and of all. */
#define SQLITE_FAULTS 100
#define FAULTS        300u
/* Steps of SQLite's machine, and entries, between two reports. */
#define OPERATIONS 1000000
#define ENTRIES    4096u

/* A room: what its row says, and what was found of it. */
struct seen {
    uint64_t id, top, entries, bytes, written; /* by its row */
    uint64_t last;                             /* position of its newest entry so far */
    uint64_t count, sum;                       /* of its entries so far, and their bytes */
    uint32_t unmarked;                         /* since its last mark */
    bool sparse;                               /* that was told to be too many */
};

struct check {
    const struct chi_tool *tool;
    chathub_line_cb fault;
    void *arg;
    sqlite3 *db;
    struct chi_store *store;
    struct seen *rooms; /* owned; by id */
    uint32_t count, cap;
    uint32_t faults;
    uint64_t done, total; /* entries; total may be wrong */
    int wish;             /* what a callback wants it to end with */
};

/* -------------------------------------------------------------------------------------- telling */

/* Names and SQLite's texts may hold anything. */
static void make_clean(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

/* Whether it goes on. */
static bool goes_on(const struct check *c)
{
    return !c->wish && c->faults < FAULTS;
}

static void tell_line(struct check *c, char *line)
{
    make_clean(line);
    c->faults++;
    c->wish = c->fault(line, strlen(line), c->arg);
    if (!c->wish && c->faults == FAULTS - 1) {
        static const char more[] = "this is where the search ends; there may be more";
        c->faults++;
        c->wish = c->fault(more, sizeof(more) - 1, c->arg);
    }
}

__attribute__((format(printf, 2, 3))) static void tell(struct check *c, const char *format, ...)
{
    char line[512];
    va_list rest;
    if (!goes_on(c))
        return;
    va_start(rest, format);
    vsnprintf(line, sizeof(line), format, rest);
    va_end(rest);
    tell_line(c, line);
}

/* "entry POSITION of room 'NAME'", as far as a name is known. */
struct label {
    char text[160];
};

static struct label room_label(struct check *c, uint64_t id)
{
    struct label label;
    sqlite3_stmt *statement = NULL;
    const char *name = NULL;
    int code =
        sqlite3_prepare_v2(c->db, "SELECT name FROM rooms WHERE id=?1", -1, &statement, NULL);
    if (code == SQLITE_OK) {
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)id);
        if (sqlite3_step(statement) == SQLITE_ROW)
            name = (const char *)sqlite3_column_text(statement, 0);
    }
    if (name)
        snprintf(label.text, sizeof(label.text), "room '%.100s'", name);
    else
        snprintf(label.text, sizeof(label.text), "room number %llu", (unsigned long long)id);
    sqlite3_finalize(statement);
    return label;
}

/* Told where reading ends. */
static void tell_code(struct check *c, int code)
{
    const char *why;
    chi_file_trouble(code, &why);
    tell(c, "the rest of it cannot be read: %s (%s)", why, sqlite3_errstr(code));
}

static bool is_fault(int code)
{
    return (code & 0xff) == SQLITE_CORRUPT || (code & 0xff) == SQLITE_NOTADB ||
           (code & 0xff) == SQLITE_ERROR || code == SQLITE_IOERR_SHORT_READ;
}

/* --------------------------------------------------------------------------- SQLite's own check */

static int on_operations(void *arg)
{
    struct check *c = arg;
    c->wish = chi_tool_progress(c->tool, 0, c->total);
    return c->wish;
}

/* A row has one line or several, and a heading that says nothing. */
static void tell_rows(struct check *c, const char *text)
{
    while (*text && goes_on(c)) {
        int len = (int)strcspn(text, "\n");
        if (len && strncmp(text, "*** in database", 15) != 0)
            tell(c, "%.*s", len < 400 ? len : 400, text);
        text += len + (text[len] == '\n');
    }
}

static int check_pages(struct check *c)
{
    char sql[64];
    sqlite3_stmt *statement = NULL;
    snprintf(sql, sizeof(sql), "PRAGMA integrity_check(%d)", SQLITE_FAULTS);
    sqlite3_progress_handler(c->db, OPERATIONS, on_operations, c);
    int code = sqlite3_prepare_v2(c->db, sql, -1, &statement, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW && goes_on(c)) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        code = text ? SQLITE_OK : SQLITE_NOMEM;
        if (text && strcmp(text, "ok") != 0)
            tell_rows(c, text);
    }
    sqlite3_finalize(statement);
    sqlite3_progress_handler(c->db, 0, NULL, NULL);
    return code == SQLITE_DONE || code == SQLITE_ROW ? SQLITE_OK : code;
}

/* ---------------------------------------------------------------------------------------- rooms */

static int make_place(struct check *c)
{
    if (c->count < c->cap)
        return SQLITE_OK;
    if (c->cap > UINT32_MAX / 2)
        return SQLITE_TOOBIG;
    uint32_t cap = c->cap ? c->cap * 2 : 256;
    struct seen *rooms = realloc(c->rooms, cap * sizeof(*rooms));
    if (!rooms)
        return SQLITE_NOMEM;
    c->rooms = rooms;
    c->cap = cap;
    return SQLITE_OK;
}

/* Integers of a row; one that cannot be is told, and counts as 0. */
static void read_numbers(struct check *c, sqlite3_stmt *row, const char *what, int count,
                         uint64_t *const *out)
{
    for (int i = 0; i < count; i++) {
        *out[i] = 0;
        if (chi_store_number(row, i, INT64_MAX, out[i]) != SQLITE_OK)
            tell(c, "%s has a %s that no log writes", what, sqlite3_column_name(row, i));
    }
}

static int read_room(struct check *c, sqlite3_stmt *row)
{
    int code = make_place(c);
    if (code != SQLITE_OK)
        return code;
    struct seen *room = &c->rooms[c->count++];
    *room = (struct seen){0};
    read_numbers(
        c, row, "a room", 5,
        (uint64_t *const[]){&room->id, &room->top, &room->entries, &room->bytes, &room->written});
    if (room->top > CHI_POSITION_MAX || room->entries > room->written)
        tell(c, "%s has counts that cannot be", room_label(c, room->id).text);
    c->total += room->entries;
    return SQLITE_OK;
}

/* Runs a query and hands over each row. */
static int each_row(struct check *c, const char *sql,
                    int (*take)(struct check *c, sqlite3_stmt *row))
{
    sqlite3_stmt *row = NULL;
    int code = sqlite3_prepare_v2(c->db, sql, -1, &row, NULL);
    while (code == SQLITE_OK && goes_on(c) && (code = sqlite3_step(row)) == SQLITE_ROW)
        code = take(c, row);
    sqlite3_finalize(row);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static struct seen *room_of(const struct check *c, uint64_t id)
{
    uint32_t from = 0, to = c->count;
    while (from < to) {
        uint32_t middle = from + (to - from) / 2;
        if (c->rooms[middle].id == id)
            return &c->rooms[middle];
        if (c->rooms[middle].id < id)
            from = middle + 1;
        else
            to = middle;
    }
    return NULL;
}

static void check_room(struct check *c, const struct seen *room)
{
    if (room->count != room->entries)
        tell(c, "%s has %llu entries, but its row counts %llu", room_label(c, room->id).text,
             (unsigned long long)room->count, (unsigned long long)room->entries);
    else if (room->sum != room->bytes)
        tell(c, "the entries of %s have %llu bytes, but its row counts %llu",
             room_label(c, room->id).text, (unsigned long long)room->sum,
             (unsigned long long)room->bytes);
    if (room->count && room->last != room->top)
        tell(c, "the newest entry of %s is at position %llu, but its row says %llu",
             room_label(c, room->id).text, (unsigned long long)room->last,
             (unsigned long long)room->top);
}

/* -------------------------------------------------------------------------------------- entries */

struct entry {
    uint64_t position, room, prev, bytes, marked;
};

static int check_texts(struct check *c, const struct entry *entry)
{
    struct chi_entry *loaded = NULL;
    int code = chi_store_load(c->store, (int64_t)entry->room, entry->position, INT64_MAX, &loaded);
    chi_entry_unref(loaded);
    if (code == SQLITE_CORRUPT)
        tell(c, "the entry at position %llu of %s holds what no log writes",
             (unsigned long long)entry->position, room_label(c, entry->room).text);
    return code == SQLITE_ROW || code == SQLITE_CORRUPT ? SQLITE_OK : code;
}

/* The oldest that is kept may follow one that is not. */
static void check_link(struct check *c, struct seen *room, const struct entry *entry)
{
    if (room->count ? entry->prev != room->last : entry->prev >= entry->position)
        tell(c, "the entry at position %llu of %s says that it follows %llu, but it follows %llu",
             (unsigned long long)entry->position, room_label(c, entry->room).text,
             (unsigned long long)entry->prev, (unsigned long long)room->last);
    room->last = entry->position;
    room->count++;
    room->sum += entry->bytes;
    room->unmarked++;
    if (room->unmarked > CHI_MARK_EVERY && !room->sparse) {
        room->sparse = true;
        tell(c, "%s lacks a mark before position %llu: older entries cannot be found from there",
             room_label(c, entry->room).text, (unsigned long long)entry->position);
    }
    if (entry->marked)
        room->unmarked = 0;
}

static int check_entry(struct check *c, sqlite3_stmt *row)
{
    struct entry entry;
    read_numbers(c, row, "an entry", 5,
                 (uint64_t *const[]){&entry.position, &entry.room, &entry.prev, &entry.bytes,
                                     &entry.marked});
    struct seen *room = room_of(c, entry.room);
    if (++c->done % ENTRIES == 0)
        c->wish = chi_tool_progress(c->tool, c->done, c->total);
    if (!entry.position || entry.position > CHI_POSITION_MAX || !room) {
        tell(c, "the entry at position %llu is of %s, which there is not",
             (unsigned long long)entry.position, room_label(c, entry.room).text);
        return SQLITE_OK;
    }
    check_link(c, room, &entry);
    return check_texts(c, &entry);
}

static int check_mark(struct check *c, sqlite3_stmt *row)
{
    uint64_t room, position;
    read_numbers(c, row, "a mark", 2, (uint64_t *const[]){&room, &position});
    tell(c, "there is a mark at position %llu of %s, but no entry", (unsigned long long)position,
         room_label(c, room).text);
    return SQLITE_OK;
}

static int check_entries(struct check *c)
{
    int code = each_row(c,
                        "SELECT e.position,e.room,e.prev,e.bytes,EXISTS(SELECT 1 FROM marks m"
                        " WHERE m.room=e.room AND m.position=e.position) marked"
                        " FROM entries e ORDER BY e.position",
                        check_entry);
    for (uint32_t i = 0; code == SQLITE_OK && i < c->count && goes_on(c); i++)
        check_room(c, &c->rooms[i]);
    if (code == SQLITE_OK)
        code = each_row(c,
                        "SELECT m.room,m.position FROM marks m LEFT JOIN entries e"
                        " ON e.position=m.position WHERE e.room IS NOT m.room",
                        check_mark);
    return code;
}

/* ------------------------------------------------------------------------------ the file itself */

/* `last`: of all rooms and entries. */
static int check_epochs(struct check *c, uint64_t last)
{
    sqlite3_stmt *row = NULL;
    uint64_t before = 1, number, first = 0;
    int code = sqlite3_prepare_v2(c->db, "SELECT number,first,name FROM epochs ORDER BY number", -1,
                                  &row, NULL);
    while (code == SQLITE_OK && (code = sqlite3_step(row)) == SQLITE_ROW) {
        read_numbers(c, row, "an epoch", 2, (uint64_t *const[]){&number, &first});
        if (first < before)
            tell(c, "epoch number %llu begins at position %llu, but one before it at %llu",
                 (unsigned long long)number, (unsigned long long)first, (unsigned long long)before);
        if (sqlite3_column_type(row, 2) != SQLITE_TEXT ||
            sqlite3_column_bytes(row, 2) != CHI_EPOCH_LEN)
            tell(c, "epoch number %llu has a name that no log writes", (unsigned long long)number);
        before = first > before ? first : before;
        code = SQLITE_OK;
    }
    sqlite3_finalize(row);
    if (first > last + 1)
        tell(c, "the newest epoch begins at position %llu, but the newest position is %llu",
             (unsigned long long)first, (unsigned long long)last);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int check_file(struct check *c)
{
    uint8_t secret[CHI_FILE_SECRET];
    uint64_t last = 0;
    int code = chi_file_secret(c->db, secret);
    if (code == SQLITE_CORRUPT) {
        tell(c, "it lacks its secret, by which it knows posts that come again");
        code = SQLITE_OK;
    }
    if (code == SQLITE_OK)
        code = chi_store_last(c->store, &last);
    return code == SQLITE_OK ? check_epochs(c, last) : code;
}

/* ------------------------------------------------------------------------------------------ all */

static int check_all(struct check *c)
{
    int code = chi_store_new(c->db, false, &c->store);
    if (code == SQLITE_OK)
        code = chi_tool_begin_reading(c->db);
    if (code == SQLITE_OK)
        code = each_row(c, "SELECT id,top,entries,bytes,written FROM rooms ORDER BY id", read_room);
    int pages = goes_on(c) ? check_pages(c) : SQLITE_OK;
    if (code == SQLITE_OK)
        code = pages;
    if (code == SQLITE_OK && goes_on(c))
        code = check_entries(c);
    if (code == SQLITE_OK && goes_on(c))
        code = check_file(c);
    return code;
}

/* `first`: what the file as a whole has shown; "": nothing. */
static int conclude(struct check *c, int code, char *first)
{
    struct chi_problem_text problem = chi_tool_problem(c->tool);
    if (c->wish)
        return c->wish;
    if (code != SQLITE_OK && !is_fault(code))
        return chi_file_tell_sqlite(problem, c->tool->path, c->db, code);
    if (*first && (code != SQLITE_OK || !c->faults) && goes_on(c))
        tell_line(c, first);
    else if (code != SQLITE_OK)
        tell_code(c, code);
    if (c->wish || !c->faults)
        return c->wish;
    return chi_file_tell(problem, c->tool->path, CHATHUB_EIO,
                         "is damaged: %u fault%s found; restore it from a backup, or export what "
                         "can still be read",
                         c->faults, c->faults == 1 ? " was" : "s were");
}

/* What is told of a file that cannot be opened is worth more than that it cannot. */
int chi_tool_check(const struct chi_tool *tool, chathub_line_cb fault, void *arg)
{
    struct check c = {.tool = tool, .fault = fault, .arg = arg};
    char first[512] = "";
    int error = chi_file_check(tool->path, (struct chi_problem_text){first, sizeof(first)});
    int opened = chi_tool_open(tool, &c.db);
    if (opened) {
        if (error)
            snprintf(tool->problem, tool->size, "%s", first);
        return error ? error : opened;
    }
    int code = check_all(&c);
    if (error != CHATHUB_EIO)
        first[0] = '\0';
    int result = conclude(&c, code, first);
    free(c.rooms);
    chi_store_free(c.store);
    chi_file_close(c.db);
    return result;
}
