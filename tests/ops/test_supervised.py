#!/usr/bin/python3
"""lstmq serve takes the sockets of a supervisor and tells it how it stands, as systemd expects of Type=notify."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
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

    def answered(self):
        """Send one request over a connection of its own. Returns the status line."""
        with socket.create_connection(self.sockets["http"].getsockname(), timeout=LIMIT_S) as connection:
            connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.makefile("rb").readline()

    def test_a_restart_refuses_and_loses_no_request(self):
        statuses, ending = [], threading.Event()

        def ask():
            while not ending.is_set():
                statuses.append(self.answered())

        process = self.start("queue", "http")
        self.assertEqual(self.hear("WATCHDOG=1"), "READY=1")
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            clients = [pool.submit(ask) for _ in range(4)]
            for _ in range(5):
                seen = len(statuses)
                process.send_signal(signal.SIGTERM)
                self.assertEqual(process.wait(LIMIT_S), 0)
                process = self.start("queue", "http")
                self.assertEqual(self.hear("WATCHDOG=1", "STOPPING=1"), "READY=1")
                while len(statuses) < seen + 20 and not any(client.done() for client in clients):
                    time.sleep(0.001)
            ending.set()
            for client in clients:
                client.result()
        self.assertEqual(set(statuses), {b"HTTP/1.1 200 OK\r\n"})

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
