/* One run of chatbench: its clients, rooms and counters, on one epoll loop. */
#ifndef CB_BENCH_H
#define CB_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "check.h"
#include "histogram.h"
#include "options.h"
#include "proc.h"
#include "wire.h"

#define CB_SCRATCH     (1u << 20)
#define CB_DRAFT_EXTRA 512u
#define CB_BATCH       (1u << 20) /* bytes of posts that go out in one write, at most */
#define CB_MARK        8u         /* characters of a run's mark */
#define CB_TIMER       UINT32_MAX /* the timer's number among the clients' */
#define CB_SECOND      1000000000u

enum cb_state {
    CB_NEW,        /* no socket yet */
    CB_CONNECTING, /* TCP is under way */
    CB_UPGRADING,  /* HTTP is under way */
    CB_JOINING,    /* join was asked for */
    CB_LIVE,       /* joined */
    CB_GONE,       /* the connection ended */
};

struct cb_client {
    int fd;                  /* -1: none */
    uint8_t state;           /* enum cb_state */
    bool slow;               /* one of those that stop reading */
    bool paused;             /* reads nothing now */
    uint32_t acked;          /* its posts that were committed */
    uint32_t refused;        /* its posts that were answered by an error */
    uint32_t presence;       /* presence frames received */
    uint32_t frames;         /* frames received */
    uint32_t entries;        /* entries received, whoever posted them */
    uint32_t in_len;         /* bytes in `in` */
    uint32_t out_len;        /* bytes in `out` */
    struct cb_member member; /* what it has seen of its room */
    char *in;                /* an incomplete frame; NULL: none */
    char *out;               /* what the socket did not take; NULL: nothing */
};

struct cb_bench {
    struct cb_options options;
    struct cb_client *clients;
    struct cb_room *rooms;
    uint32_t *next;         /* for each client: number of its next post in the room's reference */
    int epoll, timer;       /* descriptors */
    uint64_t armed;         /* when the timer wakes, ns; 0: it does not */
    uint64_t run;           /* random */
    char mark[CB_MARK + 1]; /* of it, as hexadecimal text: tells this run's posts from others */
    uint32_t seed;          /* of masks */
    uint64_t now;           /* monotonic ns, read after each wait */
    char *scratch;          /* CB_SCRATCH bytes to read into */
    char *draft;            /* a post being written (post.c) */
    const char *content;    /* what is posted, in it: options.size bytes */
    size_t middle;          /* bytes of the draft that are the same for all posts */
    char *batch;            /* CB_BATCH bytes of frames that go out in one write */
    size_t batch_len;       /* of them used */
    uint64_t *due;          /* when each post was due, ns */
    uint64_t due_cap;       /* allocated there */
    size_t stream_bytes;    /* of the streams of all rooms together */
    uint32_t started;       /* connections begun */
    uint32_t pending;       /* of them not yet joined */
    uint32_t live;          /* joined now */
    uint32_t ended;         /* connections lost */
    uint64_t sent, acked, refused, dups; /* posts */
    uint64_t frames, bytes;              /* received, since the first post */
    uint64_t deliveries;                 /* entries received, since the first post */
    uint64_t compared;                   /* of them equal to what another member got */
    uint64_t last_progress;              /* when something was received last, ns */
    uint64_t errors;                     /* error frames that answer no post */
    uint64_t gaps;                       /* gap frames */
    struct cb_faults faults;
    struct cb_histogram
        latency;       /* ns from the planned time of a post to its receipt, not of slow clients */
    char problem[400]; /* the first thing that went wrong, in words */
};

/* client.c: connections */
uint64_t cb_clock(void);
/* Begins the next connection. False: bench->problem says why not. */
bool cb_client_start(struct cb_bench *bench);
/* Adds text to what is to be written to this client as one frame: all until the flush is for the
 * same client, and goes out together. */
void cb_client_add(struct cb_bench *bench, struct cb_client *client, const char *text, size_t len);
/* Writes it. What the socket does not take waits. */
void cb_client_flush(struct cb_bench *bench, struct cb_client *client);
/* Writes one frame at once. */
void cb_client_send(struct cb_bench *bench, struct cb_client *client, const char *text, size_t len);
void cb_client_pause(struct cb_bench *bench, struct cb_client *client, bool paused);
/* Closes politely, if it is open. */
void cb_client_end(struct cb_bench *bench, struct cb_client *client);
/* The connection is lost or useless. */
void cb_client_lost(struct cb_bench *bench, struct cb_client *client, const char *why);
/* The socket takes more, or is connected. */
void cb_client_writable(struct cb_bench *bench, struct cb_client *client);
/* The answer to the upgrade: how many bytes it has, 0 if it is incomplete, -1 if it is a
 * refusal. */
