/* embedded.c - child processes, each watched by a pidfd; see embedded.h. */
#include "coordinator/serve/embedded.h"

#include "proto/base/clock.h"
#include "proto/base/log.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    HEALTHY_MS = 5000, /* a child that lived so long is started again at once */
    DELAY_MS = 100,    /* else after this delay, doubled each time ... */
    DELAY_MOST_MS = 5000,
    NUMBER = 24,
};

struct child {
    struct embedded *embedded;
    pid_t pid; /* 0 = it does not run */
    int fd;    /* pidfd */
    uint64_t source, timer;
    int64_t begun_ms;
    int64_t delay_ms; /* before it was started last */
};

struct embedded {
    const struct config *config;
    struct loop *loop;
    char endpoint[256], threads[NUMBER];
    bool stopping;
    struct child *children; /* [count] */
    size_t count;
};

static bool embedded_ended(void *context, struct err *err);

/* In the child, between fork and exec: only functions that are safe after fork. */
static void embedded_exec(const struct embedded *embedded, pid_t parent)
{
    const struct config *config = embedded->config;
    sigset_t none;
    char *const argv[] = {"lstmq",
                          "translate-worker",
                          "--serve.connect",
                          (char *)embedded->endpoint,
                          "--train.threads",
                          (char *)embedded->threads,
                          "--train.device",
                          (char *)config->train_device,
                          "--train.precision",
                          config->train_precision == PRECISION_BF16 ? "bf16" : "fp32",
                          "--serve.cache",
                          (char *)config->serve_cache,
                          "--log.format",
                          log_uses_json() ? "json" : "text",
                          "--log.level",
                          config->log_level == LOG_DEBUG ? "debug" : "warn",
                          NULL};
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() == parent)
        execv("/proc/self/exe", argv);
    _exit(127);
}

/* Wait longer each time it ends soon after its start. */
static void embedded_delay(struct child *child, int64_t lived_ms)
{
    child->delay_ms = lived_ms >= HEALTHY_MS                ? 0
                      : child->delay_ms == 0                ? DELAY_MS
                      : child->delay_ms > DELAY_MOST_MS / 2 ? DELAY_MOST_MS
                                                            : 2 * child->delay_ms;
}

