#include "plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datafile.h"
#include "user.h"

#define NAME_MOST 64

/* ----------------------------------------------------------------------------------- one server */

void chatd_place_free(struct chatd_place *place)
{
    free(place->name);
    free(place->url);
    free(place->log);
    *place = (struct chatd_place){0};
}

int chatd_place_copy(struct chatd_place *to, const struct chatd_place *from)
{
    *to = (struct chatd_place){strdup(from->name), from->url ? strdup(from->url) : NULL,
                               strdup(from->log)};
    if (to->name && to->log && (to->url || !from->url))
        return 0;
    chatd_place_free(to);
    return -1;
}

static char *make_url(const char *host, int host_len, unsigned port)
{
    char *url = NULL;
    return asprintf(&url, "ws://%.*s:%u/ws", host_len, host, port) < 0 ? NULL : url;
}

int chatd_place_custom(const struct chatd_settings *settings, const char *host, unsigned port,
                       struct chatd_place *place)
{
    char name[32];
    snprintf(name, sizeof(name), "custom-%u", port);
    *place = (struct chatd_place){strdup(name), make_url(host, (int)strlen(host), port), NULL};
    if (place->name && place->url)
        place->log = chatd_datafile_beside(settings, place->name, place->url);
    if (place->log)
        return 0;
    chatd_place_free(place);
    return -1;
}

static int check_user(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    struct chatd_user user;
    int result = chatd_user_find(settings, &user, problem);
    chatd_user_free(&user);
    return result;
}

/* The place's own options, over those of the settings. */
static int apply_place(const struct chatd_settings *settings, const struct chatd_place *place,
                       struct chathub *hub, struct chatd_problem *problem)
{
    if (!place->url && chatd_settings_apply_listen(settings, hub, problem) < 0)
        return -1;
    int error = place->url ? chathub_listen(hub, place->url) : 0;
    if (error == 0)
        error = chathub_set(hub, "name", place->name);
    if (error == 0)
        error = chathub_set(hub, "log", place->log);
    if (error == 0)
        return 0;
    return chatd_problem(problem, CHATD_EXIT_USAGE, "server %s: %s", place->name,
                         chathub_problem(hub));
}

struct chathub *chatd_place_try(const struct chatd_settings *settings,
                                const struct chatd_place *place, struct chatd_problem *problem)
{
    struct chathub *hub = NULL;
    int error = chathub_new(&hub);
    if (error < 0) {
        chatd_problem(problem, CHATD_EXIT_OTHER, "%s", chathub_strerror(error));
        return NULL;
    }
    if (chatd_settings_apply(settings, hub, problem) == 0 &&
        apply_place(settings, place, hub, problem) == 0 && check_user(settings, problem) == 0) {
        error = chathub_check(hub);
        if (error == 0)
            return hub;
        chatd_hub_problem(settings, hub, error, problem);
    }
    chathub_free(hub);
    return NULL;
}

/* -------------------------------------------------------------------------------- what was said */

/* A decimal number within bounds that is all of the text; -1: it is none. */
static long number_of(const char *text, size_t len, long least, long most)
{
    long number = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] < '0' || text[i] > '9' || number > most)
            return -1;
        number = number * 10 + (text[i] - '0');
    }
    return len && number >= least && number <= most ? number : -1;
}

/* --max-servers; negative: it is no number within its bounds. */
static long most_servers(const struct chatd_settings *settings)
{
    const struct chatd_setting *setting = chatd_settings_find(settings, "max-servers");
    const char *text = chatd_setting_text(setting);
    return number_of(text, strlen(text), (long)setting->about.min, (long)setting->about.max);
}

size_t chatd_plan_most(const struct chatd_settings *settings)
{
    long most = most_servers(settings);
    return most < 0 ? 1 : (size_t)most;
}

/* Where an option was given. */
static const char *where(const struct chatd_settings *settings, const char *name)
{
    const struct chatd_setting *setting = chatd_settings_find(settings, name);
    return setting->count ? setting->values[setting->count - 1].where : name;
}

static int check_most(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    const struct chatd_setting *setting = chatd_settings_find(settings, "max-servers");
    if (most_servers(settings) > 0)
        return 0;
    return chatd_problem(problem, CHATD_EXIT_USAGE, "%s: '%.64s' is no number from %llu to %llu",
                         where(settings, "max-servers"), chatd_setting_text(setting),
                         (unsigned long long)setting->about.min,
                         (unsigned long long)setting->about.max);
}

/* Two options that say the same thing differently. */
static int check_both(const struct chatd_settings *settings, const char *one, const char *two,
                      struct chatd_problem *problem)
{
    const struct chatd_setting *other = chatd_settings_find(settings, two);
    if (!*chatd_settings_text(settings, one) || !other->count || !*chatd_setting_text(other))
        return 0;
    return chatd_problem(problem, CHATD_EXIT_USAGE,
                         "%s and %s: both say which servers there are, and where; leave one out",
                         where(settings, one), where(settings, two));
}