ptrdiff_t cb_client_upgraded(struct cb_bench *bench, struct cb_client *client, const char *bytes,
                             size_t len);
/* Handles one frame that was parsed. */
void cb_client_frame(struct cb_bench *bench, struct cb_client *client,
                     const struct cb_frame *frame);

/* loop.c: what happens on the connections */
/* Waits for something to happen, until `deadline` at most, and handles it. */
void cb_step(struct cb_bench *bench, uint64_t deadline);

/* talk.c: requests and what comes back */
void cb_talk_join(struct cb_bench *bench, struct cb_client *client);
/* Handles a frame of text. */
void cb_talk_take(struct cb_bench *bench, struct cb_client *client, const struct cb_frame *frame);
/* Keeps the first problem. */
__attribute__((format(printf, 2, 3))) void cb_problem(struct cb_bench *bench, const char *format,
                                                      ...);

static inline uint32_t cb_number(const struct cb_bench *bench, const struct cb_client *client)
{
    return (uint32_t)(client - bench->clients);
}

static inline uint32_t cb_room_of(const struct cb_bench *bench, const struct cb_client *client)
{
    return cb_number(bench, client) % bench->options.rooms;
}

static inline uint64_t cb_ns(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

static inline double cb_seconds(uint64_t from, uint64_t to)
{
    return (double)(to - from) / 1e9;
}

/* What was measured beside the counters of the bench. */
struct cb_measures {
    double join_seconds, post_seconds, drain_seconds;
    double caught_up_seconds; /* from the first connection until all had caught up */
    uint64_t caught_up;       /* clients that had by then */
    uint32_t presence_max;    /* presence frames of one client until the first post */
    double presence_mean;
    uint32_t presence_end;    /* of one client at the end, at most */
    uint32_t join_frames_max; /* frames of any kind of one client until the first post */
    double join_frames_mean;
    uint64_t lag_max; /* acked entries that a reading member had not got when the posting ended */
    uint64_t lag_ns;  /* most time since a post was due that a reading member had not got then */
    bool has_cpu;     /* cpu_* are known */
    struct cb_cpu cpu_start, cpu_joined; /* at the first connection, and when all had joined */
    struct cb_cpu cpu_before, cpu_after; /* at the first post, and when all had arrived */
    double own_cpu;                      /* seconds of CPU of chatbench in the same time */
    int64_t pss_start, pss_joined, pss_posted, pss_end; /* bytes; -1: not known */
    uint64_t lost, gapped; /* entries that did not come; those that a gap told */
    uint64_t expected;     /* entries that all members together should have */
    uint32_t lag_min;      /* entries that a slow client was behind when it read on, at least */
    int64_t kernel_max;    /* most bytes of one slow client in the kernel; -1: not known */
};

/* post.c */
/* Writes what all posts have in common. */
void cb_post_prepare(struct cb_bench *bench);
/* Posts what was asked for, and handles what comes meanwhile. */
void cb_post_all(struct cb_bench *bench);
/* Posts that were acked or refused. */
uint64_t cb_answered(const struct cb_bench *bench);

/* run.c */
void cb_run(struct cb_bench *bench, struct cb_measures *m);

/* measure.c */
/* The server's PSS, -1: not known. */
int64_t cb_pss(const struct cb_bench *bench);
/* Clients that have what they were behind. */
uint64_t cb_count_caught_up(const struct cb_bench *bench);
/* Frames that each client got so far. */
void cb_count_frames(const struct cb_bench *bench, struct cb_measures *m);
/* How far behind what was acked the worst reading member is. False: out of memory. */
bool cb_look_at_lag(const struct cb_bench *bench, struct cb_measures *m);
/* How far behind the slow clients are, and how much of that the kernel holds. */
void cb_look_at_slow(struct cb_bench *bench, struct cb_measures *m);
/* Seconds of CPU of this process. */
double cb_own_cpu(void);
/* What each member should have and has. False: out of memory. */
bool cb_add_up(struct cb_bench *bench, struct cb_measures *m);
bool cb_all_well(const struct cb_bench *bench, const struct cb_measures *m);

/* report.c */
void cb_report(const struct cb_bench *bench, const struct cb_measures *m);

#endif
