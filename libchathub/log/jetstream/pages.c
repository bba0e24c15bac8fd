/* Openings and pages: what is read of one room.
 *
 * Happy path: an opening asks the leader for the last message of the room's subject. A page that
 * goes forward is one walk, from the position behind which it begins: is that one there, it is the
 * prev of the next. A page that goes backward looks up a message that is early enough, by the hints
 * that the entries carry, walks from there and keeps the newest. Failure modes: an answer is lost
 * or an error: asked again, TRIES times, then CHATHUB_ELOG. A walk that ends before the newest
 * entry that is known of the room was answered by a server that is behind, or the newest are gone
 * (their age): the leader is asked which. A walk backward that began too late (ordinals may repeat)
 * begins earlier, with twice as much before it each time. Where the stream has replicas, a page that
 * the leader does not confirm (proof.c) is read again, PROOFS times, then CHATHUB_ELOG. */
#include <stdlib.h>

#include "chathub.h"
#include "log/jetstream/js.h"
#include "util/list.h"

#define JOBS     32u
#define TRIES    6u
#define GET_MS   2000u /* for an answer */
#define AGAIN_MS 25u   /* before the second try; then twice as long each time */
#define PROOFS   5u
#define PROOF_MS 100u /* before a page is read again; then twice as long each time */
#define WAIT_MS  20u  /* between looks whether the stream is known to be there */
#define HOPS     100u /* links that are followed */
/* What waits while the stream is checked is given up then. */
#define PATIENCE_MS 5000u
/* Bytes of a page's messages over those of its entries. */
#define SLACK 65536u

enum stage {
    OPENING, /* the last message of the room */
    FLOOR,   /* it has none: what the stream holds at all */
    SEEK,    /* backward: the first message not before the bound */
    LINK,    /* backward: one that is named by a hint */
    WALK,
    NEWEST, /* is the newest one still there? */
    OLDEST, /* which one is the oldest? */
};

struct job {
    struct chi_js_walk walk;
    struct chi_js_ask ask;
    struct chi_timer timer; /* to the next try */
    struct chi_js *js;
    struct chi_js_task *task; /* NULL: the job is free */
    struct chi_js_top *top;   /* of the room, in use */
    struct chi_buf subject;   /* of the room; owned */
    enum stage stage;
    uint32_t tries; /* in a row that brought nothing */
    uint32_t hops;
    uint64_t number;          /* of the connection over which the walk began */
    uint64_t start;           /* where the walk begins … */
    uint64_t at;              /* … and the last entry that it passed; 0: none yet */
    uint64_t seen;            /* the last message that it passed */
    uint64_t link;            /* position that is looked up */
    uint64_t ordinal;         /* backward: of the first message not before the bound */
    struct chi_js_hint first; /* of the first entry of the walk … */
    bool doubt;               /* … which is the page's first, its prev not known */
    bool full;                /* forward: there are more */
    uint32_t dropped;         /* backward: entries that were too many, the oldest */
    uint64_t bytes;           /* of the entries kept */
    uint64_t oldest;          /* of the room, as asked for; 0: not known */
    uint64_t end;             /* the walk came up to here */
    struct chi_js_proof proof;
    uint32_t disproved; /* times that a page was not confirmed */
};

struct chi_js_pages {
    struct chi_js *js;
    struct job jobs[JOBS];
    struct chi_works waiting;     /* tasks */
    struct chi_timer timer;       /* looks again, while something waits for the stream */
    uint64_t since;               /* … and has since then */
    bool starting;                /* start_jobs is at it */
    struct chi_link tops;         /* all, with those from before the log went back */
    struct chi_js_proofs *proofs; /* owned */
};

static void run(struct job *job);
static void start_jobs(struct chi_js_pages *pages);

/* ---------------------------------------------------------------------------------------- tops */

static struct chi_js_top *top_use(struct chi_js *js, struct chi_span key)
{
    struct chi_js_top *top = chi_map_get(js->tops, key.at, key.len);
    if (!top) {
        top = calloc(1, sizeof(*top));
        if (!top || chi_map_put(js->tops, key.at, key.len, top)) {
            free(top);
            return NULL;
        }
        chi_list_append(&js->pages->tops, &top->all);
    }
    top->uses++;
    return top;
}

