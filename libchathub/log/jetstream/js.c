/* Life of the JetStream log's logic, its rounds, its requests, and where what is shown goes to.
 *
 * Happy path: a request gets a token, which its answers carry; what the feed shows is read and handed
 * to whom it concerns. Failure modes: an answer that does not come in its time, or cannot come any
 * more since the connection is another one, is NULL to who asked; a late one finds no token and is
 * passed over; a stored message that nobody can read is passed over and counted. */
#include "log/jetstream/js.h"

#include <stdio.h>
#include <stdlib.h>

#include "chathub.h"

/* A token is the place of a request and, above it, how often the place was used. */
#define PLACE_BITS 12u
#define PLACES     (1u << PLACE_BITS)
#define PLACE_NONE UINT32_MAX

struct place {
    struct chi_js_ask *ask; /* NULL: free */
    uint64_t number;        /* of the connection of its latest request */
    uint32_t used;          /* times */
    uint32_t next;          /* free: the next free one, or PLACE_NONE */
};

struct chi_js_asks {
    uint32_t free; /* the first one */
    struct place places[PLACES];
};

static struct chi_js_asks *asks_new(void)
{
    struct chi_js_asks *asks = calloc(1, sizeof *asks);
    if (!asks)
        return NULL;
    for (uint32_t i = 0; i < PLACES; i++)
        asks->places[i].next = i + 1 < PLACES ? i + 1 : PLACE_NONE;
    return asks;
}

/* ------------------------------------------------------------------------------------- requests */

static struct place *place_of(struct chi_js_asks *asks, uint32_t token)
{
    struct place *place = &asks->places[token & (PLACES - 1)];
    return place->ask && place->ask->token == token ? place : NULL;
}

void chi_js_ask_end(struct chi_js_ask *ask)
{
    struct chi_js *js = ask->js;
    if (!js)
        return;
    struct place *place = place_of(js->asks, ask->token);
    place->ask = NULL;
    place->next = js->asks->free;
    js->asks->free = ask->token & (PLACES - 1);
    chi_timers_clear(&js->timers, &ask->timer);
    ask->js = NULL;
    ask->token = 0;
}

static void unanswered(struct chi_js_ask *ask)
{
    chi_js_ask_end(ask);
    ask->answer(ask, NULL);
}

static void late(struct chi_timer *timer)
{
    unanswered(CHI_CONTAINER(timer, struct chi_js_ask, timer));
}

/* A free place, and a token that was not used for long. */
static int begin(struct chi_js *js, struct chi_js_ask *ask)
{
    struct chi_js_asks *asks = js->asks;
    uint32_t at = asks->free;
    if (at == PLACE_NONE)
        return CHATHUB_EAGAIN;
    ask->timer = (struct chi_timer){.fire = late};
    struct place *place = &asks->places[at];
    place->used = place->used % (UINT32_MAX >> PLACE_BITS) + 1;
    asks->free = place->next;
    place->ask = ask;
    ask->js = js;
    ask->token = place->used << PLACE_BITS | at;
    return 0;
}

int chi_js_ask_send(struct chi_js *js, struct chi_js_ask *ask, const struct chi_js_out *out,
                    uint32_t ms)
{
    const struct chi_js_port *port = &js->parts.port;
    int error = ask->js ? 0 : begin(js, ask);
    if (error)
        return error;
    struct chi_js_out asked = *out;
    asked.token = ask->token;
    place_of(js->asks, ask->token)->number = port->number(port->self);
    ask->ms = ms;
    error = chi_timers_set(&js->timers, &ask->timer, js->now + ms);
    if (!error && !port->up(port->self))
        error = CHATHUB_EAGAIN;
    if (!error)
        error = port->send(port->self, &asked);
    if (error)
        chi_js_ask_end(ask);
    return error;
}

int chi_js_ask(struct chi_js *js, struct chi_js_ask *ask, const char *api, struct chi_buf *data,
               uint32_t ms)
{
    char subject[128];
    snprintf(subject, sizeof(subject), "$JS.API.%s.%s", api, js->parts.stream);
    struct chi_js_out out = {.subject = chi_span_of(subject), .data = {data->at, data->len}};
    int error = data->failed ? CHATHUB_ENOMEM : chi_js_ask_send(js, ask, &out, ms);
    chi_buf_fini(data);
    return error;
}

static void answered(struct chi_js *js, const struct chi_js_in *in)
{
    struct place *place = place_of(js->asks, in->token);
    if (!place)
        return;
    struct chi_js_ask *ask = place->ask;
    chi_timers_set(&js->timers, &ask->timer, js->now + ask->ms);
    ask->answer(ask, in);
}

