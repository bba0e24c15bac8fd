/* The log in an SQLite file: its side on the hub's thread. See writer.c and reader.c for the
 * others.
 *
 * Happy path: append, open, read and redact make a task; the reader gets it at once, the writer
 * what came since the last poll together, so that it does not begin with the first post of many; a
 * thread gives it back and wakes the hub; poll reports it, in the order of append where it is a
 * post. Nothing here waits for a thread but new and free. Failure modes: no memory is answered by
 * the call itself; what a thread could not do comes back with its status; that the log is down, or
 * up again, is told in a log line.
 *
 * Bounds: tasks are as many as the hub has drafts and readers under way, which it bounds. */
#include "log/sqlite/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chathub.h"
#include "util/index.h"

/* Tasks kept for the next posts. */
#define SPARE_TASKS 1024u
/* Results that are reported at once. */
#define RESULTS 256u
/* The writer hears of the time at least so often, in ms. */
#define ORDERS_MS 60000u

const struct chi_log_bounds chi_log_sqlite_bounds = {
    .entries = UINT64_MAX,
    .bytes = UINT64_MAX,
    .total_bytes = UINT64_MAX,
    .age = UINT64_MAX,
    .cid_horizon = UINT64_C(7) * 86400000,
    .cids = 50000000,
};

struct sqlite {
    struct chi_log log; /* first */
    const struct chi_settings *settings;
    struct chi_env env;
    struct chi_log_up up;
    char *path;               /* owned */
    int lock;                 /* descriptor of the side file; -1: none */
    struct chi_epoch *epochs; /* owned, oldest first; the last one is this opening's */
    uint32_t epoch_count;
    struct chi_slots rooms;  /* all that are open or have tasks */
    struct chi_index by_key; /* those that are open, or opening */
    uint32_t opening;        /* their number */
    struct chi_works spare;  /* tasks for appends */
    uint32_t spare_count;
    struct chi_works to_write; /* tasks that the writer gets at the next poll, all at once */
    struct chi_works held;     /* found entries, while a room opens that may be theirs */
    uint64_t ordered;          /* when the writer last got its orders, env.now */
    bool was_down;             /* as last told in a log line */
    struct chi_sq_news news;   /* as of the last poll */
    struct chi_sq_writer writer;
    struct chi_sq_reader reader;
};

static struct sqlite *of(struct chi_log *log)
{
    return (struct sqlite *)(void *)log;
}

/* --------------------------------------------------------------------------------------- tasks */

static struct chi_sq_task *task_new(struct sqlite *s, enum chi_sq_kind kind,
                                    struct chi_sq_room *room)
{
    struct chi_sq_task *task = (struct chi_sq_task *)(void *)chi_works_take(&s->spare);
    if (task)
        s->spare_count--;
    else
        task = malloc(sizeof(*task));
    if (!task)
        return NULL;
    *task = (struct chi_sq_task){.kind = kind, .room = room, .id = room->id};
    room->under_way++;
    return task;
}

static void to_reader(struct sqlite *s, struct chi_sq_task *task)
{
    struct chi_works one = {0};
    chi_works_add(&one, &task->work);
    chi_handover_put(&s->reader.handover, &one);
}

static void to_writer(struct sqlite *s, struct chi_sq_task *task)
{
    chi_works_add(&s->to_write, &task->work);
    s->env.ops->wake(s->env.self);
}

static void room_fini(struct chi_sq_room *room)
{
    chi_name_unref(room->name);
    free(room->written);
}

static void room_release(struct sqlite *s, struct chi_sq_room *room)
{
    if (room->open || room->under_way)
        return;
    room_fini(room);
    chi_slots_give(&s->rooms, room);
}

static void task_free(struct sqlite *s, struct chi_sq_task *task)
{
    chi_entry_unref(task->entry);
    chi_stored_page_free(&task->page);
    free(task->key);
    if (task->room) {
        task->room->under_way--;
        room_release(s, task->room);
    }
    if (s->spare_count < SPARE_TASKS) {
        s->spare_count++;
        chi_works_add(&s->spare, &task->work);
    } else {
        free(task);
    }
}

static void tasks_free(struct sqlite *s, struct chi_works *works)
{
    struct chi_work *work;
    while ((work = chi_works_take(works)) != NULL)
        task_free(s, (struct chi_sq_task *)(void *)work);
}

/* --------------------------------------------------------------------------------------- calls */

static void bind_up(struct chi_log *log, const struct chi_log_up *up)
{
    of(log)->up = *up;
}

static struct chi_span epoch(struct chi_log *log)
{
    const struct sqlite *s = of(log);
    return (struct chi_span){s->epochs[s->epoch_count - 1].name, CHI_EPOCH_LEN};
}

