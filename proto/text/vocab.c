/* vocab.c - an open-addressing table of words over one arena of text.
 *
 * `entries` is in order of first occurrence while counting, and in order of ids after vocab_close. `slots` finds an
 * entry by its word and is rebuilt when the order changes. No code walks the slots, so the hash order shows nowhere.
 * The markers have entries but no slots: a word spelled like a marker has no id. */
#include "proto/text/vocab.h"

#include "proto/text/normalise.h"

#include <stdlib.h>
#include <string.h>

enum { MARKERS = 4, FIRST_ENTRIES = 1024, NO_ENTRY = UINT32_MAX };

static const char *const vocab_markers[MARKERS] = {"<pad>", "<sos>", "<eos>", "<unk>"};

struct entry {
    uint64_t count;
    uint64_t hash;
    uint32_t word; /* offset in text; a NUL follows the word */
    uint32_t size;
};

struct vocab {
    struct buffer text;
    struct entry *entries;
    size_t count, capacity;
    uint32_t *slots; /* index in entries, or NO_ENTRY; twice as many as entries fit, a power of two */
    size_t mask;
};

/* Each step takes eight bytes through a multiplication and folds in its high half. Words are short: two or three
 * steps. */
static uint64_t vocab_hash_word(const char *word, size_t size)
{
    uint64_t hash = size * 0x9E3779B97F4A7C15u;
    while (size > 0) {
        uint64_t eight = 0;
        size_t take = size < 8 ? size : 8;
        if (take == 8)
            memcpy(&eight, word, 8);
        else
            for (size_t i = 0; i < take; i++)
                eight |= (uint64_t)(unsigned char)word[i] << (8 * i);
        hash = (hash ^ eight) * 0xD6E8FEB86659FD93u;
        hash ^= hash >> 32;
        word += take;
        size -= take;
    }
    return hash;
}

static bool vocab_is_marker(const char *word, size_t size)
{
    if (size != 5 || word[0] != '<')
        return false;
    for (int i = 0; i < MARKERS; i++)
        if (memcmp(word, vocab_markers[i], 5) == 0)
            return true;
    return false;
}

/* The slot that holds the word, or the empty slot for it. */
static uint32_t *vocab_find_slot(const struct vocab *vocab, const char *word, size_t size, uint64_t hash)
{
    for (size_t at = hash & vocab->mask;; at = (at + 1) & vocab->mask) {
        uint32_t *slot = &vocab->slots[at];
        if (*slot == NO_ENTRY)
            return slot;
        const struct entry *entry = &vocab->entries[*slot];
        if (entry->hash == hash && entry->size == size && memcmp(vocab->text.data + entry->word, word, size) == 0)
            return slot;
    }
}

/* Rebuild all slots, with space for `capacity` entries. */
static bool vocab_index_entries(struct vocab *vocab, size_t capacity, struct err *err)
{
    size_t slots = 2 * FIRST_ENTRIES;
    while (slots < 2 * capacity)
        slots *= 2;
    if (slots != vocab->mask + 1 || vocab->slots == NULL) {
        uint32_t *fresh = realloc(vocab->slots, slots * sizeof *fresh);
        if (fresh == NULL)
            return err_set(err, ERR_MEMORY, "out of memory for a vocabulary of %zu words", vocab->count);
        vocab->slots = fresh;
        vocab->mask = slots - 1;
    }
    memset(vocab->slots, 0xFF, slots * sizeof *vocab->slots);
    for (size_t i = 0; i < vocab->count; i++) {
        const struct entry *entry = &vocab->entries[i];
        const char *word = vocab->text.data + entry->word;
        if (!vocab_is_marker(word, entry->size))
            *vocab_find_slot(vocab, word, entry->size, entry->hash) = (uint32_t)i;
    }
    return true;
}

/* Append a word to entries, without a slot. */
static bool vocab_append_entry(struct vocab *vocab, const char *word, size_t size, uint64_t hash, uint64_t count,
                               struct err *err)
{
    if (vocab->count == vocab->capacity) {
        size_t capacity = vocab->capacity == 0 ? FIRST_ENTRIES : 2 * vocab->capacity;
        struct entry *entries = realloc(vocab->entries, capacity * sizeof *entries);
        if (entries == NULL)
            return err_set(err, ERR_MEMORY, "out of memory for a vocabulary of %zu words", vocab->count);
        vocab->entries = entries;
        vocab->capacity = capacity;
    }
    size_t start = vocab->text.size;
    buffer_append(&vocab->text, word, size);
    buffer_append(&vocab->text, "", 1);
    if (!buffer_ok(&vocab->text, err))
        return false;
    if (vocab->text.size > UINT32_MAX)
        return err_set(err, ERR_DATA, "more than 4 GiB of different words; is this text split into words?");
    vocab->entries[vocab->count++] =
        (struct entry){.count = count, .hash = hash, .word = (uint32_t)start, .size = (uint32_t)size};
    return true;
}

