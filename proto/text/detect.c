/* detect.c - count trigrams, keep the most frequent, score texts; see detect.h. */
#include "proto/text/detect.h"

#include "proto/text/unicode.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum {
    CHARACTER_BITS = 21,
    COUNTER_SLOTS = 1 << 13, /* at first */
    TABLE_SLOTS = 4096,      /* about twice DETECT_ENTRIES, so that probes are short */
    HEAD_BYTES = 8,
    ENTRY_BYTES = 12,
};

/* Two spaces: the beginning of a text. */
#define DETECT_START ((uint64_t)' ' << CHARACTER_BITS | ' ')

static const char detect_magic[8] = {'t', 'r', 'i', 'g', 'r', 'a', 'm', '1'};

/* Score of a trigram that a table lacks. Found by trial on pairs that were not counted; -9 to -11 are about equal. */
static const float detect_unseen = -10;

/* Below this share of known trigrams, a text is in none of the languages. */
static const float detect_least_known = 0.4f;

struct detect_count_slot {
    uint64_t key; /* 0 = empty */
    uint32_t count;
};

struct detect_counter {
    struct detect_count_slot *slots;
    size_t capacity, used; /* capacity is a power of two */
    uint32_t total;        /* trigrams counted */
};

struct detect_entry {
    uint64_t key;
    uint32_t count;
    float score;
};

struct detect_table {
    struct detect_entry entries[DETECT_ENTRIES]; /* by falling count, then by key */
    uint32_t count;
    uint32_t total;              /* trigrams counted, those without an entry included */
    uint16_t slots[TABLE_SLOTS]; /* 1 + index of an entry; 0 = empty */
};

/* The letter in lower case; ' ' for a character that is no part of a word. Most are ASCII or Latin-1, for which a
 * look-up would take most of the time. */
static inline uint32_t detect_letter(uint32_t code)
{
    if (code < 0x80) {
        uint32_t lower = code | 0x20;
        return lower - 'a' <= 'z' - 'a' ? lower : ' ';
    }
    if (code >= 0xC0 && code <= 0xFF && (code | 0x20) != 0xF7) /* not × and ÷ */
        return code < 0xDF ? code + 0x20 : code;
    if (code >= UNICODE_STRAY)
        return ' ';
    utf8proc_category_t category = utf8proc_category((utf8proc_int32_t)code);
    bool letter = category >= UTF8PROC_CATEGORY_LU && category <= UTF8PROC_CATEGORY_ME;
    return letter ? (uint32_t)utf8proc_tolower((utf8proc_int32_t)code) : ' ';
}

/* The key of the three characters up to the next one, which *next moves behind; the text's end counts as a space. */
static inline uint64_t detect_step(uint64_t key, const unsigned char **next, const unsigned char *end)
{
    uint32_t letter = *next == end ? ' ' : detect_letter(**next < 0x80 ? *(*next)++ : unicode_next(next, end));
    return (key << CHARACTER_BITS | letter) & (UINT64_MAX >> (64 - 3 * CHARACTER_BITS));
}

/* Whether three characters are of one word: its second is no space. */
static inline bool detect_is_word(uint64_t key)
{
    return (key >> CHARACTER_BITS & ((1u << CHARACTER_BITS) - 1)) != ' ';
}

static size_t detect_hash(uint64_t key)
{
    return (size_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 40);
}

struct detect_counter *detect_counter_new(struct err *err)
{
    struct detect_counter *counter = calloc(1, sizeof *counter);
    if (counter != NULL) {
        counter->capacity = COUNTER_SLOTS;
        counter->slots = calloc(counter->capacity, sizeof *counter->slots);
        if (counter->slots != NULL)
            return counter;
        free(counter);
    }
    err_set(err, ERR_MEMORY, "no memory to count trigrams");
    return NULL;
}

void detect_counter_destroy(struct detect_counter **counter)
{
    if (*counter == NULL)
        return;
    free((*counter)->slots);
    free(*counter);
    *counter = NULL;
}

