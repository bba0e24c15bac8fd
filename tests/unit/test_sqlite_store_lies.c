/* The SQLite log's store on files that lie: whatever rows and bytes say, it tells, and it ends. */
#include "store_world.h"

#include <stdio.h>

/* Tables that take any type, as a damaged file may hold it. */
static sqlite3 *lax_open(void)
{
    sqlite3 *db = world_open(":memory:");
    world_sql(db, "PRAGMA writable_schema=ON;"
                  "UPDATE sqlite_schema SET sql=replace(replace(replace(sql,') STRICT,',') '),"
                  "') STRICT',')'),'NOT NULL','') WHERE name<>'marks' AND type='table';"
                  "PRAGMA writable_schema=RESET");
    return db;
}

/* All of a room, by pages; the code of the first that fails. Whatever the file says: in order,
 * within bounds, and with an end. */
static int all_pages(struct chi_store *store, int64_t room, bool backward)
{
    struct chi_log_read read = {
        .before = UINT64_MAX, .limit = 20, .bytes = 100000, .backward = backward};
    for (int i = 0; i < 1000; i++) {
        struct chi_stored_page page;
        int code = chi_store_page(store, room, &read, &page);
        if (code != SQLITE_OK) {
            FAST(page.count == 0);
            return code;
        }
        FAST(page.count <= read.limit);
        FAST(page.count || !page.more);
        uint64_t last = read.after;
        for (uint32_t j = 0; j < page.count; j++) {
            FAST(page.entries[j]->position > last);
            FAST(page.entries[j]->position < read.before);
            FAST(page.entries[j]->position <= CHI_POSITION_MAX);
            FAST(page.entries[j]->prev < page.entries[j]->position);
            last = page.entries[j]->position;
        }
        if (page.count && backward)
            read.before = page.entries[0]->position;
        else if (page.count)
            read.after = last;
        bool more = page.more;
        chi_stored_page_free(&page);
        if (!more)
            return SQLITE_OK;
    }
    ck_abort_msg("pages without end");
}

enum { FORWARD = 1, BACKWARD = 2, BOTH = 3 };

/* Room 1 has the odd positions up to 399, marks at 63, 127, …, 383; room 2 the even ones. */
static const struct lie {
    const char *sql;
    int seen; /* which pages find it */
} lies[] = {
    {"UPDATE entries SET prev=201 WHERE position=201", BOTH},
    {"UPDATE entries SET prev=399 WHERE position=201", BOTH},
    {"UPDATE entries SET prev=-1 WHERE position=201", BOTH},
    {"UPDATE entries SET prev=9223372036854775807 WHERE position=201", BOTH},
    {"UPDATE entries SET prev='199' || x'00' WHERE position=201", BOTH},
    {"UPDATE entries SET prev=NULL WHERE position=201", BOTH},
    {"UPDATE entries SET prev=199.5 WHERE position=201", BOTH},
    {"UPDATE entries SET prev=200 WHERE position=201", BOTH},   /* into the other room */
    {"UPDATE entries SET prev=61 WHERE position=201", FORWARD}, /* over marks */
    {"UPDATE entries SET room=2 WHERE position=201", BOTH},
    {"UPDATE entries SET room=NULL WHERE position=201", BOTH},
    {"UPDATE entries SET room=-1 WHERE position=201", BOTH},
    {"UPDATE entries SET bytes=-1 WHERE position=201", BOTH},
    {"UPDATE entries SET bytes=3 WHERE position=201", BOTH}, /* fewer than its texts */
    {"UPDATE entries SET bytes='many' WHERE position=201", BOTH},
    {"UPDATE entries SET bytes=NULL WHERE position=201", BOTH},
    {"UPDATE entries SET bytes=1e300 WHERE position=201", BOTH},
    {"UPDATE entries SET time=-5 WHERE position=201", BOTH},
    {"UPDATE entries SET time='noon' WHERE position=201", BOTH},
    {"UPDATE entries SET type=65536 WHERE position=201", BOTH},
    {"UPDATE entries SET type=NULL WHERE position=201", BOTH},
    {"UPDATE entries SET sender=CAST(zeroblob(65536) AS TEXT),bytes=1000000 WHERE position=201",
     BOTH},
    {"UPDATE entries SET cid=CAST(zeroblob(70000) AS TEXT),bytes=1000000 WHERE position=201", BOTH},
    {"UPDATE entries SET content=zeroblob(7) WHERE position=201", BOTH},
    {"UPDATE entries SET content=x'' WHERE position=201", BOTH},
    {"UPDATE entries SET data=x'7b7d' WHERE position=201", BOTH},
    {"UPDATE entries SET content=CAST(x'61ff62' AS TEXT) WHERE position=201", BOTH},
    {"UPDATE entries SET user=CAST(x'c3' AS TEXT) WHERE position=201", BOTH},
    {"UPDATE entries SET position=9007199254740992 WHERE position=201", BOTH},
    {"DELETE FROM entries WHERE position=201", BOTH},
    {"DELETE FROM entries WHERE position=383", BOTH}, /* a mark's */
    {"DELETE FROM entries WHERE position=399", BOTH}, /* the newest */
    {"UPDATE rooms SET top=9007199254740992 WHERE id=1", BOTH},
    {"UPDATE rooms SET top=9007199254740991 WHERE id=1", BOTH},
    {"UPDATE rooms SET top=-1 WHERE id=1", BOTH},
    {"UPDATE rooms SET top='new' WHERE id=1", BOTH},
    {"UPDATE rooms SET top=398 WHERE id=1", BOTH},    /* the other room's */
    {"UPDATE rooms SET top=101 WHERE id=1", FORWARD}, /* marks above it */
    {"UPDATE rooms SET entries=NULL WHERE id=1", BOTH},
    {"UPDATE rooms SET bytes=-1 WHERE id=1", BOTH},
    {"INSERT INTO marks VALUES(1,200)", FORWARD}, /* the other room's */
    {"INSERT INTO marks VALUES(1,9223372036854775807)", FORWARD},
    {"DELETE FROM marks WHERE room=1 AND position=127", FORWARD}, /* too far from each other */
};

