/* Pages of a room's entries, and the walks that find them. */
#include "log/sqlite/store_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---------------------------------------------------------------------------------------- walks */

int chi_store_link(struct chi_store *store, int64_t room, uint64_t position, struct chi_place *out)
{
    int code = chi_store_place(store, position, out);
    if (code == SQLITE_ROW)
        return out->room == room ? SQLITE_ROW : SQLITE_CORRUPT;
    if (code != SQLITE_DONE || !position)
        return code;
    uint64_t upto[] = {(uint64_t)room, position};
    sqlite3_stmt *statement = chi_store_with(store, CHI_STORE_MARK_UPTO, upto, 2);
    code = chi_store_row(statement);
    sqlite3_reset(statement);
    return code == SQLITE_ROW ? SQLITE_CORRUPT : code;
}

int chi_store_hold(struct chi_store *store, int64_t room, struct chi_room_now *out)
{
    uint64_t id = (uint64_t)room;
    sqlite3_stmt *statement = chi_store_with(store, CHI_STORE_ROOM, &id, 1);
    int code = chi_store_row(statement);
    if (code != SQLITE_ROW)
        return code;
    if (chi_store_number(statement, 0, CHI_POSITION_MAX, &out->top) == SQLITE_OK &&
        chi_store_number(statement, 1, INT64_MAX, &out->entries) == SQLITE_OK &&
        chi_store_number(statement, 2, INT64_MAX, &out->bytes) == SQLITE_OK)
        return SQLITE_ROW;
    sqlite3_reset(statement);
    return SQLITE_CORRUPT;
}

void chi_store_release(struct chi_store *store)
{
    sqlite3_reset(store->statements[CHI_STORE_ROOM]);
}

void chi_walk_begin(struct chi_walk *walk, struct chi_store *store, int64_t room, uint64_t top,
                    uint64_t after)
{
    walk->store = store;
    walk->room = room;
    walk->top = top;
    walk->done = after;
    walk->linked = false;
    walk->count = 0;
    walk->places = walk->space + CHI_MARK_EVERY;
    uint64_t from[] = {(uint64_t)room, after};
    chi_store_with(store, CHI_STORE_MARKS, from, 2);
}

/* The next mark, or behind the last one the room's newest position. */
static int next_end(struct chi_walk *walk, uint64_t *end)
{
    sqlite3_stmt *marks = walk->store->statements[CHI_STORE_MARKS];
    int code = sqlite3_step(marks);
    *end = walk->top;
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? SQLITE_OK : code;
    code = chi_store_number(marks, 0, walk->top, end);
    return code == SQLITE_OK && *end <= walk->done ? SQLITE_CORRUPT : code;
}

int chi_walk_next(struct chi_walk *walk)
{
    uint64_t end, position;
    if (walk->done >= walk->top)
        return SQLITE_DONE;
    int code = next_end(walk, &end);
    if (code != SQLITE_OK)
        return code;
    walk->count = 0;
    walk->places = walk->space + CHI_MARK_EVERY;
    for (position = end; position > walk->done; position = walk->places->prev) {
        struct chi_place place;
        code = chi_store_link(walk->store, walk->room, position, &place);
        if (code == SQLITE_DONE)
            break;
        if (code != SQLITE_ROW || walk->count == CHI_MARK_EVERY)
            return code == SQLITE_ROW ? SQLITE_CORRUPT : code;
        walk->count++;
        *--walk->places = place;
    }
    if (walk->linked && position != walk->done)
        return SQLITE_CORRUPT;
    walk->done = end;
    walk->linked = true;
    return SQLITE_ROW;
}

void chi_walk_end(struct chi_walk *walk)
{
    sqlite3_reset(walk->store->statements[CHI_STORE_MARKS]);
}

/* -------------------------------------------------------------------------------------- entries */

/* A text of a row: none, or valid UTF-8 of at most so many bytes. Adds its length to *bytes. */
static int text_read(sqlite3_stmt *statement, int column, size_t most, struct chi_span *out,
                     uint64_t *bytes)
{
    *out = (struct chi_span){NULL, 0};
    int type = sqlite3_column_type(statement, column);
    if (type == SQLITE_NULL)
        return SQLITE_OK;
    if (type != SQLITE_TEXT)
        return SQLITE_CORRUPT;
    out->at = (const char *)sqlite3_column_text(statement, column);
    if (!out->at)
        return SQLITE_NOMEM;
    out->len = (size_t)sqlite3_column_bytes(statement, column);
    *bytes += out->len;
    return out->len > most || !chi_utf8_valid(out->at, out->len) ? SQLITE_CORRUPT : SQLITE_OK;
}

