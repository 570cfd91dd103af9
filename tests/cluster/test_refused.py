#!/usr/bin/python3
"""A worker that is refused says so at once, with what to look at, and goes on trying; its coordinator says whom it refused."""

import contextlib
import os
import re
import socket
import threading

from cluster import ClusterTest, main
from peers import Keys, wait_for

REFUSES = r" refuses this worker: is its \.pub in the coordinator's --allow folder, and is --server the coordinator's \.pub\?"


def lines(process, pattern):
    """All lines so far in which the pattern is found."""
    with process.news:
        return [line for _, line in process.lines if re.search(pattern, line)]


class Refused(ClusterTest):
    def setUp(self):
        super().setUp()
        self.keys = Keys(os.path.join(self.folder, "keys"))
        for name in ("server", "other", "stranger"):
            self.keys.make(name, allowed=False)
        self.keys.make("hand")

    def keyed(self, **options):
        cluster = self.cluster(train__epochs=1, **options)
        return cluster.start(*self.keys.of_server()).listening()

    def assert_says(self, cluster, worker, reason):
        """Both sides say why, the worker once, however often it tries."""
        told = wait_for(lambda: lines(worker, "refuses this worker"))
        self.assertRegex(told[0], " warn .*" + re.escape(cluster.endpoint) + REFUSES)
        wait_for(lambda: lines(cluster.coordinator, r"refused 127\.0\.0\.1.*: " + reason))
        wait_for(lambda: lines(cluster.coordinator, r"refused [0-9]+ more connections"), 20)
        self.assertEqual(len(lines(worker, "refuses this worker")), 1, worker.log())
        self.assertEqual(lines(cluster.coordinator, "refused a connection"), [])
        return told[0]

    def test_a_worker_without_a_key(self):
        cluster = self.keyed()
        self.assertIn("has no key", self.assert_says(cluster, cluster.worker(), "(it has no key|it went)"))

    def test_an_unlisted_key_which_is_listed_later(self):
        cluster = self.keyed()
        worker = cluster.worker(*self.keys.of_peer("stranger"))
        self.assertNotIn("has no key", self.assert_says(cluster, worker, "key .* is not on the list of keys"))
        self.keys.admit("stranger")
        cluster.finished()

    def test_a_wrong_server_key(self):
        cluster = self.keyed()
        key, allow = self.keys.of_peer("hand")[:2], self.keys.path("other.pub")
        self.assert_says(cluster, cluster.worker(*key, "--curve.server", allow), "its keys do not fit")

    def test_a_coordinator_without_keys(self):
        cluster = self.cluster(train__epochs=1).start().listening()
        self.assert_says(cluster, cluster.worker(*self.keys.of_peer("hand")), "(it has no key, or keys where none|it went)")

    def test_the_wait_ends_with_the_refusal(self):
        cluster = self.keyed()
        worker = cluster.worker(*self.keys.of_peer("stranger"), "--worker.patience", "5")  # libzmq may take 3 s to end a handshake
        self.assertEqual(worker.end(), 1, worker.log())
        self.assertRegex(worker.lines[-1][1], "lstmq.*: " + re.escape(cluster.endpoint) + REFUSES + r".* 5 s is over \(worker\.patience\)")


class Elsewhere(ClusterTest):
    """Something else listens there."""

    def serve(self, greeting):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        came = []

        def accept():
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                came.append(peer)
                with contextlib.suppress(OSError), peer:
                    peer.sendall(greeting)
                    peer.recv(1)

        threading.Thread(target=accept, daemon=True).start()
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}", came

    def test_another_server_is_named_and_tried_again(self):
        keys = Keys(os.path.join(self.folder, "keys"))
        keys.make("server", allowed=False)
        keys.make("hand")
        for words in ((), keys.of_peer("hand")):
            cluster = self.cluster()
            # It begins as ZeroMQ's oldest protocol does, after which libzmq does not try again where there are keys.
            cluster.endpoint, came = self.serve(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            worker = cluster.worker(*words)
            wait_for(lambda: lines(worker, re.escape(cluster.endpoint) + REFUSES))  # pylint: disable=cell-var-from-loop
            wait_for(lambda: len(came) >= 3)  # pylint: disable=cell-var-from-loop
            self.assertEqual(len(lines(worker, "refuses this worker")), 1)
            worker.kill()


if __name__ == "__main__":
    main()