static void top_release(struct chi_js *js, struct chi_js_top *top, struct chi_span key)
{
    if (--top->uses)
        return;
    if (!top->gone)
        chi_map_remove(js->tops, key.at, key.len);
    chi_list_remove(&top->all);
    free(top);
}

/* ------------------------------------------------------------------------------- jobs end */

static struct chi_span key_of(const struct chi_js_task *task)
{
    return chi_name_key(task->room->name);
}

static void page_empty(struct chi_js_page *page)
{
    for (uint32_t i = 0; i < page->count; i++)
        chi_entry_unref(page->entries[i]);
    page->count = 0;
}

static void job_stop(struct job *job)
{
    chi_js_walk_end(&job->walk);
    chi_js_ask_end(&job->ask);
    chi_js_proof_end(&job->proof);
    chi_timers_clear(&job->js->timers, &job->timer);
    chi_buf_fini(&job->subject);
    chi_buf_init(&job->subject);
    job->task = NULL;
}

static void task_give(struct chi_js *js, struct chi_js_task *task, int status)
{
    task->status = status;
    if (status)
        page_empty(&task->page);
    chi_js_give(js, task);
}

static void job_end(struct job *job, int status)
{
    struct chi_js *js = job->js;
    struct chi_js_task *task = job->task;
    struct chi_js_top *top = job->top;
    bool opened = task->kind == CHI_JS_OPEN && !status;
    job_stop(job);
    if (opened)
        task->room->top = top; /* in use until it is shut */
    else
        top_release(js, top, key_of(task));
    task_give(js, task, status);
    start_jobs(js->pages);
}

static void fired(struct chi_timer *timer)
{
    run(CHI_CONTAINER(timer, struct job, timer));
}

static void again(struct job *job)
{
    uint64_t wait = (uint64_t)AGAIN_MS << job->tries;
    if (++job->tries > TRIES || job->js->state == CHI_JS_DOWN ||
        chi_timers_set(&job->js->timers, &job->timer, job->js->now + wait))
        job_end(job, CHATHUB_ELOG);
}

/* ------------------------------------------------------------------------- entries of a page */

/* What one server gave is proven by another one, if there is one. */
static bool is_proven(const struct job *job)
{
    return chi_js_stream_replicas(job->js) > 1;
}

static bool fits(const struct job *job, const struct chi_entry *entry)
{
    const struct chi_js_task *task = job->task;
    return !task->page.count || (task->page.count < task->read.limit &&
                                 job->bytes + chi_entry_size(entry) <= task->read.bytes);
}

/* The oldest go where there are too many. */
static void drop_oldest(struct job *job)
{
    struct chi_js_page *page = &job->task->page;
    uint32_t n = 0;
    while (page->count - n > 1 &&
           (page->count - n > job->task->read.limit || job->bytes > job->task->read.bytes)) {
        job->bytes -= chi_entry_size(page->entries[n]);
        chi_entry_unref(page->entries[n++]);
    }
    if (!n)
        return;
    /* The last one that goes is what the first one that stays names as its prev. */
    chi_js_proof_drop(&job->proof, page->entries[n]->prev);
    page->count -= n;
    job->dropped += n;
    job->doubt = false;
    memmove(page->entries, page->entries + n, page->count * sizeof(struct chi_entry *));
}

/* Takes over the reference. 0; 1: a page forward is full without it; or CHATHUB_ENOMEM. */
static int add(struct job *job, struct chi_entry *entry)
{
    struct chi_js_page *page = &job->task->page;
    bool backward = job->task->read.backward;
    bool full = !backward && !fits(job, entry);
    if (!full && page->count == page->cap) {
        uint32_t cap = page->cap ? page->cap * 2 : 64;
        struct chi_entry **entries = realloc(page->entries, cap * sizeof(struct chi_entry *));
        if (!entries) {
            chi_entry_unref(entry);
            return CHATHUB_ENOMEM;
        }
        page->entries = entries;
        page->cap = cap;
    }
    if (full) {
        chi_entry_unref(entry);
        job->full = true;
        return 1;
    }
    job->at = entry->position;
    job->bytes += chi_entry_size(entry);
    page->entries[page->count++] = entry;
    if (backward)
        drop_oldest(job);
    return 0;
}

