#include "datafile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KIND   "sqlite:"
#define FOLDER "chatd-data/"
#define SHARED "jetstream:"

const char *chatd_datafile_path(const char *log)
{
    size_t len = strlen(KIND);
    return strncmp(log, KIND, len) == 0 && log[len] ? log + len : NULL;
}

/* ---------------------------------------------------------------------------------- the default */

/* What stands between the last colon and the path of ws://HOST:PORT/PATH, if it is such a URL. */
static bool port_of(const char *url, char *out, size_t size)
{
    const char *rest = strstr(url, "://");
    if (!rest)
        return false;
    rest += 3;
    size_t end = strcspn(rest, "/?"), from = end;
    while (from > 0 && rest[from - 1] != ':')
        from--;
    snprintf(out, size, "%.*s", (int)(end - from), rest + from);
    return from > 0 && from < end;
}

/* The name of the file in ws+unix:/path/of/NAME.sock?path=/ws. */
static void socket_of(const char *url, char *out, size_t size)
{
    const char *path = strchr(url, ':');
    size_t end = path ? strcspn(path, "?") : 0, from = end;
    while (from > 0 && path[from - 1] != '/')
        from--;
    snprintf(out, size, "%.*s", (int)(end - from), path ? path + from : "");
    char *dot = strrchr(out, '.');
    if (dot && dot != out)
        *dot = '\0';
}

/* url: where it listens; NULL: where the option listen says. */
static void place_of(const struct chatd_settings *settings, const char *url, char *out, size_t size)
{
    if (url && port_of(url, out, size))
        return;
    for (size_t i = 0; (url = chatd_settings_listen(settings, i)) != NULL; i++) {
        if (port_of(url, out, size))
            return;
    }
    url = chatd_settings_listen(settings, 0);
    socket_of(url ? url : "", out, size);
}

/* Parts of a file's name are letters and digits, and what else means nothing there. */
static void make_plain(char *text)
{
    for (char *at = text; *at; at++) {
        unsigned char c = (unsigned char)*at;
        bool plain = c >= 0x80 || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                     (c >= '0' && c <= '9') || c == '-' || c == '_' || (c == '.' && at != text);
        if (!plain)
            *at = '_';
    }
}

bool chatd_datafile_is_folder(const char *log)
{
    return chatd_datafile_path(log) && log[strlen(log) - 1] == '/';
}

/* sqlite:FOLDER/NAME-PORT.db; `folder` is cut to its bytes. NULL: no memory. */
static char *name_file(const struct chatd_settings *settings, const char *folder, size_t len,
                       const char *name, const char *url)
{
    char plain[80], place[128];
    snprintf(plain, sizeof(plain), "%s", name);
    place_of(settings, url, place, sizeof(place));
    make_plain(plain);
    make_plain(place);
    size_t size = len + sizeof(KIND) + sizeof(plain) + sizeof(place);
    char *text = malloc(size);
    if (text)
        snprintf(text, size, KIND "%.*s%s-%s.db", (int)len, folder, plain, place);
    return text;
}

/* Bytes of jetstream:SERVERS without the /STREAM behind it; 0: it is no such log. */
static size_t without_stream(const char *log)
{
    if (strncmp(log, SHARED, strlen(SHARED)) != 0)
        return 0;
    /* Behind the last server's user and password, which may hold slashes. */
    const char *comma = strrchr(log, ','), *last = comma ? comma + 1 : log + strlen(SHARED);
    const char *at = strrchr(last, '@'), *scheme = strstr(last, "://");
    const char *host = at ? at + 1 : scheme ? scheme + 3 : last;
    return (size_t)(host - log) + strcspn(host, "/");
}

bool chatd_datafile_is_one(const char *log)
{
    size_t len = without_stream(log);
    return len ? log[len] != '\0' : chatd_datafile_path(log) && !chatd_datafile_is_folder(log);
}

