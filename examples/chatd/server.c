/* Happy path: chatd_serve makes the hub, starts it on a loop, tells where it is, and runs the loop.
 * SIGINT or SIGTERM: chathub_stop; its callback closes the handles, the loop has nothing left, and
 * all is freed. Failures: a start that fails leaves nothing on the loop but closing handles, which
 * one more run of it takes away. A second signal ends the process at once. A reload that fails
 * anywhere changes nothing. */
#include "server.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "datafile.h"
#include "logsink.h"
#include "quiet.h"
#include "user.h"
#include "www.h"

#define SIGNALS 4

struct server {
    struct chatd_settings *settings; /* owned; as they are in effect */
    const struct chatd_call *call;
    struct chathub *hub;
    struct chatd_www *www;
    struct logsink *sink;
    uv_loop_t loop;
    uv_signal_t signals[SIGNALS];
    struct chatd_user user;     /* whom to become once all is open */
    struct chatd_datafile data; /* the rooms' log, while it has to be handed over */
    struct quiet quiet;         /* its timer is on the loop from start until the hub has stopped */
    bool stopping;              /* a signal to stop has come */
};

static int check_user(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    struct chatd_user user;
    int result = chatd_user_find(settings, &user, problem);
    chatd_user_free(&user);
    return result;
}

struct chathub *chatd_try(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    struct chathub *hub = NULL;
    int error = chathub_new(&hub);
    if (error < 0) {
        chatd_problem(problem, CHATD_EXIT_OTHER, "%s", chathub_strerror(error));
        return NULL;
    }
    if (chatd_settings_apply(settings, hub, problem) == 0 && check_user(settings, problem) == 0) {
        error = chathub_check(hub);
        if (error == 0)
            return hub;
        chatd_hub_problem(settings, hub, error, problem);
    }
    chathub_free(hub);
    return NULL;
}

/* -------------------------------------------------------------------------------------- the log */

static void set_log(struct server *s)
{
    int level = logsink_level(chatd_settings_text(s->settings, "log-level"));
    logsink_set(s->sink, level,
                strcmp(chatd_settings_text(s->settings, "log-format"), "json") == 0);
    chathub_on_log(s->hub, level, logsink_record, s->sink);
}

static void log_strangers(struct server *s)
{
    char *const *environment = s->call->environment;
    size_t index = 0;
    for (const char *name; (name = chatd_settings_stranger(s->settings, environment, &index));) {
        char word[64];
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(name, "="), name);
        logsink_say(s->sink, CHATHUB_WARNING, "unknown_variable", "name", word, "message",
                    "no option has this name; it is ignored", NULL);
    }
}

/* --------------------------------------------------------------------------------------- reload */

/* What an option has: from the hub, or of chatd's own and of lists from the settings. NULL: no
 * memory. */
static char *text_of(const struct chatd_setting *setting, const struct chathub *hub)
{
    if (setting->own)
        return strdup(chatd_setting_text(setting));
    if (setting->about.type != CHATHUB_OPTION_LIST)
        return chatd_hub_text(hub, setting->about.name);
    size_t size = 1;
    for (size_t i = 0; i < setting->count; i++)
        size += strlen(setting->values[i].text) + 1;
    char *text = calloc(1, size);
    for (size_t i = 0, len = 0; text && i < setting->count; i++)
        len += (size_t)snprintf(text + len, size - len, "%s ", setting->values[i].text);
    return text;
}

/* An option that the fresh settings have otherwise. */
struct change {
    const struct chathub_option *about;
    char *now, *wanted; /* owned */
};

struct changes {
    struct change *at; /* owned */
    size_t count;
};

static void changes_free(struct changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        free(changes->at[i].now);
        free(changes->at[i].wanted);
    }
    free(changes->at);
}

/* What differs between the running hub and the trial, but for chatd's own live options. -1: no
 * memory. */
