/* What core tells about clients with manners of their own, checked at the door to delivery: who is
 * called what, where names go on, what is told of those who come, whom a private message reaches.
 *
 * It keeps books of its own: of slots by the replies that core makes, of names by the sessions
 * that they tell of, of places by the members whose connections end. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

#define NUMBER(n) ((unsigned long long)(n))

uint32_t sim_name_key(struct sim_world *w, struct chi_span name)
{
    char key[80];
    size_t len = 0;
    for (; len < name.len && len < sizeof key; len++) {
        char c = name.at[len];
        key[len] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
    }
    return sim_intern(w, (struct chi_span){key, len});
}

bool sim_hears(const struct chi_dialect *dialect, bool presence)
{
    return dialect->hearing == CHI_HEARS_SIGNALS ||
           (dialect->hearing == CHI_HEARS_ASKED && presence);
}

uint32_t sim_standard(const struct sim_world *w, const struct chi_dialect *dialect, int32_t history)
{
    if (history)
        return history > 0 ? (uint32_t)history : 0;
    return dialect->no_history ? 0 : w->settings.join_history;
}

void sim_slot_open(struct sim_world *w, uint32_t slot, const struct chi_client_desc *desc)
{
    w->slots[slot] = (struct sim_slot){.dialect = desc->as.encoding.dialect,
                                       .history = desc->history,
                                       .presence = desc->presence,
                                       .watching = -1,
                                       .joining = -1};
}

void sim_slot_asks(struct sim_world *w, uint32_t slot)
{
    for (int i = 0; i < SIM_ROOMS; i++)
        w->slots[slot].then[i] = w->rooms[i].shown;
}

/* ----------------------------------------------------------------------------------------- names */

static struct sim_known *known_of(struct sim_world *w, uint32_t user)
{
    for (uint32_t i = 0; i < w->known_count; i++)
        if (w->known[i].user == user)
            return &w->known[i];
    return NULL;
}

static struct sim_known *known_new(struct sim_world *w)
{
    if (w->known_count < SIM_KNOWN)
        return &w->known[w->known_count++];
    for (uint32_t i = 0; i < SIM_KNOWN; i++)
        if (w->known[i].slot < 0 && w->known[i].until < w->turned)
            return &w->known[i];
    w->vague_names = true;
    return &w->known[0];
}

/* A session other than the user's that has the name. `surely`: it cannot have ended yet; else it
 * may have. */
static bool taken(const struct sim_world *w, uint32_t name, uint32_t user, bool surely)
{
    for (uint32_t i = 0; i < w->known_count; i++) {
        const struct sim_known *k = &w->known[i];
        bool lost =
            surely ? k->until > w->now && !(w->config.faults & SIM_LIMITS) : k->until > w->turned;
        if (k->user != user && k->name == name && (k->slot >= 0 || lost))
            return true;
    }
    return false;
}

static void called(struct sim_world *w, uint32_t slot, const struct chi_reply *reply)
{
    struct sim_slot *s = &w->slots[slot];
    uint32_t user = sim_intern(w, reply->user), name = sim_name_key(w, reply->name);
    struct sim_known *k = known_of(w, user);
    bool kept = k && k->name == name;
    if (!kept && !s->dialect->shares_names && taken(w, name, user, true))
        sim_fail(w, "slot %u was given the name %s, which somebody has", slot, w->words[name]);
    if (!k)
        k = known_new(w);
    *k = (struct sim_known){.user = user, .name = name, .slot = (int)slot};
    const struct sim_conn *c = sim_conn_of(slot);
    const struct sim_asked *asked =
        c && reply->ref.len ? sim_asked_of((struct sim_conn *)(uintptr_t)c, reply->ref) : NULL;
    bool says =
        s->dialect->post_name == CHI_POST_NAME_ONCE || s->dialect->post_name == CHI_POST_NAME_EACH;
    if (!s->user && asked && asked->type == CHI_REQUEST_POST && says)
        s->naming = sim_intern(w, reply->ref);
    s->user = user;
    s->name = name;
}

/* ---------------------------------------------------------------------------------------- places */

