/* Tools for the file of an SQLite log: copying, checking, reading and filling it, where no hub runs
 * on it or (all but filling) beside one that does. They block.
 *
 * Whoever uses them needs no sqlite3.h: a build without SQLite has them too, and they refuse
 * (log/no_tools.c). */
#ifndef CHI_LOG_SQLITE_TOOLS_H
#define CHI_LOG_SQLITE_TOOLS_H

#include "chathub.h"
#include "core/entry.h"
#include "core/env.h"
#include "core/settings.h"

/* What each tool works with. */
struct chi_tool {
    const char *path;             /* the log's file */
    char *problem;                /* on an error: what is wrong and what to do, one line */
    size_t size;                  /* bytes there */
    chathub_progress_cb progress; /* NULL: nobody asks */
    void *arg;                    /* for progress */
};

/* As the public functions say (chathub.h). */
int chi_tool_backup(const struct chi_tool *tool, const char *file);
int chi_tool_check(const struct chi_tool *tool, chathub_line_cb fault, void *arg);

/* An entry of a room, which is named by its comparison key. 0, or what the tool is to end with. */
typedef int (*chi_tool_entry_cb)(void *arg, struct chi_span room, const struct chi_entry *entry);
/* room: a comparison key; without bytes: all rooms. CHATHUB_ENOROOM. */
int chi_tool_export(const struct chi_tool *tool, struct chi_span room, chi_tool_entry_cb each,
                    void *arg);

struct chi_import; /* opaque: a log's file in the hands of its only writer, in mid-transaction */

/* `tool` and what it points to stay until the import is freed; its progress is not used. Of `env`,
 * wall and random are. *out is to be freed, after an error too. */
int chi_import_begin(const struct chi_tool *tool, const struct chi_settings *settings,
                     struct chi_env env, struct chi_import **out);
/* Appends an entry that has its time; it gets position and prev. 1: added; 0: left out, it is there
 * by its cid; negative: an error, after which only free may follow. Here alone the problem says
 * nothing of the file if it is about the entry: CHATHUB_EREQUEST, CHATHUB_ECIDREUSED,
 * CHATHUB_EFULL. */
int chi_import_add(struct chi_import *import, struct chi_span room, struct chi_entry *entry);
/* All that was added is there, written through, when it answers 0; on an error nothing of it is,
 * unless the problem says that this is not known (CHATHUB_EUNKNOWN). */
int chi_import_commit(struct chi_import *import);
/* Takes back what was not committed. NULL is allowed. */
void chi_import_free(struct chi_import *import);

#endif
