#include "logsink.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <uv.h>

#define RING_SIZE  (256u * 1024u)
#define CHUNK_SIZE 8192u
#define VALUE_MAX  512u /* bytes of a value that are shown */
/* Worst case of a value: each byte as \u00XX, two quotes, the mark of a cut. */
#define VALUE_ROOM (6u * VALUE_MAX + 16u)
#define LINE_SIZE  16384u
#define CLOSE_WAIT 1000000000ull /* ns */
/* After a write the thread lets lines gather: the loop need not wake it for each of them, nor it
 * write each by itself, while thousands of clients come. */
#define GATHER_MS 5u

/* The second of the last line. */
struct calendar {
    time_t second;
    size_t len; /* of `text`; 0: nothing yet */
    char text[32];
};

struct logsink {
    uv_mutex_t mutex;  /* over everything below */
    uv_cond_t changed; /* bytes came, a descriptor came, or it ends */
    uv_cond_t quiet;   /* the thread has ended */
    uv_thread_t thread;
    uint64_t dropped;         /* lines lost since the last one that told so */
    size_t begin;             /* of the bytes in the ring */
    size_t len;               /* number of bytes in the ring */
    int fd;                   /* where lines go; the thread's */
    int next_fd;              /* to be taken by the thread; -1: none */
    int level;                /* the least that is logged; the loop's */
    bool json;                /* else logfmt; the loop's */
    bool gathering;           /* the thread waits for more: it need not be told of each line */
    bool ending;              /* the thread shall end once the ring is empty */
    bool ended;               /* it has */
    struct calendar calendar; /* the loop's */
    char ring[RING_SIZE];
};

static const char *const level_words[] = {"debug", "info", "warning", "error"};

int logsink_level(const char *word)
{
    for (int i = 0; i < 4; i++) {
        if (strcmp(level_words[i], word) == 0)
            return i;
    }
    return -1;
}

/* ------------------------------------------------------------------------------------- lines */

struct line {
    size_t len;
    char at[LINE_SIZE];
};

static void put(struct line *line, const char *bytes, size_t len)
{
    if (len > sizeof(line->at) - line->len)
        return;
    memcpy(line->at + line->len, bytes, len);
    line->len += len;
}

static void put_text(struct line *line, const char *text)
{
    put(line, text, strlen(text));
}

#define BAD_CHAR 0xfffdu

/* Length of the UTF-8 sequence that begins with `c`; 0 if none does. */
static size_t sequence_len(unsigned char c)
{
    if (c < 0x80)
        return 1;
    if (c >= 0xc2 && c < 0xe0)
        return 2;
    if (c >= 0xe0 && c < 0xf0)
        return 3;
    return c >= 0xf0 && c < 0xf5 ? 4 : 0;
}

/* The character at `at`; *used bytes of it. What is no UTF-8 counts as BAD_CHAR, byte by byte. */
static uint32_t character(const char *at, size_t len, size_t *used)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)*at;
    size_t n = sequence_len(first);
    *used = 1;
    if (n == 1)
        return first;
    if (n == 0 || n > len)
        return BAD_CHAR;
    uint32_t value = first & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (((unsigned char)at[i] & 0xc0) != 0x80)
            return BAD_CHAR;
        value = value << 6 | ((unsigned char)at[i] & 0x3fu);
    }
    if (value < least[n] || value > 0x10ffff || (value >= 0xd800 && value < 0xe000))
        return BAD_CHAR;
    *used = n;
    return value;
}

/* Whether a reader could be misled by it: controls, line ends, invisible and direction-changing
 * characters. */
static bool misleads(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c || c == 0x180e ||
           (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffd);
}

/* A quoted text with JSON's escapes, which readers of logfmt know, too. */
static void put_quoted(struct line *line, const char *text, size_t len)
{
    size_t shown = len < VALUE_MAX ? len : VALUE_MAX;
    size_t used;
    put(line, "\"", 1);
    for (size_t i = 0; i < shown; i += used) {
        uint32_t c = character(text + i, len - i, &used);
        char escape[8];
        if (misleads(c) || c == '"' || c == '\\') {
            int n = c == '"' || c == '\\' ? snprintf(escape, sizeof(escape), "\\%c", (char)c)
                                          : snprintf(escape, sizeof(escape), "\\u%04x", c & 0xffff);
            put(line, escape, (size_t)n);
        } else {
            put(line, text + i, used);
        }
    }
    if (shown < len)
        put_text(line, "…");
    put(line, "\"", 1);
}

/* Whether logfmt takes it without quotes. */
static bool is_plain(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return len > 0 && len <= VALUE_MAX;
}

static void put_field(struct line *line, bool json, const char *key, const char *text, size_t len)
{
    if (sizeof(line->at) - line->len < strlen(key) + VALUE_ROOM)
        return;
    if (json) {
        put_text(line, line->len ? ",\"" : "{\"");
        put_text(line, key);
        put_text(line, "\":");
    } else {
        put_text(line, line->len ? " " : "");
        put_text(line, key);
        put_text(line, "=");
    }
    if (!json && is_plain(text, len))
        put(line, text, len);
    else
        put_quoted(line, text, len);
}

