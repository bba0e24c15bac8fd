/* Remembered cids of the SQLite log, in a file. */
#include "dups_world.h"

#include "core/ports.h"

/* --------------------------------------------------------------------------------- transactions */

START_TEST(what_is_added_is_found_at_once_and_ever_after)
{
    struct world *w = world_new(1000, 1);
    world_begin(w);
    for (uint32_t n = 0; n < 50; n++)
        ck_assert_int_eq(world_post(w, n), SQLITE_OK);
    world_commit(w);
    world_posts(w, 50, 50, 1);
    world_check_all(w);
    ck_assert_uint_eq(chi_dups_count(w->dups), 100);
    world_reopen(w);
    ck_assert_uint_eq(chi_dups_count(w->dups), 100);
    world_check_all(w);
    world_free(w);
}
END_TEST

START_TEST(a_commit_is_one_row)
{
    struct world *w = world_new(1000, 1);
    world_posts(w, 0, 100, 10);
    ck_assert_int_eq(world_number(w, "SELECT count(*) FROM cid_commits"), 10);
    ck_assert_int_eq(world_number(w, "SELECT sum(length(records)) FROM cid_commits"), 3600);
    world_begin(w);
    world_commit(w); /* without a cid */
    ck_assert_int_eq(world_number(w, "SELECT count(*) FROM cid_commits"), 10);
    world_free(w);
}
END_TEST

START_TEST(what_was_rolled_back_never_was)
{
    struct world *w = world_new(1000, 1);
    world_posts(w, 0, 10, 5);
    world_begin(w);
    for (uint32_t n = 5; n < 30; n++)
        world_post(w, n);
    world_rollback(w);
    ck_assert_uint_eq(chi_dups_count(w->dups), 10);
    for (uint32_t n = 0; n < 40; n++)
        world_check(w, n, &w->is[n]);
    world_begin(w);
    world_post(w, 35);
    ck_assert_int_eq(chi_dups_write(w->dups), SQLITE_OK);
    world_rollback(w); /* written, then not committed */
    world_check(w, 35, &w->is[35]);
    world_posts(w, 20, 20, 7); /* positions are given out again */
    world_reopen(w);
    ck_assert_uint_eq(chi_dups_count(w->dups), 30);
    world_check_all(w);
    chi_dups_rolled_back(w->dups); /* of nothing */
    world_check_all(w);
    world_free(w);
}
END_TEST

/* Its horizon can be over while the transaction is under way, if that is short. */
START_TEST(a_cid_can_be_forgotten_before_it_is_committed)
{
    struct world *w = world_new(1000, 1);
    world_posts(w, 0, 3, 1);
    world_begin(w);
    world_post(w, 3);
    world_post(w, 4);
    w->now += w->horizon + 1;
    for (uint32_t n = 0; n < 5; n++)
        ck_assert(!world_check(w, n, &w->maybe[n]));
    world_post(w, 3); /* again */
    world_post(w, 5);
    world_commit(w);
    for (uint32_t n = 0; n < 6; n++)
        ck_assert(world_check(w, n, &w->is[n]) == (n == 3 || n == 5));
    world_begin(w);
    world_post(w, 6);
    w->now += w->horizon + 1;
    world_check_all(w);
    world_rollback(w);
    ck_assert_uint_eq(chi_dups_count(w->dups), 0);
    world_reopen(w);
    world_check_all(w);
    world_free(w);
}
END_TEST

START_TEST(another_room_user_or_cid_is_another)
{
    static const struct {
        const char *room, *user, *cid, *content;
    } posts[] = {{"r", "u", "c", "x"},
                 {"r2", "u", "c", "x"},
                 {"r", "u2", "c", "x"},
                 {"r", "u", "c2", "x"},
                 {"r", "u", "c", "y"}};
    struct world *w = world_new(1000, 1);
    struct chi_cid cids[5];
    for (int i = 0; i < 5; i++) {
        struct chi_entry_parts parts = {.user = chi_span_of(posts[i].user),
                                        .cid = chi_span_of(posts[i].cid),
                                        .content = chi_span_of(posts[i].content)};
        struct chi_entry *draft = chi_entry_new(CHI_ENTRY_CHAT, &parts);
        ck_assert_ptr_nonnull(draft);
        cids[i] = chi_dups_of(w->dups, chi_span_of(posts[i].room), draft);
        chi_entry_unref(draft);
    }
    for (int i = 1; i < 4; i++)
        ck_assert_mem_ne(cids[i].key, cids[0].key, sizeof(cids[0].key));
    ck_assert_mem_eq(cids[4].key, cids[0].key, sizeof(cids[0].key));
    ck_assert_uint_ne(cids[4].content, cids[0].content);
    world_free(w);
}
END_TEST

