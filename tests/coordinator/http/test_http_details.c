/* test_http_details.c - identities of requests, the access log, pages and addresses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/capture.h"
#include "tests/support/http_server.h"
#include "tests/support/scratch.h"

#include <arpa/inet.h>
#include <poll.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST  "Host: test\r\n"
#define TRACE "4bf92f3577b34da6a3ce929d0e0e4736"

static int details_start(void **state)
{
    struct http_server *server = http_server_new();
    *state = server;
    server->options.trust_forwarded_for = true;
    http_server_start(server);
    return 0;
}

static int details_stop(void **state)
{
    http_server_stop((struct http_server **)state);
    return 0;
}

static bool details_match(const char *text, const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NEWLINE), 0);
    bool found = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    return found;
}

static void details_expect(const char *text, const char *pattern)
{
    if (!details_match(text, pattern))
        fail_msg("no line is like \"%s\" in: %s", pattern, text);
}

/* Ask for /head with these header lines; a line of the answer is like `pattern`. */
static void details_head(const struct http_server *server, const char *headers, const char *pattern)
{
    char request[1024], *answer = NULL;
    snprintf(request, sizeof request, "GET /head HTTP/1.1\r\n" HOST "%s\r\n", headers);
    assert_int_equal(http_ask(server, request, &answer), 200);
    details_expect(answer, pattern);
    free(answer);
}

static void a_printable_request_id_is_kept(void **state)
{
    details_head(*state, "X-Request-ID: abc-1/2\r\n", "^X-Request-ID: abc-1/2\r$");
    details_head(*state, "x-request-id: abc-1/2\r\n", "^abc-1/2$");
    details_head(*state, "", "^X-Request-ID: [0-9a-f]{32}\r$");
    details_head(*state, "X-Request-ID: a b\r\n", "^X-Request-ID: [0-9a-f]{32}\r$");
    details_head(*state, "X-Request-ID: \xc3\xa9\r\n", "^X-Request-ID: [0-9a-f]{32}\r$");
    char line[256] = "X-Request-ID: ";
    memset(line + 14, 'a', 128);
    strcpy(line + 142, "\r\n");
    details_head(*state, line, "^X-Request-ID: a{128}\r$");
    strcpy(line + 142, "a\r\n");
    details_head(*state, line, "^X-Request-ID: [0-9a-f]{32}\r$");
}

static void a_valid_traceparent_is_kept(void **state)
{
    static const char *const good[] = {"00-" TRACE "-00f067aa0ba902b7-01", "cc-" TRACE "-00f067aa0ba902b7-01-more"};
    static const char *const bad[] = {
        "00-" TRACE "-00f067aa0ba902b7-01-more",
        "ff-" TRACE "-00f067aa0ba902b7-01",
        "00-" TRACE "-0000000000000000-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-" TRACE "-00f067aa0ba902b7",
        "00-" TRACE "-00f067aa0ba902b7-0x",
        "",
    };
    char line[256];
    for (size_t i = 0; i < 2; i++) {
        snprintf(line, sizeof line, "traceparent: %s\r\n", good[i]);
        details_head(*state, line, "^" TRACE "$");
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char request[512], *answer = NULL;
        snprintf(request, sizeof request, "GET /head HTTP/1.1\r\n" HOST "X-Request-ID: a\r\ntraceparent: %s\r\n\r\n",
                 bad[i]);
        assert_int_equal(http_ask(*state, request, &answer), 200);
        details_expect(answer, "^[0-9a-f]{32}$");
        assert_false(details_match(answer, "^" TRACE "$"));
        free(answer);
    }
}

static void the_last_forwarded_address_counts(void **state)
{
    details_head(*state, "", "^127.0.0.1$");
    details_head(*state, "X-Forwarded-For: 10.0.0.7\r\n", "^10.0.0.7$");
    details_head(*state, "X-Forwarded-For: 6.6.6.6, 10.0.0.7\r\n", "^10.0.0.7$");
    details_head(*state, "X-Forwarded-For: 6.6.6.6\r\nX-Forwarded-For: 10.0.0.7:4711\r\n", "^10.0.0.7$");
    details_head(*state, "X-Forwarded-For: [2001:db8::1]:4711\r\n", "^2001:db8::1$");
    details_head(*state, "X-Forwarded-For: 2001:db8::1\r\n", "^2001:db8::1$");
    details_head(*state, "X-Forwarded-For: 10.0.0.7, unknown\r\n", "^127.0.0.1$");
    details_head(*state, "X-Ask: yes\r\n", "^yes$");
    struct http_server *server = http_server_new();
    http_server_start(server);
    details_head(server, "X-Forwarded-For: 10.0.0.7\r\n", "^127.0.0.1$");
    http_server_stop(&server);
}

