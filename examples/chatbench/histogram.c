#include "histogram.h"

/* Values below SUB have a bucket each; above, the top 8 bits of a value choose it. */
static uint32_t bucket_of(uint64_t value)
{
    if (value < CB_HISTOGRAM_SUB) {
        return (uint32_t)value;
    }
    uint32_t shift = 63u - (uint32_t)__builtin_clzll(value) - 7u;
    uint32_t bucket =
        (shift + 1u) * CB_HISTOGRAM_SUB + ((uint32_t)(value >> shift) - CB_HISTOGRAM_SUB);
    return bucket < CB_HISTOGRAM_BUCKETS ? bucket : CB_HISTOGRAM_BUCKETS - 1u;
}

static uint64_t value_of(uint32_t bucket)
{
    if (bucket < CB_HISTOGRAM_SUB) {
        return bucket;
    }
    uint32_t shift = bucket / CB_HISTOGRAM_SUB - 1u;
    return (uint64_t)(bucket % CB_HISTOGRAM_SUB + CB_HISTOGRAM_SUB) << shift;
}

void cb_histogram_add(struct cb_histogram *histogram, uint64_t value)
{
    uint32_t *bucket = &histogram->buckets[bucket_of(value)];
    *bucket += *bucket < UINT32_MAX;
    histogram->count++;
    if (value > histogram->max) {
        histogram->max = value;
    }
}

uint64_t cb_histogram_at(const struct cb_histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)((double)histogram->count * share), seen = 0;
    for (uint32_t i = 0; i < CB_HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted) {
            return value_of(i);
        }
    }
    return histogram->max;
}
