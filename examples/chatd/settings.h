/* What chatd was told, by flags, CHATD_… variables and a YAML file: one table of the hub's options
 * and chatd's own.
 *
 * The hub's options come from chathub_option_at, so that each exists as a flag, as a variable
 * and in the file, and none has to be repeated here. Whoever is more specific wins: flags, then
 * environment, then file, then defaults. */
#ifndef CHATD_SETTINGS_H
#define CHATD_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#include "chathub.h"

enum chatd_source { CHATD_DEFAULT, CHATD_FILE, CHATD_ENV, CHATD_FLAG };

#define CHATD_EXIT_USAGE 2 /* what the operator wrote is wrong */
#define CHATD_EXIT_OTHER 1 /* the system did not go along */

/* What went wrong: one line for a person, and what to exit with. */
struct chatd_problem {
    int status;
    char text[768];
};

struct chatd_value {
    char *text;  /* owned */
    char *where; /* owned: "--name", "CHATD_NAME" or "file:line:column", to begin an error with */
};

struct chatd_setting {
    struct chathub_option about;
    bool own;                   /* chatd's, unknown to the hub */
    bool line_only;             /* only on the command line */
    enum chatd_source source;   /* of the values */
    struct chatd_value *values; /* owned; one, or any number for a list; none while default */
    size_t count;               /* of values */
};

struct chatd_settings {
    struct chatd_setting *all; /* owned; chatd's own first, then the hub's in its order */
    size_t count;              /* of all */
};

/* A table with everything at its default. 0, or -1 if there is no memory. */
int chatd_settings_new(struct chatd_settings **out);
void chatd_settings_free(struct chatd_settings *settings); /* NULL is allowed */

/* Reads flags, the environment and the file that they name, and sets `log` where none of them did
 * (datafile.h). 0, or -1 with *problem. Values of the hub's options are judged by
 * chatd_settings_apply. */
int chatd_settings_load(struct chatd_settings *settings, int argc, char *const *argv,
                        char *const *environment, struct chatd_problem *problem);

/* Sets every option that was given on a hub, but where it listens. 0, or -1 with *problem. */
int chatd_settings_apply(const struct chatd_settings *settings, struct chathub *hub,
                         struct chatd_problem *problem);
/* The listeners that were given, or chatd's two where none was. 0, or -1 with *problem. */
int chatd_settings_apply_listen(const struct chatd_settings *settings, struct chathub *hub,
                                struct chatd_problem *problem);

/* Fills *problem with what the hub says about its last call, which answered `error`, and with where
 * the option was given that it is about. Answers -1. */
int chatd_hub_problem(const struct chatd_settings *settings, const struct chathub *hub, int error,
                      struct chatd_problem *problem);

/* By name; NULL if there is none. */
struct chatd_setting *chatd_settings_find(const struct chatd_settings *settings, const char *name);
/* The text in effect of an option that is no list: as given, else its default. Never NULL. */
const char *chatd_setting_text(const struct chatd_setting *setting);
/* The same for one of chatd's own, which exists. */
const char *chatd_settings_text(const struct chatd_settings *settings, const char *name);
bool chatd_settings_on(const struct chatd_settings *settings, const char *name);

/* Whether --servers or --custom say which servers there are, instead of --listen and --name. */
bool chatd_settings_by_servers(const struct chatd_settings *settings);

/* The URLs to listen at: number `index`, or NULL behind the last. */
const char *chatd_settings_listen(const struct chatd_settings *settings, size_t index);

/* Gives a value, unless a more specific source has given one; lists gather what one source
 * gives. 0, or -1 with *problem if there is no memory. */
int chatd_settings_give(struct chatd_setting *setting, enum chatd_source source, const char *text,
                        const char *where, struct chatd_problem *problem);

/* The known name nearest to a misspelt one, or NULL where none is near. `in_file`: only what a
 * file may hold. */
const char *chatd_settings_nearest(const struct chatd_settings *settings, const char *name,
                                   bool in_file);

/* Names, one by one, the CHATD_… variables that mean nothing: the next at or after *index, which
 * moves behind it; NULL at the end. They are no error, since others (container managers) make
 * variables by the service's name. */
const char *chatd_settings_stranger(const struct chatd_settings *settings, char *const *environment,
                                    size_t *index);

/* The text that a hub has for one of its options; free() it. NULL if there is no memory. */
char *chatd_hub_text(const struct chathub *hub, const char *name);

/* Writes the settings in effect as a file that --config takes; `hub` has them applied. 0, or -1
 * if there is no memory. */
int chatd_settings_print(const struct chatd_settings *settings, const struct chathub *hub);

/* Fills *problem and answers -1. */
int chatd_problem(struct chatd_problem *problem, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Reads the YAML file (file.c). 0, or -1 with *problem. */
int chatd_file_read(struct chatd_settings *settings, const char *path,
                    struct chatd_problem *problem);

/* Prints the common options on one screen, all of them (`what` is "all"), or one (its name). 0,
 * or -1 with *problem (help.c). */
int chatd_help(const struct chatd_settings *settings, const char *what,
               struct chatd_problem *problem);

#endif
