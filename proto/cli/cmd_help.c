/* cmd_help.c - `lstmq help [COMMAND] [--man] [--completion SHELL]`. */
#include "proto/cli/commands.h"

#include "proto/cli/completion.h"
#include "proto/cli/help.h"

bool cmd_help(const struct command_call *call, const struct command *table, size_t count, struct err *err)
{
    struct buffer page = {0};
    if (call->config->output_man) {
        help_man(table, count, &page);
    } else if (call->config->output_completion != COMPLETION_NONE) {
        completion_script(table, count, (enum completion)call->config->output_completion, &page);
    } else if (call->words == 0) {
        help_overview(table, count, help_style(), &page);
    } else {
        const struct command *command = command_find(table, count, call->word[0], err);
        if (command == NULL)
            return false;
        help_command(command, help_style(), &page);
    }
    bool ok = command_print(&page, err);
    buffer_free(&page);
    return ok;
}
