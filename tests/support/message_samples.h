/* message_samples.h - one message of each type, with odd contents, for the tests of proto/wire. */
#ifndef LSTMQ_TESTS_SUPPORT_MESSAGE_SAMPLES_H
#define LSTMQ_TESTS_SUPPORT_MESSAGE_SAMPLES_H

#include "proto/wire/message.h"

#include <stdint.h>

#define SAMPLE_TEXT(literal) ((struct text){literal, sizeof(literal) - 1})
#define SAMPLE_MOST          ((uint64_t)INT64_MAX)

static struct span_step sample_of[3] = {{1, 2, 0}, {77, 0, 0}, {UINT32_MAX, 1, 3}};
static uint16_t sample_distinct[6] = {3, 65535, 9, 0, 1, 256};
static struct span_shard sample_shards[4] = {{0, 0, 1}, {0, 4095, 0}, {2, 1, 2}, {2, 2, 0}};
static uint16_t sample_src_lengths[3] = {1, 3, 2};
static uint16_t sample_tgt_lengths[3] = {2, 1, 1};
static uint16_t sample_ids[10] = {0, 1, 65535, 3, 4, 5, 256, 7, 255, 9};
static struct step_result sample_results[3] = {
    {0, 0, 0, 0}, {-1.5e300, 1e-300, UINT32_MAX, UINT32_MAX}, {3.25, 2, 5, 1}};
static uint16_t sample_lengths[3] = {4, 0, 6};
static char sample_lines[] = "tcp://127.0.0.1:1\ntcp://[::1]:65535\n";
static uint8_t sample_bytes[5] = {0, 255, 10, 0, 7};

static uint32_t sample_text_lengths[3] = {5, 0, 3};
static char sample_text_bytes[8] = {'h', (char)0xc3, (char)0xa9, 0, '\n', 'a', '<', 'b'};
static struct answer sample_answers[3] = {
    {ANSWER_OK, 2, 3, 4, 1, 0, 4}, {ANSWER_FAILED, 0, 0, 0, 0, 0, 0}, {ANSWER_OK, 1, UINT32_MAX, 1, 0, 7, 0}};
static struct hypothesis sample_hypotheses[3] = {{3, -0.5F}, {0, -1e30F}, {5, 0}};
static char sample_notes[4] = {'x', 'y', 'z', '\n'};

static inline struct texts sample_texts(void)
{
    return (struct texts){3, sample_text_lengths, sample_text_bytes, 8};
}

static inline struct answers sample_all_answers(void)
{
    return (struct answers){3, sample_answers, 3, sample_hypotheses, 8, sample_text_bytes, 4, sample_notes};
}

static inline struct rows sample_rows(void)
{
    return (struct rows){3, sample_src_lengths, sample_tgt_lengths, sample_ids, 10};
}

static inline struct message sample_command(enum message_type type)
{
    struct message message = {.type = type};
    switch (type) {
    case MESSAGE_WELCOME:
        message.welcome = (struct welcome){1, SAMPLE_MOST, SAMPLE_TEXT("train:\n  lr: 1\n"), 1, 65535};
        break;
    case MESSAGE_GENERATION:
        message.generation = (struct generation){SAMPLE_MOST, 4095, 4096, 1200, SOURCE_PEER, 1, 7};
        break;
    case MESSAGE_SPAN:
        message.span =
            (struct span){1, SAMPLE_MOST, 1200, 3, sample_of, sample_shards, 4, sample_distinct, 6, sample_rows()};
        break;
    case MESSAGE_VALIDATE:
        message.validate = (struct validate){3, 4, VALIDATE_FORCED | VALIDATE_TRANSLATE, sample_rows()};
        break;
    case MESSAGE_SAVE:
        message.save = (struct save){1, 0};
        break;
    case MESSAGE_DISMISS:
        message.dismiss = (struct dismiss){SAMPLE_TEXT("fini: 50 \xc3\xa9poques")};
        break;
    case MESSAGE_PING:
        message.ping = (struct ping){SAMPLE_MOST};
        break;
    case MESSAGE_STOP:
        message.stop = (struct stop){4294967296};
        break;
    case MESSAGE_PEERS:
        message.peers = (struct peers){5, sample_lines, sizeof sample_lines - 1};
        break;
    case MESSAGE_STATUS:
        message.status = (struct status){SAMPLE_TEXT("{\"step\": 7}\n")};
        break;
    default:
        break;
    }
    return message;
}

