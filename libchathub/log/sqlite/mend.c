/* How the log comes back: from a full disk and a foreign lock by trying again, from anything else
 * by opening the file anew.
 *
 * After a failed sync the kernel may have thrown away what it still shows, so that neither the
 * connection nor a mere reading can be trusted. Both connections are closed, the file is checked,
 * its WAL is read from the disk's own state, and all of it is written through to the main file,
 * whose sync has to succeed. What then lies beyond the last known position was committed. */
#include "log/sqlite/inside.h"

#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "chathub.h"

/* Free space is looked at so often, or after so many bytes. */
#define SPACE_US    100000u
#define SPACE_BYTES (1u << 20)

/* ----------------------------------------------------------------------------------- free space */

static const char too_little[] = "its disk has less left than log-free demands";

static bool space_is_left(const struct chi_sq_writer *w)
{
    struct statvfs disk;
    return !w->now.free_bytes || statvfs(w->path, &disk) ||
           (uint64_t)disk.f_bavail * disk.f_frsize >= w->now.free_bytes;
}

bool chi_sq_has_space(struct chi_sq_writer *w)
{
    uint64_t now = chi_handover_now();
    if (now < w->space_at && w->total - w->space_written < SPACE_BYTES)
        return true;
    w->space_at = now + SPACE_US;
    w->space_written = w->total;
    if (space_is_left(w))
        return true;
    chi_sq_failed(w, SQLITE_FULL, too_little);
    return false;
}

/* --------------------------------------------------------------------------------- opening anew */

