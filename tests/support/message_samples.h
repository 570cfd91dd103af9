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

/* A message of any type; its arrays are the ones above. */
static inline struct message sample_message(enum message_type type)
{
    bool answered = type == MESSAGE_HELLO || type == MESSAGE_STATE || type == MESSAGE_READY || type == MESSAGE_CREDIT ||
                    type == MESSAGE_REPORT || type == MESSAGE_SCORED || type == MESSAGE_LEAVE ||
                    type == MESSAGE_ERROR || type == MESSAGE_PONG || type == MESSAGE_STOPPED ||
                    type == MESSAGE_ENDPOINT || type == MESSAGE_RESIGN || type == MESSAGE_ASK;
    return answered ? sample_answer(type) : sample_command(type);
}

#endif
