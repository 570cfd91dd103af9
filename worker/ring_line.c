/* ring_line.c - whether the connections to both neighbours have stood since the generation began; see ring.h.
 *
 * ZeroMQ makes a connection again that has broken, and says nothing of the messages that were on their way. Where others
 * follow, they come out of their order, which is an error of its own (ring_flow.c). Where none follows, both ranks would
 * wait for ever. So a break is looked for at both ends, since one of them may not be told of it: where this rank sends, in
 * a monitor of the socket, and where it receives, in the watch.
 *
 * A break alone is no error. It may have taken nothing with it; and who dies breaks connections too, which the coordinator
 * tells everyone much sooner than the ring loses its patience over it. */
#include "worker/ring.h"

#include "proto/base/clock.h"
#include "proto/wire/socket.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zmq.h>

bool ring_line_open(struct ring *ring, struct err *err)
{
    char endpoint[64];
    const int linger = 0, no_limit = 0, events = ZMQ_EVENT_HANDSHAKE_SUCCEEDED | ZMQ_EVENT_DISCONNECTED;
    /* No name is used again: ZeroMQ gives it back in its own time. */
    snprintf(endpoint, sizeof endpoint, "inproc://ring-line-%p-%" PRId64, (void *)ring, clock_ns());
    ring->line = zmq_socket(ring->zmq_context, ZMQ_PAIR);
    if (ring->line == NULL || zmq_setsockopt(ring->line, ZMQ_LINGER, &linger, sizeof linger) != 0 ||
        zmq_setsockopt(ring->line, ZMQ_RCVHWM, &no_limit, sizeof no_limit) != 0 ||
        zmq_socket_monitor(ring->to, endpoint, events) != 0 || zmq_connect(ring->line, endpoint) != 0)
        return socket_error(err, "cannot watch the connection to the successor");
    ring->lost = ring->watch != NULL ? watch_counts(ring->watch).lost : 0;
    return true;
}

void ring_line_close(struct ring *ring)
{
    if (ring->line == NULL)
        return;
    zmq_socket_monitor(ring->to, NULL, 0);
    zmq_close(ring->line);
    ring->line = NULL;
}

/* zmq_recv that goes on after a signal. */
static int s_take_frame(struct ring *ring, void *frame, size_t size)
{
    int got;
    do {
        got = zmq_recv(ring->line, frame, size, ZMQ_DONTWAIT);
    } while (got < 0 && zmq_errno() == EINTR);
    return got;
}

/* Take in what the monitor says, a frame of u16 event and u32 value and one of the endpoint each. A connection that ends
 * before it stood has taken nothing with it: frames wait until it does. */
static void s_take_events(struct ring *ring)
{
    uint8_t frame[6], endpoint[1];
    uint16_t event;
    while (s_take_frame(ring, frame, sizeof frame) == sizeof frame) {
        s_take_frame(ring, endpoint, sizeof endpoint);
        memcpy(&event, frame, sizeof event);
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
    s_take_events(ring);
    ring->broken = ring->broken || ring->cut || (ring->watch != NULL && watch_counts(ring->watch).lost != ring->lost);
    if (ring->broken)
        ring->moved_ms = clock_ms();
    return ring->broken;
}
