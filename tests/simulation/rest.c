/* The invariants after each step, at rest, and when all have gone. */
#include <stdio.h>
#include <string.h>

#include "sim.h"

#define NUMBER(n) ((unsigned long long)(n))

/* -------------------------------------------------------------------------------- after every
 * step */

void sim_check_step(struct sim_world *w)
{
    sim_slots_step(w);
    const char *wrong = chi_hub_check(w->hub);
    if (wrong)
        sim_fail(w, "chi_hub_check: %s", wrong);
    wrong = chi_delivery_check(w->delivery);
    if (wrong)
        sim_fail(w, "chi_delivery_check: %s", wrong);
    struct chi_delivery_counts d;
    struct chi_hub_counts h;
    chi_delivery_counts(w->delivery, &d);
    chi_hub_counts(w->hub, &h);
    const struct chi_settings *s = &w->settings;
    if (h.clients > s->max_clients || h.rooms > s->max_rooms + 1)
        sim_fail(w, "%llu clients and %llu rooms, beyond their bounds", NUMBER(h.clients),
                 NUMBER(h.rooms));
    if (d.window_bytes > s->window_bytes + SIM_WINDOW_SLACK)
        sim_fail(w, "windows hold %llu bytes, %llu allowed", NUMBER(d.window_bytes),
                 NUMBER(s->window_bytes));
    if (d.held_bytes > (uint64_t)SIM_CONNS * (s->client_replies + SIM_FRAME_MAX))
        sim_fail(w, "replies hold %llu bytes", NUMBER(d.held_bytes));
}

/* ----------------------------------------------------------------------------------------- at
 * rest */

/* Each is where its dialect's entrance says, or was told why not. */
static void rest_entrance(struct sim_world *w, const struct sim_conn *c)
{
    const struct chi_dialect *dialect = c->later.dialect;
    bool there = w->rooms[c->home].member[c->slot];
    if (!c->entered)
        return;
    if (dialect->entrance == CHI_ENTRANCE_OBSERVES && !there && !c->troubled)
        sim_fail(w, "conn %u: does not observe %s", c->serial, w->rooms[c->home].name);
    if (dialect->entrance == CHI_ENTRANCE_JOINS && !there && !c->troubled)
        sim_fail(w, "conn %u: is not in %s", c->serial, w->rooms[c->home].name);
    if (dialect->greets && !c->greeted)
        sim_fail(w, "conn %u: was not welcomed", c->serial);
    if (w->slots[c->slot].refused)
        sim_fail(w, "conn %u: has no name, and was not closed", c->serial);
}

static void rest_conn(struct sim_world *w, struct sim_conn *c)
{
    if (c->asked_count && !c->unclear)
        sim_fail(w, "conn %u: request %u (type %d) was never answered", c->serial, c->asked[0].ref,
                 c->asked[0].type);
    if (c->inbox || !c->reading)
        sim_fail(w, "conn %u: is not read from", c->serial);
    if (c->pipe.len || c->blocked)
        sim_fail(w, "conn %u: is blocked though it reads", c->serial);
    if (c->rx.len)
        sim_fail(w, "conn %u: half a frame: %.*s", c->serial, (int)c->rx.len, c->rx.at);
    if (c->pong != c->pings)
        sim_fail(w, "conn %u: ping %u was not answered", c->serial, c->pings);
    rest_entrance(w, c);
    for (int i = 0; i < SIM_ROOMS; i++) {
        const struct sim_room *room = &w->rooms[i];
        const struct sim_member *m = &c->in[i];
        if (m->in && m->hears && m->heard != room->signal_last && m->heard_or != room->signal_last)
            sim_fail(w, "conn %u: heard presence %llu of %s, not %llu", c->serial, NUMBER(m->heard),
                     room->name, NUMBER(room->signal_last));
        if (m->in && m->hears && m->untold)
            sim_fail(w, "conn %u: was never told that it came to %s", c->serial, room->name);
        const struct sim_past *next = sim_past_after(room, m->cursor);
        if (m->in && next && !(m->observer && c->unwatched))
            sim_fail(w, "conn %u: stands at %llu of %s, %llu was never sent", c->serial,
                     NUMBER(m->cursor), room->name, NUMBER(next->position));
        if (m->in && m->gap_due)
            sim_fail(w, "conn %u: was never told its gap in %s", c->serial, room->name);
        if (c->observing ? m->in && !room->member[c->slot] && !c->unwatched
                         : m->in != (room->member[c->slot] != 0))
            sim_fail(w, "conn %u: %s in %s, but the hub thinks otherwise", c->serial,
                     m->in ? "is" : "is not", room->name);
    }
}