/* The row that stands in the statement, its texts copied once. */
static int entry_make(sqlite3_stmt *statement, uint64_t bytes, struct chi_entry **out)
{
    static const size_t most[] = {UINT16_MAX, UINT16_MAX, UINT16_MAX, UINT32_MAX, UINT32_MAX};
    uint64_t time, type, have = 0;
    struct chi_span text[5];
    if (chi_store_number(statement, 3, INT64_MAX, &time) != SQLITE_OK ||
        chi_store_number(statement, 4, UINT16_MAX, &type) != SQLITE_OK)
        return SQLITE_CORRUPT;
    for (int i = 0; i < 5; i++) {
        int code = text_read(statement, 5 + i, most[i], &text[i], &have);
        if (code != SQLITE_OK)
            return code;
    }
    if (have > bytes)
        return SQLITE_CORRUPT;
    struct chi_entry_parts parts = {text[0], text[1], text[2], text[3], text[4]};
    *out = chi_entry_new((uint16_t)type, &parts);
    if (!*out)
        return SQLITE_NOMEM;
    (*out)->time = time;
    return SQLITE_OK;
}

int chi_store_load(struct chi_store *store, int64_t room, uint64_t position, uint64_t most,
                   struct chi_entry **out)
{
    uint64_t of, prev, bytes;
    uint64_t is[] = {position, most};
    *out = NULL;
    sqlite3_stmt *statement = chi_store_with(store, CHI_STORE_ENTRY, is, 2);
    int code = chi_store_row(statement);
    if (code != SQLITE_ROW)
        return code;
    code = SQLITE_CORRUPT;
    if (chi_store_number(statement, 0, INT64_MAX, &of) == SQLITE_OK && of == (uint64_t)room &&
        chi_store_number(statement, 1, position - 1, &prev) == SQLITE_OK &&
        chi_store_number(statement, 2, INT64_MAX, &bytes) == SQLITE_OK)
        code = entry_make(statement, bytes, out);
    sqlite3_reset(statement);
    if (code != SQLITE_OK)
        return code;
    (*out)->position = position;
    (*out)->prev = prev;
    return SQLITE_ROW;
}

/* ---------------------------------------------------------------------------------------- pages */

/* A page while it grows. */
struct growing {
    struct chi_store *store;
    int64_t room;
    const struct chi_log_read *read; /* what is asked */
    struct chi_stored_page *page;
    uint32_t cap;   /* places in page->entries */
    uint64_t bytes; /* of the entries so far */
};

/* How many bytes the next entry may have. */
static uint64_t room_left(const struct growing *g)
{
    if (!g->page->count)
        return INT64_MAX;
    return g->read->bytes > g->bytes ? g->read->bytes - g->bytes : 0;
}

static int make_place(struct growing *g)
{
    if (g->page->count < g->cap)
        return SQLITE_OK;
    uint32_t cap = g->cap ? g->cap * 2 : 64;
    struct chi_entry **entries = realloc(g->page->entries, cap * sizeof(struct chi_entry *));
    if (!entries)
        return SQLITE_NOMEM;
    g->page->entries = entries;
    g->cap = cap;
    return SQLITE_OK;
}

/* Adds an entry. SQLITE_ROW; SQLITE_DONE: it has more bytes than are left, or is not there. */
static int add(struct growing *g, uint64_t position, uint64_t *prev)
{
    int code = make_place(g);
    if (code != SQLITE_OK)
        return code;
    struct chi_entry *entry;
    code = chi_store_load(g->store, g->room, position, room_left(g), &entry);
    if (!entry)
        return code;
    g->page->entries[g->page->count++] = entry;
    g->bytes += chi_entry_size(entry);
    *prev = entry->prev;
    return SQLITE_ROW;
}

/* Adds of a run what is wanted. SQLITE_DONE: the page has all that it may. */
static int add_run(struct growing *g, const struct chi_walk *walk)
{
    for (uint32_t i = 0; i < walk->count; i++) {
        const struct chi_place *place = &walk->places[i];
        uint64_t prev;
        if (place->position >= g->read->before)
            return SQLITE_DONE;
        if (g->page->count >= g->read->limit || place->bytes > room_left(g)) {
            g->page->more = true;
            return SQLITE_DONE;
        }
        int code = add(g, place->position, &prev);
        if (code != SQLITE_ROW)
            return code == SQLITE_DONE ? SQLITE_CORRUPT : code;
    }
    return SQLITE_OK;
}

