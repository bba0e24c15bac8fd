/* The carried transport: clients that come over connections of the host's own, as lines. */
#ifndef CHI_NET_CARRIER_H
#define CHI_NET_CARRIER_H

#include "chathub.h"
#include "core/hub.h"
#include "core/settings.h"
#include "delivery/delivery.h"
#include "net/address.h"

struct chi_carriers;

struct chi_carriers_parts {
    const struct chi_settings *settings;
    struct chi_env env;
    struct chi_hub *hub;
    struct chi_delivery *delivery;
};

/* Takes a copy of the parts' struct; what it points to outlives the carriers. */
int chi_carriers_new(const struct chi_carriers_parts *parts, struct chi_carriers **out);
/* Before the hub's end; nothing of the host's is called any more. NULL is allowed. */
void chi_carriers_free(struct chi_carriers *carriers);

/* As chathub_carry; what it is handed is copied, but for `conn`. */
int chi_carriers_open(struct chi_carriers *carriers, const struct chathub_carrier *ops, void *conn,
                      const struct chi_address *listener, struct chi_span address, uint64_t *id);
/* As chathub_carrier_line and its siblings. They take effect in a turn. */
int chi_carriers_line(struct chi_carriers *carriers, uint64_t id, struct chi_span line);
int chi_carriers_ready(const struct chi_carriers *carriers, uint64_t id);
int chi_carriers_writable(struct chi_carriers *carriers, uint64_t id);
int chi_carriers_closed(struct chi_carriers *carriers, uint64_t id, bool left);

/* Hands lines to the hub, sends what closed ones are owed, and tells ends. */
void chi_carriers_turn(struct chi_carriers *carriers);
/* When it has to be called though nothing woke the driver (env.now ms); UINT64_MAX: not at all. */
uint64_t chi_carriers_next(const struct chi_carriers *carriers);
/* Those whose `close` was not called, nor their end told. */
uint32_t chi_carriers_count(const struct chi_carriers *carriers);
/* Closes all at once, whatever they are owed. The hub knows none of them any more. */
void chi_carriers_end(struct chi_carriers *carriers);

#endif
