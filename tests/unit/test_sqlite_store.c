/* The SQLite log's store: against a model, and what it promises of files and transactions. */
#include "store_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define ROOMS   5
#define ENTRIES 4000 /* of one room in the model */

/* ---------------------------------------------------------------------------------------- model */

struct model_room {
    char name[8];
    struct chi_entry *entries[ENTRIES]; /* all that were ever written; NULL: deleted */
    uint32_t first, count;              /* the oldest that is kept; written ever */
    struct chi_stored_room stored;      /* what the store moves along */
};

struct model {
    uint64_t seed;
    sqlite3 *db;
    struct chi_store *store;
    struct model_room rooms[ROOMS];
    uint64_t last; /* position */
    uint64_t time;
};

static uint32_t chance(struct model *m, uint32_t below)
{
    return world_chance(&m->seed, below);
}

static struct model *model_new(uint64_t seed)
{
    struct model *m = calloc(1, sizeof *m);
    ck_assert_ptr_nonnull(m);
    m->seed = seed * 0x9e3779b97f4a7c15u + 1;
    m->db = world_open(":memory:");
    m->store = world_store(m->db);
    m->time = 5000;
    for (uint32_t i = 0; i < ROOMS; i++)
        snprintf(m->rooms[i].name, sizeof m->rooms[i].name, "room%u", i);
    return m;
}

static void model_free(struct model *m)
{
    for (uint32_t i = 0; i < ROOMS; i++)
        for (uint32_t j = 0; j < m->rooms[i].count; j++)
            chi_entry_unref(m->rooms[i].entries[j]);
    chi_store_free(m->store);
    ck_assert_int_eq(sqlite3_close(m->db), SQLITE_OK);
    free(m);
}

static uint64_t model_bytes(const struct model_room *room)
{
    uint64_t bytes = 0;
    for (uint32_t i = room->first; i < room->count; i++)
        bytes += chi_entry_size(room->entries[i]);
    return bytes;
}

static void model_drop(struct model_room *room)
{
    chi_entry_unref(room->entries[room->first]);
    room->entries[room->first++] = NULL;
}

static struct chi_span random_text(struct model *m, char *at, uint32_t most)
{
    static const struct chi_span pieces[] = {{"a", 1},        {"Z9", 2},   {" ", 1},    {"\n", 1},
                                             {"\xc3\xa9", 2}, {"漢字", 6}, {"🙂", 4}, {"\"", 1},
                                             {"%s", 2},       {"'", 1}};
    size_t len = 0, want = chance(m, most + 1);
    for (;;) {
        struct chi_span piece = pieces[chance(m, 10)];
        if (len + piece.len > want)
            return (struct chi_span){len ? at : NULL, len};
        memcpy(at + len, piece.at, piece.len);
        len += piece.len;
    }
}

static struct chi_entry *random_entry(struct model *m, struct model_room *room)
{
    static char space[5][12000];
    uint32_t large = chance(m, 20) ? 100 : 12000; /* the larger have pages of their own */
    struct chi_entry_parts parts = {
        .sender = random_text(m, space[0], 40),
        .user = random_text(m, space[1], 30),
        .cid = chance(m, 2) ? random_text(m, space[2], 64) : (struct chi_span){NULL, 0},
        .content = random_text(m, space[3], large),
        .data = chance(m, 3) ? (struct chi_span){NULL, 0} : random_text(m, space[4], large),
    };
    struct chi_entry *entry = chi_entry_new((uint16_t)(1 + chance(m, 3)), &parts);
    m->last += 1 + (chance(m, 4) ? 0 : chance(m, 50));
    m->time += chance(m, 3);
    entry->position = m->last;
    entry->prev = room->stored.top;
    entry->time = m->time;
    return entry;
}

static void stored_is_read(struct model *m)
{
    for (uint32_t i = 0; i < ROOMS; i++)
        ck_assert_int_eq(
            chi_store_room(m->store, chi_span_of(m->rooms[i].name), &m->rooms[i].stored),
            SQLITE_OK);
}

