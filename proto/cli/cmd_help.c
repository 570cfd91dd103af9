/* cmd_help.c - `lstmq help [COMMAND] [--man]`. */
#include "proto/cli/cmd_help.h"

#include "proto/cli/help.h"

bool cmd_help(const struct command *self, int argc, char **argv, const struct command *table, size_t count,
              struct err *err)
{
    struct config config;
    struct buffer page = {0};
    int words;
    bool done;
    if (!command_config(self, argc, argv, &config, &words, &done, err))
        return false;
    if (done)
        return true;
    if (config.output_man) {
        help_man(table, count, &page);
    } else if (words == 0) {
        help_overview(table, count, help_style(), &page);
    } else {
        const struct command *command = command_find(table, count, argv[1], err);
        if (command == NULL)
            return false;
        help_command(command, help_style(), &page);
    }
    bool ok = command_print(&page, err);
    buffer_free(&page);
    return ok;
}
