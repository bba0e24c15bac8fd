/* Which servers chatd is to run. They share nothing: each has a name, a place to listen at, and a
 * log of its own. */
#ifndef CHATD_PLAN_H
#define CHATD_PLAN_H

#include "settings.h"

/* Ports that need no rights. */
#define CHATD_PORT_LEAST 1024
#define CHATD_PORT_MOST  65535

/* One server. */
struct chatd_place {
    char *name; /* owned; of letters, digits, `-` and `_`, unless the option name says it */
    char *url;  /* owned: where it listens; NULL: where the option listen says */
    char *log;  /* owned: its option log */
};

struct chatd_plan {
    struct chatd_place *places; /* owned; no two of a name, or of a port but 0 */
    size_t count;               /* of places: 1 or more */
    struct chatd_place *peers;  /* owned; what --peers says: run by others, and without logs */
    size_t peer_count;          /* of peers */
};

/* What --servers, --custom, or else --listen and --name say, and --peers. 0, or -1 with *problem. To
 * be freed either way. */
int chatd_plan_make(const struct chatd_settings *settings, struct chatd_plan *plan,
                    struct chatd_problem *problem);
/* Whether a start could go by it: hubs take all settings at all places, and no two servers are told
 * the same log. 0, or -1 with *problem. */
int chatd_plan_check(const struct chatd_settings *settings, const struct chatd_plan *plan,
                     struct chatd_problem *problem);
void chatd_plan_free(struct chatd_plan *plan);

/* How many servers there may be at once: the option max-servers. */
size_t chatd_plan_most(const struct chatd_settings *settings);

/* The place of a server that is made while others run: custom-PORT at HOST:PORT, its log of the
 * same kind as theirs. `host`: as in a URL. 0, or -1: no memory. */
int chatd_place_custom(const struct chatd_settings *settings, const char *host, unsigned port,
                       struct chatd_place *place);
int chatd_place_copy(struct chatd_place *to, const struct chatd_place *from); /* 0, or -1 */
void chatd_place_free(struct chatd_place *place);

/* A hub for this place with all settings, not started; NULL with *problem if it does not take them,
 * or would not start with them. */
struct chathub *chatd_place_try(const struct chatd_settings *settings,
                                const struct chatd_place *place, struct chatd_problem *problem);

#endif
