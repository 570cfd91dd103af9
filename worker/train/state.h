/* state.h - a worker's state as bytes: the two safetensors files of a checkpoint.
 *
 *   model.safetensors      the parameters, names and layouts as in the model's table
 *   optimizer.safetensors  Adam's moments, "exp_avg.NAME" then "exp_avg_sq.NAME"; no tensors for SGD
 *
 * A file is saved in pieces of a fixed size, so that no copy of the whole is made, and loaded from a whole file in
 * memory. Each piece that arrives also shows that its sender lives: pieces are small, so that they arrive often
 * enough over a slow line too. The compute thread that owns the training calls all of these. */
#ifndef LSTMQ_WORKER_TRAIN_STATE_H
#define LSTMQ_WORKER_TRAIN_STATE_H

#include "worker/train/train_step.h"

/* Bytes of a piece, at most. With 64 KiB a save takes twice the time. */
enum { STATE_SAVED = 256 << 10 };

/* Called with consecutive pieces of a file. `offset` counts from the file's start; `total` is its size. */
typedef bool state_sink(void *context, int file, uint64_t offset, uint64_t total, const void *bytes, size_t size,
                        struct err *err);

/* ERR_DIVERGED: a parameter is not finite. Such a state must not become a checkpoint. */
bool state_check(const struct training *training, struct err *err);

/* Pass the model file, then the optimizer file, to `sink`. */
bool state_save(const struct training *training, state_sink *sink, void *context, struct err *err);

/* Moments from the bytes of an optimizer file. */
bool state_load_optimizer(struct optimizer *optimizer, const void *bytes, size_t size, const char *name,
                          struct err *err);

/* Copy the state of rank `root` to all ranks that the reducer joins; each of them calls this. After a failure only the
 * root still has a state. */
bool state_broadcast(struct training *training, uint32_t root, struct err *err);

/* The hash of the parameters that REPORT carries, see PROTOCOL.md; 0: there is no memory to take it. */
uint64_t state_hash(const struct training *training);

#endif
