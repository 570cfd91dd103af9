/* parts.c - see parts.h. */
#include "proto/wire/parts.h"

#include <errno.h>

bool parts_receive_one(void *socket, zmq_msg_t *part, int flags)
{
    zmq_msg_init(part);
    int size;
    do {
        size = zmq_msg_recv(part, socket, flags);
    } while (size < 0 && zmq_errno() == EINTR);
    if (size < 0)
        zmq_msg_close(part);
    return size >= 0;
}

uint64_t parts_wire_bytes(uint64_t size, bool curve)
{
    uint64_t body = size + (curve ? 33 : 0);
    return body + (body > 255 ? 9 : 2);
}

bool parts_receive_rest(void *socket, zmq_msg_t *first, struct parts *parts)
{
    zmq_msg_t *part = first;
    for (bool more = true; more;) {
        more = zmq_msg_more(part) != 0;
        parts->count++;
        parts->bytes += zmq_msg_size(part);
        parts->wire += parts_wire_bytes(zmq_msg_size(part), parts->curve);
        if (parts->kept_count < parts->most && parts->bytes <= parts->most_bytes) {
            zmq_msg_t *kept = &parts->kept[parts->kept_count++];
            zmq_msg_init(kept);
            zmq_msg_move(kept, part);
        }
        zmq_msg_close(part);
        if (more && !parts_receive_one(socket, part, 0))
            return false;
    }
    return true;
}
