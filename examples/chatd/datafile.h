/* Where the rooms' log is: chatd's own default for it, and whose file it is after root was given
 * up. */
#ifndef CHATD_DATAFILE_H
#define CHATD_DATAFILE_H

#include "settings.h"
#include "user.h"

/* What `--help` calls the default. */
#define CHATD_DATAFILE_DEFAULT "sqlite:chatd-data/NAME-PORT.db"

/* Sets the option `log` where nobody did: sqlite:chatd-data/NAME-PORT.db, with the hub's name and
 * the port of the first TCP listener (without one, the first socket's file name), so that servers
 * started in one folder do not meet. Without SQLite it stays as it is. 0, or -1 with *problem. */
int chatd_datafile_default(struct chatd_settings *settings, struct chatd_problem *problem);

/* The file's path in a value of the option `log`; NULL: it is not in a file. */
const char *chatd_datafile_path(const char *log);

/* A log's file that is going to be opened as root and used as somebody else. */
struct chatd_datafile {
    char *path;   /* owned; NULL: there is no file, or nobody else */
    size_t there; /* bytes of `path` that name folders which were there before */
};

/* Before the start. 0, or -1 with *problem. */
int chatd_datafile_look(struct chatd_datafile *file, const char *log, const struct chatd_user *user,
                        struct chatd_problem *problem);
/* After it, as root: gives that user the file, what is beside it, and the folders that were made.
 * Leaves alone what is not root's, is no plain file, is a link, or has other links: in a folder of
 * others these could lead anywhere. */
void chatd_datafile_hand_over(const struct chatd_datafile *file, const struct chatd_user *user);
/* As that user: whether the log can be opened again. 0, or -1 with *problem. */
int chatd_datafile_usable(const struct chatd_datafile *file, const struct chatd_user *user,
                          struct chatd_problem *problem);
void chatd_datafile_free(struct chatd_datafile *file);

#endif