/* A transaction of some entries in some rooms; now and then it is rolled back. */
static void random_appends(struct model *m)
{
    struct chi_entry *written[100];
    uint32_t to[100], n = 1 + chance(m, 100);
    bool touched[ROOMS] = {false};
    FAST(chi_store_begin(m->store) == SQLITE_OK);
    for (uint32_t i = 0; i < n; i++) {
        to[i] = chance(m, 1 + chance(m, ROOMS));
        struct model_room *room = &m->rooms[to[i]];
        written[i] = random_entry(m, room);
        FAST(chi_store_append(m->store, &room->stored, chi_span_of(room->name), written[i]) ==
             SQLITE_OK);
        touched[to[i]] = true;
    }
    for (uint32_t i = 0; i < ROOMS; i++)
        if (touched[i])
            FAST(chi_store_room_save(m->store, &m->rooms[i].stored) == SQLITE_OK);
    bool kept = chance(m, 8);
    if (kept)
        FAST(chi_store_commit(m->store) == SQLITE_OK);
    else
        chi_store_rollback(m->store);
    for (uint32_t i = 0; i < n; i++) {
        struct model_room *room = &m->rooms[to[i]];
        FAST(room->count < ENTRIES);
        if (kept)
            room->entries[room->count++] = written[i];
        else
            chi_entry_unref(written[i]);
    }
    stored_is_read(m);
}

/* ------------------------------------------------------------------------- rooms and their sums */

static void rooms_are_right(struct model *m)
{
    uint64_t total = 0, told = 0, last = 0, newest = 0;
    for (uint32_t i = 0; i < ROOMS; i++) {
        struct model_room *room = &m->rooms[i];
        struct chi_stored_room stored;
        ck_assert_int_eq(chi_store_room(m->store, chi_span_of(room->name), &stored), SQLITE_OK);
        ck_assert_int_eq(stored.id != 0, room->count != 0);
        ck_assert_uint_eq(stored.entries, room->count - room->first);
        ck_assert_uint_eq(stored.bytes, model_bytes(room));
        ck_assert_uint_eq(stored.written, room->count);
        total += stored.bytes;
        newest = stored.top > newest ? stored.top : newest;
        if (room->count > room->first)
            ck_assert_uint_eq(stored.top, room->entries[room->count - 1]->position);
    }
    ck_assert_int_eq(chi_store_total(m->store, &told), SQLITE_OK);
    ck_assert_uint_eq(told, total);
    ck_assert_int_eq(chi_store_last(m->store, &last), SQLITE_OK);
    ck_assert_uint_eq(last, newest);
    ck_assert_int_eq(world_number(m->db,
                                  "SELECT count(*) FROM marks WHERE NOT EXISTS (SELECT 1 FROM"
                                  " entries e WHERE e.position=marks.position"
                                  " AND e.room=marks.room)"),
                     0);
}

static void random_find(struct model *m)
{
    uint64_t position = chance(m, (uint32_t)m->last + 2);
    int64_t expected = 0, room;
    for (uint32_t i = 0; i < ROOMS; i++)
        for (uint32_t j = m->rooms[i].first; j < m->rooms[i].count; j++)
            if (m->rooms[i].entries[j]->position == position)
                expected = m->rooms[i].stored.id;
    ck_assert_int_eq(chi_store_find(m->store, position, &room), expected ? SQLITE_OK : SQLITE_DONE);
    ck_assert_int_eq(room, expected);
}

static void random_over(struct model *m)
{
    uint64_t entries = chance(m, 4) ? chance(m, 1000) : UINT64_MAX;
    uint64_t bytes = chance(m, 4) ? chance(m, 500000) : UINT64_MAX;
    int64_t room = 0, after = 0;
    for (;;) {
        int64_t expected = 0;
        for (uint32_t i = 0; i < ROOMS; i++) {
            struct chi_stored_room *stored = &m->rooms[i].stored;
            if (stored->id > after && (stored->entries > entries || stored->bytes > bytes) &&
                (!expected || stored->id < expected))
                expected = stored->id;
        }
        ck_assert_int_eq(chi_store_over(m->store, after, entries, bytes, &room), SQLITE_OK);
        ck_assert_int_eq(room, expected);
        if (!room)
            return;
        after = room;
    }
}

