/* host.h - what a worker stands on, played, so that all of it runs in one thread and an input does the same whenever it
 * is run: its sockets (wire.h), the clock (stopped_clock.h), its compute thread, its backend and the ranks beside it.
 *
 *   coordinator --link--> loop side --pair--> session          the target is the coordinator
 *               <--------           <--------
 *
 * worker_run is called as it is. Where it runs its loop, the session is called on top of it (__wrap_loop_run): whenever
 * the session waits for something to read, and now and then before it speaks or while it waits for other ranks,
 * host_step is called, the target's own, which makes a move and lets the loop go round. So the loop side acts between
 * any two words of the session, in the middle of a step too, as it may with two threads. When the loop is over, the
 * session is told to end, as worker_run itself would tell it. One thread. */
#ifndef LSTMQ_TESTS_FUZZ_HOST_H
#define LSTMQ_TESTS_FUZZ_HOST_H

#include "kernels/backend.h"
#include "kernels/collective.h"
#include "proto/base/log.h"
#include "proto/store/safetensors.h"
#include "proto/wire/auth/curve.h"
#include "proto/wire/auth/zap.h"
#include "proto/wire/loop.h"
#include "proto/wire/watch.h"
#include "tests/fuzz/script.h"
#include "tests/fuzz/stopped_clock.h"
#include "tests/fuzz/wire.h"
#include "worker/cluster/shared.h"
#include "worker/cluster/worker.h"
#include "worker/collective/ring.h"
#include "worker/model/model.h"

#include <stdio.h>

enum { HOST_SOCKETS = 8, HOST_QUEUE = 16, HOST_LINES = 5 };

/* A move of the coordinator's, which is followed by a round of the loop. Returns false when none is left. */
static bool host_step(void);

struct host {
    bool playing; /* an input is being run: what follows, and all that is wrapped, counts */
    int64_t now_ms;
    struct wire_socket sockets[HOST_SOCKETS], *loop_pair, *session_pair, *link, coordinator;
    struct wire_line lines[HOST_LINES]; /* to session, from session, to worker, from worker, to monitor */
    void *(*compute)(void *context);
    void *compute_context;
    struct loop *loop;
    bool loop_over, loop_good;
    struct err *loop_err;
    bool session_over;
    struct backend *backend;
    unsigned links; /* connections so far */
    /* the collective */
    struct collective ring;
    uint64_t listened, aborted; /* generations; those below `aborted` are over */
    uint32_t size;
    bool failed;
};

static struct host host = {.now_ms = CLOCK_BEGINS_MS};

enum { HOST_TO_SESSION, HOST_FROM_SESSION, HOST_TO_WORKER, HOST_FROM_WORKER, HOST_NEWS };

/* ---- threads ---- */

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *context);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *context);
int __real_pthread_join(pthread_t thread, void **result);
int __wrap_pthread_join(pthread_t thread, void **result);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *context)
{
    if (!host.playing)
        return __real_pthread_create(thread, how, run, context);
    host.compute = run;
    host.compute_context = context;
    return 0;
}

int __wrap_pthread_join(pthread_t thread, void **result)
{
    return host.playing ? 0 : __real_pthread_join(thread, result);
}

/* ---- sockets: which is which shows when they are bound and connected ---- */

void *__wrap_zmq_socket(void *context, int type);
int __wrap_zmq_close(void *socket);
int __wrap_zmq_setsockopt(void *socket, int option, const void *value, size_t size);
int __wrap_zmq_bind(void *socket, const char *endpoint);
int __wrap_zmq_connect(void *socket, const char *endpoint);
int __wrap_zmq_socket_monitor(void *socket, const char *endpoint, int events);
static void host_before_wait(void);
static void host_before_send(void);

void *__wrap_zmq_socket(void *context, int type)
{
    static struct wire_line none;
    (void)context, (void)type;
    for (int i = 0; i < HOST_SOCKETS; i++)
        if (host.sockets[i].in == NULL) {
            host.sockets[i] = (struct wire_socket){.in = &none, .silent = true};
            return &host.sockets[i];
        }
    abort();
}

int __wrap_zmq_close(void *socket)
{
    struct wire_socket *own = socket;
    must(own->in != NULL);
    wire_clear(own->in);
    own->in = NULL;
    if (own == host.link)
        host.link = NULL;
    return 0;
}

