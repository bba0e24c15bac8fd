/* Happy path: chatd_serve makes a hub for each server, starts them on one loop, tells where they
 * are, and runs the loop. SIGINT or SIGTERM: all are stopped; when none is left the handles are
 * closed, the loop has nothing left, and all is freed. Failures: a server that cannot be started is
 * told and left out; if none can, chatd ends. A start that fails leaves nothing on the loop but
 * closing handles, which a run of it takes away. A second signal ends the process at once. */
#include "server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <uv.h>

#include "activation.h"
#include "hubs.h"
#include "notify.h"
#include "quiet.h"
#include "reload.h"
#include "words.h"

#define SIGNALS     4
#define STATUS_SIZE 768

struct server {
    struct chatd_hubs hubs;
    struct chatd_plan plan;      /* what was to be started */
    struct chatd_datafile *data; /* owned; the log of each of plan's places, as it was before */
    const struct chatd_call *call;
    uv_loop_t loop;
    uv_signal_t signals[SIGNALS];
    struct chatd_user user; /* whom to become once all is open */
    struct quiet quiet;     /* its timer is on the loop from start until all hubs have stopped */
    struct notify notify;   /* whom to tell how it goes */
    size_t passed;          /* sockets that chatd was given */
};

/* -------------------------------------------------------------------------------------- signals */

/* From here on a signal would have its default action again: one that is not to end chatd is
 * ignored, since what is left may take a while, such as the log's last lines. */
static void close_handles(struct server *s)
{
    quiet_stop(&s->quiet);
    notify_stop(&s->notify);
    for (int i = 0; i < SIGNALS; i++) {
        if (!uv_is_closing((uv_handle_t *)&s->signals[i]))
            uv_close((uv_handle_t *)&s->signals[i], NULL);
    }
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
}

/* One line for people: where it is. */
static void tell_status(const struct chatd_hubs *hubs, char *out, size_t size)
{
    size_t len = (size_t)snprintf(out, size, "Serving");
    for (const struct chatd_hub *hub = hubs->first; hub; hub = hub->next) {
        char url[512];
        for (uint32_t i = 0; chathub_listener(hub->hub, i, url, sizeof(url)) >= 0; i++) {
            if (len < size)
                len += (size_t)snprintf(out + len, size - len, " %s", url);
        }
    }
}

static void on_stopped(void *arg)
{
    close_handles(arg);
}

static void stop(struct server *s, int number)
{
    const char *name = number == SIGINT ? "SIGINT" : "SIGTERM";
    if (s->hubs.stopping) {
        logsink_say(s->hubs.sink, CHATHUB_WARNING, "stopped", "signal", name, "message",
                    "a second signal: ending at once", NULL);
        logsink_close(s->hubs.sink);
        _exit(CHATD_EXIT_OTHER);
    }
    logsink_say(s->hubs.sink, CHATHUB_INFO, "stopping", "signal", name, NULL);
    notify_stopping(&s->notify, "Stopping: clients are told to come back");
    chatd_hubs_tell_counts(&s->hubs);
    chatd_hubs_stop(&s->hubs, on_stopped, s);
}

