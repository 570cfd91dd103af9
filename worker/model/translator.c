/* translator.c - sentences sorted by length, decoded in batches, put back in order; see translator.h. */
#include "worker/model/translator.h"

#include "proto/store/file.h"
#include "proto/text/normalise.h"

#include <stdlib.h>
#include <string.h>

/* A source sentence as the model sees it. */
struct source {
    size_t index; /* in the caller's list      */
    size_t ids;   /* offset in the list's ids  */
    uint16_t length;
};

/* The sentences of one call of translator_run. Its memory is kept from call to call. */
struct translator_work {
    struct source *sources;
    size_t count, source_capacity;
    uint16_t *ids; /* of all sources                       */
    size_t id_count, id_capacity;
    uint16_t *src_lengths, *tgt_lengths, *row_ids, *out, *out_lengths; /* of one batch */
    bool *ended;
    size_t row_capacity;
    struct buffer text; /* a normalised sentence */
};

static void translator_free_rows(struct translator_work *work)
{
    free(work->src_lengths);
    free(work->tgt_lengths);
    free(work->row_ids);
    free(work->out);
    free(work->out_lengths);
    free(work->ended);
    work->row_capacity = 0;
}

static void translator_work_free(struct translator_work *work)
{
    if (work == NULL)
        return;
    translator_free_rows(work);
    free(work->sources);
    free(work->ids);
    buffer_free(&work->text);
    free(work);
}

static bool translator_reserve_rows(const struct translator *translator, struct translator_work *work, size_t rows)
{
    size_t length = (size_t)translator->config.data_length;
    if (rows <= work->row_capacity)
        return true;
    translator_free_rows(work);
    work->src_lengths = malloc(rows * sizeof *work->src_lengths);
    work->tgt_lengths = malloc(rows * sizeof *work->tgt_lengths);
    work->row_ids = malloc(rows * (length + 1) * sizeof *work->row_ids);
    work->out = malloc(rows * (size_t)translator->limit * sizeof *work->out);
    work->out_lengths = malloc(rows * sizeof *work->out_lengths);
    work->ended = malloc(rows * sizeof *work->ended);
    bool ok = work->src_lengths != NULL && work->tgt_lengths != NULL && work->row_ids != NULL && work->out != NULL &&
              work->out_lengths != NULL && work->ended != NULL;
    work->row_capacity = ok ? rows : 0;
    return ok;
}

static bool translator_reserve_sources(struct translator_work *work, size_t count)
{
    if (count <= work->source_capacity)
        return true;
    free(work->sources);
    work->sources = malloc(count * sizeof *work->sources);
    work->source_capacity = work->sources != NULL ? count : 0;
    return work->sources != NULL;
}

/* Begin a list of `count` sentences. */
static struct translator_work *translator_work_begin(struct translator *translator, size_t count, struct err *err)
{
    size_t batch = (size_t)translator->config.translate_batch;
    if (translator->work == NULL)
        translator->work = calloc(1, sizeof *translator->work);
    struct translator_work *work = translator->work;
    if (work == NULL || !translator_reserve_sources(work, count) ||
        !translator_reserve_rows(translator, work, batch < count ? batch : count)) {
        err_set(err, ERR_MEMORY, "no memory for %zu sentences", count);
        return NULL;
    }
    work->count = work->id_count = 0;
    return work;
}

static bool translator_load(struct translator *translator, struct err *err)
{
    const struct checkpoint *checkpoint = &translator->checkpoint;
    static const char file[] = "model.safetensors";
    bool borrowed;
    if (!checkpoint_map(checkpoint, file, &translator->mapped, &translator->mapped_size, err))
        return false;
    translator->model = model_new_from(translator->backend, &translator->config, (int)vocab_size(checkpoint->src),
                                       (int)vocab_size(checkpoint->tgt), translator->mapped, translator->mapped_size,
                                       file, &borrowed, err);
    if (!borrowed) {
        file_unmap(translator->mapped, translator->mapped_size);
        translator->mapped = NULL;
    }
    return translator->model != NULL || err_context(err, "%s", checkpoint->path);
}

/* The checkpoint is open. */
static bool translator_begin(struct translator *translator, const struct config *command, struct err *err)
{
    translator->config = translator->checkpoint.state.config;
    translator->limit =
        (int)(command->translate_length > 0 ? command->translate_length : translator->config.data_length);
    translator->config.translate_batch = command->translate_batch;
    if (!translator_load(translator, err))
        return false;
    translator->batch.backend = translator->backend;
    translator->decoder.model = translator->decoder.network.model = translator->model;
    return decoder_pack(&translator->decoder, err);
}

bool translator_open(struct translator *translator, const struct config *command, struct err *err)
{
    *translator = (struct translator){0};
    if (command->translate_model[0] == '\0')
        return err_set(err, ERR_USAGE, "no model: give --model RUN_OR_CHECKPOINT");
    if (!checkpoint_open(&translator->checkpoint, command->translate_model, "best", err))
        return false;
    translator->backend =
        backend_open(command->train_device, (int)command->train_threads, (enum precision)command->train_precision, err);
    if (translator->backend != NULL && translator_begin(translator, command, err))
        return true;
    translator_close(translator);
    return false;
}

bool translator_open_at(struct translator *translator, const char *folder, struct backend *backend,
                        const struct config *command, struct err *err)
{
    *translator = (struct translator){.backend = backend};
    backend->op->take_over(backend);
    if (checkpoint_open_model(&translator->checkpoint, folder, "best", err) &&
        translator_begin(translator, command, err))
        return true;
    translator_close(translator);
    return false;
}

