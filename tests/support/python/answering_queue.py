"""A translation queue without workers, as a thread of a test: it answers as the test says.

It is written from PROTOCOL.md alone. `answer` is a function of a Request: a list of texts (or of Made, or None for a
text that failed), a Refusal, or None for no answer. The default turns each text around."""

import struct
import threading
import time

import msgpack
import zmq

ERROR, ASK, STATUS, TRANSLATE, TRANSLATED, REJECTED, CANCEL = 14, 22, 23, 24, 25, 26, 27
BUSY, EXPIRED, INVALID, NO_WORKER, ENDING, FAILED = range(1, 7)
LIMIT_S = 180


class Refusal:
    def __init__(self, reason, retry_ms=0, text="as the test says"):
        self.reason, self.retry_ms, self.text = reason, retry_ms, text


class Raw:
    """Frames to send as they are."""

    def __init__(self, *frames):
        self.frames = frames


class Made:
    """A translation with all its parts."""

    def __init__(self, *texts, scores=(), unknown=(), cut=0, src_tokens=3, tgt_tokens=4):
        self.texts, self.scores, self.unknown, self.cut = texts, list(scores) or [0.0] * len(texts), unknown, cut
        self.src_tokens, self.tgt_tokens = src_tokens, tgt_tokens


class Request:
    def __init__(self, peer, body, lengths, data):
        self.__dict__.update(body)
        self.peer, self.at_s, self.texts, at = peer, time.monotonic(), [], 0
        assert len(lengths) == 4 * self.text_count and len(data) == self.size
        for (size,) in struct.iter_unpack("<I", lengths):
            self.texts.append(data[at:at + size].decode())
            at += size
        assert at == len(data)


def turned(request):
    return [text[::-1] for text in request.texts]


def header(kind):
    return msgpack.packb({"v": [1, 0], "t": kind})


def rejected(number, refusal):
    return (
        header(REJECTED),
        msgpack.packb({"request": number, "reason": refusal.reason, "retry_ms": refusal.retry_ms,
                       "text": refusal.text}))


def translated(number, made):
    answers, hypotheses, texts, notes = b"", b"", b"", b""
    for one in made:
        one = Made(one) if isinstance(one, str) else one
        if one is None:
            answers += struct.pack("<7I", 1, 0, 0, 0, 0, 0, 0)
            continue
        words = "".join(word + "\n" for word in one.unknown).encode()
        answers += struct.pack("<7I", 0, len(one.texts), one.src_tokens, one.tgt_tokens, len(one.unknown), one.cut,
                               len(words))
        notes += words
        for text, score in zip(one.texts, one.scores):
            hypotheses += struct.pack("<If", len(text.encode()), score)
            texts += text.encode()
    body = {
        "request": number, "model": "en-fr step-7 0123456789abcdef", "step": 7, "queued_us": 11, "computed_us": 12,
        "text_count": len(made), "hypothesis_count": len(hypotheses) // 8, "size": len(texts), "notes_size": len(notes)}
    return (header(TRANSLATED), msgpack.packb(body), answers, hypotheses, texts, notes)


class AnsweringQueue:
    """`requests` and `cancelled` grow as they arrive. A queue that was stopped can be started again, on its port."""

    def __init__(self, answer=turned, status=None):
        self.answer, self.status = answer, status
        self.requests, self.cancelled, self.asked = [], [], 0
        self.news = threading.Condition()
        self.endpoint, self.thread = "tcp://127.0.0.1:*", None
        self.start()

    def start(self):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.linger = 0
        until = time.monotonic() + LIMIT_S
        while True:
            try:
                self.socket.bind(self.endpoint)
                break
            except zmq.ZMQError:  # the port of the one before
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)
        self.endpoint = self.socket.last_endpoint.decode()
        self.ends = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()
        return self

    def stop(self):
        """End without a word, as after kill -9."""
        if self.thread:
            self.ends = True
            self.thread.join()
            self.thread = None
            self.context.destroy(0)

    def _run(self):
        while not self.ends:
            if self.socket.poll(5):
                self._take(*self.socket.recv_multipart())

    def _take(self, peer, head, body, *bulk):
        kind, body = msgpack.unpackb(head)["t"], msgpack.unpackb(body)
        if kind == CANCEL:
            with self.news:
                self.cancelled.append(body["request"])
                self.news.notify_all()
        elif kind == ASK:
            self.asked += 1
            if self.status is not None:
                self.socket.send_multipart([peer, header(STATUS), msgpack.packb({"json": self.status})])
        elif kind == TRANSLATE:
            request = Request(peer, body, *bulk)
            with self.news:
                self.requests.append(request)
                self.news.notify_all()
            self.reply(request, self.answer(request))

    def reply(self, request, made):
        if made is None:
            return
        if isinstance(made, Raw):
            frames = made.frames
        elif isinstance(made, Refusal):
            frames = rejected(request.request, made)
        else:
            frames = translated(request.request, made)
        self.socket.send_multipart([request.peer, *frames])

    def wait(self, condition):
        """Wait until the condition of this queue holds."""
        with self.news:
            assert self.news.wait_for(lambda: condition(self), LIMIT_S)