static int check_all(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    if (check_most(settings, problem) < 0 ||
        check_both(settings, "servers", "custom", problem) < 0 ||
        check_both(settings, "servers", "listen", problem) < 0 ||
        check_both(settings, "servers", "name", problem) < 0 ||
        check_both(settings, "custom", "listen", problem) < 0 ||
        check_both(settings, "custom", "name", problem) < 0 ||
        check_both(settings, "servers", "peers", problem) < 0 ||
        check_both(settings, "custom", "peers", problem) < 0)
        return -1;
    return 0;
}

/* ------------------------------------------------------------------------------ reading servers */

/* Makes room for one, and answers it; NULL with *problem. */
static struct chatd_place *add(struct chatd_plan *plan, struct chatd_problem *problem)
{
    struct chatd_place *places = realloc(plan->places, (plan->count + 1) * sizeof(*places));
    if (!places) {
        chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
        return NULL;
    }
    plan->places = places;
    places[plan->count] = (struct chatd_place){0};
    return &places[plan->count++];
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool name_fits(const char *name, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_letter(name[i]) && name[i] != '-' && name[i] != '_')
            return false;
    }
    return len > 0 && len <= NAME_MOST;
}

/* What a URL may hold as its host; whether it is one is up to the hub. */
static bool host_fits(const char *host, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (!is_letter(host[i]) && !strchr(".-:[]", host[i]))
            return false;
    }
    return len > 0;
}

/* [HOST:]PORT */
static int read_place(const char *text, size_t len, struct chatd_place *place, const char *origin,
                      struct chatd_problem *problem)
{
    size_t host = len;
    while (host > 0 && text[host - 1] != ':')
        host--;
    long port = number_of(text + host, len - host, 0, CHATD_PORT_MOST);
    if (port < 0)
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "%s: server %s: '%.*s' is no port; it takes 0 (any free one) to %d",
                             origin, place->name, (int)(len - host < 64 ? len - host : 64),
                             text + host, CHATD_PORT_MOST);
    if (host > 0 && !host_fits(text, host - 1))
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "%s: server %s: '%.*s' is no host; it takes an address, an IPv6 "
                             "address in brackets, or localhost",
                             origin, place->name, (int)(host < 65 ? host - 1 : 64), text);
    place->url = host ? make_url(text, (int)host - 1, (unsigned)port)
                      : make_url("localhost", 9, (unsigned)port);
    return place->url ? 0 : chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
}

/* NAME=[HOST:]PORT */
static int read_server(const char *text, size_t len, struct chatd_plan *plan, const char *origin,
                       struct chatd_problem *problem)
{
    const char *mark = memchr(text, '=', len);
    size_t name = mark ? (size_t)(mark - text) : 0;
    if (!mark)
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "%s: '%.*s' is no server; write NAME=PORT or NAME=HOST:PORT, as in "
                             "main=8080,chat1=8081",
                             origin, (int)(len < 64 ? len : 64), text);
    if (!name_fits(text, name))
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "%s: '%.*s' cannot be a server's name; it takes 1 to %d letters, "
                             "digits, - and _",
                             origin, (int)(name < 64 ? name : 64), text, NAME_MOST);
    struct chatd_place *place = add(plan, problem);
    if (!place)
        return -1;
    place->name = strndup(text, name);
    if (!place->name)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    return read_place(mark + 1, len - name - 1, place, origin, problem);
}

/* On whatever hosts: pages and requests name a server by its port alone. Port 0 becomes another
 * each time. */
static bool same_port(const struct chatd_place *one, const struct chatd_place *other)
{
    const char *port = strrchr(one->url, ':');
    return strcmp(port, strrchr(other->url, ':')) == 0 && strncmp(port, ":0/", 3) != 0;
}

/* Whether the newest of them differs from those before. */
static int check_newest(const struct chatd_plan *plan, const char *origin,
                        struct chatd_problem *problem)
{
    const struct chatd_place *last = &plan->places[plan->count - 1];
    for (size_t i = 0; i + 1 < plan->count; i++) {
        const struct chatd_place *one = &plan->places[i];
        if (strcmp(one->name, last->name) == 0)
            return chatd_problem(problem, CHATD_EXIT_USAGE,
                                 "%s: two servers are called %s; give them different names", origin,
                                 one->name);
        if (same_port(one, last))
            return chatd_problem(problem, CHATD_EXIT_USAGE,
                                 "%s: %s and %s have the same port, by which servers are told "
                                 "apart whatever their hosts are; give them different ones",
                                 origin, one->name, last->name);
    }
    return 0;
}

