/* What the hub's side of the JetStream log tells the hub: in which order, and what of it still
 * concerns it. See log.c. */
#include "log/jetstream/log_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "chathub.h"

/* Results that are reported at once. */
#define RESULTS 256u
/* Entries that wait until a hole before them was read. */
#define HELD 4096u
/* Holes are told of once in this time, in ms. */
#define HOLES_MS 1000u

/* -------------------------------------------------------------------------------------- reports */

/* The handle under which the hub knows a room, if any. */
static struct chi_js_room *room_named(struct chi_js_log *s, struct chi_span key)
{
    struct chi_js_room *room = chi_slots_at(&s->rooms, chi_index_find(&s->by_key, key));
    return room && room->open ? room : NULL;
}

/* The room that the hub knows by now, which may be another handle; NULL: none. */
static struct chi_js_room *room_of(struct chi_js_log *s, const struct chi_js_task *task)
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

/* Whether there is something to tell of an entry or a post, and then what, in which room. Of an own
 * post that was told already only that it is there. */
static bool result_for(struct chi_js_log *s, struct chi_js_task *task, struct chi_log_result *out)
{
    struct chi_js_room *room = room_of(s, task);
    bool owed = task->kind == CHI_JS_POST && chi_js_log_owed(task);
    if (!room)
        return false;
    *out = result_of(task, room);
    if (!owed || room != task->room)
        out->token = NULL;
    if (task->kind == CHI_JS_POST && task->status)
        return owed && room == task->room;
    if (task->entry->position <= room->told) { /* it was read by a room that opened since */
        out->status = CHATHUB_EDUP;
        return out->token != NULL;
    }
    chi_js_log_note(s, room, task->entry);
    return true;
}

/* An opening that is not wanted any more is closed again. */
static void report_opened(struct chi_js_log *s, struct chi_js_task *task, bool owed)
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
        chi_js_log_shut(s, room);
    }
}

/* In a page from memory that is yet to be told; without memory it is an error. */
static void forget_in_page(struct chi_js_task *task, uint64_t position)
{
    for (uint32_t i = 0; i < task->page.count; i++) {
        struct chi_entry **at = &task->page.entries[i];
        if ((*at)->position != position)
            continue;
        struct chi_entry *stone = chi_js_tombstone(&(struct chi_js_erased){
            .position = position, .prev = (*at)->prev, .time = (*at)->time, .type = (*at)->type});
        if (!stone) {
            task->status = CHATHUB_ELOG;
            return;
        }
        chi_entry_unref(*at);
        *at = stone;
    }
}

static void forget_texts(struct chi_js_log *s, struct chi_js_room *room, uint64_t position)
{
    if (room && room->cached)
        chi_js_cached_erase(&s->cache, room->cached, position);
    for (struct chi_work *work = s->answered.first; room && work; work = work->next) {
        struct chi_js_task *task = (struct chi_js_task *)(void *)work;
        if (task->room == room)
            forget_in_page(task, position);
    }
}

static void report_redacted(struct chi_js_log *s, struct chi_js_task *task, bool owed)
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

static void tell_hole(struct chi_js_log *s, const struct chi_js_room *room, uint64_t position)
{
    char from[24], to[24], count[24];
    uint64_t now = s->env.ops->now(s->env.self);
    s->holes++;
    if (s->hole_at && now - s->hole_at < HOLES_MS)
        return;
    snprintf(count, sizeof(count), "%" PRIu64, s->holes);
    s->hole_at = now;
    s->holes = 0;
    snprintf(from, sizeof(from), "%" PRIu64, room->told);
    snprintf(to, sizeof(to), "%" PRIu64, position);
    struct chi_field fields[] = {
        {"log", chi_span_of(s->url.shown)},
        {"room", chi_name_shown(room->name)},
        {"after", chi_span_of(from)},
        {"before", chi_span_of(to)},
        {"count", chi_span_of(count)}, /* with those that were not told of */
        {"message", CHI_SPAN("entries between were not heard of; they are read first")},
    };
    s->env.ops->log(s->env.self, CHATHUB_WARNING, "log_hole", fields, 6);
}

/* Reads what lies between; its entries wait meanwhile. False: no memory, it cannot be helped. */
static bool mend(struct chi_js_log *s, struct chi_js_room *room, uint64_t position)
{
    struct chi_js_task *task = s->held.count < HELD ? chi_js_log_task(s, CHI_JS_READ, room) : NULL;
    if (!task)
        return false;
    tell_hole(s, room, position);
    task->read = (struct chi_log_read){
        .after = room->told, .before = position, .limit = RESULTS, .bytes = 1u << 20};
    room->mending = true;
    chi_js_log_put(s, task);
    return true;
}

/* Whether it tells something of a room, which is told in order. */
static bool is_ordered(const struct chi_js_task *task)
{
    return task->kind == CHI_JS_ENTRY || task->kind == CHI_JS_GONE ||
           ((task->kind == CHI_JS_POST || task->kind == CHI_JS_ERASE) && !task->status);
}

/* Whether the task is to wait, for what is before it in its room. */
static bool must_wait(struct chi_js_log *s, const struct chi_js_task *task)
{
    struct chi_js_room *room = is_ordered(task) ? room_of(s, task) : NULL;
    if (!room || room->mending || !task->entry)
        return room && room->mending;
    bool hole = task->entry->position > room->told && task->entry->prev > room->told;
    return hole && !room->mended && !room->unmended && mend(s, room, task->entry->position);
}

