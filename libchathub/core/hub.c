/* The hub itself: its beginning, its turns, its end. */
#include "core/nodes.h"

#include <stdlib.h>
#include <string.h>

static struct chi_span session_user(const void *ctx, uint32_t number)
{
    return chi_session_user(chi_slots_at(ctx, number));
}

static struct chi_span session_name(const void *ctx, uint32_t number)
{
    const struct chi_session *session = chi_slots_at(ctx, number);
    return chi_name_key(session->name);
}

static struct chi_span room_name(const void *ctx, uint32_t number)
{
    const struct chi_room *room = chi_slots_at(ctx, number);
    return chi_name_key(room->name);
}

static void init_index(struct chi_hub *hub, struct chi_index *index,
                       struct chi_span (*text)(const void *ctx, uint32_t number),
                       const struct chi_slots *of)
{
    hub->parts.env.ops->random(hub->parts.env.self, index->secret, sizeof index->secret);
    index->text = text;
    index->ctx = of;
}

static void init(struct chi_hub *hub)
{
    hub->log_up = (struct chi_log_up){chi_core_opened, chi_core_committed, chi_core_redacted,
                                      chi_core_went_back, hub};
    hub->delivery_up =
        (struct chi_delivery_up){chi_core_drained, chi_core_failed,    chi_presence_snapshot,
                                 chi_core_handle,  chi_core_caught_up, hub};
    chi_slots_init(&hub->clients, sizeof(struct chi_client));
    chi_slots_init(&hub->sessions, sizeof(struct chi_session));
    chi_slots_init(&hub->members, sizeof(struct chi_member));
    chi_slots_init(&hub->rooms, sizeof(struct chi_room));
    init_index(hub, &hub->by_user, session_user, &hub->sessions);
    init_index(hub, &hub->by_name, session_name, &hub->sessions);
    init_index(hub, &hub->by_room, room_name, &hub->rooms);
    hub->parts.env.ops->random(hub->parts.env.self, hub->secret, sizeof hub->secret);
    chi_timers_init(&hub->timers);
    chi_core_busy_init(hub);
    chi_list_init(&hub->ready);
    chi_list_init(&hub->blocked);
    chi_list_init(&hub->jobs);
    chi_list_init(&hub->looks);
    chi_list_init(&hub->redactions);
    chi_list_init(&hub->ejections);
    chi_list_init(&hub->readings);
    chi_list_init(&hub->drafts);
    chi_list_init(&hub->stood_order);
}

int chi_hub_new(const struct chi_hub_parts *parts, struct chi_hub **out)
{
    uint16_t home;
    const struct chi_client_desc standard = {.default_room =
                                                 chi_span_of(parts->settings->default_room)};
    struct chi_hub *hub = calloc(1, sizeof *hub);
    if (!hub)
        return CHATHUB_ENOMEM;
    hub->parts = *parts;
    init(hub);
    int r = chi_core_home_of(hub, &standard, &home);
    if (r == 0)
        r = chi_nodes_init(hub);
    if (r == 0)
        r = chi_core_room_fixed(hub);
    if (r < 0) {
        chi_hub_free(hub);
        return r;
    }
    *out = hub;
    return 0;
}

static void free_jobs(struct chi_hub *hub)
{
    while (!chi_list_empty(&hub->jobs))
        chi_core_job_free(CHI_CONTAINER(hub->jobs.next, struct chi_job, all));
}

static void free_work(struct chi_hub *hub)
{
    struct chi_link *link;

    chi_core_looks_free(hub);
    chi_core_redactions_free(hub);
    chi_core_ejections_free(hub);
    while ((link = chi_list_take(&hub->readings)) != NULL)
        free(CHI_CONTAINER(link, struct chi_reading, all));
    while ((link = chi_list_take(&hub->drafts)) != NULL) {
        struct chi_draft *draft = CHI_CONTAINER(link, struct chi_draft, all);
        chi_entry_unref(draft->entry);
        free(draft);
    }
}

static void free_people(struct chi_hub *hub)
{
    for (uint32_t i = 0; i < hub->members.made; i++) {
        struct chi_member *member = chi_slots_at(&hub->members, i);
        if (member)
            chi_name_unref(member->told);
    }
    for (uint32_t i = 0; i < hub->sessions.made; i++) {
        struct chi_session *session = chi_slots_at(&hub->sessions, i);
        if (!session)
            continue;
        chi_name_unref(session->name);
        free(session->status);
    }
}

