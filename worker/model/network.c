/* network.c - forward, loss and backward of one batch, in the order they are computed; see network.h. */
#include "worker/model/network.h"

#include "worker/model/arena.h"

/* The most target positions whose logits are held at one time. Each tile reads the projection and writes its gradient
 * again, so a tile is large enough for GEMMs of full speed, and small enough that memory does not grow with the batch.
 * Part of the definition of the bits: the gradient of the projection's bias is summed tile by tile. */
enum { LOGIT_TILE = 704 };

int network_logit_tile(int positions)
{
    int tiles = (positions + LOGIT_TILE - 1) / LOGIT_TILE;
    return tiles > 0 ? (positions + tiles - 1) / tiles : 0;
}

static void network_lay_side(struct network_side *side, const struct batch_side *batch, const struct model_shape *shape,
                             struct arena *arena)
{
    size_t U = (size_t)batch->U, N = (size_t)batch->seq.N, B = (size_t)batch->seq.B;
    size_t E = (size_t)shape->E, H = (size_t)shape->H, G = (size_t)shape->G;
    side->x = arena_take(arena, U * E, sizeof(float));
    side->input = arena_take(arena, U * G, sizeof(float));
    side->gates = arena_take(arena, N * G, sizeof(float));
    side->c = arena_take(arena, N * H, sizeof(float));
    side->h = arena_take(arena, N * H, sizeof(float));
    side->h_before = arena_take(arena, N * H, sizeof(float));
    side->h0 = arena_take(arena, B * H, sizeof(float));
    side->c0 = arena_take(arena, B * H, sizeof(float));
    side->h_last = arena_take(arena, B * H, sizeof(float));
    side->c_last = arena_take(arena, B * H, sizeof(float));
}

/* Give every array its place from `base`; with base NULL this only measures. Returns the bytes needed. */
static size_t network_lay(struct network *network, const struct batch *batch, char *base)
{
    const struct model_shape *shape = &network->model->shape;
    size_t N = (size_t)batch->tgt.seq.N, B = (size_t)batch->B, H = (size_t)shape->H;
    size_t U = (size_t)(batch->src.U > batch->tgt.U ? batch->src.U : batch->tgt.U);
    size_t tile = (size_t)network_logit_tile(batch->tgt.seq.N);
    struct arena arena = {.base = base};
    network_lay_side(&network->encoder, &batch->src, shape, &arena);
    network_lay_side(&network->decoder, &batch->tgt, shape, &arena);
    network->logits = arena_take(&arena, tile * (size_t)shape->tgt_vocab, sizeof(float));
    network->dh = arena_take(&arena, N * H, sizeof(float));
    network->dh0 = arena_take(&arena, B * H, sizeof(float));
    network->dc0 = arena_take(&arena, B * H, sizeof(float));
    network->dh_last = arena_take(&arena, B * H, sizeof(float));
    network->dc_last = arena_take(&arena, B * H, sizeof(float));
    network->dinput = arena_take(&arena, U * (size_t)shape->G, sizeof(float));
    network->loss = arena_take(&arena, N, sizeof(float));
    network->predicted = arena_take(&arena, N, sizeof(int32_t));
    network->figures = arena_take(&arena, 1, sizeof(struct figures));
    return arena.used;
}

bool network_begin(struct network *network, const struct batch *batch, struct err *err)
{
    struct backend *backend = network->model->backend;
    size_t needed = network_lay(network, batch, NULL);
    if (needed > network->arena_size) {
        size_t wanted = needed + needed / 8;
        if (network->arena != NULL)
            backend->op->free(backend, network->arena);
        network->arena_size = 0;
        network->arena = backend->op->alloc(backend, wanted, err);
        if (network->arena == NULL)
            return err_context(err, "activations of %d rows", batch->B);
        network->arena_size = wanted;
    }
    network_lay(network, batch, network->arena);
    return true;
}

void network_free(struct network *network)
{
    struct backend *backend = network->model->backend;
    if (network->arena != NULL)
        backend->op->free(backend, network->arena);
    *network = (struct network){.model = network->model, .stopwatch = network->stopwatch};
}

struct recurrent network_layer(const struct model_shape *shape, const struct side_weights *weights,
                               const struct network_side *side, const struct batch_side *batch)
{
    return (struct recurrent){
        .cell = shape->cell,
        .seq = &batch->seq,
        .H = shape->H,
        .input = side->input,
        .slot = batch->slot,
        .w_hh = weights->w_hh,
        .gates = side->gates,
        .c = side->c,
        .h = side->h,
        .h_before = side->h_before,
        .h_last = side->h_last,
        .c_last = side->c_last,
    };
}