static sqlite3 *two_rooms(struct chi_store **store)
{
    sqlite3 *db = lax_open();
    *store = world_store(db);
    world_fill(*store, "a", 1, 200, 2, 10);
    world_fill(*store, "b", 2, 200, 2, 10);
    return db;
}

START_TEST(what_is_wrong_in_a_file_is_told)
{
    const struct lie *lie = &lies[_i];
    struct chi_store *store;
    sqlite3 *db = two_rooms(&store);
    ck_assert_int_eq(all_pages(store, 1, false), SQLITE_OK);
    ck_assert_int_eq(all_pages(store, 1, true), SQLITE_OK);
    world_sql(db, lie->sql);
    int expected = lie->seen & FORWARD ? SQLITE_CORRUPT : SQLITE_OK;
    ck_assert_msg(all_pages(store, 1, false) == expected, "forward: %s", lie->sql);
    expected = lie->seen & BACKWARD ? SQLITE_CORRUPT : SQLITE_OK;
    ck_assert_msg(all_pages(store, 1, true) == expected, "backward: %s", lie->sql);
    ck_assert_int_eq(world_number(db, "SELECT 1"), 1);
    ck_assert_int_eq(sqlite3_close_v2(db), SQLITE_OK);
    chi_store_free(store);
}
END_TEST

/* A position that is not the room's is looked for from a mark down to the next, no further. */
START_TEST(a_walk_without_marks_has_an_end)
{
    struct chi_store *store;
    struct chi_stored_page page;
    struct chi_log_read read = {.before = 200, .limit = 5, .bytes = 1000, .backward = true};
    sqlite3 *db = two_rooms(&store);
    ck_assert_int_eq(chi_store_page(store, 1, &read, &page), SQLITE_OK);
    ck_assert_uint_eq(page.count, 5);
    chi_stored_page_free(&page);
    world_sql(db, "DELETE FROM marks");
    ck_assert_int_eq(chi_store_page(store, 1, &read, &page), SQLITE_CORRUPT);
    chi_store_free(store);
    sqlite3_close(db);
}
END_TEST

START_TEST(a_chain_that_turns_back_is_told_wherever_it_is_met)
{
    struct chi_store *store;
    int64_t room;
    sqlite3 *db = two_rooms(&store);
    world_sql(db, "UPDATE entries SET prev=201 WHERE position=201");
    ck_assert_int_eq(chi_store_find(store, 201, &room), SQLITE_CORRUPT);
    ck_assert_int_eq(room, 0);
    ck_assert_int_eq(chi_store_redact(store, 1, 201), SQLITE_CORRUPT);
    chi_store_free(store);
    sqlite3_close(db);
}
END_TEST

START_TEST(retention_deletes_nothing_of_another_room)
{
    static const char *const wrong[] = {
        "UPDATE entries SET prev=200 WHERE position=201",
        "INSERT INTO marks VALUES(1,200)",
        "UPDATE rooms SET top=400 WHERE id=1",
        "UPDATE entries SET room=2 WHERE position=63",
        "UPDATE marks SET room=1 WHERE position=64",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct chi_store *store;
        uint32_t deleted;
        sqlite3 *db = two_rooms(&store);
        world_sql(db, wrong[i]);
        int64_t others = world_number(db, "SELECT count(*) FROM entries WHERE room=2");
        ck_assert_msg(chi_store_trim_room(store, 1, 0, 0, 1000, &deleted) == SQLITE_CORRUPT, "%s",
                      wrong[i]);
        ck_assert_uint_eq(deleted, 0);
        ck_assert_int_eq(world_number(db, "SELECT count(*) FROM entries WHERE room=2"), others);
        chi_store_free(store);
        sqlite3_close(db);
    }
}
END_TEST

