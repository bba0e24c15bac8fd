/* The log in a JetStream stream: its side on the hub's thread. See js.h for the other.
 *
 * Happy path: append, open, read and redact make a task; the next poll hands all of them to the
 * thread, which gives them back and wakes the hub; poll reports them, among them the entries of
 * other nodes, in the order of the stream. A page that is in memory (cache.h) is answered in the
 * next poll. Nothing here waits for the thread but new and free. Failure modes: no memory is
 * answered by the call itself; what the thread could not do comes back with its status; that the
 * log is down, or up again, is told in a log line. When the log went back, whatever is under way is
 * answered before that is told, and what the thread still gives of it is passed over.
 *
 * A safety net: an entry that would leave a hole behind what was told of its room waits until what
 * lies between was read.
 *
 * Bounds: tasks are as many as the hub has drafts and readers under way, which it bounds, and those
 * of the bus, which are bounded here. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "chathub.h"
#include "log/jetstream/cache.h"
#include "log/jetstream/js.h"
#include "log/jetstream/link.h"
#include "util/index.h"

/* Tasks kept for the next posts. */
#define SPARE_TASKS 1024u
/* Results that are reported at once. */
#define RESULTS 256u
/* The thread hears of the time at least so often, in ms. */
#define ORDERS_MS 60000u
/* Messages to other nodes that the thread has not sent yet, and their bytes. */
#define BUS_WAITING 4096u
#define BUS_BYTES   (8u << 20)
/* Every server takes so much by default. */
#define BUS_MOST (256u << 10)
/* Entries that wait until a hole before them was read. */
#define HELD 4096u
/* What could not be read of the stream is told once in this time, in ms. */
#define PASSED_MS 60000u

const struct chi_log_bounds chi_log_jetstream_bounds = {
    .entries = UINT64_MAX,
    .bytes = UINT64_MAX,
    .total_bytes = UINT64_MAX,
    .age = UINT64_MAX,
    .cid_horizon = UINT64_C(3600000),
    .cids = 2000000,
};

struct jetstream {
    struct chi_log log; /* first */
    struct chi_bus bus;
    const struct chi_settings *settings;
    struct chi_env env;
    struct chi_log_up up;
    struct chi_bus_up bus_up;
    struct chi_js_url url;
    struct chi_js_epochs epochs; /* as of the last time that they were read */
    char epoch[CHI_EPOCH_LEN];   /* the one in force */
    bool epochs_old;             /* they are to be read */
    struct chi_slots rooms;      /* all that are open or have tasks */
    struct chi_index by_key;     /* those that are open, or opening */
    struct chi_works spare;      /* tasks */
    uint32_t spare_count;
    struct chi_works to_thread; /* tasks that it gets at the next poll, all at once */
    struct chi_works answered;  /* pages that were in memory */
    struct chi_works held;      /* entries behind a hole that is being read */
    struct chi_link owed;       /* tasks whose answer the hub waits for, in order */
    uint32_t closing;           /* rooms of which the thread was not told yet, for want of memory */
    uint32_t bus_waiting;       /* messages to other nodes, on their way to the thread … */
    uint32_t bus_bytes;         /* … and their bytes */
    struct chi_js_cache cache;
    struct chi_js_thread *thread;
    struct chi_js_news news; /* as of the last poll */
    uint64_t ordered;        /* when the thread last got its orders, env.now */
    uint64_t shown;          /* as chi_log.shown */
    uint64_t passed_at;      /* when it was last told what could not be read; 0: never */
    uint64_t passed;         /* … and how many that were */
    bool was_down;           /* as last told in a log line */
    bool trouble_told;
    bool made_told;
};

static struct jetstream *of(struct chi_log *log)
{
    return (struct jetstream *)(void *)log;
}

/* --------------------------------------------------------------------------------------- tasks */

static struct chi_js_task *task_new(struct jetstream *s, enum chi_js_work kind,
                                    struct chi_js_room *room)
{
    struct chi_js_task *task = (struct chi_js_task *)(void *)chi_works_take(&s->spare);
    if (task)
        s->spare_count--;
    else
        task = malloc(sizeof(*task));
    if (!task)
        return NULL;
    *task = (struct chi_js_task){.kind = kind, .room = room};
    if (room)
        room->under_way++;
    return task;
}

