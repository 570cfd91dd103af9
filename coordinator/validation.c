/* validation.c - requests and scores of an epoch's end; see validation.h. */
#include "coordinator/validation.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

bool validation_open(struct validation *validation, const struct config *config, const struct dataset *dataset,
                     struct samples *samples, struct err *err)
{
    uint32_t batch = (uint32_t)config->train_batch;
    *validation = (struct validation){.config = config, .dataset = dataset, .samples = samples};
    validation->batches = dataset->valid / batch + (dataset->valid % batch != 0);
    validation->requests = validation->batches + (samples->count > 0);
    validation->scores = calloc((size_t)validation->batches + 1, sizeof *validation->scores);
    if (validation->scores == NULL)
        return err_set(err, ERR_MEMORY, "no memory for %u validation scores", validation->batches);
    return true;
}

void validation_close(struct validation *validation)
{
    free(validation->scores);
    buffer_free(&validation->text);
    packing_free(&validation->packing);
    *validation = (struct validation){0};
}

void validation_begin(struct validation *validation)
{
    validation->first_request += validation->requests;
    validation->sent = 0;
    validation->answered = 0;
    validation->samples_there = false;
    validation->bleu = (struct bleu){0};
    for (uint32_t i = 0; i < validation->batches; i++)
        validation->scores[i] = (struct validation_score){0};
}

static uint32_t s_batch_rows(const struct validation *validation, uint32_t batch)
{
    uint32_t size = (uint32_t)validation->config->train_batch;
    uint32_t left = validation->dataset->valid - batch * size;
    return left < size ? left : size;
}

static bool s_pack_batch(struct validation *validation, uint32_t batch, struct err *err)
{
    const struct dataset *dataset = validation->dataset;
    uint32_t first = dataset->train + batch * (uint32_t)validation->config->train_batch;
    uint32_t count = s_batch_rows(validation, batch);
    packing_clear(&validation->packing);
    for (uint32_t row = first; row < first + count; row++)
        if (!packing_add(&validation->packing, dataset_ids(dataset, row), dataset->rows[row].src_length,
                         dataset->rows[row].tgt_length, err))
            return false;
    return true;
}

void validation_again(struct validation *validation)
{
    validation->sent = 0;
}

void validation_unsent(struct validation *validation)
{
    validation->sent--;
}

static bool s_is_there(const struct validation *validation, uint32_t index)
{
    return index < validation->batches ? validation->scores[index].there : validation->samples_there;
}

bool validation_next(struct validation *validation, struct validate *request, bool *more, struct err *err)
{
    while (validation->sent < validation->requests && s_is_there(validation, validation->sent))
        validation->sent++;
    *more = validation->sent < validation->requests;
    if (!*more)
        return true;
    uint32_t index = validation->sent;
    *request = (struct validate){.request = validation->first_request + index, .what = VALIDATE_TRANSLATE};
    if (index < validation->batches) {
        request->what = VALIDATE_FORCED;
        if (validation->config->train_valid_decode == VALID_FREE)
            request->what |= VALIDATE_FREE;
        if (validation->config->train_bleu)
            request->what |= VALIDATE_TRANSLATE;
        if (!s_pack_batch(validation, index, err))
            return false;
        request->rows = packing_rows(&validation->packing);
    } else {
        request->rows = packing_rows(&validation->samples->rows);
    }
    validation->sent++;
    return true;
}

static bool s_check_translations(const struct scored *scored, uint32_t rows, const struct vocab *vocab, struct err *err)
{
    size_t ids = 0;
    if (scored->rows != rows)
        return err_set(err, ERR_PROTOCOL, "SCORED has %u translations of %u rows", scored->rows, rows);
    for (uint32_t i = 0; i < rows; i++)
        ids += scored->lengths[i];
    if (ids != scored->id_count)
        return err_set(err, ERR_PROTOCOL, "SCORED has %zu ids where its lengths say %zu", scored->id_count, ids);
    for (size_t i = 0; i < scored->id_count; i++)
        if (scored->ids[i] >= vocab_size(vocab))
            return err_set(err, ERR_PROTOCOL, "SCORED has id %u, beyond the vocabulary", (unsigned)scored->ids[i]);
    return true;
}