/* ---------------------------------------------------------------------------------------- pages */

static void same_text(struct chi_span a, struct chi_span b)
{
    FAST(a.len == b.len);
    FAST(chi_span_equal(a, b));
}

static void same_entry(const struct chi_entry *a, const struct chi_entry *b)
{
    struct chi_entry_parts one = chi_entry_read(a), other = chi_entry_read(b);
    FAST(a->position == b->position);
    FAST(a->prev == b->prev);
    FAST(a->time == b->time);
    FAST(a->type == b->type);
    same_text(one.sender, other.sender);
    same_text(one.user, other.user);
    same_text(one.cid, other.cid);
    same_text(one.content, other.content);
    same_text(one.data, other.data);
}

/* Indexes [*from, *to) that a read has to answer; *more as well. */
static void expected_page(const struct model_room *room, const struct chi_log_read *read,
                          uint32_t *from, uint32_t *to, bool *more)
{
    uint32_t low = room->first, high = room->count, n = 0;
    uint64_t bytes = 0;
    while (low < high && room->entries[low]->position <= read->after)
        low++;
    while (high > low && room->entries[high - 1]->position >= read->before)
        high--;
    while (low + n < high && n < read->limit) {
        bytes += chi_entry_size(room->entries[read->backward ? high - 1 - n : low + n]);
        if (n && bytes > read->bytes)
            break;
        n++;
    }
    *from = read->backward ? high - n : low;
    *to = *from + n;
    *more = low + n < high;
}

static uint64_t random_position(struct model *m)
{
    switch (chance(m, 6)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX - chance(m, 3);
    case 2:
        return CHI_POSITION_MAX + chance(m, 3);
    default:
        return chance(m, (uint32_t)m->last + 10);
    }
}

static void random_page(struct model *m)
{
    const struct model_room *room = &m->rooms[chance(m, ROOMS)];
    static const uint32_t limits[] = {1, 2, 31, 32, 33, 50, 100, UINT32_MAX};
    static const uint32_t bytes[] = {0, 1, 500, 3000, 65536, UINT32_MAX};
    struct chi_log_read read = {
        .after = random_position(m),
        .before = random_position(m),
        .limit = chance(m, 2) ? limits[chance(m, 8)] : 1 + chance(m, 120),
        .bytes = bytes[chance(m, 6)],
        .backward = chance(m, 2),
    };
    if (!room->stored.id)
        return;
    struct chi_stored_page page;
    uint32_t from, to;
    bool more;
    expected_page(room, &read, &from, &to, &more);
    FAST(chi_store_page(m->store, room->stored.id, &read, &page) == SQLITE_OK);
    FAST(page.count == to - from);
    FAST(page.more == more);
    for (uint32_t i = 0; i < page.count; i++)
        same_entry(page.entries[i], room->entries[from + i]);
    chi_stored_page_free(&page);
}

/* A room read from end to end by pages, as a member that catches up or scrolls back does. */
static void whole_room(struct model *m, struct model_room *room, bool backward)
{
    struct chi_log_read read = {.before = UINT64_MAX,
                                .limit = 1 + chance(m, 90),
                                .bytes = 1 + chance(m, 30000),
                                .backward = backward};
    uint32_t seen = 0, kept = room->count - room->first;
    bool more = true;
    while (room->stored.id && more) {
        struct chi_stored_page page;
        FAST(chi_store_page(m->store, room->stored.id, &read, &page) == SQLITE_OK);
        more = page.more;
        FAST(page.count <= kept - seen);
        FAST(page.count || !more);
        for (uint32_t i = 0; i < page.count; i++)
            same_entry(page.entries[i], backward
                                            ? room->entries[room->count - seen - page.count + i]
                                            : room->entries[room->first + seen + i]);
        seen += page.count;
        if (page.count && backward)
            read.before = page.entries[0]->position;
        else if (page.count)
            read.after = page.entries[page.count - 1]->position;
        chi_stored_page_free(&page);
    }
    FAST(seen == kept);
}

/* ---------------------------------------------------------------------- retention and redaction */

