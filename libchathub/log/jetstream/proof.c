/* Pages that came from any server of the stream, compared with what its leader has.
 *
 * Happy path: for each entry of the page the leader is asked for the first message of the room from
 * behind the entry before it on: it is that entry, with the same bytes, so nothing lies between. For
 * the last one it is asked for what follows. Failure modes: another message, or none: the page is
 * wrong; unless what differs was erased, or is no entry, and so is passed over. An answer that does
 * not come is asked for again, TRIES times. */
#include <stdlib.h>

#include "chathub.h"
#include "log/jetstream/js.h"
#include "util/list.h"
#include "util/siphash.h"

#define ASKS   64u /* at once, for all pages */
#define TRIES  3u
#define GET_MS 2000u

struct probe {
    struct chi_js_ask ask;
    struct chi_js_proofs *proofs;
    struct chi_js_proof *proof; /* NULL: free */
    uint32_t point;             /* of the proof; its count: what follows the last one */
    uint32_t tries;
    uint64_t from; /* the first message from there on is asked for */
};

struct chi_js_proofs {
    struct chi_js *js;
    struct chi_link waiting; /* proofs with points that were not asked for, in turn */
    struct probe probes[ASKS];
};

enum verdict { PROVEN, ONWARD, WRONG };

static void serve(struct chi_js_proofs *proofs);

/* --------------------------------------------------------------------------------------- points */

static uint64_t hash_of(const struct chi_js *js, struct chi_span data)
{
    return chi_siphash(js->parts.secrets, data.at, data.len);
}

int chi_js_proof_add(const struct chi_js *js, struct chi_js_proof *proof, uint64_t position,
                     struct chi_span data)
{
    if (proof->count == proof->cap) {
        uint32_t cap = proof->cap ? proof->cap * 2 : 64;
        struct chi_js_point *points = realloc(proof->points, cap * sizeof(*points));
        if (!points)
            return CHATHUB_ENOMEM;
        proof->points = points;
        proof->cap = cap;
    }
    proof->points[proof->count++] = (struct chi_js_point){position, hash_of(js, data)};
    return 0;
}

void chi_js_proof_drop(struct chi_js_proof *proof, uint64_t below)
{
    uint32_t n = 0;
    while (n < proof->count && proof->points[n].position < below)
        n++;
    proof->count -= n;
    if (n)
        memmove(proof->points, proof->points + n, proof->count * sizeof(*proof->points));
}

/* ------------------------------------------------------------------------------------- the end */

static void probe_end(struct probe *probe)
{
    chi_js_ask_end(&probe->ask);
    probe->proof = NULL;
}

static void stop(struct chi_js_proof *proof)
{
    for (uint32_t i = 0; proof->proofs && i < ASKS; i++)
        if (proof->proofs->probes[i].proof == proof)
            probe_end(&proof->proofs->probes[i]);
    chi_list_remove(&proof->waiting);
    proof->proofs = NULL;
}

void chi_js_proof_end(struct chi_js_proof *proof)
{
    stop(proof);
    free(proof->points);
    proof->points = NULL;
    proof->count = proof->cap = 0;
}

/* Its owner may free it, or begin another, from within. */
static void finish(struct chi_js_proof *proof, int status)
{
    stop(proof);
    proof->done(proof, status);
}

/* -------------------------------------------------------------------------------------- answers */

static bool is_erased(const struct probe *probe, uint64_t position)
{
    struct chi_js_erased erased;
    return chi_js_erase_find(probe->proofs->js, probe->proof->key, position, position, &erased);
}

/* It stands in no page: its texts are gone, or nobody can read it. */
static bool is_passed_over(const struct probe *probe, const struct chi_js_answer *answer)
{
    struct chi_js_record record;
    if (is_erased(probe, answer->seq))
        return true;
    int error = chi_js_read_entry((struct chi_span){answer->data.at, answer->data.len}, &record);
    if (!error)
        chi_entry_unref(record.entry);
    return error == CHATHUB_EREQUEST;
}

