/* Into rooms and out of them.
 *
 * A join folds the room's name, asks the host, has the room opened, finds where its cursor
 * begins (which may need a look into the log), and only then changes anything. Each of these may
 * have to wait; the step then begins anew. */
#include "core/nodes.h"

/* Where a cursor is to begin. */
struct begin {
    uint64_t from;
    uint64_t lost_from; /* with `lost`: what it asked to follow */
    bool lost;          /* that means nothing any more: told by a gap up to `from` */
    bool stay;          /* where it stands already */
};

/* How many entries somebody gets who comes anew and asked for nothing else. */
static uint32_t standard_count(const struct chi_hub *hub, const struct chi_client *client)
{
    const struct chi_home *home = chi_core_home(hub, client);
    if (home->history > 0)
        return (uint32_t)home->history;
    return home->history < 0 || client->dialect->no_history ? 0 : hub->parts.settings->join_history;
}

/* How many of the last anybody may ask for. */
static uint32_t most(const struct chi_hub *hub, const struct chi_client *client)
{
    uint32_t page = hub->parts.settings->history_page, join = hub->parts.settings->join_history;
    uint32_t listener = standard_count(hub, client);
    uint32_t max = page > join ? page : join;
    return listener > max ? listener : max;
}

static int last(struct chi_hub *hub, struct chi_job *job, struct chi_room *room, uint32_t count,
                struct begin *begin)
{
    uint32_t max = most(hub, job->client);

    if (count == 0 || room->top == 0) {
        begin->from = room->top;
        return 0;
    }
    if (job->found) {
        begin->from = job->from;
        return 0;
    }
    job->count = count < max ? count : max;
    if (chi_core_looked(hub, room, job->count, &begin->from))
        return 0;
    job->room = room;
    job->wait = CHI_WAIT_PAGE;
    return CHI_STEP_WAIT;
}

static int after(struct chi_hub *hub, struct chi_job *job, struct chi_room *room,
                 const struct chi_start *start, struct begin *begin)
{
    struct chi_log *log = hub->parts.log;

    if (start->position > CHI_POSITION_MAX)
        return CHATHUB_EPOSITION;
    if (log->holds(log, start->epoch, start->position)) {
        int r =
            start->position > room->top ? chi_nodes_catch_up(hub, job, room, start->position) : 0;
        if (r)
            return r;
        begin->from = start->position < room->top ? start->position : room->top;
        if (!chi_nodes_beyond(hub, start->position))
            return 0;
    }
    begin->lost = true;
    begin->lost_from = start->position;
    return last(hub, job, room, standard_count(hub, job->client), begin);
}

/* Where a name's last session stood, if its client cannot know; else among the last. */
static int standard(struct chi_hub *hub, struct chi_job *job, struct chi_room *room,
                    struct begin *begin)
{
    const struct chi_client *client = job->client;
    uint32_t count = standard_count(hub, client);
    struct begin latest = {0, 0, false, false};
    struct chi_start stood;

    if (!client->dialect->replays || !chi_core_stood_find(hub, client->session->name, room, &stood))
        return last(hub, job, room, count, begin);
    int r = after(hub, job, room, &stood, begin);
    if (r || !client->dialect->also_last || begin->lost)
        return r;
    r = last(hub, job, room, count, &latest);
    if (r == 0 && latest.from < begin->from)
        begin->from = latest.from;
    return r;
}

static int find_begin(struct chi_hub *hub, struct chi_job *job, struct chi_room *room,
                      const struct chi_member *member, const struct chi_start *start,
                      struct begin *begin)
{
    switch (start->kind) {
    case CHI_START_DEFAULT:
        if (!member)
            return standard(hub, job, room, begin);
        if (member->stale) {
            begin->lost = true;
            begin->lost_from = member->position;
            return last(hub, job, room, standard_count(hub, job->client), begin);
        }
        begin->stay = true;
        return member->attached ? 0 : chi_nodes_catch_up(hub, job, room, member->position);
    case CHI_START_NOW:
        begin->from = room->top;
        return 0;
    case CHI_START_LAST:
        return last(hub, job, room, start->count, begin);
    case CHI_START_AFTER:
        return after(hub, job, room, start, begin);
    }
    return CHATHUB_EREQUEST;
}

static int may_enter(struct chi_hub *hub, const struct chi_session *session,
                     const struct chi_room *room)
{
    const struct chi_settings *settings = hub->parts.settings;
    if (session->rooms >= settings->max_client_rooms)
        return chi_core_problem(hub, CHATHUB_EROOMS, "in %u rooms already; leave one first",
                                session->rooms);
    if (room->present >= settings->max_members)
        return chi_core_problem(hub, CHATHUB_EFULL, "the room has %u members and takes no more",
                                room->present);
    return 0;
}

