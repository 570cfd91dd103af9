/* bench_kernels.c - each operation of a training step, on the arrays of one such step. */
#include "proto/store/json_print.h"
#include "worker/bench/bench_products.h"

struct kernels {
    struct training training;
    struct backend *backend;
    const struct network *network;
    const struct batch *batch;
    const struct model_shape *shape;
    struct outcome *scale; /* of 0.001 for the update; backend memory */
    int tile;              /* positions whose logits fit the network's buffer */
};

/* An operation, and the flops or bytes (each read and written once) it must move; 0 = not counted. */
struct kernel {
    const char *name;
    bool (*prepare)(void *context, struct err *err);
    bool (*run)(void *context, struct err *err);
    double rows, columns; /* size of its input, for display */
    double flops, bytes;
};

static bool bench_kernels_check(const struct kernels *kernels, struct err *err)
{
    return kernels->backend->op->check(kernels->backend, err);
}

static struct recurrent bench_kernels_encoder(const struct kernels *kernels)
{
    return network_layer(kernels->shape, &kernels->training.model->weights.encoder, &kernels->network->encoder,
                         &kernels->batch->src);
}

static struct recurrent bench_kernels_decoder(const struct kernels *kernels)
{
    struct recurrent layer = network_layer(kernels->shape, &kernels->training.model->weights.decoder,
                                           &kernels->network->decoder, &kernels->batch->tgt);
    layer.h0 = kernels->network->decoder.h0;
    layer.c0 = kernels->shape->cell == CELL_LSTM ? kernels->network->decoder.c0 : NULL;
    return layer;
}

static bool bench_kernels_encoder_forward(void *context, struct err *err)
{
    struct kernels *kernels = context;
    struct recurrent layer = bench_kernels_encoder(kernels);
    kernels->backend->op->recurrent_forward(kernels->backend, &layer);
    return bench_kernels_check(kernels, err);
}

static bool bench_kernels_encoder_backward(void *context, struct err *err)
{
    struct kernels *kernels = context;
    struct recurrent layer = bench_kernels_encoder(kernels);
    bool lstm = kernels->shape->cell == CELL_LSTM;
    kernels->backend->op->recurrent_backward(
        kernels->backend, &layer,
        &(struct recurrent_gradient){.dh_last = kernels->network->dh_last,
                                     .dc_last = lstm ? kernels->network->dc_last : NULL});
    return bench_kernels_check(kernels, err);
}

static bool bench_kernels_decoder_forward(void *context, struct err *err)
{
    struct kernels *kernels = context;
    struct recurrent layer = bench_kernels_decoder(kernels);
    kernels->backend->op->recurrent_forward(kernels->backend, &layer);
    return bench_kernels_check(kernels, err);
}

static bool bench_kernels_decoder_backward(void *context, struct err *err)
{
    struct kernels *kernels = context;
    struct recurrent layer = bench_kernels_decoder(kernels);
    const struct network *network = kernels->network;
    bool lstm = kernels->shape->cell == CELL_LSTM;
    kernels->backend->op->recurrent_backward(
        kernels->backend, &layer,
        &(struct recurrent_gradient){.dh = network->dh, .dh0 = network->dh0, .dc0 = lstm ? network->dc0 : NULL});
    return bench_kernels_check(kernels, err);
}

/* Restore the step's logits, because cross_entropy overwrites them with its gradient. */
static bool bench_kernels_logits(void *context, struct err *err)
{
    struct kernels *kernels = context;
    const struct weights *weights = &kernels->training.model->weights;
    kernels->backend->op->gemm(kernels->backend, &(struct gemm){.M = kernels->tile,
                                                                .N = kernels->shape->tgt_vocab,
                                                                .K = kernels->shape->H,
                                                                .a = kernels->network->decoder.h,
                                                                .b = weights->projection,
                                                                .bias = weights->projection_bias,
                                                                .c = kernels->network->logits,
                                                                .transpose_b = true});
    return bench_kernels_check(kernels, err);
}

