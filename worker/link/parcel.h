/* parcel.h - a message in transit: its frames, moved between sockets without being copied or read.
 *
 * A worker's loop thread sits between the coordinator and the compute thread, and forwards the messages of both. A
 * parcel holds one message between receiving and sending, while the receiver's queue is full. The two threads of a
 * worker also send each other signals: parcels of one frame of one byte, which no message is.
 *
 * Plain memory; owned by one thread at a time, which ends it with parcel_send or parcel_drop. */
#ifndef LSTMQ_WORKER_LINK_PARCEL_H
#define LSTMQ_WORKER_LINK_PARCEL_H

#include "proto/wire/message.h"

#include <zmq.h>

struct parcel {
    zmq_msg_t parts[MESSAGE_FRAMES];
    size_t count; /* 0 = empty */
};

/* Receive the next message completely. Without `wait`, count is 0 if none waits. ERR_PROTOCOL: it had too many frames
 * or bytes, and is consumed. The parcel must be empty before. */
bool parcel_receive(void *socket, bool wait, struct parcel *parcel, struct err *err);

/* Send without waiting, which empties the parcel. ERR_FULL: the queue is full, and the parcel is unchanged. */
bool parcel_send(void *socket, struct parcel *parcel, struct err *err);

void parcel_drop(struct parcel *parcel);

/* The frames, which the parcel keeps. Returns their number. */
size_t parcel_frames(struct parcel *parcel, struct frame frames[MESSAGE_FRAMES]);

/* The type of the message; 0 = not a message, or unreadable. */
enum message_type parcel_type(struct parcel *parcel);

/* Make a signal; read its byte, 0 = not a signal. */
bool parcel_signal(struct parcel *parcel, char signal, struct err *err);
char parcel_signalled(struct parcel *parcel);

#endif
