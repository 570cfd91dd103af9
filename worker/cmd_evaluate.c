/* `lstmq evaluate`: how good a checkpoint is on a file of pairs.
 *
 * Loss, perplexity and token accuracy with the reference as the decoder's input, over real target positions; BLEU and
 * chrF of greedy translations against the references as they are written, as sacreBLEU's command scores the same files.
 * The figures against the references normalised as in training stand beside them. */
#include "proto/text/bleu.h"
#include "proto/text/pairs.h"
#include "worker/commands.h"
#include "worker/translator.h"

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
    size_t pairs, cut, unknown;
};

/* One batch of pairs as rows, and room for their translations. */
struct block {
    uint16_t *src_lengths, *tgt_lengths, *ids, *out, *out_lengths;
};

static bool s_block_open(struct block *block, size_t rows, size_t length, size_t limit, struct err *err)
{
    *block = (struct block){
        .src_lengths = malloc(rows * sizeof(uint16_t)),
        .tgt_lengths = malloc(rows * sizeof(uint16_t)),
        .ids = malloc(rows * 2 * length * sizeof(uint16_t)),
        .out = malloc(rows * limit * sizeof(uint16_t)),
        .out_lengths = malloc(rows * sizeof(uint16_t)),
    };
    return (block->src_lengths != NULL && block->tgt_lengths != NULL && block->ids != NULL && block->out != NULL &&
            block->out_lengths != NULL) ||
           err_set(err, ERR_MEMORY, "no memory for batches of %zu pairs", rows);
}

static void s_block_free(struct block *block)
{
    free(block->src_lengths);
    free(block->tgt_lengths);
    free(block->ids);
    free(block->out);
    free(block->out_lengths);
}

/* Encode pairs first..first+count-1 as training does. Returns the ids written. */
static size_t s_encode(const struct translator *translator, const struct pairs *pairs, size_t first, size_t count,
                       struct block *block, struct scores *scores)
{
    const struct checkpoint *checkpoint = &translator->checkpoint;
    size_t length = (size_t)translator->config.data_length, used = 0;
    for (size_t i = 0; i < count; i++) {
        const struct pair *pair = &pairs->items[first + i];
        const char *src = pairs->text.data + pair->src, *tgt = pairs->text.data + pair->tgt;
        size_t src_full, tgt_full, unknown;
        size_t n = vocab_encode(checkpoint->src, src, pair->src_size, length, block->ids + used, &src_full, &unknown);
        scores->unknown += unknown;
        block->src_lengths[i] = (uint16_t)n;
        used += n;
        n = vocab_encode(checkpoint->tgt, tgt, pair->tgt_size, length, block->ids + used, &tgt_full, &unknown);
        if (!translator->config.data_target_start) {
            n--;
            memmove(block->ids + used, block->ids + used + 1, n * sizeof *block->ids);
        }
        block->tgt_lengths[i] = (uint16_t)n;
        used += n;
        scores->cut += src_full > length || tgt_full > length;
    }
    return used;
}

