/* small_model.h - a model of a few rows and columns, its gradient, and the rows of a step, for tests of what is done to
 * them.
 *
 * Opened and closed by the test that owns it; both must go well. */
#ifndef LSTMQ_TESTS_SUPPORT_SMALL_MODEL_H
#define LSTMQ_TESTS_SUPPORT_SMALL_MODEL_H

#include "worker/train/step_rows.h"

enum { SMALL_EMBED = 4, SMALL_HIDDEN = 3 };

struct small_model {
    struct backend *backend;
    struct model *model;
    struct step_rows rows;
    float *gradient; /* [model->elements], zeros at first */
};

static inline void small_model_open(struct small_model *small, struct config *config, int src_vocab, int tgt_vocab)
{
    struct err err;
    config_defaults(config);
    config->model_embed = SMALL_EMBED;
    config->model_hidden = SMALL_HIDDEN;
    small->backend = backend_open("cpu", 1, PRECISION_FP32, &err);
    assert_non_null(small->backend);
    small->model = model_new(small->backend, config, src_vocab, tgt_vocab, &err);
    assert_non_null(small->model);
    assert_true(step_rows_open(&small->rows, small->model, &err));
    small->gradient = small->backend->op->alloc(small->backend, small->model->elements * sizeof(float), &err);
    assert_non_null(small->gradient);
}

static inline void small_model_close(struct small_model *small)
{
    small->backend->op->free(small->backend, small->gradient);
    step_rows_close(&small->rows);
    model_destroy(&small->model);
    backend_close(&small->backend);
}

#endif
