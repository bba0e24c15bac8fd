/* A log that goes wrong: a log that does not (memory's, or one that lasts) behind queues of drafts,
 * openings, pages and redactions that are late, refused or unknown.
 *
 * Happy path: a draft waits in the queue until it is due, is appended to the inner log, and its
 * result is reported by this poll or a later one, so that pages show what was not reported yet.
 * Faults are drawn when something is asked; order is kept as the contract wants it. A log that is
 * down commits nothing for a while, reads on, and comes back by itself; what it then finds
 * committed it reports as news, as it does after a single commit of unknown outcome. It also checks
 * that core and delivery keep their side of the contract: no use of a closed handle, no room closed
 * under its drafts. */
#include <string.h>

#include "sim.h"

enum fate { COMMIT, FAIL, UNKNOWN_NOT, UNKNOWN_BUT };

struct handle {
    struct handle *next;
    struct chi_log *inner_of; /* set while the inner log has it open */
    void *inner;
    uint32_t room;   /* the hub's number */
    bool open;       /* the hub may use it */
    uint32_t drafts; /* not reported */
    uint32_t others; /* redactions and stragglers: it may be closed under them */
    char key[80];
};

struct draft {
    struct draft *next;
    struct handle *handle;
    struct chi_entry *entry; /* a reference */
    void *token;
    enum fate fate;
    uint64_t due;
};

/* What became of a draft, or a straggler. */
struct report {
    struct report *next;
    struct handle *handle;
    struct chi_log_result result; /* its entry with a reference */
    uint32_t user;                /* whose it is, interned */
    uint64_t due;
};

/* An entry that was committed, though "unknown" was said: shown when the time has come. */
struct straggler {
    struct straggler *next;
    struct handle *handle;
    struct chi_entry *entry; /* a reference */
};

struct redaction {
    struct redaction *next;
    struct handle *handle;
    uint64_t position;
    bool fails, done;
    int status;   /* once done */
    uint64_t due; /* to be done; then, to be reported */
};

struct opening {
    struct opening *next;
    uint32_t room;
    struct chi_name *name; /* a reference */
    bool fails;
    uint64_t due;
    char key[80];
};

struct reading {
    struct chi_log_reader reader; /* first: the inner log's */
    struct reading *next;
    struct sim_flog *flog;
    struct chi_log_reader *asker;
    struct chi_log_page page;
    uint32_t room; /* the hub's number */
    bool backward, here, fails;
    uint64_t due;
};

struct sim_flog {
    struct chi_log log; /* first: what the hub sees */
    struct sim_world *w;
    struct chi_log *inner;
    struct chi_log_up up;
    struct handle *handles;
    struct draft *first, **last;
    struct report *reports, **reports_end; /* in the order in which they happened */
    struct straggler *stragglers, **stragglers_end;
    uint64_t stragglers_due; /* nothing is committed before they were shown */
    struct opening *openings;
    struct reading *readings;
    struct redaction *redactions;
    struct draft *committing;    /* whose result the inner log is about to report */
    struct redaction *redacting; /* the same */
    uint64_t down_until;         /* it cannot commit before */
    const char *why;             /* what it says is the matter; NULL: nothing */
    bool dying;                  /* nothing is reported any more */
};

static struct sim_flog *flog_of(struct chi_log *log)
{
    return (struct sim_flog *)(void *)log;
}

static uint64_t late(struct sim_world *w, enum sim_fault fault)
{
    if (!sim_faulty(w, fault) || sim_one_in(&w->rng, 2))
        return w->now;
    return w->now + sim_below(&w->rng, sim_one_in(&w->rng, 8) ? 2000 : 40);
}

static bool chance(struct sim_world *w, enum sim_fault fault, uint32_t one_in)
{
    return sim_faulty(w, fault) && sim_one_in(&w->rng, one_in);
}

static bool is_down(const struct sim_flog *flog)
{
    return flog->w->now < flog->down_until;
}

