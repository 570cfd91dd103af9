/* greedy.c - greedy decoding, one step of the live rows at a time; see greedy.h. */
#include "worker/model/greedy.h"

#include "kernels/decode.h"
#include "proto/text/vocab.h"
#include "worker/model/arena.h"

#include <stdlib.h>
#include <string.h>

/* The decoder's arrays for one step of up to B rows. */
struct step_arrays {
    float *x, *input, *gates, *c, *h;                  /* [B, E], [B, G], [B, G], [B, H], [B, H] */
    float *state_h[2], *state_c[2];                    /* [B, H] before and after the step       */
    float *logits, *loss;                              /* [B, V], or nothing where the backend needs none; [B] */
    int32_t *token, *slot, *keep, *target, *predicted; /* [B]                   */
    int32_t *source, *source_slot;                     /* [S] of one sentence alone */
};

/* Their sizes. */
struct step_size {
    size_t B, S;
    bool logits;
};

/* The same on the host, and which rows are live. */
struct host_arrays {
    int32_t *live; /* [B] target-side row of each live row */
    int32_t *token, *keep, *target, *predicted;
    float *loss;
    bool *ended;     /* [B] by target-side row   */
    int32_t *source; /* [S] of one sentence alone */
    int count;       /* live rows */
};

static size_t greedy_lay(struct step_arrays *step, const struct model_shape *shape, const struct step_size *size,
                         char *base)
{
    size_t B = size->B, E = (size_t)shape->E, H = (size_t)shape->H, G = (size_t)shape->G;
    struct arena arena = {.base = base};
    step->x = arena_take(&arena, B * E, sizeof(float));
    step->input = arena_take(&arena, B * G, sizeof(float));
    step->gates = arena_take(&arena, B * G, sizeof(float));
    step->c = arena_take(&arena, B * H, sizeof(float));
    step->h = arena_take(&arena, B * H, sizeof(float));
    for (int i = 0; i < 2; i++) {
        step->state_h[i] = arena_take(&arena, B * H, sizeof(float));
        step->state_c[i] = arena_take(&arena, B * H, sizeof(float));
    }
    step->logits = arena_take(&arena, size->logits ? B * (size_t)shape->tgt_vocab : 0, sizeof(float));
    step->loss = arena_take(&arena, B, sizeof(float));
    step->token = arena_take(&arena, B, sizeof(int32_t));
    step->slot = arena_take(&arena, B, sizeof(int32_t));
    step->keep = arena_take(&arena, B, sizeof(int32_t));
    step->target = arena_take(&arena, B, sizeof(int32_t));
    step->predicted = arena_take(&arena, B, sizeof(int32_t));
    step->source = arena_take(&arena, size->S, sizeof(int32_t));
    step->source_slot = arena_take(&arena, size->S, sizeof(int32_t));
    return arena.used;
}

static size_t greedy_lay_host(struct host_arrays *host, const struct step_size *size, char *base)
{
    size_t B = size->B;
    struct arena arena = {.base = base};
    host->live = arena_take(&arena, B, sizeof(int32_t));
    host->token = arena_take(&arena, B, sizeof(int32_t));
    host->keep = arena_take(&arena, B, sizeof(int32_t));
    host->target = arena_take(&arena, B, sizeof(int32_t));
    host->predicted = arena_take(&arena, B, sizeof(int32_t));
    host->loss = arena_take(&arena, B, sizeof(float));
    host->ended = arena_take(&arena, B, sizeof(bool));
    host->source = arena_take(&arena, size->S, sizeof(int32_t));
    return arena.used;
}

