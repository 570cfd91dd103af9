#!/usr/bin/python3
"""HTTP requests whose worker is slow, dies, knows several translations, or is not there. The worker is the test's own,
so the test decides what it answers and when."""

import json
import os
import shutil
import signal
import socket
import struct
import threading
import time
import unittest

from support.api import Server
from support.cluster import LIMIT_S, main
from support.queue_peers import CREDIT, RESULT, Queue, Worker
from support.training import new_folder


def answer_details(worker, batch):
    """A plan: capitals; two alternatives, of which one repeats the first and one is empty; one unknown word."""
    data, hypotheses, answers, notes = b"", b"", b"", b""
    for text in batch["texts"]:
        found = [text.upper().encode(), b"other <b>", text.upper().encode(), b""]
        data += b"".join(found)
        hypotheses += b"".join(struct.pack("<If", len(one), 0) for one in found)
        answers += struct.pack("<7I", 0, len(found), 3, 4, 1, 2, 6)
        notes += b"w\xc3\xb6rd\n"
    count = len(batch["texts"])
    worker.say(
        RESULT, {
            "batch": batch["id"], "computed_us": 1500, "text_count": count, "hypothesis_count": 4 * count,
            "size": len(data), "notes_size": len(notes)}, answers, hypotheses, data, notes)
    worker.say(CREDIT, {"units": 1})


class Asked(threading.Thread):
    """A POST /translate on a thread of its own; .answer is there once it is over."""

    def __init__(self, server, q, headers=None, **more):
        super().__init__(daemon=True)
        self.server, self.headers, self.answer, self.took_s = server, headers, None, None
        self.fields = {"q": q, "source": "en", "target": "fr", **more}
        self.start()

    def run(self):
        began = time.monotonic()
        self.answer = self.server.post("/translate", self.fields, self.headers)
        self.took_s = time.monotonic() - began


class FaultTest(unittest.TestCase):
    def start(self, plan=None, workers=1, **options):
        """A queue with HTTP, and workers of the test's own."""
        self.queue = Queue(self, **{"http.bind": "127.0.0.1:0", **options})
        self.server = Server.__new__(Server)
        self.server.process = self.queue.process
        self.server.address = self.queue.process.event("http_listening")["address"]
        self.workers = [self.queue.worker(plan=plan) for _ in range(workers)]
        if workers:
            self.queue.wait_for(lambda: self.queue.process.happened("model_current"))

    def ask(self, q, headers=None, **more):
        return Asked(self.server, q, headers, **more)

    def answer(self, asked):
        self.queue.wait_for(lambda: asked.answer)
        return asked.answer

    def wait_for_batches(self, count):
        self.queue.wait_for(lambda: sum(len(worker.batches) for worker in self.workers) >= count)

    def outcomes(self, name):
        return self.server.metric(f'lstmq_requests_total{{interface="http",outcome="{name}"}}')


class Answers(FaultTest):
    def test_alternatives_and_details(self):
        self.start(answer_details)
        found = self.answer(self.ask("a", alternatives=3, details=True)).json()
        self.assertEqual(found["translatedText"], "A")
        self.assertEqual(found["alternatives"], ["other <b>"])
        self.assertEqual(
            found["lstmq"]["texts"],
            [{"cut_words": 2, "source_tokens": 3, "target_tokens": 4, "unknown_words": ["wörd"]}])
        self.assertEqual(found["lstmq"]["compute_ms"], 1.5)
        found = self.answer(self.ask(["a", "b", "a"], alternatives=3)).json()
        self.assertEqual(found["translatedText"], ["A", "B", "A"])
        self.assertEqual(found["alternatives"], [["other <b>"]] * 3)

    def test_the_runs_of_html(self):
        self.start(answer_details)
        page = '<p> one &amp; <b title="x">two</b>&nbsp;</p><code>three</code><i>\n</i>'
        found = self.answer(self.ask([page, "", "<br>"], format="html", alternatives=2, details=True)).json()
        self.assertEqual(
            found["translatedText"],
            ['<p> ONE &amp; <b title="x">TWO</b>&nbsp;</p><code>three</code><i>\n</i>', "", "<br>"])
        self.assertEqual(found["alternatives"], [[], [], []])
        self.assertEqual([text["unknown_words"] for text in found["lstmq"]["texts"]], [["wörd", "wörd"], [], []])

    def test_what_a_model_says_is_no_markup(self):
        def hostile(worker, batch):
            worker.answer(batch, ["</p><script>alert(1)</script>&lt;\xa0\"'"] * len(batch["texts"]))

        self.start(hostile)
        found = self.answer(self.ask("<p>a</p>", format="html")).json()
        self.assertEqual(found["translatedText"],
                         "<p>&lt;/p&gt;&lt;script&gt;alert(1)&lt;/script&gt;&amp;lt;&nbsp;\"'</p>")

    def test_a_list_is_one_batch(self):
        self.start()
        texts = [f"text {number}" for number in range(50)]
        self.assertEqual(self.answer(self.ask(texts)).json()["translatedText"], [text.upper() for text in texts])
        self.assertEqual(len(self.workers[0].batches), 1)

    def test_many_runs_are_several_requests(self):
        self.start(**{"serve.queue": 100000})
        page = "".join(f"<i>a{number}</i>" for number in range(9000))
        found = self.answer(self.ask(page, format="html")).json()
        self.assertEqual(found["translatedText"], page.replace(">a", ">A"))


    def test_more_runs_than_the_queue_takes(self):
        self.start(**{"serve.queue": 100})
        for count in (101, 900_000):
            answer = self.answer(self.ask("<i>a" * count, format="html"))
            self.assertEqual((answer.status, answer.error()), (
                400, f"{count} texts are above the 100 that this queue holds: send fewer at a time"))
        self.assertEqual(self.answer(self.ask("<i>a" * 100, format="html")).status, 200)


