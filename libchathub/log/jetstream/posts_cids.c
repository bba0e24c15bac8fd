#include "log/jetstream/posts.h"

#include <stdio.h>

#include "chathub.h"
#include "util/list.h"

/* For the leader's answer; between looks at a server that is behind; here and below ms. */
#define ASK_MS  3000u
#define STEP_MS 50u
/* What the feed showed could not be remembered: so long until all is read anew. */
#define ANEW_MS 1000u
/* The stream is read from so much further back: its server's clock is not ours. */
#define SLACK_MS 120000u

static void step(struct chi_timer *timer);
static void walked(struct chi_js_walk *walk, const struct chi_js_in *in);
static void walk_done(struct chi_js_walk *walk, int status, bool whole);

static uint64_t horizon(const struct chi_js_known *known)
{
    return known->js->orders.bounds.cid_horizon;
}

void chi_js_known_init(struct chi_js_known *known, struct chi_js *js)
{
    known->js = js;
    chi_cids_init(&known->cids, js->parts.secrets);
    known->timer.fire = step;
    known->walk.each = walked;
    known->walk.done = walk_done;
    known->walk.limit = known->walk.bytes = UINT32_MAX;
}

static void stop_loading(struct chi_js_known *known)
{
    known->loading = false;
    chi_timers_clear(&known->js->timers, &known->timer);
    chi_js_ask_end(&known->ask);
    chi_js_walk_end(&known->walk);
}

void chi_js_known_fini(struct chi_js_known *known)
{
    stop_loading(known);
    chi_cids_fini(&known->cids);
}

void chi_js_known_clear(struct chi_js_known *known)
{
    chi_js_known_fini(known);
    known->loaded = false;
    known->lacking = true;
    known->at = known->js->now;
}

/* ---------------------------------------------------------------------------------- the index */

/* They are kept by age: what a walk brings late, or another node's clock dates back, is as old as the
 * one before it. */
static uint32_t seconds(const struct chi_cids *cids, uint64_t since)
{
    uint32_t s = (uint32_t)(since / 1000);
    uint32_t least = cids->count ? chi_cids_at(cids, cids->count - 1)->since : 0;
    return s > least ? s : least;
}

void chi_js_known_add(struct chi_js_known *known, struct chi_span key,
                      const struct chi_entry *entry, uint64_t since)
{
    if (!entry->cid_len)
        return;
    struct chi_cid cid = chi_cids_of(&known->cids, key, entry);
    if (chi_cids_find(&known->cids, &cid))
        return;
    cid.position = entry->position;
    cid.time = entry->time;
    cid.since = seconds(&known->cids, since);
    if (chi_cids_add(&known->cids, &cid)) {
        known->loaded = false;
        known->lacking = true;
        known->at = known->js->now + ANEW_MS;
    }
}

const struct chi_cid *chi_js_known_find(const struct chi_js_known *known, struct chi_span key,
                                        const struct chi_entry *draft, bool *same)
{
    struct chi_cid cid = chi_cids_of(&known->cids, key, draft);
    const struct chi_cid *first = chi_cids_find(&known->cids, &cid);
    *same = first && first->content == cid.content;
    return first;
}

uint64_t chi_js_known_full(const struct chi_js_known *known)
{
    if (!known->cids.count || known->cids.count < known->js->orders.bounds.cids)
        return 0;
    uint64_t ends = (chi_cids_at(&known->cids, 0)->since + 1ull) * 1000 + horizon(known);
    return ends > known->js->now ? ends - known->js->now : 1;
}

void chi_js_known_round(struct chi_js_known *known)
{
    uint64_t now = known->js->now;
    if (now > horizon(known))
        chi_cids_expire(&known->cids, (uint32_t)((now - horizon(known)) / 1000));
    bool again = known->lacking && !known->loading && known->js->state == CHI_JS_UP;
    if (!again || now < known->at)
        return;
    known->at = now + ANEW_MS;
    chi_js_known_load(known, chi_js_feed_shown(known->js), NULL);
}

/* -------------------------------------------------------------------------------- reading them */

static void finish(struct chi_js_known *known, int status)
{
    if (known->lacking)
        status = CHATHUB_ELOG;
    stop_loading(known);
    known->loaded = !status;
    known->lacking = status && !known->done; /* then nobody else begins it again */
    if (known->done)
        known->done(known->js, status);
}

static void step_in(struct chi_js_known *known, uint64_t ms)
{
    if (chi_timers_set(&known->js->timers, &known->timer, known->js->now + ms))
        finish(known, CHATHUB_ELOG);
}

/* What is older than the horizon is left out; a clock that runs ahead makes nothing older. */
static bool is_old(const struct chi_js_known *known, uint64_t time)
{
    return time < chi_log_since(known->js->orders.wall, horizon(known));
}

static void remember(struct chi_js_known *known, struct chi_span key, struct chi_js_record *record,
                     uint64_t seq)
{
    const struct chi_js *js = known->js;
    uint64_t time = record->entry->time;
    uint64_t age = js->orders.wall > time ? js->orders.wall - time : 0;
    record->entry->position = seq;
    if (!is_old(known, time))
        chi_js_known_add(known, key, record->entry, js->now > age ? js->now - age : 0);
}

