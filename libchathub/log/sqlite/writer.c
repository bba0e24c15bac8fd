/* The thread that writes: commits of posts, in groups, and redactions.
 *
 * Happy path: posts that wait are taken together, at the earliest `pace` after the last commit
 * began (docs/architecture.md, "Laws"), written in one transaction, and given back with their
 * positions once it is committed and, with log-sync full, synced. Between commits it keeps house
 * (house.c).
 *
 * Failure modes: what fails before COMMIT was not committed, and its posts are answered so. A
 * COMMIT that fails for want of space, or for a lock of another program, did not happen either. Any
 * other failure of a COMMIT leaves its outcome unknown: the posts are answered so, and the file is
 * opened anew, checked and written through before anything else is committed; what it then holds
 * beyond the last known position was committed, and is reported without a poster (mend.c). While
 * the log is down, posts are refused at once with the reason and when it is tried again. */
#include "log/sqlite/inside.h"

#include <stdlib.h>
#include <string.h>

#include "chathub.h"

/* One commit takes so many posts, or bytes, at most. */
#define BATCH_POSTS 512u
#define BATCH_BYTES (4u << 20)
/* From one try to the next while it is down. */
#define BACKOFF_MIN_US 250000u
#define BACKOFF_MAX_US 5000000u

/* ------------------------------------------------------------------------------------- one post */

static int room_read(struct chi_sq_writer *w, struct chi_sq_room *room)
{
    struct chi_sq_written *written = room->written;
    if (!written)
        written = room->written = calloc(1, sizeof(*written));
    if (!written)
        return SQLITE_NOMEM;
    if (!written->touched) {
        written->touched = true;
        written->next = w->touched;
        w->touched = written;
    }
    if (written->state == w->state)
        return SQLITE_OK;
    int code = chi_store_room(w->store, chi_name_key(room->name), &written->stored);
    if (code == SQLITE_OK)
        written->state = w->state;
    return code;
}

/* SQLITE_DONE: the post is new, and remembered; SQLITE_ROW: it is answered already. */
static int look_up_cid(struct chi_sq_writer *w, struct chi_sq_task *task)
{
    struct chi_span key = chi_name_key(task->room->name);
    struct chi_cid first, cid = chi_dups_of(w->dups, key, task->entry);
    int code =
        chi_dups_find(w->dups, &cid, chi_log_since(task->time, w->now.bounds.cid_horizon), &first);
    if (code == SQLITE_ROW) {
        bool same = first.content == cid.content;
        task->status = same ? CHATHUB_EDUP : CHATHUB_ECIDREUSED;
        task->position = first.position;
        task->time = first.time;
        return code;
    }
    if (code != SQLITE_DONE)
        return code;
    if (chi_dups_count(w->dups) >= w->now.bounds.cids) {
        task->status = CHATHUB_ELOG;
        task->why = "as many cids are remembered as max-cids allows";
        return SQLITE_ROW;
    }
    cid.position = w->given + 1;
    cid.time = task->time;
    code = chi_dups_add(w->dups, &cid);
    return code == SQLITE_OK ? SQLITE_DONE : code;
}

static int write_post(struct chi_sq_writer *w, struct chi_sq_task *task)
{
    struct chi_sq_room *room = task->room;
    int code = room_read(w, room);
    if (code != SQLITE_OK)
        return code;
    if (task->entry->cid_len) {
        code = look_up_cid(w, task);
        if (code != SQLITE_DONE)
            return code == SQLITE_ROW ? SQLITE_OK : code;
    }
    task->entry->position = ++w->given;
    task->entry->prev = room->written->stored.top;
    task->entry->time = task->time;
    task->status = 0;
    struct chi_span key = chi_name_key(room->name);
    code = chi_store_append(w->store, &room->written->stored, key, task->entry);
    task->id = room->written->stored.id;
    w->total += chi_entry_size(task->entry);
    return code;
}

/* -------------------------------------------------------------------------------------- a batch */

static int save_rooms(struct chi_sq_writer *w)
{
    int code = SQLITE_OK;
    for (struct chi_sq_written *room = w->touched; room && code == SQLITE_OK; room = room->next)
        if (room->stored.id) /* else its posts were refused, and nothing was written */
            code = chi_store_room_save(w->store, &room->stored);
    return code;
}

static void forget_touched(struct chi_sq_writer *w)
{
    for (struct chi_sq_written *room = w->touched; room; room = room->next)
        room->touched = false;
    w->touched = NULL;
}

/* All but the COMMIT. */
static int write_batch(struct chi_sq_writer *w, const struct chi_works *batch)
{
    int code = chi_store_begin(w->store);
    for (struct chi_work *work = batch->first; work && code == SQLITE_OK; work = work->next)
        code = write_post(w, (struct chi_sq_task *)(void *)work);
    if (code == SQLITE_OK)
        code = save_rooms(w);
    return code == SQLITE_OK ? chi_dups_write(w->dups) : code;
}