/* The option `name`: servers, separated by commas. */
static int read_list(const struct chatd_settings *settings, const char *name,
                     struct chatd_plan *plan, struct chatd_problem *problem)
{
    const char *origin = where(settings, name);
    const char *at = chatd_settings_text(settings, name);
    for (;;) {
        at += strspn(at, " \t\n");
        size_t whole = strcspn(at, ","), len = whole;
        while (len > 0 && strchr(" \t\n", at[len - 1]))
            len--;
        if (read_server(at, len, plan, origin, problem) < 0 ||
            check_newest(plan, origin, problem) < 0)
            return -1;
        if (plan->count > chatd_plan_most(settings))
            return chatd_problem(problem, CHATD_EXIT_USAGE,
                                 "%s: these are more than %zu servers; raise --max-servers", origin,
                                 chatd_plan_most(settings));
        if (!at[whole])
            return 0;
        at += whole + 1;
    }
}

static int read_peers(const struct chatd_settings *settings, struct chatd_plan *plan,
                      struct chatd_problem *problem)
{
    struct chatd_plan peers = {0};
    int result = read_list(settings, "peers", &peers, problem);
    plan->peers = peers.places;
    plan->peer_count = peers.count;
    for (size_t i = 0; result == 0 && i < peers.count; i++) {
        const char *url = peers.places[i].url, *port = url ? strrchr(url, ':') : NULL;
        if (port && strncmp(port, ":0/", 3) == 0)
            result = chatd_problem(problem, CHATD_EXIT_USAGE,
                                   "%s: %s has port 0, at which nothing can be reached; say the "
                                   "port that it listens at",
                                   where(settings, "peers"), peers.places[i].name);
    }
    return result;
}

static int read_custom(const struct chatd_settings *settings, struct chatd_plan *plan,
                       struct chatd_problem *problem)
{
    const char *text = chatd_settings_text(settings, "custom");
    long port = number_of(text, strlen(text), CHATD_PORT_LEAST, CHATD_PORT_MOST);
    if (port < 0)
        return chatd_problem(problem, CHATD_EXIT_USAGE, "%s: '%.64s' is no port from %d to %d",
                             where(settings, "custom"), text, CHATD_PORT_LEAST, CHATD_PORT_MOST);
    struct chatd_place *place = add(plan, problem);
    if (!place)
        return -1;
    if (asprintf(&place->name, "custom-%ld", port) < 0)
        place->name = NULL;
    place->url = make_url("localhost", 9, (unsigned)port);
    return place->name && place->url ? 0
                                     : chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
}

static int read_listen(const struct chatd_settings *settings, struct chatd_plan *plan,
                       struct chatd_problem *problem)
{
    struct chatd_place *place = add(plan, problem);
    if (!place)
        return -1;
    place->name = strdup(chatd_settings_text(settings, "name"));
    return place->name ? 0 : chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
}

/* --------------------------------------------------------------------------------- all together */

int chatd_plan_make(const struct chatd_settings *settings, struct chatd_plan *plan,
                    struct chatd_problem *problem)
{
    *plan = (struct chatd_plan){0};
    int result = check_all(settings, problem);
    if (result == 0 && *chatd_settings_text(settings, "servers"))
        result = read_list(settings, "servers", plan, problem);
    else if (result == 0 && *chatd_settings_text(settings, "custom"))
        result = read_custom(settings, plan, problem);
    else if (result == 0)
        result = read_listen(settings, plan, problem);
    if (result == 0 && *chatd_settings_text(settings, "peers"))
        result = read_peers(settings, plan, problem);
    for (size_t i = 0; result == 0 && i < plan->count; i++) {
        struct chatd_place *place = &plan->places[i];
        place->log = chatd_datafile_log(settings, place->name, place->url);
        if (!place->log)
            result = chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    }
    return result;
}

int chatd_plan_check(const struct chatd_settings *settings, const struct chatd_plan *plan,
                     struct chatd_problem *problem)
{
    const char *log = chatd_settings_text(settings, "log");
    if (plan->count > 1 && chatd_datafile_is_one(log) && !chatd_datafile_path(log))
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "%s: each server has a log of its own, and this is one stream; leave "
                             "out the /STREAM at its end: each server's is called as it is",
                             where(settings, "log"));
    if (plan->count > 1 && chatd_datafile_is_one(log))
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "%s: each server has a log of its own, and this is one file; leave it "
                             "out, or name a folder by a / at its end, as in --log %s/",
                             where(settings, "log"), log);
    for (size_t i = 0; i < plan->count; i++) {
        struct chathub *hub = chatd_place_try(settings, &plan->places[i], problem);
        chathub_free(hub);
        if (!hub)
            return -1;
    }
    return 0;
}

void chatd_plan_free(struct chatd_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        chatd_place_free(&plan->places[i]);
    for (size_t i = 0; i < plan->peer_count; i++)
        chatd_place_free(&plan->peers[i]);
    free(plan->places);
    free(plan->peers);
    *plan = (struct chatd_plan){0};
}
