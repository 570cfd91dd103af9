#!/usr/bin/python3
"""A run trains while every kind of junk is sent to all its ports: the coordinator's, and each worker's in the ring.
Memory stays bounded, steps go on, and the weights are those of one process. $LSTMQ_FULL also judges the speed."""

import contextlib
import json
import os
import re
import resource
import signal
import socket
import struct
import threading
import time

from support.cluster import FULL, LIMIT_S, ClusterTest, main, read
from support.peers import Keys, greeting, ready, wait_for, zmq

LIMIT = 64 << 20   # bytes that a process may grow by
EPOCHS = 100_000   # the run is told to end
FILES = 8192       # that this process may open, to attack with
BOUNDED_HZ = 100   # attackers a second to each port, while speed is measured
MEASURED_S = 1.0
LEAST = 0.1        # of the speed that is left by an attack without bounds, from the same two cores
LINES_A_SECOND = 10


@contextlib.contextmanager
def at_once(throw, each):
    """Run throw(*words) for each words, in threads, during the body of the `with`. Its end waits for them."""
    threads = [threading.Thread(target=throw, args=words) for words in each]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


class Port:
    """A port of a process, and the attacks on it."""

    def __init__(self, process, endpoint, keyed, kind):
        self.process, self.endpoint, self.keyed, self.kind = process, endpoint, keyed, kind
        host, port = endpoint.removeprefix("tcp://").rsplit(":", 1)
        self.address, self.connections = (host, int(port)), []

    def raw(self):
        connection = socket.create_connection(self.address, timeout=LIMIT_S)
        self.connections.append(connection)
        return connection

    def greeted(self):
        """A connection that can send messages (without keys) or the next command (with keys)."""
        connection, said = self.raw(), b""
        try:
            if self.keyed:
                connection.sendall(greeting(b"CURVE"))
                return connection
            connection.sendall(greeting(b"NULL") + ready(Socket_Type=self.kind, Identity=b""))
            while b"READY" not in said and (more := connection.recv(4096)):
                said += more
        except OSError:
            pass  # ended already, among so many
        return connection

    def throw(self, connection, data, times=1, seconds=30.0):
        """Send it so often, until the other side ends the connection or the time is over."""
        deadline, view = time.monotonic() + seconds, memoryview(data)
        connection.settimeout(0.5)
        for _ in range(times):
            sent = 0
            while sent < len(data):
                if time.monotonic() > deadline:
                    return
                try:
                    sent += connection.send(view[sent:])
                except TimeoutError:
                    continue
                except OSError:
                    return

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

    @staticmethod
    def told(connection):
        """Wait for an ERROR."""
        connection.settimeout(LIMIT_S)
        said = b""
        while b"\xa4text" not in said:
            more = connection.recv(4096)
            if not more:
                raise AssertionError("it ended the connection and said nothing")
            said += more

    def ended(self, connections, count=None):
        count = len(connections) if count is None else count
        wait_for(lambda: sum(self.is_closed(one) for one in connections) >= count, LIMIT_S)

    def close(self):
        for connection in self.connections:
            connection.close()
        self.connections.clear()

    # The attacks. Each returns when the port has dealt with it.

    def junk(self, times=5):
        thrown = []
        for data in (b"GET / HTTP/1.1\r\n\r\n", bytes(1000), b"\xff" * 1000, os.urandom(100000), b"",
                     greeting(b"CURVE") + os.urandom(100000), greeting(b"NULL") + os.urandom(100000),
                     greeting(b"PLAIN"), greeting(b"CURVE")[:30],
                     b"\x01\x00", b"\x02\x01a", b"\x02\x01a\x02\x01b",  # ZMTP 1, its second with "more" set
                     greeting(b"NULL")[:10] + b"\x00\x05\x01\x01", greeting(b"NULL")[:10] + b"\x01\x05\x01\x01a"):
            for _ in range(times):
                thrown.append(self.raw())
                self.throw(thrown[-1], data)
        self.ended(thrown)

    def half_handshakes(self):
        idle = [self.raw() for _ in range(1000)]
        for connection in idle[::2]:
            try:
                connection.sendall(greeting(b"CURVE" if self.keyed else b"NULL")[:11])
            except OSError:
                pass
        self.ended(idle)

    def giant_frames(self):
        for size in (1 << 62, (1 << 64) - 1, 1 << 40, (64 << 20) + 1):
            for flags in (2, 3, 6):
                connection = self.greeted()
                self.throw(connection, bytes([flags]) + struct.pack(">Q", size) + bytes(100000))
                self.ended([connection])

    def large_frames(self):
        data = bytes([6 if self.keyed else 3]) + struct.pack(">Q", (1 << 20) - 1) + bytes((1 << 20) - 2)
        many = [self.greeted() for _ in range(100)]
        for connection in many:
            self.throw(connection, data)
        self.ended(many)

    def messages_without_an_end(self):
        if not self.keyed:
            for frame in (b"\x01\x00", b"\x01\x01a", b"\x01\xff" + bytes(255), b"\x01\x21" + bytes(33)):
                connection = self.greeted()
                self.throw(connection, frame * ((1 << 20) // len(frame)), times=len(frame), seconds=LIMIT_S)
                self.ended([connection])
        many = [self.greeted() for _ in range(100)]
        for connection in many:
            self.throw(connection, (b"\x05\x00" if self.keyed else b"\x01\x00") * 50_000)
        self.ended(many, 75)

    def messages_of_nonsense(self):
        """Whole messages. Without keys they arrive: a coordinator answers, and a worker disconnects the peer. With keys
        they do not."""
        for data in (b"\x00\x04junk", b"\x01\x04junk\x00\x04junk", b"\x01\x00" * 20 + b"\x00\x00"):
            connection = self.greeted()
            self.throw(connection, data * 20)
            if self.kind == b"DEALER" and not self.keyed:
                self.told(connection)
                continue
            wait_for(lambda: self.is_closed(connection) or self.throw(connection, data), LIMIT_S)

    ATTACKS = (junk, half_handshakes, giant_frames, large_frames, messages_without_an_end, messages_of_nonsense)


class Run:
    """A coordinator and two active workers, and all their ports."""

    def __init__(self, test, keyed):
        self.test, self.keyed = test, keyed
        self.cluster = test.cluster(train__epochs=EPOCHS, train__min_workers=2, train__patience=0)
        self.keys = Keys(os.path.join(self.cluster.folder, "keys"))
        self.keys.make("server", allowed=False)
        self.keys.make("admin", role="admin")
        for name in ("a", "b"):
            self.keys.make(name)
        self.begin()
        self.processes = [self.cluster.coordinator, *self.cluster.workers]
        self.ports = [Port(self.cluster.coordinator, self.cluster.endpoint, keyed, b"DEALER")]
        self.ports += [Port(worker, self.listens(worker), keyed, b"PUSH") for worker in self.cluster.workers]
        self.before = {process.pid: process.memory() for process in self.processes}

    def begin(self, *flags):
        self.cluster.start(*flags, *(self.keys.of_server() if self.keyed else ())).listening()
        for name in ("a", "b"):
            mark = self.cluster.coordinator.mark()
            # A name, so that workers of this host meet at a TCP port as workers of many hosts do.
            self.cluster.worker("--worker.bind", "127.0.0.1", *self.with_key(name))
            self.cluster.coordinator.event("worker_joined", mark)
        self.cluster.active()

    def with_key(self, name):
        return self.keys.of_peer(name) if self.keyed else ()

    @staticmethod
    def listens(process):
        """The one TCP port that a worker listens at."""
        folder = f"/proc/{process.pid}/fd"
        inodes = {os.readlink(os.path.join(folder, number)) for number in os.listdir(folder)}
        with open(f"/proc/{process.pid}/net/tcp", encoding="ascii") as table:
            for line in list(table)[1:]:
                words = line.split()
                if words[3] == "0A" and f"socket:[{words[9]}]" in inodes:
                    return f"tcp://127.0.0.1:{int(words[1].split(':')[1], 16)}"
        raise AssertionError(f"{process.name} listens nowhere")

    def status(self):
        return wait_for(lambda: self.cluster.status(*self.with_key("admin")))

    def step(self):
        return self.status()["step"]

    def speed(self):
        began, step = time.monotonic(), self.step()
        time.sleep(MEASURED_S)  # the span that is measured
        return (self.step() - step) / (time.monotonic() - began)

    def goes_on(self):
        """Wait for a further step."""
        step = self.step()
        wait_for(lambda: self.step() > step)

    def grown(self):
        return {process.name: process.memory("VmHWM") - self.before[process.pid] for process in self.processes}

    def unharmed(self):
        """All workers still train, in their first generation."""
        status = self.status()
        self.test.assertEqual((status["workers"], status["lost"], status["generation"]), (2, 0, 1), self.cluster.log())

    def ends_well(self):
        """Interrupted, it has saved the weights of one process, once its last epoch is complete."""
        self.cluster.coordinator.send(signal.SIGTERM)
        self.cluster.finished(status=130)
        epochs = json.loads(read(self.cluster.run, "latest", "state.json"))["epoch"] + 1
        self.cluster.options["train.epochs"] = epochs
        self.cluster.workers.clear()
        self.begin("--resume")
        self.cluster.finished()
        self.test.assertEqual(
            self.cluster.hashes(), self.test.train(train__epochs=epochs, train__patience=0, train__threads=1))


class Hostile(ClusterTest):
    pairs_count = 2000

    @classmethod
    def setUpClass(cls):
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (FILES if most == resource.RLIM_INFINITY else min(most, FILES), most))

    def bounded(self, run):
        """Junk at the rate of a home line leaves at least half of the speed. Returns the speed without junk."""
        quiet, over = run.speed(), threading.Event()

        def throw(port):
            while not over.wait(1 / BOUNDED_HZ):
                port.throw(port.raw(), os.urandom(1000))
                port.close()

        with at_once(throw, [(port,) for port in run.ports]):
            try:
                loud = run.speed()
                run.goes_on()
            finally:
                over.set()
        self.say(
            f"{quiet:.0f} steps/s, {loud:.0f} with {BOUNDED_HZ} junk connections a second to each of "
            f"{len(run.ports)} ports"
        )
        if FULL:
            self.assertGreaterEqual(loud, quiet / 2)
        return quiet

    def attack(self, run, quiet):
        """All attacks at once, on all ports. `quiet`: steps a second without them."""
        step, began, failures = run.step(), time.monotonic(), []

        def throw(attack, port):
            try:
                attack(port)
            except Exception as failure:  # the thread's end, told below
                failures.append(f"{attack.__name__} to {port.process.name}: {failure!r}")
            port.close()

        # Each has its own connections.
        with at_once(throw, [(attack, Port(port.process, port.endpoint, port.keyed, port.kind))
                             for attack in Port.ATTACKS for port in run.ports]):
            run.goes_on()
        run.unharmed()
        self.assertEqual(failures, [], run.cluster.log())
        steps, seconds = run.step() - step, time.monotonic() - began
        self.say(
            f"under attack for {seconds:.1f} s: {steps / seconds:.0f} steps/s, at most "
            f"{max(run.grown().values()) / (1 << 20):.1f} MiB more in a process")
        if FULL:
            self.assertGreaterEqual(steps / seconds, LEAST * quiet)
        self.assertLessEqual(max(run.grown().values()), LIMIT)

    def refusals(self, run, since_s):
        """Every port has logged what it refused, a limited number of times."""
        for process in run.processes:
            lines = process.happened(("connection_refused", "connections_refused"), level="warn")
            self.assertTrue(lines, process.log())
            for event in lines:
                if event["event"] == "connection_refused" and event["address"] is not None:
                    self.assertRegex(event["address"], r"^127\.0\.0\.1")
            self.assertLessEqual(len(lines), 2 * LINES_A_SECOND * (time.monotonic() - since_s))

    def check(self, keyed):
        run, since_s = Run(self, keyed), time.monotonic()
        if keyed:
            self.intruders(run)
        self.attack(run, self.bounded(run))
        if keyed:
            self.with_a_key(run)
        self.refusals(run, since_s)
        run.unharmed()
        run.ends_well()

    def intruders(self, run):
        """No port admits a peer without the right key; each refusal is logged in one line."""
        context, own = zmq.Context(), run.keys.make("stranger", allowed=False)
        client, names = run.keys.make("client", role="client"), ("server", "a", "b")
        peers = []
        for port, name in zip(run.ports, names):
            server, neighbour = run.keys.public(name), run.keys.read({"a": "b"}.get(name, "a"))
            unknown = "is not on the list of keys" if name == "server" else "is not the key of this rank's neighbour"
            role = r"\(client\) has the role client" if name == "server" else unknown
            for pair, reason in (
                (None, "(has no key|during the handshake)"), (own, unknown), (client, role),
                ((neighbour[0], own[1]), "its secret and public keys do not match"), (run.keys.read(name), unknown)):
                if pair is not None and pair[0] != neighbour[0]:
                    reason = re.escape(pair[0][:7].decode()) + r"\.\.\. " + reason
                peer = context.socket(zmq.DEALER if name == "server" else zmq.PUSH)
                peer.linger = 0
                if pair is not None:
                    peer.curve_publickey, peer.curve_secretkey, peer.curve_serverkey = *pair, server
                let_in = peer.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
                peer.connect(port.endpoint)
                peers.append((peer, let_in, port, reason))
        for peer, let_in, port, reason in peers:
            port.process.event("connection_refused", level="warn", reason=re.compile(reason))
            self.assertFalse(let_in.poll(0), f"{port.process.name} accepted a peer: {reason}")
            peer.disable_monitor()
        context.destroy(linger=0)
        run.unharmed()

    def with_a_key(self, run):
        """A worker's key gives no access."""
        context = zmq.Context()
        pair = run.keys.make("traitor")
        peer = context.socket(zmq.DEALER)
        peer.linger, peer.sndhwm = 0, 0
        peer.curve_publickey, peer.curve_secretkey, peer.curve_serverkey = *pair, run.keys.public("server")
        ends = peer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        peer.connect(run.cluster.endpoint)
        for _ in range(1_000_000):
            peer.send(b"", zmq.SNDMORE)
        peer.send(b"")
        self.assertTrue(ends.poll(1000 * LIMIT_S), "it was not cut off")
        peer.disable_monitor()
        context.destroy(linger=0)
        self.assertLessEqual(max(run.grown().values()), LIMIT)
        run.cluster.coordinator.event("connection_refused", reason=re.compile("its first message is too large"))

    def test_without_keys(self):
        self.check(False)

    def test_with_keys(self):
        self.check(True)


if __name__ == "__main__":
    main()