/* Tombstones in [from, to]. As `add`. */
static int add_tombstones(struct job *job, uint64_t from, uint64_t to)
{
    struct chi_js_erased erased;
    int r = 0;
    while (!r && from <= to && chi_js_erase_find(job->js, key_of(job->task), from, to, &erased)) {
        struct chi_entry *entry = chi_js_tombstone(&erased);
        if (!entry)
            return CHATHUB_ENOMEM;
        if (job->at)
            entry->prev = job->at;
        r = add(job, entry);
        from = erased.position + 1;
    }
    return r;
}

/* The first place where a tombstone would belong to the page and was not looked for yet. */
static uint64_t unlooked(const struct job *job)
{
    uint64_t from = job->at ? job->at + 1 : job->start;
    return from > job->task->read.after ? from : job->task->read.after + 1;
}

/* As `add`. */
static int add_message(struct job *job, const struct chi_js_in *in)
{
    struct chi_js_record record;
    int r = add_tombstones(job, unlooked(job), in->seq - 1);
    if (r)
        return r;
    int error = chi_js_read_entry(in->data, &record);
    if (error == CHATHUB_EREQUEST) /* of a later version, or no entry: passed over, as where it is
                                      shown */
        return 0;
    if (error)
        return error;
    record.entry->position = in->seq;
    record.entry->prev = job->at;
    if (!job->at) {
        job->first = record.hint;
        job->doubt = true;
    }
    r = add(job, record.entry);
    return r || !is_proven(job) ? r : chi_js_proof_add(job->js, &job->proof, in->seq, in->data);
}

/* ------------------------------------------------------------------------- the end of a page */

/* What was erased since it was read, or was read of a server that is behind, is given without its
 * texts: whoever was told of the redaction has forgotten them. 0 or CHATHUB_ENOMEM. */
static int bury_erased(struct job *job)
{
    struct chi_js_page *page = &job->task->page;
    struct chi_js_erased erased;
    uint64_t from = page->count ? page->entries[0]->position : 0;
    uint64_t to = page->count ? page->entries[page->count - 1]->position : 0;
    uint32_t i = 0;
    while (from <= to && chi_js_erase_find(job->js, key_of(job->task), from, to, &erased)) {
        from = erased.position + 1;
        while (i < page->count && page->entries[i]->position < erased.position)
            i++;
        if (i == page->count || page->entries[i]->position != erased.position)
            continue;
        struct chi_entry *stone = chi_js_tombstone(&erased);
        if (!stone)
            return CHATHUB_ENOMEM;
        stone->prev = page->entries[i]->prev;
        chi_entry_unref(page->entries[i]);
        page->entries[i] = stone;
    }
    return 0;
}

static void give_page(struct job *job)
{
    job->task->page.more = job->full || job->dropped;
    job_end(job, bury_erased(job) ? CHATHUB_ELOG : 0);
}

static void proved(struct chi_js_proof *proof, int status)
{
    struct job *job = CHI_CONTAINER(proof, struct job, proof);
    uint64_t wait = (uint64_t)PROOF_MS << job->disproved;
    if (!status && job->number == job->js->number) {
        give_page(job);
        return;
    }
    job->stage = WALK;
    job->oldest = 0;
    if (++job->disproved > PROOFS || job->js->state == CHI_JS_DOWN ||
        chi_timers_set(&job->js->timers, &job->timer, job->js->now + wait))
        job_end(job, CHATHUB_ELOG);
}

static void prove_page(struct job *job)
{
    const struct chi_js_page *page = &job->task->page;
    uint64_t after = job->task->read.after, from = job->start > after ? job->start : after + 1;
    if (!is_proven(job)) {
        give_page(job);
        return;
    }
    job->proof.key = key_of(job->task);
    job->proof.subject = (struct chi_span){job->subject.at, job->subject.len};
    job->proof.from = job->dropped ? page->entries[0]->prev : from;
    job->proof.to = job->full ? 0 : job->end;
    job->proof.done = proved;
    chi_js_proof_begin(job->js->pages->proofs, &job->proof);
}

/* The first entry's prev, where nothing before it was read. Of the oldest that is kept: right
 * before it, since nobody knows what was there, unless that was erased; else the one that its node
 * knew, which is not above the true one. */
