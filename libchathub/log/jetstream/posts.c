/* Posts on their way to the stream. posts.h: cids.
 *
 * Happy path: a post waits for its user's turn, is sent, its PubAck says at which sequence it is
 * stored, the feed shows that sequence with the post's nonce: it is answered, and the user's next one
 * goes. Whether the PubAck or the feed comes first, and whether the PubAck comes at all, is one.
 * Failure modes: no answer (sent again under the same id), a refusal that may pass (sent again, later
 * and later) or that will not (ELOG, if no earlier try may have been stored), a sequence that the feed
 * has passed under another nonce (a repeat), no end of it (ELOG or EUNKNOWN). Left as it is: a server
 * that stands still for longer than the stream's duplicate window, with a try in its hands, may store
 * that after a later try of the same post, which then is shown twice (its nonce is not remembered once
 * it is answered). */
#include "log/jetstream/posts.h"

#include <stdlib.h>

#include "chathub.h"
#include "util/list.h"

/* For an answer to a try; here and below ms. */
#define TRY_MS 2000u
/* Between a refusal and the next try. */
#define BACKOFF_MIN_MS 100u
#define BACKOFF_MAX_MS 1000u
/* What a poster is told to wait where nothing better is known. */
#define RETRY_MS 1000u
/* While the stream's duplicate window is not known: what the server takes by itself. */
#define WINDOW_MS 120000u
/* Tries that wait for their answers at once, in posts and bytes: with more, answers come so late
 * that all is sent twice. */
#define FLYING_MAX   2048u
#define FLYING_BYTES (8u << 20)
/* What the server counts to a message beside its data. */
#define HEADER_MAX 256u
/* What a server answers that knows of nobody who takes a subject. */
#define NO_RESPONDERS 503u

enum state {
    WAITING, /* for its user's turn */
    READY,   /* in posts->ready, or posts->unread */
    PAUSING, /* until `timer` */
    FLYING,  /* sent */
    STORED,  /* in posts->stored, until the feed came so far */
    LOOKING, /* asks what stands at `seq` */
};

/* A user's posts. */
struct lane {
    struct chi_link posts; /* by their `line`, in order: the first is on its way */
    uint32_t len;          /* of `user` */
    char user[];
};

struct post {
    struct chi_js_ask ask;  /* flying, looking */
    struct chi_timer timer; /* pausing */
    struct chi_link line;   /* in its lane */
    struct chi_link age;    /* in posts->all */
    struct chi_link list;   /* ready, stored */
    struct chi_js_posts *posts;
    struct lane *lane;        /* of its user */
    struct chi_js_task *task; /* owned; NULL: it is being answered */
    struct chi_js_hint hint;  /* of the first try, for all */
    uint64_t nonce;
    uint64_t until;   /* it is answered by now */
    uint64_t sent_at; /* newest try; 0: none */
    uint64_t seq;     /* where it, or the first of which it is a repeat, is stored; 0: not known */
    const char *why;  /* of the last refusal; static */
    uint32_t size;    /* flying: bytes */
    uint32_t refusals;
    enum state state;
    bool unsure; /* of an earlier try it is not known what became */
    char id[CHI_JS_ID_LEN + 1];
};

struct chi_js_posts {
    struct chi_js *js;
    struct chi_map *lanes;  /* by user */
    struct chi_map *nonces; /* posts by nonce */
    struct chi_link all;    /* the oldest first */
    struct chi_link ready;  /* to be sent, in order */
    struct chi_link unread; /* to be sent when the cids were read */
    struct chi_link stored; /* mostly in order of `seq` */
    struct chi_timer alarm; /* when the first of `all` is due: wakes, no more */
    struct chi_buf subject; /* of a try, while it is sent; as the next */
    struct chi_buf payload;
    uint64_t flying_bytes;
    uint32_t flying;
    struct chi_js_known known;
};

static void tried(struct chi_js_ask *ask, const struct chi_js_in *in);
static void looked(struct chi_js_ask *ask, const struct chi_js_in *in);
static void paused(struct chi_timer *timer);

