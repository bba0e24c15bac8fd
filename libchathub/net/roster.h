/* The clients of a transport that numbers them itself: in dense places, found by the hub's number. */
#ifndef CHI_NET_ROSTER_H
#define CHI_NET_ROSTER_H

#include "core/hub.h"
#include "core/slots.h"
#include "util/index.h"

/* First field of everything that is kept so. */
struct chi_guest {
    struct chi_slot slot; /* its number is the transport's: conn */
    uint64_t id;          /* the hub's */
};

struct chi_roster {
    struct chi_slots all;
    struct chi_index by_id;
};

/* In place; `item` bytes for each. It may not move. */
void chi_roster_init(struct chi_roster *roster, uint32_t item, struct chi_env env);
void chi_roster_fini(struct chi_roster *roster);
/* Opens a client that chi_slots_take of `all` made; desc->as.conn is filled in. On an error it is given
 * back. As chi_hub_client_open, and CHATHUB_ENOMEM. */
int chi_roster_open(struct chi_roster *roster, struct chi_hub *hub, struct chi_client_desc *desc,
                    struct chi_guest *guest);
/* Frees its place. */
void chi_roster_give(struct chi_roster *roster, struct chi_guest *guest);
/* NULL: there is none (any more). */
void *chi_roster_find(const struct chi_roster *roster, uint64_t id);

#endif
