/* metrics_text.h - a page of metrics, in the two text formats that Prometheus reads.
 *
 *   struct metrics_text text = metrics_begin(&out, http_header(exchange, "Accept"));
 *   metrics_family(&text, METRIC_COUNTER, "lstmq_requests_total", "Requests that are over.");
 *   metrics_value(&text, 12, METRIC_LABELS({"interface", "http"}, {"outcome", "ok"}));
 *   metrics_process(&text);
 *   metrics_end(&text);
 *   http_answer(exchange, 200, metrics_content_type(&text), out.data, out.size);
 *
 * The format is Prometheus' own (0.0.4), or OpenMetrics 1.0.0 if the client accepts that. Rules for names: base units
 * (seconds, bytes), _total on counters, no label in a name. Rules for labels: no address, key or text; every set of
 * labels exists from the start, at 0. A struct metrics_text lives for one page. Any thread. */
#ifndef LSTMQ_COORDINATOR_HTTP_METRICS_TEXT_H
#define LSTMQ_COORDINATOR_HTTP_METRICS_TEXT_H

#include "coordinator/http/histogram.h"
#include "proto/base/buffer.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

struct metric_label {
    const char *name, *value; /* name NULL ends a list */
};

/* The labels of one value; NULL = none. */
#define METRIC_LABELS(...) ((const struct metric_label[]){__VA_ARGS__, {NULL, NULL}})

struct metrics_text {
    struct buffer *out;
    bool open; /* OpenMetrics */
    const char *family;
};

/* Append a page to `out`, for a client that accepts this (its header's value; NULL = anything). */
struct metrics_text metrics_begin(struct buffer *out, const char *accept);
void metrics_end(struct metrics_text *text);

const char *metrics_content_type(const struct metrics_text *text);

/* The values that follow belong to this family. `name` has its _total, and is kept until the next family. `help` is one
 * sentence. */
void metrics_family(struct metrics_text *text, enum metric_type type, const char *name, const char *help);

/* One value of a counter or a gauge; one histogram. Values of labels may be any text. */
void metrics_value(struct metrics_text *text, double value, const struct metric_label *labels);
void metrics_histogram(struct metrics_text *text, const struct histogram *histogram, const struct metric_label *labels);

/* The families process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds, process_max_fds and
 * process_start_time_seconds of this process; what the system does not tell is left out. */
void metrics_process(struct metrics_text *text);

#endif
