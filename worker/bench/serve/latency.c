/* latency.c - a histogram with logarithmic buckets; see latency.h. */
#include "worker/bench/serve/latency.h"

#include <math.h>

enum { STEP_BITS = 5 };
_Static_assert(LATENCY_STEPS == 1 << STEP_BITS, "a power of two has LATENCY_STEPS buckets");

/* Below LATENCY_STEPS a bucket is one nanosecond. Above, the highest STEP_BITS + 1 bits choose it. */
static unsigned latency_bucket(uint64_t ns)
{
    if (ns < LATENCY_STEPS)
        return (unsigned)ns;
    unsigned top = 63 - (unsigned)__builtin_clzll(ns), shift = top - STEP_BITS;
    unsigned bucket = (shift << STEP_BITS) + (unsigned)(ns >> shift);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* The first time above the bucket. */
static double latency_limit(unsigned bucket)
{
    if (bucket < 2 * LATENCY_STEPS)
        return bucket + 1.0;
    unsigned shift = (bucket >> STEP_BITS) - 1;
    return ldexp((bucket & (LATENCY_STEPS - 1)) + LATENCY_STEPS + 1.0, (int)shift);
}

void latency_add(struct latency *latency, int64_t ns)
{
    latency->buckets[latency_bucket(ns < 0 ? 0 : (uint64_t)ns)]++;
    latency->count++;
    if (ns > latency->most_ns)
        latency->most_ns = ns;
}

double latency_at(const struct latency *latency, double share)
{
    double wanted = share * (double)latency->count, seen = 0;
    for (unsigned bucket = 0; bucket < LATENCY_BUCKETS && latency->count > 0; bucket++) {
        seen += (double)latency->buckets[bucket];
        if (seen >= wanted && seen > 0)
            return fmin(latency_limit(bucket), (double)latency->most_ns);
    }
    return (double)latency->most_ns;
}
