#include "options.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dialect/dialect.h"
#ifdef HAVE_NATS
#include "log/jetstream/link.h"
#endif
#include "util/text.h"

#define KIB    UINT64_C(1024)
#define MIB    (KIB * 1024)
#define GIB    (MIB * 1024)
#define SECOND UINT64_C(1000)
#define MINUTE (SECOND * 60)
#define HOUR   (MINUTE * 60)
#define DAY    (HOUR * 24)

/* One option. Its name is its field's with dashes for underscores; the default is a text, as a
 * person would set it. */
struct option {
    const char *name;
    const char *standard;
    const char *help;
    const char *group;
    uint64_t min, max; /* of numbers, sizes and times; of a text, its length */
    uint32_t offset;   /* in struct chi_settings */
    uint8_t width;     /* bytes of the field */
    uint8_t type;      /* enum chathub_option_type */
    bool live;         /* may be set while the hub runs */
    bool common;       /* listed by the short help */
};

#define FIELD(field)                                                                               \
    .offset = offsetof(struct chi_settings, field),                                                \
    .width = sizeof(((struct chi_settings *)NULL)->field)
#define ROW(option, field, kind, text, low, high, when, often, words)                              \
    {                                                                                              \
        .name = (option), .type = CHATHUB_OPTION_##kind, .standard = (text), .min = (low),         \
        .max = (high), .live = (when), .common = (often), .help = (words), .group = GROUP,         \
        FIELD(field)                                                                               \
    }

#define START  false
#define LIVE   true
#define COMMON true
#define RARE   false

