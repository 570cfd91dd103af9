#!/usr/bin/python3
"""A queue under load is restarted again and again, and a supervisor holds its sockets meanwhile. No request fails.
$LSTMQ_FULL means more restarts."""

import json
import signal
import socket
import threading
import urllib.error
import urllib.request

from support.serving import BINARY, FULL, LIMIT_S, Process, ServeTest, main, share

RESTARTS = 10 if FULL else 2


class Activator:
    """What systemd does for a socket unit: it listens, and each process that it starts inherits the sockets."""

    def __init__(self, test):
        self.sockets = [socket.create_server(("127.0.0.1", 0), backlog=1024) for _ in range(2)]
        self.ports = [one.getsockname()[1] for one in self.sockets]
        for one in self.sockets:
            test.addCleanup(one.close)

    def command(self, *arguments):
        """A shell that passes the sockets on as descriptors 3 and 4, and becomes the program."""
        moves = " ".join(f"{3 + i}<&{one.fileno()}" for i, one in enumerate(self.sockets))
        script = f'exec env LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=queue:http "$@" {moves}'
        return ["-c", script, "bash", BINARY, *arguments]


class Restart(ServeTest):
    def test_restart_by_socket_activation_fails_no_request(self):
        activator, sentences = Activator(self), self.sentences(300)
        arguments = ["serve", "--model", self.model(), "--serve.bind", f"tcp://127.0.0.1:{activator.ports[0]}",
                     "--http", f"127.0.0.1:{activator.ports[1]}", "--workers", "2", "--log.format", "json"]

        def start():
            process = Process(*activator.command(*arguments), binary="/bin/bash", name="queue",
                              inherits=[one.fileno() for one in activator.sockets])
            self.addCleanup(lambda: process.ended() or process.kill())
            return process

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
        process = start()
        process.event("http_listening")
        load = self.load(f"tcp://127.0.0.1:{activator.ports[0]}",
                         lambda number: [sentences[number % len(sentences)]], window=16, retries=True)
        load.answered(50)
        thread = threading.Thread(target=over_http, daemon=True)
        thread.start()
        for _ in range(RESTARTS):
            process.send(signal.SIGTERM)
            self.assertEqual(process.end(), 0, process.log())
            process = start()
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


if __name__ == "__main__":
    main()
