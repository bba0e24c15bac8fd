#include "activation.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST 3
#define MOST  65536 /* sockets: more are no number that somebody meant */

/* What the variables say. Copies, which are owned. */
struct passed {
    char *pid;
    char *count;
    char *names;
};

static void take(const char *name, char **out, bool *complete)
{
    const char *text = getenv(name);
    *out = text ? strdup(text) : NULL;
    *complete = *complete && (!text || *out);
    unsetenv(name);
}

/* -1: it is no number from 0 to `most`. */
static long number_of(const char *text, long most)
{
    long number = 0;
    if (!*text)
        return -1;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || number > most)
            return -1;
        number = number * 10 + (*text - '0');
    }
    return number <= most ? number : -1;
}

/* ------------------------------------------------------------------------------------ one socket */

/* Its name for people: number `index` of what LISTEN_FDNAMES says. */
static void name_of(const char *names, size_t index, char *out, size_t size)
{
    const char *at = names ? names : "";
    for (size_t i = 0; i < index && *at; i++) {
        at += strcspn(at, ":");
        at += *at == ':';
    }
    size_t len = strcspn(at, ":");
    snprintf(out, size, "%.*s", (int)len, len ? at : "");
    if (len == 0)
        snprintf(out, size, "unnamed");
}

static void list_one(const char *url, char *out, size_t size)
{
    size_t len = strlen(out);
    snprintf(out + len, size - len, "%s%s", len ? ", " : "", url);
}

/* Where all hubs are to listen. */
static void list_listeners(const struct chatd_hubs *hubs, char *out, size_t size)
{
    const char *url;
    *out = '\0';
    for (const struct chatd_hub *hub = hubs->first; hub; hub = hub->next) {
        if (hub->place.url)
            list_one(hub->place.url, out, size);
        for (size_t i = 0; !hub->place.url && (url = chatd_settings_listen(hubs->settings, i)); i++)
            list_one(url, out, size);
    }
}

static int refuse(const struct chatd_hubs *hubs, const char *name, int error, const char *why,
                  struct chatd_problem *problem)
{
    char listeners[320];
    if (error != CHATHUB_ENOENT)
        return chatd_problem(problem, CHATD_EXIT_USAGE, "LISTEN_FDS: socket %.64s: %s", name, why);
    list_listeners(hubs, listeners, sizeof(listeners));
    return chatd_problem(problem, CHATD_EXIT_USAGE,
                         "LISTEN_FDS: socket %.64s: %s; chatd's are %s: make the two the same "
                         "(ListenStream= of the unit, listen of chatd)",
                         name, why, listeners);
}

/* The first hub that has a listener there gets it. */
static int give(const struct chatd_hubs *hubs, int fd, const char *name,
                struct chatd_problem *problem)
{
    char why[256] = "";
    int error = CHATHUB_ENOENT;
    for (struct chatd_hub *hub = hubs->first; hub && error == CHATHUB_ENOENT; hub = hub->next) {
        error = chathub_listen_fd(hub->hub, fd);
        snprintf(why, sizeof(why), "%s", error < 0 ? chathub_problem(hub->hub) : "");
    }
    return error < 0 ? refuse(hubs, name, error, why, problem) : 0;
}

/* ----------------------------------------------------------------------------------- all of them */

static int give_all(const struct chatd_hubs *hubs, const struct passed *passed, size_t *given,
                    struct chatd_problem *problem)
{
    long count = number_of(passed->count ? passed->count : "", MOST);
    size_t names = passed->names && *passed->names ? 1 : 0;
    for (const char *at = passed->names; at && *at; at++)
        names += *at == ':';
    if (count < 0)
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "LISTEN_FDS: '%.64s' is no number of sockets; whoever starts chatd "
                             "sets it, with LISTEN_PID, or neither",
                             passed->count ? passed->count : "");
    if (names && names != (size_t)count)
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "LISTEN_FDNAMES: these are %zu names, for %ld sockets; there has to "
                             "be one for each, or none at all",
                             names, count);
    for (int i = 0; i < count; i++) {
        char name[80];
        name_of(passed->names, (size_t)i, name, sizeof(name));
        if (give(hubs, FIRST + i, name, problem) < 0)
            return -1;
    }
    *given = (size_t)count;
    return 0;
}

/* A shell between the two has a number of its own, and does not pass its sockets' on. */
static void tell_stranger(const struct chatd_hubs *hubs, const char *pid)
{
    char own[32];
    snprintf(own, sizeof(own), "%ld", (long)getpid());
    logsink_say(hubs->sink, CHATHUB_WARNING, "sockets_not_taken", "listen_pid", pid, "pid", own,
                "message",
                "the sockets that were passed are for another process; start chatd directly, or "
                "from a script by exec",
                NULL);
}

int chatd_activate(const struct chatd_hubs *hubs, size_t *given, struct chatd_problem *problem)
{
    struct passed passed = {0};
    bool complete = true;
    int result = 0;
    *given = 0;
    take("LISTEN_PID", &passed.pid, &complete);
    take("LISTEN_FDS", &passed.count, &complete);
    take("LISTEN_FDNAMES", &passed.names, &complete);
    if (!complete)
        result = chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    else if (passed.pid && number_of(passed.pid, INT32_MAX) < 0)
        result = chatd_problem(problem, CHATD_EXIT_USAGE,
                               "LISTEN_PID: '%.64s' is no process; whoever starts chatd sets it, "
                               "with LISTEN_FDS, or neither",
                               passed.pid);
    else if (passed.pid && number_of(passed.pid, INT32_MAX) != getpid())
        tell_stranger(hubs, passed.pid);
    else if (passed.pid)
        result = give_all(hubs, &passed, given, problem);
    free(passed.pid);
    free(passed.count);
    free(passed.names);
    return result;
}
