/* team.h - threads that share the parts of a job.
 *
 * A team is the thread that opened it, number 0, and others that live as long as the team. A job is cut into parts,
 * more of them than threads. Each thread takes the next part when it has finished one, and team_run returns when all
 * parts are done. So a thread that the system suspends delays no other: when it runs again it finds its parts taken.
 * Between jobs the other threads wait: first in a short loop, because the next job usually follows at once, then
 * asleep, so that a pause costs other programs nothing. A team with more threads than cores never loops. Its threads
 * block all signals.
 *
 * One thread owns a team. Born in team_open, given back by team_close, which joins the threads. */
#ifndef LSTMQ_KERNELS_CPU_TEAM_H
#define LSTMQ_KERNELS_CPU_TEAM_H

#include "kernels/sharing.h"
#include "proto/base/err.h"

struct team;

/* A team of `threads` (1 or more), the caller included. Each thread first calls `begin`, unless that is NULL. NULL
 * and err when there is no memory or no thread. */
struct team *team_open(int threads, void (*begin)(void), struct err *err);
void team_close(struct team **team);

/* The number of its threads. */
int team_threads(const struct team *team);

/* The number of cores that this process may use. */
int team_cores(void);

/* Compute one part of a job, 0..parts-1, on thread 0..threads-1 of the team. */
typedef void team_work(void *context, int thread, int part, int parts);

/* Call `work` once for each part, on at most `threads` threads. The calls see what the caller wrote before; the
 * caller sees afterwards what they wrote. `work` must not run the team again. */
void team_run(struct team *team, int threads, int parts, team_work *work, void *context);

/* From now on count in `sharing`; NULL = no more. It must live until the next such call or team_close. Between jobs
 * only. False and err when there is no memory. */
bool team_count_sharing(struct team *team, struct sharing *sharing, struct err *err);

#endif
