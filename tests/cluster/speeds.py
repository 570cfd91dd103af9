#!/usr/bin/env python3
"""speeds.py cluster|gloo - run scripts/bench_NAME.sh as a test. bench_cluster compares two processes with one and with
PyTorch's DistributedDataParallel; bench_gloo compares the ring with gloo. The test fails if the script names a
missed target. It is skipped without PyTorch or the real pairs."""

import os
import shutil
import subprocess
import sys

from support.cluster import SOURCE, new_folder
from support.notebook import MISSING, pairs
from support.program import SKIPPED

PYTHON = os.environ.get("PYTHON_TORCH", os.path.join(SOURCE, ".venv/bin/python"))


def skip(why):
    print(f"skipped: {why}", flush=True)
    return SKIPPED


def speeds(name, folder):
    check = [PYTHON, "-c", "import torch.distributed as d; assert d.is_gloo_available()"]
    if not os.path.exists(PYTHON) or subprocess.run(check, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        return skip(f"{PYTHON} has no PyTorch with gloo; set PYTHON_TORCH")
    words = []
    if name == "cluster":
        found = pairs(folder)
        if found is None:
            return skip(MISSING)
        words = ["--pairs", found]
    return subprocess.run([os.path.join(SOURCE, f"scripts/bench_{name}.sh"), *words], check=False).returncode


def main(name):
    folder = new_folder()
    try:
        return speeds(name, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
