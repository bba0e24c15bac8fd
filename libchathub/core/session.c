/* Who is there: made at the first request, kept through a lost connection, ended at last.
 *
 * Ended is not gone: what rooms were told of a session is told to have ended when its own posts
 * are resolved; until then its members linger, and it for them. */
#include "core/nodes.h"

#include <stdlib.h>
#include <string.h>

#define CLOSE_REPLACED 4001

static struct chi_session *other_of_user(const struct chi_hub *hub,
                                         const struct chi_session *session)
{
    return chi_slots_at(&hub->sessions, chi_index_other(&hub->by_user, session->slot.number));
}

struct chi_session *chi_session_by_user(const struct chi_hub *hub, const char user[CHI_USER_LEN])
{
    struct chi_session *session = chi_slots_at(
        &hub->sessions, chi_index_find(&hub->by_user, (struct chi_span){user, CHI_USER_LEN}));

    return session && session->ended ? other_of_user(hub, session) : session;
}

struct chi_session *chi_session_lingering(const struct chi_hub *hub, const char user[CHI_USER_LEN])
{
    if (hub->sessions.used == hub->counts.sessions)
        return NULL;
    struct chi_session *session = chi_slots_at(
        &hub->sessions, chi_index_find(&hub->by_user, (struct chi_span){user, CHI_USER_LEN}));
    return session && !session->ended ? other_of_user(hub, session) : session;
}

struct chi_session *chi_session_by_name(const struct chi_hub *hub, struct chi_span key)
{
    return chi_slots_at(&hub->sessions, chi_index_find(&hub->by_name, key));
}

/* A name is found by one of those who have it; who comes later stands behind it in a chain, so that
 * many of one name cost no more than many names. */
static void name_put(struct chi_hub *hub, struct chi_session *session)
{
    const struct chi_session *named = chi_session_by_name(hub, chi_name_key(session->name));
    uint32_t first = named ? named->slot.number + 1 : 0;

    session->named = !named;
    chi_chain_append(CHI_SESSIONS(hub, same), &first, session);
    if (session->named)
        chi_index_put(&hub->by_name, session->slot.number);
}

/* While it still has the text by which the index finds it. The index keeps room for who takes its
 * place. */
static void leave_chain(struct chi_hub *hub, struct chi_index *index, struct chi_session *session)
{
    uint32_t first = session->named ? session->slot.number + 1 : 0;

    chi_chain_remove(CHI_SESSIONS(hub, same), &first, session);
    struct chi_session *next = chi_chain_first(CHI_SESSIONS(hub, same), first);
    if (!session->named)
        return;
    session->named = false;
    chi_index_remove(index, session->slot.number);
    if (!next)
        return;
    next->named = true;
    chi_index_put(index, next->slot.number);
}

/* Of a user's ended ones the first is found, in the place that it had in the index: for ending there
 * is always memory. */
static void linger(struct chi_hub *hub, struct chi_session *session)
{
    const struct chi_session *first = chi_session_lingering(hub, session->user);
    uint32_t number = first ? first->slot.number + 1 : 0;

    session->named = !first;
    session->ended = true;
    chi_chain_append(CHI_SESSIONS(hub, same), &number, session);
    if (first)
        chi_index_remove(&hub->by_user, session->slot.number);
}

static struct chi_name *guest_name(struct chi_hub *hub)
{
    char text[CHI_GUEST_LEN + 1];
    struct chi_span span = {text, CHI_GUEST_LEN};
    do {
        chi_core_guest_name(hub, text);
    } while (chi_session_by_name(hub, span)); /* only after all of them were given once */
    return chi_name_new(span, span);
}

static void give_identity(struct chi_hub *hub, struct chi_session *session, const char *user)
{
    char key[CHI_KEY_LEN + 1];
    if (user) {
        memcpy(session->user, user, CHI_USER_LEN);
        return;
    }
    session->serial = ++hub->serial;
    chi_core_key(hub, session->serial, key);
    chi_core_user(hub, (struct chi_span){key, CHI_KEY_LEN}, session->user);
}

/* A record with its places beside it and in the indexes, which it is not in yet. */
static struct chi_session *take_record(struct chi_hub *hub)
{
    if (chi_index_reserve(&hub->by_user) < 0 || chi_index_reserve(&hub->by_name) < 0)
        return NULL;
    struct chi_session *session = chi_slots_take(&hub->sessions);
    if (session && chi_nodes_place(hub, session) < 0) {
        chi_slots_give(&hub->sessions, session);
        session = NULL;
    }
    return session;
}

