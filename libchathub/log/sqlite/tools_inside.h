/* What the tools' files share. */
#ifndef CHI_LOG_SQLITE_TOOLS_INSIDE_H
#define CHI_LOG_SQLITE_TOOLS_INSIDE_H

#include "log/sqlite/file.h"
#include "log/sqlite/tools.h"

/* How long a lock of another program is waited for. */
#define CHI_TOOL_BUSY_MS 10000

struct chi_problem_text chi_tool_problem(const struct chi_tool *tool);
/* A connection that reads. 0 or an error that is told. */
int chi_tool_open(const struct chi_tool *tool, sqlite3 **out);
/* Tells how far it is. What the caller wants it to end with, which is told; 0: it goes on. */
int chi_tool_progress(const struct chi_tool *tool, uint64_t done, uint64_t total);
/* What was read last and what is read next is of one moment. SQLite's code. */
int chi_tool_begin_reading(sqlite3 *db);

#endif