/* ----------------------------------------------------------------------------------------- runs */

static int64_t chunks(struct world *w)
{
    return world_number(w, "SELECT count(*) FROM cid_chunks");
}

static int64_t rows(struct world *w)
{
    return world_number(w, "SELECT count(*) FROM cid_commits");
}

START_TEST(a_run_is_written_in_small_steps_and_all_are_found_meanwhile)
{
    struct world *w = world_new(4096, 2);
    world_posts(w, 0, 4095, 9);
    ck_assert(!chi_dups_due(w->dups, world_since(w)));
    world_posts(w, 4095, 1, 1);
    uint32_t steps = 0, after = 0;
    for (; chi_dups_due(w->dups, world_since(w)); steps++) {
        int64_t before = chunks(w);
        world_step(w);
        ck_assert_int_le(chunks(w) - before, 256 / 16 + 8);
        world_posts(w, 4096 + after, 3, 2); /* life goes on */
        after += 3;
        ck_assert_uint_eq(chi_dups_count(w->dups), 4096 + after);
        world_check_all(w);
    }
    ck_assert_uint_ge(steps, 16);
    ck_assert_uint_eq(w->dups->run_count, 1);
    ck_assert_uint_eq(w->dups->fresh.count, after);
    ck_assert_int_eq(world_number(w, "SELECT sum(length(records)) FROM cid_chunks"), 4096 * 36);
    ck_assert_int_eq(world_number(w, "SELECT sum(length(records)) FROM cid_commits"), after * 36);
    world_reopen(w);
    ck_assert_uint_eq(chi_dups_count(w->dups), 4096 + after);
    ck_assert(!chi_dups_due(w->dups, world_since(w)));
    world_check_all(w);
    world_free(w);
}
END_TEST

START_TEST(rows_of_commits_that_are_in_a_run_go_in_small_steps)
{
    struct world *w = world_new(5000, 14);
    world_posts(w, 0, 5000, 1);
    ck_assert_int_eq(rows(w), 5000);
    while (chi_dups_due(w->dups, world_since(w))) {
        int64_t before = rows(w);
        world_step(w);
        ck_assert_int_le(before - rows(w), 1024);
        if (rows(w) < 1500 && !w->copies)
            world_crash(w); /* once, while some are left */
    }
    ck_assert_int_eq(rows(w), 0);
    ck_assert_uint_eq(chi_dups_count(w->dups), 5000);
    world_check_all(w);
    world_free(w);
}
END_TEST

START_TEST(a_step_that_was_rolled_back_is_done_again)
{
    struct world *w = world_new(500, 3);
    world_posts(w, 0, 600, 4);
    for (uint32_t n = 0; chi_dups_due(w->dups, world_since(w)); n++) {
        bool more;
        ck_assert_uint_lt(n, 100);
        world_begin(w);
        ck_assert_int_eq(chi_dups_step(w->dups, world_since(w), &more), SQLITE_OK);
        world_rollback(w);
        world_check_all(w);
        world_step(w);
        world_check_all(w);
    }
    ck_assert_uint_eq(w->dups->run_count, 1);
    ck_assert_int_eq(world_number(w, "SELECT sum(length(records)) FROM cid_chunks"), 600 * 36);
    ck_assert_int_eq(rows(w), 0);
    w->now += w->horizon + 1;
    while (chi_dups_due(w->dups, world_since(w))) {
        bool more;
        world_begin(w);
        ck_assert_int_eq(chi_dups_step(w->dups, world_since(w), &more), SQLITE_OK);
        world_rollback(w);
        world_check_all(w);
        world_step(w);
    }
    ck_assert_int_eq(chunks(w), 0);
    ck_assert_int_eq(world_number(w, "SELECT count(*) FROM cid_runs"), 0);
    world_free(w);
}
END_TEST

