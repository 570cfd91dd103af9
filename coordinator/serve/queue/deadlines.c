/* deadlines.c - a binary heap; see deadlines.h. */
#include "coordinator/serve/queue/deadlines.h"

#include <stdlib.h>

static void deadlines_put(struct deadlines *deadlines, size_t at, struct request *request)
{
    deadlines->heap[at] = request;
    request->place = at + 1;
}

static void deadlines_rise(struct deadlines *deadlines, size_t at, struct request *request)
{
    for (; at > 0 && deadlines->heap[(at - 1) / 2]->deadline_us > request->deadline_us; at = (at - 1) / 2)
        deadlines_put(deadlines, at, deadlines->heap[(at - 1) / 2]);
    deadlines_put(deadlines, at, request);
}

static void deadlines_sink(struct deadlines *deadlines, size_t at, struct request *request)
{
    for (size_t child = 2 * at + 1; child < deadlines->count; child = 2 * at + 1) {
        if (child + 1 < deadlines->count &&
            deadlines->heap[child + 1]->deadline_us < deadlines->heap[child]->deadline_us)
            child++;
        if (deadlines->heap[child]->deadline_us >= request->deadline_us)
            break;
        deadlines_put(deadlines, at, deadlines->heap[child]);
        at = child;
    }
    deadlines_put(deadlines, at, request);
}

bool deadlines_add(struct deadlines *deadlines, struct request *request)
{
    if (deadlines->count == deadlines->capacity) {
        size_t capacity = deadlines->capacity == 0 ? 256 : deadlines->capacity * 2;
        struct request **heap = realloc(deadlines->heap, capacity * sizeof(struct request *));
        if (heap == NULL)
            return false;
        deadlines->heap = heap;
        deadlines->capacity = capacity;
    }
    deadlines_rise(deadlines, deadlines->count++, request);
    return true;
}

void deadlines_remove(struct deadlines *deadlines, struct request *request)
{
    if (request->place == 0)
        return;
    size_t at = request->place - 1;
    struct request *last = deadlines->heap[--deadlines->count];
    request->place = 0;
    if (last == request)
        return;
    if (at > 0 && deadlines->heap[(at - 1) / 2]->deadline_us > last->deadline_us)
        deadlines_rise(deadlines, at, last);
    else
        deadlines_sink(deadlines, at, last);
}
