/* The check of an SQLite log's file: what is refused and with which words, and that nothing
 * changes. */
#include "file_world.h"

/* ------------------------------------------------------------------------------------- refusals */

START_TEST(what_is_no_file_is_refused)
{
    char link[128];
    int lock;
    leave_log(1);
    snprintf(link, sizeof link, "%s/link.db", folder);
    ck_assert_int_eq(symlink(path, link), 0);
    snprintf(path, sizeof path, "%s", link);
    assert_refused("is a symbolic link; name the file that it leads to");
    assert_not_opened("is a symbolic link");
    ck_assert_int_eq(chi_file_lock(path, &lock, problem()), CHATHUB_EIO);
    ck_assert_int_eq(size_of(beside("-lock")), -1);
    snprintf(path, sizeof path, "%s/pipe", folder);
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    assert_refused("is no regular file");
    snprintf(path, sizeof path, "%s", folder);
    assert_refused("is a directory; name a file in it");
    snprintf(path, sizeof path, "%s/", folder);
    assert_refused("names no file");
    ck_assert_int_eq(chi_file_lock(path, &lock, problem()), CHATHUB_EIO);
    snprintf(path, sizeof path, "%s/log.db/x", folder);
    assert_refused("Not a directory");
    path[0] = '\0';
    ck_assert_int_eq(chi_file_lock(path, &lock, problem()), CHATHUB_EIO);
}
END_TEST

START_TEST(no_file_is_nothing_to_refuse_and_is_not_made_to_be_read)
{
    sqlite3 *db;
    assert_sound();
    ck_assert_int_eq(chi_file_open(path, CHI_FILE_READ, 0, &db, problem()), CHATHUB_EIO);
    ck_assert_msg(strstr(said, "is not there"), "%s", said);
    snprintf(path, sizeof path, "%s/none/log.db", folder);
    assert_sound();
}
END_TEST

START_TEST(what_is_no_database_is_refused)
{
    write_at(path, 0, "", 0);
    assert_refused("is empty");
    assert_not_opened("is the SQLite database of another program");
    write_at(path, 0, "hello", 5);
    assert_refused("is no SQLite database");
    write_junk(path, 0, 8192);
    assert_refused("is no SQLite database");
    assert_not_opened("is no SQLite database");
    write_at(path, 0, "SQLite format 3", 16);
    ck_assert_int_eq(truncate(path, 60), 0);
    assert_refused("is cut: it has 60 bytes");
}
END_TEST

START_TEST(the_database_of_another_program_is_refused)
{
    sqlite3 *db = raw();
    run(db, "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"
            "PRAGMA application_id=77; PRAGMA user_version=1; CREATE TABLE places(x)");
    checkpoint(db);
    run(db, "INSERT INTO places VALUES(1)");
    sqlite3_close(db);
    assert_refused("is the SQLite database of another program; name another file");
    assert_not_opened("is the SQLite database of another program");
    lose_index();
    assert_refused("is the SQLite database of another program");
}
END_TEST

START_TEST(a_newer_file_is_refused_with_both_versions)
{
    char text[100];
    snprintf(text, sizeof text, "is of version %d, and this chathub knows versions up to %d",
             CHI_FILE_VERSION + 1, CHI_FILE_VERSION);
    leave_log(1);
    sqlite3 *db = raw();
    run(db, "PRAGMA wal_autocheckpoint=0; BEGIN; CREATE TABLE novelty(x); PRAGMA user_version=2;"
            "COMMIT");
    sqlite3_close(db);
    assert_refused(text); /* so far its WAL alone says so */
    assert_not_opened(text);
    lose_index();
    assert_refused(text);
    db = raw();
    checkpoint(db);
    sqlite3_close(db);
    assert_refused(text);
    assert_not_opened(text);
    lose_companions();
    assert_refused(text);
}
END_TEST

START_TEST(a_cut_file_is_refused)
{
    leave_log(200);
    int64_t size = size_of(path);
    char text[100];
    snprintf(text, sizeof text, "is cut: it has %lld bytes of %lld", (long long)(size / 2 + 100),
             (long long)size);
    ck_assert_int_eq(truncate(path, size / 2 + 100), 0);
    assert_refused(text);
    lose_companions();
    assert_refused(text);
    ck_assert_int_eq(truncate(path, 300), 0);
    assert_refused("is cut");
}
END_TEST

START_TEST(a_cut_file_is_refused_though_its_wal_has_something)
{
    leave_log_in_wal(200, 1);
    ck_assert_int_eq(truncate(path, size_of(path) / 2), 0);
    assert_refused("is cut: it has");
    lose_index();
    assert_refused("is cut: it has");
}
END_TEST

