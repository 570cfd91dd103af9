#!/usr/bin/python3
"""A server admits a peer only with a listed key whose role fits the request."""

import os
import re
import subprocess
import tempfile
import time
import unittest

from support.cluster import FULL, LIMIT_S, main
from support.peers import SERVER, Case, Keys, wait_for, zmq

QUICKLY = 0.7  # seconds; an accepted peer has its answer long before


class Refused(Case):
    def setUp(self):
        super().setUp()
        self.good = self.server.keys.make("worker-1")

    def assert_refused(self, peer, pattern):
        self.assertIsNone(peer.ask(QUICKLY))
        peer.close()
        events = wait_for(lambda: self.server.events("connection_refused", reason=re.compile(pattern)))
        self.assertEqual(events[0]["level"], "warn")
        self.assertRegex(events[0]["address"], r"^127\.0\.0\.1")
        self.friend = getattr(self, "friend", None) or self.peer(self.good)
        counters = self.friend.ask()
        self.assertEqual(counters["hellos"], 0)
        self.assertEqual(counters["let_in"], 1)  # the friend
        return events

    def test_a_peer_without_a_key(self):
        # The side that first sees that the keys do not fit ends the connection.
        self.assert_refused(self.peer(), "(it has no key|during the handshake)")

    def test_an_unknown_key(self):
        stranger = self.server.keys.make("stranger", allowed=False)
        events = self.assert_refused(self.peer(stranger), "is not on the list of keys")
        self.assertIn(stranger[0][:7].decode() + "...", events[0]["reason"])
        self.assertNotIn(stranger[0].decode(), self.server.log())

    def test_a_clients_key_used_as_a_workers(self):
        for role in ("client", "serve"):
            pair = self.server.keys.make(role, role=role)
            self.assert_refused(self.peer(pair), f"\\({role}\\) has the role {role}, which is not for \"train\"")

    def test_anothers_public_key_without_its_secret(self):
        own = self.server.keys.make("thief", allowed=False)
        self.assert_refused(self.peer((self.good[0], own[1])), "its secret and public keys do not match")

    def test_a_wrong_server_key(self):
        other = self.server.keys.make("other", allowed=False)
        self.assert_refused(self.peer(self.good, server_key=other[0]), "its --server key is not this coordinator's")

    def test_a_file_of_ones_own_changes_nothing(self):
        pair = self.server.keys.make("riser", role="client")
        path = self.server.keys.path("riser.pub")
        with open(path, encoding="ascii") as file:
            text = file.read()
        with open(path, "w", encoding="ascii") as file:
            file.write(text.replace("client", "train"))
        self.assert_refused(self.peer(pair), "has the role client")

    def test_a_flood_of_them_is_a_few_lines(self):
        stranger = self.server.keys.make("stranger", allowed=False)
        began = time.monotonic()
        flood = [self.peer(stranger) for _ in range(300)]
        good = self.peer(self.good)
        wait_for(lambda: good.ask()["refused"] >= 300)
        for peer in flood:
            peer.close()
        seconds = time.monotonic() - began
        wait_for(lambda: self.server.events("connections_refused"))
        self.assertLessEqual(len(self.server.events("connection_refused")), 10 * (seconds + 2))
        self.assertEqual(good.ask()["let_in"], 1)