/* In the middle of a step, and after it; the end is the same as if nothing had happened. */
START_TEST(a_crash_at_any_step_loses_nothing_and_keeps_nothing_twice)
{
    for (uint32_t at = 0; at < 30; at++) {
        struct world *w = world_new(200, at);
        world_posts(w, 0, 200, 3);
        for (uint32_t n = 0; n < at / 2 && chi_dups_due(w->dups, world_since(w)); n++)
            world_step(w);
        if (at % 2) {
            bool more;
            world_begin(w);
            ck_assert_int_eq(chi_dups_step(w->dups, world_since(w), &more), SQLITE_OK);
        }
        world_crash(w);
        world_check_all(w);
        ck_assert_uint_eq(chi_dups_count(w->dups), 200);
        world_steps(w);
        world_check_all(w);
        ck_assert_uint_eq(chi_dups_count(w->dups), 200);
        ck_assert_uint_eq(w->dups->run_count, 1);
        ck_assert_int_eq(world_number(w, "SELECT sum(length(records)) FROM cid_chunks"), 200 * 36);
        ck_assert_int_eq(rows(w), 0);
        world_free(w);
    }
}
END_TEST

/* One step for so many posts that a run's usual steps would take ages. */
START_TEST(when_posts_come_faster_than_steps_the_steps_grow)
{
    struct world *w = world_new(1000, 4);
    for (uint32_t n = 0; n < 18000; n += 500) {
        world_posts(w, n, 500, 50);
        if (chi_dups_due(w->dups, world_since(w)))
            world_step(w);
        ck_assert_uint_le(w->dups->fresh.count + w->dups->seal.cids.count, 6000);
    }
    world_check_all(w);
    world_steps(w);
    world_check_all(w);
    ck_assert_uint_eq(chi_dups_count(w->dups), 18000);
    world_free(w);
}
END_TEST

START_TEST(without_steps_memory_is_bounded)
{
    struct world *w = world_new(100, 5);
    world_posts(w, 0, 100 * CHI_DUPS_MOST, 100);
    world_begin(w);
    ck_assert_int_eq(world_post(w, 5000), SQLITE_NOMEM);
    world_rollback(w);
    world_steps(w);
    world_posts(w, 5000, 100, 10);
    world_check_all(w);
    world_free(w);
}
END_TEST

START_TEST(memory_is_told_and_given_back)
{
    struct world *w = world_new(4096, 6);
    uint64_t empty = chi_dups_memory(w->dups), full;
    world_posts(w, 0, 4096, 64);
    full = chi_dups_memory(w->dups);
    ck_assert_uint_gt(full, empty + 4096 * sizeof(struct chi_cid));
    ck_assert_uint_lt(full, empty + 4096 * 64);
    world_steps(w);
    world_reopen(w);
    full = chi_dups_memory(w->dups);
    ck_assert_uint_ge(full, 4096 * 2);
    ck_assert_uint_lt(full, 4096 * 2 + 8192);
    world_free(w);
}
END_TEST

/* ----------------------------------------------------------------------------------- forgetting */

START_TEST(what_is_older_than_the_horizon_is_forgotten_and_can_be_remembered_anew)
{
    struct world *w = world_new(300, 7);
    world_posts(w, 0, 300, 5); /* will be in a run … */
    world_steps(w);
    world_posts(w, 300, 300, 5); /* … in one that is being written … */
    world_step(w);
    world_posts(w, 600, 100, 5); /* … and fresh */
    w->now += w->horizon + 1;
    for (uint32_t n = 0; n < 700; n++)
        FAST(!world_check(w, n, &w->is[n]));
    world_posts(w, 0, 700, 7); /* the same names */
    for (uint32_t n = 0; n < 700; n++)
        FAST(world_check(w, n, &w->is[n]));
    world_crash(w);
    world_check_all(w);
    world_steps(w);
    world_check_all(w);
    w->now += w->horizon / 2;
    world_reopen(w);
    world_check_all(w);
    world_steps(w);
    world_check_all(w);
    world_free(w);
}
END_TEST

