/* message_pack.h - maps in msgpack: written with msgpack-c, and checked before msgpack-c reads them.
 *
 * msgpack-c allocates what a container claims before it has read one item. It accepts bytes after the object and
 * repeated keys, and does not check text. So pack_open first walks over the bytes without allocating, and refuses what
 * PROTOCOL.md does not allow. Only then does the library see them.
 *
 * A reader that failed stays in error: it returns 0 or empty text until pack_close, which returns the first failure. So
 * a caller reads a whole record without a test after each field. Text from a reader points into the bytes that it was
 * opened on. The caller owns both. One thread at a time. Internal to proto/wire. */
#ifndef LSTMQ_PROTO_WIRE_MESSAGE_PACK_H
#define LSTMQ_PROTO_WIRE_MESSAGE_PACK_H

#include "proto/base/buffer.h"
#include "proto/base/err.h"
#include "proto/wire/message.h"

#include <msgpack.h>

enum {
    PACK_DEPTH = 32,  /* nested containers, the outermost counted; msgpack-c's own stack has this depth */
    PACK_FIELDS = 64, /* of one map: enough for every message, few enough to compare all keys */
};

struct pack_reader {
    msgpack_zone zone;
    msgpack_object map;
    uint32_t next; /* the field that is probably read next: most peers keep the table's order */
    bool failed;
    struct err err; /* the first failure */
};

/* Read `size` bytes, which must be exactly one map with text keys. A failure shows in pack_close. */
void pack_open(struct pack_reader *reader, const void *data, size_t size);

/* The value of a key. A missing or mistyped field is a failure that names it. A real may be packed as an integer. */
uint64_t pack_uint(struct pack_reader *reader, const char *key);
double pack_real(struct pack_reader *reader, const char *key);
struct text pack_text(struct pack_reader *reader, const char *key);

/* The value of a key that is [major, minor], or an integer, which is the major version. */
void pack_version(struct pack_reader *reader, const char *key, uint64_t *major, uint64_t *minor);

/* End the reading. ERR_PROTOCOL or ERR_MEMORY: something has failed since pack_open. */
bool pack_close(struct pack_reader *reader, struct err *err);

/* Begin a map of `count` fields at the end of `out`, which remembers a failure. */
void pack_begin(msgpack_packer *packer, struct buffer *out, size_t count);
void pack_put_text(msgpack_packer *packer, struct text text);
void pack_put_key(msgpack_packer *packer, const char *key);

/* Size of the UTF-8 character at `bytes`: 1..4; 0 = not valid (RFC 3629: no overlong form, no surrogate, nothing above
 * U+10FFFF). */
size_t pack_character(const uint8_t *bytes, size_t size);

#endif
