/* What the stream sends on, brought into the order of sequences without a hole.
 *
 * Happy path: a live message is the one behind the last that was shown, and is shown without being
 * kept. Failure modes: one is missing (a later one came, or the stream is known to be longer): what
 * comes meanwhile waits, and after a moment, in which it may still come by itself, the missing ones
 * are asked for by sequence, many at once; where many are missing of a stream with one copy they are
 * read by a walk. One that
 * is not there any more was said to be missing twice, and once of these by the leader's answer to
 * "what is the first from here on", which shows that it has later ones. Memory short: what could not
 * be kept is a hole again, what could not be shown is shown in a later round. */
#include <stdio.h>
#include <stdlib.h>

#include "chathub.h"
#include "log/jetstream/js.h"
#include "util/list.h"

/* Bounds of what waits: sequences behind the newest that was shown, and bytes. */
#define WINDOW     8192u
#define WAIT_BYTES (32u << 20)
/* ms in which a message may still come before it is asked for; and after an error. */
#define GRACE_MS 20u
#define CALM_MS  200u
#define STUCK_MS 10u
#define ASK_MS   2000u
/* Asked for at once, and how far ahead; where more are missing, they are walked through. */
#define HOLES     64u
#define AHEAD     1024u
#define MANY      256u
#define WALK_MOST 4096u
/* How often a message was said to be gone before it is passed over. */
#define GONE 2u

struct kept {
    uint64_t seq;
    uint64_t prev;        /* CHI_JS_PREV_UNKNOWN is possible */
    uint32_t subject_len; /* of the bytes … */
    uint32_t data_len;    /* … in this order */
    char bytes[];
};

/* Of one sequence behind what was shown. */
struct place {
    struct kept *kept; /* owned; NULL: it is missing */
    uint8_t gone;      /* times that it was said to be gone */
    bool asked;        /* a request for it is under way */
};

/* A request for one sequence. */
struct hole {
    struct chi_js_ask ask;
    struct chi_js_feed *feed;
    uint64_t seq;
    bool onward; /* the first message from there on is asked for */
};

struct chi_js_feed {
    struct chi_js *js;
    uint64_t shown; /* nothing up to it is to be shown any more */
    uint64_t tail;  /* newest that the stream is known to hold */
    uint64_t first; /* the stream holds nothing below it */
    size_t bytes;   /* that wait */
    bool paused;
    bool started;       /* `shown` is more than where the first message stood */
    uint64_t stuck;     /* when what could not be shown is tried again; 0: nothing */
    uint64_t look;      /* when it is looked for what is missing; UINT64_MAX: nothing is … */
    uint64_t look_tail; /* … up to here */
    uint64_t calm;      /* nothing is asked for before */
    uint64_t no_walk;   /* no walk before: the last one found nothing */
    bool walking;
    struct chi_js_walk walk;
    uint64_t walked; /* sequence up to which it came */
    struct hole holes[HOLES];
    struct place places[WINDOW]; /* of sequence s: s % WINDOW */
};

static struct place *place_of(struct chi_js_feed *feed, uint64_t seq)
{
    return &feed->places[seq % WINDOW];
}

static bool within(const struct chi_js_feed *feed, uint64_t seq)
{
    return seq > feed->shown && seq - feed->shown <= WINDOW;
}

static bool is_missing(const struct place *place)
{
    return !place->kept && place->gone < GONE;
}

static size_t size_of(const struct kept *kept)
{
    return sizeof *kept + kept->subject_len + kept->data_len;
}

static void clear(struct chi_js_feed *feed, struct place *place)
{
    if (place->kept)
        feed->bytes -= size_of(place->kept);
    free(place->kept);
    *place = (struct place){0};
}

static bool is_behind(const struct chi_js_feed *feed)
{
    return !feed->paused && feed->shown < feed->tail;
}

/* While something is missing it is looked for again and again. */
static void watch(struct chi_js_feed *feed)
{
    if (!is_behind(feed)) {
        feed->look = UINT64_MAX;
    } else if (feed->look == UINT64_MAX) {
        feed->look = feed->js->now + GRACE_MS;
        feed->look_tail = feed->tail;
    }
}

/* -------------------------------------------------------------------------------------- showing */

static bool show(struct chi_js_feed *feed, uint64_t seq, uint64_t prev, struct chi_span subject,
                 struct chi_span data)
{
    int error = chi_js_show(feed->js, seq, prev, subject, data);
    feed->stuck = error ? feed->js->now + STUCK_MS : 0;
    return !error;
}

static void pass(struct chi_js_feed *feed)
{
    clear(feed, place_of(feed, ++feed->shown));
}

