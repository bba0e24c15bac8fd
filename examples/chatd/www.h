/* What chatd serves over HTTP: the built-in page, or the files of a folder, read into memory
 * once. No request ever reaches the file system: what can be asked for is exactly the paths that
 * were found at the start. */
#ifndef CHATD_WWW_H
#define CHATD_WWW_H

#include <stddef.h>

#include "chathub.h"
#include "settings.h"

/* A file of the built-in page (made at build time by embed.py). */
struct chatd_page_file {
    const char *path;           /* as asked for */
    const unsigned char *bytes; /* static */
    size_t len;                 /* of bytes */
};
extern const struct chatd_page_file chatd_page[];
extern const size_t chatd_page_count;

struct chatd_www;

/* Reads the folder `dir`, or takes the built-in page where it is "". Dotfiles, symbolic links
 * and what is no regular file are left out. 0, or -1 with *problem. */
int chatd_www_load(struct chatd_www **out, const char *dir, struct chatd_problem *problem);

/* Hands everything to the hub, which is freed before the www. 0, or -1 with *problem. */
int chatd_www_serve(const struct chatd_www *www, struct chathub *hub,
                    struct chatd_problem *problem);

void chatd_www_free(struct chatd_www *www); /* NULL is allowed */

#endif