static void random_trim_room(struct model *m)
{
    struct model_room *room = &m->rooms[chance(m, ROOMS)];
    if (!room->stored.id)
        return;
    uint32_t kept = room->count - room->first;
    uint64_t entries = chance(m, 2) ? chance(m, kept + 5) : UINT64_MAX;
    uint64_t bytes = chance(m, 3) ? UINT64_MAX : chance(m, (uint32_t)model_bytes(room) + 1);
    uint32_t limit = 1 + chance(m, 70), deleted, expected = 0;
    ck_assert_int_eq(chi_store_begin(m->store), SQLITE_OK);
    ck_assert_int_eq(
        chi_store_trim_room(m->store, room->stored.id, entries, bytes, limit, &deleted), SQLITE_OK);
    ck_assert_int_eq(chi_store_commit(m->store), SQLITE_OK);
    while (expected < limit && room->first < room->count &&
           (room->count - room->first > entries || model_bytes(room) > bytes)) {
        model_drop(room);
        expected++;
    }
    ck_assert_uint_eq(deleted, expected);
    stored_is_read(m);
}

static struct model_room *oldest_room(struct model *m)
{
    struct model_room *oldest = NULL;
    for (uint32_t i = 0; i < ROOMS; i++) {
        struct model_room *room = &m->rooms[i];
        if (room->first < room->count && (!oldest || room->entries[room->first]->position <
                                                         oldest->entries[oldest->first]->position))
            oldest = room;
    }
    return oldest;
}

static void random_trim_all(struct model *m)
{
    struct model_room *room;
    uint64_t total = 0, left, expected_left;
    uint64_t time = chance(m, 2) ? m->time - chance(m, 400) : 0;
    uint32_t limit = 1 + chance(m, 300), deleted, expected = 0;
    ck_assert_int_eq(chi_store_begin(m->store), SQLITE_OK);
    ck_assert_int_eq(chi_store_total(m->store, &total), SQLITE_OK);
    uint64_t bytes = chance(m, 2) ? UINT64_MAX : total - total / (2 + chance(m, 30));
    left = expected_left = total;
    ck_assert_int_eq(chi_store_trim_all(m->store, time, &left, bytes, limit, &deleted), SQLITE_OK);
    ck_assert_int_eq(chi_store_commit(m->store), SQLITE_OK);
    while (expected < limit && (room = oldest_room(m)) != NULL &&
           (room->entries[room->first]->time < time || expected_left > bytes)) {
        expected_left -= chi_entry_size(room->entries[room->first]);
        model_drop(room);
        expected++;
    }
    ck_assert_uint_eq(deleted, expected);
    ck_assert_uint_eq(left, expected_left);
    stored_is_read(m);
}

static void random_redaction(struct model *m)
{
    struct model_room *room = &m->rooms[chance(m, ROOMS)];
    if (room->first == room->count)
        return;
    uint32_t index = room->first + chance(m, room->count - room->first);
    struct chi_entry *old = room->entries[index];
    int64_t other = m->rooms[chance(m, ROOMS)].stored.id;
    ck_assert_int_eq(chi_store_begin(m->store), SQLITE_OK);
    if (other != room->stored.id)
        ck_assert_int_eq(chi_store_redact(m->store, other, old->position), SQLITE_DONE);
    ck_assert_int_eq(chi_store_redact(m->store, room->stored.id, m->last + 1), SQLITE_DONE);
    ck_assert_int_eq(chi_store_redact(m->store, room->stored.id, old->position), SQLITE_OK);
    ck_assert_int_eq(chi_store_commit(m->store), SQLITE_OK);
    struct chi_entry *bare = chi_entry_new(old->type, &(struct chi_entry_parts){0});
    bare->position = old->position;
    bare->prev = old->prev;
    bare->time = old->time;
    room->entries[index] = bare;
    chi_entry_unref(old);
    stored_is_read(m);
}

