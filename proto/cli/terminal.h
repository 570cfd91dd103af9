/* terminal.h - how many columns the reader of our output has. Any thread. */
#ifndef LSTMQ_PROTO_CLI_TERMINAL_H
#define LSTMQ_PROTO_CLI_TERMINAL_H

#include <stddef.h>

enum { TERMINAL_WIDTH = 80, TERMINAL_NARROWEST = 20 };

/* Columns of the terminal behind stdout, or behind stderr where stdout is a pipe or a file. $COLUMNS makes it narrower,
 * and is the width where there is no terminal. TERMINAL_WIDTH where neither says anything, or COLUMNS is not a number
 * of at least TERMINAL_NARROWEST. */
size_t terminal_width(void);

#endif
