/* The file of an SQLite log: locked, checked, made or brought to this version's schema, opened.
 *
 * There are PATH, SQLite's own PATH-wal and PATH-shm, and PATH-lock, which is held by the one hub
 * that has the file and stays when it ends (to remove it would let two hubs in). All are of mode
 * 0600, and so are folders made on the way (0700).
 *
 * Functions that take `problem` fill it on an error with one line for a person: what is wrong, with
 * which file, what to do. Their errors are CHATHUB_EINUSE, CHATHUB_EIO, CHATHUB_ENOMEM. */
#ifndef CHI_LOG_SQLITE_FILE_H
#define CHI_LOG_SQLITE_FILE_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/ports.h"

/* PRAGMA application_id ("chub") and user_version. */
#define CHI_FILE_APPLICATION 0x63687562
#define CHI_FILE_VERSION     1
/* Openings that are remembered, each with its epoch. */
#define CHI_FILE_EPOCHS 4096u

struct chi_problem_text {
    char *at;
    size_t size;
};

/* Makes the folders of `path` where they are missing, and takes the lock of the file. The answer is
 * a descriptor to close: closing it lets the file go. A file that is in use says by which process.
 */
int chi_file_lock(const char *path, int *lock, struct chi_problem_text problem);

/* Looks at an existing file, which stays as it is to the last byte (its WAL too): that it is a log
 * and of no newer version, that it is not cut and not damaged (all of it where it is small, else
 * its schema and its ends). 0 also where there is no file. */
int chi_file_check(const char *path, struct chi_problem_text problem);

/* How a connection is opened. */
enum chi_file_mode {
    CHI_FILE_WRITE_FULL, /* the only one that writes and checkpoints; an ack survives power loss */
    CHI_FILE_WRITE_NORMAL, /* … the end of the process */
    CHI_FILE_READ,         /* reads, never checkpoints, not even when it is closed last */
};

/* Opens a connection. WRITE makes the file where there is none (whole or not at all: under another
 * name first) and brings an older one to this version. Checkpoints are the caller's alone:
 * SQLite's automatic ones are off, also at close. `busy_ms`: how long locks of other programs are
 * waited for. */
int chi_file_open(const char *path, enum chi_file_mode mode, int busy_ms, sqlite3 **out,
                  struct chi_problem_text problem);
void chi_file_close(sqlite3 *db); /* NULL is allowed */

/* One opening of the log: positions from `first` to before the next one's mean something under it.
 */
struct chi_epoch {
    char name[CHI_EPOCH_LEN];
    uint64_t first;
};

/* Writes a new epoch (name from `random`, first = the newest position ever + 1) and reads all that
 * are remembered, oldest first, into *epochs (owned by the caller; free()). *last: the newest
 * position ever. SQLite's code. */
int chi_file_epoch(sqlite3 *db, const char name[CHI_EPOCH_LEN], struct chi_epoch **epochs,
                   uint32_t *count, uint64_t *last);

/* A log's own secret for keyed hashes, made with the file. */
#define CHI_FILE_SECRET 48u
int chi_file_secret(sqlite3 *db, uint8_t secret[CHI_FILE_SECRET]);

/* What a failed statement means. */
enum chi_file_trouble {
    CHI_TROUBLE_BUSY,   /* another program holds a lock: nothing happened, try again */
    CHI_TROUBLE_FULL,   /* no space: nothing happened, try again once there is some */
    CHI_TROUBLE_MEMORY, /* no memory: nothing happened, try again */
    CHI_TROUBLE_SYNC,   /* a sync failed: what was written may be lost though it can be read */
    CHI_TROUBLE_OTHER,  /* anything else: the file has to be opened anew and checked */
};
/* `code`: SQLite's extended code. *why: a constant text for people, such as "the disk is full". */
enum chi_file_trouble chi_file_trouble(int code, const char **why);

#endif
