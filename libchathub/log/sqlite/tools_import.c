/* Filling an SQLite log's file from elsewhere: as a writer does, but in one transaction.
 *
 * Happy path: begin takes the file's lock, opens it as a hub would, under an epoch of its own (a
 * position that a crash took back must not seem to be one of these), and begins a transaction; add
 * appends; commit ends it, and puts the file in order. What the transaction holds waits in
 * PATH-wal, not in memory. Failure modes: free rolls back; the new epoch stays, which says
 * nothing. */
#include "log/sqlite/tools_inside.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "log/log.h"
#include "log/sqlite/dups.h"
#include "log/sqlite/file_inside.h"
#include "log/sqlite/store.h"
#include "util/buf.h"

/* One transaction can remember so many cids: until it has ended they are all in memory. */
#define CIDS_MOST (CHI_DUPS_RUN * 15u)
/* They are written so many at once. */
#define CIDS_ROW 1024u
/* Free space is looked at after so many bytes. */
#define SPACE_BYTES (1u << 20)
/* Clocks differ; beyond, retention by age would wait for that time to come. */
#define FUTURE_MS UINT64_C(86400000)

struct chi_import {
    const struct chi_tool *tool;
    const struct chi_settings *settings;
    int lock;    /* descriptor of the side file; -1: none */
    sqlite3 *db; /* owned, as the next two */
    struct chi_store *store;
    struct chi_dups *dups;
    uint64_t now;                /* Unix ms, when it began */
    uint64_t since;              /* cids of before are not remembered */
    uint64_t most;               /* cids that may be remembered */
    uint64_t last;               /* newest position */
    uint32_t cids;               /* added */
    struct chi_buf key;          /* of the room at hand */
    struct chi_stored_room room; /* the room at hand, not saved yet */
    uint64_t written;            /* bytes of entries … */
    uint64_t looked; /* … as of the last look at free space, and 1; 0: there was none */
};

static int tell(struct chi_import *import, int code)
{
    return chi_file_tell_sqlite(chi_tool_problem(import->tool), import->tool->path, import->db,
                                code);
}

/* ------------------------------------------------------------------------------------ beginning */

/* As a hub would remember them. */
static void set_bounds(struct chi_import *import)
{
    struct chi_log_bounds bounds = chi_log_bounds(import->settings, &chi_log_sqlite_bounds);
    import->since = chi_log_since(import->now, bounds.cid_horizon);
    import->most = bounds.cids;
}

static int open_file(struct chi_import *import)
{
    const struct chi_tool *tool = import->tool;
    struct chi_problem_text problem = chi_tool_problem(tool);
    int error = chi_file_lock(tool->path, &import->lock, problem);
    if (!error)
        error = chi_file_check(tool->path, problem);
    if (!error)
        error =
            chi_file_open(tool->path, CHI_FILE_WRITE_FULL, CHI_TOOL_BUSY_MS, &import->db, problem);
    return error;
}

static int begin_epoch(struct chi_import *import, struct chi_env env)
{
    uint8_t random[CHI_EPOCH_LEN * 3 / 4];
    char name[CHI_BASE64URL_SIZE(sizeof(random))];
    struct chi_epoch *epochs;
    uint32_t count;
    env.ops->random(env.self, random, sizeof(random));
    chi_base64url(random, sizeof(random), name);
    int code = chi_file_epoch(import->db, name, &epochs, &count, &import->last);
    free(epochs);
    return code;
}

/* What housekeeping of cids is due: memory is needed for those to come. Codes are SQLite's. */
static int keep_house(struct chi_import *import)
{
    int code = SQLITE_OK;
    bool more;
    while (code == SQLITE_OK && chi_dups_due(import->dups, import->since)) {
        code = chi_store_begin(import->store);
        if (code == SQLITE_OK)
            code = chi_dups_step(import->dups, import->since, &more);
        if (code == SQLITE_OK)
            code = chi_store_commit(import->store);
        if (code == SQLITE_OK)
            chi_dups_committed(import->dups);
    }
    return code;
}

static int open_parts(struct chi_import *import, struct chi_env env)
{
    uint8_t secret[CHI_FILE_SECRET];
    int code = chi_file_secret(import->db, secret);
    if (code == SQLITE_OK)
        code = chi_store_new(import->db, true, &import->store);
    if (code == SQLITE_OK)
        code = chi_dups_open(import->db, secret, &import->dups);
    if (code == SQLITE_OK)
        code = begin_epoch(import, env);
    if (code == SQLITE_OK)
        code = keep_house(import);
    return code == SQLITE_OK ? chi_store_begin(import->store) : code;
}

int chi_import_begin(const struct chi_tool *tool, const struct chi_settings *settings,
                     struct chi_env env, struct chi_import **out)
{
    struct chi_import *import = calloc(1, sizeof(*import));
    *out = import;
    if (!import)
        return chi_file_tell_system(chi_tool_problem(tool), tool->path, NULL, ENOMEM);
    *import = (struct chi_import){.tool = tool, .settings = settings, .lock = -1};
    import->now = env.ops->wall(env.self);
    set_bounds(import);
    int error = open_file(import);
    if (error)
        return error;
    int code = open_parts(import, env);
    return code == SQLITE_OK ? 0 : tell(import, code);
}

/* ------------------------------------------------------------------------------------ appending */

