/* result.h - what a caller of the client library gets: a result, made from the queue's answer, or an error.
 *
 * A result is one block of memory that the caller releases with lstmq_free. Pure functions; any thread. */
#ifndef LSTMQ_PROTO_CLIENT_RESULT_H
#define LSTMQ_PROTO_CLIENT_RESULT_H

#include "proto/client/lstmq.h"
#include "proto/wire/message.h"

/* A copy of an answer, which was checked when it was received. NULL: no memory. */
struct lstmq_result *result_new(const struct translated *translated);

/* Fill `error`, which may be NULL, and return false. */
bool error_set(struct lstmq_error *error, enum lstmq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same from an error of the library's inside. */
bool error_take(struct lstmq_error *error, const struct err *err);

#endif
