#!/usr/bin/env python3
"""With --log.format json, each line that a process writes to stderr is one object, the error that ends it included."""

import json
import os
import re
import signal
import subprocess

from support.cluster import BINARY, LIMIT_S, SOURCE, ClusterTest, main, read, words

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
LEVELS = ("debug", "info", "warn", "error")


def no_twins(pairs):
    keys = [key for key, _ in pairs]
    if len(keys) != len(set(keys)):
        raise ValueError(f"a member stands twice: {keys}")
    return dict(pairs)


def logged(text):
    """(name, fields) of each event that the C text logs. Fields that are not literals in the call are defined above
    it."""
    for call in re.finditer(r"log_(?:event|say)\([^,\"]*,\s*\"(\w+)\",|log_fact\(\s*\"(\w+)\",", text):
        inside = re.match(r"\s*LOG_FIELDS\(", text[call.end():])
        start = call.end() if inside else text.rindex("LOG_FIELDS(", 0, call.start())
        fields = re.match(r"\s*LOG_FIELDS(\(.*?)(?:,\s*\"|;)", text[start:], re.S)[1]
        yield call[1] or call[2], re.findall(r"LOG_(?!FIELDS)[A-Z]+\(\"(\w+)\"", fields)


class Events(ClusterTest):
    def check(self, lines):
        """Check that each line is an object with the common fields; return the names of the events."""
        events = [json.loads(line, object_pairs_hook=no_twins) for line in lines]
        for event in events:
            self.assertRegex(event["time"], TIME)
            self.assertIn(event["level"], LEVELS)
            self.assertRegex(event["event"], r"^[a-z]+(_[a-z]+)*$")
            self.assertIsInstance(event["pid"], int)
            self.assertNotIn("cut", event)
            self.assertGreater(len(event["text"]) * len(event["role"]), 0)
        return events

    def run_json(self, *arguments, status=0, stdin=""):
        result = subprocess.run(
            [BINARY, *arguments, "--log.format", "json"], input=stdin, capture_output=True, text=True, timeout=LIMIT_S,
            check=False)
        self.assertEqual(result.returncode, status, result.stderr)
        return self.check(result.stderr.splitlines())

    def test_each_line_of_coordinator_and_workers_is_an_event(self):
        cluster = self.cluster(train__epochs=2, train__min_workers=2).start("--log.level", "debug").listening()
        workers = [cluster.worker("--log.level", "debug") for _ in range(2)]
        cluster.finished()
        names = [event["event"] for event in self.check(cluster.coordinator.raw)]
        for name in ("dataset_read", "listening", "worker_joined", "generation_started", "generation_active",
                     "validation_done", "epoch_done", "checkpoint_written", "run_started", "run_ended", "worker_left"):
            self.assertIn(name, names)
        for worker in workers:
            names = [event["event"] for event in self.check(worker.raw)]
            for name in ("connected", "joined", "generation_entered", "step_computed"):
                self.assertIn(name, names)
        done = [event["epoch"] for _, event in cluster.coordinator.events if event["event"] == "epoch_done"]
        self.assertEqual(done, [1, 2])
        kept = [
            event["epochs_done"] for _, event in cluster.coordinator.events if event["event"] == "checkpoint_written"]
        self.assertEqual(kept, [1, 2])

    def test_a_killed_worker_and_an_interruption_are_events(self):
        cluster = self.cluster(train__epochs=100000, train__min_workers=1).start().listening()
        workers = [cluster.worker("--log.level", "debug") for _ in range(2)]
        for worker in workers:
            worker.at_step()
        workers[0].kill()
        dead = cluster.coordinator.event("worker_dead", process=workers[0].pid)
        self.assertEqual(dead["worker"], workers[0].number())
        cluster.coordinator.send(signal.SIGTERM)
        cluster.finished(status=130)
        last = self.check(cluster.coordinator.raw)[-1]
        self.assertEqual((last["event"], last["status"], last["role"]), ("interrupted", 130, "coordinator"))
        self.assertIn("--resume", last["reason"])

    def test_the_error_that_ends_a_command_is_an_event(self):
        for arguments, status in ((("train", "--train.epochs", "none"), 2), (("train", "--no-such-option"), 2),
                                  (("trian",), 2), (("inspect", os.path.join(self.folder, "missing")), None),
                                  (("worker", "--connect", "nowhere"), None), (("worker", "--server"), 2)):
            with self.subTest(arguments=arguments):
                result = subprocess.run(
                    [BINARY, arguments[0], "--log.format=json", *arguments[1:]], capture_output=True, text=True,
                    timeout=LIMIT_S, check=False)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(status, (None, result.returncode))
                last = self.check(result.stderr.splitlines())[-1]
                self.assertEqual((last["event"], last["status"]), ("failed", result.returncode))

    def test_what_train_translate_and_evaluate_say_are_events(self):
        run = os.path.join(self.folder, "run")
        options = {**self.cluster().options, "run.dir": run, "train.epochs": 1, "run.progress": "none"}
        names = [event["event"] for event in self.run_json("train", *words(options))]
        for name in ("dataset_read", "epoch_done", "checkpoint_written", "run_ended"):
            self.assertIn(name, names)
        printed = self.run_json("translate", "--model", run, stdin="\nzyzzyva " + 30 * "hm " + "\n")
        unknown = [event for event in printed if event["event"] == "words_unknown"]
        self.assertEqual([event["line"] for event in unknown], [2])
        self.assertIn("zyzzyva", unknown[0]["words"])
        with open(self.pairs, "a", encoding="utf-8") as file:
            file.write("one side\t\n")
        printed = self.run_json("evaluate", "--model", run, "--data.pairs", self.pairs)
        self.assertIn(("empty_pairs_left_out", 1), [(event["event"], event.get("pairs")) for event in printed])

    def test_the_pages_name_each_event_and_its_fields(self):
        """Two pages list the events of the sources and no others. A row names the fields of all its events; remarks are
        in parentheses."""
        found = {}
        for folder in ("", "coordinator", "worker", "proto", "kernels"):
            for path, folders, files in os.walk(os.path.join(SOURCE, folder)):
                if not folder:
                    folders.clear()
                for name in files:
                    if name.endswith(".c"):
                        text = read(path, name).decode()
                        for event, fields in logged(text):
                            found.setdefault(event, set()).update(fields)
        self.assertGreater(len(found), 50)
        table = "\n".join(read(SOURCE, "docs", page).decode().split("\n## Log events\n")[1].split("\n## ")[0]
                          for page in ("cluster.md", "serving.md"))
        named = set()
        for row in re.findall(r"^\| (`.*)", table, re.M):
            events, fields = row.split(" | ")[:2]
            events = re.findall(r"`(\w+)`", events)
            fields = set(re.findall(r"\w+", re.sub(r"\(.*?\)", "", fields))) - {"or"}
            with self.subTest(events):
                self.assertEqual(fields, set().union(*(found.get(event, set()) for event in events)))
            named.update(events)
        self.assertEqual(named, set(found))


if __name__ == "__main__":
    main()
