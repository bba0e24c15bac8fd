/* The SQLite log when its disk fails: what it answers, what it shows, and how it comes back. */
#include <sched.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chathub.h"
#include "log/log.h"
#include "unit.h"

/* ---------------------------------------------------------------------------- a disk that fails */

/* SQLite's own way to the disk, with faults that a test turns on. */
struct bad_file {
    sqlite3_file base;  /* first */
    sqlite3_file *real; /* behind this struct */
};

static sqlite3_vfs *good, bad;
static atomic_int sync_fails; /* SQLITE code that a sync of the WAL answers; 0: it works */
static atomic_int write_fails;

static sqlite3_file *real(sqlite3_file *file)
{
    return ((struct bad_file *)(void *)file)->real;
}

#define PASS(name, params, args)                                                                   \
    static int bad_##name params                                                                   \
    {                                                                                              \
        return real(file)->pMethods->name args;                                                    \
    }
PASS(xClose, (sqlite3_file * file), (real(file)))
PASS(xRead, (sqlite3_file * file, void *to, int n, sqlite3_int64 at), (real(file), to, n, at))
PASS(xTruncate, (sqlite3_file * file, sqlite3_int64 size), (real(file), size))
PASS(xFileSize, (sqlite3_file * file, sqlite3_int64 *size), (real(file), size))
PASS(xLock, (sqlite3_file * file, int level), (real(file), level))
PASS(xUnlock, (sqlite3_file * file, int level), (real(file), level))
PASS(xCheckReservedLock, (sqlite3_file * file, int *out), (real(file), out))
PASS(xFileControl, (sqlite3_file * file, int op, void *arg), (real(file), op, arg))
PASS(xSectorSize, (sqlite3_file * file), (real(file)))
PASS(xDeviceCharacteristics, (sqlite3_file * file), (real(file)))
PASS(xShmMap, (sqlite3_file * file, int page, int size, int extend, void volatile **out),
     (real(file), page, size, extend, out))
PASS(xShmLock, (sqlite3_file * file, int at, int n, int flags), (real(file), at, n, flags))
PASS(xShmUnmap, (sqlite3_file * file, int remove), (real(file), remove))

static int bad_xWrite(sqlite3_file *file, const void *from, int n, sqlite3_int64 at)
{
    int code = atomic_load(&write_fails);
    return code ? code : real(file)->pMethods->xWrite(real(file), from, n, at);
}

static int bad_xSync(sqlite3_file *file, int flags)
{
    int code = atomic_load(&sync_fails);
    return code ? code : real(file)->pMethods->xSync(real(file), flags);
}

static void bad_xShmBarrier(sqlite3_file *file)
{
    real(file)->pMethods->xShmBarrier(real(file));
}

static const sqlite3_io_methods bad_methods = {
    .iVersion = 2,
    .xClose = bad_xClose,
    .xRead = bad_xRead,
    .xWrite = bad_xWrite,
    .xTruncate = bad_xTruncate,
    .xSync = bad_xSync,
    .xFileSize = bad_xFileSize,
    .xLock = bad_xLock,
    .xUnlock = bad_xUnlock,
    .xCheckReservedLock = bad_xCheckReservedLock,
    .xFileControl = bad_xFileControl,
    .xSectorSize = bad_xSectorSize,
    .xDeviceCharacteristics = bad_xDeviceCharacteristics,
    .xShmMap = bad_xShmMap,
    .xShmLock = bad_xShmLock,
    .xShmBarrier = bad_xShmBarrier,
    .xShmUnmap = bad_xShmUnmap,
};

static int bad_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    struct bad_file *own = (struct bad_file *)(void *)file;
    (void)vfs;
    own->real = (sqlite3_file *)(void *)(own + 1);
    own->base.pMethods = NULL;
    int code = good->xOpen(good, name, own->real, flags, out);
    if (own->real->pMethods)
        own->base.pMethods = &bad_methods;
    return code;
}

static void use_bad_disk(void)
{
    good = sqlite3_vfs_find(NULL);
    bad = *good;
    bad.zName = "bad";
    bad.szOsFile += (int)sizeof(struct bad_file);
    bad.xOpen = bad_open;
    bad.pNext = NULL;
    sqlite3_vfs_register(&bad, 1);
}

/* -------------------------------------------------------------------------------- a small world */

#define MANY 256

static struct {
    struct chi_settings settings;
    struct chi_log *log;
    void *handle; /* of the room that was opened last */
    uint64_t top;
    uint32_t opened, reported, pages;
    struct {
        int status;
        uint32_t room;
        void *token;
        uint64_t position, prev;
        char why[80];
    } results[MANY];
    uint32_t read; /* entries in the last page */
    int read_status;
    uint32_t downs, ups; /* log lines */
    char folder[64], path[96];
} w;