static bool bench_kernels_cross_entropy(void *context, struct err *err)
{
    struct kernels *kernels = context;
    const struct network *network = kernels->network;
    kernels->backend->op->cross_entropy(kernels->backend, network->logits, kernels->batch->target, kernels->tile,
                                        kernels->shape->tgt_vocab, true, network->loss, network->predicted);
    return bench_kernels_check(kernels, err);
}

static bool bench_kernels_argmax(void *context, struct err *err)
{
    struct kernels *kernels = context;
    const struct network *network = kernels->network;
    kernels->backend->op->argmax(kernels->backend, network->logits, kernels->tile, kernels->shape->tgt_vocab,
                                 network->predicted);
    return bench_kernels_check(kernels, err);
}

static bool bench_kernels_column_sum(void *context, struct err *err)
{
    struct kernels *kernels = context;
    kernels->backend->op->column_sum(kernels->backend, kernels->network->logits, kernels->tile,
                                     kernels->shape->tgt_vocab, false,
                                     kernels->training.gradients[0].of.projection_bias);
    return bench_kernels_check(kernels, err);
}

static bool bench_kernels_gather(void *context, struct err *err)
{
    struct kernels *kernels = context;
    const struct batch_side *side = &kernels->batch->tgt;
    kernels->backend->op->gather(kernels->backend, kernels->training.model->weights.decoder.embedding, side->distinct,
                                 side->U, kernels->shape->E, kernels->network->decoder.x);
    return bench_kernels_check(kernels, err);
}

static bool bench_kernels_scatter_add(void *context, struct err *err)
{
    struct kernels *kernels = context;
    const struct batch_side *side = &kernels->batch->tgt;
    kernels->backend->op->scatter_add(kernels->backend, kernels->network->decoder.x, side->distinct, side->real,
                                      kernels->shape->E, kernels->training.gradients[0].of.decoder.embedding);
    return bench_kernels_check(kernels, err);
}

static bool bench_kernels_segment_sum(void *context, struct err *err)
{
    struct kernels *kernels = context;
    const struct batch_side *side = &kernels->batch->tgt;
    kernels->backend->op->segment_sum(kernels->backend, kernels->network->decoder.gates, &side->positions,
                                      kernels->shape->G, kernels->network->dinput);
    return bench_kernels_check(kernels, err);
}

/* One tensor as large as all of them: the order of the sum costs the same. */
static bool bench_kernels_clip(struct kernels *kernels, enum norm rule, struct err *err)
{
    struct training *training = &kernels->training;
    const struct clip_part part = {training->gradients[0].arena, training->model->elements};
    const struct clip clip = {.tokens = 1, .rule = rule, .parts = &part, .part_count = 1};
    kernels->backend->op->clip(kernels->backend, &clip, training->outcome);
    return bench_kernels_check(kernels, err);
}

static bool bench_kernels_norm_double(void *context, struct err *err)
{
    return bench_kernels_clip(context, NORM_DOUBLE, err);
}

static bool bench_kernels_norm_float(void *context, struct err *err)
{
    return bench_kernels_clip(context, NORM_FLOAT, err);
}

static bool bench_kernels_adam(void *context, struct err *err)
{
    struct kernels *kernels = context;
    const struct training *training = &kernels->training;
    const struct optimizer *optimizer = &training->optimizer;
    const struct update_part part = {.rows = 1, .width = training->model->elements, .decays = true};
    const struct update update = {.p = training->model->parameters,
                                  .g = training->gradients[0].arena,
                                  .m = optimizer->m,
                                  .v = optimizer->v,
                                  .parts = &part,
                                  .count = 1,
                                  .outcome = kernels->scale};
    const struct adam adam = {
        .lr = optimizer->lr, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .decay = optimizer->decay, .t = 10};
    kernels->backend->op->adam(kernels->backend, &update, &adam);
    return bench_kernels_check(kernels, err);
}

