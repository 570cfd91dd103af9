/* split.c - chunks, and the sentences that they make; see split.h. */
#include "worker/serve/split.h"

#include "proto/text/letter.h"
#include "proto/text/unicode.h"
#include "worker/serve/verbatim.h"

#include <stdlib.h>
#include <string.h>

/* What stands between white space. */
struct chunk {
    size_t begin, size;
    bool broken;  /* a line break or control character is before it */
    bool lower;   /* its first letter is lower case */
    bool letters; /* it has a letter */
    bool ends;    /* a sentence may end here, unless the next chunk begins with a lower-case letter */
    bool closes;  /* a sentence ends here */
    bool clause;  /* a long sentence may be cut here */
    bool copied;  /* it stays as it is */
};

/* The sentence that is being put together. */
struct splitting {
    struct split_sentences *out;
    size_t begin, end, words; /* of its chunks so far; words 0 = none */
    bool letters;
    bool ends;                                    /* its last chunk does */
    size_t clause_end, clause_next, clause_words; /* its last cut for a clause; clause_words 0 = none */
    bool clause_pending;                          /* the next chunk begins after a clause */
};

static bool split_is_closer(uint32_t code)
{
    return code == '"' || code == '\'' || code == ')' || code == ']' || code == '}' || code == 0xBB || code == 0x2019 ||
           code == 0x201D || code == 0x300D || code == 0xFF09;
}

static bool split_is_ideographic_stop(uint32_t code)
{
    return code == 0x3002 || code == 0xFF01 || code == 0xFF1F;
}

static bool split_is_clause(uint32_t code)
{
    return code == ',' || code == ';' || code == ':' || code == 0x2013 || code == 0x2014 || code == 0x3001 ||
           code == 0xFF0C || code == 0xFF1B || code == 0xFF1A;
}

static bool split_is_letter(uint32_t code)
{
    return letter_of(code) != LETTER_NOT;
}

/* Whether a word with a full stop behind it is not the end of a sentence. `word` has no full stop at its end. */
static bool split_is_abbreviation(const char *word, size_t size)
{
    static const char *const known[] = {"mr",  "mrs",  "ms",  "dr",  "prof",   "st",  "jr",   "sr",  "vs",  "nr",
                                        "fig", "vol",  "pp",  "cf",  "approx", "mme", "mlle", "sra", "dra", "bzw",
                                        "ca",  "dept", "gen", "col", "capt",   "lt",  "rev",  "hon"};
    size_t letters = 0, others = 0;
    const unsigned char *at = (const unsigned char *)word, *end = at + size;
    bool digits = size > 0, dotted = false;
    while (at < end) {
        uint32_t code = unicode_next(&at, end);
        digits = digits && code >= '0' && code <= '9';
        dotted = dotted || code == '.';
        letters += split_is_letter(code);
        others += !split_is_letter(code) && code != '.';
    }
    /* "J", "3", "e.g", "U.S" */
    if (digits || (letters == 1 && others == 0) || (dotted && others == 0 && letters > 0 && size <= 2 * letters))
        return true;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strlen(known[i]) == size && strncasecmp(known[i], word, size) == 0)
            return true;
    return false;
}

/* Read how a chunk ends: skip quotes and brackets backwards, then look at the mark. */
static void split_read_end(const char *text, struct chunk *chunk)
{
    size_t size = chunk->size, begin = 0;
    uint32_t code = 0;
    while (size > 0) {
        size_t at = size;
        while (at > 0 && ((unsigned char)text[chunk->begin + --at] & 0xC0) == 0x80)
            continue;
        if (utf8_next(text + chunk->begin + at, size - at, &code) == 0 || !split_is_closer(code))
            break;
        size = at;
        code = 0;
    }
    const char *word = text + chunk->begin;
    chunk->clause = split_is_clause(code);
    chunk->ends = code == '!' || code == '?' || code == 0x2026 || split_is_ideographic_stop(code);
    if (code != '.')
        return;
    while (begin < size && strchr("\"'([{", word[begin]) != NULL)
        begin++;
    bool several = size >= 2 && word[size - 2] == '.';
    chunk->ends = several || !split_is_abbreviation(word + begin, size > begin ? size - 1 - begin : 0);
}

/* Read the chunk at or after *at. False: only white space was left. */
static bool split_next(const char *text, size_t size, size_t *at, struct chunk *chunk)
{
    const unsigned char *next = (const unsigned char *)text + *at, *end = (const unsigned char *)text + size, *begin;
    uint32_t code = 0;
    *chunk = (struct chunk){.broken = false};
    for (begin = next; next < end; begin = next) {
        code = unicode_next(&next, end);
        if (!unicode_blank(code))
            break;
        bool line = code == 0x85 || code == 0x2028 || code == 0x2029;
        chunk->broken = chunk->broken || line || (code < 0x20 && code != '\t') || code == 0x7F;
    }
    chunk->begin = (size_t)(begin - (const unsigned char *)text);
    if (begin == end)
        return false;
    const unsigned char *last = begin;
    for (next = begin; next < end && !chunk->closes; last = next) {
        code = unicode_next(&next, end);
        if (unicode_blank(code))
            break;
        enum letter letter = letter_of(code);
        chunk->lower = chunk->lower || (letter == LETTER_LOWER && !chunk->letters);
        chunk->letters = chunk->letters || letter != LETTER_NOT;
        chunk->closes = split_is_ideographic_stop(code);
    }
    chunk->size = (size_t)(last - begin);
    *at = chunk->begin + chunk->size;
    split_read_end(text, chunk);
    return true;
}