static struct post *in_line(struct chi_link *line)
{
    return CHI_CONTAINER(line, struct post, line);
}

static struct post *in_age(struct chi_link *age)
{
    return CHI_CONTAINER(age, struct post, age);
}

static struct post *in_list(struct chi_link *list)
{
    return CHI_CONTAINER(list, struct post, list);
}

static uint64_t later(uint64_t now, uint64_t ms)
{
    return now > UINT64_MAX - ms ? UINT64_MAX : now + ms;
}

static uint64_t window(const struct chi_js *js)
{
    uint64_t ms = chi_js_stream_window(js);
    return ms ? ms : WINDOW_MS;
}

/* One try has time for its answer, and the last one is well within the duplicate window. */
static uint64_t hold(const struct chi_js *js)
{
    uint64_t ms = js->orders.hold > TRY_MS ? js->orders.hold : TRY_MS;
    return ms < window(js) / 2 ? ms : window(js) / 2;
}

/* ------------------------------------------------------------------------------- states, lanes */

/* Whatever it waited for, it waits for no more. */
static void move_to(struct post *post, enum state state)
{
    struct chi_js_posts *posts = post->posts;
    if (post->state == FLYING) {
        posts->flying--;
        posts->flying_bytes -= post->size;
    }
    chi_list_remove(&post->list);
    chi_timers_clear(&posts->js->timers, &post->timer);
    chi_js_ask_end(&post->ask);
    post->state = state;
}

static void make_ready(struct post *post)
{
    move_to(post, READY);
    chi_list_append(&post->posts->ready, &post->list);
}

static void lane_go(struct lane *lane)
{
    struct post *first = in_line(lane->posts.next);
    if (first->state == WAITING)
        make_ready(first);
}

static struct lane *lane_of(struct chi_js_posts *posts, struct chi_span user)
{
    struct lane *lane = chi_map_get(posts->lanes, user.at, user.len);
    if (lane)
        return lane;
    lane = malloc(sizeof(*lane) + user.len);
    if (!lane)
        return NULL;
    chi_list_init(&lane->posts);
    lane->len = (uint32_t)user.len;
    if (user.len)
        memcpy(lane->user, user.at, user.len);
    if (!chi_map_put(posts->lanes, lane->user, lane->len, lane))
        return lane;
    free(lane);
    return NULL;
}

static void lane_free(struct chi_js_posts *posts, struct lane *lane)
{
    chi_map_remove(posts->lanes, lane->user, lane->len);
    free(lane);
}

static void post_free(struct post *post)
{
    struct lane *lane = post->lane;
    struct chi_js_posts *posts = post->posts;
    bool first = lane->posts.next == &post->line;
    move_to(post, WAITING);
    chi_list_remove(&post->line);
    chi_list_remove(&post->age);
    chi_map_remove(posts->nonces, &post->nonce, sizeof(post->nonce));
    free(post);
    if (chi_list_empty(&lane->posts))
        lane_free(posts, lane);
    else if (first)
        lane_go(lane);
}

static struct post *post_new(struct chi_js_posts *posts, struct chi_js_task *task)
{
    struct post *post = calloc(1, sizeof(*post));
    if (!post)
        return NULL;
    post->nonce = task->nonce;
    post->lane = lane_of(posts, chi_entry_read(task->entry).user);
    if (!post->lane || chi_map_put(posts->nonces, &post->nonce, sizeof(post->nonce), post)) {
        if (post->lane && chi_list_empty(&post->lane->posts))
            lane_free(posts, post->lane);
        free(post);
        return NULL;
    }
    post->posts = posts;
    post->task = task;
    post->timer.fire = paused;
    post->until = later(posts->js->now, hold(posts->js));
    memcpy(post->id, task->id, sizeof(post->id));
    chi_list_append(&post->lane->posts, &post->line);
    chi_list_append(&posts->all, &post->age);
    return post;
}

/* ------------------------------------------------------------------------------------- answers */

static void refuse(struct chi_js *js, struct chi_js_task *task, int status, const char *why,
                   uint64_t retry_after)
{
    task->status = status;
    task->why = why;
    task->retry_after = retry_after;
    js->news.stats.failures++;
    chi_js_give(js, task);
}

