/* parcel.h - a message on its way through: its frames, moved from socket to socket without being copied or read.
 *
 * A worker's loop thread stands between the coordinator and the compute thread, and hands on what both say. A parcel
 * holds one such message between receiving and sending, for as long as the receiver has no room. Besides messages, the
 * two threads of a worker send each other signals: parcels of one frame of one byte, which no message is.
 *
 * Plain memory; owned by one thread at a time, which ends it by parcel_send or parcel_drop. */
#ifndef LSTMQ_WORKER_CLUSTER_PARCEL_H
#define LSTMQ_WORKER_CLUSTER_PARCEL_H

#include "proto/wire/message.h"

#include <zmq.h>

struct parcel {
    zmq_msg_t parts[MESSAGE_FRAMES];
    size_t count; /* 0 = there is none */
};

/* Take the next message whole. Without `wait`, count is 0 where there is none. ERR_PROTOCOL: it had too many frames or
 * bytes; it is consumed. The parcel is empty before. */
bool parcel_receive(void *socket, bool wait, struct parcel *parcel, struct err *err);

/* Send without waiting, which empties the parcel. ERR_FULL where there is no room: the parcel is as it was. */
bool parcel_send(void *socket, struct parcel *parcel, struct err *err);

void parcel_drop(struct parcel *parcel);

/* The frames, which stay the parcel's. Returns their number. */
size_t parcel_frames(struct parcel *parcel, struct frame frames[MESSAGE_FRAMES]);

/* The type of the message; 0 where it is none or cannot be read. */
enum message_type parcel_type(struct parcel *parcel);

/* Make a signal; its byte, or 0 where the parcel is none. */
bool parcel_signal(struct parcel *parcel, char signal, struct err *err);
char parcel_signalled(struct parcel *parcel);

#endif
