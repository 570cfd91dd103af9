/* terminal.h - the width of the user's terminal. Keeps no state; any thread. */
#ifndef LSTMQ_PROTO_CLI_TERMINAL_H
#define LSTMQ_PROTO_CLI_TERMINAL_H

#include <stddef.h>

enum { TERMINAL_WIDTH = 80, TERMINAL_NARROWEST = 20 };

/* Columns of the terminal on stdout, or on stderr if stdout is a pipe or a file. $COLUMNS can make it narrower, and is
 * the width without a terminal. TERMINAL_WIDTH if neither is known, or if COLUMNS is not a number of at least
 * TERMINAL_NARROWEST. */
size_t terminal_width(void);

#endif