static struct handle *handle_check(struct sim_flog *flog, void *at, const char *what)
{
    struct handle *handle = at;
    for (struct handle *h = flog->handles; h; h = h->next)
        if (h == handle && h->open)
            return h;
    sim_fail(flog->w, "contract of the log: %s with a handle that is not open", what);
    return NULL;
}

/* ---------------------------------------------------------------------------------------
 * opening */

static void inner_opened(void *self, uint32_t room, int status, void *handle, uint64_t top)
{
    struct sim_flog *flog = self;
    for (struct handle *h = flog->handles; h; h = h->next)
        if (h->room == room && h->inner_of && !h->inner && !h->open) {
            if (status) {
                h->inner_of = NULL;
            } else {
                h->inner = handle;
                h->open = true;
            }
            SIM_TRACE(flog->w, "log: room %u '%s' opened, status %d, top %llu", room, h->key,
                      status, (unsigned long long)top);
            flog->up.opened(flog->up.hub, room, status, status ? NULL : h, top);
            return;
        }
    sim_fail(flog->w, "the inner log opened a room that nobody asked for");
}

static int flog_open(struct chi_log *log, uint32_t room, struct chi_name *name)
{
    struct sim_flog *flog = flog_of(log);
    struct chi_span key = chi_name_key(name);
    struct sim_world *w = flog->w;
    for (struct handle *h = flog->handles; h; h = h->next)
        if (h->open && (h->room == room || chi_span_is(key, h->key)))
            sim_fail(w, "contract of the log: room %u opened twice", room);
    if (chance(w, SIM_OPEN_FAIL, 10))
        return CHATHUB_ELOG;
    struct opening *o = sim_alloc(sizeof *o);
    o->room = room;
    o->name = chi_name_ref(name);
    o->fails = chance(w, SIM_OPEN_FAIL, 6);
    o->due = late(w, SIM_OPEN_SLOW);
    memcpy(o->key, key.at, key.len < sizeof o->key ? key.len : sizeof o->key - 1);
    struct opening **at = &flog->openings;
    while (*at)
        at = &(*at)->next;
    *at = o;
    w->env.ops->wake(w->env.self);
    return 0;
}

/* Whether the inner log still has the room open from before. */
static bool lingers(const struct sim_flog *flog, const char *key)
{
    for (struct handle *h = flog->handles; h; h = h->next)
        if (h->inner_of && strcmp(h->key, key) == 0)
            return true;
    return false;
}

static void open_now(struct sim_flog *flog, struct opening *o)
{
    struct chi_log_up *up = &flog->up;
    if (o->fails) {
        up->opened(up->hub, o->room, CHATHUB_ELOG, NULL, 0);
        return;
    }
    struct handle *h = sim_alloc(sizeof *h);
    h->room = o->room;
    h->inner_of = flog->inner;
    memcpy(h->key, o->key, sizeof h->key);
    h->next = flog->handles;
    flog->handles = h;
    int rc = flog->inner->open(flog->inner, o->room, o->name);
    if (rc) {
        h->inner_of = NULL;
        up->opened(up->hub, o->room, CHATHUB_ELOG, NULL, 0);
    }
}

static void poll_openings(struct sim_flog *flog)
{
    for (struct opening **at = &flog->openings; *at;) {
        struct opening *o = *at;
        if (o->due > flog->w->now || lingers(flog, o->key)) {
            at = &o->next;
            continue;
        }
        *at = o->next;
        open_now(flog, o);
        chi_name_unref(o->name);
        sim_free(o);
        at = &flog->openings; /* a callback may have added some */
    }
}

static void release(struct sim_flog *flog, struct handle *h)
{
    if (!h->open && h->inner_of && h->inner && !h->drafts && !h->others) {
        flog->inner->close(flog->inner, h->inner);
        h->inner_of = NULL;
    }
}

