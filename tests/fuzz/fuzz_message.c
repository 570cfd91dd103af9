/* fuzz_message.c - frames from libFuzzer into message_decode: refused with ERR_PROTOCOL, or a message that can be sent
 * on. A TRANSLATED also becomes a result of the client library.
 *
 * An input is a sequence of frames, each with its size before it as two bytes, low byte first. Every frame lies in a
 * block of its exact size, so that the sanitizer sees one byte too far. Inputs begin, now and then, from the samples of
 * the unit tests. */
#include "proto/client/result.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/message_samples.h"

enum { FRAMES_MOST = MESSAGE_FRAMES + 1 };

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);

/* A result of the client library has what the answer has, and every text of it ends in NUL. */
static void fuzz_message_result(const struct translated *translated)
{
    struct lstmq_result *result = result_new(translated);
    size_t hypotheses = 0, words = 0;
    must(result != NULL && result->count == translated->answers.count);
    must(strlen(result->model) == translated->model.size);
    for (size_t i = 0; i < result->count; i++) {
        const struct lstmq_translation *one = &result->translations[i];
        must((one->text == NULL) == (translated->answers.of[i].hypotheses == 0));
        must(one->text == NULL || one->text[one->size] == '\0');
        for (size_t k = 0; k < one->alternative_count; k++)
            must(one->alternatives[k].text[one->alternatives[k].size] == '\0');
        for (size_t k = 0; k < one->unknown_word_count; k++)
            words += strlen(one->unknown_words[k]);
        hypotheses += (one->text != NULL) + one->alternative_count;
    }
    must(hypotheses == translated->answers.hypothesis_count && words <= translated->answers.notes_size);
    lstmq_free(result);
}

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
        if (message.type == MESSAGE_TRANSLATED)
            fuzz_message_result(&message.translated);
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
