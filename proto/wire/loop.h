/* loop.h - the event loop: one thread, all of a process's sockets, files and timers.
 *
 * Handlers run on the loop's thread, one at a time, and must not block. A handler that returns false ends loop_run,
 * which returns false with the handler's err. A source is removed by the id that it got when it was added. The
 * process's main thread owns the loop, from loop_new to loop_destroy. Built on poll(2).
 *
 * A process whose state is large decides in one place: handlers of sockets, files and timers only record what happened,
 * and a turn handler (loop_add_turn) looks at all of it and acts. It runs once a round, after every other handler. */
#ifndef LSTMQ_PROTO_WIRE_LOOP_H
#define LSTMQ_PROTO_WIRE_LOOP_H

#include "proto/base/err.h"

#include <stdint.h>

struct loop;

typedef bool loop_handler(void *context, struct err *err);

struct loop *loop_new(struct err *err);
void loop_destroy(struct loop **loop);

/* Call `handler` whenever the ZeroMQ socket can be read. The caller keeps the socket. Returns an id, or 0 and err. */
uint64_t loop_add_socket(struct loop *loop, void *socket, loop_handler *handler, void *context, struct err *err);

/* The same for a file descriptor. */
uint64_t loop_add_fd(struct loop *loop, int fd, loop_handler *handler, void *context, struct err *err);

/* Call `handler` in `delay_ms`, and then every `every_ms` unless that is 0. Missed ticks are skipped. */
uint64_t loop_add_timer(struct loop *loop, int64_t delay_ms, int64_t every_ms, loop_handler *handler, void *context,
                        struct err *err);

/* Call `handler` at the end of each round, the last one too, in the order in which they were added. */
uint64_t loop_add_turn(struct loop *loop, loop_handler *handler, void *context, struct err *err);

/* End the wait before the next round after `ms` milliseconds at the latest. Counts for one round, so a turn handler
 * calls it whenever something will be due that no source reports. */
void loop_wake(struct loop *loop, int64_t ms);

/* Unknown ids are ignored. Safe inside handlers, the source's own included. */
void loop_remove(struct loop *loop, uint64_t id);

/* Run until loop_stop or a handler's failure, in rounds: call each ready source once, then each due timer once, then
 * each turn handler. What a handler adds joins the next round. A loop without sources and timers fails, because it
 * would wait without end. */
bool loop_run(struct loop *loop, struct err *err);

/* Leave loop_run after the current handler and the turn handlers. If called before loop_run, that returns at once. Loop
 * thread only. */
void loop_stop(struct loop *loop);

/* A descriptor that becomes readable on SIGINT, SIGTERM and SIGHUP (signalfd; they are blocked in this thread and those
 * it starts). A SIGHUP that is ignored, as under nohup, stays ignored. The caller closes it. On failure -1 and err. */
int loop_signal_fd(struct err *err);

/* Take the signal that made `fd` of loop_signal_fd readable; 0 = none waits. Never blocks. */
int loop_signal_take(int fd);

/* "SIGHUP", and its meaning for a user: "the terminal was closed". */
const char *loop_signal_name(int signal);
const char *loop_signal_cause(int signal);

/* For the handler of the first signal: half a second later these signals get their default action, so that a user can
 * end a slow process at once. Until then they still arrive at the descriptor, because a supervisor may signal both the
 * process and its group for one request. Loop thread only. */
bool loop_signal_yield(struct loop *loop, struct err *err);

#endif
