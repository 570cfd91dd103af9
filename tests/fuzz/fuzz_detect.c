/* fuzz_detect.c - bytes into detect_read: refused with ERR_DATA, or tables that are written back to the letter. The
 * same bytes as a text, counted and guessed: the same guess twice, and a table that can be read. */
#include "tests/fuzz/fuzz.h"

#include "proto/text/detect.h"

static void fuzz_detect_guess(const struct detect_table *const *tables, const char *text, size_t size)
{
    struct detect_guess one[2], other[2];
    size_t count = detect_text(tables, 2, text, size, one);
    must(count <= size && count <= DETECT_READ && detect_text(tables, 2, text, size, other) == count);
    for (int i = 0; i < 2; i++)
        must(one[i].language == other[i].language && one[i].confidence == other[i].confidence &&
             one[i].score == other[i].score);
    must(one[0].language + one[1].language == 1 && one[0].score >= one[1].score);
    must(one[0].confidence <= 100 && one[0].known >= 0 && one[0].known <= 1);
}

/* Write the tables and read them again: the same bytes. */
static void fuzz_detect_round(const struct detect_table *src, const struct detect_table *tgt, struct buffer *file)
{
    struct err err = {0};
    struct buffer again = {0};
    struct detect_table *src_again, *tgt_again;
    must(detect_write(src, tgt, file, &err));
    must(detect_read(file->data, file->size, "fuzz.bin", &src_again, &tgt_again, &err));
    must(detect_write(src_again, tgt_again, &again, &err));
    must(again.size == file->size && memcmp(again.data, file->data, file->size) == 0);
    detect_table_destroy(&src_again);
    detect_table_destroy(&tgt_again);
    buffer_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err err = {0};
    struct detect_table *src, *tgt;
    struct buffer file = {0};
    char *text = fuzz_copy(data, size);
    if (!detect_read(text, size, "fuzz.bin", &src, &tgt, &err)) {
        must_refuse(&err, ERR_DATA);
        must(src == NULL && tgt == NULL);
    } else {
        fuzz_detect_round(src, tgt, &file);
        must(file.size == size && memcmp(file.data, text, size) == 0);
        fuzz_detect_guess((const struct detect_table *[]){src, tgt}, text, size);
        detect_table_destroy(&src);
        detect_table_destroy(&tgt);
    }
    struct detect_counter *counter = detect_counter_new(&err);
    must(counter != NULL && detect_count(counter, text, size, &err));
    struct detect_table *table = detect_table_new(counter, &err);
    must(table != NULL);
    buffer_clear(&file);
    fuzz_detect_round(table, table, &file);
    fuzz_detect_guess((const struct detect_table *[]){table, NULL}, text, size);
    detect_table_destroy(&table);
    detect_counter_destroy(&counter);
    buffer_free(&file);
    free(text);
    return 0;
}