/* The start's words again, or why not all is as its file says. */
static void reload(struct server *s)
{
    char status[STATUS_SIZE];
    notify_reloading(&s->notify);
    bool taken = chatd_reload(&s->hubs, s->call);
    tell_status(&s->hubs, status, sizeof(status));
    notify_ready_again(&s->notify, taken ? status : "Settings were not read again; see the log");
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct server *s = handle->data;
    if (number == SIGHUP)
        reload(s);
    else if (number == SIGUSR1)
        chatd_hubs_tell_counts(&s->hubs);
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

/* ------------------------------------------------------------------------------------- starting */

/* All of them before any is started, and kept for those that are dropped, too: one may make the
 * folder of the others, and fail. */
static int look_at_data(struct server *s, struct chatd_problem *problem)
{
    s->data = calloc(s->plan.count, sizeof(*s->data));
    if (!s->data)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    for (size_t i = 0; i < s->plan.count; i++) {
        if (chatd_datafile_look(&s->data[i], s->plan.places[i].log, &s->user, problem) < 0)
            return -1;
    }
    return 0;
}

static void free_data(struct server *s)
{
    for (size_t i = 0; s->data && i < s->plan.count; i++)
        chatd_datafile_free(&s->data[i]);
    free(s->data);
}

/* Makes all hubs with what they serve and where their lines go; opens nothing else. */
static int prepare(struct server *s, struct chatd_problem *problem)
{
    struct chatd_hubs *hubs = &s->hubs;
    const char *log_file = chatd_settings_text(hubs->settings, "log-file");
    if (chatd_user_find(hubs->settings, &s->user, problem) < 0 ||
        chatd_user_allowed(&s->user, problem) < 0 ||
        chatd_plan_make(hubs->settings, &s->plan, problem) < 0 ||
        chatd_plan_check(hubs->settings, &s->plan, problem) < 0 ||
        chatd_www_load(&hubs->www, chatd_settings_text(hubs->settings, "www"), problem) < 0)
        return -1;
    if (logsink_open(&hubs->sink, log_file, problem->text, sizeof(problem->text)) < 0) {
        problem->status = CHATD_EXIT_OTHER;
        return -1;
    }
    hubs->plan = &s->plan;
    for (size_t i = 0; i < s->plan.count; i++) {
        struct chatd_hub *hub = chatd_hubs_add(hubs, &s->plan.places[i], problem);
        if (!hub || chatd_hub_equip(hub, problem) < 0)
            return -1;
    }
    chatd_hubs_set_log(hubs);
    s->notify.sink = hubs->sink;
    if (chatd_activate(hubs, &s->passed, problem) < 0)
        return -1;
    return look_at_data(s, problem);
}

/* One that cannot run is left out, if there are others: 0. The only one is chatd's failure: -1 with
 * *problem. */
static int leave_out(struct server *s, struct chatd_hub *hub, const struct chatd_problem *why,
                     struct chatd_problem *problem)
{
    if (s->plan.count == 1) {
        *problem = *why;
        return -1;
    }
    chatd_hubs_tell_failure(&s->hubs, hub->place.name, why);
    chatd_hub_drop(hub);
    if (s->hubs.first)
        return 0;
    return chatd_problem(problem, CHATD_EXIT_OTHER,
                         "no server could be started; what was wrong with each is said above");
}

static int start_hubs(struct server *s, struct chatd_problem *problem)
{
    struct chatd_problem why = {0};
    int result = 0;
    for (struct chatd_hub *hub = s->hubs.first, *next; result == 0 && hub; hub = next) {
        next = hub->next;
        if (chatd_hub_start(hub, &s->user, &why) < 0)
            result = leave_out(s, hub, &why, problem);
    }
    return result;
}

/* Gives the rooms' logs to the user that was named; those of servers that failed as well, or the
 * next start could not use them. */
static void hand_over_data(struct server *s)
{
    for (size_t i = 0; i < s->plan.count; i++)
        chatd_datafile_hand_over(&s->data[i], &s->user);
}

/* Becomes the user that was named, who also gets the log file. */
static int give_up_root(struct server *s, struct chatd_problem *problem)
{
    struct chatd_problem why = {0};
    const char *log_file = chatd_settings_text(s->hubs.settings, "log-file");
    if (!s->user.name)
        return 0;
    if (!logsink_hand_over(s->hubs.sink, log_file, s->user.uid, s->user.gid))
        logsink_say(s->hubs.sink, CHATHUB_WARNING, "log_stays_roots", "message",
                    "the log file could not be given to the user, who may fail to open it anew",
                    NULL);
    int result = chatd_user_become(&s->user, problem);
    for (struct chatd_hub *hub = s->hubs.first, *next; result == 0 && hub; hub = next) {
        next = hub->next;
        if (chatd_datafile_usable(&hub->data, &s->user, &why) < 0)
            result = leave_out(s, hub, &why, problem);
    }
    return result;
}

static void log_strangers(struct server *s)
{
    char *const *environment = s->call->environment;
    size_t index = 0;
    for (const char *name;
         (name = chatd_settings_stranger(s->hubs.settings, environment, &index));) {
        char word[64];
        snprintf(word, sizeof(word), "%.*s", (int)strcspn(name, "="), name);
        logsink_say(s->hubs.sink, CHATHUB_WARNING, "unknown_variable", "name", word, "message",
                    "no option has this name; it is ignored", NULL);
    }
}

static uint64_t doings(void *arg)
{
    return chatd_hubs_doings(arg);
}

static void tell_start(struct server *s)
{
    log_strangers(s);
    if (geteuid() == 0)
        logsink_say(s->hubs.sink, CHATHUB_WARNING, "runs_as_root", "message",
                    "chatd needs root for nothing but opening low ports; name another user by "
                    "--user, or start it as one",
                    NULL);
    logsink_say(s->hubs.sink, CHATHUB_INFO, "started", "version", chathub_version(), NULL);
    chatd_tell_start(&s->hubs, &s->plan, s->call->argc > 0 ? s->call->argv[0] : "");
}

/* Whoever started chatd as a service knows now that it may be used. */
static void tell_ready(struct server *s)
{
    char status[STATUS_SIZE], passed[24], watchdog[24];
    tell_status(&s->hubs, status, sizeof(status));
    notify_ready(&s->notify, &s->loop, status);
    if (!s->notify.path && !s->passed)
        return;
    snprintf(passed, sizeof(passed), "%zu", s->passed);
    snprintf(watchdog, sizeof(watchdog), "%ums", (unsigned)s->notify.watchdog_ms);
    logsink_say(s->hubs.sink, CHATHUB_INFO, "ready", "sockets_passed", passed, "notified",
                s->notify.path ? "yes" : "no", "watchdog", s->notify.watchdog_ms ? watchdog : "no",
                NULL);
}

static int start(struct server *s, struct chatd_problem *problem)
{
    int error = open_signals(s);
    if (error < 0)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "signals cannot be watched: %s",
                             uv_strerror(error));
    int result = start_hubs(s, problem);
    hand_over_data(s);
    if (result < 0 || give_up_root(s, problem) < 0)
        return -1;
    quiet_start(&s->quiet, &s->loop, doings, &s->hubs);
    tell_start(s);
    tell_ready(s);
    return 0;
}

/* -------------------------------------------------------------------------------------- serving */

static int serve(struct server *s, struct chatd_problem *problem)
{
    if (notify_open(&s->notify, problem) < 0 || prepare(s, problem) < 0)
        return -1;
    int error = uv_loop_init(&s->loop);
    if (error < 0)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "no event loop: %s", uv_strerror(error));
    s->hubs.loop = &s->loop;
    int result = start(s, problem);
    if (result < 0) {
        while (s->hubs.first) /* else the loop would not end */
            chatd_hub_drop(s->hubs.first);
        close_handles(s);
    }
    uv_run(&s->loop, UV_RUN_DEFAULT);
    uv_loop_close(&s->loop);
    if (result == 0)
        logsink_say(s->hubs.sink, CHATHUB_INFO, "stopped", NULL);
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
    s->hubs.settings = settings;
    s->call = call;
    int result = serve(s, problem);
    if (result < 0)
        notify_status(&s->notify, problem->text);
    notify_close(&s->notify);
    chatd_hubs_fini(&s->hubs);
    free_data(s);
    chatd_plan_free(&s->plan);
    chatd_user_free(&s->user);
    free(s);
    return result;
}
