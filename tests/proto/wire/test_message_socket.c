/* test_message_socket.c - messages through real sockets: between a DEALER and a ROUTER, over inproc and TCP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

#include "tests/support/message_samples.h"

/* A coordinator's and a worker's socket, connected. */
struct wire {
    void *context, *router, *dealer;
    char address[256];
};

static void *message_socket_socket(struct wire *wire, int type)
{
    void *socket = zmq_socket(wire->context, type);
    assert_non_null(socket);
    int linger = 0, patience = 120000;
    zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof linger);
    zmq_setsockopt(socket, ZMQ_RCVTIMEO, &patience, sizeof patience); /* a test that fails does not hang */
    return socket;
}

static void message_socket_open(struct wire *wire, const char *bind, int high_water)
{
    wire->context = zmq_ctx_new();
    wire->router = message_socket_socket(wire, ZMQ_ROUTER);
    wire->dealer = message_socket_socket(wire, ZMQ_DEALER);
    int mandatory = 1;
    zmq_setsockopt(wire->router, ZMQ_ROUTER_MANDATORY, &mandatory, sizeof mandatory);
    void *sockets[] = {wire->router, wire->dealer};
    for (int i = 0; i < 2; i++) {
        zmq_setsockopt(sockets[i], ZMQ_SNDHWM, &high_water, sizeof high_water);
        zmq_setsockopt(sockets[i], ZMQ_RCVHWM, &high_water, sizeof high_water);
    }
    zmq_setsockopt(wire->dealer, ZMQ_ROUTING_ID, "worker-1", 8);
    assert_int_equal(zmq_bind(wire->router, bind), 0);
    size_t size = sizeof wire->address;
    zmq_getsockopt(wire->router, ZMQ_LAST_ENDPOINT, wire->address, &size);
    assert_int_equal(zmq_connect(wire->dealer, wire->address), 0);
}

static void message_socket_close(struct wire *wire)
{
    if (wire->dealer != NULL)
        zmq_close(wire->dealer);
    zmq_close(wire->router);
    zmq_ctx_term(wire->context);
}

static void message_socket_sent(void *socket, const struct route *to, const struct message *message)
{
    struct err err = {0};
    if (!message_send_wait(socket, to, message, &err))
        fail_msg("%s", err.text);
}

static void message_socket_received(void *socket, struct route *from, struct message *message)
{
    struct err err = {0};
    bool got;
    if (!message_receive(socket, from, true, message, &got, &err))
        fail_msg("%s", err.text);
    assert_true(got);
}

static const char *const message_socket_transports[] = {"inproc://coordinator", "tcp://127.0.0.1:*"};

static void every_message_crosses_a_socket_both_ways(void **state)
{
    (void)state;
    for (size_t t = 0; t < 2; t++) {
        struct wire wire;
        message_socket_open(&wire, message_socket_transports[t], 1000);
        struct route from;
        for (int type = MESSAGE_HELLO; type < MESSAGE_TYPES; type++) {
            struct message sent = sample_message((enum message_type)type), got;
            message_socket_sent(wire.dealer, NULL, &sent);
            message_socket_received(wire.router, &from, &got);
            assert_int_equal(got.type, type);
            assert_int_equal(from.size, 8);
            assert_memory_equal(from.id, "worker-1", 8);
            message_socket_sent(wire.router, &from, &got);
            message_close(&got);
            message_socket_received(wire.dealer, NULL, &got);
            assert_int_equal(got.type, type);
            message_close(&got);
        }
        message_socket_close(&wire);
    }
}

static void a_full_piece_of_state_arrives_whole(void **state)
{
    (void)state;
    struct wire wire;
    message_socket_open(&wire, message_socket_transports[1], 1000);
    uint8_t *piece = malloc(STATE_PIECE);
    for (size_t i = 0; i < STATE_PIECE; i++)
        piece[i] = (uint8_t)(i * 2654435761U >> 24);
    struct message sent = {.type = MESSAGE_STATE, .state = {1, 0, 0, STATE_PIECE, piece, STATE_PIECE}}, got;
    struct route from;
    message_socket_sent(wire.dealer, NULL, &sent);
    message_socket_received(wire.router, &from, &got);
    assert_int_equal(got.state.size, STATE_PIECE);
    assert_memory_equal(got.state.bytes, piece, STATE_PIECE);
    message_close(&got);
    free(piece);
    message_socket_close(&wire);
}

