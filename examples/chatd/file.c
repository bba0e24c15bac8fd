/* The settings file: one YAML mapping of option names to values, `listen` to a sequence of them.
 * Read by libyaml's events, which know line and column of everything. */
#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifndef CHATD_YAML

int chatd_file_read(struct chatd_settings *settings, const char *path,
                    struct chatd_problem *problem)
{
    return chatd_problem(problem, CHATD_EXIT_USAGE,
                         "%s: this chatd was built without libyaml and reads no files; use flags "
                         "or CHATD_ variables",
                         chatd_settings_find(settings, "config")->count ? "--config" : path);
}

#else

#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    yaml_event_t event;              /* the one being looked at; parsed anew by `next` */
    const char *path;                /* of the file */
    struct chatd_settings *settings; /* to fill */
    bool *given;                     /* owned: per setting, whether the file has it already */
    struct chatd_problem *problem;
};

/* Writes "file:line:column" of the event at hand. */
static void where_is(const struct reader *r, yaml_mark_t mark, char *out, size_t size)
{
    snprintf(out, size, "%s:%zu:%zu", r->path, mark.line + 1, mark.column + 1);
}

static int wrong(const struct reader *r, const char *what)
{
    char where[512];
    where_is(r, r->event.start_mark, where, sizeof(where));
    return chatd_problem(r->problem, CHATD_EXIT_USAGE, "%s: %s", where, what);
}

/* Goes on to the next event. */
static int next(struct reader *r)
{
    yaml_event_delete(&r->event);
    if (yaml_parser_parse(&r->parser, &r->event)) {
        if (r->event.type == YAML_ALIAS_EVENT)
            return wrong(r, "aliases (*name) are not used here; write the value");
        return 0;
    }
    char where[512];
    where_is(r, r->parser.problem_mark, where, sizeof(where));
    return chatd_problem(r->problem, CHATD_EXIT_USAGE, "%s: this is no valid YAML: %s", where,
                         r->parser.problem ? r->parser.problem : "out of memory");
}

static const char *scalar(const struct reader *r)
{
    return (const char *)r->event.data.scalar.value;
}

/* Gives the scalar at hand. */
static int give_scalar(struct reader *r, struct chatd_setting *setting)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return wrong(r, "a single value is wanted here");
    const char *text = scalar(r);
    if (strlen(text) != r->event.data.scalar.length)
        return wrong(r, "the value holds a NUL character");
    char where[512];
    where_is(r, r->event.start_mark, where, sizeof(where));
    return chatd_settings_give(setting, CHATD_FILE, text, where, r->problem);
}

static int give_value(struct reader *r, struct chatd_setting *setting)
{
    if (next(r) < 0)
        return -1;
    if (setting->about.type != CHATHUB_OPTION_LIST || r->event.type != YAML_SEQUENCE_START_EVENT)
        return give_scalar(r, setting);
    while (next(r) == 0) {
        if (r->event.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        if (give_scalar(r, setting) < 0)
            return -1;
    }
    return -1;
}

static int unknown_key(const struct reader *r)
{
    char what[256];
    const char *near = chatd_settings_nearest(r->settings, scalar(r), true);
    if (near)
        snprintf(what, sizeof(what), "there is no option \"%.64s\"; did you mean \"%s\"?",
                 scalar(r), near);
    else
        snprintf(what, sizeof(what),
                 "there is no option \"%.64s\"; chatd --help all lists what there is", scalar(r));
    return wrong(r, what);
}

/* The key at hand and the value behind it. */
static int read_pair(struct reader *r)
{
    if (r->event.type != YAML_SCALAR_EVENT)
        return wrong(r, "the name of an option is wanted here");
    struct chatd_setting *setting = chatd_settings_find(r->settings, scalar(r));
    if (!setting)
        return unknown_key(r);
    if (setting->line_only)
        return wrong(r, "this option belongs on the command line");
    size_t index = (size_t)(setting - r->settings->all);
    if (r->given[index])
        return wrong(r, "this option is here twice; keep one");
    r->given[index] = true;
    return give_value(r, setting);
}

static int read_mapping(struct reader *r)
{
    while (next(r) == 0) {
        if (r->event.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (read_pair(r) < 0)
            return -1;
    }
    return -1;
}

/* An empty file and an empty document are as good as none. */
static int read_document(struct reader *r)
{
    bool seen = false;
    while (next(r) == 0) {
        switch ((int)r->event.type) {
        case YAML_STREAM_END_EVENT:
            return 0;
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (seen)
                return wrong(r, "a second document begins here; one is enough");
            seen = true;
            break;
        case YAML_MAPPING_START_EVENT:
            if (read_mapping(r) < 0)
                return -1;
            break;
        case YAML_SCALAR_EVENT:
            if (r->event.data.scalar.length == 0)
                break;
            return wrong(r, "the file is to hold lines of the form \"option: value\"");
        default:
            return wrong(r, "the file is to hold lines of the form \"option: value\"");
        }
    }
    return -1;
}

int chatd_file_read(struct chatd_settings *settings, const char *path,
                    struct chatd_problem *problem)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "%s: cannot be read: %s", path,
                             strerror(errno));
    struct reader r = {.path = path, .settings = settings, .problem = problem};
    r.given = calloc(settings->count, sizeof(*r.given));
    if (!r.given || !yaml_parser_initialize(&r.parser)) {
        free(r.given);
        fclose(file);
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    }
    yaml_parser_set_input_file(&r.parser, file);
    int result = read_document(&r);
    yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    free(r.given);
    fclose(file);
    return result;
}

#endif
