/* message_table.h - the parts of each message, as data.
 *
 * One row for each message: the fields of its body and its bulk frames, by name, type, range and place in struct
 * message. Packing, unpacking and checking walk over these rows, and a test compares PROTOCOL.md with them. Static,
 * read-only, any thread. Internal to proto/wire and its tests. */
#ifndef LSTMQ_PROTO_WIRE_MESSAGE_TABLE_H
#define LSTMQ_PROTO_WIRE_MESSAGE_TABLE_H

#include "proto/base/buffer.h"
#include "proto/wire/message.h"

#include <zmq.h>

enum field_kind {
    FIELD_U32,  /* unsigned integer in a uint32_t */
    FIELD_U64,  /* unsigned integer in a uint64_t */
    FIELD_SIZE, /* unsigned integer in a size_t */
    FIELD_REAL, /* finite number in a double; no other range */
    FIELD_LINE, /* text without control characters, in a struct text; least..most bytes */
    FIELD_TEXT, /* text without NUL, in a struct text; least..most bytes */
};

struct field {
    const char *name;
    enum field_kind kind;
    size_t offset; /* in struct message */
    uint64_t least, most;
};

/* A bulk frame: an array whose pointer and number of items are in struct message. */
struct bulk {
    const char *name;
    const char *item;  /* "u16", "span_shard", ... */
    size_t item_size;  /* bytes */
    size_t alignment;  /* of the items' C type */
    size_t offset;     /* of the pointer in struct message */
    const char *count; /* name of the field that holds the number of items */
};

struct message_row {
    const char *name;
    const struct field *fields;
    size_t field_count;
    const struct bulk *bulk;
    size_t bulk_count;
};

/* The row of a type; NULL: no such type. */
const struct message_row *message_row(uint64_t type);

/* The value of an unsigned field, and of the unsigned field with this `name`. */
uint64_t message_field_get(const struct message *message, const struct field *field);
uint64_t message_count(const struct message *message, const struct message_row *row, const char *name);

/* Check a message's values as far as possible without knowing the run: ranges, text, sums, order. ERR_PROTOCOL names
 * message and field. Both sides check: a sender gets its own error instead of being disconnected. */
bool message_check(const struct message *message, struct err *err);

/* Frames of one message. Sent: `header` and `body` are packed here; bulk frames are borrowed from the message.
 * Received: `parts` hold the bytes, and `aligned` holds copies of unaligned ones. */
struct message_frames {
    struct frame list[MESSAGE_FRAMES];
    size_t count;
    struct buffer header, body;
    struct buffer line; /* an ERROR's or DISMISS's text, cleaned */
    zmq_msg_t parts[MESSAGE_FRAMES];
    size_t part_count;
    void *aligned[MESSAGE_FRAMES];
};

struct message_frames *message_frames_new(struct err *err);

/* message_decode on frames that the message will own: it takes `frames`. On failure the caller keeps them. */
bool message_decode_owned(struct message_frames *frames, struct message *message, struct err *err);

#endif