static bool maybe_stored(const struct post *post)
{
    return post->unsure || post->seq || post->state == FLYING;
}

static const char *reason(const struct post *post)
{
    const struct chi_js *js = post->posts->js;
    if (js->state != CHI_JS_UP && js->news.why)
        return js->news.why;
    if (post->state <= READY && post->task->entry->cid_len && !post->posts->known.loaded)
        return "the cids in the stream are still being read, so that nothing is stored twice";
    return post->why ? post->why : "NATS did not answer in time";
}

/* Unknown, or surely not stored. Its user's next ones go on: one that is unknown may yet be stored,
 * then behind them, since a server that stands still may have it. To wait for that would silence its
 * user for the duplicate window. */
static void fail(struct post *post, const char *why, uint64_t retry_after)
{
    struct chi_js *js = post->posts->js;
    bool maybe = maybe_stored(post);
    struct chi_js_task *task = post->task;
    post->task = NULL;
    refuse(js, task, maybe ? CHATHUB_EUNKNOWN : CHATHUB_ELOG, why, retry_after);
    post_free(post);
}

/* Of a repeat: what it repeats is at `position`, or it says something else. */
static void repeats(struct post *post, bool same, uint64_t position, uint64_t time)
{
    struct chi_js_task *task = post->task;
    post->task = NULL;
    task->status = same ? CHATHUB_EDUP : CHATHUB_ECIDREUSED;
    task->position = position;
    task->time = time;
    chi_js_give(post->posts->js, task);
    post_free(post);
}

/* Answered, if the index knows its cid: then another post has it. */
static bool known_repeat(struct post *post)
{
    bool same;
    if (!post->task->entry->cid_len)
        return false;
    const struct chi_cid *first = chi_js_known_find(
        &post->posts->known, chi_name_key(post->task->room->name), post->task->entry, &same);
    if (first)
        repeats(post, same, first->position, first->time);
    return first != NULL;
}

/* --------------------------------------------------------------------------------------- tries */

static void pause_post(struct post *post)
{
    struct chi_js *js = post->posts->js;
    uint64_t ms = (uint64_t)BACKOFF_MIN_MS << (post->refusals < 8 ? post->refusals : 8);
    post->refusals++;
    move_to(post, PAUSING);
    if (chi_timers_set(&js->timers, &post->timer,
                       js->now + (ms < BACKOFF_MAX_MS ? ms : BACKOFF_MAX_MS)))
        make_ready(post);
}

static void store_known(struct post *post);

static void paused(struct chi_timer *timer)
{
    struct post *post = CHI_CONTAINER(timer, struct post, timer);
    if (post->seq)
        store_known(post);
    else
        make_ready(post);
}

/* The last try was not stored. */
static void turned_down(struct post *post, const char *why, bool for_good)
{
    post->why = why;
    if (!for_good || post->unsure) {
        pause_post(post);
        return;
    }
    move_to(post, READY);
    fail(post, why, RETRY_MS);
}

static void write_try(struct post *post)
{
    struct chi_js_posts *posts = post->posts;
    struct chi_js_task *task = post->task;
    struct chi_span key = chi_name_key(task->room->name);
    if (!post->sent_at) {
        const struct chi_js_top *top = chi_map_get(posts->js->tops, key.at, key.len);
        if (top && top->known)
            post->hint = chi_js_hint_after(top->position, &top->hint);
        else
            /* The room is not open, or not yet: it is hardly its first. */
            post->hint = (struct chi_js_hint){.before = 1, .ordinal = 1};
        if (!task->time)
            task->time = posts->js->orders.wall;
    }
    chi_buf_reset(&posts->subject, 4096);
    chi_buf_reset(&posts->payload, 65536);
    chi_js_room_subject(posts->js, &posts->subject, key);
    chi_js_write_entry(&posts->payload, task->entry, task->time, post->nonce, &post->hint);
}

