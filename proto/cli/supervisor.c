/* supervisor.c - see supervisor.h. */
#include "proto/cli/supervisor.h"

#include "proto/base/log.h"
#include "proto/base/typed.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum {
    SUPERVISOR_FIRST = 3, /* the sockets have this number and the next ones */
    SUPERVISOR_MOST = 16,
    SUPERVISOR_NAME = 64,
};

struct supervisor {
    int fds[SUPERVISOR_MOST]; /* -1 = taken */
    char names[SUPERVISOR_MOST][SUPERVISOR_NAME];
    size_t count;
    int news; /* a datagram socket, connected to NOTIFY_SOCKET; -1 = none */
    int64_t feed_ms;
};

/* A number from the environment; -1 = not set. ERR_USAGE: not a number. */
static bool supervisor_number(const char *name, int64_t most, int64_t *number, struct err *err)
{
    const char *text = getenv(name);
    char *end = NULL;
    *number = -1;
    if (text == NULL)
        return true;
    errno = 0;
    *number = strtoll(text, &end, 10);
    return (errno == 0 && end != text && *end == '\0' && *number >= 0 && *number <= most) ||
           err_set(err, ERR_USAGE, "the environment variable %s is \"%s\", not a number of at most %lld", name,
                   typed_show(text).shown, (long long)most);
}

/* Whether a variable NAME_PID is meant for this process: unset, or its id. */
static bool supervisor_is_ours(const char *name, bool *ours, struct err *err)
{
    int64_t pid;
    if (!supervisor_number(name, INT32_MAX, &pid, err))
        return false;
    *ours = pid < 0 || pid == getpid();
    return true;
}

/* LISTEN_FDNAMES has the names in order, with colons between them. */
static void supervisor_name_fds(struct supervisor *supervisor)
{
    const char *names = getenv("LISTEN_FDNAMES");
    for (size_t i = 0; i < supervisor->count && names != NULL; i++) {
        size_t size = strcspn(names, ":");
        snprintf(supervisor->names[i], SUPERVISOR_NAME, "%.*s", (int)size, names);
        names = names[size] == ':' ? names + size + 1 : NULL;
    }
}

static bool supervisor_take_fds(struct supervisor *supervisor, struct err *err)
{
    int64_t count;
    bool ours;
    if (!supervisor_number("LISTEN_FDS", SUPERVISOR_MOST, &count, err) || !supervisor_is_ours("LISTEN_PID", &ours, err))
        return false;
    if (count <= 0 || !ours)
        return true;
    supervisor->count = (size_t)count;
    for (size_t i = 0; i < supervisor->count; i++) {
        supervisor->fds[i] = SUPERVISOR_FIRST + (int)i;
        if (fcntl(supervisor->fds[i], F_SETFD, FD_CLOEXEC) != 0)
            return err_errno(err, ERR_USAGE, "LISTEN_FDS is %zu, but descriptor %d is not open", supervisor->count,
                             supervisor->fds[i]);
    }
    supervisor_name_fds(supervisor);
    return true;
}

/* A path, or @NAME: a name without a file. */
static bool supervisor_connect(struct supervisor *supervisor, struct err *err)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (path == NULL || path[0] == '\0')
        return true;
    size_t size = strlen(path);
    if ((path[0] != '/' && path[0] != '@') || size >= sizeof address.sun_path)
        return err_set(err, ERR_USAGE, "the environment variable NOTIFY_SOCKET is \"%s\", not the path of a socket",
                       typed_show(path).shown);
    memcpy(address.sun_path, path, size);
    if (path[0] == '@')
        address.sun_path[0] = '\0';
    socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
    supervisor->news = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (supervisor->news >= 0 && connect(supervisor->news, (struct sockaddr *)&address, length) == 0)
        return true;
    return err_errno(err, ERR_USAGE, "cannot reach the supervisor at NOTIFY_SOCKET %s", typed_show(path).shown);
}

/* Half of the time that the supervisor allows. */
static bool supervisor_watch(struct supervisor *supervisor, struct err *err)
{
    int64_t limit_us;
    bool ours;
    if (!supervisor_number("WATCHDOG_USEC", INT64_MAX, &limit_us, err) ||
        !supervisor_is_ours("WATCHDOG_PID", &ours, err))
        return false;
    if (limit_us > 0 && ours && supervisor->news >= 0)
        supervisor->feed_ms = limit_us < 4000 ? 1 : limit_us / 2000;
    return true;
}

struct supervisor *supervisor_open(struct err *err)
{
    static const char *const names[] = {"LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES",
                                        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"};
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (supervisor == NULL) {
        err_set(err, ERR_MEMORY, "out of memory for the supervisor's sockets");
        return NULL;
    }
    supervisor->news = -1;
    if (!supervisor_take_fds(supervisor, err) || !supervisor_connect(supervisor, err) ||
        !supervisor_watch(supervisor, err))
        supervisor_close(&supervisor);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
    return supervisor;
}

void supervisor_close(struct supervisor **supervisor)
{
    struct supervisor *closed = *supervisor;
    if (closed == NULL)
        return;
    for (size_t i = 0; i < closed->count; i++)
        if (closed->fds[i] > 0)
            close(closed->fds[i]);
    if (closed->news >= 0)
        close(closed->news);
    free(closed);
    *supervisor = NULL;
}

int supervisor_listener(struct supervisor *supervisor, const char *name)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->fds[i] >= 0 && strcmp(supervisor->names[i], name) == 0) {
            int fd = supervisor->fds[i];
            supervisor->fds[i] = -1;
            return fd;
        }
    return -1;
}

void supervisor_check(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->count; i++)
        if (supervisor->fds[i] >= 0)
            log_event(LOG_WARN, "socket_unused", LOG_FIELDS(LOG_TEXT("name", supervisor->names[i])),
                      "the supervisor gave a socket named \"%s\", which is not used: check FileDescriptorName=",
                      supervisor->names[i]);
}

static void supervisor_say(const struct supervisor *supervisor, const char *news)
{
    if (supervisor->news >= 0)
        send(supervisor->news, news, strlen(news), MSG_NOSIGNAL | MSG_DONTWAIT);
}

void supervisor_ready(const struct supervisor *supervisor)
{
    supervisor_say(supervisor, "READY=1");
}

void supervisor_stopping(const struct supervisor *supervisor)
{
    supervisor_say(supervisor, "STOPPING=1");
}

int64_t supervisor_feed_ms(const struct supervisor *supervisor)
{
    return supervisor->feed_ms;
}

bool supervisor_feed(void *supervisor, struct err *err)
{
    (void)err;
    supervisor_say(supervisor, "WATCHDOG=1");
    return true;
}
