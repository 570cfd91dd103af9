/* measure_model.c - a queue that translates: against `lstmq translate`, 64 clients with one sentence each, and a client
 * beside a flood. */
#include "worker/bench/serve/load.h"
#include "worker/bench/serve/queue_process.h"
#include "worker/bench/serve/serve_rows.h"

#include <math.h>
#include <stdlib.h>

enum { MODEL_ROUNDS = 3, MODEL_BATCH = 64, MODEL_CLIENTS = 64 };
/* Enough requests in flight that a batch always waits; a flood of three requests of almost 10,000 lines together. */
enum { MODEL_SENDERS = 4, MODEL_WINDOW = 2, FLOOD_REQUESTS = 3, FLOOD_LINES = 3300, FAIR_RATE = 10 };
static const double fair_parts = 4; /* times bench.seconds */

/* The streams together, on a queue of their own: one that knows other clients shares itself among them. */
static bool model_serve(const struct serve_rows *rows, double seconds, struct load_stream *streams, size_t count,
                        struct err *err)
{
    const char *const words[] = {"--model", rows->model, "--workers", "1", NULL};
    struct queue_process queue;
    if (!queue_process_start(&queue, words, err))
        return false;
    struct load load = {
        .endpoint = queue.endpoint, .texts = &rows->lines, .seconds = seconds, .streams = streams, .count = count};
    bool ok = load_run(&load, err) && load_check(&load, err);
    return queue_process_stop(&queue, ok ? err : NULL) && ok;
}

/* Lines of `lstmq translate` a second: all lines in the time that they take longer than one of them. */
static bool model_translate(const struct serve_rows *rows, double *per_s, struct err *err)
{
    const char *const words[] = {"lstmq", "translate", "--model", rows->model, "--log.level", "error", NULL};
    struct buffer text = {0};
    double one_s = 0, all_s = 0;
    uint64_t lines = 0;
    for (size_t i = 0; i < rows->lines.count; i++) {
        buffer_append(&text, rows->lines.bytes.data + rows->lines.at[i], rows->lines.lengths[i]);
        buffer_text(&text, "\n");
    }
    bool ok = buffer_ok(&text, err) &&
              queue_process_filter(words, text.data, rows->lines.lengths[0] + 1, &one_s, &lines, err) &&
              queue_process_filter(words, text.data, text.size, &all_s, &lines, err);
    buffer_free(&text);
    if (ok && lines != rows->lines.count)
        ok = err_set(err, ERR_FAILED, "lstmq translate answers %zu lines with %llu", rows->lines.count,
                     (unsigned long long)lines);
    *per_s = (double)(rows->lines.count - 1) / fmax(all_s - one_s, 1e-9);
    return ok;
}

static int model_by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double model_median(double values[MODEL_ROUNDS])
{
    qsort(values, MODEL_ROUNDS, sizeof *values, model_by_value);
    return values[MODEL_ROUNDS / 2];
}

/* In turns, so that another process on the machine disturbs all of them. */
bool serve_measure_model(struct serve_rows *rows, struct err *err)
{
    double ratios[MODEL_ROUNDS], single[MODEL_ROUNDS], served[MODEL_ROUNDS], slow[MODEL_ROUNDS];
    for (int round = 0; round < MODEL_ROUNDS; round++) {
        struct load_stream many = {.clients = MODEL_SENDERS, .window = MODEL_WINDOW, .texts = MODEL_BATCH};
        struct load_stream batch = {.clients = 1, .window = 1, .texts = MODEL_BATCH};
        struct load_stream clients = {.clients = MODEL_CLIENTS, .window = 1, .texts = 1};
        double alone_per_s;
        if (!model_translate(rows, &alone_per_s, err) || !model_serve(rows, rows->seconds, &many, 1, err) ||
            !model_serve(rows, rows->seconds / 2, &batch, 1, err) ||
            !model_serve(rows, rows->seconds, &clients, 1, err))
            return false;
        served[round] = (double)many.done * MODEL_BATCH / rows->seconds;
        ratios[round] = served[round] / alone_per_s;
        single[round] = (double)clients.done / rows->seconds / served[round];
        slow[round] = latency_at(&clients.answered, 0.99) / latency_at(&batch.answered, 0.5);
    }
    serve_row(rows, "served_per_s", "sentences served", "/s", model_median(served), SERVE_SHOWN, 0);
    serve_row(rows, "served_ratio", "served, of lstmq translate", "", model_median(ratios), SERVE_AT_LEAST, 0.9);
    serve_row(rows, "single_ratio", "64 clients, one sentence each, of that", "", model_median(single), SERVE_AT_LEAST,
              0.6);
    serve_row(rows, "single_p99_batches", "their p99, of the time of one batch", "", model_median(slow), SERVE_AT_MOST,
              3);
    return true;
}

bool serve_measure_fair(struct serve_rows *rows, struct err *err)
{
    double seconds = fair_parts * rows->seconds;
    struct load_stream alone = {.clients = 1, .rate = FAIR_RATE, .texts = 1};
    struct load_stream both[] = {alone, {.clients = 1, .window = FLOOD_REQUESTS, .texts = FLOOD_LINES}};
    if (!model_serve(rows, seconds, &alone, 1, err) || !model_serve(rows, seconds, both, 2, err))
        return false;
    double free_ms = latency_at(&alone.answered, 0.99) / 1e6, busy_ms = latency_at(&both[0].answered, 0.99) / 1e6;
    serve_row(rows, "fair_free_p99_ms", "a line now and then, p99", "ms", free_ms, SERVE_SHOWN, 0);
    serve_row(rows, "fair_flood_p99_ms", "the same beside a flood, p99", "ms", busy_ms, SERVE_SHOWN, 0);
    serve_row(rows, "fair_ratio", "their ratio", "", busy_ms / free_ms, SERVE_AT_MOST, 3);
    serve_row(rows, "fair_busy", "lines refused as busy beside a flood", "", (double)both[0].busy.count, SERVE_AT_MOST,
              0);
    return true;
}