static void a_page_has_an_etag_and_confines_itself(void **state)
{
    static const char get[] = "GET /page HTTP/1.1\r\n" HOST "\r\n";
    char *answer = NULL, request[256];
    assert_int_equal(http_ask(*state, get, &answer), 200);
    details_expect(answer, "^ETag: \"[0-9a-f]{16}\"\r$");
    details_expect(answer, "^Content-Security-Policy: default-src 'self'");
    details_expect(answer, "^X-Content-Type-Options: nosniff\r$");
    details_expect(answer, "^Content-Type: text/html; charset=utf-8\r$");
    const char *etag = strstr(answer, "ETag: ") + 6;
    for (int i = 0; i < 3; i++) {
        static const char *const forms[] = {"%.18s", "\"x\", W/%.18s", "*%.0s"};
        char list[64], *again = NULL;
        snprintf(list, sizeof list, forms[i], etag);
        snprintf(request, sizeof request, "GET /page HTTP/1.1\r\n" HOST "If-None-Match: %s\r\n\r\n", list);
        int fd = http_dial(*state);
        http_put(fd, request);
        assert_int_equal(http_get(fd, false, &again), 304);
        details_expect(again, "^ETag: ");
        free(again);
        http_put(fd, get);
        assert_int_equal(http_get(fd, false, NULL), 200);
        close(fd);
    }
    assert_int_equal(http_ask(*state, "GET /page HTTP/1.1\r\n" HOST "If-None-Match: \"0\"\r\n\r\n", NULL), 200);
    free(answer);
}

/* ---- the access log ---- */

static char *details_read(const char *path)
{
    struct buffer text = {0};
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    for (int c = getc(file); c != EOF; c = getc(file))
        buffer_append(&text, &(char){(char)c}, 1);
    fclose(file);
    return text.data;
}

static void each_request_is_a_line_of_the_log(void **state)
{
    scratch_make(state);
    const char *path = scratch_path("access.log");
    struct http_server *server = http_server_new();
    server->options.access_log = path;
    http_server_start(server);
    assert_int_equal(http_ask(server,
                              "POST /echo?api_key=secret HTTP/1.1\r\n" HOST "X-Request-ID: one\r\n"
                              "traceparent: 00-" TRACE "-00f067aa0ba902b7-01\r\nContent-Length: 6\r\n\r\nsecret",
                              NULL),
                     200);
    assert_int_equal(http_ask(server, "GET /%0a\"\xc3\xa9 HTTP/1.1\r\n" HOST "X-Request-ID: two\r\n\r\n", NULL), 404);
    assert_int_equal(http_ask(server, "HEAD /size?100 HTTP/1.1\r\n" HOST "X-Request-ID: three\r\n\r\n", NULL), 200);
    assert_int_equal(http_ask(server, "GET /size?100 HTTP/1.1\r\n" HOST "X-Request-ID: four\r\n\r\n", NULL), 200);
    assert_int_equal(http_ask(server, "GETGETGETGETGETGET /echo HTTP/1.1\r\n" HOST "X-Request-ID: five\r\n\r\n", NULL),
                     501);
    int fd = http_dial(server);
    http_put(fd, "GET /wait HTTP/1.1\r\n" HOST "X-Request-ID: six\r\n\r\n");
    http_server_await(&server->taken, 5);
    close(fd);
    http_server_await(&server->gone, 1);
    http_server_stop(&server);
    char *log = details_read(path);
    details_expect(
        log,
        "^20[0-9-]{8}T[0-9:]{8}\\.[0-9]{3}Z 127\\.0\\.0\\.1 POST /echo 200 [0-9]+ [0-9]+\\.[0-9]{3} one " TRACE "$");
    details_expect(log, " GET /%0a\\\\x22\\\\xc3\\\\xa9 404 [0-9]+ [0-9.]+ two [0-9a-f]{32}$");
    details_expect(log, " HEAD /size 200 0 [0-9.]+ three ");
    details_expect(log, " GET /size 200 100 [0-9.]+ four ");
    details_expect(log, " - /echo 501 [0-9]+ [0-9.]+ five ");
    details_expect(log, " GET /wait 499 0 [0-9.]+ six ");
    assert_null(strstr(log, "secret"));
    free(log);
    scratch_remove(state);
}

static void a_log_that_cannot_be_written_is_reported_once(void **state)
{
    (void)state;
    capture_begin();
    struct http_server *server = http_server_new();
    server->options.access_log = "/dev/full";
    http_server_start(server);
    for (int i = 0; i < 5; i++)
        assert_int_equal(http_ask(server, "GET /echo HTTP/1.1\r\n" HOST "\r\n", NULL), 200);
    http_server_stop(&server);
    char *log = capture_end();
    const char *first = strstr(log, "cannot write the access log /dev/full: No space left on device");
    assert_non_null(first);
    assert_null(strstr(first + 1, "cannot write"));
    free(log);
}

/* ---- addresses ---- */