/* False: nothing can be sent now, and what is ready stays so until the next round. */
static bool send_try(struct post *post)
{
    struct chi_js_posts *posts = post->posts;
    const struct chi_js_port *port = &posts->js->parts.port;
    write_try(post);
    if (posts->subject.failed || posts->payload.failed)
        return false;
    uint64_t size = posts->payload.len + posts->subject.len + HEADER_MAX;
    if (size > port->most(port->self)) {
        bool stays = post->unsure;
        turned_down(post, "it is larger than NATS takes (its setting max_payload)", true);
        return !stays || post->state == PAUSING;
    }
    struct chi_js_out out = {
        .subject = {posts->subject.at, posts->subject.len},
        .data = {posts->payload.at, posts->payload.len},
        .id = post->id,
    };
    post->ask.answer = tried;
    if (chi_js_ask_send(posts->js, &post->ask, &out, TRY_MS))
        return false;
    chi_list_remove(&post->list);
    post->state = FLYING;
    post->sent_at = posts->js->now;
    post->size = (uint32_t)size;
    posts->flying++;
    posts->flying_bytes += size;
    return true;
}

static bool may_fly(const struct chi_js_posts *posts)
{
    return posts->js->state == CHI_JS_UP && posts->flying < FLYING_MAX &&
           posts->flying_bytes < FLYING_BYTES && !chi_list_empty(&posts->ready);
}

static void send_ready(struct chi_js_posts *posts)
{
    while (may_fly(posts)) {
        struct post *post = in_list(posts->ready.next);
        if (post->task->entry->cid_len && !posts->known.loaded) {
            chi_list_remove(&post->list);
            chi_list_append(&posts->unread, &post->list);
        } else if (!known_repeat(post) && !send_try(post)) {
            return;
        }
    }
}

/* --------------------------------------------------------------------------- what the server says */

/* It stands at `seq`, or what it repeats does. The feed says which, once it came so far. */
static void store_known(struct post *post)
{
    struct chi_js_posts *posts = post->posts;
    move_to(post, STORED);
    bool passed = post->seq <= chi_js_feed_shown(posts->js);
    chi_list_append(passed ? posts->stored.next : &posts->stored, &post->list);
    if (!passed)
        chi_js_feed_tail(posts->js, post->seq);
}

/* Refusals that do not pass by themselves soon; all others are tried again. */
static const struct {
    uint32_t code;
    const char *why;
} for_good[] = {
    {10023, "NATS has not enough resources for JetStream"},
    {10028, "the account has no more memory for JetStream"},
    {10047, "the account, or NATS, has no more storage for JetStream"},
    {10054, "it is larger than the stream takes (its setting max_msg_size)"},
    {10097, "its header is larger than the stream takes"},
    {10109, "the stream is sealed"},
};

static void refused(struct post *post, const struct chi_js_answer *answer)
{
    for (size_t i = 0; i < sizeof(for_good) / sizeof(*for_good); i++)
        if (for_good[i].code == answer->err_code) {
            turned_down(post, for_good[i].why, true);
            return;
        }
    turned_down(post, "the stream does not take posts now", false);
}

/* A try came to nothing that is known. */
static void lost(struct post *post)
{
    post->unsure = true;
    post->why = NULL;
}

/* A duplicate without a sequence: the first try is still being stored. */
static void puback(struct post *post, struct chi_span data)
{
    struct chi_js_answer answer;
    int error = chi_js_read_answer(data, post->posts->js->parts.stream, &answer);
    if (!error && answer.code) {
        refused(post, &answer);
    } else if (!error && answer.seq) {
        post->seq = answer.seq;
        store_known(post);
    } else {
        lost(post);
        pause_post(post);
    }
    chi_js_answer_fini(&answer);
}

static void tried(struct chi_js_ask *ask, const struct chi_js_in *in)
{
    struct post *post = CHI_CONTAINER(ask, struct post, ask);
    struct chi_js *js = post->posts->js;
    if (!in) {
        lost(post);
        make_ready(post);
    } else if (in->status == NO_RESPONDERS) {
        turned_down(post, "no server has the stream now", false);
        chi_js_stream_doubt(js);
    } else {
        puback(post, in->data);
    }
}

/* --------------------------------------------------------------------- where the feed came by */