static bool holds(struct chi_log *log, struct chi_span its_epoch, uint64_t position)
{
    const struct sqlite *s = of(log);
    if (position > CHI_POSITION_MAX)
        return false;
    if (!its_epoch.len)
        return true;
    for (uint32_t i = s->epoch_count; i-- > 0;) {
        if (!chi_span_equal(its_epoch, (struct chi_span){s->epochs[i].name, CHI_EPOCH_LEN}))
            continue;
        return i + 1 == s->epoch_count || position < s->epochs[i + 1].first;
    }
    return false;
}

static uint64_t horizon(struct chi_log *log)
{
    return chi_log_bounds(of(log)->settings, &chi_log_sqlite_bounds).cid_horizon;
}

static int open_room(struct chi_log *log, uint32_t number, struct chi_name *name)
{
    struct sqlite *s = of(log);
    struct chi_sq_room *room = chi_index_reserve(&s->by_key) ? NULL : chi_slots_take(&s->rooms);
    if (!room)
        return CHATHUB_ENOMEM;
    room->number = number;
    room->name = chi_name_ref(name);
    struct chi_sq_task *task = task_new(s, CHI_SQ_OPEN, room);
    if (!task) {
        room_release(s, room);
        return CHATHUB_ENOMEM;
    }
    room->opening = true;
    s->opening++;
    chi_index_put(&s->by_key, room->slot.number);
    to_reader(s, task);
    return 0;
}

static void close_room(struct chi_log *log, void *handle)
{
    struct sqlite *s = of(log);
    struct chi_sq_room *room = handle;
    room->open = false;
    chi_index_remove(&s->by_key, room->slot.number);
    room_release(s, room);
}

static int append(struct chi_log *log, void *handle, struct chi_entry *draft, void *token)
{
    struct sqlite *s = of(log);
    struct chi_sq_task *task = task_new(s, CHI_SQ_APPEND, handle);
    if (!task)
        return CHATHUB_ENOMEM;
    task->entry = chi_entry_ref(draft);
    task->token = token;
    task->time = s->env.ops->wall(s->env.self);
    to_writer(s, task);
    return 0;
}

static int read_page(struct chi_log *log, void *handle, const struct chi_log_read *read)
{
    struct sqlite *s = of(log);
    struct chi_sq_task *task = task_new(s, CHI_SQ_READ, handle);
    if (!task)
        return CHATHUB_ENOMEM;
    task->read = *read;
    to_reader(s, task);
    return 0;
}

static int redact(struct chi_log *log, void *handle, uint64_t position, void *token)
{
    struct sqlite *s = of(log);
    struct chi_sq_task *task = task_new(s, CHI_SQ_REDACT, handle);
    if (!task)
        return CHATHUB_ENOMEM;
    task->position = position;
    task->token = token;
    to_writer(s, task);
    return 0;
}

/* -------------------------------------------------------------------------------------- reports */

/* The handle under which the hub knows a room, if any. */
static struct chi_sq_room *room_named(struct sqlite *s, struct chi_span key)
{
    struct chi_sq_room *room = chi_slots_at(&s->rooms, chi_index_find(&s->by_key, key));
    return room && room->open ? room : NULL;
}

static struct chi_log_result result_of(struct chi_sq_task *task)
{
    struct chi_sq_room *room = task->room;
    if (task->status == CHATHUB_EDUP) {
        task->entry->position = task->position;
        task->entry->time = task->time;
    } else if (task->status == 0) {
        room->id = task->id;
        room->told = task->entry->position;
    }
    return (struct chi_log_result){
        .token = task->token,
        .status = task->status,
        .room = room->number,
        .entry = task->status == 0 || task->status == CHATHUB_EDUP ? task->entry : NULL,
        .retry_after = task->retry_after,
        .why = task->why,
    };
}

/* An entry that nobody knew of: it was read already by a room that opened since, it is news to one
 * that is open, or nobody is there to hear it. False: that is not known yet. */
static bool report_found(struct sqlite *s, const struct chi_sq_task *task)
{
    struct chi_sq_room *room = room_named(s, (struct chi_span){task->key, task->key_len});
    if (!room)
        return !s->opening;
    if (room->told >= task->entry->position)
        return true;
    room->id = task->id;
    room->told = task->entry->position;
    struct chi_log_result result = {.room = room->number, .entry = task->entry};
    s->up.committed(s->up.hub, &result, 1);
    return true;
}

static void report_held(struct sqlite *s)
{
    struct chi_works held = s->held;
    struct chi_work *work;
    s->held = (struct chi_works){0};
    while ((work = chi_works_take(&held)) != NULL) {
        struct chi_sq_task *task = (struct chi_sq_task *)(void *)work;
        if (report_found(s, task))
            task_free(s, task);
        else
            chi_works_add(&s->held, work);
    }
}

