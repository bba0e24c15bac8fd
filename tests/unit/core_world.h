/* A world for the hub alone: a clock that stands still, a log and a delivery that only do as
 * they are told. What a client gets is written down as lines, one for each reply, entry and
 * signal. */
#ifndef CORE_WORLD_H
#define CORE_WORLD_H

#include "unit.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/hub.h"

#ifndef CLIENTS
#define CLIENTS 12000
#endif
#define ROOMS  64
#define PLACES 8
#define OPS    4096
#define HEARD  8192

struct place {
    uint32_t room;
    uint64_t position;
    bool signals;
};

struct fake_client {
    bool open;
    uint32_t count;
    struct place places[PLACES];
    char *heard; /* HEARD bytes once it was told something */
    size_t len;
    uint32_t presence; /* presence signals heard */
    uint32_t reads;    /* client_read calls */
    uint32_t conn;     /* the transport's number */
    int close_code;    /* 0: not closed */
};

struct fake_room {
    bool open;
    bool behind; /* what room_behind answers */
    char name[64];
};

struct log_room {
    char key[64];
    uint64_t top;
    uint32_t first; /* index of the oldest kept entry in world.entries of this room */
    struct chi_entry *entries[512];
    uint32_t count;
    uint32_t number;
    bool open;
};

enum op_kind { OP_OPEN, OP_APPEND, OP_READ, OP_REDACT };
struct op {
    enum op_kind kind;
    uint32_t room; /* index in log rooms */
    struct chi_entry *draft;
    void *token;
    struct chi_log_read read;
    uint64_t position; /* redact */
};

struct world {
    struct chi_settings settings;
    struct chi_hub *hub;
    struct chi_hub_parts parts;
    uint64_t now;
    uint64_t random;
    bool woken;
    uint64_t skew;       /* the wall clock is so much ahead, ms */
    char bound_user[32]; /* of whom the last node_bound in the log speaks */
    uint32_t logged;
    /* delivery */
    struct fake_client *clients;
    struct fake_room rooms[ROOMS];
    int reply_result; /* what reply answers: 0, 1, CHATHUB_ENOMEM */
    int join_result;
    uint64_t presences;         /* number of the last presence signal … */
    uint64_t presence_keys[64]; /* … and all their keys, by number */
    struct chi_transport transport;
    uint32_t conns; /* numbers given so far */
    /* log */
    struct chi_log log;
    struct chi_log_up up;
    struct log_room log_rooms[ROOMS];
    uint32_t log_room_count;
    struct op ops[OPS];
    uint32_t op_count;
    bool log_stopped;  /* poll reports nothing */
    int commit_status; /* of the next commits */
    bool log_down;
    int open_status;
    int redact_status; /* what redact answers */
    uint64_t erased;   /* the last position of which delivery forgot what it keeps */
    uint64_t position;
    char epoch[CHI_EPOCH_LEN + 1];
    /* host */
    int answer;
    uint64_t asked;
    char asked_what[128];
    char last_name[64], last_user[32]; /* of the last page of who */
    int answer_inside; /* 1: allow inside the callback, 2: deny, 3: close the client */
};

/* The fake tables have no pointer of their own: one world at a time. */
static struct world *world;