static void nothing_there_is_not_a_failure(void **state)
{
    (void)state;
    struct wire wire;
    message_socket_open(&wire, message_socket_transports[0], 1000);
    struct err err = {0};
    struct message got;
    struct route from;
    bool any = true;
    assert_true(message_receive(wire.router, &from, false, &got, &any, &err));
    assert_false(any);
    message_close(&got);
    message_socket_close(&wire);
}

/* Send `count` frames, all alike. */
static void message_socket_junk(void *socket, const void *data, size_t size, int count)
{
    for (int i = 0; i < count; i++)
        assert_true(zmq_send(socket, data, size, i + 1 < count ? ZMQ_SNDMORE : 0) >= 0);
}

static void message_socket_refused(void *router, const char *text)
{
    struct err err = {0};
    struct message got;
    struct route from = {.size = 0};
    bool any = true;
    assert_false(message_receive(router, &from, true, &got, &any, &err));
    assert_false(any);
    assert_int_equal(err.code, ERR_PROTOCOL);
    if (text != NULL)
        assert_string_equal(err.text, text);
    assert_int_equal(from.size, 8);
    assert_memory_equal(from.id, "worker-1", 8);
    assert_null(got.frames);
}

static void junk_is_consumed_and_the_next_message_is_read(void **state)
{
    (void)state;
    char *large = calloc(1, 16 << 20);
    for (size_t t = 0; t < 2; t++) {
        struct wire wire;
        message_socket_open(&wire, message_socket_transports[t], 1000);
        struct message sent = sample_message(MESSAGE_SPAN), got;
        struct route from;
        for (int count = 1; count <= 20; count++) {
            message_socket_junk(wire.dealer, "", 0, count);
            message_socket_junk(wire.dealer, "GET / HTTP/1.1\r\n", 16, count);
            message_socket_junk(wire.dealer, "\x82\xa1v\x92\x01\x00\xa1t\x07", 9, count);
            message_socket_sent(wire.dealer, NULL, &sent);
        }
        message_socket_junk(wire.dealer, large, 16 << 20, 5);
        message_socket_sent(wire.dealer, NULL, &sent);
        for (int count = 1; count <= 20; count++) {
            for (int i = 0; i < 3; i++)
                message_socket_refused(wire.router, NULL);
            message_socket_received(wire.router, &from, &got);
            assert_int_equal(got.type, MESSAGE_SPAN);
            message_close(&got);
        }
        message_socket_refused(wire.router, "a message of 83886080 bytes is above 67108864");
        message_socket_received(wire.router, &from, &got);
        message_close(&got);
        message_socket_close(&wire);
    }
    free(large);
}

static void a_refused_message_names_its_fault(void **state)
{
    (void)state;
    struct wire wire;
    message_socket_open(&wire, message_socket_transports[0], 1000);
    message_socket_junk(wire.dealer, "\x80", 1, 1);
    message_socket_refused(wire.router, "1 frames are not a message: it has at least a header and a body");
    message_socket_junk(wire.dealer, "\x80", 1, 9);
    message_socket_refused(wire.router, "9 frames are above 8");
    message_socket_junk(wire.dealer, "\x80", 1, 2);
    message_socket_refused(wire.router, "header: field v: missing");
    message_socket_junk(wire.dealer, "\x82\xa1v\x92\x02\x01\xa1t\x01", 9, 2);
    message_socket_refused(wire.router, "the peer speaks protocol 2.1, this side 1.0");
    message_socket_close(&wire);
}

/* A PAIR in the place of a ROUTER hands over what stands for the id and nothing behind it. */
static void a_message_of_the_id_alone_is_refused(void **state)
{
    (void)state;
    void *context = zmq_ctx_new(), *ends[2];
    for (int i = 0; i < 2; i++)
        ends[i] = zmq_socket(context, ZMQ_PAIR);
    zmq_bind(ends[0], "inproc://pair");
    zmq_connect(ends[1], "inproc://pair");
    zmq_send(ends[1], "worker-1", 8, 0);
    message_socket_refused(ends[0], "0 frames are not a message: it has at least a header and a body");
    for (int i = 0; i < 2; i++)
        zmq_close(ends[i]);
    zmq_ctx_term(context);
}