static bool show_kept(struct chi_js_feed *feed, const struct kept *kept)
{
    struct chi_span subject = {kept->bytes, kept->subject_len},
                    data = {kept->bytes + kept->subject_len, kept->data_len};
    return show(feed, kept->seq, kept->prev, subject, data);
}

/* Shows what is next, as long as it is there. It may be paused from within. */
static void drain(struct chi_js_feed *feed)
{
    while (!feed->paused && !feed->stuck) {
        struct place *next = place_of(feed, feed->shown + 1);
        if (next->kept) {
            if (show_kept(feed, next->kept))
                pass(feed);
        } else if (next->gone >= GONE || feed->shown + 1 < feed->first) {
            pass(feed);
        } else {
            break;
        }
    }
    watch(feed);
}

static void keep(struct chi_js_feed *feed, uint64_t seq, uint64_t prev, struct chi_span subject,
                 struct chi_span data)
{
    struct place *place = place_of(feed, seq);
    size_t size = sizeof(struct kept) + subject.len + data.len;
    if (place->kept || (feed->bytes + size > WAIT_BYTES && seq != feed->shown + 1))
        return;
    struct kept *kept = malloc(size);
    if (!kept)
        return;
    *kept = (struct kept){seq, prev, (uint32_t)subject.len, (uint32_t)data.len};
    memcpy(kept->bytes, subject.at, subject.len);
    if (data.len)
        memcpy(kept->bytes + subject.len, data.at, data.len);
    place->kept = kept;
    feed->bytes += size;
}

/* A message, whichever way it came. What does not fit is a part of the hole. */
static void put(struct chi_js_feed *feed, uint64_t seq, uint64_t prev, struct chi_span subject,
                struct chi_span data)
{
    if (seq > feed->tail)
        feed->tail = seq;
    if (seq == feed->shown + 1 && !feed->paused && !feed->stuck &&
        show(feed, seq, prev, subject, data)) {
        pass(feed);
        drain(feed);
        return;
    }
    if (within(feed, seq))
        keep(feed, seq, prev, subject, data);
    watch(feed);
}

/* ---------------------------------------------------------------------- what is missing: a walk */

static void ask_more(struct chi_js_feed *feed);

/* From `from` on there is nothing before `to`. Other servers than the leader are believed once. */
static void said_gone(struct chi_js_feed *feed, uint64_t from, uint64_t to, bool leader)
{
    for (uint64_t seq = from > feed->shown ? from : feed->shown + 1; seq < to && within(feed, seq);
         seq++) {
        struct place *place = place_of(feed, seq);
        if (!place->gone || (leader && place->gone < GONE))
            place->gone++;
    }
}

/* A server that is behind has no later ones either: what it leaves out in between is gone. */
static void walked(struct chi_js_walk *walk, const struct chi_js_in *in)
{
    struct chi_js_feed *feed = CHI_CONTAINER(walk, struct chi_js_feed, walk);
    said_gone(feed, feed->walked + 1, in->seq, false);
    feed->walked = in->seq;
    if (in->seq > feed->shown && !within(feed, in->seq)) {
        chi_js_walk_end(walk);
        feed->walking = false;
        watch(feed);
        return;
    }
    put(feed, in->seq, CHI_JS_PREV_UNKNOWN, in->subject, in->data);
}

static void walk_done(struct chi_js_walk *walk, int status, bool whole)
{
    struct chi_js_feed *feed = CHI_CONTAINER(walk, struct chi_js_feed, walk);
    (void)whole;
    feed->walking = false;
    if (status || !walk->given)
        feed->no_walk = feed->js->now + 2 * CALM_MS;
    watch(feed);
}

static bool are_many(struct chi_js_feed *feed)
{
    uint64_t missing = 0, seq = feed->shown + 1;
    for (; seq <= feed->look_tail && within(feed, seq) && missing <= MANY; seq++) {
        const struct place *place = place_of(feed, seq);
        missing += !place->kept && !place->gone;
    }
    return missing > MANY;
}

static void walk(struct chi_js_feed *feed)
{
    struct chi_span all = {NULL, 0};
    feed->walk.each = walked;
    feed->walk.done = walk_done;
    feed->walk.limit = WALK_MOST;
    feed->walk.bytes = WAIT_BYTES / 2;
    feed->walked = feed->shown;
    feed->walking = true; /* it may be done at once */
    if (chi_js_walk_begin(feed->js, &feed->walk, all, feed->shown + 1, 0)) {
        feed->walking = false;
        feed->no_walk = feed->js->now + 2 * CALM_MS;
    }
}

/* ------------------------------------------------------------------- what is missing: by sequence */

static void calm_down(struct chi_js_feed *feed)
{
    feed->calm = feed->js->now + CALM_MS;
}

