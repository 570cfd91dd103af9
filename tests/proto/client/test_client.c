/* test_client.c - the C client against a queue that the test plays on the same thread, message by message. */
#include "proto/client/lstmq.h"

#include "proto/base/clock.h"
#include "proto/wire/message.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include <cmocka.h>

enum { LIMIT_MS = 120000 };

/* The queue's side. */
struct queue {
    void *context, *socket;
    char endpoint[64];
    struct route from; /* of the last message */
};

static void queue_start(struct queue *queue)
{
    int linger = 0;
    size_t size = sizeof queue->endpoint;
    bool again = queue->endpoint[0] != '\0';
    queue->context = zmq_ctx_new();
    queue->socket = zmq_socket(queue->context, ZMQ_ROUTER);
    zmq_setsockopt(queue->socket, ZMQ_LINGER, &linger, sizeof linger);
    int64_t until_ms = clock_ms() + LIMIT_MS;
    while (zmq_bind(queue->socket, again ? queue->endpoint : "tcp://127.0.0.1:*") != 0)
        assert_true(clock_ms() < until_ms);
    assert_int_equal(zmq_getsockopt(queue->socket, ZMQ_LAST_ENDPOINT, queue->endpoint, &size), 0);
}

static void queue_stop(struct queue *queue)
{
    zmq_close(queue->socket);
    zmq_ctx_term(queue->context);
}

/* Move the client on until the queue has received a message. The caller closes it. */
static void queue_receive(struct queue *queue, struct lstmq_client *client, struct message *message)
{
    int64_t until_ms = clock_ms() + LIMIT_MS;
    bool got = false;
    struct err err;
    while (!got) {
        assert_true(clock_ms() < until_ms);
        assert_false(lstmq_wait(client, 1));
        assert_true(message_receive(queue->socket, &queue->from, false, message, &got, &err));
    }
}

/* The same for a TRANSLATE with this number. */
static void queue_expect(struct queue *queue, struct lstmq_client *client, uint64_t request)
{
    struct message message;
    queue_receive(queue, client, &message);
    assert_int_equal(message.type, MESSAGE_TRANSLATE);
    assert_int_equal(message.translate.request, request);
    message_close(&message);
}

static void queue_send(struct queue *queue, const struct message *message)
{
    struct err err;
    assert_true(message_send(queue->socket, &queue->from, message, &err));
}

static void queue_reject(struct queue *queue, uint64_t request, enum reject_reason reason, uint32_t retry_ms)
{
    queue_send(queue,
               &(struct message){.type = MESSAGE_REJECTED, .rejected = {request, reason, retry_ms, {"because", 7}}});
}

/* Answer a request of one text with "x". */
static void queue_answer(struct queue *queue, uint64_t request)
{
    const struct answer answer = {ANSWER_OK, 1, 3, 4, 0, 0, 0};
    const struct hypothesis hypothesis = {1, -0.5F};
    struct message message = {.type = MESSAGE_TRANSLATED};
    message.translated =
        (struct translated){request, {"en-fr", 5}, 7, 1, 2, {1, &answer, 1, &hypothesis, 1, "x", 0, ""}};
    queue_send(queue, &message);
}

static struct lstmq_client *client_begin(struct queue *queue)
{
    *queue = (struct queue){0};
    queue_start(queue);
    struct lstmq_error error;
    struct lstmq_client *client = lstmq_open(queue->endpoint, NULL, &error);
    assert_non_null(client);
    return client;
}

static void client_end(struct queue *queue, struct lstmq_client *client)
{
    lstmq_close(client);
    queue_stop(queue);
}

static uint64_t client_submit(struct lstmq_client *client, const char *text, const struct lstmq_options *options)
{
    struct lstmq_error error;
    uint64_t request = lstmq_submit(client, "en", "fr", &text, 1, options, &error);
    assert_true(request > 0);
    return request;
}

/* Take the next request that is over, which must be `request`. */
static void client_expect(struct lstmq_client *client, uint64_t request, enum lstmq_status status)
{
    struct lstmq_done done;
    assert_true(lstmq_wait(client, LIMIT_MS));
    assert_true(lstmq_take(client, &done));
    assert_int_equal(done.request, request);
    assert_int_equal(done.error.status, status);
    assert_true((done.result != NULL) == (status == LSTMQ_OK));
    if (done.result != NULL)
        assert_string_equal(done.result->translations[0].text, "x");
    lstmq_free(done.result);
}