START_TEST(the_store_does_as_the_model)
{
    struct model *m = model_new((uint64_t)_i + 1);
    for (int i = 0; i < 150; i++) {
        uint32_t what = chance(m, 10);
        if (what < 5 && m->rooms[0].count + 100 < ENTRIES)
            random_appends(m);
        else if (what < 7)
            random_trim_room(m);
        else if (what == 7)
            random_trim_all(m);
        else
            random_redaction(m);
        for (int j = 0; j < 10; j++)
            random_page(m);
        random_find(m);
        random_over(m);
        rooms_are_right(m);
    }
    for (uint32_t i = 0; i < ROOMS; i++) {
        whole_room(m, &m->rooms[i], false);
        whole_room(m, &m->rooms[i], true);
    }
    model_free(m);
}
END_TEST

/* ------------------------------------------------------------------------------ single promises */

START_TEST(a_room_is_kept_when_all_its_entries_are_gone)
{
    sqlite3 *db = world_open(":memory:");
    struct chi_store *store = world_store(db);
    struct chi_stored_room full = world_fill(store, "a", 1, 100, 1, 10), empty;
    uint32_t deleted;
    ck_assert_int_eq(chi_store_trim_room(store, full.id, 0, 0, 1000, &deleted), SQLITE_OK);
    ck_assert_uint_eq(deleted, 100);
    ck_assert_int_eq(chi_store_room(store, CHI_SPAN("a"), &empty), SQLITE_OK);
    ck_assert_int_eq(empty.id, full.id);
    ck_assert_uint_eq(empty.top, 100);
    ck_assert_uint_eq(empty.entries + empty.bytes, 0);
    ck_assert_int_eq(world_number(db, "SELECT count(*) FROM marks"), 0);
    uint64_t last;
    ck_assert_int_eq(chi_store_last(store, &last), SQLITE_OK);
    ck_assert_uint_eq(last, 100);

    struct chi_stored_room again = world_fill(store, "a", 200, 10, 1, 10);
    struct chi_stored_page page;
    struct chi_log_read read = {.before = UINT64_MAX, .limit = 50, .bytes = 50000};
    ck_assert_int_eq(again.id, full.id);
    ck_assert_int_eq(chi_store_page(store, again.id, &read, &page), SQLITE_OK);
    ck_assert_uint_eq(page.count, 10);
    ck_assert_uint_eq(page.entries[0]->prev, 100);
    chi_stored_page_free(&page);
    chi_store_free(store);
    sqlite3_close(db);
}
END_TEST

START_TEST(a_room_that_nobody_wrote_to_is_empty)
{
    sqlite3 *db = world_open(":memory:");
    struct chi_store *store = world_store(db);
    struct chi_stored_room room;
    struct chi_stored_page page;
    struct chi_log_read read = {.before = UINT64_MAX, .limit = 50, .bytes = 50000};
    uint64_t number = 1;
    int64_t id = 1;
    uint32_t deleted = 1;
    ck_assert_int_eq(chi_store_room(store, CHI_SPAN("a"), &room), SQLITE_OK);
    ck_assert_int_eq(room.id, 0);
    ck_assert_int_eq(chi_store_page(store, 7, &read, &page), SQLITE_OK);
    ck_assert_uint_eq(page.count, 0);
    ck_assert(!page.more);
    ck_assert_int_eq(chi_store_last(store, &number), SQLITE_OK);
    ck_assert_uint_eq(number, 0);
    ck_assert_int_eq(chi_store_total(store, &number), SQLITE_OK);
    ck_assert_uint_eq(number, 0);
    ck_assert_int_eq(chi_store_over(store, 0, 0, 0, &id), SQLITE_OK);
    ck_assert_int_eq(id, 0);
    ck_assert_int_eq(chi_store_trim_room(store, 7, 0, 0, 10, &deleted), SQLITE_OK);
    ck_assert_uint_eq(deleted, 0);
    ck_assert_int_eq(chi_store_trim_all(store, UINT64_MAX, &number, 0, 10, &deleted), SQLITE_OK);
    ck_assert_uint_eq(deleted, 0);
    chi_store_rollback(store);
    chi_store_free(store);
    sqlite3_close(db);
}
END_TEST