START_TEST(positions_are_not_reused_where_a_room_forgot_its_newest)
{
    struct chi_store *store;
    uint64_t last;
    sqlite3 *db = two_rooms(&store);
    world_sql(db, "UPDATE rooms SET top=7");
    ck_assert_int_eq(chi_store_last(store, &last), SQLITE_OK);
    ck_assert_uint_eq(last, 400);
    chi_store_free(store);
    sqlite3_close(db);
}
END_TEST

START_TEST(a_room_that_is_wrong_is_told)
{
    static const char *const wrong[] = {
        "UPDATE rooms SET top=9007199254740992", "UPDATE rooms SET top=NULL",
        "UPDATE rooms SET entries='x'",          "UPDATE rooms SET bytes=-1",
        "UPDATE rooms SET written=2.5",          "UPDATE rooms SET id=-id",
        "UPDATE rooms SET id=0 WHERE id=1",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct chi_store *store;
        struct chi_stored_room room;
        sqlite3 *db = two_rooms(&store);
        world_sql(db, wrong[i]);
        ck_assert_msg(chi_store_room(store, CHI_SPAN("a"), &room) == SQLITE_CORRUPT, "%s",
                      wrong[i]);
        ck_assert_int_eq(room.id, 0);
        chi_store_free(store);
        sqlite3_close(db);
    }
}
END_TEST

START_TEST(sums_that_are_wrong_are_told)
{
    struct chi_store *store;
    uint64_t number = 1;
    sqlite3 *db = two_rooms(&store);
    world_sql(db, "UPDATE rooms SET bytes=9223372036854775807,top='x'");
    ck_assert_int_eq(chi_store_total(store, &number), SQLITE_CORRUPT);
    ck_assert_uint_eq(number, 0);
    ck_assert_int_eq(chi_store_last(store, &number), SQLITE_CORRUPT);
    struct chi_stored_room none = {.id = 77};
    ck_assert_int_eq(chi_store_room_save(store, &none), SQLITE_CORRUPT);
    chi_store_free(store);
    sqlite3_close(db);
}
END_TEST

/* A row that tells of more than there is does not keep retention busy for ever. */
START_TEST(retention_ends_where_a_room_counts_too_much)
{
    struct chi_store *store;
    struct chi_stored_room room;
    sqlite3 *db = two_rooms(&store);
    uint32_t deleted = 0;
    uint64_t total = 1000000000;
    int64_t over;
    world_sql(db, "UPDATE rooms SET entries=100000,bytes=100000000 WHERE id=1");
    ck_assert_int_eq(chi_store_trim_room(store, 1, 50, 1000000, 500, &deleted), SQLITE_OK);
    ck_assert_uint_eq(deleted, 200);
    ck_assert_int_eq(chi_store_room(store, CHI_SPAN("a"), &room), SQLITE_OK);
    ck_assert_uint_eq(room.entries + room.bytes, 0);
    ck_assert_uint_eq(room.top, 399);
    ck_assert_int_eq(chi_store_over(store, 0, 200, 1000000, &over), SQLITE_OK);
    ck_assert_int_eq(over, 0);
    ck_assert_int_eq(chi_store_trim_all(store, 0, &total, 1000000, 500, &deleted), SQLITE_OK);
    ck_assert_uint_eq(deleted, 200);
    ck_assert_uint_eq(total, 0);
    chi_store_free(store);
    sqlite3_close(db);
}
END_TEST

/* What is read and deleted of a file that may say anything: no crash, and an end. */
static void use_all(struct chi_store *store, uint64_t *seed)
{
    struct chi_stored_room room;
    uint64_t number = 0;
    int64_t id;
    uint32_t deleted;
    for (int64_t i = 1; i < 3; i++) {
        all_pages(store, i, false);
        all_pages(store, i, true);
    }
    chi_store_room(store, CHI_SPAN("a"), &room);
    chi_store_find(store, world_chance(seed, 500), &id);
    chi_store_last(store, &number);
    chi_store_over(store, 0, 10, 10, &id);
    if (chi_store_total(store, &number) != SQLITE_OK)
        number = 100000;
    if (chi_store_begin(store) == SQLITE_OK) {
        chi_store_redact(store, 1, 1 + world_chance(seed, 400));
        chi_store_trim_room(store, 1, world_chance(seed, 200), UINT64_MAX, 100, &deleted);
        chi_store_trim_all(store, 0, &number, number / 2, 100, &deleted);
        if (room.id && room.top < 1000) {
            struct chi_entry *entry = world_entry(1000, room.top, 10);
            if (chi_store_append(store, &room, CHI_SPAN("a"), entry) == SQLITE_OK)
                chi_store_room_save(store, &room);
            chi_entry_unref(entry);
        }
        if (chi_store_commit(store) != SQLITE_OK)
            chi_store_rollback(store);
    }
    all_pages(store, 1, false);
    all_pages(store, 1, true);
}