struct vocab *vocab_new(struct err *err)
{
    struct vocab *vocab = calloc(1, sizeof *vocab);
    if (vocab == NULL) {
        err_set(err, ERR_MEMORY, "out of memory for a vocabulary");
        return NULL;
    }
    if (!vocab_index_entries(vocab, FIRST_ENTRIES, err))
        vocab_destroy(&vocab);
    return vocab;
}

void vocab_destroy(struct vocab **vocab)
{
    if (*vocab == NULL)
        return;
    buffer_free(&(*vocab)->text);
    free((*vocab)->entries);
    free((*vocab)->slots);
    free(*vocab);
    *vocab = NULL;
}

bool vocab_count(struct vocab *vocab, const char *text, size_t size, struct err *err)
{
    const char *end = text + size;
    for (size_t length; (length = word_next(&text, end)) > 0; text += length) {
        if (vocab_is_marker(text, length))
            continue;
        uint64_t hash = vocab_hash_word(text, length);
        uint32_t *slot = vocab_find_slot(vocab, text, length, hash);
        if (*slot != NO_ENTRY) {
            vocab->entries[*slot].count++;
            continue;
        }
        if (!word_fits(text, length))
            return err_set(err, ERR_DATA, "a word that no vocabulary can hold: \"%.*s\"", (int)length, text);
        *slot = (uint32_t)vocab->count;
        if (!vocab_append_entry(vocab, text, length, hash, 1, err))
            return false;
        if (2 * vocab->count > vocab->mask && !vocab_index_entries(vocab, 2 * vocab->count, err))
            return false;
    }
    return true;
}

/* The sort key of vocab_close; the word is a pointer because qsort's callback has no other argument. */
struct ranked {
    struct entry entry;
    const char *word;
};

static int vocab_by_rank(const void *left, const void *right)
{
    const struct ranked *a = left, *b = right;
    if (a->entry.count != b->entry.count)
        return a->entry.count > b->entry.count ? -1 : 1;
    return strcmp(a->word, b->word);
}

bool vocab_close(struct vocab *vocab, enum unknown unknown, size_t limit, struct err *err)
{
    size_t words = vocab->count, markers = unknown == UNKNOWN_OWN ? MARKERS : MARKERS - 1;
    if (words == 0)
        return err_set(err, ERR_DATA, "there are no words to make a vocabulary of");
    limit = limit > VOCAB_MOST ? VOCAB_MOST : limit;
    if (limit <= markers)
        return err_set(err, ERR_USAGE, "a vocabulary of %zu entries has no space for a word", limit);
    struct ranked *ranked = malloc(words * sizeof *ranked);
    if (ranked == NULL)
        return err_set(err, ERR_MEMORY, "out of memory for a vocabulary of %zu words", words);
    for (size_t i = 0; i < words; i++)
        ranked[i] = (struct ranked){vocab->entries[i], vocab->text.data + vocab->entries[i].word};
    qsort(ranked, words, sizeof *ranked, vocab_by_rank);

    struct buffer text = vocab->text;
    vocab->text = (struct buffer){0};
    vocab->count = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < markers; i++)
        ok = vocab_append_entry(vocab, vocab_markers[i], strlen(vocab_markers[i]), 0, 0, err);
    for (size_t i = 0; ok && i < words && vocab->count < limit; i++)
        ok = vocab_append_entry(vocab, ranked[i].word, ranked[i].entry.size, ranked[i].entry.hash,
                                ranked[i].entry.count, err);
    free(ranked);
    buffer_free(&text);
    return ok && vocab_index_entries(vocab, vocab->count, err);
}

size_t vocab_size(const struct vocab *vocab)
{
    return vocab->count;
}

uint16_t vocab_id(const struct vocab *vocab, const char *word, size_t size, bool *known)
{
    uint32_t found = *vocab_find_slot(vocab, word, size, vocab_hash_word(word, size));
    if (known != NULL)
        *known = found != NO_ENTRY;
    return found == NO_ENTRY ? ID_UNKNOWN : (uint16_t)found;
}

