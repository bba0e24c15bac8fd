/* For tests: whether all that the hub holds about itself agrees. */
#include "core/nodes.h"

struct sums {
    uint64_t members, present, rooms_of_sessions, sessions, lost, observers, drafts, client_drafts;
    uint64_t draft_bytes, holds, named, listeners, lingering;
};

#define CHECK(holds, fault)                                                                        \
    do {                                                                                           \
        if (!(holds))                                                                              \
            return fault;                                                                          \
    } while (0)

static bool client_is(const struct chi_hub *hub, const struct chi_client *client)
{
    return chi_slots_at(&hub->clients, client->slot.number) == client;
}

static const char *check_clients(const struct chi_hub *hub, struct sums *sums)
{
    for (uint32_t i = 0; i < hub->clients.made; i++) {
        const struct chi_client *client = chi_slots_at(&hub->clients, i);
        if (!client)
            continue;
        CHECK(!client->session || client->session->client == client,
              "a client's session serves another client");
        CHECK(!client->job || client->job->client == client, "a client's job is another's");
        CHECK(!client->reading || client->reading->client == client,
              "a client's page is another's");
        const struct chi_room *observed = chi_core_observed(hub, client);
        CHECK(!client->observed || (observed && observed->state == CHI_ROOM_OPEN),
              "a client observes a room that is not open");
        CHECK(!client->drafts == !client->draft_bytes, "a client's drafts and bytes disagree");
        CHECK(!client->stopped || client->job || client->full || hub->stopping ||
                  chi_core_drafts_full(hub, client) || chi_chain_linked(&client->todo),
              "a client is not read from, and nothing will change that");
        CHECK(!client->hearing || client->observed,
              "a client hears a room that it does not observe");
        sums->observers += client->observed != 0;
        sums->listeners += client->hearing;
        sums->client_drafts += client->drafts;
    }
    return NULL;
}

static const char *check_members_of(const struct chi_hub *hub, const struct chi_session *session,
                                    struct sums *sums)
{
    uint32_t present = 0, handling = session->client && session->client->job;

    for (const struct chi_member *m = chi_core_member_at(hub, session->members); m;
         m = chi_core_member_at(hub, m->next)) {
        CHECK(chi_slots_at(&hub->members, m->slot.number) == m, "a member is not in its table");
        CHECK(m->session == session, "a member is listed by another session");
        CHECK(m->room->state == CHI_ROOM_OPEN || (hub->nodes && !m->attached && !m->drafts),
              "a member's room is not open");
        CHECK(!m->attached || (session->client && !m->gone), "delivery reads for nobody");
        CHECK(m->gone || m->attached || !session->client || handling || session->client->fail,
              "a member of a connected session is not attached");
        CHECK(!m->gone || m->drafts || m->told, "a member lingers for nothing");
        CHECK(chi_chain_linked(&m->pending) == (m->told != (m->gone ? NULL : session->name)),
              "a member is pending for nothing, or not though it has to be");
        present += !m->gone;
        sums->members++;
        sums->drafts += m->drafts;
    }
    CHECK(present == session->rooms, "a session's count of rooms is wrong");
    sums->present += present;
    return NULL;
}

static bool has_place(const struct chi_hub *hub, const struct chi_session *session,
                      const struct chi_room *room)
{
    for (const struct chi_member *m = chi_core_member_at(hub, session->members); m;
         m = chi_core_member_at(hub, m->next)) {
        if (m->room == room)
            return true;
    }
    return false;
}

static bool in_chain(const struct chi_hub *hub, const struct chi_session *session)
{
    const struct chi_session *next = chi_slots_at(&hub->sessions, session->same.next - 1);

    return chi_chain_linked(&session->same) && next && next->same.prev == session->slot.number + 1;
}

