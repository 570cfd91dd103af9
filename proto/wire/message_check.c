/* message_check.c - the rules for a message's values, for both directions. */
#include "proto/wire/message_pack.h"
#include "proto/wire/message_table.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static bool message_text_allowed(const struct field *field, const struct text *text, struct err *err)
{
    if (text->size < field->least || text->size > field->most)
        return err_set(err, ERR_PROTOCOL, "field %s: %zu bytes are not %" PRIu64 "..%" PRIu64, field->name, text->size,
                       field->least, field->most);
    const uint8_t *bytes = (const uint8_t *)text->data;
    for (size_t at = 0; at < text->size;) {
        size_t length = pack_character(bytes + at, text->size - at);
        if (length == 0)
            return err_set(err, ERR_PROTOCOL, "field %s: not UTF-8", field->name);
        bool control = field->kind == FIELD_LINE && (bytes[at] < 0x20 || bytes[at] == 0x7f);
        if (control || bytes[at] == 0)
            return err_set(err, ERR_PROTOCOL, "field %s: holds the control character 0x%02x", field->name, bytes[at]);
        at += length;
    }
    return true;
}

static bool message_field_allowed(const struct message *message, const struct field *field, struct err *err)
{
    const void *place = (const char *)message + field->offset;
    if (field->kind == FIELD_LINE || field->kind == FIELD_TEXT)
        return message_text_allowed(field, place, err);
    if (field->kind == FIELD_REAL) {
        double real;
        memcpy(&real, place, sizeof real);
        return isfinite(real) || err_set(err, ERR_PROTOCOL, "field %s: not a finite number", field->name);
    }
    uint64_t value = message_field_get(message, field);
    if (value < field->least)
        return err_set(err, ERR_PROTOCOL, "field %s: %" PRIu64 " is below %" PRIu64, field->name, value, field->least);
    if (value > field->most)
        return err_set(err, ERR_PROTOCOL, "field %s: %" PRIu64 " is above %" PRIu64, field->name, value, field->most);
    return true;
}

/* Lengths of `count` rows, each least..ROW_LENGTH, added to *sum. */
static bool message_lengths_allowed(const char *name, const uint16_t *lengths, uint32_t count, unsigned least,
                                    uint64_t *sum, struct err *err)
{
    for (uint32_t row = 0; row < count; row++) {
        if (lengths[row] < least || lengths[row] > ROW_LENGTH)
            return err_set(err, ERR_PROTOCOL, "frame %s: row %u: %u is not %u..%d", name, row, lengths[row], least,
                           ROW_LENGTH);
        *sum += lengths[row];
    }
    return true;
}

static bool message_ids_add_up(uint64_t sum, size_t id_count, struct err *err)
{
    if (sum != id_count)
        return err_set(err, ERR_PROTOCOL, "field id_count: %zu is not the sum of the lengths, %" PRIu64, id_count, sum);
    return true;
}

static bool message_rows_allowed(const struct rows *rows, struct err *err)
{
    uint64_t sum = 0;
    return message_lengths_allowed("src_lengths", rows->src_lengths, rows->count, 1, &sum, err) &&
           message_lengths_allowed("tgt_lengths", rows->tgt_lengths, rows->count, 1, &sum, err) &&
           message_ids_add_up(sum, rows->id_count, err);
}

static bool message_shards_allowed(const struct span *span, struct err *err)
{
    uint64_t rows = 0;
    for (uint32_t i = 0; i < span->shard_count; i++) {
        const struct span_shard *shard = &span->shards[i], *before = i > 0 ? shard - 1 : NULL;
        if (shard->step >= span->steps)
            return err_set(err, ERR_PROTOCOL, "frame shards: entry %u: step %u is not below %u", i, shard->step,
                           span->steps);
        if (shard->shard >= SHARDS_MOST)
            return err_set(err, ERR_PROTOCOL, "frame shards: entry %u: shard %u is not below %d", i, shard->shard,
                           SHARDS_MOST);
        bool later = before == NULL || shard->step > before->step ||
                     (shard->step == before->step && shard->shard > before->shard);
        if (!later)
            return err_set(err, ERR_PROTOCOL, "frame shards: entry %u: not after the one before it", i);
        rows += shard->rows;
    }
    if (rows != span->rows.count)
        return err_set(err, ERR_PROTOCOL, "field row_count: %u is not the sum of the shards' rows, %" PRIu64,
                       span->rows.count, rows);
    return true;
}

static bool message_steps_allowed(const struct span *span, struct err *err)
{
    uint64_t distinct = 0;
    for (uint32_t step = 0; step < span->steps; step++) {
        if (span->of[step].tokens == 0)
            return err_set(err, ERR_PROTOCOL, "frame of: step %u: a batch has at least one token", step);
        distinct += (uint64_t)span->of[step].src_distinct + span->of[step].tgt_distinct;
    }
    if (distinct != span->distinct_count)
        return err_set(err, ERR_PROTOCOL, "field distinct_count: %zu is not the sum of the steps', %" PRIu64,
                       span->distinct_count, distinct);
    return true;
}

