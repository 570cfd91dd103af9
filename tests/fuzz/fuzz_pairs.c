/* fuzz_pairs.c - bytes into pairs_read as files: one of pairs or two parallel ones, plain or gzip.
 *
 * Refused is ERR_DATA; what is accepted counts every line once, and its pairs are clean text within the limits. Files
 * are anonymous memory, opened through /proc. The first byte of an input chooses the rule, what a bad line does, the
 * limits and the form; of two parallel files the second begins behind the first byte 0xFF, which no text has. A plain
 * file is read again as gzip and must give the same pairs; an archive in gzip is refused. */
#include "tests/fuzz/fuzz.h"

#include "proto/text/form.h"
#include "proto/text/normalise.h"
#include "proto/text/pairs.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>

enum {
    CHOICE_PARALLEL = 1 << 0,
    CHOICE_SKIP_BAD = 1 << 1,
    CHOICE_LIMITS = 1 << 2,
    CHOICE_RULE = 1 << 3, /* two bits */
    PATH_LENGTH = 40,
    GZIP_WRITE = 16 + 9, /* deflateInit2: a gzip header, the smallest window */
};

struct file {
    int fd;
    char path[PATH_LENGTH];
};

/* The files of a process, emptied rather than closed between inputs: making one costs more than reading it. */
static struct file fuzz_pairs_files[2];

static const char *fuzz_pairs_write(struct file *file, const void *bytes, size_t size)
{
    if (file->path[0] == '\0') {
        file->fd = memfd_create("pairs", MFD_CLOEXEC);
        must(file->fd >= 0);
        snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", file->fd);
    }
    must(ftruncate(file->fd, 0) == 0 && pwrite(file->fd, bytes, size, 0) == (ssize_t)size);
    return file->path;
}

static const char *fuzz_pairs_write_gzip(struct file *file, const uint8_t *bytes, size_t size)
{
    z_stream deflater = {0};
    must(deflateInit2(&deflater, Z_BEST_SPEED, Z_DEFLATED, GZIP_WRITE, 1, Z_DEFAULT_STRATEGY) == Z_OK);
    size_t room = deflateBound(&deflater, size);
    uint8_t *out = malloc(room), *in = (uint8_t *)fuzz_copy(bytes, size);
    must(out != NULL);
    deflater.next_in = in;
    deflater.avail_in = (uInt)size;
    deflater.next_out = out;
    deflater.avail_out = (uInt)room;
    must(deflate(&deflater, Z_FINISH) == Z_STREAM_END);
    const char *path = fuzz_pairs_write(file, out, deflater.total_out);
    deflateEnd(&deflater);
    free(in);
    free(out);
    return path;
}

static void fuzz_pairs_check_side(const struct pairs *pairs, const struct pairs_source *source, uint32_t start,
                                  uint32_t size)
{
    const char *text = pairs->text.data + start;
    must((size_t)start + size < pairs->text.size && text[size] == '\0');
    must(utf8_valid(text, size, NULL));
    size_t words = word_count(text, size);
    must(words >= source->min_tokens && words <= source->max_tokens);
}

/* What came out of a source, and that each line is accounted for. The caller frees the pairs. */
static bool fuzz_pairs_read(struct pairs *pairs, const struct pairs_source *source)
{
    struct err err = {0};
    *pairs = (struct pairs){0};
    bool ok = pairs_read(pairs, source, &err);
    if (!ok)
        must_refuse(&err, ERR_DATA);
    must(source->on_bad_line == BAD_LINE_SKIP || pairs->bad == 0);
    must((pairs->bad == 0) == (pairs->first_bad[0] == '\0'));
    must(is_one_line(pairs->first_bad, strlen(pairs->first_bad)));
    for (int side = 0; side < 2; side++) {
        const struct pairs_loss *loss = side == 0 ? &pairs->src_loss : &pairs->tgt_loss;
        must(loss->count.removed <= loss->count.letters);
        must((loss->count.removed == 0) == (loss->first[0] == '\0'));
        must(is_one_line(loss->first, strlen(loss->first)));
        must(!ok || !source->refuse_loss || loss->count.removed * 100 <= loss->count.letters * PAIRS_LOSS);
    }
    must(!ok || (pairs->count > 0 && pairs->lines == pairs->count + pairs->bad + pairs->dropped));
    for (size_t i = 0; i < pairs->count; i++) {
        fuzz_pairs_check_side(pairs, source, pairs->items[i].src, pairs->items[i].src_size);
        fuzz_pairs_check_side(pairs, source, pairs->items[i].tgt, pairs->items[i].tgt_size);
    }
    return ok;
}

static void fuzz_pairs_check_same(const struct pairs *one, const struct pairs *other)
{
    must(one->count == other->count && one->lines == other->lines && one->bad == other->bad);
    must(one->dropped == other->dropped && one->text.size == other->text.size);
    must(one->text.size == 0 || memcmp(one->text.data, other->text.data, one->text.size) == 0);
}

static void fuzz_pairs_read_tsv(struct pairs_source *source, const uint8_t *data, size_t size)
{
    struct pairs plain, packed;
    source->pairs = fuzz_pairs_write(&fuzz_pairs_files[0], data, size);
    bool ok = fuzz_pairs_read(&plain, source);
    enum form_kind kind = form_of((const char *)data, size).kind;
    if (kind != FORM_GZIP && kind != FORM_ZIP) {
        source->pairs = fuzz_pairs_write_gzip(&fuzz_pairs_files[0], data, size);
        must(fuzz_pairs_read(&packed, source) == ok);
        fuzz_pairs_check_same(&plain, &packed);
        pairs_free(&packed);
    }
    pairs_free(&plain);
}

static void fuzz_pairs_read_parallel(struct pairs_source *source, const uint8_t *data, size_t size)
{
    struct pairs pairs;
    const uint8_t *border = size == 0 ? NULL : memchr(data, 0xFF, size);
    size_t first = border == NULL ? size : (size_t)(border - data);
    source->src = fuzz_pairs_write(&fuzz_pairs_files[0], data, first);
    source->tgt = border == NULL ? fuzz_pairs_write(&fuzz_pairs_files[1], data, size)
                                 : fuzz_pairs_write(&fuzz_pairs_files[1], border + 1, size - first - 1);
    fuzz_pairs_read(&pairs, source);
    pairs_free(&pairs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    unsigned choice = fuzz_choice(&data, &size);
    struct pairs_source source = {
        .pairs = "",
        .src = "",
        .tgt = "",
        .rule = (enum normalise)(choice / CHOICE_RULE % (NORMALISE_NONE + 1)),
        .on_bad_line = (choice & CHOICE_SKIP_BAD) != 0 ? BAD_LINE_SKIP : BAD_LINE_FAIL,
        .min_tokens = (choice & CHOICE_LIMITS) != 0 ? 1 : 0,
        .max_tokens = (choice & CHOICE_LIMITS) != 0 ? 8 : SIZE_MAX,
        .refuse_loss = (choice & CHOICE_LIMITS) != 0,
    };
    if ((choice & CHOICE_PARALLEL) != 0)
        fuzz_pairs_read_parallel(&source, data, size);
    else
        fuzz_pairs_read_tsv(&source, data, size);
    return 0;
}
