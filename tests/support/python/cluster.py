"""A coordinator and workers as processes of a test: started, awaited by their events, stopped and killed.

Nothing here sleeps while it can wait for an event. A thread reads the log of a process and another waits for its end,
so that each line and each end has its time. A wait is woken by them and has a limit. All processes end with the test,
by their own process ids."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

from support.program import BINARY, SOURCE, main  # noqa: F401
from support.training import dotted, hashes, new_folder, read, sample_pairs, words, write  # noqa: F401

FAULTS = os.environ.get("LSTMQ_FAULTS", BINARY + "-faults")
FULL = os.environ.get("LSTMQ_FULL", "") != ""
LIMIT_S = (
    180  # for whatever is awaited: it only ends a hang, so it is long enough for a machine whose cores are all busy
)

# cluster.heartbeat_timeout of tests that are not about silence: no worker is declared dead on a busy machine. In full,
# where nothing else runs, it is the default.
NEVER_SILENT_MS = None if FULL else 120_000

# A step of about a millisecond, so that thousands pass in seconds; four shards, and sums whose bits do not depend on
# the workers.
SMALL = {
    "data.max_tokens": 12, "data.length": 14, "model.embed": 8, "model.hidden": 12, "train.batch": 16,
    "train.shards": 4, "train.reduce": "exact", "train.bleu": "false", "train.patience": 0, "data.valid_fraction": 0.1}


def parsed(line):
    """The event that a line is, or None."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def fits(found, wanted):
    if isinstance(wanted, re.Pattern):
        return isinstance(found, str) and wanted.search(found) is not None
    if callable(wanted):
        return wanted(found)
    return found == wanted


class Process:
    """A program that runs; its events and lines on stderr and its end, each with the time (monotonic, seconds)."""

    def __init__(self, *arguments, binary=BINARY, environment=None, folder=None, name="", inherits=()):
        env = {key: value for key, value in os.environ.items() if not key.startswith("LSTMQ_")}
        env.update(environment or {})
        if {"coordinator", "worker", "serve", "translate-worker"} & set(arguments):
            arguments = (*arguments, "--log.format", "json")
        self.name, self.arguments = name, arguments
        # By line number: the line; (time, object), None for a line that is not an event.
        self.raw, self.events, self.ended_s = [], [], None
        self.news = threading.Condition()
        self.started_s = time.monotonic()
        self.process = subprocess.Popen([binary, *arguments], env=env, cwd=folder, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8",
                                        errors="surrogateescape", pass_fds=inherits)
        self.pid = self.process.pid
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.waiter = threading.Thread(target=self._wait, daemon=True)
        self.reader.start()
        self.waiter.start()

    def _read(self):
        for line in self.process.stderr:
            now, line = time.monotonic(), line.rstrip("\n")
            event = parsed(line)
            with self.news:
                self.raw.append(line)
                self.events.append((now, event))
                self.news.notify_all()

    def _wait(self):
        self.process.wait()
        now = time.monotonic()
        self.reader.join()
        self.process.stderr.close()
        with self.news:
            self.ended_s = now
            self.news.notify_all()

    def log(self):
        form = "{time} {level} {role}[{pid}] {text}"
        with self.news:
            lines = [(at, form.format(**event) if event else raw) for raw, (at, event) in zip(self.raw, self.events)]
        return "\n".join(f"{self.name} {at - self.started_s:8.3f} {line}" for at, line in lines)

    def _events(self, name, fields, since):
        """The events of that name and with those fields, each with its time as "at_s" and its line number as
        "line_number"."""
        names = (name,) if isinstance(name, str) else name
        for number in range(since, len(self.events)):
            at, event = self.events[number]
            if event and event["event"] in names and all(fits(event.get(key), value) for key, value in fields.items()):
                yield {**event, "at_s": at, "line_number": number}

    def happened(self, name, since=0, **fields):
        """All events of that name (or of those names) so far, as dicts, with fields of those values. A compiled pattern
        fits a text that it finds, a function a value for which it is true."""
        with self.news:
            return list(self._events(name, fields, since))

    def awaits(self, name, timeout, since=0, **fields):
        """The first such event, or None without one in the time or before the end."""
        found = None

        def over():
            nonlocal found, since
            found = found or next(self._events(name, fields, since), None)
            since = len(self.events)  # each line is looked at once
            return found or self.ended_s is not None

        with self.news:
            self.news.wait_for(over, timeout)
            return found

    def event(self, name, since=0, timeout=LIMIT_S, **fields):
        """The same for an event that must happen."""
        found = self.awaits(name, timeout, since, **fields)
        if not found:
            raise AssertionError(f"{self.name}: no event {name} {fields} within {timeout} s\n{self.log()}")
        return found

    def mark(self):
        """The number of lines so far, for `since`."""
        with self.news:
            return len(self.raw)

    def ended(self):
        with self.news:
            return self.ended_s is not None

    def memory(self, what="VmRSS"):
        """Resident bytes, now; with VmHWM at most so far."""
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(what + r":\s+(\d+) kB", file.read())[1]) * 1024

    def number(self, since=0):
        """The number that the coordinator gave to this worker."""
        return self.event("joined", since)["worker"]

    def at_step(self, step=None, since=0, limit=LIMIT_S):
        """Wait until this worker computes that step or a later one, or any. As for .steps, it must run with --log.level
        debug."""
        self.event("step_computed", since, limit, **({"step": lambda found: found >= step} if step is not None else {}))

    def steps(self):
        """The steps that this worker logged, in their order."""
        return [event["step"] for event in self.happened("step_computed")]

    def end(self, limit=LIMIT_S):
        """Wait for the end; the exit status, negative for a signal."""
        with self.news:
            if not self.news.wait_for(lambda: self.ended_s is not None, limit):
                raise AssertionError(f"{self.name} has not ended within {limit} s\n{self.log()}")
        return self.process.returncode

    def send(self, number):
        """Send a signal unless the process has ended. Returns the time."""
        now = time.monotonic()
        self.process.send_signal(number)
        return now

    def kill(self):
        """Kill it and wait for its end. Returns the time of the signal."""
        now = self.send(signal.SIGKILL)
        self.end()
        return now


