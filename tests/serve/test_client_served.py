#!/usr/bin/python3
"""The clients against lstmq serve: over its kills and restarts, with each kind of key, and its status."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest

from support.cluster import BINARY, FULL, LIMIT_S, Process, main
from support.peers import Keys, wait_for
from support.program import SOURCE, on_terminal, run

sys.path.insert(0, os.path.join(SOURCE, "proto", "client", "python", "src"))
import lstmq  # noqa: E402


class ServedTest(unittest.TestCase):
    """A queue whose workers answer each text with itself."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="lstmq-served-")
        self.addCleanup(shutil.rmtree, self.folder)

    def serve(self, *flags, bind="tcp://127.0.0.1:0"):
        process = Process("serve", "--serve.echo", "--workers", "1", "--bind", bind, *flags, name="serve")
        self.addCleanup(process.kill)
        self.endpoint = process.event("listening")["address"]
        process.event("model_current")
        return process

    def restart(self, process, *flags):
        """End it as kill -9 does, and start another at the same place."""
        process.kill()
        return self.serve(*flags, bind=self.endpoint)

    def client(self, **more):
        client = lstmq.Client(self.endpoint, **more)
        self.addCleanup(client.close)
        return client

    def translate(self, text, *options):
        return run("translate", "--connect", self.endpoint, *options, stdin=text)


class Answers(ServedTest):
    def test_lines_and_lists_come_back_in_order(self):
        self.serve()
        lines = [f"line {number % 900}" if number % 7 else "" for number in range(10_000)]
        done = self.translate("\n".join(lines) + "\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout.split("\n")[:-1], lines)
        client = self.client()
        self.assertEqual(client.translate(lines), lines)
        self.assertEqual(client.translate("two\nlines\0"), "two\nlines\0")
        self.assertTrue(client.translate("a", details=True).model)

    def test_a_large_first_request_is_not_cut_off(self):
        serve = self.serve()
        texts = [letter * 1_500_000 for letter in "abcde"]
        self.assertEqual(self.client().translate(texts), texts)
        done = self.translate("\n".join(text[:1_000_000] for text in texts))
        self.assertEqual((done.returncode, len(done.stdout)), (0, 5_000_005))
        self.assertEqual(serve.happened("peer_cut"), [])

    def test_an_unknown_pair_of_languages_is_invalid(self):
        self.serve()
        with self.assertRaisesRegex(lstmq.InvalidError, "xx"):
            self.client().translate("a", source="xx", target="yy")
        done = self.translate("a\n", "--source", "xx", "--target", "yy")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("invalid: no model translates from", done.stderr)
        done = self.translate("a\n", "--source", "xx")
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("name both the source and the target language, or neither", done.stderr)

    def test_a_small_queue_is_busy_and_all_is_answered(self):
        self.serve("--serve.queue", "256")
        lines = [f"line {number}" for number in range(5000)]
        done = self.translate("\n".join(lines) + "\n")
        self.assertEqual((done.returncode, done.stderr, done.stdout.split("\n")[:-1]), (0, "", lines))


class Restarts(ServedTest):
    def test_clients_go_on_over_kills_of_the_queue(self):
        serve, wrong, answered, ends = self.serve(), [], [0] * 4, threading.Event()

        def asks(place):
            try:
                with lstmq.Client(self.endpoint, deadline=LIMIT_S) as client:
                    while not ends.is_set():
                        texts = [f"client {place}, {answered[place]}, {part}" for part in range(3)]
                        if client.translate(texts) != texts:
                            wrong.append(texts)
                        answered[place] += 1
            except lstmq.Error as error:
                wrong.append(error)

        command = subprocess.Popen([BINARY, "translate", "--connect", self.endpoint], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        printed, lines = [], []
        reader = threading.Thread(target=lambda: printed.extend(command.stdout))
        threads = [threading.Thread(target=asks, args=(place,)) for place in range(4)]
        for thread in [reader, *threads]:
            thread.start()
        for kill in range(20 if FULL else 3):
            more = [f"line {kill} {number}\n" for number in range(3000)]
            lines += more
            if command.poll() is not None:
                self.fail(f"ended with {command.returncode}: {command.stderr.read()}")
            command.stdin.write("".join(more))
            command.stdin.flush()
            before = list(answered)
            # A command that never reached the queue ends at once, so its first answer comes before the first kill.
            wait_for(lambda: wrong or (printed and all(now > then + 2 for now, then in zip(answered, before))))
            serve = self.restart(serve)
        command.stdin.close()
        reader.join(LIMIT_S)
        ends.set()
        for thread in threads:
            thread.join()
        self.assertEqual((command.wait(LIMIT_S), command.stderr.read()), (0, ""))
        command.stdout.close()
        command.stderr.close()
        self.assertEqual(wrong, [])
        self.assertEqual(printed, lines)

    def test_a_drain_hands_clients_over_to_the_next_queue(self):
        serve = self.serve()
        client = self.client(deadline=LIMIT_S)
        self.assertEqual(client.translate("a"), "a")
        serve.send(signal.SIGTERM)
        self.assertEqual(serve.end(), 0)
        thread = threading.Timer(0.2, lambda: self.serve(bind=self.endpoint))
        thread.start()
        self.assertEqual(client.translate("b"), "b")
        thread.join()

    def test_a_queue_that_is_stopped_expires_and_serves_again(self):
        serve = self.serve()
        client = self.client()
        self.assertEqual(client.translate("a"), "a")
        serve.send(signal.SIGSTOP)
        with self.assertRaises(lstmq.ExpiredError):
            client.translate("b", deadline=1.5)
        serve.send(signal.SIGCONT)
        self.assertEqual(client.translate("c", deadline=LIMIT_S), "c")


class KeyFiles(ServedTest):
    def setUp(self):
        super().setUp()
        self.keys = Keys(os.path.join(self.folder, "keys"))
        self.keys.make("server", allowed=False)
        self.keys.make("other", allowed=False)
        self.keys.make("stranger", role="client", allowed=False)
        for name, role in (("app", "client"), ("hand", "serve"), ("boss", "admin")):
            self.keys.make(name, role=role)
        self.process = self.serve(*self.keys.of_server())

    def fails(self, pattern, key=None, server="server"):
        options = self.keys.of_peer(key) if key else ()
        if server != "server":
            options = (*options[:3], self.keys.path(server + ".pub"))
        done = self.translate("a\n", *options)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        self.assertRegex(done.stderr, pattern)
        files = {"key": self.keys.path(key + ".key"), "server": self.keys.path(server + ".pub")} if key else {}
        with self.assertRaisesRegex(lstmq.QueueConnectionError, pattern):
            self.client(**files).translate("a", deadline=LIMIT_S)

    def test_a_clients_key_translates(self):
        done = self.translate("a\n", *self.keys.of_peer("app"))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "a\n", ""))
        client = self.client(key=self.keys.path("app.key"), server=self.keys.path("server.pub"))
        self.assertEqual(client.translate("b"), "b")

    def test_all_others_are_refused(self):
        # On a busy machine a refusal may take as long as silence.
        self.fails("refuses a connection without a key|does not answer")
        self.fails("refuses this key|does not answer", "stranger")
        self.fails("refuses this key|does not answer", "app", server="other")
        self.fails("role serve", "hand")
        self.fails("role admin", "boss")

    def test_a_key_is_of_no_use_where_there_are_none(self):
        self.process.kill()
        self.process = self.serve(bind=self.endpoint)
        self.fails("refuses this key|does not answer", "app")

    def test_status_needs_a_key_too(self):
        for key, status in (("boss", 0), ("app", 0), ("stranger", 1)):
            done = run("status", "--connect", self.endpoint, *self.keys.of_peer(key))
            self.assertEqual(done.returncode, status, done.stderr)


