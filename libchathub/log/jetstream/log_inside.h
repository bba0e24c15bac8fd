/* What the files of the JetStream log's hub side share. */
#ifndef CHI_LOG_JETSTREAM_LOG_INSIDE_H
#define CHI_LOG_JETSTREAM_LOG_INSIDE_H

#include "log/jetstream/cache.h"
#include "log/jetstream/js.h"
#include "log/jetstream/link.h"
#include "util/index.h"

struct chi_js_log {
    struct chi_log log; /* first */
    struct chi_bus bus;
    const struct chi_settings *settings;
    struct chi_env env;
    struct chi_log_up up;
    struct chi_bus_up bus_up;
    struct chi_js_url url;
    struct chi_js_epochs epochs; /* as of the last time that they were read */
    char epoch[CHI_EPOCH_LEN];   /* the one in force */
    bool epochs_old;             /* they are to be read */
    struct chi_slots rooms;      /* all that are open or have tasks */
    struct chi_index by_key;     /* those that are open, or opening */
    struct chi_works spare;      /* tasks */
    uint32_t spare_count;
    struct chi_works to_thread; /* tasks that it gets at the next poll, all at once */
    struct chi_works answered;  /* pages that were in memory */
    struct chi_works held;      /* entries behind a hole that is being read, and redactions there */
    struct chi_link owed;       /* tasks whose answer the hub waits for, in order */
    uint32_t closing;           /* rooms of which the thread was not told yet, for want of memory */
    uint32_t bus_waiting;       /* messages to other nodes, on their way to the thread … */
    uint32_t bus_bytes;         /* … and their bytes */
    struct chi_js_cache cache;
    struct chi_js_thread *thread;
    struct chi_js_news news; /* as of the last poll */
    uint32_t most;           /* that the bus and the settings were last fitted to */
    uint64_t ordered;        /* when the thread last got its orders, env.now */
    uint64_t shown;          /* as chi_log.shown */
    uint64_t passed_at;      /* when it was last told what could not be read; 0: never */
    uint64_t passed;         /* … and how many that were */
    uint64_t hole_at;        /* when a hole was last told of, env.now; 0: never */
    uint64_t holes;          /* … and how many were found since */
    bool was_down;           /* as last told in a log line */
    bool trouble_told;
    bool made_told;
};

/* --- log.c */

/* Of a room or, as a message of the bus, of none; NULL: no memory. */
struct chi_js_task *chi_js_log_task(struct chi_js_log *s, enum chi_js_work kind,
                                    struct chi_js_room *room);
void chi_js_log_put(struct chi_js_log *s, struct chi_js_task *task); /* to the thread */
/* Whether the hub still waits for the answer, which is given now. */
bool chi_js_log_owed(struct chi_js_task *task);
void chi_js_log_task_free(struct chi_js_log *s, struct chi_js_task *task);
void chi_js_log_tasks_free(struct chi_js_log *s, struct chi_works *works);
/* The room's next entry, on its way to the hub; and a page of it that was read. */
void chi_js_log_note(struct chi_js_log *s, struct chi_js_room *room, struct chi_entry *entry);
void chi_js_log_note_page(struct chi_js_log *s, struct chi_js_room *room,
                          const struct chi_js_page *page);
/* Tells the thread that a room, which is `closing`, is closed. */
void chi_js_log_shut(struct chi_js_log *s, struct chi_js_room *room);
/* The hub's name for it leads elsewhere from now on; nothing of it stays in memory. */
void chi_js_log_forget(struct chi_js_log *s, struct chi_js_room *room);

/* --- log_report.c */

/* Tells what the tasks are, in order, and frees them. */
void chi_js_log_report(struct chi_js_log *s, struct chi_works *works);
void chi_js_log_read_epochs(struct chi_js_log *s);

#endif
