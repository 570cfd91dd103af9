/* bench_translate.c - greedy decoding at several batch sizes.
 *
 * Each sentence is decoded for as many steps as its reference is long, whatever the model predicts. So the work is that
 * of real text for any weights, and another program can do the same work. Weights come from a checkpoint, or are
 * untrained. Pairs come from a file, or are drawn. Packing, encoder and decoder are measured; text processing is
 * not. */
#include "kernels/decode.h"
#include "kernels/measure.h"
#include "worker/bench/bench.h"

#include "proto/base/random.h"
#include "proto/store/json_print.h"

#include <stdlib.h>

/* Number of drawn pairs, and the batch sizes besides translate.batch. */
enum { PAIRS = 1024, ONE = 1, SOME = 64 };

struct decoding {
    struct translator translator; /* of --model */
    struct model *own;            /* without --model */
    const struct model *model;
    const struct config *config; /* the model's */
    struct decoder decoder;
    struct batch batch;
    struct bench_data data;
    uint16_t *ids, *lengths; /* of one batch */
    uint32_t *order;         /* batches, shuffled, so that a short measurement has long and short ones */
    int limit;
};

struct speed {
    uint64_t sentences, tokens;
    int64_t ns;
};

static bool bench_translate_decode(struct decoding *decoding, size_t first, size_t count, struct err *err)
{
    const struct model_shape *shape = &decoding->model->shape;
    const struct bench_data *data = &decoding->data;
    struct decode_result result = {
        .ids = decoding->ids, .lengths = decoding->lengths, .stops = data->tgt_lengths + first};
    const struct rows rows = bench_data_rows(data, first, count);
    return batch_pack(&decoding->batch, &rows, batch_padding(decoding->config), shape->src_vocab, shape->tgt_vocab,
                      err) &&
           decode_greedy(&decoding->decoder, &decoding->batch, decoding->limit, false, &result, err);
}

/* Decode batches of `size` until the time is over, at least one round of a few. */
static bool bench_translate_measure(struct decoding *decoding, size_t size, double seconds, struct speed *speed,
                                    struct err *err)
{
    size_t rows = decoding->data.rows.count, batches = (rows + size - 1) / size;
    struct mt19937 mt;
    mt19937_seed(&mt, 42);
    for (size_t i = 0; i < batches; i++)
        decoding->order[i] = (uint32_t)i;
    mt19937_shuffle(&mt, decoding->order, batches);
    *speed = (struct speed){0};
    if (!bench_translate_decode(decoding, 0, size < rows ? size : rows, err))
        return false;
    int64_t begin = clock_ns(), end = begin + (int64_t)(seconds * 1e9);
    for (size_t i = 0; i < 3 || clock_ns() < end; i++) {
        size_t first = decoding->order[i % batches] * size, count = rows - first < size ? rows - first : size;
        if (!bench_translate_decode(decoding, first, count, err))
            return false;
        speed->sentences += count;
        for (size_t r = first; r < first + count; r++)
            speed->tokens += decoding->data.tgt_lengths[r];
    }
    speed->ns = clock_ns() - begin;
    return true;
}

static void bench_translate_print(struct bench *bench, size_t size, const struct speed *speed, bool first)
{
    double seconds = (double)speed->ns / 1e9;
    double sentences = (double)speed->sentences / seconds, tokens = (double)speed->tokens / seconds;
    struct buffer *out = &bench->out;
    if (!bench->config.output_json) {
        buffer_format(out, "  %10zu %16.1f %18.1f %16.3f\n", size, sentences, tokens, 1e3 / sentences);
        return;
    }
    buffer_format(out, "%s{\"batch\": %zu, \"sentences\": %llu", first ? "" : ", ", size,
                  (unsigned long long)speed->sentences);
    json_print_number(out, "seconds", seconds);
    json_print_number(out, "sentences_per_s", sentences);
    json_print_number(out, "tgt_tok_per_s", tokens);
    buffer_text(out, "}");
}

/* ---- one sentence at a time ---- */