START_TEST(forgotten_ones_leave_the_file)
{
    struct world *w = world_new(300, 8);
    for (uint32_t n = 0; n < 1500; n += 300) {
        world_posts(w, n, 300, 5);
        world_steps(w);
        w->now += 1000;
    }
    world_posts(w, 1500, 200, 5);
    ck_assert_uint_eq(w->dups->run_count, 5);
    w->now += w->horizon - 3000; /* two and a bit of the five */
    world_steps(w);
    ck_assert_uint_eq(w->dups->run_count, 3);
    ck_assert_uint_eq(chi_dups_count(w->dups), 1100);
    ck_assert_int_eq(world_number(w, "SELECT sum(length(records)) FROM cid_chunks"), 900 * 36);
    world_check_all(w);
    w->now += w->horizon;
    world_reopen(w); /* after a long time */
    world_steps(w);
    ck_assert_uint_eq(chi_dups_count(w->dups), 0);
    ck_assert_int_eq(chunks(w), 0);
    ck_assert_int_eq(world_number(w, "SELECT count(*) FROM cid_runs"), 0);
    ck_assert_int_eq(rows(w), 0);
    world_check_all(w);
    world_posts(w, 0, 400, 5);
    world_steps(w);
    world_reopen(w);
    world_check_all(w);
    world_free(w);
}
END_TEST

START_TEST(a_forgotten_run_goes_in_small_steps)
{
    struct world *w = world_new(16384, 9);
    world_posts(w, 0, 16384, 512);
    world_steps(w);
    w->now += w->horizon + 1;
    uint32_t steps = 0;
    for (; chi_dups_due(w->dups, world_since(w)); steps++) {
        int64_t before = chunks(w);
        ck_assert_int_le(before - (world_step(w), chunks(w)), 512);
        ck_assert_uint_eq(chi_dups_count(w->dups), 0);
        if (steps == 0) {
            world_crash(w); /* half of it is left */
            ck_assert_int_gt(chunks(w), 0);
            world_check_all(w);
        }
    }
    ck_assert_uint_ge(steps, 2);
    ck_assert_int_eq(chunks(w), 0);
    world_free(w);
}
END_TEST

/* A post now and then must not cost a commit of its own once more, when it is forgotten. */
START_TEST(fresh_ones_are_forgotten_many_at_a_time)
{
    struct world *w = world_new(CHI_DUPS_RUN, 10);
    uint32_t steps = 0;
    for (uint32_t n = 0; n < 6000; n++) {
        w->now += w->horizon / 1000;
        world_posts(w, n, 1, 1);
        steps += world_steps(w);
        ck_assert_uint_le(chi_dups_count(w->dups), 1002);
        ck_assert_int_le(rows(w), 1300);
    }
    ck_assert_uint_le(steps, 25);
    ck_assert_uint_ge(steps, 15);
    world_free(w);
}
END_TEST

/* ----------------------------------------------------------------------------------- the filter */

static void random_key(struct world *w, uint64_t key[2])
{
    for (int i = 0; i < 2; i++)
        key[i] = (uint64_t)world_random(w, 1u << 31) << 42 ^
                 (uint64_t)world_random(w, 1u << 31) << 21 ^ world_random(w, 1u << 31);
}

START_TEST(a_filter_has_what_was_added_and_hardly_anything_else)
{
    static const uint32_t sizes[] = {1, 31, 1000, CHI_DUPS_RUN, CHI_DUPS_RUN + 12345};
    struct world *w = world_new(1000, 11);
    for (int i = 0; i < 5; i++) {
        struct chi_filter filter;
        struct chi_filter_key key;
        uint64_t random[2], seed = w->random;
        uint32_t passed = 0;
        ck_assert_int_eq(chi_filter_new(&filter, sizes[i]), 0);
        ck_assert_uint_le(chi_filter_size(sizes[i]), sizes[i] * 2 + CHI_FILTER_BLOCK);
        for (uint32_t n = 0; n < sizes[i]; n++) {
            random_key(w, random);
            chi_filter_key(&key, random);
            chi_filter_add(&filter, &key);
        }
        for (uint32_t n = 0; n < 100000; n++) {
            random_key(w, random);
            chi_filter_key(&key, random);
            passed += chi_filter_has(&filter, &key);
        }
        ck_assert_uint_le(passed, 250);
        w->random = seed;
        for (uint32_t n = 0; n < sizes[i]; n++) {
            random_key(w, random);
            chi_filter_key(&key, random);
            FAST(chi_filter_has(&filter, &key));
        }
        chi_filter_free(&filter);
    }
    world_free(w);
}
END_TEST