/* What was asked over a former connection is not answered any more. */
static void break_asks(struct chi_js *js)
{
    const struct chi_js_port *port = &js->parts.port;
    bool up = port->up(port->self);
    uint64_t number = port->number(port->self);
    if (up == js->was_up && number == js->number)
        return;
    js->was_up = up;
    js->number = number;
    for (uint32_t i = 0; i < PLACES; i++) {
        struct place *place = &js->asks->places[i];
        if (place->ask && (!up || place->number != number))
            unanswered(place->ask);
    }
}

/* ----------------------------------------------------------------------------------------- life */

static int make_parts(struct chi_js *js)
{
    js->tops = chi_map_new(js->parts.secrets);
    js->asks = asks_new();
    if (!js->tops || !js->asks)
        return CHATHUB_ENOMEM;
    int (*const make[])(struct chi_js *) = {chi_js_feed_new, chi_js_posts_new, chi_js_erase_new,
                                            chi_js_pages_new, chi_js_stream_new};
    for (size_t i = 0; i < sizeof(make) / sizeof(make[0]); i++) {
        int error = make[i](js);
        if (error)
            return error;
    }
    return 0;
}

int chi_js_new(const struct chi_js_parts *parts, struct chi_js **out)
{
    struct chi_js *js = calloc(1, sizeof *js);
    if (!js)
        return CHATHUB_ENOMEM;
    js->parts = *parts;
    pthread_mutex_init(&js->lock, NULL);
    chi_timers_init(&js->timers);
    js->news.stats.down = true;
    int error = make_parts(js);
    if (error) {
        chi_js_free(js, NULL);
        return error;
    }
    *out = js;
    return 0;
}

/* `left` NULL: it was never given anything. */
void chi_js_free(struct chi_js *js, struct chi_works *left)
{
    struct chi_works none = {0};
    if (!js)
        return;
    if (!left)
        left = &none;
    chi_works_move(left, &js->out);
    if (js->stream)
        chi_js_stream_free(js);
    if (js->feed)
        chi_js_feed_free(js);
    if (js->posts)
        chi_js_posts_free(js, left);
    if (js->erasing)
        chi_js_erase_free(js, left);
    if (js->pages)
        chi_js_pages_free(js, left);
    chi_js_task_free(js->spare);
    chi_buf_fini(&js->key);
    chi_map_free(js->tops);
    free(js->asks);
    chi_timers_fini(&js->timers);
    free(js->epochs.list);
    pthread_mutex_destroy(&js->lock);
    free(js);
}

/* ---------------------------------------------------------------------------------------- tasks */

struct chi_js_task *chi_js_task_new(enum chi_js_work kind)
{
    struct chi_js_task *task = calloc(1, sizeof *task);
    if (task)
        task->kind = kind;
    return task;
}

void chi_js_task_free(struct chi_js_task *task)
{
    if (!task)
        return;
    for (uint32_t i = 0; i < task->page.count; i++)
        chi_entry_unref(task->page.entries[i]);
    free(task->page.entries);
    chi_entry_unref(task->entry);
    chi_buf_fini(&task->bytes);
    free(task);
}

void chi_js_give(struct chi_js *js, struct chi_js_task *task)
{
    chi_works_add(&js->out, &task->work);
}

void chi_js_take(struct chi_js *js, struct chi_js_task *task)
{
    switch (task->kind) {
    case CHI_JS_OPEN:
    case CHI_JS_SHUT:
    case CHI_JS_READ:
        chi_js_pages_take(js, task);
        break;
    case CHI_JS_POST:
        chi_js_posts_take(js, task);
        break;
    case CHI_JS_ERASE:
        chi_js_erase_take(js, task);
        break;
    default: /* SEND: the bus is the thread's */
        chi_js_give(js, task);
        break;
    }
}

void chi_js_room_subject(const struct chi_js *js, struct chi_buf *out, struct chi_span key)
{
    chi_buf_add_text(out, js->parts.stream);
    chi_buf_add_text(out, ".in.room.");
    chi_js_room_token(out, key);
}

/* --------------------------------------------------------------------------------------- rounds */

/* A post is not held, and not sent again, for longer than half of the window in which the stream
 * knows it again. */
static uint64_t hold_within(const struct chi_js *js, uint64_t hold)
{
    uint64_t window = chi_js_stream_window(js);
    return window && hold > window / 2 ? window / 2 : hold;
}

void chi_js_begin(struct chi_js *js, uint64_t now, const struct chi_js_orders *orders)
{
    js->now = now;
    js->orders = *orders;
    js->orders.hold = hold_within(js, orders->hold);
    break_asks(js);
    chi_timers_run(&js->timers, now);
    chi_js_stream_round(js);
    chi_js_feed_round(js);
}

