"""A translation queue as a process of a test, and peers of it that speak the messages of PROTOCOL.md: a client, and a
worker that answers with the texts in capitals.

A Worker does what its `plan` says for each batch, so that a test decides when and how it answers. All of it runs on
the test's own thread: a test calls work() or wait_for()."""

import json
import os
import struct
import sys
import time

from support.cluster import BINARY, LIMIT_S, Process, parsed  # noqa: F401

try:
    import msgpack
    import zmq
except ImportError:
    print("skipped: python3-zmq or python3-msgpack is not installed")
    sys.exit(77)

ERROR, PING, PONG, CREDIT, ASK, STATUS = 14, 15, 16, 6, 22, 23
TRANSLATE, TRANSLATED, REJECTED, CANCEL = 24, 25, 26, 27
JOIN, JOINED, MODEL, LOADED, RETIRE, FETCH, PIECE, BATCH, RESULT, GOODBYE = range(28, 38)
BUSY, EXPIRED, INVALID, NO_WORKER, ENDING, FAILED = range(1, 7)


def message(kind, body, *bulk):
    return [msgpack.packb({"v": [1, 0], "t": kind}), msgpack.packb(body), *bulk]


def texts_of(count, lengths, data):
    found, at = [], 0
    for size in struct.unpack(f"<{count}I", lengths):
        found.append(data[at:at + size].decode())
        at += size
    return found


def packed(texts):
    data = [text.encode() for text in texts]
    return struct.pack(f"<{len(data)}I", *map(len, data)), b"".join(data)


class Peer:
    """A DEALER of a queue, with what it received and has not taken."""

    def __init__(self, context, endpoint, keys=None):
        self.context, self.endpoint, self.keys = context, endpoint, keys
        self.open()

    def open(self):
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = self.socket.rcvhwm = 0
        if self.keys is not None:
            self.socket.curve_publickey, self.socket.curve_secretkey, self.socket.curve_serverkey = self.keys
        self.socket.connect(self.endpoint)

    def reconnect(self):
        self.close()
        self.open()

    def close(self):
        self.socket.close(linger=0)

    def say(self, kind, body, *bulk):
        self.socket.send_multipart(message(kind, body, *bulk))

    def hear(self, seconds=0):
        """(kind, body, bulk frames) of the next message, or None."""
        if not self.socket.poll(int(seconds * 1000)):
            return None
        frames = self.socket.recv_multipart()
        return msgpack.unpackb(frames[0])["t"], msgpack.unpackb(frames[1]), frames[2:]


class Client(Peer):
    """answers: by request number, a list of texts (None = failed), or a REJECTED body."""

    numbers = 0

    def __init__(self, context, endpoint, keys=None):
        super().__init__(context, endpoint, keys)
        Client.numbers += 1
        self.client = (os.getpid() << 20) + Client.numbers
        self.requests, self.answers, self.bodies, self.took_s, self.sent = 0, {}, {}, {}, {}
        self.doubled = self.errors = 0

    def request(self, *texts, number=None, seconds=30, alternatives=0, details=0, source="", target=""):
        """Send TRANSLATE; the number of the request."""
        if number is None:
            self.requests += 1
            number = self.requests
        lengths, data = packed(texts)
        self.sent[number] = time.monotonic()
        self.say(
            TRANSLATE, {
                "client": self.client, "request": number, "source": source, "target": target,
                "deadline_ms": int(seconds * 1000), "alternatives": alternatives, "details": details,
                "text_count": len(texts), "size": len(data)}, lengths, data)
        return number

    def cancel(self, number):
        self.say(CANCEL, {"client": self.client, "request": number})

    def take(self, seconds=0):
        """Take one answer; False if there is no message."""
        heard = self.hear(seconds)
        if heard is None:
            return False
        kind, body, bulk = heard
        if kind == ERROR:
            self.errors += 1
            self.bodies["error"] = body
            return True
        if kind not in (TRANSLATED, REJECTED):
            self.bodies[kind] = body
            return True
        number = body["request"]
        self.doubled += number in self.answers
        self.bodies[number] = body
        self.took_s[number] = time.monotonic() - self.sent[number]
        if kind == REJECTED:
            self.answers[number] = body
            return True
        answers = [struct.unpack_from("<7I", bulk[0], 28 * i) for i in range(body["text_count"])]
        sizes = [struct.unpack_from("<If", bulk[1], 8 * i)[0] for i in range(body["hypothesis_count"])]
        found, at = [], 0
        for status, hypotheses, *_ in answers:
            mine = []
            for _ in range(hypotheses):
                size = sizes.pop(0)
                mine.append(bulk[2][at:at + size].decode())
                at += size
            found.append(mine[0] if status == 0 else None)
        self.answers[number] = found
        return True


