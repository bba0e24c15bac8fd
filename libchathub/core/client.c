/* Connections and in-process clients as the hub knows them.
 *
 * Happy path: open, requests one after the other, closed. A request that has to wait stops the
 * client's reading (CHI_NEXT_WAIT); when nothing holds it any more it is put on hub->todo, and
 * the turn lets its transport read on. Failure: a client that cannot be told something (no
 * memory) is put there too, and the turn closes it. */
#include "core/nodes.h"

#include <stdlib.h>
#include <string.h>

#define CLOSE_POLICY 1008
#define CLOSE_FAILED 1011
#define CLOSE_NORMAL 1000
#define NO_FIELD     ((struct chi_field){NULL, {NULL, 0}})

struct chi_client *chi_core_client(const struct chi_hub *hub, uint64_t id)
{
    struct chi_client *client = chi_slots_at(&hub->clients, chi_hub_client_slot(id));
    return client && client->slot.generation == (uint32_t)(id >> 32) ? client : NULL;
}

uint32_t chi_hub_client_slot(uint64_t id)
{
    return (uint32_t)id - 1;
}

static bool home_is(const struct chi_home *home, const struct chi_client_desc *desc,
                    struct chi_span key)
{
    return home->history == desc->history && home->presence == desc->presence &&
           home->private_posts == desc->private_posts &&
           chi_span_equal(chi_name_key(home->room), key);
}

static int home_add(struct chi_hub *hub, const struct chi_client_desc *desc,
                    const struct chi_folded *room)
{
    if (hub->home_count == UINT16_MAX)
        return CHATHUB_EFULL;
    struct chi_home *homes = realloc(hub->homes, (hub->home_count + 1) * sizeof *homes);
    if (!homes)
        return CHATHUB_ENOMEM;
    hub->homes = homes;
    homes[hub->home_count] = (struct chi_home){
        .room = chi_name_new(room->shown, room->key),
        .history = desc->history,
        .presence = desc->presence,
        .private_posts = desc->private_posts,
    };
    if (!homes[hub->home_count].room)
        return CHATHUB_ENOMEM;
    hub->home_count++;
    return 0;
}

/* Listeners are few, and so is what they say. */
int chi_core_home_of(struct chi_hub *hub, const struct chi_client_desc *desc, uint16_t *out)
{
    struct chi_folded room;
    bool standard = !desc->default_room.len && hub->home_count;

    int r = 0;
    if (standard)
        room = (struct chi_folded){chi_name_shown(hub->homes[0].room),
                                   chi_name_key(hub->homes[0].room)};
    else
        r = chi_core_fold(hub, CHI_FOLD_ROOM, desc->default_room, &room);
    hub->problem[0] = '\0';
    if (r < 0)
        return r;
    for (*out = 0; *out < hub->home_count; ++*out) {
        if (home_is(&hub->homes[*out], desc, room.key))
            return 0;
    }
    return home_add(hub, desc, &room);
}

int chi_hub_check_name(struct chi_hub *hub, struct chi_span name)
{
    struct chi_folded folded;

    int r = chi_core_fold(hub, CHI_FOLD_NAME, name, &folded);
    hub->problem[0] = '\0';
    if (r == 0 && chi_core_reserved(folded.key))
        return CHATHUB_ERESERVED;
    return r;
}

bool chi_core_hears(const struct chi_hub *hub, const struct chi_client *client)
{
    switch (client->dialect->hearing) {
    case CHI_HEARS_SIGNALS:
        return true;
    case CHI_HEARS_ENTRIES:
        return false;
    case CHI_HEARS_ASKED:
        return chi_core_home(hub, client)->presence;
    }
    return true;
}

int chi_hub_client_open(struct chi_hub *hub, const struct chi_client_desc *desc, uint64_t *id)
{
    uint16_t home;

    if (hub->stopping)
        return CHATHUB_ESTOPPED;
    if (hub->clients.used >= hub->parts.settings->max_clients)
        return CHATHUB_EFULL;
    int r = chi_core_home_of(hub, desc, &home);
    if (r < 0)
        return r;
    struct chi_client *client = chi_slots_take(&hub->clients);
    if (!client)
        return CHATHUB_ENOMEM;
    r = CHI_DELIVERY(hub, client_open, client->slot.number, &desc->as);
    if (r < 0) {
        chi_slots_give(&hub->clients, client);
        return r;
    }
    client->home = home;
    client->welcome = desc->welcome;
    client->dialect = desc->as.encoding.dialect;
    *id = chi_core_client_id(client);
    return 0;
}

