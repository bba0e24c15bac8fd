/* What the files of the test kit share. They may look inside the library; whoever uses the kit
 * knows chathub_testing.h alone. */
#ifndef KIT_H
#define KIT_H

#include "boundary.h"
#include "chathub_testing.h"

#define KIT_FAULTS 64u

struct kit_record {
    struct chi_name *room;   /* a reference */
    struct chi_entry *entry; /* the same; as it was committed */
    uint64_t elapsed;        /* when, in the time of the test */
};

struct kit_epoch {
    char name[CHI_EPOCH_LEN + 1];
    uint64_t first; /* position that it begins with */
};

/* What outlives the log of a hub. Records have the positions 1, 2, 3 … */
struct kit_disk {
    struct kit_record *records; /* owned */
    struct kit_epoch *epochs;   /* owned, oldest first */
    uint32_t count, cap, epoch_count;
    uint64_t bytes; /* of the entries */
    struct {
        int fault;
        uint32_t count;
    } faults[KIT_FAULTS]; /* of posts to come, the next ones first */
    uint32_t fault_count;
    uint32_t page_faults; /* of reads to come */
    bool hold;            /* commits wait … */
    uint32_t released;    /* … but for so many */
    uint32_t waiting;     /* drafts that do */
    struct kit_log *open; /* of the hub that runs, or NULL */
};

struct kit_timer {
    uint64_t due, number; /* when, and the order in which they were set */
    chathub_testing_cb cb;
    void *arg;
};

struct kit_peers {
    struct kit_peer *at; /* owned; number - 1 */
    struct kit_wire *wires;
    uint32_t count;
};

struct chathub_testing {
    struct chi_stand_in stand_in; /* first: what the hub has of it */
    struct chi_env_ops ops;       /* the real ones but for time and chance */
    struct chathub *hub;          /* attached, or NULL */
    uint64_t chance;              /* state of splitmix64 */
    uint64_t elapsed;
    uint64_t wall_start;                /* Unix ms when `elapsed` was 0 */
    const struct kit_record *replaying; /* it is put back now, as if it were then; or NULL */
    bool inside;                        /* a step is under way */
    struct kit_timer *timers;
    uint32_t timer_count, timer_cap;
    uint64_t timer_next;
    struct kit_disk disk;
    struct kit_peers peers;
    char problem[512];
};

/* Notes what was wrong; answers the error. */
int chi_kit_problem(struct chathub_testing *test, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same with the error's own text; answers what is no error as it is. */
int chi_kit_plain(struct chathub_testing *test, int error);
/* With what the hub has said of its last call. */
int chi_kit_told(struct chathub_testing *test, int error);
/* A turn is wanted. */
void chi_kit_wake(struct chathub_testing *test);

/* A log with faults, over the records that there are, which it goes on with. As `make_log`. */
int chi_kit_log_new(struct chathub_testing *test, const struct chi_settings *settings,
                    struct chi_env env, struct chi_log **out);
void chi_kit_disk_fini(struct kit_disk *disk);

/* The hub is gone, and with it all connections. */
void chi_kit_peers_lost(struct chathub_testing *test);
void chi_kit_peers_fini(struct chathub_testing *test);

#endif
