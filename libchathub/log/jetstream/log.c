/* The log in a JetStream stream: its side on the hub's thread. See js.h for the other, and
 * log_report.c for what is told.
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
#include "log/jetstream/log_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "chathub.h"

/* Tasks kept for the next posts. */
#define SPARE_TASKS 1024u
/* The thread hears of the time at least so often, in ms. */
#define ORDERS_MS 60000u
/* Messages to other nodes that the thread has not sent yet, and their bytes. */
#define BUS_WAITING 4096u
#define BUS_BYTES   (8u << 20)
/* Every server takes so much by default. */
#define BUS_MOST (256u << 10)
/* What a stored post has besides its content and data, at most. */
#define POST_REST 4096u
/* Of a room's subject. What speaks of it is longer, and a server closes the connection at a line of
 * more than 4,096 bytes: that would stop all rooms. */
#define SUBJECT_MOST 1024u
/* What could not be read of the stream is told once in this time, in ms. */
#define PASSED_MS 60000u

const struct chi_log_bounds chi_log_jetstream_bounds = {
    .entries = UINT64_MAX,
    .bytes = UINT64_MAX,
    .total_bytes = UINT64_MAX,
    .age = UINT64_MAX,
    .cid_horizon = UINT64_C(3600000),
    .cids = 4000000,
};

static struct chi_js_log *of(struct chi_log *log)
{
    return (struct chi_js_log *)(void *)log;
}

/* --------------------------------------------------------------------------------------- tasks */