static void settle_first(struct job *job, bool is_oldest)
{
    struct chi_entry *entry = job->task->page.entries[0];
    struct chi_js_erased erased;
    bool lost = is_oldest && (job->first.before || job->first.ordinal) &&
                !chi_js_erase_find(job->js, key_of(job->task), job->first.before, job->first.before,
                                   &erased);
    entry->prev =
        lost || job->first.before >= entry->position ? entry->position - 1 : job->first.before;
    job->doubt = false;
}

static void forward_done(struct job *job)
{
    bool open = job->doubt && (job->first.before || job->first.ordinal);
    if (open && job->first.before > job->task->read.after) {
        settle_first(job, true);
    } else if (open && !job->oldest) {
        job->stage = OLDEST;
        run(job);
        return;
    } else if (job->doubt) {
        settle_first(job, job->oldest >= job->task->page.entries[0]->position);
    }
    prove_page(job);
}

static uint64_t end_of(const struct job *job)
{
    uint64_t end = job->top->position + 1;
    return job->task->read.before < end ? job->task->read.before : end;
}

/* The walk began too late: earlier, by so much that the effort stays in proportion. */
static void begin_earlier(struct job *job)
{
    uint64_t end = end_of(job);
    uint64_t span = (end > job->start ? end - job->start : 1) * 2;
    job->start =
        job->start > span && job->start - span > job->oldest ? job->start - span : job->oldest;
    job->stage = WALK;
    run(job);
}

static void backward_done(struct job *job)
{
    const struct chi_js_page *page = &job->task->page;
    bool whole = job->start <= job->task->read.after + 1 ||
                 (job->doubt && !job->first.before && !job->first.ordinal);
    if (!job->dropped && !whole && !job->oldest) {
        job->stage = OLDEST;
        run(job);
        return;
    }
    whole = whole || job->start <= job->oldest ||
            (page->count && page->entries[0]->position <= job->oldest) ||
            (!page->count && job->oldest >= end_of(job));
    if (!job->dropped && !whole) {
        begin_earlier(job);
        return;
    }
    if (job->doubt)
        settle_first(job, job->first.before > job->task->read.after || !job->task->read.after);
    prove_page(job);
}

/* What came over two connections may be of two streams. */
static void done(struct job *job)
{
    if (job->number != job->js->number) {
        job->stage = WALK;
        again(job);
        return;
    }
    job->tries = 0;
    if (!job->full) {
        uint64_t before = job->task->read.before;
        int r = add_tombstones(job, unlooked(job), before ? before - 1 : 0);
        if (r < 0) {
            job_end(job, CHATHUB_ELOG);
            return;
        }
    }
    if (job->task->read.backward)
        backward_done(job);
    else
        forward_done(job);
}

/* ---------------------------------------------------------------------------------- the walk */

static void walk_each(struct chi_js_walk *walk, const struct chi_js_in *in)
{
    struct job *job = CHI_CONTAINER(walk, struct job, walk);
    const struct chi_log_read *read = &job->task->read;
    int r = 1;
    job->seen = in->seq;
    if (in->seq <= read->after) {
        job->at = in->seq;
        return;
    }
    if (in->seq < read->before)
        r = add_message(job, in);
    if (!r)
        return;
    chi_js_walk_end(walk);
    job->end = end_of(job);
    if (r < 0)
        job_end(job, CHATHUB_ELOG);
    else
        done(job);
}

static void walk_done(struct chi_js_walk *walk, int status, bool whole)
{
    struct job *job = CHI_CONTAINER(walk, struct job, walk);
    struct chi_js_erased erased;
    uint64_t top = job->top->position;
    job->end = end_of(job);
    if (status) {
        job_end(job, CHATHUB_ELOG);
    } else if (!whole) {
        job->full = true;
        done(job);
    } else if (job->seen >= top) {
        done(job);
    } else { /* where the newest was erased, the leader says what is there before it */
        bool gone = chi_js_erase_find(job->js, key_of(job->task), top, top, &erased);
        job->link = gone ? 0 : top;
        job->stage = NEWEST;
        run(job);
    }
}

