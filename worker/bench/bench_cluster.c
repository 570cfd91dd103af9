/* bench_cluster.c - the cost of a cluster of 8, 64 and 512 workers, computed from pieces measured here.
 *
 * Two pieces are measured. One is a message from its struct to the receiver's, over loopback TCP: encode, send,
 * receive, decode; the coordinator does half of it. The other is the ring's all-reduce of this model between two
 * processes. It yields the rate at which a rank sends and, from a sum of one element, the time of a hop. Each worker
 * has train.batch rows of a step, so a step's batch is W times that. The formulas in the table give the rest. */
#include "proto/store/json_print.h"
#include "proto/wire/socket.h"
#include "worker/bench/bench.h"
#include "worker/bench/bench_ring.h"

#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum {
    SIZES = 3,
    SPAN = 8,
    RING_SUMS = 8,
    HOP_SUMS = 200,
    PINGS = 10,
    HANDSHAKE = 6,
    PEER_LINE = 25,
    CLUSTER_FILES = 32
};
static const int bench_cluster_workers[SIZES] = {8, 64, 512};

#define VOLUME_FORMULA "2 (W - 1) / W x 4 P"
#define SUM_FORMULA    "volume / ring + 2 (W - 1) hop"
#define CHANGE_FORMULA "W (6 control + peers) + 12 P / ring + (W - 1) hop"

struct cluster {
    const struct bench *bench;
    double parameters;                /* P */
    double ring, hop;                 /* bytes a second that a rank sends; seconds of a hop */
    double control, report;           /* seconds of a message */
    double span[SIZES], peers[SIZES]; /* the same */
    double bytes[SIZES];              /* of a SPAN, for each step and worker */
    double distinct[SIZES];           /* ids of a step's batch that are sent with it */
};

/* ---- the ring ---- */

static bool bench_cluster_burst(size_t count, uint32_t sums, double *seconds, struct err *err)
{
    const struct bench_ring_options options = {
        .ranks = 2, .count = count, .element = ELEMENT_F32, .bind = "tcp://127.0.0.1"};
    struct bench_ring_result result = {0};
    struct bench_ring *ring = bench_ring_open(&options, err);
    bool ok = ring != NULL && bench_ring_burst(ring, 1, &result, err) && bench_ring_burst(ring, sums, &result, err);
    bench_ring_close(&ring);
    *seconds = result.ms / 1e3;
    return ok;
}

/* With two ranks, each sends all of its bytes once, in two hops. */
static bool bench_cluster_measure_ring(struct cluster *cluster, struct err *err)
{
    double whole, least;
    if (!bench_cluster_burst(1, HOP_SUMS, &least, err) ||
        !bench_cluster_burst((size_t)cluster->parameters, RING_SUMS, &whole, err))
        return false;
    cluster->hop = least / 2;
    cluster->ring = sizeof(float) * cluster->parameters / (whole > least ? whole - least : whole);
    return true;
}

/* ---- messages ---- */

struct bench_pass {
    void *context, *router, *dealer;
    const struct message *message;
};

static bool bench_cluster_pass(void *context, struct err *err)
{
    struct bench_pass *pass = context;
    struct route from;
    struct message message;
    bool got;
    if (!message_send_wait(pass->dealer, NULL, pass->message, err) ||
        !message_receive(pass->router, &from, true, &message, &got, err))
        return false;
    message_close(&message);
    return true;
}

static bool bench_cluster_open(struct bench_pass *pass, struct err *err)
{
    char endpoint[256];
    size_t size = sizeof endpoint;
    pass->context = zmq_ctx_new();
    pass->router = zmq_socket(pass->context, ZMQ_ROUTER);
    pass->dealer = zmq_socket(pass->context, ZMQ_DEALER);
    if (pass->router == NULL || pass->dealer == NULL || zmq_bind(pass->router, "tcp://127.0.0.1:*") != 0 ||
        zmq_getsockopt(pass->router, ZMQ_LAST_ENDPOINT, endpoint, &size) != 0 ||
        zmq_connect(pass->dealer, endpoint) != 0)
        return socket_error(err, "cannot open a connection to this machine");
    return true;
}

static void bench_cluster_close(struct bench_pass *pass)
{
    if (pass->router != NULL)
        zmq_close(pass->router);
    if (pass->dealer != NULL)
        zmq_close(pass->dealer);
    if (pass->context != NULL)
        zmq_ctx_term(pass->context);
}

static bool bench_cluster_time(struct cluster *cluster, struct bench_pass *pass, const struct message *message,
                               double *seconds, struct err *err)
{
    struct timing timing;
    pass->message = message;
    if (!bench_time(&(struct work){.run = bench_cluster_pass, .context = pass},
                    cluster->bench->config.bench_seconds / SPAN, &timing, err))
        return false;
    *seconds = timing.median / 1e3;
    return true;
}

/* Expected number of distinct ids below `limit` among `count` words of a language; rank r has probability proportional
 * to 1 / r. */
