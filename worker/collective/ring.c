/* ring.c - the ring's life: its sockets, its operations from start to wait, and how they are ended.
 *
 * Each rank binds a PULL socket, where its predecessor comes in, and connects a PUSH socket to its successor; both are
 * new for each generation. Work is done in the owner's calls; in between ZeroMQ's thread goes on reading and writing.
 * Frames are lent to ZeroMQ, not copied, so memory is given back to the caller only when all have come back: at once
 * after the sockets were closed without lingering. */
#include "worker/collective/ring.h"
#include "worker/collective/ring_parts.h"

#include "proto/base/atomics.h"
#include "proto/base/clock.h"
#include "proto/wire/socket.h"
#include "worker/collective/element.h"
#include "worker/collective/ring_endpoint.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include <zmq.h>

enum {
    /* Messages that may wait at a receiver: a few, so that its predecessor is not held up by its pauses, and no more,
     * since they are copies. Waiting to be sent they cost nothing, so a whole step may. */
    QUEUE_RECEIVED = 8,
    QUEUE_SENT = 256,
    /* What CURVE adds to a frame, and more. */
    FRAME_MORE = 128,
    /* For the last frames of a generation that ended well, which encryption may still hold. */
    LINGER_MS = 1000,
    /* Connections that wait to be accepted: many strangers at once keep the predecessor waiting no longer than one. */
    BACKLOG = 1024,
    /* Everyone listens before anyone connects, so that a first attempt fails only where connections are short. */
    RECONNECT_MS = 20,
    /* The socket of the generation before gives its port back in ZeroMQ's own time, soon after it was closed. */
    BIND_EVERY_MS = 5,
    BIND_MS = 2000,
};

static struct ring *ring_of(struct collective *self)
{
    return (struct ring *)(void *)self;
}

/* ---- the bell ---- */

void ring_ring(struct ring *ring)
{
    uint64_t one = 1;
    /* Fails only where the count is full, which wakes as well. */
    ssize_t written = write(ring->bell, &one, sizeof one);
    (void)written;
}

static void ring_silence(struct ring *ring)
{
    uint64_t rung;
    ssize_t size = read(ring->bell, &rung, sizeof rung);
    (void)size;
}

/* The frames of an operation that have not come back. From here on the bell is rung when they have. */
static unsigned ring_lent(struct ring *ring, const struct ring_operation *operation)
{
    pthread_mutex_lock(&ring->lock);
    unsigned lent = operation->lent;
    ring->listening = lent > 0;
    pthread_mutex_unlock(&ring->lock);
    return lent;
}

/* ---- the end of a generation ---- */

static void ring_close_socket(void **socket, int linger)
{
    if (*socket == NULL)
        return;
    zmq_setsockopt(*socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_close(*socket);
    *socket = NULL;
}

static void ring_end(struct ring *ring)
{
    if (ring->watch != NULL && ring->from != NULL)
        watch_leave(ring->watch);
    bool well =
        ring->done == ring->started && ring->failure.code == ERR_NONE && atomic_load(&ring->over) <= ring->generation;
    ring_line_close(ring);
    ring_close_socket(&ring->to, well ? LINGER_MS : 0);
    ring_close_socket(&ring->from, 0);
    ring_memory_destroy(&ring->here);
    ring_memory_destroy(&ring->there);
    while (ring->done < ring->started) {
        struct ring_operation *operation = ring_operation_of(ring, ring->done + 1);
        while (ring_lent(ring, operation) > 0) {
            struct pollfd bell = {.fd = ring->bell, .events = POLLIN};
            poll(&bell, 1, -1);
            ring_silence(ring);
        }
        if (operation->scratch != NULL)
            operation->scratch->used = false;
        ring->done++;
    }
    ring->size = 0;
}

/* Whatever fails ends the generation. Returns false. */
static bool ring_fail(struct ring *ring, struct err *err)
{
    ring->failure = *err;
    ring_end(ring);
    return false;
}

static bool ring_is_over(struct ring *ring, struct err *err)
{
    if (atomic_load(&ring->over) <= ring->generation)
        return false;
    err_set(err, ERR_ABORTED, "generation %" PRIu64 " was ended", ring->generation);
    return true;
}

static void ring_abort(struct collective *self, uint64_t generation)
{
    struct ring *ring = ring_of(self);
    atomics_raise(&ring->over, collective_after(generation));
    ring_ring(ring);
}

/* ---- sockets ---- */

static bool ring_zmq_error(struct err *err, const char *what, const char *endpoint)
{
    return err_set(err, ERR_IO, "cannot %s %s: %s", what, endpoint, zmq_strerror(zmq_errno()));
}

/* Options that every socket of a ring has, then its own limit of messages. */
static bool ring_set(void *socket, const char *endpoint, int queue_option, int queue)
{
    int linger = 0, ipv6 = strchr(endpoint, '[') != NULL, reconnect = RECONNECT_MS;
    /* A neighbour that is not connected is no place for frames: without this they would wait for it, lent. */
    int immediate = 1;
    /* A larger frame ends the connection before it is read. */
    int64_t most = RING_CHUNK + FRAME_MORE;
    int handshake = MONITOR_HANDSHAKE_MS;
    return zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger) == 0 &&
           zmq_setsockopt(socket, ZMQ_IPV6, &ipv6, sizeof ipv6) == 0 &&
           zmq_setsockopt(socket, ZMQ_IMMEDIATE, &immediate, sizeof immediate) == 0 &&
           zmq_setsockopt(socket, ZMQ_RECONNECT_IVL, &reconnect, sizeof reconnect) == 0 &&
           zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &most, sizeof most) == 0 &&
           zmq_setsockopt(socket, ZMQ_HANDSHAKE_IVL, &handshake, sizeof handshake) == 0 &&
           zmq_setsockopt(socket, queue_option, &queue, sizeof queue) == 0;
}