/* As ck_assert, but without an allocation, which might be made to fail. */
#define must(holds)                                                                                \
    do {                                                                                           \
        if (!(holds))                                                                              \
            ck_abort_msg("%s", #holds);                                                            \
    } while (0)

static void hear(uint32_t client, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void hear(uint32_t client, const char *format, ...)
{
    struct fake_client *to = &world->clients[client];
    if (!to->heard)
        to->heard = calloc(1, HEARD);
    if (to->len > HEARD / 2)
        to->len = 0;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(to->heard + to->len, HEARD - to->len, format, args);
    va_end(args);
    if (n > 0)
        to->len += (size_t)n < HEARD - to->len ? (size_t)n : HEARD - to->len - 1;
}

static const char *names_of(const struct chi_present *present, uint32_t count)
{
    static char out[512];
    size_t len = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < count && len < sizeof out - 80; i++)
        len += (size_t)snprintf(out + len, sizeof out - len, "%s%.*s", i ? "," : "",
                                (int)present[i].name.len, present[i].name.at);
    return out;
}

#define TEXT(span) (int)(span).len, (span).at

/* ---------------------------------------------------------------------------------- environment */

static uint64_t env_now(void *self)
{
    return ((struct world *)self)->now;
}
static uint64_t env_wall(void *self)
{
    const struct world *w = self;
    return 1700000000000u + w->now + w->skew;
}
static uint64_t next_random(struct world *w)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return w->random;
}
static void env_random(void *self, void *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        ((uint8_t *)bytes)[i] = (uint8_t)(next_random(self) >> 24);
}
static void env_digest(void *self, const void *bytes, size_t len, uint8_t out[32])
{
    uint64_t h = 0xcbf29ce484222325u;
    (void)self;
    for (size_t i = 0; i < len; i++)
        h = (h ^ ((const uint8_t *)bytes)[i]) * 0x100000001b3u;
    for (int i = 0; i < 32; i++) {
        h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9u + 1;
        out[i] = (uint8_t)(h >> 40);
    }
}
/* `~` is in no normal form, upper case is compared as lower. */
static int env_fold(void *self, enum chi_fold_kind kind, struct chi_span text,
                    struct chi_buf *shown, struct chi_buf *key)
{
    (void)self;
    (void)kind;
    if (!text.len || text.at[0] == ' ' || text.at[text.len - 1] == ' ')
        return CHATHUB_ENAME;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < 0x20)
            return CHATHUB_ENAME;
        if (text.at[i] == '~')
            continue;
        chi_buf_add_char(shown, text.at[i]);
        chi_buf_add_char(key, text.at[i] >= 'A' && text.at[i] <= 'Z' ? (char)(text.at[i] + 32)
                                                                     : text.at[i]);
    }
    return shown->failed || key->failed ? CHATHUB_ENOMEM : 0;
}
static void env_log(void *self, int level, const char *event, const struct chi_field *fields,
                    size_t n)
{
    (void)level;
    for (size_t i = 0; i < n && strcmp(event, "node_bound") == 0; i++)
        if (strcmp(fields[i].key, "user") == 0)
            snprintf(((struct world *)self)->bound_user, 32, "%.*s", TEXT(fields[i].value));
    ((struct world *)self)->logged++;
}
static void env_wake(void *self)
{
    ((struct world *)self)->woken = true;
}
static const struct chi_env_ops env_ops = {env_now, env_wall, env_random, env_digest, env_fold,
                                           env_log, NULL,     env_wake,   NULL};

/* ------------------------------------------------------------------------------------- delivery */

static struct place *place_of(uint32_t room, uint32_t client)
{
    struct fake_client *c = &world->clients[client];
    for (uint32_t i = 0; i < c->count; i++)
        if (c->places[i].room == room)
            return &c->places[i];
    return NULL;
}

static int fake_open(struct chi_delivery *d, uint32_t client, const struct chi_delivery_client *as)
{
    (void)d;
    (void)as;
    struct fake_client *c = &world->clients[client];
    must(!c->open);
    char *heard = c->heard;
    *c = (struct fake_client){.open = true, .heard = heard};
    if (heard)
        heard[0] = '\0';
    return 0;
}
static int fake_encoding(struct chi_delivery *d, uint32_t client, struct chi_encoding encoding)
{
    (void)d;
    (void)encoding;
    must(world->clients[client].open);
    return 0;
}
static void fake_close(struct chi_delivery *d, uint32_t client, int code, struct chi_span reason)
{
    (void)d;
    (void)reason;
    struct fake_client *c = &world->clients[client];
    must(c->open);
    c->open = false;
    c->count = 0;
    c->close_code = code;
}
static void fake_read(struct chi_delivery *d, uint32_t client)
{
    (void)d;
    must(world->clients[client].open);
    world->clients[client].reads++;
}
static void fake_gone(struct chi_delivery *d, uint32_t client)
{
    fake_close(d, client, -1, CHI_SPAN(""));
}
/* Of a page: whom the next one follows. */
static void note_last(const struct chi_reply *who)
{
    if (!who->present_count)
        return;
    const struct chi_present *last = &who->present[who->present_count - 1];
    snprintf(world->last_name, sizeof world->last_name, "%.*s", TEXT(last->name));
    snprintf(world->last_user, sizeof world->last_user, "%.*s", TEXT(last->user));
}