class Admitted(Case):
    def refusals(self, pair, reason):
        return self.server.events("connection_refused", address=re.compile(r"^127\.0\.0\.1"),
                                  reason=re.compile(re.escape(pair[0][:7].decode()) + r"\.\.\. " + reason))

    def assert_cut(self, peer, pair, since):
        """The peer is disconnected soon after the time `since`, logged once, and refused when it connects again."""
        wait_for(lambda: self.refusals(pair, "was removed from the list of keys"))
        if FULL:
            self.assertLess(time.monotonic() - since, 2)
        wait_for(lambda: self.refusals(pair, "is not on the list of keys"))
        self.assertIsNone(peer.ask(QUICKLY))
        self.assertEqual(len(self.refusals(pair, "was removed")), 1)

    def test_keys_are_added_and_removed_while_the_server_runs(self):
        stays, late = self.server.keys.make("stays"), self.server.keys.make("late", allowed=False)
        friend = self.peer(stays)
        self.assertIsNotNone(friend.ask())
        self.server.keys.admit("late")
        peer = self.peer(late)
        self.assertEqual(peer.ask()["let_in"], 2)
        self.server.keys.withdraw("late")
        self.assert_cut(peer, late, time.monotonic())
        self.assertEqual(friend.ask()["let_in"], 2, "who is on the list stays connected")
        self.server.keys.admit("late")
        self.assertEqual(peer.ask()["let_in"], 3)

    def test_a_key_that_another_replaces_is_removed(self):
        first, second = self.server.keys.make("first"), self.server.keys.make("second", allowed=False)
        peer = self.peer(first)
        self.assertIsNotNone(peer.ask())
        with open(self.server.keys.path("second.pub"), "rb") as source:
            text = source.read()
        # The same file, as long as before.
        with open(os.path.join(self.server.keys.allow, "first.pub"), "wb") as target:
            target.write(text.replace(b"second", b"first"))
        self.assert_cut(peer, first, time.monotonic())
        self.assertIsNotNone(self.peer(second).ask())

    def test_a_key_that_loses_its_role_is_removed(self):
        pair = self.server.keys.make("hand")
        peer = self.peer(pair)
        self.assertIsNotNone(peer.ask())
        path = os.path.join(self.server.keys.allow, "hand.pub")
        with open(path, "rb") as file:
            text = file.read()
        with open(path, "wb") as file:
            file.write(text.replace(b"train", b"serve"))
        wait_for(lambda: self.refusals(pair, "was removed from the list of keys"))
        wait_for(lambda: self.refusals(pair, r"\(hand\) has the role serve"))

    def test_a_peer_that_said_nothing_before_its_key_was_removed(self):
        stays, pair = self.server.keys.make("stays"), self.server.keys.make("silent")
        friend, peer = self.peer(stays), self.peer(pair)
        self.assertTrue(peer.socket.poll(10000, zmq.POLLOUT))
        wait_for(lambda: friend.ask()["let_in"] == 2)
        before = len(self.server.events("keys_read", keys=1))
        self.server.keys.withdraw("silent")
        wait_for(lambda: len(self.server.events("keys_read", keys=1)) > before)
        self.assertIsNone(peer.ask(QUICKLY))
        self.assert_cut(peer, pair, time.monotonic())

    def test_a_list_that_goes_disconnects_no_peer(self):
        pair, other = self.server.keys.make("worker-1"), self.server.keys.make("worker-2")
        peer, gone = self.peer(pair), self.peer(other)
        self.assertIsNotNone(peer.ask())
        self.assertIsNotNone(gone.ask())
        allow = self.server.keys.allow
        os.rename(allow, allow + ".away")
        wait_for(lambda: self.server.events("keys_unreadable", path=allow))
        stranger = self.server.keys.make("stranger", allowed=False)
        strangers = [self.peer(stranger) for _ in range(3)]
        wait_for(lambda: peer.ask()["refused"] >= 3)  # each of them was a look at the list
        for late in strangers:
            late.close()
        self.assertIsNotNone(gone.ask())
        self.assertEqual(len(self.server.events("keys_unreadable")), 1)
        os.rename(allow + ".away", allow)
        self.server.keys.withdraw("worker-2")
        self.assert_cut(gone, other, time.monotonic())
        self.assertEqual(peer.ask()["let_in"], 2)

    def test_a_list_that_cannot_be_read_stays_as_it_was(self):
        pair = self.server.keys.make("worker-1")
        self.assertIsNotNone(self.peer(pair).ask())
        with open(os.path.join(self.server.keys.allow, "broken.pub"), "w", encoding="ascii") as file:
            file.write("train of thought\n")

        def told():
            self.assertIsNotNone(self.peer(pair).ask())
            return self.server.events("keys_unreadable", reason=re.compile("broken.pub: line 1: "))

        self.assertEqual(len(wait_for(told)), 1)
        self.assertIsNotNone(self.peer(pair).ask())

    def test_a_waiting_peer_is_admitted_once_its_key_is_listed(self):
        waiting = self.server.keys.make("waiting", allowed=False)
        peer = self.peer(waiting)
        self.assertIsNone(peer.ask(QUICKLY))
        self.server.keys.admit("waiting")
        self.assertEqual(peer.ask()["let_in"], 1)

    def test_operators_can_read_the_status(self):
        self.assertIsNotNone(self.peer(self.server.keys.make("operator", role="admin")).ask())

    def test_no_peer_takes_a_connected_peers_place(self):
        first, second = (self.server.keys.make(name) for name in ("worker-1", "worker-2"))
        one = self.peer(first, identity=b"worker-1")
        self.assertIsNotNone(one.ask())
        self.assertIsNone(self.peer(second, identity=b"worker-1").ask(QUICKLY))
        self.assertIsNotNone(one.ask())


class Listening(unittest.TestCase):
    def refused(self, *options):
        result = subprocess.run([SERVER, "1", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                encoding="utf-8", timeout=LIMIT_S, check=False)
        self.assertEqual((result.returncode, result.stdout), (2, ""), result.stderr)
        return result.stderr

    def test_only_this_machine_without_keys(self):
        for host in ("0.0.0.0", "*", "[::]", "192.0.2.1", "eth0"):
            error = self.refused(f"cluster.bind=tcp://{host}:0")
            self.assertIn("lstmq keygen", error)
            self.assertIn("--insecure", error)

    def test_keys_and_the_list_go_together(self):
        with tempfile.TemporaryDirectory(prefix="lstmq-cluster-") as folder:
            keys = Keys(folder)
            keys.make("server", allowed=False)
            self.assertIn("curve.key needs --curve.allow", self.refused(f"curve.key={keys.path('server.key')}"))
            self.assertIn("curve.allow needs --curve.key", self.refused(f"curve.allow={keys.allow}"))
            os.chmod(keys.path("server.key"), 0o644)
            self.assertIn("chmod 600", self.refused(f"curve.key={keys.path('server.key')}",
                                                    f"curve.allow={keys.allow}"))

    def test_insecure_is_logged(self):
        result = subprocess.run([SERVER, "0", "cluster.bind=tcp://0.0.0.0:0", "curve.insecure=true"],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", timeout=LIMIT_S,
                                check=False)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn("accepts every peer that reaches it", result.stderr)


if __name__ == "__main__":
    main()
