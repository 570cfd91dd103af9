/* page.h - the page for people: a translation box, the live figures of a queue or of a run, and training curves.
 *
 * It is made of files inside the program, which the build puts into its read-only data. In the browser it asks its own
 * server only: for /status.json, which is the STATUS of PROTOCOL.md, for /metrics.jsonl, and for the API of a queue.
 * `lstmq serve` and `lstmq coordinator` have the same page; it shows what the status has. Loop thread. */
#ifndef LSTMQ_COORDINATOR_HTTP_PAGE_PAGE_H
#define LSTMQ_COORDINATOR_HTTP_PAGE_PAGE_H

#include "coordinator/http/http.h"

/* Answer a GET of "/" or of "/page/NAME", one of the page's files. False: there is no such file, and no answer. */
bool page_answer(struct exchange *exchange);

/* Answer with RUN/metrics.jsonl; 404 if it cannot be read. */
void page_answer_curves(struct exchange *exchange, const char *run);

/* Answer with a status, which is JSON. */
void page_answer_status(struct exchange *exchange, const struct buffer *status);

#endif
