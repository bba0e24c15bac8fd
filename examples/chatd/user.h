/* Giving up root: chatd may be started as root, for low ports, and goes on as somebody else. */
#ifndef CHATD_USER_H
#define CHATD_USER_H

#include <stdbool.h>
#include <sys/types.h>

#include "settings.h"

/* Whom to become. */
struct chatd_user {
    char *name; /* owned; NULL: nobody else */
    uid_t uid;
    gid_t gid;
};

/* Looks up the one that --user names. 0, or -1 with *problem. */
int chatd_user_find(const struct chatd_settings *settings, struct chatd_user *user,
                    struct chatd_problem *problem);

/* Whether this process may become somebody else; 0 too where nobody was named. -1 with
 * *problem. */
int chatd_user_allowed(const struct chatd_user *user, struct chatd_problem *problem);

/* Becomes that one on all threads, with its groups alone and no way back. Nothing where nobody
 * was named. 0, or -1 with *problem; the process then has to end. */
int chatd_user_become(const struct chatd_user *user, struct chatd_problem *problem);

void chatd_user_free(struct chatd_user *user);

#endif
