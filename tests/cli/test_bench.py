#!/usr/bin/env python3
"""bench prints a table that fits a terminal, or one JSON object whose figures agree with each other."""

import json
import os
import subprocess
import tempfile
import unittest

from support.program import LIMIT_S, SOURCE, main, run

RECIPE = """
data: {vocab_limit: 60, length: 14, target_start: true, min_tokens: 1, max_tokens: 10}
model: {embed: 8, hidden: 16, encoder_padding: true}
train: {epochs: 1, batch: 8}
"""


class Bench(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="lstmq-bench-")
        self.addCleanup(self.folder.cleanup)
        self.recipe = os.path.join(self.folder.name, "small.yaml")
        with open(self.recipe, "w", encoding="utf-8") as file:
            file.write(RECIPE)

    def bench(self, *arguments):
        result = run("bench", *arguments, "--config", self.recipe, "--bench.seconds", "0.02", "--threads", "2")
        self.assertEqual((result.returncode, result.stderr), (0, ""), arguments)
        return result.stdout

    def test_tables_fit_80_columns(self):
        for line in self.bench().splitlines():
            self.assertLessEqual(len(line), 80, line)
            self.assertEqual(line, line.rstrip())

    def test_without_arguments_everything_is_measured(self):
        everything = json.loads(self.bench("--json"))
        for section in ("kernels", "train", "translate", "cluster"):
            alone = json.loads(self.bench(section, "--json"))
            self.assertIn(section, everything)
            self.assertEqual({"kernels", "train", "translate", "cluster"} & set(alone), {section})

    def test_the_figures_of_a_step_agree(self):
        train = json.loads(self.bench("train", "--json"))["train"]
        v, e, h, g = 60, 8, 16, 64
        flops = 6 * (v * h * train["n"] + g * h * (train["m"] + train["n"]) + g * e * (train["u"] + train["v"]))
        self.assertAlmostEqual(train["gflop"] * 1e9 / flops, 1, 4)
        self.assertAlmostEqual(train["gflop"] / train["ms"] * 1e3 / train["gflop_per_s"], 1, 4)
        self.assertAlmostEqual(train["onednn_ms"] / train["ms"] / train["roofline_fraction"], 1, 4)
        self.assertAlmostEqual(train["tgt_tok_per_s"] * train["ms"] / 1e3 / train["n"], 1, 4)
        # The encoder runs 14 steps for each of the 8 rows, padding included; the first multiplies no state.
        self.assertEqual(train["m"], 8 * 13)
        phases = train["phases"]
        for alone in ("gemm_ms", "onednn_ms"):
            self.assertAlmostEqual(sum(phase.get(alone, 0) for phase in phases.values()) / train[alone], 1, 4)
        self.assertTrue(all(phase["ms"] > 0 for phase in phases.values()), phases)

    def test_the_figures_of_a_cluster_follow_their_formulas(self):
        cluster = json.loads(self.bench("cluster", "--json"))["cluster"]
        for workers, volume, total in zip(cluster["workers"], cluster["volume_mb"], cluster["sum_ms"]):
            self.assertAlmostEqual(2 * (workers - 1) / workers * 4 * cluster["parameters"] / 1e6 / volume, 1, 3)
            expected = volume / cluster["ring_gb_per_s"] + 2 * (workers - 1) * cluster["hop_us"] / 1e3
            self.assertAlmostEqual(expected / total, 1, 3)
        self.assertEqual(cluster["span_kb"], sorted(cluster["span_kb"]))

    def test_the_prediction_for_more_cores_follows_its_formula(self):
        scaling = json.loads(self.bench("train", "--json"))["train"]["scaling"]
        phases = scaling["phases"].values()
        self.assertEqual(scaling["threads"], [1, 2, 8, 32])
        for at, threads in enumerate(scaling["threads"]):
            wanted = scaling["rest_ms"]
            for phase in phases:
                serial = min(phase["serial_ms"], phase["ms"][0])
                ms = serial + (phase["ms"][0] - serial) * phase["share"][at]
                ms += phase["jobs"][at] * (threads - 1) * scaling["call_ms"]
                self.assertAlmostEqual(phase["ms"][at], ms, 4)
                self.assertGreaterEqual(phase["share"][at] * threads, 0.99)
                wanted += phase["ms"][at]
            self.assertAlmostEqual(scaling["ms"][at], wanted, 4)
        self.assertTrue(all(phase["share"][0] == 1 and phase["jobs"][0] == 0 for phase in phases), scaling)
        self.assertGreater(scaling["measured_two_ms"], 0)

    def test_kernels_are_held_against_onednn(self):
        for product in json.loads(self.bench("kernels", "--json"))["kernels"]["products"]:
            self.assertGreater(product["onednn_gflop_per_s"], 0, product)

    def test_other_batch_sizes_can_be_chosen(self):
        translate = json.loads(self.bench("translate", "--translate.batch", "16", "--json"))["translate"]
        self.assertEqual([size["batch"] for size in translate["batches"]], [1, 16])
        alone = translate["one_sentence"]
        parts = alone["step_bytes"] + alone["projection_bytes"] + alone["encoder_bytes"]
        self.assertAlmostEqual(alone["bytes_per_token"], parts, delta=2)
        self.assertAlmostEqual(alone["share"], alone["gb_per_s"] / alone["sweep_gb_per_s"], delta=1e-2 * alone["share"])

    def test_a_run_is_measured_on_given_pairs(self):
        pairs, folder = os.path.join(SOURCE, "tests/parity/tiny.tsv"), os.path.join(self.folder.name, "run")
        trained = run("train", "--config", self.recipe, "--data.pairs", pairs, "--run.dir", folder)
        self.assertEqual(trained.returncode, 0, trained.stderr)
        translate = json.loads(self.bench("translate", "--model", folder, "--data.pairs", pairs, "--json"))["translate"]
        with open(pairs, encoding="utf-8") as file:
            self.assertEqual(translate["pairs"], len(file.read().strip().split("\n")))
        for size in translate["batches"]:
            self.assertGreater(size["tgt_tok_per_s"], size["sentences_per_s"])

    def test_what_cannot_be_measured_is_refused(self):
        for arguments, message in (
            (["trian"],
             'lstmq bench: nothing called "trian" to measure; give kernels, train, translate, cluster or serve\n'),
            (["--data.pairs", "x.tsv"],
             "lstmq bench: pairs are measured with a model's vocabularies: give --model RUN too\n"),
        ):
            result = run("bench", *arguments)
            self.assertEqual((result.returncode, result.stdout, result.stderr), (2, "", message))


