#include "settings.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS 80
#define INDENT  24

static const char *kind(const struct chathub_option *option)
{
    switch (option->type) {
    case CHATHUB_OPTION_SWITCH:
        return "";
    case CHATHUB_OPTION_NUMBER:
        return " N";
    case CHATHUB_OPTION_SIZE:
        return " SIZE";
    case CHATHUB_OPTION_TIME:
        return " TIME";
    case CHATHUB_OPTION_LIST:
        return " URL";
    default:
        return " TEXT";
    }
}

/* "  --name VALUE", filled up to where the words begin. */
static void print_head(const struct chathub_option *option)
{
    char head[96];
    int len = snprintf(head, sizeof(head), "  --%s%s", option->name, kind(option));
    printf("%s%*s", head, len < INDENT ? INDENT - len : 1, "");
}

/* How much of a text makes a line: its first sentence, if need be without what follows its first
 * clause, or cut behind a word (*cut). */
static size_t brief_len(const char *text, size_t room, bool *cut)
{
    const char *end = strstr(text, ". ");
    size_t len = end ? (size_t)(end - text) : strlen(text);
    if (len && text[len - 1] == '.')
        len--;
    *cut = false;
    if (len <= room)
        return len;
    len = strcspn(text, ";");
    if (len <= room)
        return len;
    *cut = true;
    for (len = room - 2; len > 0 && text[len] != ' ';)
        len--;
    return len;
}

static void print_brief(const struct chathub_option *option)
{
    bool cut;
    size_t len = brief_len(option->help, COLUMNS - INDENT, &cut);
    print_head(option);
    printf("%.*s%s\n", (int)len, option->help, cut ? " …" : "");
}

static void print_common(const struct chatd_settings *settings)
{
    printf("chatd %s, a chat server over WebSockets and plain TCP lines.\n"
           "usage: chatd [--option VALUE | --option=VALUE | --switch | --no-switch] …\n",
           chathub_version());
    for (int own = 0; own <= 1; own++) {
        for (size_t i = 0; i < settings->count; i++) {
            if (settings->all[i].about.common && settings->all[i].own == (own == 1))
                print_brief(&settings->all[i].about);
        }
    }
    printf("Without --listen/--servers: ws://localhost:8080/ws (page), tcp://localhost:7000.\n"
           "%s"
           "chatd --help all lists every option, chatd --help OPTION explains one.\n",
           chathub_has("sqlite") ? "Without --log: a file in chatd-data/; --backup, --check-log, "
                                   "--export, --import.\n"
                                 : "");
}

/* Words, broken into lines that begin at INDENT; *column is where the last word ended. */
static void print_words(const char *text, size_t *column)
{
    while (*text) {
        size_t len = strcspn(text, " ");
        if (*column > INDENT && *column + 1 + len > COLUMNS) {
            printf("\n%*s", INDENT, "");
            *column = INDENT;
        }
        *column += (size_t)printf("%s%.*s", *column > INDENT ? " " : "", (int)len, text);
        text += len + strspn(text + len, " ");
    }
}

/* One of an option's bounds, as it can be set: in the largest unit that leaves it whole. */
static void write_bound(const struct chathub_option *option, uint64_t bound, char *out, size_t size)
{
    static const struct unit {
        uint32_t type;
        const char *suffix;
        uint64_t scale;
    } units[] = {
        {CHATHUB_OPTION_SIZE, "g", UINT64_C(1) << 30},
        {CHATHUB_OPTION_SIZE, "m", 1 << 20},
        {CHATHUB_OPTION_SIZE, "k", 1 << 10},
        {CHATHUB_OPTION_TIME, "d", 86400000},
        {CHATHUB_OPTION_TIME, "h", 3600000},
        {CHATHUB_OPTION_TIME, "m", 60000},
        {CHATHUB_OPTION_TIME, "s", 1000},
        {CHATHUB_OPTION_TIME, "ms", 1},
    };
    const struct unit *unit = NULL;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]) && !unit && bound; i++) {
        if (units[i].type == option->type && bound % units[i].scale == 0)
            unit = &units[i];
    }
    snprintf(out, size, "%" PRIu64 "%s", unit ? bound / unit->scale : bound,
             unit ? unit->suffix : "");
}

/* The least and the most that it takes; "" where there is nothing to say. Answers its length. */
static int write_bounds(const struct chathub_option *option, char *out, size_t size)
{
    char least[32], most[32];
    *out = '\0';
    if (!option->max || option->type == CHATHUB_OPTION_SWITCH)
        return 0;
    write_bound(option, option->min, least, sizeof(least));
    write_bound(option, option->max, most, sizeof(most));
    if (option->type == CHATHUB_OPTION_TEXT)
        return snprintf(out, size, "up to %s bytes", most);
    return snprintf(out, size, "%s to %s", least, most);
}

static void print_bounds(const struct chathub_option *option, size_t *column)
{
    char bounds[80], text[96];
    int len = write_bounds(option, bounds, sizeof(bounds));
    if (len || option->live) {
        snprintf(text, sizeof(text), "(%s%s%s)", bounds, len && option->live ? "; " : "",
                 option->live ? "live" : "");
        print_words(text, column);
    }
}

static void print_full(const struct chatd_setting *setting)
{
    const struct chathub_option *about = &setting->about;
    size_t column = INDENT;
    print_head(about);
    print_words(about->help, &column);
    if (*about->standard) {
        print_words("Default:", &column);
        print_words(about->standard, &column);
    }
    print_bounds(about, &column);
    putchar('\n');
}

static void print_all(const struct chatd_settings *settings)
{
    const char *group = "";
    printf("Options of chatd %s. Each is a flag (--log-level debug), a variable\n"
           "(CHATD_LOG_LEVEL=debug) and a line of the file that --config names\n"
           "(log-level: debug). Flags win over variables, and these over the file. SIZE\n"
           "takes k, m, g; TIME takes ms, s, m, h, d. In brackets are the least and the\n"
           "most, and whether it is live: one that is may be changed in the file while\n"
           "chatd runs, and kill -HUP makes it read the file again.\n",
           chathub_version());
    for (size_t i = 0; i < settings->count; i++) {
        const struct chatd_setting *setting = &settings->all[i];
        if (strcmp(group, setting->about.group) != 0)
            printf("\n%s\n", setting->about.group);
        group = setting->about.group;
        print_full(setting);
    }
}

int chatd_help(const struct chatd_settings *settings, const char *what,
               struct chatd_problem *problem)
{
    if (strcmp(what, "common") == 0) {
        print_common(settings);
        return 0;
    }
    if (strcmp(what, "all") == 0) {
        print_all(settings);
        return 0;
    }
    const char *name = what + (strncmp(what, "--", 2) == 0 ? 2 : 0);
    const struct chatd_setting *setting = chatd_settings_find(settings, name);
    if (setting) {
        print_full(setting);
        return 0;
    }
    const char *near = chatd_settings_nearest(settings, name, false);
    return chatd_problem(problem, CHATD_EXIT_USAGE, "there is no option --%s; %s%s%s", name,
                         near ? "did you mean --" : "chatd --help all lists what there is",
                         near ? near : "", near ? "?" : "");
}
