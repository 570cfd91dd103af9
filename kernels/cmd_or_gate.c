/* cmd_or_gate.c - `lstmq or-gate`: a 2-3-1 network learns the OR function, as the smallest end-to-end check of kernels.
 *
 * Two linear layers, each with a sigmoid behind it, binary cross-entropy, plain gradient descent on the four cases at
 * once: the first network of the notebook. The CPU backend that trains translation models computes the products and the
 * updates. Its memory is the process's own, so the sigmoids are plain loops here. */
#include "kernels/backend.h"
#include "proto/base/random.h"
#include "proto/cli/commands.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CASES = 4, INPUTS = 2, HIDDEN = 3, EPOCHS = 1000, REPORT_EVERY = 100, SEED = 42 };
enum { W1 = 0, B1 = W1 + HIDDEN * INPUTS, W2 = B1 + HIDDEN, B2 = W2 + HIDDEN, PARAMETERS = B2 + 1 };

static const float LEARNING_RATE = 5.0f;
static const double GOOD_LOSS = 0.001;

/* Pointers into one piece of the backend's memory. */
struct network {
    float *x;       /* [CASES, INPUTS]                         */
    float *p, *g;   /* [PARAMETERS] and their gradients        */
    float *hidden;  /* [CASES, HIDDEN]                         */
    float *dhidden; /* [CASES, HIDDEN]                         */
    float *y;       /* [CASES]                                 */
    float *dy;      /* [CASES] before the output's sigmoid     */
};

static const float or_gate_input[CASES][INPUTS] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
static const float or_gate_answer[CASES] = {0, 1, 1, 1};

/* nn.Linear's default: uniform between ±1/sqrt(inputs), weights and biases alike. */
static void or_gate_uniform(struct mt19937 *mt, float *p, int count, int inputs)
{
    double bound = 1.0 / sqrt((double)inputs);
    for (int i = 0; i < count; i++)
        p[i] = (float)((2.0 * mt19937_double(mt) - 1.0) * bound);
}

static float *or_gate_network_make(struct backend *backend, struct network *net, struct err *err)
{
    enum { FLOATS = CASES * (INPUTS + 2 * HIDDEN + 2) + 2 * PARAMETERS };
    float *memory = backend->op->alloc(backend, FLOATS * sizeof *memory, err);
    if (memory == NULL)
        return NULL;
    net->x = memory;
    net->p = net->x + CASES * INPUTS;
    net->g = net->p + PARAMETERS;
    net->hidden = net->g + PARAMETERS;
    net->dhidden = net->hidden + CASES * HIDDEN;
    net->y = net->dhidden + CASES * HIDDEN;
    net->dy = net->y + CASES;

    float p[PARAMETERS];
    struct mt19937 mt;
    mt19937_seed(&mt, SEED);
    or_gate_uniform(&mt, p + W1, HIDDEN * INPUTS, INPUTS);
    or_gate_uniform(&mt, p + B1, HIDDEN, INPUTS);
    or_gate_uniform(&mt, p + W2, HIDDEN, HIDDEN);
    or_gate_uniform(&mt, p + B2, 1, HIDDEN);
    backend->op->upload(backend, net->p, p, sizeof p);
    backend->op->upload(backend, net->x, or_gate_input, sizeof or_gate_input);
    return memory;
}

static void or_gate_sigmoid(float *x, int count)
{
    for (int i = 0; i < count; i++)
        x[i] = 1.0f / (1.0f + expf(-x[i]));
}

static void or_gate_forward(struct backend *backend, const struct network *net)
{
    const struct backend_table *op = backend->op;
    op->gemm(backend, &(struct gemm){.M = CASES,
                                     .N = HIDDEN,
                                     .K = INPUTS,
                                     .a = net->x,
                                     .b = net->p + W1,
                                     .bias = net->p + B1,
                                     .c = net->hidden,
                                     .transpose_b = true});
    or_gate_sigmoid(net->hidden, CASES * HIDDEN);
    op->gemm(backend, &(struct gemm){.M = CASES,
                                     .N = 1,
                                     .K = HIDDEN,
                                     .a = net->hidden,
                                     .b = net->p + W2,
                                     .bias = net->p + B2,
                                     .c = net->y,
                                     .transpose_b = true});
    or_gate_sigmoid(net->y, CASES);
}

