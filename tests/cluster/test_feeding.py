#!/usr/bin/python3
"""A coordinator feeds 256 workers that compute nothing, and its memory does not grow. $LSTMQ_FULL also judges the
processor time for a target token."""

import json
import os
import random
import shutil
import subprocess
import time
import unittest

from support.cluster import BINARY, FULL, Cluster, main, new_folder

MANY = os.environ.get("LSTMQ_MANY_WORKERS", "many_workers")
WORKERS, WARM_S = 256, 3
SECONDS = 600  # in full; else it goes on until so many target tokens were fed, about two minutes on two cores:
TOKENS = 200_000_000
PAUSE_MS = 0 if FULL else 100  # beside other tests it leaves most of the processor to them
LEAST = 1.5e6  # target tokens for a second of the coordinator's processor time
GROWTH = 16 << 20  # bytes of resident memory in the second half
TICKS = os.sysconf("SC_CLK_TCK")

# 64 rows for each worker and step, as in a run of one machine.
LARGE = {
    "train__shards": WORKERS, "train__batch": 64 * WORKERS, "train__min_workers": WORKERS, "train__epochs": 100000,
    "train__valid_decode": "forced", "data__split": "tail", "data__normalise": "none", "data__valid_fraction": 0.002,
    "train__reduce": "fp32"}


def pairs(path, count=200_000):
    """Sentences of 3 to 12 words; a word of rank r is used about 1/r times as often as the first."""
    draw = random.Random(1)
    ranks = [1 / rank for rank in range(1, 6001)]
    text = draw.choices([f"w{rank}" for rank in range(6000)], ranks, k=count * 24)
    with open(path, "w", encoding="utf-8") as file:
        at = 0
        for _ in range(count):
            one, other = draw.randint(3, 12), draw.randint(3, 12)
            file.write(" ".join(text[at:at + one]) + "\t" + " ".join(text[at + one:at + one + other]) + "\n")
            at += one + other
    return path


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


class Feeding(unittest.TestCase):
    def setUp(self):
        self.folder = new_folder()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def crowd(self, endpoint):
        process = subprocess.Popen([MANY, endpoint, str(WORKERS), str(PAUSE_MS)], stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def samples(self, group, crowd):
        """(seconds, tokens, processor seconds of the coordinator, its resident bytes), about one a second, until there
        are enough."""
        began = None
        for line in crowd.stdout:
            told = json.loads(line)
            if told["working"] < WORKERS:
                continue
            now = time.monotonic()
            began = began or now
            yield now - began, told["tokens"], cpu_seconds(group.coordinator.pid), group.coordinator.memory()
            if now - began > SECONDS if FULL else told["tokens"] >= TOKENS:
                return
        self.fail("the workers ended before\n" + group.log())

    def test_256_workers_are_fed(self):
        group = Cluster(self, pairs(os.path.join(self.folder, "pairs.tsv")), **LARGE)
        group.start(binary=BINARY).listening()
        samples = list(self.samples(group, self.crowd(group.endpoint)))
        first, last = next(one for one in samples if one[0] >= WARM_S), samples[-1]
        tokens, cpu, wall = last[1] - first[1], last[2] - first[2], last[0] - first[0]
        half = max(one[3] for one in samples if one[1] - first[1] <= tokens / 2)
        print(f"  {tokens / cpu / 1e6:.2f} M target tokens for a second of the coordinator's processor time "
              f"({tokens / wall / 1e6:.2f} M a second of the clock, {cpu / wall:.2f} processors); "
              f"resident {first[3] >> 20} MiB, then {half >> 20}, at the end {last[3] >> 20}", flush=True)
        self.assertLessEqual(last[3] - half, GROWTH)
        if FULL:
            self.assertGreater(len(samples), SECONDS / 2, group.log())
            self.assertGreaterEqual(tokens / cpu, LEAST)


if __name__ == "__main__":
    main()
