/* validation.c - requests and scores of an epoch's end; see validation.h. */
#include "coordinator/cluster/validation.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>

/* Most bytes of one answer's translations: a third of what a coordinator buffers of a worker's messages (WATCH_ONE). */
enum { TRANSLATIONS_BYTES = 4 << 20 };

static uint32_t validation_share(uint32_t rows, uint32_t each)
{
    return rows / each + (rows % each != 0);
}

bool validation_open(struct validation *validation, const struct config *config, const struct dataset *dataset,
                     struct samples *samples, struct err *err)
{
    uint32_t batch = (uint32_t)config->train_batch;
    *validation = (struct validation){.config = config, .dataset = dataset, .samples = samples};
    uint32_t most = TRANSLATIONS_BYTES / ((uint32_t)config->data_length * (uint32_t)sizeof(uint16_t));
    validation->part_rows = validation_share(batch, validation_share(batch, most));
    validation->batch_parts = validation_share(batch, validation->part_rows);
    validation->parts = dataset->valid / batch * validation->batch_parts +
                        validation_share(dataset->valid % batch, validation->part_rows);
    validation->requests = validation->parts + (samples->count > 0);
    validation->scores = calloc((size_t)validation->parts + 1, sizeof *validation->scores);
    if (validation->scores == NULL)
        return err_set(err, ERR_MEMORY, "no memory for %u validation scores", validation->parts);
    return true;
}

void validation_close(struct validation *validation)
{
    free(validation->scores);
    buffer_free(&validation->text);
    packing_free(&validation->packing);
    *validation = (struct validation){0};
}

void validation_forget(struct validation *validation)
{
    validation->epoch = 0;
}

void validation_begin(struct validation *validation, uint64_t epoch)
{
    validation->epoch = epoch;
    validation->first_request += validation->requests;
    validation->sent = 0;
    validation->answered = 0;
    validation->samples_there = false;
    validation->bleu = validation->normalised = (struct bleu){0};
    for (uint32_t i = 0; i < validation->parts; i++)
        validation->scores[i] = (struct validation_score){0};
}

/* The validation row that a part begins with. */
static uint32_t validation_part_first(const struct validation *validation, uint32_t part)
{
    return part / validation->batch_parts * (uint32_t)validation->config->train_batch +
           part % validation->batch_parts * validation->part_rows;
}

static uint32_t validation_part_rows(const struct validation *validation, uint32_t part)
{
    uint32_t end =
        part + 1 < validation->parts ? validation_part_first(validation, part + 1) : validation->dataset->valid;
    return end - validation_part_first(validation, part);
}

