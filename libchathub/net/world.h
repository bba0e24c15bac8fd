/* The real world for a hub: libuv's clock, the kernel's randomness, SHA-256, folded names, the
 * host's log callback. */
#ifndef CHI_NET_WORLD_H
#define CHI_NET_WORLD_H

#include "chathub.h"
#include "core/env.h"
#include "core/settings.h"

struct chi_driver;
struct uv_loop_s;

/* A place for log lines. */
struct chi_sink {
    chathub_log_cb log; /* NULL: none */
    void *arg;
    int level; /* records below it are dropped */
};
enum { CHI_SINK_HOST, CHI_SINK_QUEUE, CHI_SINKS };

struct chi_world {
    struct uv_loop_s *loop; /* whose clock it is */
    const struct chi_settings *settings;
    struct chi_sink sinks[CHI_SINKS];
    struct chi_buf text;       /* values of the record being told, each with a NUL */
    bool *work;                /* set by wake; the driver's */
    struct chi_driver *driver; /* woken by other threads; set before a log is made */
    /* In a test: in place of the real ones. Their `self` is the world, as ever. */
    const struct chi_env_ops *ops;
};

struct chi_env chi_world_env(struct chi_world *world);
/* Monotonic milliseconds, as the hub sees them. */
uint64_t chi_world_now(struct chi_world *world);
void chi_world_random(void *bytes, size_t len);
void chi_world_fini(struct chi_world *world);

#endif
