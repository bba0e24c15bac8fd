/* What the rules need from the world: time, randomness, digests, folding of names, and a place
 * for log lines. */
#ifndef CHI_CORE_ENV_H
#define CHI_CORE_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "util/buf.h"
#include "util/text.h"

/* One key and its text value in a log line. */
struct chi_field {
    const char *key;
    struct chi_span value; /* may be anything that a peer sent: sinks escape it */
};

enum chi_fold_kind { CHI_FOLD_NAME, CHI_FOLD_ROOM };

/* All slots but the last are called on the hub's thread, never block, and, but for `logs` and
 * `wake_from_thread`, are never NULL. */
struct chi_env_ops {
    /* Monotonic milliseconds, cached for a turn of the loop. Never goes back. */
    uint64_t (*now)(void *self);
    /* Unix time in milliseconds; may jump. */
    uint64_t (*wall)(void *self);
    /* Fills with bytes nobody can guess. */
    void (*random)(void *self, void *bytes, size_t len);
    /* SHA-256. */
    void (*digest)(void *self, const void *bytes, size_t len, uint8_t out[32]);
    /* Checks a name or a room's name by ../shared rules (docs/names in protocol.md) and appends
     * to `shown` its normal form and to `key` what it is compared by. 0; CHATHUB_ENAME if the
     * text is no name; CHATHUB_ENOMEM. Lengths are the caller's to check. */
    int (*fold)(void *self, enum chi_fold_kind kind, struct chi_span text, struct chi_buf *shown,
                struct chi_buf *key);
    /* A log line: level (enum chathub_level), event (a constant word), fields. Copies what it
     * keeps. */
    void (*log)(void *self, int level, const char *event, const struct chi_field *fields, size_t n);
    /* Whether anybody wants lines of this level: asked where making one for nothing would cost.
     * NULL: all are wanted. */
    bool (*logs)(void *self, int level);
    /* There is work for chi_hub_turn: the driver calls it before the loop sleeps again. May be
     * called often. */
    void (*wake)(void *self);
    /* As wake, from any thread, by a log that has threads. NULL: where there is no such log. */
    void (*wake_from_thread)(void *self);
};

struct chi_env {
    const struct chi_env_ops *ops;
    void *self;
};

static inline bool chi_env_logs(const struct chi_env *env, int level)
{
    return !env->ops->logs || env->ops->logs(env->self, level);
}

#endif
