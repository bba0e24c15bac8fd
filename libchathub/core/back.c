/* The log went back under a running hub: it was emptied, or put back from a copy.
 *
 * What clients were sent may exist no more, and the next positions will be ones that they have seen:
 * all are closed, resumable, after a word. Their sessions stay, as lost ones; the rooms are opened
 * anew when somebody comes back into them. Who then knows a position and its epoch is told a gap by
 * the log's own rule (chi_log.holds); the places that the hub kept are marked (member->stale), for
 * they have no epoch of their own. */
#include "core/nodes.h"

#define CLOSE_RESTART 1012

static const char why[] = "the log was put back to an earlier state; come back";

static void close_clients(struct chi_hub *hub)
{
    for (uint32_t i = 0; i < hub->clients.made; i++) {
        struct chi_client *client = chi_slots_at(&hub->clients, i);
        if (!client)
            continue;
        if (client->spoke)
            chi_core_reply(hub, client,
                           &(struct chi_reply){
                               .type = CHI_REPLY_BYE,
                               .message = chi_span_of(why),
                               .retry_after = chi_core_come_back(hub),
                               .time = chi_core_wall(hub),
                           });
        chi_core_close(hub, client, CLOSE_RESTART, chi_span_of(why), false);
    }
}

static void forget_places(struct chi_hub *hub)
{
    for (uint32_t i = 0; i < hub->members.made; i++) {
        struct chi_member *member = chi_slots_at(&hub->members, i);
        if (!member)
            continue;
        member->stale = true;
        chi_nodes_touched(hub, member->session);
    }
}

/* What is under way in them was answered; who waits for more goes with its client. */
static void close_rooms(struct chi_hub *hub)
{
    for (uint32_t i = 0; i < hub->rooms.made; i++) {
        struct chi_room *room = chi_slots_at(&hub->rooms, i);
        if (!room || room->state != CHI_ROOM_OPEN)
            continue;
        chi_core_room_close(hub, room);
        room->top = 0;
        chi_core_room_idle(hub, room);
    }
}

void chi_core_went_back(void *self)
{
    struct chi_hub *hub = self;
    struct chi_span epoch = hub->parts.log->epoch(hub->parts.log);
    const struct chi_field fields[] = {{"epoch", epoch}};

    hub->parts.env.ops->log(hub->parts.env.self, CHATHUB_WARNING, "log_went_back", fields, 1);
    forget_places(hub); /* first: who is closed has its place remembered, if it means anything */
    close_clients(hub);
    close_rooms(hub);
}
