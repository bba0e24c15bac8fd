#include "log/jetstream/posts.h"

#include "chathub.h"
#include "util/list.h"

/* For the leader's answer; between looks at a server that is behind; here and below ms. */
#define ASK_MS  3000u
#define STEP_MS 50u
/* From one load that fails to the next, and where there was no memory. */
#define AGAIN_MS 1000u
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
    chi_cids_init(&known->fresh, js->parts.secrets);
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
    chi_cids_fini(&known->fresh);
}

void chi_js_known_clear(struct chi_js_known *known)
{
    chi_js_known_fini(known);
    known->loaded = known->begun = false;
    known->at = known->js->now;
}

static void read_anew(struct chi_js_known *known)
{
    chi_js_known_clear(known);
    known->at = known->js->now + AGAIN_MS;
}

/* ---------------------------------------------------------------------------------- the index */

/* Beyond the bound the oldest go. */
static void keep_bound(struct chi_js_known *known)
{
    uint64_t most = known->js->orders.bounds.cids;
    while ((uint64_t)known->cids.count + known->fresh.count > most) {
        chi_cids_drop(known->cids.count ? &known->cids : &known->fresh, 1);
        known->short_of = most;
    }
}

/* They are kept by age: what another node's clock dates back is as old as the one before it. */
static int put(struct chi_cids *to, struct chi_cid cid)
{
    if (chi_cids_find(to, &cid))
        return 0;
    uint32_t least = to->count ? chi_cids_at(to, to->count - 1)->since : 0;
    cid.since = cid.since > least ? cid.since : least;
    return chi_cids_add(to, &cid);
}

/* What the feed shows before a load began is read by it. */
static void add(struct chi_js_known *known, struct chi_cids *to, struct chi_span key,
                const struct chi_entry *entry, uint64_t since)
{
    if (!entry->cid_len || (!known->loaded && !known->begun))
        return;
    struct chi_cid cid = chi_cids_of(to, key, entry);
    cid.position = entry->position;
    cid.time = entry->time;
    cid.since = (uint32_t)(since / 1000);
    if (put(to, cid))
        read_anew(known);
    else
        keep_bound(known);
}

void chi_js_known_add(struct chi_js_known *known, struct chi_span key,
                      const struct chi_entry *entry, uint64_t since)
{
    add(known, known->loaded ? &known->cids : &known->fresh, key, entry, since);
}

const struct chi_cid *chi_js_known_find(const struct chi_js_known *known, struct chi_span key,
                                        const struct chi_entry *draft, bool *same)
{
    struct chi_cid cid = chi_cids_of(&known->cids, key, draft);
    const struct chi_cid *first = chi_cids_find(&known->cids, &cid);
    *same = first && first->content == cid.content;
    return first;
}

static void load(struct chi_js_known *known);

void chi_js_known_round(struct chi_js_known *known)
{
    uint64_t now = known->js->now;
    if (now > horizon(known))
        chi_cids_expire(&known->cids, (uint32_t)((now - horizon(known)) / 1000));
    bool wanted = !known->loaded && !known->loading && known->js->state == CHI_JS_UP;
    if (wanted && now >= known->at)
        load(known);
}

/* -------------------------------------------------------------------------------- reading them */

/* What the feed showed meanwhile goes behind what was read. */
static int join(struct chi_js_known *known)
{
    for (uint32_t i = 0; i < known->fresh.count; i++)
        if (put(&known->cids, *chi_cids_at(&known->fresh, i)))
            return CHATHUB_ENOMEM;
    chi_cids_fini(&known->fresh);
    return 0;
}

static void finish(struct chi_js_known *known, int status)
{
    stop_loading(known);
    if (status)
        return;
    known->loaded = true;
    if (join(known))
        read_anew(known);
}

static void step_in(struct chi_js_known *known, uint64_t ms)
{
    if (chi_timers_set(&known->js->timers, &known->timer, known->js->now + ms))
        finish(known, CHATHUB_ENOMEM);
}

/* What time it is, for the ages of what is read. Where this node's clock is beyond what the server
 * stored last, either nothing came since or it runs ahead, and nothing is left out for that. */
static uint64_t wall(const struct chi_js_known *known)
{
    uint64_t own = known->js->orders.wall;
    return known->newest && known->newest < own ? known->newest : own;
}

static void remember(struct chi_js_known *known, struct chi_span key, struct chi_js_record *record,
                     uint64_t seq)
{
    const struct chi_js *js = known->js;
    uint64_t time = record->entry->time;
    uint64_t age = wall(known) > time ? wall(known) - time : 0;
    record->entry->position = seq;
    add(known, &known->cids, key, record->entry, js->now > age ? js->now - age : 0);
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
    chi_buf_fini(&key);
    if (error == CHATHUB_ENOMEM)
        read_anew(known);
}

static void walked(struct chi_js_walk *walk, const struct chi_js_in *in)
{
    struct chi_js_known *known = CHI_CONTAINER(walk, struct chi_js_known, walk);
    if (in->seq <= known->last)
        take_in(known, in);
    if (!known->begun)
        return; /* it is read anew, for want of memory */
    known->reached = in->seq;
    if (in->seq >= known->last || in->seq >= known->target)
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
    uint64_t time = chi_log_since(chi_log_since(wall(known), horizon(known)), SLACK_MS);
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
    known->newest = some ? answer.time : 0;
    chi_js_answer_fini(&answer);
    if (known->target > known->reached)
        walk_on(known);
    else
        finish(known, none || some ? 0 : CHATHUB_ELOG);
}

static void step(struct chi_timer *timer)
{
    struct chi_js_known *known = CHI_CONTAINER(timer, struct chi_js_known, timer);
    struct chi_buf rooms, data;
    chi_buf_init(&rooms);
    chi_buf_init(&data);
    chi_buf_add_text(&rooms, known->js->parts.stream);
    chi_buf_add_text(&rooms, ".in.room.>");
    chi_js_ask_last(&data, (struct chi_span){rooms.at, rooms.len});
    known->ask.answer = newest_came;
    data.failed |= rooms.failed;
    chi_buf_fini(&rooms);
    if (chi_js_ask(known->js, &known->ask, "STREAM.MSG.GET", &data, ASK_MS))
        finish(known, CHATHUB_ELOG);
}

/* Where an earlier one failed it goes on. */
static void load(struct chi_js_known *known)
{
    if (!known->begun) {
        known->begun = true;
        known->last = chi_js_feed_shown(known->js);
        known->reached = known->target = 0;
    }
    known->at = known->js->now + AGAIN_MS;
    known->loading = true;
    step(&known->timer);
}