static bool greedy_reserve(struct decoder *decoder, const struct step_size *size, struct step_arrays *step,
                           struct host_arrays *host, struct err *err)
{
    struct backend *backend = decoder->model->backend;
    const struct model_shape *shape = &decoder->model->shape;
    size_t needed = greedy_lay(step, shape, size, NULL);
    if (needed > decoder->arena_size) {
        if (decoder->arena != NULL)
            backend->op->free(backend, decoder->arena);
        decoder->arena_size = 0;
        decoder->arena = backend->op->alloc(backend, needed, err);
        if (decoder->arena == NULL)
            return err_context(err, "decoding %zu rows", size->B);
        decoder->arena_size = needed;
    }
    size_t host_needed = greedy_lay_host(host, size, NULL);
    if (host_needed > decoder->host_size) {
        free(decoder->host);
        decoder->host = malloc(host_needed);
        decoder->host_size = decoder->host != NULL ? host_needed : 0;
        if (decoder->host == NULL)
            return err_set(err, ERR_MEMORY, "no memory to decode %zu rows", size->B);
    }
    greedy_lay(step, shape, size, decoder->arena);
    greedy_lay_host(host, size, decoder->host);
    return true;
}

static struct inputs_of greedy_inputs_of(const struct model_shape *shape, const struct side_weights *weights, int V,
                                         const struct prepacked *packed)
{
    return (struct inputs_of){.V = V,
                              .E = shape->E,
                              .G = shape->G,
                              .embedding = weights->embedding,
                              .w_ih = weights->w_ih,
                              .bias = weights->bias,
                              .prepacked = packed};
}

static bool greedy_open_shorter(struct decoder *decoder, struct err *err)
{
    const struct model *model = decoder->model;
    const struct model_shape *shape = &model->shape;
    const struct weights *weights = &model->weights;
    const struct decoder_packed *packed = &decoder->packed;
    struct decoder_short *shorter = &decoder->shorter;
    struct backend *backend = model->backend;
    struct inputs_of encoder = greedy_inputs_of(shape, &weights->encoder, shape->src_vocab, packed->encoder_ih);
    struct inputs_of target = greedy_inputs_of(shape, &weights->decoder, shape->tgt_vocab, packed->decoder_ih);
    return (shorter->encoder_inputs = backend->op->decode->inputs_open(backend, &encoder, err)) != NULL &&
           (shorter->decoder_inputs = backend->op->decode->inputs_open(backend, &target, err)) != NULL &&
           (shorter->encoder = backend->op->decode->single_open(backend, shape->cell, weights->encoder.w_hh, shape->H,
                                                                packed->encoder_hh, err)) != NULL &&
           (shorter->decoder = backend->op->decode->single_open(backend, shape->cell, weights->decoder.w_hh, shape->H,
                                                                packed->decoder_hh, err)) != NULL &&
           (shorter->projection =
                backend->op->decode->projection_open(backend, weights->projection, weights->projection_bias,
                                                     shape->tgt_vocab, shape->H, packed->projection, err)) != NULL;
}

static void greedy_close_shorter(struct decoder *decoder)
{
    struct backend *backend = decoder->model->backend;
    struct decoder_short *shorter = &decoder->shorter;
    if (backend->op->decode == NULL)
        return;
    backend->op->decode->inputs_close(backend, shorter->encoder_inputs);
    backend->op->decode->inputs_close(backend, shorter->decoder_inputs);
    backend->op->decode->single_close(backend, shorter->encoder);
    backend->op->decode->single_close(backend, shorter->decoder);
    backend->op->decode->projection_close(backend, shorter->projection);
    *shorter = (struct decoder_short){0};
}

bool decoder_pack(struct decoder *decoder, struct err *err)
{
    const struct model *model = decoder->model;
    const struct model_shape *shape = &model->shape;
    const struct weights *weights = &model->weights;
    const struct {
        struct prepacked **to;
        const float *b;
        int N, K;
    } matrices[] = {
        {&decoder->packed.encoder_ih, weights->encoder.w_ih, shape->G, shape->E},
        {&decoder->packed.encoder_hh, weights->encoder.w_hh, shape->G, shape->H},
        {&decoder->packed.decoder_ih, weights->decoder.w_ih, shape->G, shape->E},
        {&decoder->packed.decoder_hh, weights->decoder.w_hh, shape->G, shape->H},
        {&decoder->packed.projection, weights->projection, shape->tgt_vocab, shape->H},
    };
    decoder_unpack(decoder);
    for (size_t i = 0; i < sizeof matrices / sizeof matrices[0]; i++) {
        *matrices[i].to =
            model->backend->op->prepack(model->backend, matrices[i].b, matrices[i].N, matrices[i].K, true, err);
        if (*matrices[i].to == NULL) {
            decoder_unpack(decoder);
            return false;
        }
    }
    decoder->network.encoder_ih = decoder->packed.encoder_ih;
    decoder->network.encoder_hh = decoder->packed.encoder_hh;
    if (model->backend->op->decode == NULL || greedy_open_shorter(decoder, err))
        return true;
    decoder_unpack(decoder);
    return false;
}

