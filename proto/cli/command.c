/* command.c - what each command does before its own work. */
#include "proto/cli/command.h"

#include "proto/base/log.h"
#include "proto/base/typed.h"
#include "proto/cli/help.h"

#include <signal.h>
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

bool command_wants_json(int argc, char **argv)
{
    static const char name[] = "--log.format", joined[] = "--log.format=";
    bool json = false;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *value = NULL;
        if (strncmp(argv[i], joined, sizeof joined - 1) == 0)
            value = argv[i] + sizeof joined - 1;
        else if (strcmp(argv[i], name) == 0 && i + 1 < argc)
            value = argv[++i];
        if (value != NULL)
            json = strcmp(value, "json") == 0;
    }
    return json;
}

void command_outlive_readers(void)
{
    signal(SIGPIPE, SIG_IGN);
}

static void command_open_log(const struct command *self, const struct config *config)
{
    log_open(self->name, (enum log_level)config->log_level);
    log_use_json(config->log_format == 1);
}

bool command_arguments(const struct command *self, int argc, char **argv, struct config *config, int *words,
                       enum config_request *what, struct config_given *given, struct err *err)
{
    config_defaults(config);
    log_open(self->name, LOG_INFO);
    log_use_json(command_wants_json(argc, argv));
    if (given != NULL)
        *given = (struct config_given){0};
    if (!config_arguments(config, self->bit, argc, argv, self->words, words, what, given, err))
        return false;
    command_open_log(self, config);
    return true;
}

bool command_answer(const struct command *self, const struct config *config, enum config_request what, bool *done,
                    struct err *err)
{
    command_open_log(self, config);
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

bool command_config(const struct command *self, int argc, char **argv, struct config *config, int *words, bool *done,
                    struct err *err)
{
    enum config_request what;
    return command_arguments(self, argc, argv, config, words, &what, NULL, err) &&
           command_answer(self, config, what, done, err);
}
