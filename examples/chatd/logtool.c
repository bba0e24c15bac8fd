/* Each tool is one call of the library's, which asks now and then whether to go on: SIGINT, SIGTERM
 * and SIGHUP make it end early and undo what it began; a second one ends chatd at once. What was
 * made goes to standard output, what is told of its progress to standard error, if that is a
 * terminal and the work takes long. */
#include "logtool.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "datafile.h"
#include "plan.h"
#include "user.h"

/* Progress is told after so long, and then so often. */
#define TELL_AFTER_MS 1000
#define TELL_EVERY_MS 200
/* A line of an import may have so many bytes: more than the largest entry there can be. */
#define LINE_MOST ((size_t)256 << 20)

struct logtool {
    const char *option;   /* which tool it is */
    const char *text;     /* its value */
    struct chathub *hub;  /* not started */
    char *log;            /* owned: the path of the log's file */
    uint64_t next_ms;     /* when progress is next told; monotonic */
    bool terminal;        /* standard error is one */
    bool told;            /* a line of progress stands there */
    int failed;           /* errno of standard output or input; 0: none */
    char *line;           /* owned: the line of an import at hand */
    size_t len, cap;      /* bytes of it, and allocated */
    uint64_t lines;       /* lines that held something */
    uint64_t done, total; /* as last reported */
};

/* -------------------------------------------------------------------------------------- signals */

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    (void)number;
    signalled = 1;
}

/* Waits for input and output end, too. */
static void watch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaction(numbers[i], &action, NULL);
}

/* ------------------------------------------------------------------------------------- progress */

static uint64_t now_ms(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000 + (uint64_t)at.tv_nsec / 1000000;
}

static void tell_progress(struct logtool *tool)
{
    uint64_t now = now_ms();
    if (!tool->terminal || now < tool->next_ms)
        return;
    tool->next_ms = now + TELL_EVERY_MS;
    tool->told = true;
    if (!tool->total)
        fprintf(stderr, "\rchatd: --%s: %" PRIu64 " …", tool->option, tool->done);
    else if (tool->done)
        fprintf(stderr, "\rchatd: --%s: %" PRIu64 " %%  ", tool->option,
                tool->done < tool->total ? tool->done * 100 / tool->total : 100);
    else
        fprintf(stderr, "\rchatd: --%s: …", tool->option);
}

static void clear_progress(struct logtool *tool)
{
    if (tool->told)
        fputs("\r\033[K", stderr);
    tool->told = false;
}

static int on_progress(uint64_t done, uint64_t total, void *arg)
{
    struct logtool *tool = arg;
    tool->done = done;
    tool->total = total;
    tell_progress(tool);
    return signalled != 0;
}

/* --------------------------------------------------------------------------------------- output */

static int on_line(const char *line, size_t len, void *arg)
{
    struct logtool *tool = arg;
    errno = 0;
    if (fwrite(line, 1, len, stdout) == len && putchar('\n') == '\n')
        return signalled != 0;
    tool->failed = errno;
    return 1;
}

static int on_fault(const char *line, size_t len, void *arg)
{
    clear_progress(arg);
    return on_line(line, len, arg);
}

