/* Where to listen: the URLs of chathub_listen, read. */
#ifndef CHI_NET_ADDRESS_H
#define CHI_NET_ADDRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ports.h"

enum chi_protocol { CHI_PROTOCOL_WEBSOCKET, CHI_PROTOCOL_LINES };

struct chi_address {
    enum chi_protocol protocol;
    bool is_unix;   /* `host` is a path */
    char host[108]; /* "localhost", an IPv4 or IPv6 address without brackets, or a socket's path */
    uint16_t port;  /* 0: the system chooses */
    char path[128]; /* WebSocket: where upgrades are taken; "/ws" if not said */
    char room[256]; /* default room; "": the hub's */
    const struct chi_dialect *dialect; /* of who does not choose; NULL: none said */
    int32_t history;    /* the last N are for who comes anew; negative: none; 0: not said */
    bool presence;      /* signals are for those, too, whose dialect asks for none */
    bool private_posts; /* a post may be for one name alone */
};

/* Reads a URL. 0, or CHATHUB_EADDRESS with one line in `problem` that says what is wrong and
 * what would be right. */
int chi_address_parse(const char *url, struct chi_address *out, char *problem, size_t size);
/* Reads the URL of connections that a host hands over: as above, but ws:// or tcp:// with or without
 * an address, which means nothing there. NULL: one without wishes. Another protocol than `protocol`
 * is an error. */
int chi_address_parse_adopted(const char *url, enum chi_protocol protocol, struct chi_address *out,
                              char *problem, size_t size);
/* Whether only this machine can reach it. */
bool chi_address_is_local(const struct chi_address *address);

#endif
