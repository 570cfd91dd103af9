/* message.c - messages through a ZeroMQ socket. A message is sent completely or not at all; an arriving message is
 * always consumed completely. */
#include "proto/wire/message.h"
#include "proto/wire/message_table.h"
#include "proto/wire/parts.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool socket_error(struct err *err, const char *what)
{
    return err_set(err, ERR_IO, "%s: %s%s", what, zmq_strerror(zmq_errno()),
                   zmq_errno() == EMFILE ? "; " ERR_FEW_FILES : "");
}

/* zmq_send, repeated after a signal. */
static bool message_send_frame(void *socket, const void *data, size_t size, int flags)
{
    int sent;
    do {
        sent = zmq_send(socket, size > 0 ? data : "", size, flags);
    } while (sent < 0 && zmq_errno() == EINTR);
    return sent >= 0;
}

/* Send the first frame, which decides: libzmq counts whole messages, so the other frames fit too. */
static bool message_send_first(void *socket, const struct frame *frame, int flags, struct err *err)
{
    if (message_send_frame(socket, frame->data, frame->size, flags | ZMQ_SNDMORE))
        return true;
    if (zmq_errno() == EAGAIN)
        return err_set(err, ERR_FULL, "the socket's queue is full");
    if (zmq_errno() == EHOSTUNREACH)
        return err_set(err, ERR_FAILED, "the peer has disconnected");
    return socket_error(err, "cannot send");
}

static bool message_send_frames(void *socket, const struct route *to, const struct message *message, int flags,
                                struct err *err)
{
    struct message_frames *frames = message_encode(message, err);
    if (frames == NULL)
        return false;
    struct frame list[1 + MESSAGE_FRAMES];
    size_t count = 0;
    if (to != NULL)
        list[count++] = (struct frame){to->id, to->size};
    count += message_frames_list(frames, list + count);
    bool sent = message_send_first(socket, &list[0], flags, err);
    for (size_t i = 1; sent && i < count; i++) {
        /* Do not wait here: if a PAIR's peer leaves in the middle of a message, the call would not return. */
        if (!message_send_frame(socket, list[i].data, list[i].size, ZMQ_DONTWAIT | (i + 1 < count ? ZMQ_SNDMORE : 0)))
            sent = socket_error(err, "cannot send the rest of a message");
    }
    message_frames_destroy(&frames);
    return sent || err_context(err, "%s", message_name(message->type));
}

bool message_send(void *socket, const struct route *to, const struct message *message, struct err *err)
{
    return message_send_frames(socket, to, message, ZMQ_DONTWAIT, err);
}

bool message_send_wait(void *socket, const struct route *to, const struct message *message, struct err *err)
{
    return message_send_frames(socket, to, message, 0, err);
}

/* Whether what arrived may be decoded. */
static bool message_may_decode(const struct parts *parts, struct err *err)
{
    if (parts->count > MESSAGE_FRAMES)
        return err_set(err, ERR_PROTOCOL, "%zu frames are above %d", parts->count, MESSAGE_FRAMES);
    if (parts->bytes > MESSAGE_BYTES)
        return err_set(err, ERR_PROTOCOL, "a message of %llu bytes is above %d", (unsigned long long)parts->bytes,
                       MESSAGE_BYTES);
    return true;
}

/* A property that the ZAP handler gave the connection; "" = none. */
static void message_property(zmq_msg_t *part, const char *name, char *text, size_t size)
{
    const char *value = zmq_msg_gets(part, name);
    snprintf(text, size, "%s", value != NULL && strlen(value) < size ? value : "");
}

/* Receive a ROUTER's first frame, the peer's id, and continue to the second. A message of the id alone has nothing to
 * decode. */
static bool message_receive_route(void *socket, zmq_msg_t *part, struct route *from, struct err *err)
{
    size_t size = zmq_msg_size(part);
    bool more = zmq_msg_more(part) != 0;
    from->size = size < sizeof from->id ? size : sizeof from->id; /* libzmq allows 255 */
    memcpy(from->id, zmq_msg_data(part), from->size);
    zmq_msg_close(part);
    from->key[0] = from->role[0] = '\0';
    from->fd = -1;
    from->bytes = 0;
    if (!more)
        return err_set(err, ERR_PROTOCOL, "0 frames are not a message: it has at least a header and a body");
    if (!parts_receive_one(socket, part, 0))
        return socket_error(err, "cannot receive");
    message_property(part, "User-Id", from->key, sizeof from->key);
    message_property(part, ROUTE_ROLE, from->role, sizeof from->role);
    from->fd = zmq_msg_get(part, ZMQ_SRCFD);
    return true;
}

bool message_receive(void *socket, struct route *from, bool wait, struct message *message, bool *got, struct err *err)
{
    *message = (struct message){0};
    *got = false;
    zmq_msg_t part;
    if (!parts_receive_one(socket, &part, wait ? 0 : ZMQ_DONTWAIT))
        return zmq_errno() == EAGAIN ? true : socket_error(err, "cannot receive");
    if (from != NULL && !message_receive_route(socket, &part, from, err))
        return false;
    struct message_frames *frames = message_frames_new(err);
    /* Without memory for the frames all of them are consumed and none is kept. */
    struct parts parts = {.most_bytes = MESSAGE_BYTES, .curve = from != NULL && from->key[0] != '\0'};
    if (frames != NULL) {
        parts.kept = frames->parts;
        parts.most = MESSAGE_FRAMES;
    }
    bool whole = parts_receive_rest(socket, &part, &parts) ||
                 (frames != NULL && socket_error(err, "cannot receive the rest of a message"));
    if (from != NULL)
        from->bytes = parts.wire;
    if (frames == NULL)
        return false;
    frames->part_count = parts.kept_count;
    for (frames->count = 0; frames->count < frames->part_count; frames->count++) {
        zmq_msg_t *kept = &frames->parts[frames->count];
        frames->list[frames->count] = (struct frame){zmq_msg_data(kept), zmq_msg_size(kept)};
    }
    *got = whole && message_may_decode(&parts, err) && message_decode_owned(frames, message, err);
    if (!*got)
        message_frames_destroy(&frames);
    return *got;
}