/* Posts that follow each other, as many as are reported at once. */
static void report_posts(struct sqlite *s, struct chi_works *works)
{
    struct chi_log_result results[RESULTS];
    struct chi_works done = {0};
    uint32_t n = 0;
    while (works->first && n < RESULTS) {
        struct chi_sq_task *task = (struct chi_sq_task *)(void *)works->first;
        if (task->kind != CHI_SQ_APPEND)
            break;
        chi_works_add(&done, chi_works_take(works));
        results[n++] = result_of(task);
    }
    s->up.committed(s->up.hub, results, n);
    tasks_free(s, &done);
}

static void report_opened(struct sqlite *s, struct chi_sq_task *task)
{
    struct chi_sq_room *room = task->room;
    room->opening = false;
    s->opening--;
    room->open = task->status == 0;
    if (!room->open)
        chi_index_remove(&s->by_key, room->slot.number);
    room->id = task->id;
    room->told = task->position;
    s->up.opened(s->up.hub, room->number, task->status, room->open ? room : NULL, task->position);
}

/* The room may have been closed meanwhile, and be open under another number. */
static void report_redacted(struct sqlite *s, const struct chi_sq_task *task)
{
    const struct chi_sq_room *room = room_named(s, chi_name_key(task->room->name));
    if (room)
        s->up.redacted(s->up.hub, room->number, task->position, task->status, task->token);
}

static void report_page(struct chi_sq_task *task)
{
    struct chi_log_page page = {
        .status = task->status,
        .entries = task->page.entries,
        .count = task->page.count,
        .more = task->page.more,
    };
    task->read.reader->page(task->read.reader, &page);
}

static void report(struct sqlite *s, struct chi_works *works)
{
    while (works->first) {
        struct chi_sq_task *task = (struct chi_sq_task *)(void *)works->first;
        if (task->kind == CHI_SQ_APPEND) {
            report_posts(s, works);
            continue;
        }
        chi_works_take(works);
        if (task->kind == CHI_SQ_FOUND) {
            chi_works_add(&s->held, &task->work);
            report_held(s);
            continue;
        }
        if (task->kind == CHI_SQ_OPEN)
            report_opened(s, task);
        else if (task->kind == CHI_SQ_READ)
            report_page(task);
        else
            report_redacted(s, task);
        task_free(s, task);
        report_held(s);
    }
}

static void tell_state(struct sqlite *s)
{
    bool down = s->news.stats.down;
    if (down == s->was_down)
        return;
    s->was_down = down;
    struct chi_field fields[] = {
        {"log", chi_span_of(s->path)},
        {"reason", chi_span_of(s->news.why ? s->news.why : "")},
        {"message", chi_span_of("posts are refused until it can be written to again")},
    };
    s->env.ops->log(s->env.self, down ? CHATHUB_ERROR : CHATHUB_WARNING,
                    down ? "log_down" : "log_up", fields, down ? 3 : 1);
}

/* The settings may have changed, and the time has. */
static struct chi_sq_orders orders_now(struct sqlite *s)
{
    s->ordered = s->env.ops->now(s->env.self);
    return (struct chi_sq_orders){
        .bounds = chi_log_bounds(s->settings, &chi_log_sqlite_bounds),
        .pace_us = (uint64_t)s->settings->log_pace * 1000,
        .free_bytes = s->settings->log_free,
        .wall = s->env.ops->wall(s->env.self),
    };
}

static void exchange(struct sqlite *s)
{
    struct chi_sq_orders orders = orders_now(s);
    pthread_mutex_lock(&s->writer.lock);
    s->writer.orders = orders;
    s->news = s->writer.news;
    pthread_mutex_unlock(&s->writer.lock);
}

static void poll_log(struct chi_log *log)
{
    struct sqlite *s = of(log);
    struct chi_works done = {0};
    exchange(s);
    tell_state(s);
    chi_handover_put(&s->writer.handover, &s->to_write);
    chi_handover_collect(&s->writer.handover, &done);
    report(s, &done);
    chi_handover_collect(&s->reader.handover, &done);
    report(s, &done);
}

static uint64_t next(struct chi_log *log)
{
    const struct sqlite *s = of(log);
    return s->to_write.first ? 0 : s->ordered + ORDERS_MS;
}

static void stats(struct chi_log *log, struct chi_log_stats *out)
{
    struct sqlite *s = of(log);
    *out = s->news.stats;
    out->pages = atomic_load(&s->reader.pages);
}

/* --------------------------------------------------------------------------------- new and free */

