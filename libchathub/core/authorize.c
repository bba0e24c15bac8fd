/* Decisions of the host: at once, or later within a time. */
#include "core/internal.h"

#include <stdlib.h>

#define DENIED_MAX 199u

static bool decided(const struct chi_job *job, int action)
{
    return job->decided && job->action == action;
}

static int verdict(struct chi_hub *hub, const struct chi_job *job)
{
    if (job->decided == 1 + CHATHUB_ALLOW)
        return 0;
    return job->message ? chi_core_problem(hub, CHATHUB_EDENIED, "%s", job->message)
                        : CHATHUB_EDENIED;
}

/* The slot makes a question's number findable, the count makes it new. */
static uint64_t question_id(struct chi_hub *hub, const struct chi_client *client)
{
    if (++hub->asked == 0)
        hub->asked = 1;
    return (uint64_t)hub->asked << 32 | (client->slot.number + 1);
}

int chi_core_decide(struct chi_hub *hub, struct chi_job *job, int action, struct chi_span name,
                    struct chi_span room, struct chi_span content)
{
    const struct chi_session *session = job->client->session;

    if (!hub->parts.authorize || !(hub->parts.ask & 1u << action))
        return 0;
    if (decided(job, action))
        return verdict(hub, job);
    chi_core_decided_done(job);
    struct chi_question question = {
        .id = question_id(hub, job->client),
        .action = action,
        .client = chi_core_client_id(job->client),
        .user = session ? chi_session_user(session) : (struct chi_span){"", 0},
        .name = name.at   ? name
                : session ? chi_name_shown(session->name)
                          : (struct chi_span){"", 0},
        .room = room,
        .content = content,
    };
    job->action = (uint8_t)action;
    job->question = question.id;
    hub->asking = job;
    int answer = hub->parts.authorize(hub->parts.authorize_ctx, &question);
    hub->asking = NULL;
    if (!chi_core_client(hub, question.client)) /* the host ended it meanwhile */
        job->client = NULL;
    if (!job->client || (answer == CHATHUB_LATER && !job->decided)) {
        job->wait = CHI_WAIT_ANSWER;
        return CHI_STEP_WAIT;
    }
    job->question = 0;
    if (answer != CHATHUB_LATER)
        job->decided = (uint8_t)(1 + (answer == CHATHUB_ALLOW ? CHATHUB_ALLOW : CHATHUB_DENY));
    return verdict(hub, job);
}

void chi_core_decided_done(struct chi_job *job)
{
    job->decided = 0;
    job->question = 0;
    free(job->message);
    job->message = NULL;
}

static void too_late(struct chi_timer *timer)
{
    struct chi_job *job = CHI_CONTAINER(timer, struct chi_job, timer);
    job->question = 0;
    job->decided = 1 + CHATHUB_DENY;
    job->message = chi_span_dup(CHI_SPAN("nobody decided in time; try again later"));
    chi_core_job_ready(job->hub, job);
}

int chi_core_await_answer(struct chi_hub *hub, struct chi_job *job)
{
    job->timer.fire = too_late;
    return chi_timers_set(&hub->timers, &job->timer,
                          chi_core_now(hub) + hub->parts.settings->authorize_timeout);
}

static struct chi_job *asked_by(struct chi_hub *hub, uint64_t question)
{
    if (hub->asking && hub->asking->question == question)
        return hub->asking;
    struct chi_client *client = chi_slots_at(&hub->clients, (uint32_t)question - 1);
    struct chi_job *job = client ? client->job : NULL;
    return job && job->question == question ? job : NULL;
}

int chi_hub_answer(struct chi_hub *hub, uint64_t question, bool allow, struct chi_span message)
{
    struct chi_job *job = question ? asked_by(hub, question) : NULL;
    if (!job)
        return CHATHUB_EGONE;
    job->question = 0;
    job->decided = (uint8_t)(1 + (allow ? CHATHUB_ALLOW : CHATHUB_DENY));
    char line[DENIED_MAX];
    const struct chi_span words = {line, chi_utf8_line(message, line, sizeof(line))};
    if (words.len)
        job->message = chi_span_dup(words);
    if (job == hub->asking)
        return 0;
    chi_timers_clear(&hub->timers, &job->timer);
    chi_core_job_ready(hub, job);
    return 0;
}