static void flog_close(struct chi_log *log, void *handle)
{
    struct sim_flog *flog = flog_of(log);
    struct handle *h = handle_check(flog, handle, "close");
    if (!h)
        return;
    if (h->drafts)
        sim_fail(flog->w, "room %u closed with %u drafts under way", h->room, h->drafts);
    SIM_TRACE(flog->w, "log: room %u '%s' closed", h->room, h->key);
    h->open = false;
    release(flog, h);
}

/* ----------------------------------------------------------------------------------------
 * drafts */

static int flog_append(struct chi_log *log, void *handle, struct chi_entry *entry, void *token)
{
    struct sim_flog *flog = flog_of(log);
    struct sim_world *w = flog->w;
    struct handle *h = handle_check(flog, handle, "append");
    if (!h)
        return CHATHUB_ELOG;
    if (chance(w, SIM_LOG_FULL, 8))
        return sim_one_in(&w->rng, 3) ? CHATHUB_ENOMEM : CHATHUB_EAGAIN;
    struct draft *d = sim_alloc(sizeof *d);
    d->handle = h;
    d->entry = chi_entry_ref(entry);
    d->token = token;
    d->due = late(w, SIM_COMMIT_SLOW);
    if (chance(w, SIM_COMMIT_FAIL, 10))
        d->fate = FAIL;
    else if (chance(w, SIM_COMMIT_UNKNOWN, 10))
        d->fate = sim_one_in(&w->rng, 2) ? UNKNOWN_NOT : UNKNOWN_BUT;
    h->drafts++;
    *flog->last = d;
    flog->last = &d->next;
    w->env.ops->wake(w->env.self);
    return 0;
}

/* A report waits for those before it, and perhaps for a while of its own. `of`: the draft or the
 * straggler. */
static void report(struct sim_flog *flog, struct handle *h, const struct chi_entry *of,
                   const struct chi_log_result *result)
{
    struct sim_world *w = flog->w;
    struct report *r = sim_alloc(sizeof *r);
    r->handle = h;
    r->user = sim_intern(w, chi_entry_read(of).user);
    r->result = *result;
    if (r->result.entry)
        chi_entry_ref(r->result.entry);
    r->due = w->now;
    if (sim_faulty(w, SIM_COMMIT_SLOW) && sim_one_in(&w->rng, 3))
        r->due += sim_below(&w->rng, 20);
    *flog->reports_end = r;
    flog->reports_end = &r->next;
}

static void report_status(struct sim_flog *flog, struct draft *d, int status)
{
    struct chi_log_result r = {.token = d->token, .status = status, .room = d->handle->room};
    if (sim_one_in(&flog->w->rng, 2))
        r.retry_after = 10;
    r.why = flog->why;
    report(flog, d->handle, d->entry, &r);
}

/* It was committed, and nobody will hear of that soon. */
static void straggle(struct sim_flog *flog, struct handle *h, struct chi_entry *entry)
{
    struct straggler *s = sim_alloc(sizeof *s);
    s->handle = h;
    s->entry = chi_entry_ref(entry);
    h->others++;
    *flog->stragglers_end = s;
    flog->stragglers_end = &s->next;
    flog->stragglers_due = is_down(flog) ? flog->down_until : flog->w->now;
    flog->stragglers_due += sim_below(&flog->w->rng, 30);
}

static void committed_one(struct sim_flog *flog, const struct chi_log_result *result)
{
    struct sim_world *w = flog->w;
    struct draft *d = flog->committing;
    if (!d) {
        sim_fail(w, "the inner log reported a result that nobody waits for");
        return;
    }
    flog->committing = NULL;
    struct chi_log_result r = *result;
    r.token = d->token;
    r.room = d->handle->room;
    if (r.status == 0)
        sim_check_commit(w, chi_span_of(d->handle->key), r.entry);
    SIM_TRACE(w, "log: room %u result %d at %llu%s", r.room, r.status,
              (unsigned long long)(r.entry ? r.entry->position : 0),
              d->fate == UNKNOWN_BUT ? " (told as unknown)" : "");
    if (flog->dying)
        return;
    if (r.status == CHATHUB_ELOG)
        r.why = flog->why;
    if (d->fate != UNKNOWN_BUT) {
        report(flog, d->handle, d->entry, &r);
        return;
    }
    report_status(flog, d, CHATHUB_EUNKNOWN);
    if (r.status == 0)
        straggle(flog, d->handle, r.entry);
}