static void begin(struct chi_hub *hub, struct chi_session *session, struct chi_name *name)
{
    session->name = name;
    chi_index_put(&hub->by_user, session->slot.number);
    name_put(hub, session);
    hub->counts.sessions++;
}

int chi_session_new(struct chi_hub *hub, struct chi_client *client, const char *user,
                    struct chi_name *name, struct chi_session **out)
{
    struct chi_name *guest = NULL;

    if (!name && (guest = guest_name(hub)) == NULL)
        return CHATHUB_ENOMEM;
    struct chi_session *session = take_record(hub);
    if (!session) {
        chi_name_unref(guest);
        return CHATHUB_ENOMEM;
    }
    session->client = client;
    client->session = session;
    client->nameless = false;
    give_identity(hub, session, user);
    begin(hub, session, name ? name : guest);
    chi_nodes_named(hub, session, true);
    *out = session;
    return 0;
}

int chi_session_heard(struct chi_hub *hub, const char user[CHI_USER_LEN], struct chi_name *name,
                      struct chi_session **out)
{
    struct chi_session *session = take_record(hub);
    if (!session)
        return CHATHUB_ENOMEM;
    session->remote = true;
    give_identity(hub, session, user);
    begin(hub, session, name);
    *out = session;
    return 0;
}

static void touch_members(struct chi_hub *hub, const struct chi_session *session)
{
    for (struct chi_member *member = chi_core_member_at(hub, session->members), *next; member;
         member = next) {
        next = chi_core_member_at(hub, member->next);
        if (!member->gone)
            chi_presence_touch(hub, member);
    }
}

int chi_session_rename(struct chi_hub *hub, struct chi_session *session, struct chi_name *name)
{
    struct chi_name *old = session->name;
    bool moves = !chi_span_equal(chi_name_key(old), chi_name_key(name));

    if (moves && chi_index_reserve(&hub->by_name) < 0)
        return CHATHUB_ENOMEM;
    if (moves)
        leave_chain(hub, &hub->by_name, session);
    session->name = name;
    if (moves)
        name_put(hub, session);
    chi_name_unref(old);
    chi_nodes_touched(hub, session);
    touch_members(hub, session);
    return 0;
}

void chi_session_lose_name(struct chi_hub *hub, struct chi_session *session)
{
    struct chi_client *client = session->client;
    struct chi_name *name = guest_name(hub);
    char key[CHI_KEY_LEN + 1];
    struct chi_span shown = {NULL, 0};

    if (!name || chi_session_rename(hub, session, name) < 0) { /* tried again when it is heard */
        chi_name_unref(name);
        return;
    }
    chi_nodes_named(hub, session, false);
    if (!client)
        return;
    if (session->serial && session->known) {
        chi_core_key(hub, session->serial, key);
        shown = (struct chi_span){key, CHI_KEY_LEN};
    }
    chi_core_welcome(hub, client, (struct chi_span){NULL, 0}, shown, true);
    chi_core_log(hub, CHATHUB_INFO, "renamed", client, (struct chi_field){NULL, {NULL, 0}},
                 (struct chi_field){NULL, {NULL, 0}});
}

void chi_session_settle(struct chi_hub *hub, struct chi_session *session)
{
    if (!session->ended || session->members)
        return;
    chi_nodes_freed(hub, session);
    leave_chain(hub, &hub->by_user, session);
    chi_name_unref(session->name);
    free(session->status);
    chi_slots_give(&hub->sessions, session);
}

static void forget_lost(struct chi_hub *hub, struct chi_session *session)
{
    if (!chi_chain_linked(&session->lost))
        return;
    chi_chain_remove(CHI_SESSIONS(hub, lost), &hub->lost, session);
    session->serial = 0; /* who comes back shows the key */
    hub->lost_count--;
}

static void note_end(struct chi_hub *hub, const struct chi_session *session)
{
    const struct chi_field fields[] = {{"user", chi_session_user(session)},
                                       {"name", chi_name_shown(session->name)}};
    hub->parts.env.ops->log(hub->parts.env.self, CHATHUB_INFO, "ended", fields, 2);
}

void chi_session_end(struct chi_hub *hub, struct chi_session *session)
{
    if (!session->remote)
        note_end(hub, session);
    forget_lost(hub, session);
    for (struct chi_member *member = chi_core_member_at(hub, session->members), *next; member;
         member = next) {
        next = chi_core_member_at(hub, member->next);
        if (!member->gone)
            chi_core_member_end(hub, member, false);
    }
    leave_chain(hub, &hub->by_name, session);
    linger(hub, session);
    session->client = NULL;
    hub->counts.sessions--;
    chi_nodes_unlink(hub, session);
    chi_nodes_touched(hub, session);
    chi_session_settle(hub, session);
}