static const struct sim_conn *conn_in(struct sim_world *w, int room, uint32_t user)
{
    for (int i = 0; i < SIM_CONNS; i++) {
        const struct sim_conn *c = &w->conns[i];
        if (c->used && c->open && c->in[room].in && !c->in[room].observer && c->user == user)
            return c;
    }
    return NULL;
}

/* `nameless` of them were never told who they are: they said no hello. */
static void rest_view(struct sim_world *w, const struct sim_conn *c, int at, uint32_t truth,
                      uint32_t nameless)
{
    const struct sim_view *v = &c->in[at].view;
    const char *name = w->rooms[at].name;
    if (v->count != truth)
        sim_fail(w, "conn %u: told that %llu are in %s, where %u are", c->serial, NUMBER(v->count),
                 name, truth);
    uint32_t names =
        w->settings.presence_names; /* once too many, fewer by an eighth are few enough */
    if (!v->known && truth <= names - names / 8)
        sim_fail(w, "conn %u: does not know who is in %s", c->serial, name);
    if (v->known && v->n != truth)
        sim_fail(w, "conn %u: lists %u in %s, where %u are", c->serial, v->n, name, truth);
    for (uint32_t i = 0; v->known && i < v->n; i++) {
        const struct sim_conn *who = conn_in(w, at, v->who[i].user);
        if (!who && nameless-- == 0)
            sim_fail(w, "conn %u: sees %s in %s, who is not there", c->serial,
                     w->words[v->who[i].name], name);
        if (who && who->name != v->who[i].name)
            sim_fail(w, "conn %u: sees %s in %s, who is %s now", c->serial,
                     w->words[v->who[i].name], name, w->words[who->name]);
    }
}

static void rest_room(struct sim_world *w, int at)
{
    uint32_t truth = 0, nameless = 0;
    for (int i = 0; i < SIM_CONNS; i++) {
        const struct sim_conn *c = &w->conns[i];
        bool in = c->used && c->open && c->in[at].in && !c->in[at].observer;
        truth += in;
        nameless += in && !c->welcomed;
    }
    for (int i = 0; i < SIM_CONNS; i++) {
        const struct sim_conn *c = &w->conns[i];
        if (c->used && c->open && c->in[at].in && c->in[at].hears)
            rest_view(w, c, at, truth, nameless);
    }
}

/* What was acked is there, with the words that were posted. */
static void rest_acked(struct sim_world *w, int actor, uint32_t n)
{
    const struct sim_post *post = &w->actors[actor].posts[n];
    const struct sim_past *past = sim_past_at(&w->rooms[post->room], post->position);
    char text[4200];
    struct chi_span content = sim_post_text(post, actor, n, text, sizeof text);
    if (!past || past->content != sim_hash(content.at, content.len))
        sim_fail(w, "post %u of actor %d was acked for %llu, where it is not", n, actor,
                 NUMBER(post->position));
}

static void rest_posts(struct sim_world *w, int actor)
{
    const struct sim_actor *a = &w->actors[actor];
    for (uint32_t n = 0; n < a->post_count; n++) {
        const struct sim_post *post = &a->posts[n];
        const struct sim_room *room = &w->rooms[post->room];
        char cid[40];
        (void)snprintf(cid, sizeof cid, "k%d-%u", actor, n);
        if (post->state == SIM_POST_ACKED)
            rest_acked(w, actor, n);
        if (a->conn >= 0 && (post->state == SIM_POST_SENT || post->state == SIM_POST_RETRY))
            sim_fail(w, "post %s was never settled", cid);
        if (post->state != SIM_POST_REFUSED || !post->has_cid || post->attempts > 1 ||
            sim_passing(post->code))
            continue;
        uint32_t word = sim_intern(w, chi_span_of(cid));
        for (uint32_t i = 0; i < room->count; i++)
            if (room->past[i].cid == word && room->past[i].user == post->user)
                sim_fail(w, "post %s was refused (%s) and committed", cid,
                         chathub_errname(post->code));
    }
}

