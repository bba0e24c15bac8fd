/* Redactions, and where tombstones stand.
 *
 * Happy path: the entry is looked up at the leader; a record of its redaction is stored; the
 * message is deleted, which overwrites its bytes; the task is given back.
 * Failure modes: whatever is not answered is tried again; the record may be stored twice then,
 * which means the same. If the delete is never answered, the record stands, and whoever starts
 * deletes once more. At the start the leader says which record is the newest, since a server that
 * is behind may be the one that they are read from. */
#include <stdio.h>
#include <stdlib.h>

#include "chathub.h"
#include "log/jetstream/js.h"
#include "util/list.h"

#define JOBS     8u
#define TRIES    4u
#define ASK_MS   2000u
#define AGAIN_MS 100u
/* Walks at the start until the newest record came. */
#define WALKS 50u
/* Tombstones that are known, some 60 bytes each; beyond, the place of the oldest in their rooms is
 * forgotten. */
#define TOMBSTONES 200000u
/* The last records that are carried out once more at the start. */
#define ONCE_MORE 64u

struct tombstone {
    uint64_t position, prev, time;
    uint16_t type;
};

/* Of one room, by position. */
struct grave {
    struct tombstone *stones; /* owned */
    uint32_t count, cap;
    uint32_t key_len;
    char key[];
};

enum stage { LOOK, RECORD, DELETE };

struct job {
    struct chi_js_ask ask;
    struct chi_timer timer; /* to the next try */
    struct chi_js *js;
    struct chi_js_task *task; /* NULL: free */
    enum stage stage;
    uint32_t tries;
    bool seen; /* the record is stored for certain */
    struct tombstone stone;
};

struct chi_js_erasing {
    struct chi_js *js;
    struct chi_map *graves; /* by a room's key */
    uint32_t count;         /* tombstones */
    struct job jobs[JOBS];
    struct chi_works waiting;
    /* of the load */
    struct chi_js_ask ask;
    struct chi_timer timer; /* to the next walk */
    struct chi_js_walk walk;
    uint64_t target, reached; /* the newest record, as the leader said; and that came */
    uint32_t tries;
    void (*loaded)(struct chi_js *js, int status);
    uint64_t last[ONCE_MORE]; /* positions of the newest records, in a ring */
    uint32_t last_count;
    bool starting; /* start_jobs is at it */
};

/* ------------------------------------------------------------------------------- tombstones */

