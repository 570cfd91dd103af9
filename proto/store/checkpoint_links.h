/* checkpoint_links.h - restore RUN/best and RUN/latest in a copied run.
 *
 * `cp -rL` turns the two links into folders, and some archives drop links. A training run needs the links: it calls
 * links_settle before it reads the run, and before each checkpoint. If the checkpoint in such a folder also exists as
 * step-N, a link replaces the folder; otherwise the folder becomes step-N. No valid checkpoint is lost, even if the
 * process is killed midway. Readers accept both forms. Keeps no state. The caller must be the only writer of the
 * run. */
#ifndef LSTMQ_PROTO_STORE_CHECKPOINT_LINKS_H
#define LSTMQ_PROTO_STORE_CHECKPOINT_LINKS_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Replace folders named best and latest by links, and remove .best.partial and .latest.partial, which a crash leaves.
 * ERR_DATA: such a folder is damaged, or differs from the step-N beside it. */
bool links_settle(const char *run, struct err *err);

/* Make RUN/latest if it is missing, and point RUN/best at the checkpoint of step `best` (0 = no best one yet). Logs a
 * warning if a link was missing. */
bool links_restore(const char *run, uint64_t latest, uint64_t best, struct err *err);

#endif