/* A message of a room. Others than entries that can be read are passed over: nobody is shown them. */
static void take_in(struct chi_js_known *known, const struct chi_js_in *in)
{
    const struct chi_span room = CHI_SPAN("room.");
    struct chi_js_record record;
    struct chi_buf key;
    int error = CHATHUB_EREQUEST;
    chi_buf_init(&key);
    if (in->subject.len > room.len)
        error = chi_js_room_key(
            &key, (struct chi_span){in->subject.at + room.len, in->subject.len - room.len});
    if (!error)
        error = chi_js_read_entry(in->data, &record);
    if (!error) {
        remember(known, (struct chi_span){key.at, key.len}, &record, in->seq);
        chi_entry_unref(record.entry);
    }
    if (error == CHATHUB_ENOMEM)
        known->lacking = true;
    chi_buf_fini(&key);
}

static void walked(struct chi_js_walk *walk, const struct chi_js_in *in)
{
    struct chi_js_known *known = CHI_CONTAINER(walk, struct chi_js_known, walk);
    if (in->seq <= known->last)
        take_in(known, in);
    known->reached = in->seq;
    if (known->lacking)
        finish(known, CHATHUB_ELOG);
    else if (in->seq >= known->last || in->seq >= known->target)
        finish(known, 0);
}

static void walk_done(struct chi_js_walk *walk, int status, bool whole)
{
    struct chi_js_known *known = CHI_CONTAINER(walk, struct chi_js_known, walk);
    if (status || (whole && known->reached >= known->target))
        finish(known, status);
    else
        step_in(known, STEP_MS);
}

static void walk_on(struct chi_js_known *known)
{
    uint64_t wall = known->js->orders.wall;
    uint64_t time = chi_log_since(chi_log_since(wall, horizon(known)), SLACK_MS);
    struct chi_buf subject;
    chi_buf_init(&subject);
    chi_buf_add_text(&subject, known->js->parts.stream);
    chi_buf_add_text(&subject, ".in.room.>");
    int error = subject.failed;
    if (!error)
        error =
            chi_js_walk_begin(known->js, &known->walk, (struct chi_span){subject.at, subject.len},
                              known->reached ? known->reached + 1 : 0, time);
    chi_buf_fini(&subject);
    if (error)
        finish(known, CHATHUB_ELOG);
}

/* Whether the newest message of all rooms is one that has to be read. */
static bool is_wanted(const struct chi_js_known *known, const struct chi_js_answer *newest)
{
    struct chi_js_record record;
    if (chi_js_read_entry((struct chi_span){newest->data.at, newest->data.len}, &record))
        return true;
    bool old = is_old(known, record.entry->time);
    chi_entry_unref(record.entry);
    return !old;
}

static void newest_came(struct chi_js_ask *ask, const struct chi_js_in *in)
{
    struct chi_js_known *known = CHI_CONTAINER(ask, struct chi_js_known, ask);
    struct chi_js_answer answer;
    if (!in || in->status) {
        finish(known, CHATHUB_ELOG);
        return;
    }
    chi_js_ask_end(ask);
    int error = chi_js_read_answer(in->data, known->js->parts.stream, &answer);
    bool none = !error && answer.err_code == CHI_JS_NO_MESSAGE;
    bool some = !error && !answer.code && answer.seq;
    known->target = some ? answer.seq : 0;
    bool wanted = some && answer.seq > known->reached && is_wanted(known, &answer);
    chi_js_answer_fini(&answer);
    if (wanted)
        walk_on(known);
    else
        finish(known, none || some ? 0 : CHATHUB_ELOG);
}

static void step(struct chi_timer *timer)
{
    struct chi_js_known *known = CHI_CONTAINER(timer, struct chi_js_known, timer);
    const char *stream = known->js->parts.stream;
    char subject[96];
    struct chi_buf rooms, data;
    chi_buf_init(&rooms);
    chi_buf_init(&data);
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.MSG.GET.%s", stream);
    chi_buf_add_text(&rooms, stream);
    chi_buf_add_text(&rooms, ".in.room.>");
    chi_js_ask_last(&data, (struct chi_span){rooms.at, rooms.len});
    known->ask.answer = newest_came;
    int error =
        rooms.failed || data.failed ||
        chi_js_ask(known->js, &known->ask, subject, (struct chi_span){data.at, data.len}, ASK_MS);
    chi_buf_fini(&rooms);
    chi_buf_fini(&data);
    if (error)
        finish(known, CHATHUB_ELOG);
}

int chi_js_known_load(struct chi_js_known *known, uint64_t last,
                      void (*done)(struct chi_js *js, int status))
{
    stop_loading(known);
    known->loaded = known->lacking = false;
    known->last = last;
    known->reached = known->target = 0;
    known->done = done;
    if (chi_timers_set(&known->js->timers, &known->timer, known->js->now))
        return CHATHUB_ENOMEM;
    known->loading = true;
    return 0;
}
