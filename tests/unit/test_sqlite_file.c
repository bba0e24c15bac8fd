/* The file of an SQLite log: what it is made as, who is refused it, and what is left alone. */
#include "file_world.h"

#include "log/sqlite/schema.h"

/* ------------------------------------------------------------------------------------------- tests */

START_TEST(a_new_file_and_its_folders_are_for_its_owner_alone)
{
    char middle[128];
    int lock;
    mode_t before = umask(0);
    snprintf(middle, sizeof middle, "%s/a/b", folder);
    snprintf(path, sizeof path, "%s/a/b/log.db", folder);
    ck_assert_msg(chi_file_lock(path, &lock, problem()) == 0, "%s", said);
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    post(db, 1);
    umask(before);
    ck_assert_int_eq(mode_of(middle), 0700);
    middle[strlen(middle) - 2] = '\0';
    ck_assert_int_eq(mode_of(middle), 0700);
    static const char *const suffixes[] = {"", "-lock", "-wal", "-shm"};
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++)
        ck_assert_int_eq(mode_of(beside(suffixes[i])), 0600);
    static const char *const others[] = {"-new", "-new-wal", "-new-shm", "-journal"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        ck_assert_int_eq(size_of(beside(others[i])), -1);
    chi_file_close(db);
    close(lock);
}
END_TEST

START_TEST(a_new_file_is_a_log_of_this_version)
{
    uint8_t first[CHI_FILE_SECRET], second[CHI_FILE_SECRET], none[CHI_FILE_SECRET] = {0};
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    ck_assert_int_eq(number(db, "PRAGMA application_id"), CHI_FILE_APPLICATION);
    ck_assert_int_eq(number(db, "PRAGMA user_version"), CHI_FILE_VERSION);
    ck_assert_int_eq(number(db, "PRAGMA synchronous"), 2);
    ck_assert_int_eq(number(db, "PRAGMA wal_autocheckpoint"), 0);
    ck_assert_int_eq(number(db, "PRAGMA cache_size"), -8192);
    ck_assert_int_eq(chi_file_secret(db, first), SQLITE_OK);
    ck_assert_int_ne(memcmp(first, none, sizeof first), 0);
    chi_file_close(db);
    db = open_log(CHI_FILE_WRITE_NORMAL);
    ck_assert_int_eq(number(db, "PRAGMA synchronous"), 1);
    ck_assert_int_eq(chi_file_secret(db, second), SQLITE_OK);
    ck_assert_int_eq(memcmp(first, second, sizeof first), 0);
    chi_file_close(db);
    assert_sound();
}
END_TEST

START_TEST(the_folder_is_synced_once_the_new_file_has_its_name)
{
    synced_with_file = 0;
    chi_file_close(open_log(CHI_FILE_WRITE_FULL));
    ck_assert_int_gt(synced_with_file, 0);
}
END_TEST

START_TEST(a_file_that_cannot_be_made_whole_is_not_made)
{
    sqlite3 *db;
    uint64_t before = digest();
    disk_is_full = true;
    int error = chi_file_open(path, CHI_FILE_WRITE_FULL, 0, &db, problem());
    disk_is_full = false;
    ck_assert_int_eq(error, CHATHUB_EIO);
    ck_assert_msg(strstr(said, "the disk is full; free some space"), "%s", said);
    ck_assert(digest() == before);
    syncs_fail = true;
    error = chi_file_open(path, CHI_FILE_WRITE_FULL, 0, &db, problem());
    syncs_fail = false;
    ck_assert_int_eq(error, CHATHUB_EIO);
    ck_assert_msg(strstr(said, "a sync to the disk failed"), "%s", said);
    ck_assert(digest() == before);
}
END_TEST

START_TEST(what_a_crash_left_of_a_new_file_is_thrown_away)
{
    write_junk(beside("-new"), 0, 5000);
    write_junk(beside("-new-wal"), 0, 5000);
    write_junk(beside("-new-journal"), 0, 5000);
    chi_file_close(open_log(CHI_FILE_WRITE_FULL));
    ck_assert_int_eq(size_of(beside("-new")), -1);
    ck_assert_int_eq(size_of(beside("-new-wal")), -1);
    ck_assert_int_eq(size_of(beside("-new-journal")), -1);
    assert_sound();
}
END_TEST