static void inner_committed(void *self, const struct chi_log_result *results, size_t n)
{
    for (size_t i = 0; i < n; i++)
        committed_one(self, &results[i]);
}

static void commit(struct sim_flog *flog, struct draft *d)
{
    SIM_TRACE(flog->w, "log: commits a draft of room %u, fate %d", d->handle->room, (int)d->fate);
    if (d->fate == FAIL || d->fate == UNKNOWN_NOT) {
        if (!flog->dying)
            report_status(flog, d, d->fate == FAIL ? CHATHUB_ELOG : CHATHUB_EUNKNOWN);
        return;
    }
    flog->committing = d;
    if (flog->inner->append(flog->inner, d->handle->inner, d->entry, d)) {
        flog->committing = NULL;
        if (!flog->dying)
            report_status(flog, d, CHATHUB_ELOG);
        return;
    }
    flog->inner->poll(flog->inner);
    if (flog->committing) {
        sim_fail(flog->w, "the inner log did not report a commit at its next poll");
        flog->committing = NULL;
    }
}

static void drop_first(struct sim_flog *flog)
{
    struct draft *d = flog->first;
    flog->first = d->next;
    if (!flog->first)
        flog->last = &flog->first;
    chi_entry_unref(d->entry);
    sim_free(d);
}

/* The drafts of the commit under way are unknown, all of them committed or none. */
static void go_down(struct sim_flog *flog)
{
    struct sim_world *w = flog->w;
    enum fate fate = sim_one_in(&w->rng, 2) ? UNKNOWN_NOT : UNKNOWN_BUT;
    flog->down_until = w->now + 100 + sim_below(&w->rng, 500);
    SIM_TRACE(w, "log: down until %llu ms", (unsigned long long)flog->down_until);
    for (uint32_t n = 1 + sim_below(&w->rng, 4); flog->first && n > 0; n--) {
        flog->first->fate = fate;
        commit(flog, flog->first);
        drop_first(flog);
    }
}

static void first_draft(struct sim_flog *flog)
{
    bool down = is_down(flog);
    if (!down && chance(flog->w, SIM_DOWN, 30)) {
        go_down(flog);
        return;
    }
    if (down)
        report_status(flog, flog->first, CHATHUB_ELOG);
    else
        commit(flog, flog->first);
    drop_first(flog);
}

static void show_straggler(struct sim_flog *flog)
{
    struct straggler *s = flog->stragglers;
    struct chi_log_result r = {.room = s->handle->room, .entry = s->entry};
    report(flog, s->handle, s->entry, &r);
    flog->stragglers = s->next;
    if (!flog->stragglers)
        flog->stragglers_end = &flog->stragglers;
    chi_entry_unref(s->entry);
    sim_free(s);
}

/* When the next draft or straggler has its turn. */
static uint64_t next_commit(const struct sim_flog *flog)
{
    if (flog->stragglers && !is_down(flog))
        return flog->stragglers_due;
    return flog->first ? flog->first->due : UINT64_MAX;
}

static void poll_drafts(struct sim_flog *flog)
{
    while (next_commit(flog) <= flog->w->now) {
        if (flog->stragglers && !is_down(flog))
            show_straggler(flog);
        else
            first_draft(flog);
    }
}

/* ---------------------------------------------------------------------------------------
 * reports */

static struct handle *open_room(struct sim_flog *flog, uint32_t room)
{
    for (struct handle *h = flog->handles; h; h = h->next)
        if (h->open && h->room == room)
            return h;
    return NULL;
}

/* A straggler of a room that the hub has closed is told to it all the same, unless another room has
 * its number now. */
static bool may_be_told(struct sim_flog *flog, const struct report *r)
{
    return r->handle->open || !open_room(flog, r->handle->room);
}

