/* A log that goes wrong: the memory log behind a queue of drafts, openings and pages that are
 * late, refused or unknown.
 *
 * Happy path: a draft waits in the queue until it is due, is appended to the memory log, and its
 * result is reported by the same poll. Faults are drawn when something is asked; order is kept
 * as the contract wants it. It also checks that core and delivery keep their side of the
 * contract: no use of a closed handle, no room closed under its drafts. */
#include <string.h>

#include "sim.h"

enum fate { COMMIT, FAIL, UNKNOWN_NOT, UNKNOWN_BUT };

struct handle {
    struct handle *next;
    struct chi_log *inner_of; /* set while the memory log has it open */
    void *inner;
    uint32_t room;   /* the hub's number */
    bool open;       /* the hub may use it */
    uint32_t drafts; /* in the queue */
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

struct opening {
    struct opening *next;
    uint32_t room;
    bool fails;
    uint64_t due;
    char key[80];
};

struct reading {
    struct chi_log_reader reader; /* first: the memory log's */
    struct reading *next;
    struct sim_flog *flog;
    struct chi_log_reader *asker;
    struct chi_log_page page;
    bool here, fails;
    uint64_t due;
};

struct sim_flog {
    struct chi_log log; /* first: what the hub sees */
    struct sim_world *w;
    struct chi_log *inner;
    struct chi_log_up up;
    struct handle *handles;
    struct draft *first, **last;
    struct opening *openings;
    struct reading *readings;
    struct chi_log_result *results; /* to be reported, entries with a reference */
    uint32_t result_count, result_cap;
    struct draft *committing;    /* whose result the memory log is about to report */
    struct handle *opened;       /* as the memory log's callback filled it in */
    struct chi_entry *straggler; /* committed, though "unknown" was said: shown when `due` */
    struct handle *straggler_of;
    uint64_t straggler_due;
    bool closed;
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
    sim_fail(flog->w, "the memory log opened a room that nobody asked for");
}

static int flog_open(struct chi_log *log, uint32_t room, struct chi_span key)
{
    struct sim_flog *flog = flog_of(log);
    struct sim_world *w = flog->w;
    for (struct handle *h = flog->handles; h; h = h->next)
        if (h->open && (h->room == room || chi_span_is(key, h->key)))
            sim_fail(w, "contract of the log: room %u opened twice", room);
    if (chance(w, SIM_OPEN_FAIL, 10))
        return CHATHUB_ELOG;
    struct opening *o = sim_alloc(sizeof *o);
    o->room = room;
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

/* Whether the memory log still has the room open from before. */
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
    int rc = flog->inner->open(flog->inner, o->room, chi_span_of(o->key));
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
        sim_free(o);
        at = &flog->openings; /* a callback may have added some */
    }
}

