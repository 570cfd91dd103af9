/* cmd_evaluate.c - `lstmq evaluate`: score a checkpoint on a file of pairs.
 *
 * Loss, perplexity and token accuracy use teacher forcing, over real target positions. BLEU and chrF score greedy
 * translations against the references as written, like sacreBLEU's command on the same files. Scores against references
 * normalised as in training stand beside them. Only pairs with two sides are scored, but each line of the file has its
 * place among the translations. */
#include "proto/base/log.h"
#include "proto/cli/commands.h"
#include "proto/score/bleu.h"
#include "proto/store/json_print.h"
#include "proto/text/pairs.h"
#include "worker/model/translator.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct scores {
    struct bleu bleu, bleu_normalised;
    struct chrf chrf, chrf_normalised;
    double loss_sum;
    uint64_t tokens, correct;
    size_t pairs, left_out; /* scored; not scored, with an empty side */
    size_t bad;             /* skipped lines */
    size_t cut;             /* pairs beyond the model's length */
    size_t unfinished;      /* translations that reached their limit */
    size_t unknown;
};

/* One batch of pairs as rows, and memory for their translations. */
struct evaluate_block {
    uint16_t *src_lengths, *tgt_lengths, *ids, *out, *out_lengths;
    bool *ended;
};

static bool evaluate_block_open(struct evaluate_block *block, size_t rows, size_t length, size_t limit, struct err *err)
{
    *block = (struct evaluate_block){
        .src_lengths = malloc(rows * sizeof(uint16_t)),
        .tgt_lengths = malloc(rows * sizeof(uint16_t)),
        .ids = malloc(rows * 2 * length * sizeof(uint16_t)),
        .out = malloc(rows * limit * sizeof(uint16_t)),
        .out_lengths = malloc(rows * sizeof(uint16_t)),
        .ended = malloc(rows * sizeof(bool)),
    };
    return (block->src_lengths != NULL && block->tgt_lengths != NULL && block->ids != NULL && block->out != NULL &&
            block->out_lengths != NULL && block->ended != NULL) ||
           err_set(err, ERR_MEMORY, "no memory for batches of %zu pairs", rows);
}

static void evaluate_block_free(struct evaluate_block *block)
{
    free(block->src_lengths);
    free(block->tgt_lengths);
    free(block->ids);
    free(block->out);
    free(block->out_lengths);
    free(block->ended);
}

static bool evaluate_is_scored(const struct pair *pair)
{
    return pair->src_size > 0 && pair->tgt_size > 0;
}

/* Encode the scored pairs among first..first+count-1, as training does; their number goes to `rows`. */
static void evaluate_encode(const struct translator *translator, const struct pairs *pairs, size_t first, size_t count,
                            struct evaluate_block *block, struct rows *rows, struct scores *scores)
{
    const struct checkpoint *checkpoint = &translator->checkpoint;
    size_t length = (size_t)translator->config.data_length, used = 0, row = 0;
    for (size_t i = 0; i < count; i++) {
        const struct pair *pair = &pairs->items[first + i];
        if (!evaluate_is_scored(pair))
            continue;
        const char *src = pairs->text.data + pair->src, *tgt = pairs->text.data + pair->tgt;
        size_t src_full, tgt_full, unknown;
        size_t n = vocab_encode(checkpoint->src, src, pair->src_size, length, block->ids + used, &src_full, &unknown);
        scores->unknown += unknown;
        block->src_lengths[row] = (uint16_t)n;
        used += n;
        n = vocab_encode(checkpoint->tgt, tgt, pair->tgt_size, length, block->ids + used, &tgt_full, &unknown);
        if (!translator->config.data_target_start) {
            n--;
            memmove(block->ids + used, block->ids + used + 1, n * sizeof *block->ids);
        }
        block->tgt_lengths[row++] = (uint16_t)n;
        used += n;
        scores->cut += src_full > length || tgt_full > length;
    }
    *rows = (struct rows){.count = (uint32_t)row,
                          .src_lengths = block->src_lengths,
                          .tgt_lengths = block->tgt_lengths,
                          .ids = block->ids,
                          .id_count = used};
}

/* The translation of a pair that is not scored: empty if its source is. */
static bool evaluate_print_unscored(struct translator *translator, const char *source, struct err *err)
{
    struct buffer text = {0};
    struct translation translation;
    bool ok = translator_run(translator, &source, 1, &translation, &text, err);
    if (ok)
        puts(text.data + translation.text);
    buffer_free(&text);
    return ok;
}