static int fake_reply(struct chi_delivery *d, uint32_t client, const struct chi_reply *r)
{
    (void)d;
    must(world->clients[client].open);
    if (world->reply_result < 0)
        return world->reply_result;
    switch (r->type) {
    case CHI_REPLY_WELCOME:
        hear(client, "welcome %.*s key=%.*s%s ref=%.*s\n", TEXT(r->name), TEXT(r->session),
             r->renamed ? " renamed" : "", TEXT(r->ref));
        break;
    case CHI_REPLY_ACK:
        hear(client, "ack %.*s @%" PRIu64 "%s cid=%.*s ref=%.*s\n", TEXT(r->room), r->position,
             r->dup ? " dup" : "", TEXT(r->cid), TEXT(r->ref));
        break;
    case CHI_REPLY_ERROR:
        hear(client, "error %s room=%.*s ref=%.*s: %.*s\n", chathub_errname(r->code), TEXT(r->room),
             TEXT(r->ref), TEXT(r->message));
        break;
    case CHI_REPLY_JOINED:
        hear(client,
             "joined %.*s top=%" PRIu64 " start=%" PRIu64 " count=%" PRIu64 " #%" PRIu64
             " [%s] ref=%.*s\n",
             TEXT(r->room), r->position, r->start, r->count, r->presence,
             names_of(r->present, r->present_count), TEXT(r->ref));
        break;
    case CHI_REPLY_LEFT:
        hear(client, "left %.*s %s\n", TEXT(r->room), chathub_errname(r->code));
        break;
    case CHI_REPLY_HISTORY:
        hear(client, "history %u%s ref=%.*s\n", r->entry_count, r->more ? " more" : "",
             TEXT(r->ref));
        break;
    case CHI_REPLY_WHO:
        note_last(r);
        hear(client, "who %" PRIu64 " [%s]%s\n", r->count, names_of(r->present, r->present_count),
             r->more ? " more" : "");
        break;
    case CHI_REPLY_PONG:
        hear(client, "pong\n");
        break;
    case CHI_REPLY_OK:
        hear(client, "ok %.*s @%" PRIu64 "\n", TEXT(r->room), r->position);
        break;
    case CHI_REPLY_GAP:
        hear(client, "gap %.*s %" PRIu64 "-%" PRIu64 "\n", TEXT(r->room), r->from, r->to);
        break;
    case CHI_REPLY_BYE:
        hear(client, "bye %.*s\n", TEXT(r->message));
        break;
    case CHI_REPLY_HELP:
        hear(client, "help\n");
        break;
    case CHI_REPLY_PRIVATE:
        hear(client, "private %.*s %.*s: %.*s\n", TEXT(r->room), TEXT(r->name), TEXT(r->message));
        break;
    }
    return world->reply_result;
}
static int fake_room_open(struct chi_delivery *d, uint32_t room, const struct chi_name *name,
                          uint64_t top)
{
    (void)d;
    (void)top;
    must(room < ROOMS && !world->rooms[room].open);
    world->rooms[room].open = true;
    snprintf(world->rooms[room].name, sizeof world->rooms[room].name, "%.*s",
             TEXT(chi_name_shown(name)));
    return 0;
}
static void fake_room_close(struct chi_delivery *d, uint32_t room)
{
    (void)d;
    must(world->rooms[room].open);
    world->rooms[room].open = false;
}
static int fake_member_join(struct chi_delivery *d, uint32_t room, uint32_t client, uint64_t from,
                            bool signals)
{
    (void)d;
    struct fake_client *c = &world->clients[client];
    must(c->open && world->rooms[room].open && !place_of(room, client));
    if (world->join_result < 0 || c->count == PLACES)
        return CHATHUB_ENOMEM;
    c->places[c->count++] = (struct place){room, from, signals};
    return 0;
}
static void fake_member_signals(struct chi_delivery *d, uint32_t room, uint32_t client)
{
    (void)d;
    must(place_of(room, client));
    place_of(room, client)->signals = true;
}
static void fake_member_leave(struct chi_delivery *d, uint32_t room, uint32_t client)
{
    (void)d;
    struct place *place = place_of(room, client);
    if (place)
        *place = world->clients[client].places[--world->clients[client].count];
}
static uint64_t fake_position(struct chi_delivery *d, uint32_t room, uint32_t client)
{
    (void)d;
    must(world->clients[client].open && place_of(room, client));
    return place_of(room, client)->position;
}
static void fake_entry(struct chi_delivery *d, uint32_t room, struct chi_entry *entry)
{
    (void)d;
    struct chi_entry_parts parts = chi_entry_read(entry);
    must(world->rooms[room].open);
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct place *place = world->clients[i].open ? place_of(room, i) : NULL;
        if (!place)
            continue;
        must(place->position < entry->position);
        place->position = entry->position;
        hear(i, "chat %.*s: %.*s @%" PRIu64 "\n", TEXT(parts.sender), TEXT(parts.content),
             entry->position);
    }
}
static void fake_signal(struct chi_delivery *d, uint32_t room, const struct chi_signal *s)
{
    (void)d;
    char came[512], went[512], renamed[512];
    snprintf(came, sizeof came, "%s", names_of(s->came, s->came_count));
    snprintf(went, sizeof went, "%s", names_of(s->went, s->went_count));
    snprintf(renamed, sizeof renamed, "%s", names_of(s->renamed, s->renamed_count));
    if (s->type == CHI_SIGNAL_PRESENCE)
        world->presence_keys[(world->presences = s->number) % 64] = s->key;
    for (uint32_t i = 0; i < CLIENTS; i++) {
        struct place *place = world->clients[i].open ? place_of(room, i) : NULL;
        if (!place || !place->signals)
            continue;
        world->clients[i].presence += s->type == CHI_SIGNAL_PRESENCE;
        if (s->type == CHI_SIGNAL_TYPING)
            hear(i, "typing %.*s %d\n", TEXT(s->who.name), s->on);
        else if (s->type == CHI_SIGNAL_STATUS)
            hear(i, "status %.*s %.*s\n", TEXT(s->who.name), TEXT(s->who.status));
        else if (s->counts_only)
            hear(i, "presence #%" PRIu64 " count=%" PRIu64 "\n", s->number, s->count);
        else
            hear(i, "presence #%" PRIu64 " count=%" PRIu64 "%s +[%s] -[%s] ~[%s]\n", s->number,
                 s->count, s->snapshot ? " all" : "", came, went, renamed);
    }
}
static void fake_redact(struct chi_delivery *d, uint32_t room, uint64_t position)
{
    (void)d;
    must(world->rooms[room].open);
    world->erased = position;
}
static bool fake_room_behind(struct chi_delivery *d, uint32_t room)
{
    (void)d;
    return world->rooms[room].behind;
}
static const struct chi_delivery_ops fake_delivery = {
    fake_open,        fake_encoding,       fake_close,        fake_read,
    fake_gone,        fake_reply,          fake_room_open,    fake_room_close,
    fake_member_join, fake_member_signals, fake_member_leave, fake_position,
    fake_entry,       fake_room_behind,    fake_signal,       fake_redact};