class Status(ServedTest):
    def test_its_page_names_models_workers_and_requests(self):
        self.serve()
        self.client().translate(["a", "b"])
        done = run("status", "--connect", self.endpoint)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for line in (r"queue: serving, 0 of 10000 sentences wait, \d+ sentences/s of about \d+,\s+clients: \d+\n",
                     r"requests: 1 ok\n", r"\n +model +step +ready", r"\n +worker +state +threads +sentences",
                     r"\n +1 idle +\d+ +2 "):
            self.assertRegex(done.stdout, line)
        self.assertTrue(max(map(len, on_terminal(72, ("status", "--connect", self.endpoint)).splitlines())) <= 80)

    def test_its_object_has_the_kind_queue(self):
        self.serve()
        found = json.loads(run("status", "--connect", self.endpoint, "--json").stdout)
        self.assertEqual((found["kind"], found["state"], found["worker_count"]), ("queue", "serving", 1))

    def test_a_watch_ends_with_the_queue(self):
        serve = self.serve()
        watch = subprocess.Popen(
            [BINARY, "status", "--watch", "--every", "0.1", "--connect", self.endpoint], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, encoding="utf-8")
        self.addCleanup(watch.kill)
        for _ in range(3):
            self.assertRegex(watch.stdout.readline(), r"^queue: serving, 0 sentences wait, 0 sentences/s; models: \S+ "
                                                      r"step \d+; workers: 1; clients: 1\n$")
        serve.send(signal.SIGTERM)
        out, err = watch.communicate(timeout=LIMIT_S)
        self.assertEqual(watch.returncode, 0, err)
        self.assertEqual(err, f"{self.endpoint}: the queue was stopped\n")
        self.assertTrue(out == "" or out.endswith("\n"))


if __name__ == "__main__":
    main()
