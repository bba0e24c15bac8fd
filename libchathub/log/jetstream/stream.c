/* The stream: it is made or checked, its epochs are read, and it is found out whether it is still the
 * one that it was.
 *
 * Happy path: STREAM.INFO; the epochs, by asking the leader for the next one until there is none; then
 * redactions are loaded, and the feed starts. From then on STREAM.INFO each second tells the
 * feed how long the stream is. On another connection: STREAM.INFO, epochs, the newest message that was
 * shown; all as it was, and the feed goes on.
 * Failure modes: any answer that is missing or an error begins the check anew, a little later. A
 * leader that was deposed and does not know it yet may answer of a time that is over. So a stream that
 * looks shorter, or made anew, is believed to be so only once a message of no meaning was stored
 * ("S.in.check"), which takes a majority of the servers, and the answers are no older than that.
 * Another epoch in it, or another message where one was shown, need no such proof. Then it is looked
 * up to where what was shown stands unchanged, the epoch is written with that, and read as if another
 * node had written it. An epoch that another node wrote is in force at once, unless it lets hold what
 * this node showed and the stream no longer has: it may have gone back twice while neither looked.
 * An epoch's record that would soon go by the stream's age or size is written once more. */
#include <stdio.h>
#include <stdlib.h>

#include "chathub.h"
#include "log/jetstream/js.h"
#include "util/list.h"
#include "util/siphash.h"

/* ms: of a request; between two tails; until the next try after an error. */
#define ASK_MS   2000u
#define TAIL_MS  1000u
#define RETRY_MS 250u
#define UNFIT_MS 2000u
/* The server is said not to answer after this. */
#define SILENT_MS 2000u
/* So long a refusal may be due to servers that are starting. */
#define REFUSED_MS 5000u
/* Of what was shown, kept to compare: the newest ones, and one of so many. */
#define RECENT    256u
#define SPARSE    1024u
#define SPARSE_OF 1024u
/* Newest ones that are asked for, if they were erased, before it is taken as unchanged. */
#define NEWEST 8u
#define EPOCHS 4096u
/* Answers older than the proof, until the proof is made anew. */
#define STALE_MOST 40u

struct sample {
    uint64_t seq; /* 0: none */
    uint64_t hash;
};

struct found {
    struct chi_js_epoch epoch;
    uint64_t hash; /* of its record */
    uint64_t seq;
};

struct chi_js_stream {
    struct chi_js *js;
    struct chi_js_ask ask; /* the one request that is under way */
    void (*then)(struct chi_js_stream *s, const struct chi_js_answer *answer);
    void (*step)(struct chi_js_stream *s); /* what is done … */
    uint64_t due;                          /* … then; UINT64_MAX: nothing */
    uint64_t number;                       /* of the connection that is, or was, checked */
    uint64_t answered;                     /* when there was an answer that was no refusal */
    uint64_t refused;                      /* since when there were only refusals; 0: not so */
    bool ever;                             /* it was open once */
    bool opened;                           /* the feed was started in the epoch in force */
    bool loaded;                           /* a load was begun, and not ended since */
    bool loading, again;                   /* `done` is to come; the check is to begin anew then */
    /* as the last STREAM.INFO said */
    struct chi_js_config config;
    uint64_t first, last;
    char created[40];
    uint64_t shown; /* what was shown when it was asked */
    /* as it was when it was opened or checked */
    char known[40];     /* `created` */
    uint64_t epoch_seq; /* of the newest epoch's record; 0: none */
    uint64_t load_last; /* what is loaded up to */
    /* a check */
    struct found *found; /* owned: the epochs that are in the stream; EPOCHS places */
    uint32_t found_count;
    uint64_t found_seq;  /* of the last record of an epoch, readable or not */
    uint64_t proof;      /* sequence of the message that proves that answers are new; 0: none */
    uint32_t stale;      /* answers that were older */
    struct sample *list; /* owned: what is compared, by sequence; RECENT + SPARSE places */
    uint32_t low, high;  /* below `low` all is unchanged, from `high` on it is not, or not known */
    uint32_t list_count;
    struct sample watched;        /* what is compared while it is up */
    uint32_t replicas;            /* that it is being made with */
    uint32_t drawn;               /* names of epochs so far */
    struct sample recent[RECENT]; /* of sequence s: s % RECENT */
    struct sample sparse[SPARSE]; /* a ring */
    uint64_t sparse_count;        /* put into it so far */
    uint64_t sparse_last;         /* the sequence of the newest in it */
    int problem_error;
    char problem[400]; /* "": none */
};

static void check(struct chi_js_stream *s);
static void tail(struct chi_js_stream *s);
static void adopt(struct chi_js_stream *s);
static void load(struct chi_js_stream *s);
static void read_epochs(struct chi_js_stream *s, uint64_t from);

