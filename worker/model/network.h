/* network.h - one batch through the model: forward, loss, backward.
 *
 * The page that defines the model. Encoder: embedding, recurrence; its final state starts the decoder. Decoder:
 * embedding of the id before, recurrence, projection to the vocabulary, softmax cross-entropy summed over target
 * positions. Gradients are of that sum: whoever knows the whole batch's token count divides by it. A network holds the
 * activations of the batch it last saw and keeps its memory; it belongs to the model's compute thread. */
#ifndef LSTMQ_NETWORK_H
#define LSTMQ_NETWORK_H

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
    /* The encoder's matrices as the backend packs them, while its weights do not change; NULL = packed for each batch.
     * Not owned. */
    const struct prepacked *encoder_ih, *encoder_hh;
    struct network_side encoder, decoder;
    float *logits;                        /* [tile rows, V] */
    float *dh;                            /* [N of target, H] */
    float *dh0, *dc0, *dh_last, *dc_last; /* [B, H]: of the decoder's start, and the same in source order */
    float *dinput;                        /* [U, G] either side */
    float *loss;                          /* [N of target] */
    int32_t *predicted;                   /* [N of target] */
    float *host_loss;                     /* [N of target] host copies */
    int32_t *host_predicted;
    void *arena;                 /* one block of backend memory for all of the above but the host copies */
    size_t arena_size;           /* bytes */
    size_t host_capacity;        /* positions */
    struct stopwatch *stopwatch; /* not owned; NULL = time is not taken */
};

struct network_result {
    double loss_sum;  /* over target positions */
    uint32_t tokens;  /* target positions      */
    uint32_t correct; /* of them, those whose largest logit is the target's */
};

/* Start empty: *network = (struct network){.model = model}. */

/* Loss of a batch with the reference as the decoder's input. With `gradient` non-NULL also d(loss_sum)/d(parameters):
 * added to the arena that `gradient` points into when `accumulate`, else written over it. The embeddings' is added in
 * either case, to the rows of the batch's distinct ids: see step_rows.h. */
bool network_run(struct network *network, const struct batch *batch, const struct weights *gradient, bool accumulate,
                 struct network_result *result, struct err *err);

/* How many of a batch's target positions have their logits in memory at one time: the positions are cut into as few
 * tiles as will do, as even as they can be. */
int network_logit_tile(int positions);

/* The encoder alone: final states in the target side's row order, left in decoder.h0 and decoder.c0 ([B, H]). */
bool network_encode(struct network *network, const struct batch *batch, struct err *err);

/* The recurrence of a side over its part of a batch, as the backend takes it, from a start of zeroes; whoever has
 * another start sets h0 and c0. */
struct recurrent network_layer(const struct model_shape *shape, const struct side_weights *weights,
                               const struct network_side *side, const struct batch_side *batch);

void network_free(struct network *network);

#endif
