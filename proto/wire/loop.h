/* loop.h - the event loop: one thread, all of a process's sockets, files and timers.
 *
 * Handlers run on the loop's thread, one at a time, and must not block. A handler that returns false ends loop_run,
 * which then returns false with the err the handler filled. Sources are removed by the id that adding gave. Built on
 * zmq_poll. */
#ifndef LSTMQ_PROTO_WIRE_LOOP_H
#define LSTMQ_PROTO_WIRE_LOOP_H

#include "proto/base/err.h"

#include <stdint.h>

struct loop;

typedef bool loop_handler(void *context, struct err *err);

struct loop *loop_new(struct err *err);
void loop_destroy(struct loop **loop);

/* Call `handler` whenever the ZeroMQ socket can be read. The socket stays the caller's. Returns an id, or 0 and err. */
uint64_t loop_add_socket(struct loop *loop, void *socket, loop_handler *handler, void *context, struct err *err);

/* The same for a file descriptor. */
uint64_t loop_add_fd(struct loop *loop, int fd, loop_handler *handler, void *context, struct err *err);

/* Call `handler` in `delay_ms`, and then every `every_ms` unless that is 0. Ticks that were missed are left out. */
uint64_t loop_add_timer(struct loop *loop, int64_t delay_ms, int64_t every_ms, loop_handler *handler, void *context,
                        struct err *err);

/* Unknown ids are ignored. Safe inside handlers, the source's own included. */
void loop_remove(struct loop *loop, uint64_t id);

/* Run until loop_stop or a handler's failure, in rounds: each ready source is called once, then each timer that is
 * due. What a handler adds joins the next round. A loop without any source or timer fails: it would wait for ever. */
bool loop_run(struct loop *loop, struct err *err);

/* Leave loop_run after the current handler; called before, loop_run returns at once. Loop thread only. */
void loop_stop(struct loop *loop);

/* A descriptor that becomes readable on SIGINT, SIGTERM and SIGHUP (signalfd; they are blocked in this and later
 * threads). SIGHUP stays ignored where it was before, as under nohup. The caller closes it. On failure -1 and err. */
int loop_signal_fd(struct err *err);

/* The signal that made `fd` of loop_signal_fd readable, taken out of it; 0 when none waits. Never blocks. */
int loop_signal_take(int fd);

/* "SIGHUP", and what it means to a user: "the terminal was closed". */
const char *loop_signal_name(int signal);
const char *loop_signal_cause(int signal);

/* For the handler of the first signal: half a second later these signals get their default action, so that a user can
 * end a slow process at once. Until then they still arrive in the descriptor, since a supervisor may signal the process
 * and its group for one request. Loop thread only. */
bool loop_signal_yield(struct loop *loop, struct err *err);

#endif
