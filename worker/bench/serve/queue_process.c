/* queue_process.c - start, watch and end `lstmq serve`; see queue_process.h. */
#include "worker/bench/serve/queue_process.h"

#include "proto/base/buffer.h"
#include "proto/base/clock.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { QUEUE_START_MS = 30000, QUEUE_STOP_MS = 40000, QUEUE_LOOK_US = 500 };
enum { QUEUE_LOG = 64 << 10 }; /* bytes of a log that are read */

static const char *const queue_process_words[] = {
    "lstmq", "serve", "--log.format", "json", "--log.level", "info", "--serve.bind", "tcp://127.0.0.1:0",
};
enum { QUEUE_FIXED = sizeof queue_process_words / sizeof *queue_process_words };

/* In the child: become this program again. Descriptors that are not -1 replace the standard ones. */
static void queue_process_become(const char *const *words, int in, int out, int errors)
{
    const int from[] = {in, out, errors};
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    for (int to = 0; to < 3; to++)
        if (from[to] >= 0 && dup2(from[to], to) < 0)
            _exit(127);
    execv("/proc/self/exe", (char *const *)(uintptr_t)words);
    _exit(127);
}

/* The value of "address" in the line of that event; false: no such line yet. */
static bool queue_process_address(const char *log, const char *event, char *address, size_t size)
{
    char wanted[64];
    snprintf(wanted, sizeof wanted, "\"event\":\"%s\"", event);
    const char *line = strstr(log, wanted), *key = line == NULL ? NULL : strstr(line, "\"address\":\"");
    const char *end = key == NULL ? NULL : strchr(key + strlen("\"address\":\""), '"');
    if (end == NULL)
        return false;
    key += strlen("\"address\":\"");
    snprintf(address, size, "%.*s", (int)(end - key), key);
    return true;
}

static const char *queue_process_log(const struct queue_process *queue, char *log)
{
    ssize_t size = pread(queue->log, log, QUEUE_LOG - 1, 0);
    log[size > 0 ? size : 0] = '\0';
    return log;
}

/* Why it ended: the last line of its log. */
static bool queue_process_ended(struct queue_process *queue, struct err *err)
{
    char *log = malloc(QUEUE_LOG);
    const char *last = "no log";
    if (log != NULL && queue_process_log(queue, log)[0] != '\0') {
        size_t size = strlen(log);
        while (size > 0 && log[size - 1] == '\n')
            log[--size] = '\0';
        last = strrchr(log, '\n') == NULL ? log : strrchr(log, '\n') + 1;
    }
    err_set(err, ERR_FAILED, "lstmq serve has ended: %.800s", last);
    free(log);
    return false;
}

static bool queue_process_listens(struct queue_process *queue, bool http, struct err *err)
{
    char *log = malloc(QUEUE_LOG);
    bool listens = false;
    if (log == NULL)
        return err_set(err, ERR_MEMORY, "no memory for a log");
    int64_t last_ms = clock_ms() + QUEUE_START_MS;
    while (!listens && clock_ms() < last_ms) {
        queue_process_log(queue, log);
        listens = queue_process_address(log, "listening", queue->endpoint, sizeof queue->endpoint) &&
                  (!http || queue_process_address(log, "http_listening", queue->http, sizeof queue->http));
        if (!listens && waitpid(queue->pid, NULL, WNOHANG) == queue->pid) {
            queue->pid = 0;
            break;
        }
        if (!listens)
            usleep(QUEUE_LOOK_US);
    }
    free(log);
    return listens || (queue->pid == 0
                           ? queue_process_ended(queue, err)
                           : err_set(err, ERR_FAILED, "lstmq serve does not listen after %d s", QUEUE_START_MS / 1000));
}

