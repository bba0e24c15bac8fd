#include "options.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help[] =
    "chatbench: puts load on a chat hub, and checks that every member gets every post once and in "
    "order.\n"
    "\n"
    "    chatbench [options]\n"
    "\n"
    "Where\n"
    "  --url URL[,URL...]   ws://HOST:PORT/PATH or tcp://HOST:PORT (ws://127.0.0.1:8080/ws); "
    "several:\n"
    "                       nodes of one chat, over which the members of each room are spread\n"
    "  --plain              WebSocket without the subprotocol chathub.v1\n"
    "  --source ADDRESS     connect from this IPv4 address (and, beyond 20,000 connections, the "
    "next ones)\n"
    "  --pid PID[,PID...]   process of the server on this machine: reports its CPU and memory; "
    "several:\n"
    "                       of all together\n"
    "Who\n"
    "  --clients N          connections, each a member of one room (100)\n"
    "  --rooms N            rooms they are spread over (1)\n"
    "  --room-prefix TEXT   rooms are called TEXT-0, TEXT-1 ... (bench)\n"
    "  --posters N          how many of the clients post (one a room)\n"
    "  --ramp N             connections made at the same time (64)\n"
    "What\n"
    "  --rate N             posts a second by all posters together (100)\n"
    "  --outstanding N      instead: so many posts under way at any time, as fast as they are "
    "acked\n"
    "  --size BYTES         content of a post, 16 to 65536 (128)\n"
    "  --seconds S          how long to post (10)\n"
    "  --posts N            instead: how many posts in all\n"
    "  --settle S           pause between the last join and the first post (0.5)\n"
    "  --idle S             stay connected in silence at the end (0)\n"
    "  --drain S            what has not come after S seconds without any progress is lost (10)\n"
    "Slow readers\n"
    "  --stall N            the last N clients (with SO_RCVBUF 4096) stop reading at the first "
    "post ...\n"
    "  --stall-seconds S    ... for S seconds, then read on (10); without --stall: only waits so "
    "long,\n"
    "                       for the same run to compare with\n"
    "  --gaps-ok            entries that the server told a gap for are not lost\n"
    "Coming back\n"
    "  --epoch TEXT         join after a position that was read under this epoch (else from now "
    "on) ...\n"
    "  --after POSITION     ... this one (0)\n"
    "  --behind N           each client has so many entries to catch up on before the first post "
    "(0)\n"
    "Report\n"
    "  --json               as one JSON object, with these among its fields:\n"
    "    cpu_us_per_delivery, cpu_us_per_post\n"
    "                       CPU of the server from the first post until all had arrived, without "
    "its\n"
    "                       threads named chathub-log-..., by entries received and by posts acked\n"
    "    log_us_per_post    of those threads alone\n"
    "    cpu_seconds        of all its threads in that time\n"
    "    connect_cpu_us     CPU from the first connection until all had joined, without the log's "
    "threads,\n"
    "                       for each client\n"
    "    join_frames_mean, join_frames_max\n"
    "                       frames that a client got from connecting until the first post\n"
    "    lag_max, lag_ms    when the posting ended: acked entries that the worst reading member "
    "had not\n"
    "                       got, and the most time since a post was due that one of them had not "
    "got\n"
    "    compared           deliveries that were byte for byte what another member had got, and so "
    "not\n"
    "                       parsed again\n"
    "    altered            entries with another text than was posted, or than another member "
    "got\n"
    "\n"
    "Exit status: 0 all arrived, 1 something was lost, doubled, out of order, altered or refused, "
    "2 wrong usage.\n"
    "\n"
    "Examples\n"
    "  chatbench --clients 1000 --rate 200\n"
    "  chatbench --url tcp://127.0.0.1:7000 --clients 1000 --outstanding 64 --pid $(pidof chatd)\n"
    "  chatbench --clients 10000 --rooms 100 --posters 10000 --posts 10000 --idle 30 --pid $(pidof "
    "chatd)\n"
    "  chatbench --clients 20 --size 4096 --posts 8000 --rate 200 --stall 1 --stall-seconds 60\n";

enum { OPT_COUNT = 1, OPT_REAL, OPT_TEXT, OPT_FLAG };

/* One option: where it goes and what it may be. */
struct option_rule {
    const char *name; /* without dashes */
    int kind;         /* OPT_… */
    void *target;     /* uint32_t, double, const char *, bool */
    double min, max;  /* bounds of numbers */
};

static int mistake(const char *what, const char *value, const char *advice)
{
    fprintf(stderr, "chatbench: %s%s%s: %s (see chatbench --help)\n", what, value ? " " : "",
            value ? value : "", advice);
    return -1;
}

