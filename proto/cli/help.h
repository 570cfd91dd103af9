/* help.h - pages of help, made only from the table of commands and the table of options.
 *
 * Functions append pages to a buffer; the caller prints them. They keep no state. Any thread. */
#ifndef LSTMQ_PROTO_CLI_HELP_H
#define LSTMQ_PROTO_CLI_HELP_H

#include "proto/base/buffer.h"
#include "proto/cli/command.h"

#include <stdbool.h>
#include <stddef.h>

/* The program in one line, and its exit statuses. */
#define HELP_SUMMARY "LSTM neural machine translation: train on sentence pairs, translate, measure"

/* An option that every command has and that is not in the table: it selects an action, not a setting. */
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

/* The style of a page. */
struct help_style {
    size_t width; /* longest line, except for a single longer word; at most 120 are used */
    bool bold;    /* headings */
};

/* The terminal's width (terminal.h); bold if stdout is a terminal, NO_COLOR is empty and TERM is not dumb. */
struct help_style help_style(void);

/* `lstmq help`: all commands, one a line. */
void help_overview(const struct command *table, size_t count, struct help_style style, struct buffer *out);

/* `lstmq help COMMAND`. */
void help_command(const struct command *command, struct help_style style, struct buffer *out);

/* `lstmq help --man`: everything, as roff with the macros of man(7). */
void help_man(const struct command *table, size_t count, struct buffer *out);

/* The placeholder of an option's value: "FILE", "N", "fp32|bf16"; "" for a BOOL. */
void help_value(const struct option_row *row, struct buffer *out);

/* An option's range and default, "1 to 65536 pairs; default 64", or that it is a list, or nothing. */
void help_limits(const struct option_row *row, struct buffer *out);

/* A sentence or two: what --resume keeps, and the options of `commands` that may change. */
void help_may_change(unsigned commands, struct buffer *out);

/* True for a BOOL that is on by default: its --no-KEY is the useful form. */
bool help_is_on(const struct option_row *row);

/* Helper of both kinds of pages: true if row i begins a section among the rows of `commands`. */
bool help_opens_section(size_t i, unsigned commands);

#endif
