/* Who is there, as each client knows it: lists, and the signals that change them. */
#include <string.h>

#include "sim.h"

#define NUMBER(n) ((unsigned long long)(n))

static struct sim_one one_of(struct sim_world *w, const struct sim_person *who)
{
    return (struct sim_one){sim_intern(w, who->user), sim_intern(w, who->name),
                            sim_intern(w, who->status)};
}

static uint32_t view_find(const struct sim_view *v, uint32_t user)
{
    uint32_t i = 0;
    while (i < v->n && v->who[i].user != user)
        i++;
    return i;
}

static void view_add(struct sim_world *w, struct sim_view *v, const struct sim_person *who)
{
    struct sim_one one = one_of(w, who);
    uint32_t at = view_find(v, one.user);
    if (at == v->n && v->n == SIM_PEOPLE)
        return;
    if (at == v->n)
        v->n++;
    v->who[at] = one;
}

void sim_view_set(struct sim_world *w, struct sim_view *v, const struct sim_frame *f)
{
    v->n = 0;
    for (uint32_t i = 0; i < f->came; i++)
        view_add(w, v, &f->people[i]);
    v->number = f->number;
    v->count = f->count;
    v->known = true;
    v->wanted = false;
}

static void view_apply(struct sim_world *w, struct sim_conn *c, struct sim_view *v,
                       const struct sim_frame *f)
{
    bool unsure = v->self_due; /* `joined` names oneself before the room was told */
    for (uint32_t i = 0; i < f->came + f->went + f->renamed; i++) {
        const struct sim_person *who = &f->people[i];
        uint32_t at = view_find(v, sim_intern(w, who->user));
        bool came = i < f->came, went = !came && i < f->came + f->went;
        bool self = v->n > at && (!c->welcomed || v->who[at].user == c->user);
        if (came && self)
            v->self_due = false;
        if (came != (at == v->n) && !(came && self))
            sim_fail(w, "conn %u: %.*s %s in %.*s, but was%s there", c->serial, (int)who->name.len,
                     who->name.at,
                     came   ? "came"
                     : went ? "went"
                            : "was renamed",
                     (int)f->room.len, f->room.at, came ? "" : " not");
        else if (came)
            view_add(w, v, who);
        else if (went)
            v->who[at] = v->who[--v->n];
        else
            v->who[at].name = sim_intern(w, who->name);
    }
    v->number = f->number;
    v->count = f->count;
    if (v->n != f->count && !(unsure && v->n == f->count + 1))
        sim_fail(w, "conn %u: %u names in its list of %.*s, but the signal counts %llu", c->serial,
                 v->n, (int)f->room.len, f->room.at, NUMBER(f->count));
}

/* Presence comes without a hole, or as a whole. */
static void check_heard(struct sim_world *w, const struct sim_conn *c, struct sim_member *m,
                        const struct sim_frame *f)
{
    bool next = f->number > m->heard && f->number <= m->heard_or + 1 &&
                (f->number == m->heard + 1 || m->heard_or > m->heard);
    if (!next && !f->snapshot && !f->only)
        sim_fail(w, "conn %u: presence %llu of %.*s after %llu", c->serial, NUMBER(f->number),
                 (int)f->room.len, f->room.at, NUMBER(m->heard));
    m->heard = m->heard_or = f->number;
    if (f->snapshot || f->only)
        m->untold = false;
    for (uint32_t i = 0; i < f->came; i++)
        m->untold = m->untold && sim_intern(w, f->people[i].user) != c->user;
}

static void check_presence(struct sim_world *w, struct sim_conn *c, struct sim_view *v,
                           const struct sim_frame *f)
{
    if (f->number <= v->number && v->number)
        return; /* a list that came before holds it */
    if (f->snapshot) {
        sim_view_set(w, v, f);
    } else if (f->only) {
        v->known = false;
        v->wanted = false;
        v->number = f->number;
        v->count = f->count;
    } else if (v->known && f->number == v->number + 1) {
        view_apply(w, c, v, f);
    } else {
        v->known = false;
        v->wanted = true;
        v->number = f->number;
        v->count = f->count;
    }
}

void sim_check_signal(struct sim_world *w, struct sim_conn *c, int at, const struct sim_frame *f)
{
    const struct sim_room *room = &w->rooms[at];
    struct sim_member *m = &c->in[at];
    if (!m->in || !m->hears) {
        sim_fail(w, "conn %u: a signal of %s, which is not for it", c->serial, room->name);
        return;
    }
    uint64_t top = f->has_top ? f->top : 0;
    if (f->type == 'S' && !f->snapshot && f->number < room->signal_cap &&
        room->signal_top[f->number] > top)
        top = room->signal_top[f->number] - 1;
    const struct sim_past *next = sim_past_after(room, m->cursor);
    if (next && next->position <= top)
        sim_fail(w, "conn %u: signal %c of %s came at %llu, before entry %llu, which is older",
                 c->serial, f->type, room->name, NUMBER(m->cursor), NUMBER(next->position));
    if (f->type == 'S') {
        check_heard(w, c, m, f);
        check_presence(w, c, &m->view, f);
        return;
    }
    uint32_t who = view_find(&m->view, sim_intern(w, f->people[0].user));
    if (who == m->view.n)
        return;
    if (f->type == 'U')
        m->view.who[who].status = sim_intern(w, f->people[0].status);
}

/* A page of names, the last of which completes the list. */
void sim_check_who(struct sim_world *w, struct sim_conn *c, int at, const struct sim_frame *f,
                   const struct sim_asked *asked)
{
    struct sim_view *v = &c->in[at].view;
    if (asked && asked->ref != v->asked_ref)
        return; /* it was asked in an earlier membership */
    v->asking = false;
    if (!c->in[at].in || (asked && asked->continued != v->paging) ||
        (v->paging && f->number != v->paging_number)) {
        v->wanted = c->in[at].in; /* somebody came or went between two pages: from the start */
        v->paging = false;
        return;
    }
    if (!v->paging)
        v->pages = 0;
    for (uint32_t i = 0; i < f->came && v->pages < SIM_PEOPLE; i++)
        v->page[v->pages++] = one_of(w, &f->people[i]);
    v->paging = v->wanted = f->more;
    v->paging_number = f->number;
    if (f->more || f->number < v->number)
        return;
    memcpy(v->who, v->page, sizeof v->who);
    v->n = v->pages;
    v->number = f->number;
    v->count = f->count;
    v->known = true;
    if (v->n != f->count && !(asked && asked->continued))
        sim_fail(w, "conn %u: who names %u in %s, but counts %llu", c->serial, v->n,
                 w->rooms[at].name, NUMBER(f->count));
    v->wanted = v->n != f->count; /* somebody was renamed between two pages */
}
