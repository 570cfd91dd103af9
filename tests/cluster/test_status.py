#!/usr/bin/python3
"""What lstmq status prints: without a coordinator, for a run, and for a run that it watches."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import time

from support.cluster import BINARY, FULL, LIMIT_S, ClusterTest, main, write
from support.peers import Keys


class Status(ClusterTest):
    def ask(self, endpoint, *words, prefix=()):
        began = time.monotonic()
        result = subprocess.run(
            [*prefix, BINARY, "status", "--connect", endpoint, *words], capture_output=True, text=True, timeout=LIMIT_S,
            check=False)
        self.seconds = time.monotonic() - began
        return result

    def assert_fails(self, pattern, endpoint, *words, prefix=()):
        result = self.ask(endpoint, *words, prefix=prefix)
        self.assertEqual((result.returncode, result.stdout), (1, ""), result.stderr)
        self.assertRegex(result.stderr, pattern)

    def running(self, *flags, **options):
        """A cluster whose worker trains until the test ends it."""
        cluster = self.cluster(train__epochs=100000, **options).start(*flags).listening()
        return cluster


class Unanswered(Status):
    def free(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            return f"tcp://127.0.0.1:{taken.getsockname()[1]}"

    def test_nothing_listens(self):
        for endpoint in (self.free(), "ipc://" + os.path.join(self.folder, "place")):
            for words in ((), ("--json",), ("--watch",)):
                self.assert_fails(f"nothing listens at {endpoint}$", endpoint, *words)
                if FULL:
                    self.assertLess(self.seconds, 2)

    def test_a_host_without_an_address(self):
        self.assert_fails("tcp://no-such-host.invalid:5757 cannot be reached: ", "tcp://no-such-host.invalid:5757")

    def test_a_name_of_two_addresses_with_only_the_newer_served(self):
        hosts = write(os.path.join(self.folder, "hosts"), "::1 both.test\n127.0.0.1 both.test\n")
        named = ("unshare", "-m", "sh", "-c", f'mount --bind {hosts} /etc/hosts && exec "$0" "$@"')
        try:
            newer = socket.create_server(("::1", 0), family=socket.AF_INET6)
            subprocess.run([*named, "true"], check=True, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.CalledProcessError) as error:
            self.skipTest(f"it needs IPv6, and root for a name: {error}")
        with newer:
            endpoint = f"tcp://both.test:{newer.getsockname()[1]}"
            self.assert_fails(f"nothing listens at {endpoint}$", endpoint, prefix=named)

    def test_a_server_that_says_nothing(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            endpoint = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
            self.assert_fails(f"{endpoint} accepts connections but does not answer: is it a coordinator", endpoint)

    def test_a_coordinator_that_is_stopped(self):
        keys = Keys(os.path.join(self.folder, "keys"))
        keys.make("server", allowed=False)
        keys.make("operator", role="admin")
        for server, own in (((), ()), (keys.of_server(), keys.of_peer("operator"))):
            cluster = self.running(*server)
            cluster.coordinator.send(signal.SIGSTOP)
            self.assert_fails(
                f"{cluster.endpoint} accepts connections but does not answer: .*does it run", cluster.endpoint, *own)
            cluster.coordinator.send(signal.SIGCONT)

    def test_a_host_that_does_not_answer(self):
        # A listener with a full queue: the kernel drops new connections, as a firewall does.
        with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
            place = full.getsockname()
            fillers = [socket.socket() for _ in range(4)]
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(place)
            self.assert_fails("does not answer|no connection within", f"tcp://127.0.0.1:{place[1]}")
            for filler in fillers:
                filler.close()

    def test_a_key_that_is_refused(self):
        keys = Keys(os.path.join(self.folder, "keys"))
        for name in ("server", "stranger"):
            keys.make(name, allowed=False)
        cluster = self.running(*keys.of_server())
        self.assert_fails(
            f"{cluster.endpoint} refuses this key: is its .pub in", cluster.endpoint, *keys.of_peer("stranger"))
        self.assert_fails(f"{cluster.endpoint} refuses a connection without a key", cluster.endpoint)


class Running(Status):
    def test_figures_that_do_not_exist_are_null(self):
        cluster = self.running()
        found = cluster.status()
        self.assertEqual(found["phase"], "waiting")
        for name in ("tgt_tok_per_s", "best_score", "best_epoch"):
            self.assertIsNone(found[name])
        text = self.ask(cluster.endpoint).stdout
        self.assertIn("no speed in this epoch yet", text)
        self.assertIn("no best epoch yet", text)

    def test_the_best_score_has_its_metrics_name(self):
        cluster = self.running(train__keep_best="val_acc")
        cluster.worker()
        deadline = time.monotonic() + LIMIT_S
        while (found := cluster.status())["best_score"] is None:
            self.assertLess(time.monotonic(), deadline, cluster.log())
        self.assertEqual(found["best_metric"], "val_acc")
        self.assertRegex(self.ask(cluster.endpoint).stdout, r"best: val_acc [\d.e-]+ in epoch \d+\n")

    def watch(self, *words, stdout=subprocess.PIPE):
        process = subprocess.Popen(
            [BINARY, "status", "--watch", "--every", "0.1", *words], stdout=stdout, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        return process

    def test_a_watch_prints_each_answer_until_the_run_ends(self):
        cluster = self.cluster(train__epochs=60).start().listening()
        text, objects = self.watch("--connect", cluster.endpoint), self.watch("--connect", cluster.endpoint, "--json")
        for _ in range(3):
            self.assertRegex(
                text.stdout.readline(),
                r"^\S+/run: waiting, step 0, 0 of 60 epochs done; no speed in this epoch yet; no best epoch yet; "
                r"workers: 0\n$")
            self.assertEqual(json.loads(objects.stdout.readline())["phase"], "waiting")
        cluster.worker()
        cluster.finished()
        for process in (text, objects):
            out, err = process.communicate(timeout=LIMIT_S)
            self.assertEqual(process.returncode, 0, err)
            self.assertIn("the run is over, or its coordinator was stopped", err)
            self.assertTrue(out.endswith("\n"))
        steps = [json.loads(line)["step"] for line in out.splitlines()]
        self.assertEqual(steps, sorted(steps))

    def test_a_watch_ends_when_its_coordinator_stops_answering(self):
        cluster = self.running()
        watch = self.watch("--connect", cluster.endpoint)
        self.assertIn("waiting, step 0", watch.stdout.readline())
        cluster.coordinator.send(signal.SIGSTOP)
        _, err = watch.communicate(timeout=LIMIT_S)
        cluster.coordinator.send(signal.SIGCONT)
        self.assertEqual(watch.returncode, 1, err)
        self.assertIn(f"{cluster.endpoint} no longer answers", err)

    def test_a_watch_waits_between_its_answers(self):
        cluster = self.running()
        began = time.monotonic()
        process = self.watch("--every", "0.8", "--connect", cluster.endpoint)
        for _ in range(4):
            process.stdout.readline()
        self.assertGreater(time.monotonic() - began, 2.4)

    def test_a_watch_redraws_on_a_terminal(self):
        cluster = self.running()
        here, there = pty.openpty()
        fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 50, 0, 0))
        process = self.watch("--connect", cluster.endpoint, stdout=there)
        os.close(there)
        shown, deadline = "", time.monotonic() + LIMIT_S
        while shown.count("generation 0:") < 3:
            self.assertTrue(select.select([here], [], [], deadline - time.monotonic())[0], shown)
            shown += os.read(here, 4096).decode()
        for line in re.sub("\033\\[[HJ]", "", shown).splitlines()[:-1]:
            self.assertLessEqual(len(line), 50, line)
        self.assertEqual(len(re.findall("\033\\[H\033\\[J[^\n]*/run: waiting", shown)), shown.count("/run: waiting"))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(LIMIT_S), -signal.SIGINT)
        process.stderr.close()
        os.close(here)


if __name__ == "__main__":
    main()