static const struct option options[] = {
#define GROUP "Hub"
    {.name = "listen",
     .type = CHATHUB_OPTION_LIST,
     .standard = "",
     .common = true,
     .group = GROUP,
     .help =
         "Where to listen: ws://HOST:PORT/PATH, tcp://HOST:PORT, ws+unix:/PATH or tcp+unix:/PATH. "
         "May be given several times."},
    ROW("name", name, TEXT, "main", 1, 64, START, RARE,
        "The hub's name in log lines and in what clients are told."),
    ROW("log", log, TEXT, "memory", 1, 4096, START, COMMON,
        "Where entries are kept. memory: as long as the process lives; sqlite:PATH: in this file; "
        "jetstream:nats://HOST:PORT,…/STREAM: in a stream of NATS, shared by all that use it, "
        "which "
        "are one chat."),
    ROW("default-room", default_room, TEXT, "general", 1, 128, START, COMMON,
        "The room of whoever names none."),
    ROW("rooms", rooms, TEXT, "", 0, 65536, START, COMMON,
        "Rooms that exist from the start, separated by commas."),
    ROW("dialect", dialect, TEXT, "", 0, 32, START, COMMON,
        "What WebSockets speak whose listener and client do not say: native, chatservice, "
        "minichat, "
        "gochat, multiserver or realtime. Without it: what their first frame shows."),
    ROW("create-rooms", create_rooms, SWITCH, "yes", 0, 1, LIVE, COMMON,
        "Whether joining makes a room; if not, only the rooms of the option rooms exist."),
    ROW("ascii-names", ascii_names, SWITCH, "no", 0, 1, START, RARE,
        "Whether names of users and rooms are of ASCII only."),
#undef GROUP
#define GROUP "Security"
    ROW("insecure", insecure, SWITCH, "no", 0, 1, START, COMMON,
        "Listens beyond this machine too, though anybody who reaches it may enter."),
    ROW("origins", origins, TEXT, "", 0, 65536, LIVE, COMMON,
        "Further origins whose web pages may connect, as SCHEME://HOST[:PORT], separated by "
        "commas."),
    ROW("demo-names", demo_names, SWITCH, "no", 0, 1, LIVE, RARE,
        "Whether clients of chatservice get the name in their token, which proves nothing, on "
        "listeners beyond this machine, too."),
    ROW("max-bad-requests", max_bad_requests, NUMBER, "20", 1, 1000000, LIVE, RARE,
        "Requests in a row that cannot be understood before a client is closed."),
    ROW("control-rate", control_rate, NUMBER, "20", 1, 1000000, LIVE, RARE,
        "WebSocket control frames of one client in a second; one that sends more is closed."),
    ROW("max-handshakes", max_handshakes, NUMBER, "512", 1, 1000000, LIVE, RARE,
        "Connections that have not finished their handshake, or said nothing yet."),
    ROW("max-handshakes-address", max_handshakes_address, NUMBER, "32", 1, 1000000, LIVE, RARE,
        "The same of one address (IPv6: of one /64). This machine's own addresses are exempt."),
#undef GROUP
#define GROUP "Clients and rooms"
    ROW("max-clients", max_clients, NUMBER, "100000", 1, 10000000, LIVE, COMMON,
        "Clients at once, observers included."),
    ROW("max-rooms", max_rooms, NUMBER, "100000", 1, 10000000, LIVE, RARE, "Rooms open at once."),
    ROW("max-client-rooms", max_client_rooms, NUMBER, "64", 1, 32768, LIVE, RARE,
        "Rooms that one client may be in at once."),
    ROW("max-members", max_members, NUMBER, "100000", 1, 10000000, LIVE, RARE,
        "Members of one room."),
    ROW("max-sessions", max_sessions, NUMBER, "20000", 0, 10000000, LIVE, RARE,
        "Sessions kept for clients that lost their connection."),
    ROW("max-remote", max_remote, NUMBER, "200000", 0, 10000000, LIVE, RARE,
        "Sessions of other nodes that a node knows; more are not shown in its rooms."),
    ROW("node-lease", node_lease, TIME, "6s", 100, HOUR, LIVE, RARE,
        "A node that was not heard of for so long is gone, and its members with it."),
    ROW("return-time", return_time, TIME, "10s", 0, DAY, LIVE, COMMON,
        "How long a lost connection keeps its name and its rooms."),
    ROW("replay-time", replay_time, TIME, "1h", 0, 30 * DAY, LIVE, RARE,
        "How long the hub remembers where a name's last session stood, for clients of other chat "
        "servers, which do not know it."),
    ROW("replay-names", replay_names, NUMBER, "20000", 0, 10000000, LIVE, RARE,
        "How many such names it remembers, in each of their rooms."),
    ROW("authorize-timeout", authorize_timeout, TIME, "10s", 1, HOUR, LIVE, RARE,
        "How long the host may take to allow something; then it is denied."),
    ROW("typing-time", typing_time, TIME, "10s", 100, HOUR, LIVE, RARE,
        "After how long typing ends by itself."),
    ROW("stop-time", stop_time, TIME, "5s", 0, HOUR, LIVE, COMMON,
        "How long stopping waits for what is under way."),
#undef GROUP
#define GROUP "Lengths"
    ROW("max-message", max_message, SIZE, "64k", 512, 64 * MIB, LIVE, RARE,
        "One incoming frame or line."),
    ROW("max-content", max_content, SIZE, "32k", 1, 16 * MIB, LIVE, COMMON,
        "The content of a post."),
    ROW("max-data", max_data, SIZE, "32k", 0, 16 * MIB, LIVE, RARE, "The data of a post."),
    ROW("max-name", max_name, SIZE, "64", 1, 1024, LIVE, RARE, "A user's name, in bytes of UTF-8."),
    ROW("max-room-name", max_room_name, SIZE, "128", 1, 1024, LIVE, RARE,
        "A room's name, in bytes of UTF-8."),
    ROW("max-cid", max_cid, SIZE, "64", 1, 256, LIVE, RARE, "The cid of a post."),
    ROW("max-status", max_status, SIZE, "128", 0, 4096, LIVE, RARE, "A user's status text."),
#undef GROUP
#define GROUP "History"
    ROW("join-history", join_history, NUMBER, "50", 0, 1000000, LIVE, COMMON,
        "Entries that a new member is sent who asked for nothing else."),
    ROW("history-page", history_page, NUMBER, "100", 1, 10000, LIVE, RARE,
        "Entries in one page of history at most."),
    ROW("page-bytes", page_bytes, SIZE, "64k", KIB, 16 * MIB, LIVE, RARE,
        "Bytes of one page of history."),
    ROW("who-page", who_page, NUMBER, "200", 1, 10000, LIVE, RARE, "Names in one page of who."),
#undef GROUP
#define GROUP "Log"
    ROW("log-sync", log_sync, TEXT, "full", 1, 6, START, RARE,
        "What an ack of an SQLite log survives. full: the loss of power; normal: the end of the "
        "process."),
    ROW("log-pace", log_pace, TIME, "2ms", 0, SECOND, LIVE, RARE,
        "Between the beginnings of two commits of an SQLite log: posts that come within it share "
        "one. In JetStream: between two deliveries of what it has stored."),
    ROW("log-free", log_free, SIZE, "64m", 0, 1024 * GIB, LIVE, RARE,
        "Posts are refused while the disk of an SQLite log has less than this left."),
    ROW("log-hold", log_hold, TIME, "10s", 0, HOUR, LIVE, RARE,
        "How long a post waits while NATS is away or does not answer; then it is refused, or "
        "answered "
        "as unknown if it may have been stored."),
    ROW("log-duplicates", log_duplicates, TIME, "2m", SECOND, 30 * DAY, START, RARE,
        "The duplicate window of a JetStream stream that is made: how long NATS itself knows a "
        "post "
        "that is repeated."),
    ROW("log-replicas", log_replicas, NUMBER, "0", 0, 5, START, RARE,
        "The replicas of a JetStream stream that is made. 0: 3 where NATS has so many servers, "
        "else "
        "1."),
    ROW("nats-credentials", nats_credentials, TEXT, "", 0, 4096, START, RARE,
        "A file of NATS credentials (a user's JWT and seed)."),
    ROW("nats-ca", nats_ca, TEXT, "", 0, 4096, START, RARE,
        "A file of the certificate authorities that NATS servers are checked by; without it the "
        "system's."),
    ROW("nats-cert", nats_cert, TEXT, "", 0, 4096, START, RARE,
        "A file of the client certificate for NATS, with nats-key."),
    ROW("nats-key", nats_key, TEXT, "", 0, 4096, START, RARE, "A file of the key of nats-cert."),
    ROW("log-entries", log_entries, NUMBER, "0", 0, UINT64_C(1) << 40, LIVE, COMMON,
        "Entries of one room that are kept. 0: in memory 10000, else all."),
    ROW("log-bytes", log_bytes, SIZE, "0", 0, 1024 * GIB, LIVE, RARE,
        "Bytes of one room that are kept. 0: in memory 64m, else all; not for JetStream."),
    ROW("log-total-bytes", log_total_bytes, SIZE, "0", 0, 1024 * GIB, LIVE, RARE,
        "Bytes of all rooms that are kept: in memory the longest unused room loses its oldest "
        "first, in SQLite the oldest entries go. 0: in memory 256m, else all."),
    ROW("log-age", log_age, TIME, "0", 0, 36500 * DAY, LIVE, COMMON,
        "How long an entry is kept. 0: in memory 1d, else for ever."),
    ROW("cid-horizon", cid_horizon, TIME, "0", 0, 30 * DAY, LIVE, RARE,
        "How long a post's cid is remembered, so that posting it twice is posting it once. 0: in "
        "memory 1m, in SQLite 7d, in JetStream 1h."),
    ROW("max-cids", max_cids, NUMBER, "0", 0, 1000000000, LIVE, RARE,
        "Cids remembered at once; beyond, posts with a cid are refused for a moment. 0: in memory "
        "1000000, in SQLite 50000000; in JetStream 4000000, beyond, the oldest are forgotten."),
#undef GROUP
#define GROUP "Presence"
    ROW("presence-all", presence_all, NUMBER, "50", 0, 10000000, LIVE, RARE,
        "Up to so many members, coming and going is told at once."),
    ROW("presence-all-ms", presence_all_ms, TIME, "100ms", 0, HOUR, LIVE, RARE,
        "But no oftener than this."),
    ROW("presence-names", presence_names, NUMBER, "1000", 0, 10000000, LIVE, RARE,
        "Up to so many members, coming and going is gathered; above, only their number is told."),
    ROW("presence-names-ms", presence_names_ms, TIME, "500ms", 1, HOUR, LIVE, RARE,
        "For how long it is gathered."),
    ROW("presence-count-ms", presence_count_ms, TIME, "2s", 1, HOUR, LIVE, RARE,
        "How often the number is told."),
#undef GROUP
#define GROUP "Memory"
    ROW("window-bytes", window_bytes, SIZE, "64m", 64 * KIB, 1024 * GIB, LIVE, RARE,
        "Encoded entries of all rooms that are held for sending."),
    ROW("client-drafts", client_drafts, NUMBER, "64", 1, 32768, LIVE, RARE,
        "Posts of one client that are not committed yet; beyond, it is not read from."),
    ROW("client-draft-bytes", client_draft_bytes, SIZE, "256k", KIB, GIB, LIVE, RARE,
        "Their bytes."),
    ROW("hub-draft-bytes", hub_draft_bytes, SIZE, "64m", KIB, 1024 * GIB, LIVE, RARE,
        "Bytes of posts of all clients that are not committed yet."),
    ROW("client-replies", client_replies, SIZE, "64k", KIB, GIB, LIVE, RARE,
        "Bytes of replies waiting for one client; beyond, it is not read from."),
    ROW("hub-reply-bytes", hub_reply_bytes, SIZE, "64m", KIB, 1024 * GIB, LIVE, RARE,
        "Bytes of replies and half-sent frames waiting for all clients."),
    ROW("event-queue", event_queue, SIZE, "4m", 64 * KIB, GIB, LIVE, RARE,
        "Bytes of events that wait until the program around the hub takes them; beyond, its "
        "clients "
        "in the process are sent no more for a while."),
    ROW("hub-partial-bytes", hub_partial_bytes, SIZE, "64m", KIB, 1024 * GIB, LIVE, RARE,
        "Bytes of incoming messages of all clients that are not complete yet."),
#undef GROUP
#define GROUP "Network"
    ROW("observe-delay", observe_delay, TIME, "250ms", 0, HOUR, LIVE, RARE,
        "A connection that says nothing for so long hears the default room; 0: never."),
    ROW("head-time", head_time, TIME, "10s", 100, HOUR, LIVE, RARE,
        "Until the head of an HTTP request is complete."),
    ROW("first-request-time", first_request_time, TIME, "15s", 100, HOUR, LIVE, RARE,
        "Until the first request, of a connection that has to make one."),
    ROW("message-time", message_time, TIME, "10s", 100, HOUR, LIVE, RARE,
        "Until a message that has begun is complete."),
    ROW("max-fragments", max_fragments, NUMBER, "128", 1, 65536, LIVE, RARE,
        "WebSocket frames in one message."),
    ROW("ping-idle", ping_idle, TIME, "20s", 100, DAY, LIVE, RARE,
        "After so much silence a WebSocket client is pinged."),
    ROW("pong-time", pong_time, TIME, "10s", 100, HOUR, LIVE, RARE,
        "Until its answer has to be there; else it is closed."),
    ROW("stall-time", stall_time, TIME, "3m", SECOND, DAY, LIVE, RARE,
        "A client that takes no byte of what waits for it for so long is closed."),
    ROW("close-time", close_time, TIME, "5s", 1, HOUR, LIVE, RARE,
        "How long the other side may take to close."),
    ROW("notsent", notsent, SIZE, "128k", KIB, GIB, START, RARE,
        "Bytes that the system may hold for one client without having sent them "
        "(TCP_NOTSENT_LOWAT)."),
    ROW("backlog", backlog, NUMBER, "1024", 1, 65535, START, RARE,
        "Connections that may wait to be accepted, of each listener."),
    ROW("slice-us", slice_us, NUMBER, "1000", 50, 1000000, LIVE, RARE,
        "Microseconds of sending between two looks at what came in."),
    ROW("slice-writes", slice_writes, NUMBER, "256", 1, 1000000, LIVE, RARE,
        "Writes to clients between two looks at what came in."),
    ROW("slice-bytes", slice_bytes, SIZE, "1m", KIB, 1024 * MIB, LIVE, RARE,
        "Bytes sent between two looks at what came in."),
    ROW("room-turn", room_turn, SIZE, "32k", KIB, 64 * MIB, LIVE, RARE,
        "Bytes of one room that one client is sent in its turn."),
    ROW("client-turn", client_turn, SIZE, "64k", KIB, 64 * MIB, LIVE, RARE,
        "Bytes that one client is sent in its turn."),
#undef GROUP
};

