/* api_window.h - how many requests each key or address may still make within a minute.
 *
 * The window moves: a request counts for the 60 seconds after it. Times are kept to the second, rounded so that never
 * more than the limit is accepted within any 60 seconds. The table has a fixed size. When it is full, the callers that
 * have been quiet for longest are forgotten. Owned by the API. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_API_API_WINDOW_H
#define LSTMQ_COORDINATOR_SERVE_API_API_WINDOW_H

#include "proto/base/err.h"

#include <stdint.h>

struct api_windows;

struct api_windows *api_windows_new(struct err *err);
void api_windows_destroy(struct api_windows **windows);

struct api_allowance {
    bool refused;       /* then nothing was counted */
    uint32_t remaining; /* requests */
    uint32_t reset_s;   /* until the oldest counted request is forgotten; 0 = none counts */
    uint32_t retry_s;   /* if refused: until a request of this cost fits */
};

/* Count a request of `cost` by the caller with this id. One that costs more than `limit` is always refused. */
struct api_allowance api_windows_take(struct api_windows *windows, uint64_t id, uint32_t limit, uint32_t cost,
                                      int64_t now_ms);

#endif