void chi_core_joined(struct chi_hub *hub, struct chi_member *member, struct chi_span ref,
                     uint64_t start)
{
    const struct chi_room *room = member->room;
    struct chi_reply joined = {
        .type = CHI_REPLY_JOINED,
        .ref = ref,
        .room = chi_name_shown(room->name),
        .epoch = hub->parts.log->epoch(hub->parts.log),
        .position = room->top,
        .start = start,
        .count = chi_presence_count(room, member),
        .presence = room->number,
        .time = chi_core_wall(hub),
    };
    if (chi_presence_names(hub, room) &&
        chi_presence_list(hub, room, member, &joined.present_count))
        joined.present = hub->present;
    chi_core_reply(hub, member->session->client, &joined);
}

static void tell_gap(struct chi_hub *hub, const struct chi_member *member,
                     const struct begin *begin)
{
    chi_core_reply(hub, member->session->client,
                   &(struct chi_reply){
                       .type = CHI_REPLY_GAP,
                       .room = chi_name_shown(member->room->name),
                       .epoch = hub->parts.log->epoch(hub->parts.log),
                       .from = begin->lost_from,
                       .to = begin->from,
                       .time = chi_core_wall(hub),
                   });
}

/* An observer becomes a member where it stands. */
static void promote(struct chi_hub *hub, struct chi_member *member)
{
    struct chi_client *client = member->session->client;
    uint32_t room = member->room->slot.number, number = client->slot.number;

    member->position = CHI_DELIVERY(hub, member_position, room, number);
    if (!client->hearing && chi_core_hears(hub, client))
        CHI_DELIVERY(hub, member_signals, room, number);
    member->attached = true;
    member->room->live++;
    chi_core_observe_end(hub, client);
}

/* A cursor that cannot be made is no reason to lose the membership: the client is closed and may
 * come back to it. */
static int place_cursor(struct chi_hub *hub, struct chi_member *member, bool is_new, uint64_t from)
{
    struct chi_client *client = member->session->client;

    chi_core_member_detach(hub, member, true);
    int r = chi_core_member_attach(hub, member, from);
    if (r == 0)
        return 0;
    if (is_new) {
        chi_core_member_end(hub, member, true);
        return r;
    }
    client->fail = CHATHUB_ENOMEM;
    chi_core_todo(hub, client);
    return r;
}

/* That somebody came is told before it is there itself, unless it is to hear it; and behind the post
 * that it came with. */
static void tell_coming(struct chi_hub *hub, struct chi_job *job, struct chi_member *member,
                        const struct chi_wish *wish)
{
    if (wish->implicit && job->client->dialect->told_itself) {
        member->held = true;
        job->entered = true;
    }
    chi_presence_touch(hub, member);
}

static int enter(struct chi_hub *hub, struct chi_job *job, struct chi_room *room,
                 const struct chi_wish *wish, const struct begin *begin)
{
    struct chi_client *client = job->client;
    struct chi_member *member = chi_core_member(hub, client->session, room);
    bool is_new = !member, told_itself = client->dialect->told_itself;
    uint64_t from = begin->from;

    if (is_new) {
        member = chi_core_member_add(hub, client->session, room);
        if (!member)
            return CHATHUB_ENOMEM;
        if (!told_itself)
            tell_coming(hub, job, member, wish);
    }
    if (wish->implicit && chi_core_observed(hub, client) == room) {
        promote(hub, member);
        from = member->position;
    } else {
        if (begin->stay && !member->attached)
            from = member->position < room->top ? member->position : room->top;
        if (begin->stay && member->attached)
            from = CHI_DELIVERY(hub, member_position, room->slot.number, client->slot.number);
        else if (place_cursor(hub, member, is_new, from) < 0)
            return CHATHUB_ENOMEM;
    }
    if (is_new && client->dialect->replays)
        chi_core_stood_drop(hub, client->session->name, room);
    chi_core_joined(hub, member, wish->ref, from);
    if (begin->lost)
        tell_gap(hub, member, begin);
    if (is_new && told_itself)
        tell_coming(hub, job, member, wish);
    if (is_new)
        chi_core_log(hub, CHATHUB_INFO, "joined", client,
                     (struct chi_field){"room", chi_name_shown(room->name)},
                     (struct chi_field){NULL, {NULL, 0}});
    return 0;
}

/* What it waited for did not come about. */
static int trouble(struct chi_hub *hub, struct chi_job *job)
{
    int status = job->status;
    job->status = 0;
    return status == CHATHUB_ELOG ? chi_core_unreadable(hub) : status;
}

