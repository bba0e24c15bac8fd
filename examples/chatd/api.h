/* Servers made and ended over HTTP: POST and DELETE /api/create-server?port=N.
 *
 * Who asks has to be on this machine: a program, or a page of one of chatd's own servers. Another
 * page that happens to be open in a browser here is told by its Origin; one whose host name was
 * made to lead here, by its Host; somebody elsewhere, behind a proxy here, by what proxies add. A
 * forwarder that only passes bytes on cannot be told: there the option create-servers has to be no.
 */
#ifndef CHATD_API_H
#define CHATD_API_H

#include "hubs.h"

/* Has the hub answer there. 0, or -1 with *problem. */
int chatd_api_serve(struct chatd_hub *hub, struct chatd_problem *problem);

/* Why whoever sent this may not make servers: one line; NULL: may. */
const char *chatd_api_refusal(const struct chatd_hubs *hubs, const struct chathub_http *request);

#endif