static void a_full_queue_is_reported_and_sends_no_half_message(void **state)
{
    (void)state;
    struct wire wire;
    message_socket_open(&wire, message_socket_transports[0], 2);
    struct message sent = sample_message(MESSAGE_SPAN), got;
    struct err err = {0};
    struct route from;
    int count = 0;
    while (message_send(wire.dealer, NULL, &sent, &err))
        assert_true(++count < 100);
    assert_int_equal(err.code, ERR_FULL);
    assert_string_equal(err.text, "SPAN: the socket's queue is full");
    assert_true(count > 0);
    for (int i = 0; i < count; i++) {
        message_socket_received(wire.router, &from, &got);
        assert_int_equal(got.type, MESSAGE_SPAN);
        message_close(&got);
    }
    bool any;
    assert_true(message_receive(wire.router, &from, false, &got, &any, &err));
    assert_false(any);
    message_socket_sent(wire.dealer, NULL, &sent);
    message_socket_received(wire.router, &from, &got);
    message_close(&got);
    message_socket_close(&wire);
}

static void a_send_to_a_gone_peer_reports_it(void **state)
{
    (void)state;
    struct wire wire;
    message_socket_open(&wire, message_socket_transports[1], 1000);
    struct err err = {0};
    struct message sent = sample_message(MESSAGE_CREDIT), got;
    struct route from, stranger = {.id = "absent", .size = 6};
    message_socket_sent(wire.dealer, NULL, &sent);
    message_socket_received(wire.router, &from, &got);
    message_close(&got);
    assert_false(message_send(wire.router, &stranger, &sent, &err));
    assert_int_equal(err.code, ERR_FAILED);
    assert_string_equal(err.text, "CREDIT: the peer has disconnected");
    zmq_close(wire.dealer);
    wire.dealer = NULL;
    do {
        zmq_pollitem_t item = {.socket = wire.router, .events = ZMQ_POLLIN};
        zmq_poll(&item, 1, 1); /* gives the disconnection a chance to be seen */
        err = (struct err){0};
    } while (message_send(wire.router, &from, &sent, &err));
    assert_string_equal(err.text, "CREDIT: the peer has disconnected");
    assert_false(message_send_wait(wire.router, &from, &sent, &err));
    assert_string_equal(err.text, "CREDIT: the peer has disconnected");
    message_socket_close(&wire);
}

static void a_message_that_breaks_the_protocol_is_not_sent(void **state)
{
    (void)state;
    struct wire wire;
    message_socket_open(&wire, message_socket_transports[0], 1000);
    struct message sent = sample_message(MESSAGE_CREDIT), got;
    struct route from;
    struct err err = {0};
    sent.credit.units = 5000;
    assert_false(message_send(wire.dealer, NULL, &sent, &err));
    assert_string_equal(err.text, "CREDIT: field units: 5000 is above 1024");
    bool any;
    assert_true(message_receive(wire.router, &from, false, &got, &any, &err));
    assert_false(any);
    message_socket_close(&wire);
}

static void something_that_is_no_socket_is_an_error(void **state)
{
    (void)state;
    char nothing[1024] = {0};
    struct message sent = sample_message(MESSAGE_CREDIT), got;
    struct err err = {0};
    bool any;
    assert_false(message_send(nothing, NULL, &sent, &err));
    assert_int_equal(err.code, ERR_IO);
    assert_false(message_receive(nothing, NULL, true, &got, &any, &err));
    assert_int_equal(err.code, ERR_IO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_message_crosses_a_socket_both_ways),
        cmocka_unit_test(a_full_piece_of_state_arrives_whole),
        cmocka_unit_test(nothing_there_is_not_a_failure),
        cmocka_unit_test(junk_is_consumed_and_the_next_message_is_read),
        cmocka_unit_test(a_refused_message_names_its_fault),
        cmocka_unit_test(a_message_of_the_id_alone_is_refused),
        cmocka_unit_test(a_full_queue_is_reported_and_sends_no_half_message),
        cmocka_unit_test(a_send_to_a_gone_peer_reports_it),
        cmocka_unit_test(a_message_that_breaks_the_protocol_is_not_sent),
        cmocka_unit_test(something_that_is_no_socket_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
