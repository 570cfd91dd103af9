/* cmd_bench.c - `lstmq bench`: how fast this machine computes, measured on work of the recipe's shape. */
#include "kernels/backend.h"
#include "proto/base/version.h"
#include "proto/cli/commands.h"
#include "worker/bench/bench.h"
#include "worker/bench/bench_serve.h"

#include <string.h>

struct section {
    const char *name;
    bool (*run)(struct bench *bench, struct err *err);
};

static const struct section bench_sections[] = {
    {"kernels", bench_kernels},
    {"train", bench_train},
    {"translate", bench_translate},
    {"cluster", bench_cluster},
};

/* Measured only by its name: it starts queues. */
#define BENCH_SERVE "serve"

enum { SECTIONS = sizeof bench_sections / sizeof bench_sections[0] };

static const char *bench_cell(const struct config *config)
{
    return config->model_cell == CELL_LSTM ? "lstm" : "rnn";
}

static void bench_head(struct bench *bench)
{
    const struct config *config = &bench->config;
    int threads = bench->backend->op->threads(bench->backend);
    const char *precision = config->train_precision == PRECISION_FP32 ? "fp32" : "bf16";
    if (config->output_json)
        buffer_format(&bench->out,
                      "{\"version\": \"%s\", \"commit\": \"%s\", \"compute\": \"%s\", \"threads\": %d, "
                      "\"precision\": \"%s\", \"cell\": \"%s\", \"embed\": %d, \"hidden\": %d, \"batch\": %d",
                      LSTMQ_VERSION, LSTMQ_COMMIT, backend_describe(), threads, precision, bench_cell(config),
                      (int)config->model_embed, (int)config->model_hidden, (int)config->train_batch);
    else
        buffer_format(&bench->out, "lstmq %s (commit %s)\n%s\n%d thread%s, %s; %s, E %d, H %d, batch %d\n",
                      LSTMQ_VERSION, LSTMQ_COMMIT, backend_describe(), threads, threads == 1 ? "" : "s", precision,
                      bench_cell(config), (int)config->model_embed, (int)config->model_hidden,
                      (int)config->train_batch);
}

/* Print each section as soon as it is measured: one can take a minute. */
static bool bench_show(struct bench *bench, struct err *err)
{
    bool ok = command_print(&bench->out, err);
    buffer_clear(&bench->out);
    return ok;
}

static bool cmd_bench_run(struct bench *bench, const char *wanted, const char *part, struct err *err)
{
    bool json = bench->config.output_json;
    bench_head(bench);
    if (wanted != NULL && strcmp(wanted, BENCH_SERVE) == 0) {
        buffer_text(&bench->out, json ? ", " : "\n");
        if (!bench_serve(&bench->config, part, &bench->out, err))
            return err_context(err, "%s", wanted);
    }
    for (int i = 0; i < SECTIONS; i++) {
        if (wanted != NULL && strcmp(wanted, bench_sections[i].name) != 0)
            continue;
        buffer_text(&bench->out, json ? ", " : "\n");
        if (!json && !bench_show(bench, err))
            return false;
        if (!bench_sections[i].run(bench, err))
            return err_context(err, "%s", bench_sections[i].name);
    }
    buffer_text(&bench->out, json ? "}\n" : "");
    return bench_show(bench, err);
}

static bool bench_check(const struct config *config, const char *wanted, const char *part, struct err *err)
{
    bool serve = wanted != NULL && strcmp(wanted, BENCH_SERVE) == 0, known = wanted == NULL || serve;
    for (int i = 0; i < SECTIONS; i++)
        known = known || strcmp(wanted, bench_sections[i].name) == 0;
    if (!known)
        return err_set(err, ERR_USAGE,
                       "nothing called \"%s\" to measure; give kernels, train, translate, cluster or serve", wanted);
    if (part != NULL && !serve)
        return err_set(err, ERR_USAGE, "only serve has parts: \"%s\" is one word too many", part);
    bool pairs = config->data_pairs[0] != '\0' || config->data_src[0] != '\0' || config->data_tgt[0] != '\0';
    if (pairs && config->translate_model[0] == '\0')
        return err_set(err, ERR_USAGE, "pairs are measured with a model's vocabularies: give --model RUN too");
    return true;
}

bool cmd_bench(const struct command_call *call, struct err *err)
{
    struct bench bench = {.config = *call->config};
    const char *wanted = call->words > 0 ? call->word[0] : NULL, *part = call->words > 1 ? call->word[1] : NULL;
    if (!bench_check(&bench.config, wanted, part, err))
        return false;
    bench.backend = backend_open(bench.config.train_device, (int)bench.config.train_threads,
                                 (enum precision)bench.config.train_precision, err);
    if (bench.backend == NULL)
        return false;
    bool ok = cmd_bench_run(&bench, wanted, part, err);
    buffer_free(&bench.out);
    backend_close(&bench.backend);
    return ok;
}
