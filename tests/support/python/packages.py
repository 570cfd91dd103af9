"""Packages of others, installed by pip in an environment of their own. A test that needs one is skipped, with the
reason, where it cannot be installed."""

import os
import subprocess
import sys
import unittest

from support.training import new_folder, read, write

FOLDER = os.environ.get("LSTMQ_PACKAGES", "")


def install(name, *packages):
    """The path of a Python that has these packages; the environment is kept in $LSTMQ_PACKAGES under that name."""
    folder = os.path.join(FOLDER or new_folder(), name)
    python = os.path.join(folder, "bin", "python")
    wanted = "\n".join(packages)
    done = os.path.join(folder, "installed")
    if os.path.exists(done) and read(done) == wanted.encode():
        return python
    for command in ([sys.executable, "-m", "venv", "--clear", folder],
                    [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1",
                     *packages]):
        try:
            result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300,
                                    encoding="utf-8", check=False)
        except subprocess.TimeoutExpired:
            raise unittest.SkipTest(f"{' '.join(command[:3])} takes too long") from None
        if result.returncode != 0:
            last = (result.stdout.strip().splitlines() or ["no output"])[-1]
            raise unittest.SkipTest(f"{', '.join(packages)} cannot be installed: {last}")
    write(done, wanted)
    return python