static uint64_t ms_to_retry(const struct chi_sq_writer *w)
{
    uint64_t now = chi_handover_now();
    return w->retry_at > now ? (w->retry_at - now) / 1000 + 1 : 1;
}

/* While it is not known what became of an earlier post, its repeat is not known to have failed. */
static void refuse(struct chi_sq_writer *w, const struct chi_works *batch, int status)
{
    for (struct chi_work *work = batch->first; work; work = work->next) {
        struct chi_sq_task *task = (struct chi_sq_task *)(void *)work;
        bool unknown = w->doubt && task->entry->cid_len;
        task->status = unknown ? CHATHUB_EUNKNOWN : status;
        task->why = w->is.why;
        task->retry_after = ms_to_retry(w);
        task->entry->position = task->entry->prev = task->entry->time = 0;
    }
}

static void batch_failed(struct chi_sq_writer *w, const struct chi_works *batch, int code,
                         bool at_commit)
{
    w->given = w->last;
    w->is.stats.failures++;
    if (at_commit && (code & 0xff) == SQLITE_NOMEM)
        code = SQLITE_IOERR; /* its pages may be in the WAL already */
    enum chi_file_trouble trouble = chi_sq_failed(w, code, NULL);
    bool unknown = at_commit && (trouble == CHI_TROUBLE_SYNC || trouble == CHI_TROUBLE_OTHER);
    w->doubt |= unknown;
    refuse(w, batch, unknown ? CHATHUB_EUNKNOWN : CHATHUB_ELOG);
}

static void batch_committed(struct chi_sq_writer *w)
{
    chi_dups_committed(w->dups);
    w->wrote = w->started;
    w->last = w->given;
    w->is.stats.commits++;
    for (const struct chi_sq_written *room = w->touched; room; room = room->next)
        chi_sq_note_room(w, &room->stored);
}

static void commit(struct chi_sq_writer *w, const struct chi_works *batch)
{
    bool at_commit = false;
    uint64_t total = w->total;
    w->started = chi_handover_now();
    int code = write_batch(w, batch);
    if (code == SQLITE_OK) {
        at_commit = true;
        code = chi_store_commit(w->store);
    }
    if (code == SQLITE_OK) {
        batch_committed(w);
    } else {
        w->total = total;
        batch_failed(w, batch, code, at_commit);
    }
    forget_touched(w);
}

/* ---------------------------------------------------------------------------------- its failing */

enum chi_file_trouble chi_sq_failed(struct chi_sq_writer *w, int code, const char *why)
{
    const char *usual;
    enum chi_file_trouble trouble = chi_file_trouble(code, &usual);
    if (w->store)
        chi_store_rollback(w->store);
    if (w->dups)
        chi_dups_rolled_back(w->dups);
    w->state++;
    w->is.why = why ? why : usual;
    if (trouble == CHI_TROUBLE_MEMORY && !w->is.stats.down)
        return trouble;
    w->is.stats.down = true;
    w->broken |= trouble == CHI_TROUBLE_SYNC || trouble == CHI_TROUBLE_OTHER;
    w->backoff = w->backoff ? w->backoff * 2 : BACKOFF_MIN_US;
    if (w->backoff > BACKOFF_MAX_US)
        w->backoff = BACKOFF_MAX_US;
    w->retry_at = chi_handover_now() + w->backoff;
    return trouble;
}

/* ----------------------------------------------------------------------------------- redactions */

/* The bytes go from the file's pages (secure_delete) and, by a checkpoint that empties it, from the
 * WAL (house.c). */
static void erase(struct chi_sq_writer *w, struct chi_sq_task *task)
{
    struct chi_span key = chi_name_key(task->room->name);
    struct chi_stored_room room = {0};
    int code = chi_store_begin(w->store);
    if (code == SQLITE_OK)
        code = chi_store_room(w->store, key, &room);
    if (code == SQLITE_OK)
        code = room.id ? chi_store_redact(w->store, room.id, task->position) : SQLITE_DONE;
    bool none = code == SQLITE_DONE;
    if (code == SQLITE_OK)
        code = chi_store_commit(w->store);
    else if (none)
        chi_store_rollback(w->store);
    task->status = none ? CHATHUB_ENOENT : code == SQLITE_OK ? 0 : CHATHUB_ELOG;
    if (code != SQLITE_OK && !none) {
        chi_sq_failed(w, code, NULL);
        return;
    }
    w->state++;
    w->wrote = chi_handover_now();
    w->purge |= !none;
}

/* ----------------------------------------------------------------------------------- its rounds */