START_TEST(new_cids_are_hardly_ever_looked_for_in_the_file_and_repeated_ones_once)
{
    struct world *w = world_new(1000, 12);
    world_posts(w, 0, 10000, 100);
    world_steps(w);
    for (uint32_t n = 10000; n < 19000; n += 1000) {
        world_posts(w, n, 1000, 100);
        world_steps(w);
    }
    ck_assert_uint_eq(w->dups->run_count, 10);
    w->dups->looks = 0;
    for (uint32_t n = 0; n < 1000; n++)
        FAST(!world_check(w, 19000 + n, &w->is[19000 + n]));
    ck_assert_uint_le(w->dups->looks, 30); /* of 10,000 filters asked */
    w->dups->looks = 0;
    for (uint32_t n = 0; n < 10000; n++)
        FAST(world_check(w, n, &w->is[n]));
    ck_assert_uint_le(w->dups->looks, 10300);
    ck_assert_uint_ge(w->dups->looks, 10000);
    world_free(w);
}
END_TEST

/* -------------------------------------------------------------------------------- damaged files */

/* A run of 200, and 50 fresh ones. */
static struct world *small_file(void)
{
    struct world *w = world_new(200, 13);
    world_posts(w, 0, 200, 10);
    world_steps(w);
    world_posts(w, 200, 50, 10);
    return w;
}

/* As small_file, in tables that take anything. */
static struct world *loose_file(void)
{
    struct world *w = small_file();
    world_close(w);
    world_connect(w);
    world_sql(w, "CREATE TABLE a(position INTEGER PRIMARY KEY,records);"
                 "CREATE TABLE b(run INTEGER PRIMARY KEY,newest,top,count,bits,filter);"
                 "CREATE TABLE c(chunk INTEGER PRIMARY KEY,records);"
                 "INSERT INTO a SELECT * FROM cid_commits;"
                 "INSERT INTO b SELECT * FROM cid_runs;"
                 "INSERT INTO c SELECT * FROM cid_chunks;"
                 "DROP TABLE cid_commits;DROP TABLE cid_runs;DROP TABLE cid_chunks;"
                 "ALTER TABLE a RENAME TO cid_commits;"
                 "ALTER TABLE b RENAME TO cid_runs;"
                 "ALTER TABLE c RENAME TO cid_chunks");
    return w;
}

static const char *const damages[] = {
    "UPDATE cid_commits SET records=x''",
    "UPDATE cid_commits SET records=substr(records,1,length(records)-1)",
    "UPDATE cid_commits SET records=CAST(records||zeroblob(36) AS BLOB)",      /* a position 0 */
    "UPDATE cid_commits SET records=CAST(records||substr(records,1) AS BLOB)", /* not in order */
    "UPDATE cid_commits SET records=zeroblob(360)",
    "UPDATE cid_commits SET records=CAST(substr(records,37)||substr(records,1,36) AS BLOB)",
    "UPDATE cid_commits SET position=position+1000000",          /* not the greatest */
    "UPDATE cid_commits SET position=position+9007199254740000", /* beyond any position */
    ("UPDATE cid_commits SET "
     "records=CAST(substr(records,1,16)||x'ffffffffffffffff'||substr(records,25) AS BLOB)"),
    ("UPDATE cid_commits SET "
     "records=CAST(substr(records,1,24)||x'ffffffffffffffff'||substr(records,33) AS BLOB)"),
    "UPDATE cid_commits SET records='text'",
    "UPDATE cid_commits SET records=7",
    "UPDATE cid_commits SET records=NULL",
    "UPDATE cid_runs SET run=-1",
    "UPDATE cid_runs SET run=9223372036854775807",
    "UPDATE cid_runs SET newest=-1",
    "UPDATE cid_runs SET newest='x'",
    "UPDATE cid_runs SET top=-1",
    "UPDATE cid_runs SET top=9223372036854775807",
    "UPDATE cid_runs SET count=count*100",
    "UPDATE cid_runs SET count=-1",
    "UPDATE cid_runs SET count=9223372036854775807",
    "UPDATE cid_runs SET count=4294967296+count",
    "UPDATE cid_runs SET bits=17",
    "UPDATE cid_runs SET bits=-1",
    "UPDATE cid_runs SET bits=NULL",
    "UPDATE cid_runs SET filter=substr(filter,2)",
    "UPDATE cid_runs SET filter=CAST(filter||zeroblob(64) AS BLOB)",
    "UPDATE cid_runs SET filter=NULL",
    "UPDATE cid_runs SET filter=1.5",
};

