/* api_window.c - see api_window.h. A set-associative table: an id can be in one of WAYS places. */
#include "coordinator/serve/api/api_window.h"

#include <stdlib.h>
#include <string.h>

enum { MINUTE = 60, SLOTS = 64, SETS = 2048, WAYS = 8 };

struct window {
    uint64_t id;
    int64_t last_s;        /* of the latest request; counts are of the seconds up to it */
    uint32_t count[SLOTS]; /* by second, modulo SLOTS */
};

struct api_windows {
    struct window of[SETS][WAYS];
};

struct api_windows *api_windows_new(struct err *err)
{
    struct api_windows *windows = calloc(1, sizeof *windows);
    if (!windows)
        err_set(err, ERR_MEMORY, "out of memory for the limits of HTTP clients");
    return windows;
}

void api_windows_destroy(struct api_windows **windows)
{
    free(*windows);
    *windows = NULL;
}

/* The caller's window, moved to the second `now`. A second counts until MINUTE full seconds have passed after it. */
static struct window *window_of(struct api_windows *windows, uint64_t id, int64_t now)
{
    struct window *set = windows->of[id % SETS], *found = set;
    for (struct window *window = set; window < set + WAYS; window++) {
        if (window->id == id) {
            found = window;
            break;
        }
        if (window->last_s < found->last_s)
            found = window;
    }
    if (found->id != id || now - found->last_s > MINUTE)
        memset(found->count, 0, sizeof found->count);
    else
        for (int64_t second = found->last_s + 1; second <= now; second++) {
            found->count[second % SLOTS] = 0;
            /* What leaves the window now. */
            found->count[(second + SLOTS - MINUTE - 1) % SLOTS] = 0;
        }
    found->id = id;
    found->last_s = now;
    return found;
}

struct api_allowance api_windows_take(struct api_windows *windows, uint64_t id, uint32_t limit, uint32_t cost,
                                      int64_t now_ms)
{
    int64_t now = now_ms / 1000 + SLOTS; /* never below SLOTS */
    struct window *window = window_of(windows, id, now);
    uint64_t used = 0;
    for (int i = 0; i < SLOTS; i++)
        used += window->count[i];
    struct api_allowance allowance = {.refused = used + cost > limit};
    if (!allowance.refused) {
        window->count[now % SLOTS] += cost;
        used += cost;
    }
    allowance.remaining = used < limit ? (uint32_t)(limit - used) : 0;
    uint64_t left = used;
    for (int64_t second = now - MINUTE; second <= now && left > 0; second++) {
        uint32_t leaves = window->count[second % SLOTS];
        uint32_t wait = (uint32_t)(second + MINUTE + 1 - now);
        if (leaves > 0 && allowance.reset_s == 0)
            allowance.reset_s = wait;
        left -= leaves;
        if (leaves > 0 && allowance.refused && allowance.retry_s == 0 && left + cost <= limit)
            allowance.retry_s = wait;
    }
    if (allowance.refused && allowance.retry_s == 0)
        allowance.retry_s = MINUTE + 1;
    return allowance;
}
