/* sentence.c - a table of chains by the hash of text and kind; see sentence.h. */
#include "coordinator/serve/queue/sentence.h"

#include "proto/base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

enum {
    CHAINS = 1024,      /* of an empty table */
    FREE_MOST = 4096,   /* sentences kept for later ones ... */
    KEPT_BYTES = 16384, /* ... each with buffers up to this size */
    BYTES_A_TOKEN = 4,
};

bool sentences_open(struct sentences *sentences, struct err *err)
{
    *sentences = (struct sentences){.size = CHAINS};
    sentences->chains = calloc(sentences->size, sizeof(struct sentence *));
    if (sentences->chains == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a queue");
    if (getrandom(&sentences->seed, sizeof sentences->seed, 0) != (ssize_t)sizeof sentences->seed)
        sentences->seed = (uint64_t)clock_ns();
    return true;
}

static void sentence_destroy(struct sentence *sentence)
{
    buffer_free(&sentence->text);
    buffer_free(&sentence->result);
    free(sentence);
}

void sentences_close(struct sentences *sentences)
{
    for (struct sentence *at = sentences->free, *next; at != NULL; at = next) {
        next = at->same;
        sentence_destroy(at);
    }
    free(sentences->chains);
    *sentences = (struct sentences){0};
}

static uint64_t sentence_hash(const struct sentences *sentences, const struct sentence_kind *kind, struct text text)
{
    uint64_t mixed = sentences->seed ^ (uint64_t)(uintptr_t)kind->version ^ ((uint64_t)kind->alternatives << 58) ^
                     ((uint64_t)kind->details << 57);
    return XXH3_64bits_withSeed(text.data, text.size, mixed);
}

static bool sentence_is(const struct sentence *sentence, uint64_t hash, const struct sentence_kind *kind,
                        struct text text)
{
    return sentence->hash == hash && sentence->text.size == text.size && sentence->kind.version == kind->version &&
           sentence->kind.alternatives == kind->alternatives && sentence->kind.details == kind->details &&
           (text.size == 0 || memcmp(sentence->text.data, text.data, text.size) == 0);
}

/* Without memory for more chains they get longer. */
static void sentences_grow(struct sentences *sentences)
{
    size_t size = sentences->size * 4;
    struct sentence **chains = calloc(size, sizeof(struct sentence *));
    if (chains == NULL)
        return;
    for (size_t i = 0; i < sentences->size; i++) {
        for (struct sentence *at = sentences->chains[i], *next; at != NULL; at = next) {
            next = at->same;
            at->same = chains[at->hash & (size - 1)];
            chains[at->hash & (size - 1)] = at;
        }
    }
    free(sentences->chains);
    sentences->chains = chains;
    sentences->size = size;
}

static struct sentence *sentence_new(struct sentences *sentences, struct text text)
{
    struct sentence *sentence = sentences->free;
    if (sentence != NULL) {
        struct buffer kept = sentence->text, result = sentence->result;
        sentences->free = sentence->same;
        sentences->free_count--;
        *sentence = (struct sentence){.text = kept, .result = result};
    } else {
        sentence = calloc(1, sizeof *sentence);
    }
    if (sentence == NULL)
        return NULL;
    buffer_append(&sentence->text, text.data, text.size);
    if (!buffer_ok(&sentence->text, NULL)) {
        sentence_destroy(sentence);
        return NULL;
    }
    sentence->number = sentences->numbers++;
    sentence->tokens = (uint32_t)(2 + text.size / BYTES_A_TOKEN);
    return sentence;
}

static void part_join(struct part *part, struct sentence *sentence)
{
    part->sentence = sentence;
    part->before = NULL;
    part->next = sentence->parts;
    if (part->next != NULL)
        part->next->before = part;
    sentence->parts = part;
}

static void sentences_enter(struct sentences *sentences, struct sentence *sentence)
{
    if (sentences->count++ > sentences->size)
        sentences_grow(sentences);
    struct sentence **chain = &sentences->chains[sentence->hash & (sentences->size - 1)];
    sentence->same = *chain;
    *chain = sentence;
}

struct sentence *sentences_get(struct sentences *sentences, const struct sentence_kind *kind, struct text text,
                               struct part *part, bool *made)
{
    uint64_t hash = sentence_hash(sentences, kind, text);
    struct sentence *sentence = sentences->chains[hash & (sentences->size - 1)];
    while (sentence != NULL && !sentence_is(sentence, hash, kind, text))
        sentence = sentence->same;
    *made = sentence == NULL;
    if (sentence == NULL) {
        sentence = sentence_new(sentences, text);
        if (sentence == NULL)
            return NULL;
        sentence->kind = *kind;
        sentence->hash = hash;
        sentences_enter(sentences, sentence);
    }
    part_join(part, sentence);
    return sentence;
}

void sentences_forget(struct sentences *sentences, struct sentence *sentence)
{
    struct sentence **at = &sentences->chains[sentence->hash & (sentences->size - 1)];
    while (*at != NULL && *at != sentence)
        at = &(*at)->same;
    if (*at == NULL)
        return;
    *at = sentence->same;
    sentence->same = NULL;
    sentences->count--;
}

void sentences_change(struct sentences *sentences, struct sentence *sentence, struct version *version)
{
    sentences_forget(sentences, sentence);
    sentence->kind.version = version;
    sentence->hash = sentence_hash(sentences, &sentence->kind, (struct text){sentence->text.data, sentence->text.size});
    sentences_enter(sentences, sentence);
}

bool part_leave(struct part *part)
{
    struct sentence *sentence = part->sentence;
    if (part->before != NULL)
        part->before->next = part->next;
    else
        sentence->parts = part->next;
    if (part->next != NULL)
        part->next->before = part->before;
    part->sentence = NULL;
    return sentence->parts == NULL;
}

void sentences_free(struct sentences *sentences, struct sentence *sentence)
{
    sentences_forget(sentences, sentence);
    bool small = sentence->text.capacity <= KEPT_BYTES && sentence->result.capacity <= KEPT_BYTES;
    if (!small || sentences->free_count == FREE_MOST) {
        sentence_destroy(sentence);
        return;
    }
    buffer_clear(&sentence->text);
    buffer_clear(&sentence->result);
    sentence->same = sentences->free;
    sentences->free = sentence;
    sentences->free_count++;
}
