/* Handing out the entries of an SQLite log's file, oldest first.
 *
 * They are read by pages, each in a transaction of its own that has ended when its entries are
 * handed out: whoever takes them slowly keeps no hub from starting its WAL anew. What retention
 * deletes meanwhile is passed over, and what is posted after the beginning is left out. */
#include "log/sqlite/tools_inside.h"

#include <stdlib.h>

#include "log/sqlite/file_inside.h"
#include "log/sqlite/store_inside.h"

/* Entries of one page, and bytes of them from which on no more are added. */
#define PAGE_ENTRIES 256u
#define PAGE_BYTES   (1u << 20)

struct export
{
    const struct chi_tool *tool;
    sqlite3 *db;
    struct chi_store *store;
    chi_tool_entry_cb each;
    void *arg;
    uint64_t after,
        top; /* positions that are still to be handed out: above the one, up to the other */
    uint64_t done, total; /* entries; total may be wrong */
};

static int tell(const struct export *x, int code)
{
    return chi_file_tell_sqlite(chi_tool_problem(x->tool), x->tool->path, x->db, code);
}

static int hand_out(struct export *x, struct chi_span room, const struct chi_entry *entry)
{
    int wish = x->each(x->arg, room, entry);
    x->after = entry->position;
    x->done++;
    return wish;
}

/* ------------------------------------------------------------------------------------- one room */

static int export_room(struct export *x, struct chi_span key)
{
    struct chi_stored_room room;
    struct chi_stored_page page = {0};
    int code = chi_store_room(x->store, key, &room);
    if (code == SQLITE_OK && !room.id)
        return chi_file_tell(chi_tool_problem(x->tool), x->tool->path, CHATHUB_ENOROOM,
                             "has no room of this name: %.*s", (int)key.len, key.at);
    x->top = room.top;
    x->total = room.entries;
    int wish = 0;
    do {
        struct chi_log_read read = {
            .after = x->after, .before = x->top + 1, .limit = PAGE_ENTRIES, .bytes = PAGE_BYTES};
        if (code == SQLITE_OK)
            code = chi_store_page(x->store, room.id, &read, &page);
        if (code != SQLITE_OK)
            return tell(x, code);
        for (uint32_t i = 0; i < page.count && !wish; i++)
            wish = hand_out(x, key, page.entries[i]);
        bool more = page.more;
        chi_stored_page_free(&page);
        if (!wish)
            wish = chi_tool_progress(x->tool, x->done, x->total);
        if (!more)
            break;
    } while (!wish);
    return wish;
}

/* ------------------------------------------------------------------------------------ all rooms */

/* Entries in the order of their positions, and the names of their rooms. */
struct page {
    struct chi_entry *entries[PAGE_ENTRIES]; /* references */
    char *names[PAGE_ENTRIES];               /* owned */
    uint32_t count;
    uint64_t bytes;
    bool more;
};

static void page_clear(struct page *page)
{
    for (uint32_t i = 0; i < page->count; i++) {
        chi_entry_unref(page->entries[i]);
        sqlite3_free(page->names[i]);
    }
    *page = (struct page){0};
}

static int page_add(struct export *x, struct page *page, uint64_t position, uint64_t room,
                    const char *name)
{
    struct chi_entry *entry;
    int code = chi_store_load(x->store, (int64_t)room, position, INT64_MAX, &entry);
    if (code != SQLITE_ROW)
        return code == SQLITE_DONE ? SQLITE_CORRUPT : code;
    page->entries[page->count] = entry;
    page->names[page->count] = sqlite3_mprintf("%s", name);
    page->bytes += chi_entry_size(entry);
    return page->names[page->count++] ? SQLITE_OK : SQLITE_NOMEM;
}

static const char next_sql[] = "SELECT e.position,e.room,r.name FROM entries e"
                               " LEFT JOIN rooms r ON r.id=e.room"
                               " WHERE e.position>?1 AND e.position<=?2 ORDER BY e.position";

/* The statement is reset, so that no transaction is left open. */
static int page_read(struct export *x, sqlite3_stmt *next, struct page *page)
{
    int code;
    sqlite3_bind_int64(next, 1, (sqlite3_int64)x->after);
    sqlite3_bind_int64(next, 2, (sqlite3_int64)x->top);
    while ((code = sqlite3_step(next)) == SQLITE_ROW) {
        uint64_t position, room;
        const char *name = (const char *)sqlite3_column_text(next, 2);
        page->more = page->count == PAGE_ENTRIES || page->bytes >= PAGE_BYTES;
        if (page->more)
            break;
        if (chi_store_number(next, 0, CHI_POSITION_MAX, &position) != SQLITE_OK ||
            chi_store_number(next, 1, INT64_MAX, &room) != SQLITE_OK || !name) {
            code = SQLITE_CORRUPT;
            break;
        }
        code = page_add(x, page, position, room, name);
        if (code != SQLITE_OK)
            break;
    }
    sqlite3_reset(next);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

static int export_pages(struct export *x, sqlite3_stmt *next, struct page *page)
{
    int wish = 0;
    bool more = true;
    while (!wish && more) {
        int code = page_read(x, next, page);
        if (code != SQLITE_OK)
            return tell(x, code);
        for (uint32_t i = 0; i < page->count && !wish; i++)
            wish = hand_out(x, chi_span_of(page->names[i]), page->entries[i]);
        more = page->more;
        page_clear(page);
        if (!wish)
            wish = chi_tool_progress(x->tool, x->done, x->total);
    }
    return wish;
}

static int export_all(struct export *x)
{
    sqlite3_stmt *next = NULL;
    int64_t total = 0;
    struct page *page = calloc(1, sizeof(*page));
    int code = page ? chi_store_last(x->store, &x->top) : SQLITE_NOMEM;
    if (code == SQLITE_OK)
        code = chi_file_number(x->db, "SELECT ifnull(sum(entries),0) FROM rooms", &total);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(x->db, next_sql, -1, &next, NULL);
    x->total = (uint64_t)total;
    int result = code == SQLITE_OK ? export_pages(x, next, page) : tell(x, code);
    if (page)
        page_clear(page);
    free(page);
    sqlite3_finalize(next);
    return result;
}

int chi_tool_export(const struct chi_tool *tool, struct chi_span room, chi_tool_entry_cb each,
                    void *arg)
{
    struct export x = {.tool = tool, .each = each, .arg = arg};
    int result = chi_tool_open(tool, &x.db);
    if (result)
        return result;
    int code = chi_store_new(x.db, false, &x.store);
    if (code != SQLITE_OK)
        result = tell(&x, code);
    else
        result = room.len ? export_room(&x, room) : export_all(&x);
    chi_store_free(x.store);
    chi_file_close(x.db);
    return result;
}
