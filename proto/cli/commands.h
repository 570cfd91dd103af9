/* commands.h - the functions of all commands, each in its cmd_NAME.c: rows of main.c's table.
 *
 * Each runs on the main thread, prints its result on stdout, and returns its failure. */
#ifndef LSTMQ_PROTO_CLI_COMMANDS_H
#define LSTMQ_PROTO_CLI_COMMANDS_H

#include "proto/cli/command.h"

struct train_worker;

bool cmd_bench(const struct command_call *call, struct err *err);
bool cmd_coordinator(const struct command_call *call, struct err *err);
bool cmd_evaluate(const struct command_call *call, struct err *err);
bool cmd_inspect(const struct command_call *call, struct err *err);
bool cmd_keygen(const struct command_call *call, struct err *err);
bool cmd_or_gate(const struct command_call *call, struct err *err);
bool cmd_serve(const struct command_call *call, struct err *err);
bool cmd_status(const struct command_call *call, struct err *err);
bool cmd_translate(const struct command_call *call, struct err *err);
bool cmd_translate_worker(const struct command_call *call, struct err *err);
bool cmd_worker(const struct command_call *call, struct err *err);

/* `worker` has the functions of the workers to embed (coordinator/train.h). */
bool cmd_train(const struct command_call *call, const struct train_worker *worker, struct err *err);

/* `table` is main.c's. */
bool cmd_help(const struct command_call *call, const struct command *table, size_t count, struct err *err);

#endif