static bool strip(const struct chi_js *js, struct chi_span *subject)
{
    size_t name = strlen(js->parts.stream), len = name + 4;
    if (subject->len <= len || memcmp(subject->at, js->parts.stream, name) != 0 ||
        memcmp(subject->at + name, ".in.", 4) != 0)
        return false;
    *subject = (struct chi_span){subject->at + len, subject->len - len};
    return true;
}

static void found(struct chi_js_feed *feed, uint64_t asked, bool onward,
                  const struct chi_js_answer *answer)
{
    struct chi_span subject = {answer->subject.at, answer->subject.len},
                    data = {answer->data.at, answer->data.len};
    if (answer->seq < asked || (!onward && answer->seq > asked) || !strip(feed->js, &subject)) {
        calm_down(feed);
        return;
    }
    if (onward)
        said_gone(feed, asked, answer->seq, true);
    if (answer->seq > feed->shown)
        put(feed, answer->seq, CHI_JS_PREV_UNKNOWN, subject, data);
}

/* The leader has it no more; or, asked for the first from there on, nothing at all. */
static void nothing(struct chi_js_feed *feed, uint64_t asked, bool onward)
{
    if (!within(feed, asked))
        return;
    struct place *place = place_of(feed, asked);
    if (onward)
        calm_down(feed);
    else if (!place->gone)
        place->gone = 1;
}

/* Whether it could be read, and what it says. */
static void read_answer(struct chi_js_feed *feed, uint64_t asked, bool onward, struct chi_span data)
{
    struct chi_js_answer answer;
    int error = chi_js_read_answer(data, feed->js->parts.stream, &answer);
    if (!error && !answer.code) {
        found(feed, asked, onward, &answer);
    } else if (!error && answer.err_code == CHI_JS_NO_MESSAGE) {
        nothing(feed, asked, onward);
    } else {
        calm_down(feed);
        if (!error && answer.err_code == CHI_JS_NO_STREAM)
            chi_js_stream_doubt(feed->js);
    }
    chi_js_answer_fini(&answer);
}

static void hole_answered(struct chi_js_ask *ask, const struct chi_js_in *in)
{
    struct hole *hole = CHI_CONTAINER(ask, struct hole, ask);
    struct chi_js_feed *feed = hole->feed;
    chi_js_ask_end(ask);
    if (within(feed, hole->seq))
        place_of(feed, hole->seq)->asked = false;
    if (in && !in->status)
        read_answer(feed, hole->seq, hole->onward, in->data);
    else
        calm_down(feed);
    if (in && in->status == 503)
        chi_js_stream_doubt(feed->js);
    drain(feed);
    ask_more(feed);
}

static bool ask_hole(struct chi_js_feed *feed, struct hole *hole, uint64_t seq)
{
    char subject[128];
    struct place *place = place_of(feed, seq);
    struct chi_buf data;
    chi_buf_init(&data);
    hole->feed = feed;
    hole->seq = seq;
    hole->onward = place->gone > 0;
    hole->ask.answer = hole_answered;
    snprintf(subject, sizeof(subject), "%s.in.>", feed->js->parts.stream);
    if (hole->onward)
        chi_js_ask_next(&data, seq, chi_span_of(subject));
    else
        chi_js_ask_get(&data, seq);
    place->asked = !chi_js_ask(feed->js, &hole->ask, "STREAM.MSG.GET", &data, ASK_MS);
    if (!place->asked)
        calm_down(feed);
    return place->asked;
}

static struct hole *free_hole(struct chi_js_feed *feed)
{
    for (uint32_t i = 0; i < HOLES; i++)
        if (!feed->holes[i].ask.js)
            return &feed->holes[i];
    return NULL;
}

/* What was said to be gone once is asked for onward: one answer for all that lie together. While a
 * walk is under way it brings the others. */
static void ask_more(struct chi_js_feed *feed)
{
    bool after_gone = false;
    if (feed->paused || feed->js->now < feed->calm)
        return;
    for (uint64_t seq = feed->shown + 1; seq <= feed->look_tail && seq - feed->shown <= AHEAD;
         seq++) {
        const struct place *place = place_of(feed, seq);
        bool gone = is_missing(place) && place->gone;
        bool wanted =
            is_missing(place) && !place->asked && (place->gone ? !after_gone : !feed->walking);
        after_gone = gone;
        if (!wanted)
            continue;
        struct hole *hole = free_hole(feed);
        if (!hole || !ask_hole(feed, hole, seq))
            return;
    }
}

static void look(struct chi_js_feed *feed)
{
    feed->look = UINT64_MAX;
    if (!is_behind(feed))
        return;
    /* A walk may be served by another copy than the leader's, which can differ for a while. */
    bool one_copy = chi_js_stream_replicas(feed->js) <= 1;
    if (one_copy && !feed->walking && feed->js->now >= feed->no_walk && are_many(feed))
        walk(feed);
    ask_more(feed);
    watch(feed);
}