bool queue_process_start(struct queue_process *queue, const char *const *words, struct err *err)
{
    const char *all[QUEUE_FIXED + QUEUE_PROCESS_OPTIONS + 1] = {0};
    size_t count = QUEUE_FIXED;
    bool http = false;
    memcpy(all, queue_process_words, sizeof queue_process_words);
    for (; *words != NULL && count < QUEUE_FIXED + QUEUE_PROCESS_OPTIONS; words++) {
        http = http || strcmp(*words, "--http") == 0;
        all[count++] = *words;
    }
    *queue = (struct queue_process){.log = memfd_create("log", MFD_CLOEXEC), .started_ns = clock_ns()};
    if (queue->log < 0 || (queue->pid = fork()) < 0)
        return err_errno(err, ERR_FAILED, "cannot start lstmq serve");
    if (queue->pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        queue_process_become(all, null, null, queue->log);
    }
    if (queue_process_listens(queue, http, err))
        return true;
    queue_process_stop(queue, NULL);
    return false;
}

bool queue_process_stop(struct queue_process *queue, struct err *err)
{
    int status = 0;
    bool ok = true;
    int64_t last_ms = clock_ms() + QUEUE_STOP_MS;
    if (queue->pid > 0) {
        kill(queue->pid, SIGTERM);
        pid_t ended;
        while ((ended = waitpid(queue->pid, &status, WNOHANG)) == 0 && clock_ms() < last_ms)
            usleep(QUEUE_LOOK_US);
        if (ended == 0) {
            kill(queue->pid, SIGKILL);
            waitpid(queue->pid, &status, 0);
        }
        ok = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 130);
        queue->pid = 0;
        if (!ok)
            queue_process_ended(queue, err);
    }
    if (queue->log >= 0)
        close(queue->log);
    queue->log = -1;
    return ok;
}

/* ---- /proc ---- */

/* CPU seconds of a process, over its threads: the kernel's ticks of 10 ms are too long for an idle one. */
static double queue_process_seconds(pid_t pid)
{
    char path[64];
    double sum = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    for (struct dirent *task; tasks != NULL && (task = readdir(tasks)) != NULL;) {
        unsigned long long ns = 0;
        snprintf(path, sizeof path, "/proc/%d/task/%.16s/schedstat", (int)pid, task->d_name);
        FILE *file = fopen(path, "re");
        if (file != NULL && fscanf(file, "%llu", &ns) == 1)
            sum += (double)ns * 1e-9;
        if (file != NULL)
            fclose(file);
    }
    if (tasks != NULL)
        closedir(tasks);
    return sum;
}

double queue_process_cpu(const struct queue_process *queue)
{
    char path[64];
    int child;
    double sum = queue_process_seconds(queue->pid);
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)queue->pid, (int)queue->pid);
    FILE *file = fopen(path, "re");
    while (file != NULL && fscanf(file, "%d", &child) == 1)
        sum += queue_process_seconds(child);
    if (file != NULL)
        fclose(file);
    return sum;
}

uint64_t queue_process_memory(const struct queue_process *queue)
{
    char path[64];
    unsigned long total = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)queue->pid);
    FILE *file = fopen(path, "re");
    if (file != NULL && fscanf(file, "%lu %lu", &total, &resident) != 2)
        resident = 0;
    if (file != NULL)
        fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- a filter ---- */

/* Its input comes from memory and its output goes there, so no pipe can block it. */
bool queue_process_filter(const char *const *words, const char *input, size_t size, double *seconds, uint64_t *lines,
                          struct err *err)
{
    int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC), status = 0;
    bool ok = in >= 0 && out >= 0 && write(in, input, size) == (ssize_t)size && lseek(in, 0, SEEK_SET) == 0;
    int64_t begin_ns = clock_ns();
    pid_t child = ok ? fork() : -1;
    if (child == 0)
        queue_process_become(words, in, out, open("/dev/null", O_WRONLY | O_CLOEXEC));
    ok = child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
    *seconds = (double)(clock_ns() - begin_ns) / 1e9;
    char block[1 << 14];
    *lines = 0;
    lseek(out, 0, SEEK_SET);
    for (ssize_t got; ok && (got = read(out, block, sizeof block)) > 0;)
        for (ssize_t i = 0; i < got; i++)
            *lines += block[i] == '\n';
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return ok || err_set(err, ERR_FAILED, "lstmq %s failed with status %d", words[1], WEXITSTATUS(status));
}