START_TEST(a_wal_without_its_file_is_not_given_to_a_new_one)
{
    leave_log_in_wal(3, 3);
    ck_assert_int_eq(unlink(path), 0);
    assert_not_opened("is missing, but a part of it is there");
    ck_assert_int_eq(unlink(beside("-wal")), 0);
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM entries"), 0);
    chi_file_close(db);
}
END_TEST

START_TEST(odd_names_are_names_like_others)
{
    static const char *const names[] = {"a b?c#d%41&mode=memory.db", ":memory:", "file:x.db",
                                        "\xc3\xbc'\".db", "-x"};
    char cwd[512];
    ck_assert_ptr_nonnull(getcwd(cwd, sizeof cwd));
    ck_assert_int_eq(chdir(folder), 0);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        int lock;
        snprintf(path, sizeof path, "%s", names[i]);
        ck_assert_msg(chi_file_lock(path, &lock, problem()) == 0, "%s", said);
        leave_log(3);
        assert_sound();
        lose_companions();
        assert_sound();
        ck_assert_int_gt(size_of(names[i]), 4096);
        close(lock);
    }
    ck_assert_int_eq(chdir(cwd), 0);
}
END_TEST

START_TEST(a_folder_may_be_a_symbolic_link)
{
    char link[128];
    leave_log(3);
    snprintf(link, sizeof link, "%s/link", folder);
    ck_assert_int_eq(symlink(folder, link), 0);
    int lock, second;
    ck_assert_int_eq(chi_file_lock(path, &lock, problem()), 0);
    snprintf(path, sizeof path, "%s/link/log.db", folder);
    ck_assert_int_eq(chi_file_check(path, problem()), 0);
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM entries"), 3);
    chi_file_close(db);
    ck_assert_int_eq(chi_file_lock(path, &second, problem()), CHATHUB_EINUSE);
    close(lock);
}
END_TEST

/* -------------------------------------------------------------------------------------------- locks */