#define OPTIONS (sizeof options / sizeof *options)

/* A unit of sizes or times, the largest first. */
struct unit {
    const char *suffix;
    uint64_t scale;
};
static const struct unit size_units[] = {{"g", GIB}, {"m", MIB}, {"k", KIB}, {"", 1}};
static const struct unit time_units[] = {
    {"d", DAY}, {"h", HOUR}, {"m", MINUTE}, {"s", SECOND}, {"ms", 1}};

struct units {
    const struct unit *at;
    size_t n;
};

static struct units units_of(const struct option *option)
{
    static const struct unit none[] = {{"", 1}};
    if (option->type == CHATHUB_OPTION_SIZE)
        return (struct units){size_units, sizeof size_units / sizeof *size_units};
    if (option->type == CHATHUB_OPTION_TIME)
        return (struct units){time_units, sizeof time_units / sizeof *time_units};
    return (struct units){none, 1};
}

/* ---------------------------------------------------------------------------------- finding one */

static const struct option *find(const char *name)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (strcmp(options[i].name, name) == 0)
            return &options[i];
    return NULL;
}

#define LONGEST_NAME 32u

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance; names longer than any option's are far from all. */
static unsigned distance(const char *a, const char *b)
{
    size_t an = strlen(a), bn = strlen(b);
    unsigned row[LONGEST_NAME + 1];
    if (an > LONGEST_NAME || bn > LONGEST_NAME)
        return LONGEST_NAME;
    for (unsigned j = 0; j <= bn; j++)
        row[j] = j;
    for (unsigned i = 1; i <= an; i++) {
        unsigned diagonal = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= bn; j++) {
            unsigned swap = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = least(swap, 1 + least(row[j], row[j - 1]));
        }
    }
    return row[bn];
}

