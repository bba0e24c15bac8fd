/* Stored messages read in order, by an ephemeral pull consumer.
 *
 * Happy path: CONSUMER.CREATE says how many messages there are; pulls bring them, each numbered by
 * the consumer; behind the last one the consumer is deleted, without waiting for the answer.
 * Failure modes: a number is missing, a pull is not answered, or the consumer is gone (its server
 * restarted, or nobody pulled for 10 s): another consumer begins behind the last message that was
 * given. So often without any message between, and it is given up with CHATHUB_ELOG. */
#include <stdio.h>

#include "chathub.h"
#include "log/jetstream/js.h"
#include "util/list.h"

#define TRIES 5u
/* A consumer on three servers may take a while; here and below ms. */
#define CREATE_MS     5000u
#define PULL_MS       1000u
#define PULL_MESSAGES 500u
#define PULL_BYTES    (1u << 20)

enum { IDLE, CREATING, PULLING };

static void create(struct chi_js_walk *walk);

/* The consumer would go by itself; this is sooner. */
static void drop_consumer(struct chi_js_walk *walk)
{
    char subject[160];
    if (!walk->consumer[0])
        return;
    const struct chi_js_port *port = &walk->js->parts.port;
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.DELETE.%s.%s", walk->js->parts.stream,
             walk->consumer);
    struct chi_js_out out = {.subject = chi_span_of(subject)};
    port->send(port->self, &out);
    walk->consumer[0] = '\0';
}

void chi_js_walk_end(struct chi_js_walk *walk)
{
    if (walk->stage == IDLE)
        return;
    walk->stage = IDLE;
    walk->run++;
    chi_js_ask_end(&walk->ask);
    drop_consumer(walk);
    chi_buf_fini(&walk->subject);
    chi_buf_init(&walk->subject);
}

static void finish(struct chi_js_walk *walk, int status, bool whole)
{
    chi_js_walk_end(walk);
    walk->done(walk, status, whole);
}

/* Something was lost: begins anew behind the last message that was given. */
static void again(struct chi_js_walk *walk)
{
    if (++walk->tries > TRIES) {
        finish(walk, CHATHUB_ELOG, false);
        return;
    }
    chi_js_ask_end(&walk->ask);
    drop_consumer(walk);
    create(walk);
}

static bool enough(const struct chi_js_walk *walk)
{
    return walk->given >= walk->limit || walk->given_bytes >= walk->bytes;
}

static uint32_t at_most(uint64_t bound, uint64_t given, uint32_t most)
{
    return bound == UINT32_MAX || bound - given > most ? most : (uint32_t)(bound - given);
}

/* The server counts headers and subjects, too. */
static uint32_t pull_bytes(const struct chi_js_walk *walk)
{
    uint32_t bytes = at_most(walk->bytes, walk->given_bytes, PULL_BYTES / 2) * 2;
    return bytes < PULL_BYTES / 16 ? PULL_BYTES / 16 : bytes;
}

/* After a refusal one message, however large it is. */
static int pull(struct chi_js_walk *walk)
{
    char subject[160];
    struct chi_buf data;
    chi_buf_init(&data);
    snprintf(subject, sizeof(subject), "$JS.API.CONSUMER.MSG.NEXT.%s.%s", walk->js->parts.stream,
             walk->consumer);
    walk->batch = walk->single ? 1 : at_most(walk->limit, walk->given, PULL_MESSAGES);
    walk->pulled = 0;
    chi_js_ask_pull(&data, walk->batch, walk->single ? 0 : pull_bytes(walk));
    struct chi_js_out out = {.subject = chi_span_of(subject), .data = {data.at, data.len}};
    int error = data.failed ? CHATHUB_ENOMEM : chi_js_ask_send(walk->js, &walk->ask, &out, PULL_MS);
    chi_buf_fini(&data);
    return error;
}

static void pull_on(struct chi_js_walk *walk)
{
    if (pull(walk))
        finish(walk, CHATHUB_ELOG, false);
}