/* Bytes that the backend reads for one sentence alone, by formula. */
struct translate_reading {
    double step, screen, encoder; /* bytes for a target token: W_hh and an input's row; the projection; the encoder's */
    size_t again;                 /* bytes read again at every step, which caches may hold */
};

static struct translate_reading bench_translate_reading(const struct decoding *decoding)
{
    const struct model_shape *shape = &decoding->model->shape;
    struct backend *backend = decoding->model->backend;
    const struct rows *rows = &decoding->data.rows;
    double recurrent = (double)shape->G * (double)shape->H * sizeof(float), row = (double)shape->G * sizeof(float);
    double steps = (double)rows->count * batch_padding(decoding->config);
    for (size_t r = 0; steps == 0 && r < rows->count; r++)
        steps += rows->src_lengths[r];
    double screen = (double)backend->op->decode->projection_bytes(backend, decoding->decoder.shorter.projection);
    return (struct translate_reading){.step = recurrent + row,
                                      .screen = screen,
                                      .encoder = (recurrent + row) * steps / (double)decoding->data.tgt_tokens,
                                      .again = (size_t)(recurrent + screen)};
}

struct translate_sweep {
    struct backend *backend;
    const void *memory;
    size_t bytes;
};

static bool bench_translate_sweep(void *context, struct err *err)
{
    const struct translate_sweep *sweep = context;
    (void)err;
    sweep->backend->op->measure->sweep(sweep->backend, sweep->memory, sweep->bytes);
    return true;
}

/* Bytes read for a target token, and the share of the speed at which the same threads only read a buffer of the size
 * that each step reads again. */
static bool bench_translate_bandwidth(struct bench *bench, const struct decoding *decoding, double tokens_per_s,
                                      struct err *err)
{
    struct backend *backend = decoding->model->backend;
    if (backend->op->measure == NULL || decoding->decoder.shorter.projection == NULL)
        return true;
    struct translate_reading reading = bench_translate_reading(decoding);
    struct translate_sweep sweep = {.backend = backend, .bytes = reading.again / 512 * 512};
    struct work work = {.run = bench_translate_sweep, .context = &sweep};
    struct timing timing;
    void *memory = backend->op->alloc(backend, sweep.bytes, err);
    sweep.memory = memory;
    bool ok = memory != NULL && bench_time(&work, bench->config.bench_seconds / 4, &timing, err);
    if (memory != NULL)
        backend->op->free(backend, memory);
    if (!ok)
        return false;
    double bytes = reading.step + reading.screen + reading.encoder, reached = bytes * tokens_per_s / 1e9;
    double swept = (double)sweep.bytes / timing.median / 1e6;
    struct buffer *out = &bench->out;
    if (bench->config.output_json) {
        buffer_text(out, ", \"one_sentence\": {");
        json_print_number(out, "bytes_per_token", bytes);
        json_print_number(out, "step_bytes", reading.step);
        json_print_number(out, "projection_bytes", reading.screen);
        json_print_number(out, "encoder_bytes", reading.encoder);
        json_print_number(out, "gb_per_s", reached);
        json_print_number(out, "sweep_bytes", (double)sweep.bytes);
        json_print_number(out, "sweep_gb_per_s", swept);
        json_print_number(out, "share", reached / swept);
        buffer_text(out, "}");
    } else {
        buffer_format(out,
                      "\n  one sentence, MB read for a target token:\n"
                      "    step %.2f (G (H + 1) floats) + projection %.2f\n"
                      "    + encoder %.2f (a step for each source position) = %.2f\n"
                      "  %.1f GB/s, %.0f %% of the %.1f GB/s at which the same threads\n"
                      "  only read %.2f MB, as much as each step reads again\n",
                      reading.step / 1e6, reading.screen / 1e6, reading.encoder / 1e6, bytes / 1e6, reached,
                      100 * reached / swept, swept, (double)sweep.bytes / 1e6);
    }
    return true;
}

