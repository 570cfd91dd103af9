/* parts.h - the frames of a multipart message, as libzmq hands them over: received whole, in one place.
 *
 * A socket hands over whole messages: once the first frame is here, so are the others, and none of them waits for the
 * peer. A receiver consumes all frames, whatever it keeps of them, so that the next receive begins a message. For the
 * thread that owns the socket. */
#ifndef LSTMQ_PROTO_WIRE_PARTS_H
#define LSTMQ_PROTO_WIRE_PARTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <zmq.h>

/* What to keep of a message, and what it was. */
struct parts {
    zmq_msg_t *kept;     /* [most] the caller's, to be closed by it    */
    size_t most;         /* frames beyond these are dropped            */
    uint64_t most_bytes; /* and all from where the message is longer   */
    bool curve;          /* the connection is encrypted                */
    size_t kept_count;   /* in `kept`                                  */
    size_t count;        /* frames of the message, kept or not         */
    uint64_t bytes;      /* of all of them                             */
    uint64_t wire;       /* that they took on a ZMTP connection        */
};

/* zmq_msg_recv that goes on after a signal. False: `part` is closed, and zmq_errno says why (EAGAIN: none waits). */
bool parts_receive_one(void *socket, zmq_msg_t *part, int flags);

/* Take `first`, which was received, and all frames behind it. False: zmq_errno; `kept` holds kept_count frames. */
bool parts_receive_rest(void *socket, zmq_msg_t *first, struct parts *parts);

/* Bytes of a frame of `size` bytes on a ZMTP 3 connection: flags, and a size of 1 or 8 bytes; CURVE puts it into a
 * command of 33 bytes more. */
uint64_t parts_wire_bytes(uint64_t size, bool curve);

#endif