static void to_thread(struct jetstream *s, struct chi_js_task *task)
{
    chi_works_add(&s->to_thread, &task->work);
    s->env.ops->wake(s->env.self);
}

/* The hub waits for its answer. */
static void to_thread_owed(struct jetstream *s, struct chi_js_task *task)
{
    chi_list_append(&s->owed, &task->owed);
    to_thread(s, task);
}

/* Whether the hub still waits for the answer, which is given now. */
static bool is_owed(struct chi_js_task *task)
{
    bool owed = chi_list_linked(&task->owed);
    chi_list_remove(&task->owed);
    return owed;
}

static void room_fini(struct jetstream *s, struct chi_js_room *room)
{
    if (room->cached)
        chi_js_cached_drop(&s->cache, room->cached);
    free(room->cached);
    chi_name_unref(room->name);
}

static void room_release(struct jetstream *s, struct chi_js_room *room)
{
    if (room->open || room->closing || room->under_way)
        return;
    room_fini(s, room);
    chi_slots_give(&s->rooms, room);
}

static void task_fini(struct jetstream *s, struct chi_js_task *task)
{
    chi_list_remove(&task->owed);
    for (uint32_t i = 0; i < task->page.count; i++)
        chi_entry_unref(task->page.entries[i]);
    free(task->page.entries);
    chi_entry_unref(task->entry);
    chi_buf_fini(&task->bytes);
    if (task->room) {
        task->room->under_way--;
        room_release(s, task->room);
    }
}

static void task_free(struct jetstream *s, struct chi_js_task *task)
{
    task_fini(s, task);
    if (s->spare_count < SPARE_TASKS) {
        s->spare_count++;
        chi_works_add(&s->spare, &task->work);
    } else {
        free(task);
    }
}

static void tasks_free(struct jetstream *s, struct chi_works *works)
{
    struct chi_work *work;
    while ((work = chi_works_take(works)) != NULL)
        task_free(s, (struct chi_js_task *)(void *)work);
}

/* ---------------------------------------------------------------------------------------- cache */

static struct chi_log_bounds bounds_of(const struct jetstream *s)
{
    return chi_log_bounds(s->settings, &chi_log_jetstream_bounds);
}

/* NULL: no memory, it goes without. */
static struct chi_js_cached *cached_of(struct chi_js_room *room)
{
    if (!room->cached) {
        room->cached = calloc(1, sizeof(*room->cached));
        if (room->cached)
            chi_js_cached_begin(room->cached, room->told);
    }
    return room->cached;
}

/* The room's next entry, on its way to the hub. */
static void note_entry(struct jetstream *s, struct chi_js_room *room, struct chi_entry *entry)
{
    struct chi_js_cached *cached = cached_of(room);
    room->told = entry->position;
    room->mended = false;
    if (cached)
        chi_js_cached_add(&s->cache, cached, entry, bounds_of(s).entries);
}

static void note_page(struct jetstream *s, struct chi_js_room *room, const struct chi_js_page *page)
{
    struct chi_js_cached *cached = room->open && !room->lost ? cached_of(room) : NULL;
    if (cached)
        chi_js_cached_extend(&s->cache, cached, page->entries, page->count, bounds_of(s).entries);
}

/* Takes the page from memory into the task. False: it is not all there. */
static bool read_cached(struct jetstream *s, struct chi_js_task *task)
{
    uint32_t first;
    struct chi_log_bounds bounds = bounds_of(s);
    struct chi_js_cached *cached = cached_of(task->room);
    if (!cached || task->room->lost)
        return false;
    if (bounds.age != UINT64_MAX)
        chi_js_cached_expire(&s->cache, cached,
                             chi_log_since(s->env.ops->wall(s->env.self), bounds.age));
    int32_t n = chi_js_cached_find(&s->cache, cached, &task->read, &first, &task->page.more);
    if (n < 0)
        return false;
    task->page.entries = n ? malloc((uint32_t)n * sizeof(struct chi_entry *)) : NULL;
    if (n && !task->page.entries) {
        task->page.more = false;
        return false;
    }
    for (int32_t i = 0; i < n; i++)
        task->page.entries[i] = chi_entry_ref(chi_js_cached_at(cached, first + (uint32_t)i));
    task->page.count = (uint32_t)n;
    return true;
}

