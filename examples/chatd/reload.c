#include "reload.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------- what differs */

/* What an option has: from the hub, or from the settings where that is one of chatd's own or each
 * server has its own. NULL: no memory. */
static char *text_of(const struct chatd_setting *setting, const struct chathub *hub)
{
    const char *name = setting->about.name;
    if (setting->own || strcmp(name, "log") == 0 || strcmp(name, "name") == 0)
        return strdup(chatd_setting_text(setting));
    if (setting->about.type != CHATHUB_OPTION_LIST)
        return chatd_hub_text(hub, name);
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

/* What differs between a running hub and the trial, but for chatd's own live options: the same for
 * all hubs. -1: no memory. */
static int changes_find(const struct chatd_hubs *hubs, const struct chatd_settings *fresh,
                        const struct chathub *trial, struct changes *out)
{
    *out = (struct changes){calloc(fresh->count, sizeof(*out->at)), 0};
    for (size_t i = 0; out->at && i < fresh->count; i++) {
        const struct chatd_setting *setting = &fresh->all[i];
        if (setting->line_only || (setting->own && setting->about.live))
            continue;
        struct change change = {&setting->about, text_of(&hubs->settings->all[i], hubs->first->hub),
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

/* ---------------------------------------------------------------------------------- taking over */

/* Sets the live ones of one hub back, but those from number `count` on. */
static void changes_undo(const struct chatd_hub *hub, const struct changes *changes, size_t count)
{
    while (count-- > 0) {
        if (changes->at[count].about->live)
            chathub_set(hub->hub, changes->at[count].about->name, changes->at[count].now);
    }
}

/* Sets the live ones. They were judged by the trial already, so that only a lack of memory can
 * stop this; what was set before it is then set back. */
static int changes_make(const struct chatd_hub *hub, const struct changes *changes,
                        struct chatd_problem *problem)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct change *change = &changes->at[i];
        if (!change->about->live || chathub_set(hub->hub, change->about->name, change->wanted) == 0)
            continue;
        chatd_problem(problem, CHATD_EXIT_OTHER, "%s", chathub_problem(hub->hub));
        changes_undo(hub, changes, i);
        return -1;
    }
    return 0;
}

/* The same in all hubs, or in none. */
static int changes_make_all(const struct chatd_hubs *hubs, const struct changes *changes,
                            struct chatd_problem *problem)
{
    for (const struct chatd_hub *hub = hubs->first; hub; hub = hub->next) {
        if (changes_make(hub, changes, problem) == 0)
            continue;
        for (const struct chatd_hub *one = hubs->first; one != hub; one = one->next)
            changes_undo(one, changes, changes->count);
        return -1;
    }
    return 0;
}

static void changes_tell(const struct chatd_hubs *hubs, const struct changes *changes)
{
    for (size_t i = 0; i < changes->count; i++) {
        const struct change *change = &changes->at[i];
        if (change->about->live)
            logsink_say(hubs->sink, CHATHUB_INFO, "option_changed", "option", change->about->name,
                        "from", change->now, "to", change->wanted, NULL);
        else
            logsink_say(hubs->sink, CHATHUB_WARNING, "needs_restart", "option", change->about->name,
                        "message", "chatd has to be started anew for this to change", NULL);
    }
}

/* Changes the hubs to what a trial hub took. */
static int take_over(const struct chatd_hubs *hubs, const struct chatd_settings *fresh,
                     const struct chathub *trial, struct chatd_problem *problem)
{
    struct changes changes;
    int result = changes_find(hubs, fresh, trial, &changes);
    if (result < 0)
        chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    if (result == 0)
        result = changes_make_all(hubs, &changes, problem);
    if (result == 0)
        changes_tell(hubs, &changes);
    changes_free(&changes);
    return result;
}

/* ------------------------------------------------------------------------------------ all of it */

/* A hub that takes the fresh settings, with which chatd could start as well; NULL with *problem. */
static struct chathub *try_all(const struct chatd_settings *fresh, struct chatd_problem *problem)
{
    struct chatd_plan plan;
    struct chathub *trial = NULL;
    if (chatd_plan_make(fresh, &plan, problem) == 0 && chatd_plan_check(fresh, &plan, problem) == 0)
        trial = chatd_place_try(fresh, &plan.places[0], problem);
    chatd_plan_free(&plan);
    return trial;
}

/* A descriptor for the log file of these settings, or -1 with *problem. */
static int open_log(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    problem->status = CHATD_EXIT_OTHER;
    return logsink_prepare(chatd_settings_text(settings, "log-file"), problem->text,
                           sizeof(problem->text));
}

/* What is not live stays as it was at the start: servers that are made later are like those that
 * run, and the next reload is compared with what runs. */
static void keep_started(struct chatd_settings *fresh, struct chatd_settings *running)
{
    for (size_t i = 0; i < fresh->count; i++) {
        struct chatd_setting setting = fresh->all[i];
        if (setting.about.live)
            continue;
        fresh->all[i] = running->all[i];
        running->all[i] = setting;
    }
}

/* All that flags, variables and file say now, or nothing. */
static int reload_settings(struct chatd_hubs *hubs, const struct chatd_call *call,
                           struct chatd_problem *problem)
{
    struct chatd_settings *fresh;
    struct chathub *trial = NULL;
    int log = -1;
    if (chatd_settings_new(&fresh) < 0)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    int result = chatd_settings_load(fresh, call->argc, call->argv, call->environment, problem);
    if (result == 0 && !(trial = try_all(fresh, problem)))
        result = -1;
    if (result == 0 && (log = open_log(fresh, problem)) < 0)
        result = -1;
    if (result == 0)
        result = take_over(hubs, fresh, trial, problem);
    chathub_free(trial);
    if (result < 0) {
        logsink_discard(log);
    } else {
        logsink_switch(hubs->sink, log);
        struct chatd_settings *old = hubs->settings;
        keep_started(fresh, old);
        hubs->settings = fresh;
        fresh = old;
        chatd_hubs_set_log(hubs);
    }
    chatd_settings_free(fresh);
    return result;
}

bool chatd_reload(struct chatd_hubs *hubs, const struct chatd_call *call)
{
    struct chatd_problem problem = {0};
    int log = open_log(hubs->settings, &problem);
    if (log < 0)
        logsink_say(hubs->sink, CHATHUB_ERROR, "log_not_reopened", "message", problem.text, NULL);
    else
        logsink_switch(hubs->sink, log);
    bool taken = reload_settings(hubs, call, &problem) == 0;
    if (taken)
        logsink_say(hubs->sink, CHATHUB_INFO, "reloaded", NULL);
    else
        logsink_say(hubs->sink, CHATHUB_ERROR, "reload_failed", "message", problem.text, NULL);
    return taken;
}