class AgainstPyTorch(unittest.TestCase):
    def script(self, *arguments):
        return subprocess.run([os.path.join(SOURCE, "scripts/bench_pytorch.sh"), *arguments], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, encoding="utf-8", check=False, timeout=LIMIT_S,
                              env={**os.environ, "PYTHON_TORCH": "/nowhere/python"})

    def test_it_explains_itself(self):
        help_text = self.script("--help")
        self.assertEqual((help_text.returncode, help_text.stderr), (0, ""))
        self.assertIn("PYTHON_TORCH", help_text.stdout)

    def test_bad_arguments_are_refused(self):
        self.assertEqual(self.script("--frobnicate").returncode, 2)
        for arguments in (
            ["--rounds", "0"], ["--threads", "two"], ["--target", "fast"], ["--target", "fp16=2"], ["--epochs"]):
            result = self.script(*arguments)
            self.assertEqual((result.returncode, len(result.stderr.splitlines())), (1, 1), arguments)

    def table(self, *arguments):
        """bench_table.py on two rounds in which PyTorch is better compiled, and decodes best 64 at a time."""
        with tempfile.TemporaryDirectory(prefix="lstmq-bench-") as folder:
            rounds, page = os.path.join(folder, "rounds"), os.path.join(folder, "page.md")
            with open(rounds, "w", encoding="utf-8") as file:
                for values in (
                    "fp32 eager 80", "fp32 compiled 100", "fp32 lstmq 200", "decode-64 eager 900",
                    "decode-64 lstmq 1000", "decode-256 eager 700", "decode-256 lstmq 1800", "memory-train lstmq 251"):
                    file.write(f"{values}\n" * 2)
            with open(page, "w", encoding="utf-8") as file:
                file.write("before\n<!-- bench -->\nold\n<!-- /bench -->\nafter\n")
            result = subprocess.run(
                [os.path.join(SOURCE, "scripts/bench_table.py"), rounds, *arguments, "--write-page", page],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", check=False, timeout=LIMIT_S)
            with open(page, encoding="utf-8") as file:
                return result, file.read()

    def test_the_table_has_pytorchs_best_and_enters_the_page(self):
        result, page = self.table("--target", "fp32=1.9", "--target", "decode=2")
        self.assertIn(
            "| training, fp32, against the expert's | 100 (compiled) | 200 | 2.00 | 2.00, 2.00 | 1.9 |", result.stdout)
        self.assertIn("| 900 | 1,800 | 2.00 |", result.stdout)
        self.assertTrue(page.startswith("before\n<!-- bench -->\n") and page.endswith("<!-- /bench -->\nafter\n"), page)
        self.assertIn("| 200 | 2.00 |", page)
        self.assertNotIn("old", page)

    def test_a_missed_target_is_named(self):
        result, _ = self.table("--target", "fp32=2.1", "--target", "decode=1.7")
        self.assertEqual(result.returncode, 1)
        lines = result.stderr.splitlines()
        self.assertEqual(
            [line.split(":")[0] for line in lines], ["training, fp32, against the expert's", "memory"], lines)

    def test_a_python_without_torch_is_named(self):
        result = self.script()
        self.assertEqual(result.returncode, 1)
        self.assertIn("PYTHON_TORCH=/nowhere/python cannot import torch", result.stderr)


if __name__ == "__main__":
    main()
