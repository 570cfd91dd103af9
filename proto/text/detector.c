/* detector.c - the tables of trigrams first, libexttextcat where they cannot say; see detector.h. */
#include "proto/text/detector.h"

#include "proto/text/unicode.h"

#include <stdlib.h>
#include <string.h>

#ifdef TEXTCAT_DATA
#include <libexttextcat/textcat.h>
#endif

enum {
    DETECTOR_SAMPLE = 400,   /* bytes that libexttextcat gets; its time grows with them */
    DETECTOR_SPARE = 8,      /* NULs behind them, because libexttextcat steps over characters by their first byte */
    DETECTOR_TRIGRAMS = 8,   /* of a text, below which libexttextcat only guesses */
    DETECTOR_CONFIDENCE = 50 /* of what libexttextcat alone says */
};

/* Above this share of known trigrams, a text is in one of the tables' languages. Below, libexttextcat may object. Of
 * 16,000 English and French sentences that were not counted, 60 had less, and it objected to 15 of them. */
static const float detector_enough_known = 0.75f;

struct detector {
    void *textcat; /* NULL: not there */
};

struct detector *detector_open(struct err *err)
{
    struct detector *detector = calloc(1, sizeof *detector);
    if (detector == NULL)
        err_set(err, ERR_MEMORY, "no memory to detect languages");
#ifdef TEXTCAT_DATA
    else
        detector->textcat = special_textcat_Init(TEXTCAT_DATA "/fpdb.conf", TEXTCAT_DATA "/");
#endif
    return detector;
}

void detector_close(struct detector **detector)
{
    if (*detector == NULL)
        return;
#ifdef TEXTCAT_DATA
    if ((*detector)->textcat != NULL)
        textcat_Done((*detector)->textcat);
#endif
    free(*detector);
    *detector = NULL;
}

bool detector_has_foreign(const struct detector *detector)
{
    return detector->textcat != NULL;
}

#ifdef TEXTCAT_DATA

/* Copy the beginning of the text, without what libexttextcat could misread. Returns the bytes. */
static size_t detector_sample(const char *text, size_t size, char sample[DETECTOR_SAMPLE + DETECTOR_SPARE])
{
    const unsigned char *next = (const unsigned char *)text, *end = next + size;
    size_t used = 0;
    while (next < end) {
        const unsigned char *from = next;
        uint32_t code = unicode_next(&next, end);
        size_t bytes = (size_t)(next - from);
        if (used + bytes > DETECTOR_SAMPLE)
            break;
        bool word = code < UNICODE_STRAY && !unicode_blank(code);
        memcpy(sample + used, word ? (const char *)from : " ", word ? bytes : 1);
        used += word ? bytes : 1;
    }
    memset(sample + used, 0, DETECTOR_SAMPLE + DETECTOR_SPARE - used);
    return used;
}

/* The first of the languages that libexttextcat names; `count`: it names only others; SIZE_MAX: it cannot say. */
static size_t detector_foreign(struct detector *detector, const char *const *codes, size_t count, const char *text,
                               size_t size)
{
    char sample[DETECTOR_SAMPLE + DETECTOR_SPARE];
    size_t used = detector->textcat == NULL ? 0 : detector_sample(text, size, sample);
    const char *names = used == 0 ? NULL : textcat_Classify(detector->textcat, sample, used);
    if (names == NULL || names[0] != '[')
        return SIZE_MAX;
    for (; names != NULL; names = strchr(names + 1, '[')) { /* "[en--utf8][pt--utf8]" */
        size_t length = strcspn(names + 1, "-]");
        for (size_t i = 0; i < count; i++)
            if (strcspn(codes[i], "-_") == length && strncmp(codes[i], names + 1, length) == 0)
                return i;
    }
    return count;
}

#else

static size_t detector_foreign(struct detector *detector, const char *const *codes, size_t count, const char *text,
                               size_t size)
{
    (void)detector, (void)codes, (void)count, (void)text, (void)size;
    return SIZE_MAX;
}

#endif

/* Put the guess for `language` first. */
static void detector_prefer(struct detect_guess *guesses, size_t language, unsigned confidence)
{
    size_t at = 0;
    while (guesses[at].language != language)
        at++;
    memmove(guesses + 1, guesses, at * sizeof *guesses);
    guesses[0] = (struct detect_guess){.language = language, .confidence = confidence};
}

void detector_guess(struct detector *detector, const char *const *codes, const struct detect_table *const *tables,
                    size_t count, const char *text, size_t size, struct detect_guess *guesses)
{
    bool lacking = false;
    for (size_t i = 0; i < count; i++)
        lacking = lacking || tables[i] == NULL;
    size_t trigrams = detect_text(tables, count, text, size, guesses);
    bool known = count > 0 && guesses[0].known >= detector_enough_known;
    if (trigrams >= DETECTOR_TRIGRAMS && (lacking || !known)) {
        size_t named = detector_foreign(detector, codes, count, text, size);
        if (named < count && tables[named] == NULL)
            detector_prefer(guesses, named, DETECTOR_CONFIDENCE);
        for (size_t i = 0; named == count && !known && i < count; i++)
            guesses[i].confidence = 0;
    }
    for (size_t i = 0; count > 0 && guesses[0].confidence == 0 && i < count; i++)
        guesses[i] = (struct detect_guess){.language = i};
}