/* -------------------------------------------------------------------------------------- requests */

static void later(struct chi_js_stream *s, void (*step)(struct chi_js_stream *s), uint64_t ms)
{
    s->step = step;
    s->due = s->js->now + ms;
}

static void enter(struct chi_js_stream *s, enum chi_js_state state, const char *why)
{
    s->js->state = state;
    s->js->news.why = why;
    s->js->news.stats.down = state != CHI_JS_UP;
}

/* All that fails begins anew with the check. */
static void retry(struct chi_js_stream *s, const char *why, uint64_t ms)
{
    bool silent = s->js->now - s->answered >= SILENT_MS;
    chi_js_feed_pause(s->js);
    enter(s, silent ? CHI_JS_DOWN : CHI_JS_CHECKING, why);
    later(s, check, ms);
}

static void set_problem(struct chi_js_stream *s, const char *text)
{
    if (s->ever || s->problem[0])
        return;
    s->problem_error = CHATHUB_EIO;
    snprintf(s->problem, sizeof(s->problem), "%s", text);
}

static bool refused_for_long(struct chi_js_stream *s)
{
    uint64_t now = s->js->now ? s->js->now : 1;
    if (!s->refused)
        s->refused = now;
    return now - s->refused >= REFUSED_MS;
}

/* Nobody hears JetStream's requests. */
static void nobody(struct chi_js_stream *s)
{
    static const char why[] =
        "the NATS server has no JetStream, or cannot reach a server that has: start nats-server "
        "with -js, or with jetstream {} in its configuration; in a cluster, see that its servers "
        "are connected";
    if (refused_for_long(s))
        set_problem(s, why);
    retry(s, why, RETRY_MS);
}

static void without_jetstream(struct chi_js_stream *s, uint32_t code)
{
    const char *why = code == CHI_JS_NO_JETSTREAM
                          ? "JetStream is not enabled on the NATS server: start nats-server with "
                            "-js, or with jetstream {} in its configuration"
                          : "JetStream is not enabled for this account of the NATS server: add "
                            "jetstream: enabled to the account in its configuration";
    set_problem(s, why);
    retry(s, why, UNFIT_MS);
}

/* An error that the caller has no answer to. */
static void refused(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    if (answer->err_code == CHI_JS_NO_JETSTREAM || answer->err_code == CHI_JS_NO_JETSTREAM_ACCOUNT)
        without_jetstream(s, answer->err_code);
    else
        retry(s, "JetStream answers with errors: it has no leader yet, or is short of something",
              RETRY_MS);
}

static void answered(struct chi_js_ask *ask, const struct chi_js_in *in)
{
    struct chi_js_stream *s = CHI_CONTAINER(ask, struct chi_js_stream, ask);
    struct chi_js_answer answer;
    chi_js_ask_end(ask);
    if (!in) {
        retry(s, "the NATS servers do not answer: JetStream has no leader", RETRY_MS);
        return;
    }
    if (in->status == 503) {
        nobody(s);
        return;
    }
    int error = chi_js_read_answer(in->data, s->js->parts.stream, &answer);
    if (error) {
        retry(s, "JetStream's answers cannot be understood", RETRY_MS);
    } else {
        s->answered = s->js->now;
        s->then(s, &answer);
    }
    chi_js_answer_fini(&answer);
}

/* Sends what `out` says, whose data is in `data` and is freed; `then` follows, or a retry. */
static void send(struct chi_js_stream *s, struct chi_js_out *out, struct chi_buf *data,
                 void (*then)(struct chi_js_stream *s, const struct chi_js_answer *answer))
{
    out->data = (struct chi_span){data->at, data->len};
    s->then = then;
    s->due = UINT64_MAX;
    s->ask.answer = answered;
    int error = data->failed ? CHATHUB_ENOMEM : chi_js_ask_send(s->js, &s->ask, out, ASK_MS);
    chi_buf_fini(data);
    if (error)
        retry(s, "the request could not be sent to the NATS server", RETRY_MS);
}

static void request(struct chi_js_stream *s, const char *api, struct chi_buf *data,
                    void (*then)(struct chi_js_stream *s, const struct chi_js_answer *answer))
{
    char subject[128];
    snprintf(subject, sizeof(subject), "$JS.API.STREAM.%s.%s", api, s->js->parts.stream);
    struct chi_js_out out = {.subject = chi_span_of(subject)};
    send(s, &out, data, then);
}

