/* start.h - begin a command: options, logger, --help and --dump-config, then its function.
 *
 * Every command begins here, so all read their options in the same order and fail in the same way. Keeps no state. Main
 * thread, before any other thread starts. */
#ifndef LSTMQ_PROTO_CLI_START_H
#define LSTMQ_PROTO_CLI_START_H

#include "proto/cli/command.h"

/* Run `command` with its arguments (argv[0] is its name); words move to the front of argv. ERR_USAGE: the arguments are
 * wrong. Otherwise the result of the command. */
bool start_command(const struct command *command, int argc, char **argv, struct err *err);

#endif
