/* Where the rooms' log is: chatd's own default for it, whose file it is after root was given up, and
 * which file or stream is whose where there are several servers. */
#ifndef CHATD_DATAFILE_H
#define CHATD_DATAFILE_H

#include "settings.h"
#include "user.h"

/* What `--help` calls the default. */
#define CHATD_DATAFILE_DEFAULT "sqlite:chatd-data/NAME-PORT.db"

/* Sets the option `log` where nobody did: sqlite:chatd-data/NAME-PORT.db, with the hub's name and
 * the port of the first TCP listener (without one, the first socket's file name), so that servers
 * started in one folder do not meet; with --servers or --custom the folder sqlite:chatd-data/.
 * Without SQLite it stays as it is. 0, or -1 with *problem. */
int chatd_datafile_default(struct chatd_settings *settings, struct chatd_problem *problem);

/* The path in a value of the option `log`; NULL: it is not in a file. */
const char *chatd_datafile_path(const char *log);
/* Whether that is a folder (sqlite:FOLDER/), in which each server has its own file. */
bool chatd_datafile_is_folder(const char *log);

/* Whether that is one file or one stream, so that several servers cannot each have it. */
bool chatd_datafile_is_one(const char *log);
/* The same without user, password and token (as ***). free() it; NULL: no memory. */
char *chatd_datafile_shown(const char *log);

/* The option `log` of the server of this name that listens at `url` (NULL: where the option listen
 * says): as the settings have it, a folder as sqlite:FOLDER/NAME-PORT.db; with --servers or --custom
 * jetstream:SERVERS, which names no stream, as jetstream:SERVERS/NAME. free() it; NULL: no memory. */
char *chatd_datafile_log(const struct chatd_settings *settings, const char *name, const char *url);
/* The same for a server that is made while others run: where these have their files or streams, too,
 * if one of them was told a file or stream for itself alone. */
char *chatd_datafile_beside(const struct chatd_settings *settings, const char *name,
                            const char *url);

/* A log's file that is going to be opened as root and used as somebody else. */
struct chatd_datafile {
    char *path;   /* owned; NULL: there is no file, or nobody else */
    size_t there; /* bytes of `path` that name folders which were there before */
};

/* Before anything is started: what one server makes is there for the next. 0, or -1 with
 * *problem. */
int chatd_datafile_look(struct chatd_datafile *file, const char *log, const struct chatd_user *user,
                        struct chatd_problem *problem);
/* After the start, as root, and after one that failed, too: gives that user the file, what is beside
 * it, and the folders that were made. Leaves alone what is not root's, is no plain file, is a link,
 * or has other links: in a folder of others these could lead anywhere. */
void chatd_datafile_hand_over(const struct chatd_datafile *file, const struct chatd_user *user);
/* As that user: whether the log can be opened again. 0, or -1 with *problem. */
int chatd_datafile_usable(const struct chatd_datafile *file, const struct chatd_user *user,
                          struct chatd_problem *problem);
void chatd_datafile_free(struct chatd_datafile *file);

#endif