static int changes_find(const struct server *s, const struct chatd_settings *fresh,
                        const struct chathub *trial, struct changes *out)
{
    *out = (struct changes){calloc(fresh->count, sizeof(*out->at)), 0};
    for (size_t i = 0; out->at && i < fresh->count; i++) {
        const struct chatd_setting *setting = &fresh->all[i];
        if (setting->line_only || (setting->own && setting->about.live))
            continue;
        struct change change = {&setting->about, text_of(&s->settings->all[i], s->hub),
                                text_of(setting, trial)};
        out->at[out->count++] = change;
        if (!change.now || !change.wanted)
            return -1;
        if (strcmp(change.now, change.wanted) != 0)
            continue;
        out->count--;
        free(change.now);
        free(change.wanted);
    }
    return out->at ? 0 : -1;
}

/* Sets the live ones. They were judged by the trial already, so that only a lack of memory can
 * stop this; what was set before it is then set back. */
static int changes_make(struct server *s, const struct changes *changes,
                        struct chatd_problem *problem)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct change *change = &changes->at[i];
        if (!change->about->live || chathub_set(s->hub, change->about->name, change->wanted) == 0)
            continue;
        chatd_problem(problem, CHATD_EXIT_OTHER, "%s", chathub_problem(s->hub));
        while (i-- > 0) {
            if (changes->at[i].about->live)
                chathub_set(s->hub, changes->at[i].about->name, changes->at[i].now);
        }
        return -1;
    }
    return 0;
}

static void changes_tell(struct server *s, const struct changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct change *change = &changes->at[i];
        if (change->about->live)
            logsink_say(s->sink, CHATHUB_INFO, "option_changed", "option", change->about->name,
                        "from", change->now, "to", change->wanted, NULL);
        else
            logsink_say(s->sink, CHATHUB_WARNING, "needs_restart", "option", change->about->name,
                        "message", "chatd has to be started anew for this to change", NULL);
    }
}

/* A descriptor for the log file of these settings, or -1 with *problem. */
static int open_log(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    problem->status = CHATD_EXIT_OTHER;
    return logsink_prepare(chatd_settings_text(settings, "log-file"), problem->text,
                           sizeof(problem->text));
}

/* Changes the hub to what a trial hub took. */
static int take_over(struct server *s, const struct chatd_settings *fresh,
                     const struct chathub *trial, struct chatd_problem *problem)
{
    struct changes changes;
    int result = changes_find(s, fresh, trial, &changes);
    if (result < 0)
        chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    if (result == 0)
        result = changes_make(s, &changes, problem);
    if (result == 0)
        changes_tell(s, &changes);
    changes_free(&changes);
    return result;
}

/* All that flags, variables and file say now, or nothing. */
static int reload_settings(struct server *s, struct chatd_problem *problem)
{
    struct chatd_settings *fresh;
    struct chathub *trial = NULL;
    int log = -1;
    const struct chatd_call *call = s->call;
    if (chatd_settings_new(&fresh) < 0)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    int result = chatd_settings_load(fresh, call->argc, call->argv, call->environment, problem);
    if (result == 0 && !(trial = chatd_try(fresh, problem)))
        result = -1;
    if (result == 0 && (log = open_log(fresh, problem)) < 0)
        result = -1;
    if (result == 0)
        result = take_over(s, fresh, trial, problem);
    chathub_free(trial);
    if (result < 0) {
        logsink_discard(log);
    } else {
        logsink_switch(s->sink, log);
        struct chatd_settings *old = s->settings;
        s->settings = fresh;
        fresh = old;
        set_log(s);
    }
    chatd_settings_free(fresh);
    return result;
}

static void reload(struct server *s)
{
    struct chatd_problem problem = {0};
    int log = open_log(s->settings, &problem);
    if (log < 0)
        logsink_say(s->sink, CHATHUB_ERROR, "log_not_reopened", "message", problem.text, NULL);
    else
        logsink_switch(s->sink, log);
    if (reload_settings(s, &problem) == 0)
        logsink_say(s->sink, CHATHUB_INFO, "reloaded", NULL);
    else
        logsink_say(s->sink, CHATHUB_ERROR, "reload_failed", "message", problem.text, NULL);
}

/* -------------------------------------------------------------------------------------- signals */

static void close_handles(struct server *s)
{
    quiet_stop(&s->quiet);
    for (int i = 0; i < SIGNALS; i++) {
        if (!uv_is_closing((uv_handle_t *)&s->signals[i]))
            uv_close((uv_handle_t *)&s->signals[i], NULL);
    }
}

