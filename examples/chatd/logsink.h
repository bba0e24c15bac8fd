/* Log lines: the hub's records and chatd's own, as logfmt or JSON, to standard error or a file.
 *
 * Happy path: logsink_record makes a line and puts it into a bounded buffer; a thread of the sink's
 * own takes it from there and writes it. So a terminal that is halted, a pipe that nobody reads or
 * a slow disk holds up that thread, never the loop, and nobody else's descriptor has to be made
 * non-blocking.
 * Failures: buffer full, or a write that fails: the lines are dropped and counted, and the next
 * line that fits is preceded by one that tells how many. */
#ifndef CHATD_LOGSINK_H
#define CHATD_LOGSINK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "chathub.h"

struct logsink;

/* Opens `path` (created with mode 0600, appended to), or takes standard error where it is "". 0,
 * or -1 with one line in `problem`. */
int logsink_open(struct logsink **out, const char *path, char *problem, size_t size);

/* A descriptor for `path` (again), to hand to logsink_switch or logsink_discard; -1 with `problem`
 * and everything as it was. */
int logsink_prepare(const char *path, char *problem, size_t size);
/* From now on lines go to a prepared descriptor. */
void logsink_switch(struct logsink *sink, int fd);
void logsink_discard(int fd); /* -1 is allowed */

/* Before root is given up: makes `path`, at which the sink was opened, a file of this user, so that
 * it can be opened again. Leaves alone what is no plain file, is a link, or has other links: in a
 * folder of others these could lead anywhere. False: the system refused. */
bool logsink_hand_over(const struct logsink *sink, const char *path, uid_t uid, gid_t gid);

/* Records of less than `level` (enum chathub_level) are left out from now on. */
void logsink_set(struct logsink *sink, int level, bool json);

/* A hub's record; `server` tells which hub's, NULL: nobody has to be told. */
void logsink_record(struct logsink *sink, const struct chathub_record *record, const char *server);

/* A line of chatd's own; each field is a key and a text, the last key NULL. */
void logsink_say(struct logsink *sink, int level, const char *event, ...);
/* The same about one server. */
void logsink_say_of(struct logsink *sink, const char *server, int level, const char *event, ...);

/* Waits until everything is written, but not longer than a second; then ends it. NULL is
 * allowed. */
void logsink_close(struct logsink *sink);

/* "debug", "info", "warning", "error" as a number; -1 if it is none. */
int logsink_level(const char *word);

#endif