START_TEST(a_damaged_file_is_refused)
{
    struct world *w = loose_file();
    ck_assert_int_eq(world_try_open(w), SQLITE_OK);
    world_check_all(w);
    world_close(w);
    for (size_t i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
        world_connect(w);
        world_begin(w);
        world_sql(w, damages[i]);
        ck_assert_msg(world_try_open(w) == SQLITE_CORRUPT, "%s", damages[i]);
        ck_assert_ptr_null(w->dups);
        world_sql(w, "ROLLBACK");
        world_close(w);
    }
    world_connect(w);
    world_free(w);
}
END_TEST

START_TEST(a_damaged_chunk_is_told_by_whoever_looks_into_it)
{
    static const char *const texts[] = {
        "UPDATE cid_chunks SET records=substr(records,2)",
        "UPDATE cid_chunks SET records=CAST(records||x'00' AS BLOB)",
        "UPDATE cid_chunks SET records=x''",
        "UPDATE cid_chunks SET records='text'",
        "UPDATE cid_chunks SET records=NULL",
        ("UPDATE cid_chunks SET records=CAST(substr(records,1,16)||zeroblob(8)||substr(records,25) "
         "AS BLOB)"),
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        struct world *w = loose_file();
        uint32_t corrupt = 0;
        world_sql(w, texts[i]);
        ck_assert_int_eq(world_try_open(w), SQLITE_OK);
        for (uint32_t n = 0; n < 200; n++) {
            struct chi_cid like = world_cid(w, n), is;
            int code = chi_dups_find(w->dups, &like, world_since(w), &is);
            ck_assert(code == SQLITE_CORRUPT || code == SQLITE_ROW);
            corrupt += code == SQLITE_CORRUPT;
        }
        ck_assert_uint_gt(corrupt, i == 5 ? 1 : 199); /* its first record, or the whole */
        world_free(w);
    }
}
END_TEST

/* Bytes of the file itself are changed: what the answers are is open, but they are answers. */
START_TEST(no_file_makes_it_crash)
{
    struct world *w = small_file();
    char good[80];
    memcpy(good, w->path, sizeof(good));
    world_sql(w, "PRAGMA wal_checkpoint(TRUNCATE)");
    world_close(w);
    snprintf(w->path, sizeof(w->path), "%s/bad", w->folder);
    for (int round = 0; round < 150; round++) {
        world_copy(good, w->path, "");
        FILE *file = fopen(w->path, "r+b");
        ck_assert_ptr_nonnull(file);
        ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
        uint32_t size = (uint32_t)ftell(file);
        for (int i = 0; i <= round % 40; i++) {
            ck_assert_int_eq(fseek(file, 4096 + world_random(w, size - 4096), SEEK_SET), 0);
            fputc((int)world_random(w, 256), file);
        }
        ck_assert_int_eq(fclose(file), 0);
        world_connect(w);
        int code = world_try_open(w);
        bool more = code == SQLITE_OK;
        ck_assert((code == SQLITE_OK) == (w->dups != NULL));
        for (uint32_t n = 0; w->dups && n < 250; n++) {
            struct chi_cid like = world_cid(w, n), is;
            chi_dups_find(w->dups, &like, world_since(w), &is);
        }
        w->now += w->horizon + 1;
        for (int i = 0; more && i < 50; i++) {
            world_begin(w);
            code = chi_dups_step(w->dups, world_since(w), &more);
            if (code == SQLITE_OK && sqlite3_exec(w->db, "COMMIT", 0, 0, 0) == SQLITE_OK) {
                chi_dups_committed(w->dups);
            } else {
                sqlite3_exec(w->db, "ROLLBACK", NULL, NULL, NULL);
                chi_dups_rolled_back(w->dups);
                more = false;
            }
        }
        w->now -= w->horizon + 1;
        world_close(w);
        world_remove(w->path);
    }
    memcpy(w->path, good, sizeof(good));
    world_connect(w);
    world_free(w);
}
END_TEST

/* ------------------------------------------------------------------------------------ the storm */

static void storm_posts(struct world *w)
{
    uint32_t count = world_random(w, 12), near = w->run > 200 ? NAMES : 3000;
    world_begin(w);
    for (uint32_t i = 0; i < count; i++)
        ck_assert_int_eq(world_post(w, world_random(w, near)), SQLITE_OK);
    uint32_t how = world_random(w, 40);
    if (how == 0) {
        world_crash(w); /* before COMMIT */
    } else if (how < 4) {
        if (how < 2)
            ck_assert_int_eq(chi_dups_write(w->dups), SQLITE_OK);
        world_rollback(w);
    } else {
        world_commit(w);
    }
}

