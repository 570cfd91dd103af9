/* command.h - a row of main.c's table: what `lstmq NAME` does, and its help page.
 *
 * Static data, read-only. start.h begins a command: it reads the options and calls `run` with them. Main thread. */
#ifndef LSTMQ_PROTO_CLI_COMMAND_H
#define LSTMQ_PROTO_CLI_COMMAND_H

#include "proto/base/config.h"
#include "proto/base/err.h"

/* What a user asked for; valid while the command runs. */
struct command_call {
    const struct command *command;
    const struct config *config; /* complete: built-in values, then file, then command line */
    int words;                   /* number of words besides options */
    char **word;                 /* [words] */
    int argc;                    /* of the command line, from the command's name on */
    char **argv;
};

struct command {
    const char *name;
    enum command_bit bit;
    const char *synopsis;    /* "[--config FILE] --data.pairs FILE" */
    const char *summary;     /* one line, no full stop */
    const char *description; /* a paragraph or two of plain text */
    int words;               /* most words besides options */
    /* It runs for hours: a closed terminal or `tee` must not end it. Writes to stdout then fail with EPIPE or EIO,
     * which the command ignores (progress.h). */
    bool lasts;
    /* Complete the options after the arguments were read, from a run that is resumed. `runs`: not only --dump-config.
     * NULL = nothing to complete. */
    bool (*complete)(const struct command *self, struct config *config, struct config_given *given, bool runs,
                     struct err *err);
    /* Prints its result on stdout; a failure is err, which main.c prints. */
    bool (*run)(const struct command_call *call, struct err *err);
};

/* Whether the arguments contain --log.format json, for errors before the arguments are parsed. */
bool command_wants_json(int argc, char **argv);

/* The row named `name`. ERR_USAGE, with a suggestion: no such command. */
const struct command *command_find(const struct command *table, size_t count, const char *name, struct err *err);

/* Write all of `text` to stdout and flush it. ERR_IO: that failed. */
bool command_print(const struct buffer *text, struct err *err);

#endif