/* Mean binary cross-entropy of y; its gradient before the sigmoid, (y - answer) / CASES, goes to dy. */
static double or_gate_loss(const float *y, float *dy)
{
    double sum = 0.0;
    for (int i = 0; i < CASES; i++) {
        double right = or_gate_answer[i] > 0.5f ? (double)y[i] : 1.0 - (double)y[i];
        sum -= log(right > 1e-12 ? right : 1e-12);
        dy[i] = (y[i] - or_gate_answer[i]) / (float)CASES;
    }
    return sum / CASES;
}

static void or_gate_backward(struct backend *backend, const struct network *net)
{
    const struct backend_table *op = backend->op;
    op->gemm(
        backend,
        &(struct gemm){
            .M = 1, .N = HIDDEN, .K = CASES, .a = net->dy, .b = net->hidden, .c = net->g + W2, .transpose_a = true});
    op->column_sum(backend, net->dy, CASES, 1, false, net->g + B2);
    op->gemm(backend,
             &(struct gemm){.M = CASES, .N = HIDDEN, .K = 1, .a = net->dy, .b = net->p + W2, .c = net->dhidden});
    for (int i = 0; i < CASES * HIDDEN; i++)
        net->dhidden[i] *= net->hidden[i] * (1.0f - net->hidden[i]);
    op->gemm(backend, &(struct gemm){.M = HIDDEN,
                                     .N = INPUTS,
                                     .K = CASES,
                                     .a = net->dhidden,
                                     .b = net->x,
                                     .c = net->g + W1,
                                     .transpose_a = true});
    op->column_sum(backend, net->dhidden, CASES, HIDDEN, false, net->g + B1);
}

static bool or_gate_train(struct backend *backend, const struct network *net, float *y, struct err *err)
{
    const struct backend_table *op = backend->op;
    const struct update_part all = {.rows = 1, .width = PARAMETERS};
    const struct outcome outcome = {.scale = 1.0f}; /* on the CPU this is backend memory too */
    const struct update update = {.p = net->p, .g = net->g, .parts = &all, .count = 1, .outcome = &outcome};
    float dy[CASES];
    double loss = 0.0;
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        or_gate_forward(backend, net);
        op->download(backend, y, net->y, CASES * sizeof *y);
        loss = or_gate_loss(y, dy);
        op->upload(backend, net->dy, dy, sizeof dy);
        or_gate_backward(backend, net);
        op->sgd(backend, &update, LEARNING_RATE, 0.0f);
        if (!op->check(backend, err))
            return false;
        if (epoch % REPORT_EVERY == 0)
            printf("epoch %4d  loss %.6f\n", epoch, loss);
    }
    or_gate_forward(backend, net);
    op->download(backend, y, net->y, CASES * sizeof *y);
    loss = or_gate_loss(y, dy);
    if (!op->check(backend, err))
        return false;
    return loss < GOOD_LOSS || err_set(err, ERR_FAILED, "the loss is %.6f after %d epochs; it should be below %g", loss,
                                       (int)EPOCHS, GOOD_LOSS);
}

static bool or_gate_answers(const float *y, struct err *err)
{
    int wrong = 0;
    for (int i = 0; i < CASES; i++) {
        bool answer = y[i] > 0.5f, right = answer == (or_gate_answer[i] > 0.5f);
        printf("%d or %d = %d  (%.4f)%s\n", (int)or_gate_input[i][0], (int)or_gate_input[i][1], (int)answer,
               (double)y[i], right ? "" : "  wrong");
        wrong += !right;
    }
    return wrong == 0 || err_set(err, ERR_FAILED, "%d of %d answers are wrong", wrong, (int)CASES);
}

bool cmd_or_gate(const struct command_call *call, struct err *err)
{
    (void)call;
    struct network net;
    float y[CASES] = {0};
    struct backend *backend = backend_open("cpu", 1, PRECISION_FP32, err);
    if (backend == NULL)
        return false;
    float *memory = or_gate_network_make(backend, &net, err);
    bool ok = memory != NULL && or_gate_train(backend, &net, y, err);
    if (memory != NULL) {
        struct err wrong;
        if (!or_gate_answers(y, &wrong) && ok) {
            *err = wrong;
            ok = false;
        }
        backend->op->free(backend, memory);
    }
    backend_close(&backend);
    return ok;
}