/* Ready to bind: a connecting peer must have the key. A local socket can be watched only by its number of connections,
 * so it accepts only the user's own processes, which could end this one anyway. */
static bool ring_set_server(struct ring *ring, const char *place, struct err *err)
{
    const int backlog = BACKLOG;
    const uid_t user = geteuid();
    bool local = strncmp(place, "ipc://", 6) == 0;
    if (!ring_set(ring->from, place, ZMQ_RCVHWM, QUEUE_RECEIVED) ||
        zmq_setsockopt(ring->from, ZMQ_BACKLOG, &backlog, sizeof backlog) != 0 ||
        (local && zmq_setsockopt(ring->from, ZMQ_IPC_FILTER_UID, &user, sizeof user) != 0))
        return ring_zmq_error(err, "listen at", place);
    if (ring->keys != NULL && !zap_set_server(ring->zap, ring->from, ring->keys, ZAP_RING, err))
        return false;
    if (ring->keys == NULL && ring->zap != NULL && !zap_set_open(ring->zap, ring->from, err))
        return false;
    return ring->watch == NULL || watch_socket(ring->watch, ring->from, err);
}

/* Ready to connect to the successor, and to no other peer that claims to be it. */
static bool ring_set_client(struct ring *ring, const struct collective_group *group, const char *endpoint,
                            struct err *err)
{
    uint32_t successor = (group->rank + 1) % group->size, predecessor = (group->rank + group->size - 1) % group->size;
    if (!ring_set(ring->to, endpoint, ZMQ_SNDHWM, QUEUE_SENT))
        return ring_zmq_error(err, "connect to", endpoint);
    if (ring->keys == NULL)
        return true;
    if (group->public_keys == NULL || !curve_is_key(group->public_keys[successor]) ||
        !curve_is_key(group->public_keys[predecessor]))
        return err_set(err, ERR_PROTOCOL, "the keys of ranks %u and %u are not known", successor, predecessor);
    memcpy(ring->predecessor, group->public_keys[predecessor], CURVE_KEY);
    return curve_set_client(ring->to, ring->keys, group->public_keys[successor], err);
}

/* Bind the place that others are told. A port that is still this rank's own, of the generation before, is waited
 * for. */
static bool ring_bind(struct ring *ring, const char *place, struct err *err)
{
    int64_t until = clock_ms() + BIND_MS;
    while (zmq_bind(ring->from, place) != 0) {
        int code = zmq_errno();
        if (ring_is_over(ring, err))
            return false;
        if (code != EADDRINUSE || clock_ms() >= until)
            return err_set(err, ERR_IO, "cannot listen at %s: %s", place, zmq_strerror(code));
        struct pollfd bell = {.fd = ring->bell, .events = POLLIN};
        if (poll(&bell, 1, BIND_EVERY_MS) > 0)
            ring_silence(ring);
    }
    return true;
}