/* The room for whose mending the task would have to wait, though too many do; NULL: none. */
static struct chi_js_room *crowded(struct chi_js_log *s, const struct chi_js_task *task)
{
    struct chi_js_room *room = s->held.count >= HELD && is_ordered(task) ? room_of(s, task) : NULL;
    return room && room->mending ? room : NULL;
}

/* What waits for the room's mending is told, with the hole before it, which members see and read. */
static void give_up(struct chi_js_log *s, struct chi_js_room *room)
{
    struct chi_works all = s->held, its = {0};
    struct chi_work *work;
    s->held = (struct chi_works){0};
    while ((work = chi_works_take(&all)) != NULL) {
        const struct chi_js_room *of = room_of(s, (struct chi_js_task *)(void *)work);
        chi_works_add(of && of == room ? &its : &s->held, work);
    }
    room->mending = false;
    room->unmended = true;
    chi_js_log_report(s, &its);
}

/* What was left out of a room came: it is told, and then what waited for it, which may wait
 * again. */
static void report_mended(struct chi_js_log *s, struct chi_js_task *task)
{
    struct chi_js_room *room = task->room;
    struct chi_works held = s->held;
    bool given_up = room->unmended;
    room->unmended = false;
    if (given_up)
        return;
    room->mending = false;
    room->mended = task->status || !task->page.more;
    for (uint32_t i = 0; room->open && !room->lost && i < task->page.count; i++) {
        struct chi_entry *entry = task->page.entries[i];
        if (entry->position <= room->told)
            continue;
        struct chi_log_result result = {.room = room->number, .entry = entry};
        bool mended = room->mended;
        chi_js_log_note(s, room, entry);
        room->mended = mended;
        s->up.committed(s->up.hub, &result, 1);
    }
    s->held = (struct chi_works){0};
    chi_js_log_report(s, &held);
}

/* Entries and posts from the front of `works`, up to anything else; as many as can be at once. */
static void report_entries(struct chi_js_log *s, struct chi_works *works)
{
    struct chi_log_result results[RESULTS];
    struct chi_works done = {0};
    uint32_t n = 0;
    while (works->first && n < RESULTS) {
        struct chi_js_task *task = (struct chi_js_task *)(void *)works->first;
        if ((task->kind != CHI_JS_ENTRY && task->kind != CHI_JS_POST) || crowded(s, task))
            break;
        chi_works_take(works);
        bool waits = must_wait(s, task);
        if (!waits && result_for(s, task, &results[n]))
            n++;
        chi_works_add(waits ? &s->held : &done, &task->work);
    }
    if (n)
        s->up.committed(s->up.hub, results, n);
    chi_js_log_tasks_free(s, &done);
}

/* ------------------------------------------------------------------------------ the log went
 * back */

void chi_js_log_read_epochs(struct chi_js_log *s)
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
static void answer_owed(struct chi_js_log *s, struct chi_js_task *task)
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

static void went_back(struct chi_js_log *s)
{
    struct chi_link *link;
    while ((link = chi_list_take(&s->owed)) != NULL)
        answer_owed(s, CHI_CONTAINER(link, struct chi_js_task, owed));
    chi_js_log_tasks_free(s, &s->held);
    for (uint32_t i = 0; i < s->rooms.made; i++) {
        struct chi_js_room *room = chi_slots_at(&s->rooms, i);
        if (room && room->open)
            chi_js_log_forget(s, room);
    }
    chi_js_log_read_epochs(s);
    struct chi_field fields[] = {
        {"log", chi_span_of(s->url.shown)},
        {"message",
         CHI_SPAN("the stream was emptied, made anew or put back: another epoch begins")},
    };
    s->env.ops->log(s->env.self, CHATHUB_ERROR, "log_went_back", fields, 2);
    s->up.went_back(s->up.hub);
}

/* -------------------------------------------------------------------------------------- reports */

static void report_read(struct chi_js_log *s, struct chi_js_task *task, bool owed)
{
    if (!task->read.reader) {
        report_mended(s, task);
        return;
    }
    if (!task->status)
        chi_js_log_note_page(s, task->room, &task->page);
    if (owed)
        report_page(task->read.reader, task->status ? NULL : &task->page);
}

static void report_one(struct chi_js_log *s, struct chi_js_task *task)
{
    bool owed = chi_js_log_owed(task);
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
    chi_js_log_task_free(s, task);
}

/* A redaction waits, too: what it erases may be told only then. */
void chi_js_log_report(struct chi_js_log *s, struct chi_works *works)
{
    while (works->first) {
        struct chi_js_task *task = (struct chi_js_task *)(void *)works->first;
        struct chi_js_room *full = crowded(s, task);
        if (full)
            give_up(s, full);
        if (task->kind == CHI_JS_ENTRY || task->kind == CHI_JS_POST)
            report_entries(s, works);
        else if (must_wait(s, task))
            chi_works_add(&s->held, chi_works_take(works));
        else
            report_one(s, (struct chi_js_task *)(void *)chi_works_take(works));
    }
}
