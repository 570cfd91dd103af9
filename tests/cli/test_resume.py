#!/usr/bin/env python3
"""A run that was broken off, in whatever way, goes on to the bits of one that was left alone."""

import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import time

from program import main, run
from training import LIMIT_S, TrainingTest, hashes, metrics, new_folder, read, sample_pairs, write

KILLS = 10
PAIRS = sample_pairs(400)


class Resume(TrainingTest):
    unbroken_once = {}  # folder and seconds of the run that nobody disturbed; all tests but one compare with it
    options = {**TrainingTest.options, "model.embed": 48, "model.hidden": 96, "train.epochs": 4, "train.span": 2,
               "train.checkpoint_every": 6, "log.steps": 1000}

    def setUp(self):
        super().setUp()
        self.options = {**self.options, "data.pairs": write(self.path("pairs.tsv"), PAIRS)}

    @classmethod
    def tearDownClass(cls):
        for folder, _ in cls.unbroken_once.values():
            shutil.rmtree(folder)

    def unbroken(self):
        """The run of these options, left alone: its folder, and the seconds it took."""
        options = repr({**self.options, "data.pairs": None})
        if options not in self.unbroken_once:
            folder, began = new_folder(), time.monotonic()
            self.train(run__dir=folder)
            self.unbroken_once[options] = folder, time.monotonic() - began
        return self.unbroken_once[options]

    def assertSameRun(self, expected, found):
        self.assertEqual(hashes(found), hashes(expected))
        self.assertEqual(hashes(found, "best"), hashes(expected, "best"))
        self.assertEqual(metrics(found), metrics(expected))
        self.assertEqual(read(found, "steps.jsonl"), read(expected, "steps.jsonl"))
        for folder in (expected, found):
            checkpoints = [name for name in os.listdir(folder) if "step-" in name]
            self.assertEqual([name for name in checkpoints if name.endswith((".partial", ".replaced"))], [])

    def test_a_run_killed_at_any_moment_ends_with_the_same_bits(self):
        expected, duration = self.unbroken()
        draw = random.Random(20)
        broken, killed, starts = self.path("broken"), 0, set()
        while killed < KILLS or (len(starts) < 2 and killed < 10 * KILLS):
            process = self.start(*self.arguments("--resume", run__dir=broken))
            # A moment is drawn, not waited for: no event tells it. Early ones hit the start, late ones the saves.
            try:
                process.wait(draw.uniform(0.02, 0.5) * duration)
            except subprocess.TimeoutExpired:
                process.kill()
            _, said = process.communicate(timeout=LIMIT_S)
            starts.update(re.findall(rb"from step (\d+)", said))
            if process.returncode == 0:
                self.assertSameRun(expected, broken)
                shutil.rmtree(broken)
                continue
            self.assertEqual(process.returncode, -signal.SIGKILL, said)
            killed += 1
        self.train("--resume", run__dir=broken)
        self.assertSameRun(expected, broken)
        self.assertGreaterEqual(len(starts), 2, "no kill came between checkpoints")

    def test_a_signal_saves_and_says_how_to_go_on(self):
        self.options = {**self.options, "train.epochs": 12, "train.checkpoint_every": 0}
        expected, _ = self.unbroken()
        for number in (signal.SIGINT, signal.SIGTERM):
            folder = self.path(f"broken by {number.name}")
            process = self.start(*self.arguments(run__dir=folder, log__level="debug"))
            said = b""
            while b"threads" not in said:  # the worker has come
                line = process.stderr.readline()
                self.assertNotEqual(line, b"", said)
                said += line
            process.send_signal(number)
            rest = process.communicate(timeout=LIMIT_S)[1].decode()
            self.assertEqual(process.returncode, 130, rest)
            self.assertIn("writing a checkpoint; once more ends at once\n", rest)
            last = rest.splitlines()[-1]
            self.assertRegex(last, r"\Alstmq train: interrupted; continue with: lstmq train .* --resume\Z")
            again = run(*shlex.split(last.split("continue with: ")[1])[1:])
            self.assertEqual(again.returncode, 0, again.stderr)
            self.assertRegex(again.stderr, r"going on from step \d+, in epoch \d+ of 12\n|holds no checkpoint")
            self.assertSameRun(expected, folder)

    def test_a_finished_run_has_nothing_left_to_do_until_it_gets_more_epochs(self):
        (expected, _), folder = self.unbroken(), self.path("longer")
        self.train(run__dir=folder, train__epochs=2)
        before = hashes(folder)
        self.assertIn("is finished after 2 epochs: nothing is left to do (more with --train.epochs)",
                      self.train("--resume", run__dir=folder, train__epochs=2))
        self.assertEqual(hashes(folder), before)
        self.assertIn("going on from step", self.train("--resume", run__dir=folder))
        self.assertSameRun(expected, folder)

    def test_epochs_speed_and_time_are_those_of_all_parts(self):
        folder, pairs = self.path("parts"), write(self.path("parts.tsv"), sample_pairs(60))
        self.train(run__dir=folder, data__pairs=pairs, train__epochs=2)
        records = [json.loads(line) for line in read(folder, "metrics.jsonl").splitlines()]
        lines = [json.dumps({**record, "seconds": 100, "tgt_tok_per_s": 1}) for record in records]
        write(os.path.join(folder, "metrics.jsonl"), lines)
        result = run(*self.arguments("--resume", run__dir=folder, data__pairs=pairs, train__epochs=3,
                                     run__progress="auto"))
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertRegex(result.stdout, r"total time +3:2\d\n")
        self.assertRegex(result.stdout, r"tokens/s +[12]\n")
        self.assertIn("Command: lstmq train --", re.sub("<[^>]*>", "", read(folder, "report.html").decode()))
        page = run("inspect", folder).stdout
        self.assertRegex(page, r"\n  epochs done +\d of 3\n")
        found = json.loads(run("inspect", folder, "--json").stdout)
        self.assertEqual(found["run"]["checkpoints"][0]["epochs_done"], 3)

    def test_without_a_checkpoint_it_begins_at_step_0_and_says_so(self):
        (expected, _), folder = self.unbroken(), self.path("new")
        self.assertIn(f"{folder} holds no checkpoint: training begins at step 0\n",
                      self.train("--resume", run__dir=folder))
        self.assertSameRun(expected, folder)

    def test_a_damaged_checkpoint_is_passed_over_for_an_older_one(self):
        (expected, _), folder = self.unbroken(), self.path("damaged")
        self.train(run__dir=folder, train__epochs=3)
        path = os.path.join(os.path.realpath(os.path.join(folder, "latest")), "optimizer.safetensors")
        damaged = bytearray(read(path))
        damaged[-1] ^= 1
        write(path, bytes(damaged))
        said = self.train("--resume", run__dir=folder)
        self.assertIn(f"checkpoint passed over: {path}: ", said)
        self.assertSameRun(expected, folder)

    def test_more_threads_give_the_same_bits(self):
        (expected, _), folder = self.unbroken(), self.path("two")
        self.train(run__dir=folder, train__threads=2)
        self.assertSameRun(expected, folder)


