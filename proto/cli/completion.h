/* completion.h - scripts by which a shell completes commands, options and values.
 *
 * Made only from the table of commands and the table of options, so a new row needs no change here. Keeps no state. Any
 * thread. */
#ifndef LSTMQ_PROTO_CLI_COMPLETION_H
#define LSTMQ_PROTO_CLI_COMPLETION_H

#include "proto/base/buffer.h"
#include "proto/cli/command.h"

#include <stddef.h>

/* Append the script of a shell: for bash a file to source, for zsh an autoloaded function named _lstmq, for fish a file
 * of its completions folder. `shell` is not COMPLETION_NONE. */
void completion_script(const struct command *table, size_t count, enum completion shell, struct buffer *out);

#endif
