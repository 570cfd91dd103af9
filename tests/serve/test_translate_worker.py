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

    from support.fake_queue import (CREDIT, ERROR, FETCH, GOODBYE, JOIN, JOINED, MODEL, PIECE, PING, PONG, RESULT,
                                    RETIRE, FakeQueue, batch, frames, hash_of)
except ImportError:
    raise SystemExit(77) from None

TRAINED = {}


def setUpModule():
    """Two checkpoints of one run."""
    TRAINED["folder"] = new_folder()
    path = os.path.join(TRAINED["folder"], "run")
    pairs = write(os.path.join(TRAINED["folder"], "pairs.tsv"), sample_pairs(400))
    options = {
        **TINY, "model.embed": 24, "model.hidden": 48, "train.epochs": 4, "train.lr": 0.01,
        "data.normalise": "notebook", "data.pairs": pairs, "run.dir": path}
    result = run("train", *words(options))
    if result.returncode != 0:
        raise AssertionError(result.stderr)
    steps = sorted(name for name in os.listdir(path) if name.startswith("step-"))
    TRAINED["run"], TRAINED["steps"] = path, [os.path.join(path, name) for name in steps]


def tearDownModule():
    shutil.rmtree(TRAINED["folder"])


class WorkerTest(unittest.TestCase):
    """A queue, and workers that connect to it."""

    def setUp(self):
        self.folder = new_folder()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.context = zmq.Context()
        self.addCleanup(self.context.term)
        self.queue = FakeQueue(self.context)
        self.addCleanup(lambda: self.queue.close())
        self.old, self.new = TRAINED["steps"][-2:]

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
        self.queue.say(peer, PING, {"time": 1})
        self.queue.take(PONG, peer)  # so it has read all that was sent before
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