static void on_stopped(void *arg)
{
    close_handles(arg);
}

/* What the hub has done so far. */
static void tell_counts(struct server *s)
{
    struct chathub_stats stats = {.size = sizeof(stats)};
    if (chathub_stats(s->hub, &stats) < 0)
        return;
    const uint64_t counts[] = {stats.posts, stats.deliveries, stats.log_commits, stats.log_failures,
                               stats.log_pages};
    char text[5][24];
    for (size_t i = 0; i < 5; i++)
        snprintf(text[i], sizeof(text[i]), "%" PRIu64, counts[i]);
    logsink_say(s->sink, CHATHUB_INFO, "served", "posts", text[0], "deliveries", text[1],
                "log_commits", text[2], "log_failures", text[3], "log_pages", text[4], NULL);
}

static void stop(struct server *s, int number)
{
    const char *name = number == SIGINT ? "SIGINT" : "SIGTERM";
    if (s->stopping) {
        logsink_say(s->sink, CHATHUB_WARNING, "stopped", "signal", name, "message",
                    "a second signal: ending at once", NULL);
        logsink_close(s->sink);
        _exit(CHATD_EXIT_OTHER);
    }
    s->stopping = true;
    logsink_say(s->sink, CHATHUB_INFO, "stopping", "signal", name, NULL);
    tell_counts(s);
    if (chathub_stop(s->hub, on_stopped, s) < 0)
        close_handles(s);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct server *s = handle->data;
    if (number == SIGHUP)
        reload(s);
    else if (number == SIGUSR1)
        tell_counts(s);
    else
        stop(s, number);
}

static int open_signals(struct server *s)
{
    static const int numbers[SIGNALS] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1};
    int error = 0;
    for (int i = 0; i < SIGNALS; i++) {
        uv_signal_init(&s->loop, &s->signals[i]);
        s->signals[i].data = s;
    }
    for (int i = 0; i < SIGNALS && error == 0; i++)
        error = uv_signal_start(&s->signals[i], on_signal, numbers[i]);
    return error;
}

static void log_listeners(struct server *s)
{
    char url[512];
    for (uint32_t i = 0; chathub_listener(s->hub, i, url, sizeof(url)) >= 0; i++)
        logsink_say(s->sink, CHATHUB_INFO, "listening", "url", url, NULL);
}

/* ------------------------------------------------------------------------------ the first words */

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

