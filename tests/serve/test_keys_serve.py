#!/usr/bin/python3
"""Peers without a suitable key get nothing from a queue, and floods do not stop it: connections without a key, slow
HTTP clients, and so many connections that descriptors run out. $LSTMQ_FULL means longer floods, and judges how much
slower the others get."""

import socket
import time
import urllib.request

from support.peers import Keys, Peer, greeting, message, msgpack, zmq
from support.serving import FULL, LIMIT_S, TRANSLATED, ServeTest, main, share, translate

SECONDS = 20 if FULL else 2
PER_S = 1000
SLOW = 1000 if FULL else 300
SLOWER = 2
FEW_FILES = 160
JOIN, JOINED = 28, 29
JOIN_BODY = {"build": "test", "backend": "cpu", "isa": "none", "host": "test", "threads": 1, "pid": 1, "worker": 0}


class KeyCase(ServeTest):
    def setUp(self):
        super().setUp()
        self.keys = Keys(self.folder)
        self.keys.make("server", allowed=False)
        self.client = self.keys.make("client", "client")
        self.worker_key = self.keys.make("worker", "serve")
        self.stranger = self.keys.make("stranger", "client", allowed=False)
        self.context = zmq.Context()
        self.addCleanup(self.context.destroy, 0)

    def start(self, **options):
        queue = self.queue("--serve.echo", *self.keys.of_server(), serve__workers=0, **options).start()
        queue.worker(*self.keys.of_peer("worker")).event("joined")
        return queue

    def with_server(self, pair):
        return (*pair, self.keys.public("server"))

    def load_of_client(self, queue, **more):
        return self.load(queue.endpoint, lambda number: [f"line {number}"], keys=self.with_server(self.client), **more)


class WrongKeys(KeyCase):
    def answer(self, queue, keys, frames, seconds):
        """The frames that come back, or None."""
        peer = Peer(self.context, queue.endpoint, keys)
        self.addCleanup(peer.close)
        peer.socket.send_multipart(frames)
        if not peer.socket.poll(int(1000 * seconds)):
            return None
        return peer.socket.recv_multipart()

    def test_no_key_and_wrong_keys_get_nothing(self):
        queue = self.start()
        load = self.load_of_client(queue, window=1)
        load.answered(3)
        other = zmq.curve_keypair()
        for name, keys in (("no key", None), ("unknown key", self.with_server(other)),
                           ("key that is not listed", self.with_server(self.stranger)),
                           ("wrong server key", (*self.client, zmq.curve_keypair()[0]))):
            for frames in (translate(1, 1, ["hello"]), message(JOIN, JOIN_BODY)):
                self.assertIsNone(self.answer(queue, keys, frames, 0.5), name)
        load.answered(load.count() + 3)
        load.finish()
        self.nothing_went_wrong(load)

    def test_a_key_is_good_for_its_role_alone(self):
        queue = self.start()
        load = self.load_of_client(queue, window=1)
        load.answered(3)
        for keys, frames in ((self.worker_key, translate(1, 1, ["hello"])), (self.client, message(JOIN, JOIN_BODY))):
            found = self.answer(queue, self.with_server(keys), frames, 2)
            if found is not None:
                self.assertNotIn(msgpack.unpackb(found[0])["t"], (JOINED, TRANSLATED))
        load.answered(load.count() + 3)
        load.finish()
        self.nothing_went_wrong(load)


class Floods(KeyCase):
    def calm_and_flooded(self, queue, flood):
        """The client's p99 without and with the flood, a function of the time at which it ends."""
        load = self.load_of_client(queue, rate=100)
        load.answered(100)
        calm = share(load.times(), 0.99)
        mark = load.count()
        flood(time.monotonic() + SECONDS)
        count = load.count()
        load.answered(count + 50)
        load.finish()
        self.nothing_went_wrong(load)
        busy = share(sorted(sent.took_s() for sent in load.sent[mark:count]), 0.99)
        self.say(f"p99 {busy * 1e3:.1f} ms, before {calm * 1e3:.1f} ms")
        if FULL:
            self.assertLessEqual(busy, SLOWER * calm)

    def test_a_thousand_connections_a_second_without_a_key(self):
        queue = self.start()
        port = int(queue.endpoint.rsplit(":", 1)[1])
        before = queue.descriptors()

        def flood(end_s):
            began_s, opened = time.monotonic(), []
            while time.monotonic() < end_s:
                for _ in range(int((time.monotonic() - began_s) * PER_S) - len(opened)):
                    opened.append(self.knock(port))
                time.sleep(0.002)
            self.say(f"{len(opened)} connections")
            self.assertGreater(len(opened), 100)

        self.calm_and_flooded(queue, flood)
        self.recovers(queue, before)

    @staticmethod
    def knock(port):
        """A connection that says that it has no key, and leaves."""
        with socket.create_connection(("127.0.0.1", port), 30) as peer:
            try:
                peer.sendall(greeting(b"NULL"))
            except OSError:  # the queue was faster
                pass

    def recovers(self, queue, before):
        """The queue closes what strangers left."""
        end_s = time.monotonic() + LIMIT_S
        while queue.descriptors() > before + 8:
            self.assertLess(time.monotonic(), end_s, "descriptors are not closed")
            time.sleep(0.05)  # nothing announces it

    def test_slow_http_clients(self):
        queue = self.start(http__bind="127.0.0.1:0", http__timeout=5)
        host, port = queue.http.rsplit(":", 1)
        before, slow = queue.descriptors(), []
        self.addCleanup(lambda: [peer.close() for peer in slow])

        def flood(end_s):
            for _ in range(SLOW):
                peer = socket.create_connection((host, int(port)), 30)
                peer.sendall(b"POST /translate HTTP/1.1\r\nHost: x\r\nContent-Le")
                slow.append(peer)
            while time.monotonic() < end_s:
                for peer in slow:
                    try:
                        peer.send(b"n")
                    except OSError:  # the queue has closed it
                        pass
                with urllib.request.urlopen(f"http://{queue.http}/livez", timeout=30) as answer:
                    self.assertEqual(answer.status, 200)
                time.sleep(0.5)

        self.calm_and_flooded(queue, flood)
        for peer in slow:
            peer.close()
        self.recovers(queue, before)

    def test_descriptors_used_up(self):
        queue = self.queue("--serve.echo", files=FEW_FILES, serve__workers=0, http__bind="127.0.0.1:0")
        queue.start()
        queue.worker().event("joined")
        load = self.load(queue.endpoint, lambda number: [f"line {number}"], window=2)
        load.answered(20)
        ports = [int(queue.endpoint.rsplit(":", 1)[1]), int(queue.http.rsplit(":", 1)[1])]
        before = queue.descriptors()
        held = []
        for number in range(3 * FEW_FILES):
            peer = socket.socket()
            peer.setblocking(False)
            peer.connect_ex(("127.0.0.1", ports[number % 2]))
            held.append(peer)
        load.answered(load.count() + 200)
        for peer in held:
            peer.close()
        self.recovers(queue, before)
        with urllib.request.urlopen(f"http://{queue.http}/livez", timeout=30) as answer:
            self.assertEqual(answer.status, 200)
        late = self.load(queue.endpoint, lambda number: [f"late {number}"], window=2)
        late.answered(20)
        for one in (load, late):
            one.finish()
            self.nothing_went_wrong(one)
        self.assertFalse(queue.process.ended())


if __name__ == "__main__":
    main()