static struct sim_place *place_find(struct sim_world *w, uint32_t name, int room)
{
    for (uint32_t i = 0; name && i < w->place_count; i++)
        if (w->places[i].name == name && w->places[i].room == room)
            return &w->places[i];
    return NULL;
}

static void place_drop(struct sim_world *w, const struct sim_place *place)
{
    uint32_t at = (uint32_t)(place - w->places);
    w->place_count--;
    memmove(&w->places[at], &w->places[at + 1], (w->place_count - at) * sizeof *place);
}

/* Which of several rooms of one session is remembered longest is not promised. */
static void places_bound(struct sim_world *w)
{
    while (w->place_count > w->settings.replay_names || w->place_count == SIM_PLACES) {
        uint32_t batch = w->places[0].batch;
        place_drop(w, &w->places[0]);
        if (w->place_count && w->places[0].batch == batch)
            w->vague_places = true;
    }
}

static void place_put(struct sim_world *w, uint32_t name, int room, uint64_t position)
{
    const struct sim_place *old = place_find(w, name, room);
    struct chi_span epoch = sim_flog_log(w->flog)->epoch(sim_flog_log(w->flog));
    if (old)
        place_drop(w, old);
    struct sim_place *place = &w->places[w->place_count++];
    *place = (struct sim_place){
        .name = name, .room = room, .position = position, .at = w->now, .batch = w->batches};
    memcpy(place->epoch, epoch.at, epoch.len < sizeof place->epoch ? epoch.len : CHI_EPOCH_LEN);
    places_bound(w);
}

static void remember(struct sim_world *w, uint32_t slot, int at)
{
    struct sim_slot *s = &w->slots[slot];
    if (!s->dialect->replays || !w->settings.replay_names || !s->member[at] || !w->rooms[at].open)
        return;
    char guest[24]; /* of whose name nothing is told, and who takes a place all the same */
    (void)snprintf(guest, sizeof guest, "?%u", w->batches);
    if (!s->name)
        s->name = sim_intern(w, chi_span_of(guest));
    place_put(w, s->name, at,
              chi_delivery_ops.member_position(w->delivery, w->rooms[at].number, slot));
}

void sim_slot_end(struct sim_world *w, uint32_t slot)
{
    struct sim_slot *s = &w->slots[slot];
    struct sim_known *k = s->user ? known_of(w, s->user) : NULL;
    if (!s->dialect)
        return;
    w->batches++;
    for (int i = 0; i < SIM_ROOMS; i++)
        remember(w, slot, i);
    if (k && k->slot == (int)slot) {
        k->slot = -1;
        k->until = w->leaving || s->dialect->hides_key ? 0 : w->now + w->settings.return_time;
    }
    *s = (struct sim_slot){0};
}

void sim_slots_reset(struct sim_world *w)
{
    memset(w->slots, 0, sizeof w->slots);
    w->place_count = w->known_count = 0;
    w->vague_places = w->vague_names = false;
    w->whisper.post = NULL;
}

/* ------------------------------------------------------------------------------------- beginnings */

static void check_last(struct sim_world *w, uint32_t slot, int at, uint64_t from, uint64_t top,
                       uint32_t want)
{
    if (want == 0 && from != top)
        sim_fail(w, "slot %u is for none of the last of %s, but begins at %llu of %llu", slot,
                 w->rooms[at].name, NUMBER(from), NUMBER(top));
    if (!sim_reaches_back(w, &w->rooms[at], from, want))
        sim_fail(w, "slot %u is for the last %u of %s, but begins at %llu of %llu", slot, want,
                 w->rooms[at].name, NUMBER(from), NUMBER(top));
}

/* Those that came since it asked may be more. */
static void check_no_more(struct sim_world *w, uint32_t slot, int at, uint64_t from)
{
    const struct sim_slot *s = &w->slots[slot];
    uint32_t want = sim_standard(w, s->dialect, s->history), n = 0;
    const struct sim_past *past = sim_past_after(&w->rooms[at], from);
    const struct sim_past *end = past ? w->rooms[at].past + w->rooms[at].count : NULL;
    for (; past && past < end && past->position <= s->then[at]; past++)
        n += !past->lost;
    if (n > want)
        sim_fail(w, "slot %u is for the last %u of %s, but gets %u", slot, want, w->rooms[at].name,
                 n);
}

