/* What the kernel tells about the server's process and sockets, from /proc. */
#ifndef CB_PROC_H
#define CB_PROC_H

#include <stdbool.h>
#include <stdint.h>

#define CB_THREADS_MAX 64

struct cb_thread {
    char name[32];  /* as the kernel knows it */
    int id;         /* of the thread */
    double seconds; /* of CPU, exact */
};

struct cb_cpu {
    double total;                             /* seconds of CPU of all threads, ended ones too */
    double user, system;                      /* the same by kind, in the kernel's ticks */
    struct cb_thread threads[CB_THREADS_MAX]; /* those that live */
    uint32_t count;                           /* of threads */
};

/* Of all these together. False: one is not there, or not ours to look at. */
bool cb_proc_cpu(const int *pids, uint32_t count, struct cb_cpu *out);
/* Seconds of one thread of `after` since `before`. */
double cb_proc_thread(const struct cb_cpu *before, const struct cb_thread *thread);
/* Seconds between two looks of the threads named chathub-log-…, which keep the log. */
double cb_proc_log(const struct cb_cpu *before, const struct cb_cpu *after);
/* Proportional set size in bytes: private memory, and the process's share of what it shares. -1:
 * not readable. */
int64_t cb_proc_pss(int pid);
/* Bytes that wait in the queues of this machine's IPv4 TCP socket from `local_port` to
 * `remote_port`. False: none. */
bool cb_proc_queues(uint16_t local_port, uint16_t remote_port, uint32_t *to_send,
                    uint32_t *to_read);

#endif