/* Look up and project the distinct inputs: x = embedding[ids], input = x W_ih^T + b. */
static void network_input_forward(struct backend *backend, const struct model_shape *shape,
                                  const struct side_weights *weights, const struct prepacked *packed_ih,
                                  const struct network_side *side, const struct batch_side *batch)
{
    backend->op->gather(backend, weights->embedding, batch->distinct, batch->U, shape->E, side->x);
    backend->op->gemm(backend, &(struct gemm){.M = batch->U,
                                              .N = shape->G,
                                              .K = shape->E,
                                              .a = side->x,
                                              .b = weights->w_ih,
                                              .bias = weights->bias,
                                              .c = side->input,
                                              .transpose_b = true,
                                              .prepacked = packed_ih});
}

/* From the gates' gradient to those of W_hh, b, W_ih and the embedding. The row of <pad> is zero and stays zero, so it
 * counts for b alone. */
static void network_input_backward(struct network *network, const struct side_weights *weights,
                                   const struct network_side *side, const struct batch_side *batch,
                                   const struct side_weights *gradient)
{
    struct backend *backend = network->model->backend;
    const struct model_shape *shape = &network->model->shape;
    int G = shape->G, E = shape->E;
    backend->op->gemm(backend, &(struct gemm){.M = G,
                                              .N = shape->H,
                                              .K = batch->seq.N,
                                              .a = side->gates,
                                              .b = side->h_before,
                                              .c = gradient->w_hh,
                                              .transpose_a = true});
    backend->op->segment_sum(backend, side->gates, &batch->positions, G, network->dinput);
    backend->op->column_sum(backend, network->dinput, batch->U, G, false, gradient->bias);
    backend->op->gemm(backend, &(struct gemm){.M = G,
                                              .N = E,
                                              .K = batch->real,
                                              .a = network->dinput,
                                              .b = side->x,
                                              .c = gradient->w_ih,
                                              .transpose_a = true});
    /* The inputs are no longer needed: their gradient takes their place. */
    backend->op->gemm(
        backend,
        &(struct gemm){.M = batch->real, .N = E, .K = G, .a = network->dinput, .b = weights->w_ih, .c = side->x});
    backend->op->scatter_add(backend, side->x, batch->distinct, batch->real, E, gradient->embedding);
}

static void network_encoder_forward(struct network *network, const struct batch *batch)
{
    const struct model *model = network->model;
    struct backend *backend = model->backend;
    const struct model_shape *shape = &model->shape;
    network_input_forward(backend, shape, &model->weights.encoder, network->encoder_ih, &network->encoder, &batch->src);
    stopwatch_lap(network->stopwatch, LAP_INPUT);
    struct recurrent layer = network_layer(shape, &model->weights.encoder, &network->encoder, &batch->src);
    layer.prepacked = network->encoder_hh;
    backend->op->recurrent_forward(backend, &layer);
    backend->op->gather(backend, network->encoder.h_last, batch->src_row, batch->B, shape->H, network->decoder.h0);
    if (shape->cell == CELL_LSTM)
        backend->op->gather(backend, network->encoder.c_last, batch->src_row, batch->B, shape->H, network->decoder.c0);
    stopwatch_lap(network->stopwatch, LAP_RECURRENCE);
}

static struct recurrent network_decoder(const struct network *network, const struct batch *batch)
{
    const struct model *model = network->model;
    struct recurrent layer = network_layer(&model->shape, &model->weights.decoder, &network->decoder, &batch->tgt);
    layer.h0 = network->decoder.h0;
    layer.c0 = model->shape.cell == CELL_LSTM ? network->decoder.c0 : NULL;
    return layer;
}

void network_forward(struct network *network, const struct batch *batch)
{
    const struct model *model = network->model;
    network_encoder_forward(network, batch);
    network_input_forward(model->backend, &model->shape, &model->weights.decoder, NULL, &network->decoder, &batch->tgt);
    stopwatch_lap(network->stopwatch, LAP_INPUT);
    struct recurrent layer = network_decoder(network, batch);
    model->backend->op->recurrent_forward(model->backend, &layer);
    stopwatch_lap(network->stopwatch, LAP_RECURRENCE);
}