START_TEST(what_a_wal_had_in_an_earlier_round_is_not_there)
{
    leave_log(1);
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    post(db, 200);
    ck_assert_int_eq(sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL),
                     SQLITE_OK);
    int64_t wal = size_of(beside("-wal"));
    post(db, 1);
    chi_file_close(db);
    ck_assert_int_eq(size_of(beside("-wal")), wal);
    assert_sound();
    ck_assert_int_eq(truncate(path, size_of(path) - 8192), 0);
    assert_refused("is cut: it has");
}
END_TEST

START_TEST(a_checkpoint_that_was_cut_off_is_no_damage)
{
    char page[4096];
    leave_log(1);
    copy(path, beside("-kept"));
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    post(db, 200);
    chi_file_close(db);
    copy(beside("-wal"), beside("-kept-wal"));
    db = raw();
    checkpoint(db);
    sqlite3_close(db);
    int fd = open(path, O_RDONLY);
    ck_assert_int_eq((int)read(fd, page, sizeof page), (int)sizeof page);
    close(fd);
    /* The first page is written back, the others are not. */
    snprintf(path, sizeof path, "%s/log.db-kept", folder);
    write_at(path, 0, page, sizeof page);
    assert_sound();
    db = open_log(CHI_FILE_WRITE_FULL);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM entries"), 201);
    chi_file_close(db);
    assert_sound();
    lose_companions();
    assert_refused("is cut");
}
END_TEST

START_TEST(a_restored_file_is_refused_with_the_wal_of_another_state)
{
    leave_log(1);
    copy(path, beside("-copy"));
    leave_log(100);
    leave_log_in_wal(1, 1); /* the WAL does not say how many pages there are */
    copy(beside("-copy"), path);
    assert_refused("-wal belongs to; if it was restored from a backup, remove that");
    lose_index();
    assert_refused("-wal belongs to; if it was restored from a backup, remove that");
    ck_assert_int_eq(unlink(beside("-wal")), 0);
    assert_sound();
    leave_log(100);
    leave_log_in_wal(1, 100); /* it does */
    copy(beside("-copy"), path);
    assert_refused("is cut");
    ck_assert_ptr_nonnull(strstr(said, "-wal, which is not of that"));
}
END_TEST

START_TEST(a_damaged_page_is_found_wherever_it_is)
{
    leave_log(200);
    copy(path, beside("-whole"));
    int64_t pages = size_of(path) / 4096;
    ck_assert_int_gt(pages, 15);
    for (int64_t page = 0; page < pages; page++) {
        copy(beside("-whole"), path);
        write_junk(path, page * 4096 + (page ? 0 : 100), page ? 4096 : 3996);
        assert_refused("is damaged (");
        if (page % 8 == 1) {
            lose_companions();
            assert_refused("is damaged (");
            chi_file_close(raw());
            write_at(beside("-wal"), 0, "", 0);
            write_at(beside("-shm"), 0, "", 0);
        }
    }
}
END_TEST

START_TEST(a_damaged_wal_is_refused)
{
    leave_log_in_wal(3, 3);
    copy(beside("-wal"), beside("-whole"));
    write_junk(beside("-wal"), 0, 5000);
    assert_refused("has a damaged WAL");
    lose_index();
    assert_refused("has a damaged WAL");
    copy(beside("-whole"), beside("-wal"));
    assert_sound();
    write_junk(beside("-wal"), 17, 1); /* its salt: the head's checksum knows */
    assert_refused("has a damaged WAL");
}
END_TEST

START_TEST(a_wal_that_ends_in_mid_frame_holds_what_is_whole)
{
    leave_log_in_wal(3, 3);
    int64_t whole = size_of(beside("-wal"));
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    post(db, 20);
    chi_file_close(db);
    ck_assert_int_eq(truncate(beside("-wal"), whole + 3000), 0);
    assert_sound();
    lose_index();
    assert_sound();
    db = open_log(CHI_FILE_WRITE_FULL);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM entries"), 6);
    chi_file_close(db);
}
END_TEST

START_TEST(a_commit_that_a_loss_of_power_tore_was_none)
{
    leave_log(1);
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    post(db, 200);
    chi_file_close(db);
    write_junk(beside("-wal"), 32 + 24 + 1000, 100); /* in its first frame: the others are whole */
    assert_sound();
    lose_index();
    assert_sound();
    db = open_log(CHI_FILE_WRITE_FULL);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM entries"), 1);
    chi_file_close(db);
}
END_TEST