static void embedded_reap(struct child *child)
{
    struct embedded *embedded = child->embedded;
    int status = 0;
    waitpid(child->pid, &status, 0);
    int64_t lived_ms = clock_ms() - child->begun_ms;
    if (!embedded->stopping)
        log_event(
            LOG_WARN, "embedded_ended",
            LOG_FIELDS(LOG_INT("process", child->pid), LOG_INT("status", WIFEXITED(status) ? WEXITSTATUS(status) : -1),
                       LOG_INT("signal", WIFSIGNALED(status) ? WTERMSIG(status) : 0)),
            "translation worker, process %d, ended by %s %d; it is started again", (int)child->pid,
            WIFSIGNALED(status) ? "signal" : "status", WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    close(child->fd);
    loop_remove(embedded->loop, child->source);
    child->pid = 0;
    embedded_delay(child, lived_ms);
}

/* False: nothing was begun. */
static bool embedded_start(struct child *child, struct err *err)
{
    struct embedded *embedded = child->embedded;
    pid_t parent = getpid(), pid = fork();
    if (pid == 0)
        embedded_exec(embedded, parent);
    if (pid < 0)
        return err_errno(err, ERR_FAILED, "cannot start a translation worker");
    child->fd = (int)syscall(SYS_pidfd_open, pid, 0);
    child->source = child->fd >= 0 ? loop_add_fd(embedded->loop, child->fd, embedded_ended, child, err) : 0;
    if (child->source == 0) {
        if (child->fd < 0)
            err_errno(err, ERR_FAILED, "cannot watch a translation worker");
        else
            close(child->fd);
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return false;
    }
    child->pid = pid;
    child->begun_ms = clock_ms();
    log_event(LOG_DEBUG, "embedded_started", LOG_FIELDS(LOG_INT("process", pid)),
              "started a translation worker, process %d", (int)pid);
    return true;
}

/* Start it again. What the system lacks for that, such as descriptors, it may have a little later. */
static bool embedded_again(void *context, struct err *err)
{
    struct child *child = context;
    struct embedded *embedded = child->embedded;
    struct err why = {0};
    child->timer = 0;
    if (embedded->stopping || embedded_start(child, &why))
        return true;
    embedded_delay(child, 0);
    log_event(LOG_WARN, "embedded_delayed", LOG_FIELDS(LOG_TEXT("reason", why.text)), "%s; trying again in %.1f s",
              why.text, (double)child->delay_ms * 1e-3);
    child->timer = loop_add_timer(embedded->loop, child->delay_ms, 0, embedded_again, child, err);
    return child->timer != 0;
}

static bool embedded_ended(void *context, struct err *err)
{
    struct child *child = context;
    struct embedded *embedded = child->embedded;
    embedded_reap(child);
    if (embedded->stopping)
        return true;
    child->timer = loop_add_timer(embedded->loop, child->delay_ms, 0, embedded_again, child, err);
    return child->timer != 0;
}

/* Each worker's share of the cores, unless train.threads says more. */
static long embedded_threads(const struct config *config)
{
    cpu_set_t cores;
    long count = sched_getaffinity(0, sizeof cores, &cores) == 0 ? CPU_COUNT(&cores) : 1;
    long share = config->train_threads > 0 ? (long)config->train_threads : count / (long)config->serve_workers;
    return share > 0 ? share : 1;
}

struct embedded *embedded_open(const struct config *config, struct loop *loop, const char *endpoint, struct err *err)
{
    struct embedded *embedded = calloc(1, sizeof *embedded);
    size_t count = (size_t)config->serve_workers;
    struct child *children = calloc(count, sizeof *children);
    if (embedded == NULL || children == NULL) {
        free(embedded);
        free(children);
        err_set(err, ERR_MEMORY, "no memory for %zu workers", count);
        return NULL;
    }
    *embedded = (struct embedded){.config = config, .loop = loop, .children = children, .count = count};
    snprintf(embedded->endpoint, sizeof embedded->endpoint, "%s", endpoint);
    snprintf(embedded->threads, sizeof embedded->threads, "%ld", embedded_threads(config));
    for (size_t i = 0; i < count && embedded != NULL; i++) {
        children[i].embedded = embedded;
        if (!embedded_start(&children[i], err))
            embedded_close(&embedded);
    }
    return embedded;
}

void embedded_stop(struct embedded *embedded)
{
    embedded->stopping = true;
    for (size_t i = 0; i < embedded->count; i++)
        if (embedded->children[i].pid != 0)
            kill(embedded->children[i].pid, SIGTERM);
}

void embedded_kill(struct embedded *embedded, uint32_t process)
{
    for (size_t i = 0; i < embedded->count; i++)
        if (embedded->children[i].pid != 0 && embedded->children[i].pid == (pid_t)process)
            kill(embedded->children[i].pid, SIGKILL);
}

bool embedded_is_over(const struct embedded *embedded)
{
    for (size_t i = 0; i < embedded->count; i++)
        if (embedded->children[i].pid != 0)
            return false;
    return true;
}

void embedded_close(struct embedded **handle)
{
    struct embedded *embedded = *handle;
    if (embedded == NULL)
        return;
    embedded->stopping = true;
    for (size_t i = 0; i < embedded->count; i++) {
        struct child *child = &embedded->children[i];
        loop_remove(embedded->loop, child->timer);
        if (child->pid == 0)
            continue;
        kill(child->pid, SIGKILL);
        embedded_reap(child);
    }
    free(embedded->children);
    free(embedded);
    *handle = NULL;
}
