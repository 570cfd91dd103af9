#!/usr/bin/env python3
"""A coordinator is killed at each write of its journal, in each phase of a run, and at random. Started again with
--resume, it goes on from the state of its workers: no step that a worker holds is lost, and the weights are the
same."""

import os
import random
import re
import signal

from support.cluster import FULL, ClusterTest, main, read, sample_pairs, write

EPOCHS = 4
LONGEST = 120  # epochs, where it is killed after two of its workers
LONG = (
    40  # epochs of 34 steps, where it is killed at any of the first 200: long enough for a busy machine to come to that
)
MANY = 2400  # pairs, where it is killed before the first epoch is over
WORKERS = 3
RECORD = 48  # bytes of a journal's
PASSED = 50 if FULL else 6  # points in the journal that a run comes by, at least


class CoordinatorKilled(ClusterTest):
    def begin(self, fault=None, epochs=EPOCHS):
        # The run waits for all of them: a late one would find no coordinator any more.
        cluster = self.cluster(train__epochs=epochs, train__min_workers=WORKERS).start(fault=fault).listening()
        for _ in range(WORKERS):
            cluster.worker("--log.level", "debug")
        return cluster

    def go_on(self, cluster):
        """Start it again and wait for the end: the same weights, and no step that a worker held is repeated."""
        computed = max([step for worker in cluster.workers for step in worker.steps()], default=0)
        cluster.start("--resume").finished()
        self.assertEqual(
            cluster.hashes(), self.wanted_hashes(train__epochs=cluster.options["train.epochs"]), cluster.log())
        for begun in cluster.coordinator.happened("generation_started")[:1]:
            held = [event["step"] or 0 for event in cluster.coordinator.happened("worker_joined")
                    if event["line_number"] < begun["line_number"]]
            self.assertEqual(begun["step"], max(held, default=0), cluster.log())
            self.assertGreaterEqual(begun["step"], computed, cluster.log())

    def killed(self, fault):
        """Kill it at that point. Returns whether it reached the point."""
        cluster = self.begin(fault)
        passed = cluster.coordinator.end() == -signal.SIGKILL
        if passed:
            self.go_on(cluster)
        cluster.close()
        return passed

    def test_killed_at_each_write_of_its_journal(self):
        points = range(1, 200) if FULL else (1, 2, 3, 8, 12, 15, 24, 33)
        done = 0
        for number in points:
            with self.subTest(write=number):
                if not self.killed(f"journal:{number}"):
                    break
                done += 1
        self.say(f"killed at {done} points in its journal")
        self.assertGreaterEqual(done, PASSED)

    def test_killed_while_it_validates_saves_and_dismisses(self):
        for fault in ("validate:2", "save:1", "commit:2", "save:4", "dismiss"):
            with self.subTest(fault=fault):
                self.assertTrue(self.killed(fault))

    def test_workers_outlive_a_crashed_host_that_lost_generations(self):
        cluster = self.cluster(train__epochs=LONGEST, cluster__settle=0).start().listening()
        workers = [cluster.worker() for _ in range(WORKERS)]
        cluster.generation(WORKERS)
        cluster.active()
        before = read(cluster.run, "journal")
        for left in (2, 1):  # two more generations
            since = cluster.coordinator.mark()
            workers[left].kill()
            cluster.generation(left, since)
        cluster.active(since)
        cluster.coordinator.kill()
        self.assertEqual(cluster.coordinator.end(), -signal.SIGKILL, "the run was over before\n" + cluster.log())
        write(os.path.join(cluster.run, "journal"), before)
        cluster.start("--resume").finished()
        self.assertEqual(cluster.hashes(), self.wanted_hashes(train__epochs=LONGEST), cluster.log())

    def early(self, **options):
        """Two active workers in a run long before its first checkpoint, and its journal before they joined."""
        self.pairs_count = MANY
        write(self.pairs, sample_pairs(MANY))
        cluster = self.cluster(train__batch=1, train__epochs=1, train__min_workers=2, **options).start().listening()
        self.assertIsNotNone(cluster.status())
        head = read(cluster.run, "journal")
        self.assertEqual(len(head), 2 * RECORD)
        for _ in range(2):
            cluster.worker("--log.level", "debug")
        return cluster, head

    def kill_early(self, cluster):
        for worker in cluster.workers:
            worker.at_step(20)
        cluster.coordinator.kill()
        self.assertEqual(cluster.coordinator.end(), -signal.SIGKILL, "the run was over before\n" + cluster.log())
        self.assertFalse(os.path.lexists(os.path.join(cluster.run, "latest")), "a checkpoint was before it")

    def test_workers_outlive_a_host_that_crashed_at_the_start(self):
        cluster, head = self.early()
        self.kill_early(cluster)
        write(os.path.join(cluster.run, "journal"), head)
        cluster.start("--resume").finished()
        begun = cluster.coordinator.happened("generation_started", workers=2)[0]
        self.assertGreaterEqual(begun["step"], 20, cluster.log())
        self.assertEqual(cluster.hashes(), self.wanted_hashes(train__batch=1, train__epochs=1), cluster.log())

    def test_an_early_resume_needs_the_same_options_and_pairs(self):
        cluster, _ = self.early()
        self.kill_early(cluster)
        other = write(os.path.join(self.folder, "other.tsv"), sample_pairs(self.pairs_count - 1))
        options = ("--train.lr", "0.5", "--train.seed", "99")
        for flags, status, why in (
            (options, 2, rf'train.lr is "0.5" but the run in {cluster.run} was begun with "0.001"'),
            (("--data.pairs", other), 3, "the pairs are not those")):
            cluster.start("--resume", *flags)
            self.assertEqual(cluster.coordinator.end(), status, cluster.log())
            cluster.coordinator.event("failed", reason=re.compile(why))
        os.remove(os.path.join(cluster.run, "options.yaml"))  # the journal knows that they differ, not in what
        cluster.start("--resume", *options)
        self.assertEqual(cluster.coordinator.end(), 2, cluster.log())
        cluster.coordinator.event("failed", reason=re.compile("the options are not those"))
        cluster.start("--resume", "--cluster.join_delay", "10").finished()
        self.assertEqual(cluster.hashes(), self.wanted_hashes(train__batch=1, train__epochs=1), cluster.log())

    def test_its_folder_is_enough_to_start_it_again(self):
        """Before its first checkpoint, and after it with more epochs."""
        cluster, _ = self.early()
        self.kill_early(cluster)
        cluster.start_again().finished()
        self.assertGreaterEqual(
            cluster.coordinator.happened("generation_started", workers=2)[0]["step"], 20, cluster.log())
        self.assertEqual(cluster.hashes(), self.wanted_hashes(train__batch=1, train__epochs=1), cluster.log())
        cluster.workers.clear()
        cluster.start_again("--epochs", "2").listening()
        for _ in range(2):
            cluster.worker()
        cluster.finished()
        self.assertEqual(cluster.hashes(), self.wanted_hashes(train__batch=1, train__epochs=2), cluster.log())

    def test_a_journal_damaged_at_its_start_does_not_count(self):
        cluster = self.begin(epochs=LONG)
        cluster.workers[0].at_step(50)
        cluster.coordinator.kill()
        self.assertEqual(cluster.coordinator.end(), -signal.SIGKILL, "the run was over before\n" + cluster.log())
        journal = os.path.join(cluster.run, "journal")
        write(journal, read(journal)[:RECORD])
        cluster.start("--resume").finished()
        self.assertEqual(cluster.hashes(), self.wanted_hashes(train__epochs=LONG), cluster.log())

    def test_killed_at_random(self):
        drawn = random.Random(7)
        for number in range(100 if FULL else 10):
            step = drawn.randrange(1, 201)
            with self.subTest(number=number, step=step):
                cluster = self.begin(epochs=LONG)
                drawn.choice(cluster.workers).at_step(step)
                cluster.coordinator.kill()
                self.assertEqual(
                    cluster.coordinator.end(), -signal.SIGKILL, "the run was over before\n" + cluster.log())
                self.go_on(cluster)
                cluster.close()


if __name__ == "__main__":
    main()