static int read_forward(struct growing *g, uint64_t top)
{
    struct chi_walk walk;
    int code;
    chi_walk_begin(&walk, g->store, g->room, top, g->read->after);
    while ((code = chi_walk_next(&walk)) == SQLITE_ROW) {
        code = add_run(g, &walk);
        if (code != SQLITE_OK)
            break;
    }
    chi_walk_end(&walk);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* Where a walk back to before `before` begins: the first mark that is not before it, or the top. */
static int start_above(struct growing *g, uint64_t top, uint64_t *position)
{
    uint64_t from[] = {(uint64_t)g->room, g->read->before};
    sqlite3_stmt *statement = chi_store_with(g->store, CHI_STORE_MARK_FROM, from, 2);
    *position = top;
    int code = chi_store_row(statement);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? SQLITE_OK : code;
    code = chi_store_number(statement, 0, top, position);
    sqlite3_reset(statement);
    return code;
}

/* From there to the newest position before `before`; 0: the chain ends above it. */
static int walk_down(struct growing *g, uint64_t *position)
{
    struct chi_place place;
    for (uint32_t i = 0; *position >= g->read->before; i++) {
        int code = chi_store_link(g->store, g->room, *position, &place);
        if (code == SQLITE_ROW && i == CHI_MARK_EVERY)
            code = SQLITE_CORRUPT;
        if (code != SQLITE_ROW && code != SQLITE_DONE)
            return code;
        *position = code == SQLITE_ROW ? place.prev : 0;
    }
    return SQLITE_OK;
}

/* Where to begin: at the newest position before `before`, which may be of no entry. */
static int start(struct growing *g, uint64_t top, uint64_t *position)
{
    struct chi_place place;
    *position = top;
    if (g->read->before > top)
        return SQLITE_OK;
    int code = chi_store_place(g->store, g->read->before, &place);
    if (code == SQLITE_ROW && place.room == g->room) { /* who pages on names an entry of the room */
        *position = place.prev;
        return SQLITE_OK;
    }
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        code = start_above(g, top, position);
    return code == SQLITE_OK ? walk_down(g, position) : code;
}

static void turn_round(struct chi_stored_page *page)
{
    for (uint32_t i = 0; i < page->count / 2; i++) {
        struct chi_entry *entry = page->entries[i];
        page->entries[i] = page->entries[page->count - 1 - i];
        page->entries[page->count - 1 - i] = entry;
    }
}

static int read_backward(struct growing *g, uint64_t top)
{
    uint64_t position;
    int code = start(g, top, &position);
    while (code == SQLITE_OK && position > g->read->after) {
        struct chi_place place;
        uint64_t prev = 0;
        code = g->page->count < g->read->limit ? add(g, position, &prev) : SQLITE_DONE;
        if (code == SQLITE_ROW) {
            position = prev;
            code = SQLITE_OK;
        } else if (code == SQLITE_DONE) { /* no more is wanted, or there is none */
            code = chi_store_link(g->store, g->room, position, &place);
            g->page->more = code == SQLITE_ROW;
            break;
        }
    }
    turn_round(g->page);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

int chi_store_page(struct chi_store *store, int64_t room, const struct chi_log_read *read,
                   struct chi_stored_page *out)
{
    assert(room > 0 && read->limit > 0);
    *out = (struct chi_stored_page){0};
    struct growing g = {.store = store, .room = room, .read = read, .page = out};
    struct chi_room_now now;
    if (read->before <= read->after)
        return SQLITE_OK;
    int code = chi_store_hold(store, room, &now);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? SQLITE_OK : code;
    code = read->backward ? read_backward(&g, now.top) : read_forward(&g, now.top);
    chi_store_release(store);
    if (code != SQLITE_OK)
        chi_stored_page_free(out);
    return code;
}

void chi_stored_page_free(struct chi_stored_page *page)
{
    for (uint32_t i = 0; i < page->count; i++)
        chi_entry_unref(page->entries[i]);
    free(page->entries);
    *page = (struct chi_stored_page){0};
}