const char *vocab_word(const struct vocab *vocab, uint16_t id)
{
    return vocab->text.data + vocab->entries[id].word;
}

size_t vocab_encode(const struct vocab *vocab, const char *text, size_t size, size_t length, uint16_t *ids,
                    size_t *full_length, size_t *unknown)
{
    const char *end = text + size;
    size_t full = 0, strange = 0;
    if (full++ < length)
        ids[0] = ID_SOS;
    for (size_t word; (word = word_next(&text, end)) > 0; text += word) {
        bool known;
        uint16_t id = vocab_id(vocab, text, word, &known);
        strange += !known;
        if (full < length)
            ids[full] = id;
        full++;
    }
    if (full < length)
        ids[full] = ID_EOS;
    full++;
    if (full_length != NULL)
        *full_length = full;
    if (unknown != NULL)
        *unknown = strange;
    return full < length ? full : length;
}

void vocab_decode(const struct vocab *vocab, const uint16_t *ids, size_t count, struct buffer *out)
{
    bool first = true;
    for (size_t i = 0; i < count && ids[i] != ID_EOS; i++) {
        if (ids[i] == ID_SOS || ids[i] == ID_PAD || ids[i] >= vocab->count)
            continue;
        if (!first)
            buffer_append(out, " ", 1);
        first = false;
        const struct entry *entry = &vocab->entries[ids[i]];
        buffer_append(out, vocab->text.data + entry->word, entry->size);
    }
}

void vocab_write(const struct vocab *vocab, struct buffer *out)
{
    for (size_t i = 0; i < vocab->count; i++) {
        buffer_append(out, vocab->text.data + vocab->entries[i].word, vocab->entries[i].size);
        buffer_append(out, "\n", 1);
    }
}

/* The fault of a word on a line of a vocabulary file; NULL = none. */
static const char *vocab_word_fault(const struct vocab *vocab, size_t id, const char *word, size_t size)
{
    if (id < MARKERS - 1) {
        bool right = size == strlen(vocab_markers[id]) && memcmp(word, vocab_markers[id], size) == 0;
        return right ? NULL : "the first three lines of a vocabulary are <pad>, <sos> and <eos>";
    }
    if (size == 0)
        return "an empty word";
    if (!utf8_valid(word, size, NULL))
        return "invalid UTF-8 or a NUL";
    if (!word_fits(word, size))
        return "white space in a word; a line holds one word";
    if (vocab_is_marker(word, size))
        return id == ID_UNKNOWN && memcmp(word, vocab_markers[ID_UNKNOWN], size) == 0 ? NULL
                                                                                      : "a marker among the words";
    if (*vocab_find_slot(vocab, word, size, vocab_hash_word(word, size)) != NO_ENTRY)
        return "a repeated word";
    return id >= VOCAB_MOST ? "too many words for 16-bit ids" : NULL;
}

static bool vocab_read_words(struct vocab *vocab, const char *text, size_t size, const char *name, struct err *err)
{
    const char *end = text + size;
    while (text < end) {
        const char *feed = memchr(text, '\n', (size_t)(end - text));
        size_t id = vocab->count, length = (size_t)((feed == NULL ? end : feed) - text);
        const char *fault = feed == NULL ? "the last line has no end; the file was cut" : NULL;
        if (fault == NULL)
            fault = vocab_word_fault(vocab, id, text, length);
        if (fault != NULL)
            return err_set(err, ERR_DATA, "%s:%zu: %s", name, id + 1, fault);
        uint64_t hash = vocab_hash_word(text, length);
        if (!vocab_is_marker(text, length))
            *vocab_find_slot(vocab, text, length, hash) = (uint32_t)id;
        if (!vocab_append_entry(vocab, text, length, hash, 0, err))
            return false;
        if (2 * vocab->count > vocab->mask && !vocab_index_entries(vocab, 2 * vocab->count, err))
            return false;
        text = feed + 1;
    }
    if (vocab->count <= ID_UNKNOWN)
        return err_set(err, ERR_DATA, "%s:%zu: the vocabulary ends before its first word", name, vocab->count + 1);
    return true;
}

struct vocab *vocab_read(const char *text, size_t size, const char *name, struct err *err)
{
    struct vocab *vocab = vocab_new(err);
    if (vocab != NULL && !vocab_read_words(vocab, text, size, name, err))
        vocab_destroy(&vocab);
    return vocab;
}