static bool same_cid(const struct chi_entry *a, const struct chi_entry *b)
{
    struct chi_entry_parts one = chi_entry_read(a), other = chi_entry_read(b);
    return one.cid.len && chi_span_equal(one.user, other.user) &&
           chi_span_equal(one.cid, other.cid);
}

static bool same_texts(const struct chi_entry *a, const struct chi_entry *b)
{
    struct chi_entry_parts one = chi_entry_read(a), other = chi_entry_read(b);
    return chi_span_equal(one.content, other.content) && chi_span_equal(one.data, other.data);
}

static bool same_subject(struct post *post, const struct chi_buf *subject)
{
    struct chi_buf *mine = &post->posts->subject;
    chi_buf_reset(mine, 4096);
    chi_js_room_subject(post->posts->js, mine, chi_name_key(post->task->room->name));
    return !mine->failed && chi_span_equal((struct chi_span){mine->at, mine->len},
                                           (struct chi_span){subject->at, subject->len});
}

/* Its own message where the feed has been already: then it is another stream than the feed's. And
 * somebody else's: the stream was put back to before this one was stored, and it is sent again. */
static void found(struct post *post, const struct chi_js_answer *answer)
{
    struct chi_js *js = post->posts->js;
    struct chi_js_record record;
    int error = chi_js_read_entry((struct chi_span){answer->data.at, answer->data.len}, &record);
    if (error == CHATHUB_ENOMEM) {
        pause_post(post);
    } else if (error) {
        repeats(post, false, post->seq, post->task->time);
    } else if (record.nonce == post->nonce) {
        fail(post, "the stream is not what it was", RETRY_MS);
        chi_js_stream_doubt(js);
    } else if (same_subject(post, &answer->subject) && same_cid(record.entry, post->task->entry)) {
        bool same = same_texts(record.entry, post->task->entry);
        repeats(post, same, post->seq, record.entry->time);
    } else {
        post->seq = 0;
        lost(post);
        pause_post(post);
    }
    if (!error)
        chi_entry_unref(record.entry);
}

/* What is there no more was stored, and erased since. */
static void looked(struct chi_js_ask *ask, const struct chi_js_in *in)
{
    struct post *post = CHI_CONTAINER(ask, struct post, ask);
    struct chi_js_answer answer;
    if (!in || in->status) {
        pause_post(post);
        return;
    }
    int error = chi_js_read_answer(in->data, post->posts->js->parts.stream, &answer);
    if (error || (answer.code && answer.err_code != CHI_JS_NO_MESSAGE))
        pause_post(post);
    else if (answer.code)
        repeats(post, true, post->seq, post->task->time);
    else
        found(post, &answer);
    chi_js_answer_fini(&answer);
}

/* The feed has passed its sequence and did not show its nonce. */
static void look(struct post *post)
{
    struct chi_buf data;
    if (post->posts->known.loaded && known_repeat(post))
        return;
    chi_buf_init(&data);
    chi_js_ask_get(&data, post->seq);
    move_to(post, LOOKING);
    post->ask.answer = looked;
    if (chi_js_ask(post->posts->js, &post->ask, "STREAM.MSG.GET", &data, TRY_MS))
        pause_post(post);
}

static void look_at_stored(struct chi_js_posts *posts)
{
    uint64_t shown = chi_js_feed_shown(posts->js);
    while (posts->js->state == CHI_JS_UP && !chi_list_empty(&posts->stored) &&
           in_list(posts->stored.next)->seq <= shown)
        look(in_list(posts->stored.next));
}

bool chi_js_posts_seen(struct chi_js *js, struct chi_span key, const struct chi_js_record *record)
{
    const struct chi_entry *entry = record->entry;
    struct post *post = chi_map_get(js->posts->nonces, &record->nonce, sizeof(record->nonce));
    chi_js_known_add(&js->posts->known, key, entry, js->now);
    if (!post)
        return false;
    struct chi_js_task *task = post->task;
    task->status = 0;
    task->entry->position = entry->position;
    task->entry->prev = entry->prev;
    task->entry->time = entry->time;
    js->news.stats.commits++;
    chi_js_give(js, task);
    post_free(post);
    return true;
}

