/* test_http.c - requests and answers over real sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/http_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST "Host: test\r\n"

static int http_start(void **state)
{
    struct http_server *server = http_server_new();
    *state = server;
    http_server_start(server);
    return 0;
}

static int http_stop(void **state)
{
    http_server_stop((struct http_server **)state);
    return 0;
}

static void http_expect(const char *answer, const char *text)
{
    if (strstr(answer, text) == NULL)
        fail_msg("\"%s\" is not in: %s", text, answer);
}

/* Send a request on `fd` and check status and a part of the answer. */
static void http_check(int fd, const char *request, unsigned status, const char *part)
{
    char *answer = NULL;
    http_put(fd, request);
    assert_int_equal(http_get(fd, strncmp(request, "HEAD ", 5) == 0, &answer), status);
    http_expect(answer, part);
    free(answer);
}

static void a_request_gets_its_answer(void **state)
{
    char *answer = NULL;
    assert_int_equal(http_ask(*state, "GET /echo?a=b%20c HTTP/1.1\r\n" HOST "\r\n", &answer), 200);
    http_expect(answer, "\r\n\r\nGET /echo a=b%20c 0:");
    http_expect(answer, "\r\nX-Echo: yes\r\n");
    http_expect(answer, "\r\nContent-Type: text/plain\r\n");
    http_expect(answer, "\r\nX-Request-ID: ");
    http_expect(answer, "\r\nDate: ");
    assert_null(strstr(answer, "Injected"));
    free(answer);
}

