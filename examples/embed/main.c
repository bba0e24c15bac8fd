/* embed: a program with a libuv loop gets a chat and a bot in it. nc localhost 7000, then: ping */
#include <stdio.h>
#include <string.h>
#include <uv.h>
#include <chathub.h>

static void on_event(struct chathub *hub, const struct chathub_event *event, void *arg)
{
    (void)arg;
    char answer[300];
    if (event->type != CHATHUB_EVENT_MESSAGE || strcmp(event->content, "ping") != 0)
        return;
    snprintf(answer, sizeof(answer), "pong, %.256s", event->sender);
    chathub_post(hub, event->client, event->room, answer, CHATHUB_NUL, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)number;
    chathub_stop(handle->data, NULL, NULL); /* the hub takes its handles off the loop … */
    uv_close((uv_handle_t *)handle, NULL);  /* … and this is ours */
}

int main(int argc, char **argv)
{
    struct chathub *hub;
    uint64_t bot;
    uv_signal_t stop;
    if (chathub_new(&hub) < 0 ||
        chathub_listen(hub, argc > 1 ? argv[1] : "tcp://localhost:7000") < 0 ||
        chathub_start(hub, uv_default_loop()) < 0 ||
        chathub_client(hub, "bot", on_event, NULL, &bot) < 0 ||
        chathub_join(hub, bot, NULL, CHATHUB_START_NOW, 0) < 0)
        return fprintf(stderr, "embed: %s\n", chathub_problem(hub)), 1;
    stop.data = hub;
    uv_signal_init(uv_default_loop(), &stop);
    uv_signal_start(&stop, on_signal, SIGINT);
    uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    chathub_free(hub);
}