static void storm_step(struct world *w)
{
    uint32_t how = world_random(w, 12);
    bool more;
    if (how > 1) {
        world_step(w);
        return;
    }
    world_begin(w);
    ck_assert_int_eq(chi_dups_step(w->dups, world_since(w), &more), SQLITE_OK);
    if (how)
        world_rollback(w);
    else
        world_crash(w);
}

/* What is in the file is what is counted, but for what waits to be deleted. */
static void storm_end(struct world *w)
{
    world_steps(w);
    world_check_all(w);
    int64_t cids = world_number(w, "SELECT (SELECT ifnull(sum(length(records)),0) FROM cid_chunks)+"
                                   "(SELECT ifnull(sum(length(records)),0) FROM cid_commits)");
    ck_assert_int_ge(cids / 36 + w->dups->run, (int64_t)chi_dups_count(w->dups));
    ck_assert_int_le(cids / 36, (int64_t)chi_dups_count(w->dups) + 20);
    ck_assert_int_eq(world_number(w, "SELECT count(*) FROM cid_chunks WHERE chunk>>16 NOT IN "
                                     "(SELECT run FROM cid_runs)"),
                     0);
}

START_TEST(a_storm_of_everything_ends_as_the_plain_list_says)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct world *w = world_new(50 + 100 * (uint32_t)(seed % 4), seed);
        w->horizon = 1000 * seed;
        for (int i = 0; i < 1000; i++) {
            uint32_t what = world_random(w, 100);
            if (what < 60)
                storm_posts(w);
            else if (what < 95)
                storm_step(w);
            else if (what == 95)
                world_reopen(w);
            else if (what == 96)
                world_crash(w);
            else if (what == 97)
                world_check_all(w);
            w->now += world_random(w, 8);
            if (i % 400 == 399)
                w->now += w->horizon * world_random(w, 3) / 2;
        }
        storm_end(w);
        world_crash(w);
        storm_end(w);
        world_free(w);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sqlite_dups");
    TCase *tcase = tcase_create("sqlite_dups");
    tcase_set_timeout(tcase, 0);
    tcase_add_test(tcase, what_is_added_is_found_at_once_and_ever_after);
    tcase_add_test(tcase, a_commit_is_one_row);
    tcase_add_test(tcase, what_was_rolled_back_never_was);
    tcase_add_test(tcase, a_cid_can_be_forgotten_before_it_is_committed);
    tcase_add_test(tcase, another_room_user_or_cid_is_another);
    tcase_add_test(tcase, a_run_is_written_in_small_steps_and_all_are_found_meanwhile);
    tcase_add_test(tcase, rows_of_commits_that_are_in_a_run_go_in_small_steps);
    tcase_add_test(tcase, a_step_that_was_rolled_back_is_done_again);
    tcase_add_test(tcase, a_crash_at_any_step_loses_nothing_and_keeps_nothing_twice);
    tcase_add_test(tcase, when_posts_come_faster_than_steps_the_steps_grow);
    tcase_add_test(tcase, without_steps_memory_is_bounded);
    tcase_add_test(tcase, memory_is_told_and_given_back);
    tcase_add_test(tcase, what_is_older_than_the_horizon_is_forgotten_and_can_be_remembered_anew);
    tcase_add_test(tcase, forgotten_ones_leave_the_file);
    tcase_add_test(tcase, a_forgotten_run_goes_in_small_steps);
    tcase_add_test(tcase, fresh_ones_are_forgotten_many_at_a_time);
    tcase_add_test(tcase, a_filter_has_what_was_added_and_hardly_anything_else);
    tcase_add_test(tcase, new_cids_are_hardly_ever_looked_for_in_the_file_and_repeated_ones_once);
    tcase_add_test(tcase, a_damaged_file_is_refused);
    tcase_add_test(tcase, a_damaged_chunk_is_told_by_whoever_looks_into_it);
    tcase_add_test(tcase, no_file_makes_it_crash);
    tcase_add_test(tcase, a_storm_of_everything_ends_as_the_plain_list_says);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