/* A request that is answered. */
static uint64_t client_serve(struct lstmq_client *client, struct queue *queue, const char *text)
{
    uint64_t request = client_submit(client, text, NULL);
    queue_expect(queue, client, request);
    queue_answer(queue, request);
    client_expect(client, request, LSTMQ_OK);
    return request;
}

/* ---- tests ---- */

static void a_result_has_all_parts_of_the_answer(void **state)
{
    (void)state;
    struct queue queue;
    struct lstmq_client *client = client_begin(&queue);
    const char *texts[] = {"a", "bc\0d", ""};
    const size_t sizes[] = {1, 4, 0};
    const struct lstmq_options options = {.details = true, .alternatives = 2, .sizes = sizes, .deadline_ms = 60000};
    struct lstmq_error error;
    assert_int_equal(lstmq_submit(client, "en", "fr", texts, 3, &options, &error), 1);
    struct message message;
    queue_receive(&queue, client, &message);
    const struct translate *asked = &message.translate;
    assert_int_equal(asked->texts.count, 3);
    assert_memory_equal(asked->texts.bytes, "abc\0d", 5);
    assert_true(asked->alternatives == 2 && asked->details == 1 && asked->deadline_ms <= 60000 && asked->client > 0);
    message_close(&message);
    const struct answer answers[] = {
        {ANSWER_OK, 3, 3, 4, 2, 1, 8}, {ANSWER_FAILED, 0, 0, 0, 0, 0, 0}, {ANSWER_OK, 1, 2, 1, 0, 0, 0}};
    const struct hypothesis hypotheses[] = {{2, -0.5F}, {0, -1}, {3, -2}, {0, 0}};
    message = (struct message){.type = MESSAGE_TRANSLATED};
    message.translated = (struct translated){1,
                                             {"en-fr step-7 hash", 17},
                                             7,
                                             11,
                                             12,
                                             {3, answers, 4, hypotheses, 5,
                                              "un"
                                              "t\0x",
                                              8, "zep\ncaf\n"}};
    queue_send(&queue, &message);
    struct lstmq_done done;
    assert_true(lstmq_wait(client, LIMIT_MS) && lstmq_take(client, &done));
    client_end(&queue, client);
    const struct lstmq_result *result = done.result;
    assert_non_null(result);
    assert_true(result->count == 3 && result->step == 7 && result->queued_us == 11 && result->computed_us == 12);
    assert_string_equal(result->model, "en-fr step-7 hash");
    const struct lstmq_translation *one = result->translations;
    assert_string_equal(one[0].text, "un");
    assert_true(one[0].alternative_count == 2 && one[0].alternatives[0].size == 0 && one[0].score == -0.5F);
    assert_memory_equal(one[0].alternatives[1].text, "t\0x", 4);
    assert_true(one[0].unknown == 2 && one[0].cut == 1 && one[0].unknown_word_count == 2);
    assert_string_equal(one[0].unknown_words[0], "zep");
    assert_string_equal(one[0].unknown_words[1], "caf");
    assert_true(one[1].text == NULL && one[1].alternative_count == 0 && one[1].unknown_word_count == 0);
    assert_true(one[2].size == 0 && one[2].source_tokens == 2 && one[2].target_tokens == 1);
    assert_string_equal(one[2].text, "");
    lstmq_free(done.result);
}

static void the_descriptor_shows_every_answer(void **state)
{
    (void)state;
    struct queue queue;
    struct lstmq_client *client = client_begin(&queue);
    for (uint64_t request = 1; request <= 200; request++) {
        assert_int_equal(client_submit(client, "a", NULL), request);
        struct lstmq_done done;
        struct message message;
        bool got = false, over = false;
        struct err err;
        int64_t until_ms = clock_ms() + LIMIT_MS;
        while (!over) {
            struct pollfd ready = {.fd = lstmq_fd(client), .events = POLLIN};
            assert_true(clock_ms() < until_ms);
            if (!got) {
                assert_true(message_receive(queue.socket, &queue.from, false, &message, &got, &err));
                if (got) {
                    message_close(&message);
                    queue_answer(&queue, request);
                }
            }
            /* Only the descriptor says when to call lstmq_take. */
            if (poll(&ready, 1, got ? LIMIT_MS : 1) == 1)
                over = lstmq_take(client, &done);
        }
        assert_int_equal(done.request, request);
        lstmq_free(done.result);
    }
    assert_int_equal(lstmq_pending(client), 0);
    client_end(&queue, client);
}

