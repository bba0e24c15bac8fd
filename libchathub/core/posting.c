/* Posts: from request to draft, and from the log's answer to the ack.
 *
 * Happy path: the post is checked, the log takes the draft, later says it is committed: the
 * entry goes to delivery, the ack to the poster. Failures: the poster is gone or another
 * connection has its session (no ack: whoever comes back posts again with the same cid); the log
 * cannot, or does not know (told as an error); too many drafts (the poster is not read from). */
#include "core/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int check_cid(const struct chi_settings *settings, struct chi_span cid)
{
    if (!cid.at)
        return 0;
    if (cid.len == 0 || cid.len > settings->max_cid || cid.len > UINT16_MAX)
        return CHATHUB_ECID;
    for (size_t i = 0; i < cid.len; i++) {
        if (cid.at[i] < 0x20 || cid.at[i] > 0x7e)
            return CHATHUB_ECID;
    }
    return 0;
}

static int check_post(struct chi_hub *hub, const struct chi_request *post)
{
    const struct chi_settings *settings = hub->parts.settings;

    if (post->content.len == 0 && post->data.len == 0)
        return chi_core_problem(hub, CHATHUB_EEMPTY,
                                "the post is empty; put text into \"content\"");
    if (post->content.len > settings->max_content)
        return chi_core_problem(hub, CHATHUB_ETOOLONG,
                                "content has %zu bytes; at most %u are taken", post->content.len,
                                settings->max_content);
    if (post->data.len > settings->max_data)
        return chi_core_problem(hub, CHATHUB_ETOOLONG, "data has %zu bytes; at most %u are taken",
                                post->data.len, settings->max_data);
    if (!chi_text_clean(post->content.at, post->content.len))
        return CHATHUB_ETEXT;
    return check_cid(settings, post->cid);
}

/* Into the default room: from now on; or, for clients who are named by what they say first or know
 * no positions, as if they had come in. */
static int enter(struct chi_hub *hub, struct chi_job *job)
{
    const struct chi_dialect *dialect = job->client->dialect;
    bool comes = dialect->post_name != CHI_POST_NAME_NONE || dialect->replays;
    const struct chi_start start = {.kind = comes ? CHI_START_DEFAULT : CHI_START_NOW};
    return chi_core_join(
        hub, job,
        &(struct chi_wish){.room = job->request->room, .start = &start, .implicit = true});
}

static bool is_called(struct chi_hub *hub, const struct chi_session *session, struct chi_span name)
{
    struct chi_folded folded;

    if (chi_span_equal(name, chi_name_shown(session->name)))
        return true;
    bool same = name.at && chi_core_fold(hub, CHI_FOLD_NAME, name, &folded) == 0 &&
                chi_span_equal(folded.shown, chi_name_shown(session->name));
    hub->problem[0] = '\0';
    return same;
}

/* The name in a post, where it means something (enum chi_post_name). job->stage tells a step that
 * runs again that it was this post which named its client. */
static int name_poster(struct chi_hub *hub, struct chi_job *job)
{
    const struct chi_session *session = job->client->session;
    enum chi_post_name means = job->client->dialect->post_name;
    struct chi_span name = job->request->name;

    if (means == CHI_POST_NAME_NONE || job->stage || (session && means != CHI_POST_NAME_EACH))
        return 0;
    if (session && is_called(hub, session, name))
        return 0;
    if (!name.at) {
        job->naming = true;
        return CHATHUB_ENAMEREQUIRED;
    }
    int r = chi_core_become(hub, job);
    if (r == 0)
        job->stage = 1;
    return r;
}

/* The member that posts; the default room is joined for it. */
static int poster(struct chi_hub *hub, struct chi_job *job, struct chi_member **out)
{
    struct chi_client *client = job->client;
    const struct chi_request *post = job->request;

    int r = chi_core_member_needed(hub, job, out);
    if (r != CHATHUB_ENOTMEMBER)
        return r;
    struct chi_folded name;
    r = chi_core_room_name(hub, client, post->room, &name);
    if (r < 0)
        return r;
    if (client->dialect->must_join ||
        !chi_span_equal(name.key, chi_name_key(chi_core_home(hub, client)->room)))
        return CHATHUB_ENOTMEMBER;
    r = enter(hub, job);
    return r ? r : chi_core_member_needed(hub, job, out);
}