class Faults(FaultTest):
    def test_a_time_limit_ends_on_time(self):
        self.start(Worker.keep)
        asked = self.ask("a", {"X-Request-Timeout": "0.3"})
        answer = self.answer(asked)
        self.assertEqual((answer.status, list(answer.json())), (504, ["error"]))
        self.assertGreaterEqual(asked.took_s, 0.29)
        self.assertEqual(self.outcomes("expired"), 1)

    def test_a_full_queue_says_when_to_come_back(self):
        self.start(Worker.keep, **{"serve.queue": 4, "serve.max_batch": 1})
        asked = [self.ask(f"a{number}") for number in range(12)]
        refused = self.queue.wait_for(lambda: [one.answer for one in asked if one.answer])
        self.workers[0].plan = Worker.answer
        for batch in list(self.workers[0].batches):
            self.workers[0].answer(batch)
        statuses = [self.answer(one).status for one in asked]
        self.assertGreaterEqual(statuses.count(200), 4)
        self.assertEqual(statuses.count(503), 12 - statuses.count(200))
        self.assertEqual(self.outcomes("busy"), statuses.count(503))
        for answer in refused:
            seconds = int(answer.headers["Retry-After"])
            self.assertGreaterEqual(seconds, 1)
            self.assertEqual(answer.error(), f"Server is busy, try again in {seconds} s")

    def test_a_client_that_leaves_withdraws_its_work(self):
        self.start(Worker.keep, **{"serve.max_batch": 1})
        first = self.ask("a")
        self.wait_for_batches(1)
        body = json.dumps({"q": ["b", "c", "d"], "source": "en", "target": "fr"})
        host, port = self.server.address.rsplit(":", 1)
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"POST /translate HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
                           f"Content-Length: {len(body)}\r\n\r\n{body}".encode())
            self.queue.wait_for(lambda: self.queue.status()["waiting"] >= 2)
        self.queue.wait_for(lambda: self.queue.status()["waiting"] == 0)
        self.queue.wait_for(lambda: self.outcomes("cancelled") == 1)
        for batch in list(self.workers[0].batches):
            self.workers[0].answer(batch)
        self.assertEqual(self.answer(first).status, 200)
        self.assertLessEqual(len(self.workers[0].batches), 2)

    def test_a_sentence_that_kills_workers_is_an_error(self):
        def dies(worker, batch):
            if "poison" in batch["texts"]:
                worker.reconnect()
                worker.join()
            else:
                worker.answer(batch)

        self.start(dies)
        bad, good = self.ask(["fine", "poison"]), self.ask("good")
        answer = self.answer(bad)
        self.assertEqual(answer.status, 500)
        self.assertIn("Text 2 could not be translated", answer.error())
        self.assertEqual(self.answer(good).json()["translatedText"], "GOOD")
        self.assertEqual(self.answer(self.ask("poison")).status, 500)

    def test_flows_are_keys_and_addresses(self):
        folder = new_folder()
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        keys = os.path.join(folder, "keys")
        with open(keys, "w", encoding="ascii") as file:
            file.write("secret - - mastodon\n")
        self.start(Worker.keep, **{"http.keys": keys, "http.trust_forwarded_for": "true"})
        asked = [self.ask("a", api_key="secret"), self.ask("b", {"X-Forwarded-For": "1.1.1.1, 10.9.8.7"}),
                 self.ask("c")]
        self.queue.wait_for(lambda: len(self.queue.status()["flows"]) == 3)
        self.assertEqual({flow["flow"] for flow in self.queue.status()["flows"]},
                         {"key:mastodon", "address:10.9.8.7", "address:127.0.0.1"})
        self.workers[0].plan = Worker.answer
        for batch in self.workers[0].batches:
            self.workers[0].answer(batch)
        for one in asked:
            self.assertEqual(self.answer(one).status, 200)

    def test_a_drain_answers_what_was_accepted(self):
        self.start(Worker.keep, **{"serve.drain_delay": 1})
        asked = self.ask("a")
        self.wait_for_batches(1)
        self.queue.process.send(signal.SIGTERM)
        self.queue.process.event("draining")
        for path, status in (("/health", 503), ("/readyz", 503), ("/livez", 200), ("/metrics", 200)):
            self.assertEqual(self.server.get(path).status, status)
        self.queue.work(1.2)
        with self.assertRaises(ConnectionRefusedError):
            self.server.get("/livez")
        self.workers[0].answer(self.workers[0].batches[0])
        answer = self.answer(asked)
        self.assertEqual((answer.status, answer.json()["translatedText"]), (200, "A"))
        self.assertEqual(self.queue.process.end(LIMIT_S), 0)


if __name__ == "__main__":
    main()