/* --------------------------------------------------------------------------------------- calls */

static void bind_up(struct chi_log *log, const struct chi_log_up *up)
{
    of(log)->up = *up;
}

static struct chi_span epoch(struct chi_log *log)
{
    return (struct chi_span){of(log)->epoch, CHI_EPOCH_LEN};
}

static bool holds(struct chi_log *log, struct chi_span its_epoch, uint64_t position)
{
    const struct jetstream *s = of(log);
    if (position > CHI_POSITION_MAX)
        return false;
    if (!its_epoch.len)
        return true;
    for (uint32_t i = s->epochs.count; i-- > 0;) {
        const struct chi_js_epoch *at = &s->epochs.list[i];
        if (chi_span_equal(its_epoch, (struct chi_span){at->name, CHI_EPOCH_LEN}))
            return i + 1 == s->epochs.count || position < at[1].first;
    }
    return false;
}

static uint64_t horizon(struct chi_log *log)
{
    return bounds_of(of(log)).cid_horizon;
}

static int open_room(struct chi_log *log, uint32_t number, struct chi_name *name)
{
    struct jetstream *s = of(log);
    struct chi_js_room *room = chi_index_reserve(&s->by_key) ? NULL : chi_slots_take(&s->rooms);
    if (!room)
        return CHATHUB_ENOMEM;
    room->number = number;
    room->name = chi_name_ref(name);
    struct chi_js_task *task = task_new(s, CHI_JS_OPEN, room);
    if (!task) {
        room_release(s, room);
        return CHATHUB_ENOMEM;
    }
    room->opening = true;
    chi_index_put(&s->by_key, room->slot.number);
    to_thread_owed(s, task);
    return 0;
}

/* Without memory it is tried again at each poll. */
static void shut(struct jetstream *s, struct chi_js_room *room)
{
    struct chi_js_task *task = task_new(s, CHI_JS_SHUT, room);
    if (!task)
        return;
    room->closing = false;
    s->closing--;
    to_thread(s, task);
}

static void shut_those_left(struct jetstream *s)
{
    for (uint32_t i = 0; s->closing && i < s->rooms.made; i++) {
        struct chi_js_room *room = chi_slots_at(&s->rooms, i);
        if (room && room->closing)
            shut(s, room);
    }
}

static void forget_key(struct jetstream *s, struct chi_js_room *room)
{
    if (!room->lost)
        chi_index_remove(&s->by_key, room->slot.number);
    room->lost = true;
    if (room->cached)
        chi_js_cached_drop(&s->cache, room->cached);
    free(room->cached);
    room->cached = NULL;
}

static void close_room(struct chi_log *log, void *handle)
{
    struct jetstream *s = of(log);
    struct chi_js_room *room = handle;
    forget_key(s, room);
    room->open = false;
    room->closing = true;
    s->closing++;
    shut(s, room);
}

static void add_part(struct chi_buf *buf, struct chi_span part)
{
    uint8_t len[4] = {(uint8_t)part.len, (uint8_t)(part.len >> 8), (uint8_t)(part.len >> 16),
                      (uint8_t)(part.len >> 24)};
    chi_buf_add(buf, len, sizeof(len));
    chi_buf_add(buf, part.at, part.len);
}

/* Under which id the post is stored: with a cid the same on every node and for every repeat, else
 * one of its own. 0 or CHATHUB_ENOMEM. */
static int identify(struct jetstream *s, struct chi_js_task *task)
{
    uint8_t digest[32];
    struct chi_entry_parts parts = chi_entry_read(task->entry);
    struct chi_buf text;
    chi_buf_init(&text);
    s->env.ops->random(s->env.self, &task->nonce, sizeof(task->nonce));
    if (parts.cid.len) {
        add_part(&text, chi_name_key(task->room->name));
        add_part(&text, parts.user);
        add_part(&text, parts.cid);
    } else {
        add_part(&text, (struct chi_span){(const char *)&task->nonce, sizeof(task->nonce)});
    }
    if (!text.failed)
        s->env.ops->digest(s->env.self, text.at, text.len, digest);
    int error = text.failed ? CHATHUB_ENOMEM : 0;
    chi_buf_fini(&text);
    if (!error) /* 16 bytes are CHI_JS_ID_LEN characters */
        chi_base64url(digest, 16, task->id);
    return error;
}

