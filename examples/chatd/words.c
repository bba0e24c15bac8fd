#include "words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The part of a URL behind `scheme`, with the name that a person would type for this machine. */
static void friendly(const char *url, const char *scheme, char *out, size_t size)
{
    static const char *const hosts[] = {"127.0.0.1:", "[::1]:", "0.0.0.0:", "[::]:"};
    const char *rest = url + strlen(scheme);
    for (size_t i = 0; i < sizeof(hosts) / sizeof(hosts[0]); i++) {
        size_t len = strlen(hosts[i]);
        if (strncmp(rest, hosts[i], len) == 0) {
            snprintf(out, size, "localhost:%s", rest + len);
            return;
        }
    }
    snprintf(out, size, "%s", rest);
}

/* `head`: what the line begins with. */
static void tell_listener(const char *head, const char *url)
{
    char rest[512];
    if (strncmp(url, "ws://", 5) == 0) {
        friendly(url, "ws://", rest, sizeof(rest));
        printf("  %-8s http://%.*s/   or: wscat -c ws://%s\n", head, (int)strcspn(rest, "/?"), rest,
               rest);
    } else if (strncmp(url, "tcp://", 6) == 0) {
        friendly(url, "tcp://", rest, sizeof(rest));
        size_t end = strcspn(rest, "?");
        size_t host = end;
        while (host > 0 && rest[host - 1] != ':')
            host--;
        printf("  or type  nc %.*s %.*s\n", (int)(host ? host - 1 : 0), rest, (int)(end - host),
               rest + host);
    } else {
        printf("  socket   %s\n", url);
    }
}

static void tell_listeners(const struct chatd_hub *hub, const char *head)
{
    char url[512];
    for (uint32_t i = 0; chathub_listener(hub->hub, i, url, sizeof(url)) >= 0; i++)
        tell_listener(head, url);
}

/* The servers of the plan, those that are not there, too. */
static void tell_servers(const struct chatd_hubs *hubs, const struct chatd_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct chatd_hub *hub = hubs->first;
        while (hub && strcmp(hub->place.name, plan->places[i].name) != 0)
            hub = hub->next;
        if (hub)
            tell_listeners(hub, hub->place.name);
        else
            printf("  %-8s is not there: standard error and the log lines say why\n",
                   plan->places[i].name);
    }
}

/* By its full name, since the working directory is soon forgotten. */
static void tell_data(const struct chatd_hubs *hubs, bool several)
{
    const char *path = chatd_datafile_path(hubs->first->place.log);
    char *real = path ? realpath(path, NULL) : NULL;
    char *slash = real && several ? strrchr(real, '/') : NULL;
    if (slash)
        printf("  data     %.*s/: a file for each server\n", (int)(slash - real), real);
    else if (path)
        printf("  data     %s\n", real ? real : path);
    else if (strncmp(hubs->first->place.log, "jetstream:", strlen("jetstream:")) == 0)
        printf("  data     in NATS JetStream, as that of all nodes of this chat\n");
    else
        printf("  data     in memory: what was said is gone when chatd ends\n");
    free(real);
}

/* How chatd was called, if by a path, as a shell takes it. */
static void tell_command(const char *path)
{
    const char *quote = strpbrk(path, " \t\n\"\\$&|;<>()*?[]~#!`{}") ? "'" : "";
    if (!strchr(path, '/') || strchr(path, '\''))
        printf("chatd");
    else
        printf("%s%s%s", quote, path, quote);
}

static void tell_others(const struct chatd_hubs *hubs, const char *command)
{
    char insecure[8] = "";
    chathub_get(hubs->first->hub, "insecure", insecure, sizeof(insecure));
    if (strcmp(insecure, "yes") == 0) {
        printf("  others   reach it by this machine's name or address; whoever does is let in\n");
        return;
    }
    printf("  others   only this machine reaches it; for others, who will not have to prove\n"
           "           who they are: ");
    tell_command(command);
    printf(chatd_settings_by_servers(hubs->settings)
               ? " --servers main=0.0.0.0:8080,chat1=0.0.0.0:8081 --insecure\n"
               : " --listen ws://0.0.0.0:8080/ws --insecure\n");
}

void chatd_tell_start(const struct chatd_hubs *hubs, const struct chatd_plan *plan,
                      const char *command)
{
    bool several = plan->count > 1;
    if (several)
        printf("chatd %s is running %zu of %zu servers.\n", chathub_version(), hubs->count,
               plan->count);
    else
        printf("chatd %s is running.\n", chathub_version());
    if (several)
        tell_servers(hubs, plan);
    else
        tell_listeners(hubs->first, "open");
    tell_data(hubs, several);
    printf("  stop     Ctrl-C, or: kill %ld\n", (long)getpid());
    tell_others(hubs, command);
    fflush(stdout);
}
