/* The log contract, kept by the log in a JetStream stream of a real nats-server; and what two nodes on
 * one stream promise each other. */
#include "../unit/nats_server.h"

#include <sched.h>
#include <stdlib.h>

#include "log.h"
#include "log/log.h"

static struct nats_server server;
static unsigned number; /* of the stream: `clean` leaves one behind and goes on to the next */
static struct chi_bus *last_bus;

static struct chi_log *make_jetstream(const struct chi_settings *settings, struct chi_env env)
{
    struct chi_log *log;
    char problem[512], url[256];
    if (!server.pid)
        nats_server_new(&server, true, NULL);
    snprintf(url, sizeof(url), "%s/t%u", server.url, number);
    if (!chi_log_jetstream_new(settings, env, url, &log, &last_bus, problem, sizeof(problem)))
        return log;
    fprintf(stderr, "%s\n", problem);
    return NULL;
}

/* All pages come from the server. */
static struct chi_log *make_without_memory(const struct chi_settings *settings, struct chi_env env)
{
    static struct chi_settings without;
    without = *settings;
    without.window_bytes = 0;
    return make_jetstream(&without, env);
}

static void clean(void)
{
    number++;
}

static int run(Suite *suite)
{
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed;
}

int main(void)
{
    static const struct log_under_test jetstream = {
        .name = "log/jetstream",
        .make = make_jetstream,
        .clean = clean,
        .lasts = true,
        .own_clock = true,
        .fixed = true,
        .no_room_bytes = true,
        .keeps_epoch = true,
    };
    struct log_under_test without_memory = jetstream;
    without_memory.name = "log/jetstream, nothing in memory";
    without_memory.make = make_without_memory;
    if (!nats_server_there()) {
        printf("no nats-server; install it with: apt-get install nats-server\n");
        return 77; /* meson: skipped */
    }
    int failed = run(log_suite(&jetstream)) + run(log_suite(&without_memory));
    nats_server_free(&server);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
