/* The log contract's suite: what every implementation of struct chi_log promises, run against
 * whichever is given. */
#ifndef CHI_TESTS_CONFORMANCE_LOG_H
#define CHI_TESTS_CONFORMANCE_LOG_H

#include <check.h>

#include "core/env.h"
#include "core/ports.h"
#include "core/settings.h"

/* How the suite gets at an implementation. */
struct log_under_test {
    const char *name;
    /* A fresh log in the world of `env`; frees nothing of an earlier one. Where it lasts: the log
     * as it was left, until `clean` was called. */
    struct chi_log *(*make)(const struct chi_settings *settings, struct chi_env env);
    void (*clean)(void); /* nothing is left of it; NULL: there is nothing to do */
    bool lasts;          /* it is there again after it was freed */
    /* What it does otherwise than logs of one machine that keep everything themselves. */
    bool own_clock;     /* it ages entries by a clock that the suite cannot set: real time passes */
    bool fixed;         /* its bounds are those with which it was made … */
    bool no_room_bytes; /* … and none of them is of the bytes of one room */
    bool keeps_epoch;   /* opening it begins no epoch */
};

Suite *log_suite(const struct log_under_test *log);

#endif
