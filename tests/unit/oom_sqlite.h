/* As oom.h, and SQLite asks here as well: one allocation after the other fails. */
#ifndef OOM_SQLITE_H
#define OOM_SQLITE_H

#include <sqlite3.h>

#include "oom.h"

static long until = -1; /* allocations that still succeed; -1: all */
static bool armed;      /* they fail, and are counted, now: check's own must not */
static sqlite3_mem_methods standard;

static bool fails(void)
{
    return armed && until >= 0 && until-- == 0;
}

static void *sqlite_malloc(int size)
{
    return fails() ? NULL : standard.xMalloc(size);
}

static void *sqlite_realloc(void *at, int size)
{
    return fails() ? NULL : standard.xRealloc(at, size);
}

/* Before anything else of SQLite. No lookaside, so that all that it needs is asked here. */
static bool count_allocations(void)
{
    sqlite3_mem_methods mine;
    if (sqlite3_config(SQLITE_CONFIG_GETMALLOC, &standard) != SQLITE_OK)
        return false;
    mine = standard;
    mine.xMalloc = sqlite_malloc;
    mine.xRealloc = sqlite_realloc;
    return sqlite3_config(SQLITE_CONFIG_MALLOC, &mine) == SQLITE_OK &&
           sqlite3_config(SQLITE_CONFIG_LOOKASIDE, 0, 0) == SQLITE_OK;
}

#endif
