/* resume.h - keep the options of a run from one start to the next.
 *
 * RUN/options.yaml holds the options of the run's newest start, as `--dump-config` prints them. It is written just
 * before the first step, once the start has succeeded, so a run that is killed before its first checkpoint has them
 * too. `--resume` reads it or, if it is missing or unreadable, the newest checkpoint's copy. Options given with
 * --resume must agree with the run's, or be of those that may change (config_resume). Keeps no state. Main thread. */
#ifndef LSTMQ_COORDINATOR_RUN_RESUME_H
#define LSTMQ_COORDINATOR_RUN_RESUME_H

#include "proto/cli/command.h"

/* `complete` of a command that trains (struct command): with run.resume, the options are those of the run in run.dir,
 * completed by the given ones; if run.dir holds no run, the given ones. Errors besides config_resume's: ERR_USAGE if
 * neither the run nor the user names pairs; ERR_IO if a file that the run names is missing; ERR_DATA if no checkpoint
 * has a valid state, or if the options cannot be read and no checkpoint was saved. */
bool resume_config(const struct command *self, struct config *config, struct config_given *given, bool runs,
                   struct err *err);

/* Whether resume_record may write RUN/options.yaml. ERR_USAGE: a run begins, and a file of that name lacks options, so
 * lstmq did not write it. Call it after run_open. */
bool resume_may_record(const struct config *config, struct err *err);

/* Write RUN/options.yaml. A failure is only logged, because training does not need the file. */
void resume_record(const struct config *config);

#endif
