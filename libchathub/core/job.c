/* Requests on their way.
 *
 * Happy path: a request is done in one go and never leaves the stack. One that has to wait (a
 * room opens, the host decides, the log looks something up, too many drafts) is copied, and its
 * step is run again from the beginning when that is over: so everything is checked again, and
 * only what job keeps is not asked twice. Failure: its client goes first: the job is dropped. */
#include "core/nodes.h"

#include <assert.h>
#include <stdlib.h>

/* Told with "busy": when it may have passed. */
#define BUSY_MS 1000u
/* Run again in one turn; the others wait for the next, so that what is to be sent does not wait
 * for all of a crowd that, say, a room's opening has made ready at once. */
#define JOBS_A_TURN 64

static int step(struct chi_hub *hub, struct chi_job *job)
{
    if (job->observe)
        return chi_core_observe(hub, job);
    if (job->client->welcome && !job->client->nameless && job->request->type != CHI_REQUEST_HELLO) {
        int r = chi_session_need(hub, job);
        if (r)
            return r;
    }
    switch (job->request->type) {
    case CHI_REQUEST_HELLO:
        return chi_core_hello(hub, job);
    case CHI_REQUEST_JOIN:
        return chi_core_join(hub, job,
                             &(struct chi_wish){.room = job->request->room,
                                                .start = &job->request->start,
                                                .ref = job->request->ref});
    case CHI_REQUEST_LEAVE:
        return chi_core_leave(hub, job);
    case CHI_REQUEST_POST:
        return chi_core_post(hub, job);
    case CHI_REQUEST_HISTORY:
        return chi_core_history(hub, job);
    case CHI_REQUEST_WHO:
        return chi_core_who(hub, job);
    case CHI_REQUEST_TYPING:
        return chi_core_typing(hub, job);
    case CHI_REQUEST_STATUS:
        return chi_core_status(hub, job);
    case CHI_REQUEST_REDACT:
        return chi_core_redact(hub, job);
    case CHI_REQUEST_PING:
        chi_core_reply(hub, job->client,
                       &(struct chi_reply){.type = CHI_REPLY_PONG,
                                           .ref = job->request->ref,
                                           .time = chi_core_wall(hub)});
        return 0;
    case CHI_REQUEST_HELP:
        chi_core_reply(hub, job->client,
                       &(struct chi_reply){.type = CHI_REPLY_HELP, .ref = job->request->ref});
        return 0;
    }
    return CHATHUB_ETYPE;
}

static void release_room(struct chi_hub *hub, struct chi_job *job)
{
    if (!job->room)
        return;
    job->room->holds--;
    chi_core_room_idle(hub, job->room);
    job->room = NULL;
}

void chi_core_job_free(struct chi_job *job)
{
    chi_timers_clear(&job->hub->timers, &job->timer);
    chi_list_remove(&job->link);
    chi_list_remove(&job->all);
    free(job->message);
    if (job->kept) {
        free((void *)(uintptr_t)job->request);
        free(job);
    }
}

static void unlink_client(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_client *client = job->client;
    if (!client || client->job != job)
        return;
    client->job = NULL;
    if (client->stopped)
        chi_core_todo(hub, client);
}

void chi_core_job_drop(struct chi_hub *hub, struct chi_job *job)
{
    job->client->job = NULL;
    job->client = NULL;
    if (job == hub->asking)
        return;
    release_room(hub, job);
    chi_core_job_free(job);
}

/* Moves a job from the stack to the heap; NULL: no memory. */
static struct chi_job *keep(struct chi_hub *hub, struct chi_job *job)
{
    if (job->kept)
        return job;
    struct chi_job *kept = malloc(sizeof *kept);
    struct chi_request *request = chi_request_copy(job->request);
    if (!kept || !request) {
        free(kept);
        free(request);
        return NULL;
    }
    *kept = *job;
    kept->request = request;
    kept->kept = true;
    kept->client->job = kept;
    chi_list_append(&hub->jobs, &kept->all);
    return kept;
}

/* Puts a kept job where the end of its waiting is noticed. */
static int wait_for(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_busy *busy;

    switch ((enum chi_wait)job->wait) {
    case CHI_WAIT_ROOM:
        assert(job->room);
        chi_list_append(job->room->waiters, &job->link);
        return 0;
    case CHI_WAIT_ANSWER:
        return chi_core_await_answer(hub, job);
    case CHI_WAIT_PAGE:
        return chi_core_look(hub, job);
    case CHI_WAIT_HUB_DRAFTS:
        chi_list_append(&hub->blocked, &job->link);
        return 0;
    case CHI_WAIT_MEMBERS:
        busy = chi_core_busy(hub, job->room);
        if (!busy)
            return CHATHUB_ENOMEM;
        chi_list_append(&busy->posts, &job->link);
        return 0;
    case CHI_WAIT_ERASED:
        return chi_core_redact_ask(hub, job);
    case CHI_WAIT_NODE:
        return chi_nodes_await(hub, job);
    case CHI_WAIT_NOTHING:
    case CHI_WAIT_DRAFTS:
    case CHI_WAIT_TURN:
        break;
    }
    return 0;
}