static bool evaluate_score_texts(struct translator *translator, const struct pairs *pairs, size_t first, size_t count,
                                 const struct evaluate_block *block, bool print, struct scores *scores, struct err *err)
{
    struct buffer text = {0};
    size_t row = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        if (!evaluate_is_scored(&pairs->items[first + i])) {
            ok = !print || evaluate_print_unscored(translator, pairs->text.data + pairs->items[first + i].src, err);
            continue;
        }
        const char *raw = pairs->raw.data + pairs->items[first + i].raw;
        const char *normalised = pairs->text.data + pairs->items[first + i].tgt;
        buffer_clear(&text);
        vocab_decode(translator->checkpoint.tgt, block->out + row * (size_t)translator->limit, block->out_lengths[row],
                     &text);
        scores->unfinished += !block->ended[row++];
        buffer_append(&text, "", 0);
        ok = buffer_ok(&text, err) && bleu_add(&scores->bleu, text.data, raw, err) &&
             chrf_add(&scores->chrf, text.data, raw, err) &&
             bleu_add(&scores->bleu_normalised, text.data, normalised, err) &&
             chrf_add(&scores->chrf_normalised, text.data, normalised, err);
        if (ok && print)
            puts(text.data);
    }
    buffer_free(&text);
    return ok;
}

static bool evaluate_score_block(struct translator *translator, struct network *network, const struct pairs *pairs,
                                 size_t first, size_t count, struct evaluate_block *block, bool print,
                                 struct scores *scores, struct err *err)
{
    const struct model_shape *shape = &translator->model->shape;
    struct figures loss = {0};
    struct decode_result decoded = {.ids = block->out, .lengths = block->out_lengths, .ended = block->ended};
    struct rows rows;
    evaluate_encode(translator, pairs, first, count, block, &rows, scores);
    if (rows.count > 0 &&
        (!batch_pack(&translator->batch, &rows, batch_padding(&translator->config), shape->src_vocab, shape->tgt_vocab,
                     err) ||
         !network_evaluate(network, &translator->batch, &loss, err) ||
         !decode_greedy(&translator->decoder, &translator->batch, translator->limit, false, &decoded, err)))
        return false;
    scores->pairs += rows.count;
    scores->loss_sum += loss.loss_sum;
    scores->tokens += (uint64_t)loss.tokens;
    scores->correct += (uint64_t)loss.correct;
    return evaluate_score_texts(translator, pairs, first, count, block, print, scores, err);
}

/* Count the pairs that are not scored; fail if none remains. */
static bool evaluate_leave_out(const struct pairs *pairs, const char *path, struct scores *scores, struct err *err)
{
    size_t scored = 0;
    for (size_t i = 0; i < pairs->count; i++)
        scored += evaluate_is_scored(&pairs->items[i]);
    scores->bad = (size_t)pairs->bad;
    scores->left_out = pairs->count - scores->bad - scored;
    return scored > 0 ||
           err_set(err, ERR_DATA,
                   "%s: nothing can be scored: of %" PRIu64 " lines %zu are bad and %zu have an empty side", path,
                   pairs->lines, scores->bad, scores->left_out);
}

static bool evaluate_score(struct translator *translator, const struct pairs *pairs, bool print, struct scores *scores,
                           struct err *err)
{
    size_t batch = (size_t)translator->config.translate_batch;
    struct network network = {.model = translator->model};
    struct evaluate_block block;
    bool ok =
        evaluate_block_open(&block, batch, (size_t)translator->config.data_length, (size_t)translator->limit, err);
    for (size_t first = 0; ok && first < pairs->count; first += batch) {
        size_t count = pairs->count - first < batch ? pairs->count - first : batch;
        ok = evaluate_score_block(translator, &network, pairs, first, count, &block, print, scores, err);
    }
    evaluate_block_free(&block);
    network_free(&network);
    return ok;
}

static void evaluate_format_json(const struct scores *scores, double loss, struct buffer *out)
{
    buffer_format(out, "{\"pairs\": %zu, \"tgt_tokens\": %" PRIu64, scores->pairs, scores->tokens);
    json_print_number(out, "loss", loss);
    json_print_number(out, "perplexity", exp(loss));
    json_print_number(out, "token_accuracy", (double)scores->correct / (double)scores->tokens);
    json_print_number(out, "bleu", bleu_score(&scores->bleu));
    json_print_number(out, "bleu_normalised", bleu_score(&scores->bleu_normalised));
    buffer_format(out, ", \"bleu_signature\": \"%s\"", bleu_signature());
    json_print_number(out, "chrf", chrf_score(&scores->chrf));
    json_print_number(out, "chrf_normalised", chrf_score(&scores->chrf_normalised));
    buffer_format(out, ", \"chrf_signature\": \"%s\", \"cut_pairs\": %zu, \"unknown_words\": %zu", chrf_signature(),
                  scores->cut, scores->unknown);
    buffer_format(out, ", \"pairs_left_out\": %zu, \"bad_lines\": %zu, \"translations_cut\": %zu}\n", scores->left_out,
                  scores->bad, scores->unfinished);
}

