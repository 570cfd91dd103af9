/* journal.h - what a coordinator must remember after it is killed.
 *
 *   RUN/journal   records of 48 bytes, little-endian, one after the other:
 *   byte  size  what
 *      0     4  kind: 1 run, 2 numbers, 3 result, 4 cut
 *      4     4  the lower half of XXH3 (64 bit) of bytes 8..47, seeded with the kind
 *      8     8  run: identity; numbers: generation; result, cut: step
 *     16     8  numbers: workers named so far; run: format, 2; else 0
 *     24    24  result: a step_result as PROTOCOL.md describes it; numbers: ranks of that generation (4 bytes at 40),
 *               0 = all were dismissed; run: its origin, a journal_origin (16 bytes); else 0
 *
 * The first record is the run's identity, drawn when the run began. With it a restarted coordinator recognises workers
 * that hold the run's state. The origin beside it shows, before the first checkpoint, whether the coordinator was
 * restarted with the same options and pairs. (A checkpoint stores both; RUN/options.yaml cannot tell, because users may
 * edit it.)
 *
 * Numbers are never reused. New numbers overwrite a last record of numbers, so a peer that repeats HELLO does not make
 * the file grow. Results are those of the steps since the newest checkpoint; a cut removes the results of its step and
 * later.
 *
 * Records are written, not synced: they survive the process. After a crash of the host the checkpoint counts, and
 * generations and workers get numbers well above the last known ones. The first two records, of the run and of numbers,
 * are written together. A file without them, or of another format, is not a journal. After them, the first damaged
 * record ends the file. Each checkpoint replaces the file by a new one with only the current records.
 *
 * A journal that cannot be written is logged once and training continues; only a restart after a kill then loses the
 * steps since the checkpoint. The coordinator owns it from journal_open to journal_close. Coordinator's thread. */
#ifndef LSTMQ_COORDINATOR_RUN_JOURNAL_H
#define LSTMQ_COORDINATOR_RUN_JOURNAL_H

#include "coordinator/run/ledger.h"
#include "proto/store/checkpoint.h"

/* The origin of a run (run_origin). */
struct journal_origin {
    uint64_t options; /* XXH3 (64 bit) of the options that affect its numbers */
    uint64_t pairs;   /* XXH3 of the dataset's fingerprint */
};

struct journal {
    char path[CHECKPOINT_PATH];
    int file; /* descriptor; -1 = none */
    uint64_t size;
    bool numbers_last; /* the last record is of numbers */
    bool complained;
    uint64_t run;                 /* identity, 1..2^63-1 */
    struct journal_origin origin; /* of that run */
    uint64_t generation, workers; /* the highest numbers in use */
    uint32_t ranks;               /* of that generation; 0 = its members were dismissed */
    bool resumed;                 /* it existed before this process */
};

/* Open the journal of run folder `dir`. With `resume`, read an existing one: identity, numbers, and results into
 * `ledger`, which begins at the checkpoint's step. Without `resume`, or if no journal has this `origin`, begin a new
 * one. */
bool journal_open(struct journal *journal, const char *dir, bool resume, const struct journal_origin *origin,
                  struct ledger *ledger, struct err *err);
void journal_close(struct journal *journal);

/* Remove the journal: the run is finished and every worker has left. */
void journal_remove(struct journal *journal);

/* Whether run folder `dir` has one: its last coordinator has not dismissed its workers. */
bool journal_is_there(const char *dir);

/* The origin in the journal of `dir`. False: no journal there can be read. */
bool journal_origin(const char *dir, struct journal_origin *origin);

/* Record journal->generation, workers and ranks, which the caller has just changed. */
void journal_numbers(struct journal *journal);
/* Record the results of `count` steps from `first_step` on. */
void journal_results(struct journal *journal, uint64_t first_step, const struct step_result *results, size_t count);
void journal_cut(struct journal *journal, uint64_t step);

/* A checkpoint of the ledger's first step is on disk: begin a new file with the ledger's results. */
void journal_restart(struct journal *journal, const struct ledger *ledger);

#endif