static void free_log(struct chi_log *log)
{
    if (!log)
        return;
    struct sqlite *s = of(log);
    struct chi_works left = {0};
    chi_sq_writer_stop(&s->writer, &left);
    chi_sq_writer_close(&s->writer);
    chi_sq_reader_stop(&s->reader, &left);
    tasks_free(s, &left);
    tasks_free(s, &s->to_write);
    tasks_free(s, &s->held);
    struct chi_work *work;
    while ((work = chi_works_take(&s->spare)) != NULL)
        free((struct chi_sq_task *)(void *)work);
    for (uint32_t i = 0; i < s->rooms.made; i++) {
        struct chi_sq_room *room = chi_slots_at(&s->rooms, i);
        if (room)
            room_fini(room);
    }
    chi_slots_fini(&s->rooms);
    chi_index_fini(&s->by_key);
    if (s->lock >= 0)
        close(s->lock);
    free(s->epochs);
    free(s->path);
    free(s);
}

static int begin_epoch(struct sqlite *s)
{
    uint8_t random[CHI_EPOCH_LEN * 3 / 4];
    char name[CHI_EPOCH_LEN + 1];
    s->env.ops->random(s->env.self, random, sizeof(random));
    chi_base64url(random, sizeof(random), name);
    memcpy(s->writer.epoch, name, CHI_EPOCH_LEN);
    return chi_file_epoch(s->writer.db, name, &s->epochs, &s->epoch_count, &s->writer.last);
}

/* What a crash left in the WAL may have been erased since. */
static int empty_wal(struct chi_sq_writer *w)
{
    int code = sqlite3_wal_checkpoint_v2(w->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    w->purge = (code & 0xff) == SQLITE_BUSY;
    return w->purge ? SQLITE_OK : code;
}

static int open_file(struct sqlite *s, struct chi_problem_text problem)
{
    struct chi_sq_writer *w = &s->writer;
    w->path = s->path;
    w->reader = &s->reader;
    w->mode =
        strcmp(s->settings->log_sync, "normal") == 0 ? CHI_FILE_WRITE_NORMAL : CHI_FILE_WRITE_FULL;
    int error = chi_file_lock(s->path, &s->lock, problem);
    if (!error)
        error = chi_file_check(s->path, problem);
    if (!error)
        error = chi_file_open(s->path, w->mode, CHI_SQ_BUSY_MS, &w->db, problem);
    if (error)
        return error;
    int code = empty_wal(w);
    if (code == SQLITE_OK)
        code = chi_file_secret(w->db, w->secret);
    if (code == SQLITE_OK)
        code = chi_sq_writer_read(w);
    if (code == SQLITE_OK)
        code = begin_epoch(s);
    if (code == SQLITE_OK)
        return 0;
    const char *why;
    enum chi_file_trouble trouble = chi_file_trouble(code, &why);
    snprintf(problem.at, problem.size, "log sqlite:%s cannot be opened: %s", s->path, why);
    return trouble == CHI_TROUBLE_MEMORY ? CHATHUB_ENOMEM : CHATHUB_EIO;
}

static int start_threads(struct sqlite *s, struct chi_problem_text problem)
{
    const struct chi_env_ops *env = s->env.ops;
    int error =
        chi_sq_reader_start(&s->reader, s->path, env->wake_from_thread, s->env.self, problem);
    struct chi_sq_orders orders = orders_now(s);
    if (!error)
        error = chi_sq_writer_start(&s->writer, &orders, env->wake_from_thread, s->env.self);
    if (error && !problem.at[0])
        snprintf(problem.at, problem.size, "log sqlite:%s: its threads cannot be started: %s",
                 s->path, chathub_strerror(error));
    return error;
}

static struct chi_span key_of(const void *ctx, uint32_t number)
{
    const struct chi_sq_room *room = chi_slots_at(ctx, number);
    return chi_name_key(room->name);
}

int chi_log_sqlite_new(const struct chi_settings *settings, struct chi_env env, const char *path,
                       struct chi_log **out, char *problem, size_t size)
{
    struct chi_problem_text text = {problem, size};
    snprintf(problem, size, "%s", chathub_strerror(CHATHUB_ENOMEM));
    struct sqlite *s = calloc(1, sizeof(*s));
    if (!s)
        return CHATHUB_ENOMEM;
    s->log = (struct chi_log){bind_up,   epoch,  holds,    horizon, open_room, close_room, append,
                              read_page, redact, poll_log, next,    stats,     free_log,   NULL};
    s->settings = settings;
    s->env = env;
    s->lock = -1;
    chi_slots_init(&s->rooms, sizeof(struct chi_sq_room));
    s->by_key.text = key_of;
    s->by_key.ctx = &s->rooms;
    env.ops->random(env.self, s->by_key.secret, sizeof(s->by_key.secret));
    s->path = chi_span_dup(chi_span_of(path));
    int error = s->path ? 0 : CHATHUB_ENOMEM;
    if (!error)
        error = open_file(s, text);
    if (!error) {
        problem[0] = '\0';
        error = start_threads(s, text);
    }
    if (error) {
        free_log(&s->log);
        return error;
    }
    *out = &s->log;
    return 0;
}
