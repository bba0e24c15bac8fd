#include "settings.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "datafile.h"

#define OWN(kind, word, value, text, is_common, is_live)                                           \
    {                                                                                              \
        .size = sizeof(struct chathub_option), .type = CHATHUB_OPTION_##kind, .name = word,        \
        .standard = value, .help = text, .group = GROUP, .common = is_common, .live = is_live      \
    }

static const struct chathub_option own_options[] = {
#define GROUP "chatd"
    OWN(TEXT, "servers", "",
        "Servers that share nothing, in place of listen: NAME=PORT or NAME=HOST:PORT, separated by "
        "commas. Each has its rooms, its log, the page, and its WebSocket at /ws.",
        0, 0),
    OWN(TEXT, "custom", "",
        "A port from 1024 to 65535: one server, called custom-PORT, at ws://localhost:PORT/ws.", 0,
        0),
    OWN(TEXT, "peers", "",
        "Nodes of the same chat that the page offers to go to: NAME=PORT or NAME=HOST:PORT, "
        "separated by commas, each with its WebSocket at /ws. The one called as this one is left "
        "out.",
        0, 0),
    {.size = sizeof(struct chathub_option),
     .type = CHATHUB_OPTION_NUMBER,
     .name = "max-servers",
     .standard = "16",
     .help = "Servers at once, those included that are made while chatd runs.",
     .group = GROUP,
     .min = 1,
     .max = 1024, /* each has threads, files and memory of its own */
     .live = 1},
    OWN(SWITCH, "create-servers", "yes",
        "Programs and pages on this machine may make and end servers while chatd runs. Set it to "
        "no behind whatever forwards connections of others to chatd.",
        0, 0),
    OWN(TEXT, "www", "",
        "A folder of files to serve instead of the built-in page; read once, at the start.", 1, 0),
    OWN(TEXT, "log-file", "",
        "A file for log lines (mode 0600), opened anew on SIGHUP. Without it: standard error.", 1,
        1),
    OWN(TEXT, "log-format", "logfmt", "How log lines are written: logfmt or json.", 0, 1),
    OWN(TEXT, "log-level", "info", "debug, info, warning or error: the least that is logged.", 1,
        1),
    OWN(TEXT, "user", "",
        "Whom to become when started as root, once the listeners and all files are open.", 0, 0),
#undef GROUP
#define GROUP "Command line only"
    OWN(TEXT, "config", "",
        "A YAML file of options, read again on SIGHUP. The variable CHATD_CONFIG names one, too.",
        1, 0),
    OWN(SWITCH, "check-config", "no", "Only tells whether the settings are valid.", 0, 0),
    OWN(SWITCH, "print-config", "no", "Prints all settings in effect, as a file for --config.", 0,
        0),
    OWN(SWITCH, "check-health", "no",
        "Asks the chatd that has these settings whether it answers: exit status 0 if it does.", 0,
        0),
    OWN(TEXT, "backup", "",
        "Copies the rooms' log into this new file, also while another chatd uses it.", 0, 0),
    OWN(SWITCH, "check-log", "no",
        "Looks for what is wrong with the rooms' log, also while another chatd uses it.", 0, 0),
    OWN(TEXT, "export", "",
        "Writes the entries of this room to standard output, a JSON object a line.", 0, 0),
    OWN(SWITCH, "export-all", "no", "The same with the entries of all rooms.", 0, 0),
    OWN(SWITCH, "import", "no",
        "Appends what was exported, from standard input, to the rooms' log: all or nothing.", 0, 0),
    OWN(TEXT, "help", "", "Shows the common options, all of them (--help all), or one (its name).",
        0, 0),
    OWN(SWITCH, "version", "no", "Prints the version.", 0, 0),
#undef GROUP
};
#define OWN_COUNT   (sizeof(own_options) / sizeof(own_options[0]))
#define OWN_IN_FILE 10 /* the first of them; the others are of the command line only */

/* Where chatd listens if nobody says otherwise; the library has no listener of its own accord. */
#define STANDARD_PAGE  "ws://localhost:8080/ws"
#define STANDARD_LINES "tcp://localhost:7000"
static const char *const standard_listen[] = {STANDARD_PAGE, STANDARD_LINES};

int chatd_problem(struct chatd_problem *problem, int status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(problem->text, sizeof(problem->text), format, args);
    va_end(args);
    problem->status = status;
    return -1;
}

/* ----------------------------------------------------------------------------------- the table */