/* The option somebody probably meant; NULL if none is near. */
static const char *nearest(const char *name)
{
    const char *best = NULL;
    unsigned best_distance = least((unsigned)strlen(name) / 3 + 1, 4) + 1;
    for (size_t i = 0; i < OPTIONS; i++) {
        unsigned d = distance(name, options[i].name);
        if (d < best_distance) {
            best_distance = d;
            best = options[i].name;
        }
    }
    return best;
}

/* ------------------------------------------------------------------------ telling what is wrong */

/* What was given may hold anything. */
static void keep_on_one_line(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = '?';
}

/* Where a problem is told: `at` may be NULL when `size` is 0. */
struct problem {
    char *at;
    size_t size;
};

__attribute__((format(printf, 3, 4))) static int fail(struct problem problem, int error,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (problem.size) {
        vsnprintf(problem.at, problem.size, format, args);
        keep_on_one_line(problem.at);
    }
    va_end(args);
    return error;
}

static int fail_unknown(struct problem problem, const char *name)
{
    const char *meant = nearest(name);
    if (meant)
        return fail(problem, CHATHUB_EOPTION, "there is no option '%.64s'; did you mean '%s'?",
                    name, meant);
    return fail(problem, CHATHUB_EOPTION, "there is no option '%.64s'", name);
}