bool chi_core_drafts_full(const struct chi_hub *hub, const struct chi_client *client)
{
    const struct chi_settings *settings = hub->parts.settings;
    return client->drafts && (client->drafts >= settings->client_drafts ||
                              client->draft_bytes >= settings->client_draft_bytes);
}

/* A single draft is always taken, however low the bounds are. */
static enum chi_wait full(const struct chi_hub *hub, const struct chi_client *client,
                          uint64_t bytes)
{
    const struct chi_settings *settings = hub->parts.settings;
    if (client->drafts && (client->drafts >= settings->client_drafts ||
                           client->draft_bytes + bytes > settings->client_draft_bytes))
        return CHI_WAIT_DRAFTS;
    if (hub->draft_count && hub->draft_bytes + bytes > settings->hub_draft_bytes)
        return CHI_WAIT_HUB_DRAFTS;
    return CHI_WAIT_NOTHING;
}

static struct chi_draft *draft_new(const struct chi_client *client, struct chi_member *member,
                                   const struct chi_request *post)
{
    struct chi_entry_parts parts = {
        .sender = chi_name_shown(client->session->name),
        .user = chi_session_user(client->session),
        .cid = post->cid,
        .content = post->content,
        .data = post->data,
    };
    struct chi_draft *draft = malloc(sizeof *draft + post->ref.len);
    if (!draft)
        return NULL;
    *draft = (struct chi_draft){.client = chi_core_client_id(client), .member = member};
    draft->entry = chi_entry_new(CHI_ENTRY_CHAT, &parts);
    if (!draft->entry) {
        free(draft);
        return NULL;
    }
    draft->ref_len = (uint32_t)post->ref.len;
    if (post->ref.len)
        memcpy(draft->ref, post->ref.at, post->ref.len);
    draft->bytes = (uint32_t)(chi_entry_size(draft->entry) + sizeof *draft + post->ref.len);
    return draft;
}

static void draft_free(struct chi_draft *draft)
{
    chi_list_remove(&draft->all);
    chi_entry_unref(draft->entry);
    free(draft);
}

static void count_draft(struct chi_hub *hub, struct chi_client *client, struct chi_draft *draft)
{
    chi_list_append(&hub->drafts, &draft->all);
    hub->draft_count++;
    hub->draft_bytes += draft->bytes;
    draft->member->drafts++;
    draft->member->room->drafts++;
    client->drafts++;
    client->draft_bytes += draft->bytes;
}

static int append(struct chi_hub *hub, struct chi_job *job, struct chi_member *member)
{
    struct chi_log *log = hub->parts.log;
    struct chi_client *client = job->client;

    if (CHI_DELIVERY(hub, room_behind, member->room->slot.number)) {
        job->room = member->room;
        job->wait = CHI_WAIT_MEMBERS;
        return CHI_STEP_WAIT;
    }
    struct chi_draft *draft = draft_new(client, member, job->request);
    if (!draft)
        return CHATHUB_ENOMEM;
    job->wait = (uint8_t)full(hub, client, draft->bytes);
    int r = job->wait != CHI_WAIT_NOTHING
                ? CHI_STEP_WAIT
                : log->append(log, member->room->handle, draft->entry, draft);
    if (r) {
        draft_free(draft);
        return r;
    }
    count_draft(hub, client, draft);
    chi_core_typing_end(hub, member, false);
    return 0;
}

void chi_core_caught_up(void *self, uint32_t number)
{
    struct chi_hub *hub = self;
    const struct chi_room *room = chi_slots_at(&hub->rooms, number);
    struct chi_link *link;

    while (room->busy && (link = chi_list_take(&room->busy->posts)) != NULL)
        chi_core_job_ready(hub, CHI_CONTAINER(link, struct chi_job, link));
}

int chi_core_post(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_member *member;
    bool whole = job->client->dialect->post_name == CHI_POST_NAME_WHOLE;

    int r = whole && (!job->client->session || job->stage) ? 0 : check_post(hub, job->request);
    if (r == 0)
        r = name_poster(hub, job);
    if (r == 0 && whole && job->stage)
        return enter(hub, job);
    if (r == 0)
        r = poster(hub, job, &member);
    if (r == 0)
        r = chi_core_decide(hub, job, CHATHUB_POST, (struct chi_span){NULL, 0},
                            chi_name_shown(member->room->name), job->request->content);
    if (r)
        return r;
    if (job->request->to.len && chi_core_home(hub, job->client)->private_posts)
        return chi_core_post_privately(hub, job, member);
    return append(hub, job, member);
}

