#!/usr/bin/python3
"""The page in a real browser, before a real queue and a real coordinator: it translates, it detects, it draws the
curves of the run, and it asks its own server only. page.py looks at it more closely. Needs Chromium."""

import json
import os
import shutil
import signal
import time
import unittest

from support import chromium
from support.api import Server
from support.cluster import Cluster
from support.program import main, run
from support.training import TINY, new_folder, sample_pairs, words, write

if not chromium.find():
    print("skipped: no Chromium (Debian's package chromium)")
    raise SystemExit(77)

SECONDS = 120


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = cls.enterClassContext(chromium.Browser(chromium.find()))
        cls.folder = new_folder()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.pairs = write(os.path.join(cls.folder, "pairs.tsv"), sample_pairs(400))

    def wait(self, expression):
        deadline = time.monotonic() + SECONDS
        while not self.browser.value(expression):
            self.assertLess(time.monotonic(), deadline, expression + "\n" + self.browser.value(
                "document.body.innerText"))
            time.sleep(0.02)

    def text(self, identity):
        return self.browser.value(f"document.getElementById('{identity}').textContent")

    def assert_quiet(self, url):
        self.assertEqual(self.browser.complaints(), [])
        self.assertEqual([asked for asked in self.browser.requests() if not asked.startswith(url)], [])
        self.browser.call("Page.navigate", {"url": "about:blank"})

    def train(self):
        path = os.path.join(self.folder, "run")
        options = {**TINY, "model.embed": 24, "model.hidden": 48, "train.epochs": 4, "train.lr": 0.01,
                   "data.normalise": "notebook", "data.pairs": self.pairs, "run.dir": path}
        result = run("train", *words(options))
        self.assertEqual(result.returncode, 0, result.stderr)
        return path

    def test_a_queue_translates_on_its_page(self):
        server = Server(self.addCleanup, **{"serve.model": self.train()}).ready()
        url = server.url + "/"
        self.browser.open(url, 1280)
        self.wait("document.getElementById('state').textContent === 'serving'")
        self.wait("!document.getElementById('training-charts').hidden")
        self.assertEqual(self.browser.value("document.querySelectorAll('#epochs tbody tr').length"), 4)
        sentence = sample_pairs(400)[7].split("\t")[0]
        expected = server.post("/translate", {"q": sentence + " Xyzzy", "source": "en", "target": "fr"}).json()
        self.browser.value("document.getElementById('text').focus()")
        self.browser.call("Input.insertText", {"text": sentence + " Xyzzy"})
        self.wait("document.getElementById('result').textContent !== ''")
        self.assertEqual(self.text("result"), expected["translatedText"])
        self.wait("document.getElementById('detected').textContent.startsWith('Detected: English')")
        self.assertEqual(self.browser.value("[...document.querySelectorAll('mark')].map(mark => mark.textContent)"),
                         ["Xyzzy"])
        self.wait("document.querySelectorAll('#workers tbody tr').length === 1")
        self.assert_quiet(url)

    def test_names_of_workers_and_flows_are_for_operators(self):
        token = write(os.path.join(self.folder, "token"), "secret\n")
        for options, headers, shown in (({}, {}, True), ({"http.trust_forwarded_for": "true"}, {}, False),
                                        ({"http.metrics_token": token}, {}, False),
                                        ({"http.metrics_token": token}, {"Authorization": "Bearer secret"}, True)):
            server = Server(self.addCleanup, **options).ready()
            answer = server.get("/status.json", headers)
            self.assertEqual((answer.status, answer.headers["Access-Control-Allow-Origin"]), (200, None))
            self.assertEqual({"workers", "flows"} <= set(answer.json()), shown, options)
            self.assertEqual(server.get("/metrics.jsonl").status, 404)
            server.close()

    def test_a_coordinator_shows_its_run(self):
        cluster = Cluster(self, self.pairs, train__epochs=100000, http__bind="127.0.0.1:0").start().listening()
        url = "http://" + cluster.coordinator.event("http_listening")["address"] + "/"
        self.browser.open(url, 360)
        self.wait("document.getElementById('state').textContent === 'waiting'")
        self.assertTrue(self.browser.value("document.getElementById('translate').hidden"))
        self.assertEqual(self.browser.value("fetch('status.json', {method: 'POST'}).then(answer => answer.status)"),
                         405)
        first = json.loads(self.browser.value("fetch('status.json').then(answer => answer.text())"))
        self.assertEqual((first["run"], first["step"], first["members"]), (cluster.run, 0, []))
        self.browser.events = []
        cluster.worker()
        self.wait("document.querySelectorAll('#members tbody tr').length === 1")
        self.wait("document.querySelectorAll('#epochs tbody tr').length > 0 && "
                  "!document.getElementById('training-charts').hidden")
        self.assert_quiet(url)
        cluster.coordinator.send(signal.SIGTERM)
        self.assertEqual(cluster.coordinator.end(), 130)

    def test_a_run_is_shown_to_this_machine_only(self):
        cluster = Cluster(self, self.pairs, http__bind="0.0.0.0:0").start()
        self.assertEqual(cluster.coordinator.end(), 2)
        self.assertIn("http.bind", cluster.log())


if __name__ == "__main__":
    main()
