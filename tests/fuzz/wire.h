/* wire.h - ZeroMQ's sockets, simulated within one thread, for fuzz targets that play both sides of them.
 *
 * The linker redirects every zmq_send, zmq_msg_send, zmq_msg_recv, zmq_recv, zmq_getsockopt and zmq_poll of the program
 * to the __wrap_ functions below (CMakeLists.txt lists them). So message.c and parcel.c run as they are, while a
 * message costs no system call and arrives at a moment that only the input decides. ZeroMQ's properties are kept:
 * messages are complete or absent; a line between two sockets holds a bounded number of them; a ROUTER puts the
 * sender's id before what it reads and finds the receiver by it; EAGAIN if there is no space, and EHOSTUNREACH if no
 * peer is there.
 *
 * A socket is a struct wire_socket, the target's own. Sends that wait for space find it, because `before_send` drains
 * lines. One thread. */
#ifndef LSTMQ_TESTS_FUZZ_WIRE_H
#define LSTMQ_TESTS_FUZZ_WIRE_H

#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <zmq.h>

enum { WIRE_FRAMES = 512, WIRE_PEERS = 4, WIRE_ID = 5 };

/* Messages on their way in one direction: a ring of frames. */
struct wire_line {
    zmq_msg_t parts[WIRE_FRAMES];
    bool more[WIRE_FRAMES];
    size_t first, count;
    unsigned messages, most; /* in the line, whole or being sent; the most there may be */
};

struct wire_socket {
    struct wire_line *in, *out;
    uint8_t id[WIRE_ID]; /* of a ROUTER's peer: precedes each of its messages; id[0] = 0: not a peer */
    struct wire_socket *peers[WIRE_PEERS]; /* of a ROUTER, its connected peers; all NULL: not a ROUTER */
    bool within;                           /* in the middle of sending a message */
    bool silent;                           /* its connection does not stand: nothing can be sent */
    void (*before_send)(void);             /* NULL, or before a message that may wait for room */
    void (*before_wait)(void);             /* before a read that waits, which must put something in the line */
};

static bool wire_more; /* the frame that was read last is not the message's last */

static void wire_put(struct wire_line *line, const void *data, size_t size, bool more)
{
    must(line->count < WIRE_FRAMES);
    size_t at = (line->first + line->count++) % WIRE_FRAMES;
    must(zmq_msg_init_size(&line->parts[at], size) == 0);
    if (size > 0)
        memcpy(zmq_msg_data(&line->parts[at]), data, size);
    line->more[at] = more;
}

static void wire_get(struct wire_line *line, zmq_msg_t *part)
{
    zmq_msg_move(part, &line->parts[line->first]);
    zmq_msg_close(&line->parts[line->first]);
    wire_more = line->more[line->first];
    line->first = (line->first + 1) % WIRE_FRAMES;
    line->count--;
    line->messages -= !wire_more;
}

static void wire_clear(struct wire_line *line)
{
    for (; line->count > 0; line->count--) {
        zmq_msg_close(&line->parts[line->first]);
        line->first = (line->first + 1) % WIRE_FRAMES;
    }
    line->messages = 0;
}

/* ---- sending ---- */

/* The line for the message whose first frame this is; NULL and errno where it cannot go. */
static struct wire_line *wire_choose(struct wire_socket *socket, const void *data, size_t size)
{
    struct wire_line *line = socket->out;
    errno = EHOSTUNREACH;
    for (int i = 0; i < WIRE_PEERS && line == NULL; i++)
        if (socket->peers[i] != NULL && size == WIRE_ID && memcmp(socket->peers[i]->id, data, WIRE_ID) == 0)
            line = socket->peers[i]->in;
    if (socket->silent || (line != NULL && line->messages >= line->most)) {
        line = NULL;
        errno = EAGAIN;
    }
    return line;
}

static struct wire_line *wire_sending; /* where the message goes that is being sent; one at a time */