/* Where the last session of its name stood; what it did not get is told. */
static void check_goes_on(struct sim_world *w, uint32_t slot, const struct sim_place *place,
                          const struct chi_reply *joined)
{
    struct sim_slot *s = &w->slots[slot];
    uint32_t want = sim_standard(w, s->dialect, s->history);
    struct chi_span epoch = {place->epoch, CHI_EPOCH_LEN};
    uint64_t from = place->position < joined->position ? place->position : joined->position;
    if (!sim_holds(w, epoch, place->position)) {
        s->gap_due = true;
        s->gap_from = place->position;
        s->gap_to = joined->start;
        check_last(w, slot, place->room, joined->start, joined->position, want);
        return;
    }
    if (joined->start != from && !(s->dialect->also_last && joined->start < from))
        sim_fail(w, "%s comes back to %s where its last session stood at %llu, but begins at %llu",
                 w->words[place->name], w->rooms[place->room].name, NUMBER(place->position),
                 NUMBER(joined->start));
    if (joined->start < from)
        check_no_more(w, slot, place->room, joined->start);
    if (s->dialect->also_last && want)
        check_last(w, slot, place->room, joined->start, joined->position, want);
}

/* Memory that is short may be the end of a place, or keep an older one. */
static void came(struct sim_world *w, uint32_t slot, int at, const struct chi_reply *joined)
{
    const struct sim_slot *s = &w->slots[slot];
    bool observed = s->watching == at;
    struct sim_place *place = s->dialect->replays ? place_find(w, s->name, at) : NULL;
    if (place && w->now - place->at >= w->settings.replay_time) {
        place_drop(w, place);
        place = NULL;
    }
    bool vague = w->vague_places || (w->config.faults & SIM_ALLOC);
    if (place && !vague)
        check_goes_on(w, slot, place, joined);
    else if (s->dialect->hides_key && !observed && !vague) {
        check_no_more(w, slot, at, joined->start);
        check_last(w, slot, at, joined->start, joined->position,
                   sim_standard(w, s->dialect, s->history));
    }
    if (place)
        place_drop(w, place);
}

static void joined(struct sim_world *w, uint32_t slot, const struct chi_reply *reply)
{
    struct sim_slot *s = &w->slots[slot];
    int at = sim_room_of(w, reply->room);
    if (at < 0)
        return;
    if (s->joining == at && s->signals != sim_hears(s->dialect, s->presence))
        sim_fail(w, "slot %u is in %s %s signals", slot, w->rooms[at].name,
                 s->signals ? "with" : "without");
    if (!s->member[at])
        came(w, slot, at, reply);
    s->member[at] = true;
    s->joining = s->watching = -1;
}

void sim_slot_join(struct sim_world *w, uint32_t slot, int room, uint64_t from, bool signals)
{
    struct sim_slot *s = &w->slots[slot];
    s->joining = room;
    s->from = from;
    s->signals = signals;
    s->top = w->rooms[room].shown;
    s->base = w->rooms[room].signal_last;
}

void sim_slot_leave(struct sim_world *w, uint32_t slot, int room)
{
    struct sim_slot *s = &w->slots[slot];
    struct sim_conn *c = sim_conn_of(slot);
    if (s->watching != room)
        return;
    s->watching = -1;
    if (c)
        c->unwatched = true;
}

void sim_slot_signals(struct sim_world *w, uint32_t slot, int room)
{
    struct sim_conn *c = sim_conn_of(slot);
    if (w->slots[slot].watching != room || !c || !c->in[room].observer)
        return;
    c->in[room].hears = c->in[room].view.wanted = true;
    c->in[room].heard = c->in[room].heard_or = w->rooms[room].signal_last;
}

