/* ring_line.c - whether the connections to both neighbours held since the generation began; see ring_parts.h.
 *
 * ZeroMQ reconnects silently and does not report the messages that were lost. If other messages follow, they arrive out
 * of order, which is an error of its own (ring_flow.c). If none follows, both ranks would wait without end. So both
 * ends look for a break, since one of them may not see it: the sending rank in a monitor of its socket, the receiving
 * rank in the watch.
 *
 * A break alone is no error: it may have lost nothing. A dying rank breaks connections too, but the coordinator reports
 * that long before the ring's time limit. */
#include "worker/collective/ring_parts.h"

#include "proto/base/clock.h"
#include "proto/wire/monitor.h"
#include "proto/wire/watch.h"

#include <zmq.h>

bool ring_line_open(struct ring *ring, struct err *err)
{
    ring->line =
        monitor_pair_open(ring->zmq_context, ring->to, ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED, err);
    if (ring->line == NULL)
        return false;
    ring->lost = ring->watch != NULL ? watch_counts(ring->watch).lost : 0;
    return true;
}

void ring_line_close(struct ring *ring)
{
    monitor_pair_close(ring->to, &ring->line);
}

/* Read the monitor's events. A connection that ends before its handshake has lost nothing: frames wait for the
 * handshake. */
static void ring_line_take_events(struct ring *ring)
{
    uint16_t event;
    uint32_t value;
    while (monitor_pair_take(ring->line, &event, &value)) {
        if (event == ZMQ_EVENT_HANDSHAKE_SUCCEEDED)
            ring->stood = true;
        else if (ring->stood)
            ring->broken = true;
    }
}

bool ring_line_is_broken(struct ring *ring)
{
    if (ring->broken || ring->line == NULL || clock_ms() - ring->moved_ms < RING_LOOK_MS)
        return ring->broken;
    ring_line_take_events(ring);
    ring->broken = ring->broken || ring->cut || (ring->watch != NULL && watch_counts(ring->watch).lost != ring->lost);
    if (ring->broken)
        ring->moved_ms = clock_ms();
    return ring->broken;
}
