/* fuzz_markup.c - bytes as an HTML document into the search for its texts.
 *
 * Each text of a document is replaced by its own text, and by one that would be markup if it were not escaped. The
 * results must have the same texts, with every other byte as it was. So no text becomes markup, and no markup is
 * lost. */
#include "tests/fuzz/fuzz.h"

#include "coordinator/serve/api/text/markup.h"
#include "proto/text/unicode.h"

static const char fuzz_markup_hostile[] =
    "--></title></script><b onclick='x'>\">&lt;![CDATA[ <?php ?> ]]> &amp;\xC2\xA0!";

static size_t fuzz_markup_count(const struct buffer *runs)
{
    return runs->size / sizeof(struct markup_run);
}

static const struct markup_run *fuzz_markup_at(const struct buffer *runs)
{
    return (const struct markup_run *)(const void *)runs->data;
}

static bool fuzz_markup_blank(const struct buffer *text)
{
    const unsigned char *at = (const unsigned char *)text->data, *end = at + text->size;
    while (at < end)
        if (!unicode_space(unicode_next(&at, end)))
            return false;
    return true;
}

/* Escaped text has no < and >, and each & begins one of the four references. */
static void fuzz_markup_check_escaped(const char *text, size_t size)
{
    static const char *const references[] = {"&amp;", "&lt;", "&gt;", "&nbsp;"};
    for (size_t at = 0; at < size; at++) {
        must(text[at] != '<' && text[at] != '>');
        bool known = text[at] != '&';
        for (size_t i = 0; i < 4; i++)
            known |= strncmp(text + at, references[i], strlen(references[i])) == 0;
        must(known);
    }
}

/* The document with each run replaced by `other`, or by its own text if that is NULL. In *markup all other bytes. */
static void fuzz_markup_replace(const char *html, size_t size, const struct buffer *runs, const char *other,
                                struct buffer *out, struct buffer *markup)
{
    struct buffer plain = {0};
    size_t at = 0;
    for (size_t i = 0; i < fuzz_markup_count(runs); i++) {
        struct markup_run run = fuzz_markup_at(runs)[i];
        must(run.size > 0 && run.at >= at && run.at <= size && run.size <= size - run.at);
        buffer_append(out, html + at, run.at - at);
        buffer_append(markup, html + at, run.at - at);
        buffer_clear(&plain);
        markup_unescape(html + run.at, run.size, &plain);
        size_t begin = out->size;
        markup_escape(other ? other : plain.data, other ? strlen(other) : plain.size, out);
        fuzz_markup_check_escaped(out->data + begin, out->size - begin);
        at = run.at + run.size;
    }
    buffer_append(out, html + at, size - at);
    buffer_append(markup, html + at, size - at);
    buffer_free(&plain);
}

static void fuzz_markup_must_equal(const struct buffer *one, const struct buffer *other)
{
    must(!one->failed && !other->failed && one->size == other->size && memcmp(one->data, other->data, one->size) == 0);
}

static void fuzz_markup_check_hostile(const char *html, size_t size, const struct buffer *runs)
{
    struct buffer out = {0}, markup = {0}, again = {0}, same = {0}, found = {0}, plain = {0};
    fuzz_markup_replace(html, size, runs, fuzz_markup_hostile, &out, &markup);
    markup_runs(out.data, out.size, &found);
    must(fuzz_markup_count(&found) == fuzz_markup_count(runs));
    for (size_t i = 0; i < fuzz_markup_count(&found); i++) {
        struct markup_run run = fuzz_markup_at(&found)[i];
        buffer_clear(&plain);
        markup_unescape(out.data + run.at, run.size, &plain);
        must(plain.size == strlen(fuzz_markup_hostile) && memcmp(plain.data, fuzz_markup_hostile, plain.size) == 0);
    }
    fuzz_markup_replace(out.data, out.size, &found, fuzz_markup_hostile, &again, &same);
    fuzz_markup_must_equal(&out, &again);
    fuzz_markup_must_equal(&markup, &same);
    struct buffer *all[] = {&out, &markup, &again, &same, &found, &plain};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buffer_free(all[i]);
}

/* A run may be white space once its references are replaced; then it is no run any more. */
static void fuzz_markup_check_identity(const char *html, size_t size, const struct buffer *runs)
{
    struct buffer out = {0}, markup = {0}, again = {0}, found = {0}, plain = {0}, escaped = {0};
    fuzz_markup_replace(html, size, runs, NULL, &out, &markup);
    markup_runs(out.data, out.size, &found);
    size_t visible = 0;
    for (size_t i = 0; i < fuzz_markup_count(runs); i++) {
        buffer_clear(&plain);
        markup_unescape(html + fuzz_markup_at(runs)[i].at, fuzz_markup_at(runs)[i].size, &plain);
        buffer_clear(&escaped);
        markup_escape(plain.data, plain.size, &escaped);
        visible += !fuzz_markup_blank(&escaped);
    }
    must(visible == fuzz_markup_count(&found));
    buffer_clear(&markup);
    fuzz_markup_replace(out.data, out.size, &found, NULL, &again, &markup);
    fuzz_markup_must_equal(&out, &again);
    struct buffer *all[] = {&out, &markup, &again, &found, &plain, &escaped};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        buffer_free(all[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *html = fuzz_copy(data, size);
    struct buffer runs = {0};
    markup_runs(html, size, &runs);
    must(!runs.failed);
    if (size > 0 && memchr(html, '<', size) == NULL && memchr(html, '&', size) == NULL) { /* the whole text */
        must(fuzz_markup_count(&runs) <= 1);
        must(fuzz_markup_count(&runs) == 0 || fuzz_markup_at(&runs)->size == size);
    }
    fuzz_markup_check_hostile(html, size, &runs);
    fuzz_markup_check_identity(html, size, &runs);
    free(html);
    buffer_free(&runs);
    return 0;
}