/* Who was put into a room and not told that it joined observes it, or could not be told. */
static void observes(struct sim_world *w, uint32_t slot)
{
    struct sim_slot *s = &w->slots[slot];
    struct sim_conn *c = sim_conn_of(slot);
    bool hears =
        s->dialect->entrance == CHI_ENTRANCE_OBSERVES && sim_hears(s->dialect, s->presence);
    int at = s->joining;
    s->joining = -1;
    if (!c || !c->watches || s->failed)
        return;
    if (s->signals != hears && !(w->config.faults & SIM_ALLOC))
        sim_fail(w, "slot %u observes %s %s signals", slot, w->rooms[at].name,
                 s->signals ? "with" : "without");
    check_last(w, slot, at, s->from, s->top, s->history > 0 ? (uint32_t)s->history : 0);
    s->watching = at;
    c->observing = true;
    c->in[at] = (struct sim_member){.in = true,
                                    .observer = true,
                                    .hears = hears,
                                    .cursor = s->from,
                                    .heard = s->base,
                                    .heard_or = s->base};
    c->in[at].view.wanted = hears;
}

/* --------------------------------------------------------------------------------------- signals */

static void check_came(struct sim_world *w, uint32_t number, struct chi_span user)
{
    uint32_t who = sim_intern(w, user);
    if (sim_flog_drafts(w->flog, number, user))
        sim_fail(w, "core says that %.*s came while a post of theirs is uncommitted", (int)user.len,
                 user.at);
    for (uint32_t i = 0; i < SIM_SLOTS; i++)
        if (w->slots[i].dialect && w->slots[i].user == who && w->slots[i].naming)
            w->slots[i].early = true;
}

void sim_slot_signal(struct sim_world *w, int room, const struct chi_signal *signal)
{
    if (signal->type != CHI_SIGNAL_PRESENCE)
        return;
    w->rooms[room].signal_last = signal->number;
    for (uint32_t i = 0; !signal->snapshot && i < signal->came_count; i++)
        check_came(w, w->rooms[room].number, signal->came[i].user);
}

/* -------------------------------------------------------------------------------- private messages */

static int slot_of_post(const struct sim_world *w, const struct sim_post *post)
{
    for (int i = 0; i < SIM_CONNS; i++)
        if (w->conns[i].used && w->conns[i].open && w->conns[i].serial == post->serial)
            return (int)w->conns[i].slot;
    return -1;
}

/* Who has to be told, and who may be: who cannot take more, and who comes back to its session and
 * was not told so yet. Answers how many others have to. */
static uint32_t whisper_to(struct sim_world *w, const struct sim_post *post, uint8_t due[])
{
    int own = slot_of_post(w, post);
    bool vague = w->config.faults & SIM_ALLOC;
    uint32_t sure = 0;
    for (uint32_t i = 0; i < SIM_SLOTS; i++) {
        const struct sim_slot *s = &w->slots[i];
        bool named = s->dialect && s->name && s->name == post->to;
        bool there = named && s->member[post->room];
        bool may = there || (named && !s->dialect->hides_key);
        due[i] = there && !vague && !s->full && !s->failed ? 1 : may ? 2 : 0;
        sure += due[i] == 1 && (int)i != own;
    }
    if (own >= 0)
        due[own] = vague || w->slots[own].full || w->slots[own].failed ? 2 : 1;
    return sure;
}

static void whispered_all(struct sim_world *w)
{
    for (uint32_t i = 0; w->whisper.post && i < SIM_SLOTS; i++)
        if (w->whisper.due[i] == 1 && w->slots[i].dialect)
            sim_fail(w, "slot %u is not told what is said to it alone, or was said by it", i);
    w->whisper.post = NULL;
}

static void whispered(struct sim_world *w, uint32_t slot, const struct chi_reply *reply)
{
    const struct sim_post *post = sim_post_of_text(w, reply->message, 'w', NULL);
    if (!post || sim_room_of(w, reply->room) != post->room) {
        sim_fail(w, "slot %u is told privately what nobody said so: %.*s", slot,
                 (int)reply->message.len, reply->message.at);
        return;
    }
    if (w->whisper.post != post) {
        whispered_all(w);
        w->whisper.post = post;
        (void)whisper_to(w, post, w->whisper.due);
    }
    if (!w->whisper.due[slot])
        sim_fail(w, "slot %u is told what is for %s alone, or is told it twice", slot,
                 w->words[post->to]);
    if (w->whisper.due[slot] && post->as && !chi_span_is(reply->name, w->words[post->as]))
        sim_fail(w, "slot %u is told privately what %s said, under the name %.*s", slot,
                 w->words[post->as], (int)reply->name.len, reply->name.at);
    w->whisper.due[slot] = 0;
    if (slot_of_post(w, post) == (int)slot)
        w->slots[slot].naming = 0;
}