/* How much of a server's text says how to reach it. */
static size_t scheme_of(const char *server)
{
    static const char *const schemes[] = {"nats://", "tls://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++)
        if (strncmp(server, schemes[i], strlen(schemes[i])) == 0)
            return strlen(schemes[i]);
    return 0;
}

char *chatd_datafile_shown(const char *log)
{
    char *shown = NULL;
    size_t size, head = strlen(SHARED);
    if (!without_stream(log))
        return strdup(log);
    FILE *out = open_memstream(&shown, &size);
    if (!out)
        return NULL;
    for (const char *from = log; *from; head = 0) {
        size_t len = strcspn(from, ",");
        const char *rest = memrchr(from, '@', len), *end = from + len + (from[len] == ',');
        head += scheme_of(from + head);
        if (rest)
            fprintf(out, "%.*s***", (int)head, from);
        else
            rest = from;
        fwrite(rest, 1, (size_t)(end - rest), out);
        from = end;
    }
    if (fclose(out) == 0)
        return shown;
    free(shown);
    return NULL;
}

/* jetstream:SERVERS/NAME, of which `len` bytes of `log` are the servers. NULL: no memory. */
static char *name_stream(const char *log, size_t len, const char *name)
{
    char *text = NULL;
    return asprintf(&text, "%.*s/%s", (int)len, log, name) < 0 ? NULL : text;
}

char *chatd_datafile_log(const struct chatd_settings *settings, const char *name, const char *url)
{
    const struct chatd_setting *log = chatd_settings_find(settings, "log");
    const char *text = chatd_setting_text(log), *path = chatd_datafile_path(text);
    size_t servers = without_stream(text);
    if (servers && !text[servers] && chatd_settings_by_servers(settings))
        return name_stream(text, servers, name);
    if (!chatd_datafile_is_folder(text))
        return strdup(text);
    return name_file(settings, path, strlen(path), name, url);
}

char *chatd_datafile_beside(const struct chatd_settings *settings, const char *name,
                            const char *url)
{
    const struct chatd_setting *log = chatd_settings_find(settings, "log");
    const char *text = chatd_setting_text(log), *path = chatd_datafile_path(text);
    size_t servers = without_stream(text);
    if (servers)
        return name_stream(text, servers, name);
    if (!path)
        return strdup(text);
    const char *slash = strrchr(path, '/');
    return name_file(settings, path, slash ? (size_t)(slash + 1 - path) : 0, name, url);
}

int chatd_datafile_default(struct chatd_settings *settings, struct chatd_problem *problem)
{
    struct chatd_setting *log = chatd_settings_find(settings, "log");
    if (!log || log->count || !chathub_has("sqlite"))
        return 0;
    char *text = chatd_settings_by_servers(settings)
                     ? strdup(KIND FOLDER)
                     : name_file(settings, FOLDER, strlen(FOLDER),
                                 chatd_settings_text(settings, "name"), NULL);
    if (!text)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    int result = chatd_settings_give(log, CHATD_DEFAULT, text, "--log", problem);
    free(text);
    return result;
}

/* --------------------------------------------------------------------------------- handing over */

/* How much of a path names folders that are there. */
static size_t folders_there(char *path)
{
    size_t there = 0;
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        struct stat is;
        *slash = '\0';
        bool found = stat(path, &is) == 0;
        *slash = '/';
        if (!found)
            break;
        there = (size_t)(slash - path);
    }
    return there;
}

int chatd_datafile_look(struct chatd_datafile *file, const char *log, const struct chatd_user *user,
                        struct chatd_problem *problem)
{
    const char *path = chatd_datafile_path(log);
    *file = (struct chatd_datafile){0};
    if (!path || !user->name)
        return 0;
    file->path = strdup(path);
    if (!file->path)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    file->there = folders_there(file->path);
    return 0;
}

/* By a descriptor that can do nothing else: to close one that can read would take away the locks
 * that the log has on its file. */
static void give(const char *path, mode_t kind, const struct chatd_user *user)
{
    struct stat is;
    int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return;
    if (fstat(fd, &is) == 0 && (is.st_mode & S_IFMT) == kind && is.st_uid == 0 &&
        (kind == S_IFDIR || is.st_nlink == 1) &&
        fchownat(fd, "", user->uid, user->gid, AT_EMPTY_PATH) < 0)
        errno = 0; /* chatd_datafile_usable tells what it led to */
    close(fd);
}

/* PATH and what the log has beside it. */
static const char *const suffixes[] = {"", "-wal", "-shm", "-lock"};

void chatd_datafile_hand_over(const struct chatd_datafile *file, const struct chatd_user *user)
{
    if (!file->path)
        return;
    size_t size = strlen(file->path) + 8;
    char *name = malloc(size);
    for (size_t i = 0; name && i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
        snprintf(name, size, "%s%s", file->path, suffixes[i]);
        give(name, S_IFREG, user);
    }
    for (char *slash = name ? strchr(file->path + file->there + 1, '/') : NULL; slash;
         slash = strchr(slash + 1, '/')) {
        snprintf(name, size, "%.*s", (int)(slash - file->path), file->path);
        give(name, S_IFDIR, user);
    }
    free(name);
}

/* By its absolute name, as SQLite opens it. */
int chatd_datafile_usable(const struct chatd_datafile *file, const struct chatd_user *user,
                          struct chatd_problem *problem)
{
    if (!file->path)
        return 0;
    char *real = realpath(file->path, NULL);
    char *slash = real ? strrchr(real, '/') : NULL;
    bool usable = real && access(real, R_OK | W_OK) == 0;
    if (slash)
        slash[slash == real] = '\0';
    usable = usable && access(real, W_OK | X_OK) == 0;
    if (!usable)
        chatd_problem(
            problem, CHATD_EXIT_OTHER,
            "--user: %.64s cannot write the log's file %s, or cannot get into its folder; "
            "make both its own (chown), or name another place by --log sqlite:PATH",
            user->name, file->path);
    free(real);
    return usable ? 0 : -1;
}

void chatd_datafile_free(struct chatd_datafile *file)
{
    free(file->path);
    file->path = NULL;
}
