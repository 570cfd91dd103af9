/* commands.h - the command that checks the kernels end to end: a row of main.c's table, in cmd_or_gate.c. */
#ifndef LSTMQ_KERNELS_COMMANDS_H
#define LSTMQ_KERNELS_COMMANDS_H

#include "proto/cli/command.h"

bool cmd_or_gate(const struct command *self, int argc, char **argv, struct err *err);

#endif