static bool bench_translate_sizes(struct bench *bench, struct decoding *decoding, struct err *err)
{
    size_t largest = (size_t)bench->config.translate_batch;
    const size_t sizes[] = {ONE, SOME, largest};
    double mean = (double)decoding->data.tgt_tokens / decoding->data.rows.count;
    bool json = bench->config.output_json, first = true;
    double alone = 0;
    if (json) {
        buffer_format(&bench->out, "\"translate\": {\"pairs\": %u", decoding->data.rows.count);
        json_print_number(&bench->out, "tgt_tokens_mean", mean);
        buffer_text(&bench->out, ", \"batches\": [");
    } else {
        buffer_format(&bench->out,
                      "translate: %u %s pairs, %.2f target tokens each, %s weights\n\n  %10s %16s %18s %16s\n",
                      decoding->data.rows.count, bench->config.data_pairs[0] != '\0' ? "given" : "drawn", mean,
                      bench->config.translate_model[0] != '\0' ? "the checkpoint's" : "untrained", "batch",
                      "sentences/s", "target tokens/s", "ms a sentence");
    }
    for (int i = 0; i < 3; i++) {
        struct speed speed;
        if (i < 2 && sizes[i] >= largest)
            continue;
        if (!bench_translate_measure(decoding, sizes[i], bench->config.bench_seconds, &speed, err))
            return false;
        bench_translate_print(bench, sizes[i], &speed, first);
        if (sizes[i] == ONE)
            alone = (double)speed.tokens * 1e9 / (double)speed.ns;
        first = false;
    }
    buffer_text(&bench->out, json ? "]" : "");
    bool ok = alone <= 0 || bench_translate_bandwidth(bench, decoding, alone, err);
    buffer_text(&bench->out, json ? "}" : "");
    return ok;
}

/* The model of --model, or an untrained one. */
static bool bench_translate_open_model(struct decoding *decoding, const struct bench *bench, struct err *err)
{
    if (bench->config.translate_model[0] != '\0') {
        if (!translator_open(&decoding->translator, &bench->config, err))
            return false;
        decoding->model = decoding->translator.model;
        decoding->config = &decoding->translator.config;
        return true;
    }
    decoding->config = &bench->config;
    decoding->model = decoding->own = model_new(bench->backend, &bench->config, bench_src_vocab(&bench->config),
                                                bench_tgt_vocab(&bench->config), err);
    return decoding->own != NULL && model_init(decoding->own, (uint64_t)bench->config.train_seed, err);
}

static bool bench_translate_open_data(struct decoding *decoding, const struct bench *bench, struct err *err)
{
    bool given = bench->config.data_pairs[0] != '\0' || bench->config.data_src[0] != '\0';
    bool ok = given ? bench_data_read(&decoding->data, &decoding->translator, &bench->config, err)
                    : bench_data_draw(&decoding->data, decoding->config, decoding->model->shape.src_vocab,
                                      decoding->model->shape.tgt_vocab, PAIRS, err);
    if (!ok || !bench_data_sort(&decoding->data, err))
        return false;
    size_t rows = decoding->data.rows.count;
    decoding->limit = (int)decoding->config->data_length;
    decoding->ids = malloc(rows * (size_t)decoding->limit * sizeof *decoding->ids);
    decoding->lengths = malloc(rows * sizeof *decoding->lengths);
    decoding->order = malloc(rows * sizeof *decoding->order);
    return (decoding->ids != NULL && decoding->lengths != NULL && decoding->order != NULL) ||
           err_set(err, ERR_MEMORY, "no memory to decode %zu pairs", rows);
}

bool bench_translate(struct bench *bench, struct err *err)
{
    struct decoding decoding = {0};
    bool ok = bench_translate_open_model(&decoding, bench, err) && bench_translate_open_data(&decoding, bench, err);
    if (ok) {
        decoding.batch.backend = decoding.model->backend;
        decoding.decoder = (struct decoder){.model = decoding.model, .network = {.model = decoding.model}};
        ok = decoder_pack(&decoding.decoder, err) && bench_translate_sizes(bench, &decoding, err);
        decoder_free(&decoding.decoder);
        batch_free(&decoding.batch);
    }
    free(decoding.ids);
    free(decoding.lengths);
    free(decoding.order);
    bench_data_free(&decoding.data);
    model_destroy(&decoding.own);
    translator_close(&decoding.translator);
    return ok;
}