static int append(struct chi_log *log, void *handle, struct chi_entry *draft, void *token)
{
    struct jetstream *s = of(log);
    struct chi_js_task *task = task_new(s, CHI_JS_POST, handle);
    if (!task)
        return CHATHUB_ENOMEM;
    task->entry = chi_entry_ref(draft);
    task->token = token;
    task->time = s->env.ops->wall(s->env.self);
    int error = identify(s, task);
    if (error)
        task_free(s, task);
    else
        to_thread_owed(s, task);
    return error;
}

static int read_page(struct chi_log *log, void *handle, const struct chi_log_read *read)
{
    struct jetstream *s = of(log);
    struct chi_js_task *task = task_new(s, CHI_JS_READ, handle);
    if (!task)
        return CHATHUB_ENOMEM;
    task->read = *read;
    if (!read_cached(s, task)) {
        to_thread_owed(s, task);
        return 0;
    }
    chi_list_append(&s->owed, &task->owed);
    chi_works_add(&s->answered, &task->work);
    s->env.ops->wake(s->env.self);
    return 0;
}

static int redact(struct chi_log *log, void *handle, uint64_t position, void *token)
{
    struct jetstream *s = of(log);
    struct chi_js_task *task = task_new(s, CHI_JS_ERASE, handle);
    if (!task)
        return CHATHUB_ENOMEM;
    task->position = position;
    task->token = token;
    to_thread_owed(s, task);
    return 0;
}

/* -------------------------------------------------------------------------------------- reports */

/* The handle under which the hub knows a room, if any. */
static struct chi_js_room *room_named(struct jetstream *s, struct chi_span key)
{
    struct chi_js_room *room = chi_slots_at(&s->rooms, chi_index_find(&s->by_key, key));
    return room && room->open ? room : NULL;
}

/* The room that the hub knows by now, which may be another handle; NULL: none. */
static struct chi_js_room *room_of(struct jetstream *s, const struct chi_js_task *task)
{
    if (task->kind == CHI_JS_ENTRY || task->kind == CHI_JS_GONE)
        return room_named(s, (struct chi_span){task->bytes.at, task->bytes.len});
    if (task->room->open && !task->room->lost)
        return task->room;
    return room_named(s, chi_name_key(task->room->name));
}