int __wrap_zmq_setsockopt(void *socket, int option, const void *value, size_t size)
{
    (void)option, (void)value, (void)size;
    must(((struct wire_socket *)socket)->in != NULL);
    return 0;
}

int __wrap_zmq_bind(void *socket, const char *endpoint)
{
    must(strncmp(endpoint, "inproc://lstmq-worker-", 22) == 0);
    host.loop_pair = socket;
    *host.loop_pair = (struct wire_socket){.in = &host.lines[HOST_FROM_SESSION], .out = &host.lines[HOST_TO_SESSION]};
    return 0;
}

int __wrap_zmq_connect(void *socket, const char *endpoint)
{
    struct wire_socket *own = socket;
    if (strncmp(endpoint, "inproc://lstmq-worker-", 22) == 0) {
        host.session_pair = own;
        *own = (struct wire_socket){.in = &host.lines[HOST_TO_SESSION],
                                    .out = &host.lines[HOST_FROM_SESSION],
                                    .before_wait = host_before_wait,
                                    .before_send = host_before_send};
    } else if (strncmp(endpoint, "inproc://lstmq-monitor-", 23) == 0) {
        own->in = &host.lines[HOST_NEWS];
    } else { /* a new connection: nothing of the old one's is in it */
        host.link = own;
        host.links++;
        wire_clear(&host.lines[HOST_FROM_WORKER]);
        *own = (struct wire_socket){
            .in = &host.lines[HOST_TO_WORKER], .out = &host.lines[HOST_FROM_WORKER], .silent = script_byte() % 4 != 1};
    }
    return 0;
}

int __wrap_zmq_socket_monitor(void *socket, const char *endpoint, int events)
{
    (void)socket, (void)endpoint, (void)events;
    return 0;
}

