/* many_workers ENDPOINT COUNT [PAUSE_MS] - a coordinator's whole fleet in one process: COUNT workers, each with a
 * connection of its own, that take part in everything and compute nothing.
 *
 * Each reports a span as soon as it has it, or, with PAUSE_MS, when that time is over in which all do nothing: so the
 * fleet leaves the processor to others. Once a second a line of JSON on stdout says what has come so far: `working`
 * workers, `spans`, `tokens` (target tokens of rows received), `bytes` of messages. It ends when all were dismissed.
 * One thread. */
#include "proto/base/clock.h"
#include "proto/wire/socket.h"
#include "tests/support/dummy_worker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <zmq.h>

enum { CREDIT = 2, TELL_MS = 1000, FILES_EACH = 4 };

struct worker {
    void *socket;
    uint64_t generation, step;
    bool working, left;
};

struct crowd {
    struct worker *workers; /* [count] */
    zmq_pollitem_t *items;  /* [count] */
    int count, left;
    int64_t pause_ms; /* before each round of all workers */
    uint64_t spans, tokens, bytes;
    struct step_result results[SPAN_STEPS];
    uint16_t lengths[1 << 16]; /* of translations: all 0 */
};

static bool many_workers_say(struct worker *worker, const struct message *message, struct err *err)
{
    return message_send_wait(worker->socket, NULL, message, err);
}

static bool many_workers_credit(struct worker *worker, uint32_t units, struct err *err)
{
    return many_workers_say(worker, &(struct message){.type = MESSAGE_CREDIT, .credit = {.units = units}}, err);
}

static bool many_workers_hello(struct worker *worker, struct err *err)
{
    return many_workers_say(worker, &(struct message){.type = MESSAGE_HELLO, .hello = dummy_hello()}, err);
}

static bool many_workers_ready(struct worker *worker, struct err *err)
{
    const struct message ready = {.type = MESSAGE_READY,
                                  .ready = {.generation = worker->generation, .step = worker->step}};
    worker->working = true;
    return many_workers_say(worker, &ready, err) && many_workers_credit(worker, CREDIT, err);
}

/* An endpoint that no other process uses. */
static bool many_workers_endpoint(struct worker *worker, struct err *err)
{
    const struct message endpoint = {.type = MESSAGE_ENDPOINT,
                                     .endpoint = {.generation = worker->generation, .address = {"tcp://0:1", 9}}};
    return many_workers_say(worker, &endpoint, err);
}

static bool many_workers_generation(struct worker *worker, const struct generation *generation, struct err *err)
{
    worker->generation = generation->generation;
    worker->step = generation->step;
    worker->working = false;
    return generation->size > 1 ? many_workers_endpoint(worker, err) : many_workers_ready(worker, err);
}

static bool many_workers_span(struct crowd *crowd, struct worker *worker, const struct span *span, struct err *err)
{
    for (uint32_t row = 0; row < span->rows.count; row++)
        crowd->tokens += span->rows.tgt_lengths[row];
    for (uint32_t step = 0; step < span->steps; step++)
        crowd->results[step] =
            (struct step_result){.loss_sum = span->of[step].tokens, .grad_norm = 1, .tokens = span->of[step].tokens};
    crowd->spans++;
    crowd->bytes += 2 * (span->rows.id_count + span->distinct_count + 2 * (size_t)span->rows.count) +
                    12 * ((size_t)span->steps + span->shard_count);
    worker->step = span->first_step + span->steps;
    const struct message report = {.type = MESSAGE_REPORT,
                                   .report = {.generation = span->generation,
                                              .span = span->span,
                                              .rows = span->rows.count,
                                              .results = crowd->results,
                                              .steps = span->steps}};
    return many_workers_say(worker, &report, err) && many_workers_credit(worker, 1, err);
}

static bool many_workers_validate(struct crowd *crowd, struct worker *worker, const struct validate *validate,
                                  struct err *err)
{
    bool translate = (validate->what & VALIDATE_TRANSLATE) != 0;
    const struct message scored = {.type = MESSAGE_SCORED,
                                   .scored = {.request = validate->request,
                                              .tokens = 1,
                                              .lengths = crowd->lengths,
                                              .rows = translate ? validate->rows.count : 0}};
    return many_workers_say(worker, &scored, err) && many_workers_credit(worker, 1, err);
}

static bool many_workers_save(struct worker *worker, struct err *err)
{
    struct buffer bytes = {0};
    bool done = dummy_state(&bytes, 1, err);
    for (uint32_t file = 0; done && file <= MESSAGE_STATE_OPTIMIZER; file++) {
        const struct message piece = {
            .type = MESSAGE_STATE,
            .state = {
                .step = worker->step, .file = file, .total = bytes.size, .bytes = bytes.data, .size = bytes.size}};
        done = many_workers_say(worker, &piece, err);
    }
    buffer_free(&bytes);
    return done;
}

static bool many_workers_stopped(struct worker *worker, struct err *err)
{
    const struct message stopped = {.type = MESSAGE_STOPPED,
                                    .stopped = {.generation = worker->generation,
                                                .held = worker->working,
                                                .step = worker->step,
                                                .branch = worker->generation}};
    worker->working = false;
    return many_workers_say(worker, &stopped, err);
}

