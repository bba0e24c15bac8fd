/* The tools for logs where memory runs out: linked with --wrap, and SQLite asks here as well. Every
 * allocation fails once: the tool then says that, has undone what it began, and has done the log no
 * harm. */
#include "unit.h"

#include <ftw.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chathub.h"
#include "oom_sqlite.h"

/* In place of libc's: the machine is not going to stop. */
int fsync(int fd)
{
    return fd < 0 ? -1 : 0;
}

int fdatasync(int fd)
{
    return fsync(fd);
}

/* ------------------------------------------------------------------------------------ the tools */

static char folder[64], path[128], copy[128], half[136];
static struct chathub *hub;
static unsigned lines, wanted; /* handed over, and how many there are */
static char line[512];

static int remove_one(const char *name, const struct stat *is, int flag, struct FTW *walk)
{
    (void)is, (void)flag, (void)walk;
    return remove(name);
}

static int count(const char *text, size_t len, void *arg)
{
    (void)text, (void)len, (void)arg;
    lines++;
    return 0;
}

static int next(const char **out, size_t *len, void *arg)
{
    (void)arg;
    if (lines == wanted)
        return 0;
    snprintf(line, sizeof(line),
             "{\"type\":\"chat\",\"room\":\"room %u\",\"sender\":\"Ann\",\"sender_id\":\"u\","
             "\"content\":\"post\",\"cid\":\"%u\",\"data\":{\"n\":[1,{}]},"
             "\"timestamp\":\"2024-01-02T03:04:05.678Z\"}",
             lines % 3, lines);
    lines++;
    *out = line;
    *len = CHATHUB_NUL;
    return 1;
}

static int disarm(int error)
{
    armed = false;
    return error;
}

static int import(void)
{
    lines = 0;
    return disarm(chathub_log_import(hub, next, NULL, NULL));
}

static int export_room(void)
{
    lines = 0;
    return disarm(chathub_log_export(hub, "Room 1", count, NULL, NULL));
}

static int export_all(void)
{
    lines = 0;
    return disarm(chathub_log_export(hub, NULL, count, NULL, NULL));
}

static int check(void)
{
    lines = 0;
    int error = disarm(chathub_log_check(hub, count, NULL, NULL));
    if (error == CHATHUB_ENOMEM)
        ck_assert_uint_eq(lines, 0);
    return error;
}

static int backup(void)
{
    unlink(copy);
    int error = disarm(chathub_log_backup(hub, copy, NULL, NULL));
    ck_assert_int_eq(access(copy, F_OK), error ? -1 : 0);
    ck_assert_int_eq(access(half, F_OK), -1);
    return error;
}

/* How often it succeeded: SQLite does without some of its memory. */
static unsigned each_allocation_fails(int (*tool)(void))
{
    int error;
    unsigned successes = 0;
    long number = 0;
    do {
        until = number;
        number += number < 500 ? 1 : 3;
        armed = true;
        error = tool();
        ck_assert_msg(error == 0 || error == CHATHUB_ENOMEM, "allocation %ld: %d %s", number, error,
                      chathub_problem(hub));
        successes += error == 0;
    } while (until < 0 && number < 100000);
    ck_assert_int_eq(error, 0);
    ck_assert_int_gt(number, 20);
    return successes;
}

static unsigned entries(void)
{
    until = -1;
    ck_assert_msg(export_all() == 0, "%s", chathub_problem(hub));
    return lines;
}

static void setup(void)
{
    char value[160];
    snprintf(folder, sizeof(folder), "/tmp/test_logtools_oom.XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/chat.db", folder);
    snprintf(copy, sizeof(copy), "%s/copy.db", folder);
    snprintf(half, sizeof(half), "%s-new", copy);
    snprintf(value, sizeof(value), "sqlite:%s", path);
    ck_assert_int_eq(chathub_new(&hub), 0);
    ck_assert_int_eq(chathub_set(hub, "log", value), 0);
    wanted = 300;
    ck_assert_msg(import() == 0, "%s", chathub_problem(hub));
}

static void teardown(void)
{
    until = -1;
    ck_assert_msg(check() == 0, "%s", chathub_problem(hub));
    chathub_free(hub);
    ck_assert_int_eq(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

START_TEST(a_backup_that_lacks_memory_leaves_nothing)
{
    each_allocation_fails(backup);
}
END_TEST

START_TEST(a_check_that_lacks_memory_finds_no_fault)
{
    each_allocation_fails(check);
}
END_TEST

START_TEST(an_export_that_lacks_memory_says_so)
{
    each_allocation_fails(export_room);
    each_allocation_fails(export_all);
    ck_assert_uint_eq(lines, 300);
}
END_TEST

START_TEST(an_import_that_lacks_memory_adds_nothing)
{
    wanted = 40;
    unsigned successes = each_allocation_fails(import);
    ck_assert_uint_eq(entries(), 300 + 40 * successes);
}
END_TEST

int main(void)
{
    if (!count_allocations())
        return EXIT_FAILURE;
    TCase *tests = tcase_create("logtools_oom");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, a_backup_that_lacks_memory_leaves_nothing);
    tcase_add_test(tests, a_check_that_lacks_memory_finds_no_fault);
    tcase_add_test(tests, an_export_that_lacks_memory_says_so);
    tcase_add_test(tests, an_import_that_lacks_memory_adds_nothing);
    tcase_set_timeout(tests, 300);
    Suite *suite = suite_create("logtools_oom");
    suite_add_tcase(suite, tests);
    return unit_run(suite);
}
