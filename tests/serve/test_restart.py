#!/usr/bin/python3
"""A queue under load is restarted again and again, and a supervisor holds its sockets meanwhile. No request fails.
$LSTMQ_FULL means more restarts. Then no HTTP client meets a closed connection either, where it would send its request
again."""

import http.client
import json
import signal
import socket
import threading
import urllib.error
import urllib.request

from support.serving import BINARY, FULL, LIMIT_S, Process, ServeTest, main, share

RESTARTS = 10 if FULL else 2
RESTARTS_KEPT = 20 if FULL else 3  # under clients that keep their connections


class Activator:
    """What systemd does for a socket unit: it listens, and each process that it starts inherits the sockets."""

    def __init__(self, test):
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2)]
        self.ports = [one.getsockname()[1] for one in self.sockets]
        self.test = test
        for one in self.sockets:
            test.addCleanup(one.close)

    def start(self, *arguments):
        """Start a queue, by a shell that passes the sockets on as descriptors 3 and 4."""
        moves = " ".join(f"{3 + i}<&{one.fileno()}" for i, one in enumerate(self.sockets))
        script = f'exec env LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=queue:http "$@" {moves}'
        process = Process("-c", script, "bash", BINARY, "serve", *arguments, "--log.format", "json",
                          binary="/bin/bash", name="queue", inherits=[one.fileno() for one in self.sockets])
        self.test.addCleanup(lambda: process.ended() or process.kill())
        return process


class Restart(ServeTest):
    def test_restart_by_socket_activation_fails_no_request(self):
        activator, sentences = Activator(self), self.sentences(300)
        arguments = ["--model", self.model(), "--serve.bind", f"tcp://127.0.0.1:{activator.ports[0]}",
                     "--http", f"127.0.0.1:{activator.ports[1]}", "--workers", "2"]

        def over_http():
            body = json.dumps({"q": sentences[0], "source": "en", "target": "fr"}).encode()
            while not over.is_set():
                request = urllib.request.Request(f"http://127.0.0.1:{activator.ports[1]}/translate", body,
                                                 {"Content-Type": "application/json"})
                try:
                    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                        found.append(answer.status)
                except urllib.error.HTTPError as error:
                    if error.code != 503 or not error.headers["Retry-After"]:
                        found.append(error.code)
                    over.wait(0.05)
                except OSError as error:
                    found.append(error)

        over, found = threading.Event(), []
        process = activator.start(*arguments)
        process.event("http_listening")
        load = self.load(f"tcp://127.0.0.1:{activator.ports[0]}",
                         lambda number: [sentences[number % len(sentences)]], window=16, retries=True)
        load.answered(50)
        thread = threading.Thread(target=over_http, daemon=True)
        thread.start()
        for _ in range(RESTARTS):
            process.send(signal.SIGTERM)
            self.assertEqual(process.end(), 0, process.log())
            process = activator.start(*arguments)
            process.event("http_listening")
            load.answered(load.count() + 100)
        over.set()
        thread.join(LIMIT_S)
        load.finish()
        times = load.times()
        self.say(f"{RESTARTS} restarts, {len(times)} requests, {len(found)} over HTTP: "
                 f"p99 {share(times, 0.99) * 1e3:.1f} ms, the slowest {times[-1] * 1e3:.0f} ms")
        self.nothing_went_wrong(load)
        self.assertEqual(set(found), {200}, process.log())

    def ask_http(self, port):
        """Send requests, each as soon as the last one is answered."""
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=LIMIT_S)
        while not self.over.is_set():
            text = f"Request {len(self.statuses)}."
            body = json.dumps({"q": text, "source": "en", "target": "fr"})
            try:
                connection.request("POST", "/translate", body, {"Content-Type": "application/json"})
                answer = connection.getresponse()
                right = json.loads(answer.read()).get("translatedText") == text
                self.statuses.append(answer.status if right else "another text")
            except (OSError, http.client.HTTPException) as error:
                self.closed.append(repr(error))
                connection.close()

    def test_kept_connections_fail_no_request(self):
        activator = Activator(self)
        self.over, self.statuses, self.closed = threading.Event(), [], []
        arguments = ["--model", self.model(), "--serve.echo", "--workers", "1"]
        process = activator.start(*arguments)
        process.event("model_current")
        threads = [threading.Thread(target=self.ask_http, args=(activator.ports[1],), daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(RESTARTS_KEPT):
            before = len(self.statuses)
            while len(self.statuses) < before + 100:
                self.over.wait(0.01)
            process.send(signal.SIGTERM)
            self.assertEqual(process.end(), 0, process.log())
            process = activator.start(*arguments)
            process.event("model_current")
        self.over.set()
        for thread in threads:
            thread.join(LIMIT_S)
        self.say(f"{RESTARTS_KEPT} restarts, {len(self.statuses)} requests; {len(self.closed)} met a closed connection")
        self.assertEqual(set(self.statuses), {200}, process.log())
        if FULL:
            self.assertEqual(self.closed, [])


if __name__ == "__main__":
    main()
