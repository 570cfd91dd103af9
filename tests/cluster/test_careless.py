#!/usr/bin/env python3
"""Mistakes in running a cluster: limits that are too small, workers on the wrong host, invalid addresses and times. The
program manages without or names the mistake, and no other process suffers."""

import os
import re
import socket
import subprocess
import unittest

from support.cluster import BINARY, LIMIT_S, ClusterTest, main

UNPRIVILEGED = 65534


def told(*arguments, prefix=()):
    """The exit status of such a command, and its errors. It must end on its own."""
    result = subprocess.run(
        [*prefix, BINARY, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=LIMIT_S,
        encoding="utf-8", errors="surrogateescape", check=False)
    return result.returncode, result.stderr


def under(*limits):
    """The first words of a command line that sets these limits of the shell."""
    return ("sh", "-c", f'ulimit {" ".join(limits)}; exec "$0" "$@"')


class Careless(ClusterTest):
    pairs_count = 300

    def limited(self, cluster, *prefix):
        """A worker whose command line starts like that."""
        binary, *before = prefix
        words = (*before, BINARY, "worker", "--connect", cluster.endpoint, "--threads", "1")
        process = cluster._process(*words, binary=binary, name=f"worker {len(cluster.workers)}")
        cluster.workers.append(process)
        return process

    def test_workers_without_large_files_share_memory_or_do_without(self):
        options = {"train__epochs": 2, "model__hidden": 96, "model__embed": 64}
        cluster = self.cluster(train__min_workers=2, **options).start().listening()
        for _ in range(2):
            self.limited(cluster, *under("-f", "100"))
        cluster.finished()
        self.assertEqual(cluster.hashes(), self.wanted_hashes(**options))

    def test_too_few_open_files_are_an_early_error(self):
        for command in (("worker", "--connect", "tcp://127.0.0.1:1"),
                        ("coordinator", "--data.pairs", self.pairs, "--run.dir", os.path.join(self.folder, "run"))):
            status, printed = told(*command, prefix=under("-n", "40"))
            self.assertEqual(status, 1, printed)
            self.assertIn("may open 40 files", printed)
            self.assertIn("raise ulimit -n", printed)
        train = ("train", "--data.pairs", self.pairs, "--epochs", "1", "--embed", "8", "--hidden", "8", "--run.dir",
                 os.path.join(self.folder, "run"), "--run.overwrite", "--train.threads", "1", "--train.workers")
        for files, command in (("20", (*train, "1")), ("40", (*train, "8")),
                               ("12", ("status", "--connect", "tcp://127.0.0.1:1")),
                               ("13", ("bench", "cluster"))):
            status, printed = told(*command, prefix=under("-n", files))
            self.assertEqual(status, 1, printed)
            self.assertRegex(printed, rf"may open {files} files and needs \d+: raise ulimit -n")
        for workers, enough in (("1", "32"), ("8", "60")):
            status, printed = told(*train, workers, prefix=under("-n", enough))
            self.assertEqual(status, 0, printed)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_a_worker_of_another_user_leaves_and_the_others_stay(self):
        cluster = self.cluster(train__epochs=100000, train__min_workers=2, cluster__settle=0).start().listening()
        workers = [cluster.worker(), cluster.worker()]
        cluster.active()
        since = cluster.coordinator.mark()
        other = self.limited(cluster, "setpriv", f"--reuid={UNPRIVILEGED}", f"--regid={UNPRIVILEGED}", "--clear-groups")
        self.assertEqual(other.end(), 2, cluster.log())
        other.event("failed", reason=re.compile("--worker.bind"))
        cluster.declared_dead(other, "failed")
        cluster.generation(2, since)
        cluster.active(since)
        self.assertFalse(any(worker.ended() for worker in workers), cluster.log())
        self.assertEqual(cluster.status()["lost"], 1, cluster.log())

    def test_an_invalid_address_is_named(self):
        for endpoint in (
            "tcp://" + "a" * 300 + ":5", "ipc:///" + "a" * 300, "tcp://127.0.0.1:65536", "tcp://127.0.0.1:0",
            "tcp://127.0.0.1:5757:7", "tcp://::1:5757"):
            for command in (("worker", "--worker.reconnect_timeout", "1"), ("status",)):
                status, printed = told(
                    *command, "--connect", endpoint, *(["--insecure"] if command[0] == "worker" else []))
                self.assertEqual(status, 2, f"{command[0]} {endpoint}: {printed}")
                self.assertRegex(printed, r": .{10}")
        run = os.path.join(self.folder, "run")
        for endpoint in ("tcp://127.0.0.1:65536", "inproc://here", "ipc:///" + "a" * 300):
            status, printed = told(
                "coordinator", "--data.pairs", self.pairs, "--run.dir", run, "--bind", endpoint, "--insecure")
            self.assertEqual(status, 2, f"{endpoint}: {printed}")
        for bind in ("127.0.0.1:65536", "[::1", "::1"):
            status, printed = told("worker", "--connect", "tcp://127.0.0.1:1", "--worker.bind", bind, "--insecure")
            self.assertEqual(status, 2, f"{bind}: {printed}")
            self.assertIn("worker.bind", printed)

    def test_a_typing_mistake_in_an_endpoint_is_named(self):
        run = os.path.join(self.folder, "run")
        for endpoint, more in (("127.0.0.1:5757", ""), ("tcp://127.0.0.1", ""), ("http://127.0.0.1:5757", ""),
                               (":80000", ""),
                               ("tcp://127.0.0.1:80000", ", with a port of at most 65535")):
            wanted = f'"{endpoint}" is not an endpoint: use tcp://HOST:PORT{more}\n'
            for name, *command in (("bind", "coordinator", "--data.pairs", self.pairs, "--run.dir", run, "--bind"),
                                   ("connect", "worker", "--connect"), ("connect", "status", "--connect")):
                status, printed = told(*command, endpoint)
                self.assertEqual(status, 2, printed)
                self.assertEqual(printed, f"lstmq {command[0]}: cluster.{name}: {wanted}")
            self.assertFalse(os.path.exists(run))
        for bind in ("tcp://127.0.0.1:5001", "127.0.0.1:80000", "http://h", "h:x"):
            status, printed = told("worker", "--connect", "tcp://192.0.2.1:5757", "--worker.bind", bind)
            self.assertEqual(status, 2, printed)
            self.assertIn(f'worker.bind: "{bind}" is not an address: use HOST or HOST:PORT', printed)

    def test_an_unknown_host_brings_no_advice_on_security(self):
        try:
            socket.getaddrinfo("127.0.0.1.1", None)
            self.skipTest("127.0.0.1.1 is a host here")
        except socket.gaierror as failure:
            if failure.errno != socket.EAI_NONAME:
                self.skipTest(f"no name server answers: {failure}")
        run = os.path.join(self.folder, "run")
        for command in (
            ("coordinator", "--data.pairs", self.pairs, "--run.dir", run, "--bind"), ("worker", "--connect")):
            status, said = told(*command, "tcp://127.0.0.1.1:5757")
            self.assertEqual(status, 2, said)
            self.assertEqual(said.splitlines()[-1],
                             f'lstmq {command[0]}: tcp://127.0.0.1.1:5757: no host has the name "127.0.0.1.1"')

    def test_a_key_of_the_wrong_kind_is_named(self):
        subprocess.run([BINARY, "keygen", "w1", "--out", self.folder], check=True, stdout=subprocess.DEVNULL)
        secret, public = (os.path.join(self.folder, name) for name in ("w1.key", "w1.pub"))
        for keys, wanted in (((public, public), f"curve.key: {public}: this is a public key; give {secret}\n"),
                             ((secret, secret), f"curve.server: {secret}: this is a secret key; give {public}\n")):
            for command in ("worker", "status"):
                status, printed = told(command, "--connect", "tcp://127.0.0.1:1", "--key", keys[0], "--server", keys[1])
                self.assertEqual(status, 2, printed)
                self.assertEqual(printed, f"lstmq {command}: {wanted}")
        status, printed = told("coordinator", "--data.pairs", self.pairs, "--run.dir", os.path.join(self.folder, "run"),
                               "--key", secret, "--allow", secret)
        self.assertEqual(status, 2, printed)
        self.assertRegex(printed, f"{secret}: line 3: this is a secret key; give {public}\n$")

    def test_a_worker_without_a_coordinator_names_the_address(self):
        worker = self.cluster()._process("worker", "--connect", "tcp://127.0.0.1:1", name="lost")
        worker.event("waiting_for_coordinator", address="tcp://127.0.0.1:1")

    def test_a_worker_that_failed_does_not_log_a_rejoin(self):
        # So large that its end takes longer than the answer to the error.
        cluster = (
            self.cluster(train__min_workers=2, cluster__settle=0, model__hidden=1000, model__embed=500)
            .start()
            .listening())
        cluster.worker().number()
        for _ in range(3):
            wrong = cluster.worker("--worker.bind", "203.0.113.9", "--insecure")  # an address of no host (RFC 5737)
            self.assertEqual(wrong.end(), 1, cluster.log())
            self.assertEqual(wrong.happened("joining_again"), [], cluster.log())

    def test_a_port_of_loopback_is_loopback(self):
        status, printed = told(
            "worker", "--connect", "tcp://127.0.0.1:1", "--worker.bind", "127.0.0.1:5001", "--worker.reconnect_timeout",
            "1")
        self.assertEqual(status, 1, printed)
        self.assertIn("could not be reached", printed)

    def test_an_impossible_limit_is_refused(self):
        status, printed = told(
            "coordinator", "--data.pairs", self.pairs, "--run.dir", os.path.join(self.folder, "run"), "--bind",
            "tcp://127.0.0.1:0", "--cluster.heartbeat", "1000", "--cluster.heartbeat_timeout", "1900")
        self.assertEqual(status, 2, printed)
        self.assertIn("cluster.heartbeat_timeout", printed)


if __name__ == "__main__":
    main()
