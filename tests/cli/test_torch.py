#!/usr/bin/env python3
"""scripts/lstmq_torch.py opens a run in PyTorch: the same loss as `lstmq evaluate`, the same translations.

Needs a Python with torch: this one, $PYTHON_TORCH, or that of scripts/bench_pytorch.sh in .venv. Skipped without."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import unittest

from support.program import SOURCE, main, run
from support.training import TINY, new_folder, sample_pairs, words, write

HAS_TORCH = importlib.util.find_spec("torch") is not None
LINES = ["Où ?", "", "  I  am happy . ", "zzz is unknown", "<unk> <eos> <pad>", "2 + 2", "a\u0301 b\u00a0c",
         "İ ſ K ß"]


def use_a_python_with_torch():
    for python in (os.environ.get("PYTHON_TORCH"), os.path.join(SOURCE, ".venv/bin/python")):
        if not HAS_TORCH and python and shutil.which(python) and os.environ.get("LSTMQ_TORCH_TRIED") != python:
            if subprocess.run([python, "-c", "import torch"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                os.environ["LSTMQ_TORCH_TRIED"] = python
                os.execv(python, [python, *sys.argv])


@unittest.skipUnless(HAS_TORCH, "no PyTorch here: PYTHON_TORCH=/path/to/python names one that has it")
class Torch(unittest.TestCase):
    def setUp(self):
        sys.path.insert(0, os.path.join(SOURCE, "scripts"))
        self.folder = new_folder()
        self.addCleanup(shutil.rmtree, self.folder)

    def agrees(self, *arguments, **options):
        import torch
        import lstmq_torch
        torch.set_num_threads(1)
        pairs = sample_pairs(600)
        path, folder = write(os.path.join(self.folder, "pairs.tsv"), pairs), os.path.join(self.folder, "run")
        options = {**TINY, "model.embed": 24, "model.hidden": 40, "train.lr": 0.01, "train.epochs": 8,
                   "data.pairs": path, "run.dir": folder,
                   **{name.replace("__", "."): value for name, value in options.items()}}
        done = run("train", *words(options), *arguments, "--run.overwrite")
        self.assertEqual(done.returncode, 0, done.stderr)
        model = lstmq_torch.load(folder)
        held = pairs[::40]
        scores = json.loads(run("evaluate", "--model", folder, "--json", "--pairs",
                                write(os.path.join(self.folder, "held.tsv"), held)).stdout)
        sums = [model.loss(*pair.split("\t")[:2]) for pair in held]
        tokens = sum(count for _, count in sums)
        self.assertEqual(tokens, scores["tgt_tokens"])
        self.assertAlmostEqual(sum(loss.item() for loss, _ in sums) / tokens / scores["loss"], 1, 5)
        lines = [pair.split("\t")[0] for pair in held] + LINES + [" ".join(held[0].split("\t")[0].split() * 40)]
        translated = run("translate", "--model", folder, stdin="".join(line + "\n" for line in lines))
        self.assertEqual(translated.returncode, 0, translated.stderr)
        mine = [model.translate(line) for line in lines]
        self.assertEqual(mine, translated.stdout.splitlines())
        self.assertGreater(len(set(mine)), 3, mine)

    def test_lstm(self):
        for rule in ("notebook", "nfc", "none"):
            self.agrees(data__normalise=rule)

    def test_lstm_with_the_notebooks_quirks(self):
        self.agrees("--config", "notebook")

    def test_rnn_with_the_notebooks_quirks(self):
        self.agrees("--config", "notebook-rnn")

    def test_rnn(self):
        self.agrees(model__cell="rnn", train__lr=0.003)

    def test_a_checkpoint_opens_as_the_run_does(self):
        import lstmq_torch
        path = write(os.path.join(self.folder, "pairs.tsv"), sample_pairs(100))
        folder = os.path.join(self.folder, "run")
        run("train", *words({**TINY, "data.pairs": path, "run.dir": folder}))
        one, other = (lstmq_torch.load(os.path.join(folder, name)).state_dict() for name in ("", "best"))
        self.assertTrue(all((one[name] == other[name]).all() for name in one))

    def test_a_run_without_best_opens_as_translate_opens_it(self):
        """Each step has a checkpoint, so that each folder has other weights."""
        import lstmq_torch
        path = write(os.path.join(self.folder, "pairs.tsv"), sample_pairs(100))
        folder = os.path.join(self.folder, "run")
        run("train", *words({**TINY, "data.pairs": path, "run.dir": folder, "train.checkpoint_every": 1,
                             "train.keep": 100}))
        steps = sorted(name for name in os.listdir(folder) if name.startswith("step-"))
        self.assertGreater(len(steps), 2)
        for link in ("best", "latest"):
            os.remove(os.path.join(folder, link))
        os.symlink(steps[1], os.path.join(folder, "latest"))
        for step in (steps[1], steps[-1]):
            found, expected = (lstmq_torch.load(os.path.join(folder, name)).state_dict() for name in ("", step))
            self.assertTrue(all((found[name] == expected[name]).all() for name in found), step)
            if os.path.lexists(os.path.join(folder, "latest")):
                os.remove(os.path.join(folder, "latest"))
        for step in steps:
            shutil.rmtree(os.path.join(folder, step))
        self.assertRaisesRegex(FileNotFoundError, "neither a checkpoint nor a run", lstmq_torch.load, folder)


if __name__ == "__main__":
    use_a_python_with_torch()
    main()