/* Open a server there; its address is like `pattern`. */
static void details_open(const char *bind, const char *pattern, bool local)
{
    struct err err = {0};
    struct loop *loop = loop_new(&err);
    struct http_options options = {
        .loop = loop, .bind = bind, .listener = -1, .connections = 8, .timeout_ms = 1000, .access_log = ""};
    struct http *http = http_open(&options, &err);
    if (http == NULL)
        fail_msg("%s", err.text);
    details_expect(http_address(http), pattern);
    assert_int_equal(http_is_local(http), local);
    http_close(&http);
    loop_destroy(&loop);
}

static void details_refused(const char *bind, const char *access_log, enum err_code code, const char *pattern)
{
    struct err err = {0};
    struct loop *loop = loop_new(&err);
    struct http_options options = {.loop = loop, .bind = bind, .listener = -1, .access_log = access_log};
    assert_null(http_open(&options, &err));
    assert_int_equal(err.code, code);
    details_expect(err.text, pattern);
    loop_destroy(&loop);
}

static bool details_has_ipv6(void)
{
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    struct sockaddr_in6 here = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&here, sizeof here) == 0;
    if (fd >= 0)
        close(fd);
    return has;
}

static void addresses_are_host_and_port(void **state)
{
    (void)state;
    details_open("127.0.0.1:0", "^127\\.0\\.0\\.1:[0-9]+$", true);
    details_open("127.3.0.1:*", "^127\\.3\\.0\\.1:[0-9]+$", true);
    details_open("localhost:0", "^127\\.0\\.0\\.1:[0-9]+$", true);
    details_open("0.0.0.0:0", "^0\\.0\\.0\\.0:[0-9]+$", false);
    details_open("*:0", "^(\\[::\\]|0\\.0\\.0\\.0):[0-9]+$", false);
    if (details_has_ipv6())
        details_open("[::1]:0", "^\\[::1\\]:[0-9]+$", true);
    static const char *const bad[] = {"",
                                      "5000",
                                      ":5000",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "::1:5000",
                                      "127.0.0.1:65536",
                                      "127.0.0.1:x",
                                      "http://127.0.0.1:5000",
                                      "127.0.0.1:5000/"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        details_refused(bad[i], "", ERR_USAGE, "is no address for HTTP: use HOST:PORT");
    details_refused("no.such.host.invalid:0", "", ERR_USAGE, "no host has the name \"no.such.host.invalid\"");
    details_refused("127.0.0.1:0", "/no/such/folder/log", ERR_USAGE, "cannot open the access log /no/such/folder/log");
}

static void an_address_in_use_is_an_error(void **state)
{
    struct http_server *server = *state;
    details_refused(server->address, "", ERR_USAGE, "cannot bind 127.0.0.1:[0-9]+ for HTTP: Address already in use");
}

/* A connection with a request that the server, which drains, does not accept. */
static int details_dial_unheard(const struct http_server *server)
{
    for (;;) {
        int fd = http_dial(server);
        struct pollfd item = {.fd = fd, .events = POLLIN};
        assert_true(fd >= 0);
        http_put(fd, "GET /echo HTTP/1.1\r\n" HOST "\r\n");
        if (poll(&item, 1, 200) == 0)
            return fd;
        close(fd);
    }
}

static void a_given_listener_is_used(void **state)
{
    (void)state;
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&here, sizeof here), 0);
    assert_int_equal(listen(fd, 16), 0);
    int kept = dup(fd);
    struct http_server *server = http_server_new();
    server->options.listener = fd;
    http_server_start(server);
    assert_int_equal(http_ask(server, "GET /echo HTTP/1.1\r\n" HOST "\r\n", NULL), 200);
    http_server_drain(server);
    /* The port stays open, for the next process that gets it. */
    int waits = details_dial_unheard(server);
    http_server_stop(&server);
    server = http_server_new();
    server->options.listener = kept;
    http_server_start(server);
    assert_int_equal(http_get(waits, false, NULL), 200);
    close(waits);
    http_server_stop(&server);
    struct err err = {0};
    struct http_options options = {
        .loop = loop_new(&err), .listener = socket(AF_UNIX, SOCK_STREAM, 0), .access_log = ""};
    assert_null(http_open(&options, &err));
    details_expect(err.text, "is no TCP socket");
    loop_destroy(&options.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_printable_request_id_is_kept, details_start, details_stop),
        cmocka_unit_test_setup_teardown(a_valid_traceparent_is_kept, details_start, details_stop),
        cmocka_unit_test_setup_teardown(the_last_forwarded_address_counts, details_start, details_stop),
        cmocka_unit_test_setup_teardown(a_page_has_an_etag_and_confines_itself, details_start, details_stop),
        cmocka_unit_test(each_request_is_a_line_of_the_log),
        cmocka_unit_test(a_log_that_cannot_be_written_is_reported_once),
        cmocka_unit_test(addresses_are_host_and_port),
        cmocka_unit_test_setup_teardown(an_address_in_use_is_an_error, details_start, details_stop),
        cmocka_unit_test(a_given_listener_is_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
