/* resume.h - the options of a run, from one start of it to the next.
 *
 * RUN/options.yaml holds the options of a run as its newest start had them, as `--dump-config` prints them. It is
 * written just before the first step, once the start has succeeded, so that a run that is killed before its first
 * checkpoint has them too. `--resume` takes it, or, where it is not there or cannot be read, the newest checkpoint's
 * copy; what the user gives beside --resume must agree or may change (config_resume). Main thread. */
#ifndef LSTMQ_COORDINATOR_RUN_RESUME_H
#define LSTMQ_COORDINATOR_RUN_RESUME_H

#include "proto/cli/command.h"

/* command_config for a command that trains, without words: with run.resume the options are those of the run in
 * run.dir, and those that were given. Where run.dir holds no run, they are the given ones. Beside config_resume's
 * errors: ERR_USAGE where neither the run nor the user names pairs, ERR_IO where a file that the run names is not
 * there, ERR_DATA where no checkpoint's state is whole, or where the options cannot be read and nothing is saved. */
bool resume_config(const struct command *self, int argc, char **argv, struct config *config, bool *done,
                   struct err *err);

/* Whether resume_record may write RUN/options.yaml: ERR_USAGE where a run begins and a file of that name does not hold
 * every option, so that lstmq did not write it. Call it after run_open. */
bool resume_may_record(const struct config *config, struct err *err);

/* Write RUN/options.yaml. A failure is only logged, because training does not need the file. */
void resume_record(const struct config *config);

#endif