/* Writes `number` in the largest unit that leaves it whole. */
static int print_number(const struct option *option, uint64_t number, char *out, size_t size)
{
    struct units units = units_of(option);
    size_t i = 0;
    while (i + 1 < units.n && (number == 0 || number % units.at[i].scale))
        i++;
    if (number == 0)
        return snprintf(out, size, "0");
    return snprintf(out, size, "%llu%s", (unsigned long long)(number / units.at[i].scale),
                    units.at[i].suffix);
}

static int fail_value(struct problem problem, const struct option *option, const char *value)
{
    static const char *const what[] = {
        [CHATHUB_OPTION_NUMBER] = "a number",
        [CHATHUB_OPTION_SIZE] = "a size such as 512, 64k or 2m",
        [CHATHUB_OPTION_TIME] = "a time such as 250ms, 10s, 5m or 2h",
    };
    char low[32], high[32];
    if (option->type == CHATHUB_OPTION_SWITCH)
        return fail(problem, CHATHUB_EVALUE, "option %s: '%.64s' is neither yes nor no",
                    option->name, value);
    if (option->type == CHATHUB_OPTION_TEXT)
        return fail(problem, CHATHUB_EVALUE,
                    "option %s: it takes a text of %llu to %llu bytes of UTF-8 without "
                    "control characters",
                    option->name, (unsigned long long)option->min, (unsigned long long)option->max);
    print_number(option, option->min, low, sizeof low);
    print_number(option, option->max, high, sizeof high);
    return fail(problem, CHATHUB_EVALUE,
                "option %s: '%.64s' does not fit; it takes %s from %s to %s", option->name, value,
                what[option->type], low, high);
}

