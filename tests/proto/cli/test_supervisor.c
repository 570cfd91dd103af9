/* test_supervisor.c - sockets, news and the watchdog of a supervisor, played by this test. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/cli/supervisor.h"
#include "tests/support/capture.h"
#include "tests/support/scratch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const variables[] = {"LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES",
                                        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};

static struct supervisor *supervisor_opened(void)
{
    struct err err = {0};
    struct supervisor *supervisor = supervisor_open(&err);
    if (supervisor == NULL)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        assert_null(getenv(variables[i]));
    return supervisor;
}

static void without_a_supervisor_nothing_happens(void **state)
{
    (void)state;
    struct supervisor *supervisor = supervisor_opened();
    assert_int_equal(supervisor_listener(supervisor, "http"), -1);
    assert_int_equal(supervisor_feed_ms(supervisor), 0);
    supervisor_ready(supervisor);
    supervisor_stopping(supervisor);
    assert_true(supervisor_feed(supervisor, NULL));
    supervisor_check(supervisor);
    supervisor_close(&supervisor);
    assert_null(supervisor);
}

/* A datagram socket at a path, or at a name without a file. */
static int supervisor_hear(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t size = strlen(path);
    memcpy(address.sun_path, path, size);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, length), 0);
    return fd;
}

static void supervisor_expect(int fd, const char *news)
{
    char text[64] = "";
    ssize_t size = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    assert_true(size >= 0);
    assert_string_equal(text, news);
}

static void news_reach_a_path_and_a_name(void **state)
{
    char name[64];
    snprintf(name, sizeof name, "@lstmq-test-%d", (int)getpid());
    scratch_make(state);
    const char *paths[] = {scratch_path("notify"), name};
    for (size_t i = 0; i < 2; i++) {
        int fd = supervisor_hear(paths[i]);
        setenv("NOTIFY_SOCKET", paths[i], 1);
        setenv("WATCHDOG_USEC", "3000000", 1);
        struct supervisor *supervisor = supervisor_opened();
        assert_int_equal(supervisor_feed_ms(supervisor), 1500);
        supervisor_ready(supervisor);
        supervisor_expect(fd, "READY=1");
        assert_true(supervisor_feed(supervisor, NULL));
        supervisor_expect(fd, "WATCHDOG=1");
        supervisor_stopping(supervisor);
        supervisor_expect(fd, "STOPPING=1");
        close(fd);
        supervisor_ready(supervisor); /* the supervisor is gone */
        supervisor_close(&supervisor);
    }
    scratch_remove(state);
}

static void a_watchdog_of_another_process_is_not_ours(void **state)
{
    scratch_make(state);
    int fd = supervisor_hear(scratch_path("notify"));
    setenv("NOTIFY_SOCKET", scratch_path("notify"), 1);
    setenv("WATCHDOG_USEC", "3000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    struct supervisor *supervisor = supervisor_opened();
    assert_int_equal(supervisor_feed_ms(supervisor), 0);
    supervisor_close(&supervisor);
    close(fd);
    scratch_remove(state);
}

/* In a child, whose descriptors 3 to 5 are listeners. Returns what fails. */
static const char *supervisor_take_three(void)
{
    char pid[16];
    struct err err = {0};
    snprintf(pid, sizeof pid, "%d", (int)getpid());
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", "3", 1);
    setenv("LISTEN_FDNAMES", "queue:other:http", 1);
    for (int fd = 3; fd < 6; fd++)
        if (dup2(STDERR_FILENO, fd) != fd)
            return "dup2";
    struct supervisor *supervisor = supervisor_open(&err);
    if (supervisor == NULL)
        return "open";
    if (supervisor_listener(supervisor, "http") != 5 || supervisor_listener(supervisor, "queue") != 3)
        return "names";
    if (supervisor_listener(supervisor, "http") != -1 || supervisor_listener(supervisor, "") != -1)
        return "taken twice";
    if ((fcntl(5, F_GETFD) & FD_CLOEXEC) == 0)
        return "inherited";
    supervisor_check(supervisor);
    supervisor_close(&supervisor);
    return fcntl(4, F_GETFD) >= 0 || fcntl(5, F_GETFD) < 0 ? "closed" : NULL;
}

static void listeners_are_found_by_name(void **state)
{
    (void)state;
    capture_begin();
    pid_t child = fork();
    if (child == 0) {
        const char *failed = supervisor_take_three();
        fprintf(stderr, "%s", failed == NULL ? "" : failed);
        _exit(failed == NULL ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    char *printed = capture_end();
    if (status != 0)
        fail_msg("%s", printed);
    assert_non_null(strstr(printed, "the supervisor gave a socket named \"other\", which is not used"));
    free(printed);
}

static void sockets_of_another_process_are_not_ours(void **state)
{
    (void)state;
    setenv("LISTEN_PID", "1", 1);
    setenv("LISTEN_FDS", "1", 1);
    setenv("LISTEN_FDNAMES", "http", 1);
    struct supervisor *supervisor = supervisor_opened();
    assert_int_equal(supervisor_listener(supervisor, "http"), -1);
    supervisor_close(&supervisor);
}

static void a_bad_variable_is_named(void **state)
{
    static const char *const rows[][2] = {{"LISTEN_FDS", "x"},         {"LISTEN_FDS", "99"},
                                          {"LISTEN_FDS", "-1"},        {"LISTEN_PID", ""},
                                          {"NOTIFY_SOCKET", "notify"}, {"NOTIFY_SOCKET", "/no/such/socket"},
                                          {"WATCHDOG_USEC", "soon"}};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct err err = {0};
        setenv(rows[i][0], rows[i][1], 1);
        assert_null(supervisor_open(&err));
        assert_int_equal(err.code, ERR_USAGE);
        assert_non_null(strstr(err.text, rows[i][0]));
    }
}

int main(void)
{
    for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++)
        unsetenv(variables[i]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_supervisor_nothing_happens),      cmocka_unit_test(news_reach_a_path_and_a_name),
        cmocka_unit_test(a_watchdog_of_another_process_is_not_ours), cmocka_unit_test(listeners_are_found_by_name),
        cmocka_unit_test(sockets_of_another_process_are_not_ours),   cmocka_unit_test(a_bad_variable_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