/* ---------------------------------------------------------------------------------------- life */

void chi_js_posts_take(struct chi_js *js, struct chi_js_task *task)
{
    struct post *post = post_new(js->posts, task);
    if (post)
        lane_go(post->lane);
    else
        refuse(js, task, CHATHUB_ELOG, "no memory", RETRY_MS);
}

static uint64_t first_due(const struct chi_link *list)
{
    return chi_list_empty(list) ? UINT64_MAX : in_age(list->next)->until;
}

static void end_overdue(struct chi_js_posts *posts)
{
    uint64_t now = posts->js->now;
    while (first_due(&posts->all) <= now) {
        struct post *post = in_age(chi_list_take(&posts->all));
        fail(post, reason(post), RETRY_MS);
    }
}

/* Rounds come each second in any case: without memory for the alarm it is late by that. */
static void set_alarm(struct chi_js_posts *posts)
{
    uint64_t due = first_due(&posts->all);
    if (due == UINT64_MAX)
        chi_timers_clear(&posts->js->timers, &posts->alarm);
    else if (!posts->alarm.place || posts->alarm.due != due)
        (void)chi_timers_set(&posts->js->timers, &posts->alarm, due);
}

void chi_js_posts_round(struct chi_js *js)
{
    struct chi_js_posts *posts = js->posts;
    chi_js_known_round(&posts->known);
    while (posts->known.loaded && !chi_list_empty(&posts->unread))
        make_ready(in_list(posts->unread.next));
    end_overdue(posts);
    look_at_stored(posts);
    send_ready(posts);
    set_alarm(posts);
}

const char *chi_js_posts_trouble(const struct chi_js *js)
{
    const struct chi_js_known *known = &js->posts->known;
    if (!known->short_of || known->short_of != js->orders.bounds.cids)
        return NULL;
    return "more cids lie within cid-horizon than max-cids: the oldest are forgotten before; raise "
           "max-cids, or lower cid-horizon";
}

void chi_js_posts_end(struct chi_js *js)
{
    struct chi_js_posts *posts = js->posts;
    while (!chi_list_empty(&posts->all)) {
        struct post *post = in_age(chi_list_take(&posts->all));
        int status = maybe_stored(post) ? CHATHUB_EUNKNOWN : CHATHUB_ELOG;
        struct chi_js_task *task = post->task;
        post_free(post);
        refuse(js, task, status, "the log went back", RETRY_MS);
    }
    chi_js_known_clear(&posts->known);
}

static void woken(struct chi_timer *timer)
{
    (void)timer; /* the round does the rest */
}

int chi_js_posts_new(struct chi_js *js)
{
    struct chi_js_posts *posts = calloc(1, sizeof(*posts));
    if (!posts)
        return CHATHUB_ENOMEM;
    js->posts = posts;
    posts->js = js;
    posts->alarm.fire = woken;
    chi_list_init(&posts->all);
    chi_list_init(&posts->ready);
    chi_list_init(&posts->unread);
    chi_list_init(&posts->stored);
    posts->lanes = chi_map_new(js->parts.secrets + 32);
    posts->nonces = chi_map_new(js->parts.secrets + 32);
    chi_js_known_init(&posts->known, js);
    return posts->lanes && posts->nonces ? 0 : CHATHUB_ENOMEM;
}

void chi_js_posts_free(struct chi_js *js, struct chi_works *left)
{
    struct chi_js_posts *posts = js->posts;
    if (!posts)
        return;
    while (!chi_list_empty(&posts->all)) {
        struct post *post = in_age(chi_list_take(&posts->all));
        struct chi_js_task *task = post->task;
        post_free(post);
        chi_works_add(left, &task->work);
    }
    chi_js_known_fini(&posts->known);
    chi_timers_clear(&js->timers, &posts->alarm);
    chi_map_free(posts->lanes);
    chi_map_free(posts->nonces);
    chi_buf_fini(&posts->subject);
    chi_buf_fini(&posts->payload);
    free(posts);
    js->posts = NULL;
}