/* What a monitor says of the link. */
static void host_news(uint16_t event)
{
    uint8_t bytes[6] = {0};
    memcpy(bytes, &event, sizeof event);
    struct wire_line *line = &host.lines[HOST_NEWS];
    if (host.link == NULL || line->messages >= line->most)
        return;
    host.link->silent =
        event == ZMQ_EVENT_DISCONNECTED || (host.link->silent && event != ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
    line->messages++;
    wire_put(line, bytes, sizeof bytes, true);
    wire_put(line, "tcp://x:1", 9, false);
}

/* ---- the loop, and the session on top of it ---- */

bool __real_loop_run(struct loop *loop, struct err *err);
bool __wrap_loop_run(struct loop *loop, struct err *err);

/* The loop goes round once, `ms` later. */
static void host_round(int64_t ms)
{
    if (!host.loop_over)
        host.loop_good = clock_round(host.loop, ms, __real_loop_run, &host.loop_over, host.loop_err);
}

static void host_end_session(void)
{
    wire_clear(&host.lines[HOST_TO_SESSION]);
    host.lines[HOST_TO_SESSION].messages++;
    wire_put(&host.lines[HOST_TO_SESSION], &(char){SIGNAL_END}, 1, false);
}

static void host_before_wait(void)
{
    while (host.lines[HOST_TO_SESSION].count == 0 && !host.loop_over)
        must(host_step()); /* it neither goes on nor comes to an end */
    if (host.lines[HOST_TO_SESSION].count == 0)
        host_end_session();
}

/* There is space in the end, because the loop side reads, or no side reads any more. */
static void host_before_send(void)
{
    const struct wire_line *line = &host.lines[HOST_FROM_SESSION];
    if (script_left > 0 && script_byte() % 8 == 1)
        host_step();
    for (int rounds = 0; line->messages >= line->most && !host.loop_over; rounds++) {
        must(rounds < 1000);
        host_step();
    }
    if (host.loop_over)
        wire_clear(&host.lines[HOST_FROM_SESSION]);
}

bool __wrap_loop_run(struct loop *loop, struct err *err)
{
    host.loop = loop;
    host.loop_err = err;
    host.compute(host.compute_context);
    host.session_over = true;
    for (int rounds = 0; !host.loop_over; rounds++) {
        must(rounds < 1000);
        host_step();
    }
    return host.loop_good;
}

/* ---- the backend is made once ---- */

struct backend *__real_backend_open(const char *device, int threads, enum precision precision, struct err *err);
struct backend *__wrap_backend_open(const char *device, int threads, enum precision precision, struct err *err);
void __wrap_backend_close(struct backend **backend);

struct backend *__wrap_backend_open(const char *device, int threads, enum precision precision, struct err *err)
{
    if (host.backend == NULL)
        host.backend = __real_backend_open(device, threads, precision, err);
    return host.backend;
}

void __wrap_backend_close(struct backend **backend)
{
    *backend = NULL;
}

/* ---- the header of a state's file is written once for a network, and kept for a few: it would be a fifth of the time
 * ---- */

enum { HOST_HEADERS = 16, HOST_TENSORS = 2 * MODEL_TENSORS };

struct host_header {
    struct tensor_entry entries[HOST_TENSORS];
    size_t count;
    struct buffer text; /* size 0: the place is free */
};

bool __real_safetensors_header(struct tensor_entry *entries, size_t count, struct buffer *out, struct err *err);
bool __wrap_safetensors_header(struct tensor_entry *entries, size_t count, struct buffer *out, struct err *err);

/* Whether the header says of both the same; where the tensors lie follows from it. */
static bool host_same_tensor(const struct tensor_entry *a, const struct tensor_entry *b)
{
    return a->dims == b->dims && memcmp(a->shape, b->shape, (size_t)a->dims * sizeof *a->shape) == 0 &&
           strcmp(a->name, b->name) == 0 && strcmp(a->dtype, b->dtype) == 0;
}

static bool host_is_header(const struct host_header *header, const struct tensor_entry *entries, size_t count)
{
    bool same = header->text.size > 0 && header->count == count;
    for (size_t i = 0; same && i < count; i++)
        same = host_same_tensor(&header->entries[i], &entries[i]);
    return same;
}

bool __wrap_safetensors_header(struct tensor_entry *entries, size_t count, struct buffer *out, struct err *err)
{
    static struct host_header headers[HOST_HEADERS];
    static unsigned next;
    struct host_header *header = headers;
    while (header < headers + HOST_HEADERS && !host_is_header(header, entries, count))
        header++;
    if (header == headers + HOST_HEADERS) {
        header = &headers[next++ % HOST_HEADERS];
        must(count <= HOST_TENSORS);
        buffer_clear(&header->text);
        if (!__real_safetensors_header(entries, count, &header->text, err))
            return false;
        memcpy(header->entries, entries, count * sizeof *entries);
        header->count = count;
    }
    buffer_append(out, header->text.data, header->text.size);
    return buffer_ok(out, err);
}

/* ---- the guard of the ring's endpoint, to which no peer connects here ---- */

struct zap *__wrap_zap_new(void *zmq_context, struct loop *loop, struct allow *allow, struct err *err);
void __wrap_zap_destroy(struct zap **zap);
void __wrap_zap_set_ring(struct zap *zap, const char *key);
struct watch *__wrap_watch_new(void *zmq_context, struct loop *loop, struct err *err);
void __wrap_watch_destroy(struct watch **watch);

struct zap *__wrap_zap_new(void *zmq_context, struct loop *loop, struct allow *allow, struct err *err)
{
    (void)zmq_context, (void)loop, (void)allow, (void)err;
    return (struct zap *)&host; /* opaque to all users */
}

void __wrap_zap_destroy(struct zap **zap)
{
    *zap = NULL;
}

void __wrap_zap_set_ring(struct zap *zap, const char *key)
{
    must(zap == (struct zap *)&host && (key == NULL || curve_is_key(key)));
}

struct watch *__wrap_watch_new(void *zmq_context, struct loop *loop, struct err *err)
{
    (void)zmq_context, (void)loop, (void)err;
    return (struct watch *)&host;
}

void __wrap_watch_destroy(struct watch **watch)
{
    *watch = NULL;
}

/* ---- the other ranks: they have the same to add as this one, or break off, or say nothing until the generation is
 * over ---- */

struct collective *__wrap_ring_open(const struct ring_options *options, struct err *err);

static bool host_ring_fails(struct err *err, uint8_t choice)
{
    if (host.listened < host.aborted)
        return !err_set(err, ERR_ABORTED, "the generation is over");
    if (choice % 16 == 1 || host.failed) {
        host.failed = true;
        return !err_set(err, ERR_PROTOCOL, "rank 1 sent what does not fit");
    }
    return false;
}

static bool host_listen(struct collective *self, uint64_t generation, char endpoint[COLLECTIVE_ENDPOINT],
                        struct err *err)
{
    (void)self;
    host.listened = generation;
    host.failed = false;
    snprintf(endpoint, COLLECTIVE_ENDPOINT, "tcp://127.0.0.1:%u", 1 + script_byte());
    return !host_ring_fails(err, 0);
}

static bool host_connect(struct collective *self, const struct collective_group *group, struct err *err)
{
    (void)self;
    must(group->generation == host.listened && group->rank < group->size && group->size > 1);
    host.size = group->size;
    for (uint32_t rank = 0; rank < group->size; rank++)
        must(strlen(group->endpoints[rank]) <= PEERS_BYTES);
    return !host_ring_fails(err, script_byte());
}

static bool host_all_reduce(struct collective *self, enum collective_element element, void *data, size_t count,
                            uint64_t *handle, struct err *err)
{
    (void)self;
    *handle = 1;
    for (size_t i = 0; i < count; i++)
        if (element == ELEMENT_I64 || element == ELEMENT_I64_F32)
            ((uint64_t *)data)[i] *= host.size;
        else
            ((float *)data)[i] *= (float)host.size;
    return !host_ring_fails(err, 0);
}

static bool host_all_reduce_scaled(struct collective *self, int64_t *data, size_t count, float scale, float *result,
                                   uint64_t *handle, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        result[i] = (float)data[i] * (float)host.size * scale;
    return host_all_reduce(self, ELEMENT_I64, data, count, handle, err);
}

static bool host_broadcast(struct collective *self, void *data, size_t bytes, uint32_t root, uint64_t *handle,
                           struct err *err)
{
    must(root < RANKS_MOST);
    for (size_t i = 0; i < bytes; i++) /* the memory is there, and the collective's to write */
        ((volatile uint8_t *)data)[i] = ((volatile uint8_t *)data)[i];
    return host_all_reduce(self, ELEMENT_F32, data, 0, handle, err);
}

/* Time passes here, in which anything may be heard. */
static bool host_wait(struct collective *self, uint64_t handle, struct err *err)
{
    uint8_t choice = script_byte();
    (void)self;
    must(handle == 1);
    if (choice % 4 == 2)
        host_step();
    return !host_ring_fails(err, choice);
}

static void host_abort(struct collective *self, uint64_t generation)
{
    (void)self;
    if (host.aborted < collective_after(generation))
        host.aborted = collective_after(generation);
}

static void host_close(struct collective *self)
{
    (void)self;
}

struct collective *__wrap_ring_open(const struct ring_options *options, struct err *err)
{
    static const struct collective_table table = {.name = "ring",
                                                  .listen = host_listen,
                                                  .connect = host_connect,
                                                  .all_reduce = host_all_reduce,
                                                  .all_reduce_scaled = host_all_reduce_scaled,
                                                  .broadcast = host_broadcast,
                                                  .wait = host_wait,
                                                  .abort = host_abort,
                                                  .close = host_close};
    (void)options, (void)err;
    host.ring.op = &table;
    host.aborted = 0;
    return &host.ring;
}

/* ---- an input ---- */

static void host_begin(void)
{
    host.playing = true;
    host.now_ms = CLOCK_BEGINS_MS;
    clock_hands = &host.now_ms;
    host.loop = NULL;
    host.loop_over = host.session_over = host.failed = false;
    host.loop_pair = host.session_pair = host.link = NULL;
    host.listened = host.aborted = 0;
    host.links = 0;
    for (int i = 0; i < HOST_LINES; i++)
        host.lines[i].most = HOST_QUEUE;
    host.coordinator = (struct wire_socket){.in = &host.lines[HOST_FROM_WORKER], .out = &host.lines[HOST_TO_WORKER]};
}

/* All sockets were closed, and nothing is left in any line. */
static void host_end(void)
{
    for (int i = 0; i < HOST_LINES; i++)
        wire_clear(&host.lines[i]);
    for (int i = 0; i < HOST_SOCKETS; i++)
        must(host.sockets[i].in == NULL);
    clock_hands = NULL;
    host.playing = false;
}

#endif