static bool ring_listen(struct collective *self, uint64_t generation, char endpoint[COLLECTIVE_ENDPOINT],
                        struct err *err)
{
    struct ring *ring = ring_of(self);
    char place[COLLECTIVE_ENDPOINT + 8];
    size_t size = COLLECTIVE_ENDPOINT;
    ring_end(ring);
    ring->failure = (struct err){0};
    ring->generation = generation;
    ring->neighbour = -1;
    ring_endpoint_fill(ring->bind, ring, generation, place, sizeof place);
    /* Frames with keys are authenticated; memory could come from any process of this user. */
    if (strcmp(ring->bind, "ipc://@") == 0 && ring->keys == NULL)
        ring->here = ring_memory_new(place, sizeof place);
    ring->from = zmq_socket(ring->zmq_context, ZMQ_PULL);
    bool bound = ring->from == NULL ? ring_zmq_error(err, "listen at", place)
                                    : ring_set_server(ring, place, err) && ring_bind(ring, place, err);
    if (!bound)
        return ring_fail(ring, err);
    return zmq_getsockopt(ring->from, ZMQ_LAST_ENDPOINT, endpoint, &size) == 0 ||
           ring_zmq_error(err, "listen at", place) || ring_fail(ring, err);
}

static bool ring_check_group(const struct ring *ring, const struct collective_group *group, struct err *err)
{
    if (ring->from == NULL || group->generation != ring->generation)
        return err_set(err, ERR_PROTOCOL, "PEERS of generation %" PRIu64 " came, but this rank does not listen for it",
                       group->generation);
    if (group->size < 1 || group->size > COLLECTIVE_RANKS_MOST || group->rank >= group->size)
        return err_set(err, ERR_PROTOCOL, "rank %u of %u cannot be", group->rank, group->size);
    return true;
}

static bool ring_connect(struct collective *self, const struct collective_group *group, struct err *err)
{
    struct ring *ring = ring_of(self);
    if (!ring_check_group(ring, group, err))
        return ring_fail(ring, err);
    ring->rank = group->rank;
    ring->timeout_ms = group->timeout_ms;
    ring->first = ring->done = ring->started;
    ring->stood = ring->broken = ring->cut = false;
    if (group->size > 1) {
        uint32_t successor = (group->rank + 1) % group->size;
        const char *endpoint = group->endpoints[successor];
        if (!ring_endpoint_check(group->endpoints, group->rank, group->size, err))
            return ring_fail(ring, err);
        ring->copies = strncmp(endpoint, "inproc:", 7) == 0;
        ring->to = zmq_socket(ring->zmq_context, ZMQ_PUSH);
        if (ring->to != NULL && !ring_set_client(ring, group, endpoint, err))
            return ring_fail(ring, err);
        if (ring->to != NULL && !ring->copies && !ring_line_open(ring, err))
            return ring_fail(ring, err);
        if (ring->to == NULL || zmq_connect(ring->to, endpoint) != 0) {
            ring_zmq_error(err, "connect to", endpoint);
            return ring_fail(ring, err);
        }
        if (ring->keys == NULL)
            ring->there = ring_memory_find(endpoint);
    }
    ring->size = group->size;
    return true;
}

/* ---- operations ---- */

/* Where bf16 waits to be sent: the first memory that is free, grown where it is too small. */
static struct ring_scratch *ring_scratch_take(struct ring *ring, size_t bytes, struct err *err)
{
    struct ring_scratch *scratch = ring->scratch;
    while (scratch->used)
        scratch++;
    if (scratch->capacity < bytes) {
        free(scratch->elements);
        scratch->elements = malloc(bytes);
        scratch->capacity = scratch->elements == NULL ? 0 : bytes;
        if (scratch->elements == NULL) {
            err_set(err, ERR_MEMORY, "no memory for %zu bytes of rounded elements", bytes);
            return NULL;
        }
    }
    scratch->used = true;
    return scratch;
}