static void created(struct chi_js_walk *walk, const struct chi_js_in *in)
{
    struct chi_js_answer answer;
    int error = chi_js_read_answer(in->data, walk->js->parts.stream, &answer);
    bool good = !error && !answer.code && answer.consumer[0];
    if (good) {
        snprintf(walk->consumer, sizeof(walk->consumer), "%s", answer.consumer);
        walk->pending = answer.pending;
    }
    if (answer.err_code == CHI_JS_NO_STREAM)
        chi_js_stream_doubt(walk->js);
    chi_js_answer_fini(&answer);
    walk->nth = 0;
    walk->single = false;
    if (!good) {
        again(walk);
    } else if (!walk->pending) {
        finish(walk, 0, true);
    } else {
        walk->stage = PULLING;
        pull_on(walk);
    }
}

/* A message: one that is older than what was wanted comes from a server that was behind. */
static void message(struct chi_js_walk *walk, const struct chi_js_in *in)
{
    if (in->nth != walk->nth + 1) {
        again(walk);
        return;
    }
    uint32_t run = walk->run;
    walk->nth = in->nth;
    walk->pending = in->pending;
    walk->pulled++;
    walk->single = false;
    if (in->seq >= walk->seq) {
        walk->seq = in->seq + 1;
        walk->time = 0;
        walk->given++;
        walk->given_bytes += in->data.len;
        walk->tries = 0;
        walk->each(walk, in);
        if (walk->run != run)
            return;
    }
    if (!walk->pending)
        finish(walk, 0, true);
    else if (enough(walk))
        finish(walk, 0, false);
    else if (walk->pulled == walk->batch)
        pull_on(walk);
}

/* The pull ended early. Nothing there, though there should be: either it was lost, or the server
 * counts what is no more; it is believed when it says so again. */
static void ended(struct chi_js_walk *walk, uint16_t status)
{
    bool nothing = status == 404 || status == 408;
    if (nothing && !walk->pulled && walk->tries)
        finish(walk, 0, true);
    else if (status == 409 && !walk->single)
        walk->single = !walk->pulled, pull_on(walk);
    else if (nothing && walk->pulled)
        pull_on(walk);
    else
        again(walk);
}

static void answered(struct chi_js_ask *ask, const struct chi_js_in *in)
{
    struct chi_js_walk *walk = CHI_CONTAINER(ask, struct chi_js_walk, ask);
    if (!in || in->status == 503)
        again(walk);
    else if (walk->stage == CREATING)
        created(walk, in);
    else if (in->status)
        ended(walk, in->status);
    else if (in->seq)
        message(walk, in);
}

static int ask_consumer(struct chi_js_walk *walk)
{
    struct chi_buf data;
    struct chi_span filter = {walk->subject.at, walk->subject.len};
    chi_buf_init(&data);
    walk->stage = CREATING;
    walk->ask.answer = answered;
    chi_js_ask_consumer(&data, walk->js->parts.stream, filter, walk->seq, walk->time);
    return chi_js_ask(walk->js, &walk->ask, "CONSUMER.CREATE", &data, CREATE_MS);
}

static void create(struct chi_js_walk *walk)
{
    if (ask_consumer(walk))
        finish(walk, CHATHUB_ELOG, false);
}

int chi_js_walk_begin(struct chi_js *js, struct chi_js_walk *walk, struct chi_span subject,
                      uint64_t seq, uint64_t time)
{
    walk->js = js;
    walk->seq = seq ? seq : !time;
    walk->time = time;
    walk->given = walk->given_bytes = 0;
    walk->tries = 0;
    walk->consumer[0] = '\0';
    chi_buf_init(&walk->subject);
    chi_buf_add(&walk->subject, subject.at, subject.len);
    int error = walk->subject.failed ? CHATHUB_ENOMEM : ask_consumer(walk);
    if (error) {
        chi_buf_fini(&walk->subject);
        chi_buf_init(&walk->subject);
        walk->stage = IDLE;
    } else {
        walk->run++;
    }
    return error;
}
