/* message_encode.c - from a struct message to frames, and the life of frames. */
#include "proto/wire/message_pack.h"
#include "proto/wire/message_table.h"

#include <stdlib.h>
#include <string.h>

struct message_frames *message_frames_new(struct err *err)
{
    struct message_frames *frames = calloc(1, sizeof *frames);
    if (frames == NULL)
        err_set(err, ERR_MEMORY, "out of memory for a message");
    return frames;
}

void message_frames_destroy(struct message_frames **frames)
{
    struct message_frames *old = *frames;
    if (old == NULL)
        return;
    for (size_t i = 0; i < old->part_count; i++)
        zmq_msg_close(&old->parts[i]);
    for (size_t i = 0; i < MESSAGE_FRAMES; i++)
        free(old->aligned[i]);
    buffer_free(&old->header);
    buffer_free(&old->body);
    buffer_free(&old->line);
    free(old);
    *frames = NULL;
}

size_t message_frames_list(const struct message_frames *frames, struct frame list[MESSAGE_FRAMES])
{
    memcpy(list, frames->list, frames->count * sizeof *list);
    return frames->count;
}

static void message_pack_header(struct buffer *out, enum message_type type)
{
    msgpack_packer packer;
    pack_begin(&packer, out, 2);
    pack_put_key(&packer, "v");
    msgpack_pack_array(&packer, 2);
    msgpack_pack_uint64(&packer, PROTOCOL_MAJOR);
    msgpack_pack_uint64(&packer, PROTOCOL_MINOR);
    pack_put_key(&packer, "t");
    msgpack_pack_uint64(&packer, (uint64_t)type);
}

static void message_pack_body(struct buffer *out, const struct message_row *row, const struct message *message)
{
    msgpack_packer packer;
    pack_begin(&packer, out, row->field_count);
    for (size_t i = 0; i < row->field_count; i++) {
        const struct field *field = &row->fields[i];
        const char *place = (const char *)message + field->offset;
        struct text text;
        double real;
        pack_put_key(&packer, field->name);
        switch (field->kind) {
        case FIELD_LINE:
        case FIELD_TEXT:
            memcpy(&text, place, sizeof text);
            pack_put_text(&packer, text);
            break;
        case FIELD_REAL:
            memcpy(&real, place, sizeof real);
            msgpack_pack_double(&packer, real);
            break;
        default:
            msgpack_pack_uint64(&packer, message_field_get(message, field));
        }
    }
}

/* Make any text acceptable to a peer. It may come from anywhere, such as an err that was cut inside a character. */
static void message_clean_line(struct text *text, struct buffer *out)
{
    const uint8_t *bytes = (const uint8_t *)text->data;
    for (size_t at = 0; at < text->size;) {
        size_t length = pack_character(bytes + at, text->size - at);
        bool plain = length > 0 && bytes[at] >= 0x20 && bytes[at] != 0x7f;
        if (length == 0)
            length = 1;
        if (out->size + (plain ? length : 1) > MESSAGE_LINE)
            break;
        buffer_append(out, plain ? (const void *)(bytes + at) : "?", plain ? length : 1);
        at += length;
    }
    *text = (struct text){out->data == NULL ? "" : out->data, out->size};
}

static void message_clean(struct message *message, struct buffer *out)
{
    if (message->type == MESSAGE_ERROR)
        message_clean_line(&message->error.text, out);
    else if (message->type == MESSAGE_DISMISS)
        message_clean_line(&message->dismiss.reason, out);
    else if (message->type == MESSAGE_REJECTED)
        message_clean_line(&message->rejected.text, out);
    else if (message->type == MESSAGE_LOADED)
        message_clean_line(&message->loaded.text, out);
}

static bool message_encode_encode(struct message_frames *frames, const struct message *given, struct err *err)
{
    struct message message = *given;
    message_clean(&message, &frames->line);
    if (!message_check(&message, err))
        return false;
    const struct message_row *row = message_row((uint64_t)message.type);
    message_pack_header(&frames->header, message.type);
    message_pack_body(&frames->body, row, &message);
    if (!buffer_ok(&frames->line, err) || !buffer_ok(&frames->header, err) || !buffer_ok(&frames->body, err))
        return false;
    frames->list[0] = (struct frame){frames->header.data, frames->header.size};
    frames->list[1] = (struct frame){frames->body.data, frames->body.size};
    frames->count = 2;
    uint64_t total = frames->header.size + frames->body.size;
    for (size_t i = 0; i < row->bulk_count; i++) {
        const void *items;
        memcpy(&items, (const char *)&message + row->bulk[i].offset, sizeof items);
        size_t size = (size_t)message_count(&message, row, row->bulk[i].count) * row->bulk[i].item_size;
        frames->list[frames->count++] = (struct frame){items, size};
        total += size;
    }
    if (total > MESSAGE_BYTES)
        return err_set(err, ERR_PROTOCOL, "%s: %llu bytes are above %d", row->name, (unsigned long long)total,
                       MESSAGE_BYTES);
    return true;
}

struct message_frames *message_encode(const struct message *message, struct err *err)
{
    struct message_frames *frames = message_frames_new(err);
    if (frames != NULL && !message_encode_encode(frames, message, err))
        message_frames_destroy(&frames);
    return frames;
}
