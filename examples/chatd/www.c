#include "www.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 16
#define MAX_FILES 4096
#define MAX_BYTES (64u * 1024u * 1024u)
#define MAX_PATH  1024

struct file {
    char *path;           /* as asked for, owned */
    unsigned char *owned; /* NULL: bytes are static or another file's */
    const unsigned char *bytes;
    size_t len;
};

struct chatd_www {
    struct file *files; /* owned */
    size_t count;       /* of files */
    size_t cap;         /* places allocated */
    size_t bytes;       /* of all files */
};

/* A folder being read. */
struct walk {
    struct chatd_www *www;
    const char *dir; /* as the operator named it */
    struct chatd_problem *problem;
    unsigned depth;
};

/* -------------------------------------------------------------------------------- content types */

static const struct {
    const char *ending, *type;
} types[] = {
    {"html", "text/html; charset=utf-8"},
    {"htm", "text/html; charset=utf-8"},
    {"css", "text/css; charset=utf-8"},
    {"js", "text/javascript; charset=utf-8"},
    {"mjs", "text/javascript; charset=utf-8"},
    {"json", "application/json"},
    {"map", "application/json"},
    {"webmanifest", "application/manifest+json"},
    {"txt", "text/plain; charset=utf-8"},
    {"md", "text/plain; charset=utf-8"},
    {"csv", "text/csv; charset=utf-8"},
    {"xml", "application/xml"},
    {"svg", "image/svg+xml"},
    {"png", "image/png"},
    {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"gif", "image/gif"},
    {"webp", "image/webp"},
    {"avif", "image/avif"},
    {"ico", "image/x-icon"},
    {"woff", "font/woff"},
    {"woff2", "font/woff2"},
    {"ttf", "font/ttf"},
    {"otf", "font/otf"},
    {"mp3", "audio/mpeg"},
    {"ogg", "audio/ogg"},
    {"wav", "audio/wav"},
    {"mp4", "video/mp4"},
    {"webm", "video/webm"},
    {"pdf", "application/pdf"},
    {"wasm", "application/wasm"},
};

static const char *type_of(const char *path)
{
    const char *name = strrchr(path, '/');
    const char *ending = strrchr(path, '.');
    if (name && name[1] == '\0')
        return types[0].type; /* a folder's index.html */
    for (size_t i = 0; ending && i < sizeof(types) / sizeof(types[0]); i++) {
        if (strcasecmp(ending + 1, types[i].ending) == 0)
            return types[i].type;
    }
    return "application/octet-stream";
}

/* ------------------------------------------------------------------------------------ the table */

static int add(struct chatd_www *www, const char *path, unsigned char *owned,
               const unsigned char *bytes, size_t len)
{
    if (www->count == www->cap) {
        size_t cap = www->cap ? 2 * www->cap : 16;
        struct file *files = realloc(www->files, cap * sizeof(*files));
        if (!files)
            return -1;
        www->files = files;
        www->cap = cap;
    }
    struct file *file = &www->files[www->count];
    *file = (struct file){strdup(path), owned, bytes, len};
    if (!file->path)
        return -1;
    www->count++;
    return 0;
}

void chatd_www_free(struct chatd_www *www)
{
    if (!www)
        return;
    for (size_t i = 0; i < www->count; i++) {
        free(www->files[i].path);
        free(www->files[i].owned);
    }
    free(www->files);
    free(www);
}

/* -------------------------------------------------------------------------------------- serving */

int chatd_www_serve(const struct chatd_www *www, struct chathub *hub, struct chatd_problem *problem)
{
    for (size_t i = 0; i < www->count; i++) {
        const struct file *file = &www->files[i];
        if (chathub_asset(hub, file->path, type_of(file->path), file->bytes, file->len) < 0)
            return chatd_problem(problem, CHATD_EXIT_OTHER, "%s cannot be served: %s", file->path,
                                 chathub_problem(hub));
    }
    return 0;
}

/* A file, and for an index.html its folder's path, too. */
static int add_file(struct chatd_www *www, const char *path, unsigned char *owned,
                    const unsigned char *bytes, size_t len)
{
    static const char index[] = "/index.html";
    size_t path_len = strlen(path), index_len = sizeof(index) - 1;
    if (add(www, path, owned, bytes, len) < 0)
        return -1;
    if (path_len < index_len || strcmp(path + path_len - index_len, index) != 0)
        return 0;
    char folder[MAX_PATH];
    snprintf(folder, sizeof(folder), "%.*s/", (int)(path_len - index_len), path);
    return add(www, folder, NULL, bytes, len);
}

/* -------------------------------------------------------------------------------- reading files */

static int no_memory(const struct walk *w)
{
    return chatd_problem(w->problem, CHATD_EXIT_OTHER, "out of memory");
}

