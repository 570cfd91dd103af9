/* loop.c - sources in one array, polled in rounds.
 *
 * A round waits until something is ready or a timer is due. It calls the handler of each ready source once, then that
 * of each due timer once, then each turn handler. A handler may add and remove sources. An added source joins the next
 * round. A removed one is only marked, and the array is swept between rounds, so indices are valid for a whole round.
 * A round looks at every source anyway, so a linear search for the next timer adds little.
 *
 * A ZeroMQ socket has a descriptor that becomes readable when the socket may have changed, and every call on the socket
 * may reset it. So a round first looks at the state of each socket, and waits for all descriptors. Then it looks again
 * at the sockets whose descriptor is readable. zmq_poll does the same with twice the system calls. */
#include "proto/wire/loop.h"

#include "proto/base/clock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <zmq.h>

enum { ONE_WISH_MS = 500 }; /* signals this soon after the first mean the same */

struct loop_source {
    uint64_t id;           /* never reused within a loop's life */
    void *socket;          /* of a socket source */
    int fd;                /* of a descriptor source, or of the socket; else -1 */
    int64_t due_ms;        /* of a timer, monotonic clock; else -1 */
    int64_t every_ms;      /* 0 = the timer fires once */
    bool turn;             /* called at the end of each round */
    bool ready;            /* in this round */
    loop_handler *handler; /* NULL = removed, waits for the sweep */
    void *context;
};

struct loop {
    struct loop_source *sources; /* in order of id */
    struct pollfd *items;        /* of this round; space for each source */
    size_t count, capacity;
    uint64_t next_id;
    int64_t wake_ms; /* the next round begins by then, monotonic clock; -1 = no such time */
    bool stopped;
};

struct loop *loop_new(struct err *err)
{
    struct loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL)
        err_set(err, ERR_MEMORY, "out of memory for an event loop");
    else
        *loop = (struct loop){.next_id = 1, .wake_ms = -1};
    return loop;
}

void loop_destroy(struct loop **loop)
{
    if (*loop == NULL)
        return;
    free((*loop)->sources);
    free((*loop)->items);
    free(*loop);
    *loop = NULL;
}

static bool loop_grow(struct loop *loop, struct err *err)
{
    if (loop->count < loop->capacity)
        return true;
    size_t capacity = loop->capacity == 0 ? 16 : loop->capacity * 2;
    struct loop_source *sources = realloc(loop->sources, capacity * sizeof *sources);
    if (sources != NULL)
        loop->sources = sources;
    struct pollfd *items = realloc(loop->items, capacity * sizeof *items);
    if (items != NULL)
        loop->items = items;
    if (sources == NULL || items == NULL)
        return err_set(err, ERR_MEMORY, "out of memory for %zu event sources", capacity);
    loop->capacity = capacity;
    return true;
}

static uint64_t loop_add(struct loop *loop, struct loop_source source, struct err *err)
{
    if (!loop_grow(loop, err))
        return 0;
    source.id = loop->next_id++;
    loop->sources[loop->count++] = source;
    return source.id;
}

uint64_t loop_add_socket(struct loop *loop, void *socket, loop_handler *handler, void *context, struct err *err)
{
    struct loop_source source = {.socket = socket, .fd = -1, .due_ms = -1, .handler = handler, .context = context};
    size_t size = sizeof source.fd;
    if (zmq_getsockopt(socket, ZMQ_FD, &source.fd, &size) != 0) {
        err_set(err, ERR_IO, "cannot watch a socket: %s", zmq_strerror(zmq_errno()));
        return 0;
    }
    return loop_add(loop, source, err);
}

uint64_t loop_add_fd(struct loop *loop, int fd, loop_handler *handler, void *context, struct err *err)
{
    struct loop_source source = {.fd = fd, .due_ms = -1, .handler = handler, .context = context};
    return loop_add(loop, source, err);
}

uint64_t loop_add_timer(struct loop *loop, int64_t delay_ms, int64_t every_ms, loop_handler *handler, void *context,
                        struct err *err)
{
    struct loop_source source = {.fd = -1, .handler = handler, .context = context};
    source.due_ms = clock_ms() + (delay_ms > 0 ? delay_ms : 0);
    source.every_ms = every_ms > 0 ? every_ms : 0;
    return loop_add(loop, source, err);
}

