/* lane.c - a thread behind an inproc pair; see lane.h. */
#include "worker/serve/lane.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { LANE_QUEUE = 1024 };

bool lane_answer(struct lane *lane, const struct message *message, struct err *err)
{
    return message_send_wait(lane->thread_socket, NULL, message, err);
}

static void lane_answer_signal(struct lane *lane, enum lane_signal signal)
{
    const char byte = (char)signal;
    while (zmq_send(lane->thread_socket, &byte, 1, 0) < 0 && zmq_errno() == EINTR)
        continue;
}

static void lane_answer_error(struct lane *lane, const struct err *why)
{
    const struct message message = {.type = MESSAGE_ERROR,
                                    .error = {.code = (uint32_t)why->code, .text = {why->text, strlen(why->text)}}};
    lane_answer(lane, &message, NULL);
}

static bool lane_take(struct lane *lane, struct parcel *parcel, bool *ended, struct err *err)
{
    struct frame frames[MESSAGE_FRAMES];
    struct message message;
    char signal = parcel_signalled(parcel);
    *ended = signal == LANE_END;
    if (signal == LANE_FRESH) {
        bool ok = lane->handle(lane->context, NULL, err);
        lane_answer_signal(lane, LANE_FRESH);
        return ok;
    }
    if (signal != 0)
        return true;
    if (!message_decode(frames, parcel_frames(parcel, frames), &message, err))
        return false;
    bool ok = lane->handle(lane->context, &message, err);
    message_close(&message);
    return ok;
}

static void *lane_run(void *context)
{
    struct lane *lane = context;
    bool ended = false;
    while (!ended) {
        struct parcel parcel = {.count = 0};
        struct err err = {0};
        if (!parcel_receive(lane->thread_socket, true, &parcel, &err)) {
            lane_answer_error(lane, &err);
            ended = err.code != ERR_PROTOCOL;
        } else if (!lane_take(lane, &parcel, &ended, &err)) {
            lane_answer_error(lane, &err);
        }
        parcel_drop(&parcel);
    }
    lane_answer_signal(lane, LANE_ENDED);
    zmq_close(lane->thread_socket);
    return NULL;
}

static void *lane_socket(void *zmq_context, struct err *err)
{
    const int queue = LANE_QUEUE, linger = 0;
    void *socket = zmq_socket(zmq_context, ZMQ_PAIR);
    if (socket != NULL && zmq_setsockopt(socket, ZMQ_SNDHWM, &queue, sizeof queue) == 0 &&
        zmq_setsockopt(socket, ZMQ_RCVHWM, &queue, sizeof queue) == 0 &&
        zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger) == 0)
        return socket;
    socket_error(err, "cannot join the worker's threads");
    if (socket != NULL)
        zmq_close(socket);
    return NULL;
}

bool lane_open(struct lane *lane, void *zmq_context, const char *name, struct err *err)
{
    char endpoint[LANE_NAME];
    snprintf(endpoint, sizeof endpoint, "inproc://lstmq-%s-%p", name, (const void *)lane);
    if ((lane->socket = lane_socket(zmq_context, err)) == NULL ||
        (lane->thread_socket = lane_socket(zmq_context, err)) == NULL)
        return false;
    if (zmq_bind(lane->socket, endpoint) != 0 || zmq_connect(lane->thread_socket, endpoint) != 0)
        return socket_error(err, "cannot join the worker's threads");
    errno = pthread_create(&lane->thread, NULL, lane_run, lane);
    lane->started = errno == 0;
    return lane->started || err_errno(err, ERR_FAILED, "cannot start the worker's thread %s", name);
}

void lane_close(struct lane *lane)
{
    struct err ignored;
    bool open = lane->started && lane_signal(lane, LANE_END, &ignored);
    while (open) {
        struct parcel parcel = {.count = 0};
        open = parcel_receive(lane->socket, true, &parcel, &ignored) && parcel_signalled(&parcel) != LANE_ENDED;
        parcel_drop(&parcel);
    }
    if (lane->started)
        pthread_join(lane->thread, NULL);
    else if (lane->thread_socket != NULL)
        zmq_close(lane->thread_socket);
    if (lane->socket != NULL)
        zmq_close(lane->socket);
    lane->socket = lane->thread_socket = NULL;
}

bool lane_send(struct lane *lane, struct parcel *parcel, struct err *err)
{
    if (parcel_send(lane->socket, parcel, err))
        return true;
    if (err->code == ERR_FULL)
        err_set(err, ERR_PROTOCOL, "the queue sends more than this worker accepts");
    parcel_drop(parcel);
    return false;
}

bool lane_signal(struct lane *lane, enum lane_signal signal, struct err *err)
{
    const char byte = (char)signal;
    while (zmq_send(lane->socket, &byte, 1, 0) < 0)
        if (zmq_errno() != EINTR)
            return socket_error(err, "cannot signal the worker's threads");
    return true;
}