/* ------------------------------------------------------------------------------------------ log */

static void fake_bind(struct chi_log *log, const struct chi_log_up *up)
{
    (void)log;
    world->up = *up;
}
static struct chi_span fake_epoch(struct chi_log *log)
{
    (void)log;
    return (struct chi_span){world->epoch, CHI_EPOCH_LEN};
}
static bool fake_holds(struct chi_log *log, struct chi_span epoch, uint64_t position)
{
    (void)log;
    (void)position;
    return !epoch.at || chi_span_is(epoch, world->epoch);
}
static uint64_t fake_horizon(struct chi_log *log)
{
    (void)log;
    return 60000;
}
static struct op *op_add(enum op_kind kind, uint32_t room)
{
    must(world->op_count < OPS);
    struct op *op = &world->ops[world->op_count++];
    *op = (struct op){.kind = kind, .room = room};
    return op;
}
static int fake_log_open(struct chi_log *log, uint32_t room, struct chi_name *name)
{
    struct chi_span key = chi_name_key(name);
    (void)log;
    uint32_t i = 0;
    while (i < world->log_room_count && !chi_span_is(key, world->log_rooms[i].key))
        i++;
    must(i < ROOMS);
    struct log_room *r = &world->log_rooms[i];
    if (i == world->log_room_count) {
        world->log_room_count++;
        snprintf(r->key, sizeof r->key, "%.*s", TEXT(key));
    }
    must(!r->open);
    r->open = true;
    r->number = room;
    op_add(OP_OPEN, i);
    return 0;
}
static void fake_log_close(struct chi_log *log, void *handle)
{
    (void)log;
    struct log_room *room = handle;
    must(room->open);
    room->open = false;
}
static int fake_append(struct chi_log *log, void *handle, struct chi_entry *draft, void *token)
{
    (void)log;
    struct log_room *room = handle;
    must(room->open);
    struct op *op = op_add(OP_APPEND, (uint32_t)(room - world->log_rooms));
    op->draft = chi_entry_ref(draft);
    op->token = token;
    return 0;
}
static int fake_log_read(struct chi_log *log, void *handle, const struct chi_log_read *read)
{
    (void)log;
    struct log_room *room = handle;
    must(room->open);
    op_add(OP_READ, (uint32_t)(room - world->log_rooms))->read = *read;
    return 0;
}
static int fake_log_redact(struct chi_log *log, void *handle, uint64_t position, void *token)
{
    (void)log;
    struct log_room *room = handle;
    must(room->open);
    if (world->redact_status < 0)
        return world->redact_status;
    struct op *op = op_add(OP_REDACT, (uint32_t)(room - world->log_rooms));
    op->position = position;
    op->token = token;
    return 0;
}
static void erase(struct log_room *room, const struct op *op)
{
    int status = CHATHUB_ENOENT;
    must(room->open); /* of others nothing is reported */
    for (uint32_t i = 0; i < room->count; i++)
        if (room->entries[i]->position == op->position)
            status = 0;
    world->up.redacted(world->up.hub, room->number, op->position, status, op->token);
}
static void fake_log_stats(struct chi_log *log, struct chi_log_stats *out)
{
    (void)log;
    *out = (struct chi_log_stats){.down = world->log_down};
}
static void commit(struct log_room *room, const struct op *op)
{
    struct chi_log_result result = {.token = op->token,
                                    .status = world->commit_status,
                                    .room = room->number,
                                    .entry = op->draft};
    if (result.status == 0) {
        op->draft->prev = room->top;
        op->draft->position = room->top = ++world->position;
        op->draft->time = env_wall(world);
        must(room->count < 512);
        room->entries[room->count++] = chi_entry_ref(op->draft);
    } else if (result.status == CHATHUB_EDUP) {
        op->draft->position = room->top;
    } else {
        result.entry = NULL;
    }
    world->up.committed(world->up.hub, &result, 1);
    chi_entry_unref(op->draft);
}
static void answer_read(struct log_room *room, const struct chi_log_read *read)
{
    uint32_t first = 0, last = room->count;
    while (first < last && room->entries[first]->position <= read->after)
        first++;
    while (last > first && room->entries[last - 1]->position >= read->before)
        last--;
    bool more = last - first > read->limit;
    if (more && read->backward)
        first = last - read->limit;
    else if (more)
        last = first + read->limit;
    struct chi_log_page page = {
        .entries = room->entries + first, .count = last - first, .more = more};
    read->reader->page(read->reader, &page);
}
static void fake_poll(struct chi_log *log)
{
    (void)log;
    uint32_t n = world->log_stopped ? 0 : world->op_count;
    for (uint32_t i = 0; i < n; i++) {
        struct op op = world->ops[i];
        struct log_room *room = &world->log_rooms[op.room];
        if (op.kind == OP_APPEND) {
            commit(room, &op);
        } else if (op.kind == OP_READ) {
            answer_read(room, &op.read);
        } else if (op.kind == OP_REDACT) {
            erase(room, &op);
        } else {
            room->open = world->open_status == 0;
            world->up.opened(world->up.hub, room->number, world->open_status,
                             world->open_status ? NULL : room, room->top);
        }
    }
    must(n == (world->log_stopped ? 0 : world->op_count));
    world->op_count -= n;
}
static uint64_t fake_next(struct chi_log *log)
{
    (void)log;
    return world->op_count && !world->log_stopped ? 0 : UINT64_MAX;
}