class Relay:
    """relay.py between the peers that connect to .endpoint and the target. `command` are words before it, `host` is
    where it listens."""

    def __init__(self, test, target, host="127.0.0.1", command=()):
        far_host, far_port = target.removeprefix("tcp://").rsplit(":", 1)
        self.process = subprocess.Popen(
            [*command, sys.executable, os.path.join(os.path.dirname(__file__), "relay.py"), host, far_host, far_port],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        test.addCleanup(self.close)
        self.port = int(self.process.stdout.readline())
        self.endpoint = f"tcp://{host}:{self.port}"

    def say(self, *words):
        """Send a command to relay.py. Returns the time at which it was done."""
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()
        if self.process.stdout.readline() != "done\n":
            raise AssertionError(f"the relay did not understand {words}")
        return time.monotonic()

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Cluster:
    """One run: its folder, a coordinator, and workers in the order in which they were started."""

    def __init__(self, test, pairs, **options):
        self.test = test
        self.folder = new_folder()
        test.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        test.addCleanup(self.close)
        self.run = os.path.join(self.folder, "run")
        self.options = {**SMALL, "data.pairs": pairs, "run.dir": self.run, **dotted(options)}
        self.endpoint, self.coordinator, self.workers, self.processes = "tcp://127.0.0.1:0", None, [], []

    def start(self, *flags, binary=FAULTS, fault=None, **more):
        """Start the coordinator; the first time on a free port, later on the same one."""
        self.coordinator = self._process(
            "coordinator",
            *words(
                {
                    "cluster.heartbeat_timeout": NEVER_SILENT_MS, **self.options, "cluster.bind": self.endpoint,
                    "run.progress": "none"}),
            *flags, binary=binary, fault=fault, name="coordinator", **more)
        return self

    def start_again(self, *flags, binary=FAULTS, **more):
        """Start it with nothing but the options of its run, on the same port."""
        self.coordinator = self._process(
            "coordinator", "--run.dir", self.run, "--resume", "--bind", self.endpoint, *flags, binary=binary,
            name="coordinator, again", **more)
        return self

    def listening(self, limit=LIMIT_S):
        self.endpoint = self.coordinator.event("listening", timeout=limit)["address"]
        return self

    def worker(self, *flags, threads=1, fault=None, binary=FAULTS, **more):
        process = self._process("worker", "--connect", self.endpoint, "--threads", str(threads), *flags, binary=binary,
                                fault=fault, name=f"worker {len(self.workers)}", **more)
        self.workers.append(process)
        return process

    def _process(self, *arguments, fault=None, environment=None, **more):
        environment = {**(environment or {}), **({"LSTMQ_FAULT": fault} if fault else {})}
        process = Process(*arguments, environment=environment, **more)
        self.processes.append(process)
        return process

    def declared_dead(self, worker, why="", since=0):
        """Wait until the coordinator declares that worker dead. Returns the time."""
        return self.coordinator.event("worker_dead", since, process=worker.pid, reason=re.compile("^" + why))["at_s"]

    def generation(self, workers, since=0):
        """Wait for a generation of so many workers. Returns its first step."""
        return self.coordinator.event("generation_started", since, workers=workers)["step"]

    def active(self, since=0):
        """Wait until a generation trains. Returns the time."""
        return self.coordinator.event("generation_active", since)["at_s"]

    def finished(self, limit=LIMIT_S, status=0):
        """The coordinator and all workers that were not killed end without an error."""
        deadline = time.monotonic() + limit
        for process in [self.coordinator, *self.workers]:
            if process is not self.coordinator and process.ended() and process.process.returncode == -signal.SIGKILL:
                continue
            found = process.end(max(0.1, deadline - time.monotonic()))
            self.test.assertEqual(found, status if process is self.coordinator else 0, self.log())
        return self

    def status(self, *flags):
        """What `lstmq status` prints, or None if no coordinator answers."""
        result = subprocess.run(
            [BINARY, "status", "--connect", self.endpoint, "--json", *flags], stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, timeout=LIMIT_S, check=False)
        return json.loads(result.stdout) if result.returncode == 0 else None

    def hashes(self):
        return hashes(self.run)

    def log(self):
        return "\n".join(process.log() for process in self.processes)

    def close(self):
        """End the remaining processes. A failed test shows all logs."""
        for process in self.processes:
            if not process.ended():
                process.send(signal.SIGKILL)
        for process in self.processes:
            process.end()


def train(test, pairs, *flags, **options):
    """The hashes of the weights of `lstmq train`, in one process."""
    folder = new_folder()
    test.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    options = {
        **SMALL, "data.pairs": pairs, "run.dir": os.path.join(folder, "run"), "run.progress": "none", **dotted(options)}
    result = subprocess.run([BINARY, "train", *words(options), *flags], stdout=subprocess.DEVNULL,
                            stderr=subprocess.PIPE, encoding="utf-8", timeout=600, check=False)
    test.assertEqual(result.returncode, 0, result.stderr)
    return hashes(options["run.dir"])


class ClusterTest(unittest.TestCase):
    """A test with its own pairs."""

    pairs_count = 600
    wanted = {}  # by number of pairs and options; of all tests in this process

    def setUp(self):
        self.folder = new_folder()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.pairs = write(os.path.join(self.folder, "pairs.tsv"), sample_pairs(self.pairs_count))

    def cluster(self, **options):
        return Cluster(self, self.pairs, **options)

    def train(self, *flags, **options):
        return train(self, self.pairs, *flags, **options)

    def wanted_hashes(self, **options):
        """The hashes of one process with one thread, computed once."""
        key = (self.pairs_count, *sorted(options.items()))
        if key not in self.wanted:
            self.wanted[key] = self.train(train__threads=1, **options)
        return self.wanted[key]

    def say(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)