static int walk(struct job *job)
{
    const struct chi_log_read *read = &job->task->read;
    struct chi_js_erased erased;
    struct chi_span subject = {job->subject.at, job->subject.len};
    page_empty(&job->task->page);
    chi_js_proof_end(&job->proof);
    job->at = job->seen = job->bytes = 0;
    job->dropped = 0;
    job->full = job->doubt = false;
    job->number = job->js->number;
    if (!read->backward)
        job->start = read->after ? read->after : 1;
    if (!read->backward &&
        chi_js_erase_find(job->js, key_of(job->task), read->after, read->after, &erased))
        job->at = read->after;
    uint64_t limit = (uint64_t)read->limit + 2, bytes = (uint64_t)read->bytes + SLACK;
    bool bounded = !read->backward;
    job->walk.limit = bounded && limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX;
    job->walk.bytes = bounded && bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
    job->walk.each = walk_each;
    job->walk.done = walk_done;
    return chi_js_walk_begin(job->js, &job->walk, subject, job->start, 0);
}

/* ------------------------------------------------------------------------- requests to the
 * leader */

/* Backward: where the walk is to begin, if the message at `position` has this hint and `ordinal` is
 * wanted there; or which link leads nearer. */
static void follow(struct job *job, uint64_t position, const struct chi_js_hint *hint)
{
    uint64_t wanted = (uint64_t)job->task->read.limit + 1;
    uint64_t before = hint->ordinal ? hint->ordinal - 1 : 0;
    uint64_t at64 = before / 64 * 64, at4k = before / 4096 * 4096;
    job->stage = WALK;
    job->start = position;
    if (job->ordinal <= wanted)
        job->start = 1;
    else if (!hint->ordinal || !hint->back64 || hint->back64 >= position || ++job->hops > HOPS)
        job->start = position < end_of(job) ? position : end_of(job) - 1;
    else if (job->ordinal - at64 >= wanted)
        job->start = hint->back64;
    else {
        bool far = hint->back4k && hint->back4k < position && job->ordinal - at4k < wanted;
        job->link = far ? hint->back4k : hint->back64;
        job->stage = LINK;
    }
    run(job);
}

static void follow_top(struct job *job)
{
    struct chi_js_hint hint = chi_js_hint_after(job->top->position, &job->top->hint);
    job->ordinal = hint.ordinal;
    follow(job, job->top->position + 1, &hint);
}

/* False: it is no entry, or not of this room. */
static bool hint_in(const struct job *job, const struct chi_js_answer *answer,
                    struct chi_js_hint *out)
{
    struct chi_js_record record;
    struct chi_span subject = {answer->subject.at, answer->subject.len};
    *out = (struct chi_js_hint){0};
    if (!answer->seq ||
        !chi_span_equal(subject, (struct chi_span){job->subject.at, job->subject.len}))
        return false;
    if (chi_js_read_entry((struct chi_span){answer->data.at, answer->data.len}, &record))
        return false;
    *out = record.hint;
    chi_entry_unref(record.entry);
    return true;
}

/* The newest tombstone, if it is newer than that. */
static void top_tombstones(struct job *job, uint64_t *position, struct chi_js_hint *hint)
{
    struct chi_js_erased erased;
    struct chi_span key = key_of(job->task);
    while (chi_js_erase_find(job->js, key, *position + 1, CHI_POSITION_MAX, &erased)) {
        *hint = *position ? chi_js_hint_after(*position, hint)
                          : (struct chi_js_hint){.before = erased.prev};
        *position = erased.position;
    }
}

/* Where the stream begins later than it once did, a room without messages may have had some: it
 * opens no lower than what it can have lost. */
static void opened(struct job *job, const struct chi_js_answer *answer)
{
    struct chi_js_hint hint;
    bool floor = job->stage == FLOOR;
    uint64_t position = floor && answer->first_seq ? answer->first_seq - 1 : answer->seq;
    hint_in(job, answer, &hint);
    top_tombstones(job, &position, &hint);
    if (!position && !floor) {
        job->stage = FLOOR;
        run(job);
        return;
    }
    if (position > job->top->position) {
        job->top->position = position;
        job->top->hint = hint;
    }
    job->top->known = true;
    job->task->position = job->top->position;
    job_end(job, 0);
}

