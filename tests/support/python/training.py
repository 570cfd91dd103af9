"""Small runs of `lstmq train` for tests: pairs, a model that trains in a moment, its figures."""

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import unittest

from support.program import BINARY, LIMIT_S, SOURCE, run  # noqa: F401

# A model that learns nothing worth having, in milliseconds.
TINY = {"data.max_tokens": 12, "data.length": 14, "model.embed": 8, "model.hidden": 12, "train.batch": 16,
        "train.epochs": 2, "train.threads": 1, "run.progress": "none",
        "data.valid_fraction": 0.1, "train.patience": 0}


@functools.lru_cache(maxsize=None)
def _grammar():
    pairs = subprocess.run([os.path.join(SOURCE, "scripts/sample_pairs.sh")], stdout=subprocess.PIPE, check=True)
    return pairs.stdout.decode().splitlines()


def new_folder():
    """A folder of the test; in memory if possible, since checkpoints would wait for other users of the disk."""
    memory = "/dev/shm"
    return os.path.realpath(tempfile.mkdtemp(prefix="lstmq-cli-", dir=memory if os.access(memory, os.W_OK) else None))


def sample_pairs(count):
    """That many lines SOURCE TAB TARGET, spread over the whole of the sample's grammar."""
    lines = _grammar()
    return [lines[i * len(lines) // count] for i in range(count)]


def write(path, text):
    """Make a file of a text, of bytes, or of lines; returns its path."""
    if isinstance(text, list):
        text = "".join(line + "\n" for line in text)
    with open(path, "wb") as file:
        file.write(text if isinstance(text, bytes) else text.encode())
    return path


def read(*path):
    with open(os.path.join(*path), "rb") as file:
        return file.read()


def words(options):
    """Options as a command line has them; None leaves one out."""
    return [word for key, value in options.items() if value is not None for word in (f"--{key}", str(value))]


def dotted(options):
    """Keyword arguments as options: section__name is section.name."""
    return {key.replace("__", "."): value for key, value in options.items()}


def hashes(folder, link="latest"):
    """The hashes of a checkpoint's tensors."""
    return {name: hashlib.sha256(read(folder, link, name)).hexdigest()
            for name in ("model.safetensors", "optimizer.safetensors")}


def metrics(folder):
    """The records of the epochs, without times."""
    records = [json.loads(line) for line in read(folder, "metrics.jsonl").splitlines()]
    return [{key: value for key, value in record.items() if key not in ("seconds", "tgt_tok_per_s")}
            for record in records]


class TrainingTest(unittest.TestCase):
    """A test with its own folder, and `train` in it."""

    options = TINY

    def setUp(self):
        self.folder = new_folder()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def arguments(self, *flags, **options):
        """The words of `lstmq train`: the class's options, with `section__name=value` for others."""
        return ["train", *words({**self.options, **dotted(options)}), *flags]

    def train(self, *flags, status=0, **options):
        """Train to the end, which must be `status`; returns what it printed on stderr."""
        result = run(*self.arguments(*flags, **options))
        self.assertEqual(result.returncode, status, result.stderr)
        return result.stderr

    def start(self, *arguments, **more):
        """A process that ends with the test at the latest."""
        process = subprocess.Popen([BINARY, *arguments], stderr=subprocess.PIPE, **{"stdin": subprocess.DEVNULL,
                                                                                   "stdout": subprocess.PIPE, **more})
        self.addCleanup(self._reap, process)
        return process

    def event(self, process, name):
        """The next event of that name, with --log.format json. Earlier lines are skipped."""
        for line in process.stderr:
            found = json.loads(line)
            if found["event"] == name:
                return found
        return self.fail(f"no event {name}")

    def killed_at(self, event, *arguments):
        """Start lstmq and kill it at its first event of that name."""
        process = self.start(*arguments, "--log.format", "json")
        self.event(process, event)
        process.kill()
        process.wait(LIMIT_S)

    @staticmethod
    def _reap(process):
        if process.poll() is None:
            process.kill()
        process.communicate()

    def assertFails(self, status, pattern, *arguments, **more):
        """The command ends with `status` and one line on stderr that matches `pattern`."""
        result = run(*arguments, **more)
        self.assertEqual(result.returncode, status, (arguments, result.stderr))
        last = result.stderr.rstrip("\n").split("\n")[-1]
        self.assertRegex(last, rf"\Alstmq {re.escape(arguments[0])}: ")
        self.assertRegex(last, pattern)
        return result