/* --------------------------------------------------------------------------------------- replies */

static void refused(struct sim_world *w, uint32_t slot, const struct chi_reply *reply)
{
    static uint8_t due[SIM_SLOTS];
    struct sim_slot *s = &w->slots[slot];
    struct sim_conn *c = sim_conn_of(slot);
    const struct sim_asked *asked = c && reply->ref.len ? sim_asked_of(c, reply->ref) : NULL;
    bool of_name = reply->code == CHATHUB_ENAME || reply->code == CHATHUB_ERESERVED ||
                   reply->code == CHATHUB_ENAMEREQUIRED;
    if (s->dialect->must_name && !s->user && of_name)
        s->refused = true;
    if (reply->code == CHATHUB_ENAMETAKEN && s->dialect->shares_names)
        sim_fail(w, "slot %u is refused a name that it may share", slot);
    else if (reply->code == CHATHUB_ENAMETAKEN && asked && asked->name && !w->vague_names &&
             !taken(w, asked->name, s->user, false))
        sim_fail(w, "slot %u is refused the name %s, which nobody has", slot,
                 w->words[asked->name]);
    if (reply->code == CHATHUB_ENOENT && asked && asked->post >= 0 &&
        w->actors[c->actor].posts[asked->post].whisper &&
        whisper_to(w, &w->actors[c->actor].posts[asked->post], due))
        sim_fail(w, "slot %u is told that nobody has the name %s, though somebody does", slot,
                 w->words[w->actors[c->actor].posts[asked->post].to]);
}

static void check_gap_due(struct sim_world *w, uint32_t slot, const struct chi_reply *reply)
{
    struct sim_slot *s = &w->slots[slot];
    if (s->gap_due && (!reply || reply->type != CHI_REPLY_GAP || reply->from != s->gap_from ||
                       reply->to != s->gap_to))
        sim_fail(w, "slot %u is not told the gap from %llu to %llu in what its name missed", slot,
                 NUMBER(s->gap_from), NUMBER(s->gap_to));
    s->gap_due = false;
}

/* It stood there for the last time. */
static void left(struct sim_world *w, uint32_t slot, struct chi_span room)
{
    int at = sim_room_of(w, room);
    if (at < 0)
        return;
    w->batches++;
    remember(w, slot, at);
    w->slots[slot].member[at] = false;
}

void sim_slot_reply(struct sim_world *w, uint32_t slot, const struct chi_reply *reply)
{
    struct sim_slot *s = &w->slots[slot];
    bool resolved = reply->type == CHI_REPLY_ACK || reply->type == CHI_REPLY_ERROR;
    if (!s->dialect)
        return;
    check_gap_due(w, slot, reply);
    if (resolved && reply->ref.len && s->naming == sim_intern(w, reply->ref))
        s->naming = 0;
    if (reply->type == CHI_REPLY_WELCOME && reply->name.len)
        called(w, slot, reply);
    else if (reply->type == CHI_REPLY_JOINED)
        joined(w, slot, reply);
    else if (reply->type == CHI_REPLY_LEFT)
        left(w, slot, reply->room);
    else if (reply->type == CHI_REPLY_PRIVATE)
        whispered(w, slot, reply);
    else if (reply->type == CHI_REPLY_ERROR)
        refused(w, slot, reply);
}

void sim_slot_replied(struct sim_world *w, uint32_t slot, int rc)
{
    struct sim_slot *s = &w->slots[slot];
    s->full = s->full || rc > 0;
    if (rc >= 0)
        return;
    s->failed = true;
    s->gap_due = false;
    s->naming = 0;
}

void sim_slots_step(struct sim_world *w)
{
    for (uint32_t i = 0; i < SIM_SLOTS; i++) {
        if (!w->slots[i].dialect)
            continue;
        if (w->slots[i]
                .early) /* unless it went in this step, and what it came with never will be */
            sim_fail(w, "core says that slot %u came before what it came with is resolved", i);
        if (w->slots[i].gap_due)
            check_gap_due(w, i, NULL);
        if (w->slots[i].joining >= 0)
            observes(w, i);
    }
    whispered_all(w);
}
