/* The real world for a hub: libuv's clock, the kernel's randomness, SHA-256, folded names, the
 * host's log callback. */
#ifndef CHI_NET_WORLD_H
#define CHI_NET_WORLD_H

#include "chathub.h"
#include "core/env.h"
#include "core/settings.h"

struct chi_driver;
struct uv_loop_s;

struct chi_world {
    struct uv_loop_s *loop; /* whose clock it is */
    const struct chi_settings *settings;
    chathub_log_cb log; /* NULL: silence */
    void *log_arg;
    int log_level;             /* records below it are dropped */
    struct chi_buf text;       /* values of the record being told, each with a NUL */
    bool *work;                /* set by wake; the driver's */
    struct chi_driver *driver; /* woken by other threads; set before a log is made */
};

struct chi_env chi_world_env(struct chi_world *world);
void chi_world_random(void *bytes, size_t len);
void chi_world_fini(struct chi_world *world);

#endif
