#!/usr/bin/python3
"""A worker in another language, written from PROTOCOL.md alone, takes part in a run.

It computes nothing. It reads every frame of every message, checks the rules of the page, and answers as the page
says."""

import struct

from support.cluster import LIMIT_S, ClusterTest, main

try:
    import msgpack
    import zmq
except ImportError:
    raise SystemExit(77) from None

HELLO, WELCOME, GENERATION, STATE, READY, CREDIT, SPAN, REPORT, VALIDATE, SCORED, SAVE, DISMISS, LEAVE, ERROR = range(
    1, 15)
PING, PONG, STOP, STOPPED, ENDPOINT, PEERS = range(15, 21)
FROM_SEED, FROM_STATE, FROM_BROADCAST, IS_HELD = range(4)
BEGIN = 1  # the decoder's first input
CREDITS = 3

TINY = {
    "train__epochs": 2, "train__batch": 8, "train__shards": 3, "train__span": 4, "train__bleu": "true",
    "cluster__settle": 0, "data__take": 60, "data__valid_fraction": 0.2}


def array(frame, kind, items):
    """A bulk frame: items without framing, little-endian."""
    assert len(frame) == items * struct.calcsize("<" + kind), f"{len(frame)} bytes are not {items} items of {kind}"
    return [item[0] if len(item) == 1 else item for item in struct.iter_unpack("<" + kind, frame)]


def tensor_file(value):
    """The smallest file in safetensors format."""
    header = b'{"all":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    return struct.pack("<Q", len(header)) + header + struct.pack("<f", value)