static struct report *take_report(struct sim_flog *flog)
{
    struct report *r = flog->reports;
    if (!r || r->due > flog->w->now)
        return NULL;
    flog->reports = r->next;
    if (!flog->reports)
        flog->reports_end = &flog->reports;
    if (r->result.token)
        r->handle->drafts--;
    else
        r->handle->others--;
    return r;
}

/* Reports in batches of any size. */
static void report_all(struct sim_flog *flog)
{
    struct sim_world *w = flog->w;
    struct report *batch[16], *r;
    struct chi_log_result results[16];
    while (flog->reports && flog->reports->due <= w->now) {
        uint32_t n = 0, told = 0, most = 1 + sim_below(&w->rng, 16);
        while (n < most && (r = take_report(flog)) != NULL) {
            batch[n++] = r;
            if (may_be_told(flog, r))
                results[told++] = r->result;
        }
        w->reporting = true;
        flog->up.committed(flog->up.hub, results, told);
        w->reporting = false;
        for (uint32_t i = 0; i < n; i++) {
            release(flog, batch[i]->handle);
            chi_entry_unref(batch[i]->result.entry);
            sim_free(batch[i]);
        }
    }
}

/* --------------------------------------------------------------------------------- redaction */

static void inner_redacted(void *self, uint32_t room, uint64_t position, int status, void *token)
{
    struct sim_flog *flog = self;
    (void)room;
    (void)token;
    if (!flog->redacting || flog->redacting->position != position) {
        sim_fail(flog->w, "the inner log redacted what nobody asked for");
        return;
    }
    flog->redacting->status = status;
    flog->redacting->done = true;
    flog->redacting = NULL;
}

static void redact_now(struct sim_flog *flog, struct redaction *r)
{
    r->status = CHATHUB_ELOG;
    flog->redacting = r;
    if (!r->fails && !is_down(flog) &&
        !flog->inner->redact(flog->inner, r->handle->inner, r->position, NULL))
        flog->inner->poll(flog->inner);
    flog->redacting = NULL;
    r->done = true;
    SIM_TRACE(flog->w, "log: room %u redacts %llu: %d", r->handle->room,
              (unsigned long long)r->position, r->status);
}

static void poll_redactions(struct sim_flog *flog)
{
    struct sim_world *w = flog->w;
    for (struct redaction **at = &flog->redactions; *at;) {
        struct redaction *r = *at;
        if (r->due <= w->now && !r->done) {
            redact_now(flog, r);
            r->due = late(w, SIM_COMMIT_SLOW);
        }
        if (r->due > w->now) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        sim_check_redacted(w, chi_span_of(r->handle->key), r->position, r->status);
        flog->up.redacted(flog->up.hub, r->handle->room, r->position, r->status, NULL);
        r->handle->others--;
        release(flog, r->handle);
        sim_free(r);
    }
}

void sim_flog_redact(struct sim_flog *flog, uint32_t room, uint64_t position)
{
    struct sim_world *w = flog->w;
    struct redaction *r = sim_alloc(sizeof *r), **at = &flog->redactions;
    r->handle = open_room(flog, room);
    r->position = position;
    r->fails = chance(w, SIM_COMMIT_FAIL, 4);
    r->due = late(w, SIM_COMMIT_SLOW);
    r->handle->others++;
    while (*at)
        at = &(*at)->next;
    *at = r;
    w->env.ops->wake(w->env.self);
}

/* ---------------------------------------------------------------------------------------
 * reading */

static void page_free(struct chi_log_page *page)
{
    for (uint32_t i = 0; i < page->count; i++)
        chi_entry_unref(page->entries[i]);
    sim_free((void *)(uintptr_t)page->entries);
}

static void inner_page(struct chi_log_reader *reader, const struct chi_log_page *page)
{
    struct reading *r = (struct reading *)(void *)reader;
    struct chi_entry **entries = sim_alloc(page->count * sizeof(struct chi_entry *));
    for (uint32_t i = 0; i < page->count; i++)
        entries[i] = chi_entry_ref(page->entries[i]);
    r->page = *page;
    r->page.entries = entries;
    r->here = true;
    sim_redact_page(r->flog->w, r->room, &r->page, r->backward);
}