struct chi_js_task *chi_js_log_task(struct chi_js_log *s, enum chi_js_work kind,
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

void chi_js_log_put(struct chi_js_log *s, struct chi_js_task *task)
{
    chi_works_add(&s->to_thread, &task->work);
    s->env.ops->wake(s->env.self);
}

/* The hub waits for its answer. */
static void to_thread_owed(struct chi_js_log *s, struct chi_js_task *task)
{
    chi_list_append(&s->owed, &task->owed);
    chi_js_log_put(s, task);
}

/* Whether the hub still waits for the answer, which is given now. */
bool chi_js_log_owed(struct chi_js_task *task)
{
    bool owed = chi_list_linked(&task->owed);
    chi_list_remove(&task->owed);
    return owed;
}

static void room_fini(struct chi_js_log *s, struct chi_js_room *room)
{
    if (room->cached)
        chi_js_cached_drop(&s->cache, room->cached);
    free(room->cached);
    chi_name_unref(room->name);
}

static void room_release(struct chi_js_log *s, struct chi_js_room *room)
{
    if (room->open || room->closing || room->under_way)
        return;
    room_fini(s, room);
    chi_slots_give(&s->rooms, room);
}

static void task_fini(struct chi_js_log *s, struct chi_js_task *task)
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

void chi_js_log_task_free(struct chi_js_log *s, struct chi_js_task *task)
{
    task_fini(s, task);
    if (s->spare_count < SPARE_TASKS) {
        s->spare_count++;
        chi_works_add(&s->spare, &task->work);
    } else {
        free(task);
    }
}

void chi_js_log_tasks_free(struct chi_js_log *s, struct chi_works *works)
{
    struct chi_work *work;
    while ((work = chi_works_take(works)) != NULL)
        chi_js_log_task_free(s, (struct chi_js_task *)(void *)work);
}

/* ---------------------------------------------------------------------------------------- cache */

static struct chi_log_bounds bounds_of(const struct chi_js_log *s)
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
void chi_js_log_note(struct chi_js_log *s, struct chi_js_room *room, struct chi_entry *entry)
{
    struct chi_js_cached *cached = cached_of(room);
    room->told = entry->position;
    room->mended = false;
    if (cached)
        chi_js_cached_add(&s->cache, cached, entry, bounds_of(s).entries);
}

void chi_js_log_note_page(struct chi_js_log *s, struct chi_js_room *room,
                          const struct chi_js_page *page)
{
    struct chi_js_cached *cached = room->open && !room->lost ? cached_of(room) : NULL;
    if (cached)
        chi_js_cached_extend(&s->cache, cached, page->entries, page->count, bounds_of(s).entries);
}

/* Takes the page from memory into the task. False: it is not all there. */
static bool read_cached(struct chi_js_log *s, struct chi_js_task *task)
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
    const struct chi_js_log *s = of(log);
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

/* Whether S.in.room.R and S.out.room.R are no longer than they may be. */
static int check_subject(const struct chi_js_log *s, struct chi_span key)
{
    struct chi_buf token;
    chi_buf_init(&token);
    chi_js_room_token(&token, key);
    size_t len = strlen(s->url.stream) + strlen(".out.room.") + token.len;
    int error = token.failed ? CHATHUB_ENOMEM : len > SUBJECT_MOST ? CHATHUB_EROOMNAME : 0;
    chi_buf_fini(&token);
    return error;
}

static int open_room(struct chi_log *log, uint32_t number, struct chi_name *name)
{
    struct chi_js_log *s = of(log);
    int error = check_subject(s, chi_name_key(name));
    if (error)
        return error;
    struct chi_js_room *room = chi_index_reserve(&s->by_key) ? NULL : chi_slots_take(&s->rooms);
    if (!room)
        return CHATHUB_ENOMEM;
    room->number = number;
    room->name = chi_name_ref(name);
    struct chi_js_task *task = chi_js_log_task(s, CHI_JS_OPEN, room);
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
void chi_js_log_shut(struct chi_js_log *s, struct chi_js_room *room)
{
    struct chi_js_task *task = chi_js_log_task(s, CHI_JS_SHUT, room);
    if (!task)
        return;
    room->closing = false;
    s->closing--;
    chi_js_log_put(s, task);
}

static void shut_those_left(struct chi_js_log *s)
{
    for (uint32_t i = 0; s->closing && i < s->rooms.made; i++) {
        struct chi_js_room *room = chi_slots_at(&s->rooms, i);
        if (room && room->closing)
            chi_js_log_shut(s, room);
    }
}

void chi_js_log_forget(struct chi_js_log *s, struct chi_js_room *room)
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
    struct chi_js_log *s = of(log);
    struct chi_js_room *room = handle;
    chi_js_log_forget(s, room);
    room->open = false;
    room->closing = true;
    s->closing++;
    chi_js_log_shut(s, room);
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
static int identify(struct chi_js_log *s, struct chi_js_task *task)
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
    struct chi_js_log *s = of(log);
    struct chi_js_task *task = chi_js_log_task(s, CHI_JS_POST, handle);
    if (!task)
        return CHATHUB_ENOMEM;
    task->entry = chi_entry_ref(draft);
    task->token = token;
    task->time = s->env.ops->wall(s->env.self);
    int error = identify(s, task);
    if (error)
        chi_js_log_task_free(s, task);
    else
        to_thread_owed(s, task);
    return error;
}

static int read_page(struct chi_log *log, void *handle, const struct chi_log_read *read)
{
    struct chi_js_log *s = of(log);
    struct chi_js_task *task = chi_js_log_task(s, CHI_JS_READ, handle);
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
    struct chi_js_log *s = of(log);
    struct chi_js_task *task = chi_js_log_task(s, CHI_JS_ERASE, handle);
    if (!task)
        return CHATHUB_ENOMEM;
    task->position = position;
    task->token = token;
    to_thread_owed(s, task);
    return 0;
}

/* ----------------------------------------------------------------------------------------- polls */

static void tell_state(struct chi_js_log *s)
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

static void tell_trouble(struct chi_js_log *s)
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

static void tell_passed(struct chi_js_log *s)
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
static struct chi_js_orders orders_now(struct chi_js_log *s)
{
    s->ordered = s->env.ops->now(s->env.self);
    return (struct chi_js_orders){
        .bounds = bounds_of(s),
        .hold = s->settings->log_hold,
        .pace = (uint64_t)s->settings->log_pace * 1000,
        .wall = s->env.ops->wall(s->env.self),
    };
}

/* The server takes messages of another size from now on than was known. */
static void fit(struct chi_js_log *s)
{
    uint64_t post = (uint64_t)s->settings->max_content + s->settings->max_data + POST_REST;
    char message[192];
    struct chi_field fields[] = {
        {"log", chi_span_of(s->url.shown)},
        {"stream", chi_span_of(s->url.stream)},
        {"message", {message, 0}},
    };
    s->most = s->news.most;
    s->bus.most = s->most < BUS_MOST ? s->most : BUS_MOST;
    if (post <= s->most)
        return;
    snprintf(message, sizeof(message),
             "posts of max-content and max-data may have %" PRIu64
             " bytes, NATS takes %u: the largest will "
             "be refused; lower these options, or raise max_payload of NATS",
             post, s->most);
    fields[2].value = chi_span_of(message);
    s->env.ops->log(s->env.self, CHATHUB_WARNING, "log_trouble", fields, 3);
}

static void exchange(struct chi_js_log *s)
{
    struct chi_js_orders orders = orders_now(s);
    chi_js_thread_exchange(s->thread, &orders, &s->news);
    tell_state(s);
    tell_trouble(s);
    tell_passed(s);
    if (s->news.most != s->most)
        fit(s);
}

static void poll_log(struct chi_log *log)
{
    struct chi_js_log *s = of(log);
    struct chi_works done = s->answered;
    s->answered = (struct chi_works){0};
    if (s->closing)
        shut_those_left(s);
    if (s->epochs_old)
        chi_js_log_read_epochs(s);
    exchange(s);
    uint64_t shown = s->news.shown;
    chi_js_thread_put(s->thread, &s->to_thread);
    chi_js_thread_collect(s->thread, &done);
    chi_js_log_report(s, &done);
    if (!s->held.first)
        s->shown = shown;
}

static uint64_t next(struct chi_log *log)
{
    const struct chi_js_log *s = of(log);
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

static struct chi_js_log *of_bus(struct chi_bus *bus)
{
    return CHI_CONTAINER(bus, struct chi_js_log, bus);
}

static void bus_bind(struct chi_bus *bus, const struct chi_bus_up *up)
{
    of_bus(bus)->bus_up = *up;
}

static int bus_send(struct chi_bus *bus, uint64_t node, struct chi_span bytes)
{
    struct chi_js_log *s = of_bus(bus);
    if (bytes.len > bus->most || s->bus_waiting >= BUS_WAITING || s->bus_bytes >= BUS_BYTES)
        return CHATHUB_EAGAIN;
    struct chi_js_task *task = chi_js_log_task(s, CHI_JS_SEND, NULL);
    if (!task)
        return CHATHUB_ENOMEM;
    task->node = node;
    chi_buf_add(&task->bytes, bytes.at, bytes.len);
    if (task->bytes.failed) {
        chi_js_log_task_free(s, task);
        return CHATHUB_ENOMEM;
    }
    s->bus_waiting++;
    s->bus_bytes += (uint32_t)bytes.len;
    chi_js_log_put(s, task);
    return 0;
}

/* --------------------------------------------------------------------------------- new and free */

static void free_log(struct chi_log *log)
{
    if (!log)
        return;
    struct chi_js_log *s = of(log);
    struct chi_works left = {0};
    chi_js_thread_stop(s->thread, &left);
    chi_js_log_tasks_free(s, &left);
    chi_js_log_tasks_free(s, &s->to_thread);
    chi_js_log_tasks_free(s, &s->answered);
    chi_js_log_tasks_free(s, &s->held);
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

static int start(struct chi_js_log *s, char *problem, size_t size)
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
    chi_js_log_read_epochs(s);
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

static struct chi_js_log *make(const struct chi_settings *settings, struct chi_env env)
{
    struct chi_js_log *s = calloc(1, sizeof(*s));
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
    struct chi_js_log *s = make(settings, env);
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
