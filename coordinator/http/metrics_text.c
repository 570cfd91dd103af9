/* metrics_text.c - see metrics_text.h, and prometheus.io's "Exposition formats" and OpenMetrics 1.0. */
#include "coordinator/http/metrics_text.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const char metrics_total[] = "_total";

struct metrics_text metrics_begin(struct buffer *out, const char *accept)
{
    bool open = accept != NULL && strstr(accept, "application/openmetrics-text") != NULL;
    return (struct metrics_text){.out = out, .open = open, .family = ""};
}

void metrics_end(struct metrics_text *text)
{
    if (text->open)
        buffer_text(text->out, "# EOF\n");
}

const char *metrics_content_type(const struct metrics_text *text)
{
    return text->open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                      : "text/plain; version=0.0.4; charset=utf-8";
}

/* Append text with these letters and line ends escaped. */
static void metrics_escape(struct buffer *out, const char *text, bool quotes)
{
    for (const char *c = text; *c != '\0'; c++) {
        size_t plain = strcspn(c, quotes ? "\\\n\"" : "\\\n");
        buffer_append(out, c, plain);
        c += plain;
        if (*c == '\0')
            break;
        buffer_text(out, *c == '\n' ? "\\n" : *c == '"' ? "\\\"" : "\\\\");
    }
}

void metrics_family(struct metrics_text *text, enum metric_type type, const char *name, const char *help)
{
    static const char *const types[] = {"counter", "gauge", "histogram"};
    size_t size = strlen(name), total = sizeof metrics_total - 1;
    if (text->open && type == METRIC_COUNTER && size > total && strcmp(name + size - total, metrics_total) == 0)
        size -= total; /* there, the values have the ending, the family has not */
    text->family = name;
    buffer_format(text->out, "# HELP %.*s ", (int)size, name);
    metrics_escape(text->out, help, text->open);
    buffer_format(text->out, "\n# TYPE %.*s %s\n", (int)size, name, types[type]);
}

/* The shortest digits that give the number back. A bound has a point, so that "1" and "1.0" are not two labels. */
static void metrics_number(struct buffer *out, double value, bool bound)
{
    char digits[32];
    if (isnan(value) || isinf(value)) {
        buffer_text(out, isnan(value) ? "NaN" : value > 0 ? "+Inf" : "-Inf");
        return;
    }
    int precision = 15;
    do
        snprintf(digits, sizeof digits, "%.*g", precision, value);
    while (strtod(digits, NULL) != value && ++precision <= 17);
    buffer_text(out, digits);
    if (bound && strpbrk(digits, ".e") == NULL)
        buffer_text(out, ".0");
}

/* "FAMILY_ENDING{LABELS,le="BOUND"} "; bound NULL = no such label. */
static void metrics_name(struct metrics_text *text, const char *ending, const struct metric_label *labels,
                         const double *bound)
{
    struct buffer *out = text->out;
    const char *before = "{";
    buffer_text(out, text->family);
    buffer_text(out, ending);
    for (; labels != NULL && labels->name != NULL; labels++) {
        buffer_format(out, "%s%s=\"", before, labels->name);
        metrics_escape(out, labels->value, true);
        buffer_text(out, "\"");
        before = ",";
    }
    if (bound != NULL) {
        buffer_format(out, "%sle=\"", before);
        metrics_number(out, *bound, true);
        buffer_text(out, "\"");
        before = ",";
    }
    buffer_text(out, *before == ',' ? "} " : " ");
}

void metrics_value(struct metrics_text *text, double value, const struct metric_label *labels)
{
    metrics_name(text, "", labels, NULL);
    metrics_number(text->out, value, false);
    buffer_text(text->out, "\n");
}

void metrics_histogram(struct metrics_text *text, const struct histogram *histogram, const struct metric_label *labels)
{
    uint64_t sum = 0;
    unsigned count = histogram->bounds->count, example = histogram_range(histogram, histogram->example);
    for (unsigned i = 0; i <= count; i++) {
        double bound = i < count ? histogram->bounds->most[i] : INFINITY;
        sum += histogram->counts[i];
        metrics_name(text, "_bucket", labels, &bound);
        buffer_format(text->out, "%" PRIu64, sum);
        if (text->open && histogram->trace[0] != '\0' && i == example) {
            buffer_format(text->out, " # {trace_id=\"%s\"} ", histogram->trace);
            metrics_number(text->out, histogram->example, false);
        }
        buffer_text(text->out, "\n");
    }
    metrics_name(text, "_sum", labels, NULL);
    metrics_number(text->out, histogram->sum, false);
    buffer_text(text->out, "\n");
    metrics_name(text, "_count", labels, NULL);
    buffer_format(text->out, "%" PRIu64 "\n", sum);
}

/* ---- this process ---- */

/* The first bytes of a file of /proc; false = there are none. */
static bool metrics_read(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t read = file == NULL ? 0 : fread(text, 1, size - 1, file);
    if (file != NULL)
        fclose(file);
    text[read] = '\0';
    return read > 0;
}

static double metrics_count_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    double count = -1; /* of opendir's own */
    if (folder == NULL)
        return NAN;
    for (const struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder))
        count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

static void metrics_one(struct metrics_text *text, enum metric_type type, const char *name, const char *help,
                        double value)
{
    if (isnan(value))
        return;
    metrics_family(text, type, name, help);
    metrics_value(text, value, NULL);
}

/* A time since the system began, in seconds since 1970. */
static double metrics_since_1970(double since_boot)
{
    struct timespec now, up;
    clock_gettime(CLOCK_REALTIME, &now);
    clock_gettime(CLOCK_BOOTTIME, &up);
    return (double)(now.tv_sec - up.tv_sec) + (double)(now.tv_nsec - up.tv_nsec) / 1e9 + since_boot;
}

void metrics_process(struct metrics_text *text)
{
    char stat[1024];
    unsigned long long user = 0, system = 0, begun = 0;
    long pages = 0;
    double tick = (double)sysconf(_SC_CLK_TCK);
    struct rlimit files;
    /* The second field, the name in parentheses, may hold anything. */
    const char *rest = metrics_read("/proc/self/stat", stat, sizeof stat) ? strrchr(stat, ')') : NULL;
    bool known = rest != NULL && sscanf(rest,
                                        ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %*d "
                                        "%*d %llu %*u %ld",
                                        &user, &system, &begun, &pages) == 4;
    metrics_one(text, METRIC_COUNTER, "process_cpu_seconds_total", "User and system time of this process in seconds.",
                known ? (double)(user + system) / tick : NAN);
    metrics_one(text, METRIC_GAUGE, "process_resident_memory_bytes", "Memory of this process in bytes.",
                known ? (double)pages * (double)sysconf(_SC_PAGESIZE) : NAN);
    metrics_one(text, METRIC_GAUGE, "process_open_fds", "Descriptors that this process has open.",
                metrics_count_files());
    metrics_one(text, METRIC_GAUGE, "process_max_fds", "Descriptors that this process may open.",
                getrlimit(RLIMIT_NOFILE, &files) != 0 ? NAN
                : files.rlim_cur == RLIM_INFINITY     ? INFINITY
                                                      : (double)files.rlim_cur);
    metrics_one(text, METRIC_GAUGE, "process_start_time_seconds", "When this process began, in seconds since 1970.",
                known ? metrics_since_1970((double)begun / tick) : NAN);
}
