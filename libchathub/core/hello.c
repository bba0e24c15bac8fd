/* hello: who a client is, its name, and the rooms that it goes on in.
 *
 * Everything is checked before anything changes: a hello that is refused leaves the old
 * connection of its session, its name and its rooms as they were. Then the welcome, then the
 * rooms of `resume` in order (each may have to wait), then the session's other rooms, where its
 * cursors stood. */
#include "core/nodes.h"

/* The session that the key is of; *mine: there is a key. NULL: a new one, or an error in *r. */
static struct chi_session *shown_session(struct chi_hub *hub, const struct chi_job *job, char *user,
                                         int *r)
{
    struct chi_session *own = job->client->session;
    struct chi_span key = job->request->session;

    *r = 0;
    if (!key.at)
        return own;
    if (!chi_core_key_valid(key)) {
        *r = CHATHUB_ESESSION;
        return NULL;
    }
    chi_core_user(hub, key, user);
    struct chi_session *shown = chi_session_by_user(hub, user);
    if (own && own != shown)
        *r =
            chi_core_problem(hub, CHATHUB_EREQUEST,
                             "this connection has a session already; show another one's key in the "
                             "first request of a new connection");
    return shown;
}

static int check_name(struct chi_hub *hub, const struct chi_client *client,
                      const struct chi_session *session, const struct chi_folded *name)
{
    const struct chi_session *owner = chi_session_by_name(hub, name->key);

    if (session && chi_span_equal(chi_name_key(session->name), name->key))
        return 0;
    if (chi_core_reserved(name->key))
        return CHATHUB_ERESERVED;
    return owner && !client->dialect->shares_names ? CHATHUB_ENAMETAKEN : 0;
}

static int name_session(struct chi_hub *hub, struct chi_session *session, struct chi_name *name)
{
    if (!name)
        return 0;
    if (!chi_span_equal(chi_name_shown(name), chi_name_shown(session->name)))
        return chi_session_rename(hub, session, name);
    chi_name_unref(name);
    return 0;
}

/* Makes the client the session's. `name` (may be NULL) is used up on success. */
static int become(struct chi_hub *hub, struct chi_client *client, struct chi_session *session,
                  const char *user, struct chi_name *name)
{
    if (!session)
        return chi_session_new(hub, client, user, name, &session);
    bool renamed = name && !chi_span_equal(chi_name_key(name), chi_name_key(session->name));
    int r = name_session(hub, session, name);
    if (r == 0 && session->client != client)
        chi_session_move(hub, session, client);
    if (r == 0 && renamed)
        chi_nodes_named(hub, session, false);
    return r;
}

/* What a hello asks for, checked. */
struct claim {
    struct chi_session *session; /* whose key it shows, or its own; NULL: a new one */
    char user[CHI_USER_LEN];     /* of the key, if there is one */
    struct chi_folded name;      /* if one is wished; holds until the next fold */
};

static int check(struct chi_hub *hub, const struct chi_job *job, struct claim *claim)
{
    int r;

    claim->name = (struct chi_folded){{NULL, 0}, {NULL, 0}};
    claim->session = shown_session(hub, job, claim->user, &r);
    if (r < 0 || !job->request->name.at)
        return r;
    r = chi_core_fold(hub, CHI_FOLD_NAME, job->request->name, &claim->name);
    return r < 0 ? r : check_name(hub, job->client, claim->session, &claim->name);
}

static void welcome(struct chi_hub *hub, const struct chi_job *job, bool again)
{
    struct chi_client *client = job->client;
    struct chi_session *session = client->session;
    struct chi_span key = job->request->session;
    char made[CHI_KEY_LEN + 1];

    session->known = session->known || key.at || !client->dialect->hides_key;
    if (!key.at && session->serial) {
        chi_core_key(hub, session->serial, made);
        key = (struct chi_span){made, CHI_KEY_LEN};
    }
    chi_core_welcome(hub, client, job->request->ref, key, again);
    chi_core_log(hub, CHATHUB_INFO, again ? "renamed" : "hello", client,
                 (struct chi_field){NULL, {NULL, 0}}, (struct chi_field){NULL, {NULL, 0}});
}

int chi_core_become(struct chi_hub *hub, struct chi_job *job)
{
    struct claim claim;
    struct chi_name *name = NULL;
    bool again = job->client->session != NULL;

    job->naming = true;
    int r = check(hub, job, &claim);
    if (r == 0)
        r = chi_core_decide(hub, job, CHATHUB_HELLO, claim.name.shown, (struct chi_span){"", 0},
                            (struct chi_span){"", 0});
    if (r == 0 && hub->parts.authorize)
        r = check(hub, job, &claim); /* the host may have ended clients while it decided */
    if (r == 0 && claim.session)
        r = chi_nodes_take(hub, job, claim.session);
    if (r)
        return r;
    if (claim.name.shown.at && !(name = chi_name_new(claim.name.shown, claim.name.key)))
        return CHATHUB_ENOMEM;
    r = become(hub, job->client, claim.session, job->request->session.at ? claim.user : NULL, name);
    if (r < 0) {
        chi_name_unref(name);
        return r;
    }
    job->naming = false;
    chi_core_decided_done(job);
    welcome(hub, job, again);
    return 0;
}

