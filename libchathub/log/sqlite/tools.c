/* What the tools for an SQLite log's file share, and copying it. Checking: tools_check.c; reading:
 * tools_export.c; filling: tools_import.c.
 *
 * A copy is made under FILE-new by SQLite's backup, out of one read transaction, so that it is of
 * one moment however much is written meanwhile, and never has to begin again. It is written
 * through, then renamed. Failure modes: whatever goes wrong, FILE-new is removed; what a crash
 * leaves of it is for people to remove, since it might be another backup that is under way. */
#include "log/sqlite/tools_inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log/sqlite/file_inside.h"

/* Pages copied between two reports. */
#define CHUNK_PAGES 256

/* --------------------------------------------------------------------------------------- shared */

struct chi_problem_text chi_tool_problem(const struct chi_tool *tool)
{
    return (struct chi_problem_text){tool->problem, tool->size};
}

int chi_tool_open(const struct chi_tool *tool, sqlite3 **out)
{
    return chi_file_open(tool->path, CHI_FILE_READ, CHI_TOOL_BUSY_MS, out, chi_tool_problem(tool));
}

int chi_tool_progress(const struct chi_tool *tool, uint64_t done, uint64_t total)
{
    int wish = tool->progress ? tool->progress(done, total, tool->arg) : 0;
    if (wish)
        snprintf(tool->problem, tool->size, "it was ended early, as was asked for");
    return wish;
}

int chi_tool_begin_reading(sqlite3 *db)
{
    int64_t any;
    int code = chi_file_run(db, "BEGIN");
    return code == SQLITE_OK ? chi_file_number(db, "SELECT count(*) FROM epochs", &any) : code;
}

/* --------------------------------------------------------------------------------------- a copy */

struct copy {
    const struct chi_tool *tool;
    const char *file;   /* as it was named: for texts */
    char *real, *new;   /* absolute names of the copy, at last and until then; owned */
    sqlite3 *from, *to; /* connections; owned */
    uint64_t page_bytes;
};

static int tell_copy(const struct copy *copy, const char *why)
{
    snprintf(copy->tool->problem, copy->tool->size, "backup %s cannot be made: %s", copy->file,
             why);
    return CHATHUB_EIO;
}

static int tell_system(const struct copy *copy, int system_error)
{
    tell_copy(copy, strerror(system_error));
    return system_error == ENOMEM ? CHATHUB_ENOMEM : CHATHUB_EIO;
}

static int tell_code(const struct copy *copy, int code)
{
    const char *why;
    enum chi_file_trouble trouble = chi_file_trouble(code, &why);
    tell_copy(copy, why);
    if (trouble == CHI_TROUBLE_MEMORY)
        return CHATHUB_ENOMEM;
    return trouble == CHI_TROUBLE_BUSY ? CHATHUB_EINUSE : CHATHUB_EIO;
}

/* Where it is to be: in a folder that is there, under a name that nothing has. */
static int find_place(struct copy *copy)
{
    struct stat is;
    size_t len = strlen(copy->file);
    if (!len || copy->file[len - 1] == '/')
        return tell_copy(copy, "this names no file");
    int error = chi_file_resolve(copy->file, &copy->real, (struct chi_problem_text){NULL, 0});
    if (error)
        return tell_system(copy, error == CHATHUB_ENOMEM ? ENOMEM : errno);
    copy->new = chi_file_beside(copy->real, "-new");
    if (!copy->new)
        return tell_system(copy, ENOMEM);
    if (lstat(copy->real, &is) == 0)
        return tell_copy(copy, "there is something of this name; name another file, or move that "
                               "away");
    return errno == ENOENT ? 0 : tell_system(copy, errno);
}

static int make_new(struct copy *copy)
{
    int fd = open(copy->new, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int error = 0;
    if (fd >= 0)
        close(fd);
    else if (errno == EEXIST)
        error = tell_copy(copy, "there is a FILE-new of it already: another backup writes it, or "
                                "one was cut off; wait for it, or remove it");
    else
        error = tell_system(copy, errno);
    if (error) { /* it is not ours to remove */
        free(copy->new);
        copy->new = NULL;
    }
    return error;
}

/* Nobody will ever roll it back, so that its journal need not last. */
static int open_ends(struct copy *copy)
{
    int64_t bytes = 0;
    int code = chi_file_connect(copy->new, CHI_WAY_WRITE, 0, &copy->to);
    if (code == SQLITE_OK)
        code = chi_file_settle(copy->to, CHI_WAY_WRITE);
    if (code == SQLITE_OK)
        code = chi_file_run(copy->to, "PRAGMA journal_mode=MEMORY; PRAGMA synchronous=FULL");
    if (code == SQLITE_OK)
        code = chi_tool_begin_reading(copy->from);
    if (code == SQLITE_OK)
        code = chi_file_number(copy->from, "PRAGMA page_size", &bytes);
    copy->page_bytes = (uint64_t)bytes;
    return code == SQLITE_OK ? 0 : tell_code(copy, code);
}

static int report(const struct copy *copy, sqlite3_backup *backup)
{
    uint64_t total = (uint64_t)sqlite3_backup_pagecount(backup);
    uint64_t left = (uint64_t)sqlite3_backup_remaining(backup);
    return chi_tool_progress(copy->tool, (total - left) * copy->page_bytes,
                             total * copy->page_bytes);
}

static int copy_pages(struct copy *copy)
{
    sqlite3_backup *backup = sqlite3_backup_init(copy->to, "main", copy->from, "main");
    if (!backup)
        return tell_code(copy, sqlite3_extended_errcode(copy->to));
    int code, wish = 0;
    do {
        code = sqlite3_backup_step(backup, CHUNK_PAGES);
        if (code == SQLITE_OK || code == SQLITE_DONE)
            wish = report(copy, backup);
    } while (code == SQLITE_OK && !wish);
    int finished = sqlite3_backup_finish(backup);
    if (wish)
        return wish;
    if (code == SQLITE_DONE)
        code = finished;
    return code == SQLITE_OK ? 0 : tell_code(copy, code);
}

static int write_through(const struct copy *copy)
{
    int fd = open(copy->new, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    int failed = fd < 0 || fsync(fd) ? errno : 0;
    if (fd >= 0)
        close(fd);
    return failed ? tell_system(copy, failed) : 0;
}

/* Not over what came there meanwhile, where the file system can tell. */
static int give_name(struct copy *copy)
{
    int failed = renameat2(AT_FDCWD, copy->new, AT_FDCWD, copy->real, RENAME_NOREPLACE);
    if (failed && (errno == EINVAL || errno == ENOSYS))
        failed = rename(copy->new, copy->real);
    if (failed)
        return tell_system(copy, errno);
    free(copy->new);
    copy->new = NULL;
    return chi_file_sync_folder(copy->real) ? tell_system(copy, errno) : 0;
}

static int make_copy(struct copy *copy)
{
    int error = make_new(copy);
    if (!error)
        error = open_ends(copy);
    if (!error)
        error = copy_pages(copy);
    chi_file_close(copy->to);
    copy->to = NULL;
    if (!error)
        error = write_through(copy);
    return error ? error : give_name(copy);
}

int chi_tool_backup(const struct chi_tool *tool, const char *file)
{
    struct copy copy = {.tool = tool, .file = file};
    int error = find_place(&copy);
    if (!error)
        error = chi_tool_open(tool, &copy.from);
    if (!error)
        error = make_copy(&copy);
    chi_file_close(copy.from);
    if (copy.new &&error)
        unlink(copy.new);
    free(copy.new);
    free(copy.real);
    return error;
}