/* ------------------------------------------------------------------------------- reading values */

static bool read_switch(struct chi_span text, uint64_t *out)
{
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};
    for (size_t i = 0; i < 4; i++) {
        if (chi_span_is(text, yes[i]) || chi_span_is(text, no[i])) {
            *out = chi_span_is(text, yes[i]);
            return true;
        }
    }
    return false;
}

/* A number and its unit in lower or upper case; times need one, but for 0. */
static bool read_number(const struct option *option, struct chi_span text, uint64_t *out)
{
    struct units units = units_of(option);
    struct chi_span digits = text;
    uint64_t number;
    while (digits.len && (digits.at[digits.len - 1] < '0' || digits.at[digits.len - 1] > '9'))
        digits.len--;
    if (!chi_parse_u64(digits, 0, UINT64_MAX, &number))
        return false;
    char suffix[4] = {0};
    size_t n = text.len - digits.len;
    if (n >= sizeof suffix)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = text.at[digits.len + i];
        suffix[i] = c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
    }
    for (size_t i = 0; i < units.n; i++) {
        if (strcmp(suffix, units.at[i].suffix) != 0)
            continue;
        if (number > UINT64_MAX / units.at[i].scale)
            return false;
        *out = number * units.at[i].scale;
        return true;
    }
    *out = 0;
    return number == 0 && n == 0;
}

/* --------------------------------------------------------------------------------- the settings */

static void *field(struct chi_settings *settings, const struct option *option)
{
    return (char *)settings + option->offset;
}

static void store(struct chi_settings *settings, const struct option *option, uint64_t number)
{
    void *at = field(settings, option);
    uint32_t number32 = (uint32_t)number;
    bool yes = number != 0;
    if (option->type == CHATHUB_OPTION_SWITCH)
        memcpy(at, &yes, sizeof yes);
    else if (option->width == sizeof number32)
        memcpy(at, &number32, sizeof number32);
    else
        memcpy(at, &number, sizeof number);
}

static uint64_t load(const struct chi_settings *settings, const struct option *option)
{
    const void *at = (const char *)settings + option->offset;
    uint64_t number = 0;
    uint32_t number32 = 0;
    bool yes = false;
    if (option->type == CHATHUB_OPTION_SWITCH) {
        memcpy(&yes, at, sizeof yes);
        return yes;
    }
    if (option->width == sizeof number32) {
        memcpy(&number32, at, sizeof number32);
        return number32;
    }
    memcpy(&number, at, sizeof number);
    return number;
}

static char *load_text(const struct chi_settings *settings, const struct option *option)
{
    char *text;
    memcpy(&text, (const char *)settings + option->offset, sizeof text);
    return text;
}

/* An optional text that is empty is NULL. */
static int store_text(struct chi_settings *settings, const struct option *option,
                      struct chi_span value)
{
    char *text = NULL;
    if (value.len || option->min) {
        text = chi_span_dup(value);
        if (!text)
            return CHATHUB_ENOMEM;
    }
    free(load_text(settings, option));
    memcpy(field(settings, option), &text, sizeof text);
    return 0;
}

static bool text_fits(const struct option *option, struct chi_span value)
{
    if (value.len < option->min || value.len > option->max ||
        !chi_utf8_valid(value.at, value.len) || !chi_text_clean(value.at, value.len))
        return false;
    return !value.len || !memchr(value.at, '\n', value.len);
}

