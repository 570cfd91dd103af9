/* embedded.h - the translation workers that a queue starts beside it: child processes.
 *
 * Each runs `lstmq translate-worker` against the queue's private endpoint. A child that ends is started again: at once
 * after a long life, after a growing delay otherwise. Children have process groups of their own, so a terminal's Ctrl-C
 * reaches only the queue. They are killed if the queue dies. Loop thread, which must be the process's main thread:
 * the kernel kills a child when the thread that started it ends. */
#ifndef LSTMQ_COORDINATOR_SERVE_EMBEDDED_H
#define LSTMQ_COORDINATOR_SERVE_EMBEDDED_H

#include "proto/base/config.h"
#include "proto/wire/loop.h"

struct embedded;

/* Start serve.workers children that connect to `endpoint`. NULL and err: no memory, or no process can be started. */
struct embedded *embedded_open(const struct config *config, struct loop *loop, const char *endpoint, struct err *err);

/* Kill the child with that process id, which is frozen or stuck; it is started again. Other ids are ignored. */
void embedded_kill(struct embedded *embedded, uint32_t process);

/* SIGTERM: they finish their batches and leave. None is started again. */
void embedded_stop(struct embedded *embedded);

/* All have ended. */
bool embedded_is_over(const struct embedded *embedded);

/* Kill and reap those that still run. NULL is ignored. */
void embedded_close(struct embedded **embedded);

#endif
