/* ring_line.c - whether the connections to both neighbours have existed since the generation began; see ring.h.
 *
 * ZeroMQ restores a broken connection silently, and loses the messages in transit. If others follow, they arrive out of
 * order, which is a separate error (ring_flow.c). If none follows, both ranks would wait without end. So both ends look
 * for a break, because one of them may not see it: the sending side in a monitor of the socket, the receiving side in
 * the watch.
 *
 * A break alone is no error, because it may have lost nothing. A dead rank breaks connections too, but the coordinator
 * reports that much sooner than the ring's timeout. */
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

/* Take in what the monitor says. A connection that ends before it stood has taken nothing with it: frames wait until it
 * does. */
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
