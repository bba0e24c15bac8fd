/* What a log needs of the world, where a bench drives it as the hub does: clocks, randomness, and a
 * descriptor that the log's threads wake the driver's thread by. And what these threads cost. */
#ifndef LOG_WORLD_H
#define LOG_WORLD_H

#include "log/log.h"

struct world {
    struct chi_settings settings; /* filled in before world_open */
    struct chi_log *log;
    int wake;     /* eventfd */
    uint64_t now; /* ms, as of this turn */
};

double world_seconds(void); /* monotonic */
/* Opens the SQLite log at `path`; ends the program with its problem if it cannot. */
void world_open(struct world *world, const char *path, const struct chi_log_up *up);
/* One turn: waits until the log has something to say or until `until` (world_seconds), polls it. */
void world_turn(struct world *world, double until);
void world_close(struct world *world);
/* Says what is wrong and ends the program. */
__attribute__((noreturn, format(printf, 1, 2))) void world_fail(const char *format, ...);

/* CPU since their start of this process's threads, in seconds. */
struct world_cpu {
    double writer, reader, driver;
};
void world_cpu_read(struct world_cpu *out);

#endif