static double bench_cluster_distinct(double limit, double count)
{
    double sum = 0, expected = 0;
    for (double rank = 1; rank < limit; rank++)
        sum += 1 / rank;
    for (double rank = 1; rank < limit; rank++) {
        double missed = 1;
        for (double left = count, chance = 1 - 1 / (rank * sum); left >= 1; left = (double)(size_t)(left / 2)) {
            missed *= (size_t)left % 2 ? chance : 1;
            chance *= chance;
        }
        expected += 1 - missed;
    }
    return expected;
}

/* A SPAN of a worker: SPAN steps of train.batch rows, with `distinct` ids for each step. */
static bool bench_cluster_time_span(struct cluster *cluster, struct bench_pass *pass, const struct bench_data *data,
                                    int size, struct err *err)
{
    uint32_t batch = (uint32_t)cluster->bench->config.train_batch, each = (uint32_t)cluster->distinct[size];
    uint16_t *distinct = malloc(SPAN * (each + 1) * sizeof *distinct);
    struct span_step of[SPAN];
    struct span_shard shards[SPAN];
    if (distinct == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a span");
    for (uint32_t step = 0; step < SPAN; step++) {
        of[step] = (struct span_step){.tokens = 1, .src_distinct = each};
        shards[step] = (struct span_shard){.step = step, .rows = batch};
        for (uint32_t i = 0; i < each; i++)
            distinct[step * each + i] = (uint16_t)i;
    }
    const struct message message = {.type = MESSAGE_SPAN,
                                    .span = {.steps = SPAN,
                                             .of = of,
                                             .shards = shards,
                                             .shard_count = SPAN,
                                             .distinct = distinct,
                                             .distinct_count = SPAN * each,
                                             .rows = data->rows}};
    bool ok = bench_cluster_time(cluster, pass, &message, &cluster->span[size], err);
    cluster->bytes[size] = sizeof *of + sizeof *shards + sizeof *distinct * (double)each +
                           2 * ((double)data->rows.id_count / SPAN + 2 * (double)batch);
    free(distinct);
    return ok;
}

static bool bench_cluster_time_peers(struct cluster *cluster, struct bench_pass *pass, int size, struct err *err)
{
    size_t bytes = (size_t)bench_cluster_workers[size] * PEER_LINE;
    char *lines = malloc(bytes);
    if (lines == NULL)
        return err_set(err, ERR_MEMORY, "no memory for endpoints");
    for (int i = 0; i < bench_cluster_workers[size]; i++)
        memcpy(lines + i * PEER_LINE, "tcp://192.168.10.12:5757\n", PEER_LINE);
    const struct message message = {.type = MESSAGE_PEERS, .peers = {.lines = lines, .size = bytes}};
    bool ok = bench_cluster_time(cluster, pass, &message, &cluster->peers[size], err);
    free(lines);
    return ok;
}

static bool bench_cluster_measure_messages(struct cluster *cluster, struct err *err)
{
    struct bench_pass pass = {0};
    struct bench_data data;
    const struct config *config = &cluster->bench->config;
    struct step_result results[SPAN] = {0};
    const struct message ping = {.type = MESSAGE_PING, .ping = {.time = 1}};
    const struct message report = {.type = MESSAGE_REPORT, .report = {.results = results, .steps = SPAN}};
    int src = bench_src_vocab(config), tgt = bench_tgt_vocab(config);
    if (!bench_data_draw(&data, config, src, tgt, SPAN * (size_t)config->train_batch, err))
        return false;
    double ids = (double)data.rows.id_count / 2 / SPAN;
    bool ok = bench_cluster_open(&pass, err) && bench_cluster_time(cluster, &pass, &ping, &cluster->control, err) &&
              bench_cluster_time(cluster, &pass, &report, &cluster->report, err);
    for (int size = 0; ok && size < SIZES; size++) {
        cluster->distinct[size] = bench_cluster_distinct(src, bench_cluster_workers[size] * ids) +
                                  bench_cluster_distinct(tgt, bench_cluster_workers[size] * ids);
        ok = bench_cluster_time_span(cluster, &pass, &data, size, err) &&
             bench_cluster_time_peers(cluster, &pass, size, err);
    }
    bench_cluster_close(&pass);
    bench_data_free(&data);
    return ok;
}

/* ---- results ---- */

/* Coordinator's seconds for a step of all workers: a SPAN, a REPORT and a CREDIT for each worker and SPAN steps. */
static double bench_cluster_feeding(const struct cluster *cluster, int size)
{
    return bench_cluster_workers[size] * (cluster->span[size] + cluster->report + cluster->control) / SPAN;
}

static double bench_cluster_volume(const struct cluster *cluster, int size)
{
    double workers = bench_cluster_workers[size];
    return 2 * (workers - 1) / workers * sizeof(float) * cluster->parameters;
}

static double bench_cluster_sum(const struct cluster *cluster, int size)
{
    return bench_cluster_volume(cluster, size) / cluster->ring + 2 * (bench_cluster_workers[size] - 1) * cluster->hop;
}

static double bench_cluster_change(const struct cluster *cluster, int size)
{
    return bench_cluster_workers[size] * (HANDSHAKE * cluster->control + cluster->peers[size]) +
           3 * sizeof(float) * cluster->parameters / cluster->ring + (bench_cluster_workers[size] - 1) * cluster->hop;
}

static double bench_cluster_alive(const struct cluster *cluster, int size)
{
    return 2 * PINGS * bench_cluster_workers[size] * cluster->control;
}

struct bench_line {
    const char *key, *text, *unit;
    double (*value)(const struct cluster *cluster, int size);
    double scale;
};

static double bench_cluster_span_us(const struct cluster *cluster, int size)
{
    return cluster->span[size];
}

static double bench_cluster_bytes(const struct cluster *cluster, int size)
{
    return cluster->bytes[size];
}

static const struct bench_line bench_cluster_lines[] = {
    {"alive", "10 PINGs and PONGs a second", "% of a core", bench_cluster_alive, 100},
    {"span_us", "a SPAN of 8 steps", "us", bench_cluster_span_us, 1e6},
    {"feed_us", "W (SPAN + REPORT + CREDIT) / 8", "us a step", bench_cluster_feeding, 1e6},
    {"span_kb", "rows and ids a worker and step", "KB", bench_cluster_bytes, 1e-3},
    {"volume_mb", VOLUME_FORMULA, "MB a rank", bench_cluster_volume, 1e-6},
    {"sum_ms", SUM_FORMULA, "ms a step", bench_cluster_sum, 1e3},
    {"change_ms", "a generation's change", "ms", bench_cluster_change, 1e3},
};
enum { LINES = sizeof bench_cluster_lines / sizeof *bench_cluster_lines };

static void bench_cluster_print(const struct cluster *cluster, struct buffer *out)
{
    buffer_format(out, "cluster: W workers of %d rows a step; P %.0f parameters\n",
                  (int)cluster->bench->config.train_batch, cluster->parameters);
    buffer_format(out, "  control message %.1f us, REPORT %.1f us, over TCP to this machine\n", 1e6 * cluster->control,
                  1e6 * cluster->report);
    buffer_format(out, "  ring of two processes: %.2f GB/s from each, a hop %.0f us\n", cluster->ring / 1e9,
                  1e6 * cluster->hop);
    buffer_format(out, "  %-32s", "W");
    for (int size = 0; size < SIZES; size++)
        buffer_format(out, " %9d", bench_cluster_workers[size]);
    buffer_text(out, "\n");
    for (int i = 0; i < LINES; i++) {
        buffer_format(out, "  %-32s", bench_cluster_lines[i].text);
        for (int size = 0; size < SIZES; size++)
            buffer_format(out, " %9.1f", bench_cluster_lines[i].scale * bench_cluster_lines[i].value(cluster, size));
        buffer_format(out, "  %s\n", bench_cluster_lines[i].unit);
    }
    buffer_text(out, "  change: " CHANGE_FORMULA "\n");
}

static void bench_cluster_print_json(const struct cluster *cluster, struct buffer *out)
{
    buffer_format(out,
                  "\"cluster\": {\"volume\": \"" VOLUME_FORMULA "\", \"sum\": \"" SUM_FORMULA
                  "\", \"change\": \"" CHANGE_FORMULA "\", \"workers\": [%d, %d, %d]",
                  bench_cluster_workers[0], bench_cluster_workers[1], bench_cluster_workers[2]);
    json_print_number(out, "parameters", cluster->parameters);
    json_print_number(out, "control_us", 1e6 * cluster->control);
    json_print_number(out, "report_us", 1e6 * cluster->report);
    json_print_number(out, "ring_gb_per_s", cluster->ring / 1e9);
    json_print_number(out, "hop_us", 1e6 * cluster->hop);
    for (int i = 0; i < LINES; i++) {
        double values[SIZES];
        for (int size = 0; size < SIZES; size++)
            values[size] = bench_cluster_lines[i].scale * bench_cluster_lines[i].value(cluster, size);
        json_print_numbers(out, bench_cluster_lines[i].key, values, SIZES);
    }
    buffer_text(out, "}");
}

bool bench_cluster(struct bench *bench, struct err *err)
{
    struct cluster cluster = {.bench = bench};
    if (!socket_raise_files(CLUSTER_FILES, err))
        return false;
    struct model *model = model_new(bench->backend, &bench->config, bench_src_vocab(&bench->config),
                                    bench_tgt_vocab(&bench->config), err);
    if (model == NULL)
        return false;
    cluster.parameters = (double)model->elements;
    model_destroy(&model);
    if (!bench_cluster_measure_ring(&cluster, err) || !bench_cluster_measure_messages(&cluster, err))
        return false;
    if (bench->config.output_json)
        bench_cluster_print_json(&cluster, &bench->out);
    else
        bench_cluster_print(&cluster, &bench->out);
    return true;
}
