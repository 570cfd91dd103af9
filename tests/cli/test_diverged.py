#!/usr/bin/env python3
"""Training whose numbers are no longer finite ends with one line that says when, and what to change."""

import json
import os
import unittest

from support.program import SOURCE, main
from support.training import TrainingTest, read

PAIRS = os.path.join(SOURCE, "tests/cases/pairs200.tsv")
ADVICE = "lower train.lr or set train.clip"


class Diverged(TrainingTest):
    # Parameters grow by a factor of 999 in each step and leave float32 at step 13 or 14.
    options = {"data.pairs": PAIRS, "data.valid_fraction": 0.02, "embed": 16, "hidden": 16, "threads": 1, "epochs": 40,
               "lr": 1000,
               "clip": 0, "train.optimizer": "sgd", "train.weight_decay": 1, "run.progress": "none"}

    def diverges(self, text, *flags, **options):
        run = self.path("run")
        printed = self.train("--run.overwrite", status=1, run__dir=run, **options)
        self.assertRegex(printed.rstrip("\n").split("\n")[-1], rf"\Alstmq train: epoch \d+: {text}; {ADVICE}\Z")
        return run

    def test_a_validation_loss_that_is_not_finite_has_its_epoch(self):
        for options in ({}, {"train__valid_decode": "forced"}, {"train__precision": "bf16"}, {"train__workers": 2}):
            self.diverges("validation loss is not finite", batch=16, **options)

    def test_a_step_whose_numbers_are_not_finite_is_named(self):
        for options in ({"batch": 14}, {"batch": 15}, {"batch": 15, "train__reduce": "exact"},
                        {"batch": 14, "train__precision": "bf16"},
                        {"batch": 15, "train__workers": 2, "train__reduce": "fp32"},
                        {"batch": 15, "train__workers": 2, "train__reduce": "bf16"}):
            self.diverges("step 1[34]: .* not finite", **options)

    def test_without_validation_no_such_parameters_are_saved(self):
        run = self.diverges(r"step 13: parameter \S+ is not finite", batch=16, data__valid_fraction=0, epochs=1)
        self.assertEqual([name for name in os.listdir(run) if "step-0" in name], [])

    def test_the_page_of_such_a_run_says_that_it_failed(self):
        run = self.path("run")
        self.train(status=1, run__dir=run, batch=66, train__patience=0)
        self.assertEqual(json.loads(read(run, "metrics.jsonl").splitlines()[-1])["epoch"], 4)
        self.assertIn(b">failed<", read(run, "report.html"))


if __name__ == "__main__":
    main()