static int flog_read(struct chi_log *log, void *handle, const struct chi_log_read *read)
{
    struct sim_flog *flog = flog_of(log);
    struct sim_world *w = flog->w;
    struct handle *h = handle_check(flog, handle, "read");
    if (!h)
        return CHATHUB_ELOG;
    if (read->limit == 0 || !read->reader || !read->reader->page)
        sim_fail(w, "contract of the log: a read without limit or reader");
    if (chance(w, SIM_READ_FAIL, 8))
        return sim_one_in(&w->rng, 2) ? CHATHUB_EAGAIN : CHATHUB_ELOG;
    struct reading *r = sim_alloc(sizeof *r);
    r->reader.page = inner_page;
    r->flog = flog;
    r->room = h->room;
    r->backward = read->backward;
    r->asker = read->reader;
    r->fails = chance(w, SIM_READ_FAIL, 6);
    r->due = late(w, SIM_READ_SLOW);
    struct chi_log_read inner = *read;
    inner.reader = &r->reader;
    int rc = flog->inner->read(flog->inner, h->inner, &inner);
    if (rc) {
        sim_free(r);
        return rc;
    }
    struct reading **at = &flog->readings;
    while (*at)
        at = &(*at)->next;
    *at = r;
    w->env.ops->wake(w->env.self);
    return 0;
}

static void poll_readings(struct sim_flog *flog)
{
    for (struct reading **at = &flog->readings; *at;) {
        struct reading *r = *at;
        if (!r->here || r->due > flog->w->now) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        struct chi_log_page failed = {.status = CHATHUB_ELOG};
        SIM_TRACE(flog->w, "log: a page of %u entries%s", r->page.count, r->fails ? " fails" : "");
        r->asker->page(r->asker, r->fails ? &failed : &r->page);
        page_free(&r->page);
        sim_free(r);
        at = &flog->readings;
    }
}

/* ------------------------------------------------------------------------------- the other
 * slots */

static void flog_bind(struct chi_log *log, const struct chi_log_up *up)
{
    struct sim_flog *flog = flog_of(log);
    flog->up = *up;
    struct chi_log_up inner = {inner_opened, inner_committed, inner_redacted, NULL, flog};
    flog->inner->bind(flog->inner, &inner);
}

static struct chi_span flog_epoch(struct chi_log *log)
{
    return flog_of(log)->inner->epoch(flog_of(log)->inner);
}

static bool flog_holds(struct chi_log *log, struct chi_span epoch, uint64_t position)
{
    return flog_of(log)->inner->holds(flog_of(log)->inner, epoch, position);
}

static uint64_t flog_horizon(struct chi_log *log)
{
    return flog_of(log)->inner->horizon(flog_of(log)->inner);
}

/* core asks for none yet: see sim_flog_redact. */
static int flog_redact(struct chi_log *log, void *handle, uint64_t position, void *token)
{
    (void)handle;
    (void)token;
    sim_fail(flog_of(log)->w, "core redacts %llu", (unsigned long long)position);
    return CHATHUB_ELOG;
}

static void flog_stats(struct chi_log *log, struct chi_log_stats *out)
{
    flog_of(log)->inner->stats(flog_of(log)->inner, out);
    out->down = is_down(flog_of(log));
}

