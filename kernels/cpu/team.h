/* team.h - threads that wait to run one function together.
 *
 * A team is the thread that opened it, which is number 0, and others that live as long as the team. team_run calls a
 * function on some of them at once and returns when all calls have. In between the others wait: first in a short loop,
 * since the next run usually follows at once, then asleep, so that a pause costs other programs nothing. The loop is
 * longer while no other program wants the cores; a team with more threads than cores has none. Its threads block all
 * signals.
 *
 * One thread owns a team. Born in team_open, given back by team_close, which joins the threads. */
#ifndef LSTMQ_TEAM_H
#define LSTMQ_TEAM_H

#include "proto/base/err.h"

struct team;

/* A team of `threads` (1 or more), the caller among them. NULL and err when there is no memory or thread to be had. */
struct team *team_open(int threads, struct err *err);
void team_close(struct team **team);

/* How many it has. */
int team_threads(const struct team *team);

/* How many cores this process may use. */
int team_cores(void);

/* work(context, thread, threads) for each thread 0..threads-1, 0 in the caller; threads is 1 to the team's. Thread n is
 * the same thread of the system in every run. What the caller wrote before is seen by the calls, and what they wrote by
 * the caller after. `work` may not run the team again. */
void team_run(struct team *team, int threads, void (*work)(void *context, int thread, int threads), void *context);

#endif
