/* command.h - a row of main.c's table: what `lstmq NAME` does, and its help page.
 *
 * Static data, read-only. The functions open a command: options, logger, --help and --dump-config. Main thread. */
#ifndef LSTMQ_PROTO_CLI_COMMAND_H
#define LSTMQ_PROTO_CLI_COMMAND_H

#include "proto/base/config.h"
#include "proto/base/err.h"

struct command {
    const char *name;
    enum command_bit bit;
    const char *synopsis;    /* "[--config FILE] --data.pairs FILE" */
    const char *summary;     /* one line, no full stop */
    const char *description; /* a paragraph or two of plain text */
    int words;               /* most words besides options */
    /* argv[0] is the command's name. Prints its result on stdout; a failure is err, which main.c prints. */
    bool (*run)(const struct command *self, int argc, char **argv, struct err *err);
};

/* The first call of every command: defaults, then config_arguments, then the logger under the command's name. True with
 * *done: --help or --dump-config was answered on stdout. */
bool command_config(const struct command *self, int argc, char **argv, struct config *config, int *words, bool *done,
                    struct err *err);

/* For commands that run for hours: ignore SIGPIPE, so that a closed terminal or `tee` does not end the process. Writes
 * to stdout then fail with EPIPE or EIO, which the command must ignore (progress.h does). Call after command_config,
 * since `lstmq train --help | head` must end quietly. */
void command_outlive_readers(void);

/* command_config in two halves, for a command that completes its options between them. The first reads the arguments
 * and opens the logger. The second opens it again with the completed options, and answers --help or --dump-config. */
bool command_arguments(const struct command *self, int argc, char **argv, struct config *config, int *words,
                       enum config_request *what, struct config_given *given, struct err *err);
bool command_answer(const struct command *self, const struct config *config, enum config_request what, bool *done,
                    struct err *err);

/* Whether the arguments contain --log.format json, for errors before the arguments are parsed. */
bool command_wants_json(int argc, char **argv);

/* The row named `name`. ERR_USAGE suggests a name if there is none. */
const struct command *command_find(const struct command *table, size_t count, const char *name, struct err *err);

/* Write all of `text` to stdout and flush it. ERR_IO: that failed. */
bool command_print(const struct buffer *text, struct err *err);

#endif