static void looked(struct job *job, const struct chi_js_answer *answer, bool found)
{
    struct chi_js_hint hint = {0};
    if (found)
        found = hint_in(job, answer, &hint);
    job->tries = job->stage == NEWEST ? job->tries : 0;
    switch (job->stage) {
    case OPENING:
    case FLOOR:
        opened(job, answer);
        break;
    case SEEK:
        job->ordinal = hint.ordinal;
        if (found)
            follow(job, answer->seq, &hint);
        else
            follow_top(job);
        break;
    case LINK:
        if (found) {
            follow(job, job->link, &hint);
            break;
        }
        job->start = job->link;
        job->stage = WALK;
        run(job);
        break;
    case NEWEST: /* it is there: who answered was behind */
        if (!found && job->link) {
            job->link = 0;
            run(job);
            break;
        }
        job->stage = WALK;
        if (found && answer->seq > job->seen)
            again(job);
        else
            done(job);
        break;
    case OLDEST:
        job->oldest = found ? answer->seq : end_of(job);
        if (job->task->read.backward)
            backward_done(job);
        else
            forward_done(job);
        break;
    case WALK:
        break;
    }
}

static void answered(struct chi_js_ask *ask, const struct chi_js_in *in)
{
    struct job *job = CHI_CONTAINER(ask, struct job, ask);
    struct chi_js_answer answer = {0};
    bool good = in && !in->status &&
                !chi_js_read_answer(in->data, job->js->parts.stream, &answer) &&
                (!answer.code || answer.err_code == CHI_JS_NO_MESSAGE);
    if (answer.err_code == CHI_JS_NO_STREAM)
        chi_js_stream_doubt(job->js);
    chi_js_ask_end(ask);
    bool ended = !job->task; /* by the doubt */
    if (good && !ended)
        looked(job, &answer, !answer.code);
    else if (!ended)
        again(job);
    chi_js_answer_fini(&answer);
}

static int ask(struct job *job)
{
    struct chi_buf data;
    struct chi_span room = {job->subject.at, job->subject.len};
    const char *api = job->stage == FLOOR ? "STREAM.INFO" : "STREAM.MSG.GET";
    chi_buf_init(&data);
    if (job->stage == OPENING || (job->stage == NEWEST && !job->link))
        chi_js_ask_last(&data, room);
    else if (job->stage == FLOOR)
        chi_buf_init(&data);
    else if (job->stage == SEEK)
        chi_js_ask_next(&data, job->task->read.before, room);
    else if (job->stage == OLDEST)
        chi_js_ask_next(&data, 1, room);
    else
        chi_js_ask_get(&data, job->link);
    job->ask.answer = answered;
    return chi_js_ask(job->js, &job->ask, api, &data, GET_MS);
}

static void run(struct job *job)
{
    if (job->js->state != CHI_JS_UP) /* it may be another stream */
        again(job);
    else if (job->stage == WALK ? walk(job) : ask(job))
        job_end(job, CHATHUB_ELOG);
}

/* ------------------------------------------------------------------------------- jobs begin */

/* Nothing lies in it that is known of. */
static bool is_empty(const struct chi_log_read *read, const struct chi_js_top *top)
{
    return !top->position || read->after >= top->position || read->before <= read->after ||
           read->before - read->after == 1;
}

static void job_read(struct job *job)
{
    const struct chi_log_read *read = &job->task->read;
    job->js->news.stats.pages++;
    if (job->top->gone) {
        job_end(job, CHATHUB_ELOG);
    } else if (is_empty(read, job->top)) {
        job_end(job, 0);
    } else if (!read->backward) {
        job->stage = WALK;
        run(job);
    } else if (read->before <= job->top->position) {
        job->stage = SEEK;
        run(job);
    } else {
        follow_top(job);
    }
}

static void job_begin(struct job *job, struct chi_js_task *task)
{
    struct chi_js *js = job->js;
    struct chi_span key = key_of(task);
    struct chi_js_top *top = task->kind == CHI_JS_OPEN ? top_use(js, key) : task->room->top;
    uint32_t runs = job->walk.run; /* goes on counting, see walk.c */
    *job = (struct job){.js = js, .task = task, .top = top, .timer.fire = fired, .walk.run = runs};
    chi_js_room_subject(js, &job->subject, key);
    if (!top) {
        job_stop(job);
        task_give(js, task, CHATHUB_ELOG);
    } else if (job->subject.failed) {
        job_end(job, CHATHUB_ELOG);
    } else if (task->kind == CHI_JS_OPEN) {
        job->stage = OPENING;
        run(job);
    } else {
        job_read(job);
    }
}

static struct job *free_job(struct chi_js_pages *pages)
{
    for (uint32_t i = 0; i < JOBS; i++)
        if (!pages->jobs[i].task)
            return &pages->jobs[i];
    return NULL;
}

