/* start.c - begin a command; see start.h. */
#include "proto/cli/start.h"

#include "proto/base/log.h"
#include "proto/cli/help.h"

#include <signal.h>

static void start_log(const struct command *command, const struct config *config)
{
    log_open(command->name, (enum log_level)config->log_level);
    log_use_json(config->log_format == 1);
}

/* Built-in values, file and command line, then what the command completes. The logger is opened three times, so that an
 * error at any point has the form that is known by then. */
static bool start_options(const struct command *command, int argc, char **argv, struct config *config, int *words,
                          enum config_request *what, struct err *err)
{
    struct config_given given = {0};
    config_defaults(config);
    log_open(command->name, LOG_INFO);
    log_use_json(command_wants_json(argc, argv));
    if (!config_arguments(config, command->bit, argc, argv, command->words, words, what, &given, err))
        return false;
    start_log(command, config);
    if (command->complete != NULL && *what != CONFIG_HELP &&
        !command->complete(command, config, &given, *what == CONFIG_RUN, err))
        return false;
    start_log(command, config);
    return true;
}

static bool start_answer(const struct command *command, const struct config *config, bool help, struct err *err)
{
    struct buffer page = {0};
    if (help)
        help_command(command, help_style(), &page);
    else
        config_dump(config, &page);
    bool ok = command_print(&page, err);
    buffer_free(&page);
    return ok;
}

bool start_command(const struct command *command, int argc, char **argv, struct err *err)
{
    struct config config;
    struct command_call call = {.command = command, .config = &config, .word = argv + 1, .argc = argc, .argv = argv};
    enum config_request what;
    if (!start_options(command, argc, argv, &config, &call.words, &what, err))
        return false;
    if (what != CONFIG_RUN)
        return start_answer(command, &config, what == CONFIG_HELP, err);
    /* Not earlier: `lstmq train --help | head` must end quietly. */
    if (command->lasts)
        signal(SIGPIPE, SIG_IGN);
    return command->run(&call, err);
}
