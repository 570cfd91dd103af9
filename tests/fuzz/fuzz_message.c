/* fuzz_message.c - frames from libFuzzer into message_decode: refused with ERR_PROTOCOL, or a message that can be sent
 * on.
 *
 * An input is a sequence of frames, each with its size before it as two bytes, low byte first. Every frame lies in a
 * block of its exact size, so that the sanitizer sees one byte too far. Inputs begin, now and then, from the samples of
 * the unit tests. */
#include "tests/fuzz/fuzz.h"
#include "tests/support/message_samples.h"

enum { FRAMES_MOST = MESSAGE_FRAMES + 1 };

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct frame list[FRAMES_MOST];
    void *blocks[FRAMES_MOST];
    size_t count = 0;
    while (size >= 2 && count < FRAMES_MOST) {
        size_t length = (size_t)(data[0] | data[1] << 8);
        data += 2;
        size -= 2;
        if (length > size)
            length = size;
        blocks[count] = fuzz_copy(data, length);
        list[count] = (struct frame){blocks[count], length};
        data += length;
        size -= length;
        count++;
    }
    struct message message;
    struct err err = {0};
    if (message_decode(list, count, &message, &err)) {
        struct message_frames *again = message_encode(&message, &err);
        must(again != NULL);
        message_frames_destroy(&again);
        message_close(&message);
    } else {
        must_refuse(&err, ERR_PROTOCOL);
    }
    for (size_t i = 0; i < count; i++)
        free(blocks[i]);
    return 0;
}

/* Write a sample in the form of an input. */
static size_t fuzz_message_sample(uint8_t *data, size_t room, enum message_type type)
{
    struct err err;
    struct message message = sample_message(type);
    struct message_frames *frames = message_encode(&message, &err);
    struct frame list[MESSAGE_FRAMES];
    size_t count = frames == NULL ? 0 : message_frames_list(frames, list), size = 0;
    for (size_t i = 0; i < count && size + 2 + list[i].size <= room; i++) {
        data[size++] = (uint8_t)list[i].size;
        data[size++] = (uint8_t)(list[i].size >> 8);
        if (list[i].size > 0)
            memcpy(data + size, list[i].data, list[i].size);
        size += list[i].size;
    }
    message_frames_destroy(&frames);
    return size;
}

/* Now and then begin from a sample: no chain of single changes finds five arrays whose sums agree. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed)
{
    if (seed % 16 == 0)
        size = fuzz_message_sample(data, room, (enum message_type)(1 + seed / 16 % (MESSAGE_TYPES - 1)));
    return LLVMFuzzerMutate(data, size, room);
}
