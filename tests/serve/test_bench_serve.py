#!/usr/bin/python3
"""`lstmq bench serve` measures a queue: each part prints its rows, and a missed target is exit status 1 and a message
that names it. The normal run judges what does not depend on the machine's speed, $LSTMQ_FULL every target."""

import json
import os
import subprocess

from support.notebook import pairs_or_skip
from support.program import BINARY
from support.serving import FULL, ServeTest, main, sample_pairs, write

SECONDS = "1" if FULL else "0.1"
# Never missed, however busy the machine is.
ALWAYS = {"pipelined_busy": 0, "fair_busy": 0}


class BenchServe(ServeTest):
    def measure(self, part, *flags, seconds=SECONDS):
        """The figures of a part; its missed targets are judged in full only."""
        result = subprocess.run([BINARY, "bench", "serve", part, "--json", "--bench.seconds", seconds, *flags],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", timeout=600,
                                check=False)
        self.assertIn(result.returncode, (0, 1), result.stderr)
        if result.returncode == 1:
            self.assertRegex(result.stderr, r"^lstmq bench: serve: missed: ")
        figures = json.loads(result.stdout)["serve"]
        self.say(", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
        for key, wanted in ALWAYS.items():
            self.assertEqual(figures.get(key, wanted), wanted, result.stderr)
        if FULL:
            self.assertEqual(result.returncode, 0, result.stderr)
        return figures

    def counts(self, part, key):
        """A rate is not 0, at least not in a longer measurement: busy cores may do nothing in a tenth of a second."""
        if self.measure(part)[key] == 0:
            self.assertGreater(self.measure(part, seconds="5")[key], 0)

    def with_model(self, part):
        """In full with a model that takes as long as a real one."""
        if FULL:
            pairs, run = pairs_or_skip(self), os.path.join(self.folder, "run")
            subprocess.run([BINARY, "train", "--config", "notebook", "--data.pairs", pairs, "--run.dir", run,
                            "--train.epochs", "1", "--run.progress", "none"], check=True, timeout=1800,
                           stderr=subprocess.DEVNULL)
        else:
            pairs, run = write(os.path.join(self.folder, "pairs.tsv"), sample_pairs(1200)), self.model()
        return self.measure(part, "--model", run, "--data.pairs", pairs)

    def test_queue(self):
        self.counts("queue", "pipelined_per_s")

    def test_http(self):
        self.counts("http", "http_64_per_s")

    def test_start(self):
        self.assertGreater(self.measure("start")["start_ms"], 0)

    def test_rest(self):
        self.assertGreater(self.measure("rest")["burst_ms"], 0)

    def test_overload(self):
        self.assertGreater(self.measure("overload", seconds="12" if FULL else "0.3")["overload_1x_per_s"], 0)

    def test_model(self):
        self.assertGreater(self.with_model("model")["served_per_s"], 0)

    def test_fair(self):
        self.assertGreater(self.with_model("fair")["fair_ratio"], 0)

    def test_wrong_words_are_refused(self):
        for words, why in ((["serve", "quue"], 'serve has nothing called "quue"'), (["train", "queue"], "only serve"),
                           (["serve", "model"], "model needs --model RUN")):
            result = subprocess.run([BINARY, "bench", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                    encoding="utf-8", timeout=600, check=False)
            self.assertEqual(result.returncode, 2)
            self.assertIn(why, result.stderr)


if __name__ == "__main__":
    main()