/* The next posts that one commit takes, or none where something else is first. */
static void take_batch(struct chi_works *in, struct chi_works *batch)
{
    uint64_t bytes = 0;
    for (uint32_t n = 0; n < BATCH_POSTS && bytes < BATCH_BYTES && in->first; n++) {
        const struct chi_sq_task *task = (const struct chi_sq_task *)(const void *)in->first;
        if (task->kind != CHI_SQ_APPEND)
            return;
        bytes += chi_entry_size(task->entry);
        chi_works_add(batch, chi_works_take(in));
    }
}

static bool is_up(struct chi_sq_writer *w)
{
    return w->is.stats.down ? chi_sq_mended(w) : chi_sq_has_space(w);
}

static void work_off(struct chi_sq_writer *w, struct chi_works *in)
{
    while (in->first) {
        struct chi_works batch = {0};
        take_batch(in, &batch);
        bool up = is_up(w);
        if (batch.first && up)
            commit(w, &batch);
        else if (batch.first)
            refuse(w, &batch, CHATHUB_ELOG);
        if (!batch.first) {
            struct chi_sq_task *task = (struct chi_sq_task *)(void *)chi_works_take(in);
            if (up)
                erase(w, task);
            else
                task->status = CHATHUB_ELOG;
            chi_works_add(&batch, &task->work);
        }
        chi_handover_give(&w->handover, &batch);
    }
}

static void exchange(struct chi_sq_writer *w)
{
    pthread_mutex_lock(&w->lock);
    w->now = w->orders;
    w->news = w->is;
    pthread_mutex_unlock(&w->lock);
}

static uint64_t next_due(const struct chi_sq_writer *w)
{
    return w->is.stats.down ? w->retry_at : w->house_at;
}

static void run(void *arg)
{
    struct chi_sq_writer *w = arg;
    struct chi_works in = {0};
    while (chi_handover_take(&w->handover, &in, next_due(w))) {
        exchange(w);
        if (in.count < BATCH_POSTS && in.first && !w->is.stats.down && w->now.pace_us) {
            uint64_t mark = w->started + w->now.pace_us;
            if (!chi_handover_pause(&w->handover, mark, BATCH_POSTS - in.count) ||
                !chi_handover_take(&w->handover, &in, 0))
                break;
        }
        bool was_down = w->is.stats.down;
        if (in.first)
            work_off(w, &in);
        else if (was_down)
            chi_sq_mended(w);
        chi_sq_keep_house(w);
        exchange(w);
        if (w->is.stats.down != was_down)
            w->handover.wake(w->handover.wake_arg); /* the hub tells it in its log lines */
    }
    chi_handover_give(&w->handover, &in); /* taken together with the word that it is over */
}

static int on_commit(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct chi_sq_writer *w = arg;
    (void)db, (void)name;
    w->wal_pages = pages;
    if (pages < w->wal_tried)
        w->wal_tried = 0;
    return SQLITE_OK;
}

/* secure_delete: whatever is deleted or moved leaves no copy behind in a page that is free, where
 * an erasure would not find it. */
int chi_sq_writer_read(struct chi_sq_writer *w)
{
    int code = sqlite3_exec(w->db, "PRAGMA secure_delete=ON", NULL, NULL, NULL);
    if (code == SQLITE_OK)
        code = chi_store_new(w->db, true, &w->store);
    sqlite3_wal_hook(w->db, on_commit, w);
    if (code == SQLITE_OK)
        code = chi_dups_open(w->db, w->secret, &w->dups);
    if (code == SQLITE_OK)
        code = chi_store_total(w->store, &w->total);
    w->state++;
    w->looked = 0;
    w->wrote = chi_handover_now();
    return code;
}

void chi_sq_writer_close(struct chi_sq_writer *w)
{
    chi_dups_free(w->dups);
    chi_store_free(w->store);
    chi_file_close(w->db);
    w->dups = NULL;
    w->store = NULL;
    w->db = NULL;
}

int chi_sq_writer_start(struct chi_sq_writer *w, const struct chi_sq_orders *orders,
                        void (*wake)(void *arg), void *wake_arg)
{
    if (pthread_mutex_init(&w->lock, NULL))
        return CHATHUB_ENOMEM;
    w->orders = *orders;
    w->given = w->last;
    int error = chi_handover_start(&w->handover, "chathub-log-w", run, w, wake, wake_arg);
    if (error)
        pthread_mutex_destroy(&w->lock);
    return error;
}

/* The file is left whole in itself, where that can be. */
void chi_sq_writer_stop(struct chi_sq_writer *w, struct chi_works *left)
{
    if (!w->handover.started)
        return;
    chi_handover_stop(&w->handover, left);
    pthread_mutex_destroy(&w->lock);
    if (w->db && !w->is.stats.down)
        sqlite3_wal_checkpoint_v2(w->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
}