int chatd_settings_new(struct chatd_settings **out)
{
    struct chatd_settings *settings = calloc(1, sizeof(*settings));
    if (!settings)
        return -1;
    struct chathub_option option = {.size = sizeof(option)};
    uint32_t hubs = 0;
    while (chathub_option_at(hubs, &option) == 0)
        hubs++;
    settings->all = calloc(OWN_COUNT + hubs, sizeof(*settings->all));
    if (!settings->all) {
        free(settings);
        return -1;
    }
    for (size_t i = 0; i < OWN_COUNT; i++) {
        settings->all[i].about = own_options[i];
        settings->all[i].own = true;
        settings->all[i].line_only = i >= OWN_IN_FILE;
    }
    for (uint32_t i = 0; i < hubs; i++) {
        settings->all[OWN_COUNT + i].about.size = sizeof(option);
        chathub_option_at(i, &settings->all[OWN_COUNT + i].about);
    }
    settings->count = OWN_COUNT + hubs;
    struct chatd_setting *log = chatd_settings_find(settings, "log");
    if (log && chathub_has("sqlite"))
        log->about.standard = CHATD_DATAFILE_DEFAULT;
    struct chatd_setting *listen = chatd_settings_find(settings, "listen");
    if (listen)
        listen->about.standard = STANDARD_PAGE " " STANDARD_LINES;
    *out = settings;
    return 0;
}

static void drop_values(struct chatd_setting *setting)
{
    for (size_t i = 0; i < setting->count; i++) {
        free(setting->values[i].text);
        free(setting->values[i].where);
    }
    free(setting->values);
    setting->values = NULL;
    setting->count = 0;
}

void chatd_settings_free(struct chatd_settings *settings)
{
    if (!settings)
        return;
    for (size_t i = 0; i < settings->count; i++)
        drop_values(&settings->all[i]);
    free(settings->all);
    free(settings);
}

struct chatd_setting *chatd_settings_find(const struct chatd_settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (strcmp(settings->all[i].about.name, name) == 0)
            return &settings->all[i];
    }
    return NULL;
}

const char *chatd_setting_text(const struct chatd_setting *setting)
{
    const char *text =
        setting->count ? setting->values[setting->count - 1].text : setting->about.standard;
    return text ? text : "";
}

const char *chatd_settings_text(const struct chatd_settings *settings, const char *name)
{
    return chatd_setting_text(chatd_settings_find(settings, name));
}

bool chatd_settings_on(const struct chatd_settings *settings, const char *name)
{
    return strcmp(chatd_settings_text(settings, name), "yes") == 0;
}

bool chatd_settings_by_servers(const struct chatd_settings *settings)
{
    return *chatd_settings_text(settings, "servers") || *chatd_settings_text(settings, "custom");
}

const char *chatd_settings_listen(const struct chatd_settings *settings, size_t index)
{
    const struct chatd_setting *listen = chatd_settings_find(settings, "listen");
    if (listen && listen->count)
        return index < listen->count ? listen->values[index].text : NULL;
    size_t count = sizeof(standard_listen) / sizeof(standard_listen[0]);
    return index < count ? standard_listen[index] : NULL;
}

int chatd_settings_give(struct chatd_setting *setting, enum chatd_source source, const char *text,
                        const char *where, struct chatd_problem *problem)
{
    if (source < setting->source)
        return 0;
    if (source > setting->source || setting->about.type != CHATHUB_OPTION_LIST)
        drop_values(setting);
    setting->source = source;
    struct chatd_value value = {strdup(text), strdup(where)};
    struct chatd_value *values =
        realloc(setting->values, (setting->count + 1) * sizeof(*setting->values));
    if (values)
        setting->values = values;
    if (!values || !value.text || !value.where) {
        free(value.text);
        free(value.where);
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    }
    setting->values[setting->count++] = value;
    return 0;
}

/* ------------------------------------------------------------------------- misspelt names */

#define NAME_MAX_LEN 48

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many letters have to be changed, put in, left out or swapped with their neighbour. */
static size_t distance(const char *a, const char *b)
{
    size_t la = strlen(a), lb = strlen(b);
    size_t rows[3][NAME_MAX_LEN + 1];
    if (la > NAME_MAX_LEN || lb > NAME_MAX_LEN)
        return NAME_MAX_LEN;
    for (size_t j = 0; j <= lb; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t *now = rows[i % 3], *last = rows[(i + 2) % 3], *older = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            now[j] =
                least(least(last[j] + 1, now[j - 1] + 1), last[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], older[j - 2] + 1);
        }
    }
    return rows[la % 3][lb];
}