/* A side's distinct ids rise, so none is repeated. */
static bool message_distinct_allowed(const struct span *span, struct err *err)
{
    size_t at = 0;
    for (uint32_t side = 0; side < 2 * span->steps; side++) {
        const struct span_step *of = &span->of[side / 2];
        uint32_t count = side % 2 == 0 ? of->src_distinct : of->tgt_distinct;
        for (size_t i = at + 1; i < at + count; i++)
            if (span->distinct[i] <= span->distinct[i - 1])
                return err_set(err, ERR_PROTOCOL, "frame distinct: step %u: %u does not rise above %u", side / 2,
                               span->distinct[i], span->distinct[i - 1]);
        at += count;
    }
    return true;
}

static bool message_span_allowed(const struct span *span, struct err *err)
{
    return message_steps_allowed(span, err) && message_distinct_allowed(span, err) &&
           message_shards_allowed(span, err) && message_rows_allowed(&span->rows, err);
}

static bool message_results_allowed(const struct step_result *results, uint32_t steps, struct err *err)
{
    for (uint32_t step = 0; step < steps; step++) {
        const struct step_result *result = &results[step];
        if (!isfinite(result->loss_sum))
            return err_set(err, ERR_PROTOCOL, "frame results: step %u: loss_sum is not a finite number", step);
        if (!isfinite(result->grad_norm) || result->grad_norm < 0)
            return err_set(err, ERR_PROTOCOL, "frame results: step %u: grad_norm is not a finite number from 0 up",
                           step);
        if (result->correct > result->tokens)
            return err_set(err, ERR_PROTOCOL, "frame results: step %u: %u correct of %u tokens", step, result->correct,
                           result->tokens);
    }
    return true;
}

static bool message_scored_allowed(const struct scored *scored, struct err *err)
{
    if (scored->forced_correct > scored->tokens)
        return err_set(err, ERR_PROTOCOL, "field forced_correct: %" PRIu64 " is above tokens", scored->forced_correct);
    if (scored->free_correct > scored->tokens)
        return err_set(err, ERR_PROTOCOL, "field free_correct: %" PRIu64 " is above tokens", scored->free_correct);
    uint64_t sum = 0;
    return message_lengths_allowed("lengths", scored->lengths, scored->rows, 0, &sum, err) &&
           message_ids_add_up(sum, scored->id_count, err);
}

static bool message_state_allowed(const struct state *state, struct err *err)
{
    if (state->offset > state->total || state->size > state->total - state->offset)
        return err_set(err, ERR_PROTOCOL, "field size: %zu bytes at %" PRIu64 " end after %" PRIu64, state->size,
                       state->offset, state->total);
    return true;
}

static bool message_generation_allowed(const struct generation *generation, struct err *err)
{
    if (generation->rank >= generation->size)
        return err_set(err, ERR_PROTOCOL, "field rank: %u is not below size, %u", generation->rank, generation->size);
    if (generation->root >= generation->size)
        return err_set(err, ERR_PROTOCOL, "field root: %u is not below size, %u", generation->root, generation->size);
    if (generation->source == SOURCE_PEER && (!generation->broadcast || generation->root == generation->rank))
        return err_set(err, ERR_PROTOCOL, "field source: the state of a peer, but no peer sends it");
    return true;
}

/* UTF-8 that may hold every character. */
static bool message_utf8_allowed(const char *frame, const char *bytes, size_t size, uint32_t item, struct err *err)
{
    for (size_t at = 0; at < size;) {
        size_t length = pack_character((const uint8_t *)bytes + at, size - at);
        if (length == 0)
            return err_set(err, ERR_PROTOCOL, "frame %s: entry %u: not UTF-8 at byte %zu", frame, item, at);
        at += length;
    }
    return true;
}

static bool message_texts_allowed(const struct texts *texts, struct err *err)
{
    size_t at = 0;
    for (uint32_t i = 0; i < texts->count; i++) {
        if (texts->lengths[i] > texts->size - at)
            return err_set(err, ERR_PROTOCOL, "frame lengths: entry %u: %u is above the %zu bytes that are left", i,
                           texts->lengths[i], texts->size - at);
        if (!message_utf8_allowed("bytes", texts->bytes + at, texts->lengths[i], i, err))
            return false;
        at += texts->lengths[i];
    }
    return at == texts->size ||
           err_set(err, ERR_PROTOCOL, "field size: %zu is not the sum of the lengths, %zu", texts->size, at);
}