static void busy_is_tried_again_and_other_refusals_are_not(void **state)
{
    (void)state;
    struct queue queue;
    struct lstmq_client *client = client_begin(&queue);
    uint64_t request = client_submit(client, "a", NULL);
    for (int i = 0; i < 3; i++) {
        queue_expect(&queue, client, request);
        int64_t refused_ms = clock_ms();
        queue_reject(&queue, request, i == 0 ? REJECT_BUSY : i == 1 ? REJECT_NO_WORKER : REJECT_ENDING, 30);
        if (i > 0)
            continue;
        queue_expect(&queue, client, request);
        assert_true(clock_ms() - refused_ms >= 30);
        queue_reject(&queue, request, REJECT_BUSY, 1);
    }
    queue_expect(&queue, client, request);
    queue_answer(&queue, request);
    client_expect(client, request, LSTMQ_OK);
    for (int reason = REJECT_BUSY; reason <= REJECT_FAILED; reason++) {
        request = client_submit(client, "a", NULL);
        queue_expect(&queue, client, request);
        queue_reject(&queue, request, (enum reject_reason)reason, 0);
        client_expect(client, request, (enum lstmq_status)reason);
    }
    request = client_submit(client, "a", &(struct lstmq_options){.once = true});
    queue_expect(&queue, client, request);
    queue_reject(&queue, request, REJECT_BUSY, 10);
    client_expect(client, request, LSTMQ_BUSY);
    /* The queue's time is beyond the deadline. */
    request = client_submit(client, "a", &(struct lstmq_options){.deadline_ms = 30000});
    queue_expect(&queue, client, request);
    queue_reject(&queue, request, REJECT_BUSY, 40000);
    client_expect(client, request, LSTMQ_BUSY);
    client_end(&queue, client);
}

static void a_deadline_ends_a_request(void **state)
{
    (void)state;
    struct queue queue;
    struct lstmq_client *client = client_begin(&queue);
    uint64_t request = client_serve(client, &queue, "a");
    int64_t begun_ms = clock_ms();
    request = client_submit(client, "a", &(struct lstmq_options){.deadline_ms = 100});
    client_expect(client, request, LSTMQ_EXPIRED);
    assert_true(clock_ms() - begun_ms >= 100);
    /* An answer that comes too late belongs to no request. */
    struct message message;
    bool got;
    struct err err;
    assert_true(message_receive(queue.socket, &queue.from, true, &message, &got, &err));
    message_close(&message);
    queue_answer(&queue, request);
    request = client_serve(client, &queue, "a");
    client_end(&queue, client);
}

static void a_connection_without_a_word_is_replaced(void **state)
{
    (void)state;
    struct queue queue;
    struct lstmq_client *client = client_begin(&queue);
    uint64_t request = client_serve(client, &queue, "a");
    struct route before = queue.from;
    client_expect(client, client_submit(client, "b", &(struct lstmq_options){.deadline_ms = 1500}), LSTMQ_EXPIRED);
    request = client_submit(client, "c", NULL);
    queue_expect(&queue, client, request - 1);
    queue_expect(&queue, client, request);
    assert_true(queue.from.size == before.size && memcmp(queue.from.id, before.id, before.size) != 0);
    queue_answer(&queue, request);
    client_expect(client, request, LSTMQ_OK);
    client_end(&queue, client);
}

