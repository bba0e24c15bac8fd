/* What the files of the SQLite log's hub side and its two threads share.
 *
 * Happy path: the hub's thread (log.c) hands tasks to the writer (appends, redactions) or to the
 * reader (openings, pages), which give them back with their results; poll reports these. A task is
 * used by whoever has it in hand. Failure modes: see writer.c. */
#ifndef CHI_LOG_SQLITE_INSIDE_H
#define CHI_LOG_SQLITE_INSIDE_H

#include <stdatomic.h>

#include "core/name.h"
#include "core/slots.h"
#include "log/handover.h"
#include "log/log.h"
#include "log/sqlite/dups.h"
#include "log/sqlite/file.h"
#include "log/sqlite/store.h"

/* How long a lock of another program is waited for: posts wait meanwhile. */
#define CHI_SQ_BUSY_MS 1000

/* What the writer knows of a room that it has written to; its own. */
struct chi_sq_written {
    struct chi_stored_room stored; /* as of `state` */
    uint64_t state;                /* number of the file's state when `stored` was read; 0: never */
    bool touched;                  /* in the batch under way … */
    struct chi_sq_written *next;   /* … which lists it */
};

/* An open room: a handle. There may be millions of them: kept small. */
struct chi_sq_room {
    struct chi_slot slot;           /* in the log's rooms */
    struct chi_name *name;          /* a reference; everybody's, never changed */
    struct chi_sq_written *written; /* owned; the writer's, and NULL until it needs it */
    /* the hub's thread's */
    uint64_t told;           /* newest position that was reported */
    int64_t id;              /* the file's; 0: not known, nothing was written */
    uint32_t number;         /* the hub's */
    uint32_t under_way : 30; /* tasks that are not reported */
    uint32_t open : 1;       /* the hub has the handle */
    uint32_t opening : 1;    /* it will, unless that fails */
};

enum chi_sq_kind { CHI_SQ_OPEN, CHI_SQ_READ, CHI_SQ_APPEND, CHI_SQ_REDACT, CHI_SQ_FOUND };

struct chi_sq_task {
    struct chi_work work; /* first */
    enum chi_sq_kind kind;
    int status;               /* as in what is reported of it */
    struct chi_sq_room *room; /* NULL: found */
    void *token;              /* append, redact */
    struct chi_entry *entry;  /* append: the draft; found: an entry that a commit of unknown outcome
                                 brought. A reference */
    uint64_t position;        /* redact; open: the top; append, once it is a repeat: of the first */
    uint64_t time;            /* append: when it was taken, or of the first. Unix ms */
    int64_t id;               /* the room's in the file, as far as known; 0: none */
    uint64_t retry_after;     /* append that failed: ms */
    const char *why;          /* append that failed */
    struct chi_log_read read; /* read */
    char *key;                /* found: comparison key of its room; owned */
    uint32_t key_len;
    struct chi_stored_page page; /* read: what came; owned */
};

/* What the writer is to keep to; the hub's thread renews it. */
struct chi_sq_orders {
    struct chi_log_bounds bounds;
    uint64_t pace_us;    /* between the beginnings of two commits */
    uint64_t free_bytes; /* the disk has to have left */
    uint64_t wall;       /* Unix ms */
};

/* What the writer tells of itself. */
struct chi_sq_news {
    struct chi_log_stats stats;
    const char *why; /* it is down: what is the matter; static */
};

/* The reader: pages and openings. */
struct chi_sq_reader {
    struct chi_handover handover;
    const char *path;      /* the log's */
    pthread_mutex_t using; /* held while the connection is used, by whichever thread */
    bool barred;           /* the file is not to be trusted now; under `using`, as the rest */
    sqlite3 *db;           /* NULL: to be opened */
    struct chi_store *store;
    sqlite3_stmt *begin, *end;  /* of a transaction for one page */
    atomic_uint_fast64_t pages; /* read */
};

int chi_sq_reader_start(struct chi_sq_reader *reader, const char *path, void (*wake)(void *arg),
                        void *wake_arg, struct chi_problem_text problem);
