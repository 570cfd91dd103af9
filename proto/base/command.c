/* command.c - what each command does before its own work. */
#include "proto/base/command.h"

#include "proto/base/help.h"
#include "proto/base/log.h"
#include "proto/base/typed.h"

#include <stdio.h>
#include <string.h>

bool command_print(const struct buffer *text, struct err *err)
{
    if (!buffer_ok(text, err))
        return false;
    if (fwrite(text->data, 1, text->size, stdout) != text->size || fflush(stdout) != 0)
        return err_errno(err, ERR_IO, "cannot write to standard output");
    return true;
}

const struct command *command_find(const struct command *table, size_t count, const char *name, struct err *err)
{
    struct suggest suggest = suggest_begin(name);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(table[i].name, name) == 0)
            return &table[i];
        suggest_offer(&suggest, table[i].name, table[i].name);
    }
    if (suggest_best(&suggest) == NULL)
        err_set(err, ERR_USAGE, "unknown command \"%s\"; \"lstmq help\" lists them", typed_show(name).shown);
    else
        err_set(err, ERR_USAGE, "unknown command \"%s\"; did you mean \"%s\"?", typed_show(name).shown,
                suggest_best(&suggest));
    return NULL;
}

bool command_config(const struct command *self, int argc, char **argv, struct config *config, int *words, bool *done,
                    struct err *err)
{
    enum config_request what;
    config_defaults(config);
    if (!config_arguments(config, self->bit, argc, argv, self->words, words, &what, err))
        return false;
    log_open(self->name, (enum log_level)config->log_level);
    *done = what != CONFIG_RUN;
    if (!*done)
        return true;
    struct buffer page = {0};
    if (what == CONFIG_HELP)
        help_command(self, help_style(), &page);
    else
        config_dump(config, &page);
    bool ok = command_print(&page, err);
    buffer_free(&page);
    return ok;
}
