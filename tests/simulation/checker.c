/* The invariants, frame by frame: what every client must see of what was committed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define NUMBER(n) ((unsigned long long)(n))

/* ------------------------------------------------------------------------------ what was
 * committed */

static uint32_t past_find(const struct sim_room *room, uint64_t position)
{
    uint32_t low = 0, high = room->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (room->past[middle].position > position)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

const struct sim_past *sim_past_after(const struct sim_room *room, uint64_t position)
{
    uint32_t at = past_find(room, position);
    return at < room->count ? &room->past[at] : NULL;
}

const struct sim_past *sim_past_at(const struct sim_room *room, uint64_t position)
{
    return position ? sim_past_after(room, position - 1) &&
                              sim_past_after(room, position - 1)->position == position
                          ? sim_past_after(room, position - 1)
                          : NULL
                    : NULL;
}

static uint64_t past_top(const struct sim_room *room)
{
    return room->count ? room->past[room->count - 1].position : 0;
}

/* Whether the log may have dropped the entry by now. */
static bool may_be_lost(const struct sim_world *w, const struct sim_room *room, uint32_t index)
{
    const struct chi_settings *s = &w->settings;
    return room->past[index].position <= room->lost_to || index + s->log_entries < room->count ||
           room->past[index].lost || w->vague_bounds;
}

/* Each post is said under the name that it has to be, and what is private is in no log. */
static void check_sender(struct sim_world *w, const struct chi_entry_parts *parts)
{
    const struct sim_post *post = sim_post_of_text(w, parts->content, 'm', NULL);
    if (post && post->as && !chi_span_is(parts->sender, w->words[post->as]))
        sim_fail(w, "what %s said was committed under the name %.*s", w->words[post->as],
                 (int)parts->sender.len, parts->sender.at);
    if (sim_post_of_text(w, parts->content, 'w', NULL))
        sim_fail(w, "the log committed what was said privately: %.*s", (int)parts->content.len,
                 parts->content.at);
}

void sim_check_commit(struct sim_world *w, struct chi_span key, const struct chi_entry *entry)
{
    int at = sim_room_of(w, key);
    if (at < 0)
        return;
    struct sim_room *room = &w->rooms[at];
    struct chi_entry_parts parts = chi_entry_read(entry);
    uint64_t top = past_top(room);
    if (entry->position <= top || entry->prev < top)
        sim_fail(w, "the log committed %llu (prev %llu) behind %llu in %s", NUMBER(entry->position),
                 NUMBER(entry->prev), NUMBER(top), room->name);
    if (entry->prev > top)
        room->lost_to = entry->prev;
    if (room->count == room->cap) {
        room->cap = room->cap * 2 + 64;
        room->past = sim_realloc(room->past, room->cap * sizeof *room->past);
    }
    struct sim_past *past = &room->past[room->count++];
    *past = (struct sim_past){.position = entry->position, .prev = entry->prev, .at = w->now};
    past->size = chi_entry_size(entry);
    past->user = sim_intern(w, parts.user);
    past->cid = sim_intern(w, parts.cid);
    past->content = sim_hash(parts.content.at, parts.content.len);
    past->sender = sim_intern(w, parts.sender);
    check_sender(w, &parts);
    uint64_t horizon = sim_flog_log(w->flog)->horizon(sim_flog_log(w->flog));
    for (uint32_t i = 0; past->cid && i + 1 < room->count; i++)
        if (room->past[i].user == past->user && room->past[i].cid == past->cid &&
            w->now - room->past[i].at < horizon)
            sim_fail(w, "cid %s was committed twice in %s, at %llu and %llu", w->words[past->cid],
                     room->name, NUMBER(room->past[i].position), NUMBER(past->position));
}

static void take_back_posts(const struct sim_world *w, struct sim_actor *a)
{
    for (uint32_t n = 0; n < a->post_count; n++) {
        struct sim_post *post = &a->posts[n];
        if (!post->position || sim_past_at(&w->rooms[post->room], post->position))
            continue;
        post->position = 0;
        if (post->state == SIM_POST_ACKED)
            post->state = SIM_POST_GONE;
    }
}

void sim_check_taken_back(struct sim_world *w, uint64_t last)
{
    for (int i = 0; i < SIM_ROOMS; i++) {
        struct sim_room *room = &w->rooms[i];
        while (room->count && (past_top(room) > last || room->past[room->count - 1].lost))
            room->count--;
        if (room->lost_to > last)
            room->lost_to = last;
    }
    for (uint32_t i = 0; i < w->config.actors; i++)
        take_back_posts(w, &w->actors[i]);
}

bool sim_holds(const struct sim_world *w, struct chi_span epoch, uint64_t position)
{
    if (w->store)
        return sim_store_holds(w->store, epoch, position);
    return !epoch.len || chi_span_equal(epoch, sim_flog_log(w->flog)->epoch(sim_flog_log(w->flog)));
}

/* ----------------------------------------------------------------------------------------
 * redaction
 * */

/* What the transport took until now may show the texts, and nothing that it takes later. */
void sim_check_redacted(struct sim_world *w, struct chi_span key, uint64_t position, int status)
{
    int at = sim_room_of(w, key);
    struct sim_room *room = &w->rooms[at];
    uint32_t i = past_find(room, position - 1);
    if (i == room->count || room->past[i].position != position)
        return;
    room->past[i].redacting = status == 0;
    if (status)
        return;
    room->past[i].redacted = ++w->redacted;
    for (int n = 0; n < SIM_CONNS; n++)
        w->conns[n].taken_at[w->redacted] = w->conns[n].taken;
}

/* Whether the texts of a redacted entry may be in what was sent from `at` on. */
static bool may_show(const struct sim_conn *c, const struct sim_past *past, uint64_t at)
{
    return !past->redacted || at < c->taken_at[past->redacted];
}

static void check_history_shows(struct sim_world *w, const struct sim_room *room,
                                const struct chi_reply *reply)
{
    for (uint32_t i = 0; i < reply->entry_count; i++) {
        const struct sim_past *past = sim_past_at(room, reply->entries[i]->position);
        if (past && past->redacted && reply->entries[i]->content_len)
            sim_fail(w, "core answers with history of %s that shows %llu, which is redacted",
                     room->name, NUMBER(past->position));
    }
}

/* ----------------------------------------------------------------------------------------
 * entries */

/* `at`: where its frame begins in all that the connection took. */
static void seen_check(struct sim_world *w, const struct sim_conn *c, const struct sim_room *room,
                       const struct sim_seen *seen, const struct sim_past *past, uint64_t at)
{
    if (seen->prev != past->prev)
        sim_fail(w, "conn %u: entry %llu of %s says prev %llu, not %llu", c->serial,
                 NUMBER(past->position), room->name, NUMBER(seen->prev), NUMBER(past->prev));
    bool tombstone = past->redacting && seen->content.len == 0;
    if (!tombstone && !may_show(c, past, at))
        sim_fail(w, "conn %u: entry %llu of %s shows what was redacted before", c->serial,
                 NUMBER(past->position), room->name);
    if (!tombstone &&
        (sim_intern(w, seen->user) != past->user || sim_intern(w, seen->cid) != past->cid ||
         sim_hash(seen->content.at, seen->content.len) != past->content))
        sim_fail(w, "conn %u: entry %llu of %s is not what was posted", c->serial,
                 NUMBER(past->position), room->name);
}

/* The rest of a frame that is two texts. */
static void check_second(struct sim_world *w, struct sim_conn *c, const struct sim_frame *f)
{
    char second = f->type == 'Z' && f->cid.len ? f->cid.at[0] : 0;
    if (c->second != second)
        sim_fail(w, "conn %u: %c where the second text of %c is due", c->serial, f->type,
                 c->second ? c->second : '-');
    c->second = f->several ? f->type : 0;
    if (f->stamp && f->stamp <= c->stamp)
        sim_fail(w, "conn %u: %c has the number %llu after %llu", c->serial, f->type,
                 NUMBER(f->stamp), NUMBER(c->stamp));
    if (f->stamp)
        c->stamp = f->stamp;
}

static void remember(struct sim_world *w, struct sim_conn *c, int at, uint64_t position)
{
    struct sim_actor *a = &w->actors[c->actor];
    if (a->conn >= 0 && &w->conns[a->conn] == c) {
        a->position[at] = position;
        struct chi_span epoch = sim_flog_log(w->flog)->epoch(sim_flog_log(w->flog));
        memcpy(a->epoch[at], epoch.at, epoch.len < 23 ? epoch.len : 23);
    }
}

static void check_entry(struct sim_world *w, struct sim_conn *c, int at, const struct sim_frame *f)
{
    const struct sim_room *room = &w->rooms[at];
    struct sim_member *m = &c->in[at];
    uint64_t position = f->entry.position;
    if (!m->in) {
        sim_fail(w, "conn %u: entry %llu of %s, which it is not in", c->serial, NUMBER(position),
                 room->name);
        return;
    }
    const struct sim_past *past = sim_past_at(room, position);
    if (!past) {
        sim_fail(w, "conn %u: entry %llu of %s was never committed", c->serial, NUMBER(position),
                 room->name);
        return;
    }
    seen_check(w, c, room, &f->entry, past, f->at);
    if (f->name.len && sim_intern(w, f->name) != past->sender)
        sim_fail(w, "conn %u: entry %llu of %s has another sender", c->serial, NUMBER(position),
                 room->name);
    if (position <= m->cursor)
        sim_fail(w, "conn %u: entry %llu of %s again or out of order, after %llu", c->serial,
                 NUMBER(position), room->name, NUMBER(m->cursor));
    else if ((sim_past_after(room, m->cursor) != past || past->prev > m->cursor))
        sim_fail(w, "conn %u: entry %llu of %s after %llu: skipped without a gap", c->serial,
                 NUMBER(position), room->name, NUMBER(m->cursor));
    if (m->gap_due)
        sim_fail(w, "conn %u: entry %llu of %s, though a gap had to be told", c->serial,
                 NUMBER(position), room->name);
    m->fresh = false;
    m->cursor = position;
    remember(w, c, at, position);
}

static void check_gap(struct sim_world *w, struct sim_conn *c, int at, const struct sim_frame *f)
{
    const struct sim_room *room = &w->rooms[at];
    struct sim_member *m = &c->in[at];
    if (m->in && m->fresh && c->later.dialect->replays && f->to == m->cursor) {
        m->fresh = false; /* where its name stood means nothing any more (manners.c) */
        return;
    }
    if (m->gap_due && f->from == m->position && f->to == m->cursor) {
        m->gap_due = false; /* what it asked for belongs to another epoch */
        return;
    }
    if (!m->in || m->gap_due || f->from != m->cursor || f->to <= f->from) {
        sim_fail(w, "conn %u: a gap from %llu to %llu in %s at %llu", c->serial, NUMBER(f->from),
                 NUMBER(f->to), room->name, NUMBER(m->cursor));
        return;
    }
    for (uint32_t i = past_find(room, f->from); i < room->count; i++)
        if (room->past[i].position <= f->to && !may_be_lost(w, room, i))
            sim_fail(w, "conn %u: told a gap from %llu to %llu in %s, but %llu is kept", c->serial,
                     NUMBER(f->from), NUMBER(f->to), room->name, NUMBER(room->past[i].position));
    m->fresh = false;
    m->cursor = f->to;
    remember(w, c, at, f->to);
}

/* ----------------------------------------------------------------------------------------
 * replies */

static uint64_t bytes_after(const struct sim_room *room, uint32_t index)
{
    uint64_t bytes = 0;
    for (uint32_t i = index; i < room->count; i++)
        bytes += room->past[i].size;
    return bytes;
}

bool sim_reaches_back(const struct sim_world *w, const struct sim_room *room, uint64_t from,
                      uint32_t want)
{
    uint32_t first = past_find(room, from), follow = room->count - first;
    return follow >= want || first == 0 || may_be_lost(w, room, first - 1) ||
           bytes_after(room, first - 1) > (uint64_t)w->settings.page_bytes * 16;
}

static void check_start(struct sim_world *w, struct sim_conn *c, const struct sim_room *room,
                        const struct sim_frame *f, const struct sim_asked *asked)
{
    uint32_t standard = sim_standard(w, c->later.dialect, c->history);
    uint32_t want = asked->start.kind == CHI_START_LAST      ? asked->start.count
                    : asked->start.kind == CHI_START_DEFAULT ? standard
                                                             : 0;
    if (asked->start.kind == CHI_START_NOW && f->start != f->position)
        sim_fail(w, "conn %u: joined %s from now, but starts at %llu of %llu", c->serial,
                 room->name, NUMBER(f->start), NUMBER(f->position));
    uint32_t most = w->settings.history_page > w->settings.join_history ? w->settings.history_page
                                                                        : w->settings.join_history;
    if (most < standard)
        most = standard;
    if (want > most)
        want = most;
    if (!sim_reaches_back(w, room, f->start, want))
        sim_fail(w, "conn %u: joined %s for the last %u, but only %u follow", c->serial, room->name,
                 want, room->count - past_find(room, f->start));
    if (asked->start.kind == CHI_START_AFTER && asked->held &&
        f->start != (asked->start.position < f->position ? asked->start.position : f->position))
        sim_fail(w, "conn %u: joined %s after %llu, but starts at %llu", c->serial, room->name,
                 NUMBER(asked->start.position), NUMBER(f->start));
}

/* Posting joins only where it may; and where a post is nothing but a name, this is all that comes
 * of it. */
static void check_named(struct sim_world *w, struct sim_conn *c, const struct sim_asked *asked)
{
    struct sim_actor *a = &w->actors[c->actor];
    if (c->later.dialect->must_join && !asked)
        sim_fail(w, "conn %u: joined without a join", c->serial);
    for (uint32_t i = 0; i < c->asked_count; i++) {
        if (!c->asked[i].named || c->later.dialect->post_name != CHI_POST_NAME_WHOLE)
            continue;
        if (c->asked[i].post >= 0)
            a->posts[c->asked[i].post].state = SIM_POST_GONE;
        c->asked[i] = c->asked[--c->asked_count];
        return;
    }
}

static void check_joined(struct sim_world *w, struct sim_conn *c, int at, const struct sim_frame *f,
                         const struct sim_asked *asked)
{
    const struct sim_room *room = &w->rooms[at];
    struct sim_member *m = &c->in[at];
    struct sim_member was = *m;
    if (was.observer && c->unwatched)
        was = (struct sim_member){0};
    if (asked && asked->type == CHI_REQUEST_HELLO)
        asked = NULL;
    struct sim_asked resumed = {.start = {.kind = CHI_START_AFTER, .position = was.position},
                                .held = was.held};
    if (!asked && was.asked)
        asked = &resumed;
    for (int i = 0; i < SIM_ROOMS; i++) /* who joins a room listens in no other */
        if (c->in[i].observer)
            c->in[i] = (struct sim_member){0};
    c->observing = false;
    bool hears = sim_hears(c->later.dialect, c->presence), kept = was.in && was.hears;
    *m = (struct sim_member){
        .in = true, .observer = f->observer, .hears = hears, .cursor = f->start};
    m->began = f->start;
    m->fresh = !was.in;
    m->untold = was.in && !was.observer ? was.untold : c->later.dialect->told_itself;
    m->heard = kept ? was.heard : f->number;
    m->heard_or = kept && (asked || !was.observer) ? f->number : m->heard;
    check_named(w, c, asked);
    bool posted = asked && asked->type == CHI_REQUEST_POST;
    if (f->start > f->position)
        sim_fail(w, "conn %u: joined %s at %llu, beyond its top %llu", c->serial, room->name,
                 NUMBER(f->start), NUMBER(f->position));
    if (asked && !posted && !(was.in && !was.observer) && !w->actors[c->actor].kind)
        check_start(w, c, room, f, asked);
    if ((posted || !asked) && was.in && f->start != was.cursor)
        sim_fail(w, "conn %u: joined %s at %llu, but had read up to %llu", c->serial, room->name,
                 NUMBER(f->start), NUMBER(was.cursor));
    if (asked && !posted && !asked->held) {
        m->gap_due = true;
        m->position = asked->start.position;
    }
    m->view.known = f->has_list;
    m->view.wanted = hears && !f->has_list && f->count <= w->settings.presence_names;
    m->view.number = f->number;
    m->view.count = f->count;
    m->view.self_due = true;
    if (f->has_list)
        sim_view_set(w, &m->view, f);
    if (f->has_list && m->view.n != f->count)
        sim_fail(w, "conn %u: joined %s names %u of %llu", c->serial, room->name, m->view.n,
                 NUMBER(f->count));
    remember(w, c, at, f->start);
}

bool sim_passing(int code)
{
    return code == CHATHUB_ELOG || code == CHATHUB_EUNKNOWN || code == CHATHUB_EAGAIN ||
           code == CHATHUB_ENOMEM || code == CHATHUB_EBUSY || code == CHATHUB_ESHUTDOWN;
}

static struct sim_post *post_of(struct sim_world *w, const struct sim_conn *c,
                                const struct sim_asked *asked)
{
    return asked && asked->post >= 0 ? &w->actors[c->actor].posts[asked->post] : NULL;
}

/* Other words under the cid of an earlier post were committed: right only if that is long
 * forgotten. */
static void check_reused(struct sim_world *w, const struct sim_conn *c, const struct sim_room *room,
                         const struct sim_past *past)
{
    for (const struct sim_past *first = room->past; first < past; first++)
        if (first->user == past->user && first->cid == past->cid &&
            past->at - first->at < sim_flog_log(w->flog)->horizon(sim_flog_log(w->flog)))
            sim_fail(w, "conn %u: other words under a used cid were acked", c->serial);
}

static void check_ack(struct sim_world *w, struct sim_conn *c, int at, const struct sim_frame *f,
                      const struct sim_asked *asked)
{
    struct sim_post *post = post_of(w, c, asked);
    const struct sim_past *past = sim_past_at(&w->rooms[at], f->position);
    if (past && asked && asked->post == SIM_REUSED)
        check_reused(w, c, &w->rooms[at], past);
    if (!past) {
        sim_fail(w, "conn %u: ack for %llu of %s, which was never committed", c->serial,
                 NUMBER(f->position), w->rooms[at].name);
        return;
    }
    struct sim_member *m = &c->in[at];
    if (asked && !f->dup && m->acked_ref && (asked->ref < m->acked_ref || f->position < m->acked))
        sim_fail(w, "conn %u: posts took effect in %s in another order than they were sent",
                 c->serial, w->rooms[at].name);
    if (asked && !f->dup) {
        m->acked = f->position;
        m->acked_ref = asked->ref;
    }
    if (asked && !f->dup && m->in && f->position <= m->began)
        sim_fail(w, "conn %u: its post at %llu of %s is before where it joined", c->serial,
                 NUMBER(f->position), w->rooms[at].name);
    if (asked && !f->dup && c->welcomed && past->user != c->user)
        sim_fail(w, "conn %u: its post at %llu of %s was said by another", c->serial,
                 NUMBER(f->position), w->rooms[at].name);
    if (!post || post->state == SIM_POST_GONE)
        return;
    char text[4200], cid[40];
    struct chi_span content =
        sim_post_text(post, c->actor, (uint32_t)asked->post, text, sizeof text);
    (void)snprintf(cid, sizeof cid, "k%d-%d", c->actor, asked->post);
    if (past->content != sim_hash(content.at, content.len) ||
        (post->has_cid && past->cid != sim_intern(w, chi_span_of(cid))))
        sim_fail(w, "conn %u: ack of post %s for %llu, which is another's", c->serial, cid,
                 NUMBER(f->position));
    if (post->position && post->position != f->position)
        sim_fail(w, "conn %u: post %s was acked for %llu and %llu", c->serial, cid,
                 NUMBER(post->position), NUMBER(f->position));
    if (f->dup && post->attempts < 2)
        sim_fail(w, "conn %u: post %s was sent once and is called a repeat", c->serial, cid);
    post->position = f->position;
    post->state = SIM_POST_ACKED;
}

/* Something was not even read, for want of memory, and nobody can tell what: posts are sent
 * again. */
static void lose_track(struct sim_actor *a, struct sim_conn *c)
{
    c->unclear = true;
    for (uint32_t n = 0; n < a->post_count; n++)
        if (a->posts[n].state == SIM_POST_SENT && a->posts[n].serial == c->serial)
            a->posts[n].state = a->posts[n].has_cid ? SIM_POST_RETRY : SIM_POST_GONE;
}

static void check_error(struct sim_world *w, struct sim_conn *c, int at, const struct sim_frame *f,
                        const struct sim_asked *asked)
{
    struct sim_actor *a = &w->actors[c->actor];
    struct sim_post *post = post_of(w, c, asked);
    for (int i = 0; !asked && i < SIM_ROOMS; i++) /* a room of a hello's list */
        if (i == at || at < 0)
            c->in[i].asked = false;
    c->troubled = c->troubled || !asked;
    if (!asked && f->code == CHATHUB_ENOMEM)
        lose_track(a, c);
    if (!asked)
        return;
    for (int i = 0; asked->type == CHI_REQUEST_HELLO && i < SIM_ROOMS; i++)
        c->in[i].asked = false;
    if (f->code == 0)
        sim_fail(w, "conn %u: an error without a known code", c->serial);
    if (f->code == CHATHUB_EAGAIN && !(post && post->whisper) &&
        !(w->config.faults & (SIM_LOG_FULL | SIM_READ_FAIL)))
        sim_fail(w, "conn %u: was read from while a request of it was under way", c->serial);
    if (post && post->state == SIM_POST_SENT) {
        bool again = sim_passing(f->code) && post->has_cid;
        post->state = again ? SIM_POST_RETRY : SIM_POST_REFUSED;
        post->code = f->code;
        post->retry_at = w->now + 20;
    }
    if (asked->type == CHI_REQUEST_HELLO && !c->welcomed) {
        a->hello_due = true;
        a->unique = true;
    }
    if (asked->type == CHI_REQUEST_WHO && asked->room >= 0 &&
        asked->ref == c->in[asked->room].view.asked_ref) {
        c->in[asked->room].view.asking = c->in[asked->room].view.paging = false;
        c->in[asked->room].view.wanted = sim_passing(f->code);
    }
}

static void check_welcome(struct sim_world *w, struct sim_conn *c, const struct sim_frame *f)
{
    struct sim_actor *a = &w->actors[c->actor];
    uint32_t user = sim_intern(w, f->user);
    if (!f->name.len && c->later.dialect->greets && !c->welcomed && !c->greeted) {
        c->greeted = true;
        return;
    }
    c->welcomed = true;
    c->user = user;
    c->name = sim_intern(w, f->name);
    if (a->conn < 0 || &w->conns[a->conn] != c || c->unclear)
        return;
    if (!user || !f->name.len || (a->user && a->user != user))
        sim_fail(w, "conn %u: welcome as another, or as nobody", c->serial);
    a->user = user;
    if (f->session.len)
        (void)snprintf(a->session, sizeof a->session, "%.*s", (int)f->session.len, f->session.at);
    for (uint32_t n = 0; n < a->post_count; n++)
        if (!a->posts[n].user && a->posts[n].serial == c->serial)
            a->posts[n].user = user;
}

/* Whether damage took all that was between two positions. */
static bool all_lost(const struct sim_room *room, uint64_t from, uint64_t to)
{
    uint32_t i = past_find(room, from);
    while (i < room->count && room->past[i].lost)
        i++;
    return i < room->count && room->past[i].position == to;
}

static void check_history(struct sim_world *w, struct sim_conn *c, int at,
                          const struct sim_frame *f, const struct sim_asked *asked)
{
    const struct sim_room *room = &w->rooms[at];
    uint32_t limit = asked->limit && asked->limit < w->settings.history_page
                         ? asked->limit
                         : w->settings.history_page;
    if (f->page_count > limit)
        sim_fail(w, "conn %u: %u entries of history, %u were asked for", c->serial, f->page_count,
                 limit);
    for (uint32_t i = 0; i < f->page_count; i++) {
        const struct sim_past *past = sim_past_at(room, f->page[i].position);
        bool within = (!asked->before || f->page[i].position < asked->before) &&
                      (!asked->after || f->page[i].position > asked->after);
        bool follows = i == 0 || f->page[i].prev == f->page[i - 1].position ||
                       all_lost(room, f->page[i - 1].position, f->page[i].position);
        if (!past || !within || !follows) {
            sim_fail(w, "conn %u: history of %s holds %llu, which is %s", c->serial, room->name,
                     NUMBER(f->page[i].position),
                     !past     ? "unknown"
                     : !within ? "not within what was asked for"
                               : "not the next one");
            return;
        }
        seen_check(w, c, room, &f->page[i], past, 0); /* see check_history_shows */
    }
}

/* What it said itself is answered so. */
static void check_private(struct sim_world *w, struct sim_conn *c, int at,
                          const struct sim_frame *f)
{
    int actor = -1;
    struct sim_post *post = sim_post_of_text(w, f->entry.content, 'w', &actor);
    if (!post || (w->actors[c->actor].kind && !c->in[at].in)) {
        sim_fail(w, "conn %u: a private message that is none: %.*s", c->serial,
                 (int)f->entry.content.len, f->entry.content.at);
        return;
    }
    for (uint32_t i = 0; actor == c->actor && i < c->asked_count; i++) {
        if (c->asked[i].post < 0 || &w->actors[actor].posts[c->asked[i].post] != post)
            continue;
        post->state = SIM_POST_GONE;
        c->asked[i] = c->asked[--c->asked_count];
        return;
    }
}

static void left(struct sim_conn *c, int at)
{
    if (c->in[at].observer)
        c->observing = false;
    c->in[at] = (struct sim_member){0};
}

/* Whether the answer fits the question. */
static bool fits(char type, uint8_t asked)
{
    static const char answers[] = {
        [CHI_REQUEST_HELLO] = 'W',  [CHI_REQUEST_JOIN] = 'J',    [CHI_REQUEST_LEAVE] = 'L',
        [CHI_REQUEST_POST] = 'A',   [CHI_REQUEST_HISTORY] = 'H', [CHI_REQUEST_WHO] = 'O',
        [CHI_REQUEST_TYPING] = 'K', [CHI_REQUEST_STATUS] = 'K',  [CHI_REQUEST_PING] = 'P'};
    return type == 'X' || type == answers[asked];
}

static void check_reply(struct sim_world *w, struct sim_conn *c, int at, const struct sim_frame *f)
{
    struct sim_asked *found = f->ref.len ? sim_asked_of(c, f->ref) : NULL, asked = {0};
    if (found && f->type == 'W' && found->type == CHI_REQUEST_POST && w->actors[c->actor].kind) {
        found->named = true;
        check_welcome(w, c, f);
        return;
    }
    if (f->ref.len && (!found || !fits(f->type, found->type))) {
        sim_fail(w, "conn %u: ref %.*s is answered by %c, %s", c->serial, (int)f->ref.len,
                 f->ref.at, f->type, found ? "which is no answer to it" : "but nothing is open");
        return;
    }
    if (found) {
        asked = *found;
        *found = c->asked[--c->asked_count];
        found = &asked;
    }
    if (at < 0 && strchr("AJLHOV", f->type)) {
        if (f->type != 'L')
            sim_fail(w, "conn %u: %c for a room of another name", c->serial, f->type);
        return;
    }
    if (f->type == 'W')
        check_welcome(w, c, f);
    else if (f->type == 'A')
        check_ack(w, c, at, f, found);
    else if (f->type == 'X')
        check_error(w, c, at, f, found);
    else if (f->type == 'J')
        check_joined(w, c, at, f, found);
    else if (f->type == 'L')
        left(c, at);
    else if (f->type == 'H' && found)
        check_history(w, c, at, f, found);
    else if (f->type == 'O')
        sim_check_who(w, c, at, f, found);
    else if (f->type == 'V')
        check_private(w, c, at, f);
    else if (f->type == 'K' && asked.type == CHI_REQUEST_STATUS)
        w->actors[c->actor].status = asked.status;
}

void sim_check_frame(struct sim_world *w, struct sim_conn *c, struct sim_frame *f)
{
    int at = sim_room_of(w, f->room);
    bool later = f->boxed == (c->later.framing == &sim_boxed) && f->native == c->native;
    if (f->type != 'C' && c->switched && !later)
        sim_fail(w, "conn %u: %c in the encoding that it had before", c->serial, f->type);
    if (f->type != 'C')
        check_second(w, c, f);
    c->switched = c->switched || (f->type != 'C' && c->served && later);
    if (at < 0 && strchr("EGSTU", f->type))
        sim_fail(w, "conn %u: %c for a room of another name", c->serial, f->type);
    else if (f->type == 'E')
        check_entry(w, c, at, f);
    else if (f->type == 'G')
        check_gap(w, c, at, f);
    else if (strchr("STU", f->type))
        sim_check_signal(w, c, at, f);
    else if (f->type == 'C')
        c->pong = (uint32_t)f->number;
    else if (f->type == 'B')
        c->bye = true;
    else if (f->type == 'Z')
        return;
    else
        check_reply(w, c, at, f);
}

/* ------------------------------------------------------------------------------ what core says */

static const char unreadable[] = "the log cannot be read now; try again later";

/* While the log reports, an error is about a post that it could not take: the words say why. */
static void check_words(struct sim_world *w, const struct chi_reply *reply)
{
    char words[200];
    const char *why = sim_why(w), *text = chathub_strerror(reply->code);
    bool log = reply->code == CHATHUB_ELOG || reply->code == CHATHUB_EUNKNOWN;
    bool with_why = why && reply->message.len > strlen(why) &&
                    memmem(reply->message.at, reply->message.len, why, strlen(why));
    if (log && w->reporting) {
        (void)snprintf(words, sizeof words, "%s%s%s%s", text, why ? " (" : "", why ? why : "",
                       why ? ")" : "");
        if (!chi_span_is(reply->message, words))
            sim_fail(w, "a post that the log could not take is answered with \"%.*s\"",
                     (int)reply->message.len, reply->message.at);
    } else if (with_why || (log && !chi_span_is(reply->message, text) &&
                            !chi_span_is(reply->message, unreadable))) {
        sim_fail(w, "error %d is told in the words of another: \"%.*s\"", reply->code,
                 (int)reply->message.len, reply->message.at);
    }
}

void sim_check_answer(struct sim_world *w, const struct chi_reply *reply)
{
    int at = sim_room_of(w, reply->room);
    if (reply->type == CHI_REPLY_ERROR)
        check_words(w, reply);
    if (at < 0)
        return;
    if (reply->type == CHI_REPLY_HISTORY)
        check_history_shows(w, &w->rooms[at], reply);
    if (reply->type == CHI_REPLY_ACK && !sim_past_at(&w->rooms[at], reply->position))
        sim_fail(w, "core acked position %llu of %s, which the log has not committed",
                 NUMBER(reply->position), w->rooms[at].name);
}
