"""A translation queue as PROTOCOL.md describes it, for one or several translation workers; no broker behind it."""

import ctypes
import struct
import time

import msgpack
import zmq

CREDIT, ERROR, PING, PONG = 6, 14, 15, 16
JOIN, JOINED, MODEL, LOADED, RETIRE, FETCH, PIECE, BATCH, RESULT, GOODBYE = range(28, 38)
LIMIT_S = 180  # only ends a hang


def frames(kind, body, *bulk):
    return [msgpack.packb({"v": [1, 0], "t": kind}), msgpack.packb(body), *bulk]


def hash_of(data):
    """XXH3 of the bytes, 64 bits, by the library that lstmq itself uses."""
    function = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    function.restype, function.argtypes = ctypes.c_uint64, [ctypes.c_char_p, ctypes.c_size_t]
    return function(data, len(data))


def batch(number, version, texts, details=0):
    """The frames of a BATCH."""
    data = [text if isinstance(text, bytes) else text.encode() for text in texts]
    whole = b"".join(data)
    body = {"batch": number, "version": version, "alternatives": 0, "details": details, "text_count": len(data),
            "size": len(whole)}
    return frames(BATCH, body, struct.pack(f"<{len(data)}I", *map(len, data)), whole)


class Answer:
    """What a RESULT says of one text."""

    def __init__(self, fields, text, notes):
        self.status, _, self.src_tokens, self.tgt_tokens, self.unknown, self.cut, _ = fields
        self.text, self.notes = text, notes


def answers(body, of, hypotheses, data, notes):
    """The answers in a RESULT. Checks that all sizes add up."""
    rows, found = list(struct.iter_unpack("<7I", of)), []
    sizes = iter(list(struct.iter_unpack("<If", hypotheses)))
    assert len(rows) == body["text_count"] and len(hypotheses) == 8 * body["hypothesis_count"]
    assert len(data) == body["size"] and len(notes) == body["notes_size"]
    for row in rows:
        texts = []
        for _ in range(row[1]):
            size, _ = next(sizes)
            texts.append(data[:size].decode())
            data = data[size:]
        found.append(Answer(row, texts[0] if texts else None, notes[:row[6]].decode()))
        notes = notes[row[6]:]
    assert not data and not notes
    return found


class FakeQueue:
    """.endpoint; one peer at a time is spoken to with say and take, by its routing id."""

    def __init__(self, context, endpoint="tcp://127.0.0.1:0"):
        self.socket = context.socket(zmq.ROUTER)
        self.socket.linger = 0
        self.socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self.bind(endpoint)
        self.endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self.number, self.batches = 0, 0
        self.files, self.piece_size = {}, 1 << 20  # by hash; answered in pieces of that many bytes
        self.fetches = self.fetches_at_once = 0
        self.waiting = []  # messages that take() passed over: (peer, kind, body, bulk)

    def bind(self, endpoint):
        """The socket of a queue that was just closed may still be there."""
        end = time.monotonic() + LIMIT_S
        while True:
            try:
                return self.socket.bind(endpoint)
            except zmq.ZMQError as error:
                if error.errno != zmq.EADDRINUSE or time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def close(self):
        self.socket.close()

    def send(self, peer, *parts):
        self.socket.send_multipart([peer, *parts])

    def say(self, peer, kind, body, *bulk):
        self.send(peer, *frames(kind, body, *bulk))

    def receive(self, seconds=LIMIT_S):
        """The next message; None without one in time."""
        if not self.socket.poll(int(seconds * 1000)):
            return None
        peer, header, body, *bulk = self.socket.recv_multipart()
        header = msgpack.unpackb(header)
        assert header["v"][0] == 1, header
        return peer, header["t"], msgpack.unpackb(body), bulk

    def take(self, kind, peer=None, seconds=LIMIT_S):
        """The next message of that kind (of that peer); others wait for a later call. FETCH is answered here."""
        end = time.monotonic() + seconds
        while True:
            for i, found in enumerate(self.waiting):
                if found[1] == kind and peer in (None, found[0]):
                    return self.waiting.pop(i)
            found = self.receive(max(0, end - time.monotonic()))
            if found is None:
                raise AssertionError(f"no message {kind} in {seconds} s, but {[found[1:3] for found in self.waiting]}")
            if found[1] == FETCH and kind != FETCH and self.files:
                self.fetched(found)
            else:
                self.waiting.append(found)

    def join(self, timeout_ms=120_000, heartbeat_ms=60_000):
        """Wait for a worker; its routing id and its JOIN."""
        peer, _, body, _ = self.take(JOIN)
        self.number += 1
        self.say(peer, JOINED, {"worker": self.number, "heartbeat_ms": heartbeat_ms, "timeout_ms": timeout_ms,
                                "lease_ms": 60_000, "batch": 64})
        return peer, body

    def offer(self, peer, version, path="", manifest=None, echo=0, step=1):
        if manifest is None:
            with open(path + "/manifest.json", "rb") as file:
                manifest = hash_of(file.read())
        self.say(peer, MODEL, {"version": version, "manifest": manifest, "step": step, "echo": echo, "source": "en",
                               "target": "fr", "path": path})

    def load(self, peer, version, path="", **more):
        """Offer a checkpoint; what LOADED says."""
        self.offer(peer, version, path, **more)
        return self.loaded(peer)

    def loaded(self, peer):
        return self.take(LOADED, peer)[2]

    def translate(self, peer, version, texts, details=0):
        """The answers to one batch."""
        self.batches += 1
        self.send(peer, *batch(self.batches, version, texts, details))
        _, _, body, bulk = self.take(RESULT, peer)
        assert body["batch"] == self.batches, body
        return answers(body, *bulk)

    def fetched(self, found):
        """Answer a FETCH, and others that are here too."""
        asked = [found]
        while (another := self.receive(0)) is not None:
            (asked if another[1] == FETCH else self.waiting).append(another)
        self.fetches_at_once = max(self.fetches_at_once, len(asked))
        for peer, _, body, _ in asked:
            self.piece(peer, body)

    def piece(self, peer, body):
        """Answer a FETCH from .files, by hash."""
        data = self.files.get(body["hash"], b"")
        part = data[body["offset"]:body["offset"] + self.piece_size]
        self.fetches += 1
        self.say(peer, PIECE, {"hash": body["hash"], "offset": min(body["offset"], len(data)), "total": len(data),
                               "size": len(part)}, part)
