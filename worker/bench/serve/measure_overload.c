/* measure_overload.c - ten times more requests than a queue can answer, for a while.
 *
 * The worker takes a fixed time for each text (paced_worker.h), so the capacity is known, and queue and clients have
 * the processor. Requests arrive at fixed times, each with one text and a deadline. */
#include "worker/bench/serve/load.h"
#include "worker/bench/serve/paced_worker.h"
#include "worker/bench/serve/queue_process.h"
#include "worker/bench/serve/serve_rows.h"

enum { OVERLOAD_TEXT_US = 1000, OVERLOAD_TIMES = 10, OVERLOAD_DEADLINE_MS = 1000, OVERLOAD_CLIENTS = 8 };
static const double overload_once = 2, overload_warm = 1, overload_parts = 4; /* times bench.seconds */

static bool overload_run(const struct queue_process *queue, struct load_stream *stream, double times, double seconds,
                         struct err *err)
{
    *stream = (struct load_stream){.clients = OVERLOAD_CLIENTS,
                                   .rate = times * 1e6 / OVERLOAD_TEXT_US,
                                   .texts = 1,
                                   .deadline_ms = OVERLOAD_DEADLINE_MS,
                                   .stamped = true};
    struct load load = {.endpoint = queue->endpoint, .seconds = seconds, .streams = stream, .count = 1};
    return load_run(&load, err) && load_check(&load, err);
}

static bool overload_measure(struct serve_rows *rows, const struct queue_process *queue, struct paced_worker *worker,
                             struct err *err)
{
    static struct load_stream once, first, rest; /* histograms are large */
    double s = rows->seconds;
    if (!overload_run(queue, &once, 1, overload_once * s, err) ||
        !overload_run(queue, &first, OVERLOAD_TIMES, overload_warm * s, err))
        return false;
    double before = (double)queue_process_memory(queue);
    if (!overload_run(queue, &rest, OVERLOAD_TIMES, overload_parts * s, err))
        return false;
    double grown = (double)queue_process_memory(queue) - before, mib = 1 << 20;
    double normal = (double)once.in_time / (overload_once * s), good = (double)rest.in_time / (overload_parts * s);
    serve_row(rows, "overload_offered_per_s", "10 x capacity, offered", "/s", (double)rest.sent / (overload_parts * s),
              SERVE_SHOWN, 0);
    serve_row(rows, "overload_busy_p99_ms", "refused as busy after, p99", "ms", latency_at(&rest.busy, 0.99) / 1e6,
              SERVE_AT_MOST, 50);
    serve_row(rows, "overload_late_p99_ms", "deadlines missed by, p99", "ms", latency_at(&rest.late, 0.99) / 1e6,
              SERVE_AT_MOST, 10);
    serve_row(rows, "overload_late_share", "requests past their deadline, of all", "",
              (double)rest.late.count / (double)rest.sent, SERVE_SHOWN, 0);
    serve_row(rows, "overload_goodput", "answers in time, of those at 1 x", "", good / normal, SERVE_AT_LEAST, 0.95);
    serve_row(rows, "overload_1x_per_s", "answers in time at 1 x", "/s", normal, SERVE_SHOWN, 0);
    serve_row(rows, "overload_grown_mib", "memory of the queue grew by", "MiB", grown / mib, SERVE_AT_MOST, 1);
    if (!paced_worker_stop(worker, err))
        return false;
    serve_row(rows, "overload_expired_computed", "expired texts sent to a worker", "", (double)worker->expired_received,
              SERVE_AT_MOST, 0);
    serve_row(rows, "overload_expired_begun", "texts that expired while a batch waited", "",
              (double)worker->expired_begun, SERVE_SHOWN, 0);
    return true;
}

bool serve_measure_overload(struct serve_rows *rows, struct err *err)
{
    const char *const words[] = {"--serve.echo", "--workers", "0", NULL};
    struct queue_process queue;
    struct paced_worker worker = {.text_us = OVERLOAD_TEXT_US};
    if (!queue_process_start(&queue, words, err))
        return false;
    worker.endpoint = queue.endpoint;
    bool started = paced_worker_start(&worker, err), ok = started && overload_measure(rows, &queue, &worker, err);
    if (started && !ok)
        paced_worker_stop(&worker, NULL);
    return queue_process_stop(&queue, ok ? err : NULL) && ok;
}