/* Operations whose data went and came, and whose frames are back, are done. */
static void ring_finish(struct ring *ring)
{
    while (ring->done < ring->started) {
        struct ring_operation *operation = ring_operation_of(ring, ring->done + 1);
        if (!ring_flow_done(operation) || ring_lent(ring, operation) > 0)
            return;
        if (operation->scratch != NULL)
            operation->scratch->used = false;
        ring->done++;
    }
}

/* All that can be done without waiting. */
static bool ring_progress(struct ring *ring, struct err *err)
{
    for (bool moved = true; moved;)
        if (ring_is_over(ring, err) || !ring_flow(ring, &moved, err))
            return false;
    ring_finish(ring);
    return true;
}

/* Room for an operation, or NULL and err. */
static struct ring_operation *ring_operation_take(struct ring *ring, void *data, size_t count, struct err *err)
{
    if (ring->failure.code != ERR_NONE) {
        *err = ring->failure;
        return NULL;
    }
    if (ring->size == 0) {
        err_set(err, ERR_FAILED, "the ring is not connected");
        return NULL;
    }
    if (ring->started - ring->done >= COLLECTIVE_OPERATIONS) {
        err_set(err, ERR_FULL, "%d operations were started and are not done", COLLECTIVE_OPERATIONS);
        return NULL;
    }
    struct ring_operation *operation = ring_operation_of(ring, ring->started + 1);
    *operation = (struct ring_operation){
        .ring = ring, .number = (uint32_t)(ring->started + 1 - ring->first), .data = data, .count = count};
    return operation;
}

static bool ring_start(struct ring *ring, uint64_t *handle, struct err *err)
{
    *handle = ++ring->started;
    return ring_progress(ring, err) || ring_fail(ring, err);
}

static bool ring_all_reduce(struct collective *self, enum collective_element element, void *data, size_t count,
                            uint64_t *handle, struct err *err)
{
    struct ring *ring = ring_of(self);
    struct ring_operation *operation = ring_operation_take(ring, data, count, err);
    if (operation == NULL)
        return false;
    if (element == ELEMENT_I64_F32)
        return err_set(err, ERR_PROTOCOL, "integers that become floats are folded");
    operation->kind = (uint8_t)element;
    size_t sent = element_size_sent(element, true);
    if (sent != element_size(element) && ring->size > 1) {
        operation->scratch = ring_scratch_take(ring, count * sent, err);
        if (operation->scratch == NULL)
            return false;
    }
    ring_flow_all_reduce(operation);
    return ring_start(ring, handle, err);
}

static bool ring_all_reduce_scaled(struct collective *self, int64_t *data, size_t count, float scale, float *result,
                                   uint64_t *handle, struct err *err)
{
    struct ring *ring = ring_of(self);
    struct ring_operation *operation = ring_operation_take(ring, data, count, err);
    if (operation == NULL)
        return false;
    operation->kind = ELEMENT_I64_F32;
    operation->result = result;
    operation->scale = scale;
    if (ring->size == 1)
        element_fold(result, data, NULL, scale, count);
    ring_flow_all_reduce(operation);
    return ring_start(ring, handle, err);
}

static bool ring_broadcast(struct collective *self, void *data, size_t bytes, uint32_t root, uint64_t *handle,
                           struct err *err)
{
    struct ring *ring = ring_of(self);
    struct ring_operation *operation = ring_operation_take(ring, data, bytes, err);
    if (operation == NULL)
        return false;
    if (root >= ring->size)
        return err_set(err, ERR_PROTOCOL, "rank %u of %u cannot broadcast", root, ring->size);
    ring_flow_broadcast(operation, root);
    return ring_start(ring, handle, err);
}

/* ---- waiting ---- */

/* Milliseconds until patience ends; -1 = never. */
static bool ring_patience(struct ring *ring, long *left, struct err *err)
{
    bool broken = ring_line_is_broken(ring);
    int64_t timeout_ms = ring->timeout_ms;
    *left = -1;
    int64_t limit_ms = RING_BROKEN_MS + (ring->rank % 2) * RING_BROKEN_MORE_MS;
    if (broken && (timeout_ms <= 0 || timeout_ms > limit_ms))
        timeout_ms = limit_ms;
    if (timeout_ms <= 0)
        return true;
    *left = (long)(ring->moved_ms + timeout_ms - clock_ms());
    return *left > 0 || err_set(err, ERR_FAILED, "nothing moved between ranks %u, %u and %u for %" PRId64 " ms%s",
                                (ring->rank + ring->size - 1) % ring->size, ring->rank, (ring->rank + 1) % ring->size,
                                timeout_ms, broken ? ", since a connection between them broke" : "");
}

