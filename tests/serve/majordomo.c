/* majordomo.c - the Majordomo pattern, as ZeroMQ's guide describes it: what `lstmq bench serve` is compared with.
 *
 *   majordomo SECONDS [window N]    rate with N requests in flight, and p50 of one request at a time, as JSON
 *
 * Three processes talk over loopback TCP. The broker has one ROUTER for clients and workers. It keeps a queue of
 * requests and a queue of waiting workers for each service, and gives each waiting worker one request. The worker
 * echoes. Heartbeats go both ways every 2.5 s. The client is the guide's asynchronous one: a DEALER. Frames:
 *
 *   client   "" MDPC01 SERVICE BODY                 and the same back
 *   worker   "" MDPW01 COMMAND [...]                1 ready SERVICE, 2 request, 3 reply CLIENT "" BODY, 4 heartbeat
 *
 * The code is its own: frames move from socket to socket without a copy, and a service is found by a short look through
 * an array. So it is faster than the guide's. Each process is one thread beside ZeroMQ's. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <zmq.h>

enum { FRAMES = 8, SERVICES = 8, WORKERS = 64, REQUESTS = 1 << 16, NAME = 32, HEARTBEAT_MS = 2500, LIVES = 3 };
enum { READY = 1, REQUEST = 2, REPLY = 3, HEARTBEAT = 4 };
#define CLIENT "MDPC01"
#define WORKER "MDPW01"

struct message {
    zmq_msg_t frame[FRAMES];
    int count;
};

struct worker {
    zmq_msg_t id;
    struct service *service;
    int64_t expires_ms;
};

struct service {
    char name[NAME];
    struct message *waiting; /* [REQUESTS] ring: client's id, body */
    unsigned first, last;
    struct worker *idle[WORKERS]; /* the one that waits longest is first */
    int idle_count;
};

struct broker {
    void *socket;
    struct service services[SERVICES];
    int service_count;
    struct worker *workers[WORKERS];
    int worker_count;
    int64_t beat_ms;
};

