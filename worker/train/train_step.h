/* train_step.h - one step of training.
 *
 * A training holds what a worker needs to take steps: model, optimizer, gradients, the step counter. It opens when a
 * run's configuration is known, receives a state (initial parameters or a checkpoint's), and goes from step to step.
 * The state after a step is a pure function of the state before it and of the step's rows.
 *
 * A step only issues work to the backend, and its result is read later: a caller takes step s + 1, then reads the
 * result of step s, so that a device never waits for the host. A step that diverges gives no update, and neither do
 * the steps after it. Belongs to one compute thread. */
#ifndef LSTMQ_WORKER_TRAIN_TRAIN_STEP_H
#define LSTMQ_WORKER_TRAIN_TRAIN_STEP_H

#include "proto/base/step_result.h"
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
    struct outcome *outcome;      /* of the last step, backend memory                                         */
    struct outcome landed[2];     /* of the steps in `read`..`step`, on their way to the host                 */
    uint64_t step;                /* steps taken                                                              */
    uint64_t read;                /* steps whose results were read; at most 2 fewer                           */
};

bool training_open(struct training *training, struct backend *backend, const struct config *config, int src_vocab,
                   int tgt_vocab, struct err *err);
void training_close(struct training *training);

/* The model holds the state after `step` steps from now on. */
void training_begin(struct training *training, uint64_t step);

/* A generation begins: a step that its predecessor dropped marks no later one as diverged. No result is unread. */
void training_forget_outcome(struct training *training);

/* Take `step`, without waiting for what it comes to; at most one result is unread before the call. The ranks that the
 * reducer joins take it together. A failure leaves the parameters as they were. ERR_ABORTED: nothing is wrong, but the
 * generation is over. */
bool train_step(struct training *training, const struct step *step, struct err *err);

/* Wait for the first step whose result is unread, and read it. ERR_DIVERGED: loss or gradient was not finite; then
 * neither that step nor a later one has changed the parameters. */
bool train_result(struct training *training, struct step_result *result, struct err *err);

#endif