/* Dialects whose clients are named once, by a name that they have to give. */
static int begin(struct chi_hub *hub, struct chi_job *job)
{
    const struct chi_dialect *dialect = job->client->dialect;

    if (dialect->must_name && !job->client->session && !job->request->name.at) {
        job->naming = true;
        return CHATHUB_ENAMEREQUIRED;
    }
    return chi_core_become(hub, job);
}

static struct chi_member *member_named(struct chi_hub *hub, const struct chi_client *client,
                                       struct chi_span text)
{
    struct chi_folded name;
    int r = chi_core_room_name(hub, client, text, &name);
    struct chi_room *room = r == 0 ? chi_core_room_find(hub, name.key) : NULL;
    hub->problem[0] = '\0';
    return room ? chi_core_member(hub, client->session, room) : NULL;
}

static void mark_resumed(struct chi_hub *hub, const struct chi_job *job)
{
    const struct chi_request *hello = job->request;

    for (uint32_t i = 0; i < hello->resume_count; i++) {
        struct chi_member *member = member_named(hub, job->client, hello->resume[i].room);
        if (member)
            member->resumed = true;
    }
}

/* A right that was lost ends the membership. */
static void put_out(struct chi_hub *hub, struct chi_client *client, struct chi_member *member)
{
    chi_core_reply(hub, client,
                   &(struct chi_reply){.type = CHI_REPLY_LEFT,
                                       .room = chi_name_shown(member->room->name),
                                       .code = CHATHUB_EDENIED,
                                       .time = chi_core_wall(hub),
                                       .message = chi_span_of(chathub_strerror(CHATHUB_EDENIED))});
    chi_core_member_end(hub, member, true);
}

static int resume(struct chi_hub *hub, struct chi_job *job, const struct chi_resume *one)
{
    int r = chi_core_join(hub, job, &(struct chi_wish){.room = one->room, .start = &one->start});
    if (r == CHI_STEP_WAIT)
        return r;
    chi_core_decided_done(job);
    job->found = false;
    if (r == 0)
        return 0;
    chi_core_error(hub, job->client, &(struct chi_reply){.code = r, .room = one->room});
    struct chi_member *member = member_named(hub, job->client, one->room);
    if (r == CHATHUB_EDENIED && member)
        put_out(hub, job->client, member);
    return 0;
}

static void fail(struct chi_hub *hub, struct chi_client *client, int code)
{
    if (client->fail)
        return;
    client->fail = (int8_t)code;
    chi_core_todo(hub, client);
}

/* Where its cursor stood; if the room is to be opened first, or that place means nothing any more, as
 * if it were joined again. 0 or CHI_STEP_WAIT. */
static int go_on(struct chi_hub *hub, struct chi_job *job, struct chi_member *member)
{
    struct chi_client *client = job->client;
    struct chi_room *room = member->room;

    if (room->state != CHI_ROOM_OPEN || member->stale) {
        const struct chi_resume again = {.room = chi_name_shown(room->name)};
        int r = resume(hub, job, &again);
        member = r ? NULL : chi_core_member(hub, client->session, room);
        if (r == 0 && member && !member->attached)
            fail(hub, client, CHATHUB_ELOG);
        return r;
    }
    int r = chi_nodes_catch_up(hub, job, room, member->position);
    if (r)
        return r;
    uint64_t from = member->position < room->top ? member->position : room->top;
    if (chi_core_member_attach(hub, member, from) == 0)
        chi_core_joined(hub, member, (struct chi_span){NULL, 0}, from);
    else
        fail(hub, client, CHATHUB_ENOMEM);
    return 0;
}

/* The session's rooms that are not attached; those that the hello lists in a second round. */
static int go_on_in_rooms(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_client *client = job->client;
    struct chi_member *member, *next;

    for (member = chi_core_member_at(hub, client->session->members); member; member = next) {
        next = chi_core_member_at(hub, member->next);
        bool goes = !member->gone && !member->attached && !member->resumed && !client->fail;
        int r = goes ? go_on(hub, job, member) : 0;
        if (r)
            return r;
    }
    for (member = chi_core_member_at(hub, client->session->members); member;
         member = chi_core_member_at(hub, member->next))
        member->resumed = false;
    return 0;
}

int chi_core_hello(struct chi_hub *hub, struct chi_job *job)
{
    const struct chi_request *hello = job->request;

    if (job->stage == 0) {
        if (job->client->session && job->client->dialect->post_name == CHI_POST_NAME_ONCE)
            return 0;
        int r = begin(hub, job);
        if (r)
            return r;
        job->stage = 1;
        mark_resumed(hub, job);
    }
    if (!job->went_on) {
        int r = go_on_in_rooms(hub, job);
        if (r)
            return r;
        job->went_on = true;
    }
    while (job->stage <= hello->resume_count) {
        int r = resume(hub, job, &hello->resume[job->stage - 1]);
        if (r)
            return r;
        job->stage++;
    }
    return go_on_in_rooms(hub, job);
}
