/* The thread that reads: a room's top when it opens, and pages of entries.
 *
 * Happy path: each task is one short read transaction, so that the writer's checkpoints find an end
 * of the WAL that nobody reads. Failure modes: what cannot be read is answered by CHATHUB_ELOG and
 * asked again by whoever needs it; the connection is then made anew. The writer closes it when the
 * file has to be opened from scratch. */
#include "log/sqlite/inside.h"

#include <string.h>

#include "chathub.h"

static void close_all(struct chi_sq_reader *reader)
{
    sqlite3_finalize(reader->begin);
    sqlite3_finalize(reader->end);
    chi_store_free(reader->store);
    chi_file_close(reader->db);
    reader->begin = reader->end = NULL;
    reader->store = NULL;
    reader->db = NULL;
}

static int open_all(struct chi_sq_reader *reader, struct chi_problem_text problem)
{
    if (reader->db)
        return 0;
    int error = chi_file_open(reader->path, CHI_FILE_READ, CHI_SQ_BUSY_MS, &reader->db, problem);
    if (error)
        return error;
    int code = chi_store_new(reader->db, false, &reader->store);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(reader->db, "BEGIN", -1, &reader->begin, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(reader->db, "COMMIT", -1, &reader->end, NULL);
    if (code == SQLITE_OK)
        return 0;
    close_all(reader);
    if (problem.size)
        sqlite3_snprintf((int)problem.size, problem.at, "log sqlite:%s cannot be read: %s",
                         reader->path, sqlite3_errstr(code));
    return code == SQLITE_NOMEM ? CHATHUB_ENOMEM : CHATHUB_EIO;
}

void chi_sq_reader_bar(struct chi_sq_reader *reader)
{
    pthread_mutex_lock(&reader->using);
    reader->barred = true;
    close_all(reader);
    pthread_mutex_unlock(&reader->using);
}

void chi_sq_reader_admit(struct chi_sq_reader *reader)
{
    pthread_mutex_lock(&reader->using);
    reader->barred = false;
    pthread_mutex_unlock(&reader->using);
}

static int step(sqlite3_stmt *statement)
{
    int code = sqlite3_step(statement);
    sqlite3_reset(statement);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int read_room(struct chi_sq_reader *reader, struct chi_sq_task *task)
{
    struct chi_stored_room room = {0};
    struct chi_span key = chi_name_key(task->room->name);
    int code = chi_store_room(reader->store, key, &room);
    task->position = room.top;
    task->id = room.id;
    return code;
}

/* Of a room that has no number in the file, nothing is there. */
static int read_page(struct chi_sq_reader *reader, struct chi_sq_task *task)
{
    if (!task->id)
        return SQLITE_OK;
    atomic_fetch_add(&reader->pages, 1);
    return chi_store_page(reader->store, task->id, &task->read, &task->page);
}

static void work_off(struct chi_sq_reader *reader, struct chi_sq_task *task)
{
    pthread_mutex_lock(&reader->using);
    bool none = reader->barred || open_all(reader, (struct chi_problem_text){NULL, 0});
    task->status = none ? CHATHUB_ELOG : 0;
    if (!task->status) {
        int code = step(reader->begin);
        if (code == SQLITE_OK)
            code = task->kind == CHI_SQ_OPEN ? read_room(reader, task) : read_page(reader, task);
        if (!sqlite3_get_autocommit(reader->db))
            step(reader->end);
        if (code != SQLITE_OK)
            task->status = CHATHUB_ELOG;
        if (code != SQLITE_OK && code != SQLITE_NOMEM)
            close_all(reader);
    }
    pthread_mutex_unlock(&reader->using);
}

static void run(void *arg)
{
    struct chi_sq_reader *reader = arg;
    struct chi_works in = {0}, done = {0};
    struct chi_work *work;
    while (chi_handover_take(&reader->handover, &in, UINT64_MAX)) {
        while ((work = chi_works_take(&in)) != NULL) {
            work_off(reader, (struct chi_sq_task *)(void *)work);
            chi_works_add(&done, work);
            chi_handover_give(&reader->handover, &done);
        }
    }
    chi_handover_give(&reader->handover, &in); /* taken together with the word that it is over */
}

int chi_sq_reader_start(struct chi_sq_reader *reader, const char *path, void (*wake)(void *arg),
                        void *wake_arg, struct chi_problem_text problem)
{
    reader->path = path;
    if (pthread_mutex_init(&reader->using, NULL))
        return CHATHUB_ENOMEM;
    int error = open_all(reader, problem);
    if (!error)
        error = chi_handover_start(&reader->handover, "chathub-log-r", run, reader, wake, wake_arg);
    if (error) {
        close_all(reader);
        pthread_mutex_destroy(&reader->using);
        reader->path = NULL;
    }
    return error;
}

void chi_sq_reader_stop(struct chi_sq_reader *reader, struct chi_works *left)
{
    if (!reader->path)
        return;
    chi_handover_stop(&reader->handover, left);
    close_all(reader);
    pthread_mutex_destroy(&reader->using);
    reader->path = NULL;
}