static uint64_t env_now(void *self)
{
    (void)self;
    return 1000;
}

static uint64_t env_wall(void *self)
{
    (void)self;
    return 1700000000000;
}

static void env_random(void *self, void *bytes, size_t len)
{
    static uint8_t next;
    (void)self;
    memset(bytes, ++next, len);
}

static void env_log(void *self, int level, const char *event, const struct chi_field *fields,
                    size_t n)
{
    (void)self, (void)level, (void)fields, (void)n;
    w.downs += strcmp(event, "log_down") == 0;
    w.ups += strcmp(event, "log_up") == 0;
}

static void env_wake(void *self)
{
    (void)self;
}

static const struct chi_env_ops env_ops = {.now = env_now,
                                           .wall = env_wall,
                                           .random = env_random,
                                           .log = env_log,
                                           .wake = env_wake,
                                           .wake_from_thread = env_wake};

static void on_opened(void *hub, uint32_t room, int status, void *handle, uint64_t top)
{
    (void)hub, (void)room;
    ck_assert_int_eq(status, 0);
    w.handle = handle;
    w.top = top;
    w.opened++;
}

static void on_committed(void *hub, const struct chi_log_result *results, size_t n)
{
    (void)hub;
    for (size_t i = 0; i < n; i++, w.reported++) {
        ck_assert_uint_lt(w.reported, MANY);
        w.results[w.reported].status = results[i].status;
        w.results[w.reported].room = results[i].room;
        w.results[w.reported].token = results[i].token;
        w.results[w.reported].position = results[i].entry ? results[i].entry->position : 0;
        w.results[w.reported].prev = results[i].entry ? results[i].entry->prev : 0;
        snprintf(w.results[w.reported].why, sizeof(w.results[0].why), "%s",
                 results[i].why ? results[i].why : "");
    }
}

static void on_redacted(void *hub, uint32_t room, uint64_t position, int status, void *token)
{
    (void)hub, (void)room, (void)position, (void)status, (void)token;
}

static void poll_until(const uint32_t *count, uint32_t until)
{
    while (*count < until) {
        w.log->poll(w.log);
        sched_yield();
    }
}

static void open_room(uint32_t number, const char *key)
{
    uint32_t before = w.opened;
    struct chi_name *name = chi_name_new(chi_span_of(key), chi_span_of(key));
    ck_assert_int_eq(w.log->open(w.log, number, name), 0);
    chi_name_unref(name);
    poll_until(&w.opened, before + 1);
}

static void open_log(void)
{
    static const struct chi_log_up up = {on_opened, on_committed, on_redacted, NULL, NULL};
    char problem[512];
    int error = chi_log_sqlite_new(&w.settings, (struct chi_env){&env_ops, NULL}, w.path, &w.log,
                                   problem, sizeof(problem));
    ck_assert_msg(!error, "%s", problem);
    w.log->bind(w.log, &up);
    open_room(0, "room");
}

static void setup(void)
{
    static char full[] = "full";
    memset(&w, 0, sizeof(w));
    w.settings.log_sync = full;
    atomic_store(&sync_fails, 0);
    atomic_store(&write_fails, 0);
    snprintf(w.folder, sizeof(w.folder), "/tmp/chathub-faults-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w.folder));
    snprintf(w.path, sizeof(w.path), "%s/log.db", w.folder);
    open_log();
}

static void teardown(void)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-lock"};
    char file[128];
    atomic_store(&sync_fails, 0);
    atomic_store(&write_fails, 0);
    w.log->free(w.log);
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        snprintf(file, sizeof(file), "%s%s", w.path, ends[i]);
        unlink(file);
    }
    rmdir(w.folder);
}

static void append(const char *cid, void *token)
{
    struct chi_entry_parts parts = {.sender = CHI_SPAN("u"),
                                    .user = CHI_SPAN("user"),
                                    .cid = chi_span_of(cid),
                                    .content = CHI_SPAN("hello")};
    struct chi_entry *draft = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    ck_assert_ptr_nonnull(draft);
    ck_assert_int_eq(w.log->append(w.log, w.handle, draft, token), 0);
    chi_entry_unref(draft);
}

/* Posts, and answers the index of its result. */
static uint32_t post(const char *cid)
{
    static int token;
    uint32_t at = w.reported;
    append(cid, &token);
    for (;;) {
        poll_until(&w.reported, at + 1);
        if (w.results[at].token)
            return at;
        at++; /* reported without a poster: found */
    }
}

/* Posts again until the log is back; answers the index of the last result. */
static uint32_t post_until_taken(const char *cid)
{
    uint32_t at = post(cid);
    while (w.results[at].status == CHATHUB_ELOG || w.results[at].status == CHATHUB_EUNKNOWN) {
        w.reported = 0;
        at = post(cid);
    }
    return at;
}

