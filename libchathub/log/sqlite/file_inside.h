/* What the files about an SQLite log's file share: its names, its connections, texts for people.
 *
 * None of them opens a file that may be in use but through SQLite: to close a descriptor of their
 * own would take away the locks that SQLite's connections in this process have on it. */
#ifndef CHI_LOG_SQLITE_FILE_INSIDE_H
#define CHI_LOG_SQLITE_FILE_INSIDE_H

#include <sys/stat.h>

#include "log/sqlite/file.h"

struct chi_schema_step;

/* ---------------------------------------------------------------------------------------- texts */

/* "log sqlite:PATH " and the rest; answers `error`. */
__attribute__((format(printf, 4, 5))) int chi_file_tell(struct chi_problem_text problem,
                                                        const char *path, int error,
                                                        const char *format, ...);
/* "… cannot be used: WHAT: reason"; `what` NULL: the file itself. */
int chi_file_tell_system(struct chi_problem_text problem, const char *path, const char *what,
                         int system_error);
/* The same for SQLite's code, which is not SQLITE_OK. `db` may be NULL. */
int chi_file_tell_sqlite(struct chi_problem_text problem, const char *path, sqlite3 *db, int code);
/* The first line that says something of `detail`; NULL: there is no more to say. CHATHUB_EIO. */
int chi_file_tell_damage(struct chi_problem_text problem, const char *path, const char *detail);

/* ---------------------------------------------------------------------------------------- names */

/* Whether there is a file: 1, 0, or an error where it cannot be one: it is a folder, a symbolic
 * link, in a place that cannot be reached … */
int chi_file_look(const char *path, struct chi_problem_text problem);
/* The file by an absolute name without symbolic links, which means the same whatever becomes the
 * working directory. *out: owned by the caller; free(). Its folder has to exist. */
int chi_file_resolve(const char *path, char **out, struct chi_problem_text problem);
/* PATH and a suffix: owned by the caller; free(). NULL: no memory. */
char *chi_file_beside(const char *path, const char *suffix);
/* Makes it last that the folder of `path` has what it has. 0 or -1 and errno. */
int chi_file_sync_folder(const char *path);

/* -------------------------------------------------------------------------------------- its WAL */

#define CHI_WAL_HEAD 32

/* PATH-wal as it stands, read without SQLite, which takes no locks on it. */
struct chi_wal {
    int fd;                     /* -1: there is none */
    bool big;                   /* its checksums are of big-endian words */
    uint8_t head[CHI_WAL_HEAD]; /* all zero: it has none */
    int64_t page_bytes;         /* of a page; a frame is a head and one */
    int64_t frames;             /* that the file may have; 0: none */
};

/* To be closed either way. CHATHUB_EIO: its head is not sound. (That it ends in mid-frame is what a
 * crash leaves: nobody was shown that.) */
int chi_wal_open(const char *real, struct chi_wal *wal);
void chi_wal_close(struct chi_wal *wal);
/* Whether a commit in it left the file with so many pages, or there is none in it. 1, 0 or
 * CHATHUB_ENOMEM. */
int chi_wal_left(const struct chi_wal *wal, int64_t pages);
/* Whether it has all pages from `first` to `last`. 1, 0 or CHATHUB_ENOMEM. */
int chi_wal_has(const struct chi_wal *wal, int64_t first, int64_t last);

uint32_t chi_big_endian(const uint8_t *at);

/* ---------------------------------------------------------------------------------- connections */

/* How a connection sees the file. */
enum chi_file_way {
    CHI_WAY_WRITE, /* as usual, to write */
    CHI_WAY_READ,  /* as usual, to read: makes PATH-wal and PATH-shm where they are missing */
    /* The other two are for files that nobody else has open: no locks, nothing is made. */
    CHI_WAY_ALONE, /* PATH as it is, without its WAL */
    CHI_WAY_INDEX, /* with its WAL, whose index is made in memory */
};

/* The way to look at a file without making anything: whoever has it open has PATH-wal and
 * PATH-shm. */
enum chi_file_way chi_file_quiet_way(const char *real);

/* A connection that has read nothing yet, to `real` as from chi_file_resolve. SQLite's code; what
 * *out then is has to be closed either way. */
int chi_file_connect(const char *real, enum chi_file_way way, int busy_ms, sqlite3 **out);
/* Sets what needs its schema: recognise it first. SQLite's code. */
int chi_file_settle(sqlite3 *db, enum chi_file_way way);

/* Runs SQL that answers nothing. SQLite's code. */
int chi_file_run(sqlite3 *db, const char *sql);
/* Runs SQL whose first row has a number. SQLITE_CORRUPT: it is none, or there is no row. */
int chi_file_number(sqlite3 *db, const char *sql, int64_t *out);

/* That it is a log, and of which version: by the numbers that stand in it. */
int chi_file_is_log(struct chi_problem_text problem, const char *path, int64_t application,
                    int64_t version);
/* As it stands in the file, its WAL included. */
int chi_file_recognise(sqlite3 *db, const char *path, int64_t *version,
                       struct chi_problem_text problem);

/* Within a transaction: the steps that are missing, up to `count`. SQLite's code. */
int chi_file_bring(sqlite3 *db, const struct chi_schema_step *steps, int count);

#endif
