/* Entries that lose their texts, at the host's word: who may do that is the host's to know.
 *
 * Happy path: the room is opened if it is not, the log is asked, what delivery and readings keep of
 * the entry is dropped when the log says that it is done, and the client is told OK. Failures: there
 * is no such entry, or the log cannot do it now: the client is told; one that goes leaves a redaction
 * behind that ends by itself, and is done all the same. Bounded by one for each client. */
#include "core/internal.h"

#include <stdio.h>
#include <stdlib.h>

struct chi_redaction {
    struct chi_link all;   /* in hub->redactions */
    struct chi_room *room; /* held: of a closed one the log reports nothing */
    struct chi_link jobs;  /* the one that waits for it; empty: its client went */
};

static int check(const struct chi_job *job)
{
    uint64_t position = job->request->position;
    return position && position <= CHI_POSITION_MAX ? 0 : CHATHUB_EPOSITION;
}

static int cannot(struct chi_hub *hub)
{
    return chi_core_problem(hub, CHATHUB_ELOG, "the log cannot erase it now; try again later");
}

/* The log reports on it once, unless it refuses. */
int chi_core_redact_ask(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_log *log = hub->parts.log;
    struct chi_redaction *redaction = malloc(sizeof *redaction);
    if (!redaction)
        return CHATHUB_ENOMEM;
    int r = log->redact(log, job->room->handle, job->request->position, redaction);
    if (r < 0) {
        free(redaction);
        return r == CHATHUB_ELOG ? cannot(hub) : r;
    }
    redaction->room = job->room;
    redaction->room->holds++;
    chi_list_init(&redaction->jobs);
    chi_list_append(&redaction->jobs, &job->link);
    chi_list_append(&hub->redactions, &redaction->all);
    chi_core_wake(hub);
    return 0;
}

static void told(struct chi_hub *hub, struct chi_redaction *redaction, int status)
{
    struct chi_link *link = chi_list_take(&redaction->jobs);

    if (link) {
        struct chi_job *job = CHI_CONTAINER(link, struct chi_job, link);
        job->status = status;
        job->found = true;
        chi_core_job_ready(hub, job);
    }
    redaction->room->holds--;
    chi_core_room_idle(hub, redaction->room);
    chi_list_remove(&redaction->all);
    free(redaction);
}

void chi_core_redacted(void *self, uint32_t number, uint64_t position, int status, void *token)
{
    struct chi_hub *hub = self;
    const struct chi_room *room = chi_slots_at(&hub->rooms, number);

    if (status == 0 && room && room->state == CHI_ROOM_OPEN) {
        CHI_DELIVERY(hub, redact, number, position);
        chi_core_history_stale(hub, room);
    }
    if (token)
        told(hub, token, status);
}

/* What the client is told, and the log of the process: who erased what is worth knowing. */
static int answer(struct chi_hub *hub, const struct chi_job *job, struct chi_span room)
{
    char position[24];

    if (job->status == CHATHUB_ENOENT)
        return chi_core_problem(hub, job->status, "the room has no entry at this position");
    if (job->status == CHATHUB_ELOG)
        return cannot(hub);
    if (job->status)
        return job->status;
    snprintf(position, sizeof position, "%llu", (unsigned long long)job->request->position);
    chi_core_log(hub, CHATHUB_INFO, "redacted", job->client, (struct chi_field){"room", room},
                 (struct chi_field){"position", chi_span_of(position)});
    chi_core_reply(hub, job->client,
                   &(struct chi_reply){.type = CHI_REPLY_OK,
                                       .ref = job->request->ref,
                                       .room = room,
                                       .position = job->request->position});
    return 0;
}

int chi_core_redact(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_folded name;
    struct chi_room *room = NULL;

    int r = check(job);
    if (r == 0)
        r = chi_core_room_name(hub, job->client, job->request->room, &name);
    if (r == 0 && (job->found || job->status < 0))
        return answer(hub, job, name.shown);
    if (r == 0)
        r = chi_core_room_load(hub, &name, &room);
    if (r < 0)
        return r;
    job->room = room;
    job->wait = r == CHI_STEP_WAIT ? CHI_WAIT_ROOM : CHI_WAIT_ERASED;
    return CHI_STEP_WAIT;
}

uint64_t chi_core_redactions(const struct chi_hub *hub)
{
    uint64_t n = 0;
    for (const struct chi_link *link = hub->redactions.next; link != &hub->redactions;
         link = link->next)
        n++;
    return n;
}

void chi_core_redactions_free(struct chi_hub *hub)
{
    struct chi_link *link;
    while ((link = chi_list_take(&hub->redactions)) != NULL)
        free(CHI_CONTAINER(link, struct chi_redaction, all));
}