static void on_page(struct chi_log_reader *reader, const struct chi_log_page *page)
{
    (void)reader;
    w.read = page->count;
    w.read_status = page->status;
    w.pages++;
}

static uint32_t count_entries(void)
{
    struct chi_log_reader reader = {on_page};
    struct chi_log_read read = {
        .before = UINT64_MAX, .limit = 1000, .bytes = 1u << 30, .reader = &reader};
    do {
        uint32_t before = w.pages;
        ck_assert_int_eq(w.log->read(w.log, w.handle, &read), 0);
        poll_until(&w.pages, before + 1);
    } while (w.read_status != 0); /* its connection was taken away: asked again */
    return w.read;
}

/* ------------------------------------------------------------------------------------- promises */

START_TEST(a_full_disk_refuses_posts_with_the_reason_and_then_takes_them_again)
{
    ck_assert_int_eq(w.results[post("one")].status, 0);
    atomic_store(&write_fails, SQLITE_FULL);
    uint32_t at = post("two");
    ck_assert_int_eq(w.results[at].status, CHATHUB_ELOG);
    ck_assert_ptr_nonnull(strstr(w.results[at].why, "full"));
    ck_assert_int_eq(w.results[post("three")].status, CHATHUB_ELOG);
    ck_assert_uint_eq(count_entries(), 1); /* reads go on, and nothing else is there */
    poll_until(&w.downs, 1);
    atomic_store(&write_fails, 0);
    poll_until(&w.ups, 1); /* by itself */
    ck_assert_int_eq(w.results[post("two")].status, 0);
    ck_assert_uint_eq(count_entries(), 2);
    ck_assert_uint_eq(w.downs, 1);
}
END_TEST

START_TEST(nothing_is_acked_after_a_failed_sync_until_the_file_was_opened_anew)
{
    uint32_t first = post("one");
    ck_assert_int_eq(w.results[first].status, 0);
    uint64_t position = w.results[first].position;
    atomic_store(&sync_fails, SQLITE_IOERR_FSYNC);
    ck_assert_int_eq(w.results[post("two")].status, CHATHUB_EUNKNOWN);
    for (int i = 0; i < 5; i++) { /* a repeat of what may be there is not known to have failed */
        ck_assert_int_eq(w.results[post("two")].status, CHATHUB_EUNKNOWN);
        ck_assert_int_eq(w.results[post(NULL)].status, CHATHUB_ELOG);
    }
    poll_until(&w.downs, 1);
    atomic_store(&sync_fails, 0);
    uint32_t at = post_until_taken("two");
    ck_assert(w.results[at].status == 0 || w.results[at].status == CHATHUB_EDUP);
    ck_assert_uint_gt(w.results[at].position, position);
    ck_assert_uint_eq(count_entries(), 2); /* once, whatever became of it */
}
END_TEST

START_TEST(what_was_committed_though_nobody_knew_is_shown)
{
    uint32_t first = post("one");
    uint64_t position = w.results[first].position;
    atomic_store(&sync_fails, SQLITE_IOERR_FSYNC);
    ck_assert_int_eq(w.results[post("two")].status, CHATHUB_EUNKNOWN);
    uint32_t before = w.reported;
    atomic_store(&sync_fails, 0);
    poll_until(&w.ups, 1);
    uint32_t found = w.reported - before;
    uint32_t entries = count_entries();
    ck_assert_uint_eq(entries, 1 + found); /* the kernel has it: it was written before the sync */
    ck_assert_uint_eq(found, 1);
    ck_assert_ptr_null(w.results[before].token);
    ck_assert_int_eq(w.results[before].status, 0);
    ck_assert_uint_eq(w.results[before].prev, position);
    uint32_t again = post("two");
    ck_assert_int_eq(w.results[again].status, CHATHUB_EDUP);
    ck_assert_uint_eq(w.results[again].position, w.results[before].position);
}
END_TEST

/* The file gives the number of a room that came to nothing to the next one. */
START_TEST(what_is_found_is_shown_in_its_own_room)
{
    open_room(1, "x");
    atomic_store(&write_fails, SQLITE_IOERR_WRITE);
    ck_assert_int_eq(w.results[post("in x")].status, CHATHUB_EUNKNOWN);
    atomic_store(&write_fails, 0);
    poll_until(&w.ups, 1);
    open_room(2, "y");
    atomic_store(&sync_fails, SQLITE_IOERR_FSYNC);
    ck_assert_int_eq(w.results[post("in y")].status, CHATHUB_EUNKNOWN);
    uint32_t before = w.reported;
    atomic_store(&sync_fails, 0);
    poll_until(&w.ups, 2);
    ck_assert_uint_eq(w.reported, before + 1);
    ck_assert_ptr_null(w.results[before].token);
    ck_assert_uint_eq(w.results[before].room, 2);
}
END_TEST