static void get(struct chi_js_stream *s, uint64_t seq,
                void (*then)(struct chi_js_stream *s, const struct chi_js_answer *answer))
{
    struct chi_buf data;
    chi_buf_init(&data);
    chi_js_ask_get(&data, seq);
    request(s, "MSG.GET", &data, then);
}

static void info(struct chi_js_stream *s,
                 void (*then)(struct chi_js_stream *s, const struct chi_js_answer *answer))
{
    struct chi_buf data;
    chi_buf_init(&data);
    s->shown = chi_js_feed_shown(s->js);
    request(s, "INFO", &data, then);
}

/* -------------------------------------------------------------------------------------- samples */

static uint64_t hash_of(const struct chi_js *js, const void *bytes, size_t len)
{
    return chi_siphash(js->parts.secrets, bytes, len);
}

static void sample_sparse(struct chi_js_stream *s, struct sample sample)
{
    s->sparse[s->sparse_count++ % SPARSE] = sample;
    s->sparse_last = sample.seq;
}

static void sample(struct chi_js_stream *s, uint64_t seq, struct chi_span data)
{
    struct sample sample = {seq, hash_of(s->js, data.at, data.len)};
    s->recent[seq % RECENT] = sample;
    if (!s->sparse_count || seq / SPARSE_OF != s->sparse_last / SPARSE_OF)
        sample_sparse(s, sample);
}

void chi_js_stream_sample(struct chi_js *js, uint64_t seq, struct chi_span data)
{
    sample(js->stream, seq, data);
}

void chi_js_stream_again(struct chi_js *js, uint64_t seq, struct chi_span data)
{
    const struct sample *was = &js->stream->recent[seq % RECENT];
    if (was->seq != seq || was->hash != hash_of(js, data.at, data.len))
        chi_js_stream_doubt(js);
}

static void forget_samples(struct chi_js_stream *s)
{
    memset(s->recent, 0, sizeof(s->recent));
    s->sparse_count = 0;
}

static int by_seq(const void *a, const void *b)
{
    const struct sample *one = a, *other = b;
    return (one->seq > other->seq) - (one->seq < other->seq);
}

static void list_some(struct chi_js_stream *s, const struct sample *samples, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        uint64_t seq = samples[i].seq;
        if (seq && seq >= s->first && seq <= s->last)
            s->list[s->list_count++] = samples[i];
    }
}

/* What can be compared: samples that the stream should hold. */
static void list_samples(struct chi_js_stream *s)
{
    s->list_count = 0;
    list_some(s, s->recent, RECENT);
    list_some(s, s->sparse, s->sparse_count < SPARSE ? s->sparse_count : SPARSE);
    qsort(s->list, s->list_count, sizeof(*s->list), by_seq);
    s->low = 0;
    s->high = s->list_count;
}

static bool is_like(const struct chi_js_stream *s, const struct sample *sample,
                    const struct chi_js_answer *answer)
{
    return answer->seq == sample->seq &&
           hash_of(s->js, answer->data.at, answer->data.len) == sample->hash;
}

/* ----------------------------------------------------------------------------------- the stream */

static void add(char *to, size_t size, const char *text)
{
    size_t len = strlen(to);
    snprintf(to + len, size - len, "%s", text);
}

/* Why it cannot serve, and what to do; false: it can. */
static bool is_unfit(const struct chi_js_stream *s, char *text, size_t size)
{
    const struct chi_js_config *has = &s->config;
    const char *name = s->js->parts.stream;
    if (has->republishes && has->takes && has->limits && has->deletes && has->acks)
        return false;
    snprintf(text, size, "stream %s cannot serve:%s%s%s%s%s; ", name,
             has->takes ? "" : " its subjects are not NAME.in.> alone,",
             has->republishes ? "" : " it does not republish NAME.in.> to NAME.out.>,",
             has->limits ? "" : " its retention is not \"limits\" with discard \"old\",",
             has->deletes ? "" : " its messages cannot be deleted,",
             has->acks ? "" : " it does not answer posts (no_ack),");
    size_t len = strlen(text);
    if (has->limits && has->deletes && has->acks)
        snprintf(text + len, size - len,
                 "nats stream edit %s --subjects='%s.in.>' --republish-source='%s.in.>' "
                 "--republish-destination='%s.out.>'",
                 name, name, name, name);
    else
        snprintf(text + len, size - len, "use another one by --log jetstream:nats://HOST/NAME");
    return true;
}

struct difference {
    const char *what; /* and the option of the program nats */
    uint64_t has, wanted;
    const char *unit;
};

static void add_difference(char *says, char *todo, size_t size, const struct difference *d)
{
    char one[96];
    if (d->has == d->wanted)
        return;
    snprintf(one, sizeof(one), "%s %s is %llu%s, not %llu%s", says[0] ? "," : "", d->what,
             (unsigned long long)d->has, d->unit, (unsigned long long)d->wanted, d->unit);
    add(says, size, one);
    snprintf(one, sizeof(one), " --%s=%llu%s", d->what, (unsigned long long)d->wanted, d->unit);
    add(todo, size, one);
}

