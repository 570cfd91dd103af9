/* sentence.h - one distinct text of a model: it waits, is lent to a worker, or is done.
 *
 * A sentence is born in sentences_get, for the first request that holds its text. While it waits or is lent, requests
 * with the same text, checkpoint and wishes share it, so it is computed once. Each place of a request that waits for it
 * is a part. When it is done, no later request finds it (sentences_forget). It is freed in sentences_leave with its
 * last part, or when its lease ends and no part is left. Memory is kept for the next sentences. Loop thread. */
#ifndef LSTMQ_COORDINATOR_SERVE_QUEUE_SENTENCE_H
#define LSTMQ_COORDINATOR_SERVE_QUEUE_SENTENCE_H

#include "proto/base/buffer.h"
#include "proto/wire/message.h"

#include <stdbool.h>
#include <stdint.h>

struct flow;
struct request;
struct sentence;
struct version;

/* A place of a request that waits for a sentence. */
struct part {
    struct request *request;
    struct sentence *sentence; /* NULL: it waits for none */
    struct part *next, *before;
};

enum sentence_state {
    SENTENCE_NEW,     /* in no flow yet                  */
    SENTENCE_WAITS,   /* in a flow                       */
    SENTENCE_LENT,    /* in a lease                      */
    SENTENCE_DONE,    /* its answer is here              */
    SENTENCE_DROPPED, /* in a lease, and of no use: no part waits for it */
};

/* What a batch has in common. */
struct sentence_kind {
    struct version *version;
    uint32_t alternatives, details;
};

struct sentence {
    enum sentence_state state;
    struct sentence_kind kind;
    struct buffer text;
    struct part *parts;
    int64_t arrived_us;

    /* In a flow: flow.h. */
    struct flow *flow;
    struct sentence *next, *before;
    uint64_t number; /* in order of arrival */
    uint32_t tokens; /* estimate of its cost */
    uint32_t size_class;

    /* Workers that died or were stuck with it. */
    uint32_t deaths;
    uint32_t most; /* sentences that its next batch may have; 0 = any number */

    /* Of SENTENCE_DONE: hypotheses, then their bytes, then notes. */
    struct answer answer;
    struct buffer result;

    uint64_t hash;
    struct sentence *same; /* the next in the table's chain, or in the list of free ones */
};

struct sentences {
    struct sentence **chains; /* [size], a power of two */
    size_t size, count;
    uint64_t seed; /* unknown to clients, so that they cannot make chains long */
    uint64_t numbers;
    struct sentence *free;
    size_t free_count;
};

bool sentences_open(struct sentences *sentences, struct err *err);
void sentences_close(struct sentences *sentences);

/* The sentence with that text that waits or is lent; else a new one, *made = true. The part joins it. NULL: no
 * memory. */
struct sentence *sentences_get(struct sentences *sentences, const struct sentence_kind *kind, struct text text,
                               struct part *part, bool *made);

/* No later request shares it. */
void sentences_forget(struct sentences *sentences, struct sentence *sentence);

/* It is to be computed by another version. The caller puts it into a flow. */
void sentences_change(struct sentences *sentences, struct sentence *sentence, struct version *version);

/* The part leaves its sentence. True: no other part is left, and the caller removes the sentence from its flow and
 * frees it, or leaves that to its lease. */
bool part_leave(struct part *part);

void sentences_free(struct sentences *sentences, struct sentence *sentence);

#endif