static inline struct message sample_answer(enum message_type type)
{
    struct message message = {.type = type};
    switch (type) {
    case MESSAGE_HELLO:
        message.hello = (struct hello){SAMPLE_TEXT("0.1.0-\xf0\x9f\x98\x80"),
                                       SAMPLE_TEXT("cpu"),
                                       SAMPLE_TEXT(""),
                                       SAMPLE_TEXT("avx512"),
                                       SAMPLE_TEXT("bf16-page"),
                                       65536,
                                       SAMPLE_TEXT("h\xc3\xb4te"),
                                       UINT32_MAX,
                                       SAMPLE_MOST,
                                       2,
                                       1,
                                       3,
                                       SAMPLE_MOST,
                                       3,
                                       sample_results};
        break;
    case MESSAGE_STATE:
        message.state = (struct state){7, MESSAGE_STATE_OPTIMIZER, 4294967291, 4294967296, sample_bytes, 5};
        break;
    case MESSAGE_READY:
        message.ready = (struct ready){65536, SAMPLE_MOST};
        break;
    case MESSAGE_CREDIT:
        message.credit = (struct credit){1024};
        break;
    case MESSAGE_REPORT:
        message.report = (struct report){1, 2, 3, SAMPLE_MOST, 0, SAMPLE_MOST, sample_results, 3};
        break;
    case MESSAGE_SCORED:
        message.scored = (struct scored){9, 100, 12.5, -0.0, 100, 0, sample_lengths, sample_ids, 3, 10};
        break;
    case MESSAGE_LEAVE:
        message.leave = (struct leave){255};
        break;
    case MESSAGE_PONG:
        message.pong = (struct ping){0};
        break;
    case MESSAGE_STOPPED:
        message.stopped = (struct stopped){SAMPLE_MOST, 1, 65536, 1, 2, sample_results};
        break;
    case MESSAGE_ENDPOINT:
        message.endpoint = (struct endpoint){0, SAMPLE_TEXT("tcp://127.0.0.1:65535")};
        break;
    case MESSAGE_RESIGN:
        message.resign = (struct resign){1};
        break;
    case MESSAGE_ASK:
        message.ask = (struct ask){1};
        break;
    case MESSAGE_ERROR:
        message.error = (struct failure){ERR_PROTOCOL, SAMPLE_TEXT("SPAN: field steps: 2000 is above 1024")};
        break;
    default:
        break;
    }
    return message;
}

/* A message of a translation queue, its workers and its clients. */
static inline struct message sample_serving(enum message_type type)
{
    struct message message = {.type = type};
    switch (type) {
    case MESSAGE_TRANSLATE:
        message.translate = (struct translate){SAMPLE_MOST, 1, SAMPLE_TEXT("en"), SAMPLE_TEXT("zh-Hant"), 86400000,
                                               16,          1, sample_texts()};
        break;
    case MESSAGE_TRANSLATED:
        message.translated = (struct translated){
            SAMPLE_MOST, SAMPLE_TEXT("en-fr step-5650 0123456789abcdef"), 5650, 1, 2, sample_all_answers()};
        break;
    case MESSAGE_REJECTED:
        message.rejected = (struct rejected){7, REJECT_BUSY, 1500, SAMPLE_TEXT("busy, try again in 1.5 s")};
        break;
    case MESSAGE_CANCEL:
        message.cancel = (struct cancel){1, SAMPLE_MOST};
        break;
    case MESSAGE_JOIN:
        message.join = (struct join){
            SAMPLE_TEXT("0.1.0"), SAMPLE_TEXT("cpu"), SAMPLE_TEXT("avx512"), SAMPLE_TEXT("h\xc3\xb4te"), 65536,
            UINT32_MAX,           SAMPLE_MOST};
        break;
    case MESSAGE_JOINED:
        message.joined = (struct joined){SAMPLE_MOST, 100, 5000, 10000, 4096};
        break;
    case MESSAGE_MODEL:
        message.model = (struct model_offer){3,
                                             UINT64_MAX,
                                             5650,
                                             0,
                                             SAMPLE_TEXT("en"),
                                             SAMPLE_TEXT("fr"),
                                             SAMPLE_TEXT("/runs/h\xc3\xb4te/step-00005650")};
        break;
    case MESSAGE_LOADED:
        message.loaded = (struct loaded){3, 0, 12345, SAMPLE_TEXT("model.safetensors: hash differs")};
        break;
    case MESSAGE_RETIRE:
        message.retire = (struct retire){SAMPLE_MOST};
        break;
    case MESSAGE_FETCH:
        message.fetch = (struct fetch){UINT64_MAX, 1048576};
        break;
    case MESSAGE_PIECE:
        message.piece = (struct file_piece){UINT64_MAX, 4294967291, 4294967296, sample_bytes, 5};
        break;
    case MESSAGE_BATCH:
        message.batch = (struct batch_order){SAMPLE_MOST, 3, 0, 1, sample_texts()};
        break;
    case MESSAGE_RESULT:
        message.result = (struct batch_result){SAMPLE_MOST, 999, sample_all_answers()};
        break;
    case MESSAGE_GOODBYE:
        message.goodbye = (struct goodbye){4};
        break;
    default:
        break;
    }
    return message;
}

/* A message of any type; its arrays are the ones above. */
static inline struct message sample_message(enum message_type type)
{
    bool answered = type == MESSAGE_HELLO || type == MESSAGE_STATE || type == MESSAGE_READY || type == MESSAGE_CREDIT ||
                    type == MESSAGE_REPORT || type == MESSAGE_SCORED || type == MESSAGE_LEAVE ||
                    type == MESSAGE_ERROR || type == MESSAGE_PONG || type == MESSAGE_STOPPED ||
                    type == MESSAGE_ENDPOINT || type == MESSAGE_RESIGN || type == MESSAGE_ASK;
    if (type >= MESSAGE_TRANSLATE)
        return sample_serving(type);
    return answered ? sample_answer(type) : sample_command(type);
}

#endif
