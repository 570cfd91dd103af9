"""A translation queue, its workers and its clients as processes and threads of a test.

The queue is `lstmq serve` with workers of the test's own, so that each can be killed and stopped. A Load is a client on
a thread, written from PROTOCOL.md alone. When it connects again, it repeats the requests that have no answer, under the
same numbers. It knows what each request was answered, how often, and when."""

import gc
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time
import unittest

from support.cluster import FAULTS, FULL, LIMIT_S, Process, main  # noqa: F401
from support.program import BINARY
from support.queue_peers import FAILED, REJECTED, TRANSLATE, TRANSLATED, message, msgpack, packed, zmq  # noqa: F401
from support.training import TINY, dotted, new_folder, sample_pairs, words, write
from zmq.utils.monitor import recv_monitor_message


# A collection looks at every request that a load has kept, and would stop its clients for that long.
gc.disable()


def translate(client, request, texts, source="", target="", deadline_ms=0, details=0):
    """The frames of a TRANSLATE."""
    lengths, data = packed(texts)
    return message(
        TRANSLATE, {
            "client": client, "request": request, "source": source, "target": target, "deadline_ms": deadline_ms,
            "alternatives": 0, "details": details, "text_count": len(texts), "size": len(data)}, lengths, data)


class Answer:
    """What came for a request: .outcome is 0 for TRANSLATED, else the reason; .texts has None for one that failed."""

    def __init__(self, frames):
        kind, body = msgpack.unpackb(frames[0])["t"], msgpack.unpackb(frames[1])
        self.request, self.texts, self.model, self.step, self.why = body.get("request"), [], "", 0, ""
        if kind == REJECTED:
            self.outcome, self.why, self.retry_ms = body["reason"], body["text"], body["retry_ms"]
            return
        if kind != TRANSLATED:
            raise AssertionError(f"message {kind}: {body}")
        self.outcome, self.model, self.step = 0, body["model"], body["step"]
        answers = list(struct.iter_unpack("<7I", frames[2]))
        sizes = [size for size, _ in struct.iter_unpack("<If", frames[3])]
        at = number = 0
        for status, hypotheses, *_ in answers:
            self.texts.append(frames[4][at:at + sizes[number]].decode() if status == 0 else None)
            at += sum(sizes[number:number + hypotheses])
            number += hypotheses


class Sent:
    """A request: when it was due, what it has, and its answers with their times (monotonic, seconds)."""

    def __init__(self, texts, due_s):
        self.texts, self.due_s, self.sent_s, self.answers = texts, due_s, None, []

    def took_s(self):
        return self.answers[0][0] - self.due_s


