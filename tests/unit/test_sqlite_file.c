/* The file of an SQLite log: how it is made, locked, opened, and brought to a version; its epochs.
 */
#include "file_world.h"

#include "log/sqlite/schema.h"

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

/* ---------------------------------------------------------------------------------------- locks */

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

/* ------------------------------------------------------------------------------ its connections */

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

/* --------------------------------------------------------------------------------------- epochs */

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

/* ------------------------------------------------------------------------------------- versions */

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

/* -------------------------------------------------------------------------------------- trouble */

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

static void connections(TCase *tcase)
{
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
    static const struct file_tests groups[] = {
        {"making", making}, {"locks", locks},       {"connections", connections},
        {"epochs", epochs}, {"versions", versions}, {"trouble", trouble},
        {NULL, NULL},
    };
    return run_file_tests("sqlite_file", groups);
}
