/* message_decode.c - from untrusted frames to a struct message. */
#include "proto/wire/message_pack.h"
#include "proto/wire/message_table.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(2 + 5 <= MESSAGE_FRAMES, "SPAN, the message with the most frames, fits");

static bool message_map_size_allowed(const struct frame *frame, const char *name, struct err *err)
{
    if (frame->size > MESSAGE_MAP)
        return err_set(err, ERR_PROTOCOL, "%s: %zu bytes are above %d", name, frame->size, MESSAGE_MAP);
    return true;
}

/* The header as this program writes it, for types below 128: the usual case. */
static bool message_header_is_plain(const struct frame *frame, uint64_t *type)
{
    static const uint8_t plain[] = {0x82, 0xa1, 'v', 0x92, PROTOCOL_MAJOR, PROTOCOL_MINOR, 0xa1, 't'};
    const uint8_t *bytes = frame->data;
    if (frame->size != sizeof plain + 1 || memcmp(bytes, plain, sizeof plain) != 0 || bytes[sizeof plain] >= 128)
        return false;
    *type = bytes[sizeof plain];
    return message_row(*type) != NULL;
}

/* Read the header: the version first, because the rest depends on it. */
static bool message_header(const struct frame *frame, uint64_t *type, struct err *err)
{
    if (message_header_is_plain(frame, type))
        return true;
    if (!message_map_size_allowed(frame, "header", err))
        return false;
    struct pack_reader reader;
    uint64_t major, minor;
    pack_open(&reader, frame->data, frame->size);
    pack_version(&reader, "v", &major, &minor);
    bool other = !reader.failed && major != PROTOCOL_MAJOR;
    *type = other ? 0 : pack_uint(&reader, "t");
    if (!pack_close(&reader, err))
        return err_context(err, "header");
    if (other)
        return err_set(err, ERR_PROTOCOL, "the peer speaks protocol %" PRIu64 ".%" PRIu64 ", this side %d.%d", major,
                       minor, PROTOCOL_MAJOR, PROTOCOL_MINOR);
    if (message_row(*type) == NULL)
        return err_set(err, ERR_PROTOCOL, "message type %" PRIu64 " is unknown", *type);
    return true;
}

/* Read one field of the body. The table's ranges of narrow fields fit their types; a wider value is refused here. */
static bool message_field(struct pack_reader *reader, const struct field *field, struct message *message,
                          struct err *err)
{
    char *place = (char *)message + field->offset;
    if (field->kind == FIELD_LINE || field->kind == FIELD_TEXT) {
        struct text text = pack_text(reader, field->name);
        memcpy(place, &text, sizeof text);
        return true;
    }
    if (field->kind == FIELD_REAL) {
        double real = pack_real(reader, field->name);
        memcpy(place, &real, sizeof real);
        return true;
    }
    uint64_t value = pack_uint(reader, field->name);
    if (value > field->most)
        return err_set(err, ERR_PROTOCOL, "field %s: %" PRIu64 " is above %" PRIu64, field->name, value, field->most);
    uint32_t narrow = (uint32_t)value;
    size_t size = (size_t)value;
    if (field->kind == FIELD_U32)
        memcpy(place, &narrow, sizeof narrow);
    else if (field->kind == FIELD_SIZE)
        memcpy(place, &size, sizeof size);
    else
        memcpy(place, &value, sizeof value);
    return true;
}

static bool message_body(const struct frame *frame, const struct message_row *row, struct message *message,
                         struct err *err)
{
    if (!message_map_size_allowed(frame, "body", err))
        return false;
    struct pack_reader reader;
    pack_open(&reader, frame->data, frame->size);
    bool allowed = true;
    for (size_t i = 0; allowed && i < row->field_count; i++)
        allowed = message_field(&reader, &row->fields[i], message, err);
    return pack_close(&reader, allowed ? err : NULL) && allowed;
}

/* Point the message at its bulk frames. Copies bytes that are not aligned for their type: libzmq returns frames from
 * the middle of its read buffer. */
static bool message_bulk(struct message_frames *frames, const struct message_row *row, struct message *message,
                         struct err *err)
{
    if (frames->count != 2 + row->bulk_count)
        return err_set(err, ERR_PROTOCOL, "%zu frames instead of %zu", frames->count, 2 + row->bulk_count);
    for (size_t i = 0; i < row->bulk_count; i++) {
        const struct bulk *bulk = &row->bulk[i];
        const struct frame *frame = &frames->list[2 + i];
        uint64_t count = message_count(message, row, bulk->count);
        if (frame->size != count * bulk->item_size)
            return err_set(err, ERR_PROTOCOL, "frame %s: %zu bytes instead of %" PRIu64 " for %s = %" PRIu64,
                           bulk->name, frame->size, count * bulk->item_size, bulk->count, count);
        const void *items = frame->data;
        if (frame->size > 0 && (uintptr_t)items % bulk->alignment != 0) {
            void *copy = malloc(frame->size);
            if (copy == NULL)
                return err_set(err, ERR_MEMORY, "out of memory for a frame of %zu bytes", frame->size);
            items = frames->aligned[2 + i] = memcpy(copy, frame->data, frame->size);
        }
        memcpy((char *)message + bulk->offset, &items, sizeof items);
    }
    return true;
}

static bool message_decode_decode(struct message_frames *frames, struct message *message, struct err *err)
{
    uint64_t type, total = 0;
    if (frames->count < 2)
        return err_set(err, ERR_PROTOCOL, "%zu frames are not a message: it has at least a header and a body",
                       frames->count);
    for (size_t i = 0; i < frames->count; i++)
        total += frames->list[i].size;
    if (total > MESSAGE_BYTES)
        return err_set(err, ERR_PROTOCOL, "a message of %" PRIu64 " bytes is above %d", total, MESSAGE_BYTES);
    if (!message_header(&frames->list[0], &type, err))
        return false;
    const struct message_row *row = message_row(type);
    message->type = (enum message_type)type;
    if (!message_body(&frames->list[1], row, message, err) || !message_bulk(frames, row, message, err))
        return err_context(err, "%s", row->name);
    return message_check(message, err);
}

bool message_decode_owned(struct message_frames *frames, struct message *message, struct err *err)
{
    *message = (struct message){0};
    if (!message_decode_decode(frames, message, err)) {
        *message = (struct message){0};
        return false;
    }
    message->frames = frames;
    return true;
}

bool message_decode(const struct frame *list, size_t count, struct message *message, struct err *err)
{
    *message = (struct message){0};
    if (count > MESSAGE_FRAMES)
        return err_set(err, ERR_PROTOCOL, "%zu frames are above %d", count, MESSAGE_FRAMES);
    struct message_frames *frames = message_frames_new(err);
    if (frames == NULL)
        return false;
    memcpy(frames->list, list, count * sizeof *list);
    frames->count = count;
    if (message_decode_owned(frames, message, err))
        return true;
    message_frames_destroy(&frames);
    return false;
}

bool message_peek(const struct frame *header, enum message_type *type, struct err *err)
{
    uint64_t number;
    if (!message_header(header, &number, err))
        return false;
    *type = (enum message_type)number;
    return true;
}

void message_close(struct message *message)
{
    message_frames_destroy(&message->frames);
    *message = (struct message){0};
}
