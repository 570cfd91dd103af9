/* command.h - a row of main.c's table: what `lstmq NAME` does and what its help page says. Static data, read-only. */
#ifndef LSTMQ_COMMAND_H
#define LSTMQ_COMMAND_H

#include "proto/base/config.h"
#include "proto/base/err.h"

struct command {
    const char *name;
    enum command_bit bit;
    const char *synopsis;    /* "[--config FILE] --data.pairs FILE"    */
    const char *summary;     /* one line, no full stop                  */
    const char *description; /* a paragraph or two of plain text        */
    int words;               /* most words beside options               */
    /* argv[0] is the command's name. Prints its result on stdout; a failure is err, which main.c prints. */
    bool (*run)(const struct command *self, int argc, char **argv, struct err *err);
};

/* What every command does first: defaults, then config_arguments. True with *done when --help or --dump-config was answered. */
bool command_config(const struct command *self, int argc, char **argv, struct config *config, int *words, bool *done,
                    struct err *err);

#endif
