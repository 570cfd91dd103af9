/* decode.h - greedy translation of a batch.
 *
 * Every row takes the likeliest id at each step and feeds it back, until <eos> or the limit; finished rows leave the batch, so only live rows
 * are computed. With references, rows stay until their reference's end and the loss of the decoder's own path is summed
 * (the notebook's validation). A row's ids do not depend on the other rows. Belongs to the model's compute thread. */
#ifndef LSTMQ_DECODE_H
#define LSTMQ_DECODE_H

#include "worker/network.h"

struct decoder {
    struct network network;    /* activations of the encoder */
    const struct model *model; /* not owned */
    void *arena;               /* one block of backend memory */
    void *host;                /* one block of host memory    */
    size_t arena_size, host_size;
};

struct decode_result {
    uint16_t *ids;     /* [B, limit], rows as given; the caller's */
    uint16_t *lengths; /* [B] ids up to and with <eos>, or limit; the caller's */
    bool *ended;       /* [B] whether <eos> was reached; the caller's; may be NULL */
    /* [B] leave after so many ids (at most limit), <eos> or not, so that work can be compared; the caller's; NULL = at <eos> */
    const uint16_t *stops;
    double loss_sum; /* with references: over their positions */
    uint64_t tokens, correct;
};

/* Start empty: *decoder = (struct decoder){.model = model, .network = {.model = model}}. */

/* Translate a packed batch. With `score`, the batch's targets are references: see above. */
bool decode_greedy(struct decoder *decoder, const struct batch *batch, int limit, bool score,
                   struct decode_result *result, struct err *err);

void decoder_free(struct decoder *decoder);

#endif