static void a_restarted_queue_gets_requests_again(void **state)
{
    (void)state;
    struct queue queue;
    struct lstmq_client *client = client_begin(&queue);
    uint64_t first = client_submit(client, "a", NULL),
             once = client_submit(client, "b", &(struct lstmq_options){.once = true});
    queue_expect(&queue, client, first);
    queue_expect(&queue, client, once);
    queue_stop(&queue);
    client_expect(client, once, LSTMQ_CONNECTION);
    uint64_t second = client_submit(client, "c", NULL);
    queue_start(&queue);
    queue_expect(&queue, client, first);
    queue_expect(&queue, client, second);
    queue_answer(&queue, second);
    client_expect(client, second, LSTMQ_OK);
    queue_answer(&queue, first);
    queue_answer(&queue, first); /* a doubled answer counts once */
    client_expect(client, first, LSTMQ_OK);
    assert_false(lstmq_wait(client, 20));
    client_end(&queue, client);
}

static void a_cancelled_request_is_withdrawn(void **state)
{
    (void)state;
    struct queue queue;
    struct lstmq_client *client = client_begin(&queue);
    uint64_t request = client_submit(client, "a", NULL), other = client_submit(client, "b", NULL);
    queue_expect(&queue, client, request);
    queue_expect(&queue, client, other);
    lstmq_cancel(client, request);
    lstmq_cancel(client, 77);
    struct message message;
    queue_receive(&queue, client, &message);
    assert_true(message.type == MESSAGE_CANCEL && message.cancel.request == request && message.cancel.client > 0);
    message_close(&message);
    queue_answer(&queue, request);
    queue_answer(&queue, other);
    client_expect(client, other, LSTMQ_OK);
    assert_int_equal(lstmq_pending(client), 0);
    client_end(&queue, client);
}

static void a_large_first_request_waits_for_trust(void **state)
{
    (void)state;
    struct queue queue;
    struct lstmq_client *client = client_begin(&queue);
    static char large[300000];
    memset(large, 'a', sizeof large - 1);
    uint64_t request = client_submit(client, large, NULL);
    queue_expect(&queue, client, 0);
    assert_false(lstmq_wait(client, 20));
    struct message message;
    bool got;
    struct err err;
    assert_true(message_receive(queue.socket, &queue.from, false, &message, &got, &err) && !got);
    queue_answer(&queue, 0);
    queue_expect(&queue, client, request);
    queue_answer(&queue, request);
    client_expect(client, request, LSTMQ_OK);
    client_end(&queue, client);
}

static void what_breaks_the_protocol_ends_all_requests(void **state)
{
    (void)state;
    struct queue queue;
    struct lstmq_client *client = client_begin(&queue);
    uint64_t first = client_submit(client, "a", NULL), second = client_submit(client, "b", NULL);
    queue_expect(&queue, client, first);
    queue_expect(&queue, client, second);
    zmq_send(queue.socket, queue.from.id, queue.from.size, ZMQ_SNDMORE);
    zmq_send(queue.socket, "nonsense", 8, 0);
    client_expect(client, first, LSTMQ_CONNECTION);
    client_expect(client, second, LSTMQ_CONNECTION);
    first = client_submit(client, "a", NULL);
    queue_expect(&queue, client, first);
    queue_send(&queue, &(struct message){.type = MESSAGE_ERROR, .error = {ERR_USAGE, {"this key may not", 16}}});
    client_expect(client, first, LSTMQ_CONNECTION);
    first = client_submit(client, "a", NULL);
    queue_expect(&queue, client, first);
    queue_answer(&queue, first);
    client_expect(client, first, LSTMQ_OK);
    client_end(&queue, client);
}

static void assert_usage(struct lstmq_client *client, const char *source, const char *text, size_t count,
                         const struct lstmq_options *options, const char *words)
{
    struct lstmq_error error;
    const char *texts[] = {text};
    assert_int_equal(lstmq_submit(client, source, "fr", texts, count, options, &error), 0);
    assert_int_equal(error.status, LSTMQ_USAGE);
    assert_non_null(strstr(error.text, words));
}