int chi_core_join(struct chi_hub *hub, struct chi_job *job, const struct chi_wish *wish)
{
    struct chi_folded name;
    struct chi_room *room = NULL;
    struct begin begin = {0, 0, false, false};
    static const struct chi_span none = {"", 0};

    int r = trouble(hub, job);
    if (r == 0)
        r = chi_session_need(hub, job);
    if (r == 0)
        r = chi_core_room_name(hub, job->client, wish->room, &name);
    if (r == 0)
        r = chi_core_decide(hub, job, CHATHUB_JOIN, (struct chi_span){NULL, 0}, name.shown, none);
    if (r == 0)
        r = chi_core_room_need(hub, &name, &room);
    if (r == CHI_STEP_WAIT && job->wait == CHI_WAIT_NOTHING) {
        job->room = room;
        job->wait = CHI_WAIT_ROOM;
    }
    if (r)
        return r;
    const struct chi_member *member = chi_core_member(hub, job->client->session, room);
    r = member ? 0 : may_enter(hub, job->client->session, room);
    bool stays = wish->implicit && chi_core_observed(hub, job->client) == room;
    if (r == 0 && !stays)
        r = find_begin(hub, job, room, member, wish->start, &begin);
    if (r == 0)
        r = enter(hub, job, room, wish, &begin);
    if (r <= 0) {
        job->found = false;
        chi_core_decided_done(job);
        chi_core_room_idle(hub, room);
    }
    return r;
}

static void left(struct chi_hub *hub, struct chi_client *client, const struct chi_room *room,
                 struct chi_span ref)
{
    chi_core_reply(hub, client,
                   &(struct chi_reply){
                       .type = CHI_REPLY_LEFT,
                       .ref = ref,
                       .room = chi_name_shown(room->name),
                       .time = chi_core_wall(hub),
                   });
    chi_core_log(hub, CHATHUB_INFO, "left", client,
                 (struct chi_field){"room", chi_name_shown(room->name)},
                 (struct chi_field){NULL, {NULL, 0}});
}

int chi_core_leave(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_client *client = job->client;
    struct chi_member *member;
    struct chi_folded name;

    if (client->observed) {
        int r = chi_core_room_name(hub, client, job->request->room, &name);
        if (r == 0 && chi_core_room_find(hub, name.key) == chi_core_observed(hub, client)) {
            left(hub, client, chi_core_observed(hub, client), job->request->ref);
            chi_core_observe_stop(hub, client);
            return 0;
        }
    }
    int r = chi_core_member_needed(hub, job, &member);
    if (r)
        return r;
    left(hub, client, member->room, job->request->ref);
    if (client->dialect->replays && member->attached) {
        member->position =
            CHI_DELIVERY(hub, member_position, member->room->slot.number, client->slot.number);
        chi_core_stood(hub, member);
    }
    chi_core_member_end(hub, member, true);
    return 0;
}

/* Errors are told to nobody: it said nothing. Those who observe from the start are members but for
 * their name: they hear signals, and what their listener has for those who come anew. */
int chi_core_observe(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_client *client = job->client;
    int32_t history = chi_core_home(hub, client)->history;
    struct begin begin = {0, 0, false, false};
    struct chi_folded name;
    struct chi_room *room = NULL;
    static const struct chi_span none = {"", 0};

    int r = trouble(hub, job);
    if (r == 0)
        r = chi_core_room_name(hub, client, (struct chi_span){NULL, 0}, &name);
    if (r == 0)
        r = chi_core_decide(hub, job, CHATHUB_JOIN, none, name.shown, none);
    if (r == 0)
        r = chi_core_room_need(hub, &name, &room);
    if (r == CHI_STEP_WAIT && job->wait == CHI_WAIT_NOTHING) {
        job->room = room;
        job->wait = CHI_WAIT_ROOM;
    }
    if (r)
        return r;
    bool hears = client->dialect->entrance == CHI_ENTRANCE_OBSERVES && chi_core_hears(hub, client);
    r = last(hub, job, room, history > 0 ? (uint32_t)history : 0, &begin);
    if (r == 0)
        r = CHI_DELIVERY(hub, member_join, room->slot.number, client->slot.number, begin.from,
                         hears);
    if (r == CHI_STEP_WAIT)
        return r;
    if (r < 0) {
        chi_core_room_idle(hub, room);
        return r;
    }
    client->observed = room->slot.number + 1;
    chi_core_hearing(hub, client, hears);
    room->observers++;
    hub->counts.observers++;
    return 0;
}
