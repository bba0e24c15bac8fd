#include "hubs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "places.h"

/* -------------------------------------------------------------------------------------- the log */

const char *chatd_hub_label(const struct chatd_hub *hub)
{
    return hub->all->count > 1 ? hub->place.name : NULL;
}

/* Lines tell which server they are about, where there are several. */
static void on_log(const struct chathub_record *record, void *arg)
{
    const struct chatd_hub *hub = arg;
    logsink_record(hub->all->sink, record, chatd_hub_label(hub));
}

void chatd_hubs_set_log(struct chatd_hubs *hubs)
{
    int level = logsink_level(chatd_settings_text(hubs->settings, "log-level"));
    logsink_set(hubs->sink, level,
                strcmp(chatd_settings_text(hubs->settings, "log-format"), "json") == 0);
    for (struct chatd_hub *hub = hubs->first; hub; hub = hub->next)
        chathub_on_log(hub->hub, level, on_log, hub);
}

void chatd_hubs_tell_failure(const struct chatd_hubs *hubs, const char *name,
                             const struct chatd_problem *problem)
{
    logsink_say_of(hubs->sink, name, CHATHUB_ERROR, "server_failed", "message", problem->text,
                   NULL);
    fprintf(stderr, "chatd: server %s is not there: %s\n", name, problem->text);
}

static void tell_counts(const struct chatd_hub *hub)
{
    struct chathub_stats stats = {.size = sizeof(stats)};
    if (chathub_stats(hub->hub, &stats) < 0)
        return;
    const uint64_t counts[] = {stats.posts, stats.deliveries, stats.log_commits, stats.log_failures,
                               stats.log_pages};
    char text[5][24];
    for (size_t i = 0; i < 5; i++)
        snprintf(text[i], sizeof(text[i]), "%" PRIu64, counts[i]);
    logsink_say_of(hub->all->sink, chatd_hub_label(hub), CHATHUB_INFO, "served", "posts", text[0],
                   "deliveries", text[1], "log_commits", text[2], "log_failures", text[3],
                   "log_pages", text[4], NULL);
}

void chatd_hubs_tell_counts(const struct chatd_hubs *hubs)
{
    for (const struct chatd_hub *hub = hubs->first; hub; hub = hub->next)
        tell_counts(hub);
}

uint64_t chatd_hubs_doings(const struct chatd_hubs *hubs)
{
    uint64_t sum = 0;
    for (const struct chatd_hub *hub = hubs->first; hub; hub = hub->next) {
        struct chathub_stats stats = {.size = sizeof(stats)};
        if (chathub_stats(hub->hub, &stats) == 0)
            sum += stats.posts + stats.deliveries + stats.writes + (stats.connections << 32);
    }
    return sum;
}

/* ------------------------------------------------------------------------- coming into the list */

struct chatd_hub *chatd_hubs_add(struct chatd_hubs *hubs, const struct chatd_place *place,
                                 struct chatd_problem *problem)
{
    struct chatd_hub *hub = calloc(1, sizeof(*hub));
    if (!hub || chatd_place_copy(&hub->place, place) < 0) {
        free(hub);
        chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
        return NULL;
    }
    hub->all = hubs;
    hub->hub = chatd_place_try(hubs->settings, place, problem);
    if (!hub->hub) {
        chatd_place_free(&hub->place);
        free(hub);
        return NULL;
    }
    struct chatd_hub **end = &hubs->first;
    while (*end)
        end = &(*end)->next;
    *end = hub;
    hubs->count++;
    return hub;
}

/* A folder's own /server.json takes the place of chatd's. */
int chatd_hub_equip(struct chatd_hub *hub, struct chatd_problem *problem)
{
    chathub_on_log(hub->hub, logsink_level(chatd_settings_text(hub->all->settings, "log-level")),
                   on_log, hub);
    if (chatd_places_serve(hub, problem) < 0 || chatd_api_serve(hub, problem) < 0)
        return -1;
    return chatd_www_serve(hub->all->www, hub->hub, problem);
}

static void log_listeners(const struct chatd_hub *hub)
{
    char url[512];
    for (uint32_t i = 0; chathub_listener(hub->hub, i, url, sizeof(url)) >= 0; i++)
        logsink_say_of(hub->all->sink, chatd_hub_label(hub), CHATHUB_INFO, "listening", "url", url,
                       NULL);
}

int chatd_hub_start(struct chatd_hub *hub, const struct chatd_user *user,
                    struct chatd_problem *problem)
{
    if (chatd_datafile_look(&hub->data, hub->place.log, user, problem) < 0)
        return -1;
    int error = chathub_start(hub->hub, hub->all->loop);
    if (error < 0)
        return chatd_hub_problem(hub->all->settings, hub->hub, error, problem);
    log_listeners(hub);
    return 0;
}

/* ----------------------------------------------------------------------------- leaving the list */

static void leave(struct chatd_hub *hub)
{
    struct chatd_hubs *hubs = hub->all;
    struct chatd_hub **at = &hubs->first;
    while (*at != hub)
        at = &(*at)->next;
    *at = hub->next;
    hubs->count--;
}

static void hub_free(struct chatd_hub *hub)
{
    chathub_free(hub->hub);
    chatd_datafile_free(&hub->data);
    chatd_place_free(&hub->place);
    free(hub);
}

void chatd_hub_drop(struct chatd_hub *hub)
{
    leave(hub);
    hub_free(hub);
}

static void tell_done(struct chatd_hubs *hubs)
{
    if (hubs->stopping && !hubs->first)
        hubs->done(hubs->arg);
}

static void on_last(uv_handle_t *handle)
{
    struct chatd_hub *hub = handle->data;
    struct chatd_hubs *hubs = hub->all;
    if (hub->made)
        logsink_say_of(hubs->sink, hub->place.name, CHATHUB_INFO, "server_removed", NULL);
    chatd_hub_drop(hub);
    tell_done(hubs);
}

/* The hub is still within its own callback here: a handle's closing comes after it. */
static void on_stopped(void *arg)
{
    struct chatd_hub *hub = arg;
    uv_timer_init(hub->all->loop, &hub->last);
    hub->last.data = hub;
    uv_close((uv_handle_t *)&hub->last, on_last);
}

void chatd_hub_stop(struct chatd_hub *hub)
{
    if (hub->stopping)
        return;
    hub->stopping = true;
    if (chathub_stop(hub->hub, on_stopped, hub) < 0)
        on_stopped(hub);
}

void chatd_hubs_stop(struct chatd_hubs *hubs, void (*done)(void *arg), void *arg)
{
    hubs->stopping = true;
    hubs->done = done;
    hubs->arg = arg;
    for (struct chatd_hub *hub = hubs->first; hub; hub = hub->next)
        chatd_hub_stop(hub);
    tell_done(hubs);
}

void chatd_hubs_fini(struct chatd_hubs *hubs)
{
    for (struct chatd_hub *hub = hubs->first, *next; hub; hub = next) {
        next = hub->next;
        hub_free(hub);
    }
    chatd_www_free(hubs->www);
    logsink_close(hubs->sink);
    chatd_settings_free(hubs->settings);
    *hubs = (struct chatd_hubs){0};
}