START_TEST(a_name_may_hold_any_bytes)
{
    static const struct chi_span names[] = {{"a", 1},        {"a\0b", 3}, {"a\0c", 3}, {"A", 1},
                                            {"\xc3\xa9", 2}, {"a ", 2},   {"1", 1}};
    sqlite3 *db = world_open(":memory:");
    struct chi_store *store = world_store(db);
    for (uint64_t i = 0; i < 7; i++) {
        struct chi_stored_room room;
        struct chi_entry *entry = world_entry(i + 1, 0, 3);
        ck_assert_int_eq(chi_store_room(store, names[i], &room), SQLITE_OK);
        ck_assert_int_eq(room.id, 0);
        ck_assert_int_eq(chi_store_append(store, &room, names[i], entry), SQLITE_OK);
        ck_assert_int_eq(chi_store_room_save(store, &room), SQLITE_OK);
        chi_entry_unref(entry);
    }
    for (uint64_t i = 0; i < 7; i++) {
        struct chi_stored_room room;
        ck_assert_int_eq(chi_store_room(store, names[i], &room), SQLITE_OK);
        ck_assert_uint_eq(room.top, i + 1);
    }
    chi_store_free(store);
    sqlite3_close(db);
}
END_TEST

START_TEST(rolling_back_outside_of_a_transaction_is_harmless)
{
    sqlite3 *db = world_open(":memory:");
    struct chi_store *store = world_store(db);
    chi_store_rollback(store);
    world_fill(store, "a", 1, 1, 1, 1);
    chi_store_rollback(store);
    ck_assert_int_eq(world_number(db, "SELECT count(*) FROM entries"), 1);
    chi_store_free(store);
    chi_store_free(NULL);
    sqlite3_close(db);
}
END_TEST

static int count_statement(unsigned type, void *ctx, void *statement, void *text)
{
    (void)type;
    (void)statement;
    (void)text;
    ++*(uint32_t *)ctx;
    return 0;
}

/* Of 20,000 entries of a room, among those of others, a page looks at little more than its own. */
START_TEST(the_work_for_a_page_does_not_grow_with_its_room)
{
    sqlite3 *db = world_open(":memory:");
    struct chi_store *store = world_store(db);
    struct chi_stored_room room = world_fill(store, "a", 1, 20000, 3, 10);
    world_fill(store, "b", 2, 20000, 3, 10);
    for (uint64_t at = 0; at < 61000; at += 571) {
        struct chi_log_read read = {
            .before = UINT64_MAX, .limit = 50, .bytes = UINT32_MAX, .backward = at % 2};
        struct chi_stored_page page;
        uint32_t statements = 0;
        if (read.backward)
            read.before = at;
        else
            read.after = at;
        sqlite3_trace_v2(db, SQLITE_TRACE_STMT, count_statement, &statements);
        ck_assert_int_eq(chi_store_page(store, room.id, &read, &page), SQLITE_OK);
        sqlite3_trace_v2(db, 0, NULL, NULL);
        ck_assert_uint_le(statements, 50 + 50 + 2 * 32 + 8);
        chi_stored_page_free(&page);
    }
    chi_store_free(store);
    sqlite3_close(db);
}
END_TEST

/* ---------------------------------------------------------------------------------------- files */

static void forget_files(const char *path)
{
    char name[80];
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
}

static void temporary(char *path, size_t size)
{
    snprintf(path, size, "/tmp/chi-store-XXXXXX");
    int descriptor = mkstemp(path);
    ck_assert_int_ge(descriptor, 0);
    close(descriptor);
}

static int pages_read(sqlite3 *db)
{
    int now = 0, high = 0;
    sqlite3_db_status(db, SQLITE_DBSTATUS_CACHE_MISS, &now, &high, 0);
    return now;
}

/* The file has pages of 4 KiB: an entry of 1 MB has 250 of its own. */
START_TEST(an_entry_that_a_page_has_no_room_for_is_not_read)
{
    char path[64];
    temporary(path, sizeof path);
    sqlite3 *db = world_open(path);
    struct chi_store *store = world_store(db);
    struct chi_stored_room room = world_fill(store, "a", 1, 1, 1, 10);
    world_fill(store, "a", 2, 10, 1, 1000000);
    world_fill(store, "a", 100, 1, 1, 10);
    chi_store_free(store);
    sqlite3_close(db);
    for (int backward = 0; backward < 2; backward++) {
        struct chi_log_read read = {
            .before = UINT64_MAX, .limit = 50, .bytes = 65536, .backward = backward};
        struct chi_stored_page page;
        ck_assert_int_eq(sqlite3_open(path, &db), SQLITE_OK);
        ck_assert_int_eq(chi_store_new(db, false, &store), SQLITE_OK);
        ck_assert_int_eq(chi_store_page(store, room.id, &read, &page), SQLITE_OK);
        ck_assert_uint_eq(page.count, 1);
        ck_assert(page.more);
        ck_assert_int_lt(pages_read(db), 30);
        chi_stored_page_free(&page);
        chi_store_free(store);
        sqlite3_close(db);
    }
    forget_files(path);
}
END_TEST