__attribute__((format(printf, 3, 4))) static int refuse(struct chi_import *import, int error,
                                                        const char *format, ...)
{
    va_list rest;
    va_start(rest, format);
    vsnprintf(import->tool->problem, import->tool->size, format, rest);
    va_end(rest);
    return error;
}

/* What is in the WAL will be in the file, too. */
static int check_space(struct chi_import *import)
{
    struct statvfs disk;
    uint64_t wanted = import->settings->log_free;
    if (import->looked && import->written < import->looked + SPACE_BYTES)
        return 0;
    import->looked = import->written + 1;
    if (!wanted || statvfs(import->tool->path, &disk) ||
        (uint64_t)disk.f_bavail * disk.f_frsize >= wanted + import->written)
        return 0;
    return chi_file_tell(chi_tool_problem(import->tool), import->tool->path, CHATHUB_EIO,
                         "cannot take all of this: its disk would have less left than log-free "
                         "demands; free some space, or set log-free lower");
}

static int save_room(struct chi_import *import)
{
    return import->room.id ? chi_store_room_save(import->store, &import->room) : SQLITE_OK;
}

/* Takes a room in hand. */
static int turn_to(struct chi_import *import, struct chi_span key)
{
    if (chi_span_equal(key, (struct chi_span){import->key.at, import->key.len}))
        return SQLITE_OK;
    int code = save_room(import);
    chi_buf_reset(&import->key, SIZE_MAX);
    chi_buf_add(&import->key, key.at, key.len);
    if (code == SQLITE_OK && import->key.failed)
        code = SQLITE_NOMEM;
    return code == SQLITE_OK ? chi_store_room(import->store, key, &import->room) : code;
}

static int remember(struct chi_import *import, struct chi_cid *cid, uint64_t time)
{
    if (import->cids == CIDS_MOST)
        return refuse(import, CHATHUB_EFULL,
                      "there are more than %u recent entries with a cid; import them in parts",
                      CIDS_MOST);
    if (chi_dups_count(import->dups) >= import->most)
        return refuse(import, CHATHUB_EFULL,
                      "as many cids are remembered as max-cids allows; raise it for the import");
    cid->position = import->last + 1;
    cid->time = time;
    int code = chi_dups_add(import->dups, cid);
    if (code == SQLITE_OK && ++import->cids % CIDS_ROW == 0)
        code = chi_dups_write(import->dups);
    return code == SQLITE_OK ? 1 : tell(import, code);
}

/* 1: it is new, and remembered from now on where it is recent; 0: it is there; negative: an
 * error. */
static int look_up(struct chi_import *import, struct chi_span key, const struct chi_entry *entry)
{
    uint64_t time = entry->time < import->now ? entry->time : import->now;
    struct chi_cid cid, first;
    if (!entry->cid_len || time < import->since)
        return 1;
    cid = chi_dups_of(import->dups, key, entry);
    int code = chi_dups_find(import->dups, &cid, import->since, &first);
    if (code == SQLITE_DONE)
        return remember(import, &cid, time);
    if (code != SQLITE_ROW)
        return tell(import, code);
    if (first.content == cid.content)
        return 0;
    return refuse(import, CHATHUB_ECIDREUSED,
                  "\"cid\" was used for another post of this sender in this room (position %llu)",
                  (unsigned long long)first.position);
}

int chi_import_add(struct chi_import *import, struct chi_span key, struct chi_entry *entry)
{
    if (entry->time > import->now + FUTURE_MS)
        return refuse(import, CHATHUB_EREQUEST, "\"timestamp\" is a time to come");
    if (import->last >= CHI_POSITION_MAX - 1)
        return refuse(import, CHATHUB_EFULL, "there are no positions left");
    int result = check_space(import);
    if (!result)
        result = look_up(import, key, entry);
    if (result <= 0)
        return result;
    int code = turn_to(import, key);
    if (code != SQLITE_OK)
        return tell(import, code);
    entry->position = ++import->last;
    entry->prev = import->room.top;
    code = chi_store_append(import->store, &import->room, key, entry);
    import->written += chi_entry_size(entry);
    return code == SQLITE_OK ? 1 : tell(import, code);
}

/* --------------------------------------------------------------------------------------- ending */

int chi_import_commit(struct chi_import *import)
{
    const char *why;
    int code = save_room(import);
    if (code == SQLITE_OK)
        code = chi_dups_write(import->dups);
    if (code != SQLITE_OK)
        return tell(import, code);
    code = chi_store_commit(import->store);
    enum chi_file_trouble trouble = chi_file_trouble(code, &why);
    if (code != SQLITE_OK && (trouble == CHI_TROUBLE_SYNC || trouble == CHI_TROUBLE_OTHER))
        return chi_file_tell(chi_tool_problem(import->tool), import->tool->path, CHATHUB_EUNKNOWN,
                             "may or may not have taken it all: %s; look into it before you try "
                             "again",
                             why);
    if (code != SQLITE_OK)
        return tell(import, code);
    chi_dups_committed(import->dups);
    keep_house(import); /* else the next hub does it */
    return 0;
}

void chi_import_free(struct chi_import *import)
{
    if (!import)
        return;
    if (import->store)
        chi_store_rollback(import->store);
    if (import->dups)
        chi_dups_rolled_back(import->dups);
    chi_dups_free(import->dups);
    chi_store_free(import->store);
    if (import->db)
        sqlite3_wal_checkpoint_v2(import->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    chi_file_close(import->db);
    if (import->lock >= 0)
        close(import->lock);
    chi_buf_fini(&import->key);
    free(import);
}
