/* train_step.h - one step of training.
 *
 * A training holds what a worker needs to take steps: model, optimizer, gradient, the step counter. It is opened when a
 * run's configuration is known, given a state (initial parameters or a checkpoint's), and then taken from step to step.
 * The state after a step is a pure function of the state before it and of the step's rows. Belongs to one compute
 * thread. */
#ifndef LSTMQ_TRAIN_STEP_H
#define LSTMQ_TRAIN_STEP_H

#include "proto/wire/message.h"
#include "worker/model/network.h"
#include "worker/train/optimizer.h"
#include "worker/train/reduce.h"
#include "worker/train/step_rows.h"

struct training {
    struct backend *backend; /* not owned */
    struct config config;
    struct model *model;
    struct optimizer optimizer;
    struct network network;
    struct batch batch;
    float *gradient;            /* arena                                                        */
    struct weights gradient_of; /* the same by role                                             */
    float *other;               /* arena: of every second shard in exact reduction; NULL = none */
    struct weights other_of;    /* the same by role                                             */
    struct step_rows rows;      /* of the embeddings' gradients, outside of which they are zero */
    struct reducer reducer;     /* sums them over shards and ranks                              */
    uint64_t step;              /* steps done                                                   */
};

/* A place in a span, moved on by train_step: the next step's first shard, row, id, and distinct id. */
struct span_cursor {
    uint32_t shard, row;
    size_t id, distinct;
};

bool training_open(struct training *training, struct backend *backend, const struct config *config, int src_vocab,
                   int tgt_vocab, struct err *err);
void training_close(struct training *training);

/* Do the step at `at`: its shards are those of `span` with this step's offset. Where the reducer is one of many, all ranks
 * take the step together. A failure leaves the parameters as they were; ERR_ABORTED: nothing is wrong, but the generation
 * is over. ERR_DIVERGED: loss or gradient is not finite. */
bool train_step(struct training *training, const struct span *span, uint32_t offset, struct span_cursor *at,
                struct step_result *result, struct err *err);

#endif