const char *chatd_settings_nearest(const struct chatd_settings *settings, const char *name,
                                   bool in_file)
{
    const char *best = NULL;
    size_t nearest = least(strlen(name) / 3 + 1, 5) + 1;
    for (size_t i = 0; i < settings->count; i++) {
        const struct chatd_setting *setting = &settings->all[i];
        size_t away = distance(name, setting->about.name);
        if (away < nearest && !(in_file && setting->line_only)) {
            nearest = away;
            best = setting->about.name;
        }
    }
    return best;
}

/* ---------------------------------------------------------------------------------- flags */

static int unknown_flag(const struct chatd_settings *settings, const char *name,
                        struct chatd_problem *problem)
{
    const char *near = chatd_settings_nearest(settings, name, false);
    if (near)
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "there is no option --%s; did you mean --%s?", name, near);
    return chatd_problem(problem, CHATD_EXIT_USAGE,
                         "there is no option --%s; chatd --help all lists what there is", name);
}

/* A flag taken apart. */
struct flag {
    char name[NAME_MAX_LEN + 1];
    const char *value; /* behind `=`, or NULL */
};

static bool split_flag(const char *arg, struct flag *flag)
{
    const char *name = strcmp(arg, "-h") == 0 ? "--help" : arg;
    if (strncmp(name, "--", 2) != 0 || name[2] == '\0')
        return false;
    size_t len = strcspn(name + 2, "=");
    size_t kept = least(len, NAME_MAX_LEN);
    memcpy(flag->name, name + 2, kept);
    flag->name[kept] = '\0';
    flag->value = name[2 + len] == '=' ? name + 2 + len + 1 : NULL;
    return true;
}

/* `--no-NAME` of a switch. */
static struct chatd_setting *find_negated(const struct chatd_settings *settings, const char *name)
{
    if (strncmp(name, "no-", 3) != 0)
        return NULL;
    struct chatd_setting *setting = chatd_settings_find(settings, name + 3);
    return setting && setting->about.type == CHATHUB_OPTION_SWITCH ? setting : NULL;
}

/* Takes the flag at argv[*at], and its value behind it. */
static int take_flag(struct chatd_settings *settings, int argc, char *const *argv, int *at,
                     struct chatd_problem *problem)
{
    struct flag flag;
    if (!split_flag(argv[*at], &flag))
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "\"%s\" is no option; options begin with --, see chatd --help",
                             argv[*at]);
    struct chatd_setting *setting = chatd_settings_find(settings, flag.name);
    const char *value = flag.value;
    if (!setting) {
        setting = find_negated(settings, flag.name);
        if (!setting || value)
            return unknown_flag(settings, flag.name, problem);
        value = "no";
    } else if (!value && setting->about.type == CHATHUB_OPTION_SWITCH) {
        value = "yes";
    } else if (!value && *at + 1 < argc) {
        value = argv[++*at];
    } else if (!value && strcmp(flag.name, "help") != 0) {
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "--%s needs a value, as in --%s=VALUE; see chatd --help %s", flag.name,
                             flag.name, flag.name);
    }
    char where[NAME_MAX_LEN + 3];
    snprintf(where, sizeof(where), "--%s", setting->about.name);
    return chatd_settings_give(setting, CHATD_FLAG, value ? value : "common", where, problem);
}

/* ---------------------------------------------------------------------------- environment */

/* The variable of an option: "log-level" is CHATD_LOG_LEVEL. */
static void variable_name(const char *name, char *out, size_t size)
{
    snprintf(out, size, "CHATD_%s", name);
    for (char *at = out; *at; at++) {
        if (*at == '-')
            *at = '_';
        else if (*at >= 'a' && *at <= 'z')
            *at = (char)(*at - 'a' + 'A');
    }
}

/* The part of a variable behind its `=`, if it is the one of this option. */
static const char *variable_value(const char *variable, const char *option)
{
    char name[NAME_MAX_LEN + 8];
    variable_name(option, name, sizeof(name));
    size_t len = strlen(name);
    return strncmp(variable, name, len) == 0 && variable[len] == '=' ? variable + len + 1 : NULL;
}

/* A list's variable holds its values with blanks between them. */
static int give_words(struct chatd_setting *setting, const char *words, const char *where,
                      struct chatd_problem *problem)
{
    for (const char *at = words + strspn(words, " \t\n"); *at; at += strspn(at, " \t\n")) {
        size_t len = strcspn(at, " \t\n");
        char *word = strndup(at, len);
        if (!word)
            return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
        int result = chatd_settings_give(setting, CHATD_ENV, word, where, problem);
        free(word);
        if (result < 0)
            return result;
        at += len;
    }
    return 0;
}

