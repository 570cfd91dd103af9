/* terminal.c - see terminal.h. */
#include "proto/cli/terminal.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDEST = 10000 };

/* 0 = unknown */
static size_t terminal_columns_of(int descriptor)
{
    struct winsize size;
    return ioctl(descriptor, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

/* $COLUMNS; 0 = unset, or not a terminal's width. */
static size_t terminal_columns_wanted(void)
{
    const char *text = getenv("COLUMNS");
    char *end = NULL;
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return 0;
    unsigned long value = strtoul(text, &end, 10);
    return *end == '\0' && value >= TERMINAL_NARROWEST && value <= WIDEST ? value : 0;
}

size_t terminal_width(void)
{
    size_t wanted = terminal_columns_wanted(), width = terminal_columns_of(STDOUT_FILENO);
    if (width == 0)
        width = terminal_columns_of(STDERR_FILENO);
    if (wanted > 0 && (width == 0 || wanted < width))
        return wanted;
    return width > 0 ? width : TERMINAL_WIDTH;
}