/* --------------------------------------------------------------------------- what the log holds */

struct audit {
    struct chi_log_reader reader; /* first */
    struct sim_world *w;
    struct sim_room *room;
    bool answered;
};

static void audit_entry(struct sim_world *w, const struct sim_room *room,
                        const struct chi_entry *entry)
{
    const struct sim_past *past = sim_past_at(room, entry->position);
    struct chi_span content = chi_entry_read(entry).content;
    if (!past || past->lost || entry->prev != past->prev)
        sim_fail(w, "the log holds %llu (prev %llu) in %s, which is not what was committed",
                 NUMBER(entry->position), NUMBER(entry->prev), room->name);
    else if (past->redacting ? content.len != 0
                             : sim_hash(content.at, content.len) != past->content)
        sim_fail(w, "the log holds other words at %llu of %s", NUMBER(entry->position), room->name);
}

static void audit_page(struct chi_log_reader *reader, const struct chi_log_page *page)
{
    struct audit *a = (struct audit *)(void *)reader;
    const struct sim_room *room = a->room;
    uint64_t most = a->w->settings.log_entries, kept = 0;
    a->answered = true;
    for (uint32_t i = 0; i < page->count; i++)
        audit_entry(a->w, room, page->entries[i]);
    for (uint32_t i = room->count > most ? room->count - (uint32_t)most : 0; i < room->count; i++)
        kept += room->past[i].position > room->lost_to && !room->past[i].lost;
    if (page->count < kept && !a->w->vague_bounds)
        sim_fail(a->w, "the log holds %u entries of %s, where %llu have to be kept", page->count,
                 room->name, NUMBER(kept));
}

/* Compares what the log holds of its open rooms with what was committed. */
static void audit(struct sim_world *w)
{
    for (int i = 0; i < SIM_ROOMS; i++) {
        struct sim_room *room = &w->rooms[i];
        if (!room->open)
            continue;
        struct audit a = {.reader = {audit_page}, .w = w, .room = room};
        struct chi_log_read read = {.before = UINT64_MAX,
                                    .limit = 1u << 20,
                                    .bytes = 1u << 30,
                                    .backward = true,
                                    .reader = &a.reader};
        if (!sim_flog_peek(w->flog, room->number, &read) || !a.answered)
            sim_fail(w, "the log does not answer a read at rest");
    }
}

void sim_check_rest(struct sim_world *w)
{
    struct chi_hub_counts counts;
    uint32_t open = 0;
    for (int i = 0; i < SIM_CONNS; i++) {
        if (w->conns[i].used && w->conns[i].open)
            rest_conn(w, &w->conns[i]);
        open += w->conns[i].used && w->conns[i].open;
    }
    for (int i = 0; i < SIM_ROOMS; i++)
        rest_room(w, i);
    for (uint32_t i = 0; i < w->config.actors; i++)
        rest_posts(w, (int)i);
    chi_hub_counts(w->hub, &counts);
    if (counts.drafts || !chi_hub_idle(w->hub))
        sim_fail(w, "the hub is not idle at rest (%llu drafts)", NUMBER(counts.drafts));
    if (counts.clients != open)
        sim_fail(w, "the hub counts %llu clients, %u are there", NUMBER(counts.clients), open);
    if (sim_flog_under_way(w->flog))
        sim_fail(w, "the log has something under way at rest");
    if (!w->failed)
        audit(w);
}

void sim_check_end(struct sim_world *w)
{
    struct chi_hub_counts h;
    struct chi_delivery_counts d;
    chi_hub_counts(w->hub, &h);
    chi_delivery_counts(w->delivery, &d);
    if (h.clients || h.observers || h.members || h.drafts || h.sessions || h.rooms)
        sim_fail(w,
                 "all have gone, but the hub counts %llu clients, %llu observers, %llu members, "
                 "%llu drafts, %llu sessions, %llu rooms",
                 NUMBER(h.clients), NUMBER(h.observers), NUMBER(h.members), NUMBER(h.drafts),
                 NUMBER(h.sessions), NUMBER(h.rooms));
    if (d.window_bytes || d.held_bytes || d.behind)
        sim_fail(w, "all have gone, but delivery holds %llu + %llu bytes, %llu are behind",
                 NUMBER(d.window_bytes), NUMBER(d.held_bytes), NUMBER(d.behind));
}
