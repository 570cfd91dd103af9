/* Clients of a load, against a queue on a thread that makes one mistake. */
#include "worker/bench/serve/load.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <zmq.h>

#include <cmocka.h>

/* A queue that echoes, on a thread, with one fault: what it does to the request `at`. */
enum fault { NO_FAULT, DOUBLES, LOSES, SPOILS, STALLS, REFUSES };
enum { STALL_MS = 300 };

struct fake {
    void *context, *socket;
    char endpoint[64];
    enum fault fault;
    uint64_t at, seen;
    atomic_bool ends;
    pthread_t thread;
};

static void fake_answer(struct fake *fake, const struct route *from, const struct message *request)
{
    const struct texts *texts = &request->translate.texts;
    struct answer answers[8];
    struct hypothesis hypotheses[8];
    struct err err;
    bool faulty = fake->seen++ == fake->at;
    assert_true(texts->count <= 8);
    for (uint32_t i = 0; i < texts->count; i++) {
        answers[i] = (struct answer){.hypotheses = 1};
        hypotheses[i] = (struct hypothesis){.size = texts->lengths[i]};
    }
    char bytes[1024];
    memcpy(bytes, texts->bytes, texts->size);
    if (faulty && fake->fault == SPOILS)
        bytes[0] ^= 1;
    struct message answer = {.type = MESSAGE_TRANSLATED,
                             .translated = {.request = request->translate.request,
                                            .model = {"none", 4},
                                            .answers = {.count = texts->count,
                                                        .of = answers,
                                                        .hypothesis_count = texts->count,
                                                        .hypotheses = hypotheses,
                                                        .size = texts->size,
                                                        .bytes = bytes}}};
    const struct message refusal = {
        .type = MESSAGE_REJECTED,
        .rejected = {.request = request->translate.request, .reason = REJECT_BUSY, .retry_ms = 1, .text = {"no", 2}}};
    if (faulty && fake->fault == STALLS)
        usleep(STALL_MS * 1000);
    if (faulty && fake->fault == LOSES)
        return;
    for (int i = faulty && fake->fault == DOUBLES ? 0 : 1; i < 2; i++)
        assert_true(message_send_wait(fake->socket, from, faulty && fake->fault == REFUSES ? &refusal : &answer, &err));
}

static void *fake_run(void *context)
{
    struct fake *fake = context;
    while (!atomic_load(&fake->ends)) {
        zmq_pollitem_t item = {.socket = fake->socket, .events = ZMQ_POLLIN};
        struct route from;
        struct message message;
        struct err err;
        bool got = zmq_poll(&item, 1, 10) > 0;
        assert_true(!got || message_receive(fake->socket, &from, false, &message, &got, &err));
        if (got) {
            fake_answer(fake, &from, &message);
            message_close(&message);
        }
    }
    return NULL;
}

/* Run a load of half a second against a queue with that fault at the request `at`. */
static void run(enum fault fault, uint64_t at, struct load_stream *streams, size_t count, struct load *load)
{
    struct fake fake = {.context = zmq_ctx_new(), .fault = fault, .at = at};
    struct bench_texts texts = {0};
    struct err err = {0};
    size_t size = sizeof fake.endpoint;
    fake.socket = zmq_socket(fake.context, ZMQ_ROUTER);
    assert_int_equal(zmq_bind(fake.socket, "tcp://127.0.0.1:*"), 0);
    assert_int_equal(zmq_getsockopt(fake.socket, ZMQ_LAST_ENDPOINT, fake.endpoint, &size), 0);
    assert_int_equal(pthread_create(&fake.thread, NULL, fake_run, &fake), 0);
    assert_true(bench_texts_number(&texts, 1000, &err));
    *load = (struct load){.endpoint = fake.endpoint,
                          .texts = &texts,
                          .echo = true,
                          .seconds = 0.5,
                          .drain_ms = 3000,
                          .streams = streams,
                          .count = count};
    if (!load_run(load, &err))
        fail_msg("%s", err.text);
    atomic_store(&fake.ends, true);
    pthread_join(fake.thread, NULL);
    zmq_close(fake.socket);
    zmq_ctx_term(fake.context);
    bench_texts_free(&texts);
}

static void closed_load_counts_every_answer(void **state)
{
    (void)state;
    static struct load_stream streams[2];
    struct load load;
    struct err err;
    streams[0] = (struct load_stream){.clients = 3, .window = 4, .texts = 5};
    streams[1] = (struct load_stream){.clients = 1, .window = 1, .texts = 1};
    run(NO_FAULT, 0, streams, 2, &load);
    assert_true(load_check(&load, &err));
    for (int i = 0; i < 2; i++) {
        assert_true(streams[i].done > 0);
        assert_int_equal(streams[i].answered.count, streams[i].sent);
        assert_int_equal(streams[i].in_time, streams[i].sent);
    }
}

static void faults_of_a_queue_are_counted(void **state)
{
    (void)state;
    static struct load_stream stream;
    struct load load;
    struct err err;
    const struct load_stream empty = {.clients = 1, .window = 8, .texts = 1};
    stream = empty;
    run(DOUBLES, 20, &stream, 1, &load);
    assert_int_equal(stream.doubled, 1);
    assert_false(load_check(&load, &err));
    stream = empty;
    run(LOSES, 20, &stream, 1, &load);
    assert_int_equal(stream.lost, 1);
    assert_false(load_check(&load, &err));
    stream = empty;
    run(SPOILS, 20, &stream, 1, &load);
    assert_int_equal(stream.wrong, 1);
    assert_false(load_check(&load, &err));
    stream = empty;
    run(REFUSES, 20, &stream, 1, &load);
    assert_int_equal(stream.rejected[REJECT_BUSY], 1);
    assert_int_equal(stream.busy.count, 1);
    assert_true(load_check(&load, &err));
}

static void a_stall_counts_for_all_requests_that_were_due(void **state)
{
    (void)state;
    static struct load_stream stream;
    struct load load;
    stream = (struct load_stream){.clients = 1, .rate = 200, .texts = 1, .deadline_ms = 50};
    run(STALLS, 10, &stream, 1, &load);
    assert_in_range(stream.sent, 40, 100);
    /* 60 requests are due while it stalls. */
    assert_true(latency_at(&stream.answered, 1) >= 0.9e6 * STALL_MS);
    assert_true(stream.late.count >= 25);
    assert_int_equal(stream.in_time + stream.late.count, stream.sent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_load_counts_every_answer),
        cmocka_unit_test(faults_of_a_queue_are_counted),
        cmocka_unit_test(a_stall_counts_for_all_requests_that_were_due),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
