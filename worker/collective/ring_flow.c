/* ring_flow.c - the way of the data: which chunk goes and comes next, and what is done with it. See ring.h. */
#include "worker/collective/ring_parts.h"

#include "proto/base/clock.h"
#include "proto/wire/parts.h"
#include "worker/collective/element.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <zmq.h>

/* A segment begins at a multiple of this many elements, for the loops' sake. */
enum { ALIGN = 64 };

/* Elements [begin, begin + count). */
struct piece {
    size_t begin, count;
};

static size_t ring_flow_less(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* ---- steps, segments, chunks ---- */

/* For size - 1 steps segments are added to, then they are complete. */
static bool ring_flow_is_complete(const struct ring_operation *operation, uint32_t step)
{
    return step + 1 >= operation->ring->size;
}

static size_t ring_flow_size_sent(const struct ring_operation *operation, uint32_t step)
{
    return operation->all_reduce
               ? element_size_sent((enum collective_element)operation->kind, ring_flow_is_complete(operation, step))
               : 1;
}

static size_t ring_flow_size(const struct ring_operation *operation)
{
    return operation->all_reduce ? element_size((enum collective_element)operation->kind) : 1;
}

/* What a step is about; at step s a rank receives what it sends at s + 1. */
static struct piece ring_flow_segment(const struct ring_operation *operation, uint32_t step, bool receive)
{
    const struct ring *ring = operation->ring;
    size_t count = operation->count;
    if (!operation->all_reduce)
        return (struct piece){0, count};
    uint32_t index = (ring->rank + 2 * ring->size - step - (receive ? 1 : 0)) % ring->size;
    size_t length = ((count + ring->size - 1) / ring->size + ALIGN - 1) / ALIGN * ALIGN;
    size_t begin = ring_flow_less(count, index * length);
    return (struct piece){begin, ring_flow_less(count - begin, length)};
}

static struct piece ring_flow_chunk(const struct ring_operation *operation, struct ring_position place, bool receive)
{
    struct piece segment = ring_flow_segment(operation, place.step, receive);
    /* As many elements whether complete or not, since a chunk goes on when it has come. */
    size_t most = RING_CHUNK / ring_flow_size_sent(operation, 0);
    size_t offset = ring_flow_less(segment.count, place.chunk * most);
    return (struct piece){segment.begin + offset, ring_flow_less(segment.count - offset, most)};
}

/* Go on to the next chunk that has elements, from `place` on. */
static void ring_flow_settle(const struct ring_operation *operation, struct ring_position *place, uint32_t end,
                             bool receive)
{
    while (place->step < end && ring_flow_chunk(operation, *place, receive).count == 0)
        *place = (struct ring_position){.step = place->step + 1};
}

static void ring_flow_begin(struct ring_operation *operation)
{
    operation->lent = 0;
    ring_flow_settle(operation, &operation->send, operation->send_end, false);
    ring_flow_settle(operation, &operation->receive, operation->receive_end, true);
}

void ring_flow_all_reduce(struct ring_operation *operation)
{
    uint32_t steps = 2 * (operation->ring->size - 1);
    operation->all_reduce = true;
    operation->send = operation->receive = (struct ring_position){0};
    operation->send_end = operation->receive_end = steps;
    ring_flow_begin(operation);
}

void ring_flow_broadcast(struct ring_operation *operation, uint32_t root)
{
    const struct ring *ring = operation->ring;
    uint32_t behind = (ring->rank + ring->size - root) % ring->size; /* steps from the root to here */
    operation->all_reduce = false;
    operation->kind = RING_KIND_BYTES;
    operation->send = (struct ring_position){.step = behind};
    operation->send_end = behind + 1 < ring->size ? behind + 1 : behind;
    operation->receive = (struct ring_position){.step = behind > 0 ? behind - 1 : 0};
    operation->receive_end = behind;
    ring_flow_begin(operation);
}

bool ring_flow_done(const struct ring_operation *operation)
{
    return operation->send.step == operation->send_end && operation->receive.step == operation->receive_end;
}

/* Whether the chunk to send next is here: that of step 0 is the rank's own, a later one came the step before. */
static bool ring_flow_here(const struct ring_operation *operation)
{
    struct ring_position send = operation->send, receive = operation->receive;
    return send.step < operation->send_end && (send.step == 0 || receive.step >= send.step ||
                                               (receive.step + 1 == send.step && receive.chunk > send.chunk));
}

/* The operation whose turn it is: neighbours send and receive in order. NULL = none. */
static struct ring_operation *ring_flow_sending(struct ring *ring)
{
    if (ring->cut)
        return NULL;
    for (uint64_t handle = ring->done + 1; handle <= ring->started; handle++) {
        struct ring_operation *operation = ring_operation_of(ring, handle);
        if (operation->send.step < operation->send_end)
            return ring_flow_here(operation) ? operation : NULL;
    }
    return NULL;
}

static struct ring_operation *ring_flow_receiving(struct ring *ring)
{
    for (uint64_t handle = ring->done + 1; handle <= ring->started; handle++) {
        struct ring_operation *operation = ring_operation_of(ring, handle);
        if (operation->receive.step < operation->receive_end)
            return operation;
    }
    return NULL;
}

bool ring_flow_may_send(struct ring *ring)
{
    return ring_flow_sending(ring) != NULL;
}

bool ring_flow_may_receive(struct ring *ring)
{
    return ring_flow_receiving(ring) != NULL;
}

/* ---- sending ---- */

/* A frame comes back, in whatever thread of ZeroMQ's. The owner looks at `lent` under the lock, so the ring still
 * stands until this has unlocked. */
static void ring_flow_return(void *data, void *hint)
{
    (void)data;
    struct ring_operation *operation = hint;
    struct ring *ring = operation->ring;
    pthread_mutex_lock(&ring->lock);
    if (--operation->lent == 0 && ring->listening)
        ring_ring(ring);
    pthread_mutex_unlock(&ring->lock);
}

/* Where the elements lie as they are sent. */
static uint8_t *ring_flow_sent_from(const struct ring_operation *operation, struct piece chunk)
{
    uint8_t *data = operation->data + chunk.begin * ring_flow_size(operation);
    bool complete = ring_flow_is_complete(operation, operation->send.step);
    if (operation->result != NULL && complete)
        return (uint8_t *)(operation->result + chunk.begin);
    if (operation->scratch == NULL)
        return data;
    uint8_t *rounded =
        operation->scratch->elements + chunk.begin * ring_flow_size_sent(operation, operation->send.step);
    if (!complete)
        element_round(rounded, (const float *)(const void *)data, chunk.count);
    return rounded;
}

/* A message of `bytes` at `data`, lent to ZeroMQ instead of copied if no other rank reads it. False: out of memory, and
 * no message. */
static bool ring_flow_lend(struct ring_operation *operation, zmq_msg_t *message, uint8_t *data, size_t bytes)
{
    struct ring *ring = operation->ring;
    if (ring->copies) {
        if (zmq_msg_init_size(message, bytes) != 0)
            return false;
        memcpy(zmq_msg_data(message), data, bytes);
        return true;
    }
    if (zmq_msg_init_data(message, data, bytes, ring_flow_return, operation) != 0)
        return false;
    pthread_mutex_lock(&ring->lock);
    operation->lent++;
    pthread_mutex_unlock(&ring->lock);
    return true;
}

/* The second frame: the elements, or the number of the tray into which they were put. False as above. */
static bool ring_flow_fill(struct ring_operation *operation, zmq_msg_t *message, uint8_t *elements, size_t bytes)
{
    struct ring_memory *there = operation->ring->there;
    uint32_t tray;
    if (there == NULL || bytes < RING_TRAY_LEAST || !ring_memory_put(there, elements, bytes, &tray))
        return ring_flow_lend(operation, message, elements, bytes);
    if (zmq_msg_init_size(message, RING_TRAY_NUMBER) != 0)
        return false;
    ring_tray_write(tray, zmq_msg_data(message));
    return true;
}

static bool ring_flow_send(struct ring *ring, struct ring_operation *operation, bool *moved, struct err *err)
{
    struct piece chunk = ring_flow_chunk(operation, operation->send, false);
    struct ring_frame frame = {.kind = operation->kind,
                               .step = (uint16_t)operation->send.step,
                               .generation = ring->generation,
                               .operation = operation->number,
                               .count = operation->count,
                               .chunk = operation->send.chunk,
                               .rank = (uint16_t)ring->rank};
    uint8_t head[RING_FRAME];
    ring_frame_write(&frame, head);
    if (zmq_send(ring->to, head, sizeof head, ZMQ_SNDMORE | ZMQ_DONTWAIT) < 0) {
        if (zmq_errno() == EAGAIN || zmq_errno() == EINTR)
            return true;
        return err_set(err, ERR_IO, "cannot send to rank %u: %s", (ring->rank + 1) % ring->size,
                       zmq_strerror(zmq_errno()));
    }
    zmq_msg_t message;
    bool filled = ring_flow_fill(operation, &message, ring_flow_sent_from(operation, chunk),
                                 chunk.count * ring_flow_size_sent(operation, operation->send.step));
    int sent = filled ? zmq_msg_send(&message, ring->to, ZMQ_DONTWAIT) : -1;
    while (filled && sent < 0 && zmq_errno() == EINTR)
        sent = zmq_msg_send(&message, ring->to, ZMQ_DONTWAIT);
    if (sent < 0) {
        int code = zmq_errno();
        if (filled)
            zmq_msg_close(&message);
        ring->cut = code == EAGAIN;
        return ring->cut ||
               err_set(err, ERR_IO, "cannot send to rank %u: %s", (ring->rank + 1) % ring->size, zmq_strerror(code));
    }
    operation->send.chunk++;
    ring_flow_settle(operation, &operation->send, operation->send_end, false);
    ring->moved_ms = clock_ms();
    *moved = true;
    return true;
}

/* ---- receiving ---- */

/* A received message: the line before the data, and the data. */
enum { HEAD, BODY, PARTS };

/* Ends in ring_flow_drop. */
struct arrival {
    zmq_msg_t part[PARTS];
    const void *elements; /* in the body, or in the tray of which it is the number  */
    size_t count;         /* frames of the message; only the first two are kept     */
    struct route from;    /* the connection, and the message's bytes on it          */
};

static void ring_flow_drop(struct arrival *arrival)
{
    for (int i = 0; i < PARTS; i++)
        zmq_msg_close(&arrival->part[i]);
}

/* False where none is there. */
static bool ring_flow_take(struct ring *ring, struct arrival *arrival)
{
    zmq_msg_t first;
    struct parts parts = {.kept = arrival->part, .most = PARTS, .most_bytes = UINT64_MAX, .curve = ring->keys != NULL};
    if (!parts_receive_one(ring->from, &first, ZMQ_DONTWAIT))
        return false;
    arrival->from = (struct route){.fd = zmq_msg_get(&first, ZMQ_SRCFD)};
    bool whole = parts_receive_rest(ring->from, &first, &parts);
    for (size_t i = parts.kept_count; i < PARTS; i++)
        zmq_msg_init(&arrival->part[i]);
    arrival->elements = NULL;
    arrival->count = parts.count;
    arrival->from.bytes = parts.wire;
    if (!whole)
        ring_flow_drop(arrival);
    return whole;
}

/* Of an earlier generation or, with keys, from a peer that is not the predecessor. */
static bool ring_flow_is_stale(const struct ring *ring, struct arrival *arrival, const struct ring_frame *frame)
{
    if (ring->predecessor[0] != '\0') {
        const char *key = zmq_msg_gets(&arrival->part[HEAD], "User-Id");
        if (key == NULL || strcmp(key, ring->predecessor) != 0)
            return true;
    }
    return frame->generation < ring->generation;
}

/* Where the elements of a message lie that should have so many bytes of them; NULL where it has not. */
static const void *ring_flow_elements(const struct ring *ring, struct arrival *arrival, size_t bytes)
{
    const void *body = zmq_msg_data(&arrival->part[BODY]);
    size_t size = zmq_msg_size(&arrival->part[BODY]);
    if (arrival->count != 2 || size == bytes)
        return arrival->count == 2 ? body : NULL;
    bool tray = ring->here != NULL && bytes >= RING_TRAY_LEAST && size == RING_TRAY_NUMBER;
    return tray ? ring_memory_at(ring->here, ring_tray_read(body)) : NULL;
}

/* Whether it is the one message that may come now. */
static bool ring_flow_check(const struct ring_operation *operation, struct arrival *arrival,
                            const struct ring_frame *frame, struct err *err)
{
    const struct ring *ring = operation->ring;
    uint32_t predecessor = (ring->rank + ring->size - 1) % ring->size;
    size_t bytes = ring_flow_chunk(operation, operation->receive, true).count *
                   ring_flow_size_sent(operation, operation->receive.step);
    if (frame->generation != ring->generation || frame->rank != predecessor)
        return err_set(err, ERR_PROTOCOL,
                       "the ring got a frame of rank %u, generation %" PRIu64 ", in place of %u, %" PRIu64, frame->rank,
                       frame->generation, predecessor, ring->generation);
    if (frame->operation != operation->number || frame->kind != operation->kind || frame->count != operation->count)
        return err_set(err, ERR_PROTOCOL,
                       "rank %u is at operation %u (kind %u, %" PRIu64 " elements), this rank at %u"
                       " (kind %u, %zu elements)",
                       predecessor, frame->operation, frame->kind, frame->count, operation->number, operation->kind,
                       operation->count);
    if (frame->step != operation->receive.step || frame->chunk != operation->receive.chunk)
        return err_set(err, ERR_PROTOCOL, "rank %u sent chunk %u of step %u in place of %u of %u", predecessor,
                       frame->chunk, frame->step, operation->receive.chunk, operation->receive.step);
    arrival->elements = ring_flow_elements(ring, arrival, bytes);
    if (arrival->elements == NULL)
        return err_set(err, ERR_PROTOCOL, "rank %u sent %zu bytes in %zu frames in place of %zu in 2", predecessor,
                       zmq_msg_size(&arrival->part[BODY]), arrival->count, bytes);
    return true;
}

/* Integers are added to integers, until the sum is complete and becomes a float. */
static void ring_flow_put_scaled(const struct ring_operation *operation, struct piece chunk, const void *sent)
{
    const struct ring *ring = operation->ring;
    int64_t *data = (int64_t *)(void *)operation->data + chunk.begin;
    float *result = operation->result + chunk.begin;
    if (operation->receive.step + 2 < ring->size)
        element_add_sent(ELEMENT_I64_F32, data, sent, chunk.count);
    else if (operation->receive.step + 2 == ring->size)
        element_fold(result, data, sent, operation->scale, chunk.count);
    else
        memcpy(result, sent, chunk.count * sizeof *result);
}

/* Rounded sums: kept as they travel, so that every rank has the same. */
static void ring_flow_put_rounded(const struct ring_operation *operation, struct piece chunk, const void *sent)
{
    const struct ring *ring = operation->ring;
    enum collective_element element = (enum collective_element)operation->kind;
    float *data = (float *)(void *)operation->data + chunk.begin;
    uint8_t *rounded = operation->scratch->elements + chunk.begin * element_size_sent(element, true);
    if (operation->receive.step + 1 < ring->size)
        element_add_sent(element, data, sent, chunk.count);
    else
        memcpy(rounded, sent, chunk.count * element_size_sent(element, true));
    if (operation->receive.step + 2 == ring->size)
        element_round(rounded, data, chunk.count);
    if (operation->receive.step + 2 >= ring->size)
        element_widen(data, rounded, chunk.count);
}

static void ring_flow_put(const struct ring_operation *operation, struct piece chunk, const void *sent)
{
    uint8_t *to = operation->data + chunk.begin * ring_flow_size(operation);
    if (operation->result != NULL)
        ring_flow_put_scaled(operation, chunk, sent);
    else if (operation->scratch != NULL)
        ring_flow_put_rounded(operation, chunk, sent);
    else if (operation->all_reduce && operation->receive.step + 1 < operation->ring->size)
        element_add_sent((enum collective_element)operation->kind, to, sent, chunk.count);
    else
        memcpy(to, sent, chunk.count * ring_flow_size(operation));
}

/* A message that begins with no line of a ring. Who is not the predecessor is cut off for it, and nothing is lost. */
static bool ring_flow_refuse(struct ring *ring, const struct arrival *arrival, struct err *err)
{
    if (ring->watch == NULL || ring->copies || (arrival->from.fd >= 0 && arrival->from.fd == ring->neighbour))
        return err_set(err, ERR_PROTOCOL, "the ring received a frame that is not one of its own");
    watch_reject(ring->watch, &arrival->from);
    return true;
}

/* The message that was due: its sender is the predecessor. */
static void ring_flow_accept(struct ring_operation *operation, struct arrival *arrival)
{
    struct ring *ring = operation->ring;
    if (ring->watch != NULL) /* each time: it may have come again, and been given the same descriptor */
        watch_trust(ring->watch, &arrival->from);
    ring->neighbour = arrival->from.fd;
    ring_flow_put(operation, ring_flow_chunk(operation, operation->receive, true), arrival->elements);
    if (arrival->elements != zmq_msg_data(&arrival->part[BODY]))
        ring_memory_empty(ring->here, ring_tray_read(zmq_msg_data(&arrival->part[BODY])));
    operation->receive.chunk++;
    ring_flow_settle(operation, &operation->receive, operation->receive_end, true);
    ring->moved_ms = clock_ms();
}

static bool ring_flow_look_at(struct ring_operation *operation, struct arrival *arrival, struct err *err)
{
    struct ring *ring = operation->ring;
    struct ring_frame frame;
    bool known = ring_frame_read(zmq_msg_data(&arrival->part[HEAD]), zmq_msg_size(&arrival->part[HEAD]), &frame);
    if (!known)
        frame = (struct ring_frame){.generation = ring->generation};
    if (ring_flow_is_stale(ring, arrival, &frame))
        return true;
    if (!known)
        return ring_flow_refuse(ring, arrival, err);
    if (!ring_flow_check(operation, arrival, &frame, err))
        return false;
    ring_flow_accept(operation, arrival);
    return true;
}

static bool ring_flow_receive(struct ring *ring, struct ring_operation *operation, bool *moved, struct err *err)
{
    struct arrival arrival;
    if (!ring_flow_take(ring, &arrival))
        return zmq_errno() == EAGAIN || socket_error(err, "cannot receive");
    *moved = true;
    if (ring->watch != NULL)
        watch_received(ring->watch, &arrival.from);
    bool ok = ring_flow_look_at(operation, &arrival, err);
    ring_flow_drop(&arrival);
    return ok;
}

bool ring_flow(struct ring *ring, bool *moved, struct err *err)
{
    *moved = false;
    struct ring_operation *operation = ring_flow_sending(ring);
    if (operation != NULL && !ring_flow_send(ring, operation, moved, err))
        return false;
    operation = ring_flow_receiving(ring);
    return operation == NULL || ring_flow_receive(ring, operation, moved, err);
}