/* Projection, softmax, cross-entropy and their gradients, a tile of positions at a time. */
void network_loss(struct network *network, const struct batch *batch, const struct weights *gradient)
{
    const struct model *model = network->model;
    struct backend *backend = model->backend;
    int N = batch->tgt.seq.N, V = model->shape.tgt_vocab, H = model->shape.H;
    int tile = network_logit_tile(N);
    for (int first = 0; first < N; first += tile) {
        int count = N - first < tile ? N - first : tile;
        const float *h = network->decoder.h + (size_t)first * (size_t)H;
        backend->op->gemm(backend, &(struct gemm){.M = count,
                                                  .N = V,
                                                  .K = H,
                                                  .a = h,
                                                  .b = model->weights.projection,
                                                  .bias = model->weights.projection_bias,
                                                  .c = network->logits,
                                                  .transpose_b = true});
        stopwatch_lap(network->stopwatch, LAP_LOGITS);
        backend->op->cross_entropy(backend, network->logits, batch->target + first, count, V, gradient != NULL,
                                   network->loss + first, network->predicted + first);
        stopwatch_lap(network->stopwatch, LAP_CROSS_ENTROPY);
        if (gradient == NULL)
            continue;
        bool add = first > 0;
        backend->op->gemm(backend, &(struct gemm){.M = V,
                                                  .N = H,
                                                  .K = count,
                                                  .a = network->logits,
                                                  .b = h,
                                                  .c = gradient->projection,
                                                  .transpose_a = true,
                                                  .accumulate = add});
        backend->op->column_sum(backend, network->logits, count, V, add, gradient->projection_bias);
        backend->op->gemm(backend, &(struct gemm){.M = count,
                                                  .N = H,
                                                  .K = V,
                                                  .a = network->logits,
                                                  .b = model->weights.projection,
                                                  .c = network->dh + (size_t)first * (size_t)H});
        stopwatch_lap(network->stopwatch, LAP_PROJECTION_GRADIENT);
    }
}

void network_backward(struct network *network, const struct batch *batch, const struct weights *gradient)
{
    const struct model *model = network->model;
    struct backend *backend = model->backend;
    int H = model->shape.H;
    bool lstm = model->shape.cell == CELL_LSTM;

    struct recurrent decoder = network_decoder(network, batch);
    backend->op->recurrent_backward(
        backend, &decoder,
        &(struct recurrent_gradient){.dh = network->dh, .dh0 = network->dh0, .dc0 = lstm ? network->dc0 : NULL});
    stopwatch_lap(network->stopwatch, LAP_RECURRENCE_BACKWARD);
    network_input_backward(network, &model->weights.decoder, &network->decoder, &batch->tgt, &gradient->decoder);
    stopwatch_lap(network->stopwatch, LAP_INPUT_GRADIENT);

    backend->op->gather(backend, network->dh0, batch->tgt_row, batch->B, H, network->dh_last);
    if (lstm)
        backend->op->gather(backend, network->dc0, batch->tgt_row, batch->B, H, network->dc_last);
    struct recurrent encoder = network_layer(&model->shape, &model->weights.encoder, &network->encoder, &batch->src);
    backend->op->recurrent_backward(
        backend, &encoder,
        &(struct recurrent_gradient){.dh_last = network->dh_last, .dc_last = lstm ? network->dc_last : NULL});
    stopwatch_lap(network->stopwatch, LAP_RECURRENCE_BACKWARD);
    network_input_backward(network, &model->weights.encoder, &network->encoder, &batch->src, &gradient->encoder);
    stopwatch_lap(network->stopwatch, LAP_INPUT_GRADIENT);
}

void network_score(struct network *network, const struct batch *batch, struct figures *figures)
{
    struct backend *backend = network->model->backend;
    backend->op->score(backend, network->loss, network->predicted, batch->target, batch->tgt.seq.N, figures);
}

bool network_evaluate(struct network *network, const struct batch *batch, struct figures *figures, struct err *err)
{
    struct backend *backend = network->model->backend;
    if (!network_begin(network, batch, err))
        return false;
    network_forward(network, batch);
    network_loss(network, batch, NULL);
    network_score(network, batch, network->figures);
    backend->op->download(backend, figures, network->figures, sizeof *figures);
    return backend->op->check(backend, err);
}

bool network_encode(struct network *network, const struct batch *batch, struct err *err)
{
    if (!network_begin(network, batch, err))
        return false;
    network_encoder_forward(network, batch);
    return network->model->backend->op->check(network->model->backend, err);
}
