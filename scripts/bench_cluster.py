#!/usr/bin/env python3
"""bench_cluster.py --program LSTMQ --pairs FILE [--python PYTHON] [--rounds N] [--epochs N] [--target NAME=RATIO]...
                 [--json]

The measurements of bench_cluster.sh, which describes them."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TARGETS = {"fp32": 0.75, "exact": 0.6, "ddp": 1.5}
LIMIT_S = 600


def speed(run):
    """Target tokens over training time, of all epochs."""
    with open(os.path.join(run, "metrics.jsonl"), encoding="utf-8") as file:
        epochs = [json.loads(line) for line in file]
    tokens = sum(epoch["tgt_tokens"] for epoch in epochs)
    return tokens / sum(epoch["tgt_tokens"] / epoch["tgt_tok_per_s"] for epoch in epochs)


class Bench:
    def __init__(self, options, folder):
        self.options, self.folder, self.number = options, folder, 0

    def recipe(self):
        self.number += 1
        run = os.path.join(self.folder, f"run-{self.number}")
        return run, ["--config", "notebook", "--data.pairs", self.options.pairs, "--run.dir", run, "--train.epochs",
                     str(self.options.epochs), "--no-train.bleu", "--progress", "none"]

    def one(self):
        """One process with a thread for each rank."""
        run, recipe = self.recipe()
        subprocess.run([self.options.program, "train", *recipe, "--threads", str(self.options.ranks),
                        "--log.level", "warn"],
                       check=True, timeout=LIMIT_S)
        return speed(run)

    def many(self, reduce):
        """A coordinator, and as many workers with one thread."""
        run, recipe = self.recipe()
        ranks = str(self.options.ranks)
        coordinator = subprocess.Popen([self.options.program, "coordinator", *recipe, "--bind", "tcp://127.0.0.1:0",
                                        "--shards", "4", "--train.min_workers", ranks, "--train.reduce", reduce,
                                        "--log.format", "json"],
                                       stderr=subprocess.PIPE, encoding="utf-8")
        started = [coordinator]
        try:
            endpoint, said = None, []
            for line in coordinator.stderr:
                said.append(line)
                event = json.loads(line) if line.startswith("{") else {}
                if event.get("event") == "listening":
                    endpoint = event["address"]
                    break
            if endpoint is None:
                sys.exit("".join(said))
            for _ in range(self.options.ranks):
                started.append(subprocess.Popen([self.options.program, "worker", "--connect", endpoint,
                                                 "--threads", "1", "--log.level", "warn"]))
            coordinator.communicate(timeout=LIMIT_S)
            if any(process.wait(LIMIT_S) != 0 for process in started):
                sys.exit(f"{reduce}: a process of the cluster failed")
        finally:
            for process in started:
                if process.poll() is None:
                    process.kill()
                    process.wait()
        return speed(run)

    def ddp(self):
        store = os.path.join(self.folder, f"store-{self.number}")
        self.number += 1
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "MALLOC_MMAP_MAX_": "0",
                       "MALLOC_TRIM_THRESHOLD_": "4294967295", "MALLOC_TOP_PAD_": "67108864"}
        ranks = [subprocess.Popen([self.options.python, os.path.join(HERE, "pytorch_ddp.py"),
                                   "--pairs", self.options.pairs, "--rank", str(rank),
                                   "--ranks", str(self.options.ranks), "--store", store,
                                   "--epochs", str(self.options.epochs)], env=environment,
                                  stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL, encoding="utf-8")
                 for rank in range(self.options.ranks)]
        try:
            said, _ = ranks[0].communicate(timeout=LIMIT_S)
            if any(rank.wait(LIMIT_S) != 0 for rank in ranks):
                sys.exit("PyTorch's training failed")
        finally:
            for rank in ranks:
                if rank.poll() is None:
                    rank.kill()
                    rank.wait()
        return json.loads(said)["tgt_tok_per_s"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--pairs", required=True)
    parser.add_argument("--python")
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--target", action="append", default=[])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    targets = dict(TARGETS)
    for target in options.target:
        name, _, ratio = target.partition("=")
        targets[name] = float(ratio)

    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options, folder)
        for _ in range(options.rounds):
            found = {"one": bench.one(), "fp32": bench.many("fp32"), "exact": bench.many("exact")}
            if options.python:
                found["ddp"] = bench.ddp()
            rounds.append(found)
            print("  ".join(f"{name} {value:.0f}" for name, value in found.items()), file=sys.stderr, flush=True)

    ratios = {"fp32": [found["fp32"] / found["one"] for found in rounds],
              "exact": [found["exact"] / found["one"] for found in rounds]}
    if options.python:
        ratios["ddp"] = [found["fp32"] / found["ddp"] for found in rounds]
    medians = {name: statistics.median(values) for name, values in ratios.items()}
    missed = [name for name, value in medians.items() if value < targets[name]]
    speeds = {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}
    if options.json:
        print(json.dumps({"tgt_tok_per_s": speeds, "ratios": medians, "rounds": rounds, "missed": missed}))
    else:
        what = {"fp32": "two processes, fp32, against one process",
                "exact": "two processes, exact, against one process",
                "ddp": "two processes, fp32, against PyTorch's DistributedDataParallel over gloo"}
        for name, value in medians.items():
            print(f"{'MISS' if name in missed else 'ok  '} {what[name]}: {value:.2f} (target {targets[name]:g}; "
                  f"{', '.join(f'{ratio:.2f}' for ratio in ratios[name])})")
        print("target tokens/s: " + ", ".join(f"{name} {value:.0f}" for name, value in speeds.items()))
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