void decoder_unpack(struct decoder *decoder)
{
    struct backend *backend = decoder->model->backend;
    struct prepacked *packed[] = {decoder->packed.encoder_ih, decoder->packed.encoder_hh, decoder->packed.decoder_ih,
                                  decoder->packed.decoder_hh, decoder->packed.projection};
    greedy_close_shorter(decoder);
    for (size_t i = 0; i < sizeof packed / sizeof packed[0]; i++)
        if (packed[i] != NULL)
            backend->op->prepack_free(backend, packed[i]);
    decoder->packed = (struct decoder_packed){0};
    decoder->network.encoder_ih = decoder->network.encoder_hh = NULL;
}

void decoder_free(struct decoder *decoder)
{
    decoder_unpack(decoder);
    network_free(&decoder->network);
    if (decoder->arena != NULL)
        decoder->model->backend->op->free(decoder->model->backend, decoder->arena);
    free(decoder->host);
    *decoder = (struct decoder){.model = decoder->model, .network = {.model = decoder->model}};
}

/* The encoder's last states: into h0 and c0 of the network, or for one sentence alone into the first ones of `step`. */
static bool greedy_encode(struct decoder *decoder, const struct batch *batch, struct step_arrays *step,
                          struct host_arrays *host, struct err *err)
{
    struct backend *backend = decoder->model->backend;
    const struct decoder_short *shorter = &decoder->shorter;
    const struct batch_side *src = &batch->src;
    int T = src->seq.T;
    size_t ids = (size_t)T * sizeof(int32_t), state = (size_t)decoder->model->shape.H * sizeof(float);
    if (batch->B > 1 || shorter->encoder == NULL) {
        /* The first step reads the states where the encoder left them, and later ones may write there. */
        bool ok = network_encode(&decoder->network, batch, err);
        step->state_h[0] = decoder->network.decoder.h0;
        step->state_c[0] = decoder->network.decoder.c0;
        return ok;
    }
    backend->op->download(backend, host->source, src->slot, ids);
    for (int t = 0; t < T; t++)
        host->source[t] = src->host_distinct[host->source[t]];
    backend->op->upload(backend, step->source, host->source, ids);
    backend->op->zero(backend, step->state_h[0], state);
    backend->op->zero(backend, step->state_c[0], state);
    const float *input =
        backend->op->decode->inputs_rows(backend, shorter->encoder_inputs, step->source, T, step->source_slot);
    backend->op->decode->single_run(backend, shorter->encoder, input, step->source_slot, T, step->state_h[0],
                                    step->state_c[0]);
    return backend->op->check(backend, err);
}

/* All rows live, <sos> as their first input. */
static void greedy_begin(struct decoder *decoder, const struct batch *batch, struct step_arrays *step,
                         struct host_arrays *host)
{
    struct backend *backend = decoder->model->backend;
    int B = batch->B;
    for (int r = 0; r < B; r++) {
        host->live[r] = r;
        host->token[r] = ID_SOS;
        host->ended[r] = false;
    }
    host->count = B;
    backend->op->upload(backend, step->slot, host->live, (size_t)B * sizeof(int32_t));
    backend->op->upload(backend, step->token, host->token, (size_t)B * sizeof(int32_t));
}

