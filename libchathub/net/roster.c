#include "net/roster.h"

static struct chi_span span_of(const uint64_t *id)
{
    return (struct chi_span){(const char *)id, sizeof(*id)};
}

static struct chi_span id_of(const void *ctx, uint32_t number)
{
    const struct chi_guest *guest = chi_slots_at(ctx, number);
    return span_of(&guest->id);
}

void chi_roster_init(struct chi_roster *roster, uint32_t item, struct chi_env env)
{
    *roster = (struct chi_roster){.by_id = {.text = id_of, .ctx = &roster->all}};
    chi_slots_init(&roster->all, item);
    env.ops->random(env.self, roster->by_id.secret, sizeof(roster->by_id.secret));
}

void chi_roster_fini(struct chi_roster *roster)
{
    chi_index_fini(&roster->by_id);
    chi_slots_fini(&roster->all);
}

int chi_roster_open(struct chi_roster *roster, struct chi_hub *hub, struct chi_client_desc *desc,
                    struct chi_guest *guest)
{
    desc->as.conn = guest->slot.number;
    int error = chi_index_reserve(&roster->by_id);
    if (!error)
        error = chi_hub_client_open(hub, desc, &guest->id);
    if (error)
        chi_slots_give(&roster->all, guest);
    else
        chi_index_put(&roster->by_id, guest->slot.number);
    return error;
}

void chi_roster_give(struct chi_roster *roster, struct chi_guest *guest)
{
    chi_index_remove(&roster->by_id, guest->slot.number);
    chi_slots_give(&roster->all, guest);
}

void *chi_roster_find(const struct chi_roster *roster, uint64_t id)
{
    return chi_slots_at(&roster->all, chi_index_find(&roster->by_id, span_of(&id)));
}