static int take_number(const struct option_rule *rule, const char *text)
{
    char *end, advice[96];
    errno = 0;
    double value = strtod(text, &end);
    bool whole = rule->kind == OPT_REAL || value == floor(value);
    if (end == text || *end || errno || !(value >= rule->min) || value > rule->max || !whole) {
        snprintf(advice, sizeof advice, "give a number from %g to %.0f", rule->min, rule->max);
        return mistake(rule->name, text, advice);
    }
    if (rule->kind == OPT_REAL) {
        *(double *)rule->target = value;
    } else {
        *(uint32_t *)rule->target = (uint32_t)value;
    }
    return 0;
}

static int take(const struct option_rule *rule, const char *text)
{
    switch (rule->kind) {
    case OPT_FLAG:
        *(bool *)rule->target = true;
        return 0;
    case OPT_TEXT:
        *(const char **)rule->target = text;
        return 0;
    default:
        return take_number(rule, text);
    }
}

/* Splits scheme://host:port/path into the options; `port` gets the port's text. */
static int split_url(struct cb_options *o, const char *url, char *host, size_t host_size,
                     char *port, size_t port_size)
{
    const char *rest = url;
    bool websocket = strncmp(rest, "ws://", 5) == 0;
    if (o->nodes > 0 && websocket != o->websocket) {
        return mistake("url", o->url, "all begin in the same way");
    }
    o->websocket = websocket;
    if (websocket) {
        rest += 5;
    } else if (strncmp(rest, "tcp://", 6) == 0) {
        rest += 6;
    } else {
        return mistake("url", o->url, "it begins with ws:// or tcp://");
    }
    const char *path = strchr(rest, '/');
    size_t authority = path ? (size_t)(path - rest) : strlen(rest);
    snprintf(o->path, sizeof o->path, "%s", path && path[1] ? path : "/ws");
    snprintf(o->host, sizeof o->host, "%.*s", (int)authority, rest);
    const char *colon = strrchr(o->host, ':');
    const char *bracket = strrchr(o->host, ']');
    if (!colon || (bracket && colon < bracket) || !colon[1]) {
        return mistake("url", o->url, "it needs a port, as in ws://127.0.0.1:8080/ws");
    }
    bool ipv6 = o->host[0] == '[' && bracket;
    size_t len = ipv6 ? (size_t)(bracket - o->host) - 1 : (size_t)(colon - o->host);
    snprintf(host, host_size, "%.*s", (int)len, o->host + (ipv6 ? 1 : 0));
    snprintf(port, port_size, "%s", colon + 1);
    return 0;
}