class Fetch(WorkerTest):
    """The queue's folder is not this worker's."""

    def hold(self, folder):
        """The queue has the files of a checkpoint; returns the hash of its manifest."""
        names = [name for name in os.listdir(folder) if name != "optimizer.safetensors"]
        held = {hash_of(read(folder, name)): read(folder, name) for name in names}
        self.queue.files.update(held)
        return hash_of(read(folder, "manifest.json"))

    def cached(self):
        return sorted(os.listdir(os.path.join(self.folder, "cache")))

    def fetched(self, process, peer, folder, version=1):
        manifest = self.hold(folder)
        loaded = self.queue.load(peer, version, "/nowhere", manifest=manifest)
        self.assertEqual(loaded["text"], "", process.log())
        return manifest

    def test_a_fetched_checkpoint_translates_as_the_folder_does(self):
        process, peer = self.joined()
        manifest = self.fetched(process, peer, self.old)
        self.assertEqual(self.cached(), [f"{manifest:016x}"])
        self.assertNotIn("optimizer.safetensors", os.listdir(os.path.join(self.folder, "cache", self.cached()[0])))
        self.assertEqual(self.queue.load(peer, 2, self.old)["ok"], 1)
        texts = ["we are tired .", "the hotel is empty ."]
        self.assertEqual(self.texts(peer, 1, *texts), self.texts(peer, 2, *texts))
        self.leave(process, peer)

    def test_pieces_may_be_small_and_several_are_on_their_way(self):
        self.queue.piece_size = 1000
        process, peer = self.joined()
        self.fetched(process, peer, self.old)
        self.assertGreater(self.queue.fetches_at_once, 1)
        self.leave(process, peer)

    def test_the_cache_saves_the_second_fetch_and_mends_itself(self):
        process, peer = self.joined()
        self.fetched(process, peer, self.old)
        self.leave(process, peer)
        before = self.queue.fetches
        process, peer = self.joined()
        manifest = self.fetched(process, peer, self.old)
        self.assertEqual(self.queue.fetches, before)
        self.leave(process, peer)
        with open(os.path.join(self.folder, "cache", f"{manifest:016x}", "model.safetensors"), "r+b") as file:
            file.seek(-50, os.SEEK_END)
            file.write(b"damaged")
        process, peer = self.joined()
        self.fetched(process, peer, self.old)
        self.assertGreater(self.queue.fetches, before)
        self.leave(process, peer)

    def test_what_the_queue_does_not_have_or_damages_is_refused(self):
        process, peer = self.ready()
        manifest = self.hold(self.new)
        model = hash_of(read(self.new, "model.safetensors"))
        whole = self.queue.files.pop(model)
        self.queue.piece_size = 5000
        refused = self.queue.load(peer, 2, "/nowhere", manifest=manifest)
        self.assertEqual(refused["ok"], 0)
        self.assertIn("does not have", refused["text"])
        self.queue.files[model] = whole[:-1] + bytes([whole[-1] ^ 1])
        refused = self.queue.load(peer, 3, "/nowhere", manifest=manifest)
        self.assertEqual(refused["ok"], 0)
        self.assertIn("model.safetensors", refused["text"])
        self.assertEqual(self.cached(), [])
        self.queue.files[model] = whole + b"x"
        self.assertIn("bytes", self.queue.load(peer, 4, "/nowhere", manifest=manifest)["text"])
        self.assertEqual(len(self.texts(peer, 1, "we are tired .")), 1)
        self.queue.files[model] = whole
        self.assertEqual(self.queue.load(peer, 5, "/nowhere", manifest=manifest)["ok"], 1)
        self.leave(process, peer)

    def test_two_workers_of_a_host_fetch_at_once(self):
        manifest = self.hold(self.old)
        self.queue.piece_size = 2000
        processes = [self.worker(), self.worker()]
        peers = [self.queue.join()[0] for _ in processes]
        for peer in peers:
            self.queue.offer(peer, 1, "/nowhere", manifest=manifest)
        for peer in peers:
            self.assertEqual(self.queue.loaded(peer)["ok"], 1)
        self.assertEqual(self.cached(), [f"{manifest:016x}"])

    def test_a_retired_version_is_not_fetched_further(self):
        process, peer = self.joined()
        manifest = hash_of(read(self.old, "manifest.json"))
        self.queue.offer(peer, 1, "/nowhere", manifest=manifest)
        fetch = self.queue.take(FETCH, peer)
        self.queue.say(peer, RETIRE, {"version": 1})
        self.hold(self.old)
        self.queue.piece(peer, fetch[2])
        self.assertEqual(self.queue.load(peer, 2, self.new)["ok"], 1)
        self.assertEqual(self.cached(), [])
        self.leave(process, peer)

    def test_it_keeps_the_newest_four(self):
        process, peer = self.joined()
        folder = os.path.join(self.folder, "cache")
        for i in range(6):
            os.makedirs(os.path.join(folder, f"{i:016x}"))
            os.utime(os.path.join(folder, f"{i:016x}"), (i, i))
        write(os.path.join(folder, "note"), "not a checkpoint")
        manifest = self.fetched(process, peer, self.old)
        self.assertEqual(set(self.cached()), {"note", f"{manifest:016x}", *(f"{i:016x}" for i in (3, 4, 5))})
        self.leave(process, peer)


class Reconnect(WorkerTest):
    def restart(self):
        """The queue dies; another one takes its place."""
        endpoint = self.queue.endpoint
        self.queue.close()
        self.queue = FakeQueue(self.context, endpoint)
        return self.queue

    def test_it_joins_a_restarted_queue_and_keeps_its_model(self):
        process, peer = self.ready()
        before = self.texts(peer, 1, "we are tired .")
        peer, join = self.restart().join()
        self.assertEqual(join["worker"], 1)
        loaded = self.queue.load(peer, 7, self.old)
        self.assertEqual((loaded["ok"], loaded["version"]), (1, 7))
        self.assertLess(loaded["load_us"], 10_000)
        self.assertEqual(self.queue.take(CREDIT)[2]["units"], 2)
        self.assertEqual(self.texts(peer, 7, "we are tired ."), before)
        self.leave(process, peer)

    def test_a_result_for_the_old_queue_never_reaches_the_new_one(self):
        process, peer = self.ready()
        self.queue.take(CREDIT)
        for number in (1, 2):
            self.queue.send(peer, *batch(number, 1, [f"we are tired {i} ." for i in range(2000)]))
        self.queue.say(peer, PING, {"time": 1})
        self.queue.take(PONG)
        peer, _ = self.restart().join()
        self.assertEqual(self.queue.load(peer, 1, self.new)["ok"], 1)
        self.texts(peer, 1, "we are tired .")
        self.leave(process, peer)
        self.assertEqual([kind for _, kind, _, _ in self.queue.waiting if kind == RESULT], [])

    def test_after_silence_it_connects_again(self):
        process = self.worker()
        peer, _ = self.queue.join(timeout_ms=200, heartbeat_ms=100)
        again, join = self.queue.join()
        self.assertNotEqual(peer, again)
        self.assertEqual(join["worker"], 1)
        process.event("queue_silent")
        self.leave(process, again)

    def test_a_queue_that_forgot_it_is_joined_again(self):
        process, peer = self.ready()
        self.queue.say(peer, ERROR, {"code": 5, "text": "you were declared dead"})
        again, join = self.queue.join()
        self.assertNotEqual(peer, again)
        self.assertEqual(join["worker"], 1)
        self.assertEqual(self.queue.load(again, 1, self.old)["ok"], 1)
        self.leave(process, again)

    def test_it_ends_when_no_queue_comes(self):
        self.queue.close()
        process = self.worker("--serve.reconnect_timeout", "0.3")
        self.assertEqual(process.end(), 1)
        self.assertIn("serve.reconnect_timeout", process.event("failed")["reason"])
        self.queue = FakeQueue(self.context)

    def test_a_signal_without_a_queue_ends_it(self):
        self.queue.close()
        process = self.worker()
        process.event("waiting_for_queue")
        process.send(signal.SIGTERM)
        self.assertEqual(process.end(), 0)
        self.queue = FakeQueue(self.context)


