/* team.h - threads that share the parts of a job.
 *
 * A team is the thread that opened it, which is number 0, and others that live as long as the team. A job is cut into
 * parts, more of them than threads; each thread takes the next part when it has done one, and team_run returns when all
 * are done. So nobody waits for a thread that the system has put aside: it finds its parts taken when it comes back,
 * and the job goes on without it. Between jobs the others wait: first in a short loop, since the next job usually
 * follows at once, then asleep, so that a pause costs other programs nothing. A team with more threads than cores never
 * loops. Its threads block all signals.
 *
 * One thread owns a team. Born in team_open, given back by team_close, which joins the threads. */
#ifndef LSTMQ_KERNELS_CPU_TEAM_H
#define LSTMQ_KERNELS_CPU_TEAM_H

#include "kernels/sharing.h"
#include "proto/base/err.h"

struct team;

/* A team of `threads` (1 or more), the caller among them; each calls `begin`, unless that is NULL, before anything
 * else. NULL and err when there is no memory or thread to be had. */
struct team *team_open(int threads, void (*begin)(void), struct err *err);
void team_close(struct team **team);

/* How many it has. */
int team_threads(const struct team *team);

/* How many cores this process may use. */
int team_cores(void);

/* One part of a job: 0..parts-1, by thread 0..threads-1 of the team. */
typedef void team_work(void *context, int thread, int part, int parts);

/* Call `work` once for each part, on at most `threads` threads. What the caller wrote before is seen by the calls, and
 * what they wrote by the caller after. `work` may not run the team again. */
void team_run(struct team *team, int threads, int parts, team_work *work, void *context);

/* From now on add to `sharing`, which stays until another is given, NULL for none, or the team is closed. Between jobs
 * only; false and err when there is no memory. */
bool team_count_sharing(struct team *team, struct sharing *sharing, struct err *err);

#endif
