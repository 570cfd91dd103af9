/* status_page.h - the status of a run or of a translation queue as text, for `lstmq status`.
 *
 * A status is one JSON object, as STATUS carries it. A queue's has the kind "queue". Fields that are missing or of
 * another type are shown as "?" or 0, so a status from another version is shown too. Pure functions; any thread. */
#ifndef LSTMQ_COORDINATOR_STATUS_PAGE_H
#define LSTMQ_COORDINATOR_STATUS_PAGE_H

#include "proto/base/buffer.h"

#include <jansson.h>

enum status_form {
    STATUS_WHOLE,   /* all of it                                                      */
    STATUS_REDRAWN, /* the same without wrapped lines: they would shift what is drawn */
    STATUS_LINE,    /* in one line                                                    */
};

bool status_is_queue(const json_t *status);

void status_page(const json_t *status, enum status_form form, struct buffer *out);

#endif
