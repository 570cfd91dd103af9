/* commands.h - the commands that own a run: rows of main.c's table, each in its cmd_NAME.c.
 *
 * The coordinator knows no model: main.c passes the function that runs a worker against an endpoint of this process. */
#ifndef LSTMQ_COORDINATOR_COMMANDS_H
#define LSTMQ_COORDINATOR_COMMANDS_H

#include "coordinator/train.h"
#include "proto/cli/command.h"

bool cmd_train(const struct command *self, int argc, char **argv, const struct train_worker *worker, struct err *err);

bool cmd_coordinator(const struct command *self, int argc, char **argv, struct err *err);
bool cmd_status(const struct command *self, int argc, char **argv, struct err *err);

#endif