/* Sleep until something may have changed. What ring_finish last saw lent rings the bell. */
static bool ring_sleep(struct ring *ring, struct err *err)
{
    long left;
    if (!ring_patience(ring, &left, err))
        return false;
    zmq_pollitem_t items[] = {
        {.fd = ring->bell, .events = ZMQ_POLLIN},
        {.socket = ring->from, .events = ring_flow_may_receive(ring) ? ZMQ_POLLIN : 0},
        {.socket = ring->to, .events = ring_flow_may_send(ring) ? ZMQ_POLLOUT : 0},
    };
    if (!ring->broken && (left < 0 || left > RING_LOOK_MS))
        left = RING_LOOK_MS;
    if (zmq_poll(items, 3, left) < 0 && zmq_errno() != EINTR)
        return err_set(err, ERR_IO, "cannot wait for the ring: %s", zmq_strerror(zmq_errno()));
    if (items[0].revents != 0)
        ring_silence(ring);
    return true;
}

static bool ring_wait(struct collective *self, uint64_t handle, struct err *err)
{
    struct ring *ring = ring_of(self);
    if (ring->failure.code != ERR_NONE) {
        *err = ring->failure;
        return false;
    }
    ring->moved_ms = clock_ms();
    for (;;) {
        if (!ring_progress(ring, err))
            return ring_fail(ring, err);
        if (ring->done >= handle)
            return true;
        if (!ring_sleep(ring, err))
            return ring_fail(ring, err);
    }
}

/* ---- open and close ---- */

static void ring_close(struct collective *self)
{
    struct ring *ring = ring_of(self);
    ring_end(ring);
    for (size_t i = 0; i < COLLECTIVE_OPERATIONS; i++)
        free(ring->scratch[i].elements);
    if (ring->bell >= 0)
        close(ring->bell);
    pthread_mutex_destroy(&ring->lock);
    free(ring);
}

static const struct collective_table ring_table = {
    .name = "ring",
    .listen = ring_listen,
    .connect = ring_connect,
    .all_reduce = ring_all_reduce,
    .all_reduce_scaled = ring_all_reduce_scaled,
    .broadcast = ring_broadcast,
    .wait = ring_wait,
    .abort = ring_abort,
    .close = ring_close,
};

/* Others must be able to connect to what listen says. */
static bool ring_check_bind(const char *bind, struct err *err)
{
    if (strlen(bind) + 8 > COLLECTIVE_ENDPOINT)
        return err_set(err, ERR_USAGE, "%s: the address is longer than %d bytes", bind, COLLECTIVE_ENDPOINT - 8);
    static const char *const every[] = {"tcp://*", "tcp://0.0.0.0", "tcp://[::]"};
    for (size_t i = 0; i < sizeof every / sizeof *every; i++)
        if (strncmp(bind, every[i], strlen(every[i])) == 0)
            return err_set(err, ERR_USAGE, "%s: the ring needs an address that other hosts can connect to", bind);
    return true;
}

struct collective *ring_open(const struct ring_options *options, struct err *err)
{
    if (!ring_check_bind(options->bind, err))
        return NULL;
    if (options->keys != NULL && options->zap == NULL) {
        err_set(err, ERR_USAGE, "a ring with keys needs a ZAP handler that checks the keys of others");
        return NULL;
    }
    struct ring *ring = calloc(1, sizeof *ring);
    if (ring == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a ring");
        return NULL;
    }
    ring->base.op = &ring_table;
    ring->zmq_context = options->zmq_context;
    ring->keys = options->keys;
    ring->zap = options->zap;
    ring->watch = options->watch;
    snprintf(ring->bind, sizeof ring->bind, "%s", options->bind);
    pthread_mutex_init(&ring->lock, NULL);
    ring->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (ring->bell < 0) {
        err_errno(err, ERR_IO, "cannot make the ring's bell");
        ring_close(&ring->base);
        return NULL;
    }
    return &ring->base;
}