/* ---------------------------------------------------------------------------------------- world */

static int host_decides(void *ctx, const struct chi_question *question)
{
    struct world *w = ctx;
    static const char *const words[] = {"hello", "join", "post", "history"};
    w->asked = question->id;
    snprintf(w->asked_what, sizeof w->asked_what, "%s %.*s %.*s", words[question->action],
             TEXT(question->name), TEXT(question->room));
    if (w->answer_inside == 1 || w->answer_inside == 2)
        chi_hub_answer(w->hub, question->id, w->answer_inside == 1, CHI_SPAN("not today"));
    if (w->answer_inside == 3)
        chi_hub_close_client(w->hub, question->client, 1008, CHI_SPAN("thrown out"));
    return w->answer;
}

static void settings_init(struct chi_settings *s)
{
    *s = (struct chi_settings){
        .default_room = (char *)(uintptr_t) "general",
        .create_rooms = true,
        .max_clients = 20000,
        .max_rooms = 60,
        .max_client_rooms = 8,
        .max_members = 20000,
        .max_sessions = 100,
        .max_content = 1000,
        .max_data = 1000,
        .max_name = 32,
        .max_room_name = 40,
        .max_cid = 64,
        .max_status = 40,
        .max_bad_requests = 3,
        .client_drafts = 4,
        .client_draft_bytes = 65536,
        .hub_draft_bytes = 1u << 20,
        .authorize_timeout = 10000,
        .return_time = 30000,
        .typing_time = 6000,
        .join_history = 3,
        .history_page = 10,
        .page_bytes = 65536,
        .who_page = 5,
        .presence_all = 50,
        .presence_all_ms = 100,
        .presence_names = 1000,
        .presence_names_ms = 500,
        .presence_count_ms = 1000,
    };
}

