/* The hubs that chatd runs, one for each server: made, started, and stopped by themselves, all on
 * one loop.
 *
 * Happy path: chatd_hubs_add makes one, chatd_hub_equip gives it log lines, the page and chatd's
 * own routes, chatd_hub_start opens it. chatd_hub_stop stops it in good order: when nothing of it is
 * on the loop any more, it is freed and leaves the list.
 * Failures: one that cannot be started is dropped by chatd_hub_drop, and harms no other. */
#ifndef CHATD_HUBS_H
#define CHATD_HUBS_H

#include <uv.h>

#include "datafile.h"
#include "logsink.h"
#include "plan.h"
#include "user.h"
#include "www.h"

struct chatd_hubs;

struct chatd_hub {
    struct chatd_hub *next;     /* started after this one */
    struct chatd_hubs *all;     /* the list that it is in */
    struct chathub *hub;        /* owned */
    struct chatd_place place;   /* owned */
    struct chatd_datafile data; /* its log, for the one who has to be able to use it */
    uv_timer_t last; /* closed once the hub has stopped, to free it outside of its calls */
    bool made;       /* while others ran, so that it may be ended as well */
    bool stopping;   /* it is on its way out */
};

struct chatd_hubs {
    struct chatd_settings *settings; /* owned; as they are in effect: what is not live stays */
    struct logsink *sink;            /* owned */
    struct chatd_www *www;           /* owned */
    const struct chatd_plan *plan;   /* whose peers pages are told of; outlives the hubs */
    uv_loop_t *loop;
    struct chatd_hub *first; /* owned; in the order in which they were added */
    size_t count;            /* of them */
    bool stopping;           /* chatd is on its way out */
    void (*done)(void *arg); /* called when, after chatd_hubs_stop, none is left */
    void *arg;               /* for done */
};

/* Makes a hub that takes all settings, and puts it at the end of the list. NULL with *problem. */
struct chatd_hub *chatd_hubs_add(struct chatd_hubs *hubs, const struct chatd_place *place,
                                 struct chatd_problem *problem);
/* Needs the sink and the files to serve. 0, or -1 with *problem. */
int chatd_hub_equip(struct chatd_hub *hub, struct chatd_problem *problem);
/* Opens its log and its listeners. `user`: whose they are going to be. 0, or -1 with *problem. */
int chatd_hub_start(struct chatd_hub *hub, const struct chatd_user *user,
                    struct chatd_problem *problem);
/* Stops it in good order, and frees it later. Any callback may do this, its own, too. */
void chatd_hub_stop(struct chatd_hub *hub);
/* Ends it at once and frees it. Not from its own callbacks. */
void chatd_hub_drop(struct chatd_hub *hub);

/* Its name for log lines, where there are several to tell apart; else NULL. */
const char *chatd_hub_label(const struct chatd_hub *hub);
/* Tells that a server is not there and why: on standard error and in the log lines. */
void chatd_hubs_tell_failure(const struct chatd_hubs *hubs, const char *name,
                             const struct chatd_problem *problem);
/* Logs what each has done so far. */
void chatd_hubs_tell_counts(const struct chatd_hubs *hubs);
/* A sum that stands still only if nobody was served since. */
uint64_t chatd_hubs_doings(const struct chatd_hubs *hubs);
/* Level and form of log lines, as the settings say now. */
void chatd_hubs_set_log(struct chatd_hubs *hubs);

/* Stops all; `done` is called, maybe at once, when none is left. */
void chatd_hubs_stop(struct chatd_hubs *hubs, void (*done)(void *arg), void *arg);
/* Frees all that it owns. The loop has run dry. */
void chatd_hubs_fini(struct chatd_hubs *hubs);

#endif