static void release(struct sim_flog *flog, struct handle *h)
{
    if (!h->open && h->inner_of && h->inner && !h->drafts && flog->straggler_of != h) {
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

static void report(struct sim_flog *flog, const struct chi_log_result *result)
{
    if (flog->result_count == flog->result_cap) {
        flog->result_cap = flog->result_cap * 2 + 8;
        flog->results = sim_realloc(flog->results, flog->result_cap * sizeof *flog->results);
    }
    struct chi_log_result *r = &flog->results[flog->result_count++];
    *r = *result;
    if (r->entry)
        chi_entry_ref(r->entry);
}

static void report_status(struct sim_flog *flog, struct draft *d, int status)
{
    struct chi_log_result r = {.token = d->token, .status = status, .room = d->handle->room};
    if (sim_one_in(&flog->w->rng, 2))
        r.retry_after = 10;
    report(flog, &r);
}

static void committed_one(struct sim_flog *flog, const struct chi_log_result *result)
{
    struct sim_world *w = flog->w;
    struct draft *d = flog->committing;
    if (!d) {
        sim_fail(w, "the memory log reported a result that nobody waits for");
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
    if (d->fate != UNKNOWN_BUT) {
        report(flog, &r);
        return;
    }
    report_status(flog, d, CHATHUB_EUNKNOWN);
    if (r.status)
        return;
    flog->straggler = chi_entry_ref(r.entry);
    flog->straggler_of = d->handle;
    flog->straggler_due = w->now + sim_below(&w->rng, 30);
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
        report_status(flog, d, d->fate == FAIL ? CHATHUB_ELOG : CHATHUB_EUNKNOWN);
        return;
    }
    flog->committing = d;
    if (flog->inner->append(flog->inner, d->handle->inner, d->entry, d)) {
        flog->committing = NULL;
        report_status(flog, d, CHATHUB_ELOG);
        return;
    }
    flog->inner->poll(flog->inner);
    if (flog->committing) {
        sim_fail(flog->w, "the memory log did not report a commit at its next poll");
        flog->committing = NULL;
    }
}

static void show_straggler(struct sim_flog *flog)
{
    struct handle *h = flog->straggler_of;
    if (h->open) {
        struct chi_log_result r = {.room = h->room, .entry = flog->straggler};
        report(flog, &r);
    }
    chi_entry_unref(flog->straggler);
    flog->straggler = NULL;
    flog->straggler_of = NULL;
    release(flog, h);
}

static void poll_drafts(struct sim_flog *flog)
{
    while (flog->straggler ? flog->straggler_due <= flog->w->now
                           : flog->first && flog->first->due <= flog->w->now) {
        if (flog->straggler) {
            show_straggler(flog);
            continue;
        }
        struct draft *d = flog->first;
        commit(flog, d);
        flog->first = d->next;
        if (!flog->first)
            flog->last = &flog->first;
        d->handle->drafts--;
        release(flog, d->handle);
        chi_entry_unref(d->entry);
        sim_free(d);
    }
}

/* Reports in batches of any size. */
static void report_all(struct sim_flog *flog)
{
    struct chi_log_result *results = flog->results;
    uint32_t count = flog->result_count, from = 0;
    flog->results = NULL;
    flog->result_count = flog->result_cap = 0;
    while (from < count) {
        uint32_t n = 1 + sim_below(&flog->w->rng, count - from);
        flog->up.committed(flog->up.hub, results + from, n);
        from += n;
    }
    for (uint32_t i = 0; i < count; i++)
        chi_entry_unref(results[i].entry);
    sim_free(results);
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

static void inner_redacted(void *self, uint32_t room, uint64_t position, int status, void *token)
{
    struct sim_flog *flog = self;
    flog->up.redacted(flog->up.hub, room, position, status, token);
}

static void flog_bind(struct chi_log *log, const struct chi_log_up *up)
{
    struct sim_flog *flog = flog_of(log);
    flog->up = *up;
    struct chi_log_up inner = {inner_opened, inner_committed, inner_redacted, flog};
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

static int flog_redact(struct chi_log *log, void *handle, uint64_t position, void *token)
{
    struct handle *h = handle_check(flog_of(log), handle, "redact");
    return h ? flog_of(log)->inner->redact(flog_of(log)->inner, h->inner, position, token)
             : CHATHUB_ELOG;
}

static void flog_stats(struct chi_log *log, struct chi_log_stats *out)
{
    flog_of(log)->inner->stats(flog_of(log)->inner, out);
}

static void flog_poll(struct chi_log *log)
{
    struct sim_flog *flog = flog_of(log);
    poll_openings(flog);
    flog->inner->poll(flog->inner);
    poll_drafts(flog);
    report_all(flog);
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
    if (flog->straggler)
        due = earlier(due, flog->straggler_due);
    else if (flog->first)
        due = earlier(due, flog->first->due);
    for (struct opening *o = flog->openings; o; o = o->next)
        due = earlier(due, o->due);
    for (struct reading *r = flog->readings; r; r = r->next)
        due = earlier(due, r->due);
    return due;
}

static void flog_free(struct chi_log *log)
{
    struct sim_flog *flog = flog_of(log);
    flog->inner->free(flog->inner);
    for (struct draft *d = flog->first, *next; d; d = next) {
        next = d->next;
        chi_entry_unref(d->entry);
        sim_free(d);
    }
    for (struct opening *o = flog->openings, *next; o; o = next) {
        next = o->next;
        sim_free(o);
    }
    for (struct reading *r = flog->readings, *next; r; r = next) {
        next = r->next;
        page_free(&r->page);
        sim_free(r);
    }
    for (struct handle *h = flog->handles, *next; h; h = next) {
        next = h->next;
        sim_free(h);
    }
    chi_entry_unref(flog->straggler);
    sim_free(flog->results);
    sim_free(flog);
}

struct sim_flog *sim_flog_new(struct sim_world *w, struct chi_log *inner)
{
    struct sim_flog *flog = sim_alloc(sizeof *flog);
    flog->log = (struct chi_log){flog_bind,  flog_epoch,  flog_holds, flog_horizon, flog_open,
                                 flog_close, flog_append, flog_read,  flog_redact,  flog_poll,
                                 flog_next,  flog_stats,  flog_free};
    flog->w = w;
    flog->inner = inner;
    flog->last = &flog->first;
    return flog;
}

struct chi_log *sim_flog_log(struct sim_flog *flog)
{
    return &flog->log;
}

/* --------------------------------------------------------------------------------- for the
 * checks */

uint32_t sim_flog_drafts(const struct sim_flog *flog, uint32_t room, struct chi_span user)
{
    uint32_t n = 0;
    for (const struct draft *d = flog->first; d; d = d->next)
        n += d->handle->room == room && chi_span_equal(chi_entry_read(d->entry).user, user);
    return n;
}

uint32_t sim_flog_under_way(const struct sim_flog *flog)
{
    uint32_t n = flog->straggler != NULL;
    for (const struct draft *d = flog->first; d; d = d->next)
        n++;
    for (const struct opening *o = flog->openings; o; o = o->next)
        n++;
    for (const struct reading *r = flog->readings; r; r = r->next)
        n++;
    return n;
}

static struct handle *open_room(struct sim_flog *flog, uint32_t room)
{
    for (struct handle *h = flog->handles; h; h = h->next)
        if (h->open && h->room == room)
            return h;
    return NULL;
}

void sim_flog_redact(struct sim_flog *flog, uint32_t room, uint64_t position)
{
    struct handle *h = open_room(flog, room);
    if (h && flog->inner->redact(flog->inner, h->inner, position, NULL) == 0)
        flog->w->env.ops->wake(flog->w->env.self);
}

struct audit {
    struct chi_log_reader reader; /* first */
    struct sim_world *w;
    struct sim_room *room;
    bool answered;
};

static void audit_page(struct chi_log_reader *reader, const struct chi_log_page *page)
{
    struct audit *a = (struct audit *)(void *)reader;
    const struct sim_room *room = a->room;
    a->answered = true;
    if (page->count > room->count) {
        sim_fail(a->w, "the log holds more of %s than was committed", room->name);
        return;
    }
    for (uint32_t i = 0; i < page->count; i++) {
        const struct sim_past *past = &room->past[room->count - page->count + i];
        if (page->entries[i]->position != past->position || page->entries[i]->prev != past->prev)
            sim_fail(a->w, "the log holds %llu where %llu was committed in %s",
                     (unsigned long long)page->entries[i]->position,
                     (unsigned long long)past->position, room->name);
    }
    uint32_t kept = 0;
    while (kept < room->count && room->past[room->count - 1 - kept].position > room->lost_to)
        kept++;
    if (page->count < kept && page->count < a->w->settings.log_entries && !a->w->vague_bounds)
        sim_fail(a->w, "the log holds %u entries of %s of %u committed, though %llu may be kept",
                 page->count, room->name, kept, (unsigned long long)a->w->settings.log_entries);
}

void sim_flog_audit(struct sim_flog *flog)
{
    for (int i = 0; i < SIM_ROOMS; i++) {
        struct sim_room *room = &flog->w->rooms[i];
        struct handle *h = room->open ? open_room(flog, room->number) : NULL;
        if (!h)
            continue;
        struct audit a = {.reader = {audit_page}, .w = flog->w, .room = room};
        struct chi_log_read read = {.before = UINT64_MAX,
                                    .limit = 1u << 20,
                                    .bytes = 1u << 30,
                                    .backward = true,
                                    .reader = &a.reader};
        if (flog->inner->read(flog->inner, h->inner, &read)) {
            sim_fail(flog->w, "the log cannot be read at rest");
            return;
        }
        flog->inner->poll(flog->inner);
        if (!a.answered)
            sim_fail(flog->w, "the log did not answer a read at its next poll");
    }
}