static bool s_score_bleu(struct validation *validation, uint32_t batch, const struct scored *scored, struct err *err)
{
    const uint16_t *ids = scored->ids;
    uint32_t first = batch * (uint32_t)validation->config->train_batch;
    for (uint32_t i = 0; i < scored->rows; ids += scored->lengths[i++]) {
        buffer_clear(&validation->text);
        vocab_decode(validation->dataset->tgt, ids, scored->lengths[i], &validation->text);
        buffer_append(&validation->text, "", 0);
        if (!buffer_ok(&validation->text, err) ||
            !bleu_add(&validation->bleu, validation->text.data, dataset_reference(validation->dataset, first + i), err))
            return false;
    }
    return true;
}

static bool s_take_samples(struct validation *validation, const struct scored *scored, struct err *err)
{
    const uint16_t *ids = scored->ids;
    for (uint32_t i = 0; i < scored->rows; ids += scored->lengths[i++])
        if (!samples_translated(validation->samples, i, validation->dataset->tgt, ids, scored->lengths[i], err))
            return false;
    return true;
}

bool validation_scored(struct validation *validation, const struct scored *scored, struct err *err)
{
    uint64_t index = scored->request - validation->first_request;
    if (scored->request < validation->first_request || index >= validation->sent ||
        s_is_there(validation, (uint32_t)index))
        return err_set(err, ERR_PROTOCOL, "SCORED answers request %" PRIu64 ", which is not open", scored->request);
    bool is_batch = index < validation->batches;
    uint32_t rows = is_batch ? s_batch_rows(validation, (uint32_t)index) : validation->samples->rows.count;
    bool translated = !is_batch || validation->config->train_bleu;
    if (!s_check_translations(scored, translated ? rows : 0, validation->dataset->tgt, err))
        return false;
    if (is_batch && scored->tokens == 0)
        return err_set(err, ERR_PROTOCOL, "SCORED counts no tokens in %u rows", rows);
    validation->answered++;
    if (!is_batch) {
        validation->samples_there = true;
        return s_take_samples(validation, scored, err);
    }
    validation->scores[index] = (struct validation_score){.there = true,
                                                          .tokens = scored->tokens,
                                                          .forced_loss_sum = scored->forced_loss_sum,
                                                          .free_loss_sum = scored->free_loss_sum,
                                                          .forced_correct = scored->forced_correct,
                                                          .free_correct = scored->free_correct};
    return !translated || s_score_bleu(validation, (uint32_t)index, scored, err);
}

bool validation_done(const struct validation *validation)
{
    return validation->answered == validation->requests;
}

void validation_record(const struct validation *validation, struct epoch_record *record)
{
    const struct config *config = validation->config;
    bool free_run = config->train_valid_decode == VALID_FREE;
    double batches = (double)validation->batches;
    double tokens = 0, forced = 0, loss = 0, correct = 0, mean_loss = 0, mean_acc = 0;
    for (uint32_t i = 0; i < validation->batches; i++) {
        const struct validation_score *score = &validation->scores[i];
        double batch_loss = free_run ? score->free_loss_sum : score->forced_loss_sum;
        double batch_correct = (double)(free_run ? score->free_correct : score->forced_correct);
        tokens += (double)score->tokens;
        forced += score->forced_loss_sum;
        loss += batch_loss;
        correct += batch_correct;
        mean_loss += batch_loss / (double)score->tokens;
        mean_acc += batch_correct / (double)score->tokens;
    }
    record->val_loss = record->val_acc = record->val_tf_loss = record->bleu = NAN;
    if (validation->batches == 0)
        return;
    bool by_batch = config->train_loss_mean == MEAN_BATCH;
    record->val_loss = by_batch ? mean_loss / batches : loss / tokens;
    record->val_acc = by_batch ? mean_acc / batches : correct / tokens;
    record->val_tf_loss = forced / tokens;
    if (config->train_bleu)
        record->bleu = bleu_score(&validation->bleu);
}