static bool s_score_texts(const struct translator *translator, const struct pairs *pairs, size_t first, size_t count,
                          const struct block *block, bool print, struct scores *scores, struct err *err)
{
    struct buffer text = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < count; i++) {
        const char *raw = pairs->raw.data + pairs->items[first + i].raw;
        const char *normalised = pairs->text.data + pairs->items[first + i].tgt;
        buffer_clear(&text);
        vocab_decode(translator->checkpoint.tgt, block->out + i * (size_t)translator->limit, block->out_lengths[i],
                     &text);
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

static bool s_score_block(struct translator *translator, struct network *network, const struct pairs *pairs,
                          size_t first, size_t count, struct block *block, bool print, struct scores *scores,
                          struct err *err)
{
    size_t ids = s_encode(translator, pairs, first, count, block, scores);
    struct rows rows = {.count = (uint32_t)count,
                        .src_lengths = block->src_lengths,
                        .tgt_lengths = block->tgt_lengths,
                        .ids = block->ids,
                        .id_count = ids};
    const struct model_shape *shape = &translator->model->shape;
    struct network_result loss;
    struct decode_result decoded = {.ids = block->out, .lengths = block->out_lengths};
    if (!batch_pack(&translator->batch, &rows, 0, rows.count, 0, batch_padding(&translator->config), shape->src_vocab,
                    shape->tgt_vocab, err) ||
        !network_run(network, &translator->batch, NULL, false, &loss, err) ||
        !decode_greedy(&translator->decoder, &translator->batch, translator->limit, false, &decoded, err))
        return false;
    scores->loss_sum += loss.loss_sum;
    scores->tokens += loss.tokens;
    scores->correct += loss.correct;
    return s_score_texts(translator, pairs, first, count, block, print, scores, err);
}

static bool s_score(struct translator *translator, const struct pairs *pairs, bool print, struct scores *scores,
                    struct err *err)
{
    size_t batch = (size_t)translator->config.translate_batch;
    struct network network = {.model = translator->model};
    struct block block;
    bool ok = s_block_open(&block, batch, (size_t)translator->config.data_length, (size_t)translator->limit, err);
    for (size_t first = 0; ok && first < pairs->count; first += batch) {
        size_t count = pairs->count - first < batch ? pairs->count - first : batch;
        ok = s_score_block(translator, &network, pairs, first, count, &block, print, scores, err);
    }
    scores->pairs = pairs->count;
    s_block_free(&block);
    network_free(&network);
    return ok;
}

/* JSON has no infinity and no NAN: null stands for both. */
static void s_print_number(const char *key, double value)
{
    if (isfinite(value))
        printf(", \"%s\": %.17g", key, value);
    else
        printf(", \"%s\": null", key);
}

static void s_print(const struct scores *scores, const char *model, bool json)
{
    double loss = scores->loss_sum / (double)scores->tokens,
           accuracy = (double)scores->correct / (double)scores->tokens;
    double bleu = bleu_score(&scores->bleu), chrf = chrf_score(&scores->chrf);
    double bleu_normalised = bleu_score(&scores->bleu_normalised),
           chrf_normalised = chrf_score(&scores->chrf_normalised);
    if (json) {
        printf("{\"pairs\": %zu, \"tgt_tokens\": %" PRIu64, scores->pairs, scores->tokens);
        s_print_number("loss", loss);
        s_print_number("perplexity", exp(loss));
        s_print_number("token_accuracy", accuracy);
        s_print_number("bleu", bleu);
        s_print_number("bleu_normalised", bleu_normalised);
        printf(", \"bleu_signature\": \"%s\"", bleu_signature());
        s_print_number("chrf", chrf);
        s_print_number("chrf_normalised", chrf_normalised);
        printf(", \"chrf_signature\": \"%s\", \"cut_pairs\": %zu, \"unknown_words\": %zu}\n", chrf_signature(),
               scores->cut, scores->unknown);
        return;
    }
    printf("model           %s\n", model);
    printf("pairs           %zu (%" PRIu64 " target tokens)\n", scores->pairs, scores->tokens);
    printf("loss            %.4f for each token\n", loss);
    printf("perplexity      %.2f\n", exp(loss));
    printf("token accuracy  %.2f %%\n", 100.0 * accuracy);
    printf("BLEU            %.2f  %s\n", bleu, bleu_signature());
    printf("chrF2           %.2f  %s\n", chrf, chrf_signature());
    printf("normalised      BLEU %.2f, chrF2 %.2f (references normalised as in training)\n", bleu_normalised,
           chrf_normalised);
    printf("unknown words   %zu in the sources\n", scores->unknown);
    if (scores->cut > 0)
        printf("cut             %zu pairs were longer than the model's length\n", scores->cut);
}

bool cmd_evaluate(const struct command *self, int argc, char **argv, struct err *err)
{
    struct config config;
    struct translator translator;
    int words;
    bool done;
    if (!command_config(self, argc, argv, &config, &words, &done, err))
        return false;
    if (done)
        return true;
    if (!translator_open(&translator, &config, err))
        return false;
    struct pairs pairs = {0};
    struct pairs_source source = {
        .pairs = config.data_pairs,
        .src = config.data_src,
        .tgt = config.data_tgt,
        .rule = (enum normalise)translator.config.data_normalise,
        .on_bad_line = (enum on_bad_line)config.data_on_bad_line,
        .min_tokens = 1,
        .max_tokens = SIZE_MAX,
        .keep_raw = true,
    };
    struct scores scores = {0};
    bool ok =
        pairs_read(&pairs, &source, err) && s_score(&translator, &pairs, config.output_translations, &scores, err);
    if (ok && pairs.bad > 0)
        fprintf(stderr, "%" PRIu64 " bad lines were skipped\n", pairs.bad);
    if (ok && pairs.dropped > 0)
        fprintf(stderr, "%" PRIu64 " pairs with an empty side were left out\n", pairs.dropped);
    if (ok)
        s_print(&scores, translator.checkpoint.path, config.output_json);
    pairs_free(&pairs);
    translator_close(&translator);
    return ok;
}