static void bench_kernels_print_timing(const struct timing *timing, struct buffer *out)
{
    json_print_number(out, "ms", timing->median);
    json_print_number(out, "ms_least", timing->least);
    json_print_number(out, "runs", (double)timing->runs);
}

static bool bench_kernels_time(struct bench *bench, struct kernels *kernels, const struct kernel *kernel, bool first,
                               struct err *err)
{
    struct timing timing;
    struct work work = {.prepare = kernel->prepare, .run = kernel->run, .context = kernels};
    if (!bench_time(&work, bench->config.bench_seconds, &timing, err))
        return false;
    double rate = (kernel->flops > 0 ? kernel->flops : kernel->bytes) / timing.median / 1e6;
    const char *unit = kernel->flops > 0 ? "gflop_per_s" : "gb_per_s";
    struct buffer *out = &bench->out;
    if (bench->config.output_json) {
        buffer_format(out, "%s{\"name\": \"%s\"", first ? "" : ", ", kernel->name);
        json_print_number(out, "rows", kernel->rows);
        json_print_number(out, "columns", kernel->columns);
        bench_kernels_print_timing(&timing, out);
        json_print_number(out, unit, rate);
        buffer_text(out, "}");
    } else {
        buffer_format(out, "  %-17s %9.0f x %-9.0f  %9.3f %9.3f %8.1f %s\n", kernel->name, kernel->rows,
                      kernel->columns, timing.median, timing.least, rate, kernel->flops > 0 ? "GFLOP/s" : "GB/s");
    }
    return true;
}

static bool bench_kernels_operations(struct bench *bench, struct kernels *kernels, struct err *err)
{
    const struct batch *batch = kernels->batch;
    double G = kernels->shape->G, H = kernels->shape->H, E = kernels->shape->E, V = kernels->shape->tgt_vocab;
    double elements = (double)kernels->training.model->elements, tile = kernels->tile, U = batch->tgt.U,
           real = batch->tgt.real, n = batch->tgt.seq.N, src = batch->src.seq.N, F = sizeof(float);
    struct step_counts counts = products_count(&kernels->training);
    const struct kernel list[] = {
        {"encoder forward", NULL, bench_kernels_encoder_forward, src, G, 2 * counts.m * G * H, 0},
        {"decoder forward", NULL, bench_kernels_decoder_forward, n, G, 2 * n * G * H, 0},
        {"decoder backward", bench_kernels_decoder_forward, bench_kernels_decoder_backward, n, G, 2 * n * G * H, 0},
        {"encoder backward", bench_kernels_encoder_forward, bench_kernels_encoder_backward, src, G,
         2 * counts.m * G * H, 0},
        {"cross_entropy", bench_kernels_logits, bench_kernels_cross_entropy, tile, V, 0, 2 * F * tile * V},
        {"argmax", bench_kernels_logits, bench_kernels_argmax, tile, V, 0, F * tile * V},
        {"column_sum", NULL, bench_kernels_column_sum, tile, V, 0, F * tile * V},
        {"segment_sum", bench_kernels_decoder_forward, bench_kernels_segment_sum, n, G, 0, F * (n + U) * G},
        {"gather", NULL, bench_kernels_gather, U, E, 0, 2 * F * U * E},
        {"scatter_add", NULL, bench_kernels_scatter_add, real, E, 0, 3 * F * real * E},
        {"norm double", NULL, bench_kernels_norm_double, elements, 1, 0, F * elements},
        {"norm float", NULL, bench_kernels_norm_float, elements, 1, 0, F * elements},
        {"adam", NULL, bench_kernels_adam, elements, 1, 0, 7 * F * elements},
    };
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        if (!(list[i].run == bench_kernels_adam && kernels->training.optimizer.m == NULL) &&
            !bench_kernels_time(bench, kernels, &list[i], i == 0, err))
            return false;
    return true;
}