/* The first place not below the position. */
static uint32_t place_of(const struct grave *grave, uint64_t position)
{
    uint32_t low = 0, high = grave->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (grave->stones[middle].position < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct grave *grave_of(struct chi_js_erasing *e, struct chi_span key)
{
    struct grave *grave = chi_map_get(e->graves, key.at, key.len);
    if (grave)
        return grave;
    grave = calloc(1, sizeof(*grave) + key.len);
    if (!grave)
        return NULL;
    grave->key_len = (uint32_t)key.len;
    memcpy(grave->key, key.at, key.len);
    if (!chi_map_put(e->graves, key.at, key.len, grave))
        return grave;
    free(grave);
    return NULL;
}

/* Whether there is a place for one more. */
static bool make_place(struct chi_js_erasing *e, struct grave *grave)
{
    if (e->count >= TOMBSTONES && grave->count) { /* of its own room the oldest */
        memmove(grave->stones, grave->stones + 1, --grave->count * sizeof(*grave->stones));
        e->count--;
    }
    if (e->count >= TOMBSTONES)
        return false;
    if (grave->count < grave->cap)
        return true;
    uint32_t cap = grave->cap ? grave->cap * 2 : 4;
    struct tombstone *stones = realloc(grave->stones, cap * sizeof(*stones));
    if (!stones)
        return false;
    grave->stones = stones;
    grave->cap = cap;
    return true;
}

/* 1: it is new; 0: known; CHATHUB_ENOMEM: the entry will be gone without a tombstone. */
static int remember(struct chi_js_erasing *e, struct chi_span key, const struct tombstone *stone)
{
    struct grave *grave = grave_of(e, key);
    if (!grave)
        return CHATHUB_ENOMEM;
    uint32_t at = place_of(grave, stone->position);
    if (at < grave->count && grave->stones[at].position == stone->position)
        return 0;
    if (!make_place(e, grave))
        return CHATHUB_ENOMEM;
    at = place_of(grave, stone->position);
    memmove(grave->stones + at + 1, grave->stones + at,
            (grave->count - at) * sizeof(*grave->stones));
    grave->stones[at] = *stone;
    grave->count++;
    e->count++;
    return 1;
}

static void bury(void *ctx, const void *key, size_t len, void *value)
{
    struct grave *grave = value;
    chi_map_remove(ctx, key, len);
    free(grave->stones);
    free(grave);
}

bool chi_js_erase_find(const struct chi_js *js, struct chi_span key, uint64_t from, uint64_t to,
                       struct chi_js_erased *out)
{
    const struct grave *grave = chi_map_get(js->erasing->graves, key.at, key.len);
    uint32_t at = grave ? place_of(grave, from) : 0;
    if (!grave || at == grave->count || grave->stones[at].position > to)
        return false;
    const struct tombstone *stone = &grave->stones[at];
    *out = (struct chi_js_erased){.room = {grave->key, grave->key_len},
                                  .position = stone->position,
                                  .prev = stone->prev,
                                  .time = stone->time,
                                  .type = stone->type};
    return true;
}

struct chi_entry *chi_js_tombstone(const struct chi_js_erased *erased)
{
    struct chi_entry *entry = chi_entry_new(erased->type, &(struct chi_entry_parts){0});
    if (entry) {
        entry->position = erased->position;
        entry->prev = erased->prev;
        entry->time = erased->time;
    }
    return entry;
}

/* ------------------------------------------------------------------------------------- jobs */

static void run(struct job *job);
static void start_jobs(struct chi_js_erasing *e);

static void job_stop(struct job *job)
{
    chi_js_ask_end(&job->ask);
    chi_timers_clear(&job->js->timers, &job->timer);
    job->task = NULL;
}

/* To the hub's side, if the room is open. */
static void tell_gone(struct chi_js *js, struct chi_span key, uint64_t position)
{
    if (!chi_map_get(js->tops, key.at, key.len))
        return;
    struct chi_js_task *task = chi_js_task_new(CHI_JS_GONE);
    if (task) {
        chi_buf_add(&task->bytes, key.at, key.len);
        task->position = position;
    }
    if (task && !task->bytes.failed)
        chi_js_give(js, task);
    else
        chi_js_task_free(task); /* it stays in memory here until it goes by itself */
}

static void job_end(struct job *job, int status)
{
    struct chi_js *js = job->js;
    struct chi_js_task *task = job->task;
    struct chi_span key = chi_name_key(task->room->name);
    if (status == CHATHUB_ELOG && job->seen)
        tell_gone(js, key, task->position);
    else if (!status)
        remember(js->erasing, key, &job->stone);
    task->status = status;
    job_stop(job);
    chi_js_give(js, task);
    start_jobs(js->erasing);
}

static void fired(struct chi_timer *timer)
{
    run(CHI_CONTAINER(timer, struct job, timer));
}

static void again(struct job *job)
{
    uint64_t wait = (uint64_t)AGAIN_MS << job->tries;
    if (++job->tries > TRIES || job->js->state != CHI_JS_UP ||
        chi_timers_set(&job->js->timers, &job->timer, job->js->now + wait))
        job_end(job, CHATHUB_ELOG);
}

static void go_on(struct job *job, enum stage stage)
{
    job->stage = stage;
    job->tries = 0;
    run(job);
}

static bool is_in_room(const struct job *job, const struct chi_js_answer *answer)
{
    struct chi_buf subject;
    chi_buf_init(&subject);
    chi_js_room_subject(job->js, &subject, chi_name_key(job->task->room->name));
    bool is = !subject.failed &&
              chi_span_equal((struct chi_span){subject.at, subject.len},
                             (struct chi_span){answer->subject.at, answer->subject.len});
    chi_buf_fini(&subject);
    return is;
}

/* What was erased already is erased. */
static void looked(struct job *job, const struct chi_js_answer *answer)
{
    struct chi_js_erased erased;
    struct chi_js_record record;
    uint64_t position = job->task->position;
    struct chi_span key = chi_name_key(job->task->room->name);
    if (answer->code) {
        bool known = chi_js_erase_find(job->js, key, position, position, &erased);
        if (known)
            job->stone = (struct tombstone){position, erased.prev, erased.time, erased.type};
        job_end(job, known ? 0 : CHATHUB_ENOENT);
        return;
    }
    int error =
        is_in_room(job, answer)
            ? chi_js_read_entry((struct chi_span){answer->data.at, answer->data.len}, &record)
            : CHATHUB_EREQUEST;
    if (error) {
        job_end(job, error == CHATHUB_ENOMEM ? CHATHUB_ELOG : CHATHUB_ENOENT);
        return;
    }
    /* What it knew may be of a stream that was put back since. */
    uint64_t before = record.hint.before < position ? record.hint.before : position - 1;
    job->stone = (struct tombstone){position, before, record.entry->time, record.entry->type};
    chi_entry_unref(record.entry);
    go_on(job, RECORD);
}

static void answered(struct chi_js_ask *ask, const struct chi_js_in *in)
{
    struct job *job = CHI_CONTAINER(ask, struct job, ask);
    struct chi_js_answer answer = {0};
    bool good = in && !in->status && !chi_js_read_answer(in->data, job->js->parts.stream, &answer);
    bool missing = good && job->stage != RECORD && chi_js_answer_misses(&answer);
    good = good && (!answer.code || missing);
    /* {"seq":0,"duplicate":true}: another try is on its way into the stream, and may not arrive. */
    good = good && (job->stage != RECORD || answer.seq);
    chi_js_ask_end(ask);
    if (answer.err_code == CHI_JS_NO_STREAM)
        chi_js_stream_doubt(job->js);
    if (!job->task) { /* the doubt ended it */
    } else if (!good) {
        again(job);
    } else if (job->stage == LOOK) {
        looked(job, &answer);
    } else if (job->stage == RECORD) {
        job->seen = true;
        go_on(job, DELETE);
    } else {
        job_end(job, 0);
    }
    chi_js_answer_fini(&answer);
}

/* Under one id in each try. */
static int store_record(struct job *job)
{
    char id[40]; /* and its place under S.in. */
    struct chi_buf subject, data;
    struct chi_js_erased erased = {.room = chi_name_key(job->task->room->name),
                                   .position = job->stone.position,
                                   .prev = job->stone.prev,
                                   .time = job->stone.time,
                                   .type = job->stone.type};
    chi_buf_init(&subject);
    chi_buf_init(&data);
    chi_buf_add_text(&subject, job->js->parts.stream);
    snprintf(id, sizeof(id), "erased.%llu", (unsigned long long)erased.position);
    chi_buf_add_text(&subject, ".in.");
    chi_buf_add_text(&subject, id);
    chi_js_write_erased(&data, &erased);
    struct chi_js_out out = {
        .subject = {subject.at, subject.len}, .data = {data.at, data.len}, .id = id};
    int error = subject.failed || data.failed ? CHATHUB_ENOMEM
                                              : chi_js_ask_send(job->js, &job->ask, &out, ASK_MS);
    chi_buf_fini(&subject);
    chi_buf_fini(&data);
    return error;
}

static void run(struct job *job)
{
    struct chi_buf data;
    int error;
    chi_buf_init(&data);
    job->ask.answer = answered;
    if (job->js->state != CHI_JS_UP) {
        error = CHATHUB_ELOG;
    } else if (job->stage == RECORD) {
        error = store_record(job);
    } else if (job->stage == LOOK) {
        chi_js_ask_get(&data, job->task->position);
        error = chi_js_ask(job->js, &job->ask, "STREAM.MSG.GET", &data, ASK_MS);
    } else {
        chi_js_ask_delete(&data, job->task->position);
        error = chi_js_ask(job->js, &job->ask, "STREAM.MSG.DELETE", &data, ASK_MS);
    }
    if (error)
        job_end(job, CHATHUB_ELOG);
}

static struct job *free_job(struct chi_js_erasing *e)
{
    for (uint32_t i = 0; i < JOBS; i++)
        if (!e->jobs[i].task)
            return &e->jobs[i];
    return NULL;
}

static void start_jobs(struct chi_js_erasing *e)
{
    struct job *job;
    if (e->starting) /* a job that ends at once comes here again */
        return;
    e->starting = true;
    while (e->waiting.first && (job = free_job(e)) != NULL) {
        struct chi_js_task *task = (struct chi_js_task *)(void *)chi_works_take(&e->waiting);
        *job = (struct job){.js = e->js, .task = task, .timer.fire = fired};
        run(job);
    }
    e->starting = false;
}

/* No stream holds anything at 0, and the server would take it for another question. Who had the room
 * open before the log went back means an entry that was there then. */
void chi_js_erase_take(struct chi_js *js, struct chi_js_task *task)
{
    bool never = !task->position || task->position > CHI_POSITION_MAX;
    bool former = !task->room->top || task->room->top->gone;
    if (never || former || js->state != CHI_JS_UP) {
        task->status = never ? CHATHUB_ENOENT : CHATHUB_ELOG;
        chi_js_give(js, task);
        return;
    }
    chi_works_add(&js->erasing->waiting, &task->work);
    start_jobs(js->erasing);
}

/* ----------------------------------------------------------------------------- from the stream */

static struct job *job_at(struct chi_js_erasing *e, uint64_t position)
{
    for (uint32_t i = 0; i < JOBS; i++)
        if (e->jobs[i].task && e->jobs[i].task->position == position)
            return &e->jobs[i];
    return NULL;
}

void chi_js_erase_seen(struct chi_js *js, uint64_t seq, struct chi_span data)
{
    struct chi_js_erased erased;
    if (chi_js_read_erased(data, &erased) || erased.position >= seq)
        return;
    struct tombstone stone = {erased.position, erased.prev, erased.time, erased.type};
    struct job *own = job_at(js->erasing, erased.position);
    int r = remember(js->erasing, erased.room, &stone);
    if (own)
        own->seen = true;
    else if (r)
        tell_gone(js, erased.room, erased.position);
}

static void load_each(struct chi_js_walk *walk, const struct chi_js_in *in)
{
    struct chi_js_erasing *e = CHI_CONTAINER(walk, struct chi_js_erasing, walk);
    struct chi_js_erased erased;
    e->reached = in->seq;
    if (chi_js_read_erased(in->data, &erased) || erased.position >= in->seq)
        return; /* a position that is not there may not be deleted */
    struct tombstone stone = {erased.position, erased.prev, erased.time, erased.type};
    remember(e, erased.room, &stone);
    e->last[e->last_count++ % ONCE_MORE] = erased.position;
}

/* Nobody waits for the answers: most say that there is nothing. */
static void delete_once_more(struct chi_js_erasing *e)
{
    char subject[96];
    const struct chi_js_port *port = &e->js->parts.port;
    uint32_t n = e->last_count < ONCE_MORE ? e->last_count : ONCE_MORE;
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.DELETE.%s", e->js->parts.stream);
    for (uint32_t i = 0; i < n; i++) {
        struct chi_buf data;
        chi_buf_init(&data);
        chi_js_ask_delete(&data, e->last[i]);
        struct chi_js_out out = {.subject = chi_span_of(subject), .data = {data.at, data.len}};
        if (!data.failed)
            port->send(port->self, &out);
        chi_buf_fini(&data);
    }
}

static void load_stop(struct chi_js_erasing *e)
{
    chi_js_walk_end(&e->walk);
    chi_js_ask_end(&e->ask);
    chi_timers_clear(&e->js->timers, &e->timer);
}

static void load_end(struct chi_js_erasing *e, int status)
{
    if (!status)
        delete_once_more(e);
    e->loaded(e->js, status);
}

static void load_done(struct chi_js_walk *walk, int status, bool whole)
{
    struct chi_js_erasing *e = CHI_CONTAINER(walk, struct chi_js_erasing, walk);
    (void)whole;
    if (status || e->reached >= e->target)
        load_end(e, status);
    else if (++e->tries == WALKS ||
             chi_timers_set(&e->js->timers, &e->timer, e->js->now + AGAIN_MS))
        load_end(e, CHATHUB_ELOG);
}

static void load_subject(const struct chi_js *js, struct chi_buf *out)
{
    chi_buf_init(out);
    chi_buf_add_text(out, js->parts.stream);
    chi_buf_add_text(out, ".in.erased.>");
}

static void load_walk(struct chi_js_erasing *e)
{
    struct chi_buf subject;
    load_subject(e->js, &subject);
    e->walk.each = load_each;
    e->walk.done = load_done;
    e->walk.limit = e->walk.bytes = UINT32_MAX;
    int error = subject.failed
                    ? CHATHUB_ENOMEM
                    : chi_js_walk_begin(e->js, &e->walk, (struct chi_span){subject.at, subject.len},
                                        e->reached + 1, 0);
    chi_buf_fini(&subject);
    if (error)
        load_end(e, CHATHUB_ELOG);
}

static void load_again(struct chi_timer *timer)
{
    load_walk(CHI_CONTAINER(timer, struct chi_js_erasing, timer));
}

static void newest_came(struct chi_js_ask *ask, const struct chi_js_in *in)
{
    struct chi_js_erasing *e = CHI_CONTAINER(ask, struct chi_js_erasing, ask);
    struct chi_js_answer answer = {0};
    bool good = in && !in->status && !chi_js_read_answer(in->data, e->js->parts.stream, &answer);
    bool none = good && answer.err_code == CHI_JS_NO_MESSAGE;
    good = good && !answer.code;
    e->target = answer.seq;
    chi_js_answer_fini(&answer);
    chi_js_ask_end(ask);
    if (good)
        load_walk(e);
    else
        load_end(e, none ? 0 : CHATHUB_ELOG);
}

int chi_js_erase_load(struct chi_js *js, void (*done)(struct chi_js *js, int status))
{
    struct chi_js_erasing *e = js->erasing;
    struct chi_buf subject, data;
    load_stop(e);
    e->loaded = done;
    e->last_count = e->tries = 0;
    e->target = e->reached = 0;
    e->ask.answer = newest_came;
    load_subject(js, &subject);
    chi_buf_init(&data);
    chi_js_ask_last(&data, (struct chi_span){subject.at, subject.len});
    data.failed |= subject.failed;
    chi_buf_fini(&subject);
    return chi_js_ask(js, &e->ask, "STREAM.MSG.GET", &data, ASK_MS);
}

void chi_js_erase_end(struct chi_js *js)
{
    struct chi_js_erasing *e = js->erasing;
    struct chi_works waiting = e->waiting;
    struct chi_work *work;
    e->waiting = (struct chi_works){0};
    load_stop(e);
    for (uint32_t i = 0; i < JOBS; i++)
        if (e->jobs[i].task)
            job_end(&e->jobs[i], CHATHUB_ELOG);
    while ((work = chi_works_take(&waiting)) != NULL) {
        struct chi_js_task *task = (struct chi_js_task *)(void *)work;
        task->status = CHATHUB_ELOG;
        chi_js_give(js, task);
    }
    chi_map_each(e->graves, bury, e->graves);
    e->count = 0;
}

int chi_js_erase_new(struct chi_js *js)
{
    struct chi_js_erasing *e = calloc(1, sizeof(*e));
    if (!e)
        return CHATHUB_ENOMEM;
    e->js = js;
    e->graves = chi_map_new(js->parts.secrets);
    if (!e->graves) {
        free(e);
        return CHATHUB_ENOMEM;
    }
    for (uint32_t i = 0; i < JOBS; i++)
        e->jobs[i].js = js;
    e->timer.fire = load_again;
    js->erasing = e;
    return 0;
}

void chi_js_erase_free(struct chi_js *js, struct chi_works *left)
{
    struct chi_js_erasing *e = js->erasing;
    if (!e)
        return;
    load_stop(e);
    for (uint32_t i = 0; i < JOBS; i++) {
        if (!e->jobs[i].task)
            continue;
        chi_works_add(left, &e->jobs[i].task->work);
        job_stop(&e->jobs[i]);
    }
    chi_works_move(left, &e->waiting);
    chi_map_each(e->graves, bury, e->graves);
    chi_map_free(e->graves);
    free(e);
    js->erasing = NULL;
}