static const char *check_lingering(const struct chi_hub *hub, const struct chi_session *session)
{
    const struct chi_session *first = chi_session_lingering(hub, session->user);
    bool found = false;

    CHECK(first && first->named, "a session that lingers is not found by its id");
    for (const struct chi_session *one = first; one;
         one = chi_chain_next(CHI_SESSIONS(hub, same), first->slot.number + 1, one)) {
        CHECK(one->ended && chi_span_equal(chi_session_user(one), chi_session_user(session)),
              "a session lingers among others");
        CHECK(one == first || !one->named, "two that linger are found by one id");
        found |= one == session;
        for (const struct chi_member *m = chi_core_member_at(hub, one->members); m;
             m = chi_core_member_at(hub, m->next))
            CHECK(one == session || !has_place(hub, session, m->room),
                  "a user lingers in a room twice");
    }
    CHECK(found, "a session that lingers is not in the chain of its user");
    return NULL;
}

static const char *check_sessions(const struct chi_hub *hub, struct sums *sums)
{
    for (uint32_t i = 0; i < hub->sessions.made; i++) {
        const struct chi_session *session = chi_slots_at(&hub->sessions, i);
        if (!session)
            continue;
        const char *fault = check_members_of(hub, session, sums);
        CHECK(!fault, fault);
        if (session->ended) {
            CHECK(session->members && !session->rooms && !session->client,
                  "an ended session has something left");
            fault = check_lingering(hub, session);
            CHECK(!fault, fault);
            sums->lingering += session->named;
            continue;
        }
        sums->sessions++;
        sums->lost += chi_chain_linked(&session->lost);
        CHECK(session->remote || !session->client == chi_chain_linked(&session->lost),
              "a session has neither client nor place among the lost, or both");
        CHECK(!session->client || client_is(hub, session->client), "a session's client is gone");
        CHECK(chi_session_by_user(hub, session->user) == session,
              "a session is not found by its id");
        const struct chi_session *named = chi_session_by_name(hub, chi_name_key(session->name));
        CHECK(named && named->named && (named == session) == session->named,
              "a session's name does not lead to the one that is named");
        CHECK(in_chain(hub, session), "a session is not in the chain of its name");
        sums->named += session->named;
    }
    CHECK(sums->sessions == hub->counts.sessions, "the count of sessions is wrong");
    CHECK(sums->sessions + sums->lingering == hub->by_user.count &&
              sums->named == hub->by_name.count,
          "an index of sessions holds something else");
    CHECK(sums->lost == hub->lost_count, "the count of lost sessions is wrong");
    CHECK(sums->members == hub->members.used, "a member belongs to no session");
    CHECK(sums->present == hub->counts.members, "the count of members is wrong");
    return NULL;
}

static const char *check_room(const struct chi_hub *hub, const struct chi_room *room)
{
    uint32_t present = 0, told = 0, live = 0, drafts = 0, pending = 0, listed = 0, ready = 0;

    const struct chi_chained in_room = CHI_MEMBERS(hub, in_room);
    const struct chi_chained waiting = CHI_MEMBERS(hub, pending);

    for (const struct chi_member *m = chi_chain_first(in_room, room->members); m;
         m = chi_chain_next(in_room, room->members, m)) {
        CHECK(m->room == room, "a member is listed by another room");
        present += !m->gone;
        told += m->told != NULL;
        live += m->attached;
        drafts += m->drafts;
        pending += chi_chain_linked(&m->pending);
        ready += chi_chain_linked(&m->pending) && !chi_presence_waits(m);
        CHECK(!m->held || (m->session->client && m->session->client->job &&
                           m->session->client->job->entered),
              "a member's coming is held back for nothing");
    }
    for (const struct chi_member *m = chi_chain_first(waiting, room->pending); m;
         m = chi_chain_next(waiting, room->pending, m))
        listed++;
    CHECK(listed == pending, "a room's pending members are not its members");
    CHECK(present == room->present && told == room->told && live == room->live,
          "a room's counts of members are wrong");
    CHECK(drafts == room->drafts, "a room's count of drafts is wrong");
    CHECK(!ready || chi_core_announces(room), "something waits to be told, and no timer is set");
    CHECK(room->state != CHI_ROOM_OPENING || room->waiters, "a room's waiters are lost");
    CHECK(!room->busy || (room->busy->room == room && chi_list_linked(&room->busy->all)),
          "a room's record of what goes on is another's");
    CHECK(!room->busy || hub->busy_timer.place, "rooms are busy for ever");
    CHECK(room->state == CHI_ROOM_OPEN || (!(hub->nodes ? live : present) && !room->observers),
          "a closed room is in use");
    CHECK(room->fixed || room->queued || room->state == CHI_ROOM_OPENING || room->observers ||
              room->drafts || room->holds || chi_nodes_own(hub, room) ||
              (room->state == CHI_ROOM_CLOSED && room->members),
          "a room that nobody needs stays loaded");
    CHECK(chi_core_room_find(hub, chi_name_key(room->name)) == room, "a room is not found by name");
    return NULL;
}

