/* cmd_help.h - the command that explains the others; main.c passes its table. */
#ifndef LSTMQ_PROTO_CLI_CMD_HELP_H
#define LSTMQ_PROTO_CLI_CMD_HELP_H

#include "proto/cli/command.h"

bool cmd_help(const struct command *self, int argc, char **argv, const struct command *table, size_t count,
              struct err *err);

#endif