static int room_key(struct chi_sq_writer *w, int64_t room, struct chi_sq_task *task)
{
    sqlite3_stmt *name = NULL;
    int code = sqlite3_prepare_v2(w->db, "SELECT name FROM rooms WHERE id=?1", -1, &name, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(name, 1, room);
    if (code == SQLITE_OK)
        code = sqlite3_step(name);
    if (code == SQLITE_ROW) {
        struct chi_span key = {(const char *)sqlite3_column_text(name, 0), 0};
        key.len = (size_t)sqlite3_column_bytes(name, 0);
        task->key = key.at ? chi_span_dup(key) : NULL;
        task->key_len = (uint32_t)key.len;
        code = task->key ? SQLITE_OK : SQLITE_NOMEM;
    } else if (code == SQLITE_DONE) {
        code = SQLITE_CORRUPT;
    }
    sqlite3_finalize(name);
    return code;
}

/* One entry that was committed though nobody knew. */
static int report_found(struct chi_sq_writer *w, int64_t room, uint64_t position,
                        struct chi_works *found)
{
    struct chi_stored_page page = {0};
    struct chi_log_read read = {
        .after = position - 1, .before = position + 1, .limit = 1, .bytes = UINT32_MAX};
    struct chi_sq_task *task = calloc(1, sizeof(*task));
    int code = task ? chi_store_page(w->store, room, &read, &page) : SQLITE_NOMEM;
    if (code == SQLITE_OK)
        code = page.count == 1 ? room_key(w, room, task) : SQLITE_CORRUPT;
    if (code != SQLITE_OK) {
        chi_stored_page_free(&page);
        free(task);
        return code;
    }
    task->kind = CHI_SQ_FOUND;
    task->id = room;
    task->entry = chi_entry_ref(page.entries[0]);
    chi_stored_page_free(&page);
    chi_works_add(found, &task->work);
    return SQLITE_OK;
}

static void drop_found(struct chi_works *found)
{
    struct chi_work *work;
    while ((work = chi_works_take(found)) != NULL) {
        struct chi_sq_task *task = (struct chi_sq_task *)(void *)work;
        chi_entry_unref(task->entry);
        free(task->key);
        free(task);
    }
}

/* Everything above the last known position, in order. */
static int find_committed(struct chi_sq_writer *w, uint64_t top, struct chi_works *found)
{
    int code = SQLITE_OK;
    for (uint64_t at = w->last + 1; at <= top && code == SQLITE_OK; at++) {
        int64_t room;
        code = chi_store_find(w->store, at, &room);
        if (code == SQLITE_ROW || code == SQLITE_OK)
            code = report_found(w, room, at, found);
        else if (code == SQLITE_DONE)
            code = SQLITE_OK; /* a gap between positions */
    }
    return code;
}

/* That it is the file that was left, and lacks nothing that was shown. */
static int is_ours(struct chi_sq_writer *w, uint64_t *top, const char **why)
{
    sqlite3_stmt *epoch = NULL;
    int code = sqlite3_prepare_v2(w->db, "SELECT name FROM epochs ORDER BY number DESC LIMIT 1", -1,
                                  &epoch, NULL);
    bool ours = code == SQLITE_OK && sqlite3_step(epoch) == SQLITE_ROW &&
                sqlite3_column_bytes(epoch, 0) == CHI_EPOCH_LEN &&
                memcmp(sqlite3_column_text(epoch, 0), w->epoch, CHI_EPOCH_LEN) == 0;
    sqlite3_finalize(epoch);
    if (code == SQLITE_OK)
        code = chi_store_last(w->store, top);
    if (code == SQLITE_OK && (!ours || *top < w->last)) {
        *why = "the file lacks what was shown already; stop the hub and look at the file";
        return SQLITE_CORRUPT;
    }
    return code;
}

static int open_anew(struct chi_sq_writer *w, struct chi_works *found, const char **why)
{
    struct chi_problem_text none = {NULL, 0};
    uint64_t top;
    chi_sq_reader_bar(w->reader);
    chi_sq_writer_close(w);
    if (access(w->path, F_OK)) { /* else it would be made */
        *why = "the file is gone";
        return SQLITE_CANTOPEN;
    }
    if (chi_file_check(w->path, none) ||
        chi_file_open(w->path, w->mode, CHI_SQ_BUSY_MS, &w->db, none)) {
        *why = "the file cannot be opened anew after an error";
        return SQLITE_IOERR;
    }
    int code = sqlite3_wal_checkpoint_v2(w->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (code == SQLITE_OK)
        code = chi_sq_writer_read(w);
    if (code == SQLITE_OK)
        code = is_ours(w, &top, why);
    if (code == SQLITE_OK)
        code = find_committed(w, top, found);
    if (code == SQLITE_OK) {
        w->last = w->given = top;
        chi_sq_reader_admit(w->reader);
    }
    return code;
}

/* --------------------------------------------------------------------------------- trying again */

/* Something is committed that no post has to wait for. */
static int probe(struct chi_sq_writer *w)
{
    int code = chi_store_begin(w->store);
    if (code == SQLITE_OK)
        code = sqlite3_exec(w->db,
                            "INSERT INTO meta(key, value) VALUES('tried', 1) "
                            "ON CONFLICT(key) DO UPDATE SET value = value + 1",
                            NULL, NULL, NULL);
    return code == SQLITE_OK ? chi_store_commit(w->store) : code;
}

/* What it finds in a file that was opened anew is reported even if it then goes on to fail. */
static int try_again(struct chi_sq_writer *w, const char **why)
{
    struct chi_works found = {0};
    int code = w->broken ? open_anew(w, &found, why) : SQLITE_OK;
    if (code != SQLITE_OK) {
        drop_found(&found);
        return code;
    }
    w->broken = w->doubt = false;
    chi_handover_give(&w->handover, &found);
    if (!space_is_left(w)) {
        *why = too_little;
        return SQLITE_FULL;
    }
    return probe(w);
}

bool chi_sq_mended(struct chi_sq_writer *w)
{
    if (!w->is.stats.down)
        return true;
    if (chi_handover_now() < w->retry_at)
        return false;
    const char *why = NULL;
    int code = try_again(w, &why);
    if (code != SQLITE_OK) {
        chi_sq_failed(w, code, why);
        return false;
    }
    w->is.stats.down = false;
    w->is.why = NULL;
    w->backoff = 0;
    return true;
}