/* What is not as the settings say goes to the news; nothing is changed. 0 in the settings of what the
 * stream calls -1: no bound. */
static void compare_config(struct chi_js_stream *s)
{
    const struct chi_js_config *has = &s->config, *wanted = &s->js->parts.wanted;
    char *trouble = s->js->news.trouble, says[448] = "", todo[448] = "";
    uint32_t replicas = wanted->replicas ? wanted->replicas : has->replicas;
    const struct difference all[] = {
        {"replicas", has->replicas, replicas, ""},
        {"dupe-window", has->duplicates, wanted->duplicates, "ms"},
        {"max-age", has->max_age, wanted->max_age, "ms"},
        {"max-bytes", has->max_bytes, wanted->max_bytes, ""},
        {"max-msgs-per-subject", has->room_entries, wanted->room_entries, ""},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        add_difference(says, todo, sizeof(says), &all[i]);
    if (!has->file)
        add(says, sizeof(says), says[0] ? ", storage is memory" : " storage is memory");
    trouble[0] = '\0';
    const char *cids = chi_js_posts_trouble(s->js);
    if (!says[0] && cids)
        add(trouble, sizeof(s->js->news.trouble), cids);
    if (says[0])
        snprintf(trouble, sizeof(s->js->news.trouble), "%s:%s; nats stream edit %s%s",
                 s->js->parts.stream, says, s->js->parts.stream, todo);
}

static void remember(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    s->refused = 0;
    s->config = answer->config;
    s->first = answer->first_seq;
    s->last = answer->last_seq;
    memcpy(s->created, answer->created, sizeof(s->created));
}

static void made(struct chi_js_stream *s, const struct chi_js_answer *answer);

static void make(struct chi_js_stream *s, uint32_t replicas)
{
    struct chi_buf data;
    struct chi_js_config config = s->js->parts.wanted;
    chi_buf_init(&data);
    config.replicas = s->replicas = replicas;
    chi_js_ask_create(&data, s->js->parts.stream, &config);
    request(s, "CREATE", &data, made);
}

enum {
    NO_PEERS = 10005,      /* no suitable peers for placement */
    INSUFFICIENT = 10023,  /* insufficient resources */
    NO_STORAGE = 10047,    /* insufficient storage resources available */
    NOT_CLUSTERED = 10074, /* replicas > 1 not supported in non-clustered mode */
};

static bool is_lack(uint32_t code)
{
    return code == NO_PEERS || code == INSUFFICIENT || code == NO_STORAGE;
}

/* The servers of a cluster may be starting: one replica is what is made only if it stays so. */
static void not_made(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    char text[sizeof(s->problem)];
    bool fewer = !s->js->parts.wanted.replicas && s->replicas > 1;
    bool lack = is_lack(answer->err_code);
    if (fewer && (answer->err_code == NOT_CLUSTERED || (lack && refused_for_long(s)))) {
        make(s, 1);
        return;
    }
    if (answer->err_code == NOT_CLUSTERED || refused_for_long(s)) {
        snprintf(text, sizeof(text), "the stream %s could not be made with %u replicas: %s",
                 s->js->parts.stream, s->replicas, answer->description);
        set_problem(s, text);
    }
    if (lack || answer->err_code == NOT_CLUSTERED)
        retry(s, "the stream could not be made: too few servers, or too little space", RETRY_MS);
    else
        refused(s, answer);
}

static void made(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    if (answer->code && answer->err_code != CHI_JS_NAME_TAKEN) {
        not_made(s, answer);
        return;
    }
    if (!answer->code)
        s->js->news.made = s->replicas == 1 && !s->js->parts.wanted.replicas
                               ? "with one replica: there is one server, or room on one alone"
                               : "with the replicas that the settings ask for";
    check(s);
}

/* --------------------------------------------------------------------------------------- epochs */

static struct chi_js_epoch *known_last(const struct chi_js *js)
{
    return js->epochs.count ? &js->epochs.list[js->epochs.count - 1] : NULL;
}

static bool same_name(const struct chi_js_epoch *a, const struct chi_js_epoch *b)
{
    return a && b && !memcmp(a->name, b->name, sizeof(a->name));
}

static bool is_known(const struct chi_js *js, const struct chi_js_epoch *epoch)
{
    for (uint32_t i = js->epochs.count; i--;)
        if (same_name(&js->epochs.list[i], epoch))
            return true;
    return false;
}

/* Where a stream is made anew, nothing that was shown holds. */
static void draw_name(struct chi_js_stream *s, char name[16])
{
    struct chi_js *js = s->js;
    char text[CHI_BASE64URL_SIZE(12)];
    uint64_t from[4] = {js->parts.seed, js->orders.wall, js->now, s->drawn++}, bits[2];
    bits[0] = chi_siphash(js->parts.secrets, from, sizeof(from));
    bits[1] = chi_siphash(js->parts.secrets + 16, from, sizeof(from));
    chi_base64url(bits, 12, text);
    memcpy(name, text, 16);
}

static void put_epoch(struct chi_js_stream *s, const struct chi_js_epoch *epoch, uint64_t expected,
                      void (*then)(struct chi_js_stream *s, const struct chi_js_answer *answer))
{
    char subject[64];
    struct chi_buf data;
    chi_buf_init(&data);
    chi_js_write_epoch(&data, epoch);
    snprintf(subject, sizeof(subject), "%s.in.epoch", s->js->parts.stream);
    struct chi_js_out out = {
        .subject = chi_span_of(subject), .expects = true, .expected = expected};
    send(s, &out, &data, then);
}

/* Whoever wrote it: it is read now. */
static void epoch_written(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    if (answer->code && answer->err_code != CHI_JS_WRONG_LAST)
        refused(s, answer);
    else
        check(s);
}

static void write_epoch(struct chi_js_stream *s, uint64_t first)
{
    struct chi_js_epoch epoch = {.first = first};
    draw_name(s, epoch.name);
    put_epoch(s, &epoch, s->found_seq, epoch_written);
}

/* ------------------------------------------------------------------------- is it what it was? */

static void resume(struct chi_js_stream *s)
{
    s->proof = 0;
    s->epoch_seq = s->found_seq;
    enter(s, CHI_JS_UP, NULL);
    later(s, tail, TAIL_MS);
    chi_js_feed_resume(s->js, s->last);
    chi_js_feed_kept(s->js, s->first);
}

static void bisect(struct chi_js_stream *s);

/* One that was erased says nothing. */
static void bisected(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    uint32_t at = s->low + (s->high - s->low) / 2;
    if (answer->code && answer->err_code != CHI_JS_NO_MESSAGE) {
        refused(s, answer);
        return;
    }
    if (answer->code) {
        s->list_count--;
        memmove(&s->list[at], &s->list[at + 1], (s->list_count - at) * sizeof(*s->list));
        s->high--;
    } else if (is_like(s, &s->list[at], answer)) {
        s->low = at + 1;
    } else {
        s->high = at;
    }
    bisect(s);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static bool is_anew(const struct chi_js_stream *s)
{
    return strcmp(s->created, s->known) != 0;
}

/* Up to where positions of this node's last epoch hold by the epochs that were found since; 0: none
 * was. */
static uint64_t first_found(const struct chi_js_stream *s)
{
    uint64_t first = 0;
    for (uint32_t i = s->found_count; i-- && !is_known(s->js, &s->found[i].epoch);)
        if (!first || s->found[i].epoch.first < first)
            first = s->found[i].epoch.first;
    return first;
}

static bool is_found(const struct chi_js_stream *s, const struct chi_js_epoch *epoch)
{
    for (uint32_t i = 0; i < s->found_count; i++)
        if (same_name(&s->found[i].epoch, epoch))
            return true;
    return false;
}

/* What the newest known epochs, whose records were lost with the rest, did not let hold; UINT64_MAX:
 * none was lost. */
static uint64_t first_lost(const struct chi_js_stream *s)
{
    const struct chi_js_epochs *known = &s->js->epochs;
    uint64_t first = UINT64_MAX;
    for (uint32_t i = known->count; i-- && !is_found(s, &known->list[i]);)
        first = known->list[i].first < first ? known->list[i].first : first;
    return first;
}

/* Whether these epochs are enough: `high` stands at the oldest message that is another one. */
static bool is_covered(const struct chi_js_stream *s)
{
    uint64_t first = first_found(s);
    if (is_anew(s))
        return first == 1;
    return first && first <= first_lost(s) &&
           (s->high == s->list_count || s->list[s->high].seq >= first);
}

static void bisect(struct chi_js_stream *s)
{
    if (s->low < s->high)
        get(s, s->list[s->low + (s->high - s->low) / 2].seq, bisected);
    else if (is_covered(s))
        adopt(s);
    else
        write_epoch(s, least(first_lost(s), s->low ? s->list[s->low - 1].seq + 1 : 1));
}

/* It went back. */
static void went_back(struct chi_js_stream *s)
{
    enter(s, CHI_JS_CHECKING, "the stream is not what it was: another epoch begins");
    list_samples(s);
    if (is_anew(s))
        s->low = s->high = 0;
    bisect(s);
}

static void newest(struct chi_js_stream *s);

static void newest_came(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    if (answer->code && answer->err_code != CHI_JS_NO_MESSAGE)
        refused(s, answer);
    else if (answer->code)
        newest(s);
    else if (is_like(s, &s->list[s->high], answer))
        resume(s);
    else
        went_back(s);
}

static void newest(struct chi_js_stream *s)
{
    if (s->high && s->list_count - s->high < NEWEST)
        get(s, s->list[--s->high].seq, newest_came);
    else
        resume(s);
}

static void proved(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    if (answer->code) {
        refused(s, answer);
        return;
    }
    s->proof = answer->seq;
    s->stale = 0;
    check(s);
}

static void prove(struct chi_js_stream *s)
{
    char subject[64];
    struct chi_buf data;
    chi_buf_init(&data);
    snprintf(subject, sizeof(subject), "%s.in.check", s->js->parts.stream);
    struct chi_js_out out = {.subject = chi_span_of(subject)};
    send(s, &out, &data, proved);
}

/* The newest epoch is not in the stream, though nothing that is so old has gone from it. */
static bool is_lost(const struct chi_js_stream *s)
{
    const struct chi_js_epoch *known = known_last(s->js);
    if (s->found_count && same_name(&s->found[s->found_count - 1].epoch, known))
        return false;
    return s->epoch_seq >= s->first;
}

static void judge(struct chi_js_stream *s)
{
    bool suspect = is_anew(s) || s->last < s->shown || is_lost(s);
    if (s->proof && (suspect || s->proof <= s->shown)) {
        went_back(s);
    } else if (suspect) {
        prove(s);
    } else {
        list_samples(s);
        newest(s);
    }
}

/* --------------------------------------------------------------------------------- the opening */

/* All that was under way ends; the hub reads epochs anew and opens its rooms again. */
static void tell_back(struct chi_js_stream *s, struct chi_js_task *task)
{
    struct chi_js *js = s->js;
    chi_js_posts_end(js);
    chi_js_pages_end(js);
    chi_js_erase_end(js);
    s->loaded = false;
    chi_js_give(js, task);
}

/* What a later epoch does not let hold, no former one does. */
static int set_epochs(struct chi_js_stream *s)
{
    struct chi_js *js = s->js;
    struct chi_js_epoch *list = calloc(s->found_count, sizeof(*list));
    if (!list)
        return CHATHUB_ENOMEM;
    uint64_t first = UINT64_MAX;
    for (uint32_t i = s->found_count; i--;) {
        list[i] = s->found[i].epoch;
        first = list[i].first < first ? list[i].first : first;
        list[i].first = first;
    }
    pthread_mutex_lock(&js->lock);
    free(js->epochs.list);
    js->epochs = (struct chi_js_epochs){list, s->found_count};
    pthread_mutex_unlock(&js->lock);
    return 0;
}

static void last_came(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    if (answer->code && answer->err_code != CHI_JS_NO_MESSAGE) {
        refused(s, answer);
        return;
    }
    if (!answer->code)
        sample(s, s->last, (struct chi_span){answer->data.at, answer->data.len});
    load(s);
}

/* The epochs that were found are in force. Whatever needs memory comes first: once they are known,
 * nobody would be told that they are new. */
static void adopt(struct chi_js_stream *s)
{
    struct chi_js *js = s->js;
    const struct chi_js_epoch *last = &s->found[s->found_count - 1].epoch;
    bool back = s->ever && !is_known(js, last);
    struct chi_js_task *task = back ? chi_js_task_new(CHI_JS_BACK) : NULL;
    if ((back && !task) || set_epochs(s)) {
        chi_js_task_free(task);
        retry(s, "there is too little memory", RETRY_MS);
        return;
    }
    if (back)
        tell_back(s, task);
    s->opened = false;
    s->proof = 0;
    s->epoch_seq = s->found_seq;
    memcpy(s->known, s->created, sizeof(s->known));
    forget_samples(s);
    for (uint32_t i = 0; i < s->found_count; i++)
        sample_sparse(s, (struct sample){s->found[i].seq, s->found[i].hash});
    if (s->last)
        get(s, s->last, last_came);
    else
        load(s);
}

static void not_loaded(struct chi_js_stream *s)
{
    bool again = s->again;
    s->loading = s->again = false;
    retry(s, "the stream could not be read", again ? 0 : RETRY_MS);
}

static void erased_loaded(struct chi_js *js, int status)
{
    struct chi_js_stream *s = js->stream;
    if (status || s->again) {
        not_loaded(s);
        return;
    }
    s->loading = false;
    s->opened = s->ever = true;
    enter(s, CHI_JS_UP, NULL);
    later(s, tail, 0);
    chi_js_feed_start(js, s->load_last);
}

/* What a load that failed left behind goes first. */
static void load(struct chi_js_stream *s)
{
    if (s->loaded)
        chi_js_erase_end(s->js);
    s->loaded = s->loading = true;
    s->again = false;
    s->due = UINT64_MAX;
    s->load_last = s->last;
    if (chi_js_erase_load(s->js, erased_loaded))
        not_loaded(s);
}

/* ------------------------------------------------------------------------------------ the check */

/* Nothing was shown yet in the newest known epoch. If its record is lost, the stream went back once
 * more, and it is not known how far. */
static void find_first(struct chi_js_stream *s)
{
    bool lost = first_lost(s) != UINT64_MAX;
    if (lost)
        went_back(s);
    else if (s->found_count)
        adopt(s);
    else
        write_epoch(s, 1);
}

static void epochs_read(struct chi_js_stream *s)
{
    bool found = s->found_count > 0;
    if (!s->opened)
        find_first(s);
    else if (found && !is_known(s->js, &s->found[s->found_count - 1].epoch))
        went_back(s);
    else
        judge(s);
}

/* The same name again is a record that was renewed. */
static void find(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    struct found *next = &s->found[s->found_count];
    struct chi_span data = {answer->data.at, answer->data.len};
    s->found_seq = answer->seq;
    if (chi_js_read_epoch(data, &next->epoch))
        return;
    for (uint32_t i = 0; i < s->found_count; i++)
        if (same_name(&s->found[i].epoch, &next->epoch))
            return;
    next->seq = answer->seq;
    next->hash = hash_of(s->js, data.at, data.len);
    if (s->found_count + 1 < EPOCHS)
        s->found_count++;
    else
        memmove(s->found, s->found + 1, (EPOCHS - 1) * sizeof(*s->found));
}

static void epoch_came(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    if (answer->code && answer->err_code == CHI_JS_NO_MESSAGE) {
        epochs_read(s);
    } else if (answer->code || answer->seq <= s->found_seq) {
        refused(s, answer);
    } else {
        find(s, answer);
        read_epochs(s, answer->seq + 1);
    }
}

static void read_epochs(struct chi_js_stream *s, uint64_t from)
{
    char subject[64];
    struct chi_buf data;
    chi_buf_init(&data);
    snprintf(subject, sizeof(subject), "%s.in.epoch", s->js->parts.stream);
    chi_js_ask_next(&data, from, chi_span_of(subject));
    request(s, "MSG.GET", &data, epoch_came);
}

static void unfit(struct chi_js_stream *s)
{
    char text[sizeof(s->problem)];
    if (!is_unfit(s, text, sizeof(text)))
        return;
    s->js->news.trouble[0] = '\0';
    add(s->js->news.trouble, sizeof(s->js->news.trouble), text);
    set_problem(s, text);
    retry(s, "the stream's configuration cannot serve", UNFIT_MS);
}

static void info_came(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    char text[sizeof(s->problem)];
    if (answer->code && answer->err_code == CHI_JS_NO_STREAM) {
        make(s, s->js->parts.wanted.replicas ? s->js->parts.wanted.replicas : 3);
        return;
    }
    if (answer->code) {
        refused(s, answer);
        return;
    }
    remember(s, answer);
    compare_config(s);
    if (is_unfit(s, text, sizeof(text))) {
        unfit(s);
    } else if (s->proof > s->last && s->stale++ < STALE_MOST) {
        retry(s, "JetStream answers of a time that is over: it changes its leader", RETRY_MS);
    } else {
        s->proof = s->proof > s->last ? 0 : s->proof;
        read_epochs(s, 1);
    }
}

static void check(struct chi_js_stream *s)
{
    chi_js_feed_pause(s->js);
    if (s->js->state != CHI_JS_CHECKING)
        enter(s, CHI_JS_CHECKING, "the stream is being checked");
    s->found_count = 0;
    s->found_seq = 0;
    info(s, info_came);
}

/* --------------------------------------------------------------------------------- while it is up */

static void renewed(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    if (!answer->code)
        s->epoch_seq = answer->seq;
    later(s, tail, TAIL_MS);
}

/* It is among the oldest ninth, or gone already. So it is written a few times more while the stream
 * grows, and never the oldest message when that begins to forget. */
static bool must_renew(const struct chi_js_stream *s)
{
    return s->last > s->epoch_seq &&
           (s->epoch_seq < s->first || s->epoch_seq - s->first < (s->last - s->epoch_seq) / 8);
}

static void still_there(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    if (answer->code && answer->err_code != CHI_JS_NO_MESSAGE)
        refused(s, answer);
    else if (!answer->code && !is_like(s, &s->watched, answer))
        check(s);
    else
        later(s, tail, TAIL_MS);
}

/* What was shown when the tail was asked for is asked for, too. */
static void look_on(struct chi_js_stream *s)
{
    s->watched = s->recent[s->shown % RECENT];
    later(s, tail, TAIL_MS);
    if (must_renew(s))
        put_epoch(s, known_last(s->js), s->epoch_seq < s->first ? 0 : s->epoch_seq, renewed);
    else if (s->watched.seq && s->watched.seq >= s->first && s->watched.seq <= s->last)
        get(s, s->watched.seq, still_there);
}

static void tail_came(struct chi_js_stream *s, const struct chi_js_answer *answer)
{
    char text[sizeof(s->problem)];
    if (answer->code) {
        check(s);
        return;
    }
    remember(s, answer);
    compare_config(s);
    if (is_anew(s) || s->last < s->shown || is_unfit(s, text, sizeof(text))) {
        check(s);
        return;
    }
    chi_js_feed_tail(s->js, s->last);
    chi_js_feed_kept(s->js, s->first);
    if (s->js->state == CHI_JS_UP)
        look_on(s);
}

static void tail(struct chi_js_stream *s)
{
    info(s, tail_came);
}

void chi_js_stream_epoch(struct chi_js *js, uint64_t seq, struct chi_span data)
{
    struct chi_js_stream *s = js->stream;
    struct chi_js_epoch epoch;
    if (chi_js_read_epoch(data, &epoch))
        return;
    if (same_name(&epoch, known_last(js)))
        s->epoch_seq = seq;
    else if (!is_known(js, &epoch))
        chi_js_stream_doubt(js);
}

void chi_js_stream_doubt(struct chi_js *js)
{
    struct chi_js_stream *s = js->stream;
    if (js->state != CHI_JS_UP)
        return;
    chi_js_ask_end(&s->ask);
    chi_js_feed_pause(js);
    enter(s, CHI_JS_CHECKING, "the stream is being checked");
    later(s, check, 0);
}

/* ----------------------------------------------------------------------------------------- life */

int chi_js_stream_new(struct chi_js *js)
{
    struct chi_js_stream *s = calloc(1, sizeof *s);
    if (!s)
        return CHATHUB_ENOMEM;
    js->stream = s;
    s->js = js;
    s->due = UINT64_MAX;
    s->found = calloc(EPOCHS, sizeof(*s->found));
    s->list = calloc(RECENT + SPARSE, sizeof(*s->list));
    enter(s, CHI_JS_DOWN, "there is no connection to NATS");
    return s->found && s->list ? 0 : CHATHUB_ENOMEM;
}

void chi_js_stream_free(struct chi_js *js)
{
    struct chi_js_stream *s = js->stream;
    if (!s)
        return;
    chi_js_ask_end(&s->ask);
    free(s->found);
    free(s->list);
    free(s);
    js->stream = NULL;
}

static void cut_off(struct chi_js_stream *s)
{
    s->due = UINT64_MAX;
    s->refused = 0;
    s->again = s->loading;
    if (s->js->state != CHI_JS_DOWN)
        chi_js_feed_pause(s->js);
    enter(s, CHI_JS_DOWN, "there is no connection to NATS");
}

/* What was asked over the former connection is answered already, with nothing. */
static void connected(struct chi_js_stream *s)
{
    const struct chi_js_port *port = &s->js->parts.port;
    s->js->news.most = port->most(port->self);
    s->number = s->js->number;
    s->answered = s->js->now;
    s->proof = 0;
    s->again = s->loading;
    if (!s->loading)
        check(s);
}

void chi_js_stream_round(struct chi_js *js)
{
    struct chi_js_stream *s = js->stream;
    if (!js->was_up) {
        cut_off(s);
    } else if (s->number != js->number) {
        connected(s);
    } else if (js->now >= s->due) {
        s->due = UINT64_MAX;
        s->step(s);
    }
}

uint64_t chi_js_stream_due(const struct chi_js *js)
{
    return js->stream->due;
}

uint64_t chi_js_stream_window(const struct chi_js *js)
{
    return js->stream->config.duplicates;
}

uint32_t chi_js_stream_replicas(const struct chi_js *js)
{
    return js->stream->config.replicas;
}

const char *chi_js_stream_problem(const struct chi_js *js, int *error)
{
    const struct chi_js_stream *s = js->stream;
    if (!s->problem[0] || s->ever)
        return NULL;
    *error = s->problem_error;
    return s->problem;
}