/* "scheme://host" or "scheme://host:port": what browsers send, and nothing else (RFC 6454, 6.2). */
static bool is_origin(struct chi_span text)
{
    const char *scheme_end = text.len ? memchr(text.at, ':', text.len) : NULL;
    size_t scheme = scheme_end ? (size_t)(scheme_end - text.at) : 0;
    if (!scheme || text.len < scheme + 4 || memcmp(scheme_end, "://", 3) != 0)
        return false;
    struct chi_span host = {scheme_end + 3, text.len - scheme - 3};
    if (memchr(host.at, '/', host.len) || memchr(host.at, '*', host.len) || host.at[0] == ':')
        return false;
    const char *bracket = host.at[0] == '[' ? memchr(host.at, ']', host.len) : host.at;
    if (!bracket)
        return false;
    const char *colon = memchr(bracket, ':', host.len - (size_t)(bracket - host.at));
    if (!colon)
        return true;
    struct chi_span port = {colon + 1, host.len - (size_t)(colon + 1 - host.at)};
    uint64_t number;
    return chi_parse_u64(port, 1, 65535, &number);
}

static int check_origins(const char *value, struct problem problem)
{
    while (*value) {
        size_t len = strcspn(value, ",");
        struct chi_span item = {value, len};
        while (item.len && *item.at == ' ')
            item.at++, item.len--;
        while (item.len && item.at[item.len - 1] == ' ')
            item.len--;
        if (!is_origin(item))
            return fail(problem, CHATHUB_EVALUE,
                        "option origins: '%.*s' is no origin; write SCHEME://HOST or "
                        "SCHEME://HOST:PORT, such as https://chat.example.org",
                        (int)(item.len < 64 ? item.len : 64), item.at);
        value += len + (value[len] == ',');
    }
    return 0;
}

const char *chi_sqlite_path(const char *log)
{
    static const char kind[] = "sqlite:";
    return strncmp(log, kind, sizeof kind - 1) == 0 ? log + sizeof kind - 1 : NULL;
}

const char *chi_jetstream_servers(const char *log)
{
    static const char kind[] = "jetstream:";
    return strncmp(log, kind, sizeof kind - 1) == 0 ? log + sizeof kind - 1 : NULL;
}

static int check_servers(const char *servers, struct problem problem)
{
#ifdef HAVE_NATS
    struct chi_js_url url;
    int error = chi_js_url_read(servers, &url, problem.at, problem.size);
    if (!error)
        chi_js_url_free(&url);
    return error;
#else
    (void)servers;
    (void)problem; /* chathub_check says that there is no NATS */
    return 0;
#endif
}

/* What is no log is named up to its colon: a password may stand behind that. */
static int check_log(const char *value, struct problem problem)
{
    const char *path = chi_sqlite_path(value), *servers = chi_jetstream_servers(value);
    if (servers)
        return check_servers(servers, problem);
    if (path ? *path != '\0' : strcmp(value, "memory") == 0)
        return 0;
    int shown = (int)strcspn(value, ":");
    return fail(problem, CHATHUB_EVALUE,
                "option log: there is no log '%.*s'; it takes memory, sqlite:PATH or "
                "jetstream:nats://HOST:PORT,…",
                shown < 64 ? shown : 64, value);
}

static int set_text(struct chi_settings *settings, const struct option *option, const char *value,
                    struct problem problem)
{
    if (!text_fits(option, chi_span_of(value)))
        return fail_value(problem, option, value);
    if (option->offset == offsetof(struct chi_settings, log)) {
        int error = check_log(value, problem);
        if (error)
            return error;
    }
    if (option->offset == offsetof(struct chi_settings, log_sync) && strcmp(value, "full") != 0 &&
        strcmp(value, "normal") != 0)
        return fail(problem, CHATHUB_EVALUE, "option log-sync: '%.64s' is neither full nor normal",
                    value);
    if (option->offset == offsetof(struct chi_settings, dialect) && *value &&
        !chi_dialect_find(chi_span_of(value)))
        return fail(problem, CHATHUB_EVALUE,
                    "option dialect: there is no dialect '%.64s'; it takes " CHI_DIALECT_NAMES,
                    value);
    if (option->offset == offsetof(struct chi_settings, origins)) {
        int error = check_origins(value, problem);
        if (error)
            return error;
    }
    if (store_text(settings, option, chi_span_of(value)))
        return fail(problem, CHATHUB_ENOMEM, "option %s: %s", option->name,
                    chathub_strerror(CHATHUB_ENOMEM));
    return 0;
}

