/* The log of a test: memory's, behind a queue of drafts that are committed late, or go wrong.
 *
 * Happy path: a draft waits until the next poll, is appended to the log in memory, and what that
 * answers is noted (for the next hub) and passed on. Rooms, pages and redactions are the inner
 * log's. Failure modes: what the test has set for a draft when it came; without memory to note an
 * entry, the disk is full before it is committed. A new opening puts all that was noted into a log
 * in memory again: the same entries in the same order get the same positions. */
#include "kit.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "log/log.h"
#include "util/list.h"

#define RECORDS_MAX 100000u
#define BYTES_MAX   (UINT64_C(64) << 20)
#define EPOCHS_MAX  10000u
#define RETRY_MS    1000u
/* What a draft is that goes well. */
#define WELL 0

struct draft {
    struct chi_link link;
    void *handle;
    struct chi_entry *entry; /* a reference */
    void *token;
    int fault; /* enum chathub_testing_fault, or WELL */
};

struct open_room {
    struct chi_link link;
    uint32_t number;       /* the hub's */
    struct chi_name *name; /* a reference */
    void *handle;          /* the inner log's; NULL: it is being opened */
};

struct kit_log {
    struct chi_log log; /* first */
    struct chathub_testing *test;
    struct kit_disk *disk;
    struct chi_log *inner;
    struct chi_log_up up;
    struct chi_link rooms, drafts;
    struct chi_log_result result; /* what the inner log has answered to the draft being committed */
    bool answered;
    bool replaying;
    struct chi_log_stats stats;
};

static struct kit_log *of(struct chi_log *log)
{
    return (struct kit_log *)(void *)log;
}

/* ------------------------------------------------------------------------------------- the disk */

static void record_drop(struct kit_disk *disk)
{
    struct kit_record *last = &disk->records[--disk->count];
    disk->bytes -= chi_entry_size(last->entry);
    chi_entry_unref(last->entry);
    chi_name_unref(last->room);
}

void chi_kit_disk_fini(struct kit_disk *disk)
{
    while (disk->count)
        record_drop(disk);
    free(disk->records);
    free(disk->epochs);
}

/* Whether one more can be noted; makes its place. */
static bool has_place(struct kit_disk *disk, const struct chi_entry *entry)
{
    if (disk->count == RECORDS_MAX || disk->bytes + chi_entry_size(entry) > BYTES_MAX)
        return false;
    if (disk->count < disk->cap)
        return true;
    uint32_t cap = disk->cap ? disk->cap * 2 : 64;
    struct kit_record *records = realloc(disk->records, cap * sizeof(*records));
    if (!records)
        return false;
    disk->records = records;
    disk->cap = cap;
    return true;
}

static void note(struct chathub_testing *test, struct chi_name *room, struct chi_entry *entry)
{
    struct kit_disk *disk = &test->disk;
    assert(entry->position == disk->count + 1 && disk->count < disk->cap);
    disk->records[disk->count++] =
        (struct kit_record){chi_name_ref(room), chi_entry_ref(entry), test->elapsed};
    disk->bytes += chi_entry_size(entry);
}

/* The texts of a note are gone, too. */
static int note_erased(struct kit_disk *disk, uint64_t position)
{
    assert(position && position <= disk->count);
    struct kit_record *record = &disk->records[position - 1];
    struct chi_entry *tombstone =
        chi_entry_new(record->entry->type, &(struct chi_entry_parts){.data = {NULL, 0}});
    if (!tombstone)
        return CHATHUB_ELOG;
    tombstone->position = record->entry->position;
    tombstone->prev = record->entry->prev;
    tombstone->time = record->entry->time;
    disk->bytes -= chi_entry_size(record->entry) - chi_entry_size(tombstone);
    chi_entry_unref(record->entry);
    record->entry = tombstone;
    return 0;
}

static int new_epoch(struct kit_disk *disk, struct chi_env env)
{
    uint8_t random[CHI_EPOCH_LEN * 3 / 4];
    if (disk->epoch_count == EPOCHS_MAX)
        return CHATHUB_EFULL;
    struct kit_epoch *epochs =
        realloc(disk->epochs, (disk->epoch_count + 1) * sizeof(*disk->epochs));
    if (!epochs)
        return CHATHUB_ENOMEM;
    disk->epochs = epochs;
    struct kit_epoch *epoch = &epochs[disk->epoch_count++];
    env.ops->random(env.self, random, sizeof(random));
    chi_base64url(random, sizeof(random), epoch->name);
    epoch->first = (uint64_t)disk->count + 1;
    return 0;
}