/* As a machine with its bytes in the other order writes it. */
static void turn_wal(void)
{
    enum { HEAD = 32, FRAME = 24, PAGE = 4096 };
    static uint8_t bytes[1 << 20];
    uint32_t sum[2] = {0, 0};
    int fd = open(beside("-wal"), O_RDWR | O_CLOEXEC);
    ssize_t len = read(fd, bytes, sizeof bytes);
    ck_assert(len > HEAD && (len - HEAD) % (FRAME + PAGE) == 0 && !(bytes[3] & 1));
    bytes[3] |= 1;
    for (ssize_t at = 0, end; at < len; at = end) {
        uint8_t *sums = bytes + at + (at ? 16 : 24);
        end = at + (at ? FRAME + PAGE : HEAD);
        for (ssize_t i = at; i < end; i += 8) {
            if (bytes + i == sums || (at && i == at + 8))
                continue; /* neither the checksum itself nor the salt */
            sum[0] += chi_big_endian(bytes + i) + sum[1];
            sum[1] += chi_big_endian(bytes + i + 4) + sum[0];
        }
        for (int i = 0; i < 8; i++)
            sums[i] = (uint8_t)(sum[i / 4] >> (24 - 8 * (i % 4)));
    }
    ck_assert_int_eq((int)pwrite(fd, bytes, (size_t)len, 0), (int)len);
    close(fd);
}

START_TEST(a_wal_may_have_its_bytes_in_either_order)
{
    leave_log_in_wal(1, 50);
    lose_index();
    turn_wal();
    assert_sound();
    sqlite3 *db = open_log(CHI_FILE_READ);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM entries"), 51);
    chi_file_close(db);
    assert_sound();
}
END_TEST

START_TEST(a_log_that_lacks_a_table_or_its_secret_is_damaged)
{
    static const char *const losses[] = {
        "DROP TABLE entries",
        "DROP TABLE rooms",
        "DROP TABLE marks",
        "DROP TABLE epochs",
        "ALTER TABLE entries DROP COLUMN content",
        "DELETE FROM meta WHERE key='secret'",
        "UPDATE meta SET value=x'00' WHERE key='secret'",
    };
    leave_log(3);
    copy(path, beside("-whole"));
    for (size_t i = 0; i < sizeof losses / sizeof *losses; i++) {
        copy(beside("-whole"), path);
        sqlite3 *db = raw();
        run(db, losses[i]);
        checkpoint(db);
        sqlite3_close(db);
        assert_refused("is damaged (");
    }
}
END_TEST

START_TEST(a_large_file_is_checked_at_its_ends)
{
    sqlite3 *db = open_log(CHI_FILE_WRITE_NORMAL);
    for (int i = 0; i < 70; i++) {
        run(db, "INSERT INTO entries VALUES(NULL,1,0,1,1,1,'a','b',NULL,"
                "replace(hex(zeroblob(500000)),'0','x'),NULL)");
    }
    post(db, 100);
    checkpoint(db);
    chi_file_close(db);
    int64_t size = size_of(path);
    ck_assert_int_gt(size, 64 << 20);
    ck_assert_msg(chi_file_check(path, problem()) == 0, "%s", said);
    write_junk(path, size - 8192, 8192); /* the newest entries */
    ck_assert_int_eq(chi_file_check(path, problem()), CHATHUB_EIO);
    ck_assert_msg(strstr(said, "is damaged ("), "%s", said);
    ck_assert_int_eq(truncate(path, size - 4096), 0);
    ck_assert_int_eq(chi_file_check(path, problem()), CHATHUB_EIO);
    ck_assert_msg(strstr(said, "is cut"), "%s", said);
}
END_TEST

/* ------------------------------------------------------------------------ whole, and left alone */

START_TEST(a_sound_file_is_left_alone_however_it_was_left)
{
    leave_log_in_wal(20, 20);
    assert_sound();
    lose_index();
    assert_sound();
    sqlite3 *db = open_log(CHI_FILE_READ);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM entries"), 40);
    ck_assert_int_eq(chi_file_run(db, "DELETE FROM entries"), SQLITE_READONLY);
    chi_file_close(db);
    db = open_log(CHI_FILE_WRITE_FULL);
    assert_sound(); /* beside one that has it open */
    checkpoint(db);
    assert_sound();
    chi_file_close(db);
    lose_companions();
    assert_sound();
}
END_TEST