uint64_t loop_add_turn(struct loop *loop, loop_handler *handler, void *context, struct err *err)
{
    struct loop_source source = {.fd = -1, .due_ms = -1, .turn = true, .handler = handler, .context = context};
    return loop_add(loop, source, err);
}

void loop_wake(struct loop *loop, int64_t ms)
{
    int64_t at = clock_ms() + (ms > 0 ? ms : 0);
    if (loop->wake_ms < 0 || at < loop->wake_ms)
        loop->wake_ms = at;
}

void loop_remove(struct loop *loop, uint64_t id)
{
    for (size_t i = 0; i < loop->count; i++)
        if (loop->sources[i].id == id)
            loop->sources[i].handler = NULL;
}

void loop_stop(struct loop *loop)
{
    loop->stopped = true;
}

static void loop_sweep(struct loop *loop)
{
    size_t kept = 0;
    for (size_t i = 0; i < loop->count; i++)
        if (loop->sources[i].handler != NULL)
            loop->sources[kept++] = loop->sources[i];
    loop->count = kept;
}

/* Milliseconds until the first timer is due; -1 = no timer. */
static long loop_timeout(const struct loop *loop)
{
    int64_t first = loop->wake_ms;
    for (size_t i = 0; i < loop->count; i++)
        if (loop->sources[i].due_ms >= 0 && (first < 0 || loop->sources[i].due_ms < first))
            first = loop->sources[i].due_ms;
    if (first < 0)
        return -1;
    int64_t left = first - clock_ms();
    return left <= 0 ? 0 : left > INT_MAX ? INT_MAX : (long)left;
}

/* Whether the socket can be read. */
static bool loop_look(struct loop_source *source, struct err *err)
{
    int events = 0;
    size_t size = sizeof events;
    if (zmq_getsockopt(source->socket, ZMQ_EVENTS, &events, &size) != 0 && zmq_errno() != EINTR)
        return err_set(err, ERR_IO, "cannot wait for events: %s", zmq_strerror(zmq_errno()));
    source->ready = (events & ZMQ_POLLIN) != 0;
    return true;
}

/* Look at all sockets. *waits: there is something to wait for. *ready: a socket can be read. */
static bool loop_look_all(struct loop *loop, bool *waits, bool *ready, struct err *err)
{
    *waits = *ready = false;
    for (size_t i = 0; i < loop->count; i++) {
        struct loop_source *source = &loop->sources[i];
        source->ready = false;
        loop->items[i] = (struct pollfd){.fd = source->fd, .events = POLLIN};
        if (source->socket != NULL && !loop_look(source, err))
            return false;
        *waits = *waits || source->fd >= 0;
        *ready = *ready || source->ready;
    }
    return true;
}

/* What poll found. A socket's descriptor says that it may be ready. */
static bool loop_look_again(struct loop *loop, bool *ready, struct err *err)
{
    for (size_t i = 0; i < loop->count; i++) {
        struct loop_source *source = &loop->sources[i];
        bool moved = loop->items[i].revents != 0 && !source->ready;
        if (moved && source->socket != NULL && !loop_look(source, err))
            return false;
        if (moved && source->socket == NULL)
            source->ready = true;
        *ready = *ready || source->ready;
    }
    return true;
}

/* Wait for a source or a timer. A timer or turn has an item without a descriptor, so that item i belongs to source
 * i. */
static bool loop_wait(struct loop *loop, struct err *err)
{
    bool waits, ready;
    if (!loop_look_all(loop, &waits, &ready, err))
        return false;
    for (bool over = false; !over;) {
        long timeout = ready ? 0 : loop_timeout(loop);
        if (!waits && timeout < 0)
            return err_set(err, ERR_FAILED, "the event loop has nothing to wait for");
        int found = poll(loop->items, (nfds_t)loop->count, (int)timeout);
        if (found < 0 && errno != EINTR)
            return err_errno(err, ERR_IO, "cannot wait for events");
        /* A signal ends the round; a descriptor of a socket that cannot be read after all does not. */
        over = ready || found <= 0;
        if (found > 0 && !loop_look_again(loop, &ready, err))
            return false;
        over = over || ready;
    }
    loop->wake_ms = -1;
    return true;
}