/* What follows the last point has only to lie beyond the page. */
static enum verdict judge(struct probe *probe, const struct chi_js_answer *answer)
{
    const struct chi_js_proof *proof = probe->proof;
    bool is_end = probe->point == proof->count;
    uint64_t wanted = is_end ? proof->to : proof->points[probe->point].position;
    uint64_t seq = answer->code ? UINT64_MAX : answer->seq;
    struct chi_span subject = {answer->subject.at, answer->subject.len},
                    data = {answer->data.at, answer->data.len};
    if (!answer->code && (seq < probe->from || !chi_span_equal(proof->subject, subject)))
        return WRONG;
    if (seq < wanted && !is_passed_over(probe, answer))
        return WRONG;
    if (seq < wanted) {
        probe->from = seq + 1;
        return is_end && probe->from >= wanted ? PROVEN : ONWARD;
    }
    if (is_end ||
        (seq == wanted && hash_of(probe->proofs->js, data) == proof->points[probe->point].hash))
        return PROVEN;
    return is_erased(probe, wanted) ? PROVEN : WRONG;
}

static int send(struct probe *probe);

static void ask_on(struct probe *probe)
{
    if (send(probe))
        finish(probe->proof, CHATHUB_ELOG);
}

static void judged(struct probe *probe, enum verdict verdict)
{
    struct chi_js_proof *proof = probe->proof;
    if (verdict == ONWARD) {
        ask_on(probe);
    } else if (verdict == WRONG) {
        finish(proof, CHATHUB_EAGAIN);
    } else {
        probe_end(probe);
        if (!--proof->left)
            finish(proof, 0);
    }
}

static void answered(struct chi_js_ask *ask, const struct chi_js_in *in)
{
    struct probe *probe = CHI_CONTAINER(ask, struct probe, ask);
    struct chi_js_proofs *proofs = probe->proofs;
    struct chi_js_answer answer = {0};
    bool good = in && !in->status &&
                !chi_js_read_answer(in->data, proofs->js->parts.stream, &answer) &&
                (!answer.code || answer.err_code == CHI_JS_NO_MESSAGE);
    chi_js_ask_end(ask);
    if (answer.err_code == CHI_JS_NO_STREAM)
        chi_js_stream_doubt(proofs->js);
    bool ended = !probe->proof; /* by the doubt */
    if (good && !ended)
        judged(probe, judge(probe, &answer));
    else if (!ended && !in && ++probe->tries < TRIES)
        ask_on(probe);
    else if (!ended)
        finish(probe->proof, CHATHUB_ELOG);
    chi_js_answer_fini(&answer);
    serve(proofs);
}

/* ----------------------------------------------------------------------------------------- asks */

static int send(struct probe *probe)
{
    struct chi_buf data;
    chi_buf_init(&data);
    chi_js_ask_next(&data, probe->from, probe->proof->subject);
    return chi_js_ask(probe->proofs->js, &probe->ask, "STREAM.MSG.GET", &data, GET_MS);
}

static struct probe *free_probe(struct chi_js_proofs *proofs)
{
    for (uint32_t i = 0; i < ASKS; i++)
        if (!proofs->probes[i].proof)
            return &proofs->probes[i];
    return NULL;
}

static void serve(struct chi_js_proofs *proofs)
{
    struct probe *probe;
    while (!chi_list_empty(&proofs->waiting) && (probe = free_probe(proofs)) != NULL) {
        struct chi_js_proof *proof =
            CHI_CONTAINER(chi_list_take(&proofs->waiting), struct chi_js_proof, waiting);
        probe->proof = proof;
        probe->point = proof->next++;
        probe->tries = 0;
        probe->from = probe->point ? proof->points[probe->point - 1].position + 1 : proof->from;
        if (proof->next < proof->asks)
            chi_list_append(&proofs->waiting, &proof->waiting);
        ask_on(probe);
    }
}

void chi_js_proof_begin(struct chi_js_proofs *proofs, struct chi_js_proof *proof)
{
    uint64_t behind = proof->count ? proof->points[proof->count - 1].position + 1 : proof->from;
    proof->proofs = proofs;
    proof->next = 0;
    proof->left = proof->asks = proof->count + (behind < proof->to);
    if (!proof->asks) {
        finish(proof, 0);
        return;
    }
    chi_list_append(&proofs->waiting, &proof->waiting);
    serve(proofs);
}

/* ----------------------------------------------------------------------------------------- life */

struct chi_js_proofs *chi_js_proofs_new(struct chi_js *js)
{
    struct chi_js_proofs *proofs = calloc(1, sizeof(*proofs));
    if (!proofs)
        return NULL;
    proofs->js = js;
    chi_list_init(&proofs->waiting);
    for (uint32_t i = 0; i < ASKS; i++) {
        proofs->probes[i].proofs = proofs;
        proofs->probes[i].ask.answer = answered;
    }
    return proofs;
}

void chi_js_proofs_free(struct chi_js_proofs *proofs)
{
    free(proofs);
}