/* In a process of its own, where check's macros do not work. */
static bool post_until(int end)
{
    static const char sql[] = "INSERT INTO entries(room,prev,bytes,time,type,content) "
                              "VALUES(1,0,300,1,1,replace(hex(zeroblob(500)),'0','x'));"
                              "UPDATE rooms SET top=top+1; UPDATE rooms SET entries=entries+1";
    char byte;
    sqlite3 *db;
    bool good = chi_file_open(path, CHI_FILE_WRITE_NORMAL, 10000, &db, problem()) == 0;
    fcntl(end, F_SETFL, O_NONBLOCK);
    for (int i = 1; good && read(end, &byte, 1) < 0; i++) {
        good = chi_file_run(db, sql) == SQLITE_OK;
        sqlite3_wal_checkpoint_v2(
            db, NULL, i % 8 ? SQLITE_CHECKPOINT_PASSIVE : SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    }
    chi_file_close(db);
    return good;
}

START_TEST(a_file_is_sound_while_a_hub_writes_to_it)
{
    int end[2], status;
    leave_log(300);
    ck_assert_int_eq(pipe(end), 0);
    pid_t child = fork();
    if (child == 0) {
        close(end[1]);
        _exit(!post_until(end[0]));
    }
    close(end[0]);
    int64_t began = size_of(path);
    bool ended = false;
    for (int i = 0; !ended && (i < 60 || size_of(path) == began); i++) {
        ck_assert_msg(chi_file_check(path, problem()) == 0, "%s", said);
        ended = waitpid(child, &status, WNOHANG) != 0;
    }
    ck_assert(!ended);
    close(end[1]);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

/* A commit under way: all of it is in a WAL that was started anew, and its sync takes long. */
static int sync_begun[2], sync_ends[2], syncs_to_go;

static void sync_slowly(void)
{
    char byte;
    if (--syncs_to_go == 0 && write(sync_begun[1], "x", 1) == 1 && read(sync_ends[0], &byte, 1) < 0)
        _exit(1);
}

static void end_sync(void)
{
    on_nap = NULL;
    close(sync_ends[1]);
}

static bool commit_slowly(void)
{
    static const char sql[] = "INSERT INTO entries(room,prev,bytes,time,type,content) "
                              "VALUES(1,0,300,1,1,replace(hex(zeroblob(5000)),'0','x'))";
    sqlite3 *db;
    bool good = chi_file_open(path, CHI_FILE_WRITE_FULL, 0, &db, problem()) == 0 &&
                chi_file_run(db, sql) == SQLITE_OK &&
                sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL) == 0;
    on_sync = sync_slowly;
    syncs_to_go = 2; /* the WAL's head comes first */
    good = good && chi_file_run(db, sql) == SQLITE_OK;
    chi_file_close(db);
    return good && syncs_to_go == 0;
}

START_TEST(a_file_is_sound_while_a_hub_commits_to_it)
{
    char byte;
    int status;
    leave_log(3);
    ck_assert(pipe(sync_begun) == 0 && pipe(sync_ends) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(sync_ends[1]);
        _exit(!commit_slowly());
    }
    close(sync_begun[1]);
    ck_assert_int_eq((int)read(sync_begun[0], &byte, 1), 1);
    on_nap = end_sync;
    ck_assert_msg(chi_file_check(path, problem()) == 0, "%s", said);
    ck_assert(on_nap == NULL);
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    close(sync_begun[0]);
    close(sync_ends[0]);
}
END_TEST

static void refusals(TCase *tcase)
{
    tcase_add_test(tcase, what_is_no_file_is_refused);
    tcase_add_test(tcase, no_file_is_nothing_to_refuse_and_is_not_made_to_be_read);
    tcase_add_test(tcase, what_is_no_database_is_refused);
    tcase_add_test(tcase, the_database_of_another_program_is_refused);
    tcase_add_test(tcase, a_newer_file_is_refused_with_both_versions);
    tcase_add_test(tcase, a_cut_file_is_refused);
    tcase_add_test(tcase, a_cut_file_is_refused_though_its_wal_has_something);
    tcase_add_test(tcase, what_a_wal_had_in_an_earlier_round_is_not_there);
    tcase_add_test(tcase, a_checkpoint_that_was_cut_off_is_no_damage);
    tcase_add_test(tcase, a_restored_file_is_refused_with_the_wal_of_another_state);
    tcase_add_test(tcase, a_damaged_page_is_found_wherever_it_is);
    tcase_add_test(tcase, a_damaged_wal_is_refused);
    tcase_add_test(tcase, a_wal_that_ends_in_mid_frame_holds_what_is_whole);
    tcase_add_test(tcase, a_commit_that_a_loss_of_power_tore_was_none);
    tcase_add_test(tcase, a_wal_may_have_its_bytes_in_either_order);
    tcase_add_test(tcase, a_log_that_lacks_a_table_or_its_secret_is_damaged);
    tcase_add_test(tcase, a_large_file_is_checked_at_its_ends);
}

static void sound(TCase *tcase)
{
    tcase_add_test(tcase, a_sound_file_is_left_alone_however_it_was_left);
    tcase_add_test(tcase, a_file_is_sound_while_a_hub_writes_to_it);
    tcase_add_test(tcase, a_file_is_sound_while_a_hub_commits_to_it);
}

int main(void)
{
    static const struct file_tests groups[] = {
        {"refusals", refusals},
        {"sound", sound},
        {NULL, NULL},
    };
    return run_file_tests("sqlite_file_check", groups);
}
