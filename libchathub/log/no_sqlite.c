/* A build without SQLite. */
#include <stdio.h>

#include "chathub.h"
#include "log/log.h"

int chi_log_sqlite_new(const struct chi_settings *settings, struct chi_env env, const char *path,
                       struct chi_log **out, char *problem, size_t size)
{
    (void)settings, (void)env, (void)out;
    snprintf(problem, size,
             "option log: sqlite:%s: this build has no SQLite; build with -Dsqlite=enabled, or use "
             "--log memory",
             path);
    return CHATHUB_EFEATURE;
}