static void wrong_arguments_are_refused_at_once(void **state)
{
    (void)state;
    struct lstmq_error error;
    const struct lstmq_settings half = {.key_file = "/none"}, no_file = {.key_file = "/none", .server_file = "/none"};
    const char *const bad[] = {"", "nowhere", "tcp://*:1", "tcp://127.0.0.1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_null(lstmq_open(bad[i], NULL, &error));
        assert_int_equal(error.status, LSTMQ_USAGE);
    }
    assert_true(lstmq_open("tcp://127.0.0.1:1", &half, &error) == NULL && error.status == LSTMQ_USAGE);
    assert_true(lstmq_open("tcp://127.0.0.1:1", &no_file, &error) == NULL && error.status == LSTMQ_USAGE);
    struct lstmq_client *client = lstmq_open("tcp://127.0.0.1:1", NULL, NULL);
    assert_non_null(client);
    assert_usage(client, "e n", "a", 1, NULL, "language");
    assert_usage(client, "en", "\xff", 1, NULL, "text 1 is not valid UTF-8");
    assert_usage(client, "en", "a", 0, NULL, "1 to 4096 texts");
    assert_usage(client, "en", "a", 1, &(struct lstmq_options){.deadline_ms = -1}, "deadline");
    assert_usage(client, "en", "a", 1, &(struct lstmq_options){.alternatives = 17}, "17 alternatives");
    const size_t much = (size_t)LSTMQ_BYTES_MOST + 1;
    assert_usage(client, "en", "a", 1, &(struct lstmq_options){.sizes = &much}, "8388608 bytes");
    assert_false(lstmq_wait(client, -1)); /* nothing is in flight */
    lstmq_close(client);
    lstmq_close(NULL);
    lstmq_free(NULL);
    assert_string_equal(lstmq_status_name(LSTMQ_NO_WORKER), "no worker");
    assert_string_equal(lstmq_status_name((enum lstmq_status)99), "?");
}

static void without_a_queue_a_request_fails_in_time(void **state)
{
    (void)state;
    const struct lstmq_settings settings = {.connect_ms = 100};
    struct lstmq_client *client = lstmq_open("tcp://127.0.0.1:9", &settings, NULL);
    const char *text = "a";
    struct lstmq_result *result;
    struct lstmq_error error;
    assert_int_equal(lstmq_translate(client, NULL, NULL, &text, 1, NULL, &result, &error), LSTMQ_CONNECTION);
    assert_null(result);
    assert_non_null(strstr(error.text, "tcp://127.0.0.1:9"));
    lstmq_close(client);
}

/* Answer a hundred requests. */
static void *queue_thread(void *context)
{
    struct queue *queue = context;
    for (int i = 0; i < 100; i++) {
        struct message message;
        bool got;
        struct err err;
        assert_true(message_receive(queue->socket, &queue->from, true, &message, &got, &err));
        uint64_t request = message.translate.request;
        message_close(&message);
        queue_answer(queue, request);
    }
    return NULL;
}

static void a_blocking_call_leaves_other_requests_alone(void **state)
{
    (void)state;
    struct queue queue;
    struct lstmq_client *client = client_begin(&queue);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, queue_thread, &queue), 0);
    uint64_t other = client_submit(client, "a", NULL);
    const char *text = "b";
    for (int i = 0; i < 99; i++) {
        struct lstmq_result *result;
        struct lstmq_error error;
        assert_int_equal(lstmq_translate(client, NULL, NULL, &text, 1, NULL, &result, &error), LSTMQ_OK);
        assert_string_equal(result->translations[0].text, "x");
        lstmq_free(result);
    }
    client_expect(client, other, LSTMQ_OK);
    pthread_join(thread, NULL);
    client_end(&queue, client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_has_all_parts_of_the_answer),
        cmocka_unit_test(the_descriptor_shows_every_answer),
        cmocka_unit_test(busy_is_tried_again_and_other_refusals_are_not),
        cmocka_unit_test(a_deadline_ends_a_request),
        cmocka_unit_test(a_connection_without_a_word_is_replaced),
        cmocka_unit_test(a_restarted_queue_gets_requests_again),
        cmocka_unit_test(a_cancelled_request_is_withdrawn),
        cmocka_unit_test(a_large_first_request_waits_for_trust),
        cmocka_unit_test(what_breaks_the_protocol_ends_all_requests),
        cmocka_unit_test(wrong_arguments_are_refused_at_once),
        cmocka_unit_test(without_a_queue_a_request_fails_in_time),
        cmocka_unit_test(a_blocking_call_leaves_other_requests_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
