/* supervisor.h - what systemd, or a program like it, gave this process, and what it wants to know.
 *
 *   LISTEN_FDS      sockets that were bound before the process began, each with a name: connections that arrive while
 *                   no process runs wait in them, so a restart refuses none
 *   NOTIFY_SOCKET   gets READY=1 once the process serves, STOPPING=1 once it ends
 *   WATCHDOG_USEC   the process is restarted if it does not send WATCHDOG=1 that often
 *
 * A command opens it before other threads begin. It takes these variables out of the environment, so that no child
 * process believes them to be its own. Without a supervisor every call does nothing. The formats are those of
 * sd_listen_fds(3) and sd_notify(3). One thread. */
#ifndef LSTMQ_PROTO_CLI_SUPERVISOR_H
#define LSTMQ_PROTO_CLI_SUPERVISOR_H

#include "proto/base/err.h"

#include <stdint.h>

struct supervisor;

/* ERR_MEMORY; ERR_USAGE: a variable is set and cannot be understood. */
struct supervisor *supervisor_open(struct err *err);

/* Closes the sockets that were not taken. */
void supervisor_close(struct supervisor **supervisor);

/* The socket of that name, which is the caller's from now on; -1 = no such socket, or it was taken. */
int supervisor_listener(struct supervisor *supervisor, const char *name);

/* Warn about sockets that were not taken. */
void supervisor_check(const struct supervisor *supervisor);

/* Best effort: the supervisor may be gone. */
void supervisor_ready(const struct supervisor *supervisor);
void supervisor_stopping(const struct supervisor *supervisor);

/* How often to call supervisor_feed, in milliseconds; 0 = not at all. */
int64_t supervisor_feed_ms(const struct supervisor *supervisor);

/* For a timer of the loop (proto/wire/loop.h): a loop that hangs feeds no watchdog. */
bool supervisor_feed(void *supervisor, struct err *err);

#endif