static void print_size(uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double size = (double)bytes;
    size_t unit = 0;
    for (; size >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        size /= 1024;
    printf("%.*f %s", unit ? 1 : 0, size, units[unit]);
}

/* ---------------------------------------------------------------------------------------- input */

static int grow_line(struct logtool *tool)
{
    size_t cap = tool->cap ? tool->cap * 2 : 4096;
    char *line = cap <= LINE_MOST ? realloc(tool->line, cap) : NULL;
    if (!line) {
        tool->failed = cap <= LINE_MOST ? ENOMEM : EMSGSIZE;
        return -1;
    }
    tool->line = line;
    tool->cap = cap;
    return 0;
}

/* The next line without its newline. 1, 0 at the end, -1 and `failed`. */
static int read_line(struct logtool *tool)
{
    int c;
    tool->len = 0;
    errno = 0;
    while ((c = getc_unlocked(stdin)) != EOF && c != '\n') {
        if (tool->len == tool->cap && grow_line(tool) < 0)
            return -1;
        tool->line[tool->len++] = (char)c;
    }
    if (ferror(stdin)) {
        tool->failed = errno ? errno : EIO;
        return -1;
    }
    return c == '\n' || tool->len;
}

static int next_line(const char **line, size_t *len, void *arg)
{
    struct logtool *tool = arg;
    int result = read_line(tool);
    if (result < 0 || signalled)
        return -1;
    tool->lines += tool->len != 0;
    tool->done++;
    tell_progress(tool);
    *line = tool->line;
    *len = tool->len;
    return result;
}

/* ---------------------------------------------------------------------------------------- tools */

static int backup(struct logtool *tool)
{
    int result = chathub_log_backup(tool->hub, tool->text, on_progress, tool);
    clear_progress(tool);
    if (result == 0) {
        printf("%s was copied to %s (", tool->log, tool->text);
        print_size(tool->total);
        puts(")");
    }
    return result;
}

static int check(struct logtool *tool)
{
    int result = chathub_log_check(tool->hub, on_fault, on_progress, tool);
    clear_progress(tool);
    if (result == 0)
        printf("nothing is wrong with %s\n", tool->log);
    return result;
}

static int export(struct logtool *tool)
{
    const char *room = strcmp(tool->option, "export") == 0 ? tool->text : NULL;
    int result = chathub_log_export(tool->hub, room, on_line, on_progress, tool);
    clear_progress(tool);
    return result;
}

static int import(struct logtool *tool)
{
    uint64_t added;
    int result = chathub_log_import(tool->hub, next_line, tool, &added);
    clear_progress(tool);
    if (result)
        return result;
    printf("%" PRIu64 " %s added to %s", added, added == 1 ? "entry was" : "entries were",
           tool->log);
    if (added < tool->lines)
        printf("; %" PRIu64 " had been there", tool->lines - added);
    putchar('\n');
    return 0;
}

static const struct {
    const char *option;
    int (*run)(struct logtool *tool);
} tools[] = {
    {"backup", backup},     {"check-log", check}, {"export", export},
    {"export-all", export}, {"import", import},
};
#define TOOLS (sizeof(tools) / sizeof(tools[0]))

/* --------------------------------------------------------------------------------- all together */

static bool is_asked(const struct chatd_settings *settings, const char *option)
{
    const struct chatd_setting *setting = chatd_settings_find(settings, option);
    if (setting->about.type == CHATHUB_OPTION_SWITCH)
        return chatd_settings_on(settings, option);
    return setting->count > 0;
}

/* Which tool was asked for: its number, TOOLS if none was, -1 with *problem. */
static int choose(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    int chosen = TOOLS;
    for (int i = 0; i < (int)TOOLS; i++) {
        if (!is_asked(settings, tools[i].option))
            continue;
        if (chosen != TOOLS)
            return chatd_problem(problem, CHATD_EXIT_USAGE,
                                 "--%s and --%s are two things; ask for one at a time",
                                 tools[chosen].option, tools[i].option);
        chosen = i;
    }
    return chosen;
}

/* The file that an import makes or fills is the one's who serves it. */
static int become_owner(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    struct chatd_user user;
    int result = chatd_user_find(settings, &user, problem);
    if (result == 0 && geteuid() == 0)
        result = chatd_user_become(&user, problem);
    chatd_user_free(&user);
    return result;
}

/* What the tool ended with. 0, or -1 with *problem. */
static int conclude(const struct chatd_settings *settings, const struct logtool *tool, int result,
                    struct chatd_problem *problem)
{
    bool reading = strcmp(tool->option, "import") == 0;
    int failed = fflush(stdout) == EOF ? errno : 0;
    if (result && signalled)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "--%s: ended by a signal; nothing was %s",
                             tool->option, reading ? "added" : "changed");
    if (tool->failed || failed)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "--%s: standard %s: %s", tool->option,
                             reading ? "input" : "output",
                             strerror(tool->failed ? tool->failed : failed));
    if (result == 0)
        return 0;
    chatd_hub_problem(settings, tool->hub, result, problem);
    if (result != CHATHUB_EVALUE)
        problem->status = CHATD_EXIT_OTHER; /* it is about a log or a line, not about settings */
    return -1;
}

/* A hub with the one log that is meant: of several servers' logs it has to be named. NULL with
 * *problem. */
static struct chathub *hub_of(const struct chatd_settings *settings, const char *option,
                              struct chatd_problem *problem)
{
    struct chatd_plan plan;
    struct chathub *hub = NULL;
    int result = chatd_plan_make(settings, &plan, problem);
    if (result == 0 && plan.count > 1 &&
        chatd_datafile_is_folder(chatd_settings_text(settings, "log")))
        chatd_problem(problem, CHATD_EXIT_USAGE,
                      "--%s: each of the %zu servers has a log of its own; say which one is meant, "
                      "as in --log %s",
                      option, plan.count, plan.places[0].log);
    else if (result == 0)
        hub = chatd_place_try(settings, &plan.places[0], problem);
    chatd_plan_free(&plan);
    return hub;
}

static int run(const struct chatd_settings *settings, int which, struct chatd_problem *problem)
{
    struct logtool tool = {.option = tools[which].option,
                           .text = chatd_settings_text(settings, tools[which].option),
                           .terminal = isatty(STDERR_FILENO),
                           .next_ms = now_ms() + TELL_AFTER_MS};
    tool.hub = hub_of(settings, tool.option, problem);
    if (!tool.hub)
        return -1;
    char *log = chatd_hub_text(tool.hub, "log");
    const char *path = log ? chatd_datafile_path(log) : NULL;
    tool.log = strdup(path ? path : "");
    int result = -1;
    if (!log || !tool.log)
        chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    else if (tools[which].run != import || become_owner(settings, problem) == 0)
        result = conclude(settings, &tool, tools[which].run(&tool), problem);
    chathub_free(tool.hub);
    free(tool.line);
    free(tool.log);
    free(log);
    return result;
}

int chatd_logtool(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    int which = choose(settings, problem);
    if (which < 0 || which == TOOLS)
        return which < 0 ? -1 : 1;
    watch_signals();
    return run(settings, which, problem);
}
