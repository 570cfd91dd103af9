"""The program under test: $LSTMQ is the binary, $LSTMQ_SOURCE the folder of the sources."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import unittest

BINARY = os.environ.get("LSTMQ", "lstmq")
SOURCE = os.environ.get("LSTMQ_SOURCE", os.path.dirname(os.path.realpath(__file__)) + "/../../..")
SKIPPED = 77
LIMIT_S = 600  # only ends a hang: long enough for a machine whose cores are all busy


def run(*arguments, binary=BINARY, stdin="", environment=None, **more):
    """Run lstmq to its end; the result has returncode, stdout and stderr as text."""
    env = {name: value for name, value in os.environ.items() if name not in ("LSTMQ_RECIPES", "COLUMNS")}
    env.update(environment or {})
    return subprocess.run([binary, *arguments], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          encoding="utf-8", errors="surrogateescape", env=env, timeout=LIMIT_S, check=False, **more)


def on_terminal(width, arguments, piped=(), **environment):
    """The text that lstmq writes to a terminal of that width. `piped` names outputs that are pipes; None unsets a
    variable."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    env = {**os.environ, "COLUMNS": None, "TERM": "xterm", "NO_COLOR": "1", **environment}
    env = {name: value for name, value in env.items() if value is not None}
    ends = {name: subprocess.PIPE if name in piped else slave for name in ("stdout", "stderr")}
    with subprocess.Popen([BINARY, *arguments], stdin=subprocess.DEVNULL, env=env, **ends) as process:
        os.close(slave)
        text = process.stdout.read() if process.stdout else b""
        try:
            while block := os.read(master, 65536):
                text += block
        except OSError:
            pass
    os.close(master)
    if process.returncode != 0:
        raise AssertionError(f"{arguments}: exit {process.returncode}: {text.decode()}")
    return text.decode().replace("\r\n", "\n")


def commands():
    """The commands that `lstmq help` lists."""
    overview = run("help").stdout
    listed = overview.split("\ncommands\n")[1].split("\n\n")[0]
    return [line.split()[0] for line in listed.splitlines()]


def option_rows(command):
    """The rows of a command's help: (names without their dashes, value or '')."""
    rows = []
    for line in run("help", command).stdout.splitlines():
        row = re.match(r"  (--[a-z][\w.-]*(?:, --[a-z][\w.-]*)*)(?: (\S+))?(?:  |$)", line)
        if row:
            rows.append((re.findall(r"--([a-z][\w.-]*)", row[1]), row[2] or ""))
    return rows


def option_names(command):
    return {name for names, _ in option_rows(command) for name in names}


def dumped(text):
    """The lines of a dump as {key: value as typed}; a list as its YAML, "" if it is empty."""
    values, section = {}, ""
    for line in text.splitlines():
        if not line.startswith(" "):
            section = line.rstrip(":")
        else:
            name, value = line.strip().split(": ", 1)
            values[f"{section}.{name}"] = "" if value == "[]" else value.strip('"')
    return values


def main():
    """Run the tests of the script. If all of them were skipped, ctest counts the script as skipped."""
    result = unittest.main(exit=False, verbosity=2).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(SKIPPED if result.testsRun > 0 and len(result.skipped) == result.testsRun else 0)
