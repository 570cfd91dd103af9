/* commands.h - the command that makes keys: a row of main.c's table, in cmd_keygen.c. */
#ifndef LSTMQ_PROTO_WIRE_COMMANDS_H
#define LSTMQ_PROTO_WIRE_COMMANDS_H

#include "proto/cli/command.h"

bool cmd_keygen(const struct command *self, int argc, char **argv, struct err *err);

#endif
