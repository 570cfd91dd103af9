/* test_metrics_text.c - the page of metrics, letter for letter, and as the parsers of others read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "coordinator/http/metrics_text.h"
#include "proto/base/clock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"

static void metrics_sample(struct metrics_text *text)
{
    struct histogram histogram = {.bounds = &histogram_sentences};
    histogram_add(&histogram, 1, NULL);
    histogram_add(&histogram, 3, TRACE);
    histogram_add(&histogram, 4, NULL);
    histogram_add(&histogram, 300, NULL);
    metrics_family(text, METRIC_COUNTER, "lstmq_requests_total", "Requests that are over.");
    metrics_value(text, 12, METRIC_LABELS({"interface", "http"}, {"outcome", "ok"}));
    metrics_value(text, 0, METRIC_LABELS({"interface", "zmq"}, {"outcome", "ok"}));
    metrics_family(text, METRIC_GAUGE, "lstmq_model_info", "A model's \\ name,\nas it is.");
    metrics_value(text, 1, METRIC_LABELS({"model", "a\"b\\c\nd\xc3\xa9"}));
    metrics_family(text, METRIC_GAUGE, "lstmq_queue_oldest_seconds", "Age of the oldest sentence.");
    metrics_value(text, 0.1, NULL);
    metrics_family(text, METRIC_HISTOGRAM, "lstmq_batch_sentences", "Sentences of a batch.");
    metrics_histogram(text, &histogram, METRIC_LABELS({"model", "en-fr"}));
}

static void the_page_of_prometheus(void **state)
{
    static const char expected[] = "# HELP lstmq_requests_total Requests that are over.\n"
                                   "# TYPE lstmq_requests_total counter\n"
                                   "lstmq_requests_total{interface=\"http\",outcome=\"ok\"} 12\n"
                                   "lstmq_requests_total{interface=\"zmq\",outcome=\"ok\"} 0\n"
                                   "# HELP lstmq_model_info A model's \\\\ name,\\nas it is.\n"
                                   "# TYPE lstmq_model_info gauge\n"
                                   "lstmq_model_info{model=\"a\\\"b\\\\c\\nd\xc3\xa9\"} 1\n"
                                   "# HELP lstmq_queue_oldest_seconds Age of the oldest sentence.\n"
                                   "# TYPE lstmq_queue_oldest_seconds gauge\n"
                                   "lstmq_queue_oldest_seconds 0.1\n"
                                   "# HELP lstmq_batch_sentences Sentences of a batch.\n"
                                   "# TYPE lstmq_batch_sentences histogram\n"
                                   "lstmq_batch_sentences_bucket{model=\"en-fr\",le=\"1.0\"} 1\n"
                                   "lstmq_batch_sentences_bucket{model=\"en-fr\",le=\"2.0\"} 1\n"
                                   "lstmq_batch_sentences_bucket{model=\"en-fr\",le=\"4.0\"} 3\n"
                                   "lstmq_batch_sentences_bucket{model=\"en-fr\",le=\"8.0\"} 3\n"
                                   "lstmq_batch_sentences_bucket{model=\"en-fr\",le=\"16.0\"} 3\n"
                                   "lstmq_batch_sentences_bucket{model=\"en-fr\",le=\"32.0\"} 3\n"
                                   "lstmq_batch_sentences_bucket{model=\"en-fr\",le=\"64.0\"} 3\n"
                                   "lstmq_batch_sentences_bucket{model=\"en-fr\",le=\"128.0\"} 3\n"
                                   "lstmq_batch_sentences_bucket{model=\"en-fr\",le=\"256.0\"} 3\n"
                                   "lstmq_batch_sentences_bucket{model=\"en-fr\",le=\"+Inf\"} 4\n"
                                   "lstmq_batch_sentences_sum{model=\"en-fr\"} 308\n"
                                   "lstmq_batch_sentences_count{model=\"en-fr\"} 4\n";
    struct buffer out = {0};
    (void)state;
    struct metrics_text text = metrics_begin(&out, "text/plain");
    metrics_sample(&text);
    metrics_end(&text);
    assert_string_equal(out.data, expected);
    assert_string_equal(metrics_content_type(&text), "text/plain; version=0.0.4; charset=utf-8");
    buffer_free(&out);
}

static void the_page_of_openmetrics(void **state)
{
    struct buffer out = {0};
    (void)state;
    struct metrics_text text =
        metrics_begin(&out, "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1");
    metrics_sample(&text);
    metrics_end(&text);
    assert_non_null(strstr(out.data, "# TYPE lstmq_requests counter\nlstmq_requests_total{"));
    assert_non_null(strstr(out.data, ",le=\"4.0\"} 3 # {trace_id=\"" TRACE "\"} 3\n"));
    assert_string_equal(out.data + out.size - 6, "# EOF\n");
    assert_string_equal(metrics_content_type(&text), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    buffer_free(&out);
}

static void numbers_are_exact(void **state)
{
    static const struct {
        double value;
        const char *text;
    } rows[] = {{0.1, "v 0.1\n"},
                {1e300, "v 1e+300\n"},
                {1.0 / 3, "v 0.3333333333333333\n"},
                {9007199254740993.0, "v 9007199254740992\n"},
                {NAN, "v NaN\n"},
                {-INFINITY, "v -Inf\n"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buffer out = {0};
        struct metrics_text text = metrics_begin(&out, NULL);
        text.family = "v";
        metrics_value(&text, rows[i].value, NULL);
        assert_string_equal(out.data, rows[i].text);
        buffer_free(&out);
    }
}

static void a_value_falls_into_the_range_of_its_bound(void **state)
{
    struct histogram histogram = {.bounds = &histogram_request_seconds};
    (void)state;
    assert_int_equal(histogram_range(&histogram, 0), 0);
    assert_int_equal(histogram_range(&histogram, 0.0005), 0);
    assert_int_equal(histogram_range(&histogram, 0.00051), 1);
    assert_int_equal(histogram_range(&histogram, 30), 14);
    assert_int_equal(histogram_range(&histogram, 31), 15);
    assert_int_equal(histogram_range(&histogram, NAN), 15);
}

static double metrics_find(const char *page, const char *name)
{
    char line[128];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *found = strstr(page, line);
    if (found == NULL)
        fail_msg("%s is not in: %s", name, page);
    return strtod(found + strlen(line), NULL);
}

static void a_process_measures_itself(void **state)
{
    struct buffer out = {0};
    struct timespec now;
    (void)state;
    struct metrics_text text = metrics_begin(&out, NULL);
    metrics_process(&text);
    clock_gettime(CLOCK_REALTIME, &now);
    double age = (double)now.tv_sec - metrics_find(out.data, "process_start_time_seconds");
    assert_true(age > -5 && age < 600);
    assert_true(metrics_find(out.data, "process_resident_memory_bytes") > 1e6);
    assert_true(metrics_find(out.data, "process_open_fds") >= 3);
    assert_true(metrics_find(out.data, "process_max_fds") >= 64);
    assert_true(metrics_find(out.data, "process_cpu_seconds_total") >= 0);
    buffer_free(&out);
}

/* Give a page to a program; its exit status. 127 = it is not installed. */
static int metrics_feed(const char *command, const struct buffer *page)
{
    FILE *program = popen(command, "w");
    assert_non_null(program);
    assert_int_equal(fwrite(page->data, 1, page->size, program), page->size);
    int status = pclose(program);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void others_read_the_pages(void **state)
{
    static const char *const commands[] = {
        "if command -v promtool >/dev/null; then promtool check metrics; else cat >/dev/null; exit 127; fi",
        "for python in python3 /usr/bin/python3; do $python -c 'import prometheus_client' 2>/dev/null && break; done\n"
        "if $python -c 'import prometheus_client' 2>/dev/null; then $python -c 'import sys\n"
        "from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse\n"
        "families = list(parse(sys.stdin.read()))\n"
        "assert len(families) == 9, families'; else cat >/dev/null; exit 127; fi"};
    (void)state;
    bool skipped = false;
    for (size_t i = 0; i < 2; i++) {
        struct buffer out = {0};
        struct metrics_text text = metrics_begin(&out, i == 0 ? NULL : "application/openmetrics-text");
        metrics_sample(&text);
        metrics_process(&text);
        metrics_end(&text);
        int status = metrics_feed(commands[i], &out);
        skipped = skipped || status == 127;
        if (status != 127)
            assert_int_equal(status, 0);
        buffer_free(&out);
    }
    if (skipped) {
        print_message("promtool or python3-prometheus-client is not installed: not checked\n");
        skip();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_of_prometheus),    cmocka_unit_test(the_page_of_openmetrics),
        cmocka_unit_test(numbers_are_exact),         cmocka_unit_test(a_value_falls_into_the_range_of_its_bound),
        cmocka_unit_test(a_process_measures_itself), cmocka_unit_test(others_read_the_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
