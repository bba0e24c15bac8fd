/* Which SQLite schema suits a log of many rooms: what appending costs, and reading a page.
 *
 * a: entries by (room, position), without rowids. b: entries by position, with an index on (room,
 * position). c: entries by position, each with the position before it in its room; a row for each
 * room, and
 *    a mark at every 32nd entry of a room, from which a reader walks back.
 * d: as c, but a mark holds the positions of the entries that it ends, so that only the entries
 *    behind the last mark are walked.
 * e: as d, but the rooms' rows are written once for each checkpoint, not in each commit: who
 *    begins anew must read the entries behind the last of them.
 *
 * With --replay FILE: appends to a new file of kind c, in batches of the sizes that stand in FILE,
 * and prints one JSON object: what a log can be compared with that has this schema.
 *
 * One connection appends: WAL, a passive checkpoint when the WAL has 4096 pages. Pages of 50 are
 * read by another. Prints one table; lines "page" give microseconds of CPU for a page. */
#include <fcntl.h>
#include <inttypes.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define WAL_PAGES 4096
#define PAGE      50
#define MARKS     128 /* the most entries between marks */
#define BULK      5000

struct room {
    int64_t top, entries, bytes;
    uint32_t recent[MARKS]; /* positions since the last mark */
    bool dirty;
};

struct log {
    char kind, path[300];
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *insert, *update, *mark;
    struct room *rooms;
    uint32_t count, *dirty, dirty_count;
    int64_t position;
    int frames, checkpoints;
};

struct reader {
    char kind;
    sqlite3 *db;
    sqlite3_stmt *begin, *commit, *after, *before, *top, *next, *last, *prev, *load;
    int64_t at[PAGE + 4 * MARKS];
    int count;
};

struct options {
    const char *dir, *kinds, *replay, *sync;
    uint32_t rows, rooms[2], single, marks, pages;
    double seconds;
};

static struct options options = {"/var/tmp",   "abcde", NULL, "full", 300000,
                                 {100, 10000}, 1000000, 32,   1500,   0.8};
static uint64_t syncs, written, seed = 88172645463325252u;

/* In place of libc's, for the library as well: counted. */
int fdatasync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    syncs++;
    return (int)syscall(SYS_fsync, fd);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    written += len;
    return syscall(SYS_pwrite64, fd, data, len, at);
}

static uint32_t chance(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)((seed >> 32) % below);
}

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void check(sqlite3 *db, bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "schema: %s: %s\n", what, db ? sqlite3_errmsg(db) : "failed");
        exit(1);
    }
}

