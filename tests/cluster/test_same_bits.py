#!/usr/bin/env python3
"""The weights do not depend on the number of workers, threads and processes, nor on a killed worker. Every row of the
data is applied once an epoch, and no worker computes more than its share of a step."""

import math
import signal

from support.cluster import ClusterTest, main

EPOCHS = 4
SHARDS = 4


class SameBits(ClusterTest):
    def check_shares(self, cluster, steps):
        """Compared with the steps that each worker logs: all rows of each step, once, and no worker above its share."""
        began, size, rows, shards = {}, {}, {}, {}
        for worker in cluster.workers:
            generation = 0
            for event in worker.happened(("generation_entered", "step_computed")):
                if event["event"] == "generation_entered":
                    generation = event["generation"]
                    size[generation], began[generation] = event["workers"], event["step"]
                    continue
                key = (generation, event["step"])
                rows[key] = rows.get(key, 0) + event["rows"]
                shards.setdefault(key, []).append(event["shards"])
        for step in range(steps):
            # Of a repeated step the last attempt counts: a later generation started before it.
            counted = max(
                generation for generation in began if began[generation] <= step and (generation, step) in rows)
            of_epoch = step % self.epoch_steps
            batch = 16 if of_epoch < self.epoch_steps - 1 else self.rows - 16 * (self.epoch_steps - 1)
            self.assertEqual(rows[counted, step], batch, f"step {step}\n{cluster.log()}")
            self.assertEqual(sum(shards[counted, step]), SHARDS)
        for (generation, step), counts in shards.items():
            self.assertLessEqual(max(counts), math.ceil(SHARDS / size[generation]), f"step {step}")

    rows, epoch_steps = 540, 34  # of 600 pairs a tenth is held out

    def test_workers_and_threads_do_not_change_the_weights(self):
        wanted = self.wanted_hashes(train__epochs=EPOCHS)
        for workers, threads in ((1, (2,)), (2, (1, 2)), (3, (1, 2, 1)), (4, (1, 1, 2, 1))):
            with self.subTest(workers=workers, threads=threads):
                cluster = self.cluster(train__epochs=EPOCHS, train__min_workers=workers).start().listening()
                for count in threads:
                    cluster.worker("--log.level", "debug", threads=count)
                cluster.finished()
                self.check_shares(cluster, EPOCHS * self.epoch_steps)
                self.assertEqual(cluster.hashes(), wanted)
                self.assertEqual(len(cluster.coordinator.happened("generation_started")), 1, cluster.log())

    def test_workers_in_one_process_give_the_same_weights(self):
        for workers in (2, 3):
            self.assertEqual(self.train(train__epochs=EPOCHS, train__workers=workers, train__threads=1),
                             self.wanted_hashes(train__epochs=EPOCHS))

    def test_a_killed_worker_changes_no_bit(self):
        cluster = self.cluster(train__epochs=EPOCHS, train__min_workers=2).start().listening()
        victim = cluster.worker("--log.level", "debug", fault="step:40")
        for _ in range(2):
            cluster.worker("--log.level", "debug")
        self.assertEqual(victim.end(), -signal.SIGKILL)
        cluster.worker("--log.level", "debug")
        cluster.finished()
        self.check_shares(cluster, EPOCHS * self.epoch_steps)
        self.assertEqual(cluster.hashes(), self.wanted_hashes(train__epochs=EPOCHS))


if __name__ == "__main__":
    main()
