/* The log in a JetStream stream. */
#include <stdio.h>

#include "chathub.h"
#include "log/log.h"

int chi_log_jetstream_new(const struct chi_settings *settings, struct chi_env env,
                          const char *servers, struct chi_log **out, struct chi_bus **bus,
                          char *problem, size_t size)
{
    (void)settings, (void)env, (void)servers, (void)out, (void)bus;
    snprintf(problem, size,
             "option log: this build has no NATS, which jetstream:… needs; build with "
             "-Dnats=enabled, or use --log sqlite:PATH");
    return CHATHUB_EFEATURE;
}