void translator_close(struct translator *translator)
{
    if (translator->decoder.model != NULL) {
        decoder_free(&translator->decoder);
        batch_free(&translator->batch);
    }
    model_destroy(&translator->model);
    file_unmap(translator->mapped, translator->mapped_size);
    translator_work_free(translator->work);
    if (translator->backend != NULL)
        backend_close(&translator->backend);
    checkpoint_close(&translator->checkpoint);
}

/* Make space for one more source of `length` ids. */
static uint16_t *translator_reserve_ids(struct translator_work *work, size_t length, struct err *err)
{
    if (work->id_count + length > work->id_capacity) {
        size_t wanted = 2 * work->id_capacity + length;
        uint16_t *ids = realloc(work->ids, wanted * sizeof *ids);
        if (ids == NULL) {
            err_set(err, ERR_MEMORY, "no memory for the sentences' words");
            return NULL;
        }
        work->ids = ids;
        work->id_capacity = wanted;
    }
    return work->ids + work->id_count;
}

static bool translator_encode(const struct translator *translator, const char *sentence, size_t index,
                              struct translator_work *work, struct translation *translation, struct err *err)
{
    struct buffer *text = &work->text;
    size_t length = (size_t)translator->config.data_length, full, unknown;
    buffer_clear(text);
    normalise((enum normalise)translator->config.data_normalise, sentence, strlen(sentence), text);
    if (!buffer_ok(text, err))
        return false;
    *translation = (struct translation){.words = (uint32_t)word_count(text->data, text->size)};
    if (translation->words == 0)
        return true;
    uint16_t *ids = translator_reserve_ids(work, length, err);
    if (ids == NULL)
        return false;
    size_t used = vocab_encode(translator->checkpoint.src, text->data, text->size, length, ids, &full, &unknown);
    /* A cut removes the last words and <eos>; only words count as dropped. */
    translation->dropped = full > used ? (uint32_t)(full - used - 1) : 0;
    translation->unknown = (uint32_t)unknown;
    work->sources[work->count++] = (struct source){.index = index, .ids = work->id_count, .length = (uint16_t)used};
    work->id_count += used;
    return true;
}

static int translator_by_length(const void *a, const void *b)
{
    const struct source *x = a, *y = b;
    if (x->length != y->length)
        return x->length < y->length ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

static bool translator_decode(struct translator *translator, struct translator_work *work, size_t first, size_t count,
                              struct translation *translations, struct buffer *texts, struct err *err)
{
    size_t used = 0, limit = (size_t)translator->limit;
    for (size_t i = 0; i < count; i++) {
        const struct source *source = &work->sources[first + i];
        work->src_lengths[i] = source->length;
        work->tgt_lengths[i] = 1;
        memcpy(work->row_ids + used, work->ids + source->ids, source->length * sizeof *work->ids);
        used += source->length;
        work->row_ids[used++] = ID_EOS; /* a batch needs a target; decoding without references ignores it */
    }
    struct rows rows = {.count = (uint32_t)count,
                        .src_lengths = work->src_lengths,
                        .tgt_lengths = work->tgt_lengths,
                        .ids = work->row_ids,
                        .id_count = used};
    const struct model_shape *shape = &translator->model->shape;
    struct decode_result result = {.ids = work->out, .lengths = work->out_lengths, .ended = work->ended};
    if (!batch_pack(&translator->batch, &rows, batch_padding(&translator->config), shape->src_vocab, shape->tgt_vocab,
                    err) ||
        !decode_greedy(&translator->decoder, &translator->batch, translator->limit, false, &result, err))
        return false;
    for (size_t i = 0; i < count; i++) {
        struct translation *translation = &translations[work->sources[first + i].index];
        translation->unfinished = !work->ended[i];
        translation->tokens = work->out_lengths[i];
        translation->text = (uint32_t)texts->size;
        vocab_decode(translator->checkpoint.tgt, work->out + i * limit, work->out_lengths[i], texts);
        buffer_append(texts, "", 1);
    }
    return true;
}

bool translator_run(struct translator *translator, const char *const *sentences, size_t count,
                    struct translation *translations, struct buffer *texts, struct err *err)
{
    uint32_t empty = (uint32_t)texts->size;
    buffer_append(texts, "", 1);
    if (count == 0)
        return buffer_ok(texts, err);
    struct translator_work *work = translator_work_begin(translator, count, err);
    bool ok = work != NULL;
    for (size_t i = 0; ok && i < count; i++) {
        ok = translator_encode(translator, sentences[i], i, work, &translations[i], err);
        translations[i].text = empty;
    }
    if (ok && work->count > 0)
        qsort(work->sources, work->count, sizeof *work->sources, translator_by_length);
    size_t batch = (size_t)translator->config.translate_batch;
    for (size_t first = 0; ok && first < work->count; first += batch) {
        size_t rows = work->count - first < batch ? work->count - first : batch;
        ok = translator_decode(translator, work, first, rows, translations, texts, err);
    }
    return ok && buffer_ok(texts, err);
}

void translator_removed(const struct translator *translator, const char *sentence, struct buffer *out)
{
    normalise_removed((enum normalise)translator->config.data_normalise, sentence, strlen(sentence), out);
}

void translator_unknown(const struct translator *translator, const char *sentence, struct buffer *out)
{
    struct buffer text = {0};
    normalise((enum normalise)translator->config.data_normalise, sentence, strlen(sentence), &text);
    const char *word = text.data, *end = text.data + text.size;
    size_t size;
    while (text.data != NULL && (size = word_next(&word, end)) > 0) {
        bool known;
        vocab_id(translator->checkpoint.src, word, size, &known);
        if (!known) {
            if (out->size > 0)
                buffer_append(out, " ", 1);
            normalise_show(word, size, out);
        }
        word += size;
    }
    buffer_free(&text);
}
