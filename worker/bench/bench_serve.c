/* bench_serve.c - `lstmq bench serve`: what a translation queue can carry, and how it behaves above that. */
#include "worker/bench/bench_serve.h"

#include "proto/cli/command.h"
#include "proto/store/json_print.h"
#include "proto/wire/socket.h"
#include "worker/bench/serve/serve_rows.h"

#include <string.h>

/* Texts that are all different; descriptors for a burst of connections on both sides. */
enum { SERVE_NUMBERED = 1 << 16, SERVE_LINES = 8192, SERVE_FILES = 1024 };

struct serve_measurement {
    const char *name;
    bool (*run)(struct serve_rows *rows, struct err *err);
    bool needs_model;
};

static const struct serve_measurement bench_serve_all[] = {
    {"queue", serve_measure_queue, false},       {"http", serve_measure_http, false},
    {"start", serve_measure_start, false},       {"rest", serve_measure_rest, false},
    {"overload", serve_measure_overload, false}, {"model", serve_measure_model, true},
    {"fair", serve_measure_fair, true},
};
enum { SERVE_MEASUREMENTS = sizeof bench_serve_all / sizeof *bench_serve_all };

void serve_row(struct serve_rows *rows, const char *key, const char *text, const char *unit, double value,
               enum serve_bound bound, double target)
{
    struct buffer *out = rows->out;
    bool missed = (bound == SERVE_AT_LEAST && !(value >= target)) || (bound == SERVE_AT_MOST && !(value <= target));
    if (missed)
        buffer_format(&rows->missed, "%s%s %.4g %s", rows->missed.size > 0 ? ", " : "", key, value, unit);
    if (rows->json) {
        buffer_text(out, rows->count > 0 ? ", " : "");
        buffer_format(out, "\"%s\": ", key);
        json_print_real(out, value);
    } else {
        buffer_format(out, "  %-42s %11.4g %-6s", text, value, unit);
        if (bound != SERVE_SHOWN)
            buffer_format(out, " %s %-6g%s", bound == SERVE_AT_LEAST ? ">=" : "<=", target, missed ? " missed" : "");
        while (out->size > 0 && out->data[out->size - 1] == ' ')
            out->data[--out->size] = '\0';
        buffer_text(out, "\n");
    }
    rows->count++;
}

/* Print what there is: the measurements take seconds each. */
static bool bench_serve_show(struct serve_rows *rows, struct err *err)
{
    bool ok = rows->json || command_print(rows->out, err);
    if (!rows->json)
        buffer_clear(rows->out);
    return ok;
}

static bool bench_serve_measure(struct serve_rows *rows, const char *wanted, struct err *err)
{
    for (int i = 0; i < SERVE_MEASUREMENTS; i++) {
        const struct serve_measurement *one = &bench_serve_all[i];
        if (wanted != NULL && strcmp(wanted, one->name) != 0)
            continue;
        bool has_model = rows->lines.count > 0;
        if (one->needs_model && !has_model && wanted != NULL)
            return err_set(err, ERR_USAGE, "%s needs --model RUN and --data.pairs FILE", one->name);
        if (one->needs_model && !has_model) {
            if (!rows->json)
                buffer_format(rows->out, "  %s: left out, it needs --model RUN and --data.pairs FILE\n", one->name);
            continue;
        }
        if (!one->run(rows, err))
            return err_context(err, "%s", one->name);
        if (!bench_serve_show(rows, err))
            return false;
    }
    return true;
}

static bool bench_serve_known(const char *wanted, struct err *err)
{
    bool known = wanted == NULL;
    for (int i = 0; i < SERVE_MEASUREMENTS; i++)
        known = known || strcmp(wanted, bench_serve_all[i].name) == 0;
    return known || err_set(err, ERR_USAGE,
                            "serve has nothing called \"%s\" to measure; give queue, http, start, rest, overload, "
                            "model or fair",
                            wanted);
}

bool bench_serve(const struct config *config, const char *wanted, struct buffer *out, struct err *err)
{
    struct serve_rows rows = {
        .out = out, .json = config->output_json, .seconds = config->bench_seconds, .model = config->translate_model};
    bool pairs = config->data_pairs[0] != '\0' || config->data_src[0] != '\0';
    if (!bench_serve_known(wanted, err) || !socket_raise_files(SERVE_FILES, err))
        return false;
    buffer_text(out, config->output_json ? "\"serve\": {" : "serve\n");
    bool ok = bench_texts_number(&rows.numbered, SERVE_NUMBERED, err) &&
              (!pairs || bench_texts_read(&rows.lines, config, SERVE_LINES, err)) &&
              bench_serve_measure(&rows, wanted, err);
    buffer_text(out, config->output_json ? "}" : "");
    if (ok && rows.missed.size > 0) {
        buffer_text(out, config->output_json ? "}\n" : "");
        ok = command_print(out, err) && err_set(err, ERR_FAILED, "missed: %s", rows.missed.data);
        buffer_clear(out);
    }
    buffer_free(&rows.missed);
    bench_texts_free(&rows.numbered);
    bench_texts_free(&rows.lines);
    return ok;
}