static void tell_listener(const char *url)
{
    char rest[512];
    if (strncmp(url, "ws://", 5) == 0) {
        friendly(url, "ws://", rest, sizeof(rest));
        printf("  open     http://%.*s/   or: wscat -c ws://%s\n", (int)strcspn(rest, "/?"), rest,
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

/* How chatd was called, if by a path, as a shell takes it. */
static void tell_command(const struct server *s)
{
    const char *path = s->call->argc > 0 ? s->call->argv[0] : "";
    const char *quote = strpbrk(path, " \t\n\"\\$&|;<>()*?[]~#!`{}") ? "'" : "";
    if (!strchr(path, '/') || strchr(path, '\''))
        printf("chatd");
    else
        printf("%s%s%s", quote, path, quote);
}

/* The file by its full name, since the working directory is soon forgotten. */
static void tell_data(const struct server *s)
{
    char *log = chatd_hub_text(s->hub, "log");
    const char *path = log ? chatd_datafile_path(log) : NULL;
    char *real = path ? realpath(path, NULL) : NULL;
    if (path)
        printf("  data     %s\n", real ? real : path);
    else
        printf("  data     in memory: what was said is gone when chatd ends\n");
    free(real);
    free(log);
}

static void tell_start(const struct server *s)
{
    char url[512], insecure[8] = "";
    printf("chatd %s is running.\n", chathub_version());
    for (uint32_t i = 0; chathub_listener(s->hub, i, url, sizeof(url)) >= 0; i++)
        tell_listener(url);
    tell_data(s);
    printf("  stop     Ctrl-C, or: kill %ld\n", (long)getpid());
    chathub_get(s->hub, "insecure", insecure, sizeof(insecure));
    if (strcmp(insecure, "yes") == 0) {
        printf("  others   reach it by this machine's name or address; whoever does is let in\n");
    } else {
        printf("  others   only this machine reaches it; for others, who will not have to prove\n"
               "           who they are: ");
        tell_command(s);
        printf(" --listen ws://0.0.0.0:8080/ws --insecure\n");
    }
    fflush(stdout);
}

/* -------------------------------------------------------------------------------------- serving */

static int prepare(struct server *s, struct chatd_problem *problem)
{
    const char *log_file = chatd_settings_text(s->settings, "log-file");
    if (chatd_user_find(s->settings, &s->user, problem) < 0 ||
        chatd_user_allowed(&s->user, problem) < 0)
        return -1;
    s->hub = chatd_try(s->settings, problem);
    if (!s->hub || chatd_www_load(&s->www, chatd_settings_text(s->settings, "www"), problem) < 0 ||
        chatd_www_serve(s->www, s->hub, problem) < 0)
        return -1;
    if (logsink_open(&s->sink, log_file, problem->text, sizeof(problem->text)) < 0) {
        problem->status = CHATD_EXIT_OTHER;
        return -1;
    }
    set_log(s);
    return 0;
}

/* What the folders of the rooms' log are before it is opened. */
static int look_at_data(struct server *s, struct chatd_problem *problem)
{
    char *log = chatd_hub_text(s->hub, "log");
    if (!log)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    int result = chatd_datafile_look(&s->data, log, &s->user, problem);
    free(log);
    return result;
}

/* Becomes the user that was named, who also gets the log file and the rooms' log. */
static int give_up_root(struct server *s, struct chatd_problem *problem)
{
    const char *log_file = chatd_settings_text(s->settings, "log-file");
    if (!s->user.name)
        return 0;
    if (!logsink_hand_over(s->sink, log_file, s->user.uid, s->user.gid))
        logsink_say(s->sink, CHATHUB_WARNING, "log_stays_roots", "message",
                    "the log file could not be given to the user, who may fail to open it anew",
                    NULL);
    chatd_datafile_hand_over(&s->data, &s->user);
    if (chatd_user_become(&s->user, problem) < 0)
        return -1;
    return chatd_datafile_usable(&s->data, &s->user, problem);
}

static int start(struct server *s, struct chatd_problem *problem)
{
    int error = open_signals(s);
    if (error < 0)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "signals cannot be watched: %s",
                             uv_strerror(error));
    if (look_at_data(s, problem) < 0)
        return -1;
    error = chathub_start(s->hub, &s->loop);
    if (error < 0)
        return chatd_hub_problem(s->settings, s->hub, error, problem);
    if (give_up_root(s, problem) < 0) {
        chathub_free(s->hub); /* else the loop would not end */
        s->hub = NULL;
        return -1;
    }
    quiet_start(&s->quiet, &s->loop, s->hub);
    log_listeners(s);
    log_strangers(s);
    if (geteuid() == 0)
        logsink_say(s->sink, CHATHUB_WARNING, "runs_as_root", "message",
                    "chatd needs root for nothing but opening low ports; name another user by "
                    "--user, or start it as one",
                    NULL);
    logsink_say(s->sink, CHATHUB_INFO, "started", "version", chathub_version(), NULL);
    tell_start(s);
    return 0;
}

static int serve(struct server *s, struct chatd_problem *problem)
{
    if (prepare(s, problem) < 0)
        return -1;
    int error = uv_loop_init(&s->loop);
    if (error < 0)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "no event loop: %s", uv_strerror(error));
    int result = start(s, problem);
    if (result < 0)
        close_handles(s);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    chathub_free(s->hub);
    s->hub = NULL;
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    if (result == 0)
        logsink_say(s->sink, CHATHUB_INFO, "stopped", NULL);
    return result;
}

int chatd_serve(struct chatd_settings *settings, const struct chatd_call *call,
                struct chatd_problem *problem)
{
    struct server *s = calloc(1, sizeof(*s));
    if (!s) {
        chatd_settings_free(settings);
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    }
    s->settings = settings;
    s->call = call;
    int result = serve(s, problem);
    chathub_free(s->hub);
    chatd_www_free(s->www);
    logsink_close(s->sink);
    chatd_settings_free(s->settings);
    chatd_user_free(&s->user);
    chatd_datafile_free(&s->data);
    free(s);
    return result;
}