class Refused(TrainingTest):
    def setUp(self):
        super().setUp()
        self.run_dir = self.path("run")
        self.options = {**self.options, "data.pairs": write(self.path("pairs.tsv"), PAIRS), "run.dir": self.run_dir}
        self.train()
        self.before = hashes(self.run_dir)

    def assertRefused(self, status, pattern, *flags, **options):
        self.assertFails(status, pattern, *self.arguments(*flags, **options))
        self.assertEqual(hashes(self.run_dir), self.before)

    def test_a_folder_with_a_run_is_not_trained_over(self):
        self.assertRefused(2, "holds a run already: add --resume .*--run.overwrite")
        self.assertRefused(2, "run.resume and run.overwrite contradict each other", "--resume", "--run.overwrite")

    def test_a_changed_option_that_shapes_the_numbers_is_named(self):
        for key, value in (("train.batch", 8), ("train.seed", 7), ("train.lr", 0.5), ("train.optimizer", "sgd"),
                           ("train.shards", 2), ("train.reduce", "exact"), ("train.clip", 0.25), ("model.hidden", 13),
                           ("model.cell", "rnn"), ("data.take", 100), ("data.normalise", "none"),
                           ("data.valid_fraction", 0.5), ("train.valid_decode", "free"), ("train.keep_best", "bleu")):
            with self.subTest(key):
                self.assertRefused(2, rf'{key} is "{value}" but the run in {self.run_dir} was begun with "',
                                   "--resume", train__epochs=3, **{key.replace(".", "__"): value})

    def test_other_pairs_are_named(self):
        other = write(self.path("other.tsv"), PAIRS[:-1] + ["a b .\tc d ."])
        self.assertRefused(3, f"the pairs are not those that {self.run_dir} was begun with", "--resume",
                           data__pairs=other, train__epochs=3)

    def test_the_same_pairs_elsewhere_are_the_same(self):
        os.rename(self.path("pairs.tsv"), self.path("moved.tsv"))
        self.train("--resume", data__pairs=self.path("moved.tsv"), train__epochs=3)

    def test_a_second_training_in_the_same_folder_is_refused(self):
        process = self.start(*self.arguments("--resume", train__epochs=100000, log__level="debug"))
        while b"threads" not in process.stderr.readline():
            self.assertIsNone(process.poll())
        self.assertFails(1, f"process {process.pid} is training there", *self.arguments("--resume"))

    def test_overwriting_begins_anew(self):
        write(self.path("run", "notes.txt"), "mine")
        self.train("--run.overwrite", train__epochs=1)
        self.assertEqual([record["epoch"] for record in metrics(self.run_dir)], [1])
        self.assertEqual(read(self.run_dir, "notes.txt"), b"mine")


