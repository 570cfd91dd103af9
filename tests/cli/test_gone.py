#!/usr/bin/env python3
"""A process whose terminal or reader is gone ends its work without an error."""

import os
import signal

from support.program import main
from support.training import LIMIT_S, TrainingTest, hashes, sample_pairs, write


class Gone(TrainingTest):
    options = {**TrainingTest.options, "train.epochs": 3, "train.reduce": "exact", "train.shards": 4,
               "train.bleu": "false", "run.progress": "plain"}

    def setUp(self):
        super().setUp()
        self.options = {**self.options, "data.pairs": write(self.path("pairs.tsv"), sample_pairs(400))}

    def coordinator(self, **options):
        """A coordinator and a worker that has joined it."""
        arguments = self.arguments("--log.format", "json", run__dir=self.path("run"), train__threads=None,
                                   cluster__bind="tcp://127.0.0.1:*", cluster__settle=0, **options)
        coordinator = self.start("coordinator", *arguments[1:])
        address = self.event(coordinator, "listening")["address"]
        worker = self.start("worker", "--connect", address, "--threads", "1", "--log.format", "json",
                            "--log.level", "debug")  # so that it writes a line for each step
        self.event(worker, "joined")
        return coordinator, worker

    def test_without_readers_a_cluster_trains_to_its_end(self):
        expected = self.path("expected")
        self.train(run__dir=expected)
        coordinator, worker = self.coordinator()
        for process in (coordinator, worker):
            process.stderr.close()
            process.stdout.close()
        for process in (worker, coordinator):
            self.assertEqual(process.wait(LIMIT_S), 0)
        self.assertEqual(hashes(self.path("run")), hashes(expected))

    def test_without_a_reader_training_ends_well(self):
        for progress in ("plain", "live"):
            reader, writer = os.pipe()
            os.close(reader)
            process = self.start(*self.arguments(run__dir=self.path(progress), run__progress=progress), stdout=writer)
            os.close(writer)
            self.assertEqual(process.wait(LIMIT_S), 0, progress)

    def test_without_readers_a_training_goes_to_its_end(self):
        expected = self.path("expected")
        self.train(run__dir=expected, train__epochs=20)
        process = self.start(*self.arguments("--log.format", "json", run__dir=self.path("run"), train__epochs=20,
                                             log__every=1))
        self.event(process, "steps_done")
        process.stderr.close()
        process.stdout.close()
        self.assertEqual(process.wait(LIMIT_S), 0)
        self.assertEqual(hashes(self.path("run")), hashes(expected))

    def test_without_a_reader_an_interrupted_coordinator_saves(self):
        coordinator, _ = self.coordinator(train__epochs=100000)
        self.event(coordinator, "epoch_done")
        coordinator.stderr.close()
        coordinator.send_signal(signal.SIGTERM)
        self.assertEqual(coordinator.wait(LIMIT_S), 130)
        self.assertTrue(hashes(self.path("run")))

    def test_a_closed_terminal_ends_workers_and_saves_the_run(self):
        coordinator, worker = self.coordinator(train__epochs=100000)
        self.event(coordinator, "epoch_done")
        worker.send_signal(signal.SIGHUP)
        self.assertEqual(self.event(worker, "leaving")["signal"], "SIGHUP")
        self.assertEqual(worker.wait(LIMIT_S), 0)
        self.event(coordinator, "worker_left")
        coordinator.send_signal(signal.SIGHUP)
        self.assertEqual(self.event(coordinator, "stopping")["signal"], "SIGHUP")
        self.assertEqual(coordinator.wait(LIMIT_S), 130)
        self.assertTrue(hashes(self.path("run")))

    def test_under_nohup_a_closed_terminal_changes_nothing(self):
        expected = self.path("expected")
        self.train(run__dir=expected, train__epochs=60)
        process = self.start(*self.arguments("--log.format", "json", run__dir=self.path("run"), train__epochs=60),
                             preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.event(process, "epoch_done")
        process.send_signal(signal.SIGHUP)
        self.event(process, "run_ended")
        self.assertEqual(process.wait(LIMIT_S), 0)
        self.assertEqual(hashes(self.path("run")), hashes(expected))


if __name__ == "__main__":
    main()
