/* bench_texts.h - the texts that measurements of a queue send.
 *
 * Numbered texts are short and all different, so that the queue computes each of them. Texts of a model are the source
 * sides of its pairs. The caller owns them and ends them with bench_texts_free. Read-only between; any thread. */
#ifndef LSTMQ_WORKER_BENCH_SERVE_BENCH_TEXTS_H
#define LSTMQ_WORKER_BENCH_SERVE_BENCH_TEXTS_H

#include "proto/base/buffer.h"
#include "proto/base/config.h"
#include "proto/wire/message.h"

struct bench_texts {
    struct buffer bytes; /* one after another */
    uint32_t *lengths;   /* [count] */
    size_t *at;          /* [count] first byte of each */
    size_t count;
};

bool bench_texts_number(struct bench_texts *texts, size_t count, struct err *err);

/* `most` different sources or fewer of config's data.pairs, in a drawn order that is the same each time. */
bool bench_texts_read(struct bench_texts *texts, const struct config *config, size_t most, struct err *err);

/* At most `count` texts, the first of them number `first` modulo the number of texts; fewer at the end. */
struct texts bench_texts_cut(const struct bench_texts *texts, size_t first, size_t count);

void bench_texts_free(struct bench_texts *texts);

#endif