static void check_books(void)
{
    const char *fault = chi_hub_check(world->hub);
    if (fault)
        ck_abort_msg("%s", fault);
}

static inline void turns(void)
{
    for (int i = 0; i < 50; i++) {
        world->woken = false;
        chi_hub_turn(world->hub);
        if (!world->woken && chi_hub_next(world->hub) > world->now)
            break;
    }
    check_books();
}

static inline void pass(uint64_t ms)
{
    uint64_t end = world->now + ms;
    for (;;) {
        turns();
        uint64_t next = chi_hub_next(world->hub);
        if (next > end || world->log_stopped)
            break;
        world->now = next > world->now ? next : world->now;
    }
    world->now = end;
    turns();
}

static void world_new(uint64_t seed)
{
    world = calloc(1, sizeof *world);
    world->clients = calloc(CLIENTS, sizeof *world->clients);
    world->random = seed * 0x9e3779b97f4a7c15u + 1;
    world->now = 1000;
    world->answer = CHATHUB_ALLOW;
    memcpy(world->epoch, "epoch-0123456789", CHI_EPOCH_LEN);
    settings_init(&world->settings);
    world->log = (struct chi_log){
        fake_bind,   fake_epoch,    fake_holds,      fake_horizon, fake_log_open, fake_log_close,
        fake_append, fake_log_read, fake_log_redact, fake_poll,    fake_next,     fake_log_stats,
        NULL,        NULL};
    world->parts = (struct chi_hub_parts){
        .settings = &world->settings,
        .env = {&env_ops, world},
        .log = &world->log,
        .delivery_ops = &fake_delivery,
        .delivery = (struct chi_delivery *)world,
        .authorize = host_decides,
        .authorize_ctx = world,
    };
}

