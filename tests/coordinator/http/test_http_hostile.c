/* test_http_hostile.c - requests that are ambiguous, too large, too slow or too many. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/http_server.h"

#include "proto/base/clock.h"

#include <fcntl.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "Host: test\r\n"
#define NEXT "GET /echo?smuggled HTTP/1.1\r\n" HOST "\r\n"

static int hostile_start(void **state)
{
    struct http_server *server = http_server_new();
    *state = server;
    http_server_start(server);
    return 0;
}

static int hostile_stop(void **state)
{
    http_server_stop((struct http_server **)state);
    return 0;
}

static void hostile_expect(const char *answer, const char *text)
{
    if (strstr(answer, text) == NULL)
        fail_msg("\"%s\" is not in: %s", text, answer);
}

/* libmicrohttpd 1.0 itself refuses some of what 0.9 leaves to the server, with other statuses and a page. */
static bool hostile_is_ours(void)
{
    return strncmp(MHD_get_version(), "0.", 2) == 0;
}

/* The server refuses `request` with `status`, and ends the connection before it reads NEXT as a request. */
static void hostile_refused(const struct http_server *server, const char *request, unsigned status, bool json)
{
    int fd = http_dial(server);
    char *answer = NULL;
    http_put(fd, request);
    http_put(fd, NEXT);
    unsigned seen = http_get(fd, false, &answer);
    if (hostile_is_ours() ? seen != status : seen < 300)
        fail_msg("status %u, not %u, for: %s", seen, status, request);
    hostile_expect(answer, "\r\nConnection: close\r\n");
    if (json && hostile_is_ours())
        hostile_expect(answer, "\r\n\r\n{\"error\": \"");
    assert_int_equal(http_get(fd, false, NULL), 0);
    assert_int_equal(server->taken, 0);
    free(answer);
    close(fd);
}