class Load(threading.Thread):
    """A client with `window` requests in flight; or, with `rate`, one that sends so many a second whatever comes back.
    `texts` is a function of a number: the texts of that request. It sends at most `most` requests. With `retries` it
    sends a request again, as long as the queue says that it may be tried later."""

    def __init__(self, test, endpoint, texts, window=8, rate=0, keys=None, deadline_ms=60_000,
                 most=None, retries=False):
        super().__init__(daemon=True)
        self.endpoint, self.texts, self.window, self.rate, self.keys = endpoint, texts, window, rate, keys
        self.deadline_ms, self.most, self.retries = deadline_ms, most, retries
        self.client = random.getrandbits(62) | 1
        self.sent, self.waiting, self.later, self.doubled, self.repeated = [], {}, [], 0, 0
        self.news = threading.Condition()
        self.ending, self.failure, self.connected = threading.Event(), None, False
        test.addCleanup(self.end)
        self.start()

    def run(self):
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
        try:
            self._run(socket, monitor)
        except BaseException as failure:  # the test's thread raises it
            self.failure = failure
        finally:
            socket.disable_monitor()
            monitor.close(linger=0)
            socket.close(linger=0)
            context.term()
            with self.news:
                self.news.notify_all()

    def _run(self, socket, monitor):
        socket.linger, socket.sndhwm, socket.rcvhwm, socket.immediate = 0, 0, 0, 1
        socket.reconnect_ivl, socket.reconnect_ivl_max = 20, 200
        if self.keys is not None:
            socket.curve_publickey, socket.curve_secretkey, socket.curve_serverkey = self.keys
        socket.connect(self.endpoint)
        began_s, owed = time.monotonic(), []
        while not (self.ending.is_set() and not self.waiting):
            now = time.monotonic()
            self._due(owed, began_s, now)
            self._again(monitor, owed)
            while owed and self._send(socket, owed[0]):
                owed.pop(0)
            if socket.poll(self._wait_ms(began_s, owed)):
                self._take(socket)

    def _wait_ms(self, began_s, owed):
        if self.rate and not self.ending.is_set() and not owed:
            due_s = began_s + len(self.sent) / self.rate
            return min(20, max(0, (due_s - time.monotonic()) * 1000))
        return 20

    def _due(self, owed, began_s, now):
        """Add the requests that are due to `owed`."""
        while not self.ending.is_set() and len(self.sent) != self.most:
            due_s = began_s + len(self.sent) / self.rate if self.rate else now
            if due_s > now if self.rate else len(self.waiting) >= self.window:
                break
            number = len(self.sent)
            with self.news:
                self.sent.append(Sent(self.texts(number), due_s))
                self.waiting[number] = self.sent[number]
            owed.append(number)

    def _again(self, monitor, owed):
        """After another connection, the requests without an answer are due again. The news of the first one may come
        after requests were sent over it."""
        while monitor.poll(0):
            recv_monitor_message(monitor)
            if not self.connected:
                self.connected = True
                continue
            again = [number for number in self.waiting if number not in owed and self.sent[number].sent_s is not None]
            self.repeated += len(again)
            owed.extend(again)
        now = time.monotonic()
        owed.extend(number for at, number in self.later if at <= now)
        self.later = [(at, number) for at, number in self.later if at > now]

    def _send(self, socket, number):
        sent = self.sent[number]
        if sent.answers:
            return True
        try:
            socket.send_multipart(
                translate(self.client, number, sent.texts, deadline_ms=self.deadline_ms), zmq.DONTWAIT)
        except zmq.Again:
            return False
        sent.sent_s = time.monotonic()
        return True

    def _take(self, socket):
        for _ in range(100):
            try:
                answer = Answer(socket.recv_multipart(zmq.DONTWAIT))
            except zmq.Again:
                return
            now = time.monotonic()
            sent = self.sent[answer.request]
            if self.retries and answer.outcome and answer.retry_ms and answer.request in self.waiting:
                self.later.append((now + answer.retry_ms / 1000, answer.request))
                continue
            with self.news:
                if answer.request not in self.waiting:
                    self.doubled += 1
                sent.answers.append((now, answer))
                self.waiting.pop(answer.request, None)
                self.news.notify_all()

    def end(self):
        self.ending.set()
        with self.news:
            self.waiting.clear()
        self.join(LIMIT_S)

    def wait(self, condition, limit=LIMIT_S):
        """Wait until `condition` of this load is true."""
        with self.news:
            found = self.news.wait_for(lambda: self.failure or condition(self), limit)
        if self.failure:
            raise self.failure
        if not found:
            raise AssertionError(f"the load did not get there in {limit} s: {len(self.sent)} sent, "
                                 f"{len(self.waiting)} wait")

    def answered(self, count, limit=LIMIT_S):
        """Wait until so many requests, or that many more with a mark from .count(), are answered."""
        self.wait(lambda load: load.count() >= count, limit)

    def count(self):
        return len(self.sent) - len(self.waiting)

    def finish(self, limit=LIMIT_S):
        """Send nothing more; wait for the answers that are missing."""
        self.ending.set()
        self.wait(lambda load: not load.waiting, limit)
        self.join(LIMIT_S)
        return self

    def outcomes(self):
        """{outcome: number of requests}"""
        found = {}
        for sent in self.sent:
            outcome = sent.answers[0][1].outcome if sent.answers else None
            found[outcome] = found.get(outcome, 0) + 1
        return found

    def times(self):
        """The times of all answers, in order."""
        return sorted(sent.took_s() for sent in self.sent if sent.answers)

    def wrong(self, wanted):
        """Requests answered with other texts than wanted(text)."""
        return [(sent.texts, answer.texts) for sent in self.sent for _, answer in sent.answers
                if answer.outcome == 0 and answer.texts != [wanted(text) for text in sent.texts]]