/* ------------------------------------------------------------------------- what the log answers */

static void note_post(struct chi_hub *hub, const struct chi_draft *draft)
{
    char position[24], bytes[24];

    if (!chi_env_logs(&hub->parts.env, CHATHUB_DEBUG))
        return;
    snprintf(position, sizeof position, "%" PRIu64, draft->entry->position);
    snprintf(bytes, sizeof bytes, "%" PRIu32, draft->entry->content_len);
    struct chi_field fields[] = {
        {"user", chi_entry_read(draft->entry).user},
        {"name", chi_entry_read(draft->entry).sender},
        {"room", chi_name_shown(draft->member->room->name)},
        {"position", chi_span_of(position)},
        {"bytes", chi_span_of(bytes)},
    };
    hub->parts.env.ops->log(hub->parts.env.self, CHATHUB_DEBUG, "post", fields,
                            sizeof fields / sizeof *fields);
}

static void answer(struct chi_hub *hub, struct chi_client *client, const struct chi_draft *draft,
                   const struct chi_log_result *result)
{
    struct chi_reply reply = {
        .type = CHI_REPLY_ACK,
        .ref = {draft->ref, draft->ref_len},
        .room = chi_name_shown(draft->member->room->name),
        .cid = chi_entry_read(draft->entry).cid,
    };
    if (result->status != 0 && result->status != CHATHUB_EDUP) {
        reply.code = result->status;
        reply.retry_after = result->retry_after;
        if (result->why)
            chi_core_problem(hub, result->status, "%s (%s)", chathub_strerror(result->status),
                             result->why);
        chi_core_error(hub, client, &reply);
        return;
    }
    reply.epoch = hub->parts.log->epoch(hub->parts.log);
    reply.dup = result->status == CHATHUB_EDUP;
    reply.position = result->entry->position;
    reply.time = result->entry->time;
    chi_core_reply(hub, client, &reply);
}

static void release(struct chi_hub *hub, struct chi_client *client, const struct chi_draft *draft)
{
    client->drafts--;
    client->draft_bytes -= draft->bytes;
    if (client->job && client->job->wait == CHI_WAIT_DRAFTS)
        chi_core_job_ready(hub, client->job);
    else if (client->stopped)
        chi_core_todo(hub, client);
}

static void resolve(struct chi_hub *hub, struct chi_draft *draft,
                    const struct chi_log_result *result)
{
    struct chi_client *client = chi_core_client(hub, draft->client);
    struct chi_member *member = draft->member;
    struct chi_room *room = member->room;

    if (result->status == 0)
        note_post(hub, draft);
    if (client) {
        answer(hub, client, draft, result);
        release(hub, client, draft);
    }
    hub->draft_count--;
    hub->draft_bytes -= draft->bytes;
    draft_free(draft);
    room->drafts--;
    if (--member->drafts == 0)
        chi_presence_touch(hub, member); /* what waited for its posts; this may free it */
    chi_core_room_idle(hub, room);
}

void chi_core_committed(void *self, const struct chi_log_result *results, size_t n)
{
    struct chi_hub *hub = self;

    for (size_t i = 0; i < n; i++) {
        const struct chi_log_result *result = &results[i];
        struct chi_room *room = chi_slots_at(&hub->rooms, result->room);
        if (room && room->state == CHI_ROOM_OPEN && result->status == 0) {
            room->top = result->entry->position;
            CHI_DELIVERY(hub, entry, result->room, result->entry);
            hub->counts.posts++;
        }
        hub->counts.dups += result->status == CHATHUB_EDUP;
        if (result->token)
            resolve(hub, result->token, result);
    }
    if (!chi_list_empty(&hub->blocked))
        chi_core_wake(hub);
}

void chi_core_work_blocked(struct chi_hub *hub)
{
    struct chi_link now, *link;

    if (hub->draft_count && hub->draft_bytes >= hub->parts.settings->hub_draft_bytes)
        return;
    chi_list_init(&now);
    while ((link = chi_list_take(&hub->blocked)) != NULL)
        chi_list_append(&now, link);
    while ((link = chi_list_take(&now)) != NULL) {
        if (hub->draft_count && hub->draft_bytes >= hub->parts.settings->hub_draft_bytes)
            chi_list_append(&hub->blocked, link); /* keeps its place among those that wait on */
        else
            chi_core_run(hub, CHI_CONTAINER(link, struct chi_job, link));
    }
}