static bool validation_pack_part(struct validation *validation, uint32_t part, struct err *err)
{
    const struct dataset *dataset = validation->dataset;
    uint32_t first = dataset->train + validation_part_first(validation, part);
    uint32_t count = validation_part_rows(validation, part);
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

static bool validation_is_there(const struct validation *validation, uint32_t index)
{
    return index < validation->parts ? validation->scores[index].there : validation->samples_there;
}

bool validation_next(struct validation *validation, struct validate *request, bool *more, struct err *err)
{
    while (validation->sent < validation->requests && validation_is_there(validation, validation->sent))
        validation->sent++;
    *more = validation->sent < validation->requests;
    if (!*more)
        return true;
    uint32_t index = validation->sent;
    *request = (struct validate){.request = validation->first_request + index, .what = VALIDATE_TRANSLATE};
    if (index < validation->parts) {
        request->what = VALIDATE_FORCED;
        if (validation->config->train_valid_decode == VALID_FREE)
            request->what |= VALIDATE_FREE;
        if (validation->config->train_bleu)
            request->what |= VALIDATE_TRANSLATE;
        if (!validation_pack_part(validation, index, err))
            return false;
        request->rows = packing_rows(&validation->packing);
    } else {
        request->rows = packing_rows(&validation->samples->rows);
    }
    validation->sent++;
    return true;
}

static bool validation_check_translations(const struct scored *scored, uint32_t rows, const struct vocab *vocab,
                                          struct err *err)
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

static bool validation_score_bleu(struct validation *validation, uint32_t part, const struct scored *scored,
                                  struct err *err)
{
    const uint16_t *ids = scored->ids;
    uint32_t first = validation_part_first(validation, part);
    for (uint32_t i = 0; i < scored->rows; ids += scored->lengths[i++]) {
        buffer_clear(&validation->text);
        vocab_decode(validation->dataset->tgt, ids, scored->lengths[i], &validation->text);
        buffer_append(&validation->text, "", 0);
        const char *text = validation->text.data;
        if (!buffer_ok(&validation->text, err) ||
            !bleu_add(&validation->bleu, text, dataset_raw_reference(validation->dataset, first + i), err) ||
            !bleu_add(&validation->normalised, text, dataset_reference(validation->dataset, first + i), err))
            return false;
    }
    return true;
}

static bool validation_take_samples(struct validation *validation, const struct scored *scored, struct err *err)
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
        validation_is_there(validation, (uint32_t)index))
        return err_set(err, ERR_PROTOCOL, "SCORED answers request %" PRIu64 ", which is not open", scored->request);
    bool is_part = index < validation->parts;
    uint32_t rows = is_part ? validation_part_rows(validation, (uint32_t)index) : validation->samples->rows.count;
    bool translated = !is_part || validation->config->train_bleu;
    if (!validation_check_translations(scored, translated ? rows : 0, validation->dataset->tgt, err))
        return false;
    if (is_part && scored->tokens == 0)
        return err_set(err, ERR_PROTOCOL, "SCORED counts no tokens in %u rows", rows);
    validation->answered++;
    if (!is_part) {
        validation->samples_there = true;
        return validation_take_samples(validation, scored, err);
    }
    validation->scores[index] = (struct validation_score){.there = true,
                                                          .tokens = scored->tokens,
                                                          .forced_loss_sum = scored->forced_loss_sum,
                                                          .free_loss_sum = scored->free_loss_sum,
                                                          .forced_correct = scored->forced_correct,
                                                          .free_correct = scored->free_correct};
    return !translated || validation_score_bleu(validation, (uint32_t)index, scored, err);
}

bool validation_done(const struct validation *validation)
{
    return validation->answered == validation->requests;
}

/* Of all parts of a batch. */
static struct validation_score validation_batch_score(const struct validation *validation, uint32_t batch)
{
    struct validation_score sum = {0};
    uint32_t first = batch * validation->batch_parts;
    for (uint32_t i = first; i < validation->parts && i < first + validation->batch_parts; i++) {
        const struct validation_score *part = &validation->scores[i];
        sum.tokens += part->tokens;
        sum.forced_loss_sum += part->forced_loss_sum;
        sum.free_loss_sum += part->free_loss_sum;
        sum.forced_correct += part->forced_correct;
        sum.free_correct += part->free_correct;
    }
    return sum;
}

void validation_record(const struct validation *validation, struct epoch_record *record)
{
    const struct config *config = validation->config;
    bool free_run = config->train_valid_decode == VALID_FREE;
    uint32_t batches = validation_share(validation->parts, validation->batch_parts);
    double tokens = 0, forced = 0, loss = 0, correct = 0, mean_loss = 0, mean_acc = 0;
    for (uint32_t i = 0; i < batches; i++) {
        const struct validation_score score = validation_batch_score(validation, i);
        double batch_loss = free_run ? score.free_loss_sum : score.forced_loss_sum;
        double batch_correct = (double)(free_run ? score.free_correct : score.forced_correct);
        tokens += (double)score.tokens;
        forced += score.forced_loss_sum;
        loss += batch_loss;
        correct += batch_correct;
        mean_loss += batch_loss / (double)score.tokens;
        mean_acc += batch_correct / (double)score.tokens;
    }
    record->val_loss = record->val_acc = record->val_tf_loss = record->bleu = record->bleu_normalised = NAN;
    if (batches == 0)
        return;
    bool by_batch = config->train_loss_mean == MEAN_BATCH;
    record->val_loss = by_batch ? mean_loss / batches : loss / tokens;
    record->val_acc = by_batch ? mean_acc / batches : correct / tokens;
    record->val_tf_loss = forced / tokens;
    if (config->train_bleu) {
        record->bleu = bleu_score(&validation->bleu);
        record->bleu_normalised = bleu_score(&validation->normalised);
    }
}
