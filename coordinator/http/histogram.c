/* histogram.c - see histogram.h. */
#include "coordinator/http/histogram.h"

#include <stdio.h>

#define SECONDS 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10

const struct histogram_bounds histogram_seconds = {14, {SECONDS}};
const struct histogram_bounds histogram_request_seconds = {15, {SECONDS, 30}};
const struct histogram_bounds histogram_sentences = {9, {1, 2, 4, 8, 16, 32, 64, 128, 256}};

unsigned histogram_range(const struct histogram *histogram, double value)
{
    unsigned range = 0;
    while (range < histogram->bounds->count && !(value <= histogram->bounds->most[range]))
        range++;
    return range;
}

void histogram_add(struct histogram *histogram, double value, const char *trace)
{
    histogram->counts[histogram_range(histogram, value)]++;
    histogram->sum += value;
    if (trace == NULL)
        return;
    histogram->example = value;
    snprintf(histogram->trace, sizeof histogram->trace, "%s", trace);
}
