/* links.h - RUN/best and RUN/latest, where a copy of the run lost them.
 *
 * `cp -rL` makes folders of the two links, and some archives leave links out. A training run needs links: it settles
 * them before it reads the run, and before each checkpoint. A folder in the place of a link gives way to the link when
 * its checkpoint has a folder of its own, step-N; else it becomes step-N. No whole checkpoint is lost on the way,
 * wherever the process is killed. Readers take either form. The caller is the only writer of the run. */
#ifndef LSTMQ_PROTO_STORE_LINKS_H
#define LSTMQ_PROTO_STORE_LINKS_H

#include "proto/base/err.h"

#include <stdbool.h>
#include <stdint.h>

/* Make links of folders named best and latest, and remove .best.partial and .latest.partial, which a crash leaves.
 * ERR_DATA where such a folder is damaged or not the same as the step-N beside it. */
bool links_settle(const char *run, struct err *err);

/* Make RUN/latest where it is missing, and let RUN/best name the checkpoint of step `best` (0 = no best one yet). A
 * missing one is logged as a warning. */
bool links_restore(const char *run, uint64_t latest, uint64_t best, struct err *err);

#endif