struct meanwhile {
    struct chi_store *writer;
    int64_t room;
    uint32_t statements; /* that the reader has begun */
    uint32_t when;       /* the one at which something happens */
    bool happened;
};

/* In the midst of a page the writer deletes all and adds others. */
static int meanwhile(unsigned type, void *ctx, void *statement, void *text)
{
    struct meanwhile *m = ctx;
    uint32_t deleted;
    (void)type;
    (void)statement;
    (void)text;
    if (m->statements++ != m->when)
        return 0;
    m->happened = true;
    ck_assert_int_eq(chi_store_begin(m->writer), SQLITE_OK);
    ck_assert_int_eq(chi_store_trim_room(m->writer, m->room, 0, 0, 1000, &deleted), SQLITE_OK);
    ck_assert_int_eq(chi_store_commit(m->writer), SQLITE_OK);
    world_fill(m->writer, "a", 1000, 40, 1, 10);
    return 0;
}

START_TEST(a_page_is_of_one_moment)
{
    bool happened = true;
    for (uint32_t when = 1; happened; when += 7) {
        char path[64];
        temporary(path, sizeof path);
        sqlite3 *db = world_open(path), *reader = NULL;
        world_sql(db, "PRAGMA journal_mode=WAL");
        struct chi_store *writer = world_store(db), *store = NULL;
        struct chi_stored_room room = world_fill(writer, "a", 1, 100, 1, 10);
        struct meanwhile m = {writer, room.id, 0, when, false};
        struct chi_log_read read = {
            .before = UINT64_MAX, .limit = 70, .bytes = UINT32_MAX, .backward = when % 2};
        struct chi_stored_page page;
        ck_assert_int_eq(sqlite3_open(path, &reader), SQLITE_OK);
        ck_assert_int_eq(chi_store_new(reader, false, &store), SQLITE_OK);
        sqlite3_trace_v2(reader, SQLITE_TRACE_STMT, meanwhile, &m);
        ck_assert_int_eq(chi_store_page(store, room.id, &read, &page), SQLITE_OK);
        ck_assert_uint_eq(page.count, 70);
        ck_assert_uint_eq(page.entries[0]->position, read.backward ? 31 : 1);
        happened = m.happened;
        chi_stored_page_free(&page);
        sqlite3_trace_v2(reader, 0, NULL, NULL);
        ck_assert_int_eq(chi_store_page(store, room.id, &read, &page), SQLITE_OK);
        ck_assert_uint_eq(page.count, happened ? 40 : 70);
        chi_stored_page_free(&page);
        chi_store_free(store);
        chi_store_free(writer);
        sqlite3_close(reader);
        sqlite3_close(db);
        forget_files(path);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("sqlite_store");
    TCase *tcase = tcase_create("sqlite_store");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, the_store_does_as_the_model, 0, 8);
    tcase_add_test(tcase, a_room_is_kept_when_all_its_entries_are_gone);
    tcase_add_test(tcase, a_room_that_nobody_wrote_to_is_empty);
    tcase_add_test(tcase, a_name_may_hold_any_bytes);
    tcase_add_test(tcase, rolling_back_outside_of_a_transaction_is_harmless);
    tcase_add_test(tcase, the_work_for_a_page_does_not_grow_with_its_room);
    tcase_add_test(tcase, an_entry_that_a_page_has_no_room_for_is_not_read);
    tcase_add_test(tcase, a_page_is_of_one_moment);
    suite_add_tcase(suite, tcase);
    return unit_run(suite);
}
