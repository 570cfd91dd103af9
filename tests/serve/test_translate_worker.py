#!/usr/bin/python3
"""A translation worker and a queue written from PROTOCOL.md: it joins, loads, translates, follows, and leaves."""

import os
import shutil
import signal
import unittest

from support.cluster import BINARY, FAULTS, Process
from support.program import main, run
from support.training import TINY, new_folder, read, sample_pairs, words, write

try:
    import zmq

    from support.fake_queue import CREDIT, GOODBYE, PING, PONG, RESULT, FakeQueue, batch
except ImportError:
    raise SystemExit(77) from None

MODEL = {}


def setUpModule():
    """Two checkpoints of one run."""
    MODEL["folder"] = new_folder()
    path = os.path.join(MODEL["folder"], "run")
    pairs = write(os.path.join(MODEL["folder"], "pairs.tsv"), sample_pairs(400))
    options = {
        **TINY, "model.embed": 24, "model.hidden": 48, "train.epochs": 4, "train.lr": 0.01,
        "data.normalise": "notebook", "data.pairs": pairs, "run.dir": path}
    result = run("train", *words(options))
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    steps = sorted(name for name in os.listdir(path) if name.startswith("step-"))
    MODEL["run"], MODEL["steps"] = path, [os.path.join(path, name) for name in steps]


def tearDownModule():
    shutil.rmtree(MODEL["folder"])


class WorkerTest(unittest.TestCase):
    """A queue, and workers that connect to it."""

    def setUp(self):
        self.folder = new_folder()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.context = zmq.Context()
        self.addCleanup(self.context.term)
        self.queue = FakeQueue(self.context)
        self.addCleanup(lambda: self.queue.close())
        self.old, self.new = MODEL["steps"][-2:]

    def worker(self, *flags, binary=BINARY, fault=None):
        process = Process(
            "translate-worker", "--connect", self.queue.endpoint, "--threads", "1", "--serve.cache",
            os.path.join(self.folder, "cache"), *flags, binary=binary, name="worker",
            environment={"LSTMQ_FAULT": fault} if fault else {})
        self.addCleanup(process.end)
        self.addCleanup(process.send, signal.SIGKILL)
        return process

    def joined(self, *flags, **more):
        """A worker that has joined, and its routing id."""
        process = self.worker(*flags, **more)
        peer, _ = self.queue.join()
        return process, peer

    def ready(self, *flags, **more):
        """A worker that has loaded the older checkpoint as version 1."""
        process, peer = self.joined(*flags, **more)
        self.assertEqual(self.queue.load(peer, 1, self.old)["ok"], 1)
        return process, peer

    def texts(self, peer, version, *texts):
        return [answer.text for answer in self.queue.translate(peer, version, texts)]

    def leave(self, process, peer):
        process.send(signal.SIGTERM)
        self.queue.take(GOODBYE, peer)
        self.assertEqual(process.end(), 0, process.log())


class Life(WorkerTest):
    def test_it_joins_loads_translates_and_says_goodbye(self):
        process = self.worker()
        peer, join = self.queue.join()
        self.assertEqual((join["pid"], join["threads"], join["worker"]), (process.pid, 1, 0))
        loaded = self.queue.load(peer, 1, self.old)
        self.assertEqual((loaded["version"], loaded["ok"], loaded["text"]), (1, 1, ""))
        self.assertEqual(self.queue.take(CREDIT)[2]["units"], 2)
        answers = self.queue.translate(peer, 1, ["We are tired.", "", " \n\0", "zyzzyva is empty .", "3 + 4"], 1)
        self.assertEqual([answer.status for answer in answers], [0] * 5)
        self.assertRegex(answers[0].text, r"^[A-Z].*\.$")
        self.assertEqual([answers[i].text for i in (1, 2, 4)], ["", " \n\0", "3 + 4"])
        self.assertEqual((answers[3].unknown, answers[3].notes), (1, "zyzzyva\n"))
        self.assertEqual([answer.cut for answer in answers], [0] * 5)
        self.assertEqual(self.queue.take(CREDIT)[2]["units"], 1)
        self.queue.say(peer, PING, {"time": 7})
        self.assertEqual(self.queue.take(PONG)[2]["time"], 7)
        process.send(signal.SIGTERM)
        self.assertEqual(self.queue.take(GOODBYE)[2]["worker"], 1)
        self.assertEqual(process.end(), 0)

    def test_batches_that_it_has_are_answered_before_goodbye(self):
        process, peer = self.ready()
        self.queue.take(CREDIT)
        for number in (1, 2):
            self.queue.send(peer, *batch(number, 1, [f"we are tired {i} ." for i in range(400)]))
        self.queue.say(peer, PING, {"time": 1})
        self.queue.take(PONG)  # so it has both
        process.send(signal.SIGTERM)
        self.queue.take(GOODBYE, peer)
        found = [body["batch"] for _, kind, body, _ in self.queue.waiting if kind == RESULT]
        self.assertEqual(found, [1, 2])
        self.assertEqual(process.end(), 0)

    def test_an_echo_model_answers_with_the_texts(self):
        _, peer = self.joined()
        self.assertEqual(self.queue.load(peer, 5, manifest=0, echo=1)["ok"], 1)
        texts = ["a", "", "b\0c\n", "é" * 1000]
        self.assertEqual(self.texts(peer, 5, *texts), texts)


class Reload(WorkerTest):
    def test_a_new_checkpoint_serves_beside_the_old_one(self):
        process, peer = self.ready()
        before = self.texts(peer, 1, "we are tired .", "the hotel is empty .")
        self.assertEqual(self.queue.load(peer, 2, self.new)["ok"], 1)
        self.assertEqual(self.texts(peer, 1, "we are tired .", "the hotel is empty ."), before)
        self.texts(peer, 2, "we are tired .")
        self.leave(process, peer)

    def test_a_damaged_checkpoint_is_refused_and_the_old_one_serves_on(self):
        process, peer = self.ready()
        before = self.texts(peer, 1, "we are tired .")
        broken = os.path.join(self.folder, "broken")
        shutil.copytree(self.new, broken)
        data = bytearray(read(broken, "model.safetensors"))
        data[-100] ^= 1
        write(os.path.join(broken, "model.safetensors"), bytes(data))
        loaded = self.queue.load(peer, 2, broken)
        self.assertEqual(loaded["ok"], 0)
        self.assertIn("model.safetensors", loaded["text"])
        self.assertEqual(self.texts(peer, 1, "we are tired ."), before)
        self.leave(process, peer)


class Poison(WorkerTest):
    def test_the_faulty_program_dies_of_a_text(self):
        process, peer = self.ready(binary=FAULTS, fault="translate=poison")
        self.assertEqual(len(self.texts(peer, 1, "we are tired .")), 1)
        self.queue.send(peer, *batch(9, 1, ["we are tired .", "poison"]))
        self.assertEqual(process.end(), -signal.SIGKILL)


if __name__ == "__main__":
    main()
