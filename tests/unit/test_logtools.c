/* The tools for logs: what an import takes and what it refuses, what an export and a backup give
 * back, and what a check finds. */
#include "unit.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "chathub.h"

static char folder[64]; /* of this test alone */
static char path[128];  /* of the log in it */
static char copy[128];  /* of another one */
static struct chathub *hub;

static int remove_one(const char *name, const struct stat *is, int flag, struct FTW *walk)
{
    (void)is, (void)flag, (void)walk;
    return remove(name);
}

static void use(const char *file)
{
    char value[160];
    snprintf(value, sizeof(value), "sqlite:%s", file);
    ck_assert_int_eq(chathub_set(hub, "log", value), 0);
}

static void setup(void)
{
    snprintf(folder, sizeof(folder), "/tmp/test_logtools.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/chat.db", folder);
    snprintf(copy, sizeof(copy), "%s/copy.db", folder);
    ck_assert_int_eq(chathub_new(&hub), 0);
    ck_assert_int_eq(chathub_set(hub, "log-free", "0"), 0);
    use(path);
}

static void teardown(void)
{
    chathub_free(hub);
    ck_assert_int_eq(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

#define CALL(call) ck_assert_msg((call) == 0, "%s: %s", #call, chathub_problem(hub))

static void says(const char *text)
{
    ck_assert_msg(strstr(chathub_problem(hub), text) != NULL, "\"%s\" lacks \"%s\"",
                  chathub_problem(hub), text);
}

/* ---------------------------------------------------------------------------------------- lines */

/* Lines that were told or are to be handed in, one behind the other. */
struct lines {
    char text[1 << 20];
    size_t len, at, count;
    int stop_at; /* lines after which a callback ends it; 0: none */
};
static struct lines in, out;

static int take(const char *line, size_t len, void *arg)
{
    struct lines *lines = arg;
    ck_assert_uint_eq(strlen(line), len);
    ck_assert_uint_lt(lines->len + len + 2, sizeof(lines->text));
    lines->len +=
        (size_t)snprintf(lines->text + lines->len, sizeof(lines->text) - lines->len, "%s\n", line);
    lines->count++;
    return lines->stop_at && lines->count >= (size_t)lines->stop_at ? 77 : 0;
}

static int next(const char **line, size_t *len, void *arg)
{
    struct lines *lines = arg;
    const char *end = memchr(lines->text + lines->at, '\n', lines->len - lines->at);
    if (!end)
        return 0;
    *line = lines->text + lines->at;
    *len = (size_t)(end - *line);
    lines->at = (size_t)(end - lines->text) + 1;
    lines->count++;
    return lines->stop_at && lines->count > (size_t)lines->stop_at ? -77 : 1;
}

static void clear(struct lines *lines)
{
    lines->len = lines->at = lines->count = 0;
    lines->stop_at = 0;
    lines->text[0] = '\0';
}

__attribute__((format(printf, 1, 2))) static void line(const char *format, ...)
{
    va_list rest;
    va_start(rest, format);
    in.len += (size_t)vsnprintf(in.text + in.len, sizeof(in.text) - in.len, format, rest);
    va_end(rest);
    in.len += (size_t)snprintf(in.text + in.len, sizeof(in.text) - in.len, "\n");
}

static void post(const char *room, unsigned number, const char *more)
{
    line("{\"type\":\"chat\",\"room\":\"%s\",\"sender\":\"Ann\",\"sender_id\":\"u1\","
         "\"content\":\"post %u\"%s,\"timestamp\":\"2024-01-02T03:04:05.%03uZ\"}",
         room, number, more, number % 1000);
}

static uint64_t import(void)
{
    uint64_t added;
    in.at = in.count = 0;
    CALL(chathub_log_import(hub, next, &in, &added));
    clear(&in);
    return added;
}

static int try_import(void)
{
    uint64_t added;
    in.at = in.count = 0;
    int error = chathub_log_import(hub, next, &in, &added);
    ck_assert_uint_eq(error ? added : 0, 0);
    clear(&in);
    return error;
}

static void export(const char *room)
{
    clear(&out);
    CALL(chathub_log_export(hub, room, take, NULL, &out));
}

/* An entry's line, as an export gives it. */
static void expect_line(const char *room, unsigned position, unsigned prev, unsigned number)
{
    char wanted[512];
    size_t len = (size_t)snprintf(
        wanted, sizeof(wanted),
        "{\"type\":\"chat\",\"room\":\"%s\",\"position\":%u,\"prev\":%u,\"sender\":\"Ann\","
        "\"sender_id\":\"u1\",\"content\":\"post "
        "%u\",\"timestamp\":\"2024-01-02T03:04:05.%03uZ\"}\n",
        room, position, prev, number, number % 1000);
    ck_assert_msg(strncmp(out.text + out.at, wanted, len) == 0, "%s%.300s", wanted,
                  out.text + out.at);
    out.at += len;
}

static void fill(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        post(i % 3 ? "Tea" : "general", i, "");
    ck_assert_uint_eq(import(), count);
}

static void sql(const char *file, const char *text)
{
    sqlite3 *db;
    char *problem = NULL;
    ck_assert_int_eq(sqlite3_open(file, &db), SQLITE_OK);
    int code = sqlite3_exec(db, text, NULL, NULL, &problem);
    ck_assert_msg(code == SQLITE_OK, "%s: %s", text, problem ? problem : "");
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}

static int64_t number(const char *file, const char *text)
{
    sqlite3 *db;
    sqlite3_stmt *statement;
    ck_assert_int_eq(sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_prepare_v2(db, text, -1, &statement, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_step(statement), SQLITE_ROW);
    int64_t result = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
    return result;
}

static int check(void)
{
    clear(&out);
    return chathub_log_check(hub, take, NULL, &out);
}

static void expect_sound(void)
{
    int error = check();
    ck_assert_msg(error == 0 && out.count == 0, "%s %s", chathub_problem(hub), out.text);
}

/* ---------------------------------------------------------------------------- import and export */

START_TEST(what_is_imported_is_exported_in_order_with_new_positions)
{
    fill(700);
    expect_sound();
    export("GENERAL");
    ck_assert_uint_eq(out.count, 234);
    for (unsigned i = 0; i < 700; i += 3)
        expect_line("general", i + 1, i < 3 ? 0 : i - 2, i);
    export(NULL);
    ck_assert_uint_eq(out.count, 700);
    for (unsigned i = 0, prev[2] = {0, 0}; i < 700; i++) {
        expect_line(i % 3 ? "tea" : "general", i + 1, prev[i % 3 != 0], i);
        prev[i % 3 != 0] = i + 1;
    }
}
END_TEST

START_TEST(an_export_can_be_imported_elsewhere_without_loss)
{
    fill(300);
    post("tea", 300, ",\"cid\":\"c-1\",\"data\":{\"a\": [1.50,\"\\u2713\"]}");
    line("{\"type\":\"chat\",\"room\":\"tea\",\"redacted\":true,"
         "\"timestamp\":\"2024-01-02T03:04:05.000Z\"}");
    import();
    export(NULL);
    in = out;
    use(copy);
    ck_assert_uint_eq(import(), 302);
    static struct lines first;
    first = out;
    export(NULL);
    ck_assert_uint_eq(out.count, 302);
    ck_assert_str_eq(out.text, first.text);
    expect_sound();
}
END_TEST

START_TEST(what_is_imported_comes_behind_what_is_there)
{
    fill(10);
    post("tea", 10, "");
    post("cafe", 11, "");
    ck_assert_uint_eq(import(), 2);
    export("cafe");
    expect_line("cafe", 12, 0, 11);
    export("tea");
    ck_assert_uint_eq(out.count, 7);
    ck_assert_ptr_nonnull(strstr(out.text, "\"position\":11,\"prev\":9,"));
    expect_sound();
}
END_TEST

START_TEST(each_import_has_an_epoch_of_its_own)
{
    fill(10);
    fill(10);
    ck_assert_int_eq(number(path, "SELECT count(*) FROM epochs"), 2);
    ck_assert_int_eq(number(path, "SELECT first FROM epochs ORDER BY number LIMIT 1"), 1);
    ck_assert_int_eq(number(path, "SELECT first FROM epochs ORDER BY number DESC LIMIT 1"), 11);
}
END_TEST

START_TEST(a_wrong_line_is_named_and_nothing_is_imported)
{
    static const struct {
        const char *line;
        int error;
        const char *says;
    } wrong[] = {
        {"{", CHATHUB_EJSON, "line 3: not a JSON object"},
        {"\xff", CHATHUB_ETEXT, "line 3: it is not UTF-8"},
        {"{\"type\":\"entry\"}", CHATHUB_ETYPE, "line 3: \"type\""},
#define ENTRY(room, sender, more)                                                                  \
    "{\"type\":\"chat\",\"room\":\"" room "\",\"sender\":\"" sender "\"," more                     \
    ",\"timestamp\":\"2024-01-02T03:04:05.000Z\"}"
        {ENTRY("a\\u0007", "Ann", "\"sender_id\":\"u\",\"content\":\"x\""), CHATHUB_EROOMNAME,
         "line 3: \"room\": "},
        {ENTRY("a", " ", "\"sender_id\":\"u\",\"content\":\"x\""), CHATHUB_ENAME,
         "line 3: \"sender\": "},
        {ENTRY("a", "Ann", "\"sender_id\":\"u \\n\",\"content\":\"x\""), CHATHUB_EREQUEST,
         "line 3: \"sender_id\""},
        {ENTRY("a", "Ann", "\"sender_id\":\"u\",\"content\":\"\\u001b[31m\""), CHATHUB_ETEXT,
         "line 3: \"content\": "},
        {ENTRY("a", "Ann", "\"sender_id\":\"u\",\"content\":\"12345678901\""), CHATHUB_ETOOLONG,
         "option max-content"},
        {ENTRY("a", "Ann", "\"sender_id\":\"u\",\"content\":\"x\",\"cid\":\"\""), CHATHUB_ECID,
         "line 3: \"cid\""},
        {"{\"type\":\"chat\",\"room\":\"a\",\"sender\":\"A\",\"sender_id\":\"u\",\"content\":\"x\","
         "\"timestamp\":\"9999-01-02T03:04:05Z\"}",
         CHATHUB_EREQUEST, "line 3: \"timestamp\" is a time to come"},
    };
    CALL(chathub_set(hub, "max-content", "10"));
    fill(2);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        post("tea", 1, ",\"cid\":\"c\"");
        line("%s", "");
        line("%s", wrong[i].line);
        int error = try_import();
        ck_assert_msg(error == wrong[i].error, "%s: %d %s", wrong[i].line, error,
                      chathub_problem(hub));
        says(wrong[i].says);
    }
    export(NULL);
    ck_assert_uint_eq(out.count, 2);
    expect_sound();
}
END_TEST

START_TEST(a_long_import_that_is_ended_leaves_nothing)
{
    fill(1);
    for (unsigned i = 0; i < 6000; i++)
        post("tea", i, "");
    in.stop_at = 5999;
    ck_assert_int_eq(try_import(), -77);
    export(NULL);
    ck_assert_uint_eq(out.count, 1);
    ck_assert_int_eq(number(path, "SELECT count(*) FROM entries"), 1);
    expect_sound();
}
END_TEST

/* As an export of today's would have it. */
static void post_now(const char *cid, const char *content)
{
    char stamp[32];
    time_t now = time(NULL) - 60;
    struct tm utc;
    strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    line("{\"type\":\"chat\",\"room\":\"tea\",\"sender\":\"Ann\",\"sender_id\":\"u1\",\"cid\":\"%"
         "s\","
         "\"content\":\"%s\",\"timestamp\":\"%s\"}",
         cid, content, stamp);
}

START_TEST(a_recent_post_that_comes_again_is_left_out)
{
    post_now("c-1", "one");
    post_now("c-1", "one");
    post_now("c-2", "two");
    ck_assert_uint_eq(import(), 2);
    post_now("c-2", "two");
    post_now("c-3", "three");
    ck_assert_uint_eq(import(), 1);
    post_now("c-4", "four");
    post_now("c-3", "something else");
    ck_assert_int_eq(try_import(), CHATHUB_ECIDREUSED);
    says("line 2: \"cid\" was used for another post");
    export("tea");
    ck_assert_uint_eq(out.count, 3);
}
END_TEST

START_TEST(what_is_older_than_the_horizon_is_not_remembered)
{
    post("tea", 1, ",\"cid\":\"c-1\"");
    post("tea", 2, ",\"cid\":\"c-1\"");
    ck_assert_uint_eq(import(), 2);
}
END_TEST

START_TEST(cids_are_no_more_than_max_cids)
{
    CALL(chathub_set(hub, "max-cids", "2"));
    post_now("c-1", "one");
    post_now("c-2", "two");
    post_now("c-3", "three");
    ck_assert_int_eq(try_import(), CHATHUB_EFULL);
    says("line 3: as many cids");
}
END_TEST

START_TEST(an_import_leaves_the_disk_what_log_free_demands)
{
    CALL(chathub_set(hub, "log-free", "1024g"));
    post("tea", 1, "");
    ck_assert_int_eq(try_import(), CHATHUB_EIO);
    says("log-free");
}
END_TEST

START_TEST(an_export_ends_when_it_is_asked_to)
{
    fill(600);
    clear(&out);
    out.stop_at = 3;
    ck_assert_int_eq(chathub_log_export(hub, NULL, take, NULL, &out), 77);
    ck_assert_uint_eq(out.count, 3);
}
END_TEST

START_TEST(rooms_that_are_none_are_told_apart)
{
    fill(1);
    ck_assert_int_eq(chathub_log_export(hub, "nowhere", take, NULL, &out), CHATHUB_ENOROOM);
    says("nowhere");
    ck_assert_int_eq(chathub_log_export(hub, "a\tb", take, NULL, &out), CHATHUB_EROOMNAME);
    ck_assert_int_eq(chathub_log_export(hub, "", take, NULL, &out), CHATHUB_EROOMNAME);
    ck_assert_int_eq(chathub_log_export(hub, "\xff", take, NULL, &out), CHATHUB_EROOMNAME);
}
END_TEST

/* --------------------------------------------------------------------------------------- backup */

static int files_there(void)
{
    int count = 0;
    DIR *all = opendir(folder);
    ck_assert_ptr_nonnull(all);
    while (readdir(all))
        count++;
    closedir(all);
    return count - 2;
}

static uint64_t copied, to_copy;

static int on_progress(uint64_t done, uint64_t total, void *arg)
{
    ck_assert_uint_le(done, total);
    ck_assert_uint_ge(done, copied);
    copied = done;
    to_copy = total;
    return arg ? *(int *)arg : 0;
}

START_TEST(a_backup_is_a_log_by_itself)
{
    fill(4000);
    export(NULL);
    static struct lines first;
    first = out;
    mode_t old = umask(0);
    copied = to_copy = 0;
    CALL(chathub_log_backup(hub, copy, on_progress, NULL));
    umask(old);
    struct stat is;
    ck_assert_int_eq(stat(copy, &is), 0);
    ck_assert_uint_eq(is.st_mode & 07777, 0600);
    ck_assert_uint_eq(copied, to_copy);
    ck_assert_uint_eq(copied, (uint64_t)is.st_size);
    use(copy);
    expect_sound();
    export(NULL);
    ck_assert_str_eq(out.text, first.text);
    CALL(chathub_start(hub, NULL)); /* opens it */
}
END_TEST

START_TEST(a_backup_writes_over_nothing)
{
    fill(1);
    close(open(copy, O_CREAT | O_WRONLY, 0600));
    ck_assert_int_eq(chathub_log_backup(hub, copy, NULL, NULL), CHATHUB_EIO);
    says("there is something of this name");
    ck_assert_int_eq(chathub_log_backup(hub, path, NULL, NULL), CHATHUB_EIO);
    char other[160];
    snprintf(other, sizeof(other), "%s/other.db-new", folder);
    ck_assert_int_eq(symlink(copy, other), 0);
    other[strlen(other) - 4] = '\0';
    ck_assert_int_eq(chathub_log_backup(hub, other, NULL, NULL), CHATHUB_EIO);
    says("FILE-new");
    struct stat is;
    ck_assert_int_eq(stat(copy, &is), 0);
    ck_assert_int_eq(is.st_size, 0);
    ck_assert_int_eq(chathub_log_backup(hub, "/nowhere/at/all", NULL, NULL), CHATHUB_EIO);
    says("No such file or directory");
    ck_assert_int_eq(chathub_log_backup(hub, "", NULL, NULL), CHATHUB_EIO);
    ck_assert_int_eq(chathub_log_backup(hub, NULL, NULL, NULL), CHATHUB_EINVAL);
}
END_TEST

START_TEST(a_backup_that_is_ended_leaves_nothing)
{
    fill(100);
    export(NULL);
    int before = files_there(), stop = 5;
    copied = 0;
    ck_assert_int_eq(chathub_log_backup(hub, copy, on_progress, &stop), 5);
    ck_assert_int_eq(files_there(), before);
}
END_TEST

/* ---------------------------------------------------------------------------------------- check */

START_TEST(a_check_finds_what_breaks_a_rule)
{
    static const struct {
        const char *sql, *says;
    } broken[] = {
        {"DELETE FROM entries WHERE position=50",
         "position 51 of room 'tea' says that it follows 50"},
        {"UPDATE entries SET prev=position WHERE position=1", "at position 1 of room 'general'"},
        {"UPDATE entries SET room=99 WHERE position=1", "room number 99, which there is not"},
        {"UPDATE entries SET bytes=5 WHERE position=10",
         "position 10 of room 'general' holds what no"},
        {"UPDATE entries SET content=CAST(x'ff' AS TEXT) WHERE position=10", "holds what no log"},
        {"UPDATE entries SET type=-1 WHERE position=10", "holds what no log"},
        {"UPDATE rooms SET entries=entries+1 WHERE name='tea'", "its row counts"},
        {"UPDATE rooms SET entries=written+1 WHERE name='tea'", "counts that cannot be"},
        {"UPDATE rooms SET bytes=bytes-1 WHERE name='tea'", "entries of room 'tea' have"},
        {"UPDATE rooms SET top=1000000 WHERE name='tea'", "newest entry of room 'tea'"},
        {"UPDATE rooms SET top=-1 WHERE name='tea'", "a room has a top that no log writes"},
        {"INSERT INTO marks VALUES((SELECT id FROM rooms WHERE name='tea'),1)",
         "a mark at position 1"},
        {"INSERT INTO marks VALUES(77,77)", "room number 77, but no entry"},
        {"DELETE FROM marks", "lacks a mark before position"},
        {"UPDATE epochs SET first=5000", "the newest epoch begins at position 5000"},
        {"INSERT INTO epochs(name,first) VALUES('0123456789abcdef',0)", "but one before it at 1"},
        {"UPDATE epochs SET name='short'", "a name that no log writes"},
        {"DELETE FROM meta WHERE key='secret'", "its secret"},
        {"DROP TABLE marks", "marks"},
    };
    char restore[160];
    fill(300);
    CALL(chathub_log_backup(hub, copy, NULL, NULL));
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        ck_assert_int_eq(unlink(path), 0);
        snprintf(restore, sizeof(restore), "VACUUM INTO '%s'", path);
        sql(copy, restore);
        sql(path, "PRAGMA journal_mode=WAL");
        expect_sound();
        sql(path, broken[i].sql);
        ck_assert_msg(check() == CHATHUB_EIO, "%s: not found", broken[i].sql);
        ck_assert_msg(strstr(out.text, broken[i].says) != NULL ||
                          strstr(chathub_problem(hub), broken[i].says) != NULL,
                      "%s: %s %s", broken[i].sql, out.text, chathub_problem(hub));
        says(out.count ? "is damaged:" : "damaged");
    }
}
END_TEST

static void overwrite(const char *file, long at, const char *bytes, size_t len)
{
    int fd = open(file, O_WRONLY);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
}

START_TEST(a_check_finds_damaged_pages)
{
    char zeroes[4096 * 3] = {0};
    fill(3000);
    overwrite(path, 4096 * 20, zeroes, sizeof(zeroes));
    ck_assert_int_eq(check(), CHATHUB_EIO);
    ck_assert_uint_gt(out.count, 0);
    says("is damaged: ");
}
END_TEST

START_TEST(a_check_finds_a_file_that_is_cut)
{
    struct stat is;
    fill(3000);
    ck_assert_int_eq(stat(path, &is), 0);
    ck_assert_int_eq(truncate(path, is.st_size / 2), 0);
    ck_assert_int_eq(check(), CHATHUB_EIO);
    ck_assert_msg(strstr(out.text, "cut") || strstr(chathub_problem(hub), "cut"), "%s%s", out.text,
                  chathub_problem(hub));
}
END_TEST

START_TEST(a_check_tells_no_more_than_can_be_read)
{
    fill(3000);
    sql(path, "UPDATE entries SET prev=position");
    ck_assert_int_eq(check(), CHATHUB_EIO);
    ck_assert_uint_le(out.count, 300);
    ck_assert_uint_gt(out.count, 200);
    ck_assert_ptr_nonnull(strstr(out.text, "there may be more"));
}
END_TEST

START_TEST(a_check_ends_when_it_is_asked_to)
{
    int stop = 9;
    fill(5000);
    copied = 0;
    ck_assert_int_eq(chathub_log_check(hub, take, on_progress, &stop), 9);
    sql(path, "UPDATE entries SET prev=position");
    clear(&out);
    out.stop_at = 1;
    ck_assert_int_eq(check(), CHATHUB_EIO); /* check() begins anew */
    clear(&out);
    out.stop_at = 1;
    ck_assert_int_eq(chathub_log_check(hub, take, NULL, &out), 77);
    ck_assert_uint_eq(out.count, 1);
}
END_TEST

/* ------------------------------------------------------------------------- beside a hub, or not */

static void read_file(const char *file, struct lines *lines)
{
    FILE *stream = fopen(file, "rb");
    lines->len = 0;
    if (!stream)
        return;
    lines->len = fread(lines->text, 1, sizeof(lines->text), stream);
    fclose(stream);
}

START_TEST(beside_a_hub_all_but_import_work)
{
    char value[160];
    fill(100);
    struct chathub *other;
    ck_assert_int_eq(chathub_new(&other), 0);
    snprintf(value, sizeof(value), "sqlite:%s", path);
    ck_assert_int_eq(chathub_set(other, "log", value), 0);
    ck_assert_int_eq(chathub_start(other, NULL), 0);
    CALL(chathub_log_backup(hub, copy, NULL, NULL));
    expect_sound();
    export(NULL);
    ck_assert_uint_eq(out.count, 100);
    post("tea", 1, "");
    ck_assert_int_eq(try_import(), CHATHUB_EINUSE);
    says("in use by another hub");
    chathub_free(other);
}
END_TEST

/* A writer as a hub's is, which does nothing more. */
static sqlite3 *write_beside(const char *text)
{
    sqlite3 *db;
    ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
    sqlite3_db_config(db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    ck_assert_int_eq(sqlite3_exec(db, "PRAGMA wal_autocheckpoint=0", NULL, NULL, NULL), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK);
    return db;
}

START_TEST(what_stands_in_the_wal_is_seen_and_left_there)
{
    static struct lines before[2];
    char wal[160];
    fill(100);
    snprintf(wal, sizeof(wal), "%s-wal", path);
    sqlite3 *db = write_beside("UPDATE entries SET content='changed' WHERE position=5");
    read_file(path, &before[0]);
    read_file(wal, &before[1]);
    ck_assert_uint_gt(before[1].len, 0);
    expect_sound();
    CALL(chathub_log_backup(hub, copy, NULL, NULL));
    export(NULL);
    ck_assert_ptr_nonnull(strstr(out.text, "\"changed\""));
    use(copy);
    export(NULL);
    ck_assert_ptr_nonnull(strstr(out.text, "\"changed\""));
    read_file(path, &out);
    ck_assert_uint_eq(out.len, before[0].len);
    ck_assert_mem_eq(out.text, before[0].text, out.len);
    read_file(wal, &out);
    ck_assert_uint_eq(out.len, before[1].len);
    ck_assert_mem_eq(out.text, before[1].text, out.len);
    ck_assert_int_eq(sqlite3_close(db), SQLITE_OK);
}
END_TEST

static sqlite3 *beside;

static int write_meanwhile(uint64_t done, uint64_t total, void *arg)
{
    (void)done, (void)total, (void)arg;
    return sqlite3_exec(beside, "UPDATE entries SET content='changed'", NULL, NULL, NULL);
}

static int write_on_line(const char *text, size_t len, void *arg)
{
    int *count = arg;
    (void)text, (void)len;
    ++*count;
    return sqlite3_exec(beside,
                        "UPDATE entries SET content='changed';"
                        "PRAGMA wal_checkpoint(TRUNCATE)",
                        NULL, NULL, NULL);
}

START_TEST(a_backup_is_of_one_moment)
{
    fill(4000);
    export(NULL);
    static struct lines first;
    first = out;
    beside = write_beside("SELECT 1");
    CALL(chathub_log_backup(hub, copy, write_meanwhile, NULL));
    ck_assert_int_eq(number(path, "SELECT count(*) FROM entries WHERE content='changed'"), 4000);
    use(copy);
    export(NULL);
    ck_assert_str_eq(out.text, first.text);
    ck_assert_int_eq(sqlite3_close(beside), SQLITE_OK);
}
END_TEST

START_TEST(an_export_that_is_taken_slowly_holds_up_nobody)
{
    int count = 0;
    fill(600);
    beside = write_beside("SELECT 1");
    ck_assert_int_eq(sqlite3_busy_timeout(beside, 0), SQLITE_OK);
    CALL(chathub_log_export(hub, "tea", write_on_line, NULL, &count));
    ck_assert_int_eq(count, 400);
    count = 0;
    CALL(chathub_log_export(hub, NULL, write_on_line, NULL, &count));
    ck_assert_int_eq(count, 600);
    ck_assert_int_eq(sqlite3_close(beside), SQLITE_OK);
}
END_TEST

START_TEST(without_a_hub_the_file_stays_as_it_is)
{
    static struct lines before;
    fill(100);
    read_file(path, &before);
    CALL(chathub_log_backup(hub, copy, NULL, NULL));
    expect_sound();
    export("tea");
    read_file(path, &out);
    ck_assert_uint_eq(out.len, before.len);
    ck_assert_mem_eq(out.text, before.text, out.len);
}
END_TEST

START_TEST(tools_are_refused_where_they_have_nothing_to_work_on)
{
    ck_assert_int_eq(check(), CHATHUB_EIO);
    says("is not there");
    ck_assert_int_eq(chathub_log_export(hub, NULL, take, NULL, &out), CHATHUB_EIO);
    ck_assert_int_eq(chathub_log_backup(hub, copy, NULL, NULL), CHATHUB_EIO);
    ck_assert_int_eq(files_there(), 0);
    sql(path, "CREATE TABLE t(x)");
    ck_assert_int_eq(check(), CHATHUB_EIO);
    says("another program");
    ck_assert_int_eq(chathub_set(hub, "log", "memory"), 0);
    ck_assert_int_eq(check(), CHATHUB_EVALUE);
    says("option log: memory");
    ck_assert_int_eq(try_import(), CHATHUB_EVALUE);
    ck_assert_int_eq(chathub_start(hub, NULL), 0);
    ck_assert_int_eq(check(), CHATHUB_ESTARTED);
    ck_assert_int_eq(try_import(), CHATHUB_ESTARTED);
    ck_assert_int_eq(chathub_log_check(NULL, take, NULL, NULL), CHATHUB_EINVAL);
}
END_TEST

START_TEST(features_are_told)
{
    ck_assert_int_eq(chathub_has("sqlite"), 1);
    ck_assert_int_eq(chathub_has(""), 0);
    ck_assert_int_eq(chathub_has("flying"), 0);
    ck_assert_int_eq(chathub_has(NULL), 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("logtools");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, what_is_imported_is_exported_in_order_with_new_positions);
    tcase_add_test(tests, an_export_can_be_imported_elsewhere_without_loss);
    tcase_add_test(tests, what_is_imported_comes_behind_what_is_there);
    tcase_add_test(tests, each_import_has_an_epoch_of_its_own);
    tcase_add_test(tests, a_wrong_line_is_named_and_nothing_is_imported);
    tcase_add_test(tests, a_long_import_that_is_ended_leaves_nothing);
    tcase_add_test(tests, a_recent_post_that_comes_again_is_left_out);
    tcase_add_test(tests, what_is_older_than_the_horizon_is_not_remembered);
    tcase_add_test(tests, cids_are_no_more_than_max_cids);
    tcase_add_test(tests, an_import_leaves_the_disk_what_log_free_demands);
    tcase_add_test(tests, an_export_ends_when_it_is_asked_to);
    tcase_add_test(tests, rooms_that_are_none_are_told_apart);
    tcase_add_test(tests, a_backup_is_a_log_by_itself);
    tcase_add_test(tests, a_backup_writes_over_nothing);
    tcase_add_test(tests, a_backup_that_is_ended_leaves_nothing);
    tcase_add_test(tests, a_check_finds_what_breaks_a_rule);
    tcase_add_test(tests, a_check_finds_damaged_pages);
    tcase_add_test(tests, a_check_finds_a_file_that_is_cut);
    tcase_add_test(tests, a_check_tells_no_more_than_can_be_read);
    tcase_add_test(tests, a_check_ends_when_it_is_asked_to);
    tcase_add_test(tests, beside_a_hub_all_but_import_work);
    tcase_add_test(tests, what_stands_in_the_wal_is_seen_and_left_there);
    tcase_add_test(tests, a_backup_is_of_one_moment);
    tcase_add_test(tests, an_export_that_is_taken_slowly_holds_up_nobody);
    tcase_add_test(tests, without_a_hub_the_file_stays_as_it_is);
    tcase_add_test(tests, tools_are_refused_where_they_have_nothing_to_work_on);
    tcase_add_test(tests, features_are_told);
    tcase_set_timeout(tests, 120);
    Suite *suite = suite_create("logtools");
    suite_add_tcase(suite, tests);
    return unit_run(suite);
}