/* Call a handler with a copy of its source, because the handler may move the array. */
static bool loop_call(struct loop *loop, size_t index, struct err *err)
{
    struct loop_source source = loop->sources[index];
    return source.handler(source.context, err);
}

static bool loop_call_ready(struct loop *loop, size_t count, struct err *err)
{
    for (size_t i = 0; i < count && !loop->stopped; i++)
        if (loop->sources[i].ready && loop->sources[i].handler != NULL && !loop_call(loop, i, err))
            return false;
    return true;
}

/* The first of `count` sources that is a timer due at `now`, or `count`. */
static size_t loop_due(const struct loop *loop, size_t count, int64_t now)
{
    size_t first = count;
    for (size_t i = 0; i < count; i++) {
        const struct loop_source *source = &loop->sources[i];
        bool due = source->handler != NULL && source->due_ms >= 0 && source->due_ms <= now;
        if (due && (first == count || source->due_ms < loop->sources[first].due_ms))
            first = i;
    }
    return first;
}

/* Call each due timer once, the longest overdue first. Missed ticks are not made up for. */
static bool loop_call_due(struct loop *loop, size_t count, struct err *err)
{
    int64_t now = clock_ms();
    for (size_t i = loop_due(loop, count, now); i < count && !loop->stopped; i = loop_due(loop, count, now)) {
        struct loop_source *timer = &loop->sources[i];
        struct loop_source called = *timer;
        if (timer->every_ms == 0)
            timer->handler = NULL;
        else if ((timer->due_ms += timer->every_ms) <= now)
            timer->due_ms = now + timer->every_ms;
        if (!called.handler(called.context, err))
            return false;
    }
    return true;
}

static bool loop_call_turns(struct loop *loop, size_t count, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (loop->sources[i].turn && loop->sources[i].handler != NULL && !loop_call(loop, i, err))
            return false;
    return true;
}

bool loop_run(struct loop *loop, struct err *err)
{
    bool good = true;
    while (good && !loop->stopped) {
        loop_sweep(loop);
        size_t count = loop->count;
        good = loop_wait(loop, err) && loop_call_ready(loop, count, err) && loop_call_due(loop, count, err) &&
               loop_call_turns(loop, count, err);
    }
    loop->stopped = false;
    return good;
}

/* ---- signals ---- */

/* Block or unblock, in this thread, the signals that end a process. Returns 0 or an errno. A blocked signal reaches a
 * signalfd even when it is ignored, so an ignored SIGHUP stays unblocked. */
static int loop_mask(int how, sigset_t *signals)
{
    struct sigaction hangup;
    sigemptyset(signals);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGTERM);
    if (sigaction(SIGHUP, NULL, &hangup) == 0 && hangup.sa_handler != SIG_IGN)
        sigaddset(signals, SIGHUP);
    return pthread_sigmask(how, signals, NULL);
}

int loop_signal_fd(struct err *err)
{
    sigset_t signals;
    errno = loop_mask(SIG_BLOCK, &signals);
    int fd = errno == 0 ? signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK) : -1;
    if (fd < 0)
        err_errno(err, ERR_IO, "cannot take signals");
    return fd;
}

int loop_signal_take(int fd)
{
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof info) == (ssize_t)sizeof info ? (int)info.ssi_signo : 0;
}

const char *loop_signal_name(int signal)
{
    return signal == SIGINT ? "SIGINT" : signal == SIGHUP ? "SIGHUP" : "SIGTERM";
}

const char *loop_signal_cause(int signal)
{
    return signal == SIGINT ? "interrupted" : signal == SIGHUP ? "the terminal was closed" : "stop requested";
}

static bool loop_unblock(void *context, struct err *err)
{
    sigset_t signals;
    (void)context;
    errno = loop_mask(SIG_UNBLOCK, &signals);
    return errno == 0 || err_errno(err, ERR_FAILED, "cannot give signals back");
}

bool loop_signal_yield(struct loop *loop, struct err *err)
{
    return loop_add_timer(loop, ONE_WISH_MS, 0, loop_unblock, NULL, err) != 0;
}
