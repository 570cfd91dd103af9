"""Key files, keyed_server with them, and good and bad peers of it."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from support.cluster import BINARY, LIMIT_S, fits, parsed

try:
    import msgpack
    import zmq
except ImportError:
    print("skipped: python3-zmq or python3-msgpack is not installed")
    sys.exit(77)

SERVER = os.environ.get("LSTMQ_KEYED_SERVER", "keyed_server")
ASK, STATUS = 22, 23


def message(kind, body, *bulk):
    return [msgpack.packb({"v": [1, 0], "t": kind}), msgpack.packb(body), *bulk]


def wait_for(condition, seconds=LIMIT_S):
    """Wait until `condition` is true. Returns its value."""
    deadline = time.monotonic() + seconds
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError("it did not come about in time")
        time.sleep(0.01)  # condition reads a log or /proc, which nothing announces
    return result


class Keys:
    """Key files in a folder, made by lstmq keygen. The server accepts those in allow/."""

    def __init__(self, folder):
        self.folder = folder
        self.allow = os.path.join(folder, "allow")
        os.makedirs(self.allow, exist_ok=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def make(self, name, role="train", allowed=True):
        subprocess.run([BINARY, "keygen", name, "--role", role, "--out", self.folder], check=True,
                       stdout=subprocess.DEVNULL)
        if allowed:
            self.admit(name)
        return self.read(name)

    def admit(self, name):
        with open(self.path(name + ".pub"), "rb") as source:
            text = source.read()
        with open(os.path.join(self.allow, name + ".new"), "wb") as target:
            target.write(text)
        os.rename(os.path.join(self.allow, name + ".new"), os.path.join(self.allow, name + ".pub"))

    def withdraw(self, name):
        os.unlink(os.path.join(self.allow, name + ".pub"))

    def of_server(self):
        """The options of a coordinator that has the key "server" and accepts the keys in allow/."""
        return "--curve.key", self.path("server.key"), "--curve.allow", self.allow

    def of_peer(self, name):
        """The options of a command that connects to that coordinator with a key."""
        return "--curve.key", self.path(name + ".key"), "--curve.server", self.path("server.pub")

    def read(self, name):
        """(public, secret) as bytes of Z85."""
        with open(self.path(name + ".key"), "rb") as file:
            lines = [line.split() for line in file if not line.startswith(b"#")]
        return lines[0][1], lines[1][1]

    def public(self, name):
        with open(self.path(name + ".pub"), "rb") as file:
            return [line.split() for line in file if not line.startswith(b"#")][0][1]


class Server:
    """keyed_server: .endpoint, .keys, .log(), .events()."""

    def __init__(self, seconds=1200):
        self.temporary = tempfile.TemporaryDirectory(prefix="lstmq-cluster-")
        self.keys = Keys(self.temporary.name)
        self.keys.make("server", allowed=False)
        self.log_path = os.path.join(self.temporary.name, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [
                    SERVER, str(seconds), "log.format=json", "cluster.bind=tcp://127.0.0.1:0",
                    f"curve.key={self.keys.path('server.key')}", f"curve.allow={self.keys.allow}"],
                stdout=subprocess.PIPE, stderr=log)
        self.endpoint = self.process.stdout.readline().decode().strip()
        if not self.endpoint:
            raise AssertionError(self.log())

    def log(self):
        with open(self.log_path, encoding="utf-8") as file:
            return file.read()

    def events(self, name, **fields):
        """The logged events of that name with fields of those values (as Process.happened). An unfinished line does not
        count."""
        found = [parsed(line) for line in self.log().splitlines()]
        return [event for event in found if event and event["event"] == name
                and all(fits(event.get(key), value) for key, value in fields.items())]

    def stop(self):
        """End it; the exit status, and the log."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(LIMIT_S)
        self.process.stdout.close()
        log = self.log()
        self.temporary.cleanup()
        return status, log


class Peer:
    """A DEALER, with keys (public, secret, the server's public key) or without."""

    def __init__(self, context, endpoint, keys=None, identity=None):
        self.socket = context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.sndhwm = 0
        if keys is not None:
            self.socket.curve_publickey, self.socket.curve_secretkey, self.socket.curve_serverkey = keys
        if identity is not None:
            self.socket.setsockopt(zmq.ROUTING_ID, identity)
        self.socket.connect(endpoint)

    def ask(self, seconds=LIMIT_S):
        """The server's counters, or None without an answer in time."""
        self.socket.send_multipart(message(ASK, {"detail": 0}))
        while self.socket.poll(int(seconds * 1000)):
            frames = self.socket.recv_multipart()
            if msgpack.unpackb(frames[0])["t"] == STATUS:
                return json.loads(msgpack.unpackb(frames[1])["json"])
        return None

    def close(self):
        self.socket.close(linger=0)


class Case(unittest.TestCase):
    """A server, a context, and what is needed to end both."""

    def setUp(self):
        self.server = Server()
        self.context = zmq.Context()
        self.context.set(zmq.MAX_SOCKETS, 4096)
        self.addCleanup(self.end)

    def end(self):
        self.context.destroy(linger=0)
        status, log = self.server.stop()
        self.assertEqual(status, 0, "the server did not end well: " + log[-4000:])

    def peer(self, pair=None, server_key=None, identity=None):
        keys = None
        if pair is not None:
            keys = (*pair, server_key or self.server.keys.public("server"))
        peer = Peer(self.context, self.server.endpoint, keys, identity)
        self.addCleanup(peer.close)
        return peer


def greeting(mechanism):
    return b"\xff" + bytes(8) + b"\x7f\x03\x00" + mechanism.ljust(20, b"\0") + bytes(32)


def ready(**properties):
    """The READY command of the NULL mechanism."""
    body = b"\x05READY"
    for name, value in properties.items():
        name = name.replace("_", "-").encode()
        body += bytes([len(name)]) + name + len(value).to_bytes(4, "big") + value
    return bytes([4, len(body)]) + body