void chi_hub_free(struct chi_hub *hub)
{
    if (!hub)
        return;
    free_jobs(hub);
    free_work(hub);
    free_people(hub);
    chi_core_rooms_free(hub);
    chi_nodes_free(hub);
    for (uint32_t i = 0; i < hub->home_count; i++)
        chi_name_unref(hub->homes[i].room);
    free(hub->homes);
    chi_core_stood_free(hub);
    free(hub->present);
    chi_buf_fini(&hub->shown);
    chi_buf_fini(&hub->key);
    chi_index_fini(&hub->by_user);
    chi_index_fini(&hub->by_name);
    chi_index_fini(&hub->by_room);
    chi_timers_fini(&hub->timers);
    chi_slots_fini(&hub->clients);
    chi_slots_fini(&hub->sessions);
    chi_slots_fini(&hub->members);
    chi_slots_fini(&hub->rooms);
    free(hub);
}

const struct chi_log_up *chi_hub_log_up(struct chi_hub *hub)
{
    return &hub->log_up;
}

const struct chi_delivery_up *chi_hub_delivery_up(struct chi_hub *hub)
{
    return &hub->delivery_up;
}

/* ------------------------------------------------------------------------------------ its turns */

void chi_hub_turn(struct chi_hub *hub)
{
    hub->parts.log->poll(hub->parts.log);
    chi_nodes_work(hub);
    chi_core_work_readings(hub);
    chi_timers_run(&hub->timers, chi_core_now(hub));
    chi_session_expire(hub);
    chi_core_work_jobs(hub);
    chi_core_work_blocked(hub);
    chi_core_work_ejections(hub);
    chi_core_work_todo(hub);
    chi_core_work_idle(hub);
    chi_nodes_tell(hub);
}

uint64_t chi_hub_next(const struct chi_hub *hub)
{
    if (hub->todo || !chi_list_empty(&hub->ready) || !chi_list_empty(&hub->ejections) || hub->idle)
        return 0;
    uint64_t next = chi_timers_next(&hub->timers);
    uint64_t log = hub->parts.log->next(hub->parts.log);
    uint64_t lost = chi_session_next(hub);
    uint64_t nodes = chi_nodes_next(hub);
    next = log < next ? log : next;
    next = nodes < next ? nodes : next;
    return lost < next ? lost : next;
}

/* -------------------------------------------------------------------------------------- its end */

/* Clients are told different times, so that they do not all come back at once. */
#define BACK_MIN_MS    1000u
#define BACK_SPREAD_MS 4000u

uint64_t chi_core_come_back(struct chi_hub *hub)
{
    uint32_t random;
    hub->parts.env.ops->random(hub->parts.env.self, &random, sizeof random);
    return BACK_MIN_MS + random % BACK_SPREAD_MS;
}

void chi_hub_stop(struct chi_hub *hub)
{
    if (hub->stopping)
        return;
    hub->stopping = true;
    for (uint32_t i = 0; i < hub->clients.made; i++) {
        struct chi_client *client = chi_slots_at(&hub->clients, i);
        if (!client || !client->spoke)
            continue;
        chi_core_reply(hub, client,
                       &(struct chi_reply){
                           .type = CHI_REPLY_BYE,
                           .message = chi_span_of(chathub_strerror(CHATHUB_ESHUTDOWN)),
                           .retry_after = chi_core_come_back(hub),
                           .time = chi_core_wall(hub),
                       });
    }
    chi_core_wake(hub);
}

bool chi_hub_idle(const struct chi_hub *hub)
{
    return hub->draft_count == 0 && chi_list_empty(&hub->jobs) && chi_list_empty(&hub->redactions);
}

void chi_hub_counts(const struct chi_hub *hub, struct chi_hub_counts *out)
{
    *out = hub->counts;
    out->clients = hub->clients.used;
    out->rooms = hub->rooms.used;
    out->drafts = hub->draft_count;
    out->nodes = hub->nodes ? hub->nodes->nodes.used : 0;
    out->remote = hub->nodes ? hub->nodes->remote : 0;
    out->sessions -= out->remote;
    hub->parts.log->stats(hub->parts.log, &out->log);
}
