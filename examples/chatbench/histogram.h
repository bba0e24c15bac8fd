/* Latencies in a log-linear histogram: constant size, within 0.8 % of the true value. */
#ifndef CB_HISTOGRAM_H
#define CB_HISTOGRAM_H

#include <stdint.h>

#define CB_HISTOGRAM_SUB     128u /* buckets for each power of two */
#define CB_HISTOGRAM_BUCKETS (48u * CB_HISTOGRAM_SUB)

struct cb_histogram {
    uint64_t count;                         /* values in it */
    uint64_t max;                           /* the largest */
    uint64_t buckets[CB_HISTOGRAM_BUCKETS]; /* how many in each */
};

/* Values below SUB have a bucket each; above, the top 8 bits of a value choose it. */
static inline uint32_t cb_histogram_bucket(uint64_t value)
{
    if (value < CB_HISTOGRAM_SUB) {
        return (uint32_t)value;
    }
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - 7u;
    uint32_t bucket =
        (shift + 1u) * CB_HISTOGRAM_SUB + ((uint32_t)(value >> shift) - CB_HISTOGRAM_SUB);
    return bucket < CB_HISTOGRAM_BUCKETS ? bucket : CB_HISTOGRAM_BUCKETS - 1u;
}

/* Adds a value `times` times. */
static inline void cb_histogram_add(struct cb_histogram *histogram, uint64_t value, uint32_t times)
{
    histogram->buckets[cb_histogram_bucket(value)] += times;
    histogram->count += times;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

/* The value that `share` (0 to 1) of all do not exceed; 0 if there are none. */
uint64_t cb_histogram_at(const struct cb_histogram *histogram, double share);

#endif
