/* train_step.h - one step of training.
 *
 * A training holds what a worker needs to take steps: model, optimizer, gradients, the step counter. It opens when a
 * run's configuration is known, receives a state (initial parameters or a checkpoint's), and goes from step to step. The
 * state after a step is a pure function of the state before it and of the step's rows. Belongs to one compute thread. */
#ifndef LSTMQ_WORKER_TRAIN_TRAIN_STEP_H
#define LSTMQ_WORKER_TRAIN_TRAIN_STEP_H

#include "worker/model/network.h"
#include "worker/train/optimizer.h"
#include "worker/train/reduce.h"
#include "worker/train/step.h"
#include "worker/train/step_rows.h"

/* Outside of the rows of the last step, an embedding's part is zero. */
struct gradient {
    float *arena;      /* backend memory    */
    struct weights of; /* the same, by role */
};

struct training {
    struct backend *backend; /* not owned */
    struct config config;
    struct model *model;
    struct optimizer optimizer;
    struct network network;
    struct batch batch;
    struct gradient gradients[2]; /* the second: of every other shard in exact reduction, else without an arena */
    struct step_rows rows;        /* that the step has of the embeddings' gradients                           */
    struct reducer reducer;       /* sums gradients over shards and ranks                                     */
    uint64_t step;                /* steps done                                                               */
};

bool training_open(struct training *training, struct backend *backend, const struct config *config, int src_vocab,
                   int tgt_vocab, struct err *err);
void training_close(struct training *training);

/* Do `step`. The ranks that the reducer joins take it together. A failure leaves the parameters as they were.
 * ERR_ABORTED: nothing is wrong, but the generation is over. ERR_DIVERGED: loss or gradient is not finite. */
bool train_step(struct training *training, const struct step *step, struct step_result *result, struct err *err);

#endif