static struct detect_count_slot *detect_slot(struct detect_count_slot *slots, size_t capacity, uint64_t key)
{
    size_t at = detect_hash(key) & (capacity - 1);
    while (slots[at].key != 0 && slots[at].key != key)
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

static bool detect_grow(struct detect_counter *counter, struct err *err)
{
    size_t capacity = counter->capacity * 2;
    struct detect_count_slot *slots = calloc(capacity, sizeof *slots);
    if (slots == NULL)
        return err_set(err, ERR_MEMORY, "no memory to count %zu trigrams", counter->used);
    for (size_t i = 0; i < counter->capacity; i++)
        if (counter->slots[i].key != 0)
            *detect_slot(slots, capacity, counter->slots[i].key) = counter->slots[i];
    free(counter->slots);
    counter->slots = slots;
    counter->capacity = capacity;
    return true;
}

/* Trigrams that are of no word are counted too, and left out of the table: a branch here would be mispredicted at each
 * word. */
bool detect_count(struct detect_counter *counter, const char *text, size_t size, struct err *err)
{
    const unsigned char *next = (const unsigned char *)text, *end = next + size;
    uint64_t key = DETECT_START;
    for (bool more = true; more && counter->total < DETECT_SAMPLE;) {
        more = next < end;
        key = detect_step(key, &next, end);
        struct detect_count_slot *slot = detect_slot(counter->slots, counter->capacity, key);
        counter->total += detect_is_word(key);
        slot->count++;
        if (slot->key == key)
            continue;
        slot->key = key;
        if (++counter->used > counter->capacity / 2 && !detect_grow(counter, err))
            return false;
    }
    return true;
}

bool detect_counter_full(const struct detect_counter *counter)
{
    return counter->total >= DETECT_SAMPLE;
}

static int detect_compare(const void *one, const void *other)
{
    const struct detect_count_slot *a = one, *b = other;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return a->key < b->key ? -1 : a->key > b->key;
}

/* Append an entry. False: the table has its key already. */
static bool detect_table_add(struct detect_table *table, uint64_t key, uint32_t count)
{
    size_t at = detect_hash(key) % TABLE_SLOTS;
    for (; table->slots[at] != 0; at = (at + 1) % TABLE_SLOTS)
        if (table->entries[table->slots[at] - 1].key == key)
            return false;
    table->entries[table->count] = (struct detect_entry){.key = key, .count = count};
    table->slots[at] = (uint16_t)++table->count;
    return true;
}

/* Fill the scores, once all entries are there. Of a trigram xyz it is the mean of log P(xyz) and log P(z|xy). */
static bool detect_table_close(struct detect_table *table, struct err *err)
{
    struct detect_count_slot *pairs = calloc(TABLE_SLOTS, sizeof *pairs); /* how often xy begins a trigram */
    if (pairs == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a table of trigrams");
    for (uint32_t i = 0; i < table->count; i++) {
        uint64_t pair = table->entries[i].key >> CHARACTER_BITS;
        struct detect_count_slot *slot = detect_slot(pairs, TABLE_SLOTS, pair);
        *slot = (struct detect_count_slot){pair, slot->count + table->entries[i].count};
    }
    for (uint32_t i = 0; i < table->count; i++) {
        struct detect_entry *entry = &table->entries[i];
        float count = (float)entry->count;
        float pair = (float)detect_slot(pairs, TABLE_SLOTS, entry->key >> CHARACTER_BITS)->count;
        entry->score = (logf(count / (float)table->total) + logf(count / pair)) / 2;
    }
    free(pairs);
    return true;
}

static const struct detect_entry *detect_table_find(const struct detect_table *table, uint64_t key)
{
    for (size_t at = detect_hash(key) % TABLE_SLOTS; table->slots[at] != 0; at = (at + 1) % TABLE_SLOTS)
        if (table->entries[table->slots[at] - 1].key == key)
            return &table->entries[table->slots[at] - 1];
    return NULL;
}

struct detect_table *detect_table_new(const struct detect_counter *counter, struct err *err)
{
    struct detect_table *table = calloc(1, sizeof *table);
    struct detect_count_slot *sorted = malloc((counter->used + 1) * sizeof *sorted);
    size_t used = 0;
    if (table == NULL || sorted == NULL) {
        free(table);
        free(sorted);
        err_set(err, ERR_MEMORY, "no memory for a table of trigrams");
        return NULL;
    }
    for (size_t i = 0; i < counter->capacity; i++)
        if (counter->slots[i].key != 0 && detect_is_word(counter->slots[i].key))
            sorted[used++] = counter->slots[i];
    qsort(sorted, used, sizeof *sorted, detect_compare);
    table->total = counter->total;
    for (size_t i = 0; i < used && i < DETECT_ENTRIES; i++)
        detect_table_add(table, sorted[i].key, sorted[i].count);
    free(sorted);
    if (!detect_table_close(table, err))
        detect_table_destroy(&table);
    return table;
}

void detect_table_destroy(struct detect_table **table)
{
    free(*table);
    *table = NULL;
}

static unsigned char *detect_put(unsigned char *at, uint64_t value, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        at[i] = (unsigned char)(value >> 8 * i);
    return at + bytes;
}

static uint64_t detect_get(const unsigned char *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value |= (uint64_t)at[i] << 8 * i;
    return value;
}

static void detect_write_table(const struct detect_table *table, struct buffer *out)
{
    size_t size = HEAD_BYTES + (size_t)table->count * ENTRY_BYTES;
    unsigned char *at = buffer_reserve(out, size);
    if (at == NULL)
        return;
    out->size += size;
    at = detect_put(at, table->total, 4);
    at = detect_put(at, table->count, 4);
    for (size_t i = 0; i < table->count; i++) {
        at = detect_put(at, table->entries[i].key, 8);
        at = detect_put(at, table->entries[i].count, 4);
    }
}

bool detect_write(const struct detect_table *src, const struct detect_table *tgt, struct buffer *out, struct err *err)
{
    buffer_append(out, detect_magic, sizeof detect_magic);
    detect_write_table(src, out);
    detect_write_table(tgt, out);
    return buffer_ok(out, err);
}

/* Whether the scan of some text can yield the key. */
static bool detect_key_ok(uint64_t key)
{
    const uint32_t character = (1u << CHARACTER_BITS) - 1;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t code = (uint32_t)(key >> CHARACTER_BITS * i) & character;
        bool letter = code != ' ' && utf8proc_codepoint_valid((utf8proc_int32_t)code) && detect_letter(code) != ' ';
        if (!letter && (code != ' ' || i == 1))
            return false;
    }
    return key >> 3 * CHARACTER_BITS == 0;
}

/* Read one table from the front of *bytes. NULL: why, in err. */
static struct detect_table *detect_read_table(const unsigned char **bytes, size_t *size, struct err *err)
{
    struct detect_table *table = calloc(1, sizeof *table);
    if (table == NULL) {
        err_set(err, ERR_MEMORY, "no memory for a table of trigrams");
        return NULL;
    }
    uint64_t count = *size < HEAD_BYTES ? UINT64_MAX : detect_get(*bytes + 4, 4), sum = 0;
    if (count > DETECT_ENTRIES || (*size - HEAD_BYTES) / ENTRY_BYTES < count) {
        err_set(err, ERR_DATA, "cut short, or more than %d trigrams", DETECT_ENTRIES);
        free(table);
        return NULL;
    }
    table->total = (uint32_t)detect_get(*bytes, 4);
    const unsigned char *at = *bytes + HEAD_BYTES;
    struct detect_count_slot entry = {0, UINT32_MAX}, before;
    bool ok = true;
    for (uint64_t i = 0; ok && i < count; i++, at += ENTRY_BYTES) {
        before = entry;
        entry = (struct detect_count_slot){detect_get(at, 8), (uint32_t)detect_get(at + 8, 4)};
        sum += entry.count;
        ok = entry.count > 0 && detect_compare(&before, &entry) < 0 && detect_key_ok(entry.key) &&
             sum <= table->total && detect_table_add(table, entry.key, entry.count);
    }
    *size -= (size_t)(at - *bytes);
    *bytes = at;
    if (ok && detect_table_close(table, err))
        return table;
    if (!ok)
        err_set(err, ERR_DATA, "entry %u is no trigram, or is out of order", table->count);
    free(table);
    return NULL;
}

bool detect_read(const void *bytes, size_t size, const char *name, struct detect_table **src, struct detect_table **tgt,
                 struct err *err)
{
    const unsigned char *at = bytes;
    *src = *tgt = NULL;
    if (size < sizeof detect_magic || memcmp(at, detect_magic, sizeof detect_magic) != 0)
        return err_set(err, ERR_DATA, "%s: not a table of trigrams", name);
    at += sizeof detect_magic;
    size -= sizeof detect_magic;
    *src = detect_read_table(&at, &size, err);
    if (*src != NULL)
        *tgt = detect_read_table(&at, &size, err);
    if (*tgt != NULL && size == 0)
        return true;
    if (*tgt != NULL)
        err_set(err, ERR_DATA, "%zu bytes follow its end", size);
    detect_table_destroy(src);
    detect_table_destroy(tgt);
    return err_context(err, "%s", name);
}

/* Score the text by one table. Returns the number of its trigrams. */
static size_t detect_score(const struct detect_table *table, const char *text, size_t size, struct detect_guess *guess)
{
    const unsigned char *next = (const unsigned char *)text, *end = next + size;
    uint64_t key = DETECT_START;
    size_t count = 0, known = 0;
    double score = 0;
    for (bool more = true; more && count < DETECT_READ;) {
        more = next < end;
        key = detect_step(key, &next, end);
        if (!detect_is_word(key))
            continue;
        const struct detect_entry *entry = table == NULL ? NULL : detect_table_find(table, key);
        count++;
        known += entry != NULL;
        score += (double)(entry != NULL ? entry->score : detect_unseen);
    }
    guess->known = count == 0 ? 0 : (float)known / (float)count;
    guess->score = table == NULL ? -FLT_MAX : (float)score;
    return count;
}

size_t detect_text(const struct detect_table *const *languages, size_t count, const char *text, size_t size,
                   struct detect_guess *guesses)
{
    size_t trigrams = 0;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        struct detect_guess guess = {.language = i};
        trigrams = detect_score(languages[i], text, size, &guess);
        size_t at = i; /* insert it behind those that are at least as good */
        for (; at > 0 && guesses[at - 1].score < guess.score; at--)
            guesses[at] = guesses[at - 1];
        guesses[at] = guess;
    }
    for (size_t i = 0; i < count; i++)
        sum += exp((double)guesses[i].score - (double)guesses[0].score);
    for (size_t i = 0; i < count; i++) {
        struct detect_guess *guess = &guesses[i];
        double share = exp((double)guess->score - (double)guesses[0].score) / sum;
        guess->confidence =
            guess->known < detect_least_known ? 0 : (unsigned)lround(100 * share * (double)guess->known);
    }
    return trigrams;
}
