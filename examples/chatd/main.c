/* chatd: a chat server, made of libchathub by its public face alone. */
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "health.h"
#include "logtool.h"
#include "plan.h"
#include "server.h"

extern char **environ;

/* What every way of running wants: no files for others, nothing gained by exec, no death by a
 * closed pipe, and as many descriptors as there may be. */
static void prepare_process(void)
{
    struct rlimit files;
    umask(077);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

/* --check-config and --print-config. */
static int show(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    struct chatd_plan plan;
    struct chathub *hub = NULL;
    if (chatd_plan_make(settings, &plan, problem) == 0 &&
        chatd_plan_check(settings, &plan, problem) == 0)
        hub = chatd_place_try(settings, &plan.places[0], problem);
    chatd_plan_free(&plan);
    if (!hub)
        return -1;
    int result = 0;
    if (!chatd_settings_on(settings, "print-config"))
        puts("the settings are valid");
    else if (chatd_settings_print(settings, hub) < 0)
        result = chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    chathub_free(hub);
    return result;
}

/* What was asked for but to serve; 0 or -1, and 1 if it is to serve. */
static int answer(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    const char *help = chatd_settings_text(settings, "help");
    if (*help)
        return chatd_help(settings, help, problem);
    if (chatd_settings_on(settings, "version")) {
        printf("chatd %s\n", chathub_version());
        return 0;
    }
    if (chatd_settings_on(settings, "print-config") || chatd_settings_on(settings, "check-config"))
        return show(settings, problem);
    if (chatd_settings_on(settings, "check-health"))
        return chatd_health(settings, problem);
    return chatd_logtool(settings, problem);
}

static int run(const struct chatd_call *call, struct chatd_problem *problem)
{
    struct chatd_settings *settings;
    if (chatd_settings_new(&settings) < 0)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    int result = chatd_settings_load(settings, call->argc, call->argv, call->environment, problem);
    if (result == 0)
        result = answer(settings, problem);
    if (result == 1)
        return chatd_serve(settings, call, problem);
    chatd_settings_free(settings);
    return result;
}

int main(int argc, char **argv)
{
    const struct chatd_call call = {argc, argv, environ};
    struct chatd_problem problem = {0};
    prepare_process();
    if (run(&call, &problem) == 0)
        return 0;
    fprintf(stderr, "chatd: %s\n", problem.text);
    return problem.status;
}