/* --------------------------------------------------------------------------------------- faults */

static int take_fault(struct kit_disk *disk)
{
    if (!disk->fault_count)
        return WELL;
    int fault = disk->faults[0].fault;
    if (--disk->faults[0].count == 0)
        memmove(&disk->faults[0], &disk->faults[1], --disk->fault_count * sizeof(disk->faults[0]));
    return fault;
}

int chathub_testing_fault(struct chathub_testing *test, int fault, uint32_t count)
{
    if (!test)
        return CHATHUB_EINVAL;
    struct kit_disk *disk = &test->disk;
    if (fault < CHATHUB_TESTING_FAIL || fault > CHATHUB_TESTING_PAGE)
        return chi_kit_problem(test, CHATHUB_EINVAL,
                               "a fault is one of enum chathub_testing_fault, not %d", fault);
    if (fault == CHATHUB_TESTING_PAGE) {
        disk->page_faults = count;
    } else if (!count) {
        disk->fault_count = 0;
    } else {
        if (disk->fault_count == KIT_FAULTS)
            return chi_kit_problem(test, CHATHUB_EFULL, "%u faults wait for posts already",
                                   KIT_FAULTS);
        disk->faults[disk->fault_count].fault = fault;
        disk->faults[disk->fault_count++].count = count;
    }
    return 0;
}

int chathub_testing_hold(struct chathub_testing *test, int on)
{
    if (!test)
        return CHATHUB_EINVAL;
    test->disk.hold = on != 0;
    test->disk.released = 0;
    chi_kit_wake(test);
    return 0;
}

int chathub_testing_commit(struct chathub_testing *test, uint32_t count)
{
    if (!test)
        return CHATHUB_EINVAL;
    struct kit_disk *disk = &test->disk;
    uint32_t most = disk->waiting - disk->released;
    count = CHI_LESSER(count, most);
    disk->released += disk->hold ? count : 0;
    chi_kit_wake(test);
    return (int)count;
}

uint32_t chathub_testing_held(const struct chathub_testing *test)
{
    return test ? test->disk.waiting : 0;
}

int chathub_testing_lose(struct chathub_testing *test, uint32_t count)
{
    if (!test)
        return CHATHUB_EINVAL;
    struct kit_disk *disk = &test->disk;
    if (disk->open)
        return chi_kit_problem(test, CHATHUB_EINUSE,
                               "a hub runs with the log: free that first, then start another");
    count = CHI_LESSER(count, disk->count);
    for (uint32_t i = 0; i < count; i++)
        record_drop(disk);
    while (disk->epoch_count &&
           disk->epochs[disk->epoch_count - 1].first > disk->count + UINT64_C(1))
        disk->epoch_count--;
    return (int)count;
}

uint32_t chathub_testing_entries(const struct chathub_testing *test)
{
    return test ? test->disk.count : 0;
}

/* ---------------------------------------------------------------------------------------- rooms */

static struct open_room *room_by(const struct kit_log *log, uint32_t number, const void *handle)
{
    for (struct chi_link *at = log->rooms.next; at != &log->rooms; at = at->next) {
        struct open_room *room = CHI_CONTAINER(at, struct open_room, link);
        if (handle ? room->handle == handle : room->number == number && !room->handle)
            return room;
    }
    return NULL;
}

static void room_free(struct open_room *room)
{
    chi_list_remove(&room->link);
    chi_name_unref(room->name);
    free(room);
}

static int open_room(struct chi_log *self, uint32_t number, struct chi_name *name)
{
    struct kit_log *log = of(self);
    struct open_room *room = malloc(sizeof(*room));
    if (!room)
        return CHATHUB_ENOMEM;
    *room = (struct open_room){.number = number, .name = chi_name_ref(name)};
    chi_list_append(&log->rooms, &room->link);
    int error = log->inner->open(log->inner, number, name);
    if (error)
        room_free(room);
    return error;
}

static void opened(void *self, uint32_t number, int status, void *handle, uint64_t top)
{
    struct kit_log *log = self;
    struct open_room *room = room_by(log, number, NULL);
    assert(room);
    if (status)
        room_free(room);
    else
        room->handle = handle;
    if (!log->replaying)
        log->up.opened(log->up.hub, number, status, handle, top);
}

static void close_room(struct chi_log *self, void *handle)
{
    struct kit_log *log = of(self);
    room_free(room_by(log, 0, handle));
    log->inner->close(log->inner, handle);
}

/* --------------------------------------------------------------------------------------- drafts */

