/* commands.h - the command that reads checkpoints: a row of main.c's table, in cmd_inspect.c. */
#ifndef LSTMQ_PROTO_STORE_COMMANDS_H
#define LSTMQ_PROTO_STORE_COMMANDS_H

#include "proto/cli/command.h"

bool cmd_inspect(const struct command *self, int argc, char **argv, struct err *err);

#endif
