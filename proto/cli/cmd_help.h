/* cmd_help.h - the command that explains the others: a row of main.c's table, which is handed in. */
#ifndef LSTMQ_PROTO_CLI_CMD_HELP_H
#define LSTMQ_PROTO_CLI_CMD_HELP_H

#include "proto/cli/command.h"

bool cmd_help(const struct command *self, int argc, char **argv, const struct command *table, size_t count,
              struct err *err);

#endif
