/* The SQLite log's store where memory runs out: linked with --wrap, and SQLite asks here as well.
 * Every allocation fails once. */
#include "store_world.h"
#include "oom_sqlite.h"

static bool want_of_memory(int code)
{
    return (code & 0xff) == SQLITE_NOMEM || code == SQLITE_IOERR_NOMEM;
}

/* Something that is tried with one allocation after the other failing. */
typedef int attempt(sqlite3 *db, struct chi_store *store);

static int make_store(sqlite3 *db, struct chi_store *store)
{
    struct chi_store *other = store;
    armed = true;
    int code = chi_store_new(db, true, &other);
    armed = false;
    if (code != SQLITE_OK)
        ck_assert_ptr_null(other);
    chi_store_free(other);
    return code;
}

static int page(struct chi_store *store, bool backward)
{
    struct chi_log_read read = {
        .before = UINT64_MAX, .limit = 80, .bytes = UINT32_MAX, .backward = backward};
    struct chi_stored_page page;
    armed = true;
    int code = chi_store_page(store, 1, &read, &page);
    armed = false;
    ck_assert_uint_eq(page.count, code == SQLITE_OK ? 80 : 0);
    chi_stored_page_free(&page);
    return code;
}

static int page_forward(sqlite3 *db, struct chi_store *store)
{
    (void)db;
    return page(store, false);
}

static int page_backward(sqlite3 *db, struct chi_store *store)
{
    (void)db;
    return page(store, true);
}

/* What a transaction does that fails is rolled back. */
static int end(struct chi_store *store, int code)
{
    if (code == SQLITE_OK)
        code = chi_store_commit(store);
    if (code != SQLITE_OK)
        chi_store_rollback(store);
    armed = false;
    return code;
}

static int append_some(sqlite3 *db, struct chi_store *store)
{
    struct chi_stored_room room;
    struct chi_entry *entries[40];
    (void)db;
    for (uint32_t i = 0; i < 40; i++)
        entries[i] = world_entry(1000 + i, i ? 999 + i : 0, 5000);
    armed = true;
    int code = chi_store_begin(store);
    if (code == SQLITE_OK)
        code = chi_store_room(store, CHI_SPAN("new"), &room);
    for (uint32_t i = 0; code == SQLITE_OK && i < 40; i++)
        code = chi_store_append(store, &room, CHI_SPAN("new"), entries[i]);
    if (code == SQLITE_OK)
        code = chi_store_room_save(store, &room);
    code = end(store, code);
    for (uint32_t i = 0; i < 40; i++)
        chi_entry_unref(entries[i]);
    return code;
}

static int redact_one(sqlite3 *db, struct chi_store *store)
{
    (void)db;
    armed = true;
    int code = chi_store_begin(store);
    if (code == SQLITE_OK)
        code = chi_store_redact(store, 1, 77);
    return end(store, code);
}

static int trim_one(sqlite3 *db, struct chi_store *store)
{
    uint32_t deleted = 0;
    (void)db;
    armed = true;
    int code = chi_store_begin(store);
    if (code == SQLITE_OK)
        code = chi_store_trim_room(store, 1, 100, UINT64_MAX, 60, &deleted);
    int trimmed = code;
    code = end(store, code);
    ck_assert_uint_eq(deleted, trimmed == SQLITE_OK ? 60 : 0);
    return code;
}

static int trim_all(sqlite3 *db, struct chi_store *store)
{
    uint32_t deleted = 0;
    uint64_t total = 0;
    (void)db;
    armed = true;
    int code = chi_store_begin(store);
    if (code == SQLITE_OK)
        code = chi_store_total(store, &total);
    uint64_t before = total;
    if (code == SQLITE_OK)
        code = chi_store_trim_all(store, 1000150, &total, UINT64_MAX, 200, &deleted);
    int trimmed = code;
    code = end(store, code);
    ck_assert_uint_eq(deleted, trimmed == SQLITE_OK ? 149 : 0);
    ck_assert(trimmed == SQLITE_OK ? total < before : total == before);
    return code;
}

/* What a failure must leave as it was. */
static int64_t sum(sqlite3 *db)
{
    return world_number(db, "SELECT sum(position+length(ifnull(content,''))) FROM entries") +
           world_number(db, "SELECT sum(id+top+entries+bytes+written) FROM rooms") +
           world_number(db, "SELECT sum(position) FROM marks");
}

static attempt *const attempts[] = {make_store, page_forward, page_backward, append_some,
                                    redact_one, trim_one,     trim_all};

START_TEST(without_memory_nothing_happens)
{
    bool all = false;
    for (long n = 0; !all; n++) {
        ck_assert_int_lt(n, 20000);
        sqlite3 *db = world_open(":memory:");
        struct chi_store *store = world_store(db);
        world_fill(store, "a", 1, 200, 1, 100);
        int64_t before = sum(db);
        until = n;
        int code = attempts[_i](db, store);
        all = until >= 0;
        until = -1;
        ck_assert_msg(code == SQLITE_OK || (!all && want_of_memory(code)), "code %d at %ld", code,
                      n);
        if (code != SQLITE_OK)
            ck_assert_int_eq(sum(db), before);
        ck_assert_int_ne(sqlite3_get_autocommit(db), 0);
        if (code != SQLITE_OK)
            ck_assert_int_eq(attempts[_i](db, store), SQLITE_OK);
        chi_store_free(store);
        ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    }
}
END_TEST

int main(void)
{
    if (!count_allocations())
        return EXIT_FAILURE;
    Suite *suite = suite_create("sqlite_store_oom");
    TCase *tcase = tcase_create("sqlite_store_oom");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, without_memory_nothing_happens, 0,
                        (int)(sizeof attempts / sizeof *attempts));
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