/* "2026-01-02T03:04:05.678Z"; of its calendar part one is kept for all lines of a second. */
static void timestamp(struct calendar *calendar, char *out, size_t size)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!calendar->len || calendar->second != now.tv_sec) {
        gmtime_r(&now.tv_sec, &parts);
        calendar->second = now.tv_sec;
        calendar->len =
            strftime(calendar->text, sizeof(calendar->text), "%Y-%m-%dT%H:%M:%S", &parts);
    }
    int ms = (int)(now.tv_nsec / 1000000);
    char tail[] = {
        '.', (char)('0' + ms / 100), (char)('0' + ms / 10 % 10), (char)('0' + ms % 10), 'Z', '\0'};
    if (calendar->len + sizeof(tail) > size)
        return;
    memcpy(out, calendar->text, calendar->len);
    memcpy(out + calendar->len, tail, sizeof(tail));
}

/* server: which one it is about, or NULL. */
static void make_line(struct logsink *sink, struct line *line, const struct chathub_record *record,
                      const char *server)
{
    bool json = sink->json;
    char time[40] = "";
    const char *level = level_words[record->level & 3];
    line->len = 0;
    timestamp(&sink->calendar, time, sizeof(time));
    put_field(line, json, "time", time, strlen(time));
    put_field(line, json, "level", level, strlen(level));
    put_field(line, json, "event", record->event, strlen(record->event));
    if (server)
        put_field(line, json, "server", server, strlen(server));
    for (size_t i = 0; i < record->count; i++) {
        const struct chathub_field *field = &record->fields[i];
        put_field(line, json, field->key, field->value ? field->value : "", field->len);
    }
    put_text(line, json ? "}\n" : "\n");
}

/* ------------------------------------------------------------------------------------- the ring */

/* With the mutex held. */
static bool ring_add(struct logsink *sink, const struct line *line)
{
    if (line->len > RING_SIZE - sink->len)
        return false;
    size_t at = (sink->begin + sink->len) % RING_SIZE;
    size_t first = RING_SIZE - at < line->len ? RING_SIZE - at : line->len;
    memcpy(sink->ring + at, line->at, first);
    memcpy(sink->ring, line->at + first, line->len - first);
    sink->len += line->len;
    return true;
}

/* With the mutex held: says how many lines were lost, if any were. */
static void tell_dropped(struct logsink *sink)
{
    char count[24];
    struct line line;
    if (!sink->dropped)
        return;
    snprintf(count, sizeof(count), "%llu", (unsigned long long)sink->dropped);
    struct chathub_field field = {"lines", count, strlen(count)};
    struct chathub_record record = {sizeof(record), CHATHUB_WARNING, "log_dropped", &field, 1};
    make_line(sink, &line, &record, NULL);
    if (ring_add(sink, &line))
        sink->dropped = 0;
}

void logsink_record(struct logsink *sink, const struct chathub_record *record, const char *server)
{
    struct line line;
    if (record->level < sink->level)
        return;
    make_line(sink, &line, record, server);
    uv_mutex_lock(&sink->mutex);
    tell_dropped(sink);
    if (sink->dropped || !ring_add(sink, &line))
        sink->dropped++;
    if (!sink->gathering || sink->len > RING_SIZE / 2 || record->level >= CHATHUB_ERROR)
        uv_cond_signal(&sink->changed);
    uv_mutex_unlock(&sink->mutex);
}

static void say(struct logsink *sink, const char *server, int level, const char *event,
                va_list args)
{
    struct chathub_field fields[8];
    struct chathub_record record = {sizeof(record), level, event, fields, 0};
    for (const char *key; record.count < 8 && (key = va_arg(args, const char *));) {
        const char *value = va_arg(args, const char *);
        fields[record.count++] = (struct chathub_field){key, value, strlen(value)};
    }
    logsink_record(sink, &record, server);
}

void logsink_say(struct logsink *sink, int level, const char *event, ...)
{
    va_list args;
    va_start(args, event);
    say(sink, NULL, level, event, args);
    va_end(args);
}

void logsink_say_of(struct logsink *sink, const char *server, int level, const char *event, ...)
{
    va_list args;
    va_start(args, event);
    say(sink, server, level, event, args);
    va_end(args);
}

/* ----------------------------------------------------------------------------------- the thread */

/* All of it, however long it takes; false if the descriptor takes nothing. */
static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n >= 0) {
            bytes += n;
            len -= (size_t)n;
        } else if (errno == EAGAIN) { /* whoever gave it to us made it non-blocking */
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            poll(&wait, 1, -1);
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

static uint64_t count_lines(const char *bytes, size_t len)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += bytes[i] == '\n';
    return n;
}

/* With the mutex held. */
static void take_descriptor(struct logsink *sink)
{
    if (sink->next_fd < 0)
        return;
    if (sink->fd != STDERR_FILENO)
        close(sink->fd);
    sink->fd = sink->next_fd;
    sink->next_fd = -1;
}

