#!/usr/bin/python3
"""HTTP clients that keep their connections, over restarts with sockets of a supervisor: no request gets an error. In
full none meets a closed connection either, where a client would send it again."""

import http.client
import json
import signal
import threading

from support.serving import FULL, LIMIT_S, Process, ServeTest, main
from test_restart import Activator

RESTARTS = 20 if FULL else 3


class Parting(ServeTest):
    def ask(self, port):
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

        def start():
            process = Process(*activator.command("serve", "--model", self.model(), "--serve.echo", "--workers", "1",
                                                 "--log.format", "json"), binary="/bin/bash", name="queue",
                              inherits=[one.fileno() for one in activator.sockets])
            self.addCleanup(lambda: process.ended() or process.kill())
            process.event("model_current")
            return process

        process = start()
        threads = [threading.Thread(target=self.ask, args=(activator.ports[1],), daemon=True) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(RESTARTS):
            before = len(self.statuses)
            while len(self.statuses) < before + 100:
                self.over.wait(0.01)
            process.send(signal.SIGTERM)
            self.assertEqual(process.end(), 0, process.log())
            process = start()
        self.over.set()
        for thread in threads:
            thread.join(LIMIT_S)
        self.say(f"{RESTARTS} restarts, {len(self.statuses)} requests; {len(self.closed)} met a closed connection")
        self.assertEqual(set(self.statuses), {200}, process.log())
        if FULL:
            self.assertEqual(self.closed, [])


if __name__ == "__main__":
    main()
