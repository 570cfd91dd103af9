#!/usr/bin/env python3
"""The section on several machines in docs/cluster.md, followed to the letter: its coordinator and two workers, a third
worker that joins, one that is killed, and at the end the weights of its `lstmq train`. The test adds only what it
needs to be separate (a free port) and short (epochs)."""

import os
import re
import shlex
import signal

from support.cluster import SOURCE, ClusterTest, Process, hashes, main, read
from support.notebook import pairs_or_skip

EPOCHS = 3
LIMIT_S = 900


def section(title):
    """The text below a heading of docs/cluster.md."""
    text = read(SOURCE, "docs/cluster.md").decode()
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


class ThreeTerminals(ClusterTest):
    def setUp(self):
        super().setUp()
        found = pairs_or_skip(self)
        os.mkdir(os.path.join(self.folder, ".data"))
        os.symlink(found, os.path.join(self.folder, ".data", "fra.txt"))
        text = section("Training on several machines")
        block = re.search(r"In three terminals.*?```sh\n(.*?)```", text, re.S)[1]
        self.terminals = [shlex.split(line) for line in block.splitlines()]
        self.alone = shlex.split(re.search(r"`(lstmq train .*?)`", text, re.S)[1])
        self.started = []
        self.addCleanup(self.end_all)

    def run_line(self, words, *more, name):
        """Run a command line of the page, in its own folder."""
        self.assertEqual(words[0], "lstmq")
        process = Process(*words[1:], *more, folder=self.folder, name=name)
        self.started.append(process)
        return process

    def end_all(self):
        for process in self.started:
            if not process.ended():
                process.kill()

    def log(self):
        return "\n".join(process.log() for process in self.started)

    def test_a_join_and_a_kill_leave_the_weights_of_one_process(self):
        coordinator_line, *worker_lines = self.terminals
        self.assertEqual([words[1] for words in self.terminals], ["coordinator", "worker", "worker"])
        alone = self.run_line(self.alone, "--train.epochs", str(EPOCHS), "--run.progress", "none", name="alone")
        self.assertEqual(alone.end(LIMIT_S), 0, self.log())
        coordinator = self.run_line(coordinator_line, "--bind", "tcp://127.0.0.1:0", "--train.epochs", str(EPOCHS),
                                    "--run.progress", "none", name="coordinator")
        worker_words = ("--connect", coordinator.event("listening")["address"], "--log.level", "debug")
        workers = [
            self.run_line(words, *worker_words, name=f"worker {number}") for number, words in enumerate(worker_lines)]
        coordinator.event("generation_started", workers=2)
        workers[0].at_step(20, limit=LIMIT_S)
        workers.append(self.run_line(worker_lines[0], *worker_words, name="the third"))
        coordinator.event("generation_started", workers=3)
        workers[2].at_step()
        mark = coordinator.mark()
        workers[0].kill()
        self.assertEqual(workers[0].end(), -signal.SIGKILL, self.log())
        coordinator.event("worker_dead", mark, process=workers[0].pid)
        coordinator.event("generation_started", mark, workers=2)
        for process in (coordinator, *workers[1:]):
            self.assertEqual(process.end(LIMIT_S), 0, self.log())
        folder = {words[1]: os.path.join(self.folder, words[words.index("--run.dir") + 1])
                  for words in (self.alone, coordinator_line)}
        self.assertEqual(hashes(folder["coordinator"]), hashes(folder["train"]), self.log())
        self.say("model.safetensors " + hashes(folder["coordinator"])["model.safetensors"])


if __name__ == "__main__":
    main()