static int take_variable(struct chatd_settings *settings, const char *variable,
                         struct chatd_problem *problem)
{
    for (size_t i = 0; i < settings->count; i++) {
        struct chatd_setting *setting = &settings->all[i];
        const char *value = variable_value(variable, setting->about.name);
        if (!value || (setting->line_only && strcmp(setting->about.name, "config") != 0))
            continue;
        char where[NAME_MAX_LEN + 8];
        variable_name(setting->about.name, where, sizeof(where));
        if (setting->about.type == CHATHUB_OPTION_LIST)
            return give_words(setting, value, where, problem);
        return chatd_settings_give(setting, CHATD_ENV, value, where, problem);
    }
    return 0;
}

const char *chatd_settings_stranger(const struct chatd_settings *settings, char *const *environment,
                                    size_t *index)
{
    for (; environment[*index]; ++*index) {
        const char *variable = environment[*index];
        bool known = strncmp(variable, "CHATD_", 6) != 0;
        for (size_t i = 0; i < settings->count && !known; i++)
            known = variable_value(variable, settings->all[i].about.name) != NULL;
        if (!known) {
            ++*index;
            return variable;
        }
    }
    return NULL;
}

/* --------------------------------------------------------------------------- all together */

static int check_word(const struct chatd_settings *settings, const char *name,
                      const char *const *words, const char *list, struct chatd_problem *problem)
{
    const struct chatd_setting *setting = chatd_settings_find(settings, name);
    const char *text = chatd_setting_text(setting);
    for (size_t i = 0; words[i]; i++) {
        if (strcmp(text, words[i]) == 0)
            return 0;
    }
    return chatd_problem(problem, CHATD_EXIT_USAGE, "%s: \"%s\" is not possible; it is one of %s",
                         setting->values[0].where, text, list);
}

static int check_own(const struct chatd_settings *settings, struct chatd_problem *problem)
{
    static const char *const levels[] = {"debug", "info", "warning", "error", NULL};
    static const char *const formats[] = {"logfmt", "json", NULL};
    static const char *const switches[] = {"yes", "no", NULL};
    if (check_word(settings, "log-level", levels, "debug, info, warning, error", problem) < 0 ||
        check_word(settings, "log-format", formats, "logfmt, json", problem) < 0)
        return -1;
    for (size_t i = 0; i < settings->count; i++) {
        const struct chatd_setting *setting = &settings->all[i];
        if (setting->own && setting->about.type == CHATHUB_OPTION_SWITCH &&
            check_word(settings, setting->about.name, switches, "yes, no", problem) < 0)
            return -1;
    }
    return 0;
}

int chatd_settings_load(struct chatd_settings *settings, int argc, char *const *argv,
                        char *const *environment, struct chatd_problem *problem)
{
    for (int i = 1; i < argc; i++) {
        if (take_flag(settings, argc, argv, &i, problem) < 0)
            return -1;
    }
    if (chatd_settings_find(settings, "help")->count)
        return 0;
    for (size_t i = 0; environment[i]; i++) {
        if (take_variable(settings, environment[i], problem) < 0)
            return -1;
    }
    const char *path = chatd_settings_text(settings, "config");
    if (*path && chatd_file_read(settings, path, problem) < 0)
        return -1;
    if (check_own(settings, problem) < 0)
        return -1;
    return chatd_datafile_default(settings, problem);
}

/* What the operator wrote is wrong, or the machine did not go along. */
static int status_of(int error)
{
    switch (error) {
    case CHATHUB_EINSECURE:
    case CHATHUB_EVALUE:
    case CHATHUB_EOPTION:
    case CHATHUB_ENAME:
    case CHATHUB_ERESERVED:
    case CHATHUB_EROOMNAME:
        return CHATD_EXIT_USAGE;
    default:
        return CHATD_EXIT_OTHER;
    }
}

/* What is wrong, without the "option NAME: " that the place says already. */
static const char *without_name(const char *problem, const char *name)
{
    char prefix[NAME_MAX_LEN + 16];
    int len = snprintf(prefix, sizeof(prefix), "option %s: ", name);
    return strncmp(problem, prefix, (size_t)len) == 0 ? problem + len : problem;
}

int chatd_hub_problem(const struct chatd_settings *settings, const struct chathub *hub, int error,
                      struct chatd_problem *problem)
{
    const char *text = chathub_problem(hub);
    for (size_t i = 0; i < settings->count; i++) {
        const struct chatd_setting *setting = &settings->all[i];
        const char *rest = without_name(text, setting->about.name);
        if (rest != text && !setting->own && setting->count)
            return chatd_problem(problem, status_of(error), "%s: %s",
                                 setting->values[setting->count - 1].where, rest);
    }
    bool standard = chatd_settings_find(settings, "log")->source == CHATD_DEFAULT &&
                    (error == CHATHUB_EIO || error == CHATHUB_EINUSE) &&
                    strncmp(text, "log sqlite:", 11) == 0;
    return chatd_problem(problem, status_of(error), "%s%s", text,
                         standard ? " (this is where it is by default; --log says otherwise)" : "");
}

