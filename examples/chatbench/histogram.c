#include "histogram.h"

static uint64_t value_of(uint32_t bucket)
{
    if (bucket < CB_HISTOGRAM_SUB) {
        return bucket;
    }
    uint32_t shift = bucket / CB_HISTOGRAM_SUB - 1u;
    return (uint64_t)(bucket % CB_HISTOGRAM_SUB + CB_HISTOGRAM_SUB) << shift;
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
