/* Typing and status: signs of life that are told and forgotten. Only where names are told: in
 * larger rooms each of them would cost more than it says. */
#include "core/nodes.h"

#include <stdlib.h>
#include <string.h>

/* Newer signs of a user replace older ones: a number of the user, from its public id, which is a
 * digest. */
static uint64_t key_of(const struct chi_session *session)
{
    uint64_t key;
    memcpy(&key, session->user, sizeof key);
    return key;
}

static void tell(struct chi_hub *hub, const struct chi_member *member, enum chi_signal_type type,
                 bool on)
{
    const struct chi_room *room = member->room;
    struct chi_signal signal = {
        .type = type,
        .on = on,
        .room = chi_name_shown(room->name),
        .who = chi_presence_of(member),
        .key = key_of(member->session),
        .time = chi_core_wall(hub),
    };
    if (member->told && (room->live || room->listeners) && chi_presence_names(hub, room))
        CHI_DELIVERY(hub, signal, room->slot.number, &signal);
}

/* Where it is among those who type in its room, or would be. */
static struct chi_typer **find(struct chi_busy *busy, const struct chi_member *member)
{
    struct chi_typer **at = &busy->typers;
    while (*at && (*at)->member != member)
        at = &(*at)->next;
    return at;
}

void chi_core_typing_end(struct chi_hub *hub, struct chi_member *member, bool told)
{
    struct chi_busy *busy = member->room->busy;
    if (!busy)
        return;
    struct chi_typer **at = find(busy, member), *typer = *at;
    if (!typer)
        return;
    *at = typer->next;
    busy->typing--;
    chi_timers_clear(&hub->timers, &typer->timer);
    free(typer);
    chi_nodes_types(hub, member, told ? CHI_NODES_STOPS : CHI_NODES_POSTED);
    if (told)
        tell(hub, member, CHI_SIGNAL_TYPING, false);
}

static void expire(struct chi_timer *timer)
{
    struct chi_typer *typer = CHI_CONTAINER(timer, struct chi_typer, timer);
    chi_core_typing_end(typer->hub, typer->member, true);
}

int chi_core_typing_begin(struct chi_hub *hub, struct chi_member *member)
{
    uint64_t now = chi_core_now(hub), time = hub->parts.settings->typing_time;
    struct chi_busy *busy = chi_core_busy(hub, member->room);

    if (!busy)
        return CHATHUB_ENOMEM;
    struct chi_typer **at = find(busy, member), *typer = *at;
    if (!typer) {
        if (busy->typing >= CHI_TYPERS_MAX)
            return 0;
        typer = calloc(1, sizeof *typer);
        if (!typer)
            return CHATHUB_ENOMEM;
        typer->timer.fire = expire;
        typer->hub = hub;
        typer->member = member;
        *at = typer;
        busy->typing++;
    } else if (now - typer->told_at < time / 2) { /* who hears it lets it last for as long */
        return chi_timers_set(&hub->timers, &typer->timer, now + time);
    }
    typer->told_at = now;
    if (chi_timers_set(&hub->timers, &typer->timer, now + time) < 0) {
        chi_core_typing_end(hub, member, true);
        return CHATHUB_ENOMEM;
    }
    chi_nodes_types(hub, member, CHI_NODES_TYPES);
    tell(hub, member, CHI_SIGNAL_TYPING, true);
    return 0;
}

static void ok(struct chi_hub *hub, struct chi_job *job)
{
    if (job->request->ref.len)
        chi_core_reply(hub, job->client,
                       &(struct chi_reply){.type = CHI_REPLY_OK, .ref = job->request->ref});
}

int chi_core_typing(struct chi_hub *hub, struct chi_job *job)
{
    struct chi_member *member;

    int r = chi_core_member_needed(hub, job, &member);
    if (r)
        return r;
    if (job->request->on && chi_presence_names(hub, member->room))
        r = chi_core_typing_begin(hub, member);
    else
        chi_core_typing_end(hub, member, true);
    if (r == 0)
        ok(hub, job);
    return r;
}

int chi_core_check_status(struct chi_hub *hub, struct chi_span text)
{
    if (text.len > hub->parts.settings->max_status)
        return chi_core_problem(hub, CHATHUB_ETOOLONG, "a status has at most %u bytes",
                                hub->parts.settings->max_status);
    if (!chi_text_clean(text.at, text.len) || memchr(text.len ? text.at : "", '\n', text.len))
        return CHATHUB_ETEXT;
    return 0;
}

int chi_core_set_status(struct chi_hub *hub, struct chi_session *session, struct chi_span text)
{
    char *copy = NULL;

    if (chi_span_equal(chi_span_of(session->status), text))
        return 0;
    if (text.len && !(copy = chi_span_dup(text)))
        return CHATHUB_ENOMEM;
    free(session->status);
    session->status = copy;
    chi_nodes_touched(hub, session);
    for (struct chi_member *member = chi_core_member_at(hub, session->members); member;
         member = chi_core_member_at(hub, member->next)) {
        if (!member->gone)
            tell(hub, member, CHI_SIGNAL_STATUS, false);
    }
    return 0;
}

int chi_core_status(struct chi_hub *hub, struct chi_job *job)
{
    int r = chi_core_check_status(hub, job->request->content);
    if (r == 0)
        r = chi_session_need(hub, job);
    if (r == 0)
        r = chi_core_set_status(hub, job->client->session, job->request->content);
    if (r == 0)
        ok(hub, job);
    return r;
}
