/* What core keeps of a room only while something goes on in it: who types, posts that wait, the
 * next presence signal, a look into the log. Delivery's part is in delivery/hot.c.
 *
 * Happy path: the record is made when it is first needed, serves for as long as it is, and goes
 * when it was of no use for a while. Failure: without memory for it, what would have needed it is
 * refused, or (presence) told at once. */
#include "core/internal.h"

#include <stdlib.h>

/* A room in which nothing went on for so long gives it back, and what the last look found with it. */
#define KEEP_MS 5000u

static bool in_use(const struct chi_busy *busy)
{
    return busy->timer.place || busy->typers || busy->look || !chi_list_empty(&busy->posts);
}

static void mark_used(struct chi_hub *hub, struct chi_busy *busy)
{
    busy->used = chi_core_now(hub);
    chi_list_remove(&busy->all);
    chi_list_append(&hub->busy, &busy->all);
}

static void sweep(struct chi_timer *timer)
{
    struct chi_hub *hub = CHI_CONTAINER(timer, struct chi_hub, busy_timer);
    uint64_t now = chi_core_now(hub);

    while (!chi_list_empty(&hub->busy)) {
        struct chi_busy *busy = CHI_CONTAINER(hub->busy.next, struct chi_busy, all);
        if (busy->used + KEEP_MS > now) {
            chi_timers_set(&hub->timers, timer,
                           busy->used + KEEP_MS); /* has its place from before */
            return;
        }
        if (in_use(busy))
            mark_used(hub, busy);
        else
            chi_core_busy_end(hub, busy->room);
    }
}

void chi_core_busy_init(struct chi_hub *hub)
{
    chi_list_init(&hub->busy);
    hub->busy_timer.fire = sweep;
}

struct chi_busy *chi_core_busy(struct chi_hub *hub, struct chi_room *room)
{
    if (!room->busy) {
        if (!hub->busy_timer.place &&
            chi_timers_set(&hub->timers, &hub->busy_timer, chi_core_now(hub) + KEEP_MS) < 0)
            return NULL;
        struct chi_busy *busy = calloc(1, sizeof *busy);
        if (!busy)
            return NULL;
        busy->hub = hub;
        busy->room = room;
        chi_list_init(&busy->posts);
        busy->timer.fire = chi_presence_timer;
        room->busy = busy;
        chi_core_wake(hub);
    }
    mark_used(hub, room->busy);
    return room->busy;
}

void chi_core_busy_end(struct chi_hub *hub, struct chi_room *room)
{
    struct chi_busy *busy = room->busy;

    if (!busy)
        return;
    while (busy->typers) {
        struct chi_typer *typer = busy->typers;
        busy->typers = typer->next;
        chi_timers_clear(&hub->timers, &typer->timer);
        free(typer);
    }
    chi_timers_clear(&hub->timers, &busy->timer);
    chi_list_remove(&busy->all);
    free(busy);
    room->busy = NULL;
}