static int unreadable(const struct walk *w, const char *path)
{
    return chatd_problem(w->problem, CHATD_EXIT_OTHER, "--www: %s%s cannot be read: %s", w->dir,
                         path, strerror(errno));
}

static ssize_t read_all(int fd, unsigned char *bytes, size_t len)
{
    size_t have = 0;
    while (have < len) {
        ssize_t n = read(fd, bytes + have, len - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        have += (size_t)n;
    }
    return (ssize_t)have;
}

static int read_file(struct walk *w, int fd, size_t size, const char *path)
{
    struct chatd_www *www = w->www;
    if (size > MAX_BYTES - www->bytes || www->count >= MAX_FILES)
        return chatd_problem(
            w->problem, CHATD_EXIT_OTHER,
            "--www: %s holds more than %u files or %u MiB; they are kept in memory, "
            "serve them by a web server",
            w->dir, MAX_FILES, MAX_BYTES >> 20);
    unsigned char *bytes = malloc(size + 1);
    if (!bytes)
        return no_memory(w);
    ssize_t n = read_all(fd, bytes, size);
    if (n < 0) {
        free(bytes);
        return unreadable(w, path);
    }
    size_t before = www->count;
    if (add_file(www, path, bytes, bytes, (size_t)n) < 0) {
        if (www->count == before)
            free(bytes);
        return no_memory(w);
    }
    www->bytes += (size_t)n;
    return 0;
}

/* Appends a name to a path as a browser would ask for it (RFC 3986 section 3.3). False: too
 * long. */
static bool append_name(char path[MAX_PATH], const char *name)
{
    size_t len = strlen(path);
    if (len + 2 > MAX_PATH)
        return false;
    path[len++] = '/';
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~!$&'()*+,;=:@", c);
        if (len + 4 > MAX_PATH)
            return false;
        len += (size_t)snprintf(path + len, 4, plain ? "%c" : "%%%02X", c);
    }
    path[len] = '\0';
    return true;
}

static int read_folder(struct walk *w, int fd, const char *path);

/* Something in an open folder: a file is read, a folder gone into, anything else passed over. */
static int read_entry(struct walk *w, int parent, const char *name, const char *path)
{
    struct stat info;
    int fd = openat(parent, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return errno == ELOOP || errno == ENXIO ? 0 : unreadable(w, path);
    if (fstat(fd, &info) < 0) {
        close(fd);
        return unreadable(w, path);
    }
    if (S_ISDIR(info.st_mode))
        return read_folder(w, fd, path);
    int result = S_ISREG(info.st_mode) ? read_file(w, fd, (size_t)info.st_size, path) : 0;
    close(fd);
    return result;
}

/* Closes `fd`. */
static int read_folder(struct walk *w, int fd, const char *path)
{
    DIR *dir = w->depth < MAX_DEPTH ? fdopendir(fd) : NULL;
    if (!dir) {
        close(fd);
        errno = w->depth < MAX_DEPTH ? errno : ENAMETOOLONG;
        return unreadable(w, path);
    }
    w->depth++;
    int result = 0;
    for (struct dirent *entry; result == 0 && (entry = readdir(dir));) {
        char below[MAX_PATH];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(below, sizeof(below), "%s", path);
        if (append_name(below, entry->d_name)) {
            result = read_entry(w, dirfd(dir), entry->d_name, below);
        } else {
            errno = ENAMETOOLONG;
            result = unreadable(w, path);
        }
    }
    w->depth--;
    closedir(dir);
    return result;
}

static int load_folder(struct chatd_www *www, const char *dir, struct chatd_problem *problem)
{
    struct walk w = {.www = www, .dir = dir, .problem = problem};
    int fd = open(dir, O_RDONLY | O_CLOEXEC | O_DIRECTORY);
    if (fd < 0)
        return unreadable(&w, "");
    if (read_folder(&w, fd, "") < 0)
        return -1;
    if (www->count)
        return 0;
    return chatd_problem(problem, CHATD_EXIT_OTHER, "--www: there is no file to serve in %s", dir);
}

static int load_page(struct chatd_www *www, struct chatd_problem *problem)
{
    for (size_t i = 0; i < chatd_page_count; i++) {
        const struct chatd_page_file *file = &chatd_page[i];
        if (add_file(www, file->path, NULL, file->bytes, file->len) < 0)
            return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    }
    return 0;
}

int chatd_www_load(struct chatd_www **out, const char *dir, struct chatd_problem *problem)
{
    struct chatd_www *www = calloc(1, sizeof(*www));
    if (!www)
        return chatd_problem(problem, CHATD_EXIT_OTHER, "out of memory");
    int result = *dir ? load_folder(www, dir, problem) : load_page(www, problem);
    if (result < 0)
        chatd_www_free(www);
    else
        *out = www;
    return result;
}
