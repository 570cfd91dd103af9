/* commands.h - the commands that compute with a model in this process: rows of main.c's table, each in its
 * cmd_NAME.c. */
#ifndef LSTMQ_WORKER_COMMANDS_H
#define LSTMQ_WORKER_COMMANDS_H

#include "proto/cli/command.h"

bool cmd_translate(const struct command *self, int argc, char **argv, struct err *err);
bool cmd_evaluate(const struct command *self, int argc, char **argv, struct err *err);
bool cmd_worker(const struct command *self, int argc, char **argv, struct err *err);
bool cmd_bench(const struct command *self, int argc, char **argv, struct err *err);

#endif