static bool wire_send(struct wire_socket *socket, const void *data, size_t size, int flags)
{
    bool first = !socket->within, more = (flags & ZMQ_SNDMORE) != 0, routes = first && socket->out == NULL;
    if (first && (flags & ZMQ_DONTWAIT) == 0 && socket->before_send != NULL)
        socket->before_send();
    if (first) {
        wire_sending = wire_choose(socket, data, size);
        if (wire_sending == NULL)
            return false;
        wire_sending->messages++;
    }
    if (first && socket->id[0] != 0)
        wire_put(wire_sending, socket->id, WIRE_ID, true);
    if (!routes)
        wire_put(wire_sending, data, size, more);
    socket->within = more;
    return true;
}

int __wrap_zmq_send(void *socket, const void *data, size_t size, int flags);
int __wrap_zmq_msg_send(zmq_msg_t *part, void *socket, int flags);

int __wrap_zmq_send(void *socket, const void *data, size_t size, int flags)
{
    return wire_send(socket, data, size, flags) ? (int)size : -1;
}

int __wrap_zmq_msg_send(zmq_msg_t *part, void *socket, int flags)
{
    int size = (int)zmq_msg_size(part);
    if (!wire_send(socket, zmq_msg_data(part), (size_t)size, flags))
        return -1;
    zmq_msg_close(part);
    zmq_msg_init(part);
    return size;
}

/* ---- receiving ---- */

int __wrap_zmq_msg_recv(zmq_msg_t *part, void *socket, int flags);
int __wrap_zmq_recv(void *socket, void *data, size_t size, int flags);
int __wrap_zmq_msg_more(const zmq_msg_t *part);
int __wrap_zmq_getsockopt(void *socket, int option, void *value, size_t *size);
int __wrap_zmq_poll(zmq_pollitem_t *items, int count, long timeout);

int __wrap_zmq_msg_recv(zmq_msg_t *part, void *socket, int flags)
{
    struct wire_socket *own = socket;
    if (own->in->count == 0 && (flags & ZMQ_DONTWAIT) == 0) {
        must(own->before_wait != NULL); /* it would wait without end */
        own->before_wait();
        must(own->in->count > 0);
    }
    if (own->in->count == 0) {
        errno = EAGAIN;
        return -1;
    }
    wire_get(own->in, part);
    return (int)zmq_msg_size(part);
}

int __wrap_zmq_recv(void *socket, void *data, size_t size, int flags)
{
    zmq_msg_t part;
    zmq_msg_init(&part);
    int got = __wrap_zmq_msg_recv(&part, socket, flags);
    if (got > 0)
        memcpy(data, zmq_msg_data(&part), (size_t)got < size ? (size_t)got : size);
    zmq_msg_close(&part);
    return got;
}

/* Asked of nothing but the frame that was read last. */
int __wrap_zmq_msg_more(const zmq_msg_t *part)
{
    (void)part;
    return wire_more;
}

int __wrap_zmq_getsockopt(void *socket, int option, void *value, size_t *size)
{
    const struct wire_socket *own = socket;
    int events = (own->in->count > 0 ? ZMQ_POLLIN : 0) | (own->silent ? 0 : ZMQ_POLLOUT), nothing = -1;
    must((option == ZMQ_EVENTS || option == ZMQ_FD) && *size == sizeof events);
    memcpy(value, option == ZMQ_EVENTS ? &events : &nothing, sizeof events); /* a descriptor that is never ready */
    return 0;
}

/* Looks, and never waits. */
int __wrap_zmq_poll(zmq_pollitem_t *items, int count, long timeout)
{
    int ready = 0;
    (void)timeout;
    for (int i = 0; i < count; i++) {
        const struct wire_socket *own = items[i].socket;
        items[i].revents = own != NULL && own->in->count > 0 ? items[i].events & ZMQ_POLLIN : 0;
        ready += items[i].revents != 0;
    }
    return ready;
}

#endif