/* ----------------------------------------------------------------------------------- its states */

int chi_js_feed_new(struct chi_js *js)
{
    struct chi_js_feed *feed = calloc(1, sizeof *feed);
    if (!feed)
        return CHATHUB_ENOMEM;
    feed->js = js;
    feed->paused = true;
    feed->look = UINT64_MAX;
    js->feed = feed;
    return 0;
}

void chi_js_feed_pause(struct chi_js *js)
{
    struct chi_js_feed *feed = js->feed;
    feed->paused = true;
    feed->look = UINT64_MAX;
    feed->look_tail = 0;
    if (feed->walking)
        chi_js_walk_end(&feed->walk);
    feed->walking = false;
    for (uint32_t i = 0; i < HOLES; i++)
        chi_js_ask_end(&feed->holes[i].ask);
    for (uint32_t i = 0; i < WINDOW; i++)
        feed->places[i].asked = false;
}

void chi_js_feed_free(struct chi_js *js)
{
    struct chi_js_feed *feed = js->feed;
    if (!feed)
        return;
    chi_js_feed_pause(js);
    for (uint32_t i = 0; i < WINDOW; i++)
        clear(feed, &feed->places[i]);
    free(feed);
    js->feed = NULL;
}

/* `shown` is another one: what waits goes. */
static void move_to(struct chi_js_feed *feed, uint64_t shown)
{
    feed->shown = shown;
    for (uint32_t i = 0; i < WINDOW; i++)
        clear(feed, &feed->places[i]);
}

/* Goes on; `last` and what waits say how far the stream reaches. */
static void go_on(struct chi_js_feed *feed, uint64_t last)
{
    feed->paused = false;
    feed->stuck = feed->calm = feed->no_walk = 0;
    feed->tail = last;
    for (uint32_t i = 0; i < WINDOW; i++) {
        const struct kept *kept = feed->places[i].kept;
        if (kept && kept->seq > feed->tail)
            feed->tail = kept->seq;
    }
    drain(feed);
}

/* As `resume`: what came before may be of a stream that is no more. */
void chi_js_feed_start(struct chi_js *js, uint64_t shown)
{
    struct chi_js_feed *feed = js->feed;
    chi_js_feed_pause(js);
    move_to(feed, shown);
    feed->started = true;
    feed->first = 0;
    go_on(feed, shown);
}

/* What waits came before the check, over another connection even: the stream may have been put back since,
 * and hold other messages there. It is read again. */
void chi_js_feed_resume(struct chi_js *js, uint64_t last)
{
    move_to(js->feed, js->feed->shown);
    go_on(js->feed, last);
}

/* ------------------------------------------------------------------------------- what it is told */

void chi_js_feed_heard(struct chi_js *js, const struct chi_js_in *in)
{
    struct chi_js_feed *feed = js->feed;
    if (!feed->started && !feed->shown && in->seq)
        feed->shown = in->seq - 1;
    if (in->seq > feed->shown)
        put(feed, in->seq, in->last, in->subject, in->data);
    else if (feed->started)
        chi_js_stream_again(js, in->seq, in->data);
}

void chi_js_feed_tail(struct chi_js *js, uint64_t seq)
{
    struct chi_js_feed *feed = js->feed;
    if (feed->paused || seq <= feed->tail)
        return;
    feed->tail = seq;
    watch(feed);
}

/* Nothing but what waits is shown of what lies below. */
void chi_js_feed_kept(struct chi_js *js, uint64_t first)
{
    struct chi_js_feed *feed = js->feed;
    if (feed->paused || first <= feed->first)
        return;
    feed->first = first;
    if (first > feed->tail + 1)
        feed->tail = first - 1;
    if (first > feed->shown + 1 + WINDOW && !feed->bytes)
        move_to(feed, first - 1 - WINDOW);
    drain(feed);
    watch(feed);
}

uint64_t chi_js_feed_shown(const struct chi_js *js)
{
    return js->feed->started ? js->feed->shown : 0;
}

void chi_js_feed_round(struct chi_js *js)
{
    struct chi_js_feed *feed = js->feed;
    if (feed->stuck && js->now >= feed->stuck) {
        feed->stuck = 0;
        drain(feed);
    }
    if (js->now >= feed->look)
        look(feed);
}

uint64_t chi_js_feed_due(const struct chi_js *js)
{
    const struct chi_js_feed *feed = js->feed;
    return feed->stuck && feed->stuck < feed->look ? feed->stuck : feed->look;
}

void chi_js_feed_missed(struct chi_js *js)
{
    struct chi_js_feed *feed = js->feed;
    if (is_behind(feed)) {
        feed->look = js->now;
        feed->look_tail = feed->tail;
    }
}
