#!/usr/bin/env python3
"""Options of older versions: their names are taken with a warning, and read silently from files and stored runs."""
import json
import os
import unittest

from support.program import main, run

OLD = {"cluster.ping": "cluster.heartbeat", "cluster.timeout": "cluster.heartbeat_timeout",
       "cluster.settle": "cluster.join_delay", "worker.patience": "worker.reconnect_timeout",
       "worker.silence": "worker.heartbeat_timeout"}


def dump(*words):
    return run("worker" if any("worker." in word for word in words) else "coordinator", *words, "--dump-config")


class Renamed(unittest.TestCase):
    def test_an_old_name_sets_the_option_and_warns(self):
        for old, new in OLD.items():
            with self.subTest(old):
                given, expected = dump(f"--{old}", "70", "--log.format", "json"), dump(f"--{new}", "70",
                                                                                       "--log.format", "json")
                self.assertEqual((given.returncode, given.stdout), (0, expected.stdout))
                event = json.loads(given.stderr)
                self.assertEqual((event["event"], event["level"], event["option"]), ("option_renamed", "warn", new))
                self.assertEqual(expected.stderr, "")

    def test_help_names_the_new_one_only(self):
        for old, new in OLD.items():
            page = run("help", "worker" if new.startswith("worker.") else "coordinator").stdout
            self.assertIn(f"--{new} ", page)
            self.assertNotIn(f"--{old} ", page)

    def test_a_file_with_old_names_is_read_silently(self):
        text = "".join(f"{old}: 70\n" for old in OLD)
        path = os.path.join(os.environ.get("TMPDIR", "/tmp"), f"lstmq-renamed-{os.getpid()}.yaml")
        self.addCleanup(os.remove, path)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        given = run("coordinator", "--config", path, "--dump-config")
        self.assertEqual((given.returncode, given.stderr), (0, ""))
        for new in OLD.values():
            self.assertIn(f"  {new.split('.')[1]}: 70\n", given.stdout)


if __name__ == "__main__":
    main()