static void evaluate_format(const struct scores *scores, double loss, const char *model, struct buffer *out)
{
    buffer_format(out, "model           %s\n", model);
    buffer_format(out, "pairs           %zu (%" PRIu64 " target tokens)\n", scores->pairs, scores->tokens);
    buffer_format(out, "loss            %.4f for each token\n", loss);
    buffer_format(out, "perplexity      %.2f\n", exp(loss));
    buffer_format(out, "token accuracy  %.2f %%\n", 100.0 * (double)scores->correct / (double)scores->tokens);
    buffer_format(out, "BLEU            %.2f  %s\n", bleu_score(&scores->bleu), bleu_signature());
    buffer_format(out, "chrF2           %.2f  %s\n", chrf_score(&scores->chrf), chrf_signature());
    buffer_format(out, "normalised      BLEU %.2f, chrF2 %.2f (references normalised as in training)\n",
                  bleu_score(&scores->bleu_normalised), chrf_score(&scores->chrf_normalised));
    buffer_format(out, "unknown words   %zu in the sources\n", scores->unknown);
    if (scores->left_out > 0)
        buffer_format(out, "left out        %zu pair%s with an empty side\n", scores->left_out,
                      scores->left_out == 1 ? "" : "s");
    if (scores->bad > 0)
        buffer_format(out, "bad lines       %zu were skipped\n", scores->bad);
    if (scores->cut > 0)
        buffer_format(out, "cut             %zu pair%s longer than the model's length\n", scores->cut,
                      scores->cut == 1 ? "" : "s");
    if (scores->unfinished > 0)
        buffer_format(out, "unfinished      %zu translation%s cut at the model's limit\n", scores->unfinished,
                      scores->unfinished == 1 ? "" : "s");
}

static bool evaluate_print(const struct scores *scores, const char *model, bool json, struct err *err)
{
    struct buffer out = {0};
    double loss = scores->loss_sum / (double)scores->tokens;
    if (json)
        evaluate_format_json(scores, loss, &out);
    else
        evaluate_format(scores, loss, model, &out);
    bool ok = command_print(&out, err);
    buffer_free(&out);
    return ok;
}

static void evaluate_warn_loss(const struct pairs_loss *loss, const char *side)
{
    char text[PAIRS_LOSS_TEXT];
    if (loss->count.removed > 0)
        log_say(LOG_WARN, "letters_lost",
                LOG_FIELDS(LOG_TEXT("side", side), LOG_COUNT("removed", loss->count.removed),
                           LOG_COUNT("letters", loss->count.letters), LOG_TEXT("first", loss->first)),
                "%s; a model trained with data.normalise nfc keeps them",
                pairs_loss_show(loss, side, text, sizeof text));
}

static void evaluate_warn(const struct pairs *pairs, const struct scores *scores)
{
    evaluate_warn_loss(&pairs->src_loss, "sources");
    evaluate_warn_loss(&pairs->tgt_loss, "targets");
    if (scores->bad > 0)
        log_say(LOG_WARN, "bad_lines_skipped", LOG_FIELDS(LOG_COUNT("lines", scores->bad)),
                "%zu bad lines were skipped", scores->bad);
    if (scores->left_out > 0)
        log_say(LOG_WARN, "empty_pairs_left_out", LOG_FIELDS(LOG_COUNT("pairs", scores->left_out)),
                "%zu pairs with an empty side were left out", scores->left_out);
}

static bool evaluate_evaluate(struct translator *translator, const struct config *config, struct err *err)
{
    struct pairs pairs = {0};
    struct pairs_source source = {
        .pairs = config->data_pairs,
        .src = config->data_src,
        .tgt = config->data_tgt,
        .rule = (enum normalise)translator->config.data_normalise,
        .on_bad_line = (enum on_bad_line)config->data_on_bad_line,
        .max_tokens = SIZE_MAX,
        .keep_raw = true,
        .keep_places = true,
    };
    struct scores scores = {0};
    const char *path = config->data_pairs[0] != '\0' ? config->data_pairs : config->data_src;
    bool read = pairs_read(&pairs, &source, err), scored = read && evaluate_leave_out(&pairs, path, &scores, err);
    if (read)
        evaluate_warn(&pairs, &scores);
    bool ok = scored && evaluate_score(translator, &pairs, config->output_translations, &scores, err);
    ok = ok && evaluate_print(&scores, translator->checkpoint.path, config->output_json, err);
    pairs_free(&pairs);
    return ok;
}

bool cmd_evaluate(const struct command_call *call, struct err *err)
{
    struct translator translator;
    if (!translator_open(&translator, call->config, err))
        return false;
    bool ok = evaluate_evaluate(&translator, call->config, err);
    translator_close(&translator);
    return ok;
}