static void flog_poll(struct chi_log *log)
{
    struct sim_flog *flog = flog_of(log);
    poll_openings(flog);
    flog->inner->poll(flog->inner);
    poll_drafts(flog);
    report_all(flog);
    poll_redactions(flog);
    poll_readings(flog);
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t flog_next(struct chi_log *log)
{
    struct sim_flog *flog = flog_of(log);
    uint64_t due = flog->inner->next(flog->inner);
    due = earlier(due, next_commit(flog));
    if (flog->reports)
        due = earlier(due, flog->reports->due);
    for (struct redaction *r = flog->redactions; r; r = r->next)
        due = earlier(due, r->due);
    for (struct opening *o = flog->openings; o; o = o->next)
        due = earlier(due, o->due);
    for (struct reading *r = flog->readings; r; r = r->next)
        due = earlier(due, r->due);
    return due;
}

static void flog_free(struct chi_log *log)
{
    struct sim_flog *flog = flog_of(log);
    while (flog->first)
        drop_first(flog);
    for (struct report *r = flog->reports, *next; r; r = next) {
        next = r->next;
        chi_entry_unref(r->result.entry);
        sim_free(r);
    }
    for (struct straggler *s = flog->stragglers, *next; s; s = next) {
        next = s->next;
        chi_entry_unref(s->entry);
        sim_free(s);
    }
    for (struct opening *o = flog->openings, *next; o; o = next) {
        next = o->next;
        chi_name_unref(o->name);
        sim_free(o);
    }
    for (struct reading *r = flog->readings, *next; r; r = next) {
        next = r->next;
        page_free(&r->page);
        sim_free(r);
    }
    for (struct redaction *r = flog->redactions, *next; r; r = next) {
        next = r->next;
        sim_free(r);
    }
    for (struct handle *h = flog->handles, *next; h; h = next) {
        next = h->next;
        sim_free(h);
    }
    flog->inner->free(flog->inner);
    sim_free(flog);
}

/* Of what was under way some comes about, the first of it, and nobody is told. */
void sim_flog_die(struct sim_flog *flog)
{
    uint32_t n = 0;
    flog->dying = true;
    for (const struct draft *d = flog->first; d; d = d->next)
        n++;
    for (n = is_down(flog) ? 0 : sim_below(&flog->w->rng, n + 1); n > 0; n--) {
        commit(flog, flog->first);
        drop_first(flog);
    }
    for (struct redaction *r = flog->redactions; r; r = r->next) {
        if (!r->done && sim_one_in(&flog->w->rng, 2))
            redact_now(flog, r);
        sim_check_redacted(flog->w, chi_span_of(r->handle->key), r->position,
                           r->done ? r->status : CHATHUB_ELOG);
    }
}

struct sim_flog *sim_flog_new(struct sim_world *w, struct chi_log *inner)
{
    struct sim_flog *flog = sim_alloc(sizeof *flog);
    flog->log = (struct chi_log){flog_bind,  flog_epoch,  flog_holds, flog_horizon, flog_open,
                                 flog_close, flog_append, flog_read,  flog_redact,  flog_poll,
                                 flog_next,  flog_stats,  flog_free,  NULL};
    flog->w = w;
    flog->inner = inner;
    flog->last = &flog->first;
    flog->reports_end = &flog->reports;
    flog->stragglers_end = &flog->stragglers;
    flog->why = sim_why(w);
    return flog;
}

struct chi_log *sim_flog_log(struct sim_flog *flog)
{
    return &flog->log;
}

/* --------------------------------------------------------------------------------- for the
 * checks */

uint32_t sim_flog_drafts(struct sim_flog *flog, uint32_t room, struct chi_span user)
{
    uint32_t n = 0, word = sim_intern(flog->w, user);
    for (const struct draft *d = flog->first; d; d = d->next)
        n += d->handle->room == room && chi_span_equal(chi_entry_read(d->entry).user, user);
    for (const struct report *r = flog->reports; r; r = r->next)
        n += r->result.token && r->handle->room == room && r->user == word;
    return n;
}

bool sim_flog_under_way(const struct sim_flog *flog)
{
    return flog->first || flog->reports || flog->stragglers || flog->openings || flog->readings ||
           flog->redactions;
}

bool sim_flog_peek(struct sim_flog *flog, uint32_t room, const struct chi_log_read *read)
{
    struct handle *h = open_room(flog, room);
    if (!h || flog->inner->read(flog->inner, h->inner, read))
        return false;
    flog->inner->poll(flog->inner);
    return true;
}
