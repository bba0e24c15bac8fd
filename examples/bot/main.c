/* bot: a client in the hub's own process that answers commands. It is a full participant: it has a
 * name, is a member of the room, and gets and posts entries like anybody.
 *
 *     bot [URL]      default: tcp://localhost:7000
 *
 * Try it: nc localhost 7000, then type !time, !me or !help. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <chathub.h>

static struct chathub *hub;
static volatile sig_atomic_t asked_to_stop;
static uint64_t bot;
static char own_id[64];          /* what others see as our sender_id */
static unsigned long unanswered; /* commands since the last answer that there was no room for */

static int failed(int error)
{
    const char *problem = hub ? chathub_problem(hub) : "";
    fprintf(stderr, "bot: %s\n", *problem ? problem : chathub_strerror(error));
    chathub_free(hub);
    return 1;
}

/* A client may have 64 requests waiting. Beyond that the answer is CHATHUB_EAGAIN: nothing was
 * taken, and later, when acks have come, there is room again. Who would post what must not be
 * missed keeps it until then; a bot keeps count, and says so. */
static int say(const char *room, const char *text)
{
    int error = chathub_post(hub, bot, room, text, CHATHUB_NUL, NULL);
    if (error == CHATHUB_EAGAIN)
        unanswered++;
    else if (error < 0)
        fprintf(stderr, "bot: %s\n", chathub_problem(hub));
    return error;
}

/* A post of ours was committed, so there is room again. */
static void on_ack(const char *room)
{
    char text[80];
    unsigned long count = unanswered;
    unanswered = 0;
    snprintf(text, sizeof(text), "too much at once: %lu commands were not answered", count);
    if (count && say(room, text) < 0)
        unanswered = count;
}

static void on_command(const struct chathub_event *event)
{
    char text[160];
    const char *command = event->content;
    if (strcmp(command, "!time") == 0) {
        time_t now = time(NULL);
        strftime(text, sizeof(text), "it is %H:%M:%S (UTC)", gmtime(&now));
    } else if (strcmp(command, "!me") == 0) {
        snprintf(text, sizeof(text), "you are %s, by the id %s", event->sender, event->sender_id);
    } else {
        snprintf(text, sizeof(text), "%s, I know !time, !me and !help", event->sender);
    }
    say(event->room, text);
}

/* All that happens to the bot comes here, from the hub's loop. */
static void on_event(struct chathub *of, const struct chathub_event *event, void *arg)
{
    (void)of;
    (void)arg;
    switch (event->type) {
    case CHATHUB_EVENT_WELCOME:
        snprintf(own_id, sizeof(own_id), "%s", event->sender_id);
        break;
    case CHATHUB_EVENT_MESSAGE:
        /* Our own posts come back like all entries. Ids tell who it was; names may change hands. */
        if (event->content[0] == '!' && strcmp(event->sender_id, own_id) != 0)
            on_command(event);
        break;
    case CHATHUB_EVENT_ACK:
        on_ack(event->room);
        break;
    case CHATHUB_EVENT_ERROR:
        fprintf(stderr, "bot: %s\n", event->message);
        break;
    default:
        break;
    }
}

static void on_signal(int number)
{
    (void)number;
    asked_to_stop = 1;
    chathub_wake(hub);
}

static void on_wake(struct chathub *woken, void *arg)
{
    (void)arg;
    if (asked_to_stop)
        chathub_stop(woken, NULL, NULL);
}

int main(int argc, char **argv)
{
    char url[256];
    int error = chathub_new(&hub);
    if (error == 0)
        error = chathub_listen(hub, argc > 1 ? argv[1] : "tcp://localhost:7000");
    if (error == 0)
        error = chathub_on_wake(hub, on_wake, NULL);
    if (error == 0)
        error = chathub_start(hub, NULL);
    if (error == 0)
        error = chathub_client(hub, "bot", on_event, NULL, &bot);
    if (error == 0)
        error = chathub_join(hub, bot, NULL, CHATHUB_START_NOW, 0); /* no answers to old commands */
    if (error < 0)
        return failed(error);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    chathub_listener(hub, 0, url, sizeof(url));
    printf("listening at %s, Ctrl-C stops it\n", url);
    fflush(stdout);
    error = chathub_run(hub);
    if (error < 0)
        return failed(error);
    chathub_free(hub);
    return 0;
}