/* A task that waits is given up: a room's top is in use by its reads. */
static void refuse(struct chi_js *js, struct chi_js_task *task)
{
    if (task->kind == CHI_JS_READ)
        top_release(js, task->room->top, key_of(task));
    task_give(js, task, CHATHUB_ELOG);
}

static void refuse_waiting(struct chi_js_pages *pages)
{
    struct chi_works works = pages->waiting;
    struct chi_work *work;
    pages->waiting = (struct chi_works){0};
    while ((work = chi_works_take(&works)) != NULL)
        refuse(pages->js, (struct chi_js_task *)(void *)work);
}

/* What waits does so for a job, or for the stream. */
static void start_jobs(struct chi_js_pages *pages)
{
    struct chi_js *js = pages->js;
    struct job *job;
    if (js->state == CHI_JS_UP && !pages->starting) {
        pages->since = 0;
        pages->starting = true; /* a job that ends at once comes here again */
        while (pages->waiting.first && (job = free_job(pages)) != NULL)
            job_begin(job, (struct chi_js_task *)(void *)chi_works_take(&pages->waiting));
        pages->starting = false;
    }
    if (js->state == CHI_JS_UP || !pages->waiting.first)
        return;
    if (!pages->since)
        pages->since = js->now;
    if (js->state == CHI_JS_DOWN || js->now - pages->since > PATIENCE_MS ||
        chi_timers_set(&js->timers, &pages->timer, js->now + WAIT_MS))
        refuse_waiting(pages);
}

static void look_again(struct chi_timer *timer)
{
    start_jobs(CHI_CONTAINER(timer, struct chi_js_pages, timer));
}

/* ------------------------------------------------------------------------------------- calls */

/* Reads that wait still use the room's top. */
static void shut(struct chi_js *js, struct chi_js_task *task)
{
    if (task->room->top)
        top_release(js, task->room->top, key_of(task));
    task_give(js, task, 0);
}

void chi_js_pages_take(struct chi_js *js, struct chi_js_task *task)
{
    if (task->kind == CHI_JS_SHUT) {
        shut(js, task);
        return;
    }
    if (task->kind == CHI_JS_READ)
        task->room->top->uses++;
    chi_works_add(&js->pages->waiting, &task->work);
    start_jobs(js->pages);
}

static void top_gone(void *ctx, const void *key, size_t len, void *value)
{
    struct chi_js *js = ctx;
    struct chi_js_top *top = value;
    top->gone = true;
    chi_map_remove(js->tops, key, len);
}

void chi_js_pages_end(struct chi_js *js)
{
    struct chi_js_pages *pages = js->pages;
    chi_map_each(js->tops, top_gone, js);
    refuse_waiting(pages);
    for (uint32_t i = 0; i < JOBS; i++)
        if (pages->jobs[i].task)
            job_end(&pages->jobs[i], CHATHUB_ELOG);
}

int chi_js_pages_new(struct chi_js *js)
{
    struct chi_js_pages *pages = calloc(1, sizeof(*pages));
    if (!pages)
        return CHATHUB_ENOMEM;
    pages->js = js;
    pages->proofs = chi_js_proofs_new(js);
    if (!pages->proofs) {
        free(pages);
        return CHATHUB_ENOMEM;
    }
    chi_list_init(&pages->tops);
    pages->timer.fire = look_again;
    for (uint32_t i = 0; i < JOBS; i++)
        pages->jobs[i].js = js;
    js->pages = pages;
    return 0;
}

void chi_js_pages_free(struct chi_js *js, struct chi_works *left)
{
    struct chi_js_pages *pages = js->pages;
    if (!pages)
        return;
    for (uint32_t i = 0; i < JOBS; i++) {
        struct job *job = &pages->jobs[i];
        if (!job->task)
            continue;
        chi_works_add(left, &job->task->work);
        job_stop(job);
    }
    chi_works_move(left, &pages->waiting);
    chi_timers_clear(&js->timers, &pages->timer);
    struct chi_link *link;
    while ((link = chi_list_take(&pages->tops)) != NULL)
        free(CHI_CONTAINER(link, struct chi_js_top, all));
    chi_js_proofs_free(pages->proofs);
    free(pages);
    js->pages = NULL;
}
