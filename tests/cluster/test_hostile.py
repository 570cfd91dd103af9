#!/usr/bin/python3
"""Whatever is thrown at a port, memory stays bounded and a good peer is served."""

import os
import socket
import struct
import threading
import time

import zmq
from peers import Case, HELLO, greeting, main, message, ready, wait_for

LIMIT = 64 << 20  # bytes that the server may grow by
ANSWER = 2.0      # seconds within which a good peer is answered

HELLO_BODY = {"build": "b", "backend": "cpu", "backend_version": "1", "isa": "x", "precision": "fp32", "threads": 1,
              "host": "h", "pid": 1, "run": 0, "worker": 0, "held": 0, "step": 0, "steps": 0}


class Hostile(Case):
    """The peer that is served meanwhile asks again and again from a thread of its own."""

    keyed = True

    def setUp(self):
        super().setUp()
        self.good = self.server.keys.make("worker-1") if self.keyed else None
        self.bad = self.server.keys.make("worker-2") if self.keyed else None
        friend = self.peer(self.good)
        self.assertIsNotNone(friend.ask())
        self.before, self.worst, self.slowest, self.unanswered = self.server.rss(), 0, 0.0, 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.watch, args=(friend,))
        self.thread.start()

    def watch(self, friend):
        while not self.over.is_set():
            began = time.monotonic()
            if friend.ask(10.0) is None:
                self.unanswered += 1
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.worst = max(self.worst, self.server.rss())
            self.over.wait(0.02)

    def tearDown(self):
        """What must hold after each attack."""
        self.over.set()
        self.thread.join()
        grown = max(self.server.peak(), self.worst) - self.before
        print(f"grew by {grown / (1 << 20):.1f} MiB, slowest answer {self.slowest * 1000:.0f} ms ... ", end="", flush=True)
        self.assertEqual(self.unanswered, 0)
        self.assertLess(self.slowest, ANSWER)
        self.assertLessEqual(grown, LIMIT)

    def throw(self, connection, data, seconds=20.0):
        """Send until the other side ends it or all is sent; the bytes that went."""
        sent, deadline = 0, time.monotonic() + seconds
        connection.settimeout(1.0)
        view = memoryview(data)
        while sent < len(data) and time.monotonic() < deadline:
            try:
                sent += connection.send(view[sent:sent + (1 << 20)])
            except TimeoutError:
                continue
            except OSError:
                break
        return sent

    def greeted(self):
        """A connection by which messages may follow (without keys), or the next command (with them)."""
        connection = self.raw()
        if self.keyed:
            connection.sendall(greeting(b"CURVE"))
            return connection
        connection.sendall(greeting(b"NULL") + ready(Socket_Type=b"DEALER", Identity=b""))
        connection.settimeout(10)
        said = b""
        while b"READY" not in said:
            said += connection.recv(4096)
        return connection

    def is_closed(self, connection):
        """Whether the other side has ended the connection."""
        connection.settimeout(0)
        try:
            while connection.recv(65536):
                pass
            return True
        except BlockingIOError:
            return False
        except OSError:
            return True


class Junk:
    """Attacks that need no key."""

    def test_junk(self):
        for data in (b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\xff" * 1000, os.urandom(100000), b"",
                     greeting(b"CURVE") + os.urandom(100000), greeting(b"NULL") + os.urandom(100000),
                     greeting(b"PLAIN"), greeting(b"CURVE")[:30],
                     b"\x01\x00", b"\x02\x01a", b"\x02\x01a\x02\x01b",  # ZMTP 1, its second with "more" set
                     greeting(b"NULL")[:10] + b"\x00\x05\x01\x01", greeting(b"NULL")[:10] + b"\x01\x05\x01\x01a"):
            for _ in range(20):
                connection = self.raw()
                self.throw(connection, data)
                connection.close()

    def test_half_handshakes(self):
        idle = [self.raw() for _ in range(1000)]
        for connection in idle[::2]:
            connection.sendall(greeting(b"CURVE" if self.keyed else b"NULL")[:11])
        for connection in idle:
            wait_for(lambda c=connection: self.is_closed(c), 30)

    def test_giant_frames(self):
        for size in (1 << 62, (1 << 64) - 1, 1 << 40, (64 << 20) + 1):
            for flags in (2, 3, 6):
                connection = self.greeted()
                self.throw(connection, bytes([flags]) + struct.pack(">Q", size) + bytes(100000), 2)
                wait_for(lambda c=connection: self.is_closed(c), 30)

    def test_frames_just_below_the_limit(self):
        data = bytes([6 if self.keyed else 3]) + struct.pack(">Q", (4 << 20) - 1) + bytes((4 << 20) - 2)
        many = [self.greeted() for _ in range(100)]
        for connection in many:
            self.throw(connection, data, 2)
        for connection in many:
            wait_for(lambda c=connection: self.is_closed(c), 30)

    def test_a_frame_from_each_of_many_byte_by_byte(self):
        data = bytes([6 if self.keyed else 3]) + struct.pack(">Q", 4 << 20) + bytes(150000)
        many = [self.greeted() for _ in range(500)]
        for connection in many:
            self.throw(connection, data, 2)
        wait_for(lambda: sum(self.is_closed(c) for c in many) > 400, 30)


class WithKeys(Junk, Hostile):
    def test_a_message_of_a_million_frames(self):
        for trusted in (False, True):
            peer = self.peer(self.bad)
            if trusted:
                peer.socket.send_multipart(message(HELLO, HELLO_BODY, b""))
                wait_for(lambda: self.hellos(1))
            ends = peer.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
            for _ in range(3_000_000):
                peer.socket.send(b"", zmq.SNDMORE, copy=True)
            peer.socket.send(b"")
            reason = "it sends a message without an end" if trusted else "more than its first message"
            wait_for(lambda: self.server.lines("refused 127.*" + reason), 30)
            self.assertTrue(ends.poll(20000), "it was not cut off")
            peer.socket.disable_monitor()
            peer.close()

    def hellos(self, count):
        asker = self.peer(self.bad)
        answer = asker.ask()
        asker.close()
        return answer["hellos"] >= count

    def test_large_messages_one_after_the_other_are_served(self):
        peer = self.peer(self.bad)
        peer.socket.send_multipart(message(HELLO, HELLO_BODY, b""))
        wait_for(lambda: self.hellos(1))
        piece = bytes(1 << 20)
        for _ in range(300):
            peer.socket.send_multipart([b"junk", piece])
        self.assertEqual(peer.ask(30)["cut"], 0)


class WithoutKeys(Junk, Hostile):
    keyed = False

    def test_a_message_without_an_end(self):
        for frame in (b"\x01\x00", b"\x01\x01a", b"\x01\xff" + bytes(255), b"\x01\x21" + bytes(33)):
            connection = self.greeted()
            self.throw(connection, frame * 1_000_000)
            wait_for(lambda c=connection: self.is_closed(c), 30)
        self.assertTrue(self.server.lines("refused 127.*more than its first message"))

    def test_messages_without_an_end_from_many(self):
        many = [self.greeted() for _ in range(100)]
        for connection in many:
            self.throw(connection, b"\x01\x00" * 50_000, 2)
        wait_for(lambda: sum(self.is_closed(c) for c in many) > 75, 30)
        self.assertTrue(self.server.lines("refused 127.*without an end"))


if __name__ == "__main__":
    main()