class Worker:
    """A worker that follows the page. .spans: the spans it received, as rows by (step, shard); .seen: the messages it
    received, by number."""

    def __init__(self, context, endpoint, name):
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 1000
        self.socket.connect(endpoint)
        self.run = self.number = self.generation = self.step = self.size = 0
        self.spans, self.seen, self.batches, self.distinct, self.requests = {}, [], {}, {}, []
        self.files, self.results, self.credit, self.left = {0: b"", 1: b""}, [], 0, False
        self.name = name
        self.say(
            HELLO,
            {
                "build": "page", "backend": "python", "backend_version": "3", "isa": "none", "arithmetic": "fp32-page",
                "threads": 1, "host": name, "pid": 1, "run": 0, "worker": 0, "held": 0, "step": 0, "branch": 0,
                "steps": 0},
            b"")

    def say(self, kind, body, *bulk):
        self.socket.send_multipart([msgpack.packb({"v": [1, 0], "t": kind}), msgpack.packb(body), *bulk])

    def take(self):
        header, body, *bulk = self.socket.recv_multipart()
        header, body = msgpack.unpackb(header), msgpack.unpackb(body)
        assert header["v"][0] == 1, header
        self.seen.append(header["t"])
        handler = {
            WELCOME: self.welcome, GENERATION: self.enter, STATE: self.state, SPAN: self.span, VALIDATE: self.validate,
            SAVE: self.save, DISMISS: self.dismiss, PING: self.ping, STOP: self.stop, PEERS: self.peers}
        handler[header["t"]](body, *bulk)

    def welcome(self, body):
        self.run, self.number, self.vocabularies = body["run"], body["worker"], (body["src_vocab"], body["tgt_vocab"])
        assert "train" in body["config"] and self.run >= 1 and self.number >= 1

    def enter(self, body):
        self.generation, self.step, self.size = body["generation"], body["step"], body["size"]
        self.next_span, self.credit, self.source, self.working = 0, 0, body["source"], False
        assert body["rank"] < self.size and body["root"] < self.size
        assert self.source != FROM_BROADCAST or (body["broadcast"] == 1 and body["rank"] != body["root"])
        if self.size > 1:
            self.say(ENDPOINT, {"generation": self.generation, "address": f"tcp://127.0.0.1:{1 + body['rank']}"})
        elif self.source != FROM_STATE:
            self.begin()

    def peers(self, body, lines):
        assert body["generation"] == self.generation and len(lines) == body["size"]
        assert lines.decode().splitlines() == [f"tcp://127.0.0.1:{1 + rank}" for rank in range(self.size)]
        self.begin()  # here the root would broadcast

    def begin(self):
        self.working = True
        self.say(READY, {"generation": self.generation, "step": self.step})
        self.grant(CREDITS)

    def grant(self, units):
        self.credit += units
        self.say(CREDIT, {"units": units})

    def state(self, body, piece):
        assert body["offset"] == len(self.files[body["file"]]) and body["size"] == len(piece)
        self.files[body["file"]] += piece
        if body["file"] == 1 and len(self.files[1]) == body["total"]:
            self.begin()

    def ping(self, body):
        self.say(PONG, body)

    def rows(self, body, src_lengths, tgt_lengths, ids):
        src = array(src_lengths, "H", body["row_count"])
        tgt = array(tgt_lengths, "H", body["row_count"])
        ids, at, rows = array(ids, "H", body["id_count"]), 0, []
        for one, other in zip(src, tgt):
            rows.append((tuple(ids[at:at + one]), tuple(ids[at + one:at + one + other])))
            at += one + other
        assert at == len(ids)
        assert all(max(row[side]) < self.vocabularies[side] for row in rows for side in (0, 1))
        return rows

    def span(self, body, of, shards, src_lengths, tgt_lengths, ids, distinct):
        assert (
            body["generation"] == self.generation and body["span"] == self.next_span and body["first_step"] == self.step
        )
        assert self.credit > 0, "work without credit"
        rows, row, at = self.rows(body, src_lengths, tgt_lengths, ids), 0, 0
        distinct = array(distinct, "H", body["distinct_count"])
        steps = array(of, "III", body["steps"])
        for offset, shard, count in array(shards, "III", body["shard_count"]):
            self.spans[self.step + offset, shard] = rows[row:row + count]
            row += count
        assert row == len(rows)
        for offset, (tokens, src, tgt) in enumerate(steps):
            self.batches[self.step + offset] = tokens
            self.distinct[self.step + offset] = (distinct[at:at + src], distinct[at + src:at + src + tgt])
            at += src + tgt
        assert at == len(distinct)
        self.results = [(tokens * 1.5, 0.25, tokens, tokens // 2) for tokens, _, _ in steps]
        self.step += len(steps)
        self.next_span += 1
        self.credit -= 1
        self.say(
            REPORT,
            {
                "generation": self.generation, "span": body["span"], "rows": len(rows), "busy_ns": 1, "waited_ns": 0,
                "hash": self.step, "steps": len(steps)},
            self.packed(self.results))
        self.grant(1)

    @staticmethod
    def packed(results):
        return b"".join(struct.pack("<ddII", *result) for result in results)

    def validate(self, body, src_lengths, tgt_lengths, ids):
        assert body["generation"] == self.generation and self.credit > 0
        rows = self.rows(body, src_lengths, tgt_lengths, ids)
        translations = [target[:2] for _, target in rows] if body["what"] & 4 else []
        tokens = sum(len(target) for _, target in rows)
        self.requests.append(body["request"])
        self.credit -= 1
        self.say(
            SCORED,
            {
                "request": body["request"], "tokens": tokens, "forced_loss_sum": 2.0 * tokens,
                "free_loss_sum": 3 * tokens if body["what"] & 2 else 0, "forced_correct": 0, "free_correct": 0,
                "row_count": len(translations), "id_count": sum(map(len, translations))},
            struct.pack(f"<{len(translations)}H", *map(len, translations)),
            b"".join(struct.pack(f"<{len(one)}H", *one) for one in translations))
        self.grant(1)

    def save(self, body):
        assert body["generation"] == self.generation and body["step"] == self.step
        for file in (0, 1):
            whole = tensor_file(self.step + file)
            for offset in range(0, len(whole), 40):  # pieces may be of any size
                piece = whole[offset:offset + 40]
                self.say(
                    STATE, {"step": self.step, "file": file, "offset": offset, "total": len(whole), "size": len(piece)},
                    piece)

    def stop(self, body):
        assert body["generation"] == self.generation
        results = self.results if self.working else []
        self.say(STOPPED, {"generation": self.generation, "held": int(self.working), "step": self.step,
                           "branch": self.generation, "steps": len(results)}, self.packed(results))

    def dismiss(self, _):
        self.say(LEAVE, {"step": self.step})
        self.left = True


class AnotherWorker(ClusterTest):
    pairs_count = 80

    def setUp(self):
        super().setUp()
        self.context = zmq.Context()
        self.addCleanup(self.context.term)

    def begin(self, **options):
        self.group = self.cluster(**{**TINY, **options}).start().listening()
        return self.group

    def worker(self, name):
        worker = Worker(self.context, self.group.endpoint, name)
        self.addCleanup(worker.socket.close)
        return worker

    def serve(self, workers, until):
        """Run all workers until the condition holds. More workers may be added meanwhile."""
        while not until():
            ready, _, _ = zmq.select([worker.socket for worker in workers], [], [], LIMIT_S)
            self.assertTrue(ready, "no message came\n" + self.group.log())
            for worker in workers:
                if worker.socket in ready:
                    worker.take()

    def to_the_end(self, workers):
        """Run until all are dismissed and the coordinator has ended without an error."""
        self.serve(workers, lambda: all(worker.left for worker in workers))
        self.assertEqual(self.group.coordinator.end(), 0, self.group.log())

    def check(self, workers, epochs=2):
        """Each step's shards were sent once, each row once an epoch, and the figures of whole batches are right."""
        given = {}
        for worker in workers:
            for key, rows in worker.spans.items():
                self.assertNotIn(key, given)
                given[key] = rows
        last = max(step for step, _ in given)
        self.assertEqual(set(given), {(step, shard) for step in range(last + 1) for shard in range(3)})
        rows = sorted(row for part in given.values() for row in part)
        self.assertEqual(rows, sorted(rows[::epochs] * epochs), "each row comes once in each epoch")
        self.assertEqual(len(rows), epochs * self.group.coordinator.event("dataset_read")["train"])
        for step in range(last + 1):
            batch = [row for shard in range(3) for row in given[step, shard]]
            for worker in workers:
                if step in worker.batches:
                    self.check_batch(worker, step, batch)

    def check_batch(self, worker, step, batch):
        src, tgt = worker.distinct[step]
        self.assertEqual(worker.batches[step], sum(len(target) for _, target in batch))
        self.assertEqual(src, sorted({word for source, _ in batch for word in source}))
        self.assertEqual(tgt, sorted({BEGIN} | {word for _, target in batch for word in target[:-1]}))

    def test_it_trains_validates_saves_and_is_dismissed(self):
        self.begin()
        worker = self.worker("alone")
        self.to_the_end([worker])
        self.check([worker])
        self.assertTrue(worker.requests)
        self.assertEqual(len(set(worker.requests)), len(worker.requests))

    def test_a_generation_ends_for_one_that_joins(self):
        self.begin()
        workers = [self.worker("first")]
        self.serve(workers, lambda: SPAN in workers[0].seen)
        workers.append(self.worker("second"))
        self.to_the_end(workers)
        self.assertIn(STOP, workers[0].seen)
        self.assertEqual((workers[0].source, workers[1].source), (IS_HELD, FROM_BROADCAST))
        self.check(workers)

    def test_a_run_goes_on_from_its_checkpoint(self):
        self.begin(train__epochs=1)
        worker = self.worker("before")
        self.to_the_end([worker])
        last = worker.step
        self.group.options["train.epochs"] = 2
        self.group.start("--resume").listening()
        worker = self.worker("after")
        self.to_the_end([worker])
        self.assertEqual((worker.source, worker.step), (FROM_STATE, 2 * last))
        self.assertEqual(worker.files, {0: tensor_file(last), 1: tensor_file(last + 1)})


if __name__ == "__main__":
    main()
