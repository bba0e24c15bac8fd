#include "user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int chatd_user_find(const struct chatd_settings *settings, struct chatd_user *user,
                    struct chatd_problem *problem)
{
    const struct chatd_setting *setting = chatd_settings_find(settings, "user");
    const char *name = chatd_setting_text(setting);
    *user = (struct chatd_user){0};
    if (!*name)
        return 0;
    const char *where = setting->values[setting->count - 1].where;
    const struct passwd *entry = getpwnam(name);
    if (!entry)
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "%s: there is no user \"%.64s\" on this machine; make it first, for "
                             "instance by adduser --system, or name another",
                             where, name);
    if (entry->pw_uid == 0)
        return chatd_problem(problem, CHATD_EXIT_USAGE,
                             "%s: \"%.64s\" is root itself; name a user without rights", where,
                             name);
    *user = (struct chatd_user){strdup(name), entry->pw_uid, entry->pw_gid};
    return user->name ? 0 : chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
}

int chatd_user_allowed(const struct chatd_user *user, struct chatd_problem *problem)
{
    if (!user->name || geteuid() == 0)
        return 0;
    return chatd_problem(problem, CHATD_EXIT_USAGE,
                         "--user: only root can become another user, and this is not root; leave "
                         "it out, or start chatd as root");
}

/* Whether nothing of root is left, nor a way back to it. */
static bool is_final(const struct chatd_user *user)
{
    uid_t uids[3];
    gid_t gids[3];
    if (getresuid(&uids[0], &uids[1], &uids[2]) < 0 || getresgid(&gids[0], &gids[1], &gids[2]) < 0)
        return false;
    for (int i = 0; i < 3; i++) {
        if (uids[i] != user->uid || gids[i] != user->gid)
            return false;
    }
    return setuid(0) < 0 && seteuid(0) < 0;
}

int chatd_user_become(const struct chatd_user *user, struct chatd_problem *problem)
{
    if (!user->name)
        return 0;
    if (initgroups(user->name, user->gid) < 0 || setresgid(user->gid, user->gid, user->gid) < 0 ||
        setresuid(user->uid, user->uid, user->uid) < 0)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "--user: cannot become %.64s: %s",
                             user->name, strerror(errno));
    if (is_final(user))
        return 0;
    return chatd_problem(problem, CHATD_EXIT_OTHER,
                         "--user: the system let chatd become %.64s, but not for good", user->name);
}

void chatd_user_free(struct chatd_user *user)
{
    free(user->name);
    user->name = NULL;
}