/* It is not silent after all, or may not observe. */
static void drop_observing(struct chi_hub *hub, struct chi_client *client)
{
    if (!client->job || !client->job->observe)
        return;
    chi_core_job_drop(hub, client->job);
    if (client->stopped)
        chi_core_todo(hub, client);
}

/* What observed, or is about to, under another dialect. */
static void suit_observing(struct chi_hub *hub, struct chi_client *client)
{
    enum chi_entrance entrance = client->dialect->entrance;

    if (entrance == CHI_ENTRANCE_SILENT) {
        drop_observing(hub, client);
        chi_core_observe_stop(hub, client);
    }
    if (entrance == CHI_ENTRANCE_OBSERVES && client->observed && !client->hearing &&
        chi_core_hears(hub, client)) {
        CHI_DELIVERY(hub, member_signals, client->observed - 1, client->slot.number);
        chi_core_hearing(hub, client, true);
    }
}

int chi_hub_client_encoding(struct chi_hub *hub, uint64_t id, struct chi_encoding encoding)
{
    struct chi_client *client = chi_core_client(hub, id);
    if (!client)
        return CHATHUB_EGONE;
    client->dialect = encoding.dialect;
    suit_observing(hub, client);
    return CHI_DELIVERY(hub, client_encoding, client->slot.number, encoding);
}

void chi_core_hearing(struct chi_hub *hub, struct chi_client *client, bool hears)
{
    struct chi_room *room = chi_core_observed(hub, client);

    if (hears == client->hearing)
        return;
    client->hearing = hears;
    if (hears)
        room->listeners++;
    else
        room->listeners--;
}

void chi_core_observe_end(struct chi_hub *hub, struct chi_client *client)
{
    struct chi_room *room = chi_core_observed(hub, client);
    if (!room)
        return;
    chi_core_hearing(hub, client, false);
    client->observed = 0;
    room->observers--;
    hub->counts.observers--;
    chi_core_room_idle(hub, room);
}

void chi_core_observe_stop(struct chi_hub *hub, struct chi_client *client)
{
    if (!client->observed)
        return;
    CHI_DELIVERY(hub, member_leave, client->observed - 1, client->slot.number);
    chi_core_observe_end(hub, client);
}

/* All that hangs on a client, while delivery still knows it. */
static void end(struct chi_hub *hub, struct chi_client *client, bool leaves)
{
    if (client->job)
        chi_core_job_drop(hub, client->job);
    if (client->reading)
        client->reading->client = NULL;
    client->reading = NULL;
    chi_core_observe_end(hub, client);
    if (client->session)
        chi_session_lose(hub, client->session, leaves);
    client->session = NULL;
    chi_chain_remove(CHI_CLIENTS(hub, todo), &hub->todo, client);
}

void chi_core_close(struct chi_hub *hub, struct chi_client *client, int code,
                    struct chi_span reason, bool leaves)
{
    uint32_t number = client->slot.number;
    end(hub, client, leaves);
    chi_slots_give(&hub->clients, client);
    CHI_DELIVERY(hub, client_close, number, code, reason);
}

void chi_hub_close_client(struct chi_hub *hub, uint64_t id, int code, struct chi_span reason)
{
    struct chi_client *client = chi_core_client(hub, id);
    if (client)
        chi_core_close(hub, client, code, reason, code == CLOSE_NORMAL);
}

void chi_hub_client_closed(struct chi_hub *hub, uint64_t id, const char *reason)
{
    struct chi_client *client = chi_core_client(hub, id);
    if (!client)
        return;
    end(hub, client, strcmp(reason, "left") == 0);
    CHI_DELIVERY(hub, client_gone, client->slot.number);
    chi_slots_give(&hub->clients, client);
}

