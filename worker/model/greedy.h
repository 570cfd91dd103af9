/* greedy.h - greedy translation of a batch.
 *
 * Every row takes the argmax of its logits at each step and feeds it back, until <eos> or the limit. Finished rows
 * leave the batch, so only live rows are computed. With references, rows stay until their reference's end and the
 * loss of the decoder's own path (free running) is summed, as the notebook's validation does. A row's ids do not
 * depend on the other rows.
 *
 * A decoder begins empty, *decoder = (struct decoder){.model = model, .network = {.model = model}}, and ends in
 * decoder_free. It belongs to the model's compute thread. */
#ifndef LSTMQ_WORKER_MODEL_GREEDY_H
#define LSTMQ_WORKER_MODEL_GREEDY_H

#include "worker/model/network.h"

/* Prepacked matrices: they pay for themselves from the second batch with the same weights. */
struct decoder_packed {
    struct prepacked *encoder_ih, *encoder_hh, *decoder_ih, *decoder_hh, *projection;
};

/* What the backend has for greedy decoding, over the same matrices; all NULL where it has nothing. */
struct decoder_short {
    struct inputs *encoder_inputs, *decoder_inputs;
    struct single *encoder, *decoder;
    struct projection *projection;
};

struct decoder {
    struct network network;       /* activations of the encoder */
    const struct model *model;    /* not owned */
    struct decoder_packed packed; /* all NULL unless decoder_pack was called */
    struct decoder_short shorter; /* the same */
    void *arena;                  /* one block of backend memory */
    void *host;                   /* one block of host memory    */
    size_t arena_size, host_size;
};

struct decode_result {
    uint16_t *ids;     /* [B, limit], rows as given; the caller's */
    uint16_t *lengths; /* [B] ids up to and with <eos>, or limit; the caller's */
    bool *ended;       /* [B] whether <eos> was reached; the caller's; may be NULL */
    /* [B] a row ends after so many ids (at most limit), with or without <eos>, so that work can be compared; the
     * caller's; NULL = at <eos> */
    const uint16_t *stops;
    double loss_sum; /* with references: over their positions */
    uint64_t tokens, correct;
};

/* Translate a packed batch. With `score`, the batch's targets are the references. */
bool decode_greedy(struct decoder *decoder, const struct batch *batch, int limit, bool score,
                   struct decode_result *result, struct err *err);

/* Prepack the model's matrices, and open what the backend has for greedy decoding. The matrices must not change until
 * decoder_unpack or decoder_free. Translations stay the same to the bit. */
bool decoder_pack(struct decoder *decoder, struct err *err);
void decoder_unpack(struct decoder *decoder);

void decoder_free(struct decoder *decoder);

#endif