static inline int world_start(void)
{
    int r = chi_hub_new(&world->parts, &world->hub);
    if (r == 0)
        world->log.bind(&world->log, chi_hub_log_up(world->hub));
    return r;
}

static void world_free(void)
{
    chi_hub_free(world->hub);
    for (uint32_t i = 0; i < world->op_count; i++)
        if (world->ops[i].kind == OP_APPEND)
            chi_entry_unref(world->ops[i].draft);
    for (uint32_t i = 0; i < world->log_room_count; i++)
        for (uint32_t j = 0; j < world->log_rooms[i].count; j++)
            chi_entry_unref(world->log_rooms[i].entries[j]);
    for (uint32_t i = 0; i < CLIENTS; i++)
        free(world->clients[i].heard);
    free(world->clients);
    free(world);
    world = NULL;
}

/* A dialect without manners of its own; nothing is encoded in this world. */
static const struct chi_dialect plain_dialect = {.name = "plain"};

static uint64_t opened(bool welcome)
{
    uint64_t id = 0;
    uint32_t conn = world->conns++;
    struct chi_client_desc desc = {.as = {&world->transport, conn, {&plain_dialect, NULL}},
                                   .welcome = welcome};
    if (chi_hub_client_open(world->hub, &desc, &id) < 0)
        return 0;
    world->clients[chi_hub_client_slot(id)].conn = conn;
    return id;
}

static inline struct fake_client *fake(uint64_t id)
{
    return &world->clients[chi_hub_client_slot(id)];
}

/* What a client was told since the last look. */
static inline const char *heard(uint64_t id)
{
    static char out[HEARD];
    struct fake_client *c = fake(id);
    snprintf(out, sizeof out, "%s", c->heard ? c->heard : "");
    if (c->heard)
        c->heard[0] = '\0';
    c->len = 0;
    return out;
}

#define ck_hears(id, text)                                                                         \
    do {                                                                                           \
        const char *heard_ = heard(id);                                                            \
        ck_assert_msg(strstr(heard_, text) != NULL, "expected \"%s\", heard:\n%s", text, heard_);  \
    } while (0)
#define ck_heard_nothing(id) ck_assert_str_eq(heard(id), "")

static inline struct chi_span span(const char *text)
{
    return chi_span_of(text);
}

static inline enum chi_next hello(uint64_t id, const char *name, const char *key)
{
    struct chi_request r = {
        .type = CHI_REQUEST_HELLO, .name = span(name), .session = span(key), .ref = CHI_SPAN("1")};
    return chi_hub_request(world->hub, id, &r);
}
static inline enum chi_next join_at(uint64_t id, const char *room, struct chi_start start)
{
    struct chi_request r = {.type = CHI_REQUEST_JOIN, .room = span(room), .start = start};
    enum chi_next next = chi_hub_request(world->hub, id, &r);
    return next;
}
static inline enum chi_next join(uint64_t id, const char *room)
{
    return join_at(id, room, (struct chi_start){CHI_START_DEFAULT, 0, 0, {NULL, 0}});
}
static inline enum chi_next post(uint64_t id, const char *room, const char *text)
{
    struct chi_request r = {.type = CHI_REQUEST_POST,
                            .room = span(room),
                            .content = span(text),
                            .cid = CHI_SPAN("c-1"),
                            .ref = CHI_SPAN("7")};
    return chi_hub_request(world->hub, id, &r);
}
static inline enum chi_next ask(uint64_t id, enum chi_request_type type, const char *room)
{
    struct chi_request r = {.type = type, .room = span(room), .ref = CHI_SPAN("9"), .on = true};
    return chi_hub_request(world->hub, id, &r);
}

/* A client with a name and a key of its own, in `room` (NULL: in none). */
static inline uint64_t person(const char *name, const char *room)
{
    char key[64];
    snprintf(key, sizeof key, "key-of-%s-0000000000000000000", name);
    uint64_t id = opened(false);
    hello(id, name, key);
    if (room)
        join(id, room);
    turns();
    return id;
}

#endif