void chi_hub_close_all(struct chi_hub *hub, int code, struct chi_span reason)
{
    for (uint32_t i = 0; i < hub->clients.made; i++) {
        struct chi_client *client = chi_slots_at(&hub->clients, i);
        if (client)
            chi_core_close(hub, client, code, reason, false);
    }
    if (hub->stopping)
        chi_nodes_bye(hub);
}

/* ---------------------------------------------------------------------- what waits for the turn */

void chi_core_todo(struct chi_hub *hub, struct chi_client *client)
{
    if (!chi_chain_linked(&client->todo))
        chi_chain_append(CHI_CLIENTS(hub, todo), &hub->todo, client);
    chi_core_wake(hub);
}

static bool held(const struct chi_hub *hub, const struct chi_client *client)
{
    return hub->stopping || client->job || client->full || chi_core_drafts_full(hub, client);
}

/* It cannot be served on; or it was told already that it cannot have its name. */
static void close_failed(struct chi_hub *hub, struct chi_client *client)
{
    const char *why = chathub_strerror(client->fail);
    bool unnamed = client->dialect->must_name && !client->session && client->fail != CHATHUB_ENOMEM;

    if (!unnamed)
        chi_core_log(hub, CHATHUB_WARNING, client->fail == CHATHUB_ESLOW ? "slow" : "error", client,
                     (struct chi_field){"code", chi_span_of(chathub_errname(client->fail))},
                     NO_FIELD);
    chi_core_close(hub, client, unnamed ? CLOSE_POLICY : CLOSE_FAILED, chi_span_of(why), false);
}

static void look_at(struct chi_hub *hub, struct chi_client *client)
{
    if (client->fail) {
        close_failed(hub, client);
        return;
    }
    if (!client->stopped || held(hub, client))
        return;
    client->stopped = false;
    CHI_DELIVERY(hub, client_read, client->slot.number);
}

void chi_core_work_todo(struct chi_hub *hub)
{
    const struct chi_chained todo = CHI_CLIENTS(hub, todo);
    struct chi_client *client = chi_chain_first(todo, hub->todo);
    uint32_t last = client ? client->todo.prev : 0; /* who comes anew has its turn next time */

    for (bool more = client; more && (client = chi_chain_first(todo, hub->todo)) != NULL;) {
        more = client->slot.number + 1 != last;
        chi_chain_remove(todo, &hub->todo, client);
        look_at(hub, client);
    }
}

void chi_core_drained(void *self, uint32_t number)
{
    struct chi_hub *hub = self;
    struct chi_client *client = chi_slots_at(&hub->clients, number);
    if (!client)
        return;
    client->full = false;
    chi_core_todo(hub, client);
}

void chi_core_failed(void *self, uint32_t number, int code)
{
    struct chi_hub *hub = self;
    struct chi_client *client = chi_slots_at(&hub->clients, number);
    if (!client)
        return;
    client->fail = (int8_t)(code < 0 ? code : CHATHUB_ENOMEM);
    chi_core_todo(hub, client);
}

/* ------------------------------------------------------------------------------------- requests */

static enum chi_next next_of(struct chi_hub *hub, struct chi_client *client)
{
    chi_core_wake(hub);
    if (client->fail)
        return CHI_NEXT_GONE;
    client->stopped = held(hub, client);
    return client->stopped ? CHI_NEXT_WAIT : CHI_NEXT_READ;
}

/* Requests that come though they cannot be taken. Answers whether this is one. */
static bool unwelcome(struct chi_hub *hub, struct chi_client *client,
                      const struct chi_request *request)
{
    int code = hub->stopping ? CHATHUB_ESHUTDOWN : client->job ? CHATHUB_EAGAIN : 0;
    if (!code)
        return false;
    chi_core_error(hub, client, &(struct chi_reply){.code = code, .ref = request->ref});
    return true;
}

enum chi_next chi_hub_request(struct chi_hub *hub, uint64_t id, const struct chi_request *request)
{
    struct chi_client *client = chi_core_client(hub, id);