/* The input's part of the gates: token i has row slot[i]. */
static const float *greedy_inputs(struct decoder *decoder, struct step_arrays *step, int count)
{
    const struct model_shape *shape = &decoder->model->shape;
    const struct side_weights *weights = &decoder->model->weights.decoder;
    struct backend *backend = decoder->model->backend;
    if (decoder->shorter.decoder_inputs != NULL)
        return backend->op->decode->inputs_rows(backend, decoder->shorter.decoder_inputs, step->token, count,
                                                step->slot);
    backend->op->gather(backend, weights->embedding, step->token, count, shape->E, step->x);
    backend->op->gemm(backend, &(struct gemm){.M = count,
                                              .N = shape->G,
                                              .K = shape->E,
                                              .a = step->x,
                                              .b = weights->w_ih,
                                              .bias = weights->bias,
                                              .c = step->input,
                                              .transpose_b = true,
                                              .prepacked = decoder->packed.decoder_ih});
    return step->input;
}

/* From state[now] to state[1 - now], which is also h. */
static void greedy_recur(struct decoder *decoder, struct step_arrays *step, const float *input, int count, int now)
{
    const struct model_shape *shape = &decoder->model->shape;
    struct backend *backend = decoder->model->backend;
    bool lstm = shape->cell == CELL_LSTM;
    int32_t rows[1] = {count}, offset[1] = {0};
    struct sequence seq = {.B = count, .T = 1, .N = count, .rows = rows, .offset = offset};
    backend->op->recurrent_forward(backend, &(struct recurrent){.cell = shape->cell,
                                                                .seq = &seq,
                                                                .H = shape->H,
                                                                .input = input,
                                                                .slot = step->slot,
                                                                .w_hh = decoder->model->weights.decoder.w_hh,
                                                                .prepacked = decoder->packed.decoder_hh,
                                                                .h0 = step->state_h[now],
                                                                .c0 = lstm ? step->state_c[now] : NULL,
                                                                .gates = step->gates,
                                                                .c = step->c,
                                                                .h = step->h,
                                                                .h_last = step->state_h[1 - now],
                                                                .c_last = step->state_c[1 - now]});
}

/* The ids that a step's states predict, and with `score` their loss. */
static void greedy_predict(struct decoder *decoder, struct step_arrays *step, const float *h, int count, bool score)
{
    const struct model *model = decoder->model;
    struct backend *backend = model->backend;
    int V = model->shape.tgt_vocab;
    if (!score && decoder->shorter.projection != NULL) {
        backend->op->decode->projection_argmax(backend, decoder->shorter.projection, h, count, step->predicted);
        return;
    }
    backend->op->gemm(backend, &(struct gemm){.M = count,
                                              .N = V,
                                              .K = model->shape.H,
                                              .a = h,
                                              .b = model->weights.projection,
                                              .bias = model->weights.projection_bias,
                                              .c = step->logits,
                                              .transpose_b = true,
                                              .prepacked = decoder->packed.projection});
    if (score)
        backend->op->cross_entropy(backend, step->logits, step->target, count, V, false, step->loss, step->predicted);
    else
        backend->op->argmax(backend, step->logits, count, V, step->predicted);
}

/* One step of the live rows: from tokens and state[now] to the argmax ids and the next state. Returns where that is.
 * One row alone keeps its state in place. */
static int greedy_step(struct decoder *decoder, struct step_arrays *step, int count, int now, bool score)
{
    struct backend *backend = decoder->model->backend;
    const float *input = greedy_inputs(decoder, step, count);
    if (count == 1 && decoder->shorter.decoder != NULL)
        backend->op->decode->single_run(backend, decoder->shorter.decoder, input, step->slot, 1, step->state_h[now],
                                        step->state_c[now]);
    else {
        greedy_recur(decoder, step, input, count, now);
        now = 1 - now;
    }
    greedy_predict(decoder, step, step->state_h[now], count, score);
    return now;
}