static int append(struct chi_log *self, void *handle, struct chi_entry *entry, void *token)
{
    struct kit_log *log = of(self);
    int fault = take_fault(log->disk);
    if (fault == CHATHUB_TESTING_BUSY)
        return CHATHUB_EAGAIN;
    struct draft *draft = malloc(sizeof(*draft));
    if (!draft)
        return CHATHUB_ENOMEM;
    *draft = (struct draft){
        .handle = handle, .entry = chi_entry_ref(entry), .token = token, .fault = fault};
    chi_list_append(&log->drafts, &draft->link);
    log->disk->waiting++;
    chi_kit_wake(log->test);
    return 0;
}

static void draft_free(struct draft *draft)
{
    chi_list_remove(&draft->link);
    chi_entry_unref(draft->entry);
    free(draft);
}

static void committed(void *self, const struct chi_log_result *results, size_t n)
{
    struct kit_log *log = self;
    assert(n == 1 && !log->answered);
    (void)n;
    log->result = results[0];
    log->answered = true;
}

static void fail(struct chi_log_result *result, int status, const char *why)
{
    result->status = status;
    result->entry = NULL;
    result->why = why;
    result->retry_after = RETRY_MS;
}

/* Into the inner log, which answers at its next poll, and into the notes. */
static void commit(struct kit_log *log, const struct draft *draft, struct chi_log_result *result)
{
    const struct open_room *room = room_by(log, 0, draft->handle);
    if (!has_place(log->disk, draft->entry)) {
        fail(result, CHATHUB_ELOG, "the disk is full");
        return;
    }
    log->answered = false;
    if (log->inner->append(log->inner, draft->handle, draft->entry, draft->token)) {
        fail(result, CHATHUB_ELOG, NULL);
        return;
    }
    log->inner->poll(log->inner);
    assert(log->answered);
    *result = log->result;
    if (!result->status)
        note(log->test, room->name, draft->entry);
    log->stats.commits += !result->status;
}

/* A draft of unknown outcome that came about is told as such, then shown as news. */
static void resolve(struct kit_log *log, struct draft *draft)
{
    struct chi_log_result result = {.token = draft->token,
                                    .room = room_by(log, 0, draft->handle)->number};
    struct chi_log_result news = {.room = result.room, .entry = draft->entry};
    if (draft->fault == CHATHUB_TESTING_FAIL)
        fail(&result, CHATHUB_ELOG, NULL);
    else if (draft->fault == CHATHUB_TESTING_FULL)
        fail(&result, CHATHUB_ELOG, "the disk is full");
    else if (draft->fault == CHATHUB_TESTING_LOST)
        fail(&result, CHATHUB_EUNKNOWN, "the commit timed out");
    else
        commit(log, draft, &result);
    bool kept = draft->fault == CHATHUB_TESTING_KEPT && !result.status;
    if (kept)
        fail(&result, CHATHUB_EUNKNOWN, "the commit timed out");
    log->stats.failures += result.status == CHATHUB_ELOG || result.status == CHATHUB_EUNKNOWN;
    log->up.committed(log->up.hub, &result, 1);
    if (kept)
        log->up.committed(log->up.hub, &news, 1);
}

/* Those that wait now; what comes meanwhile is for the next turn. */
static void poll(struct chi_log *self)
{
    struct kit_log *log = of(self);
    struct kit_disk *disk = log->disk;
    struct chi_link *link;
    log->inner->poll(log->inner);
    uint32_t n = disk->hold ? disk->released : disk->waiting;
    while (n-- && (link = chi_list_take(&log->drafts))) {
        struct draft *draft = CHI_CONTAINER(link, struct draft, link);
        disk->waiting--;
        disk->released -= disk->hold;
        resolve(log, draft);
        draft_free(draft);
    }
}

static uint64_t next(struct chi_log *self)
{
    const struct kit_log *log = of(self);
    const struct kit_disk *disk = log->disk;
    bool some = disk->hold ? disk->released : disk->waiting;
    return some ? 0 : log->inner->next(log->inner);
}

/* ------------------------------------------------------------------------------ the other slots */

static void bind_up(struct chi_log *self, const struct chi_log_up *up)
{
    of(self)->up = *up;
}

static struct chi_span epoch(struct chi_log *self)
{
    const struct kit_disk *disk = of(self)->disk;
    return (struct chi_span){disk->epochs[disk->epoch_count - 1].name, CHI_EPOCH_LEN};
}

