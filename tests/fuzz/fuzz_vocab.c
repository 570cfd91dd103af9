/* fuzz_vocab.c - bytes into vocab_read: refused with ERR_DATA, or a vocabulary that is written back to the letter,
 * knows each of its words by its id, and translates ids to words and back. */
#include "tests/fuzz/fuzz.h"

#include "proto/text/normalise.h"
#include "proto/text/vocab.h"

static void fuzz_vocab_check_words(const struct vocab *vocab)
{
    must(vocab_size(vocab) > ID_UNKNOWN && vocab_size(vocab) <= VOCAB_MOST);
    for (size_t id = 0; id < vocab_size(vocab); id++) {
        const char *word = vocab_word(vocab, (uint16_t)id);
        bool known, marker = id < ID_UNKNOWN || (id == ID_UNKNOWN && strcmp(word, "<unk>") == 0);
        uint16_t found = vocab_id(vocab, word, strlen(word), &known);
        must(marker || word_fits(word, strlen(word)));
        must(known == !marker && found == (marker ? ID_UNKNOWN : id));
    }
}

/* All words as one sentence, there and back: as many as fit. */
static void fuzz_vocab_check_sentence(const struct vocab *vocab)
{
    enum { LENGTH = 64 };
    uint16_t ids[LENGTH], again[LENGTH];
    size_t count = 0, full, unknown;
    for (size_t id = ID_UNKNOWN; id < vocab_size(vocab) && count < LENGTH - 2; id++)
        if (strcmp(vocab_word(vocab, (uint16_t)id), "<unk>") != 0)
            ids[count++] = (uint16_t)id;
    struct buffer text = {0};
    buffer_text(&text, "");
    vocab_decode(vocab, ids, count, &text);
    must(vocab_encode(vocab, text.data, text.size, LENGTH, again, &full, &unknown) == count + 2);
    must(full == count + 2 && unknown == 0 && again[0] == ID_SOS && again[count + 1] == ID_EOS);
    must(memcmp(ids, again + 1, count * sizeof *ids) == 0);
    buffer_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    char *text = fuzz_copy(data, size);
    struct vocab *vocab = vocab_read(text, size, "fuzz.vocab", &err);
    if (vocab == NULL) {
        must_refuse(&err, ERR_DATA);
    } else {
        struct buffer written = {0};
        vocab_write(vocab, &written);
        must(written.size == size && memcmp(written.data, text, size) == 0);
        buffer_free(&written);
        fuzz_vocab_check_words(vocab);
        fuzz_vocab_check_sentence(vocab);
        vocab_destroy(&vocab);
    }
    free(text);
    return 0;
}