static void an_ambiguous_request_is_refused(void **state)
{
    static const char *const bad[] = {
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 60\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length : 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "X-Note: a\rContent-Length: 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "X-Note: a\x01\r\n\r\n",
        "GET /echo HTTP/1.1\r\n\r\n",
        "GET /echo HTTP/1.1\r\n" HOST HOST "\r\n",
        "GET /echo?a b HTTP/1.1\r\n" HOST "\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        hostile_refused(*state, bad[i], 400, true);
    hostile_refused(*state, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501, true);
    hostile_refused(*state, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 501, true);
    hostile_refused(*state, "GETGETGETGETGETGET /echo HTTP/1.1\r\n" HOST "\r\n", 501, true);
    hostile_refused(*state, "G@T /echo HTTP/1.1\r\n" HOST "\r\n", 501, true);
}

/* libmicrohttpd refuses these before the server sees them. */
static void what_is_no_http_is_refused(void **state)
{
    static const char *const bad[] = {
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: -3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3x\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3, 3\r\n\r\nabc",
        "POST /echo HTTP/1.1\r\n" HOST "No colon here\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n0\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        hostile_refused(*state, bad[i], 400, false);
    static const char *const worse[] = {"\x16\x03\x01\x02", "GARBAGE\r\n\r\n", "GET / HTTP/9.9\r\n\r\n",
                                        "\r\n\r\n\r\n"};
    for (size_t i = 0; i < sizeof worse / sizeof worse[0]; i++) {
        int fd = http_dial(*state);
        http_put(fd, worse[i]);
        shutdown(fd, SHUT_WR);
        assert_true(http_ended(fd));
        close(fd);
    }
    assert_int_equal(((struct http_server *)*state)->taken, 0);
}

/* ---- sizes ---- */

static char *hostile_fill(const char *before, size_t size, const char *after)
{
    char *text = malloc(strlen(before) + size + strlen(after) + 1);
    sprintf(text, "%s%*s%s", before, (int)size, "", after);
    memset(text + strlen(before), 'a', size);
    return text;
}

static void a_large_body_gets_413_and_the_connection_stays(void **state)
{
    int fd = http_dial(*state);
    char *fits = hostile_fill("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4096\r\n\r\n", 4096, "");
    char *large = hostile_fill("POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4097\r\n\r\n", 4097, "");
    char *chunks = hostile_fill("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1001\r\n", 4097,
                                "\r\n0\r\n\r\n");
    for (int i = 0; i < 3; i++) {
        char *answer = NULL;
        http_put(fd, large);
        assert_int_equal(http_get(fd, false, &answer), 413);
        hostile_expect(answer, "\r\n\r\n{\"error\": \"The request's body is too large\"}\n");
        free(answer);
        http_put(fd, chunks);
        assert_int_equal(http_get(fd, false, NULL), 413);
        http_put(fd, fits);
        assert_int_equal(http_get(fd, false, &answer), 200);
        hostile_expect(answer, "POST /echo  4096:aaaa");
        free(answer);
    }
    close(fd);
    free(fits);
    free(large);
    free(chunks);
}

static void a_huge_body_is_refused_unread(void **state)
{
    hostile_refused(*state, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n", 413, true);
    hostile_refused(*state, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 18446744073709551615\r\n\r\n", 413, true);
    hostile_refused(*state, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5000\r\nExpect: 100-continue\r\n\r\n", 413,
                    true);
    int fd = http_dial(*state);
    char *chunks =
        hostile_fill("POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n", 200000, "");
    http_put(fd, chunks);
    assert_true(http_ended(fd));
    free(chunks);
    close(fd);
}

static void a_client_that_expects_100_gets_it(void **state)
{
    int fd = http_dial(*state);
    char *answer = NULL;
    http_put(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\nExpect: 100-continue\r\n\r\n");
    assert_int_equal(http_get(fd, false, NULL), 100);
    http_put(fd, "abc");
    assert_int_equal(http_get(fd, false, &answer), 200);
    hostile_expect(answer, "3:abc");
    free(answer);
    close(fd);
}

static void a_large_head_is_refused(void **state)
{
    char *query = hostile_fill("POST /echo?q=", 48000, " HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(http_ask(*state, query, NULL), 200);
    free(query);
    ((struct http_server *)*state)->taken = 0;
    char *uri = hostile_fill("GET /echo?q=", 52000, " HTTP/1.1\r\n" HOST "\r\n");
    hostile_refused(*state, uri, 414, true);
    free(uri);
    char *head = hostile_fill("GET /echo HTTP/1.1\r\n" HOST "X-Long: ", 58000, "\r\n\r\n");
    hostile_refused(*state, head, 431, true);
    free(head);
    static const char *const begins[] = {"GET /", "GET / HTTP/1.1\r\n" HOST "X-Long: "};
    for (size_t i = 0; i < 2; i++) {
        int fd = http_dial(*state);
        char *endless = hostile_fill(begins[i], 1 << 20, "");
        http_put(fd, endless);
        assert_true(http_ended(fd));
        free(endless);
        close(fd);
    }
    assert_int_equal(http_ask(*state, NEXT, NULL), 200);
}

/* ---- time ---- */

static int hostile_start_hasty(void **state)
{
    struct http_server *server = http_server_new();
    *state = server;
    server->options.timeout_ms = 300;
    server->options.body = 4 << 20;
    http_server_start(server);
    return 0;
}

static void a_client_that_sends_too_slowly_gets_408(void **state)
{
    static const char *const parts[] = {"", "GET /ec", "GET /echo HTTP/1.1\r\nHo",
                                        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nab"};
    int64_t begun = clock_ms();
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        char *answer = NULL;
        int fd = http_dial(*state);
        http_put(fd, parts[i]);
        assert_int_equal(http_get(fd, false, &answer), 408);
        hostile_expect(answer, "\r\n\r\n{\"error\": \"The request took too long to arrive\"}\n");
        assert_true(http_ended(fd));
        free(answer);
        close(fd);
    }
    assert_true(clock_ms() - begun >= 4 * 300);
}

static void a_trickle_does_not_keep_a_connection(void **state)
{
    int fd = http_dial(*state);
    char byte = 0;
    http_put(fd, "GET /echo HTTP/1.1\r\n" HOST "X-Long: ");
    while (recv(fd, &byte, 1, MSG_DONTWAIT) != 1) {
        http_put(fd, "a");
        usleep(20000);
    }
    assert_int_equal(byte, 'H'); /* of HTTP/1.1 408 */
    close(fd);
}

static void an_idle_connection_is_closed_without_an_answer(void **state)
{
    int fd = http_dial(*state);
    http_put(fd, NEXT);
    assert_int_equal(http_get(fd, false, NULL), 200);
    assert_int_equal(http_get(fd, false, NULL), 0);
    close(fd);
}

static void a_waiting_request_has_no_time_limit_here(void **state)
{
    struct http_server *server = *state;
    int fd = http_dial(server);
    http_put(fd, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    http_server_await(&server->taken, 1);
    usleep(700000);
    http_server_answer(server);
    assert_int_equal(http_get(fd, false, NULL), 200);
    close(fd);
}

static void a_client_that_does_not_read_is_ended(void **state)
{
    struct http_server *server = *state;
    int fds[8];
    for (size_t i = 0; i < 8; i++) {
        fds[i] = http_dial(server);
        http_put(fds[i], "GET /size?8000000 HTTP/1.1\r\n" HOST "\r\n");
    }
    http_server_await(&server->taken, 8);
    int64_t until = clock_ms() + 20000;
    while (server->cut < 8 && clock_ms() < until) {
        assert_int_equal(http_ask(server, NEXT, NULL), 200);
        usleep(10000);
    }
    assert_int_equal(server->cut, 8);
    for (size_t i = 0; i < 8; i++)
        close(fds[i]);
}

/* ---- numbers ---- */

static int hostile_start_small(void **state)
{
    struct http_server *server = http_server_new();
    *state = server;
    server->options.connections = 8;
    http_server_start(server);
    return 0;
}

/* Eight slow clients fill the server. After a second the oldest makes way for a ninth. */
static void slow_clients_do_not_keep_others_out(void **state)
{
    struct http_server *server = *state;
    int fds[8];
    for (size_t i = 0; i < 8; i++) {
        fds[i] = http_dial(server);
        http_put(fds[i], i == 0 ? "GET /later HTTP/1.1\r\n" HOST "\r\n" : "GET /e");
    }
    http_server_await(&server->taken, 1);
    for (int i = 0; i < 12; i++)
        assert_int_equal(http_ask(server, NEXT, NULL), 200);
    http_server_answer(server);
    assert_int_equal(http_get(fds[0], false, NULL), 200);
    assert_true(server->cut >= 1);
    assert_int_equal(http_get(fds[1], false, NULL), 503);
    for (size_t i = 0; i < 8; i++)
        close(fds[i]);
}

static void a_burst_of_connections_is_accepted(void **state)
{
    enum { BURST = 200 };
    struct http_server *server = *state;
    int fds[BURST];
    int64_t begun = clock_ms();
    for (size_t i = 0; i < BURST; i++) {
        fds[i] = http_dial(server);
        assert_true(fds[i] >= 0);
        http_put(fds[i], NEXT);
    }
    for (size_t i = 0; i < BURST; i++) {
        assert_int_equal(http_get(fds[i], false, NULL), 200);
        close(fds[i]);
    }
    printf("%d connections answered in %d ms\n", BURST, (int)(clock_ms() - begun));
}

/* The test and the server are one process: it takes all descriptors but the one that the client needs. */
static void a_server_without_descriptors_recovers(void **state)
{
    struct http_server *server = *state;
    struct rlimit before, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 256;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int fds[256], count = 0, open_before = http_dial(server);
    http_put(open_before, NEXT);
    assert_int_equal(http_get(open_before, false, NULL), 200);
    for (int fd = dup(open_before); fd >= 0; fd = dup(open_before))
        fds[count++] = fd;
    close(fds[--count]);
    int waits = http_dial(server);
    http_put(waits, NEXT);
    for (int i = 0; i < 3; i++) {
        http_put(open_before, NEXT);
        assert_int_equal(http_get(open_before, false, NULL), 200);
    }
    assert_int_equal(recv(waits, fds, 1, MSG_DONTWAIT), -1);
    while (count > 0)
        close(fds[--count]);
    assert_int_equal(http_get(waits, false, NULL), 200);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    close(open_before);
    close(waits);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_ambiguous_request_is_refused, hostile_start, hostile_stop),
        cmocka_unit_test_setup_teardown(what_is_no_http_is_refused, hostile_start, hostile_stop),
        cmocka_unit_test_setup_teardown(a_large_body_gets_413_and_the_connection_stays, hostile_start, hostile_stop),
        cmocka_unit_test_setup_teardown(a_huge_body_is_refused_unread, hostile_start, hostile_stop),
        cmocka_unit_test_setup_teardown(a_client_that_expects_100_gets_it, hostile_start, hostile_stop),
        cmocka_unit_test_setup_teardown(a_large_head_is_refused, hostile_start, hostile_stop),
        cmocka_unit_test_setup_teardown(a_client_that_sends_too_slowly_gets_408, hostile_start_hasty, hostile_stop),
        cmocka_unit_test_setup_teardown(a_trickle_does_not_keep_a_connection, hostile_start_hasty, hostile_stop),
        cmocka_unit_test_setup_teardown(an_idle_connection_is_closed_without_an_answer, hostile_start_hasty,
                                        hostile_stop),
        cmocka_unit_test_setup_teardown(a_waiting_request_has_no_time_limit_here, hostile_start_hasty, hostile_stop),
        cmocka_unit_test_setup_teardown(a_client_that_does_not_read_is_ended, hostile_start_hasty, hostile_stop),
        cmocka_unit_test_setup_teardown(slow_clients_do_not_keep_others_out, hostile_start_small, hostile_stop),
        cmocka_unit_test_setup_teardown(a_burst_of_connections_is_accepted, hostile_start, hostile_stop),
        cmocka_unit_test_setup_teardown(a_server_without_descriptors_recovers, hostile_start, hostile_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
