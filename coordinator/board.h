/* board.h - a run's page over HTTP, read only: its status, its workers, its curves.
 *
 * `lstmq coordinator --http HOST:PORT` opens it on its loop before the run begins, and closes it after. It answers the
 * page (coordinator/http/page), /status.json, /metrics.jsonl, and for probes /health, /readyz and /livez. Workers'
 * names are on it, and it needs no key, so other machines may reach it only with curve.insecure. Loop thread. */
#ifndef LSTMQ_COORDINATOR_BOARD_H
#define LSTMQ_COORDINATOR_BOARD_H

#include "coordinator/cluster/trainer.h"

struct board;

/* `dir` is the run's folder. NULL and err: the address cannot be bound. ERR_USAGE: other machines can reach it. */
struct board *board_open(const struct config *config, struct loop *loop, const struct trainer *trainer, const char *dir,
                         struct err *err);
void board_close(struct board **board);

#endif