    if (!client || client->fail)
        return CHI_NEXT_GONE;
    client->bad = 0;
    client->spoke = true;
    drop_observing(hub, client);
    if (unwelcome(hub, client, request))
        return next_of(hub, client);
    struct chi_job job = {.hub = hub, .client = client, .request = request};
    chi_core_run(hub, &job);
    client = chi_core_client(hub, id); /* the host may have ended it, asked for its decision */
    return client ? next_of(hub, client) : CHI_NEXT_GONE;
}

/* Who is to observe from the start does so under its name, too, while it is in no room. */
static bool may_observe(const struct chi_client *client)
{
    enum chi_entrance entrance = client->dialect->entrance;
    const struct chi_session *session = client->session;

    if (client->fail || client->job || client->observed || entrance == CHI_ENTRANCE_SILENT)
        return false;
    return !session || (entrance == CHI_ENTRANCE_OBSERVES && !session->rooms);
}

void chi_hub_observe(struct chi_hub *hub, uint64_t id)
{
    static const struct chi_request silence = {.type = CHI_REQUEST_JOIN};
    struct chi_client *client = chi_core_client(hub, id);

    if (!client || hub->stopping || !may_observe(client))
        return;
    client->spoke = true;
    struct chi_job job = {.hub = hub, .client = client, .request = &silence, .observe = true};
    chi_core_run(hub, &job);
    chi_core_wake(hub);
}

/* What a dialect's entrance asks of a client that has its name already. */
static const struct chi_request *entry_of(struct chi_request *request, enum chi_entrance entrance,
                                          struct chi_span name)
{
    memset(request, 0, offsetof(struct chi_request, resume));
    request->type = CHI_REQUEST_HELLO;
    request->name = name;
    request->resume[0] = (struct chi_resume){.room = {NULL, 0}};
    request->resume_count = entrance == CHI_ENTRANCE_JOINS;
    return request;
}

enum chi_next chi_hub_enter(struct chi_hub *hub, uint64_t id, struct chi_span name)
{
    struct chi_client *client = chi_core_client(hub, id);
    struct chi_request request;

    if (!client || client->fail)
        return CHI_NEXT_GONE;
    if (client->dialect->greets)
        chi_core_welcome(hub, client, (struct chi_span){NULL, 0}, (struct chi_span){NULL, 0},
                         false);
    if (client->dialect->entrance == CHI_ENTRANCE_OBSERVES)
        chi_hub_observe(hub, id);
    if (name.len)
        return chi_hub_request(hub, id, entry_of(&request, client->dialect->entrance, name));
    client = chi_core_client(hub, id); /* the host may have ended it, asked for its decision */
    return client ? next_of(hub, client) : CHI_NEXT_GONE;
}

/* What was not understood ends clients of some dialects at once, who do not read errors. */
static bool ends(const struct chi_client *client, int code)
{
    return client->dialect->bad_close && (code == CHATHUB_EJSON || code == CHATHUB_EREQUEST);
}

enum chi_next chi_hub_bad_request(struct chi_hub *hub, uint64_t id,
                                  const struct chi_decode_error *error)
{
    struct chi_client *client = chi_core_client(hub, id);

    if (!client || client->fail)
        return CHI_NEXT_GONE;
    client->spoke = true;
    hub->counts.bad_requests++;
    struct chi_reply reply = {.type = CHI_REPLY_ERROR,
                              .code = error->code,
                              .ref = error->ref,
                              .message = chi_span_of(error->message),
                              .time = chi_core_wall(hub),
                              .number = ++hub->numbered};
    chi_core_reply(hub, client, &reply);
    chi_core_log(hub, CHATHUB_INFO, "refused", client,
                 (struct chi_field){"code", chi_span_of(chathub_errname(error->code))}, NO_FIELD);
    if (client->bad < UINT16_MAX)
        client->bad++;
    bool over = client->bad > hub->parts.settings->max_bad_requests;
    if (!over && !ends(client, error->code))
        return next_of(hub, client);
    if (over)
        chi_core_close(hub, client, CLOSE_POLICY, chi_span_of(chathub_strerror(CHATHUB_EABUSE)),
                       false);
    else
        chi_core_close(hub, client, client->dialect->bad_close, chi_span_of(error->message), false);
    chi_core_wake(hub);
    return CHI_NEXT_GONE;
}