START_TEST(a_lock_of_another_program_is_told_and_passes)
{
    sqlite3 *other;
    ck_assert_int_eq(w.results[post("one")].status, 0);
    ck_assert_int_eq(sqlite3_open(w.path, &other), SQLITE_OK);
    ck_assert_int_eq(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    uint32_t at = post("two");
    ck_assert_int_eq(w.results[at].status, CHATHUB_ELOG);
    ck_assert_ptr_nonnull(strstr(w.results[at].why, "lock"));
    ck_assert_int_eq(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    ck_assert_int_eq(w.results[post_until_taken("two")].status, 0);
    ck_assert_uint_eq(count_entries(), 2);
}
END_TEST

START_TEST(below_the_floor_of_free_space_posts_are_refused)
{
    ck_assert_int_eq(w.results[post("one")].status, 0);
    w.settings.log_free = UINT64_C(1) << 60;
    uint32_t at = post("two");
    while (w.results[at].status == 0) { /* it looks now and then */
        w.reported = 0;
        at = post(NULL);
    }
    ck_assert_int_eq(w.results[at].status, CHATHUB_ELOG);
    ck_assert_ptr_nonnull(strstr(w.results[at].why, "log-free"));
    w.settings.log_free = 0;
    post_until_taken("three");
    ck_assert_uint_eq(w.downs, 1);
}
END_TEST

START_TEST(a_post_that_is_refused_harms_no_other)
{
    ck_assert_int_eq(w.results[post("one")].status, 0);
    w.settings.max_cids = 1;
    open_room(1, "another room");
    uint32_t at = post("two");
    while (w.results[at].status == 0) { /* it hears of the settings at its next round */
        w.reported = 0;
        at = post("two");
    }
    ck_assert_int_eq(w.results[at].status, CHATHUB_ELOG);
    ck_assert_int_eq(w.results[post(NULL)].status, 0);
    w.log->poll(w.log);
    ck_assert_uint_eq(w.downs, 0);
}
END_TEST

START_TEST(a_file_that_fails_in_every_way_is_let_go_of)
{
    ck_assert_int_eq(w.results[post("one")].status, 0);
    atomic_store(&sync_fails, SQLITE_IOERR_FSYNC);
    atomic_store(&write_fails, SQLITE_IOERR_WRITE);
    ck_assert_int_ne(w.results[post("two")].status, 0);
    append("three", NULL); /* teardown frees the log now, in mid-failure */
}
END_TEST

START_TEST(what_was_acked_is_there_after_it_all)
{
    uint32_t acked = 0;
    for (uint32_t round = 0; round < 6; round++) {
        char cid[16];
        atomic_store(round % 2 ? &sync_fails : &write_fails,
                     round % 2 ? SQLITE_IOERR_FSYNC : SQLITE_FULL);
        snprintf(cid, sizeof(cid), "c%u", round);
        post(cid);
        atomic_store(&sync_fails, 0);
        atomic_store(&write_fails, 0);
        uint32_t at = post_until_taken(cid);
        acked += w.results[at].status == 0 || w.results[at].status == CHATHUB_EDUP;
        w.reported = 0;
    }
    ck_assert_uint_eq(acked, 6);
    ck_assert_uint_eq(count_entries(), 6);
    w.log->free(w.log);
    open_log();
    ck_assert_uint_eq(count_entries(), 6);
}
END_TEST

int main(void)
{
    use_bad_disk();
    Suite *s = suite_create("log/sqlite on a bad disk");
    TCase *t = tcase_create("faults");
    tcase_add_checked_fixture(t, setup, teardown);
    tcase_set_timeout(t, 60);
    tcase_add_test(t, a_full_disk_refuses_posts_with_the_reason_and_then_takes_them_again);
    tcase_add_test(t, nothing_is_acked_after_a_failed_sync_until_the_file_was_opened_anew);
    tcase_add_test(t, what_was_committed_though_nobody_knew_is_shown);
    tcase_add_test(t, what_is_found_is_shown_in_its_own_room);
    tcase_add_test(t, a_lock_of_another_program_is_told_and_passes);
    tcase_add_test(t, below_the_floor_of_free_space_posts_are_refused);
    tcase_add_test(t, a_post_that_is_refused_harms_no_other);
    tcase_add_test(t, a_file_that_fails_in_every_way_is_let_go_of);
    tcase_add_test(t, what_was_acked_is_there_after_it_all);
    suite_add_tcase(s, t);
    return unit_run(s);
}