class Hostile(WorkerTest):
    def test_messages_out_of_turn_end_it_with_an_error(self):
        """Each of them ends the worker, which says why to the queue and to its user."""
        joined = {"worker": 1, "heartbeat_ms": 1, "timeout_ms": 100000, "lease_ms": 1, "batch": 1}
        cases = [
            ("BATCH came before JOINED", False, batch(1, 1, ["a"])),
            ("MODEL came before JOINED", False, frames(MODEL, {
                "version": 1, "manifest": 1, "step": 1, "echo": 1, "source": "", "target": "", "path": ""})),
            ("JOINED came without a JOIN", True, frames(JOINED, joined)),
            ("BATCH came without credit", True, batch(1, 1, ["a"])),
            ("PIECE came without a FETCH", True, frames(PIECE, {"hash": 1, "offset": 0, "total": 1, "size": 1}, b"x")),
            ("is not for a translation worker", True, frames(GOODBYE, {"worker": 1})),
            ("RETIRE: ", True, frames(RETIRE, {})),
            ("PING: ", True, frames(PING, {})),
        ]
        for text, joins, parts in cases:
            with self.subTest(text):
                process = self.worker()
                if joins:
                    peer, _ = self.queue.join()
                else:
                    peer = self.queue.take(JOIN)[0]
                self.queue.send(peer, *parts)
                said = self.queue.take(ERROR, peer)[2]
                self.assertEqual(said["code"], 5)
                self.assertIn(text, said["text"])
                self.assertEqual(process.end(), 1)
                self.assertIn(text, process.event("failed")["reason"])

    def test_frames_that_are_no_message_end_it(self):
        for parts in ([b"e"], [b"f"], [b""], [b"\xc1", b""], [b"x"] * 9):
            with self.subTest(parts):
                process, peer = self.joined()
                self.queue.send(peer, *parts)
                self.assertEqual(self.queue.take(ERROR, peer)[2]["code"], 5)
                self.assertEqual(process.end(), 1)

    def test_an_unknown_version_and_a_changed_one_end_it(self):
        process, peer = self.ready()
        self.queue.send(peer, *batch(1, 99, ["a"]))
        self.assertIn("99", self.queue.take(ERROR, peer)[2]["text"])
        self.assertEqual(process.end(), 1)
        process, peer = self.ready()
        self.queue.offer(peer, 1, self.new)
        self.assertIn("another checkpoint", self.queue.take(ERROR, peer)[2]["text"])
        self.assertEqual(process.end(), 1)


class Poison(WorkerTest):
    def test_the_faulty_program_dies_of_a_text(self):
        process, peer = self.ready(binary=FAULTS, fault="translate=poison")
        self.assertEqual(len(self.texts(peer, 1, "we are tired .")), 1)
        self.queue.send(peer, *batch(9, 1, ["we are tired .", "poison"]))
        self.assertEqual(process.end(), -signal.SIGKILL)


if __name__ == "__main__":
    main()