START_TEST(two_hubs_of_a_process_do_not_get_one_file)
{
    int lock, second;
    ck_assert_int_eq(chi_file_lock(path, &lock, problem()), 0);
    ck_assert_int_eq(fcntl(lock, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
    ck_assert_int_eq(chi_file_lock(path, &second, problem()), CHATHUB_EINUSE);
    ck_assert_int_eq(second, -1);
    ck_assert_msg(strstr(said, "in use by another hub of this process; stop it"), "%s", said);
    close(lock);
    ck_assert_int_eq(chi_file_lock(path, &lock, problem()), 0);
    close(lock);
}
END_TEST

START_TEST(a_file_in_use_says_by_which_process_and_is_free_when_that_ends)
{
    int ready[2], end[2], lock;
    char byte, text[64];
    ck_assert(pipe(ready) == 0 && pipe(end) == 0);
    pid_t child = fork();
    if (child == 0) {
        close(end[1]);
        bool held = chi_file_lock(path, &lock, problem()) == 0;
        _exit(!held || write(ready[1], "x", 1) != 1 || read(end[0], &byte, 1) != 0);
    }
    close(ready[1]);
    close(end[0]);
    ck_assert_int_eq((int)read(ready[0], &byte, 1), 1);
    ck_assert_int_eq(chi_file_lock(path, &lock, problem()), CHATHUB_EINUSE);
    snprintf(text, sizeof text, "is in use by another hub (process %d); stop it, or name", child);
    ck_assert_msg(strstr(said, text), "%s", said);
    close(end[1]);
    close(ready[0]);
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
    ck_assert_int_eq(chi_file_lock(path, &lock, problem()), 0);
    close(lock);
}
END_TEST

START_TEST(a_lock_that_root_takes_stays_the_owners)
{
    int lock;
    leave_log(1);
    give_away(path, 0600);
    ck_assert_int_eq(chi_file_lock(path, &lock, problem()), 0);
    close(lock);
    give_away(folder, 0700);
    struct outcome out = as_nobody(takes_lock);
    ck_assert_msg(out.error == 0, "%s", out.text);
}
END_TEST

START_TEST(a_lock_that_cannot_be_taken_gives_the_systems_reason)
{
    int lock;
    write_at(path, 0, "x", 1);
    snprintf(path, sizeof path, "%s/log.db/more/log.db", folder);
    ck_assert_int_eq(chi_file_lock(path, &lock, problem()), CHATHUB_EIO);
    ck_assert_msg(strstr(said, "Not a directory") && strstr(said, path), "%s", said);
    snprintf(path, sizeof path, "%s/closed/log.db", folder);
    give_away(folder, 0500);
    struct outcome out = as_nobody(takes_lock);
    ck_assert_int_eq(out.error, CHATHUB_EIO);
    ck_assert_msg(strstr(out.text, "/closed: Permission denied; the hub's user"), "%s", out.text);
    snprintf(path, sizeof path, "%s/log.db", folder);
    out = as_nobody(takes_lock);
    ck_assert_msg(strstr(out.text, "/log.db-lock: Permission denied"), "%s", out.text);
    give_away(folder, 0700);
}
END_TEST

/* ------------------------------------------------------------------------------------------ refusals */

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

/* -------------------------------------------------------------------------------- whole, and left alone */

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

START_TEST(nobody_checkpoints_at_close)
{
    leave_log_in_wal(3, 3);
    int64_t wal = size_of(beside("-wal"));
    sqlite3 *writer = open_log(CHI_FILE_WRITE_FULL), *reader = open_log(CHI_FILE_READ);
    post(writer, 1);
    ck_assert_int_eq(number(reader, "SELECT count(*) FROM entries"), 7);
    chi_file_close(writer);
    uint64_t before = digest();
    chi_file_close(reader);
    ck_assert(digest() == before);
    ck_assert_int_gt(size_of(beside("-wal")), wal);
}
END_TEST

START_TEST(a_read_only_place_can_be_read)
{
    leave_log_in_wal(3, 3);
    give_away(path, 0600);
    give_away(beside("-wal"), 0600);
    give_away(beside("-shm"), 0600);
    give_away(folder, 0500);
    struct outcome out = as_nobody(checks);
    ck_assert_msg(out.error == 0, "%s", out.text);
    out = as_nobody(opens_to_read);
    ck_assert_msg(out.error == 0 && out.value == 6, "%s", out.text);
    give_away(path, 0400);
    give_away(beside("-wal"), 0400);
    give_away(beside("-shm"), 0400);
    out = as_nobody(checks);
    ck_assert_msg(out.error == 0, "%s", out.text);
    out = as_nobody(opens_to_read);
    ck_assert_msg(out.error == 0 && out.value == 6, "%s", out.text);
    out = as_nobody(opens_to_write);
    ck_assert_int_eq(out.error, CHATHUB_EIO);
    ck_assert_msg(strstr(out.text, "read-only; the hub's user has to"), "%s", out.text);
    give_away(folder, 0700);
    lose_index();
    give_away(folder, 0500);
    out = as_nobody(checks);
    ck_assert_msg(out.error == 0, "%s", out.text);
    out = as_nobody(opens_to_read);
    ck_assert_msg(out.error == 0 && out.value == 6, "%s", out.text);
    give_away(folder, 0700);
    ck_assert_int_eq(unlink(beside("-wal")), 0);
    give_away(folder, 0500);
    out = as_nobody(opens_to_read);
    ck_assert_msg(out.error == 0 && out.value == 3, "%s", out.text);
    give_away(folder, 0700);
}
END_TEST

START_TEST(a_file_that_may_not_be_read_gives_the_systems_reason)
{
    leave_log(3);
    give_away(folder, 0700);
    give_away(path, 0000);
    struct outcome out = as_nobody(checks);
    ck_assert_int_eq(out.error, CHATHUB_EIO);
    ck_assert_msg(strstr(out.text, path) && strstr(out.text, "Permission denied"), "%s", out.text);
    out = as_nobody(opens_to_write);
    ck_assert_msg(strstr(out.text, path) && strstr(out.text, "Permission denied"), "%s", out.text);
    give_away(path, 0600);
    give_away(folder, 0600);
    out = as_nobody(checks);
    ck_assert_msg(strstr(out.text, path) && strstr(out.text, "Permission denied"), "%s", out.text);
    give_away(folder, 0700);
}
END_TEST

START_TEST(a_file_that_another_program_has_locked_says_so)
{
    sqlite3 *db, *other;
    leave_log(3);
    lose_companions();
    other = raw();
    run(other, "PRAGMA locking_mode=EXCLUSIVE; BEGIN IMMEDIATE; DELETE FROM epochs; COMMIT");
    ck_assert_int_eq(chi_file_open(path, CHI_FILE_WRITE_FULL, 0, &db, problem()), CHATHUB_EINUSE);
    ck_assert_msg(strstr(said, "another program has locked the file; end that program"), "%s",
                  said);
    ck_assert_ptr_null(db);
    sqlite3_close(other);
}
END_TEST

START_TEST(a_file_without_memory_is_refused_and_left_as_it_is)
{
    bool whole = false;
    leave_log_in_wal(20, 3);
    uint64_t before = digest();
    for (long n = 0; !whole && n < 100000; n += n < 400 ? 1 : 37) {
        until = n;
        int error = chi_file_check(path, problem());
        whole = until >= 0;
        until = -1;
        ck_assert_msg(!error || error == CHATHUB_ENOMEM, "%s", said);
        ck_assert(!whole || !error);
    }
    ck_assert(whole && digest() == before);
}
END_TEST

START_TEST(a_file_is_not_made_and_opened_without_memory)
{
    bool whole = false;
    for (long n = 0; !whole && n < 100000; n += n < 400 ? 1 : 37) {
        sqlite3 *db = NULL;
        until = n;
        int error = chi_file_open(path, CHI_FILE_WRITE_FULL, 0, &db, problem());
        whole = until >= 0;
        until = -1;
        ck_assert_msg(!error == (db != NULL) && (!error || error == CHATHUB_ENOMEM), "%s", said);
        chi_file_close(db);
        ck_assert_int_eq(size_of(beside("-new")), -1);
        assert_sound();
        for (const char *const *at = (const char *const[]){"", "-wal", "-shm", NULL}; *at; at++)
            unlink(beside(*at));
    }
    ck_assert(whole);
}
END_TEST

/* ------------------------------------------------------------------------------------------- epochs */

static uint64_t begin_epoch(sqlite3 *db, const char *name, struct chi_epoch **epochs,
                            uint32_t *count)
{
    uint64_t last;
    ck_assert_int_eq(chi_file_epoch(db, name, epochs, count, &last), SQLITE_OK);
    ck_assert_uint_gt(*count, 0);
    ck_assert_int_eq(memcmp((*epochs)[*count - 1].name, name, CHI_EPOCH_LEN), 0);
    ck_assert_uint_eq((*epochs)[*count - 1].first, last + 1);
    return last;
}

START_TEST(each_opening_has_its_epoch_and_its_first_position)
{
    struct chi_epoch *epochs;
    uint32_t count;
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    ck_assert_uint_eq(begin_epoch(db, "epoch-number-one", &epochs, &count), 0);
    ck_assert_uint_eq(count, 1);
    free(epochs);
    post(db, 10);
    chi_file_close(db);
    db = open_log(CHI_FILE_WRITE_FULL);
    ck_assert_uint_eq(begin_epoch(db, "epoch-number-two", &epochs, &count), 10);
    free(epochs);
    ck_assert_uint_eq(begin_epoch(db, "epoch-number-3..", &epochs, &count), 10);
    ck_assert_uint_eq(count, 3);
    static const uint64_t firsts[] = {1, 11, 11};
    for (uint32_t i = 0; i < 3; i++)
        ck_assert_uint_eq(epochs[i].first, firsts[i]);
    ck_assert_int_eq(memcmp(epochs[0].name, "epoch-number-one", CHI_EPOCH_LEN), 0);
    free(epochs);
    chi_file_close(db);
    assert_sound();
}
END_TEST

START_TEST(the_newest_position_is_remembered_though_its_entry_is_gone)
{
    struct chi_epoch *epochs;
    uint32_t count;
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    post(db, 10);
    run(db, "DELETE FROM entries");
    ck_assert_uint_eq(begin_epoch(db, "epoch-number-one", &epochs, &count), 10);
    free(epochs);
    run(db, "DELETE FROM rooms");
    ck_assert_uint_eq(begin_epoch(db, "epoch-number-two", &epochs, &count), 10);
    free(epochs);
    run(db, "INSERT INTO entries VALUES(12,1,0,1,1,1,'','','','','')");
    ck_assert_uint_eq(begin_epoch(db, "epoch-number-3..", &epochs, &count), 12);
    free(epochs);
    chi_file_close(db);
}
END_TEST

START_TEST(a_copy_restored_from_earlier_knows_only_its_own_epochs)
{
    struct chi_epoch *epochs;
    uint32_t count;
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    begin_epoch(db, "epoch-number-one", &epochs, &count);
    free(epochs);
    post(db, 10);
    checkpoint(db);
    chi_file_close(db);
    copy(path, beside("-copy"));
    db = open_log(CHI_FILE_WRITE_FULL);
    begin_epoch(db, "epoch-number-two", &epochs, &count);
    free(epochs);
    post(db, 10);
    checkpoint(db);
    chi_file_close(db);
    copy(beside("-copy"), path);
    assert_sound();
    db = open_log(CHI_FILE_WRITE_FULL);
    ck_assert_uint_eq(begin_epoch(db, "epoch-number-3..", &epochs, &count), 10);
    ck_assert_uint_eq(count, 2);
    ck_assert_int_eq(memcmp(epochs[0].name, "epoch-number-one", CHI_EPOCH_LEN), 0);
    free(epochs);
    chi_file_close(db);
}
END_TEST

START_TEST(the_oldest_epochs_are_forgotten)
{
    struct chi_epoch *epochs;
    uint32_t count;
    char sql[300];
    sqlite3 *db = open_log(CHI_FILE_WRITE_NORMAL);
    snprintf(sql, sizeof sql,
             "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<%u) "
             "INSERT INTO epochs(name,first) SELECT printf('%%016d',i),i FROM n",
             CHI_FILE_EPOCHS);
    run(db, sql);
    begin_epoch(db, "epoch-number-one", &epochs, &count);
    ck_assert_uint_eq(count, CHI_FILE_EPOCHS);
    ck_assert_int_eq(memcmp(epochs[0].name, "0000000000000002", CHI_EPOCH_LEN), 0);
    free(epochs);
    chi_file_close(db);
}
END_TEST

START_TEST(epochs_that_make_no_sense_are_damage_and_stay)
{
    static const char *const damages[] = {
        "INSERT INTO epochs(name,first) VALUES('short',1)",
        "INSERT INTO epochs(name,first) VALUES('epoch-number-one',0)",
        "INSERT INTO epochs(name,first) VALUES('epoch-number-one',9),('epoch-number-two',3)",
        "INSERT INTO epochs(name,first) VALUES('epoch-number-one',9223372036854775807)",
        "INSERT INTO rooms VALUES(1,'x',9007199254740991,0,0,0)",
    };
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        struct chi_epoch *epochs;
        uint32_t count;
        uint64_t last;
        sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
        run(db, "DELETE FROM epochs; DELETE FROM rooms");
        run(db, damages[i]);
        int64_t rows = number(db, "SELECT count(*) FROM epochs");
        ck_assert_int_eq(chi_file_epoch(db, "epoch-number-3..", &epochs, &count, &last),
                         SQLITE_CORRUPT);
        ck_assert(epochs == NULL && count == 0);
        ck_assert(sqlite3_get_autocommit(db));
        ck_assert_int_eq(number(db, "SELECT count(*) FROM epochs"), rows);
        chi_file_close(db);
    }
}
END_TEST

/* ------------------------------------------------------------------------------------------ versions */

START_TEST(a_file_of_version_0_is_brought_to_this_one)
{
    char sql[64];
    uint8_t secret[CHI_FILE_SECRET];
    snprintf(sql, sizeof sql, "PRAGMA application_id=%d", CHI_FILE_APPLICATION);
    sqlite3 *db = raw();
    run(db, sql);
    sqlite3_close(db);
    assert_sound();
    db = open_log(CHI_FILE_WRITE_FULL);
    ck_assert_int_eq(number(db, "PRAGMA user_version"), CHI_FILE_VERSION);
    ck_assert_int_eq(chi_file_secret(db, secret), SQLITE_OK);
    post(db, 1);
    chi_file_close(db);
    assert_sound();
}
END_TEST

START_TEST(a_file_that_cannot_be_brought_to_this_version_stays_as_it_was)
{
    char sql[100];
    sqlite3 *db = raw(), *none;
    snprintf(sql, sizeof sql, "PRAGMA application_id=%d; CREATE TABLE epochs(x)",
             CHI_FILE_APPLICATION);
    run(db, sql);
    sqlite3_close(db);
    ck_assert_int_eq(chi_file_open(path, CHI_FILE_WRITE_FULL, 0, &none, problem()), CHATHUB_EIO);
    ck_assert_msg(strstr(said, "table epochs already exists"), "%s", said);
    db = raw();
    ck_assert_int_eq(number(db, "PRAGMA user_version"), 0);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM sqlite_schema"), 1);
    sqlite3_close(db);
}
END_TEST

START_TEST(only_the_steps_that_are_missing_are_taken_and_all_or_none)
{
    static const struct chi_schema_step steps[] = {
        {{"CREATE TABLE a(x); INSERT INTO a VALUES(1)", "CREATE TABLE b(x)"}},
        {{"UPDATE a SET x=x*10"}},
        {{"INSERT INTO b SELECT x+1 FROM a"}},
        {{"INSERT INTO b VALUES(0)", "INSERT INTO nowhere VALUES(1)"}},
    };
    sqlite3 *db = raw();
    ck_assert_int_eq(chi_file_bring(db, steps, 1), SQLITE_OK);
    ck_assert_int_eq(number(db, "PRAGMA user_version"), 1);
    run(db, "BEGIN");
    ck_assert_int_eq(chi_file_bring(db, steps, 3), SQLITE_OK);
    run(db, "COMMIT");
    ck_assert_int_eq(number(db, "PRAGMA user_version"), 3);
    ck_assert_int_eq(number(db, "SELECT sum(x) FROM b"), 11);
    ck_assert_int_eq(chi_file_bring(db, steps, 3), SQLITE_OK);
    ck_assert_int_eq(number(db, "SELECT sum(x) FROM b"), 11);
    run(db, "BEGIN");
    ck_assert_int_eq(chi_file_bring(db, steps, 4), SQLITE_ERROR);
    run(db, "ROLLBACK");
    ck_assert_int_eq(number(db, "PRAGMA user_version"), 3);
    ck_assert_int_eq(number(db, "SELECT count(*) FROM b"), 1);
    sqlite3_close(db);
}
END_TEST

/* ------------------------------------------------------------------------------------------- trouble */

START_TEST(each_code_means_one_trouble_and_says_why)
{
    static const struct {
        int code;
        enum chi_file_trouble trouble;
        const char *why;
    } cases[] = {
        {SQLITE_BUSY, CHI_TROUBLE_BUSY, "locked"},
        {SQLITE_BUSY_SNAPSHOT, CHI_TROUBLE_BUSY, "locked"},
        {SQLITE_FULL, CHI_TROUBLE_FULL, "the disk is full"},
        {SQLITE_NOMEM, CHI_TROUBLE_MEMORY, "no memory"},
        {SQLITE_IOERR_NOMEM, CHI_TROUBLE_MEMORY, "no memory"},
        {SQLITE_IOERR_FSYNC, CHI_TROUBLE_SYNC, "sync"},
        {SQLITE_IOERR_DIR_FSYNC, CHI_TROUBLE_SYNC, "sync"},
        {SQLITE_IOERR_WRITE, CHI_TROUBLE_OTHER, "cannot be written"},
        {SQLITE_IOERR_READ, CHI_TROUBLE_OTHER, "cannot be read"},
        {SQLITE_IOERR_SHMSIZE, CHI_TROUBLE_OTHER, "disk full"},
        {SQLITE_IOERR_SHMMAP, CHI_TROUBLE_OTHER, "input/output"},
        {SQLITE_READONLY, CHI_TROUBLE_OTHER, "read-only"},
        {SQLITE_READONLY_DBMOVED, CHI_TROUBLE_OTHER, "moved or removed"},
        {SQLITE_PERM, CHI_TROUBLE_OTHER, "permit"},
        {SQLITE_CANTOPEN_FULLPATH, CHI_TROUBLE_OTHER, "opened"},
        {SQLITE_CORRUPT_INDEX, CHI_TROUBLE_OTHER, "damaged"},
        {SQLITE_NOTADB, CHI_TROUBLE_OTHER, "no SQLite database"},
        {SQLITE_ERROR, CHI_TROUBLE_OTHER, "SQLite"},
        {123456, CHI_TROUBLE_OTHER, "SQLite"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = NULL;
        ck_assert_int_eq(chi_file_trouble(cases[i].code, &why), cases[i].trouble);
        ck_assert_msg(strstr(why, cases[i].why), "%d: %s", cases[i].code, why);
    }
}
END_TEST

START_TEST(a_full_disk_and_a_failed_sync_are_told_apart)
{
    static const char insert[] = "INSERT INTO rooms(name,top,entries,bytes,written) "
                                 "VALUES('x',0,0,0,0)";
    const char *why;
    leave_log(3);
    sqlite3 *db = open_log(CHI_FILE_WRITE_FULL);
    disk_is_full = true;
    int code = chi_file_run(db, insert);
    disk_is_full = false;
    ck_assert_int_eq(chi_file_trouble(sqlite3_extended_errcode(db), &why), CHI_TROUBLE_FULL);
    ck_assert_int_eq(code, SQLITE_FULL);
    syncs_fail = true;
    code = chi_file_run(db, insert);
    syncs_fail = false;
    ck_assert_int_eq(chi_file_trouble(code, &why), CHI_TROUBLE_SYNC);
    chi_file_close(db);
}
END_TEST

START_TEST(a_problem_may_be_told_to_nobody)
{
    int lock;
    sqlite3 *db;
    struct chi_problem_text none = {NULL, 0};
    write_at(path, 0, "hello", 5);
    ck_assert_int_eq(chi_file_check(path, none), CHATHUB_EIO);
    ck_assert_int_eq(chi_file_open(path, CHI_FILE_READ, 0, &db, none), CHATHUB_EIO);
    ck_assert_int_eq(chi_file_lock(folder, &lock, none), CHATHUB_EIO);
    char little[8];
    ck_assert_int_eq(chi_file_check(path, (struct chi_problem_text){little, sizeof little}),
                     CHATHUB_EIO);
    ck_assert_str_eq(little, "log sql");
    chi_file_close(NULL);
}
END_TEST

static void making(TCase *tcase)
{
    tcase_add_test(tcase, a_new_file_and_its_folders_are_for_its_owner_alone);
    tcase_add_test(tcase, a_new_file_is_a_log_of_this_version);
    tcase_add_test(tcase, the_folder_is_synced_once_the_new_file_has_its_name);
    tcase_add_test(tcase, a_file_that_cannot_be_made_whole_is_not_made);
    tcase_add_test(tcase, what_a_crash_left_of_a_new_file_is_thrown_away);
    tcase_add_test(tcase, a_wal_without_its_file_is_not_given_to_a_new_one);
    tcase_add_test(tcase, odd_names_are_names_like_others);
    tcase_add_test(tcase, a_folder_may_be_a_symbolic_link);
}

static void locks(TCase *tcase)
{
    tcase_add_test(tcase, two_hubs_of_a_process_do_not_get_one_file);
    tcase_add_test(tcase, a_file_in_use_says_by_which_process_and_is_free_when_that_ends);
    tcase_add_test(tcase, a_lock_that_root_takes_stays_the_owners);
    tcase_add_test(tcase, a_lock_that_cannot_be_taken_gives_the_systems_reason);
}

static void refusals(TCase *tcase)
{
    tcase_add_test(tcase, what_is_no_file_is_refused);
    tcase_add_test(tcase, no_file_is_nothing_to_refuse_and_is_not_made_to_be_read);
    tcase_add_test(tcase, what_is_no_database_is_refused);
    tcase_add_test(tcase, the_database_of_another_program_is_refused);
    tcase_add_test(tcase, a_newer_file_is_refused_with_both_versions);
    tcase_add_test(tcase, a_cut_file_is_refused);
    tcase_add_test(tcase, a_cut_file_is_refused_though_its_wal_has_something);
    tcase_add_test(tcase, a_checkpoint_that_was_cut_off_is_no_damage);
    tcase_add_test(tcase, a_restored_file_is_refused_with_the_wal_of_another_state);
    tcase_add_test(tcase, a_damaged_page_is_found_wherever_it_is);
    tcase_add_test(tcase, a_damaged_wal_is_refused);
    tcase_add_test(tcase, a_wal_that_ends_in_mid_frame_holds_what_is_whole);
    tcase_add_test(tcase, a_log_that_lacks_a_table_or_its_secret_is_damaged);
    tcase_add_test(tcase, a_large_file_is_checked_at_its_ends);
}

static void left_alone(TCase *tcase)
{
    tcase_add_test(tcase, a_sound_file_is_left_alone_however_it_was_left);
    tcase_add_test(tcase, a_file_is_sound_while_a_hub_writes_to_it);
    tcase_add_test(tcase, nobody_checkpoints_at_close);
    tcase_add_test(tcase, a_read_only_place_can_be_read);
    tcase_add_test(tcase, a_file_that_may_not_be_read_gives_the_systems_reason);
    tcase_add_test(tcase, a_file_that_another_program_has_locked_says_so);
    tcase_add_test(tcase, a_file_without_memory_is_refused_and_left_as_it_is);
    tcase_add_test(tcase, a_file_is_not_made_and_opened_without_memory);
}

static void epochs(TCase *tcase)
{
    tcase_add_test(tcase, each_opening_has_its_epoch_and_its_first_position);
    tcase_add_test(tcase, the_newest_position_is_remembered_though_its_entry_is_gone);
    tcase_add_test(tcase, a_copy_restored_from_earlier_knows_only_its_own_epochs);
    tcase_add_test(tcase, the_oldest_epochs_are_forgotten);
    tcase_add_test(tcase, epochs_that_make_no_sense_are_damage_and_stay);
}

static void versions(TCase *tcase)
{
    tcase_add_test(tcase, a_file_of_version_0_is_brought_to_this_one);
    tcase_add_test(tcase, a_file_that_cannot_be_brought_to_this_version_stays_as_it_was);
    tcase_add_test(tcase, only_the_steps_that_are_missing_are_taken_and_all_or_none);
}

static void trouble(TCase *tcase)
{
    tcase_add_test(tcase, each_code_means_one_trouble_and_says_why);
    tcase_add_test(tcase, a_full_disk_and_a_failed_sync_are_told_apart);
    tcase_add_test(tcase, a_problem_may_be_told_to_nobody);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*fill)(TCase *tcase);
    } groups[] = {
        {"making", making},         {"locks", locks},   {"refusals", refusals},
        {"left alone", left_alone}, {"epochs", epochs}, {"versions", versions},
        {"trouble", trouble},
    };
    make_memory_scarce();
    Suite *suite = suite_create("sqlite_file");
    for (size_t i = 0; i < sizeof groups / sizeof *groups; i++) {
        TCase *tcase = tcase_create(groups[i].name);
        tcase_add_checked_fixture(tcase, setup, teardown);
        groups[i].fill(tcase);
        suite_add_tcase(suite, tcase);
    }
    return unit_run(suite);
}