/* Its client cannot go on, and comes back. */
static void fail_client(struct chi_hub *hub, struct chi_client *client, int code)
{
    if (client->fail)
        return;
    client->fail = (int8_t)code;
    chi_core_todo(hub, client);
}

/* Who was silent is told nothing, but for those who are to observe from the start: they are told, or
 * come again if it was the log's fault. */
static bool refuse_silent(struct chi_hub *hub, const struct chi_job *job, int code)
{
    if (!job->observe)
        return false;
    if (job->client->dialect->entrance != CHI_ENTRANCE_OBSERVES)
        return true;
    if (code != CHATHUB_ENOMEM && code != CHATHUB_ELOG && code != CHATHUB_EAGAIN)
        return false;
    fail_client(hub, job->client, code);
    return true;
}

static void refuse(struct chi_hub *hub, struct chi_job *job, int code)
{
    const struct chi_request *request = job->request;
    bool hello = request->type == CHI_REQUEST_HELLO;
    bool unnamed = job->naming && job->client->dialect->must_name;

    if (refuse_silent(hub, job, code))
        return;
    if (job->stage && hello) {
        fail_client(hub, job->client, code);
        return;
    }
    if (hello && !job->client->session)
        job->client->nameless = true;
    struct chi_reply error = {.code = code, .ref = request->ref, .room = request->room};
    if (request->type == CHI_REQUEST_POST)
        error.cid = request->cid;
    if (code == CHATHUB_EAGAIN)
        error.retry_after = BUSY_MS;
    chi_core_error(hub, job->client, &error);
    if (unnamed && !job->client->session)
        fail_client(hub, job->client, code);
}

/* What its client came with is under way, or never will be. */
static void release_members(struct chi_hub *hub, const struct chi_job *job)
{
    const struct chi_session *session = job->client->session;
    uint32_t first = session && job->entered ? session->members : 0;

    for (struct chi_member *member = chi_core_member_at(hub, first), *next; member; member = next) {
        next = chi_core_member_at(hub, member->next);
        chi_core_member_release(hub, member);
    }
}

static void finish(struct chi_hub *hub, struct chi_job *job, int r)
{
    struct chi_client *client = job->client;
    bool observes = r < 0 && !job->observe && client->dialect->entrance == CHI_ENTRANCE_OBSERVES;

    release_room(hub, job);
    if (r < 0)
        refuse(hub, job, r);
    release_members(hub, job);
    hub->problem[0] = '\0';
    unlink_client(hub, job);
    chi_core_job_free(job);
    if (observes) /* its request may have come before it did */
        chi_hub_observe(hub, chi_core_client_id(client));
}

int chi_core_run(struct chi_hub *hub, struct chi_job *job)
{
    release_room(hub, job);
    job->wait = CHI_WAIT_NOTHING;
    int r = step(hub, job);
    if (!job->client) {
        chi_core_job_free(job);
        return 0;
    }
    if (r == CHI_STEP_WAIT) {
        hub->problem[0] = '\0';
        if (job->room)
            job->room->holds++;
        struct chi_job *kept = keep(hub, job);
        r = kept ? wait_for(hub, kept) : CHATHUB_ENOMEM;
        if (r == 0)
            return CHI_STEP_WAIT;
        job = kept ? kept : job;
        job->wait = CHI_WAIT_NOTHING;
    }
    finish(hub, job, r);
    return 0;
}

void chi_core_job_ready(struct chi_hub *hub, struct chi_job *job)
{
    chi_list_remove(&job->link);
    job->wait = CHI_WAIT_TURN;
    chi_list_append(&hub->ready, &job->link);
    chi_core_wake(hub);
}

void chi_core_work_jobs(struct chi_hub *hub)
{
    struct chi_link now, *link;

    chi_list_init(&now);
    for (int i = 0; i < JOBS_A_TURN && (link = chi_list_take(&hub->ready)) != NULL; i++)
        chi_list_append(&now, link);
    if (!chi_list_empty(&hub->ready))
        chi_core_wake(hub);
    while ((link = chi_list_take(&now)) != NULL)
        chi_core_run(hub, CHI_CONTAINER(link, struct chi_job, link));
}