/* Its cursors are read while delivery still knows the client. */
static void detach_all(struct chi_hub *hub, struct chi_session *session)
{
    for (struct chi_member *member = chi_core_member_at(hub, session->members), *next; member;
         member = next) {
        next = chi_core_member_at(hub, member->next);
        chi_core_typing_end(hub, member, true);
        chi_core_member_release(hub, member);
        chi_core_member_detach(hub, member, false);
    }
}

static void remember(struct chi_hub *hub, const struct chi_session *session)
{
    for (const struct chi_member *member = chi_core_member_at(hub, session->members); member;
         member = chi_core_member_at(hub, member->next)) {
        if (!member->gone)
            chi_core_stood(hub, member);
    }
}

void chi_session_lost(struct chi_hub *hub, struct chi_session *session)
{
    if (hub->lost && hub->lost_count >= hub->parts.settings->max_sessions)
        chi_session_end(hub, chi_chain_first(CHI_SESSIONS(hub, lost), hub->lost));
    session->client = NULL;
    session->lost_at = chi_core_now(hub);
    chi_chain_append(CHI_SESSIONS(hub, lost), &hub->lost, session);
    hub->lost_count++;
    chi_nodes_touched(hub, session);
    chi_core_wake(hub);
}

void chi_session_lose(struct chi_hub *hub, struct chi_session *session, bool leaves)
{
    const struct chi_settings *settings = hub->parts.settings;

    detach_all(hub, session);
    if (session->client->dialect->replays)
        remember(hub, session);
    if (leaves || !session->known || !settings->return_time || !settings->max_sessions) {
        chi_session_end(hub, session);
        return;
    }
    chi_session_lost(hub, session);
}

/* Lines have no close codes: `bye` says the same. */
static void replace(struct chi_hub *hub, struct chi_client *old)
{
    struct chi_span why = chi_span_of(chathub_strerror(CHATHUB_EREPLACED));
    struct chi_reply bye = {.type = CHI_REPLY_BYE,
                            .code = CHATHUB_EREPLACED,
                            .message = why,
                            .time = chi_core_wall(hub)};

    chi_core_reply(hub, old, &bye);
    chi_core_close(hub, old, CLOSE_REPLACED, why, false);
}

/* Takes it from its client, if it has one, which is answered. */
static struct chi_client *part(struct chi_hub *hub, struct chi_session *session)
{
    struct chi_client *old = session->client;

    forget_lost(hub, session);
    if (!old)
        return NULL;
    detach_all(hub, session);
    chi_core_log(hub, CHATHUB_INFO, "replaced", old, (struct chi_field){NULL, {NULL, 0}},
                 (struct chi_field){NULL, {NULL, 0}});
    old->session = NULL;
    session->client = NULL;
    return old;
}

void chi_session_move(struct chi_hub *hub, struct chi_session *session, struct chi_client *client)
{
    struct chi_client *old = part(hub, session);

    session->client = client;
    client->session = session;
    client->nameless = false;
    if (old)
        replace(hub, old);
    chi_nodes_moved(hub, session);
}

void chi_session_yield(struct chi_hub *hub, struct chi_session *session)
{
    struct chi_client *old = part(hub, session);

    if (old)
        replace(hub, old);
}

void chi_session_expire(struct chi_hub *hub)
{
    while (chi_session_next(hub) <= chi_core_now(hub))
        chi_session_end(hub, chi_chain_first(CHI_SESSIONS(hub, lost), hub->lost));
}

uint64_t chi_session_next(const struct chi_hub *hub)
{
    const struct chi_session *oldest = chi_chain_first(CHI_SESSIONS(hub, lost), hub->lost);

    return oldest ? oldest->lost_at + hub->parts.settings->return_time : UINT64_MAX;
}

int chi_session_need(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_client *client = job->client;
    struct chi_session *session;
    char key[CHI_KEY_LEN + 1];

    if (client->session)
        return 0;
    if (client->nameless)
        return CHATHUB_ENAMEREQUIRED;
    int r = chi_core_decide(hub, job, CHATHUB_HELLO, (struct chi_span){NULL, 0},
                            (struct chi_span){"", 0}, (struct chi_span){"", 0});
    if (r)
        return r;
    r = chi_session_new(hub, client, NULL, NULL, &session);
    if (r < 0)
        return r;
    chi_core_decided_done(job);
    if (client->welcome) {
        session->known = !client->dialect->hides_key;
        chi_core_key(hub, session->serial, key);
        chi_core_welcome(hub, client, (struct chi_span){NULL, 0},
                         (struct chi_span){key, CHI_KEY_LEN}, false);
    }
    return 0;
}
