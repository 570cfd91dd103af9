#!/usr/bin/python3
"""lstmq serve takes the sockets of a supervisor and tells it how it stands, as systemd expects of Type=notify."""

import os
import signal
import socket
import subprocess
import tempfile
import unittest

from support.program import BINARY, LIMIT_S, main

WATCHDOG_S = 0.2


class Supervised(unittest.TestCase):
    """The test is the supervisor: it owns the listening sockets and hears what the process says."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="lstmq-supervised-")
        self.addCleanup(folder.cleanup)
        self.news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.news.close)
        self.news.bind(os.path.join(folder.name, "notify"))
        self.news.settimeout(LIMIT_S)
        self.sockets = {name: socket.create_server(("127.0.0.1", 0), backlog=64) for name in ("queue", "http")}
        for listener in self.sockets.values():
            self.addCleanup(listener.close)

    def start(self, *names):
        """Start the queue with the sockets of these names, as descriptors 3, 4, ..."""
        kept = [os.dup(self.sockets[name].fileno()) for name in names]
        spare = max([*kept, 10]) + 1

        def place():
            for i, fd in enumerate(kept):
                os.dup2(fd, spare + i)
            for i in range(len(kept)):
                os.dup2(spare + i, 3 + i)
                os.close(spare + i)

        environment = {**os.environ, "LISTEN_FDS": str(len(names)), "LISTEN_FDNAMES": ":".join(names),
                       "NOTIFY_SOCKET": self.news.getsockname(), "WATCHDOG_USEC": str(int(WATCHDOG_S * 1e6))}
        process = subprocess.Popen([BINARY, "serve", "--serve.echo", "--bind", "tcp://127.0.0.1:0", "--http",
                                    "127.0.0.1:0", "--log.format", "json"], env=environment, preexec_fn=place,
                                   close_fds=False, stderr=subprocess.PIPE, text=True)
        for fd in kept:
            os.close(fd)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def hear(self, *expected):
        """The next news that are not in `expected`, which may come before."""
        while (news := self.news.recv(256).decode()) in expected:
            pass
        return news

    def test_it_says_when_it_listens_that_it_lives_and_when_it_stops(self):
        process = self.start("queue", "http")
        self.assertEqual(self.hear(), "READY=1")
        self.assertEqual([self.hear() for _ in range(3)], ["WATCHDOG=1"] * 3)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.hear("WATCHDOG=1"), "STOPPING=1")
        self.assertEqual(process.wait(LIMIT_S), 0)

    def test_a_frozen_process_feeds_no_watchdog(self):
        process = self.start("queue", "http")
        self.assertEqual(self.hear(), "READY=1")
        process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        self.news.settimeout(0)
        with self.assertRaises(BlockingIOError):
            while True:
                self.hear()
        self.news.settimeout(5 * WATCHDOG_S)
        with self.assertRaises(socket.timeout):
            self.hear()
        process.send_signal(signal.SIGCONT)
        self.news.settimeout(LIMIT_S)
        self.assertEqual(self.hear(), "WATCHDOG=1")

    def test_its_sockets_are_the_supervisors(self):
        process = self.start("queue", "http")
        self.assertEqual(self.hear(), "READY=1")
        process.send_signal(signal.SIGTERM)
        log = process.stderr.read()
        for listener in self.sockets.values():
            self.assertIn(f"127.0.0.1:{listener.getsockname()[1]}\"", log)
        self.assertNotIn("socket_unused", log)


if __name__ == "__main__":
    main()
