/* A host that was built in some other way than by our meson.build: starts a hub, lets a client in
 * the process hear its own post, stops it, and prints the version. Also compiled as C++. */
#include <stdio.h>
#include <string.h>

#include <chathub.h>

static int heard;

static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    (void)arg;
    if (event->type != CHATHUB_EVENT_MESSAGE || strcmp(event->content, "hi") != 0)
        return;
    heard = 1;
    chathub_stop(hub, NULL, NULL);
}

int main(void)
{
    struct chathub *hub;
    uint64_t client;
    if (chathub_new(&hub) < 0)
        return 1;
    if (chathub_listen(hub, "tcp://127.0.0.1:0") < 0 || chathub_start(hub, NULL) < 0 ||
        chathub_client(hub, "host", on_event, NULL, &client) < 0 ||
        chathub_post(hub, client, NULL, "hi", CHATHUB_NUL, NULL) < 0 || chathub_run(hub) < 0) {
        fprintf(stderr, "host: %s\n", chathub_problem(hub));
        return 1;
    }
    chathub_free(hub);
    puts(chathub_version());
    return !heard;
}
