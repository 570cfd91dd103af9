/* measure_queue.c - a queue that echoes: speed over ZeroMQ and HTTP, bursts of connections, idle CPU, start. */
#include "worker/bench/serve/http_load.h"
#include "worker/bench/serve/load.h"
#include "worker/bench/serve/queue_process.h"
#include "worker/bench/serve/serve_rows.h"

#include "proto/base/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MEASURE_WINDOW = 1000, MEASURE_CONNECTIONS = 64, MEASURE_BURST = 400, MEASURE_STARTS = 3 };
static const double measure_warm_s = 0.2, measure_settle_s = 1, measure_idle_s = 3;

static const char *const measure_echo[] = {"--serve.echo", "--workers", "1", NULL};
static const char *const measure_echo_http[] = {"--serve.echo", "--workers", "1", "--http", "127.0.0.1:0", NULL};

static bool measure_load(const struct queue_process *queue, const struct serve_rows *rows, double seconds,
                         struct load_stream *stream, struct err *err)
{
    struct load load = {.endpoint = queue->endpoint,
                        .texts = &rows->numbered,
                        .echo = true,
                        .seconds = seconds,
                        .streams = stream,
                        .count = 1};
    return load_run(&load, err) && load_check(&load, err);
}

static bool measure_queue_rows(struct serve_rows *rows, const struct queue_process *queue, struct err *err)
{
    struct load_stream warm = {.clients = 1, .window = MEASURE_WINDOW, .texts = 1}, many = warm, one = warm;
    one.window = 1;
    if (!measure_load(queue, rows, measure_warm_s, &warm, err) ||
        !measure_load(queue, rows, rows->seconds, &many, err) || !measure_load(queue, rows, rows->seconds, &one, err))
        return false;
    serve_row(rows, "pipelined_per_s", "requests, pipelined", "/s", (double)many.done / rows->seconds, SERVE_AT_LEAST,
              50000);
    serve_row(rows, "pipelined_busy", "of them refused as busy", "", (double)many.busy.count, SERVE_AT_MOST, 0);
    serve_row(rows, "alone_p50_us", "one at a time, p50", "us", latency_at(&one.answered, 0.5) / 1e3, SERVE_AT_MOST,
              200);
    serve_row(rows, "alone_p99_us", "one at a time, p99", "us", latency_at(&one.answered, 0.99) / 1e3, SERVE_SHOWN, 0);
    return true;
}

static bool measure_http_rows(struct serve_rows *rows, const struct queue_process *queue, struct err *err)
{
    struct http_load warm = {.address = queue->http, .connections = 1, .seconds = measure_warm_s};
    struct http_load one = warm, many = warm;
    one.seconds = many.seconds = rows->seconds;
    many.connections = MEASURE_CONNECTIONS;
    double ms;
    if (!http_load_run(&warm, err) || !http_load_run(&many, err) || !http_load_run(&one, err) ||
        !http_load_burst(queue->http, MEASURE_BURST, "GET /livez HTTP/1.1\r\nHost: bench\r\n\r\n", &ms, err))
        return false;
    serve_row(rows, "http_64_per_s", "HTTP, 64 connections", "/s", (double)many.done / rows->seconds, SERVE_AT_LEAST,
              15000);
    serve_row(rows, "http_64_p99_us", "HTTP, 64 connections, p99", "us", latency_at(&many.answered, 0.99) / 1e3,
              SERVE_SHOWN, 0);
    serve_row(rows, "http_1_p50_us", "HTTP, one connection, p50", "us", latency_at(&one.answered, 0.5) / 1e3,
              SERVE_AT_MOST, 500);
    serve_row(rows, "burst_http_ms", "400 HTTP connections at once", "ms", ms, SERVE_AT_MOST, 200);
    return true;
}

/* CPU of a queue that has had load, and has none now; and a burst of connections. */
static bool measure_rest_rows(struct serve_rows *rows, const struct queue_process *queue, struct err *err)
{
    struct load_stream warm = {.clients = 1, .window = MEASURE_WINDOW, .texts = 1};
    double ms;
    if (!measure_load(queue, rows, measure_warm_s, &warm, err) ||
        !http_load_burst(queue->endpoint + strlen("tcp://"), MEASURE_BURST, NULL, &ms, err))
        return false;
    serve_row(rows, "burst_ms", "400 connections at once", "ms", ms, SERVE_AT_MOST, 200);
    usleep((useconds_t)(1e6 * measure_settle_s));
    double before = queue_process_cpu(queue);
    int64_t begin_ns = clock_ns();
    usleep((useconds_t)(1e6 * measure_idle_s * (rows->seconds > 1 ? rows->seconds : 1)));
    double share = 100 * (queue_process_cpu(queue) - before) * 1e9 / (double)(clock_ns() - begin_ns);
    serve_row(rows, "idle_cpu_percent", "CPU of an idle queue and its worker", "%", share, SERVE_AT_MOST, 0.5);
    return true;
}

static bool measure_with(const char *const *words, struct serve_rows *rows,
                         bool (*measure)(struct serve_rows *, const struct queue_process *, struct err *),
                         struct err *err)
{
    struct queue_process queue;
    if (!queue_process_start(&queue, words, err))
        return false;
    bool ok = measure(rows, &queue, err);
    return queue_process_stop(&queue, ok ? err : NULL) && ok;
}

bool serve_measure_queue(struct serve_rows *rows, struct err *err)
{
    return measure_with(measure_echo, rows, measure_queue_rows, err);
}

bool serve_measure_http(struct serve_rows *rows, struct err *err)
{
    return measure_with(measure_echo_http, rows, measure_http_rows, err);
}

bool serve_measure_rest(struct serve_rows *rows, struct err *err)
{
    return measure_with(measure_echo, rows, measure_rest_rows, err);
}

/* From the start of the process to the first answer, with the model if there is one. */
static bool measure_start(struct serve_rows *rows, double *ms, struct err *err)
{
    const char *with_model[] = {"--model", rows->model, "--workers", "1", NULL};
    bool model = rows->model[0] != '\0';
    struct queue_process queue;
    struct load_stream first = {.clients = 1, .window = 1, .texts = 1};
    if (!queue_process_start(&queue, model ? with_model : measure_echo, err))
        return false;
    struct load load = {.endpoint = queue.endpoint,
                        .texts = model && rows->lines.count > 0 ? &rows->lines : &rows->numbered,
                        .echo = !model,
                        .seconds = 1e-3,
                        .streams = &first,
                        .count = 1};
    bool ok = load_run(&load, err) && load_check(&load, err);
    /* The load ends with the answer, which is the first. */
    *ms = (double)(clock_ns() - queue.started_ns) / 1e6;
    return queue_process_stop(&queue, ok ? err : NULL) && ok;
}

bool serve_measure_start(struct serve_rows *rows, struct err *err)
{
    double least = 0;
    for (int i = 0; i < MEASURE_STARTS; i++) {
        double ms;
        if (!measure_start(rows, &ms, err))
            return false;
        least = i == 0 || ms < least ? ms : least;
    }
    serve_row(rows, "start_ms", rows->model[0] != '\0' ? "start to first answer" : "start to first answer, echo", "ms",
              least, SERVE_AT_MOST, 300);
    return true;
}
