#!/usr/bin/python3
"""A refused worker names the likely cause at once and keeps trying; its coordinator logs the address that it
refused."""

import contextlib
import os
import re
import socket
import threading
import time

from support.cluster import FULL, ClusterTest, main
from support.peers import Keys, wait_for

ADVICE = (
    "{} refuses this worker: is its .pub in the coordinator's --allow folder, and is --server the coordinator's .pub?")
HERE = re.compile(r"^127\.0\.0\.1")


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
        """Both sides log the reason, the worker once for all its attempts."""
        event = worker.event("key_refused", level="warn", address=cluster.endpoint)
        self.assertTrue(event["text"].startswith(ADVICE.format(cluster.endpoint)), event["text"])
        cluster.coordinator.event("connection_refused", address=HERE, reason=re.compile(reason))
        self.assertEqual(len(worker.happened("key_refused")), 1, worker.log())
        nameless = cluster.coordinator.happened("connection_refused", address=None, reason=re.compile(reason))
        self.assertEqual(nameless, [])
        return event["text"]

    def test_a_worker_without_a_key(self):
        cluster = self.keyed()
        self.assertIn("has no key", self.assert_says(cluster, cluster.worker(), "(it has no key|it disconnected)"))

    def test_an_unlisted_key_which_is_listed_later(self):
        cluster = self.keyed()
        worker = cluster.worker(*self.keys.of_peer("stranger"))
        self.assertNotIn("has no key", self.assert_says(cluster, worker, "key .* is not on the list of keys"))
        cluster.coordinator.event("connections_refused")  # it tried again
        self.assertEqual(len(worker.happened("key_refused")), 1, worker.log())
        self.keys.admit("stranger")
        cluster.finished()

    def test_a_wrong_server_key(self):
        cluster = self.keyed()
        key, allow = self.keys.of_peer("hand")[:2], self.keys.path("other.pub")
        self.assert_says(
            cluster, cluster.worker(*key, "--curve.server", allow), "its --server key is not this coordinator's")

    def test_a_coordinator_without_keys(self):
        cluster = self.cluster(train__epochs=1).start().listening()
        self.assert_says(
            cluster, cluster.worker(*self.keys.of_peer("hand")), "(it has no key, or keys where none|it disconnected)")

    def test_the_wait_ends_with_the_refusal(self):
        cluster = self.keyed()
        worker = cluster.worker(
            *self.keys.of_peer("stranger"), "--worker.reconnect_timeout", "5")  # libzmq may take 3 s to end a handshake
        self.assertEqual(worker.end(), 1, worker.log())
        last = worker.event("failed")["reason"]
        if FULL or worker.happened("key_refused"):  # else 5 s were too short for a handshake
            self.assertIn(ADVICE.format(cluster.endpoint), last)
            self.assertIn("5 s is over (worker.reconnect_timeout)", last)


class Removed(ClusterTest):
    def test_the_work_of_a_worker_whose_key_is_removed_is_redone(self):
        keys = Keys(os.path.join(self.folder, "keys"))
        for name in ("server", "late"):
            keys.make(name, allowed=False)
        options = {"train__epochs": 100, "train__keep": 1}
        wanted = self.wanted_hashes(**options)
        keys.make("stays")
        keys.make("goes")
        cluster = self.cluster(train__min_workers=2, **options)
        cluster.start(*keys.of_server()).listening()
        stays, goes = [cluster.worker(*keys.of_peer(name), "--log.level", "debug") for name in ("stays", "goes")]
        goes.at_step(50)
        keys.withdraw("goes")
        began = time.monotonic()
        cluster.coordinator.event(
            "connection_refused", address=HERE, reason=re.compile("^key .* was removed from the list of keys"))
        cluster.declared_dead(goes, "has lost its connection")
        if FULL:
            self.assertLess(time.monotonic() - began, 2)
        goes.event("key_refused")
        steps = len(goes.steps())
        keys.admit("late")
        cluster.worker(*keys.of_peer("late"))
        cluster.workers.remove(goes)
        cluster.finished()
        self.assertFalse(goes.ended(), goes.log())
        self.assertEqual(len(goes.steps()), steps)
        goes.kill()
        self.assertEqual(cluster.hashes(), wanted)
        self.assertEqual(stays.happened("key_refused"), [])


class Elsewhere(ClusterTest):
    """Another program listens there."""

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
                    while peer.recv(1) and not greeting:
                        pass  # who says nothing listens to the end

        threading.Thread(target=accept, daemon=True).start()
        return f"tcp://127.0.0.1:{listener.getsockname()[1]}", came

    def test_a_server_that_says_nothing_is_named(self):
        cluster = self.cluster()
        cluster.endpoint, came = self.serve(b"")
        worker = cluster.worker()
        silent = worker.event("coordinator_silent", address=cluster.endpoint)
        self.assertTrue(
            silent["text"].startswith(f"{cluster.endpoint} accepts connections but does not answer: "), silent)
        wait_for(lambda: len(came) >= 2)  # it tries again
        self.assertEqual(len(worker.happened("coordinator_silent")), 1)
        self.assertEqual(worker.happened("key_refused"), [])
        worker.kill()

    def test_another_server_is_named_and_tried_again(self):
        keys = Keys(os.path.join(self.folder, "keys"))
        keys.make("server", allowed=False)
        keys.make("hand")
        for words in ((), keys.of_peer("hand")):
            cluster = self.cluster()
            # It begins like ZeroMQ's oldest protocol. With keys libzmq does not retry after that.
            cluster.endpoint, came = self.serve(b"SSH-2.0-OpenSSH_9.2p1\r\n")
            worker = cluster.worker(*words)
            worker.event("key_refused", text=re.compile("^" + re.escape(ADVICE.format(cluster.endpoint))))
            wait_for(lambda: len(came) >= 3)  # pylint: disable=cell-var-from-loop
            self.assertEqual(len(worker.happened("key_refused")), 1)
            worker.kill()


if __name__ == "__main__":
    main()
