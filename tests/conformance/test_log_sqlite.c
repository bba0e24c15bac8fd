/* The log contract, kept by the log in an SQLite file. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "chathub.h"
#include "log.h"
#include "log/log.h"

static char folder[64];
static char path[96];

static struct chi_log *make_sqlite(const struct chi_settings *settings, struct chi_env env)
{
    struct chi_log *log;
    char problem[512];
    if (!chi_log_sqlite_new(settings, env, path, &log, problem, sizeof(problem)))
        return log;
    fprintf(stderr, "%s\n", problem);
    return NULL;
}

static void clean(void)
{
    static const char *const ends[] = {"", "-wal", "-shm", "-lock"};
    char file[128];
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        snprintf(file, sizeof(file), "%s%s", path, ends[i]);
        unlink(file);
    }
}

int main(void)
{
    static const struct log_under_test sqlite = {
        .name = "log/sqlite", .make = make_sqlite, .clean = clean, .lasts = true};
    snprintf(folder, sizeof(folder), "/tmp/chathub-log-XXXXXX");
    if (!mkdtemp(folder))
        return EXIT_FAILURE;
    snprintf(path, sizeof(path), "%s/log.db", folder);
    SRunner *runner = srunner_create(log_suite(&sqlite));
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    clean();
    rmdir(folder);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