static bool holds(struct chi_log *self, struct chi_span its_epoch, uint64_t position)
{
    const struct kit_disk *disk = of(self)->disk;
    if (position > CHI_POSITION_MAX || !its_epoch.len)
        return position <= CHI_POSITION_MAX;
    for (uint32_t i = disk->epoch_count; i-- > 0;)
        if (chi_span_is(its_epoch, disk->epochs[i].name))
            return i + 1 == disk->epoch_count || position < disk->epochs[i + 1].first;
    return false;
}

static uint64_t horizon(struct chi_log *self)
{
    return of(self)->inner->horizon(of(self)->inner);
}

static int read_page(struct chi_log *self, void *handle, const struct chi_log_read *read)
{
    struct kit_log *log = of(self);
    if (log->disk->page_faults) {
        log->disk->page_faults--;
        return CHATHUB_ELOG;
    }
    return log->inner->read(log->inner, handle, read);
}

static int redact(struct chi_log *self, void *handle, uint64_t position, void *token)
{
    return of(self)->inner->redact(of(self)->inner, handle, position, token);
}

static void redacted(void *self, uint32_t room, uint64_t position, int status, void *token)
{
    struct kit_log *log = self;
    if (!status)
        status = note_erased(log->disk, position);
    log->up.redacted(log->up.hub, room, position, status, token);
}

static void stats(struct chi_log *self, struct chi_log_stats *out)
{
    *out = of(self)->stats;
}

static void free_log(struct chi_log *self)
{
    struct kit_log *log = of(self);
    if (!log)
        return;
    struct chi_link *link;
    while ((link = chi_list_take(&log->drafts)))
        draft_free(CHI_CONTAINER(link, struct draft, link));
    while ((link = chi_list_take(&log->rooms)))
        room_free(CHI_CONTAINER(link, struct open_room, link));
    log->inner->free(log->inner);
    log->disk->waiting = log->disk->released = 0;
    log->disk->open = NULL;
    free(log);
}

/* -------------------------------------------------------------------------------------- opening */

static struct open_room *room_named(const struct kit_log *log, const struct chi_name *name)
{
    for (struct chi_link *at = log->rooms.next; at != &log->rooms; at = at->next) {
        struct open_room *room = CHI_CONTAINER(at, struct open_room, link);
        if (chi_span_equal(chi_name_key(room->name), chi_name_key(name)))
            return room;
    }
    return NULL;
}

static int replay_one(struct kit_log *log, const struct kit_record *record, uint32_t number)
{
    struct chi_log *inner = log->inner;
    uint64_t position = record->entry->position;
    const struct open_room *room = room_named(log, record->room);
    int error = room ? 0 : open_room(&log->log, number, record->room);
    if (error)
        return error;
    inner->poll(inner);
    room = room_named(log, record->room);
    if (!room)
        return CHATHUB_ENOMEM;
    log->test->replaying = record;
    log->answered = false;
    error = inner->append(inner, room->handle, record->entry, NULL);
    if (!error)
        inner->poll(inner);
    log->test->replaying = NULL;
    if (error || log->result.status)
        return error ? error : CHATHUB_ENOMEM;
    assert(record->entry->position == position);
    (void)position;
    return 0;
}

static int replay(struct kit_log *log)
{
    struct chi_link *link;
    int error = 0;
    log->replaying = true;
    for (uint32_t i = 0; !error && i < log->disk->count; i++)
        error = replay_one(log, &log->disk->records[i], i);
    while ((link = chi_list_take(&log->rooms))) {
        struct open_room *room = CHI_CONTAINER(link, struct open_room, link);
        log->inner->close(log->inner, room->handle);
        room_free(room);
    }
    log->replaying = false;
    return error;
}

int chi_kit_log_new(struct chathub_testing *test, const struct chi_settings *settings,
                    struct chi_env env, struct chi_log **out)
{
    struct kit_log *log = calloc(1, sizeof(*log));
    if (!log)
        return CHATHUB_ENOMEM;
    log->log = (struct chi_log){bind_up,   epoch,  holds, horizon, open_room, close_room, append,
                                read_page, redact, poll,  next,    stats,     free_log,   NULL};
    log->test = test;
    log->disk = &test->disk;
    chi_list_init(&log->rooms);
    chi_list_init(&log->drafts);
    int error = chi_log_memory_new(settings, env, &log->inner);
    if (error) {
        free(log);
        return error;
    }
    const struct chi_log_up up = {opened, committed, redacted, NULL, log};
    log->inner->bind(log->inner, &up);
    error = replay(log);
    if (!error)
        error = new_epoch(log->disk, env);
    if (error) {
        free_log(&log->log);
        return error;
    }
    log->disk->open = log;
    *out = &log->log;
    return 0;
}