static bool many_workers_answer(struct crowd *crowd, struct worker *worker, const struct message *message,
                                struct err *err)
{
    switch (message->type) {
    case MESSAGE_GENERATION:
        return many_workers_generation(worker, &message->generation, err);
    case MESSAGE_PEERS:
        return many_workers_ready(worker, err);
    case MESSAGE_SPAN:
        return many_workers_span(crowd, worker, &message->span, err);
    case MESSAGE_VALIDATE:
        return many_workers_validate(crowd, worker, &message->validate, err);
    case MESSAGE_SAVE:
        return many_workers_save(worker, err);
    case MESSAGE_STOP:
        return many_workers_stopped(worker, err);
    case MESSAGE_PING:
        return many_workers_say(worker, &(struct message){.type = MESSAGE_PONG, .pong = message->ping}, err);
    case MESSAGE_DISMISS:
        worker->left = true;
        crowd->left++;
        return many_workers_say(worker, &(struct message){.type = MESSAGE_LEAVE, .leave = {.step = worker->step}}, err);
    case MESSAGE_ERROR:
        return err_set(err, ERR_FAILED, "the coordinator said: %.*s", (int)message->error.text.size,
                       message->error.text.data);
    default:
        return true;
    }
}

/* All that waits for one worker. */
static bool many_workers_serve(struct crowd *crowd, struct worker *worker, struct err *err)
{
    for (bool got = true; got;) {
        struct message message;
        if (!message_receive(worker->socket, NULL, false, &message, &got, err))
            return false;
        bool done = !got || many_workers_answer(crowd, worker, &message, err);
        message_close(&message);
        if (!done)
            return false;
    }
    return true;
}

static void many_workers_tell(const struct crowd *crowd)
{
    int working = 0;
    for (int i = 0; i < crowd->count; i++)
        working += crowd->workers[i].working;
    printf("{\"working\": %d, \"spans\": %" PRIu64 ", \"tokens\": %" PRIu64 ", \"bytes\": %" PRIu64 "}\n", working,
           crowd->spans, crowd->tokens, crowd->bytes);
    fflush(stdout);
}

static bool many_workers_run(struct crowd *crowd, struct err *err)
{
    int64_t next = clock_ms() + TELL_MS;
    while (crowd->left < crowd->count) {
        const struct timespec pause = {crowd->pause_ms / 1000, crowd->pause_ms % 1000 * 1000000};
        nanosleep(&pause, NULL);
        if (zmq_poll(crowd->items, crowd->count, TELL_MS) < 0)
            return socket_error(err, "cannot wait");
        for (int i = 0; i < crowd->count; i++)
            if (crowd->items[i].revents != 0 && !many_workers_serve(crowd, &crowd->workers[i], err))
                return err_context(err, "worker %d", i);
        if (clock_ms() >= next) {
            many_workers_tell(crowd);
            next += TELL_MS;
        }
    }
    return true;
}

static bool many_workers_join(struct crowd *crowd, void *context, const char *endpoint, struct err *err)
{
    const struct socket_options options = {.context = context};
    for (int i = 0; i < crowd->count; i++) {
        struct worker *worker = &crowd->workers[i];
        worker->socket = socket_connect(&options, endpoint, err);
        if (worker->socket == NULL || !many_workers_hello(worker, err))
            return false;
        crowd->items[i] = (zmq_pollitem_t){.socket = worker->socket, .events = ZMQ_POLLIN};
    }
    return true;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    int count = argc >= 3 ? atoi(argv[2]) : 0, pause_ms = argc == 4 ? atoi(argv[3]) : 0;
    if (argc > 4 || count < 1 || count > SHARDS_MOST || pause_ms < 0 || pause_ms > TELL_MS) {
        fprintf(stderr, "usage: many_workers ENDPOINT COUNT [PAUSE_MS]\n");
        return 2;
    }
    struct rlimit files = {.rlim_cur = (rlim_t)FILES_EACH * (rlim_t)count + 64, .rlim_max = RLIM_INFINITY};
    struct rlimit now;
    if (getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur < files.rlim_cur) {
        files.rlim_max = now.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    static struct crowd crowd;
    void *context = zmq_ctx_new();
    zmq_ctx_set(context, ZMQ_MAX_SOCKETS, count + 64);
    crowd.count = count;
    crowd.pause_ms = pause_ms;
    crowd.workers = calloc((size_t)count, sizeof *crowd.workers);
    crowd.items = calloc((size_t)count, sizeof *crowd.items);
    bool done = crowd.workers != NULL && crowd.items != NULL && many_workers_join(&crowd, context, argv[1], &err) &&
                many_workers_run(&crowd, &err);
    many_workers_tell(&crowd);
    for (int i = 0; i < count; i++)
        socket_close(&crowd.workers[i].socket);
    zmq_ctx_term(context);
    free(crowd.workers);
    free(crowd.items);
    if (!done)
        fprintf(stderr, "many_workers: %s\n", err.text);
    return done ? 0 : 1;
}