class Worker(Peer):
    """A worker on the test's thread. `plan(worker, batch)` is called for each BATCH, a dict with id and texts; by
    default it answers at once. `batches` are all that it received."""

    def __init__(self, context, endpoint, keys=None, plan=None, loads=True):
        super().__init__(context, endpoint, keys)
        self.plan, self.loads = plan or Worker.answer, loads
        self.batches, self.models, self.retired, self.errors, self.number = [], {}, [], [], None
        self.answers_pings = True
        self.join()

    def join(self):
        self.say(
            JOIN, {
                "build": "test", "backend": "python", "isa": "", "host": "here", "threads": 1, "pid": os.getpid(),
                "worker": self.number or 0})

    def answer(self, batch, texts=None, credit=True):
        """Send RESULT; by default with the texts in capitals."""
        found = [text.upper() for text in batch["texts"]] if texts is None else texts
        data = [text.encode() for text in found]
        self.say(
            RESULT, {
                "batch": batch["id"], "computed_us": 1000, "text_count": len(data), "hypothesis_count": len(data),
                "size": sum(map(len, data)), "notes_size": 0}, struct.pack("<7I", 0, 1, 1, 1, 0, 0, 0) * len(data),
            b"".join(struct.pack("<If", len(text), 0) for text in data), b"".join(data), b"")
        if credit:
            self.say(CREDIT, {"units": 1})

    def keep(self, batch):
        """A plan that answers nothing."""

    def loaded(self, version, good=True):
        self.say(LOADED, {"version": version, "ok": int(good), "load_us": 1, "text": "" if good else "it is damaged"})

    def take(self, seconds=0):
        """Take one message; False if no message waits."""
        heard = self.hear(seconds)
        if heard is None:
            return False
        kind, body, bulk = heard
        if kind == PING and self.answers_pings:
            self.say(PONG, {"time": body["time"]})
        elif kind == JOINED:
            self.number = body["worker"]
            self.say(CREDIT, {"units": 2})
        elif kind == MODEL:
            self.models[body["version"]] = body
            if self.loads:
                self.loaded(body["version"])
        elif kind == RETIRE:
            self.retired.append(body["version"])
        elif kind == ERROR:
            self.errors.append(body)
        elif kind == PIECE:
            self.piece = (body, bulk[0])
        elif kind == BATCH:
            batch = {"id": body["batch"], "version": body["version"], "texts": texts_of(body["text_count"], *bulk)}
            self.batches.append(batch)
            self.plan(self, batch)
        return True

    def goodbye(self):
        self.say(GOODBYE, {"worker": self.number or 0})


class Queue:
    """`lstmq serve` with these options ("serve.queue": 5), its workers and clients."""

    def __init__(self, test, *flags, binary=BINARY, **options):
        options = {"serve.bind": "tcp://127.0.0.1:0", "serve.workers": 0, "serve.heartbeat_timeout": 60000, **options}
        if "serve.model" not in options:
            flags = ("--serve.echo", *flags)
        words = [word for key, value in options.items() for word in ("--" + key, str(value))]
        self.context = zmq.Context()
        self.peers = []
        self.process = Process("serve", *words, *flags, "--log.format", "json", binary=binary, name="queue")
        test.addCleanup(self.close)
        self.endpoint = self.process.event("listening")["address"]

    def worker(self, **more):
        self.peers.append(Worker(self.context, self.endpoint, **more))
        return self.peers[-1]

    def client(self, **more):
        self.peers.append(Client(self.context, self.endpoint, **more))
        return self.peers[-1]

    def work(self, seconds=0.0):
        """Let all peers take what waits, for that time."""
        end = time.monotonic() + seconds
        while True:
            while any([peer.take() for peer in list(self.peers) if not peer.socket.closed]):
                pass  # what a peer does in take() may open and close others
            open_peers = [peer for peer in self.peers if not peer.socket.closed]
            left = end - time.monotonic()
            if left <= 0:
                return
            zmq.select([peer.socket for peer in open_peers], [], [], min(left, 0.005))

    def wait_for(self, condition, seconds=LIMIT_S):
        """Let all peers work until the condition is true; its value."""
        end = time.monotonic() + seconds
        while not (result := condition()):
            if time.monotonic() > end:
                raise AssertionError("it did not come about in time\n" + self.process.log())
            self.work(0.01)
        return result

    def answers(self, client, *numbers):
        """The answers to these requests, once all are here."""
        self.wait_for(lambda: all(number in client.answers for number in numbers))
        return [client.answers[number] for number in numbers]

    def status(self):
        """The queue's own status."""
        asker = self.client()
        asker.say(ASK, {"detail": 1})
        body = self.wait_for(lambda: asker.bodies.get(STATUS))
        asker.close()
        self.peers.remove(asker)
        return json.loads(body["json"])

    def close(self):
        for peer in self.peers:
            peer.close()
        self.context.term()
        if not self.process.ended():
            self.process.kill()