void chi_sq_reader_stop(struct chi_sq_reader *reader, struct chi_works *left);
/* From the writer: closes its connection, and none is opened until it is admitted again. */
void chi_sq_reader_bar(struct chi_sq_reader *reader);
void chi_sq_reader_admit(struct chi_sq_reader *reader);

/* The writer: commits, redactions, housekeeping. */
struct chi_sq_writer {
    struct chi_handover handover;
    const char *path; /* the log's */
    enum chi_file_mode mode;
    struct chi_sq_reader *reader;
    pthread_mutex_t lock;        /* of the next two */
    struct chi_sq_orders orders; /* written by the hub's thread */
    struct chi_sq_news news;     /* written by the writer */
    /* the thread's own from here on */
    struct chi_sq_orders now; /* orders, as of this round */
    struct chi_sq_news is;    /* news, as of this round */
    sqlite3 *db;              /* NULL: to be opened anew */
    struct chi_store *store;
    struct chi_dups *dups;
    uint8_t secret[CHI_FILE_SECRET];   /* of cids */
    char epoch[CHI_EPOCH_LEN];         /* of this opening */
    uint64_t last;                     /* newest position that is known to be committed */
    uint64_t given;                    /* newest position that was given out */
    uint64_t state;                    /* counts up when what was read of rooms is old */
    struct chi_sq_written *touched;    /* rooms of the batch under way */
    uint64_t started;                  /* when the last commit began; here and below: µs */
    uint64_t wrote;                    /* when anything was last committed */
    uint64_t retry_at;                 /* while down: when it is tried again */
    uint64_t backoff;                  /* while down: from one try to the next */
    uint64_t house_at;                 /* when housekeeping is next due */
    uint64_t step_at;                  /* when its next step may be done */
    uint64_t looked;                   /* when it was looked at what has become due; 0: never */
    struct chi_log_bounds bounds_seen; /* the last time */
    uint64_t space_at;                 /* when free space is looked at next … */
    uint64_t space_written;            /* … or once so many bytes were written since */
    uint64_t total;                    /* bytes of all entries */
    uint64_t purge_at;                 /* when the WAL is cut to nothing, if that is due */
    int wal_pages;                     /* in the WAL, as of the last commit */
    int wal_tried;                     /* … when it was last checkpointed in vain; 0: not since it
                                        was started anew */
    int64_t over[32];                  /* rooms that have more than they may … */
    uint32_t over_count;
    bool scan;       /* … and there may be others */
    int64_t scanned; /* the last room that was looked at */
    bool aged;       /* there may be entries that are too old */
    bool purge;      /* the WAL may hold what was erased: it is to be cut */
    bool broken;     /* down, and the file has to be opened anew */
    bool doubt;      /* down, and it is not known what became of some posts */
};

/* The file is locked, checked and opened already: `writer` has path, mode, db, store, dups, secret,
 * epoch and last. */
int chi_sq_writer_start(struct chi_sq_writer *writer, const struct chi_sq_orders *orders,
                        void (*wake)(void *arg), void *wake_arg);
void chi_sq_writer_stop(struct chi_sq_writer *writer, struct chi_works *left);
/* Makes store and dups for the open connection. SQLite's code. */
int chi_sq_writer_read(struct chi_sq_writer *writer);
void chi_sq_writer_close(struct chi_sq_writer *writer);

/* -------------------------------------------------------------------- within the writer's files */

/* Something failed with SQLite's `code`: the transaction is rolled back, the log down unless it is
 * for want of memory. `why`: what is the matter, static; NULL: what the code says. Answers what
 * that means for what was not committed. */
enum chi_file_trouble chi_sq_failed(struct chi_sq_writer *writer, int code, const char *why);
/* Is it time to try again, and does it work? (mend.c) */
bool chi_sq_mended(struct chi_sq_writer *writer);
/* One small step of what is due, unless it is down (house.c). */
void chi_sq_keep_house(struct chi_sq_writer *writer);
/* After each commit. */
void chi_sq_note_room(struct chi_sq_writer *writer, const struct chi_stored_room *room);
/* Whether the disk has what it has to have; looks now and then. */
bool chi_sq_has_space(struct chi_sq_writer *writer);

#endif