def share(times, part):
    """A percentile of sorted times."""
    return times[min(len(times) - 1, int(part * len(times)))] if times else 0.0


class Queue:
    """`lstmq serve` on a free port, and workers in the order in which they were started. The second start uses the same
    port."""

    def __init__(self, test, *flags, binary=BINARY, files=None, **options):
        self.test, self.flags, self.binary, self.files = test, flags, binary, files
        self.options = {"serve.bind": "tcp://127.0.0.1:0", "serve.workers": 0, **dotted(options)}
        self.workers, self.processes = [], []
        self.process = self.endpoint = self.http = None
        test.addCleanup(self.close)

    def start(self, environment=None):
        arguments, binary = ["serve", *words(self.options), *self.flags], self.binary
        if self.files:  # the most descriptors that it may open
            arguments, binary = ["-c", f'ulimit -n {self.files}; exec "$@"', "sh", binary, *arguments], "/bin/sh"
        self.process = self._process(*arguments, binary=binary, name="queue", environment=environment)
        self.endpoint = self.process.event("listening")["address"]
        self.options["serve.bind"] = self.endpoint
        if self.options.get("http.bind"):
            self.http = self.process.event("http_listening")["address"]
            self.options["http.bind"] = self.http
        return self

    def worker(self, *flags, binary=FAULTS, fault=None):
        process = self._process("translate-worker", "--connect", self.endpoint, "--threads", "1", *flags, binary=binary,
                                environment={"LSTMQ_FAULT": fault} if fault else None,
                                name=f"worker {len(self.workers)}")
        self.workers.append(process)
        return process

    def ready(self, worker):
        """Wait until this worker has loaded a model."""
        worker.event("model_loaded")
        return worker

    def children(self):
        """Process ids of the workers that the queue has started."""
        try:
            with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children", encoding="ascii") as file:
                return [int(pid) for pid in file.read().split()]
        except FileNotFoundError:
            return []

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def _process(self, *arguments, **more):
        process = Process(*arguments, "--log.format", "json", **more)
        self.processes.append(process)
        return process

    def log(self):
        return "\n".join(process.log() for process in self.processes)

    def close(self):
        for process in self.processes:
            if not process.ended():
                process.send(9)
        for process in self.processes:
            process.end()


class ServeTest(unittest.TestCase):
    """A test with a folder, and a small model of the sample's grammar."""

    model_options = {**TINY, "train.epochs": 3}
    _model = None

    @classmethod
    def setUpClass(cls):
        cls.shared = new_folder()
        cls.addClassCleanup(shutil.rmtree, cls.shared, ignore_errors=True)

    def setUp(self):
        self.folder = new_folder()
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    @classmethod
    def model(cls):
        """The folder of the run, trained once for the tests of a class."""
        if cls._model is None:
            pairs = write(os.path.join(cls.shared, "pairs.tsv"), sample_pairs(1200))
            run = os.path.join(cls.shared, "run")
            subprocess.run([BINARY, "train", *words({**cls.model_options, "data.pairs": pairs, "run.dir": run})],
                           stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True, timeout=600)
            cls._model = run
        return cls._model

    @staticmethod
    def sentences(count):
        return [line.split("\t")[0] for line in sample_pairs(count)]

    def translated(self, run, sentences):
        """{sentence: what `lstmq translate` makes of it}"""
        result = subprocess.run([BINARY, "translate", "--model", run], input="".join(f"{line}\n" for line in sentences),
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, encoding="utf-8", check=True,
                                timeout=600)
        return dict(zip(sentences, result.stdout.split("\n")))

    def queue(self, *flags, **options):
        return Queue(self, *flags, **options)

    def load(self, endpoint, texts, **more):
        return Load(self, endpoint, texts, **more)

    def say(self, text):
        print(f"  {text}", file=sys.stderr, flush=True)

    def nothing_went_wrong(self, load, found=None):
        """Each request has exactly one answer, and it is a translation."""
        self.assertEqual(load.doubled, 0, "doubled answers")
        self.assertEqual(set(load.outcomes()), {0}, found or load.outcomes())