static int resolve_one(struct cb_options *o, const char *url)
{
    char host[256], port[16];
    if (split_url(o, url, host, sizeof host, port, sizeof port) < 0) {
        return -1;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int error = getaddrinfo(host, port, &hints, &found);
    if (error) {
        return mistake("url", o->url, gai_strerror(error));
    }
    memcpy(&o->to[o->nodes], found->ai_addr, found->ai_addrlen);
    o->to_len[o->nodes++] = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

static int resolve(struct cb_options *o)
{
    char url[256];
    for (const char *at = o->url;; at++) {
        size_t len = strcspn(at, ",");
        if (o->nodes == CB_NODES_MAX || len >= sizeof url) {
            return mistake("url", o->url, "these are too many, or too long");
        }
        memcpy(url, at, len);
        url[len] = 0;
        if (resolve_one(o, url) < 0) {
            return -1;
        }
        at += len;
        if (!*at) {
            return 0;
        }
    }
}

static int read_pids(struct cb_options *o, const char *text)
{
    while (text && *text) {
        char *end;
        long pid = strtol(text, &end, 10);
        if (end == text || (*end && *end != ',') || pid < 1 || pid > INT32_MAX ||
            o->pid_count == CB_NODES_MAX) {
            return mistake("pid", text, "give numbers of processes, with commas between");
        }
        o->pids[o->pid_count++] = (int)pid;
        text = *end ? end + 1 : end;
    }
    return 0;
}

static int check_source(struct cb_options *o, const char *source)
{
    if (!source) {
        return 0;
    }
    o->has_source = true;
    if (o->to[0].ss_family != AF_INET || inet_pton(AF_INET, source, &o->source) != 1) {
        return mistake("source", source, "give an IPv4 address, and an IPv4 address in --url");
    }
    return 0;
}

/* What one option alone cannot know. */
static int check_together(struct cb_options *o)
{
    if (o->rooms > o->clients) {
        return mistake("rooms", NULL, "there cannot be more rooms than clients");
    }
    if (o->posters == 0) {
        o->posters = o->rooms;
    }
    if (o->posters + o->stall > o->clients) {
        return mistake("posters", NULL, "posters and stalled clients together exceed the clients");
    }
    if (strlen(o->prefix) > 40 || strpbrk(o->prefix, "\"\\")) {
        return mistake("room-prefix", o->prefix, "at most 40 characters, none of them \" or \\");
    }
    if (o->epoch && (strlen(o->epoch) > 40 || strpbrk(o->epoch, "\"\\"))) {
        return mistake("epoch", o->epoch, "give the text that joined had in \"epoch\"");
    }
    if (o->outstanding > 0) {
        o->rate = 0;
    }
    if (o->stall > 0 && o->stall_seconds <= 0) {
        o->stall_seconds = 10;
    }
    return 0;
}

#define RULES_MAX 32

/* What is not in the options as it was given. */
struct given {
    double posts, after;
    const char *source, *pids;
    bool help;
};

/* 0, or -1 with a word about what is wrong. */
static int take_all(const struct option_rule *rules, size_t count, int argc, char **argv)
{
    struct option table[RULES_MAX + 1] = {0};
    for (size_t i = 0; i < count; i++) {
        table[i].name = rules[i].name;
        table[i].has_arg = rules[i].kind == OPT_FLAG ? no_argument : required_argument;
    }
    for (int c, index = 0; (c = getopt_long(argc, argv, "", table, &index)) != -1;) {
        if (c == '?' || take(&rules[index], optarg) < 0) {
            return -1;
        }
    }
    return 0;
}

static int read_all(struct cb_options *o, struct given *given, int argc, char **argv)
{
    const struct option_rule rules[] = {
        {"url", OPT_TEXT, &o->url, 0, 0},
        {"plain", OPT_FLAG, &o->plain, 0, 0},
        {"source", OPT_TEXT, &given->source, 0, 0},
        {"pid", OPT_TEXT, &given->pids, 0, 0},
        {"clients", OPT_COUNT, &o->clients, 1, 999999},
        {"rooms", OPT_COUNT, &o->rooms, 1, 999999},
        {"room-prefix", OPT_TEXT, &o->prefix, 0, 0},
        {"posters", OPT_COUNT, &o->posters, 1, 999999},
        {"ramp", OPT_COUNT, &o->ramp, 1, 10000},
        {"rate", OPT_REAL, &o->rate, 0.01, 10e6},
        {"outstanding", OPT_COUNT, &o->outstanding, 1, 1000000},
        {"size", OPT_COUNT, &o->size, CB_SIZE_MIN, CB_SIZE_MAX},
        {"seconds", OPT_REAL, &o->seconds, 0.01, 86400},
        {"posts", OPT_REAL, &given->posts, 0, 99999999},
        {"settle", OPT_REAL, &o->settle, 0, 3600},
        {"idle", OPT_REAL, &o->idle, 0, 86400},
        {"drain", OPT_REAL, &o->drain, 0.1, 3600},
        {"stall", OPT_COUNT, &o->stall, 0, 999999},
        {"stall-seconds", OPT_REAL, &o->stall_seconds, 0.1, 86400},
        {"gaps-ok", OPT_FLAG, &o->gaps_ok, 0, 0},
        {"epoch", OPT_TEXT, &o->epoch, 0, 0},
        {"after", OPT_REAL, &given->after, 0, 9007199254740991.0},
        {"behind", OPT_COUNT, &o->behind, 0, 99999999},
        {"json", OPT_FLAG, &o->json, 0, 0},
        {"help", OPT_FLAG, &given->help, 0, 0},
    };
    _Static_assert(sizeof rules / sizeof rules[0] <= RULES_MAX, "one for each option");
    return take_all(rules, sizeof rules / sizeof rules[0], argc, argv);
}

int cb_options_read(struct cb_options *o, int argc, char **argv)
{
    struct given given = {0};
    *o = (struct cb_options){.url = "ws://127.0.0.1:8080/ws",
                             .prefix = "bench",
                             .clients = 100,
                             .rooms = 1,
                             .ramp = 64,
                             .size = 128,
                             .rate = 100,
                             .seconds = 10,
                             .settle = 0.5,
                             .drain = 10};
    if (read_all(o, &given, argc, argv) < 0) {
        return -1;
    }
    if (given.help) {
        fputs(help, stdout);
        return 1;
    }
    if (optind < argc) {
        return mistake("argument", argv[optind], "options begin with --");
    }
    o->posts = (uint64_t)given.posts;
    o->after = (uint64_t)given.after;
    bool well =
        read_pids(o, given.pids) == 0 && resolve(o) == 0 && check_source(o, given.source) == 0;
    return well ? check_together(o) : -1;
}