START_TEST(whatever_rows_say_there_is_an_end)
{
    static const char *const columns[] = {"room", "prev", "bytes",  "time", "type",   "position",
                                          "user", "cid",  "sender", "data", "content"};
    static const char *const values[] = {"NULL",
                                         "-1",
                                         "0",
                                         "1",
                                         "2",
                                         "x'00ff'",
                                         "'x'",
                                         "1e99",
                                         "9223372036854775807",
                                         "-9e18",
                                         "prev-2",
                                         "prev+1",
                                         "position+2",
                                         "position",
                                         "CAST(x'ff' AS TEXT)",
                                         "abs(random())%400",
                                         "printf('%9000c','x')"};
    static const char *const room_columns[] = {"top", "entries", "bytes", "written"};
    uint64_t seed = (uint64_t)_i * 7919 + 3;
    for (int i = 0; i < 20; i++) {
        struct chi_store *store;
        char sql[200];
        sqlite3 *db = two_rooms(&store);
        for (uint32_t j = world_chance(&seed, 6); j > 0; j--) {
            const char *value = values[world_chance(&seed, 17)];
            uint32_t what = world_chance(&seed, 10);
            if (what == 0)
                snprintf(sql, sizeof sql, "UPDATE rooms SET %s=%s",
                         room_columns[world_chance(&seed, 4)], strchr(value, 'p') ? "398" : value);
            else if (what == 1)
                snprintf(sql, sizeof sql, "DELETE FROM %s WHERE position=%u",
                         world_chance(&seed, 2) ? "marks" : "entries",
                         63 + 64 * world_chance(&seed, 7));
            else
                snprintf(sql, sizeof sql, "UPDATE OR IGNORE entries SET %s=%s WHERE position=%u",
                         columns[world_chance(&seed, 11)], value, world_chance(&seed, 401));
            sqlite3_exec(db, sql, NULL, NULL, NULL);
        }
        use_all(store, &seed);
        chi_store_free(store);
        sqlite3_close(db);
    }
}
END_TEST

/* The bytes of a file, some of them changed, as a database in memory. */
START_TEST(whatever_bytes_say_there_is_an_end)
{
    struct chi_store *store;
    sqlite3 *whole = two_rooms(&store);
    sqlite3_int64 size = 0;
    unsigned char *image = sqlite3_serialize(whole, "main", &size, 0);
    uint64_t seed = (uint64_t)_i * 104729 + 5;
    ck_assert_ptr_nonnull(image);
    chi_store_free(store);
    sqlite3_close(whole);
    for (int i = 0; i < 60; i++) {
        sqlite3 *db = NULL;
        unsigned char *copy = sqlite3_malloc64((sqlite3_uint64)size);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, image, (size_t)size);
        for (uint32_t j = 1 + world_chance(&seed, 30); j > 0; j--)
            copy[100 + world_chance(&seed, (uint32_t)size - 100)] =
                (unsigned char)world_chance(&seed, 256);
        ck_assert_int_eq(sqlite3_open(":memory:", &db), SQLITE_OK);
        ck_assert_int_eq(
            sqlite3_deserialize(db, "main", copy, size, size,
                                SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_RESIZEABLE),
            SQLITE_OK);
        if (chi_store_new(db, true, &store) == SQLITE_OK)
            use_all(store, &seed);
        else
            store = NULL;
        chi_store_free(store);
        sqlite3_close(db);
    }
    sqlite3_free(image);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sqlite_store_lies");
    TCase *tcase = tcase_create("sqlite_store_lies");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, what_is_wrong_in_a_file_is_told, 0,
                        (int)(sizeof lies / sizeof *lies));
    tcase_add_test(tcase, a_walk_without_marks_has_an_end);
    tcase_add_test(tcase, a_chain_that_turns_back_is_told_wherever_it_is_met);
    tcase_add_test(tcase, retention_deletes_nothing_of_another_room);
    tcase_add_test(tcase, positions_are_not_reused_where_a_room_forgot_its_newest);
    tcase_add_test(tcase, a_room_that_is_wrong_is_told);
    tcase_add_test(tcase, sums_that_are_wrong_are_told);
    tcase_add_test(tcase, retention_ends_where_a_room_counts_too_much);
    tcase_add_loop_test(tcase, whatever_rows_say_there_is_an_end, 0, 8);
    tcase_add_loop_test(tcase, whatever_bytes_say_there_is_an_end, 0, 6);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