/* The reference's id of row r at step t, or <pad> beyond its end. */
static int32_t greedy_reference(const struct batch *batch, int r, int t)
{
    const struct sequence *seq = &batch->tgt.seq;
    return t < seq->T && r < seq->rows[t] ? batch->host_target[seq->offset[t] + r] : ID_PAD;
}

/* Store the ids that a step predicted. Rows that go on move to the front; host->keep says where they were. */
static void greedy_take_in(const struct batch *batch, struct host_arrays *host, int t, int limit, bool score,
                           struct decode_result *result)
{
    int kept = 0;
    for (int i = 0; i < host->count; i++) {
        int r = host->live[i], row = batch->row_of[r];
        int32_t id = host->predicted[i];
        if (!host->ended[r]) {
            result->ids[(size_t)row * (size_t)limit + (size_t)t] = (uint16_t)id;
            result->lengths[row] = (uint16_t)(t + 1);
            host->ended[r] = id == ID_EOS;
        }
        if (score && host->target[i] != ID_PAD) {
            result->loss_sum += (double)host->loss[i];
            result->tokens++;
            result->correct += id == host->target[i];
        }
        bool goes_on = !host->ended[r] || (score && greedy_reference(batch, r, t + 1) != ID_PAD);
        if (result->stops != NULL)
            goes_on = t + 1 < result->stops[row];
        if (!goes_on)
            continue;
        host->keep[kept] = i;
        host->live[kept] = r;
        host->token[kept] = id;
        kept++;
    }
    host->count = kept;
}

/* Move the states of the kept rows to the front. Returns the array pair that holds them now. */
static int greedy_compact(struct decoder *decoder, struct step_arrays *step, const struct host_arrays *host, int before,
                          int now)
{
    struct backend *backend = decoder->model->backend;
    int H = decoder->model->shape.H, count = host->count;
    backend->op->upload(backend, step->token, host->token, (size_t)count * sizeof(int32_t));
    if (count == before)
        return now;
    backend->op->upload(backend, step->keep, host->keep, (size_t)count * sizeof(int32_t));
    backend->op->gather(backend, step->state_h[now], step->keep, count, H, step->state_h[1 - now]);
    if (decoder->model->shape.cell == CELL_LSTM)
        backend->op->gather(backend, step->state_c[now], step->keep, count, H, step->state_c[1 - now]);
    return 1 - now;
}

bool decode_greedy(struct decoder *decoder, const struct batch *batch, int limit, bool score,
                   struct decode_result *result, struct err *err)
{
    struct backend *backend = decoder->model->backend;
    struct step_arrays step = {0};
    struct host_arrays host = {0};
    const struct step_size size = {.B = (size_t)batch->B,
                                   .S = batch->B == 1 ? (size_t)batch->src.seq.T : 0,
                                   .logits = score || decoder->shorter.projection == NULL};
    if (!greedy_reserve(decoder, &size, &step, &host, err) || !greedy_encode(decoder, batch, &step, &host, err))
        return false;
    result->loss_sum = 0;
    result->tokens = result->correct = 0;
    greedy_begin(decoder, batch, &step, &host);

    int now = 0;
    for (int t = 0; t < limit && host.count > 0; t++) {
        int count = host.count;
        size_t ids = (size_t)count * sizeof(int32_t);
        if (score) {
            for (int i = 0; i < count; i++)
                host.target[i] = greedy_reference(batch, host.live[i], t);
            backend->op->upload(backend, step.target, host.target, ids);
        }
        now = greedy_step(decoder, &step, count, now, score);
        backend->op->download(backend, host.predicted, step.predicted, ids);
        if (score)
            backend->op->download(backend, host.loss, step.loss, (size_t)count * sizeof(float));
        if (!backend->op->check(backend, err))
            return false;
        greedy_take_in(batch, &host, t, limit, score, result);
        now = greedy_compact(decoder, &step, &host, count, now);
    }
    if (result->ended != NULL)
        for (int r = 0; r < batch->B; r++)
            result->ended[batch->row_of[r]] = host.ended[r];
    return true;
}
