/* test_model_file.c - a model over the bytes of its file: used where they lie, or copied where they cannot be. */
#include "proto/base/log.h"
#include "tests/support/drawn_translator.h"
#include "tests/support/fixture.h"

static struct translator file_drawn;

/* The file of the drawn model, with tensor i at place order[i]. */
static void file_write(const int *order, struct buffer *out)
{
    const struct model *model = file_drawn.model;
    struct tensor_entry entries[MODEL_TENSORS], sorted[MODEL_TENSORS];
    struct err err;
    assert_ok(model_entries(model, "", entries, &err), err);
    for (int i = 0; i < model->tensor_count; i++)
        sorted[i] = entries[order[i]];
    buffer_clear(out);
    assert_ok(safetensors_header(sorted, (size_t)model->tensor_count, out, &err), err);
    for (int i = 0; i < model->tensor_count; i++)
        buffer_append(out, model->parameters + model->tensors[order[i]].offset,
                      model->tensors[order[i]].size * sizeof(float));
    assert_ok(buffer_ok(out, &err), err);
}

static void file_write_in_order(struct buffer *bytes)
{
    int order[MODEL_TENSORS];
    for (int i = 0; i < MODEL_TENSORS; i++)
        order[i] = i;
    file_write(order, bytes);
}

static struct model *file_open(const struct buffer *bytes, bool *borrowed, struct err *err)
{
    const struct checkpoint *checkpoint = &file_drawn.checkpoint;
    return model_new_from(file_drawn.backend, &file_drawn.config, (int)vocab_size(checkpoint->src),
                          (int)vocab_size(checkpoint->tgt), bytes->data, bytes->size, "model", borrowed, err);
}

static void file_has_parameters(const struct model *model)
{
    assert_int_equal(model->elements, file_drawn.model->elements);
    assert_memory_equal(model->parameters, file_drawn.model->parameters, model->elements * sizeof(float));
}

static void tensors_in_order_are_used_where_they_lie(void **state)
{
    struct buffer bytes = {0};
    bool borrowed;
    struct err err;
    (void)state;
    file_write_in_order(&bytes);
    struct model *model = file_open(&bytes, &borrowed, &err);
    assert_non_null(model);
    assert_true(borrowed);
    assert_true((char *)model->parameters > bytes.data && (char *)model->parameters < bytes.data + bytes.size);
    file_has_parameters(model);
    model_destroy(&model);
    buffer_free(&bytes);
}

static void tensors_in_another_order_are_copied(void **state)
{
    int order[MODEL_TENSORS];
    struct buffer bytes = {0};
    bool borrowed;
    struct err err;
    int count = file_drawn.model->tensor_count;
    (void)state;
    for (int i = 0; i < count; i++)
        order[i] = count - 1 - i;
    file_write(order, &bytes);
    struct model *model = file_open(&bytes, &borrowed, &err);
    assert_non_null(model);
    assert_false(borrowed);
    buffer_free(&bytes); /* the model has its own */
    file_has_parameters(model);
    model_destroy(&model);
}

/* A file of another model has the same names and other shapes. */
static void another_shape_or_a_missing_tensor_is_refused(void **state)
{
    struct buffer bytes = {0};
    bool borrowed;
    struct err err;
    (void)state;
    file_write_in_order(&bytes);
    file_drawn.config.model_hidden++;
    assert_err(file_open(&bytes, &borrowed, &err) != NULL, err, ERR_DATA, "the configuration wants");
    assert_false(borrowed);
    file_drawn.config.model_hidden--;
    memcpy(strstr(bytes.data + SAFETENSORS_LENGTH, "projection.bias"), "projection.bigs", 15);
    assert_err(file_open(&bytes, &borrowed, &err) != NULL, err, ERR_DATA, "missing");
    bytes.size--;
    assert_err(file_open(&bytes, &borrowed, &err) != NULL, err, ERR_DATA, "model: ");
    buffer_free(&bytes);
}

static int file_setup(void **state)
{
    struct err err;
    (void)state;
    return drawn_open(&file_drawn, 1, NORMALISE_NFC, &err) ? 0 : -1;
}

static int file_teardown(void **state)
{
    (void)state;
    translator_close(&file_drawn);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_in_order_are_used_where_they_lie),
        cmocka_unit_test(tensors_in_another_order_are_copied),
        cmocka_unit_test(another_shape_or_a_missing_tensor_is_refused),
    };
    log_open("test", LOG_OFF);
    return cmocka_run_group_tests_name("model_file", tests, file_setup, file_teardown);
}
