/* fuzz_passage.c - texts of clients through a translation worker: split, translated by a drawn model, joined.
 *
 * Every text has one answer, UTF-8, with as many line ends as the text. Its sentences have letters and no more words
 * than the model accepts. What lies between them is in the answer, in order, byte for byte. An answer does not depend
 * on the texts beside it. */
#include "tests/fuzz/fuzz.h"

#include "tests/support/drawn_translator.h"
#include "worker/serve/passage.h"

enum { FUZZ_TEXT_MOST = 600, RULES = 3 };

static struct translator fuzz_passage_translators[RULES];

static void fuzz_passage_open(void)
{
    struct err err;
    for (int rule = 0; rule < RULES; rule++)
        if (fuzz_passage_translators[rule].model == NULL)
            must(drawn_open(&fuzz_passage_translators[rule], 1, (enum normalise)rule, &err));
}

static bool fuzz_passage_is_text(const char *text, size_t size)
{
    uint32_t code;
    for (size_t at = 0, length; at < size; at += length)
        if ((length = utf8_next(text + at, size - at, &code)) == 0)
            return false;
    return true;
}

static size_t fuzz_passage_lines(const char *text, size_t size)
{
    size_t lines = 0;
    for (size_t i = 0; i < size; i++)
        lines += text[i] == '\n';
    return lines;
}

/* The gaps between the sentences are in the answer, in order. */
static void fuzz_passage_check_gaps(struct translator *translator, const char *text, size_t size, const char *answer,
                                    size_t answer_size)
{
    const struct split_rules rules = {.vocab = translator->checkpoint.src,
                                      .normalise = (enum normalise)translator->config.data_normalise,
                                      .words = DRAWN_LENGTH - 2};
    struct splitter splitter = {0};
    struct split_sentences sentences = {0};
    struct err err;
    size_t at = 0, found = 0;
    must(split_text(&splitter, &rules, text, size, &sentences, &err));
    for (size_t i = 0; i <= sentences.count; i++) {
        size_t end = i < sentences.count ? sentences.of[i].begin : size, gap = end - at;
        must(end >= at && (i == sentences.count || sentences.of[i].words <= rules.words));
        const char *place = gap == 0 ? answer + found : memmem(answer + found, answer_size - found, text + at, gap);
        must(place != NULL && (i > 0 || place == answer));
        found = (size_t)(place - answer) + gap;
        at = i < sentences.count ? end + sentences.of[i].size : end;
    }
    must(size == 0 || sentences.count > 0 || answer_size == size);
    free(sentences.of);
    splitter_close(&splitter);
}

static void fuzz_passage_check(const struct answers *answers)
{
    size_t hypotheses = 0, bytes = 0, notes = 0;
    for (uint32_t i = 0; i < answers->count; i++) {
        must(answers->of[i].status == ANSWER_OK && answers->of[i].hypotheses == 1 && answers->of[i].cut == 0);
        bytes += answers->hypotheses[hypotheses].size;
        hypotheses += answers->of[i].hypotheses;
        notes += answers->of[i].notes;
    }
    must(hypotheses == answers->hypothesis_count && bytes == answers->size && notes == answers->notes_size);
    must(fuzz_passage_is_text(answers->bytes, answers->size) && fuzz_passage_is_text(answers->notes, notes));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct passage passage;
    struct answers answers;
    struct err err;
    unsigned rule = fuzz_choice(&data, &size) % RULES;
    if (size > FUZZ_TEXT_MOST || !fuzz_passage_is_text((const char *)data, size))
        return 0;
    fuzz_passage_open();
    struct translator *translator = &fuzz_passage_translators[rule];
    char *text = fuzz_copy(data, size), *both = malloc(2 * size + 3);
    must(both != NULL);
    const uint32_t one[] = {(uint32_t)size}, three[] = {3, (uint32_t)size, (uint32_t)size};
    const struct texts alone = {.count = 1, .lengths = one, .bytes = text, .size = size};
    const struct texts beside = {.count = 3, .lengths = three, .bytes = both, .size = 2 * size + 3};
    must(passage_translate(&passage, translator, &alone, true, &answers, &err));
    fuzz_passage_check(&answers);
    size_t answer_size = answers.size;
    char *answer = fuzz_copy((const uint8_t *)answers.bytes, answer_size);
    must(fuzz_passage_lines(text, size) == fuzz_passage_lines(answer, answer_size));
    fuzz_passage_check_gaps(translator, text, size, answer, answer_size);
    memcpy(both, "aa ", 3);
    memcpy(both + 3, data, size);
    memcpy(both + 3 + size, data, size);
    must(passage_translate(&passage, translator, &beside, false, &answers, &err));
    fuzz_passage_check(&answers);
    const char *second = answers.bytes + answers.hypotheses[0].size;
    for (int i = 1; i < 3; i++, second += answer_size)
        must(answers.hypotheses[i].size == answer_size && memcmp(second, answer, answer_size) == 0);
    free(answer);
    free(both);
    free(text);
    return 0;
}