/* The hypotheses' texts are those that follow one another in `bytes`. */
static bool message_hypotheses_allowed(const struct answers *answers, struct err *err)
{
    size_t at = 0;
    for (uint32_t i = 0; i < answers->hypothesis_count; i++) {
        const struct hypothesis *of = &answers->hypotheses[i];
        if (of->size > answers->size - at)
            return err_set(err, ERR_PROTOCOL, "frame hypotheses: entry %u: %u is above the %zu bytes that are left", i,
                           of->size, answers->size - at);
        if (!isfinite(of->score))
            return err_set(err, ERR_PROTOCOL, "frame hypotheses: entry %u: the score is not a finite number", i);
        if (!message_utf8_allowed("bytes", answers->bytes + at, of->size, i, err))
            return false;
        at += of->size;
    }
    return at == answers->size ||
           err_set(err, ERR_PROTOCOL, "field size: %zu is not the sum of the hypotheses', %zu", answers->size, at);
}

static bool message_answers_allowed(const struct answers *answers, struct err *err)
{
    uint64_t hypotheses = 0;
    size_t notes = 0;
    for (uint32_t i = 0; i < answers->count; i++) {
        const struct answer *of = &answers->of[i];
        if (of->status > ANSWER_FAILED)
            return err_set(err, ERR_PROTOCOL, "frame answers: entry %u: status %u is above %d", i, of->status,
                           ANSWER_FAILED);
        if ((of->hypotheses > 0) != (of->status == ANSWER_OK) || of->hypotheses > ALTERNATIVES_MOST + 1)
            return err_set(err, ERR_PROTOCOL, "frame answers: entry %u: %u hypotheses with status %u", i,
                           of->hypotheses, of->status);
        if (of->notes > answers->notes_size - notes)
            return err_set(err, ERR_PROTOCOL, "frame answers: entry %u: %u bytes of notes are above the %zu left", i,
                           of->notes, answers->notes_size - notes);
        if (!message_utf8_allowed("notes", answers->notes + notes, of->notes, i, err))
            return false;
        hypotheses += of->hypotheses;
        notes += of->notes;
    }
    if (hypotheses != answers->hypothesis_count)
        return err_set(err, ERR_PROTOCOL, "field hypothesis_count: %u is not the sum of the answers', %" PRIu64,
                       answers->hypothesis_count, hypotheses);
    if (notes != answers->notes_size)
        return err_set(err, ERR_PROTOCOL, "field notes_size: %zu is not the sum of the answers', %zu",
                       answers->notes_size, notes);
    return message_hypotheses_allowed(answers, err);
}

static bool message_piece_allowed(const struct file_piece *piece, struct err *err)
{
    if (piece->offset > piece->total || piece->size > piece->total - piece->offset)
        return err_set(err, ERR_PROTOCOL, "field size: %zu bytes at %" PRIu64 " end after %" PRIu64, piece->size,
                       piece->offset, piece->total);
    return true;
}

/* Results belong to steps that were done. */
static bool message_held_allowed(uint32_t held, uint64_t step, uint32_t steps, struct err *err)
{
    if (steps > (held ? step : 0))
        return err_set(err, ERR_PROTOCOL, "field steps: results of %u steps, of %" PRIu64 " that are held", steps,
                       held ? step : 0);
    return true;
}

/* Rules between fields and bulk frames. */
static bool message_whole_allowed(const struct message *message, struct err *err)
{
    switch (message->type) {
    case MESSAGE_HELLO:
        return message_held_allowed(message->hello.held, message->hello.step, message->hello.steps, err) &&
               message_results_allowed(message->hello.results, message->hello.steps, err);
    case MESSAGE_STOPPED:
        return message_held_allowed(message->stopped.held, message->stopped.step, message->stopped.steps, err) &&
               message_results_allowed(message->stopped.results, message->stopped.steps, err);
    case MESSAGE_GENERATION:
        return message_generation_allowed(&message->generation, err);
    case MESSAGE_STATE:
        return message_state_allowed(&message->state, err);
    case MESSAGE_SPAN:
        return message_span_allowed(&message->span, err);
    case MESSAGE_REPORT:
        return message_results_allowed(message->report.results, message->report.steps, err);
    case MESSAGE_VALIDATE:
        return message_rows_allowed(&message->validate.rows, err);
    case MESSAGE_SCORED:
        return message_scored_allowed(&message->scored, err);
    case MESSAGE_TRANSLATE:
        return message_texts_allowed(&message->translate.texts, err);
    case MESSAGE_BATCH:
        return message_texts_allowed(&message->batch.texts, err);
    case MESSAGE_TRANSLATED:
        return message_answers_allowed(&message->translated.answers, err);
    case MESSAGE_RESULT:
        return message_answers_allowed(&message->result.answers, err);
    case MESSAGE_PIECE:
        return message_piece_allowed(&message->piece, err);
    default:
        return true;
    }
}

bool message_check(const struct message *message, struct err *err)
{
    const struct message_row *row = message_row((uint64_t)message->type);
    if (row == NULL)
        return err_set(err, ERR_PROTOCOL, "message type %d is unknown", (int)message->type);
    bool allowed = true;
    for (size_t i = 0; allowed && i < row->field_count; i++)
        allowed = message_field_allowed(message, &row->fields[i], err);
    allowed = allowed && message_whole_allowed(message, err);
    return allowed || err_context(err, "%s", row->name);
}