/* With the mutex held, which is let go while writing. */
static void write_chunk(struct logsink *sink)
{
    char chunk[CHUNK_SIZE];
    size_t n = sink->len < sizeof(chunk) ? sink->len : sizeof(chunk);
    if (n > RING_SIZE - sink->begin)
        n = RING_SIZE - sink->begin;
    memcpy(chunk, sink->ring + sink->begin, n);
    sink->begin = (sink->begin + n) % RING_SIZE;
    sink->len -= n;
    int fd = sink->fd;
    uv_mutex_unlock(&sink->mutex);
    bool written = write_all(fd, chunk, n);
    uv_mutex_lock(&sink->mutex);
    if (!written)
        sink->dropped += count_lines(chunk, n);
}

/* With the mutex held, which is let go meanwhile. An error, many lines, another descriptor and the
 * end are not waited for. */
static void gather(struct logsink *sink)
{
    sink->gathering = true;
    uv_cond_timedwait(&sink->changed, &sink->mutex, GATHER_MS * 1000000u);
    sink->gathering = false;
}

static void thread_main(void *arg)
{
    struct logsink *sink = arg;
    bool wrote = false, told = false;
    uv_mutex_lock(&sink->mutex);
    for (;;) {
        take_descriptor(sink);
        if (sink->len) {
            write_chunk(sink);
            wrote = true;
        } else if (sink->ending && sink->dropped && !told) {
            told = true; /* once: the descriptor may take nothing any more */
            tell_dropped(sink);
        } else if (sink->ending) {
            break;
        } else if (wrote) {
            gather(sink);
            wrote = false;
        } else {
            uv_cond_wait(&sink->changed, &sink->mutex);
        }
    }
    sink->ended = true;
    uv_cond_signal(&sink->quiet);
    uv_mutex_unlock(&sink->mutex);
}

/* ----------------------------------------------------------------------------- opening, closing */

/* The descriptor for a path; -1 with `problem`. */
static int open_path(const char *path, char *problem, size_t size)
{
    if (!*path)
        return STDERR_FILENO;
    /* Non-blocking for the opening alone: a FIFO without a reader would hold us. */
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    if (fd < 0) {
        snprintf(problem, size,
                 "the log file %s cannot be opened: %s; choose another by --log-file", path,
                 strerror(errno));
        return -1;
    }
    fcntl(fd, F_SETFL, O_APPEND);
    return fd;
}

int logsink_prepare(const char *path, char *problem, size_t size)
{
    return open_path(path, problem, size);
}

void logsink_discard(int fd)
{
    if (fd >= 0 && fd != STDERR_FILENO)
        close(fd);
}

void logsink_switch(struct logsink *sink, int fd)
{
    uv_mutex_lock(&sink->mutex);
    logsink_discard(sink->next_fd);
    sink->next_fd = fd;
    uv_cond_signal(&sink->changed);
    uv_mutex_unlock(&sink->mutex);
}

bool logsink_hand_over(const struct logsink *sink, const char *path, uid_t uid, gid_t gid)
{
    struct stat opened, named;
    if (sink->fd == STDERR_FILENO || fstat(sink->fd, &opened) < 0 || lstat(path, &named) < 0)
        return true;
    if (!S_ISREG(opened.st_mode) || opened.st_nlink != 1 || opened.st_dev != named.st_dev ||
        opened.st_ino != named.st_ino)
        return true;
    return fchown(sink->fd, uid, gid) == 0;
}

void logsink_set(struct logsink *sink, int level, bool json)
{
    sink->level = level;
    sink->json = json;
}

int logsink_open(struct logsink **out, const char *path, char *problem, size_t size)
{
    int fd = open_path(path, problem, size);
    if (fd < 0)
        return -1;
    struct logsink *sink = calloc(1, sizeof(*sink));
    if (sink) {
        sink->fd = fd;
        sink->next_fd = -1;
        sink->level = CHATHUB_INFO;
        if (uv_mutex_init(&sink->mutex) == 0 && uv_cond_init(&sink->changed) == 0 &&
            uv_cond_init(&sink->quiet) == 0 &&
            uv_thread_create(&sink->thread, thread_main, sink) == 0) {
            *out = sink;
            return 0;
        }
    }
    free(sink);
    snprintf(problem, size, "out of memory");
    return -1;
}

void logsink_close(struct logsink *sink)
{
    if (!sink)
        return;
    uv_mutex_lock(&sink->mutex);
    sink->ending = true;
    uv_cond_signal(&sink->changed);
    uint64_t end = uv_hrtime() + CLOSE_WAIT;
    for (uint64_t now = uv_hrtime(); !sink->ended && now < end; now = uv_hrtime())
        uv_cond_timedwait(&sink->quiet, &sink->mutex, end - now);
    bool ended = sink->ended;
    uv_mutex_unlock(&sink->mutex);
    if (!ended)
        return; /* the thread hangs in a write; it has the sink until the process ends */
    uv_thread_join(&sink->thread);
    if (sink->fd != STDERR_FILENO)
        close(sink->fd);
    uv_cond_destroy(&sink->quiet);
    uv_cond_destroy(&sink->changed);
    uv_mutex_destroy(&sink->mutex);
    free(sink);
}