static int set_number(struct chi_settings *settings, const struct option *option, uint64_t number,
                      const char *shown, struct problem problem)
{
    if (number < option->min || number > option->max)
        return fail_value(problem, option, shown);
    store(settings, option, number);
    return 0;
}

static int check_start(const struct option *option, bool started, struct problem problem)
{
    if (!started || option->live)
        return 0;
    return fail(problem, CHATHUB_ESTARTED,
                "option %s cannot be changed while the hub runs; set it before the start",
                option->name);
}

int chi_options_set(struct chi_settings *settings, const char *name, const char *value,
                    bool started, bool *is_listen, char *problem, size_t size)
{
    struct problem told = {problem, size};
    *is_listen = false;
    const struct option *option = find(name);
    if (!option)
        return fail_unknown(told, name);
    int error = check_start(option, started, told);
    if (error)
        return error;
    if (option->type == CHATHUB_OPTION_LIST) {
        *is_listen = true;
        return 0;
    }
    if (option->type == CHATHUB_OPTION_TEXT)
        return set_text(settings, option, value, told);
    uint64_t number;
    bool read = option->type == CHATHUB_OPTION_SWITCH
                    ? read_switch(chi_span_of(value), &number)
                    : read_number(option, chi_span_of(value), &number);
    if (!read)
        return fail_value(told, option, value);
    return set_number(settings, option, number, value, told);
}

int chi_options_set_number(struct chi_settings *settings, const char *name, uint64_t value,
                           bool started, char *problem, size_t size)
{
    struct problem told = {problem, size};
    const struct option *option = find(name);
    if (!option)
        return fail_unknown(told, name);
    int error = check_start(option, started, told);
    if (error)
        return error;
    if (option->type == CHATHUB_OPTION_TEXT || option->type == CHATHUB_OPTION_LIST)
        return fail(told, CHATHUB_EVALUE, "option %s takes a text, not a number", option->name);
    char shown[24];
    snprintf(shown, sizeof shown, "%llu", (unsigned long long)value);
    return set_number(settings, option, value, shown, told);
}

int chi_options_get(const struct chi_settings *settings, const char *name, char *out, size_t size)
{
    const struct option *option = find(name);
    if (!option)
        return CHATHUB_EOPTION;
    const char *text;
    switch (option->type) {
    case CHATHUB_OPTION_LIST:
        text = "";
        break;
    case CHATHUB_OPTION_TEXT:
        text = load_text(settings, option);
        break;
    case CHATHUB_OPTION_SWITCH:
        text = load(settings, option) ? "yes" : "no";
        break;
    default:
        return print_number(option, load(settings, option), out, size);
    }
    return snprintf(out, size, "%s", text ? text : "");
}

int chi_options_defaults(struct chi_settings *settings)
{
    *settings = (struct chi_settings){0};
    for (size_t i = 0; i < OPTIONS; i++) {
        bool is_listen;
        if (options[i].type == CHATHUB_OPTION_LIST)
            continue;
        int error = chi_options_set(settings, options[i].name, options[i].standard, false,
                                    &is_listen, NULL, 0);
        if (error) {
            chi_options_fini(settings);
            return error;
        }
    }
    return 0;
}

void chi_options_fini(struct chi_settings *settings)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (options[i].type == CHATHUB_OPTION_TEXT)
            free(load_text(settings, &options[i]));
    *settings = (struct chi_settings){0};
}

int chi_options_at(uint32_t index, struct chathub_option *out)
{
    if (index >= OPTIONS)
        return CHATHUB_ENOENT;
    const struct option *option = &options[index];
    *out = (struct chathub_option){
        .size = sizeof *out,
        .type = option->type,
        .name = option->name,
        .standard = option->standard,
        .help = option->help,
        .group = option->group,
        .min = option->min,
        .max = option->max,
        .live = option->live,
        .common = option->common,
    };
    return 0;
}