static void a_connection_serves_many_requests(void **state)
{
    int fd = http_dial(*state);
    for (int i = 0; i < 20; i++) {
        http_check(fd, "GET /echo HTTP/1.1\r\n" HOST "\r\n", 200, "GET /echo  0:");
        http_check(fd, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", 200, "POST /echo  5:hello");
        http_check(fd, "GET /none HTTP/1.1\r\n" HOST "\r\n", 404, "\r\n\r\n{\"error\": \"/none\"}\n");
        http_check(fd, "HEAD /echo HTTP/1.1\r\n" HOST "\r\n", 200, "Content-Length: 14\r\n");
        http_check(fd, "OPTIONS /echo HTTP/1.1\r\n" HOST "\r\n", 200, "OPTIONS /echo");
        http_check(fd, "GET /page HTTP/1.1\r\n" HOST "\r\n", 200, "<title>page</title>");
        http_check(fd, "GET /languages HTTP/1.1\r\n" HOST "Content-Length: 8\r\n\r\napi_key=", 404, "/languages");
    }
    close(fd);
}

static void requests_sent_at_once_are_answered_in_order(void **state)
{
    int fd = http_dial(*state);
    char request[128];
    for (int i = 0; i < 100; i++) {
        snprintf(request, sizeof request, "POST /echo?%d HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", i);
        http_put(fd, request);
    }
    for (int i = 0; i < 100; i++) {
        char *answer = NULL;
        snprintf(request, sizeof request, "POST /echo %d 3:abc", i);
        assert_int_equal(http_get(fd, false, &answer), 200);
        http_expect(answer, request);
        free(answer);
    }
    close(fd);
}

static void a_request_in_single_bytes_is_whole(void **state)
{
    static const char request[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nabcd";
    int fd = http_dial(*state);
    for (const char *c = request; *c != '\0'; c++)
        assert_int_equal(send(fd, c, 1, 0), 1);
    char *answer = NULL;
    assert_int_equal(http_get(fd, false, &answer), 200);
    http_expect(answer, "4:abcd");
    free(answer);
    close(fd);
}

static void a_body_in_chunks_is_joined(void **state)
{
    int fd = http_dial(*state);
    http_check(fd,
               "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
               "3\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n",
               200, "5:abcde");
    http_check(fd, "GET /echo HTTP/1.1\r\n" HOST "\r\n", 200, "GET /echo  0:");
    close(fd);
}

static void a_path_is_decoded_and_a_query_is_not(void **state)
{
    int fd = http_dial(*state);
    http_check(fd, "GET /%65cho?%65=%zz HTTP/1.1\r\n" HOST "\r\n", 200, "GET /echo %65=%zz 0:");
    http_check(fd, "POST //echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 404, "\"//echo\"");
    http_check(fd, "GET /a%2Fb+c%C3%A9 HTTP/1.1\r\n" HOST "\r\n", 404, "\"/a/b+c\xc3\xa9\"");
    http_check(fd, "GET http://test:80/echo?x HTTP/1.1\r\n" HOST "\r\n", 200, "GET /echo x 0:");
    http_check(fd, "GET /echo?a?b HTTP/1.1\r\n" HOST "\r\n", 200, "GET /echo a?b 0:");
    http_check(fd, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 404, "\"*\"");
    close(fd);
    static const char *const bad[] = {"/%00", "/a%0", "/%zz", "echo", "/a%"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char request[128], *answer = NULL;
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "\r\n", bad[i]);
        assert_int_equal(http_ask(*state, request, &answer), 400);
        http_expect(answer, "{\"error\": \"The URI is malformed\"}\n");
        free(answer);
    }
}

static void a_held_request_is_answered_later(void **state)
{
    struct http_server *server = *state;
    int first = http_dial(server), second = http_dial(server);
    http_put(first, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    http_put(second, "GET /later HTTP/1.1\r\n" HOST "\r\nGET /echo HTTP/1.1\r\n" HOST "\r\n");
    http_server_await(&server->taken, 2);
    assert_int_equal(http_ask(server, "GET /echo HTTP/1.1\r\n" HOST "\r\n", NULL), 200);
    http_server_answer(server);
    assert_int_equal(http_get(first, false, NULL), 200);
    assert_int_equal(http_get(second, false, NULL), 200);
    assert_int_equal(http_get(second, false, NULL), 200);
    close(first);
    close(second);
}

static void a_request_whose_client_left_is_gone(void **state)
{
    struct http_server *server = *state;
    const struct linger reset = {.l_onoff = 1};
    for (unsigned i = 0; i < 3; i++) {
        int fd = http_dial(server);
        http_put(fd, "POST /wait HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nab");
        http_server_await(&server->taken, i + 1);
        if (i == 1)
            setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (i == 2)
            shutdown(fd, SHUT_WR);
        else
            close(fd);
        http_server_await(&server->gone, i + 1);
        if (i == 2) {
            assert_true(http_ended(fd));
            close(fd);
        }
    }
}

/* As "printf ... | socat" does. And an end that comes together with a part of a request ends the connection. */
static void a_client_that_only_reads_is_answered_at_once(void **state)
{
    struct http_server *server = *state;
    static const char *const wholes[] = {"GET /echo HTTP/1.1\r\n" HOST "\r\n",
                                         "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc",
                                         "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5000\r\n\r\n%5000s"};
    static const char *const parts[] = {"GET /echo HTTP/1.1\r\n", "GET /e",
                                        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabc"};
    for (int i = 0; i < 60; i++) {
        char request[6000];
        int fd = http_dial(server);
        snprintf(request, sizeof request, wholes[i % 3], "");
        http_put(fd, request);
        shutdown(fd, SHUT_WR);
        assert_int_equal(http_get(fd, false, NULL), i % 3 == 2 ? 413 : 200);
        assert_true(http_ended(fd));
        close(fd);
        fd = http_dial(server);
        http_put(fd, parts[i % 3]);
        shutdown(fd, SHUT_WR);
        assert_true(http_ended(fd));
        close(fd);
    }
    while (server->connections > 0)
        usleep(1000);
}

static void a_server_ends_with_requests_that_wait(void **state)
{
    struct http_server *server = http_server_new();
    (void)state;
    http_server_start(server);
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = http_dial(server);
        http_put(fds[i], i % 2 == 0 ? "GET /wait HTTP/1.1\r\n" HOST "\r\n" : "GET /wai");
    }
    http_server_await(&server->taken, 10);
    http_server_stop(&server);
    for (int i = 0; i < 20; i++) {
        assert_true(http_ended(fds[i]));
        close(fds[i]);
    }
}

static void a_drained_server_answers_and_closes(void **state)
{
    struct http_server *server = http_server_new();
    (void)state;
    http_server_start(server);
    int idle = http_dial(server), waits = http_dial(server), new = http_dial(server);
    http_check(idle, "GET /echo HTTP/1.1\r\n" HOST "\r\n", 200, "GET /echo");
    http_put(waits, "GET /later HTTP/1.1\r\n" HOST "\r\n");
    http_server_await(&server->taken, 2);
    while (server->connections < 3)
        usleep(1000);
    http_server_drain(server);
    for (int fd = http_dial(server); fd >= 0; fd = http_dial(server))
        close(fd);
    http_check(new, "GET /echo HTTP/1.1\r\n" HOST "\r\n", 200, "\r\nConnection: close\r\n");
    assert_true(http_ended(new));
    http_server_answer(server);
    char *answer = NULL;
    assert_int_equal(http_get(waits, false, &answer), 200);
    http_expect(answer, "\r\nConnection: close\r\n");
    free(answer);
    assert_true(http_ended(waits));
    while (server->connections > 0) {
        http_server_drain(server);
        usleep(1000);
    }
    assert_true(http_ended(idle));
    close(idle);
    close(waits);
    close(new);
    http_server_stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_request_gets_its_answer, http_start, http_stop),
        cmocka_unit_test_setup_teardown(a_connection_serves_many_requests, http_start, http_stop),
        cmocka_unit_test_setup_teardown(requests_sent_at_once_are_answered_in_order, http_start, http_stop),
        cmocka_unit_test_setup_teardown(a_request_in_single_bytes_is_whole, http_start, http_stop),
        cmocka_unit_test_setup_teardown(a_body_in_chunks_is_joined, http_start, http_stop),
        cmocka_unit_test_setup_teardown(a_path_is_decoded_and_a_query_is_not, http_start, http_stop),
        cmocka_unit_test_setup_teardown(a_held_request_is_answered_later, http_start, http_stop),
        cmocka_unit_test_setup_teardown(a_request_whose_client_left_is_gone, http_start, http_stop),
        cmocka_unit_test_setup_teardown(a_client_that_only_reads_is_answered_at_once, http_start, http_stop),
        cmocka_unit_test(a_server_ends_with_requests_that_wait),
        cmocka_unit_test(a_drained_server_answers_and_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