/* The bus loses messages, also where memory is short. */
static void hear_bus(struct chi_js *js, struct chi_span data)
{
    struct chi_js_task *task = chi_js_task_new(CHI_JS_HEARD);
    if (!task)
        return;
    chi_buf_add(&task->bytes, data.at, data.len);
    if (task->bytes.failed)
        chi_js_task_free(task);
    else
        chi_js_give(js, task);
}

void chi_js_heard(struct chi_js *js, const struct chi_js_in *in)
{
    if (in->kind == CHI_JS_LIVE)
        chi_js_feed_heard(js, in);
    else if (in->kind == CHI_JS_REPLY)
        answered(js, in);
    else
        hear_bus(js, in->data);
}

void chi_js_end(struct chi_js *js)
{
    chi_js_posts_round(js);
    js->news.shown = chi_js_feed_shown(js);
    js->parts.port.flush(js->parts.port.self);
}

uint64_t chi_js_next(const struct chi_js *js)
{
    uint64_t next = chi_timers_next(&js->timers), feed = chi_js_feed_due(js),
             stream = chi_js_stream_due(js);
    next = feed < next ? feed : next;
    return stream < next ? stream : next;
}

void chi_js_missed(struct chi_js *js)
{
    chi_js_feed_missed(js);
}

/* -------------------------------------------------------------------------------------- showing */

static void pass_over(struct chi_js *js, uint64_t seq)
{
    js->news.passed++;
    js->news.passed_last = seq;
}

/* The room's newest is this from now on. What is before it is what was shown before it, also where
 * that is a tombstone, which the server passes over, or where the server was not asked. */
static uint64_t move_top(struct chi_js_top *top, uint64_t seq, uint64_t prev,
                         const struct chi_js_hint *hint)
{
    if (prev == CHI_JS_PREV_UNKNOWN && top && top->known && top->position < seq)
        prev = top->position;
    else if (prev == CHI_JS_PREV_UNKNOWN)
        prev = hint->before < seq ? hint->before : 0;
    if (!top)
        return prev;
    if (top->position > prev && top->position < seq)
        prev = top->position;
    if (top->position < seq) {
        top->position = seq;
        top->hint = *hint;
        top->known = true;
    }
    return prev;
}

/* Whatever needs memory comes first: what is shown is shown once. */
static int show_entry(struct chi_js *js, uint64_t seq, uint64_t prev, struct chi_span data)
{
    struct chi_span key = {js->key.at, js->key.len};
    struct chi_js_top *top = chi_map_get(js->tops, key.at, key.len);
    struct chi_js_record record;
    if (top && !js->spare)
        js->spare = chi_js_task_new(CHI_JS_ENTRY);
    if (top && !js->spare)
        return CHATHUB_ENOMEM;
    if (top) {
        chi_buf_truncate(&js->spare->bytes, 0);
        chi_buf_add(&js->spare->bytes, key.at, key.len);
    }
    if (top && js->spare->bytes.failed)
        return CHATHUB_ENOMEM;
    int error = chi_js_read_entry(data, &record);
    if (error == CHATHUB_EREQUEST)
        pass_over(js, seq);
    if (error)
        return error == CHATHUB_EREQUEST ? 0 : error;

    record.entry->position = seq;
    record.entry->prev = move_top(top, seq, prev, &record.hint);
    bool ours = chi_js_posts_seen(js, key, &record);
    if (ours || !top) {
        chi_entry_unref(record.entry);
        return 0;
    }
    struct chi_js_task *task = js->spare;
    js->spare = NULL;
    task->entry = record.entry;
    task->position = seq;
    chi_js_give(js, task);
    return 0;
}

static int show_room(struct chi_js *js, uint64_t seq, uint64_t prev, struct chi_span token,
                     struct chi_span data)
{
    chi_buf_truncate(&js->key, 0);
    int error = chi_js_room_key(&js->key, token);
    if (js->key.failed)
        return CHATHUB_ENOMEM;
    if (!error)
        return show_entry(js, seq, prev, data);
    pass_over(js, seq);
    return 0;
}

int chi_js_show(struct chi_js *js, uint64_t seq, uint64_t prev, struct chi_span subject,
                struct chi_span data)
{
    static const struct chi_span room = {"room.", 5}, erased = {"erased.", 7};
    int error = 0;
    if (subject.len > room.len && !memcmp(subject.at, room.at, room.len)) {
        struct chi_span token = {subject.at + room.len, subject.len - room.len};
        error = show_room(js, seq, prev, token, data);
    } else if (chi_span_is(subject, "epoch")) {
        chi_js_stream_epoch(js, seq, data);
    } else if (subject.len > erased.len && !memcmp(subject.at, erased.at, erased.len)) {
        chi_js_erase_seen(js, seq, data);
    } else if (!chi_span_is(subject, "check")) { /* stream.c's, without meaning */
        pass_over(js, seq);
    }
    if (!error)
        chi_js_stream_sample(js, seq, data);
    return error;
}