static const char *check_rooms(const struct chi_hub *hub, struct sums *sums)
{
    uint64_t observers = 0, listeners = 0, drafts = 0;

    for (uint32_t i = 0; i < hub->rooms.made; i++) {
        const struct chi_room *room = chi_slots_at(&hub->rooms, i);
        if (!room)
            continue;
        const char *fault = check_room(hub, room);
        CHECK(!fault, fault);
        observers += room->observers;
        listeners += room->listeners;
        drafts += room->drafts;
        sums->holds += room->holds;
    }
    CHECK(observers == sums->observers && observers == hub->counts.observers,
          "the count of observers is wrong");
    CHECK(listeners == sums->listeners, "the count of observers that hear signals is wrong");
    CHECK(drafts == sums->drafts && drafts == hub->draft_count, "the count of drafts is wrong");
    CHECK(hub->rooms.used == hub->by_room.count, "the index of rooms holds something else");
    return NULL;
}

static const char *check_work(const struct chi_hub *hub, const struct sums *sums)
{
    uint64_t holds = 0, bytes = 0, drafts = 0, mine = 0;

    for (struct chi_link *at = hub->jobs.next; at != &hub->jobs; at = at->next) {
        const struct chi_job *job = CHI_CONTAINER(at, struct chi_job, all);
        CHECK(!job->client || (client_is(hub, job->client) && job->client->job == job),
              "a job's client does not know it");
        CHECK(job->client, "a job without client waits for nothing");
        CHECK(job->wait != CHI_WAIT_ANSWER || job->timer.place, "a question has no time");
        CHECK(job->wait != CHI_WAIT_DRAFTS || job->client->drafts, "a job waits for no draft");
        CHECK(job->wait != CHI_WAIT_HUB_DRAFTS || hub->draft_count, "a job waits for no draft");
        CHECK(job->wait != CHI_WAIT_NODE || (job->timer.place && chi_list_linked(&job->link)),
              "another node's answer is awaited for ever");
        CHECK(job->wait != CHI_WAIT_MEMBERS || (job->room && chi_list_linked(&job->link)),
              "a post waits for no room");
        holds += job->room != NULL;
    }
    for (struct chi_link *at = hub->readings.next; at != &hub->readings; at = at->next)
        holds++;
    for (struct chi_link *at = hub->drafts.next; at != &hub->drafts; at = at->next) {
        const struct chi_draft *draft = CHI_CONTAINER(at, struct chi_draft, all);
        bytes += draft->bytes;
        drafts++;
        mine += chi_core_client(hub, draft->client) != NULL;
    }
    holds += chi_core_looks(hub);
    holds += chi_core_redactions(hub);
    CHECK(holds == sums->holds, "a room is held for nothing");
    CHECK(bytes == hub->draft_bytes && drafts == hub->draft_count, "the sum of drafts is wrong");
    CHECK(mine == sums->client_drafts, "the clients' counts of drafts are wrong");
    return NULL;
}

const char *chi_hub_check(const struct chi_hub *hub)
{
    struct sums sums = {0};
    const char *fault = check_clients(hub, &sums);
    if (!fault)
        fault = check_sessions(hub, &sums);
    if (!fault)
        fault = check_rooms(hub, &sums);
    if (!fault)
        fault = check_work(hub, &sums);
    return fault ? fault : chi_nodes_check(hub);
}