static void run(sqlite3 *db, const char *sql)
{
    check(db, sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

static sqlite3_stmt *prepare(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *s = NULL;
    check(db, sqlite3_prepare_v3(db, sql, -1, SQLITE_PREPARE_PERSISTENT, &s, NULL) == SQLITE_OK,
          sql);
    return s;
}

static void perform(sqlite3 *db, sqlite3_stmt *s)
{
    check(db, sqlite3_step(s) == SQLITE_DONE, "step");
    sqlite3_reset(s);
}

static int take_frames(void *data, sqlite3 *db, const char *name, int frames)
{
    struct log *l = data;
    (void)db;
    (void)name;
    l->frames = frames;
    return SQLITE_OK;
}

#define COLUMNS "time INTEGER, type INTEGER, sender TEXT, user TEXT, cid TEXT, content TEXT, data"

static const char *tables(char kind)
{
    switch (kind) {
    case 'a':
        return "CREATE TABLE entries(room INTEGER, position INTEGER, prev INTEGER, " COLUMNS
               ", PRIMARY KEY(room, position)) WITHOUT ROWID";
    case 'b':
        return "CREATE TABLE entries(position INTEGER PRIMARY KEY, room INTEGER, prev "
               "INTEGER, " COLUMNS "); CREATE UNIQUE INDEX by_room ON entries(room, position)";
    default:
        return "CREATE TABLE entries(position INTEGER PRIMARY KEY, room INTEGER, prev INTEGER, "
               "bytes INTEGER, " COLUMNS "); CREATE TABLE rooms(id INTEGER PRIMARY KEY, name TEXT, "
               "top INTEGER, entries INTEGER, bytes INTEGER); CREATE TABLE marks(room INTEGER, "
               "position INTEGER, recent BLOB, PRIMARY KEY(room, position)) WITHOUT ROWID";
    }
}

static void fill_rooms(struct log *l)
{
    sqlite3_stmt *s = prepare(l->db, "INSERT INTO rooms VALUES(?, ?, 0, 0, 0)");
    run(l->db, "BEGIN");
    for (uint32_t i = 0; i < l->count; i++) {
        char name[32];
        int n = snprintf(name, sizeof name, "room-%" PRIu32, i);
        sqlite3_bind_int64(s, 1, i);
        sqlite3_bind_text(s, 2, name, n, SQLITE_TRANSIENT);
        perform(l->db, s);
    }
    run(l->db, "COMMIT");
    sqlite3_finalize(s);
}

static void open_log(struct log *l, char kind, uint32_t rooms)
{
    *l = (struct log){.kind = kind, .count = rooms};
    snprintf(l->path, sizeof l->path, "%s/%c-%" PRIu32, options.dir, kind, rooms);
    l->rooms = calloc(rooms, sizeof *l->rooms);
    l->dirty = calloc(rooms, sizeof *l->dirty);
    check(NULL, l->rooms && l->dirty && sqlite3_open(l->path, &l->db) == SQLITE_OK, l->path);
    run(l->db, "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0;"
               "PRAGMA cache_size=-8192; PRAGMA synchronous=OFF");
    sqlite3_wal_hook(l->db, take_frames, l);
    run(l->db, tables(kind));
    l->begin = prepare(l->db, "BEGIN IMMEDIATE");
    l->commit = prepare(l->db, "COMMIT");
    const char *columns = "(position, room, prev, time, type, sender, user, cid, content, data";
    char sql[200];
    snprintf(sql, sizeof sql, "INSERT INTO entries%s%s) VALUES(?,?,?,?,?,?,?,?,?,?%s)", columns,
             kind >= 'c' ? ", bytes" : "", kind >= 'c' ? ",?" : "");
    l->insert = prepare(l->db, sql);
    if (kind >= 'c') {
        fill_rooms(l);
        l->update = prepare(l->db, "UPDATE rooms SET top=?2, entries=?3, bytes=?4 WHERE id=?1");
        l->mark = prepare(l->db, "INSERT INTO marks VALUES(?, ?, ?)");
    }
}

static void close_log(struct log *l)
{
    sqlite3_stmt *all[] = {l->begin, l->commit, l->insert, l->update, l->mark};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sqlite3_finalize(all[i]);
    }
    check(l->db, sqlite3_close(l->db) == SQLITE_OK, "close");
    unlink(l->path);
    free(l->rooms);
    free(l->dirty);
}

static void mark_room(struct log *l, uint32_t i)
{
    struct room *room = &l->rooms[i];
    uint32_t slot = (uint32_t)(room->entries % options.marks);
    room->recent[slot] = (uint32_t)l->position;
    if (!room->dirty) {
        room->dirty = true;
        l->dirty[l->dirty_count++] = i;
    }
    if (slot + 1 == options.marks) {
        sqlite3_bind_int64(l->mark, 1, i);
        sqlite3_bind_int64(l->mark, 2, l->position);
        if (l->kind >= 'd') {
            sqlite3_bind_blob(l->mark, 3, room->recent, (int)(options.marks * sizeof(uint32_t)),
                              SQLITE_STATIC);
        }
        perform(l->db, l->mark);
    }
}

static void append(struct log *l, uint32_t i)
{
    static char text[201];
    struct room *room = &l->rooms[i];
    char cid[17];
    if (!*text) {
        memset(text, 'x', 200);
    }
    snprintf(cid, sizeof cid, "%016" PRIx64, ++l->position);
    sqlite3_bind_int64(l->insert, 1, l->position);
    sqlite3_bind_int64(l->insert, 2, i);
    sqlite3_bind_int64(l->insert, 3, room->top);
    sqlite3_bind_int64(l->insert, 4, INT64_C(1767225600000) + l->position);
    sqlite3_bind_int64(l->insert, 5, 1);
    sqlite3_bind_text(l->insert, 6, "sender01", 8, SQLITE_STATIC);
    sqlite3_bind_text(l->insert, 7, "0123456789abcdef", 16, SQLITE_STATIC);
    sqlite3_bind_text(l->insert, 8, cid, 16, SQLITE_STATIC);
    sqlite3_bind_text(l->insert, 9, text, 200, SQLITE_STATIC);
    sqlite3_bind_text(l->insert, 10, "", 0, SQLITE_STATIC);
    if (l->kind >= 'c') {
        sqlite3_bind_int64(l->insert, 11, 240);
    }
    perform(l->db, l->insert);
    if (l->kind >= 'c') {
        mark_room(l, i);
    }
    room->top = l->position;
    room->entries++;
    room->bytes += 240;
}

static void checkpoint(struct log *l)
{
    int rc = sqlite3_wal_checkpoint_v2(l->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    check(l->db, rc == SQLITE_OK, "checkpoint");
    l->frames = 0;
    l->checkpoints++;
}

static void write_rooms(struct log *l)
{
    for (uint32_t i = 0; i < l->dirty_count; i++) {
        struct room *room = &l->rooms[l->dirty[i]];
        sqlite3_bind_int64(l->update, 1, l->dirty[i]);
        sqlite3_bind_int64(l->update, 2, room->top);
        sqlite3_bind_int64(l->update, 3, room->entries);
        sqlite3_bind_int64(l->update, 4, room->bytes);
        perform(l->db, l->update);
        room->dirty = false;
    }
    l->dirty_count = 0;
}

static void append_batch(struct log *l, uint32_t batch)
{
    perform(l->db, l->begin);
    for (uint32_t i = 0; i < batch; i++) {
        append(l, chance(l->count));
    }
    if (l->kind < 'e') {
        write_rooms(l);
    }
    perform(l->db, l->commit);
    if (l->frames >= WAL_PAGES) {
        perform(l->db, l->begin);
        write_rooms(l);
        perform(l->db, l->commit);
        checkpoint(l);
    }
}

/* Whole rounds from checkpoint to checkpoint, unless they take four times too long. */
static void measure_appends(struct log *l, const char *mode, uint32_t batch)
{
    int pages = 0, peak;
    char sql[64];
    snprintf(sql, sizeof sql, "PRAGMA synchronous=%s", mode);
    run(l->db, sql);
    checkpoint(l);
    sqlite3_db_status(l->db, SQLITE_DBSTATUS_CACHE_WRITE, &pages, &peak, 1);
    l->checkpoints = 0;
    uint64_t syncs_before = syncs, written_before = written;
    double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID), spent = 0;
    double rows = 0;
    do {
        append_batch(l, batch);
        rows += batch;
        spent = now(CLOCK_MONOTONIC) - wall;
    } while (spent < options.seconds || (l->frames && spent < 4 * options.seconds));
    if (l->frames) {
        checkpoint(l);
    }
    cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    wall = now(CLOCK_MONOTONIC) - wall;
    sqlite3_db_status(l->db, SQLITE_DBSTATUS_CACHE_WRITE, &pages, &peak, 0);
    printf("%c %7" PRIu32 " %-6s %5" PRIu32 " %9.0f %8.1f %8.3f %8.2f %8.3f %6.0f %5d\n", l->kind,
           l->count, mode, batch, rows / wall, cpu * 1e6 / rows, pages / rows,
           (double)(written - written_before) / 1024 / rows,
           (double)(syncs - syncs_before) * batch / rows, rows / batch, l->checkpoints);
    fflush(stdout);
}

static void open_reader(struct reader *r, const struct log *l)
{
    *r = (struct reader){.kind = l->kind};
    check(NULL, sqlite3_open_v2(l->path, &r->db, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK, "open");
    run(r->db, "PRAGMA cache_size=-8192");
    r->begin = prepare(r->db, "BEGIN");
    r->commit = prepare(r->db, "COMMIT");
    if (l->kind < 'c') {
        r->after = prepare(r->db, "SELECT * FROM entries WHERE room=? AND position>? "
                                  "ORDER BY position LIMIT 50");
        r->before = prepare(r->db, "SELECT * FROM entries WHERE room=? AND position<? "
                                   "ORDER BY position DESC LIMIT 50");
        return;
    }
    r->top = prepare(r->db, "SELECT top FROM rooms WHERE id=?");
    r->next = prepare(r->db, "SELECT position, recent FROM marks WHERE room=? AND position>? "
                             "ORDER BY position");
    r->last = prepare(r->db, "SELECT position, recent FROM marks WHERE room=? AND position<? "
                             "ORDER BY position DESC");
    r->prev = prepare(r->db, "SELECT prev, bytes FROM entries WHERE position=?");
    r->load = prepare(r->db, "SELECT * FROM entries WHERE position=?");
}

static void close_reader(struct reader *r)
{
    sqlite3_stmt *all[] = {r->begin, r->commit, r->after, r->before, r->top,
                           r->next,  r->last,   r->prev,  r->load};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sqlite3_finalize(all[i]);
    }
    check(r->db, sqlite3_close(r->db) == SQLITE_OK, "close");
}

static uint64_t take_row(sqlite3_stmt *s)
{
    uint64_t sum = 0;
    for (int i = 0; i < sqlite3_column_count(s); i++) {
        if (sqlite3_column_type(s, i) == SQLITE_INTEGER) {
            sum += (uint64_t)sqlite3_column_int64(s, i);
        } else {
            sum += sqlite3_column_text(s, i) ? (uint64_t)sqlite3_column_bytes(s, i) : 0;
        }
    }
    return sum;
}

static void bind_two(sqlite3_stmt *s, int64_t room, int64_t position)
{
    sqlite3_bind_int64(s, 1, room);
    sqlite3_bind_int64(s, 2, position);
}

static int64_t top_of(struct reader *r, int64_t room)
{
    sqlite3_bind_int64(r->top, 1, room);
    int64_t top = sqlite3_step(r->top) == SQLITE_ROW ? sqlite3_column_int64(r->top, 0) : 0;
    sqlite3_reset(r->top);
    return top;
}

static int64_t before(struct reader *r, int64_t position)
{
    sqlite3_bind_int64(r->prev, 1, position);
    check(r->db, sqlite3_step(r->prev) == SQLITE_ROW, "a broken chain");
    int64_t prev = sqlite3_column_int64(r->prev, 0);
    sqlite3_reset(r->prev);
    return prev;
}

/* The entries from position `at` back to what follows `from`, in ascending order. */
static void walk_up_to(struct reader *r, int64_t at, int64_t from)
{
    int64_t found[2 * MARKS];
    int n = 0;
    for (; at > from && n < 2 * MARKS; at = before(r, at)) {
        found[n++] = at;
    }
    while (n > 0) {
        r->at[r->count++] = found[--n];
    }
}

static void find_after(struct reader *r, int64_t room, int64_t from)
{
    bool more = true;
    bind_two(r->next, room, from);
    while (r->count < PAGE && more) {
        more = sqlite3_step(r->next) == SQLITE_ROW;
        int64_t at = more ? sqlite3_column_int64(r->next, 0) : top_of(r, room);
        const uint32_t *held = more ? sqlite3_column_blob(r->next, 1) : NULL;
        if (!held) {
            walk_up_to(r, at, from);
        }
        for (uint32_t i = 0; held && i < options.marks; i++) {
            if (held[i] > from) {
                r->at[r->count++] = held[i];
            }
        }
        from = at;
    }
    sqlite3_reset(r->next);
    r->count = r->count < PAGE ? r->count : PAGE;
}

static void take_held(struct reader *r, const uint32_t *held, int64_t end)
{
    for (uint32_t i = options.marks; held && i > 0 && r->count < PAGE; i--) {
        if (held[i - 1] < end) {
            r->at[r->count++] = held[i - 1];
        }
    }
}

static void find_before(struct reader *r, int64_t room, int64_t end)
{
    bind_two(r->next, room, end - 1);
    bool marked = sqlite3_step(r->next) == SQLITE_ROW;
    int64_t at = marked ? sqlite3_column_int64(r->next, 0) : top_of(r, room);
    if (marked && r->kind >= 'd') {
        take_held(r, sqlite3_column_blob(r->next, 1), end);
    }
    sqlite3_reset(r->next);
    int64_t stop = 0;
    bind_two(r->last, room, end);
    bool more = r->kind >= 'd' && sqlite3_step(r->last) == SQLITE_ROW;
    if (more) {
        stop = sqlite3_column_int64(r->last, 0);
    }
    for (; (!marked || r->kind == 'c') && at > stop && r->count < PAGE; at = before(r, at)) {
        if (at < end) {
            r->at[r->count++] = at;
        }
    }
    for (; more && r->count < PAGE; more = sqlite3_step(r->last) == SQLITE_ROW) {
        take_held(r, sqlite3_column_blob(r->last, 1), end);
    }
    sqlite3_reset(r->last);
}

static uint64_t read_page(struct reader *r, int64_t room, int64_t place, bool forward, int *rows)
{
    uint64_t sum = 0;
    r->count = 0;
    if (r->kind < 'c') {
        sqlite3_stmt *s = forward ? r->after : r->before;
        bind_two(s, room, place);
        for (; sqlite3_step(s) == SQLITE_ROW; ++*rows) {
            sum += take_row(s);
        }
        sqlite3_reset(s);
        return sum;
    }
    perform(r->db, r->begin);
    if (forward) {
        find_after(r, room, place);
    } else {
        find_before(r, room, place);
    }
    for (int i = 0; i < r->count; i++) {
        sqlite3_bind_int64(r->load, 1, r->at[forward ? i : r->count - 1 - i]);
        check(r->db, sqlite3_step(r->load) == SQLITE_ROW, "a lost entry");
        sum += take_row(r->load);
        sqlite3_reset(r->load);
    }
    perform(r->db, r->commit);
    *rows += r->count;
    return sum;
}

/* Forward (>) and backward (<) from places in the middle half, and the last page (|). */
static void measure_pages(struct log *l, char which)
{
    struct reader r;
    double cpu = 0, wall = 0;
    uint64_t sum = 0;
    int rows = 0, misses = 0, peak;
    write_rooms(l);
    checkpoint(l);
    open_reader(&r, l);
    uint32_t half = (uint32_t)(l->position / 2);
    for (uint32_t i = 0; i < options.pages + options.pages / 4; i++) {
        if (i == options.pages / 4) {
            rows = 0;
            sqlite3_db_status(r.db, SQLITE_DBSTATUS_CACHE_MISS, &misses, &peak, 1);
            cpu = now(CLOCK_THREAD_CPUTIME_ID);
            wall = now(CLOCK_MONOTONIC);
        }
        int64_t place = which == '|' ? l->position + 1 : half / 2 + chance(half);
        sum += read_page(&r, chance(l->count), place, which == '>', &rows);
    }
    cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    wall = now(CLOCK_MONOTONIC) - wall;
    sqlite3_db_status(r.db, SQLITE_DBSTATUS_CACHE_MISS, &misses, &peak, 0);
    printf("%c %7" PRIu32 " page%c  %5.1f %9.0f %8.1f   pages missed in the cache: %.1f%s\n",
           l->kind, l->count, which, (double)rows / options.pages, rows / wall,
           cpu * 1e6 / options.pages, (double)misses / options.pages, sum ? "" : " (none)");
    fflush(stdout);
    close_reader(&r);
}

static void measure(char kind, uint32_t rooms, uint32_t rows, bool appends)
{
    static const uint32_t batches[] = {1, 10, 50, 500};
    static struct log l;
    struct stat about;
    open_log(&l, kind, rooms);
    double cpu = now(CLOCK_THREAD_CPUTIME_ID);
    for (uint32_t done = 0; done < rows; done += BULK) {
        append_batch(&l, BULK);
    }
    cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    checkpoint(&l);
    stat(l.path, &about);
    printf("%c %7" PRIu32 " fill   %5d %9s %8.1f   bytes a row: %.0f\n", kind, rooms, BULK, "",
           cpu * 1e6 / rows, (double)about.st_size / rows);
    for (const char *which = "><|"; *which; which++) {
        measure_pages(&l, *which);
    }
    for (size_t i = 0; appends && i < 8; i++) {
        measure_appends(&l, i < 4 ? "FULL" : "NORMAL", batches[i % 4]);
    }
    close_log(&l);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure_disk(void)
{
    static char block[4096];
    char path[300];
    double took[400];
    snprintf(path, sizeof path, "%s/block", options.dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    check(NULL, fd >= 0, path);
    double cpu = now(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < 400; i++) {
        took[i] = now(CLOCK_MONOTONIC);
        bool good = pwrite64(fd, block, sizeof block, (off64_t)(i % 100) * 4096) == 4096;
        check(NULL, good && fdatasync(fd) == 0, "pwrite and fdatasync");
        took[i] = now(CLOCK_MONOTONIC) - took[i];
    }
    cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    close(fd);
    unlink(path);
    qsort(took + 100, 300, sizeof *took, compare); /* the first hundred make the file longer */
    printf("4 KiB pwrite + fdatasync: median %.0f us, 90%% %.0f us, CPU %.0f us\n", took[250] * 1e6,
           took[370] * 1e6, cpu * 1e6 / 400);
}

/* Numbers from the file, one a line, in `sizes`; answers how many. */
static uint32_t read_sizes(uint32_t **sizes)
{
    uint32_t count = 0, room = 0, size;
    FILE *file = fopen(options.replay, "re");
    check(NULL, file != NULL, options.replay);
    for (*sizes = NULL; fscanf(file, "%" SCNu32, &size) == 1; (*sizes)[count++] = size) {
        room = count == room ? 2 * room + 64 : room;
        *sizes = realloc(*sizes, room * sizeof **sizes);
        check(NULL, *sizes != NULL, "memory");
    }
    fclose(file);
    check(NULL, count > 0, "no sizes to replay");
    return count;
}

static void replay(void)
{
    static struct log l;
    char sql[64];
    uint32_t *sizes, count = read_sizes(&sizes);
    open_log(&l, 'c', options.rooms[0]);
    snprintf(sql, sizeof sql, "PRAGMA synchronous=%s", options.sync);
    run(l.db, sql);
    for (uint32_t done = 0; done < options.rows; done += BULK / 5) {
        append_batch(&l, BULK / 5);
    }
    double wall = now(CLOCK_MONOTONIC), cpu = now(CLOCK_THREAD_CPUTIME_ID), rows = 0, spent = 0;
    uint32_t batches = 0;
    uint64_t written_before = written, syncs_before = syncs;
    for (; spent < options.seconds; spent = now(CLOCK_MONOTONIC) - wall) {
        append_batch(&l, sizes[batches % count]);
        rows += sizes[batches++ % count];
    }
    cpu = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
    printf("{\"posts\":%.0f,\"seconds\":%.4f,\"commits\":%" PRIu32 ",\"writer_us\":%.3f,"
           "\"kib\":%.3f,\"syncs\":%" PRIu64 "}\n",
           rows, spent, batches, cpu * 1e6 / rows, (double)(written - written_before) / 1024 / rows,
           syncs - syncs_before);
    close_log(&l);
    free(sizes);
}

static int usage(void)
{
    fprintf(stderr, "usage: schema [--dir D] [--kinds abcde] [--rows N] [--rooms R] [--single N]\n"
                    "              [--marks M] [--pages N] [--seconds S]\n"
                    "       schema --replay FILE [--sync full|normal] [--dir D] [--rows N]\n"
                    "              [--rooms R] [--seconds S]\n");
    return 2;
}

static bool take_option(const char *name, const char *value)
{
    uint32_t n = (uint32_t)strtoul(value, NULL, 10);
    if (!strcmp(name, "--dir")) {
        options.dir = value;
    } else if (!strcmp(name, "--kinds")) {
        options.kinds = value;
    } else if (!strcmp(name, "--replay")) {
        options.replay = value;
    } else if (!strcmp(name, "--sync")) {
        options.sync = value;
    } else if (!strcmp(name, "--rows")) {
        options.rows = n;
    } else if (!strcmp(name, "--rooms")) {
        options.rooms[0] = n;
        options.rooms[1] = 0;
    } else if (!strcmp(name, "--single")) {
        options.single = n;
    } else if (!strcmp(name, "--marks")) {
        options.marks = n;
    } else if (!strcmp(name, "--pages")) {
        options.pages = n;
    } else if (!strcmp(name, "--seconds")) {
        options.seconds = strtod(value, NULL);
    } else {
        return false;
    }
    return options.marks > 0 && options.marks <= MARKS && !strchr(options.kinds, '/');
}

int main(int argc, char **argv)
{
    char dir[256];
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc || !take_option(argv[i], argv[i + 1])) {
            return usage();
        }
    }
    snprintf(dir, sizeof dir, "%s/schema.%d", options.dir, (int)getpid());
    check(NULL, mkdir(dir, 0700) == 0, dir);
    options.dir = dir;
    if (options.replay) {
        replay();
        rmdir(dir);
        return 0;
    }
    measure_disk();
    printf("%c %7s %-6s %5s %9s %8s %8s %8s %8s %6s %5s\n", ' ', "rooms", "what", "batch", "rows/s",
           "us CPU", "WAL pg", "KiB", "fsyncs", "comm.", "ckpt");
    printf("%24s%39s%9s\n", "", "each row:      us       pages      KiB", "a commit");
    for (size_t i = 0; i < 2 && options.rooms[i]; i++) {
        for (const char *kind = options.kinds; *kind; kind++) {
            measure(*kind, options.rooms[i], options.rows, true);
        }
    }
    for (const char *kind = options.kinds; *kind && options.single; kind++) {
        measure(*kind, 1, options.single, false);
    }
    rmdir(dir);
    return 0;
}
