/* The log contract, kept by the log in memory, and what is its own. */
#include <stdlib.h>

#include "chathub.h"
#include "log.h"
#include "log/log.h"

static struct chi_log *make_memory(const struct chi_settings *settings, struct chi_env env)
{
    struct chi_log *log;
    return chi_log_memory_new(settings, env, &log) ? NULL : log;
}

int main(void)
{
    static const struct log_under_test memory = {.name = "log/memory", .make = make_memory};
    SRunner *runner = srunner_create(log_suite(&memory));
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
