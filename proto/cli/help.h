/* help.h - pages of help, made from the table of commands and the table of options and from nothing else.
 *
 * Pages are appended to a buffer; who prints them is the caller's affair. Any thread. */
#ifndef LSTMQ_PROTO_CLI_HELP_H
#define LSTMQ_PROTO_CLI_HELP_H

#include "proto/base/buffer.h"
#include "proto/cli/command.h"

#include <stdbool.h>
#include <stddef.h>

/* What the program is, in a line; and its exit statuses. */
#define HELP_SUMMARY "LSTM neural machine translation: train on sentence pairs, translate, measure"

/* An option that each command has and the table does not: they say what to do, not how. */
struct help_always {
    const char *option, *value, *help;
};
extern const struct help_always help_always[3];

/* A line of the table of exit statuses. */
struct help_status {
    int status;
    const char *help;
};
extern const struct help_status help_statuses[5];

/* How a page looks where it is read. */
struct help_style {
    size_t width; /* no line is wider, but for a single word that is; pages stop growing at 120 */
    bool bold;    /* headings */
};

/* The terminal's width (terminal.h); bold where stdout is a terminal, NO_COLOR is empty and TERM is not dumb. */
struct help_style help_style(void);

/* `lstmq help`: all commands, a line each. */
void help_overview(const struct command *table, size_t count, struct help_style style, struct buffer *out);

/* `lstmq help COMMAND`. */
void help_command(const struct command *command, struct help_style style, struct buffer *out);

/* `lstmq help --man`: everything, as roff with the macros of man(7). */
void help_man(const struct command *table, size_t count, struct buffer *out);

/* What an option's value is called: "FILE", "N", "fp32|bf16"; "" for a BOOL. */
void help_value(const struct option_row *row, struct buffer *out);

/* What else there is to know of it: "1 to 65536 pairs; default 64", or nothing. */
void help_limits(const struct option_row *row, struct buffer *out);

/* A sentence or two: what --resume keeps, and the options of the commands in `commands` that may change. */
void help_may_change(unsigned commands, struct buffer *out);

/* True for a BOOL that is on unless it is told otherwise: its --no-KEY is what is of use. */
bool help_is_on(const struct option_row *row);

/* Helper of the two kinds of pages: true where row i opens a section among the rows whose commands meet `commands`. */
bool help_opens_section(size_t i, unsigned commands);

#endif
