/* chat: talks with a hub from a terminal, or posts what comes by a pipe.
 *
 *     chat ws://localhost:8080/ws
 *     echo "deployed" | chat --name robot tcp://localhost:7000 */
#include <getopt.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "chat.h"

#ifdef HAVE_LIBEDIT
#define EDITOR "with a line editor"
#else
#define EDITOR "without a line editor"
#endif

static const char help[] =
    "Usage: chat [OPTIONS] URL\n"
    "Talks with a chat hub, at ws://HOST:PORT/PATH or tcp://HOST:PORT. Lines that come by a pipe\n"
    "are posted, and chat ends once the hub has them all.\n"
    "\n"
    "  -n, --name NAME     the name to take (else the hub makes a guest's)\n"
    "  -r, --room ROOM     a room to join, may be repeated (else the hub's default room)\n"
    "  -l, --last COUNT    entries of each room to begin with (else as many as the hub has it,\n"
    "                      and by a pipe none)\n"
    "      --no-color      no colours; the same with NO_COLOR set, or where it is no terminal\n"
    "  -h, --help\n"
    "  -v, --version\n"
    "\n"
    "CHATHUB_SESSION in the environment is the key of the session, 22 or more characters of\n"
    "A-Z a-z 0-9 - _: with it you are the same person each time. Keep it like a password.\n"
    "Type /help for the commands.\n";

static int wrong(const char *what)
{
    fprintf(stderr, "chat: %s; see chat --help\n", what);
    return 2;
}

static int read_number(const char *text, int *out)
{
    char *end;
    long number = strtol(text, &end, 10);

    if (*end || end == text || number < 0 || number > 1000)
        return wrong("--last takes a number from 0 to 1000");
    *out = (int)number;
    return -1;
}

/* -1: go on; else what the program answers. */
static int read_option(struct chat_settings *settings, int option)
{
    switch (option) {
    case 'n':
        settings->name = optarg;
        return -1;
    case 'r':
        if (settings->room_count == CHAT_ROOMS)
            return wrong("one can be in 64 rooms at most");
        settings->rooms[settings->room_count++] = optarg;
        return -1;
    case 'l':
        return read_number(optarg, &settings->last);
    case 'c':
        settings->plain = true;
        return -1;
    case 'h':
        fputs(help, stdout);
        return 0;
    case 'v':
        printf("chat %s, " EDITOR "\n", chathub_version());
        return 0;
    default:
        return wrong("there is no such option, or its value is missing");
    }
}

static int read_settings(struct chat_settings *settings, int argc, char **argv)
{
    static const struct option options[] = {
        {"name", required_argument, NULL, 'n'},
        {"room", required_argument, NULL, 'r'},
        {"last", required_argument, NULL, 'l'},
        {"no-color", no_argument, NULL, 'c'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'v'},
        {NULL, 0, NULL, 0},
    };
    const char *no_color = getenv("NO_COLOR");
    int option, answer;

    opterr = 0;
    settings->last = -1;
    settings->plain = no_color && *no_color;
    settings->session = getenv("CHATHUB_SESSION");
    while ((option = getopt_long(argc, argv, "n:r:l:hv", options, NULL)) != -1)
        if ((answer = read_option(settings, option)) >= 0)
            return answer;
    if (argc - optind != 1)
        return wrong("give one URL, such as ws://localhost:8080/ws");
    settings->url = argv[optind];
    if (settings->room_count == 0)
        settings->room_count = 1; /* NULL: the default room */
    return -1;
}

static int begin(struct chat *chat)
{
    const struct chat_settings *settings = &chat->settings;
    int start = settings->last > 0                        ? CHATHUB_START_LAST
                : settings->last < 0 && chat->interactive ? CHATHUB_START_DEFAULT
                                                          : CHATHUB_START_NOW;
    char problem[300] = "";
    struct chathub_connection_options options = {
        .size = sizeof(options),
        .outbox_bytes = (CHAT_POSTS + 1) * 65536, /* each as long as a request may be */
        .url = settings->url,
        .name = settings->name,
        .session = settings->session,
        .on_event = chat_on_event,
        .on_state = chat_on_state,
        .arg = chat,
        .problem = problem,
        .problem_size = sizeof(problem),
    };
    int error = chathub_connect(chat->loop, &options, &chat->connection);

    if (error) {
        fprintf(stderr, "chat: %s\n", *problem ? problem : chathub_strerror(error));
        return -1;
    }
    for (int i = 0; i < settings->room_count && !error; i++)
        error = chathub_connection_join(chat->connection, settings->rooms[i], start,
                                        start == CHATHUB_START_LAST ? (uint64_t)settings->last : 0,
                                        NULL);
    if (error)
        fprintf(stderr, "chat: %s\n", chathub_connection_problem(chat->connection));
    return error ? -1 : 0;
}

int main(int argc, char **argv)
{
    static struct chat chat = {.here = -1};
    int answer = read_settings(&chat.settings, argc, argv);

    if (answer >= 0)
        return answer;
    setlocale(LC_ALL, "");
    chat.loop = uv_default_loop();
    chat.interactive = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    chat_screen_open(&chat);
    if (begin(&chat) == 0 && chat_input_open(&chat) == 0)
        uv_run(chat.loop, UV_RUN_DEFAULT);
    else
        chat.failed++;
    chat_input_close(&chat);
    chathub_connection_free(chat.connection);
    uv_run(chat.loop, UV_RUN_DEFAULT);
    uv_loop_close(chat.loop);
    return chat.failed > 0;
}
