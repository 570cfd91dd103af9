/* network.h - one batch through the model: forward, loss, backward.
 *
 * The page that defines the model. The encoder is an embedding and a recurrence; its final state starts the decoder.
 * The decoder is an embedding of the previous id, a recurrence, and a projection to the vocabulary. The loss is
 * softmax cross-entropy, summed over target positions. Gradients are of that sum: the update divides by the whole
 * batch's number of tokens.
 *
 * A network begins empty, *network = (struct network){.model = model}, and ends in network_free. Between, it holds
 * the activations of the last batch and keeps its memory. It belongs to the model's compute thread. */
#ifndef LSTMQ_WORKER_MODEL_NETWORK_H
#define LSTMQ_WORKER_MODEL_NETWORK_H

#include "worker/model/batch.h"
#include "worker/model/model.h"
#include "worker/model/stopwatch.h"

struct network_side {
    float *x;               /* [U, E] distinct inputs                    */
    float *input;           /* [U, G] their part of the gates            */
    float *gates;           /* [N, G] */
    float *c;               /* [N, H] */
    float *h;               /* [N, H] */
    float *h_before;        /* [N, H] */
    float *h0, *c0;         /* [B, H] */
    float *h_last, *c_last; /* [B, H] */
};

struct network {
    const struct model *model; /* not owned */
    /* The encoder's matrices, prepacked while its weights do not change; NULL = packed for each batch. Not owned. */
    const struct prepacked *encoder_ih, *encoder_hh;
    struct network_side encoder, decoder;
    float *logits;                        /* [tile rows, V] */
    float *dh;                            /* [N of target, H] */
    float *dh0, *dc0, *dh_last, *dc_last; /* [B, H]: of the decoder's start, and the same in source order */
    float *dinput;                        /* [U, G] either side */
    float *loss;                          /* [N of target] */
    int32_t *predicted;                   /* [N of target] */
    struct figures *figures;              /* of network_evaluate */
    void *arena;                          /* one block of backend memory for all of the above */
    size_t arena_size;                    /* bytes */
    struct stopwatch *stopwatch;          /* not owned; NULL = time is not taken */
};

/* Make memory for a batch, before any of the three below. */
bool network_begin(struct network *network, const struct batch *batch, struct err *err);

/* Compute the states of both sides, with the reference as the decoder's input (teacher forcing). */
void network_forward(struct network *network, const struct batch *batch);

/* Compute the loss and the predicted id of each target position. With `gradient` also write the projection's
 * gradient, and compute what network_backward needs. */
void network_loss(struct network *network, const struct batch *batch, const struct weights *gradient);

/* Write the rest of the gradient, after network_loss. The embeddings' part is added to the rows that the batch looks
 * up: see step_rows.h. */
void network_backward(struct network *network, const struct batch *batch, const struct weights *gradient);

/* Sum the results of network_loss into `figures`, backend memory. */
void network_score(struct network *network, const struct batch *batch, struct figures *figures);

/* Forward and loss of a batch, without a gradient; `figures` is the caller's. Waits for the device. */
bool network_evaluate(struct network *network, const struct batch *batch, struct figures *figures, struct err *err);

/* How many of a batch's target positions have their logits in memory at one time. The positions are cut into as few and
 * as even tiles as the limit allows. */
int network_logit_tile(int positions);

/* The encoder alone: final states in the target side's row order, left in decoder.h0 and decoder.c0 ([B, H]). */
bool network_encode(struct network *network, const struct batch *batch, struct err *err);

/* The recurrence of a side over its part of a batch, as the backend takes it, from a start of zeroes. A caller with
 * another start sets h0 and c0. */
struct recurrent network_layer(const struct model_shape *shape, const struct side_weights *weights,
                               const struct network_side *side, const struct batch_side *batch);

void network_free(struct network *network);

#endif