class Reduce(TrainingTest):
    """Spans are how work travels; shards are part of what a step is."""

    def setUp(self):
        super().setUp()
        self.options = {**self.options, "data.pairs": write(self.path("pairs.tsv"), PAIRS[:200]), "log.steps": 1000}

    def outcome(self, **options):
        folder = self.path(repr(sorted(options.items())).replace("/", ""))
        self.train(run__dir=folder, **options)
        return hashes(folder), metrics(folder), read(folder, "steps.jsonl")

    def test_spans_threads_and_checkpoints_leave_no_trace(self):
        for shards, reduce in ((1, "fp32"), (4, "fp32"), (1, "exact"), (4, "exact")):
            expected = self.outcome(train__shards=shards, train__reduce=reduce)
            for span, threads, every in ((1, 1, 0), (3, 2, 5), (64, 2, 0)):
                found = self.outcome(train__shards=shards, train__reduce=reduce, train__span=span,
                                     train__threads=threads, train__checkpoint_every=every)
                self.assertEqual(found, expected, (shards, reduce, span))

    def test_shards_change_no_more_than_rounding(self):
        """Each shard is rounded by itself before the sum: in float32, or to the fixed scale of exact sums."""
        runs = [self.outcome(train__shards=shards, train__reduce=reduce)[1]
                for shards in (1, 4, 32) for reduce in ("fp32", "exact")]
        for records in runs[1:]:
            for record, expected in zip(records, runs[0], strict=True):
                self.assertEqual(record["tgt_tokens"], expected["tgt_tokens"])
                self.assertAlmostEqual(record["train_loss"] / expected["train_loss"], 1, 5)
                self.assertAlmostEqual(record["val_tf_loss"] / expected["val_tf_loss"], 1, 5)


if __name__ == "__main__":
    main()