static int apply_setting(const struct chatd_setting *setting, struct chathub *hub,
                         struct chatd_problem *problem)
{
    for (size_t i = 0; i < setting->count; i++) {
        const struct chatd_value *value = &setting->values[i];
        if (chathub_set(hub, setting->about.name, value->text) < 0)
            return chatd_problem(problem, CHATD_EXIT_USAGE, "%s: %s", value->where,
                                 without_name(chathub_problem(hub), setting->about.name));
    }
    return 0;
}

int chatd_settings_apply(const struct chatd_settings *settings, struct chathub *hub,
                         struct chatd_problem *problem)
{
    for (size_t i = 0; i < settings->count; i++) {
        const struct chatd_setting *setting = &settings->all[i];
        if (!setting->own && setting->about.type != CHATHUB_OPTION_LIST &&
            apply_setting(setting, hub, problem) < 0)
            return -1;
    }
    return 0;
}

int chatd_settings_apply_listen(const struct chatd_settings *settings, struct chathub *hub,
                                struct chatd_problem *problem)
{
    const struct chatd_setting *listen = chatd_settings_find(settings, "listen");
    if (listen->count)
        return apply_setting(listen, hub, problem);
    for (size_t i = 0; chatd_settings_listen(settings, i); i++) {
        if (chathub_listen(hub, chatd_settings_listen(settings, i)) < 0)
            return chatd_problem(problem, CHATD_EXIT_OTHER, "%s", chathub_problem(hub));
    }
    return 0;
}

/* ----------------------------------------------------------------------------- printing them */

/* As a YAML double-quoted scalar, in which JSON's escapes hold too. */
static void print_quoted(const char *text)
{
    putchar('"');
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\')
            printf("\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            printf("\\x%02x", c);
        else
            putchar(c);
    }
    puts("\"");
}

static void print_value(const struct chatd_setting *setting, const char *text)
{
    printf("%s: ", setting->about.name);
    if (setting->about.type == CHATHUB_OPTION_TEXT)
        print_quoted(text);
    else
        puts(text);
}

char *chatd_hub_text(const struct chathub *hub, const char *name)
{
    char first[1];
    int len = chathub_get(hub, name, first, sizeof(first));
    if (len < 0)
        return strdup("");
    char *text = malloc((size_t)len + 1);
    if (text)
        chathub_get(hub, name, text, (size_t)len + 1);
    return text;
}

/* What --servers and --custom say by themselves: beside them it would be a mistake. */
static bool is_said_by_servers(const struct chatd_settings *settings, const char *name)
{
    return chatd_settings_by_servers(settings) &&
           (strcmp(name, "listen") == 0 || strcmp(name, "name") == 0);
}

static int print_setting(const struct chatd_settings *settings, const struct chatd_setting *setting,
                         const struct chathub *hub)
{
    if (is_said_by_servers(settings, setting->about.name))
        return 0;
    if (setting->about.type == CHATHUB_OPTION_LIST) {
        printf("%s:\n", setting->about.name);
        for (size_t i = 0; chatd_settings_listen(settings, i); i++) {
            printf("  - ");
            print_quoted(chatd_settings_listen(settings, i));
        }
        return 0;
    }
    /* A log that is a folder stays one: each server has its own file there. */
    bool log = strcmp(setting->about.name, "log") == 0;
    if (setting->own) {
        print_value(setting, chatd_setting_text(setting));
        return 0;
    }
    char *text = log ? chatd_datafile_shown(chatd_setting_text(setting))
                     : chatd_hub_text(hub, setting->about.name);
    if (!text)
        return -1;
    if (log && strcmp(text, chatd_setting_text(setting)) != 0)
        puts("# instead of *** there is a user, password or token, which is not shown");
    print_value(setting, text);
    free(text);
    return 0;
}

int chatd_settings_print(const struct chatd_settings *settings, const struct chathub *hub)
{
    const char *group = "";
    printf("# Settings of chatd %s, usable by --config\n", chathub_version());
    for (size_t i = 0; i < settings->count; i++) {
        const struct chatd_setting *setting = &settings->all[i];
        if (setting->line_only)
            continue;
        if (strcmp(group, setting->about.group) != 0)
            printf("\n# %s\n", setting->about.group);
        group = setting->about.group;
        if (print_setting(settings, setting, hub) < 0)
            return -1;
    }
    return 0;
}