static void fail(const char *what)
{
    fprintf(stderr, "majordomo: %s: %s\n", what, zmq_strerror(zmq_errno()));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- frames ---- */

static bool message_take(void *socket, struct message *message, int flags)
{
    message->count = 0;
    bool more = true;
    while (more) {
        zmq_msg_t *frame = &message->frame[message->count];
        zmq_msg_init(frame);
        if (zmq_msg_recv(frame, socket, message->count == 0 ? flags : 0) < 0) {
            zmq_msg_close(frame);
            return false;
        }
        more = zmq_msg_more(frame) != 0;
        if (message->count < FRAMES - 1)
            message->count++;
        else
            zmq_msg_close(frame);
    }
    return true;
}

static void message_drop(struct message *message)
{
    for (int i = 0; i < message->count; i++)
        zmq_msg_close(&message->frame[i]);
    message->count = 0;
}

static bool frame_is(zmq_msg_t *frame, const char *text)
{
    return zmq_msg_size(frame) == strlen(text) && memcmp(zmq_msg_data(frame), text, strlen(text)) == 0;
}

static void send_bytes(void *socket, const void *bytes, size_t size, bool more)
{
    zmq_send(socket, bytes, size, more ? ZMQ_SNDMORE : 0);
}

/* Moves the frame. */
static void send_frame(void *socket, zmq_msg_t *frame, bool more)
{
    zmq_msg_send(frame, socket, more ? ZMQ_SNDMORE : 0);
}

static void send_id(void *socket, zmq_msg_t *id)
{
    send_bytes(socket, zmq_msg_data(id), zmq_msg_size(id), true);
}

/* ---- broker ---- */

static struct service *broker_service(struct broker *broker, zmq_msg_t *name)
{
    for (int i = 0; i < broker->service_count; i++)
        if (frame_is(name, broker->services[i].name))
            return &broker->services[i];
    if (broker->service_count == SERVICES || zmq_msg_size(name) >= NAME)
        return NULL;
    struct service *service = &broker->services[broker->service_count++];
    memcpy(service->name, zmq_msg_data(name), zmq_msg_size(name));
    service->waiting = calloc(REQUESTS, sizeof *service->waiting);
    if (service->waiting == NULL)
        fail("no memory");
    return service;
}

static struct worker *broker_worker(struct broker *broker, zmq_msg_t *id)
{
    for (int i = 0; i < broker->worker_count; i++) {
        zmq_msg_t *known = &broker->workers[i]->id;
        if (zmq_msg_size(known) == zmq_msg_size(id) &&
            memcmp(zmq_msg_data(known), zmq_msg_data(id), zmq_msg_size(id)) == 0)
            return broker->workers[i];
    }
    return NULL;
}

/* Give requests to waiting workers, one each. */
static void broker_dispatch(struct broker *broker, struct service *service)
{
    while (service->idle_count > 0 && service->first != service->last) {
        struct worker *worker = service->idle[0];
        memmove(service->idle, service->idle + 1, (size_t)--service->idle_count * sizeof *service->idle);
        struct message *request = &service->waiting[service->first++ % REQUESTS];
        const uint8_t command = REQUEST;
        send_id(broker->socket, &worker->id);
        send_bytes(broker->socket, "", 0, true);
        send_bytes(broker->socket, WORKER, strlen(WORKER), true);
        send_bytes(broker->socket, &command, 1, true);
        send_frame(broker->socket, &request->frame[0], true);
        send_bytes(broker->socket, "", 0, true);
        send_frame(broker->socket, &request->frame[1], false);
        message_drop(request);
    }
}

static void broker_wait(struct worker *worker)
{
    struct service *service = worker->service;
    service->idle[service->idle_count++] = worker;
    worker->expires_ms = now_ns() / 1000000 + LIVES * HEARTBEAT_MS;
}

/* A client's: id "" MDPC01 SERVICE BODY. */
static void broker_client(struct broker *broker, struct message *message)
{
    struct service *service = message->count == 5 ? broker_service(broker, &message->frame[3]) : NULL;
    if (service == NULL || service->last - service->first == REQUESTS)
        return;
    struct message *request = &service->waiting[service->last++ % REQUESTS];
    request->count = 2;
    zmq_msg_init(&request->frame[0]);
    zmq_msg_init(&request->frame[1]);
    zmq_msg_move(&request->frame[0], &message->frame[0]);
    zmq_msg_move(&request->frame[1], &message->frame[4]);
    broker_dispatch(broker, service);
}

static void broker_ready(struct broker *broker, struct message *message)
{
    struct service *service = message->count == 5 ? broker_service(broker, &message->frame[4]) : NULL;
    if (service == NULL || broker->worker_count == WORKERS || broker_worker(broker, &message->frame[0]) != NULL)
        return;
    struct worker *worker = calloc(1, sizeof *worker);
    if (worker == NULL)
        fail("no memory");
    zmq_msg_init(&worker->id);
    zmq_msg_move(&worker->id, &message->frame[0]);
    worker->service = service;
    broker->workers[broker->worker_count++] = worker;
    broker_wait(worker);
    broker_dispatch(broker, service);
}

/* id "" MDPW01 3 CLIENT "" BODY. */
static void broker_reply(struct broker *broker, struct message *message)
{
    struct worker *worker = broker_worker(broker, &message->frame[0]);
    if (worker == NULL || message->count != 7)
        return;
    send_frame(broker->socket, &message->frame[4], true);
    send_bytes(broker->socket, "", 0, true);
    send_bytes(broker->socket, CLIENT, strlen(CLIENT), true);
    send_bytes(broker->socket, worker->service->name, strlen(worker->service->name), true);
    send_frame(broker->socket, &message->frame[6], false);
    broker_wait(worker);
    broker_dispatch(broker, worker->service);
}

static void broker_receive(struct broker *broker, struct message *message)
{
    if (message->count >= 4 && frame_is(&message->frame[2], CLIENT)) {
        broker_client(broker, message);
    } else if (message->count >= 4 && frame_is(&message->frame[2], WORKER)) {
        int command = zmq_msg_size(&message->frame[3]) == 1 ? *(uint8_t *)zmq_msg_data(&message->frame[3]) : 0;
        struct worker *worker = broker_worker(broker, &message->frame[0]);
        if (command == READY)
            broker_ready(broker, message);
        else if (command == REPLY)
            broker_reply(broker, message);
        else if (command == HEARTBEAT && worker != NULL)
            worker->expires_ms = now_ns() / 1000000 + LIVES * HEARTBEAT_MS;
    }
}

static void broker_beat(struct broker *broker)
{
    const uint8_t command = HEARTBEAT;
    int64_t now_ms = now_ns() / 1000000;
    if (now_ms < broker->beat_ms)
        return;
    broker->beat_ms = now_ms + HEARTBEAT_MS;
    for (int i = 0; i < broker->service_count; i++) {
        struct service *service = &broker->services[i];
        for (int w = 0; w < service->idle_count; w++) {
            if (service->idle[w]->expires_ms < now_ms)
                fail("a worker does not answer");
            send_id(broker->socket, &service->idle[w]->id);
            send_bytes(broker->socket, "", 0, true);
            send_bytes(broker->socket, WORKER, strlen(WORKER), true);
            send_bytes(broker->socket, &command, 1, false);
        }
    }
}

static void broker_run(int port_pipe)
{
    struct broker *broker = calloc(1, sizeof *broker);
    char endpoint[256];
    size_t size = sizeof endpoint;
    int none = 0;
    if (broker == NULL)
        fail("no memory");
    broker->socket = zmq_socket(zmq_ctx_new(), ZMQ_ROUTER);
    if (zmq_setsockopt(broker->socket, ZMQ_SNDHWM, &none, sizeof none) != 0 ||
        zmq_setsockopt(broker->socket, ZMQ_RCVHWM, &none, sizeof none) != 0 ||
        zmq_bind(broker->socket, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(broker->socket, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0)
        fail("bind");
    if (write(port_pipe, endpoint, sizeof endpoint) != (ssize_t)sizeof endpoint)
        fail("write");
    for (;;) {
        zmq_pollitem_t item = {.socket = broker->socket, .events = ZMQ_POLLIN};
        struct message message;
        if (zmq_poll(&item, 1, HEARTBEAT_MS) < 0 && errno != EINTR)
            fail("poll");
        for (int i = 0; i < 1000 && message_take(broker->socket, &message, ZMQ_DONTWAIT); i++) {
            broker_receive(broker, &message);
            message_drop(&message);
        }
        broker_beat(broker);
    }
}

/* ---- worker ---- */

static void *peer_open(const char *endpoint)
{
    int none = 0;
    void *socket = zmq_socket(zmq_ctx_new(), ZMQ_DEALER);
    if (socket == NULL || zmq_setsockopt(socket, ZMQ_SNDHWM, &none, sizeof none) != 0 ||
        zmq_setsockopt(socket, ZMQ_RCVHWM, &none, sizeof none) != 0 || zmq_connect(socket, endpoint) != 0)
        fail("connect");
    return socket;
}

static void worker_run(const char *endpoint)
{
    void *socket = peer_open(endpoint);
    uint8_t command = READY;
    struct message message;
    send_bytes(socket, "", 0, true);
    send_bytes(socket, WORKER, strlen(WORKER), true);
    send_bytes(socket, &command, 1, true);
    send_bytes(socket, "echo", 4, false);
    while (message_take(socket, &message, 0)) {
        int what = message.count >= 3 ? *(uint8_t *)zmq_msg_data(&message.frame[2]) : 0;
        send_bytes(socket, "", 0, true);
        send_bytes(socket, WORKER, strlen(WORKER), true);
        command = what == REQUEST ? REPLY : HEARTBEAT;
        send_bytes(socket, &command, 1, what == REQUEST);
        for (int i = 3; what == REQUEST && i < message.count; i++)
            send_frame(socket, &message.frame[i], i + 1 < message.count);
        message_drop(&message);
    }
    fail("receive");
}

/* ---- client ---- */

static void client_send(void *socket, uint64_t number)
{
    char body[64];
    int size = snprintf(body, sizeof body, "sentence %llu of the queue", (unsigned long long)number);
    send_bytes(socket, "", 0, true);
    send_bytes(socket, CLIENT, strlen(CLIENT), true);
    send_bytes(socket, "echo", 4, true);
    send_bytes(socket, body, (size_t)size, false);
}

static void client_receive(void *socket)
{
    struct message message;
    if (!message_take(socket, &message, 0))
        fail("receive");
    if (message.count != 4 || !frame_is(&message.frame[1], CLIENT) || zmq_msg_size(&message.frame[3]) < 16)
        fail("a wrong answer");
    message_drop(&message);
}

static double client_pipelined(void *socket, double seconds, unsigned window)
{
    uint64_t sent = 0, received = 0;
    int64_t begin = now_ns(), end = begin + (int64_t)(seconds * 1e9), now = begin;
    while (sent < window)
        client_send(socket, sent++);
    for (; now < end; now = now_ns()) {
        client_receive(socket);
        received++;
        client_send(socket, sent++);
    }
    double rate = (double)received * 1e9 / (double)(now - begin);
    for (; received < sent; received++)
        client_receive(socket);
    return rate;
}

static int by_time(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static double client_alone(void *socket, double seconds)
{
    enum { MOST = 1 << 20 };
    int64_t *times = malloc(MOST * sizeof *times), end = now_ns() + (int64_t)(seconds * 1e9);
    size_t count = 0;
    if (times == NULL)
        fail("no memory");
    while (now_ns() < end && count < MOST) {
        int64_t begin = now_ns();
        client_send(socket, count);
        client_receive(socket);
        times[count++] = now_ns() - begin;
    }
    qsort(times, count, sizeof *times, by_time);
    double median = (double)times[count / 2] / 1e3;
    free(times);
    return median;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1;
    unsigned window = argc > 3 ? (unsigned)atoi(argv[3]) : 1024;
    int ends[2];
    char endpoint[256];
    if (pipe(ends) != 0)
        fail("pipe");
    for (int role = 0; role < 2; role++) {
        pid_t child = fork();
        if (child < 0)
            fail("fork");
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (role == 0)
                broker_run(ends[1]);
            worker_run(endpoint);
        }
        if (role == 0 && read(ends[0], endpoint, sizeof endpoint) != (ssize_t)sizeof endpoint)
            fail("the broker does not start");
    }
    void *socket = peer_open(endpoint);
    client_send(socket, 0);
    client_receive(socket);
    double alone = client_alone(socket, seconds / 2), rate = client_pipelined(socket, seconds, window);
    printf("{\"pipelined_per_s\": %.0f, \"alone_p50_us\": %.1f}\n", rate, alone);
    return 0;
}