static bool bench_kernels_products(struct bench *bench, struct kernels *kernels, struct err *err)
{
    struct step_counts counts = products_count(&kernels->training);
    struct buffer *out = &bench->out;
    struct product list[PRODUCTS];
    products_list(kernels->shape, &counts, list);
    for (int i = 0; i < PRODUCTS; i++) {
        struct product_speed speed;
        const struct product *p = &list[i];
        if (!product_time(bench->backend, p, bench->config.bench_seconds, &speed, err))
            return false;
        const struct timing *own = &speed.own;
        double rate = product_flops(p) / own->median / 1e6;
        double library = speed.library > 0 ? product_flops(p) / speed.library / 1e6 : 0;
        if (bench->config.output_json) {
            buffer_format(out, "%s{\"name\": \"%s\", \"M\": %d, \"N\": %d, \"K\": %d", i == 0 ? "" : ", ", p->name,
                          p->M, p->N, p->K);
            bench_kernels_print_timing(own, out);
            json_print_number(out, "gflop_per_s", rate);
            json_print_number(out, "onednn_ms", speed.library);
            json_print_number(out, "onednn_gflop_per_s", library);
            buffer_text(out, "}");
        } else {
            buffer_format(out, "  %-17s %5d x %4d x %-4d %8.3f %8.3f %9.1f %9.1f\n", p->name, p->M, p->N, p->K,
                          own->median, own->least, rate, library);
        }
    }
    return true;
}

static bool bench_kernels_measure(struct bench *bench, struct kernels *kernels, struct err *err)
{
    struct buffer *out = &bench->out;
    bool json = bench->config.output_json;
    if (json)
        buffer_text(out, "\"kernels\": {\"products\": [");
    else
        buffer_format(out,
                      "kernels: on the arrays of a step of %d drawn pairs; median and least run\n\n"
                      "  %-17s %5s x %4s x %-4s %8s %8s %9s %9s\n",
                      kernels->batch->B, "product", "M", "N", "K", "ms", "least", "GFLOP/s", "oneDNN's");
    if (!bench_kernels_products(bench, kernels, err))
        return false;
    if (json)
        buffer_text(out, "], \"operations\": [");
    else
        buffer_format(out, "\n  %-17s %9s x %-9s  %9s %9s %8s\n", "operation", "rows", "columns", "ms", "least",
                      "rate");
    if (!bench_kernels_operations(bench, kernels, err))
        return false;
    if (json)
        buffer_text(out, "]}");
    return true;
}

static bool bench_kernels_open(struct kernels *kernels, struct err *err)
{
    const struct outcome scale = {.scale = 1e-3f};
    struct backend *backend = kernels->backend;
    kernels->network = &kernels->training.network;
    kernels->batch = &kernels->training.batch;
    kernels->shape = &kernels->training.model->shape;
    kernels->tile = network_logit_tile(kernels->batch->tgt.seq.N);
    kernels->scale = backend->op->alloc(backend, sizeof scale, err);
    if (kernels->scale == NULL)
        return false;
    backend->op->upload(backend, kernels->scale, &scale, sizeof scale);
    return true;
}

bool bench_kernels(struct bench *bench, struct err *err)
{
    struct kernels kernels = {.backend = bench->backend};
    struct bench_data data;
    if (!bench_data_draw(&data, &bench->config, bench_src_vocab(&bench->config), bench_tgt_vocab(&bench->config),
                         (size_t)bench->config.train_batch, err))
        return false;
    bool ok = bench_training_open(&kernels.training, bench, &data, err);
    if (ok) {
        ok = bench_kernels_open(&kernels, err) && bench_kernels_measure(bench, &kernels, err);
        if (kernels.scale != NULL)
            bench->backend->op->free(bench->backend, kernels.scale);
        training_close(&kernels.training);
    }
    bench_data_free(&data);
    return ok;
}
