/* parcel.c - move frames completely or not at all; see parcel.h. */
#include "worker/link/parcel.h"

#include "proto/wire/parts.h"

#include <errno.h>
#include <string.h>

void parcel_drop(struct parcel *parcel)
{
    for (size_t i = 0; i < parcel->count; i++)
        zmq_msg_close(&parcel->parts[i]);
    parcel->count = 0;
}

bool parcel_receive(void *socket, bool wait, struct parcel *parcel, struct err *err)
{
    zmq_msg_t part;
    struct parts parts = {.kept = parcel->parts, .most = MESSAGE_FRAMES, .most_bytes = MESSAGE_BYTES};
    if (!parts_receive_one(socket, &part, wait ? 0 : ZMQ_DONTWAIT))
        return zmq_errno() == EAGAIN ? true : socket_error(err, "cannot receive");
    bool whole = parts_receive_rest(socket, &part, &parts) || socket_error(err, "cannot receive the rest of a message");
    parcel->count = parts.kept_count;
    if (whole && parts.count == parts.kept_count)
        return true;
    parcel_drop(parcel);
    return whole && err_set(err, ERR_PROTOCOL, "a message of %zu frames and %llu bytes is above %d and %d", parts.count,
                            (unsigned long long)parts.bytes, MESSAGE_FRAMES, MESSAGE_BYTES);
}

/* Whether frame i was sent. The first frame decides for all, because libzmq counts whole messages. */
static bool parcel_send_part(void *socket, struct parcel *parcel, size_t i)
{
    int sent;
    do {
        sent = zmq_msg_send(&parcel->parts[i], socket, ZMQ_DONTWAIT | (i + 1 < parcel->count ? ZMQ_SNDMORE : 0));
    } while (sent < 0 && zmq_errno() == EINTR);
    return sent >= 0;
}

bool parcel_send(void *socket, struct parcel *parcel, struct err *err)
{
    for (size_t i = 0; i < parcel->count; i++) {
        if (parcel_send_part(socket, parcel, i))
            continue;
        if (i == 0 && zmq_errno() == EAGAIN)
            return err_set(err, ERR_FULL, "the socket's queue is full");
        socket_error(err, "cannot send");
        parcel_drop(parcel);
        return false;
    }
    parcel->count = 0;
    return true;
}

size_t parcel_frames(struct parcel *parcel, struct frame frames[MESSAGE_FRAMES])
{
    for (size_t i = 0; i < parcel->count; i++)
        frames[i] = (struct frame){zmq_msg_data(&parcel->parts[i]), zmq_msg_size(&parcel->parts[i])};
    return parcel->count;
}

enum message_type parcel_type(struct parcel *parcel)
{
    struct frame frames[MESSAGE_FRAMES];
    enum message_type type = 0;
    return parcel_frames(parcel, frames) >= 2 && message_peek(&frames[0], &type, NULL) ? type : 0;
}

bool parcel_signal(struct parcel *parcel, char signal, struct err *err)
{
    if (zmq_msg_init_size(&parcel->parts[0], 1) != 0)
        return socket_error(err, "cannot signal");
    memcpy(zmq_msg_data(&parcel->parts[0]), &signal, 1);
    parcel->count = 1;
    return true;
}

char parcel_signalled(struct parcel *parcel)
{
    char signal = 0;
    if (parcel->count == 1 && zmq_msg_size(&parcel->parts[0]) == 1)
        memcpy(&signal, zmq_msg_data(&parcel->parts[0]), 1);
    return signal;
}
