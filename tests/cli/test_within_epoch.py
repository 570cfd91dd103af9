#!/usr/bin/env python3
"""The events and files of a run before its first epoch ends."""

import json
import re
import signal
import time

from support.program import main
from support.training import LIMIT_S, TrainingTest, metrics, read, sample_pairs, write


class WithinEpoch(TrainingTest):
    options = {**TrainingTest.options, "train.batch": 4, "train.epochs": 2, "train.checkpoint_every": 7,
               "train.bleu": "false", "log.steps": 1000}

    def setUp(self):
        super().setUp()
        self.options = {**self.options, "data.pairs": write(self.path("pairs.tsv"), sample_pairs(200))}

    def lines(self, **options):
        """The events of --log.every of a finished run."""
        found = [json.loads(line) for line in self.train("--log.format", "json", **options).splitlines()]
        return [event for event in found if event["event"] == "steps_done"]

    def test_every_so_many_steps_of_an_epoch_there_is_a_line(self):
        for mean in ("token", "batch"):
            folder = self.path(mean)
            found = self.lines(run__dir=folder, log__every=10, train__loss_mean=mean)
            steps = [json.loads(line) for line in read(folder, "steps.jsonl").splitlines()]
            per_epoch = len(steps) // 2
            self.assertEqual([(event["epoch"], event["epoch_step"], event["step"]) for event in found],
                             [(epoch, step, (epoch - 1) * per_epoch + step) for epoch in (1, 2)
                              for step in range(10, per_epoch + 1, 10)])
            for event in found:
                self.assertEqual(event["lr"], 0.001)
                self.assertGreater(event["tgt_tok_per_s"], 0)
                self.assertRegex(event["text"], r"\Aepoch [12], step \d+ of \d+: "
                                                r"loss \d\.\d{4}, \d+ tokens/s, learning rate 0.001\Z")
                if mean == "batch":
                    recent = [step["loss"] for step in steps[event["step"] - 10:event["step"]]]
                    self.assertAlmostEqual(event["loss"], sum(recent) / 10, 12)

    def test_the_steps_of_a_span_share_its_time(self):
        """Their speed is that of the epoch so far. It does not grow from step to step of a span."""
        pairs = write(self.path("equal.tsv"), "".join(f"a b{i}\tc d{i}\n" for i in range(200)))
        found = self.lines(run__dir=self.path("span"), data__pairs=pairs, data__valid_fraction=0, log__every=1,
                           train__span=8)
        self.assertEqual(len(found), 100)
        times = [event["epoch_step"] / event["tgt_tok_per_s"] for event in found]
        for event, before, after in zip(found[1:], times, times[1:]):
            if event["epoch_step"] > 1:
                self.assertGreater(after, before * (1 + 1e-9), event)

    def test_log_every_0_logs_no_steps_and_the_default_few(self):
        self.assertEqual(self.lines(run__dir=self.path("none"), log__every=0), [])
        self.assertEqual(self.lines(run__dir=self.path("usual")), [])

    def test_an_early_interruption_leaves_metrics_and_report(self):
        """The epoch cannot end before the signal: the log lines of its 3,600 steps fill the pipe."""
        folder, pairs = self.path("broken"), write(self.path("many.tsv"), sample_pairs(200) * 20)
        process = self.start(*self.arguments("--log.format", "json", run__dir=folder, data__pairs=pairs, log__every=1,
                                             train__batch=1))
        self.event(process, "steps_done")
        process.send_signal(signal.SIGTERM)
        self.event(process, "interrupted")
        self.assertEqual(process.wait(LIMIT_S), 130)
        self.assertEqual(metrics(folder), [])
        page = read(folder, "report.html").decode()
        self.assertIn('"status interrupted"', page)
        self.assertIn("No epoch has finished yet", page)

    def test_the_total_time_holds_the_epoch_that_was_interrupted(self):
        folder, pairs = self.path("long"), write(self.path("long.tsv"), sample_pairs(20000))
        process = self.start(*self.arguments("--log.format", "json", run__dir=folder, data__pairs=pairs, log__every=1,
                                             train__batch=1, model__hidden=256, run__progress="plain"))
        began = None
        for line in process.stderr:
            if json.loads(line)["event"] == "steps_done":
                began = began or time.monotonic()
                if time.monotonic() - began > 2:
                    break
        process.send_signal(signal.SIGTERM)
        printed = process.communicate(timeout=LIMIT_S)[0].decode()
        self.assertEqual(metrics(folder), [])
        self.assertRegex(printed, r"\n  total time +(?!0:00)\d")

    def test_without_any_step_an_interrupted_run_blocks_nothing(self):
        folder = self.path("empty")
        arguments = self.arguments("--log.format", "json", run__dir=folder, train__threads=None,
                                   cluster__bind="tcp://127.0.0.1:*")[1:]
        process = self.start("coordinator", *arguments)
        self.event(process, "listening")
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(LIMIT_S), 130)
        self.assertEqual(read(folder, "metrics.jsonl"), b"")
        page = read(folder, "report.html").decode()
        self.assertIn("No epoch has finished yet", page)
        self.assertIsNone(re.search(r"\b0 parameters", page))
        self.train(run__dir=folder)
        self.assertEqual(len(metrics(folder)), 2)


if __name__ == "__main__":
    main()
