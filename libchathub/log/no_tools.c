/* The tools of a build without SQLite. */
#include <stdio.h>

#include "log/sqlite/tools.h"

static int refuse(const struct chi_tool *tool)
{
    snprintf(tool->problem, tool->size,
             "option log: sqlite:%s: this build has no SQLite; build with -Dsqlite=enabled",
             tool->path);
    return CHATHUB_EFEATURE;
}

int chi_tool_backup(const struct chi_tool *tool, const char *file)
{
    (void)file;
    return refuse(tool);
}

int chi_tool_check(const struct chi_tool *tool, chathub_line_cb fault, void *arg)
{
    (void)fault, (void)arg;
    return refuse(tool);
}

int chi_tool_export(const struct chi_tool *tool, struct chi_span room, chi_tool_entry_cb each,
                    void *arg)
{
    (void)room, (void)each, (void)arg;
    return refuse(tool);
}

int chi_import_begin(const struct chi_tool *tool, const struct chi_settings *settings,
                     struct chi_env env, struct chi_import **out)
{
    (void)settings, (void)env;
    *out = NULL;
    return refuse(tool);
}

/* Nothing has ever begun. */
int chi_import_add(struct chi_import *import, struct chi_span room, struct chi_entry *entry)
{
    (void)import, (void)room, (void)entry;
    return CHATHUB_EFEATURE;
}

int chi_import_commit(struct chi_import *import)
{
    (void)import;
    return CHATHUB_EFEATURE;
}

void chi_import_free(struct chi_import *import)
{
    (void)import;
}
