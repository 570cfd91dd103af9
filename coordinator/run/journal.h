/* journal.h - what a coordinator must not forget when it is killed.
 *
 *   RUN/journal   records of 48 bytes, little-endian, one after the other:
 *
 *   byte  size  what
 *      0     4  kind: 1 run, 2 numbers, 3 result, 4 cut
 *      4     4  the lower half of XXH3 (64 bit) of bytes 8..47, seeded with the kind
 *      8     8  run: identity; numbers: generation; result, cut: step
 *     16     8  numbers: workers named so far; run: format, 2; else 0
 *     24    24  result: a step_result as PROTOCOL.md describes it; numbers: ranks of that generation (4 bytes at 40),
 *               0 = all were dismissed; run: what it was begun with, a journal_origin (16 bytes); else 0
 *
 * The first record is the run's identity, drawn when the run began; by it a coordinator knows workers that hold its
 * state. Before the first checkpoint, which stores options and fingerprint, the origin beside it tells whether a
 * coordinator that is started again was given the same; RUN/options.yaml, which users may edit, does not. Numbers
 * are given once and never again; where they change while they are the file's last record, they are written over it,
 * so that a peer who says HELLO without end does not make the file grow without end. Results are those of the steps
 * since the newest checkpoint; a cut takes back those of its step and later. Records are written, not fsynced: they
 * outlive the process, and after a crash of the host the checkpoint counts; generations and workers are numbered far
 * enough behind the last that is known. The first record, of the run, and the second, of numbers, are written
 * together: a file without them, or of another format, is no journal of this coordinator's. After them a record that
 * is not whole ends the file. At each checkpoint a new file with only what still counts takes the place of the old
 * one. A journal that cannot be written is logged once; training goes on, and what is lost is only that a killed
 * coordinator could go on from memory. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_RUN_JOURNAL_H
#define LSTMQ_COORDINATOR_RUN_JOURNAL_H

#include "coordinator/run/ledger.h"
#include "proto/store/checkpoint.h"

/* What a run was begun with (run_origin). */
struct journal_origin {
    uint64_t options; /* XXH3 (64 bit) of the options that shape its numbers */
    uint64_t pairs;   /* XXH3 of the dataset's fingerprint */
};

struct journal {
    char path[CHECKPOINT_PATH];
    int file; /* descriptor; -1 = none */
    uint64_t size;
    bool numbers_last; /* the last record is one of numbers */
    bool complained;
    uint64_t run;                 /* identity, 1..2^63-1 */
    struct journal_origin origin; /* of that run */
    uint64_t generation, workers; /* the highest numbers given */
    uint32_t ranks;               /* of that generation; 0 = its members were dismissed */
    bool resumed;                 /* it was there before this process */
};

/* Open the journal of run folder `dir`. With `resume` what is there is read: identity, numbers, and results into
 * `ledger`, which has begun at the step of the checkpoint; else, or where there is none of a run of this `origin`, a new
 * one begins. */
bool journal_open(struct journal *journal, const char *dir, bool resume, const struct journal_origin *origin,
                  struct ledger *ledger, struct err *err);
void journal_close(struct journal *journal);

/* Every worker has left a run that is finished: nobody will come back, and nothing is to be remembered. */
void journal_remove(struct journal *journal);

/* Whether run folder `dir` has one: its last coordinator has not seen its workers off. */
bool journal_is_there(const char *dir);

/* What the run was begun with whose journal lies in `dir`. False where there is none that can be read. */
bool journal_origin(const char *dir, struct journal_origin *origin);

/* Write down journal->generation, workers and ranks, which the caller has just changed. */
void journal_numbers(struct journal *journal);
/* The results of `count` steps from `first_step` on. */
void journal_results(struct journal *journal, uint64_t first_step, const struct step_result *results, size_t count);
void journal_cut(struct journal *journal, uint64_t step);

/* A checkpoint of the ledger's first step is on disk: begin a new file with what the ledger has. */
void journal_restart(struct journal *journal, const struct ledger *ledger);

#endif