/* Whether normalisation removes all letters of a chunk. Only the notebook's rule removes any, and none of ASCII. */
static bool split_is_unreadable(struct splitter *splitter, const struct split_rules *rules, const char *chunk,
                                size_t size)
{
    struct buffer *normal = &splitter->normal;
    size_t plain = 0;
    while (plain < size && (unsigned char)chunk[plain] < 0x80 && letter_of((unsigned char)chunk[plain]) == LETTER_NOT)
        plain++;
    if (rules->normalise != NORMALISE_NOTEBOOK || plain == size || (unsigned char)chunk[plain] < 0x80)
        return false;
    buffer_clear(normal);
    normalise(rules->normalise, chunk, size, normal);
    const unsigned char *at = (const unsigned char *)normal->data, *end = at + normal->size;
    while (normal->size > 0 && at < end)
        if (letter_of(unicode_next(&at, end)) != LETTER_NOT)
            return false;
    return true;
}

/* Whether the model has no word for a chunk without letters. */
static bool split_is_unknown(struct splitter *splitter, const struct split_rules *rules, const char *chunk, size_t size)
{
    struct buffer *normal = &splitter->normal;
    buffer_clear(normal);
    normalise(rules->normalise, chunk, size, normal);
    const char *word = normal->data, *end = word + normal->size;
    bool known = false;
    size_t length;
    for (; normal->size > 0 && (length = word_next(&word, end)) > 0; word += length) {
        vocab_id(rules->vocab, word, length, &known);
        if (!known)
            return true;
    }
    return !known;
}

static bool split_append(struct splitting *split, size_t begin, size_t end, size_t words, struct err *err)
{
    struct split_sentences *out = split->out;
    if (out->count == out->capacity) {
        size_t capacity = 2 * out->capacity + 64;
        struct split_sentence *of = realloc(out->of, capacity * sizeof *of);
        if (of == NULL)
            return err_set(err, ERR_MEMORY, "no memory for %zu sentences", capacity);
        out->of = of;
        out->capacity = capacity;
    }
    out->of[out->count++] = (struct split_sentence){.begin = begin, .size = end - begin, .words = words};
    return true;
}

/* The sentence is over. Without letters it is copied. */
static bool split_finish(struct splitting *split, struct err *err)
{
    bool ok = split->words == 0 || !split->letters || split_append(split, split->begin, split->end, split->words, err);
    split->words = split->clause_words = 0;
    split->letters = split->ends = split->clause_pending = false;
    return ok;
}

/* The sentence has as many words as fit. Cut it after its last clause, if that leaves little behind. */
static bool split_cut(struct splitting *split, const struct split_rules *rules, struct err *err)
{
    if (2 * split->clause_words < rules->words || split->clause_words == split->words)
        return split_finish(split, err);
    if (!split_append(split, split->begin, split->clause_end, split->clause_words, err))
        return false;
    split->begin = split->clause_next;
    split->words -= split->clause_words;
    split->clause_words = 0;
    return true;
}

static bool split_take(struct splitting *split, const struct split_rules *rules, const struct chunk *chunk,
                       struct err *err)
{
    bool over = chunk->broken || chunk->copied || (split->ends && !chunk->lower);
    if (over && !split_finish(split, err))
        return false;
    if (chunk->copied)
        return true;
    if (split->words == rules->words && !split_cut(split, rules, err))
        return false;
    if (split->words == 0)
        split->begin = chunk->begin;
    if (split->clause_pending)
        split->clause_next = chunk->begin;
    split->words++;
    split->end = chunk->begin + chunk->size;
    split->letters = split->letters || chunk->letters;
    split->ends = chunk->ends;
    split->clause_pending = chunk->clause;
    if (chunk->clause) {
        split->clause_end = split->clause_next = split->end;
        split->clause_words = split->words;
    }
    return !chunk->closes || split_finish(split, err);
}

bool split_text(struct splitter *splitter, const struct split_rules *rules, const char *text, size_t size,
                struct split_sentences *out, struct err *err)
{
    struct splitting split = {.out = out};
    struct chunk chunk;
    size_t at = 0;
    while (split_next(text, size, &at, &chunk)) {
        const char *bytes = text + chunk.begin;
        chunk.copied =
            verbatim_is(bytes, chunk.size) || (chunk.letters ? split_is_unreadable(splitter, rules, bytes, chunk.size)
                                                             : split_is_unknown(splitter, rules, bytes, chunk.size));
        if (!split_take(&split, rules, &chunk, err))
            return false;
    }
    return split_finish(&split, err) && buffer_ok(&splitter->normal, err);
}

void splitter_close(struct splitter *splitter)
{
    buffer_free(&splitter->normal);
}
