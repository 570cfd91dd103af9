/* pack.h - maps in msgpack: written with msgpack-c, read only behind a guard.
 *
 * msgpack-c allocates what a container claims before it has read one item, accepts bytes after the object and
 * repeated keys, and does not look at text. So pack_open first walks over the bytes without allocating and refuses
 * what PROTOCOL.md does not allow; only then does the library see them. A reader that failed stays in error and
 * answers 0 or empty text until pack_close, which tells the first thing that was wrong: a whole record is read
 * without a test after each field. Text that a reader hands out points into the bytes it was opened on. One thread
 * at a time. Internal to proto/wire. */
#ifndef LSTMQ_PROTO_WIRE_PACK_H
#define LSTMQ_PROTO_WIRE_PACK_H

#include "proto/base/buffer.h"
#include "proto/base/err.h"
#include "proto/wire/message.h"

#include <msgpack.h>

enum {
    PACK_DEPTH = 32,  /* containers inside each other, the outermost counted; msgpack-c's own stack is as deep */
    PACK_FIELDS = 64, /* of one map: enough for every message, and few enough to compare all keys with all     */
};

struct pack_reader {
    msgpack_unpacked unpacked;
    bool failed;
    struct err err; /* the first failure */
};

/* Read `size` bytes that must be exactly one map with text keys. Never fails at once: ask pack_close. */
void pack_open(struct pack_reader *reader, const void *data, size_t size);

/* The value of a key. Missing or of another type is a failure that names the field. A real may be packed as an
 * integer. */
uint64_t pack_uint(struct pack_reader *reader, const char *key);
double pack_real(struct pack_reader *reader, const char *key);
struct text pack_text(struct pack_reader *reader, const char *key);

/* The value of a key that is [major, minor], or an integer, the major alone. */
void pack_version(struct pack_reader *reader, const char *key, uint64_t *major, uint64_t *minor);

/* End the reading. False and err (ERR_PROTOCOL, or ERR_MEMORY) when anything failed since pack_open. */
bool pack_close(struct pack_reader *reader, struct err *err);

/* Start a map of `count` fields on the end of `out`; a failure is remembered by `out`. */
void pack_begin(msgpack_packer *packer, struct buffer *out, size_t count);
void pack_put_text(msgpack_packer *packer, struct text text);
void pack_put_key(msgpack_packer *packer, const char *key);

/* Bytes of the UTF-8 character at the start of `bytes`: 1..4, or 0 where there is none (RFC 3629: no overlong form, no
 * surrogate, nothing above U+10FFFF). */
size_t pack_character(const uint8_t *bytes, size_t size);

#endif