static struct chi_log_result result_of(struct chi_js_task *task, const struct chi_js_room *room)
{
    if (task->status == CHATHUB_EDUP) {
        task->entry->position = task->position;
        task->entry->time = task->time;
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

/* Whether there is something to tell of an entry or a post, and then what, in which room. */
static bool result_for(struct jetstream *s, struct chi_js_task *task, struct chi_log_result *out)
{
    struct chi_js_room *room = room_of(s, task);
    bool owed = task->kind == CHI_JS_POST && is_owed(task);
    if (!room)
        return false;
    *out = result_of(task, room);
    if (!owed || room != task->room)
        out->token = NULL;
    if (task->kind == CHI_JS_POST && task->status)
        return owed && room == task->room;
    if (task->entry->position <= room->told) /* it was read by a room that opened since */
        return false;
    note_entry(s, room, task->entry);
    return true;
}

/* An opening that is not wanted any more is closed again. */
static void report_opened(struct jetstream *s, struct chi_js_task *task, bool owed)
{
    struct chi_js_room *room = task->room;
    bool opened = task->status == 0;
    if (room->opening && (!opened || !owed))
        chi_index_remove(&s->by_key, room->slot.number);
    room->opening = false;
    room->open = opened && owed;
    room->told = task->position;
    if (owed)
        s->up.opened(s->up.hub, room->number, task->status, room->open ? room : NULL,
                     task->position);
    if (opened && !owed) {
        room->closing = true;
        s->closing++;
        shut(s, room);
    }
}

static void forget_texts(struct jetstream *s, struct chi_js_room *room, uint64_t position)
{
    if (room && room->cached)
        chi_js_cached_erase(&s->cache, room->cached, position);
}

static void report_redacted(struct jetstream *s, struct chi_js_task *task, bool owed)
{
    struct chi_js_room *room = room_of(s, task);
    if (!task->status)
        forget_texts(s, room, task->position);
    if (!room || (!owed && task->kind == CHI_JS_ERASE && task->status))
        return;
    s->up.redacted(s->up.hub, room->number, task->position, task->status,
                   owed ? task->token : NULL);
}

/* NULL: it could not be read. */
static void report_page(struct chi_log_reader *reader, const struct chi_js_page *from)
{
    struct chi_log_page page = {.status = CHATHUB_ELOG};
    if (from)
        page = (struct chi_log_page){0, from->entries, from->count, from->more};
    reader->page(reader, &page);
}

/* ---------------------------------------------------------------------------------------- holes */

static void tell_hole(struct jetstream *s, const struct chi_js_room *room, uint64_t position)
{
    char from[24], to[24];
    snprintf(from, sizeof(from), "%" PRIu64, room->told);
    snprintf(to, sizeof(to), "%" PRIu64, position);
    struct chi_field fields[] = {
        {"log", chi_span_of(s->url.shown)},
        {"room", chi_name_shown(room->name)},
        {"after", chi_span_of(from)},
        {"before", chi_span_of(to)},
        {"message", CHI_SPAN("entries between were not heard of; they are read first")},
    };
    s->env.ops->log(s->env.self, CHATHUB_WARNING, "log_hole", fields, 5);
}

/* Reads what lies between; its entries wait meanwhile. False: no memory, it cannot be helped. */
static bool mend(struct jetstream *s, struct chi_js_room *room, uint64_t position)
{
    struct chi_js_task *task = s->held.count < HELD ? task_new(s, CHI_JS_READ, room) : NULL;
    if (!task)
        return false;
    tell_hole(s, room, position);
    task->read = (struct chi_log_read){
        .after = room->told, .before = position, .limit = RESULTS, .bytes = 1u << 20};
    room->mending = true;
    to_thread(s, task);
    return true;
}

/* Whether the task is to wait, for what is before it in its room. */
static bool must_wait(struct jetstream *s, const struct chi_js_task *task)
{
    struct chi_js_room *room = room_of(s, task);
    if (!room || (task->kind == CHI_JS_POST && task->status))
        return false;
    if (room->mending)
        return s->held.count < HELD;
    bool hole = task->entry->position > room->told && task->entry->prev > room->told;
    return hole && !room->mended && mend(s, room, task->entry->position);
}

static void report_entries(struct jetstream *s, struct chi_works *works);

/* What was left out of a room came: it is told, and then what waited for it, which may wait
 * again. */
static void report_mended(struct jetstream *s, struct chi_js_task *task)
{
    struct chi_js_room *room = task->room;
    struct chi_works held = s->held;
    room->mending = false;
    room->mended = task->status || !task->page.more;
    for (uint32_t i = 0; room->open && !room->lost && i < task->page.count; i++) {
        struct chi_entry *entry = task->page.entries[i];
        if (entry->position <= room->told)
            continue;
        struct chi_log_result result = {.room = room->number, .entry = entry};
        bool mended = room->mended;
        note_entry(s, room, entry);
        room->mended = mended;
        s->up.committed(s->up.hub, &result, 1);
    }
    s->held = (struct chi_works){0};
    while (held.first)
        report_entries(s, &held);
}

/* Entries and posts from the front of `works`, up to anything else; as many as can be at once. */
static void report_entries(struct jetstream *s, struct chi_works *works)
{
    struct chi_log_result results[RESULTS];
    struct chi_works done = {0};
    uint32_t n = 0;
    while (works->first && n < RESULTS) {
        struct chi_js_task *task = (struct chi_js_task *)(void *)works->first;
        if (task->kind != CHI_JS_ENTRY && task->kind != CHI_JS_POST)
            break;
        chi_works_take(works);
        bool waits = must_wait(s, task);
        if (!waits && result_for(s, task, &results[n]))
            n++;
        chi_works_add(waits ? &s->held : &done, &task->work);
    }
    if (n)
        s->up.committed(s->up.hub, results, n);
    tasks_free(s, &done);
}

/* ------------------------------------------------------------------------------ the log went
 * back */

static void read_epochs(struct jetstream *s)
{
    struct chi_js_epochs epochs;
    if (chi_js_thread_epochs(s->thread, &epochs) || !epochs.count) {
        s->epochs_old = true;
        return;
    }
    free(s->epochs.list);
    s->epochs = epochs;
    s->epochs_old = false;
    memcpy(s->epoch, epochs.list[epochs.count - 1].name, CHI_EPOCH_LEN);
}

/* What the hub waits for is answered; what the thread, which may have it in hand, gives later is
 * not heard any more. */
static void answer_owed(struct jetstream *s, struct chi_js_task *task)
{
    struct chi_js_room *room = task->room;
    struct chi_log_result unknown = {.token = task->token,
                                     .status = CHATHUB_EUNKNOWN,
                                     .room = room->number,
                                     .why = "the log was emptied or put back"};
    switch (task->kind) {
    case CHI_JS_OPEN:
        chi_index_remove(&s->by_key, room->slot.number);
        room->opening = false;
        s->up.opened(s->up.hub, room->number, CHATHUB_ELOG, NULL, 0);
        break;
    case CHI_JS_READ:
        report_page(task->read.reader, NULL);
        break;
    case CHI_JS_ERASE:
        s->up.redacted(s->up.hub, room->number, task->position, CHATHUB_ELOG, task->token);
        break;
    default:
        s->up.committed(s->up.hub, &unknown, 1);
        break;
    }
}

static void went_back(struct jetstream *s)
{
    struct chi_link *link;
    while ((link = chi_list_take(&s->owed)) != NULL)
        answer_owed(s, CHI_CONTAINER(link, struct chi_js_task, owed));
    tasks_free(s, &s->held);
    for (uint32_t i = 0; i < s->rooms.made; i++) {
        struct chi_js_room *room = chi_slots_at(&s->rooms, i);
        if (room && room->open)
            forget_key(s, room);
    }
    read_epochs(s);
    struct chi_field fields[] = {
        {"log", chi_span_of(s->url.shown)},
        {"message",
         CHI_SPAN("the stream was emptied, made anew or put back: another epoch begins")},
    };
    s->env.ops->log(s->env.self, CHATHUB_ERROR, "log_went_back", fields, 2);
    s->up.went_back(s->up.hub);
}

/* -------------------------------------------------------------------------------------- reports */

static void report_read(struct jetstream *s, struct chi_js_task *task, bool owed)
{
    if (!task->read.reader) {
        report_mended(s, task);
        return;
    }
    if (!task->status)
        note_page(s, task->room, &task->page);
    if (owed)
        report_page(task->read.reader, task->status ? NULL : &task->page);
}

static void report_one(struct jetstream *s, struct chi_js_task *task)
{
    bool owed = is_owed(task);
    switch (task->kind) {
    case CHI_JS_OPEN:
        report_opened(s, task, owed);
        break;
    case CHI_JS_READ:
        report_read(s, task, owed);
        break;
    case CHI_JS_ERASE:
    case CHI_JS_GONE:
        report_redacted(s, task, owed);
        break;
    case CHI_JS_SEND:
        s->bus_waiting--;
        s->bus_bytes -= (uint32_t)task->bytes.len;
        break;
    case CHI_JS_HEARD:
        if (s->bus_up.heard)
            s->bus_up.heard(s->bus_up.hub, (struct chi_span){task->bytes.at, task->bytes.len});
        break;
    case CHI_JS_BACK:
        went_back(s);
        break;
    default:
        break;
    }
    task_free(s, task);
}

static void report(struct jetstream *s, struct chi_works *works)
{
    while (works->first) {
        struct chi_js_task *task = (struct chi_js_task *)(void *)works->first;
        if (task->kind == CHI_JS_ENTRY || task->kind == CHI_JS_POST)
            report_entries(s, works);
        else
            report_one(s, (struct chi_js_task *)(void *)chi_works_take(works));
    }
}

static void tell_state(struct jetstream *s)
{
    bool down = s->news.stats.down;
    if (down == s->was_down)
        return;
    s->was_down = down;
    struct chi_field fields[] = {
        {"log", chi_span_of(s->url.shown)},
        {"reason", chi_span_of(s->news.why ? s->news.why : "")},
        {"message",
         CHI_SPAN("posts wait, and are refused after log-hold, until it is there again")},
    };
    s->env.ops->log(s->env.self, down ? CHATHUB_ERROR : CHATHUB_WARNING,
                    down ? "log_down" : "log_up", fields, down ? 3 : 1);
}

static void tell_trouble(struct jetstream *s)
{
    struct chi_field fields[] = {
        {"log", chi_span_of(s->url.shown)},
        {"stream", chi_span_of(s->url.stream)},
        {"message", chi_span_of(s->news.trouble)},
    };
    if (s->news.trouble[0] && !s->trouble_told) {
        s->trouble_told = true;
        s->env.ops->log(s->env.self, CHATHUB_WARNING, "log_trouble", fields, 3);
    }
    if (s->news.made && !s->made_told) {
        s->made_told = true;
        fields[2].value = chi_span_of(s->news.made);
        s->env.ops->log(s->env.self, CHATHUB_INFO, "log_made", fields, 3);
    }
}

static void tell_passed(struct jetstream *s)
{
    char count[24], last[24];
    if (s->news.passed == s->passed || (s->passed_at && s->ordered - s->passed_at < PASSED_MS))
        return;
    snprintf(count, sizeof(count), "%" PRIu64, s->news.passed - s->passed);
    snprintf(last, sizeof(last), "%" PRIu64, s->news.passed_last);
    s->passed = s->news.passed;
    s->passed_at = s->ordered;
    struct chi_field fields[] = {
        {"log", chi_span_of(s->url.shown)},
        {"count", chi_span_of(count)},
        {"last", chi_span_of(last)},
        {"message", CHI_SPAN("messages in the stream were passed over, since this version cannot "
                             "read them; is a node newer, or does something else write to it?")},
    };
    s->env.ops->log(s->env.self, CHATHUB_WARNING, "log_passed_over", fields, 4);
}

/* The settings may have changed, and the time has. */
static struct chi_js_orders orders_now(struct jetstream *s)
{
    s->ordered = s->env.ops->now(s->env.self);
    return (struct chi_js_orders){
        .bounds = bounds_of(s),
        .hold = s->settings->log_hold,
        .wall = s->env.ops->wall(s->env.self),
    };
}

static void exchange(struct jetstream *s)
{
    struct chi_js_orders orders = orders_now(s);
    chi_js_thread_exchange(s->thread, &orders, &s->news);
    tell_state(s);
    tell_trouble(s);
    tell_passed(s);
}

static void poll_log(struct chi_log *log)
{
    struct jetstream *s = of(log);
    struct chi_works done = s->answered;
    s->answered = (struct chi_works){0};
    if (s->closing)
        shut_those_left(s);
    if (s->epochs_old)
        read_epochs(s);
    exchange(s);
    uint64_t shown = s->news.shown;
    chi_js_thread_put(s->thread, &s->to_thread);
    chi_js_thread_collect(s->thread, &done);
    report(s, &done);
    if (!s->held.first)
        s->shown = shown;
}

static uint64_t next(struct chi_log *log)
{
    const struct jetstream *s = of(log);
    return s->to_thread.first || s->answered.first ? 0 : s->ordered + ORDERS_MS;
}

static void stats(struct chi_log *log, struct chi_log_stats *out)
{
    *out = of(log)->news.stats;
}

static uint64_t shown(struct chi_log *log)
{
    return of(log)->shown;
}

/* ------------------------------------------------------------------------------------------ bus */

static struct jetstream *of_bus(struct chi_bus *bus)
{
    return CHI_CONTAINER(bus, struct jetstream, bus);
}

static void bus_bind(struct chi_bus *bus, const struct chi_bus_up *up)
{
    of_bus(bus)->bus_up = *up;
}

static int bus_send(struct chi_bus *bus, uint64_t node, struct chi_span bytes)
{
    struct jetstream *s = of_bus(bus);
    if (bytes.len > bus->most || s->bus_waiting >= BUS_WAITING || s->bus_bytes >= BUS_BYTES)
        return CHATHUB_EAGAIN;
    struct chi_js_task *task = task_new(s, CHI_JS_SEND, NULL);
    if (!task)
        return CHATHUB_ENOMEM;
    task->node = node;
    chi_buf_add(&task->bytes, bytes.at, bytes.len);
    if (task->bytes.failed) {
        task_free(s, task);
        return CHATHUB_ENOMEM;
    }
    s->bus_waiting++;
    s->bus_bytes += (uint32_t)bytes.len;
    to_thread(s, task);
    return 0;
}

/* --------------------------------------------------------------------------------- new and free */

static void free_log(struct chi_log *log)
{
    if (!log)
        return;
    struct jetstream *s = of(log);
    struct chi_works left = {0};
    chi_js_thread_stop(s->thread, &left);
    tasks_free(s, &left);
    tasks_free(s, &s->to_thread);
    tasks_free(s, &s->answered);
    tasks_free(s, &s->held);
    struct chi_work *work;
    while ((work = chi_works_take(&s->spare)) != NULL)
        free((struct chi_js_task *)(void *)work);
    for (uint32_t i = 0; i < s->rooms.made; i++) {
        struct chi_js_room *room = chi_slots_at(&s->rooms, i);
        if (room)
            room_fini(s, room);
    }
    chi_slots_fini(&s->rooms);
    chi_index_fini(&s->by_key);
    free(s->epochs.list);
    chi_js_url_free(&s->url);
    free(s);
}

static struct chi_js_config wanted(const struct chi_settings *settings)
{
    return (struct chi_js_config){
        .replicas = settings->log_replicas,
        .duplicates = settings->log_duplicates,
        .max_age = settings->log_age,
        .max_bytes = settings->log_total_bytes,
        .room_entries = settings->log_entries,
    };
}

static int start(struct jetstream *s, char *problem, size_t size)
{
    const struct chi_env_ops *env = s->env.ops;
    struct chi_js_parts js = {.stream = s->url.stream, .wanted = wanted(s->settings)};
    struct chi_js_orders orders = orders_now(s);
    env->random(s->env.self, js.secrets, sizeof(js.secrets));
    env->random(s->env.self, &js.seed, sizeof(js.seed));
    struct chi_js_thread_parts parts = {
        .link = {.url = &s->url, .settings = s->settings, .node = s->bus.node},
        .js = &js,
        .orders = &orders,
        .wake = env->wake_from_thread,
        .wake_arg = s->env.self,
    };
    int error = chi_js_thread_start(&parts, &s->thread, problem, size);
    if (error)
        return error;
    read_epochs(s);
    if (s->epochs_old) {
        snprintf(problem, size, "%s", chathub_strerror(CHATHUB_ENOMEM));
        return CHATHUB_ENOMEM;
    }
    exchange(s);
    s->shown = s->news.shown;
    return 0;
}

static struct chi_span key_of(const void *ctx, uint32_t number)
{
    const struct chi_js_room *room = chi_slots_at(ctx, number);
    return chi_name_key(room->name);
}

static struct jetstream *make(const struct chi_settings *settings, struct chi_env env)
{
    struct jetstream *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->log = (struct chi_log){bind_up,   epoch,  holds,    horizon, open_room, close_room, append,
                              read_page, redact, poll_log, next,    stats,     free_log,   shown};
    s->bus = (struct chi_bus){.most = BUS_MOST, .bind = bus_bind, .send = bus_send};
    s->settings = settings;
    s->env = env;
    while (!s->bus.node)
        env.ops->random(env.self, &s->bus.node, sizeof(s->bus.node));
    chi_slots_init(&s->rooms, sizeof(struct chi_js_room));
    chi_list_init(&s->owed);
    chi_js_cache_init(&s->cache, settings->window_bytes / 2);
    s->by_key.text = key_of;
    s->by_key.ctx = &s->rooms;
    env.ops->random(env.self, s->by_key.secret, sizeof(s->by_key.secret));
    return s;
}

int chi_log_jetstream_new(const struct chi_settings *settings, struct chi_env env,
                          const char *servers, struct chi_log **out, struct chi_bus **bus,
                          char *problem, size_t size)
{
    if (settings->log_bytes) {
        snprintf(problem, size,
                 "option log-bytes: JetStream has no bound for the bytes of one room; use "
                 "log-entries, log-total-bytes or log-age");
        return CHATHUB_EVALUE;
    }
    struct jetstream *s = make(settings, env);
    if (!s) {
        snprintf(problem, size, "%s", chathub_strerror(CHATHUB_ENOMEM));
        return CHATHUB_ENOMEM;
    }
    int error = chi_js_url_read(servers, &s->url, problem, size);
    if (!error)
        error = start(s, problem, size);
    if (error) {
        free_log(&s->log);
        return error;
    }
    *out = &s->log;
    *bus = &s->bus;
    return 0;
}
