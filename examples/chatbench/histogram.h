/* Latencies in a log-linear histogram: constant size, within 0.8 % of the true value. */
#ifndef CB_HISTOGRAM_H
#define CB_HISTOGRAM_H

#include <stdint.h>

#define CB_HISTOGRAM_SUB     128u /* buckets for each power of two */
#define CB_HISTOGRAM_BUCKETS (48u * CB_HISTOGRAM_SUB)

struct cb_histogram {
    uint64_t count;                         /* values in it */
    uint64_t max;                           /* the largest */
    uint32_t buckets[CB_HISTOGRAM_BUCKETS]; /* how many in each; they stop at UINT32_MAX */
};

void cb_histogram_add(struct cb_histogram *histogram, uint64_t value);
/* The value that `share` (0 to 1) of all do not exceed; 0 if there are none. */
uint64_t cb_histogram_at(const struct cb_histogram *histogram, double share);

#endif
