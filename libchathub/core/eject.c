/* Clients that the host ends. It may say so from inside a callback, where delivery is in the middle of
 * its flush, so they end in the next turn: what they are owed, the host's words as `bye`, and the
 * close. Bounded by one for each client. */
#include "core/internal.h"

#include <stdlib.h>
#include <string.h>

#define CLOSE_NORMAL 1000

struct chi_ejection {
    struct chi_link all; /* in hub->ejections */
    uint64_t client;     /* may be gone by now */
    int code;
    size_t len;
    char message[];
};

int chi_hub_eject(struct chi_hub *hub, uint64_t id, int code, struct chi_span message)
{
    struct chi_client *client = chi_core_client(hub, id);
    if (!client || client->ejected)
        return CHATHUB_EGONE;
    struct chi_ejection *ejection = malloc(sizeof *ejection + message.len);
    if (!ejection)
        return CHATHUB_ENOMEM;
    *ejection = (struct chi_ejection){.client = id, .code = code, .len = message.len};
    if (message.len)
        memcpy(ejection->message, message.at, message.len);
    client->ejected = true;
    chi_list_append(&hub->ejections, &ejection->all);
    chi_core_wake(hub);
    return 0;
}

static void eject(struct chi_hub *hub, struct chi_client *client,
                  const struct chi_ejection *ejection)
{
    struct chi_span message = {ejection->message, ejection->len};

    chi_core_log(hub, CHATHUB_INFO, "disconnected_by_host", client,
                 (struct chi_field){"message", message}, (struct chi_field){NULL, {NULL, 0}});
    if (client->spoke && message.len) /* else it may not be known yet how it speaks */
        chi_core_reply(hub, client,
                       &(struct chi_reply){
                           .type = CHI_REPLY_BYE, .message = message, .time = chi_core_wall(hub)});
    chi_core_close(hub, client, ejection->code, message, ejection->code == CLOSE_NORMAL);
}

void chi_core_work_ejections(struct chi_hub *hub)
{
    struct chi_link *link;

    while ((link = chi_list_take(&hub->ejections)) != NULL) {
        struct chi_ejection *ejection = CHI_CONTAINER(link, struct chi_ejection, all);
        struct chi_client *client = chi_core_client(hub, ejection->client);
        if (client)
            eject(hub, client, ejection);
        free(ejection);
    }
}

void chi_core_ejections_free(struct chi_hub *hub)
{
    struct chi_link *link;
    while ((link = chi_list_take(&hub->ejections)) != NULL)
        free(CHI_CONTAINER(link, struct chi_ejection, all));
}
