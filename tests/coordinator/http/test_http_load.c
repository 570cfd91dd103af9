/* test_http_load.c - many clients, and slow ones. Times are printed, and judged with $LSTMQ_FULL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/http_server.h"

#include "proto/base/clock.h"

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST "POST /echo HTTP/1.1\r\nHost: test\r\nContent-Length: 11\r\n\r\n{\"q\":\"a b\"}"

enum { SLOW = 1000, BURST = 400, CLIENTS = 64, SAMPLES = 2000, FILES = 4096 };

static bool load_is_judged(void)
{
    return getenv("LSTMQ_FULL") != NULL;
}

/* Print a figure and its limit; with $LSTMQ_FULL it must keep to it. */
static void load_judge(const char *what, double value, double most, const char *unit)
{
    print_message("%s: %.3f %s, at most %.3f\n", what, value, unit, most);
    if (load_is_judged() && value > most)
        fail_msg("%s: %.3f %s, at most %.3f", what, value, unit, most);
}

static int load_start(void **state)
{
    struct rlimit files;
    struct http_server *server = http_server_new();
    *state = server;
    server->options.connections = FILES;
    if (getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    http_server_start(server);
    return 0;
}

static int load_stop(void **state)
{
    http_server_stop((struct http_server **)state);
    return 0;
}

/* Read one answer to REQUEST; its size is always the same. */
static void load_read(int fd)
{
    char bytes[1024];
    size_t size = 0;
    while (size < 20 || memcmp(bytes + size - 11, "{\"q\":\"a b\"}", 11) != 0) {
        ssize_t got = recv(fd, bytes + size, sizeof bytes - size, 0);
        assert_true(got > 0);
        size += (size_t)got;
    }
}

static int load_compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Milliseconds of one request after another on one connection: their 50th and 99th percentile. */
static void load_measure(int fd, double *p50, double *p99)
{
    static double took[SAMPLES];
    for (size_t i = 0; i < SAMPLES; i++) {
        int64_t begun = clock_ns();
        http_put(fd, REQUEST);
        load_read(fd);
        took[i] = (double)(clock_ns() - begun) / 1e6;
    }
    qsort(took, SAMPLES, sizeof took[0], load_compare);
    *p50 = took[SAMPLES / 2];
    *p99 = took[SAMPLES * 99 / 100];
}

/* 1,000 clients that send a request byte by byte, and one that does not. */
static void slow_clients_do_not_slow_others(void **state)
{
    struct http_server *server = *state;
    struct rlimit files;
    static int slow[SLOW];
    double alone[2], among[2];
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < FILES) {
        print_message("this process may open fewer than %d files: not checked\n", FILES);
        skip();
    }
    int fd = http_dial(server);
    load_measure(fd, &alone[0], &alone[1]);
    for (size_t i = 0; i < SLOW; i++) {
        slow[i] = http_dial(server);
        assert_true(slow[i] >= 0);
        http_put(slow[i], "P");
    }
    load_measure(fd, &among[0], &among[1]);
    for (const char *c = REQUEST + 1; *c != '\0'; c++)
        for (size_t i = 0; i < SLOW; i += *c == 'b' ? 1 : 10) /* one in ten gets behind */
            assert_int_equal(send(slow[i], c, 1, MSG_NOSIGNAL), 1);
    load_judge("p50 of one request at a time", alone[0], 0.5, "ms");
    load_judge("p99 among slow clients", among[1], 2 * alone[1] + 1, "ms");
    for (size_t i = 0; i < SLOW; i++)
        close(slow[i]);
    close(fd);
}

static void a_burst_of_400_connections_is_accepted_at_once(void **state)
{
    struct http_server *server = *state;
    static int fds[BURST];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    to.sin_port = htons((uint16_t)atoi(server->port));
    int64_t begun = clock_ns();
    for (size_t i = 0; i < BURST; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_true(fds[i] >= 0);
        connect(fds[i], (struct sockaddr *)&to, sizeof to);
    }
    for (size_t i = 0; i < BURST; i++) {
        struct pollfd item = {.fd = fds[i], .events = POLLOUT};
        assert_int_equal(poll(&item, 1, 20000), 1);
        assert_int_equal(item.revents, POLLOUT);
    }
    while (server->connections < BURST)
        usleep(100);
    load_judge("400 connections accepted", (double)(clock_ns() - begun) / 1e6, 200, "ms");
    for (size_t i = 0; i < BURST; i++)
        close(fds[i]);
}

/* The longest of twenty times, from close to the owner's http_gone. */
static void a_client_that_leaves_is_noticed_soon(void **state)
{
    struct http_server *server = *state;
    double longest = 0;
    for (unsigned i = 0; i < 20; i++) {
        int fd = http_dial(server);
        http_put(fd, "GET /wait HTTP/1.1\r\nHost: test\r\n\r\n");
        http_server_await(&server->taken, i + 1);
        int64_t begun = clock_ns();
        close(fd);
        http_server_await(&server->gone, i + 1);
        double took = (double)(clock_ns() - begun) / 1e6;
        longest = took > longest ? took : longest;
    }
    load_judge("a client that left was noticed", longest, 50, "ms");
}

/* One request at a time on each of 64 connections. Client and server share this process and its cores. */
static void many_clients_are_served(void **state)
{
    struct http_server *server = *state;
    struct pollfd items[CLIENTS];
    size_t answers = 0;
    for (size_t i = 0; i < CLIENTS; i++) {
        items[i] = (struct pollfd){.fd = http_dial(server), .events = POLLIN};
        http_put(items[i].fd, REQUEST);
    }
    int64_t begun = clock_ns(), until = begun + (load_is_judged() ? 3000000000 : 300000000);
    while (clock_ns() < until) {
        assert_true(poll(items, CLIENTS, 20000) > 0);
        for (size_t i = 0; i < CLIENTS; i++)
            if (items[i].revents != 0) {
                load_read(items[i].fd);
                http_put(items[i].fd, REQUEST);
                answers++;
            }
    }
    double us = (double)(clock_ns() - begun) / 1e3 / (double)answers;
    print_message("%.0f requests a second\n", 1e6 / us);
    load_judge("a request of 64 connections", us, 1e6 / 15000, "us");
    for (size_t i = 0; i < CLIENTS; i++)
        close(items[i].fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(slow_clients_do_not_slow_others, load_start, load_stop),
        cmocka_unit_test_setup_teardown(a_burst_of_400_connections_is_accepted_at_once, load_start, load_stop),
        cmocka_unit_test_setup_teardown(a_client_that_leaves_is_noticed_soon, load_start, load_stop),
        cmocka_unit_test_setup_teardown(many_clients_are_served, load_start, load_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
